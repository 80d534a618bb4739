r"""Runs of the gradient flow on the true loss over an interval: where random starts end, and how fast saddles are left.

An end is sorted without tolerance where that is possible: the loss falls along the flow, so a run whose loss is below the smallest positive
critical value can only tend to a global minimum; where all neurons are inactive on the whole interval only c moves, and the loss tends
to that of the best constant.  A ReLU run is *next to dead* where the neurons are inactive but for a short piece at an end, with the sign of
v for which that end is a local minimum, and the gradient has all but vanished.  Other ends are named after the critical value next to them if the gradient has all but vanished, else they are
still moving.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import torch
from torch import Tensor

from derivations.claim import Status
from derivations.critical_sets import CriticalSets
from derivations.theorem import Finding
from numerics.flow import FlowResult, integrate
from numerics.interval_system import IntervalSystem

__all__ = ["Ends", "descents", "ends_finding", "escape", "run", "saddle_of", "sorted_ends"]

#: End of the runs, in units of the flow.
UNTIL = 1e6
#: Norm of the gradient at which a run counts as come to rest.
REST = 1e-7
#: Share of the interval on which a neuron next to dead may be active.
SHORT = 1e-3
#: Relative distance of a loss from a critical value at which it is named after it.
CLOSE = 1e-4
#: Distance from a saddle of the start of an escape, and the range of distances in which its rate is measured.
START, FIRST, LAST = 1e-7, 3e-6, 1e-4
#: Relative deviation of the measured rate; seen: 3e-4.
RATE = 0.01


@dataclass(frozen=True)
class Ends:
    """Where runs end: ``global``, ``dead``, ``next to dead``, ``at VALUE`` or ``moving`` for each, and the last losses."""

    names: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def counts(self) -> Counter[str]:
        """How often each end occurs."""
        return Counter(self.names)


def run(system: IntervalSystem, start: Tensor, until: float = UNTIL, **options: Any) -> FlowResult:
    """Integrate the gradient flow of the exact loss from a batch of starts."""
    given: dict[str, Any] = {
        "rtol": 1e-5,
        "atol": 1e-8,
        "stationary_norm": 1e-10,
        "max_steps": 5000,
    } | options
    return integrate(
        lambda theta: -system.gradient(theta),
        start,
        until,
        jacobian=lambda theta: -system.hessian(theta),
        **given,
    )


def sorted_ends(system: IntervalSystem, theta: Tensor, levels: Sequence[float]) -> Ends:
    """Say where each run ends; ``levels`` are the positive critical values in increasing order."""
    values, rest = system.value(theta), system.gradient(theta).norm(dim=-1)
    blocks = system.unpack(theta)
    ends = theta.new_tensor([float(system.interval.lower), float(system.interval.upper)])
    z = blocks["w"][..., 0][..., None] * ends + blocks["b"][..., None]
    left, right = system.interval.half_lines
    asleep = torch.zeros(len(theta), dtype=torch.bool, device=theta.device)
    if left == 0:
        asleep |= (z < 0).all(-1).all(-1)
    if right == 0:
        asleep |= (z > 0).all(-1).all(-1)
    drowsy = _drowsy(system, blocks, z) if left == 0 else torch.zeros_like(asleep)
    names = []
    for value, size, dead, nearly in zip(
        values.tolist(), rest.tolist(), asleep.tolist(), drowsy.tolist(), strict=True
    ):
        near = [u for u in levels if abs(value - u) <= CLOSE * u]
        if dead:
            names.append("dead")
        elif value < levels[0] * (1 - CLOSE):
            names.append("global")
        elif nearly and size <= REST:
            names.append("next to dead")
        else:
            names.append(f"at {near[0]:.6g}" if near and size <= REST else "moving")
    return Ends(tuple(names), tuple(values.tolist()))


def _drowsy(system: IntervalSystem, blocks: dict[str, Tensor], z: Tensor) -> Tensor:
    """Say where each neuron is inactive but for a short piece at an end, with the sign of v for which the loss drives its kink out."""
    target, x = system.interval.target, system.interval.x
    slope = float(target.coeff(x, 1))
    low, high = z[..., 0], z[..., 1]
    sign = slope * blocks["a"].reshape(low.shape)
    at_lower = (high < 0) & (low <= SHORT * (low - high)) & ((low < 0) | (sign > 0))
    at_upper = (low < 0) & (high <= SHORT * (high - low)) & ((high < 0) | (sign < 0))
    return (at_lower | at_upper).all(-1)


def ends_finding(found: dict[int, Ends], levels: dict[int, Sequence[float]], seed: int) -> Finding:
    """Say what the ends of random starts support, by width; a run at a saddle or still moving leaves it open."""
    parts, open_ones = [], 0
    for width, ends in found.items():
        counts = ends.counts
        good = counts["global"] + counts["dead"] + counts["next to dead"]
        open_ones += len(ends.names) - good
        words = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        parts.append(f"width {width}: {words} (largest loss of those below the saddles {_largest(ends):.2g})")
    reason = "; ".join(parts)
    evidence = {
        "seed": seed,
        "ends": {str(width): dict(ends.counts) for width, ends in found.items()},
        "critical values": {str(width): [float(u) for u in values] for width, values in levels.items()},
    }
    total = sum(len(ends.names) for ends in found.values())
    if open_ones:
        return Finding(
            Status.UNDECIDED,
            f"{open_ones} of {total} runs neither below the saddles nor dead; {reason}",
            evidence=evidence,
        )
    return Finding(Status.SUPPORTED, reason, computed=0, expected=0, evidence=evidence)


def _largest(ends: Ends) -> float:
    return max(
        (v for v, name in zip(ends.values, ends.names, strict=True) if name == "global"), default=math.nan
    )


def saddle_of(sets: CriticalSets, system: IntervalSystem) -> tuple[str, Tensor] | None:
    """Return the strict saddle of the smallest value, as (title, theta); None where there is none."""
    for group in sets.sets:
        for stratum in group.strata:
            if stratum.inertia[0]:
                return f"{group.function}: {stratum.title}", flat(stratum.theta, system)
    return None


def flat(theta: dict[str, Any], system: IntervalSystem) -> Tensor:
    """Return exact blocks as a point of the system."""
    numbers = [float(u) for name in "awb" for u in theta[name]] + [float(theta["c"])]
    return torch.tensor(numbers, dtype=system.dtype, device=system.device)


def escape(system: IntervalSystem, sets: CriticalSets, levels: Sequence[float]) -> Finding:
    """Start next to a saddle on both sides along its lowest eigenvector, and compare the rate of leaving with the eigenvalue."""
    found = saddle_of(sets, system)
    if found is None:
        return Finding(Status.UNDECIDED, "the network has no strict saddle")
    title, saddle = found
    values, vectors = torch.linalg.eigh(system.hessian(saddle[None])[0])
    lowest, u = float(values[0]), vectors[:, 0]
    start = torch.stack([saddle + sign * START * u for sign in (1, -1)])
    times = torch.linspace(
        0, 1.2 * math.log(LAST / START) / abs(lowest), 400, dtype=system.dtype, device=system.device
    )
    result = run(system, start, float(times[-1]), rtol=1e-10, atol=1e-14, save_at=times, stationary_norm=None)
    rates = []
    for row in range(2):
        away = ((result.states[row] - saddle) @ u).abs()
        inside = (away > FIRST) & (away < LAST)
        t, y = result.times[row].to(away)[inside], away[inside].log()
        rates.append(float(((t - t.mean()) * (y - y.mean())).sum() / ((t - t.mean()) ** 2).sum()))
    error = max(abs(rate / -lowest - 1) for rate in rates)
    last = run(system, saddle + 1e-4 * torch.stack([u, -u])).final_state
    ends = sorted_ends(system, last, levels)
    left = all(value < float(system.value(saddle[None])[0]) for value in ends.values)
    reason = f"{title}: the rates on both sides are {rates[0]:.6f} and {rates[1]:.6f}; the runs end {' and '.join(ends.names)}"
    status = Status.SUPPORTED if error <= RATE and left else Status.UNDECIDED
    return Finding(status, reason, computed=min(rates), expected=-lowest, residual=error, tolerance=RATE)


def descents(system: IntervalSystem, sets: CriticalSets, levels: Sequence[float]) -> nx.DiGraph:
    """Return the strata as nodes and where the flow leads from each saddle, along both signs of each negative eigenvector, as edges."""
    graph = nx.DiGraph()
    starts, origins = [], []
    for rank, group in enumerate(sets.sets):
        for place, stratum in enumerate(group.strata):
            name = f"{rank}.{place}"
            graph.add_node(
                name,
                label=f"{group.function}: {stratum.title}",
                loss=float(group.value),
                exact=str(group.value),
                kind=stratum.kind,
                negative=stratum.inertia[0],
                zero=stratum.inertia[1],
                positive=stratum.inertia[2],
                dimension=stratum.dimension,
            )
            if not stratum.inertia[0]:
                continue
            theta = flat(stratum.theta, system)
            values, vectors = torch.linalg.eigh(system.hessian(theta[None])[0])
            for index in range(stratum.inertia[0]):
                for sign in (1, -1):
                    starts.append(theta + sign * 1e-3 * vectors[:, index])
                    origins.append((name, float(values[index])))
    unresolved = 0
    if starts:
        ends = sorted_ends(system, run(system, torch.stack(starts)).final_state, levels)
        for (origin, eigenvalue), name, value in zip(origins, ends.names, ends.values, strict=True):
            target = _node(graph, name)
            if target is None or graph.nodes[origin]["loss"] <= graph.nodes[target]["loss"]:
                unresolved += 1
                continue
            known = graph.edges[origin, target]["eigenvalues"] if graph.has_edge(origin, target) else []
            graph.add_edge(
                origin,
                target,
                kind="descent",
                drop=graph.nodes[origin]["loss"] - value,
                eigenvalues=[*known, eigenvalue],
            )
    graph.graph["unresolved"] = unresolved
    return graph


def _node(graph: nx.DiGraph, name: str) -> str | None:
    """Return the node of an end; of a critical value that several strata share, the one with the fewest negative eigenvalues."""
    if name == "global":
        return next((u for u, data in graph.nodes(data=True) if data["loss"] == 0), None)
    if name == "dead":
        return next(
            (u for u, data in graph.nodes(data=True) if data["kind"] == "minimum" and data["loss"] > 0), None
        )
    near = [(d["negative"], u) for u, d in graph.nodes(data=True) if f"at {d['loss']:.6g}" == name]
    return min(near)[1] if near else None
