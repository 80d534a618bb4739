r"""Margins along a gradient flow, the residuals of its direction, and the neurons in the plane of two inputs.

>>> figure = draw_margins([([1.0, 2.0, 3.0], [0.1, 0.2, 0.25], [0.0, 0.15, 0.24])], level=0.3)
>>> len(figure.axes[0].lines)
3
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, YELLOW, canvas, style

__all__ = ["draw_margins", "draw_neurons", "draw_residuals"]

#: Slackness below this is rounding of the integrator.
SHOWN = 1e-9
COLOURS = (BLUE, RED, GREEN, PURPLE, YELLOW)
Numbers = Sequence[float]


def draw_margins(runs: Sequence[tuple[Numbers, Numbers, Numbers]], level: float | None = None) -> Figure:
    """Draw the normalised (solid) and the smoothed margin (dashed) against log(1/E).

    Parameters
    ----------
    runs : sequence
        (log(1/E), normalised, smoothed) for each run, of equal length.
    level : float, optional
        The best margin, a dotted line.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    _check(runs)
    with style():
        figure, axes = canvas(2.9)
        for number, (x, normalised, smoothed) in enumerate(runs):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(x, normalised, color=colour, lw=1.2, label=r"$\bar\gamma$" if number == 0 else None)
            axes.plot(
                x, smoothed, color=colour, lw=1.0, ls="--", label=r"$\tilde\gamma$" if number == 0 else None
            )
        if level is not None:
            axes.axhline(level, color=GREY, lw=0.8, ls=":", label="best margin", zorder=0)
        axes.set_xscale("log")
        axes.set_xlabel(r"$\log(1/E)$, asymptotically $\log t$")
        axes.set_ylabel("margin")
        axes.legend(frameon=False, loc="lower right")
    return figure


def draw_residuals(runs: Sequence[tuple[Numbers, Numbers, Numbers]], degree: float) -> Figure:
    """Draw stationarity (solid) and slackness (dashed) against the smallest margin, with the slope -1/L.

    Parameters
    ----------
    runs : sequence
        (smallest margin, stationarity, slackness) for each run, positive.
    degree : float
        L.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    _check(runs)
    with style():
        figure, axes = canvas(2.9)
        for number, (x, stationary, slack) in enumerate(runs):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(x, stationary, color=colour, lw=1.2, label="stationarity" if number == 0 else None)
            shown = [(q, v) for q, v in zip(x, slack, strict=True) if v > SHOWN]
            axes.plot([q for q, _ in shown], [v for _, v in shown], color=colour, lw=1.0, ls="--",
                      label="slackness" if number == 0 else None)  # fmt: skip
        x, stationary, _ = runs[0]
        ends = (x[0], x[-1])
        axes.plot(ends, [stationary[-1] * (q / x[-1]) ** (-1 / degree) for q in ends], color=GREY, lw=0.8, ls=":",
                  label=rf"slope $-1/{degree:g}$")  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(r"smallest margin $q_{\min}$")
        axes.set_ylabel("KKT residual")
        axes.legend(frameon=False, loc="lower left")
    return figure


def draw_neurons(
    paths: Sequence[tuple[float, Sequence[tuple[float, float]]]],
    directions: Mapping[str, tuple[float, float]],
) -> Figure:
    """Draw the paths of the neurons |a_k| w_k over the run, each point scaled by the norm of all, and some directions.

    Parameters
    ----------
    paths : sequence
        For each neuron the sign of its output weight at the end, and its points.
    directions : mapping
        Name and vector of each direction, drawn as a dotted line to both sides.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    _check(paths)
    with style():
        figure, axes = canvas(3.6)
        far = max((math.hypot(*point) for _, points in paths for point in points), default=1.0) or 1.0
        for sign, points in paths:
            colour = BLUE if sign > 0 else RED
            axes.plot([p[0] for p in points], [p[1] for p in points], color=colour, lw=0.9)
            axes.plot(*points[-1], "o", color=colour, ms=3.5)
            axes.plot(*points[0], "o", color=colour, ms=2.5, mfc="white", mew=0.7)
        for number, (name, (x, y)) in enumerate(directions.items()):
            size = math.hypot(x, y) / (1.08 * far)
            ends = (-x / size, x / size), (-y / size, y / size)
            axes.plot(*ends, color=(GREEN, GREY, PURPLE)[number % 3], lw=0.8, ls=":", label=name, zorder=0)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel(r"first input, $|a_k| w_{k1} / \rho^2$")
        axes.set_ylabel(r"second input, $|a_k| w_{k2} / \rho^2$")
        axes.legend(frameon=False, loc="upper left")
    return figure


def _check(runs: Sequence[object]) -> None:
    if not runs:
        raise ValueError("found no run to draw; give one at least")
