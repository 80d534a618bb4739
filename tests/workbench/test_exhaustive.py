"""Lists proved to be complete: against the numeric search, the Morse count and hand-written bounds; and what cannot be proved."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workbench.analysis import Analysis
from workbench.exhaustive import exhaust, not_exhaustible
from workbench.results import CriticalPoint, Inertia
from workbench.study import study_from_mapping

SECONDS = 600.0
X = [[-2], [-1], [0.5], [1], [2]]
Y = [-0.8, 0.3, 0.9, -0.4, 0.6]


def study(width: int, bias: bool, decay: str = "1/1000", x: Any = X, **model: Any) -> Analysis:
    content = {
        "schema": 1,
        "name": "small",
        "model": {"activation": "tanh", "width": width, "input_bias": bias, **model},
        "loss": {"kind": "square", "weight_decay": decay},
        "data": {"x": x, "y": Y},
        "landscape": {"widths": [width], "starts": 60},
    }
    return Analysis(study_from_mapping(content))


def theta(point: dict[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(point[name]) for name in ("a", "w", "b") if name in point])


def index_and_copies(point: dict[str, Any], decay: float, x: Any = X) -> tuple[int, int]:
    """Negative eigenvalues of the Hessian of a hand-written network by differences, and the size of the orbit."""
    a, w = np.array(point["a"]), np.array(point["w"])
    m = len(a)
    columns = np.column_stack([x, np.ones(len(x))]) if "b" in point else np.array(x, dtype=float)
    weights = np.column_stack([w, point["b"]]) if "b" in point else w

    def gradient(flat: np.ndarray) -> np.ndarray:
        out, inner = flat[:m], flat[m:].reshape(m, -1)
        h = np.tanh(columns @ inner.T)
        r = (h @ out - Y) / len(Y)
        slope = ((r[:, None] * (1 - h**2) * out).T @ columns).ravel()
        return np.concatenate([h.T @ r, slope]) + decay * flat

    flat = np.concatenate([a, weights.ravel()])
    assert np.abs(gradient(flat)).max() < 1e-9
    steps = 1e-5 * np.eye(len(flat))
    hessian = np.array([(gradient(flat + s) - gradient(flat - s)) / 2e-5 for s in steps])
    rows = np.column_stack([a, weights])
    images = set()
    for order in ([0],) if m == 1 else ([0, 1], [1, 0]):
        for bits in range(2**m):
            signs = np.array([1 - 2 * (bits >> k & 1) for k in range(m)])
            images.add(tuple(np.round((rows * signs[:, None])[order].ravel(), 6) + 0.0))
    return int((np.linalg.eigvalsh((hessian + hessian.T) / 2) < 0).sum()), len(images)


@pytest.mark.parametrize(("width", "bias", "orbits"), [(1, True, 2), (2, False, 9)])
def test_all_orbits_are_found_without_being_told_and_fulfil_the_morse_count(
    width: int, bias: bool, orbits: int
) -> None:
    found = exhaust(study(width, bias), [], seconds=SECONDS)
    assert (found.status, found.expected, found.found, found.reason) == ("PROVED", orbits, 0, "")
    assert found.remaining_volume == 0.0
    counted = [index_and_copies(point, 1e-3) for point in found.missing]
    assert sum((-1) ** index * copies for index, copies in counted) == 1


def test_one_neuron_with_two_inputs_is_searched_to_the_end() -> None:
    x = [[-1.5, 0.5], [1, -0.5], [0.5, 1.5], [-1, -1], [2, 0.5]]
    found = exhaust(study(1, True, x=x), [], seconds=SECONDS)
    assert (found.status, found.expected) == ("PROVED", 4)
    counted = [index_and_copies(point, 1e-3, x) for point in found.missing]
    assert sum((-1) ** index * copies for index, copies in counted) == 1


def test_a_point_taken_off_the_list_is_found_again() -> None:
    analysis = study(2, False, "1/10")
    listed = [p for p in analysis.critical(method="numeric").points if p.width == 2]
    whole = exhaust(analysis, listed, seconds=SECONDS)
    assert whole.status == "PROVED"
    assert whole.found == len(listed) >= 2
    assert whole.expected == whole.found + len(whole.missing)
    gone = listed[-1]
    again = exhaust(analysis, [p for p in listed if p is not gone], seconds=SECONDS)
    assert (again.status, again.expected, again.found) == ("PROVED", whole.expected, whole.found - 1)
    values = np.sort(np.abs(theta(gone.theta)))
    assert any(np.allclose(np.sort(np.abs(theta(p))), values, atol=1e-8) for p in again.missing)


def test_copies_of_a_point_and_points_that_are_none_do_not_count() -> None:
    analysis = study(1, True)
    blocks = exhaust(analysis, [], seconds=SECONDS).missing[-1]
    first = CriticalPoint(
        "m1.1", 1, blocks, value=0.0, gradient_norm=0.0, eigenvalues=(1.0,), inertia=Inertia(0, 0, 3)
    )
    turned = {name: (-np.array(block)).tolist() for name, block in first.theta.items()}
    wrong = {"a": [5.0], "w": [[3.0]], "b": [7.0]}
    given = [first, replace(first, theta=turned), replace(first, theta=wrong)]
    found = exhaust(analysis, given, seconds=SECONDS)
    assert (found.status, found.expected) == ("PROVED", 2)
    assert found.found == 1
    assert found.found + len(found.missing) == 2


def test_a_formula_is_searched_in_a_box_that_is_given() -> None:
    content = {
        "schema": 1,
        "name": "wave",
        "model": {"kind": "formula", "output": "sin(w*x)", "parameters": ["w"]},
        "loss": {"kind": "square"},
        "data": {"x": [[1]], "y": ["1/2"]},
    }
    analysis = Analysis(study_from_mapping(content))
    found = exhaust(analysis, [], seconds=SECONDS, box=([0], [7]))
    # (sin w - 1/2) cos w = 0 in [0, 7]: w = pi/6, 5 pi/6, 13 pi/6 and pi/2, 3 pi/2.
    assert (found.status, found.expected) == ("PROVED", 5)
    assert "given" in found.method
    places = sorted(float(point["w"]) for point in found.missing)
    assert places == pytest.approx([np.pi * u for u in (1 / 6, 1 / 2, 5 / 6, 3 / 2, 13 / 6)], abs=1e-9)
    assert "give a box" in not_exhaustible(analysis)


def test_without_time_nothing_is_claimed() -> None:
    found = exhaust(study(2, False), [], seconds=0.0)
    assert (found.status, found.expected, found.remaining_volume) == ("UNDECIDED", None, 1.0)
    assert "boxes were left" in found.reason


@pytest.mark.parametrize(
    ("model", "decay", "message"),
    [
        ({}, "0", "without weight decay"),
        ({"activation": "softplus"}, "1/10", "not shown to be bounded"),
        ({"activation": "relu"}, "1/10", "kink|smooth|has no enclosure"),
        ({"freeze": ["a"]}, "1/10", "frozen: a"),
        ({"width": 5}, "1/10", "at most 4 neurons, found 5"),
        ({"width": 4, "output_bias": True}, "1/10", "at most 10 parameters, found 13"),
    ],
)
def test_what_is_not_searched_is_refused_with_the_reason(
    model: dict[str, Any], decay: str, message: str
) -> None:
    analysis = study(model.pop("width", 1), True, decay, **model)
    why = not_exhaustible(analysis)
    assert re.search(message, why), why
    found = exhaust(analysis, [], seconds=SECONDS)
    assert (found.status, found.reason) == ("UNDECIDED", why)
