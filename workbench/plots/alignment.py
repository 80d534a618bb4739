"""Figures of early alignment: a flow from small weights in three panels, and misalignment against the scale.

>>> figure = draw_alignment([([1e-2, 1e-4], [1e-3, 1e-5])])
>>> figure.axes[0].get_xscale(), figure.axes[0].get_yscale()
('log', 'log')
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, WIDTH, YELLOW, canvas, style

__all__ = ["draw_alignment", "draw_small_start"]

COLOURS = (BLUE, RED, GREEN, YELLOW, PURPLE)

Curve = tuple[float, Sequence[float], Sequence[float], Sequence[float], Sequence[float]]


def draw_small_start(curves: Sequence[Curve], beta: float) -> Figure:
    r"""Draw loss, norm and the correlation of the direction against time.

    Parameters
    ----------
    curves : sequence
        Scale, times, losses, norms and values of the correlation, one for each scale.
    beta : float
        Largest value of the correlation on the sphere, a dotted line.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 2.1))
        panels = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.09, right=0.985, bottom=0.23, top=0.86, wspace=0.42)
        for number, (scale, times, losses, norms, values) in enumerate(curves):
            colour = COLOURS[number % len(COLOURS)]
            name = rf"$\delta = {scale:g}$"
            panels[0].plot(times, losses, color=colour, linewidth=1.0, label=name)
            panels[1].semilogy(times, norms, color=colour, linewidth=1.0)
            panels[2].plot(times, values, color=colour, linewidth=1.0)
        panels[2].axhline(beta, color=GREY, linestyle=":", linewidth=0.8)
        for panel, label in zip(panels, ("loss", "$|w|$", r"$\mathcal{N}(w/|w|)$"), strict=True):
            panel.set_xlabel("$t$")
            panel.set_ylabel(label, labelpad=2)
        figure.legend(loc="upper center", ncols=max(1, len(curves)), frameon=False, borderaxespad=0.1)
    return figure


def draw_alignment(curves: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draw 1 - cos against the scale, a curve for each neuron, with a line of slope 1.

    Raises
    ------
    ValueError
        If there is no curve.
    """
    if not curves:
        raise ValueError("found no curves; at least one is needed")
    with style():
        figure, axes = canvas(2.6)
        for number, (scales, gaps) in enumerate(curves):
            axes.loglog(
                scales,
                [max(u, 1e-17) for u in gaps],
                "o-",
                color=COLOURS[number % len(COLOURS)],
                linewidth=0.9,
                markersize=3,
            )
        scales = sorted(curves[0][0])
        axes.loglog(scales, [0.5 * u for u in scales], "--", color=GREY, linewidth=0.8)
        axes.set_xlabel(r"$\delta$")
        axes.set_ylabel("$1 - \\cos$ at $T$")
    return figure
