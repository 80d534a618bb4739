r"""Gradient-flow descents from a saddle along its negative eigendirections, and where they end.

From a critical point :math:`\theta_c` with eigenpair :math:`(\lambda, u)`, :math:`\lambda < 0`, the derived flow starts at
:math:`\theta_c \pm \varepsilon u`.  It is integrated with the stiff method until the motion dies out; the end is then
polished by Newton's method, so that a target is a critical point to rounding and not a slow passage.  A descent whose
parameters still grow, or that ends at a saturated neuron, has no target: it runs to infinity.

Source: Zhang, Zhang, Luo, Xu, arXiv:2105.14573 (connections); Hairer and Wanner (1996), section IV.7 (integrator).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import polish
from numerics.flow import Status, integrate
from numerics.saturation import saturated
from numerics.spectrum import Spectrum
from numerics.tolerances import CRITICAL_GRADIENT

__all__ = ["Descent", "Departure", "departures", "descend"]

#: Length of the first step off the critical point, relative to 1 + |theta|.
STEP_OFF = 1e-3
#: Time up to which a descent is followed, and the norm of the rate at which it has arrived.
UNTIL = 1e9
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
) -> list[Descent]:
    """Follow the flow from every start of one width, as one batch."""
    if not starts:
        return []
    theta0 = torch.stack([start.theta for start in starts])
    result = integrate(
        system.flow,
        theta0,
        UNTIL,
        jacobian=system.flow_jacobian,
        method="rodas4",
        rtol=1e-8,
        atol=1e-10,
        save_at=torch.tensor([UNTIL / 100, UNTIL], dtype=torch.float64),
        stationary_norm=ARRIVED,
        max_norm=1e4,
        max_steps=4000,
        progress=progress,
    )
    ends, sizes = polish(system, result.final_state)
    flat = saturated(system, result.final_state) | saturated(system, ends)
    out = []
    for row, start in enumerate(starts):
        stopped, end = result.final_state[row], ends[row]
        moved = float((end - stopped).norm() / (1 + stopped.norm()))
        earlier = result.states[row][0] if len(result.states[row]) > 1 else stopped
        grows = float(stopped.norm()) > GROWTH * float(earlier.norm())
        if result.status[row] is Status.AT_INFINITY or bool(flat[row]) or grows:
            outcome, where = "infinity", stopped
        elif float(sizes[row]) <= CRITICAL_GRADIENT and moved <= NEAR:
            outcome, where = "arrived", end
        else:
            outcome, where = "unresolved", stopped
        value, time = float(system.value(where)), float(result.final_time[row])
        out.append(Descent(start, outcome, where, value, time, moved))
    return out
