"""Clarke subdifferentials are hulls of limits of gradients; linear alternatives and cells are decided exactly."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import pytest
from sympy import Abs, Add, Expr, Float, I, Integer, Max, Rational, Symbol, pi, sqrt, symbols, tanh

from derivations import exact_lp
from derivations.clarke import clarke_vertices
from derivations.exact_lp import exact_numbers, exact_sign, nonnegative_solution, sign_patterns
from derivations.functions import relu, step

U, V, W = symbols("u v w", real=True)
X1 = [(1, Rational(1, 2)), (Rational(-3, 10), 1), (Rational(3, 5), Rational(-4, 5))]
Y1 = (1, Rational(-1, 2), Rational(4, 5))


def rationals(values):
    return [Rational(u) for u in values]


# ---- signs and numbers


@pytest.mark.parametrize(
    ("value", "sign"),
    [
        (Integer(0), 0),
        (Rational(-1, 10**40), -1),
        (sqrt(2) + sqrt(3) - sqrt(5 + 2 * sqrt(6)), 0),
        (sqrt(10**60 + 1) - 10**30, 1),
        (sqrt(2) * sqrt(3) - sqrt(6) - Rational(1, 10**50), -1),
        ((sqrt(5) + 1) ** 3 / 8 - sqrt(5) - 2, 0),
    ],
)
def test_signs_of_algebraic_numbers(value, sign):
    assert exact_sign(value) == sign


@pytest.mark.parametrize(
    "bad", [0.5, 0.0, "1/2", None, True, pi, I, Symbol("x"), sqrt(2) * Float(0.5), float("nan")]
)
def test_only_exact_real_algebraic_numbers_are_taken(bad):
    with pytest.raises(ValueError, match=r"the data: found .*exact real numbers are required"):
        exact_numbers([1, bad])


# ---- linear alternatives


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [Integer(1), sqrt(2)])
def test_exactly_one_alternative_holds_and_is_a_proof(seed, scale):
    draw = random.Random(seed)
    matrix = [[draw.randint(-3, 3) * (scale if j % 2 else 1) for j in range(4)] for _ in range(3)]
    right = [Integer(draw.randint(-3, 3)) for _ in range(3)]
    matrix = [[Integer(1) * u for u in row] for row in matrix]
    found = nonnegative_solution(matrix, right)
    assert (found.solution is None) != (found.certificate is None)
    if found.solution is not None:
        assert all(exact_sign(u) >= 0 for u in found.solution)
        for row, value in zip(matrix, right, strict=True):
            assert exact_sign(Add(*[u * v for u, v in zip(row, found.solution, strict=True)]) - value) == 0
    else:
        y = found.certificate
        for j in range(4):
            assert exact_sign(Add(*[u * row[j] for u, row in zip(y, matrix, strict=True)])) <= 0
        assert exact_sign(Add(*[u * v for u, v in zip(y, right, strict=True)])) > 0


def test_both_alternatives_occur_and_cycling_is_excluded():
    # Beale's example, on which the largest-coefficient rule cycles, as a feasibility problem.
    quarter = Rational(1, 4)
    rows = [
        [quarter, -60, Rational(-1, 25), 9, 1, 0, 0],
        [Rational(1, 2), -90, Rational(-1, 50), 3, 0, 1, 0],
        [0, 0, 1, 0, 0, 0, 1],
        [Rational(3, 4), -150, Rational(1, 50), -6, 0, 0, 0],
    ]
    rows = [rationals(row) for row in rows]
    best = nonnegative_solution(rows, rationals([0, 0, 1, Rational(1, 20)]))
    assert best.solution is not None  # 1/20 is the maximum of the last form
    beyond = nonnegative_solution(rows, rationals([0, 0, 1, Rational(1, 20) + Rational(1, 10**9)]))
    assert beyond.certificate is not None


def test_ragged_systems_are_refused():
    one = Integer(1)
    with pytest.raises(ValueError, match="one right-hand side for each row"):
        nonnegative_solution([[one], [one, one]], [one, one])
    with pytest.raises(ValueError, match="one right-hand side for each row"):
        nonnegative_solution([[one]], [one, one])


# ---- cells


@pytest.mark.parametrize(("count", "size"), [(1, 1), (4, 2), (5, 3), (4, 4), (3, 5)])
def test_number_of_cells_in_general_position(count, size):
    draw = random.Random(count * 10 + size)
    normals = [[Integer(draw.randint(-50, 50)) for _ in range(size)] for _ in range(count)]
    patterns = sign_patterns(normals)
    assert len(set(patterns)) == len(patterns) == 2 * sum(comb(count - 1, s) for s in range(size))
    assert {tuple(-s for s in p) for p in patterns} == set(patterns)


def test_parallel_and_antipodal_normals_tie_their_signs():
    normals = [rationals(u) for u in ([1, 2], [2, 4], [-1, -2], [0, 1])]
    assert sign_patterns(normals) == ((1, 1, -1, 1), (1, 1, -1, -1), (-1, -1, 1, 1), (-1, -1, 1, -1))


def test_cells_are_limited_and_zero_normals_refused(monkeypatch):
    with pytest.raises(ValueError, match="normal 1 is zero"):
        sign_patterns([rationals([1, 0]), rationals([0, 0])])
    monkeypatch.setattr(exact_lp, "MAX_PATTERNS", 7)
    with pytest.raises(ValueError, match="more than 7 activation patterns"):
        sign_patterns([rationals([1, k]) for k in range(4)])


# ---- subdifferentials


def sampled_gradients(x, y, slopes, point, rng, draws=600):
    """Limits of gradients of sum y_i sigma(u.x_i) along random directions, in plain fractions."""
    below, above = slopes
    found = set()
    for _ in range(draws):
        v = [Fraction(rng.randint(-999, 999), 1000) for _ in point]
        gradient = [Fraction(0)] * len(point)
        for row, label in zip(x, y, strict=True):
            z = sum(a * b for a, b in zip(row, point, strict=True))
            side = z if z else sum(a * b for a, b in zip(row, v, strict=True))
            if side == 0 and any(row):
                break
            slope = above if side > 0 else below
            gradient = [g + label * slope * a for g, a in zip(gradient, row, strict=True)]
        else:
            found.add(tuple(gradient))
    return found


@pytest.mark.parametrize("name", ["relu", "abs", "leaky"])
@pytest.mark.parametrize("seed", range(4))
def test_vertices_are_the_limits_of_gradients(name, seed):
    """In R^3 with four dependent data on the kink, two of them antipodal, and three off it."""
    rng = random.Random(seed)
    on = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (-1, 0, 0)]
    off = [(rng.randint(-3, 3), rng.randint(-3, 3), rng.choice([-2, 1])) for _ in range(3)]
    x, point = [*on, *off], (0, 0, 1)
    y = [rng.choice([-2, -1, 1, 3]) for _ in x]
    slopes = {"relu": (0, 1), "abs": (-1, 1), "leaky": (Fraction(1, 10), 1)}[name]
    sigma = {"relu": relu, "abs": Abs, "leaky": lambda z: Max(z, z / 10)}[name]
    expr = Add(*[label * sigma(a * U + b * V + c * W) for (a, b, c), label in zip(x, y, strict=True)])
    found = clarke_vertices(expr, dict(zip((U, V, W), point, strict=True)))
    as_fractions = {tuple(Fraction(int(u.p), int(u.q)) for u in g) for g in found.gradients}
    assert as_fractions == sampled_gradients(x, y, slopes, point, rng)


def test_the_sum_rule_would_create_a_spurious_critical_point():
    """y sigma(u.x) - y sigma(-u.x) = y u.x is smooth; with free slopes its 'subdifferential' would contain 0."""
    smooth = relu(U + 2 * V) - relu(-U - 2 * V)
    found = clarke_vertices(smooth, {U: 2, V: -1})
    assert len(found.kinks) == 2
    assert found.gradients == ((1, 2),)
    assert not found.membership().holds
    # The slopes t = 0 and t' = 0 of the sum rule give 0 t x + 0 t' x = 0.
    assert clarke_vertices(relu(U + 2 * V), {U: 2, V: -1}).membership().holds
    assert clarke_vertices(-relu(-U - 2 * V), {U: 2, V: -1}).membership().holds


def test_kink_of_the_correlation_with_its_coefficient():
    """W1: at u = (-1, 2)/sqrt 5 the vector G(u) u lies in the subdifferential with t_1 = 0.08."""
    expr = Add(*[label * relu(a * U + b * V) for (a, b), label in zip(X1, Y1, strict=True)])
    found = clarke_vertices(expr, {U: Rational(-1, 2), V: 1})
    assert set(found.gradients) == {(Rational(23, 20), 0), (Rational(3, 20), Rational(-1, 2))}
    radial = found.membership((Rational(23, 100), Rational(-23, 50)))
    assert radial.holds
    assert list(radial.switches.values()) == [Rational(2, 25)]
    assert Add(*radial.weights) == 1


def test_outside_the_hull_a_descent_direction_is_returned():
    expr = 2 * Abs(U) + relu(V - U) + V
    found = clarke_vertices(expr, {U: 0, V: 0})
    answer = found.membership()
    assert not answer.holds
    v = dict(zip((U, V), answer.direction, strict=True))
    for scale in (Rational(1), Rational(1, 1000)):
        assert expr.subs({u: scale * c for u, c in v.items()}) < 0
    assert all(g[0] * v[U] + g[1] * v[V] < 0 for g in found.gradients)


def test_smooth_points_have_one_gradient():
    found = clarke_vertices(relu(U) ** 2 + tanh(V) * Abs(U - 1), {U: 0, V: 0})
    assert found.gradients == ((0, 1),)
    assert not clarke_vertices(relu(U - 1) + V, {U: 0, V: 0}).kinks


def test_nested_kinks_are_resolved_where_they_do_not_meet():
    inner_off_kink = relu(2 * relu(U) - 1)
    assert clarke_vertices(inner_off_kink, {U: Rational(1, 2)}).gradients == ((2,), (0,))
    assert clarke_vertices(relu(1 + relu(U)), {U: 0}).gradients == ((1,), (0,))
    with pytest.raises(NotImplementedError, match="depends on another kink"):
        clarke_vertices(relu(relu(U) - V), {U: 0, V: 0})


def test_curved_kinks_are_resolved_where_their_gradients_are_independent():
    independent = relu(U * V - 1) + Abs(V - 1)
    found = clarke_vertices(independent, {U: 1, V: 1})
    assert set(found.gradients) == {(1, 2), (0, 1), (1, 0), (0, -1)}
    # u v = 0 and u = 0 touch at the origin: the signs of the linear parts do not tell the cells.
    with pytest.raises(NotImplementedError, match="gradients are dependent"):
        clarke_vertices(relu(U * V) + relu(U), {U: 0, V: 0})


def test_algebraic_points_are_exact():
    found = clarke_vertices(relu(U - sqrt(2) * V) + U, {U: sqrt(2), V: 1})
    assert found.gradients == ((2, -sqrt(2)), (1, 0))
    assert found.membership((Rational(3, 2), -sqrt(2) / 2)).holds
    assert not found.membership((Rational(3, 2), -sqrt(2) / 3)).holds


@pytest.mark.parametrize(
    ("expr", "point", "message"),
    [
        (relu(U), {U: 0.0}, "exact real numbers"),
        (relu(U * V), {U: 0}, "no value for v"),
        (Integer(1), {}, "no coordinates"),
        (step(U, 0), {U: 1}, "locally Lipschitz"),
    ],
)
def test_bad_points_and_functions_are_refused(expr: Expr, point, message):
    with pytest.raises(ValueError, match=message):
        clarke_vertices(expr, point)


def test_targets_are_checked():
    found = clarke_vertices(relu(U), {U: 0})
    with pytest.raises(ValueError, match="2 coordinates"):
        found.membership((0, 0))
    with pytest.raises(ValueError, match="exact real numbers"):
        found.membership((0.5,))
