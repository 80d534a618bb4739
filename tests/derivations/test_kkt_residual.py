"""The residual of the margin problem: published values, autograd, exact KKT points, scale."""

from __future__ import annotations

import math

import pytest
import torch
from sympy import Integer

from derivations.errors import AssumptionError
from derivations.indexed import Index, isum
from derivations.kkt_residual import kkt_residual
from derivations.problem import Problem, d
from numerics.compile import compile_system
from numerics.tolerances import same_formula

X = [[2.0, 1.0], [1.0, -0.3], [-0.5, -1.5], [-1.2, 0.1]]
Y = [1.0, 1.0, -1.0, -1.0]
LEAKY = Problem.two_layer("max(z, z/10)", "exponential", reduction="sum")
POINT = torch.tensor([1, -1, 1, 0.5, -0.5, -1], dtype=torch.float64)
CLOSE = same_formula(torch.float64)

#: Ten decimals are published.
PUBLISHED = 6e-11


def values(problem, x, y, width, theta, residual=None):
    system = compile_system(problem, x, y, width)
    residual = residual or kkt_residual(problem)
    found = system.evaluate(residual.system, residual.outputs, theta)
    return {name: u.tolist() for name, u in found.items()}


def cosine(misalignment: float) -> float:
    """From | u - v |^2 = 2 - 2 cos for unit vectors."""
    return 1 - misalignment**2 / 2


def test_published_point_at_scale_two():
    """W3: margins, loss and alignment of theta with minus the gradient of the exponential loss."""
    found = values(LEAKY, X, Y, 2, 2 * POINT)
    for seen, printed in zip(found["margins"], (10.8, 3.48, 7.5, 2.46), strict=True):
        assert abs(seen - printed) < PUBLISHED
    assert abs(sum(found["multipliers"]) - 0.1168158459) < PUBLISHED
    assert abs(cosine(found["misalignment"]) - 0.5931684811) < PUBLISHED
    smoothed = -math.log(sum(found["multipliers"])) / found["norm"] ** 2
    assert abs(smoothed - 0.1192864751) < PUBLISHED


def test_residual_by_autograd():
    theta = (2 * POINT).clone().requires_grad_()
    a, w = theta[:2], theta[2:].reshape(2, 2)
    x, y = torch.tensor(X, dtype=torch.float64), torch.tensor(Y, dtype=torch.float64)
    z = x @ w.T
    q = y * (torch.maximum(z, z / 10) @ a)
    lam = torch.exp(-q).detach()
    (g,) = torch.autograd.grad((lam * q).sum(), theta)
    t = theta.detach()
    least, norm = q.min().item(), t.norm()
    # Definition at the scaled point, degree 2: theta/sqrt(q_min) - sum lambda_i grad q_i(theta)/sqrt(q_min).
    scaled = lam * norm / g.norm()
    epsilon = ((t - g * norm / g.norm()) / least**0.5).norm().item()
    delta = (scaled * (q.detach() / least - 1)).sum().item()
    residual = kkt_residual(LEAKY)
    seen = residual.measure(**values(LEAKY, X, Y, 2, 2 * POINT))
    assert seen == pytest.approx((epsilon, delta), rel=CLOSE)


def test_the_residuals_do_not_depend_on_scale():
    def squared(q, i):
        return q**2

    residual = kkt_residual(LEAKY, squared)
    base = residual.measure(**values(LEAKY, X, Y, 2, POINT, residual))
    for scale in (1e-3, 7.0, 1e4):
        other = residual.measure(**values(LEAKY, X, Y, 2, scale * POINT, residual))
        assert other == pytest.approx(base, rel=10 * CLOSE)


def test_published_bound_on_complementarity():
    """C4: sum lambda_i (q_i/q_min - 1) <= n/(e L gbar^(2/L) q_min), and epsilon = sqrt(2 (1 - beta)) gbar^(-1/L)."""
    residual = kkt_residual(LEAKY)
    for scale in (1.0, 2.0, 4.0):
        found = values(LEAKY, X, Y, 2, scale * POINT)
        epsilon, delta = residual.measure(**found)
        least = min(found["margins"])
        margin = least / found["norm"] ** 2
        assert 0 < delta <= 4 / (math.e * 2 * margin * least)
        beta = cosine(found["misalignment"])
        assert epsilon == pytest.approx(math.sqrt(2 * (1 - beta)) * margin**-0.5, rel=1e3 * CLOSE)


def test_kkt_points_of_nets_have_no_residual_and_their_neighbours_have_one():
    """C9 at 75 degrees, both neurons along (1, 0) and one for each datum; data labelled 1."""
    c, s = math.cos(math.radians(75)), math.sin(math.radians(75))
    x, y = [[c, s], [c, -s]], [1.0, 1.0]
    problem = Problem.two_layer("relu", "exponential")
    residual = kkt_residual(problem)
    merged = torch.tensor([1, 1, 1, 0, 1, 0], dtype=torch.float64)
    split = torch.tensor([1, 1, c, s, c, -s], dtype=torch.float64)
    for theta, margin in ((merged, c / 2), (split, 0.25)):
        found = values(problem, x, y, 2, theta)
        assert max(residual.measure(**found)) < CLOSE
        assert min(found["margins"]) / found["norm"] ** 2 == pytest.approx(margin, rel=CLOSE)
        bent = theta + torch.tensor([0, 0.1, 0, 0, 0, 0.05], dtype=torch.float64)
        assert max(residual.measure(**values(problem, x, y, 2, bent))) > 1e-2
    assert abs(c / 2 - 0.1294095226) < PUBLISHED


@pytest.mark.parametrize("depth", [2, 3])
def test_balanced_deep_linear_networks_reach_the_margin_of_the_linear_classifier(depth):
    """C6: on the sphere margin gamma L^(-L/2), gamma = 1.58114 on the symmetric data; layers of equal norm."""
    l = Index("l", d)
    problem = Problem.deep(depth, "linear", "exponential", input_bias=False, output_bias=False)

    def on_support(q, at):
        """Multipliers 0 at (2, 1) and 2.5 at (1/2, 3/2): only the latter supports the margin."""
        return 5 - isum(problem.x[at, l] ** 2, l)

    residual = kkt_residual(problem, on_support)
    assert residual.degree == depth
    x = [[2, 1], [0.5, 1.5], [-2, -1], [-0.5, -1.5]]
    w = torch.tensor([0.2, 0.6], dtype=torch.float64)
    w = w / w.norm()
    theta = torch.cat([w, torch.ones(depth - 1, dtype=torch.float64)])
    found = values(problem, x, Y, (1,) * (depth - 1), theta, residual)
    assert max(residual.measure(**found)) < 10 * CLOSE
    gamma = math.sqrt(10) / 2
    assert min(found["margins"]) / found["norm"] ** depth == pytest.approx(
        gamma * depth ** (-depth / 2), rel=CLOSE
    )
    unbalanced = theta.clone()
    unbalanced[-1] = 2
    assert max(residual.measure(**values(problem, x, Y, (1,) * (depth - 1), unbalanced, residual))) > 0.1


def test_batches_of_points_are_evaluated_together():
    system = compile_system(LEAKY, X, Y, 2)
    residual = kkt_residual(LEAKY)
    batch = torch.stack([POINT, 2 * POINT])
    found = system.evaluate(residual.system, residual.outputs, batch)
    assert found["margins"].shape == (2, 4)
    assert found["misalignment"][1].item() == pytest.approx(
        values(LEAKY, X, Y, 2, 2 * POINT)["misalignment"], rel=CLOSE
    )


@pytest.mark.parametrize(
    ("problem", "error", "message"),
    [
        (Problem.two_layer("tanh"), AssumptionError, "homogeneous in its trained blocks, got tanh"),
        (Problem.two_layer("relu", output_bias=True), AssumptionError, "no output bias"),
        (Problem.two_layer("relu", vector_output=True), ValueError, "one output"),
        (Problem.two_layer("relu", freeze=("a", "w")), ValueError, "every block is frozen"),
    ],
)
def test_problems_without_a_margin_are_refused(problem, error, message):
    with pytest.raises(error, match=message):
        kkt_residual(problem)


def test_directions_that_do_not_separate_are_refused():
    residual = kkt_residual(Problem.two_layer("relu"))
    with pytest.raises(ValueError, match="smallest margin is -1"):
        residual.measure(misalignment=0.1, norm=1.0, force=1.0, margins=[1.0, -1.0], multipliers=[1.0, 1.0])
    assert residual.degree == Integer(2)
