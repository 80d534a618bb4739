"""Exact critical points of studies: cases solved by hand, random networks against resultants and against searches."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from sympy import Poly, Rational, Symbol, cancel, fraction, real_roots, together

from derivations.claim import Status
from derivations.polynomial_system import Samples, polynomial_system
from derivations.problem import Problem
from workbench.analysis import Analysis
from workbench.engines import groebner, msolve, singular
from workbench.engines.process import EngineError, Limits, OutOfTime
from workbench.errors import NotThere, StudyError
from workbench.exact import exact_answer, exact_landscape
from workbench.study import study_from_mapping

SINGULAR = pytest.mark.skipif(
    singular.find() is None, reason="Singular is not installed (apt-get install singular-ui)"
)
STUDIES = Path(__file__).parents[2] / "workbench" / "studies"
LIMITS = Limits(100)


def study(**changes):
    """Return a study of one neuron; tables are changed by keyword."""
    content = {
        "schema": 1,
        "name": "small",
        "model": {"activation": "z**2", "width": 1, "input_bias": False},
        "loss": {"weight_decay": "1/5"},
        "data": {"x": [[1], [-2]], "y": [1, "1/2"]},
        "landscape": {"widths": [1], "starts": 60},
    }
    for table, entries in changes.items():
        content[table] = content.get(table, {}) | entries
    return study_from_mapping(content)


def answer_of(activation, x, y, width=1, **options):
    problem = Problem.two_layer(activation, "square", **options)
    return exact_answer(
        polynomial_system(problem, {"m": width, "d": len(x[0])}, Samples.of(x, y)),
        LIMITS,
        width=width,
        bounded=True,
    )


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_one_linear_neuron_with_decay_by_hand():
    """R = (a w - 1)^2 / 2 + (a^2 + w^2) / 8: the origin, a saddle, and a = w = +-sqrt(3)/2."""
    found = answer_of("linear", [[1]], [1], weight_decay=Rational(1, 4))
    low, origin = found.records
    assert [(p.kind, p.orbit_size) for p in found.records] == [("minimum", 2), ("saddle", 1)]
    assert low.value == pytest.approx(Rational(7, 32), abs=1e-15)
    assert low.exact["a"][0] in ("sqrt(3)/2", "-sqrt(3)/2")
    assert origin.theta == {"a": [0.0], "w": [[0.0]]}
    assert origin.eigenvalues == pytest.approx((-0.75, 1.25))
    assert found.morse == 1
    assert found.completeness()["status"] == "PROVED"
    assert low.global_minimum is True
    assert origin.global_minimum is False


@SINGULAR
def test_one_linear_neuron_without_decay_is_a_hyperbola_and_the_origin():
    found = answer_of("linear", [[1]], [1])
    assert [(p.manifold_dimension, p.kind) for p in found.records] == [(1, "minimum"), (0, "saddle")]
    (curve,) = found.manifolds
    assert [str(g) for g in curve.generators] == ["a1*w1 - 1"]
    assert curve.parametrisation.text() in (["a1 = (1)/(w1)"], ["w1 = (1)/(a1)"])
    assert found.records[0].value == 0
    assert found.records[0].unexplained_zeros == 0
    assert found.completeness()["status"] == "PROVED"
    assert found.morse is None


@SINGULAR
def test_the_minimum_of_a_quadratic_neuron_by_hand():
    """R = ((a w^2 - 1)^2 + (4 a w^2 + 1)^2) / 4: a w^2 = -3/17 and the axes."""
    found = answer_of("z**2", [[1], [2]], [1, -1])
    values = sorted(p.value for p in found.records)
    assert values[0] == pytest.approx(25 / 68, abs=1e-15)
    assert values[1:] == [0.5] * (len(values) - 1)
    sets = {tuple(map(str, m.generators)): m.real_dimension for m in found.manifolds}
    assert sets == {("17*a1*w1**2 + 3",): 1, ("w1",): 1}
    assert found.manifolds[0].values.real_points()[0].exact(1) in [(Rational(25, 68),), (Rational(1, 2),)]


@SINGULAR
def test_a_degenerate_isolated_point_has_its_multiplicity():
    """R = w^8: the origin solves w^7 = 0 seven times."""
    problem = Problem.two_layer("z**2", "f**4 - y + y", weight_decay=0, freeze=("a",))
    system = polynomial_system(problem, {"m": 1, "d": 1}, Samples.of([[1]], [0]), {"a": [1]})
    (point,) = exact_answer(system, LIMITS).points
    assert (point.inertia, point.multiplicity) == ((0, 1, 0), 7)


@SINGULAR
def test_real_points_of_a_complex_component_are_not_claimed_without_proof():
    """R = (w^2 + b^2 + 1)-like sums: the component a = 0, w^2 - w b + b^2 = 0 has the origin as its only real point."""
    found = answer_of("z**2", [[1], [2], [-1]], [1, 1, 1], input_bias=True)
    for manifold in found.manifolds:
        assert manifold.real_dimension is not None
    smaller = [m for m in found.manifolds if m.real_dimension < m.dimension]
    for manifold in smaller:
        assert "of one sign" in manifold.reason
    assert all(p.status is Status.CERTIFIED for p in found.records)


def test_the_shipped_study_is_solved_completely():
    if singular.find() is None and msolve.find() is None:
        pytest.skip("neither Singular nor msolve is installed")
    found = Analysis(str(STUDIES / "cubic-decay.toml")).critical()
    content = json.loads(json.dumps(found.to_dict()))
    assert [p["kind"] for p in content["critical_points"]] == ["minimum", "minimum", "saddle"]
    assert [p["orbit_size"] for p in content["critical_points"]] == [2, 1, 2]
    assert content["exact"]["complex_solutions"] in (73, None)
    assert content["exact"]["morse_sum"] == 1
    assert content["critical_points"][1]["exact"] == {"a": ["0"], "w": [["0"]], "b": ["0"]}
    for p in content["critical_points"]:
        assert p["status"] == "CERTIFIED"
        assert p["gradient_norm"] < 1e-13
        lower, upper = p["certificate"]["value"]
        assert lower <= p["value"] <= upper
        assert upper - lower < 1e-15
    if singular.find():
        assert content["completeness"]["status"] == "PROVED"
        assert content["completeness"]["found"] == content["completeness"]["expected"] == 3


def test_digits_are_those_of_the_point():
    found = Analysis(
        study(model={"activation": "linear"}, data={"x": [[1]], "y": [1]}, loss={"weight_decay": "1/4"})
    )
    point = found.critical(digits=40).points[0]
    text = point.certificate.digits["a"][0].lstrip("-")
    assert text.startswith("0.86602540378443864676372317075293618347")


def test_interval_problems_are_solved():
    data = {"kind": "interval", "lower": 0, "upper": 1, "target": "x**2"}
    content = {
        "schema": 1,
        "name": "interval",
        "model": {"activation": "z**2 + z", "width": 1, "input_bias": False},
        "loss": {"reduction": "integral", "weight_decay": "1/10"},
        "data": data,
    }
    found = Analysis(study_from_mapping(content)).critical(method="exact")
    assert found.exact.morse == 1
    for p in found.points:
        a, w = p.theta["a"][0], p.theta["w"][0][0]
        grid = (np.arange(200000) + 0.5) / 200000
        residual = a * ((w * grid) ** 2 + w * grid) - grid**2
        assert (residual * ((w * grid) ** 2 + w * grid)).mean() + a / 10 == pytest.approx(0, abs=1e-8)
        assert (residual * a * (2 * w * grid**2 + grid)).mean() + w / 10 == pytest.approx(0, abs=1e-8)


# -- random networks --------------------------------------------------------------------------------------------------

ACTIVATIONS = ["z**2", "z**3", "z**2 + z", "z**3 - z", "z**2 - 1", "z**3 + z**2"]
Z = Symbol("z")


def drawn(seed):
    draw = random.Random(seed)
    x = [[Rational(draw.randint(-6, 6), draw.randint(1, 4))] for _ in range(draw.randint(2, 4))]
    y = [Rational(draw.randint(-6, 6), draw.randint(1, 4)) for _ in x]
    return draw.choice(ACTIVATIONS), x, y, Rational(draw.randint(1, 6), 10)


def by_resultant(activation, x, y, decay):
    """Return the critical (a, w) of one neuron: a is linear in its own equation, and put into that of w."""
    sigma = Poly(activation, Z).as_expr()
    w, a = Symbol("w"), Symbol("a")
    f = [(sigma.subs(Z, w * u[0]), v) for u, v in zip(x, y, strict=True)]
    n = len(x)
    square = sum(s**2 for s, _ in f) / n + decay
    solved = cancel(sum(s * v for s, v in f) / n / square)
    risk = sum((a * s - v) ** 2 for s, v in f) / (2 * n) + decay / 2 * (a**2 + w**2)
    equation = fraction(together(risk.diff(w).subs(a, solved)))[0]
    roots = set(real_roots(Poly(equation, w)))
    return sorted((float(solved.subs(w, u.evalf(40))), float(u)) for u in roots)


def orbit_union(found, activation):
    """Return all copies of the listed points of one neuron under the signs that keep a sigma(w x)."""
    powers = {m[0] % 2 for m in Poly(activation, Z).monoms()}
    out = []
    for p in found.records:
        a, w = p.theta["a"][0], p.theta["w"][0][0]
        copies = {(a, w)}
        if powers == {0}:
            copies |= {(a, -w)}
        if powers == {1}:
            copies |= {(-a, -w)}
        assert len({(u + 0.0, v + 0.0) for u, v in copies}) == p.orbit_size
        out += copies
    return sorted((u + 0.0, v + 0.0) for u, v in set(out))


def assert_equals_the_resultant(seed):
    activation, x, y, decay = drawn(seed)
    found = answer_of(activation, x, y, weight_decay=decay)
    expected = by_resultant(activation, x, y, decay)
    listed = orbit_union(found, activation)
    assert len(listed) == len(expected), (activation, x, y, decay)
    for one, other in zip(listed, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-10)
    if all(p.inertia.zero == 0 for p in found.records):
        assert found.morse == 1
    if singular.find():
        assert found.completeness()["status"] == "PROVED"


@SINGULAR
@pytest.mark.parametrize("seed", range(12))
def test_one_neuron_agrees_with_a_resultant(seed):
    assert_equals_the_resultant(seed)


@SINGULAR
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 160))
def test_more_single_neurons_agree_with_a_resultant(seed):
    assert_equals_the_resultant(seed)


def gradient_by_hand(theta, x, y, powers, decay, width, bias):
    """Return the gradient of a network a . sigma(w x + b) written with numpy; ``powers`` are coefficients of sigma."""
    a, w, b = theta[:width], theta[width : 2 * width], theta[2 * width :] if bias else np.zeros(width)
    z = x[:, None] * w[None, :] + b[None, :]
    sigma = sum(c * z**k for k, c in enumerate(powers))
    slope = sum(k * c * z ** max(k - 1, 0) for k, c in enumerate(powers))
    r = (sigma @ a - y) / len(y)
    parts = [sigma.T @ r, (slope * x[:, None]).T @ r * a]
    if bias:
        parts.append(slope.T @ r * a)
    return np.concatenate(parts) + decay * theta


def searched(gradient, size, seed, starts):
    """Return zeros that Newton's method finds from random starts, with differences for the Jacobian."""
    draw = np.random.default_rng(seed)
    out = []
    for _ in range(starts):
        theta = draw.normal(size=size) * draw.choice([0.3, 1.0, 2.0])
        for _ in range(60):
            value = gradient(theta)
            step = 1e-6 * np.eye(size)
            jacobian = np.array([(gradient(theta + e) - gradient(theta - e)) / 2e-6 for e in step]).T
            try:
                change = np.linalg.solve(jacobian, value)
            except np.linalg.LinAlgError:
                break
            size_of_step = np.linalg.norm(change)
            theta = theta - change / max(1.0, size_of_step)
            if size_of_step < 1e-13:
                break
        if np.linalg.norm(gradient(theta)) < 1e-11 and np.linalg.norm(theta) < 50:
            out.append(theta)
    return out


def assert_both_ways(seed, width, bias, starts):
    """Every listed point is critical, and whatever a search finds is a listed point up to symmetry."""
    draw = random.Random(1000 + seed)
    activation = draw.choice(["z**2", "z**3", "z**2 + z"])
    x = [Rational(draw.randint(-4, 4), draw.randint(1, 3)) for _ in range(3)]
    y = [Rational(draw.randint(-4, 4), draw.randint(1, 3)) for _ in range(3)]
    decay = Rational(draw.randint(1, 5), 10)
    problem = Problem.two_layer(activation, "square", input_bias=bias, weight_decay=decay)
    system = polynomial_system(problem, {"m": width, "d": 1}, Samples.of([[u] for u in x], y))
    found = exact_answer(system, LIMITS, width=width, bounded=True)
    powers = [float(c) for c in reversed(Poly(activation, Z).all_coeffs())]
    size = len(system.names)
    numbers = np.array([float(u) for u in x]), np.array([float(v) for v in y])

    def gradient(theta):
        return gradient_by_hand(theta, *numbers, powers, float(decay), width, bias)

    listed = []
    for p in found.records:
        flat = np.concatenate([np.ravel(p.theta[name]) for name in system.shapes])
        assert np.linalg.norm(gradient(flat)) < 1e-9 * (1 + np.linalg.norm(flat) ** 5)
        listed.append(flat)
    for theta in searched(gradient, size, seed, starts):
        key = sorted(map(abs, theta))
        assert any(np.allclose(key, sorted(map(abs, other)), atol=1e-6) for other in listed), theta
    assert found.morse in (1, None)


@SINGULAR
@pytest.mark.parametrize("seed", range(3))
def test_more_unknowns_agree_with_a_search_both_ways(seed):
    width, bias = [(1, True), (2, False), (1, True)][seed]
    assert_both_ways(seed, width, bias, 25)


@SINGULAR
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 43))
def test_more_networks_agree_with_a_search_both_ways(seed):
    assert_both_ways(seed, *[(1, True), (2, False)][seed % 2], 200)


# -- where it does not serve ------------------------------------------------------------------------------------------


def test_a_smooth_activation_is_searched_without_remark():
    found = Analysis(study(model={"activation": "tanh"})).critical(exhaust=0)
    assert found.exact is None
    assert found.not_exact == ""
    assert found.to_dict()["completeness"]["status"] != "PROVED"


def test_exact_says_why_it_does_not_serve():
    with pytest.raises(NotThere, match="activation 'tanh' is no polynomial"):
        Analysis(study(model={"activation": "tanh"})).critical(method="exact")
    with pytest.raises(StudyError, match="--index"):
        Analysis(study()).critical(method="exact", index=1)


def test_numeric_searches_where_exact_would_serve():
    found = Analysis(study()).critical(method="numeric")
    assert found.exact is None
    assert found.searches[0].starts >= 60


def test_out_of_time_falls_back_to_a_search(monkeypatch):
    def slow(*_args, **_more):
        raise OutOfTime("Singular was stopped after 1 seconds")

    for module in (singular, msolve, groebner):
        monkeypatch.setattr(module, "solve", slow)
    found = Analysis(study()).critical()
    assert found.not_exact == "Singular was stopped after 1 seconds"
    assert found.to_dict()["completeness"]["status"] == "UNDECIDED"
    assert found.points
    with pytest.raises(NotThere, match="was stopped after 1 seconds"):
        Analysis(study()).critical(method="exact")


def test_large_systems_are_left_to_the_search():
    reason = exact_landscape(Analysis(study(model={"width": 4}, landscape={"widths": [4]})), required=False)
    assert "8 unknowns" in reason


def test_a_list_that_breaks_the_morse_sum_is_not_called_complete():
    found = answer_of("linear", [[1]], [1], weight_decay=Rational(1, 4))
    fewer = type(found)(**{**vars(found), "morse": 0})
    assert fewer.completeness()["status"] == "UNDECIDED"
    assert "a point is missing" in fewer.completeness()["method"]


def test_sympy_alone_serves_small_systems():
    problem = Problem.two_layer("linear", "square", weight_decay=Rational(1, 4))
    system = polynomial_system(problem, {"m": 1, "d": 1}, Samples.of([[1]], [1]))
    found = exact_answer(system, LIMITS, engines=("groebner",), bounded=True)
    assert [p.orbit_size for p in found.points] == [2, 1] or [p.orbit_size for p in found.points] == [1, 2]
    assert found.completeness()["status"] == "PROVED"
    flat = Problem.two_layer("linear", "square")
    with pytest.raises(EngineError, match="infinitely many"):
        exact_answer(
            polynomial_system(flat, {"m": 1, "d": 1}, Samples.of([[1]], [1])), LIMITS, engines=("groebner",)
        )


def test_values_of_conjugate_points_differ():
    """Each point of a family is classified on its own."""
    points = answer_of("z**2 + z", [[1], [2]], [1, -1], weight_decay=Rational(1, 10)).records
    assert all(math.isfinite(p.value) for p in points)
    assert all(p.value != q.value for p, q in itertools.combinations(points, 2))
