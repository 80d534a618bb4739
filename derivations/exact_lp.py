r"""Exact decisions about linear inequalities: signs of algebraic numbers, feasibility, cells of an arrangement.

Whether ``A x = b`` has a solution ``x >= 0`` is decided by the first phase of the simplex method in exact arithmetic.
Either the solution or the certificate of Farkas' lemma is returned,

.. math:: A x = b,\ x \ge 0 \qquad\text{or}\qquad y^\top A \le 0,\ y^\top b > 0,

and exactly one of the two exists, so each answer is its own proof.  Bland's rule excludes cycling.

Numbers are rational, or algebraic such as :math:`\sqrt2`: then the arithmetic is that of one number field, where zero is
recognised exactly, and the sign of what is not zero is read off an enclosure.  Work grows with the number of pivots;
meant for tens of rows and a few hundred columns.

>>> from sympy import Integer, sqrt
>>> one = Integer(1)
>>> nonnegative_solution([[one, sqrt(2)], [one, -one]], [one, 0 * one]).solution
(-1 + sqrt(2), -1 + sqrt(2))
>>> nonnegative_solution([[one, one]], [-one]).certificate
(-1,)
>>> sign_patterns([[one, 0 * one], [-2 * one, 0 * one]])
((1, -1), (-1, 1))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sympy import Add, Expr, Float, Integer, Rational, sympify
from sympy.polys.constructor import construct_domain

__all__ = [
    "MAX_PATTERNS",
    "Alternative",
    "exact_numbers",
    "exact_sign",
    "nonnegative_solution",
    "sign_patterns",
]

#: More cells than this are not enumerated.
MAX_PATTERNS = 4096

_DIGITS, _MOST_DIGITS = 30, 20000


@dataclass(frozen=True)
class Alternative:
    """Farkas' lemma: ``solution`` x >= 0 of A x = b, or else ``certificate`` y with y A <= 0 and y b > 0."""

    solution: tuple[Expr, ...] | None
    certificate: tuple[Expr, ...] | None


def exact_numbers(values: Iterable[Any], what: str = "the data") -> tuple[Expr, ...]:
    """Return the values as exact real algebraic numbers.

    Raises
    ------
    ValueError
        If one is a float, a symbol, complex or transcendental.
    """
    out = []
    for value in values:
        try:
            number = sympify(value, strict=True)
        except (TypeError, ValueError, AttributeError):
            number = None
        exact = isinstance(number, Expr) and not number.has(Float) and not number.free_symbols
        if not exact or not (number.is_Rational or (number.is_real and number.is_algebraic)):
            raise ValueError(
                f"{what}: found {value!r}; exact real numbers are required, integers, Rational(1, 3) or sqrt(2)"
            )
        out.append(number)
    return tuple(out)


def exact_sign(value: Expr) -> int:
    """Return -1, 0 or 1, the sign of a real algebraic number, decided exactly.

    >>> from sympy import sqrt
    >>> exact_sign(sqrt(2) + sqrt(3) - sqrt(5 + 2 * sqrt(6))), exact_sign(sqrt(2) - Rational(141421356, 10**8))
    (0, 1)
    """
    if value.is_Rational:
        return (value.p > 0) - (value.p < 0)
    rounded = value.evalf(_DIGITS)
    if rounded.is_Float and rounded._prec > 1 and abs(rounded) > Rational(1, 10**15):
        return 1 if rounded > 0 else -1
    return _Field([value]).sign_of(value)


class _Field:
    """An ordered number field that contains the given numbers; rationals are Python fractions, which are fastest."""

    def __init__(self, numbers: Sequence[Expr]) -> None:
        self.rational = all(u.is_Rational for u in numbers)
        if not self.rational:
            self.domain, _ = construct_domain(list(numbers), extension=True)
            if not (self.domain.is_QQ or self.domain.is_ZZ or self.domain.is_AlgebraicField):
                raise ValueError(f"numbers are not algebraic: {sorted({str(u) for u in numbers})}")
            if self.domain.is_QQ or self.domain.is_ZZ:
                self.domain = self.domain.get_field()

    def convert(self, value: Expr) -> Any:
        """Return the element of the field."""
        return Fraction(int(value.p), int(value.q)) if self.rational else self.domain.from_sympy(value)

    def back(self, element: Any) -> Expr:
        """Return the element as a SymPy number."""
        if self.rational:
            return Rational(element.numerator, element.denominator)
        return self.domain.to_sympy(element)

    def sign(self, element: Any) -> int:
        """Return the sign of an element; zero is recognised by its representation."""
        if self.rational:
            return (element > 0) - (element < 0)
        if not element:
            return 0
        value = self.domain.to_sympy(element)
        if value.is_Rational:
            return 1 if value > 0 else -1
        # Not zero, so the enclosure separates it from zero at some precision.
        return 1 if value.evalf(_DIGITS, maxn=_MOST_DIGITS) > 0 else -1

    def sign_of(self, value: Expr) -> int:
        """Return the sign of a number of the field."""
        return self.sign(self.convert(value))


def nonnegative_solution(matrix: Sequence[Sequence[Expr]], right: Sequence[Expr]) -> Alternative:
    """Solve ``A x = b`` in ``x >= 0``, or prove that there is no solution.

    Parameters
    ----------
    matrix : rows of numbers
        (rows, columns), exact.
    right : numbers
        (rows,), exact.

    Returns
    -------
    Alternative
        A basic solution (at most as many non-zero entries as rows), or the certificate.

    Raises
    ------
    ValueError
        If the rows differ in length, or their number is not that of the right-hand sides.
    """
    columns = len(matrix[0]) if matrix else 0
    if not matrix or len(matrix) != len(right) or any(len(row) != columns for row in matrix):
        raise ValueError(
            f"{len(matrix)} rows of lengths {[len(row) for row in matrix]} and {len(right)} right-hand sides: give "
            "one right-hand side for each row, and rows of one length"
        )
    field = _Field([*(u for row in matrix for u in row), *right])
    zero, one = field.convert(Integer(0)), field.convert(Integer(1))
    rows, signs = len(matrix), []
    tableau = []
    for position, (row, value) in enumerate(zip(matrix, right, strict=True)):
        sign = -1 if field.sign_of(value) < 0 else 1
        signs.append(sign)
        artificial = [one if j == position else zero for j in range(rows)]
        tableau.append([*(field.convert(sign * u) for u in row), *artificial, field.convert(sign * value)])
    # Reduced costs of the sum of the artificial variables; its value stands last, with the opposite sign.
    cost = [-sum((row[j] for row in tableau), zero) for j in range(columns)] + [zero] * rows
    cost.append(-sum((row[-1] for row in tableau), zero))
    basis = list(range(columns, columns + rows))
    while True:
        entering = next((j for j in range(columns) if field.sign(cost[j]) < 0), None)
        if entering is None:
            break
        leaving = _leaving(field, tableau, basis, entering)
        _pivot(tableau, cost, leaving, entering)
        basis[leaving] = entering
    if field.sign(cost[-1]) != 0:
        dual = [field.back(one - cost[columns + i]) * signs[i] for i in range(rows)]
        return Alternative(None, tuple(dual))
    solution = [Integer(0)] * columns
    for position, variable in enumerate(basis):
        if variable < columns:
            solution[variable] = field.back(tableau[position][-1])
    return Alternative(tuple(solution), None)


def _leaving(field: _Field, tableau: list[list[Any]], basis: list[int], entering: int) -> int:
    """Return the row of the smallest ratio; the smallest variable among equals (Bland)."""
    best = -1
    for i, row in enumerate(tableau):
        if field.sign(row[entering]) > 0:
            if best < 0:
                best = i
                continue
            gap = field.sign(row[-1] * tableau[best][entering] - tableau[best][-1] * row[entering])
            if gap < 0 or (gap == 0 and basis[i] < basis[best]):
                best = i
    assert best >= 0  # the sum of the artificial variables is bounded below by 0
    return best


def _pivot(tableau: list[list[Any]], cost: list[Any], leaving: int, entering: int) -> None:
    pivot = tableau[leaving][entering]
    tableau[leaving] = [u / pivot for u in tableau[leaving]]
    for row in (*(r for i, r in enumerate(tableau) if i != leaving), cost):
        factor = row[entering]
        if factor:
            row[:] = [u - factor * v for u, v in zip(row, tableau[leaving], strict=True)]


def sign_patterns(normals: Sequence[Sequence[Expr]]) -> tuple[tuple[int, ...], ...]:
    r"""Return the cells of a central arrangement: all sign vectors of :math:`(a_j \cdot v)_j` without a zero.

    Built hyperplane by hyperplane; each candidate is decided exactly, so parallel and antipodal normals tie their signs
    together as they must.  For J hyperplanes in general position in dimension d there are
    :math:`2 \sum_{s<d} \binom{J-1}{s}`.

    Parameters
    ----------
    normals : rows of numbers
        (J, d), exact and not zero.

    Returns
    -------
    tuple of tuple of int
        Sign vectors of length J in lexicographic order, +1 first; one empty vector for J = 0.

    Raises
    ------
    ValueError
        If a normal vanishes, or there are more than ``MAX_PATTERNS`` cells.
    """
    for position, normal in enumerate(normals):
        if all(exact_sign(u) == 0 for u in normal):
            raise ValueError(f"normal {position} is zero: its hyperplane would be the whole space")
    if not normals:
        return ((),)
    # One of each pair of opposite cells, with a point inside: on the side of that point nothing is left to decide.
    cells: list[tuple[tuple[int, ...], tuple[Expr, ...]]] = [((1,), tuple(normals[0]))]
    for position, normal in enumerate(normals[1:], start=2):
        grown = []
        for pattern, inside in cells:
            seen = exact_sign(Add(*[u * v for u, v in zip(normal, inside, strict=True)]))
            for side in (1, -1):
                longer = (*pattern, side)
                point = inside if side == seen else _interior(normals[:position], longer)
                if point is not None:
                    grown.append((longer, point))
        cells = grown
        if 2 * len(cells) > MAX_PATTERNS:
            raise ValueError(
                f"more than {MAX_PATTERNS} activation patterns meet at this point; choose fewer data or neurons on kinks"
            )
    half = [pattern for pattern, _ in cells]
    return tuple(sorted([*half, *(tuple(-s for s in pattern) for pattern in half)], reverse=True))


def _interior(normals: Sequence[Sequence[Expr]], signs: Sequence[int]) -> tuple[Expr, ...] | None:
    """Return a point with s_j a_j . v >= 1 for all j if there is one; by scaling the same as s_j a_j . v > 0."""
    count, size = len(normals), len(normals[0])
    matrix = []
    for j, (normal, sign) in enumerate(zip(normals, signs, strict=True)):
        row = [sign * u for u in normal]
        matrix.append([*row, *(-u for u in row), *(Integer(-1 if i == j else 0) for i in range(count))])
    found = nonnegative_solution(matrix, [Integer(1)] * count).solution
    return None if found is None else tuple(u - v for u, v in zip(found[:size], found[size:], strict=False))
