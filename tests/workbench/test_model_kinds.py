"""Every kind of model and loss a study can state: derived by every name, evaluated, and flowing, against plain NumPy.

A covering product: every model meets every loss in ``evaluate`` (the full product is slow), every name of ``derive`` meets every
model, and the flow starts with minus rate times gradient, frozen blocks standing still.  What cannot be derived must say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

import workbench as wb
from derivations.errors import AssumptionError
from numerics.tolerances import FINITE_DIFFERENCES, SAME_FORMULA
from workbench.derive import SHOWN
from workbench.errors import NotThere, StudyError
from workbench.study import study_from_mapping

X = [[1, "1/2"], ["-1/3", 1], [2, -1]]
Y, ROWS = [1, -1, 1], [[1, 0], [0, 1], ["1/2", -1]]
POINTS = np.array([[1, 0.5], [-1 / 3, 1], [2, -1]])
A, W, B = [1.0, -0.5], [[0.1, 0.2], [0.3, -0.4]], [0.1, 0.25]

Theta = Mapping[str, Any]


class Kind(NamedTuple):
    """A model table, a parameter point, and its outputs written by hand, (n, o)."""

    model: dict[str, Any]
    theta: Theta
    outputs: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    targets: list[Any] = Y


def softplus(z):
    return np.log1p(np.exp(z))


def pre(p):
    return POINTS @ p["w"].T + p.get("b", 0.0)


KINDS = {
    "deep linear": Kind(
        {"kind": "deep", "activation": "linear", "widths": [2, 1], "input_bias": False},
        {"W1": W, "W2": [[0.3, 0.7]], "W3": [0.5]},
        lambda p: POINTS @ p["W1"].T @ p["W2"].T @ p["W3"],
    ),
    "quadratic": Kind(
        {"activation": "quadratic", "width": 2, "input_bias": False},
        {"a": A, "w": W},
        lambda p: pre(p) ** 2 @ p["a"],
    ),
    "diagonal": Kind(
        {"kind": "diagonal", "depth": 3},
        {"u": [0.6, 0.4], "v": [0.3, 0.5]},
        lambda p: POINTS @ (p["u"] ** 3 - p["v"] ** 3),
    ),
    "formula": Kind(
        {
            "kind": "formula",
            "output": "p*tanh(q*s) + t**2*q",
            "parameters": ["p", "q"],
            "inputs": ["s", "t"],
        },
        {"p": 0.3, "q": 0.2},
        lambda p: p["p"] * np.tanh(p["q"] * POINTS[:, 0]) + POINTS[:, 1] ** 2 * p["q"],
    ),
    "outputs in rows": Kind(
        {"activation": "tanh", "width": 2, "output_bias": True},
        {"a": [[1.0, 0.2], [0.5, -0.3]], "w": W, "b": B, "c": [0.1, -0.2]},
        lambda p: np.tanh(pre(p)) @ p["a"] + p["c"],
        ROWS,
    ),
    "frozen": Kind(
        {"activation": "relu", "width": 2, "freeze": ["a"]},
        {"a": A, "w": W, "b": B},
        lambda p: np.maximum(pre(p), 0) @ p["a"],
    ),
    "rates": Kind(
        {"activation": "softplus", "width": 2, "rate": {"a": "2", "w": "1/3"}},
        {"a": A, "w": W, "b": B},
        lambda p: softplus(pre(p)) @ p["a"],
    ),
    "scale in m and d": Kind(
        {"activation": "sin", "width": 2, "scale": "1/sqrt(m*d + 1)"},
        {"a": A, "w": W, "b": B},
        lambda p: np.sin(pre(p)) @ p["a"] / np.sqrt(5),
    ),
    "deep with rows": Kind(
        {"kind": "deep", "activation": "tanh", "widths": [2], "output_bias": True},
        {"W1": W, "b1": B, "W2": [[0.3, 0.5], [0.1, 0.2]], "b2": [0.1, 0.0]},
        lambda p: np.tanh(POINTS @ p["W1"].T + p["b1"]) @ p["W2"].T + p["b2"],
        ROWS,
    ),
}

Loss = tuple[dict[str, Any], Callable[[np.ndarray, np.ndarray], np.ndarray]]
LOSSES: dict[str, Loss] = {
    "square": ({}, lambda f, y: (f - y) ** 2 / 2),
    "sum with a factor": ({"reduction": "sum", "factor": "2"}, lambda f, y: (f - y) ** 2),
    "weight decay": ({"weight_decay": "1/10"}, lambda f, y: (f - y) ** 2 / 2),
    "correlation": ({"kind": "correlation"}, lambda f, y: -y * f),
    "hinge": ({"kind": "hinge"}, lambda f, y: np.maximum(0, 1 - y * f)),
    "linear hinge": ({"kind": "linear_hinge", "margin": "3/2"}, lambda f, y: np.maximum(0, 1.5 - y * f)),
    "exponential": ({"kind": "exponential"}, lambda f, y: np.exp(-y * f)),
    "logistic": ({"kind": "logistic"}, lambda f, y: softplus(-y * f)),
    "formula": ({"kind": "(1 - y*f)**2 + abs(f)/2"}, lambda f, y: (1 - y * f) ** 2 + np.abs(f) / 2),
}


def analysis_of(kind: str, loss: str) -> wb.Analysis:
    data = {"x": X, "y": KINDS[kind].targets}
    tables = {"model": KINDS[kind].model, "loss": LOSSES[loss][0], "data": data}
    return wb.Analysis(study_from_mapping({"schema": 1, "name": "small", **tables}))


def value_by_hand(kind: str, loss: str, theta: Theta) -> float:
    p = {name: np.array(block) for name, block in theta.items()}
    y = np.array([[float(eval_number(u)) for u in np.atleast_1d(row)] for row in KINDS[kind].targets])
    f = KINDS[kind].outputs(p).reshape(y.shape)
    table, function = LOSSES[loss]
    total = function(f, y).sum() / (1 if table.get("reduction") == "sum" else len(y))
    squares = sum(float((block**2).sum()) for block in p.values())
    return total + (0.05 * squares if "weight_decay" in table else 0.0)


def eval_number(text: Any) -> float:
    top, _, bottom = str(text).partition("/")
    return float(top) / float(bottom or 1)


def moved(theta: Theta, block: str, at: tuple[int, ...], by: float) -> Theta:
    changed = {name: np.array(value, dtype=float) for name, value in theta.items()}
    changed[block][at] += by
    return {name: value.tolist() for name, value in changed.items()}


def check_numbers(kind: str, loss: str) -> None:
    theta, analysis = KINDS[kind].theta, analysis_of(kind, loss)
    point = analysis.evaluate([theta]).to_dict()["points"][0]
    by_hand = value_by_hand(kind, loss, theta)
    assert point["value"] == pytest.approx(by_hand, rel=SAME_FORMULA[analysis.compile().dtype])
    frozen = KINDS[kind].model.get("freeze", [])
    for block, value in theta.items():
        gradient = np.array(point["gradient"][block])
        for at in np.ndindex(np.shape(value)):
            h = 1e-3
            ends = [value_by_hand(kind, loss, moved(theta, block, at, s * h)) for s in (1, -1, 2, -2)]
            slope = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
            # Rounding of order eps / h, and h^4 with a fifth derivative of order one.
            assert gradient[at] == pytest.approx(slope, abs=1e3 * FINITE_DIFFERENCES * h)
        assert frozen == [] or block not in frozen or block in point["gradient"]


SOME = [(kind, loss) for j, kind in enumerate(KINDS) for k, loss in enumerate(LOSSES) if (j + k) % 3 == 0]
QUICK = ("deep linear", "quadratic", "diagonal", "formula")
ASKED = [(kind, "logistic") for kind in QUICK[1:3]]
ASKED += [pytest.param(k, "square", marks=[] if k in QUICK else pytest.mark.slow) for k in KINDS]
REST = [(kind, loss) for kind in KINDS for loss in LOSSES if (kind, loss) not in SOME]


@pytest.mark.parametrize(("kind", "loss"), SOME)
def test_value_and_gradient_are_those_of_the_network_written_by_hand(kind, loss):
    check_numbers(kind, loss)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "loss"), REST)
def test_value_and_gradient_of_the_rest_of_the_product(kind, loss):
    check_numbers(kind, loss)


@pytest.mark.parametrize("kind", KINDS)
def test_the_flow_begins_with_minus_rate_times_gradient(kind):
    analysis, theta = analysis_of(kind, "square"), KINDS[kind].theta
    gradient = analysis.evaluate([theta]).to_dict()["points"][0]["gradient"]
    until = 1e-4
    run = analysis.flow([theta], until, 2).to_dict()["trajectories"][0]
    assert run["status"] == "finished"
    assert run["value"][-1] < run["value"][0]
    model = KINDS[kind].model
    for block, value in theta.items():
        rate = eval_number(model.get("rate", {}).get(block, 1)) * (block not in model.get("freeze", []))
        speed = (np.array(run["theta"][-1][block]) - np.array(value)) / until
        # The error of the quotient is until / 2 times a second derivative of order one.
        np.testing.assert_allclose(speed, -rate * np.array(gradient[block]), rtol=0, atol=10 * until)


@pytest.mark.parametrize(("kind", "loss"), ASKED)
def test_every_name_is_derived_or_refused_with_a_reason(kind, loss):
    analysis = analysis_of(kind, loss)
    derived, reasons = 0, []
    for what in SHOWN:
        try:
            found = analysis.derive(what)
        except (NotThere, AssumptionError) as error:
            reasons.append(str(error))
            continue
        derived += 1
        assert found.latex()
        assert found.to_dict()["name"] == what
    assert derived >= 9
    assert all(len(reason) > 40 for reason in reasons)


def test_a_margin_belongs_to_the_linear_hinge_and_a_diagonal_model_has_one_output():
    with pytest.raises(StudyError, match="margin with kind = 'linear_hinge' only"):
        study_from_mapping({"schema": 1, "name": "small", "loss": {"kind": "hinge", "margin": 2}})
    with pytest.raises(StudyError, match="numbers: a diagonal model has one output"):
        study_from_mapping(
            {"schema": 1, "name": "small", "model": {"kind": "diagonal"}, "data": {"x": X, "y": ROWS}}
        )
