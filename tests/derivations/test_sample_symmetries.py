"""Symmetries of the data: which maps are found, and which are refused."""

from __future__ import annotations

import pytest
from sympy import Expr, Integer, Rational, Symbol, sqrt

from derivations.formula_model import FormulaProblem
from derivations.interval import IntervalProblem
from derivations.problem import Problem
from derivations.sample_symmetries import interval_symmetries, sample_symmetries

ODD_X = [[Integer(-1)], [Rational(-1, 2)], [Rational(1, 2)], [Integer(1)]]
ODD_Y = [[Integer(-1)], [Rational(1, 3)], [Rational(-1, 3)], [Integer(1)]]


def words(problem: Problem, x: list[list[Expr]], y: list[list[Expr]]) -> set[str]:
    return {s.words for s in sample_symmetries(problem, x, y)}


def test_odd_and_even_data_have_a_reflection() -> None:
    problem = Problem.two_layer("gelu", "square", input_bias=True)
    assert words(problem, ODD_X, ODD_Y) == {"x -> -x, y -> -y"}
    even = [[Integer(1)], [Integer(0)], [Integer(0)], [Integer(1)]]
    assert words(problem, ODD_X, even) == {"x -> -x"}
    assert words(problem, ODD_X, [[Integer(v)] for v in (1, 0, 0, 2)]) == set()


def test_a_sample_that_occurs_twice_counts_twice() -> None:
    problem = Problem.two_layer("gelu", "square")
    assert words(problem, [*ODD_X, ODD_X[0]], [*ODD_Y, ODD_Y[0]]) == set()
    assert words(problem, [*ODD_X, ODD_X[0], ODD_X[3]], [*ODD_Y, ODD_Y[0], ODD_Y[3]]) != set()


def test_the_symmetries_of_the_square_are_all_found() -> None:
    x = [[Integer(u), Integer(v)] for u, v in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    alternating = [[Integer(v)] for v in (1, -1, 1, -1)]
    problem = Problem.two_layer("tanh", "logistic")
    assert len(words(problem, x, alternating)) == 7
    assert len(words(problem, x, [[Integer(1)]] * 4)) == 7


def test_a_shift_needs_a_bias_to_take_it_up_and_no_weight_decay() -> None:
    x, y = [[Integer(v)] for v in (0, 1, 2)], [[Integer(v)] for v in (5, 1, 5)]
    assert words(Problem.two_layer("tanh", "square", input_bias=True), x, y) == {"x -> -x + 2"}
    assert words(Problem.two_layer("tanh", "square"), x, y) == set()
    assert words(Problem.two_layer("tanh", "square", input_bias=True, weight_decay="1/10"), x, y) == set()
    rising = [[Integer(v)] for v in (0, 1, 2)]
    both = Problem.two_layer("tanh", "square", input_bias=True, output_bias=True)
    assert words(both, x, rising) == {"x -> -x + 2, y -> -y + 2"}


def test_the_loss_has_to_be_kept() -> None:
    assert words(Problem.two_layer("gelu", "(f - y)**2 + (f - y)**3"), ODD_X, ODD_Y) == set()
    assert words(Problem.two_layer("gelu", "exponential"), ODD_X, ODD_Y) == {"x -> -x, y -> -y"}
    assert words(Problem.two_layer("gelu"), ODD_X, ODD_Y) == set()


def test_irrational_data_are_compared_exactly() -> None:
    x = [[-sqrt(2)], [sqrt(2)]]
    assert words(Problem.two_layer("gelu", "square"), x, [[-sqrt(3)], [sqrt(3)]]) == {"x -> -x, y -> -y"}
    near = sqrt(3) + Rational(1, 10**14)
    assert words(Problem.two_layer("gelu", "square"), x, [[-sqrt(3)], [near]]) == set()


def test_outputs_are_exchanged_together_with_inputs() -> None:
    x, y = [[Integer(-1)], [Integer(1)]], [[Integer(1), Integer(0)], [Integer(0), Integer(1)]]
    problem = Problem.two_layer("gelu", "square", vector_output=True)
    assert words(problem, x, y) == {"x -> -x, y1 -> y2, y2 -> y1"}


def test_frozen_blocks_stay_where_they_are() -> None:
    assert words(Problem.two_layer("gelu", "square", freeze=("w",)), ODD_X, ODD_Y) == set()
    even = [[Integer(v)] for v in (1, 0, 0, 1)]
    assert words(Problem.two_layer("gelu", "square", freeze=("a",)), ODD_X, even) == {"x -> -x"}
    assert words(Problem.two_layer("gelu", "square", freeze=("a",)), ODD_X, ODD_Y) == set()


def test_other_models_than_networks_have_none() -> None:
    assert sample_symmetries(FormulaProblem.of("a*x", ["a"]), ODD_X, ODD_Y) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("x**3", ["x -> -x, y -> -y"]),
        ("x**2", ["x -> -x"]),
        ("x**2 + x", []),
        ("0*x", ["x -> -x", "x -> -x, y -> -y"]),
    ],
)
def test_the_reflection_of_an_interval_needs_an_odd_or_even_target(target: str, found: list[str]) -> None:
    x = Symbol("x", real=True)
    network = Problem.two_layer("tanh", "square", input_bias=True, weight_decay="1/10")
    terms = {"x**3": x**3, "x**2": x**2, "x**2 + x": x**2 + x, "0*x": Integer(0)}
    line = IntervalProblem(network, Integer(-1), Integer(1), x, terms[target])
    assert [s.words for s in interval_symmetries(line)] == found
    shifted = IntervalProblem(network, Integer(0), Integer(1), x, terms[target])
    assert interval_symmetries(shifted) == ()
