import numpy as np
import pytest
from sympy import Integer, Rational, Symbol

from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.interval_point import interval_point
from derivations.problem import Problem
from derivations.quadratic_sets import quadratic_sets

X = Symbol("x", real=True)


def line(target, lower=0, sigma="quadratic", **options):
    given = {"input_bias": True, "output_bias": True, "factor": 2} | options
    network = Problem.two_layer(sigma, "square", **given)
    return IntervalProblem(network, Integer(lower), Integer(1), X, target)


def signs(hessian):
    values = np.linalg.eigvalsh(np.array(hessian.evalf(25).tolist(), dtype=float))
    return (int((values < -1e-9).sum()), int((abs(values) <= 1e-9).sum()), int((values > 1e-9).sum()))


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize(
    "problem",
    [
        line(X),
        line(X**2, -1),
        line(-(X**2), -1),
        line(X**3, -1),
        line(X**2 * (X - 1), -1),
        line(X**4 - X**2 * Rational(6, 7), -1),
        line(Integer(1)),
    ],
)
def test_each_stratum_has_a_critical_point_of_its_value_and_inertia(problem, width):
    for group in quadratic_sets(problem, width).sets:
        for stratum in group.strata:
            point = interval_point(problem, stratum.theta)
            assert max(abs(float(u)) for u in point.gradient) < 1e-12
            assert abs(float(point.value - group.value)) < 1e-12
            assert signs(point.hessian) == stratum.inertia
            assert stratum.inertia[1] == stratum.dimension


def test_affine_targets_have_saddles_only_above_their_infimum():
    for width in (1, 2, 3):
        found = quadratic_sets(line(X), width)
        assert found.values == ((Rational(1, 12),) if width == 1 else (0, Rational(1, 12)))
        assert {u.kind for group in found.sets if not group.least for u in group.strata} == {"saddle"}
    assert quadratic_sets(line(X), 1).notes == ("the infimum 0 of the risk is not attained",)


def test_a_flat_neuron_has_its_zero_in_the_middle_for_an_affine_target():
    names = {u for s in quadratic_sets(line(X), 1).sets[0].strata for u in s.neurons}
    assert "flat (a = 0), zero at 1/2" in names


def test_a_large_silent_neuron_on_a_symmetric_interval_is_a_minimum_for_either_sign():
    x = np.linspace(-1, 1, 4001)

    def risk(a, w, b, c):
        return np.trapezoid((c + a * (w * x + b) ** 2 - x**2) ** 2, x)

    group = quadratic_sets(line(X**2, -1), 1).sets[1]
    draws = np.random.default_rng(0)
    for stratum in group.strata:
        start = np.array([float(stratum.theta[n][0]) for n in "awb"] + [float(stratum.theta["c"])])
        near = start + 1e-2 * draws.standard_normal((3000, 4))
        near[:, 3] = (
            start[3] + start[0] * start[2] ** 2 - near[:, 0] * near[:, 2] ** 2
        )  # the constant of f is kept
        near[:, 3] -= near[:, 0] * near[:, 1] ** 2 / 3
        lowest = min(risk(*u) for u in near)
        assert (lowest >= risk(*start) - 1e-12) == (stratum.kind == "minimum"), stratum


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (line(X, sigma="relu"), "multiple of"),
        (line(abs(X), -1), "one polynomial"),
        (line(X, weight_decay=1), "weight decay"),
        (line(Symbol("q", positive=True) * X), "numbers are needed"),
    ],
)
def test_other_problems_are_refused(problem, words):
    with pytest.raises(AssumptionError, match=words):
        quadratic_sets(problem, 1)


def test_widths_that_are_not_served_are_refused():
    with pytest.raises(ValueError, match="from 1 to"):
        quadratic_sets(line(X), 9)


@pytest.mark.slow
def test_a_search_finds_no_other_value():
    from numerics.critical import find_critical_points, starts
    from numerics.interval_system import compile_interval

    for target, lower, width in ((X, 0, 2), (X**2, -1, 2), (X**3 + X**2 / 3, 0, 2)):
        problem = line(target, lower)
        known = np.array([float(u) for u in quadratic_sets(problem, width).values])
        system = compile_interval(problem, width)
        met = system.value(find_critical_points(system, starts(system, 400, 1)).theta)
        assert len(met)
        assert all(np.abs(known - float(u)).min() < 1e-6 for u in met)
