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
import mmap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

from numerics.accelerate import Options
from numerics.emit import Lowered
from numerics.emit_nodes import SAMPLES, Plan
from numerics.sample_blocks import BY_SAMPLES

__all__ = ["Batches", "Function", "watched"]

#: Bytes of one array on the way, where the data lie: what the second-level cache of a processor holds about twice.
PIECE = {"cpu": 1 << 19, "cuda": 1 << 26}
#: Least number of points in a piece whose batch axis comes last, whatever the arrays: fewer do not pay for the calls.
LEAST = {"cpu": 64, "cuda": 4096}
#: Points in such a piece that pay for the calls, so that no larger one is wanted for them.
ENOUGH = 1024
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
#: Bytes of results from which they get large pages.
LARGE = 1 << 23
#: Bytes of the block that is freed once; the GNU library learns from blocks below 32 MiB.
KEPT = 31 << 20


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
            "last": Plan("last", in_place=eager, fused=not eager),
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
        if found.piece >= count:
            if not last:
                return tuple(u.contiguous() for u in found.call(*points, *found.bound))
            results = found.call(*[u.t().contiguous() for u in points], *found.bound)
            return tuple(_turned(u).contiguous() for u in results)
        keep_freed_memory()
        out: list[Tensor] = []
        # Equal pieces: a short one at the end would be one more shape to compile or record.
        length = math.ceil(count / math.ceil(count / found.piece))
        for start in range(0, count, length):
            part = [u[start : start + length] for u in points]
            results = found.call(*([u.t().contiguous() for u in part] if last else part), *found.bound)
            results = tuple(map(_turned, results)) if last else results
            out = out or [room((count, *u.shape[1:]), u) for u in results]
            for whole, u in zip(out, results, strict=True):
                _placed(whole[start : start + length], u, last)
        return tuple(out)

    def piece(self, lowered: Lowered) -> int:
        """Return how many points are taken at once, so that one array stays in the cache and the budget is kept."""
        most = max((self._numel(dims) for dims in lowered.work), default=1)
        piece = max(1, _limit(PIECE, self.device) // (most * self.itemsize))
        if lowered.plan.layout == "last":
            piece = max(min(4 * piece, ENOUGH), 2 * piece, _limit(LEAST, self.device))
        if self.options.torch_compile:
            piece = max(piece, FUSED)
        if self.options.memory_budget is None or lowered.plan.layout == "single":
            return piece
        return min(piece, self.options.memory_budget // self.held(lowered))

    def fitted(self, plan: Plan, lower: Callable[[Plan], Lowered]) -> tuple[Lowered, int]:
        """Return the function of a plan, and how many samples it takes at once if it takes them in blocks.

        A sum over samples is swept by the function itself; what has a sample axis is put together from calls, and the
        number is 0: it depends on the data as well (``numerics.sample_blocks``).

        Raises
        ------
        ValueError
            If a memory budget does not hold what one point needs.
        """
        lowered, budget = lower(plan), self.options.memory_budget
        rows = self.rows if lowered.plan.blocked else self.sizes[SAMPLES]
        if budget is None or plan.layout != "single" or not plan.in_place:
            return lowered, rows
        if self.held(lowered) <= budget and not lowered.plan.blocked:
            return lowered, rows
        lowered = lowered if lowered.plan.blocked else lower(replace(plan, blocked=True))
        if not lowered.plan.blocked and lowered.name in BY_SAMPLES:
            return lowered, 0
        fixed, row = self.held(lowered, rows=0), self.held(lowered, rows=1)
        least = row if lowered.plan.blocked else self.held(lowered)
        if budget < least:
            raise self.refused(lowered, least)
        return lowered, min(self.rows, max(1, (budget - fixed) // max(1, row - fixed)))

    def refused(self, lowered: Lowered, least: int) -> ValueError:
        """Return the error that a memory budget does not hold ``least`` bytes."""
        return ValueError(
            f"the {lowered.name.replace('_', ', ')} of one point may hold {least} bytes on the way, the memory budget is "
            f"{self.options.memory_budget}: give a larger one"
            f"{', or use Hessian-vector products' if 'hessian' in lowered.name else ''}"
        )

    def held(self, lowered: Lowered, rows: int | None = None) -> int:
        """Return the bytes of all arrays of one point together, for all samples or for ``rows`` of them."""
        sizes = dict(self.sizes)
        if rows is not None:
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
    """Return the results of points taken alone; kept one by one, they would lie scattered between freed arrays."""
    if any(map(watched, points)):  # autograd follows results, not copies of them
        rows = [_at_one(function, [u[s] for u in points]) for s in range(count)]
        return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))
    out: list[Tensor] = []
    for s in range(count):
        results = _at_one(function, [u[s] for u in points])
        out = out or [room((count, *u.shape), u) for u in results]
        for whole, u in zip(out, results, strict=True):
            whole[s] = u
    return tuple(out)


def _turned(part: Tensor) -> Tensor:
    """Return the results of a piece with the axis over points first instead of last."""
    return part if part.ndim == 1 else part.t() if part.ndim == 2 else part.movedim(-1, 0)


def _placed(into: Tensor, part: Tensor, last: bool) -> None:
    """Copy the results of a piece to their place; a transposition of two axes goes through blocks in the cache."""
    if last and part.ndim > 2:
        into, part = into.view(len(into), -1), part.movedim(0, -1).reshape(-1, len(part)).t()
    into.copy_(part)


@cache
def keep_freed_memory() -> None:
    """Have the C library keep what pieces free: where it gives it back, every array of every piece is new pages again.

    The GNU library keeps, at the end of its memory, up to twice the largest block that it has seen freed, at most
    64 MiB.  Nothing is touched here, so nothing is used.
    """
    torch.empty(KEPT, dtype=torch.uint8)


def room(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return memory for results: on a processor, large ones in large pages.

    New memory comes a page at a time, and with pages of 4 KiB that takes as long as the Hessian of a small network.
    """
    size = math.prod(shape) * like.element_size()
    if like.device.type != "cpu" or size < LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return like.new_empty(shape)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without large pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)


def _limit(table: Mapping[str, int], device: str) -> int:
    return table.get(device, table["cpu"])


def watched(point: Tensor) -> bool:
    """Say whether autograd or a function transform follows what happens to ``point``."""
    return (
        (point.requires_grad and torch.is_grad_enabled())
        or torch._C._functorch.is_functorch_wrapped_tensor(point)
        or forward_ad._current_level >= 0
    )
