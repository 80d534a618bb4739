r"""Gradient-flow descents from a saddle along its negative eigendirections, and where they end.

From a critical point :math:`\theta_c` with eigenpair :math:`(\lambda, u)`, :math:`\lambda < 0`, the derived flow starts at
:math:`\theta_c \pm \varepsilon u`.  It is integrated with the stiff method until the motion dies out; the end is then
polished by Newton's method, so that a target is a critical point to rounding and not a slow passage.  A descent whose
parameters still grow, or that ends at a saturated neuron, has no target: it runs to infinity.

Source: Zhang, Zhang, Luo, Xu, arXiv:2105.14573 (connections); Hairer and Wanner (1996), section IV.7 (integrator).
"""

from __future__ import annotations

import hashlib
import json
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

__all__ = ["Descent", "Departure", "departures", "descend"]

#: Length of the first step off the critical point, relative to 1 + |theta|.
STEP_OFF = 1e-3
#: Times at which the trajectories are judged, and the norm of the rate at which one has arrived.
HORIZONS = (1e2, 1e3, 1e4, 1e5, 1e7, 1e9)
ARRIVED = 1e-10
#: A polished end must lie this close to where the flow stopped, relative to 1 + |theta|.
NEAR = 1e-2
#: Growth of |theta| over the last two decades of time that tells a run to infinity from a slow approach.
GROWTH = 1.01


@dataclass(frozen=True)
class Departure:
    """A start of a descent: the node it leaves, which negative eigenvector (0: lowest), its sign and eigenvalue."""

    node: int
    direction: int
    sign: int
    eigenvalue: float
    theta: Tensor


@dataclass(frozen=True)
class Descent:
    """How a descent ended: ``arrived`` at ``theta``, at ``infinity``, or ``unresolved``."""

    departure: Departure
    outcome: str
    theta: Tensor
    value: float
    time: float
    distance: float


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

    ends = remember("descents", system.sizes["m"], {"starts": begins}, compute)["ends"]
    return [
        Descent(
            start,
            end["outcome"],
            torch.tensor(end["theta"], dtype=system.dtype, device=system.device),
            end["value"],
            end["time"],
            end["distance"],
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def _follow(
    system: CompiledSystem, theta0: Tensor, progress: Callable[[float], None] | None
) -> list[dict[str, Any]]:
    """Integrate in stages; a trajectory leaves when its end is certain, and the others go on to the next horizon."""
    ends: list[dict[str, Any]] = [{} for _ in range(len(theta0))]
    active, state, earlier, before = list(range(len(theta0))), theta0, theta0, 0.0
    for stage, horizon in enumerate(HORIZONS):
        result = integrate(
            system.flow,
            state,
            horizon - before,
            jacobian=system.flow_jacobian,
            method="rodas4",
            rtol=1e-6,
            atol=1e-9,
            stationary_norm=ARRIVED,
            max_norm=1e4,
            max_steps=2000,
        )
        stopped = result.final_state
        last = stage == len(HORIZONS) - 1
        outcomes, places, moved = _judge(system, result.status, stopped, earlier if last else None)
        stay = []
        for row, outcome in enumerate(outcomes):
            if outcome == "open" and not last:
                stay.append(row)
                continue
            ends[active[row]] = {
                "outcome": "unresolved" if outcome == "open" else outcome,
                "theta": places[row].tolist(),
                "value": float(system.value(places[row])),
                "time": before + float(result.final_time[row]),
                "distance": moved[row],
            }
        if progress is not None:
            progress(1 - len(stay) / len(theta0))
        if not stay:
            break
        active, before = [active[row] for row in stay], horizon
        state = earlier = stopped[stay]
    return ends


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
    outcomes, places, moved = [], stopped.clone(), []
    for row, ended in enumerate(status):
        moved.append(float((ends[row] - stopped[row]).norm() / (1 + stopped[row].norm())))
        near = bool(fine[row]) and moved[row] <= NEAR
        grows = earlier is not None and float(stopped[row].norm()) > GROWTH * float(earlier[row].norm())
        if ended is Status.AT_INFINITY or bool(flat[row]) or grows:
            outcomes.append("infinity")
        elif near and (ended is Status.CONVERGED or bool(bowl[row])):
            outcomes.append("arrived")
            places[row] = ends[row]
        else:
            outcomes.append("open")
    return outcomes, places, moved
