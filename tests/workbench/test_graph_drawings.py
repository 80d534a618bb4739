"""The Hasse diagram, the disconnectivity graph and the drawing of many points: what is drawn, and where."""

import random
from itertools import pairwise

import networkx as nx
import pytest

from workbench.graph_queries import Merge, embedding_order
from workbench.landscape import Landscape
from workbench.plots.disconnectivity import draw_disconnectivity
from workbench.plots.graph_dense import draw_dense
from workbench.plots.hasse import draw_hasse
from workbench.results import Channel, CriticalPoint, Edge, Inertia


def point(name: str, value: float, negative: int = 0) -> CriticalPoint:
    """Return a point with four eigenvalues."""
    signs = Inertia(negative, 0, 4 - negative)
    spectrum = (-1.0,) * negative + (1.0,) * (4 - negative)
    return CriticalPoint(name, int(name[1]), {}, value, 0.0, spectrum, signs)


def many(count: int) -> tuple[list[CriticalPoint], list[Edge]]:
    """Return points of two widths, embedded one by one, with two descents from each saddle."""
    draw = random.Random(0)
    narrow = [point(f"m1.{k}", 0.01 * (k + 1), k % 3) for k in range(count // 2)]
    wide = [point(f"m2.{k}", p.value, p.inertia.negative + 1) for k, p in enumerate(narrow)]
    wide.append(point("m2.999", 1e-3))
    edges = [Edge(a.id, b.id, "splitting") for a, b in zip(narrow, wide, strict=False)]
    for group in (narrow, wide):
        for one in group:
            lower = [p.id for p in group if p.value < one.value]
            for _ in range(2 if one.inertia.negative and lower else 0):
                edges.append(Edge(one.id, draw.choice(lower), "descent"))
    return narrow + wide, edges


def gids(axes: object, what: str) -> set[str]:
    """Return the names of what was drawn."""
    found = [str(line.get_gid() or "") for line in axes.lines]  # type: ignore[attr-defined]
    return {name.removeprefix(f"{what}:") for name in found if name.startswith(f"{what}:")}


def hasse(points: list[CriticalPoint], edges: list[Edge]) -> nx.DiGraph:
    return embedding_order(Landscape("s", 0, tuple(points), tuple(edges), (), (), ()).graph)


def test_the_hasse_diagram_has_every_entry_and_every_covering_edge() -> None:
    points, edges = many(40)
    axes = draw_hasse(hasse(points, edges)).axes[0]  # type: ignore[union-attr]
    assert gids(axes, "node") == {p.id for p in points}
    assert len(gids(axes, "edge")) == sum(e.kind == "splitting" for e in edges)


def test_labels_of_the_hasse_diagram_do_not_meet() -> None:
    points, edges = many(120)
    axes = draw_hasse(hasse(points, edges)).axes[0]  # type: ignore[union-attr]
    boxes = [text.get_window_extent() for text in axes.texts]
    by_column: dict[int, list[tuple[float, float]]] = {}
    for box in boxes:
        by_column.setdefault(round(box.x0 / 20), []).append((box.y0, box.y1))
    for column in by_column.values():
        for (_, top), (bottom, _) in pairwise(sorted(column)):
            assert top <= bottom + 0.5


def test_without_entries_there_is_no_hasse_diagram() -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        draw_hasse(nx.DiGraph())


def test_lines_of_basins_meet_at_the_risk_of_the_saddle_and_do_not_cross() -> None:
    leaf = {f"m1.{k}": (0.1 * k, "minimum") for k in range(1, 5)}
    joins = [
        Merge(0.5, "m1.8", (("m1.1",), ("m1.4",))),
        Merge(0.7, "m1.9", (("m1.1", "m1.4"), ("m1.2",))),
    ]
    axes = draw_disconnectivity({1: (leaf, joins)}).axes[0]  # type: ignore[union-attr]
    place = {
        line.get_gid(): (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if str(line.get_gid() or "").startswith("node:")
    }
    assert place["node:m1.8"][1] == 0.5
    assert place["node:m1.9"][1] == 0.7
    inside = sorted(place[f"node:m1.{k}"][0] for k in (1, 4))
    assert inside[1] - inside[0] == 1  # neighbours, so that nothing stands between them
    assert place["node:m1.8"][0] == sum(inside) / 2


def test_a_basin_that_nothing_joins_has_a_dashed_line_to_the_rim() -> None:
    leaf = {"m1.1": (0.1, "minimum"), "m1.2": (0.2, "infinity")}
    axes = draw_disconnectivity({1: (leaf, [])}).axes[0]  # type: ignore[union-attr]
    top = axes.get_ylim()[1]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--" and max(line.get_ydata()) == top]
    assert len(dashed) == 2


def test_many_points_are_all_drawn_and_names_do_not_hide_the_lowest_minima() -> None:
    points, edges = many(400)
    axes = draw_dense(points, edges).axes[0]  # type: ignore[union-attr]
    drawn = sum(len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "None")
    assert drawn == len(points)
    assert {"m1.0", "m2.999"} <= {text.get_text() for text in axes.texts}


def test_a_run_that_is_not_resolved_is_not_drawn_as_one_to_infinity() -> None:
    points, edges = many(400)
    runs = [
        Channel(f"inf.m1.{k}", "m1.1", 1, 0, 1, reason, 0.005, 9.0, 1e9)
        for k, reason in enumerate(("infinity", "unresolved"))
    ]
    axes = draw_dense(points, edges, runs).axes[0]  # type: ignore[union-attr]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"to infinity", "not resolved"} <= set(legend)
    drawn = sum(len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "None")
    assert drawn == len(points) + 2
