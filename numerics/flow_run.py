"""The stepping loop behind :func:`numerics.flow.integrate`: propose, judge, record, retire, rows at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from numerics.controller import Controller, error_scale, initial_step, scaled_norm
from numerics.flow_books import RUNNING, Active, Ledger
from numerics.flow_result import FlowResult, Status
from numerics.steppers import JacobianFunction, Method, RateFunction, Trial, evaluate_dense

__all__ = ["FlowRun"]

STIFF_RATIO = 3.25
"""Stability boundary of dopri5 on the negative real axis (Hairer & Wanner II, sec. IV.2)."""
NONFINITE_LIMIT = 20
"""Consecutive non-finite attempts, each a tenth of the one before, after which a trajectory has diverged."""
BLOW_UP_EXPONENT = 1.05
"""|f| growing faster than this power of |theta| is blow-up in finite time; exponential growth (1) is not."""
TIME_RESOLUTION = 16 * torch.finfo(torch.float64).eps
"""Smallest step relative to the time reached."""
MIN_STEP, MAX_STEP = 1e-30, 1e30
"""Absolute bounds of a step, inside the float32 range."""
ENERGY_ROUNDING = 64
"""Rounding allowed in an energy, in machine epsilons of its size."""
_ORDERED = tuple(Status)


@dataclass
class FlowRun:
    """One integration under way; the fields are the checked arguments of :func:`numerics.flow.integrate`."""

    rate: RateFunction
    jacobian: JacobianFunction | None
    method: Method
    controller: Controller
    energy: Callable[[Tensor], Tensor] | None
    until: float
    rtol: float
    atol: float
    save_at: Tensor | None
    record: bool
    stationary_norm: float
    max_norm: float
    max_steps: int
    progress: Callable[[float], None] | None
    _path: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    _reported: float = 0.0

    def solve(self, theta0: Tensor, first_step: float | None) -> FlowResult:
        """Integrate the starts theta0 (B, P) to their ends."""
        ledger = Ledger.of(theta0, self.save_at)
        active = self._start(theta0, first_step, ledger)
        while len(active.index):
            self._advance(active, ledger)
            self._report(active, len(theta0))
        if self.progress is not None:
            self.progress(1.0)
        return self._result(theta0, ledger)

    def _start(self, y: Tensor, first_step: float | None, ledger: Ledger) -> Active:
        """Evaluate the starts, choose first steps, retire the rows that cannot or need not move."""
        f = self.rate(y)
        _require_shape("rate", f, y, tuple(y.shape))
        ledger.evaluations += 1
        moving = torch.isfinite(f).all(1)
        norm = torch.linalg.vector_norm(f, dim=1)
        ledger.rate_norm = norm.clone()
        stationary = norm <= self.stationary_norm
        ledger.code[~moving] = _ORDERED.index(Status.DIVERGED)
        ledger.code[stationary] = _ORDERED.index(Status.CONVERGED)
        zero = torch.zeros_like(ledger.t)
        active = Active(
            index=torch.arange(len(y), device=y.device),
            t=zero,
            y=y,
            f=f,
            h=zero + (first_step or 0.0),
            last_ratio=zero + 1e-4,
            after_rejection=zero > 1,
            nonfinite=torch.zeros_like(ledger.steps),
            next_save=torch.zeros_like(ledger.steps),
            stale=zero < 1,
        )
        if self.energy is not None:
            active.energy = self.energy(y)
            _require_shape("energy", active.energy, y, (len(y),))
        if self.save_at is not None and ledger.saved is not None and self.save_at[0] == 0:
            ledger.saved[:, 0] = y
            active.next_save += 1
            ledger.saved_count = active.next_save.clone()
        active.keep(moving & ~stationary)
        if self.jacobian is not None and len(active.index):
            active.jacobian = self.jacobian(active.y)
            _require_shape("jacobian", active.jacobian, y, (*active.y.shape, y.shape[1]))
            ledger.jacobian_evaluations[active.index] += 1
            active.jacobian, active.stale = active.jacobian.clone(), active.stale & False
        if first_step is None and len(active.index):
            active.h = initial_step(self.rate, active.y, active.f, self.method, self.rtol, self.atol)
            ledger.evaluations[active.index] += 1
        return active

    def _advance(self, a: Active, ledger: Ledger) -> None:
        """Attempt one step of every active row and update both books."""
        self._refresh_jacobian(a, ledger)
        remaining = self.until - a.t
        last = 1.01 * a.h >= remaining
        h = torch.where(last, remaining, a.h)
        trial = self.method.step(self.rate, a.y, a.f, a.jacobian, h.to(a.y.dtype))
        scale = error_scale(a.y, trial.state, self.rtol, self.atol)
        ratio = scaled_norm(trial.error, scale).double()
        finite = torch.isfinite(ratio) & torch.isfinite(trial.state).all(1)
        accepted = finite & (ratio <= 1)
        ledger.evaluations[a.index] += self.method.rates_per_step
        f = self._rate_after(a, trial, accepted, ledger)
        finite &= torch.isfinite(f).all(1)
        accepted &= finite
        t = torch.where(accepted, torch.where(last, torch.full_like(a.t, self.until), a.t + h), a.t)
        self._count(a, ledger, trial, h, accepted)
        self._check_energy(a, ledger, trial.state, f, scale, accepted)
        self._save(a, ledger, trial, h, t, accepted)

        factor = self.controller.factor(ratio, a.last_ratio, accepted, a.after_rejection, finite)
        a.h = (h * factor).clamp_max(MAX_STEP)
        a.nonfinite = torch.where(finite, 0, a.nonfinite + 1)
        a.last_ratio = torch.where(accepted, ratio, a.last_ratio)
        a.after_rejection = ~accepted
        a.stale = a.stale | accepted
        before_y, before_f = a.y, a.f
        a.t, a.y = t, torch.where(accepted[:, None], trial.state, a.y)
        a.f = torch.where(accepted[:, None], f, a.f)
        code = self._judge(a, ledger, before_y, before_f, accepted)
        self._retire(a, ledger, code)

    def _refresh_jacobian(self, a: Active, ledger: Ledger) -> None:
        """Evaluate the Jacobian at the states that moved since the last one."""
        if self.jacobian is None or a.jacobian is None:
            return
        rows = a.stale.nonzero()[:, 0]
        if len(rows):
            a.jacobian[rows] = self.jacobian(a.y[rows])
            ledger.jacobian_evaluations[a.index[rows]] += 1
            a.stale = torch.zeros_like(a.stale)

    def _rate_after(self, a: Active, trial: Trial, accepted: Tensor, ledger: Ledger) -> Tensor:
        """Rate at the new states (n, P); of no meaning in the rows that were not accepted."""
        if trial.rate is not None:
            return trial.rate
        f = a.f.clone()
        rows = accepted.nonzero()[:, 0]
        if len(rows):
            f[rows] = self.rate(trial.state[rows])
            ledger.evaluations[a.index[rows]] += 1
        return f

    def _count(self, a: Active, ledger: Ledger, trial: Trial, h: Tensor, accepted: Tensor) -> None:
        """Keep the statistics of the steps."""
        ledger.steps[a.index] += accepted
        ledger.rejected[a.index] += ~accepted
        ledger.smallest[a.index] = torch.where(
            accepted, torch.minimum(ledger.smallest[a.index], h), ledger.smallest[a.index]
        )
        ledger.largest[a.index] = torch.where(
            accepted, torch.maximum(ledger.largest[a.index], h), ledger.largest[a.index]
        )
        if trial.stiffness is not None:
            ledger.stiff[a.index] += accepted & (trial.stiffness > STIFF_RATIO)

    def _check_energy(
        self, a: Active, ledger: Ledger, y: Tensor, f: Tensor, scale: Tensor, accepted: Tensor
    ) -> None:
        """Count the accepted steps whose energy rise neither rounding nor the local error explains."""
        if self.energy is None or a.energy is None:
            return
        rows = accepted.nonzero()[:, 0]
        if not len(rows):
            return
        old, new = a.energy[rows], self.energy(y[rows])
        rounding = ENERGY_ROUNDING * torch.finfo(y.dtype).eps * torch.maximum(old.abs(), new.abs())
        allowed = rounding + (f[rows].abs() * scale[rows]).sum(1)
        ledger.increases[a.index[rows]] += ~(new - old <= allowed)
        a.energy = a.energy.index_put((rows,), new)

    def _save(self, a: Active, ledger: Ledger, trial: Trial, h: Tensor, t: Tensor, accepted: Tensor) -> None:
        """Record accepted steps, or the wanted times inside them."""
        if self.record:
            self._path.append((a.index[accepted], t[accepted], trial.state[accepted]))
        if self.save_at is None or ledger.saved is None or ledger.saved_count is None:
            return
        reached = torch.searchsorted(self.save_at, t, right=True)
        count = torch.where(accepted, reached - a.next_save, 0)
        rows = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        if not len(rows):
            return
        before = count.cumsum(0) - count
        column = a.next_save[rows] + torch.arange(len(rows), device=rows.device) - before[rows]
        s = ((self.save_at[column] - a.t[rows]) / (t - a.t)[rows]).to(a.y.dtype)
        dense = self.method.dense(a.y, trial, rows, h.to(a.y.dtype))
        inside = evaluate_dense(a.y[rows], dense, s)
        ledger.saved[a.index[rows], column] = torch.where(s[:, None] < 1, inside, trial.state[rows])
        a.next_save = a.next_save + count
        ledger.saved_count[a.index] = a.next_save

    def _judge(self, a: Active, ledger: Ledger, y0: Tensor, f0: Tensor, accepted: Tensor) -> Tensor:
        """Status code (n,) of each active row after the attempt, later rules overriding earlier ones."""
        code = torch.full_like(a.index, RUNNING)
        norm = torch.linalg.vector_norm(a.y, dim=1)
        rate_norm = torch.linalg.vector_norm(a.f, dim=1)

        def set_status(where: Tensor, status: Status) -> None:
            code[where] = _ORDERED.index(status)

        set_status(ledger.steps[a.index] + ledger.rejected[a.index] >= self.max_steps, Status.STEP_LIMIT)
        # The finest step the clock allows: if even that moves the state by more than the tolerance, motion
        # outruns the clock (blow-up); if not, something else than speed defeats the error estimate.
        finest = (TIME_RESOLUTION * a.t).clamp_min(MIN_STEP)
        underflow = a.h < finest
        scale = error_scale(a.y, a.y, self.rtol, self.atol)
        outrun = scaled_norm(a.f, scale).double() * finest > 1
        set_status(underflow & ~outrun, Status.STALLED)
        set_status(underflow & (outrun | (a.nonfinite > 0)), Status.DIVERGED)
        set_status(a.nonfinite >= NONFINITE_LIMIT, Status.DIVERGED)
        set_status(accepted & (a.t >= self.until), Status.FINISHED)
        far = accepted & (norm > self.max_norm)
        growth = torch.log(norm / torch.linalg.vector_norm(y0, dim=1))
        blow_up = torch.log(rate_norm / torch.linalg.vector_norm(f0, dim=1)) > BLOW_UP_EXPONENT * growth
        set_status(far & ~blow_up, Status.AT_INFINITY)
        set_status(far & blow_up, Status.DIVERGED)
        set_status(accepted & (rate_norm <= self.stationary_norm), Status.CONVERGED)
        return code

    def _retire(self, a: Active, ledger: Ledger, code: Tensor) -> None:
        """Enter the ended rows into the ledger and drop them."""
        ended = code != RUNNING
        if not bool(ended.any()):
            return
        index = a.index[ended]
        ledger.code[index] = code[ended]
        ledger.t[index] = a.t[ended]
        ledger.y[index] = a.y[ended]
        ledger.rate_norm[index] = torch.linalg.vector_norm(a.f[ended], dim=1)
        a.keep(~ended)

    def _report(self, a: Active, total: int) -> None:
        """Tell the progress: ended rows count 1, moving ones t / until."""
        if self.progress is None:
            return
        moving = 0.0 if math.isinf(self.until) else float((a.t / self.until).sum())
        done = min(1.0, (total - len(a.index) + moving) / total)
        if done >= self._reported + 1e-3:
            self._reported = done
            if done < 1:
                self.progress(done)

    def _result(self, theta0: Tensor, ledger: Ledger) -> FlowResult:
        """Assemble the result from the ledger."""
        times, states = self._trajectories(theta0, ledger)
        none = ledger.steps == 0
        return FlowResult(
            times=times,
            states=states,
            final_time=ledger.t,
            final_state=ledger.y,
            final_rate_norm=ledger.rate_norm,
            status=tuple(_ORDERED[c] for c in ledger.code.tolist()),
            steps=ledger.steps,
            rejected=ledger.rejected,
            evaluations=ledger.evaluations,
            jacobian_evaluations=ledger.jacobian_evaluations,
            smallest_step=ledger.smallest.masked_fill(none, torch.nan),
            largest_step=ledger.largest.masked_fill(none, torch.nan),
            stiff_steps=ledger.stiff,
            energy_increases=None if self.energy is None else ledger.increases,
            method=self.method.name,
            rtol=self.rtol,
            atol=self.atol,
        )

    def _trajectories(self, theta0: Tensor, ledger: Ledger) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Times (T_b,) and states (T_b, P) of each trajectory."""
        if self.save_at is not None and ledger.saved is not None and ledger.saved_count is not None:
            pairs = []
            for b, n in enumerate(ledger.saved_count.tolist()):
                t, y = self.save_at[:n], ledger.saved[b, :n]
                if n == 0 or bool(ledger.t[b] > t[-1]):
                    t, y = torch.cat([t, ledger.t[b : b + 1]]), torch.cat([y, ledger.y[b : b + 1]])
                pairs.append((t, y))
            return tuple(t for t, _ in pairs), tuple(y for _, y in pairs)
        everyone = torch.arange(len(theta0), device=theta0.device)
        path = [(everyone, torch.zeros_like(ledger.t), theta0)]
        if self.record:
            path += self._path
        else:
            moved = ledger.t > 0
            path.append((everyone[moved], ledger.t[moved], ledger.y[moved]))
        index, t, y = (torch.cat(parts) for parts in zip(*path, strict=True))
        order = torch.argsort(index, stable=True)
        lengths = torch.bincount(index, minlength=len(theta0)).tolist()
        return torch.split(t[order], lengths), torch.split(y[order], lengths)


def _require_shape(name: str, value: object, y: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless value is a tensor of the shape, dtype and device that y calls for."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}(theta) must return a tensor of shape {shape}, got {type(value).__name__}")
    if tuple(value.shape) != shape:
        raise ValueError(f"{name}(theta) must have shape {shape} for this theta, got {tuple(value.shape)}")
    if value.dtype != y.dtype or value.device != y.device:
        raise TypeError(
            f"{name}(theta) must be {y.dtype} on {y.device} like theta, got {value.dtype} on {value.device}"
        )
