"""The flow at small weights: leading order by measured slopes, and the check values of the condensation papers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from sympy import Integer, Rational, Symbol

from derivations.activations import activation
from derivations.canonical import vanishes
from derivations.equations import derive
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.indexed import Index, Tensor, isum
from derivations.jacobian import written_out
from derivations.problem import Problem, d, m, n
from derivations.small_weights import balance_residual, derive_small_weights, leading_flow, multiplicity
from numerics.compile import compile_system
from numerics.tolerances import SLOPE_MARGIN

_SPEC = importlib.util.spec_from_file_location("read_back", Path(__file__).with_name("read_back.py"))
read_back = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(read_back)

LAMBDA = Symbol("lambda", positive=True)
# Problem and the order of the relative error that is claimed: min of the next order of sigma and of the outputs.
PROBLEMS = {
    "tanh": (Problem.two_layer("tanh", "square", input_bias=True), 2),
    "z tanh": (Problem.two_layer("z*tanh(z)", "logistic"), 2),
    "z^2 tanh, rates": (
        Problem.two_layer("z**2*tanh(z)", "square", vector_output=True, rate=(("a", Integer(3)),)),
        2,
    ),
    "gelu": (Problem.two_layer("gelu", "square", input_bias=True), 1),
    "softplus": (Problem.two_layer("softplus", "square", scale="1/m"), 1),
    "quadratic": (Problem.two_layer("quadratic", "square"), 3),
    "relu": (Problem.two_layer("relu", "exponential", input_bias=True), 2),
    "tanh, output bias": (Problem.two_layer("tanh", "square", output_bias=True), 1),
    "sigmoid, decay, frozen": (
        Problem.two_layer("sigmoid", "square", weight_decay=Rational(1, 5), freeze=("a",)),
        1,
    ),
    "deep tanh, no biases": (Problem.deep(3, "tanh", "square", input_bias=False, output_bias=False), 2),
    "deep tanh": (Problem.deep(3, "tanh", "logistic"), 1),
    "deep z tanh, no biases": (
        Problem.deep(3, "z*tanh(z)", "square", input_bias=False, output_bias=False, vector_output=True),
        2,
    ),
    "four layers of relu": (Problem.deep(4, "relu", "square", input_bias=False, output_bias=False), 4),
    "deep relu with biases": (Problem.deep(3, "relu", "exponential", reduction="sum"), 1),
    "deep sigmoid": (Problem.deep(3, "sigmoid", "square", output_bias=False, rate=(("W2", Integer(3)),)), 1),
    "deep quadratic, frozen": (
        Problem.deep(2, "quadratic", "square", input_bias=False, output_bias=False, freeze=("W1",)),
        3,
    ),
}


def system_of(problem):
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    y = torch.randn((3, 2) if problem.vector_output else (3,), generator=generator, dtype=torch.float64)
    system = compile_system(problem, x, y, 2 if problem.kind == "two_layer" else (2,) * (problem.depth - 1))
    return system, torch.randn(system.P, generator=generator, dtype=torch.float64)


def leading(problem, system):
    """The printed right-hand sides, e written out, as a function of theta: one vector for each block."""
    derivation = derive_small_weights(problem)
    flow = leading_flow(problem)
    e = [x for x in derivation.where if x.lhs.has(Tensor("e", problem.output.dims))]
    outputs = {b.name: (written_out(flow[b.name], e), b.indices) for b in problem.blocks}

    def rate(theta):
        return [v.reshape(-1) for v in system.evaluate(problem.derived, outputs, theta).values()]

    return rate


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_error_has_the_claimed_order(name):
    problem, order = PROBLEMS[name]
    system, theta = system_of(problem)
    errors, rate = [], leading(problem, system)
    for step in range(4):
        epsilon = 0.02 / 2**step
        found = rate(epsilon * theta)
        flow = system.flow(epsilon * theta)
        worst = 0.0
        for part, (_, _, where) in zip(found, system.layout, strict=True):
            size = float(part.abs().max())
            if size > 0:
                worst = max(worst, float((flow[where] - part).abs().max()) / size)
        errors.append(worst)
    slopes = torch.log2(torch.tensor(errors[:-1]) / torch.tensor(errors[1:]))
    assert float(slopes[-1]) == pytest.approx(order, abs=SLOPE_MARGIN)
    notes = " ".join(derive_small_weights(problem).notes)
    assert f"order $\\varepsilon{'' if order == 1 else f'^{{{order}}}'}$" in notes


@pytest.mark.parametrize("name", PROBLEMS)
def test_printed_equations_read_back(name):
    assert read_back.assert_reads_back(derive(PROBLEMS[name][0], "small-weights")) >= 4


@pytest.mark.parametrize(
    ("name", "order", "coefficient", "following"),
    [
        ("tanh", 1, 1, 3),
        ("z*tanh(z)", 2, 1, 4),
        ("z**2*tanh(z)", 3, 1, 5),
        ("sigmoid", 1, Rational(1, 4), 3),
        ("softplus", 1, Rational(1, 2), 2),
        ("sin(z) - tanh(z)", 3, Rational(1, 6), 5),
        ("cos", 2, Rational(-1, 2), 4),
        ("quadratic", 2, 1, None),
    ],
)
def test_multiplicity(name, order, coefficient, following):
    found = multiplicity(activation(name))
    assert (found.order, found.coefficient, found.following) == (order, coefficient, following)


def test_print_of_condensation():
    derivation = derive(Problem.two_layer("z**2*tanh(z)", "square"), "small-weights")
    shown = [f"{r.left} = {r.tex}" for r in derivation.rows((*derivation.system, *derivation.where))]
    assert shown == [
        r"\dot{a}_k = -\sum_{i=1}^{n} e_i z_{ik}^{3}",
        r"\dot{w}_k = -3 a_k \sum_{i=1}^{n} e_i z_{ik}^{2} x_i",
        r"z_{ik} = w_k^{\top} x_i",
        r"e_i = -\frac{1}{n} y_i",
    ]
    assert r"$\sigma(z) = z^{3} + O(z^{5})$." in derivation.notes
    assert r"Each $3 a_k^{2} - \lVert w_k \rVert^{2}$ is conserved to this order." in derivation.notes


def test_the_general_sigma_is_linear_at_small_weights():
    flow = leading_flow(Problem.two_layer())
    i, k, l = Index("i", n), Index("k", m), Index("l", d)
    e, x, z, a = Tensor("e", (n,)), Tensor("x", (n, d)), Tensor("z", (n, m)), Tensor("a", (m,))
    slope = (flow["a"] / isum(e[i] * z[i, k], i)).cancel()
    assert vanishes(flow["w"] - slope * a[k] * isum(e[i] * x[i, l], i))


@pytest.mark.parametrize("name", ["tanh", "z tanh", "z^2 tanh, rates", "quadratic"])
def test_the_balance_is_conserved_to_leading_order(name):
    assert balance_residual(PROBLEMS[name][0]) == 0


def test_the_balance_is_refused_where_it_does_not_hold():
    with pytest.raises(AssumptionError, match=r"sigma\(0\) = 0"):
        balance_residual(PROBLEMS["softplus"][0])


def test_a_neuron_follows_the_hyperbolic_solution():
    """Condensation, claim C3: z = (0.6, -0.8), a_0 = 0.01, w_0 = (-0.02, 0.01); the output weight changes its sign."""
    problem = Problem.two_layer("tanh", "square")
    x = torch.tensor([[0.6, -0.8]], dtype=torch.float64)
    system = compile_system(problem, x, torch.ones(1, dtype=torch.float64), 1)  # e = -1, so z = x
    start = torch.tensor([0.01, -0.02, 0.01], dtype=torch.float64)
    rate = leading(problem, system)
    columns = [torch.cat(rate(row)) for row in torch.eye(3, dtype=torch.float64)]
    matrix = torch.stack(columns, dim=1)
    for time, expected in (
        (2.0, [-0.034915251246, -0.0313851858, 0.0251802478]),
        (4.0, [-0.272716015582, -0.1719592908, 0.2126123878]),
    ):
        found = torch.linalg.matrix_exp(time * matrix) @ start
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=5e-11)


def test_a_balanced_neuron_of_order_three_blows_up_at_the_stated_time():
    """Condensation, claim C7: p = 3, k V = 1, a_0 = 1/2, r_0 = sqrt(3)/2: t* = 1.154700538."""
    problem = Problem.two_layer("cubic", "square")
    x = torch.ones(1, 1, dtype=torch.float64)
    system = compile_system(problem, x, torch.full((1,), 1 / 3, dtype=torch.float64), 1)  # 3 c W(u) = 1
    state, time = torch.tensor([0.5, 0.5 * 3**0.5], dtype=torch.float64), 0.0
    rate = leading(problem, system)
    for _ in range(400):  # Runge-Kutta of order 4; steps shrink with the distance to the blow-up
        h = 2e-2 / float(state[0]) ** 2
        k1 = torch.cat(rate(state))
        k2 = torch.cat(rate(state + h / 2 * k1))
        k3 = torch.cat(rate(state + h / 2 * k2))
        k4 = torch.cat(rate(state + h * k3))
        state, time = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), time + h
        if float(state[0]) > 1e2:
            break
    remaining = float(state[0]) ** -2 / (2 * 3**0.5)
    assert time + remaining == pytest.approx(1.154700538, abs=1e-6)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (FormulaProblem.of("a*x", ["a"]), "kind 'formula'"),
        (Problem.two_layer("relu(z) + z**2"), "has a kink"),
        (Problem.two_layer("z**9"), "vanish up to order 8"),
    ],
)
def test_what_has_no_expansion_is_refused(problem, message):
    with pytest.raises(AssumptionError, match=message):
        derive(problem, "small-weights")


def pairing_by_hand(problem, system, theta):
    """The sum of e_i f_i of a deep network without biases, written by hand, as a function of theta."""
    sigma = {"relu": torch.relu, "linear": lambda z: z}[problem.activation.name]
    hidden, blocks = system.x, system.unpack(theta)
    for layer in range(1, problem.depth):
        hidden = sigma(hidden @ blocks[f"W{layer}"].T)
    return (-(system.y / len(system.y)) * (hidden @ blocks[f"W{problem.depth}"])).sum()


@pytest.mark.parametrize("name", ["relu", "linear"])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_homogeneous_deep_network_follows_its_neural_correlation(name, depth):
    """The flow at small weights is minus the gradient of sum e_i f_i, and d|theta|^2/dt / 2 = -L sum e_i f_i (Euler)."""
    problem = Problem.deep(depth, name, "square", input_bias=False, output_bias=False)
    system, theta = system_of(problem)
    point = theta.clone().requires_grad_()
    pairing = pairing_by_hand(problem, system, point)
    (gradient,) = torch.autograd.grad(pairing, point)
    found = torch.cat(leading(problem, system)(theta))
    torch.testing.assert_close(found, -gradient, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found @ theta, -depth * pairing.detach(), rtol=1e-12, atol=1e-13)
    notes = " ".join(derive_small_weights(problem).notes)
    assert f"homogeneous of degree ${depth}$" in notes
    assert rf"\lVert\theta\rVert^2 = {depth}\, \mathcal{{N}}(\theta)$" in notes


def test_the_norm_on_a_ray_of_a_deep_network_grows_as_stated():
    """Directional convergence, claim C9: on a KKT ray r' = L N r^(L-1), so L = 3 blows up at 1 / (3 N delta)."""
    problem = Problem.deep(3, "linear", "square", input_bias=False, output_bias=False)
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.full((1,), 2.0, dtype=torch.float64)
    system = compile_system(problem, x, y, (1, 1))
    direction = torch.full(
        (3,), 3**-0.5, dtype=torch.float64
    )  # N = y W1 W2 W3 is largest where they are equal
    correlation = 2.0 * 3**-1.5
    for radius in (0.1, 0.2):
        speed = torch.cat(leading(problem, system)(radius * direction))
        expected = 3 * correlation * radius**2 * direction
        torch.testing.assert_close(speed, expected, rtol=1e-12, atol=0)


def test_biases_take_over_the_deeper_layers():
    derivation = derive(Problem.deep(3, "tanh", "square"), "small-weights")
    assert "z2[i,p] = b2[p]" in str(derivation)
    notes = " ".join(derivation.notes)
    assert "neural correlation" not in notes
    assert r"Where $\sum_i e_{i} = 0$" in notes


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("name", ["deep tanh, no biases", "deep z tanh, no biases"])
def test_the_balance_of_every_layer_is_conserved_to_leading_order(name, layer):
    assert balance_residual(PROBLEMS[name][0], layer) == 0


def test_a_balance_that_does_not_hold_is_not_stated():
    problem = Problem.deep(
        3, "tanh", "square"
    )  # z2 begins with its bias, so W2 and b2 move at different orders
    assert balance_residual(problem, 1) == 0
    assert balance_residual(problem, 2) != 0
    notes = [u for u in derive_small_weights(problem).notes if "conserved" in u]
    assert len(notes) == 1
    assert r"W^{(2)}_{\cdot p}" in notes[0]


def test_a_loss_that_is_linear_in_the_output_leaves_nothing_out():
    problem = Problem.deep(3, "relu", "correlation", input_bias=False, output_bias=False)
    system, theta = system_of(problem)
    assert "Nothing is left out: this is the gradient flow itself." in derive_small_weights(problem).notes
    found = torch.cat(leading(problem, system)(theta))
    torch.testing.assert_close(found, system.flow(theta), rtol=1e-12, atol=1e-13)


def test_a_deep_cubic_network_is_expanded_in_seconds():
    found = derive_small_weights(Problem.deep(3, "cubic", "square", input_bias=False))
    assert sum("is conserved to this order" in note for note in found.notes) == 2
