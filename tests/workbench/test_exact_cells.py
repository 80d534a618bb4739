"""Smooth critical points of networks with kinks, cell by cell, against hand-written gradients and a search."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import Rational

from derivations.polynomial_system import Samples
from derivations.problem import Problem
from workbench.analysis import Analysis
from workbench.engines import singular
from workbench.engines.process import Limits
from workbench.exact_cells import cell_answer, serves
from workbench.study import study_from_mapping

SINGULAR = pytest.mark.skipif(
    singular.find() is None, reason="Singular is not installed (apt-get install singular-ui)"
)
X, Y = [[-1], [Rational(1, 2)], [2]], [1, -1, 2]
FORMS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "abs": (np.abs, np.sign),
    "leaky_relu(1/4)": (lambda z: np.where(z > 0, z, z / 4), lambda z: np.where(z > 0, 1.0, 0.25)),
    "relu_power(2)": (lambda z: np.maximum(z, 0) ** 2, lambda z: 2 * np.maximum(z, 0)),
}


def gradient(theta, name, width, decay, bias):
    """Return the gradient of the mean of half squares plus decay, written by hand."""
    sigma, slope = FORMS[name]
    x, y = np.array([float(u[0]) for u in X]), np.array(list(map(float, Y)))
    a, w = theta[:width], theta[width : 2 * width]
    b = theta[2 * width :] if bias else np.zeros(width)
    z = np.outer(x, w) + b
    r = (sigma(z) @ a - y) / len(y)
    parts = [sigma(z).T @ r, (slope(z) * x[:, None]).T @ r * a]
    return np.concatenate([*parts, *([slope(z).T @ r * a] if bias else [])]) + decay * theta, z


def found_by_search(name, width, decay, bias, starts=150):
    """Return smooth critical points that Newton's method finds, with differences for the Jacobian inside a cell."""
    draw, out, size = np.random.default_rng(0), [], width * (3 if bias else 2)
    for _ in range(starts):
        theta = draw.normal(size=size)
        for _ in range(50):
            value, z = gradient(theta, name, width, decay, bias)
            columns = [gradient(theta + e, name, width, decay, bias)[0] for e in 1e-7 * np.eye(size)]
            jacobian = (np.array(columns) - value).T / 1e-7
            step = np.linalg.lstsq(jacobian, value, rcond=1e-9)[0]
            theta = theta - step
            if np.linalg.norm(step) < 1e-12:
                break
        value, z = gradient(theta, name, width, decay, bias)
        if np.linalg.norm(value) < 1e-9 and np.abs(z).min() > 1e-4 and np.linalg.norm(theta) < 20:
            out.append(theta)
    return out


@SINGULAR
@pytest.mark.parametrize("name", list(FORMS))
def test_the_list_equals_what_a_search_finds(name):
    problem = Problem.two_layer(name, "square", input_bias=True, weight_decay=Rational(1, 10))
    found = cell_answer(problem, 1, Samples.of(X, Y), Limits(100))
    assert not found.open_sets
    listed = [np.array([p.theta["a"][0], p.theta["w"][0][0], p.theta["b"][0]]) for p in found.records]
    for theta, p in zip(listed, found.records, strict=True):
        value, z = gradient(theta, name, 1, 0.1, True)
        assert np.linalg.norm(value) < 1e-12
        assert np.abs(z).min() > 0
        assert p.orbit_size == 1
    searched = found_by_search(name, 1, 0.1, True)
    assert searched
    for theta in searched:
        assert min(np.linalg.norm(theta - other) for other in listed) < 1e-6


@SINGULAR
def test_relu_without_decay_is_solved_in_sets_with_their_values():
    """Least squares inside each cell: 1/3 with the kink between the last two samples, and so on."""
    problem = Problem.two_layer("relu", "square", input_bias=True)
    found = cell_answer(problem, 1, Samples.of(X, Y), Limits(100))
    assert not found.open_sets
    values = [(round(p.value, 12), p.manifold_dimension, p.kind) for p in found.records]
    assert values[0] == (round(1 / 3, 12), 2, "minimum")
    assert values[-1] == (1.0, 3, "degenerate")  # the neuron is dead: the risk is constant
    a = np.array([[-1, 1], [0.5, 1], [2, 1]])
    rest = np.linalg.lstsq(a, np.array([1.0, -1, 2]), rcond=None)[1][0] / 6
    assert any(v[0] == round(rest, 12) and v[1] == 1 for v in values)
    assert found.completeness()["status"] == "UNDECIDED"
    assert found.to_dict()["inside_cells"] == {"status": "PROVED", "found": len(found.records)}
    assert "not looked for" in found.completeness()["method"]


@SINGULAR
def test_two_neurons_count_their_permutations():
    problem = Problem.two_layer("relu", "square", weight_decay=Rational(1, 20))
    found = cell_answer(problem, 2, Samples.of(X, Y), Limits(100))
    isolated = [p for p in found.records if p.manifold_dimension == 0]
    assert [(p.orbit_size, p.stratum[-8:]) for p in isolated] == [(2, "+--, -++")]
    theta = np.concatenate([isolated[0].theta["a"], np.ravel(isolated[0].theta["w"])])
    assert np.linalg.norm(gradient(theta, "relu", 2, 0.05, False)[0]) < 1e-13
    for p in found.records:
        if p.manifold_dimension:  # neurons in one cell share their weights along a circle
            theta = np.concatenate([p.theta["a"], np.ravel(p.theta["w"])])
            assert np.linalg.norm(gradient(theta, "relu", 2, 0.05, False)[0]) < 1e-13


@SINGULAR
def test_a_study_with_kinks_is_answered():
    study = study_from_mapping(
        {
            "schema": 1,
            "name": "kinks",
            "model": {"activation": "relu", "width": 1},
            "loss": {"weight_decay": "1/10"},
            "data": {"x": [[-1], ["1/2"], [2]], "y": [1, -1, 2]},
        }
    )
    content = Analysis(study).critical(method="exact").to_dict()
    assert [p["kind"] for p in content["critical_points"]] == ["minimum"]
    assert content["exact"]["cells"] == 6
    assert content["completeness"]["status"] == "UNDECIDED"


def test_what_is_served():
    assert serves(Problem.two_layer("relu", "square"))
    assert serves(Problem.two_layer("relu_power(2)", "square"))
    assert not serves(Problem.two_layer("z**2", "square"))
    assert not serves(Problem.two_layer("softplus", "square"))
    assert not serves(Problem.deep(2, "relu", "square"))
    assert not serves(Problem.two_layer("relu", "square", freeze=("a",)))
