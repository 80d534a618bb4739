"""Which activations are generic: decided from the formula, compared with Taylor coefficients and with explicit dependencies."""

from __future__ import annotations

import mpmath
import pytest
from sympy import cos, cosh, exp, log, sinh, tanh

from derivations.activations import REGISTRY, Z, activation
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.generic_activation import generic_activation, neuron_classes, not_polynomial

GENERIC = ["exp", "tanh(z + 7/10)", "sigmoid(z + 1/2)", "sin(z + 1/2)", "tanh(z) + exp(z)"]
#: Registered or written activation, and what its refusal names.
NOT_GENERIC = {
    "tanh": "even part is 0",
    "sin": "even part is 0",
    "gaussian": "odd part is 0",
    "cos": "odd part is 0",
    "sigmoid": "even part is a constant",
    "softplus": "odd part is linear",
    "gelu": "odd part is linear",
    "silu": "odd part is linear",
    "cubic": "polynomial",
    "relu": "not analytic",
    "exp(z) - 1": "silent",
    "tanh(z) + z**2": "even part",
}


@pytest.mark.parametrize("name", GENERIC)
def test_generic_activations_are_proved_to_be(name):
    assert generic_activation(activation(name)).status is Status.PROVED


@pytest.mark.parametrize("name", NOT_GENERIC)
def test_the_condition_that_fails_is_named(name):
    found = generic_activation(activation(name))
    assert found.status is Status.REFUTED
    assert NOT_GENERIC[name] in found.reason


@pytest.mark.parametrize("name", ["exp", "tanh(z + 7/10)", "tanh", "gaussian", "sigmoid", "softplus"])
def test_the_verdict_agrees_with_the_taylor_coefficients_up_to_order_16(name):
    found = activation(name)

    def value(point):
        forms = {
            "exp": mpmath.exp,
            "tanh(z + 7/10)": lambda z: mpmath.tanh(z + mpmath.mpf(7) / 10),
            "tanh": mpmath.tanh,
            "gaussian": lambda z: mpmath.exp(-(z**2) / 2) if "2" in str(REGISTRY["gaussian"].expr) else None,
            "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
            "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
        }
        return forms[name](point)

    with mpmath.workdps(60):
        series = mpmath.taylor(value, 0, 16)
    kept = [abs(c) > 1e-15 for c in series]
    odd, even = kept[3::2], kept[2::2]
    expected = kept[0] and all(odd) and all(even)
    assert (generic_activation(found).status is Status.PROVED) == expected


def test_functions_are_told_from_polynomials():
    assert not_polynomial(cosh(Z) - sinh(Z)).status is Status.PROVED
    assert not_polynomial(cos(Z)).status is Status.PROVED
    assert not_polynomial(tanh(Z) - Z).status is Status.PROVED
    assert not_polynomial((Z + 1) ** 3 - Z**3 - 3 * Z**2).status is Status.REFUTED
    assert not_polynomial(log(exp(Z) * (1 + exp(-Z)) / (1 + exp(Z))) + Z**2).status is not Status.PROVED


def test_an_activation_that_is_odd_up_to_a_constant_keeps_its_classes():
    found = neuron_classes(REGISTRY["sigmoid"])
    assert (found.sign, found.constant, found.status) == (-1, 1, Status.PROVED)


@pytest.mark.parametrize(
    ("name", "bias", "words"),
    [
        ("relu", False, "not analytic"),
        ("cubic", False, "polynomial"),
        ("softplus", False, "linear odd part"),
        ("tanh(z) + z**2", False, "even part"),
        ("exp", True, "multiplies the neuron"),
        ("sin", True, "three neurons"),
    ],
)
def test_the_identity_that_stands_in_the_way_is_named(name, bias, words):
    with pytest.raises(AssumptionError, match=words):
        neuron_classes(activation(name), bias=bias)


def test_with_biases_independence_is_proved_from_poles_and_left_open_elsewhere():
    assert neuron_classes(REGISTRY["tanh"], bias=True).status is Status.PROVED
    assert neuron_classes(REGISTRY["erf"], bias=True).status is Status.PROVED
    assert neuron_classes(activation("tanh(z + 7/10)"), bias=True).status is Status.UNDECIDED
