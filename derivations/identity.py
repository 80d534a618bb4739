r"""One output-preserving change of the parameters, with its kind, its dimension and what follows from it.

>>> from derivations.problem import Problem
>>> from derivations.identities import identities
>>> first = identities(Problem.two_layer("tanh"))[0]
>>> first.name, str(first.kind), first.orbit
('permutation of neurons', 'group', factorial(m))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sympy import Expr, Integer, latex

from derivations.statement import Statement

__all__ = ["Identity", "Kind"]


class Kind(StrEnum):
    """What the maps of an identity form."""

    GROUP = "group"  #: defined at every parameter and invertible; the width stays
    PARTIAL = "partial group"  #: invertible, but defined only where a relation between the neurons holds
    SEMIGROUP = "semigroup"  #: neurons are added; read backwards, removed where the parameters have this form
    LIST = "list"  #: a statement about the list itself


_WORDS = {
    Kind.GROUP: "Group: invertible at every parameter, the width stays.",
    Kind.PARTIAL: "Partial group: invertible where the condition holds, the width stays.",
}


@dataclass(frozen=True)
class Identity(Statement):
    r"""A family of maps of the parameters that keeps every output, for all data.

    Parameters
    ----------
    map_tex : str
        The map with its indices, LaTeX without dollars.
    kind : Kind
        Group, partial group or semigroup.
    layer : int
        Number of the hidden layer, from 1 on; 0 for a model without layers.
    added : int
        Neurons that the map adds.
    dimension : Expr or None
        Continuous parameters of the family, at a parameter without accidental relations; None where it is not known.
    orbit : Expr or None
        Number of images of such a parameter where it is finite, else None.
    degenerate : str
        Fixed points and degenerate cases, a LaTeX sentence.
    follows : tuple of str
        What follows from it, with the name under which ``workbench derive --show`` has it.
    keeps_risk : bool or None
        Whether the risk with its weight decay is kept too; None where the outputs are not shown to be kept.
    """

    map_tex: str = ""
    kind: Kind = Kind.GROUP
    layer: int = 0
    added: int = 0
    dimension: Expr | None = field(default_factory=lambda: Integer(0))
    orbit: Expr | None = None
    degenerate: str = ""
    follows: tuple[str, ...] = ()
    keeps_risk: bool | None = None

    def to_dict(self) -> dict[str, object]:
        """Return plain data, the statement and the attributes above."""
        return {
            **super().to_dict(),
            "map": self.map_tex,
            "kind": str(self.kind),
            "layer": self.layer,
            "added_neurons": self.added,
            "dimension": None if self.dimension is None else str(self.dimension),
            "orbit_size": None if self.orbit is None else str(self.orbit),
            "degenerate": self.degenerate,
            "follows": list(self.follows),
            "keeps_risk": self.keeps_risk,
        }

    def facts(self) -> tuple[str, ...]:
        """Return kind, dimension, orbit, degenerate cases and consequences as LaTeX sentences."""
        if self.kind is Kind.LIST:
            return ()
        plural = "neuron" if self.added == 1 else f"{self.added} neurons"
        words = _WORDS.get(
            self.kind, f"Semigroup: it adds a {plural}; backwards it removes what has this form."
        )
        if self.added > 1:
            words = f"Semigroup: it adds {plural}; backwards it removes what has this form."
        size = "Continuous parameters: not counted."
        if self.dimension is not None:
            size = f"Continuous parameters: ${latex(self.dimension)}$."
        if self.orbit is not None:
            size += f" Images of a parameter in general position: ${latex(self.orbit)}$."
        found = [words, size]
        if self.degenerate:
            found.append(self.degenerate)
        if self.follows:
            found.append(f"It gives: {'; '.join(self.follows)}.")
        return tuple(found)
