"""Errors raised by the derivations: each says what was found, what is required and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["AssumptionError", "DimensionError", "FormulaError", "nearest"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return how a sentence about an unknown name goes on: with the nearest known one, or with a full stop.

    >>> nearest("hesian", ["gradient", "hessian"]), nearest("x", ["gradient"])
    ("; did you mean 'hessian'?", '.')
    """
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


class AssumptionError(ValueError):
    """A hypothesis of a theorem or derivation is not shown to hold."""


class DimensionError(ValueError):
    """An index that runs over one dimension stands in a slot of another."""


class FormulaError(ValueError):
    """A formula given as text is refused; ``column`` (0-based) points into the text where it is known."""

    def __init__(self, message: str, *, text: str = "", column: int | None = None) -> None:
        self.reason = message
        self.text = text
        self.column = column
        if text and column is not None:
            message = f"{message}\n    {text}\n    {' ' * column}^"
        super().__init__(message)
