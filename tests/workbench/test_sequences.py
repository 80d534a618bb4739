"""Saddle-to-saddle sequences of the shipped one-dimensional data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.errors import StudyError
from workbench.landscape import Landscape
from workbench.sequences import Sequence, sequences
from workbench.tables import sequences_tables

A1, B1 = 0.008172288778, 0.000240427032


@pytest.fixture(scope="module")
def found(connected_line: Landscape) -> list[Sequence]:
    return sequences(connected_line.derived_from, connected_line, 2, runs=2)


def named(landscape: Landscape, width: int, value: float, copies: tuple[int, ...], dead: int = 0) -> str:
    (name,) = (
        p.id
        for p in landscape.points
        if p.width == width and abs(p.value - value) < 1e-9 and p.copies == copies and p.dead == dead
    )
    return name


def test_two_neurons_pass_the_split_fit_of_one(connected_line: Landscape, found: list[Sequence]) -> None:
    """From the zero network both neurons grow together to the best fit of one, and part to that of two, as published."""
    zero = next(p.id for p in connected_line.points if p.width == 2 and p.dead == 2)
    split, best = named(connected_line, 2, A1, (2,)), named(connected_line, 2, B1, (1, 1))
    for run in found:
        assert run.points == (zero, split, best)
        assert run.status == "converged"
        times = [passage.time for passage in run.passages]
        assert times == sorted(times)
        assert [passage.reached_by for passage in run.passages] == ["start", "none", "edge"]


def test_a_run_ends_at_the_point_and_passes_the_others_at_a_distance(found: list[Sequence]) -> None:
    for run in found:
        away = [passage.distance for passage in run.passages]
        assert away[-1] < 1e-6 < away[1] < 0.1


def test_an_unlisted_point_is_not_named(connected_line: Landscape) -> None:
    kept = tuple(p for p in connected_line.points if p.copies != (2,))
    (run,) = sequences(connected_line.derived_from, replace(connected_line, points=kept), 2, runs=1)
    assert len(run.points) == 2
    assert any(passage.point is None and passage.distance > 0.1 for passage in run.passages)
    assert [p.reached_by for p in run.passages if p.point] == ["start", "edge"]


def test_the_graph_without_descents_predicts_nothing(connected_line: Landscape) -> None:
    (run,) = sequences(connected_line.derived_from, replace(connected_line, edges=()), 2, runs=1)
    assert {passage.reached_by for passage in run.passages} == {"start", "none"}


def test_the_seed_decides_the_run(connected_line: Landscape) -> None:
    one, two = (sequences(connected_line.derived_from, connected_line, 1, runs=1, seed=s)[0] for s in (0, 0))
    assert one.to_dict() == two.to_dict()


def test_wrong_arguments_are_refused(connected_line: Landscape) -> None:
    with pytest.raises(StudyError, match=r"found 5; accepted: one with listed critical points \(1, 2\)"):
        sequences(connected_line.derived_from, connected_line, 5)
    with pytest.raises(StudyError, match="a positive scale"):
        sequences(connected_line.derived_from, connected_line, 1, scale=0.0)
    with pytest.raises(StudyError, match="at least one run"):
        sequences(connected_line.derived_from, connected_line, 1, runs=0)


def test_runs_are_printed_with_the_points_they_pass() -> None:
    passage = {"time": 4.5, "value": 0.1, "gradient_norm": 1e-3, "point": "m2.5"}
    run = {
        "width": 2,
        "scale": 1e-3,
        "run": 0,
        "status": "finished",
        "passages": [passage, passage | {"point": None}],
    }
    (table,) = sequences_tables({"sequences": [run]})
    assert table.rows == [("0", "finished", "m2.5 (t = 4.5), none listed (t = 4.5)")]
    assert sequences_tables({}) == []
