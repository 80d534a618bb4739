"""Gaussian populations: closed forms against quadrature that shares nothing with them, and equations in print."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from sympy import Abs, Integer, Rational, Symbol, cos, erf, exp, pi, simplify, sin, sqrt, symbols, tanh

from derivations.activations import activation
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.formula import parse_formula
from derivations.functions import relu
from derivations.gaussian_pairs import (
    Term,
    arc_cosine,
    mean_of_derivative,
    pair_mean,
    pair_statement,
    terms_of,
)
from derivations.gaussian_target import split_target
from derivations.indexed import Delta
from derivations.population import POPULATION_WHATS, GaussianProblem
from derivations.population_point import population_point
from derivations.problem import Problem

X = symbols("x_0:3", real=True)
A, B = symbols("A B", positive=True)
C, z = symbols("C z", real=True)


def population(sigma, target, **options):
    return GaussianProblem(Problem.two_layer(sigma, "square", **options), X, target)


# ---- oracle: polar quadrature in the plane, sectors cut at every kink -------------------------------------------

NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
TWINS = {
    "relu": lambda u: np.maximum(u, 0),
    "abs": np.abs,
    "leaky": lambda u: np.where(u > 0, u, u / 4),
    "erf": np.vectorize(math.erf),
    "quadratic": lambda u: u**2,
    "cubic": lambda u: u**3,
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "bump": lambda u: np.exp(-(u**2) / 2),
    "mixed": lambda u: np.maximum(u, 0) / 2 - u**2 + 1,
}
SIGMAS = {
    **{name: name for name in ("relu", "abs", "erf", "quadratic", "cubic", "sin", "cos", "exp")},
    "leaky": activation("max(z, z/4)"),
    "bump": activation("exp(-z**2/2)"),
    "mixed": activation("relu(z)/2 - z**2 + 1"),
}


def panel(low, high, nodes=NODES, weights=WEIGHTS):
    return (low + high) / 2 + (high - low) / 2 * nodes, (high - low) / 2 * weights


def plane_mean(function, normals=()):
    """Mean of ``function`` (two arrays) over the standard Gaussian of the plane; kinks on lines through 0."""
    angles = {0.0, math.pi / 2, math.pi, 3 * math.pi / 2, 2 * math.pi}
    for p, q in normals:
        angle = math.atan2(q, p) + math.pi / 2
        angles |= {angle % (2 * math.pi), (angle + math.pi) % (2 * math.pi)}
    total = 0.0
    radii = [panel(low, low + 2) for low in (0, 2, 4, 6, 8)]
    for low, high in itertools.pairwise(sorted(angles)):
        theta, by_angle = panel(low, high)
        for r, by_radius in radii:
            x, y = np.outer(r, np.cos(theta)), np.outer(r, np.sin(theta))
            density = (by_radius * r * np.exp(-(r**2) / 2))[:, None] * by_angle[None, :]
            total += float((function(x, y) * density).sum()) / (2 * math.pi)
    return total


STUDENTS = {
    "relu, cubic Hermite and teacher": ("relu", X[0] ** 3 - 3 * X[0] + 2 * relu(X[0] - X[1]) - X[0] * X[1], {}),
    "relu, even target": ("relu", X[0] ** 2 * X[1] ** 2 - X[1] ** 4 + 1, {"output_bias": True}),
    "abs with abs teacher": ("abs", Abs(X[0] + X[1]) - X[1] ** 2, {"scale": "1/m", "weight_decay": "1/3"}),
    "leaky with relu teacher": ("leaky", relu(2 * X[0]) + X[0], {"output_bias": True}),
    "erf with erf teacher": ("erf", erf(X[0]) - 2 * erf(X[1] - X[0]) + X[0] * X[1] ** 2, {"output_bias": True}),
    "quadratic, biases": ("quadratic", X[0] ** 2 - X[1] ** 2 + X[0], {"input_bias": True, "output_bias": True}),
    "quadratic with relu teacher": ("quadratic", 2 * relu(X[0] + 2 * X[1]), {"input_bias": True}),
    "cubic with erf teacher": ("cubic", erf(X[0] - X[1]) + X[1], {"factor": 2}),
    "sin, biases": ("sin", sin(X[0]) + cos(X[1]) + X[0] ** 2, {"input_bias": True, "output_bias": True}),
    "cos": ("cos", cos(X[0] - X[1]), {}),
    "exp": ("exp", exp(X[0] / 2) + X[1], {"input_bias": True}),
    "bump": ("bump", exp(-X[0] ** 2) + X[1] ** 2, {"output_bias": True}),
    "sum of families": ("mixed", relu(X[1]) + X[0] ** 2, {}),
}  # fmt: skip
THETA = {
    "a": [Rational(3, 2), -1],
    "w": [[1, Rational(-1, 2)], [Rational(1, 3), Rational(3, 4)]],
    "c": Rational(1, 5),
}
BIASES = [Rational(1, 3), Rational(-1, 2)]


def loss_at(name, target, options, flat):
    """Return the risk by quadrature at floats a (2), w (2 x 2), b, c."""
    sigma = TWINS[name]
    bias = 2 if options.get("input_bias") else 0
    a, w = flat[:2], np.array(flat[2:6]).reshape(2, 2)
    b = flat[6:8] if bias else [0.0, 0.0]
    c = flat[-1] if options.get("output_bias") else 0.0
    scale = 0.5 if options.get("scale") else 1.0
    written = numeric_target(target)

    def squared(x, y):
        f = c + scale * sum(a[k] * sigma(w[k, 0] * x + w[k, 1] * y + b[k]) for k in (0, 1))
        return (f - written(x, y)) ** 2 / 2

    normals = [tuple(row) for row in w] + [(1, 0), (0, 1), (1, 1), (1, -1), (1, 2)]
    risk = float(options.get("factor", 1)) * plane_mean(squared, normals)
    decay = 1 / 3 if options.get("weight_decay") else 0.0
    return risk + decay / 2 * sum(u * u for u in flat)


def numeric_target(target):
    """Evaluate a target on arrays by walking its tree."""
    plain = {relu: TWINS["relu"], Abs: np.abs, erf: TWINS["erf"], sin: np.sin, cos: np.cos, exp: np.exp}

    def walk(expr, x, y):
        if expr == X[0]:
            return x
        if expr == X[1]:
            return y
        if expr.is_number:
            return float(expr) * np.ones_like(x)
        parts = [walk(u, x, y) for u in expr.args]
        if expr.is_Add:
            return sum(parts)
        if expr.is_Mul:
            return math.prod(parts[1:], start=parts[0])
        if expr.is_Pow:
            return parts[0] ** int(expr.exp)
        return plain[expr.func](*parts)

    return lambda x, y: walk(target, x, y)


@pytest.mark.parametrize("name", STUDENTS)
def test_risk_and_gradient_are_those_of_quadrature(name):
    sigma, target, options = STUDENTS[name]
    problem = population(SIGMAS[sigma], target, **options)
    theta = {"a": THETA["a"], "w": THETA["w"]}
    theta |= {"b": BIASES} if options.get("input_bias") else {}
    theta |= {"c": THETA["c"]} if options.get("output_bias") else {}
    value, gradient = population_point(problem, theta)
    flat = [float(u) for u in (*theta["a"], *itertools.chain(*theta["w"]), *theta.get("b", []))]
    flat += [float(theta["c"])] if "c" in theta else []
    found = loss_at(sigma, target, options, flat)
    assert float(value) == pytest.approx(found, rel=1e-11)
    h = 1e-4
    for place, slope in enumerate(gradient):
        values = []
        for step in (-2, -1, 1, 2):
            moved = list(flat)
            moved[place] += step * h
            values.append(loss_at(sigma, target, options, moved))
        # Fourth order: the error is about h^4 and rounding / h, together below 1e-9 of the risk.
        quotient = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert float(slope) == pytest.approx(quotient, abs=1e-8 * max(1.0, abs(found))), place


def test_one_dimension_against_quadrature_in_thirty_digits():
    x = Symbol("x", real=True)
    target = parse_formula("He3(x) + 2*relu(x) - abs(x)/3", {"x": x})
    problem = GaussianProblem(Problem.two_layer("relu", "square", output_bias=True), (x,), target, Integer(1))
    theta = {"a": [Rational(3, 2), -1], "w": [[Rational(2, 3)], [Rational(-5, 4)]], "c": Rational(1, 7)}
    value, gradient = population_point(problem, theta)
    with mpmath.workdps(30):
        a, w, c = [mpmath.mpf(3) / 2, -1], [mpmath.mpf(2) / 3, -mpmath.mpf(5) / 4], mpmath.mpf(1) / 7

        def residual(t):
            f = c + sum(u * max(v * t, 0) for u, v in zip(a, w, strict=True))
            return f - (t**3 - 3 * t + 2 * max(t, 0) - abs(t) / 3)

        def mean(function):
            return mpmath.quad(lambda t: function(t) * mpmath.npdf(t), [-mpmath.inf, -3, 0, 3, mpmath.inf])

        wanted = [mean(lambda t: residual(t) ** 2 / 2)]
        wanted += [mean(lambda t, v=v: residual(t) * max(v * t, 0)) for v in w]
        wanted += [
            mean(lambda t, u=u, v=v: residual(t) * u * t * (v * t > 0)) for u, v in zip(a, w, strict=True)
        ]
        wanted += [mean(residual)]
        for exact, number in zip((value, *gradient), wanted, strict=True):
            assert abs(mpmath.mpf(str(exact.evalf(32))) - number) < mpmath.mpf(10) ** -24


def test_a_student_that_equals_its_teacher_has_risk_zero_and_no_gradient():
    """There A B = C^2 for every pair of student and teacher: the closed forms must stay finite."""
    for sigma, f in (("relu", relu), ("erf", erf), ("abs", Abs)):
        problem = population(sigma, 2 * f(X[0] + X[1]) - f(X[2] / 2))
        theta = {"a": [2, -1], "w": [[1, 1, 0], [0, 0, Rational(1, 2)]]}
        value, gradient = population_point(problem, theta)
        assert simplify(value) == 0
        assert {simplify(u) for u in gradient} == {0}


# ---- closed forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["relu", "erf", "sin", "cos", "exp"])
def test_pair_means_are_proved_by_price_theorem(family):
    statement = pair_statement(family)
    assert statement.status is Status.PROVED
    assert set(statement.residuals.values()) == {0}


def test_the_proof_fails_for_a_wrong_formula(monkeypatch):
    monkeypatch.setattr(arc_cosine, "doit", lambda self, **_: self.args[2] / 4)
    assert pair_statement("relu").status is Status.UNDECIDED


def test_relu_pair_is_the_arc_cosine_kernel():
    found = pair_mean(Term(Integer(1), "relu"), Term(Integer(1), "relu"), A, B, C).doit()
    assert found.subs({A: 4, B: 9, C: 0}) == 3 / pi  # independent: (2 / sqrt(2 pi)) (3 / sqrt(2 pi))
    assert simplify(found.subs({A: 4, B: 9, C: 6})) == 3  # v = 3 u / 2: half the mean of u v
    assert simplify(found.subs({A: 4, B: 9, C: -6})) == 0  # never positive at once
    angle = Rational(1, 2) * pi - Rational(1, 6) * pi
    wanted = 6 * (sin(angle) + (pi - angle) * cos(angle)) / (2 * pi)  # Cho and Saul, order 1
    assert simplify(found.subs({A: 4, B: 9, C: 3}) - wanted) == 0


def test_powers_follow_isserlis():
    def power(n):
        return Term(Integer(1), "power", power=n)

    assert pair_mean(power(2), power(2), A, B, C) == A * B + 2 * C**2
    assert pair_mean(power(4), power(2), A, B, C).expand() == 3 * A**2 * B + 12 * A * C**2
    assert pair_mean(power(1), Term(Integer(1), "relu"), A, B, C) == C / 2
    assert pair_mean(power(1), Term(Integer(1), "erf"), A, B, C) == 2 * C / (sqrt(pi) * sqrt(2 * B + 1))
    assert pair_mean(power(0), power(3), A, B, C) == 0


@pytest.mark.parametrize("order", range(6))
def test_means_of_derivatives_are_hermite_means(order):
    """E[F^(n)(sqrt(A) g)] = A^(-n/2) E[F(sqrt(A) g) He_n(g)], against one-dimensional quadrature."""
    hermite = parse_formula(f"He{order}(g)", {"g": z})
    for name, function in (("relu", relu), ("erf", erf), ("sin", sin), ("cos", cos), ("exp", exp)):
        (term,) = terms_of(3 * function(z / 2), z)
        found = mean_of_derivative(term, order, Rational(5, 3))
        t, weights = zip(*[panel(low, low + 3) for low in range(-12, 12, 3)], strict=True)
        t, weights = np.concatenate(t), np.concatenate(weights)
        scale = math.sqrt(5 / 3)
        twin = 3 * TWINS[name](scale * t / 2)
        polynomial = np.array([float(hermite.subs(z, u)) for u in t]) if hermite.has(z) else np.ones_like(t)
        wanted = float((twin * polynomial * np.exp(-(t**2) / 2) * weights).sum()) / math.sqrt(2 * math.pi)
        assert float(found) == pytest.approx(wanted / scale**order, abs=1e-11), name


def test_a_target_is_taken_apart():
    coefficients, teachers = split_target(X[0] ** 4 + 3 * erf(X[0] - 2 * X[1]) + 5, [X[0], X[1]])
    assert coefficients == {(4, 0): 1, (2, 0): 6, (0, 0): 8}
    assert [u.direction for u in teachers] == [(1, -2)]
    assert teachers[0].variance == 5
    assert teachers[0].term.coefficient == 3


def test_a_hermite_target_of_odd_order_is_invisible_to_relu():
    """E[relu(u) He_3(x_1)] = 0: the kernel of relu has no third Hermite coefficient."""
    problem = population("relu", X[0] ** 3 - 3 * X[0])
    assert problem.target_mean == 0
    assert problem.target_square == 6
    assert "T(" not in problem.derive("gradient").text()


# ---- in print ------------------------------------------------------------------------------------------------


def test_the_gradient_prints_as_a_paper_prints_it():
    found = population("quadratic", X[0] ** 2 - 1).derive("gradient")
    text = found.latex()
    assert r"\sum_{q=1}^{m} a_q K(\lVert w_k \rVert^{2}, \lVert w_q \rVert^{2}, w_k^{\top} w_q)" in text
    assert r"K(A, B, C) &= 2 C^{2} + A B" in text
    assert r"T(A, c_1) &= 2 c_1^{2}" in text
    assert r"\partial_{3} K(A, B, C) &= 4 C" in text
    plain = found.text()
    assert "d3_K(A, B, C) = 4*C" in plain
    assert "d2_T(A, c_1) = 4*c_1" in plain
    assert "*(" not in plain.replace("]*(", "").replace(")*(", "")


@pytest.mark.parametrize("what", POPULATION_WHATS)
@pytest.mark.parametrize("name", ["relu, even target", "sin, biases", "abs with abs teacher"])
def test_every_derivation_of_a_population_prints(name, what):
    sigma, target, options = STUDENTS[name]
    problem = population(SIGMAS[sigma], target, **options, freeze=("a",), rate=(("w", Integer(2)),))
    found = problem.derive(what)
    assert r"\left" not in found.latex()
    assert found.to_dict()["equations"]
    assert not any(side.has(Delta) for e in found.system for side in (e.lhs, e.rhs))
    if what == "gradient-flow":
        assert found.system[0].rhs == 0
    if what == "critical-equations":
        assert len(found.system) == len(problem.problem.blocks) - 1


# ---- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: population("tanh", X[0]), AssumptionError, r"no closed Gaussian mean is known for the term tanh\(z\)"),
        (lambda: population("relu", X[0], input_bias=True), AssumptionError, "only without bias"),
        (lambda: population("relu", erf(X[0])), AssumptionError, "relu times erf"),
        (lambda: population("relu", tanh(X[0])), AssumptionError, "no closed Gaussian mean"),
        (lambda: population("relu", relu(X[0] - 1)), AssumptionError, "no closed Gaussian mean"),
        (lambda: population("relu", relu(X[0] * X[1])), AssumptionError, "linear form"),
        (lambda: population("relu", X[0] * relu(X[1])), AssumptionError, "linear form"),
        (lambda: GaussianProblem(Problem.two_layer("relu", "logistic"), X, X[0]), AssumptionError, "square loss, got 'logistic'"),
        (lambda: GaussianProblem(Problem.deep(3, "relu", "square"), X, X[0]), AssumptionError, "two-layer"),
        (lambda: population("relu", X[0]).derive("hessian"), ValueError, "Known: risk, gradient"),
        (lambda: population_point(population("relu", X[1]), {"a": [1], "w": [[1]]}), ValueError, "at least 2"),
        (lambda: population_point(population("relu", X[0]), {"a": [1]}), ValueError, "this network has a, w"),
        (lambda: population_point(population("relu", X[0]), {"a": [1, 2], "w": [[1]]}), ValueError, "2 entries"),
        (lambda: population_point(population("relu", X[0]), {"a": [1], "w": [[0, 0]]}), AssumptionError, "weight vector is 0"),
        (lambda: pair_statement("tanh"), ValueError, "known: relu"),
    ],
)  # fmt: skip
def test_refusals(build, error, message):
    with pytest.raises(error, match=message):
        build()
