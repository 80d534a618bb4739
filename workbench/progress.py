"""Progress of long computations: what is being done, how far it is, how long it may still take.

A computation opens stages and reports fractions; it never learns what shows them.  The weight of a stage is its
share of the stage around it, or of the whole run if there is none: outermost weights add up to 1, or to ``total``
after ``plan(total)``.

>>> progress = Silent()
>>> with progress.stage("search, width 2", 0.75) as update:
...     update(0.5, "1000 of 2000 starts")
...     progress.fraction
0.375
>>> progress.fraction
0.75

What is shown goes to standard error; a terminal that is gone or a broken pipe never reaches the computation.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self, TextIO, cast

__all__ = ["PlainProgress", "Progress", "RichProgress", "Silent", "Update", "clock", "progress_for"]

LEFT_AFTER = 0.01  # below this fraction an extrapolated time left is noise


class Update(Protocol):
    """What a stage hands to the computation."""

    def __call__(self, fraction: float, detail: str = "") -> None:
        """Tell the fraction of the stage that is done, in [0, 1], and what is being done in it."""


class Progress(Protocol):
    """What a computation may be given: `Silent`, `PlainProgress`, `RichProgress`, or one of your own."""

    def plan(self, total: float) -> None:
        """Announce the sum of the weights of the outermost stages to come."""

    def stage(self, title: str, weight: float = 1.0) -> AbstractContextManager[Update]:
        """Open a stage with its share of what is around it; the context gives ``update(fraction, detail="")``."""


@dataclass(eq=False)
class _Frame:
    """An open stage; ``share`` is its part of the whole run, ``inner`` that of the stages closed inside it."""

    title: str
    parent: _Frame | None
    share: float
    began: float
    fraction: float = 0.0
    inner: float = 0.0
    detail: str = ""

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1


class Silent:
    """Counts and shows nothing; the base of those that show, usable as a context that closes the display."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._frames: list[_Frame] = []
        self._closed = 0.0
        self._unit = 1.0
        self._began: float | None = None

    def plan(self, total: float) -> None:
        """Take the weights of outermost stages from now on as parts of ``total``, which fills what is left."""
        with self._lock:
            self._unit = (1.0 - self._closed) / total if 0 < total < math.inf else 1.0

    @contextmanager
    def stage(self, title: str, weight: float = 1.0) -> Iterator[Update]:
        """Open a stage; an error inside it passes through, and the stage then counts as stopped, not done."""
        frame = self._open(title, weight)

        def update(fraction: float, detail: str = "") -> None:
            with self._lock:
                if math.isfinite(fraction):  # a fraction never goes back: one thread may report late
                    frame.fraction = max(frame.fraction, min(1.0, float(fraction)))
                frame.detail = detail
                self._quietly("changed", frame)

        try:
            yield update
        except BaseException:
            self._close(frame, finished=False)
            raise
        self._close(frame, finished=True)

    @property
    def fraction(self) -> float:
        """Share of the whole run that is done, in [0, 1]."""
        with self._lock:
            within = 0.0
            for frame in reversed(self._frames):
                within = min(frame.share, max(frame.fraction * frame.share, frame.inner + within))
            return min(1.0, self._closed + within)

    @property
    def elapsed(self) -> float:
        """Seconds since the first stage was opened."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def left(self) -> float | None:
        """Seconds to go if the rest runs at the pace so far; None while too little is done to say."""
        done = self.fraction
        return None if done < LEFT_AFTER else self.elapsed * (1.0 - done) / done

    @property
    def doing(self) -> str:
        """The innermost open stage and its detail, one line; empty if none is open."""
        with self._lock:
            if not self._frames:
                return ""
            frame = self._frames[-1]
            return f"{frame.title}: {frame.detail}" if frame.detail else frame.title

    def close(self) -> None:
        """Take the display away; harmless to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, title: str, weight: float) -> _Frame:
        with self._lock:
            now = time.monotonic()
            self._began = now if self._began is None else self._began
            parent = self._frames[-1] if self._frames else None
            share = max(0.0, weight) * (self._unit if parent is None else parent.share)
            frame = _Frame(" ".join(str(title).split()), parent, share, now)
            self._frames.append(frame)
            self._quietly("opened", frame)
            return frame

    def _close(self, frame: _Frame, *, finished: bool) -> None:
        with self._lock:
            self._frames.remove(frame)
            if finished and frame.parent is None:
                self._closed = min(1.0, self._closed + frame.share)
            elif finished and frame.parent is not None:
                frame.parent.inner += frame.share
            self._quietly("closed" if finished else "stopped", frame)

    def _quietly(self, event: str, frame: _Frame) -> None:
        """Show an event; whatever goes wrong with the display stays there."""
        with suppress(Exception):
            self._show(event, frame)

    def _show(self, event: str, frame: _Frame) -> None:
        """Show that a stage was ``opened``, ``changed``, ``closed`` or ``stopped``; here: do not."""


class PlainProgress(Silent):
    """A line when a stage begins and one with its seconds when it ends: for logs and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream

    def _show(self, event: str, frame: _Frame) -> None:
        seconds = f"{time.monotonic() - frame.began:.1f} s"
        endings = {
            "opened": " ...",
            "closed": f": done in {seconds}",
            "stopped": f": stopped after {seconds}",
        }
        if event in endings:
            stream = self._stream if self._stream is not None else sys.stderr
            stream.write(f"{'  ' * frame.depth}{frame.title}{endings[event]}\n")
            stream.flush()


class _Forgiving:
    """A stream whose writes cannot fail: Rich ends the process with status 1 where a pipe is broken."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class RichProgress(Silent):
    """One line that is redrawn: a bar over all stages, what is being done, the time gone and the time left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._bar: Any = None
        self._task: Any = None

    def close(self) -> None:
        """Take the line away."""
        with self._lock, suppress(Exception):
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.stop()

    def _show(self, event: str, frame: _Frame) -> None:
        if self._bar is None:
            self._start()
        self._bar.update(self._task, completed=self.fraction, description=self.doing)
        if not self._frames and self.fraction >= 1.0 - 1e-9:
            self.close()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column
        from rich.text import Text

        tracker = self

        class Times(ProgressColumn):
            """Time gone and time left, drawn anew at every refresh."""

            def render(self, task: Task) -> Text:
                left = tracker.left
                return Text(clock(tracker.elapsed) + ("" if left is None else f", about {clock(left)} left"))

        # markup off: a title may hold brackets; the description gives way first where the terminal is narrow
        what = TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        )
        self._bar = Bar(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            Times(),
            what,
            console=Console(file=cast(TextIO, _Forgiving(self._stream or sys.stderr))),
            transient=True,
            redirect_stdout=False,  # results never share the line's way
            expand=True,
            refresh_per_second=5,
        )
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()


def clock(seconds: float) -> str:
    """Write a duration for people.

    >>> clock(7.2), clock(83), clock(3725)
    ('7 s', '1 min 23 s', '1 h 02 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def progress_for(stream: TextIO | None = None) -> Silent:
    """Return a bar if ``stream`` (default: standard error) is a terminal, else one line per stage."""
    stream = stream if stream is not None else sys.stderr
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):  # no stream at all, or a closed one
        terminal = False
    return RichProgress(stream) if terminal else PlainProgress(stream)
