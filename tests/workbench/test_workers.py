"""Pieces of a search that are computed elsewhere give the same landscape; what is missing is said in one sentence."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import workbench as wb
from workbench import search
from workbench import workers as hands
from workbench.errors import NotThere, StudyError
from workbench.prefetch import compute
from workbench.store import Store
from workbench.workers import Here, opened

SHIPPED = wb.load(wb.shipped_studies()["five-points"])
STUDY = SHIPPED.with_overrides(starts=26)


@pytest.fixture(autouse=True)
def _small_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 20 starts, but where other processes cut them as well."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(search, "PIECE", 20)


class Backwards:
    """Workers that take the last item first; the order of the results is that of the items."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def map(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        update: Callable[[float], None] | None = None,
    ) -> list[Any]:
        self.done += items
        return [function(item) for item in reversed(items)][::-1]


def points(analysis: wb.Analysis) -> list[dict[str, Any]]:
    """Return the critical points of the study's width."""
    return [point.to_dict() for point in analysis.critical(method="numeric").points]


@pytest.fixture
def alone() -> list[dict[str, Any]]:
    return points(wb.Analysis(STUDY))


def test_other_workers_give_the_same_points_and_take_every_piece_once(alone: list[dict[str, Any]]) -> None:
    others = Backwards()
    analysis = wb.Analysis(STUDY, workers=others)
    assert points(analysis) == alone
    assert [piece.number for piece in others.done] == [0, 1]
    assert analysis.prefetched == {}


def test_what_the_store_holds_is_not_sent_out_again(alone: list[dict[str, Any]], tmp_path: Any) -> None:
    store = Store(tmp_path / "results.sqlite")
    first, second = Backwards(), Backwards()
    assert points(wb.Analysis(STUDY, workers=first, store=store)) == alone
    assert points(wb.Analysis(STUDY, workers=second, store=store)) == alone
    assert (len(first.done), len(second.done)) == (2, 0)


def test_a_lost_piece_is_all_that_is_computed_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "results.sqlite")
    calls = []

    def dies(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return found(*arguments)

    found = search.found_from
    monkeypatch.setattr(search, "found_from", dies)
    with pytest.raises(KeyboardInterrupt):
        points(wb.Analysis(STUDY, store=store))
    again = []
    monkeypatch.setattr(
        search, "found_from", lambda *arguments: again.append(len(arguments[1])) or found(*arguments)
    )
    points(wb.Analysis(STUDY, store=store))
    assert again[0] == 6  # the second piece of 26 starts; the first one was kept


def test_a_piece_is_plain_data_and_stands_alone() -> None:
    others = Backwards()
    points(wb.Analysis(STUDY, workers=others))
    piece = others.done[1]
    assert isinstance(piece.study, str)
    assert len(compute(piece)["outcome"]) == 6


def test_pieces_hold_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PIECE", 500)
    rows = torch.arange(1001.0)[:, None]
    cut = [part for part, _ in search.parts(rows, None)]
    assert [len(part) for part in cut] == [500, 500, 1]
    assert torch.equal(torch.cat(cut), rows)


def test_this_process_tells_its_progress() -> None:
    told: list[float] = []
    assert Here().map(abs, [-1, -2], told.append) == [1, 2]
    assert told == [0.5, 1.0]


def test_one_worker_or_none_is_this_process() -> None:
    for count in (None, 1):
        with opened(count) as found:
            assert isinstance(found, Here)


def test_both_ways_at_once_are_refused() -> None:
    with pytest.raises(StudyError, match="--workers and --cluster: found both"), opened(2, "tcp://x:1"):
        pass


def test_without_dask_one_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NotThere, match=r"pip install 'landscape-workbench\[cluster\]'"), opened(2):
        pass


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
def test_processes_of_dask_give_the_same_points() -> None:
    study = SHIPPED.with_overrides(starts=600)  # two pieces
    with opened(2) as found:
        assert points(wb.Analysis(study, workers=found)) == points(wb.Analysis(study))


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "ANSWERS", 1)
    with (
        pytest.raises(StudyError, match=r"found no scheduler at 'tcp://127\.0\.0\.1:1'"),
        opened(address="tcp://127.0.0.1:1"),
    ):
        pass
