"""Every assumption, removed, changes the verdicts that need it; a wrong orientation is refuted; settings that cannot be read are refused."""

from __future__ import annotations

import pytest
from sympy import Integer, Rational

from derivations.claim import Status
from derivations.theorem import SettingError, verdict
from derivations.theorems.shallow_relu_affine import THEOREM

P, R, U = Status.PROVED, Status.REFUTED, Status.UNDECIDED
DERIVED = {"C1", "C2", "C3", "C3.1", "C3.2", "C4", "C4.1", "C5", "C6", "C7.1"}
MEASURED = {"C7", "C7.2"}


def verdicts(**chosen: str) -> dict[str, Status]:
    given = THEOREM.instance(chosen)
    found = given.findings()
    return {claim.label: verdict(claim, given, found, None).status for claim in THEOREM.claims}


def labels(found: dict[str, Status], status: Status) -> set[str]:
    return {label for label, one in found.items() if one is status}


def test_the_default_instance_is_derived_and_what_runs_do_is_left_to_be_measured() -> None:
    found = verdicts()
    assert labels(found, P) == DERIVED
    assert labels(found, U) == MEASURED


@pytest.mark.parametrize(
    "chosen",
    [
        {"interval": "-1, 2", "target": "3 - 2*x", "width": "2"},
        {"activation": "leaky_relu(1/9)", "width": "1"},
        {"width": "2", "slope": "4/9", "target": "x/3 + 7"},
    ],
)
def test_other_intervals_targets_widths_and_slopes_are_derived_with_the_same_rigour(
    chosen: dict[str, str],
) -> None:
    assert labels(verdicts(**chosen), P) == DERIVED


@pytest.mark.parametrize(
    ("assumption", "chosen", "lost"),
    [
        ("affine target", {"target": "x**2"}, DERIVED - {"C1", "C3.1"}),
        ("slope not 0", {"target": "3"}, DERIVED - {"C1", "C3.1"}),
        ("two slopes", {"activation": "quadratic", "width": "1"}, {"C2", "C6"}),
        ("values known", {"activation": "tanh", "width": "1"}, {"C2", "C6"}),
    ],
)
def test_without_an_assumption_the_claims_that_need_it_are_not_asserted(
    assumption: str, chosen: dict[str, str], lost: set[str]
) -> None:
    assert THEOREM.instance(chosen).findings()[assumption].status is R
    found = verdicts(**chosen)
    assert labels(found, U) == lost | MEASURED
    assert not labels(found, R)


def test_turned_orientations_are_refuted_by_a_gradient_that_is_not_zero() -> None:
    given = THEOREM.instance({"orientation": "swapped"})
    claim = next(one for one in THEOREM.claims if one.label == "C3")
    found = verdict(claim, given, given.findings(), None)
    assert found.status is R
    assert "w = -1, 1 at the kinks 1/3, 2/3" in found.evidence["derivation"]["reason"]
    # dL/dv of the left-oriented neuron 2/3 - x with w = -1 at 1/3: by hand 2 * integral over [0, 1/3] of r (1/3 - x).
    v, c = Rational(2, 3), Rational(1, 2)
    # f = c - v (1/3 - x)+ + v (x - 2/3)+ with v w = 2/3 at both; on [0, 1/3] r = c - v/3 + v x - x.
    third = Rational(1, 3)
    constant, slope = c - v * third, v - 1
    wanted = 2 * (constant * third**2 / 2 + slope * third**3 / 6)
    assert Rational(found.computed) == wanted


def test_the_leaky_slope_is_that_of_the_activation_where_it_has_one() -> None:
    claim = next(one for one in THEOREM.claims if one.label == "C4")
    for chosen, g in (({"activation": "leaky_relu(1/9)"}, "1/9"), ({"slope": "4/9"}, "4/9")):
        given = THEOREM.instance({**chosen, "width": "1"})
        assert f"g = {g};" in verdict(claim, given, given.findings(), None).evidence["derivation"]["reason"]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"slope": "1"}, "no kink"),
        ({"slope": "0"}, "not above 0"),
        ({"slope": "sqrt(2)/2"}, "not rational"),
        ({"interval": "1, 0"}, "not above the lower"),
        ({"interval": "1"}, "two ends"),
        ({"width": "5"}, "not between 1 and 4"),
        ({"target": "x*y"}, "y"),
        ({"target": "sqrt(-1)"}, "real"),
        ({"activation": "rellu"}, "relu"),
        ({"orientation": "other"}, "swapped"),
        ({"widht": "2"}, "width"),
    ],
)
def test_settings_that_cannot_be_read_are_refused(chosen: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        THEOREM.instance(chosen)


def test_the_interval_is_exact() -> None:
    assert THEOREM.instance({"interval": "0.5, 3"})["interval"] == (Rational(1, 2), Integer(3))
