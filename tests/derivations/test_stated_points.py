"""KKT points of textbook problems worked by hand, and of random quadratic programmes against enumeration in floating point."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sympy import Rational, Symbol, sqrt

from derivations.stated import stated
from derivations.stated_points import kkt_points
from derivations.stated_second_order import is_convex, signature
from numerics.tolerances import SAME_FORMULA

HALF = Rational(1, 2)
ROOT = sqrt(2) / 2


def solve(objective, names, equalities=(), inequalities=(), maximise=False):
    problem = stated(
        objective, names.split(), equalities=equalities, inequalities=inequalities, maximise=maximise
    )
    return kkt_points(problem)


def listed(found):
    return [(p.values, tuple(p.multipliers.values()), p.kind) for p in found.points]


def test_an_inactive_constraint_has_the_multiplier_zero():
    found = solve("x**2 + y**2", "x y", ["x + y = 1"], ["x >= 0"])
    assert found.complete
    assert listed(found) == [((HALF, HALF), (-1, 0), "global minimum")]
    assert found.points[0].active == ()


def test_two_active_constraints():
    """Nocedal and Wright's kind of example: the corner (1, 1) of a parabola and a line, multipliers 2/3 and 2/3."""
    found = solve("(x - 2)**2 + (y - 1)**2", "x y", (), ["x**2 <= y", "x + y <= 2"])
    assert found.complete
    assert listed(found) == [((1, 1), (Rational(2, 3), Rational(2, 3)), "global minimum")]


def test_an_active_constraint_with_multiplier_zero():
    """min (x - 1)^2 + y^2 with x <= 1: the minimum without the constraint lies on it."""
    found = solve("(x - 1)**2 + y**2 - y**4", "x y", (), ["x <= 1"])
    at_one = next(p for p in found.points if p.values == (1, 0))
    assert at_one.active == ("lambda_1",)
    assert at_one.multipliers == {"lambda_1": 0}
    assert at_one.kind == "strict local minimum"
    saddle = next(p for p in found.points if p.values == (1, ROOT))
    assert saddle.kind == "no local minimum"


def test_a_weakly_active_constraint_may_leave_the_second_order_undecided():
    found = solve("x**3", "x", (), ["x >= 0"])
    assert [(p.values, p.kind) for p in found.points] == [((0,), "undecided")]


def test_a_maximum_on_the_circle_and_its_saddles():
    found = solve("x*y", "x y", (), ["x**2 + y**2 <= 1"], maximise=True)
    assert found.complete
    assert listed(found) == [
        ((-ROOT, -ROOT), (HALF,), "strict local maximum"),
        ((0, 0), (0,), "no local maximum"),
        ((ROOT, ROOT), (HALF,), "strict local maximum"),
    ]


def test_the_cusp_of_kuhn_and_tucker_has_no_kkt_point_at_its_minimum():
    """max x with 0 <= y <= (1 - x)^3: the maximum (1, 0) is no KKT point, since the gradients there are dependent."""
    found = solve("x", "x y", (), ["y >= 0", "y <= (1 - x)**3"], maximise=True)
    assert found.complete
    assert found.points == ()
    assert found.abnormal == ((1, 0),)


def test_without_licq_a_point_is_kkt_and_says_so():
    """Two circles that touch in the origin; there x = 0 is forced, and every multiplier with mu_1 - mu_2 = 1/2 will do."""
    found = solve("x + y**2", "x y", ["(x - 1)**2 + y**2 = 1", "(x + 1)**2 + y**2 = 1"])
    (point,) = found.points
    assert point.values == (0, 0)
    assert point.licq is False
    assert point.multipliers["mu_1"] - point.multipliers["mu_2"] == HALF
    assert found.abnormal == ((0, 0),)


def test_equalities_that_repeat_are_said_to_be_dependent():
    found = solve("y**2 + x", "x y", ["x = 0", "2*x = 0"])
    assert [p.licq for p in found.points] == [False]
    assert found.dependent == ((Symbol("x", real=True),),)


def test_the_optimal_edge_of_a_linear_programme_is_a_family():
    found = solve("x + y", "x y", (), ["x >= 0", "y >= 0", "x + y >= 1"])
    x, y = Symbol("x", real=True), Symbol("y", real=True)
    assert not found.complete
    assert found.families == ((x + y - 1,),)
    assert [p.values for p in found.points] == [(0, 1), (1, 0)]
    assert {p.kind for p in found.points} == {"global minimum"}


def test_a_linear_programme_with_one_corner():
    found = solve("-3*x - 2*y", "x y", (), ["x + y <= 4", "x + 3*y <= 6", "x <= 3", "x >= 0", "y >= 0"])
    assert found.complete
    assert listed(found) == [((3, 1), (2, 0, 1, 0, 0), "global minimum")]


def test_kinks_are_those_of_clarke():
    """|x| - x^2: a sharp minimum at 0 between two maxima; at 0 the hull [-1, 1] contains 0."""
    found = solve("abs(x) - x**2", "x")
    assert found.complete
    assert [(p.values, p.kinks != (), p.kind) for p in found.points] == [
        ((-HALF,), False, "no local minimum"),
        ((0,), True, "strict local minimum"),
        ((HALF,), False, "no local minimum"),
    ]


def test_a_clarke_point_from_which_the_objective_falls_is_no_minimum():
    """-|x|: 0 lies in the hull [-1, 1] and is the maximum."""
    assert [(p.values, p.kind) for p in solve("-abs(x)", "x").points] == [((0,), "no local minimum")]


def test_the_exact_hull_decides_and_not_the_sum_rule():
    """relu(x) - relu(-x) is x: no stationary point, though the sum of the two hulls contains 0."""
    found = solve("relu(x) - relu(-x) + y**2", "x y")
    assert found.complete
    assert found.points == ()


def test_a_maximum_of_affine_functions():
    found = solve("max(x, -x, y)", "x y", ["x + 2*y = 1"])
    third = Rational(1, 3)
    assert [(p.values, p.multipliers["mu_1"]) for p in found.points] == [((third, third), -third)]
    assert found.points[0].kind == "strict local minimum"


def test_the_margin_of_one_relu_neuron():
    """min |theta|^2 / 2 with a relu(w) >= 1: a = w = 1 and multiplier 1, as in the hard-margin conditions."""
    found = solve("(a**2 + w**2)/2", "a w", (), ["a*relu(w) >= 1"])
    assert found.complete
    assert listed(found) == [((1, 1), (1,), "strict local minimum")]


def test_roots_of_degree_three_are_exact():
    found = solve("x**4/4 - x**2 - x", "x")  # x^3 - 2 x - 1 = (x + 1)(x^2 - x - 1)
    assert [p.values[0] for p in found.points] == [-1, HALF - sqrt(5) / 2, HALF + sqrt(5) / 2]
    cubic = solve("x**4/4 - x**2 - 5*x", "x")
    assert float(cubic.points[0].values[0]) == pytest.approx(2.0945514815423265, rel=1e-15)
    assert cubic.points[0].kind == "strict local minimum"


def test_what_is_too_large_is_said():
    found = solve("x**4 + y**4 - x*y + x", "x y")
    assert not found.complete
    assert "algebraic degree 9" in found.missing[0]
    many = solve("x", "x", (), [f"x <= {j}" for j in range(1, 12)])
    assert "more than 729 cases" in many.missing[0]


def test_coefficients_must_be_rational():
    with pytest.raises(ValueError, match="rational coefficients"):
        solve("sqrt(2)*x**2", "x")


def enumerated(matrix, linear, rows, bounds):
    """KKT points of min x'Qx/2 + q'x with rows x <= bounds, by all active sets, in floating point."""
    size, found = len(linear), []
    for count in range(size + 1):
        for active in itertools.combinations(range(len(rows)), count):
            a = rows[list(active)]
            zero = np.zeros((count, count))
            system = np.block([[matrix, a.T], [a, zero]]) if count else matrix
            if abs(np.linalg.det(system)) < 1e-9:
                continue
            solution = np.linalg.solve(system, np.concatenate([-linear, bounds[list(active)]]))
            x, multipliers = solution[:size], solution[size:]
            if (multipliers >= -1e-9).all() and (rows @ x <= bounds + 1e-9).all():
                found.append(tuple(x))
    return sorted(set(found))


@pytest.mark.parametrize("seed", range(6))
def test_random_quadratic_programmes_agree_with_enumeration_in_floating_point(seed):
    draw = np.random.default_rng(seed)
    matrix = draw.integers(-3, 4, (2, 2))
    matrix = matrix + matrix.T
    linear, rows, bounds = draw.integers(-3, 4, 2), draw.integers(-2, 3, (3, 2)), draw.integers(1, 4, 3)
    rows = rows[np.abs(rows).sum(axis=1) > 0]
    bounds = bounds[: len(rows)]
    x, y = "x", "y"
    objective = (
        f"({matrix[0, 0]}*{x}**2 + 2*({matrix[0, 1]})*{x}*{y} + ({matrix[1, 1]})*{y}**2)/2"
        f" + ({linear[0]})*{x} + ({linear[1]})*{y}"
    )
    constraints = [f"({r[0]})*x + ({r[1]})*y <= {b}" for r, b in zip(rows, bounds, strict=True)]
    found = solve(objective, "x y", (), constraints)
    if not found.complete:  # a continuum, which the enumeration meets as a singular system
        assert found.families
        return
    exact = [tuple(float(u) for u in p.values) for p in found.points]
    by_hand = enumerated(matrix.astype(float), linear.astype(float), rows.astype(float), bounds.astype(float))
    assert len(exact) == len(by_hand)
    np.testing.assert_allclose(
        np.array(exact), np.array(by_hand), rtol=0, atol=1e3 * max(SAME_FORMULA.values())
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_signature_is_that_of_the_eigenvalues(seed):
    draw = np.random.default_rng(seed)
    factor = draw.integers(-2, 3, (4, 2))
    matrix = factor @ np.diag([1, -1]) @ factor.T  # rank at most 2
    values = np.linalg.eigvalsh(matrix.astype(float))
    counts = (int((values < -1e-9).sum()), int((abs(values) <= 1e-9).sum()), int((values > 1e-9).sum()))
    assert signature([[Rational(int(u)) for u in row] for row in matrix]) == counts


def test_convexity_is_shown_or_not_claimed():
    x, y = Symbol("x", real=True), Symbol("y", real=True)
    assert is_convex(x**2 - 2 * x * y + y**2 + abs(x - y), [x, y])
    assert not is_convex(x * y, [x, y])
    assert not is_convex(x**4, [x])  # convex, but not by the criterion


def test_curvature_outside_the_critical_cone_does_not_count():
    """x y on x, y >= 0: at the origin both constraints are weakly active, and the negative direction (1, -1) is not feasible."""
    found = solve("x*y", "x y", (), ["x >= 0", "y >= 0"])
    origin = next(p for p in found.points if p.values == (0, 0))
    assert origin.multipliers == {"lambda_1": 0, "lambda_2": 0}
    assert origin.kind == "undecided"
