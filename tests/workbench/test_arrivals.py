"""Arrivals of descents: certified only inside the ball around a certified minimum."""

from __future__ import annotations

from dataclasses import replace

import pytest

from derivations.claim import Status
from workbench.arrivals import with_arrivals
from workbench.landscape import Landscape
from workbench.results import CriticalPoint, Edge


def judged(landscape: Landscape, away: float | None, **changes: object) -> dict:
    """Return the arrival at the first minimum, at some distance, after changes of the target."""
    edge = next(e for e in landscape.edges if e.kind == "descent" and landscape[e.target].kind == "minimum")
    target = replace(landscape[edge.target], **changes)
    details = {name: value for name, value in edge.details.items() if name != "arrival"}
    points: tuple[CriticalPoint, ...] = tuple(target if p.id == target.id else p for p in landscape.points)
    moved = replace(
        landscape, points=points, edges=(Edge(edge.source, edge.target, "descent", details | {"away": away}),)
    )
    return with_arrivals(landscape.derived_from, moved).edges[0].details["arrival"]


def test_an_end_in_the_ball_is_certified(connected_line: Landscape) -> None:
    found = judged(connected_line, 1e-9)
    assert found["status"] == "CERTIFIED"
    assert found["radius"] > 1e-9


@pytest.mark.parametrize("times", [1.0, 1.5])
def test_an_end_on_the_rim_or_outside_is_not(connected_line: Landscape, times: float) -> None:
    radius = judged(connected_line, 1e-9)["radius"]
    found = judged(connected_line, times * radius)
    assert (found["status"], found["radius"]) == ("UNDECIDED", radius)
    assert "outside the certified ball" in found["reason"]


def test_an_unknown_distance_is_not_certified(connected_line: Landscape) -> None:
    found = judged(connected_line, None)
    assert (found["status"], found["reason"]) == ("UNDECIDED", "the distance from the target is not known")


def test_a_target_that_is_not_certified_has_no_ball(connected_line: Landscape) -> None:
    found = judged(
        connected_line, 1e-9, status=Status.SUPPORTED, certificate=None, not_certified="it is too flat"
    )
    assert (found["status"], found["radius"]) == ("UNDECIDED", None)
    assert found["reason"] == "the target is not certified: it is too flat"


def test_a_target_that_was_moved_has_no_ball(connected_line: Landscape) -> None:
    """The Hessian is then not positive definite: at the zero network it has both signs."""
    edge = next(
        e for e in connected_line.edges if e.kind == "descent" and connected_line[e.target].kind == "minimum"
    )
    theta = {
        name: [0.0 * u for u in row] if name != "w" else [[0.0]]
        for name, row in connected_line[edge.target].theta.items()
    }
    found = judged(connected_line, 1e-9, theta=theta)
    assert (found["status"], found["radius"]) == ("UNDECIDED", None)
    assert "positive definite" in found["reason"]


def test_other_edges_are_left_alone(connected_line: Landscape) -> None:
    embeddings = [e for e in connected_line.edges if e.kind != "descent"]
    assert embeddings
    assert all("arrival" not in e.details for e in embeddings)
