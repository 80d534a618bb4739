"""The oracle itself, against numbers worked out by hand and against differences of its own values."""

from __future__ import annotations

import math

import pytest
import torch

from numerics.reference import ACTIVATIONS, LOSSES, Reference, finite_difference_gradient
from numerics.tolerances import FINITE_DIFFERENCES

X = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
Y = torch.tensor([1.0, -1.0], dtype=torch.float64)


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_network_worked_out_by_hand():
    """f = 2 * (3 tanh(0.1 + 0.4 + 0.3) - 1 tanh(-0.2 + 1.0 - 0.1)) + 0.7 at x = (1, 2); the other by symmetry."""
    oracle = Reference(
        X, Y, activation="tanh", loss="square", widths=(2,), input_bias=True, output_bias=True, scale=2.0
    )
    assert oracle.shapes == {"a": (2,), "w": (2, 2), "b": (2,), "c": ()}
    theta = torch.tensor([3.0, -1.0, 0.1, 0.2, -0.2, 0.5, 0.3, -0.1, 0.7], dtype=torch.float64)
    first = 2 * (3 * math.tanh(0.8) - math.tanh(0.7)) + 0.7
    second = 2 * (3 * math.tanh(0.15) - math.tanh(-0.7)) + 0.7
    assert oracle.outputs(theta).tolist() == pytest.approx([first, second], rel=1e-15)
    risk = ((first - 1) ** 2 + (second + 1) ** 2) / 4
    assert float(oracle.value(theta)) == pytest.approx(risk, rel=1e-15)


def test_factor_sum_and_decay():
    options = {"activation": "linear", "loss": "square", "widths": (1,)}
    theta = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
    plain = Reference(X, Y, **options)
    other = Reference(X, Y, reduction="sum", factor=3.0, weight_decay=0.5, **options)
    assert float(other.value(theta)) == pytest.approx(6 * float(plain.value(theta)) + 0.25 * 14, rel=1e-15)


def test_a_deep_network_worked_out_by_hand():
    x, y = torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    oracle = Reference(
        x, y, activation="relu", loss="square", widths=(1, 1), kind="deep", input_bias=True, output_bias=True
    )
    assert oracle.shapes == {"W1": (1, 1), "b1": (1,), "W2": (1, 1), "b2": (1,), "W3": (2, 1), "b3": (2,)}
    theta = torch.tensor([3.0, -1.0, 2.0, 0.5, 1.0, -2.0, 0.25, 4.0], dtype=torch.float64)
    hidden = 2 * (3 * 2 - 1) + 0.5
    assert oracle.outputs(theta).tolist() == [[hidden + 0.25, -2 * hidden + 4]]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sigma", ["tanh", "gelu", "softplus", "relu"])
def test_its_derivatives_agree_with_differences(sigma, loss):
    oracle = Reference(X, Y, activation=sigma, loss=loss, widths=(2,), input_bias=True)
    theta, v = draw(oracle.P), draw(oracle.P, seed=2)
    gradient, _ = finite_difference_gradient(oracle.value, theta)
    hessian, _ = finite_difference_gradient(oracle.gradient, theta)
    jacobian, _ = finite_difference_gradient(oracle.outputs, theta)
    close = {"rtol": FINITE_DIFFERENCES, "atol": FINITE_DIFFERENCES}
    torch.testing.assert_close(oracle.gradient(theta), gradient, **close)
    torch.testing.assert_close(oracle.hessian(theta), hessian, **close)
    torch.testing.assert_close(oracle.jacobian(theta), jacobian, **close)
    torch.testing.assert_close(oracle.hvp(theta, v), hessian @ v, **close)


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
def test_leading_axes(lead):
    oracle = Reference(X, Y, activation="tanh", loss="square", widths=(2,))
    theta = draw(*lead, oracle.P)
    assert oracle.value(theta).shape == lead
    assert oracle.hessian(theta).shape == (*lead, oracle.P, oracle.P)
    assert oracle.jacobian(theta).shape == (*lead, 2, oracle.P)
    assert oracle.hvp(theta, theta).shape == theta.shape


def test_a_callable_serves_as_activation_and_loss():
    named = Reference(X, Y, activation="tanh", loss="square", widths=(2,))
    own = Reference(X, Y, activation=torch.tanh, loss=lambda f, y: (f - y) ** 2 / 2, widths=(2,))
    theta = draw(named.P)
    torch.testing.assert_close(own.hessian(theta), named.hessian(theta), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("kink", [0.0, 1.0, 1 / 3])
@pytest.mark.parametrize("sigma", ["relu", "abs"])
def test_the_stated_derivative_at_a_kink(sigma, kink):
    zero = torch.zeros((), dtype=torch.float64)
    assert float(torch.func.grad(lambda z: ACTIVATIONS[sigma](z, kink))(zero)) == kink


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "tahn"}, "activation is 'tahn'; accepted: linear, relu"),
        ({"loss": "mse"}, "loss is 'mse'; accepted: square"),
        ({"kind": "three_layer"}, "kind is 'three_layer'; accepted: two_layer, deep"),
        ({"reduction": "max"}, "reduction is 'max'; accepted: mean, sum"),
        ({"widths": (2, 2)}, "a two-layer network has one width"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        Reference(X, Y, **({"activation": "tanh", "loss": "square", "widths": (2,)} | change))


def test_points_of_the_wrong_length_are_refused():
    oracle = Reference(X, Y, activation="tanh", loss="square", widths=(2,))
    with pytest.raises(ValueError, match="the last axis must be P = 6"):
        oracle.value(draw(5))
    with pytest.raises(ValueError, match="one shape"):
        oracle.hvp(draw(6), draw(1, 6))


def test_differences_report_an_honest_error_and_avoid_a_near_kink():
    theta = torch.tensor([1e-3, 1.0], dtype=torch.float64)  # the kink at 0 spoils steps above 1e-3
    slope, error = finite_difference_gradient(lambda t: (t.abs() * torch.exp(t)).sum(dim=1), theta, levels=9)
    exact = (1 + theta) * torch.exp(theta)
    assert bool(((slope - exact).abs() <= FINITE_DIFFERENCES).all())
    assert bool((error < 1e-6).all())


def test_differences_refuse_what_they_cannot_resolve():
    with pytest.raises(ValueError, match="float64"):
        finite_difference_gradient(lambda t: t.sum(dim=1), torch.zeros(2))
    with pytest.raises(ValueError, match="levels"):
        finite_difference_gradient(lambda t: t.sum(dim=1), torch.zeros(2, dtype=torch.float64), levels=1)
