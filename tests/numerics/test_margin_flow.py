"""The flow to large margins against published numbers, automatic differentiation of networks written by hand, and SciPy's integrator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from derivations.diagonal_model import DiagonalProblem
from derivations.problem import Problem
from numerics.margin_flow import MarginFlow

FOUR = ([[2.0, 1.0], [1.0, -0.3], [-0.5, -1.5], [-1.2, 0.1]], [1.0, 1.0, -1.0, -1.0])
PAIRS = ([[2.0, 1.0], [0.5, 1.5], [-2.0, -1.0], [-0.5, -1.5]], [1.0, 1.0, -1.0, -1.0])
POINT = torch.tensor([1.0, -1.0, 1.0, 0.5, -0.5, -1.0], dtype=torch.float64)


def made(
    activation: str = "leaky_relu(1/10)", data: tuple = FOUR, width: int = 2, loss: str = "exponential"
) -> MarginFlow:
    return MarginFlow(lambda given: Problem.two_layer(activation, given, reduction="sum"), *data, width, loss)


def by_hand(theta: torch.Tensor, data: tuple = FOUR, slope: float = 0.1) -> torch.Tensor:
    x, y = (torch.tensor(u, dtype=torch.float64) for u in data)
    m = len(theta) // 3
    z = x @ theta[m:].reshape(m, 2).T
    return y * (torch.where(z > 0, z, slope * z) @ theta[:m])


def test_at_scale_one_the_published_numbers_show_that_the_margin_may_fall_where_e_exceeds_one() -> None:
    state = made().state(POINT)
    assert state.margins.tolist() == pytest.approx([2.7, 0.87, 1.875, 0.615], abs=1e-12)
    assert math.exp(state.log_loss) == pytest.approx(1.1801529241, abs=1e-9)
    assert state.normalised == pytest.approx(0.1366666667, abs=1e-9)
    assert state.smoothed == pytest.approx(-0.0368097837, abs=1e-9)
    # Per unit of the time of E: dt = ds / (sum of exp(-q)).
    assert state.slope * math.exp(state.log_weight) == pytest.approx(-9.7979850588, abs=1e-8)


def test_at_scale_two_the_published_numbers_grow() -> None:
    state = made().state(2 * POINT)
    weight = math.exp(state.log_weight)
    assert weight == pytest.approx(0.1168158459, abs=1e-9)
    assert state.smoothed == pytest.approx(0.1192864751, abs=1e-9)
    assert state.slope * weight == pytest.approx(0.1891746769, abs=1e-9)
    assert state.bound * weight == pytest.approx(0.1317115320, abs=1e-9)
    assert state.alignment == pytest.approx(0.5931684811, abs=1e-9)


def test_the_smoothed_margin_of_the_logistic_loss_has_the_published_number() -> None:
    flow = made(loss="logistic")
    log_loss = torch.tensor(math.log(0.05), dtype=torch.float64)
    assert float(flow._inverse(log_loss)) / 9 == pytest.approx(0.3300697899, abs=1e-10)


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_the_velocity_is_the_gradient_of_a_network_written_by_hand(loss: str) -> None:
    theta = (1.3 * POINT).requires_grad_()
    q = by_hand(theta)
    value = torch.exp(-q).sum() if loss == "exponential" else torch.log1p(torch.exp(-q)).sum()
    (gradient,) = torch.autograd.grad(value, theta)
    q = q.detach()
    weight = torch.exp(-q).sum() if loss == "exponential" else torch.sigmoid(-q).sum()
    state = made(loss=loss).state(theta.detach())
    torch.testing.assert_close(state.velocity, -gradient / weight, rtol=1e-12, atol=1e-14)
    assert state.log_loss == pytest.approx(float(value.detach().log()), abs=1e-12)


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_the_slope_of_the_smoothed_margin_is_that_of_automatic_differentiation(loss: str) -> None:
    flow = made(loss=loss)
    state = flow.state(2 * POINT)
    theta = (2 * POINT).requires_grad_()
    q = by_hand(theta)
    if loss == "exponential":
        phi = -torch.logsumexp(-q, 0)
    else:
        phi = -torch.log(torch.expm1(torch.log1p(torch.exp(-q)).sum()))
    (gradient,) = torch.autograd.grad(phi.log() - 2 * theta.norm().log(), theta)
    assert state.slope == pytest.approx(float(gradient @ state.velocity), rel=1e-10)
    assert state.slope >= state.bound > 0


def test_a_run_follows_the_same_path_as_another_integrator() -> None:
    start = 0.4 * POINT + torch.tensor([0.1, 0, 0, 0, 0, 0], dtype=torch.float64)
    run = made().run(start, 3.0)
    x, y = (np.array(u) for u in FOUR)

    def rate(_: float, theta: np.ndarray) -> np.ndarray:
        a, w = theta[:2], theta[2:].reshape(2, 2)
        z = x @ w.T
        act, slope = np.where(z > 0, z, 0.1 * z), np.where(z > 0, 1.0, 0.1)
        p = np.exp(-y * (act @ a))
        p = p / p.sum() * y
        return np.concatenate([p @ act, ((p[:, None] * slope * a).T @ x).ravel()])

    other = solve_ivp(rate, (0, run.last.time), start.numpy(), rtol=1e-9, atol=1e-11, max_step=0.01)
    assert np.abs(other.y[:, -1] - run.last.theta.numpy()).max() < 1e-6
    assert run.last.margin == pytest.approx(3.0, abs=1e-6)


def test_margins_beyond_the_underflow_of_the_loss_are_reached() -> None:
    run = made(data=PAIRS, width=4).run(
        0.1 * torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 1001.0
    )
    assert run.reached
    assert run.last.log_loss < -1000
    assert run.last.normalised == pytest.approx(0.4348131782, rel=1e-3)
    assert 0 <= run.last.normalised - run.last.smoothed <= math.log(4) / run.last.norm**2


def test_the_residual_is_that_of_gradients_at_the_scaled_point() -> None:
    flow = made()
    state = flow.state(2 * POINT)
    scaled = (state.theta / state.margin**0.5).requires_grad_()
    rows = torch.stack([torch.autograd.grad(q, scaled, retain_graph=True)[0] for q in by_hand(scaled)])
    weights = torch.exp(-state.margins)
    lam = (
        state.norm * weights / (float(state.velocity.norm()) * weights.sum())
    )  # q_min^(1 - 2/L) = 1 for L = 2
    assert float((scaled.detach() - lam @ rows).norm()) == pytest.approx(state.stationarity, rel=1e-10)
    slack = float((lam * (state.margins / state.margin - 1)).sum())
    assert state.slackness == pytest.approx(slack, rel=1e-10)
    assert slack <= 4 / (math.e * 2 * state.normalised * state.margin)


@pytest.mark.parametrize(
    ("w", "margin"),
    [([[0.02, 0.001], [0.02, -0.001]], 0.1294095226), ([[0.02, 0.001], [0.002, -0.02]], 0.25)],
)
def test_two_inputs_at_an_angle_end_at_the_published_margins(w: list[list[float]], margin: float) -> None:
    psi = math.radians(75)
    data = ([[math.cos(psi), math.sin(psi)], [math.cos(psi), -math.sin(psi)]], [1.0, 1.0])
    flow = made("relu", data)
    run = flow.run(flow.system.pack({"a": [0.02, 0.02], "w": w}), 300.0)
    assert run.last.normalised == pytest.approx(margin, rel=1e-4)


def test_a_state_on_a_kink_that_attracts_slides() -> None:
    # Both samples pull the neuron onto the boundary of the second: u.x_2 = 0 is kept.
    data = ([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0])
    flow = made("relu", data, 1)
    state = flow.state(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    assert state.on_kinks == 1
    assert float(state.velocity[2]) == 0.0


def test_a_run_that_cannot_separate_the_data_says_so() -> None:
    flow = made("relu", ([[1.0], [-1.0]], [1.0, 1.0]), 1)
    run = flow.run(torch.tensor([0.5, 0.4], dtype=torch.float64), 5.0, longest=20.0)
    assert not run.reached
    assert "status finished" in run.reason


def test_a_network_that_is_not_homogeneous_is_refused() -> None:
    with pytest.raises(ValueError, match="homogeneous in its parameters"):
        made("tanh")


def test_smooth_and_diagonal_networks_are_followed_too() -> None:
    flow = MarginFlow(lambda loss: DiagonalProblem.of(2, loss, reduction="sum"), *FOUR, [])
    run = flow.run(torch.full((4,), 0.1, dtype=torch.float64) + torch.arange(4) * 0.01, 300.0)
    assert flow.degree == 2
    assert run.last.normalised == pytest.approx(33 / 46, rel=2e-3)
