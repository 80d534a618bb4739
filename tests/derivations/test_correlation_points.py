"""The list of KKT points on the circle is complete: published values, a fine scan, and exact certificates."""

from __future__ import annotations

import math
import random

import pytest
from sympy import Add, Integer, Matrix, N, Rational, sqrt

from derivations.activations import activation
from derivations.constrained_problems import constrained
from derivations.correlation_points import correlation_points
from derivations.errors import AssumptionError
from derivations.exact_lp import exact_sign
from derivations.kkt_check import check_kkt
from derivations.kkt_instance import instance
from derivations.problem import Problem

R = Rational
W1 = ([[1, R(1, 2)], [R(-3, 10), 1], [R(3, 5), R(-4, 5)]], [1, R(-1, 2), R(4, 5)])
W4 = (
    [[1, R(1, 5)], [R(4, 5), R(-2, 5)], [R(3, 5), R(1, 2)], [R(-1, 2), R(9, 10)], [R(-9, 10), R(3, 10)]],
    [1, R(7, 10), R(9, 10), R(-3, 5), R(-3, 10)],
)
LEAKY = "max(z, z/10)"

#: Ten decimals are published.
PRINTED = 6e-11
#: The saddle of W4 was found by integration; against the exact fit (beta = 244/241, 905/2169) it is off by up to 6e-10.
INTEGRATED = 1e-9


def near(found, expected, bound=PRINTED):
    gaps = [abs(float(N(u, 15)) - v) for u, v in zip(found, expected, strict=True)]
    assert max(gaps) < bound, f"{[N(u, 12) for u in found]} != {expected}"


# ---- published values (arXiv:2402.09226 setting)


@pytest.mark.parametrize(
    ("data", "sigma", "expected"),
    [
        (
            W1,
            "relu",
            [(0.9955557351, -0.0941741912, 1.4866068747), (-0.4472135955, 0.8944271910, -0.5142956348)],
        ),
        (
            W1,
            LEAKY,
            [(0.9920205612, -0.1260761917, 1.5070252154), (-0.5015669498, 0.8651188328, -0.5941380311)],
        ),
        (
            W4,
            "relu",
            [(0.9848307339, 0.1735177960, 2.1323461257), (-0.6709133240, 0.7415357791, -0.8495881355)],
        ),
    ],
)
def test_published_directions_and_values(data, sigma, expected):
    points = sorted(correlation_points(sigma, *data).points, key=lambda p: -float(p.value))
    assert len(points) == len(expected)
    for p, values in zip(points, expected, strict=True):
        near((*p.direction, p.value), values)
        assert p.attracting
        assert p.multiplier == p.value


def test_published_kink_coefficient_and_neuron():
    (p,) = [p for p in correlation_points("relu", *W1).points if p.kink]
    assert (p.kink, p.slopes) == ((1,), {1: R(2, 25)})
    a, w = p.neuron
    assert a == -1 / sqrt(2)
    value = -p.value / 2  # N = |G| / 2
    near([value], [0.2571478174])
    near(
        [a**2 + w[0] ** 2 + w[1] ** 2, a * sqrt(2) * p.value * sqrt(w[0] ** 2 + w[1] ** 2) / sqrt(2)],
        [1, float(value)],
    )


def test_best_value_bounds_every_time_scale():
    found = correlation_points("relu", *W1)
    near([found.best / 2], [0.7433034374])


def test_published_residual_correlation_at_the_saddle():
    """W5: the residual at the least-squares fit of the active data {1, 2, 3} of W4."""
    x, y = W4
    active = Matrix(x[:3])
    beta = (active.T * active).LUsolve(active.T * Matrix(y[:3]))
    near(beta, [1.0124481328, 0.4172429692], INTEGRATED)
    residual = [*(Matrix(y[:3]) - active * beta), *y[3:]]
    near(residual, [-0.0958967268, 0.0569386811, 0.0839096363, -0.6, -0.3], INTEGRATED)
    points = correlation_points("relu", x, residual).points
    at_kink = [p for p in points if p.kink == (1,)]
    p = next(p for p in at_kink if p.value > 0)
    near(
        (*p.direction, p.value, p.slopes[1]),
        (0.1961161351, -0.9805806757, 0.0312664636, 0.4110576923),
        10 * INTEGRATED,  # the coefficient divides the residual by the jump, 0.096
    )
    lowest = min(points, key=lambda p: float(p.value))
    near((*lowest.direction, lowest.value), (-0.6709133240, 0.7415357791, -0.8495881355), INTEGRATED)
    # The published list holds the attracting points; every other one is a weak critical point of |G|.
    assert {id(q) for q in points if q.attracting} == {id(p), id(lowest)}


def test_quadratic_activation_gives_the_eigenvectors():
    x, y = W1
    m = Add(
        *[label * Matrix(row) * Matrix(row).T for row, label in zip(x, y, strict=True)], evaluate=False
    ).doit()
    found = correlation_points("quadratic", x, y)
    assert len(found.points) == 4
    for p in found.points:
        u = Matrix(p.direction)
        for defect in m * u - p.value * u:
            assert exact_sign(defect) == 0
        assert p.multiplier == 2 * p.value
    assert sorted(p.kind for p in found.points) == ["maximum", "maximum", "minimum", "minimum"]


def test_linear_activation_has_one_direction_and_its_opposite():
    x, y = W1
    g = [Add(*[label * row[j] for row, label in zip(x, y, strict=True)]) for j in range(2)]
    found = correlation_points("linear", x, y)
    assert {p.direction for p in found.points} == {
        tuple(s * u / sqrt(g[0] ** 2 + g[1] ** 2) for u in g) for s in (1, -1)
    }
    assert not any(p.kink for p in found.points)


# ---- completeness against a scan


def scan(sigma, x, y, count=12000):
    """Strict local extrema of G on a grid of angles, (angle, value, kind), by comparing neighbours."""
    rows = [(float(a), float(b), float(c)) for (a, b), c in zip(x, y, strict=True)]
    angles = [2 * math.pi * (j + 0.5) / count for j in range(count)]
    values = [sum(c * sigma(a * math.cos(t) + b * math.sin(t)) for a, b, c in rows) for t in angles]
    out = []
    for j, t in enumerate(angles):
        before, here, after = values[j - 1], values[j], values[(j + 1) % count]
        if here > before + 1e-14 and here >= after + 1e-14:
            out.append((t, here, "maximum"))
        if here < before - 1e-14 and here <= after - 1e-14:
            out.append((t, here, "minimum"))
    return out


SCALAR = {
    "relu": lambda z: max(z, 0.0),
    LEAKY: lambda z: max(z, z / 10),
    "abs": abs,
    "linear": lambda z: z,
    "quadratic": lambda z: z * z,
    "relu(z)**2": lambda z: max(z, 0.0) ** 2,
    "cubic": lambda z: z**3,
}


def drawn(seed, count):
    rng = random.Random(seed)
    x = [[R(rng.randint(-9, 9), 7), R(rng.randint(-9, 9), 5)] for _ in range(count)]
    x.append([-x[0][0], -x[0][1]])  # antipodal
    x.append([2 * x[1][0], 2 * x[1][1]])  # parallel
    y = [R(rng.choice([-3, -2, -1, 1, 2, 3]), 2) for _ in x]
    return x, y


@pytest.mark.parametrize("sigma", SCALAR)
@pytest.mark.parametrize("seed", [1, 2])
def test_extrema_agree_with_a_fine_scan(sigma, seed):
    x, y = drawn(seed, 4)
    found = correlation_points(sigma, x, y)
    expected = scan(SCALAR[sigma], x, y)
    listed = sorted(
        (math.atan2(float(p.direction[1]), float(p.direction[0])) % (2 * math.pi), float(p.value), p.kind)
        for p in found.points
        if p.kind != "inflection"
    )
    step = 2 * math.pi / 12000
    # Beside a plateau (an arc of KKT points) the scan may count its end, where the list has the arc.
    ends = [math.atan2(float(u[1]), float(u[0])) % (2 * math.pi) for arc in found.arcs for u in arc[:2]]
    inner = [e for e in expected if all(abs(e[0] - t) > 2 * step for t in ends)]
    assert len(listed) == len(inner)
    for (t, value, kind), (s, seen, same) in zip(listed, inner, strict=True):
        assert kind == same
        assert abs(t - s) <= step
        assert abs(value - seen) <= 60 * step  # |G'| is below 60 for these data


@pytest.mark.parametrize("sigma", SCALAR)
def test_maxima_and_minima_alternate(sigma):
    found = correlation_points(sigma, *drawn(5, 5))
    kinds = [p.kind for p in found.points if p.kind != "inflection"]
    if not found.arcs:
        assert kinds.count("maximum") == kinds.count("minimum") > 0
        assert all(a != b for a, b in zip(kinds, [*kinds[1:], kinds[0]], strict=True))


# ---- exact certificates from the general machinery


@pytest.mark.parametrize("sigma", ["relu", LEAKY, "abs"])
@pytest.mark.parametrize("data", [W1, W4], ids=["W1", "W4"])
def test_every_listed_point_has_exact_multipliers_and_a_perturbed_one_has_not(sigma, data):
    problem = instance(constrained(Problem.two_layer(sigma), "neuron-correlation"), *data)
    found = correlation_points(sigma, *data)
    for p in found.points:
        checked = check_kkt(problem, {"u": list(p.direction)})
        assert checked.holds
        assert exact_sign(checked.multipliers["mu"] - p.multiplier) == 0
        assert bool(p.kink) == bool(checked.slopes)
    cosine, sine = R(99, 101), R(20, 101)
    u, v = found.points[0].direction
    turned = check_kkt(problem, {"u": [cosine * u - sine * v, sine * u + cosine * v]})
    assert not turned.violated
    assert turned.multipliers is None


def test_the_neuron_of_a_kink_point_is_a_point_of_the_network():
    problem = instance(constrained(Problem.two_layer("relu"), "correlation"), *W1, width=1)
    for p in correlation_points("relu", *W1).points:
        a, w = p.neuron
        checked = check_kkt(problem, {"a": [a], "w": [list(w)]})
        assert checked.holds
        # lambda = 2 N, N = |G| / 2
        assert exact_sign(checked.multipliers["mu"] - p.value * exact_sign(p.value)) == 0
        assert sorted(checked.slopes.get("objective", {}).values()) == sorted(p.slopes.values())


@pytest.mark.parametrize(("length", "shared"), [(2, True), (1, False)])
def test_neurons_in_different_directions_are_kkt_only_with_equal_values(length, shared):
    """C2: all non-zero neurons share |G|; here G = 2 along (3, 4)/5 and -length along the opposite direction."""
    x = [[R(6, 5), R(8, 5)], [-R(3, 5) * length, -R(4, 5) * length]]
    found = correlation_points("relu", x, [1, -1])
    up = next(p for p in found.points if p.kind == "maximum")
    down = next(p for p in found.points if p.kind == "minimum")
    assert (up.value, down.value) == (2, -length)
    problem = instance(constrained(Problem.two_layer("relu"), "correlation"), x, [1, -1], width=2)
    (a, w), (b, u) = up.neuron, down.neuron
    c, s = R(3, 5), R(4, 5)
    split = {"a": [c * a, s * a], "w": [[c * v for v in w], [s * v for v in w]]}
    assert check_kkt(problem, split).holds
    mixed = {"a": [c * a, s * b], "w": [[c * v for v in w], [s * v for v in u]]}
    assert check_kkt(problem, mixed).holds == shared


# ---- degenerate cases


def test_antipodal_data_leave_no_spurious_point_on_their_kink():
    """y s(u.x) - y s(-u.x) = y u.x: two points, both smooth, though the kink has two data."""
    found = correlation_points("relu", [[2, 1], [-2, -1]], [1, -1])
    assert [p.kink for p in found.points] == [(), ()]
    assert [p.kind for p in found.points] == ["maximum", "minimum"]
    assert all(exact_sign(p.direction[0] - 2 * p.direction[1]) == 0 for p in found.points)


def test_several_data_on_one_kink_share_one_convex_combination():
    found = correlation_points("relu", [[1, 0], [2, 0], [-1, 0], [0, 1]], [-1, -1, -1, 3])
    p = next(p for p in found.points if p.direction == (0, 1))
    assert p.kink == (1, 2, 3)
    assert p.slopes[1] == p.slopes[2] == 1 - p.slopes[3]
    assert -p.slopes[1] - 2 * p.slopes[2] + p.slopes[3] == 0


def test_dead_cones_are_arcs():
    found = correlation_points("relu", [[1, 0], [0, 1]], [1, 1])
    assert found.arcs == (((-1, 0), (0, -1), 0),)
    # At (1, 0) the gradient on one side is (1, 0) itself: a KKT point through which G grows.
    assert [(p.direction, p.kind, p.slopes) for p in found.points] == [
        ((1, 0), "inflection", {2: 0}),
        ((sqrt(2) / 2, sqrt(2) / 2), "maximum", {}),
        ((0, 1), "inflection", {1: 0}),
    ]


@pytest.mark.parametrize(("sigma", "value"), [("quadratic", 1), ("linear", 0)])
def test_the_whole_circle_may_be_critical(sigma, value):
    labels = [1, 1] if sigma == "quadratic" else [1, -1]
    x = [[1, 0], [0, 1]] if sigma == "quadratic" else [[1, 2], [1, 2]]
    found = correlation_points(sigma, x, labels)
    assert not found.points
    (start, end, constant) = found.arcs[0]
    assert start == end
    assert constant == value


def test_inflections_are_kkt_points_that_are_no_extrema():
    """u_1^3 has inflections at (0, +-1): the cube root of the angle from there on is monotone."""
    found = correlation_points("cubic", [[1, 0], [0, 0]], [1, 1])
    assert [(p.direction, p.kind) for p in found.points] == [
        ((1, 0), "maximum"),
        ((0, 1), "inflection"),
        ((-1, 0), "minimum"),
        ((0, -1), "inflection"),
    ]
    assert not found.points[1].attracting
    with pytest.raises(ValueError, match="G vanishes"):
        _ = found.points[1].neuron


def test_double_roots_inside_an_arc_are_inflections():
    """Labels for which c = (2 u_1 - u_2)^2 (u_1 + 3 u_2), by comparing the coefficients of four cubes; no kink at (1, 2)."""
    x = [[1, 0], [0, 1], [1, 1], [1, -1]]
    found = correlation_points("cubic", x, [R(-11, 3), R(-7, 3), R(1, 6), R(-7, 6)])
    assert [p.kind for p in found.points] == ["inflection", "maximum", "inflection", "minimum"]
    along = [(1, 2), (-3, 1), (-1, -2), (3, -1)]
    for p, (u, v) in zip(found.points, along, strict=True):
        assert exact_sign(p.direction[0] * v - p.direction[1] * u) == 0
        assert exact_sign(p.direction[0] * u + p.direction[1] * v) > 0


def test_algebraic_data_are_exact():
    found = correlation_points("relu", [[sqrt(2), 1], [-1, sqrt(3)]], [1, -1])
    for p in found.points:
        assert exact_sign(p.direction[0] ** 2 + p.direction[1] ** 2 - 1) == 0
    kinks = {p.kink for p in found.points if p.kink}
    expected = scan(SCALAR["relu"], [[math.sqrt(2), 1], [-1, math.sqrt(3)]], [1, -1])
    assert kinks
    assert {p.kind for p in found.points} <= {kind for _, _, kind in expected}


@pytest.mark.parametrize(
    ("sigma", "x", "y", "error", "message"),
    [
        ("tanh", [[1, 0]], [1], AssumptionError, "positive integer p, got tanh"),
        ("relu", [[1, 0, 0]], [1], ValueError, r"required are \(n, 2\)"),
        ("relu", [[1, 0]], [1, 2], ValueError, r"required are \(n, 2\)"),
        ("relu", [], [], ValueError, r"required are \(n, 2\)"),
        ("relu", [[0.5, 0]], [1], ValueError, "exact real numbers"),
        ("cubic", [[sqrt(2), 0]], [1], ValueError, "degree 3 needs rational data"),
    ],
)
def test_bad_input_is_refused(sigma, x, y, error, message):
    with pytest.raises(error, match=message):
        correlation_points(sigma, x, y)


def test_formulas_and_activation_objects_are_taken():
    by_name = correlation_points("relu", *W1)
    by_object = correlation_points(activation("(z + abs(z))/2"), *W1)
    assert [p.direction for p in by_name.points] == [p.direction for p in by_object.points]
    assert Integer(len(by_name.arcs)) == 1
