r"""Which plan serves how many points, and calling a generated function on pieces that stay in the cache.

* One point: no batch axis; samples are swept in blocks if the n x m arrays do not fit the cache.
* Many points of a tiny network: the batch axis comes last, in pieces of some thousand points.
* Many points otherwise: the batch axis leads, in pieces; points whose arrays fill the cache are taken one by one.

Temporaries are not overwritten where autograd or a function transform (vmap, jvp) looks on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from numerics.emit import Lowered
from numerics.emit_nodes import Plan

__all__ = ["Batches", "Function", "watched"]

#: Bytes of one array on the way, where the data lie: what the second-level cache of a processor holds about twice.
PIECE = {"cpu": 1 << 19, "cuda": 1 << 26}
#: Bytes of one n x m array from which samples are swept in blocks, and of one block of it.
SWEEP, BLOCK = {"cpu": 1 << 21, "cuda": 1 << 29}, {"cpu": 1 << 20, "cuda": 1 << 28}
#: Largest width, input or output dimension of a network whose batch axis comes last.
TINY = 16
#: Entries of an n x m array from which arithmetic counts rather than the number of calls.
MANY = 4096
#: Points from which the batch axis of a tiny network comes last.
FEW = 8


@dataclass(frozen=True)
class Function:
    """A generated function, what it takes besides points, and how many points it takes at once."""

    call: Callable[..., tuple[Tensor, ...]]
    lowered: Lowered
    bound: tuple[object, ...]
    piece: int

    @property
    def source(self) -> str:
        """The source."""
        return self.lowered.source


class Batches:
    """The points of one system, and the sizes that decide how they are laid out.

    Parameters
    ----------
    P : int
        Length of a point.
    sizes : mapping
        Number of each dimension.
    x : Tensor
        Data: their dtype and device.

    Attributes
    ----------
    plans : dict
        ``one`` point, many points ``first`` or ``last``, and the first two where autograd or a transform looks on.
    """

    def __init__(self, P: int, sizes: Mapping[str, int], x: Tensor) -> None:
        self.P, self.sizes = P, sizes
        self.itemsize, self.device = x.element_size(), x.device.type
        width = max((u for name, u in sizes.items() if name not in ("n", "d", "o")), default=1)
        entries = sizes["n"] * width
        self.tiny = max(u for name, u in sizes.items() if name != "n") <= TINY
        self.alone = entries * self.itemsize > _limit(PIECE, self.device) // 2
        self.rows = max(1, _limit(BLOCK, self.device) // (width * self.itemsize))
        many, blocked = entries > MANY, entries * self.itemsize > _limit(SWEEP, self.device)
        self.plans = {
            "one": Plan("single", many, blocked),
            "one watched": Plan("single", many, in_place=False),
            "first": Plan("first", many),
            "first watched": Plan("first", many, in_place=False),
            "last": Plan("last"),
        }

    def run(self, function: Callable[[str], Function], theta: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Return the results at points of shape (..., P), each with the same leading axes.

        Parameters
        ----------
        function : callable
            The function for the name of a plan.
        theta, more : Tensor
            Points and directions of one shape.
        """
        if theta.ndim == 1:
            return _at_one(function, (theta, *more))
        lead, points = theta.shape[:-1], [theta, *more]
        if len(lead) > 1:
            points = [u.reshape(-1, self.P) for u in points]
        count = len(points[0])
        if count == 1:
            return tuple(r.reshape(*lead, *r.shape) for r in _at_one(function, [u[0] for u in points]))
        results = self._at_many(function, points, count)
        return tuple(r.reshape(*lead, *r.shape[1:]) for r in results) if len(lead) > 1 else results

    def _at_many(
        self, function: Callable[[str], Function], points: Sequence[Tensor], count: int
    ) -> tuple[Tensor, ...]:
        if any(map(watched, points)):
            found = function("first watched")
            return found.call(*points, *found.bound)
        last = self.tiny and count >= FEW
        if self.alone and not last and count:
            rows = [_at_one(function, [u[s] for u in points]) for s in range(count)]
            return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))
        found = function("last" if last else "first")
        whole = _last if last else _first
        if found.piece >= count:
            return tuple(u.contiguous() for u in whole(found, points))
        out: list[Tensor] = []
        for start in range(0, count, found.piece):
            stop = start + found.piece
            results = whole(found, [u[start:stop] for u in points])
            out = out or [u.new_empty((count, *u.shape[1:])) for u in results]
            for all_, part in zip(out, results, strict=True):
                all_[start:stop] = part
        return tuple(out)

    def piece(self, lowered: Lowered) -> int:
        """Return how many points are taken at once, so that one array stays in the cache."""
        most = max((self._numel(dims) for dims in lowered.work), default=1)
        return max(1, _limit(PIECE, self.device) // (most * self.itemsize))

    def _numel(self, dims: Sequence[str]) -> int:
        return math.prod(self.sizes.get(dim, int(dim) if dim.isdigit() else 1) for dim in dims)


def _at_one(function: Callable[[str], Function], points: Sequence[Tensor]) -> tuple[Tensor, ...]:
    found = function("one watched" if any(map(watched, points)) else "one")
    return found.call(*points, *found.bound)


def _first(found: Function, points: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return found.call(*points, *found.bound)


def _last(found: Function, points: Sequence[Tensor]) -> tuple[Tensor, ...]:
    results = found.call(*[u.t().contiguous() for u in points], *found.bound)
    return tuple(u if u.ndim == 1 else u.t() if u.ndim == 2 else u.movedim(-1, 0) for u in results)


def _limit(table: Mapping[str, int], device: str) -> int:
    return table.get(device, table["cpu"])


def watched(point: Tensor) -> bool:
    """Say whether autograd or a function transform follows what happens to ``point``."""
    return (
        (point.requires_grad and torch.is_grad_enabled())
        or torch._C._functorch.is_functorch_wrapped_tensor(point)
        or forward_ad._current_level >= 0
    )
