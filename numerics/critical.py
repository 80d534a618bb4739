r"""Batched multi-start search for critical points, grad R(theta) = 0, of every index.

Two iterations share one batched eigendecomposition of the derived Hessian H = Q diag(lambda) Q^T:

* ``stationary``: Levenberg-Marquardt on the gradient, step :math:`-\sum_j \lambda_j/(\lambda_j^2 + \mu) q_j q_j^T g`,
  which decreases |g| and is attracted by critical points of every index;
* ``descent``: modified Newton, step :math:`-\sum_j q_j q_j^T g/(|\lambda_j| + \mu)`, which decreases R.

* ``following``, for saddles of a wanted index: the step of ``descent``, uphill along the eigenvectors of the lowest
  eigenvalues, as many as the index, and downhill along the others.

Rows that grow beyond ``max_norm`` while the gradient vanishes are runs to infinity, never points.  Rows that end at
a positive local minimum of |g| are unconverged and counted.  Known points can be *deflated*: the gradient is multiplied by
:math:`M(\theta) = 1 + \sum_k \lVert\theta - \theta_k\rVert^{-2}`, whose poles are stronger than the zeros of g, so that no
row ends there again; Newton's step for M g is the plain step times a number (Farrell, Birkisson, Funke 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from derivations.coercive import coercive
from numerics.compile import CompiledSystem
from numerics.tolerances import (
    FINE_ZERO_EIGENVALUE,
    LARGEST_PARAMETER,
    NEWTON_GRADIENT,
    NEWTON_STEP,
    ZERO_EIGENVALUE,
)

__all__ = [
    "SearchResult",
    "confined",
    "curvature_scale",
    "find_critical_points",
    "polish",
    "settle",
    "starts",
    "starts_around",
    "still_along_flat",
    "trained",
]

#: Starts are drawn at these scales in turn: near zero, of order one, and in the saturated range.
SCALES = (0.3, 1.0, 3.0)
#: And next to known points at these.
NEAR = (0.1, 0.3, 1.0)
#: Newton steps that settle a point, and the length from which on they do; at a regular point it is 1e-14 after polishing.
SETTLING, SETTLED = 60, 1e-11
#: Largest gradient entry from which on a row that no step improves has stopped at a positive minimum of |g|; rows that approach a
#: degenerate point slowly are below.
STOPPED = 1e-4
#: Largest entry where the risk is coercive: iterations may wander, but do not run off.
FARTHEST = 1e4
#: Points at which the usual size of the Hessian is read off.
PROBED = 31
#: Largest gradient along a direction that the Hessian leaves flat, the data being of order one; 1e-11 is seen at critical points.
STILL = 1e-8
#: Longest step on the way to a saddle of a wanted index, relative to 1 + |theta|.
FOLLOWING_STEP = 0.2


@dataclass(frozen=True)
class SearchResult:
    """Converged points (K, P) with their gradient norms, how the other starts ended, and the runs to infinity (E, P).

    ``outcome`` (B,) is 1 for the starts whose points ``theta`` holds in their order, 2 for the runs to infinity, 4 for those that stopped
    where |g| has a minimum clearly above 0, 3 for the rest.
    """

    theta: Tensor
    gradient_norm: Tensor
    runs_to_infinity: int
    unconverged: int
    escaped: Tensor
    outcome: Tensor


def starts(system: CompiledSystem, count: int, seed: int) -> Tensor:
    """Return (count, P) Gaussian starts, the scales taken in turn; the same seed gives the same starts anywhere."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(count, system.P, generator=generator, dtype=torch.float64)
    scale = torch.tensor([SCALES[j % len(SCALES)] for j in range(count)], dtype=torch.float64)
    return (draws * scale[:, None]).to(dtype=system.dtype, device=system.device)


def starts_around(system: CompiledSystem, points: Tensor, count: int, seed: int) -> Tensor:
    """Return (count, P) starts next to points (K, P) in turn, in the trained parameters, at three distances."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(count, system.P, generator=generator, dtype=torch.float64).to(points)
    turn = torch.arange(count, device=points.device)
    scale = torch.tensor(NEAR, dtype=points.dtype, device=points.device)[(turn // len(points)) % len(NEAR)]
    out, free = points[turn % len(points)].clone(), trained(system)
    out[:, free] += scale[:, None] * draws[:, free]
    return out


def find_critical_points(
    system: CompiledSystem,
    theta0: Tensor,
    *,
    tolerance: float = NEWTON_GRADIENT,
    max_norm: float | None = None,
    max_steps: int = 300,
    index: int | Tensor | None = None,
    known: Tensor | None = None,
    progress: Callable[[float], None] | None = None,
) -> SearchResult:
    """Search from every row of ``theta0`` (B, P); odd rows by ``descent``, even rows by ``stationary``.

    Frozen blocks stay at the values of the starts.

    Parameters
    ----------
    tolerance : float
        A row has converged when the largest gradient entry is below ``tolerance`` times max(1, largest Hessian entry)
        and the Newton step from there is short: a gradient that dies out on the way to infinity is no critical point.
    max_norm : float, optional
        Largest entry of theta a trained parameter may have; saturated networks have tiny gradients and wrong inertia beyond.  By
        default ``LARGEST_PARAMETER``, or ``FARTHEST`` where the risk is coercive; there nothing runs to infinity.
    index : int or Tensor, optional
        Odd rows go by ``following`` to saddles with so many negative eigenvalues; they may end at others.  A tensor (B,) gives each
        row its own; rows with 0 go by ``descent``, those with -1 by ``stationary``.
    known : Tensor, optional
        Points (K, P) that are deflated; all rows then go by ``stationary``.
    progress : callable, optional
        Called with the fraction of finished rows.

    Raises
    ------
    ValueError
        If every block is frozen, or the index is larger than the number of trained parameters.
    """
    free = trained(system)
    if free.numel() == 0:
        raise ValueError("every block is frozen; the search needs a trained block")
    confines = confined(system)
    if max_norm is None:
        max_norm = FARTHEST if confines else LARGEST_PARAMETER
    theta = theta0.clone()
    count = theta.shape[0]
    descends = torch.arange(count, device=theta.device) % 2 == 1
    uphill = torch.zeros(count, dtype=torch.long, device=theta.device)
    if index is not None:
        uphill += torch.as_tensor(index, device=theta.device)
        plain = isinstance(index, Tensor)
        if bool(((uphill < (-1 if plain else 0)) | (uphill > free.numel())).any()):
            raise ValueError(
                f"index {index}: accepted are 0 to {free.numel()}, the number of trained parameters"
            )
        descends = uphill >= 0 if plain else descends
    if known is not None:
        descends[:] = False
    mu = torch.full((count,), 1e-2, dtype=theta.dtype, device=theta.device)
    state = torch.zeros(
        count, dtype=torch.long, device=theta.device
    )  # 0 running, 1 converged, 2 infinity, 3 failed
    rejected = torch.zeros(count, dtype=torch.long, device=theta.device)
    norms = torch.full((count,), torch.inf, dtype=theta.dtype, device=theta.device)
    for step in range(max_steps):
        rows = torch.nonzero(state == 0).flatten()
        if progress is not None:
            progress(max(1 - rows.numel() / count, step / max_steps))
        if rows.numel() == 0:
            break
        point = theta[rows]
        value, gradient, hessian = _restricted(system.value_gradient_hessian(point), free)
        size = gradient.abs().amax(dim=1)
        norms[rows] = size
        done = size <= tolerance * hessian.abs().amax(dim=(1, 2)).clamp(min=1.0)
        if bool(done.any()):
            step_size = _newton_step(gradient[done], hessian[done]).abs().amax(dim=1)
            done[done.clone()] = (step_size <= NEWTON_STEP) & still_along_flat(gradient[done], hessian[done])
        large = point[:, free].abs().amax(dim=1) > max_norm
        broken = ~torch.isfinite(size) | ~torch.isfinite(value)
        state[rows[done & ~large]] = 1
        state[rows[large]] = 2
        state[rows[broken]] = 3
        go = ~(done | large | broken)
        rows, point, value, gradient, hessian = rows[go], point[go], value[go], gradient[go], hessian[go]
        if rows.numel() == 0:
            continue
        eigenvalues, vectors = torch.linalg.eigh(hessian)
        projected = torch.einsum("bij,bi->bj", vectors, gradient)
        down = descends[rows]
        # Near a critical point both iterations are the full Newton step, so a descent ends quadratically as well.
        close = size[go] < 1e-5
        modified = 1 / (eigenvalues.abs() + mu[rows][:, None])
        modified[torch.arange(len(free), device=theta.device) < uphill[rows][:, None]] *= -1
        climbs = down & ~close & (uphill[rows] > 0)
        weight = torch.where(
            (down & ~close)[:, None],
            modified,
            eigenvalues / (eigenvalues**2 + (mu[rows] * size[go].clamp(max=1.0))[:, None].square() + 1e-30),
        )
        move = -torch.einsum("bij,bj->bi", vectors, weight * projected)
        factor, factor_slope = _deflation(point[:, free], None if known is None else known[:, free])
        if known is not None:
            damping = 1 - (factor_slope * move).sum(dim=1)
            move = move / torch.where(damping.abs() < 0.05, 0.05 * damping.sign() + 1e-30, damping)[:, None]
        if index is not None:
            # Nothing decreases on the way to a saddle of higher index; a bounded step takes the place of a merit.
            longest = FOLLOWING_STEP * (1 + point[:, free].norm(dim=1))
            shorter = (longest / move.norm(dim=1).clamp(min=1e-300)).clamp(max=1.0)
            move = torch.where(climbs[:, None], move * shorter[:, None], move)
        trial = point.clone()
        trial[:, free] += move
        new_value, new_gradient = system.value_gradient(trial)
        new_gradient = new_gradient[:, free]
        new_factor, _ = _deflation(trial[:, free], None if known is None else known[:, free])
        better = torch.where(
            down & ~close,
            torch.where(climbs, torch.isfinite(new_value), new_value < value),
            (new_factor**2 * new_gradient.square().sum(dim=1)) < factor**2 * gradient.square().sum(dim=1),
        )
        # Next to an ill-conditioned point a good Newton step can raise the gradient; what must shrink is the next step
        # (Deuflhard's natural monotonicity test).
        scaled = weight * torch.einsum("bij,bi->bj", vectors, new_gradient)
        better |= (
            close
            & (known is None)
            & (scaled.square().sum(dim=1) < 0.25 * (weight * projected).square().sum(dim=1))
        )
        theta[rows[better]] = trial[better]
        mu[rows] = torch.where(better, mu[rows] / 3, mu[rows] * 4).clamp(1e-12, 1e8)
        rejected[rows] = torch.where(better, 0, rejected[rows] + 1)
        state[rows[(rejected[rows] > 25)]] = 3
    if confines:
        state[state == 2] = 3
    converged = state == 1
    stopped = (state == 3) & torch.isfinite(norms) & (norms > STOPPED)
    if progress is not None:
        progress(1.0)
    return SearchResult(
        theta[converged],
        norms[converged],
        int((state == 2).sum()),
        int(((state == 3) | (state == 0)).sum()),
        theta[state == 2],
        torch.where(stopped, 4, torch.where(state == 0, 3, state)),
    )


def curvature_scale(system: CompiledSystem) -> float:
    """Return the size that entries of the Hessian usually have: the median of the largest entry at Gaussian points of order one.

    Against it eigenvalues are zero where the Hessian vanishes, as at a zero of higher order, where the largest eigenvalue is itself
    an error of the point.
    """
    free, points = trained(system), starts(system, len(SCALES) * PROBED, 0)[1 :: len(SCALES)]
    _, _, hessian = _restricted(system.value_gradient_hessian(points), free)
    largest = hessian.abs().amax(dim=(1, 2))
    finite = largest[torch.isfinite(largest)]
    return float(finite.median()) if len(finite) else 0.0


def confined(system: CompiledSystem) -> bool:
    """Whether the risk is shown to be coercive, so that no descent runs to infinity and no critical points lie there."""
    return coercive(system.problem).holds is True


def trained(system: CompiledSystem) -> Tensor:
    """Return the places of the trained parameters in theta, ascending."""
    spans = zip(system.problem.blocks, system.layout, strict=True)
    places = [torch.arange(where.start, where.stop) for block, (_, _, where) in spans if block.trained]
    return torch.cat(places or [torch.zeros(0, dtype=torch.long)]).to(system.device)


def _restricted(found: tuple[Tensor, Tensor, Tensor], free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut gradient and Hessian to the trained parameters."""
    value, gradient, hessian = found
    if len(free) == gradient.shape[-1]:
        return found
    return value, gradient[..., free], hessian[..., free, :][..., free]


def _deflation(theta: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return M (B,) and the gradient of log M (B, P)."""
    if known is None or len(known) == 0:
        return torch.ones_like(theta[:, 0]), torch.zeros_like(theta)
    apart = theta[:, None, :] - known
    weight = 1 / apart.square().sum(dim=2).clamp(min=1e-24)
    factor = 1 + weight.sum(dim=1)
    return factor, -2 * (weight.square()[..., None] * apart).sum(dim=1) / factor[:, None]


def _newton_step(gradient: Tensor, hessian: Tensor, rtol: float = ZERO_EIGENVALUE) -> Tensor:
    # On the way to infinity gradient and Hessian vanish together and the step stays of the order of 1 / |theta|; at
    # a critical point it is as small as the gradient.  Flat directions, of zero eigenvalue, do not count.
    inverse = torch.linalg.pinv(hessian, rtol=rtol, hermitian=True)
    return (inverse @ gradient[..., None])[..., 0]


def still_along_flat(gradient: Tensor, hessian: Tensor) -> Tensor:
    """Say for gradients (B, F) and Hessians (B, F, F) whether the gradient vanishes along the directions that count as flat, shape (B,).

    Where weights are large, a Hessian of size 1e19 makes a gradient of 100 small relative to it, and every direction of ordinary
    curvature flat; a point is critical only if these have a short Newton step of their own, or no gradient.
    """
    eigenvalues, vectors = torch.linalg.eigh(hessian)
    along = torch.einsum("bij,bi->bj", vectors, gradient).abs()
    size = eigenvalues.abs()
    flat = size <= ZERO_EIGENVALUE * size.amax(dim=1, keepdim=True)
    return (~flat | (along <= STILL) | (along <= NEWTON_STEP * size)).all(dim=1)


def polish(system: CompiledSystem, theta: Tensor, steps: int = 6) -> tuple[Tensor, Tensor]:
    """Return (theta, largest gradient entry) after Newton steps with the pseudo-inverse.

    A step is taken if it lowers the gradient or halves the Newton step that follows (natural monotonicity test,
    Deuflhard, Newton Methods for Nonlinear Problems, section 2.1); the point with the lowest gradient is returned.
    """
    best = point = theta.clone()
    free = trained(system)
    gradient = system.gradient(point)[..., free]
    size = gradient.abs().amax(dim=-1)
    going = torch.ones_like(size, dtype=torch.bool)
    # Two last steps with a finer cut reach along directions that are flat, but not to rounding.
    for rtol in [ZERO_EIGENVALUE] * steps + [FINE_ZERO_EIGENVALUE] * 2:
        hessian = system.hessian(point)[..., free, :][..., free]
        step = _newton_step(gradient, hessian, rtol)
        trial = point.clone()
        trial[..., free] -= step
        new_gradient = system.gradient(trial)[..., free]
        new_size = new_gradient.abs().amax(dim=-1)
        natural = _newton_step(new_gradient, hessian, rtol).norm(dim=-1) <= 0.5 * step.norm(dim=-1)
        going &= natural | (new_size < size)
        point = torch.where(going[..., None], trial, point)
        gradient = torch.where(going[..., None], new_gradient, gradient)
        better = going & (new_size < size)
        best = torch.where(better[..., None], trial, best)
        size = torch.where(better, new_size, size)
    return best, size


def settle(system: CompiledSystem, theta: Tensor) -> Tensor:
    """Take Newton steps at polished points (B, P) until the steps are short, not the gradient.

    Next to a critical point where the Hessian vanishes in some direction the gradient is at rounding level far from the point, and
    Newton's method approaches it by a constant factor only.  Without this every end of a search would be another point, with tiny
    eigenvalues of some sign.
    """
    free, point = trained(system), theta.clone()
    for _ in range(SETTLING):
        _, gradient, hessian = _restricted(system.value_gradient_hessian(point), free)
        step = _newton_step(gradient, hessian, FINE_ZERO_EIGENVALUE)
        length = step.abs().amax(dim=1)
        going = (length > SETTLED) & (length <= NEWTON_STEP) & torch.isfinite(length)
        if not bool(going.any()):
            break
        point[:, free] -= torch.where(going[:, None], step, 0.0)
    return point
