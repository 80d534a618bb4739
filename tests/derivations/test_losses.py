"""Losses: values, derivatives to second order against differences, refusals."""

from __future__ import annotations

import math

import pytest
from sympy import Rational

from derivations.errors import FormulaError
from derivations.losses import REGISTRY, F, Y, loss

BY_HAND = {
    "square": lambda f, y: (f - y) ** 2 / 2,
    "logistic": lambda f, y: math.log(1 + math.exp(-y * f)),
    "exponential": lambda f, y: math.exp(-y * f),
    "hinge": lambda f, y: max(0.0, 1 - y * f),
    "linear_hinge": lambda f, y: max(0.0, 1 - y * f),
    "correlation": lambda f, y: -y * f,
}
POINTS = [(0.3, 1.0), (-1.7, 1.0), (2.5, -1.0), (0.4, -1.0), (3.0, 1.0)]


def at(expr, f, y):
    return float(expr.subs({F: Rational(f), Y: Rational(y)}))


def test_every_loss_is_covered():
    assert set(BY_HAND) == {*REGISTRY, "linear_hinge"}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("point", POINTS)
def test_value_and_derivatives(name, point):
    ell, hand, (f, y), h = loss(name), BY_HAND[name], point, 2.0**-10
    assert at(ell.derivative(0), f, y) == pytest.approx(hand(f, y), rel=1e-14)
    slope = (hand(f + h, y) - hand(f - h, y)) / (2 * h)
    bend = (hand(f + h, y) - 2 * hand(f, y) + hand(f - h, y)) / h**2
    assert at(ell.derivative(1), f, y) == pytest.approx(slope, abs=16 * h**2 * (1 + hand(f, y)))
    assert at(ell.derivative(2), f, y) == pytest.approx(bend, abs=16 * h**2 * (1 + hand(f, y)))
    mixed = (at(ell.derivative(1), f, y + h) - at(ell.derivative(1), f, y - h)) / (2 * h)
    assert at(ell.derivative(1, 1), f, y) == pytest.approx(mixed, abs=16 * h**2 * (1 + hand(f, y)))


@pytest.mark.parametrize("name", ["hinge", "linear_hinge"])
def test_the_derivative_at_the_kink_is_zero(name):
    assert loss(name).derivative(1).subs({F: 1, Y: 1}) == 0


def test_the_margin():
    assert loss("linear_hinge", margin=Rational(5, 2)).expr.subs({F: 1, Y: 1}) == Rational(3, 2)


def test_formulas_with_kinks_have_no_distributions():
    assert loss("abs(f - y)").derivative(2) == 0
    assert loss("max(0, 1 - y*f)**2").derivative(1).subs({F: 0, Y: 1}) == -2
    assert loss("max(0, 1 - y*f)**2").derivative(2).subs({F: 0, Y: 1}) == 2


@pytest.mark.parametrize("text", ["sqare", "__import__('os')", "f +", "z**2"])
def test_what_is_no_loss_is_refused(text):
    with pytest.raises(FormulaError):
        loss(text)


def test_the_nearest_name_is_suggested():
    with pytest.raises(FormulaError, match="did you mean 'square'"):
        loss("sqare")
