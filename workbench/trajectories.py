r"""Trajectories of a study: its gradient flow, across and along kinks, or gradient descent, as JSON and pictures.

>>> import workbench as wb
>>> study = wb.study_from_mapping({"schema": 1, "name": "one", "model": {"width": 1, "input_bias": False},
...                                "data": {"x": [[1.0], [2.0]], "y": [0.5, 1.0]}})
>>> found = wb.Analysis(study).flow([{"a": [0.5], "w": [[0.5]]}], 100.0, 50)
>>> (run,) = found.to_dict()["trajectories"]
>>> run["status"], run["energy_increases"]
('finished', 0)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import Any

import torch
from torch import Tensor

from derivations.html_table import html_table
from numerics.compile import CompiledSystem
from numerics.descent import Noise, descend
from numerics.events import Event, loss_reaches, norm_reaches, rate_reaches
from numerics.flow import Status, integrate
from numerics.flow_run import Checkpoint
from numerics.pieces import Piecewise
from numerics.sliding import integrate_pieces
from workbench.flow_entries import Entry, ending, entry_of, event_of
from workbench.flow_settings import FlowSettings
from workbench.kinked_flows import route_of

__all__ = ["Trajectories", "View", "run_flow"]

SCHEMA = 1
#: Attempted steps of a trajectory.
MOST_STEPS = 100_000
#: The same where kinks are stepped across: where one attracts, the trajectory would chatter for minutes.
MOST_CHATTER = 10_000
#: Steps of a descent.
MOST_DESCENT = 10**8
#: What it means that the way on from a kink is not decided.
UNDECIDED = (
    "How the flow goes on from here is not decided; what was computed up to here holds. A start close by usually passes; "
    "gradient descent (--step-size) always does, and says less."
)
Remember = Callable[[int, Callable[[], Entry]], Entry]


@dataclass(frozen=True)
class Trajectories:
    """Trajectories from one or many starts; ``derived_from`` is the compiled system.

    ``notes`` are sentences on how they were computed that a reader must know: none where nothing is special.
    """

    study: str
    trajectories: tuple[Entry, ...]
    derived_from: Any = field(default=None, compare=False, repr=False)
    settings: FlowSettings = field(default_factory=FlowSettings)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of schema 1."""
        found: dict[str, Any] = {"schema": SCHEMA, "study": self.study}
        if self.settings != FlowSettings():
            found["settings"] = self.settings.to_dict()
        if self.notes:
            found["notes"] = list(self.notes)
        return {**found, "trajectories": list(self.trajectories)}

    def plot(self, ax: Any = None, what: str = "loss", phase: tuple[str, str] | None = None) -> Any:
        """Draw the loss against time (``loss``), norms of the blocks (``norms``), directions of the neurons
        (``directions``), or the way in two coordinates (``phase``, named like ``a1`` and ``w1``).
        """  # noqa: D205
        from workbench.plots.trajectories import draw_trajectories

        return draw_trajectories(self.trajectories, what, phase, ax=ax)

    def view(self, what: str, phase: tuple[str, str] | None = None) -> View:
        """Return the same trajectories, to be drawn in another way."""
        return View(self, what, phase)

    def _repr_html_(self) -> str:
        rows = [
            (f"{t['t'][-1]:.4g}", f"{t['value'][-1]:.10g}", t["status"], _drift(t)) for t in self.trajectories
        ]
        heads = ("final t", "final R", "status", "drift of conserved quantities")
        what = "descent" if self.settings.descends else "gradient flow"
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return html_table(heads, rows, f"{self.study}: {what}") + notes


@dataclass(frozen=True)
class View:
    """A way to draw trajectories."""

    of: Trajectories
    what: str
    phase: tuple[str, str] | None = None

    def plot(self, ax: Any = None) -> Any:
        """Draw."""
        return self.of.plot(ax, self.what, self.phase)


def run_flow(
    system: CompiledSystem,
    study: str,
    points: Sequence[Mapping[str, Any]],
    until: float,
    count: int,
    settings: FlowSettings | None = None,
    *,
    progress: Callable[[float], None] | None = None,
    checkpoint: Checkpoint | None = None,
    remember: Remember | None = None,
    twin: Callable[[], CompiledSystem] | None = None,
) -> Trajectories:
    """Integrate from dictionaries of blocks, saving ``count`` times that are equally spaced in log(1 + t).

    Parameters
    ----------
    system : CompiledSystem
        Of the study.
    study : str
        Its name.
    points : sequence of mapping
        Starts.
    until : float
        End time.
    count : int
        Times saved.
    settings : FlowSettings, optional
        Events, or a descent.
    progress : callable, optional
        Told the fraction done.
    checkpoint : Checkpoint, optional
        Where a run of many starts at once leaves its state.
    remember : callable, optional
        ``remember(row, compute)`` gives the trajectory ``row`` of a network with kinks, which are computed one by one.
    twin : callable, optional
        Gives the same system in float64 on the CPU, where kinks are followed.

    Raises
    ------
    ValueError
        If a point, the time, the count or a setting is refused.
    """
    settings = settings or FlowSettings()
    if not 0 < until < float("inf"):
        raise ValueError(f"--until: found {until}; accepted: a positive finite time")
    if not 2 <= count <= 100_000:
        raise ValueError(f"--points: found {count}; accepted: an integer from 2 to 100000")
    route = None if settings.descends else route_of(system, twin)
    system = system if route is None else route.system
    starts = torch.stack([system.pack(blocks) for blocks in points])
    grid = torch.expm1(
        torch.linspace(0, torch.log1p(torch.tensor(until, dtype=torch.float64)), count, dtype=torch.float64)
    )
    grid[-1] = until
    if route is None:
        entries = _descended(system, starts, until, grid, settings, progress, checkpoint)
        return Trajectories(study, tuple(entries), system, settings)
    if route.pieces is None:
        if any(watched.kind == "kink" for watched in settings.watched):
            found = route.notes[0].partition(". ")[0] if route.notes else "This model has no kinks"
            raise ValueError(
                f"--event kink: found a model whose kinks are not followed. {found}; accepted: two-layer or deep networks with "
                "kinks in the activation or one in the loss"
            )
        most = MOST_STEPS if route.reliable else MOST_CHATTER
        entries = _smooth(system, starts, until, grid, settings, most, progress, checkpoint)
    else:
        entries = _sliding(system, route.pieces, starts, until, grid, settings, progress, remember)
    return Trajectories(study, tuple(entries), system, settings, route.notes)


def _smooth(
    system: CompiledSystem,
    starts: Tensor,
    until: float,
    grid: Tensor,
    settings: FlowSettings,
    most_steps: int,
    progress: Callable[[float], None] | None,
    checkpoint: Checkpoint | None,
) -> list[Entry]:
    result = integrate(
        system.flow,
        starts,
        until,
        max_steps=most_steps,
        jacobian=system.flow_jacobian,
        save_at=grid,
        energy=system.value,
        events=_events(system, settings),
        progress=progress,
        checkpoint=checkpoint,
    )
    assert result.energy_increases is not None
    entries = []
    for row, status in enumerate(result.status):
        entry = entry_of(system, result.times[row], result.states[row], status, int(result.steps[row]))
        switched, blow_up = float(result.switched_at[row]), float(result.blow_up_time[row])
        entries.append(
            entry
            | {
                "rejected": int(result.rejected[row]),
                "method": result.method.split(", ")[0],
                "stiff_from": None if math.isnan(switched) else switched,
                "energy_increases": int(result.energy_increases[row]),
                "events": [event_of(system, c) for c in result.crossings if c.row == row],
                **ending(system, blow_up, int(result.entry[row])),
            }
        )
    return entries


def _sliding(
    system: CompiledSystem,
    pieces: Piecewise,
    starts: Tensor,
    until: float,
    grid: Tensor,
    settings: FlowSettings,
    progress: Callable[[float], None] | None,
    remember: Remember | None,
) -> list[Entry]:
    """One trajectory after the other, each kept when it is done."""
    kinks = [watched for watched in settings.watched if watched.kind == "kink"]

    def one(row: int) -> Entry:
        def told(fraction: float) -> None:
            if progress is not None:
                progress((row + fraction) / len(starts))

        run = integrate_pieces(
            pieces,
            starts[row],
            until,
            save_at=grid,
            max_steps=MOST_STEPS,
            energy=system.value,
            events=_events(system, settings),
            stop_at_kink=any(watched.stop for watched in kinks),
            progress=told,
        )
        found = [event_of(system, c) for c in run.crossings]
        if kinks:
            found += [event_of(system, c) | {"kink": pieces.labels[c.channel]} for c in run.kinks]
        entry = entry_of(system, run.times, run.states, run.status, run.steps)
        if run.reason:
            entry["message"] = f"{run.reason[0].upper()}{run.reason[1:]}. {UNDECIDED}"
        slides = [
            {"start": s.start, "end": s.end, "kinks": [pieces.labels[k] for k in s.surfaces]}
            for s in run.slides
        ]
        return entry | {
            "rejected": run.rejected,
            "method": "pieces",
            "pieces": run.modes,
            "energy_increases": run.energy_increases,
            "events": sorted(found, key=lambda event: event["t"]),
            "kinks_reached": len(run.kinks),
            "slides": slides,
            **ending(system, run.blow_up_time, run.entry),
        }

    entries = []
    for row in range(len(starts)):
        entries.append(one(row) if remember is None else remember(row, partial(one, row)))
        if progress is not None:
            progress((row + 1) / len(starts))
    return entries


def _descended(
    system: CompiledSystem,
    starts: Tensor,
    until: float,
    grid: Tensor,
    settings: FlowSettings,
    progress: Callable[[float], None] | None,
    checkpoint: Checkpoint | None,
) -> list[Entry]:
    assert settings.step_size is not None
    if type(system) is not CompiledSystem:
        raise ValueError("step_size: found data that are a population; accepted: samples")
    steps = round(until / settings.step_size)
    if not 1 <= steps <= MOST_DESCENT:
        raise ValueError(
            f"step_size: found {settings.step_size}, which makes {steps} steps until {until}; accepted: 1 to {MOST_DESCENT}"
        )
    noise = Noise(settings.batch, settings.label_noise, settings.temperature)
    result = descend(
        system,
        starts,
        settings.step_size,
        steps,
        noise=noise,
        seed=settings.seed,
        save_at=torch.unique(torch.round(grid / settings.step_size).long().clamp(0, steps)),
        progress=progress,
        checkpoint=checkpoint,
    )
    entries = []
    for row, status in enumerate(result.status):
        made = int(result.steps[row])
        kept = result.step < made if status is not Status.FINISHED else result.step <= made
        times = torch.cat([result.times[kept], torch.tensor([made * settings.step_size])])
        states = torch.cat([result.states[kept, row], result.final_state[row : row + 1]])
        if status is Status.FINISHED:
            times, states = times[:-1], states[:-1]
        entry = entry_of(system, times, states, status, made)
        entry["message"] = _DESCENT[status]
        method = "stochastic descent" if noise.random else "gradient descent"
        entries.append(
            entry | {"method": method, "events": [], **ending(system, math.nan, int(result.entry[row]))}
        )
    return entries


_DESCENT = {
    Status.FINISHED: "All steps were made.",
    Status.CONVERGED: "The norm of the gradient fell to the given bound.",
    Status.DIVERGED: (
        "The parameters passed the largest norm or were no longer finite. Likely cause: a step size above 2 over the "
        "largest curvature; make it smaller."
    ),
}


def _events(system: CompiledSystem, settings: FlowSettings) -> list[Event]:
    events = []
    for watched in settings.watched:
        if watched.level is None:
            continue
        if watched.kind == "loss":
            events.append(loss_reaches(system.value, watched.level, stop=watched.stop))
        elif watched.kind == "norm":
            events.append(norm_reaches(watched.level, stop=watched.stop))
        else:
            events.append(rate_reaches(system.flow, watched.level, stop=watched.stop))
    return events


def _drift(entry: Entry) -> str:
    drifts = [law["drift"] for law in entry.get("conserved", ())]
    return f"{max(drifts):.2g}" if drifts else "no law"
