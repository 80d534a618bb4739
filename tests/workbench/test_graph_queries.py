"""Answers about a graph that was made by hand, where every answer is known beforehand."""

import networkx as nx
import pytest

from workbench.errors import Refusal
from workbench.graph_queries import QUESTIONS, ask, embedding_order, leaves, merges


def node(graph: nx.MultiDiGraph, name: str, value: float, negative: int = 0, **more: object) -> None:
    """Add a point with three eigenvalues."""
    kind = "saddle" if negative else "minimum"
    content = {"kind": kind, "strict_saddle": bool(negative), "global_minimum": None} | more
    inertia = {"negative": negative, "zero": 0, "positive": 3 - negative}
    graph.add_node(name, id=name, width=int(name[1]), value=value, inertia=inertia, **content)


@pytest.fixture
def graph() -> nx.MultiDiGraph:
    """Two widths: three basins at width 2 and a way to infinity; the minimum of width 1 is a saddle there."""
    graph = nx.MultiDiGraph(study="by hand")
    node(graph, "m1.1", 0.5)
    node(graph, "m2.1", 0.0, global_minimum=True)
    node(graph, "m2.2", 0.1)
    node(graph, "m2.3", 0.2)
    node(graph, "m2.4", 0.3, 1)  # between m2.1 and m2.2
    node(graph, "m2.5", 0.5, 1)  # the copy of m1.1: between m2.1 and m2.3
    node(graph, "m2.6", 0.6, 2)  # above m2.5, and a way to infinity
    node(graph, "m2.7", 0.9, 1)  # known only to lead back to m2.6
    graph.add_node("inf.m2.1", id="inf.m2.1", width=2, value=0.05, kind="infinity")
    for source, target, sign in (
        ("m2.4", "m2.1", 1),
        ("m2.4", "m2.2", -1),
        ("m2.5", "m2.1", 1),
        ("m2.5", "m2.3", -1),
        ("m2.6", "m2.5", 1),
        ("m2.6", "inf.m2.1", -1),
        ("m2.7", "m2.6", 1),
    ):
        drop = graph.nodes[source]["value"] - graph.nodes[target]["value"]
        graph.add_edge(source, target, kind="descent", direction=0, sign=sign, time=2.0, loss_drop=drop)
    graph.add_edge("m1.1", "m2.5", kind="splitting")
    return graph


def test_leaves_are_minima_and_ways_to_infinity(graph: nx.MultiDiGraph) -> None:
    assert leaves(graph, 2) == ["m2.1", "m2.2", "m2.3", "inf.m2.1"]


def test_basins_meet_at_the_lowest_saddle_that_joins_them(graph: nx.MultiDiGraph) -> None:
    found = [(merge.value, merge.via, merge.parts) for merge in merges(graph, 2)]
    assert found == [
        (0.3, "m2.4", (("m2.1",), ("m2.2",))),
        (0.5, "m2.5", (("m2.1", "m2.2"), ("m2.3",))),
        (0.6, "m2.6", (("inf.m2.1",), ("m2.1", "m2.2", "m2.3"))),
    ]


def test_a_saddle_between_copies_of_one_orbit_joins_nothing(graph: nx.MultiDiGraph) -> None:
    graph.remove_edge("m2.4", "m2.2")
    graph.add_edge("m2.4", "m2.1", kind="descent", sign=-1)
    assert "m2.4" not in {merge.via for merge in merges(graph, 2)}


def test_barriers_agree_with_minimax_paths(graph: nx.MultiDiGraph) -> None:
    """The oracle: the least over all paths of the highest risk on it, by removing everything above a level."""
    undirected = nx.Graph((s, t) for s, t, kind in graph.edges(data="kind") if kind == "descent")
    values = nx.get_node_attributes(graph, "value")
    for a, b in (("m2.1", "m2.2"), ("m2.2", "m2.3"), ("m2.3", "inf.m2.1")):
        level = min(
            top
            for top in sorted(values.values())
            if {a, b} <= set(undirected)
            and all(values[x] <= top for x in (a, b))
            and nx.has_path(undirected.subgraph([n for n in undirected if values[n] <= top]), a, b)
        )
        joined = next(
            merge.value
            for merge in merges(graph, 2)
            if any(a in part for part in merge.parts)
            and any(b in part for part in merge.parts)
            and not any(a in part and b in part for part in merge.parts)
        )
        assert joined == level


def test_escapes_tell_reached_open_and_infinite_ends_apart(graph: nx.MultiDiGraph) -> None:
    node(graph, "m2.8", 0.7, 1)
    node(graph, "m2.9", 0.8, 1)
    graph.add_edge("m2.8", "inf.m2.1", kind="descent", sign=1)
    verdicts = {row[0]: row[3] for row in ask(graph, "escapes").rows}
    assert verdicts["m2.7"] == verdicts["m2.4"] == "yes"
    assert verdicts["m2.8"] == "no: to infinity only"
    assert verdicts["m2.9"] == "open: no descent is known"


def test_without_a_known_global_minimum_the_lowest_listed_one_is_meant(graph: nx.MultiDiGraph) -> None:
    graph.nodes["m2.1"]["global_minimum"] = None
    answer = ask(graph, "escapes")
    assert "lowest listed minimum" in answer.statement
    assert any("known to be a global minimum" in note for note in answer.notes)


def test_a_minimum_stops_being_one_where_its_copies_are_strict_saddles(graph: nx.MultiDiGraph) -> None:
    rows = {row[0]: row[2:] for row in ask(graph, "turning").rows}
    assert rows["m1.1"] == ("1", "width 2", "width 2")
    assert rows["m2.1"] == ("0", "no listed width", "no listed width")
    node(graph, "m2.8", 0.5)
    graph.add_edge("m1.1", "m2.8", kind="null")
    assert {row[0]: row[4] for row in ask(graph, "turning").rows}["m1.1"] == "no listed width"


def test_the_order_has_no_edge_over_another_entry(graph: nx.MultiDiGraph) -> None:
    node(graph, "m3.1", 0.5, 2)
    graph.add_edge("m2.5", "m3.1", kind="splitting")
    graph.add_edge("m1.1", "m3.1", kind="splitting")
    graph.add_edge("m1.1", "m2.5", kind="null")
    order = embedding_order(graph)
    assert sorted(order.edges(data="kinds")) == [
        ("m1.1", "m2.5", ("null", "splitting")),
        ("m2.5", "m3.1", ("splitting",)),
    ]
    assert "inf.m2.1" not in order


def test_chains_go_from_saddle_to_saddle(graph: nx.MultiDiGraph) -> None:
    answer = ask(graph, "chains")
    assert answer.rows[0][0] == "3"
    assert answer.rows[0][1].startswith("m2.7 → m2.6 → m2.5 → m2.")


def test_descents_into_a_point_are_listed_with_their_side(graph: nx.MultiDiGraph) -> None:
    answer = ask(graph, "descents-into:m2.1")
    assert [(row[0], row[2]) for row in answer.rows] == [("m2.4", "+"), ("m2.5", "+")]
    assert answer.to_dict()["rows"][1]["loss drop"] == "0.5"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("escape", "Did you mean 'escapes'"),
        ("descents-into:m9.1", "m9.1"),
        ("descents-into", "no point"),
        ("order:m2.1", "whole graph"),
    ],
)
def test_a_wrong_question_is_refused_with_what_is_accepted(
    graph: nx.MultiDiGraph, question: str, words: str
) -> None:
    with pytest.raises(Refusal, match=words):
        ask(graph, question)


def test_every_question_has_an_answer_on_an_empty_graph() -> None:
    empty = nx.MultiDiGraph(study="nothing")
    for name, (_, wants_point) in QUESTIONS.items():
        if not wants_point:
            assert ask(empty, name).rows == ()
