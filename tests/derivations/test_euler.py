"""Euler identities: proved step by step, true for the compiled networks, refused where there is no homogeneity."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from sympy import Rational

from derivations import euler
from derivations.diagonal_model import DiagonalProblem
from derivations.equations import derive
from derivations.errors import AssumptionError
from derivations.euler import euler_residuals
from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.tolerances import same_formula

_SPEC = importlib.util.spec_from_file_location("read_back", Path(__file__).with_name("read_back.py"))
read_back = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(read_back)

PROBLEMS = {
    "relu": Problem.two_layer("relu", "square", input_bias=True),
    "quadratic, vector": Problem.two_layer(
        "quadratic",
        "square",
        input_bias=True,
        output_bias=True,
        vector_output=True,
        weight_decay=Rational(1, 7),
    ),
    "cubic": Problem.two_layer("cubic", "logistic", scale="1/m"),
    "deep relu": Problem.deep(3, "relu", "square", input_bias=False, output_bias=False),
    "deep relu, biases": Problem.deep(3, "relu", "square", vector_output=True),
    "deep quadratic, biases": Problem.deep(4, "quadratic", "square"),
    "deep linear": Problem.deep(4, "linear", "square", input_bias=False, output_bias=False),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_step_of_the_proof_vanishes(name):
    residuals = euler_residuals(PROBLEMS[name])
    assert set(residuals.values()) == {0}
    assert len(residuals) == 3 * (PROBLEMS[name].depth - 1) + 1


def test_the_proof_uses_the_homogeneity(monkeypatch):
    monkeypatch.setattr(euler, "euler_rule", lambda expr, *_: expr)
    residuals = euler_residuals(PROBLEMS["relu"])
    assert {name for name, value in residuals.items() if value != 0} == {"step 1", "neuron 1"}


def powers(problem, number):
    """Exponent of lambda of each block when layer ``number`` is scaled, from the pattern of the network alone."""
    p = float(problem.activation.homogeneity_degree)
    order = {"w": 1, "b": 1, "a": 2, "c": 2}
    out = {}
    for block in problem.blocks:
        layer = order[block.name] if problem.kind == "two_layer" else int(block.name[1:])
        bias = block.name[0] in "bc"
        if layer == number or (bias and layer > number):
            out[block.name] = p ** (layer - number)
    return out, p ** (problem.depth - number)


@pytest.mark.parametrize("name", PROBLEMS)
def test_scaling_a_layer_scales_the_outputs_and_the_printed_identity_is_its_derivative(name):
    problem = PROBLEMS[name]
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    y = torch.randn((3, 2) if problem.vector_output else (3,), generator=generator, dtype=torch.float64)
    width = 3 if problem.kind == "two_layer" else [2, 3, 2][: problem.depth - 1]
    system = compile_system(problem, x, y, width)
    theta = torch.randn(system.P, generator=generator, dtype=torch.float64)
    outputs, jacobian = system.outputs(theta), torch.func.jacrev(system.outputs)(theta)
    for number in range(1, problem.depth + 1):
        exponents, degree = powers(problem, number)
        moved, weighted = theta.clone(), torch.zeros_like(outputs)
        for block, _, where in system.layout:
            moved[where] *= 1.3 ** exponents.get(block, 0.0)
            weighted += exponents.get(block, 0.0) * jacobian[..., where] @ theta[where]
        bound = 10 * same_formula(torch.float64) * float(outputs.abs().max())
        torch.testing.assert_close(system.outputs(moved), 1.3**degree * outputs, rtol=0, atol=10 * bound)
        torch.testing.assert_close(weighted, degree * outputs, rtol=0, atol=10 * bound)


@pytest.mark.parametrize("name", ["relu", "deep relu", "deep linear", "cubic"])
def test_the_norm_moves_as_printed(name):
    problem = PROBLEMS[name]
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    y = torch.sign(torch.randn(3, generator=generator, dtype=torch.float64))
    width = 3 if problem.kind == "two_layer" else [2, 3, 2][: problem.depth - 1]
    system = compile_system(problem, x, y, width)
    theta = torch.randn(system.P, generator=generator, dtype=torch.float64)
    last = derive(problem, "euler").system[-1]
    printed = system.evaluate(problem.derived, {"N": (last.rhs, ())}, theta)["N"]
    speed = theta @ system.flow(theta)
    size = float((theta * system.flow(theta)).abs().sum())
    assert abs(float(printed - speed)) <= 10 * same_formula(torch.float64) * size
    assert abs(float(speed)) > 1e-3 * size


@pytest.mark.parametrize("name", PROBLEMS)
def test_printed_identities_read_back(name):
    assert read_back.assert_reads_back(derive(PROBLEMS[name], "euler")) >= 8


def test_models_without_layers_are_refused():
    """Of u^D - v^D the first layer alone has degree D: the identities of layers would be wrong."""
    for problem in (DiagonalProblem.of(3), FormulaProblem.of("p*exp(q*x)", ["p", "q"])):
        for call in (
            lambda problem=problem: derive(problem, "euler"),
            lambda problem=problem: euler_residuals(problem),
        ):
            with pytest.raises(AssumptionError, match="got kind"):
                call()


def test_print_of_the_identities():
    derivation = derive(PROBLEMS["relu"], "euler")
    shown = [f"{row.left} = {row.tex}" for row in derivation.rows(derivation.system)]
    assert shown[0] == (
        r"w_k^{\top} \frac{\partial R}{\partial w_k} + b_k \frac{\partial R}{\partial b_k} = "
        r"a_k \frac{\partial R}{\partial a_k}"
    )
    assert shown[3] == r"\frac{d}{dt} \frac{1}{2} \lVert \theta \rVert^{2} = -2 \sum_{i=1}^{n} f_i r_i"
    deep = derive(PROBLEMS["deep relu"], "euler")
    assert deep.system[-1].rhs.as_coeff_Mul()[0] == -3
    assert any("degree $3$" in note for note in deep.notes)
    assert any("not homogeneous" in note for note in derive(PROBLEMS["deep relu, biases"], "euler").notes)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem.two_layer("tanh"), "tanh does not have it"),
        (Problem.deep(3, "softplus"), "softplus does not have it"),
        (Problem.two_layer("z + z**2"), r"z \+ z\*\*2 does not have it"),
        (Problem.two_layer(), "sigma is general"),
    ],
)
def test_what_is_not_homogeneous_is_refused_with_the_reason(problem, message):
    for call in (lambda: derive(problem, "euler"), lambda: euler_residuals(problem)):
        with pytest.raises(AssumptionError, match=message):
            call()
