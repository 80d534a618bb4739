r"""Gradient flows across and along kinks: pieces integrated one after the other, each to the surface where it ends.

Inside a piece the integrator sees a smooth rate, so that it keeps its order and its error estimate; the surface is
located as an event; there :mod:`numerics.sliding_mode` decides whether the trajectory crosses or slides.  A plain
integrator instead rejects steps at every kink and chatters along those that attract.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from numerics.events import Crossing, Event
from numerics.flow import integrate
from numerics.flow_result import FlowResult, Status
from numerics.pieces import Piecewise
from numerics.sliding_mode import Mode, Undecided, decide, shares, sliding_rate

__all__ = ["Slide", "SlidingRun", "integrate_pieces"]

ON_SURFACE = 1e-12
"""A surface function counts as zero up to this fraction of |normal| |theta|: located by bisection, seen 1e-16."""
MOST_MODES = 10_000
"""Changes of mode after which a trajectory is given up: they accumulate, or the kinks are too many."""
AT_ONCE = 30
"""Changes of mode without progress of the clock after which it is given up."""
REACHED, LEFT = "kink reached", "kink left"
NUDGE = 1e-14
"""Distance, as a fraction of |theta| + 1, by which a surface just left is moved back, against rounding."""


@dataclass(frozen=True)
class Slide:
    """A stretch of time spent on surfaces.

    Parameters
    ----------
    start, end : float
        When.
    surfaces : tuple of int
        Which, all along it.
    """

    start: float
    end: float
    surfaces: tuple[int, ...]


@dataclass(frozen=True)
class SlidingRun:
    """One trajectory.

    Parameters
    ----------
    times, states : Tensor, shapes (T,) and (T, P)
        At the wanted times up to the end, and the end itself.
    status : Status
        As for :func:`numerics.flow.integrate`.
    reason : str
        Why it stalled where kinks meet; empty otherwise.
    rate_norm : float
        Norm of the velocity at the end.
    steps, rejected, modes, energy_increases : int
        Accepted and rejected steps, pieces passed through, and steps on which the energy rose.
    slides : tuple of Slide
        Where it slid.
    kinks : tuple of Crossing
        Every surface reached, with the direction it was reached in; ``channel`` is its number.
    crossings : tuple of Crossing
        Other events.
    blow_up_time : float
        NaN where there is none.
    entry : int
        As in ``FlowResult``.
    """

    times: Tensor
    states: Tensor
    status: Status
    reason: str
    rate_norm: float
    steps: int
    rejected: int
    modes: int
    energy_increases: int
    slides: tuple[Slide, ...]
    kinks: tuple[Crossing, ...]
    crossings: tuple[Crossing, ...]
    blow_up_time: float
    entry: int


@dataclass
class _Run:
    """What has happened so far."""

    pieces: Piecewise
    until: float
    save_at: Tensor
    options: dict[str, object]
    events: Sequence[Event]
    energy: Callable[[Tensor], Tensor] | None
    max_steps: int
    t: float = 0.0
    steps: int = 0
    rejected: int = 0
    increases: int = 0
    modes: int = 0
    first_step: float | None = None
    times: list[Tensor] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    slides: list[Slide] = field(default_factory=list)
    kinks: list[Crossing] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)


@torch.no_grad()
def integrate_pieces(
    pieces: Piecewise,
    theta0: Tensor,
    until: float,
    *,
    save_at: Tensor,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    stationary_norm: float | None = None,
    max_norm: float = 1e6,
    max_steps: int = 100_000,
    energy: Callable[[Tensor], Tensor] | None = None,
    events: Sequence[Event] = (),
    stop_at_kink: bool = False,
    progress: Callable[[float], None] | None = None,
) -> SlidingRun:
    """Integrate one trajectory of a piecewise smooth gradient flow.

    Parameters
    ----------
    pieces : Piecewise
        The flow.
    theta0 : Tensor, shape (P,)
        Start, in float64; it may lie on surfaces.
    until : float
        End time, positive and finite.
    save_at : Tensor, shape (T,)
        Increasing times in [0, until].
    rtol, atol, stationary_norm, max_norm, max_steps, energy, events, progress
        As for :func:`numerics.flow.integrate`; the events are looked at in every mode.
    stop_at_kink : bool
        Whether the trajectory ends at the first surface that it reaches.

    Returns
    -------
    SlidingRun

    Raises
    ------
    ValueError, TypeError
        For arguments that :func:`numerics.flow.integrate` refuses; a float32 start.

    Source
    ------
    Filippov, Differential Equations with Discontinuous Righthand Sides (1988), sec. 4; Davis, Drusvyatskiy, Kakade & Lee,
    Found. Comput. Math. 20 (2020), 119-154, Lemma 5.2: the velocity is the element of least norm.
    """
    if theta0.ndim != 1 or theta0.dtype != torch.float64:
        raise ValueError(
            f"theta0 must be one point (P,) in float64, got {tuple(theta0.shape)} in {theta0.dtype}"
        )
    options: dict[str, object] = {
        "rtol": rtol,
        "atol": atol,
        "stationary_norm": stationary_norm,
        "max_norm": max_norm,
    }
    run = _Run(pieces, float(until), save_at.double(), options, tuple(events), energy, max_steps)
    y = theta0.detach().clone()
    if float(run.save_at[0]) == 0:
        run.times.append(run.save_at[:1])
        run.states.append(y[None])
    start = torch.ones(len(pieces.labels), dtype=torch.float64)
    values = pieces.surfaces(y[None], start[None])[0]
    if any(kind > 0 for kind in pieces.kinds):  # deeper surfaces depend on the sides of those before
        for _ in range(1 + max(pieces.kinds)):
            values = pieces.surfaces(y[None], torch.where(values < 0, -start, start)[None])[0]
    sides = torch.where(values < 0, -start, start)
    mode, stuck, last = Mode(sides, ()), 0, -1.0
    touching = _touching(pieces, y, mode, ())
    while True:
        try:
            if touching:
                mode = decide(pieces, y, mode.sides, touching)
        except Undecided as error:
            return _ended(run, y, Status.STALLED, str(error))
        result, cause = _piece(run, mode, y)
        y = result.final_state[0]
        if progress is not None:
            progress(min(1.0, run.t / run.until))
        status = result.status[0]
        if cause is None:
            return _ended(run, y, status, "", result)
        if run.steps + run.rejected >= max_steps:
            return _ended(run, y, Status.STEP_LIMIT, "", result)
        stuck = stuck + 1 if run.t <= last * (1 + 1e-15) else 0
        last = run.t
        if stuck > AT_ONCE or run.modes > MOST_MODES:
            return _ended(run, y, Status.STALLED, "changes of mode accumulate here", result)
        kind, number = cause
        if kind == "left":
            bundle, side = mode.sliding[number // 2], (-1.0, 1.0)[number % 2]
            rest = tuple(u for u in mode.sliding if u is not bundle)
            mode, touching = Mode(bundle.put(mode.sides, side), rest), ()
        else:
            found = _touching(pieces, y, mode, (number,))
            run.kinks += [Crossing(0, run.t, "kink", k, -int(mode.sides[k]), y) for k in found]
            if stop_at_kink:
                return _ended(run, y, Status.EVENT, "", result)
            touching = (*mode.surfaces, *found)


def _piece(run: _Run, mode: Mode, y: Tensor) -> tuple[FlowResult, tuple[str, int] | None]:
    """Integrate one mode to its end, and say what ended it.

    The cause is a surface reached, or a sliding bundle left: twice its number, plus the side.
    """
    pieces, fixed = run.pieces, set(mode.surfaces)
    free = torch.tensor([k for k in range(len(pieces.labels)) if k not in fixed], dtype=torch.long)
    values = pieces.surfaces(y[None], mode.sides[None])[0]
    nudge = NUDGE * (1 + float(y.norm()))
    back = torch.where(values * mode.sides < nudge, mode.sides * (nudge - values * mode.sides), 0.0)

    def surfaces(theta: Tensor) -> Tensor:
        values = pieces.surfaces(theta, mode.sides.expand(len(theta), -1)) + back
        return values.index_select(1, free) if fixed else values

    events = [Event(REACHED, surfaces, stop=True)] if len(free) else []
    if mode.sliding:
        first = shares(pieces, mode, y[None])
        least = NUDGE * (1 + float(first.abs().max()))
        lift = (least - first).clamp_min(0.0)
        events.append(Event(LEFT, lambda theta: shares(pieces, mode, theta) + lift, direction=-1, stop=True))
    jacobian = None
    if pieces.jacobian is not None and not mode.sliding:
        of_piece = pieces.jacobian

        def jacobian(theta: Tensor) -> Tensor:
            return of_piece(theta, mode.sides.expand(len(theta), -1))

    ahead = run.save_at[run.save_at > run.t]
    left = run.until - run.t
    result = integrate(
        lambda theta: sliding_rate(pieces, mode, theta),
        y[None],
        left,
        jacobian=jacobian,
        save_at=(ahead - run.t).clamp_max(left) if len(ahead) else None,
        energy=run.energy,
        events=[*events, *run.events],
        max_steps=max(1, run.max_steps - run.steps - run.rejected),
        first_step=run.first_step,
        **run.options,  # type: ignore[arg-type]
    )
    begin, run.t = run.t, run.t + float(result.final_time[0])
    if result.status[0] is Status.FINISHED:
        run.t = run.until
    if len(ahead):
        count = int(((ahead - begin).clamp_max(left) <= result.final_time[0]).sum())
        run.times.append(ahead[:count])
        run.states.append(result.states[0][:count])
    run.steps += int(result.steps[0])
    run.rejected += int(result.rejected[0])
    run.increases += 0 if result.energy_increases is None else int(result.energy_increases[0])
    run.modes += 1
    step = float(result.next_step[0])
    run.first_step = step if 0 < step < math.inf else None
    if mode.sliding and run.t > begin:
        run.slides.append(Slide(begin, run.t, mode.surfaces))
    others = [c for c in result.crossings if c.event not in (REACHED, LEFT)]
    run.crossings += [Crossing(0, begin + c.time, c.event, c.channel, c.direction, c.state) for c in others]
    stops = {event.name for event in (*events, *run.events) if event.stop}
    last = next((c for c in reversed(result.crossings) if c.event in stops), None)
    if result.status[0] is not Status.EVENT or last is None or last.event not in (REACHED, LEFT):
        return result, None
    if last.event == REACHED:
        return result, ("reached", int(free[last.channel]))
    count = len(mode.sliding)
    return result, ("left", 2 * (last.channel % count) + last.channel // count)


def _touching(pieces: Piecewise, y: Tensor, mode: Mode, reached: Sequence[int]) -> tuple[int, ...]:
    """Surfaces through y besides those of the mode: the ones reached, and all that vanish within rounding."""
    values = pieces.surfaces(y[None], mode.sides[None])[0]
    bound = ON_SURFACE * (1 + float(y.norm()))
    near = set((values.abs() <= bound).nonzero()[:, 0].tolist()) | set(reached)
    return tuple(sorted(near - set(mode.surfaces)))


def _ended(run: _Run, y: Tensor, status: Status, reason: str, result: FlowResult | None = None) -> SlidingRun:
    times = torch.cat(run.times) if run.times else run.save_at[:0]
    states = torch.cat(run.states) if run.states else y[None][:0]
    if not len(times) or run.t > float(times[-1]):
        times, states = torch.cat([times, times.new_tensor([run.t])]), torch.cat([states, y[None]])
    diverged = result is not None and status is Status.DIVERGED
    return SlidingRun(
        times=times,
        states=states,
        status=status,
        reason=reason,
        rate_norm=math.nan if result is None else float(result.final_rate_norm[0]),
        steps=run.steps,
        rejected=run.rejected,
        modes=run.modes,
        energy_increases=run.increases,
        slides=tuple(_joined(run.slides)),
        kinks=tuple(run.kinks),
        crossings=tuple(run.crossings),
        blow_up_time=run.t - float(result.final_time[0]) + float(result.blow_up_time[0])
        if diverged and result is not None
        else math.nan,
        entry=-1 if result is None else int(result.entry[0]),
    )


def _joined(slides: Sequence[Slide]) -> list[Slide]:
    """Join stretches along the same surfaces that follow each other at once."""
    found: list[Slide] = []
    for slide in slides:
        if found and found[-1].end == slide.start and found[-1].surfaces == slide.surfaces:
            slide = Slide(found.pop().start, slide.end, slide.surfaces)
        found.append(slide)
    return found
