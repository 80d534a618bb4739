"""The graph of a landscape as a figure: critical points in layers, embeddings and descents between them.

>>> from workbench.results import Inertia
>>> points = [CriticalPoint("m1.1", 1, {}, 0.5, 0.0, (1.0,), Inertia(0, 0, 1)),
...           CriticalPoint("m2.1", 2, {}, 0.1, 0.0, (2.0, 3.0), Inertia(0, 0, 2))]
>>> figure = draw_graph(points, [Edge("m1.1", "m2.1", "splitting")])
>>> sorted(text.get_gid() for text in figure.axes[0].texts if text.get_gid())
['inertia:m1.1', 'inertia:m2.1', 'label:m1.1', 'label:m2.1']
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from workbench.graph_layout import arc, columns, value_scale
from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, YELLOW, canvas, style
from workbench.plots.labels import MARKER, Badge, Label, pixels, write_labels
from workbench.results import Channel, CriticalPoint, Edge

__all__ = ["KINDS", "draw_graph"]

KINDS = {  # marker, size in points, colour
    "constant network": ("o", 5.5, GREY),
    "minimum": ("o", 6.5, BLUE),
    "saddle": ("D", 5.5, RED),
    "degenerate": ("s", 5.8, YELLOW),
    "maximum": ("^", 7.0, PURPLE),
}
EMBEDDINGS: dict[str, tuple[Any, float]] = {  # dashes, bend
    "splitting": ("-", 0.11),
    "null": ((0, (4, 2.5)), -0.11),
    "lifting": (":", 0.17),
}
CROWDED = 25  # points of a layer, from where on not all are labelled
THIN = 40  # edges, from where on they are drawn thin


@dataclass(frozen=True)
class _Node:
    """A critical point, or the far end of descents that reach none."""

    id: str
    width: int
    value: float
    kind: str
    text: str
    inertia: str = ""
    channel: Channel | None = None


def draw_graph(
    points: Sequence[CriticalPoint],
    edges: Sequence[Edge],
    channels: Sequence[Channel] = (),
    ax: Axes | None = None,
) -> Figure | Axes:
    r"""Draw critical points (layers: width, height: loss), embeddings between layers and descents.

    Marker by kind; beside it the id and, small, the inertia :math:`(n_-, n_0, n_+)`.  Splitting embeddings are
    solid grey, null embeddings dashed; descents are green arrows, and those that meet no critical point
    end in an open triangle with the sign of infinity (or a question mark: not resolved) at the loss where they
    level off.  Edges of one kind between the same points are drawn once, with their number.

    Parameters
    ----------
    points, edges, channels : sequences
        Records of one landscape.
    ax : Axes, optional
        Where to draw; a new figure otherwise.

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
    merged = _merged(edges)
    ends, links = _channel_ends(channels, {node.id: node.width for node in nodes})
    labelled = _labelled(points, edges, channels)
    if ax is not None:
        _graph(ax, [*nodes, *ends], merged, links, labelled)
        return ax
    crowd = max((sum(n.width == w for n in nodes) for w in {n.width for n in nodes}), default=0)
    with style():
        figure, axes = canvas(min(6.6, max(3.7, 2.6 + 0.17 * crowd)), bottom=0.86)
        _graph(axes, [*nodes, *ends], merged, links, labelled)
    return figure


def _kind(point: CriticalPoint) -> tuple[str, str, str]:
    """Return kind, label and inertia; a network without parameters has neither kind nor inertia."""
    signs = point.inertia
    if signs.negative + signs.zero + signs.positive == 0:
        return "constant network", point.id, ""
    return point.kind, point.id, f"({signs.negative}, {signs.zero}, {signs.positive})"


def _merged(edges: Sequence[Edge]) -> dict[tuple[str, str, str], int]:
    """Count the edges of each kind between the same two points."""
    count: dict[tuple[str, str, str], int] = defaultdict(int)
    for edge in edges:
        count[edge.source, edge.target, edge.kind] += 1
    return dict(count)


def _channel_ends(
    channels: Sequence[Channel], widths: Mapping[str, int]
) -> tuple[list[_Node], list[tuple[str, str]]]:
    """Make one end for the channels of a layer that level off at the same loss, for the same reason."""
    groups: dict[tuple[int, str, float], list[Channel]] = defaultdict(list)
    for channel in channels:
        groups[widths[channel.source], channel.reason, float(f"{channel.value:.3g}")].append(channel)
    ends, links = [], []
    for (width, reason, value), members in sorted(groups.items()):
        name = f"end {width} {reason} {value!r}"
        text = r"$\infty$" if reason == "infinity" else "?"
        ends.append(_Node(name, width, value, "end", text, channel=members[0]))
        links += [(channel.source, name) for channel in members]
    return ends, links


def _labelled(
    points: Sequence[CriticalPoint], edges: Sequence[Edge], channels: Sequence[Channel]
) -> set[str]:
    """Every point, but in a crowded layer only minima, embedded points and those with edges."""
    linked = {end for edge in edges for end in (edge.source, edge.target)} | {c.source for c in channels}
    size: dict[int, int] = defaultdict(int)
    for point in points:
        size[point.width] += 1
    return {
        p.id
        for p in points
        if size[p.width] <= CROWDED or p.kind == "minimum" or p.embedded_from or p.id in linked
    }


def _graph(
    ax: Axes,
    nodes: Sequence[_Node],
    merged: Mapping[tuple[str, str, str], int],
    links: Sequence[tuple[str, str]],
    labelled: set[str],
) -> None:
    """Set up the axes, place the nodes, draw the edges below and the labels above them."""
    at = _place_nodes(ax, nodes)
    arrows: dict[tuple[str, str], int] = defaultdict(int)
    for link in links:
        arrows[link] += 1
    curves: list[Sequence[tuple[float, float]]] = []
    badges: list[Badge] = []
    thin = len(merged) + len(arrows) > THIN
    for (source, target, kind), count in sorted(merged.items()):
        dash, bend = EMBEDDINGS.get(kind, ("-", _descent_bend(at[source], at[target])))
        colour = GREY if kind in EMBEDDINGS else GREEN
        curves.append(
            _curve(ax, at[source], at[target], colour, bend, dash, arrow=colour == GREEN, thin=thin)
        )
        badges += [Badge(curves[-1], count, colour)] * (count > 1)
    for (source, target), count in sorted(arrows.items()):
        curves.append(_curve(ax, at[source], at[target], GREEN, 0.12, arrow=True, thin=thin))
        badges += [Badge(curves[-1], count, GREEN)] * (count > 1)
    for node in nodes:
        shape, size, colour = KINDS.get(node.kind, (">", 6.5, GREEN))
        face = "white" if node.kind == "end" else colour
        ax.plot(*at[node.id], shape, ms=size, mfc=face, mec=colour if node.kind == "end" else "white",
                mew=0.9 if node.kind == "end" else 0.5, zorder=5, gid=f"node:{node.id}")  # fmt: skip
    order = sorted(nodes, key=lambda n: (n.width, -at[n.id][1], at[n.id][0], n.id))
    labels = [
        Label(n.id, at[n.id], n.text, n.inertia, GREEN if n.kind == "end" else "black")
        for n in order
        if n.kind == "end" or n.id in labelled
    ]
    lost = write_labels(ax, labels, badges, list(at.values()), curves)
    if lost:
        note = f"{lost} labels left out for want of room"
        ax.text(0.995, 1.005, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=7, gid="note")
    _graph_legend(ax, nodes, {kind for _, _, kind in merged} | ({"descent"} if links else set()))


def _place_nodes(ax: Axes, nodes: Sequence[_Node]) -> dict[str, tuple[float, float]]:
    """Fix limits and ticks, and give each node its place (units of the axes)."""
    scale = value_scale([node.value for node in nodes])
    ax.set_yscale("log" if scale.log else "linear")
    ax.set_ylim(scale.lower, scale.upper)
    if scale.log:
        ax.yaxis.set_major_locator(FixedLocator([tick for tick, _ in scale.ticks]))
        ax.yaxis.set_major_formatter(FixedFormatter([text for _, text in scale.ticks]))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(6))
    if scale.rule is not None:
        ax.axhline(scale.rule, color=GREY, lw=0.6, ls=":", zorder=0)
    layers = sorted({node.width for node in nodes})
    inch = 1 / ax.figure.get_dpi()
    offsets: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for width in layers:
        inside = [node for node in nodes if node.width == width and node.kind != "end"]
        ends = [node for node in nodes if node.width == width and node.kind == "end"]
        pitch = 0.38 if len(inside) <= 12 else 0.2
        heights = [pixels(ax, (0, scale.height(node.value)))[1] * inch for node in inside]
        chosen = columns(heights, pitch)
        last = max(chosen, default=0)
        tails = columns([pixels(ax, (0, scale.height(node.value)))[1] * inch for node in ends], 0.2)
        tails = [abs(2 * c) - (c > 0) for c in tails]  # 0, 1, 2, ... to the right only
        offsets |= {node.id: column for node, column in zip(inside, chosen, strict=True)}
        offsets |= {node.id: last + 1 + column for node, column in zip(ends, tails, strict=True)}
        spans.append((min([*chosen, 0]), max([last, *(last + 1 + c for c in tails)])))
    slots_needed = sum(high - low + 1.5 for low, high in spans)
    least = max(1.5, 0.13 * slots_needed)  # a layer of one column needs room for labels and bent edges
    left, centres = 0.0, []
    for number, (low, high) in enumerate(spans):
        slots = max(least, high - low + 1.5)
        ax.axvspan(left, left + slots, color="#F4F4F4" if number % 2 == 0 else "white", zorder=-2, lw=0)
        centres.append(left + slots / 2 - (low + high) / 2)
        left += slots
    ax.set_xlim(0, left)
    ax.xaxis.set_major_locator(FixedLocator(centres))
    ax.xaxis.set_major_formatter(FixedFormatter([str(width) for width in layers]))
    ax.set_xlabel("width $m$")
    ax.set_ylabel("loss")
    centre = dict(zip(layers, centres, strict=True))
    return {n.id: (centre[n.width] + offsets[n.id], scale.height(n.value)) for n in nodes}


def _descent_bend(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Bend to the outside: a run down to the right leaves to the right, and so on."""
    return 0.18 if end[0] >= start[0] else -0.18


def _curve(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    bend: float,
    dash: Any = "-",
    arrow: bool = False,
    thin: bool = False,
) -> list[tuple[float, float]]:
    """Draw one edge; give points along it in pixels."""
    ends = pixels(ax, start), pixels(ax, end)
    if arrow:  # a long arrow stands out by no more than a fifth of an inch
        most = 0.4 * ax.figure.get_dpi() / max(math.dist(*ends), 1.0)
        bend = max(-most, min(most, bend))
    head = "-|>,head_length=3.2,head_width=1.7" if arrow else "-"
    ax.add_patch(FancyArrowPatch(
        start, end, arrowstyle=head, connectionstyle=f"arc3,rad={bend}", color=colour, linestyle=dash,
        lw=0.5 if thin else 0.9, shrinkA=MARKER, shrinkB=MARKER + 0.3, zorder=2 if arrow else 1, capstyle="butt",
    ))  # fmt: skip
    return arc(*ends, bend)


def _graph_legend(ax: Axes, nodes: Sequence[_Node], kinds: set[str]) -> None:
    """Explain what occurs, below the axes."""
    present = {node.kind for node in nodes}
    reasons = {node.channel.reason for node in nodes if node.channel}
    entries = [
        Line2D([], [], marker=shape, ms=size, color=colour, mec="white", mew=0.5, ls="", label=kind)
        for kind, (shape, size, colour) in KINDS.items()
        if kind in present
    ]
    for kind, (dash, _) in EMBEDDINGS.items():
        if kind in kinds:
            name = {"splitting": "splitting embedding", "null": "null embedding"}.get(kind, kind)
            entries.append(Line2D([], [], color=GREY, ls=dash, lw=0.9, label=name))
    if "descent" in kinds:
        entries.append(
            Line2D([], [], color=GREEN, lw=0.9, marker=">", ms=3.5, markevery=[1], label="descent")
        )
    for reason, text in (("infinity", r"to infinity ($\infty$)"), ("unresolved", "not resolved (?)")):
        if reason in reasons:
            entries.append(Line2D([], [], color=GREEN, mfc="white", marker=">", ms=6, ls="", label=text))
    below = -0.44 / (ax.get_window_extent().height / ax.figure.get_dpi())  # 0.44 inches under the axes
    ax.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.47, below), ncols=4, frameon=False,
              columnspacing=1.4, handletextpad=0.5, borderaxespad=0)  # fmt: skip
