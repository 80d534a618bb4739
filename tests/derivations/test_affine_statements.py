"""The published lists against what is computed, and wrong lists that are noticed."""

import numpy as np
import pytest
from sympy import Integer, Rational

import derivations.affine_statements as module
from derivations.activations import activation
from derivations.affine_statements import (
    X,
    closed_forms,
    dead_edges,
    first_order,
    leaky_kinks,
    network,
    relu_kinks,
)
from derivations.affine_target import kink_functions
from derivations.affine_target_sets import shape_of
from derivations.claim import Status

LINE = network(activation("relu"), Integer(-1), Integer(3), 2 - X / 2)


def test_the_closed_forms_and_the_profile_are_those_of_the_sheet():
    assert closed_forms().status is Status.PROVED
    assert closed_forms().evidence["zeros"][-1] == "no stationary kink"


@pytest.mark.parametrize("width", [1, 2, 5])
def test_relu_lists_hold_for_negative_slopes_and_other_intervals(width):
    assert relu_kinks(LINE, width).status is Status.PROVED


def test_a_wrong_level_is_refuted(monkeypatch):
    monkeypatch.setattr(module, "LEVEL", 2 * module.LEVEL)
    assert relu_kinks(LINE, 2).status is Status.REFUTED
    assert dead_edges().status is Status.REFUTED


def test_a_function_that_is_not_critical_has_moments():
    (_, wrong) = kink_functions(shape_of(LINE), 2)
    object.__setattr__(wrong, "orientations", ("left", "right"))
    assert first_order([wrong]).status is Status.REFUTED


def test_leaky_lists_hold_for_rational_slopes():
    found = leaky_kinks(Rational(4, 9), 3)
    assert found.status is Status.PROVED
    assert "7 functions" in found.reason


def test_a_wrong_width_of_the_inner_gaps_is_refuted(monkeypatch):
    monkeypatch.setattr(module, "sqrt", lambda u: u)
    assert leaky_kinks(Rational(1, 4), 1).status is Status.REFUTED


@pytest.mark.parametrize(("kink", "w", "sign"), [(-1.0, -1.0, 1), (3.0, 1.0, -1)])
def test_the_sign_at_the_ends_is_that_of_a_sum_over_many_inputs(kink, w, sign):
    x = np.linspace(-1, 3, 400_001)

    def loss(v, delta):
        neuron = np.maximum(w * (x - kink) + delta, 0)
        return np.trapezoid((1.5 + v * neuron - (2 - x / 2)) ** 2, x)

    slope = -0.5
    for v in (-1.0, 1.0):
        raised = min(loss(v, 1e-2) - loss(v, 0.0), loss(v, 3e-3) - loss(v, 0.0)) > 0
        assert raised == (sign * slope * v > 0)
    assert dead_edges().status is Status.PROVED
