r"""The graph of critical points that a network visits when neurons are added along KKT directions of the residual correlation.

A node is a critical point of L; node 0 is the origin.  From a node with the residual z an attracting KKT direction of the correlation of z, with
:math:`\lambda = |G|`, is added as a neuron of norm delta, which leaves after about :math:`\ln(1/\delta)/\lambda`, and the flow of the enlarged network is followed until
its velocity is 0 to rounding.  Directions that do not attract are left by any displacement across their kink, and give no edge.

For the diagonal network the graph is the lattice of sets of learned modes, with the weights |y_k|.

>>> lattice = mode_lattice((3.0, 0.5))
>>> sorted(lattice.nodes), [round(d["lambda"], 1) for _, _, d in sorted(lattice.edges(data=True), key=lambda e: e[:2])]
(['', '1', '1 2', '2'], [3.0, 0.5, 0.5, 3.0])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import networkx as nx
import torch
from sympy import Expr, Rational
from torch import Tensor

from derivations.activations import Activation
from derivations.claim import Status
from derivations.theorem import Finding
from numerics.correlation_flow import SmallFlow, aligned_neurons
from numerics.events import Event
from numerics.flow_result import Status as FlowStatus
from workbench.correlation import sphere_points
from workbench.measurements.alignment_runs import Directions, directions_of
from workbench.measurements.saddle_runs import SLOPE

__all__ = ["SaddleWalk", "judged", "mode_lattice", "walk"]

#: Digits of the residuals that are taken for the exact list.
DIGITS = 12
#: |G| below this fraction of the size of G at the origin counts as 0: residuals are known to about 1e-9.
FLOOR = 1e-6
#: Outputs of two nodes closer than this are one node; seen: 1e-9.
SAME = 1e-5
#: Velocity at which a flow has come to rest (the error of a step leaves 2e-9); the time in units of 1/lambda, and the steps, after which it is given up.
REST, PATIENCE, STEPS = 1e-8, 500.0, 2000


@dataclass(frozen=True)
class SaddleWalk:
    """What the nodes and edges are computed from.

    Parameters
    ----------
    sigma : Activation
        1-homogeneous with rational slopes.
    x : exact numbers (n, d)
        Inputs.
    flow_of : callable
        The flow of the network of a width.
    scales : tuple of float
        Two delta, the larger first; the second is followed to the next node.
    rounds : int
        Neurons added at most.
    everywhere : bool
        Whether all attracting directions are followed, or the leading one.
    """

    sigma: Activation
    x: Sequence[Sequence[Expr]]
    flow_of: Callable[[int], SmallFlow]
    scales: tuple[float, float]
    rounds: int
    everywhere: bool = False

    def directions(self, residual: Tensor, floor: float) -> Directions:
        """Return the KKT directions of the correlation of a residual (n,) with |G| above a floor."""
        exact = [Rational(round(u * 10**DIGITS), 10**DIGITS) for u in residual.tolist()]
        return directions_of(sphere_points(self.sigma, self.x, exact), floor)


def walk(plan: SaddleWalk, targets: Tensor) -> nx.MultiDiGraph:
    """Return the graph from the origin on; node and edge data are numbers and texts."""
    graph = nx.MultiDiGraph()
    graph.add_node("0", width=0, loss=float(targets.square().sum() / 2), rests=True, index=0)
    states = {"0": torch.empty(0, 1 + len(plan.x[0]), dtype=torch.float64)}
    residuals = {"0": targets}
    frontier = ["0"]
    inputs = torch.tensor([[float(u) for u in row] for row in plan.x], dtype=torch.float64)
    floor = FLOOR * float(targets.abs() @ inputs.norm(dim=1))
    for _ in range(plan.rounds):
        fresh: list[str] = []
        for node in frontier:
            if not graph.nodes[node]["rests"]:
                continue
            known = plan.directions(residuals[node], floor)
            order = sorted(range(len(known.values)), key=lambda k: -known.values[k])
            chosen = [k for k in order if known.attracting[k]]
            graph.nodes[node].update(directions=len(order), attracting=len(chosen))
            for k in chosen if plan.everywhere else chosen[:1]:
                neurons, residual, data = _edge(plan, states[node], known.rows[k], known.values[k])
                target = next(
                    (n for n, r in residuals.items() if float((r - residual).norm()) <= SAME and n != node),
                    None,
                )
                if target is None:
                    target = str(len(residuals))
                    residuals[target], states[target] = residual, neurons
                    loss = float(residual.square().sum() / 2)
                    graph.add_node(
                        target, width=len(neurons), loss=loss, rests=data.pop("rests"), index=len(graph)
                    )
                    fresh.append(target)
                data.pop("rests", None)
                graph.add_edge(node, target, kind="escape", **data)
        frontier = fresh
    return graph


def _edge(
    plan: SaddleWalk, neurons: Tensor, row: Tensor, value: float
) -> tuple[Tensor, Tensor, dict[str, object]]:
    """Add a neuron along a direction; return the neurons and the residual at the end, and the data of the edge."""
    flow = plan.flow_of(len(neurons) + 1)
    unit = row / row.norm()
    alone = plan.flow_of(1).system.outputs(aligned_neurons(unit[None]))
    level = 0.5 * math.sqrt(value / 2 / float(alone.square().sum()))
    m, d = len(neurons) + 1, neurons.shape[1] - 1

    def size(theta: Tensor) -> Tensor:
        return (theta[:, m - 1].square() + theta[:, m + (m - 1) * d :].square().sum(1)).sqrt() - level

    times = []
    for scale in plan.scales:
        start = aligned_neurons(torch.cat([neurons, scale * unit[None]]))
        until = 5 * math.log(1 / scale) / value + 100 / value
        run = flow.run(
            start, until, size=scale, events=[Event("escape", size, direction=1, stop=True)], max_steps=STEPS
        )
        times.append(run.crossings[0].time if run.crossings else math.inf)
    if (
        run.crossings
    ):  # the velocity at the escape is not small, so that a small one means the next critical point
        run = flow.run(run.states[-1], PATIENCE / value, stationary_norm=REST, max_steps=STEPS)
    slope = (times[1] - times[0]) / math.log(plan.scales[0] / plan.scales[1])
    data: dict[str, object] = {
        "direction": ", ".join(f"{u:.10g}" for u in unit[1:] / unit[1:].norm()),
        "sign": 1 if float(unit[0]) > 0 else -1,
        "lambda": value,
        "delta": plan.scales[1],
        "predicted": math.log(1 / plan.scales[1]) / value,
        "escape_time": times[1],
        "escape_time_larger_delta": times[0],
        "slope": slope,
        "slope_error": abs(slope * value - 1) if math.isfinite(slope) else math.inf,
        "rests": run.status is FlowStatus.CONVERGED,
        "ended": run.status.value,
    }
    return flow.neurons(run.states[-1]), flow.residual(run.states[-1]), data


def judged(graph: nx.MultiDiGraph) -> Finding:
    """Say whether every edge leaves at the predicted rate and ends at rest with a smaller loss."""
    edges = [(source, target, data) for source, target, data in graph.edges(data=True)]
    if not edges:
        return Finding(Status.UNDECIDED, "no attracting KKT direction leaves the origin")
    worst = max(data["slope_error"] for _, _, data in edges)
    falls = all(graph.nodes[target]["loss"] < graph.nodes[source]["loss"] for source, target, _ in edges)
    rests = all(graph.nodes[target]["rests"] for _, target, _ in edges)
    losses = " -> ".join(f"{graph.nodes[n]['loss']:.10g}" for n in _path(graph))
    reason = f"losses {losses}; {len(graph)} nodes, {len(edges)} edges"
    if not rests:
        reason += "; a flow did not come to rest in the time given"
    status = Status.SUPPORTED if falls and rests and worst <= SLOPE else Status.UNDECIDED
    rows = [{"from": source, "to": target, **data} for source, target, data in edges]
    first = edges[0][2]
    return Finding(
        status,
        reason,
        computed=first["escape_time"],
        expected=first["predicted"],
        residual=worst,
        tolerance=SLOPE,
        evidence={"edges": rows},
    )


def _path(graph: nx.MultiDiGraph) -> list[str]:
    """The path along the largest lambda."""
    path = ["0"]
    while out := [(d["lambda"], t) for _, t, d in graph.out_edges(path[-1], data=True) if t not in path]:
        path.append(max(out)[1])
    return path


def mode_lattice(targets: Sequence[float]) -> nx.MultiDiGraph:
    """Return the lattice of sets of learned modes of the diagonal network, an edge for each mode that is added."""
    graph = nx.MultiDiGraph()
    numbers = range(len(targets))
    for size in range(len(targets) + 1):
        for learned in itertools.combinations(numbers, size):
            left = [k for k in numbers if k not in learned]
            name = " ".join(str(k + 1) for k in learned)
            loss = sum(targets[k] ** 2 for k in left) / 2
            graph.add_node(name, width=size, loss=loss, index=len(left), rests=True)
            for k in left:
                after = " ".join(str(j + 1) for j in sorted((*learned, k)))
                graph.add_edge(name, after, kind="escape", mode=k + 1, **{"lambda": abs(targets[k])})
    return graph
