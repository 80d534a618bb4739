r"""What is shown of the ends of descents: the certified ball around the target that a run has entered.

A descent is measured: its transit is SUPPORTED, to the tolerance of the integrator.  Its arrival is a statement about the point where the
integration stopped, which is a tuple of numbers: if that lies in a ball around a certified minimum in which the flow provably converges to it
(``numerics.basin_ball``), then the flow *from there* ends at that minimum, CERTIFIED.  What is not shown is that the point lies on the
trajectory from the saddle.

A saddle has no such ball, as most trajectories next to it leave again, and neither has a point of a critical manifold, to which the flow
converges from no full neighbourhood.  There the arrival is UNDECIDED, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from derivations.claim import Status
from workbench.populations import is_population
from workbench.results import CriticalPoint, Edge

if TYPE_CHECKING:
    from numerics.balls import BallSystem
    from workbench.analysis import Analysis
    from workbench.landscape import Landscape

__all__ = ["with_arrivals"]

#: Rounding of the distance between two float64 points, relative to 1 + the distance.
ROUNDING = 1e-14


def with_arrivals(analysis: Analysis, landscape: Landscape) -> Landscape:
    """Return the landscape whose descents say whether their end lies in a certified ball around the target."""
    targets = {edge.target for edge in landscape.edges if edge.kind == "descent"}
    systems: dict[int, BallSystem] = {}
    found = {point.id: _ball(analysis, point, systems) for point in landscape.points if point.id in targets}
    return replace(landscape, edges=tuple(_judged(edge, found) for edge in landscape.edges))


def _judged(edge: Edge, found: Mapping[str, float | str]) -> Edge:
    if edge.kind != "descent":
        return edge
    ball, away = found[edge.target], edge.details.get("away")
    arrival: dict[str, Any] = {"status": str(Status.UNDECIDED), "radius": None, "distance": away}
    if isinstance(ball, str):
        arrival["reason"] = ball
    elif away is None:
        arrival |= {"radius": ball, "reason": "the distance from the target is not known"}
    elif away + ROUNDING * (1 + away) > ball:
        arrival |= {
            "radius": ball,
            "reason": f"the run stopped {away:.2g} from the target, outside the certified ball of radius {ball:.2g}",
        }
    else:
        arrival |= {"status": str(Status.CERTIFIED), "radius": ball}
    details = {name: value for name, value in edge.details.items() if name != "away"}
    return replace(edge, details=details | {"arrival": arrival})


def _ball(analysis: Analysis, point: CriticalPoint, systems: dict[int, BallSystem]) -> float | str:
    """Return the radius of a ball from which the flow converges to a point, or why there is none."""
    if point.inertia.negative:
        return "the target is a saddle, next to which most trajectories leave again"
    if point.inertia.zero:
        return (
            "the Hessian of the target is singular, so that the flow does not converge to it from a full ball"
        )
    shown = point.certificate
    if point.status is not Status.CERTIFIED or shown is None or not shown.unique:
        return f"the target is not certified: {point.not_certified or 'this was not tried'}"
    if is_population(analysis.problem) or find_spec("flint") is None:
        return "the risk has no enclosure here"
    from numerics.basin_ball import NotCertified, basin_radius
    from workbench.certify import ball_system

    if point.width not in systems:
        data = analysis.required_data("certified arrivals")
        systems[point.width] = ball_system(analysis.problem, data, {"m": point.width})
    system = systems[point.width]
    theta = [float(u) for name, _, _ in system.layout for u in np.ravel(np.asarray(point.theta[name]))]
    try:
        return basin_radius(system, theta, shown.error)
    except NotCertified as reason:
        return str(reason)
