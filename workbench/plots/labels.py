"""Texts of the graph: beside their markers, on nothing else, tied to the data by an offset in points.

Sizes are measured with the Agg renderer before anything is drawn; ``graph_layout.place`` finds the places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.transforms import ScaledTranslation

from workbench.graph_layout import Box, place

__all__ = ["MARKER", "Badge", "Label", "pixels", "write_labels"]

HALO: list[AbstractPathEffect] = [withStroke(linewidth=1.6, foreground="white")]
MARKER = 3.7  # points: half the size that labels and arrows keep clear of

Pair = tuple[float, float]


@dataclass(frozen=True)
class Label:
    """What stands beside a marker: a name, and in smaller type a second line (empty: none)."""

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


def pixels(ax: Axes, point: Pair) -> Pair:
    """Transform a point of the data."""
    across, up = ax.transData.transform(point)
    return float(across), float(up)


def write_labels(
    ax: Axes,
    labels: Sequence[Label],
    badges: Sequence[Badge],
    markers: Sequence[Pair],
    curves: Sequence[Sequence[Pair]],
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
    """
    figure = ax.figure
    pen = RendererAgg(math.ceil(figure.bbox.width), math.ceil(figure.bbox.height), figure.get_dpi())
    point = figure.get_dpi() / 72
    reach = (MARKER + 0.6) * point
    centres = [pixels(ax, marker) for marker in markers]
    solid = [Box(x - reach, y - reach, x + reach, y + reach) for x, y in centres]
    edge = ax.get_window_extent(pen)
    frame = Box(edge.x0 + 1, edge.y0 + 1, edge.x1 - 1, edge.y1 - 1)
    samples = [spot for curve in curves for spot in curve]
    lost = sum(not _label(ax, pen, label, solid, frame, samples) for label in labels)
    return lost + sum(not _badge(ax, pen, badge, solid, frame) for badge in badges)


def _label(ax: Axes, pen: Any, label: Label, solid: list[Box], frame: Box, samples: Sequence[Pair]) -> bool:
    """Write one label, and a thin line to its marker where it had to go far; False if there is no place."""
    point = ax.figure.get_dpi() / 72
    main = ax.text(0, 0, label.text, fontsize=7.5, color=label.colour, gid=f"label:{label.id}")
    artists = [main]
    if label.second:
        artists.append(ax.text(0, 0, label.second, fontsize=5.8, color="#444444", gid=f"inertia:{label.id}"))
    sizes = [artist.get_window_extent(pen) for artist in artists]
    gap = 0.5 * point
    size = (max(s.width for s in sizes), sum(s.height for s in sizes) + gap * (len(sizes) - 1))
    x, y = pixels(ax, label.at)
    box = place(size, (x, y), (MARKER + 1.4) * point, solid, frame, samples)
    if box is None:
        for artist in artists:
            artist.remove()
        return False
    solid.append(box)
    if any(box.holds(*sample) for sample in samples):  # not otherwise: a halo turns text into outlines
        for artist in artists:
            artist.set_path_effects(HALO)
    middle, bottom = (box.left + box.right) / 2, box.bottom
    for artist, extent in zip(reversed(artists), reversed(sizes), strict=True):
        _pin(ax, artist, label.at, ((middle - x) / point, (bottom - y) / point))
        bottom += extent.height + gap
    _leader(ax, (x, y), box, 10 * point)
    return True


def _pin(ax: Axes, artist: Any, at: Pair, offset: Pair) -> None:
    """Tie a text to a point of the data with an offset in typographic points."""
    shift = ScaledTranslation(offset[0] / 72, offset[1] / 72, ax.figure.dpi_scale_trans)
    artist.set_position(at)
    artist.set_transform(ax.transData + shift)
    artist.set(ha="center", va="bottom", zorder=6)


def _leader(ax: Axes, start: Pair, box: Box, longest: float) -> None:
    """Join a marker with its label where the label stands away from it."""
    near = (min(max(start[0], box.left), box.right), min(max(start[1], box.bottom), box.top))
    if math.dist(start, near) > longest:
        (x0, y0), (x1, y1) = ax.transData.inverted().transform([start, near])
        ax.plot([x0, x1], [y0, y1], color="#999999", lw=0.5, zorder=0.5)


def _badge(ax: Axes, pen: Any, badge: Badge, solid: list[Box], frame: Box) -> bool:
    """Write a multiplicity on its edge, at the first free of several places along it."""
    text = rf"${{\times}}{badge.count}$"
    artist = ax.text(
        0, 0, text, fontsize=6.5, color=badge.colour, ha="center", va="center", zorder=6, gid="count"
    )
    size = artist.get_window_extent(pen)
    last = len(badge.curve) - 1
    for share in (0.5, 0.4, 0.6, 0.33, 0.67, 0.25, 0.75, 0.18, 0.82):
        x, y = badge.curve[round(share * last)]
        box = Box(x - size.width / 2, y - size.height / 2, x + size.width / 2, y + size.height / 2)
        if box.within(frame) and not any(box.meets(other) for other in solid):
            across, up = ax.transData.inverted().transform((x, y))
            artist.set_position((float(across), float(up)))
            artist.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4})
            solid.append(box)
            return True
    artist.remove()
    return False
