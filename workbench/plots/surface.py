r"""The risk on a plane of parameters, level lines in geometric progression above its minimum there, and the critical points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workbench.plots.canvas import WIDTH, style

if TYPE_CHECKING:
    from workbench.slices import Surface

__all__ = ["draw_surface"]

#: Marker, face and name of each kind of point.
MARKS = {
    "minimum": ("o", "white", "minimum"),
    "maximum": ("^", "white", "maximum"),
    "saddle": ("X", "#EE6677", "saddle"),
    "degenerate": ("D", "#CCBB44", "degenerate"),
}
#: Level lines; they span so many decades above the minimum, and the highest fiftieth of the plane lies above them.
LEVELS, DECADES, TOP = 18, 3.5, 0.98


def draw_surface(surface: Surface, ax: Axes | None = None) -> Figure | Axes:
    """Draw the surface.

    Parameters
    ----------
    surface : Surface
        As from ``workbench.slices``.
    ax : Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    Figure or Axes
    """
    if ax is not None:
        _draw(ax, surface)
        return ax
    with style():
        height = 4.1
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.12, 0.13, 0.66, 0.8))
        bar = figure.add_axes((0.81, 0.13, 0.03, 0.8))
        _draw(axes, surface, bar)
    return figure


def _draw(ax: Axes, surface: Surface, bar: Axes | None = None) -> None:
    u, v, risk = np.asarray(surface.u), np.asarray(surface.v), np.asarray(surface.risk)
    risk = np.where(np.isfinite(risk), risk, np.nanmax(risk[np.isfinite(risk)], initial=0.0))
    lowest, high = float(risk.min()), float(np.quantile(risk, TOP))
    span = max(high - lowest, 1e-12 * (1 + abs(lowest)))
    levels = lowest + span * np.concatenate([[0.0], np.geomspace(10**-DECADES, 1.0, LEVELS)])
    filled = ax.contourf(
        u, v, risk, levels=levels, cmap="Blues_r", norm=BoundaryNorm(levels, 256, extend="max"), extend="max"
    )
    ax.contour(u, v, risk, levels=levels, colors="#445566", linewidths=0.35)
    if bar is not None:
        ticks = levels[::3]
        drawn = ax.figure.colorbar(filled, cax=bar, ticks=ticks, spacing="uniform")
        drawn.ax.set_yticklabels([f"{level:.4g}" for level in ticks], fontsize=7)
        drawn.ax.minorticks_off()
        drawn.set_label("risk $R$")
    for name, kind, x, y in surface.points:
        marker, face, _ = MARKS[kind]
        ax.plot(x, y, marker, ms=6, mfc=face, mec="black", mew=0.9, zorder=5, ls="")
        ax.annotate(
            name, (x, y), (5, 4), textcoords="offset points", fontsize=7.5, zorder=6,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
        )  # fmt: skip
    kinds = dict.fromkeys(kind for _, kind, _, _ in surface.points)
    handles = [
        Line2D(
            [], [], marker=MARKS[kind][0], ls="", ms=6, mfc=MARKS[kind][1], mec="black", label=MARKS[kind][2]
        )
        for kind in kinds
    ]
    if handles:
        ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    ax.set_xlim(u[0], u[-1])
    ax.set_ylim(v[0], v[-1])
    ax.set_xlabel(surface.names[0])
    ax.set_ylabel(surface.names[1])
