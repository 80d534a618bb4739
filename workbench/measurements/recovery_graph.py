"""The graph of the branches of global minima: a node for each branch, an edge where two meet, with the dimension of the intersection."""

from __future__ import annotations

import networkx as nx

from derivations.global_minima import GlobalMinima

__all__ = ["branch_graph", "kind_edges", "kind_names"]

#: Branches up to which each is a node; with more there is one for each kind.
MOST_NODES = 200


def branch_graph(minima: GlobalMinima) -> nx.Graph:
    """Return branches and where they meet; for many branches one node for each kind."""
    graph = nx.Graph()
    whole = len(minima.branches) <= MOST_NODES
    listed = minima.branches if whole else tuple(b for b, _ in minima.kinds)
    copies = dict(minima.kinds)
    names = [f"Q{k + 1}" for k in range(len(listed))] if whole else kind_names(minima)
    for name, b in zip(names, listed, strict=True):
        graph.add_node(
            name,
            equations=list(b.parametrisation()),
            distinct=b.distinct,
            deficient=b.deficient,
            dimension=b.dimension,
            rank=b.rank,
            separation_size=b.separation_size,
            morse_bott=b.morse_bott,
            branches=1 if whole else copies[b],
        )
    if whole:
        for i, j, joint in minima.meeting():
            graph.add_edge(names[i], names[j], dimension=joint.dimension)
    else:
        for one, other, dimensions in kind_edges(minima):
            graph.add_edge(one, other, dimension=max(dimensions))
    return graph


def kind_names(minima: GlobalMinima) -> list[str]:
    """Return a name for each kind of branch: r, l, and a number where two kinds share them."""
    names: list[str] = []
    for b, _ in minima.kinds:
        name = f"r={b.distinct}, l={b.deficient}"
        names.append(name if name not in names else f"{name} ({sum(u.startswith(name) for u in names) + 1})")
    return names


def kind_edges(minima: GlobalMinima) -> list[tuple[str, str, list[int]]]:
    """Return the kinds of branches that meet, with the dimensions of their intersections."""
    names = dict(zip((b.signature for b, _ in minima.kinds), kind_names(minima), strict=True))
    found: dict[tuple[str, str], set[int]] = {}
    for i, j, joint in minima.meeting():
        one, other = sorted((names[minima.branches[i].signature], names[minima.branches[j].signature]))
        found.setdefault((one, other), set()).add(joint.dimension)
    return [(one, other, sorted(dims)) for (one, other), dims in sorted(found.items())]
