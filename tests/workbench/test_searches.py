"""Studies over populations, from the study file to every result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import workbench as wb
from workbench.errors import NotThere, StudyError

INTERVAL = {"kind": "interval", "lower": 0, "upper": 1, "target": "x"}
GAUSSIAN = {"kind": "gaussian", "dimension": 2, "target": "He3(x[0])"}


def analysis(model=None, data=INTERVAL, loss=None, widths=(1,), starts=120, **options) -> wb.Analysis:
    content = {
        "schema": 1,
        "name": "population",
        "model": {"activation": "relu", "width": max(widths), "output_bias": True, **(model or {})},
        "loss": {"reduction": "integral", "factor": "2", **(loss or {})},
        "data": data,
        "landscape": {"widths": list(widths), "starts": starts},
    }
    return wb.Analysis(wb.study_from_mapping(content), **options)


def test_the_shipped_study_evaluates_flows_and_finds_its_saddle():
    study = wb.load(wb.shipped_studies()["relu-affine"])
    found = wb.Analysis(study.with_overrides(starts=150))
    saddle = {"a": [2 / 3, -2 / 3], "w": [[1], [-1]], "b": [-1 / 3, 2 / 3], "c": 0.5}
    (point,) = found.evaluate([saddle]).to_dict()["points"]
    assert point["value"] == pytest.approx(1 / 972, rel=1e-13)
    assert point["inertia"] == {"negative": 2, "zero": 2, "positive": 3}
    assert len(point["inputs"]) == len(point["outputs"]) == 33
    assert "exact up to rounding" in point["integrals"]
    assert point["without_classical_hessian"] == []
    away = {**saddle, "a": [0.7, -0.6]}
    (run,) = found.flow([away], 200.0, 20).to_dict()["trajectories"]
    assert run["status"] == "finished"
    assert run["value"][-1] < 1e-3 < run["value"][0]
    landscape = found.critical()
    assert {round(p.value, 9) for p in landscape.points} <= {0.0, round(1 / 972, 9), round(1 / 12, 9)}
    assert json.dumps(landscape.to_dict())
    with pytest.raises(NotThere, match="'workbench critical' lists the critical points of one width"):
        found.landscape()


def test_a_relu_study_is_verified_and_reported(tmp_path: Path):
    found = analysis()
    claims = {(c.name, c.claim): c for c in found.verify().claims}
    assert not found.verify().refuted
    assert str(claims["symbolic", "balance of a neuron"].status) == "PROVED"
    for name in ("value", "gradient", "hessian", "hvp", "outputs"):
        assert str(claims["derivation, width 1", name].status) == "SUPPORTED"
    for key in (
        ("landscape", "critical values"),
        ("conservation law", "conserved quantity"),
        ("gradient flow", "descent"),
    ):
        assert str(claims[key].status) == "SUPPORTED"
    files = found.report(tmp_path, pdf=False)
    text = files.tex.read_text()
    assert "The inputs fill the interval from $0$ to $1$ with density $1$" in text
    assert r"\dot{w}_k &= -a_k \int\limits_{0}^{1}" in text
    assert "One entry stands for all critical points found with one network function" in text
    assert "arXiv:2103.10922" in text


SMOOTH = {"activation": "tanh", "input_bias": False, "output_bias": False}
WAVE = {"kind": "interval", "lower": -1, "upper": 1, "target": "sin(4*x)"}


def test_a_smooth_network_on_an_interval_is_sorted_into_orbits():
    """The minimum of one neuron, found twice up to sign, and the zero network with a dead neuron."""
    found = analysis(SMOOTH, WAVE, starts=30)
    points = found.critical().points
    assert [(p.stratum, p.orbit_size) for p in points if p.width] == [
        ("irreducible", 2),
        ("m0.1 with 1 dead neuron", 1),
    ]
    assert "doubled" in found.compile(1).integration


@pytest.mark.slow
def test_a_smooth_network_on_an_interval_has_a_landscape():
    """It is that of weighted samples: one neuron embeds into two, and saddles are followed downhill."""
    landscape = analysis(SMOOTH, WAVE, widths=(1, 2), starts=40).landscape()
    assert {e.kind for e in landscape.edges} == {"splitting", "null", "descent"}
    assert all(check.holds for check in landscape.checks)
    assert all(p.gradient_norm < 1e-10 for p in landscape.points)


def test_gaussian_inputs_go_through_everything_but_the_landscape(tmp_path: Path):
    found = analysis({"activation": "erf", "input_bias": False, "output_bias": False}, GAUSSIAN, starts=40)
    theta = {"a": [1.0], "w": [[0.5, -0.25]]}
    (point,) = found.evaluate([theta]).to_dict()["points"]
    assert len(point["inputs"]) == len(point["outputs"]) == 3
    (run,) = found.flow([theta], 3.0, 5).to_dict()["trajectories"]
    assert run["value"][-1] < run["value"][0]
    assert found.critical().points
    assert not found.verify().refuted
    with pytest.raises(NotThere, match="over Gaussian inputs is not there yet"):
        found.landscape()
    assert r"x \sim N(0, I_d)" in found.report(tmp_path, pdf=False).tex.read_text()


def test_a_finished_search_is_read_back(tmp_path: Path):
    from workbench.store import Store

    store = Store(tmp_path / "results.sqlite")
    curved = {**INTERVAL, "target": "x**2"}  # affine targets are classified without a search
    first, second = (analysis(data=curved, starts=30, store=store).critical() for _ in range(2))
    assert [p.theta for p in first.points] == [p.theta for p in second.points]
    assert (first.searches[0].starts, first.searches[0].unconverged) == (30, second.searches[0].unconverged)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: analysis(data={**INTERVAL, "target": "1000*x"}).critical(), "y: found numbers up to 1e\\+03"),
        (lambda: analysis(data={**INTERVAL, "upper": 100}).critical(), "input: found numbers up to 100"),
        (lambda: analysis(dtype="float32").critical(), "accepted: float64"),
        (lambda: analysis({"activation": "erf", "input_bias": False}, {**GAUSSIAN, "dimension": "d"}).critical(), "concrete dimension"),
        (lambda: analysis({"activation": "erf", "input_bias": False}, GAUSSIAN, dtype="float32").compile(), "computed in float64"),
    ],
)  # fmt: skip
def test_bad_input_is_answered(build, words):
    with pytest.raises(StudyError, match=words):
        build()


def test_a_network_too_steep_to_integrate_is_refused():
    found = analysis({"activation": "tanh"})
    with pytest.raises(ValueError, match="the integrals did not converge"):
        found.evaluate([{"a": [1.0], "w": [[1e7]], "b": [-5e6], "c": 0.0}])
