"""The look of all figures, and how they are saved: whole, with embedded fonts, the same bytes for the same input.

Nothing is shown and no global state of matplotlib changes.  Colours are Paul Tol's bright scheme, which
colour-blind readers can tell apart.

>>> figure, axes = canvas(2.0)
>>> [float(length) for length in figure.get_size_inches()]
[5.9, 2.0]
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.atomic import replacing

__all__ = ["BLUE", "GREEN", "GREY", "PURPLE", "RED", "WIDTH", "YELLOW", "canvas", "save", "style"]

WIDTH = 5.9  # inches: 15 cm
BLUE, RED, GREEN, YELLOW, PURPLE, GREY = "#4477AA", "#EE6677", "#228833", "#CCBB44", "#AA3377", "#777777"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "mathtext.fontset": "cm",
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,  # TrueType: text in the figure stays text
    "svg.hashsalt": "workbench",  # without it the ids inside an SVG are random
    "savefig.dpi": 200,
}
METADATA: dict[str, dict[str, Any]] = {  # no dates: the same input gives the same bytes
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
    ".png": {},
}


def style() -> Any:
    """Return a context with our settings on top of matplotlib's defaults, whatever the user's own file says."""
    return matplotlib.style.context(["default", STYLE])


def canvas(
    height: float, *, bottom: float = 0.5, left: float = 0.72, top: float = 0.14
) -> tuple[Figure, Axes]:
    """Make a figure 15 cm wide whose axes stand at fixed margins.

    Parameters
    ----------
    height, bottom, left, top : float
        In inches.  Fixed margins, since labels are placed by measuring before anything is drawn.
    """
    figure = Figure(figsize=(WIDTH, height))
    box = (left / WIDTH, bottom / height, (WIDTH - left - 0.1) / WIDTH, (height - bottom - top) / height)
    return figure, figure.add_axes(box)


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Keep the font library from reporting the age of matplotlib's mathematical fonts at every save."""
    logger = logging.getLogger("fontTools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PDF, SVG or PNG, whole or not at all.

    Parameters
    ----------
    figure : Figure
        What a ``draw_`` function returned.
    path : str or Path
        Its suffix tells the format; the folder must be there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the suffix is another one.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in METADATA:
        raise ValueError(f"{path.name}: found the suffix {suffix!r}; accepted: {', '.join(METADATA)}")
    with style(), _quiet_fonts(), replacing(path) as draft:
        figure.savefig(draft, format=suffix[1:], metadata=METADATA[suffix])
    return path
