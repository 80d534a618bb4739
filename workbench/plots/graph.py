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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from workbench.graph_layout import Box, arc, columns, detour, trunk, value_scale
from workbench.graph_sheet import Item, Sheet, arrange, levels, tracks
from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, WIDTH, YELLOW, canvas, style
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
ENDS_AGREE = 1e-3  # where a run levels off is known no better
MANY_DESCENTS = 60  # arrows, from where on they are thin, and numbers below 3 are left out
LEFT, BOTTOM, TOP, RIGHT = 0.92, 0.92, 0.16, 0.1  # inches around the axes
TALLEST = 7.8  # inches: a page with a caption
ROWS = 62  # more do not fit on a page: then the points stand on an axis instead
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
        return Label(self.id, (0.0, 0.0), self.text, self.second, GREEN if self.reason else "black")


@dataclass(frozen=True)
class _Graph:
    """What is drawn: nodes, and edges with their multiplicity."""

    nodes: tuple[_Node, ...]
    embeddings: Mapping[tuple[str, str, str], int]
    descents: Mapping[tuple[str, str], int]


def draw_graph(
    points: Sequence[CriticalPoint],
    edges: Sequence[Edge],
    channels: Sequence[Channel] = (),
    ax: Axes | None = None,
) -> Figure | Axes:
    r"""Draw critical points (rows: loss, columns: width), embeddings between widths and descents.

    Marker by kind; beside it the id and, small, the inertia :math:`(n_-, n_0, n_+)`.  Points of one loss (to a
    relative :math:`10^{-9}`) share a row; the rows stand in the order of the losses, not to scale.  Splitting
    embeddings are solid grey lines below the rows, null embeddings dashed; descents are green arrows, and
    those that meet no critical point end in an open triangle with the sign of infinity (or a question mark: not
    resolved) at the loss where they level off, one for all that agree to a relative :math:`10^{-3}`.  Edges of one
    kind between the same points are drawn once, with their number.

    With more than 62 rows the height is the loss itself, on a logarithmic axis where that helps.

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
    ends, links = _channel_ends(channels, {node.id: node.width for node in nodes})
    graph = _Graph(
        (*nodes, *ends),
        Counter((e.source, e.target, e.kind) for e in edges if e.kind in EMBEDDINGS),
        Counter([*((e.source, e.target) for e in edges if e.kind not in EMBEDDINGS), *links]),
    )
    if ax is not None:
        _draw(ax, graph)
        return ax
    with style():
        figure, axes = canvas(_height(graph), bottom=BOTTOM, left=LEFT, top=TOP)
        _draw(axes, graph)
    return figure


def _kind(point: CriticalPoint) -> tuple[str, str, str]:
    """Return kind, label and inertia; a network without parameters has neither kind nor inertia."""
    signs = point.inertia
    if signs.negative + signs.zero + signs.positive == 0:
        return "constant network", point.id, ""
    return point.kind, point.id, f"({signs.negative}, {signs.zero}, {signs.positive})"


def _channel_ends(
    channels: Sequence[Channel], widths: Mapping[str, int]
) -> tuple[list[_Node], list[tuple[str, str]]]:
    """Make one end for the channels of a width and a reason that level off at the same loss.

    It stands at the lowest of their values, which is the nearest to the limit that they all approach from above.
    """
    found = levels([channel.value for channel in channels], ENDS_AGREE)
    lowest: dict[int, float] = {}
    for level, channel in zip(found, channels, strict=True):
        lowest[level] = min(channel.value, lowest.get(level, math.inf))
    groups: dict[tuple[int, int, str], list[str]] = defaultdict(list)
    for level, channel in zip(found, channels, strict=True):
        groups[widths[channel.source], level, channel.reason].append(channel.source)
    ends, links = [], []
    for (width, level, reason), sources in sorted(groups.items()):
        name = f"end {width} {reason} {lowest[level]!r}"
        sign = r"$\infty$" if reason == "infinity" else "?"
        ends.append(_Node(name, width, lowest[level], "end", sign, level_name(lowest[level]), reason))
        links += [(source, name) for source in sources]
    return ends, links
