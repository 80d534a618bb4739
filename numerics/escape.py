r"""Where runs to infinity lead: which parameters grow, and the limit of the risk.

At the place where a run was given up, the *growing* parameters are those within a fifth of the largest.  They are multiplied by 1, 2 and
4 in small steps, after each of which Newton's method brings the gradient to zero in all parameters but the largest.  Three values of
the risk in geometric progression give their limit (Aitken); it is believed if the differences fall by half at least, or vanish to rounding,
and if it is close to where the run was given up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import trained
from numerics.tolerances import FINE_ZERO_EIGENVALUE

__all__ = ["Limits", "limits"]

#: A parameter grows if its size is this fraction of the largest.
GROWING = 0.2
#: Factors by which the growing parameters are multiplied.
FACTORS = (1.0, 2.0, 4.0)
#: Newton steps of the others at each factor, and up to which gradient, relative to the largest entry of the Hessian or 1.
STEPS, SETTLED = 15, 1e-8
#: Between two factors the parameters grow in so many steps, with so many Newton steps after each: weights that shrink as others grow
#: are then off by a tenth at most.
BETWEEN, SHORT = 8, 4
#: Largest distance of the limit from the value where the run was given up, relative to that.
CLOSE = 0.05
#: Differences of values up to this, relative to 1 + |value|, are rounding.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Limits:
    """For each run: mask of the growing parameters (E, P), value (E,), limit and its error (E,), NaN where there is none."""

    growing: Tensor
    value: Tensor
    limit: Tensor
    error: Tensor


def limits(system: CompiledSystem, theta: Tensor) -> Limits:
    """Follow runs to infinity further out.

    Parameters
    ----------
    system : CompiledSystem
        In float64.
    theta : Tensor
        Where the runs were given up, (E, P).
    """
    free = trained(system)
    size = torch.zeros_like(theta)
    size[:, free] = theta[:, free].abs()
    growing = size > GROWING * size.amax(dim=1, keepdim=True)
    value, values, settled = system.value(theta), [], torch.ones_like(theta[:, 0], dtype=torch.bool)
    point = theta.clone()
    moves = torch.zeros_like(growing)
    moves[:, free] = True
    moves.scatter_(1, size.argmax(dim=1, keepdim=True), value=False)
    for j, factor in enumerate(FACTORS):
        grown = (factor / FACTORS[j - 1]) ** (1 / BETWEEN) if j else 1.0
        for _ in range(BETWEEN if j else 0):
            point = torch.where(growing, point * grown, point)
            point, _ = _settle(system, point, moves, SHORT)
        point, gradient = _settle(system, point, moves, STEPS)
        settled &= gradient <= SETTLED
        values.append(system.value(point))
    first, second, third = values
    before, after = second - first, third - second
    tiny = after.abs() <= ROUNDING * (1 + third.abs())
    ratio = before / torch.where(tiny, torch.ones_like(after), after)
    limit = torch.where(tiny, third, third + after / (ratio - 1))
    believed = settled & torch.isfinite(limit) & (tiny | (ratio >= 2))
    believed &= (limit - value).abs() <= CLOSE * value.abs() + ROUNDING
    nan = torch.full_like(limit, torch.nan)
    return Limits(
        growing, value, torch.where(believed, limit, nan), torch.where(believed, (limit - third).abs(), nan)
    )


def _settle(system: CompiledSystem, point: Tensor, moves: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Newton's method on the parameters that move; return the points and the relative gradient left."""
    size = torch.full_like(point[:, 0], torch.inf)
    for _ in range(steps):
        _, gradient, hessian = system.value_gradient_hessian(point)
        gradient = torch.where(moves, gradient, 0.0)
        scale = torch.nan_to_num(hessian.abs().amax(dim=(1, 2)), nan=1.0).clamp(min=1.0)
        size = gradient.abs().amax(dim=1) / scale
        if bool((size <= SETTLED / 1e3).all()):
            break
        both = moves[:, :, None] & moves[:, None, :]
        finite = torch.isfinite(hessian).all(dim=2).all(dim=1)
        hessian = torch.where(both & finite[:, None, None], hessian, 0.0)
        inverse = torch.linalg.pinv(hessian, rtol=FINE_ZERO_EIGENVALUE, hermitian=True)
        step = (inverse @ torch.nan_to_num(gradient)[..., None])[..., 0]
        step = step * (1 / step.abs().amax(dim=1).clamp(min=1.0))[:, None]
        point = torch.where(moves & finite[:, None], point - step, point)
    return point, torch.nan_to_num(size, nan=torch.inf)
