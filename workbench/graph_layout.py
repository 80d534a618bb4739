r"""Curves, boxes and free places of the landscape graph: plane geometry, without a plotting library.

Embeddings run along a row, below the labels (``trunk``); descents bend past markers and labels (``detour``).  Where the
losses are too many for rows of their own (``graph_sheet``), points stand at the height of their loss on an axis
(``value_scale``); those of one layer that are closer than a pitch take the nearest free of the columns 0, 1, -1, 2,
-2, ..., and labels, one after another, the cheapest free place around their marker (``place``).  What is placed
once is never moved, so the result depends on the input alone.

>>> columns([0.0, 0.1, 5.0, 0.05], pitch=1.0)
[0, -1, 0, 1]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

__all__ = [
    "ZERO_VALUE",
    "Box",
    "ValueScale",
    "arc",
    "columns",
    "detour",
    "grid",
    "place",
    "trunk",
    "value_scale",
]

#: Risks up to here are shown as zero: squares of rounding errors, on which a logarithm would spend the axis.
ZERO_VALUE = 1e-20
#: The axis is logarithmic if the risks spread over more than this factor.
LOG_FACTOR = 30.0

RINGS = (0.0, 7.0, 14.0, 22.0, 32.0, 44.0, 58.0)
DIRECTIONS = 16

#: How far a descent may stand out sideways, in points; the nearest that runs over nothing is taken.
SIDEWAYS = (0.0, 4.0, -4.0, 9.0, -9.0, 15.0, -15.0, 22.0, -22.0, 30.0, -30.0)

Pair = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """An axis-parallel rectangle: lower left and upper right corner."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box, gap: float = 0.0) -> bool:
        """Whether the two come closer than ``gap``."""
        return (
            self.left < other.right + gap
            and other.left < self.right + gap
            and self.bottom < other.top + gap
            and other.bottom < self.top + gap
        )

    def holds(self, x: float, y: float) -> bool:
        """Whether the point lies inside."""
        return self.left <= x <= self.right and self.bottom <= y <= self.top

    def within(self, other: Box) -> bool:
        """Whether the rectangle lies in the other one."""
        return (
            other.left <= self.left
            and other.bottom <= self.bottom
            and self.right <= other.right
            and self.top <= other.top
        )


@dataclass(frozen=True)
class ValueScale:
    """The vertical axis: limits, ticks, and where a risk of zero is drawn on a logarithmic one.

    ``floor`` is the height of the zeros and ``rule`` that of the line which sets them apart (None: not needed).
    """

    log: bool
    lower: float
    upper: float
    ticks: tuple[tuple[float, str], ...]
    floor: float | None = None
    rule: float | None = None

    def height(self, value: float) -> float:
        """Return the height at which a value is drawn, in units of the axis."""
        return self.floor if self.floor is not None and value <= ZERO_VALUE else value


def value_scale(values: Sequence[float]) -> ValueScale:
    """Choose the axis: logarithmic if the risks are not negative and spread over more than a factor of 30.

    Raises
    ------
    ValueError
        If there is no value, or one is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"a graph needs points with finite losses, found {list(values)}")
    positive = [value for value in values if value > ZERO_VALUE]
    zeros = any(abs(value) <= ZERO_VALUE for value in values)
    negative = any(value < -ZERO_VALUE for value in values)
    if negative or not positive or (not zeros and max(positive) <= LOG_FACTOR * min(positive)):
        low, high = min(values), max(values)
        margin = 0.16 * (high - low) or 0.1 * abs(high) or 1.0
        return ValueScale(False, low - margin, high + margin, ())
    low, high = min(positive), max(positive)
    step = max((high / low) ** 0.13, 1.6)
    if not zeros:
        return ValueScale(True, low / step, high * step**1.3, _log_ticks(low / step, high * step))
    floor = low / step**2.5
    ticks = ((floor, "0"), *_log_ticks(low / step**0.8, high * step))
    return ValueScale(True, floor / step, high * step**1.3, ticks, floor, low / step**1.4)


def _log_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Powers of ten, at most eight; 1, 2, 5 where fewer than three powers lie in the range."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    stride = max(1, math.ceil((last - first + 1) / 8))
    ticks = [(10.0**power, f"$10^{{{power}}}$") for power in range(first, last + 1, stride)]
    if last - first >= 2:
        return tuple(ticks)
    finer = [
        (digit * 10.0**power, rf"${digit}\times 10^{{{power}}}$" if digit > 1 else f"$10^{{{power}}}$")
        for power in range(first - 1, last + 1)
        for digit in (1, 2, 5)
    ]
    return tuple(tick for tick in finer if low <= tick[0] <= high)


def columns(heights: Sequence[float], pitch: float) -> list[int]:
    """Give each point a column such that points of one column are at least ``pitch`` apart.

    The points are served from below, ties in the order given.
    """
    taken: dict[int, list[float]] = {}
    result = [0] * len(heights)
    for place_ in sorted(range(len(heights)), key=lambda k: (heights[k], k)):
        column = 0
        while any(abs(heights[place_] - other) < pitch for other in taken.get(column, ())):
            column = -column if column > 0 else 1 - column
        taken.setdefault(column, []).append(heights[place_])
        result[place_] = column
    return result


def arc(start: Pair, end: Pair, bend: float, count: int = 24) -> list[Pair]:
    """Return points of the quadratic Bezier curve that matplotlib draws for ``arc3,rad=bend``."""
    (x0, y0), (x1, y1) = start, end
    return _quadratic(start, ((x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0)), end, count)


def _quadratic(start: Pair, control: Pair, end: Pair, count: int) -> list[Pair]:
    curve = []
    for step in range(count + 1):
        t = step / count
        p, q, r = (1 - t) ** 2, 2 * t * (1 - t), t**2
        curve.append((p * start[0] + q * control[0] + r * end[0], p * start[1] + q * control[1] + r * end[1]))
    return curve


def trunk(start: Pair, end: Pair, depth: float, reach: float) -> list[Pair]:
    """Return the way of an embedding: down from its source, along below the row, up to its target.

    All edges that leave a point for the same row share the first part, so that they read as one line with branches.

    Parameters
    ----------
    start, end : pair of float
        Centres of the markers.
    depth : float
        How far below the source the line runs.
    reach : float
        Half the size of a marker.
    """
    (x0, y0), (x1, y1) = start, end
    side = 1.0 if x1 >= x0 else -1.0
    low = y0 - depth
    turn = min(depth, abs(x1 - x0) / 3)
    leave, meet = x0 + 0.3 * side * reach, x1 - 0.3 * side * reach
    way = _quadratic((leave, y0 - reach), (leave, low), (leave + side * turn, low), 6)
    far = meet - side * turn
    way += [(leave + side * turn + t / 12 * (far - leave - side * turn), low) for t in range(1, 12)]
    if abs(y1 - y0) < 1e-6 * (1 + abs(y0)):
        return way + _quadratic((far, low), (meet, low), (meet, y1 - reach), 6)
    aside = x1 - 2 * side * reach  # the other row is reached left of its marker
    return [*way, (aside, low), (aside, y1), (x1 - side * reach, y1)]


def detour(
    start: Pair,
    end: Pair,
    markers: Sequence[Pair],
    labels: Sequence[Box],
    drawn: Set[tuple[int, int]],
    point: float,
) -> float:
    """Choose the bend (``arc3,rad``) of a descent that runs over least.

    Parameters
    ----------
    start, end : pair of float
        Centres of its markers.
    markers, labels : sequences
        Other markers, and all labels.
    drawn : set of pairs of int
        What the descents drawn before cover (``grid``).
    point : float
        Length of a typographic point in these units.
    """
    length = max(math.dist(start, end), point)
    widest = max(map(abs, SIDEWAYS)) * point
    frame = Box(
        min(start[0], end[0]) - widest,
        min(start[1], end[1]) - widest,
        max(start[0], end[0]) + widest,
        max(start[1], end[1]) + widest,
    )
    near = [spot for spot in markers if frame.holds(*spot)]
    texts = [box for box in labels if box.meets(frame)]
    squares = _square(point)
    best, chosen = math.inf, 0.0
    for sideways in SIDEWAYS:
        if abs(sideways) * point > 0.3 * length:
            continue
        turned = 2 * sideways * point / length
        way = arc(start, end, turned, 32)[2:-2]
        cost = 0.06 * abs(sideways)
        if cost >= best:  # the others stand out no less
            break
        cost += 8.0 * sum(any(math.dist(spot, at) < 5 * point for at in way) for spot in near)
        cost += 0.7 * sum(box.holds(*at) for box in texts for at in way)
        cost += 0.25 * sum(cell in drawn for cell in map(squares, way))
        if cost < best - 1e-9:
            best, chosen = cost, turned
    return chosen


def grid(way: Sequence[Pair], point: float) -> set[tuple[int, int]]:
    """Return the squares, two typographic points wide, that a way goes through."""
    return set(map(_square(point), way))


def _square(point: float) -> Callable[[Pair], tuple[int, int]]:
    size = 2 * point
    return lambda spot: (math.floor(spot[0] / size), math.floor(spot[1] / size))


def place(
    size: tuple[float, float],
    anchor: tuple[float, float],
    reach: float,
    obstacles: Sequence[Box],
    frame: Box,
    curves: Sequence[tuple[float, float]] = (),
) -> Box | None:
    """Find the cheapest free place for a label of a marker; None if there is none nearby.

    Parameters
    ----------
    size, anchor : pair of float
        Width and height of the label; centre of the marker.
    reach : float
        Half the size of the marker, and a gap.
    obstacles : sequence of Box
        Nothing may touch these (the marker itself need not be among them).
    frame : Box
        The label stays inside.
    curves : sequence of pair
        Points of the edges: covering one costs as much as a step outwards.
    """
    (width, height), (x, y) = size, anchor
    free: list[tuple[float, int, Box]] = []
    for ring in RINGS:
        for turn in range(DIRECTIONS):
            angle = math.pi / 2 - 2 * math.pi * turn / DIRECTIONS  # above first, then clockwise
            away = (math.cos(angle), math.sin(angle))
            # The box touches the circle of radius reach + ring around the marker in this direction.
            cx = x + away[0] * (reach + ring) + width / 2 * _sharp(away[0])
            cy = y + away[1] * (reach + ring) + height / 2 * _sharp(away[1])
            box = Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
            if not box.within(frame) or any(box.meets(other, 0.8) for other in obstacles):
                continue
            covered = sum(box.holds(*point) for point in curves)
            free.append((ring / 6 + 0.25 * min(turn, DIRECTIONS - turn) / 2 + 0.3 * covered, len(free), box))
        if free and min(free)[0] <= ring / 6 + 1:
            break
    return min(free, key=lambda entry: entry[:2])[2] if free else None


def _sharp(component: float) -> float:
    """Make a box sit beside, not on, its circle: full half-width from 22 degrees off the axis on."""
    return max(-1.0, min(1.0, component / math.sin(math.pi / 4)))
