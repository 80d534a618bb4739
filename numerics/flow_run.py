"""The stepping loop behind :func:`numerics.flow.integrate`: propose, judge, record, retire, rows at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from numerics.controller import Controller, error_scale, initial_step, scaled_norm
from numerics.events import Event, Watch
from numerics.flow_assembly import assemble, require_shape
from numerics.flow_books import HANDED_OVER, RUNNING, Active, Ledger
from numerics.flow_result import FlowResult, Status
from numerics.flow_verdict import ORDERED, Limits, blow_up_time, judge
from numerics.steppers import JacobianFunction, Method, RateFunction, Trial, evaluate_dense

__all__ = ["Checkpoint", "FlowRun"]

STIFF_RATIO = 3.25
"""Stability boundary of dopri5 on the negative real axis (Hairer & Wanner II, sec. IV.2)."""
SMALL, SMALL_RATIO = 64, 1.5
"""For so few parameters a step of rodas4 costs little, and h lambda above this already hands over: where the step of dopri5
approaches its stability boundary, that of an L-stable method of order 4 still grows."""
CALM_STEPS = 6
"""Steps in a row that stability does not limit, after which the count of stiff ones starts anew."""
MAX_STEP = 1e30
"""Largest step, inside the float32 range."""
ENERGY_ROUNDING = 64
"""Rounding allowed in an energy, in machine epsilons of its size."""


class Checkpoint(Protocol):
    """Where a run leaves its state, and takes it up again."""

    def load(self) -> Mapping[str, Tensor] | None:
        """Return the state that was saved last, None if there is none."""

    def due(self) -> bool:
        """Say whether it is time to save."""

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Keep a state, whole or not at all."""


@dataclass
class FlowRun:
    """One integration under way; the fields are the checked arguments of :func:`numerics.flow.integrate`.

    ``methods`` are taken in turn: a row that proves stiff under one goes to the next.
    """

    rate: RateFunction
    full_jacobian: JacobianFunction | None
    methods: tuple[Method, ...]
    energy: Callable[[Tensor], Tensor] | None
    limits: Limits
    save_at: Tensor | None
    record: bool
    events: Sequence[Event]
    progress: Callable[[float], None] | None
    checkpoint: Checkpoint | None = None
    phase: int = 0
    _path: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    _watch: Watch = field(default_factory=lambda: Watch(()))
    _reported: float = 0.0

    @property
    def method(self) -> Method:
        """The method of this phase."""
        return self.methods[self.phase]

    @property
    def jacobian(self) -> JacobianFunction | None:
        """The Jacobian, where the method of this phase needs it."""
        return self.full_jacobian if self.method.needs_jacobian else None

    def solve(self, theta0: Tensor, first_step: float | None) -> FlowResult:
        """Integrate the starts theta0 (B, P) to their ends."""
        ledger = Ledger.of(theta0, self.save_at)
        self._watch = Watch(self.events)
        before = None if self.checkpoint is None else self.checkpoint.load()
        active = self._start(theta0, first_step, ledger) if before is None else self._resume(before, ledger)
        while True:
            while len(active.index):
                self._advance(active, ledger)
                self._report(active, len(theta0))
                if self.checkpoint is not None and self.checkpoint.due():
                    self.checkpoint.save(self._state(active, ledger))
            if not bool((ledger.code == HANDED_OVER).any()):
                break
            active = self._hand_over(ledger)
        if self.progress is not None:
            self.progress(1.0)
        crossings = self._watch.crossings()
        return assemble(
            self.limits,
            self.methods,
            theta0,
            ledger,
            self.save_at,
            self._path if self.record else None,
            crossings,
            self.energy is not None,
        )

    def _state(self, active: Active, ledger: Ledger) -> dict[str, Tensor]:
        """Everything that decides how the run goes on."""
        books = {"active": active.pack(), "ledger": ledger.pack(), "watch": self._watch.pack()}
        state = {f"{book} {name}": value for book, pages in books.items() for name, value in pages.items()}
        state["phase"] = torch.tensor(self.phase)
        if self._path:
            state |= {f"path {i}": torch.cat(part) for i, part in enumerate(zip(*self._path, strict=True))}
        return state

    def _resume(self, state: Mapping[str, Tensor], ledger: Ledger) -> Active:
        """Take up a state that :meth:`_state` gave; the ledger is filled."""

        def book(name: str) -> dict[str, Tensor]:
            return {key[len(name) + 1 :]: v for key, v in state.items() if key.startswith(f"{name} ")}

        self.phase = int(state["phase"])
        ledger.unpack(book("ledger"))
        self._watch.found = {name: [] for name in ("row", "time", "event", "channel", "direction", "state")}
        self._watch.unpack(book("watch"))
        self._path = [tuple(book("path").values())] if "path 0" in state else []  # type: ignore[list-item]
        empty = torch.zeros(0, dtype=torch.int64)
        active = Active.of(empty, ledger.t[:0], ledger.y[:0], ledger.y[:0], ledger.t[:0], empty)
        active.unpack(book("active"))
        return active

    def _hand_over(self, ledger: Ledger) -> Active:
        """Start the stiff method on the rows that wait for it, where they stand."""
        self.phase += 1
        rows = (ledger.code == HANDED_OVER).nonzero()[:, 0]
        ledger.code[rows] = RUNNING
        ledger.switched[rows] = ledger.t[rows]
        y = ledger.y[rows]
        saved = torch.zeros_like(rows) if ledger.saved_count is None else ledger.saved_count[rows]
        active = Active.of(rows, ledger.t[rows], y, self.rate(y), ledger.h[rows], saved)
        ledger.evaluations[rows] += 1
        if self.energy is not None:
            active.energy = self.energy(y)
        if self.jacobian is not None:
            active.jacobian = self.jacobian(y).clone()
            require_shape("jacobian", active.jacobian, y, (*y.shape, y.shape[1]))
            ledger.jacobian_evaluations[rows] += 1
            active.stale = active.stale & False
        return active

    def _start(self, y: Tensor, first_step: float | None, ledger: Ledger) -> Active:
        """Evaluate the starts, choose first steps, retire the rows that cannot or need not move."""
        f = self.rate(y)
        require_shape("rate", f, y, tuple(y.shape))
        ledger.evaluations += 1
        moving = torch.isfinite(f).all(1)
        norm = torch.linalg.vector_norm(f, dim=1)
        ledger.rate_norm = norm.clone()
        stationary = norm <= self.limits.stationary_norm
        ledger.code[~moving] = ORDERED.index(Status.DIVERGED)
        ledger.entry = torch.where(moving, -1, (~torch.isfinite(f)).int().argmax(1))
        ledger.code[stationary] = ORDERED.index(Status.CONVERGED)
        zero, count = torch.zeros_like(ledger.t), torch.zeros_like(ledger.steps)
        everyone = torch.arange(len(y), device=y.device)
        active = Active.of(everyone, zero, y, f, zero + (first_step or 0.0), count)
        self._watch.start(y)
        if self.energy is not None:
            active.energy = self.energy(y)
            require_shape("energy", active.energy, y, (len(y),))
        if self.save_at is not None and ledger.saved is not None and self.save_at[0] == 0:
            ledger.saved[:, 0] = y
            active.next_save += 1
            ledger.saved_count = active.next_save.clone()
        active.keep(moving & ~stationary)
        if self.jacobian is not None and len(active.index):
            active.jacobian = self.jacobian(active.y)
            require_shape("jacobian", active.jacobian, y, (*active.y.shape, y.shape[1]))
            ledger.jacobian_evaluations[active.index] += 1
            active.jacobian, active.stale = active.jacobian.clone(), active.stale & False
        if first_step is None and len(active.index):
            active.h = initial_step(
                self.rate, active.y, active.f, self.method, self.limits.rtol, self.limits.atol
            )
            ledger.evaluations[active.index] += 1
        return active

    def _advance(self, a: Active, ledger: Ledger) -> None:
        """Attempt one step of every active row and update both books."""
        self._refresh_jacobian(a, ledger)
        remaining = self.limits.until - a.t
        last = 1.01 * a.h >= remaining
        h = torch.where(last, remaining, a.h)
        trial = self.method.step(self.rate, a.y, a.f, a.jacobian, h.to(a.y.dtype))
        scale = error_scale(a.y, trial.state, self.limits.rtol, self.limits.atol)
        ratio = scaled_norm(trial.error, scale).double()
        finite = torch.isfinite(ratio) & torch.isfinite(trial.state).all(1)
        accepted = finite & (ratio <= 1)
        ledger.evaluations[a.index] += self.method.rates_per_step
        f = self._rate_after(a, trial, accepted, ledger)
        finite &= torch.isfinite(f).all(1)
        accepted &= finite
        end = torch.where(last, torch.full_like(a.t, self.limits.until), a.t + h)
        t = torch.where(accepted, end, a.t)
        self._count(a, ledger, trial, h, accepted)
        t, y, f, stopped = self._events(a, ledger, trial, h, t, f, accepted)
        self._check_energy(a, ledger, y, f, scale, accepted)
        self._save(a, ledger, trial, h, end, t, y, accepted)

        factor = Controller(self.method.error_order).factor(
            ratio, a.last_ratio, accepted, a.after_rejection, finite
        )
        a.h = (h * factor).clamp_max(MAX_STEP)
        a.nonfinite = torch.where(finite, 0, a.nonfinite + 1)
        a.last_ratio = torch.where(accepted, ratio, a.last_ratio)
        a.after_rejection = ~accepted
        a.stale = a.stale | accepted
        before_y, before_f = a.y, a.f
        a.t, a.y = t, torch.where(accepted[:, None], y, a.y)
        a.f = torch.where(accepted[:, None], f, a.f)
        more = self.phase + 1 < len(self.methods)
        code = judge(a, ledger, self.limits, before_y, before_f, accepted, stopped, more)
        self._blame(a, ledger, code, trial, scale, before_y, before_f)
        self._retire(a, ledger, code)

    def _events(
        self, a: Active, ledger: Ledger, trial: Trial, h: Tensor, t: Tensor, f: Tensor, accepted: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Record the events of the step; times, states and rates after it, cut where an event ends a row."""
        stopped = accepted & False
        rows = accepted.nonzero()[:, 0] if self.events else ()
        if not len(rows):
            return t, trial.state, f, stopped
        y0, dense = a.y[rows], self.method.dense(a.y, trial, rows, h.to(a.y.dtype))  # type: ignore[arg-type]

        def inside(which: Tensor, s: Tensor) -> Tensor:
            return evaluate_dense(y0[which], dense[which], s.to(y0.dtype))

        length = (t - a.t)[rows]
        stops = self._watch.step(a.index[rows], a.t[rows], length, inside, trial.state[rows])
        cut = torch.isfinite(stops).nonzero()[:, 0]
        if not len(cut):
            return t, trial.state, f, stopped
        ended = rows[cut]  # type: ignore[index]
        t, y, f = t.clone(), trial.state.clone(), f.clone()
        t[ended] = a.t[ended] + stops[cut] * length[cut]
        y[ended] = inside(cut, stops[cut])
        f[ended] = self.rate(y[ended])
        ledger.evaluations[a.index[ended]] += 1
        stopped[ended] = True
        return t, y, f, stopped

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
            stiff = accepted & (trial.stiffness > (SMALL_RATIO if a.y.shape[1] <= SMALL else STIFF_RATIO))
            a.calm_run = torch.where(stiff, 0, a.calm_run + accepted)
            a.stiff_run = torch.where(a.calm_run >= CALM_STEPS, 0, a.stiff_run + stiff)

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

    def _save(
        self,
        a: Active,
        ledger: Ledger,
        trial: Trial,
        h: Tensor,
        end: Tensor,
        t: Tensor,
        y: Tensor,
        accepted: Tensor,
    ) -> None:
        """Record accepted steps, or the wanted times inside them; ``end`` is where the step ends, t the row."""
        if self.record:
            self._path.append((a.index[accepted], t[accepted], y[accepted]))
        if self.save_at is None or ledger.saved is None or ledger.saved_count is None:
            return
        reached = torch.searchsorted(self.save_at, t, right=True)
        count = torch.where(accepted, reached - a.next_save, 0)
        rows = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        if not len(rows):
            return
        before = count.cumsum(0) - count
        column = a.next_save[rows] + torch.arange(len(rows), device=rows.device) - before[rows]
        s = ((self.save_at[column] - a.t[rows]) / (end - a.t)[rows]).to(a.y.dtype)
        dense = self.method.dense(a.y, trial, rows, h.to(a.y.dtype))
        inside = evaluate_dense(a.y[rows], dense, s)
        ledger.saved[a.index[rows], column] = torch.where(s[:, None] < 1, inside, trial.state[rows])
        a.next_save = a.next_save + count
        ledger.saved_count[a.index] = a.next_save

    def _blame(
        self,
        a: Active,
        ledger: Ledger,
        code: Tensor,
        trial: Trial,
        scale: Tensor,
        y0: Tensor,
        f0: Tensor,
    ) -> None:
        """Note which entry of theta brought a row to its bad end, and when it would blow up."""
        bad = [ORDERED.index(u) for u in (Status.DIVERGED, Status.AT_INFINITY, Status.STALLED)]
        rows = torch.isin(code, torch.tensor(bad, device=code.device)).nonzero()[:, 0]
        if not len(rows):
            return
        diverged = code[rows] == ORDERED.index(Status.DIVERGED)
        # Motion that outruns the clock blows up at the present time as far as the clock can tell.
        estimate = blow_up_time(a, y0, f0)[rows]
        estimate = torch.where(torch.isnan(estimate) & (a.nonfinite[rows] == 0), a.t[rows], estimate)
        ledger.blow_up[a.index[rows]] = torch.where(diverged, estimate, torch.nan)
        # First what is not finite, else what is largest; of a row that stalls, the error that will not shrink.
        stages = trial.stages[:, rows].sum(0) + trial.state[rows]
        broken = ~torch.isfinite(stages)
        stalled = code[rows] == ORDERED.index(Status.STALLED)
        size = torch.where(stalled[:, None], (trial.error / scale)[rows].abs(), a.y[rows].abs())
        first = torch.where(broken.any(1) & (a.nonfinite[rows] > 0), broken.int().argmax(1), size.argmax(1))
        ledger.entry[a.index[rows]] = first

    def _retire(self, a: Active, ledger: Ledger, code: Tensor) -> None:
        """Enter the ended rows into the ledger and drop them."""
        ended = code != RUNNING
        if not bool(ended.any()):
            return
        index = a.index[ended]
        ledger.code[index] = code[ended]
        ledger.t[index] = a.t[ended]
        ledger.y[index] = a.y[ended]
        ledger.h[index] = a.h[ended]
        ledger.rate_norm[index] = torch.linalg.vector_norm(a.f[ended], dim=1)
        a.keep(~ended)

    def _report(self, a: Active, total: int) -> None:
        """Tell the progress: ended rows count 1, moving ones t / until."""
        if self.progress is None:
            return
        moving = 0.0 if math.isinf(self.limits.until) else float((a.t / self.limits.until).sum())
        done = min(1.0, (total - len(a.index) + moving) / total)
        if done >= self._reported + 1e-3:
            self._reported = done
            if done < 1:
                self.progress(done)
