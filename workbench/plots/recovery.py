r"""Figures of local recovery: the plane of two copies of a neuron with its flow, the decay of the risk, and the table of recovered starts.

>>> figure = draw_recovery_table(["r=1", "r=2"], [3, 4], {("r=1", 3): (0.0, "no point"), ("r=2", 4): (1.0, "almost every point")})
>>> [text.get_text() for text in figure.axes[0].texts]
['0.00', '1.00']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, canvas, style

__all__ = ["draw_decays", "draw_exponents", "draw_recovery_table", "draw_two_copies"]

COLOURS = {"no point": RED, "almost every point": BLUE, "every point": GREEN, "open": GREY}
Grid = Sequence[Sequence[float]]


def draw_two_copies(
    shares: Sequence[float], offsets: Sequence[float], across: tuple[Grid, Grid], risks: Grid
) -> Figure:
    r"""Draw the flow in the plane of two copies: the fraction of the first in the output weight, the difference of the weights.

    Parameters
    ----------
    shares, offsets : sequences of float
        Coordinates of the grid, increasing and equidistant.
    across : two grids
        Velocities, (offsets, shares) each.
    risks : grid
        log10 of the risk.
    """
    with style():
        figure, axes = canvas(3.3)
        image = axes.contourf(shares, offsets, risks, 12, cmap="Greys", alpha=0.55)
        u, v = (numpy.asarray(grid) for grid in across)
        axes.streamplot(
            numpy.asarray(shares),
            numpy.asarray(offsets),
            u,
            v,
            color=BLUE,
            linewidth=0.7,
            density=1.3,
            arrowsize=0.7,
        )
        axes.axhline(0, color=RED, lw=1.6)
        axes.axvline(1, color=GREEN, lw=1.6)
        axes.axvline(0, color=PURPLE, lw=1.6)
        for x, y, name, colour in (
            (shares[len(shares) // 2], 0.0, "$Q_1$", RED),
            (1.0, 0.75 * offsets[-1], "$Q_2$", GREEN),
            (0.0, 0.75 * offsets[-1], "$Q_3$", PURPLE),
        ):
            axes.annotate(
                name,
                (x, y),
                (4, 4),
                textcoords="offset points",
                color=colour,
                bbox={"fc": "white", "ec": "none", "pad": 0.8},
            )
        axes.set_xlabel(r"$\gamma_1 = a_1/\bar a$")
        axes.set_ylabel("$s = w_1 - w_2$")
        axes.set_xlim(shares[0], shares[-1])
        axes.set_ylim(offsets[0], offsets[-1])
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, box.width - 0.12, box.height))
        beside = figure.add_axes((box.x1 - 0.1, box.y0, 0.02, box.height))
        figure.colorbar(image, cax=beside, label=r"$\log_{10} R$")
    return figure


def draw_decays(
    runs: Sequence[tuple[str, Sequence[float], Sequence[float]]], constant: float | None = None
) -> Figure:
    """Draw the risk along flows over time, double logarithmic.

    Parameters
    ----------
    runs : sequence
        (name, times, risks).
    constant : float, optional
        C of the dotted line C/t^2.
    """
    with style():
        figure, axes = canvas(2.9)
        for (name, times, risks), colour in zip(runs, (RED, BLUE, GREEN, PURPLE), strict=False):
            kept = [(t, r) for t, r in zip(times, risks, strict=True) if t > 0 and r > 0]
            axes.plot(
                [t for t, _ in kept], [r for _, r in kept], ".-", color=colour, lw=1.0, ms=3, label=name
            )
        if constant is not None:
            times = runs[0][1]
            ends = [min(t for t in times if t > 0), max(times)]
            axes.plot(
                ends, [constant / t**2 for t in ends], color=GREY, ls=":", lw=1.0, label="derived $C/t^2$"
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("$t$")
        axes.set_ylabel("$R$")
        axes.legend(frameon=False)
    return figure


def draw_recovery_table(
    kinds: Sequence[str], counts: Sequence[int], cells: Mapping[tuple[str, int], tuple[float, str]]
) -> Figure:
    """Draw the fraction of starts that recover the teacher for each kind of branch and number of samples.

    Parameters
    ----------
    kinds, counts : sequences
        Rows and columns.
    cells : mapping
        Fraction and what is expected, by kind and number; a missing cell stays empty.
    """
    with style():
        figure, axes = canvas(1.2 + 0.32 * len(kinds), left=1.2, bottom=0.75)
        for (kind, n), (fraction, expected) in cells.items():
            x, y = counts.index(n), kinds.index(kind)
            axes.add_patch(
                Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=COLOURS[expected], alpha=0.3, lw=0)
            )
            axes.text(x, y, f"{fraction:.2f}", ha="center", va="center")
        axes.set_xlim(-0.5, len(counts) - 0.5)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.set_xticks(range(len(counts)), [str(n) for n in counts])
        axes.set_yticks(range(len(kinds)), list(kinds))
        axes.set_xlabel("$n$")
        shown = [u for u in COLOURS if u in {expected for _, expected in cells.values()}]
        handles = [Rectangle((0, 0), 1, 1, color=COLOURS[u], alpha=0.3, lw=0) for u in shown]
        axes.legend(
            handles,
            shown,
            ncol=4,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.42 / (0.32 * len(kinds) + 0.31)),
        )
    return figure


def draw_exponents(powers: Sequence[float], fast: int) -> Figure:
    """Draw how the exponents p of R ~ t^-p are distributed; ``fast`` flows fell below rounding."""
    with style():
        figure, axes = canvas(2.4)
        axes.hist(powers, bins=[0.05 * k for k in range(0, 81)], color=BLUE)
        axes.axvline(2, color=GREY, ls=":", lw=1.0)
        axes.set_xlabel("$p$ of $R \\sim t^{-p}$")
        axes.set_ylabel("flows")
        axes.set_title(f"{fast} flows below rounding", fontsize=8)
    return figure
