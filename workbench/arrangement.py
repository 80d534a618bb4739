r"""All faces of an arrangement of hyperplanes through the origin, by their sign vectors, in integer arithmetic.

If the hyperplanes :math:`x_i \cdot u = 0` meet in the origin alone, every face is a pointed cone and has a ray on its boundary.  Rays are the
directions in which d - 1 independent hyperplanes meet, which are vectors of minors.  Near a ray v the faces are those of the
arrangement of the hyperplanes through v, one dimension lower: so all faces are the sign vectors of rays, with the zeros
filled in by the local faces.  Nothing is decided by rounding.

>>> sorted(faces([[1, 0], [0, 1]]).tolist())
[[-1, -1], [-1, 0], [-1, 1], [0, -1], [0, 1], [1, -1], [1, 0], [1, 1]]
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np

from workbench.errors import NotThere

__all__ = ["MAX_FACES", "faces", "independent_columns", "rays"]

#: More sign vectors than this, repetitions included, are not listed.
MAX_FACES = 16_000_000
#: Three signs of so many hyperplanes fit into a 64-bit number.
MAX_HYPERPLANES = 39

_Rows = Sequence[Sequence[int]]


def rays(vectors: _Rows) -> np.ndarray[Any, Any]:
    """Return the sign vectors of the rays, (number, n), each once.

    Parameters
    ----------
    vectors : rows of int
        Normals (n, d) of rank d, no two of them parallel, none 0.
    """
    count, size = len(vectors), len(vectors[0])
    normals = np.array(vectors, dtype=object)
    subsets = np.array(list(itertools.combinations(range(count), size - 1)), dtype=int).reshape(-1, size - 1)
    directions = _minors(normals, subsets)
    signs = np.sign(directions @ normals.T).astype(np.int8) if len(subsets) else np.zeros((0, count), np.int8)
    signs = signs[(signs != 0).any(axis=1)]
    return np.unique(np.concatenate([signs, -signs]), axis=0)


def _minors(normals: np.ndarray[Any, Any], subsets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return for each subset of d - 1 normals the vector orthogonal to them, by Laplace expansion; 0 if they are dependent."""
    size = normals.shape[1]
    known: dict[tuple[int, ...], Any] = {(): np.full(len(subsets), 1, dtype=object)}
    for row in range(size - 1):
        entries = normals[subsets[:, row]]
        fresh = {}
        for columns in itertools.combinations(range(size), row + 1):
            total = 0
            for place, column in enumerate(columns):
                rest = columns[:place] + columns[place + 1 :]
                total = total + (-1) ** (row + place) * entries[:, column] * known[rest]
            fresh[columns] = total
        known = fresh
    everything = tuple(range(size))
    return np.stack([(-1) ** j * known[everything[:j] + everything[j + 1 :]] for j in range(size)], axis=1)


def faces(vectors: _Rows) -> np.ndarray[Any, Any]:
    """Return the sign vectors of all faces but the origin, (number, n).

    Parameters
    ----------
    vectors : rows of int
        Normals (n, d) of rank d, no two of them parallel, none 0.

    Raises
    ------
    NotThere
        If there are too many.
    """
    count, size = len(vectors), len(vectors[0])
    if count > MAX_HYPERPLANES or 2 * comb(count, size - 1) * 3 ** (size - 1) > MAX_FACES:
        raise NotThere(
            f"{count} hyperplanes in {size} dimensions have too many faces to list; at most {MAX_HYPERPLANES} hyperplanes and "
            f"{MAX_FACES} sign vectors are. Take fewer samples or inputs"
        )
    weights = 3 ** np.arange(count, dtype=np.int64)
    groups: dict[tuple[int, ...], list[Any]] = defaultdict(list)
    for sign in rays(vectors):
        groups[tuple(np.flatnonzero(sign == 0).tolist())].append(sign)
    codes = []
    for zeros, members in groups.items():
        local = _local(vectors, zeros, size - 1)
        base = (np.array(members, dtype=np.int64) + 1) @ weights
        inside = local.astype(np.int64) @ weights[list(zeros)]
        codes.append(np.unique((base[:, None] + inside[None, :]).ravel()))
    found = np.unique(np.concatenate(codes))
    return np.stack([(found // w % 3 - 1).astype(np.int8) for w in weights], axis=1)


def _local(vectors: _Rows, zeros: tuple[int, ...], rank: int) -> np.ndarray[Any, Any]:
    """Return the sign vectors of all faces, the origin included, of the hyperplanes through a ray."""
    if len(zeros) == rank:  # independent: every sign vector occurs
        return np.array(list(itertools.product((-1, 0, 1), repeat=rank)), dtype=np.int8).reshape(
            3**rank, rank
        )
    rows = [vectors[i] for i in zeros]
    columns = independent_columns(rows)
    # Restricted to these columns the rows take the same values.
    found = faces([[row[c] for c in columns] for row in rows])
    return np.concatenate([found, np.zeros((1, len(zeros)), dtype=np.int8)])


def independent_columns(rows: _Rows) -> list[int]:
    """Return columns that form a basis of the column space, the first possible ones."""
    work, found, top = [list(row) for row in rows], [], 0
    for column in range(len(work[0])):
        pivot = next((i for i in range(top, len(work)) if work[i][column]), None)
        if pivot is None:
            continue
        work[top], work[pivot] = work[pivot], work[top]
        head = work[top]
        for i in range(top + 1, len(work)):
            factor = work[i][column]
            if factor:
                work[i] = [head[column] * u - factor * v for u, v in zip(work[i], head, strict=True)]
        found.append(column)
        top += 1
    return found
