"""Studies whose targets come from a teacher: arrays, files, intervals, populations; refusals; claims."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sympy import Rational, Symbol, tanh

import workbench as wb
from derivations.claim import Status
from derivations.formula_model import FormulaProblem
from derivations.functions import relu
from workbench.claims import verify
from workbench.data import load_dataset
from workbench.errors import NotThere, StudyError
from workbench.study import Study, load, shipped_studies, study_from_mapping
from workbench.teacher_claims import teacher_claims

TEACHER = {"a": ["1", -2], "w": [["1/2"], [1]], "b": [0, "1/3"]}
X = [[-1], ["1/2"], [2]]


def build(data: dict[str, Any], **tables: Any) -> Study:
    return study_from_mapping({"schema": 1, "name": "taught", "data": data} | tables)


def test_targets_are_exact_and_the_study_keeps_its_text() -> None:
    study = build({"x": X, "teacher": TEACHER})
    data = load_dataset(study.data)
    x = Rational(1, 2)
    assert data.y[1] == (tanh(x / 2) - 2 * tanh(x + Rational(1, 3)),)
    assert data.scalar_output
    assert "targets from a teacher" in data.source
    by_hand = [math.tanh(x / 2) - 2 * math.tanh(x + 1 / 3) for x in (-1, 0.5, 2)]
    assert [row[0] for row in data.y_float()] == pytest.approx(by_hand, rel=1e-15)
    again = study_from_mapping(study.to_dict())
    assert again == study
    assert study_from_mapping(_toml(study.to_toml())) == study


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def test_the_teacher_takes_the_activation_of_the_model_unless_it_has_its_own() -> None:
    model = {"activation": "relu", "kink": "1/2"}
    assert build({"x": X, "teacher": TEACHER}, model=model).data.teacher.activation == "relu"
    own = build({"x": X, "teacher": TEACHER | {"activation": "z**2"}}, model=model)
    assert load_dataset(own.data).y[2] == (1 - 2 * Rational(7, 3) ** 2,)


def test_a_deep_teacher_and_outputs_in_rows() -> None:
    layers = [{"W": [[1], [-1]], "b": [0, 1]}, {"W": [[1, 1], ["1/2", 2], [0, 1]]}]
    data = load_dataset(build({"x": X, "teacher": {"activation": "relu", "layers": layers}}).data)
    assert not data.scalar_output
    assert data.y[1] == (1, Rational(5, 4), Rational(1, 2))  # hidden values 1/2 and 1/2
    assert data.output_names == ("y1", "y2", "y3")


def test_inputs_of_a_file_and_a_digest_that_knows_the_teacher(tmp_path) -> None:
    (tmp_path / "points.csv").write_text("u,v,label\n1,2,red\n-1,0.5,blue\n")
    teacher = {"a": [2], "w": [[1, "1/2"]]}
    study = build({"file": "points.csv", "teacher": teacher}, model={"activation": "relu"})
    data = load_dataset(study.data, tmp_path)
    assert data.y == ((4,), (0,))
    assert data.input_names == ("u", "v")
    other = build({"file": "points.csv", "teacher": teacher | {"a": [3]}}, model={"activation": "relu"})
    assert load_dataset(other.data, tmp_path).sha256 != data.sha256
    with pytest.raises(StudyError, match=r"teacher\.w: found rows of length 1; accepted: length 2"):
        load_dataset(build({"file": "points.csv", "teacher": {"a": [1], "w": [[1]]}}).data, tmp_path)


def test_intervals_and_populations_take_the_network_as_a_formula() -> None:
    interval = {"kind": "interval", "lower": 0, "upper": 1, "teacher": {"a": [2], "w": [[1]], "b": ["-1/2"]}}
    x = Symbol("x", real=True)
    found = load_dataset(build(interval, model={"activation": "relu"}).data)
    assert found.target == 2 * relu(x - Rational(1, 2))
    gaussian = {"kind": "gaussian", "dimension": "d", "teacher": {"a": [2, 1], "w": [[1, 2], [0, 1]]}}
    found = load_dataset(build(gaussian, model={"activation": "relu"}).data)
    u, v = found.x[:2]
    assert found.target == 2 * relu(u + 2 * v) + relu(v)


def test_a_student_of_a_teacher_on_gaussian_inputs_has_the_risk_of_the_difference() -> None:
    """R = E(relu(w.x) - relu(v.x))^2 / 2 is |w - v|^2 / 4 for parallel w and v, and 0 at w = v."""
    from derivations.population_point import population_point

    gaussian = {"kind": "gaussian", "dimension": 2, "teacher": {"a": [1], "w": [[1, 0]]}}
    model = {"activation": "relu", "width": 1, "input_bias": False}
    problem = wb.Analysis(build(gaussian, model=model, loss={"reduction": "integral"})).problem
    assert population_point(problem, {"a": [1], "w": [[1, 0]]})[0] == 0
    assert population_point(problem, {"a": [1], "w": [[3, 0]]})[0] == 1


def test_a_formula_model_needs_an_activation_for_its_teacher() -> None:
    model = {"kind": "formula", "output": "p*x", "parameters": ["p"]}
    with pytest.raises(StudyError, match=r"data\.teacher\.activation: found nothing"):
        build({"x": X, "teacher": TEACHER}, model=model)
    study = build({"x": X, "teacher": TEACHER | {"activation": "tanh"}}, model=model)
    assert isinstance(wb.Analysis(study).problem, FormulaProblem)
    assert wb.Analysis(study).evaluate([{"p": 1.0}]).to_dict()["points"]


REFUSED = {
    "both": ({"x": X, "y": [1, 2, 3], "teacher": TEACHER}, "data.y: found both y and a teacher"),
    "neither": ({"x": X}, "data.y: found nothing; accepted: the targets: y, or the table [data.teacher]"),
    "inputs": (
        {"x": [[1, 2]], "teacher": TEACHER},
        "data.teacher.w: found rows of length 1; accepted: length 2",
    ),
    "a and w": (
        {"x": X, "teacher": {"a": [1], "w": [[1], [2]]}},
        "data.teacher.a: found 1 entries in a and 2 rows in w",
    ),
    "no w": ({"x": X, "teacher": {"a": [1]}}, "data.teacher.w: found nothing; accepted: the weights a and w"),
    "bias": ({"x": X, "teacher": TEACHER | {"b": [1]}}, "data.teacher.b: found 1 entries; accepted: 2"),
    "output bias": (
        {"x": X, "teacher": TEACHER | {"c": [1, 2]}},
        "data.teacher.c: found 2 numbers; accepted: a number",
    ),
    "ragged": (
        {"x": X, "teacher": {"a": [1, 1], "w": [[1], [1, 2]]}},
        "data.teacher.w[1]: found a row of length 2, where entry 0 is a row of length 1",
    ),
    "mixed": (
        {"x": X, "teacher": {"a": [1, [1]], "w": [[1], [2]]}},
        "data.teacher.a[1]: found a row of length 1, where entry 0 is a number",
    ),
    "key": ({"x": X, "teacher": TEACHER | {"ww": 1}}, "Did you mean 'w'?"),
    "number": ({"x": X, "teacher": {"a": ["one"], "w": [[1]]}}, "data.teacher.a[0]: found 'one'"),
    "activation": (
        {"x": X, "teacher": TEACHER | {"activation": "tahn"}},
        "data.teacher.activation: found 'tahn'",
    ),
    "layers and a": (
        {"x": X, "teacher": TEACHER | {"layers": [{"W": [[1]]}, {"W": [1]}]}},
        "data.teacher.layers: found layers and a, w, b; accepted: either layers, or a and w",
    ),
    "layers that do not fit": (
        {"x": X, "teacher": {"layers": [{"W": [[1], [2]]}, {"W": [1]}]}},
        "data.teacher.layers[1].W: found rows of length 1; accepted: length 2",
    ),
    "one layer": (
        {"x": X, "teacher": {"layers": [{"W": [[1]]}]}},
        "data.teacher.layers: found one layer; accepted: at least two",
    ),
    "key of a layer": (
        {"x": X, "teacher": {"layers": [{"W": [[1]], "bias": [1]}, {"W": [1]}]}},
        "data.teacher.layers[0].bias: found an unknown key; accepted: a key of this table (W, b)",
    ),
    "outputs of a population": (
        {"kind": "gaussian", "teacher": {"a": [[1, 2]], "w": [[1]]}},
        "data.teacher: found a teacher with outputs in rows of 2; accepted: a teacher with one output",
    ),
    "interval": (
        {"kind": "interval", "lower": 0, "upper": 1, "teacher": {"a": [1], "w": [[1, 2]]}},
        "data.teacher.w: found rows of length 2; accepted: length 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_teacher_that_does_not_fit_is_refused_by_what_is_wrong(name: str) -> None:
    data, words = REFUSED[name]
    with pytest.raises(StudyError) as caught:
        build(data)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_outputs_that_are_no_finite_numbers_are_refused() -> None:
    study = build({"x": X, "teacher": TEACHER | {"activation": "exp(800*(z**2 + 1))"}})
    with pytest.raises(StudyError, match=r"data\.teacher: found the output .* accepted: finite real outputs"):
        load_dataset(study.data)


def claims(width: int, **tables: Any):
    study = build({"x": X, "teacher": TEACHER}, model={"width": width}, **tables)
    return list(teacher_claims(wb.Analysis(study).compile()))


def test_the_risk_vanishes_at_the_teacher_where_the_student_contains_it() -> None:
    (claim,) = claims(3)
    assert claim.status is Status.SUPPORTED
    assert claim.residual < 1e-15
    assert claims(1) == []
    assert claims(2, loss={"weight_decay": "1/10"}) == []
    assert claims(2, loss={"kind": "exponential"}) == []


def test_wrong_targets_refute_the_claim() -> None:
    study = build({"x": X, "teacher": TEACHER}, model={"width": 2})
    system = wb.Analysis(study).compile()
    system.y.add_(1e-9)
    (claim,) = teacher_claims(system)
    assert claim.status is Status.REFUTED


def test_the_shipped_study_finds_the_teacher_at_width_one_and_verifies() -> None:
    study = load(shipped_studies()["teacher-student"]).with_overrides(starts=60)
    analysis = wb.Analysis(study)
    landscape = analysis.landscape()
    best = min((p for p in landscape.points if p.width == 1), key=lambda p: p.value)
    assert best.value < 1e-20
    assert abs(best.theta["a"][0] * best.theta["w"][0][0]) == pytest.approx(0.5, rel=1e-9)
    found = verify(analysis, NotThere("left out here")).claims
    assert [c.status for c in found if c.name == "teacher"] == [Status.SUPPORTED] * 2
    assert not any(c.status is Status.REFUTED for c in found)
