"""When a trajectory has ended and why: the rules behind :class:`numerics.flow_result.Status`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.controller import error_scale, scaled_norm
from numerics.flow_books import HANDED_OVER, RUNNING, Active, Ledger
from numerics.flow_result import Status

__all__ = ["ORDERED", "Limits", "blow_up_time", "judge"]

NONFINITE_LIMIT = 20
"""Consecutive non-finite attempts, each a tenth of the one before, after which a trajectory has diverged."""
BLOW_UP_EXPONENT = 1.05
"""|f| growing faster than this power of |theta| is blow-up in finite time; exponential growth (1) is not."""
TIME_RESOLUTION = 16 * torch.finfo(torch.float64).eps
"""Smallest step relative to the time reached."""
MIN_STEP = 1e-30
"""Smallest step, inside the float32 range."""
STIFF_STEPS = 15
"""Stability-limited steps after which the stiff method takes over (Hairer & Wanner II, sec. IV.2)."""
ORDERED = tuple(Status)


@dataclass(frozen=True)
class Limits:
    """The limits at which a trajectory ends; see :func:`numerics.flow.integrate`."""

    until: float
    rtol: float
    atol: float
    stationary_norm: float
    max_norm: float
    max_steps: int


def judge(
    a: Active,
    ledger: Ledger,
    limits: Limits,
    y0: Tensor,
    f0: Tensor,
    accepted: Tensor,
    stopped: Tensor,
    hand_over: bool,
) -> Tensor:
    """Return the status code (n,) of each active row after the attempt, later rules overriding earlier ones.

    Parameters
    ----------
    y0, f0 : Tensor, shape (n, P)
        States and rates before the attempt.
    accepted, stopped : Tensor, shape (n,)
        Whether the step was accepted, and whether an event ended the trajectory in it.
    hand_over : bool
        Whether stiff rows go to the stiff method.
    """
    code = torch.full_like(a.index, RUNNING)
    norm = torch.linalg.vector_norm(a.y, dim=1)
    rate_norm = torch.linalg.vector_norm(a.f, dim=1)

    def set_status(where: Tensor, status: Status) -> None:
        code[where] = ORDERED.index(status)

    if hand_over:
        code[a.stiff_run >= STIFF_STEPS] = HANDED_OVER
    set_status(ledger.steps[a.index] + ledger.rejected[a.index] >= limits.max_steps, Status.STEP_LIMIT)
    # The finest step the clock allows: if even that moves the state by more than the tolerance, motion
    # outruns the clock (blow-up); if not, something else than speed defeats the error estimate.
    finest = (TIME_RESOLUTION * a.t).clamp_min(MIN_STEP)
    underflow = a.h < finest
    scale = error_scale(a.y, a.y, limits.rtol, limits.atol)
    outrun = scaled_norm(a.f, scale).double() * finest > 1
    set_status(underflow & ~outrun, Status.STALLED)
    set_status(underflow & (outrun | (a.nonfinite > 0)), Status.DIVERGED)
    set_status(a.nonfinite >= NONFINITE_LIMIT, Status.DIVERGED)
    set_status(accepted & (a.t >= limits.until), Status.FINISHED)
    far = accepted & (norm > limits.max_norm)
    growth = torch.log(norm / torch.linalg.vector_norm(y0, dim=1))
    exponent = torch.log(rate_norm / torch.linalg.vector_norm(f0, dim=1)) / growth
    set_status(far & ~(exponent > BLOW_UP_EXPONENT), Status.AT_INFINITY)
    set_status(far & (exponent > BLOW_UP_EXPONENT), Status.DIVERGED)
    set_status(accepted & (rate_norm <= limits.stationary_norm), Status.CONVERGED)
    set_status(stopped, Status.EVENT)
    return code


def blow_up_time(a: Active, y0: Tensor, f0: Tensor) -> Tensor:
    r"""Estimate the time of blow-up of each row from its last step, (n,); NaN where the last step shows none.

    With :math:`|f| \propto |\theta|^q`, q > 1, over the last step the norm solves :math:`r' = c r^q`, so that
    :math:`t^* = t + r / ((q - 1) r')` with :math:`r' = \theta \cdot f / |\theta|`.  It is an extrapolation, exact
    only for a pure power.
    """
    radius = torch.linalg.vector_norm(a.y, dim=1).double()
    speed = (a.y * a.f).sum(1).double() / radius
    growth = torch.log(radius / torch.linalg.vector_norm(y0, dim=1).double())
    stretch = torch.linalg.vector_norm(a.f, dim=1) / torch.linalg.vector_norm(f0, dim=1)
    exponent = torch.log(stretch.double()) / growth
    found = a.t + radius / ((exponent - 1) * speed)
    shown = (exponent > BLOW_UP_EXPONENT) & (speed > 0) & torch.isfinite(found)
    return torch.where(shown, found, torch.nan)
