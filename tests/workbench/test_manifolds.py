"""Cells of critical manifolds against published inertias, and against Hessians that autograd takes of networks written by hand."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from sympy import Symbol
from torch import Tensor

from derivations.claim import Status
from derivations.problem import Problem
from numerics.compile import CompiledSystem
from numerics.critical import polish
from numerics.spectrum import Inertia
from workbench.manifolds import CriticalManifold, Origin, origin_of
from workbench.network import Architecture, Network, architecture

F64 = torch.float64
SUM2 = {"reduction": "sum", "factor": 2}
E1_X, E1_Y = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]], [1.0, 1.0, 0.0, 0.0]
SIX = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0], [2.0, 1.0], [-1.0, 2.0]]
Q1_Y = [[1.0, -1.0], [0.0, 1.0], [1.0, 1.0], [1.0, -2.0], [2.0, 0.0], [-1.0, 1.0]]


def origin(problem: Problem, x: Any, y: Any, blocks: dict[str, Any], width: int) -> Origin:
    """Return the critical point next to the blocks given."""
    inputs, targets = torch.tensor(x, dtype=F64), torch.tensor(y, dtype=F64)

    @functools.cache
    def system_of(m: int) -> CompiledSystem:
        return CompiledSystem(problem, inputs, targets, {"m": m})

    shape: Architecture = architecture(
        problem, inputs.shape[1], 1 if targets.dim() == 1 else targets.shape[1]
    )
    system = system_of(width)
    theta, _ = polish(system, system.pack(blocks), steps=12)
    polished = {name: part.tolist() for name, part in system.unpack(theta).items()}
    return origin_of(shape, system_of, Network.from_blocks(polished, shape))


@pytest.fixture(scope="module")
def e1() -> Origin:
    problem = Problem.two_layer("exp", "square", **SUM2)
    return origin(problem, E1_X, E1_Y, {"a": [1.0], "w": [[-math.log(3), 0.0]]}, 1)


@pytest.fixture(scope="module")
def q1() -> Origin:
    problem = Problem.two_layer("tanh", "square", vector_output=True, reduction="sum")
    blocks = {"a": [[1.3492272111, -1.2190687526]], "w": [[0.825539072, -0.6469850686]]}
    return origin(problem, SIX, Q1_Y, blocks, 1)


def signs(manifold: CriticalManifold) -> dict[tuple[int, ...], Inertia]:
    return {tuple(cell.signs[0]): cell.measured for cell in manifold.cells()}


def test_published_inertias_on_the_cells_of_a_plateau(e1: Origin) -> None:
    # arXiv:2405.17501, section 3.2, in the order (negative, zero, positive)
    assert signs(CriticalManifold(e1, (2,), 0)) == {
        (2, 0, 0): Inertia(0, 2, 4),
        (1, 0, 1): Inertia(1, 2, 3),
        (1, 1, 0): Inertia(0, 3, 3),
    }
    three = signs(CriticalManifold(e1, (3,), 0))
    assert three[3, 0, 0] == Inertia(0, 4, 5)
    assert three[1, 0, 2] == Inertia(2, 4, 3)
    assert three[2, 0, 1] == Inertia(1, 4, 4)
    assert three[2, 1, 0] == Inertia(0, 5, 4)
    for copies in (2, 3):
        assert all(cell.status is Status.SUPPORTED for cell in CriticalManifold(e1, (copies,), 0).cells())


def test_published_inertias_with_two_outputs(q1: Origin) -> None:
    assert q1.kernels == (1,)
    plateau = CriticalManifold(q1, (2,), 0)
    assert signs(plateau) == {
        (2, 0, 0): Inertia(1, 1, 6),
        (1, 0, 1): Inertia(2, 1, 5),
        (1, 1, 0): Inertia(1, 2, 5),
    }
    assert signs(CriticalManifold(q1, (3,), 0))[3, 0, 0] == Inertia(2, 2, 8)
    assert (plateau.dimension, plateau.by_fractions) == (1, True)


def test_silent_neurons_of_a_network_with_two_outputs(q1: Origin) -> None:
    """M is sampled; it holds 0, since the activation is odd, where the derivative of phi has rank 2."""
    manifold = CriticalManifold(q1, (1,), 1)
    assert (manifold.dimension, q1.null.traced) == (0, False)
    regular, at_copy = manifold.cells()
    assert (regular.measured, regular.status) == (Inertia(2, 0, 6), Status.SUPPORTED)
    assert (at_copy.measured, at_copy.at, at_copy.status) == (Inertia(1, 2, 5), (1,), Status.SUPPORTED)


def test_the_end_of_a_plateau_is_a_saddle_of_third_order(e1: Origin) -> None:
    """The risk written by hand changes like s^3 with both signs along the curve of a returning copy."""
    end = next(cell for cell in CriticalManifold(e1, (2,), 0).cells() if cell.boundary)
    assert (end.kind, end.measured.negative) == ("saddle", 0)
    x, y = torch.tensor(E1_X, dtype=F64), torch.tensor(E1_Y, dtype=F64)
    w, zeta = torch.tensor([-math.log(3), 0.0], dtype=F64), torch.tensor([0.0, 1.0], dtype=F64)

    def risk(s: float) -> float:
        first = (1 - s) * torch.exp(x @ (w - s**2 / (1 - s) * zeta))
        return float(((first + s * torch.exp(x @ (w + s * zeta)) - y) ** 2).sum())

    rise = [risk(s) - risk(0.0) for s in (-0.01, 0.01)]
    assert rise[0] < 0 < rise[1]
    assert rise[1] == pytest.approx(0.01**3 * 2 / 9, rel=0.1)


def by_autograd(
    problem_x: Tensor, y: Tensor, theta: Tensor, sizes: tuple[int, int]
) -> tuple[float, tuple[int, int]]:
    """Return the gradient norm and (negative, positive) eigenvalues of half the mean square error of a tanh network with biases."""
    m, d = sizes

    def risk(t: Tensor) -> Tensor:
        a, w, b = t[:m], t[m : m + m * d].reshape(m, d), t[m + m * d :]
        return ((torch.tanh(problem_x @ w.T + b) @ a - y) ** 2).sum() / (2 * len(y))

    gradient = torch.autograd.functional.jacobian(risk, theta)
    levels = torch.linalg.eigvalsh(torch.autograd.functional.hessian(risk, theta))
    bound = 1e-9 * float(levels.abs().max())
    return float(gradient.norm()), (int((levels < -bound).sum()), int((levels > bound).sum()))


@pytest.fixture(scope="module")
def line() -> tuple[Origin, Tensor, Tensor]:
    x = torch.linspace(-5, 5, 21, dtype=F64)
    y = (
        torch.tanh(1.5 * (x + 1.5)) + 0.4 * torch.tanh(2 * x - 0.5) + 0.6 * torch.tanh(1.2 * (x - 1.5))
    ).round(decimals=6)
    blocks = {
        "a": [0.895069075497, 1.114276601712],
        "w": [[1.566528428336], [0.787503148976]],
        "b": [2.423768265575, -0.641892044419],
    }
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    return origin(problem, x[:, None].tolist(), y.tolist(), blocks, 2), x[:, None], y


@pytest.mark.parametrize(
    ("copies", "silent"), [((2, 1), 0), ((1, 2), 0), ((1, 1), 1), ((2, 1), 1), ((1, 1), 2), ((2, 2), 0)]
)
def test_every_cell_agrees_with_autograd(
    line: tuple[Origin, Tensor, Tensor], copies: tuple[int, ...], silent: int
) -> None:
    point, x, y = line
    manifold = CriticalManifold(point, copies, silent)
    found = manifold.cells()
    assert len(found) == manifold.cell_count()
    for cell in found:
        size, counts = by_autograd(x, y, cell.witness, (manifold.width, 1))
        assert size < 1e-11
        assert cell.predicted is not None
        assert counts == (cell.predicted.negative, cell.predicted.positive)
        assert cell.status is Status.SUPPORTED


def test_sampled_points_are_critical_and_a_perturbed_one_is_not(line: tuple[Origin, Tensor, Tensor]) -> None:
    point, x, y = line
    manifold = CriticalManifold(point, (2, 1), 1)
    theta = manifold.sample(6)
    assert max(by_autograd(x, y, row, (4, 1))[0] for row in theta) < 1e-11
    assert manifold.check()[1] is Status.SUPPORTED
    theta[0, 0] += 0.01
    assert by_autograd(x, y, theta[0], (4, 1))[0] > 1e-6


def test_a_wrong_point_is_refuted(line: tuple[Origin, Tensor, Tensor]) -> None:
    point, _, _ = line
    moved = Network(point.network.a * 1.01, point.network.w, point.network.c)
    wrong = Origin(point.shape, point.system_of, moved, point.found, point.curvatures)
    manifold = CriticalManifold(wrong, (2, 1), 0)
    assert manifold.check()[1] is Status.REFUTED
    assert {cell.status for cell in manifold.cells()} == {Status.REFUTED}


def test_dimension_is_the_nullity_of_open_cells(line: tuple[Origin, Tensor, Tensor]) -> None:
    point, _, _ = line
    for copies, silent in (((2, 1), 0), ((1, 1), 1), ((2, 2), 0), ((1, 2), 1)):
        manifold = CriticalManifold(point, copies, silent)
        assert {cell.measured.zero for cell in manifold.cells() if not cell.boundary} == {manifold.dimension}


def test_numbers_of_copies(line: tuple[Origin, Tensor, Tensor]) -> None:
    point, _, _ = line
    assert [CriticalManifold(point, c, l).pieces for c, l in (((2, 1), 0), ((1, 1), 1))] == [24, 24]


def test_counts_that_do_not_fit_are_refused(line: tuple[Origin, Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="2 neurons"):
        CriticalManifold(line[0], (2,), 0)


def test_a_definite_plateau_has_minima_inside_and_saddles_outside() -> None:
    """U > 0 with one input weight: sigma = exp, the exact example with phi = 2 (1 - 2 e^w)^2."""
    problem = Problem.two_layer("exp", "square", **SUM2)
    point = origin(problem, [[0.0], [1.0], [2.0]], [0.0, 4.5, -3.75], {"a": [1.0], "w": [[-math.log(2)]]}, 1)
    kinds = {tuple(cell.signs[0]): cell.kind for cell in CriticalManifold(point, (2,), 0).cells()}
    assert kinds == {(2, 0, 0): "minimum", (1, 0, 1): "saddle", (1, 1, 0): "saddle"}


def test_equations_and_parametrisation_name_the_weights(q1: Origin) -> None:
    manifold = CriticalManifold(q1, (2,), 0)
    assert next(str(row) for row in manifold.equations()) == "Eq(a_1_1 + a_1_2, a_1)"
    assert manifold.parametrisation()[Symbol("w_1_2", real=True)] == Symbol("w_1", real=True)
