"""Critical points of populations: the values of a classification theorem, sorting, and starts that are lost."""

from __future__ import annotations

import pytest
import torch
from sympy import Integer, Rational, Symbol

from derivations.functions import relu
from derivations.interval import IntervalProblem
from derivations.population import GaussianProblem
from derivations.problem import Problem
from numerics.interval_system import compile_interval
from numerics.population_system import compile_population
from workbench.population_search import search_population

x, x0, x1 = (Symbol(name, real=True) for name in ("x", "x_0", "x_1"))


def line(sigma="relu", target=x, **options):
    network = Problem.two_layer(
        sigma, **{"loss": "square", "input_bias": True, "output_bias": True, "factor": 2, **options}
    )
    return IntervalProblem(network, Integer(0), Integer(1), x, target)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_one_relu_neuron_has_the_critical_values_of_the_theorem():
    """C3 at width 1: only 0 and 1/12; the constant is a saddle, or a minimum where the neuron is dead."""
    found = search_population(compile_interval(line(), 1), 400, 0)
    assert [round(p.value, 12) for p in found.points] == [0.0, 0.083333333333, 0.083333333333]
    assert [p.kind for p in found.points] == ["degenerate", "saddle", "degenerate"]
    assert [p.global_minimum for p in found.points] == [None, False, False]
    assert all(p.gradient_norm < 1e-12 for p in found.points)
    search = found.search
    assert search.converged + search.runs_to_infinity + search.unconverged == 400
    assert sum(p.found for p in found.points) == search.converged
    (dead,) = [p for p in found.points if p.kind == "degenerate" and p.value > 0.01]
    assert (
        max(w[0] * u + b for w, b in zip(dead.theta["w"], dead.theta["b"], strict=True) for u in (0, 1)) <= 0
    )


def test_one_leaky_neuron_has_both_bent_saddles():
    """C4 at g = 1/4, n = 1: L = 1/108 with the kink at 2/3 open to the right, or at 1/3 open to the left."""
    found = search_population(compile_interval(line("leaky_relu(1/4)"), 1), 400, 0)
    bent = [p for p in found.points if abs(p.value - 1 / 108) < 1e-12]
    kinks = sorted((-p.theta["b"][0] / p.theta["w"][0][0], p.theta["w"][0][0] > 0) for p in bent)
    assert [(round(kink, 9), right) for kink, right in kinks] == [(0.333333333, False), (0.666666667, True)]
    assert {round(p.value, 9) for p in found.points} == {0.0, round(1 / 108, 9), round(1 / 12, 9)}


def test_a_smooth_network_of_one_neuron_is_searched_too():
    found = search_population(compile_interval(line("quadratic", input_bias=False), 1), 60, 0)
    # R = int (a w^2 x^2 + c - x)^2: with s = a w^2 the minimum of a quadratic form, at s = 15/16, c = 3/16.
    best = found.points[0]
    slope = best.theta["a"][0] * best.theta["w"][0][0] ** 2
    assert (slope, best.theta["c"]) == pytest.approx((15 / 16, 3 / 16), rel=1e-9)
    assert best.value == pytest.approx(
        float(Rational(1, 12) - Rational(15, 16) ** 2 * Rational(4, 45)), rel=1e-9
    )


def test_gaussian_inputs_are_sorted_by_risk():
    network = Problem.two_layer("relu", "square")
    cloud = GaussianProblem(network, (x0, x1), relu(x0), Integer(2))
    found = search_population(compile_population(cloud, 1), 200, 0)
    assert found.points[0].value == pytest.approx(0.0, abs=1e-14)
    assert "one risk" in found.points[0].stratum
    values = [p.value for p in found.points]
    assert values == sorted(values)
    # The other critical points have a = 0 or the weight vector opposite to the teacher's: risk E[relu(x)^2]/2 = 1/4.
    assert {round(v, 9) for v in values} <= {0.0, 0.25}


def test_a_frozen_block_is_refused():
    with pytest.raises(ValueError, match="blocks a are frozen"):
        search_population(compile_interval(line(freeze=("a",)), 1), 4, 0)
