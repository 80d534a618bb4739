"""Compiled risks over an interval against closed forms, exact arithmetic, hand-written networks and quadrature."""

from __future__ import annotations

import itertools
import math

import mpmath
import pytest
import torch
from sympy import Abs, Integer, Max, Rational, Symbol, sign, sin
from torch import Tensor

from derivations.activations import activation
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.interval_point import interval_point
from derivations.problem import Problem
from numerics.flow import integrate
from numerics.interval_system import IntervalSystem, compile_interval
from numerics.reference import finite_difference_gradient
from numerics.tolerances import FINITE_DIFFERENCES, FLOW_ERROR, same_formula

x = Symbol("x", real=True)
EXACT = same_formula(torch.float64)


def line(sigma="relu", lower=0, upper=1, target=x, reduction="integral", **options) -> IntervalProblem:
    """The setting of Cheridito, Jentzen, Rossmannek: factor 2 makes the loss the plain squared error."""
    network = Problem.two_layer(
        sigma, **{"loss": "square", "input_bias": True, "output_bias": True, "factor": 2, **options}
    )
    return IntervalProblem(network, Integer(lower), Integer(upper), x, target, reduction)


def close(found: Tensor, wanted: Tensor, bound: float = EXACT) -> bool:
    return float((found - wanted).abs().max()) <= bound * (1 + float(wanted.abs().max()))


def exact_derivatives(interval: IntervalProblem, blocks: dict) -> tuple[Tensor, Tensor, Tensor]:
    point = interval_point(interval, blocks)
    rows = [[float(u) for u in row] for row in point.hessian.tolist()]
    parts = (float(point.value), [float(u) for u in point.gradient], rows)
    return tuple(torch.tensor(u, dtype=torch.float64) for u in parts)


# ---- C1: the closed form, for every order of the kinks ---------------------------------------------------------


def sheet_loss(c: float, slopes: list[float], kinks: list[float], right: list[bool], alpha: float) -> float:
    """The polynomial of the sheet on [0, 1] with target alpha x: one neuron, plus pair integrals."""
    total = c * c - alpha * c + alpha**2 / 3
    for m, p, r in zip(slopes, kinks, right, strict=True):
        if r:
            total += m * c * (1 - p) ** 2 - m * alpha * (1 - p) ** 2 * (2 + p) / 3 + m * m * (1 - p) ** 3 / 3
        else:
            total += -m * c * p * p + m * alpha * p**3 / 3 + m * m * p**3 / 3
    for i, j in itertools.combinations(range(len(slopes)), 2):
        if right[i] == right[j]:
            p, q = sorted((kinks[i], kinks[j]))
            pair = (1 - q) ** 2 * (2 + q - 3 * p) / 6 if right[i] else p**2 * (3 * q - p) / 6
        else:
            p, q = (kinks[i], kinks[j]) if right[i] else (kinks[j], kinks[i])
            pair = -((q - p) ** 3) / 6 if p < q else 0.0
        total += 2 * slopes[i] * slopes[j] * pair
    return total


@pytest.mark.parametrize("right", list(itertools.product([True, False], repeat=3)))
def test_the_risk_is_the_closed_form_for_every_order_and_orientation_of_the_kinks(right):
    """C1 of the sheet, at width 3: all orders, two kinks that coincide, kinks on the ends."""
    alpha, c, scales, slopes = 1.5, 0.3, [0.7, 1.9, 0.4], [0.8, -1.3, 0.55]
    system = compile_interval(line(target=Rational(3, 2) * x), 3)
    for kinks in [*itertools.permutations([0.2, 0.45, 0.8]), (0.3, 0.3, 0.7), (0.0, 0.5, 1.0)]:
        w = [s if r else -s for s, r in zip(scales, right, strict=True)]
        blocks = {
            "a": [m / u for m, u in zip(slopes, w, strict=True)],
            "w": [[u] for u in w],
            "b": [-u * p for u, p in zip(w, kinks, strict=True)],
            "c": c,
        }
        found = float(system.value(system.pack(blocks)))
        assert found == pytest.approx(sheet_loss(c, slopes, list(kinks), list(right), alpha), rel=1e-13)


@pytest.mark.parametrize(
    ("w", "b"), [(2.0, -3.0), (2.0, 3.0), (-1.0, 4.0), (-1.0, -0.5), (0.0, 0.7), (0.0, -0.7), (0.0, 0.0)]
)
def test_kinks_outside_the_interval_and_constant_neurons_are_integrated_exactly(w, b):
    """Such a neuron is affine on the interval, 0 or a constant."""
    a, c = 0.9, 0.2
    system = compile_interval(line(), 1)
    theta = system.pack({"a": [a], "w": [[w]], "b": [b], "c": c})
    active = w * 0.5 + b > 0
    slope, start = (a * w, a * b) if active else (0.0, 0.0)
    u, v = slope - 1, start + c  # residual u x + v
    assert float(system.value(theta)) == pytest.approx(u * u / 3 + u * v + v * v, rel=1e-14)
    first, second = u / 2 + v, u / 3 + v / 2  # integrals of r and of r x
    wanted = [2 * (w * second + b * first), 2 * a * second, 2 * a * first] if active else [0.0, 0.0, 0.0]
    assert close(system.gradient(theta), torch.tensor([*wanted, 2 * first], dtype=torch.float64))


def test_value_and_gradient_are_those_of_a_fine_sum_and_automatic_differentiation():
    """C1, verification: 10^5 points and autograd of a hand-written network."""
    generator = torch.Generator().manual_seed(3)
    system = compile_interval(line(), 4)
    grid = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    for _ in range(5):
        theta = torch.randn(system.P, generator=generator, dtype=torch.float64).requires_grad_()
        a, w, b, c = theta[:4], theta[4:8], theta[8:12], theta[12]
        f = torch.relu(grid[:, None] * w + b) @ a + c
        risk = ((f - grid) ** 2).mean()
        (gradient,) = torch.autograd.grad(risk, theta)
        point = theta.detach()
        assert float(system.value(point)) == pytest.approx(risk.item(), abs=1e-6)
        # sigma' jumps inside a step of the sum: an error of half a step, 5e-6, times the jump of the integrand.
        assert close(system.gradient(point), gradient, 1e-5)


# ---- check values of the sheet ------------------------------------------------------------------------------

SADDLE = {"w": [[1.0], [-1.0]], "b": [-1 / 3, 2 / 3], "a": [2 / 3, -2 / 3], "c": 0.5}
SPECTRUM = [-0.02668673, -0.00568834, 0, 0, 0.05761478, 0.52443630, 3.21438435]


def test_the_two_kink_saddle_has_its_value_spectrum_and_no_gradient():
    system = compile_interval(line(), 2)
    value, gradient, hessian = system.value_gradient_hessian(system.pack(SADDLE))
    assert float(value) == pytest.approx(1 / 972, rel=1e-14)
    assert float(gradient.abs().max()) < 1e-15
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx(SPECTRUM, abs=6e-9)


def test_without_the_term_of_the_moving_kinks_the_index_would_be_wrong():
    """C6: the saddle has two negative eigenvalues because of it; plain sums over nodes have none."""
    system = compile_interval(line(), 2)
    system._jump = 0.0
    plain = torch.linalg.eigvalsh(system.hessian(system.pack(SADDLE)))
    assert plain.tolist() != pytest.approx(SPECTRUM, abs=1e-3)


@pytest.mark.parametrize("count", [2, 4, 6])
def test_the_levels_of_n_kinks_are_critical(count):
    system = compile_interval(line(), count)
    kinks = [i / (count + 1) for i in range(1, count + 1)]
    w = [(-1.0) ** i for i in range(count)]
    a = [2 / (count + 1) * u for u in w]
    b = [-u * p for u, p in zip(w, kinks, strict=True)]
    # On the first gap f = x - (x - q/2)/(n+1), q = 1/(n+1), so that f(0) = q^2/2.
    start = sum(u * max(v, 0.0) for u, v in zip(a, b, strict=True))
    blocks = {"a": a, "w": [[u] for u in w], "b": b, "c": 1 / (2 * (count + 1) ** 2) - start}
    theta = system.pack(blocks)
    assert float(system.gradient(theta).abs().max()) < 1e-15
    assert float(system.value(theta)) == pytest.approx(1 / (12 * (count + 1) ** 4), rel=1e-12)


LEAKY = [
    ({"w": [[1.0]], "b": [-2 / 3], "a": [2.0], "c": 0.5}, [-0.03101212, 0, 0.57021156, 5.70154131]),
    ({"w": [[-1.0]], "b": [1 / 3], "a": [-2.0], "c": 0.5}, [-0.05755616, 0, 0.37148256, 4.42681435]),
]


@pytest.mark.parametrize(("blocks", "eigenvalues"), LEAKY, ids=["right", "left"])
def test_leaky_saddles_have_their_spectra(blocks, eigenvalues):
    system = compile_interval(line("leaky_relu(1/4)"), 1)
    value, gradient, hessian = system.value_gradient_hessian(system.pack(blocks))
    assert float(value) == pytest.approx(1 / 108, rel=1e-13)
    assert float(gradient.abs().max()) < 1e-14
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx(eigenvalues, abs=6e-9)


# ---- one problem, two routes --------------------------------------------------------------------------------

CASES = {
    "relu": line(),
    "leaky, scaled and decayed": line("leaky_relu(1/4)", -1, 2, x**2 - x, "mean", scale="1/m", weight_decay="1/5"),
    "abs, bent target": line("abs", 0, 2, Abs(2 * x - 1) + Max(x, 1)),
    "relu squared": line(activation("relu(z)**2"), -1, 1, x**3),
    "quadratic": line("quadratic"),
    "cubic, no biases": line("cubic", -1, 1, x, input_bias=False, output_bias=False),
    "no input bias": line("relu", -1, 2, x, input_bias=False),
    "quartic loss": line(loss="(f - y)**4", output_bias=False),
    "correlation": line(loss="correlation"),
    "jumping target": line("relu", 0, 1, sign(x - Rational(1, 2))),
    "constant target": line("relu", 0, 1, Integer(1)),
    "frozen": line("relu", freeze=("a",), rate=(("w", Integer(3)),)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_piecewise_polynomials_have_the_exact_risk_gradient_and_hessian(name):
    interval, generator = CASES[name], torch.Generator().manual_seed(len(name))
    system = compile_interval(interval, 2)
    theta = (torch.randn(3, system.P, generator=generator, dtype=torch.float64) * 100).round() / 100
    v = torch.randn(3, system.P, generator=generator, dtype=torch.float64)
    value, gradient, hessian = system.value_gradient_hessian(theta)
    products = system.hvp(theta, v)
    assert system.exact
    for row in range(3):
        blocks = {k: [f"{t:.2f}" for t in u.flatten().tolist()] for k, u in system.unpack(theta[row]).items()}
        wanted = exact_derivatives(interval, blocks)
        assert close(value[row], wanted[0])
        assert close(gradient[row], wanted[1])
        assert close(hessian[row], wanted[2])
        assert close(products[row], wanted[2] @ v[row])


SMOOTH = {
    "tanh": (line("tanh"), torch.tanh, None),
    "tanh, bent target": (line("tanh", target=Abs(x - Rational(1, 3))), torch.tanh, lambda t: abs(t - 1 / 3)),
    "gaussian": (line("gaussian", -1, 2, x), lambda z: torch.exp(-z * z / 2), None),
    "softplus, sine target": (line("softplus", target=sin(3 * x)), torch.nn.functional.softplus, lambda t: math.sin(3 * t)),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_networks_have_the_risk_of_adaptive_quadrature(name):
    interval, sigma, target = SMOOTH[name]
    system = compile_interval(interval, 2)
    assert not system.exact
    lower, upper = float(interval.lower), float(interval.upper)
    theta = torch.randn(system.P, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a, w, b, c = theta[:2], theta[2:4], theta[4:6], float(theta[6])

    def integrand(t):
        f = float(sigma(w * float(t) + b) @ a) + c
        return (f - (float(t) if target is None else target(float(t)))) ** 2

    ends = [lower, *([1 / 3] if "bent" in name else []), upper]
    assert float(system.value(theta)) == pytest.approx(float(mpmath.quad(integrand, ends)), rel=1e-13)
    found = finite_difference_gradient(system.value, theta)[0]
    assert close(system.gradient(theta), found, FINITE_DIFFERENCES)
    assert close(
        system.hessian(theta), finite_difference_gradient(system.gradient, theta)[0], FINITE_DIFFERENCES
    )


@pytest.mark.parametrize(
    "interval", [line(target=sin(3 * x)), line(loss="logistic", target=sign(x - Rational(1, 3)))]
)
def test_kinked_networks_with_other_integrands_have_consistent_derivatives(interval):
    system = compile_interval(interval, 2)
    assert not system.exact
    blocks = {"a": [0.5, -0.8], "w": [[1.0], [-1.0]], "b": [-0.25, 0.6], "c": 0.2}
    theta = system.pack(blocks)
    assert close(
        system.gradient(theta), finite_difference_gradient(system.value, theta)[0], FINITE_DIFFERENCES
    )
    assert close(
        system.hessian(theta), finite_difference_gradient(system.gradient, theta)[0], FINITE_DIFFERENCES
    )


# ---- steepness and what cannot be integrated ------------------------------------------------------------------


@pytest.mark.parametrize("steepness", [30.0, 150.0, 400.0])
def test_steep_neurons_are_resolved(steepness):
    r"""For f = a exp(-(s(x - 1/2))^2 / 2) and y = 0 the risk is a^2 sqrt(pi)/s erf(s/2), a bump that coarse nodes miss."""
    system = compile_interval(line("gaussian", target=Integer(0), output_bias=False), 1)
    theta = system.pack({"a": [2.0], "w": [[steepness]], "b": [-steepness / 2]})
    wanted = 4 * math.sqrt(math.pi) / steepness * math.erf(steepness / 2)
    assert float(system.value(theta)) == pytest.approx(wanted, rel=1e-12)


def test_what_no_rule_resolves_is_no_number_and_says_why():
    system = compile_interval(line("tanh"), 1)
    theta = system.pack({"a": [1.0], "w": [[1e7]], "b": [-5e6], "c": 0.0})
    assert bool(system.value(theta).isnan())
    assert bool(system.hessian(theta).isnan().all())
    assert "did not converge" in system.not_finite
    rows = torch.stack([theta, torch.zeros_like(theta)])
    assert system.value(rows).isnan().tolist() == [True, False]


def test_an_integrand_that_is_not_smooth_is_refused_and_not_rounded():
    system = compile_interval(line("tanh", target=x ** Rational(1, 3)), 1)
    assert bool(system.value(torch.zeros(system.P, dtype=torch.float64)).isnan())


# ---- the interface of a compiled system ---------------------------------------------------------------------


@pytest.mark.parametrize("sigma", ["relu", "tanh"])
def test_single_points_batches_and_larger_batches_agree(sigma):
    system = compile_interval(line(sigma), 3)
    theta = torch.randn(2, 7, system.P, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert (value.shape, gradient.shape, hessian.shape) == ((2, 7), (2, 7, 10), (2, 7, 10, 10))
    one = [system.value_gradient_hessian(theta[j, k]) for j in range(2) for k in range(7)]
    for which, whole in enumerate((value, gradient, hessian)):
        assert close(torch.stack([u[which] for u in one]).reshape(whole.shape), whole)
    assert close(system.hvp(theta, theta[0, 0]), torch.einsum("...ij,j->...i", hessian, theta[0, 0]))
    assert system.value(theta[:0]).shape == (0, 7)


def test_outputs_are_those_at_the_stated_inputs():
    system = compile_interval(line(), 2)
    theta = system.pack(SADDLE)
    f = torch.relu(system.inputs - 1 / 3) * 2 / 3 - torch.relu(2 / 3 - system.inputs) * 2 / 3 + 0.5
    assert close(system.outputs(theta), f[:, 0])
    assert system.inputs[[0, -1], 0].tolist() == [0.0, 1.0]


def test_wide_networks_are_not_swept_in_blocks():
    """Blocks of samples would have to cut the moving nodes of the point as well."""
    system = compile_interval(line(scale="1/m"), 600)
    theta = torch.randn(system.P, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    a, w, b = theta[:600], theta[600:1200], theta[1200:1800]
    f = torch.relu(grid[:, None] * w + b) @ a / 600 + theta[-1]
    assert float(system.value(theta)) == pytest.approx(float(((f - grid) ** 2).mean()), rel=1e-6)


def test_float32_is_computed_in_float32():
    system = compile_interval(line(), 2, dtype=torch.float32)
    value = system.value(system.pack(SADDLE))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(1 / 972, rel=1e-4)


def test_neurons_without_a_classical_hessian_are_named():
    system = compile_interval(line(), 4)
    theta = system.pack(
        {"a": [1.0] * 4, "w": [[0.0], [1.0], [1.0], [0.0]], "b": [0.0, -1.0, -0.5, 0.3], "c": 0.0}
    )
    assert system.irregular(theta).tolist() == [True, True, False, False]
    smooth = compile_interval(line("tanh"), 4)
    assert not bool(smooth.irregular(theta).any())


def test_the_flow_keeps_the_balance_of_every_neuron():
    """d/dt (a^2 - w^2 - b^2) = 0 for relu, on the population as on samples; the flow ends at 0 or among dead neurons."""
    system = compile_interval(line(), 3)
    start = torch.randn(3, system.P, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    result = integrate(
        system.flow, start, 5.0, rtol=1e-9, atol=1e-11, jacobian=system.flow_jacobian, energy=system.value
    )

    def balance(theta: Tensor) -> Tensor:
        u = system.unpack(theta)
        return u["a"] ** 2 - u["w"][..., 0] ** 2 - u["b"] ** 2

    largest = float(start.abs().max())
    drift = (balance(result.final_state) - balance(start)).abs().max()
    assert float(drift) <= FLOW_ERROR * 2 * largest * (1e-11 + 1e-9 * largest)
    assert float((result.final_state - start).abs().max()) > 0.1
    assert bool((system.value(result.final_state) < system.value(start)).all())


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: compile_interval(line(), 0), ValueError, "width is 0; required is an integer from 1 on"),
        (lambda: compile_interval(line(target=Symbol("alpha", real=True) * x), 1), AssumptionError, "needed for alpha"),
        (lambda: compile_interval(line(), 1).pack({"a": [1.0]}), ValueError, "block 'w' of shape"),
        (lambda: compile_interval(line(), 1).value(torch.zeros(3, dtype=torch.float64)), ValueError, "P = 4"),
        (lambda: compile_interval(line(), 1).hvp(*[torch.zeros(n, 4, dtype=torch.float64) for n in (2, 3)]), ValueError, "v has shape"),
        (lambda: IntervalSystem(line(), 1).evaluate(None, {}, None), ValueError, "move with the kinks"),
    ],
)  # fmt: skip
def test_refusals(build, error, message):
    with pytest.raises(error, match=message):
        build()
