r"""A mathematical sentence with its derivation and its status: what the reports print and the claims refer to.

>>> Statement("Euler", r"$z \sigma'(z) = \sigma(z)$.", ("differentiate",), Status.PROVED).proved
True
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field

from sympy import Expr

from derivations.claim import Status

__all__ = ["Statement"]


@dataclass(frozen=True)
class Statement:
    """One sentence about a problem, the lines that derive it, and what the computer made sure of.

    Parameters
    ----------
    name : str
        What it is called in the field: ``permutation of neurons``.
    statement : str
        One or two LaTeX sentences, mathematics between dollars.
    steps : tuple of str
        The derivation, each line a LaTeX sentence of the same kind.
    status : Status
        PROVED where every entry of ``residuals`` reduced to exactly 0; REFUTED with the counterexample in the sentence.
    residuals : mapping
        Left minus right side of each identity in canonical form, by name.
    source : str
        Where the result was published, or empty.
    """

    name: str
    statement: str
    steps: tuple[str, ...] = ()
    status: Status = Status.UNDECIDED
    residuals: Mapping[str, Expr] = field(default_factory=dict)
    source: str = ""

    @property
    def proved(self) -> bool:
        """Whether the sentence is proved."""
        return self.status is Status.PROVED

    def _repr_html_(self) -> str:
        """Return the sentence with its status and the derivation as a list; mathematics stands between dollars."""
        head = html.escape(f"{self.name} ({self.status}).")
        steps = "".join(f"<li>{html.escape(step)}</li>" for step in self.steps)
        return f"<p><b>{head}</b> {html.escape(self.statement)}</p>" + (f"<ul>{steps}</ul>" if steps else "")

    def to_dict(self) -> dict[str, object]:
        """Return plain data: the residuals as text."""
        return {
            "name": self.name,
            "statement": self.statement,
            "steps": list(self.steps),
            "status": str(self.status),
            "residuals": {name: str(value) for name, value in self.residuals.items()},
            "source": self.source,
        }
