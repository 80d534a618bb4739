"""Pictures of trajectories: what is drawn is what the JSON says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from workbench.plots import draw_trajectories, save
from workbench.plots.trajectories import coordinate


def run(count: int = 5, status: str = "finished", turn: float = 1.0) -> dict[str, Any]:
    """Two neurons in the plane: the first turns from angle 0 to pi/2, the second only grows."""
    times = np.linspace(0, 4, count)
    theta = [
        {
            "a": [1.0 + t, -2.0],
            "w": [
                [float(np.cos(turn * t * np.pi / 8)), float(np.sin(turn * t * np.pi / 8))],
                [-1.0 - t, 0.0],
            ],
            "c": 0.25 * t,
        }
        for t in times.tolist()
    ]
    return {
        "t": times.tolist(),
        "theta": theta,
        "value": [1 / (1 + t) for t in times.tolist()],
        "status": status,
        "events": [{"t": 2.0, "event": "norm 3"}],
    }


def axes(figure: Any) -> Any:
    assert isinstance(figure, Figure)
    return figure.axes[0]


def test_coordinates_are_named_by_block_and_place() -> None:
    assert coordinate(run(), "a2") == [-2.0] * 5
    assert coordinate(run(), "w[2,1]") == [-1.0, -2.0, -3.0, -4.0, -5.0]
    assert coordinate(run(), "c") == [0.0, 0.25, 0.5, 0.75, 1.0]
    deep = {"theta": [{"W1": [[1.0], [2.0]], "b1": [3.0, 4.0]}]}
    assert coordinate(deep, "W1[2,1]") == [2.0]
    assert coordinate(deep, "b1[2]") == [4.0]
    assert coordinate(deep, "W1[2]") == [2.0]


@pytest.mark.parametrize("name", ["a3", "a0", "w1", "w[1,3]", "w", "c1", "v1", "", "a[1,1]"])
def test_other_coordinates_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="found the coordinate"):
        coordinate(run(), name)


def test_angles_of_neurons_in_the_plane() -> None:
    ax = axes(draw_trajectories([run()], "directions"))
    first, second = ax.get_lines()[:2]
    assert first.get_ydata() == pytest.approx([0, 1 / 8, 1 / 4, 3 / 8, 1 / 2])
    assert second.get_ydata() == pytest.approx([1.0] * 5)
    assert "in units of" in ax.get_ylabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["neuron 1", "neuron 2"]


def test_in_more_dimensions_cosines_to_the_leading_direction() -> None:
    given = run()
    for theta in given["theta"]:
        theta["b"] = [0.0, 0.0]
    ax = axes(draw_trajectories([given], "directions"))
    assert ax.get_ylim() == (-1.05, 1.05)
    # At the end the second neuron (-5, 0, 0), weighted by 2, leads; the first one is orthogonal to it.
    values = [line.get_ydata() for line in ax.get_lines()[:2]]
    assert abs(values[1][-1]) == pytest.approx(1, abs=0.02)
    assert abs(values[0][-1]) < 0.2


def test_norms_of_the_blocks() -> None:
    ax = axes(draw_trajectories([run(), run()], "norms"))
    lines = {
        line.get_label(): line.get_ydata() for line in ax.get_lines() if not line.get_label().startswith("_")
    }
    assert lines[r"$\|a\|$"] == pytest.approx([np.hypot(1 + t, 2) for t in range(5)])
    assert lines[r"$\|c\|$"] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == [r"$\|a\|$", r"$\|w\|$", r"$\|c\|$", "start 0", "start 1"]


def test_a_phase_portrait_marks_start_and_end() -> None:
    ax = axes(draw_trajectories([run(), run(status="diverged")], "phase", ("w[2,1]", "c")))
    curves = [line for line in ax.get_lines() if len(line.get_xdata()) == 5]
    assert len(curves) == 2
    assert curves[0].get_xdata() == pytest.approx([-1, -2, -3, -4, -5])
    marks = {line.get_marker() for line in ax.get_lines() if len(line.get_xdata()) == 1}
    assert marks == {"o", "x"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$w_{2,1}$", "$c$")
    assert "did not finish" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_events_are_marked_on_the_loss() -> None:
    ax = axes(draw_trajectories([run()]))
    (mark,) = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert list(mark.get_xdata()) == [2.0]
    assert list(mark.get_ydata()) == pytest.approx([1 / 3])


@pytest.mark.parametrize("what", ["norms", "directions", "phase"])
def test_many_trajectories_and_a_single_point_are_drawn(what: str, tmp_path: Any) -> None:
    phase = ("a1", "a2") if what == "phase" else None
    figure = draw_trajectories([run(turn=k / 10) for k in range(12)], what, phase)
    assert save(figure, tmp_path / "many.pdf").read_bytes().startswith(b"%PDF")
    still = run(2)
    still["theta"] = still["theta"][:1] * 2
    assert draw_trajectories([still], what, phase) is not None


def test_on_given_axes_they_are_returned() -> None:
    ax = Figure().add_subplot()
    assert draw_trajectories([run()], "norms", ax=ax) is ax


@pytest.mark.parametrize(
    ("what", "phase", "message"),
    [
        ("lose", None, "found the plot 'lose'; accepted: loss, norms, directions, phase"),
        ("phase", None, "a phase portrait needs two coordinates"),
        ("phase", ("a1", "z"), "found the coordinate 'z'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(what: str, phase: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_trajectories([run()], what, phase)


def test_directions_need_neurons_and_anything_needs_a_trajectory() -> None:
    formula = {"t": [0.0, 1.0], "theta": [{"p": 1.0}] * 2, "value": [1.0, 0.5], "status": "finished"}
    with pytest.raises(ValueError, match="hidden neurons"):
        draw_trajectories([formula], "directions")
    with pytest.raises(ValueError, match="at least one trajectory"):
        draw_trajectories([], "loss")
