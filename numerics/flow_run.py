"""The stepping loop behind :func:`numerics.flow.integrate`: propose, judge, record, retire, rows at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from numerics.controller import Controller, error_ratio, error_scale, initial_step
from numerics.events import Event, Watch
from numerics.flow_assembly import assemble, require_shape
from numerics.flow_books import HANDED_OVER, RUNNING, Active, Ledger
from numerics.flow_result import FlowResult, Status
from numerics.flow_verdict import ORDERED, Limits, blame, judge
from numerics.steppers import JacobianFunction, Method, RateFunction, Trial, evaluate_dense, stiffness

__all__ = ["Checkpoint", "FlowRun"]

SMALL, SMALL_SHARE = 64, 0.9
"""For so few parameters a step of rodas4 costs little, and h lambda above this share of the stability boundary already hands
over: where the step of an explicit method approaches it, that of an L-stable method of order 4 still grows."""
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


class _Span:
    """The continuous extension of the steps of one attempt, formed once for the rows that ask for it."""

    def __init__(self, run: FlowRun, a: Active, trial: Trial, f1: Tensor, h: Tensor) -> None:
        self.run, self.a, self.trial, self.f1, self.h = run, a, trial, f1, h
        self.y0 = a.y
        self.place: Tensor | None = None
        self.coefficients = a.y[:0]

    def prepare(self, rows: Tensor) -> None:
        """Form the extension of the rows (r,), of all that will be asked for; once for an attempt."""
        if self.place is not None:
            return
        method = self.run.method
        self.place = torch.zeros_like(self.a.index)
        self.place[rows] = torch.arange(len(rows), device=rows.device)
        self.coefficients = method.dense(self.run.rate, self.y0, self.trial, self.f1, rows, self.h)
        if method.dense_rates:
            self.a.evaluations[rows] += method.dense_rates

    def at(self, rows: Tensor, s: Tensor) -> Tensor:
        """States (r, P) of the rows (r,) at the fractions s (r,) of their steps."""
        assert self.place is not None
        return evaluate_dense(self.y0[rows], self.coefficients[self.place[rows]], s.to(self.y0.dtype))


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
        active = Active.of(empty, ledger.y[:0], ledger.y[:0], ledger)
        active.unpack(book("active"))
        return active

    def _hand_over(self, ledger: Ledger) -> Active:
        """Start the stiff method on the rows that wait for it, where they stand."""
        self.phase += 1
        rows = (ledger.code == HANDED_OVER).nonzero()[:, 0]
        ledger.code[rows] = RUNNING
        ledger.switched[rows] = ledger.t[rows]
        y = ledger.y[rows]
        active = Active.of(rows, y, self.rate(y), ledger)
        active.evaluations += 1
        if self.energy is not None:
            active.energy = self.energy(y)
        self._first_jacobian(active)
        return active

    def _first_jacobian(self, a: Active) -> None:
        """Evaluate the Jacobian of every row, where the method needs it."""
        if self.jacobian is None or not len(a.index):
            return
        found = self.jacobian(a.y)
        require_shape("jacobian", found, a.y, (*a.y.shape, a.y.shape[1]))
        a.jacobian_evaluations += 1
        a.jacobian, a.stale = found.clone(), torch.zeros_like(a.index, dtype=torch.bool)

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
        self._watch.start(y)
        if self.save_at is not None and ledger.saved is not None and ledger.saved_count is not None:
            ledger.saved_count += self.save_at[0] == 0
            if self.save_at[0] == 0:
                ledger.saved[:, 0] = y
        everyone = torch.arange(len(y), device=y.device)
        active = Active.of(everyone, y, f, ledger)
        active.h = active.h + (first_step or 0.0)
        if self.energy is not None:
            active.energy = self.energy(y)
            require_shape("energy", active.energy, y, (len(y),))
        active.keep((moving & ~stationary).nonzero()[:, 0])
        self._first_jacobian(active)
        if first_step is None and len(active.index):
            active.h = initial_step(
                self.rate, active.y, active.f, self.method, self.limits.rtol, self.limits.atol
            )
            active.evaluations += 1
        return active

    def _advance(self, a: Active, ledger: Ledger) -> None:
        """Attempt one step of every active row and update both books."""
        self._refresh_jacobian(a)
        method, limits = self.method, self.limits
        remaining = limits.until - a.t
        last = 1.01 * a.h >= remaining
        h = torch.where(last, remaining, a.h)
        step = h.to(a.y.dtype)
        trial = method.step(self.rate, a.y, a.f, a.jacobian, step)
        a.evaluations += method.rates_per_step
        scale = error_scale(a.y, trial.state, limits.rtol, limits.atol)
        ratio = error_ratio(trial, scale)
        norm = torch.linalg.vector_norm(trial.state, dim=1, dtype=torch.float64)
        finite = torch.isfinite(ratio + norm)
        accepted = finite & (ratio <= 1)
        f = self._rate_after(a, trial, accepted)
        finite &= torch.isfinite(torch.linalg.vector_norm(f, dim=1, dtype=torch.float64))
        accepted &= finite
        everyone = bool(accepted.all())
        end = torch.where(last, limits.until, a.t + h)
        t = end if everyone else torch.where(accepted, end, a.t)
        self._count(a, trial, f, h, accepted, everyone)
        span = _Span(self, a, trial, f, step)
        t, y, after, stopped = self._events(a, trial, span, t, f, accepted)
        self._check_energy(a, y, after, scale, accepted, everyone)
        self._save(a, ledger, trial, span, end, t, y, accepted)
        self._resize(a, h, ratio, accepted, finite, everyone)
        before_y, before_f = a.y, a.f
        a.t = t
        a.y = y if everyone else torch.where(accepted[:, None], y, before_y)
        a.f = after if everyone else torch.where(accepted[:, None], after, before_f)
        more = self.phase + 1 < len(self.methods)
        code = judge(a, limits, before_y, before_f, accepted, stopped, more)
        if code is None:
            return
        blame(a, ledger, code, trial, f, scale, before_y, before_f)
        ended = code != RUNNING
        if bool(ended.any()):
            rows = ended.nonzero()[:, 0]
            ledger.enter(a, rows, code[rows])
            a.keep((~ended).nonzero()[:, 0])

    def _resize(
        self, a: Active, h: Tensor, ratio: Tensor, accepted: Tensor, finite: Tensor, everyone: bool
    ) -> None:
        """Choose the next steps, and note what the next choice depends on."""
        control = Controller(self.method.error_order)
        if everyone and a.after_rejection is None:
            factor = control.after_success(ratio, a.last_ratio)
        else:
            after = torch.zeros_like(accepted) if a.after_rejection is None else a.after_rejection
            factor = control.factor(ratio, a.last_ratio, accepted, after, finite)
        a.h = (h * factor).clamp_max_(MAX_STEP)
        a.nonfinite = torch.zeros_like(a.nonfinite) if everyone else torch.where(finite, 0, a.nonfinite + 1)
        a.last_ratio = ratio if everyone else torch.where(accepted, ratio, a.last_ratio)
        a.after_rejection = None if everyone else ~accepted
        if a.stale is not None:
            a.stale = a.stale | accepted

    def _events(
        self, a: Active, trial: Trial, span: _Span, t: Tensor, f: Tensor, accepted: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Record the events of the step; times, states and rates after it, cut where an event ends a row."""
        rows = accepted.nonzero()[:, 0] if self.events else ()
        if not len(rows):
            return t, trial.state, f, None
        span.prepare(rows)  # type: ignore[arg-type]

        def inside(which: Tensor, s: Tensor) -> Tensor:
            return span.at(rows[which], s)  # type: ignore[index]

        length = (t - a.t)[rows]
        stops = self._watch.step(a.index[rows], a.t[rows], length, inside, trial.state[rows])
        cut = torch.isfinite(stops).nonzero()[:, 0]
        if not len(cut):
            return t, trial.state, f, None
        ended = rows[cut]  # type: ignore[index]
        t, y, f = t.clone(), trial.state.clone(), f.clone()
        t[ended] = a.t[ended] + stops[cut] * length[cut]
        y[ended] = inside(cut, stops[cut])
        f[ended] = self.rate(y[ended])
        a.evaluations[ended] += 1
        return t, y, f, torch.zeros_like(accepted).index_fill_(0, ended, True)

    def _refresh_jacobian(self, a: Active) -> None:
        """Evaluate the Jacobian at the states that moved since the last one."""
        if self.jacobian is None or a.jacobian is None or a.stale is None:
            return
        rows = a.stale.nonzero()[:, 0]
        if len(rows) == len(a.index):
            a.jacobian = self.jacobian(a.y)
        elif len(rows):
            a.jacobian = a.jacobian.index_copy(0, rows, self.jacobian(a.y[rows]))
        a.jacobian_evaluations += a.stale
        a.stale = torch.zeros_like(a.stale)

    def _rate_after(self, a: Active, trial: Trial, accepted: Tensor) -> Tensor:
        """Rate at the new states (n, P); of no meaning in the rows that were not accepted."""
        if trial.rate is not None:
            return trial.rate
        a.evaluations += accepted
        if bool(accepted.all()):
            return self.rate(trial.state)
        rows = accepted.nonzero()[:, 0]
        return a.f.index_copy(0, rows, self.rate(trial.state[rows])) if len(rows) else a.f

    def _count(self, a: Active, trial: Trial, f: Tensor, h: Tensor, accepted: Tensor, everyone: bool) -> None:
        """Keep the statistics of the steps."""
        a.steps += accepted
        a.rejected += ~accepted
        a.smallest = torch.minimum(a.smallest, h if everyone else torch.where(accepted, h, torch.inf))
        a.largest = torch.maximum(a.largest, h if everyone else torch.where(accepted, h, 0.0))
        measured = stiffness(trial, f, h.to(f.dtype))
        if measured is not None:
            boundary = self.method.stiff_ratio
            a.stiff += accepted & (measured > boundary)
            soon = a.y.shape[1] <= SMALL
            stiff = accepted & (measured > (SMALL_SHARE * boundary if soon else boundary))
            a.calm_run = (a.calm_run + accepted).masked_fill_(stiff, 0)
            a.stiff_run = (a.stiff_run + stiff).masked_fill_(a.calm_run >= CALM_STEPS, 0)

    def _check_energy(
        self, a: Active, y: Tensor, f: Tensor, scale: Tensor, accepted: Tensor, everyone: bool
    ) -> None:
        """Count the accepted steps whose energy rise neither rounding nor the local error explains."""
        if self.energy is None or a.energy is None:
            return
        rows = None if everyone else accepted.nonzero()[:, 0]
        if rows is not None and not len(rows):
            return
        old, new = (a.energy, self.energy(y)) if rows is None else (a.energy[rows], self.energy(y[rows]))
        motion = (f.abs() * scale).sum(1)
        rounding = ENERGY_ROUNDING * torch.finfo(y.dtype).eps * torch.maximum(old.abs(), new.abs())
        risen = ~(new - old <= rounding + (motion if rows is None else motion[rows]))
        if rows is None:
            a.increases += risen
            a.energy = new
        else:
            a.increases = a.increases.index_add(0, rows, risen.to(a.increases.dtype))
            a.energy = a.energy.index_copy(0, rows, new)

    def _save(
        self,
        a: Active,
        ledger: Ledger,
        trial: Trial,
        span: _Span,
        end: Tensor,
        t: Tensor,
        y: Tensor,
        accepted: Tensor,
    ) -> None:
        """Record accepted steps, or the wanted times inside them; ``end`` is where the step ends, t the row."""
        if self.record:
            self._path.append((a.index[accepted], t[accepted], y[accepted]))
        if self.save_at is None or ledger.saved is None:
            return
        reached = torch.searchsorted(self.save_at, t, right=True)
        count = torch.where(accepted, reached - a.next_save, 0)
        rows = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        if not len(rows):
            return
        before = count.cumsum(0) - count
        column = a.next_save[rows] + torch.arange(len(rows), device=rows.device) - before[rows]
        s = (self.save_at[column] - a.t[rows]) / (end - a.t)[rows]
        within = (count > 0).nonzero()[:, 0]
        span.prepare(within)
        states = torch.where(s[:, None] < 1, span.at(rows, s), trial.state[rows])
        ledger.saved[a.index[rows], column] = states
        a.next_save = a.next_save + count

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
