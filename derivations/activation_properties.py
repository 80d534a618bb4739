r"""Identities and local facts of an activation, each proved, refuted with its reason, or undecided.

.. math::
    \sigma(-z) = s\,\sigma(z) + \alpha + \beta z, \qquad \sigma(\pm t) = c_\pm t^{p_\pm}, \qquad
    \sigma(z + T) = \sigma(z), \qquad \sigma(z + s) = e^{ks} \sigma(z),

the points where a derivative jumps, analyticity, and the multiplicity of condensation, the smallest p >= 1 with
:math:`\sigma^{(p)}(0) \neq 0`.

>>> from derivations.activations import REGISTRY, activation
>>> REGISTRY["sigmoid"].affine_parity, activation("sin(z) - tanh(z)").multiplicity.value
(AffineParity(sign=-1, constant=1, slope=0, status=<Status.PROVED: 'PROVED'>), 3)
>>> REGISTRY["relu"].multiplicity.reason
'$\\sigma^{(1)}$ jumps at $0$, from $0$ to $1$.'
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sympy import (
    Expr,
    Integer,
    Pow,
    Rational,
    S,
    Symbol,
    asinh,
    atan,
    cos,
    cosh,
    erf,
    exp,
    limit,
    log,
    oo,
    periodicity,
    simplify,
    sin,
    sinh,
    tanh,
)

from derivations.activations import Activation, Z
from derivations.cells import Break, Cell, NotDecided, breaks_between, cells, real_zeros
from derivations.claim import Status
from derivations.decide import Decision, Finding, identically_zero, is_zero, vanishes_for_positive
from derivations.functions import sech2, sigmoid, softplus
from derivations.latex import latex

__all__ = [
    "AffineParity",
    "HalfLine",
    "affine_parity",
    "analytic",
    "breaks",
    "half_line",
    "is_analytic_formula",
    "multiplicity",
    "period",
    "pieces",
    "shift_rate",
    "tex",
]

#: Functions real-analytic on the whole line.
_ANALYTIC = (exp, sin, cos, sinh, cosh, tanh, asinh, atan, erf, sigmoid, softplus, sech2)
#: Derivatives at 0 tried for the multiplicity.
_HIGHEST = 12
_T = Symbol("t", positive=True)


@dataclass(frozen=True)
class AffineParity:
    r""":math:`\sigma(-z) = s\,\sigma(z) + \alpha + \beta z` with ``sign`` s, ``constant`` alpha and ``slope`` beta.

    ``sign`` is 0 where neither sign admits such an identity (REFUTED) or none is shown (UNDECIDED).  A constant shows
    for s = -1 only (sigma is odd about alpha/2) and a slope for s = 1 only: the other terms can be absorbed in sigma.
    """

    sign: int
    constant: Expr
    slope: Expr
    status: Status


@dataclass(frozen=True)
class HalfLine:
    r"""Homogeneity on one side: :math:`\sigma(\pm t) = c\,t^p` for t > 0; c = 0 and p = None where sigma vanishes."""

    degree: Expr | None
    factor: Expr | None
    status: Status


def affine_parity(activation: Activation) -> AffineParity:
    r"""Return the parity of an activation up to an affine part.

    The even part of sigma must be the constant alpha/2, or the odd part the linear function -beta z / 2; each constant
    is read off at one point and the identity is then decided.  An exact parity goes before one with an affine part.
    """
    minus, plus = activation.expr.subs(Z, -Z), activation.expr
    # The slope is -2 sigma'(0) where that exists, which comes out simpler than the difference at 1.
    slope = -2 * activation.derivative(1).subs(Z, 0) if activation.is_smooth else (minus - plus).subs(Z, 1)
    slope = simplify(slope)
    constant = simplify(2 * activation.value_at_zero)
    odd = (
        identically_zero(plus + minus - constant, Z) if constant.is_finite else Decision(Status.REFUTED, plus)
    )
    even = (
        identically_zero(minus - plus - slope * Z, Z) if slope.is_finite else Decision(Status.REFUTED, plus)
    )
    if odd.proved and not (even.proved and slope == 0):
        return AffineParity(-1, constant, S.Zero, Status.PROVED)
    if even.proved:
        return AffineParity(1, S.Zero, slope, Status.PROVED)
    refuted = odd.refuted and even.refuted
    return AffineParity(0, S.Zero, S.Zero, Status.REFUTED if refuted else Status.UNDECIDED)


def half_line(activation: Activation, side: int) -> HalfLine:
    r"""Return degree and factor for z > 0 (``side`` 1) or z < 0 (-1), from :math:`t f'(t) = p f(t)`, c = f(1).

    Raises
    ------
    ValueError
        If ``side`` is neither 1 nor -1.
    """
    if side not in (1, -1):
        raise ValueError(f"side is 1 (z > 0) or -1 (z < 0), got {side}")
    value = activation.expr.subs(Z, side * _T)
    zero = vanishes_for_positive(value, _T)
    if zero.proved:
        return HalfLine(None, S.Zero, Status.PROVED)
    at_one = simplify(value.subs(_T, 1))
    if is_zero(at_one) is not Status.REFUTED:
        # c t^p with f(1) = 0 vanishes everywhere, which is refuted or undecided above
        refuted = zero.refuted and is_zero(at_one) is Status.PROVED
        return HalfLine(None, None, Status.REFUTED if refuted else Status.UNDECIDED)
    slope = activation.derivative(1).subs(Z, side * _T) * side
    degree = simplify(slope.subs(_T, 1) / at_one)
    decision = vanishes_for_positive(_T * slope - degree * value, _T)
    if decision.proved and degree.is_finite:
        return HalfLine(degree, at_one, Status.PROVED)
    return HalfLine(None, None, decision.status if decision.refuted else Status.UNDECIDED)


def tex(expr: Expr) -> str:
    r"""Return a constant or a formula as LaTeX; infinity has a sign of its own.

    >>> print(tex(oo), tex(-oo), tex(Rational(1, 2)))
    \infty -\infty \frac{1}{2}
    """
    if expr.is_infinite:
        return r"\infty" if expr.is_extended_positive else r"-\infty"
    return latex(expr)


@cache
def pieces(expr: Expr) -> tuple[Cell, ...]:
    """Return the cells of a formula in ``Z``; see ``derivations.cells.cells``.

    Raises
    ------
    NotDecided
        If the cuts cannot be listed.
    """
    return cells(expr, Z)


def breaks(activation: Activation) -> Finding:
    """Return all points where a derivative jumps; UNDECIDED where a piece is not shown to be analytic."""
    try:
        parts = pieces(activation.expr)
        found = breaks_between(parts, Z)
    except NotDecided as error:
        return Finding(None, Status.UNDECIDED, f"Not decided: {error}.")
    if all(is_analytic_formula(part.expr, part.lower, part.upper) for part in parts):
        return Finding(found, Status.PROVED, "Between the cuts the formula is analytic.")
    return Finding(None, Status.UNDECIDED, "A piece of the formula is not shown to be analytic.")


def analytic(activation: Activation) -> Finding:
    """Return whether sigma is real-analytic on the whole line: by construction, or refuted by a break."""
    found = breaks(activation)
    if found.status is not Status.PROVED:
        return Finding(None, Status.UNDECIDED, found.reason)
    if found.value:
        first: Break = found.value[0]
        return Finding(False, Status.REFUTED, _jump(first))
    return Finding(True, Status.PROVED, "Sums, products and compositions of analytic functions.")


def _jump(found: Break) -> str:
    left, right = found.left[found.order], found.right[found.order]
    return (
        rf"$\sigma^{{({found.order})}}$ jumps at ${tex(found.point)}$, from ${tex(left)}$ to ${tex(right)}$."
    )


def is_analytic_formula(expr: Expr, lower: Expr = -oo, upper: Expr = oo) -> bool:
    """Say whether ``expr`` is analytic on the closed interval by construction; False means not shown.

    >>> is_analytic_formula(Z / (1 + Z**2)), is_analytic_formula(1 / Z), is_analytic_formula(1 / (1 + Z), S.Zero)
    (True, False, True)
    """
    if expr.is_number or expr == Z:
        return bool(expr == Z or expr.is_finite)
    if expr.is_Add or expr.is_Mul:
        return all(is_analytic_formula(part, lower, upper) for part in expr.args)
    if isinstance(expr, _ANALYTIC):
        return is_analytic_formula(expr.args[0], lower, upper)
    if isinstance(expr, log):
        (inside,) = expr.args
        return is_analytic_formula(inside, lower, upper) and _positive(inside, lower, upper)
    if isinstance(expr, Pow) and expr.exp.is_real and not expr.exp.has(Z):
        if not is_analytic_formula(expr.base, lower, upper):
            return False
        if expr.exp.is_Integer:
            return bool(expr.exp > 0) or _positive(expr.base, lower, upper, either=True)
        return _positive(expr.base, lower, upper)
    if isinstance(expr, Pow) and expr.base.is_positive and not expr.base.has(Z):
        return is_analytic_formula(expr.exp, lower, upper)
    return False


def _positive(expr: Expr, lower: Expr, upper: Expr, *, either: bool = False) -> bool:
    """Say whether a formula is shown to be positive (or, with ``either``, to have one sign) on the closed interval."""
    if expr.is_positive or (either and expr.is_negative):
        return True
    try:
        if real_zeros(expr, Z, lower, upper):
            return False
    except NotDecided:
        return False
    values = [expr.subs(Z, Cell(lower, upper, expr).inner)]
    values += [expr.subs(Z, end) for end in (lower, upper) if end.is_finite]
    signs = {bool(value.is_positive) if is_zero(value) is Status.REFUTED else None for value in values}
    return signs == {True} or (either and signs == {False})


def multiplicity(activation: Activation) -> Finding:
    r"""Return the smallest p >= 1 with :math:`\sigma^{(p)}(0) \neq 0`, infinity for a constant.

    Where a derivative of order p or below jumps at 0 there is no multiplicity: near zero weights sigma is then no
    monomial.

    Source
    ------
    Zhou, Zhou, Luo, Zhang, Xu (2022), arXiv:2105.11686 - definition of the multiplicity.
    """
    try:
        parts = pieces(activation.expr)
        at_zero = [found for found in breaks_between(parts, Z) if found.point == 0]
    except NotDecided as error:
        return Finding(None, Status.UNDECIDED, f"Not decided: {error}.")
    (here,) = [part for part in parts if part.lower < 0 <= part.upper]
    formula = here.expr
    if identically_zero(activation.derivative(1), Z).proved and not at_zero:
        return Finding(oo, Status.PROVED, r"$\sigma' = 0$.")
    for order in range(1, _HIGHEST + 1):
        if at_zero and at_zero[0].order <= order:
            return Finding(None, Status.REFUTED, _jump(at_zero[0]))
        formula = formula.diff(Z)
        value = formula.subs(Z, 0)
        if value.has(S.NaN, S.ComplexInfinity):
            value = limit(formula, Z, 0)
        status = is_zero(value) if value.is_number else Status.UNDECIDED
        if status is Status.REFUTED and value.is_finite:
            return Finding(
                Integer(order), Status.PROVED, rf"$\sigma^{{({order})}}(0) = {tex(simplify(value))}$."
            )
        if status is not Status.PROVED:
            return Finding(None, Status.UNDECIDED, rf"Whether $\sigma^{{({order})}}(0) = 0$ is not decided.")
    return Finding(None, Status.UNDECIDED, f"The first {_HIGHEST} derivatives vanish at 0.")


def period(activation: Activation) -> Finding:
    """Return a period; refuted where sigma has a limit at an end, finite or not, without being constant."""
    if identically_zero(activation.derivative(1), Z).proved and activation.analytic.value:
        return Finding(None, Status.UNDECIDED, "A constant has every period.")
    for tail in activation.tails:
        if tail.known and tail.value.limit is not None and not _is_constant(activation):
            return Finding(
                None, Status.REFUTED, rf"$\sigma$ is not constant and tends to ${tex(tail.value.limit)}$."
            )
    try:
        found = periodicity(activation.expr, Z)
    except (NotImplementedError, ValueError, TypeError, AttributeError):
        found = None
    if found is not None and found.is_positive and _repeats(activation, found):
        for part in (2, 3):  # what SymPy returns need not be the smallest
            while _repeats(activation, found / part):
                found = found / part
        return Finding(found, Status.PROVED, rf"$\sigma(z + {tex(found)}) = \sigma(z)$.")
    return Finding(None, Status.UNDECIDED, "No period was found, and none is excluded.")


def _repeats(activation: Activation, shift: Expr) -> bool:
    return identically_zero(activation.expr.subs(Z, Z + shift) - activation.expr, Z).proved


def _is_constant(activation: Activation) -> bool:
    """Say whether sigma takes one value as far as three points tell; False is a proof that it does not."""
    points = (Rational(0), Rational(1), Rational(-3, 2))
    values = [activation.expr.subs(Z, point) for point in points]
    return not any(is_zero(value - values[0]) is Status.REFUTED for value in values[1:])


def shift_rate(activation: Activation) -> Finding:
    r"""Return k with :math:`\sigma(z + s) = e^{ks} \sigma(z)`, equivalent to :math:`\sigma' = k \sigma` for smooth sigma."""
    point = Rational(3, 7)
    value = activation.expr.subs(Z, point)
    if is_zero(value) is not Status.REFUTED:
        return Finding(None, Status.UNDECIDED, "The value at the point tried is not shown to differ from 0.")
    rate = simplify(activation.derivative(1).subs(Z, point) / value)
    decision = identically_zero(activation.derivative(1) - rate * activation.expr, Z)
    if decision.proved:
        smooth = activation.analytic
        if smooth.status is Status.PROVED:
            return Finding(rate, Status.PROVED, rf"$\sigma' = {tex(rate)}\,\sigma$.")
        return Finding(None, smooth.status, smooth.reason)
    if decision.refuted:
        ratio = (activation.derivative(1) / activation.expr).subs(Z, decision.witness).evalf(6)
        return Finding(
            None,
            Status.REFUTED,
            rf"$\sigma'/\sigma$ is ${tex(rate.evalf(6))}$ at ${tex(point)}$ and ${tex(ratio)}$ at "
            rf"${tex(decision.witness)}$.",
        )
    return Finding(None, Status.UNDECIDED, r"Whether $\sigma'$ is a multiple of $\sigma$ is not decided.")
