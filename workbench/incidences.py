r"""How the manifolds of a landscape lie to each other: what is contained in closures, what the data's symmetries exchange, how many there are.

An edge ``contains`` goes from a stratum with copies c and l silent neurons to the one with a copy of neuron j less and a silent neuron
more: where the fraction of that copy vanishes the closure of the first contains the part :math:`w' = w_j` of the second.  That is proved by
putting 0 into the parametrisation, and by the identity that splitting keeps critical points at every fraction.  ``whole`` says whether this
part is a connected component of the second (:math:`w_j` is then isolated in M), which is measured.

An edge ``symmetry`` says that a map which permutes the samples maps one entry to the other; that the image is the listed one is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from derivations.claim import Status
from derivations.null_embedding import null_embedding
from derivations.problem import Problem
from derivations.sample_symmetries import SampleSymmetry
from derivations.strata import all_pieces, connected_parts, end_residuals, end_status, plateaus, strata
from numerics.compile import CompiledSystem
from numerics.sample_moves import moved
from workbench.catalogue import Catalogue, Irreducible, Key
from workbench.errors import Refusal
from workbench.manifolds import CriticalManifold, Origin, origin_of
from workbench.network import Architecture, Network, architecture
from workbench.populations import is_population
from workbench.results import Edge

if TYPE_CHECKING:
    from workbench.landscape import Landscape

__all__ = ["Manifolds", "embedding_status", "manifold_at", "symmetry_edges"]

#: Labelled pieces up to which connected components are counted.
MOST_PIECES = 20000
#: Points of a manifold at which the gradient is measured.
SAMPLES = 8
#: Points of a component of M that are written down.
SHOWN = 5


def embedding_status(problem: Any, kind: str, holds: bool) -> Status:
    """Return PROVED where the identity behind an embedding is, for all sizes and data, and its check holds; else SUPPORTED or UNDECIDED."""
    if not holds:
        return Status.UNDECIDED
    if not isinstance(problem, Problem):
        return Status.SUPPORTED
    shown = _null_status(problem) if kind == "null" else end_status(problem)
    return Status.PROVED if shown is Status.PROVED else Status.SUPPORTED


@cache
def _null_status(problem: Problem) -> Status:
    return null_embedding(problem).status


class Manifolds:
    """The manifolds of the entries of a catalogue.

    Parameters
    ----------
    catalogue, shape, system_of
        As of an exploration.
    names : mapping
        Ids of the entries.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        shape: Architecture,
        system_of: Callable[[int], CompiledSystem],
        names: Mapping[Key, str],
    ) -> None:
        self.catalogue, self.shape, self.system_of, self.names = catalogue, shape, system_of, names
        self.widest = max((key.width for key in names), default=0)
        self._origins: dict[int, Origin | None] = {}

    def origin(self, key: Key) -> Origin | None:
        """Return the irreducible point of an entry; None for one of a continuum, whose other members have manifolds of their own."""
        if key.serial not in self._origins:
            point = key.origin
            scale = self.catalogue.scale(point.width) if point.width else 0.0
            found = origin_of(self.shape, self.system_of, point.network, scale)
            self._origins[key.serial] = None if found.found.inertia.zero else found
        return self._origins[key.serial]

    def of(self, key: Key) -> CriticalManifold | None:
        """Return the manifold of an entry."""
        origin = self.origin(key)
        return None if origin is None or key.width == 0 else CriticalManifold(origin, key.copies, key.dead)

    def record(self, key: Key) -> dict[str, Any] | None:
        """Return its JSON: dimension, copies, equations, cells, a check at samples; for an irreducible point also M."""
        origin, manifold = self.origin(key), self.of(key)
        record: dict[str, Any] = {}
        if manifold is not None:
            found = manifold.cells(self.catalogue.scale(key.width))
            most, status = manifold.check(SAMPLES)
            record = {
                "dimension": manifold.dimension,
                "copies": manifold.pieces,
                "by_fractions": manifold.by_fractions,
                "equations": [f"{equation.lhs} = {equation.rhs}" for equation in manifold.equations()],
                "cells": [cell.to_dict() for cell in found],
                "cells_left_out": max(0, manifold.cell_count() - len(found)),
                "kinds": list(dict.fromkeys(cell.kind for cell in found if not cell.boundary)),
                "kinds_at_ends": list(dict.fromkeys(cell.kind for cell in found if cell.boundary)),
                "sampled": {"points": SAMPLES, "gradient": most, "status": str(status)},
            }
        if origin is not None and key.trivial and key.width < self.widest:
            record["null_set"] = _null_record(origin)
        return record or None

    def contains(self) -> Iterator[Edge]:
        """Yield the edges ``contains`` between the strata of each origin."""
        problem = self.system_of(1).problem
        for key, name in self.names.items():
            origin = self.origin(key)
            if origin is None:
                continue
            for j, count in enumerate(key.copies, start=1):
                fewer = tuple(c - (k == j) for k, c in enumerate(key.copies, start=1))
                target = Key(key.origin, key.serial, fewer, key.dead + 1)
                if count < 2 or target not in self.names:
                    continue
                zero = not any(end_residuals(key.copies, key.dead, j).values())
                proved = zero and isinstance(problem, Problem) and end_status(problem) is Status.PROVED
                part = origin.null.part_of(j) if origin.null.traced else None
                details = {
                    "neuron": j - 1,
                    "part": f"gamma_{j} = 0, w' = w_{j}",
                    "dimension": CriticalManifold(origin, fewer, key.dead).dimension,
                    "whole": None if part is None else origin.null.parts[part].dimension == 0,
                    "status": str(Status.PROVED if proved else Status.SUPPORTED),
                }
                yield Edge(name, self.names[target], "contains", details)

    def enumeration(self, widths: Sequence[int]) -> Iterator[dict[str, Any]]:
        r"""Yield, for every irreducible point and wider listed width, how many strata and labelled pieces there are and what is listed.

        ``plateaus`` is r! S(m, r), times :math:`2^m` with a parity; ``pieces`` adds those with silent neurons, M counted as one; both are
        added up over the strata, and ``formula_agrees`` says whether the formula gives the same (a neuron without input weights has no
        flip); ``components`` is the number of connected components of their union, None where M is not traced or there are too
        many pieces; it is measured like M, whose curves may meet outside the box.  ``missing`` are strata without an entry: silent neurons whose inputs are not 0, where no search met them.
        """
        signs = bool(self.shape.flip)
        for serial, point in enumerate(self.catalogue.points):
            own = Key(point, serial, (1,) * point.width, 0)
            for width in widths:
                origin = self.origin(own) if own in self.names else None
                if width <= point.width or origin is None:
                    continue
                every = [Key(point, serial, copies, silent) for copies, silent in strata(width, point.width)]
                count = {key: CriticalManifold(origin, key.copies, key.dead).pieces for key in every}
                flat, total = sum(n for key, n in count.items() if not key.dead), sum(count.values())
                formula = (
                    plateaus(width, point.width, signs=signs),
                    all_pieces(width, point.width, signs=signs),
                )
                left = [key for key in every if key not in self.names]
                yield {
                    "width": width,
                    "origin": self.names[own],
                    "strata": len(every),
                    "listed": [self.names[key] for key in every if key in self.names],
                    "missing": [{"copies": list(key.copies), "dead": key.dead} for key in left],
                    "plateaus": flat,
                    "pieces": total,
                    "formula_agrees": (flat, total) == formula,
                    "components": _components(origin, width, signs=signs),
                }


def _null_record(origin: Origin) -> dict[str, Any]:
    null = origin.null
    return {
        "dimension": null.dimension,
        "traced": null.traced,
        "box": null.box,
        "ends": list(null.ends),
        "components": [
            {
                "dimension": part.dimension,
                "closed": part.closed,
                "holds": list(part.holds),
                "points": part.points[:: max(1, len(part.points) // SHOWN)][:SHOWN].tolist(),
            }
            for part in null.parts
        ],
        "notes": list(null.notes),
        "status": str(Status.SUPPORTED),
    }


def manifold_at(landscape: Landscape, name: str) -> CriticalManifold:
    """Return the manifold of an entry of a landscape.

    Raises
    ------
    KeyError
        If there is no such entry.
    Refusal
        If it has none.
    """
    point, analysis = landscape[name], landscape.derived_from
    if "cells" not in (point.manifold or {}) or analysis is None:
        raise Refusal(
            f"{name}, of which no manifold is described",
            "an entry of a two-layer landscape, found in this session, that is irreducible and isolated or a stratum of such a point",
        )
    problem = analysis.problem.problem if is_population(analysis.problem) else analysis.problem
    inner = landscape[point.origin or name]
    outputs = np.asarray(point.theta["a"], dtype=float)
    shape = architecture(problem, len(point.theta["w"][0]), 1 if outputs.ndim == 1 else outputs.shape[1])
    blocks = inner.theta if inner.width else {"a": [], "w": [], "b": [], **inner.theta}
    origin = origin_of(shape, analysis.compile, Network.from_blocks(blocks, shape))
    return CriticalManifold(origin, point.copies, point.dead)


def symmetry_edges(
    catalogue: Catalogue, names: Mapping[Key, str], symmetries: Sequence[SampleSymmetry]
) -> Iterator[Edge]:
    """Yield an edge for every entry and symmetry of the data whose image is another entry; one for the two directions of an exchange."""
    done: set[tuple[str, str]] = set()
    for symmetry in symmetries:
        for serial, point in enumerate(catalogue.points):
            image = _image(catalogue, point, symmetry) if point.width else None
            if image is None:
                continue
            other, order, distance = image
            for key, name in names.items():
                if key.serial != serial:
                    continue
                copies = [0] * len(order)
                for neuron, count in zip(order, key.copies, strict=True):
                    copies[neuron] = count
                target = names.get(Key(catalogue.points[other], other, tuple(copies), key.dead))
                if target in (None, name) or (target, name) in done or (name, target) in done:
                    continue
                assert target is not None
                done.add((name, target))
                details = {"map": symmetry.words, "distance": distance, "status": str(Status.SUPPORTED)}
                yield Edge(name, target, "symmetry", details)


def _image(
    catalogue: Catalogue, point: Irreducible, symmetry: SampleSymmetry
) -> tuple[int, tuple[int, ...], float] | None:
    """Return the number of the point that the image is, for each neuron the one it becomes, and how far apart they are."""
    system: CompiledSystem = catalogue.system_of(point.width)
    net = catalogue.network(system, moved(system, symmetry, catalogue.flat(system, point.network)))
    for serial, other in enumerate(catalogue.points):
        order = net.match(other.network, catalogue.shape) if other.width == point.width else None
        if order is not None and sorted(order) == list(range(len(order))):
            return serial, order, float(net.distance(other.network, catalogue.shape))
    return None


def _components(origin: Origin, width: int, *, signs: bool) -> int | None:
    null, r = origin.null, origin.network.width
    numbers = [s * j for j in range(1, r + 1) for s in ((1, -1) if signs else (1,))]
    through = {j: null.part_of(j) for j in numbers}
    if not null.traced or null.everything:
        return None
    if (len(numbers) + len(null.parts)) ** width > MOST_PIECES:
        return None
    known = {j: part for j, part in through.items() if part is not None}
    if len(known) < len(through):
        return None
    return connected_parts(width, r, known, signs=signs, parts=len(null.parts))
