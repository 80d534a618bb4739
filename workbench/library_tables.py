"""Tables of the library of results: the list, one result as it was published, and its verdicts on an instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from workbench.bibliography import REFERENCES
from workbench.tables import Table, number

if TYPE_CHECKING:
    from derivations.theorem import Theorem

__all__ = ["checked_tables", "library_table", "theorem_tables"]


def library_table(results: Iterable[Theorem]) -> Table:
    """Return a row for each result."""
    rows = [(one.name, one.title, str(len(one.claims)), ", ".join(one.sources)) for one in results]
    return Table("The library of results", ("name", "title", "claims", "sources"), rows)


def theorem_tables(result: Theorem) -> list[Table]:
    """Return what was published, what is assumed, and what can be changed by ``--set``."""
    sources = [f"[{key}] {REFERENCES[key].title}" for key in result.sources]
    return [
        Table(f"{result.name}: {result.title}", (), (), [result.setting, *sources]),
        Table(
            "Settings",
            ("name", "default", "accepted"),
            [(one.name, one.default, one.accepted) for one in result.settings],
        ),
        Table(
            "Assumptions", ("name", "statement"), [(one.name, one.statement) for one in result.assumptions]
        ),
        Table(
            "Claims",
            ("claim", "statement", "needs", "source"),
            [(one.label, one.statement, ", ".join(one.needs), one.source) for one in result.claims],
        ),
    ]


def checked_tables(content: Mapping[str, Any]) -> list[Table]:
    """Return the assumptions and the verdicts of a result on an instance."""
    chosen = ", ".join(f"{name} = {value}" for name, value in content["settings"].items())
    assumed = [(one["name"], one["status"], one["reason"]) for one in content["assumptions"]]
    rows = [
        (
            claim["claim"],
            claim["status"],
            _short(claim["computed"]),
            _short(claim["expected"]),
            _short(claim["residual"]),
            _reason(claim["evidence"]),
        )
        for claim in content["claims"]
    ]
    counts = Counter(claim["status"] for claim in content["claims"])
    summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    refuted = [
        f"{claim['claim']}: {claim['statement']} Counterexample: {_reason(claim['evidence'])}"
        for claim in content["claims"]
        if claim["status"] == "REFUTED"
    ]
    heads = ("claim", "verdict", "computed", "published", "residual", "ground")
    return [
        Table(f"{content['theorem']}: {chosen}", ("assumption", "status", "ground"), assumed),
        Table(f"{len(rows)} claims: {summary}", heads, rows, refuted),
    ]


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value, 8)
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _reason(evidence: Mapping[str, Any]) -> str:
    """Say on what ground: an assumption that fails, else the derivation and the measurement."""
    broken = {**evidence.get("assumptions that fail", {}), **evidence.get("assumptions left open", {})}
    if broken:
        return "; ".join(f"{name}: {why}" if why else name for name, why in broken.items())
    parts = [evidence[kind]["reason"] for kind in ("derivation", "measurement") if kind in evidence]
    return "; ".join(part for part in parts if part) or "neither derived nor measured"
