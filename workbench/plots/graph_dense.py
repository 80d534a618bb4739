r"""The graph of a landscape with more points than a page has room for labels: columns of widths over an axis of the loss.

Every point is a small marker; points of one loss and width stand side by side.  Embeddings are thin horizontal lines, for
they keep the loss, descents are thin lines whose opacity adds up, so that a dark bundle is a frequent way down.  Named are the lowest minima of each
width and, as far as there is room, the points that are embedded from no narrower one.

>>> from workbench.results import Inertia
>>> points = [CriticalPoint(f"m1.{k}", 1, {}, 0.1 * k, 0.0, (1.0, 2.0), Inertia(0, 0, 2)) for k in range(1, 4)]
>>> figure = draw_dense(points, [], [])
>>> [text.get_text() for text in figure.axes[0].texts][:2]
['m1.1', 'm1.2']
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from workbench.channel_ends import ends_of
from workbench.graph_queries import EMBEDDINGS
from workbench.plots.canvas import GREEN, GREY, WIDTH, canvas, style
from workbench.plots.graph_axes import set_loss_axis
from workbench.plots.labels import pixels
from workbench.results import Channel, CriticalPoint, Edge

__all__ = ["draw_dense"]

KINDS = {  # marker, size in points, colour
    "minimum": ("o", 3.4, "#4477AA"),
    "saddle": ("D", 2.3, "#EE6677"),
    "degenerate": ("s", 2.8, "#CCBB44"),
    "maximum": ("^", 3.4, "#AA3377"),
    "constant network": ("o", 3.0, "#777777"),
    "to infinity": (">", 3.2, "white"),
    "not resolved": ("X", 3.2, "white"),
}
ENDS = {"infinity": "to infinity", "unresolved": "not resolved"}
APART = 4.2  # points between markers of one loss
ROOM = 0.62  # share of a column that markers may fill
HIGH = 7.4  # inches
LOWEST = 3  # minima that are named in each width, at least
FONT = 5.6

Pair = tuple[float, float]


def draw_dense(
    points: Sequence[CriticalPoint],
    edges: Sequence[Edge],
    channels: Sequence[Channel] = (),
    ax: Axes | None = None,
) -> Figure | Axes:
    """Draw points, embeddings and descents without a label for each; return the new figure, or ``ax`` if given."""
    if ax is not None:
        _draw(ax, points, edges, channels)
        return ax
    with style():
        figure, axes = canvas(HIGH, bottom=0.9, left=0.8, top=0.16)
        _draw(axes, points, edges, channels)
    return figure


def _draw(
    ax: Axes, points: Sequence[CriticalPoint], edges: Sequence[Edge], channels: Sequence[Channel]
) -> None:
    scale = set_loss_axis(ax, [point.value for point in points] + [channel.value for channel in channels])
    widths = sorted({point.width for point in points})
    ax.set_xlim(-0.5, len(widths) - 0.5)
    ax.xaxis.set_major_locator(FixedLocator(range(len(widths))))
    ax.xaxis.set_major_formatter(FixedFormatter([str(width) for width in widths]))
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("width $m$")
    for edge in range(len(widths) - 1):
        ax.axvline(edge + 0.5, color="#C4C4C4", lw=0.6, zorder=0)

    ends = ends_of(channels)
    items = [(p.id, p.width, p.value, _kind(p)) for p in points]
    items += [(end.id, end.width, end.value, ENDS[end.kind]) for end in ends]
    at = _places(ax, items, scale, widths)
    links = [(e.source, e.target) for e in edges if e.kind == "descent"]
    links += [(channel.source, end.id) for end in ends for channel in end.channels]
    _lines(ax, at, [(e.source, e.target) for e in edges if e.kind in EMBEDDINGS], GREY, 0.35)
    _lines(ax, at, links, GREEN, max(0.06, min(0.5, 40 / (1 + len(links)))))
    for kind, (marker, size, colour) in KINDS.items():
        chosen = [at[name] for name, _, _, one in items if one == kind]
        if chosen:
            rim = GREY if colour == "white" else "white"
            ax.plot(
                *zip(*chosen, strict=True),
                ls="",
                marker=marker,
                ms=size,
                mfc=colour,
                mec=rim,
                mew=0.3,
                zorder=4,
            )
    _names(ax, points, edges, at)
    _legend(ax, {kind for *_, kind in items}, bool(links), any(e.kind in EMBEDDINGS for e in edges))


def _kind(point: CriticalPoint) -> str:
    signs = point.inertia
    return point.kind if signs.negative + signs.zero + signs.positive else "constant network"


def _places(
    ax: Axes, items: Sequence[tuple[str, int, float, str]], scale: Any, widths: Sequence[int]
) -> dict[str, Pair]:
    """Stand each item on its loss, in the first free place from the middle of its column outwards."""
    inch = ax.figure.get_dpi() / 72
    column = ax.get_window_extent().width / len(widths)
    most = ROOM * column / 2 / (APART * inch)
    taken: dict[tuple[int, int], list[float]] = defaultdict(list)
    places = {}
    for name, width, value, _ in sorted(items, key=lambda item: (item[1], item[2], item[0])):
        height = scale.height(value)
        up = pixels(ax, (0, height))[1] / (APART * inch)
        row = round(up)
        busy = {slot for near in (row - 1, row, row + 1) for slot in taken[width, near]}
        slots = sorted((k for k in range(-int(most), int(most) + 1)), key=lambda k: (abs(k), k))
        slot = next((k for k in slots if k not in busy), 0)
        taken[width, row].append(slot)
        places[name] = widths.index(width) + slot * APART * inch / column, height
    return places


def _lines(
    ax: Axes, at: Mapping[str, Pair], links: Sequence[tuple[str, str]], colour: str, alpha: float
) -> None:
    ax.add_collection(
        LineCollection(
            [[at[s], at[t]] for s, t in links], colors=colour, linewidths=0.5, alpha=alpha, zorder=1
        ),
        autolim=False,
    )


def _names(ax: Axes, points: Sequence[CriticalPoint], edges: Sequence[Edge], at: Mapping[str, Pair]) -> None:
    """Name the lowest minima of each width, then what is embedded from nothing, where no name stands in the way."""
    embedded = {edge.target for edge in edges if edge.kind in EMBEDDINGS}
    by_width: dict[int, list[CriticalPoint]] = defaultdict(list)
    for point in sorted(points, key=lambda point: (point.value, point.id)):
        by_width[point.width].append(point)
    first = [p for group in by_width.values() for p in [p for p in group if p.kind == "minimum"][:LOWEST]]
    rest = sorted(
        (p for p in points if p.id not in embedded and p not in first),
        key=lambda p: (p.kind != "minimum", p.value),
    )
    inch = ax.figure.get_dpi() / 72
    boxes: list[tuple[float, float, float, float]] = []
    spots = [pixels(ax, place) for place in at.values()]
    for point in [*first, *rest]:
        x, y = pixels(ax, at[point.id])
        left, high = x + 2.5 * inch, FONT * inch
        box = left, y - high / 2, left + 0.6 * FONT * inch * len(point.id), y + high / 2
        if point not in first and (
            any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes)
            or any(box[0] < sx < box[2] and box[1] < sy < box[3] for sx, sy in spots)
        ):
            continue
        boxes.append(box)
        ax.annotate(point.id, at[point.id], (2.8, 0), textcoords="offset points", fontsize=FONT, va="center",
                    zorder=6, bbox={"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.75})  # fmt: skip


def _legend(ax: Axes, used: set[str], descents: bool, embeddings: bool) -> None:
    handles: list[Any] = [
        Line2D([], [], ls="", marker=marker, ms=1.4 * size, mfc=colour, mec=GREY if colour == "white" else "white",
               mew=0.5, label=kind)
        for kind, (marker, size, colour) in KINDS.items()
        if kind in used
    ]  # fmt: skip
    handles += [Line2D([], [], color=GREY, lw=0.9, label="embedding")] * embeddings
    handles += [Line2D([], [], color=GREEN, lw=0.9, label="descent")] * descents
    inch = ax.get_window_extent().height / ax.figure.get_dpi()
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.46, -0.42 / inch), ncols=max(1, min(len(handles), int(WIDTH))),
              frameon=False, fontsize=7.5, handletextpad=0.4, columnspacing=1.2)  # fmt: skip
