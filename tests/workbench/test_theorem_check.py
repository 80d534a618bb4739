from __future__ import annotations

import json
from typing import Any

import pytest

from derivations.claim import Status
from derivations.setting_readers import integer
from derivations.theorem import Assumption, Finding, Published, Setting, Theorem, finding_of
from derivations.theorems import THEOREMS
from workbench import theorem_check
from workbench.__main__ import main
from workbench.bibliography import REFERENCES
from workbench.errors import StudyError
from workbench.measurements import MEASURES
from workbench.measurements.measured import Measured
from workbench.report_tables import source
from workbench.theorem_check import check

EVEN = Theorem(
    "even-square",
    "Squares of even numbers",
    ("du2018",),
    "Let $n$ be an integer.",
    (Setting("n", "4", "a whole number from 0 to 99", integer(0, 99)),),
    (Assumption("even", "$n$ is even.", lambda given: finding_of(given["n"] % 2 == 0, f"n = {given['n']}")),),
    (
        Published(
            "C1",
            "$4$ divides $n^2$.",
            "du2018",
            needs=("even",),
            derive=lambda given: finding_of(True, "division"),
        ),
        Published("C2", "$n < 50$.", "du2018"),
    ),
)


def measure(given: Any, bench: Any) -> Measured:
    small = given["n"] < 50
    found = Finding(
        Status.SUPPORTED if small else Status.REFUTED, f"n = {given['n']}", computed=given["n"], expected=50
    )
    return Measured({"C2": found})


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(THEOREMS, EVEN.name, EVEN)
    monkeypatch.setitem(MEASURES, EVEN.name, measure)


@pytest.mark.parametrize("name", sorted(THEOREMS))
def test_every_result_has_a_measurement_known_sources_and_labels_once(name: str) -> None:
    result = THEOREMS[name]
    assert name in MEASURES
    assert set(result.sources) <= set(REFERENCES)
    labels = [claim.label for claim in result.claims]
    assert len(set(labels)) == len(labels)
    assert len({setting.name for setting in result.settings}) == len(result.settings)
    for claim in result.claims:
        assert claim.statement.count("$") % 2 == 0
        assert claim.source.partition(",")[0] in REFERENCES
        assert source(claim.source).startswith(r"\cite")
    for setting in result.settings:
        setting.read(setting.default)


def test_check_joins_derivations_and_measurements() -> None:
    found = check("even-square")
    assert [str(claim.status) for claim in found.claims] == ["PROVED", "SUPPORTED"]
    assert not found.refuted
    assert [str(claim.status) for claim in check("even-square", {"n": "3"}).claims] == [
        "UNDECIDED",
        "SUPPORTED",
    ]


def test_the_json_is_that_of_the_schema() -> None:
    content = check("even-square").to_dict()
    assert content["schema"] == 1
    assert set(content["claims"][0]) == {
        "name", "claim", "statement", "source", "relation", "status", "computed", "expected", "residual", "tolerance", "evidence",
    }  # fmt: skip
    assert content["assumptions"] == [
        {"name": "even", "statement": "$n$ is even.", "status": "PROVED", "reason": "n = 4"}
    ]
    json.dumps(content, allow_nan=False)


def test_a_result_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(StudyError, match="even-square"):
        check("even-squares")


def test_a_measurement_of_a_claim_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        theorem_check.MEASURES, EVEN.name, lambda given, bench: Measured({"C9": Finding(Status.SUPPORTED)})
    )
    with pytest.raises(ValueError, match="C9"):
        check("even-square")


# -- the command line


def test_list_names_every_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorem", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in THEOREMS)


@pytest.mark.parametrize("name", sorted(THEOREMS))
def test_show_tells_setting_assumptions_claims_and_sources(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["theorem", "show", name]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("Settings", "Assumptions", "Claims", "C1"))
    assert all(f"[{key}]" in out for key in THEOREMS[name].sources)


def test_check_prints_the_verdicts_and_ends_with_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorem", "check", "even-square"]) == 0
    assert "1 PROVED, 1 SUPPORTED" in capsys.readouterr().out
    assert main(["theorem", "check", "even-square", "--set", "n=98"]) == 1
    out = capsys.readouterr().out
    assert "1 REFUTED" in out
    assert "Counterexample: n = 98" in out


def test_json_goes_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorem", "check", "even-square", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["theorem"] == "even-square"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["theorem", "check", "even"], "even-square"),
        (["theorem", "show", "even"], "even-square"),
        (["theorem", "check", "even-square", "--set", "m=4"], "accepted: n"),
        (["theorem", "check", "even-square", "--set", "n=four"], "no whole number"),
        (["theorem", "check", "even-square", "--set", "n"], "KEY=VALUE"),
        (["theorem", "check", "even-square", "--set", "n=2", "--set", "n=4"], "set twice"),
        (["theorem", "check"], "NAME"),
        (["theorem"], "theorem"),
    ],
)
def test_bad_input_is_a_message_and_status_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not captured.out
    assert "Traceback" not in captured.err
