r"""Records that every later stage reads: critical points, edges, searches, embedding checks.

They hold plain numbers only, so that they survive a round trip through JSON; tables, figures, the graph and the
report are made from them and from nothing else.  ``to_dict`` gives the JSON of schema 1.

>>> point = CriticalPoint("m1.1", 1, {"a": [2.0], "w": [[0.5]]}, value=0.1, gradient_norm=1e-16,
...                       eigenvalues=(0.5, 2.0), inertia=Inertia(0, 0, 2))
>>> point.kind, point.strict_saddle, CriticalPoint.from_dict(point.to_dict()) == point
('minimum', False, True)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from derivations.claim import Status
from derivations.html_table import html_table
from numerics.spectrum import CLEAR_GAP, Inertia, kind_of
from workbench.certificate import Certificate

__all__ = ["Channel", "CriticalPoint", "Edge", "EmbeddingCheck", "Escape", "Inertia", "WidthSearch", "Zeros"]

Theta = dict[str, Any]


@dataclass(frozen=True)
class Zeros:
    """Where the zero eigenvalues come from; the four numbers sum to all of them.

    ``symmetry`` are tangent to orbits of derived continuous symmetries; ``embedding`` keep the network function without being
    such: neurons that agree are weighted anew, silent ones move; along ``manifold`` the function changes, and critical points were
    measured to go on; ``unexplained`` is the rest.
    """

    symmetry: int = 0
    embedding: int = 0
    manifold: int = 0
    unexplained: int = 0

    @property
    def explained(self) -> int:
        """All but the unexplained ones: the dimension of the critical manifold."""
        return self.symmetry + self.embedding + self.manifold


@dataclass(frozen=True)
class CriticalPoint:
    r"""One orbit of critical points, or one stratum of a critical manifold, by a representative.

    Attributes
    ----------
    id, width : str, int
        ``m2.3`` is the third entry of width 2, ordered by value; ``m0.1`` is a constant network.
    theta : dict
        Blocks of the representative as nested lists.
    value, gradient_norm : float
        Risk there, and the Euclidean norm of its gradient.
    eigenvalues, inertia : tuple of float, Inertia
        Hessian spectrum, ascending, and its signs.
    largest_zero, smallest_nonzero : float or None
        The two sides of the gap between what counts as zero and what does not.
    stratum : str
        Which copies of which network it is, in words: ``irreducible``, ``m1.1 split (2)``, ``m1.1 with 1 dead neuron``,
        ``measured manifold`` and ``set of unknown dimension`` (points of one value and one singular inertia, listed once).
    origin, copies, dead : str or None, tuple of int, int
        The irreducible point with the same network function (None: itself), how often each of its neurons occurs,
        and the number of neurons that add nothing.
    manifold_dimension : int or None
        Dimension of the critical manifold it lies on; 0 for an isolated one; None where zeros are unexplained.
    unexplained_zeros : int
        Zero eigenvalues beyond that dimension.
    orbit_size : int or None
        Copies under permutations and sign flips; None if not finite or not known.
    found : int
        Starts of the search that led to it.
    found_by : str
        ``search``, ``embedding``, ``descent`` or ``string``.
    cells : tuple of (Inertia, int)
        The inertias met on this stratum during the search and how often, the most frequent first.
    embedded_from : tuple of str
        Points of the next smaller width that are embedded into it.
    global_minimum : bool or None
        True where the value is a lower bound of the risk, False where a lower value is known or there is a negative eigenvalue,
        else None.
    status, radius : Status, float or None
        CERTIFIED where the point is shown to exist and so is its inertia (``workbench.certify``), with the radius of the box around
        ``theta`` that holds it; else SUPPORTED and None.
    certificate : Certificate or None
        What was shown, and how.
    not_certified : str or None
        Why it is not certified; None also where that was not tried.
    zeros : Zeros or None
        What the zero eigenvalues come from; None where that was not looked into.
    decided, reason : str or None, str
        The kind of a point with a semidefinite singular Hessian where it was decided beyond the inertia, and on what ground.
    exact : dict or None
        Blocks of the representative as exact text, where they are known.
    manifold : dict or None
        Equations, cells and number of copies of its critical manifold, see ``workbench.incidences``; for an irreducible point also the
        set of inputs that a silent neuron may take.
    """

    id: str
    width: int
    theta: Theta
    value: float
    gradient_norm: float
    eigenvalues: tuple[float, ...]
    inertia: Inertia
    largest_zero: float | None = None
    smallest_nonzero: float | None = None
    stratum: str = "irreducible"
    origin: str | None = None
    copies: tuple[int, ...] = ()
    dead: int = 0
    manifold_dimension: int | None = 0
    unexplained_zeros: int = 0
    orbit_size: int | None = 1
    found: int = 0
    found_by: str = "search"
    cells: tuple[tuple[Inertia, int], ...] = ()
    embedded_from: tuple[str, ...] = ()
    global_minimum: bool | None = None
    status: Status = Status.SUPPORTED
    radius: float | None = None
    certificate: Certificate | None = None
    not_certified: str | None = None
    zeros: Zeros | None = None
    decided: str | None = None
    reason: str = ""
    exact: dict[str, Any] | None = None
    manifold: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        """``minimum``, ``maximum``, ``saddle``, or ``degenerate`` where a semidefinite Hessian has zeros that leave it open."""
        return self.decided or kind_of(self.inertia)

    @property
    def strict_saddle(self) -> bool | None:
        """Whether there is a negative eigenvalue; None where zeros, or one that is hardly larger, leave that open."""
        if self.inertia.negative:
            clear = self.largest_zero is None or -self.eigenvalues[0] >= CLEAR_GAP * self.largest_zero
            return True if clear or self.status is Status.CERTIFIED else None
        return False if self.inertia.zero == 0 else None

    def _repr_html_(self) -> str:
        blocks = [(f"theta: {name}", values) for name, values in self.theta.items()]
        rows = [
            ("R", f"{self.value:.10g}"),
            ("|grad R|", f"{self.gradient_norm:.3g}"),
            ("inertia (−, 0, +)", tuple(self.inertia.to_dict().values())),
            ("kind", self.kind),
            ("network", self.stratum),
            ("status", self.status),
            *blocks,
        ]
        return html_table(("", "value"), rows, f"critical point {self.id}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "id": self.id,
            "width": self.width,
            "theta": self.theta,
            "exact": self.exact,
            "value": self.value,
            "gradient_norm": self.gradient_norm,
            "eigenvalues": list(self.eigenvalues),
            "inertia": self.inertia.to_dict(),
            "largest_zero": self.largest_zero,
            "smallest_nonzero": self.smallest_nonzero,
            "kind": self.kind,
            "strict_saddle": self.strict_saddle,
            "manifold_dimension": self.manifold_dimension,
            "unexplained_zeros": self.unexplained_zeros,
            "global_minimum": self.global_minimum,
            "status": str(self.status),
            "radius": self.radius,
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
            "not_certified": self.not_certified,
            "orbit_size": self.orbit_size,
            "found": self.found,
            "found_by": self.found_by,
            "stratum": self.stratum,
            "origin": self.origin,
            "copies": list(self.copies),
            "dead": self.dead,
            "cells": [{"inertia": inertia.to_dict(), "found": count} for inertia, count in self.cells],
            "embedded_from": list(self.embedded_from),
            "zeros": None if self.zeros is None else dict(vars(self.zeros)),
            "decided": self.decided,
            "reason": self.reason,
            "manifold": self.manifold,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> CriticalPoint:
        """Return the point that ``to_dict`` described."""
        derived = ("kind", "strict_saddle")
        fields = {name: value for name, value in content.items() if name not in derived}
        fields["inertia"] = Inertia(**fields["inertia"])
        fields["status"] = Status(fields["status"])
        fields["certificate"] = Certificate.from_dict(fields.get("certificate"))
        fields["zeros"] = Zeros(**fields["zeros"]) if fields.get("zeros") else None
        fields["cells"] = tuple((Inertia(**cell["inertia"]), cell["found"]) for cell in fields["cells"])
        for name in ("eigenvalues", "copies", "embedded_from"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class Edge:
    """A proved embedding (``splitting``, ``null``) or a measured gradient-flow run (``descent``) between points.

    ``details`` of an embedding: ``neuron`` (0-based, of the source), ``alpha``, ``inertia_before``,
    ``inertia_after``, ``status``.  Of a descent: ``direction`` (index of the negative eigenvector), ``sign``,
    ``eigenvalue``, ``loss_drop``, ``action`` (the same), ``time``, ``distance`` (from where the flow was stopped to the target, relative
    to 1 + |theta|), ``start_distance`` (of the step off the source, likewise), ``transit`` (measured) and ``arrival`` (certified or not); where the
    negative eigenspace has several dimensions also ``drawn``, the number of directions drawn from its sphere, ``share``, how many of them have this
    end, and for a drawn direction, which has ``sampled`` for its index, ``coordinates`` in the eigenvectors.
    """

    source: str
    target: str
    kind: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"source": self.source, "target": self.target, "kind": self.kind, **self.details}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Edge:
        """Return the edge that ``to_dict`` described."""
        rest = dict(content)
        return cls(rest.pop("source"), rest.pop("target"), rest.pop("kind"), rest)


@dataclass(frozen=True)
class Channel:
    """A descent that has not reached a critical point: the parameters grow while the risk levels off, or time is up.

    ``reason`` is ``infinity`` or ``unresolved``; ``value`` and ``norm`` are those at its end.  ``coordinates``, ``share`` and ``drawn`` are as in
    the edge of a descent.
    """

    id: str
    source: str
    width: int
    direction: int | str
    sign: int
    reason: str
    value: float
    norm: float
    time: float
    coordinates: tuple[float, ...] | None = None
    share: float | None = None
    drawn: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        place = None if self.coordinates is None else list(self.coordinates)
        return {**vars(self), "coordinates": place}


@dataclass(frozen=True)
class Escape:
    """A way to infinity: starts that ran off in one manner, towards one value of the risk.

    Attributes
    ----------
    width, runs : int
        Of the network, and how many starts.
    growing : tuple of tuple of str
        For each neuron that takes part, or for a formula in one entry, the blocks that grow.
    direction : dict
        Blocks of the unit vector along which the first of these starts left.
    value : float
        Risk where that start was given up.
    limit, limit_error : float or None
        Limit of the risk from three places further out, and how far the last of them is from it; None where they do not settle.
    """

    width: int
    growing: tuple[tuple[str, ...], ...]
    direction: Theta
    value: float
    limit: float | None
    limit_error: float | None
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "growing": [list(blocks) for blocks in self.growing]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Escape:
        """Return the record that ``to_dict`` described."""
        return cls(**{**content, "growing": tuple(tuple(blocks) for blocks in content["growing"])})


@dataclass(frozen=True)
class WidthSearch:
    """How the starts at one width ended; ``converged`` ones lie on the listed points.

    ``hits`` holds for each random start, in their order, the id of the entry that it led to, ``numerics.unseen.INFINITY`` or None; the
    starts next to known points are not among them.
    """

    width: int
    starts: int
    converged: int
    runs_to_infinity: int
    unconverged: int
    seconds: float
    at_infinity: tuple[Escape, ...] = ()
    hits: tuple[Any, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; the ways to infinity stand in a list of their own, and ``completeness`` says what the hits tell."""
        return {name: value for name, value in vars(self).items() if name not in ("at_infinity", "hits")}


@dataclass(frozen=True)
class EmbeddingCheck:
    r"""One critical point of width m embedded into width m + 1, checked numerically.

    Attributes
    ----------
    source, target : str
        Ids of the narrow point and of the wide entry whose stratum contains the embedded point.
    kind : str
        ``splitting`` or ``null``.
    neuron, alpha : int or None, float
        The neuron split, and the fraction given to its copy; for ``null`` the bias of the new neuron.
    output_error, gradient_norm : float
        Largest difference of outputs at the samples, and the norm of the wide gradient there.
    intertwining : float
        :math:`\lVert H_{wide} A - B H_{narrow}\rVert_F`, relative to the norm of the wide Hessian.
    inertia_before, inertia_after, predicted : Inertia
        Of the narrow and the wide Hessian, and what the splitting law or the null block predicts.
    tolerance : float
        Bound for the three residuals (relative).
    clear : bool
        Whether both spectra have a gap, a factor ``CLEAR_GAP``, between what counts as zero and what does not; an inertia read
        off a spectrum without one refutes nothing.
    """

    source: str
    target: str
    kind: str
    neuron: int | None
    alpha: float
    output_error: float
    gradient_norm: float
    intertwining: float
    inertia_before: Inertia
    inertia_after: Inertia
    predicted: Inertia | None
    tolerance: float
    clear: bool = True

    @property
    def holds(self) -> bool:
        """Whether every residual is within the tolerance and the inertia is as predicted."""
        small = max(self.output_error, self.gradient_norm, self.intertwining) <= self.tolerance
        return small and (self.predicted is None or self.predicted == self.inertia_after)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        out = dict(vars(self))
        for name in ("inertia_before", "inertia_after", "predicted"):
            out[name] = None if out[name] is None else out[name].to_dict()
        return out | {"holds": self.holds}
