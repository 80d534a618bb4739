r"""The point of least norm in the convex hull of finitely many points, and what follows from it.

Wolfe's method (1976): a corral of affinely independent points is enlarged by the point that lies deepest behind the
hyperplane through the present candidate, and shrunk until its affine minimiser is a convex combination.

By Gordan's theorem a direction v with :math:`u_j \cdot v > 0` for all j exists iff 0 is not in the hull of the
:math:`u_j`; so the sign patterns that a set of linear forms takes are found by the same method.

>>> point, weights = min_norm(torch.tensor([[2.0, 1.0], [2.0, -3.0]], dtype=torch.float64))
>>> point.tolist(), weights.tolist()
([2.0, 0.0], [0.75, 0.25])
>>> sign_patterns(torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)).tolist()
[[1.0, 1.0], [-1.0, -1.0]]
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["TooManyPatterns", "min_norm", "sign_patterns"]

TOLERANCE = 1e-12
"""Relative accuracy of the optimality conditions; rounding of the Gram matrix is 1e-16 times the number of points."""
MOST_PATTERNS = 512
"""Cells enumerated at one point."""


class TooManyPatterns(ValueError):
    """More cells meet at a point than are enumerated."""


def min_norm(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the point of least norm in the hull and its convex weights.

    Parameters
    ----------
    points : Tensor, shape (k, P)
        In float64, k >= 1.

    Returns
    -------
    Tensor, Tensor
        Shapes (P,) and (k,). The point is unique; the weights are one choice.
    """
    size = float(points.square().sum(1).max())
    corral = [int(points.square().sum(1).argmin())]
    weights = torch.ones(1, dtype=points.dtype, device=points.device)
    for _ in range(20 * len(points) + 20):
        x = weights @ points[corral]
        gaps = points @ x
        deepest = int(gaps.argmin())
        if float(x @ x - gaps[deepest]) <= TOLERANCE * size or deepest in corral:
            break
        corral.append(deepest)
        weights = torch.cat([weights, weights.new_zeros(1)])
        while True:
            affine = _affine_minimiser(points[corral])
            if bool((affine > TOLERANCE).all()):
                weights = affine
                break
            falling = affine <= TOLERANCE
            steps = weights[falling] / (weights[falling] - affine[falling]).clamp_min(TOLERANCE)
            step = float(steps.min().clamp(0, 1))
            weights = step * affine + (1 - step) * weights
            keep = weights > TOLERANCE
            if bool(keep.all()):  # rounding: drop the smallest, so that the loop ends
                keep[int(weights.argmin())] = False
            corral = [j for j, stays in zip(corral, keep.tolist(), strict=True) if stays]
            weights = weights[keep] / weights[keep].sum()
    full = points.new_zeros(len(points))
    full[corral] = weights
    return full @ points, full


def _affine_minimiser(points: Tensor) -> Tensor:
    """Weights, summing to 1, of the point of least norm in the affine hull."""
    base, rest = points[0], points[1:]
    if not len(rest):
        return points.new_ones(1)
    edges = (rest - base).T
    solution = torch.linalg.lstsq(edges, -base[:, None], driver="gelsd").solution[:, 0]
    return torch.cat([1 - solution.sum()[None], solution])


def sign_patterns(forms: Tensor) -> Tensor:
    r"""Return the sign vectors :math:`(\operatorname{sgn} u_j \cdot v)_j` without zeros that some v realises.

    Parameters
    ----------
    forms : Tensor, shape (k, P)
        Rows u_j, none zero.

    Returns
    -------
    Tensor, shape (patterns, k)
        Entries 1 and -1.

    Raises
    ------
    TooManyPatterns
        If there are more than 512.
    """
    units = forms / torch.linalg.vector_norm(forms, dim=1, keepdim=True)
    if len(units) and int(torch.linalg.matrix_rank(units, rtol=1e-10)) == len(units):
        if 2 ** len(units) > MOST_PATTERNS:
            raise TooManyPatterns(f"{len(units)} independent kinks meet in one neuron or sample")
        signs = torch.tensor([1.0, -1.0], dtype=forms.dtype, device=forms.device)
        return torch.cartesian_prod(*[signs] * len(units)).reshape(-1, len(units))
    found: list[list[float]] = [[]]
    for number in range(len(units)):
        grown = []
        for pattern in found:
            for side in (1.0, -1.0):
                signs = units.new_tensor([*pattern, side])
                point, _ = min_norm(signs[:, None] * units[: number + 1])
                if float(point @ point) > 1e-20:
                    grown.append([*pattern, side])
        found = grown
        if len(found) > MOST_PATTERNS:
            raise TooManyPatterns(f"more than {MOST_PATTERNS} cells meet at one point")
    return units.new_tensor(found).reshape(-1, len(units))
