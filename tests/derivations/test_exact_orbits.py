"""Orbits of points under sign changes and permutations."""

from __future__ import annotations

import pytest
from sympy import QQ, ring

from derivations.algebraic_points import Conjugates
from derivations.exact_orbits import orbits

T, t = ring("t", QQ)
GROUP = [((0, 1), (1, 1)), ((1, 0), (1, 1)), ((0, 1), (-1, -1)), ((1, 0), (-1, -1))]


def test_points_are_grouped():
    points = [
        *Conjugates(t**2 - 3, (t, t + 1)).real_points(),
        *Conjugates(t**2 - 3, (t + 1, t)).real_points(),
        *Conjugates(t**2 - 3, (t, t - 1)).real_points(),
        *Conjugates(t**2 - 3, (t - 1, t)).real_points(),
        *Conjugates(t, (T(0), T(0))).real_points(),
    ]
    assert sorted(map(len, orbits(points, GROUP))) == [1, 4, 4]


def test_close_points_are_told_apart():
    tiny = QQ(1, 2**300)
    points = [
        *Conjugates(t, (T(1), T(1))).real_points(),
        *Conjugates(t, (T(1) + tiny, T(1) + tiny)).real_points(),
    ]
    assert orbits(points, [GROUP[0], GROUP[1]]) == [[0], [1]]


def test_a_list_that_misses_an_image_is_refused():
    with pytest.raises(ArithmeticError, match="a point is missing"):
        orbits(Conjugates(t, (T(1), T(2))).real_points(), GROUP)
