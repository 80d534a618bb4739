r"""The disconnectivity graph: how the basins of one width join as the risk rises.

A leaf for each minimum, and for each way to infinity; at the risk of a saddle the lines of the basins that meet there join.  Where a
string between two minima is lower than every listed saddle they join at the largest risk on it, an open mark without a name.

>>> from workbench.graph_queries import Merge
>>> leaf = {"m1.1": (0.001, "minimum"), "m1.2": (0.2, "minimum")}
>>> figure = draw_disconnectivity({1: (leaf, [Merge(0.7, "m1.3", (("m1.1",), ("m1.2",)))])})
>>> [text.get_text() for text in figure.axes[0].texts]
['m1.1', 'm1.2', 'm1.3']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from workbench.graph_queries import STRING, Merge
from workbench.plots.canvas import BLUE, GREY, RED, WIDTH, YELLOW, style
from workbench.plots.graph_axes import set_loss_axis
from workbench.plots.labels import pixels

__all__ = ["Basins", "draw_disconnectivity"]

#: Leaves (value and kind by id) and merges of one width.
Basins = tuple[Mapping[str, tuple[float, str]], Sequence[Merge]]
LOOK = {"minimum": ("o", BLUE), "degenerate": ("s", YELLOW), "infinity": (">", "white")}
LEAF = 0.16  # inches for each leaf at least
MANY = 60  # leaves, from where on labels are small and saddles are not named


def draw_disconnectivity(widths: Mapping[int, Basins], ax: Axes | None = None) -> Figure | Axes:
    """Draw the disconnectivity graphs of some widths side by side over one axis of the risk.

    Lines that reach the upper rim, dashed, belong to basins that no descent from a listed saddle joins.  The figure grows with
    the number of leaves.

    Raises
    ------
    ValueError
        If no width has a leaf.
    """
    widths = {width: basins for width, basins in sorted(widths.items()) if basins[0]}
    if not widths:
        raise ValueError("a disconnectivity graph needs at least one minimum, found none")
    if ax is not None:
        _draw(ax, widths)
        return ax
    count = sum(len(leaf) for leaf, _ in widths.values()) + len(widths)
    with style():
        wide = max(WIDTH, 1.0 + (LEAF if count <= MANY else 0.75 * LEAF) * count)
        high = 4.4
        figure = Figure(figsize=(wide, high))
        axes = figure.add_axes((0.78 / wide, 0.75 / high, 1 - 0.88 / wide, 1 - 0.9 / high))
        _draw(axes, widths)
    return figure


def _draw(ax: Axes, widths: Mapping[int, Basins]) -> None:
    values = [
        value
        for leaf, joins in widths.values()
        for value in [v for v, _ in leaf.values()] + [j.value for j in joins]
    ]
    scale = set_loss_axis(ax, values)
    small = sum(len(leaf) for leaf, _ in widths.values()) > MANY
    left, ticks = 0.0, []
    for width, (leaf, joins) in widths.items():
        order = _order(leaf, joins)
        at = {name: left + 0.5 + position for position, name in enumerate(order)}
        _tree(ax, leaf, joins, at, scale, small)
        ticks.append((left + len(order) / 2, f"$m = {width}$"))
        left += len(order) + 1
        ax.axvline(left - 0.5, color="#C4C4C4", lw=0.6, zorder=0)
    ax.set_xlim(-0.5, left - 0.5)
    ax.xaxis.set_major_locator(FixedLocator([x for x, _ in ticks]))
    ax.xaxis.set_major_formatter(FixedFormatter([text for _, text in ticks]))
    ax.tick_params(axis="x", length=0)
    _legend(ax, widths)


def _order(leaf: Mapping[str, tuple[float, str]], joins: Sequence[Merge]) -> list[str]:
    """Order the leaves so that no lines cross: the parts of every merge stand together, the deepest first."""
    groups = {name: [name] for name in leaf}
    for merge in joins:
        parts = sorted(merge.parts, key=lambda part: min(leaf[name][0] for name in part))
        whole = [name for part in parts for name in groups[part[0]]]
        for name in whole:
            groups[name] = whole
    seen: list[str] = []
    for name in sorted(leaf, key=lambda name: (min(leaf[other][0] for other in groups[name]), name)):
        if name not in seen:
            seen += groups[name]
    return seen


def _tree(
    ax: Axes,
    leaf: Mapping[str, tuple[float, str]],
    joins: Sequence[Merge],
    at: Mapping[str, float],
    scale: Any,
    small: bool,
) -> None:
    """Draw the lines of one width, from the leaves upwards."""
    tops = {name: (at[name], scale.height(value)) for name, (value, _) in leaf.items()}
    for merge in joins:
        level = scale.height(merge.value)
        ends = [tops[part[0]] for part in merge.parts]
        for x, y in ends:
            ax.plot([x, x], [y, level], color="black", lw=0.8, zorder=2, solid_capstyle="butt")
        across = [x for x, _ in ends]
        ax.plot([min(across), max(across)], [level, level], color="black", lw=0.8, zorder=2)
        middle = (min(across) + max(across)) / 2
        inside, rim = ("white", RED) if _is_string(merge) else (RED, "white")
        ax.plot(middle, level, "D", ms=3.2, mfc=inside, mec=rim, mew=0.4, zorder=4, gid=f"node:{merge.via}")
        for name in (name for part in merge.parts for name in part):
            tops[name] = middle, level
    for x, y in set(tops.values()):
        ax.plot([x, x], [y, scale.upper], color=GREY, lw=0.8, ls=(0, (3, 2)), zorder=1)
    size, points = 5.5 if small else 7.5, ax.figure.get_dpi() / 72
    for name, (value, kind) in leaf.items():
        marker, colour = LOOK.get(kind, ("o", GREY))
        ax.plot(at[name], scale.height(value), marker, ms=5, mfc=colour, mec=GREY if colour == "white" else "white",
                mew=0.7, zorder=5, gid=f"node:{name}")  # fmt: skip
        text = "∞" if kind == "infinity" else name
        ax.annotate(text, (at[name], scale.height(value)), (0, -5), textcoords="offset points", fontsize=size,
                    ha="center", va="top", rotation=90 if len(text) > 1 else 0, zorder=6)  # fmt: skip
    named: list[tuple[float, float]] = []
    for merge in joins:
        spot = pixels(ax, (_middle(merge, joins, at), scale.height(merge.value)))
        close = (abs(spot[0] - x) < 26 * points and abs(spot[1] - y) < 8 * points for x, y in named)
        if small or _is_string(merge) or any(close):
            continue
        named.append(spot)
        ax.annotate(merge.via, (_middle(merge, joins, at), scale.height(merge.value)), (3, 3), zorder=6,
                    textcoords="offset points", fontsize=6.5, color=RED)  # fmt: skip


def _is_string(merge: Merge) -> bool:
    return merge.via.startswith(STRING)


def _middle(merge: Merge, joins: Sequence[Merge], at: Mapping[str, float]) -> float:
    """Return where the marker of a merge stands: half-way between the lines that it joins."""
    tops = dict(at)
    for one in joins:
        across = [tops[part[0]] for part in one.parts]
        middle = (min(across) + max(across)) / 2
        if one is merge:
            return middle
        for name in (name for part in one.parts for name in part):
            tops[name] = middle
    raise ValueError(f"{merge.via} is not among the merges")


def _legend(ax: Axes, widths: Mapping[int, Basins]) -> None:
    kinds = {kind for leaf, _ in widths.values() for _, kind in leaf.values()}
    handles: list[Any] = [
        Line2D([], [], ls="", marker=LOOK[kind][0], ms=5, mfc=LOOK[kind][1], mew=0.7,
               mec=GREY if LOOK[kind][1] == "white" else "white",
               label="to infinity" if kind == "infinity" else kind)
        for kind in LOOK
        if kind in kinds
    ]  # fmt: skip
    strings = {_is_string(merge) for _, joins in widths.values() for merge in joins}
    if False in strings:
        handles.append(Line2D([], [], ls="", marker="D", ms=4, mfc=RED, mec="white", label="basins meet"))
    if True in strings:
        handles.append(Line2D([], [], ls="", marker="D", ms=4, mfc="white", mec=RED, label="along a string"))
    handles.append(Line2D([], [], color=GREY, lw=0.9, ls=(0, (3, 2)), label="joined by no listed saddle"))
    inch = ax.get_window_extent().height / ax.figure.get_dpi()
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.28 / inch), ncols=len(handles),
              frameon=False, fontsize=7.5, handletextpad=0.4, columnspacing=1.2)  # fmt: skip
