r"""Gauss-Legendre rules on the parts of an interval; the parts may differ from point to point.

>>> ends = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
>>> x, weight = spread(ends, points=2)
>>> round(float((weight * x**3).sum()), 12)  # two points are exact up to degree 3
4.0
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

__all__ = ["gauss_legendre", "spread"]


@cache
def gauss_legendre(points: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return nodes and weights on [-1, 1], the nodes by Newton's method on the Legendre polynomial.

    Raises
    ------
    ValueError
        If there is no point.
    """
    if points < 1:
        raise ValueError(f"a rule needs at least one point, got {points}")
    nodes, weights = [], []
    for j in range(points):
        x = -math.cos(math.pi * (j + 0.75) / (points + 0.5))
        for _ in range(50):
            value, slope = _legendre(points, x)
            step = value / slope
            x -= step
            if abs(step) <= 1e-15:
                break
        _, slope = _legendre(points, x)
        nodes.append(x)
        weights.append(2 / ((1 - x * x) * slope * slope))
    return tuple(nodes), tuple(weights)


def _legendre(degree: int, x: float) -> tuple[float, float]:
    """Return P_degree and its derivative at x inside (-1, 1)."""
    before, value = 1.0, x
    for j in range(2, degree + 1):
        before, value = value, ((2 * j - 1) * x * value - (j - 1) * before) / j
    return value, degree * (x * value - before) / (x * x - 1)


def spread(ends: Tensor, points: int, panels: int = 1) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of a rule on each part between neighbouring ends.

    Parameters
    ----------
    ends : Tensor
        Ascending ends of the parts, (..., parts + 1); a part may have length 0.
    points, panels : int
        Gauss points on each panel, and equal panels of each part.

    Returns
    -------
    tuple of Tensor
        Nodes and weights, each (..., parts * panels * points).
    """
    nodes, weights = (torch.tensor(u, dtype=ends.dtype, device=ends.device) for u in gauss_legendre(points))
    start, length = ends[..., :-1, None, None], ends.diff(dim=-1)[..., None, None]
    step = torch.arange(panels, dtype=ends.dtype, device=ends.device)[:, None]
    x = start + length * ((step + (nodes + 1) / 2) / panels)
    weight = (length * (weights / (2 * panels))).expand(x.shape)
    return x.flatten(-3), weight.flatten(-3)
