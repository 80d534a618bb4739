"""How flows of networks with kinks are followed, in every dtype, and what is said where they are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import workbench as wb
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.population_system import PopulationSystem
from workbench import kinked_flows
from workbench.flow_settings import FlowSettings
from workbench.kinked_flows import is_kinked, route_of

X = [[1.0, 0.2], [0.8, -0.4], [0.6, 0.5], [-0.5, 0.9], [-0.9, 0.3]]
Y = [1.0, 0.7, 0.9, -0.6, -0.3]
START = {"a": [0.6, -0.5], "w": [[0.3, 0.2], [-0.3, 0.4]]}


def compiled(activation: str = "relu", loss: str = "square", **options: Any) -> CompiledSystem:
    problem = Problem.two_layer(activation, loss, reduction="sum")
    return compile_system(problem, X, Y, 2, **options)


def study(activation: str = "relu", **model: Any) -> Any:
    return wb.study_from_mapping(
        {
            "schema": 1,
            "name": "test",
            "model": model or {"width": 2, "input_bias": False, "activation": activation},
            "loss": {"reduction": "sum"},
            "data": {"x": X, "y": Y},
        }
    )


def test_a_smooth_network_and_a_population_are_integrated_plainly() -> None:
    for activation in ("tanh", "quadratic"):
        route = route_of(compiled(activation))
        assert (route.pieces, route.reliable, route.notes) == (None, True, ())
    gaussian = wb.study_from_mapping(
        {
            "schema": 1,
            "name": "test",
            "model": {"width": 2, "activation": "relu", "input_bias": False},
            "data": {"kind": "gaussian", "dimension": 2, "target": "He2(x[0])"},
        }
    )
    system = wb.Analysis(gaussian).compile()
    assert isinstance(system, PopulationSystem)
    assert not is_kinked(system)


@pytest.mark.parametrize(("activation", "loss"), [("relu", "square"), ("abs", "square"), ("tanh", "hinge")])
def test_kinks_of_activation_and_loss_are_followed(activation: str, loss: str) -> None:
    system = compiled(activation, loss)
    route = route_of(system)
    assert route.pieces is not None
    assert route.system is system
    assert (route.reliable, route.notes) == (True, ())


def test_in_float32_the_flow_is_followed_in_float64_from_the_data_of_the_study() -> None:
    exact = wb.Analysis(study()).flow([START], 20.0, 5).to_dict()
    found = wb.Analysis(study(), dtype="float32").flow([START], 20.0, 5, FlowSettings(("kink",))).to_dict()
    (note,) = found["notes"]
    assert "followed in float64 on the CPU" in note
    assert "it was asked for float32 on cpu" in note
    (run,), (true,) = found["trajectories"], exact["trajectories"]
    assert run["method"] == "pieces"
    assert (run["t"], run["theta"], run["value"]) == (true["t"], true["theta"], true["value"])
    assert "notes" not in exact
    # Without the study the twin has the data as float32 holds them.
    route = route_of(compiled(dtype=torch.float32))
    assert route.system.dtype == torch.float64
    assert torch.equal(route.system.x, torch.tensor(X, dtype=torch.float32).double())


def test_too_many_kinks_are_stepped_across_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinked_flows, "MOST_KINKS", 9)  # 5 samples times 2 neurons
    analysis = wb.Analysis(study())
    found = analysis.flow([START], 0.04, 5)
    (note,) = found.to_dict()["notes"]
    assert note.startswith("The network has 10 kinks, and up to 9 are followed one by one.")
    assert "its error estimate does not hold there" in note
    assert found.trajectories[0]["method"] != "pieces"
    assert note.partition(".")[0] in found._repr_html_()
    with pytest.raises(ValueError, match=r"kinks are not followed. The network has 10 kinks"):
        analysis.flow([START], 0.04, 5, FlowSettings(("kink",)))
    monkeypatch.setattr(kinked_flows, "MOST_KINKS", 10)
    assert wb.Analysis(study()).flow([START], 0.04, 5).notes == ()


def test_a_loss_with_a_kink_counts_once_for_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinked_flows, "MOST_KINKS", 5)
    assert route_of(compiled("tanh", "hinge")).pieces is not None
    assert route_of(compiled("relu", "hinge")).notes[0].startswith("The network has 15 kinks")


def test_a_formula_with_a_kink_is_stepped_across_and_that_is_said() -> None:
    model = {
        "kind": "formula",
        "output": "a*relu(w*u + v)",
        "parameters": ["a", "w"],
        "inputs": ["u", "v"],
    }
    found = wb.Analysis(study(**model)).flow([{"a": 0.5, "w": 0.3}], 1.0, 5)
    (note,) = found.notes
    assert note.startswith("Kinks of this model are not followed: pieces need a two-layer or deep network")


def test_an_activation_that_jumps_is_stepped_across_and_that_is_said() -> None:
    route = route_of(compiled("sign(z)"))
    assert not route.reliable
    assert "jumps at 0" in route.notes[0]


def test_a_descent_has_no_kinks_to_follow() -> None:
    found = wb.Analysis(study(), dtype="float32").flow([START], 1.0, 5, FlowSettings(step_size=0.1))
    assert found.notes == ()
