"""Degrees and cuts of the integrands of an interval problem."""

from __future__ import annotations

import pytest
from sympy import Abs, Integer, Rational, Symbol, sin

from derivations.activations import activation
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.interval_rule import interval_rule
from derivations.problem import Problem

x = Symbol("x", real=True)


def rule(sigma, target=x, loss="square", lower=-1, bias=True):
    network = Problem.two_layer(sigma, loss, input_bias=bias, output_bias=True)
    return interval_rule(IntervalProblem(network, Integer(lower), Integer(1), x, target))


@pytest.mark.parametrize(
    ("sigma", "target", "loss", "points"),
    [
        ("relu", x, "square", 2),  # degree 2
        ("relu", x**3, "square", 4),  # degree 6
        ("cubic", x, "square", 4),
        ("linear", Integer(0), "square", 2),
        ("relu", x, "(f - y)**4", 3),
        ("quadratic", x, "correlation", 3),  # degree 3, bounded by 4
        ("tanh", x, "square", None),
        ("relu", sin(x), "square", None),
        ("relu", x, "logistic", None),
    ],
)
def test_the_points_are_exact_for_the_degree_of_the_integrand(sigma, target, loss, points):
    assert rule(sigma, target, loss).points == points


def test_parts_end_at_kinks_that_stay():
    assert rule("relu", Abs(x - Rational(1, 4))).ends == (-1.0, 0.25, 1.0)
    assert rule("relu").moves
    assert not rule("quadratic").moves
    assert not rule("tanh").moves
    without = rule("relu", bias=False)  # every kink is at x = 0
    assert (without.moves, without.ends) == (False, (-1.0, 0.0, 1.0))
    assert rule("relu", lower=0, bias=False).ends == (0.0, 1.0)
    assert rule(activation("relu(z)**2")).moves  # a kink of the second derivative cuts as well


def test_symbols_are_refused():
    with pytest.raises(AssumptionError, match="numbers are needed for alpha"):
        rule("relu", Symbol("alpha") * x)
