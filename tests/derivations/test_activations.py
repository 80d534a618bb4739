"""Activations: values and derivatives against 30-digit differences; parity, homogeneity, kinks."""

from __future__ import annotations

import mpmath
import pytest
from sympy import DiracDelta, Heaviside, Max, Rational, Symbol

from derivations.activations import REGISTRY, Z, activation
from derivations.errors import FormulaError
from derivations.functions import step

BY_HAND = {
    "linear": lambda z: z,
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "abs": abs,
    "quadratic": lambda z: z**2,
    "cubic": lambda z: z**3,
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    "erf": mpmath.erf,
    "gelu": lambda z: z * mpmath.ncdf(z),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "gaussian": lambda z: mpmath.exp(-(z**2) / 2),
    "exp": mpmath.exp,
}
POINTS = [Rational(3, 7), Rational(-11, 5), Rational(5, 2)]


def test_every_activation_is_covered():
    assert set(BY_HAND) == set(REGISTRY)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("name", BY_HAND)
def test_derivatives_equal_differences_in_forty_digits(name, order):
    formula = REGISTRY[name].derivative(order)
    with mpmath.workdps(40):
        for point in POINTS:
            found = mpmath.mpf(str(formula.subs(Z, point).evalf(35)))
            wanted = mpmath.diff(BY_HAND[name], mpmath.mpf(point.p) / point.q, order, h=mpmath.mpf(10) ** -9)
            assert abs(found - wanted) < mpmath.mpf(10) ** -8 * (1 + abs(wanted)), (point, found, wanted)


def test_parity_and_homogeneity_of_the_registry():
    odd = {name for name, sigma in REGISTRY.items() if sigma.parity.name == "odd"}
    even = {name for name, sigma in REGISTRY.items() if sigma.parity.name == "even"}
    degree = {name: sigma.homogeneity_degree for name, sigma in REGISTRY.items()}
    assert odd == {"linear", "cubic", "tanh", "erf", "sin"}
    assert even == {"abs", "quadratic", "cos", "gaussian"}
    assert {name: p for name, p in degree.items() if p is not None} == {
        "linear": 1,
        "relu": 1,
        "abs": 1,
        "quadratic": 2,
        "cubic": 3,
    }


@pytest.mark.parametrize(
    ("text", "kink", "slope"),
    [
        ("relu", 0, 0),
        ("relu", Rational(1, 3), Rational(1, 3)),
        ("abs", 0, 0),
        ("abs", 1, 1),
        ("max(z, z/10)", 0, 0),
        ("max(z, z/10)", Rational(1, 2), Rational(1, 2)),
        ("max(0, z)", Rational(1, 2), Rational(1, 2)),
        ("relu(z) - relu(-z)/10", Rational(1, 4), Rational(1, 4)),
        ("max(0, z)**2", 1, 0),  # differentiable: there is nothing to state
    ],
)
def test_the_slope_at_zero_is_the_stated_one(text, kink, slope):
    sigma = activation(text, kink=kink)
    assert sigma.derivative(1).subs(Z, 0) == slope
    for point in (-2, 3):  # elsewhere it is the derivative
        side = (sigma.expr.subs(Z, point + Rational(1, 8)) - sigma.expr.subs(Z, point - Rational(1, 8))) * 4
        if "**2" not in text:
            assert sigma.derivative(1).subs(Z, point) == side


@pytest.mark.parametrize("text", ["abs", "sign(z)", "abs(z)*z", "max(z, 0, -z/2)", "min(z, 1)"])
def test_no_distribution_is_ever_produced(text):
    sigma = activation(text)
    for order in range(4):
        assert not sigma.derivative(order).has(DiracDelta, Heaviside, Max)


def test_the_jump_of_a_stated_kink_does_not_show_in_the_second_derivative():
    assert activation("relu", kink=1).derivative(2) == 0
    assert activation("relu", kink=1).derivative(1) == step(Z, 1)


def test_apply_substitutes_the_argument():
    u = Symbol("u", real=True)
    assert REGISTRY["cubic"].apply((2,), u + 1) == 6 * (u + 1)


@pytest.mark.parametrize("text", ["tahn", "z +", "x**2", "().__class__"])
def test_what_is_no_activation_is_refused(text):
    with pytest.raises(FormulaError):
        activation(text)


def test_value_at_zero_uses_the_limit():
    assert activation("sin(z)/z").value_at_zero == 1
    assert REGISTRY["softplus"].value_at_zero == BY_HAND_LOG2


BY_HAND_LOG2 = REGISTRY["softplus"].expr.subs(Z, 0)
