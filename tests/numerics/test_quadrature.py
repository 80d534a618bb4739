"""Gauss rules against exact integrals of polynomials."""

from __future__ import annotations

import mpmath
import pytest
import torch

from numerics.quadrature import gauss_legendre, spread
from numerics.tolerances import same_formula


@pytest.mark.parametrize("points", [1, 2, 3, 7, 16, 40])
def test_nodes_and_weights_are_those_of_legendre_polynomials(points: int) -> None:
    nodes, weights = gauss_legendre(points)
    for x, weight in zip(nodes, weights, strict=True):
        assert abs(mpmath.legendre(points, x)) < 1e-13
        slope = mpmath.diff(lambda t: mpmath.legendre(points, t), x)
        assert weight == pytest.approx(float(2 / ((1 - mpmath.mpf(x) ** 2) * slope**2)), rel=1e-11)
    assert list(nodes) == sorted(nodes)


@pytest.mark.parametrize("points", [1, 2, 3, 5])
def test_a_rule_is_exact_up_to_degree_2q_minus_1_and_no_further(points: int) -> None:
    ends = torch.tensor([[-1.0, 0.25, 0.25, 2.0], [0.0, 0.5, 1.0, 3.0]], dtype=torch.float64)
    x, weights = spread(ends, points, panels=2)
    assert x.shape == weights.shape == (2, 3 * 2 * points)
    for degree in range(2 * points + 1):
        found = (weights * x**degree).sum(dim=1)
        exact = (ends[:, -1] ** (degree + 1) - ends[:, 0] ** (degree + 1)) / (degree + 1)
        gap = float((found - exact).abs().max() / exact.abs().max())
        assert (gap <= same_formula(torch.float64)) == (degree < 2 * points)


def test_a_part_of_length_0_has_no_weight() -> None:
    x, weights = spread(torch.tensor([0.5, 0.5], dtype=torch.float64), points=4)
    assert weights.tolist() == [0.0] * 4
    assert x.tolist() == [0.5] * 4


def test_a_rule_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one point, got 0"):
        gauss_legendre(0)
