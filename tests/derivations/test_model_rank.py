"""Model ranks of two-layer networks, compared with singular values of hand-written tangent functions."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sympy import Rational

from derivations.activations import REGISTRY
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.model_rank import model_rank, optimistic_size

U = [Rational(8, 10), -Rational(1, 2), Rational(3, 10)]
V = [-Rational(4, 10), Rational(9, 10), Rational(6, 10)]
OPPOSITE, NOTHING = [-u for u in U], [0, 0, 0]
POINTS = [
    ([1, 2], [U, V]),
    ([1, 2], [U, U]),
    ([1, 2], [U, OPPOSITE]),
    ([1, -1], [U, U]),
    ([1, 0], [U, V]),
    ([1, 0], [U, U]),
    ([1, 2], [U, NOTHING]),
    ([0, 0], [NOTHING, NOTHING]),
]
#: Ranks of the points above, computed independently.
RANKS = {
    "tanh": [8, 4, 4, 4, 5, 4, 7, 0],
    "sigmoid": [8, 4, 5, 4, 5, 4, 8, 1],
    "softplus": [8, 4, 7, 4, 5, 4, 8, 1],
    "exp": [8, 4, 8, 4, 5, 4, 8, 1],
    "gelu": [8, 4, 7, 4, 5, 4, 7, 0],
    "silu": [8, 4, 7, 4, 5, 4, 7, 0],
    "cos": [8, 4, 4, 4, 5, 4, 5, 1],
}


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _silu_slope(z):
    return _sigmoid(z) * (1 + z * (1 - _sigmoid(z)))


FUNCTIONS = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z))),
    "softplus": (lambda z: np.log1p(np.exp(z)), _sigmoid),
    "exp": (np.exp, np.exp),
    "silu": (lambda z: z * _sigmoid(z), _silu_slope),
    "cos": (np.cos, lambda z: -np.sin(z)),
}


def measured(name, a, w, b=None, count=400, seed=0):
    """Rank of the tangent functions on many inputs, columns normalised."""
    value, slope = FUNCTIONS[name]
    x = 1.3 * np.random.default_rng(seed).standard_normal((count, len(w[0])))
    columns = []
    for k, row in enumerate(w):
        z = x @ np.array([float(u) for u in row]) + (float(b[k]) if b is not None else 0.0)
        columns.append(value(z))
        directions = [*x.T, *([np.ones(count)] if b is not None else [])]
        columns += [float(a[k]) * slope(z) * u for u in directions]
    matrix = np.array(columns).T
    norms = np.linalg.norm(matrix, axis=0)
    matrix = matrix[:, norms > 1e-12] / norms[norms > 1e-12]
    return int(np.linalg.matrix_rank(matrix, tol=1e-9 * np.linalg.norm(matrix, 2))) if matrix.size else 0


@pytest.mark.parametrize("name", RANKS)
def test_ranks_of_the_worked_points(name):
    assert [model_rank(REGISTRY[name], a, w).rank for a, w in POINTS] == RANKS[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ranks_agree_with_singular_values_at_random_points_with_duplicates_signs_and_zeros(name):
    draw = random.Random(5)
    for _ in range(12):
        d, m = draw.randint(1, 2), draw.randint(1, 3)
        pool = [[Rational(draw.randint(-9, 9), 7) for _ in range(d)] for _ in range(2)]
        w = []
        for _ in range(m):
            row = draw.choice([*pool, [0] * d])
            w.append([draw.choice((1, -1)) * u for u in row])
        a = [draw.choice((0, 1, Rational(-3, 2))) for _ in range(m)]
        assert model_rank(REGISTRY[name], a, w).rank == measured(name, a, w), (a, w)


def test_ranks_with_biases_agree_with_singular_values():
    b = [Rational(1, 3), -Rational(1, 3), Rational(1, 2)]
    w = [[1, Rational(1, 2)], [-1, -Rational(1, 2)], [0, 0]]
    for name in ("tanh", "sigmoid"):
        for a in ([1, 2, 1], [1, 0, 0], [0, 1, 3]):
            found = model_rank(REGISTRY[name], a, w, b)
            assert found.rank == measured(name, a, w, b)
            assert found.status is Status.PROVED


def test_the_optimistic_size_is_the_least_rank_that_expresses_the_target():
    assert (
        optimistic_size(1, 2) == model_rank(REGISTRY["tanh"], [Rational(3, 2), 0], [U[:2], [0, 0]]).rank == 3
    )


def test_an_output_bias_adds_the_constant_once():
    assert model_rank(REGISTRY["tanh"], [1], [U], output_bias=True).rank == 5
    assert model_rank(REGISTRY["sigmoid"], [1, 2], [U, OPPOSITE], output_bias=True).rank == 5


@pytest.mark.parametrize(
    ("a", "w", "words"),
    [
        ([0.5], [U], "exact real numbers"),
        ([1, 2], [U], "give m of each"),
        ([1, 2], [U, [1]], "one length"),
    ],
)
def test_bad_points_are_refused(a, w, words):
    with pytest.raises(ValueError, match=words):
        model_rank(REGISTRY["tanh"], a, w)


def test_a_kinked_activation_is_refused():
    with pytest.raises(AssumptionError, match="not analytic"):
        model_rank(REGISTRY["relu"], [1], [U])


def test_irrational_weights_are_compared_exactly():
    root = Rational(2) ** Rational(1, 2)
    assert model_rank(REGISTRY["tanh"], [1, 1], [[root], [2 / root]]).rank == 2
