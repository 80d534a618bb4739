r"""Matrices of Arb balls: signs of eigenvalues, kernels of known dimension, and the inertia of a singular Hessian.

A zero eigenvalue can never be read off an enclosure.  It is known where the kernel is: if the q columns of Z are linearly
independent and :math:`H Z = 0`, then in the splitting into the span of Z and its complement

.. math::
    \begin{pmatrix} H & Z \\ Z^\top & 0 \end{pmatrix} \sim H|_{Z^\perp} \oplus
    \begin{pmatrix} 0 & S \\ S^\top & 0 \end{pmatrix}, \qquad S \text{ regular},

so the bordered matrix has the inertia :math:`(n_- + q,\; n_0 - q,\; n_+ + q)`.  Where it is shown to be regular, the kernel of H is the
span of Z and nothing more.

>>> signs([[flint.arb(2), flint.arb(1)], [flint.arb(1), flint.arb(-3)]])
(1, 1)
>>> one, zero = flint.arb(1), flint.arb(0)
>>> bordered_signs([[one, -one, zero], [-one, one, zero], [zero, zero, -one]], [[one, one, zero]])
(1, 1, 1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flint
import torch

__all__ = ["NotCertified", "bordered_signs", "kernel", "signs"]

Ball = Any
Rows = Sequence[Sequence[Ball]]


class NotCertified(Exception):
    """The hypotheses of a theorem could not be shown on balls; the message says which."""


def signs(rows: Sequence[Sequence[Ball]]) -> tuple[int, int]:
    r"""Return the numbers of negative and positive eigenvalues of every symmetric matrix in an interval matrix.

    With Q the eigenvectors of the middle in float64, :math:`T = Q^\top H Q` is nearly diagonal.  If
    :math:`\sum_{j \ne i} \lvert T_{ij}\rvert / \sqrt{\lvert T_{ii} T_{jj}\rvert} < 1` for every i, no disc of Gershgorin of the scaled matrix
    holds 0, so T is regular and has the signs of its diagonal; hence Q is regular too, and H has them by Sylvester's law.

    Raises
    ------
    NotCertified
        If that does not hold: an eigenvalue is zero or too close to it.
    """
    count = len(rows)
    if not count:
        return 0, 0
    middle = [[float(u.mid()) for u in row] for row in rows]
    if not all(math.isfinite(u) for row in middle for u in row):
        raise NotCertified("the Hessian has no finite enclosure")
    basis = flint.arb_mat(torch.linalg.eigh(torch.tensor(middle, dtype=torch.float64))[1].tolist())
    turned = basis.transpose() * flint.arb_mat([list(row) for row in rows]) * basis
    size = [turned[i, i].abs_lower().sqrt() for i in range(count)]
    for i in range(count):
        others = sum(
            (turned[i, j].abs_upper() / (size[i] * size[j]) for j in range(count) if j != i), flint.arb(0)
        )
        if not (size[i] > 0 and others < 1):
            raise NotCertified("an eigenvalue of the Hessian is too close to zero for its sign to be shown")
    negative = sum(bool(turned[i, i] < 0) for i in range(count))
    return negative, count - negative


def bordered_signs(rows: Rows, kernel_vectors: Rows) -> tuple[int, int, int]:
    """Return the inertia (negative, zero, positive) of a symmetric matrix whose kernel holds the given vectors.

    Parameters
    ----------
    rows : (P, P) balls
        Enclosure of the matrix.
    kernel_vectors : q vectors of P balls
        Enclosures of vectors that are in the kernel exactly, which is not checked here.

    Raises
    ------
    NotCertified
        If the bordered matrix is not shown to be regular: the vectors are dependent, there are more zeros, or an
        eigenvalue is too close to zero.
    """
    count, zero = len(kernel_vectors), flint.arb(0)
    top = [[*row, *(vector[i] for vector in kernel_vectors)] for i, row in enumerate(rows)]
    bottom = [[*vector, *[zero] * count] for vector in kernel_vectors]
    negative, positive = signs([*top, *bottom])
    return negative - count, count, positive - count


def kernel(rows: Rows, columns: int, rank: int) -> list[list[Ball]]:
    r"""Return a basis of the kernel of a matrix (p, columns) that is known to have at most rank r.

    With r rows and r columns whose minor is regular, which is shown, the rank is r, all other rows depend on these, and the
    kernel is :math:`x_{pivots} = -A^{-1} A_{rest}\, x_{rest}`.

    Raises
    ------
    NotCertified
        If no such minor is shown to be regular.
    """
    one, zero = flint.arb(1), flint.arb(0)
    chosen, pivots = _pivots(rows, rank)
    free = [j for j in range(columns) if j not in pivots]
    basis = [[one if j == column else zero for j in range(columns)] for column in free]
    if not rank or not free:
        return basis
    square = flint.arb_mat([[rows[i][j] for j in pivots] for i in chosen])
    try:
        found = square.solve(flint.arb_mat([[-rows[i][j] for j in free] for i in chosen]))
    except ZeroDivisionError:
        raise NotCertified(f"a matrix is not shown to have rank {rank}") from None
    for position, vector in enumerate(basis):
        for place, column in enumerate(pivots):
            vector[column] = found[place, position]
    return basis


def _pivots(rows: Rows, rank: int) -> tuple[list[int], list[int]]:
    """Choose rows and columns by elimination with complete pivoting, in float64."""
    rest = torch.tensor([[float(u.mid()) for u in row] for row in rows], dtype=torch.float64)
    chosen: list[int] = []
    pivots: list[int] = []
    for _ in range(rank):
        place = int(rest.abs().argmax())
        i, j = divmod(place, rest.shape[1])
        chosen.append(i)
        pivots.append(j)
        if float(rest[i, j]) == 0:
            raise NotCertified(f"a matrix is not shown to have rank {rank}")
        rest = rest - torch.outer(rest[:, j], rest[i]) / rest[i, j]
        rest[i], rest[:, j] = 0, 0
    return chosen, pivots
