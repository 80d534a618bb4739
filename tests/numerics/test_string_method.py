"""Strings on surfaces whose saddles are published or follow by hand, and against a minimax search on a grid."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from numerics.string_method import relax

# Mueller and Brown, Theor. Chim. Acta 53 (1979) 75: parameters; minima and saddles as tabulated there and since.
HEIGHT, XX, XY = (-200.0, -100.0, -170.0, 15.0), (-1.0, -1.0, -6.5, 0.7), (0.0, 0.0, 11.0, 0.6)
YY, X0, Y0 = (-10.0, -10.0, -6.5, 0.7), (1.0, 0.0, -0.5, -1.0), (0.0, 0.5, 1.5, 1.0)
MINIMA = ((-0.558224, 1.441726), (0.623499, 0.028038))
SADDLES = {(-0.822002, 0.624313): -40.6648, (0.212487, 0.292988): -72.2489}


Risk = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


def stacked(
    value: Tensor, gx: Tensor, gy: Tensor, hxx: Tensor, hxy: Tensor, hyy: Tensor
) -> tuple[Tensor, ...]:
    rows = [torch.stack([hxx, hxy], dim=-1), torch.stack([hxy, hyy], dim=-1)]
    return value, torch.stack([gx, gy], dim=-1), torch.stack(rows, dim=-2)


def muller_brown(theta: Tensor) -> tuple[Tensor, ...]:
    x, y = theta[..., 0], theta[..., 1]
    total = [torch.zeros_like(x) for _ in range(6)]
    for height, a, b, c, p, q in zip(HEIGHT, XX, XY, YY, X0, Y0, strict=True):
        u, v = x - p, y - q
        value = height * torch.exp(a * u**2 + b * u * v + c * v**2)
        s, t = 2 * a * u + b * v, b * u + 2 * c * v
        parts = (
            value,
            value * s,
            value * t,
            value * (s**2 + 2 * a),
            value * (s * t + b),
            value * (t**2 + 2 * c),
        )
        total = [one + two for one, two in zip(total, parts, strict=True)]
    return stacked(*total)


def ring(tilt: float) -> Risk:
    """Two ways around a hill, of heights that differ with the tilt: (r^2 - 1)^2 + 0.6 y^2 + tilt y + 0.2 x y^2."""

    def evaluate(theta: Tensor) -> tuple[Tensor, ...]:
        x, y = theta[..., 0], theta[..., 1]
        r = x**2 + y**2 - 1
        return stacked(
            r**2 + 0.6 * y**2 + tilt * y + 0.2 * x * y**2,
            4 * x * r + 0.2 * y**2,
            4 * y * r + 1.2 * y + tilt + 0.4 * x * y,
            4 * r + 8 * x**2,
            8 * x * y + 0.4 * y,
            4 * r + 8 * y**2 + 1.2 + 0.4 * x,
        )

    return evaluate


def bowl(theta: Tensor) -> tuple[Tensor, ...]:
    hessian = 2 * torch.eye(2, dtype=theta.dtype).expand(*theta.shape, 2)
    return (theta**2).sum(dim=-1), 2 * theta, hessian


def newton(evaluate: Risk, theta: Tensor) -> Tensor:
    for _ in range(20):
        _, gradient, hessian = evaluate(theta)
        theta = theta - torch.linalg.solve(hessian, gradient)
    return theta


def pair(*ends: tuple[float, float]) -> Tensor:
    return torch.tensor([ends], dtype=torch.float64)


def minimax(evaluate: Risk, ends: Tensor, lower: float, upper: float, count: int) -> float:
    """Return the lowest largest value on paths between two points of a grid, each step to one of eight neighbours."""
    axis = torch.linspace(lower, upper, count, dtype=torch.float64)
    value = evaluate(torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1))[0].tolist()
    start, goal = (
        tuple(((end - lower) / (upper - lower) * (count - 1)).round().long().tolist()) for end in ends
    )
    heap, best = [(value[start[0]][start[1]], start)], {}
    while heap:
        level, (i, j) = heapq.heappop(heap)
        if (i, j) in best:
            continue
        best[i, j] = level
        if (i, j) == goal:
            return level
        for p, q in itertools.product((i - 1, i, i + 1), (j - 1, j, j + 1)):
            if 0 <= p < count and 0 <= q < count and (p, q) not in best:
                heapq.heappush(heap, (max(level, value[p][q]), (p, q)))
    raise AssertionError("the grid is connected")


def test_the_tops_lead_to_the_published_saddles_of_the_muller_brown_surface() -> None:
    found = relax(muller_brown, pair(*MINIMA))
    tops = [newton(muller_brown, top) for top in found.tops[0]]
    assert len(tops) == 2
    for top, (place, value) in zip(tops, SADDLES.items(), strict=True):
        assert top.tolist() == pytest.approx(place, abs=2e-6)
        assert float(muller_brown(top)[0]) == pytest.approx(value, abs=5e-5)


def test_the_largest_risk_on_a_string_bounds_the_barrier_from_above() -> None:
    found = relax(muller_brown, pair(*MINIMA))
    highest = max(SADDLES.values())
    assert highest - 1e-2 <= float(found.highest[0]) <= highest + 0.5


@pytest.mark.parametrize("tilt", [0.3, 0.0])
def test_the_barrier_agrees_with_a_minimax_search_on_a_grid(tilt: float) -> None:
    evaluate = ring(tilt)
    ends = torch.stack([newton(evaluate, torch.tensor([x, -0.1], dtype=torch.float64)) for x in (-0.9, 0.9)])
    found = relax(evaluate, ends[None])
    assert float(found.highest[0]) == pytest.approx(minimax(evaluate, ends, -1.6, 1.6, 321), abs=5e-3)
    assert float(found.residual[0]) < 0.05


def test_a_string_is_never_lower_than_the_higher_end_and_keeps_its_ends() -> None:
    ends = pair(*MINIMA)
    found = relax(muller_brown, ends, images=9, iterations=5)
    assert torch.equal(found.path[:, 0], ends[:, 0])
    assert torch.equal(found.path[:, -1], ends[:, 1])
    assert float(found.highest[0]) >= float(muller_brown(ends)[0].max())


def test_images_are_equally_spaced() -> None:
    path = relax(muller_brown, pair(*MINIMA)).path[0]
    gaps = (path[1:] - path[:-1]).norm(dim=1)
    assert float(gaps.max() / gaps.min()) < 1.2


def test_a_string_without_a_top_has_none() -> None:
    found = relax(bowl, pair((0.0, 0.0), (1.0, 0.0)))
    assert len(found.tops[0]) == 0
    assert float(found.highest[0]) == 1.0


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="two minima for each string"):
        relax(muller_brown, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="3 or more"):
        relax(muller_brown, pair(*MINIMA), images=2)
