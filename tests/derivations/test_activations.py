"""Activations: values and derivatives against 40-digit differences; families, parity, homogeneity, kinks, PyTorch form."""

from __future__ import annotations

import subprocess
import sys

import mpmath
import pytest
import torch
from sympy import DiracDelta, Heaviside, Max, Rational, S, Symbol

from derivations.activations import REGISTRY, Activation, Z, activation
from derivations.claim import Status
from derivations.errors import FormulaError
from derivations.functions import step
from derivations.problem import Problem
from derivations.registry import FAMILIES, MEMBERS
from numerics.compile import compile_system
from numerics.reference import ACTIVATIONS

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
    "softsign": lambda z: z / (1 + abs(z)),
    "rational": lambda z: z / (1 + z**2),
    "swish": lambda z: z / (1 + mpmath.exp(-z)),
    "erf_gelu": lambda z: z * mpmath.ncdf(z),
    "leaky_relu(1/10)": lambda z: z if z > 0 else z / 10,
    "relu_power(2)": lambda z: z**2 if z > 0 else mpmath.mpf(0),
    "monomial(4)": lambda z: z**4,
    "polynomial(1, 1/2, 0, -1/3)": lambda z: 1 + z / 2 - z**3 / 3,
}
POINTS = [Rational(3, 7), Rational(-11, 5), Rational(5, 2)]


def test_every_activation_is_covered():
    assert set(BY_HAND) == {*REGISTRY, *MEMBERS}
    assert {name.partition("(")[0] for name in MEMBERS} == set(FAMILIES)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("name", BY_HAND)
def test_derivatives_equal_differences_in_forty_digits(name, order):
    formula = REGISTRY[name].derivative(order)
    with mpmath.workdps(40):
        for point in POINTS:
            found = mpmath.mpf(str(formula.subs(Z, point).evalf(35)))
            wanted = mpmath.diff(BY_HAND[name], mpmath.mpf(point.p) / point.q, order, h=mpmath.mpf(10) ** -8)
            assert abs(found - wanted) < mpmath.mpf(10) ** -7 * (1 + abs(wanted)), (point, found, wanted)


ONE = torch.ones(1, 1, dtype=torch.float64)


def by_torch(expr, points):
    """Values of a formula in Z: one neuron with a = x = 1 and weight w = z, compiled."""
    system = compile_system(Problem.two_layer(Activation("given", expr), "square"), ONE, ONE[0], 1)
    return system.outputs(torch.stack([torch.ones_like(points), points], dim=1))[:, 0]


@pytest.mark.parametrize("name", BY_HAND)
def test_the_torch_form_and_the_oracle_agree_with_forty_digits(name):
    points = torch.tensor([-3.7, -1.25, -0.3, 0.0, 0.4, 1.5, 2.8], dtype=torch.float64)
    for order in range(4):
        found = by_torch(REGISTRY[name].derivative(order), points)
        for value, point in zip(found.tolist(), points.tolist(), strict=True):
            if order == 0:
                with mpmath.workdps(40):
                    wanted = float(BY_HAND[name](mpmath.mpf(point)))
            else:
                wanted = float(REGISTRY[name].derivative(order).subs(Z, Rational(point)).evalf(30))
            assert value == pytest.approx(wanted, rel=1e-12, abs=1e-12), (order, point)
    torch.testing.assert_close(
        ACTIVATIONS[name](points, 0.0), by_torch(REGISTRY[name].derivative(0), points), rtol=1e-12, atol=1e-12
    )


def test_parity_and_homogeneity_of_the_registry():
    odd = {name for name in BY_HAND if REGISTRY[name].parity.name == "odd"}
    even = {name for name in BY_HAND if REGISTRY[name].parity.name == "even"}
    degree = {name: REGISTRY[name].homogeneity_degree for name in BY_HAND}
    assert odd == {"linear", "cubic", "tanh", "erf", "sin", "softsign", "rational"}
    assert even == {"abs", "quadratic", "cos", "gaussian", "monomial(4)"}
    assert {name: p for name, p in degree.items() if p is not None} == {
        "linear": 1,
        "relu": 1,
        "abs": 1,
        "quadratic": 2,
        "cubic": 3,
        "leaky_relu(1/10)": 1,
        "relu_power(2)": 2,
        "monomial(4)": 4,
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
        ("leaky_relu(1/10)", 0, 0),
        ("leaky_relu(1/10)", Rational(1, 4), Rational(1, 4)),
        ("leaky_relu(-1/2)", 1, 1),
        ("max(0, z)**2", 1, 0),  # differentiable: there is nothing to state
        ("relu_power(2)", 1, 0),
        ("softsign", Rational(1, 2), 1),
    ],
)
def test_the_slope_at_zero_is_the_stated_one(text, kink, slope):
    sigma = activation(text, kink=kink)
    assert sigma.derivative(1).subs(Z, 0) == slope
    for point in (-2, 3):  # elsewhere it is the derivative
        side = (sigma.expr.subs(Z, point + Rational(1, 8)) - sigma.expr.subs(Z, point - Rational(1, 8))) * 4
        if "2" not in text.replace("-1/2", "") and text != "softsign":
            assert sigma.derivative(1).subs(Z, point) == side


@pytest.mark.parametrize(
    "text", ["abs", "sign(z)", "abs(z)*z", "max(z, 0, -z/2)", "min(z, 1)", "softsign", "relu_power(3)"]
)
def test_no_distribution_is_ever_produced(text):
    sigma = activation(text)
    for order in range(5):
        assert not sigma.derivative(order).has(DiracDelta, Heaviside, Max)


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("abs(z)*z", 1, "2*Abs(z)"),
        ("relu_power(3)", 1, "3*relu(z)**2"),
        ("relu_power(3)", 2, "6*relu(z)"),
        ("relu_power(3)", 3, "6*step(z, 0)"),
        ("softsign", 1, "(Abs(z) + 1)**(-2)"),
        ("softsign", 2, "-2*sign(z)/(Abs(z) + 1)**3"),
    ],
)
def test_derivatives_are_written_as_a_paper_would(text, order, expected):
    assert str(activation(text).derivative(order)) == expected


def test_the_jump_of_a_stated_kink_does_not_show_in_the_second_derivative():
    assert activation("relu", kink=1).derivative(2) == 0
    assert activation("relu", kink=1).derivative(1) == step(Z, 1)


def test_apply_substitutes_the_argument():
    u = Symbol("u", real=True)
    assert REGISTRY["cubic"].apply((2,), u + 1) == 6 * (u + 1)


def test_a_negative_order_is_refused():
    with pytest.raises(ValueError, match="got -1"):
        REGISTRY["tanh"].derivative(-1)


@pytest.mark.parametrize("text", ["tahn", "z +", "x**2", "().__class__"])
def test_what_is_no_activation_is_refused(text):
    with pytest.raises(FormulaError):
        activation(text)


@pytest.mark.parametrize(
    ("text", "name", "expr"),
    [
        ("leaky_relu(0.1)", "leaky_relu(1/10)", "-relu(-z)/10 + relu(z)"),
        ("leaky_relu( sqrt(2)/2 )", "leaky_relu(sqrt(2)/2)", "-sqrt(2)*relu(-z)/2 + relu(z)"),
        ("relu_power(3)", "relu_power(3)", "relu(z)**3"),
        ("monomial(5)", "monomial(5)", "z**5"),
        ("polynomial(0, 1, 1/2)", "polynomial(0, 1, 1/2)", "z**2/2 + z"),
        ("polynomial(max(1, 2), 3)", "polynomial(2, 3)", "3*z + 2"),
        ("swish", "silu", "z*sigmoid(z)"),
    ],
)
def test_parameters_are_exact_and_names_normal(text, name, expr):
    sigma = activation(text)
    assert (sigma.name, str(sigma.expr)) == (name, expr)
    assert text in REGISTRY
    assert activation(text, kink=Rational(1, 3)).kink == Rational(1, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leaky_relu", "write leaky_relu\\(g\\) with one number"),
        ("leaky_relu()", "is not a number"),
        ("leaky_relu(z)", "'z' is not a number: 'z' is an unknown name"),
        ("leaky_relu(1/10, 2)", "found 1/10, 2"),
        ("leaky_relu(-1)", "other than -1"),
        ("relu_power(0)", "one integer p from 1 to 64; found 0"),
        ("relu_power(1/2)", "one integer p from 1 to 64; found 1/2"),
        ("monomial(65)", "found 65"),
        ("polynomial(3)", "2 to 13 coefficients"),
        ("polynomial(3, 0)", "one beyond the constant not zero"),
        ("polynomial(1, __import__)", "is not a number"),
        ("leaky_rleu(1/10)", "is an unknown function"),
        ("monomial(2)*z", "is an unknown function"),
        ("relu_powr", "did you mean 'relu_power'"),
        ("sofplus", "did you mean 'softplus'.*leaky_relu\\(g\\)"),
    ],
)
def test_wrong_parameters_are_refused_with_what_is_accepted(text, message):
    with pytest.raises(FormulaError, match=message):
        activation(text)
    assert text not in REGISTRY


def test_the_registry_is_a_mapping_that_builds_when_asked():
    assert REGISTRY["monomial(4)"] is REGISTRY["monomial(4)"]
    assert len(REGISTRY) == len(list(REGISTRY)) == len(set(REGISTRY))
    assert REGISTRY["swish"] is REGISTRY["silu"]
    assert REGISTRY["leaky_relu(0.1)"] is REGISTRY["leaky_relu(1/10)"]
    assert 3 not in REGISTRY
    with pytest.raises(KeyError):
        REGISTRY["nothing"]


def test_importing_the_registry_loads_no_property_module():
    code = (
        "import sys, derivations.activations as a; a.REGISTRY['tanh'].derivative(2); "
        "print([m for m in sys.modules if m in ('derivations.hermite', 'derivations.kernels', 'derivations.enclosure', "
        "'derivations.latex', 'derivations.formula', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_value_at_zero_uses_the_limit():
    assert activation("sin(z)/z").value_at_zero == 1
    assert REGISTRY["softplus"].value_at_zero == BY_HAND_LOG2


BY_HAND_LOG2 = REGISTRY["softplus"].expr.subs(Z, 0)


@pytest.mark.parametrize("text", ["log(z)", "sqrt(z)", "sqrt(1 - z**2)"])
def test_a_formula_without_real_values_is_no_activation(text):
    with pytest.raises(FormulaError, match="is not real at z = "):
        activation(text)


@pytest.mark.parametrize("text", ["1/z", "sin(1/z)", "1/z**2"])
def test_a_formula_without_a_limit_at_zero_has_no_value_there(text):
    found = activation(text)
    assert found.value_at_zero is S.NaN
    assert found.at_zero.status is Status.REFUTED
    assert activation("sin(z)/z").value_at_zero == 1
