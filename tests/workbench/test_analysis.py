"""The facade: derivations from a problem, numbers from a study, plain refusals of what is not there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from sympy import Eq

import workbench as wb
from workbench.errors import NotThere, StudyError
from workbench.store import Store


def study(**changes: object) -> wb.Study:
    content = {
        "schema": 1,
        "name": "small",
        "model": {"width": 1},
        "data": {"x": [[-1.0], [0.0], [1.0], [2.0]], "y": [-0.5, 0.1, 0.4, 0.2]},
        "landscape": {"widths": [1], "starts": 20},
    }
    for table, entries in changes.items():
        content[table] = {**content.get(table, {}), **entries} if isinstance(entries, dict) else entries  # type: ignore[dict-item]
    return wb.study_from_mapping(content)


def test_gradient_flow_of_a_problem_is_sympy_equations() -> None:
    problem = wb.Problem.two_layer(activation="tanh", loss="square", input_bias=True)
    flow = wb.Analysis(problem).gradient_flow()
    assert len(flow.equations) == 3
    assert all(isinstance(equation, Eq) for equation in flow.equations)
    assert r"\dot{a}_k" in flow._repr_latex_()


def test_a_problem_alone_has_no_numbers() -> None:
    with pytest.raises(StudyError, match="needs a study"):
        wb.Analysis(wb.Problem.two_layer("tanh", "square")).landscape()


def test_evaluate_agrees_with_the_formula_written_out() -> None:
    import math

    found = wb.Analysis(study()).evaluate([{"a": [2.0], "w": [[0.5]], "b": [0.25]}]).to_dict()["points"][0]
    outputs = [2 * math.tanh(0.5 * x + 0.25) for x in (-1.0, 0.0, 1.0, 2.0)]
    risk = sum((f - y) ** 2 for f, y in zip(outputs, (-0.5, 0.1, 0.4, 0.2), strict=True)) / 8
    assert found["value"] == pytest.approx(risk, rel=1e-14)
    assert found["outputs"] == pytest.approx(outputs, rel=1e-14)
    assert sum(found["inertia"].values()) == 3


def test_flow_ends_where_it_should_and_never_rises() -> None:
    result = wb.Analysis(study()).flow([{"a": [0.5], "w": [[0.5]], "b": [0.0]}], 50.0, 30)
    (trajectory,) = result.to_dict()["trajectories"]
    assert trajectory["status"] == "finished"
    assert len(trajectory["t"]) == len(trajectory["theta"]) == len(trajectory["value"]) == 30
    assert trajectory["t"][-1] == 50.0
    assert all(
        later <= earlier for earlier, later in zip(trajectory["value"], trajectory["value"][1:], strict=False)
    )


@pytest.mark.parametrize(
    ("until", "count"), [(0.0, 10), (-1.0, 10), (float("inf"), 10), (float("nan"), 10), (1.0, 1)]
)
def test_flow_refuses(until: float, count: int) -> None:
    with pytest.raises(ValueError, match="found"):
        wb.Analysis(study()).flow([{"a": [0.5], "w": [[0.5]], "b": [0.0]}], until, count)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "data": {"kind": "interval", "lower": 0, "upper": 1, "target": "x"},
                "loss": {"kind": "hinge"},
            },
            "an interval is not there yet",
        ),
        (
            {"data": {"kind": "gaussian", "dimension": 2, "target": "x[0]"}},
            "a Gaussian population is not there yet",
        ),
    ],
)
def test_what_is_not_there_says_so(changes: dict[str, object], words: str) -> None:
    content = study().to_dict()
    for table, entries in changes.items():
        content[table] = entries
    with pytest.raises(NotThere, match=words):
        wb.Analysis(wb.study_from_mapping(content))


def test_a_formula_is_derived_evaluated_followed_and_verified() -> None:
    import math

    rows = {"x": [[0.5, 1.0], [1.5, -2.0]], "y": [1, "1/3"]}
    model = {
        "kind": "formula",
        "output": "a1*exp(w1*t) + c*u",
        "parameters": ["a1", "w1", "c"],
        "inputs": ["t", "u"],
    }
    analysis = wb.Analysis(
        wb.study_from_mapping({"schema": 1, "name": "named", "model": model, "data": rows})
    )
    theta = {"a1": 0.5, "w1": -0.25, "c": 2.0}
    found = analysis.evaluate([theta]).to_dict()["points"][0]
    outputs = [0.5 * math.exp(-0.25 * t) + 2.0 * u for t, u in rows["x"]]
    assert found["outputs"] == pytest.approx(outputs, rel=1e-14)
    residuals = [outputs[0] - 1, outputs[1] - 1 / 3]
    assert found["value"] == pytest.approx(sum(r * r for r in residuals) / 4, rel=1e-14)
    assert found["gradient"]["c"] == pytest.approx((residuals[0] - 2 * residuals[1]) / 2, rel=1e-13)
    (trajectory,) = analysis.flow([theta], 5.0, 10).to_dict()["trajectories"]
    assert trajectory["value"][-1] < trajectory["value"][0]
    assert not analysis.verify().refuted
    text = analysis.gradient_flow()
    assert r"\dot{a}_1 &= -\sum_{i=1}^{n} r_i e^{t_i w_1}" in text.latex()
    assert r"Indices: samples $i = 1, \dots, n$." in text.notes
    assert [s.name for s in analysis.derive("symmetries").statements] == ["completeness of the list"]
    with pytest.raises(NotThere, match="embedding"):
        analysis.derive("embedding")


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ({"activation": "relu"}, {"kind": "interval", "lower": 0, "upper": 1, "target": "x"}, r"\int"),
        (
            {"activation": "erf", "input_bias": False},
            {"kind": "gaussian", "target": "erf(x[0])"},
            r"w_k^{\top} w_q",
        ),
    ],
)
def test_densities_are_derived(model: dict[str, object], data: dict[str, object], words: str) -> None:
    analysis = wb.Analysis(
        wb.study_from_mapping({"schema": 1, "name": "dense", "model": {**model, "width": 1}, "data": data})
    )
    assert words in analysis.gradient_flow().latex()
    assert analysis.derive("critical-equations").equations  # type: ignore[union-attr]
    with pytest.raises(NotThere, match="there are risk"):
        analysis.derive("jacobian")


def test_landscape_of_a_deep_model_says_so_and_the_rest_works() -> None:
    content = study().to_dict()
    content["model"] = {"kind": "deep", "widths": [2, 2]}
    analysis = wb.Analysis(wb.study_from_mapping(content))
    with pytest.raises(NotThere, match="deep"):
        analysis.landscape()
    assert not analysis.verify().refuted
    (missing,) = [claim for claim in analysis.verify().claims if claim.name == "landscape"]
    assert (str(missing.status), "deep" in missing.evidence["reason"]) == ("UNDECIDED", True)
    assert len(analysis.gradient_flow().equations) == 5


def test_a_study_without_width_derives_and_refuses_numbers() -> None:
    content = study().to_dict()
    del content["model"]["width"]
    analysis = wb.Analysis(wb.study_from_mapping(content))
    assert analysis.gradient_flow().equations
    with pytest.raises(StudyError, match=r"model\.width"):
        analysis.critical()


@pytest.mark.parametrize(
    ("device", "dtype"), [("gpu", "float64"), ("cpu", "float16"), ("cuda:99", "float64")]
)
def test_device_and_dtype_are_checked(device: str, dtype: str) -> None:
    with pytest.raises(StudyError, match="found"):
        wb.Analysis(study(), device=device, dtype=dtype)


def test_landscape_needs_double_precision() -> None:
    with pytest.raises(StudyError, match="float64"):
        wb.Analysis(study(), dtype="float32").critical()


def test_a_finished_search_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.sqlite")
    first = wb.Analysis(study(), store=store).critical()
    computed: list[str] = []

    class Watched(Store):
        def put(self, key: str, value) -> None:  # type: ignore[no-untyped-def]
            computed.append(key)
            super().put(key, value)

    again = wb.Analysis(study(), store=Watched(tmp_path / "results.sqlite")).critical()
    assert not computed
    assert again.points == first.points
    other = wb.Analysis(study(), store=Watched(tmp_path / "results.sqlite"), seed=1).critical()
    assert computed
    assert other.seed == 1


def test_threads_are_left_as_they_were() -> None:
    import torch

    before = torch.get_num_threads()
    wb.Analysis(study()).critical()
    assert torch.get_num_threads() == before


def test_rates_scale_the_flow() -> None:
    plain = wb.Analysis(study()).compile()
    fast = wb.Analysis(study(model={"rate": {"a": "3"}})).compile()
    theta = plain.pack({"a": [0.5], "w": [[0.5]], "b": [0.1]})
    ratio = fast.flow(theta) / plain.flow(theta)
    assert ratio.tolist() == pytest.approx([3.0, 1.0, 1.0], rel=1e-14)


def test_every_result_has_a_rich_form() -> None:
    analysis = wb.Analysis(study())
    for result in (
        analysis.critical(),
        analysis.verify(),
        analysis.evaluate([{"a": [1], "w": [[1]], "b": [0]}]),
    ):
        assert "<table" in result._repr_html_()
        assert result.to_dict()["schema"] == 1
    assert dataclasses.is_dataclass(analysis.critical())
