r"""The embedding order as a Hasse diagram: which entries of wider networks hold which of narrower ones.

A column for each width, a line for each entry; an edge joins two entries with none between them.  Entries without edges stand below
the others of their column.

>>> import networkx as nx
>>> order = nx.DiGraph()
>>> order.add_node("m1.1", width=1, value=0.5, kind="minimum", inertia={"negative": 0, "zero": 0, "positive": 3})
>>> order.add_node("m2.1", width=2, value=0.5, kind="saddle", inertia={"negative": 1, "zero": 1, "positive": 4})
>>> order.add_edge("m1.1", "m2.1", kinds=("splitting",))
>>> figure = draw_hasse(order)
>>> sorted(text.get_text() for text in figure.axes[0].texts)[:2]
['m1.1  (0, 0, 3)', 'm2.1  (1, 1, 4)']
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from workbench.plots.canvas import GREY, WIDTH, style
from workbench.plots.graph import EMBEDDINGS, KINDS

__all__ = ["draw_hasse"]

SWEEPS = 8
#: Height of a line in inches with few entries and at least, and the font sizes that go with them.
ROOMY, DENSE = 0.24, 0.105
LARGE, SMALL = 8.0, 5.2
#: Entries of a column from where on lines are dense.
MANY = 34
COLUMN = 1.75  # inches: a label and the edges to the next column


def draw_hasse(order: Any, ax: Axes | None = None) -> Figure | Axes:
    """Draw the Hasse diagram of ``workbench.graph_queries.embedding_order``; return the new figure, or ``ax`` if given.

    Columns are widths; the entries of a column are ordered so that edges cross little.  Solid lines are splittings, dashed
    ones null embeddings, dotted ones liftings in depth.  The figure grows with the number of entries, so that every label can be read.

    Raises
    ------
    ValueError
        If there is no entry.
    """
    columns = _columns(order)
    if not columns:
        raise ValueError("a Hasse diagram needs at least one entry, found none")
    longest = max(len(column) for column in columns.values())
    dense = longest > MANY
    line, size = (DENSE, SMALL) if dense else (ROOMY, LARGE)
    if ax is not None:
        _draw(ax, order, columns, size)
        return ax
    with style():
        high, wide = 0.95 + line * (longest + 1), max(WIDTH, 0.4 + COLUMN * len(columns))
        figure = Figure(figsize=(wide, high))
        axes = figure.add_axes((0.02, 0.75 / high, 0.96, 1 - 0.85 / high))
        _draw(axes, order, columns, size)
    return figure


def _columns(order: Any) -> dict[int, list[str]]:
    """Order the entries of each width by sweeps of barycentres; entries without edges come last."""
    columns: dict[int, list[str]] = {}
    for name, content in sorted(order.nodes(data=True), key=lambda item: (item[1]["value"], item[0])):
        columns.setdefault(content["width"], []).append(name)
    for column in columns.values():
        column.sort(key=lambda name: order.degree(name) == 0)
    widths = sorted(columns)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        rank = _ranks(columns)
        for width in widths if forward else reversed(widths):
            neighbours = order.predecessors if forward else order.successors
            columns[width].sort(key=lambda name: _barycentre(name, list(neighbours(name)), rank, order))
            rank |= _ranks({width: columns[width]})
    return {width: columns[width] for width in widths}


def _ranks(columns: Mapping[int, Sequence[str]]) -> dict[str, float]:
    return {
        name: (position + 0.5) / len(column)
        for column in columns.values()
        for position, name in enumerate(column)
    }


def _barycentre(
    name: str, neighbours: Sequence[str], rank: Mapping[str, float], order: Any
) -> tuple[bool, float]:
    middle = sum(rank[other] for other in neighbours) / len(neighbours) if neighbours else rank[name]
    return order.degree(name) == 0, middle


def _draw(ax: Axes, order: Any, columns: Mapping[int, Sequence[str]], size: float) -> None:
    longest = max(len(column) for column in columns.values())
    at = {
        name: (float(x), longest - 1 - position - (longest - len(column)) / 2)
        for x, column in enumerate(columns.values())
        for position, name in enumerate(column)
    }
    ax.set_xlim(-0.08, len(columns) - 0.2)
    ax.set_ylim(-1, longest)
    used: set[str] = set()
    ends: dict[str, float] = {}
    length: dict[str, float] = {}
    for name, (x, y) in at.items():
        kind = _kind(order.nodes[name])
        used.add(kind)
        marker, points, colour = KINDS[kind]
        ax.plot(
            x,
            y,
            marker,
            ms=points * size / LARGE,
            mfc=colour,
            mec="white",
            mew=0.4,
            zorder=3,
            gid=f"node:{name}",
        )
        text = ax.annotate(_label(name, order.nodes[name]), (x, y), (0.75 * size, 0), textcoords="offset points",
                           va="center", ha="left", fontsize=size, zorder=4)  # fmt: skip
        # Digits are of one width: labels that differ in digits only are measured once.
        shape = re.sub(r"\d", "0", text.get_text())
        across = float(ax.transData.transform((x, y))[0])
        if shape not in length:
            length[shape] = text.get_window_extent().x1 - across
        ends[name] = float(ax.transData.inverted().transform((across + length[shape], 0))[0]) + 0.01
    for source, target, kinds in order.edges(data="kinds"):
        for kind in kinds:
            (_, y0), (x1, y1) = at[source], at[target]
            ax.plot([ends[source], x1 - 0.02], [y0, y1], color=GREY, lw=0.7, ls=EMBEDDINGS[kind], zorder=1,
                    gid=f"edge:{kind}:{source}:{target}")  # fmt: skip
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.yaxis.set_major_locator(NullLocator())
    ax.xaxis.set_major_locator(FixedLocator(range(len(columns))))
    ax.xaxis.set_major_formatter(FixedFormatter([f"$m = {width}$" for width in columns]))
    ax.tick_params(axis="x", length=0)
    _legend(ax, order, used)


def _kind(content: Mapping[str, Any]) -> str:
    return content["kind"] if any(content["inertia"].values()) else "constant network"


def _label(name: str, content: Mapping[str, Any]) -> str:
    signs = content["inertia"]
    if not any(signs.values()):
        return name
    return f"{name}  ({signs['negative']}, {signs['zero']}, {signs['positive']})"


def _legend(ax: Axes, order: Any, used: set[str]) -> None:
    """Explain markers and lines below the columns."""
    handles: list[Any] = [
        Line2D(
            [],
            [],
            ls="",
            marker=KINDS[kind][0],
            ms=KINDS[kind][1],
            mfc=KINDS[kind][2],
            mec="white",
            label=kind,
        )
        for kind in KINDS
        if kind in used
    ]
    drawn = {kind for _, _, kinds in order.edges(data="kinds") for kind in kinds}
    handles += [
        Line2D([], [], color=GREY, lw=0.9, ls=EMBEDDINGS[kind], label=kind)
        for kind in EMBEDDINGS
        if kind in drawn
    ]
    inch = ax.get_window_extent().height / ax.figure.get_dpi()
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.28 / inch), ncols=len(handles) or 1,
              frameon=False, fontsize=7.5, handletextpad=0.4, columnspacing=1.2)  # fmt: skip
