"""Compiled risks over Gaussian inputs against quadrature, sampling, exact points and high-precision differences."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from sympy import Abs, Integer, Symbol, erf
from torch import Tensor

from derivations.errors import AssumptionError
from derivations.functions import relu
from derivations.population import GaussianProblem
from derivations.population_point import population_point
from derivations.problem import Problem
from numerics.population_system import compile_population
from numerics.reference import Reference, finite_difference_gradient
from numerics.tolerances import FINITE_DIFFERENCES, MONTE_CARLO_SIGMAS, same_formula

X = tuple(Symbol(f"x_{j}", real=True) for j in range(3))
EXACT = same_formula(torch.float64)


def population(sigma, target, dimension=2, **options) -> GaussianProblem:
    network = Problem.two_layer(sigma, "square", **options)
    return GaussianProblem(network, X[:dimension], target, Integer(dimension))


def close(found: Tensor, wanted: Tensor, bound: float = EXACT) -> bool:
    return float((found - wanted).abs().max()) <= bound * (1 + float(wanted.abs().max()))


def draws(system, count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, system.P, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


#: Name: problem, target as a function of (n, d) inputs.  Smooth and kinked, with and without biases.
CASES = {
    "erf": (population("erf", X[0] ** 3 - 3 * X[0], weight_decay="1/10"), lambda u: u[:, 0] ** 3 - 3 * u[:, 0]),
    "quadratic": (
        population("quadratic", X[0] * X[1], input_bias=True, output_bias=True, factor=2),
        lambda u: u[:, 0] * u[:, 1],
    ),
    "cubic": (population("cubic", X[0], input_bias=True), lambda u: u[:, 0]),
    "sin": (population("sin", X[0], input_bias=True, scale="1/m"), lambda u: u[:, 0]),
    "gaussian": (population("gaussian", X[0] ** 2), lambda u: u[:, 0] ** 2),
    "erf teacher": (population("erf", erf(X[0] + X[1])), lambda u: torch.erf(u[:, 0] + u[:, 1])),
    "relu": (population("relu", relu(X[0]) - relu(X[1])), lambda u: torch.relu(u[:, 0]) - torch.relu(u[:, 1])),
    "abs": (population("abs", Abs(X[0]), output_bias=True), lambda u: u[:, 0].abs()),
    "leaky_relu(1/10)": (population("leaky_relu(1/10)", X[0] ** 2), lambda u: u[:, 0] ** 2),
}  # fmt: skip
SMOOTH = [name for name in CASES if name.split("_")[0] not in ("relu", "abs", "leaky")]


def reference(problem: GaussianProblem, x: Tensor, y: Tensor, loss="square", reduction="mean") -> Reference:
    network = problem.problem
    assert network.activation is not None
    return Reference(
        x,
        y,
        activation=network.activation.name,
        loss=loss,
        widths=(2,),
        input_bias=network.input_bias,
        output_bias=network.output_bias,
        scale=float(network.scale.subs(dict.fromkeys(network.scale.free_symbols, 2))),
        factor=float(network.factor),
        weight_decay=float(network.weight_decay),
        reduction=reduction,
    )


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_networks_have_the_risk_and_derivatives_of_the_trapezoidal_rule(name):
    problem, target = CASES[name]
    system = compile_population(problem, 2)
    nodes = torch.arange(-80, 81, dtype=torch.float64) / 8
    weights = torch.exp(-(nodes**2) / 2) / (8 * math.sqrt(2 * math.pi))
    x = torch.cartesian_prod(nodes, nodes)
    mass = torch.cartesian_prod(weights, weights).prod(dim=1)
    oracle = reference(problem, x, target(x), lambda f, y: mass * (f - y) ** 2 / 2, "sum")
    theta = 0.6 * draws(system, 2)
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert close(value, oracle.value(theta))
    assert close(gradient, oracle.gradient(theta))
    assert close(hessian, oracle.hessian(theta))
    assert close(system.outputs(theta), reference(problem, system.inputs, system.inputs[:, 0]).outputs(theta))


@pytest.mark.parametrize("name", ["relu", "abs", "leaky_relu(1/10)"])
def test_kinked_networks_have_the_risk_of_random_inputs(name):
    problem, target = CASES[name]
    system = compile_population(problem, 2)
    x = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    theta = draws(system, 3, seed=2)
    losses = (reference(problem, x, target(x)).outputs(theta) - target(x)) ** 2 / 2
    error = losses.std(dim=1) / len(x) ** 0.5
    assert bool(((system.value(theta) - losses.mean(dim=1)).abs() <= MONTE_CARLO_SIGMAS * error).all())


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_value_and_of_exact_points(name):
    system = compile_population(CASES[name][0], 2)
    theta = draws(system, 9, seed=5)
    _, gradient, hessian = system.value_gradient_hessian(theta)
    one = theta[0]
    assert close(gradient[0], finite_difference_gradient(system.value, one)[0], FINITE_DIFFERENCES)
    assert close(hessian[0], finite_difference_gradient(system.gradient, one)[0], FINITE_DIFFERENCES)
    assert close(system.value_gradient_hessian(one)[2], hessian[0])
    assert close(system.hvp(theta, theta.flip(0)), (hessian @ theta.flip(0)[..., None])[..., 0])
    rounded = (theta[0] * 8).round() / 8
    blocks = {name: part.tolist() for name, part in system.unpack(rounded).items()}
    risk, slopes = population_point(system.population, blocks)
    assert float(system.value(rounded)) == pytest.approx(float(risk), rel=1e-12)
    assert close(system.gradient(rounded), torch.tensor([float(u) for u in slopes], dtype=torch.float64))


# ---- parallel relu neurons ----------------------------------------------------------------------------------


def in_vectors(p: list, dimension: int):
    """Risk of three relu neurons against y = x_0, the angle taken from differences of unit vectors (no cancellation)."""
    a, w = p[:3], [p[3 + k * dimension : 3 + (k + 1) * dimension] for k in range(3)]

    def pair(u, v):
        size = [mpmath.sqrt(sum(t * t for t in s)) for s in (u, v)]
        unit = [[t / n for t in s] for s, n in zip((u, v), size, strict=True)]
        gap, total = (
            mpmath.sqrt(sum((s + sign * t) ** 2 for s, t in zip(*unit, strict=True))) for sign in (-1, 1)
        )
        angle = 2 * mpmath.atan2(gap, total)
        return (
            size[0]
            * size[1]
            * (mpmath.sin(angle) + (mpmath.pi - angle) * mpmath.cos(angle))
            / (2 * mpmath.pi)
        )

    pairs = sum(
        a[k] * a[q] * (pair(w[k], w[q]) if k != q else sum(t * t for t in w[k]) / 2)
        for k in range(3)
        for q in range(3)
    )
    return (pairs - sum(a[k] * w[k][0] for k in range(3)) + 1) / 2


@pytest.mark.parametrize(("angle", "bound"), [(1e-2, 1e-14), (1e-4, 1e-11), (1e-6, 1e-9), (1e-9, 1e-8)])
def test_nearly_parallel_relu_neurons_have_the_right_derivatives(angle, bound):
    """Neurons 1 and 2 nearly parallel, 1 and 3 opposite; derivatives by differences with sixty digits."""
    system = compile_population(population("relu", X[0]), 3)
    blocks = system.unpack(draws(system, 1, seed=1)[0].clone())
    blocks["w"][1] = 2 * blocks["w"][0] + angle * torch.tensor([0.0, 1.0], dtype=torch.float64)
    blocks["w"][2] = -blocks["w"][0] + 0.1
    theta = system.pack(blocks)
    with mpmath.workdps(60):
        p, h = [mpmath.mpf(u) for u in theta.tolist()], mpmath.mpf(10) ** -20

        def moved(*steps):
            q = list(p)
            for place, size in steps:
                q[place] += size
            return in_vectors(q, 2)

        slope = [float((moved((i, h)) - moved((i, -h))) / (2 * h)) for i in range(len(p))]
        curve = [
            [
                float(
                    sum(s * t * moved((i, s * h), (j, t * h)) for s in (1, -1) for t in (1, -1)) / (4 * h * h)
                )
                for j in range(len(p))
            ]
            for i in range(len(p))
        ]
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert float(value) == pytest.approx(float(in_vectors(p, 2)), abs=1e-14)
    assert close(gradient, torch.tensor(slope, dtype=torch.float64), bound)
    assert close(hessian, torch.tensor(curve, dtype=torch.float64), bound)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_equal_and_opposite_neurons_have_finite_derivatives(dimension):
    """The Hessian at equal neurons is the limit of those of nearly equal ones."""
    system = compile_population(population("relu", X[0], dimension), 3)
    blocks = system.unpack(draws(system, 1)[0].clone())
    blocks["w"][1], blocks["w"][2] = blocks["w"][0], -blocks["w"][0]
    equal = system.hessian(system.pack(blocks))
    blocks["w"][1, -1] += 1e-5
    assert bool(torch.isfinite(equal).all())
    assert close(equal, system.hessian(system.pack(blocks)), 1e-4)


# ---- interface ----------------------------------------------------------------------------------------------


def test_a_student_at_its_teacher_has_risk_zero():
    system = compile_population(population("relu", 2 * relu(X[0] - X[1]) - relu(X[1])), 2)
    theta = system.pack({"a": [2.0, -1.0], "w": [[1.0, -1.0], [0.0, 1.0]]})
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert abs(float(value)) < 1e-15
    assert float(gradient.abs().max()) < 1e-15
    assert float(torch.linalg.eigvalsh(hessian)[0]) > -1e-14


def test_a_vanished_relu_neuron_is_no_number_and_is_named():
    system = compile_population(population("relu", X[0]), 2)
    theta = system.pack({"a": [1.0, 1.0], "w": [[0.0, 0.0], [1.0, 0.0]]})
    assert bool(system.gradient(theta).isnan().any())
    assert "weight vector is 0" in system.not_finite
    assert system.irregular(theta).tolist() == [True, False]
    assert not bool(compile_population(population("erf", X[0]), 2).irregular(theta).any())


def test_a_large_dimension_costs_no_more_than_its_weights():
    system = compile_population(
        GaussianProblem(Problem.two_layer("relu", "square"), X, X[0], Integer(500)), 4
    )
    theta = torch.randn(system.P, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w, a = theta[4:].reshape(4, 500), theta[:4]
    size = w.norm(dim=1)
    cosine = (w @ w.T / torch.outer(size, size)).clamp(-1, 1)
    angle = torch.arccos(cosine)
    kernel = torch.outer(size, size) * (torch.sin(angle) + (torch.pi - angle) * cosine) / (2 * torch.pi)
    wanted = (a @ kernel @ a - a @ w[:, 0] + 1) / 2
    assert float(system.value(theta)) == pytest.approx(float(wanted), rel=1e-7)  # arccos near 1 costs digits


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: compile_population(population("erf", X[0]), 0), ValueError, "width is 0"),
        (lambda: compile_population(population("erf", X[0]), 1, dtype=torch.float32), ValueError, "computed in float64"),
        (lambda: compile_population(GaussianProblem(Problem.two_layer("erf", "square"), X, X[0]), 1), AssumptionError, "concrete dimension"),
        (lambda: compile_population(GaussianProblem(Problem.two_layer("erf", "square"), X, X[2], Integer(2)), 1), AssumptionError, "uses coordinate 3"),
        (lambda: compile_population(population("erf", Symbol("q", real=True) * X[0]), 1), AssumptionError, "needed for q"),
        (lambda: compile_population(population("erf", X[0]), 1).evaluate(None, {}, None), ValueError, "no samples"),
    ],
)  # fmt: skip
def test_refusals(build, error, message):
    with pytest.raises(error, match=message):
        build()
