r"""What the null space of the Hessian of a critical point means: a critical manifold, or a zero of higher order.

Let N span the null space of H at a critical point, or the part of it that no known symmetry explains.  For a null direction d and
a step h, Newton's method in the complement of N leads from :math:`\theta + h d` to the point where the gradient has components in N
only (the reduction of Lyapunov and Schmidt): the gradient of the *reduced risk* of as many variables as N has.  Near the point,
critical points are those where that vanishes.

* It vanishes in every direction tried: the critical points form a manifold with tangent space N, measured to rounding.  A
  semidefinite Hessian then belongs to a minimum or maximum that is not strict (Morse and Bott).
* It does not: the manifold is smaller.  Its dimension is that of the null space at critical points close by that pass the
  test themselves.  The sign of the reduced gradient in one variable, on both sides and at two distances, tells minimum from saddle; in
  several variables a direction in which the reduced risk falls shows a saddle, and nothing is concluded from not finding one.

All of it is measurement: steps and bounds are below.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import polish, trained
from numerics.spectrum import spectrum
from numerics.tolerances import POLISHED_GRADIENT, ZERO_EIGENVALUE

__all__ = ["LocalSet", "local_set"]

#: Steps along a null direction, relative to 1 + max |theta|, the longest first; a shorter one is tried where Newton's
#: method does not come back to the floor of the valley.
STEPS = (0.03, 0.01, 0.003)
#: Newton steps in the complement; from 0.03 three to five reach rounding.
CORRECTIONS = 12
#: Gradients up to so many times ``POLISHED_GRADIENT`` are rounding.  On manifolds 0.1 was seen, and a zero of third order
#: (a risk like t^4) leaves 1e-6 at the shortest step.
ROUNDING = 20.0
#: Random null directions beside the basis, and how many of all are tried at most.
RANDOM, MOST = 3, 24
#: A critical point counts as moved if it lies this fraction of the step away at least.
MOVED = 0.3


@dataclass(frozen=True)
class LocalSet:
    """The critical points around one, as measured.

    Attributes
    ----------
    nullity : int
        Dimension of the part N of the null space that was tested.
    dimension : int
        Dimension of the critical manifold in it.
    reduced : str or None
        ``flat`` where that is all of N; else what the reduced risk has there: ``minimum``, ``maximum`` or ``saddle``; ``falls`` where
        it falls in some direction and more is not known; None where nothing is.
    """

    nullity: int
    dimension: int
    reduced: str | None


def local_set(
    system: CompiledSystem, theta: Tensor, explained: Tensor | None = None, scale: float = 0.0
) -> LocalSet:
    """Measure the critical set around a critical point.

    Parameters
    ----------
    system : CompiledSystem
        In float64.
    theta : Tensor
        The point (P,), polished.
    explained : Tensor, optional
        Vectors (P, t) tangent to orbits of symmetries; they are left out of N.
    scale : float
        As for ``numerics.spectrum.spectrum``.
    """
    null = _null_space(system, theta, scale)
    null = _without(null, None if explained is None else explained[trained(system)])
    count = null.shape[1]
    if count == 0:
        return LocalSet(0, 0, "flat")
    directions = _directions(null)
    for step in STEPS:
        floor = _floor(system, theta, null, directions, step * (1 + float(theta.abs().max())))
        if floor.reached:
            break
    if floor.reached and floor.flat:
        return LocalSet(count, count, "flat")
    return LocalSet(count, _smaller(system, theta, null, floor, scale), _reduced(system, theta, null, floor))


@dataclass(frozen=True)
class _Floor:
    """Points (D, P) on the floor of the valley beyond directions (D, F), with the gradient along N there (D, count)."""

    step: float
    directions: Tensor
    points: Tensor
    along: Tensor
    rounding: float
    reached: bool

    @property
    def flat(self) -> bool:
        return bool((self.along.abs() <= self.rounding).all())


def _null_space(system: CompiledSystem, theta: Tensor, scale: float) -> Tensor:
    free = trained(system)
    found = spectrum(system.hessian(theta)[free, :][:, free], scale)
    first = found.inertia.negative
    return found.vectors[:, first : first + found.inertia.zero]


def _without(null: Tensor, explained: Tensor | None) -> Tensor:
    """Return an orthonormal basis of the part of ``null`` orthogonal to ``explained``."""
    if explained is None or explained.shape[1] == 0 or null.shape[1] == 0:
        return null
    inside = null.T @ explained
    left, sizes, _ = torch.linalg.svd(inside, full_matrices=True)
    rank = int((sizes > 1e-8 * sizes.max().clamp(min=1e-300)).sum()) if sizes.numel() else 0
    return null @ left[:, rank:]


def _directions(null: Tensor) -> Tensor:
    """Return unit vectors (D, F) of the null space, each with its opposite."""
    count = null.shape[1]
    generator = torch.Generator().manual_seed(count)
    mixed = torch.randn(RANDOM if count > 1 else 0, count, generator=generator, dtype=null.dtype)
    chosen = torch.cat([torch.eye(count, dtype=null.dtype)[: MOST - RANDOM], mixed]).to(null.device)
    chosen = chosen / chosen.norm(dim=1, keepdim=True)
    return torch.cat([chosen, -chosen]) @ null.T


def _floor(system: CompiledSystem, theta: Tensor, null: Tensor, directions: Tensor, step: float) -> _Floor:
    free = trained(system)
    across = torch.eye(len(free), dtype=null.dtype, device=null.device) - null @ null.T
    points = theta.repeat(len(directions), 1)
    points[:, free] += step * directions
    reached, rounding = False, 0.0
    for _ in range(CORRECTIONS):
        _, gradient, hessian = system.value_gradient_hessian(points)
        gradient, hessian = gradient[:, free], hessian[:, free, :][:, :, free]
        if not bool(torch.isfinite(hessian).all()):
            break
        rounding = ROUNDING * POLISHED_GRADIENT * max(1.0, float(hessian.abs().max()))
        if bool(((gradient @ across).abs() <= rounding / 10).all()):
            reached = True
            break
        inverse = torch.linalg.pinv(across @ hessian @ across, rtol=ZERO_EIGENVALUE, hermitian=True)
        points[:, free] -= (inverse @ gradient[..., None])[..., 0]
    moved = (points[:, free] - theta[free]).norm(dim=1)
    reached = reached and bool((moved <= 3 * step).all())
    return _Floor(step, directions, points, system.gradient(points)[:, free] @ null, rounding, reached)


def _smaller(system: CompiledSystem, theta: Tensor, null: Tensor, floor: _Floor, scale: float) -> int:
    """Return the dimension of a manifold through the point that is smaller than the null space."""
    around = _around(system, theta, torch.nan_to_num(floor.points), floor.step)
    points, size = polish(system, around, steps=4)
    best = 0
    for point, gradient in zip(points, size, strict=True):
        apart = float((point - theta).norm())
        if float(gradient) > floor.rounding or not MOVED * floor.step <= apart <= 3 * floor.step:
            continue
        there = _null_space(system, point, scale)
        if not best < there.shape[1] < null.shape[1]:
            continue
        short = STEPS[-1] * (1 + float(point.abs().max()))
        near = _floor(system, point, there, _directions(there), short)
        if near.reached and near.flat:
            best = there.shape[1]
    return best


def _around(system: CompiledSystem, theta: Tensor, start: Tensor, step: float) -> Tensor:
    """Return points where the gradient is radial: Newton's method, plain and descending, at a fixed distance from theta.

    Without the constraint Newton's method for a homogeneous reduced risk goes straight back to theta.
    """
    free = trained(system)
    points = torch.cat([start, start])
    plain = torch.arange(len(points), device=points.device) < len(start)
    for _ in range(CORRECTIONS):
        _, gradient, hessian = system.value_gradient_hessian(points)
        gradient, hessian = gradient[:, free], hessian[:, free, :][:, :, free]
        if not bool(torch.isfinite(hessian).all()):
            return start
        radius = points[:, free] - theta[free]
        unit = radius / radius.norm(dim=1, keepdim=True).clamp(min=1e-300)
        across = (
            torch.eye(len(free), dtype=unit.dtype, device=unit.device) - unit[:, :, None] * unit[:, None, :]
        )
        # the second variation on the sphere has the radial slope besides the Hessian
        slope = (gradient * unit).sum(dim=1) / radius.norm(dim=1).clamp(min=1e-300)
        values, vectors = torch.linalg.eigh(across @ (hessian - slope[:, None, None] * across) @ across)
        cut = ZERO_EIGENVALUE * values.abs().amax(dim=1, keepdim=True).clamp(min=1e-300)
        inverse = torch.where(values.abs() <= cut, 0.0, 1 / torch.where(plain[:, None], values, values.abs()))
        across_gradient = torch.einsum("bij,bj->bi", across, gradient)
        move = -torch.einsum("bij,bj,bkj,bk->bi", vectors, inverse, vectors, across_gradient)
        move = move * (0.5 * step / move.norm(dim=1).clamp(min=1e-300)).clamp(max=1.0)[:, None]
        radius = radius + move
        points = points.clone()
        points[:, free] = theta[free] + radius * (step / radius.norm(dim=1, keepdim=True))
    return points


def _reduced(system: CompiledSystem, theta: Tensor, null: Tensor, floor: _Floor) -> str | None:
    """Compare the slopes of the reduced risk, outwards, at two distances."""
    if not floor.reached:
        return None
    half = _floor(system, theta, null, floor.directions, floor.step / 2)
    if not half.reached:
        return None
    signs = []
    for at in (floor, half):
        slope = (at.along * (at.directions @ null)).sum(dim=1)
        signs.append(torch.where(slope.abs() <= at.rounding, 0.0, slope.sign()))
    same = signs[0] == signs[1]
    falls = bool(((signs[0] < 0) & same).any())
    if null.shape[1] == 1 and bool(same.all()) and bool((signs[0] != 0).all()):
        return "saddle" if bool((signs[0] != signs[0][0]).any()) else "maximum" if falls else "minimum"
    rises = bool(((signs[0] > 0) & same).any())
    return "saddle" if falls and rises else "falls" if falls else None
