import itertools
from math import comb

import numpy as np
import pytest

from workbench.arrangement import faces, independent_columns, rays
from workbench.errors import NotThere


def drawn(seed, count, size, most=9):
    return np.random.default_rng(seed).integers(-most, most + 1, (count, size)).tolist()


@pytest.mark.parametrize(("count", "size"), [(4, 2), (6, 3), (10, 3), (8, 4), (8, 5)])
def test_general_hyperplanes_have_the_number_of_cells_of_the_formula(count, size):
    vectors = drawn(1, count, size, 99)
    found = faces(vectors)
    cells = (found != 0).all(axis=1).sum()
    assert cells == 2 * sum(comb(count - 1, k) for k in range(size))
    assert len(rays(vectors)) == 2 * comb(count, size - 1)


def test_sampling_meets_only_listed_cells_and_all_large_ones():
    vectors = [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 1, 0],
        [1, 1, 1],
        [1, -1, 0],
        [0, 1, 1],
    ]  # many on one line
    found = {tuple(u) for u in faces(vectors).tolist()}
    cells = {u for u in found if all(u)}
    draws = np.random.default_rng(0).standard_normal((200_000, 3))
    met = {tuple(u) for u in np.unique(np.sign(draws @ np.array(vectors).T).astype(int), axis=0).tolist()}
    assert met == cells


def test_dependent_hyperplanes_have_the_faces_of_integer_points():
    vectors = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, -1, 0], [0, 0, 1], [1, 0, 1]]
    grid = [u for u in itertools.product(range(-4, 5), repeat=3) if any(u)]
    met = {tuple(np.sign(np.array(vectors) @ u).tolist()) for u in grid}
    assert {tuple(u) for u in faces(vectors).tolist()} == met


@pytest.mark.parametrize("seed", range(5))
def test_faces_come_in_opposite_pairs_and_satisfy_eulers_relation(seed):
    vectors = drawn(seed, 7, 4, 30)
    found = {tuple(u) for u in faces(vectors).tolist()}
    assert found == {tuple(-v for v in u) for u in found}
    # Faces of dimension k >= 1 cut the sphere S^3 into cells of dimension k - 1.
    ranks = [
        4
        - np.linalg.matrix_rank(np.array([v for v, s in zip(vectors, u, strict=True) if s == 0] or [[0] * 4]))
        for u in found
    ]
    assert sum((-1) ** (rank - 1) for rank in ranks) == 0


def test_independent_columns_span_the_column_space():
    rows = [[0, 2, 4, 1], [0, 1, 2, 3], [0, 3, 6, 4]]
    assert independent_columns(rows) == [1, 3]


def test_too_many_hyperplanes_are_refused():
    with pytest.raises(NotThere, match="too many faces"):
        faces(drawn(0, 40, 3))
    with pytest.raises(NotThere, match="Take fewer"):
        faces(drawn(0, 30, 9))
