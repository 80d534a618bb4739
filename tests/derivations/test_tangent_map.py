"""Hessian-vector product and tangent operator: proved, equal to the oracle, and the check values of the paper's network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from sympy import Integer, Rational

from derivations.equations import derive
from derivations.problem import Problem
from derivations.tangent_map import _Product, tangent_residuals
from numerics.compile import compile_system
from numerics.reference import Reference
from numerics.tolerances import same_formula

_SPEC = importlib.util.spec_from_file_location("read_back", Path(__file__).with_name("read_back.py"))
read_back = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(read_back)

PROBLEMS = {
    "generic": Problem.two_layer(input_bias=True),
    "tanh": Problem.two_layer(
        "tanh", "square", input_bias=True, output_bias=True, weight_decay=Rational(1, 7)
    ),
    "vector, frozen": Problem.two_layer(
        "sigmoid", "logistic", vector_output=True, output_bias=True, freeze=("w",), rate=(("a", Integer(3)),)
    ),
    "deep": Problem.deep(3, "tanh", "square"),
    "deep, vector": Problem.deep(3, "sin", "square", vector_output=True, freeze=("b1",)),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_product_is_the_hessian_times_the_direction(name):
    residuals = tangent_residuals(PROBLEMS[name])
    assert set(residuals) == {b.name for b in PROBLEMS[name].blocks if b.trained}
    assert set(residuals.values()) == {0}


@pytest.mark.parametrize("name", ["tanh", "deep", "deep, vector"])
def test_the_product_is_that_of_the_oracle(name):
    problem = PROBLEMS[name]
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    y = torch.randn((4, 2) if problem.vector_output else (4,), generator=generator, dtype=torch.float64)
    widths = (3,) if problem.kind == "two_layer" else (2, 3)
    oracle = Reference(
        x,
        y,
        activation=problem.activation.name,
        loss="square",
        widths=widths,
        kind=problem.kind,
        input_bias=problem.input_bias,
        output_bias=problem.output_bias,
        weight_decay=float(problem.weight_decay),
    )
    system = compile_system(problem, x, y, list(widths))
    theta, v = torch.randn(2, system.P, generator=generator, dtype=torch.float64)
    places = {b: where for b, _, where in system.layout}
    for block in problem.blocks:
        if not block.trained:
            v[places[block.name]] = 0.0
    expected = oracle.hessian(theta) @ v

    found = system.hvp(theta, v)
    bound = 10 * same_formula(torch.float64) * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("name", ["tanh", "deep", "deep, vector"])
def test_the_printed_product_is_the_difference_of_gradients(name):
    problem = PROBLEMS[name]
    product = _Product(problem)
    world = read_back.World(problem)
    for block in problem.blocks:
        tensor = problem.directions[block.name]
        world[tensor] = world.table(tensor.dims, lambda: 1.0 if block.trained else 0.0)  # noqa: B023
    for definition in product.system:
        if definition.tensor not in problem.derived:
            world[definition.tensor] = world.array(definition.expr, definition.indices)
    step, start = 1e-4, {b.name: world[b.tensor] for b in problem.blocks}
    moved = [shifted(problem, start, size) for size in (step, -step)]
    for block in product.trained:
        exact = flat(world.array(product.of(block.name), block.indices))
        slopes = [flat(m[problem.gradient[block.name]]) for m in moved]
        differences = [(p - q) / (2 * step) for p, q in zip(*slopes, strict=True)]
        assert exact == pytest.approx(differences, abs=1e-6)  # the error of central differences is step^2
        assert max(map(abs, exact)) > 1e-2


def shifted(problem, start, size):
    """The problem at theta + size * v, v being 1 in the trained blocks."""
    world = read_back.World(problem)

    def add(value, number):
        return [add(u, number) for u in value] if isinstance(value, list) else value + number

    for block in problem.blocks:
        world[block.tensor] = add(start[block.name], size if block.trained else 0.0)
    for definition in problem.derived:
        world[definition.tensor] = world.array(definition.expr, definition.indices)
    return world


def flat(value):
    return [u for row in value for u in flat(row)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("what", ["hessian-vector", "tangent-map"])
def test_printed_equations_read_back(name, what):
    assert read_back.assert_reads_back(derive(PROBLEMS[name], what)) >= 8


def test_print():
    derivation = derive(PROBLEMS["generic"], "tangent-map")
    shown = [f"{row.left} = {row.tex}" for row in derivation.rows((*derivation.system, *derivation.where))]
    assert shown[0] == r"(Jv)^{a}_k = v^{a}_k - \tau (Hv)^{a}_k"
    assert r"\dot{z}_{ik} = (v^{w}_k)^{\top} x_i + v^{b}_k" in shown
    assert r"(Hv)^{w}_k = \sum_{i=1}^{n} \dot{\delta}_{ik} x_i" in shown
    rates = derive(PROBLEMS["vector, frozen"], "tangent-map")
    assert next(f"{row.left} = {row.tex}" for row in rates.rows(rates.system)) == (
        r"(Jv)^{a}_{ku} = v^{a}_{ku} - 3 \tau (Hv)^{a}_{ku}"
    )
    assert not any(r"\dot{z}" in row.left for row in rates.rows(rates.where))  # w does not move


def test_check_values_of_the_network_with_two_hidden_neurons():
    """Weight dynamics, W1 and W2: value, gradient, spectrum and log det of I - 0.3 H of the 1-2-1 network."""
    x = torch.tensor([[-1.0], [0.5], [1.0]], dtype=torch.float64)
    y = torch.tensor([-0.5, 0.4, 0.6], dtype=torch.float64)
    theta = torch.tensor([0.8, -0.5, 0.1, 0.3, 0.6, -0.4, 0.05], dtype=torch.float64)
    system = compile_system(Problem.deep(2, "tanh", "square"), x, y, [2])
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert float(value) == pytest.approx(0.002736632049, abs=1e-12)
    expected = [
        -0.0013787072,
        0.0056221717,
        -0.0285337402,
        0.0234510531,
        -0.008374597,
        -0.0161456842,
        -0.0707398599,
    ]
    assert gradient.tolist() == pytest.approx(expected, abs=1e-10)
    spectrum = [
        -0.0558374058,
        -0.0365096985,
        -0.0067339722,
        0.0432227053,
        0.0574887744,
        0.6001214535,
        1.3590716211,
    ]
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx(spectrum, abs=1e-9)
    identity = torch.eye(7, dtype=torch.float64)
    columns = [v - 0.3 * system.hvp(theta, v) for v in identity]  # the tangent operator, column by column
    tangent = torch.stack(columns, dim=1)
    assert float(torch.linalg.slogdet(tangent)[1]) == pytest.approx(-0.7231983867, abs=1e-9)
    sigmoid = compile_system(Problem.deep(2, "sigmoid", "square"), x, y, [2])
    value, _, hessian = sigmoid.value_gradient_hessian(theta)
    assert float(value) == pytest.approx(0.0581470439, abs=1e-10)
    assert float(torch.linalg.eigvalsh(hessian)[-1]) == pytest.approx(1.6414659159, abs=1e-9)
