r"""Strict linear inequalities together with equations, decided exactly.

If the equations and the weak inequalities have a solution, and each strict inequality alone can be met beside them, the mean of
these solutions meets all of them.  One strict inequality is met iff it can be given the value 1 once the right-hand side may be scaled
by some t >= 0: for t > 0 the solution is divided by t, for t = 0 it is a direction along which the solutions go to infinity.

>>> one, zero = Integer(1), Integer(0)
>>> strict_solution([[one, one]], [one], [[one, zero], [zero, one]], 2)
[1/2, 1/2]
>>> strict_solution([[one, one]], [zero], [[one, zero], [zero, one]], 2)
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer

from derivations.exact_lp import exact_sign, nonnegative_solution

__all__ = ["strict_solution"]

_ZERO, _ONE = Integer(0), Integer(1)
_Vector = list[Expr]


def strict_solution(
    rows: Sequence[_Vector], right: Sequence[Expr], signs: Sequence[_Vector], size: int
) -> _Vector | None:
    """Return v with ``rows v = right`` and all ``signs v > 0``, or None."""
    if not size:
        return None if any(exact_sign(u.expand()) for u in right) else []

    def solved(
        equations: Sequence[_Vector], values: Sequence[Expr], scaled: bool
    ) -> tuple[_Vector, Expr] | None:
        """Solve with signs v >= 0; ``scaled`` also by a factor t >= 0 of the right-hand side in the last column."""
        slack = len(signs)
        matrix = []
        for equation in equations:
            head, tail = equation[:size], equation[size:]
            matrix.append([*head, *[-u for u in head], *[_ZERO] * slack, *(tail if scaled else [])])
        for k, row in enumerate(signs):
            extra = [-_ONE if p == k else _ZERO for p in range(slack)]
            matrix.append([*row, *[-u for u in row], *extra, *([_ZERO] if scaled else [])])
        found = nonnegative_solution(matrix, [*values, *[_ZERO] * slack]).solution
        if found is None:
            return None
        point = [found[p] - found[size + p] for p in range(size)]
        return point, found[-1] if scaled else _ONE

    start = solved(rows, right, False)
    if start is None:
        return None
    points = [start[0]]
    for row in signs:
        if any(exact_sign(_dot(row, p)) > 0 for p in points):
            continue
        equations = [*[[*u, -v] for u, v in zip(rows, right, strict=True)], [*row, _ZERO]]
        found = solved(equations, [*[_ZERO] * len(rows), _ONE], True)
        if found is None:
            return None
        direction, factor = found
        if exact_sign(factor) > 0:
            points.append([u / factor for u in direction])
        else:  # along which the set goes to infinity
            points.append([u + v for u, v in zip(points[0], direction, strict=True)])
    return [(sum((p[k] for p in points), _ZERO) / len(points)).expand() for k in range(size)]


def _dot(u: Sequence[Expr], v: Sequence[Expr]) -> Expr:
    return sum((s * t for s, t in zip(u, v, strict=True)), _ZERO).expand()
