"""A training run: the risk with the levels of narrower networks, and how near the outputs come to each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, WIDTH, YELLOW, style

if TYPE_CHECKING:
    from workbench.training import TrainingRun

__all__ = ["draw_training"]

COLOURS = (RED, GREEN, PURPLE, YELLOW, "#66CCEE", "#332288", "#882255")
HIGH = 5.2
APART = 1.5  # factor between levels whose names would not meet
MOST = 5  # critical points that are drawn: those that the run comes nearest to


def draw_training(run: TrainingRun, ax: Axes | None = None) -> Figure | Axes:
    """Draw the risk along a run, double logarithmic, with a dotted line at the risk of each critical point that it comes near.

    Below, in a figure of its own: the gradient norm, whose dips are the stalls, and the distances of the outputs from those of the critical
    points.  A stall is a filled circle in the colour of the critical point that explains it, hollow where none does.

    Raises
    ------
    ValueError
        If the run has no times.
    """
    if not run.t:
        raise ValueError("a training run needs at least one time, found none")
    colour = _colours(run)
    if ax is not None:
        _risk(ax, run, colour)
        return ax
    with style():
        figure = Figure(figsize=(WIDTH, HIGH))
        top = figure.add_axes((0.12, 0.45, 0.86, 0.5))
        low = figure.add_axes((0.12, 0.085, 0.86, 0.33), sharex=top)
        _risk(top, run, colour)
        top.set_xlabel("")
        top.tick_params(axis="x", labelbottom=False)
        _distances(low, run, colour)
    return figure


def _colours(run: TrainingRun) -> dict[str, str]:
    """Give a colour to each critical point that explains a stall, then to those that come nearest."""
    first = list(dict.fromkeys(stall.point for stall in run.stalls if stall.point))
    rest = sorted((name for name in run.distances if name not in first), key=lambda n: min(run.distances[n]))
    return dict(zip((first + rest)[:MOST], COLOURS, strict=False))


def _risk(ax: Axes, run: TrainingRun, colour: dict[str, str]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.plot(run.t, run.value, color=BLUE, lw=1.4, zorder=3, gid="risk")
    low, high = min(run.value), max(run.value)
    named: list[float] = []
    for name, shade in colour.items():
        level = run.levels[name]
        if low / 3 <= level <= 3 * high:
            ax.axhline(level, color=shade, lw=0.8, ls=":", zorder=1, gid=f"level:{name}")
            if all(max(level, other) > APART * min(level, other) for other in named):
                named.append(level)
                ax.annotate(name, (1, level), (-3, 1.5), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                            textcoords="offset points", fontsize=7, color=shade)  # fmt: skip
    for stall in run.stalls:
        shade = colour.get(stall.point or "", GREY)
        ax.plot(stall.time, stall.value, "o", ms=6, mfc=shade if stall.point else "white", mec=shade, zorder=4,
                gid=f"stall:{stall.point or '?'}")  # fmt: skip
    ax.set_ylim(low / 2, 2 * high)
    ax.set_xlabel("time")
    ax.set_ylabel("loss")
    ax.set_title(f"width {run.width}, weights at the start of size {run.scale:g}", fontsize=8.5)


def _distances(ax: Axes, run: TrainingRun, colour: dict[str, str]) -> None:
    from workbench.training import NEAR

    ax.set_yscale("log")
    ax.plot(run.t, run.gradient_norm, color="black", lw=1.0, label=r"$|\nabla R|$", zorder=3)
    for name, shade in colour.items():
        ax.plot(run.t, run.distances[name], color=shade, lw=1.0, label=f"to {name}")
    ax.axhline(NEAR, color=GREY, lw=0.6, ls="--", zorder=0)
    for stall in run.stalls:
        ax.axvline(stall.time, color=colour.get(stall.point or "", GREY), lw=0.6, ls=":", zorder=0)
    ax.set_xlabel("time")
    ax.set_ylabel("gradient; distance of outputs")
    options: dict[str, Any] = {"frameon": False, "fontsize": 7, "handlelength": 1.4, "columnspacing": 1.0}
    ax.legend(loc="lower left", ncols=2, **options)
