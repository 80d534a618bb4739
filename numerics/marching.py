"""Marching squares: where a function given on a grid vanishes, as points on the edges of cells, joined into curves.

>>> x = torch.linspace(-2, 2, 41, dtype=torch.float64) + 0.003
>>> circle = x[:, None] ** 2 + x[None, :] ** 2 - 1
>>> found = marching_squares(x, x, circle, circle.abs() < 0)
>>> len(set(found.labels.tolist())), bool(found.at_edge.any())
(1, False)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Curves", "marching_squares"]


@dataclass(frozen=True)
class Curves:
    """Points (k, 2) on edges of the grid, the number of the curve of each, and whether it lies on the edge of the grid."""

    points: Tensor
    labels: Tensor
    at_edge: Tensor
    notes: tuple[str, ...] = ()


def marching_squares(x: Tensor, y: Tensor, values: Tensor, blank: Tensor) -> Curves:
    """Return the zero curves of a function.

    In a cell that two curves enter, the bilinear interpolant of its corners decides which corners they cut off.

    Parameters
    ----------
    x, y : Tensor, shapes (k,), (l,)
        Increasing coordinates of the grid.
    values : Tensor, shape (k, l)
    blank : Tensor of bool, shape (k, l)
        Where the values are rounding; curves end there.
    """
    sign = values > 0
    known = ~blank
    across = (sign[1:] != sign[:-1]) & known[1:] & known[:-1]  # edges along x, (k-1, l)
    along = (sign[:, 1:] != sign[:, :-1]) & known[:, 1:] & known[:, :-1]  # edges along y, (k, l-1)
    number = -torch.ones(across.numel() + along.numel(), dtype=torch.long)
    marked = torch.cat([across.flatten(), along.flatten()]).cpu()
    number[marked] = torch.arange(int(marked.sum()))
    first, second = (
        number[: across.numel()].reshape(across.shape),
        number[across.numel() :].reshape(along.shape),
    )
    root = list(range(int(marked.sum())))

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    # bottom, right, top, left edge of every cell
    around = torch.stack([first[:, :-1], second[1:], first[:, 1:], second[:-1]], dim=-1)
    crossed = (around >= 0).sum(dim=-1)
    for edges in around[(crossed == 2) | (crossed == 3)].tolist():
        inside = [k for k in edges if k >= 0]
        for k in inside[1:]:
            root[find(k)] = find(inside[0])
    double = torch.nonzero(crossed == 4)
    if len(double):
        i, j = double[:, 0], double[:, 1]
        low, high = values[i, j] * values[i + 1, j + 1], values[i + 1, j] * values[i, j + 1]
        saddle = (low - high) / (values[i, j] + values[i + 1, j + 1] - values[i + 1, j] - values[i, j + 1])
        same = (saddle > 0) == sign[i, j]
        for (i, j), joined in zip(double.tolist(), same.tolist(), strict=True):
            bottom, right, top, left = around[i, j].tolist()
            # Its saddle has the sign of the lower left corner: the curves cut off the two other corners.
            pairs = ((bottom, right), (top, left)) if joined else ((bottom, left), (top, right))
            for k, other in pairs:
                root[find(k)] = find(other)
    points = torch.cat([_zeros(x, y, values, across, 0), _zeros(x, y, values, along, 1)])
    ends = torch.cat([_at_edge(across, 1), _at_edge(along, 0)])
    blanks = bool(blank.any())
    notes = ("where phi is rounding, its zeros are not told apart",) if blanks else ()
    labels = torch.tensor([find(k) for k in range(len(root))], dtype=torch.long, device=points.device)
    return Curves(points, labels, ends, notes)


def _zeros(x: Tensor, y: Tensor, values: Tensor, edges: Tensor, axis: int) -> Tensor:
    """Return the zeros on marked edges along an axis, by linear interpolation."""
    i, j = torch.nonzero(edges, as_tuple=True)
    i2, j2 = (i + 1, j) if axis == 0 else (i, j + 1)
    low, high = values[i, j], values[i2, j2]
    share = low / (low - high)
    return torch.stack([x[i] + share * (x[i2] - x[i]), y[j] + share * (y[j2] - y[j])], dim=1)


def _at_edge(edges: Tensor, axis: int) -> Tensor:
    """Return for each marked edge whether it lies on the border of the grid; ``axis`` is the one across it."""
    where = torch.nonzero(edges)[:, axis]
    return (where == 0) | (where == edges.shape[axis] - 1)
