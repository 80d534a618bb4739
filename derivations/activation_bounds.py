r"""Behaviour at infinity and best Lipschitz constants of an activation and of its derivative.

:math:`\sup \lvert g \rvert` of an analytic piece g of :math:`\sigma'` or :math:`\sigma''` is the largest of its values at the zeros of g' and
of its limits at the ends, provided that all zeros are known: they are where g is rational in z, or in one of
tanh(cz), sigmoid(cz), exp(cz), (sin cz, cos cz), or where g' is a polynomial times a positive function.  A polynomial
in z and exponentials is enclosed by interval arithmetic, its tails by :math:`z^i e^{-jz} \le A^i e^{-jA}` for
:math:`z \ge A \ge i/j`.  Everything else is undecided.

>>> from derivations.activations import REGISTRY
>>> REGISTRY["gelu"].lipschitz.value, REGISTRY["tanh"].lipschitz_derivative.value
(exp(-1)/sqrt(pi) + erf(1)/2 + 1/2, 4*sqrt(3)/9)
>>> REGISTRY["silu"].tails[1].value
Tail(limit=oo, slope=1, offset=0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from mpmath import mp, mpf
from sympy import (
    AccumBounds,
    ComplexRootOf,
    Dummy,
    Expr,
    Float,
    Function,
    Integer,
    Limit,
    Poly,
    PolynomialError,
    Rational,
    S,
    ceiling,
    cos,
    cosh,
    exp,
    factor,
    igcd,
    ilcm,
    limit,
    simplify,
    sin,
    sinh,
    tan,
    tanh,
    together,
)

from derivations.activation_properties import pieces, tex
from derivations.activations import Activation, Z
from derivations.cells import NotDecided, real_zeros
from derivations.claim import Status
from derivations.decide import Finding
from derivations.enclosure import IV, NotEnclosed, enclose, ends, largest_modulus
from derivations.functions import sech2, sigmoid, softplus

__all__ = ["Tail", "lipschitz", "supremum", "tail"]

_U = Dummy("u", real=True)


@dataclass(frozen=True)
class Tail:
    r"""Limit at one end; ``slope`` and ``offset`` of the asymptote where there is one, else None."""

    limit: Expr | None
    slope: Expr | None
    offset: Expr | None


def tail(activation: Activation, side: int) -> Finding:
    r"""Return limit and asymptote for :math:`z \to \pm\infty` (``side`` 1 or -1); refuted where sigma oscillates.

    Raises
    ------
    ValueError
        If ``side`` is neither 1 nor -1.
    """
    if side not in (1, -1):
        raise ValueError(f"side is 1 or -1, got {side}")
    try:
        end = pieces(activation.expr)[-1 if side == 1 else 0].expr.subs(Z, side * Z)
        value = _limit(end)
        if isinstance(value, AccumBounds):
            return Finding(
                None,
                Status.REFUTED,
                rf"$\sigma$ oscillates between ${tex(value.min)}$ and ${tex(value.max)}$.",
            )
        if value.is_finite:
            return Finding(
                Tail(value, S.Zero, value), Status.PROVED, "By SymPy's limits, compared with values far out."
            )
        slope = _limit(end / Z)
        if isinstance(slope, AccumBounds) or not slope.is_finite or slope == 0:
            return Finding(
                Tail(value, None, None), Status.PROVED, "By SymPy's limits, compared with values far out."
            )
        offset = _limit(end - slope * Z)
        known = offset if offset.is_finite and not isinstance(offset, AccumBounds) else None
        return Finding(
            Tail(value, side * slope, known),
            Status.PROVED,
            "By SymPy's limits, compared with values far out.",
        )
    except NotDecided as error:
        return Finding(None, Status.UNDECIDED, f"Not decided: {error}.")


def lipschitz(activation: Activation, order: int) -> Finding:
    r"""Return :math:`\sup \lvert \sigma^{(order+1)} \rvert`, the best Lipschitz constant of :math:`\sigma^{(order)}`.

    Raises
    ------
    ValueError
        If ``order`` is not 0 or 1.
    """
    if order not in (0, 1):
        raise ValueError(f"order is 0 (sigma) or 1 (its derivative), got {order}")
    found = activation.breaks
    if found.status is not Status.PROVED:
        return Finding(None, Status.UNDECIDED, found.reason)
    for place in found.value:
        if place.order <= order:
            return Finding(
                None, Status.REFUTED, rf"$\sigma^{{({place.order})}}$ jumps at ${tex(place.point)}$."
            )
    largest: Finding = Finding(S.Zero, Status.PROVED)
    for part in pieces(activation.expr):
        here = supremum(part.expr.diff(Z, order + 1), part.lower, part.upper)
        if not here.known:
            return here
        largest = _larger(largest, here)
    return largest


def _larger(first: Finding, second: Finding) -> Finding:
    gap = (first.value - second.value).evalf(30)
    room = (first.radius or 0) + (second.radius or 0)
    if abs(gap) > room or room == 0:
        return first if gap >= 0 else second
    both = max(first.value, second.value, key=lambda u: u.evalf(30))
    return Finding(
        both, Status.CERTIFIED, "Interval arithmetic.", max(first.radius or S.Zero, second.radius or S.Zero)
    )


@cache
def supremum(expr: Expr, lower: Expr, upper: Expr) -> Finding:
    r"""Return sup \|expr\| over the open interval: PROVED, CERTIFIED, REFUTED where infinite, or UNDECIDED.

    >>> supremum(Z / (1 + Z**2), S.NegativeInfinity, S.Infinity).value
    1/2
    """
    if not expr.has(Z):
        return Finding(simplify(abs(expr)), Status.PROVED, "Constant.")
    for candidates in _methods(expr, lower, upper):
        try:
            values = candidates()
            if any(value.is_infinite for value in values):
                return Finding(None, Status.REFUTED, rf"${tex(expr)}$ is unbounded.")
            if any(value.has(ComplexRootOf) for value in values):
                return _numeric(values)
            values = [simplify(value) for value in values]
        except (NotDecided, PolynomialError, NotImplementedError):
            continue
        if any(value.is_infinite for value in values):
            return Finding(None, Status.REFUTED, rf"${tex(expr)}$ is unbounded.")
        if all(value.is_number and value.is_finite for value in values):
            best = max((abs(value) for value in values), key=lambda u: u.evalf(30))
            return Finding(simplify(best), Status.PROVED, "Values at all stationary points and at the ends.")
    return _certified(expr, lower, upper)


def _numeric(values: Sequence[Expr]) -> Finding:
    """Return the largest modulus as a float: roots of degree above four are isolated exactly but have no short form."""
    sizes = [abs(value).evalf(30) for value in values]
    if not all(size.is_comparable and size.is_finite for size in sizes):
        raise NotDecided("a value at a stationary point")
    best = Float(max(sizes), 20)
    radius = Rational(1, 10**18) * ceiling(best + 1)
    return Finding(best, Status.CERTIFIED, "Values at all stationary points, isolated exactly.", radius)


def _methods(expr: Expr, lower: Expr, upper: Expr) -> Iterator[Callable[[], list[Expr]]]:
    """Yield ways to list values whose largest modulus is the supremum."""
    with suppress(NotDecided):  # a limit of tanh(z/10**50) is not seen at the numbers tried
        for changed, range_ in _as_rational(expr, lower, upper):
            yield lambda changed=changed, range_=range_: _stationary(changed, _U, *range_)  # type: ignore[misc]
    yield lambda: _stationary(expr, Z, lower, upper)


def _stationary(expr: Expr, u: Expr, lower: Expr, upper: Expr) -> list[Expr]:
    slope = factor(expr.diff(u))
    zeros = [] if slope == 0 else real_zeros(slope.subs(u, Z), Z, lower, upper)
    at_ends = [_limit(expr.subs(u, Z), lower, "+"), _limit(expr.subs(u, Z), upper, "-")]
    if any(isinstance(value, AccumBounds) for value in at_ends):
        raise NotDecided("the function oscillates")
    return [*at_ends, *(expr.subs(u, zero) for zero in zeros)]


def _as_rational(expr: Expr, lower: Expr, upper: Expr) -> Iterator[tuple[Expr, tuple[Expr, Expr]]]:
    """Yield (rational function of ``_U``, range of the new variable): tanh, sigmoid, exp, tan of half the angle."""
    for function in (tanh, sigmoid):
        other = expr.replace(sech2, lambda v: 1 - tanh(v) ** 2) if function is tanh else expr
        arguments = {v.args[0] for v in other.atoms(function)}
        if len(arguments) == 1 and (argument := arguments.pop()).diff(Z).is_positive:
            changed = other.subs(function(argument), _U)
            if not changed.has(Z) and changed.is_rational_function(_U):
                yield (
                    together(changed),
                    (_limit(function(argument), lower), _limit(function(argument), upper)),
                )
    powers = _in_exponentials(expr)
    if powers is not None and not powers[0].has(Z):
        changed, rate = powers
        yield together(changed), (_limit(exp(rate * Z), lower), _limit(exp(rate * Z), upper))
    angles = {v.args[0] for v in expr.atoms(sin, cos)}
    if len(angles) == 1 and (lower, upper) == (S.NegativeInfinity, S.Infinity):
        (angle,) = angles
        changed = expr.subs({sin(angle): 2 * _U / (1 + _U**2), cos(angle): (1 - _U**2) / (1 + _U**2)})
        if angle.diff(Z).is_nonzero and angle.is_polynomial(Z) and not changed.has(Z, tan):
            yield together(changed), (S.NegativeInfinity, S.Infinity)


def _in_exponentials(expr: Expr) -> tuple[Expr, Expr] | None:
    """Return (expr with exp(c z) = u, c > 0), every exponent being an integer multiple of c z plus a constant."""
    plain = expr.replace(lambda v: v.func in (tanh, sinh, cosh, sigmoid, sech2), lambda v: v.rewrite(exp))
    exponents = [v.args[0] for v in plain.atoms(exp) if v.has(Z)]
    rates = [v.diff(Z) for v in exponents]
    if not rates or not all(rate.is_Rational and rate != 0 for rate in rates):
        return None
    below = ilcm(1, *[rate.q for rate in rates])
    rate = Rational(igcd(0, *[int(rate * below) for rate in rates]), below)

    def changed(argument: Expr) -> Expr:
        own = argument.diff(Z)
        return exp(argument - own * Z) * _U ** (own / rate)

    out = plain.replace(exp, lambda v: changed(v) if v.has(Z) else exp(v))
    return (out, rate) if out.is_rational_function(_U, Z) else None


def _certified(expr: Expr, lower: Expr, upper: Expr) -> Finding:
    """Enclose the supremum of a rational function of z and exp(cz): a compact part by bisection, the tails by hand."""
    undecided = Finding(None, Status.UNDECIDED, rf"The stationary points of ${tex(expr)}$ are not all known.")
    try:
        left, bound_left = _cut(expr, lower, -1)
        right, bound_right = _cut(expr, upper, 1)
        low, top = largest_modulus(expr, Z, left, right)
    except (NotEnclosed, PolynomialError):
        return undecided
    with mp.workprec(IV.prec):
        top = max(top, mpf(bound_left), mpf(bound_right))
        middle, radius = (low + top) / 2, (top - low) / 2 + mpf(2) ** -60
        if radius > mpf(10) ** -9:
            return undecided
        return Finding(
            Float(middle, 20), Status.CERTIFIED, "Interval arithmetic.", Rational(str(mp.nstr(radius * 2, 3)))
        )


def _cut(expr: Expr, end: Expr, side: int) -> tuple[Expr, object]:
    """Return (finite end of the compact part, bound of the modulus beyond it)."""
    if end.is_finite:
        if not end.is_Rational:
            raise NotEnclosed("an end that is not rational")
        return IV.mpf(end.p) / IV.mpf(end.q), 0
    found = _in_exponentials(expr.subs(Z, side * Z))
    if found is None:
        raise NotEnclosed(f"no bound of {expr} at infinity")
    changed, rate = found
    top, below = together(changed.subs(_U, 1 / _U)).as_numer_denom()  # now u = exp(-rate z)
    below_poly, top_poly = Poly(below, _U), Poly(top, Z, _U)
    lowest = min(power for (power,) in below_poly.monoms())
    coefficients = below_poly.coeffs()
    if below.has(Z) or not (all(c > 0 for c in coefficients) or all(c < 0 for c in coefficients)):
        raise NotEnclosed("a denominator that may vanish")
    start = Integer(40)
    bound = IV.mpf(0)
    for (i, j), c in top_poly.terms():
        j -= lowest
        if j < 0 or (j == 0 and i > 0) or (i > 0 and start * rate * j < i):
            raise NotEnclosed("unbounded at infinity, or the cut is too near")
        size = IV.mpf(int(start)) ** i * IV.exp(-IV.mpf(int(start)) * j * rate.p / rate.q)
        bound += abs(enclose(c, Z, IV.mpf(0))) * size
    smallest = abs(enclose(below_poly.coeff_monomial(_U**lowest), Z, IV.mpf(0)))
    return IV.mpf(side * int(start)), ends(bound / smallest)[1]


def _limit(expr: Expr, point: Expr = S.Infinity, side: str = "-") -> Expr:
    """Return the limit for z to ``point``, an ``AccumBounds`` where there is none.

    Raises
    ------
    NotDecided
        If SymPy finds no answer.
    """
    if point.is_finite:
        value = expr.subs(Z, point)
        if value.is_finite:
            return value
    own = expr.replace(
        lambda u: isinstance(u, Function) and u.func in (sigmoid, softplus, sech2), lambda u: u.rewrite(exp)
    )
    try:
        found = limit(own, Z, point, side)
    except (NotImplementedError, ValueError, TypeError, RecursionError) as error:
        raise NotDecided(f"the limit of {expr} at {point}") from error
    if found.has(Limit, S.NaN) or not (found.is_number or isinstance(found, AccumBounds)):
        raise NotDecided(f"the limit of {expr} at {point}")
    if isinstance(found, AccumBounds):
        return found
    found = simplify(found)
    if point.is_infinite and not _seen(expr, point, found):
        raise NotDecided(
            f"the limit of {expr} at {point}: SymPy's answer {found} is not what values far out tend to"
        )
    return found


def _seen(expr: Expr, point: Expr, found: Expr) -> bool:
    """Compare a limit with values at 10^2 and 10^4: SymPy's limits are not free of errors."""
    sign = 1 if point is S.Infinity else -1
    near, far = (expr.subs(Z, sign * 10**k).evalf(30, chop=True) for k in (2, 4))
    if not (near.is_comparable and far.is_comparable):
        return bool(found.is_infinite)
    if found.is_infinite:
        return bool(far * (1 if found is S.Infinity else -1) > max(abs(near), 1))
    gap = abs(far - found)
    return bool(gap < Rational(1, 10**9) or (gap < Rational(1, 100) and gap < abs(near - found)))
