"""The inputs that a silent neuron may have, against published zeros and functions summed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import CompiledSystem
from numerics.null_set import NullFunction, NullSet, null_set

F64 = torch.float64
SUM2 = {"reduction": "sum", "factor": 2}
FOUR = (0.25, 1.0, 4.0, 16.0)
RESIDUAL = (1.00095656007826, -0.584094469713962, 0.3, -0.1)


def function(problem: Problem, x: Any, y: Any, width: int, blocks: dict[str, Any]) -> NullFunction:
    """Return phi of a critical point whose blocks stand without the silent neuron."""
    sizes = {"m": width + 1}
    system = CompiledSystem(problem, torch.tensor(x, dtype=F64), torch.tensor(y, dtype=F64), sizes)
    wide = {
        name: [*rows, [0.0] * len(rows[0]) if name == "w" else 0.0]
        for name, rows in blocks.items()
        if name != "c"
    }
    return NullFunction(system, system.pack(wide | {k: v for k, v in blocks.items() if k == "c"}))


def zeros_of(found: NullSet) -> list[float]:
    return sorted(float(part.points[0, 0]) for part in found.parts)


def exponential(x: list[list[float]], y: list[float], w: list[float]) -> tuple[NullFunction, Tensor]:
    phi = function(Problem.two_layer("exp", "square", **SUM2), x, y, 1, {"a": [1.0], "w": [w]})
    return phi, torch.tensor([w], dtype=F64)


def test_phi_is_the_sum_over_the_samples() -> None:
    y = [math.tanh(1.0258 * x) - e for x, e in zip(FOUR, RESIDUAL, strict=True)]
    phi = function(
        Problem.two_layer("tanh", "square", **SUM2), [[x] for x in FOUR], y, 1, {"a": [1.0], "w": [[1.0258]]}
    )
    w = torch.tensor([[0.3], [-2.0]], dtype=F64)
    by_hand = [
        2 * sum(e * math.tanh(v * x) for x, e in zip(FOUR, RESIDUAL, strict=True)) for v in (0.3, -2.0)
    ]
    assert phi(w)[:, 0].tolist() == pytest.approx(by_hand, abs=1e-13)
    slope = [
        2 * sum(e * x / math.cosh(v * x) ** 2 for x, e in zip(FOUR, RESIDUAL, strict=True))
        for v in (0.3, -2.0)
    ]
    assert phi.jacobian(w).flatten().tolist() == pytest.approx(slope, abs=1e-13)


def test_published_zeros_on_a_line() -> None:
    # arXiv:2505.13582, section 5: 0, +-0.12328... and the double zeros +-1.0258
    y = [math.tanh(1.0258 * x) - e for x, e in zip(FOUR, RESIDUAL, strict=True)]
    phi = function(
        Problem.two_layer("tanh", "square", **SUM2), [[x] for x in FOUR], y, 1, {"a": [1.0], "w": [[1.0258]]}
    )
    found = null_set(phi, torch.tensor([[1.0258], [-1.0258]], dtype=F64), (1, -1))
    expected = (-1.0258, -0.123282331864445, 0, 0.123282331864445, 1.0258)
    assert zeros_of(found) == pytest.approx(expected, abs=1e-9)
    assert [found.part_of(1), found.part_of(-1), found.dimension, found.traced] == [0, 1, 0, True]


def test_a_double_zero_alone_is_found_because_it_is_known() -> None:
    # phi = 2 (1 - 2 e^w)^2
    phi, own = exponential([[0.0], [1.0], [2.0]], [0.0, 4.5, -3.75], [-math.log(2)])
    found = null_set(phi, own, (1,))
    assert zeros_of(found) == pytest.approx([-math.log(2)])


def test_a_line_of_double_zeros_is_left_undecided() -> None:
    # phi = (4/3) e^{w1} (cosh w2 - 1) vanishes on w2 = 0 without a change of sign (arXiv:2405.17501, section 3.2)
    x = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]]
    phi, own = exponential(x, [1.0, 1.0, 0.0, 0.0], [-math.log(3), 0.0])
    found = null_set(phi, own, (1,))
    assert (found.traced, found.dimension, found.parts[0].closed) == (False, None, None)
    assert any("not decided" in note for note in found.notes)


def best_of_two(x: list[list[float]], y: list[float], start: list[float]) -> tuple[NullFunction, Tensor]:
    """Return phi of a critical point of one tanh neuron with bias, by Newton's method on a risk written by hand."""
    inputs, target = torch.tensor(x, dtype=F64), torch.tensor(y, dtype=F64)

    def risk(t: Tensor) -> Tensor:
        return ((t[0] * torch.tanh(inputs[:, 0] * t[1] + t[2]) - target) ** 2).sum() / (2 * len(y))

    t = torch.tensor(start, dtype=F64)
    for _ in range(60):
        gradient = torch.autograd.functional.jacobian(risk, t)
        hessian = torch.autograd.functional.hessian(risk, t)
        t = t - torch.linalg.solve(hessian, gradient)
    assert float(torch.autograd.functional.jacobian(risk, t).abs().max()) < 1e-14
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    blocks = {"a": [float(t[0])], "w": [[float(t[1])]], "b": [float(t[2])]}
    return function(problem, x, y, 1, blocks), t[None, 1:]


GRID = [[-5 + 0.5 * k] for k in range(21)]
TARGET = [
    round(math.tanh(1.5 * (x + 1.5)) + 0.4 * math.tanh(2 * x - 0.5) + 0.6 * math.tanh(1.2 * (x - 1.5)), 6)
    for (x,) in GRID
]


def test_curves_of_the_published_problem_pass_through_both_copies_of_the_neuron() -> None:
    phi, own = best_of_two(GRID, TARGET, [2.114, 0.477, 0.142])
    found = null_set(phi, torch.cat([own, -own]), (1, -1))
    assert found.traced
    assert found.part_of(1) is not None
    total = sum(len(part.points) for part in found.parts)
    assert total > 500
    for part in found.parts:
        residual = [
            t - 2.114296872029 * math.tanh(0.476965966290 * x + 0.141833335041)
            for (x,), t in zip(GRID, TARGET, strict=True)
        ]
        values = [
            sum(e * math.tanh(float(w) * x + float(b)) for e, (x,) in zip(residual, GRID, strict=True))
            for w, b in part.points[::40]
        ]
        assert max(map(abs, values)) < 1e-9
        assert part.closed is False


def test_two_copies_on_one_curve_are_joined_by_a_path_of_small_steps() -> None:
    """The oracle walks on the points alone: neighbours within two grid steps, found by brute force."""
    phi, own = best_of_two(GRID, TARGET, [2.114, 0.477, 0.142])
    found = null_set(phi, torch.cat([own, -own]), (1, -1))
    assert found.part_of(1) == found.part_of(-1)
    points = torch.cat([found.parts[found.part_of(1) or 0].points, own, -own])
    near = torch.cdist(points, points) <= 2 * (2 * found.box / 181)
    reached = torch.zeros(len(points), dtype=torch.bool)
    reached[-2] = True
    for _ in range(len(points)):
        grown = near[reached].any(dim=0)
        if bool((grown == reached).all()):
            break
        reached = grown
    assert bool(reached[-1])


def test_curves_that_cross_by_a_symmetry_of_the_data_are_one_component() -> None:
    """y is even: phi vanishes on b = 0, and other curves cross that line where 2 / cosh(w)^2 = 1/2."""
    x, y = torch.tensor([[-1.0], [0.0], [1.0]], dtype=F64), torch.tensor([1.0, -0.5, 1.0], dtype=F64)
    system = CompiledSystem(Problem.two_layer("tanh", "square", input_bias=True), x, y, {"m": 1})
    found = null_set(NullFunction(system, torch.zeros(system.P, dtype=F64)), torch.zeros(0, 2, dtype=F64), ())
    assert (len(found.parts), found.traced) == (1, True)
    points = found.parts[0].points
    assert float(points[points[:, 1].abs() > 0.3].norm(dim=1).max()) > found.box
    crossing = torch.tensor([math.acosh(2.0), 0.0], dtype=F64)
    assert float((points - crossing).norm(dim=1).min()) < 0.1


def test_an_exact_fit_leaves_every_input() -> None:
    y = [2.0 * math.tanh(0.7 * x) for x in FOUR]
    phi = function(Problem.two_layer("tanh", "square"), [[x] for x in FOUR], y, 1, {"a": [2.0], "w": [[0.7]]})
    found = null_set(phi, torch.tensor([[0.7]], dtype=F64), (1,))
    assert (found.everything, found.dimension) == (True, 1)


def test_more_than_two_inputs_are_sampled() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(12, 3, generator=generator, dtype=F64)
    y = torch.randn(12, generator=generator, dtype=F64)
    problem = Problem.two_layer("tanh", "square")
    system = CompiledSystem(problem, x, y, {"m": 1})
    phi = NullFunction(system, torch.zeros(system.P, dtype=F64))
    found = null_set(phi, torch.zeros(0, 3, dtype=F64), ())
    assert (found.dimension, found.traced) == (2, False)
    by_hand = torch.tanh(found.parts[0].points @ x.T) @ y
    assert float(by_hand.abs().max()) < 1e-9
    assert len(found.parts[0].points) > 20
