"""Jobs in processes of their own, forked from this one with what is compiled already, with CPU time and a limit for each."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Task", "off_the_clock", "run_all"]

_aside = 0.0


@dataclass
class Task:
    """A call ``work(*arguments, send)``, and what it sent last: rows, whether it was finished, and a dictionary.

    ``limit`` are CPU seconds after which the process is ended by the system; what was sent before remains.  ``seconds`` is the CPU time
    at the last message, children included, or the limit where that was reached.
    """

    work: Callable[..., None]
    arguments: tuple[Any, ...]
    limit: float | None = None
    rows: list[list[float]] = field(default_factory=list)
    stopped: bool = False
    says: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system - _aside


@contextmanager
def off_the_clock() -> Iterator[None]:
    """Do in a task what is not its own work: neither counted nor limited."""
    global _aside
    left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
    begun = _cpu()
    yield
    _aside += _cpu() - begun
    if left:
        signal.setitimer(signal.ITIMER_PROF, left)


def _child(task: Task, place: str) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    errors = os.dup(2)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.mkdir(f"{place}.files")
    os.chdir(f"{place}.files")  # topsearch writes a log where it runs
    begun = _cpu()
    if task.limit is not None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, task.limit)

    def send(rows: Any, stopped: bool, says: dict[str, Any]) -> None:
        spent = _cpu() - begun
        content = {"rows": rows, "stopped": stopped, "says": says, "seconds": spent}
        part = Path(f"{place}.part")
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(place)

    try:
        task.work(*task.arguments, send)
    except Exception as error:
        os.write(errors, f"{task.arguments[0].name}, {task.arguments[1]}: {error!r}\n".encode())
        raise


def _read(task: Task, place: str, code: int | None) -> None:
    if Path(place).exists():
        content = json.loads(Path(place).read_text(encoding="utf-8"))
        for name, value in content.items():
            setattr(task, name, value)
    if not task.stopped and code == -signal.SIGPROF and task.limit is not None:
        task.seconds = task.limit
    elif not task.stopped:
        task.says = {"reason": f"the process ended with {code}"} | task.says


def run_all(tasks: Sequence[Task], jobs: int) -> None:
    """Run the tasks, so many at a time, and fill in what they sent."""
    context = multiprocessing.get_context("fork")
    waiting = list(enumerate(tasks))
    running: list[tuple[Any, Task, str]] = []
    with tempfile.TemporaryDirectory(prefix="critical-") as folder:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, task = waiting.pop(0)
                place = os.path.join(folder, f"{number}.json")
                process = context.Process(target=_child, args=(task, place))
                process.start()
                running.append((process, task, place))
            for entry in list(running):
                process, task, place = entry
                if not process.is_alive():
                    process.join()
                    _read(task, place, process.exitcode)
                    running.remove(entry)
                    left = len(waiting) + len(running)
                    print(f"{left:4d} runs left", end="\r" if left else "\n", file=sys.stderr, flush=True)
            time.sleep(0.05)
