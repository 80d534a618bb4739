"""Constrained problems given by formulas: what is read, what is refused, and the conditions as printed."""

from __future__ import annotations

import pytest
from sympy import Symbol

from derivations.errors import FormulaError
from derivations.stated import stated, stated_conditions
from derivations.stated_result import solved_conditions

X, Y = Symbol("x", real=True), Symbol("y", real=True)


def test_relations_are_read_with_their_signs():
    problem = stated(
        "x*y", ["x", "y"], equalities=["x + y - 1", "x = 2*y"], inequalities=["x <= 3", "y >= 0"]
    )
    assert [(c.sign, c.multiplier.name) for c in problem.constraints] == [
        ("=", "mu_1"), ("=", "mu_2"), ("<=", "lambda_1"), (">=", "lambda_2"),
    ]  # fmt: skip
    assert [c.excess for c in problem.constraints] == [X + Y - 1, X - 2 * Y, X - 3, -Y]


def test_the_lagrangian_of_a_maximum_has_the_signs_reversed():
    problem = stated("x", ["x"], inequalities=["x <= 3"], maximise=True)
    multiplier = problem.constraints[0].multiplier
    assert (problem.lagrangian - (X - multiplier * (X - 3))).expand() == 0


REFUSED = {
    "strict": ({"inequalities": ["x < 1"]}, "a strict inequality has no closed feasible set"),
    "no sign": ({"inequalities": ["x - 1"]}, "no relation sign; accepted is one '<=' or '>='"),
    "two signs": ({"inequalities": ["0 <= x <= 1"]}, "the signs <=, <=; accepted is one"),
    "inequality among equalities": ({"equalities": ["x >= 1"]}, "the signs >=; accepted is one '='"),
    "constant": ({"inequalities": ["1 <= 2"]}, "contains no parameter"),
    "unknown name": ({"inequalities": ["z <= 1"]}, "did you mean|unknown name"),
    "jump": ({"inequalities": ["sign(x) <= 1"]}, "has a jump"),
    "code": ({"inequalities": ["__import__('os') <= 1"]}, "accepted"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_constraint_is_refused(name):
    options, message = REFUSED[name]
    with pytest.raises(FormulaError, match=message):
        stated("x*y", ["x", "y"], **options)


@pytest.mark.parametrize(
    ("objective", "names", "message"),
    [
        ("x", ["x", "y"], "y occur neither"),
        ("x", ["x", "x"], "named twice"),
        ("L", ["L"], "use themselves"),
        ("mu_1", ["mu_1"], None),
        ("x", [], "none is named"),
        ("step(x)", ["x"], "has a jump"),
    ],
)
def test_names_and_objectives_that_do_not_fit_are_refused(objective, names, message):
    if message is None:  # without equalities mu_1 is free
        assert stated(objective, names).unknowns[0].name == "mu_1"
        return
    with pytest.raises(FormulaError, match=message):
        stated(objective, names)


def test_print_of_the_conditions():
    problem = stated("x**2 + y**2", ["x", "y"], equalities=["x + y = 1"], inequalities=["x >= 0"])
    lines = stated_conditions(problem).latex().splitlines()
    assert r"L &= x^{2} + y^{2} + \mu_1 (x + y - 1) - \lambda_1 x, \\" in lines
    assert r"0 &= 2 x + \mu_1 - \lambda_1, \\" in lines
    assert r"x &\ge 0, \\" in lines
    assert r"v_x &\ge 0, \qquad \text{if } \lambda_1 = 0 \text{ and the constraint is active}, \\" in lines
    assert lines[-2] == r"Q &\ge 0."


def test_the_result_has_points_in_text_notes_and_json():
    found = solved_conditions(stated("x + y", ["x", "y"], inequalities=["x**2 + y**2 <= 2"]))
    assert found.status == "PROVED"
    assert "(x, y) = (-1, -1): value -2, lambda_1 = 1/2, global minimum" in found.text()
    assert "These are all KKT points." in found.notes
    (point,) = found.to_dict()["points"]
    assert point == {
        "point": {"x": "-1", "y": "-1"},
        "value": "-2",
        "multipliers": {"lambda_1": "1/2"},
        "active": ["lambda_1"],
        "licq": True,
        "kinks": [],
        "kind": "global minimum",
    }


def test_formulas_that_are_not_solved_exactly_leave_the_conditions_and_say_why():
    found = solved_conditions(stated("exp(x) - x", ["x"], inequalities=["x >= 1"]))
    assert found.points is None
    assert found.status == "UNDECIDED"
    assert "is not a polynomial" in found.text()
    assert found.to_dict()["points"] == []
    assert "0 = -lambda_1 + exp(x) - 1" in found.text()


def test_the_critical_cone_of_an_inequality_is_printed_with_its_signs_and_conditions():
    found = stated_conditions(stated("x**2 + y**2", ["x", "y"], inequalities=["x*y >= 1"]))
    cone = [line.strip() for line in found.text().splitlines() if "v_x" in line][:2]
    assert [line.partition("  if ")[2] for line in cone] == [
        "lambda_1 > 0",
        "lambda_1 = 0 and the constraint is active",
    ]
    assert [" >= 0" in line for line in cone] == [False, True]
    assert r"&\ge 0, \qquad \text{if } \lambda_1 = 0" in found.latex()
