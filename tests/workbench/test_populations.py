"""Populations in numbers and in words."""

from __future__ import annotations

import pytest
from sympy import Integer, Symbol

from derivations.claim import Status
from derivations.interval import IntervalProblem
from derivations.population import GaussianProblem
from derivations.problem import Problem
from workbench.derive import derive, statements
from workbench.errors import NotThere, StudyError
from workbench.populations import (
    EVERY_POPULATION,
    compiled,
    digest,
    for_population,
    inputs_of,
    is_population,
    sentence,
)
from workbench.study import study_from_mapping

x, x0, x1 = (Symbol(name, real=True) for name in ("x", "x_0", "x_1"))
NETWORK = Problem.two_layer("relu", "square", input_bias=True, output_bias=True)
LINE = IntervalProblem(NETWORK, Integer(-1), Integer(2), x, x**2, "mean")
CLOUD = GaussianProblem(Problem.two_layer("erf", "square"), (x0, x1), x0 * x1, Integer(2))
WHERE = {"device": "cpu", "dtype": "float64"}


def test_a_population_is_said_in_words():
    assert sentence(LINE) == (
        r"The inputs fill the interval from $-1$ to $2$ with density $\frac{1}{3}$; the target is $y(x) = x^{2}$."
    )
    assert sentence(CLOUD) == r"Inputs are $x \sim N(0, I_d)$ with $d = 2$, the target is $y(x) = x_1 x_2$."
    assert [inputs_of(u) for u in (LINE, CLOUD)] == [1, 2]
    assert [is_population(u) for u in (LINE, CLOUD, NETWORK)] == [True, True, False]


def test_both_kinds_are_compiled():
    assert compiled(LINE, 3, **WHERE).P == 10
    assert compiled(CLOUD, 3, **WHERE).P == 9


@pytest.mark.parametrize(
    ("problem", "width", "where", "error", "words"),
    [
        (IntervalProblem(NETWORK, Integer(0), Integer(1), x, Symbol("q") * x), 1, WHERE, StudyError, "needed for q"),
        (GaussianProblem(Problem.two_layer("erf", "square"), (x0, x1), x0), 1, WHERE, StudyError, "concrete dimension"),
        (CLOUD, 1, {**WHERE, "dtype": "float32"}, StudyError, "computed in float64"),
        (LINE, 0, WHERE, StudyError, "width is 0"),
    ],
)  # fmt: skip
def test_what_has_no_numbers_says_what_is_missing(problem, width, where, error, words):
    with pytest.raises(error, match=words):
        compiled(problem, width, **where)


def test_what_holds_for_all_samples_holds_for_a_population_and_nothing_else_is_claimed():
    """A symmetry that samples refute may hold for one population (an even target on a symmetric interval)."""
    of_samples, of_line = statements(NETWORK), statements(LINE)
    assert any(s.status is Status.REFUTED for s in of_samples["symmetries"])
    assert not any(s.status is Status.REFUTED for listed in of_line.values() for s in listed)
    assert {s.name for s in of_line["conservation"]} == {"balance of a neuron"}
    assert all(s.steps[-1] == EVERY_POPULATION for listed in of_line.values() for s in listed)
    tanh = statements(Problem.two_layer("tanh", "square"))["conservation"]
    assert [s.name for s in tanh] == ["no balance of a neuron"]
    assert for_population(tanh) == []
    assert derive(CLOUD, "symmetries").statements[0].name == "permutation of neurons"  # type: ignore[union-attr]
    with pytest.raises(NotThere, match="'jacobian' of a loss over interval data"):
        derive(LINE, "jacobian")


def test_results_are_stored_under_the_data_table():
    def study(target: str, starts: int):
        data = {"kind": "interval", "lower": 0, "upper": 1, "target": target}
        return study_from_mapping(
            {
                "schema": 1,
                "name": "line",
                "data": data,
                "model": {"activation": "relu"},
                "landscape": {"starts": starts},
            }
        )

    assert digest(study("x", 5)) == digest(study("x", 6))
    assert digest(study("x", 5)) != digest(study("2*x", 5))
