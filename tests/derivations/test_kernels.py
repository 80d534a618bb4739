"""Dual kernels and kernels of wide networks: closed forms in thirty digits against independent integrals, published identities."""

from __future__ import annotations

import math

import mpmath
import pytest
from mpmath import mpf
from sympy import (
    Float,
    I,
    Integer,
    Matrix,
    Rational,
    S,
    acos,
    asin,
    cosh,
    diff,
    exp,
    expand,
    factorial2,
    pi,
    simplify,
    sinh,
    sqrt,
    symbols,
)

from derivations.activations import REGISTRY, Z, activation
from derivations.arc_cosine import RHO, arc_cosine, arc_cosine_polynomials, kappa
from derivations.errors import AssumptionError
from derivations.hermite import closed_mean, remainder, second_moment
from derivations.kernel_forms import closed_kernel
from derivations.kernels import depth_recursion, dual, dual_series, gaussian_kernel, two_layer_kernels
from derivations.zonal import zonal_eigenvalue

A, B, C = symbols("a b c", positive=True)
X = [(Integer(1), Rational(1, 2)), (Rational(-3, 10), Rational(4, 5)), (Integer(2), Integer(-1))]

BY_HAND = {
    "quadratic": (lambda z: z**2, lambda z: 2 * z),
    "monomial(3)": (lambda z: z**3, lambda z: 3 * z**2),
    "polynomial(1, 1/2, 0, -1/3)": (lambda z: 1 + z / 2 - z**3 / 3, lambda z: mpf(1) / 2 - z**2),
    "sin": (mpmath.sin, mpmath.cos),
    "cos": (mpmath.cos, lambda z: -mpmath.sin(z)),
    "exp": (mpmath.exp, mpmath.exp),
    "gaussian": (lambda z: mpmath.exp(-(z**2) / 2), lambda z: -z * mpmath.exp(-(z**2) / 2)),
    "erf": (mpmath.erf, lambda z: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-(z**2))),
    "gelu": (
        lambda z: z * (1 + mpmath.erf(z / mpmath.sqrt(2))) / 2,
        lambda z: (1 + mpmath.erf(z / mpmath.sqrt(2))) / 2 + z * mpmath.npdf(z),
    ),
    "z**2*exp(-z**2/4) + z*cos(z)": (
        lambda z: z**2 * mpmath.exp(-(z**2) / 4) + z * mpmath.cos(z),
        lambda z: (2 * z - z**3 / 2) * mpmath.exp(-(z**2) / 4) + mpmath.cos(z) - z * mpmath.sin(z),
    ),
    "z*erf(z/3)*exp(-z**2) + z**3": (lambda z: z * mpmath.erf(z / 3) * mpmath.exp(-(z**2)) + z**3, None),
}


def dot(u, v):
    return sum(p * q for p, q in zip(u, v))


def by_trapezium(function, a, b, c):
    """E[f(u) f(v)] by the trapezium rule in both variables: beyond all powers of the step for entire functions."""
    h, reach = mpf(1) / 4, 56
    share = c / mpmath.sqrt(a)
    rest = mpmath.sqrt(b - share**2)
    nodes = [(j * h, h * mpmath.npdf(j * h)) for j in range(-reach, reach + 1)]
    return mpmath.fsum(
        p
        * function(mpmath.sqrt(a) * x)
        * mpmath.fsum(q * function(share * x + rest * y) for y, q in nodes if x**2 + y**2 < 196)
        for x, p in nodes
    )


def close(expr, wanted, digits=28):
    return abs(mpf(str(expr.evalf(40))) - wanted) < mpf(10) ** -digits * (1 + abs(wanted))


@pytest.mark.parametrize("name", BY_HAND)
def test_closed_kernels_equal_the_integral_in_thirty_digits(name):
    sigma = activation(name)
    with mpmath.workdps(36):
        a, b, c = Rational(1, 2), Rational(5, 4), Rational(-2, 3)
        numbers = [mpf(u.p) / u.q for u in (a, b, c)]
        for order, function in enumerate(BY_HAND[name]):
            if function is not None:
                assert close(
                    gaussian_kernel(sigma, a, b, c, order=order), by_trapezium(function, *numbers)
                ), order


HOMOGENEOUS = {
    "linear": (1, lambda t: t),
    "relu": (1, lambda t: max(t, mpf(0))),
    "abs": (1, abs),
    "leaky_relu(1/10)": (1, lambda t: t if t > 0 else t / 10),
    "relu_power(2)": (2, lambda t: max(t, mpf(0)) ** 2),
    "relu_power(3)": (3, lambda t: max(t, mpf(0)) ** 3),
    "z*abs(z)": (2, lambda t: t * abs(t)),
    "step(z)": (0, lambda t: mpf(t > 0)),
    "sign(z)": (0, mpmath.sign),
}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_homogeneous_kernels_equal_the_integral_over_the_circle(name):
    """(u, v) = r (cos t, cos(t - alpha)), E r^{2p} = 2^p p!: one integral over the angle, cut where a factor changes sign."""
    power, function = HOMOGENEOUS[name]
    sigma = activation(name)
    a, b, c = Rational(1, 2), Integer(3), Rational(-4, 5)
    with mpmath.workdps(34):
        alpha = mpmath.acos(mpf(c.p) / c.q / mpmath.sqrt(mpf(3) / 2))
        cuts = sorted(u % (2 * mpmath.pi) for s in (0, alpha) for u in (s + mpmath.pi / 2, s - mpmath.pi / 2))
        cuts = [mpf(0), *cuts, 2 * mpmath.pi]
        angle = mpmath.quad(lambda t: function(mpmath.cos(t)) * function(mpmath.cos(t - alpha)), cuts)
        wanted = (
            angle
            / (2 * mpmath.pi)
            * mpf(2) ** power
            * mpmath.factorial(power)
            * mpmath.sqrt(mpf(3) / 2) ** power
        )
        assert close(gaussian_kernel(sigma, a, b, c), wanted)


@pytest.mark.parametrize(
    "name",
    ["linear", "relu", "leaky_relu(1/10)", "relu_power(2)", "erf", "gelu", "sin", "exp", "gaussian", "cubic"],
)
def test_price_the_derivative_kernel_is_the_derivative(name):
    """d/dc E[s(u) s(v)] = E[s'(u) s'(v)]; the forms are symbolic in a, b, c, their difference is taken at points."""
    sigma = activation(name)
    gap = diff(gaussian_kernel(sigma, A, B, C), C) - gaussian_kernel(sigma, A, B, C, order=1)
    for a, b, c in ((2, Rational(3, 2), Rational(1, 3)), (1, 1, Rational(9, 10))):
        assert abs(gap.subs({A: a, B: b, C: c}).evalf(40)) < 1e-35


# ---- the published forms (kernels in closed form)


def test_arc_cosine_kernels():
    assert kappa(0) == (pi - acos(RHO)) / pi
    assert kappa(1) == (RHO * (pi - acos(RHO)) + sqrt(1 - RHO**2)) / pi
    assert simplify(diff(kappa(1), RHO) - kappa(0)) == 0
    assert simplify(dual(REGISTRY["relu"]) - kappa(1) / 2) == 0
    assert simplify(dual(REGISTRY["relu"], order=1) - kappa(0) / 2) == 0
    for power in range(
        5
    ):  # half the moment at rho = 1, nothing for opposite inputs, the square of a half moment at 0
        assert arc_cosine(power, S.One) == factorial2(2 * power - 1) / 2
        assert arc_cosine(power, -S.One) == 0
        first, second = arc_cosine_polynomials(power)
        half = mpmath.quad(lambda x, p=power: x**p * mpmath.npdf(x), [0, 12])
        assert float((first * pi / 2 + second).subs(RHO, 0)) == pytest.approx(float(half) ** 2, rel=1e-12)
    # Cho and Saul (2009), degree 2: (1/pi) (3 sin cos + (pi - theta)(1 + 2 cos^2)), halved by E[u_+^2 v_+^2]
    assert (
        expand(2 * arc_cosine(2, RHO) * pi - 3 * RHO * sqrt(1 - RHO**2) - (pi - acos(RHO)) * (1 + 2 * RHO**2))
        == 0
    )


def test_leaky_relu():
    """E[ss] = q^2 c + (1 - q)^2 sqrt(ab) kappa_1/2 + q (1 - q) c and E[s's'] = q^2 + (1 - q)^2 kappa_0/2 + q (1 - q)."""
    q = Rational(1, 10)
    wanted = q**2 * RHO + (1 - q) ** 2 * kappa(1) / 2 + q * (1 - q) * RHO
    assert simplify(dual(activation("leaky_relu(1/10)")) - wanted) == 0
    slope = q**2 + (1 - q) ** 2 * kappa(0) / 2 + q * (1 - q)
    assert simplify(dual(activation("leaky_relu(1/10)"), order=1) - slope) == 0


@pytest.mark.parametrize(
    ("name", "order", "wanted"),
    [
        ("erf", 0, 2 / pi * asin(2 * C / sqrt((1 + 2 * A) * (1 + 2 * B)))),
        ("erf", 1, 4 / pi / sqrt((1 + 2 * A) * (1 + 2 * B) - 4 * C**2)),
        ("sin", 0, exp(-(A + B) / 2) * sinh(C)),
        ("cos", 0, exp(-(A + B) / 2) * cosh(C)),
        ("exp", 0, exp((A + B) / 2 + C)),
        ("exp(-z**2)", 0, 1 / sqrt((1 + 2 * A) * (1 + 2 * B) - 4 * C**2)),
        ("quadratic", 0, A * B + 2 * C**2),
        ("cubic", 0, 6 * C**3 + 9 * A * B * C),
        ("linear", 0, C),
        ("monomial(4)", 0, 24 * C**4 + 72 * A * B * C**2 + 9 * A**2 * B**2),
        ("relu", 0, (C * (pi - acos(C / sqrt(A * B))) + sqrt(A * B - C**2)) / (2 * pi)),
    ],
)
def test_published_closed_forms(name, order, wanted):
    assert simplify(gaussian_kernel(activation(name), A, B, C, order=order) - wanted) == 0


def test_real_forms_are_printed_without_imaginary_units():
    for name in ("sin", "cos", "z*sin(2*z)", "exp(z)*cos(z)"):
        assert not dual(activation(name)).has(I)
    assert str(dual(REGISTRY["sin"])) == "exp(-1)*sinh(rho)"


def test_the_identity_of_general_activations():
    """sum_k (c^k/k!) E s^(k)(sqrt(a) g) E s^(k)(sqrt(b) g), here for a polynomial with unequal variances."""
    sigma = activation("polynomial(1, -2, 1/2, 1/3)")
    a, b = Integer(4), Rational(1, 9)
    wanted, factorial = S.Zero, S.One
    for k in range(4):
        derivative = sigma.derivative(k)
        means = [closed_mean(expand(derivative.subs(Z, sqrt(u) * Z)), 0) for u in (a, b)]
        wanted += C**k / factorial * means[0] * means[1]
        factorial *= k + 1
    assert expand(gaussian_kernel(sigma, a, b, C) - wanted) == 0


# ---- check values of papers on three inputs

ROWS = {  # (i, j): relu E[ss], E[s's'], NTK; erf E[ss], E[s's'], NTK; sin; t^2
    (0, 1): (".17786636425883", ".26669168321526", ".20453553258035"),
    (0, 2): (".84693445970814", ".35241638234957", "1.3755590332325"),
    (1, 2): (".040150134228703", ".11910806556483", "-.12660115756206"),
    (0, 0): (".625", ".5", "1.25"),
}
ERF_ROWS = {
    (0, 1): (".043425556092108", ".43493034331138", ".086918590423245"),
    (0, 2): (".32126484356577", ".23442240147752", ".67289844578205"),
    (1, 2): ("-.36183820859812", ".2904246181152", "-.7684326739594"),
    (0, 0): (".5064965711423", ".51979786748912", "1.1562439055037"),
}
OTHER_ROWS = {
    (0, 1): (".037219629522806", ".9325"),
    (0, 2): (".093554010084186", "10.75"),
    (1, 2): ("-.10851306217214", "7.57"),
}


def agrees(expr, text):
    digits = len(text.lstrip("-").replace(".", "").lstrip("0"))
    return (
        abs(float(expr.evalf(25)) - float(text)) <= 0.51 * 10.0 ** -(len(text.partition(".")[2]))
        and digits > 0
    )


@pytest.mark.parametrize(("name", "rows"), [("relu", ROWS), ("erf", ERF_ROWS)])
def test_kernels_of_three_inputs(name, rows):
    sigma = REGISTRY[name]
    for (i, j), texts in rows.items():
        triple = (dot(X[i], X[i]), dot(X[j], X[j]), dot(X[i], X[j]))
        nngp, ntk = two_layer_kernels(sigma, *triple)
        for value, text in zip((nngp, gaussian_kernel(sigma, *triple, order=1), ntk), texts):
            assert agrees(value, text), (i, j, value.evalf(), text)


def test_sine_and_square_of_three_inputs():
    for (i, j), texts in OTHER_ROWS.items():
        triple = (dot(X[i], X[i]), dot(X[j], X[j]), dot(X[i], X[j]))
        for name, text in zip(("sin", "quadratic"), texts):
            assert agrees(gaussian_kernel(REGISTRY[name], *triple), text)


def test_gram_matrix_of_the_relu_tangent_kernel():
    gram = Matrix(
        3,
        3,
        lambda i, j: two_layer_kernels(REGISTRY["relu"], dot(X[i], X[i]), dot(X[j], X[j]), dot(X[i], X[j]))[
            1
        ],
    )
    values = mpmath.eigsy(mpmath.matrix(gram.evalf(20).tolist()), eigvals_only=True)
    assert [float(v) for v in values] == pytest.approx([0.52804364, 1.00080963, 5.45114671], abs=1.5e-8)
    assert sum(values) == pytest.approx(6.98, abs=1e-14)  # the published digits add up to 2e-8 less


def test_biases_enter_the_inner_products():
    plain = two_layer_kernels(REGISTRY["relu"], A + 1, B + 1, C + 1)
    biased = two_layer_kernels(REGISTRY["relu"], A, B, C, input_bias=True)
    assert [simplify(p - q) for p, q in zip(plain, biased)] == [0, 0]
    both = two_layer_kernels(REGISTRY["relu"], A, B, C, input_bias=True, output_bias=True)
    assert [simplify(p - q) for p, q in zip(both, biased)] == [1, 1]


def test_depth_recursion():
    """sw2 = 2, sb2 = 0, unit vectors with u = .3."""
    u = Float("0.3", 30)  # a float keeps each layer a number
    layers = depth_recursion(REGISTRY["relu"], 4, S.One, S.One, u, weight_variance=Integer(2))
    exact = depth_recursion(REGISTRY["relu"], 2, S.One, S.One, Rational(3, 10), weight_variance=Integer(2))[
        -1
    ]
    assert abs(exact.ntk.evalf(25) - layers[1].ntk) < 1e-24
    expected = [
        (".4827442838", ".6618402890"),
        (".5975484852", "1.0346012996"),
        (".6758208545", "1.4040337266"),
        (".7321619168", "1.7658265753"),
    ]
    for layer, (nngp, ntk) in zip(layers, expected, strict=True):
        assert agrees(layer.nngp, nngp)
        assert agrees(layer.ntk, ntk)
        assert layer.variances == (1, 1)
    per_layer = [float(layer.ntk) / (depth + 2) for depth, layer in enumerate(layers)]
    assert per_layer == pytest.approx([0.3309, 0.3449, 0.3510, 0.3532], abs=5e-5)
    at_one = depth_recursion(REGISTRY["relu"], 3, S.One, S.One, S.One, weight_variance=Integer(2))
    assert [layer.ntk / (depth + 2) for depth, layer in enumerate(at_one)] == [1, 1, 1]


def test_depth_recursion_of_a_linear_network_with_biases():
    """S' = sw2 S + sb2 and T' = S' + sw2 T for sigma = id, two layers by hand."""
    first, second = depth_recursion(
        REGISTRY["linear"], 2, A, B, C, weight_variance=Integer(3), bias_variance=Integer(5)
    )
    assert expand(first.nngp - (3 * C + 5)) == 0
    assert expand(first.ntk - (6 * C + 5)) == 0
    assert expand(second.nngp - (3 * (3 * C + 5) + 5)) == 0
    assert expand(second.ntk - (9 * C + 20 + 3 * (6 * C + 5))) == 0
    assert expand(second.variances[0] - (9 * A + 20)) == 0


def test_variance_of_one_relu_neuron():
    """E s^4 - (E s^2)^2 = (5/4) |x|^4."""
    square = REGISTRY["relu"].expr ** 2
    assert closed_mean(square**2, 0) - closed_mean(square, 0) ** 2 == Rational(5, 4)


# ---- spectrum on spheres


@pytest.mark.parametrize(
    ("kernel", "values"),
    [
        (kappa(0), {0: "1/2", 1: "1/8", 2: 0, 3: "1/128", 4: 0, 5: "1/512", 7: "25/32768"}),
        (kappa(1), {0: "3/8", 1: "1/6", 2: "3/128", 3: 0, 4: "1/1536", 5: 0, 6: "3/32768"}),
        (RHO * kappa(0) + kappa(1), {0: "1/2", 1: "1/3", 2: "5/64", 3: 0, 4: "1/192", 6: "23/16384"}),
    ],
)
def test_spectrum_on_the_sphere_is_rational(kernel, values):
    assert {k: zonal_eigenvalue(kernel, k, 3) for k in values} == {k: Rational(v) for k, v in values.items()}


def test_spectrum_on_the_circle():
    for k in (1, 3, 5):
        assert zonal_eigenvalue(kappa(0), k, 2) == Rational(2, k**2) / pi**2
    for k in (2, 4):
        assert zonal_eigenvalue(kappa(1), k, 2) == Rational(4, (k**2 - 1) ** 2) / pi**2
    assert zonal_eigenvalue(kappa(1), 1, 2) == Rational(1, 4)
    tangent = RHO * kappa(0) + kappa(1)
    found = [float(zonal_eigenvalue(tangent, k, 2)) for k in (0, 1, 2, 4)]
    assert found == pytest.approx([0.607927101854, 0.5, 0.1576107301103, 0.01711202212624], abs=1e-12)


def test_spectrum_in_dimension_five():
    assert [float(zonal_eigenvalue(kappa(1), k, 5)) for k in (0, 1, 2, 4)] == [
        0.3515625,
        0.1,
        0.009765625,
        0.000152587890625,
    ]
    assert [float(zonal_eigenvalue(kappa(0), k, 5)) for k in (0, 1, 3)] == [0.5, 0.0703125, 0.001953125]


def test_trace_identity_and_norm_of_a_harmonic():
    """sum (2k+1) mu_k = kappa(1) on S^2 (partial sums below it), and |P_2|_H^2 = (1/5)/mu_2 = 128/15."""
    partial = sum((2 * k + 1) * zonal_eigenvalue(kappa(1), k, 3) for k in range(9))
    assert Rational(99, 100) < partial < 1
    assert Rational(1, 5) / zonal_eigenvalue(kappa(1), 2, 3) == Rational(128, 15)
    assert Rational(1, 5) / zonal_eigenvalue(RHO * kappa(0) + kappa(1), 2, 3) == Rational(64, 25)


def test_spectrum_refuses_other_kernels_and_sizes():
    with pytest.raises(ValueError, match="is not A"):
        zonal_eigenvalue(acos(RHO) ** 2, 1, 3)
    with pytest.raises(ValueError, match="needed, got -1 and 3"):
        zonal_eigenvalue(kappa(0), -1, 3)
    with pytest.raises(ValueError, match="needed, got 1 and 1"):
        zonal_eigenvalue(kappa(0), 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("power", "dimension", "degrees", "exponent"),
    [
        (0, 2, (41, 81), -2.000),
        (0, 3, (41, 81), -2.974),
        (0, 5, (41, 81), -4.873),
        (1, 2, (40, 80), -4.001),
        (1, 3, (40, 80), -4.958),
        (1, 5, (40, 80), -6.824),
    ],
)
def test_local_exponents_of_the_spectrum(power, dimension, degrees, exponent):
    low, high = (float(zonal_eigenvalue(kappa(power), k, dimension)) for k in degrees)
    assert math.log(high / low) / math.log(degrees[1] / degrees[0]) == pytest.approx(exponent, abs=5.1e-4)


def test_published_decimals_on_the_circle():
    found = [float(zonal_eigenvalue(kappa(1), k, 2)) for k in (0, 1, 2, 4)]
    assert found == pytest.approx([0.4052847345693, 0.25, 0.04503163717436, 0.001801265486961], abs=1e-13)


# ---- what the kernels are used for: published runs on three inputs


def relu_tangent(x, y):
    return float(two_layer_kernels(REGISTRY["relu"], dot(x, x), dot(y, y), dot(x, y))[1])


def test_kernel_gradient_descent_replay():
    """One pass over (x1, 1), (x2, -1), (x3, 1/2) with eta_t = t^{-1/2}/2 and decay 1/10."""
    coefficients: list[float] = []
    for t, (x, y) in enumerate(zip(X, (1.0, -1.0, 0.5)), start=1):
        step = 0.5 / math.sqrt(t)
        value = sum(c * relu_tangent(u, x) for c, u in zip(coefficients, X))
        coefficients = [(1 - 0.1 * step) * c for c in coefficients] + [-step * (value - y)]
    assert coefficients == pytest.approx([0.4683988841037, -0.3784605328330, -0.0614302533351], abs=5.1e-14)
    at = (Rational(1, 2), Rational(1, 2))
    value = sum(c * relu_tangent(u, at) for c, u in zip(coefficients, X))
    assert value == pytest.approx(0.2075037814722, abs=5.1e-14)


def test_flow_of_the_outputs_under_the_tangent_kernel():
    """f = (1 - exp(-K t/n)) y at t = 2 on the same data."""
    gram = mpmath.matrix([[relu_tangent(u, v) for v in X] for u in X])
    y = mpmath.matrix([1, -1, 0.5])
    found = y - mpmath.expm(-gram * 2 / 3) * y
    assert [float(u) for u in found] == pytest.approx([0.45848911, -0.3086525, 0.66355255], abs=5.1e-9)


def test_weights_on_the_unit_circle_have_half_the_gaussian_kernel():
    """For a 1-homogeneous function in n = 2 the mean over |w| = 1 is 1/n of the Gaussian one, that of the slopes the same."""
    x, y = (Integer(1), Rational(1, 2)), (Rational(-3, 10), Rational(4, 5))
    triple = (dot(x, x), dot(y, y), dot(x, y))
    p, q = ([float(u) for u in v] for v in (x, y))

    def mean(function):
        cuts = sorted(
            (math.atan2(v[1], v[0]) + s) % (2 * math.pi) for v in (p, q) for s in (math.pi / 2, -math.pi / 2)
        )
        along = lambda t, v: mpmath.cos(t) * v[0] + mpmath.sin(t) * v[1]  # noqa: E731
        whole = mpmath.quad(lambda t: function(along(t, p), along(t, q)), [0, *cuts, 2 * mpmath.pi])
        return float(whole / (2 * mpmath.pi))

    both = mean(lambda u, v: max(u, 0) * max(v, 0))
    assert both == pytest.approx(float(gaussian_kernel(REGISTRY["relu"], *triple)) / 2, abs=1e-12)
    slopes = mean(lambda u, v: mpf((u > 0) * (v > 0)))
    assert slopes == pytest.approx(float(gaussian_kernel(REGISTRY["relu"], *triple, order=1)), abs=1e-12)


def test_edge_of_chaos():
    """S^{l+1} = kappa_1(S^l) tends to 1 like 1 - 9 pi^2/(2 l^2), and T/(l+1) to 1/4, from .3."""
    u, tangent, depth = mpf("0.3"), mpf("0.3"), 20_000
    for _ in range(depth):
        angle = mpmath.acos(u)
        slope = 1 - angle / mpmath.pi
        u = (u * (mpmath.pi - angle) + mpmath.sqrt(1 - u**2)) / mpmath.pi
        tangent = u + tangent * slope
    assert float((1 - u) * depth**2 * 2 / (9 * mpmath.pi**2)) == pytest.approx(1, abs=0.01)
    assert float(tangent / (depth + 1)) == pytest.approx(0.25, abs=2e-3)


def test_polynomials_have_their_kernel_at_once():
    """E u^k v^k by counting pairings, against the moments of one variable at c = a = b = 1."""
    for k in (1, 2, 5, 12, 64):
        found = gaussian_kernel(activation(f"monomial({k})"), S.One, S.One, S.One)
        assert found == factorial2(2 * k - 1)


# ---- series, refusals


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "sin"])
def test_the_series_encloses_the_closed_form(name):
    series, closed = dual_series(REGISTRY[name], 7), dual(REGISTRY[name])
    for rho in (Rational(-9, 10), Rational(1, 3), S.One):
        gap = abs((closed - series.partial).subs(RHO, rho).evalf(25))
        assert gap <= (series.tail * abs(rho) ** 8 + series.rounding).evalf(25) + 1e-22


@pytest.mark.parametrize("name", ["tanh", "softplus", "softsign"])
def test_the_series_of_what_has_no_closed_form(name):
    functions = {
        "tanh": mpmath.tanh,
        "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
        "softsign": lambda z: z / (1 + abs(z)),
    }
    with pytest.raises(AssumptionError, match=f"got {name}.*Use dual_series"):
        dual(REGISTRY[name])
    series = dual_series(REGISTRY[name], 5)
    rho = Rational(2, 5)
    with mpmath.workdps(18):
        wanted = by_trapezium(functions[name], mpf(1), mpf(1), mpf(2) / 5)
        gap = abs(mpf(str(series.partial.subs(RHO, rho).evalf(25))) - wanted)
        room = float(series.tail * rho**6 + series.rounding)
        assert gap <= room + (1e-3 if name == "softsign" else 1e-9)  # the rule sees the kink of the last
        assert room < 2e-3


def test_the_tail_is_a_bound_that_shrinks():
    found, moment = dual_series(REGISTRY["tanh"], 5).coefficients, second_moment(REGISTRY["tanh"])
    tails = [remainder(found[: j + 1], moment).evalf(10) for j in (1, 3, 5)]
    assert tails[0] > tails[1] > tails[2] > 0


def test_kernels_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        dual(activation("exp(z**2/2)"))
    assert dual(activation("exp(z**2/8)")).subs(RHO, 0) == Rational(4, 3)
    with pytest.raises(ValueError, match="positive variances"):
        gaussian_kernel(activation("step(z)"), S.Zero, S.One, S.Zero)
    assert gaussian_kernel(REGISTRY["relu"], S.Zero, S.One, S.Zero) == 0
    with pytest.raises(ValueError, match="got -1"):
        arc_cosine(-1, RHO)
    with pytest.raises(ValueError, match="depth = 0"):
        depth_recursion(REGISTRY["relu"], 0, A, B, C)


def test_mixed_families_have_no_closed_form():
    for text in ("erf(z) + exp(z)", "relu(z) + z**2", "relu(z - 1)", "erf(z)**2"):
        assert closed_kernel(activation(text).expr, S.One, S.One, RHO) is None
