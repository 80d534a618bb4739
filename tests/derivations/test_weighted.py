"""Weighted nodes: the derived list is that of samples, each with its weight, and the target is a formula."""

from __future__ import annotations

import pytest
from sympy import Integer, Rational, Symbol

from derivations.indexed import entries
from derivations.problem import Problem
from derivations.weighted import weighted

x = Symbol("x", real=True)
NETWORK = Problem.two_layer(
    "tanh", "square", input_bias=True, output_bias=True, weight_decay="1/3", freeze=("a",)
)


def test_risk_and_adjoint_carry_the_weights():
    problem = weighted(NETWORK, Rational(2, 3), x, x**2 - 1)
    risk = problem.system[problem.risk].expr
    assert str(risk).count("omega") == 1
    assert "2*Sum" in str(risk)  # factor 2/3 of the sum
    r = next(d for d in problem.derived if d.tensor.name == "r")
    assert {e.tensor.name for e in entries(r.expr)} == {"omega", "f", "y"}
    assert str(problem.system[problem.y].expr) == "u[i]**2 - 1"
    assert [b.name for b in problem.blocks if not b.trained] == ["a"]
    assert str(risk).count("**2") == 4  # weight decay of four blocks


def test_nodes_belong_to_the_data_or_to_the_point():
    data, point = (weighted(NETWORK, 1, x, x, moves=moves) for moves in (False, True))
    assert data.moving == ()
    assert [t.name for t in point.moving] == ["x", "omega"]
    assert Problem.two_layer("tanh").moving == ()
    assert data != point
    assert data == weighted(NETWORK, Integer(1), x, x)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="two-layer networks with one output, got a deep model"):
        weighted(Problem.deep(3, "tanh"), 1, x, x)
    with pytest.raises(ValueError, match="several outputs"):
        weighted(Problem.two_layer("tanh", vector_output=True), 1, x, x)
