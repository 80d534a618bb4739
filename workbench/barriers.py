r"""Barriers between minima of one width: strings between them, whose highest points are refined to saddles.

Two minima of one width are orbits under permutations and sign flips, so a string is relaxed between a minimum and each of the ``COPIES``
copies of the other that lie nearest.  The images that are higher than their neighbours start a search for saddles of index 1, and what it
finds is entered in the list like any point; its descents tell which minima it joins.

Two upper bounds of the barrier between two minima follow, and the lower one counts: the risk of the lowest saddle over which descents join
them, and the largest risk on the string.  That no path is lower is not shown: it would take a complete list of saddles.

Source: E, Ren, Vanden-Eijnden (2007), doi:10.1063/1.2720838; Wales, Energy Landscapes (2003), chapters 5 and 6.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import find_critical_points, polish
from numerics.saturation import converged, saturated
from numerics.string_method import relax
from workbench.alignment import copies_near
from workbench.catalogue import Catalogue, Key
from workbench.search import Remember, anew

__all__ = ["COPIES", "FOUND_BY", "MOST_MINIMA", "Bridge", "bridges", "due"]

#: Strings are relaxed between the lowest minima of a width, so many of them, and the nearest copies, so many for each pair.
MOST_MINIMA, COPIES = 8, 2
#: Steps of the search for a saddle from the top of a string.
STEPS = 120
#: How strings are found among the points of the list.
FOUND_BY = "string"


@dataclass(frozen=True)
class Bridge:
    """The lowest string found between two minima: its largest risk, its length, and the critical points that its tops led to."""

    first: Key
    second: Key
    highest: float
    length: float
    residual: float
    tops: tuple[Key, ...]


Minimum = tuple[Key, Tensor, float]
"""Key, parameters (P,) and risk."""


def due(minima: Sequence[Minimum], done: set[tuple[Key, Key]]) -> list[tuple[Minimum, Minimum]]:
    """Return the pairs of the lowest minima that are to be joined."""
    lowest = sorted(minima, key=lambda entry: entry[2])[:MOST_MINIMA]
    return [pair for pair in combinations(lowest, 2) if (pair[0][0], pair[1][0]) not in done]


def bridges(
    catalogue: Catalogue,
    width: int,
    minima: Sequence[Minimum],
    done: set[tuple[Key, Key]],
    progress: Callable[[float], None] | None = None,
    remember: Remember = anew,
) -> list[Bridge]:
    """Relax strings between the lowest minima of one width, entering the critical points that their tops lead to.

    Parameters
    ----------
    catalogue : Catalogue
        Where critical points are entered.
    minima : sequence of (key, parameters (P,), risk)
        Nondegenerate minima of this width.
    done : set of pairs of keys
        Pairs that were joined before; those joined now are added.
    """
    pairs = due(minima, done)
    if not pairs:
        return []
    done.update((one[0], two[0]) for one, two in pairs)
    system, owners, ends = catalogue.system_of(width), [], []
    for position, (one, two) in enumerate(pairs):
        here, there = (catalogue.network(system, entry[1]) for entry in (one, two))
        for copy in copies_near(there, here, catalogue.shape, COPIES):
            owners.append(position)
            ends.append(torch.stack([one[1], catalogue.flat(system, copy.network).to(one[1])]))
    stacked = torch.stack(ends)

    def compute() -> dict[str, Any]:
        return _relaxed(system, stacked, progress)

    begins = hashlib.sha256(json.dumps(stacked.tolist()).encode()).hexdigest()
    found = remember("strings", width, {"ends": begins}, compute)
    placed = _entered(catalogue, system, width, found["saddles"])
    out = []
    for position, (one, two) in enumerate(pairs):
        rows = [row for row, owner in enumerate(owners) if owner == position]
        best = min(rows, key=lambda row: (found["highest"][row], row))
        tops = dict.fromkeys(key for row, key in placed if row == best)
        out.append(
            Bridge(
                one[0],
                two[0],
                found["highest"][best],
                found["length"][best],
                found["residual"][best],
                tuple(tops),
            )
        )
    return out


def _relaxed(
    system: CompiledSystem, ends: Tensor, progress: Callable[[float], None] | None
) -> dict[str, Any]:
    strings = relax(system.value_gradient_hessian, ends, value=system.value, progress=progress)
    tops = [(row, top) for row, found in enumerate(strings.tops) for top in found]
    saddles: list[tuple[int, list[float]]] = []
    if tops:
        theta0 = torch.stack([top for _, top in tops])
        uphill = torch.ones(len(theta0), dtype=torch.long, device=theta0.device)
        result = find_critical_points(system, theta0, index=uphill, max_steps=STEPS)
        reached = [row for (row, _), end in zip(tops, result.outcome.tolist(), strict=True) if end == 1]
        saddles = [(row, theta.tolist()) for row, theta in zip(reached, result.theta, strict=True)]
    length = (strings.path[:, 1:] - strings.path[:, :-1]).norm(dim=-1).sum(dim=1)
    return {
        "highest": strings.highest.tolist(),
        "length": length.tolist(),
        "residual": strings.residual.tolist(),
        "saddles": saddles,
    }


def _entered(
    catalogue: Catalogue, system: CompiledSystem, width: int, saddles: Sequence[Sequence[Any]]
) -> list[tuple[int, Key]]:
    """Enter the critical points met, and return them with the strings they belong to."""
    if not saddles:
        return []
    met = torch.tensor([theta for _, theta in saddles], dtype=system.dtype, device=system.device)
    theta, _ = polish(system, met, steps=12)
    fine = converged(system, theta) & ~saturated(system, theta)
    out = []
    for (row, _), place, good in zip(saddles, theta, fine.tolist(), strict=True):
        key = catalogue.place(place, width, FOUND_BY) if good else None
        if key is not None:
            out.append((int(row), key))
    return out
