r"""Critical points of a network over an interval in sets: one set for each network function, in strata by type of neuron.

A stratum says what each neuron does, up to permutation; it is a manifold of the stated dimension, on which the Hessian has
the stated inertia.  Points where the risk has no second derivatives are described in words, with their kind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import factorial, prod
from typing import Any

from sympy import Expr

__all__ = ["MAX_WIDTH", "Boundary", "CriticalSet", "CriticalSets", "Inertia", "Stratum", "check_width"]

#: Largest width that is listed.
MAX_WIDTH = 4

#: Numbers of negative, zero and positive eigenvalues.
Inertia = tuple[int, int, int]


@dataclass(frozen=True)
class Stratum:
    """Critical points with one network function and one type of each neuron.

    Parameters
    ----------
    neurons : tuple of str
        Type of each neuron, in words, up to permutation.
    dimension : int
        Of the manifold.
    inertia : tuple of int
        Numbers (-, 0, +) of eigenvalues of the Hessian at ``theta``.
    kind, reason : str
        ``minimum`` or ``saddle``, and on what ground.
    theta : dict
        A point on it, exact: a, w, b, c.
    others : tuple of tuple of int
        Inertias that occur elsewhere on the stratum, where neurons at one kink bend f in opposite senses, or some are flat.
    """

    neurons: tuple[str, ...]
    dimension: int
    inertia: Inertia
    kind: str
    reason: str
    theta: dict[str, Any]
    others: tuple[Inertia, ...] = ()

    @property
    def arrangements(self) -> int:
        """Number of ways to give the types to the neurons."""
        counts = Counter(self.neurons).values()
        return factorial(len(self.neurons)) // prod(map(factorial, counts))

    @property
    def title(self) -> str:
        """The types, each with how often it occurs."""
        parts = [f"{count} x {name}" if count > 1 else name for name, count in Counter(self.neurons).items()]
        return ", ".join(parts)


@dataclass(frozen=True)
class Boundary:
    """Critical points without classical Hessian in the closure of the strata: which, and of which kind."""

    neurons: str
    kind: str
    reason: str


@dataclass(frozen=True)
class CriticalSet:
    """All critical points with one network function.

    Parameters
    ----------
    function : str
        The network function, in words.
    value : Expr
        The risk, exact.
    strata, boundary : tuples
        The points.
    least : bool
        Whether the value is the least of the risk.
    """

    function: str
    value: Expr
    strata: tuple[Stratum, ...]
    boundary: tuple[Boundary, ...] = ()
    least: bool = False


@dataclass(frozen=True)
class CriticalSets:
    """The complete list at one width.

    Parameters
    ----------
    width : int
        Width.
    sets : tuple of CriticalSet
        In the order of their values.
    method : str
        Why the list is complete.
    notes : tuple of str
        What else is proved, such as an infimum that is not attained.
    """

    width: int
    sets: tuple[CriticalSet, ...]
    method: str
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[Expr, ...]:
        """The critical values in increasing order, without repetition."""
        return tuple(dict.fromkeys(u.value for u in self.sets))


def check_width(width: int) -> None:
    """Raise ValueError for a width that is not listed."""
    if type(width) is not int or not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"a width is an integer from 1 to {MAX_WIDTH}, got {width!r}")
