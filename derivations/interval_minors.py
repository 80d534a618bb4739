r"""Determinants of small matrices in interval arithmetic: what is shown not to be 0 is not 0.

Entries are enclosures of exact numbers with 60 digits.  A matrix has full rank if the determinant of its smaller Gram matrix is enclosed
away from 0.

>>> from sympy import Integer, exp
>>> rows = [[enclosed(exp(u)), enclosed(Integer(u))] for u in (1, 2)]
>>> full_rank(rows), full_rank([rows[0], rows[0]])
(True, None)
"""

from __future__ import annotations

from typing import Any

from mpmath.ctx_iv import MPIntervalContext
from mpmath.libmp import to_str
from sympy import Expr, Float
from sympy.core.evalf import PrecisionExhausted

from derivations.claim import Status
from derivations.decide import is_zero
from derivations.errors import AssumptionError

__all__ = [
    "BALLS",
    "Rows",
    "complement",
    "determinant",
    "enclosed",
    "full_rank",
    "gram",
    "middle",
    "transposed",
]

#: Digits of the numbers and bits of the interval arithmetic.
DIGITS = 60
BALLS = MPIntervalContext()
BALLS.prec = 240

Rows = list[list[Any]]


def enclosed(value: Expr) -> Any:
    """Return an interval that holds an exact number, from an evaluation whose error SymPy keeps track of."""
    if value.is_Rational:
        return BALLS.mpf(int(value.p)) / int(value.q)
    try:
        found = value.evalf(DIGITS, strict=True)
    except PrecisionExhausted as error:
        if is_zero(value) is Status.PROVED:
            return BALLS.mpf(0)
        raise AssumptionError(f"{value} could not be evaluated to {DIGITS} digits; move a sample") from error
    middle = BALLS.mpf(str(found))
    return middle + (abs(middle) + 1) * BALLS.mpf(10) ** (5 - DIGITS) * BALLS.mpf([-1, 1])


def middle(value: Any) -> Expr:
    """Return the midpoint as a number of 30 digits."""
    return Float(to_str(value.mid._mpi_[0], 35), 30)


def transposed(rows: Rows) -> Rows:
    """Return the transposed matrix."""
    return [list(column) for column in zip(*rows, strict=True)]


def gram(rows: Rows) -> Rows:
    """Return the Gram matrix of the columns."""
    columns = transposed(rows)
    return [[sum((u * v for u, v in zip(p, q, strict=True)), BALLS.mpf(0)) for q in columns] for p in columns]


def determinant(rows: Rows) -> Any:
    """Return an interval with the determinant; the whole line where a pivot before the last is not certain."""
    left, total = [list(row) for row in rows], BALLS.mpf(1)
    for k in range(len(left)):
        pivot = max(range(k, len(left)), key=lambda j: abs(left[j][k]).a)
        if 0 in left[pivot][k] and k < len(left) - 1:
            return BALLS.mpf(["-inf", "inf"])
        if pivot != k:
            left[k], left[pivot], total = left[pivot], left[k], -total
        total *= left[k][k]
        for j in range(k + 1, len(left)):
            factor = left[j][k] / left[k][k]
            left[j] = [u - factor * v for u, v in zip(left[j], left[k], strict=True)]
    return total


def complement(rows: Rows) -> list[Any]:
    """Return the vector orthogonal to the columns of a matrix with one row more than columns, by its minors."""
    return [(-1) ** i * determinant(rows[:i] + rows[i + 1 :]) for i in range(len(rows))]


def full_rank(rows: Rows) -> bool | None:
    """Return True where a matrix is shown to have the rank of its smaller side, None where this is open."""
    smaller = gram(rows) if len(rows) > len(rows[0]) else gram(transposed(rows))
    return True if 0 not in determinant(smaller) else None
