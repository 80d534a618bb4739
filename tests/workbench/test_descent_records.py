"""Which drawn descents are listed, with which shares, and which bound of a barrier counts: on records made by hand."""

from __future__ import annotations

import networkx as nx
import torch

from derivations.claim import Status
from workbench.connections import SAMPLED, Departure, Descent
from workbench.descent_records import Barrier, channel, descent_edge, gathered, judged_barriers
from workbench.graph_queries import Merge, ask, merges
from workbench.results import CriticalPoint, Inertia

SOURCE, OTHER, LOW, HIGH = "source", "other", "low", "high"


def descent(direction: int | str, outcome: str = "arrived", value: float = 0.0, sign: int = 1) -> Descent:
    place = torch.zeros(2, dtype=torch.float64)
    coordinates = (0.6, 0.8) if direction == SAMPLED else None
    start = Departure(0, direction, sign, -1.0, place, coordinates)
    return Descent(start, outcome, place, value, 10.0, 5.0, 1e-9, place, 2e-9)


def test_drawn_directions_are_listed_where_they_lead_elsewhere_and_counted_everywhere() -> None:
    fan = [
        (SOURCE, LOW, descent(0)),
        (SOURCE, LOW, descent(0, sign=-1)),
        (SOURCE, LOW, descent(SAMPLED)),
        (SOURCE, HIGH, descent(SAMPLED)),
        (SOURCE, HIGH, descent(SAMPLED)),
        (SOURCE, LOW, descent(SAMPLED)),
        (OTHER, HIGH, descent(0)),
    ]
    found = [(s, t, d.departure.direction, d.departure.sign, d.share, d.drawn) for s, t, d in gathered(fan)]
    assert found == [
        (SOURCE, LOW, 0, 1, 0.5, 4),
        (SOURCE, LOW, 0, -1, 0.5, 4),
        (SOURCE, HIGH, SAMPLED, 1, 0.5, 4),
        (OTHER, HIGH, 0, 1, None, 0),
    ]


def test_ways_to_infinity_are_told_apart_by_their_risk() -> None:
    fan = [
        (SOURCE, None, descent(0, "infinity", 0.2)),
        (SOURCE, None, descent(SAMPLED, "infinity", 0.2 * (1 + 1e-5))),
        (SOURCE, None, descent(SAMPLED, "infinity", 0.1)),
        (SOURCE, None, descent(SAMPLED, "unresolved", 0.1)),
    ]
    found = [(d.departure.direction, d.outcome, d.value, d.share) for _, _, d in gathered(fan)]
    assert [(direction, outcome, value) for direction, outcome, value, _ in found] == [
        (0, "infinity", 0.2),
        (SAMPLED, "infinity", 0.1),
        (SAMPLED, "unresolved", 0.1),
    ]
    assert [share for *_, share in found] == [1 / 3] * 3


def test_the_edge_says_what_is_measured() -> None:
    edge = descent_edge("m1.2", "m1.1", 3.0, 1.0, descent(SAMPLED))
    assert (edge.source, edge.target, edge.kind) == ("m1.2", "m1.1", "descent")
    assert (edge.details["loss_drop"], edge.details["action"]) == (2.0, 2.0)
    assert edge.details["transit"]["status"] == "SUPPORTED"
    assert edge.details["coordinates"] == [0.6, 0.8]
    assert "share" not in edge.details  # nothing was drawn beside it


def test_the_channel_keeps_the_direction() -> None:
    record = channel(2, "m2.4", descent(SAMPLED, "infinity", 0.2), 3)
    assert (record.id, record.direction, record.coordinates) == ("inf.m2.3", SAMPLED, (0.6, 0.8))
    assert record.to_dict()["coordinates"] == [0.6, 0.8]


def point(name: str, value: float, negative: int = 0, status: Status = Status.CERTIFIED) -> CriticalPoint:
    return CriticalPoint(name, 2, {}, value, 0.0, (), Inertia(negative, 0, 6 - negative), status=status)


POINTS = {
    p.id: p for p in (point("m2.1", 0.0), point("m2.2", 0.1), point("m2.3", 0.2), point("m2.4", 0.5, 1))
}


def barrier(first: str, second: str, string: float) -> Barrier:
    return Barrier(2, first, second, string, 1.0, 1e-3, ())


def test_a_saddle_below_the_string_is_the_bound() -> None:
    joined = {2: [Merge(0.5, "m2.4", (("m2.1",), ("m2.2",)))]}
    (found,) = judged_barriers([barrier("m2.1", "m2.2", 0.7)], joined, POINTS)
    assert (found.value, found.via, found.level, found.status) == (
        0.5,
        "m2.4",
        Status.CERTIFIED,
        Status.SUPPORTED,
    )


def test_where_a_string_joins_them_there_is_no_certified_level() -> None:
    joined = {2: [Merge(0.4, "string m2.1 m2.2", (("m2.1",), ("m2.2",)))]}
    (found,) = judged_barriers([barrier("m2.1", "m2.2", 0.4)], joined, POINTS)
    assert (found.value, found.via, found.level) == (0.4, "string m2.1 m2.2", None)


def test_minima_on_one_side_of_a_merge_do_not_meet_there() -> None:
    joined = {
        2: [
            Merge(0.3, "string m2.1 m2.3", (("m2.1",), ("m2.3",))),
            Merge(0.5, "m2.4", (("m2.1", "m2.3"), ("m2.2",))),
        ]
    }
    found = judged_barriers([barrier("m2.1", "m2.3", 0.3), barrier("m2.3", "m2.2", 0.9)], joined, POINTS)
    assert [b.value for b in found] == [0.3, 0.5]


def graph() -> nx.MultiDiGraph:
    """Three minima; a saddle joins two of them, and strings run below and above it."""
    out = nx.MultiDiGraph(study="by hand")
    for name, p in POINTS.items():
        out.add_node(name, **p.to_dict())
    for target in ("m2.1", "m2.2"):
        out.add_edge("m2.4", target, kind="descent", sign=1)
    out.graph["strings"] = [
        {"width": 2, "first": "m2.1", "second": "m2.3", "value": 0.3},
        {"width": 2, "first": "m2.2", "second": "m2.3", "value": 0.6},
        {"width": 3, "first": "m3.1", "second": "m3.2", "value": 0.1},
    ]
    return out


def test_strings_join_basins_at_their_largest_risk() -> None:
    found = [(merge.value, merge.via, merge.parts) for merge in merges(graph(), 2)]
    assert found == [
        (0.3, "string m2.1 m2.3", (("m2.1",), ("m2.3",))),
        (0.5, "m2.4", (("m2.1", "m2.3"), ("m2.2",))),
    ]


def test_the_answer_says_which_bounds_are_certified() -> None:
    answer = ask(graph(), "barriers")
    assert answer.statement == (
        "1 saddle where basins are found to meet, and 1 string that joins them lower than any listed saddle"
    )
    assert [row[1:4] for row in answer.rows] == [
        ("0.3", "string m2.1 m2.3", "SUPPORTED"),
        ("0.5", "m2.4", "CERTIFIED"),
    ]
