"""What every command opens: the analysis of a study file, and parameter points that fit its model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from workbench.options import bytes_of
from workbench.progress import progress_for

if TYPE_CHECKING:
    from workbench.analysis import Analysis

__all__ = ["analysis_of", "points_of"]


@contextmanager
def analysis_of(
    study: str,
    device: str,
    dtype: str,
    seed: int | None,
    starts: int | None = None,
    *,
    memory: str | None = None,
    torch_compile: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
) -> Iterator[Analysis]:
    """Give the analysis of a study file; what computes inside cannot print to standard output."""
    from workbench.study import load

    loaded = load(study).with_overrides(seed=seed, starts=starts)  # refused before the slow imports
    from workbench.analysis import Analysis
    from workbench.compiling import Running
    from workbench.store import open_store
    from workbench.workers import opened

    running = Running(torch_compile, memory_budget=None if memory is None else bytes_of(memory))
    place: Any = {"device": device, "dtype": dtype, "running": running}
    with redirect_stdout(sys.stderr), opened(workers, cluster) as hands, progress_for() as progress:
        yield Analysis(loaded, **place, seed=seed, progress=progress, store=open_store(), workers=hands)


def points_of(analysis: Analysis, source: str) -> list[dict[str, Any]]:
    """Read parameter points and check them against the blocks of the model."""
    from workbench.theta import read_theta

    return read_theta(source, {name: shape for name, shape, _ in analysis.compile().layout})
