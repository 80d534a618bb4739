"""Images keep outputs and risk of the compiled network; tangents lie in the null space of the outputs."""

from __future__ import annotations

import pytest
import torch

from derivations.diagonal_model import DiagonalProblem
from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.orbits import Orbits

GENERATOR = torch.Generator().manual_seed(3)
X, Y = (torch.randn(*shape, dtype=torch.float64, generator=GENERATOR) for shape in ((7, 2), (7,)))

CASES = [  # problem, width, images, dimension of the orbit
    (Problem.two_layer("tanh", "square", input_bias=True), 3, 48, 0),
    (Problem.two_layer("sigmoid", "square", input_bias=True, output_bias=True, scale="1/m"), 2, 8, 0),
    (Problem.two_layer("gaussian", "square"), 2, 8, 0),
    (Problem.two_layer("gelu", "square"), 2, 2, 0),
    (Problem.two_layer("cubic", "square"), 2, 8, 2),  # scaling of each neuron
    (Problem.two_layer("cubic", "square", weight_decay="1/10"), 2, 8, 0),
    (Problem.two_layer("exp", "square", input_bias=True), 2, 2, 2),  # shift of each bias
    (Problem.two_layer("quadratic", "square"), 3, 48, 6),  # scaling 3, rotations 3
    (Problem.two_layer("linear", "square"), 2, 8, 4),  # GL(2)
    (Problem.two_layer("linear", "square", weight_decay="1/10"), 2, 8, 1),  # O(2)
    (Problem.two_layer("tanh", "square", freeze=("a",)), 2, 1, 0),
    (Problem.deep(3, "tanh", "square", input_bias=True), [2, 2], 64, 0),
    (Problem.deep(3, "linear", "square"), [2, 2], 64, 8),
    (FormulaProblem.of("a*tanh(u*s) + b*tanh(v*s) + 0*t", ["a", "u", "b", "v"], ["s", "t"]), (), 8, 0),
    (FormulaProblem.of("a*b*s + c*t", ["a", "b", "c"], ["s", "t"]), (), 4, 1),
    (DiagonalProblem.of(2), (), 16, 2),
    (DiagonalProblem.of(3), (), 4, 2),
]


@pytest.mark.parametrize(("problem", "width", "images", "dimension"), CASES)
def test_orbit(problem, width, images, dimension) -> None:
    system = compile_system(problem, X, Y, width)
    theta = torch.randn(system.P, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    orbits = Orbits(system)
    found, tangents = orbits.images(theta), orbits.tangents(theta)
    assert found is not None
    assert len(found) == images
    torch.testing.assert_close(
        system.outputs(found), system.outputs(theta).expand(len(found), -1), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        system.value(found), system.value(theta).expand(len(found)), rtol=1e-12, atol=1e-12
    )
    assert tangents.shape == (system.P, dimension)
    if dimension:
        assert float((system.jacobian(theta) @ tangents).abs().max()) < 1e-12
        assert float((system.gradient(theta) @ tangents).abs().max()) < 1e-11
        assert orbits.orbit_size(theta) is None
    else:
        assert orbits.orbit_size(theta) == images


def test_a_point_with_equal_or_vanishing_neurons_has_fewer_images() -> None:
    orbits = Orbits(compile_system(Problem.two_layer("tanh", "square"), X, Y, 2))
    same = torch.tensor([1.0, 1.0, 0.5, 2.0, 0.5, 2.0], dtype=torch.float64)
    silent = torch.tensor([1.0, 0.0, 0.5, 2.0, 0.0, 0.0], dtype=torch.float64)
    assert (orbits.orbit_size(same), orbits.orbit_size(silent)) == (4, 4)


def test_shifts_by_a_period_have_no_end() -> None:
    orbits = Orbits(compile_system(Problem.two_layer("sin", "square", input_bias=True), X, Y, 1))
    assert orbits.infinite
    assert orbits.orbit_size(torch.tensor([1.0, 0.5, 2.0, 0.1], dtype=torch.float64)) is None


def test_too_many_images_are_not_written_out() -> None:
    orbits = Orbits(compile_system(Problem.two_layer("tanh", "square"), X, Y, 7))
    assert orbits.images(torch.zeros(21, dtype=torch.float64)) is None
