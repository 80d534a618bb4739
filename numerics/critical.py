r"""Batched multi-start search for critical points, grad R(theta) = 0, of every index.

Two iterations share one batched eigendecomposition of the derived Hessian H = Q diag(lambda) Q^T:

* ``stationary``: Levenberg-Marquardt on the gradient, step :math:`-\sum_j \lambda_j/(\lambda_j^2 + \mu) q_j q_j^T g`,
  which decreases |g| and is attracted by critical points of every index;
* ``descent``: modified Newton, step :math:`-\sum_j q_j q_j^T g/(|\lambda_j| + \mu)`, which decreases R.

Rows that grow beyond ``max_norm`` while the gradient vanishes are runs to infinity, never points.  Rows that end at
a positive local minimum of |g| are unconverged and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.tolerances import (
    FINE_ZERO_EIGENVALUE,
    LARGEST_PARAMETER,
    NEWTON_GRADIENT,
    NEWTON_STEP,
    ZERO_EIGENVALUE,
)

__all__ = ["SearchResult", "find_critical_points", "polish", "starts"]

#: Starts are drawn at these scales in turn: near zero, of order one, and in the saturated range.
SCALES = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class SearchResult:
    """Converged points (K, P) with their gradient norms, and how the other starts ended."""

    theta: Tensor
    gradient_norm: Tensor
    runs_to_infinity: int
    unconverged: int


def starts(system: CompiledSystem, count: int, seed: int) -> Tensor:
    """Return (count, P) Gaussian starts, the scales taken in turn; the same seed gives the same starts anywhere."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(count, system.P, generator=generator, dtype=torch.float64)
    scale = torch.tensor([SCALES[j % len(SCALES)] for j in range(count)], dtype=torch.float64)
    return (draws * scale[:, None]).to(dtype=system.dtype, device=system.device)


def find_critical_points(
    system: CompiledSystem,
    theta0: Tensor,
    *,
    tolerance: float = NEWTON_GRADIENT,
    max_norm: float = LARGEST_PARAMETER,
    max_steps: int = 300,
    progress: Callable[[float], None] | None = None,
) -> SearchResult:
    """Search from every row of ``theta0`` (B, P); odd rows by ``descent``, even rows by ``stationary``.

    Parameters
    ----------
    tolerance : float
        A row has converged when the largest gradient entry is below ``tolerance`` times max(1, largest Hessian entry)
        and the Newton step from there is short: a gradient that dies out on the way to infinity is no critical point.
    max_norm : float
        Largest entry of theta a point may have; saturated networks have tiny gradients and wrong inertia beyond.
    progress : callable, optional
        Called with the fraction of finished rows.

    Raises
    ------
    ValueError
        If a block is frozen.
    """
    frozen = [block.name for block in system.problem.blocks if not block.trained]
    if frozen:
        raise ValueError(
            f"blocks {', '.join(frozen)} are frozen; the search moves every block, leave freeze empty"
        )
    theta = theta0.clone()
    count = theta.shape[0]
    descends = torch.arange(count, device=theta.device) % 2 == 1
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
        value, gradient, hessian = system.value_gradient_hessian(point)
        size = gradient.abs().amax(dim=1)
        norms[rows] = size
        done = size <= tolerance * hessian.abs().amax(dim=(1, 2)).clamp(min=1.0)
        if bool(done.any()):
            step_size = _newton_step(gradient[done], hessian[done]).abs().amax(dim=1)
            done[done.clone()] = step_size <= NEWTON_STEP
        large = point.abs().amax(dim=1) > max_norm
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
        weight = torch.where(
            (down & ~close)[:, None],
            1 / (eigenvalues.abs() + mu[rows][:, None]),
            eigenvalues / (eigenvalues**2 + (mu[rows] * size[go].clamp(max=1.0))[:, None].square() + 1e-30),
        )
        trial = point - torch.einsum("bij,bj->bi", vectors, weight * projected)
        new_value, new_gradient = system.value_gradient(trial)
        better = torch.where(
            down & ~close,
            new_value < value,
            new_gradient.square().sum(dim=1) < gradient.square().sum(dim=1),
        )
        # Next to an ill-conditioned point a good Newton step can raise the gradient; what must shrink is the next step
        # (Deuflhard's natural monotonicity test).
        scaled = weight * torch.einsum("bij,bi->bj", vectors, new_gradient)
        better |= close & (scaled.square().sum(dim=1) < 0.25 * (weight * projected).square().sum(dim=1))
        theta[rows[better]] = trial[better]
        mu[rows] = torch.where(better, mu[rows] / 3, mu[rows] * 4).clamp(1e-12, 1e8)
        rejected[rows] = torch.where(better, 0, rejected[rows] + 1)
        state[rows[(rejected[rows] > 25)]] = 3
    converged = state == 1
    if progress is not None:
        progress(1.0)
    return SearchResult(
        theta[converged], norms[converged], int((state == 2).sum()), int(((state == 3) | (state == 0)).sum())
    )


def _newton_step(gradient: Tensor, hessian: Tensor, rtol: float = ZERO_EIGENVALUE) -> Tensor:
    # On the way to infinity gradient and Hessian vanish together and the step stays of the order of 1 / |theta|; at
    # a critical point it is as small as the gradient.  Flat directions, of zero eigenvalue, do not count.
    inverse = torch.linalg.pinv(hessian, rtol=rtol, hermitian=True)
    return (inverse @ gradient[..., None])[..., 0]


def polish(system: CompiledSystem, theta: Tensor, steps: int = 6) -> tuple[Tensor, Tensor]:
    """Return (theta, largest gradient entry) after Newton steps with the pseudo-inverse.

    A step is taken if it lowers the gradient or halves the Newton step that follows (natural monotonicity test,
    Deuflhard, Newton Methods for Nonlinear Problems, section 2.1); the point with the lowest gradient is returned.
    """
    best = point = theta.clone()
    gradient = system.gradient(point)
    size = gradient.abs().amax(dim=-1)
    going = torch.ones_like(size, dtype=torch.bool)
    # Two last steps with a finer cut reach along directions that are flat, but not to rounding.
    for rtol in [ZERO_EIGENVALUE] * steps + [FINE_ZERO_EIGENVALUE] * 2:
        hessian = system.hessian(point)
        step = _newton_step(gradient, hessian, rtol)
        trial = point - step
        new_gradient = system.gradient(trial)
        new_size = new_gradient.abs().amax(dim=-1)
        natural = _newton_step(new_gradient, hessian, rtol).norm(dim=-1) <= 0.5 * step.norm(dim=-1)
        going &= natural | (new_size < size)
        point = torch.where(going[..., None], trial, point)
        gradient = torch.where(going[..., None], new_gradient, gradient)
        better = going & (new_size < size)
        best = torch.where(better[..., None], trial, best)
        size = torch.where(better, new_size, size)
    return best, size
