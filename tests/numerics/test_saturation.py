"""A neuron that is a step or a constant at the samples is saturated; a flat direction of another origin is not."""

from __future__ import annotations

import torch

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.saturation import saturated


def system() -> CompiledSystem:
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    return compile_system(problem, [[-1.0], [-0.5], [0.0], [0.5], [1.0]], [-0.4, 0.1, 0.3, -0.2, 0.5], 2)


def point(a: list[float], w: list[float], b: list[float]) -> torch.Tensor:
    return torch.tensor([[*a, *w, *b]], dtype=torch.float64)


def test_step_between_samples_is_saturated() -> None:
    assert bool(saturated(system(), point([1, 1], [1, 90], [0, -22.5]))[0])


def test_step_through_one_sample_is_saturated() -> None:
    # One sample is still moved, but only one direction of (w, b) is felt.
    assert bool(saturated(system(), point([1, 1], [1, 90], [0, -45]))[0])


def test_constant_neuron_far_out_is_saturated() -> None:
    assert bool(saturated(system(), point([1, 1], [1, 0], [0, 30]))[0])


def test_ordinary_and_dead_neurons_are_not() -> None:
    theta = torch.cat(
        [point([1, 1], [1, 3], [0, -1]), point([1, 0], [1, 90], [0, -22.5]), point([0, 0], [0, 0], [0, 0])]
    )
    assert saturated(system(), theta).tolist() == [False, False, False]
