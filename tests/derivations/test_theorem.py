from __future__ import annotations

from dataclasses import replace

import pytest
from sympy import symbols

from derivations.claim import Status
from derivations.setting_readers import integer
from derivations.theorem import (
    Assumption,
    Finding,
    Published,
    Setting,
    SettingError,
    Theorem,
    finding_of,
    verdict,
    zero_finding,
)

EVEN = Theorem(
    "even-square",
    "Squares of even numbers",
    (),
    "Let $n$ be an integer.",
    (Setting("n", "4", "a whole number from 0 to 99", integer(0, 99)),),
    (Assumption("even", "$n$ is even.", lambda given: finding_of(given["n"] % 2 == 0, f"n = {given['n']}")),),
    (
        Published(
            "C1",
            "$4$ divides $n^2$.",
            "",
            needs=("even",),
            derive=lambda given: finding_of(given["n"] ** 2 % 4 == 0),
        ),
        Published("C2", "$n$ is small.", ""),
    ),
)
SEEN = Finding(Status.SUPPORTED, "seen")


def status(n: str, label: str = "C1", measured: Finding | None = None, theorem: Theorem = EVEN) -> Status:
    given = theorem.instance({"n": n})
    claim = next(one for one in theorem.claims if one.label == label)
    return verdict(claim, given, given.findings(), measured).status


def test_a_claim_is_proved_where_its_assumption_holds() -> None:
    assert status("4") is Status.PROVED


def test_a_claim_whose_assumption_fails_is_undecided_whatever_was_measured() -> None:
    assert status("3") is Status.UNDECIDED
    assert status("3", measured=SEEN) is Status.UNDECIDED
    assert status("3", measured=Finding(Status.REFUTED, "not so")) is Status.UNDECIDED


def test_an_open_assumption_leaves_at_most_what_was_measured() -> None:
    open_one = replace(EVEN, assumptions=(Assumption("even", "", lambda given: finding_of(None)),))
    assert status("4", theorem=open_one) is Status.UNDECIDED
    assert status("4", theorem=open_one, measured=SEEN) is Status.SUPPORTED
    assert status("4", theorem=open_one, measured=Finding(Status.REFUTED)) is Status.UNDECIDED


def test_a_measurement_that_refutes_goes_before_a_derivation_that_proves() -> None:
    assert status("4", measured=Finding(Status.REFUTED, "not so")) is Status.REFUTED


def test_a_claim_without_derivation_and_measurement_is_undecided() -> None:
    assert status("4", "C2") is Status.UNDECIDED
    assert status("4", "C2", SEEN) is Status.SUPPORTED


def test_the_evidence_holds_settings_reasons_and_failed_assumptions() -> None:
    given = EVEN.instance({"n": "3"})
    evidence = verdict(EVEN.claims[0], given, given.findings(), SEEN).evidence
    assert evidence["settings"] == {"n": "3"}
    assert evidence["assumptions that fail"] == {"even": "n = 3"}
    assert evidence["measurement"]["reason"] == "seen"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"m": "4"}, "even-square: found the setting 'm'; accepted: n"),
        (
            {"n": "x"},
            "even-square: n: found 'x' \\(no whole number\\); accepted: a whole number from 0 to 99",
        ),
        ({"n": "100"}, "not between 0 and 99"),
    ],
)
def test_a_setting_that_is_not_accepted_is_refused_with_what_is(chosen: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        EVEN.instance(chosen)


def test_a_claim_that_needs_an_assumption_that_is_not_stated_is_refused() -> None:
    with pytest.raises(ValueError, match="C1 needs"):
        replace(EVEN, assumptions=())


def test_zeros_prove_a_value_refutes_and_the_rest_is_undecided() -> None:
    u, v = symbols("u v", positive=True)
    assert zero_finding({"a": (u + v) ** 2 - u**2 - 2 * u * v - v**2}, "").status is Status.PROVED
    found = zero_finding({"a": u - u, "b": u * v - 1}, "")
    assert found.status is Status.REFUTED
    assert "b: u*v - 1 is left, which is -2/7" in found.reason
    # Zero where it is looked at, and not everywhere.
    assert zero_finding({"a": u - symbols("a", positive=True) * u * 7 / 3}, "").status is not Status.PROVED
