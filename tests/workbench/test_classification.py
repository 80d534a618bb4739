"""Zeros sorted by where they come from, and the kinds that follow."""

from __future__ import annotations

import pytest
import torch

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.manifold import LocalSet
from numerics.spectrum import spectrum
from workbench.classification import Classifier, classified, is_lower_bound
from workbench.results import CriticalPoint, Inertia, Zeros

X, Y = [[1.0], [2.0], [-1.0]], [0.5, -0.3, 0.8]


def pair(problem: Problem, width: int) -> tuple[CompiledSystem, CompiledSystem]:
    other = [[0.3 * k - 1.1] for k in range(12)]
    return compile_system(problem, X, Y, width), compile_system(problem, other, [0.0] * 12, width)


def zeros_at(problem: Problem, width: int, theta: list[float]) -> Zeros:
    system, elsewhere = pair(problem, width)
    point = torch.tensor(theta, dtype=torch.float64)
    return Classifier(system, elsewhere).zeros(point, spectrum(system.hessian(point)))[0]


def test_the_orbit_of_a_linear_neuron_is_a_symmetry() -> None:
    slope = sum(x[0] * y for x, y in zip(X, Y, strict=True)) / 6.0
    assert zeros_at(Problem.two_layer("linear", "square"), 1, [1.0, slope]) == Zeros(1, 0, 0, 0)


def test_interpolating_networks_form_a_manifold_along_which_the_function_changes() -> None:
    """One sample at x = 1, y = sin(1): a sin(w) = y is a curve; no symmetry of the network moves along it."""
    problem = Problem.two_layer("sin", "square")
    system = compile_system(problem, [[1.0]], [torch.tensor(1.0).double().sin().item()], 1)
    elsewhere = compile_system(problem, [[0.3 * k] for k in range(1, 9)], [0.0] * 8, 1)
    theta = torch.tensor([1.0, 1.0], dtype=torch.float64)
    zeros, local = Classifier(system, elsewhere).zeros(theta, spectrum(system.hessian(theta)))
    assert (zeros, local.reduced) == (Zeros(0, 0, 1, 0), "flat")


def point(*signs: int) -> CriticalPoint:
    inertia = Inertia(*signs)
    values = (-1.0,) * signs[0] + (0.0,) * signs[1] + (1.0,) * signs[2]
    return CriticalPoint("m1.1", 1, {}, 0.1, 0.0, values, inertia)


@pytest.mark.parametrize(
    ("signs", "zeros", "local", "kind", "dimension"),
    [
        ((0, 2, 1), Zeros(1, 1, 0, 0), LocalSet(1, 1, "flat"), "minimum", 2),
        ((1, 2, 0), Zeros(2, 0, 0, 0), LocalSet(0, 0, "flat"), "maximum", 2),
        ((1, 1, 1), Zeros(1, 0, 0, 0), LocalSet(0, 0, "flat"), "saddle", 1),
        ((0, 1, 1), Zeros(0, 0, 0, 1), LocalSet(1, 0, "minimum"), "minimum", None),
        ((0, 1, 1), Zeros(0, 0, 0, 1), LocalSet(1, 0, "maximum"), "saddle", None),
        ((0, 1, 1), Zeros(0, 0, 0, 1), LocalSet(1, 0, "saddle"), "saddle", None),
        ((0, 2, 1), Zeros(0, 0, 0, 2), LocalSet(2, 0, "falls"), "saddle", None),
        ((0, 2, 1), Zeros(0, 0, 0, 2), LocalSet(2, 0, None), "degenerate", None),
        (
            (0, 3, 0),
            Zeros(3, 0, 0, 0),
            LocalSet(0, 0, "flat"),
            "degenerate",
            3,
        ),  # constant risk: nothing is claimed
        ((0, 0, 3), Zeros(), LocalSet(0, 0, "flat"), "minimum", 0),
    ],
)
def test_kinds(signs, zeros, local, kind, dimension) -> None:
    found = classified(point(*signs), zeros, local)
    assert (found.kind, found.manifold_dimension) == (kind, dimension)
    assert bool(found.reason) == (found.decided is not None)
    assert CriticalPoint.from_dict(found.to_dict()) == found


def test_zero_is_a_lower_bound_of_losses_that_are_not_negative() -> None:
    square = Problem.two_layer("tanh", "square")
    assert is_lower_bound(square, 1e-27)
    assert not is_lower_bound(square, 1e-12)
    assert not is_lower_bound(Problem.two_layer("tanh", "correlation"), 0.0)
