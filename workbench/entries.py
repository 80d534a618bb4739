r"""From what an exploration found to records with ids: entries, edges, channels, checks.

Entries of a width are numbered by value, those of one value by the width of their irreducible network, dead neurons and
copies; ``m2.3`` is the third of width 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from derivations.sample_symmetries import SampleSymmetry
from numerics.compile import CompiledSystem
from numerics.manifold import LocalSet, local_set
from numerics.spectrum import Inertia, Spectrum
from workbench.barriers import Bridge
from workbench.catalogue import Catalogue, Key
from workbench.classification import classified, is_lower_bound
from workbench.connections import Descent
from workbench.descent_records import Barrier, channel, descent_edge
from workbench.embedding_checks import EmbeddedPoint
from workbench.incidences import Manifolds, embedding_status, symmetry_edges
from workbench.network import SAME_NEURON, Architecture
from workbench.results import Channel, CriticalPoint, Edge, EmbeddingCheck, WidthSearch, Zeros

__all__ = ["Embedding", "Exploration", "Findings", "Node", "records"]

#: Relative bound for the residuals of an embedded point; measured 1e-15.
EMBEDDING_TOLERANCE = 1e-10


@dataclass
class Node:
    """An entry before it has an id; ``dimension`` is that of the tangent space of its stratum."""

    key: Key
    theta: Tensor
    value: float
    gradient_norm: float
    spectrum: Spectrum
    found_by: str
    dimension: int
    left: bool = False  # its descents are done


class Embedding(NamedTuple):
    """One embedding of a node into the next width."""

    source: Key
    target: Key
    kind: str
    neuron: int | None
    alpha: float
    point: EmbeddedPoint


@dataclass(frozen=True)
class Exploration:
    """Everything found, as records with ids."""

    points: tuple[CriticalPoint, ...]
    edges: tuple[Edge, ...]
    channels: tuple[Channel, ...]
    checks: tuple[EmbeddingCheck, ...]
    searches: tuple[WidthSearch, ...]
    strata: tuple[dict[str, Any], ...] = ()
    barriers: tuple[Barrier, ...] = ()


@dataclass(frozen=True)
class Findings:
    """Everything found, by key."""

    shape: Architecture
    merges: bool
    catalogue: Catalogue
    nodes: dict[Key, Node]
    embeddings: list[Embedding]
    descents: list[tuple[Key, Key | None, Descent]]
    searches: tuple[WidthSearch, ...]
    symmetries: tuple[SampleSymmetry, ...] = ()
    bridges: tuple[Bridge, ...] = ()


def records(found: Findings, system_of: Callable[[int], CompiledSystem]) -> Exploration:
    """Return the records, sorted."""
    names = _names(found.nodes)
    lowest: dict[int, float] = {}
    for key, node in found.nodes.items():
        lowest[key.width] = min(lowest.get(key.width, node.value), node.value)
    ordered = sorted(names, key=lambda k: _order(names[k]))
    points = [_point(found, found.nodes[key], names, lowest[key.width], system_of) for key in ordered]
    manifolds = Manifolds(found.catalogue, found.shape, system_of, names) if found.merges else None
    if manifolds is not None:
        points = [replace(p, manifold=manifolds.record(k)) for p, k in zip(points, ordered, strict=True)]
    checks = [_check(found, embedding, names) for embedding in found.embeddings]
    edges = [_embedding_edge(check, system_of(1).problem) for check in checks]
    channels: list[Channel] = []
    for source, goal, descent in found.descents:
        if goal is None:
            channels.append(channel(source.width, names[source], descent, len(channels) + 1))
        else:
            before = found.nodes[source].value
            edges.append(descent_edge(names[source], names[goal], before, descent.value, descent))
    edges += symmetry_edges(found.catalogue, names, found.symmetries)
    if manifolds is not None:
        edges += manifolds.contains()
    edges.sort(key=_edge_order)
    checks.sort(key=lambda c: (_order(c.source), _order(c.target), c.neuron or 0))
    searches = tuple(
        replace(search, hits=tuple(names[u] if isinstance(u, Key) else u for u in search.hits))
        for search in found.searches
    )
    strata = () if manifolds is None else tuple(manifolds.enumeration([s.width for s in found.searches]))
    barriers = tuple(_barrier(bridge, names) for bridge in found.bridges)
    return Exploration(
        tuple(points), tuple(edges), tuple(channels), tuple(checks), searches, strata, barriers
    )


def _barrier(bridge: Bridge, names: dict[Key, str]) -> Barrier:
    return Barrier(
        bridge.first.width,
        names[bridge.first],
        names[bridge.second],
        bridge.highest,
        bridge.length,
        bridge.residual,
        tuple(dict.fromkeys(names[key] for key in bridge.tops)),
    )


def _names(nodes: dict[Key, Node]) -> dict[Key, str]:
    names: dict[Key, str] = {}
    for width in sorted({key.width for key in nodes}):
        keys = [key for key in nodes if key.width == width]
        keys.sort(
            key=lambda k: (
                round(k.origin.value, 12),
                k.origin.width,
                k.serial,
                k.dead,
                [-c for c in k.copies],
            )
        )
        names |= {key: f"m{width}.{position}" for position, key in enumerate(keys, 1)}
    return names


def _order(name: str) -> tuple[int, int]:
    width, position = name.removeprefix("m").split(".")
    return int(width), int(position)


def _edge_order(edge: Edge) -> tuple[Any, ...]:
    direction = edge.details.get("direction") or 0
    rank = (
        math.inf if isinstance(direction, str) else direction,  # drawn directions after the eigenvectors
        -(edge.details.get("sign") or 0),
        edge.details.get("neuron") or 0,
    )
    return (_order(edge.source), _order(edge.target), edge.kind, *rank)


def _point(
    found: Findings,
    node: Node,
    names: dict[Key, str],
    lowest: float,
    system_of: Callable[[int], CompiledSystem],
) -> CriticalPoint:
    key, inertia, shape = node.key, node.spectrum.inertia, found.shape
    origin = names.get(Key(key.origin, key.serial, (1,) * key.origin.width, 0))
    zeros, local = _zeros(found, node, system_of)
    cells: Mapping[Inertia, int] = found.catalogue.cells.get(key, {})
    sources = dict.fromkeys(names[e.source] for e in found.embeddings if e.target == key)
    above = node.value > lowest + 1e-9 * (1 + abs(lowest))
    if found.merges or key.width == 0:
        inputs = key.origin.network.w
        resting = sum(
            c for c, w in zip(key.copies, inputs, strict=True) if abs(w).max(initial=0.0) < SAME_NEURON
        )
        orbit: int | None = shape.orbit_size(key.copies, key.dead, resting)
    else:
        orbit = key.origin.network.orbit_size(shape)
    if key.trivial and inertia.zero:
        orbit = None  # one of a continuum
    point = CriticalPoint(
        id=names[key],
        width=key.width,
        theta=_blocks(node, shape, system_of),
        value=node.value,
        gradient_norm=node.gradient_norm,
        eigenvalues=node.spectrum.eigenvalues,
        inertia=inertia,
        largest_zero=node.spectrum.largest_zero,
        smallest_nonzero=node.spectrum.smallest_nonzero,
        stratum=_stratum(key, origin, zeros),
        origin=None if key.trivial else origin,
        copies=key.copies,
        dead=key.dead,
        orbit_size=orbit,
        found=found.catalogue.found.get(key, 0),
        found_by=node.found_by,
        cells=tuple(sorted(cells.items(), key=lambda item: (-item[1], item[0].negative, item[0].zero))),
        embedded_from=tuple(sources),
        global_minimum=_global(found, node, above),
    )
    return classified(point, zeros, local)


def _zeros(found: Findings, node: Node, system_of: Callable[[int], CompiledSystem]) -> tuple[Zeros, LocalSet]:
    """Explain the zero eigenvalues: the stratum's dimension as far as measurement confirms it, then what was measured beyond."""
    count = node.spectrum.inertia.zero
    if node.key.width == 0 or count == 0:
        return Zeros(unexplained=count), LocalSet(count, 0, "flat" if count == 0 else None)
    local = local_set(system_of(node.key.width), node.theta, scale=found.catalogue.scale(node.key.width))
    embedding = min(node.dimension, local.dimension)
    return Zeros(0, embedding, local.dimension - embedding, count - local.dimension), local


def _global(found: Findings, node: Node, above: bool) -> bool | None:
    """False where a lower value or a negative eigenvalue is known; True where a loss that is not negative vanishes."""
    if node.spectrum.inertia.negative or above:
        return False
    return True if is_lower_bound(found.catalogue.system_of(1).problem, node.value) else None


def _blocks(node: Node, shape: Architecture, system_of: Callable[[int], CompiledSystem]) -> dict[str, Any]:
    if node.key.width == 0:
        c = node.key.origin.network.c
        return {} if c is None else {"c": c.tolist() if shape.vector_output else float(c[0])}
    return {name: part.tolist() for name, part in system_of(node.key.width).unpack(node.theta).items()}


def _stratum(key: Key, origin: str | None, zeros: Zeros) -> str:
    if key.width == 0:
        return "constant"
    if key.trivial:
        if zeros.unexplained:
            return "set of unknown dimension"
        return "measured manifold" if zeros.manifold else "irreducible"
    parts = [origin or "the constant network"]
    if any(count > 1 for count in key.copies):
        parts.append(f"split ({', '.join(map(str, key.copies))})")
    if key.dead:
        parts.append(f"with {key.dead} dead neuron{'s' if key.dead > 1 else ''}")
    return " ".join(parts)


def _check(found: Findings, embedding: Embedding, names: dict[Key, str]) -> EmbeddingCheck:
    point = embedding.point
    return EmbeddingCheck(
        names[embedding.source],
        names[embedding.target],
        embedding.kind,
        embedding.neuron,
        embedding.alpha,
        point.output_error,
        point.gradient_norm,
        point.intertwining,
        found.nodes[embedding.source].spectrum.inertia,
        point.inertia,
        point.predicted,
        EMBEDDING_TOLERANCE,
        point.clear,
    )


def _embedding_edge(check: EmbeddingCheck, problem: Any) -> Edge:
    details = {
        "neuron": check.neuron,
        "alpha": check.alpha,
        "inertia_before": check.inertia_before.to_dict(),
        "inertia_after": check.inertia_after.to_dict(),
        "holds": check.holds,
        "status": str(embedding_status(problem, check.kind, check.holds)),
    }
    return Edge(check.source, check.target, check.kind, details)
