"""A neuron that is a step or a constant at the samples is saturated; a flat direction of another origin is not."""

from __future__ import annotations

import torch

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.saturation import converged, drifts, saturated


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


class Valley:
    """R = x^2 / 2 + shape(y) with y flat to the Hessian; the oracle is the formula itself."""

    def __init__(self, slope) -> None:  # type: ignore[no-untyped-def]
        self.slope = slope

    def gradient(self, theta: torch.Tensor) -> torch.Tensor:
        return torch.stack([theta[..., 0], self.slope(theta[..., 1])], dim=-1)

    def hessian(self, theta: torch.Tensor) -> torch.Tensor:
        out = torch.zeros((*theta.shape, 2), dtype=theta.dtype)
        out[..., 0, 0] = 1
        return out

    def value_gradient_hessian(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return theta[..., 0], self.gradient(theta), self.hessian(theta)


def test_a_slow_run_to_infinity_drifts_and_degenerate_critical_points_do_not() -> None:
    here = torch.tensor([0.0, 0.0], dtype=torch.float64)
    assert drifts(Valley(lambda y: -1e-11 * torch.exp(-5 * y)), here)  # type: ignore[arg-type]
    assert drifts(Valley(lambda y: 1e-11 * torch.exp(5 * y)), here)  # type: ignore[arg-type]
    for power in (2, 3, 4, 5):
        assert not drifts(Valley(lambda y, power=power: y**power), here)  # type: ignore[arg-type]
    assert not drifts(Valley(lambda y: y**2 + y**3), here)  # type: ignore[arg-type]
    assert not drifts(Valley(torch.zeros_like), here)  # type: ignore[arg-type]


def test_critical_points_on_manifolds_do_not_drift() -> None:
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    zero = compile_system(problem, [[-1.0], [1.0], [2.0]], [-1.0, 1.0, 0.5], 2)
    theta = torch.zeros(6, dtype=torch.float64)
    assert bool(converged(zero, theta[None])[0])
    assert not drifts(zero, theta)


def test_an_even_activation_at_rest_is_not_saturated() -> None:
    problem = Problem.two_layer("gaussian", "square", input_bias=True)
    system = compile_system(problem, [[-1.0], [0.0], [1.0]], [0.1, 0.2, 0.3], 1)
    rest, far = torch.tensor([[0.2, 0.0, 0.0], [0.2, 0.0, 9.0]], dtype=torch.float64)
    assert saturated(system, torch.stack([rest, far])).tolist() == [False, True]
