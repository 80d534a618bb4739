r"""What symmetries and conserved quantities are stated as: statements with what a computation needs of them.

>>> Symmetry("sign of a neuron", "...", moves=("a", "w")).keeps_risk is None
True
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr

from derivations.indexed import Index
from derivations.statement import Statement

__all__ = ["ConservedQuantity", "Symmetry"]


@dataclass(frozen=True)
class Symmetry(Statement):
    """A symmetry, or the refutation of one.

    Parameters
    ----------
    keeps_risk : bool or None
        Whether the risk, weight decay included, is kept as well; None where the outputs are not shown to be kept.
    moves : tuple of str
        Names of the blocks that the map changes.
    """

    keeps_risk: bool | None = None
    moves: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConservedQuantity(Statement):
    r"""A quantity with its law, or the proof that there is none of a kind.

    Parameters
    ----------
    quantity : Expr or None
        Expression with free indices ``indices`` over the parameters, ready for ``CompiledSystem.evaluate``; None for a
        statement of non-existence.
    indices : tuple of Index
        One neuron, or a pair of neurons for a matrix; none for a formula.
    decay : Expr or None
        Rate c of :math:`\dot Q = -c\,Q`; 0 where Q is conserved, None where Q obeys no equation of its own.
    """

    quantity: Expr | None = None
    indices: tuple[Index, ...] = ()
    decay: Expr | None = None
