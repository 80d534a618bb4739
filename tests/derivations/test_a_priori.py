"""The a priori box against critical points found by descent, against closed forms, and with each assumption removed."""

from __future__ import annotations

import mpmath
import pytest
import torch
from sympy import Integer, Rational, sqrt

from derivations.a_priori import a_priori, upper
from derivations.errors import AssumptionError
from derivations.problem import Problem

X = torch.tensor([-2.0, -1.0, 0.5, 1.0, 2.0], dtype=torch.float64)
Y = [Rational(u, 10) for u in (-8, 3, 9, -4, 6)]
SIGMA = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "gaussian": lambda z: torch.exp(-(z**2) / 2),
    "rational": lambda z: z / (1 + z**2),
}


def test_one_output_and_the_mean_give_the_bounds_of_the_literature() -> None:
    decay = Rational(1, 1000)
    found = a_priori(Problem.two_layer("tanh", "square", weight_decay=decay), Y, 2)
    mean = float(sum(u**2 for u in Y) / 5)
    assert found.output_radius == pytest.approx((mean / 0.004) ** 0.5, rel=1e-10)
    constant = max(float(z / mpmath.cosh(z) ** 2) for z in mpmath.linspace(0.7, 0.85, 2000))
    assert constant == pytest.approx(0.4478, abs=1e-4)
    assert found.input_radius == pytest.approx(
        (constant * found.output_radius * mean**0.5 / 0.001) ** 0.5, rel=1e-6
    )
    assert found.outputs == pytest.approx((5 * mean) ** 0.5 / 2, rel=1e-10)


@pytest.mark.parametrize(
    ("activation", "loss"), [*((name, "square") for name in SIGMA), ("tanh", "logistic")]
)
def test_critical_points_of_a_hand_written_network_are_inside(activation: str, loss: str) -> None:
    decay, scale, factor = 0.02, 0.5, 3.0
    problem = Problem.two_layer(
        activation,
        loss,
        input_bias=True,
        output_bias=True,
        reduction="sum",
        factor=3,
        scale="1/m",
        weight_decay=Rational(1, 50),
    )
    bound = a_priori(problem, Y, 2)
    y = torch.tensor([float(u) for u in Y], dtype=torch.float64)

    def outputs(theta: torch.Tensor) -> torch.Tensor:
        return scale * SIGMA[activation](X[:, None] * theta[2:4] + theta[4:6]) @ theta[:2] + theta[6]

    def risk(theta: torch.Tensor) -> torch.Tensor:
        f = outputs(theta)
        terms = (f - y) ** 2 / 2 if loss == "square" else torch.nn.functional.softplus(-y * f)
        return factor * terms.sum() + decay / 2 * theta.square().sum()

    generator = torch.Generator().manual_seed(0)
    gradient, hessian = torch.func.grad(risk), torch.func.hessian(risk)
    found = 0
    for _ in range(5):
        theta = 2 * torch.randn(7, generator=generator, dtype=torch.float64)
        for _ in range(30):
            slope = gradient(theta)
            if float(slope.norm()) < 1e-11:
                break
            step = torch.linalg.solve(hessian(theta), slope)
            theta = theta - step * min(1.0, 1.0 / float(step.norm()))
        if float(gradient(theta).norm()) < 1e-10:
            found += 1
            assert float(theta[[0, 1, 6]].norm()) < bound.output_radius
            assert float(torch.stack([theta[2:4], theta[4:6]]).norm(dim=0).max()) < bound.input_radius
            assert bound.outputs is None or float((outputs(theta) - y / 2).norm()) < bound.outputs
    assert found


def test_the_constant_of_the_logistic_loss_is_above_its_supremum() -> None:
    found = a_priori(
        Problem.two_layer("tanh", "logistic", weight_decay=Integer(1), factor=Integer(1)), [Integer(1)], 1
    )
    assert 0 < found.output_radius**2 - float(mpmath.lambertw(mpmath.exp(-1)).real) < 1e-4
    assert found.outputs is None


def test_a_bound_is_rounded_upwards() -> None:
    assert mpmath.mpf(upper(sqrt(2))) > mpmath.sqrt(2)
    assert upper(Rational(1, 3)) > 1 / 3


REFUSED = {
    "no decay": (Problem.two_layer("tanh", "square"), "without weight decay"),
    "unbounded": (Problem.two_layer("sin", "square", weight_decay=1), "is not shown to be bounded"),
    "kink": (Problem.two_layer("relu", "square", weight_decay=1), "is not smooth"),
    "loss": (
        Problem.two_layer("tanh", "exponential", weight_decay=1),
        "losses square and logistic, found exponential",
    ),
    "frozen": (Problem.two_layer("tanh", "square", weight_decay=1, freeze=("a",)), "frozen: a"),
    "deep": (Problem.deep(3, "tanh", "square", weight_decay=1), "found a deep model"),
    "outputs": (Problem.two_layer("tanh", "square", vector_output=True, weight_decay=1), "use one output"),
    "general": (Problem.two_layer(None, "square", weight_decay=1), "given activation and loss"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_no_box_is_stated_once_an_assumption_is_removed(name: str) -> None:
    problem, message = REFUSED[name]
    with pytest.raises(AssumptionError, match=message):
        a_priori(problem, Y, 2)
