"""Hermite coefficients: closed forms and enclosures against independent quadrature; Parseval; honest statuses."""

from __future__ import annotations

import random
from itertools import pairwise

import mpmath
import pytest
from mpmath import mpf
from sympy import Abs, Rational, S, erf, exp, factorial, log, pi, simplify, sin, sqrt, tanh

from derivations import hermite
from derivations.activations import REGISTRY, Z, activation
from derivations.claim import Status
from derivations.enclosure import (
    IV,
    NotEnclosed,
    complex_range,
    enclose,
    ends,
    largest_modulus,
    rectangle_bound,
)
from derivations.functions import relu, sech2, sigmoid, softplus, step
from derivations.gaussian_terms import Term, mean, terms_of, truncated_mean
from derivations.hermite import (
    closed_mean,
    he_polynomial,
    hermite_coefficient,
    hermite_coefficients,
    remainder,
    second_moment,
)

BY_HAND = {
    "linear": lambda z: z,
    "relu": lambda z: max(z, mpf(0)),
    "abs": abs,
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
    "softsign": lambda z: z / (1 + abs(z)),
    "rational": lambda z: z / (1 + z**2),
    "leaky_relu(1/10)": lambda z: z if z > 0 else z / 10,
    "relu_power(2)": lambda z: z**2 if z > 0 else mpf(0),
    "polynomial(1, 1/2, 0, -1/3)": lambda z: 1 + z / 2 - z**3 / 3,
    "relu(z - 1/2)": lambda z: max(z - mpf(1) / 2, mpf(0)),
    "z**2*tanh(z)": lambda z: z**2 * mpmath.tanh(z),
    "z*exp(z - z**2/4)*sin(2*z)": lambda z: z * mpmath.exp(z - z**2 / 4) * mpmath.sin(2 * z),
    "z**3*erf(z/2)*exp(-z**2)": lambda z: z**3 * mpmath.erf(z / 2) * mpmath.exp(-(z**2)),
}
CLOSED = {
    *["linear", "relu", "abs", "cubic", "erf", "gelu", "sin", "cos", "gaussian", "exp", "leaky_relu(1/10)"],
    *["relu_power(2)", "polynomial(1, 1/2, 0, -1/3)", "relu(z - 1/2)"],
    *["z*exp(z - z**2/4)*sin(2*z)", "z**3*erf(z/2)*exp(-z**2)"],
}
HIGHEST = 5


HE = [[1], [0, 1], [-1, 0, 1], [0, -3, 0, 1], [3, 0, -6, 0, 1], [0, 15, 0, -10, 0, 1]]
CUTS = [-16, -8, -4, -2, 0, mpf(1) / 2, 2, 4, 8, 16]


def by_quadrature(function, *orders):
    """E[f(g) He_j(g)] / sqrt(j!) by tanh-sinh quadrature; each value of the function is taken once."""
    kept = {}

    def weighted(x):
        if x not in kept:
            kept[x] = function(x) * mpmath.npdf(x)
        return kept[x]

    return [
        mpmath.quad(lambda x, j=j: weighted(x) * mpmath.polyval(HE[j][::-1], x), CUTS)
        / mpmath.sqrt(mpmath.factorial(j))
        for j in orders
    ]


@pytest.mark.parametrize("name", BY_HAND)
def test_coefficients_equal_quadrature(name):
    found = hermite_coefficients(activation(name), HIGHEST)
    orders = (0, 1, 2, 3, HIGHEST)
    with mpmath.workdps(28):
        for order, wanted in zip(orders, by_quadrature(BY_HAND[name], *orders)):
            value, radius = found[order].value, found[order].radius
            distance = abs(mpf(str(value.evalf(32))) - wanted)
            if radius is None:
                assert found[order].status is Status.PROVED
                assert distance < mpf(10) ** -24
            else:
                assert found[order].status is Status.CERTIFIED
                assert radius < Rational(1, 10**20)
                assert distance < mpf(radius.p) / radius.q + mpf(10) ** -24
    if name in CLOSED:
        assert all(c.radius is None for c in found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", [1 / sqrt(2 * pi), Rational(1, 2), 1 / (2 * sqrt(pi)), 0]),
        ("abs", [sqrt(2 / pi), 0, 1 / sqrt(pi), 0]),
        ("quadratic", [1, 0, sqrt(2), 0, 0]),
        ("exp", [exp(Rational(1, 2)) / sqrt(factorial(k)) for k in range(5)]),
        ("sin", [0, exp(-Rational(1, 2)), 0, -exp(-Rational(1, 2)) / sqrt(6)]),
        ("erf", [0, 2 / sqrt(3 * pi), 0, -2 * sqrt(2) / (9 * sqrt(pi))]),
        ("gelu", [1 / (2 * sqrt(pi)), Rational(1, 2)]),
        ("sign(z)", [0, sqrt(2 / pi), 0, -1 / sqrt(3 * pi)]),
    ],
)
def test_known_closed_forms(name, expected):
    found = hermite_coefficients(activation(name), len(expected) - 1)
    assert [(c.value - wanted).simplify() for c, wanted in zip(found, expected)] == [0] * len(expected)


@pytest.mark.parametrize("name", ["softplus", "silu", "sigmoid", "tanh"])
def test_parity_gives_exact_coefficients(name):
    sigma = REGISTRY[name]
    found = hermite_coefficients(sigma, HIGHEST)
    exact = {j: c.value for j, c in enumerate(found) if c.status is Status.PROVED}
    if name in ("softplus", "silu"):
        assert exact == {1: Rational(1, 2), 3: 0, 5: 0}
    else:
        assert exact == {0: Rational(1, 2) if name == "sigmoid" else 0, 2: 0, 4: 0}


def test_the_first_coefficient_of_silu_and_that_of_sigmoid():
    """Stein: E[g s(g) 1] for silu is E[s'(g)], which is c_1 of sigmoid."""
    silu, logistic = (
        hermite_coefficients(REGISTRY[name], HIGHEST)[j] for name, j in (("silu", 0), ("sigmoid", 1))
    )
    assert abs(silu.value - logistic.value) <= silu.radius + logistic.radius


@pytest.mark.parametrize(
    "name", ["relu", "erf", "gelu", "tanh", "softplus", "sin", "polynomial(1, 1/2, 0, -1/3)"]
)
def test_parseval_leaves_a_nonnegative_and_decreasing_remainder(name):
    sigma = activation(name)
    found, moment = hermite_coefficients(sigma, HIGHEST), second_moment(sigma)
    rest = [remainder(found[: j + 1], moment).evalf(20) for j in (0, 3, HIGHEST)]
    assert all(a >= b > -1e-18 for a, b in pairwise(rest))
    with mpmath.workdps(20):
        (wanted,) = by_quadrature(lambda z: BY_HAND[name](z) ** 2, 0)
        assert abs(mpf(str(moment.value.evalf(25))) - wanted) < mpf(10) ** -15
    if name.startswith("poly"):
        assert rest[-1] == 0


def test_growth_by_the_second_derivative():
    """z^2 tanh(z) is not Lipschitz; its derivative is, which bounds the tails."""
    sigma = activation("z**2*tanh(z)")
    assert sigma.lipschitz.value is None
    assert hermite_coefficients(sigma, HIGHEST)[1].status is Status.CERTIFIED


def test_what_has_no_gaussian_mean_is_refuted():
    for found in hermite_coefficients(activation("exp(z**2)"), 2):
        assert (found.value, found.status) == (None, Status.REFUTED)
    assert hermite_coefficient(activation("z*exp(z**2)"), 0).status is Status.REFUTED  # odd, and yet no mean
    assert second_moment(activation("exp(z**2/3)")).status is Status.REFUTED
    assert hermite_coefficient(activation("exp(z**2/3)"), 0).value == sqrt(3)


def test_without_a_growth_bound_quadrature_only_supports():
    found = hermite_coefficient(activation("sin(z)/z"), 2)
    assert found.status is Status.SUPPORTED
    with mpmath.workdps(25):
        (wanted,) = by_quadrature(lambda z: mpmath.sin(z) / z if z else mpf(1), 2)
        assert abs(mpf(str(found.value)) - wanted) < 1e-12
    assert found.radius > 0


def test_a_pole_is_not_integrated():
    assert hermite_coefficient(activation("1/z"), 0).status is Status.UNDECIDED  # odd values would cancel
    assert hermite_coefficient(activation("1/z"), 1).value == 1  # E[g / g]
    assert hermite_coefficient(activation("1/z**2"), 0).status is Status.UNDECIDED


def test_orders_are_checked():
    with pytest.raises(ValueError, match="got 41"):
        hermite_coefficients(REGISTRY["tanh"], 41)
    with pytest.raises(ValueError, match="got -1"):
        hermite_coefficients(REGISTRY["tanh"], -1)


def test_hermite_polynomials_are_orthogonal():
    polynomials = [sum(c * Z**k for k, c in enumerate(he_polynomial(n))) for n in range(6)]
    for i, p in enumerate(polynomials):
        for j, q in enumerate(polynomials):
            assert closed_mean((p * q).expand(), 0) == (factorial(i) if i == j else 0)


# ---- terms


def test_terms_and_refusals():
    (term,) = terms_of(3 * Z**2 * exp(-(Z**2) + 2 * Z + 1), Z)
    assert term == Term(3 * exp(1), 2, 1, 2)
    assert terms_of(2**Z, Z) == [Term(1, 0, 0, log(2))]
    for expr in (tanh(Z), erf(Z) ** 2, erf(Z + 1), erf(Z) * exp(Z), exp(Z**3), 1 / Z, relu(Z), erf(Z**2)):
        assert terms_of(expr, Z) is None


def test_means_that_do_not_exist_are_refused():
    for term in (Term(S.One, 0, Rational(-1, 2)), Term(S.One, 1, -S.One, S.Zero, S.One)):
        with pytest.raises(ValueError, match="1 \\+ 2q > 0"):
            mean(term)
    with pytest.raises(ValueError, match="a part of the line"):
        truncated_mean(Term(S.One, 1, S.Zero, S.Zero, S.One), S.Zero, S.One)


# ---- enclosures

FUNCTIONS = {
    "tanh": (tanh(Z), mpmath.tanh),
    "sigmoid": (sigmoid(Z), lambda z: 1 / (1 + mpmath.exp(-z))),
    "softplus": (softplus(Z), lambda z: mpmath.log(1 + mpmath.exp(z))),
    "sech2": (sech2(Z), lambda z: mpmath.sech(z) ** 2),
    "erf": (erf(Z), mpmath.erf),
    "mixed": (Z * exp(-(Z**2)) / (2 + sin(Z)), lambda z: z * mpmath.exp(-(z**2)) / (2 + mpmath.sin(z))),
    "root": (sqrt(3 + Z**2), lambda z: mpmath.sqrt(3 + z**2)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_real_enclosures_hold_the_values(name):
    expr, function = FUNCTIONS[name]
    generator = random.Random(name)
    with mpmath.workdps(40):
        for _ in range(30):
            left = mpf(generator.uniform(-6, 6))
            right = left + mpf(generator.choice([0, 1e-12, 0.3]))
            lower, upper = ends(enclose(expr, Z, IV.mpf([left, right])))
            for t in (0, mpf(1) / 3, 1):
                assert lower <= function(left + t * (right - left)) <= upper
            if left == right:
                assert upper - lower < mpf(10) ** -28 * (1 + abs(upper))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex_enclosures_hold_the_values(name):
    expr, function = FUNCTIONS[name]
    generator = random.Random(name)
    with mpmath.workdps(30):
        for _ in range(30):
            x, y = mpf(generator.uniform(-4, 4)), mpf(generator.uniform(-0.8, 0.8))
            w, h = mpf(generator.choice([0.01, 0.2])), mpf(generator.choice([0.01, 0.2]))
            try:
                box = complex_range(expr, Z, IV.mpc(IV.mpf([x, x + w]), IV.mpf([y, y + h])))
            except NotEnclosed:
                continue
            for s, t in ((0, 0), (1, 1), (mpf(1) / 3, mpf(1) / 5)):
                value = function(mpmath.mpc(x + s * w, y + t * h))
                assert ends(box.real)[0] <= value.real <= ends(box.real)[1]
                assert ends(box.imag)[0] <= value.imag <= ends(box.imag)[1]


def test_erf_at_large_arguments():
    for x in (0, 1e-9, 5.5, 19.5, 25, -25):
        lower, upper = ends(enclose(erf(Z), Z, IV.mpf(x)))
        with mpmath.workdps(60):
            assert lower <= mpmath.erf(mpf(x)) <= upper
        assert upper - lower < 1e-28


def test_piecewise_functions_over_intervals_that_hold_the_kink():
    assert ends(enclose(relu(Z), Z, IV.mpf([-1, 2]))) == (0, 2)
    assert ends(enclose(Abs(Z), Z, IV.mpf([-1, 2]))) == (0, 2)
    assert ends(enclose(step(Z), Z, IV.mpf([-1, 2]))) == (0, 1)


@pytest.mark.parametrize("expr", [1 / Z, log(Z), sqrt(Z), Abs(Z) ** Rational(-1, 2), tanh(Z) ** -2])
def test_what_is_not_finite_is_refused(expr):
    with pytest.raises(NotEnclosed):
        enclose(expr, Z, IV.mpf([-1, 1]))


def test_poles_near_the_axis_are_seen():
    bound = rectangle_bound(1 / (1 + Z**2), Z, IV.mpf(-1), IV.mpf(1), IV.mpf(0.5))
    assert bound >= mpf(4) / 3  # attained at i/2
    with pytest.raises(NotEnclosed):
        rectangle_bound(1 / (1 + Z**2), Z, IV.mpf(-1), IV.mpf(1), IV.mpf(1.25))


def test_the_largest_modulus_is_bracketed():
    low, top = largest_modulus(Z * exp(-Z), Z, 0, 5)
    with mpmath.workdps(30):
        assert low <= mpmath.exp(-1) <= top
    assert top - low < 1e-12
    with pytest.raises(NotEnclosed, match="needs more than 3 boxes"):
        largest_modulus(sin(5 * Z) * exp(-Z), Z, -2, 5, most=3)


def test_gauss_legendre_is_exact_for_polynomials():
    for power in (0, 2, 10, 47, 46):
        total = sum((w * x**power for x, w in hermite._gauss_legendre()), IV.mpf(0))
        lower, upper = ends(total - (IV.mpf(2) / (power + 1) if power % 2 == 0 else 0))
        assert lower <= 0 <= upper
        assert upper - lower < 1e-25


def test_a_jump_beside_an_oscillation_has_finite_moments():
    """E (sgn + cos)^2 = 1 + (1 + e^{-2})/2, since sgn cos is odd; a complex shift leaves no infinity in it."""
    found = second_moment(activation("sign(z) + cos(z)")).value
    assert simplify(found - (1 + (1 + exp(-2)) / 2)) == 0
    for coefficient in hermite_coefficients(activation("sign(z) + cos(z)"), 3):
        assert coefficient.value.is_finite
