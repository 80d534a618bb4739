r"""A result of the library checked on an instance: assumptions decided, claims derived and measured, a verdict for each.

The symbolic part of a result is a module of ``derivations.theorems``; what is measured for it, the figures and the graph come from the
module of the same name in ``workbench.measurements``, whose ``measure(instance, bench)`` returns ``Measured``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from derivations.claim import Claim, Status
from derivations.html_table import html_table
from derivations.theorem import Finding, Instance, SettingError, Theorem, verdict
from derivations.theorems import THEOREMS
from workbench.errors import StudyError, unknown_name
from workbench.measurements import MEASURES
from workbench.measurements.measured import Bench, Measured, Picture

__all__ = ["Checked", "check", "named"]


@dataclass(frozen=True)
class Checked:
    """A result with the verdicts for one instance.

    Attributes
    ----------
    theorem : Theorem
        The result.
    settings : mapping
        The texts of all settings.
    assumptions : mapping
        What is known of each assumption.
    claims : tuple of Claim
        With their verdicts.
    graph, pictures
        As ``Measured``.
    seconds : float
        Run time.
    """

    theorem: Theorem
    settings: Mapping[str, str]
    assumptions: Mapping[str, Finding]
    claims: tuple[Claim, ...]
    graph: Any
    pictures: tuple[Picture, ...]
    seconds: float

    @property
    def refuted(self) -> bool:
        """Whether a claim is REFUTED."""
        return any(claim.status is Status.REFUTED for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of schema 1."""
        return {
            "schema": 1,
            "theorem": self.theorem.name,
            "settings": dict(self.settings),
            "assumptions": [
                {
                    "name": one.name,
                    "statement": one.statement,
                    "status": str(self.assumptions[one.name].status),
                    "reason": self.assumptions[one.name].reason,
                }
                for one in self.theorem.assumptions
            ],
            "claims": [claim.to_dict() for claim in self.claims],
        }

    def _repr_html_(self) -> str:
        rows = [(claim.claim, claim.statement, claim.status) for claim in self.claims]
        return html_table(("claim", "statement", "status"), rows, self.theorem.title)


def named(name: str) -> Theorem:
    """Return a result of the library.

    Raises
    ------
    StudyError
        If there is none of this name; the message names the nearest.
    """
    if name not in THEOREMS:
        refusal = unknown_name(name, THEOREMS, "a result of the library")
        raise StudyError(f"theorem: {refusal}")
    return THEOREMS[name]


def check(name: str, chosen: Mapping[str, str] | None = None, bench: Bench | None = None) -> Checked:
    """Check a result on the instance of some settings.

    Raises
    ------
    StudyError
        If there is no such result, no such setting, or a value is not accepted.
    """
    begun = time.perf_counter()
    bench = bench or Bench()
    result = named(name)
    try:
        instance = result.instance(chosen)
    except SettingError as error:
        raise StudyError(str(error)) from None
    with bench.progress.stage("checking the assumptions", 0.1):
        assumptions = instance.findings()
    measured = _measured(name, instance, bench)
    with bench.progress.stage("deriving the claims", 0.2):
        claims = tuple(
            verdict(one, instance, assumptions, measured.findings.get(one.label)) for one in result.claims
        )
    seconds = time.perf_counter() - begun
    return Checked(result, instance.texts, assumptions, claims, measured.graph, measured.pictures, seconds)


def _measured(name: str, instance: Instance, bench: Bench) -> Measured:
    found = MEASURES[name](instance, bench)
    unknown = set(found.findings) - {one.label for one in instance.theorem.claims}
    if unknown:
        raise ValueError(f"{name}: measured {sorted(unknown)}, which are no claims")
    return found
