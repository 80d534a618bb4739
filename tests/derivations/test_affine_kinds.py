"""Minima and saddles of exact strata, and a stratum of the wrong kind that is noticed."""

from dataclasses import replace

import pytest
from sympy import Integer, Rational

import derivations.affine_kinds as module
from derivations.activations import activation
from derivations.affine_kinds import index, minima_of_relu, quadratic_saddles, saddles_of_leaky, thresholds
from derivations.affine_statements import X, network
from derivations.affine_target import kink_functions
from derivations.affine_target_sets import affine_target_sets, shape_of
from derivations.claim import Status


def line(sigma):
    return network(activation(sigma), Integer(-1), Integer(3), 2 - X / 2)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_published_kinds_are_those_of_the_strata(width):
    for found in (minima_of_relu(line("relu"), width), quadratic_saddles(line("quadratic"), width)):
        assert found.status is Status.PROVED


def test_leaky_networks_have_saddles_only():
    assert saddles_of_leaky(line("max(z, z/4)"), 2).status is Status.PROVED
    assert saddles_of_leaky(line("relu"), 1).status is Status.REFUTED


def test_a_stratum_of_the_wrong_kind_is_noticed(monkeypatch):
    def turned(interval, width):
        found = affine_target_sets(interval, width)
        sets = [replace(u, strata=tuple(replace(s, kind="minimum") for s in u.strata)) for u in found.sets]
        return replace(found, sets=tuple(sets))

    monkeypatch.setattr(module, "affine_target_sets", turned)
    assert minima_of_relu(line("relu"), 2).status is Status.REFUTED


def test_a_point_that_is_not_critical_is_noticed(monkeypatch):
    def moved(interval, width):
        found = affine_target_sets(interval, width)
        return replace(
            found,
            sets=tuple(
                replace(
                    u, strata=tuple(replace(s, theta={**s.theta, "c": s.theta["c"] + 1}) for s in u.strata)
                )
                for u in found.sets
            ),
        )

    monkeypatch.setattr(module, "affine_target_sets", moved)
    assert minima_of_relu(line("relu"), 2).status is Status.REFUTED


def test_the_index_is_the_number_of_kinks_for_leaky_and_relu_networks():
    assert index(kink_functions(shape_of(line("relu")), 4)).status is Status.PROVED
    assert index(kink_functions(shape_of(line("max(z, z/4)")), 2)).status is Status.PROVED
    assert index(kink_functions(shape_of(line("abs")), 2)).status is Status.UNDECIDED


@pytest.mark.parametrize(("width", "kinks"), [(1, 0), (2, 2), (3, 2), (4, 4)])
def test_the_threshold_is_the_value_of_the_largest_even_number_of_kinks(width, kinks):
    found = thresholds(line("relu"), width)
    assert found.status is Status.PROVED
    assert Rational(found.computed) == Rational(64, 4 * 12 * (kinks + 1) ** 4)
