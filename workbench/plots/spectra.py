r"""Hessian spectra of many critical points, a column of levels each, on a symmetric logarithmic axis.

Signs are those of the inertia: the eigenvalues are ascending, so the first :math:`n_-` are negative and the next
:math:`n_0` count as zero.  Zeros are drawn as one open circle; a small number tells how
many eigenvalues a mark stands for.

>>> from workbench.results import Inertia
>>> point = CriticalPoint("m1.1", 1, {}, 0.5, 0.0, (-2.0, 1e-12, 3.0), Inertia(1, 1, 1))
>>> signs(point)
((-2.0,), (1e-12,), (3.0,))
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from workbench.plots.canvas import BLUE, GREY, RED, WIDTH, style
from workbench.results import CriticalPoint

__all__ = ["coincident", "draw_spectra", "signs"]

PER_ROW, ROWS = 26, 3
LEVEL = 11  # columns: with more of them their names stand upright
PLOT, HEADING, NAMES, STEEP, FOOT, LEFT = 1.65, 0.24, 0.24, 0.46, 0.3, 0.72  # inches

Levels = tuple[float, ...]


def signs(point: CriticalPoint) -> tuple[Levels, Levels, Levels]:
    """Split the spectrum into negative, zero and positive eigenvalues, as the inertia says.

    Raises
    ------
    ValueError
        If there are not as many eigenvalues as the inertia counts.
    """
    inertia, levels = point.inertia, point.eigenvalues
    if len(levels) != inertia.negative + inertia.zero + inertia.positive:
        raise ValueError(f"{point.id}: {len(levels)} eigenvalues, but the inertia counts {inertia}")
    first, second = inertia.negative, inertia.negative + inertia.zero
    return levels[:first], levels[first:second], levels[second:]


def draw_spectra(points: Sequence[CriticalPoint], ax: Axes | None = None) -> Figure | Axes:
    """Draw the Hessian eigenvalues of each point, grouped by width.

    Parameters
    ----------
    points : sequence of CriticalPoint
        Drawn in this order within each width; a new figure shows at most 78 of them, in rows of 26.
    ax : Axes, optional
        Where to draw all of them in one row.

    Returns
    -------
    Figure or Axes
        The new figure, or the axes given.

    Raises
    ------
    ValueError
        If there is no point.
    """
    if not points:
        raise ValueError("draw_spectra needs at least one critical point, found none")
    ordered = sorted(points, key=lambda p: p.width)
    if ax is not None:
        _row(ax, ordered, ordered)
        return ax
    shown = ordered[: PER_ROW * ROWS]
    count = math.ceil(len(shown) / PER_ROW)
    size = math.ceil(len(shown) / count)
    names = STEEP if size > LEVEL else NAMES
    note = 0.2 if len(shown) < len(points) else 0.0
    step = HEADING + PLOT + names
    height = FOOT + count * step + note
    with style():
        figure = Figure(figsize=(WIDTH, height))
        for number in range(count):
            bottom = FOOT + (count - 1 - number) * step + names
            box = (LEFT / WIDTH, bottom / height, (WIDTH - LEFT - 0.1) / WIDTH, PLOT / height)
            _row(figure.add_axes(box), shown[number * size : (number + 1) * size], shown)
        _legend(figure, shown)
        if len(shown) < len(points):
            figure.text(0.99, 0.995, f"the first {len(shown)} of {len(points)} points", ha="right", va="top")
    return figure


def _row(ax: Axes, row: Sequence[CriticalPoint], scale: Sequence[CriticalPoint]) -> None:
    """Draw one row on an axis that fits all points."""
    threshold, largest, ticks = _axis(scale)
    ax.set_yscale("symlog", linthresh=threshold, linscale=0.7)
    lowest = min((signs(p)[0][0] for p in scale if signs(p)[0]), default=-0.5 * threshold)
    ax.set_ylim(3 * lowest, 3 * largest)
    ax.yaxis.set_major_locator(FixedLocator([t for t, _ in ticks if 3 * lowest <= t]))
    ax.yaxis.set_major_formatter(FixedFormatter([text for t, text in ticks if 3 * lowest <= t]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.axhline(0, color=GREY, lw=0.5, zorder=0)
    ax.axhspan(-threshold, threshold, color="#F0F0F0", lw=0, zorder=-1)
    half = 0.32
    for place, point in enumerate(row):
        negative, zero, positive = signs(point)
        ax.hlines(negative, place - half, place + half, color=RED, lw=1.1)
        ax.hlines(positive, place - half, place + half, color=BLUE, lw=1.1)
        if zero:
            ax.plot(place, 0, "o", ms=4.6, mfc="white", mec="black", mew=0.8, zorder=4)
            _number(ax, len(zero), (place, 0.0), 3.2)
        for level, count in coincident((*negative, *positive)):
            _number(ax, count, (place + half, level), 0.8)
    starts = [k for k, p in enumerate(row) if k == 0 or p.width != row[k - 1].width]
    for start, end in zip(starts, [*starts[1:], len(row)], strict=True):
        ax.text((start + end - 1) / 2, 1.02, f"width {row[start].width}", transform=ax.get_xaxis_transform(),
                ha="center", va="bottom", fontsize=8)  # fmt: skip
        if start:
            ax.axvline(start - 0.5, color=GREY, lw=0.5, ls=":")
    ax.set_xlim(-0.6, max(len(row), 4) - 0.4)
    steep = len(row) > LEVEL
    ax.set_xticks(
        range(len(row)), [p.id for p in row], rotation=90 if steep else 0, fontsize=7 if steep else 8
    )
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("eigenvalue")


def coincident(levels: Sequence[float]) -> list[tuple[float, int]]:
    """Group ascending levels that no eye can tell apart (within a hundredth), each with its number.

    >>> coincident((-1.0, -1.0, 0.5, 0.503, 0.7))
    [(-1.0, 2), (0.5, 2), (0.7, 1)]
    """
    groups: list[tuple[float, int]] = []
    for level in levels:
        if groups and abs(level - groups[-1][0]) <= 0.01 * abs(groups[-1][0]):
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((level, 1))
    return groups


def _number(ax: Axes, count: int, at: tuple[float, float], aside: float) -> None:
    """Write how many eigenvalues a mark stands for, unless it is one."""
    if count > 1:
        ax.annotate(str(count), at, (aside, 1.0), textcoords="offset points", fontsize=6, va="bottom")


def _axis(points: Sequence[CriticalPoint]) -> tuple[float, float, list[tuple[float, str]]]:
    """Linear threshold below the smallest eigenvalue that is not zero, the largest one, and ticks in decades."""
    sizes = [abs(v) for p in points for part in (signs(p)[0], signs(p)[2]) for v in part] or [1.0]
    low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))
    low = min(low, high - 1)
    stride = max(1, math.ceil((high - low) / 4))
    powers = range(high, low - 1, -stride)
    ticks = [(-(10.0**k), f"$-10^{{{k}}}$") for k in powers] + [(0.0, "$0$")]
    ticks += [(10.0**k, f"$10^{{{k}}}$") for k in reversed(powers)]
    return 10.0**low, max(sizes), ticks


def _legend(figure: Figure, points: Sequence[CriticalPoint]) -> None:
    """Explain what occurs, at the foot of the figure."""
    split = [signs(p) for p in points]
    entries = [
        Line2D([], [], color=colour, lw=1.3, label=name)
        for colour, name, part in ((RED, "negative", 0), (BLUE, "positive", 2))
        if any(s[part] for s in split)
    ]
    if any(s[1] for s in split):
        entries.append(
            Line2D(
                [],
                [],
                marker="o",
                ls="",
                ms=4.6,
                mfc="white",
                mec="black",
                label="zero within tolerance",
            )
        )
    figure.legend(handles=entries, loc="lower center", ncols=3, frameon=False, borderaxespad=0.2)
