"""Least-norm points against the optimality condition and faces by brute force; sign patterns against sampling."""

import itertools

import pytest
import torch
from torch import Tensor

from numerics import min_norm as module
from numerics.min_norm import TooManyPatterns, min_norm, sign_patterns

F64 = torch.float64
# |x|^2 - min_j p_j . x at the optimum, relative to the largest |p|^2; 1e-15 was seen.
OPTIMALITY = 1e-11


def by_faces(points: Tensor) -> Tensor:
    """The best convex combination over all subsets, each minimised in its affine hull by the normal equations."""
    best = points[points.square().sum(1).argmin()]
    for size in range(2, min(len(points), points.shape[1] + 1) + 1):
        for subset in itertools.combinations(range(len(points)), size):
            chosen = points[list(subset)]
            gram = torch.ones(size + 1, size + 1, dtype=F64)
            gram[:size, :size], gram[size, size] = chosen @ chosen.T, 0
            right = torch.zeros(size + 1, dtype=F64)
            right[size] = 1
            weights = torch.linalg.pinv(gram) @ right
            if bool((weights[:size] > -1e-12).all()):
                found = weights[:size] @ chosen
                best = found if float(found @ found) < float(best @ best) else best
    return best


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (4, 2), (5, 3), (6, 4), (7, 2)])
@pytest.mark.parametrize("seed", range(6))
def test_the_point_is_the_best_over_all_faces(shape: tuple[int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shift = (seed % 3) * 0.8
    points = torch.randn(shape, generator=generator, dtype=F64) + shift
    point, weights = min_norm(points)
    size = float(points.square().sum(1).max())
    assert float(point @ point) - float((points @ point).min()) <= OPTIMALITY * size
    assert float((weights @ points - point).abs().max()) <= OPTIMALITY * size
    assert float(weights.min()) >= 0
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
    assert float((point - by_faces(points)).norm()) <= 1e-6 * size**0.5


def test_zero_is_found_where_it_lies_inside() -> None:
    points = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0], [1.0, 1.0]], dtype=F64)
    assert float(min_norm(points)[0].norm()) <= 1e-12


@pytest.mark.parametrize(
    "forms",
    [
        [[1.0, 0.0], [0.0, 1.0]],
        [[1.0, 0.0], [0.5, 1.0], [-0.3, 1.0]],
        [[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]],
        [[1.0, 2.0, 0.1], [0.2, -1.0, 0.4], [1.2, 1.0, 0.5], [0.3, 0.3, 1.0]],
    ],
)
def test_sign_patterns_are_those_seen_by_sampling(forms: list[list[float]]) -> None:
    matrix = torch.tensor(forms, dtype=F64)
    directions = torch.randn(20_000, matrix.shape[1], generator=torch.Generator().manual_seed(0), dtype=F64)
    seen = {tuple(row) for row in (directions @ matrix.T).sign().tolist()}
    assert {tuple(row) for row in sign_patterns(matrix).tolist()} == seen


def test_hyperplanes_in_the_plane_have_twice_as_many_cells_as_lines() -> None:
    angles = torch.linspace(0.1, 3.0, 9, dtype=F64)
    assert len(sign_patterns(torch.stack([angles.cos(), angles.sin()], 1))) == 18


def test_too_many_cells_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PATTERNS", 7)
    with pytest.raises(TooManyPatterns, match="3 independent kinks"):
        sign_patterns(torch.eye(3, dtype=F64))
    with pytest.raises(TooManyPatterns, match="more than 7 cells"):
        sign_patterns(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]], dtype=F64))
