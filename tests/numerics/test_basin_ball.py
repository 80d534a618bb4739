"""Certified balls of convergence against problems whose Hessian is known by hand, and against the flow itself."""

from __future__ import annotations

import math

import pytest
import torch
from sympy import Rational

from derivations.problem import Problem
from numerics.balls import BallSystem
from numerics.basin_ball import RADII, NotCertified, basin_radius

X, Y = 1.0, 0.5


def system(decay: Rational) -> BallSystem:
    problem = Problem.two_layer("tanh", "square", weight_decay=decay)
    return BallSystem(problem, {"x": [Rational(1)], "y": [Rational(1, 2)]}, {"n": 1, "d": 1, "m": 1})


def risk(theta: torch.Tensor, decay: float) -> torch.Tensor:
    a, w = theta
    return (a * torch.tanh(w * X) - Y) ** 2 / 2 + decay / 2 * (theta**2).sum()


def smallest(theta: torch.Tensor, decay: float) -> float:
    """Return the smallest eigenvalue of the Hessian at some points (K, 2)."""
    hessian = torch.func.vmap(torch.func.hessian(lambda u: risk(u, decay)))(theta)
    return float(torch.linalg.eigvalsh(hessian).min())


def test_the_hessian_is_positive_definite_all_over_the_ball() -> None:
    radius = basin_radius(system(Rational(1)), [0.0, 0.0], 0.0)
    draw = torch.Generator().manual_seed(0)
    directions = torch.randn(400, 2, generator=draw, dtype=torch.float64)
    assert smallest(radius * directions / directions.norm(dim=1, keepdim=True), 1.0) > 0


def test_the_flow_from_the_rim_stays_and_converges() -> None:
    radius = basin_radius(system(Rational(1)), [0.0, 0.0], 0.0)
    for angle in (0.3, 2.0, 4.5):
        theta = radius * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        before = float(theta.norm())
        for _ in range(60):
            theta = theta - 0.2 * torch.func.grad(lambda u: risk(u, 1.0))(theta)
            assert float(theta.norm()) < before
            before = float(theta.norm())
        assert before < 1e-2 * radius


def test_the_ball_ends_where_the_hessian_is_singular() -> None:
    """At the origin H = [[decay, -y], [-y, decay]], positive definite for decay > 1/2 only: with less room the ball is smaller."""
    wide, narrow = (
        basin_radius(system(decay), [0.0, 0.0], 0.0) for decay in (Rational(4), Rational(51, 100))
    )
    assert narrow < wide
    draw = torch.Generator().manual_seed(1)
    around = 2 * wide * torch.randn(100, 2, generator=draw, dtype=torch.float64)
    assert smallest(around, 0.51) < 0


def test_a_saddle_has_no_ball() -> None:
    with pytest.raises(NotCertified, match="not shown to be positive definite"):
        basin_radius(system(Rational(1, 4)), [0.0, 0.0], 0.0)


def test_the_error_of_the_point_is_taken_off() -> None:
    exact = basin_radius(system(Rational(1)), [0.0, 0.0], 0.0)
    error = 1e-3
    assert basin_radius(system(Rational(1)), [0.0, 0.0], error) <= exact - (1 + math.sqrt(2)) * error
    with pytest.raises(NotCertified):
        basin_radius(system(Rational(1)), [0.0, 0.0], 10 * RADII[0])
