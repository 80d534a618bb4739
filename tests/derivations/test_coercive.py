"""Growth of the risk: which problems are shown to be coercive, and what is said where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import Integer, Symbol

from derivations.coercive import coercive
from derivations.formula_model import FormulaProblem
from derivations.interval import IntervalProblem
from derivations.problem import Problem


@pytest.mark.parametrize("loss", ["square", "logistic", "exponential", "(1 - y*f)**2", "abs(f - y)"])
def test_weight_decay_and_a_loss_that_is_not_negative_make_the_risk_coercive(loss: str) -> None:
    assert coercive(Problem.two_layer("gelu", loss, weight_decay="1/10")).holds
    assert coercive(Problem.deep(3, "tanh", loss, weight_decay="1/10")).holds


def test_without_weight_decay_nothing_is_shown() -> None:
    found = coercive(Problem.two_layer("tanh", "square"))
    assert found.holds is None
    assert "no weight decay" in found.reason


def test_a_correlation_is_coercive_with_a_bounded_activation_only() -> None:
    assert coercive(Problem.two_layer("tanh", "correlation", weight_decay="1/10")).holds
    for sigma in ("gelu", "relu", "z**3"):
        found = coercive(Problem.two_layer(sigma, "correlation", weight_decay="1/10"))
        assert found.holds is None
        assert "not bounded below" in found.reason


def test_a_correlation_of_unbounded_neurons_falls_without_bound_although_weights_decay() -> None:
    """The refusal is no caution: -y f + decay falls along a = w = t with gelu."""
    t = np.array([10.0, 100.0])
    risk = -t * t + 0.05 * 2 * t**2
    assert risk[1] < risk[0] < 0


def test_formulas_and_intervals_are_judged_by_the_same_rule() -> None:
    model = FormulaProblem.of("a*exp(w*x)", ["a", "w"], weight_decay=Integer(1))
    assert coercive(model).holds
    x = Symbol("x", real=True)
    network = Problem.two_layer("tanh", "square", weight_decay="1/3")
    assert coercive(IntervalProblem(network, Integer(-1), Integer(1), x, x)).holds


def test_open_losses_and_unknown_signs_are_named() -> None:
    assert "left open" in coercive(Problem.two_layer("tanh", weight_decay="1/10")).reason
    decay = Symbol("lambda", real=True)
    assert (
        "not shown to be positive" in coercive(Problem.two_layer("tanh", "square", weight_decay=decay)).reason
    )
    assert "factor -1" in coercive(Problem.two_layer("tanh", "square", weight_decay="1", factor="-1")).reason
    assert (
        "not shown to be bounded below"
        in coercive(Problem.two_layer("tanh", "f**3", weight_decay="1")).reason
    )
