"""Exact inertia against matrices whose eigenvalues are known, degenerate ones included."""

from __future__ import annotations

import itertools
import random

import pytest
from sympy import QQ, Matrix, ring

from derivations.algebraic_points import Conjugates
from derivations.exact_inertia import exact_inertia, exact_rank
from derivations.polynomial_boxes import Boxes, BoxPoint

T, t = ring("t", QQ)
R, x, y = ring("x,y", QQ)


def congruent(diagonal, seed):
    """Return an integer matrix with the inertia of a diagonal one (Sylvester)."""
    draw = random.Random(seed)
    size = len(diagonal)
    lower = Matrix(size, size, lambda i, j: 1 if i == j else draw.randint(-3, 3) if i > j else 0)
    return lower * Matrix.diag(*diagonal) * lower.T


@pytest.mark.parametrize("seed", range(6))
def test_the_inertia_is_that_of_a_congruent_diagonal_matrix(seed):
    draw = random.Random(seed)
    diagonal = [draw.choice((-5, -1, 0, 0, 2, 7)) for _ in range(5)]
    matrix = congruent(diagonal, seed)
    point = Conjugates(t, (T(0), T(0))).real_points()[0]
    entries = [[R(int(u)) for u in matrix.row(i)] for i in range(5)]
    signs = (sum(u < 0 for u in diagonal), diagonal.count(0), sum(u > 0 for u in diagonal))
    assert exact_inertia(point, entries) == signs
    squares = [[sum(entries[i][k] * entries[k][j] for k in range(5)) for j in range(5)] for i in range(5)]
    assert exact_rank(point, squares) == 5 - signs[1]


def test_an_eigenvalue_that_vanishes_at_an_irrational_point_is_zero():
    _, point = Conjugates(t**2 - 2, (t, T(1))).real_points()
    assert exact_inertia(point, [[x, y], [y, x * QQ(1, 2)]]) == (0, 1, 1)
    assert exact_inertia(point, [[x, y], [y, x * QQ(1, 2) - QQ(1, 10**40)]]) == (1, 0, 1)


def test_trace_zero_does_not_disturb_the_count():
    point = Conjugates(t, (T(0), T(0))).real_points()[0]
    one, zero = R.one, R.zero
    for p, q in itertools.product((one, -one), repeat=2):
        matrix = [[p, zero, zero], [zero, -p, zero], [zero, zero, q]]
        assert exact_inertia(point, matrix) == ((1, 0, 2) if q == one else (2, 0, 1))


def test_a_boxed_point_serves_as_well():
    boxes = Boxes([x**2 - 2, y - 3])
    point = BoxPoint(boxes, boxes.certified([1.4, 3.0]))
    assert exact_inertia(point, [[x, y], [y, x]]) == (1, 0, 1)
