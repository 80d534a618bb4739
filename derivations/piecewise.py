r"""Piecewise polynomials of one variable, exactly: an activation on its two half lines, a target on its pieces.

Nothing here integrates a ``Max`` or an ``Abs``: the function is cut at its kinks first, and every piece is a
polynomial.

>>> from sympy import Abs, Symbol
>>> x = Symbol("x", real=True)
>>> [(piece.lower, piece.upper, piece.expr) for piece in pieces(Abs(2*x - 1), x, Integer(0), Integer(1))]
[(0, 1/2, 1 - 2*x), (1/2, 1, 2*x - 1)]
>>> from derivations.activations import activation
>>> half_lines(activation("relu")), half_lines(activation("abs"))
((0, z), (-z, z))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sympy import (
    Abs,
    Expr,
    Integer,
    Interval,
    Max,
    Min,
    Poly,
    S,
    Symbol,
    expand,
    real_roots,
    sign,
    singularities,
)
from sympy.polys.polyerrors import PolynomialError

from derivations.activations import Activation, Z, without_max
from derivations.errors import AssumptionError
from derivations.functions import relu, step

__all__ = ["Piece", "check_regular", "half_lines", "integral", "is_less", "pieces"]

_T = Symbol("t", positive=True)
_KINKED = (relu, step, Abs, sign)


@dataclass(frozen=True)
class Piece:
    """The polynomial ``expr`` on the interval from ``lower`` to ``upper``."""

    lower: Expr
    upper: Expr
    expr: Expr


def check_regular(parts: Sequence[Piece], x: Symbol) -> None:
    """Refuse a function with a singularity in one of its closed pieces, such as 1/x from -1 to 1.

    Raises
    ------
    AssumptionError
        With the piece and where it is singular.
    """
    for piece in parts:
        if not (piece.lower.is_number and piece.upper.is_number) or piece.expr.is_polynomial(x):
            continue
        try:
            found = singularities(piece.expr, x, Interval(piece.lower, piece.upper))
        except NotImplementedError:
            continue  # nothing is known against it
        if found is not S.EmptySet:
            raise AssumptionError(
                f"the target {piece.expr} has a singularity from {x} = {piece.lower} to {piece.upper}, in {found}; choose an "
                "interval without it"
            )


def half_lines(sigma: Activation) -> tuple[Expr, Expr]:
    r"""Return the polynomials in ``Z`` that sigma is for z < 0 and for z > 0.

    Raises
    ------
    AssumptionError
        If it is not a polynomial on both half lines, or jumps at 0.
    """
    sides = []
    for direction in (-1, 1):
        side = expand(sigma.derivative(0).subs(Z, direction * _T))
        if not side.is_polynomial(_T):
            raise AssumptionError(
                f"exact integration needs an activation that is a polynomial for z < 0 and for z > 0, with a kink at 0 "
                f"at most; '{sigma.name}' is {side.subs(_T, direction * Z)} for z {'>' if direction > 0 else '<'} 0. "
                "Use relu, leaky_relu, abs, linear or a polynomial"
            )
        sides.append(expand(side.subs(_T, direction * Z)))
    if sides[0].subs(Z, 0) != sides[1].subs(Z, 0):
        raise AssumptionError(f"exact integration needs a continuous activation; '{sigma.name}' jumps at 0")
    return sides[0], sides[1]


def pieces(expr: Expr, x: Symbol, lower: Expr, upper: Expr, *, polynomial: bool = True) -> tuple[Piece, ...]:
    """Return the polynomial pieces of ``expr`` in ``x`` between ``lower`` and ``upper``.

    Parameters
    ----------
    expr : Expr
        Polynomials in x, and relu, step, abs, sign, max, min of such functions; other symbols are constants.
    lower, upper : Expr
        Ends of the interval; they may be symbols where ``expr`` has no kink.
    polynomial : bool
        False also accepts pieces that are other formulas; the arguments of relu, abs and the like stay polynomials.

    Raises
    ------
    AssumptionError
        If a piece is no polynomial in x, or a kink depends on symbols.
    """
    found = list(_cut(without_max(expr), x, lower, upper))
    odd = next((u.expr for u in found if not u.expr.is_polynomial(x)), None)
    if polynomial and odd is not None:
        raise AssumptionError(
            f"exact integration needs a target that is a polynomial in {x}, or such with relu, abs, sign, max, min "
            f"of polynomials; found {odd}"
        )
    return tuple(_joined(found))


def _cut(expr: Expr, x: Symbol, lower: Expr, upper: Expr) -> Iterator[Piece]:
    atoms = [u for u in expr.atoms(*_KINKED) if u.has(x)]
    inner = [u for u in atoms if not any(v.has(x) for arg in u.args for v in arg.atoms(*_KINKED, Max, Min))]
    if not inner:
        yield Piece(lower, upper, expand(expr) if expr.is_polynomial(x) else expr)
        return
    kinked = min(inner, key=str)
    argument = expand(kinked.args[0])
    if (
        not argument.is_polynomial(x)
        or argument.free_symbols - {x}
        or not (lower.is_number and upper.is_number)
    ):
        raise AssumptionError(
            f"the kinks of {kinked} are not exact numbers; give numbers for its symbols and for the ends"
        )
    try:
        roots = [r for r in real_roots(Poly(argument, x)) if is_less(lower, r) and is_less(r, upper)]
    except (PolynomialError, NotImplementedError) as error:
        raise AssumptionError(f"the kinks of {kinked} cannot be computed exactly: {error}") from None
    ends = [lower, *dict.fromkeys(roots), upper]
    for left, right in pairwise(ends):
        middle = argument.subs(x, (left + right) / 2)
        direction = 1 if is_less(Integer(0), middle) else -1
        yield from _cut(expr.xreplace({kinked: _branch(kinked, argument, direction)}), x, left, right)


def _branch(kinked: Expr, argument: Expr, direction: int) -> Expr:
    """Return what a function with a kink is where its argument has this sign."""
    if isinstance(kinked, relu):
        return argument if direction > 0 else Integer(0)
    if isinstance(kinked, step):
        return Integer(int(direction > 0))
    return direction * argument if isinstance(kinked, Abs) else Integer(direction)


def _joined(found: Sequence[Piece]) -> Iterator[Piece]:
    """Join neighbours on which the formula is the same."""
    start = found[0]
    for piece in found[1:]:
        if expand(piece.expr - start.expr) == 0:
            start = Piece(start.lower, piece.upper, start.expr)
        else:
            yield start
            start = piece
    yield start


def is_less(left: Expr, right: Expr) -> bool:
    """Decide an inequality between exact numbers.

    Raises
    ------
    AssumptionError
        If SymPy cannot tell the sign of the difference.
    """
    difference = right - left
    if difference.is_Rational:
        return bool(difference > 0)
    positive = difference.is_positive
    if positive is None and difference.is_number:
        value = difference.evalf(60, maxn=400)
        positive = False if difference.equals(0) else bool(value > 0) if value.is_comparable else None
    if positive is None:
        raise AssumptionError(f"it cannot be told whether {left} < {right}; give exact numbers")
    return positive


def integral(expr: Expr, x: Symbol, lower: Expr, upper: Expr) -> Expr:
    """Return the integral of a polynomial in x, whose coefficients and ends are any polynomials, multiplied out.

    >>> from sympy import symbols
    >>> x, p = symbols("x p")
    >>> integral((x - p)**2, x, p, Integer(1))
    -p**3/3 + p**2 - p + 1/3
    """
    total: Expr = Integer(0)
    for (power,), coefficient in Poly(expr, x).terms():
        total += coefficient * (upper ** (power + 1) - lower ** (power + 1)) / (power + 1)
    return expand(total)
