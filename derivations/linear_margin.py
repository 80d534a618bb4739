r"""The hard margin of a linear classifier, exactly: weights, multipliers and margin of the support vector machine.

:math:`\min \lVert w\rVert^2/2` subject to :math:`y_i\, w \cdot x_i \ge 1` is convex, so its one KKT point is the minimum.  Some set A of support
vectors with linearly independent :math:`x_i` carries the multipliers, and then

.. math:: \sum_{j \in A} y_i y_j (x_i \cdot x_j) \lambda_j = 1 \ (i \in A), \qquad w = \sum_{i \in A} \lambda_i y_i x_i .

All such sets are tried in exact arithmetic.  The network problems refer to the margin :math:`\gamma = 1/\lVert w\rVert`: a deep linear network
of depth L reaches :math:`\gamma L^{-L/2}` on the unit sphere (Lyu, Li, arXiv:1906.05890, for the problem; arithmetic-geometric mean), and a
two-layer leaky ReLU network of slope alpha :math:`(1 + \alpha) \gamma / 4` on symmetric data (Lyu, Li, Wang, Arora, arXiv:2110.13905).

>>> found = linear_margin([[2, 1], [1, 1], [-1, 0]], [1, 1, -1])
>>> found.weights, found.multipliers, found.margin
((1, 0), (0, 0, 1), 1)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Add, Expr, Integer, Matrix, radsimp, sqrt

from derivations.exact_lp import exact_numbers, exact_sign, nonnegative_solution

__all__ = ["MAX_SETS", "LinearMargin", "linear_margin"]

#: More candidate sets of support vectors than this are not tried.
MAX_SETS = 50_000


@dataclass(frozen=True)
class LinearMargin:
    """The minimum: ``weights`` (d,), ``multipliers`` (n,) of one set of independent support vectors, ``margin`` 1/|w|."""

    weights: tuple[Expr, ...]
    multipliers: tuple[Expr, ...]
    margin: Expr


def linear_margin(x: Sequence[Sequence[Any]], y: Sequence[Any]) -> LinearMargin:
    """Return the exact hard-margin classifier without bias; a bias is a further input equal to 1.

    Parameters
    ----------
    x, y : nested lists of exact numbers
        (n, d), and (n,) with labels -1 and 1.

    Raises
    ------
    ValueError
        If shapes, labels or numbers do not fit, the data are not separable (the message gives the proof), or there are too
        many sets to try.
    """
    rows = [exact_numbers(row, "x") for row in x]
    labels = exact_numbers(y, "y")
    n, d = len(rows), len(rows[0]) if rows else 0
    if not rows or len(labels) != n or d == 0 or any(len(row) != d for row in rows):
        raise ValueError(
            f"x has {n} rows of lengths {sorted({len(row) for row in rows})} and y {len(labels)} entries; required are (n, d), (n,)"
        )
    if wrong := [u for u in labels if u not in (-1, 1)]:
        raise ValueError(f"labels must be -1 or 1, found {wrong[0]}")
    signed = [[label * u for u in row] for row, label in zip(rows, labels, strict=True)]
    _check_separable(signed)
    tried = 0
    for size in range(1, min(n, d) + 1):
        for chosen in itertools.combinations(range(n), size):
            tried += 1
            if tried > MAX_SETS:
                raise ValueError(f"more than {MAX_SETS} sets of support vectors; use fewer samples or inputs")
            if (found := _candidate(signed, chosen)) is not None:
                return found
    raise AssertionError("a separable problem has a minimum with independent support vectors")


def _check_separable(signed: list[list[Expr]]) -> None:
    """Farkas: either w with y_i w . x_i >= 1 exists, or the y_i x_i have a convex combination 0."""
    rows = [list(column) for column in zip(*signed, strict=True)]
    rows.append([Integer(1)] * len(signed))
    found = nonnegative_solution(rows, [Integer(0)] * (len(rows) - 1) + [Integer(1)]).solution
    if found is not None:
        raise ValueError(
            f"the data are not linearly separable: the y_i x_i have the convex combination 0 with weights {found}; add inputs or "
            "use another model"
        )


def _candidate(signed: list[list[Expr]], chosen: tuple[int, ...]) -> LinearMargin | None:
    vectors = Matrix([signed[i] for i in chosen])
    gram = vectors * vectors.T
    if exact_sign(gram.det()) == 0:
        return None
    part = [radsimp(u) for u in gram.LUsolve(Matrix([1] * len(chosen)))]
    if any(exact_sign(u) < 0 for u in part):
        return None
    size = len(signed[0])
    weights = tuple(
        radsimp(Add(*[u * signed[i][j] for u, i in zip(part, chosen, strict=True)])) for j in range(size)
    )
    for row in signed:
        if exact_sign(radsimp(Add(*[u * v for u, v in zip(row, weights, strict=True)])) - 1) < 0:
            return None
    multipliers: list[Expr] = [Integer(0)] * len(signed)
    for u, i in zip(part, chosen, strict=True):
        multipliers[i] = u
    margin = radsimp(1 / sqrt(Add(*[u**2 for u in weights])))
    return LinearMargin(weights, tuple(multipliers), margin)
