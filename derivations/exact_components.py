r"""Sets of critical points of positive dimension, given by prime ideals over the rationals: which real points they have.

A component of dimension d over the complex numbers has real dimension d if it has one smooth real point, one where the Jacobian of the
generators has rank n - d.  It has none, or only those of a smaller set, where a generator is of one sign: a sum of even powers with coefficients of one
sign vanishes only where every term does, a semidefinite quadratic polynomial :math:`(1, x) M (1, x)^\top` only where :math:`M (1, x)^\top = 0`.
Between the two nothing is claimed.

>>> from sympy import QQ, ring
>>> R, x, y = ring("x,y", QQ)
>>> forced(-x**2 - 3 * x**4 * y**2), forced(x**2 + x * y + y**2 + 1), forced(x**2 - y)
([x, x*y], [1, 3/4*y, x + 1/2*y], None)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import QQ
from sympy.polys.rings import PolyElement, PolyRing

from derivations.algebraic_points import AlgebraicPoint, Conjugates
from derivations.exact_inertia import exact_rank
from derivations.signed_permutations import SignedPermutation, moved

__all__ = [
    "Parametrisation",
    "forced",
    "parametrised",
    "rational",
    "rational_point",
    "remainder",
    "same_component",
    "slices",
    "smooth",
]

#: Values that the free unknowns take, one after the other.
_VALUES = (1, -1, 2, QQ(1, 2), -2, 3, QQ(-1, 3), QQ(3, 2), -3, QQ(1, 5))


@dataclass(frozen=True)
class Parametrisation:
    """Every unknown as a fraction of polynomials in the free ones: ``fractions[j] = (top, bottom)``."""

    free: tuple[int, ...]
    fractions: tuple[tuple[PolyElement, PolyElement], ...]

    def text(self) -> list[str]:
        """Return one equation for each unknown that is not free."""
        names = [str(s) for s in self.fractions[0][0].ring.symbols]
        out = []
        for j, (top, bottom) in enumerate(self.fractions):
            if j not in self.free:
                right = str(top) if bottom == 1 else f"({top})/({bottom})"
                out.append(f"{names[j]} = {right}")
        return out


def forced(polynomial: PolyElement) -> list[PolyElement] | None:
    """Return what vanishes at every real zero of a polynomial that is seen to be of one sign, 1 for no zeros; else None."""
    if not polynomial or polynomial.is_ground:
        return None
    signs = {c > 0 for c in polynomial.coeffs()}
    if len(signs) == 1 and all(power % 2 == 0 for monomial in polynomial for power in monomial):
        roots = {tuple(min(power, 1) for power in monomial) for monomial in polynomial}
        return [polynomial.ring.from_dict({m: QQ.one}) for m in sorted(roots)]
    if max(sum(monomial) for monomial in polynomial) == 2:
        return _squares(polynomial)
    return None


def _squares(polynomial: PolyElement) -> list[PolyElement] | None:
    """Complete squares; return the linear polynomials that are squared where all coefficients have one sign."""
    ring = polynomial.ring
    out, signs, rest = [], set(), polynomial
    while rest and not rest.is_ground:
        pivot = next((j for j in range(ring.ngens) if _coefficient(rest, j, j)), None)
        if pivot is None:
            return None  # products of different unknowns, or linear terms, are left: both signs occur
        c = _coefficient(rest, pivot, pivot)
        form = rest.diff(ring.gens[pivot]) * (1 / (2 * c))
        out.append(form * abs(c))
        signs.add(c > 0)
        rest = rest - form**2 * c
    if rest:
        out.append(ring.one)
        signs.add(rest.coeff(1) > 0)
    return sorted(out, key=str) if len(signs) == 1 else None


def _coefficient(polynomial: PolyElement, j: int, k: int) -> Any:
    powers = [0] * polynomial.ring.ngens
    powers[j] += 1
    powers[k] += 1
    return polynomial.get(tuple(powers), QQ.zero)


def same_component(
    one: Sequence[PolyElement], other: Sequence[PolyElement], element: SignedPermutation
) -> bool:
    """Whether a signed permutation sends one component into another of equal dimension; ``other`` is a reduced Groebner basis."""
    gens = one[0].ring.gens
    images = moved(element, gens)
    return all(not remainder(f.compose(list(zip(gens, images, strict=True))), other) for f in one)


def remainder(polynomial: PolyElement, basis: Sequence[PolyElement]) -> PolyElement:
    """Return what is left of a polynomial after division by a Groebner basis, that of the zero ideal included."""
    divisors = [g for g in basis if g]
    return polynomial.rem(divisors) if divisors else polynomial


def parametrised(
    free: Sequence[int], relations: Sequence[tuple[int, PolyElement]], ring: PolyRing
) -> Parametrisation | None:
    """Solve relations, each of degree 1 in one unknown and else in the free ones; None where one is not.

    Parameters
    ----------
    free : sequence of int
        Numbers of the free unknowns.
    relations : sequence of (int, polynomial)
        For every other unknown its number and what it satisfies over the free ones.
    """
    found: dict[int, tuple[PolyElement, PolyElement]] = {j: (ring.gens[j], ring.one) for j in free}
    for j, relation in relations:
        parts = [ring.zero, ring.zero]
        for monomial, c in relation.terms():
            if monomial[j] > 1 or any(p for k, p in enumerate(monomial) if k != j and k not in free):
                return None
            rest = tuple(0 if k == j else p for k, p in enumerate(monomial))
            parts[monomial[j]] += ring.from_dict({rest: c})
        if not parts[1]:
            return None
        top, bottom = -parts[0], parts[1]
        if bottom.is_ground:
            top, bottom = top * (1 / bottom.coeff(1)), ring.one
        found[j] = top, bottom
    if set(found) != set(range(ring.ngens)):
        return None
    return Parametrisation(tuple(free), tuple(found[j] for j in range(ring.ngens)))


def slices(count: int) -> Iterator[tuple[Any, ...]]:
    """Yield rational values of so many free unknowns, simple and not all alike."""
    for step, start in itertools.product((1, 3, 0), range(len(_VALUES))):
        yield tuple(QQ(1) * _VALUES[(start + step * j) % len(_VALUES)] for j in range(count))


def rational_point(found: Parametrisation, values: Sequence[Any]) -> AlgebraicPoint | None:
    """Return the point over values of the free unknowns; None where a denominator vanishes."""
    ring = found.fractions[0][0].ring
    pairs = [(ring.gens[j], v) for j, v in zip(found.free, values, strict=True)]
    coordinates = []
    for top, bottom in found.fractions:
        below = bottom.subs(pairs).coeff(1)
        if not below:
            return None
        coordinates.append(top.subs(pairs).coeff(1) / below)
    return rational(coordinates)


def rational(coordinates: Sequence[Any]) -> AlgebraicPoint:
    """Return a point with rational coordinates."""
    line = PolyRing("t", QQ)
    return Conjugates(line.gens[0], tuple(line(QQ(c)) for c in coordinates)).real_points()[0]


def smooth(point: AlgebraicPoint, generators: Sequence[PolyElement], dimension: int) -> bool:
    """Whether a point of a component is smooth: the Jacobian of the generators of its prime ideal has full rank there, exactly."""
    gens = generators[0].ring.gens
    rows = [[g.diff(u) for u in gens] for g in generators]
    return exact_rank(point, rows) == len(gens) - dimension
