r"""Ball forms of constants and functions: a SymPy number as an Arb ball, and every function of the formulas on balls.

A ball [mid +/- rad] contains the exact value whatever was rounded on the way.  A function with a kink has a ball form away
from it only: a derivative taken there would not bound the function.  The precision is that of ``flint.ctx``.

>>> from sympy import Rational, pi, sqrt
>>> with flint.ctx.workprec(64):
...     print(exact_ball(Rational(1, 3)).str(8), exact_ball(sqrt(2) / pi).str(8), function("tanh")(exact_ball(Rational(1))).str(8))
[0.33333333 +/- 3.34e-9] [0.45015816 +/- 1.93e-9] [0.76159416 +/- 4.05e-9]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint
import sympy
from sympy import Expr

from derivations.enclosure import NotEnclosed
from derivations.functions import relu, sech2, sigmoid, softplus, step

__all__ = ["NotEnclosed", "exact_ball", "function", "power"]

Ball = Any
"""``flint.arb``; the library has no types of its own."""


def exact_ball(expr: Expr) -> Ball:
    """Return a ball that contains a constant.

    Raises
    ------
    NotEnclosed
        If it is no real number built from rational numbers, pi, e and the functions of the formulas.
    """
    if expr.is_Rational:
        return flint.arb(flint.fmpq(int(expr.p), int(expr.q)))
    if expr.is_Float:
        return _binary(expr)
    if expr is sympy.pi:
        return flint.arb.pi()
    if expr is sympy.E:
        return flint.arb.const_e()
    if expr.is_Add or expr.is_Mul:
        values = [exact_ball(part) for part in expr.args]
        total = values[0]
        for value in values[1:]:
            total = total + value if expr.is_Add else total * value
        return total
    if expr.is_Pow:
        return power(expr.exp)(exact_ball(expr.base))
    if not expr.args:
        raise NotEnclosed(f"{expr} has no ball form")
    return function(type(expr).__name__)(exact_ball(expr.args[0]))


def _binary(number: Expr) -> Ball:
    """Return a binary floating-point number, exactly."""
    sign, mantissa, exponent, _ = number._mpf_
    value = flint.arb(int(mantissa)) * flint.arb(2) ** int(exponent)
    return -value if sign else value


def power(exponent: Expr) -> Callable[[Ball], Ball]:
    """Return the function u -> u**exponent for a constant exponent; not finite where it is not defined."""
    if exponent.is_Integer:
        number = int(exponent)
        return (lambda u: _repeated(u, number)) if number >= 0 else (lambda u: 1 / _repeated(u, -number))
    if exponent == sympy.Rational(1, 2):
        return lambda u: u.sqrt()
    if exponent == sympy.Rational(-1, 2):
        return lambda u: u.rsqrt()
    return lambda u: u ** exact_ball(exponent)


def _repeated(u: Ball, count: int) -> Ball:
    """Return a power by repeated squaring; the library's own is not defined where the ball holds 0."""
    result = flint.arb(1)
    while count:
        if count & 1:
            result = result * u
        u, count = u * u, count >> 1
    return result


def function(name: str) -> Callable[[Ball], Ball]:
    """Return the ball form of a function by its name.

    Raises
    ------
    NotEnclosed
        If there is none; and, from the function, if a ball meets a kink.
    """
    if name in _SMOOTH:
        return _SMOOTH[name]
    if name in _KINKED:
        rule = _KINKED[name]
        return lambda u: rule(u, _side(u, name))
    raise NotEnclosed(f"{name} has no ball form: add one to numerics/arb_functions.py")


def _side(u: Ball, name: str) -> int:
    """Return the sign of a ball; a derivative is one-sided where it holds 0."""
    if u > 0:
        return 1
    if u < 0:
        return -1
    raise NotEnclosed(f"the kink of {name} lies in the box")


_SMOOTH: dict[str, Callable[[Ball], Ball]] = {
    "tanh": lambda u: u.tanh(),
    "exp": lambda u: u.exp(),
    "log": lambda u: u.log(),
    "sin": lambda u: u.sin(),
    "cos": lambda u: u.cos(),
    "tan": lambda u: u.tan(),
    "sinh": lambda u: u.sinh(),
    "cosh": lambda u: u.cosh(),
    "asinh": lambda u: u.asinh(),
    "atan": lambda u: u.atan(),
    "asin": lambda u: u.asin(),
    "erf": lambda u: u.erf(),
    # Each with one occurrence of u, so that the enclosure of a wide ball is not wider than it must be.
    sigmoid.__name__: lambda u: 1 / (1 + (-u).exp()),
    softplus.__name__: lambda u: u.exp().log1p(),
    sech2.__name__: lambda u: _repeated(u.sech(), 2),
}

_KINKED: dict[str, Callable[[Ball, int], Ball]] = {
    "Abs": lambda u, side: u if side > 0 else -u,
    "sign": lambda u, side: flint.arb(side),
    relu.__name__: lambda u, side: u if side > 0 else flint.arb(0),
    step.__name__: lambda u, side: flint.arb(1 if side > 0 else 0),
}
