"""Short tables of results for people, made from the JSON of schema 1 and from nothing else.

>>> claims_table({"claims": [{"name": "gradient", "claim": "C1", "status": "SUPPORTED",
...                           "residual": 2e-16, "tolerance": 1e-12}]}).rows
[('gradient', 'C1', 'SUPPORTED', '2e-16', '1e-12')]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.certificate import sentences

if TYPE_CHECKING:
    from workbench.graph_queries import Answer

__all__ = [
    "Table",
    "answer_table",
    "claims_table",
    "evaluation_table",
    "flow_table",
    "landscape_tables",
    "number",
    "sequences_tables",
    "training_table",
]

Content = Mapping[str, Any]
MOST_EDGES = 40
MOST_WAYS = 5
SIGNS = "eigenvalues - 0 +"


@dataclass(frozen=True)
class Table:
    """Column heads, rows of text, and closing lines."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]] = ()
    notes: Sequence[str] = ()


def evaluation_table(content: Content) -> Table:
    """Return a row for each evaluated point."""
    rows = [
        (
            str(i),
            number(point["value"], 10),
            number(point["gradient_norm"]),
            inertia(point["inertia"]),
            number(point["eigenvalues"][0]),
            number(point["eigenvalues"][-1]),
        )
        for i, point in enumerate(content["points"])
    ]
    heads = ("point", "risk", "|gradient|", SIGNS, "smallest", "largest")
    notes = [
        f"point {i}: {spectrum['lowest']} lowest and {spectrum['highest']} highest of {spectrum['parameters']} eigenvalues, from "
        f"Hessian-vector products, each to {number(spectrum['largest_residual'])}; the inertia is not known, at least "
        f"{spectrum['negative_at_least']} are negative and {spectrum['positive_at_least']} positive"
        + ("" if spectrum["converged"] else "; the method did not converge to all that were asked for")
        for i, spectrum in enumerate(point["spectrum"] for point in content["points"])
        if not spectrum["complete"]
    ]
    return Table(f"{content['study']}: {_count(len(rows), 'point')}", heads, rows, notes)


def flow_table(content: Content) -> Table:
    """Return a row for each trajectory."""
    rows = [
        (
            str(i),
            str(run["status"]),
            number(run["t"][-1]),
            str(run["steps"]),
            number(run["value"][0], 10),
            number(run["value"][-1], 10),
        )
        for i, run in enumerate(content["trajectories"])
    ]
    what = "descent" if content.get("settings", {}).get("step_size") else "gradient flow"
    title = f"{content['study']}: {what}, {_count(len(rows), 'trajectory')}"
    heads = ("start", "status", "time", "steps", "risk at the start", "at the end")
    return Table(title, heads, rows, [*_endings(content), *_gauges(content)])


def _endings(content: Content) -> list[str]:
    """Say what ended the trajectories that did not finish, and which events happened."""
    notes = []
    for i, run in enumerate(content["trajectories"]):
        if run.get("block"):
            near = run.get("blow_up_time")
            at = "" if near is None else f", blow-up near t = {number(near, 6)}"
            notes.append(f"start {i}: {run['status']}, in block {run['block']}{at}")
        if run["status"] in ("stalled", "step_limit", "at_infinity") and run.get("message"):
            notes.append(f"start {i}: {run['message'].partition('. ')[0].rstrip('.')}")
        counts = Counter(event["event"] for event in run.get("events", ()))
        notes += [
            f"start {i}: {name} {'once, ' if count == 1 else f'{count} times, first '}at t = "
            + number(next(e["t"] for e in run["events"] if e["event"] == name), 8)
            for name, count in counts.items()
        ]
        if run.get("slides"):
            time = sum(slide["end"] - slide["start"] for slide in run["slides"])
            notes.append(f"start {i}: slides along kinks for a time of {number(time)}")
    return notes


def _gauges(content: Content) -> list[str]:
    """Give the largest drift of each conserved quantity, and the steps on which the risk rose."""
    drifts: dict[str, float] = {}
    for run in content["trajectories"]:
        for law in run.get("conserved", ()):
            drifts[law["name"]] = max(drifts.get(law["name"], 0.0), law["drift"])
    rises = sum(run.get("energy_increases", 0) for run in content["trajectories"])
    if content.get("settings", {}).get("step_size"):
        kept = "moved by {}; the gradient flow keeps it, a descent need not"
    else:
        kept = "kept to {}"
    notes = [f"{name}: {kept.format(number(drift))}" for name, drift in drifts.items()]
    return [*notes, *([f"the risk rose on {rises} steps"] if rises else [])]


def landscape_tables(content: Content, *, edges: bool) -> list[Table]:
    """Return the critical points, with how the search ended, and with ``edges`` how they are linked."""
    points, links = content["critical_points"], content["edges"]
    rows = [
        (
            point["id"],
            _kinds(point),
            number(point["value"], 10),
            number(point["gradient_norm"]),
            inertia(point["inertia"]),
            _maybe(point["manifold_dimension"]),
            _maybe(point["orbit_size"]),
            str(point["found"]),
            point.get("stratum") or "",
            str(point.get("status") or ""),
        )
        for point in points
    ]
    heads = ("id", "kind", "risk", "|gradient|", SIGNS, "dim", "copies", "found", "network", "status")
    title = f"{content['study']}: {_count(len(points), 'critical point')}, up to symmetry"
    done = content["completeness"]
    ends = (
        f"{content['runs_to_infinity']} starts to infinity, {content['unconverged']} not converged, "
        f"seed {content['seed']}"
    )
    notes = [
        *_explained(points),
        *_changing(points),
        *_at_infinity(content.get("at_infinity", ())),
        *([ends] if any(search["starts"] for search in content.get("searches", ({"starts": 1},))) else []),
        *sentences(points),
        *(
            f"{' and '.join(pair)} are not shown to be different"
            for pair in content.get("not_told_apart", ())
        ),
        f"completeness {done['status']}: {done['method']}",
        *_completeness_checks(done),
        *([f"not solved exactly: {content['not_exact']}"] if content.get("not_exact") else []),
    ]
    tables = [Table(title, heads, rows, notes), *_exact_tables(content), *_digits_tables(points)]
    if edges:
        kinds = Counter(str(edge["kind"]) for edge in links)
        summary = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        shown = [(edge["source"], edge["kind"], edge["target"]) for edge in links[:MOST_EDGES]]
        rest = [f"... and {len(links) - MOST_EDGES} more"] if len(links) > MOST_EDGES else []
        lost = Counter(str(channel["reason"]) for channel in content.get("channels", ()))
        words = {"infinity": "more to infinity", "unresolved": "more that could not be resolved"}
        rest += [
            f"{_count(count, 'descent')} {words.get(reason, reason)}"
            for reason, count in sorted(lost.items())
        ]
        title = f"{_count(len(links), 'edge')}" + (f": {summary}" if summary else "")
        tables.append(Table(title, ("from", "by", "to"), shown, rest))
    return tables


def _completeness_checks(done: Content) -> list[str]:
    """Return a line for each check of the list that the line before does not quote, widths with one answer together."""
    checks: Sequence[Content] = done.get("checks", ())
    lines: dict[tuple[str, str, str], list[str]] = {}
    for check in checks:
        if check["statement"] not in done["method"]:
            key = (check["name"], check["status"], check["statement"])
            lines.setdefault(key, []).append(str(check["width"]))
    several = len({check["width"] for check in checks}) > 1
    return [
        f"- {name}{f', width {_listed(at)}' if several else ''}, {status}: {text}"
        for (name, status, text), at in lines.items()
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def answer_table(answer: Answer) -> Table:
    """Return the table of an answer about the graph, under its sentence."""
    return Table(f"{answer.question}: {answer.statement}", answer.heads, answer.rows, answer.notes)


def sequences_tables(content: Content) -> list[Table]:
    """Return a row for each run from small weights, where there were any."""
    runs = content.get("sequences", ())
    if not runs:
        return []
    rows = [
        (
            str(run["run"]),
            run["status"],
            ", ".join(
                f"{passage['point'] or 'none listed'} (t = {number(passage['time'])})"
                for passage in run["passages"]
            ),
        )
        for run in runs
    ]
    title = f"width {runs[0]['width']}: {_count(len(runs), 'run')} from weights of size {number(runs[0]['scale'])}"
    return [Table(title, ("run", "status", "slow at"), rows)]


def training_table(content: Content) -> Table:
    """Return a row for each stall of a training run."""
    rows = [
        (
            number(stall["time"]),
            number(stall["value"], 8),
            number(stall["gradient_norm"]),
            stall["point"] or "none listed",
            f"{stall['nearest']} ({number(stall['distance'])})",
            _copy_of(stall["embedded"]),
        )
        for stall in content["stalls"]
    ]
    run = content["training"]
    title = (
        f"{content['study']}: training of {run['width']} neurons from weights of size {number(run['scale'])}, "
        f"{_count(len(rows), 'stall')}"
    )
    heads = ("time", "risk", "|gradient|", "critical point", "nearest outputs", "its copy in this width")
    end = f"{run['status']} at t = {number(content['t'][-1])}, risk {number(content['value'][-1], 8)}, seed {run['seed']}"
    return Table(title, heads, rows, [end])


def _copy_of(copy: Content | None) -> str:
    if copy is None:
        return ""
    groups: Counter[int] = Counter(copy["groups"])
    silent = groups.pop(-1, 0)
    parts = "+".join(str(count) for _, count in sorted(groups.items())) or "0"
    return f"{parts} neurons, {silent} silent; |gradient| {number(copy['gradient_norm'])}"


def _exact_tables(content: Content) -> list[Table]:
    """Return the critical values, exact, and what the points without second derivatives are."""
    tables = []
    for one in content.get("exact_sets", ()):
        rows = [(group["value"], group["function"]) for group in one["sets"]]
        notes = [*one["notes"]]
        notes += [
            f"{group['function']}, Hessian not classical: {edge['neurons']}: {edge['kind']}; {edge['reason']}"
            for group in one["sets"]
            for edge in group["not_classical"]
            if group["function"] != "f = y"
        ]
        tables.append(
            Table(f"width {one['width']}: critical values", ("risk", "network function"), rows, notes)
        )
    return tables


def _kinds(point: Content) -> str:
    """Return the kind, that of the representative first where the cells of its manifold differ."""
    others = (point.get("manifold") or {}).get("kinds", ())
    return " / ".join(dict.fromkeys([point["kind"], *others]))


def _changing(points: Sequence[Content]) -> list[str]:
    """Say where along a manifold the kind changes: how many of the fractions of each neuron are positive, zero, negative."""
    notes = []
    for point in points:
        manifold = point.get("manifold") or {}
        if len({*manifold.get("kinds", ()), point["kind"]}) < 2:
            continue
        where = [
            f"{cell['kind']} at {' '.join(''.join(c * n for c, n in zip('+0-', signs, strict=True)) for signs in cell['signs'])}"
            for cell in manifold["cells"]
            if not cell["boundary"]
        ]
        notes.append(
            f"{point['id']}: the kind changes along the manifold, by the signs of the fractions: {', '.join(where)}"
        )
    return notes


def _explained(points: Sequence[Content]) -> list[str]:
    """Say of points whose kind goes beyond the inertia why, and of which zero eigenvalues nothing is known."""
    notes = [
        f"{point['id']}: {point['kind']}, since {point['reason']}" for point in points if point.get("reason")
    ]
    open_ones = [
        f"{point['id']} ({point['zeros']['unexplained']})"
        for point in points
        if (point.get("zeros") or {}).get("unexplained")
    ]
    return notes + ([f"zero eigenvalues that nothing explains: {', '.join(open_ones)}"] if open_ones else [])


def _at_infinity(ways: Sequence[Content]) -> list[str]:
    """Describe the most frequent ways to infinity."""
    notes = []
    for way in ways[:MOST_WAYS]:
        growing = ", ".join("+".join(blocks) for blocks in way["growing"])
        risk = (
            f"risk {number(way['value'], 6)} when given up"
            if way["limit"] is None
            else f"risk tends to {number(way['limit'], 10)}"
        )
        notes.append(
            f"to infinity, width {way['width']}: {growing} grow, {risk} ({_count(way['runs'], 'start')})"
        )
    rest = len(ways) - MOST_WAYS
    return notes + ([f"... and {rest} other way{'s' if rest > 1 else ''} to infinity"] if rest > 0 else [])


def _digits_tables(points: Sequence[Content]) -> list[Table]:
    """Return a row for each parameter of each certified point, with the digits that were asked for; nothing if none were."""
    rows = []
    for point in points:
        shown = point.get("certificate")
        if shown is not None and shown["digits"] is not None:
            for name, entries in shown["digits"].items():
                rows += [(point["id"], place, text) for place, text in _entries(name, entries)]
    title = "certified decimals; the last digit may be off by one"
    return [Table(title, ("id", "parameter", "value"), rows)] if rows else []


def _entries(name: str, entries: Any, place: tuple[int, ...] = ()) -> list[tuple[str, str]]:
    """Return the entries of nested lists by name: w[2,1]."""
    if isinstance(entries, str):
        return [(f"{name}[{','.join(map(str, place))}]" if place else name, entries)]
    return [found for k, part in enumerate(entries, 1) for found in _entries(name, part, (*place, k))]


def claims_table(content: Content) -> Table:
    """Return a row for each claim."""
    claims = content["claims"]
    rows = [
        (
            claim["name"],
            claim["claim"],
            claim["status"],
            number(claim["residual"]),
            number(claim["tolerance"]),
        )
        for claim in claims
    ]
    counts = Counter(claim["status"] for claim in claims)
    summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    title = _count(len(claims), "claim") + (f": {summary}" if summary else "")
    return Table(title, ("result", "claim", "status", "residual", "tolerance"), rows)


def number(value: Any, digits: int = 3) -> str:
    """Write a number with ``digits`` significant digits, text as it is, and a dash for nothing."""
    if value is None:
        return "-"
    return (
        f"{value:.{digits}g}"
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else str(value)
    )


def inertia(content: Content | None) -> str:
    """Write the numbers of negative, zero and positive eigenvalues; ``?`` where they are not known."""
    if content is None:
        return "?"
    return " ".join(str(content[sign]) for sign in ("negative", "zero", "positive"))


def _maybe(value: Any) -> str:
    return "?" if value is None else str(value)


def _count(number: int, noun: str) -> str:
    """Write ``1 point``, ``2 points``, ``2 trajectories``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y') + 'ies' if noun.endswith('y') else noun + 's'}"
