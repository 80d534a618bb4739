"""Products of interval matrices against exact fractions at random members."""

from __future__ import annotations

from fractions import Fraction

import torch

from numerics.box_matrices import Matrices
from numerics.interval_tensors import Interval

ROWS = list[list[Fraction]]


def drawn(generator: torch.Generator, rows: int, columns: int) -> Matrices:
    mid = torch.randn(1, rows, columns, generator=generator, dtype=torch.float64)
    mid *= 10.0 ** torch.randint(-9, 9, (1, rows, columns), generator=generator)
    return Matrices(mid, mid.abs() * torch.rand(1, rows, columns, generator=generator, dtype=torch.float64))


def member(matrix: Matrices, generator: torch.Generator) -> ROWS:
    """An exact matrix in an interval matrix, often with entries at the ends."""
    share = torch.randint(-2, 3, matrix.mid.shape, generator=generator).clamp(-1, 1)
    return [
        [Fraction(m) + Fraction(r) * s for m, r, s in zip(*row, strict=True)]
        for row in zip(matrix.mid[0].tolist(), matrix.rad[0].tolist(), share[0].tolist(), strict=True)
    ]


def exact(matrix: torch.Tensor) -> ROWS:
    return [[Fraction(u) for u in row] for row in matrix.tolist()]


def times(left: ROWS, right: ROWS) -> ROWS:
    return [
        [sum((u * v for u, v in zip(row, c, strict=True)), Fraction(0)) for c in zip(*right, strict=True)]
        for row in left
    ]


def holds(matrix: Matrices, entries: ROWS) -> bool:
    mid, rad = exact(matrix.mid[0]), exact(matrix.rad[0])
    return all(
        abs(u - m) <= r for row in zip(entries, mid, rad, strict=True) for u, m, r in zip(*row, strict=True)
    )


def test_every_operation_holds_the_exact_results_of_members() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(40):
        first, second, column = drawn(generator, 4, 3), drawn(generator, 4, 3), drawn(generator, 3, 1)
        square, weights = drawn(generator, 3, 3), drawn(generator, 4, 1)
        left, right = drawn(generator, 2, 4).mid, drawn(generator, 3, 5).mid
        for _ in range(4):
            a, b, c, s, w = (member(u, generator) for u in (first, second, column, square, weights))
            transposed = [list(row) for row in zip(*a, strict=True)]
            scaled = [[u * f[0] for u in row] for row, f in zip(b, w, strict=True)]
            own = [[u * f[0] for u in row] for row, f in zip(a, w, strict=True)]
            eye = [[Fraction(i == j) - s[i][j] for j in range(3)] for i in range(3)]
            assert holds(
                first + second,
                [[u + v for u, v in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)],
            )
            assert holds(first.after(left), times(exact(left[0]), a))
            assert holds(first.times(right), times(a, exact(right[0])))
            assert holds(first.on(column), times(a, c))
            assert holds(first.squared(weights, second), times(transposed, scaled))
            assert holds(first.squared(weights), times(transposed, own))
            assert holds(square.from_identity(), eye)


def test_intervals_survive_the_way_to_matrices_and_back() -> None:
    generator = torch.Generator().manual_seed(2)
    lo = torch.randn(3, 7, generator=generator, dtype=torch.float64)
    hi = lo + torch.rand(3, 7, generator=generator, dtype=torch.float64)
    back = Matrices.of(Interval(lo, hi)).interval()
    assert bool((back.lo <= lo).all())
    assert bool((back.hi >= hi).all())
    assert float((back.hi - back.lo - hi + lo).max()) < 1e-14
