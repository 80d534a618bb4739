"""Risk, gradient and Hessian on balls, against autograd of hand-written networks and against exact rational numbers."""

from __future__ import annotations

import random
from fractions import Fraction

import flint
import pytest
import torch
from sympy import Rational

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from derivations.registry import ENTRIES, MEMBERS
from numerics.arb_functions import NotEnclosed
from numerics.balls import BallSystem
from numerics.reference import Reference
from numerics.tolerances import same_formula

X = [["-3/2", "1/2"], ["2/3", "-1"], ["1/5", "7/4"], ["1", "1/3"]]
Y = ["1/2", "-2/3", "1", "3/10"]
SMOOTH = [name for name in (*ENTRIES, *MEMBERS) if name not in ("relu", "abs", "leaky_relu(1/10)")]
TOLERANCE = same_formula(torch.float64)


def exact(rows: list) -> list[Rational]:
    return [Rational(u) for row in rows for u in (row if isinstance(row, list) else [row])]


def floats(rows: list) -> torch.Tensor:
    return torch.tensor(
        [
            [float(Rational(u)) for u in row] if isinstance(row, list) else float(Rational(row))
            for row in rows
        ],
        dtype=torch.float64,
    )


def two_layer(
    activation: str, loss: str = "square", width: int = 2, **options
) -> tuple[BallSystem, Reference]:
    problem = Problem.two_layer(activation, loss, **options)
    system = BallSystem(problem, {"x": exact(X), "y": exact(Y)}, {"n": 4, "d": 2, "m": width})
    names = {"factor", "weight_decay"}
    plain = {key: float(Rational(value)) if key in names else value for key, value in options.items()}
    oracle = Reference(floats(X), floats(Y), activation=activation, loss=loss, widths=(width,), **plain)
    return system, oracle


def draw(count: int, scale: float = 1.0) -> list[float]:
    return [scale * random.gauss(0, 1) for _ in range(count)]


def compare(system: BallSystem, oracle: Reference, theta: list[float]) -> None:
    point = torch.tensor(theta, dtype=torch.float64)
    with flint.ctx.workprec(128):
        value, gradient, hessian = system.value_gradient_hessian([flint.arb(u) for u in theta])
        again = system.gradient([flint.arb(u) for u in theta])
    middle = [[float(u) for u in row] for row in hessian]
    for found, expected in (
        ([float(value)], oracle.value(point).reshape(1)),
        ([float(u) for u in gradient], oracle.gradient(point)),
        ([float(u) for u in again], oracle.gradient(point)),
        (middle, oracle.hessian(point)),
    ):
        size = 1 + float(expected.abs().max())
        assert float((torch.tensor(found, dtype=torch.float64) - expected).abs().max()) <= TOLERANCE * size
    assert max(float(u.rad()) for row in hessian for u in row) < 1e-30


@pytest.mark.parametrize("activation", SMOOTH)
def test_every_smooth_activation_agrees_with_autograd(activation: str) -> None:
    system, oracle = two_layer(activation, input_bias=True, output_bias=True)
    compare(system, oracle, draw(system.P))


@pytest.mark.parametrize("loss", ["logistic", "exponential", "correlation"])
@pytest.mark.parametrize("options", [{"weight_decay": "1/100"}, {"reduction": "sum", "factor": "2"}])
def test_every_smooth_loss_and_form_of_the_risk_agrees_with_autograd(loss: str, options: dict) -> None:
    system, oracle = two_layer("tanh", loss, **options)
    compare(system, oracle, draw(system.P))


@pytest.mark.parametrize("width", [1, 3, 7])
def test_matrix_products_of_every_size_agree_with_autograd(width: int) -> None:
    system, oracle = two_layer("tanh", width=width, input_bias=True)
    compare(system, oracle, draw(system.P, 0.5))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(1/10)", "abs"])
def test_a_kinked_activation_agrees_with_autograd_off_its_kinks(activation: str) -> None:
    system, oracle = two_layer(activation, input_bias=True)
    compare(system, oracle, draw(system.P))


def test_a_kink_in_the_box_is_refused() -> None:
    system, _ = two_layer("relu", width=1)
    with pytest.raises(NotEnclosed, match="kink"):
        system.gradient([flint.arb(1), flint.arb(1), flint.arb(3, 1e-3)])


def test_a_deep_network_agrees_with_autograd() -> None:
    problem = Problem.deep(3, "tanh", "square", input_bias=True, output_bias=True)
    system = BallSystem(problem, {"x": exact(X), "y": exact(Y)}, {"n": 4, "d": 2, "m1": 3, "m2": 2})
    oracle = Reference(
        floats(X), floats(Y), "tanh", "square", (3, 2), kind="deep", input_bias=True, output_bias=True
    )
    compare(system, oracle, draw(system.P))


def test_a_vector_output_agrees_with_autograd() -> None:
    targets = [["1", "0", "-1/2"], ["0", "2/3", "1"], ["1/7", "1", "0"], ["-1", "1/9", "1/3"]]
    problem = Problem.two_layer("tanh", "square", output_bias=True, vector_output=True)
    system = BallSystem(problem, {"x": exact(X), "y": exact(targets)}, {"n": 4, "d": 2, "m": 2, "o": 3})
    oracle = Reference(
        floats(X), floats(targets), activation="tanh", loss="square", widths=(2,), output_bias=True
    )
    compare(system, oracle, draw(system.P))


def test_a_formula_agrees_with_exact_rational_arithmetic() -> None:
    problem = FormulaProblem.of("a*(w*t)**2 + b*u", ["a", "w", "b"], ["t", "u"])
    ts, us = [Rational(row[0]) for row in X], [Rational(row[1]) for row in X]
    system = BallSystem(problem, {"t": ts, "u": us, "y": exact(Y)}, {"n": 4, "d": 2})
    a, w, b = Fraction(3, 4), Fraction(-5, 8), Fraction(1, 2)
    value, slope, corner = Fraction(0), [Fraction(0)] * 3, Fraction(0)
    for t, u, y in zip(ts, us, exact(Y), strict=True):
        t, u, y = (Fraction(int(v.p), int(v.q)) for v in (t, u, y))
        e = a * w * w * t * t + b * u - y
        df = [w * w * t * t, 2 * a * w * t * t, u]
        value += e * e / 8
        slope = [s + e * v / 4 for s, v in zip(slope, df, strict=True)]
        corner += (df[0] * df[1] + e * 2 * w * t * t) / 4
    with flint.ctx.workprec(200):
        found = system.value_gradient_hessian([flint.arb(float(v)) for v in (a, w, b)])
        for ball, number in ((found[0], value), *zip(found[1], slope, strict=True), (found[2][0][1], corner)):
            assert ball.contains(flint.arb(flint.fmpq(number.numerator, number.denominator)))
            assert ball.rad() < 1e-50


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus", "rational", "cubic"])
def test_a_box_encloses_what_happens_inside_it(activation: str) -> None:
    system, oracle = two_layer(activation, input_bias=True)
    centre, radius = draw(system.P), 1e-2
    with flint.ctx.workprec(128):
        value, gradient, hessian = system.value_gradient_hessian([flint.arb(u, radius) for u in centre])
        for _ in range(20):
            point = torch.tensor([u + random.uniform(-radius, radius) for u in centre], dtype=torch.float64)
            rounding = flint.arb(0, 1e-11)
            assert (value + rounding).contains(flint.arb(float(oracle.value(point))))
            for ball, number in zip(gradient, oracle.gradient(point).tolist(), strict=True):
                assert (ball + rounding).contains(flint.arb(number))
            for row, numbers in zip(hessian, oracle.hessian(point).tolist(), strict=True):
                assert all((u + rounding).contains(flint.arb(v)) for u, v in zip(row, numbers, strict=True))


def test_a_network_without_neurons_has_its_output_bias_only() -> None:
    problem = Problem.two_layer("tanh", "square", output_bias=True)
    system = BallSystem(problem, {"x": exact(X), "y": exact(Y)}, {"n": 4, "d": 2, "m": 0})
    mean = sum(exact(Y)) / 4
    with flint.ctx.workprec(128):
        _, gradient, hessian = system.value_gradient_hessian(
            [flint.arb(flint.fmpq(int(mean.p), int(mean.q)))]
        )
    assert system.P == 1
    assert gradient[0].contains(0)
    assert gradient[0].rad() < 1e-30
    assert hessian[0][0].contains(1)


def test_a_point_of_the_wrong_length_is_refused() -> None:
    system, _ = two_layer("tanh")
    with pytest.raises(ValueError, match="required are P = 6"):
        system.gradient([flint.arb(1)] * 5)


def test_a_higher_precision_is_a_tighter_enclosure_of_the_same_number() -> None:
    system, _ = two_layer("erf")
    theta = draw(system.P)
    found = []
    for bits in (64, 128, 700):
        with flint.ctx.workprec(bits):
            found.append(system.gradient([flint.arb(u) for u in theta])[0])
    with flint.ctx.workprec(800):
        assert all(wide.contains(found[-1]) for wide in found[:-1])
    assert float(found[-1].rad()) < 1e-190
