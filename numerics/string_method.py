r"""Paths of steepest descent between two minima: a string of images, each relaxed across the path, equally spaced along it.

For images :math:`\theta_0, \ldots, \theta_I` between two minima, with unit tangents :math:`t_i`, every interior image follows the flow of the
gradient across the path, :math:`g_\perp = (1 - t t^\top)\nabla R`, and the images are then spread anew at equal arc lengths.  Where
:math:`g_\perp = 0` all along, the path is one of steepest descent, and its highest points are saddles.  The flow across the path is stiff, so
each step takes that of the linear system exactly,

.. math:: \delta\theta = -\sum_j \frac{1 - e^{-h\lambda_j}}{\lambda_j}\, (q_j \cdot g_\perp)\, q_j ,

with the eigenpairs of the Hessian projected across the path; a large step h is Newton's method in the stable directions and leaves the
unstable ones.  A step is not longer than a fifth of the distance of two images, and one that would raise the risk is not
done.  The tangents point to the higher neighbour, without which strings fold.

What is returned is a path: the largest risk on it, looked at between the images as well, bounds from above, up to that sampling, the lowest
risk over which the two ends are joined.  That no path is lower is not claimed.

Source: E, Ren, Vanden-Eijnden, J. Chem. Phys. 126 (2007) 164103 (string method); Henkelman, Uberuaga, Jonsson, J. Chem. Phys. 113
(2000) 9901 (nudged elastic band).

>>> def double_well(theta):  # (x^2 - 1)^2 + (y - x^2 + 1)^2 with minima at (-1, 0), (1, 0) and its saddle at (0, -1)
...     x, y = theta[..., 0], theta[..., 1]
...     u, v = x**2 - 1, y - x**2 + 1
...     gradient = torch.stack([4 * x * u - 4 * x * v, 2 * v], dim=-1)
...     hessian = torch.stack([torch.stack([12 * x**2 - 4 - 4 * v + 8 * x**2, -4 * x], dim=-1),
...                            torch.stack([-4 * x, 2 + 0 * x], dim=-1)], dim=-2)
...     return u**2 + v**2, gradient, hessian
>>> ends = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
>>> found = relax(double_well, ends)
>>> [abs(round(u, 2)) for u in found.tops[0][0].tolist()], round(float(found.highest[0]), 3)
([0.0, 1.0], 1.0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Strings", "relax"]

#: Images of a string, ends included, and places between two images at which the risk is looked at.
IMAGES, BETWEEN = 21, 8
#: Iterations at most, and the largest step of an image, relative to the length of the string, at which a string is at rest.
ITERATIONS, AT_REST = 120, 1e-6
#: Step of the flow at first and at most, in units of 1 / (largest eigenvalue of the Hessian on the string), by how much it grows, and is cut.
FIRST, LAST, GROWTH, CUT = 1.0, 1e3, 1.4, 8.0
#: How far a string starts off the straight line, relative to its length: a line that a symmetry keeps may lead over a summit.
BOW = 0.05
#: Longest move of an image, relative to the distance of two images; longer ones fold the string.
FARTHEST = 0.2
#: Iterations at least, and rise of the risk that is rounding, relative to 1 + |R|.
SHORTEST, ROUNDING = 20, 1e-15
#: Largest growth exponent of an unstable direction within one step.
UNSTABLE = 1.0

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Strings:
    """Relaxed strings.

    Attributes
    ----------
    path : Tensor (B, I, P)
        Images, the given ends first and last.
    value : Tensor (B, I)
        Risk at the images.
    highest : Tensor (B,)
        Largest risk seen on the straight pieces between the images.
    tops : tuple of Tensor (K, P)
        For each string the images that are higher than their neighbours, the highest first.
    residual : Tensor (B,)
        Largest gradient across the path.
    iterations : int
        How many were done.
    """

    path: Tensor
    value: Tensor
    highest: Tensor
    tops: tuple[Tensor, ...]
    residual: Tensor
    iterations: int


def relax(
    evaluate: Evaluate,
    ends: Tensor,
    *,
    value: Callable[[Tensor], Tensor] | None = None,
    images: int = IMAGES,
    iterations: int = ITERATIONS,
    progress: Callable[[float], None] | None = None,
) -> Strings:
    """Relax nearly straight strings between pairs of minima.

    Parameters
    ----------
    evaluate : callable
        Takes (..., P); returns risk (...), gradient (..., P) and Hessian (..., P, P).
    ends : Tensor (B, 2, P)
        The two minima of each pair.
    value : callable, optional
        Takes (..., P); returns the risk alone, for less work.
    images : int
        Images of each string, ends included; at least 3.
    iterations : int
        Most iterations.
    progress : callable, optional
        Told the share that is done.

    Raises
    ------
    ValueError
        If there are fewer than 3 images, or the ends do not have the shape (B, 2, P).
    """
    if ends.ndim != 3 or ends.shape[1] != 2:
        raise ValueError(
            f"ends: found the shape {tuple(ends.shape)}; accepted: (B, 2, P), two minima for each string"
        )
    if images < 3:
        raise ValueError(f"images: found {images}; accepted: 3 or more, the two ends included")
    share = torch.linspace(0, 1, images, dtype=ends.dtype, device=ends.device)[None, :, None]
    aside = torch.randn(ends.shape[-1], generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        ends
    )
    bow = BOW * (ends[:, 1:] - ends[:, :1]).norm(dim=-1, keepdim=True) * aside / aside.norm()
    path = ends[:, :1] * (1 - share) + ends[:, 1:] * share + bow * share * (1 - share)
    risk = value or (lambda theta: evaluate(theta)[0])
    step = torch.full(path[:, 1:-1].shape[:2], FIRST, dtype=ends.dtype, device=ends.device)
    done = 0
    for done in range(1, iterations + 1):
        inner = path[:, 1:-1]
        level, gradient, hessian = evaluate(path)
        before = level[:, 1:-1]
        move = _step(gradient[:, 1:-1], hessian[:, 1:-1], _tangents(path, level), step)
        length = _lengths(path).sum(dim=1)
        most = FARTHEST * length / (images - 1)
        size = move.norm(dim=-1, keepdim=True)
        move = move * (most[:, None, None] / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp(max=1)
        # An image that would rise does not move, and tries a shorter step next time.
        falls = risk(inner + move) <= before + ROUNDING * (1 + before.abs())
        step = torch.where(falls, GROWTH * step, step / CUT).clamp(FIRST / CUT, LAST)
        inner = torch.where(falls[..., None], inner + move, inner)
        moved = _spread(torch.cat([path[:, :1], inner, path[:, -1:]], dim=1))
        change = (moved - path).norm(dim=-1).amax(dim=1) / length.clamp_min(torch.finfo(length.dtype).tiny)
        path = moved
        if progress is not None:
            progress(done / iterations)
        if done >= SHORTEST and float(change.max()) <= AT_REST:
            break
    levels, gradient, _ = evaluate(path)
    inner = gradient[:, 1:-1]
    tangent = _tangents(path, levels)
    rest = inner - (inner * tangent).sum(dim=-1, keepdim=True) * tangent
    tops = tuple(_tops(row, level) for row, level in zip(path, levels, strict=True))
    return Strings(path, levels, _highest(risk, path), tops, rest.norm(dim=-1).amax(dim=1), done)


def _step(gradient: Tensor, hessian: Tensor, tangent: Tensor, step: Tensor) -> Tensor:
    """Return the exact step of the linearised flow across the path."""
    count = gradient.shape[-1]
    largest = torch.linalg.matrix_norm(hessian, ord=2).amax(dim=-1)[:, None, None]
    off = (
        torch.eye(count, dtype=gradient.dtype, device=gradient.device)
        - tangent[..., :, None] * tangent[..., None, :]
    )
    levels, vectors = torch.linalg.eigh(off @ hessian @ off)
    parts = (vectors.transpose(-1, -2) @ (off @ gradient[..., None]))[..., 0]
    h = step[..., None] / largest.clamp_min(torch.finfo(largest.dtype).tiny)
    exponent = (h * levels).clamp(min=-UNSTABLE)
    # (1 - e^{-u}) / u, continued by 1 where u vanishes
    small = exponent.abs() < 1e-12
    factor = torch.where(
        small, torch.ones_like(exponent), -torch.expm1(-exponent) / torch.where(small, 1.0, exponent)
    )
    return -(vectors @ (h * factor * parts)[..., None])[..., 0]


def _tangents(path: Tensor, value: Tensor) -> Tensor:
    """Return unit tangents (B, I - 2, P): towards the higher neighbour, and at tops and dips the mean of both sides, the higher one weighing more."""
    ahead, behind = path[:, 2:] - path[:, 1:-1], path[:, 1:-1] - path[:, :-2]
    up, down = value[:, 2:] - value[:, 1:-1], value[:, :-2] - value[:, 1:-1]
    large, small = torch.maximum(up.abs(), down.abs()), torch.minimum(up.abs(), down.abs())
    higher = value[:, 2:] > value[:, :-2]
    monotone = (up > 0) != (down > 0)
    forward = torch.where(monotone, higher.to(up), torch.where(higher, large, small))
    backward = torch.where(monotone, 1 - higher.to(up), torch.where(higher, small, large))
    along = forward[..., None] * ahead + backward[..., None] * behind
    return along / along.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(along.dtype).tiny)


def _lengths(path: Tensor) -> Tensor:
    return (path[:, 1:] - path[:, :-1]).norm(dim=-1)


def _spread(path: Tensor) -> Tensor:
    """Return the images at equal arc lengths on the polygon through the given ones."""
    count = path.shape[1]
    reached = torch.cat([torch.zeros_like(path[:, :1, 0]), _lengths(path).cumsum(dim=1)], dim=1)
    wanted = torch.linspace(0, 1, count, dtype=path.dtype, device=path.device) * reached[:, -1:]
    right = torch.searchsorted(reached, wanted.contiguous()).clamp(1, count - 1)
    begin, end = reached.gather(1, right - 1), reached.gather(1, right)
    share = ((wanted - begin) / (end - begin).clamp_min(torch.finfo(path.dtype).tiny)).clamp(0, 1)[..., None]
    rows = right[..., None].expand(-1, -1, path.shape[-1])
    out = path.gather(1, rows - 1) * (1 - share) + path.gather(1, rows) * share
    out[:, 0], out[:, -1] = path[:, 0], path[:, -1]
    return out


def _tops(path: Tensor, value: Tensor) -> Tensor:
    inside = value[1:-1]
    where = torch.nonzero((inside >= value[:-2]) & (inside > value[2:])).flatten() + 1
    return path[where[value[where].argsort(descending=True)]]


def _highest(risk: Callable[[Tensor], Tensor], path: Tensor) -> Tensor:
    """Return the largest risk on the pieces: at places in between, and again more closely around the highest of them."""
    share = torch.linspace(0, 1, BETWEEN + 1, dtype=path.dtype, device=path.device)
    pieces = torch.cat([path[:, :-1] * (1 - s) + path[:, 1:] * s for s in share[:-1, None, None]], dim=2)
    looks = torch.cat([pieces.reshape(len(path), -1, path.shape[-1]), path[:, -1:]], dim=1)
    top = risk(looks).argmax(dim=1).clamp(1, looks.shape[1] - 2)
    rows = torch.arange(len(path), device=path.device)
    left, middle, right = (looks[rows, top + k] for k in (-1, 0, 1))
    close = [
        one * (1 - s) + two * s for one, two in ((left, middle), (middle, right)) for s in share[:, None]
    ]
    return risk(torch.stack(close)).amax(dim=0)
