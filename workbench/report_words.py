"""Sentences of a report, generated from its records.

>>> counted(1, "saddle"), counted(3, "saddle"), counted(0, "degenerate point")
('1 saddle', '3 saddles', 'no degenerate point')
>>> listed(["a", "b", "c"])
'a, b and c'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from derivations.claim import Claim, Status
from workbench.report_content import ReportContent
from workbench.results import CriticalPoint, EmbeddingCheck, WidthSearch
from workbench.tex import Tex, breakable, escape, number

__all__ = [
    "abstract",
    "completeness",
    "counted",
    "data_sentence",
    "graph_words",
    "listed",
    "opening",
    "searches",
    "verdicts",
]
__all__ += ["embedding_words"]

KINDS = (
    ("minimum", "minima"),
    ("maximum", "maxima"),
    ("saddle", "saddles"),
    ("point with a semidefinite, singular Hessian", "points with a semidefinite, singular Hessian"),
    ("constant network", "constant networks"),
)
MOST_NAMES = 8
SMALL = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
VERDICTS = {
    Status.PROVED: "proved symbolically",
    Status.CERTIFIED: "certified by interval arithmetic",
    Status.SUPPORTED: "supported numerically",
    Status.REFUTED: "refuted",
    Status.UNDECIDED: "undecided",
}


def counted(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count or 'no'} {noun}{'s' if count > 1 else ''}"


def kind_word(point: CriticalPoint) -> str:
    """Return what a point is, in words; a network without parameters is a constant, of no kind."""
    if not point.eigenvalues:
        return "constant network"
    return "point with a semidefinite, singular Hessian" if point.kind == "degenerate" else point.kind


def opening(text: str) -> str:
    """Make a phrase the start of a sentence: a small leading number in words, a capital.

    >>> opening("3 saddles"), opening("no saddle"), opening("31 saddles")
    ('Three saddles', 'No saddle', 'In all, 31 saddles')
    """
    first, _, rest = text.partition(" ")
    if first.isdigit():
        if int(first) > len(SMALL):
            return f"In all, {text}"
        text = f"{SMALL[int(first) - 1]} {rest}"
    return text[0].upper() + text[1:]


def listed(parts: Sequence[str]) -> str:
    """Join parts with commas and a final *and*."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def abstract(content: ReportContent) -> Tex:
    """Say what was found: points at each width, the lowest value, edges, verdicts."""
    sentences = []
    if content.points:
        widths = Counter(point.width for point in content.points)
        first, *rest = sorted(widths.items())
        parts = [f"{counted(first[1], 'critical point')} at width {first[0]}"]
        parts += [f"{count} at width {width}" for width, count in rest]
        kinds = Counter(kind_word(point) for point in content.points)
        parts_of = [f"{kinds[one]} {one if kinds[one] == 1 else many}" for one, many in KINDS if kinds[one]]
        lowest = min(content.points, key=lambda p: (p.value, p.width))
        sentences += [
            f"We list {listed(parts)}, one for each symmetry orbit or stratum of a critical manifold: "
            f"{listed(parts_of)}.",
            f"The lowest critical value found is {number(lowest.value)}, at {escape(lowest.id)}.",
        ]
    if content.edges or content.channels:
        sentences.append(_edges(content))
    if content.claims:
        sentences.append(verdicts(content.claims))
    if not sentences:
        sentences.append(
            "The equations of this study are derived for symbolic sizes; nothing was computed numerically."
        )
    return Tex(" ".join(sentences))


def _edges(content: ReportContent) -> str:
    kinds = Counter(edge.kind for edge in content.edges)
    names = {
        "splitting": "splitting embedding",
        "null": "null embedding",
        "lifting": "lifting",
        "descent": "descent",
        "contains": "containment in a closure",
        "symmetry": "pair exchanged by a symmetry of the data",
    }
    parts = [counted(kinds[kind], name) for kind, name in names.items() if kinds[kind]]
    ends = Counter(channel.reason for channel in content.channels)
    verb = "joins" if len(content.edges) == 1 else "join"
    text = f"{listed(parts)} {verb} them" if parts else "No edge joins them"
    noun = "more descent" if kinds["descent"] else "descent"
    if ends["infinity"]:
        text += f"; {counted(ends['infinity'], noun)} {_escapes(ends['infinity'])} to infinity"
    if ends["unresolved"]:
        text += f"; {counted(ends['unresolved'], noun)} could not be resolved"
    return opening(text) + "."


def _escapes(count: int) -> str:
    return "escapes" if count == 1 else "escape"


def verdicts(claims: Sequence[Claim]) -> Tex:
    """Count the statuses of the claims; a refutation is never left out, nor is its absence."""
    found = Counter(claim.status for claim in claims)
    parts = [
        f"{found[status]} {text}"
        for status, text in VERDICTS.items()
        if found[status] and status != Status.REFUTED
    ]
    parts.append(f"{found[Status.REFUTED] or 'none'} refuted")
    if len(claims) == 1:
        return Tex(f"The one claim checked is {VERDICTS[claims[0].status]}.")
    first = "is" if parts[0].startswith("1 ") else "are"
    head, rest = parts[0].split(" ", 1)
    parts[0] = f"{head} {first} {rest}"
    return Tex(f"Of {len(claims)} claims checked, {listed(parts)}.")


def data_sentence(content: ReportContent) -> Tex:
    """Say what the data are."""
    data = content.data_summary
    if data is None:
        return Tex("The data are left symbolic; every equation holds for all of them.")
    if data.population:
        return data.population
    sizes = [
        _size(name, value, noun)
        for name, value, noun in (
            ("n", data.samples, "sample"),
            ("d", data.inputs, "input"),
            ("o", data.outputs, "output"),
        )
    ]
    text = rf"The data have {listed(sizes)} ({breakable(data.source)})."
    if data.sha256:
        text += rf" Their SHA-256 is {{\ttfamily\small {breakable(data.sha256)}}}."
    return Tex(text)


def _size(name: str, value: int | str, noun: str) -> str:
    """Give a number where there is one, else the symbol."""
    if isinstance(value, str):
        return f"${name}$ {noun}s"
    return f"${name} = {value}$ {noun}{'' if value == 1 else 's'}"


def searches(found: Sequence[WidthSearch]) -> Tex:
    """Say how the starts at each width ended."""
    sentences = []
    for search in found:
        if not search.starts:
            sentences.append(
                f"At width {search.width} all critical points are known exactly, and no search was made."
            )
            continue
        parts = [f"{search.converged} ended on the points listed"]
        if search.runs_to_infinity:
            parts.append(f"{search.runs_to_infinity} ran to infinity while the risk levelled off")
        if search.unconverged:
            parts.append(f"{search.unconverged} did not converge")
        sentences.append(
            f"Of {search.starts} random starts at width {search.width}, {listed(parts)} ({number(search.seconds, 3)}~s)."
        )
    return Tex(" ".join(sentences))


def completeness(content: ReportContent) -> Tex:
    """Say whether the list is known to be complete; without a proof it is said not to be, and a check that failed is named."""
    found = content.landscape_json.get("completeness") or {}
    method = f" ({escape(found['method'])})" if found.get("method") else ""
    checks = found.get("checks", ())
    passed = " ".join(
        _sentence(c) for c in checks if c["status"] in ("CERTIFIED", "SUPPORTED") and c["name"] in _NECESSARY
    )
    if any(check["status"] == "REFUTED" for check in checks):
        return Tex(rf"\textbf{{The list is not complete}}: {escape(found['method'])}.")
    match found.get("status"):
        case "PROVED":
            text = f"The list is proved to be complete{method}."
        case "SUPPORTED":
            text = f"There is numerical evidence, not a proof, that the list is complete{method}."
        case _:
            text = (
                f"Nothing shows that the list is complete{method}: points that no start reached are missing."
            )
    return Tex(f"{text} {passed}".strip())


#: Checks that every complete list passes, and that others may pass too.
_NECESSARY = ("Morse sum", "symmetries of the data")


def _sentence(check: Mapping[str, Any]) -> str:
    """Return a check that was passed as a sentence; formulas in the text are plain."""
    at = f" (width {check['width']})" if check.get("width") else ""
    return f"{opening(escape(check['name']))}{at}: {escape(check['statement'])}."


def embedding_words(checks: Sequence[EmbeddingCheck]) -> Tex:
    """Count how many embedded points were checked, and name those that failed."""
    if not checks:
        return Tex("No critical point was embedded numerically.")
    failed = [check for check in checks if not check.holds]
    text = f"{opening(counted(len(checks), 'embedded critical point'))} {'was' if len(checks) == 1 else 'were'} checked numerically"
    if not failed:
        return Tex(f"{text}; in every case outputs, gradient, Hessian and inertia agree with the prediction.")
    shown = [f"{escape(check.source)} in {escape(check.target)}" for check in failed[:MOST_NAMES]]
    names = listed([*shown, *([f"{len(failed) - MOST_NAMES} more"] if len(failed) > MOST_NAMES else [])])
    verb = "does" if len(failed) == 1 else "do"
    return Tex(rf"{text}; \textbf{{{len(failed)} {verb} not agree with the prediction}} ({names}).")


def graph_words(content: ReportContent) -> Tex:
    """Say what the figure shows and what it does not."""
    sentences = [_edges(content)] if content.edges or content.channels else ["No edge was computed."]
    if any(edge.kind == "descent" for edge in content.edges) or content.channels:
        sentences.append(
            "A descent is the gradient flow started at a saddle along an eigenvector of a negative eigenvalue, "
            "to both sides; it is an observation, not a proof, and other directions of the same unstable space "
            "may lead elsewhere."
        )
    return Tex(" ".join(sentences))
