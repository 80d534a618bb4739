r"""The LaTeX report of a study, with its figures and its JSON; a PDF where the machine has a LaTeX.

Values enter the template through one gate: text is escaped, unless it is ``Tex``; a name the template does not get is an
error.  Everything is rendered before the first file is written, and each file appears whole or not at all.

>>> import tempfile
>>> files = write_report(ReportContent("50% & more", "small", "schema = 1"), tempfile.mkdtemp(), pdf=False)
>>> "\\title{50\\% \\& more}" in files.tex.read_text(), files.pdf, files.refuted
(True, None, False)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from derivations.html_table import html_table
from workbench import report_tables as tables
from workbench import report_words as words
from workbench.atomic import write_text
from workbench.bibliography import REFERENCES, used
from workbench.graph_layout import ZERO_VALUE
from workbench.plots import draw_graph, draw_spectra, save
from workbench.report_content import (
    MORE_SECTIONS,
    RESULT_SECTIONS,
    SECTIONS,
    Block,
    DataSummary,
    ReportContent,
)
from workbench.tex import Tex, compile_pdf, escape, number

__all__ = ["Block", "DataSummary", "ReportContent", "ReportFiles", "render", "write_report"]

NAME = "report"
#: Share of the run time, where a landscape has weight 1.
WEIGHT = 0.15
TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class ReportFiles:
    """What was written.

    Attributes
    ----------
    tex, json : Path
        Source and numbers.
    pdf : Path or None
        None if it was not wanted or could not be made; ``message`` says why.
    figures : tuple of Path
        PDF each.
    message : str
        One line, empty if there is nothing to tell.
    refuted : bool
        Whether the report holds a refuted claim.
    derived_from : ReportContent or None
        What the report says.
    """

    tex: Path
    pdf: Path | None
    json: Path
    figures: tuple[Path, ...]
    message: str = ""
    refuted: bool = False
    derived_from: ReportContent | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the paths as text, the message and whether a claim is refuted."""
        return {
            "tex": str(self.tex),
            "pdf": None if self.pdf is None else str(self.pdf),
            "json": str(self.json),
            "figures": [str(path) for path in self.figures],
            "message": self.message,
            "refuted": self.refuted,
        }

    def _repr_html_(self) -> str:
        rows = [("source", self.tex), ("PDF", self.pdf or self.message or "not made"), ("numbers", self.json)]
        return html_table(("", "file"), [*rows, *(("figure", path) for path in self.figures)], "report")


@dataclass(frozen=True)
class _Figure:
    name: str
    caption: Tex
    draw: Callable[[], Any]

    @property
    def path(self) -> str:
        return f"figures/{self.name}.pdf"


@dataclass(frozen=True)
class _Section:
    """Paragraphs before and after the blocks, then figures and tables, then the last paragraphs."""

    name: str
    blocks: tuple[Block, ...] = ()
    before: tuple[Tex, ...] = ()
    after: tuple[Tex, ...] = ()
    tables: tuple[tables.Table, ...] = ()
    figures: tuple[_Figure, ...] = ()
    last: tuple[Tex, ...] = ()

    @property
    def key(self) -> Tex:
        return Tex(self.name.replace("_", "-"))

    @property
    def title(self) -> str:
        return (SECTIONS | MORE_SECTIONS | RESULT_SECTIONS)[self.name]


def write_report(
    content: ReportContent, directory: str | Path, *, pdf: bool = True, progress: Any = None
) -> ReportFiles:
    """Write ``report.tex``, ``report.json``, ``figures/*.pdf`` and, where possible, ``report.pdf``.

    Parameters
    ----------
    content : ReportContent
        What it says.
    directory : str or Path
        Made if it is not there; other files in it are left alone.
    pdf : bool
        Whether to compile.
    progress : Progress, optional
        Told what is being done.

    Returns
    -------
    ReportFiles
        Also without a LaTeX on the machine; then without a PDF, and with a message.

    Raises
    ------
    ValueError
        If the directory is a file, a bibliography key is unknown, or a figure cannot be drawn from the records.
    """
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: found a file; accepted: a folder, or a name that is free")
    sections = _sections(content)
    source = render(content)
    numbers = json.dumps(content.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    drawn = [(folder / figure.path, figure.draw) for section in sections for figure in section.figures]
    with (
        progress.stage("writing the report", WEIGHT)
        if progress is not None
        else nullcontext(_quiet) as update
    ):
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for done, (path, draw) in enumerate(drawn):
            update(0.4 * done / len(drawn), f"figure {path.name}")
            save(draw(), path)
        update(0.4, "JSON and LaTeX source")
        write_text(folder / f"{NAME}.json", numbers)
        (folder / f"{NAME}.pdf").unlink(missing_ok=True)  # it would belong to another source
        write_text(folder / f"{NAME}.tex", source)
        made, message = None, ""
        if pdf:
            update(0.5, "PDF")
            result = compile_pdf(folder / f"{NAME}.tex")
            made, message = result.pdf, result.message
        update(1.0)
    figures = tuple(path for path, _ in drawn)
    return ReportFiles(
        folder / f"{NAME}.tex", made, folder / f"{NAME}.json", figures, message, content.refuted, content
    )


def _quiet(fraction: float, detail: str = "") -> None:
    """Tell nobody."""


def render(content: ReportContent) -> Tex:
    """Return the LaTeX source; deterministic.

    Raises
    ------
    ValueError
        If a bibliography key is unknown.
    jinja2.UndefinedError
        If the template asks for something it is not given.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        block_start_string="((*",
        block_end_string="*))",
        variable_start_string="(((",
        variable_end_string=")))",
        comment_start_string="((=",
        comment_end_string="=))",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=escape,
        autoescape=False,
    )
    return Tex(environment.get_template(f"{NAME}.tex").render(_context(content)))


def _context(content: ReportContent) -> dict[str, Any]:
    """Everything the template is given."""
    made_by = tables.provenance(content)
    return {
        "content": content,
        "summary": words.abstract(content),
        "sections": _sections(content),
        "provenance": [made_by] if made_by else [],
        "references": [(Tex(key), work) for key, work in used(_keys(content))],
        "listing": tables.listing(content.study_toml),
        "json_name": f"{NAME}.json",
    }


def _keys(content: ReportContent) -> list[str]:
    """Bibliography keys by first use: in blocks, in claims, then those named for data, methods and programs."""
    texts = [
        text
        for name in content.sections
        for b in content.derivations.get(name, ())
        for text in (b.text, b.display)
    ]
    if "verification" in content.sections:
        texts += [claim.statement for claim in content.claims]
    cited = [
        key.strip() for text in texts for group in re.findall(r"\\cite(?:\[[^\]]*\])?\{([^}]*)\}", text) for key in group.split(",")
    ]  # fmt: skip
    if "verification" in content.sections:
        cited += [key for c in content.claims if (key := c.source.partition(",")[0]) in REFERENCES]
    return [*cited, *content.references]


def _sections(content: ReportContent) -> list[_Section]:
    """Put each section together from blocks and records."""
    builders: dict[str, Callable[[ReportContent, tuple[Block, ...]], _Section]] = {
        "problem": lambda c, blocks: _Section("problem", blocks, after=(words.data_sentence(c),)),
        "critical_points": _critical_points,
        "embedding": _embedding,
        "graph": _graph,
        "verification": _verification,
        "pictures": _pictures,
    }
    found = []
    for name in content.sections:
        blocks = tuple(content.derivations.get(name, ()))
        build = builders.get(name)
        if build:
            found.append(build(content, blocks))
        else:
            nothing = () if blocks else (Tex("Nothing was derived for this study."),)
            found.append(_Section(name, blocks, before=nothing))
    return found


def _critical_points(content: ReportContent, blocks: tuple[Block, ...]) -> _Section:
    if not content.points:
        return _Section("critical_points", blocks, after=(Tex("No critical points were computed."),))
    caption = Tex(
        "Hessian spectra of the critical points, grouped by width, on an axis that is linear in the shaded band and "
        "logarithmic outside. Red: negative eigenvalues; blue: positive ones; circles: eigenvalues that are zero within "
        "the tolerance. A small number tells how many coincide."
    )
    representative = tables.parameters(content)
    see = Tex(r"\autoref{fig:spectra} shows the spectra of the Hessian.")
    return _Section(
        "critical_points",
        blocks,
        after=(Tex(f"{words.searches(content.searches)} {words.completeness(content)} {see}"),),
        tables=(*tables.points(content), *([representative] if representative else [])),
        figures=(_Figure("spectra", caption, lambda: draw_spectra(content.points)),),
    )


def _embedding(content: ReportContent, blocks: tuple[Block, ...]) -> _Section:
    table = tables.embeddings(content)
    return _Section(
        "embedding", blocks, after=(words.embedding_words(content.checks),), tables=(table,) if table else ()
    )


def _graph(content: ReportContent, blocks: tuple[Block, ...]) -> _Section:
    if not content.points:
        return _Section("graph", blocks, after=(Tex("There are no critical points to draw."),))
    caption = Tex(
        r"The landscape as a graph. Critical points of equal loss share a row; rows stand in the order of their losses, "
        r"not to scale; columns are widths. Beside each name is the inertia $(n_-, n_0, n_+)$. Grey lines are embeddings, "
        r"arrows are descents; those to one target share a colour. Edges that occur several times carry their number."
    )
    if any(abs(point.value) <= ZERO_VALUE for point in content.points):
        caption = Tex(rf"{caption} Losses up to {number(ZERO_VALUE, 1)} are drawn at 0.")
    table = tables.descents(content)
    return _Section(
        "graph",
        blocks,
        before=(Tex(r"\autoref{fig:graph} shows the landscape. " + words.graph_words(content)),),
        tables=(table,) if table else (),
        figures=(
            _Figure("graph", caption, lambda: draw_graph(content.points, content.edges, content.channels)),
        ),
    )


def _pictures(content: ReportContent, blocks: tuple[Block, ...]) -> _Section:
    figures = tuple(_Figure(one.name, Tex(one.caption), one.draw) for one in content.pictures)
    return _Section("pictures", blocks, figures=figures)


def _verification(content: ReportContent, blocks: tuple[Block, ...]) -> _Section:
    if not content.claims:
        return _Section("verification", blocks, after=(Tex("No claim was checked."),))
    intro = Tex(
        r"\textsc{Proved} means that a symbolic expression reduced to exactly zero, \textsc{certified} that interval "
        r"arithmetic encloses the value, \textsc{supported} that a measurement lies within the stated bound, "
        r"\textsc{refuted} that a counterexample is given; the rest is \textsc{undecided}. "
        + words.verdicts(content.claims)
    )
    table = tables.claims(content.claims)
    last = tuple(tables.counterexamples(content.claims))
    return _Section("verification", blocks, after=(intro,), tables=(table,) if table else (), last=last)
