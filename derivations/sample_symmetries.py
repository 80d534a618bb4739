r"""Symmetries of the data: maps of inputs and targets that permute the samples, and with them the critical points of a network.

Let :math:`x \mapsto S x + t`, with a signed permutation S of the coordinates, and :math:`y \mapsto T y + s`, with one of the outputs, map the list
of samples onto itself, repeats counted.  A network with first weights W, biases b, last weights A and output bias c has the image

.. math:: W' = W S^\top, \quad b' = b - W' t, \quad A' = T A, \quad c' = T c + s,

for which :math:`f_{\theta'}(S x + t) = T f_\theta(x) + s`.  If :math:`\ell(T f + s, T y + s) = \ell(f, y)`, summed over the outputs, the risk of both is
the same, and so are the critical points up to this map.  With weight decay only t = 0 and s = 0 keep the norm.

All signed permutations of a few coordinates are tried against the exact data, with the only t and s that keep the means.  Other linear
maps, rotations by other angles among them, are not looked for.

>>> from sympy import Integer, Rational
>>> from derivations.problem import Problem
>>> x, y = [[Integer(-1)], [Integer(1)]], [[Rational(-1, 3)], [Rational(1, 3)]]
>>> [s.words for s in sample_symmetries(Problem.two_layer("gelu", "square"), x, y)]
['x -> -x, y -> -y']
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product
from typing import Any

from sympy import Expr, Integer, expand, simplify

from derivations.decide import identically_zero
from derivations.interval import IntervalProblem
from derivations.losses import F, Loss, Y
from derivations.problem import Problem

__all__ = ["SampleSymmetry", "interval_symmetries", "sample_symmetries"]

#: Signed permutations of the inputs and of the outputs that are tried at most (4 coordinates have 384).
MOST_TRIED = 384
#: Two sorted columns that differ by more than this, relative to their size, are not the same numbers.
CLEARLY = 1e-9


@dataclass(frozen=True)
class SampleSymmetry:
    r"""Coordinate j of the image of x is ``signs[j] * x[order[j]] + shift[j]``; the same with ``out_`` for y."""

    order: tuple[int, ...]
    signs: tuple[int, ...]
    shift: tuple[Expr, ...]
    out_order: tuple[int, ...]
    out_signs: tuple[int, ...]
    out_shift: tuple[Expr, ...]

    @property
    def words(self) -> str:
        """The map as text, coordinates from 1: ``x1 -> x2, x2 -> -x1, y -> -y``."""
        parts = [*_moved("x", self.order, self.signs, self.shift)]
        parts += _moved("y", self.out_order, self.out_signs, self.out_shift)
        return ", ".join(parts)


def sample_symmetries(
    problem: Problem, x: Sequence[Sequence[Expr]], y: Sequence[Sequence[Expr]]
) -> tuple[SampleSymmetry, ...]:
    """Return the maps, other than the identity, that permute samples (n, d), (n, o) and keep the risk of a network.

    Assumptions
    -----------
    network : two_layer or deep; of other models nothing is returned
    loss : its identity under the map of the outputs is proved, not sampled
    frozen blocks : maps that would move one are left out

    Parameters
    ----------
    problem : Problem
        With concrete loss.
    x, y : nested sequences of Expr
        Exact samples.
    """
    if not isinstance(problem, Problem) or problem.kind not in ("two_layer", "deep") or problem.loss is None:
        return ()
    rows, targets = [_exact(row) for row in x], [_exact(row) for row in y]
    pairs = Counter(zip(rows, targets, strict=True))
    inputs = list(_candidates(rows, problem.input_bias and problem.weight_decay == 0))
    outputs = [
        u
        for u in _candidates(targets, problem.output_bias and problem.weight_decay == 0)
        if _kept(problem.loss, u)
    ]
    found = []
    for first in inputs:
        moved = [_image(row, first) for row in rows]
        for last in outputs:
            image = Counter(zip(moved, (_image(row, last) for row in targets), strict=True))
            if image == pairs and not (_identity(first) and _identity(last)):
                found.append(_symmetry(first, last))
    return tuple(s for s in found if not _moves_frozen(problem, s))


def interval_symmetries(interval: IntervalProblem) -> tuple[SampleSymmetry, ...]:
    r"""Return the reflection of the interval, with :math:`y \mapsto \pm y + s`, where it is shown to keep the risk."""
    problem, middle = interval.problem, interval.lower + interval.upper
    shifts, loss = problem.weight_decay == 0, problem.loss
    if loss is None or (expand(middle) != 0 and not (problem.input_bias and shifts)):
        return ()
    found = []
    for sign in (1, -1):
        reflected = interval.target.subs(interval.x, middle - interval.x)
        rest = simplify(interval.target - sign * reflected)
        if rest.has(interval.x) or (rest != 0 and not (problem.output_bias and shifts)):
            continue
        last = ((0,), (sign,), (rest,))
        if _kept(loss, last):
            found.append(_symmetry(((0,), (-1,), (expand(middle),)), last))
    return tuple(s for s in found if not _moves_frozen(problem, s))


_Map = tuple[tuple[int, ...], tuple[int, ...], tuple[Any, ...]]


def _symmetry(first: _Map, last: _Map) -> SampleSymmetry:
    exact = [tuple(_expr(u) for u in part[2]) for part in (first, last)]
    return SampleSymmetry(first[0], first[1], exact[0], last[0], last[1], exact[1])


def _candidates(rows: Sequence[tuple[Any, ...]], shifts: bool) -> Iterator[_Map]:
    """Yield signed permutations with a shift that keep the list of rows; the identity is one of them."""
    size, known = len(rows[0]), Counter(rows)
    plain = tuple(range(size))
    every: Iterator[tuple[tuple[int, ...], tuple[int, ...]]] = (
        (order, signs) for order in permutations(plain) for signs in product((1, -1), repeat=size)
    )
    if math.factorial(size) * 2**size > MOST_TRIED:
        every = iter([(plain, (1,) * size), (plain, (-1,) * size)])
    fits = _Columns(rows, shifts)
    for order, signs in every:
        if all(fits(j, k, s) for j, (k, s) in enumerate(zip(order, signs, strict=True))):
            candidate = (
                order,
                signs,
                tuple(fits.shift(j, k, s) for j, (k, s) in enumerate(zip(order, signs, strict=True))),
            )
            if Counter(_image(row, candidate) for row in rows) == known:
                yield candidate


class _Columns:
    """Which column is another one up to sign and shift, told by floating point: what does not fit by far is left out."""

    def __init__(self, rows: Sequence[tuple[Any, ...]], shifts: bool) -> None:
        self.shifts, self.count = shifts, len(rows)
        self.total = [sum(column) for column in zip(*rows, strict=True)]
        self.columns = [sorted(float(u) for u in column) for column in zip(*rows, strict=True)]
        self.known: dict[tuple[int, int, int], bool] = {}

    def shift(self, j: int, k: int, sign: int) -> Any:
        """Return what is added so that the means agree."""
        return _reduced((self.total[j] - sign * self.total[k]) / self.count)

    def __call__(self, j: int, k: int, sign: int) -> bool:
        """Whether column j may be ``sign`` times column k plus the shift."""
        if (j, k, sign) not in self.known:
            t = self.shift(j, k, sign)
            image = sorted(sign * u + float(t) for u in self.columns[k])
            size = CLEARLY * (1 + max(abs(u) for u in self.columns[j]))
            near = all(abs(u - v) <= size for u, v in zip(image, self.columns[j], strict=True))
            self.known[j, k, sign] = near and (t == 0 or self.shifts)
        return self.known[j, k, sign]


def _image(row: tuple[Any, ...], by: _Map) -> tuple[Any, ...]:
    return tuple(_reduced(s * row[k] + t) for k, s, t in zip(*by, strict=True))


def _exact(row: Sequence[Expr]) -> tuple[Any, ...]:
    """Turn rational numbers into fractions, which are compared fast; other numbers stay as they are."""
    return tuple(Fraction(int(u.p), int(u.q)) if u.is_Rational else expand(u) for u in row)  # type: ignore[attr-defined]


def _reduced(value: Any) -> Any:
    if isinstance(value, Fraction):
        return value
    value = expand(value)
    return Fraction(int(value.p), int(value.q)) if value.is_Rational else value


def _expr(value: Any) -> Expr:
    return Integer(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _identity(by: _Map) -> bool:
    order, signs, shift = by
    return order == tuple(range(len(order))) and all(s == 1 for s in signs) and not any(shift)


def _kept(loss: Loss, by: _Map) -> bool:
    """Whether the loss, summed over outputs, is shown to be kept by a map of outputs and targets."""
    return all(
        _same(loss, sign, _expr(shift)) for sign, shift in {(s, t) for s, t in zip(by[1], by[2], strict=True)}
    )


def _same(loss: Loss, sign: int, shift: Expr) -> bool:
    if sign == 1 and shift == 0:
        return True
    image = loss.expr.subs({F: sign * F + shift, Y: sign * Y + shift}, simultaneous=True)
    difference = image - loss.expr
    return expand(difference) == 0 or identically_zero(difference, F).proved


def _moves_frozen(problem: Problem, symmetry: SampleSymmetry) -> bool:
    frozen, deep = set(problem.freeze), problem.kind == "deep"
    first = {"W1"} if deep else {"w"}
    last = {f"W{problem.depth}"} if deep else {"a"}
    moved: set[str] = set()
    turned = symmetry.signs != (1,) * len(symmetry.signs) or symmetry.order != tuple(
        range(len(symmetry.order))
    )
    if turned:
        moved |= first
    if any(u != 0 for u in symmetry.shift):
        moved |= {"b1" if deep else "b"}
    swapped = symmetry.out_signs != (1,) * len(symmetry.out_signs)
    if swapped or symmetry.out_order != tuple(range(len(symmetry.out_order))):
        moved |= last | {f"b{problem.depth}" if deep else "c"}
    if any(u != 0 for u in symmetry.out_shift):
        moved |= {f"b{problem.depth}" if deep else "c"}
    return bool(frozen & moved)


def _moved(name: str, order: Sequence[int], signs: Sequence[int], shift: Sequence[Expr]) -> Iterator[str]:
    names = [name] if len(order) == 1 else [f"{name}{j + 1}" for j in range(len(order))]
    for j, (k, sign, t) in enumerate(zip(order, signs, shift, strict=True)):
        if k != j or sign != 1 or t != 0:
            image = f"{'-' if sign < 0 else ''}{names[k]}"
            plus = "" if t == 0 else f" + {t}" if not str(t).startswith("-") else f" - {-t}"
            yield f"{names[j]} -> {image}{plus}"
