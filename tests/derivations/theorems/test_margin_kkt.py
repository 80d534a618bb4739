"""Every assumption, removed, changes the verdicts that need it; nothing is measured here."""

from __future__ import annotations

import pytest

from derivations.claim import Status
from derivations.theorem import SettingError, verdict
from derivations.theorems.margin_kkt import THEOREM

P, R, U = Status.PROVED, Status.REFUTED, Status.UNDECIDED


def verdicts(**chosen: str) -> dict[str, Status]:
    given = THEOREM.instance({name.rstrip("_"): text for name, text in chosen.items()})
    found = given.findings()
    return {claim.label: verdict(claim, given, found, None).status for claim in THEOREM.claims}


DERIVED = ("C1", "C2", "C3.1", "C4.1", "C6.1", "C6.2", "C6.3", "C7", "C9.1", "C10")


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_the_default_instance_is_derived_and_what_concerns_limits_is_left_to_be_measured(loss: str) -> None:
    found = verdicts(loss=loss)
    assert {label for label, status in found.items() if status is P} == set(DERIVED)
    assert {label for label, status in found.items() if status is U} == set(found) - set(DERIVED)


@pytest.mark.parametrize(
    ("assumption", "chosen", "lost"),
    [
        ("homogeneous", {"activation": "tanh"}, {"C1", "C2", "C3.1", "C4.1", "C7", "C10"}),
        ("separated", {"from_": "start"}, {"C1", "C2", "C4.1"}),
        ("linearly separable", {"data": "1, 0 : 1; -1, 0 : 1"}, {"C6.1", "C6.2", "C6.3", "C7"}),
        ("symmetric data", {"data": "separable"}, {"C7"}),
        ("leaky ReLU", {"activation": "abs"}, {"C7"}),
        ("two-layer", {"widths": "3, 2"}, {"C7", "C10"}),
        ("piecewise linear", {"activation": "relu(z)**2"}, {"C7", "C10"}),
        ("wide angle", {"angle": "55"}, {"C9.1"}),
        ("small start", {"scale": "1/2"}, set()),
    ],
)
def test_an_assumption_that_fails_changes_the_verdicts_that_need_it(
    assumption: str, chosen: dict[str, str], lost: set[str]
) -> None:
    given = THEOREM.instance({name.rstrip("_"): text for name, text in chosen.items()})
    assert given.findings()[assumption].status is R
    assert given.findings()[assumption].reason
    found = verdicts(**chosen)
    assert {label for label in DERIVED if found[label] is not P} == lost
    assert R not in found.values()
    assert any(assumption in claim.needs for claim in THEOREM.claims)


def test_an_activation_of_degree_below_one_is_not_locally_lipschitz() -> None:
    found = THEOREM.instance({"activation": "relu(z)**(1/2)"}).findings()["locally Lipschitz"]
    assert found.status in (R, U)
    assert verdicts(activation="relu(z)**(1/2)")["C1"] is U


@pytest.mark.parametrize("widths", ["1", "4", "5, 3", "2, 2, 2"])
@pytest.mark.parametrize("activation", ["relu", "linear", "monomial(2)", "leaky_relu(1/3)"])
def test_the_degree_is_proved_for_other_activations_and_depths(activation: str, widths: str) -> None:
    found = THEOREM.instance({"activation": activation, "widths": widths}).findings()["homogeneous"]
    layers, power = widths.count(",") + 2, 2 if activation == "monomial(2)" else 1
    assert found.status is P
    assert found.reason.endswith(f"L = {sum(power**u for u in range(layers))}")


def test_the_flow_with_its_sign_turned_is_refuted() -> None:
    found = verdicts(flow="ascent")
    assert found["C1"] is R
    assert R not in [status for label, status in found.items() if label != "C1"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("width", "4", "did you mean 'widths'"),
        ("widths", "0", "not between 1 and 200"),
        ("activation", "relus", "did you mean 'relu'"),
        ("data", "1, 2", "accepted: symmetric, separable"),
        ("loss", "square", "accepted: exponential, logistic"),
        ("scale", "2", "above 1"),
        ("angle", "30", "not above 45"),
        ("target", "2000", "not between 10 and 1200"),
    ],
)
def test_a_setting_that_is_not_accepted_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        THEOREM.instance({name: text})
