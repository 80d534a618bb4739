"""What an integration returns: a status with its meaning, and the trajectories with their statistics."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from numerics.events import Crossing

__all__ = ["FlowError", "FlowResult", "Status"]


class FlowError(RuntimeError):
    """A trajectory ended in a way the caller does not accept; raised only by :meth:`FlowResult.require`."""


class Status(enum.StrEnum):
    """Why a trajectory ended; ``message`` says the likely cause and what to try."""

    FINISHED = "finished"
    CONVERGED = "converged"
    DIVERGED = "diverged"
    AT_INFINITY = "at_infinity"
    STALLED = "stalled"
    STEP_LIMIT = "step_limit"
    EVENT = "event"

    @property
    def message(self) -> str:
        """Meaning, likely cause and remedy, one or two sentences."""
        return _MESSAGES[self]


_MESSAGES: dict[Status, str] = {
    Status.FINISHED: "The trajectory reached the requested time.",
    Status.CONVERGED: (
        "The norm of the rate fell to stationary_norm. The state is a candidate for a critical point, a "
        "slow passage by a saddle or a drift along a flat valley: polish it with Newton's method and "
        "classify it."
    ),
    Status.DIVERGED: (
        "The state blows up in finite time, the rate is too large for the clock to resolve, or it stays "
        "non-finite however small the step. Likely causes: a risk unbounded below, a wrong sign of the "
        "gradient, or a start outside the domain of the rate. Check the sign and the start; blow_up_time "
        "estimates the time of blow-up."
    ),
    Status.AT_INFINITY: (
        "The norm of the state passed max_norm while the rate grew at most linearly with it: no blow-up "
        "in finite time, but no critical point is near. Likely causes: a risk whose infimum is not "
        "attained, or one unbounded below. Add weight decay, or raise max_norm if such states are meant."
    ),
    Status.STALLED: (
        "The step size fell below the resolution of the clock although the rate is moderate. Likely "
        "causes: a rate that jumps by many orders of magnitude, a rate whose rounding noise exceeds the "
        "tolerance, or a Jacobian that does not belong to it. Loosen rtol and atol, use float64, or "
        "check the rate and the Jacobian."
    ),
    Status.STEP_LIMIT: (
        "max_steps attempts were not enough. Likely cause: a stiff flow under an explicit method (see stiff_steps), "
        "whose steps then also hover above stationary_norm. Pass a Jacobian with method='rodas4', loosen "
        "rtol, or raise max_steps or stationary_norm."
    ),
    Status.EVENT: "An event that ends the trajectory happened; see crossings.",
}


@dataclass(frozen=True)
class FlowResult:
    """Trajectories of a batch of B starts in R^P, with how each ended and what it cost.

    Tensors stay on the device of the start; times are float64, states have the dtype of the start. Time is
    measured in the unit of the rate.

    Parameters
    ----------
    times : tuple of Tensor, each of shape (T_b,)
        Recorded times of each trajectory, increasing; the last is its final time.
    states : tuple of Tensor, each of shape (T_b, P)
        States at these times.
    final_time : Tensor, shape (B,)
        Time at which each trajectory ended.
    final_state : Tensor, shape (B, P)
        State there.
    final_rate_norm : Tensor, shape (B,)
        Euclidean norm of the rate there.
    status : tuple of Status, length B
        Why each ended.
    steps, rejected : Tensor, shape (B,), int64
        Accepted and rejected steps.
    evaluations, jacobian_evaluations : Tensor, shape (B,), int64
        Evaluations of the rate and of its Jacobian.
    smallest_step, largest_step : Tensor, shape (B,)
        Extreme accepted step sizes; NaN where no step was accepted.
    next_step : Tensor, shape (B,)
        Step size that the controller would have tried next; 0 where none was tried.
    stiff_steps : Tensor, shape (B,), int64
        Accepted steps of an explicit method limited by stability rather than accuracy (h times the dominant eigenvalue
        modulus above 3.25 for dopri5 and 6.1 for dop853, about where their stability regions end); always 0 for rodas4.
    switched_at : Tensor, shape (B,)
        Time at which ``method="auto"`` handed the trajectory to rodas4; NaN where it did not.
    energy_increases : Tensor, shape (B,), int64, or None
        Accepted steps on which the energy rose by more than rounding and the tolerances explain; None without
        an energy.
    blow_up_time : Tensor, shape (B,)
        Estimated time of blow-up of a diverged trajectory: extrapolated from its last step, or its final time where the motion
        outran the clock; NaN where the rate stopped being finite, and for every other status.
    entry : Tensor, shape (B,), int64
        For ``DIVERGED``, ``AT_INFINITY`` and ``STALLED`` the entry of theta that brought the end about: the first that is not
        finite, else the largest, or the one with the largest local error. -1 otherwise.
    crossings : tuple of Crossing
        Events that happened, by trajectory and time.
    method : str
        The method used: "dopri5", "dop853" or "rodas4", the last also where every trajectory was handed over; or two, as
        in "dop853, rodas4", where some were.
    rtol, atol : float
        The tolerances used.
    """

    times: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    final_time: Tensor
    final_state: Tensor
    final_rate_norm: Tensor
    status: tuple[Status, ...]
    steps: Tensor
    rejected: Tensor
    evaluations: Tensor
    jacobian_evaluations: Tensor
    smallest_step: Tensor
    largest_step: Tensor
    next_step: Tensor
    stiff_steps: Tensor
    switched_at: Tensor
    energy_increases: Tensor | None
    blow_up_time: Tensor
    entry: Tensor
    crossings: tuple[Crossing, ...]
    method: str
    rtol: float
    atol: float

    @property
    def mean_step(self) -> Tensor:
        """Mean accepted step size, shape (B,); NaN where no step was accepted."""
        return torch.where(self.steps > 0, self.final_time / self.steps, torch.nan)

    def rows(self, *status: Status) -> Tensor:
        """Indices of the trajectories that ended with one of the given statuses, shape (k,), int64."""
        chosen = [i for i, s in enumerate(self.status) if s in status]
        return torch.tensor(chosen, dtype=torch.int64, device=self.final_state.device)

    def require(self, *accepted: Status) -> FlowResult:
        """Return the result itself if every trajectory ended with an accepted status.

        Parameters
        ----------
        *accepted : Status
            At least one status.

        Returns
        -------
        FlowResult

        Raises
        ------
        FlowError
            Otherwise; names the first offending trajectory, its time and the meaning of its status.
        """
        bad = [i for i, s in enumerate(self.status) if s not in accepted]
        if not bad:
            return self
        first = bad[0]
        status = self.status[first]
        raise FlowError(
            f"{len(bad)} of {len(self.status)} trajectories ended otherwise than {', '.join(accepted)}; the "
            f"first is row {first}: {status} at t = {float(self.final_time[first]):.6g} with rate norm "
            f"{float(self.final_rate_norm[first]):.3g}. {status.message}"
        )
