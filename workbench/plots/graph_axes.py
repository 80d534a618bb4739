"""The axes of the graph: a table of loss levels where they fit, otherwise the loss on a linear or logarithmic axis.

Both set limits and ticks, name the layers, and return the place of every marker in units of the axes.

>>> from workbench.graph_sheet import arrange
>>> from workbench.plots.canvas import canvas
>>> items = [Item("m1.1", 1, 0.5), Item("m2.1", 2, 0.5), Item("m2.2", 2, 1e-14)]
>>> sheet = arrange(items, [], {1: 40.0, 2: 40.0}, {1: 0.0, 2: 0.0}, 300.0)
>>> {name: up for name, (_, up) in stand_in_rows(canvas(3.0)[1], sheet, 0.5).items()}
{'m1.1': 1.5, 'm2.1': 1.5, 'm2.2': 0.5}
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from workbench.graph_layout import ValueScale, columns, value_scale
from workbench.graph_sheet import Item, Sheet
from workbench.plots.canvas import GREY
from workbench.plots.labels import pixels

__all__ = ["set_loss_axis", "stand_in_rows", "stand_on_an_axis"]

Pair = tuple[float, float]


def stand_in_rows(ax: Axes, sheet: Sheet, centre: float) -> dict[str, Pair]:
    """Set up the axes as a table of rows of height 1; markers stand at ``centre`` within them."""
    ax.set_yscale("linear")
    ax.set_ylim(-0.15, sheet.rows + 0.15)
    ax.yaxis.set_major_locator(FixedLocator([(low + high) / 2 + centre for low, high, _ in sheet.ticks]))
    ax.yaxis.set_major_formatter(FixedFormatter([name for *_, name in sheet.ticks]))
    ax.tick_params(axis="y", labelsize=7, length=2)
    ax.set_ylabel("loss (levels in order, not to scale)")
    for low, high, _ in sheet.ticks:
        if high > low:  # one level on several rows
            ax.axhspan(low + 0.04, high + 0.96, color="#F3F3F3", lw=0, zorder=-1)
    for row in range(sheet.rows):
        ax.axhline(row + centre, color="#E2E2E2", lw=0.5, zorder=0)
    ax.set_xlim(0, sheet.width)
    _name_layers(ax, [(width, left, right, (left + right) / 2) for width, left, right in sheet.blocks])
    return {name: (sheet.across[name], sheet.row[name] + centre) for name in sheet.row}


def set_loss_axis(ax: Axes, values: Sequence[float]) -> ValueScale:
    """Set up a linear or logarithmic axis for some losses; a dotted rule parts those that count as zero."""
    scale = value_scale(values)
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
    ax.set_ylabel("loss")
    return scale


def stand_on_an_axis(ax: Axes, items: Sequence[Item]) -> dict[str, Pair]:
    """Set up an axis of the loss, and give each item the nearest free column of its layer."""
    scale = set_loss_axis(ax, [item.value for item in items])
    inch = 1 / ax.figure.get_dpi()
    column: dict[str, float] = {}
    blocks = []
    left = 0.0
    for width in sorted({item.layer for item in items}):
        inside = [item for item in items if item.layer == width]
        chosen = columns([pixels(ax, (0, scale.height(item.value)))[1] * inch for item in inside], 0.2)
        low, high = min(chosen), max(chosen)
        right = left + high - low + 2.0
        column |= {item.name: left + 1 - low + k for item, k in zip(inside, chosen, strict=True)}
        blocks.append((width, left, right, left + 1 - low))
        left = right
    ax.set_xlim(0, left)
    _name_layers(ax, blocks)
    return {item.name: (column[item.name], scale.height(item.value)) for item in items}


def _name_layers(ax: Axes, blocks: Sequence[tuple[int, float, float, float]]) -> None:
    """Part the layers (width, left, right, place of the tick) by thin lines and name them below the axes."""
    for _, left, _, _ in blocks[1:]:
        ax.axvline(left, color="#C4C4C4", lw=0.6, zorder=0)
    ax.xaxis.set_major_locator(FixedLocator([tick for *_, tick in blocks]))
    ax.xaxis.set_major_formatter(FixedFormatter([str(width) for width, *_ in blocks]))
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("width $m$")
