r"""Measurements of early alignment: the flow of the correlation, the norm bound, directions at time T.

A statement about delta to 0 is SUPPORTED where the misalignment of every neuron falls with delta, and UNDECIDED where some neuron has not
turned yet.  It is REFUTED by a neuron that has settled at a KKT point of negative correlation.
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
from numerics.correlation_flow import SmallFlow, closed_form, misalignment
from numerics.sliding import SlidingRun
from workbench.correlation import SpherePoints

__all__ = [
    "FOLLOWS",
    "FOUND",
    "STAYED",
    "Aligned",
    "Directions",
    "correlation_flow",
    "directions_of",
    "followed",
    "follows",
    "norms",
    "run_all",
    "turned",
]

#: Relative error between the closed form and an integrated flow; seen: 2e-9.
CLOSED = 1e-6
#: 1 - cos below this counts as aligned whatever happens next: rounding of the start is amplified to 1e-13.
ALIGNED = 1e-12
#: 1 - cos up to which a direction counts as found at the end of a flow of the correlation.
FOUND = 1e-3
#: 1 - cos at the smallest delta up to which a neuron counts as turned.
TURNED = 1e-2
#: Relative distance, at the smallest delta, of a neuron from the flow of the correlation alone, up to which that flow stands for it.
FOLLOWS = 1e-3
#: Norm of a neuron at T over that at the start, at most, that counts as O(delta).
STAYED = 2.0


@dataclass(frozen=True)
class Directions:
    """KKT points with positive correlation as rows (v, u) of unit neurons (K, 1 + d), their |G|, and which attract."""

    rows: Tensor
    values: tuple[float, ...]
    attracting: tuple[bool, ...]

    @property
    def beta(self) -> float:
        """Largest correlation on the sphere."""
        return max(self.values, default=0.0) / 2

    @property
    def negative(self) -> Tensor:
        """The same points with the sign of v turned: KKT points with negative correlation."""
        turned = self.rows.clone()
        turned[:, 0] *= -1
        return turned


def directions_of(found: SpherePoints, floor: float = 0.0) -> Directions:
    """Return the directions of a complete list in numbers, without those with |G| below a floor."""
    kept = [p for p in found.points if abs(float(p.value)) > floor]
    rows = [[float(p.neuron[0]), *(float(u) for u in p.neuron[1])] for p in kept]
    table = torch.tensor(rows, dtype=torch.float64).reshape(len(kept), found.dimension + 1)
    return Directions(table, tuple(abs(float(p.value)) for p in kept), tuple(p.attracting for p in kept))


# -- the flow of the correlation -------------------------------------------------------------------------------------


def correlation_flow(
    flow: SmallFlow, slopes: tuple[float, float], known: Directions, starts: Sequence[Tensor]
) -> tuple[Finding, Finding]:
    """Compare flows of one neuron with the closed form between changes of mode, and see where they end."""
    worst, compared, kinds = 0.0, 0, {"aligned": 0, "shrinking": 0, "stopped": 0, "open": 0}
    bad: Finding | None = None
    until = 20 / min(known.values)
    for start in starts:
        rate = float(
            flow.pieces.rate(start[None], torch.ones(1, len(flow.pieces.labels), dtype=torch.float64)).norm()
        )
        grid = torch.linspace(0, min(until, 3 / (rate + 1e-300)), 61, dtype=torch.float64)
        short = flow.run(start, float(grid[-1]), grid)
        error, count = _against_closed_form(flow, short, slopes)
        worst, compared = max(worst, error), compared + count
        run = flow.run(start, until, max_norm=1e4)
        kind, gap = _end(run, start, known)
        kinds[kind] += 1
        if kind == "open" and gap <= FOUND:
            bad = Finding(
                Status.REFUTED,
                f"from {_text(start)} the flow converges to a KKT point of negative correlation",
                residual=gap,
                evidence={"start": start.tolist(), "end": run.states[-1].tolist()},
            )
    status = (
        Status.REFUTED
        if worst > 1e-2
        else Status.SUPPORTED
        if worst <= CLOSED and compared
        else Status.UNDECIDED
    )
    closed = Finding(
        status,
        f"{compared} stretches of {len(starts)} flows",
        residual=worst,
        tolerance=CLOSED,
        evidence={"starts": len(starts)},
    )
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    ends = bad or Finding(
        Status.UNDECIDED if kinds["open"] else Status.SUPPORTED,
        f"{len(starts)} flows: {told}",
        tolerance=FOUND,
        evidence=dict(kinds),
    )
    return closed, ends


def _against_closed_form(flow: SmallFlow, run: SlidingRun, slopes: tuple[float, float]) -> tuple[float, int]:
    x, y = flow.system.x, flow.system.y
    below, above = slopes
    breaks = [crossing.time for crossing in run.kinks] + [t for s in run.slides for t in (s.start, s.end)]
    worst, count = 0.0, 0
    for (t0, before), (t1, after) in pairwise(zip(run.times.tolist(), run.states, strict=True)):
        if t1 <= t0 or any(t0 - 1e-12 <= t <= t1 + 1e-12 for t in breaks):
            continue
        on = [k for s in run.slides if s.start <= t0 and t1 <= s.end for k in s.surfaces]
        pulls = torch.where(x @ before[1:] > 0, above, below) * y
        pulls[on] = 0.0
        gradient = pulls @ x
        if on:
            basis, _ = torch.linalg.qr(x[on].T)
            gradient = gradient - basis @ (basis.T @ gradient)
        exact = closed_form(before, gradient, t1 - t0)
        worst = max(worst, float((exact - after).norm() / after.norm()))
        count += 1
    return worst, count


def _end(run: SlidingRun, start: Tensor, known: Directions) -> tuple[str, float]:
    end = run.states[-1]
    size = float(end.norm() / start.norm())
    gap, _ = misalignment(end, known.rows)
    wrong, _ = misalignment(end, known.negative)
    if gap <= FOUND and size > 1:
        return "aligned", gap
    if run.rate_norm <= 1e-12 * float(end.norm()):
        return "stopped", gap
    if size < 1e-2:
        return "shrinking", gap
    return "open", wrong


def _text(values: Tensor) -> str:
    return "(" + ", ".join(f"{u:.6g}" for u in values.tolist()) + ")"


# -- from small weights ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Aligned:
    """A run from delta w0 to T: its scale and start, the states on a grid, and 1 - cos of each neuron at T."""

    scale: float
    start: Tensor
    run: SlidingRun
    gaps: tuple[float, ...]
    wrong: tuple[float, ...]
    growth: tuple[float, ...]
    nearest: tuple[int, ...]

    @property
    def norm(self) -> float:
        """Norm of the weights at T."""
        return float(self.run.states[-1].norm())


def run_all(
    flow: SmallFlow, known: Directions, scales: Sequence[float], starts: Sequence[Tensor]
) -> list[list[Aligned]]:
    """Follow each start from each scale to T = ln(1/delta)/(4 beta); a list for each start, scales falling."""
    return [[_one(flow, known, scale, start) for scale in sorted(scales, reverse=True)] for start in starts]


def _one(flow: SmallFlow, known: Directions, scale: float, start: Tensor) -> Aligned:
    until = math.log(1 / scale) / (4 * known.beta)
    run = flow.run(scale * start, until, torch.linspace(0, until, 41, dtype=torch.float64))
    begun, ended = flow.neurons(scale * start), flow.neurons(run.states[-1])
    gaps = [misalignment(w, known.rows) for w in ended]
    wrong = [misalignment(w, known.negative)[0] for w in ended]
    growth = [float(w.norm() / b.norm()) for w, b in zip(ended, begun, strict=True)]
    return Aligned(
        scale, start, run, tuple(g for g, _ in gaps), tuple(wrong), tuple(growth), tuple(k for _, k in gaps)
    )


def norms(families: Sequence[Sequence[Aligned]], known: Directions) -> Finding:
    """Compare the norm along every run with its bound."""
    worst, at_end, seen = -math.inf, 0.0, 0
    for runs in families:
        for one in runs:
            for time, state in zip(one.run.times.tolist(), one.run.states, strict=True):
                ratio = float(state.norm()) / (one.scale * math.exp(2 * known.beta * time))
                seen += 1
                if ratio > 1 + 1e-7:
                    return Finding(
                        Status.REFUTED,
                        f"|w({time:.6g})| is {ratio:.6g} times its bound at delta = {one.scale:g}",
                        residual=ratio - 1,
                        evidence={"start": one.start.tolist(), "state": state.tolist()},
                    )
                worst = max(worst, ratio)
            at_end = max(at_end, one.norm / math.sqrt(one.scale))
    reason = f"{seen} states: |w| is at most {worst:.6g} of its bound, {at_end:.6g} sqrt(delta) at T"
    return Finding(
        Status.SUPPORTED, reason, computed=at_end, expected=1.0, residual=max(0.0, worst - 1), tolerance=1e-7
    )


def turned(families: Sequence[Sequence[Aligned]], known: Directions, linear: SmallFlow) -> Finding:
    """Say whether every neuron turns to a nonnegative KKT point as delta falls.

    A neuron that has not turned at T at the smallest delta is compared with the flow of the correlation alone; where the distance falls with
    delta, the end of that flow is its limit.

    Parameters
    ----------
    families : sequence of sequences of Aligned
        For each start, scales falling.
    known : Directions
        KKT points.
    linear : SmallFlow
        The flow of the correlation of one neuron.
    """
    counts = {"aligned": 0, "on the way": 0, "stopped": 0, "shrinking": 0}
    rates: list[tuple[float, float]] = []
    table, still_open = [], []
    for number, runs in enumerate(families):
        last, width = runs[-1], len(runs[-1].gaps)
        for j in range(width):
            gaps = [one.gaps[j] for one in runs]
            table.append(
                {"start": number, "neuron": j + 1, "1 - cos": gaps, "growth": [one.growth[j] for one in runs]}
            )
            if last.wrong[j] <= FOUND and last.growth[j] > STAYED:
                return Finding(
                    Status.REFUTED,
                    f"neuron {j + 1} of start {number} is aligned with a KKT point of negative correlation, 1 - cos = {last.wrong[j]:.3g}",
                    residual=last.gaps[j],
                    evidence={
                        "start": last.start.tolist(),
                        "state": last.run.states[-1].tolist(),
                        "delta": last.scale,
                    },
                )
            if _falls(gaps) and last.growth[j] > 1:
                counts["aligned"] += 1
                if len({one.nearest[j] for one in runs}) == 1 and gaps[-1] > ALIGNED:
                    measured = math.log(gaps[-2] / gaps[-1]) / math.log(runs[-2].scale / last.scale)
                    rates.append((measured, known.values[last.nearest[j]] / (2 * known.beta)))
                continue
            begun = _neuron(last.start, width, j)
            ends = [
                (float(one.run.times[-1]), _neuron(one.run.states[-1], width, j) / one.scale) for one in runs
            ]
            errors, kind = followed(linear, begun, ends, known)
            table[-1].update({"distance from the flow of the correlation": errors, "its end": kind})
            if kind == "open" or not follows(errors):
                still_open.append(f"neuron {j + 1} of start {number}")
            else:
                counts["on the way" if kind == "aligned" else kind] += 1
    words = {
        "aligned": "aligned",
        "on the way": "on the way along the flow of the correlation, which aligns",
        "stopped": "stopped where G = 0",
        "shrinking": "shrinking",
    }
    reason = "neurons: " + ", ".join(f"{count} {words[kind]}" for kind, count in counts.items() if count)
    if still_open:
        reason += f", open: {', '.join(still_open[:4])}" + (
            f" and {len(still_open) - 4} more" if len(still_open) > 4 else ""
        )
    if rates:
        measured, law = min(rates, key=lambda pair: -pair[1])
        reason += f"; 1 - cos falls like delta^{measured:.4g}, by the linear flow delta^{law:.4g}"
    worst = max((one.norm / math.sqrt(one.scale) for runs in families for one in runs), default=0.0)
    status = Status.SUPPORTED if not still_open and worst <= 1 + 1e-7 else Status.UNDECIDED
    residual = max((max(runs[-1].gaps) for runs in families), default=None)
    return Finding(
        status, reason, residual=residual, evidence={"neurons": table, "|w(T)| over sqrt(delta)": worst}
    )


def _neuron(theta: Tensor, width: int, number: int) -> Tensor:
    rows = torch.cat([theta[:width, None], theta[width:].reshape(width, -1)], 1)
    return rows[number]


def followed(
    linear: SmallFlow, start: Tensor, ends: Sequence[tuple[float, Tensor]], known: Directions
) -> tuple[list[float], str]:
    """Return the relative distances of states over delta from the flow of the correlation at their times, and where that flow ends."""
    grid = torch.tensor([time for time, _ in ends], dtype=torch.float64)
    states = linear.run(start, float(grid[-1]), grid, max_norm=1e12).states
    errors = [
        float((state - end).norm() / state.norm()) for state, (_, end) in zip(states, ends, strict=False)
    ]
    kind, _ = _end(linear.run(start, 20 / min(known.values), max_norm=1e4), start, known)
    return errors, kind


def follows(errors: Sequence[float]) -> bool:
    """Whether distances fall to one that is small."""
    return len(errors) > 1 and errors[-1] <= FOLLOWS and (errors[-1] < errors[0] or errors[-1] <= CLOSED)


def _falls(gaps: Sequence[float]) -> bool:
    """Whether the misalignment is small at the smallest delta and smaller than at the one before."""
    return len(gaps) > 1 and gaps[-1] <= TURNED and (gaps[-1] < gaps[-2] or gaps[-1] <= ALIGNED)
