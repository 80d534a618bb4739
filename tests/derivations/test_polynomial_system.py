"""Critical equations as polynomials, against networks written out by hand and differentiated by SymPy."""

from __future__ import annotations

import itertools

import pytest
from sympy import Abs, Integer, Matrix, Rational, Symbol, expand, integrate, symbols

from derivations.diagonal_model import DiagonalProblem
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.interval import IntervalProblem
from derivations.polynomial_system import MAX_UNKNOWNS, Samples, polynomial_system
from derivations.problem import Problem

X = [[Rational(1, 2), 1], [-2, Rational(1, 3)], [1, -1]]
Y = [1, Rational(-2, 5), 2]


def assert_derivatives_of(system, risk):
    """Risk, gradient and Hessian agree with a risk in the real symbols of the unknowns."""
    unknowns = system.symbols
    assert expand(system.risk.as_expr(*unknowns) - risk) == 0
    for f, u in zip(system.gradient, unknowns, strict=True):
        assert expand(f.as_expr(*unknowns) - risk.diff(u)) == 0
    for (i, u), (j, v) in itertools.product(enumerate(unknowns), repeat=2):
        assert expand(system.hessian[i][j].as_expr(*unknowns) - risk.diff(u, v)) == 0


def test_a_two_layer_network_with_both_biases_and_decay():
    problem = Problem.two_layer(
        "z**2 + z", "square", input_bias=True, output_bias=True, weight_decay=Rational(1, 5), scale="1/m"
    )
    system = polynomial_system(problem, {"m": 2, "d": 2}, Samples.of(X, Y))
    assert system.names == ("a1", "a2", "w1_1", "w1_2", "w2_1", "w2_2", "b1", "b2", "c")
    a1, a2, w11, w12, w21, w22, b1, b2, c = theta = system.symbols
    risk = Rational(1, 10) * sum(u**2 for u in theta)
    for (p, q), y in zip(X, Y, strict=True):
        z1, z2 = w11 * p + w12 * q + b1, w21 * p + w22 * q + b2
        f = (a1 * (z1**2 + z1) + a2 * (z2**2 + z2)) / 2 + c
        risk += (f - y) ** 2 / 6
    assert_derivatives_of(system, risk)


def test_a_deep_network_with_two_outputs_and_a_quartic_loss():
    problem = Problem.deep(
        2, "z**2", "(f - y)**4", vector_output=True, input_bias=False, output_bias=False, reduction="sum"
    )
    targets = [[1, 2], [0, -1], [Rational(1, 2), 3]]
    system = polynomial_system(problem, {"m1": 1, "d": 2, "o": 2}, Samples.of(X, targets))
    w1, w2, v1, v2 = system.symbols
    risk = Integer(0)
    for (p, q), (y1, y2) in zip(X, targets, strict=True):
        h = (w1 * p + w2 * q) ** 2
        risk += (v1 * h - y1) ** 4 + (v2 * h - y2) ** 4
    assert_derivatives_of(system, risk)


def test_a_formula_and_a_diagonal_network():
    formula = FormulaProblem.of("a*t*u + b**2*t + c", ["a", "b", "c"], ["t", "u"], "square", factor=3)
    system = polynomial_system(formula, {}, Samples.of(X, Y))
    a, b, c = system.symbols
    risk = sum((a * t * u + b**2 * t + c - y) ** 2 / 2 for (t, u), y in zip(X, Y, strict=True))
    assert system.names == ("a", "b", "c")
    assert_derivatives_of(system, risk)
    diagonal = polynomial_system(DiagonalProblem.of(3), {"d": 2}, Samples.of(X, Y))
    u1, u2, v1, v2 = diagonal.symbols
    f = [(u1**3 - v1**3) * p + (u2**3 - v2**3) * q for p, q in X]
    assert_derivatives_of(diagonal, sum((f - y) ** 2 / 6 for f, y in zip(f, Y, strict=True)))


def test_an_interval_with_a_target_that_has_a_kink():
    x = Symbol("x", real=True)
    network = Problem.two_layer("z**2", "square", input_bias=True, output_bias=True, factor=2)
    line = IntervalProblem(network, Rational(-1, 2), Integer(1), x, Abs(x), "mean")
    system = polynomial_system(line, {"m": 1, "d": 1})
    a, w, b, c = system.symbols
    f = a * (w * x + b) ** 2 + c
    left = integrate(expand((f + x) ** 2), (x, Rational(-1, 2), 0))
    right = integrate(expand((f - x) ** 2), (x, 0, 1))
    assert_derivatives_of(system, expand((left + right) * Rational(2, 3)))


def test_a_frozen_block_takes_its_values():
    problem = Problem.two_layer("z**2", "square", freeze=("a",))
    system = polynomial_system(problem, {"m": 2, "d": 1}, Samples.of([[1], [2]], [1, 0]), {"a": [3, -1]})
    w1, w2 = system.symbols
    risk = sum((3 * (w1 * x) ** 2 - (w2 * x) ** 2 - y) ** 2 / 4 for x, y in ((1, 1), (2, 0)))
    assert_derivatives_of(system, risk)
    with pytest.raises(AssumptionError, match="frozen block 'a' has no values"):
        polynomial_system(problem, {"m": 2, "d": 1}, Samples.of([[1], [2]], [1, 0]))


def test_inside_a_cell_relu_is_a_polynomial():
    problem = Problem.two_layer("leaky_relu(1/3)", "square", input_bias=True)
    signs = {("z", (0, 0)): 1, ("z", (1, 0)): -1}
    system = polynomial_system(problem, {"m": 1, "d": 1}, Samples.of([[2], [-1]], [1, 3]), cell=signs)
    a, w, b = system.symbols
    risk = ((a * (2 * w + b) - 1) ** 2 + (a * (b - w) / 3 - 3) ** 2) / 4
    assert_derivatives_of(system, risk)


def test_outputs_keep_the_inputs_as_symbols():
    problem = Problem.two_layer("z**2", "square")
    system = polynomial_system(problem, {"m": 1, "d": 2}, Samples.of(X, Y))
    a, w1, w2, p, q = symbols("a1 w1_1 w1_2 x_1 x_2")
    assert expand(system.outputs[0].as_expr(a, w1, w2, p, q) - a * (w1 * p + w2 * q) ** 2) == 0


def test_values_go_back_into_blocks():
    problem = Problem.two_layer("z**2", "square", output_bias=True)
    system = polynomial_system(problem, {"m": 1, "d": 2}, Samples.of(X, Y))
    assert system.blocks([1, 2, 3, 4]) == {"a": [1], "w": [[2, 3]], "c": 4}
    assert Matrix(1, 1, [system.weight_decay]) == Matrix([[0]])


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem.two_layer("tanh", "square"), "activation 'tanh' is no polynomial"),
        (Problem.two_layer("z**2", "logistic"), "loss 'logistic' is no polynomial"),
        (Problem.two_layer("relu", "square"), "no polynomial"),
        (Problem.two_layer(None, "square"), "needs? a concrete activation|need a concrete activation"),
        (Problem.two_layer("z**2", "square", scale="1/sqrt(m)"), "rational"),
    ],
)
def test_what_is_no_polynomial_is_refused(problem, message):
    with pytest.raises(AssumptionError, match=message):
        polynomial_system(problem, {"m": 2, "d": 2}, Samples.of(X, Y))


def test_data_must_be_rational_and_rows_must_match():
    with pytest.raises(AssumptionError, match="rational"):
        Samples.of([[2 ** Rational(1, 2)]], [1])
    with pytest.raises(AssumptionError, match="1 rows of inputs and 2 of targets"):
        Samples.of([[1]], [1, 2])


def test_a_large_network_is_refused():
    with pytest.raises(AssumptionError, match=f"at most {MAX_UNKNOWNS}"):
        polynomial_system(Problem.two_layer("z**2", "square"), {"m": 9, "d": 2}, Samples.of(X, Y))


def test_a_wrong_hessian_would_be_noticed():
    problem = Problem.two_layer("z**2", "square")
    system = polynomial_system(problem, {"m": 1, "d": 1}, Samples.of([[1], [2]], [1, 0]))
    broken = type(system)(
        **{**vars(system), "hessian": tuple(tuple(-u for u in row) for row in system.hessian)}
    )
    with pytest.raises(AssertionError):
        assert_derivatives_of(broken, system.risk.as_expr(*system.symbols))
