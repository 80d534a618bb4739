"""Means over Gaussian pairs as a paper prints them: against the closed forms with numbers, and against independent quadrature."""

from __future__ import annotations

import mpmath
import pytest
from mpmath import mpf
from sympy import Integer, Rational, acos, diff, pi, simplify, sqrt, symbols

from derivations.activations import REGISTRY, activation
from derivations.errors import AssumptionError
from derivations.kernels import gaussian_kernel
from derivations.pair_means import kappa0, kappa1, mean_notes, pair_mean

A, B = symbols("a b", positive=True)
C, RHO = symbols("c rho", real=True)
VALUES = {A: Rational(1, 2), B: Rational(5, 4), C: Rational(-2, 3)}
CORRELATION = VALUES[C] / sqrt(VALUES[A] * VALUES[B])

FUNCTIONS = {
    "relu": (lambda t: max(t, mpf(0)), lambda t: mpf(t > 0)),
    "leaky_relu(1/10)": (lambda t: t if t > 0 else t / 10, lambda t: mpf(1) if t > 0 else mpf("0.1")),
    "abs": (abs, mpmath.sign),
    "step(z)": (lambda t: mpf(t > 0), lambda t: mpf(0)),
    "3*sign(z) + 1": (lambda t: 3 * mpmath.sign(t) + 1, lambda t: mpf(0)),
    "2*relu(z) - 5*relu(-z)": (lambda t: 2 * t if t > 0 else 5 * t, lambda t: mpf(2) if t > 0 else mpf(5)),
}


def by_angle(function, degree, a, b, c):
    """E f(u) f(v) of a function homogeneous of this degree on both half-lines: one integral over the circle."""
    alpha = mpmath.acos(c / mpmath.sqrt(a * b))
    cuts = sorted(u % (2 * mpmath.pi) for s in (0, alpha) for u in (s + mpmath.pi / 2, s - mpmath.pi / 2))
    angle = mpmath.quad(
        lambda t: function(mpmath.cos(t)) * function(mpmath.cos(t - alpha)), [0, *cuts, 2 * mpmath.pi]
    )
    return angle / (2 * mpmath.pi) * mpmath.factorial(degree) * (4 * a * b) ** (mpf(degree) / 2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arc_cosine_forms_equal_the_integral_over_the_circle(name):
    sigma = activation(name)
    numbers = [mpf(u.p) / u.q for u in VALUES.values()]
    for order, function in enumerate(FUNCTIONS[name]):
        degree = max(int(sigma.half_lines[0].degree) - order, 0)
        found = pair_mean(sigma, order, A, B, C, RHO).subs({**VALUES, RHO: CORRELATION})
        assert float(found) == pytest.approx(float(by_angle(function, degree, *numbers)), abs=1e-13)


@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "erf",
        "gelu",
        "sin",
        "cos",
        "exp",
        "gaussian",
        "cubic",
        "monomial(4)",
        "relu_power(2)",
        "exp(z**2/8)",
        "z*erf(z)",
    ],
)
def test_the_collected_forms_are_the_closed_kernels(name):
    """Collecting roots must not change the value; the kernels themselves are checked against quadrature elsewhere."""
    sigma = activation(name)
    for order in (0, 1):
        found = pair_mean(sigma, order, A, B, C, RHO).subs({**VALUES, RHO: CORRELATION}).evalf(30)
        wanted = gaussian_kernel(sigma, *VALUES.values(), order=order).evalf(30)
        assert abs(found - wanted) < 1e-26


def test_the_leaky_form_is_the_published_one():
    q = Rational(1, 10)
    sigma = activation("leaky_relu(1/10)")
    size = sqrt(A) * sqrt(B)
    assert simplify(pair_mean(sigma, 0, A, B, C, RHO) - ((1 - q) ** 2 * size * kappa1(RHO) / 2 + q * C)) == 0
    assert simplify(pair_mean(sigma, 1, A, B, C, RHO) - ((1 - q) ** 2 * kappa0(RHO) / 2 + q)) == 0


def test_arc_cosine_functions():
    u = symbols("u", real=True)
    assert kappa1(u).diff(u) == kappa0(u)
    assert simplify(kappa1(u).doit().diff(u) - kappa0(u).doit()) == 0
    assert simplify(kappa0(u).diff(u) - diff(kappa0(u).doit(), u)) == 0
    assert kappa0(u).doit() == (pi - acos(u)) / pi
    assert float(kappa1(Integer(1))) == 1
    assert float(kappa0(Rational(1, 2))) == pytest.approx(2 / 3)
    for kernel in (kappa0, kappa1):
        with pytest.raises(Exception, match="argument"):
            kernel(u).fdiff(2)


def test_what_has_no_form_is_none():
    for name in ("tanh", "softplus", "relu(z) + z**2", "exp(-z**2)*erf(z)", "z**5*erf(z)"):
        assert pair_mean(activation(name), 1, A, B, C, RHO) is None
    assert pair_mean(None, 0, A, B, C, RHO) is None


def test_notes_say_what_holds_and_what_is_not_shown():
    def notes(name, closed=(False, False)):
        return " ".join(mean_notes(activation(name), closed))

    assert "since $\\sigma$ has a Lipschitz constant" in notes("tanh")
    assert "grows slower than" in notes("z**5*erf(z)")
    assert "UNDECIDED" in notes("exp(z)*tanh(z)")
    assert notes("erf", (True, True)) == ""
    assert "$S_{ii} > 0$" in notes("relu", (True, True))
    assert "The means exist where $S_{kk} < 2$" in notes("exp(z**2/8)", (True, True))
    assert "general" in " ".join(mean_notes(None, (False, False)))
    one_open = notes("sign(z) + z**2", (False, True))
    assert "UNDECIDED" in one_open


def test_the_condition_on_the_variance_is_sharp():
    """E exp(u^2/4) is finite below variance 2 and infinite above: 1 - S/2 > 0."""
    sigma = activation("exp(z**2/8)")
    below = gaussian_kernel(sigma, *[Rational(19, 10)] * 3)
    assert float(below) == pytest.approx(1 / (1 - 0.95) ** 0.5)
    with pytest.raises(ValueError, match="must be positive"):
        gaussian_kernel(sigma, *[Rational(21, 10)] * 3)


def test_a_mean_that_never_exists_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        gaussian_kernel(activation("exp(z**2)"), Integer(1), Integer(1), Integer(0))
    assert issubclass(AssumptionError, ValueError)
    assert pair_mean(REGISTRY["relu"], 0, A, B, C, RHO) == sqrt(A) * sqrt(B) * kappa1(RHO) / 2
