from functools import lru_cache

import numpy as np
import pytest
from sympy import Rational as R

from derivations.errors import AssumptionError
from derivations.kinked_samples import kinked_points

SLOPES = {"relu": 0.0, "leaky_relu(1/4)": 0.25, "abs": -1.0}
CASES = [
    ("relu", [-1, 0, 1], [1, 0, 1], 1),
    ("relu", [-2, -1, 0, 1, 2], [1, -1, R(1, 2), 0, 2], 1),
    ("leaky_relu(1/4)", [-1, 0, 1, 3], [1, -1, 2, 0], 1),
    ("abs", [-1, 0, 2], [1, -2, R(1, 3)], 1),
    ("relu", [-1, 0, 1], [1, -1, 1], 2),
]


@lru_cache
def listed(sigma, x, y, width):
    return kinked_points(sigma, x, y, width)


def risk(theta, x, y, below):
    """Half the sum of squares at many parameters at once; theta is a, w, b, c."""
    m = (theta.shape[1] - 1) // 3
    a, w, b, c = theta[:, :m], theta[:, m : 2 * m], theta[:, 2 * m : 3 * m], theta[:, -1:]
    z = w[:, None, :] * x[None, :, None] + b[:, None, :]
    f = (np.where(z > 0, z, below * z) * a[:, None, :]).sum(axis=2) + c
    return ((f - y) ** 2).sum(axis=1) / 2


def flat(theta):
    return np.array([float(u) for name in "awb" for u in theta[name]] + [float(theta["c"])])


@pytest.mark.parametrize(("sigma", "x", "y", "width"), CASES)
def test_sampled_directions_agree_with_the_kinds(sigma, x, y, width):
    below, xs, ys = SLOPES[sigma], np.array(x, dtype=float), np.array([float(u) for u in y])
    draws = np.random.default_rng(0)
    directions = draws.standard_normal((1500, 3 * width + 1))
    directions *= draws.choice([1, 1e-2], directions.shape)  # some move few coordinates
    for p in listed(sigma, tuple(x), tuple(y), width).points:
        start = flat(p.theta)
        before = risk(start[None], xs, ys, below)[0]
        assert abs(before - float(p.value)) < 1e-12
        step = 1e-3 if p.kind == "minimum" else 1e-2
        lowest = (risk(start + step * directions, xs, ys, below) - before).min()
        if p.kind == "minimum":
            assert lowest >= -1e-12, p
        else:
            assert lowest < -1e-12, p


@pytest.mark.parametrize(("sigma", "x", "y", "width"), CASES)
def test_zero_is_in_the_hull_of_nearby_gradients(sigma, x, y, width):
    import torch

    below, xs, ys = (
        SLOPES[sigma],
        torch.tensor(x, dtype=torch.float64),
        torch.tensor([float(u) for u in y]).double(),
    )
    generator = torch.Generator().manual_seed(0)
    for p in listed(sigma, tuple(x), tuple(y), width).points[::5]:
        start = torch.tensor(flat(p.theta))
        near = start + 1e-9 * torch.randn(300, len(start), generator=generator, dtype=torch.float64)
        near.requires_grad_()
        a, w, b = (near[:, k * width : (k + 1) * width] for k in range(3))
        z = w[:, None, :] * xs[None, :, None] + b[:, None, :]
        f = (torch.where(z > 0, z, below * z) * a[:, None, :]).sum(dim=2) + near[:, -1:]
        (gradients,) = torch.autograd.grad((((f - ys) ** 2).sum() / 2), near)
        weights = torch.full((300,), 1 / 300, dtype=torch.float64)
        for _ in range(4000):  # Frank and Wolfe's method for the shortest vector of the hull
            shortest = weights @ gradients
            best = int((gradients @ shortest).argmin())
            gap = shortest - gradients[best]
            t = float((shortest @ gap) / (gap @ gap).clamp(min=1e-300))
            t = min(max(t, 0.0), 1.0)
            weights = (1 - t) * weights
            weights[best] += t
            if float(shortest.norm()) < 1e-3:
                break
        assert float(shortest.norm()) < 2e-2, p


@pytest.mark.parametrize(("sigma", "x", "y", "width"), CASES)
def test_descent_ends_at_listed_values_of_minima(sigma, x, y, width):
    below, xs, ys = SLOPES[sigma], np.array(x, dtype=float), np.array([float(u) for u in y])
    found = listed(sigma, tuple(x), tuple(y), width)
    draws = np.random.default_rng(1)
    theta = draws.standard_normal((60, 3 * width + 1))
    m = width
    for step in 0.05 * np.exp(-np.arange(6000) / 1200):
        a, w, b, c = theta[:, :m], theta[:, m : 2 * m], theta[:, 2 * m : 3 * m], theta[:, -1:]
        z = w[:, None, :] * xs[None, :, None] + b[:, None, :]
        slope = np.where(z > 0, 1.0, below)
        r = ((slope * z * a[:, None, :]).sum(axis=2) + c - ys)[:, :, None]
        inner = r * slope * a[:, None, :]
        parts = [(r * slope * z).sum(1), (inner * xs[None, :, None]).sum(1), inner.sum(1), r.sum(1)]
        theta = theta - step * np.concatenate(parts, axis=1)
    ended = risk(theta, xs, ys, below)
    known = np.array([float(u) for u in found.values])
    assert np.abs(ended[:, None] - known[None]).min(axis=1).max() < 2e-3
    assert ended.min() >= known[0] - 1e-9


def test_points_with_a_kink_on_a_sample_are_among_the_minima():
    kinds = {(p.kind, p.differentiable) for p in kinked_points("relu", [-1, 0, 1], [1, 0, 1], 1).points}
    assert ("minimum", False) in kinds
    assert ("saddle", False) in kinds


def test_copies_of_an_input_are_joined():
    joined = kinked_points("relu", [0, 1, 1, 2], [0, 0, 2, 2], 1)
    assert joined.values[0] == 1  # half of (0 - 1)^2 + (2 - 1)^2 remains
    assert kinked_points("relu", [0, 1, 2], [0, 1, 2], 1, weight=3).values[0] == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("tanh", [0, 1], [0, 1], 1), AssumptionError, "kink"),
        (("linear", [0, 1], [0, 1], 1), AssumptionError, "kink"),
        (("relu", [0, 0], [0, 1], 1), ValueError, "different"),
        (("relu", list(range(7)), [0] * 7, 1), ValueError, "different"),
        (("relu", [0, 1], [0, 1], 3), ValueError, "width"),
        (("relu", [0, 0.5], [0, 1], 1), ValueError, "exact"),
    ],
)
def test_other_sizes_and_functions_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        kinked_points(*arguments)


@pytest.mark.slow
def test_five_samples_and_two_neurons_have_their_least_value_among_the_points():
    x, y = [-2, -1, 0, 1, 2], [1, -1, R(1, 2), 0, 2]
    found = kinked_points("relu", x, y, 2)
    test_descent_ends_at_listed_values_of_minima("relu", x, y, 2)
    assert found.points[0].kind == "minimum"
