"""Runs to infinity, grouped: which neurons grow, and towards which value of the risk.

Two runs go the same way if as many neurons grow in the same blocks and the risk has the same limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from derivations.hidden_layer import hidden_layers
from numerics.compile import CompiledSystem
from numerics.escape import limits
from workbench.results import Escape

__all__ = ["escapes"]

#: Runs that are followed further; of the others only the number is known.
MOST = 400
#: Limits of the risk up to which two runs are one, relative to 1 + |limit|.
SAME_LIMIT = 1e-6


def escapes(system: CompiledSystem, theta: Tensor, width: int) -> tuple[Escape, ...]:
    """Return the ways in which runs that ended at theta (E, P) go to infinity, the most frequent first."""
    finite = theta[torch.isfinite(theta).all(dim=1)][:MOST]
    if len(finite) == 0:
        return ()
    found = limits(system, finite)
    groups: list[tuple[tuple[tuple[str, ...], ...], float, int, list[int]]] = []
    for row in range(len(finite)):
        value, limit = float(found.value[row]), float(found.limit[row])
        growing = _growing(system, found.growing[row])
        level = value if math.isnan(limit) else limit
        for known, other, first, members in groups:
            same = math.isnan(limit) == math.isnan(float(found.limit[first]))
            if known == growing and same and abs(level - other) <= SAME_LIMIT * (1 + abs(level)):
                members.append(row)
                break
        else:
            groups.append((growing, level, row, [row]))
    groups.sort(key=lambda group: (-len(group[3]), group[1]))
    return tuple(
        _escape(system, finite, found.value, found.limit, found.error, growing, members, width)
        for growing, _, _, members in groups
    )


def _escape(
    system: CompiledSystem,
    theta: Tensor,
    value: Tensor,
    limit: Tensor,
    error: Tensor,
    growing: tuple[tuple[str, ...], ...],
    members: Sequence[int],
    width: int,
) -> Escape:
    first = members[0]
    known = not math.isnan(float(limit[first]))
    unit = theta[first] / theta[first].norm()
    return Escape(
        width,
        growing,
        {name: part.tolist() for name, part in system.unpack(unit).items()},
        float(value[first]),
        float(limit[first]) if known else None,
        float(error[first]) if known else None,
        len(members),
    )


def _growing(system: CompiledSystem, mask: Tensor) -> tuple[tuple[str, ...], ...]:
    """Return the growing blocks of each neuron that has some, sorted; those outside neurons in one entry."""
    blocks, left = system.unpack(mask), dict.fromkeys(name for name, _, _ in system.layout)
    if system.problem.kind not in ("two_layer", "deep"):
        return (tuple(name for name, part in blocks.items() if bool(part.any())),)
    found = []
    for layer in hidden_layers(system.problem):
        parts = {}
        for block in layer.blocks.values():
            whole = blocks[block.name].movedim(layer.slot(block), 0)
            parts[block.name] = whole.reshape(len(whole), -1).any(dim=1)
            left.pop(block.name, None)
        for k in range(len(next(iter(parts.values())))):
            names = tuple(name for name in blocks if name in parts and bool(parts[name][k]))
            found += [names] if names else []
    outside = tuple(name for name in left if bool(blocks[name].any()))
    return tuple(sorted(found) + ([outside] if outside else []))
