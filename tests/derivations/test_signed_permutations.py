"""Signed permutations against a search through all of them."""

from __future__ import annotations

import itertools

import pytest
from sympy import QQ, ring

from derivations.signed_permutations import moved, signed_permutations

R, a1, a2, w1, w2, x = ring("a1,a2,w1,w2,x", QQ)


def all_by_trial(polynomials, unknowns):
    """Every signed permutation that keeps the polynomials, by substitution."""
    gens, out = polynomials[0].ring.gens, []
    for permutation in itertools.permutations(range(unknowns)):
        for flips in itertools.product((1, -1), repeat=unknowns):
            images = [s * gens[j] for j, s in zip(permutation, flips, strict=True)]
            pairs = list(zip(gens, [*images, *gens[unknowns:]], strict=True))
            if all(f.compose(pairs) == f for f in polynomials):
                out.append((permutation, flips))
    return out


@pytest.mark.parametrize(
    "polynomials",
    [
        [a1 * w1**2 * x**2 + a2 * w2**2 * x**2],
        [a1 * w1**3 * x**3 + a2 * w2**3 * x**3],
        [a1 * (w1 * x + w1**2 * x**2) + a2 * (w2 * x + w2**2 * x**2)],
        [a1 * w1 * x - a2 * w2 * x],
        [a1 * x + 2 * a2 * x, w1 + w2],
        [a1**2 + a2 * w1 * w2 * x],
    ],
)
def test_the_group_is_the_one_found_by_trial(polynomials):
    assert sorted(signed_permutations(polynomials, 4)) == sorted(all_by_trial(polynomials, 4))


def test_a_group_element_moves_points():
    assert moved(((1, 0), (1, -1)), [3, 5]) == [5, -3]


def test_groups_that_are_too_large_are_refused():
    big, *_ = ring("v1:9", QQ)
    with pytest.raises(ValueError, match="symmetries of permutation and sign"):
        signed_permutations([sum(v**2 for v in big.gens)], 8)
