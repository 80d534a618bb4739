"""Derived value, gradient, Hessian and Hessian-vector product against autograd of independent plain PyTorch."""

from __future__ import annotations

import itertools

import pytest
import torch

from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.critical import find_critical_points, polish, starts
from numerics.spectrum import spectrum

SIGMA = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "erf": torch.erf, "exp": torch.exp}


def plain_risk(theta, x, y, m, sigma, input_bias, output_bias):
    n, d = x.shape
    q = y.shape[1]
    a, rest = theta[: m * q].reshape(m, q), theta[m * q :]
    w, rest = rest[: m * d].reshape(m, d), rest[m * d :]
    z = x @ w.T
    if input_bias:
        z, rest = z + rest[:m], rest[m:]
    f = sigma(z) @ a
    if output_bias:
        f = f + rest
    return 0.5 * ((f - y) ** 2).sum() / n


@pytest.mark.parametrize(
    ("name", "vector", "input_bias", "output_bias"),
    list(itertools.product(SIGMA, [False, True], [False, True], [False, True])),
)
def test_compiled_equals_autograd(name, vector, input_bias, output_bias):
    generator = torch.Generator().manual_seed(1)
    draw = lambda *s: torch.randn(*s, generator=generator, dtype=torch.float64)  # noqa: E731
    x, y = draw(7, 2), draw(7, 3) if vector else draw(7)
    problem = Problem.two_layer(
        name, "square", input_bias=input_bias, output_bias=output_bias, vector_output=vector
    )
    system = compile_system(problem, x, y, 4)
    theta, v = draw(3, system.P), draw(3, system.P)
    targets = y if vector else y[:, None]

    def risk(t):
        return plain_risk(t, x, targets, 4, SIGMA[name], input_bias, output_bias)

    value, gradient, hessian = system.value_gradient_hessian(theta)
    exact = torch.stack([torch.func.hessian(risk)(t) for t in theta])
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(value, torch.stack([risk(t) for t in theta]), **close)
    torch.testing.assert_close(gradient, torch.stack([torch.func.grad(risk)(t) for t in theta]), **close)
    torch.testing.assert_close(hessian, exact, **close)
    torch.testing.assert_close(system.hvp(theta, v), (exact @ v[..., None])[..., 0], **close)
    torch.testing.assert_close(system.gradient(theta[0]), gradient[0], **close)


def test_width_one_best_fit_of_the_one_dimensional_data():
    # Published check values A1: R = .008172288779, eigenvalues .184956346265, 1.09766106666, 2.450889750971.
    x = torch.linspace(-5, 5, 21, dtype=torch.float64)
    y = (
        torch.tanh(1.5 * (x + 1.5)) + 0.4 * torch.tanh(2 * x - 0.5) + 0.6 * torch.tanh(1.2 * (x - 1.5))
    ).round(decimals=6)
    system = compile_system(Problem.two_layer("tanh", "square", input_bias=True), x[:, None], y, 1)
    found = find_critical_points(system, starts(system, 30, 0))
    theta, _ = polish(system, found.theta)
    best = theta[system.value(theta).argmin()]
    assert float(system.value(best)) == pytest.approx(0.008172288778644, rel=1e-9)
    assert spectrum(system.hessian(best)).eigenvalues == pytest.approx(
        (0.184956346265, 1.09766106666, 2.450889750971), rel=1e-9
    )


def test_a_frozen_block_is_refused_by_the_search():
    problem = Problem.two_layer("tanh", "square", freeze=("a",))
    system = compile_system(problem, [[1.0], [2.0]], [0.5, 1.0], 1)
    with pytest.raises(ValueError, match="blocks a are frozen"):
        find_critical_points(system, starts(system, 2, 0))
