r"""Which plan serves how many points, and calling a generated function on pieces that stay in the cache.

* One point: no batch axis; samples are swept in blocks if the n x m arrays do not fit the cache.
* Many points of a tiny network: the batch axis comes last, in pieces of some thousand points.
* Many points otherwise: the batch axis leads, in pieces; points whose arrays fill the cache are taken one by one.

Temporaries are not overwritten where autograd or a function transform (vmap, jvp) looks on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.emit import Lowered
from numerics.emit_nodes import Plan

__all__ = ["Batches", "Function"]

#: Bytes of one array on the way, where the data lie: what the second-level cache of a processor holds about twice.
PIECE = {"cpu": 1 << 19, "cuda": 1 << 26}
#: Bytes of one n x m array from which samples are swept in blocks, and of one block of it.
SWEEP, BLOCK = {"cpu": 1 << 22, "cuda": 1 << 29}, {"cpu": 1 << 21, "cuda": 1 << 28}
#: Largest width, input or output dimension of a network whose batch axis comes last.
TINY = 16
#: Entries of an n x m array from which arithmetic counts rather than the number of calls.
MANY = 4096


@dataclass(frozen=True)
class Function:
    """A generated function with its data and sizes."""

    call: Callable[..., tuple[Tensor, ...]]
    lowered: Lowered
    bound: tuple[object, ...]

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
    x, y : Tensor
        Data.
    """

    def __init__(self, P: int, sizes: Mapping[str, int], x: Tensor, y: Tensor) -> None:
        self.P, self.sizes = P, sizes
        self.itemsize, self.device = x.element_size(), x.device.type
        inner = [number for name, number in sizes.items() if name != "n"]
        widths = [number for name, number in sizes.items() if name not in ("n", "d", "o")]
        self.entries = sizes["n"] * max(widths, default=1)
        self.tiny = max(inner) <= TINY
        bytes_ = self.entries * self.itemsize
        self.blocked = bytes_ > _limit(SWEEP, self.device)
        self.rows = max(1, _limit(BLOCK, self.device) // (max(widths, default=1) * self.itemsize))
        self._one = self.plan_of_one()
        self._one_functional = Plan("single", many=self._one.many, in_place=False)
        self._alone = bytes_ > _limit(PIECE, self.device) // 2

    def plan_of_one(self) -> Plan:
        """Return the plan for one point."""
        return Plan("single", many=self.entries > MANY, blocked=self.blocked)

    def run(self, function: Callable[[Plan], Function], theta: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Return the results at points of shape (..., P), each with the same leading axes.

        Parameters
        ----------
        function : callable
            The function for a plan.
        theta, more : Tensor
            Points and directions of one shape.
        """
        if theta.ndim == 1:
            return self._at_one(function, (theta, *more))
        lead, count = theta.shape[:-1], theta.shape[:-1].numel()
        points = [u.reshape(count, self.P) for u in (theta, *more)]
        if count == 1:
            results = self._at_one(function, [u[0] for u in points])
            return tuple(r.reshape(*lead, *r.shape) for r in results)
        results = self._at_many(function, points, count)
        return tuple(r.reshape(*lead, *r.shape[1:]) for r in results) if len(lead) > 1 else results

    def _at_one(self, function: Callable[[Plan], Function], points: Sequence[Tensor]) -> tuple[Tensor, ...]:
        found = function(self._one_functional if any(map(_watched, points)) else self._one)
        if found.lowered.plan.blocked:
            return found.call(*points, *found.bound, self.rows)
        return found.call(*points, *found.bound)

    def _at_many(
        self, function: Callable[[Plan], Function], points: Sequence[Tensor], count: int
    ) -> tuple[Tensor, ...]:
        if any(map(_watched, points)):
            found = function(Plan("first", many=self._one.many, in_place=False))
            return found.call(*points, *found.bound)
        if self.tiny and count >= 8:
            plan = Plan("last")
        elif self._alone:
            return _stacked([self._at_one(function, [u[s] for u in points]) for s in range(count)])
        else:
            plan = Plan("first", many=self._one.many)
        found = function(plan)
        step = self.piece(found.lowered)
        if step >= count:
            return tuple(u.contiguous() for u in self._piece(found, points))
        out: list[Tensor] = []
        for start in range(0, count, step):
            results = self._piece(found, [u[start : start + step] for u in points])
            out = out or [u.new_empty((count, *u.shape[1:])) for u in results]
            for whole, part in zip(out, results, strict=True):
                whole[start : start + step] = part
        return tuple(out)

    def _piece(self, found: Function, points: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if found.lowered.plan.layout == "first":
            return found.call(*points, *found.bound)
        results = found.call(*[u.t().contiguous() for u in points], *found.bound)
        return tuple(u.movedim(-1, 0) for u in results)

    def piece(self, lowered: Lowered) -> int:
        """Return how many points are taken at once."""
        most = max((self._numel(dims) for dims in lowered.work), default=1)
        return max(1, _limit(PIECE, self.device) // (most * self.itemsize))

    def _numel(self, dims: Sequence[str]) -> int:
        out = 1
        for dim in dims:
            out *= self.sizes.get(dim, int(dim) if dim.isdigit() else 1)
        return out


def _limit(table: Mapping[str, int], device: str) -> int:
    return table.get(device, table["cpu"])


def _watched(point: Tensor) -> bool:
    """Say whether autograd or a function transform follows what happens to ``point``."""
    if point.requires_grad and torch.is_grad_enabled():
        return True
    return torch._C._functorch.is_functorch_wrapped_tensor(point)


def _stacked(results: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))
