"""The search for critical points on problems whose critical points are known."""

from __future__ import annotations

import pytest
import torch

from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.critical import SCALES, curvature_scale, find_critical_points, polish, starts, trained
from numerics.spectrum import Inertia, spectrum
from numerics.tolerances import CRITICAL_GRADIENT, LARGEST_PARAMETER


@pytest.fixture(scope="module")
def linear():
    """f = a w x at x = 1, y = 2, decay 1/2: R = (aw - 2)^2 / 2 + (a^2 + w^2) / 4.

    grad = (w (aw - 2) + a/2, a (aw - 2) + w/2): the origin (Hessian [[1/2, -2], [-2, 1/2]], a saddle) and
    a = w = +-sqrt(3/2) (R = 1/8 + 3/4, minima).
    """
    return compile_system(Problem.two_layer("linear", "square", weight_decay="1/2"), [[1.0]], [2.0], 1)


def test_all_critical_points_of_a_two_parameter_problem(linear):
    found = find_critical_points(linear, starts(linear, 60, 0))
    assert found.runs_to_infinity == found.unconverged == 0
    distinct = sorted({tuple(round(u, 9) + 0.0 for u in row) for row in found.theta.tolist()})
    root = round(1.5**0.5, 9)
    assert distinct == [(-root, -root), (0.0, 0.0), (root, root)]


def test_values_and_kinds(linear):
    root = 1.5**0.5
    for theta, value, kind in (((0.0, 0.0), 2.0, "saddle"), ((root, root), 0.875, "minimum")):
        at = torch.tensor(theta, dtype=torch.float64)
        assert float(linear.value(at)) == pytest.approx(value, rel=1e-15)
        assert spectrum(linear.hessian(at)).kind == kind


def test_polish_reaches_rounding_and_never_worsens(linear):
    theta = torch.tensor([[1.2, 1.25], [0.01, -0.02]], dtype=torch.float64)
    better, size = polish(linear, theta)
    assert bool((size <= CRITICAL_GRADIENT).all())
    assert bool((size <= linear.gradient(theta).abs().amax(dim=1)).all())
    torch.testing.assert_close(better[1], torch.zeros(2, dtype=torch.float64), rtol=0, atol=CRITICAL_GRADIENT)


def test_polish_moves_orthogonally_to_a_critical_manifold():
    system = compile_system(Problem.two_layer("linear", "square"), [[1.0]], [2.0], 1)  # minima: a w = 2
    theta, size = polish(system, torch.tensor([1.0, 1.9], dtype=torch.float64))
    assert float(size) <= CRITICAL_GRADIENT
    assert float(theta[0] * theta[1]) == pytest.approx(2.0, rel=1e-12)


def test_a_risk_without_minimum_runs_to_infinity():
    system = compile_system(Problem.two_layer("linear", "exponential"), [[1.0]], [1.0], 1)
    found = find_critical_points(system, starts(system, 12, 0), max_steps=2000)
    assert found.runs_to_infinity > 0
    assert bool((found.theta.abs() < LARGEST_PARAMETER).all())
    for theta in found.theta:  # the only critical point is the saddle at the origin
        torch.testing.assert_close(theta, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-9)


def test_every_start_is_accounted_for():
    system = compile_system(
        Problem.two_layer("tanh", "square", input_bias=True), [[-1.0], [0.0], [1.0]], [0.2, 0.5, -0.3], 1
    )
    found = find_critical_points(system, starts(system, 40, 3))
    assert len(found.theta) + found.runs_to_infinity + found.unconverged == 40
    assert found.gradient_norm.shape == (len(found.theta),)


def test_starts_repeat_and_cycle_through_the_scales(linear):
    first, again, other = starts(linear, 300, 5), starts(linear, 300, 5), starts(linear, 300, 6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    for j, scale in enumerate(SCALES):
        spread = float(first[j :: len(SCALES)].std())
        assert abs(spread / scale - 1) < 4 / (2 * 200) ** 0.5  # four standard errors of a standard deviation


def test_progress_ends_with_one(linear):
    seen: list[float] = []
    find_critical_points(linear, starts(linear, 4, 0), progress=seen.append)
    assert seen[-1] == 1.0
    assert all(0 <= fraction <= 1 for fraction in seen)


def test_frozen_blocks_stay_at_the_values_of_the_starts():
    """With a = 2 frozen R = (2w - 2)^2 / 2 at x = 1: the critical point is w = 1."""
    system = compile_system(Problem.two_layer("linear", "square", freeze=("a",)), [[1.0]], [2.0], 1)
    start = torch.tensor([[2.0, 0.3], [2.0, -4.0]], dtype=torch.float64)
    found = find_critical_points(system, start)
    theta, _ = polish(system, found.theta)
    torch.testing.assert_close(theta, torch.tensor([[2.0, 1.0]] * 2, dtype=torch.float64), rtol=0, atol=1e-12)
    assert trained(system).tolist() == [1]


def test_a_search_needs_a_trained_block():
    system = compile_system(Problem.two_layer("tanh", "square", freeze=("a", "w")), [[1.0]], [0.5], 1)
    with pytest.raises(ValueError, match="every block is frozen"):
        find_critical_points(system, starts(system, 2, 0))


def test_an_index_beyond_the_parameters_is_refused(linear):
    with pytest.raises(ValueError, match="index 3: accepted are 0 to 2"):
        find_critical_points(linear, starts(linear, 2, 0), index=3)


def test_deflated_points_are_not_found_again(linear):
    root = 1.5**0.5
    minima = torch.tensor([[root, root], [-root, -root]], dtype=torch.float64)
    found = find_critical_points(linear, starts(linear, 60, 0), known=minima)
    assert len(found.theta)
    torch.testing.assert_close(found.theta, torch.zeros_like(found.theta), rtol=0, atol=1e-9)


def test_following_leads_to_saddles_of_the_index(linear):
    """Where the Hessian is indefinite descents go to the minimum, and rows that follow its lowest eigenvector to the saddle."""
    near = torch.tensor([[0.6, 0.5]] * 4, dtype=torch.float64)
    plain, follow = find_critical_points(linear, near), find_critical_points(linear, near, index=1)
    assert float(plain.theta[1].abs().min()) > 1
    torch.testing.assert_close(follow.theta[1], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-9)


def test_width_one_best_fit_of_the_one_dimensional_data():
    # Published check values A1: R = .008172288779, eigenvalues .184956346265, 1.09766106666, 2.450889750971.
    x = torch.linspace(-5, 5, 21, dtype=torch.float64)
    y = torch.tanh(1.5 * (x + 1.5)) + 0.4 * torch.tanh(2 * x - 0.5) + 0.6 * torch.tanh(1.2 * (x - 1.5))
    system = compile_system(
        Problem.two_layer("tanh", "square", input_bias=True), x[:, None], y.round(decimals=6), 1
    )
    found = find_critical_points(system, starts(system, 30, 0))
    theta, _ = polish(system, found.theta)
    best = theta[system.value(theta).argmin()]
    assert float(system.value(best)) == pytest.approx(0.008172288778644, rel=1e-9)
    eigenvalues = spectrum(system.hessian(best)).eigenvalues
    assert eigenvalues == pytest.approx((0.184956346265, 1.09766106666, 2.450889750971), rel=1e-9)


def test_the_usual_size_of_the_hessian_tells_a_zero_of_higher_order():
    """Even targets and tanh: R = 1/2 + E tanh(w x)^2 a^2 / 2, whose Hessian vanishes at the origin; close by it is a tiny saddle."""
    system = compile_system(Problem.two_layer("tanh", "square"), [[-1.0], [1.0]], [1.0, 1.0], 1)
    scale = curvature_scale(system)
    assert 0.1 < scale < 10
    assert curvature_scale(system) == scale
    near = torch.tensor([1e-5, 1e-5], dtype=torch.float64)
    hessian = system.hessian(near)
    assert spectrum(hessian).kind == "saddle"  # relative to itself it is one
    assert (spectrum(hessian, scale).inertia, spectrum(hessian, scale).kind) == (
        Inertia(0, 2, 0),
        "degenerate",
    )


def test_each_row_has_its_own_index(linear):
    """From one place: to the saddle uphill, down to the minimum."""
    near = torch.tensor([[0.6, 0.5]] * 3, dtype=torch.float64)
    found = find_critical_points(linear, near, index=torch.tensor([1, 0, -1]))
    ends = [float(row.abs().min()) for row in found.theta]
    assert ends[0] < 1e-9
    assert ends[1] == pytest.approx(1.5**0.5, rel=1e-9)
    assert len(ends) == 3
    with pytest.raises(ValueError, match="accepted are 0 to 2"):
        find_critical_points(linear, near, index=torch.tensor([1, 3, 0]))
