r"""The graph of a landscape as a figure: a table of losses and widths, embeddings along its rows, descents down.

Points of one loss share a row, so an embedding, which keeps the loss, is a line below a row; a descent is an arrow
to a lower one.  Rows of one height tell the losses apart however close or far they are; the loss itself is the
name of the row.

>>> from workbench.results import Inertia
>>> points = [CriticalPoint("m1.1", 1, {}, 0.5, 0.0, (-1.0, 2.0), Inertia(1, 0, 1)),
...           CriticalPoint("m1.2", 1, {}, 1e-14, 0.0, (1.0, 3.0), Inertia(0, 0, 2)),
...           CriticalPoint("m2.1", 2, {}, 0.5, 0.0, (-1.0, 2.0, 3.0), Inertia(1, 0, 2))]
>>> figure = draw_graph(points, [Edge("m1.1", "m2.1", "splitting"), Edge("m1.1", "m1.2", "descent")])
>>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
['10⁻¹⁴', '0.5']
>>> sorted(text.get_gid() for text in figure.axes[0].texts if text.get_gid())[:3]
['inertia:m1.1', 'inertia:m1.2', 'inertia:m2.1']
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from workbench.channel_ends import End, ends_of
from workbench.graph_layout import Box, arc, detour, grid, trunk
from workbench.graph_sheet import ENDS_AGREE, LEAD, Item, Sheet, arrange, level_names, levels, tracks
from workbench.plots.canvas import BLUE, GREY, PURPLE, RED, WIDTH, YELLOW, canvas, style
from workbench.plots.graph_axes import stand_in_rows, stand_on_an_axis
from workbench.plots.graph_dense import draw_dense
from workbench.plots.labels import FORMS, MARKER, Badge, Form, Label, beside, measure, pixels, write_labels
from workbench.results import Channel, CriticalPoint, Edge

__all__ = ["KINDS", "draw_graph"]

KINDS = {  # marker, size in points, colour
    "constant network": ("o", 5.5, GREY),
    "minimum": ("o", 6.5, BLUE),
    "saddle": ("D", 5.5, RED),
    "degenerate": ("s", 5.8, YELLOW),
    "maximum": ("^", 7.0, PURPLE),
}
EMBEDDINGS: dict[str, Any] = {"splitting": "-", "null": (0, (3.5, 1.8)), "lifting": (0, (1, 1.2))}  # dashes
DESCENTS = ("#117733", "#332288", "#882255", "#AA7700", "#33998A")  # in turn, by target
MOST_ENDS = 6  # levels at which descents of one width and reason end, from where on they are drawn as one
MANY_DESCENTS = 60  # arrows, from where on they are thin, and numbers below 3 are left out
LEFT, BOTTOM, TOP, RIGHT = 0.92, 0.96, 0.16, 0.1  # inches around the axes
TALLEST = 7.8  # inches: a page with a caption
MOST_ROWS = 62  # of the smallest labels on a page; with more the points stand on an axis instead
MOST_POINTS = 150  # whose labels can be placed
TRACK = 2.3  # points between two embeddings below one row

Pair = tuple[float, float]


@dataclass(frozen=True)
class _Node:
    """A critical point, or the far end of descents that reach none (``reason``: why)."""

    id: str
    width: int
    value: float
    kind: str
    text: str
    second: str = ""
    reason: str = ""

    @property
    def label(self) -> Label:
        """Its label, placed nowhere yet."""
        return Label(self.id, (0.0, 0.0), self.text, self.second, "black")


@dataclass(frozen=True)
class _Graph:
    """What is drawn: nodes, and edges with their multiplicity."""

    nodes: tuple[_Node, ...]
    embeddings: Mapping[tuple[str, str, str], int]
    descents: Mapping[tuple[str, str], int]

    @property
    def items(self) -> list[Item]:
        """The nodes as the layout sees them."""
        return [Item(node.id, node.width, node.value) for node in self.nodes]


@dataclass(frozen=True)
class _Plan:
    """A sheet with labels of one form: height of a label and of a row that is not crowded, in points."""

    form: Form
    sheet: Sheet
    track: dict[tuple[str, str], int]
    label: float
    pitch: float


def draw_graph(
    points: Sequence[CriticalPoint],
    edges: Sequence[Edge],
    channels: Sequence[Channel] = (),
    ax: Axes | None = None,
) -> Figure | Axes:
    r"""Draw critical points (rows: loss, columns: width), embeddings between widths and descents.

    Marker by kind; beside it the id and, small, the inertia :math:`(n_-, n_0, n_+)`.  Points of one loss (to a
    relative :math:`10^{-9}`) share a row; the rows stand in the order of the losses, not to scale.  Splitting
    embeddings are solid grey lines below the rows, null embeddings dashed; descents are arrows, one
    colour for each target, and those that meet no critical point end in an open triangle with the sign of infinity (or a question mark: not
    resolved) at the loss where they level off, one for all that agree to a relative :math:`10^{-3}`.  Edges of one
    kind between the same points are drawn once, with their number.

    With more than 62 rows the height is the loss itself, on a logarithmic axis where that helps; more than 150 points are drawn
    by ``workbench.plots.graph_dense``, without a label for each.

    Parameters
    ----------
    points, edges, channels : sequences
        Records of one landscape.
    ax : Axes, optional
        Where to draw; a new figure, 15 cm wide and as high as needed up to a page, otherwise.

    Returns
    -------
    Figure or Axes
        The new figure, or the axes given.

    Raises
    ------
    ValueError
        If there is no point, a loss is not finite, or an edge names a point that is not there.
    """
    nodes = [_Node(p.id, p.width, p.value, *_kind(p)) for p in points]
    known = {node.id for node in nodes}
    for end in [*(e.source for e in edges), *(e.target for e in edges), *(c.source for c in channels)]:
        if end not in known:
            raise ValueError(f"an edge names the point {end!r}, which is not among {sorted(known)}")
    if not nodes or not all(math.isfinite(node.value) for node in nodes):
        raise ValueError(f"a graph needs points with finite losses, found {[node.value for node in nodes]}")
    if len(nodes) > MOST_POINTS:
        return draw_dense(points, edges, channels, ax)
    ends, links = _channel_ends(channels)
    graph = _Graph(
        (*nodes, *ends),
        Counter((e.source, e.target, e.kind) for e in edges if e.kind in EMBEDDINGS),
        Counter([*((e.source, e.target) for e in edges if e.kind == "descent"), *links]),
    )
    if ax is not None:
        frame = ax.get_window_extent()
        point = ax.figure.get_dpi() / 72
        _draw(ax, graph, _plan(graph, frame.width / point, frame.height / point))
        return ax
    with style():
        most = 72 * (TALLEST - BOTTOM - TOP)
        plan = _plan(graph, 72 * (WIDTH - LEFT - RIGHT), most)
        high = most if plan is None else min(most, max(144.0, (plan.sheet.rows + 0.3) * plan.pitch))
        figure, axes = canvas(high / 72 + BOTTOM + TOP, bottom=BOTTOM, left=LEFT, top=TOP)
        _draw(axes, graph, plan)
    return figure


def _kind(point: CriticalPoint) -> tuple[str, str, str]:
    """Return kind, label and inertia; a network without parameters has neither kind nor inertia."""
    signs = point.inertia
    if signs.negative + signs.zero + signs.positive == 0:
        return "constant network", point.id, ""
    return point.kind, point.id, f"({signs.negative}, {signs.zero}, {signs.positive})"


def _channel_ends(channels: Sequence[Channel]) -> tuple[list[_Node], list[tuple[str, str]]]:
    """Make one end for the channels of a width and a reason that level off at the same loss, or one for all of them.

    It stands at the lowest of their values, which is the nearest to the limit that they all approach from above.
    """
    groups: dict[tuple[int, str], list[End]] = defaultdict(list)
    for end in ends_of(channels):
        groups[end.width, end.kind].append(end)
    ends, links = [], []
    for (width, reason), found in sorted(groups.items()):
        every = [(end.level, end.channels) for end in sorted(found, key=lambda end: end.level)]
        # Many levels of one kind would drown the critical points: they become one end, with the range of its values.
        if len(every) > MOST_ENDS:
            every = [(every[0][0], tuple(chain.from_iterable(group for _, group in every)))]
        for low, group in every:
            high = max(channel.value for channel in group)
            text = level_names([low])[0]
            if high - low > ENDS_AGREE * high:
                text = f"{text} … {level_names([high])[0]}"
            name = f"end {width} {reason} {low!r}"
            ends.append(_Node(name, width, low, "end", "∞" if reason == "infinity" else "?", text, reason))
            links += [(channel.source, name) for channel in group]
    return ends, links


def _plan(graph: _Graph, width: float, height: float) -> _Plan | None:
    """Lay out the sheet with the roomiest labels that fit; None if the losses are too many for rows."""
    if len(set(levels([node.value for node in graph.nodes]))) > MOST_ROWS:
        return None
    for form in FORMS:
        sizes = measure([node.label for node in graph.nodes], form)
        widest: dict[tuple[int, bool], float] = defaultdict(float)  # of points, and of ends, which stand last
        for node, size in zip(graph.nodes, sizes, strict=True):
            key = node.width, bool(node.reason)
            widest[key] = max(widest[key], size.width)
        layers = {node.width for node in graph.nodes}
        beside_it = LEAD + MARKER * form.marker + 1.4 + 2.0
        cells = {layer: beside_it + widest[layer, False] for layer in layers}
        tails = {layer: max(0.0, widest[layer, True] - widest[layer, False]) for layer in layers}
        sheet = arrange(graph.items, list(graph.descents), cells, tails, width)
        track = _tracks(graph, {name: (sheet.across[name], sheet.row[name]) for name in sheet.row})
        label = max(size.height for size in sizes)
        pitch = label + TRACK * (1 + max(track.values(), default=-1)) + (9.0 if sheet.rows < 20 else 6.0)
        if sheet.width <= width + 1 and (sheet.rows + 0.3) * (label + 0.6) <= height:
            break
    return None if sheet.rows > MOST_ROWS else _Plan(form, sheet, track, label, pitch)


def _tracks(graph: _Graph, places: Mapping[str, tuple[float, int]]) -> dict[tuple[str, str], int]:
    """Number the lines below the rows: one for all embeddings of a kind that leave a point."""
    spans: dict[tuple[str, str], tuple[int, float, float]] = {}
    for source, target, kind in graph.embeddings:
        across, row = places[source]
        end = max(places[target][0], spans.get((source, kind), (0, 0.0, -math.inf))[2])
        spans[source, kind] = row, across, end
    return tracks(spans)


def _draw(ax: Axes, graph: _Graph, plan: _Plan | None) -> None:
    """Set up the axes, place the nodes, draw the edges below and the labels above them."""
    point = ax.figure.get_dpi() / 72
    form = FORMS[0] if plan is None else plan.form
    if plan is None:
        at = stand_on_an_axis(ax, graph.items)
        rows = {name: (across, round(pixels(ax, (across, up))[1])) for name, (across, up) in at.items()}
        track, below, spacing = _tracks(graph, rows), MARKER + 1.0, TRACK
    else:
        pitch = ax.get_window_extent().height / point / (plan.sheet.rows + 0.3)
        deepest = 1 + max(plan.track.values(), default=-1)
        spacing = max(0.5, min(TRACK, (pitch - plan.label - 1) / max(deepest, 1)))
        track, below = plan.track, max(plan.label / 2 - 0.5, MARKER * form.marker)
        slack = max(0.0, pitch - plan.label - spacing * deepest)
        at = stand_in_rows(ax, plan.sheet, 1 - min(0.7, (slack + plan.label) / (2 * pitch)))
    colour = _colours(graph, at)
    labels = [
        Label(node.id, at[node.id], node.text, node.second, colour[node.id] if node.reason else "black")
        for node in sorted(graph.nodes, key=lambda n: (n.width, -at[n.id][1], at[n.id][0], n.id))
    ]
    boxes = [] if plan is None else [
        beside(ax, label, size, form) for label, size in zip(labels, measure(labels, form), strict=True)
    ]  # fmt: skip
    depth = {key: (below + spacing * (number + 0.6)) * point for key, number in track.items()}
    curves, badges = _embeddings(ax, graph.embeddings, at, depth, MARKER * form.marker * point)
    more_curves, more_badges = _descents(ax, graph, at, boxes, form, colour)
    for node in graph.nodes:
        shape, size, fill = KINDS.get(node.kind, (">", 6.0, "white"))
        face, rim = (fill, colour[node.id]) if node.reason else (fill, "white")
        ax.plot(*at[node.id], shape, ms=size * form.marker, mfc=face, mec=rim, mew=0.9 if node.reason else 0.5,
                zorder=5, gid=f"node:{node.id}")  # fmt: skip
    lost = write_labels(
        ax, labels, badges + more_badges, list(at.values()), curves + more_curves, form, plan is None
    )
    if lost:
        note = f"{lost} labels left out for want of room"
        ax.text(0.995, 1.005, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=7, gid="note")
    _legend(ax, graph)


def _embeddings(
    ax: Axes,
    embeddings: Mapping[tuple[str, str, str], int],
    at: Mapping[str, Pair],
    depth: Mapping[tuple[str, str], float],
    reach: float,
) -> tuple[list[list[Pair]], list[Badge]]:
    """Draw the embeddings below their rows; return their ways in pixels, and the numbers of the repeated ones."""
    ways, badges = [], []
    for (source, target, kind), count in sorted(embeddings.items()):
        way = trunk(pixels(ax, at[source]), pixels(ax, at[target]), depth[source, kind], reach)
        across, up = ax.transData.inverted().transform(way).T
        ax.plot(across, up, color=GREY, ls=EMBEDDINGS[kind], lw=0.8, zorder=1, solid_capstyle="butt",
                gid=f"edge:{kind}:{source}:{target}")  # fmt: skip
        ways.append(way)
        badges += [Badge(way, count, GREY)] * (count > 1)
    return ways, badges


def _descents(
    ax: Axes,
    graph: _Graph,
    at: Mapping[str, Pair],
    boxes: Sequence[Box],
    form: Form,
    colour: Mapping[str, str],
) -> tuple[list[list[Pair]], list[Badge]]:
    """Draw the descents, short ones first, each with the bend that runs over least; return as ``_embeddings``."""
    point = ax.figure.get_dpi() / 72
    spots = {name: pixels(ax, place) for name, place in at.items()}
    ends = {node.id for node in graph.nodes if node.reason}
    many = len(graph.descents) > MANY_DESCENTS
    ways: list[list[Pair]] = []
    badges = []
    drawn: set[tuple[int, int]] = set()
    reach = MARKER * form.marker
    order = sorted(graph.descents.items(), key=lambda e: (math.dist(spots[e[0][0]], spots[e[0][1]]), e[0]))
    for (source, target), count in order:
        others = [spot for name, spot in spots.items() if name not in (source, target)]
        rad = detour(spots[source], spots[target], others, boxes, drawn, point)
        light = many or target in ends
        ax.add_patch(FancyArrowPatch(
            at[source], at[target], arrowstyle="-|>,head_length=2.8,head_width=1.4", color=colour[target],
            connectionstyle=f"arc3,rad={rad}", lw=0.5 if light else 0.85, alpha=0.6 if light else 0.9,
            shrinkA=reach, shrinkB=reach + 0.3, zorder=2, capstyle="butt", gid=f"edge:descent:{source}:{target}",
        ))  # fmt: skip
        ways.append(arc(spots[source], spots[target], rad, 96))
        drawn |= grid(ways[-1][12:-12], point)
        badges += [Badge(ways[-1], count, colour[target])] * (count > (2 if many else 1))
    return ways, badges


def _colours(graph: _Graph, at: Mapping[str, Pair]) -> dict[str, str]:
    """Give each target of descents a colour that its neighbours in the layer do not have."""
    order = sorted(graph.nodes, key=lambda n: (n.width, -at[n.id][1], at[n.id][0], n.id))
    aims = {target for _, target in graph.descents}
    return {node.id: DESCENTS[k % len(DESCENTS)] for k, node in enumerate(n for n in order if n.id in aims)}


def _legend(ax: Axes, graph: _Graph) -> None:
    """Explain what occurs, below the axes."""
    present = {node.kind for node in graph.nodes}
    reasons = {node.reason for node in graph.nodes}
    kinds = {kind for *_, kind in graph.embeddings}
    entries = [
        Line2D([], [], marker=shape, ms=size, color=colour, mec="white", mew=0.5, ls="", label=kind)
        for kind, (shape, size, colour) in KINDS.items()
        if kind in present
    ]
    for kind, dash in EMBEDDINGS.items():
        if kind in kinds:
            name = {"splitting": "splitting embedding", "null": "null embedding"}.get(kind, kind)
            entries.append(Line2D([], [], color=GREY, ls=dash, lw=0.9, label=name))
    if graph.descents:
        entries.append(
            Line2D(
                [],
                [],
                color=DESCENTS[0],
                lw=0.9,
                marker=">",
                ms=3.5,
                markevery=[1],
                label="descent (colour: target)",
            )
        )
    for reason, text in (("infinity", "to infinity (∞)"), ("unresolved", "not resolved (?)")):
        if reason in reasons:
            entries.append(
                Line2D([], [], color=DESCENTS[0], mfc="white", marker=">", ms=6, ls="", label=text)
            )
    below = -0.44 / (ax.get_window_extent().height / ax.figure.get_dpi())  # 0.44 inches under the axes
    ax.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.43, below), ncols=4, frameon=False,
              fontsize=7.5, columnspacing=1.2, handlelength=1.8, handletextpad=0.5, borderaxespad=0)  # fmt: skip
