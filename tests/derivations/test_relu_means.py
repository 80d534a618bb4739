"""Means of relu neurons by their correlation: derivatives, end points, and the closed forms of a population."""

from __future__ import annotations

import mpmath
import pytest
from sympy import Integer, Rational, Symbol, simplify

from derivations.gaussian_pairs import arc_cosine
from derivations.population import GaussianProblem
from derivations.population_network import PopulationNetwork, population_network
from derivations.problem import Problem
from derivations.relu_means import relu_mean, relu_mean_curve, relu_mean_slope

rho = Symbol("rho", real=True)
x = (Symbol("x_0", real=True),)


def test_each_is_the_derivative_of_the_one_before():
    assert relu_mean(rho).diff(rho) == relu_mean_slope(rho)
    assert simplify(relu_mean(rho).doit().diff(rho) - relu_mean_slope(rho).doit()) == 0
    assert simplify(relu_mean_slope(rho).doit().diff(rho) - relu_mean_curve(rho).doit()) == 0
    third = relu_mean_curve(rho).diff(rho).replace(relu_mean_curve, lambda u: relu_mean_curve(u).doit())
    assert simplify(third - relu_mean_curve(rho).doit().diff(rho)) == 0


@pytest.mark.parametrize("value", [Rational(-9, 10), Integer(0), Rational(1, 3), Rational(99, 100)])
def test_the_mean_is_the_integral(value):
    """E[u_+ v_+] in polar coordinates: int_0^pi/2 over the cone where both are positive."""
    t = mpmath.asin(mpmath.mpf(value.p) / value.q)
    # u = R cos(phi), v = R cos(phi - (pi/2 - t)); E[R^2] = 2 over 2 pi angles.
    angle = mpmath.pi / 2 - t
    found = mpmath.quad(
        lambda phi: mpmath.cos(phi) * mpmath.cos(phi - angle), [angle - mpmath.pi / 2, mpmath.pi / 2]
    )
    assert float(relu_mean(value).doit()) == pytest.approx(float(found / mpmath.pi), rel=1e-13)


def test_the_kernel_of_a_population_is_the_same_function():
    problem = GaussianProblem(Problem.two_layer("leaky_relu(1/10)", "square"), x, x[0], Integer(1))
    formula, slots = problem.closed_form("K")
    point = dict(zip(slots, (Integer(2), Integer(3), Integer(1)), strict=True))
    known = population_network(problem).functions["K"]
    for orders in ((0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1), (0, 0, 2), (1, 1, 0)):
        plain = formula.replace(lambda u: isinstance(u, arc_cosine), lambda u: u.doit())
        for slot, order in zip(slots, orders, strict=True):
            plain = plain.diff(slot, order)
        careful = known(orders, *point.values())
        for function in (relu_mean, relu_mean_slope, relu_mean_curve):
            careful = careful.replace(function, lambda u, f=function: f(u).doit())
        assert float(careful) == pytest.approx(float(plain.subs(point)), rel=1e-12)


def test_a_network_without_its_population_says_so():
    with pytest.raises(ValueError, match="needs its population"):
        _ = PopulationNetwork("two_layer").system
