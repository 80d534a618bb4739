r"""Gradient-flow descents from a saddle along its negative eigendirections, and between them, and where they end.

From a critical point :math:`\theta_c` with eigenpair :math:`(\lambda, u)`, :math:`\lambda < 0`, the derived flow starts at
:math:`\theta_c \pm \varepsilon u`.  Where there are several such u, it also starts at :math:`\theta_c + \varepsilon \sum_i c_i u_i` for
directions c drawn from the uniform distribution on the sphere, ``PER_DIMENSION`` for each dimension.  It is integrated with the stiff
method until the motion dies out; the end is then polished by Newton's method, so that a target is a critical point to rounding and not a
slow passage.  A descent whose parameters still grow, or that ends at a saturated neuron, has no target: it runs to infinity.

At a target with a positive definite Hessian the flow is followed on, until rounding moves it more than the gradient does: that is
the end whose distance from the target decides whether it lies in a certified ball (``workbench.arrivals``).

Source: Zhang, Zhang, Luo, Xu, arXiv:2105.14573 (connections); Hairer and Wanner (1996), section IV.7 (integrator).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import polish
from numerics.flow import Status, integrate
from numerics.saturation import converged, saturated
from numerics.spectrum import Spectrum
from numerics.tolerances import zero_eigenvalue
from workbench.search import Remember, anew

__all__ = [
    "MOST_DRAWN",
    "NEAR",
    "PER_DIMENSION",
    "RTOL",
    "SAMPLED",
    "STEP_OFF",
    "Departure",
    "Descent",
    "departures",
    "descend",
    "sampled",
]

#: Name of a direction that is no eigenvector but was drawn.
SAMPLED = "sampled"

#: Length of the first step off the critical point, relative to 1 + |theta|.
STEP_OFF = 1e-3
#: Times at which the trajectories are judged, and the norm of the rate at which one has arrived.
HORIZONS = (1e2, 1e3, 1e4, 1e5, 1e7, 1e9)
ARRIVED = 1e-10
#: A polished end must lie this close to where the flow stopped, relative to 1 + |theta|.
NEAR = 1e-2
#: Time for which the flow is followed on next to a minimum, in units of 1 / (smallest eigenvalue of the Hessian).
CLOSING = 40.0
#: Tolerances of the integration.
RTOL, ATOL = 1e-6, 1e-9
#: Directions that are drawn for each dimension of the negative eigenspace, where that is more than 1.
PER_DIMENSION = 8
#: Drawn directions of the saddles of one width at most: where there are more saddles than that allows, only eigenvectors are followed.
MOST_DRAWN = 400
#: Times at which a trajectory is looked at, for each decade, to tell when it has come near its end.
PER_DECADE = 12
#: Growth of |theta| over the last two decades of time that tells a run to infinity from a slow approach.
GROWTH = 1.01


@dataclass(frozen=True)
class Departure:
    r"""A start of a descent: the node it leaves, which negative eigenvector (0: lowest), its sign and eigenvalue.

    A drawn direction has ``SAMPLED`` for the eigenvector, sign 1, its coordinates in the basis of the negative eigenvectors, and in place of the
    eigenvalue the curvature :math:`\sum_i c_i^2 \lambda_i` along it.
    """

    node: int
    direction: int | str
    sign: int
    eigenvalue: float
    theta: Tensor
    coordinates: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Descent:
    """How a descent ended: ``arrived`` at ``theta``, at ``infinity``, or ``unresolved``.

    Attributes
    ----------
    theta, value : Tensor (P,), float
        The polished end, or where the flow was given up, and the risk there.
    time : float
        Time at which the flow was stopped.
    transit : float or None
        First time looked at from which on it stays within ``NEAR`` of the target, relative to 1 + |theta|.
    distance : float
        From where the flow was stopped to the polished end, relative to 1 + |theta|.
    stopped : Tensor (P,)
        Where the flow was stopped.
    away : float or None
        Euclidean distance of ``stopped`` from the nearest copy of the entry it was sorted to; None where that is not an isolated point.
    share, drawn : float or None, int
        Share of the directions drawn at the same source that have this end, and their number.
    """

    departure: Departure
    outcome: str
    theta: Tensor
    value: float
    time: float
    transit: float | None
    distance: float
    stopped: Tensor
    away: float | None = None
    share: float | None = None
    drawn: int = 0


def departures(node: int, theta: Tensor, found: Spectrum) -> list[Departure]:
    """Return the starts on both sides of the point along every negative eigendirection.

    Within an eigenspace of several dimensions the basis is chosen by the coordinate axes nearest to it, and every
    direction has a positive leading entry, so that the choice does not depend on the linear algebra library.
    """
    step = STEP_OFF * (1 + float(theta.norm()))
    out = []
    for direction, (eigenvalue, vector) in enumerate(_directions(found)):
        out += [
            Departure(node, direction, sign, eigenvalue, theta + sign * step * vector) for sign in (1, -1)
        ]
    return out


def sampled(node: int, theta: Tensor, found: Spectrum, generator: torch.Generator) -> list[Departure]:
    """Return starts along directions drawn from the sphere in the negative eigenspace; none where that has one dimension."""
    basis = _directions(found)
    if len(basis) < 2:
        return []
    drawn = torch.randn(PER_DIMENSION * len(basis), len(basis), generator=generator, dtype=torch.float64)
    drawn = drawn / drawn.norm(dim=1, keepdim=True)
    levels = torch.tensor([level for level, _ in basis], dtype=torch.float64)
    vectors = torch.stack([vector for _, vector in basis])
    step = STEP_OFF * (1 + float(theta.norm()))
    return [
        Departure(
            node,
            SAMPLED,
            1,
            float((c**2 * levels).sum()),
            theta + step * (c.to(vectors) @ vectors),
            tuple(c.tolist()),
        )
        for c in drawn
    ]


def _directions(found: Spectrum) -> list[tuple[float, Tensor]]:
    out: list[tuple[float, Tensor]] = []
    negative = found.inertia.negative
    start = 0
    while start < negative:
        stop = start + 1
        while stop < negative and found.eigenvalues[stop] - found.eigenvalues[start] <= 1e-7 * abs(
            found.eigenvalues[start]
        ):
            stop += 1
        rest = found.vectors[:, start:stop] @ found.vectors[:, start:stop].T
        for position in range(start, stop):
            size = rest.diagonal()
            axis = int(torch.nonzero(size >= size.max() * (1 - 1e-6))[0])
            vector = rest[:, axis] / rest[:, axis].norm()
            rest = rest - torch.outer(vector, vector)
            leading = int(torch.nonzero(vector.abs() >= vector.abs().max() * (1 - 1e-6))[0])
            out.append((found.eigenvalues[position], vector * torch.sign(vector[leading])))
        start = stop
    return out


def descend(
    system: CompiledSystem,
    starts: Sequence[Departure],
    progress: Callable[[float], None] | None = None,
    remember: Remember = anew,
) -> list[Descent]:
    """Follow the flow from every start of one width, as one batch."""
    if not starts:
        return []
    theta0 = torch.stack([start.theta for start in starts])
    begins = hashlib.sha256(json.dumps(theta0.tolist()).encode()).hexdigest()

    def compute() -> dict[str, Any]:
        return {"ends": _follow(system, theta0, progress)}

    ends = remember("descents", system.sizes["m"], {"starts": begins, "record": 2}, compute)["ends"]

    def place(entries: list[float]) -> Tensor:
        return torch.tensor(entries, dtype=system.dtype, device=system.device)

    return [
        Descent(
            start,
            end["outcome"],
            place(end["theta"]),
            end["value"],
            end["time"],
            end["transit"],
            end["distance"],
            place(end["stopped"]),
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def _follow(
    system: CompiledSystem, theta0: Tensor, progress: Callable[[float], None] | None
) -> list[dict[str, Any]]:
    """Integrate in stages; a trajectory leaves when its end is certain, and the others go on to the next horizon."""
    ends: list[dict[str, Any]] = [{} for _ in range(len(theta0))]
    seen: list[list[tuple[float, Tensor]]] = [[] for _ in range(len(theta0))]
    active, state, earlier, before = list(range(len(theta0))), theta0, theta0, 0.0
    for stage, horizon in enumerate(HORIZONS):
        result = integrate(
            system.flow,
            state,
            horizon - before,
            jacobian=system.flow_jacobian,
            method="rodas4",
            rtol=RTOL,
            atol=ATOL,
            save_at=_looks(before, horizon),
            stationary_norm=ARRIVED,
            max_norm=1e4,
            max_steps=2000,
        )
        stopped = result.final_state
        last = stage == len(HORIZONS) - 1
        outcomes, places, moved = _judge(system, result.status, stopped, earlier if last else None)
        stay = []
        for row, outcome in enumerate(outcomes):
            times, states = result.times[row].tolist(), result.states[row]
            seen[active[row]] += [(before + t, state) for t, state in zip(times, states, strict=True)]
            if outcome == "open" and not last:
                stay.append(row)
                continue
            time = before + float(result.final_time[row])
            seen[active[row]].append((time, stopped[row]))
            ends[active[row]] = {
                "outcome": "unresolved" if outcome == "open" else outcome,
                "theta": places[row].tolist(),
                "value": float(system.value(places[row])),
                "time": time,
                "transit": _near_since(seen[active[row]], places[row]) if outcome == "arrived" else None,
                "distance": moved[row],
                "stopped": stopped[row].tolist(),
            }
        if progress is not None:
            progress(1 - len(stay) / len(theta0))
        if not stay:
            break
        active, before = [active[row] for row in stay], horizon
        state = earlier = stopped[stay]
    _close_in(system, ends)
    return ends


def _looks(before: float, horizon: float) -> Tensor:
    """Return times after ``before``, evenly spread over each decade."""
    first = before or 1.0
    count = round(PER_DECADE * math.log10(horizon / first))
    looks = first * (horizon / first) ** (torch.arange(1, count + 1, dtype=torch.float64) / count)
    return (looks - before).clamp(max=horizon - before)


def _near_since(seen: Sequence[tuple[float, Tensor]], end: Tensor) -> float:
    """Return the first time looked at from which on a trajectory stays near its end; it is near it at the last one."""
    since = seen[-1][0]
    for time, state in reversed(seen):
        if float((state - end).norm()) > NEAR * (1 + float(end.norm())):
            break
        since = time
    return since


def _close_in(system: CompiledSystem, ends: list[dict[str, Any]]) -> None:
    """Follow the flow on from the ends next to minima, as far as rounding lets it go; the others are left as they are."""
    rows = [row for row, end in enumerate(ends) if end["outcome"] == "arrived"]
    if not rows:
        return
    places = torch.tensor([ends[row]["theta"] for row in rows], dtype=system.dtype, device=system.device)
    stopped = torch.tensor([ends[row]["stopped"] for row in rows], dtype=system.dtype, device=system.device)
    levels = torch.linalg.eigvalsh(system.hessian(places))
    bowl = torch.nonzero(levels[:, 0] > zero_eigenvalue(levels)).flatten()
    if not len(bowl):
        return
    result = integrate(
        system.flow,
        stopped[bowl],
        CLOSING / float(levels[bowl, 0].min()),
        jacobian=system.flow_jacobian,
        method="rodas4",
        rtol=RTOL,
        atol=ATOL,
        max_steps=2000,
    )
    for row, end in zip(bowl.tolist(), result.final_state, strict=True):
        before, after = (float((u - places[row]).norm()) for u in (stopped[row], end))
        if after < before:
            ends[rows[row]] |= {"stopped": end.tolist(), "distance": after / (1 + float(end.norm()))}


def _judge(
    system: CompiledSystem, status: Sequence[Status], stopped: Tensor, earlier: Tensor | None
) -> tuple[list[str], Tensor, list[float]]:
    """Return for each trajectory ``arrived``, ``infinity`` or ``open``, where it counts as ending, and how far that is.

    It has arrived if Newton's method leads to a critical point close by, and either the motion has died out or the
    Hessian is positive semidefinite all along the way there, so that the flow cannot turn away any more.
    """
    ends, _ = polish(system, stopped, steps=12)
    fine = converged(system, ends)
    flat = saturated(system, stopped) | saturated(system, ends)
    fractions = torch.linspace(0, 1, 6, dtype=stopped.dtype, device=stopped.device)[:, None, None]
    curvature = torch.linalg.eigvalsh(system.hessian(stopped + fractions * (ends - stopped)))
    bowl = (curvature[..., 0] >= -zero_eigenvalue(curvature)).all(dim=0)
    strict = curvature[-1, :, 0] > zero_eigenvalue(curvature[-1])
    outcomes, places, moved = [], stopped.clone(), []
    for row, ended in enumerate(status):
        moved.append(float((ends[row] - stopped[row]).norm() / (1 + stopped[row].norm())))
        near = bool(fine[row]) and moved[row] <= NEAR
        grows = earlier is not None and float(stopped[row].norm()) > GROWTH * float(earlier[row].norm())
        holds = near and bool(bowl[row] & strict[row])  # a slow approach grows as well
        if ended is Status.AT_INFINITY or bool(flat[row]) or (grows and not holds):
            outcomes.append("infinity")
        elif near and (ended is Status.CONVERGED or bool(bowl[row])):
            outcomes.append("arrived")
            places[row] = ends[row]
        else:
            outcomes.append("open")
    return outcomes, places, moved
