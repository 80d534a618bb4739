r"""Polynomial conservation laws up to a degree, found by linear algebra and proved by substitution.

A polynomial :math:`h = \sum_\alpha c_\alpha \theta^\alpha` is conserved along the gradient flow of all data if and only if

.. math:: \langle \nabla h, \eta \odot \nabla p_j \rangle = 0 \quad \text{identically, for every potential } p_j ,

which is linear in the coefficients.  The null space over the rationals is therefore **every** polynomial law of that
degree; each one is substituted back.  Different from their number is the number of independent ones (products of laws
are laws): the rank of their gradients at a random rational point.  Set beside the count of ``derivations.law_count`` it
says whether laws exist that are no polynomials of that degree.

Source: Marcotte, Gribonval, Peyre, arXiv:2307.00144, Section 3.2.

>>> from derivations.problem import Problem
>>> found = law_search(Problem.two_layer("relu"), {"m": 1, "d": 2}, degree=2)
>>> [str(law) for law in found.laws], found.independent, found.complete
(['a1**2 - w11**2 - w12**2'], 1, True)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb, gcd, lcm
from typing import Any

from sympy import Expr, default_sort_key
from sympy.polys.domains import QQ
from sympy.polys.matrices import DomainMatrix
from sympy.polys.rings import PolyElement

from derivations.law_count import LawCount, count_laws, known_laws, potentials_of, rate_of_change
from derivations.potentials import Potentials, Span, at_point
from derivations.problem import Problem

__all__ = ["MAX_MONOMIALS", "LawSearch", "law_search", "search_laws"]

#: More unknown coefficients than this are refused.
MAX_MONOMIALS = 2000


@dataclass(frozen=True)
class LawSearch:
    """Every polynomial law up to a degree, without constant term.

    Where inputs were drawn (``count.whole`` is False) the laws are proved for those inputs, not for all.

    Attributes
    ----------
    degree : int
        Largest total degree.
    laws : tuple of Expr
        A basis with integer coefficients without common factor, lowest degree first.
    residuals : tuple of Expr
        Inner products of the gradients with all fields: each is exactly 0.
    generators : tuple of Expr
        As many of the laws as are functionally independent, the lowest degrees first.
    count : LawCount
        The count that the search is compared with.
    """

    degree: int
    laws: tuple[Expr, ...]
    residuals: tuple[Expr, ...]
    generators: tuple[Expr, ...]
    count: LawCount

    @property
    def independent(self) -> int:
        """Number of functionally independent laws."""
        return len(self.generators)

    @property
    def complete(self) -> bool | None:
        """Whether all laws are functions of those found: True is proved; None where that is open."""
        if not self.count.whole:
            return True if self.count.complete else None
        if self.independent == self.count.laws:
            return True
        return None if self.count.complete is None else False


def law_search(
    problem: Problem,
    sizes: Mapping[str, int],
    *,
    degree: int = 2,
    values: Mapping[str, Sequence[Any]] | None = None,
    seed: int = 0,
) -> LawSearch:
    """Find every polynomial law of a problem at given sizes up to a degree.

    Parameters
    ----------
    problem : Problem
        With an activation that is polynomial on both sides of 0; the laws hold in the cell of the random point.
    sizes, values, seed
        As for ``derivations.law_count.law_count``.
    degree : int
        At least 1.

    Raises
    ------
    ValueError
        If the degree is not positive or there are more than ``MAX_MONOMIALS`` unknowns.
    AssumptionError
        If the activation is not piecewise polynomial.
    """
    found = potentials_of(problem, sizes, values=values, seed=seed)
    return search_laws(found, degree, known_laws(problem, sizes, found))


def search_laws(found: Potentials, degree: int, known: Sequence[PolyElement] = ()) -> LawSearch:
    """Find every polynomial law of the fields of ``found`` up to a degree; ``known`` ones enter the count only.

    Raises
    ------
    ValueError
        If the degree is not positive or there are more than ``MAX_MONOMIALS`` unknowns.

    Examples
    --------
    >>> from sympy import symbols
    >>> from derivations.law_count import polynomial_potentials
    >>> u, v, s, t = symbols("u v s t")
    >>> blocks = polynomial_potentials([(1 + u * v) * (1 + s * t)], [u, v, s, t])
    >>> found = search_laws(blocks, 2)
    >>> [str(law) for law in found.laws], found.count.laws, found.complete
    (['s**2 - t**2', 'u**2 - v**2'], 3, False)
    """
    ring = found.ring
    size = len(ring.gens)
    unknowns = comb(size + degree, degree) - 1 if degree > 0 else 0
    if not 0 < unknowns <= MAX_MONOMIALS:
        raise ValueError(
            f"degree {degree} in {size} parameters has {unknowns} coefficients; a search takes 1 to {MAX_MONOMIALS}: change "
            "the degree or the sizes"
        )
    monomials = [ring.from_dict({exponents: QQ.one}) for exponents in _exponents(size, degree)]
    rows: dict[Any, dict[int, Any]] = {}
    for column, monomial in enumerate(monomials):
        for position, potential in enumerate(found.polynomials):
            for exponents, coefficient in rate_of_change(monomial, potential, found.rates).terms():
                rows.setdefault((position, exponents), {})[column] = coefficient
    laws = [_law(monomials, vector) for vector in _null_space(list(rows.values()), len(monomials))]
    laws.sort(key=lambda law: (max(map(sum, law.monoms())), default_sort_key(law.as_expr())))
    residuals = [
        rate_of_change(law, potential, found.rates) for law in laws for potential in found.polynomials
    ]
    span = Span()
    generators = [
        law
        for law in laws
        if span.add({j: at_point(law.diff(g), found.point) for j, g in enumerate(ring.gens)})
    ]
    return LawSearch(
        degree,
        tuple(law.as_expr() for law in laws),
        tuple(u.as_expr() for u in residuals),
        tuple(law.as_expr() for law in generators),
        count_laws(found, [*known, *laws] if found.whole else known),
    )


def _exponents(size: int, degree: int) -> Iterator[tuple[int, ...]]:
    """Yield the exponents of total degree 1 to ``degree``."""
    if size == 0:
        yield ()
        return
    for first in range(degree, -1, -1):
        for rest in _rest(size - 1, degree - first):
            if first or any(rest):
                yield (first, *rest)


def _rest(size: int, degree: int) -> Iterator[tuple[int, ...]]:
    if size == 0:
        yield ()
        return
    for first in range(degree, -1, -1):
        for rest in _rest(size - 1, degree - first):
            yield (first, *rest)


def _null_space(rows: Sequence[Mapping[int, Any]], columns: int) -> list[list[Any]]:
    """Return a basis of the vectors orthogonal to all rows, over the rationals."""
    if not rows:
        return [[QQ.one if j == column else QQ.zero for j in range(columns)] for column in range(columns)]
    matrix = DomainMatrix({j: dict(row) for j, row in enumerate(rows)}, (len(rows), columns), QQ)
    return matrix.nullspace().to_dense().to_list()


def _law(monomials: Sequence[PolyElement], vector: Sequence[Any]) -> PolyElement:
    """Return the combination with integer coefficients without common factor, the first one positive."""
    scale = lcm(*[int(u.denominator) for u in vector])
    whole = [int(u * scale) for u in vector]
    common = gcd(*whole)
    sign = -1 if next(u for u in whole if u) < 0 else 1
    total = monomials[0].ring.zero
    for monomial, number in zip(monomials, whole, strict=True):
        if number:
            total += monomial * QQ(sign * number, common)
    return total
