r"""Cells of a function of one variable: on each it is given by a formula without kinks.

An activation is built from analytic functions and from (.)_+, step, |.|, sgn, max and min.  The zeros of the
arguments of the latter cut the line; between two cuts each of them has one of its two forms.  A cut where all
derivatives agree is removed again, so what is left are the points where some derivative jumps.

>>> z = Symbol("z", real=True)
>>> [(cell.lower, cell.upper, cell.expr) for cell in cells(relu(z - 1) + Abs(z), z)]
[(-oo, 0, -z), (0, 1, z), (1, oo, 2*z - 1)]
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from sympy import (
    Abs,
    Expr,
    FiniteSet,
    Integer,
    Interval,
    Piecewise,
    Poly,
    PolynomialError,
    Rational,
    S,
    Symbol,
    expand,
    limit,
    real_roots,
    sign,
    simplify,
    solveset,
)
from sympy.functions.elementary.trigonometric import TrigonometricFunction

from derivations.almost_everywhere import without_max
from derivations.claim import Status
from derivations.decide import is_zero
from derivations.functions import relu, step

__all__ = ["KINKED", "Break", "Cell", "NotDecided", "breaks_between", "cells", "one_sided", "real_zeros"]

#: Functions with a kink or a jump where their argument vanishes.
KINKED = (relu, step, Abs, sign)
#: Derivatives compared at a cut: 0 to this order.
HIGHEST = 4
_LARGEST_EQUATION = 40


class NotDecided(Exception):
    """SymPy cannot tell what is asked; the message says what."""


@dataclass(frozen=True)
class Cell:
    """An open interval with the formula that holds there."""

    lower: Expr
    upper: Expr
    expr: Expr

    @property
    def inner(self) -> Expr:
        """Return a rational point inside."""
        if self.lower is S.NegativeInfinity:
            return S.Zero if self.upper is S.Infinity else Integer(_floor(self.upper) - 1)
        if self.upper is S.Infinity:
            return Integer(_floor(self.lower) + 2)
        middle = (self.lower + self.upper) / 2
        if middle.is_Rational:
            return middle
        width = (self.upper - self.lower).evalf(20)
        grid = 2 ** max(
            0, 4 - _floor(width).bit_length() if width >= 1 else 4 + _floor(1 / width).bit_length()
        )
        return Rational(_floor(middle * grid), grid)


@dataclass(frozen=True)
class Break:
    """A point where some derivative jumps.

    Parameters
    ----------
    point : Expr
        Where.
    order : int
        The first derivative that jumps: 0 a jump of the function, 1 a kink.
    left, right : tuple of Expr
        One-sided values of the function and its first four derivatives.
    """

    point: Expr
    order: int
    left: tuple[Expr, ...]
    right: tuple[Expr, ...]


def cells(expr: Expr, z: Symbol) -> tuple[Cell, ...]:
    """Return the cells of ``expr`` from left to right, neighbours with the same formula joined.

    Raises
    ------
    NotDecided
        If the zeros of an argument cannot be listed, or there are infinitely many.
    """
    found: list[Cell] = []
    for cell in _divide(without_max(expr), z, S.NegativeInfinity, S.Infinity):
        if found and found[-1].expr == cell.expr:
            cell = Cell(found.pop().lower, cell.upper, cell.expr)
        found.append(cell)
    return tuple(found)


def breaks_between(parts: tuple[Cell, ...], z: Symbol) -> tuple[Break, ...]:
    """Return the cuts between neighbouring cells at which a derivative jumps.

    Raises
    ------
    NotDecided
        If a difference of one-sided derivatives is not shown to be zero or not, or the first five all agree although
        the formulas differ.
    """
    found = []
    for before, after in itertools.pairwise(parts):
        point = before.upper
        left, right = one_sided(before.expr, z, point, "-"), one_sided(after.expr, z, point, "+")
        for order, (a, b) in enumerate(zip(left, right)):
            if a.is_infinite or b.is_infinite:
                raise NotDecided(f"derivative {order} is infinite at {point}")
            status = is_zero(a - b)
            if status is Status.UNDECIDED:
                raise NotDecided(f"whether derivative {order} jumps at {point}")
            if status is Status.REFUTED:
                found.append(Break(point, order, left, right))
                break
        else:
            if is_zero(simplify(before.expr - after.expr).subs(z, before.inner)) is not Status.PROVED:
                raise NotDecided(f"whether a derivative above {HIGHEST} jumps at {point}")
    return tuple(found)


def one_sided(expr: Expr, z: Symbol, point: Expr, side: str, highest: int = HIGHEST) -> tuple[Expr, ...]:
    """Return the value at ``point`` and the derivatives to the order ``highest``, by a one-sided limit if needed."""
    out = []
    for _ in range(highest + 1):
        value = expr.subs(z, point)
        if value.has(S.NaN, S.ComplexInfinity) or value.is_infinite:
            value = limit(expr, z, point, side)
        out.append(simplify(value))
        expr = expr.diff(z)
    return tuple(out)


def real_zeros(expr: Expr, z: Symbol, lower: Expr, upper: Expr) -> tuple[Expr, ...]:
    """Return the zeros inside the open interval, in increasing order.

    Polynomials by exact root isolation; products factor by factor; other equations by SymPy's ``solveset``.

    Raises
    ------
    NotDecided
        If they cannot be listed completely.
    """
    if expr.is_positive or expr.is_negative:
        return ()
    if not expr.has(z):
        if is_zero(expr) is Status.REFUTED:
            return ()
        raise NotDecided(f"{expr} vanishes on an interval")
    zeros: set[Expr] = set()
    for factor in expr.as_numer_denom()[0].as_ordered_factors():
        base = factor.as_base_exp()[0]
        if not base.has(z) or base.is_positive or base.is_negative:
            continue
        try:
            poly = Poly(base, z)
            if poly.degree() > _LARGEST_EQUATION:
                raise NotDecided(f"the zeros of a polynomial of degree {poly.degree()}")
            zeros |= set(real_roots(poly)) if poly.degree() > 0 else set()
        except (PolynomialError, NotImplementedError, TypeError):
            zeros |= set(_solve(base, z, lower, upper))
    inside = [u for u in zeros if _less(lower, u) and _less(u, upper)]
    return tuple(sorted(inside, key=lambda u: u.evalf(30)))


def _solve(expr: Expr, z: Symbol, lower: Expr, upper: Expr) -> FiniteSet:
    # Equations beyond these sizes become polynomials of high degree, which SymPy solves for minutes.
    if expr.count_ops() > _LARGEST_EQUATION or len(expr.atoms(TrigonometricFunction)) > 1:
        raise NotDecided(f"the zeros of {expr}")
    try:
        found = solveset(expr, z, Interval.open(lower, upper))
    except (NotImplementedError, ValueError, TypeError) as error:
        raise NotDecided(f"the zeros of {expr}") from error
    if found is S.EmptySet or isinstance(found, FiniteSet):
        return found
    raise NotDecided(f"the zeros of {expr}")


def _divide(expr: Expr, z: Symbol, lower: Expr, upper: Expr) -> Iterator[Cell]:
    """Cut at the zeros of one argument that has no kink itself, put its forms in, and go on with what is left."""
    if expr.has(Piecewise):
        raise NotDecided("the pieces of a Piecewise")
    atoms = sorted((u for u in expr.atoms(*KINKED) if not u.args[0].has(*KINKED)), key=str)
    if not atoms:
        yield Cell(lower, upper, expand(expr) if expr.is_polynomial(z) else expr)
        return
    argument = atoms[0].args[0]
    cuts = [lower, *real_zeros(argument, z, lower, upper), upper]
    for start, stop in itertools.pairwise(cuts):
        side = argument.subs(z, Cell(start, stop, expr).inner)
        if is_zero(side) is not Status.REFUTED or side.is_positive is None:
            raise NotDecided(f"the sign of {argument} between {start} and {stop}")
        same = [u for u in atoms if u.args[0] == argument]
        forms = {u: _form(u, bool(side.is_positive)) for u in same}
        yield from _divide(expr.xreplace(forms), z, start, stop)


def _form(function: Expr, positive: bool) -> Expr:
    argument = function.args[0]
    if isinstance(function, relu):
        return argument if positive else S.Zero
    if isinstance(function, step):
        return S.One if positive else S.Zero
    if isinstance(function, Abs):
        return argument if positive else -argument
    return S.One if positive else S.NegativeOne


def _less(a: Expr, b: Expr) -> bool:
    if a is S.NegativeInfinity or b is S.Infinity:
        return True
    if a is S.Infinity or b is S.NegativeInfinity or is_zero(a - b) is Status.PROVED:
        return False
    return bool((b - a).evalf(30) > 0)


def _floor(number: Expr) -> int:
    return int(number.evalf(30) // 1)
