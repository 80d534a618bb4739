"""Statements about global minima: their statuses, and what they say for activations that identify neurons."""

from __future__ import annotations

import pytest
from sympy import Rational

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.global_minima import global_minima
from derivations.problem import Problem
from derivations.recovery_statements import minima_statements, recovery_statements
from derivations.teacher import Teacher
from workbench.bibliography import REFERENCES
from workbench.derive import derive

TEACHER = Teacher(weights=(("a", (Rational(3, 2),)), ("w", ((Rational(2, 5), -Rational(3, 10)),))))


def named(problem):
    return {s.name: s for s in recovery_statements(problem)}


def test_every_statement_of_a_generic_activation_is_proved():
    found = named(Problem.two_layer("exp", "square", teacher=TEACHER))
    assert all(s.status is Status.PROVED for s in found.values())
    assert {
        "dimension of a branch",
        "Morse-Bott branches",
        "sample sizes",
        "number of branches",
        "slow branches",
    } <= set(found)
    assert "3 affine branches" in found["global minima of width 2"].statement


def test_an_odd_activation_is_said_not_to_be_generic_and_has_signs():
    found = named(Problem.two_layer("tanh", "square", teacher=TEACHER))
    assert "not generic" in found["generic activation"].statement
    assert "up to sign" in found["branches of global minima"].statement
    assert "dimension of a branch" not in found
    assert "12 affine branches" in found["global minima of width 2"].statement


def test_hidden_biases_are_restricted_to_neurons_that_are_not_constant():
    found = named(Problem.two_layer("tanh", "square", input_bias=True))
    assert found["branches of global minima"].statement.startswith("Where no neuron has $w = 0$")


def test_independence_that_is_not_shown_leaves_the_branches_undecided():
    found = named(Problem.two_layer("tanh(z + 7/10)", "square", input_bias=True))
    assert found["branches of global minima"].status is Status.UNDECIDED
    assert found["rank of the Hessian"].status is Status.UNDECIDED


def test_too_many_branches_are_counted_only():
    found = global_minima(Problem.two_layer("exp", "square"), 9, teacher_width=2, inputs=1)
    (statement,) = minima_statements(found)
    assert f"there are {found.count()} branches" in statement.statement


def test_sources_are_in_the_bibliography():
    assert {s.source for s in recovery_statements(Problem.two_layer("exp", "square"))} <= set(REFERENCES)


def test_the_command_shows_them_and_refuses_what_does_not_apply():
    assert (
        "Slow branches (PROVED)."
        in derive(Problem.two_layer("exp", "square", teacher=TEACHER), "global-minima").text()
    )
    with pytest.raises(AssumptionError, match="not analytic"):
        derive(Problem.two_layer("relu", "square"), "global-minima")
