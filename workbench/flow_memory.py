"""What a flow keeps on the way, so that the same command goes on after it was killed.

Many starts at once leave their common state in a checkpoint; trajectories of networks with kinks, computed one by one, are
kept in the store as each is done.  Both are named after the study, the data, the starts, the settings and the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench import store as results_store
from workbench.checkpoint import Checkpoint, checkpoint_for
from workbench.flow_settings import FlowSettings

if TYPE_CHECKING:
    from workbench.analysis import Analysis

__all__ = ["checkpoint_of", "remember_of"]

Points = Sequence[Mapping[str, Any]]
Entry = dict[str, Any]


def checkpoint_of(
    analysis: Analysis, points: Points, until: float, count: int, settings: FlowSettings | None
) -> Checkpoint | None:
    """Return the checkpoint of a flow; None without a store, or for a study whose data are not samples."""
    key = _key(analysis, "flow", list(points), until, count, settings)
    if key is None or analysis.store is None:
        return None
    return checkpoint_for(analysis.store.path.parent / "runs", key, analysis.device)


def remember_of(
    analysis: Analysis, points: Points, until: float, count: int, settings: FlowSettings | None
) -> Callable[[int, Callable[[], Entry]], Entry] | None:
    """Return how one trajectory is looked up, and kept when it was computed; None as above."""
    store = analysis.store
    if store is None or analysis.dataset is None:
        return None

    def remember(row: int, compute: Callable[[], Entry]) -> Entry:
        key = _key(analysis, "trajectory", points[row], until, count, settings)
        known = None if key is None else store.get(key)
        if known is None:
            known = compute()
            if key is not None:
                store.put(key, known)
        return known

    return remember


def _key(
    analysis: Analysis, stage: str, start: Any, until: float, count: int, settings: FlowSettings | None
) -> str | None:
    """Name a run by all it depends on; None where that is not known, or a number is refused later on."""
    if analysis.study is None or analysis.dataset is None:
        return None
    content = analysis.study.to_dict()
    given = {
        "start": _plain(start),
        "until": until,
        "count": count,
        "flow": (settings or FlowSettings()).to_dict(),
        "device": analysis.device,
        "dtype": analysis.dtype,
        **analysis.running.to_dict(),
    }
    try:
        return results_store.make_key(
            stage,
            study={"model": content["model"], "loss": content["loss"]},
            data_sha256=analysis.dataset.sha256,
            width=None,
            settings=given,
        )
    except (ValueError, TypeError):
        return None


def _plain(value: Any) -> Any:
    """Return nested lists of numbers for arrays of any kind."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
