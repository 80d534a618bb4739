from __future__ import annotations

import io
import re
import threading
import time

import pytest

from workbench.progress import PlainProgress, RichProgress, Silent, clock, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(Terminal):
    """A terminal that is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError("gone")


def test_the_fraction_weighs_the_stages() -> None:
    progress = Silent()
    with progress.stage("derive", 0.25) as update:
        update(0.5)
        assert progress.fraction == 0.125
    assert progress.fraction == 0.25
    with progress.stage("search", 0.75) as update:
        assert progress.fraction == 0.25
        update(1 / 3)
        assert progress.fraction == pytest.approx(0.5)
    assert progress.fraction == 1.0


def test_a_plan_sets_the_unit_of_the_weights() -> None:
    progress = Silent()
    progress.plan(8)
    for expected, weight in [(0.25, 2), (1.0, 6)]:
        with progress.stage("stage", weight):
            pass
        assert progress.fraction == expected


def test_a_second_plan_fills_what_is_left() -> None:
    progress = Silent()
    with progress.stage("first", 0.5):
        pass
    progress.plan(10)
    with progress.stage("second", 5):
        pass
    assert progress.fraction == 0.75


def test_inner_stages_are_shares_of_the_outer_one() -> None:
    progress = Silent()
    with progress.stage("landscape", 0.5) as outer:
        with progress.stage("width 1", 0.4):
            pass
        assert progress.fraction == pytest.approx(0.2)
        with progress.stage("width 2", 0.6) as inner:
            inner(0.5)
            assert progress.fraction == pytest.approx(0.35)
        outer(0.1)  # what inner stages have done is not taken back
        assert progress.fraction == pytest.approx(0.5)


@pytest.mark.parametrize("reported", [7.0, float("inf"), float("nan"), -3.0])
def test_an_impossible_fraction_does_no_harm(reported: float) -> None:
    progress = Silent()
    with progress.stage("a", 0.5) as update:
        update(0.25)
        update(reported)
        assert 0.125 <= progress.fraction <= 0.5


def test_a_fraction_never_goes_back() -> None:
    progress = Silent()
    with progress.stage("a") as update:
        update(0.8)
        update(0.3, "a late thread")
        assert progress.fraction == 0.8


def test_the_time_left_extrapolates_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Silent()
    assert progress.left is None
    with progress.stage("a") as update:
        now[0] += 30
        assert progress.left is None
        update(0.25)
        assert (progress.elapsed, progress.left) == (30, 90)


def test_an_error_passes_and_the_stage_is_not_done() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    with pytest.raises(ZeroDivisionError), progress.stage("divide", 0.5):
        raise ZeroDivisionError
    assert progress.fraction == 0.0
    assert progress.doing == ""
    assert re.fullmatch(r"divide \.\.\.\ndivide: stopped after \d+\.\d s\n", stream.getvalue())


def test_plain_progress_writes_a_line_at_each_end() -> None:
    stream = io.StringIO()
    progress = progress_for(stream)
    assert isinstance(progress, PlainProgress)
    with progress.stage("search", 1.0) as update:
        update(0.5, "half")
        with progress.stage("width 2", 0.5):
            pass
    text = re.sub(r"\d+\.\d s", "T", stream.getvalue())
    assert text == "search ...\n  width 2 ...\n  width 2: done in T\nsearch: done in T\n"


def test_a_terminal_gets_a_bar_that_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = progress_for(stream)
    assert isinstance(progress, RichProgress)
    with progress:
        with progress.stage("search [width 2]", 0.5) as update:
            update(0.5, "1000 of 2000 starts")
            progress._bar.refresh()
        assert "search [width 2]: 1000 of 2000 starts" in stream.getvalue()
        assert "25%" in stream.getvalue()
        assert "left" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[2K")  # the line is erased
    progress.close()


@pytest.mark.parametrize("kind", [PlainProgress, RichProgress])
def test_a_broken_terminal_never_reaches_the_computation(
    kind: type[PlainProgress | RichProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with kind(Broken()) as progress:
        with progress.stage("a", 0.5) as update:
            update(0.5)
        assert progress.fraction == 0.5


def test_no_stream_at_all_is_plain() -> None:
    closed = io.StringIO()
    closed.close()
    progress = progress_for(closed)
    with progress.stage("a"):
        pass
    assert progress.fraction == 1.0


def test_threads_may_report_at_once() -> None:
    progress = Silent()
    with progress.stage("a") as update:
        threads = [
            threading.Thread(target=lambda k=k: [update(i / 1000 * (k + 1) / 4, "x") for i in range(1001)])
            for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert progress.fraction == 1.0


def test_stages_of_threads_may_end_in_any_order() -> None:
    progress = Silent()
    first, second = progress.stage("a", 0.25), progress.stage("b", 0.5)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert progress.doing == "b"
    second.__exit__(None, None, None)
    assert progress.doing == ""
    assert 0.0 <= progress.fraction <= 1.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (86400, "24 h 00 min")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert clock(seconds) == text
