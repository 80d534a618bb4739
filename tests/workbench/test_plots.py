"""Figures: what is drawn where, labels that touch nothing, the same bytes for the same input."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from workbench.graph_layout import Box, arc, columns, detour, grid, place, trunk, value_scale
from workbench.graph_sheet import Item, arrange, level_names, levels, seat, tracks
from workbench.plots import draw_flow, draw_graph, draw_spectra, save
from workbench.results import Channel, CriticalPoint, Edge, Inertia


def point(name: str, value: float, levels: tuple[float, ...] = (1.0,)) -> CriticalPoint:
    signs = Inertia(sum(v < 0 for v in levels), sum(v == 0 for v in levels), sum(v > 0 for v in levels))
    return CriticalPoint(name, int(name[1]), {}, value, 0.0, levels, signs)


def drawn(landscape: Any) -> Axes:
    figure = draw_graph(landscape.points, landscape.edges, landscape.channels)
    FigureCanvasAgg(figure).draw()
    return figure.axes[0]


@pytest.fixture(scope="module")
def small_axes(small_landscape: Any) -> Axes:
    return drawn(small_landscape)


@pytest.fixture(scope="module")
def large_axes(large_landscape: Any) -> Axes:
    return drawn(large_landscape)


def boxes(ax: Axes) -> dict[str, Box]:
    """Measure the texts, two lines of one point together, as the renderer places them."""
    found: dict[str, Box] = {}
    for number, text in enumerate(ax.texts):
        gid = text.get_gid() or ""
        name = gid.partition(":")[2] or f"{gid} {number}"
        extent = text.get_window_extent()
        box = Box(extent.x0, extent.y0, extent.x1, extent.y1)
        old = found.get(name, box)
        found[name] = Box(
            min(old.left, box.left),
            min(old.bottom, box.bottom),
            max(old.right, box.right),
            max(old.top, box.top),
        )
    return {name: box for name, box in found.items() if not name.startswith("note")}


def markers(ax: Axes) -> dict[str, tuple[float, float]]:
    """Return the markers in pixels."""
    nodes = [line for line in ax.lines if (line.get_gid() or "").startswith("node:")]
    return {n.get_gid()[5:]: tuple(ax.transData.transform(n.get_xydata()[0])) for n in nodes}


def places(ax: Axes) -> dict[str, tuple[float, float]]:
    """Return the markers in units of the axes."""
    nodes = [line for line in ax.lines if (line.get_gid() or "").startswith("node:")]
    return {n.get_gid()[5:]: tuple(n.get_xydata()[0]) for n in nodes}


def value_of(name: str) -> float:
    """Read the name of a level."""
    plain = name.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹\N{MINUS SIGN}", "-0123456789-"))
    mantissa, _, power = plain.partition("×10")
    return float(plain) if not power else float(mantissa) * 10.0 ** int(power)


@dataclass(frozen=True)
class Records:
    """What ``draw_graph`` reads of a landscape."""

    points: tuple[CriticalPoint, ...]
    edges: tuple[Edge, ...]
    channels: tuple[Channel, ...] = ()


@pytest.fixture(scope="module")
def line_landscape() -> Records:
    """Eighteen points of width 3 above nine of width 2 and two of width 1: copies beside their originals."""
    point_of = {}
    for name, value, levels_ in [
        ("m1.1", 0.008172288778287653, (1.0, 2.0)), ("m1.2", 1.3629098175772854, (-1.0, 0.0)),
        ("m2.1", 0.00024042703209869348, (1.0,)), ("m2.2", 0.004317867299982042, (1.0,)),
        ("m2.3", 0.007577849143621419, (-1.0,)), ("m2.4", 0.008172288778287653, (-1.0, 0.0)),
        ("m2.5", 0.008172288778287653, (-1.0, 0.0)), ("m2.6", 1.3629098175772854, (-1.0, 0.0)),
        ("m2.7", 0.0079, (-1.0, 0.0)), ("m2.8", 0.0079, (-1.0, 1.0)), ("m2.9", 0.0081, (-1.0, 1.0)),
        ("m3.1", 3.6023514719766256e-14, (1.0,)), ("m3.2", 0.00012546351797114634, (1.0,)),
        ("m3.3", 0.00021629343243363157, (1.0,)), ("m3.4", 0.00024042703209869347, (-1.0, 0.0)),
        ("m3.5", 0.00024042703209869323, (-1.0, 0.0)), ("m3.6", 0.00024042703209869347, (-1.0, 0.0)),
        ("m3.7", 0.003463301856394331, (1.0,)), ("m3.8", 0.003882001759603553, (1.0,)),
        ("m3.9", 0.004317867299982042, (-1.0, 0.0)), ("m3.10", 0.004317867299982046, (-1.0, 0.0)),
        ("m3.11", 0.004317867299982042, (-1.0, 0.0)), ("m3.12", 0.007577849143621419, (-1.0, -2.0)),
        ("m3.13", 0.007577849143621426, (-1.0, -2.0)), ("m3.14", 0.007577849143621419, (-1.0, -2.0)),
        ("m3.15", 0.008172288778287651, (-1.0, -2.0)), ("m3.16", 0.008172288778287653, (-1.0, -2.0)),
        ("m3.17", 0.008172288778287653, (-1.0, -2.0)), ("m3.18", 1.3629098175772854, (-1.0, -2.0)),
    ]:  # fmt: skip
        point_of[name] = point(name, value, levels_)
    embeddings = "1.1-2.4s 1.1-2.5n 1.2-2.6n 2.1-3.4s 2.1-3.5s 2.1-3.6n 2.2-3.9s 2.2-3.10s 2.2-3.11n 2.3-3.12s 2.3-3.13s"
    embeddings += " 2.3-3.14n 2.4-3.15s 2.4-3.16n 2.5-3.16s 2.5-3.17n 2.6-3.18n"
    descents = "1.2-1.1 1.2-1.1 2.3-2.1 2.3-2.2 2.4-2.1 2.4-2.1 2.5-2.2 2.6-2.5 3.4-3.1 3.4-3.1 3.5-3.1 3.6-3.2 3.10-3.8"
    descents += " 3.12-3.1 3.12-3.2 3.13-3.2 3.13-3.8 3.14-3.7 3.15-3.1 3.15-3.4 3.15-3.5 3.16-3.2 3.18-3.17"
    kinds = {"s": "splitting", "n": "null"}
    edges = [
        Edge(*("m" + end for end in text[:-1].split("-")), kinds[text[-1]])  # type: ignore[call-arg, arg-type]
        for text in embeddings.split()
    ]
    edges += [Edge(*("m" + end for end in text.split("-")), "descent") for text in descents.split()]  # type: ignore[call-arg, arg-type]
    ends = [
        ("m3.16", 2.3330e-4),
        ("m3.16", 2.3331e-4),
        ("m3.9", 2.3332e-4),
        ("m3.17", 3.013e-3),
        ("m3.14", 1.198e-4),
    ]
    channels = [Channel(f"c{k}", s, 3, 0, 1, "infinity", v, 1e5, 1e9) for k, (s, v) in enumerate(ends)]
    return Records(tuple(point_of.values()), tuple(edges), tuple(channels))


@pytest.fixture(scope="module")
def star_landscape() -> Records:
    """Fifty-eight points, whose saddles run to infinity along 400 channels that level off at ten losses."""
    draw = random.Random(3)
    losses = [round(0.18 + 0.012 * k, 4) for k in range(14)]
    points = [point("m0.1", losses[-1])]
    points += [point(f"m1.{k + 1}", loss, (-1.0, 0.5, 2.0)) for k, loss in enumerate(losses)]
    edges = []
    for k in range(43):
        loss = losses[k // 3] if k < 42 else 0.1795
        points.append(
            point(f"m2.{k + 1}", loss, (*(-1.0,) * draw.randint(1, 6), *(0.0,) * (k % 5), *(1.0,) * 11))
        )
        if k < 42:
            edges.append(Edge(f"m1.{k // 3 + 1}", f"m2.{k + 1}", "null" if k % 3 == 2 else "splitting"))
    ends = {1: [0.1667, 0.1715, 0.1772], 2: [0.006537, 0.00979, 0.0193, 0.0981, 0.1032, 0.1376, 0.1589]}
    saddles = [p for p in points if p.width]
    channels = []
    for k in range(400):
        saddle = saddles[k % len(saddles)]
        value = draw.choice(ends[saddle.width]) if k >= 10 else (ends[1] + ends[2])[k]
        if k < 10:
            saddle = next(p for p in saddles if p.width == (1 if k < 3 else 2))
        value *= 1 + 4e-4 * draw.random()
        channels.append(Channel(f"c{k}", saddle.id, saddle.width, 0, 1, "infinity", value, 1e5, 1e9))
    return Records(tuple(points), tuple(edges), tuple(channels))


@pytest.fixture(scope="module")
def tall_landscape() -> Records:
    """Ninety points at as many losses."""
    points = [point(f"m{1 + k % 2}.{k}", 10 ** (-0.05 * k), (-1.0, 1.0)) for k in range(90)]
    edges = [Edge(a.id, b.id, "descent") for a, b in zip(points, points[2:], strict=False)]
    return Records(tuple(points), (*edges, *edges[:5]))


@pytest.fixture(scope="module")
def line_axes(line_landscape: Records) -> Axes:
    return drawn(line_landscape)


@pytest.fixture(scope="module")
def star_axes(star_landscape: Records) -> Axes:
    return drawn(star_landscape)


@pytest.fixture(scope="module")
def tall_axes(tall_landscape: Records) -> Axes:
    return drawn(tall_landscape)


@pytest.mark.parametrize("name", ["small_axes", "large_axes", "line_axes", "star_axes", "tall_axes"])
def test_labels_touch_neither_each_other_nor_a_marker_nor_the_frame(
    name: str, request: pytest.FixtureRequest
) -> None:
    ax = request.getfixturevalue(name)
    found = boxes(ax)
    assert len(found) > 8
    for (one, a), (two, b) in itertools.combinations(found.items(), 2):
        assert not a.meets(b), f"{one} and {two}"
    frame = ax.get_window_extent()
    for label, box in found.items():
        assert box.within(Box(frame.x0, frame.y0, frame.x1, frame.y1)), label
        for node, (x, y) in markers(ax).items():
            assert not box.meets(Box(x - 3, y - 3, x + 3, y + 3)), f"{label} covers {node}"


@pytest.mark.parametrize("name", ["small", "large", "line", "star", "tall"])
def test_every_point_stands_in_its_layer_and_on_no_other(name: str, request: pytest.FixtureRequest) -> None:
    landscape, ax = (request.getfixturevalue(f"{name}_{part}") for part in ("landscape", "axes"))
    place_of = places(ax)
    spans = {
        w: [place_of[p.id][0] for p in landscape.points if p.width == w]
        for w in {p.width for p in landscape.points}
    }
    widths = sorted(spans)
    assert all(max(spans[a]) < min(spans[b]) for a, b in itertools.pairwise(widths))
    spots = list(markers(ax).values())
    assert min(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in itertools.combinations(spots, 2)) > 7


@pytest.mark.parametrize("name", ["small", "line", "star"])
def test_heights_order_the_losses_and_equal_losses_stand_equally_high(
    name: str, request: pytest.FixtureRequest
) -> None:
    landscape, ax = (request.getfixturevalue(f"{name}_{part}") for part in ("landscape", "axes"))
    height = {node: up for node, (_, up) in places(ax).items()}
    points = sorted(landscape.points, key=lambda p: p.value)
    for a, b in itertools.pairwise(points):
        if b.value <= a.value * (1 + 1e-9):
            assert height[a.id] == height[b.id], (a.id, b.id)
        else:
            assert height[b.id] >= height[a.id] + 1 - 1e-12, (a.id, b.id)
    steps = np.diff(sorted(set(height.values())))
    assert np.allclose(steps, 1, rtol=1e-12)
    assert ax.get_ylabel() == "loss (levels in order, not to scale)"
    ticks = dict(zip(ax.get_yticks(), (t.get_text() for t in ax.get_yticklabels()), strict=True))
    assert len(set(ticks.values())) == len(ticks)
    for p in points:
        assert value_of(ticks[height[p.id]]) == pytest.approx(p.value, rel=1e-3, abs=1e-20)


@pytest.mark.parametrize("name", ["small", "large", "line", "star"])
def test_all_labels_up_to_eighty_points_are_there(name: str, request: pytest.FixtureRequest) -> None:
    landscape, ax = (request.getfixturevalue(f"{name}_{part}") for part in ("landscape", "axes"))
    texts = {text.get_gid(): text.get_text() for text in ax.texts}
    for p in landscape.points:
        assert texts[f"label:{p.id}"] == p.id
        i = p.inertia
        assert texts[f"inertia:{p.id}"] == f"({i.negative}, {i.zero}, {i.positive})"
    assert sum(str(gid).startswith("label:end") for gid in texts) == sum(
        node.startswith("end") for node in markers(ax)
    )
    if name != "star":  # there two of the numbers on arrows have no room; every name has its own
        assert "note" not in texts
    assert ax.figure.get_figwidth() == pytest.approx(5.9)  # 15 cm
    assert ax.figure.get_figheight() <= 7.88  # 20 cm


def test_multiplicities_and_ends_of_a_small_graph(small_axes: Axes) -> None:
    ax = small_axes
    assert sorted(text.get_text() for text in ax.texts if text.get_gid() == "count") == ["×2"] * 2
    ends = [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("label:end")]
    assert sorted(ends) == ["?", "∞"]


def test_the_legend_lies_within_the_figure(small_axes: Axes, line_axes: Axes, star_axes: Axes) -> None:
    for ax in (small_axes, line_axes, star_axes):
        legend, page = ax.get_legend().get_window_extent(), ax.figure.bbox
        assert 0 <= legend.x0 < legend.x1 <= page.width
        assert 0 <= legend.y0 < legend.y1 < ax.get_window_extent().y0


def test_more_losses_than_rows_on_a_page_stand_on_an_axis(tall_landscape: Any, tall_axes: Axes) -> None:
    ax = tall_axes
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "loss")
    for p in tall_landscape.points:
        assert places(ax)[p.id][1] == p.value
    texts = [text.get_gid() for text in ax.texts]
    labels = sum(str(gid).startswith("label:") for gid in texts)
    badges = sum(gid == "count" for gid in texts)
    pairs = Counter((e.source, e.target) for e in tall_landscape.edges)
    wanted = len(tall_landscape.points) + sum(n > (2 if len(pairs) > 60 else 1) for n in pairs.values())
    notes = [text.get_text() for text in ax.texts if text.get_gid() == "note"]
    assert notes == (
        [f"{wanted - labels - badges} labels left out for want of room"] if labels + badges < wanted else []
    )


@pytest.mark.parametrize("name", ["small", "line", "star"])
def test_edges_are_merged_and_arrows_point_downhill(name: str, request: pytest.FixtureRequest) -> None:
    landscape, ax = (request.getfixturevalue(f"{name}_{part}") for part in ("landscape", "axes"))
    spots = places(ax)
    lines = {line.get_gid(): line for line in ax.lines if (line.get_gid() or "").startswith("edge:")}
    embeddings = {(e.kind, e.source, e.target) for e in landscape.edges if e.kind != "descent"}
    assert set(lines) == {"edge:" + ":".join(key) for key in embeddings}
    for kind, source, target in embeddings:
        line = lines[f"edge:{kind}:{source}:{target}"]
        assert line.is_dashed() == (kind == "null")
        across, up = line.get_data()
        assert abs(across[0] - spots[source][0]) < 3
        assert abs(across[-1] - spots[target][0]) < 3
        assert max(up) < min(spots[source][1], spots[target][1])  # below the row
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    names = [arrow.get_gid() for arrow in arrows]
    ends = {node for node in spots if node.startswith("end")}
    descents = {f"edge:descent:{e.source}:{e.target}" for e in landscape.edges if e.kind == "descent"}
    assert descents == {gid for gid in names if gid.split(":")[3] not in ends}
    assert len(set(names)) == len(names)
    reached = {(gid.split(":")[2], gid.split(":")[3]) for gid in names if gid.split(":")[3] in ends}
    assert {source for source, _ in reached} == {c.source for c in landscape.channels}
    assert {end for _, end in reached} == ends
    for arrow in arrows:
        start, end = arrow._posA_posB
        assert start[1] > end[1]


def test_arrows_to_one_target_share_a_colour(line_axes: Axes) -> None:
    colours: dict[str, set[Any]] = {}
    for patch in line_axes.patches:
        if isinstance(patch, FancyArrowPatch):
            colours.setdefault(patch.get_gid().split(":")[3], set()).add(patch.get_edgecolor()[:3])
    assert all(len(used) == 1 for used in colours.values())
    assert len({next(iter(used)) for used in colours.values()}) >= 4


def test_channels_that_level_off_together_have_one_end() -> None:
    """The 400 channels of the star go to 10 levels; width and reason part them, sources do not."""
    saddles = [point("m1.1", 0.5, (-1.0,)), point("m1.2", 0.6, (-1.0,)), point("m2.1", 0.7, (-1.0,))]
    ends = [
        ("m1.1", 0.25),
        ("m1.2", 0.2501),
        ("m1.2", 0.2501),
        ("m2.1", 0.2501),
        ("m1.1", 0.2505),
        ("m1.1", 0.1),
    ]
    channels = [
        Channel(f"c{k}", s, int(s[1]), 0, 1, "infinity", v, 1e5, 1e9) for k, (s, v) in enumerate(ends)
    ]
    channels.append(Channel("c9", "m1.1", 1, 0, 1, "unresolved", 0.25, 9.0, 1e9))
    ax = draw_graph(saddles, [], channels).axes[0]
    found = {node: up for node, (_, up) in places(ax).items() if node.startswith("end")}
    assert sorted(found) == [
        "end 1 infinity 0.1", "end 1 infinity 0.25", "end 1 infinity 0.2505", "end 1 unresolved 0.25", "end 2 infinity 0.25"
    ]  # fmt: skip
    level = {found[name] for name in found if name.endswith(" 0.25")}
    assert len(level) == 1
    assert found["end 1 infinity 0.1"] < min(level) < found["end 1 infinity 0.2505"]
    assert [text.get_text() for text in ax.texts if text.get_gid() == "count"] == ["×2"]
    seconds = {t.get_gid(): t.get_text() for t in ax.texts if (t.get_gid() or "").startswith("inertia:end")}
    assert seconds["inertia:end 1 infinity 0.2505"] == "0.2505"


def test_many_ends_of_a_width_become_one_with_their_range(star_landscape: Any, star_axes: Axes) -> None:
    """Of the star's ten levels three belong to width 1 and are drawn; the seven of width 2 are too many."""
    assert len(star_landscape.channels) == 400
    assert sum(node.startswith("end 1 ") for node in markers(star_axes)) == 3
    assert sum(node.startswith("end 2 ") for node in markers(star_axes)) == 1
    (text,) = [t.get_text() for t in star_axes.texts if (t.get_gid() or "").startswith("inertia:end 2 ")]
    low, high = (float(part) for part in text.split(" … "))
    values = [c.value for c in star_landscape.channels if c.width == 2]
    assert low == pytest.approx(min(values), rel=1e-3)
    assert high == pytest.approx(max(values), rel=1e-3)


def test_a_level_on_several_rows_keeps_them_together(large_landscape: Any, large_axes: Axes) -> None:
    height = {node: up for node, (_, up) in places(large_axes).items()}
    for a, b in itertools.permutations(large_landscape.points, 2):
        if a.value < b.value:
            assert height[a.id] <= height[b.id] - 1 + 1e-12, (a.id, b.id)
    rows = {
        value: {height[p.id] for p in large_landscape.points if p.value == value} for value in (0.04, 0.04024)
    }
    assert len(rows[0.04]) > 1 >= len(rows[0.04024])


def test_a_level_wider_than_the_page_takes_several_rows() -> None:
    points = [point(f"m{w}.{k}", 0.5, (-1.0, 0.0, 2.0)) for w in (1, 2, 3) for k in range(1, 9)]
    figure = draw_graph([*points, point("m3.9", 0.25)], [Edge("m1.1", "m2.8", "splitting")])
    FigureCanvasAgg(figure).draw()
    ax = figure.axes[0]
    found = places(ax)
    rows = {found[p.id][1] for p in points}
    assert 2 <= len(rows) <= 4
    assert found["m3.9"][1] < min(rows)
    for w in (1, 2, 3):  # read like a text: from the left, then the next row below
        order = [(-found[f"m{w}.{k}"][1], found[f"m{w}.{k}"][0]) for k in range(1, 9)]
        assert order == sorted(order)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.25", "0.5"]
    assert ax.get_yticks()[1] == pytest.approx((min(rows) + max(rows)) / 2)
    assert sum((t.get_gid() or "").startswith("label:") for t in ax.texts) == 25
    for one, two in itertools.combinations(boxes(ax).items(), 2):
        assert not one[1].meets(two[1]), f"{one[0]} and {two[0]}"


def test_a_channel_ends_at_the_loss_where_it_levels_off() -> None:
    channel = Channel("c", "m1.1", 1, 0, 1, "infinity", 0.25, 1e5, 1e9)
    figure = draw_graph([point("m1.1", 0.5, (-1.0, 2.0))], [], [channel, channel])
    ax = figure.axes[0]
    (end,) = [line for line in ax.lines if (line.get_gid() or "").startswith("node:end")]
    ticks = dict(zip(ax.get_yticks(), (t.get_text() for t in ax.get_yticklabels()), strict=True))
    assert ticks[end.get_ydata()[0]] == "0.25"
    assert "×2" in [text.get_text() for text in ax.texts]


def test_levels_merge_rounding_and_nothing_else() -> None:
    assert levels([1.0, 1 + 5e-10, 1 + 2e-9, -1.0, 1e-25, -1e-25, 0.0]) == [2, 2, 3, 0, 1, 1, 1]
    assert levels([1.0, 1.0005, 1.002], 1e-3) == [0, 0, 1]
    assert levels([]) == []


def test_level_names_are_as_long_as_it_takes_to_tell_them_apart() -> None:
    values = [-2e-7, 0.0, 3.6023514719766e-14, 0.24042703, 0.24042753, 0.24043, 1.0, 123456.0]
    names = level_names(values)
    assert names[:3] == ["\N{MINUS SIGN}2×10⁻⁷", "0", "3.602×10⁻¹⁴"]
    assert names[3:6] == ["0.240427", "0.2404275", "0.24043"]
    assert names[6:] == ["1", "1.235×10⁵"]
    assert all(value_of(a) < value_of(b) for a, b in itertools.pairwise(names))


def test_seats_keep_the_order_and_avoid_a_marker_on_the_way() -> None:
    column = seat([["a"], ["b", "c"], ["d"]], 3, [("a", "d")])
    assert column["b"] < column["c"] < 3
    assert column["a"] == column["d"]
    assert column["a"] not in (column["b"], column["c"])
    many = [f"x{k}" for k in range(6)]
    assert [seat([["top"], many, ["low"]], 12, [("top", "low")])[name] for name in many] == list(range(1, 7))


def test_tracks_that_overlap_differ() -> None:
    spans = {
        ("a", "splitting"): (0, 0.0, 10.0),
        ("a", "null"): (0, 0.0, 20.0),
        ("b", "null"): (0, 12.0, 15.0),
        ("c", "null"): (1, 0.0, 9.0),
    }
    assert tracks(spans) == {
        ("a", "splitting"): 0, ("b", "null"): 0, ("a", "null"): 1, ("c", "null"): 0,
    }  # fmt: skip


def test_a_sheet_needs_an_item_and_fills_the_room() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        arrange([], [], {}, {}, 100.0)
    items = [Item("a", 1, 0.5), Item("b", 2, 0.5), Item("c", 2, 0.1)]
    sheet = arrange(items, [("b", "c")], {1: 30.0, 2: 30.0}, {1: 0.0, 2: 10.0}, 200.0)
    assert sheet.width == pytest.approx(200.0)
    assert (sheet.rows, sheet.row) == (2, {"a": 1, "b": 1, "c": 0})
    assert sheet.ticks == ((0, 0, "0.1"), (1, 1, "0.5"))


def test_a_detour_leaves_a_marker_aside_and_is_straight_without_one() -> None:
    assert detour((0, 100), (0, 0), [], [], set(), 1.0) == 0
    rad = detour((0, 100), (0, 0), [(0, 50)], [], set(), 1.0)
    assert min(np.hypot(x, y - 50) for x, y in arc((0, 100), (0, 0), rad, 200)) > 5
    straight = grid(arc((0, 100), (0, 0), 0.0), 1.0)
    assert detour((0, 100), (0, 0), [], [], straight, 1.0) != 0  # another descent is there
    blocked = [Box(-20, 40, -2, 60)]
    assert (
        max(x for x, _ in arc((0, 100), (0, 0), detour((0, 100), (0, 0), [(0, 50)], blocked, set(), 1.0))) > 5
    )


def test_a_trunk_runs_below_its_row_and_ends_at_its_target() -> None:
    way = trunk((0, 0), (60, 0), 8, 3)
    assert min(y for _, y in way) == -8
    assert way[0][1] == way[-1][1] == -3
    assert [x for x, _ in way] == sorted(x for x, _ in way)
    assert trunk((0, 0), (60, 20), 8, 3)[-1] == (57, 20)


def test_bad_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'m2\.1', which is not among"):
        draw_graph([point("m1.1", 1.0)], [Edge("m1.1", "m2.1", "null")])
    with pytest.raises(ValueError, match="finite losses"):
        draw_graph([], [])
    with pytest.raises(ValueError, match="finite losses"):
        draw_graph([point("m1.1", float("nan"))], [])


@pytest.mark.parametrize(
    ("values", "log"),
    [([1.0, 29.0], False), ([1.0, 31.0], True), ([-1e-3, 31.0], False), ([0.0, 1.0, 2.0], True), ([0.0, 0.0], False),
     ([0.5], False)],
)  # fmt: skip
def test_the_axis_is_logarithmic_where_that_helps(values: list[float], log: bool) -> None:
    scale = value_scale(values)
    assert scale.log is log
    assert all(scale.lower < scale.height(value) < scale.upper for value in values)


def test_zeros_stand_below_the_rule_on_a_logarithmic_axis() -> None:
    scale = value_scale([3e-31, 1e-3, 0.5])
    assert scale.floor is not None
    assert scale.rule is not None
    assert scale.height(3e-31) == scale.floor < scale.rule < 1e-3
    assert scale.ticks[0] == (scale.floor, "0")
    assert all(tick > scale.rule for tick, _ in scale.ticks[1:])
    assert value_scale([1e-3, 0.5]).rule is None


def test_columns_keep_the_pitch() -> None:
    heights = [0.0, 0.3, 0.3, 0.31, 2.0, 0.6, 0.6]
    chosen = columns(heights, 0.5)
    for a, b in itertools.combinations(range(len(heights)), 2):
        assert chosen[a] != chosen[b] or abs(heights[a] - heights[b]) >= 0.5
    assert max(map(abs, chosen)) == 2


def test_a_label_gives_up_where_nothing_is_free() -> None:
    frame = Box(0, 0, 20, 20)
    assert place((5, 5), (10, 10), 2, [], frame) is not None
    assert place((5, 5), (10, 10), 2, [Box(0, 0, 20, 20)], frame) is None


def test_the_arc_is_the_curve_that_is_drawn() -> None:
    patch = FancyArrowPatch(
        (1, 2), (5, 3), arrowstyle="-", connectionstyle="arc3,rad=0.2", shrinkA=0, shrinkB=0
    )
    ax = Figure(figsize=(4, 4)).add_axes((0, 0, 1, 1))
    ax.add_patch(patch)
    start, control, end = patch.get_path().vertices
    middle = (start + 2 * control + end) / 4
    assert np.allclose(arc((1, 2), (5, 3), 0.2)[12], middle, rtol=1e-12)


def test_spectra_show_every_eigenvalue_once(small_landscape: Any) -> None:
    figure = draw_spectra(small_landscape.points)
    (ax,) = figure.axes
    signs = np.array(
        [[p.inertia.negative, p.inertia.zero, p.inertia.positive] for p in small_landscape.points]
    )
    levels = [
        segment[0][1]
        for lines in ax.collections
        if hasattr(lines, "get_segments")
        for segment in lines.get_segments()
    ]
    assert sum(level < 0 for level in levels) == signs[:, 0].sum()
    assert sum(level > 0 for level in levels) == signs[:, 2].sum()
    circles = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(circles) == (signs[:, 1] > 0).sum()
    numbers = sorted(int(t.get_text()) for t in ax.texts if t.get_text().isdigit())
    assert numbers == sorted(z for z in signs[:, 1] if z > 1)
    low, high = ax.get_ylim()
    assert all(low < level < high for level in levels)
    assert [t.get_text() for t in ax.get_xticklabels()] == [p.id for p in small_landscape.points]


def test_coinciding_eigenvalues_are_counted() -> None:
    ax = draw_spectra([point("m1.1", 0.5, (-0.2, -0.2, 0.0, 0.0, 0.0, 0.5, 0.502, 0.7))]).axes[0]
    assert sorted(t.get_text() for t in ax.texts if t.get_text().isdigit()) == ["2", "2", "3"]


def test_a_network_without_parameters_is_not_called_a_minimum() -> None:
    ax = draw_graph([point("m0.1", 0.5, ()), point("m1.1", 0.4)], []).axes[0]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["constant network", "minimum"]
    assert "inertia:m0.1" not in {text.get_gid() for text in ax.texts}


def test_many_spectra_are_cut_and_it_is_said(large_landscape: Any) -> None:
    figure = draw_spectra(large_landscape.points)
    assert len(figure.axes) == 3
    assert [text.get_text() for text in figure.texts] == ["the first 78 of 80 points"]
    with pytest.raises(ValueError, match="at least one"):
        draw_spectra([])
    wrong = CriticalPoint("m1.1", 1, {}, 0.0, 0.0, (1.0,), Inertia(1, 1, 1))
    with pytest.raises(ValueError, match=r"m1\.1: 1 eigenvalues"):
        draw_spectra([wrong])


def test_flow_axes_follow_the_numbers() -> None:
    ax = draw_flow([[0, 1, 10]], [[1, 0.5, -0.1]], ["a"], {"m1.1": 0.0}).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert list(ax.lines[0].get_xdata()) == [1, 10]
    assert draw_flow([[0, 1, 10]], [[1, 0.5, 0.1]]).axes[0].get_yscale() == "log"
    with pytest.raises(ValueError, match="trajectory 1: 2 times but 1 values"):
        draw_flow([[1], [1, 2]], [[1], [1]])
    with pytest.raises(ValueError, match="above 0"):
        draw_flow([[0.0]], [[1.0]])
    with pytest.raises(ValueError, match="2 labels"):
        draw_flow([[1.0]], [[1.0]], ["a", "b"])


def test_axes_of_the_caller_are_used_and_returned(small_landscape: Any) -> None:
    axes = Figure(figsize=(5, 12)).subplots(3)
    points = small_landscape.points
    assert draw_graph(points, small_landscape.edges, ax=axes[0]) is axes[0]
    assert draw_spectra(points, axes[1]) is axes[1]
    assert draw_flow([[1, 2]], [[1, 2]], ax=axes[2]) is axes[2]
    assert all(ax.has_data() for ax in axes)


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_the_same_input_gives_the_same_bytes_whatever_the_users_settings(
    suffix: str, tmp_path: Path, small_landscape: Any
) -> None:
    def bytes_of(name: str) -> bytes:
        figure = draw_graph(small_landscape.points, small_landscape.edges, small_landscape.channels)
        return save(figure, tmp_path / f"{name}.{suffix}").read_bytes()

    first = bytes_of("one")
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "lines.linewidth": 5, "pdf.fonttype": 3}):
        assert bytes_of("two") == first
    assert dict(matplotlib.rcParams) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one.{suffix}", f"two.{suffix}"]


def test_fonts_are_embedded_as_truetype(tmp_path: Path, small_landscape: Any) -> None:
    content = save(draw_spectra(small_landscape.points), tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert not re.search(rb"/CreationDate", content)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pdf"
    path.write_text("old")
    figure = draw_flow([[1, 2]], [[1, 2]])

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        save(figure, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"found the suffix '\.jpg'; accepted: \.pdf"):
        save(figure, tmp_path / "a.jpg")


def test_pyplot_is_never_imported() -> None:
    code = (
        "import sys; from workbench.plots import draw_flow; draw_flow([[1]], [[1]]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
