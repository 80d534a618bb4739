r"""Outputs, Jacobian and tangent kernel a block of samples at a time, where a memory budget does not hold them at once.

Output and Jacobian of a sample depend on that sample alone, so the function of all samples, called on a block of them,
gives their rows.  An entry of the kernel belongs to two samples: of :math:`\{A \cup B\}`, for two blocks A and B, the
function gives the entries of A with B, so each pair of blocks is one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

__all__ = ["BY_SAMPLES", "SampleBlocks"]

#: Quantities that are put together from blocks of samples.
BY_SAMPLES = frozenset({"outputs", "jacobian", "ntk"})


@dataclass(frozen=True)
class SampleBlocks:
    """A generated function of one point, called on blocks of samples.

    Parameters
    ----------
    what : str
        One of ``BY_SAMPLES``.
    call, prepare : callable
        The generated function, and what it needs of the data alone.
    data : sequence of Tensor
        Data, samples first.
    outputs : tuple of int
        Axes of the output of one sample.
    sizes : callable
        Numbers of the dimensions, in the order of the arguments, for so many samples.
    rows : int
        Samples of a call; for the kernel two blocks of half as many.
    """

    what: str
    call: Callable[..., tuple[Tensor, ...]]
    prepare: Callable[..., tuple[Tensor, ...]]
    data: Sequence[Tensor]
    outputs: tuple[int, ...]
    sizes: Callable[[int], Sequence[int]]
    rows: int = 0

    @property
    def least(self) -> int:
        """Least number of samples of a call."""
        return 2 if self.what == "ntk" else 1

    def fitted(self, held: Callable[[int], int], budget: int) -> SampleBlocks:
        """Return the same with the most samples for which ``held`` bytes and what a call prepares keep a budget."""
        rows = len(self.data[0])
        while rows > self.least and self._prepared(rows) + held(rows) > budget:
            rows = max(self.least, rows * 3 // 4)
        return replace(self, rows=rows)

    def needed(self, held: Callable[[int], int]) -> int:
        """Return the bytes that one call with the least number of samples may hold."""
        return self._prepared(self.least) + held(self.least)

    def _prepared(self, rows: int) -> int:
        """Return the bytes of the data of a block and of what is computed of them alone; nothing is computed."""
        data = [u[:rows].to("meta") for u in self.data]
        found = self.prepare(*data, *self.sizes(rows), data[0])
        return sum(u.numel() * u.element_size() for u in (*data, *found))

    def __call__(self, theta: Tensor) -> tuple[Tensor, ...]:
        """Return the quantity at one point; the Jacobian as one array over all parameters."""
        return (self._kernel(theta) if self.what == "ntk" else self._rows(theta),)

    def _at(self, theta: Tensor, data: Sequence[Tensor]) -> tuple[Tensor, ...]:
        sizes = self.sizes(len(data[0]))
        return self.call(theta, *data, *self.prepare(*data, *sizes, theta), *sizes)

    def _rows(self, theta: Tensor) -> Tensor:
        count, out = len(self.data[0]), theta
        for start in range(0, count, self.rows):
            parts = self._at(theta, [u[start : start + self.rows] for u in self.data])
            if self.what == "jacobian":
                parts = (torch.cat([u.reshape(len(u), *self.outputs, -1) for u in parts], -1),)
            out = out if start else theta.new_empty((count, *parts[0].shape[1:]))
            out[start : start + self.rows] = parts[0]
        return out

    def _kernel(self, theta: Tensor) -> Tensor:
        count, half = len(self.data[0]), max(1, self.rows // 2)
        blocks = [range(start, min(start + half, count)) for start in range(0, count, half)]
        out: Tensor | None = None
        for first, second in combinations(blocks, 2):
            both = [
                torch.cat([u[first.start : first.stop], u[second.start : second.stop]]) for u in self.data
            ]
            (found,) = self._at(theta, both)
            if out is None:
                shape = list(found.shape)
                shape[0] = shape[found.ndim // 2] = count
                out = theta.new_empty(shape)
            place = dict(zip((first, second), (slice(0, len(first)), slice(len(first), None)), strict=True))
            for one in (first, second):
                for two in (first, second):
                    _entries(out, slice(one.start, one.stop), slice(two.start, two.stop)).copy_(
                        _entries(found, place[one], place[two])
                    )
        assert out is not None  # a budget that holds all samples at once needs no blocks
        return out


def _entries(kernel: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the entries of some samples with others; the axes of the outputs stand behind those of the samples."""
    axis = kernel.ndim // 2
    return kernel[rows].narrow(axis, columns.start, len(range(*columns.indices(kernel.shape[axis]))))
