"""The table [kkt] of a study: its own parameters, those of a formula, those of a network with samples."""

from __future__ import annotations

from typing import Any

import pytest
from sympy import Rational, Symbol, sqrt

import workbench as wb
from workbench.errors import StudyError
from workbench.study import load, study_from_mapping


def analysis(**tables: Any) -> wb.Analysis:
    return wb.Analysis(study_from_mapping({"schema": 1, "name": "stated"} | tables))


def points(found: wb.Analysis) -> list[tuple[Any, ...]]:
    return [p.values for p in found.derive("kkt").points.points]


OWN = {"parameters": ["x", "y"], "objective": "x + y", "inequalities": ["x**2 + y**2 <= 2"]}


def test_parameters_of_its_own() -> None:
    found = analysis(kkt=OWN).derive("kkt")
    assert found.name == "kkt"
    assert points(analysis(kkt=OWN)) == [(-1, -1)]
    assert "PROVED to be all" in str(found)
    # Without the table the name means the hard margin, as before.
    assert "hard-margin" in analysis(loss={"kind": "logistic"}).derive("kkt").title


def test_the_parameters_of_a_formula_and_its_risk_on_samples() -> None:
    model = {"kind": "formula", "output": "p*x + q", "parameters": ["p", "q"]}
    line = {"x": [[0], [1], [2]], "y": [0, 1, 1]}
    table = {"objective": "R", "equalities": ["p + q = 1"]}
    # R = ((q)^2 + (p + q - 1)^2 + (2 p + q - 1)^2) / 6 with q = 1 - p is ((1 - p)^2 + p^2) / 6.
    assert points(analysis(model=model, data=line, kkt=table)) == [(Rational(1, 2), Rational(1, 2))]
    assert points(analysis(model=model, kkt={"objective": "p**2 + q**2", "equalities": ["p + q = 1"]})) == [
        (Rational(1, 2), Rational(1, 2))
    ]


def test_the_parameters_and_outputs_of_a_network() -> None:
    model = {"activation": "relu", "width": 1, "input_bias": False}
    data = {"x": [[3, 4], [-3, 1]], "y": [1, -1]}
    table = {"objective": "(a**2 + w_1**2 + w_2**2)/2", "inequalities": ["f_1 >= 1"]}
    found = analysis(model=model, data=data, kkt=table)
    # The hard margin of one point: w along (3, 4), a |w| |x| = 1 with a = |w|, so a^2 = 1/5.
    a = sqrt(5) / 5
    assert points(found) == [(a, a * Rational(3, 5), a * Rational(4, 5))]


def test_the_table_is_kept_in_the_text_of_the_study() -> None:
    study = study_from_mapping({"schema": 1, "name": "stated", "kkt": OWN})
    assert study_from_mapping(study.to_dict()) == study
    assert "[kkt]" in study.to_toml()


REFUSED = {
    "a formula": ({"kkt": OWN | {"objective": "x + "}}, "kkt: found", "formulas in x, y"),
    "a relation": ({"kkt": OWN | {"inequalities": ["x < 1"]}}, "strict inequality", "formulas in x, y"),
    "a key": ({"kkt": OWN | {"equality": ["x = 1"]}}, "kkt.equality: found an unknown key", "'equalities'?"),
    "no objective": ({"kkt": {"parameters": ["x"]}}, "kkt.objective: found nothing", "required"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_cannot_be_read_is_refused(name: str) -> None:
    tables, *words = REFUSED[name]
    with pytest.raises(StudyError) as caught:
        analysis(**tables)
    assert all(word in str(caught.value) for word in words)


def test_names_that_need_samples_are_refused_without_them() -> None:
    with pytest.raises(StudyError, match=r"kkt\.parameters: found nothing; accepted: names of the unknowns"):
        analysis(kkt={"objective": "a"}).derive("kkt")
    model = {"kind": "formula", "output": "p*x", "parameters": ["p"]}
    with pytest.raises(StudyError, match=r"kkt: found .*unknown name.*accepted: formulas in p, R, f_1"):
        analysis(model=model, data={"x": [[1]], "y": [1]}, kkt={"objective": "p + u"}).derive("kkt")


def test_a_study_file_may_hold_the_table(tmp_path) -> None:
    path = tmp_path / "disc.toml"
    path.write_text(
        'schema = 1\nname = "disc"\n[kkt]\nparameters = ["x", "y"]\nobjective = "x + y"\n'
        'inequalities = ["x**2 + y**2 <= 2"]\n'
    )
    assert load(path).kkt.objective == "x + y"
    assert Symbol("x", real=True) in wb.Analysis(path).derive("kkt").problem.unknowns
