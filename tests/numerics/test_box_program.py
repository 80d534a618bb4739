"""Constants of formulas as floats, with the error that is stated."""

from __future__ import annotations

from fractions import Fraction

import pytest
from sympy import Integer, Rational, Symbol, exp, pi, sqrt

from derivations.problem import Problem
from numerics.box_program import box_graph, nearest
from numerics.interval_tensors import NotEnclosed


@pytest.mark.parametrize(
    "number", [Rational(1, 3), Rational(-7, 10), Rational(10**40, 3), Integer(0), Integer(2) ** 60 + 1]
)
def test_a_rational_number_becomes_the_nearest_float(number: Rational) -> None:
    assert (
        abs(Fraction(nearest(number)) - Fraction(int(number.p), int(number.q)))
        <= abs(Fraction(nearest(number))) / 2**53
    )


@pytest.mark.parametrize("number", [sqrt(2), pi / 7, exp(-3), 1 / sqrt(Integer(5))])
def test_another_constant_becomes_a_float_within_the_error_stated(number: object) -> None:
    value = nearest(number)  # type: ignore[arg-type]
    exact = Rational(str(number.evalf(60)))  # type: ignore[attr-defined]
    assert abs(Fraction(value) - Fraction(int(exact.p), int(exact.q))) <= Fraction(abs(value)) / 2**52


@pytest.mark.parametrize("number", [Integer(10) ** 400, Rational(1, 10**300), Symbol("q")])
def test_what_is_no_number_or_beyond_the_range_is_refused(number: object) -> None:
    with pytest.raises(NotEnclosed):
        nearest(number)  # type: ignore[arg-type]


def test_the_rest_of_the_hessian_has_no_second_derivative_of_the_loss() -> None:
    graph = box_graph(Problem.two_layer("tanh", "square"), "curvature")
    assert {"weights", "outputs", "hess_a_a", "hess_a_w", "hess_w_w"} <= set(graph.outputs)
    assert graph.outputs["hess_a_a"].value.node.op == "fill"
    assert (
        box_graph(Problem.two_layer("tanh", "square"), "hessian").outputs["hess_a_a"].value.node.op != "fill"
    )
