r"""Batched adaptive integration of the gradient flow :math:`d\theta/dt = -\nabla R(\theta)`.

Every trajectory has its own time, step size and error control; a rejected step of one does not hold up the
others, and finished ones leave the batch, so a rate function is called with a varying number of rows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from numerics.events import Crossing, Event
from numerics.flow_result import FlowError, FlowResult, Status
from numerics.flow_run import Checkpoint, FlowRun
from numerics.flow_verdict import Limits
from numerics.integrator_order import OrderMeasurement, measured_order
from numerics.steppers import METHODS, JacobianFunction, Method, RateFunction

__all__ = [
    "Crossing",
    "Event",
    "FlowError",
    "FlowResult",
    "OrderMeasurement",
    "Status",
    "integrate",
    "measured_order",
]

HIGH_ORDER = 1e-6
"""Largest rtol at which ``method="auto"`` takes the method of order 8: above, its twelve stages are more than a step needs."""
STIFF_PARAMETERS = 512
"""Largest P for which ``method="auto"`` hands stiff trajectories to rodas4: beyond, the P^3 factorisation counts."""


@torch.no_grad()
def integrate(
    rate: RateFunction,
    theta0: Tensor,
    until: float,
    *,
    jacobian: JacobianFunction | None = None,
    method: str = "auto",
    rtol: float = 1e-8,
    atol: float = 1e-10,
    save_at: Tensor | None = None,
    record: bool = False,
    stationary_norm: float | None = None,
    max_norm: float = 1e6,
    max_steps: int = 100_000,
    first_step: float | None = None,
    energy: Callable[[Tensor], Tensor] | None = None,
    events: Sequence[Event] = (),
    progress: Callable[[float], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> FlowResult:
    r"""Integrate :math:`d\theta/dt = f(\theta)` from a batch of starts.

    A gradient flow has :math:`f = -\nabla R`; nothing but ``energy`` relies on that.

    ``dopri5`` (Dormand-Prince, order 5(4)) and ``dop853`` (Dormand-Prince, order 8(5,3)) suit non-stiff flows of any P;
    at tight tolerances dop853 needs far fewer evaluations and steps for the same error. ``rodas4`` (Rosenbrock,
    order 4(3), L-stable) suits stiff flows: near a minimum its steps grow without bound as the motion dies out, so
    long horizons such as 1e9 cost hundreds of steps, not millions. ``auto`` begins with dop853 where rtol <= 1e-6, else
    with dopri5, and, where a Jacobian is given and P <= 512, hands a trajectory to rodas4 once 15 of its steps were
    stiff without six others in a row between them; it does not go back. ``result.switched_at`` tells when. A step is stiff
    when h times the dominant eigenvalue modulus is above 3.25 for dopri5 and 6.1 for dop853, or 0.9 of that for P <= 64.

    A trajectory ends when it reaches ``until``, when ``|f| <= stationary_norm``, when ``|theta| > max_norm``,
    at an event that stops it, or when its steps fail; see :class:`Status`. Past ``max_norm`` the growth exponent
    :math:`q = \Delta\log|f| / \Delta\log|\theta|` of the last step decides: q > 1.05 is blow-up in finite
    time (``DIVERGED``), else ``AT_INFINITY``.

    Parameters
    ----------
    rate : callable
        Maps (n, P) to (n, P) row by row; n varies from call to call and gradients are not recorded.
    theta0 : Tensor, shape (B, P)
        Starts, float64 or float32, finite; their dtype and device are those of the computation.
    until : float
        End time, positive; ``inf`` needs ``stationary_norm``.
    jacobian : callable, optional
        Maps (n, P) to (n, P, P), entry [., i, j] the derivative of rate i by parameter j: minus the Hessian
        of R.
    method : {"auto", "dopri5", "dop853", "rodas4"}
        See above.
    rtol, atol : float
        Local error at most ``atol + rtol |theta|`` in root mean square; an rtol below 100 machine epsilons is
        raised to that, with a warning.
    save_at : Tensor, shape (T,), optional
        Increasing times in [0, until] at which states are wanted. They do not constrain the steps: the states
        come from the continuous extension, of order 4 for dopri5, 7 for dop853 (three more evaluations in a step that
        holds such a time or is looked at for events) and 3 for rodas4. A trajectory that ends early has the times up to its
        end and its end itself.
    record : bool
        Keep the start and every accepted step; without it and without ``save_at`` the start and the end are
        kept.
    stationary_norm : float, optional
        Euclidean norm of the rate at which a trajectory has converged. Under dopri5 and dop853 choose it above
        rtol * |J| * |theta|: a stability-limited step keeps the state only to within the tolerance.
    max_norm : float
        Euclidean norm of theta beyond which a trajectory is abandoned.
    max_steps : int
        Attempts, accepted and rejected, for each trajectory.
    first_step : float, optional
        First step size; by default estimated for each row.
    energy : callable, optional
        Maps (n, P) to (n,). A step is counted in ``energy_increases`` when the energy rises by more than 64
        machine epsilons of its size plus ``sum_i |f_i| (atol + rtol |theta_i|)``, the change that the local
        error allows.
    events : sequence of Event
        What to look for along each trajectory: see :mod:`numerics.events`.
    progress : callable, optional
        Called with the fraction done, in [0, 1], at most about a thousand times and at the end with 1.
    checkpoint : Checkpoint, optional
        Where the run leaves its state between steps and takes it up again; what it returns is the same, bit for bit,
        however often it is interrupted. The other arguments must be those of the run that was interrupted.

    Returns
    -------
    FlowResult

    Raises
    ------
    ValueError, TypeError
        For arguments of the wrong shape, type or range; a trajectory that fails is a status, not an error.

    Source
    ------
    Dormand & Prince (1980), J. Comput. Appl. Math. 6, 19-26; Hairer, Norsett & Wanner, Solving Ordinary
    Differential Equations I, sec. II.4, II.6 and II.10; Hairer & Wanner, Solving Ordinary Differential Equations II,
    sec. IV.2 and IV.7.

    Examples
    --------
    >>> start = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    >>> result = integrate(lambda theta: -theta, start, 1.0)
    >>> [f"{x:.6f}" for x in result.final_state[:, 0].tolist()], result.status[0].value
    (['0.367879', '0.735759'], 'finished')
    """
    chosen = _choose_methods(method, jacobian, theta0, rtol)
    end = _check_until(until, stationary_norm)
    _check_positive(rtol=rtol, atol=atol, max_norm=max_norm, max_steps=max_steps)
    optional = {"stationary_norm": stationary_norm, "first_step": first_step}
    _check_positive(**{name: value for name, value in optional.items() if value is not None})
    _check_start(theta0, max_norm)
    run = FlowRun(
        rate=rate,
        full_jacobian=jacobian,
        methods=chosen,
        energy=energy,
        limits=Limits(
            until=end,
            rtol=_reachable_rtol(rtol, theta0.dtype),
            atol=float(atol),
            stationary_norm=-1.0 if stationary_norm is None else float(stationary_norm),
            max_norm=float(max_norm),
            max_steps=int(max_steps),
        ),
        save_at=_check_save_at(save_at, record, end, theta0.device),
        record=record,
        events=tuple(events),
        progress=progress,
        checkpoint=checkpoint,
    )
    return run.solve(theta0.detach().clone(), first_step)


def _choose_methods(
    name: str, jacobian: JacobianFunction | None, theta0: Tensor, rtol: float
) -> tuple[Method, ...]:
    """Resolve "auto" into the methods taken in turn, and check that their needs are met."""
    if not isinstance(theta0, Tensor):
        raise TypeError(f"theta0 must be a tensor of shape (B, P), got {type(theta0).__name__}")
    if name == "auto":
        small = theta0.ndim == 2 and theta0.shape[1] <= STIFF_PARAMETERS
        explicit = "dop853" if rtol <= HIGH_ORDER else "dopri5"
        names = (explicit, "rodas4") if jacobian is not None and small else (explicit,)
        return tuple(METHODS[u] for u in names)
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; accepted are 'auto', " + ", ".join(map(repr, METHODS)))
    if METHODS[name].needs_jacobian and jacobian is None:
        raise ValueError(
            f"method {name!r} needs jacobian=, a function (n, P) -> (n, P, P) giving minus the Hessian, got "
            "None; pass it or use method='dop853'"
        )
    return (METHODS[name],)


def _check_positive(**values: float) -> None:
    """Raise for a value that is not a positive number."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")


def _check_start(theta0: Tensor, max_norm: float) -> None:
    """Check shape, dtype, finiteness and norms of the starts."""
    if theta0.dtype not in (torch.float64, torch.float32):
        raise TypeError(f"theta0 must be float64 or float32, got {theta0.dtype}")
    if theta0.ndim != 2 or 0 in theta0.shape:
        raise ValueError(f"theta0 must have shape (B, P) with B, P >= 1, got {tuple(theta0.shape)}")
    norm = torch.linalg.vector_norm(theta0, dim=1)
    if not bool(torch.isfinite(norm).all()):
        raise ValueError(f"theta0 must be finite, row {int((~torch.isfinite(norm)).nonzero()[0])} is not")
    if bool((norm > max_norm).any()):
        row = int(norm.argmax())
        raise ValueError(
            f"theta0 row {row} has norm {float(norm[row]):.6g}, beyond max_norm = {max_norm:.6g}; raise "
            "max_norm"
        )


def _check_until(until: float, stationary_norm: float | None) -> float:
    """Check the end time and return it."""
    end = float(until)
    if not end > 0:
        raise ValueError(f"until must be a positive time, got {until!r}")
    if math.isinf(end) and stationary_norm is None:
        raise ValueError("until = inf needs stationary_norm=, the rate norm at which to stop; got None")
    return end


def _check_save_at(save_at: Tensor | None, record: bool, end: float, device: torch.device) -> Tensor | None:
    """Check the times to save and return them as float64 (T,); a last one within rounding of end is end."""
    if save_at is None:
        return None
    if record:
        raise ValueError("record=True keeps every step and save_at= chosen times: give one of them, got both")
    if not isinstance(save_at, Tensor) or save_at.ndim != 1 or save_at.numel() == 0:
        found = tuple(save_at.shape) if isinstance(save_at, Tensor) else type(save_at).__name__
        raise ValueError(f"save_at must be a tensor of shape (T,) with T >= 1, got {found}")
    times = save_at.to(device, torch.float64, copy=True)
    if not bool((times[1:] > times[:-1]).all()) or not bool(torch.isfinite(times).all()):
        raise ValueError(f"save_at must be finite and strictly increasing, got {times.tolist()[:8]}")
    rounding = 4 * torch.finfo(save_at.dtype if save_at.is_floating_point() else torch.float64).eps
    if abs(float(times[-1]) - end) <= rounding * end < math.inf:
        times[-1] = end
    first, last = float(times[0]), float(times[-1])
    if first < 0 or last > end:
        raise ValueError(
            f"save_at must lie in [0, until] = [0, {end:g}], got times from {first:g} to {last:g}"
        )
    return times


def _reachable_rtol(rtol: float, dtype: torch.dtype) -> float:
    """Return rtol, raised with a warning to what the dtype can resolve."""
    least = 100 * torch.finfo(dtype).eps
    if rtol >= least:
        return float(rtol)
    warnings.warn(
        f"rtol = {rtol:.3g} is below what {dtype} resolves; {least:.3g} is used. Pass a float64 start or a "
        "larger rtol.",
        stacklevel=5,
    )
    return least
