"""Zeros given by one polynomial: exact conjugates, and counting by disjoint boxes."""

from __future__ import annotations

from sympy import QQ, ring

from derivations.parametrised_zeros import Parametrised
from derivations.polynomial_boxes import Boxes

T, t = ring("t", QQ)
R, x, y = ring("x,y", QQ)
Q = t**6 - 2 * t**3 + 3
SYSTEM = Boxes([x**6 - 2 * x**3 + 3, x * y - 1])


def test_a_denominator_is_inverted_in_the_field():
    family = Parametrised(t**2 - 2, t, (t**2, T(1))).conjugates()
    assert family.coordinates == (t, t * QQ(1, 2))
    assert family.satisfies([x**2 - 2, x * y - 1])
    assert Parametrised(t**2 - 2, t**2 - 2, (t, t)).conjugates() is None


def test_every_complex_zero_is_enclosed_once():
    derivative = Q.diff(t)
    assert Parametrised(Q, T(1), (t, (t**5 - 2 * t**2) * QQ(-1, 3))).enclosed(SYSTEM, lambda: None) == 6
    scaled = (t * derivative, (t**5 - 2 * t**2) * QQ(-1, 3) * derivative)
    assert Parametrised(Q, derivative, scaled).enclosed(SYSTEM, lambda: None) == 6


def test_one_zero_at_several_roots_counts_once():
    plain = Boxes([x - 1, y])
    assert Parametrised(t**2 - 2, T(1), (T(1), T(0))).enclosed(plain, lambda: None) == 1
    assert Parametrised(t**2 + 2, T(1), (T(1), T(0))).enclosed(plain, lambda: None) <= 1


def test_false_zeros_are_not_counted():
    far = Boxes([x**2 + 10**6, y])
    assert Parametrised(t**2 + 1, T(1), (10**9 * t, T(0))).enclosed(far, lambda: None) <= 2
    assert Parametrised(t**2 + 1, T(1), (t, T(0))).enclosed(Boxes([x**2 * y, y]), lambda: None) == 0
