"""The result on local recovery: what is derived for an instance, which assumption fails, and what a planted error refutes."""

from __future__ import annotations

from dataclasses import replace

import mpmath
import pytest
from sympy import Rational

from derivations import recovery_case as case
from derivations import recovery_proofs as proofs
from derivations import recovery_sample_proofs as sampled
from derivations.activations import Z, activation
from derivations.claim import Status
from derivations.theorem import SettingError, verdict
from derivations.theorems.local_recovery import THEOREM

DERIVED = {
    "PROVED": ("C1", "C2", "C3", "C4", "C5", "C6", "C8.1", "C9", "C11.1", "C14", "C16"),
    "CERTIFIED": ("C7", "C8", "C11.2", "C15"),
}


def verdicts(**settings):
    instance = THEOREM.instance(settings)
    return {one.label: verdict(one, instance, instance.findings(), None) for one in THEOREM.claims}


def test_every_claim_with_a_derivation_is_derived_by_default():
    found = verdicts()
    for status, labels in DERIVED.items():
        assert {label for label in labels if str(found[label].status) != status} == set()
    measured = set(found) - {label for labels in DERIVED.values() for label in labels}
    assert measured == {"C10", "C10.1", "C11", "C12", "C12.1", "C13", "C15.1"}
    assert all(found[label].status is Status.UNDECIDED for label in measured)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "tanh(z + 7/10)"},
        {"width": "3"},
        {"teacher": "1 : 1/2", "width": "3"},
        {"teacher": "1 : 1/2, 1; -2 : 1, 0", "width": "3"},
        {"activation": "sigmoid(z + 1/3)", "teacher": "2 : 1/2, 1, -1"},
    ],
)
def test_another_activation_teacher_or_width_is_derived_with_the_same_rigour(settings):
    found = verdicts(**settings)
    kept = set(DERIVED["PROVED"]) - {"C16"}
    assert {label for label in kept if found[label].status is not Status.PROVED} == set()
    assert found["C7"].status is Status.CERTIFIED


@pytest.mark.parametrize(
    ("settings", "name", "lost"),
    [
        ({"activation": "relu"}, "analytic", ("C1", "C11.1", "C11.2", "C14")),
        ({"activation": "tanh"}, "generic", ("C2", "C3", "C4", "C5", "C6", "C7", "C8", "C8.1", "C9", "C15")),
        ({"activation": "softplus"}, "generic", ("C3", "C6", "C9")),
        ({"teacher": "1 : 1/2; 2 : 1/2"}, "minimal teacher", ("C3", "C4", "C5", "C6", "C9")),
        ({"width": "1"}, "wider student", ("C7",)),
        (
            {"inputs": "1, 0; 0, 1; 1, 0; 2, 1; -1, 1; 1, 3; 2, -1"},
            "distinct inputs",
            ("C6", "C7", "C8", "C15"),
        ),
        (
            {"inputs": "1, 2; 2, 4; 3, 6; -1, -2; 1/2, 1; 4, 8; 5, 10"},
            "separating inputs",
            ("C6", "C7", "C8", "C15"),
        ),
        ({"activation": "tanh(z + 7/10)"}, "exponential", ("C16",)),
    ],
)
def test_an_assumption_that_fails_is_named_and_takes_its_claims_along(settings, name, lost):
    if name == "minimal teacher":
        settings = {**settings, "width": "2"}
    instance = THEOREM.instance(settings)
    assert instance.findings()[name].status is Status.REFUTED
    found = verdicts(**settings)
    assert {label for label in lost if found[label].status is not Status.UNDECIDED} == set()
    assert name in found[lost[0]].evidence["assumptions that fail"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("tanh", "even part is 0"),
        ("softplus", "linear"),
        ("gelu", "linear"),
        ("silu", "linear"),
        ("sigmoid", "constant"),
        ("cubic", "polynomial"),
    ],
)
def test_the_condition_that_an_activation_fails_is_said(name, word):
    given = THEOREM.instance({"activation": name})
    assert word in given.findings()["generic"].reason


@pytest.mark.parametrize(
    ("erratum", "label", "words"),
    [
        ("E1", "C11.1", "dR/dt"),
        ("E2", "C15", "n = 4, N = 4, rank 4"),
        ("E3", "C8.1", "r = 1, l = 0: 1 is left"),
    ],
)
def test_a_statement_as_it_is_printed_is_refuted_with_a_counterexample(erratum, label, words):
    found = verdicts(printed=erratum)
    assert [name for name, one in found.items() if one.status is Status.REFUTED] == [label]
    assert words in found[label].evidence["derivation"]["reason"]


def test_planted_errors_in_branches_and_counts_are_refuted(monkeypatch):
    given = THEOREM.instance()
    minima = case.minima_of(given)
    wrong = replace(minima.branches[0], dimension=minima.branches[0].dimension + 1)
    broken = replace(minima)
    broken.__dict__["branches"] = (wrong, *minima.branches[1:])
    monkeypatch.setattr(proofs, "minima_of", lambda given: broken)
    assert proofs.branches_add_up(given).status is Status.REFUTED
    monkeypatch.setattr(proofs, "branch_count", lambda shape, r: 5)
    assert proofs.counted(given).status is Status.REFUTED


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "gelu", "silu", "cos", "cubic"])
def test_a_dependency_of_neurons_vanishes_at_numbers(name):
    one = activation(name)
    found = proofs.dependency(one)
    z = Rational(17, 23)
    values = [mpmath.mpf(str((c * one.expr.subs(Z, w * z)).evalf(40))) for w, c in found.items()]
    assert abs(sum(values)) < 1e-13 < max(map(abs, values))


def test_four_points_in_convex_position_are_told_from_others():
    rows = case.read_inputs("0, 0; 2, 0; 0, 2; 2, 2").rows
    assert sampled.in_convex_position(rows) is True
    assert sampled.in_convex_position(case.read_four("inside")) is False
    assert sampled.in_convex_position(case.read_inputs("0, 0; 1, 0; 2, 0; 0, 1").rows) is None


@pytest.mark.parametrize(
    ("four", "expected"),
    [("inside", "separated"), ("convex", "not separated"), ("0, 0; 3, 0; 0, 3; 2, 5", "not separated")],
)
def test_the_order_four_decides_the_published_and_other_configurations(four, expected):
    given = THEOREM.instance({"four": four})
    assert str(sampled.four_samples(given, given["four"])) == expected


def test_the_worked_squared_distance_is_enclosed():
    found = sampled.slow_decay(THEOREM.instance())
    assert abs(float(found.evidence["squared distance"]) - 3.835416319129202) < 1e-14


def test_inputs_are_drawn_in_thousandths_and_the_first_are_the_same_for_every_number():
    given = THEOREM.instance()
    assert case.points_of(given, 3) == case.points_of(given, 7)[:3]
    assert all((1000 * u).is_Integer for row in case.points_of(given, 7) for u in row)
    assert case.points_of(THEOREM.instance({"inputs": "drawn 1"}), 3) != case.points_of(given, 3)


def test_samples_are_the_thresholds_or_all_or_as_asked():
    assert case.counts_of(THEOREM.instance()) == (3, 4, 5, 7)
    assert case.counts_of(THEOREM.instance({"samples": "all"})) == (1, 2, 3, 4, 5, 6, 7)
    assert case.counts_of(THEOREM.instance({"samples": "6, 2"})) == (2, 6)
    assert case.counts_of(THEOREM.instance({"inputs": "1, 0; 0, 1; 1, 1; 2, -1"})) == (3, 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teacher": "3/2, 2/5"}, "no ':' between"),
        ({"teacher": "1 : 1, 2; 2 : 1"}, "coordinates"),
        ({"teacher": "1 : x"}, "teacher"),
        ({"width": "1", "teacher": "1 : 1; 2 : 2"}, "at least as many"),
        ({"inputs": "1; 2; 3"}, "inputs of 1 coordinates and a teacher of 2"),
        ({"inputs": "drawn some"}, "number of the draw"),
        ({"samples": "9", "inputs": "1, 0; 0, 1"}, "give more inputs"),
        ({"samples": "every"}, "whole number"),
        ({"four": "0, 0; 1, 1"}, "not 4 of 2"),
        ({"line": "1; 2"}, "at least 3 of 1"),
        ({"copied": "1 : 1, 2"}, "1 input"),
        ({"printed": "E4"}, "none of"),
        ({"wdith": "3"}, "width"),
    ],
)
def test_a_setting_that_is_not_accepted_says_why(settings, words):
    with pytest.raises(SettingError, match=words):
        THEOREM.instance(settings)
