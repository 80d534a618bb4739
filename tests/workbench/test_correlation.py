import numpy as np
import pytest
from sympy import Rational as R
from sympy import sqrt

import workbench.correlation as correlation_module
from derivations.correlation_points import correlation_points
from derivations.errors import AssumptionError
from workbench.correlation import sphere_points

W1 = ([[1, R(1, 2)], [R(-3, 10), 1], [R(3, 5), R(-4, 5)]], [1, R(-1, 2), R(4, 5)])
W4 = (
    [[1, R(1, 5)], [R(4, 5), R(-2, 5)], [R(3, 5), R(1, 2)], [R(-1, 2), R(9, 10)], [R(-9, 10), R(3, 10)]],
    [1, R(7, 10), R(9, 10), R(-3, 5), R(-3, 10)],
)


def drawn(seed, n, d, most=30):
    draws = np.random.default_rng(seed)
    x = [[R(int(u), 10) for u in row] for row in draws.integers(-most, most + 1, (n, d))]
    return x, [R(int(u), 10) for u in draws.integers(-20, 21, n)]


def arrays(x, y):
    return np.array(x, dtype=float), np.array(y, dtype=float)


def correlation(u, x, y, below=0.0):
    z = u @ x.T
    return np.where(z > 0, z, below * z) @ y


@pytest.mark.parametrize(
    ("sigma", "data", "published"),
    [
        (
            "relu",
            W1,
            [(0.9955557351, -0.0941741912, 1.4866068747), (-0.4472135955, 0.8944271910, -0.5142956348)],
        ),
        (
            "leaky_relu(1/10)",
            W1,
            [(0.9920205612, -0.1260761917, 1.5070252154), (-0.5015669498, 0.8651188328, -0.5941380311)],
        ),
        (
            "relu",
            W4,
            [(0.9848307339, 0.1735177960, 2.1323461257), (-0.6709133240, 0.7415357791, -0.8495881355)],
        ),
    ],
)
def test_the_published_points_are_all(sigma, data, published):
    found = [(*map(float, p.direction), float(p.value)) for p in sphere_points(sigma, *data).points]
    assert np.allclose(found, published, atol=1e-9)


def test_the_point_on_a_kink_has_the_published_coefficient():
    (p,) = [p for p in sphere_points("relu", *W1).points if p.kink]
    assert (p.kink, p.slopes, p.kind) == ((1,), {1: R(2, 25)}, "minimum")
    a, w = p.neuron
    assert float(a) < 0
    assert a**2 + sum(u**2 for u in w) == 1
    assert abs(float(a) * float(sqrt(2)) * float(p.value) / 2 - 0.2571478174) < 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_in_the_plane_the_list_is_that_of_the_arcs(seed):
    draws = np.random.default_rng(seed)
    n = int(draws.integers(1, 8))
    x, y = draws.integers(-3, 4, (n, 2)).tolist(), draws.integers(-3, 4, n).tolist()
    sigma = ["relu", "leaky_relu(1/4)", "abs"][seed % 3]
    arcs = [p for p in correlation_points(sigma, x, y).points if p.value != 0]
    found = sphere_points(sigma, x, y).points
    expected = sorted((float(p.value), *map(float, p.direction)) for p in arcs)
    assert np.allclose(sorted((float(p.value), *map(float, p.direction)) for p in found), expected, atol=1e-9)
    kinds = {tuple(round(float(u), 9) for u in p.direction): p.kind for p in arcs}
    for p in found:
        if p.kind != "degenerate":
            assert kinds[tuple(round(float(u), 9) for u in p.direction)] == p.kind


@pytest.mark.parametrize(("n", "d"), [(8, 3), (20, 3), (8, 4), (7, 5), (7, 6)])
def test_the_euler_characteristic_of_the_sphere_is_met(n, d):
    found = sphere_points("leaky_relu(1/5)", *drawn(n + d, n, d))
    assert found.euler == (1 + (-1) ** (d - 1),) * 2
    assert {p.kind for p in found.points} >= {"maximum", "minimum"}


@pytest.mark.parametrize(("n", "d"), [(9, 3), (9, 4)])
def test_ascent_ends_in_listed_maxima_only(n, d):
    x, y = drawn(3 * n + d, n, d)
    known = [p for p in sphere_points("relu", x, y).points if p.kind == "maximum" and p.value > 0]
    places = np.array([[float(u) for u in p.direction] for p in known])
    xs, ys = arrays(x, y)
    u = np.random.default_rng(0).standard_normal((200, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    for step in 0.05 * 0.997 ** np.arange(4000):
        g = ((u @ xs.T > 0) * ys) @ xs
        u = u + step * g
        u /= np.linalg.norm(u, axis=1, keepdims=True)
    ended = correlation(u, xs, ys)
    up = u[ended > 0.1]
    distance = np.linalg.norm(up[:, None] - places[None], axis=2).min(axis=1)
    assert distance.max() < 1e-2
    assert abs(ended.max() - max(float(p.value) for p in known)) < 1e-3


def test_kinds_are_those_of_nearby_values():
    x, y = drawn(5, 9, 3)
    xs, ys = arrays(x, y)
    draws = np.random.default_rng(1)
    for p in sphere_points("relu", x, y).points:
        u = np.array([float(v) for v in p.direction])
        near = u + 1e-4 * draws.standard_normal((2000, 3))
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        change = correlation(near, xs, ys) - float(p.value)
        signs = {"maximum": (False, True), "minimum": (True, False), "saddle": (True, True)}[p.kind]
        assert ((change > 1e-12).any(), (change < -1e-12).any()) == signs


def test_antipodal_samples_whose_kinks_cancel_leave_a_smooth_function():
    found = sphere_points("relu", [[1, 2, 2], [-1, -2, -2]], [1, -1])  # G = u . x
    assert [(p.direction, p.value) for p in found.points] == [
        ((R(1, 3), R(2, 3), R(2, 3)), 3),
        ((-R(1, 3), -R(2, 3), -R(2, 3)), -3),
    ]
    assert found.euler == (2, 2)


def test_dependent_samples_on_one_kink_are_decided_by_the_exact_hull():
    x = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]
    found = sphere_points("relu", x, [-1, -1, -1, 3])
    (p,) = [p for p in found.points if p.value == 3]
    assert (p.direction, p.kink, p.kind) == ((0, 0, 1), (1, 2, 3), "degenerate")
    total = sum(
        np.array(row, dtype=float) * float(y * p.slopes[i])
        for i, (row, y) in enumerate(zip(x[:3], [-1] * 3, strict=True), 1)
    )
    assert np.allclose(total, 0)


def test_dead_cones_are_listed_as_faces_where_g_vanishes():
    found = sphere_points("relu", [[1, 0], [0, 1]], [1, 1])
    assert (-1, -1) in found.flat
    assert found.euler is None


@pytest.mark.parametrize(
    ("x", "y", "sigma", "error", "words"),
    [
        ([[1, 2], [1]], [1, 1], "relu", ValueError, "required are"),
        ([[1, 2]], [1, 1], "relu", ValueError, "required are"),
        ([[sqrt(2), 1]], [1], "relu", ValueError, "rational"),
        ([[0.5, 1]], [1], "relu", ValueError, "exact"),
        ([[1, 2]], [1], "tanh", AssumptionError, "1-homogeneous"),
        ([[1, 2]], [1], "quadratic", AssumptionError, "1-homogeneous"),
    ],
)
def test_bad_input_is_refused(x, y, sigma, error, words):
    with pytest.raises(error, match=words):
        sphere_points(sigma, x, y)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(20, 4), (20, 5), (16, 6), (20, 6)])
def test_twenty_samples_in_up_to_six_dimensions_are_complete(n, d):
    found = sphere_points("relu", *drawn(n * d, n, d))
    assert found.flat or found.euler == (1 + (-1) ** (d - 1),) * 2
    assert all(p.index is not None for p in found.points)


@pytest.mark.parametrize("seed", range(3))
def test_double_precision_only_saves_work(seed, monkeypatch):
    data = drawn(seed, 7, 3)
    found = sphere_points("relu", *data)
    monkeypatch.setattr(correlation_module, "CLEARLY", float("inf"))
    monkeypatch.setattr(correlation_module, "WELL", 0.0)
    assert sphere_points("relu", *data) == found
