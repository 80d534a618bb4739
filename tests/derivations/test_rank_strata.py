"""Model ranks in closed form against Kronecker products, graphs and derivatives by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from derivations.rank_strata import (
    completion_rank,
    convolution_ranks,
    diagonal_rank,
    product_rank,
    product_strata,
)

#: The first matrix of rank 1 that is completed, and six orders in which its entries are observed (row and column from 1).
MATRIX = np.outer([4, 6, 8, 18], [1, 0.15, 0.45, 0.2])
ORDERS = {
    "31 43 21 13 24 41 11 12 42 44 32 34 33 22 23 14": 8,
    "34 21 23 43 41 44 11 33 12 14 13 24 32 22 31 42": 9,
    "24 33 31 44 43 34 13 14 23 32 11 12 42 22 21 41": 10,
    "44 23 42 12 14 32 41 31 11 34 13 22 24 21 33 43": 11,
    "24 34 41 12 22 44 11 31 32 42 21 13 43 33 23 14": 12,
    "43 44 21 34 33 31 23 11 41 24 14 13 12 22 32 42": 13,
}


def random_of_rank(draw, size, rank):
    return draw.standard_normal((size, rank)) @ draw.standard_normal((rank, size))


def tangent(a, b):
    size = len(a)
    return np.hstack([np.kron(np.eye(size), b.T), np.kron(a, np.eye(size))])


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_rank_of_a_product_is_that_of_kronecker_products(size):
    draw = np.random.default_rng(size)
    for left in range(size + 1):
        for right in range(size + 1):
            matrix = tangent(random_of_rank(draw, size, left), random_of_rank(draw, size, right))
            assert product_rank(size, left, right) == np.linalg.matrix_rank(matrix, tol=1e-9)


def test_the_worked_ranks_of_products():
    pairs = {(1, 1): 7, (2, 1): 10, (2, 2): 12, (3, 2): 14, (3, 3): 15, (4, 1): 16, (0, 2): 8, (0, 0): 0}
    assert {key: product_rank(4, *key) for key in pairs} == pairs


@pytest.mark.parametrize(("size", "target"), [(3, 1), (3, 2), (4, 1), (4, 2)])
def test_the_dimension_of_a_stratum_is_that_of_its_parametrisation(size, target):
    draw = np.random.default_rng(10 * size + target)
    m = random_of_rank(draw, size, target)
    for stratum in product_strata(size, target):
        rank, k = stratum.left, stratum.right - target
        sizes = [size * (rank - target), rank * size, (size - rank) * k, k * size, (size - rank) * target]
        start = draw.standard_normal(sum(sizes))
        reference = start[sizes[0] : sizes[0] + sizes[1]].reshape(rank, size)

        def point(p, m=m, rank=rank, sizes=sizes, k=k, reference=reference):
            # A = [col(M) + free columns] times free coefficients; B = A^+ M + N Z with Z of rank k modulo the rows of M.
            parts = np.split(p, np.cumsum(sizes)[:-1])
            base = np.hstack([np.linalg.svd(m)[0][:, :target], parts[0].reshape(size, rank - target)])
            coefficients = parts[1].reshape(rank, size)
            a = base @ coefficients
            null = np.linalg.svd(reference)[2][rank:].T
            null = null - np.linalg.pinv(coefficients) @ (coefficients @ null)
            rows = np.linalg.svd(m)[2][:target]
            z = (
                parts[2].reshape(size - rank, k) @ parts[3].reshape(k, size)
                + parts[4].reshape(size - rank, target) @ rows
            )
            return np.concatenate([a.ravel(), (np.linalg.pinv(a) @ m + null @ z).ravel()])

        a, b = np.split(point(start), 2)
        a, b = a.reshape(size, size), b.reshape(size, size)
        assert np.allclose(a @ b, m)
        assert (np.linalg.matrix_rank(a, tol=1e-8), np.linalg.matrix_rank(b, tol=1e-8)) == (
            stratum.left,
            stratum.right,
        )
        h = 1e-6
        jacobian = np.array(
            [(point(start + h * e) - point(start - h * e)) / (2 * h) for e in np.eye(len(start))]
        )
        values = np.linalg.svd(jacobian)[1]
        assert int((values > 1e-5 * values[0]).sum()) == stratum.dimension
        assert np.linalg.matrix_rank(tangent(a, b), tol=1e-8) == stratum.rank


def test_the_least_rank_of_a_target_is_on_the_balanced_stratum():
    for size in (2, 3, 4):
        for r in range(size + 1):
            strata = product_strata(size, r)
            assert min(s.rank for s in strata) == 2 * r * size - r * r == strata[0].rank
            assert all(s.closure_contains(strata[0]) for s in strata)


@pytest.mark.parametrize("order", ORDERS)
def test_completion_becomes_stable_when_the_observations_are_connected(order):
    entries = [(int(u[0]) - 1, int(u[1]) - 1) for u in order.split()]
    ranks = [completion_rank(4, entries[:n]) for n in range(1, 17)]
    assert next(n for n, rank in enumerate(ranks, start=1) if rank == 7) == ORDERS[order]
    u, v = MATRIX[:, 0], MATRIX[0] / MATRIX[0, 0]
    for n in (3, 7, 10):
        rows = []
        for i, j in entries[:n]:
            row = np.zeros(8)
            row[i], row[4 + j] = v[j], u[i]
            rows.append(row)
        assert ranks[n - 1] == np.linalg.matrix_rank(np.array(rows), tol=1e-9)


def test_seven_entries_of_the_first_order_have_rank_six():
    entries = [(int(u[0]) - 1, int(u[1]) - 1) for u in next(iter(ORDERS)).split()]
    assert completion_rank(4, entries[:7]) == 6


def test_ranks_of_the_digits_example_and_of_the_small_one():
    assert convolution_ranks(28, 3, 1, planar=True) == (685, 6760, 530660)
    assert convolution_ranks(5, 3, 1, bias=True) == (7, 15, 21)


def test_a_small_convolution_has_the_measured_ranks():
    draw = np.random.default_rng(0)
    x, kernel = draw.standard_normal((300, 5)), np.array([0.6, 0.8, 1.0])
    z = np.stack([x[:, j : j + 3] @ kernel for j in range(3)], axis=1)
    value, slope = np.tanh(z), 1 / np.cosh(z) ** 2
    shared = [value, *(sum(slope[:, j] * x[:, j + t] for j in range(3)) for t in range(3))]
    unshared = [value, *(slope[:, j] * x[:, j + t] for j in range(3) for t in range(3))]
    connected = [value, *(slope[:, j] * x[:, t] for j in range(3) for t in range(5))]
    biases = [[slope.sum(axis=1)], [slope], [slope]]
    for bias in (False, True):
        ranks = []
        for columns, more in zip((shared, unshared, connected), biases, strict=True):
            matrix = np.column_stack([*columns, *(more if bias else [])])
            ranks.append(int(np.linalg.matrix_rank(matrix / np.linalg.norm(matrix, axis=0), tol=1e-9)))
        assert tuple(ranks) == convolution_ranks(5, 3, 1, bias=bias)


def test_a_dead_neuron_with_a_bias_loses_the_derivative_by_the_bias_too():
    without, with_bias = (convolution_ranks(5, 3, 1, dead=1, bias=b) for b in (False, True))
    alive = convolution_ranks(5, 3, 1, bias=True)
    assert (alive[1] - with_bias[1], alive[2] - with_bias[2]) == (4, 6)
    assert convolution_ranks(5, 3, 1)[1] - without[1] == 3


def test_a_coordinate_counts_while_at_most_one_of_its_factors_vanishes():
    draw = np.random.default_rng(1)
    for _ in range(20):
        factors = draw.integers(0, 2, (4, 3))
        tangents = [[np.prod(np.delete(row, l)) for l in range(3)] for row in factors]
        assert diagonal_rank(factors.tolist()) == sum(any(row) for row in tangents)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="between 0 and d"):
        product_rank(3, 4, 1)
    with pytest.raises(ValueError, match="counted from 0"):
        completion_rank(3, [(0, 3)])
    with pytest.raises(ValueError, match="1 <= s <= d"):
        convolution_ranks(3, 4, 1)
    with pytest.raises(ValueError, match="dead neurons"):
        convolution_ranks(5, 3, 1, dead=4)
