r"""The permutations of unknowns, with signs, that keep given polynomials: the finite symmetries of a polynomial network.

A permutation must send every monomial to one with the same coefficient up to sign; the signs then solve linear equations modulo 2.
The group found is complete: every signed permutation that keeps the polynomials is in it.

>>> from sympy import QQ, ring
>>> R, a1, a2, w1, w2, x = ring("a1,a2,w1,w2,x", QQ)
>>> group = signed_permutations([a1 * w1**2 * x**2 + a2 * w2**2 * x**2], 4)
>>> len(group), group[0]
(8, ((0, 1, 2, 3), (1, 1, 1, 1)))
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from sympy.polys.rings import PolyElement

__all__ = ["MOST_ELEMENTS", "SignedPermutation", "moved", "signed_permutations"]

#: A larger group is refused.
MOST_ELEMENTS = 20000

#: (pi, s): the unknown number j takes the value s_j times that of number pi_j.
SignedPermutation = tuple[tuple[int, ...], tuple[int, ...]]

_Term = tuple[tuple[int, ...], object]


def signed_permutations(polynomials: Sequence[PolyElement], unknowns: int) -> list[SignedPermutation]:
    """Return all signed permutations of the first ``unknowns`` variables that keep every polynomial; the identity first.

    Raises
    ------
    ValueError
        If there are more than ``MOST_ELEMENTS``.
    """
    terms = [dict(p) for p in polynomials]
    out: list[SignedPermutation] = []
    for permutation in _candidates(terms, unknowns):
        for flips in _flips(terms, permutation, unknowns):
            out.append((permutation, flips))
            if len(out) > MOST_ELEMENTS:
                raise ValueError(f"more than {MOST_ELEMENTS} symmetries of permutation and sign")
    return sorted(out, key=lambda g: (g[0], tuple(-s for s in g[1])))


def moved(group_element: SignedPermutation, values: Sequence[Any]) -> list[Any]:
    """Return the image of a point: entry j is s_j times entry pi_j."""
    permutation, flips = group_element
    return [values[j] if s == 1 else -values[j] for j, s in zip(permutation, flips, strict=True)]


def _candidates(terms: Sequence[dict], unknowns: int) -> Iterator[tuple[int, ...]]:
    """Yield the permutations that keep the polynomials up to the signs of their coefficients, one unknown after the other."""
    looks = [_look(terms, j, unknowns) for j in range(unknowns)]
    sizes = [{m: abs(c) for m, c in poly.items()} for poly in terms]

    def extend(chosen: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        j = len(chosen)
        if j == unknowns:
            yield chosen
            return
        for k in range(unknowns):
            if k not in chosen and looks[k] == looks[j] and _agrees(sizes, (*chosen, k), unknowns):
                yield from extend((*chosen, k))

    yield from extend(())


def _look(terms: Sequence[dict], j: int, unknowns: int) -> list[list[tuple]]:
    """Return what a permutation cannot change of an unknown: its monomials, the other unknowns unnamed."""
    return [
        sorted(
            (str(abs(c)), m[j], tuple(sorted(m[:unknowns])), m[unknowns:]) for m, c in poly.items() if m[j]
        )
        for poly in terms
    ]


def _agrees(sizes: Sequence[dict], chosen: tuple[int, ...], unknowns: int) -> bool:
    """Whether every monomial in the first unknowns alone goes to one with the same coefficient up to sign."""
    known = len(chosen)
    for poly in sizes:
        for monomial, size in poly.items():
            if not any(monomial[known:unknowns]):
                image = [0] * unknowns
                for j, k in enumerate(chosen):
                    image[k] = monomial[j]
                if poly.get((*image, *monomial[unknowns:])) != size:
                    return False
    return True


def _flips(terms: Sequence[dict], permutation: tuple[int, ...], unknowns: int) -> Iterator[tuple[int, ...]]:
    """Yield the signs that, with the permutation, keep every coefficient: solutions modulo 2."""
    rows: list[int] = []
    for poly in terms:
        for monomial, coefficient in poly.items():
            image = [0] * unknowns
            for j, k in enumerate(permutation):
                image[k] = monomial[j]
            differs = poly[(*image, *monomial[unknowns:])] != coefficient
            mask = sum(1 << j for j in range(unknowns) if monomial[j] % 2)
            rows.append(mask | (differs << unknowns))
    pivots: dict[int, int] = {}
    for row in rows:
        reduced = row
        for pivot, other in pivots.items():
            if reduced >> pivot & 1:
                reduced ^= other
        low = reduced & ((1 << unknowns) - 1)
        if not low:
            if reduced:
                return
            continue
        pivot = low.bit_length() - 1
        for place, other in pivots.items():
            if other >> pivot & 1:
                pivots[place] = other ^ reduced
        pivots[pivot] = reduced
    free = [j for j in range(unknowns) if j not in pivots]
    for bits in itertools.product((0, 1), repeat=len(free)):
        chosen = sum(bit << j for bit, j in zip(bits, free, strict=True))
        for pivot, row in pivots.items():
            value = (row >> unknowns & 1) ^ (bin(row & chosen & ((1 << unknowns) - 1)).count("1") & 1)
            chosen |= value << pivot
        yield tuple(-1 if chosen >> j & 1 else 1 for j in range(unknowns))
