"""The result on early alignment: derivations that end in zeros, assumptions that fail, wrong statements that are refuted."""

import dataclasses
import math

import pytest

from derivations.claim import Status
from derivations.correlation_proofs import kkt_list
from derivations.theorem import Finding, SettingError, verdict
from derivations.theorems.directional_convergence import THEOREM, resting_neuron

DERIVED = ("C1", "C1.1", "C2", "C3", "C4", "C5.1", "C7", "C8", "C8.1", "C9")


def statuses(**settings: str) -> dict[str, Status]:
    instance = THEOREM.instance(settings)
    found = instance.findings()
    return {claim.label: verdict(claim, instance, found, None).status for claim in THEOREM.claims}


@pytest.mark.parametrize(
    "settings",
    [{}, {"data": "three"}, {"loss": "logistic"}, {"activation": "leaky_relu(1/10)", "width": "5"}],
)
def test_what_has_a_derivation_is_proved_and_limits_are_not(settings: dict[str, str]) -> None:
    found = statuses(**settings)
    assert {label for label, status in found.items() if status is Status.PROVED} == set(DERIVED)
    assert all(found[label] is Status.UNDECIDED for label in found if label not in DERIVED)


@pytest.mark.parametrize(
    ("settings", "refuted"),
    [
        ({"flow": "ascent"}, {"C3", "C4", "C8", "C8.1", "C9"}),
        ({"loss": "logistic", "factor": "plain"}, {"C4"}),
    ],
)
def test_a_wrong_sign_and_a_missing_factor_are_refuted(settings: dict[str, str], refuted: set[str]) -> None:
    assert {label for label, status in statuses(**settings).items() if status is Status.REFUTED} == refuted


@pytest.mark.parametrize(
    ("assumption", "settings", "claim"),
    [
        ("two-homogeneous", {"activation": "tanh"}, "C1"),
        ("two-homogeneous", {"activation": "quadratic"}, "C3"),
        ("correlated", {"data": "1, 2 : 0; 2, 1 : 0"}, "C5"),
        ("small start", {"scales": "1/2, 1/4"}, "C5"),
        ("square loss", {"loss": "logistic"}, "C6"),
        ("distinct modes", {"modes": "2, 2"}, "C7"),
        ("distinct modes", {"modes": "2, 0"}, "C7"),
        ("deep", {"depth": "2"}, "C9"),
    ],
)
def test_each_assumption_that_fails_changes_the_verdict(
    assumption: str, settings: dict[str, str], claim: str
) -> None:
    instance = THEOREM.instance(settings)
    found = instance.findings()
    assert found[assumption].status is Status.REFUTED
    published = next(one for one in THEOREM.claims if one.label == claim)
    told = verdict(published, instance, found, Finding(Status.SUPPORTED, "measured"))
    assert told.status is Status.UNDECIDED
    assert assumption in told.evidence["assumptions that fail"]


def test_without_a_resting_neuron_the_saddle_is_at_most_supported() -> None:
    instance = THEOREM.instance()
    found = dict(instance.findings())
    assert found["resting neuron"].status is Status.PROVED
    found["resting neuron"] = Finding(Status.UNDECIDED, "on a kink")
    claim = next(one for one in THEOREM.claims if one.label == "C6")
    assert verdict(claim, instance, found, Finding(Status.CERTIFIED, "")).status is Status.UNDECIDED


def test_the_kkt_directions_are_the_published_ones_with_their_clarke_coefficients() -> None:
    points = {}
    for settings in (
        {"data": "three"},
        {"data": "three", "activation": "leaky_relu(1/10)"},
        {"data": "five"},
    ):
        derive = next(one.derive for one in THEOREM.claims if one.label == "C1.1")
        assert derive is not None
        points[tuple(settings.values())] = derive(THEOREM.instance(settings)).evidence["points"]
    relu = points["three",]
    by_value = sorted(relu, key=lambda p: -p["G"])
    assert by_value[0]["direction in numbers"] == pytest.approx([0.9955557351, -0.0941741912], abs=1e-10)
    assert by_value[0]["G"] == pytest.approx(1.4866068747, abs=1e-10)
    assert by_value[1]["direction in numbers"] == pytest.approx([-0.4472135955, 0.8944271910], abs=1e-10)
    assert by_value[1]["G"] == pytest.approx(-0.5142956348, abs=1e-10)
    assert by_value[1]["clarke coefficients"] == {"1": "2/25"}
    leaky = sorted(points["three", "leaky_relu(1/10)"], key=lambda p: -p["G"])
    assert leaky[0]["direction in numbers"] == pytest.approx([0.9920205612, -0.1260761917], abs=1e-10)
    assert [p["G"] for p in leaky] == pytest.approx([1.5070252154, -0.5941380311], abs=1e-10)
    assert leaky[1]["direction in numbers"] == pytest.approx([-0.5015669498, 0.8651188328], abs=1e-10)
    five = sorted(points["five",], key=lambda p: -p["G"])
    assert [p["G"] for p in five] == pytest.approx([2.1323461257, -0.8495881355], abs=1e-10)


def test_parallel_and_antipodal_samples_give_no_spurious_points() -> None:
    """y s(u.x) - y s(-u.x) = y u.x is smooth: of the two KKT directions +-x none lies on the kink."""
    derive = next(one.derive for one in THEOREM.claims if one.label == "C1.1")
    assert derive is not None
    found = derive(THEOREM.instance({"data": "1, 2 : 1; -1, -2 : -1"}))
    assert found.status is Status.PROVED
    assert sorted(p["G"] for p in found.evidence["points"]) == pytest.approx([-math.sqrt(5), math.sqrt(5)])


def test_the_saddle_of_one_neuron_is_the_published_one() -> None:
    neuron = resting_neuron(THEOREM.instance())
    assert neuron is not None
    assert neuron.active == (1, 2, 3)
    assert [float(u) for u in neuron.beta] == pytest.approx([1.0124481328, 0.4172429692], abs=1e-10)
    residual = [
        -0.0958967268,
        0.0569386811,
        0.0839096363,
        -0.6,
        -0.3,
    ]  # the published digits are right to 6e-10
    assert [float(u) for u in neuron.residual] == pytest.approx(residual, abs=1e-9)
    assert float(neuron.loss) == pytest.approx(0.2347395113, abs=1e-10)
    assert all(u == 0 for u in neuron.gradient)


def test_a_planted_statement_is_refuted_with_its_ground() -> None:
    claim = next(one for one in THEOREM.claims if one.label == "C9")
    wrong = dataclasses.replace(
        claim, derive=lambda given: dataclasses.replace(claim.derive(given), status=Status.REFUTED)
    )
    instance = THEOREM.instance()
    assert verdict(wrong, instance, instance.findings(), None).status is Status.REFUTED


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": "1 : 2"}, "add the constant 1"),
        ({"data": "sqrt(2), 1 : 2"}, "not rational"),
        ({"scales": "0.1, 0"}, "not above 0"),
        ({"scales": "2"}, "above 1"),
        ({"start": "0, 0, 0"}, "all numbers are 0"),
        ({"flow": "up"}, "none of descent, ascent"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_what_is_accepted(
    settings: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        THEOREM.instance(settings)


def test_the_residual_correlation_of_the_saddle_has_the_published_directions() -> None:
    given = THEOREM.instance()
    neuron = resting_neuron(given)
    assert neuron is not None
    found = kkt_list(given["activation"], given["data"].x, neuron.residual)
    assert found.status is Status.PROVED
    points = sorted(found.evidence["points"], key=lambda p: p["G"])
    assert [p["G"] for p in points] == pytest.approx([-0.8495881355, 0.0312664636], abs=1e-9)
    assert points[0]["direction in numbers"] == pytest.approx([-0.6709133240, 0.7415357791], abs=1e-10)
    assert points[1]["direction in numbers"] == pytest.approx([0.1961161351, -0.9805806757], abs=1e-10)
    numerator, denominator = points[1]["clarke coefficients"]["1"].split("/")
    assert int(numerator) / int(denominator) == pytest.approx(0.4110576923, abs=1e-9)
