from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from derivations.claim import Status
from derivations.setting_readers import integer
from derivations.theorem import Assumption, Finding, Published, Setting, Theorem, finding_of
from derivations.theorems import THEOREMS
from workbench.__main__ import main
from workbench.errors import StudyError
from workbench.measurements import MEASURES
from workbench.measurements.measured import Bench, Measured, Picture
from workbench.plots.margins import draw_margins, draw_neurons, draw_residuals
from workbench.plots.result_graph import draw_result_graph
from workbench.study import load, study_from_mapping
from workbench.theorem_report import report_theorem, theorem_study

ROOT = Theorem(
    "root_of-two & more",
    "Roots",
    ("du2018",),
    "Let $n$ be an integer with 100% of its digits.",
    (Setting("n", "4", "a whole number from 0 to 99", integer(0, 99)),),
    (Assumption("even_one", "$n$ is even.", lambda given: finding_of(given["n"] % 2 == 0, f"n_1 = {given['n']}")),),
    (
        Published("C1", "$4$ divides $n^2$.", "du2018, Theorem 1", needs=("even_one",),
                  derive=lambda given: finding_of(True, "by division", steps=("$n^2 = 4 k^2$.",), computed=0.25, expected=0.25)),
        Published("C2", "$n < 50$.", "du2018"),
        Published("C3", "$n$ is pretty.", "du2018"),
    ),
)  # fmt: skip


def measure(given: Any, bench: Any) -> Measured:
    small = given["n"] < 50
    found = Finding(Status.SUPPORTED if small else Status.REFUTED, f"n_1 = {given['n']}", computed=given["n"])
    picture = Picture(
        "graph",
        "Two nodes, $x_1$.",
        lambda: draw_result_graph([("a", 1.0, ""), ("b", 2.0, "")], [("a", "b", "")], "w"),
    )
    return Measured({"C2": found}, pictures=(picture,))


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(THEOREMS, "roots", ROOT)
    monkeypatch.setitem(MEASURES, "roots", measure)


def test_the_report_holds_derivation_verdicts_figures_and_the_study(tmp_path: Path) -> None:
    files = report_theorem(theorem_study("roots", {"n": "6"}), tmp_path, Bench(), pdf=False)
    text = files.tex.read_text()
    for part in ("100% of its", "$n^2 = 4 k^2$.", "by division", r"even\_one", "figures/graph.pdf", r"n\_1 = 6", "Neither derived",
                 r"\cite[Theorem 1]{du2018}", r"\bibitem{du2018}", "Settings of this instance"):  # fmt: skip
        assert part in text, part
    assert [path.name for path in files.figures] == ["graph.pdf"]
    claims = json.loads(files.json.read_text())["claims"]
    assert [claim["status"] for claim in claims] == ["PROVED", "SUPPORTED", "UNDECIDED"]
    assert not files.refuted


def test_an_assumption_that_fails_is_said_at_the_claim(tmp_path: Path) -> None:
    files = report_theorem(theorem_study("roots", {"n": "5"}), tmp_path, Bench(), pdf=False)
    assert r"Not asserted here: \emph{even\_one} fails" in files.tex.read_text()


def test_a_study_with_a_table_of_a_result_is_reported_as_that_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "mine.toml"
    study.write_text(
        'schema = 1\nname = "mine"\ntitle = "My roots"\n[theorem]\nname = "roots"\n[theorem.settings]\nn = 98\n'
    )
    assert load(study).theorem is not None
    assert load(study).theorem.settings == {"n": "98"}
    assert study_from_mapping(load(study).to_dict()) == load(study)
    assert main(["report", str(study), "-o", str(tmp_path / "out"), "--no-pdf"]) == 1  # C2 is refuted
    text = (tmp_path / "out" / "report.tex").read_text()
    assert r"\title{My roots}" in text
    assert "is \\textbf{refuted}" in text
    assert "report.tex" in capsys.readouterr().out


def test_the_command_reports_a_result_without_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["theorem", "report", "roots", "-o", str(tmp_path), "--no-pdf", "--set", "n=8"]) == 0
    assert (tmp_path / "report.tex").exists()
    assert "report.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "roots", "setting": {}}, "theorem.setting"),
        ({"name": "roots", "settings": {"n": True}}, "theorem.settings.n"),
        ({"settings": {}}, "theorem.name"),
    ],
)
def test_a_table_that_is_not_accepted_is_refused_with_its_key(table: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study_from_mapping({"schema": 1, "name": "mine", "theorem": table})


def test_an_unknown_result_or_setting_of_a_study_is_refused(tmp_path: Path) -> None:
    for table, message in (
        ({"name": "rots"}, "roots"),
        ({"name": "roots", "settings": {"m": "1"}}, "accepted: n"),
    ):
        with pytest.raises(StudyError, match=message):
            report_theorem(
                study_from_mapping({"schema": 1, "name": "mine", "theorem": table}),
                tmp_path,
                Bench(),
                pdf=False,
            )


def test_a_study_without_a_result_has_no_report_of_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no table"):
        report_theorem(study_from_mapping({"schema": 1, "name": "mine"}), tmp_path, Bench())


@pytest.mark.tex
def test_the_report_compiles_without_overfull_lines(tmp_path: Path) -> None:
    files = report_theorem(theorem_study("roots", {"n": "5"}), tmp_path, Bench())
    assert files.message == ""
    assert files.pdf is not None


def test_figures_refuse_what_cannot_be_drawn() -> None:
    for draw in (lambda: draw_margins([]), lambda: draw_residuals([], 2.0), lambda: draw_neurons([], {})):
        with pytest.raises(ValueError, match="found no run"):
            draw()
    with pytest.raises(ValueError, match="found no node"):
        draw_result_graph([], [], "w")
    with pytest.raises(ValueError, match="ends \\['c'\\]"):
        draw_result_graph([("a", 1.0, "")], [("a", "c", "")], "w")
