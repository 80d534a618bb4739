"""Teachers: their outputs against a network written by hand, the printed definitions, and their place in a student."""

from __future__ import annotations

import math

import pytest
import torch
from sympy import Integer, Rational, Symbol, sqrt, tanh

from derivations.activations import activation
from derivations.canonical import residual
from derivations.equations import DERIVERS, derive
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.indexed import Entry, Index, Tensor, entries, isum, replace_leaves
from derivations.problem import Problem, d, m, n
from derivations.teacher import M0, Teacher, embedded
from numerics.compile import compile_system

HALF = Rational(1, 2)
TWO_LAYER = Teacher(
    activation("tanh"),
    scale=1 / sqrt(m),
    weights=(
        ("a", ((Integer(1), HALF), (Integer(-2), Integer(0)), (HALF, Integer(3)))),
        ("w", ((HALF, Integer(1)), (Integer(0), Integer(-1)), (Integer(2), HALF))),
        ("b", (Integer(0), HALF, Integer(-1))),
        ("c", (Integer(1), Integer(-1))),
    ),
)
DEEP = Teacher(
    activation("sigmoid"),
    depth=3,
    weights=(
        ("W1", ((HALF, Integer(1)), (Integer(0), Integer(-1)), (Integer(2), HALF))),
        ("b1", (Integer(1), Integer(0), -HALF)),
        ("W2", ((Integer(1), HALF, Integer(0)), (Integer(-1), Integer(1), HALF))),
        ("W3", (Integer(1), Integer(-2))),
        ("b3", Rational(1, 3)),
    ),
)
X = ((HALF, Integer(-1)), (Integer(2), Rational(1, 3)), (Integer(0), Integer(1)))


def numbers(value):
    return [numbers(u) for u in value] if isinstance(value, tuple) else float(value)


def tensors(teacher):
    return {name: torch.tensor(numbers(v), dtype=torch.float64) for name, v in teacher.weights}


def test_outputs_of_a_two_layer_teacher_are_those_of_a_network_written_by_hand():
    p, x = tensors(TWO_LAYER), torch.tensor(numbers(X), dtype=torch.float64)
    by_hand = torch.tanh(x @ p["w"].T + p["b"]) @ p["a"] / math.sqrt(3) + p["c"]
    found = torch.tensor(numbers(TWO_LAYER.outputs(X)), dtype=torch.float64)
    torch.testing.assert_close(found, by_hand, rtol=1e-14, atol=1e-14)


def test_outputs_of_a_deep_teacher_are_those_of_a_network_written_by_hand():
    p, x = tensors(DEEP), torch.tensor(numbers(X), dtype=torch.float64)
    hidden = torch.sigmoid(torch.sigmoid(x @ p["W1"].T + p["b1"]) @ p["W2"].T)
    found = torch.tensor([float(u.evalf(20)) for (u,) in DEEP.outputs(X)], dtype=torch.float64)
    torch.testing.assert_close(found, hidden @ p["W3"] + p["b3"], rtol=1e-14, atol=1e-14)


def test_outputs_stay_exact():
    teacher = Teacher(activation("relu"), weights=(("a", (Integer(3),)), ("w", ((HALF,),))))
    assert teacher.outputs([[Rational(1, 3)], [Integer(-1)]]) == ((HALF,), (Integer(0),))
    x = Symbol("x", real=True)
    smooth = Teacher(activation("tanh"), weights=(("a", (Integer(3),)), ("w", ((HALF,),))))
    assert smooth.outputs([[x]]) == ((3 * tanh(x / 2),),)


def test_a_teacher_without_numbers_has_no_outputs():
    with pytest.raises(ValueError, match="symbolic"):
        Teacher(activation("tanh")).outputs(X)
    with pytest.raises(ValueError, match="the teacher has 2 inputs"):
        TWO_LAYER.outputs([[Integer(1)]])


def test_the_residual_is_the_difference_of_two_networks():
    problem = Problem.two_layer("tanh", "square", reduction="sum", factor=2, teacher=Teacher())
    derivation = derive(problem, "gradient-flow")
    where = {e.lhs.tensor.name: e for e in derivation.where if isinstance(e.lhs, Entry)}
    r = replace_leaves(
        where["r"].rhs,
        {Tensor(t, (n,)): (lambda *u, t=t: where[t].rhs) for t in ("f", "y")},
    )
    i, k, q, l = Index("i", n), Index("k", m), Index("q", M0), Index("l", d)
    assert all(e.tensor.name in {"a", "z", "abar", "wbar", "x"} for e in entries(r))
    sigma = next(e.lhs for e in derivation.where if str(e.lhs) == "sigma(z)")
    student = isum(Tensor("a", (m,))[k] * sigma.func("sigma", (0,), Tensor("z", (n, m))[i, k]), k)
    pre = isum(Tensor("wbar", (M0, d))[q, l] * Tensor("x", (n, d))[i, l], l)
    teacher = isum(Tensor("abar", (M0,))[q] * sigma.func("sigma", (0,), pre), q)
    assert residual(r - 2 * (student - teacher)) == 0


def test_the_definition_of_the_targets_prints_as_in_the_paper():
    derivation = derive(
        Problem.two_layer("tanh", "square", input_bias=True, teacher=Teacher(input_bias=True)), "risk"
    )
    assert r"y_i &= \sum_{k=1}^{m_0} \bar{a}_k \sigma(\bar{w}_k^{\top} x_i + \bar{b}_k)" in derivation.latex()
    assert any("teacher with $m_0$ neurons" in note for note in derivation.notes)


def test_a_teacher_with_an_activation_of_its_own_has_its_own_name_for_it():
    text = str(
        derive(Problem.two_layer("tanh", "square", teacher=Teacher(activation("relu"))), "gradient-flow")
    )
    assert "y[i] = sum(abar[k]*phi(sum(wbar[k,l]*x[i,l], l=1..d)), k=1..m_0)" in text
    assert "phi(z) = relu(z)" in text
    # The value at the kink is a convention of the derivative; the function is the same.
    same = Problem.two_layer(activation("relu", kink=HALF), "square", teacher=Teacher(activation("relu")))
    assert "phi" not in str(derive(same, "risk"))


def test_outputs_in_rows_and_deep_teachers_print():
    rows = derive(Problem.two_layer("tanh", "square", vector_output=True, teacher=TWO_LAYER), "risk").latex()
    assert r"y_{ic} &= \frac{1}{\sqrt{m_0}} \sum_{k=1}^{m_0} \bar{a}_{kc}" in rows
    deep = derive(Problem.deep(3, "sigmoid", "square", teacher=DEEP), "risk").latex()
    assert r"\bar{z}^{(1)}" in deep
    assert r"\bar{W}^{(3)}" in deep


def test_a_formula_takes_a_teacher_by_the_names_of_its_inputs():
    teacher = Teacher(activation("tanh"), weights=(("a", (Integer(1),)), ("w", ((HALF, Integer(2)),))))
    problem = FormulaProblem.of("a*s + b*t**2", ["a", "b"], ["s", "t"], teacher=teacher)
    assert "y[i] = sum(abar[k]*phi(s[i]*wbar[k,1] + t[i]*wbar[k,2]), k=1..m_0)" in str(
        derive(problem, "risk")
    )


@pytest.mark.parametrize("name", DERIVERS)
def test_every_derivation_goes_through_with_a_teacher_and_changes_in_the_targets_only(name):
    plain = Problem.two_layer("tanh", "square", input_bias=True)
    taught = Problem.two_layer("tanh", "square", input_bias=True, teacher=Teacher())
    try:
        without = derive(plain, name)
    except AssumptionError:
        return
    found = derive(taught, name)
    assert found.system == without.system
    assert {str(e) for e in found.where} >= {str(e) for e in without.where}
    assert found.latex()


@pytest.mark.parametrize(
    ("teacher", "problem", "widths"),
    [
        (
            TWO_LAYER,
            Problem.two_layer(
                "tanh", "square", input_bias=True, output_bias=True, vector_output=True, scale="1/m"
            ),
            (3,),
        ),
        (
            TWO_LAYER,
            Problem.two_layer("tanh", "square", input_bias=True, output_bias=True, vector_output=True),
            (5,),
        ),
        (DEEP, Problem.deep(3, "sigmoid", "square"), (4, 3)),
    ],
)
def test_a_student_with_enough_neurons_contains_the_teacher(teacher, problem, widths):
    targets = [[float(u.evalf(20)) for u in row] for row in teacher.outputs(X)]
    y = targets if problem.vector_output else [row[0] for row in targets]
    width = widths[0] if problem.kind == "two_layer" else widths
    system = compile_system(problem, numbers(X), y, width)
    blocks = embedded(teacher, problem, widths)
    theta = system.pack({name: numbers(value) for name, value in blocks.items()})
    assert float(system.value(theta)) < 1e-28
    assert float(system.gradient(theta).abs().max()) < 1e-14


def test_a_student_that_cannot_contain_the_teacher_is_not_said_to():
    full = {"input_bias": True, "output_bias": True, "vector_output": True}
    assert embedded(TWO_LAYER, Problem.two_layer("tanh", "square", **full), (2,)) is None
    assert embedded(TWO_LAYER, Problem.two_layer("relu", "square", **full), (3,)) is None
    assert (
        embedded(TWO_LAYER, Problem.two_layer("tanh", "square", **full | {"output_bias": False}), (3,))
        is None
    )
    assert embedded(DEEP, Problem.deep(2, "sigmoid", "square"), (4,)) is None
    assert embedded(Teacher(), Problem.two_layer("tanh", "square"), (4,)) is None
