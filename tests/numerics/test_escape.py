"""Limits of the risk along runs to infinity, against values known otherwise."""

from __future__ import annotations

import math

import pytest
import torch

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.critical import find_critical_points, starts
from numerics.escape import limits

X = torch.linspace(-5, 5, 21, dtype=torch.float64)
Y = (torch.tanh(1.5 * (X + 1.5)) + 0.4 * torch.tanh(2 * X - 0.5) + 0.6 * torch.tanh(1.2 * (X - 1.5))).round(
    decimals=6
)


def test_a_neuron_that_becomes_a_constant_gives_the_network_with_output_bias() -> None:
    """Published value of one tanh neuron with output bias (N1): 0.007526834562219."""
    system = compile_system(Problem.two_layer("tanh", "square", input_bias=True), X[:, None], Y, 2)
    theta = torch.tensor(
        [[2.1220457824, -0.0564664872, 0.4754480776, 0.1, 0.1809216559, 51.0]], dtype=torch.float64
    )
    found = limits(system, theta)
    assert found.growing.tolist() == [[False, False, False, False, False, True]]
    assert float(found.limit[0]) == pytest.approx(0.007526834562219, rel=1e-11)
    assert float(found.error[0]) < 1e-14


def test_algebraic_convergence_is_extrapolated() -> None:
    """R = (a u - 1)^2/2 + (u^2)/2 at x = 1: with a given, u = a/(a^2 + 1) and R = 1/(2 (a^2 + 1)), which tends to 0."""
    problem = FormulaProblem.of("a*u*s + u*t", ["a", "u"], ["s", "t"], reduction="sum")
    system = compile_system(problem, [[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], ())
    a = 60.0
    found = limits(system, torch.tensor([[a, a / (a**2 + 1)]], dtype=torch.float64))
    assert float(found.value[0]) == pytest.approx(1 / (2 * (a**2 + 1)), rel=1e-12)
    assert found.growing.tolist() == [[True, False]]
    assert math.isnan(float(found.limit[0]))  # 0 is far from the value relative to it: not believed


def test_a_limit_that_is_not_zero_is_believed() -> None:
    """The same with a third sample that nothing reaches: R tends to 1/2."""
    problem = FormulaProblem.of("a*u*s + u*t", ["a", "u"], ["s", "t"], reduction="sum")
    system = compile_system(problem, [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [1.0, 0.0, 1.0], ())
    a = 60.0
    found = limits(system, torch.tensor([[a, a / (a**2 + 1)]], dtype=torch.float64))
    assert float(found.limit[0]) == pytest.approx(0.5, abs=1e-8)


def test_runs_of_a_search_are_reported_not_listed() -> None:
    system = compile_system(Problem.two_layer("linear", "exponential"), [[1.0]], [1.0], 1)
    found = find_critical_points(system, starts(system, 12, 0), max_steps=2000)
    assert len(found.escaped) == found.runs_to_infinity > 0
