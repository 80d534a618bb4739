"""What is known and how: statuses, and claims that carry their evidence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

__all__ = ["Claim", "Relation", "Status"]


class Status(StrEnum):
    """How a statement is known."""

    PROVED = "PROVED"  #: a symbolic expression reduced to exactly zero
    CERTIFIED = "CERTIFIED"  #: enclosed by interval arithmetic
    SUPPORTED = "SUPPORTED"  #: measured, within a stated tolerance
    REFUTED = "REFUTED"  #: a counterexample is attached
    UNDECIDED = "UNDECIDED"  #: none of the above


class Relation(StrEnum):
    """Relation of the computed quantity to the published one."""

    EQUAL = "equal"
    AT_MOST = "at_most"
    AT_LEAST = "at_least"


@dataclass(frozen=True)
class Claim:
    """One statement with its source, status and evidence.

    Parameters
    ----------
    name : str
        The result it belongs to, in the field's words: ``splitting embedding``.
    claim : str
        Short label within the result: ``C1``, ``gradient``.
    statement : str
        LaTeX, mathematics between dollars.
    source : str
        Bibliography key, or empty for a definition of the workbench.
    computed, expected, residual, tolerance
        Numbers (or text of exact expressions) where there are any; ``residual`` is compared with ``tolerance``.
    evidence : dict
        What a reader needs to check it: seeds, points, counterexamples, proof steps.
    """

    name: str
    claim: str
    statement: str
    source: str = ""
    relation: Relation = Relation.EQUAL
    status: Status = Status.UNDECIDED
    computed: Any = None
    expected: Any = None
    residual: Any = None
    tolerance: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def with_status(self, status: Status, **changes: Any) -> Claim:
        """Return the claim with another status (and other fields)."""
        return replace(self, status=status, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the public schema."""
        return {
            "name": self.name,
            "claim": self.claim,
            "statement": self.statement,
            "source": self.source,
            "relation": str(self.relation),
            "status": str(self.status),
            "computed": self.computed,
            "expected": self.expected,
            "residual": self.residual,
            "tolerance": self.tolerance,
            "evidence": self.evidence,
        }
