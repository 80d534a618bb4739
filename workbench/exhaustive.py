"""Every critical point of a small network with weight decay, by branch and prune: a list that is proved to be complete, or what is left.

>>> from workbench.study import study_from_mapping
>>> from workbench.analysis import Analysis
>>> study = study_from_mapping({"schema": 1, "name": "one-neuron", "model": {"activation": "tanh", "width": 1, "input_bias": False},
...     "loss": {"kind": "square", "weight_decay": "1/10"}, "data": {"x": [[1], [2]], "y": [1, "1/2"]}})
>>> found = exhaust(Analysis(study), [], seconds=60)
>>> found.status, found.expected, found.found, len(found.missing)
('PROVED', 2, 0, 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from derivations.errors import AssumptionError
from workbench.populations import is_population
from workbench.results import CriticalPoint

if TYPE_CHECKING:
    from numerics.box_system import BoxSystem
    from numerics.branch_prune import Outcome, Space
    from workbench.analysis import Analysis

__all__ = ["METHOD", "Exhausted", "exhaust", "not_exhaustible"]

METHOD = "branch and prune in a box that holds all critical points, by interval arithmetic"
IN_BOX = "branch and prune in the box given, by interval arithmetic"
#: More parameters, or neurons, are not tried.
MOST_PARAMETERS, MOST_NEURONS = 10, 4


@dataclass(frozen=True)
class Exhausted:
    """What a search of the whole box that holds all critical points has shown.

    Attributes
    ----------
    status : str
        ``PROVED``: there is no critical point beside the orbits of the points found and ``missing``; else ``UNDECIDED``.
    expected : int or None
        Number of all orbits of critical points where it is proved; each is nondegenerate.
    found : int
        Number of these that were among the points given.
    boxes : int
        Boxes examined.
    remaining_volume : float
        Fraction of the volume of the box not decided, 0.0 where the list is proved.
    missing : list of dict
        Blocks of one representative of each further orbit, each shown to exist.
    method : str
        What was done, as a phrase for reports.
    reason : str
        Why it is UNDECIDED; empty where it is proved.
    seconds : float
        Run time.
    """

    status: str
    expected: int | None
    found: int
    boxes: int
    remaining_volume: float
    missing: list[dict[str, Any]]
    method: str
    reason: str = ""
    seconds: float = 0.0


def not_exhaustible(analysis: Analysis, width: int | None = None) -> str:
    """Return why a complete search of all parameters does not apply to a study at a width; empty where it does."""
    found = _space(analysis, width, None)
    return found if isinstance(found, str) else ""


def exhaust(
    analysis: Analysis,
    points: Sequence[CriticalPoint],
    *,
    seconds: float,
    width: int | None = None,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Exhausted:
    """Search the whole box of all critical points of a study at a width.

    Parameters
    ----------
    analysis : Analysis
        Of a study with samples.
    points : sequence of CriticalPoint
        What is known at this width; points of manifolds, and whatever is not shown to be an isolated critical point, count for nothing.
    seconds : float
        Run time after which the answer is UNDECIDED.
    width : int, optional
        The study's own by default.
    box : pair of sequences, optional
        Lower and upper ends of all P parameters in flat order: the statement then is about this box, for a model of which no box of all
        critical points is known, and counts points and not orbits.
    """
    space = _space(analysis, width, box)
    method = METHOD if box is None else IN_BOX
    if isinstance(space, str):
        return Exhausted("UNDECIDED", None, 0, 0, 1.0, [], method, space)
    from numerics.branch_prune import search

    known = [_flat(point, space.system) for point in points]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # arrays of a few thousand boxes: more threads only wait for each other
    try:
        found = search(space, known, seconds=seconds)
    finally:
        torch.set_num_threads(before)
    return _record(found, space.system, method)


def _record(found: Outcome, system: BoxSystem, method: str) -> Exhausted:
    return Exhausted(
        "PROVED" if found.complete else "UNDECIDED",
        len(found.zeros) if found.complete else None,
        found.given,
        found.boxes,
        0.0 if found.complete else found.remaining,
        [_blocks(zero.centre, system) for zero in found.zeros[found.given :]],
        method,
        found.reason,
        found.seconds,
    )


def _space(
    analysis: Analysis, width: int | None, box: tuple[Sequence[float], Sequence[float]] | None
) -> Space | str:
    """Return what is to be searched, or why that cannot be."""
    from derivations.enclosure import NotEnclosed
    from numerics.box_spaces import given_space, network_space

    problem = analysis.problem
    if is_population(problem):
        return "the risk of a population is an integral, which is not enclosed on batches of boxes"
    data = analysis.required_data("a search of the whole box")
    own = analysis.compile().sizes
    sizes = {**own, "n": data.n, "d": data.d, "o": data.o, **({} if width is None else {"m": width})}
    if problem.kind == "two_layer" and sizes["m"] > MOST_NEURONS:
        return f"a search of the whole box is tried with at most {MOST_NEURONS} neurons, found {sizes['m']}"
    x, y = np.array(data.x, dtype=object), np.array(data.y, dtype=object)
    leaves = problem.leaf_values(x, y)
    try:
        from numerics.box_system import BoxSystem

        entries = {name: np.ravel(values).tolist() for name, values in leaves.items()}
        system = BoxSystem(problem, entries, sizes)
        if system.P > MOST_PARAMETERS:
            return f"a search of the whole box is tried with at most {MOST_PARAMETERS} parameters, found {system.P}"
        return network_space(system) if box is None else given_space(system, *box)
    except (AssumptionError, NotEnclosed, NotImplementedError) as reason:
        return str(reason)


def _flat(point: CriticalPoint, system: BoxSystem) -> torch.Tensor:
    parts = [np.ravel(np.asarray(point.theta.get(name, []), dtype=float)) for name, _, _ in system.layout]
    return torch.tensor(np.concatenate(parts), dtype=torch.float64)


def _blocks(theta: torch.Tensor, system: BoxSystem) -> dict[str, Any]:
    return {name: theta[where].reshape(shape).tolist() for name, shape, where in system.layout}
