"""When a trajectory has ended and why: the rules behind :class:`numerics.flow_result.Status`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.controller import error_scale, scaled_norm
from numerics.flow_books import HANDED_OVER, RUNNING, Active, Ledger
from numerics.flow_result import Status
from numerics.steppers import Trial

__all__ = ["ORDERED", "Limits", "blame", "judge"]

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
    limits: Limits,
    y0: Tensor,
    f0: Tensor,
    accepted: Tensor,
    stopped: Tensor | None,
    hand_over: bool,
) -> Tensor | None:
    """Return the status code (n,) of each active row after the attempt, later rules overriding earlier ones.

    Parameters
    ----------
    y0, f0 : Tensor, shape (n, P)
        States and rates before the attempt.
    accepted : Tensor, shape (n,)
        Whether the step was accepted.
    stopped : Tensor, shape (n,), or None
        Whether an event ended the trajectory in it; None where none did.
    hand_over : bool
        Whether stiff rows go to the stiff method.

    Returns
    -------
    Tensor, shape (n,), or None
        None where no rule applies, as after most attempts.
    """
    norm, rate_norm = (torch.linalg.vector_norm(u, dim=1) for u in (a.y, a.f))
    finest = (TIME_RESOLUTION * a.t).clamp_min_(MIN_STEP)
    underflow = a.h < finest
    spent = a.steps + a.rejected >= limits.max_steps
    lost = a.nonfinite >= NONFINITE_LIMIT
    arrived, far = a.t >= limits.until, norm > limits.max_norm
    still = rate_norm <= limits.stationary_norm
    some = underflow | spent | lost | arrived | far | still
    if hand_over:
        some |= a.stiff_run >= STIFF_STEPS
    if stopped is not None:
        some |= stopped
    if not bool(some.any()):
        return None
    code = torch.full_like(a.index, RUNNING)

    def set_status(where: Tensor, status: Status) -> None:
        code[where] = ORDERED.index(status)

    if hand_over:
        code[a.stiff_run >= STIFF_STEPS] = HANDED_OVER
    set_status(spent, Status.STEP_LIMIT)
    # The finest step the clock allows: if even that moves the state by more than the tolerance, motion
    # outruns the clock (blow-up); if not, something else than speed defeats the error estimate.
    scale = error_scale(a.y, a.y, limits.rtol, limits.atol)
    outrun = scaled_norm(a.f, scale).double() * finest > 1
    set_status(underflow & ~outrun, Status.STALLED)
    set_status(underflow & (outrun | (a.nonfinite > 0)), Status.DIVERGED)
    set_status(lost, Status.DIVERGED)
    set_status(accepted & arrived, Status.FINISHED)
    far &= accepted
    growth = torch.log(norm / torch.linalg.vector_norm(y0, dim=1))
    exponent = torch.log(rate_norm / torch.linalg.vector_norm(f0, dim=1)) / growth
    set_status(far & ~(exponent > BLOW_UP_EXPONENT), Status.AT_INFINITY)
    set_status(far & (exponent > BLOW_UP_EXPONENT), Status.DIVERGED)
    set_status(accepted & still, Status.CONVERGED)
    if stopped is not None:
        set_status(stopped, Status.EVENT)
    return code


def blame(
    a: Active,
    ledger: Ledger,
    code: Tensor,
    trial: Trial,
    f1: Tensor,
    scale: Tensor,
    y0: Tensor,
    f0: Tensor,
) -> None:
    """Note which entry of theta brought a row to its bad end, and when it would blow up.

    Parameters
    ----------
    code : Tensor, shape (n,)
        As :func:`judge` gave it.
    trial : Trial
        The attempt.
    f1 : Tensor, shape (n, P)
        Rates at its new states, where they were evaluated.
    scale, y0, f0 : Tensor, shape (n, P)
        Tolerances of its error, states and rates before it.
    """
    bad = [ORDERED.index(u) for u in (Status.DIVERGED, Status.AT_INFINITY, Status.STALLED)]
    rows = torch.isin(code, torch.tensor(bad, device=code.device)).nonzero()[:, 0]
    if not len(rows):
        return
    diverged = code[rows] == ORDERED.index(Status.DIVERGED)
    # Motion that outruns the clock blows up at the present time as far as the clock can tell.
    estimate = _blow_up_time(a, y0, f0)[rows]
    estimate = torch.where(torch.isnan(estimate) & (a.nonfinite[rows] == 0), a.t[rows], estimate)
    ledger.blow_up[a.index[rows]] = torch.where(diverged, estimate, torch.nan)
    # First what is not finite, else what is largest; of a row that stalls, the error that will not shrink.
    stages = trial.stages[:, rows].sum(0) + trial.state[rows] + f1[rows]
    broken = ~torch.isfinite(stages)
    stalled = code[rows] == ORDERED.index(Status.STALLED)
    size = torch.where(stalled[:, None], (trial.error / scale)[rows].abs(), a.y[rows].abs())
    first = torch.where(broken.any(1) & (a.nonfinite[rows] > 0), broken.int().argmax(1), size.argmax(1))
    ledger.entry[a.index[rows]] = first


def _blow_up_time(a: Active, y0: Tensor, f0: Tensor) -> Tensor:
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
