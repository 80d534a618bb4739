"""Figures of ``local-recovery``: the plane of two copies, the decay near each kind of branch, the table of recovered starts, the branches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from sympy import Rational

from derivations.claim import Status
from derivations.copied_neuron import copied_neuron
from derivations.errors import AssumptionError
from derivations.global_minima import GlobalMinima, global_minima
from derivations.recovery_case import problem_of
from derivations.theorem import Instance
from workbench.measurements.measured import Bench, Picture
from workbench.measurements.recovery_graph import kind_edges, kind_names
from workbench.measurements.recovery_motion import exponents
from workbench.plots.recovery import draw_decays, draw_exponents, draw_recovery_table, draw_two_copies
from workbench.plots.result_graph import draw_result_graph
from workbench.recovery import Samples
from workbench.recovery_runs import RecoveryRow, measured_decay

__all__ = ["recovery_pictures"]

#: Points of the grid of the plane on each axis, and kinds of branches that are drawn.
GRID, MOST_KINDS = 41, 8
#: Flows of the full sweep near the slowest branch, and the standard deviation of their starts.
SPREAD_FLOWS, SPREAD_SIZE = 64, 0.1


def recovery_pictures(
    given: Instance, minima: GlobalMinima, x: list[list[float]], rows: Sequence[RecoveryRow], bench: Bench
) -> tuple[Picture, ...]:
    """Return the figures of an instance."""
    found = []
    if given.findings()["analytic"].status is Status.PROVED and len(given["copied"].a) == 1:
        found += _copies(given)
    names = dict(zip((b.signature for b, _ in minima.kinds), kind_names(minima), strict=True))
    if rows and len(minima.kinds) <= MOST_KINDS:
        counts = sorted({row.samples for row in rows})
        cells = {
            (names[row.branch.signature], row.samples): (row.recovered / row.starts, str(row.expected))
            for row in rows
        }
        found.append(
            Picture(
                "recovery",
                "Fraction of flows that recover the teacher from starts near a generic point of each kind of branch, by the number $n$ of samples; the colour says "
                "which points are stable in theory.",
                lambda: draw_recovery_table(list(names.values()), counts, cells),
            )
        )
    if len(minima.kinds) <= MOST_KINDS:
        nodes = [
            (name, float(b.dimension), f"{size} of $N = {b.separation_size}$")
            for (b, size), name in zip(minima.kinds, names.values(), strict=True)
        ]
        edges = [
            (one, other, ", ".join(map(str, dims))) for one, other, dims in kind_edges(minima) if one != other
        ]
        found.append(
            Picture(
                "branches",
                "The kinds of branches at the height of their dimension; a line carries the dimensions in which branches of two kinds meet.",
                lambda: draw_result_graph(nodes, edges, "dimension"),
            )
        )
    if given["sweep"] == "full" and (slow := _spread(minima, x, bench)) is not None:
        found.append(slow)
    return tuple(found)


def _copies(given: Instance) -> list[Picture]:
    """Return the plane of two copies of a neuron on the line, and the decay of flows in it."""
    teacher = given["copied"]
    try:
        minima = global_minima(problem_of(given, teacher), 2)
        constant = copied_neuron(given["activation"], teacher.a, teacher.w, given["line"], curvature=2)
    except AssumptionError:
        return []
    samples = Samples.at(minima, [[float(u) for u in row] for row in given["line"]])
    outer, weight = float(teacher.a[0]), float(teacher.w[0][0])

    def state(g: float, s: float) -> torch.Tensor:
        return samples.system.pack(
            {"a": [outer * g, outer * (1 - g)], "w": [[weight + (1 - g) * s], [weight - g * s]]}
        )

    def plane() -> Any:
        shares = [-0.6 + 2.2 * k / (GRID - 1) for k in range(GRID)]
        offsets = [-0.8 + 1.6 * k / (GRID - 1) for k in range(GRID)]
        across, up, risks = [], [], []
        for s in offsets:
            velocities = [_projected(samples, state, g, s) for g in shares]
            across.append([u for u, _ in velocities])
            up.append([v for _, v in velocities])
            risks.append([math.log10(float(samples.system.value(state(g, s))) + 1e-12) for g in shares])
        return draw_two_copies(shares, offsets, (across, up), risks)

    times = [10.0**k for k in range(9)]
    decay = measured_decay(samples, state(0.3, 0.2), times, rtol=1e-9)
    fast = measured_decay(samples, state(1.0, 1.3) + 1e-2, times, rtol=1e-9)
    share = float(samples.system.unpack(decay.end)["a"][0]) / outer
    limit = float(constant.limit_risk(Rational(share))) if constant.distance is not None else None
    runs = [
        ("two copies", decay.times.tolist(), decay.risks.tolist()),
        ("one neuron silent", fast.times.tolist(), fast.risks.clamp_min(1e-28).tolist()),
    ]
    return [
        Picture(
            "plane",
            r"Two copies of one neuron on the line ($d = 1$, $m = 2$, $m_0 = 1$): the gradient flow in the plane of the fraction $\gamma_1$ and the difference $s$ of the weights, at fixed "
            r"$\gamma_1 w_1 + \gamma_2 w_2$ and $a_1 + a_2$ (projected), over $\log_{10} R$; the branches $Q_1$ (two copies), $Q_2$, $Q_3$ (a silent neuron).",
            plane,
        ),
        Picture(
            "decay",
            r"The risk along two flows on the line: near two copies it falls like $C/t^2$ with the derived constant (dotted), near a branch with a silent neuron exponentially, to rounding.",
            lambda: draw_decays(runs, limit),
        ),
    ]


def _projected(
    samples: Samples, state: Callable[[float, float], torch.Tensor], g: float, s: float
) -> tuple[float, float]:
    """Return the velocities of g and s: the flow projected to the tangent plane."""
    place = state(g, s)
    step = 1e-6
    basis = torch.stack(
        [(state(g + step, s) - place) / step, (state(g, s + step) - place) / step],
        dim=1,
    )
    found = torch.linalg.lstsq(basis, samples.system.flow(place)[:, None]).solution[:, 0]
    return float(found[0]), float(found[1])


def _spread(minima: GlobalMinima, x: list[list[float]], bench: Bench) -> Picture | None:
    branch = next((b for b, _ in minima.kinds if not b.morse_bott and b.codimension <= len(x)), None)
    if branch is None:
        return None
    powers = exponents(Samples.at(minima, x), branch, SPREAD_FLOWS, bench.seed, SPREAD_SIZE)
    slow = [p for p in powers if math.isfinite(p)]
    return Picture(
        "exponents",
        rf"Exponents $p$ of $R \sim t^{{-p}}$ over the last decade up to $t = 10^8$, {SPREAD_FLOWS} flows from near the branch with $r = {branch.distinct}$, $l = {branch.deficient}$.",
        lambda: draw_exponents(slow, len(powers) - len(slow)),
    )
