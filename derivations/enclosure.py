r"""Rigorous enclosures: a formula over a real interval or a complex rectangle, its largest modulus, Gaussian integrals.

Interval arithmetic rounds outwards, so a result contains every value the formula takes.  Monotone functions are
evaluated at the ends; erf by its series of positive terms,

.. math::
    \operatorname{erf} x = \frac{2}{\sqrt\pi} e^{-x^2} \sum_{j \ge 0} \frac{2^j x^{2j+1}}{(2j+1)!!}, \qquad
    \lvert \operatorname{erf}(x + iy) - \operatorname{erf} x \rvert \le \frac{2}{\sqrt\pi} e^{-x^2} \lvert y\rvert e^{y^2}.

>>> z = Symbol("z", real=True)
>>> box = real_range(z * tanh(z), z, Rational(1), Rational(1) + Rational(1, 2**20))
>>> bool(0.761594 < box[0] < box[1] < 0.761596)
True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpmath import mp, mpf
from mpmath.ctx_iv import MPIntervalContext
from mpmath.libmp.libmpf import ComplexResult
from sympy import Abs, E, Expr, Pow, Rational, Symbol, cos, cosh, erf, exp, log, pi, sin, sinh, tanh

from derivations.functions import relu, sech2, sigmoid, softplus, step

__all__ = [
    "NotEnclosed",
    "complex_range",
    "enclose",
    "ends",
    "largest_modulus",
    "real_range",
    "rectangle_bound",
]

#: Interval arithmetic of our own: the precision of mpmath's global context is not ours to change.
IV = MPIntervalContext()
IV.prec = 110


class NotEnclosed(Exception):
    """The formula is not finite over the box, or has a function without an enclosure."""


def ends(interval: Any) -> tuple[Any, Any]:
    """Return both ends as mpf, exactly; the ``mpf`` of an interval would round to the global precision."""
    lower, upper = interval._mpi_
    return mp.make_mpf(lower), mp.make_mpf(upper)


def real_range(expr: Expr, z: Symbol, lower: Expr, upper: Expr) -> tuple[Any, Any]:
    """Return bounds (mpf) of ``expr`` for z between two rationals.

    Raises
    ------
    NotEnclosed
        If no finite enclosure is found.
    """
    return ends(enclose(expr, z, _hull(_number(lower), _number(upper))))


def complex_range(expr: Expr, z: Symbol, box: Any) -> Any:
    """Return a rectangle that contains ``expr`` over a rectangle, both as ``IV.mpc``.

    Raises
    ------
    NotEnclosed
        If no finite enclosure is found: a pole or a branch cut may meet the box.
    """
    return _checked(_complex(expr, z, box))


def rectangle_bound(expr: Expr, z: Symbol, lower: Any, upper: Any, height: Any, pieces: int = 4) -> Any:
    """Return an upper bound of the modulus over [lower, upper] x [-height, height], ``expr`` being real on the axis.

    The rectangle is cut into ``pieces`` by ``pieces``; the lower half is the mirror image of the upper.
    """
    bound = IV.mpf(0)
    for i in range(pieces):
        x = _hull(lower + (upper - lower) * i / pieces, lower + (upper - lower) * (i + 1) / pieces)
        for j in range(pieces):
            y = _hull(height * j / pieces, height * (j + 1) / pieces)
            bound = IV.mpf([0, max(bound.b, abs(complex_range(expr, z, IV.mpc(x, y))).b)])
    return bound.b


def enclose(expr: Expr, z: Symbol, box: Any) -> Any:
    """Return an interval (``IV.mpf``) that contains the values of ``expr`` for z in ``box``.

    Raises
    ------
    NotEnclosed
        If no finite enclosure is found.
    """
    return _checked(_real(expr, z, box))


def largest_modulus(
    expr: Expr, z: Symbol, lower: Any, upper: Any, *, tolerance: float = 1e-13, most: int = 20_000
) -> tuple[Any, Any]:
    r"""Return bounds (lo, up) of the maximum of \|expr\| on [lower, upper], by bisection.

    A box is discarded when it cannot reach the best value known, is replaced by its ends when the derivative has one
    sign on it, and is bounded by the mean value form :math:`f(m) + f'(X)(X - m)` otherwise.

    Raises
    ------
    NotEnclosed
        If the formula cannot be enclosed, or ``most`` boxes do not reach ``tolerance``.
    """
    slope = expr.diff(z)

    def at(point: Any) -> Any:
        return abs(enclose(expr, z, IV.mpf(point)))

    start, stop = IV.mpf(lower), IV.mpf(upper)
    best = max(at(start).a, at(stop).a)
    top = max(at(start).b, at(stop).b)
    boxes, used = [_hull(start, stop)], 0
    while boxes:
        box = boxes.pop()
        used += 1
        if used > most:
            raise NotEnclosed(f"the maximum of {expr} needs more than {most} boxes")
        middle = IV.mpf(box.mid)
        value = at(middle)
        best = max(best, value.a)
        change = enclose(slope, z, box)
        if change.a > 0 or change.b < 0:
            sides = [at(IV.mpf(box.a)), at(IV.mpf(box.b))]
            best = max([best, *(side.a for side in sides)])
            top = max([top, *(side.b for side in sides)])
            continue
        bound = abs(enclose(expr, z, middle) + change * (box - middle)).b
        if bound <= best + tolerance:
            top = max(top, bound)
            continue
        boxes += [_hull(box.a, middle), _hull(middle, box.b)]
    return ends(best)[0], ends(max(top, best))[1]


def _hull(lower: Any, upper: Any) -> Any:
    a, b = IV.mpf(lower), IV.mpf(upper)
    return IV.mpf([a.a, b.b])


def _checked(found: Any) -> Any:
    parts = [found.real, found.imag] if isinstance(found, IV.mpc) else [found]
    if all(mp.isfinite(end) for part in parts for end in ends(part)):
        return found
    raise NotEnclosed("not finite over the box")


def _number(expr: Expr) -> Any:
    """Enclose a constant."""
    if isinstance(expr, Rational):
        return IV.mpf(expr.p) / IV.mpf(expr.q)
    if expr.is_Float:
        return IV.mpf(mpf(expr))
    if expr == pi:
        return IV.pi
    if expr == E:
        return IV.e
    return _real(expr, Symbol("_none"), IV.mpf(0))


def _real(expr: Expr, z: Symbol, box: Any) -> Any:
    if expr == z:
        return box
    if expr.is_Rational or expr.is_Float or expr in (pi, E):
        return _number(expr)
    if expr.is_Add or expr.is_Mul:
        values = [_real(part, z, box) for part in expr.args]
        total = values[0]
        for value in values[1:]:
            total = total + value if expr.is_Add else total * value
        return total
    if isinstance(expr, Pow) and expr.exp.is_Integer:
        return _power(_real(expr.base, z, box), int(expr.exp))
    try:
        if isinstance(expr, Pow):
            base = _real(expr.base, z, box)
            if base.a < 0 or (base.a == 0 and not expr.exp.is_positive):
                raise NotEnclosed(f"{expr} where its base is not positive")
            if base.a == 0:
                return IV.mpf([0, IV.exp(_real(expr.exp, z, box) * IV.log(IV.mpf(base.b))).b])
            return IV.exp(_real(expr.exp, z, box) * IV.log(base))
        rule = _REAL.get(expr.func)
        if rule is None:
            raise NotEnclosed(f"{expr.func.__name__} has no enclosure")
        return rule(_real(expr.args[0], z, box))
    except (ComplexResult, ZeroDivisionError) as error:
        raise NotEnclosed(f"{expr} over a box that is not in its domain") from error


def _power(base: Any, exponent: int) -> Any:
    if exponent >= 0:
        return base**exponent
    inverse = base ** (-exponent)
    if inverse.a <= 0 <= inverse.b:
        raise NotEnclosed("division by an interval that contains 0")
    return 1 / inverse


def _monotone(at: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda u: _hull(at(IV.mpf(u.a)).a, at(IV.mpf(u.b)).b)


def _tanh(x: Any) -> Any:
    small = IV.exp(-2 * abs(x))
    value = (1 - small) / (1 + small)
    return value if x >= 0 else -value


def _sigmoid(x: Any) -> Any:
    small = IV.exp(-abs(x))
    return 1 / (1 + small) if x >= 0 else small / (1 + small)


def _softplus(x: Any) -> Any:
    return (x if x >= 0 else IV.mpf(0)) + IV.log(1 + IV.exp(-abs(x)))


def _sech2(u: Any) -> Any:
    def at(x: Any) -> Any:
        small = IV.exp(-2 * x)
        return 4 * small / (1 + small) ** 2

    size = abs(u)
    return _hull(at(IV.mpf(size.b)).a, at(IV.mpf(size.a)).b)


def _erf(x: Any) -> Any:
    """Sum the series at a point; the terms fall at least by half once 2j + 3 > 4 x^2, so the rest is the last term."""
    size = abs(x)
    if size.a > 20:
        value = 1 - IV.mpf([0, mpf(2) ** -500])
        return value if x >= 0 else -value
    term = total = size
    j = 0
    small = IV.mpf(2) ** (-IV.prec - 10)
    while not (2 * j + 3 > (4 * size * size).b and term.b < (small * (1 + total)).a):
        term = term * 2 * size * size / (2 * j + 3)
        total = total + term
        j += 1
    value = 2 / IV.sqrt(IV.pi) * IV.exp(-size * size) * (total + IV.mpf([0, term.b]))
    value = IV.mpf([value.a, min(value.b, IV.mpf(1).b)])
    return value if x >= 0 else -value


_REAL: dict[Any, Callable[[Any], Any]] = {
    exp: IV.exp,
    log: IV.log,
    sin: IV.sin,
    cos: IV.cos,
    sinh: _monotone(lambda x: (IV.exp(x) - IV.exp(-x)) / 2),
    cosh: lambda u: (IV.exp(u) + IV.exp(-u)) / 2,
    tanh: _monotone(_tanh),
    sigmoid: _monotone(_sigmoid),
    softplus: _monotone(_softplus),
    erf: _monotone(_erf),
    sech2: _sech2,
    Abs: abs,
    relu: lambda u: IV.mpf([max(u.a, IV.mpf(0).a), max(u.b, IV.mpf(0).b)]),
    step: lambda u: IV.mpf([int(u.a > 0), int(u.b >= 0)]),
}


def _complex(expr: Expr, z: Symbol, box: Any) -> Any:
    if expr == z:
        return box
    if not expr.has(z):
        return IV.mpc(_number(expr), 0)
    if expr.is_Add or expr.is_Mul:
        values = [_complex(part, z, box) for part in expr.args]
        total = values[0]
        for value in values[1:]:
            total = total + value if expr.is_Add else total * value
        return total
    if isinstance(expr, Pow) and expr.exp.is_Integer:
        base, total = _complex(expr.base, z, box), IV.mpc(1, 0)
        for _ in range(abs(int(expr.exp))):
            total = total * base
        return total if expr.exp > 0 else _inverse(total)
    if isinstance(expr, Pow) and not expr.exp.has(z):
        return IV.exp(_number(expr.exp) * _log(_complex(expr.base, z, box)))
    rule = _COMPLEX.get(expr.func)
    if rule is None:
        raise NotEnclosed(f"{expr.func.__name__} has no enclosure over a rectangle")
    return rule(_complex(expr.args[0], z, box))


def _inverse(u: Any) -> Any:
    size = u.real * u.real + u.imag * u.imag
    if size.a <= 0:
        raise NotEnclosed("division by a rectangle that contains 0")
    return IV.mpc(u.real / size, -u.imag / size)


def _log(u: Any) -> Any:
    if not u.real.a > 0:
        raise NotEnclosed("the logarithm beyond the right half plane")
    return IV.log(u)


def _right(u: Any) -> bool:
    return bool(u.real.mid >= 0)


def _complex_sigmoid(u: Any) -> Any:
    return _inverse(1 + IV.exp(-u)) if _right(u) else 1 - _inverse(1 + IV.exp(u))


def _complex_tanh(u: Any) -> Any:
    return 1 - 2 * _inverse(1 + IV.exp(2 * u)) if _right(u) else 2 * _inverse(1 + IV.exp(-2 * u)) - 1


def _complex_softplus(u: Any) -> Any:
    return u + _log(1 + IV.exp(-u)) if _right(u) else _log(1 + IV.exp(u))


def _complex_erf(u: Any) -> Any:
    x, y = u.real, abs(u.imag)
    size = (2 / IV.sqrt(IV.pi) * IV.exp(y * y - x * x) * y).b
    around = IV.mpf([-size, size])
    return IV.mpc(_REAL[erf](x) + around, around)


_COMPLEX: dict[Any, Callable[[Any], Any]] = {
    exp: IV.exp,
    log: _log,
    sin: IV.sin,
    cos: IV.cos,
    sinh: lambda u: (IV.exp(u) - IV.exp(-u)) / 2,
    cosh: lambda u: (IV.exp(u) + IV.exp(-u)) / 2,
    tanh: _complex_tanh,
    sigmoid: _complex_sigmoid,
    softplus: _complex_softplus,
    erf: _complex_erf,
    sech2: lambda u: 1 - _complex_tanh(u) * _complex_tanh(u),
}
