"""The report: every section in place, nothing a user wrote is run, files whole or absent, pages without overfull lines."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from derivations.claim import Claim, Status
from workbench import report, tex
from workbench.bibliography import REFERENCES, used
from workbench.report import Block, ReportContent, render, write_report
from workbench.report_content import SECTIONS, plain
from workbench.report_tables import components, listing, points, source
from workbench.report_words import abstract, completeness, opening, verdicts
from workbench.results import CriticalPoint
from workbench.tex import Tex, compile_pdf, escape


def tables_of(text: str) -> dict[str, list[str]]:
    """Return the body rows of every table by its label."""
    found = {}
    for body in re.findall(r"\\begin\{longtable\}(.*?)\\end\{longtable\}", text, re.DOTALL):
        label = re.search(r"\\label\{tab:([^}]*)\}", body)
        assert label
        rows = re.split(r" \\\\\*?\n(?!\\multicolumn)", body.split("\\endfoot\n")[1])
        found[label[1]] = [row for row in rows if row.strip()]
    return found


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_caption_says_which_points_are_certified(report_content: ReportContent) -> None:
    assert not any("Certified" in str(table.caption) for table in points(report_content))
    width = report_content.points[-1].width
    members = [p for p in report_content.points if p.width == width]
    done = [dataclasses.replace(p, status=Status.CERTIFIED) for p in members]
    (table,) = points(dataclasses.replace(report_content, points=tuple(done)))
    assert "existence and inertia: all." in str(table.caption)
    (table,) = points(dataclasses.replace(report_content, points=(*done[1:], members[0])))
    assert f"all but {members[0].id}." in str(table.caption)


def test_the_sections_stand_in_the_order_of_the_study(report_content: ReportContent) -> None:
    text = render(report_content)
    assert re.findall(r"\\section\{(.*?)\}", text) == list(SECTIONS.values())
    chosen = dataclasses.replace(report_content, sections=("graph", "problem"))
    text = render(chosen)
    assert re.findall(r"\\section\{(.*?)\}", text) == [SECTIONS["graph"], SECTIONS["problem"]]
    assert "tab:points1" not in text
    assert r"\bibitem{du2018}" not in text  # cited by a claim, and the claims are not shown


def test_what_a_user_wrote_is_escaped_and_what_was_derived_is_not(report_content: ReportContent) -> None:
    text = render(report_content)
    assert rf"\title{{{escape(report_content.title)}}}" in text
    assert r"\input{" not in text
    assert text.count(r"\end{document}") == 1
    assert r"two\_neurons-5" in text
    assert r"Every weight follows 100\% of:" in text
    assert r"\dot a_k &= -\sum_{i=1}^{n} r_i \tanh(z_{ik})" in text
    assert "&amp;" not in text


def test_tables_hold_the_numbers_of_the_records(report_content: ReportContent) -> None:
    found = tables_of(render(report_content))
    assert [len(found[f"points{width}"]) for width in range(4)] == [1, 2, 4, 2]
    assert found["points2"][2] == (
        r"m2.3 & 0.0401125 & $2.2\times 10^{-17}$ & $(1,1,4)$ & saddle & 1 & -- & 12 & m1.1 split (2)"
    )
    assert found["embeddings"][0] == (  # the failure comes first
        r"m2.1 $\to$ m3.2 & $k = 2$, $\alpha = -0.25$ & $2.0\times 10^{-16}$ & $1.0\times 10^{-17}$ & "
        r"$2.0\times 10^{-16}$ & $(0,0,6)$ & $(1,1,7)$ & $(0,2,7)$ & \textbf{no}"
    )
    assert found["embeddings"][1].endswith(r"& $(0,0,3)$ & $(1,1,4)$ & same & yes")
    assert r"null, bias 0 & 0 &" in found["embeddings"][2]
    assert len(found["descents"]) == 6 + 2
    assert found["descents"][-2].startswith(r"m2.2 & $-v_{1}$ & $\infty$ & $-0.00420$ & 0.00250 &")
    assert len(found["claims"]) == 4
    assert r"\cite[Theorem 4.1]{zhang2022hierarchical}" in found["claims"][0]
    assert r"\textbf{REFUTED}" in found["claims"][2]


def test_the_abstract_counts_what_is_there(report_content: ReportContent) -> None:
    text = abstract(report_content)
    assert "We list 1 critical point at width 0, 2 at width 1, 4 at width 2 and 2 at width 3" in text
    assert r"The lowest critical value found is $3.10000\times 10^{-31}$, at m3.1." in text
    assert "Three splitting embeddings, 1 null embedding and 6 descents join them" in text
    assert "1 more descent escapes to infinity; 1 more descent could not be resolved." in text
    assert text.endswith(
        "Of 4 claims checked, 1 is proved symbolically, 1 supported numerically, 1 undecided and 1 refuted."
    )
    fewer = dataclasses.replace(
        report_content, points=report_content.points[:2], edges=(), channels=(), claims=()
    )
    assert "We list 1 critical point at width 0 and 1 at width 1" in abstract(fewer)
    alone = dataclasses.replace(report_content, edges=(), channels=report_content.channels[:1])
    assert "No edge joins them; 1 descent escapes to infinity." in abstract(alone)
    constant = CriticalPoint(
        "m0.1", 0, {}, 0.5, 0.0, (), dataclasses.replace(report_content.points[0].inertia, positive=0)
    )
    bare = ReportContent("a", "a", "", points=[constant])
    assert "manifold: 1 constant network." in abstract(bare)
    assert tables_of(render(bare))["points0"] == ["m0.1 & 0.500000 & 0 & -- & -- & 0 & 1 & 0 & irreducible"]
    assert "symbolic sizes" in abstract(ReportContent("a", "a", ""))


def test_doubt_is_put_into_words(report_content: ReportContent) -> None:
    proved = Claim("a", "", "$1 = 1$", status=Status.PROVED)
    assert verdicts([proved, proved]) == "Of 2 claims checked, 2 are proved symbolically and none refuted."
    assert completeness(report_content).startswith("Nothing shows that the list is complete (no bound")
    for status, words in (("PROVED", "is proved to be complete"), ("SUPPORTED", "not a proof")):
        stated = dataclasses.replace(report_content, landscape_json={"completeness": {"status": status}})
        assert words in completeness(stated)
    text = render(report_content)
    assert r"\textbf{1 does not agree with the prediction} (m2.1 in m3.2)" in text
    assert r"The claim \emph{balance law} is \textbf{refuted}. Evidence:" in text
    assert r"\textquotedbl{}seed\textquotedbl{}: 3" in text
    assert "not a proof, and other directions" in text
    assert opening("13 saddles") == "In all, 13 saddles"


def test_long_tables_are_cut_and_the_json_has_every_row(
    tmp_path: Path, report_content: ReportContent, large_landscape: Any
) -> None:
    claims = [Claim("a", str(k), "$x$", status=Status.PROVED) for k in range(44)]
    claims.append(Claim("last", "", "$x$", status=Status.REFUTED, evidence={"x": 1}))
    content = dataclasses.replace(
        report_content, points=large_landscape.points, edges=(), channels=(), checks=(), claims=claims
    )
    files = write_report(content, tmp_path, pdf=False)
    text = files.tex.read_text()
    found = tables_of(text)
    assert len(found["points3"]) == 40
    assert r"20 more rows are in \texttt{report.json}" in text
    assert len(found["claims"]) == 40
    assert r"\textbf{REFUTED}" in found["claims"][0]
    assert files.refuted
    numbers = json.loads(files.json.read_text())
    assert len(numbers["critical_points"]) == 80
    assert [CriticalPoint.from_dict(p) for p in numbers["critical_points"]] == list(large_landscape.points)
    assert len(numbers["claims"]) == 45


def test_json_is_plain_whatever_a_claim_holds(tmp_path: Path) -> None:
    odd = Claim(
        "a", "", "$x$", computed=Path("x"), residual=float("nan"), evidence={1: {float("inf")}, "b": (1,)}
    )
    files = write_report(ReportContent("a", "a", "", claims=[odd]), tmp_path, pdf=False)
    text = files.json.read_text()
    assert "NaN" not in text.replace('"NaN"', "")
    claim = json.loads(text)["claims"][0]
    assert (claim["computed"], claim["residual"], claim["evidence"]) == ("x", "nan", {"1": "{inf}", "b": [1]})
    assert plain(Status.PROVED) == "PROVED"


def test_the_bibliography_lists_what_is_cited_once_by_first_use(report_content: ReportContent) -> None:
    keys = re.findall(r"\\bibitem\{(.*?)\}", render(report_content))
    assert keys == ["simsek2021", "kunin2021", "zhang2022hierarchical", "du2018", "sympy2017", "pytorch2019"]
    with pytest.raises(ValueError, match=r"'kunin2012'; did you mean 'kunin2021'\?"):
        render(dataclasses.replace(report_content, references=("kunin2012",)))
    cited = {"problem": (Block("", Tex(r"\cite[p.~3]{nobody1999}")),)}
    with pytest.raises(ValueError, match="no work is known as 'nobody1999'"):
        render(dataclasses.replace(report_content, derivations=cited))
    assert source("[own] 50%") == r"{[}own{]} 50\%"
    assert source("own definition, 50%") == r"own definition, 50\%"


def test_every_reference_is_complete() -> None:
    for key, work in REFERENCES.items():
        assert str(work.year) in work.text(), key
        assert ".." not in work.text(), key
        assert (
            key[-4:].isdigit() is False or abs(int(key[-4:]) - work.year) == 0 or not re.search(r"\d{4}", key)
        ), key
        assert re.fullmatch(r"(\d{4}\.\d{5})?", work.arxiv), key
        assert re.fullmatch(r"(10\.\d+/\S+)?", work.doi), key
    assert used([]) == []


def test_files_and_figures_are_written(tmp_path: Path, report_content: ReportContent) -> None:
    told: list[tuple[float, str]] = []

    class Listener:
        @contextmanager
        def stage(self, title: str, weight: float = 1.0) -> Any:
            yield lambda fraction, detail="": told.append((fraction, detail))

    files = write_report(report_content, tmp_path / "new" / "out", pdf=False, progress=Listener())
    assert files_below(tmp_path / "new" / "out") == [
        "figures/graph.pdf", "figures/spectra.pdf", "report.json", "report.tex",
    ]  # fmt: skip
    assert files.pdf is None
    assert files.message == ""
    for path in files.figures:
        assert f"{{figures/{path.name}}}" in files.tex.read_text()
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, report_content: ReportContent) -> None:
    for name in ("a", "b"):
        write_report(report_content, tmp_path / name, pdf=False)
    for name in files_below(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_pdf_of_an_earlier_source_goes(
    tmp_path: Path, report_content: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.pdf").write_text("old")
    (tmp_path / "mine.txt").write_text("kept")
    monkeypatch.setattr(tex.shutil, "which", lambda _: None)
    files = write_report(report_content, tmp_path)
    assert files.pdf is None
    assert "apt-get install" in files.message
    assert not (tmp_path / "report.pdf").exists()
    assert (tmp_path / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("survive", range(4))
def test_a_failure_at_any_file_leaves_only_whole_files(
    survive: int, tmp_path: Path, report_content: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_report(report_content, tmp_path / "whole", pdf=False)
    folder = tmp_path / "out"
    real, count = os.replace, iter(range(100))

    def refuse(old: Any, new: Any) -> None:
        if next(count) >= survive:
            raise OSError("disk full")
        real(old, new)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_report(report_content, folder, pdf=False)
    order = ["figures/spectra.pdf", "figures/graph.pdf", "report.json", "report.tex"]
    assert files_below(folder) == sorted(order[:survive])
    for name in order[:survive]:
        assert (folder / name).read_bytes() == (whole.tex.parent / name).read_bytes()


def test_a_name_the_template_is_not_given_is_an_error_before_anything_is_written(
    tmp_path: Path, report_content: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    for path in report.TEMPLATES.iterdir():
        (templates / path.name).write_text(
            path.read_text().replace("content.study_name", "content.study_nmae")
        )
    monkeypatch.setattr(report, "TEMPLATES", templates)
    with pytest.raises(UndefinedError, match="study_nmae"):
        write_report(report_content, tmp_path / "out", pdf=False)
    assert not (tmp_path / "out").exists()


def test_bad_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 'grap'; accepted: problem"):
        ReportContent("a", "a", "", sections=("grap",))
    with pytest.raises(ValueError, match="twice"):
        ReportContent("a", "a", "", sections=("graph", "graph"))
    with pytest.raises(TypeError, match=r"mark it so: Tex"):
        Block("a", display="x^2")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="found a file; accepted: a folder"):
        write_report(ReportContent("a", "a", ""), tmp_path / "file")


def test_entries_of_a_block_are_written_out() -> None:
    assert components("a", [0.5, -1e-20]) == ["$a_{1} = 0.5$", "$a_{2} = 0$"]
    assert components("w", [[1.0, 2.0]]) == ["$w_{11} = 1$", "$w_{12} = 2$"]
    assert components("c", 3.0) == ["$c = 3$"]
    assert components("W2", [[1.0], [2.0]]) == ["$W^{(2)}_{1} = 1$", "$W^{(2)}_{2} = 2$"]
    assert components("my_p", 1.0) == [r"$\mathrm{my\_p} = 1$"]
    assert components("a", [1.0] * 11)[10] == "$a_{11} = 1$"


def test_a_listing_loses_no_character() -> None:
    line = "x = [" + ", ".join(str(k / 7) for k in range(40)) + "]"
    lines = listing(f"a\n\n{line}\n")
    assert lines[:2] == [r"\mbox{}a", r"\mbox{}"]
    back = "".join(part.removeprefix(r"\mbox{}").removeprefix(r"\quad{}") for part in lines[2:])
    assert back.replace("~", " ").replace("{[}", "[").replace("{]}", "]") == line
    assert listing("a\n" * 500)[-1] == r"\emph{350 more lines}"


@pytest.mark.tex
def test_the_pdf_has_no_overfull_line_and_no_dangling_reference(
    tmp_path: Path, report_content: ReportContent
) -> None:
    files = write_report(report_content, tmp_path)
    assert files.message == ""
    assert files.pdf == tmp_path / "report.pdf"
    assert files_below(tmp_path) == [
        "figures/graph.pdf", "figures/spectra.pdf", "report.json", "report.pdf", "report.tex",
    ]  # fmt: skip
    first = files.pdf.read_bytes()
    result = compile_pdf(files.tex)
    assert max(result.overfull, default=0) <= 5
    assert result.undefined == ()
    assert result.pdf is not None
    assert result.pdf.read_bytes() == first


@pytest.mark.tex
def test_wide_numbers_and_long_tables_fit_the_page(
    tmp_path: Path, report_content: ReportContent, large_landscape: Any
) -> None:
    def widened(p: CriticalPoint) -> CriticalPoint:
        wide = dataclasses.replace(p.inertia, negative=12, zero=34, positive=56)
        levels = (-0.1,) * 12 + (0.0,) * 34 + (1.0,) * 56
        return dataclasses.replace(
            p, value=p.value * 1e-9, inertia=wide, eigenvalues=levels, found=123456, orbit_size=46080,
            stratum="m2.13 split (3, 2) with 2 dead neurons", manifold_dimension=12,
        )  # fmt: skip

    big = report_content.checks[0].inertia_before
    big = dataclasses.replace(big, negative=12, zero=34, positive=56)
    checks = [
        dataclasses.replace(c, inertia_before=big, inertia_after=big, predicted=c.inertia_after, alpha=-0.123)
        for c in report_content.checks * 20
    ]
    content = dataclasses.replace(
        report_content,
        points=[widened(p) for p in large_landscape.points],
        edges=large_landscape.edges,
        channels=(),
        checks=checks,
        claims=report_content.claims * 15,
    )
    result = compile_pdf(write_report(content, tmp_path, pdf=False).tex)
    assert result.message == ""
    assert max(result.overfull, default=0) <= 5
    assert result.undefined == ()


@pytest.mark.tex
@pytest.mark.parametrize("sections", [(), ("problem",), tuple(SECTIONS)])
def test_an_empty_report_compiles(tmp_path: Path, sections: tuple[str, ...]) -> None:
    files = write_report(ReportContent("a", "a", "schema = 1\n", sections=sections), tmp_path)
    assert files.message == ""
    assert files.pdf is not None
    assert not files.figures
