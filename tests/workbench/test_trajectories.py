"""The flow of a study: kinks, events, descents, conserved quantities and what ended a trajectory, as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from workbench.errors import Refusal
from workbench.flow_settings import FlowSettings, Watched, read_event
from workbench.output import plain
from workbench.store import Store
from workbench.tables import flow_table

X5 = [[1, 0.2], [0.8, -0.4], [0.6, 0.5], [-0.5, 0.9], [-0.9, 0.3]]
Y5 = [1, 0.7, 0.9, -0.6, -0.3]


def study(model: dict[str, Any], loss: dict[str, Any] | None = None, **data: Any) -> Any:
    return wb.study_from_mapping(
        {
            "schema": 1,
            "name": "test",
            "model": {"width": 2, "input_bias": False, **model},
            "loss": {"reduction": "sum", **(loss or {})},
            "data": data or {"x": X5, "y": Y5},
        }
    )


def flows(
    study: Any, starts: list[dict[str, Any]], until: float, count: int = 9, **settings: Any
) -> list[Any]:
    found = wb.Analysis(study).flow(starts, until, count, FlowSettings(**settings) if settings else None)
    content = found.to_dict()
    assert json.loads(json.dumps(plain(content), allow_nan=False))["schema"] == 1
    return content["trajectories"]


def small(delta: float) -> dict[str, Any]:
    """The start of the two-neuron saddle-to-saddle run, in the order v1, v2, u1, u2."""
    v = [0.6, -0.5, 0.3, 0.2, -0.3, 0.4]
    size = delta / math.sqrt(sum(u * u for u in v))
    return {"a": [size * u for u in v[:2]], "w": [[size * u for u in v[2:4]], [size * u for u in v[4:]]]}


def test_a_relu_flow_goes_on_along_kinks_and_says_where() -> None:
    (run,) = flows(study({"activation": "relu"}), [small(1e-3)], 40.0, events=("kink", "loss:0.25"))
    assert run["status"] == "finished"
    assert run["value"][-1] == pytest.approx(0.0194423, abs=1e-7)
    assert run["value"] == sorted(run["value"], reverse=True)
    assert run["energy_increases"] == 0
    assert run["steps"] + run["rejected"] < 1000
    assert run["method"] == "pieces"
    kinks = [event for event in run["events"] if event["event"] == "kink"]
    assert len(kinks) == run["kinks_reached"] > 0
    assert all(event["kink"].startswith("neuron ") for event in kinks)
    (crossing,) = [event for event in run["events"] if event["event"] == "loss 0.25"]
    assert wb.Analysis(study({"activation": "relu"})).evaluate([crossing["theta"]]).points[0][
        "value"
    ] == pytest.approx(0.25, abs=1e-9)
    (law,) = run["conserved"]
    assert law["name"] == "balance of a neuron"
    assert law["drift"] <= 1e-7 < law["size"]


def test_a_hinge_slides_along_its_margin() -> None:
    given = study(
        {"activation": "linear", "freeze": ["w"]}, {"kind": "hinge"}, x=[[1, 0], [-0.5, 1]], y=[1, 1]
    )
    (run,) = flows(given, [{"a": [0.9, 0.0], "w": [[1, 0], [0, 1]]}], 3.0)
    assert run["theta"][-1]["a"] == pytest.approx([1.0, 1.5], abs=1e-8)
    assert run["slides"][0]["kinks"] == ["loss, sample 1"]
    assert run["slides"][0]["start"] == pytest.approx(0.2, abs=1e-9)


def test_a_trajectory_stops_at_the_event_it_is_told_to() -> None:
    smooth = study({"activation": "tanh"})
    (run,) = flows(
        smooth, [{"a": [0.5, 0.2], "w": [[0.1, 0.2], [0.3, -0.1]]}], 1e3, events=("loss:0.5:stop",)
    )
    assert run["status"] == "event"
    assert run["value"][-1] == pytest.approx(0.5, abs=1e-8)
    assert run["t"][-1] == run["events"][-1]["t"]
    (kinked,) = flows(study({"activation": "relu"}), [small(1.0)], 40.0, events=("kink:stop",))
    assert kinked["status"] == "event"
    assert kinked["events"][-1]["event"] == "kink"


def test_laws_with_decay_and_shift_laws_are_gauges_too() -> None:
    start = [{"a": [0.5, 0.2], "w": [[0.1, 0.2], [0.3, -0.1]]}]
    (run,) = flows(study({"activation": "relu"}, {"weight_decay": "1/10"}), start, 5.0)
    (law,) = run["conserved"]
    assert law["drift"] <= 1e-7
    start[0]["b"] = [0.1, 0.2]
    (run,) = flows(study({"activation": "exp", "input_bias": True}), start, 2.0)
    assert [law["name"] for law in run["conserved"]] == ["shift law of a neuron"]
    assert run["conserved"][0]["drift"] <= 1e-7
    (run,) = flows(study({"activation": "tanh"}), [{"a": [0.5, 0.2], "w": [[0.1, 0.2], [0.3, -0.1]]}], 1.0)
    assert run["conserved"] == []


def test_what_ends_badly_names_its_block_and_the_time_of_blow_up() -> None:
    """One sample, loss -f^3: a' and w' grow like a square, so that the flow blows up."""
    given = study({"activation": "linear", "width": 1}, {"kind": "-f**3"}, x=[[1.0]], y=[0.0])
    (run,) = flows(given, [{"a": [1.0], "w": [[1.0]]}], 10.0)
    assert run["status"] == "diverged"
    assert run["block"] in ("a", "w")
    # a = w: a' = 3 a^5, blow-up at 1/12.
    assert run["blow_up_time"] == pytest.approx(1 / 12, rel=1e-6)
    drift = study({"activation": "linear", "width": 1}, {"kind": "exponential"}, x=[[1.0]], y=[1.0])
    (away,) = flows(drift, [{"a": [1.0], "w": [[1.0]]}], 1.0)
    assert (away["block"], away["blow_up_time"]) == (None, None)


def test_descent_is_what_the_recursion_says() -> None:
    given = study({"activation": "linear", "width": 1}, x=[[1.0]], y=[1.0])
    (run,) = flows(given, [{"a": [1.3], "w": [[0.5]]}], 9.0, 20, step_size=0.9)
    a, w = 1.3, 0.5
    for _ in range(10):
        error = a * w - 1
        a, w = a - 0.9 * error * w, w - 0.9 * error * a
    assert (run["theta"][-1]["a"][0], run["theta"][-1]["w"][0][0]) == pytest.approx((a, w), rel=1e-12)
    assert (run["steps"], run["t"][-1], run["status"], run["method"]) == (
        10,
        pytest.approx(9.0),
        "finished",
        "gradient descent",
    )
    assert run["t"] == sorted(set(run["t"]))


def test_a_descent_beyond_the_edge_diverges_and_says_why() -> None:
    given = study({"activation": "linear", "width": 1, "freeze": ["w"]}, x=[[1.0]], y=[0.0])
    (run,) = flows(given, [{"a": [1.0], "w": [[1.0]]}], 1000.0, step_size=2.5)
    assert run["status"] == "diverged"
    assert run["block"] == "a"
    assert "step size above 2 over the largest curvature" in run["message"]
    assert len(run["t"]) == len(run["theta"]) == len(run["value"])


def test_noise_is_repeatable_by_its_seed() -> None:
    given, start = study({"activation": "tanh"}), [{"a": [0.5, 0.2], "w": [[0.1, 0.2], [0.3, -0.1]]}]
    options: dict[str, Any] = {"step_size": 0.1, "batch": 2, "label_noise": 0.1, "temperature": 0.01}
    one, same, other = (flows(given, start, 5.0, **options, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("model", "loss", "settings", "message"),
    [
        ("tanh", "square", {"events": ("kink",)}, "found a model whose kinks are not followed"),
        ("tanh", "square", {"step_size": 100.0}, "makes 0 steps until 1.0"),
        ("tanh", "square", {"step_size": 0.1, "batch": 9}, "a minibatch has 1 to n = 5 samples, got 9"),
    ],
)
def test_what_cannot_be_done_is_refused(model: str, loss: str, settings: dict, message: str) -> None:
    given = study({"activation": model}, {"kind": loss})
    with pytest.raises(ValueError, match=message):
        flows(given, [{"a": [0.5, 0.2], "w": [[0.1, 0.2], [0.3, -0.1]]}], 1.0, **settings)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kink", Watched("kink", None, False)),
        ("kink:stop", Watched("kink", None, True)),
        ("loss:-0.5", Watched("loss", -0.5, False)),
        ("stationary:1e-6:stop", Watched("stationary", 1e-6, True)),
    ],
)
def test_events_are_read(text: str, found: Watched) -> None:
    assert read_event(text) == found


@pytest.mark.parametrize(
    "text", ["", "loss", "loss:x", "norm:0", "norm:-1", "kink:3", "loss:1:2", "nose:1", "stop"]
)
def test_other_events_are_refused(text: str) -> None:
    with pytest.raises(Refusal):
        read_event(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 1.0}, "temperature: found without a step size"),
        ({"batch": 2, "label_noise": 0.1}, "batch, label_noise: found without a step size"),
        ({"step_size": -1.0}, "step_size: found -1.0"),
        ({"step_size": 0.1, "events": ("kink",)}, "events: found with step_size"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowSettings(**settings)


def test_a_stored_trajectory_is_the_computed_one(tmp_path: Path) -> None:
    given = study({"activation": "relu"})
    store = Store(tmp_path / "results.sqlite")
    first = wb.Analysis(given, store=store).flow([small(1.0)], 5.0, 6).to_dict()
    again = wb.Analysis(given, store=store).flow([small(1.0)], 5.0, 6).to_dict()
    assert again == first == wb.Analysis(given).flow([small(1.0)], 5.0, 6).to_dict()


def test_the_table_tells_events_slides_drift_and_bad_ends() -> None:
    content = {
        "study": "test",
        "trajectories": [
            {
                "t": [0.0, 2.0],
                "value": [1.0, 0.5],
                "status": "finished",
                "steps": 3,
                "events": [
                    {"event": "norm 2", "t": 0.5},
                    {"event": "norm 2", "t": 0.75},
                    {"event": "kink", "t": 1.0},
                ],
                "slides": [{"start": 1.0, "end": 1.5, "kinks": ["neuron 1, sample 1"]}],
                "conserved": [{"name": "balance of a neuron", "drift": 1e-9, "size": 1.0}],
                "energy_increases": 2,
                "block": None,
                "blow_up_time": None,
            },
            {
                "t": [0.0, 1.0],
                "value": [1.0, 9.0],
                "status": "diverged",
                "steps": 3,
                "conserved": [{"name": "balance of a neuron", "drift": 1e-3, "size": 1.0}],
                "block": "w",
                "blow_up_time": 1.25,
            },
        ],
    }
    assert list(flow_table(content).notes) == [
        "start 0: norm 2 2 times, first at t = 0.5",
        "start 0: kink once, at t = 1",
        "start 0: slides along kinks for a time of 0.5",
        "start 1: diverged, in block w, blow-up near t = 1.25",
        "balance of a neuron: kept to 0.001",
        "the risk rose on 2 steps",
    ]
    stuck = {**content["trajectories"][1], "status": "stalled", "message": "Kinks meet. More.", "block": None}
    descent = {"study": "test", "settings": {"step_size": 0.1}, "trajectories": [stuck]}
    assert list(flow_table(descent).notes) == [
        "start 0: Kinks meet",
        "balance of a neuron: moved by 0.001; the gradient flow keeps it, a descent need not",
    ]


def test_a_start_where_too_many_kinks_meet_says_so_and_nothing_else() -> None:
    """A silent neuron at w = 0: five kinks in two dimensions."""
    (run,) = flows(study({"activation": "relu"}), [{"a": [1.0, 1.0], "w": [[0.0, 0.0], [1.0, 0.0]]}], 1.0)
    assert (run["status"], run["t"]) == ("stalled", [0.0])
    assert run["message"].startswith(
        "More kinks meet here than there are directions across them. How the flow"
    )
    assert "step size fell" not in run["message"]


def test_trajectories_show_themselves() -> None:
    found = wb.Analysis(study({"activation": "relu"})).flow([small(1.0)], 5.0, 6)
    html = found._repr_html_()
    assert "drift of conserved quantities" in html
    assert "finished" in html
    for what in ("loss", "norms", "directions"):
        assert found.view(what).plot() is not None
    assert found.view("phase", ("a1", "w[2,1]")).plot() is not None
