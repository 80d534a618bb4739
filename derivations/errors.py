"""Errors raised by the derivations: each says what was found, what is required and what to do."""

from __future__ import annotations

__all__ = ["AssumptionError", "DimensionError", "FormulaError"]


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
