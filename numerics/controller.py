r"""Step-size control, one independent controller a row.

The local error is measured in the scaled root mean square norm
:math:`\lVert e \rVert = \sqrt{P^{-1} \sum_i (e_i / (\mathrm{atol} + \mathrm{rtol} \max(|y_{0i}|,
|y_{1i}|)))^2}`, and a step is accepted when it is at most 1. Sources: Hairer, Norsett & Wanner I, sec. II.4
(norm, first step); Hairer & Wanner II, sec. IV.2 (proportional-integral control).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.steppers import Method, RateFunction, Trial

__all__ = ["Controller", "error_ratio", "error_scale", "initial_step", "scaled_norm"]

TINY = 1e-200
"""Scaled norms below this count as zero."""
RESTING_STEP = 1e-6
"""First step where the rate vanishes."""


def error_scale(y0: Tensor, y1: Tensor, rtol: float, atol: float) -> Tensor:
    """Componentwise tolerance atol + rtol * max(|y0|, |y1|), shape (n, P)."""
    return torch.maximum(y0.abs(), y1.abs()).mul_(rtol).add_(atol)


def scaled_norm(vector: Tensor, scale: Tensor) -> Tensor:
    """Root mean square of vector / scale over the last axis, shape (n,)."""
    return torch.linalg.vector_norm(vector / scale, dim=1) / vector.shape[1] ** 0.5


def error_ratio(trial: Trial, scale: Tensor) -> Tensor:
    r"""Error of a step over the tolerance, (n,) in float64: accepted up to 1.

    It is the scaled norm of the error; with a second, cruder estimate :math:`e_3` beside :math:`e_5` it is
    :math:`|e_5|^2 / \sqrt{|e_5|^2 + 0.01 |e_3|^2}`, of higher order than both (Hairer, Norsett & Wanner I, sec. II.10).
    """
    first = scaled_norm(trial.error, scale).double()
    if trial.second_error is None:
        return first
    second = scaled_norm(trial.second_error, scale).double()
    return first * first / torch.hypot(first, 0.1 * second).clamp_min(TINY)


@dataclass(frozen=True)
class Controller:
    r"""Proportional-integral step-size controller.

    With r the scaled error norm of this attempt, r' that of the last accepted step and k = q + 1 for an
    embedded solution of order q, an accepted step is followed by

    .. math:: h_{new} = h \cdot \mathrm{clip}(s\, r^{-\alpha}\, r'^{\beta}, \mathrm{shrink}, \mathrm{grow}),
              \qquad \alpha = 1/k - 0.75 \beta,\; \beta = 0.2 / k.

    A rejected step uses :math:`s\, r^{-1/k}`, never above 1, and the step after a rejection does not grow.
    A step with a non-finite stage says nothing about r: it is cut by ``nonfinite``.

    Parameters
    ----------
    error_order : int
        Order q of the embedded solution.
    safety : float
        The factor s.
    shrink, grow : float
        Bounds of one change of the step.
    nonfinite : float
        Factor after a step that produced a non-finite number.
    """

    error_order: int
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 8.0
    nonfinite: float = 0.1

    def after_success(self, ratio: Tensor, last_ratio: Tensor) -> Tensor:
        """Return the factor of each row's step after an accepted one that did not follow a rejection, (n,)."""
        k = self.error_order + 1
        beta = 0.2 / k
        grown = ratio.clamp_min(1e-10).pow_(0.75 * beta - 1 / k)
        return (
            grown.mul_(last_ratio.clamp_min(1e-4).pow_(beta)).mul_(self.safety).clamp_(self.shrink, self.grow)
        )

    def factor(
        self, ratio: Tensor, last_ratio: Tensor, accepted: Tensor, after_rejection: Tensor, finite: Tensor
    ) -> Tensor:
        """Return the factor by which each row's step changes; arguments and result have shape (n,)."""
        on = self.after_success(ratio, last_ratio)
        on = torch.where(after_rejection, on.clamp_max(1.0), on)
        back = (self.safety * ratio.clamp_min(1e-10) ** (-1 / (self.error_order + 1))).clamp(self.shrink, 1.0)
        factor = torch.where(accepted, on, back)
        return torch.where(finite, factor, torch.full_like(factor, self.nonfinite))


def initial_step(
    rate: RateFunction, y: Tensor, f: Tensor, method: Method, rtol: float, atol: float
) -> Tensor:
    r"""First step size of each row from one trial Euler step (one rate evaluation).

    With d0, d1, d2 the scaled norms of y, f and of the second derivative, estimated over an Euler step that
    changes y by a hundredth of its size, the time scale is :math:`\tau = \min(d_0/d_1, d_1/d_2)` and the
    step solves :math:`d_1 \tau (h/\tau)^{p+1} = 0.01` for a method of order p. This is the recipe of Hairer,
    Norsett & Wanner I, sec. II.4, made independent of the unit of time.

    Parameters
    ----------
    rate : callable
        Right-hand side, (n, P) to (n, P).
    y, f : Tensor, shape (n, P)
        Starting states and their rates.
    method : Method
        Its order enters.
    rtol, atol : float
        Tolerances.

    Returns
    -------
    Tensor, shape (n,), float64
        Positive and finite; 1e-6 where the rate vanishes and nothing tells the time scale.
    """
    scale = error_scale(y, y, rtol, atol)
    d0, d1 = scaled_norm(y, scale).double(), scaled_norm(f, scale).double()
    resting = d1 < TINY
    h0 = torch.where(resting, RESTING_STEP, 0.01 * d0.clamp_min(1.0) / d1.clamp_min(TINY))
    change = rate(y + h0.to(y.dtype)[:, None] * f) - f
    d2 = scaled_norm(change, scale).double() / h0
    # A state within its tolerance of zero has no size to compare its motion with: d0 / d1 then says nothing.
    size = torch.where(d0 < 1, torch.inf, d0 / d1.clamp_min(TINY))
    tau = torch.minimum(size, d1 / d2.clamp_min(TINY))
    tau = torch.where(d2 < TINY, torch.minimum(size, 100 * h0), tau)
    h = tau * (0.01 / (d1 * tau).clamp_min(1.0)) ** (1 / (method.order + 1))
    h = torch.where(resting, RESTING_STEP, h)
    return torch.where(torch.isfinite(h) & (h > 0), h, 1e-3 * h0)
