"""Short tables of results for people, made from the JSON of schema 1 and from nothing else.

>>> claims_table({"claims": [{"name": "gradient", "claim": "C1", "status": "SUPPORTED",
...                           "residual": 2e-16, "tolerance": 1e-12}]}).rows
[('gradient', 'C1', 'SUPPORTED', '2e-16', '1e-12')]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Table", "claims_table", "evaluation_table", "flow_table", "landscape_tables"]

Content = Mapping[str, Any]
MOST_EDGES = 40
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
    return Table(f"{content['study']}: {_count(len(rows), 'point')}", heads, rows)


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
    title = f"{content['study']}: gradient flow, {_count(len(rows), 'trajectory')}"
    return Table(title, ("start", "status", "time", "steps", "risk at the start", "at the end"), rows)


def landscape_tables(content: Content, *, edges: bool) -> list[Table]:
    """Return the critical points, with how the search ended, and with ``edges`` how they are linked."""
    points, links = content["critical_points"], content["edges"]
    rows = [
        (
            point["id"],
            point["kind"],
            number(point["value"], 10),
            number(point["gradient_norm"]),
            inertia(point["inertia"]),
            _maybe(point["manifold_dimension"]),
            _maybe(point["orbit_size"]),
            str(point["found"]),
            point.get("stratum") or "",
        )
        for point in points
    ]
    heads = ("id", "kind", "risk", "|gradient|", SIGNS, "dim", "copies", "found", "network")
    title = f"{content['study']}: {_count(len(points), 'critical point')}, up to symmetry"
    done = content["completeness"]
    notes = [
        f"{content['runs_to_infinity']} starts to infinity, {content['unconverged']} not converged, "
        f"seed {content['seed']}",
        f"completeness {done['status']}: {done['method']}",
    ]
    tables = [Table(title, heads, rows, notes)]
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


def inertia(content: Content) -> str:
    """Write the numbers of negative, zero and positive eigenvalues."""
    return " ".join(str(content[sign]) for sign in ("negative", "zero", "positive"))


def _maybe(value: Any) -> str:
    return "?" if value is None else str(value)


def _count(number: int, noun: str) -> str:
    """Write ``1 point``, ``2 points``, ``2 trajectories``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y') + 'ies' if noun.endswith('y') else noun + 's'}"
