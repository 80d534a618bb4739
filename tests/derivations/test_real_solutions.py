"""Real solutions of polynomial systems, against roots known in closed form and by substitution in mpmath."""

from __future__ import annotations

import mpmath
import pytest
from sympy import Rational, symbols

from derivations.real_solutions import TooLarge, real_solutions

X, Y, Z, M = symbols("x y z m", real=True)


def test_only_the_real_solutions_are_returned():
    assert real_solutions([X**2 + 1], [X]).points == ()
    assert real_solutions([X**3 - X], [X]).points == ((-1,), (0,), (1,))
    assert real_solutions([X**2 + Y**2 - 1, X**2 - Y], [X, Y]).points[0][1].is_real


def test_an_inconsistent_system_has_none():
    assert real_solutions([X - 1, X - 2], [X]).points == ()
    assert real_solutions([X * 0 + 1], [X]).points == ()


def test_a_double_root_is_one_point():
    assert real_solutions([(X - Rational(1, 3)) ** 2, Y - X], [X, Y]).points == (
        (Rational(1, 3), Rational(1, 3)),
    )


def test_a_continuum_is_described_by_its_equations():
    found = real_solutions([X * Y], [X, Y])
    assert found.points == ()
    assert found.family == (X * Y,)
    assert real_solutions([], [X]).family == ()


def test_unknowns_are_eliminated():
    """m x = 1 and m = 2 leave x = 1/2; m free leaves the line."""
    assert real_solutions([M * X - 1, M - 2], [X], [M]).points == ((Rational(1, 2),),)
    assert real_solutions([X - 1 + M * 0], [X], [M]).points == ((1,),)


def test_roots_satisfy_the_system_to_forty_digits():
    equations = [X**2 + 3 * Y**2 - 1, (X - 1) * 6 * Y - (Y - 2) * 2 * X]
    found = real_solutions(equations, [X, Y])
    assert len(found.points) == 2
    with mpmath.workdps(50):
        for point in found.points:
            values = dict(zip((X, Y), (u.evalf(50) for u in point), strict=True))
            assert all(abs(mpmath.mpf(str(e.subs(values)))) < mpmath.mpf(10) ** -40 for e in equations)


def test_what_is_too_large_is_refused():
    with pytest.raises(TooLarge, match="algebraic degree 5"):
        real_solutions([X**5 - X - 1], [X])
    with pytest.raises(TooLarge, match="product"):
        real_solutions([X**12 - Y, Y**12 - X], [X, Y])
