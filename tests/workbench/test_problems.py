"""Studies become problems: every kind that is there, and plain refusals of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from sympy import Rational, Symbol

from derivations.equations import derive
from derivations.errors import FormulaError
from derivations.formula_model import FormulaProblem
from derivations.interval import IntervalProblem
from derivations.interval_point import interval_point
from derivations.population import GaussianProblem
from derivations.population_point import population_point
from derivations.problem import Problem
from workbench.data import load_dataset
from workbench.errors import NotThere, StudyError
from workbench.problems import problem_of
from workbench.study import load, shipped_studies, study_from_mapping

SAMPLES = {"x": [[-1.0], [0.5], [2.0]], "y": [0, "1/3", 1]}
INTERVAL = {"kind": "interval", "lower": 0, "upper": 1, "target": "x"}
GAUSSIAN = {"kind": "gaussian", "dimension": "d", "target": "He3(x[0])"}


def problem(directory: Path | str = ".", **tables: dict[str, object] | None):
    study = study_from_mapping(
        {"schema": 1, "name": "small", **{k: v for k, v in tables.items() if v is not None}}
    )
    return problem_of(study, load_dataset(study.data, directory))


def test_every_shipped_study_is_a_problem() -> None:
    for path in shipped_studies().values():
        study = load(path)
        found = problem_of(study, load_dataset(study.data, study.directory))
        assert (
            derive(found, "gradient-flow").equations if isinstance(found, Problem) else found.derive("risk")
        )


def test_a_network_takes_its_options_from_the_study() -> None:
    found = problem(
        model={
            "activation": "relu",
            "kink": "1/2",
            "scale": "1/m",
            "freeze": ["b"],
            "rate": {"a": "3"},
            "output_bias": True,
        },
        loss={"kind": "logistic", "reduction": "sum", "factor": "2/3", "weight_decay": "1/7"},
        data=SAMPLES,
    )
    assert found.kind == "two_layer"
    assert not found.vector_output
    assert found.activation.derivative(1).subs(Symbol("z", real=True), 0) == Rational(1, 2)
    assert (found.loss.name, found.reduction, found.factor, found.weight_decay) == (
        "logistic", "sum", Rational(2, 3), Rational(1, 7),
    )  # fmt: skip
    assert str(found.scale) == "1/m"
    assert found.freeze == ("b",)
    assert [str(block.rate) for block in found.blocks] == ["3", "1", "1", "1"]


def test_deep_networks_and_vector_outputs() -> None:
    rows = {"x": [[1.0], [2.0]], "y": [[0, 1], [1, 0]]}
    found = problem(model={"kind": "deep", "widths": [3, 2]}, data=rows)
    assert (found.kind, found.depth, found.vector_output) == ("deep", 3, True)
    assert not problem(model={"kind": "deep", "widths": [3]}).vector_output


def test_a_formula_is_a_problem_with_named_numbers() -> None:
    model = {
        "kind": "formula",
        "output": "a1*exp(w1*t) + c*u",
        "parameters": ["a1", "w1", "c"],
        "inputs": ["t", "u"],
    }
    model |= {"freeze": ["c"], "rate": {"a1": "2"}}
    rows = {"x": [[1.0, 2.0], [0.5, 1.0]], "y": [0, 1]}
    found = problem(model=model, data=rows, loss={"weight_decay": "1/5"})
    assert isinstance(found, FormulaProblem)
    assert [block.name for block in found.blocks] == ["a1", "w1", "c"]
    assert [block.trained for block in found.blocks] == [True, True, False]
    assert found.weight_decay == Rational(1, 5)
    assert derive(found, "gradient-flow").system[2].rhs == 0
    assert isinstance(problem(model=model), FormulaProblem)


def test_a_formula_must_fit_its_file(tmp_path: Path) -> None:
    (tmp_path / "three.csv").write_text("p,q,label\n1,2,0\n3,4,1\n", encoding="utf-8")
    (tmp_path / "names.csv").write_text("p,q,label\n1,2,red\n3,4,blue\n", encoding="utf-8")
    model = {"kind": "formula", "output": "a*x", "parameters": ["a"]}
    with pytest.raises(StudyError, match=r"model\.inputs: found 1 inputs for data with d = 2"):
        problem(tmp_path, model=model, data={"file": "three.csv", "target": "label"})
    with pytest.raises(StudyError, match=r"data\.target: found 2 outputs"):
        problem(
            tmp_path,
            model={**model, "output": "a*x*t", "inputs": ["x", "t"]},
            data={"file": "names.csv", "target": "label"},
        )
    with pytest.raises(FormulaError, match="the equations use themselves"):
        problem(model={"kind": "formula", "output": "f*x", "parameters": ["f"]})


def test_an_interval_integrates_exactly() -> None:
    found = problem(
        model={"activation": "relu", "output_bias": True},
        loss={"reduction": "integral", "factor": "2"},
        data=INTERVAL,
    )
    assert isinstance(found, IntervalProblem)
    saddle = {"a": ["2/3", "-2/3"], "w": [[1], [-1]], "b": ["-1/3", "2/3"], "c": "1/2"}
    assert interval_point(found, saddle).value == Rational(1, 972)
    mean = problem(model={"activation": "relu"}, data={**INTERVAL, "upper": 3, "target": "max(x, 1)"})
    assert mean.weight == Rational(1, 3)
    assert len(mean.target_pieces) == 2
    assert mean.derive("gradient-flow").system


def test_a_gaussian_population_has_a_closed_form() -> None:
    for reduction in ("mean", "integral"):
        found = problem(
            model={"activation": "cubic", "input_bias": False}, loss={"reduction": reduction}, data=GAUSSIAN
        )
        assert isinstance(found, GaussianProblem)
        # f = x^3 = He3 + 3 He1 on a single unit vector: what is left of the target is 3 He1, its mean square 9.
        assert population_point(found, {"a": [1], "w": [[1, 0]]})[0] == Rational(9, 2)
    line = problem(
        model={"activation": "relu", "input_bias": False},
        data={"kind": "gaussian", "dimension": 1, "target": "2*relu(x)"},
    )
    assert population_point(line, {"a": [2], "w": [[1]]}) == (0, (0, 0))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"loss": {"reduction": "integral"}}, "needs a density"),
        ({"model": {"kind": "deep", "widths": [2]}, "data": INTERVAL}, "deep models on an interval"),
        ({"model": {"kind": "formula", "output": "a*x", "parameters": ["a"]}, "data": INTERVAL}, "formula models on an interval"),
        ({"model": {"kind": "deep", "widths": [2]}, "data": GAUSSIAN}, "deep models on a Gaussian"),
        ({"model": {"activation": "max(z, tanh(z))"}, "data": INTERVAL}, "polynomial for z < 0"),
        ({"model": {"activation": "relu"}, "loss": {"kind": "hinge"}, "data": INTERVAL}, "'hinge' has a kink"),
        ({"model": {"activation": "relu"}, "data": {**INTERVAL, "target": "abs(sin(x))"}}, "kinks of Abs"),
        ({"model": {"activation": "relu"}, "data": GAUSSIAN}, "only without bias"),
        ({"model": {"activation": "tanh", "input_bias": False}, "data": GAUSSIAN}, "no closed Gaussian mean"),
        ({"loss": {"kind": "hinge"}, "model": {"activation": "erf", "input_bias": False}, "data": GAUSSIAN}, "square loss"),
        ({"model": {"kind": "formula", "output": "a*relu(x)", "parameters": ["a"], "kink": 1}}, "kink = 1 is not there yet"),
    ],
)  # fmt: skip
def test_what_is_not_there_says_so_and_what_is(tables: dict[str, object], words: str) -> None:
    with pytest.raises(NotThere, match=words):
        problem(**tables)
