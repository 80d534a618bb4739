r"""The graph of KKT directions of the margin problem that flows reach: nodes weighted by their margin, edges of perturbed restarts.

The end of a flow tells an activation pattern, and the convex programme of the pattern the KKT point itself; so a node stands for all
directions with the same products :math:`b = |v| u`, whatever the order of the neurons and however collinear neurons share.  From each
node the flow is started again after a random perturbation; a loop says that it came back, which supports a local maximum and proves
none.  Only two-layer networks with max(z, alpha z) have such a programme.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import torch

from numerics.margin_flow import MarginFlow, MarginRun, MarginState
from workbench.measurements.margin_program import Program, program

__all__ = ["add_directions", "margin_graph"]

#: Distance of the b of two nodes, relative to their size, up to which they are one.
SAME = 1e-6
#: Relative sizes of the perturbations.
SIZES = (0.05, 0.5)
#: Smallest margin from which a perturbed direction is followed, and relative duration after which a restart is given up.
AGAIN, LONGEST = 30.0, 1e3


def margin_graph() -> nx.MultiDiGraph:
    """Return an empty graph."""
    return nx.MultiDiGraph()


def _add(
    graph: nx.MultiDiGraph, prefix: str, flow: MarginFlow, state: MarginState, slope: float, name: str = ""
) -> str | None:
    """Return the node of the KKT direction that a state belongs to; None where its pattern has no solution."""
    found = program(flow, state, slope)
    if isinstance(found, str):
        return None
    for known, data in graph.nodes(data=True):
        if data["group"] == prefix and _same(found, data):
            graph.nodes[known]["found"] += 1
            return str(known)
    count = sum(1 for _, data in graph.nodes(data=True) if data["group"] == prefix)
    name = name or f"{prefix}{count + 1}"
    graph.add_node(
        name,
        group=prefix,
        margin=1 / (2 * found.value),
        residual=found.residual,
        multipliers=found.multipliers.tolist(),
        b=sorted(found.b.tolist()),
        theta=(state.theta / state.norm).tolist(),
        found=1,
        kind="",
    )
    return name


def _same(found: Program, data: dict[str, object]) -> bool:
    known, new = (
        torch.tensor(data["b"], dtype=torch.float64),
        torch.tensor(sorted(found.b.tolist()), dtype=torch.float64),
    )
    return known.shape == new.shape and float((known - new).abs().max()) <= SAME * float(known.abs().max())


def add_directions(
    graph: nx.MultiDiGraph,
    prefix: str,
    flow: MarginFlow,
    runs: Sequence[MarginRun],
    slope: float,
    seed: int,
    target: float,
    names: Sequence[str] = (),
) -> None:
    """Enter the ends of some runs of one network, and where perturbed restarts from them lead.

    Parameters
    ----------
    graph : networkx.MultiDiGraph
        Changed in place.
    prefix : str
        Begins the names of the nodes; nodes of different prefixes are never one.
    flow, runs
        The network and its runs; those that did not reach their target are left out.
    slope : float
        alpha of the activation.
    seed : int
        Of the perturbations.
    target : float
        Smallest margin at which a restart ends.
    names : sequence of str
        Names of the ends of the runs.
    """
    generator = torch.Generator().manual_seed(seed)
    given = list(names) or [""] * len(runs)
    ends = [
        _add(graph, prefix, flow, run.last, slope, name)
        for run, name in zip(runs, given, strict=True)
        if run.reached
    ]
    waiting, done = [node for node in ends if node is not None], set()
    while waiting:
        node = waiting.pop(0)
        if node in done:
            continue
        done.add(node)
        theta = torch.tensor(graph.nodes[node]["theta"], dtype=torch.float64)
        for size in SIZES:
            moved = (
                theta
                + size * torch.randn(len(theta), dtype=torch.float64, generator=generator) / len(theta) ** 0.5
            )
            low = float(flow.margins(moved).min())
            if low <= 0:
                continue  # it separates the data no longer
            run = flow.run(moved * (AGAIN / low) ** (1 / flow.degree), target, longest=LONGEST)
            end = _add(graph, prefix, flow, run.last, slope) if run.reached else None
            if end is not None:
                graph.add_edge(node, end, kind="ascent", perturbation=size)
                waiting.append(end)
        back = [u for _, u, data in graph.out_edges(node, data=True) if data["perturbation"] == SIZES[0]]
        graph.nodes[node]["kind"] = "" if not back else "returns" if back == [node] else "left"
