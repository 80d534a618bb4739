r"""Measurements along margin flows: monotonicity, the sandwich, rates, KKT residuals, convergence of the direction.

Each function takes the runs of one network and returns the finding of a claim of ``margin-kkt``.  A statement about a limit is
SUPPORTED by what has been seen up to the target, with the tolerance that the theory gives for the distance from the limit, and otherwise
UNDECIDED: a finite run refutes no limit.  What is claimed of every time is REFUTED by one state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from derivations.claim import Status
from derivations.theorem import Finding
from numerics.margin_flow import MarginFlow, MarginRun, MarginState

__all__ = ["Runs", "direction", "kkt_constants", "kkt_residuals", "monotone", "rates", "sandwich"]

#: Relative decrease of the smoothed margin between two states that is rounding of the integrator.
DECREASE = 1e-10
#: Relative error of the extrapolated difference along the flow; seen: 1e-9.
IDENTITY = 1e-6
#: Slope of a residual in the smallest margin, at most this fraction of -1/L: what a start leaves beside the limit keeps its length while
#: the norm grows like q_min^(1/L).
SLOPE = 0.8
#: A residual below this has reached rounding.
ROUNDING = 1e-7


@dataclass(frozen=True)
class Runs:
    """Runs of one network; ``free`` drops the condition that the data are separated."""

    flow: MarginFlow
    runs: tuple[MarginRun, ...]
    free: bool = False

    @property
    def complete(self) -> list[MarginRun]:
        """Those that reached the target."""
        return [run for run in self.runs if run.reached]

    @property
    def samples(self) -> int:
        """Number n."""
        return len(self.flow.y)

    def tested(self, run: MarginRun) -> list[MarginState]:
        """States of a run at which the theorem speaks: those with E below the threshold."""
        if self.free:
            return list(run.states)
        bound = 0.0 if self.flow.loss == "exponential" else math.log(math.log(2))
        return [state for state in run.states if state.log_loss < bound]

    @property
    def missing(self) -> Finding:
        """What is said where no run reached the target."""
        reasons = "; ".join(dict.fromkeys(run.reason for run in self.runs if run.reason))
        return Finding(Status.UNDECIDED, f"no run reached the target: {reasons}")


def monotone(runs: Runs) -> Finding:
    """Compare the identity of the slope with differences along the flow, and look for a decrease."""
    worst, compared, skipped = 0.0, 0, 0
    for number, run in enumerate(runs.runs):
        states = runs.tested(run)
        for state in states:
            if state.slope < state.bound - IDENTITY * abs(state.bound) or not state.bound >= 0:
                return _refuted("the slope is below its bound", number, state, state)
        for state, after in pairwise(states):
            if after.smoothed < state.smoothed - DECREASE * abs(state.smoothed):
                return _refuted("the smoothed margin falls", number, state, after)
        for state in states:
            error = _identity_error(runs.flow, state)
            skipped += error is None
            compared += error is not None
            worst = max(worst, error or 0.0)
    if not compared:
        return Finding(Status.UNDECIDED, "no run reached E below the threshold")
    kept = f" ({skipped} states next to a kink left out)" if skipped else ""
    reason = f"{compared} states{kept}: slope equals the difference along the flow, and the smoothed margin never falls"
    status = Status.SUPPORTED if worst <= IDENTITY else Status.UNDECIDED
    return Finding(status, reason, residual=worst, tolerance=IDENTITY, evidence={"states": compared})


def _identity_error(flow: MarginFlow, state: MarginState) -> float | None:
    """Return the error of the slope against differences of log smoothed along the velocity, relative to its terms; None at a kink."""
    step = 1e-3 * state.norm / float(state.velocity.norm()) * min(state.phi, 1 / state.phi)
    if not step > 0:
        return None
    pieces = flow.pieces(0.0)
    moved = torch.stack([state.theta + u * step * state.velocity for u in (1.0, -1.0, 0.5, -0.5)])
    if pieces.labels:
        sides = torch.ones(4, len(pieces.labels), dtype=torch.float64)
        for _ in range(1 + max(pieces.kinds)):
            values = pieces.surfaces(moved, sides)
            sides = torch.where(values < 0, -1.0, 1.0).double()
        if bool((sides != sides[:1]).any()):
            return None
    smoothed = flow.smoothed(moved)
    if bool((smoothed <= 0).any()):
        return None
    logs = torch.log(smoothed)
    wide, narrow = (logs[0] - logs[1]) / (2 * step), (logs[2] - logs[3]) / step
    measured = float((4 * narrow - wide) / 3)
    return abs(measured - state.slope) / (state.degree**2 * state.nu / state.norm**2)


def _refuted(why: str, number: int, state: MarginState, after: MarginState) -> Finding:
    evidence = {
        "run": number,
        "theta": [round(u, 12) for u in state.theta.tolist()],
        "log E": state.log_loss,
        "smoothed margin": state.smoothed,
        "smoothed margin later": after.smoothed,
        "slope": state.slope,
        "bound": state.bound,
    }
    text = f"{why}: log E = {state.log_loss:.4g}, smoothed margin {state.smoothed:.6g}, then {after.smoothed:.6g}, slope {state.slope:.4g}"
    return Finding(Status.REFUTED, text, computed=after.smoothed, expected=state.smoothed, evidence=evidence)


def sandwich(runs: Runs) -> Finding:
    """Check the two inequalities at every state, and report the gap at the end."""
    worst, gap, seen = -math.inf, math.nan, 0
    for number, run in enumerate(runs.runs):
        for state in runs.tested(run):
            extra = (
                0.0
                if runs.flow.loss == "exponential"
                else (runs.samples - 1) * math.log1p(math.exp(-state.margin))
            )
            width = (math.log(runs.samples) + extra) / state.norm**state.degree
            out = max(state.smoothed - state.normalised, state.normalised - state.smoothed - width)
            room = 1e-12 * abs(state.normalised)
            if out > room:
                return _refuted("the normalised margin leaves the interval", number, state, state)
            worst, gap, seen = max(worst, out), state.normalised - state.smoothed, seen + 1
    if not seen:
        return Finding(Status.UNDECIDED, "no run reached E below the threshold")
    reason = f"{seen} states; at the end the two differ by {gap:.2g}"
    return Finding(
        Status.SUPPORTED, reason, residual=max(worst, 0.0), tolerance=1e-12, evidence={"states": seen}
    )


def log_time(run: MarginRun) -> float:
    r"""Return log t at the end, t the time of the flow of E: t = integral of e^u / g(u) du with u = log(1/E), g = |dtheta/ds|^2.

    Only the last sixty units of u count; g follows a power there.
    """
    last, before = run.states[-1], next(s for s in reversed(run.states[:-1]) if s.phi < 0.9 * run.last.phi)
    g = [float(s.velocity @ s.velocity) for s in (before, last)]
    power = math.log(g[1] / g[0]) / math.log(last.phi / before.phi)
    u = torch.linspace(last.phi - min(60.0, 0.9 * last.phi), last.phi, 20_001, dtype=torch.float64)
    rate = g[1] * (u / last.phi) ** power
    return last.phi + math.log(float(torch.trapezoid(torch.exp(u - last.phi) / rate, u)))


def rates(runs: Runs) -> Finding:
    r"""Compare E t (log t)^(2-2/L) at the end with its limit, within the correction that is still due there."""
    if not runs.complete:
        return runs.missing
    found = []
    for run in runs.complete:
        last = run.last
        L, s = last.degree, 2 - 2 / last.degree
        log_t = log_time(run)
        limit = 1 / (L**2 * last.normalised ** (2 / L))
        value = math.exp(last.log_loss + log_t) * log_t**s
        due = (
            s * (s * math.log(last.phi) + abs(math.log(limit))) + 2 + 2 * math.log(runs.samples)
        ) / last.phi
        due += 2 * last.misalignment**2
        norm = last.norm / (log_t ** (1 / L)) * last.normalised ** (1 / L)
        found.append((abs(value / limit - 1) / due, value, limit, due, norm, log_t))
    ratio, value, limit, due, norm, log_t = max(found)
    reason = f"at log t = {log_t:.4g}; norm over (log t / margin)^(1/L) is {norm:.4f}"
    status = Status.SUPPORTED if ratio <= 1 and abs(norm - 1) <= due else Status.UNDECIDED
    return Finding(
        status, reason, computed=value, expected=limit, residual=abs(value / limit - 1), tolerance=due
    )


def _slope(states: Sequence[MarginState], values: Sequence[float]) -> float:
    """Slope of log value in log margin, by least squares."""
    x = torch.tensor([math.log(s.margin) for s in states], dtype=torch.float64)
    y = torch.tensor([math.log(max(v, 1e-300)) for v in values], dtype=torch.float64)
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())


def _late(run: MarginRun) -> list[MarginState]:
    """States of the last factor 32 of the smallest margin."""
    return [s for s in run.states if s.margin >= run.last.margin / 33]


def kkt_residuals(runs: Runs) -> Finding:
    """Say whether stationarity and slackness fall with the smallest margin, as far as the runs go."""
    if not runs.complete:
        return runs.missing
    worst, steepest, end = 0.0, -math.inf, 0.0
    for run in runs.complete:
        late = _late(run)
        slope = _slope(late, [s.stationarity for s in late])
        settled = run.last.stationarity <= ROUNDING
        steepest = max(steepest, -math.inf if settled else slope)
        worst, end = max(worst, run.last.stationarity), max(end, run.last.slackness)
    low = min(run.last.margin for run in runs.complete)
    due = -1 / runs.flow.degree
    reason = f"stationarity {worst:.2g}, slackness {end:.2g} at q_min = {low:.5g}; slope of the former in q_min {steepest:.2f}"
    status = Status.SUPPORTED if steepest <= SLOPE * due else Status.UNDECIDED
    return Finding(
        status,
        reason,
        computed=steepest if math.isfinite(steepest) else None,
        expected=due,
        residual=worst,
        evidence={"slope at most": SLOPE * due},
    )


def kkt_constants(runs: Runs) -> Finding:
    """Compare the residuals with gradients at the scaled point, by the Jacobian of the compiled network, at states off the kinks."""
    worst, seen = 0.0, 0
    for number, run in enumerate(runs.runs):
        for state in runs.tested(run):
            if state.on_kinks or state.margin <= 0:
                continue
            direct = _direct(runs.flow, state)
            worst = max(worst, abs(direct - state.stationarity) / (1 + state.stationarity))
            seen += 1
            extra = 0.0 if runs.flow.loss == "exponential" else math.exp(-state.margin)
            top = (
                runs.samples
                * (1 + extra)
                / (math.e * state.degree * state.normalised ** (2 / state.degree) * state.margin)
            )
            if state.slackness > top * (1 + 1e-9):
                return _refuted(
                    f"the slackness {state.slackness:.4g} exceeds its bound {top:.4g}", number, state, state
                )
    if not seen:
        return Finding(Status.UNDECIDED, "no separated state off the kinks was met")
    status = Status.SUPPORTED if worst <= IDENTITY else Status.UNDECIDED
    return Finding(status, f"{seen} states off the kinks", residual=worst, tolerance=IDENTITY)


def _direct(flow: MarginFlow, state: MarginState) -> float:
    scaled = state.theta / state.margin ** (1 / state.degree)
    gradients = flow.y[:, None] * flow.system.jacobian(scaled)
    each = -state.margins if flow.loss == "exponential" else torch.nn.functional.logsigmoid(-state.margins)
    weights = torch.softmax(each, 0)  # -l'(q_i) over their sum, as the velocity is
    factor = state.margin ** (1 - 2 / state.degree) * state.norm / float(state.velocity.norm())
    return float((scaled - factor * (weights @ gradients)).norm())


def direction(runs: Runs) -> Finding:
    """Say whether the direction settles and aligns with the velocity, as far as the runs go."""
    if not runs.complete:
        return runs.missing
    slope, angle, moved = -math.inf, 0.0, 0.0
    for run in runs.complete:
        late = _late(run)
        steps = [float((_unit(b.theta) - _unit(a.theta)).norm()) for a, b in pairwise(late)]
        if run.last.misalignment > ROUNDING:
            slope = max(slope, _slope(late, [s.misalignment for s in late]))
        angle, moved = max(angle, run.last.misalignment), max(moved, steps[-1])
    reason = f"the direction moved by {moved:.2g} over the last step; slope of the misalignment in q_min {slope:.2f}"
    status = Status.SUPPORTED if slope <= -SLOPE / runs.flow.degree else Status.UNDECIDED
    return Finding(status, reason, computed=1 - angle**2 / 2, expected=1.0, residual=angle)


def _unit(theta: Tensor) -> Tensor:
    return theta / theta.norm()
