"""Cells of the weights: their number by formula and by sampling, signs of pre-activations, inner points."""

from __future__ import annotations

import random

import pytest
from sympy import QQ, Rational, ring

from derivations.activation_cells import activation_cells, inner_values
from derivations.errors import AssumptionError
from derivations.polynomial_system import Samples, polynomial_system
from derivations.problem import Problem

X = [[-1], [Rational(1, 2)], [2], [3]]


@pytest.mark.parametrize("bias", [True, False])
def test_one_neuron_has_every_sign_vector_that_sampling_finds(bias):
    draw = random.Random(0)
    seen = set()
    for _ in range(4000):
        w, b = draw.gauss(0, 1), draw.gauss(0, 2) if bias else 0.0
        seen.add(tuple(1 if w * float(x[0]) + b > 0 else -1 for x in X))
    cells = activation_cells(X, 1, input_bias=bias)
    assert {cell.signs[0] for cell in cells} == seen


def test_two_neurons_are_counted_up_to_permutation():
    cells = activation_cells(X, 2, input_bias=True)
    single = len(activation_cells(X, 1, input_bias=True))
    assert single == 8
    assert len(cells) == single * (single + 1) // 2
    assert sum(cell.arrangements for cell in cells) == single**2


def test_arguments_are_positive_inside_the_cell():
    problem = Problem.two_layer("relu", "square", input_bias=True)
    for cell in activation_cells(X, 1, input_bias=True):
        system = polynomial_system(problem, {"m": 1, "d": 1}, Samples.of(X, [1, 0, 2, 1]), cell=cell.places)
        arguments = cell.arguments(system, X)
        values = inner_values(arguments, (1, 2))
        w, b = values
        assert all((w * x[0] + b) * s > 0 for x, s in zip(X, cell.signs[0], strict=True))
    assert cell.title() in ("----", "++++") or set(cell.title()) <= {"+", "-"}


def test_inner_values_of_affine_and_other_polynomials():
    R, x, y = ring("x,y", QQ)
    assert inner_values([x, -x], (0, 1)) is None
    assert inner_values([x + 1, -x - 2], (0, 1)) is None
    assert inner_values([x * y], (0, 1)) is False
    assert inner_values([R(-1)], (0, 1)) is None
    found = inner_values([x - 3, y - x - 1], (0, 1))
    assert found[0] > 3
    assert found[1] > found[0] + 1


def test_a_sample_on_every_kink_and_too_many_cells_are_refused():
    with pytest.raises(AssumptionError, match="lies on the kink of every neuron"):
        activation_cells([[0], [1]], 1, input_bias=False)
    with pytest.raises(AssumptionError, match="at most 400"):
        activation_cells([[k] for k in range(12)], 3, input_bias=True)
