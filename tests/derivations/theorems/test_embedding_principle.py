"""Every assumption, removed, changes the verdicts that need it; the undivided rule is refuted; settings that cannot be read are refused."""

from __future__ import annotations

import pytest
import torch

from derivations.claim import Status
from derivations.theorem import SettingError, verdict
from derivations.theorems.embedding_principle import THEOREM

P, R, U = Status.PROVED, Status.REFUTED, Status.UNDECIDED
DERIVED = {"C1", "C1.1", "C2", "C3", "C5", "C6", "C7", "C8", "C9", "C12", "C13", "C14", "C15"}
MEASURED = {"C4", "C10", "C11"}
NEEDS_SHARES = {"C1", "C1.1", "C3", "C5", "C6", "C7", "C8"}


def verdicts(**chosen: str) -> dict[str, Status]:
    given = THEOREM.instance(chosen)
    found = given.findings()
    return {claim.label: verdict(claim, given, found, None).status for claim in THEOREM.claims}


def labels(found: dict[str, Status], status: Status) -> set[str]:
    return {label for label, one in found.items() if one is status}


@pytest.mark.parametrize(
    "chosen", [{}, {"activation": "sigmoid", "bias": "no", "width": "2", "data": "exact plane"}]
)
def test_maps_and_laws_are_derived_and_what_points_there_are_is_left_to_be_measured(
    chosen: dict[str, str],
) -> None:
    found = verdicts(**chosen)
    assert labels(found, P) == DERIVED
    assert labels(found, U) == MEASURED


@pytest.mark.parametrize(
    ("assumption", "chosen", "lost"),
    [
        ("shares", {"fractions": "1/2, 1/4"}, NEEDS_SHARES),
        ("no weight decay", {"decay": "1/10"}, DERIVED),
        ("smooth", {"activation": "relu"}, {"C5", "C6", "C7", "C8", "C9", "C12"}),
    ],
)
def test_without_an_assumption_the_claims_that_need_it_are_not_asserted(
    assumption: str, chosen: dict[str, str], lost: set[str]
) -> None:
    assert THEOREM.instance(chosen).findings()[assumption].status is R
    found = verdicts(**chosen)
    assert lost <= labels(found, U)
    assert labels(found, P) == DERIVED - lost


def test_a_polynomial_activation_has_no_classification() -> None:
    given = THEOREM.instance({"activation": "z**3"})
    assert given.findings()["analytic"].status is R
    assert THEOREM.instance({"activation": "relu"}).findings()["analytic"].status is R
    assert "analytic" in next(one.needs for one in THEOREM.claims if one.label == "C10")


def test_the_undivided_rule_is_refuted() -> None:
    assert verdicts(rule="undivided")["C8"] is R


def test_the_curve_is_that_of_the_sheet() -> None:
    samples = THEOREM.instance()["data"]
    x = torch.linspace(-5, 5, 21, dtype=torch.float64)
    y = torch.tanh(1.5 * (x + 1.5)) + 0.4 * torch.tanh(2 * x - 0.5) + 0.6 * torch.tanh(1.2 * (x - 1.5))
    assert [float(row[0]) for row in samples.x] == pytest.approx(x.tolist())
    assert [float(u) for u in samples.y] == pytest.approx(y.tolist(), abs=5.1e-7)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"data": "other"}, "exact line"),
        ({"data": "1 : 2; 1, 2 : 3"}, "same number of inputs"),
        ({"data": "1 : 2; 3"}, "has no target"),
        ({"fractions": "1"}, "2 to 4 copies"),
        ({"decay": "-1"}, "negative"),
        ({"width": "9"}, "not between 1 and 3"),
        ({"bias": "maybe"}, "yes"),
        ({"fraction": "1/2, 1/2"}, "fractions"),
    ],
)
def test_settings_that_cannot_be_read_are_refused(chosen: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        THEOREM.instance(chosen)
