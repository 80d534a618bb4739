"""Figures: what is drawn where, labels that touch nothing, the same bytes for the same input."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from workbench.graph_layout import Box, arc, columns, place, value_scale
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


@pytest.mark.parametrize("name", ["small_axes", "large_axes"])
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


@pytest.mark.parametrize("name", ["small", "large"])
def test_every_point_stands_at_its_loss_in_its_layer_and_on_no_other(
    name: str, request: pytest.FixtureRequest
) -> None:
    landscape, ax = (request.getfixturevalue(f"{name}_{part}") for part in ("landscape", "axes"))
    place_of = {line.get_gid()[5:]: line.get_xydata()[0] for line in ax.lines if line.get_gid()}
    for p in landscape.points:
        if p.value > 1e-20:
            assert place_of[p.id][1] == p.value
    spans = {
        w: [place_of[p.id][0] for p in landscape.points if p.width == w]
        for w in {p.width for p in landscape.points}
    }
    widths = sorted(spans)
    assert all(max(spans[a]) < min(spans[b]) for a, b in itertools.pairwise(widths))
    spots = list(markers(ax).values())
    assert min(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in itertools.combinations(spots, 2)) > 7


def test_all_labels_of_a_small_graph_are_there(small_landscape: Any, small_axes: Axes) -> None:
    ax = small_axes
    texts = {text.get_gid(): text.get_text() for text in ax.texts}
    for p in small_landscape.points:
        assert texts[f"label:{p.id}"] == p.id
        i = p.inertia
        assert texts[f"inertia:{p.id}"] == f"({i.negative}, {i.zero}, {i.positive})"
    assert "note" not in texts
    assert sorted(text.get_text() for text in ax.texts if text.get_gid() == "count") == [r"${\times}2$"] * 2
    ends = [text.get_text() for text in ax.texts if (text.get_gid() or "").startswith("label:end")]
    assert sorted(ends) == [r"$\infty$", "?"]


def test_a_crowded_layer_says_how_many_labels_are_missing(large_landscape: Any, large_axes: Axes) -> None:
    ax = large_axes
    linked = {end for edge in large_landscape.edges for end in (edge.source, edge.target)}
    wanted = {p.id for p in large_landscape.points if p.width < 3 or p.kind == "minimum" or p.id in linked}
    labels = {text.get_gid()[6:] for text in ax.texts if (text.get_gid() or "").startswith("label:")}
    assert labels <= wanted
    (note,) = [text.get_text() for text in ax.texts if text.get_gid() == "note"]
    pairs = [(e.source, e.target, e.kind) for e in large_landscape.edges]
    badges = sum(text.get_gid() == "count" for text in ax.texts)
    repeated = sum(pairs.count(pair) > 1 for pair in set(pairs))
    assert int(note.split()[0]) == len(wanted - labels) + repeated - badges


def test_edges_are_merged_and_arrows_point_downhill(small_landscape: Any, small_axes: Axes) -> None:
    ax = small_axes
    patches = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    kinds = {(e.source, e.target, e.kind) for e in small_landscape.edges}
    assert len(patches) == len(kinds) + len(small_landscape.channels)
    arrows = [patch for patch in patches if patch.get_arrowstyle().__class__.__name__ == "CurveFilledB"]
    assert len(arrows) == sum(kind == "descent" for *_, kind in kinds) + len(small_landscape.channels)
    for arrow in arrows:
        start, end = arrow._posA_posB
        assert start[1] > end[1]


def test_a_channel_ends_at_the_loss_where_it_levels_off() -> None:
    channel = Channel("c", "m1.1", 1, 0, 1, "infinity", 0.25, 1e5, 1e9)
    figure = draw_graph([point("m1.1", 0.5, (-1.0, 2.0))], [], [channel, channel])
    (end,) = [line for line in figure.axes[0].lines if (line.get_gid() or "").startswith("node:end")]
    assert end.get_ydata()[0] == 0.25
    assert r"${\times}2$" in [text.get_text() for text in figure.axes[0].texts]


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
