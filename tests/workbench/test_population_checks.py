"""Checks of populations: they support what is right, refute planted errors, and know their theorem's assumptions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sympy import Abs, Integer, Max, Min, Rational, Symbol, cos, erf, exp, sin

from derivations.claim import Status
from derivations.functions import relu
from derivations.interval import IntervalProblem
from derivations.population import GaussianProblem
from derivations.problem import Problem
from numerics.interval_system import compile_interval
from numerics.population_system import compile_population
from workbench.population_checks import (
    _values,
    affine_levels,
    check_population,
    level_claims,
)
from workbench.population_search import search_population

x, x0, x1 = (Symbol(name, real=True) for name in ("x", "x_0", "x_1"))
EXACT, INDEPENDENT, DIFFERENCES = "exact rational", "tanh-sinh", "central differences"


def line(sigma="relu", target=x, upper=1, **options):
    network = Problem.two_layer(
        sigma, **{"loss": "square", "input_bias": True, "output_bias": True, "factor": 2, **options}
    )
    return IntervalProblem(network, Integer(0), Integer(upper), x, target)


CASES = [
    (line(), 2, EXACT),
    (line("abs", Abs(x - Rational(1, 3)), weight_decay="1/10", scale="1/m"), 2, EXACT),
    (line("tanh", sin(x)), 2, INDEPENDENT),
    (line("sigmoid", loss="logistic", target=Integer(1)), 1, INDEPENDENT),
    (line("relu", sin(3 * x)), 1, DIFFERENCES),
    (line("z/(1 + z**2)**2"), 1, DIFFERENCES),
    (line(), 6, DIFFERENCES),
]


@pytest.mark.parametrize(("interval", "width", "oracle"), CASES)
def test_an_interval_is_checked_by_the_best_route_there_is(interval, width, oracle):
    claims = check_population(compile_interval(interval, width))
    assert {c.status for c in claims} == {Status.SUPPORTED}
    names = [c.claim for c in claims]
    assert set(names) >= {"gradient", "hessian", "hvp"}
    assert all(oracle in c.evidence["oracle"] for c in claims if c.claim == "hessian")
    assert ("value" in names) == (oracle != DIFFERENCES)


def test_gaussian_inputs_are_checked_by_sampling_and_differences():
    cloud = GaussianProblem(Problem.two_layer("relu", "square"), (x0, x1), relu(x0) - x1**2, Integer(2))
    claims = {c.claim: c for c in check_population(compile_population(cloud, 2))}
    assert {c.status for c in claims.values()} == {Status.SUPPORTED}
    assert claims["value"].evidence["unit of the residual"] == "standard errors"
    assert 0 < claims["value"].residual <= 4
    assert "no independent integral" in claims["gradient"].evidence["oracle"]


@pytest.mark.parametrize(("what", "refuted"), [("_jump", {"hessian", "hvp"}), ("_scale", {"hessian", "hvp"})])
def test_a_wrong_term_of_the_moving_kinks_is_refuted(what, refuted):
    system = compile_interval(line(), 2)
    setattr(system, what, 1.01 * getattr(system, what))
    claims = check_population(system)
    assert {c.claim for c in claims if c.status is Status.REFUTED} == refuted


def test_a_wrong_closed_form_is_refuted():
    cloud = GaussianProblem(Problem.two_layer("erf", "square"), (x0, x1), x0, Integer(2))
    system = compile_population(cloud, 1)
    wrong = compile_population(replace(cloud, target=x0 + Rational(1, 5) * x1**2), 1)
    object.__setattr__(system, "population", wrong.population)
    (claim,) = [c for c in check_population(system) if c.claim == "value"]
    assert claim.status is Status.REFUTED
    assert claim.residual > 4


def test_a_target_is_evaluated_term_by_term():
    u = torch.tensor([-1.5, 0.25, 2.0], dtype=torch.float64)
    expr = (
        2 * relu(x0)
        + Abs(x0) ** 3
        - Max(x0, 1) * Min(x0, 0)
        + erf(x0) / 3
        + exp(-(x0**2))
        + sin(x0) * cos(x0)
    )
    wanted = [float(expr.subs(x0, Rational(v))) for v in u.tolist()]
    assert _values(expr, {x0: u}).tolist() == pytest.approx(wanted, rel=1e-14)


# ---- the theorem on critical values ---------------------------------------------------------------------------


def test_levels_are_those_of_the_sheet():
    """W2, and the scaling in slope, length and factor."""
    levels = affine_levels(line(), 7)
    assert levels == (0, Rational(1, 12 * 7**4), Rational(1, 12 * 5**4), Rational(1, 972), Rational(1, 12))
    assert affine_levels(line(target=3 * x - 5, upper=2, factor=1), 1) == (0, Rational(9 * 8, 24))


@pytest.mark.parametrize(
    "interval",
    [
        line("leaky_relu(1/4)"),
        line(loss="(f - y)**4"),
        line(input_bias=False),
        line(output_bias=False),
        line(weight_decay="1/10"),
        line(freeze=("a",)),
        line(target=Abs(x - Rational(1, 2))),
        line(target=x**2),
        line(target=Integer(1)),
        line(target=Symbol("alpha") * x),
    ],
)
def test_without_one_of_its_assumptions_the_theorem_says_nothing(interval):
    assert affine_levels(interval, 2) is None
    assert level_claims(interval, ()) == []


def test_a_value_that_the_theorem_does_not_know_is_refuted():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    points = search_population(compile_interval(line(), 1), 60, 0).points
    torch.set_num_threads(before)
    (claim,) = level_claims(line(), points)
    assert claim.status is Status.SUPPORTED
    (wrong,) = level_claims(line(), [*points, replace(points[0], id="planted", value=0.01)])
    assert wrong.status is Status.REFUTED
    assert wrong.evidence["worst"] == "planted"
