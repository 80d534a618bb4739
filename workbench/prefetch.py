"""The random starts of all widths, searched piece by piece by other workers before the landscape is explored.

The exploration itself is unchanged: it asks for each piece, and finds it computed.  What follows from earlier results - rounds next to
known points, descents - stays in this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from workbench.remembered import knows
from workbench.search import found_from, parts
from workbench.study import study_from_mapping

if TYPE_CHECKING:
    from workbench.analysis import Analysis

__all__ = ["Piece", "compute", "prefetch"]


@dataclass(frozen=True)
class Piece:
    """A piece of the random starts of one width, as plain data that can travel."""

    study: str
    path: str | None
    place: tuple[tuple[str, Any], ...]
    width: int
    settings: tuple[tuple[str, Any], ...]
    number: int


def prefetch(analysis: Analysis, widths: tuple[int, ...], index: int | None) -> None:
    """Have the workers of an analysis search the random starts; nothing without workers of their own."""
    from workbench.workers import Here

    workers = analysis.workers
    if isinstance(workers, Here):
        return
    study = analysis.required_study("the search")
    settings = {"starts": study.landscape.starts, "seed": study.landscape.seed, "index": index}
    place = {"device": analysis.device, "dtype": analysis.dtype, "running": analysis.running}
    tasks = []
    for width in widths:
        starts = _starts(analysis, width, settings)
        for number, _ in enumerate(parts(starts, index)):
            path = None if study.path is None else str(study.path.resolve())
            tasks.append(
                Piece(study.to_toml(), path, tuple(place.items()), width, tuple(settings.items()), number)
            )
    missing = [
        task for task in tasks if not knows(analysis, "starts", task.width, settings | {"piece": task.number})
    ]
    with analysis.progress.stage(
        f"{len(missing)} pieces of the random starts on other workers", 0.0
    ) as update:
        results = workers.map(compute, missing, update)
    for task, found in zip(missing, results, strict=True):
        analysis.prefetched["starts", task.width, task.number] = found


def compute(piece: Piece) -> dict[str, Any]:
    """Search from the starts of a piece, in whatever process this is."""
    from workbench.searches import one_thread

    analysis = _analysis(piece.study, piece.path, piece.place)
    settings = dict(piece.settings)
    index = settings["index"]
    rows, follow = list(parts(_starts(analysis, piece.width, settings), index))[piece.number]
    with one_thread():
        return found_from(analysis.compile(piece.width), rows, follow)


@lru_cache(maxsize=4)
def _analysis(study: str, path: str | None, place: tuple[tuple[str, Any], ...]) -> Analysis:
    import tomllib

    from workbench.analysis import Analysis

    return Analysis(study_from_mapping(tomllib.loads(study), path=path), **dict(place))


def _starts(analysis: Analysis, width: int, settings: Mapping[str, Any]) -> Any:
    from numerics.critical import starts

    return starts(analysis.compile(width), settings["starts"], settings["seed"])
