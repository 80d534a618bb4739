"""Texts of the graph: beside their markers, on nothing else, tied to the data by an offset in points.

Every form of label is a name and, smaller, an inertia: ``stacked`` (one above the other) or ``inline`` (on one line)
at the right of the marker, where a cell is kept free for it; a ``free`` one takes the nearest free place, which
``graph_layout.place`` finds.  Sizes are measured with the Agg renderer before anything is drawn.

>>> label = Label("m1.1", (0, 0), "m1.1", "(0, 1, 2)", "black")
>>> stacked, inline = (measure([label], form)[0] for form in FORMS[:2])
>>> stacked.width < inline.width, stacked.height > inline.height
(True, True)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.transforms import ScaledTranslation

from workbench.graph_layout import Box, place

__all__ = ["FORMS", "MARKER", "Badge", "Form", "Label", "Size", "beside", "measure", "pixels", "write_labels"]

MARKER = 3.7  # points: half the size that labels and arrows keep clear of
GROUND = {
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.8,
    "pad": 0.3,
}  # a halo that leaves the text a text

Pair = tuple[float, float]


@dataclass(frozen=True)
class Form:
    """Sizes of name and inertia in points, whether they share a line, and the scale of the markers."""

    name: float
    inertia: float
    one_line: bool
    marker: float


#: The roomiest form first.
FORMS = (Form(7.0, 5.6, False, 1.0), Form(6.0, 5.2, True, 0.75), Form(5.5, 4.8, True, 0.65))
GAP = 2.5  # points between name and inertia on one line


@dataclass(frozen=True)
class Label:
    """What stands beside a marker: a name, and in smaller type a second text (empty: none)."""

    id: str
    at: Pair
    text: str
    second: str
    colour: str


@dataclass(frozen=True)
class Badge:
    """A multiplicity on an edge, whose points are given in pixels."""

    curve: Sequence[Pair]
    count: int
    colour: str


@dataclass(frozen=True)
class Size:
    """Extent of a label in points, and those of its name and its inertia (zero: none)."""

    width: float
    height: float
    name: Pair
    inertia: Pair


def pixels(ax: Axes, point: Pair) -> Pair:
    """Transform a point of the data."""
    across, up = ax.transData.transform(point)
    return float(across), float(up)


def measure(labels: Sequence[Label], form: Form) -> list[Size]:
    """Measure labels in one form, in points."""
    pen = RendererAgg(1, 1, 144)

    def extent(text: str, size: float) -> Pair:
        if not text:
            return 0.0, 0.0
        font = FontProperties(size=size)
        width, high, _ = pen.get_text_width_height_descent(text, font, "$" in text)
        _, line, _ = pen.get_text_width_height_descent("lp", font, False)  # type: ignore[arg-type]
        return width / 2 + 0.5, max(
            high, line
        ) / 2 + 0.5  # 144 dpi: two pixels are a point; half for rounding

    sizes = []
    for label in labels:
        name, inertia = extent(label.text, form.name), extent(label.second, form.inertia)
        if form.one_line:
            gap = GAP if label.second else 0.0
            sizes.append(Size(name[0] + gap + inertia[0], max(name[1], inertia[1]), name, inertia))
        else:
            sizes.append(Size(max(name[0], inertia[0]), name[1] + inertia[1], name, inertia))
    return sizes


def beside(ax: Axes, label: Label, size: Size, form: Form) -> Box:
    """Return the place of a label at the right of its marker, in pixels."""
    point = ax.figure.get_dpi() / 72
    x, y = pixels(ax, label.at)
    left, half = x + (MARKER * form.marker + 1.4) * point, size.height / 2 * point
    return Box(left, y - half, left + size.width * point, y + half)


def write_labels(
    ax: Axes,
    labels: Sequence[Label],
    badges: Sequence[Badge],
    markers: Sequence[Pair],
    curves: Sequence[Sequence[Pair]],
    form: Form,
    free: bool = False,
) -> int:
    """Write all texts where they touch neither a marker nor each other; return how many found no place.

    Parameters
    ----------
    ax : Axes
        With its final limits and size.
    labels, badges : sequences
        Served in this order.
    markers : sequence of pair
        Every marker, in units of the data.
    curves : sequence of sequence of pair
        Points along the edges in pixels; covering them is avoided, not forbidden.
    form : Form
        Of the labels.
    free : bool
        Whether a label may stand anywhere around its marker; otherwise at its right, if that is free.
    """
    point = ax.figure.get_dpi() / 72
    reach = (MARKER * form.marker + 0.6) * point
    centres = [pixels(ax, marker) for marker in markers]
    solid = [Box(x - reach, y - reach, x + reach, y + reach) for x, y in centres]
    edge = ax.get_window_extent()
    frame = Box(edge.x0 + 1, edge.y0 + 1, edge.x1 - 1, edge.y1 - 1)
    samples = [spot for curve in curves for spot in curve]
    dots = np.array(samples, dtype=float).reshape(-1, 2)
    lost = 0
    for label, size in zip(labels, measure(labels, form), strict=True):
        box: Box | None = beside(ax, label, size, form)
        if free or any(box.meets(other) for other in solid if box) or not (box and box.within(frame)):
            extent = (size.width * point, size.height * point)
            box = place(extent, pixels(ax, label.at), reach + 0.8 * point, solid, frame, samples)
        if box is None:
            lost += 1
            continue
        solid.append(box)
        _write(ax, label, size, form, box, _inside(box, dots) > 0)
        _leader(ax, pixels(ax, label.at), box, 10 * point)
    return lost + sum(not _badge(ax, badge, solid, frame, dots) for badge in badges)


def _write(ax: Axes, label: Label, size: Size, form: Form, box: Box, crossed: bool) -> None:
    """Write name and inertia into their box, on a white ground where an edge crosses it."""
    point = ax.figure.get_dpi() / 72
    x, y = pixels(ax, label.at)
    left, bottom = (box.left - x) / point, (box.bottom - y) / point
    above = 0.0 if form.one_line else size.inertia[1]
    texts = [(label.text, form.name, label.colour, f"label:{label.id}", left, bottom + above)]
    if label.second:
        after = left + size.name[0] + GAP if form.one_line else left
        texts.append((label.second, form.inertia, "#444444", f"inertia:{label.id}", after, bottom))
    for text, height, colour, gid, across, up in texts:
        shift = ScaledTranslation(across / 72, up / 72, ax.figure.dpi_scale_trans)
        artist = ax.text(
            *label.at, text, fontsize=height, color=colour, gid=gid, ha="left", va="bottom", zorder=6
        )
        artist.set_transform(ax.transData + shift)
        if crossed:
            artist.set_bbox(GROUND)


def _leader(ax: Axes, start: Pair, box: Box, longest: float) -> None:
    """Join a marker with its label where the label stands away from it."""
    near = (min(max(start[0], box.left), box.right), min(max(start[1], box.bottom), box.top))
    if math.dist(start, near) > longest:
        (x0, y0), (x1, y1) = ax.transData.inverted().transform([start, near])
        ax.plot([x0, x1], [y0, y1], color="#999999", lw=0.5, zorder=0.5)


def _badge(ax: Axes, badge: Badge, solid: list[Box], frame: Box, samples: Any) -> bool:
    """Write a multiplicity on its edge where it is free and fewest other edges pass; False if it is free nowhere.

    Edges with one target come together there, so the half near the source is tried first.  On an edge that is
    hardly longer than the number is high, the number stands beside it.
    """
    text = f"×{badge.count}"
    point = ax.figure.get_dpi() / 72
    size = measure([Label("", (0.0, 0.0), "", text, "")], Form(1.0, 6.0, True, 1.0))[0].inertia
    half, high = size[0] / 2 * point, size[1] / 2 * point
    curve = np.asarray(badge.curve)
    last = len(curve) - 1
    short = math.dist(badge.curve[0], badge.curve[-1]) < 7 * high
    asides = (-half - 1.5 * point, half + 1.5 * point) if short else (0.0,)
    best: tuple[int, float, float, Box] | None = None
    for share in (0.36, 0.42, 0.3, 0.48, 0.24, 0.54, 0.6, 0.18, 0.66, 0.72, 0.78, 0.14, 0.84, 0.5):
        for aside in asides:
            x, y = float(curve[round(share * last), 0]) + aside, float(curve[round(share * last), 1])
            box = Box(x - half, y - high, x + half, y + high)
            if not box.within(frame) or any(box.meets(other) for other in solid):
                continue
            hits = _inside(box, samples) - _inside(box, curve)
            if best is None or hits < best[0]:
                best = hits, x, y, box
    if best is None:
        return False
    _, x, y, box = best
    solid.append(box)
    across, up = ax.transData.inverted().transform((x, y))
    ax.text(float(across), float(up), text, fontsize=6, color=badge.colour, ha="center", va="center", zorder=6,
            gid="count", bbox=GROUND)  # fmt: skip
    return True


def _inside(box: Box, samples: Any) -> int:
    """Count the points, an array (n, 2), inside a box."""
    x, y = samples[:, 0], samples[:, 1]
    return int(((x >= box.left) & (x <= box.right) & (y >= box.bottom) & (y <= box.top)).sum())
