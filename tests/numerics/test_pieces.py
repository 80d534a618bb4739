"""Rates, surfaces and normals of pieces against autograd of hand-written networks with fixed masks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from derivations.activations import activation
from derivations.errors import AssumptionError
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.pieces import network_pieces
from numerics.tolerances import same_formula

F64 = torch.float64
BOUND = same_formula(F64) * 100  # sums of a few dozen terms of size 10


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


X, Y = draw(4, 2, seed=1), draw(4, seed=2)

Masked = Callable[[Tensor, Tensor], Tensor]


def leaky(z: Tensor, side: Tensor) -> Tensor:
    return torch.where(side > 0, z, z / 10)


def two_layer(theta: Tensor, sides: Tensor) -> Tensor:
    """Risk with a leaky unit on the given sides, (a, w, b), width 3, half the mean squared error."""
    z = X @ theta[3:9].view(3, 2).T + theta[9:]
    f = leaky(z, sides.view(4, 3)) @ theta[:3]
    return ((f - Y) ** 2).mean() / 2


def deep(theta: Tensor, sides: Tensor) -> Tensor:
    """Two hidden layers of relu units without bias, widths 2 and 2."""
    first = (X @ theta[:4].view(2, 2).T) * (sides[:8].view(4, 2) > 0)
    second = (first @ theta[4:8].view(2, 2).T) * (sides[8:].view(4, 2) > 0)
    return ((second @ theta[8:] - Y) ** 2).sum() / 2


def hinge(theta: Tensor, sides: Tensor) -> Tensor:
    """Relu units, and a hinge on the given side of its kink."""
    z = X @ theta[2:].view(2, 2).T
    f = (z * (sides[:8].view(4, 2) > 0)) @ theta[:2]
    return torch.where(sides[8:] > 0, 1 - Y * f, torch.zeros_like(f)).mean()


def clipped(theta: Tensor, sides: Tensor) -> Tensor:
    """max(-1, min(1, z)): breaks at -1 and 1; the first eight sides belong to -1, the others to 1."""
    z = X @ theta[2:].view(2, 2).T
    low, high = sides[:8].view(4, 2) > 0, sides[8:].view(4, 2) > 0
    h = torch.where(high, torch.ones_like(z), torch.where(low, z, -torch.ones_like(z)))
    return ((h @ theta[:2] - Y) ** 2).mean() / 2


CASES: dict[str, tuple[Problem, int | list[int], int, Masked]] = {
    "leaky": (Problem.two_layer("leaky_relu(1/10)", "square", input_bias=True), 3, 12, two_layer),
    "deep": (
        Problem.deep(3, "relu", "square", input_bias=False, output_bias=False, reduction="sum"),
        [2, 2],
        16,
        deep,
    ),
    "hinge": (Problem.two_layer("relu", "hinge"), 2, 12, hinge),
    "clipped": (Problem.two_layer("Max(-1, Min(1, z))", "square"), 2, 16, clipped),
}
ALL = pytest.mark.parametrize("case", CASES)


def made(case: str) -> tuple[CompiledSystem, int, Masked]:
    problem, width, surfaces, risk = CASES[case]
    return compile_system(problem, X, Y, width), surfaces, risk


def sides_for(case: str, rows: int, surfaces: int) -> Tensor:
    sides = draw(rows, surfaces, seed=7).sign()
    if case == "clipped":  # below -1 and above 1 at once is no piece
        sides[:, 8:] = torch.where(sides[:, :8] < 0, -1.0, sides[:, 8:])
    return sides


@ALL
def test_the_rate_of_any_piece_is_minus_the_gradient_with_its_masks(case: str) -> None:
    system, count, risk = made(case)
    pieces = network_pieces(system)
    assert len(pieces.labels) == count
    theta, sides = draw(5, system.P, seed=3), sides_for(case, 5, count)
    expected = []
    for row in range(5):
        point = theta[row].clone().requires_grad_()
        expected.append(-torch.autograd.grad(risk(point, sides[row]), point)[0])
    found = pieces.rate(theta, sides)
    assert float((found - torch.stack(expected)).abs().max()) <= BOUND


@ALL
def test_the_jacobian_of_a_piece_is_that_of_autograd(case: str) -> None:
    system, count, risk = made(case)
    pieces = network_pieces(system)
    theta, sides = draw(3, system.P, seed=4), sides_for(case, 3, count)
    assert pieces.jacobian is not None
    found = pieces.jacobian(theta, sides)
    for row in range(3):
        expected = -torch.autograd.functional.hessian(lambda point: risk(point, sides[row]), theta[row])  # noqa: B023
        assert float((found[row] - expected).abs().max()) <= BOUND


@ALL
def test_on_its_own_sides_the_rate_is_the_flow_of_the_system(case: str) -> None:
    system, count, _ = made(case)
    pieces = network_pieces(system)
    theta = draw(6, system.P, seed=5)
    sides = torch.ones(6, count, dtype=F64)
    for _ in range(3):  # deeper layers see the sides of those before
        sides = pieces.surfaces(theta, sides).sign()
    assert float((pieces.rate(theta, sides) - system.flow(theta)).abs().max()) <= BOUND


@ALL
def test_normals_are_the_derivatives_of_the_surfaces(case: str) -> None:
    system, count, _ = made(case)
    pieces = network_pieces(system)
    theta, sides = draw(1, system.P, seed=6), sides_for(case, 1, count)
    found = pieces.normals(theta[0], sides[0], range(count))
    step = 1e-6
    for entry in range(system.P):
        shift = torch.zeros(1, system.P, dtype=F64)
        shift[0, entry] = step
        slope = (pieces.surfaces(theta + shift, sides) - pieces.surfaces(theta - shift, sides))[0] / (
            2 * step
        )
        assert float((found[:, entry] - slope).abs().max()) <= 1e-8


def test_first_layer_surfaces_are_affine_and_named() -> None:
    system, _, _ = made("hinge")
    pieces = network_pieces(system)
    assert pieces.labels[:3] == ("neuron 1, sample 1", "neuron 2, sample 1", "neuron 1, sample 2")
    assert pieces.labels[-1] == "loss, sample 4"
    assert list(pieces.affine) == [True] * 8 + [False] * 4
    assert pieces.samples[:3] == (0, 0, 1)
    deep_pieces = network_pieces(made("deep")[0])
    assert deep_pieces.labels[-1] == "layer 2, neuron 2, sample 4"
    assert list(deep_pieces.affine) == [True] * 8 + [False] * 8


def test_breaks_of_an_activation_are_surfaces_of_their_own() -> None:
    pieces = network_pieces(made("clipped")[0])
    assert pieces.labels[0] == "neuron 1, sample 1 at -1"
    assert pieces.labels[-1] == "neuron 2, sample 4 at 1"


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem.two_layer("tanh", "square"), "neither 'tanh' nor the loss 'square' has a kink"),
        (Problem.two_layer("sign(z)", "square"), "jumps at 0"),
        (Problem.two_layer("relu", "Abs(f - y) + Abs(f + y)"), "a loss with one kink"),
    ],
)
def test_what_has_no_pieces_is_refused(problem: Problem, message: str) -> None:
    with pytest.raises(AssumptionError, match=message):
        network_pieces(compile_system(problem, X, Y, 2))


def test_a_smooth_activation_under_a_hinge_has_surfaces_of_the_loss_only() -> None:
    assert activation("tanh").is_smooth
    pieces = network_pieces(compile_system(Problem.two_layer("tanh", "hinge"), X, Y, 2))
    assert pieces.labels == tuple(f"loss, sample {i}" for i in (1, 2, 3, 4))
    assert not any(pieces.affine)
