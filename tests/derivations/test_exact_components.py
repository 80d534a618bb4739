"""Real points of components: what is forced to vanish, parametrisations, slices, smoothness."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from sympy import QQ, ring

from derivations.exact_components import (
    forced,
    parametrised,
    rational,
    rational_point,
    same_component,
    slices,
    smooth,
)

R, x, y, z = ring("x,y,z", QQ)


def test_a_definite_quadratic_form_vanishes_only_at_the_origin():
    found = forced(11 * x**2 - 12 * x * y + 8 * y**2)
    assert sorted(map(str, found)) == ["11*x - 6*y", "52/11*y"]
    assert forced(11 * x**2 - 40 * x * y + 8 * y**2) is None
    assert forced(x * y) is None
    assert forced(x**2 - y) is None
    assert forced(x**2 - 1) is None
    assert R.one in forced(x**2 + y**2 + 1)
    assert R.one in forced(-((x + y) ** 2) - 1)
    assert forced((x - 2 * y + 1) ** 2) == [x - 2 * y + 1]
    assert forced(x**4 + x**2 * y**6) == [x, x * y]
    assert forced(R.one) is None


@pytest.mark.parametrize("seed", range(5))
def test_where_the_forced_forms_vanish_the_polynomial_does(seed):
    draw = random.Random(seed)
    forms = [sum(draw.randint(-2, 2) * u for u in (x, y, z)) + draw.randint(-1, 1) for _ in range(2)]
    if not all(forms):
        forms = [x + y, z]
    total = forms[0] ** 2 + 3 * forms[1] ** 2
    found = forced(total)
    if found is None:
        assert total.is_ground
        return
    values = [draw.randint(-3, 3) for _ in range(3)]
    pairs = list(zip(R.gens, [QQ(v) for v in values], strict=True))
    assert (total.evaluate(pairs) == 0) == all(f.evaluate(pairs) == 0 for f in found)


def test_fractions_are_solved_for():
    found = parametrised((0, 2), [(1, x * y - z**2)], R)
    assert found.text() == ["y = (z**2)/(x)"]
    point = rational_point(found, (QQ(2), QQ(3)))
    assert [str(u) for u in point.exact(1)] == ["2", "9/2", "3"]
    assert rational_point(found, (QQ(0), QQ(3))) is None
    assert parametrised((0, 2), [(1, y**2 - x)], R) is None
    assert parametrised((0,), [(1, y - x)], R) is None


def test_smooth_points_are_told_from_singular_ones():
    cross = [x * y, z]
    assert smooth(rational([0, 1, 0]), cross, 1)
    assert not smooth(rational([0, 0, 0]), cross, 1)
    assert smooth(rational([1, 2, 3]), [R.zero], 3)


def test_components_are_compared_under_a_symmetry():
    swap = ((1, 0, 2), (1, 1, 1))
    assert same_component([x - 1, z], [y - 1, z], swap)
    assert not same_component([x - 1, z], [y - 2, z], swap)


def test_slices_are_different():
    chosen = list(islice(slices(2), 8))
    assert len(set(chosen)) == 8
