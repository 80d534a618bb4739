r"""Trajectories drawn: loss, norms of the blocks, directions of the neurons, a phase portrait.

Everything is made from the JSON of a flow.  A coordinate is named by its block and its place, counted from 1: ``a1``, ``w2`` or
``w[2,3]``, ``c``.

>>> run = {"t": [0.0, 1.0, 2.0], "theta": [{"a": [1.0], "w": [[u]]} for u in (1.0, 2.0, 3.0)], "value": [3.0, 2.0, 1.0],
...        "status": "finished"}
>>> coordinate(run, "w1"), coordinate(run, "a[1]")
([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
>>> draw_trajectories([run], "norms").axes[0].get_ylabel()
'norm of the block'
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, WIDTH, YELLOW, canvas, style
from workbench.plots.curves import draw_flow

__all__ = ["coordinate", "draw_trajectories"]

Run = Mapping[str, Any]
PLOTS = ("loss", "norms", "directions", "phase")
COLOURS = (BLUE, RED, GREEN, PURPLE, YELLOW, GREY)
STYLES = ("-", "--", ":", "-.")
MOST_NEURONS = 6  # more share one colour
BAD = ("diverged", "at_infinity", "stalled", "step_limit")


def coordinate(run: Run, name: str) -> list[float]:
    """Return one coordinate along a trajectory.

    Raises
    ------
    ValueError
        If there is no block of that name, or no such place in it.
    """
    found = re.fullmatch(r"(.+?)(?:\[(\d+(?:,\d+)*)\]|(\d+))?", name)
    blocks = run["theta"][0]
    if name in blocks:
        block, places = name, []
    elif found and found[1] in blocks:
        block = found[1]
        places = [int(u) for u in (found[2] or found[3] or "").split(",") if u]
    else:
        raise ValueError(
            f"found the coordinate {name!r}; accepted: a block of the model ({', '.join(blocks)}) with places from 1"
        )
    shape = np.shape(blocks[block])
    if len(places) == len(shape) - 1 and shape[-1] == 1:
        places.append(1)
    if len(places) != len(shape) or any(not 1 <= u <= size for u, size in zip(places, shape, strict=True)):
        example = f"{block}[{','.join('1' for _ in shape)}]" if shape else block
        raise ValueError(
            f"found the coordinate {name!r}; accepted: {example} with places in a block of shape {shape}"
        )
    values = []
    for theta in run["theta"]:
        value = theta[block]
        for place in places:
            value = value[place - 1]
        values.append(float(value))
    return values


def draw_trajectories(
    runs: Sequence[Run], what: str = "loss", phase: tuple[str, str] | None = None, ax: Axes | None = None
) -> Figure | Axes:
    """Draw trajectories of a flow or descent.

    Parameters
    ----------
    runs : sequence
        As in the JSON of ``flow``.
    what : {"loss", "norms", "directions", "phase"}
        The loss; the Euclidean norm of each block; for each hidden neuron the angle of its input weights (with its bias, if
        there is one) where these are two numbers, else the cosine to the leading direction of all neurons at the end;
        the way in two coordinates.
    phase : pair of str, optional
        The two coordinates; required for ``phase``.
    ax : Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    Figure or Axes

    Raises
    ------
    ValueError
        If there is nothing to draw, the kind is unknown, a coordinate is not there, or the model has no hidden neurons.
    """
    if not runs:
        raise ValueError("draw_trajectories needs at least one trajectory, found none")
    if what == "loss":
        drawn = draw_flow([run["t"] for run in runs], [run["value"] for run in runs], ax=ax)
        target = drawn.axes[0] if isinstance(drawn, Figure) else drawn
        _mark_events(target, runs)
        return drawn
    draw = {"norms": _norms, "directions": _directions, "phase": _phase}.get(what)
    if draw is None:
        raise ValueError(f"found the plot {what!r}; accepted: {', '.join(PLOTS)}")
    if what == "phase" and phase is None:
        raise ValueError("a phase portrait needs two coordinates such as a1,w1, found none")
    if ax is not None:
        draw(ax, runs, phase)
        return ax
    with style():
        if what == "phase":
            figure, axes = canvas(WIDTH * 0.62, left=0.8)
            box = axes.get_position()
            axes.set_position(
                (box.x0, box.y0, box.height * figure.get_figheight() / WIDTH * 1.15, box.height)
            )
        else:
            figure, axes = canvas(3.3, top=0.36)
        draw(axes, runs, phase)
    return figure


def _mark_events(ax: Axes, runs: Sequence[Run]) -> None:
    """Put an open circle on the loss where an event happened."""
    for run in runs:
        t, value = np.asarray(run["t"]), np.asarray(run["value"])
        at = [event["t"] for event in run.get("events", ()) if event["t"] > 0]
        if at and len(t) > 1:
            ax.plot(at, np.interp(at, t, value), "o", ms=3.5, mfc="white", mec="black", mew=0.7, zorder=4)


def _time(ax: Axes, runs: Sequence[Run]) -> None:
    """Put time on a logarithmic axis, without the start."""
    ax.set_xscale("log")
    ax.set_xlabel("time $t$")
    first = min((t for run in runs for t in run["t"] if t > 0), default=1.0)
    last = max(t for run in runs for t in run["t"])
    if first < last:
        ax.set_xlim(first, last)


def _legend_above(ax: Axes, runs: Sequence[Run]) -> None:
    """Name the colours, and the line styles where they tell trajectories apart, above the axes."""
    handles, labels = ax.get_legend_handles_labels()
    if 1 < len(runs) <= len(STYLES):
        handles += [Line2D([], [], color="black", lw=1, ls=STYLES[i]) for i in range(len(runs))]
        labels += [f"start {i}" for i in range(len(runs))]
    if handles:
        ax.legend(handles, labels, frameon=False, ncols=len(handles), loc="lower left", bbox_to_anchor=(0, 1.0),
                  borderaxespad=0.1, columnspacing=1.2, handlelength=1.6)  # fmt: skip


def _norms(ax: Axes, runs: Sequence[Run], _: object) -> None:
    """One colour a block, one line a trajectory."""
    names = list(runs[0]["theta"][0])
    for colour, name in zip(COLOURS, names[: len(COLOURS)], strict=False):
        for number, run in enumerate(runs):
            norms = [float(np.linalg.norm(np.ravel(theta[name]))) for theta in run["theta"]]
            ax.plot(
                run["t"],
                norms,
                color=colour,
                lw=1.2 if len(runs) <= 4 else 0.6,
                ls=STYLES[number] if len(runs) <= len(STYLES) else "-",
                alpha=1.0 if len(runs) <= 4 else max(0.2, 4 / len(runs)),
                label=_block(name) if number == 0 else None,
            )
    _time(ax, runs)
    values = [v for line in ax.get_lines() for v in np.atleast_1d(line.get_ydata()) if math.isfinite(v)]
    ax.set_yscale("log" if min(values) > 0 else "linear")
    ax.set_ylabel("norm of the block")
    _legend_above(ax, runs)


def _block(name: str) -> str:
    """Write a block as mathematics: ``W1`` as W with a superscript."""
    found = re.fullmatch(r"([A-Za-z])(\d+)", name)
    return rf"$\|{found[1]}^{{({found[2]})}}\|$" if found else rf"$\|{name}\|$"


def _weights(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Input weights with bias (T, m, D) of the first layer, and output weights' norms (T, m) or ones."""
    blocks = run["theta"][0]
    weight = "w" if "w" in blocks else "W1"
    if weight not in blocks or np.ndim(blocks[weight]) != 2:
        raise ValueError("directions need a model with hidden neurons, that is with a block w or W1")
    bias = "b" if weight == "w" else "b1"
    weights = np.asarray([theta[weight] for theta in run["theta"]])
    if bias in blocks:
        biases = np.asarray([theta[bias] for theta in run["theta"]])
        weights = np.concatenate([weights, biases[:, :, None]], axis=2)
    if "a" not in blocks:
        return weights, np.ones(weights.shape[:2])
    outer = np.asarray([theta["a"] for theta in run["theta"]])
    return weights, np.abs(outer) if outer.ndim == 2 else np.linalg.norm(outer, axis=2)


def _directions(ax: Axes, runs: Sequence[Run], _: object) -> None:
    """Angles in the plane, else cosines to the leading direction at the end."""
    planar = False
    for number, run in enumerate(runs):
        weights, outer = _weights(run)
        planar = weights.shape[2] == 2
        if planar:
            values = np.unwrap(np.arctan2(weights[:, :, 1], weights[:, :, 0]), axis=0) / np.pi
        else:
            last = weights[-1] * outer[-1][:, None]
            leading = np.linalg.svd(last)[2][0]
            size = np.linalg.norm(weights, axis=2)
            values = np.where(size > 0, weights @ leading / np.where(size > 0, size, 1), np.nan)
            if np.nanmean(values[-1]) < 0:
                values = -values
        count = values.shape[1]
        share = outer[-1] * np.linalg.norm(weights[-1], axis=1)
        share = share / max(share.max(), 1e-300)
        for k in range(count):
            ax.plot(
                run["t"],
                values[:, k],
                color=COLOURS[k % len(COLOURS)] if count <= MOST_NEURONS else BLUE,
                lw=0.5 + 1.1 * share[k],
                alpha=(1.0 if count <= MOST_NEURONS else 0.6) if len(runs) <= 4 else max(0.15, 3 / len(runs)),
                ls=STYLES[number] if len(runs) <= len(STYLES) else "-",
                label=f"neuron {k + 1}" if number == 0 and count <= MOST_NEURONS else None,
            )
    _time(ax, runs)
    pair = "(w_k, b_k)" if "b" in runs[0]["theta"][0] else "w_k"
    ax.set_ylabel(rf"angle of ${pair}$ in units of $\pi$" if planar else "cosine to the leading direction")
    if not planar:
        ax.set_ylim(-1.05, 1.05)
    _legend_above(ax, runs)


def _phase(ax: Axes, runs: Sequence[Run], phase: tuple[str, str] | None) -> None:
    """Each trajectory from an open to a full circle, with an arrow half-way along its length."""
    assert phase is not None
    many = len(runs) > MOST_NEURONS
    for number, run in enumerate(runs):
        x, y = (np.asarray(coordinate(run, name)) for name in phase)
        colour = BLUE if many else COLOURS[number]
        ax.plot(x, y, color=colour, lw=0.7 if many else 1.2, alpha=0.6 if many else 1.0, zorder=2)
        ax.plot(x[0], y[0], "o", ms=3.2, mfc="white", mec=colour, mew=0.9, zorder=3)
        bad = run["status"] in BAD
        ax.plot(
            x[-1], y[-1], "x" if bad else "o", ms=4 if bad else 3.6, color=RED if bad else "black", zorder=4
        )
        _arrow(ax, x, y, colour)
    for axis, name in zip(("x", "y"), phase, strict=True):
        getattr(ax, f"set_{axis}label")(_symbol(name))
    ax.margins(0.08)
    handles = [
        Line2D([], [], ls="", marker="o", ms=3.2, mfc="white", mec="black", label="start"),
        Line2D([], [], ls="", marker="o", ms=3.6, color="black", label="end"),
    ]
    if any(run["status"] in BAD for run in runs):
        handles.append(Line2D([], [], ls="", marker="x", ms=4, color=RED, label="did not finish"))
    ax.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _arrow(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """Draw an arrow head half-way along a curve that has a length."""
    extent = max(np.ptp(x), np.ptp(y))
    steps = np.hypot(np.diff(x), np.diff(y))
    if not np.isfinite(extent) or extent <= 0 or len(steps) < 2:
        return
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    x0, y0, x1, y1 = (
        np.interp(share * travelled[-1], travelled, u) for share in (0.5, 0.515) for u in (x, y)
    )
    ax.annotate(
        "",
        (x1, y1),
        (x0, y0),
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 0.8, "mutation_scale": 8},
    )


def _symbol(name: str) -> str:
    """Write a coordinate as mathematics."""
    found = re.fullmatch(r"([A-Za-z]+?)(\d*)(?:\[([\d,]+)\])?", name)
    if not found:
        return name
    block, number, places = found.groups()
    if places:
        upper = f"^{{({number})}}" if number else ""
        return rf"${block}{upper}_{{{places}}}$"
    return rf"${block}_{{{number}}}$" if number else rf"${block}$"
