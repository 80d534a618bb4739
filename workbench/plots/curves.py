"""The loss along gradient-flow trajectories, double logarithmic where the numbers allow it.

>>> figure = draw_flow([[0.0, 1.0, 10.0]], [[1.0, 0.5, 0.1]])
>>> figure.axes[0].get_xscale(), figure.axes[0].get_yscale()
('log', 'log')
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, YELLOW, canvas, style

__all__ = ["draw_flow"]

Curves = Sequence[Sequence[float]]
NAMED = 6  # more trajectories are drawn thin and without names


def draw_flow(
    times: Curves,
    values: Curves,
    labels: Sequence[str] = (),
    levels: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Figure | Axes:
    """Draw the loss versus time for one or many trajectories.

    Time is on a logarithmic axis, so the start at t = 0 is left out; the loss is too if it stays positive.

    Parameters
    ----------
    times, values : sequences of sequences of float
        One pair of equal length for each trajectory.
    labels : sequence of str, optional
        Names of the trajectories.
    levels : mapping of str to float, optional
        Losses of critical points by name: dotted lines, to see at which one a trajectory lingers.
    ax : Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    Figure or Axes
        The new figure, or the axes given.

    Raises
    ------
    ValueError
        If the numbers of trajectories, their lengths or the number of labels disagree, or nothing can be drawn.
    """
    if len(times) != len(values) or (labels and len(labels) != len(times)):
        raise ValueError(f"found {len(times)} lists of times, {len(values)} of values, {len(labels)} labels")
    for number, (t, v) in enumerate(zip(times, values, strict=True)):
        if len(t) != len(v):
            raise ValueError(f"trajectory {number}: {len(t)} times but {len(v)} values")
    pairs = [
        [(t, v) for t, v in zip(*curve, strict=True) if t > 0 and math.isfinite(v)]
        for curve in zip(times, values, strict=True)
    ]
    if not any(pairs):
        raise ValueError("draw_flow needs a finite value at a time above 0, found none")
    if ax is not None:
        _curves(ax, pairs, labels, levels or {})
        return ax
    with style():
        figure, axes = canvas(3.1)
        _curves(axes, pairs, labels, levels or {})
    return figure


def _curves(
    ax: Axes,
    pairs: Sequence[Sequence[tuple[float, float]]],
    labels: Sequence[str],
    levels: Mapping[str, float],
) -> None:
    positive = all(v > 0 for pair in pairs for _, v in pair)
    ax.set_xscale("log")
    ax.set_yscale("log" if positive else "linear")
    many = len(pairs) > NAMED
    colours = (BLUE, RED, GREEN, PURPLE, YELLOW, GREY)
    for number, pair in enumerate(pairs):
        ax.plot(
            [t for t, _ in pair],
            [v for _, v in pair],
            color=BLUE if many else colours[number],
            lw=0.5 if many else 1.2,
            alpha=max(0.15, 3 / len(pairs)) if many else 1.0,
            label=labels[number] if labels and not many else None,
        )
    for name, level in levels.items():
        if level > 0 or not positive:
            ax.axhline(level, color=GREY, lw=0.6, ls=":", zorder=0)
            ax.annotate(name, (1, level), (-2, 1), xycoords=("axes fraction", "data"), textcoords="offset points",
                        ha="right", va="bottom", fontsize=7, color=GREY)  # fmt: skip
    ax.set_xlabel("time $t$")
    ax.set_ylabel("loss")
    if labels and not many:
        ax.legend(frameon=False)
