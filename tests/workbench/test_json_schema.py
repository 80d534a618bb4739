"""The JSON of schema 1 as scripts outside read it, from real commands on a small study."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from workbench.__main__ import main

X, Y = (-1.0, 0.25, 1.0), (-0.4, 0.3, 0.5)
STUDY = f"""
schema = 1
name = "three-points"
[model]
width = 1
[data]
x = {[[x] for x in X]}
y = {list(Y)}
[landscape]
widths = [1]
starts = 12
seed = 3
"""
THETA = {"a": [0.75], "w": [[1.5]], "b": [-0.25]}
SHAPES = {"a": (1,), "w": (1, 1), "b": (1,)}
STATUSES = {"PROVED", "CERTIFIED", "SUPPORTED", "REFUTED", "UNDECIDED"}
EQUATIONS = {"gradient-flow", "gradient", "hessian", "critical-equations"}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("WORKBENCH_CACHE", "off")
    (tmp_path / "theta.json").write_text(json.dumps([THETA, THETA | {"a": ["1/2"]}]))
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return str(path)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    assert main(list(arguments)) == status
    content = json.loads(
        capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    assert content["schema"] == 1
    return content


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    if not shape:
        return is_number(value)
    return isinstance(value, list) and len(value) == shape[0] and all(has_shape(v, shape[1:]) for v in value)


def is_theta(value: Any) -> bool:
    return list(value) == list(SHAPES) and all(
        has_shape(value[name], shape) for name, shape in SHAPES.items()
    )


def is_inertia(value: Any, size: int) -> bool:
    signs = ["negative", "zero", "positive"]
    return list(value) == signs and all(map(is_count, value.values())) and sum(value.values()) == size


def risk(theta: dict[str, Any]) -> float:
    """Half the mean squared error, written out."""
    (a,), ((w,),), (b,) = theta["a"], theta["w"], theta["b"]
    return math.fsum((a * math.tanh(w * x + b) - y) ** 2 / 2 for x, y in zip(X, Y, strict=True)) / len(X)


def test_evaluate(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    theta = str(Path(study).with_name("theta.json"))
    content = answer(capsys, "evaluate", study, "--at", theta, "--json", "-")
    assert content["study"] == "three-points"
    assert [point["theta"]["a"] for point in content["points"]] == [[0.75], [0.5]]
    for point in content["points"]:
        assert is_theta(point["theta"])
        assert is_theta(point["gradient"])
        assert point["value"] == pytest.approx(risk(point["theta"]), rel=1e-13)
        flat = [value for block in point["gradient"].values() for value in str(block).strip("[]").split(",")]
        assert point["gradient_norm"] == pytest.approx(math.hypot(*map(float, flat)), rel=1e-13)
        assert point["eigenvalues"] == sorted(point["eigenvalues"])
        assert is_inertia(point["inertia"], len(point["eigenvalues"]))
        assert len(point["eigenvalues"]) == 3
        assert has_shape(point["outputs"], (3,))


def test_flow(study: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    theta, figure = str(tmp_path / "theta.json"), tmp_path / "flow.svg"
    options = ["--until", "5", "--points", "7", "--json", "-", "--figure", str(figure)]
    content = answer(capsys, "flow", study, "--from", theta, *options)
    assert content["study"] == "three-points"
    assert len(content["trajectories"]) == 2
    assert "<svg" in figure.read_text()
    for run in content["trajectories"]:
        assert run["status"] == "finished"
        assert type(run["steps"]) is int
        assert len(run["t"]) == len(run["theta"]) == len(run["value"]) == 7
        assert (run["t"][0], run["t"][-1]) == (0.0, 5.0)
        assert all(map(is_theta, run["theta"]))
        assert run["value"] == sorted(run["value"], reverse=True)
        assert run["value"][-1] == pytest.approx(risk(run["theta"][-1]), rel=1e-13)
    assert content["trajectories"][0]["theta"][0] == THETA


def test_critical(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = answer(capsys, "critical", study, "--json", "-", "--seed", "5", "--starts", "8")
    assert content["seed"] == 5
    check_points_and_edges(content)


def test_landscape(study: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    graph, figure = tmp_path / "g.graphml", tmp_path / "g.pdf"
    content = answer(
        capsys, "landscape", study, "--json", "-", "--graph", str(graph), "--figure", str(figure)
    )
    assert content["seed"] == 3
    check_points_and_edges(content)
    assert "<graphml" in graph.read_text()
    assert figure.read_bytes().startswith(b"%PDF")
    ids = {point["id"] for point in content["critical_points"]}
    assert all(set(point["embedded_from"]) <= ids for point in content["critical_points"])


def check_points_and_edges(content: dict[str, Any]) -> None:
    assert content["study"] == "three-points"
    assert is_count(content["runs_to_infinity"])
    assert is_count(content["unconverged"])
    done = content["completeness"]
    assert done["status"] in ("PROVED", "SUPPORTED", "UNDECIDED")
    assert done["method"]
    assert {"expected", "found"} <= done.keys()
    for check in done["checks"]:
        assert check["status"] in STATUSES
        assert {"name", "width", "statement", "computed", "expected"} <= check.keys()
    ids = [point["id"] for point in content["critical_points"]]
    assert len(set(ids)) == len(ids) > 0
    for point in content["critical_points"]:
        assert point["id"].startswith(f"m{point['width']}.")
        assert is_inertia(point["inertia"], len(point["eigenvalues"]))
        assert point["eigenvalues"] == sorted(point["eigenvalues"])
        assert point["kind"] in ("minimum", "maximum", "saddle", "degenerate")
        assert point["strict_saddle"] in (True, False, None)
        assert point["global_minimum"] in (True, False, None)
        assert point["status"] in ("CERTIFIED", "SUPPORTED")
        assert point["gradient_norm"] < 1e-9  # a polished point of a risk of order one
        assert is_count(point["found"])
        assert {"exact", "radius", "orbit_size", "manifold_dimension"} <= point.keys()
        if point["width"] == 1:
            assert is_theta(point["theta"])
            assert point["value"] == pytest.approx(risk(point["theta"]), rel=1e-12)
    for edge in content["edges"]:
        assert edge["kind"] in ("splitting", "null", "lifting", "descent")
        assert edge["source"] in ids


def test_verify(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = answer(capsys, "verify", study, "--json", "-")
    assert content["claims"]
    for claim in content["claims"]:
        assert {"computed", "expected", "residual", "tolerance"} <= claim.keys()
        assert all(isinstance(claim[name], str) for name in ("name", "claim", "statement", "source"))
        assert claim["relation"] in ("equal", "at_most", "at_least")
        assert claim["status"] in STATUSES - {"REFUTED"}
        assert isinstance(claim["evidence"], dict)


def test_derive(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = answer(capsys, "derive", study, "--format", "json")
    assert content["study"] == "three-points"
    assert set(content["derivations"]) >= EQUATIONS
    assert main(["derive", study]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Gradient flow\n")


@pytest.mark.parametrize("command", ["evaluate", "critical", "landscape", "verify"])
def test_a_study_without_data_is_bad_input_for_numbers(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "symbolic.toml"
    path.write_text('schema = 1\nname = "symbolic"\n[model]\nwidth = 1\n')
    (tmp_path / "theta.json").write_text(json.dumps(THETA))
    more = ["--at", str(tmp_path / "theta.json")] if command == "evaluate" else []
    assert main([command, str(path), *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "data" in err
    assert "Traceback" not in err
