"""Run one program with limits of time and memory, and never leave it behind.

The program runs in a session of its own, reads from an empty input and writes into files of a folder that is removed.  When time
is up, on an error and on an interrupt the whole group of processes is killed and waited for.

>>> import sys
>>> run([sys.executable, "-c", "print(6 * 7)"], {}, Limits(seconds=20)).output.strip()
'42'
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["EngineError", "Finished", "Limits", "OutOfTime", "run"]

_LIMITED = Path(__file__).with_name("limited.py")
#: Bytes of an answer that are read; a longer one is refused.
MOST_READ = 64 * 2**20
#: Seconds that an interrupted program has to go.
GRACE = 5.0


class EngineError(RuntimeError):
    """A program failed, or its answer is not what it should be; the message says which and what was found."""


class OutOfTime(EngineError):
    """A program was stopped: the time or the memory that it may use is spent."""


@dataclass(frozen=True)
class Limits:
    """What one run may use: ``seconds`` of wall-clock and processor time, ``memory`` in bytes."""

    seconds: float = 60.0
    memory: int = 4 * 2**30

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or self.memory < 2**20:
            raise ValueError(
                f"limits: found {self.seconds} seconds and {self.memory} bytes; accepted: a positive number of seconds and at "
                "least 2**20 bytes"
            )

    def left(self, begun: float) -> Limits:
        """Return what is left of the time since ``begun``, a value of ``time.monotonic``; OutOfTime where nothing is."""
        rest = self.seconds - (time.monotonic() - begun)
        if rest <= 0:
            raise OutOfTime(f"{self.seconds:g} seconds are spent")
        return Limits(rest, self.memory)


@dataclass(frozen=True)
class Finished:
    """What a program left: its standard output, the text of the file ``answer`` if it wrote one, and its run time."""

    output: str
    answer: str
    seconds: float


def run(
    command: Sequence[str], files: Mapping[str, str], limits: Limits, *, answer: str = "answer"
) -> Finished:
    """Run a program in a new folder that holds ``files``, and return what it wrote.

    Parameters
    ----------
    command : sequence of str
        The program by its full path, and its arguments; they name the files without a folder.
    files : mapping
        Name and text of each file given to it.
    limits : Limits
        Time and memory.
    answer : str
        Name of the file that it may write beside standard output.

    Raises
    ------
    OutOfTime
        If it used up its time or its memory.
    EngineError
        If it cannot be started, ends with an error, or writes too much.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        place = Path(folder)
        for file, text in files.items():
            (place / file).write_text(text, encoding="utf-8")
        seconds = math.ceil(limits.seconds) + 1
        started = [
            sys.executable,
            "-I",
            "-S",
            str(_LIMITED),
            str(seconds),
            str(limits.memory),
            "--",
            *command,
        ]
        begun = time.monotonic()
        with (place / "stdout").open("wb") as output, (place / "stderr").open("wb") as errors:
            status = _wait(started, place, output, errors, limits.seconds, name)
        if status:
            raise _failure(name, status, _text(place / "stderr", name), limits)
        written = place / answer
        return Finished(
            _text(place / "stdout", name),
            _text(written, name) if written.is_file() else "",
            time.monotonic() - begun,
        )


def _wait(
    command: list[str], folder: Path, output: BinaryIO, errors: BinaryIO, seconds: float, name: str
) -> int:
    """Start it in a session of its own, wait, and return the status; nothing of the session outlives this call."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
    }
    try:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(f"{name} cannot be started: {error.strerror}") from None
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        raise OutOfTime(f"{name} was stopped after {seconds:.3g} seconds") from None
    finally:
        if child.returncode is None:  # not waited for, so that the number of the group is still its own
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(GRACE)


def _failure(name: str, status: int, errors: str, limits: Limits) -> EngineError:
    """Return what a status other than 0 means; a program out of memory says so, or is killed."""
    said = " ".join("".join(c if c.isprintable() else " " for c in errors).split())[-200:]
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return OutOfTime(f"{name} used up its {limits.seconds:.3g} seconds")
    if "memory" in said.lower() or "alloc" in said.lower():
        return OutOfTime(f"{name} needs more than {limits.memory // 2**20} MiB of memory")
    return EngineError(f"{name} ended with status {status}" + (f": {said}" if said else ""))


def _text(path: Path, name: str) -> str:
    size = path.stat().st_size
    if size > MOST_READ:
        raise EngineError(f"{name} wrote {size} bytes; at most {MOST_READ} are read")
    return path.read_bytes().decode("ascii", errors="replace")
