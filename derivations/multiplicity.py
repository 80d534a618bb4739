r"""The multiplicity of an activation: the first terms of its expansion at 0.

>>> from derivations.activations import activation
>>> found = multiplicity(activation("sin(z) - tanh(z)"))
>>> found.order, found.coefficient
(3, 1/6)
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, S, factorial, limit, simplify

from derivations.activations import Activation, Z
from derivations.errors import AssumptionError

__all__ = ["MAX_ORDER", "Multiplicity", "multiplicity"]

#: Orders of the expansion of sigma that are looked at.
MAX_ORDER = 8


@dataclass(frozen=True)
class Multiplicity:
    r"""The expansion :math:`\sigma(z) = \sigma(0) + c z^p + c' z^q + \dots` at 0.

    Attributes
    ----------
    order : int
        p, the smallest order at least 1 with a derivative that is not 0.
    value, coefficient : Expr
        sigma(0) and c, the p-th derivative over p!.
    following : int or None
        q, the next order with a derivative that is not 0; None where there is none up to ``MAX_ORDER``.
    unknown_from : int or None
        The order from which nothing is known, where sigma is general or not a polynomial and ``following`` is None.
    """

    order: int
    value: Expr
    coefficient: Expr
    following: int | None
    unknown_from: int | None = None

    @property
    def next_order(self) -> int | None:
        """The order of the first term after the leading one that there may be; None for a polynomial without one."""
        return self.following if self.following is not None else self.unknown_from

    def polynomial(self, orders: tuple[int, ...], argument: Expr) -> Expr:
        """Return a derivative of the Taylor polynomial of order p, in the form ``derivations.generic.bind`` takes."""
        (j,) = orders
        constant = self.value if j == 0 else S.Zero
        if j > self.order:
            return S.Zero
        falling = factorial(self.order) / factorial(self.order - j)
        return constant + falling * self.coefficient * argument ** (self.order - j)


def multiplicity(activation: Activation) -> Multiplicity:
    r"""Return p and the leading coefficients of a smooth activation; derivatives are exact.

    Raises
    ------
    AssumptionError
        If the activation has a kink, or no derivative up to ``MAX_ORDER`` is found that is not 0.
    """
    if activation.is_smooth is None:
        raise AssumptionError(
            f"an expansion at 0 needs a smooth activation, {activation.name} has a kink; if it is homogeneous no expansion "
            "is needed, else take a smooth one."
        )
    found: list[tuple[int, Expr]] = []
    derivative = activation.derivative(0)
    for order in range(1, MAX_ORDER + 1):
        derivative = derivative.diff(Z)
        value = _at_zero(derivative)
        if value != 0:
            found.append((order, value))
        if len(found) == 2:
            break
    if not found:
        raise AssumptionError(
            f"the derivatives of {activation.name} at 0 vanish up to order {MAX_ORDER}: no leading order is known; raise "
            "MAX_ORDER in derivations/multiplicity.py if it has one."
        )
    order, value = found[0]
    following = found[1][0] if len(found) > 1 else None
    open_end = following is None and not activation.expr.is_polynomial(Z)
    return Multiplicity(
        order,
        activation.value_at_zero,
        value / factorial(order),
        following,
        MAX_ORDER + 1 if open_end else None,
    )


def _at_zero(expr: Expr) -> Expr:
    value = expr.subs(Z, 0)
    return simplify(limit(expr, Z, 0)) if value.has(S.NaN, S.ComplexInfinity) else simplify(value)
