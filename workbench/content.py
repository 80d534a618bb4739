r"""A report put together: derivations, landscape and verification of one study, handed to ``workbench.report``.

Nothing is computed here that ``Analysis`` does not offer; this module decides what a report says and in what order.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

from derivations.claim import Status
from derivations.equations import derive, explicit
from derivations.problem import Problem
from derivations.statement import Statement
from workbench.errors import NotThere
from workbench.network_blocks import network_blocks
from workbench.populations import Population, digest, inputs_of, integration, is_population, sentence
from workbench.report import Block, DataSummary, ReportContent
from workbench.study import shipped_studies
from workbench.tex import Tex

if TYPE_CHECKING:
    from workbench.analysis import Analysis

__all__ = ["content"]

#: Most parameters of a network whose flow is also written out parameter by parameter.
EXPLICIT_PARAMETERS = 12
LIBRARIES = ("sympy", "torch", "networkx", "matplotlib")
#: What an entry is where points are not sorted into orbits and strata.
ENTRIES = (
    "One entry stands for all critical points found with one network function (for Gaussian inputs, with one value of the risk)"
    " that have a negative eigenvalue, or for all those that have none; the spectrum is that of the representative. How many"
    " connected sets they form, and of which dimension, is not decided. Embeddings and descents were not computed."
)


def content(analysis: Analysis) -> ReportContent:
    """Return everything the report of an analysis says.

    Raises
    ------
    StudyError
        If there is no study, or no data.
    """
    study = analysis.required_study("a report")
    data = _data(analysis)
    warnings: list[str] = []
    landscape = analysis.landscape_or_reason()
    if isinstance(landscape, NotThere):
        warnings.append(f"No critical points are listed: {landscape}.")
    verification = analysis.verify()
    refuted = [claim.claim for claim in verification.claims if claim.status is Status.REFUTED]
    if refuted:
        warnings.append(f"Refuted: {', '.join(refuted)}. See the section on verification.")
    files = study.data.file if study.data is not None and study.data.kind == "file" else ""
    references = ["sympy2017", "pytorch2019", "networkx2008", "matplotlib2007"]
    if files and data.sha256 == _shipped_iris():
        references = ["fisher1936iris", "uci_iris", *references]
    found: dict[str, Any] = {}
    sets: dict[str, Sequence[Block]] = {}
    if not isinstance(landscape, NotThere):
        sets = {} if landscape.connected else {"critical_points": [Block("", ENTRIES)]}
        found = {
            "points": landscape.points,
            "edges": landscape.edges,
            "channels": landscape.channels,
            "searches": landscape.searches,
            "checks": landscape.checks,
            "landscape_json": landscape.to_dict(),
        }
    return ReportContent(
        title=study.title,
        study_name=study.name,
        study_toml=study.path.read_text(encoding="utf-8") if study.path else study.to_toml(),
        data_summary=data,
        sections=study.report.sections,
        derivations={
            **blocks(analysis.problem, analysis.statements, analysis.small_sizes(EXPLICIT_PARAMETERS)),
            **network_blocks(analysis.problem, study.report.sections),
            **sets,
        },
        claims=verification.claims,
        provenance=_provenance(analysis),
        references=references,
        warnings=warnings,
        **found,
    )


def _data(analysis: Analysis) -> DataSummary:
    if is_population(analysis.problem):
        study = analysis.required_study("a report")
        text = f"{sentence(analysis.problem)} {integration(analysis.compile())}"
        return DataSummary("", inputs_of(analysis.problem), 1, "", digest(study), Tex(text))
    data = analysis.required_data("a report")
    return DataSummary(data.n, data.d, data.o, data.source, data.sha256)


def blocks(
    problem: Problem | Population, topics: Mapping[str, Sequence[Statement]], sizes: dict[str, int] | None
) -> dict[str, Sequence[Block]]:
    """Return the paragraphs of every section that holds equations or statements."""
    of = partial(derive, problem) if isinstance(problem, Problem) else problem.derive
    flow = of("gradient-flow")
    out: dict[str, list[Block]] = {
        "problem": [_equations(of("risk"), "")],
        "gradient_flow": [_equations(flow, "For symbolic sizes")],
    }
    if sizes is not None and isinstance(problem, Problem):
        written = ", ".join(f"{name} = {value}" for name, value in sizes.items())
        derivation = explicit(problem, sizes)
        text = Tex(rf"For ${written}$ the same equations read, parameter by parameter:")
        out["gradient_flow"].append(Block("Written out", text, Tex(derivation.latex())))
    out["symmetries"] = [
        _paragraph(s) for name in ("symmetries", "conservation") for s in topics.get(name, [])
    ]
    out["embedding"] = [_paragraph(s) for s in topics.get("embedding", [])]
    return dict(out)


def _equations(derivation: Any, title: str) -> Block:
    return Block(title, Tex(" ".join(derivation.notes)), Tex(derivation.latex()))


def _paragraph(statement: Statement) -> Block:
    """One statement: its sentence with status and source, its derivation as a list."""
    title = statement.name[0].upper() + statement.name[1:]
    if statement.status is Status.REFUTED:
        title = f"No {statement.name}"
    source = rf"~\cite{{{statement.source}}}" if statement.source else ""
    # The refuted symmetry is the heading's; the sentence that denies it carries its counterexample.
    known = "" if statement.status is Status.REFUTED else f" ({str(statement.status).lower()})"
    text = Tex(f"{statement.statement}{source}{known}")
    items = "\n".join(rf"  \item {step}" for step in statement.steps)
    return Block(title, text, Tex(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}" if items else ""))


def _provenance(analysis: Analysis) -> dict[str, object]:
    import torch

    study = analysis.required_study("a report")
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {
        "workbench": metadata.version("landscape-workbench"),
        "Python": platform.python_version(),
        **versions,
        "device": torch.cuda.get_device_name() if analysis.device != "cpu" else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "dtype": analysis.dtype,
        "seed": study.landscape.seed,
        "starts per width": study.landscape.starts,
        "run time": f"{analysis.seconds:.1f} s",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _shipped_iris() -> str:
    import hashlib

    return hashlib.sha256((shipped_studies()["iris"].parent / "iris.csv").read_bytes()).hexdigest()
