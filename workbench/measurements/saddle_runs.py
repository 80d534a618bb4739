"""Measurements of escapes: from the origin along a KKT direction, and of a small neuron near the saddle of a trained one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from derivations.claim import Status
from derivations.theorem import Finding
from numerics.correlation_flow import SmallFlow, aligned_neurons, misalignment
from numerics.events import norm_reaches
from workbench.measurements.alignment_runs import FOLLOWS, FOUND, STAYED, Directions, followed, follows

__all__ = ["SLOPE", "escape_times", "near_saddle"]

#: Relative error of the slope of escape times in ln(1/delta); seen: 1e-8 at delta from 1e-4 on.
SLOPE = 1e-3
#: Factor that stands for O() in the bound sqrt(delta) near a saddle, where the trained neuron moves too.
ORDER = 2.0
#: Movement of the trained neuron that is rounding.
ROUNDING = 1e-12


def escape_times(flow: SmallFlow, known: Directions, scales: Sequence[float]) -> Finding:
    """Measure when a neuron along each attracting direction leaves, and compare the slope in ln(1/delta) with 1/lambda."""
    worst, rows = 0.0, []
    large, small = sorted(scales, reverse=True)[-2:]
    for row, value, attracts in zip(known.rows, known.values, known.attracting, strict=True):
        if not attracts:
            continue
        unit = aligned_neurons(row[None] / row.norm())
        level = 0.5 * math.sqrt(
            value / 2 / float(flow.system.outputs(unit).square().sum())
        )  # half of where the direction rests
        times = []
        for scale in (large, small):
            found = flow.run(
                scale * unit,
                5 * math.log(1 / scale) / value + 100 / value,
                events=[norm_reaches(level, stop=True)],
            )
            times.append(found.crossings[0].time if found.crossings else math.inf)
        slope = (
            (times[1] - times[0]) / math.log(large / small) if all(map(math.isfinite, times)) else math.inf
        )
        worst = max(worst, abs(slope * value - 1))
        rows.append((value, times, slope))
    if not rows:
        return Finding(Status.UNDECIDED, "no KKT direction is known to attract")
    value, times, slope = max(rows)
    reason = f"{len(rows)} directions; along the leading one {times[0]:.6g} at delta = {large:g}, {times[1]:.6g} at {small:g}"
    names = ("lambda", "escape times", "slope")
    return Finding(
        Status.SUPPORTED if worst <= SLOPE else Status.UNDECIDED,
        reason,
        computed=slope,
        expected=1 / value,
        residual=worst,
        tolerance=SLOPE,
        evidence={"directions": [dict(zip(names, row, strict=True)) for row in rows]},
    )


def near_saddle(
    flow: SmallFlow,
    linear: SmallFlow,
    trained: Tensor,
    known: Directions,
    scales: Sequence[float],
    draws: Sequence[tuple[Tensor, Tensor]],
) -> Finding:
    """Follow two neurons, one near its resting place and one small, to ln(1/delta)/(4 beta) of the residual correlation.

    The small one is compared with the flow of the residual correlation alone, whose end is its limit where the distance falls with delta.

    Parameters
    ----------
    flow, linear : SmallFlow
        Of width 2, and of the residual correlation of one neuron.
    trained : Tensor, shape (1 + d,)
        The resting neuron (v, u).
    known : Directions
        Of the residual correlation.
    scales : sequence of float
        The delta.
    draws : sequence of pairs of Tensor, shape (1 + d,)
        Displacements of the two neurons, of length 1 together.
    """
    rows, counts = [], {"aligned": 0, "stopped": 0, "shrinking": 0, "open": 0}
    for number, (near, small) in enumerate(draws):
        gaps, sizes, shifts, ends = [], [], [], []
        for scale in sorted(scales, reverse=True):
            until = math.log(1 / scale) / (4 * known.beta)
            start = aligned_neurons(torch.stack([trained + scale * near, scale * small]))
            first, second = flow.neurons(flow.run(start, until, size=scale).states[-1])
            gaps.append(misalignment(second, known.rows)[0])
            sizes.append(float(second.norm()) / math.sqrt(scale))
            shifts.append(float((first - trained).norm()))
            ends.append((until, second / scale))
        wrong, grown = misalignment(second, known.negative)[0], float(ends[-1][1].norm() / small.norm())
        row = {
            "start": number,
            "1 - cos": gaps,
            "|w_z| over sqrt(delta)": sizes,
            "trained neuron moved": shifts,
        }
        rows.append(row)
        if wrong <= FOUND and grown > STAYED:
            return Finding(
                Status.REFUTED,
                f"the small neuron of start {number} is aligned with a KKT point of negative correlation",
                residual=gaps[-1],
                evidence={"runs": rows},
            )
        errors, kind = followed(linear, small, ends, known)
        row.update({"distance from the flow of the residual correlation": errors, "its end": kind})
        near_all = all(b < a or b <= ROUNDING for a, b in pairwise(shifts)) and max(sizes) <= ORDER
        counts[kind if near_all and follows(errors) else "open"] += 1
    status = Status.UNDECIDED if counts["open"] or len(scales) < 2 else Status.SUPPORTED
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    moved = max(row["trained neuron moved"][-1] for row in rows)  # type: ignore[index]
    error = max(row["distance from the flow of the residual correlation"][-1] for row in rows)  # type: ignore[index]
    reason = f"small neurons: {told}; the trained one moves by {moved:.3g} at most at the smallest delta"
    return Finding(status, reason, residual=error, tolerance=FOLLOWS, evidence={"runs": rows})
