r"""Losses per sample and output, :math:`\ell(f, y)`; a vector output sums them over its coordinates.

>>> REGISTRY["square"].derivative(1, 0), REGISTRY["logistic"].derivative(1, 0)
(f - y, -y*sigmoid(-f*y))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sympy import Expr, Symbol, exp, factor, factor_terms

from derivations.activations import derivative_almost_everywhere, without_max
from derivations.almost_everywhere import has_jump
from derivations.errors import FormulaError, nearest
from derivations.functions import relu, softplus

__all__ = ["F", "REGISTRY", "Loss", "Y", "loss"]

#: Output and target, the arguments of every loss.
F, Y = Symbol("f", real=True), Symbol("y", real=True)


@dataclass(frozen=True)
class Loss:
    r"""A loss :math:`\ell(f, y)`, differentiable in ``f`` (almost everywhere, with value 0 at a kink).

    Parameters
    ----------
    name : str
        Registered name or the text of the formula.
    expr : Expr
        In the symbols ``F`` and ``Y``.
    """

    name: str
    expr: Expr

    def derivative(self, in_output: int, in_target: int = 0) -> Expr:
        """Return the mixed partial derivative."""
        out = without_max(self.expr)
        for symbol in (F,) * in_output + (Y,) * in_target:
            out = derivative_almost_everywhere(out, symbol)
        if not out.is_polynomial(F, Y):
            return out
        forms = (out, factor_terms(out), factor(out))  # `simplify` takes a tenth of a second
        return min(forms, key=lambda form: form.count_ops())

    @property
    def has_kink(self) -> bool:
        """Whether the derivative in the output is written with jumps."""
        return has_jump(self.derivative(1))

    def apply(self, orders: tuple[int, ...], output: Expr, target: Expr) -> Expr:
        """Return the derivative at (output, target); the form ``derivations.generic.bind`` asks for."""
        return self.derivative(orders[0], orders[1]).xreplace({F: output, Y: target})


#: Registered losses by name; ``square`` is half the squared error.
REGISTRY: Mapping[str, Loss] = MappingProxyType(
    {
        "square": Loss("square", (F - Y) ** 2 / 2),
        "logistic": Loss("logistic", softplus(-Y * F)),
        "exponential": Loss("exponential", exp(-Y * F)),
        "hinge": Loss("hinge", relu(1 - Y * F)),
        "correlation": Loss("correlation", -Y * F),
    }
)


def loss(text: str, *, margin: Expr | int = 1) -> Loss:
    """Return the registered loss ``text`` or the one given by a formula in f and y.

    ``linear_hinge`` is ``max(0, margin - y f)``.

    Raises
    ------
    FormulaError
        If the text is neither.

    Examples
    --------
    >>> loss("(1 - y*f)**2").derivative(1)
    2*y*(f*y - 1)
    """
    from derivations.formula import parse_formula

    if text == "linear_hinge":
        return Loss("linear_hinge", relu(margin - Y * F))
    if text in REGISTRY:
        return REGISTRY[text]
    if text.isidentifier() and text not in ("f", "y"):
        hint = nearest(text, [*REGISTRY, "linear_hinge"])
        raise FormulaError(
            f"unknown loss '{text}'{hint} Registered: {', '.join(REGISTRY)}, linear_hinge; or give a formula in f and y"
        )
    return Loss(text, parse_formula(text, {"f": F, "y": Y}))
