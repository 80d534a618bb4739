r"""Tables of a report: rows of LaTeX cells, at most 40 of them, the rest being in the JSON.

>>> inertia(Inertia(1, 0, 2))
'$(1,0,2)$'
>>> components("w", [[1.5], [-2.0]])
['$w_{1} = 1.5$', '$w_{2} = -2$']
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from derivations.claim import Claim, Status
from workbench.bibliography import REFERENCES
from workbench.report_content import ReportContent, plain
from workbench.results import CriticalPoint, Inertia
from workbench.tex import Tex, breakable, escape, number

__all__ = ["Table", "claims", "components", "counterexamples", "descents", "embeddings", "inertia", "listing"]
__all__ += ["parameters", "points", "provenance"]

MOST_ROWS = 40
MOST_PARAMETERS = 12
LINE, MOST_LINES = 88, 150  # characters that fit a line of the listing; lines of it


NARROW = r"footnotesize\setlength{\tabcolsep}{3.2pt}"  # for many columns
TIGHT = r"footnotesize\setlength{\tabcolsep}{2.4pt}"


@dataclass(frozen=True)
class Table:
    """One table: the columns as LaTeX wants them, a caption, a label, header and rows; ``more`` rows are left out."""

    label: str
    caption: Tex
    columns: Tex
    header: Tex
    rows: tuple[Tex, ...]
    more: int = 0
    size: Tex = Tex("small")  # noqa: RUF009 - an immutable string


def _table(
    label: str,
    caption: str,
    columns: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    size: str = "small",
) -> Table:
    lines = tuple(Tex(" & ".join(row)) for row in rows[:MOST_ROWS])
    more = max(0, len(rows) - MOST_ROWS)
    return Table(label, Tex(caption), Tex(columns), Tex(" & ".join(header)), lines, more, Tex(size))


def inertia(value: Inertia | None) -> Tex:
    """Print the numbers of negative, zero and positive eigenvalues."""
    return Tex("--" if value is None else f"$({value.negative},{value.zero},{value.positive})$")


def points(content: ReportContent) -> list[Table]:
    """One table of critical points for each width, by rising value."""
    tables: list[Table] = []
    for width in sorted({point.width for point in content.points}):
        members = sorted((p for p in content.points if p.width == width), key=lambda p: p.value)
        rows = [
            (
                escape(p.id), number(p.value), number(p.gradient_norm, 2), inertia(p.inertia if p.eigenvalues else None),
                escape(p.kind) if p.eigenvalues else Tex("--"),
                number(p.manifold_dimension), number(p.orbit_size), number(p.found), escape(p.stratum),
            )
            for p in members
        ]  # fmt: skip
        caption = rf"Critical points at width $m = {width}$"
        if tables:
            caption += rf"; columns as in \autoref{{tab:{tables[0].label}}}."
        else:
            caption += (
                r". Value: risk; inertia: $(n_-, n_0, n_+)$; dim.: dimension of the critical manifold; orbit: number "
                "of copies under symmetries; found: starts that ended there. A dash: not finite, or not known."
            )
        caption += _certified(members)
        header = (
            "point",
            "value",
            r"$\lVert\nabla R\rVert$",
            "inertia",
            "kind",
            "dim.",
            "orbit",
            "found",
            "stratum",
        )
        columns = r"@{}lrrllrrr>{\raggedright\arraybackslash}p{2.3cm}@{}"
        tables.append(_table(f"points{width}", caption, columns, header, rows, NARROW))
    return tables


def _certified(members: Sequence[CriticalPoint]) -> str:
    """Say which points exist by interval arithmetic, with the inertia listed; nothing if none do."""
    left = [p.id for p in members if p.status is not Status.CERTIFIED]
    if len(left) == len(members):
        return ""
    which = "all" if not left else f"all but {', '.join(left)}"
    return f" Certified by interval arithmetic, existence and inertia: {which}."


def parameters(content: ReportContent) -> Table | None:
    """Representatives of the irreducible points with at most 12 parameters."""
    rows = []
    for p in sorted(content.points, key=lambda p: (p.width, p.value)):
        entries = [text for name, block in p.theta.items() for text in components(name, block)]
        if p.stratum == "irreducible" and 0 < len(entries) <= MOST_PARAMETERS:
            rows.append((escape(p.id), ", ".join(entries)))
    caption = "A representative of each irreducible critical point, to six digits."
    columns = r"@{}l>{\raggedright\arraybackslash}p{14cm}@{}"
    return _table("parameters", caption, columns, ("point", "parameters"), rows) if rows else None


def components(name: str, block: Any) -> list[str]:
    """Write the entries of one block out; an index that takes one value only is left out after the first."""
    letter, digits = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    symbol = letter if re.fullmatch(r"[A-Za-z]", letter) else rf"\mathrm{{{escape(letter)}}}"
    symbol += rf"^{{({digits})}}" if digits else ""
    shape, inner = [], block
    while isinstance(inner, list | tuple) and inner:
        shape.append(len(inner))
        inner = inner[0]
    shown = [axis == 0 or size > 1 for axis, size in enumerate(shape)]
    comma = "," if max(shape, default=0) > 9 else ""
    found = []
    for index, value in _entries(block):
        low = comma.join(str(i + 1) for i, s in zip(index, shown, strict=True) if s)
        shown_value = number(round(value, 12) + 0.0, trim=True).strip("$")
        found.append(f"${symbol}{f'_{{{low}}}' if low else ''} = {shown_value}$")
    return found


def _entries(block: Any, index: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], float]]:
    if isinstance(block, list | tuple):
        for place, part in enumerate(block):
            yield from _entries(part, (*index, place))
    else:
        yield index, float(block)


def embeddings(content: ReportContent) -> Table | None:
    """Numerical checks of embedded points: residuals, inertia before, after and predicted."""
    rows = []
    for c in sorted(content.checks, key=lambda check: check.holds):  # failures first: the table may be cut
        split = c.kind == "splitting"
        how = rf"$k = {(c.neuron or 0) + 1}$, $\alpha = {number(c.alpha, 3, trim=True).strip('$')}$" if split else (
            rf"null, bias {number(c.alpha, 3, trim=True)}"
        )  # fmt: skip
        residuals = [number(v, 2) for v in (c.output_error, c.gradient_norm, c.intertwining)]
        agrees = "yes" if c.holds else r"\textbf{no}"
        foreseen = Tex("same") if c.predicted == c.inertia_after else inertia(c.predicted)
        signs = [inertia(c.inertia_before), inertia(c.inertia_after), foreseen]
        rows.append((rf"{escape(c.source)} $\to$ {escape(c.target)}", how, *residuals, *signs, agrees))
    bounds = sorted({c.tolerance for c in content.checks})
    caption = (
        r"Critical points of narrower networks embedded into wider ones. Residuals: largest difference of outputs, norm "
        r"of the wide gradient, and relative error of $H_{\mathrm{wide}} A = B H_{\mathrm{narrow}}$; each is to be at most "
        rf"{' or '.join(number(b, 2) for b in bounds)}. Splitting: of neuron $k$ the copy gets the fraction $\alpha$. "
        "Inertia of the narrow Hessian, of the wide one, and as predicted."
    )
    header = ("embedding", "how", "output", "gradient", "Hessian", "before", "after", "predicted", "agrees")
    return _table("embeddings", caption, "@{}llrrrlllc@{}", header, rows, TIGHT) if rows else None


def descents(content: ReportContent) -> Table | None:
    """Descents and where they ended."""
    rows = []
    for edge in content.edges:
        if edge.kind == "descent":
            d = edge.details
            cells = (d.get("eigenvalue"), d.get("loss_drop"), d.get("time"), d.get("distance"))
            side = _side(d.get("direction"), d.get("sign"))
            rows.append((escape(edge.source), side, escape(edge.target), *(number(v, 3) for v in cells)))
    values = {p.id: p for p in content.points}
    for c in content.channels:
        start = values.get(c.source)
        end = r"$\infty$" if c.reason == "infinity" else "not resolved"
        level = None  # along a drawn direction there is none
        if start and isinstance(c.direction, int) and c.direction < len(start.eigenvalues):
            level = start.eigenvalues[c.direction]
        drop = start.value - c.value if start else None
        cells = (level, drop, c.time, None)
        rows.append((escape(c.source), _side(c.direction, c.sign), end, *(number(v, 3) for v in cells)))
    caption = (
        r"Gradient flow started at saddles along $\pm v_j$, the eigenvector of the $j$-th smallest eigenvalue "
        r"$\lambda_j < 0$, and where there are several of them along directions drawn between them, listed where they lead elsewhere: the "
        "critical point reached, by how much the loss drops, the time until the flow was stopped, and its distance from that point then."
    )
    header = ("from", "along", "to", r"$\lambda_j$", "loss drop", "time", "distance")
    return _table("descents", caption, "@{}lllrrrr@{}", header, rows) if rows else None


def _side(direction: int | str | None, sign: int | None) -> str:
    if isinstance(direction, str):
        return "drawn"
    return (
        "--" if direction is None or sign is None else rf"${'+' if sign > 0 else '-'}v_{{{direction + 1}}}$"
    )


def claims(found: Sequence[Claim]) -> Table | None:
    """Claims in pairs of lines: name, status and numbers; below them the statement over the full width."""
    rows: list[tuple[str, str]] = []
    doubtful = (Status.REFUTED, Status.UNDECIDED)
    if len(found) > MOST_ROWS:
        found = sorted(found, key=lambda claim: claim.status not in doubtful)  # the table is cut: these stay
    for c in found:
        status = rf"\textbf{{{c.status}}}" if c.status in doubtful else str(c.status)
        name = escape(c.name) + (Tex(f" ({escape(c.claim)})") if c.claim else Tex())
        residual = escape(c.residual[:24]) if isinstance(c.residual, str) else number(c.residual, 2)
        gap = r"\addlinespace[3pt]" if rows else ""
        rows.append((
            rf"{gap}{name} & {{\footnotesize {status}}} & {residual} & {number(c.tolerance, 2)} & {source(c.source)} \\*",
            rf"\multicolumn{{5}}{{@{{}}>{{\raggedright\arraybackslash}}p{{15.8cm}}@{{}}}}{{{c.statement}}}",
        ))  # fmt: skip
    lines = tuple(Tex("\n".join(row)) for row in rows[:MOST_ROWS])
    caption = "Claims, how they are known, and, where numbers were compared, the residual and the largest one allowed."
    columns = r"@{}>{\raggedright\arraybackslash\bfseries}p{6.2cm}lrrl@{}"
    header = Tex(r"\normalfont claim & status & residual & allowed & source")
    more = max(0, len(rows) - MOST_ROWS)
    return Table("claims", Tex(caption), Tex(columns), header, lines, more) if rows else None


def source(text: str) -> Tex:
    r"""Cite a key, or ``key, Theorem 4.1``; other text is printed as it is."""
    key, _, note = text.partition(",")
    if key not in REFERENCES:
        return escape(text)
    return Tex(rf"\cite[{escape(note.strip())}]{{{key}}}" if note else rf"\cite{{{key}}}")


def counterexamples(found: Sequence[Claim]) -> list[Tex]:
    """Say of each refuted claim what refutes it."""
    return [
        Tex(
            rf"The claim \emph{{{escape(c.name)}}} is \textbf{{refuted}}. Evidence: "
            rf"{{\ttfamily\small {breakable(json.dumps(plain(c.evidence))[:600])}}}."
        )
        for c in found
        if c.status is Status.REFUTED
    ]


def provenance(content: ReportContent) -> Table | None:
    """Versions, device, seed and the like."""
    rows = [(escape(name), breakable(_text(value))) for name, value in content.provenance.items()]
    columns = r"@{}>{\raggedright\arraybackslash}p{4cm}>{\raggedright\arraybackslash}p{11.4cm}@{}"
    return (
        _table("provenance", "How this report was made.", columns, ("what", "value"), rows) if rows else None
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def listing(text: str) -> list[Tex]:
    """Set a file line by line in typewriter type; long lines are folded, a very long file is cut."""
    lines = []
    for line in text.expandtabs(4).splitlines():
        pieces = _folded(line)
        lines += [_typed(piece, folded=place > 0) for place, piece in enumerate(pieces)]
    cut = len(lines) - MOST_LINES
    return lines[:MOST_LINES] + ([Tex(rf"\emph{{{cut} more lines}}")] if cut > 0 else [])


def _folded(line: str) -> list[str]:
    """Cut a line into pieces that fit, at a space where there is one in the second half."""
    pieces = []
    while len(line) > LINE:
        space = line.rfind(" ", LINE // 2, LINE)
        cut = space + 1 if space > 0 else LINE
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


def _typed(piece: str, folded: bool) -> Tex:
    body = "~".join(escape(word) for word in piece.split(" "))
    return Tex((r"\mbox{}\quad{}" if folded else r"\mbox{}") + body)
