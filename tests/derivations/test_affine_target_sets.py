import numpy as np
import pytest
from sympy import Integer, Rational, Symbol

from derivations.activations import activation
from derivations.affine_target_sets import affine_target_sets
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.interval_point import interval_point
from derivations.problem import Problem

X = Symbol("x", real=True)


def line(sigma, lower=0, upper=1, target=X, **options):
    given = {"input_bias": True, "output_bias": True, "factor": 2} | options
    network = Problem.two_layer(activation(sigma), "square", **given)
    return IntervalProblem(network, Integer(lower), Integer(upper), X, target)


def signs(hessian):
    values = np.linalg.eigvalsh(np.array(hessian.evalf(25).tolist(), dtype=float))
    return (int((values < -1e-9).sum()), int((abs(values) <= 1e-9).sum()), int((values > 1e-9).sum()))


def risk(theta, sigma, lower, upper, target):
    """Average over many inputs: no formula of the code."""
    x = np.linspace(lower, upper, 4001)
    a, w, b, c = (np.asarray(theta[name], dtype=float) for name in "awbc")
    f = c + sigma(np.outer(x, w) + b) @ a
    return float(np.trapezoid((f - target(x)) ** 2, x))


PROBLEMS = [
    (line("relu"), 1),
    (line("relu"), 2),
    (line("relu"), 3),
    (line("relu", -1, 2, 3 - 2 * X), 3),
    (line("max(z, z/4)"), 2),
    (line("max(z, z/10)", 1, 3, -X), 1),
    (line("abs"), 2),
    (line("max(z, -z/2)"), 2),
    (line("linear"), 2),
    (line("relu(-z)"), 2),
    (line("relu", target=Integer(1)), 2),
    (line("max(z, z/4)", target=Integer(1)), 2),
]


@pytest.mark.parametrize(("problem", "width"), PROBLEMS)
def test_each_stratum_has_a_critical_point_of_its_value_and_inertia(problem, width):
    found = affine_target_sets(problem, width)
    for group in found.sets:
        for stratum in group.strata:
            point = interval_point(problem, stratum.theta)
            assert max(abs(float(u)) for u in point.gradient) < 1e-13
            assert abs(float(point.value - group.value)) < 1e-13
            assert signs(point.hessian) == stratum.inertia
            assert sum(stratum.inertia) == 3 * width + 1
            assert stratum.inertia[1] == stratum.dimension


@pytest.mark.parametrize(
    ("sigma", "width", "values"),
    [
        ("relu", 1, [0, 1 / 12]),
        ("relu", 2, [0, 1 / 972, 1 / 12]),
        ("relu", 3, [0, 1 / 972, 1 / 12]),
        ("max(z, z/4)", 1, [0, 0.00925925926, 1 / 12]),
        ("max(z, z/4)", 2, [0, 0.000495927168, 0.00232921501, 0.00925925926, 1 / 12]),
    ],
)
def test_critical_values_are_the_published_ones(sigma, width, values):
    found = affine_target_sets(line(sigma), width).values
    assert np.allclose([float(u) for u in found], values, rtol=1e-8, atol=0)


def test_only_dead_relu_neurons_make_minima_that_are_not_global():
    for width in (1, 2, 3):
        for group in affine_target_sets(line("relu"), width).sets[1:]:
            minima = [u.neurons for u in group.strata if u.kind == "minimum"]
            assert minima == ([("dead",) * width] if group.function == "constant" else [])
    for group in affine_target_sets(line("max(z, z/4)"), 2).sets[1:]:
        assert {u.kind for u in group.strata} == {"saddle"}


def test_neurons_that_share_a_kink_have_the_listed_inertias():
    problem, third = line("relu"), Rational(1, 3)
    stratum = next(
        u
        for group in affine_target_sets(problem, 3).sets
        for u in group.strata
        if u.neurons == ("kink 1", "kink 1", "kink 2")
    )
    expected = {stratum.inertia, *stratum.others}
    met = set()
    for first in (third, 1, 0, -2):  # the two slopes at the first kink sum to 2/3
        theta = {
            "a": [first, 2 * third - first, -2 * third],
            "w": [1, 1, -1],
            "b": [-third, -third, 2 * third],
            "c": Rational(1, 2),
        }
        point = interval_point(problem, theta)
        assert all(u == 0 for u in point.gradient)
        met.add(signs(point.hessian))
    assert met == expected


def test_the_zero_neuron_has_the_descent_that_is_claimed():
    def relu(z):
        return np.maximum(z, 0)

    before = risk({"a": [0], "w": [0], "b": [0], "c": 0.5}, relu, 0, 1, lambda x: x)
    drops = []
    for t in (1e-2, 1e-3):
        after = min(
            risk({"a": [sa * t], "w": [t], "b": [t**0.5], "c": 0.5}, relu, 0, 1, lambda x: x)
            for sa in (-1, 1)
        )
        drops.append((before - after) / t**2)
    assert min(drops) > 0.1


def test_a_neuron_with_no_weights_but_an_output_has_a_descent_of_first_order():
    assert "not critical" in affine_target_sets(line("relu"), 1).notes[0]
    before = risk({"a": [1], "w": [0], "b": [0], "c": 0.5}, lambda z: np.maximum(z, 0), 0, 1, lambda x: x)
    for t in (1e-3, 1e-4):
        moved = {"a": [1], "w": [t], "b": [0], "c": 0.5 - t / 2}
        after = risk(moved, lambda z: np.maximum(z, 0), 0, 1, lambda x: x)
        assert (before - after) / t > 0.1


@pytest.mark.parametrize(("kink", "w"), [(0.0, -1.0), (1.0, 1.0)])
def test_a_dead_neuron_with_its_kink_on_an_end_is_a_minimum_for_the_stated_sign_only(kink, w):
    group = affine_target_sets(line("relu"), 1).sets[1]
    words = next(u.neurons for u in group.boundary if u.kind == "minimum")
    draws = np.random.default_rng(0)

    def relu(z):
        return np.maximum(z, 0)

    for a in (-1.0, 1.0):
        start = np.array([a, w, -w * kink, 0.5])
        lowest = min(
            risk(dict(zip("awbc", ([u[0]], [u[1]], [u[2]], u[3]), strict=True)), relu, 0, 1, lambda x: x)
            for u in start + 1e-2 * draws.standard_normal((400, 4)) * [1, 1, 1, 1e-3]
        )
        stated = f"a {'>' if a > 0 else '<'} 0 at {int(kink)}" in words
        before = risk({"a": [a], "w": [w], "b": [-w * kink], "c": 0.5}, relu, 0, 1, lambda x: x)
        assert (lowest >= before - 1e-12) == stated


def test_a_flat_neuron_away_from_the_kinks_is_found_for_negative_slopes():
    names = {u for group in affine_target_sets(line("abs"), 1).sets for s in group.strata for u in s.neurons}
    assert {"flat (a = 0) at 1/2, w > 0", "flat (a = 0) at 1/2, w < 0"} <= names


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (line("relu", target=X**2), "affine"),
        (line("relu", target=abs(X - Rational(1, 2))), "affine"),
        (line("quadratic"), "1-homogeneous"),
        (line("relu", weight_decay=1), "weight decay"),
        (line("relu", output_bias=False), "output bias"),
        (line("relu", freeze=("c",)), "frozen"),
        (line("relu", target=Symbol("alpha", positive=True) * X), "numbers are needed"),
    ],
)
def test_other_problems_are_refused(problem, words):
    with pytest.raises(AssumptionError, match=words):
        affine_target_sets(problem, 1)


def test_widths_that_are_not_served_are_refused():
    with pytest.raises(ValueError, match="from 1 to"):
        affine_target_sets(line("relu"), 0)


@pytest.mark.slow
def test_a_search_finds_no_other_value():
    from numerics.critical import find_critical_points, starts
    from numerics.interval_system import compile_interval

    for sigma, width in (("relu", 2), ("max(z, z/4)", 2), ("max(z, -z/2)", 2), ("abs", 1)):
        problem = line(sigma)
        known = np.array([float(u) for u in affine_target_sets(problem, width).values])
        system = compile_interval(problem, width)
        met = system.value(find_critical_points(system, starts(system, 600, 1)).theta)
        assert len(met)
        assert all(np.abs(known - float(u)).min() < 1e-7 for u in met)
