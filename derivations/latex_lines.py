r"""Displayed equations that fit the page: where a line may break, and which breaks are best.

A break is legal at every place outside braces, since all delimiters of the dialect have fixed sizes.  Breaks are
chosen together for a whole equation (shortest path): few lines first, then breaks at a plus or minus of the outermost
level, then inside parentheses, then between two factors, where the next line begins with a dot.

>>> lines("R", "a + b", available=60.0)
['R &= a + b']
>>> for line in lines("R", "a_1 (b_1 + b_2) + a_2 (b_3 + b_4)", available=120.0): print(line)
R &= a_1 (b_1 + b_2)
&\quad {}+ a_2 (b_3 + b_4)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sympy import Expr

from derivations.latex import latex, latex_pair
from derivations.latex_width import Token, gap, tokens, width

__all__ = ["TEXT_WIDTH", "Row", "display", "lines"]

#: 15 cm in TeX points: what a displayed equation may fill at 11 pt.
TEXT_WIDTH = 15 / 2.54 * 72.27

_QUAD = 10.95
_RELATION = 14.7  # an equality sign with the space on both sides
_LONG_LEFT = 0.35  # a left-hand side beyond this share of the line stands on a line of its own
_PER_LINE, _PER_LEVEL, _PER_FACTOR, _OVERFULL = 30.0, 40.0, 90.0, 2000.0
_ORPHAN, _ORPHAN_WIDTH = 60.0, 80.0  # a product is not cut close to its beginning or end


@dataclass(frozen=True)
class Row:
    """One equation of a display: both sides as LaTeX (or expressions) and a condition such as ``k = 1, 2``."""

    left: str
    right: Expr | str
    condition: str = ""

    @cached_property
    def tex(self) -> str:
        """LaTeX of the right-hand side."""
        return self.right if isinstance(self.right, str) else latex(self.right)


def lines(
    lhs: str | Expr, rhs: Expr | str, *, available: float = TEXT_WIDTH, left_column: float | None = None
) -> list[str]:
    r"""Return the equation as rows of an ``align``: ``lhs &= ...`` and ``&\quad {}+ ...``.

    Parameters
    ----------
    lhs, rhs : Expr or str
        Both sides; of two expressions free hidden indices disappear together.
    available : float
        Width of the whole display in points.
    left_column : float, optional
        Width of the column of left-hand sides, if it is wider than this one.

    Returns
    -------
    list of str
        One row each, without ``\\``.
    """
    if isinstance(lhs, Expr) and isinstance(rhs, Expr):
        lhs, rhs = latex_pair(lhs, rhs)
    left = latex(lhs) if isinstance(lhs, Expr) else lhs
    right = latex(rhs) if isinstance(rhs, Expr) else rhs
    own = width(left)
    column = own if left_column is None else left_column
    if own > _LONG_LEFT * available:  # the sign of equality moves to the next line
        pieces = break_right(right, available - column, _QUAD + _RELATION)
        return [f"& {left}", rf"&\quad = {pieces[0]}", *pieces[1:]]
    pieces = break_right(right, available - column, _RELATION)
    return [f"{left} &= {pieces[0]}", *pieces[1:]]


def break_right(tex: str, room: float, first_indent: float) -> list[str]:
    """Return ``tex`` in lines no wider than ``room`` where possible; the first one starts ``first_indent`` in."""
    pieces = tokens(tex)
    if first_indent + width(tex) <= room:
        return [tex]
    breaks = _breaks(pieces)
    places = [0, *breaks, len(pieces)]
    offsets = _offsets(pieces)
    best: dict[int, tuple[float, int]] = {0: (0.0, 0)}
    for end in places[1:]:
        best[end] = (math.inf, 0)
        for start in places[: places.index(end)]:
            indent = first_indent if start == 0 else _RELATION + _indent(breaks[start])
            slack = room - indent - (offsets[end] - offsets[start])
            cost = best[start][0] + _PER_LINE + (breaks[end][0] if end < len(pieces) else 0.0)
            if slack < 0:
                cost += _OVERFULL * (1 - slack / room)
            elif end < len(pieces):
                cost += 10.0 * (slack / room) ** 2
            if cost < best[end][0]:
                best[end] = (cost, start)
    chosen, end = [], len(pieces)
    while end:
        start = best[end][1]
        chosen.append((start, end))
        end = start
    return [_line(pieces, start, end, breaks) for start, end in reversed(chosen)]


def _breaks(pieces: Sequence[Token]) -> dict[int, tuple[float, int]]:
    """Return {position: (cost, depth)} of the legal breaks, each before the token at that position."""
    found: dict[int, tuple[float, int]] = {}
    offsets, depth = _offsets(pieces), 0
    ends = [
        0,
        *(p for p, level in enumerate(_levels(pieces)) if level == 0 and pieces[p].kind == "bin"),
        len(pieces),
    ]
    for position, token in enumerate(pieces):
        before = pieces[position - 1] if position else None
        if token.kind == "close":
            depth -= 1
        if before is not None and token.kind == "bin":
            found[position] = (_PER_LEVEL * depth, depth)
        elif before is not None and token.spaced and _separate_factors(before, token):
            start, stop = max(p for p in ends if p <= position), min(p for p in ends if p > position)
            near = min(offsets[position] - offsets[start], offsets[stop] - offsets[position]) < _ORPHAN_WIDTH
            found[position] = (_PER_FACTOR + _PER_LEVEL * depth + _ORPHAN * near, depth)
        if token.kind == "open":
            depth += 1
    return found


def _levels(pieces: Sequence[Token]) -> list[int]:
    """Return how many parentheses are open at each token."""
    out, depth = [], 0
    for token in pieces:
        depth -= token.kind == "close"
        out.append(depth)
        depth += token.kind == "open"
    return out


def _separate_factors(left: Token, right: Token) -> bool:
    if left.kind not in ("ord", "close") or right.kind not in ("ord", "open", "op"):
        return False
    if left.text in ("-", "+"):  # a sign in front of the first term
        return False
    return not left.text.endswith(r"\top}")  # a row and the column it multiplies stay together


def _offsets(pieces: Sequence[Token]) -> list[float]:
    out, before = [0.0], ""
    for token in pieces:
        out.append(out[-1] + token.width + gap(before, token.kind))
        before = token.kind if token.kind != "space" else before
    return out


def _indent(found: tuple[float, int]) -> float:
    return (_QUAD if found[1] == 0 else 2 * _QUAD) + 3.0


def _line(pieces: Sequence[Token], start: int, end: int, breaks: dict[int, tuple[float, int]]) -> str:
    text = ""
    for token in pieces[start:end]:
        text += (" " if text and token.spaced else "") + token.text
    if start == 0:
        return text
    mark = "{}" if pieces[start].kind == "bin" else r"{}\cdot "
    return rf"&{chr(92)}{'quad' if breaks[start][1] == 0 else 'qquad'} {mark}{text}"


def display(equations: Iterable[Row | tuple], *, width: float = TEXT_WIDTH, end: str = ".") -> str:
    r"""Return one ``align`` with every equation numbered once, broken so that it fits.

    Parameters
    ----------
    equations : iterable of Row, or of tuples (left, right[, condition])
        Sides as LaTeX or expressions.
    width : float
        Width available in points.
    end : str
        Punctuation after the last equation; the others end with a comma.

    Raises
    ------
    ValueError
        If there is no equation.
    """
    rows = [_row(item) for item in equations]
    if not rows:
        raise ValueError("a display needs at least one equation, got none")
    widths = [_width(row.left) for row in rows]
    column = max([w for w in widths if w <= _LONG_LEFT * width], default=0.0)
    printed: list[str] = []
    for position, row in enumerate(rows):
        broken = lines(row.left, row.tex, available=width, left_column=column)
        mark = end if position == len(rows) - 1 else ","
        broken = _with_condition(broken, row.condition, mark, width - column)
        printed += [rf"{line} \notag" for line in broken[:-1]] + broken[-1:]
    body = " \\\\\n".join(printed)
    return "\\begin{align}\n" + body + "\n\\end{align}"


def _row(item: Row | tuple) -> Row:
    if isinstance(item, Row):
        return item
    left, right, *rest = item
    if isinstance(left, Expr) and isinstance(right, Expr):
        left, right = latex_pair(left, right)
    return Row(latex(left) if isinstance(left, Expr) else left, right, *rest)


_width = width  # ``display`` has an argument of that name


def _with_condition(broken: list[str], condition: str, mark: str, room: float) -> list[str]:
    if not condition:
        return [*broken[:-1], broken[-1] + mark]
    last = broken[-1].split("&", 1)[-1]
    if _width(last) + _width(condition) + 3 * _QUAD <= room:
        return [*broken[:-1], rf"{broken[-1]}, \qquad {condition}{mark}"]
    return [*broken[:-1], broken[-1] + ",", rf"&\qquad {condition}{mark}"]
