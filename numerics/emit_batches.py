r"""Which plan serves how many points, and calling a generated function on pieces that stay in the cache.

* One point: no batch axis; samples are swept in blocks if the n x m arrays do not fit the cache.
* Many points of a tiny network: the batch axis comes last, in pieces of some thousand points.
* Many points otherwise: the batch axis leads, in pieces; points whose arrays fill the cache are taken one by one.

Temporaries are not overwritten where autograd or a function transform (vmap, jvp) looks on, nor in functions that go
through ``torch.compile``.

A memory budget bounds the bytes of the arrays on the way: the pieces shrink to it, and where one point alone is
beyond it, the samples are swept in blocks.  Counted is every array of the function as if none were ever freed, so that
the budget is kept with room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.autograd import forward_ad

from numerics.accelerate import Options
from numerics.emit import Lowered
from numerics.emit_nodes import SAMPLES, Plan

__all__ = ["Batches", "Function", "watched"]

#: Bytes of one array on the way, where the data lie: what the second-level cache of a processor holds about twice.
PIECE = {"cpu": 1 << 19, "cuda": 1 << 26}
#: Least number of points in a piece whose batch axis comes last, whatever the arrays: fewer do not pay for the calls.
LEAST = {"cpu": 64, "cuda": 4096}
#: Bytes of one n x m array from which samples are swept in blocks, and of one block of it.
SWEEP, BLOCK = {"cpu": 1 << 21, "cuda": 1 << 29}, {"cpu": 1 << 20, "cuda": 1 << 28}
#: Largest width, input or output dimension of a network whose batch axis comes last.
TINY = 16
#: Entries of an n x m array from which arithmetic counts rather than the number of calls.
MANY = 4096
#: Points from which the batch axis of a tiny network comes last.
FEW = 8
#: Least number of points in a piece of a function that went through torch.compile: its loops need no cache for arrays
#: on the way.
FUSED = 1024


@dataclass(frozen=True)
class Function:
    """A generated function, what it takes besides points, and how many points it takes at once.

    ``piece`` is 0 where a memory budget does not hold one point of this layout: points are then taken one by one.
    """

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
    options : Options
        A memory budget, and whether functions go through ``torch.compile``.

    Attributes
    ----------
    plans : dict
        ``one`` point, many points ``first`` or ``last``, and the first two where autograd or a transform looks on.
    """

    def __init__(self, P: int, sizes: Mapping[str, int], x: Tensor, options: Options = Options()) -> None:  # noqa: B008
        self.P, self.sizes, self.options = P, sizes, options
        self.itemsize, self.device = x.element_size(), x.device.type
        width = max((u for name, u in sizes.items() if name not in ("n", "d", "o")), default=1)
        entries = sizes["n"] * width
        self.tiny = max(u for name, u in sizes.items() if name != "n") <= TINY
        self.alone = entries * self.itemsize > _limit(PIECE, self.device) // 2
        self.rows = max(1, _limit(BLOCK, self.device) // (width * self.itemsize))
        many, blocked = entries > MANY, entries * self.itemsize > _limit(SWEEP, self.device)
        eager = not options.torch_compile
        self.plans = {
            "one": Plan("single", many, blocked, in_place=eager or blocked),
            "one watched": Plan("single", many, in_place=False),
            "first": Plan("first", many, in_place=eager),
            "first watched": Plan("first", many, in_place=False),
            "last": Plan("last", in_place=eager),
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
            return _one_by_one(function, points, count)
        found = function("last" if last else "first")
        if not found.piece and count:
            return _one_by_one(function, points, count)
        whole = _last if last else _first
        if found.piece >= count:
            return tuple(u.contiguous() for u in whole(found, points))
        out: list[Tensor] = []
        # Equal pieces: a short one at the end would be one more shape to compile or record.
        length = math.ceil(count / math.ceil(count / found.piece))
        for start in range(0, count, length):
            stop = start + length
            results = whole(found, [u[start:stop] for u in points])
            out = out or [u.new_empty((count, *u.shape[1:])) for u in results]
            for all_, part in zip(out, results, strict=True):
                all_[start:stop] = part
        return tuple(out)

    def piece(self, lowered: Lowered) -> int:
        """Return how many points are taken at once, so that one array stays in the cache and the budget is kept."""
        most = max((self._numel(dims) for dims in lowered.work), default=1)
        piece = max(1, _limit(PIECE, self.device) // (most * self.itemsize))
        if lowered.plan.layout == "last":
            piece = max(2 * piece, _limit(LEAST, self.device))
        if self.options.torch_compile:
            piece = max(piece, FUSED)
        if self.options.memory_budget is None or lowered.plan.layout == "single":
            return piece
        return min(piece, self.options.memory_budget // self._held(lowered))

    def fitted(self, plan: Plan, lower: Callable[[Plan], Lowered]) -> tuple[Lowered, int]:
        """Return the function of a plan, and how many samples it takes at once if it sweeps them in blocks.

        Raises
        ------
        ValueError
            If a memory budget does not hold what one point needs.
        """
        lowered, budget = lower(plan), self.options.memory_budget
        if budget is None or plan.layout != "single" or not plan.in_place:
            return lowered, self.rows
        if self._held(lowered) <= budget and not lowered.plan.blocked:
            return lowered, self.rows
        lowered = lowered if lowered.plan.blocked else lower(replace(plan, blocked=True))
        fixed, row = self._held(lowered, rows=0), self._held(lowered, rows=1)
        if budget < (row if lowered.plan.blocked else self._held(lowered)):
            least = row if lowered.plan.blocked else self._held(lowered)
            raise ValueError(
                f"the {lowered.name.replace('_', ', ')} of one point may hold {least} bytes on the way, the memory budget is "
                f"{budget}: give a larger one{', or use Hessian-vector products' if 'hessian' in lowered.name else ''}"
            )
        return lowered, min(self.rows, max(1, (budget - fixed) // max(1, row - fixed)))

    def _held(self, lowered: Lowered, rows: int | None = None) -> int:
        """Return the bytes of all arrays of one point together, for ``rows`` samples if they are swept in blocks."""
        sizes = dict(self.sizes)
        if rows is not None and lowered.plan.blocked:
            sizes[SAMPLES] = rows
        return max(1, sum(self._numel(dims, sizes) for dims in lowered.held) * self.itemsize)

    def _numel(self, dims: Sequence[str], sizes: Mapping[str, int] | None = None) -> int:
        sizes = sizes or self.sizes
        return math.prod(sizes.get(dim, int(dim) if dim.isdigit() else 1) for dim in dims)


def _at_one(function: Callable[[str], Function], points: Sequence[Tensor]) -> tuple[Tensor, ...]:
    found = function("one watched" if any(map(watched, points)) else "one")
    return found.call(*points, *found.bound)


def _one_by_one(
    function: Callable[[str], Function], points: Sequence[Tensor], count: int
) -> tuple[Tensor, ...]:
    rows = [_at_one(function, [u[s] for u in points]) for s in range(count)]
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))


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
