"""What an analysis has computed before: results of its store, and those that other workers have just brought."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from workbench.populations import digest, is_population
from workbench.store import make_key

if TYPE_CHECKING:
    from workbench.analysis import Analysis

__all__ = ["knows", "remembered"]


def remembered(
    analysis: Analysis,
    stage: str,
    width: int,
    settings: Mapping[str, Any],
    compute: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """Return the result of a finished stage: as other workers brought it, from the store, or as ``compute`` gives it now."""
    early = analysis.prefetched.pop((stage, width, settings.get("piece")), None)
    if analysis.store is None:
        return compute() if early is None else early
    key = _key(analysis, stage, width, settings)
    known = analysis.store.get(key)
    if known is None:
        known = compute() if early is None else early
        analysis.store.put(key, known)
    return known


def knows(analysis: Analysis, stage: str, width: int, settings: Mapping[str, Any]) -> bool:
    """Whether the store of an analysis holds a result."""
    return (
        analysis.store is not None and analysis.store.get(_key(analysis, stage, width, settings)) is not None
    )


def _key(analysis: Analysis, stage: str, width: int, settings: Mapping[str, Any]) -> str:
    """Return the key of a result: the mathematics, the data, the width and everything that decides how it was computed."""
    study = analysis.required_study(stage)
    data = digest(study) if is_population(analysis.problem) else analysis.required_data(stage).sha256
    content = study.to_dict()
    mathematics = {"model": {**content["model"], "width": None}, "loss": content["loss"]}
    place = {"device": analysis.device, "dtype": analysis.dtype, **analysis.running.to_dict()}
    return make_key(stage, study=mathematics, data_sha256=data, width=width, settings={**settings, **place})
