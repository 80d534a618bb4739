"""Ball forms of constants and functions, against mpmath at three times the precision."""

from __future__ import annotations

import flint
import mpmath
import pytest
import sympy
from sympy import Rational, Symbol, erf, exp, log, pi, sqrt, tanh

from derivations.functions import relu, sech2, sigmoid, softplus, step
from numerics.arb_functions import NotEnclosed, exact_ball, function, power
from numerics.elementwise import ELEMENTWISE

BITS = 100
BY_HAND = {
    "tanh": mpmath.tanh,
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "asinh": mpmath.asinh,
    "atan": mpmath.atan,
    "asin": mpmath.asin,
    "erf": mpmath.erf,
    "sigmoid": lambda t: 1 / (1 + mpmath.exp(-t)),
    "softplus": lambda t: mpmath.log(1 + mpmath.exp(t)),
    "sech2": lambda t: 1 / mpmath.cosh(t) ** 2,
    "Abs": abs,
    "sign": mpmath.sign,
    "relu": lambda t: max(t, 0),
    "step": lambda t: 1 if t > 0 else 0,
}


def holds(ball: object, number: object) -> bool:
    """Whether a ball meets the ball of a 300-bit number that mpmath computed."""
    lower, upper = (
        mpmath.mpf(number) * (1 - mpmath.mpf(2) ** -250),
        mpmath.mpf(number) * (1 + mpmath.mpf(2) ** -250),
    )
    with flint.ctx.workprec(400):
        return ball.overlaps(flint.arb(str(lower)).union(flint.arb(str(upper))))


POINTS = ("-13/2", "-1/3", "2/7", "5/6", "19")
OUTSIDE = {("asin", "-13/2"), ("asin", "19"), ("log", "-13/2"), ("log", "-1/3")}


@pytest.mark.parametrize(("name", "t"), [(u, t) for u in BY_HAND for t in POINTS if (u, t) not in OUTSIDE])
def test_a_function_encloses_its_value_tightly(name: str, t: str) -> None:
    number = Rational(t)
    with flint.ctx.workprec(BITS), mpmath.workprec(3 * BITS):
        found = function(name)(exact_ball(number))
        assert holds(found, BY_HAND[name](mpmath.mpf(number.p) / number.q))
        assert found.rel_accuracy_bits() > BITS - 40


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_a_function_encloses_its_values_over_a_wide_ball(name: str) -> None:
    with flint.ctx.workprec(BITS), mpmath.workprec(3 * BITS):
        found = function(name)(flint.arb("0.6", "0.3"))
        assert all(
            found.contains(flint.arb(str(BY_HAND[name](mpmath.mpf(k) / 100)))) for k in range(31, 90, 7)
        )


@pytest.mark.parametrize(
    ("expr", "value"),
    [
        (Rational(1, 3) + sqrt(2) * pi, lambda: mpmath.mpf(1) / 3 + mpmath.sqrt(2) * mpmath.pi),
        (sympy.E ** Rational(-7, 5), lambda: mpmath.exp(mpmath.mpf(-7) / 5)),
        (Rational(2) ** Rational(1, 3), lambda: mpmath.cbrt(2)),
        (1 / sqrt(Rational(3, 10)), lambda: 1 / mpmath.sqrt(mpmath.mpf(3) / 10)),
        (tanh(Rational(1, 7)) * log(5), lambda: mpmath.tanh(mpmath.mpf(1) / 7) * mpmath.log(5)),
        (softplus(-sigmoid(2)), lambda: mpmath.log(1 + mpmath.exp(-1 / (1 + mpmath.exp(-2))))),
        (sympy.Float(0.1), lambda: mpmath.mpf(0.1)),
    ],
)
def test_constants_are_enclosed(expr: sympy.Expr, value: object) -> None:
    with flint.ctx.workprec(BITS), mpmath.workprec(3 * BITS):
        found = exact_ball(expr)
        assert holds(found, value())
        assert found.rel_accuracy_bits() > BITS - 12


def test_one_tenth_is_the_rational_number_and_not_the_nearest_float() -> None:
    with flint.ctx.workprec(BITS):
        tenth = exact_ball(Rational("0.1"))
        assert (10 * tenth - 1).contains(0)
        assert not tenth.contains(flint.arb(0.1))


@pytest.mark.parametrize("name", ["relu", "step", "Abs", "sign"])
def test_a_kink_in_the_box_is_refused(name: str) -> None:
    with pytest.raises(NotEnclosed, match="kink"):
        function(name)(flint.arb(0, 1e-3))


@pytest.mark.parametrize("expr", [Symbol("a"), sympy.I, sympy.zeta(3)])
def test_what_is_no_constant_of_the_formulas_is_refused(expr: sympy.Expr) -> None:
    with pytest.raises(NotEnclosed):
        exact_ball(expr)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7])
def test_a_power_of_a_ball_around_zero_encloses_its_values(exponent: int) -> None:
    found = power(Rational(exponent))(flint.arb(0, 0.5))
    assert all(found.contains(flint.arb(t) ** exponent) for t in (-0.5, -0.25, 0.5))
    assert found.abs_upper() <= 1.001 * 0.5**exponent


def test_a_power_outside_its_domain_is_not_finite() -> None:
    assert not power(Rational(1, 2))(flint.arb(-1)).is_finite()
    assert not power(Rational(-1))(flint.arb(0, 1)).is_finite()


def test_every_function_of_a_formula_that_has_a_torch_form_has_a_ball_form() -> None:
    names = {kind.__name__ for kind in ELEMENTWISE} - {"relu_mean", "relu_mean_slope", "relu_mean_curve"}
    assert all(callable(function(name)) for name in names)


def test_every_function_with_a_derivative_rule_has_a_ball_form() -> None:
    z = Symbol("z", real=True)
    for expr in (relu(z), sigmoid(z), softplus(z), sech2(z), tanh(z), erf(z), exp(z), step(z, 0)):
        for piece in (expr, expr.diff(z), expr.diff(z, 2)):
            for part in piece.atoms(sympy.Function):
                assert callable(function(type(part).__name__))
