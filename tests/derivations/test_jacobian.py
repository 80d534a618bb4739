"""Jacobian, the two parts of the Hessian, and the flow of the outputs: proved, and equal to what autograd finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sympy import Integer, Rational, Symbol

from derivations.canonical import vanishes
from derivations.equations import derive
from derivations.gauss_newton import _Parts, gauss_newton_split
from derivations.generic import GenericFunction, bind
from derivations.indexed import Delta, Index, Tensor, isum
from derivations.jacobian import block_jacobians, jacobian_residuals, output_indices, written_out
from derivations.output_dynamics import derive_output_dynamics, output_residual
from derivations.problem import Problem, m, n
from numerics.compile import compile_system
from numerics.reference import Reference
from numerics.tolerances import same_formula

LAMBDA = Symbol("lambda", positive=True)
PROBLEMS = {
    "two layers": Problem.two_layer("tanh", "square", input_bias=True, output_bias=True),
    "vector, logistic": Problem.two_layer(
        "sigmoid", "logistic", input_bias=True, output_bias=True, vector_output=True, scale="1/m", factor="2"
    ),
    "decay, rates, frozen": Problem.two_layer(
        "gelu",
        "square",
        input_bias=True,
        output_bias=True,
        weight_decay=Rational(1, 7),
        rate=(("a", Integer(3)), ("c", Rational(1, 2))),
        freeze=("b",),
    ),
    "deep": Problem.deep(3, "tanh", "square", vector_output=True, weight_decay=Rational(1, 5)),
    "deep, no bias": Problem.deep(
        4, "sin", "exponential", input_bias=False, output_bias=False, rate=(("W2", Integer(2)),)
    ),
}


def compiled(problem, seed=5):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2) if problem.vector_output else (3,)
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(shape, generator=generator, dtype=torch.float64)
    width = 2 if problem.kind == "two_layer" else [2, 3, 2][: problem.depth - 1]
    system = compile_system(problem, x, y, width)
    return system, torch.randn(system.P, generator=generator, dtype=torch.float64)


def assert_close(found, expected):
    bound = 10 * same_formula(torch.float64) * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_jacobian_is_proved_and_that_of_autograd(name):
    problem = PROBLEMS[name]
    assert set(jacobian_residuals(problem).values()) == {0}
    system, theta = compiled(problem)
    at = output_indices(problem)
    expected = torch.func.jacrev(system.outputs)(theta)
    found, extra = block_jacobians(problem)
    assert set(found) == {b.name for b in problem.blocks if b.trained}
    for block, _, where in system.layout:
        if block in found:
            expr, target = found[block]
            value = system.evaluate(
                problem.derived, {"J": (written_out(expr, extra), (*at, *target))}, theta
            )["J"]
            assert_close(value.reshape(expected[..., where].shape), expected[..., where])


def test_the_jacobian_proof_is_able_to_fail():
    problem = PROBLEMS["two layers"]
    found, _ = block_jacobians(problem)
    expr, target = found["w"]
    direct = problem.system.jacobian(
        problem.output, output_indices(problem), problem.block("w").tensor, target
    )
    assert expr - direct == 0
    assert expr + direct != 0


def printed(derivation):
    equations = (*derivation.system, *derivation.where)
    return [f"{row.left} = {row.tex}" for row in derivation.rows(equations)]


def test_print_of_the_jacobian():
    assert printed(derive(Problem.two_layer(input_bias=True), "jacobian"))[:3] == [
        r"\frac{\partial f_i}{\partial a_k} = \sigma(z_{ik})",
        r"\frac{\partial f_i}{\partial w_k} = a_k \sigma'(z_{ik}) x_i",
        r"\frac{\partial f_i}{\partial b_k} = a_k \sigma'(z_{ik})",
    ]
    vector = printed(derive(Problem.two_layer(vector_output=True, output_bias=True), "jacobian"))
    assert vector[0] == r"\frac{\partial f_{iu}}{\partial a_{ku'}} = \delta_{uu'} \sigma(z_{ik})"


def test_the_deep_jacobian_is_written_in_back_propagated_derivatives():
    shown = printed(derive(Problem.deep(3), "jacobian"))
    assert r"\frac{\partial f_i}{\partial W^{(1)}_{pq}} = g^{(1)}_{ip} x_{iq}" in shown
    assert (
        r"g^{(1)}_{ip} = \sigma'\bigl(z^{(1)}_{ip}\bigr) \sum_{q=1}^{m_2} W^{(2)}_{qp} g^{(2)}_{iq}" in shown
    )


# ---- the two parts of the Hessian


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_parts_add_up_to_the_hessian(name):
    split = gauss_newton_split(PROBLEMS[name])
    assert split.proved
    assert set(split.residuals.values()) == {0}


def test_the_split_of_general_networks_is_proved():
    for problem in (Problem.two_layer(input_bias=True, weight_decay=LAMBDA), Problem.deep(3)):
        assert gauss_newton_split(problem).proved


@pytest.mark.parametrize("name", ["two layers", "vector, logistic", "decay, rates, frozen", "deep"])
def test_each_part_is_what_its_name_says(name):
    """G = sum h J J by autograd; the rest of the Hessian of the oracle is S and the decay."""
    problem = PROBLEMS[name]
    system, theta = compiled(problem)
    parts = _Parts(problem)
    trained = [
        (b, w) for (b, _, w), block in zip(system.layout, problem.blocks, strict=True) if block.trained
    ]
    places = torch.cat([torch.arange(w.start, w.stop) for _, w in trained])

    def assembled(function):
        out = torch.zeros(system.P, system.P, dtype=torch.float64)
        where = {b: w for b, _, w in system.layout}
        for row, column in parts.pairs:
            columns = tuple(Index(u.name + "'", u.dim) for u in column.indices)
            expr = written_out(function(row, column), parts.definitions)
            value = system.evaluate(problem.derived, {"H": (expr, (*row.indices, *columns))}, theta)["H"]
            r, c = where[row.name], where[column.name]
            out[r, c] = value.reshape(r.stop - r.start, c.stop - c.start)
            out[c, r] = out[r, c].T.clone()
        return out[places][:, places]

    def risk(outputs):
        oracle = {"square": lambda f, y: (f - y) ** 2 / 2}
        oracle["logistic"] = lambda f, y: torch.nn.functional.softplus(-y * f)
        return float(problem.factor) * oracle[problem.loss.name](outputs, system.y).sum() / len(system.x)

    outputs = system.outputs(theta)
    jacobian = torch.func.jacrev(system.outputs)(theta).reshape(outputs.numel(), -1)
    curvature = torch.func.hessian(risk)(outputs).reshape(outputs.numel(), -1)
    expected = (jacobian.T @ curvature @ jacobian)[places][:, places]
    gauss_newton, rest = assembled(parts.gauss_newton), assembled(parts.residual)
    assert_close(gauss_newton, expected)
    oracle = Reference(
        system.x,
        system.y,
        activation=problem.activation.name,
        loss=problem.loss.name,
        widths=tuple(system.sizes[str(s)] for s in problem.hidden_dims),
        input_bias=problem.input_bias,
        output_bias=problem.output_bias,
        scale=float(problem.scale.subs({m: 2})),
        factor=float(problem.factor),
        weight_decay=float(problem.weight_decay),
        kind=problem.kind,
    )
    hessian = oracle.hessian(theta)[places][:, places]
    identity = float(problem.weight_decay) * torch.eye(len(places), dtype=torch.float64)
    assert_close(gauss_newton + rest + identity, hessian)
    assert float(rest.abs().max()) > 1e-3  # the split is not trivial here


def test_print_of_the_parts():
    derivation = derive(Problem.two_layer("tanh", "square", input_bias=True), "gauss-newton")
    shown = printed(derivation)
    assert shown[3] == (
        r"\frac{\partial^{2} R_G}{\partial w_k \, \partial w_q^{\top}} = "
        r"\frac{1}{n} a_k a_q \sum_{i=1}^{n} \sigma'(z_{ik}) \sigma'(z_{iq}) x_i x_i^{\top}"
    )
    assert (
        r"\frac{\partial^{2} R_S}{\partial w_k \, \partial w_q^{\top}} = "
        r"\delta_{kq} a_k \sum_{i=1}^{n} r_i \sigma''(z_{ik}) x_i x_i^{\top}" in shown
    )
    assert "The residual part is zero in the block ($a$, $a$)." in derivation.notes


def test_the_parts_of_a_linear_loss_and_of_a_linear_network():
    """No curvature of the loss, no Gauss-Newton part; the linear network has a residual part in the mixed blocks."""
    flat = derive(Problem.two_layer("tanh", "correlation"), "gauss-newton")
    assert all(e.rhs == 0 or e.lhs.tensor.of == "R_S" for e in flat.system)
    linear = Problem.two_layer("linear", "square")
    parts = _Parts(linear)
    a, w = linear.blocks
    assert vanishes(bind(parts.residual(w, w), linear.functions))
    assert bind(parts.residual(a, w), linear.functions).has(Delta)


# ---- the flow of the outputs


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_flow_of_the_outputs_is_the_chain_rule(name):
    assert output_residual(PROBLEMS[name]) == 0


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_flow_of_the_outputs_is_that_along_the_compiled_flow(name):
    problem = PROBLEMS[name]
    system, theta = compiled(problem)
    _, expected = torch.func.jvp(system.outputs, (theta,), (system.flow(theta),))
    derivation = derive_output_dynamics(problem)
    kernel, flow = derivation.system[0], derivation.system[1]
    at = flow.lhs.indices
    definitions = [e for e in derivation.where if isinstance(e.lhs.args[0], Tensor)]
    known = {u.tensor for u in problem.derived}
    definitions = [e for e in definitions if e.lhs.args[0] not in known]
    expr = written_out(flow.rhs, [*definitions, kernel])
    expr = written_out(expr, definitions)
    assert_close(system.evaluate(problem.derived, {"f": (expr, at)}, theta)["f"], expected)


def test_print_of_the_flow_of_the_outputs():
    shown = printed(derive(Problem.two_layer("tanh", "square"), "output-dynamics"))
    assert shown[1:4] == [
        r"\dot{f}_i = -\frac{1}{n} \sum_{j=1}^{n} \Theta_{ij} (f_j - y_j)",
        r"\dot{e}_i = -\frac{1}{n} \sum_{j=1}^{n} \Theta_{ij} e_j",
        r"\dot{R} = -\sum_{i=1}^{n} r_i \sum_{j=1}^{n} \Theta_{ij} r_j",
    ]
    general = printed(derive(Problem.two_layer(), "output-dynamics"))
    assert general[1] == r"\dot{f}_i = -\frac{1}{n} \sum_{j=1}^{n} \Theta_{ij} \ell'(f_j, y_j)"


def test_weight_decay_acts_on_the_outputs_through_the_parameters():
    decayed = derive(
        Problem.two_layer(input_bias=True, output_bias=True, weight_decay=LAMBDA), "output-dynamics"
    )
    i, k, f = Index("i", n), Index("k", m), Tensor("f", (n,))
    a, z = Tensor("a", (m,)), Tensor("z", (n, m))
    data = derive(Problem.two_layer(input_bias=True, output_bias=True), "output-dynamics").system[1].rhs
    slope = GenericFunction("sigma", (1,), z[i, k])
    expected = -LAMBDA * (f[i] + isum(a[k] * slope * z[i, k], k))
    decay = [e for e in decayed.where if getattr(e.lhs, "tensor", None) == Tensor("Jtheta", (n,))]
    assert vanishes(written_out(decayed.system[1].rhs, decay) - data - expected)


@pytest.mark.parametrize("what", ["ntk", "output-dynamics"])
def test_outputs_and_risk_move_as_printed_along_a_flow_with_weight_decay(what):
    """Differences of f and R along Euler steps of a network written out by hand, with unequal rates."""
    x = np.array([[-1.0], [-0.4], [0.3], [1.1]])
    y = np.array([-0.5, 0.2, 0.4, -0.1])
    fast, slow, decay = 3.0, 0.5, 0.2

    def parts(t):
        a, w, b = t[:2], t[2:4], t[4:]
        h = np.tanh(x * w + b)
        return a, h, h @ a, (1 - h**2) * a

    def risk(t):
        return float(((parts(t)[2] - y) ** 2).mean() / 2 + decay / 2 * t @ t)

    def rate(t):
        _, h, f, slope = parts(t)
        r = (f - y) / 4
        full = np.concatenate([r @ h, r @ (slope * x), r @ slope]) + decay * t
        return -np.array([fast, fast, slow, slow, slow, slow]) * full

    t = np.array([0.7, -0.4, 0.9, -1.2, 0.1, 0.3])
    step = 1e-6
    ahead, behind = t + step * rate(t), t - step * rate(t)
    moved = (parts(ahead)[2] - parts(behind)[2]) / (2 * step)
    fallen = (risk(ahead) - risk(behind)) / (2 * step)
    problem = Problem.two_layer(
        "tanh",
        "square",
        input_bias=True,
        weight_decay=Rational(1, 5),
        rate=(("a", Integer(3)), ("w", Rational(1, 2)), ("b", Rational(1, 2))),
    )
    found = derive(problem, what)
    system = compile_system(problem, x, y, 2)
    printed_of = {e.lhs.tensor.name: e for e in found.system}
    extra = [e for e in found.where if getattr(e.lhs, "tensor", None) == Tensor("Jtheta", (n,))]

    def value(name):
        expr = written_out(printed_of[name].rhs, [*extra, printed_of["Theta"]])
        at = printed_of[name].lhs.indices
        return system.evaluate(problem.derived, {"u": (expr, at)}, torch.tensor(t))["u"].numpy()

    assert np.abs(value("dot_f") - moved).max() < 1e-8
    assert ("dot_R" in printed_of) == (what == "output-dynamics")
    if what == "output-dynamics":
        assert abs(value("dot_R") - fallen) < 1e-8
