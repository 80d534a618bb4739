"""The numerical count of conservation laws: it agrees with the exact one, and finds none where there is none."""

from __future__ import annotations

import math

import pytest
import torch
from sympy import Rational

from derivations.claim import Status
from derivations.formula_model import FormulaProblem
from derivations.law_count import law_count
from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.law_rank import CLEAR_GAP, is_analytic, law_rank

EXACT = {
    "linear": (Problem.two_layer("linear", vector_output=True), {"m": 3, "d": 2, "o": 2}),
    "linear, rates": (
        Problem.two_layer("linear", vector_output=True, rate=(("a", Rational(3)),)),
        {"m": 2, "d": 2, "o": 1},
    ),
    "deep linear": (
        Problem.deep(3, "linear", input_bias=False, output_bias=False),
        {"d": 2, "m1": 2, "m2": 2},
    ),
    "one field": (Problem.deep(3, "linear", input_bias=False, output_bias=False), {"d": 1, "m1": 2, "m2": 2}),
    "quadratic": (Problem.two_layer("quadratic"), {"m": 2, "d": 2}),
    "quadratic, frozen": (Problem.two_layer("quadratic", freeze=("a",)), {"m": 3, "d": 2}),
    "relu, bias": (Problem.two_layer("relu", vector_output=True, input_bias=True), {"m": 2, "d": 2, "o": 2}),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_numerical_count_is_the_exact_one(name):
    problem, sizes = EXACT[name]
    found, exact = law_rank(problem, sizes), law_count(problem, sizes)
    assert (found.dimension, found.trace, found.laws, found.known) == (
        exact.dimension,
        exact.trace,
        exact.laws,
        exact.known,
    )
    assert found.levels == exact.levels
    assert (found.status, found.complete) == (Status.SUPPORTED, exact.complete)
    assert found.gap > CLEAR_GAP


@pytest.mark.parametrize(
    ("problem", "sizes"),
    [
        (Problem.two_layer("tanh"), {"m": 2, "d": 2}),
        (Problem.two_layer("softplus"), {"m": 2, "d": 2}),
        (Problem.two_layer("sin", input_bias=True), {"m": 2, "d": 2}),
        (Problem.two_layer("tanh"), {"m": 1, "d": 1}),
    ],
    ids=lambda value: value.activation.name if isinstance(value, Problem) else "",
)
def test_activations_that_are_not_homogeneous_have_no_law(problem, sizes):
    found = law_rank(problem, sizes)
    assert (found.laws, found.trace, found.status, found.complete) == (
        0,
        found.dimension,
        Status.SUPPORTED,
        True,
    )


def test_the_exponential_activation_has_its_shift_laws():
    found = law_rank(Problem.two_layer("exp", input_bias=True), {"m": 2, "d": 2})
    assert (found.laws, found.known, found.complete) == (2, 2, True)


def test_missed_cells_of_a_kink_decide_nothing():
    """One input sees one cell: the count it gives is too large, and is not reported as supported."""
    found = law_rank(Problem.two_layer("relu"), {"m": 2, "d": 2}, samples=1)
    assert found.laws > found.known
    assert (found.status, found.complete) == (Status.UNDECIDED, None)


def test_a_search_that_is_cut_off_decides_nothing():
    found = law_rank(*EXACT["deep linear"], max_levels=1)
    assert found.levels == (2, 3)
    assert found.status is Status.UNDECIDED


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ({"m": 1}, {}, "sizes d are missing"),
        ({"m": 1, "d": 1}, {"samples": 0}, "at least 1"),
        ({"m": 1, "d": 1}, {"max_levels": -1}, "at least 0"),
    ],
)
def test_bad_settings_are_refused(sizes, options, message):
    with pytest.raises(ValueError, match=message):
        law_rank(Problem.two_layer("tanh"), sizes, **options)


def test_nothing_trained_is_refused():
    with pytest.raises(ValueError, match="no block is trained"):
        law_rank(Problem.two_layer("tanh", freeze=("a", "w")), {"m": 1, "d": 1})


def test_gradient_descent_breaks_the_law_in_second_order():
    """W5: u = 1, v = 1/2, target 2, step 0.1: u^2 - v^2 is multiplied by 1 - (step error)^2."""
    problem = Problem.two_layer("linear", "square")
    one = torch.ones(1, 1, dtype=torch.float64)
    system = compile_system(problem, one, torch.full((1,), 2.0, dtype=torch.float64), 1)
    theta = torch.tensor([1.0, 0.5], dtype=torch.float64)
    after = theta - 0.1 * system.gradient(theta)
    torch.testing.assert_close(after, torch.tensor([1.075, 0.65], dtype=torch.float64))
    assert float(after[0] ** 2 - after[1] ** 2) == pytest.approx(0.733125, abs=1e-12)


def test_the_drift_of_a_gradient_step_in_a_linear_network_is_exactly_of_second_order():
    """C12: Delta(U^T U - V^T V) = tau^2 (V^T G^T G V - U^T G G^T U), and slope 2 in the step."""
    problem = Problem.two_layer("linear", "square", vector_output=True)
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.randn(6, k, generator=generator, dtype=torch.float64) for k in (3, 2))
    system = compile_system(problem, x, y, 4)
    theta = torch.randn(system.P, generator=generator, dtype=torch.float64)

    def parts(at):
        return at[:8].reshape(4, 2).T, at[8:].reshape(4, 3).T  # U (outputs, width), V (inputs, width)

    def law(at):
        u, v = parts(at)
        return u.T @ u - v.T @ v

    u, v = parts(theta)
    g = ((x @ v @ u.T - y).T @ x) / 6  # dL / d(U V^T)
    drifts = []
    for tau in (1e-1, 1e-2, 1e-3):
        drift = law(theta - tau * system.gradient(theta)) - law(theta)
        torch.testing.assert_close(
            drift, tau**2 * (v.T @ g.T @ g @ v - u.T @ g @ g.T @ u), rtol=1e-8, atol=1e-13
        )
        drifts.append(float(drift.norm()))
    slopes = [math.log10(drifts[k] / drifts[k + 1]) for k in (0, 1)]
    assert slopes == pytest.approx([2, 2], abs=1e-6)


def test_formulas_are_counted_as_the_networks_they_write_out():
    written = FormulaProblem.of("a1*exp(w1*x + b1) + a2*exp(w2*x + b2)", ["a1", "w1", "b1", "a2", "w2", "b2"])
    network = law_rank(Problem.two_layer("exp", input_bias=True), {"m": 2, "d": 1})
    found = law_rank(written, {})
    assert (found.dimension, found.laws, found.known, found.complete) == (6, 2, 2, True)
    assert (network.laws, network.levels) == (found.laws, found.levels)


def test_a_formula_with_a_kink_is_supported_only_where_the_known_laws_reach_the_count():
    found = law_rank(FormulaProblem.of("a*max(0, w*x + b)", ["a", "w", "b"]), {})
    assert (found.laws, found.known, found.status) == (1, 1, Status.SUPPORTED)
    assert not is_analytic(FormulaProblem.of("a*abs(x - b)", ["a", "b"]))


def test_a_formula_without_values_at_random_points_is_refused():
    with pytest.raises(ValueError, match="no finite derivatives"):
        law_rank(FormulaProblem.of("a*log(w*x)", ["a", "w"]), {})
