"""Models beyond irreducible two-layer networks: lists known in closed form, the Morse count, values of frozen blocks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from sympy import Rational

import workbench as wb
from derivations.polynomial_system import Samples, polynomial_system
from derivations.problem import Problem
from numerics.compile import compile_system
from workbench.engines.process import Limits
from workbench.errors import NotThere, StudyError
from workbench.exact import exact_answer
from workbench.general_search import Request, search_model
from workbench.landscape import Landscape
from workbench.searches import _elsewhere, explored, modelled

X = [[1.0, 0.2], [0.5, -1.0], [-0.3, 0.8], [0.1, 0.4]]
Y = [1.0, -0.5, 0.25, 0.3]
EXPONENTIAL = {
    "kind": "formula",
    "output": "a*exp(u*s) + b*t",
    "parameters": ["a", "u", "b"],
    "inputs": ["s", "t"],
}


def critical(
    model: dict[str, Any], starts: int = 60, loss: dict[str, Any] | None = None, **options: Any
) -> Landscape:
    content = {
        "schema": 1,
        "name": "model",
        "model": model,
        "loss": loss or {},
        "data": {"x": X, "y": Y},
        "landscape": {"starts": starts},
    }
    return modelled(wb.Analysis(wb.study_from_mapping(content)), **options)


def least_squares() -> tuple[float, float]:
    """Risk of the best linear function, and of zero."""
    x, y = np.array(X), np.array(Y)
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(left @ left) / (2 * len(y)), float(y @ y) / (2 * len(y))


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "deep", "activation": "linear", "widths": [2], "input_bias": False},
        {"kind": "two_layer", "activation": "linear", "width": 2, "input_bias": False},
    ],
)
def test_linear_networks_have_the_least_squares_manifold_and_the_origin(model) -> None:
    """Of the products W2 W1, only the least-squares fit and 0 are critical; at the fit GL(2) has an orbit of dimension 4."""
    found = critical(model)
    assert [p.value for p in found.points] == pytest.approx(least_squares(), abs=1e-13)
    fit, zero = found.points
    assert (fit.kind, fit.manifold_dimension, fit.zeros and fit.zeros.symmetry) == ("minimum", 4, 4)
    assert fit.inertia.positive == 2
    assert fit.reason.startswith("all zero eigenvalues are tangent to the orbit of a symmetry")
    assert (zero.kind, zero.strict_saddle) == ("saddle", True)


def test_the_morse_count_of_a_quadratic_network_with_weight_decay() -> None:
    """The risk is coercive and its critical points are isolated: the sum of (-1)^index over all copies is 1."""
    found = critical(
        {"activation": "quadratic", "width": 2, "input_bias": False}, 150, {"weight_decay": "1/100"}
    )
    assert all(p.inertia.zero == 0 for p in found.points)
    assert all(p.orbit_size for p in found.points)
    assert sum((-1) ** p.inertia.negative * (p.orbit_size or 0) for p in found.points) == 1


def test_points_next_to_a_vanishing_hessian_are_one_point() -> None:
    """R(a w^2) of one quadratic neuron and one input: a w^2 = c > 0, and the line w = 0 on both sides of the origin and there.

    Newton's method nears the line by a constant factor only; stopped by the gradient it leaves a cloud of "isolated saddles".
    """
    content = {
        "schema": 1,
        "name": "quadratic",
        "model": {"activation": "quadratic", "width": 1, "input_bias": False},
        "data": {"x": [[1.0], [2.0], [-1.0]], "y": [0.5, -0.3, 0.8]},
        "landscape": {"starts": 150},
    }
    found = modelled(wb.Analysis(wb.study_from_mapping(content)))
    assert {(p.inertia.negative, p.inertia.zero, p.inertia.positive, p.kind) for p in found.points} == {
        (0, 1, 1, "minimum"),
        (0, 2, 0, "degenerate"),
        (1, 1, 0, "maximum"),
    }
    assert len(found.points) == 4
    fits = (0.163240740740740740, 0.49 / 3)  # (sum y^2 - (sum x^2 y)^2 / sum x^4) / 6 and sum y^2 / 6
    assert [p.value for p in found.points] == pytest.approx([fits[0], *[fits[1]] * 3], abs=1e-12)


def test_a_diagonal_network_has_the_four_points_of_its_coordinates() -> None:
    """f = sum (u_l^2 - v_l^2) x_l: each coordinate is fitted, on an orbit of dimension 1, or left at its zero."""
    found = critical({"kind": "diagonal", "depth": 2})
    assert [(p.manifold_dimension, p.inertia.negative) for p in found.points] == [
        (2, 0),
        (1, 1),
        (1, 1),
        (0, 2),
    ]
    assert [found.points[k].value for k in (0, 3)] == pytest.approx(least_squares(), abs=1e-12)


def test_a_formula_that_is_linear_in_its_parameters_has_one_point() -> None:
    found = critical(
        {"kind": "formula", "output": "a*s + b*t", "parameters": ["a", "b"], "inputs": ["s", "t"]}, 12
    )
    assert [p.value for p in found.points] == pytest.approx(least_squares()[:1], abs=1e-14)
    assert (found.points[0].kind, found.points[0].orbit_size) == ("minimum", 1)


def test_frozen_blocks_keep_their_values() -> None:
    model = {"activation": "tanh", "width": 2, "input_bias": False, "freeze": ["a"]}
    found = critical(model, 40, frozen={"a": [1.0, -0.5]})
    assert found.points
    assert all(p.theta["a"] == [1.0, -0.5] for p in found.points)
    assert all(len(p.eigenvalues) == 4 for p in found.points)
    with pytest.raises(StudyError, match="found a without values"):
        critical(model, 4)
    with pytest.raises(StudyError, match="found the shape"):
        critical(model, 4, frozen={"a": [1.0]})
    with pytest.raises(StudyError, match="'w', which is not frozen"):
        critical(model, 4, frozen={"a": [1.0, 2.0], "w": [[1.0, 1.0], [0.0, 0.0]]})


def test_kinks_are_refused() -> None:
    model = {"kind": "formula", "output": "a*relu(s) + b*t", "parameters": ["a", "b"], "inputs": ["s", "t"]}
    study = wb.study_from_mapping({"schema": 1, "name": "kink", "model": model, "data": {"x": X, "y": Y}})
    with pytest.raises(NotThere, match="without kinks"):
        explored(wb.Analysis(study), (), connect=False)


def test_every_start_is_accounted_for() -> None:
    found = critical(EXPONENTIAL, 40)
    for search in found.searches:
        assert search.converged + search.runs_to_infinity + search.unconverged == search.starts
    ways = found.to_dict()["at_infinity"]
    assert sum(way["runs"] for way in ways) == min(400, sum(s.runs_to_infinity for s in found.searches))


def test_same_seed_same_list() -> None:
    first, second = (critical(EXPONENTIAL, 20).points for _ in range(2))
    assert [p.to_dict() for p in first] == [p.to_dict() for p in second]


# -- polynomial networks against exact elimination ---------------------------------------------------------------------


def polynomial_instance(seed: int) -> tuple[str, list[list[Rational]], list[Rational], int, Rational]:
    """A random network with rational data: activation, inputs, targets, width, weight decay."""
    draw = random.Random(seed)
    activation = draw.choice(["z**2", "z**3", "z**2 + z"])
    width, inputs = draw.choice([(1, 1), (1, 2), (2, 1)])
    if activation != "z**2":
        width = 1  # elimination takes minutes for more
        inputs = 1 if activation == "z**3" else inputs
    x = [[Rational(draw.randint(-4, 4), 2) or Rational(1) for _ in range(inputs)] for _ in range(3)]
    y = [Rational(draw.randint(-6, 6), 4) for _ in range(3)]
    return activation, x, y, width, Rational(1, draw.choice([5, 10, 20]))


def both_lists(seed: int) -> tuple[list[Any], list[Any]]:
    """Value, inertia and orbit size of each point, by elimination and by search."""
    activation, x, y, width, decay = polynomial_instance(seed)
    problem = Problem.two_layer(activation, "square", weight_decay=decay)
    equations = polynomial_system(problem, {"m": width, "d": len(x[0])}, Samples.of(x, y))
    exact = exact_answer(equations, Limits(100), width=width, bounded=True)
    assert not exact.manifolds
    system = compile_system(problem, [[float(u) for u in row] for row in x], [float(u) for u in y], width)
    found = search_model(system, _elsewhere(system), width, Request(90, seed))
    lists = ([(p.value, p.inertia, p.orbit_size) for p in some] for some in (exact.records, found.points))
    left, right = (sorted(some, key=lambda entry: (round(entry[0], 9), str(entry[1]))) for some in lists)
    return left, right


def same(left: list[Any], right: list[Any]) -> bool:
    pairs = zip(left, right, strict=False)
    return len(left) == len(right) and all(
        u[1:] == v[1:] and u[0] == pytest.approx(v[0], abs=1e-9) for u, v in pairs
    )


@pytest.mark.parametrize("seed", [2, 9, 14])
def test_the_search_finds_the_exact_list_of_a_polynomial_network(seed: int) -> None:
    """9: far out a Hessian of 1e19 made gradients of 100 look like rounding.  14: the zero network is a minimum with a small basin."""
    left, right = both_lists(seed)
    assert same(left, right), (left, right)


@pytest.mark.slow
def test_the_search_finds_the_exact_lists_of_200_polynomial_networks() -> None:
    """Recall is 1, and nothing else is listed."""
    differing = {seed: lists for seed in range(200) if not same(*(lists := both_lists(seed)))}
    assert not differing, differing
