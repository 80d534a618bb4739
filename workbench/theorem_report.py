r"""The report of a result of the library: its setting, the assumptions on the instance, derivations, verdicts, figures and graph.

>>> from derivations.theorem import Assumption, Published, Theorem, finding_of, verdict
>>> result = Theorem("even", "Even numbers", (), "Let $n = 4$.", (),
...     (Assumption("even", "$n$ is even.", lambda given: finding_of(True, "division")),),
...     (Published("C1", "$4$ divides $n^2$.", "", needs=("even",), derive=lambda given: finding_of(True, "division")),))
>>> given = result.instance()
>>> claims = tuple(verdict(one, given, given.findings(), None) for one in result.claims)
>>> checked = Checked(result, {}, given.findings(), claims, None, (), 0.0)
>>> theorem_content(checked, "even", "Even numbers", "", {}).sections
('result', 'assumptions', 'proofs', 'verification')
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derivations.claim import Claim
from workbench.measurements.measured import Bench
from workbench.report import ReportFiles, write_report
from workbench.report_content import Block, ReportContent
from workbench.tex import Tex, breakable, number
from workbench.theorem_check import Checked, check

if TYPE_CHECKING:
    from workbench.study import Study

__all__ = ["report_theorem", "theorem_content", "theorem_study"]

LIBRARIES = ("sympy2017", "pytorch2019", "networkx2008", "matplotlib2007")


def theorem_study(name: str, settings: Mapping[str, str]) -> Study:
    """Return the study that a result and its settings make."""
    from workbench.study import study_from_mapping

    return study_from_mapping(
        {"schema": 1, "name": name, "theorem": {"name": name, "settings": dict(settings)}}
    )


def report_theorem(study: Study, directory: str | Path, bench: Bench, *, pdf: bool = True) -> ReportFiles:
    """Check the result of a theorem study and write the report.

    Raises
    ------
    StudyError
        If there is no such result, or a setting is not accepted.
    ValueError
        If the study states no result.
    """
    if study.theorem is None:
        raise ValueError(f"{study.name}: found no table [theorem]; required is one with the name of a result")
    checked = check(study.theorem.name, study.theorem.settings, bench)
    title = study.title if study.title != study.name else checked.theorem.title
    text = study.path.read_text(encoding="utf-8") if study.path else _listing(study)
    made = {
        "result": study.theorem.name,
        "device": f"{bench.device}, {bench.dtype}",
        "seed": bench.seed,
        "run time": f"{checked.seconds:.1f} s",
        "made": time.strftime("%Y-%m-%d"),
    }
    return write_report(
        theorem_content(checked, study.name, title, text, made), directory, pdf=pdf, progress=bench.progress
    )


def _listing(study: Study) -> str:
    """Write the study file of a result: what it states, without the tables that are not used."""
    assert study.theorem is not None
    lines = ["schema = 1", f'name = "{study.name}"', "", "[theorem]", f'name = "{study.theorem.name}"']
    if study.theorem.settings:
        lines += ["", "[theorem.settings]"]
        lines += [f"{key} = '{value}'" for key, value in study.theorem.settings.items()]
    return "\n".join(lines) + "\n"


def theorem_content(
    checked: Checked, name: str, title: str, listing: str, provenance: Mapping[str, Any]
) -> ReportContent:
    """Return what the report of a checked result says.

    Parameters
    ----------
    checked : Checked
        The verdicts, with figures and graph.
    name, title, listing : str
        Of the study: its name and title, and its file.
    provenance : mapping
        How it was made.
    """
    result = checked.theorem
    blocks: dict[str, Sequence[Block]] = {
        "result": [Block("", Tex(result.setting)), _settings(checked)],
        "assumptions": [_assumptions(checked)],
        "proofs": [_claim(claim) for claim in checked.claims],
        "verification": [_numbers(checked.claims)],
    }
    sections = ["result", "assumptions", "proofs", "verification"]
    if checked.pictures:
        sections.append("pictures")
    return ReportContent(
        title=title,
        study_name=name,
        study_toml=listing,
        sections=tuple(sections),
        derivations=blocks,
        claims=checked.claims,
        pictures=checked.pictures,
        provenance=provenance,
        references=(*result.sources, *LIBRARIES),
    )


def _items(items: Sequence[Tex]) -> Tex:
    lines = [r"\begin{itemize}", *(rf"\item {item}" for item in items), r"\end{itemize}"]
    return Tex("\n".join(lines)) if items else Tex()


def _settings(checked: Checked) -> Block:
    items = [
        Tex(rf"{breakable(key)}: \texttt{{{breakable(value)}}}") for key, value in checked.settings.items()
    ]
    return Block("Settings of this instance", Tex(), _items(items))


def _assumptions(checked: Checked) -> Block:
    items = []
    for one in checked.theorem.assumptions:
        found = checked.assumptions[one.name]
        status = rf"\textsc{{{str(found.status).lower()}}}"
        ground = f" ({_plain(found.reason)})" if found.reason else ""
        items.append(Tex(rf"\emph{{{breakable(one.name)}}}. {one.statement} {status}{ground}."))
    text = "A claim is asserted for the instance only where the assumptions it needs are shown."
    return Block("", text, _items(items))


def _plain(text: str) -> Tex:
    """Plain text of a program, whose long words may break."""
    return breakable(text.removesuffix("."))


def _claim(claim: Claim) -> Block:
    evidence = claim.evidence
    lines: list[Tex] = []
    for kind in ("assumptions that fail", "assumptions left open"):
        for name, why in evidence.get(kind, {}).items():
            verb = "fails" if kind.endswith("fail") else "is left open"
            lines.append(Tex(rf"Not asserted here: \emph{{{breakable(name)}}} {verb} ({_plain(why)})."))
    derived, measured = evidence.get("derivation"), evidence.get("measurement")
    if derived is not None:
        lines += [Tex(step) for step in derived.get("steps", ())]
        lines.append(_ground("Derivation", derived))
    if measured is not None:
        lines.append(_ground("Measurement", measured))
    if not lines:
        lines.append(Tex("Neither derived nor measured for this instance."))
    status = rf"\textsc{{{str(claim.status).lower()}}}"
    return Block(f"Claim {claim.claim}", Tex(f"{claim.statement} ({status}.)"), _items(lines))


def _ground(what: str, found: Mapping[str, Any]) -> Tex:
    return Tex(
        rf"{what}, \textsc{{{str(found['status']).lower()}}}: {_plain(found['reason'] or 'no remark')}."
    )


def _numbers(claims: Sequence[Claim]) -> Block:
    """Numbers that were computed beside those that were published."""
    rows = [
        rf"{breakable(claim.claim)} & {number(claim.computed, 9)} & {number(claim.expected, 9) if _is_number(claim.expected) else '--'} \\"
        for claim in claims
        if _is_number(claim.computed)
    ]
    if not rows:
        return Block("", Tex())
    table = "\n".join(
        [
            r"\begin{center}\begin{tabular}{@{}lrr@{}}",
            r"\toprule",
            r"claim & computed & published \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}\end{center}",
        ]
    )
    return Block(
        "",
        "Numbers of this instance; for exact claims the computed number is the exact value, rounded.",
        Tex(table),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)
