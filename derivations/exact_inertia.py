r"""The numbers of negative, zero and positive eigenvalues of a symmetric matrix of polynomials at a point, exactly.

All roots of the characteristic polynomial :math:`\sum_k c_k \lambda^{p-k}` are real, so by Descartes' rule the number of positive ones is
the number of sign changes in :math:`c_0, \dots, c_p`, without tolerance; the zeros at its end count the eigenvalue zero.  The
coefficients are enclosed in interval arithmetic until their signs show; that one vanishes is decided in the field of the point.

>>> from sympy import QQ, ring
>>> from derivations.algebraic_points import Conjugates
>>> T, t = ring("t", QQ)
>>> R, x, y = ring("x,y", QQ)
>>> low, high = Conjugates(t**2 - 2, (t, t)).real_points()
>>> exact_inertia(high, [[x, y], [y, x]]), exact_inertia(low, [[x, R.zero], [R.zero, y]])
((0, 1, 1), (2, 0, 0))
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from sympy.polys.rings import PolyElement

from derivations.algebraic_points import AlgebraicPoint
from derivations.polynomial_boxes import BoxPoint, signs

__all__ = ["exact_inertia", "exact_rank"]

_FIRST_BITS, _EXACT_BITS, _MOST_BITS = 64, 128, 2**14


def exact_inertia(
    point: AlgebraicPoint | BoxPoint, matrix: Sequence[Sequence[PolyElement]]
) -> tuple[int, int, int]:
    """Return the numbers of negative, zero and positive eigenvalues.

    Raises
    ------
    ArithmeticError
        If a sign does not show at the largest precision.
    """
    size, bits = len(matrix), _FIRST_BITS
    zero: frozenset[int] = frozenset()
    while True:
        entries = [[point.enclosure(u, bits) for u in row] for row in matrix]
        found = [signs(c) for c in _characteristic(entries)]
        last = max(k for k, s in enumerate(found) if s)  # c_0 = 1
        if bits >= _EXACT_BITS and last < size and not zero and isinstance(point, AlgebraicPoint):
            zero = _vanishing(point, matrix)
        if all(k in zero for k in range(last + 1, size + 1)) and _settled(found[: last + 1], zero):
            shown = [s for s in found[: last + 1] if s]
            positive = sum(a != b for a, b in itertools.pairwise(shown))
            return last - positive, size - last, positive
        bits *= 2
        if bits > _MOST_BITS:
            raise ArithmeticError(f"the signs of the Hessian do not show with {_MOST_BITS} bits")


def _settled(found: Sequence[int], zero: frozenset[int]) -> bool:
    """Whether the sign changes are known: an open sign between opposite ones does not matter."""
    for k, s in enumerate(found):
        if s == 0 and k not in zero and found[k - 1] * found[k + 1] != -1:
            return False
    return True


def _characteristic(entries: Sequence[Sequence[Any]]) -> list[Any]:
    """Return c_0 = 1, c_1, ..., by Faddeev and LeVerrier."""
    size = len(entries)
    one = entries[0][0] * 0 + 1
    out, power = [one], [[one if i == j else one * 0 for j in range(size)] for i in range(size)]
    for k in range(1, size + 1):
        power = [
            [sum((entries[i][l] * power[l][j] for l in range(size)), one * 0) for j in range(size)]
            for i in range(size)
        ]
        c = -sum((power[i][i] for i in range(size)), one * 0) / k
        out.append(c)
        for i in range(size):
            power[i][i] = power[i][i] + c
    return out


def _vanishing(point: AlgebraicPoint, matrix: Sequence[Sequence[PolyElement]]) -> frozenset[int]:
    """Return the k for which c_k vanishes, by the same recursion modulo the minimal polynomial."""
    family, size = point.family, len(matrix)
    entries = [[family.residue(u) for u in row] for row in matrix]
    one = family.minimal.ring.one
    zero, power = set(), [[one if i == j else one * 0 for j in range(size)] for i in range(size)]
    for k in range(1, size + 1):
        power = [
            [
                sum((entries[i][l] * power[l][j] for l in range(size)), one * 0).rem(family.minimal)
                for j in range(size)
            ]
            for i in range(size)
        ]
        c = sum((power[i][i] for i in range(size)), one * 0) * family.minimal.ring.domain(-1, k)
        if not c:
            zero.add(k)
        for i in range(size):
            power[i][i] = power[i][i] + c
    return frozenset(zero)


def exact_rank(point: AlgebraicPoint, rows: Sequence[Sequence[PolyElement]]) -> int:
    """Return the rank of a matrix of polynomials at a point: that of its Gram matrix, which has no negative eigenvalue."""
    if not rows:
        return 0
    columns = range(len(rows[0]))
    gram = [[sum((r[i] * r[j] for r in rows), rows[0][0] * 0) for j in columns] for i in columns]
    return exact_inertia(point, gram)[2]
