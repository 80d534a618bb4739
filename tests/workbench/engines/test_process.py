"""Programs run with limits: output comes back, and time, memory, errors and floods end in one plain error."""

from __future__ import annotations

import os
import sys
import time

import pytest

from workbench.engines import process
from workbench.engines.process import EngineError, Limits, OutOfTime, run

PYTHON = [sys.executable, "-I", "-S", "-c"]


def test_output_and_the_answer_file_come_back():
    code = "print(open('given').read()[::-1]); open('answer', 'w').write('42')"
    found = run([*PYTHON, code], {"given": "abc"}, Limits(20))
    assert (found.output.strip(), found.answer) == ("cba", "42")
    assert 0 < found.seconds < 20


def test_a_program_that_hangs_is_killed_with_its_children():
    code = "import os, time\npid = os.fork()\nopen('/proc/self/fd/1', 'w')\ntime.sleep(60)"
    begun = time.monotonic()
    before = _children_in_session()
    with pytest.raises(OutOfTime, match="stopped after 1"):
        run([*PYTHON, code], {}, Limits(1))
    assert time.monotonic() - begun < 10
    deadline = time.monotonic() + 5
    while _children_in_session() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _children_in_session() - before


def _children_in_session() -> set[int]:
    """Ids of processes that run the code of the test above and are not zombies."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if b"os.fork()" in file.read():
                        found.add(int(name))
            except OSError:
                continue
    return found


def test_memory_is_limited():
    with pytest.raises(OutOfTime, match="more than 300 MiB of memory"):
        run([*PYTHON, "x = bytearray(10**9)"], {}, Limits(20, 300 * 2**20))


def test_a_failure_is_told_in_one_line_without_control_characters():
    with pytest.raises(EngineError, match="ended with status 3: went wrong") as error:
        run([*PYTHON, r"import sys; sys.stderr.write('went\x1b wrong'); sys.exit(3)"], {}, Limits(20))
    assert "\x1b" not in str(error.value)


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(EngineError):
        run(["/nonexistent/program"], {}, Limits(5))


def test_a_flood_of_output_is_refused(monkeypatch):
    monkeypatch.setattr(process, "MOST_READ", 1000)
    with pytest.raises(EngineError, match="at most 1000 are read"):
        run([*PYTHON, "print('x' * 2000)"], {}, Limits(20))


def test_the_environment_holds_nothing_of_ours(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_USER", "1")
    found = run([*PYTHON, "import os; print(sorted(os.environ))"], {}, Limits(20))
    assert "SECRET_OF_THE_USER" not in found.output


@pytest.mark.parametrize("wrong", [(0, 2**30), (float("inf"), 2**30), (1, 5)])
def test_limits_are_checked(wrong):
    with pytest.raises(ValueError, match="accepted"):
        Limits(*wrong)


def test_what_is_left_of_the_time():
    assert Limits(100).left(time.monotonic() - 40).seconds == pytest.approx(60, abs=1)
    with pytest.raises(OutOfTime, match="are spent"):
        Limits(1).left(time.monotonic() - 2)
