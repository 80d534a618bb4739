r"""A landscape as a table: a row for every loss, a block of columns for every width, a cell for every point.

A landscape has few distinct losses, for an embedding keeps the loss exactly.  Rows of one height, in the order of
their losses, therefore show what an axis hides where one loss is :math:`10^{-14}` and the others crowd below 1: which
points share a loss, and which lies above which.  Cells are as wide as the labels need, so that no two labels
meet; a level with more points than the page has cells takes several rows.

Within its row a point may stand in any column of its block.  ``seat`` chooses, row by row, what keeps the descents
short and off the other points; the order of the points in a row stays.

>>> levels([0.5, 0.1, 0.5 * (1 + 1e-12), 3e-31])
[2, 1, 2, 0]
>>> level_names([0.0, 2.4042703e-4, 1 / 3, 0.33334])
['0', '2.404×10⁻⁴', '0.33333', '0.33334']
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from workbench.graph_layout import ZERO_VALUE

__all__ = ["ENDS_AGREE", "Item", "Sheet", "arrange", "level_names", "levels", "seat", "tracks"]

#: Losses that agree to this relative accuracy are one: rounding parts the copies of a network by less.
AGREE = 1e-9
#: Where a run levels off is known no better than this.
ENDS_AGREE = 1e-3
GAP = 9.0  # points between the blocks of two widths
LEAD = 9.0  # points from the left edge of a cell to the centre of its marker
SPARE = 3  # columns that a block may have beyond its fullest row, to let descents pass
SWEEPS = 6
MANY = 24  # ways to seat a row that are all tried; of more, only those without holes
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Pairs = Sequence[tuple[str, str]]
Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Item:
    """What needs a cell: its name, its layer (the width of the network) and its loss."""

    name: str
    layer: int
    value: float


@dataclass(frozen=True)
class Sheet:
    """Where everything stands.

    Attributes
    ----------
    across : dict of str to float
        Centre of each marker, in points from the left edge.
    row : dict of str to int
        Row of each marker, counted from the bottom.
    rows : int
        Their number.
    ticks : tuple of (int, int, str)
        First and last row, and name of each level, ascending.
    blocks : tuple of (int, float, float)
        Layer, left and right edge of each block.
    width : float
        Right edge of the last block.
    """

    across: dict[str, float]
    row: dict[str, int]
    rows: int
    ticks: tuple[tuple[int, int, str], ...]
    blocks: tuple[tuple[int, float, float], ...]
    width: float


def levels(values: Sequence[float], agree: float = AGREE) -> list[int]:
    """Number the distinct values in ascending order, and give each value its number.

    A level holds what agrees with its lowest value; up to ``ZERO_VALUE`` in size all count as zero.
    """
    numbers = [0] * len(values)
    level, lowest = -1, -math.inf
    shown = [0.0 if abs(value) <= ZERO_VALUE else value for value in values]
    for k in sorted(range(len(values)), key=lambda k: shown[k]):
        if level < 0 or shown[k] - lowest > agree * abs(lowest):
            level, lowest = level + 1, shown[k]
        numbers[k] = level
    return numbers


def level_names(values: Sequence[float]) -> list[str]:
    """Write ascending values with four significant digits, more where two neighbours would not differ, or swap."""
    digits = [4] * len(values)
    for k in range(1, len(values)):
        while digits[k] < 16 and _rounded(values[k - 1], digits[k - 1]) >= _rounded(values[k], digits[k]):
            digits[k - 1] = digits[k] = 1 + max(digits[k - 1], digits[k])
    return [_number(value, count) for value, count in zip(values, digits, strict=True)]


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _number(value: float, digits: int) -> str:
    """Write a number plainly from 0.001 to 100000, otherwise with a power of ten; signs as typeset ones."""
    if abs(value) <= ZERO_VALUE:
        return "0"
    text = f"{value:.{digits}g}"
    if not 1e-3 <= abs(float(text)) < 1e5:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        exponent = f"10{str(int(power)).translate(SUPERSCRIPT)}"
        text = exponent if mantissa == "1" else f"{mantissa}×{exponent}"
    return text.replace("-", "\N{MINUS SIGN}")


def arrange(
    items: Sequence[Item], arrows: Pairs, cells: Mapping[int, float], tails: Mapping[int, float], room: float
) -> Sheet:
    """Give every item a cell.

    Parameters
    ----------
    items : sequence of Item
        Those of one loss and layer stand in this order.
    arrows : sequence of (str, str)
        Descents, as names of their ends; those between two layers are not looked at.
    cells : mapping of int to float
        Width of a cell of each layer, in points.
    tails : mapping of int to float
        What the label of the last item in a row may need beyond its cell, by layer, in points.
    room : float
        Width of the sheet in points, kept if every layer can have one column.

    Raises
    ------
    ValueError
        If there is no item.
    """
    if not items:
        raise ValueError("a sheet needs at least one item, found none")
    level = dict(zip((i.name for i in items), levels([i.value for i in items]), strict=True))
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for item in items:
        groups[level[item.name], item.layer].append(item.name)
    layers = sorted({item.layer for item in items})
    room -= sum(GAP + tails[w] for w in layers)
    layer_of = {item.name: item.layer for item in items}
    inside = {w: [a for a in arrows if layer_of[a[0]] == layer_of[a[1]] == w] for w in layers}
    count = _columns(layers, groups, cells, room, {w: len(inside[w]) for w in layers})
    lines = {
        k: max(math.ceil(len(groups.get((k, w), ())) / count[w]) for w in layers) for k in set(level.values())
    }
    first = {k: sum(lines[j] for j in lines if j < k) for k in lines}  # lowest row of each level
    row: dict[str, int] = {}
    table: dict[int, list[list[str]]] = {w: [[] for _ in range(sum(lines.values()))] for w in layers}
    for (k, w), names in groups.items():
        each = math.ceil(len(names) / math.ceil(len(names) / count[w]))
        for number, name in enumerate(names):
            row[name] = first[k] + lines[k] - 1 - number // each
            table[w][row[name]].append(name)
    stretch = max(1.0, room / sum(count[w] * cells[w] for w in layers))
    across: dict[str, float] = {}
    blocks, left = [], 0.0
    for w in layers:
        cell = cells[w] * stretch
        for name, column in seat(table[w][::-1], count[w], inside[w]).items():
            across[name] = left + GAP / 2 + column * cell + LEAD
        right = left + count[w] * cell + GAP + tails[w]
        blocks.append((w, left, right))
        left = right
    lowest = {k: min(i.value for i in items if level[i.name] == k) for k in lines}
    names_ = level_names([lowest[k] for k in sorted(lines)])
    ticks = tuple(
        (first[k], first[k] + lines[k] - 1, name) for k, name in zip(sorted(lines), names_, strict=True)
    )
    return Sheet(across, row, sum(lines.values()), ticks, tuple(blocks), left)


def _columns(
    layers: Sequence[int],
    groups: Mapping[tuple[int, int], Sequence[str]],
    cells: Mapping[int, float],
    room: float,
    arrows: Mapping[int, int],
) -> dict[int, int]:
    """Choose the columns of each layer: one for each point of its fullest row, fewer or more as there is room."""
    full = {w: max(len(names) for (_, layer), names in groups.items() if layer == w) for w in layers}
    count = dict(full)
    numbers = {k for k, _ in groups}

    def rows(count: Mapping[int, int]) -> int:
        return sum(max(math.ceil(len(groups.get((k, w), ())) / count[w]) for w in layers) for k in numbers)

    while sum(count[w] * cells[w] for w in layers) > room and max(count.values()) > 1:
        fewer = [count | {w: count[w] - 1} for w in layers if count[w] > 1]
        count = min(fewer, key=lambda c: (rows(c), max(c.values())))
    while True:
        wanting = [w for w in layers if arrows[w] > 1 and count[w] < full[w] + SPARE]
        if not wanting:
            return count
        widest = max(wanting, key=lambda w: (arrows[w] / count[w], w))
        if sum(count[w] * cells[w] for w in layers) + cells[widest] > room:
            return count
        count[widest] += 1


def seat(rows: Rows, count: int, arrows: Pairs) -> dict[str, int]:
    """Choose a column for every name, rows from the top, so that few arrows run over other names.

    One row after another takes its best places while the others stay, until nothing changes.
    """
    depth = {name: k for k, row in enumerate(rows) for name in row}
    column = {name: k for row in rows for k, name in enumerate(row)}
    spans = sorted({(min(depth[a], depth[b]), max(depth[a], depth[b]), a, b) for a, b in arrows})
    for _ in range(SWEEPS):
        before = dict(column)
        for k, row in enumerate(rows):
            near = [(a, b) for top, bottom, a, b in spans if top <= k <= bottom]
            if not row or not near:
                continue
            best = math.inf
            chosen: tuple[int, ...] = ()
            for places in _places(len(row), count):
                column.update(zip(row, places, strict=True))
                cost = sum(_cost(rows, depth, column, a, b) for a, b in near)
                if cost < best - 1e-9:
                    best, chosen = cost, places
            column.update(zip(row, chosen, strict=True))
        if column == before:
            break
    return column


def _places(size: int, count: int) -> Iterator[tuple[int, ...]]:
    """Yield ways to seat a row in order."""
    if math.comb(count, size) <= MANY:
        yield from combinations(range(count), size)
    else:
        yield from (tuple(range(left, left + size)) for left in range(count - size + 1))


def _cost(rows: Rows, depth: Mapping[str, int], column: Mapping[str, int], a: str, b: str) -> float:
    """Judge the straight arrow from a to b: its sideways way, and what it runs over in the rows between.

    A marker is at the left of its cell and its label to the right of it: 0.15 and 0.8 of the cell.
    """
    top, bottom = sorted((a, b), key=lambda name: depth[name])
    height = depth[bottom] - depth[top]
    shift = column[bottom] - column[top]
    cost = 0.12 * abs(shift)
    for step in range(1, height):
        at = column[top] + shift * step / height
        for name in rows[depth[top] + step]:
            away = at - column[name]
            if abs(away) < 0.15:
                cost += 3.0
            elif 0 < away < 0.8:
                cost += 0.7
    return cost


def tracks(spans: Mapping[tuple[str, str], tuple[int, float, float]]) -> dict[tuple[str, str], int]:
    """Number the lines that run along the rows, 0 nearest to its row, so that no two on one track overlap.

    Parameters
    ----------
    spans : mapping of (str, str) to (int, float, float)
        Row, start and farthest end of each line, by source and kind.

    A line that ends earlier runs nearer to the row: its branches then cross no other line.
    """
    taken: dict[int, list[list[tuple[float, float]]]] = defaultdict(list)
    chosen = {}
    for key, (row, start, end) in sorted(
        spans.items(), key=lambda e: (e[1][0], e[1][2], -e[1][1], e[0][0], e[0][1] != "splitting")
    ):
        low, high = min(start, end), max(start, end)
        track = 0
        while track < len(taken[row]) and any(low < b and a < high for a, b in taken[row][track]):
            track += 1
        if track == len(taken[row]):
            taken[row].append([])
        taken[row][track].append((low, high))
        chosen[key] = track
    return chosen
