"""Signs of eigenvalues and kernels on balls, against matrices built with known inertia and kernel."""

from __future__ import annotations

import random

import flint
import pytest

from numerics.ball_matrices import NotCertified, bordered_signs, kernel, signs


def balls(rows: list[list[object]], radius: float = 0.0) -> list[list[object]]:
    return [[flint.arb(u) + flint.arb(0, radius) for u in row] for row in rows]


def congruent(diagonal: list[object], seed: int) -> list[list[int]]:
    """U^T D U with an integer U of determinant 1: the inertia is that of the diagonal, by Sylvester's law."""
    generator, count = random.Random(seed), len(diagonal)
    upper = [
        [1 if i == j else generator.randint(-3, 3) if j > i else 0 for j in range(count)]
        for i in range(count)
    ]
    return [
        [sum(upper[k][i] * diagonal[k] * upper[k][j] for k in range(count)) for j in range(count)]
        for i in range(count)
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [0.0, 1e-9])
def test_signs_are_those_of_the_matrix(seed: int, radius: float) -> None:
    diagonal = random.Random(100 + seed).choices([-5, -1, 1, 2, 7], k=6)
    negative = sum(u < 0 for u in diagonal)
    assert signs(balls(congruent(diagonal, seed), radius)) == (negative, 6 - negative)


@pytest.mark.parametrize("seed", range(4))
def test_a_singular_matrix_has_no_signs(seed: int) -> None:
    with pytest.raises(NotCertified):
        signs(balls(congruent([2, 0, -1, 3], seed)))


def test_a_wide_ball_that_holds_a_singular_matrix_has_no_signs() -> None:
    rows = congruent([1, 1, -1, 1], 3)
    signs(balls(rows, 1e-9))
    with pytest.raises(NotCertified):
        signs(balls(rows, 1.0))


def test_eigenvalues_of_very_different_sizes_are_told_from_zero() -> None:
    with flint.ctx.workprec(128):
        tiny = flint.arb(2) ** -40
        assert signs([[flint.arb(1), tiny], [tiny, -3 * tiny]]) == (1, 1)
        assert signs([[flint.arb(1), flint.arb(0)], [flint.arb(0), tiny**2]]) == (0, 2)


def test_an_infinite_entry_has_no_signs() -> None:
    with pytest.raises(NotCertified, match="finite"):
        signs([[flint.arb(1) / 0]])


def test_a_matrix_without_rows_has_no_eigenvalues() -> None:
    assert signs([]) == (0, 0)


def test_the_kernel_of_a_rank_one_matrix_is_exact() -> None:
    with flint.ctx.workprec(100):
        third = flint.arb(1) / 3
        rows = [[third, 2 * third, 5 * third], [2 * third, 4 * third, 10 * third]]
        basis = kernel(rows, 3, 1)
        assert len(basis) == 2
        for vector in basis:
            product = third * vector[0] + 2 * third * vector[1] + 5 * third * vector[2]
            assert product.contains(0)
            assert product.rad() < 1e-25


def test_a_kernel_needs_the_rank_it_is_told() -> None:
    rows = balls([[1, 2], [2, 4]], 1e-12)
    with pytest.raises(NotCertified, match="rank 2"):
        kernel(rows, 2, 2)
    with pytest.raises(NotCertified, match="rank 1"):
        kernel(balls([[0, 0]]), 2, 1)


def test_the_kernel_of_rank_zero_is_everything() -> None:
    assert len(kernel(balls([[0, 0]], 1e-9), 2, 0)) == 2
    assert kernel(balls([[3]]), 1, 1) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_known_kernel_gives_the_inertia_of_a_singular_matrix(seed: int) -> None:
    """U^T D U has the kernel U^-1 ker D; the inverse is found by back substitution in integers."""
    diagonal = [3, 0, -2, 0, 5]
    generator = random.Random(seed)
    upper = [[1 if i == j else generator.randint(-2, 2) if j > i else 0 for j in range(5)] for i in range(5)]
    matrix = [
        [sum(upper[k][i] * diagonal[k] * upper[k][j] for k in range(5)) for j in range(5)] for i in range(5)
    ]
    vectors = []
    for place in (1, 3):
        x = [0] * 5
        for i in reversed(range(5)):
            x[i] = (i == place) - sum(upper[i][j] * x[j] for j in range(i + 1, 5))
        vectors.append(x)
    assert bordered_signs(balls(matrix, 1e-12), balls(vectors)) == (1, 2, 2)
    with pytest.raises(NotCertified):  # a zero that is not accounted for
        bordered_signs(balls(matrix), balls(vectors[:1]))
    with pytest.raises(NotCertified):  # one direction twice
        bordered_signs(balls(matrix), balls([vectors[0], vectors[0]]))
