"""Two copies of a neuron: constants and configurations against numbers computed apart, and against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import Rational

from derivations.activations import REGISTRY
from derivations.copied_neuron import copied_neuron, decay_statement
from derivations.errors import AssumptionError
from derivations.sample_verdicts import Separation

EXP, HALF = REGISTRY["exp"], Rational(1, 2)
LINE = [[-1], [HALF], [2]]
TEACHER = ([Rational(3, 2)], [[Rational(2, 5), -Rational(3, 10)]])


def test_the_worked_distance_and_limits():
    found = copied_neuron(EXP, [1], [[HALF]], LINE)
    assert abs(float(found.distance) - 3.835416319129202) < 1e-14
    worked = {"0.29026601": 0.13274072, "0.60101608": 0.0767491016, "1.39580011": 0.236558544}
    for fraction, limit in worked.items():
        assert abs(float(found.limit_risk(Rational(fraction))) - limit) < 1e-8


def test_the_distance_is_a_least_squares_residual():
    x = np.array([-1.0, 0.5, 2.0, 0.25])
    w = np.array([0.75, -0.5])
    points = [[Rational(str(u))] for u in (-1, 0.5, 2, 0.25)] + [[3]]
    x = np.append(x, 3.0)
    columns = np.column_stack([u for v in w for u in (np.tanh(v * x), x / np.cosh(v * x) ** 2)])
    target = -2 * np.tanh(w[1] * x) / np.cosh(w[1] * x) ** 2 * x**2
    residual = np.linalg.lstsq(columns, target, rcond=None)[1][0]
    found = copied_neuron(REGISTRY["tanh"], [1, 2], [[Rational(3, 4)], [-HALF]], points, copied=1)
    assert abs(float(found.distance) / residual - 1) < 1e-8


def test_four_samples_separate_two_copies_unless_they_are_in_convex_position():
    base = [[0, 0], [2, 0], [0, 2]]
    inside = copied_neuron(EXP, *TEACHER, [*base, [HALF, Rational(3, 5)]])
    outside = copied_neuron(EXP, *TEACHER, [*base, [Rational(3, 2), Rational(8, 5)]])
    assert inside.separated is Separation.SEPARATED
    assert outside.separated is Separation.NOT


@pytest.mark.parametrize("seed", range(6))
def test_the_form_has_the_signs_of_numpy_and_the_verdict_of_convex_position(seed):
    draw = np.random.default_rng(seed)
    points = [[Rational(int(u), 10) for u in row] for row in draw.integers(-20, 20, (4, 2))]
    found = copied_neuron(EXP, *TEACHER, points)
    x = np.array(points, dtype=float)
    # For exp the functions are e^{w x} (1, x): nu is the affine dependency of the points over e^{w x}.
    affine = np.linalg.svd(np.column_stack([np.ones(4), x]).T)[2][-1]
    form = (x.T * affine) @ x
    convex = np.count_nonzero(affine > 0) == 2
    definite = np.linalg.det(form) > 0
    assert definite == (not convex)
    assert found.separated is (Separation.SEPARATED if definite else Separation.NOT)


def test_more_samples_separate_where_four_of_them_do():
    points = [[0, 0], [2, 0], [0, 2], [Rational(3, 2), Rational(8, 5)], [HALF, Rational(3, 5)]]
    assert copied_neuron(EXP, *TEACHER, points).separated is Separation.SEPARATED


def test_as_many_samples_as_first_order_functions_do_not_separate():
    assert copied_neuron(EXP, [1], [[HALF]], LINE[:2]).separated is Separation.NOT


def test_samples_on_which_the_order_four_vanishes_leave_the_branch_open():
    # Two different points carry two independent functions, and every third one is a combination of them.
    found = copied_neuron(EXP, [1], [[HALF]], [[-1], [-1], [2]])
    assert found.separated is Separation.OPEN
    assert abs(float(found.distance)) < 1e-25


def test_dependent_first_order_functions_are_refused():
    with pytest.raises(AssumptionError, match="move a sample"):
        copied_neuron(REGISTRY["tanh"], [1], [[1]], [[1], [-1], [0]])


def test_floats_and_shapes_are_refused():
    with pytest.raises(ValueError, match="exact numbers"):
        copied_neuron(EXP, [1], [[0.5]], LINE)
    with pytest.raises(ValueError, match="same length"):
        copied_neuron(EXP, [1], [[HALF, 1]], LINE)


def test_no_constant_is_given_for_several_inputs():
    found = copied_neuron(EXP, *TEACHER, [[0, 0], [2, 0], [0, 2], [HALF, Rational(3, 5)]])
    with pytest.raises(AssumptionError, match="d = 1"):
        found.quartic(HALF)


def test_the_reduced_flow_is_proved():
    found = decay_statement()
    assert found.proved
    assert len(found.residuals) == 6
