"""What is measured for ``directional-convergence``: lists of KKT points, flows from small weights and near a saddle, escape times, the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from sympy import Expr, Integer
from torch import Tensor

from derivations.claim import Status
from derivations.correlation_proofs import slopes_of, stationarity
from derivations.errors import AssumptionError
from derivations.theorem import Finding, Instance, zero_finding
from derivations.theorems.directional_convergence import loss_factor, network_of, resting_neuron, sign_of
from numerics.correlation_flow import SmallFlow
from workbench.correlation import SpherePoints, sphere_points
from workbench.errors import NotThere, StudyError
from workbench.measurements import alignment_runs as runs
from workbench.measurements import exact_models as models
from workbench.measurements import saddle_graph as saddles
from workbench.measurements import saddle_runs as escapes
from workbench.measurements.measured import Bench, Measured, Picture
from workbench.plots.alignment import draw_alignment, draw_small_start

__all__ = ["measure"]

#: Further widths, and further scales, of the full sweep.
WIDTHS, SCALES = (4, 20, 50), (1e-3, 1e-5)


@dataclass(frozen=True)
class _Setup:
    """An instance in numbers: its flows and its starts."""

    given: Instance
    seed: int

    def __post_init__(self) -> None:
        start, width, size = self.given["start"], self.given["width"], len(self.given["data"].x[0])
        if start is not None and len(start) != width * (1 + size):
            raise StudyError(
                f"directional-convergence: start: found {len(start)} numbers; {width} neurons with {size} inputs have {width * (1 + size)}: "
                f"v1, ..., v{width}, then the rows u1, ..., u{width}. Give these, or 'random'"
            )

    @property
    def x(self) -> list[list[float]]:
        return [[float(u) for u in row] for row in self.given["data"].x]

    @property
    def y(self) -> list[float]:
        return [float(u) for u in self.given["data"].y]

    @property
    def scales(self) -> list[float]:
        return sorted({float(u) for u in self.given["scales"]}, reverse=True)

    def flow(self, width: int, loss: str | None = None) -> SmallFlow:
        return SmallFlow.of(network_of(self.given, loss), self.x, self.y, width)

    def starts(self, width: int, count: int) -> list[Tensor]:
        """Return unit vectors, random or the given one."""
        if self.given["start"] is not None and width == self.given["width"]:
            drawn = torch.tensor([[float(u) for u in self.given["start"]]], dtype=torch.float64)
        else:
            generator = torch.Generator().manual_seed(self.seed)
            drawn = torch.randn(count, width * (1 + len(self.x[0])), generator=generator, dtype=torch.float64)
        return [row / row.norm() for row in drawn]


def measure(instance: Instance, bench: Bench) -> Measured:
    """Measure the claims of an instance; flows are followed in float64 on the CPU whatever the bench says.

    Raises
    ------
    StudyError
        If the start has another length than the network has weights.
    """
    setup = _Setup(instance, bench.seed)
    findings: dict[str, Finding] = {}
    modes = [float(u) for u in instance["modes"]]
    graph: Any = saddles.mode_lattice(modes) if instance["graph"] == "modes" else None
    pictures: tuple[Picture, ...] = ()
    if instance.findings()["two-homogeneous"].status is Status.PROVED:
        with bench.progress.stage("listing the KKT points", 0.1):
            found = _listed(instance, findings)
        if found is not None and found.best != 0:
            near = runs.directions_of(found)
            with bench.progress.stage("following the flow of the correlation", 0.2):
                _correlation(setup, near, findings)
            with bench.progress.stage("following flows from small weights", 0.3):
                families = _small(setup, near, findings)
            pictures = _pictures(setup, near, families)
            if instance["loss"] == "square":
                with bench.progress.stage("following flows near a saddle", 0.2):
                    _near_saddle(setup, findings)
                with bench.progress.stage("walking from saddle to saddle", 0.4):
                    walked = _walked(setup, findings)
                graph = graph if graph is not None else walked
    with bench.progress.stage("following exactly solvable models", 0.1):
        _models(setup, findings)
    return Measured(findings, graph, pictures)


def _listed(instance: Instance, findings: dict[str, Finding]) -> SpherePoints | None:
    """List the KKT directions in any dimension and put each into its condition, exactly."""
    data, sigma = instance["data"], instance["activation"]
    try:
        found = sphere_points(sigma, data.x, data.y)
    except (NotThere, ValueError, AssumptionError) as error:
        findings["C1.1"] = Finding(Status.UNDECIDED, str(error))
        return None
    zeros: dict[str, Expr] = {
        f"point {k}, entry {j}": entry
        for k, p in enumerate(found.points, start=1)
        for j, entry in enumerate(
            stationarity(sigma, data.x, data.y, p.direction, p.value, p.slopes or {}), start=1
        )
    }
    told = f"{len(found.points)} KKT directions of {found.faces} faces, G = 0 on {len(found.flat)}"
    if (euler := found.euler) is not None:
        told += f"; sum of (-1)^index {euler[0]}, Euler characteristic {euler[1]}"
        zeros["Euler characteristic"] = Integer(euler[0] - euler[1])
    points = [
        {
            "direction": [float(u) for u in p.direction],
            "G": float(p.value),
            "kind": p.kind,
            "attracting": p.attracting,
            "clarke coefficients": {str(i): str(t) for i, t in (p.slopes or {}).items()},
        }
        for p in found.points
    ]
    shown = zero_finding(zeros, told)
    evidence = {"points": points, "dead faces": len(found.flat)}
    findings["C1.1"] = Finding(
        shown.status, shown.reason, computed=len(found.points), residual=shown.residual, evidence=evidence
    )
    return found


def _correlation(setup: _Setup, known: runs.Directions, findings: dict[str, Finding]) -> None:
    below, above = slopes_of(setup.given["activation"])
    count = max(4, 2 * setup.given["starts"])
    generator = torch.Generator().manual_seed(setup.seed + 1)
    drawn = torch.randn(count, 1 + len(setup.x[0]), generator=generator, dtype=torch.float64)
    starts = [row / row.norm() for row in drawn]
    findings["C3"], findings["C3.1"] = runs.correlation_flow(
        setup.flow(1, "correlation"), (float(below), float(above)), known, starts
    )


def _small(setup: _Setup, known: runs.Directions, findings: dict[str, Finding]) -> list[list[runs.Aligned]]:
    width, count = setup.given["width"], setup.given["starts"]
    families = runs.run_all(setup.flow(width), known, setup.scales, setup.starts(width, count))
    wide = list(families)
    if setup.given["sweep"] == "full":
        scales = sorted({*setup.scales, *SCALES}, reverse=True)
        for more in WIDTHS:
            wide += runs.run_all(setup.flow(more), known, scales, setup.starts(more, 1))
    findings["C4"] = runs.norms(wide, known)
    findings["C5"] = runs.turned(wide, known, setup.flow(1, "correlation"))
    if len(setup.scales) > 1:
        findings["C4.1"] = escapes.escape_times(setup.flow(1), known, setup.scales)
    return families


def _near_saddle(setup: _Setup, findings: dict[str, Finding]) -> None:
    neuron = resting_neuron(setup.given)
    if neuron is None:
        return
    data = setup.given["data"]
    try:
        listed = sphere_points(setup.given["activation"], data.x, neuron.residual)
    except (NotThere, ValueError) as error:
        findings["C6"] = Finding(Status.UNDECIDED, str(error))
        return
    if listed.best == 0:
        why = "the residual correlation vanishes: no direction leaves this critical point"
        findings["C6"] = Finding(Status.UNDECIDED, why)
        return
    beta = torch.tensor([float(u) for u in neuron.beta], dtype=torch.float64)
    root = beta.norm().sqrt()
    trained = torch.cat([neuron.sign * root[None], beta / root])
    generator = torch.Generator().manual_seed(setup.seed + 2)
    drawn = torch.randn(setup.given["starts"], 2, len(trained), generator=generator, dtype=torch.float64)
    drawn = drawn / drawn.flatten(1).norm(dim=1)[:, None, None]
    near = runs.directions_of(listed)
    left = [float(u) for u in neuron.residual]
    linear = SmallFlow.of(network_of(setup.given, "correlation"), setup.x, left, 1)
    findings["C6"] = escapes.near_saddle(
        setup.flow(2), linear, trained, near, setup.scales, [(a, b) for a, b in drawn]
    )


def _walked(setup: _Setup, findings: dict[str, Finding]) -> Any:
    given = setup.given
    if len(setup.scales) < 2:
        return None
    plan = saddles.SaddleWalk(
        given["activation"],
        given["data"].x,
        cache(setup.flow),
        (setup.scales[-2], setup.scales[-1]),
        given["rounds"],
        given["graph"] == "all",
    )
    graph = saddles.walk(plan, torch.tensor(setup.y, dtype=torch.float64))
    findings["C10"] = saddles.judged(graph)
    return graph


def _models(setup: _Setup, findings: dict[str, Finding]) -> None:
    given, seed = setup.given, setup.seed
    x, y = torch.tensor(setup.x, dtype=torch.float64), torch.tensor(setup.y, dtype=torch.float64)
    if given.findings()["distinct modes"].status is Status.PROVED:
        findings["C7"] = models.half_times([float(u) for u in given["modes"]], setup.scales)
    if any(setup.y):
        findings["C8"] = models.quadratic_flow(x, y, sign_of(given), seed)
        findings["C8.1"] = models.linear_flow(x, y, sign_of(given), seed)
    if given["depth"] > 2 and len(setup.scales) > 1:
        findings["C9.1"] = models.product_flow(given["depth"], setup.scales, sign_of(given), seed)


def _pictures(
    setup: _Setup, known: runs.Directions, families: Sequence[Sequence[runs.Aligned]]
) -> tuple[Picture, ...]:
    first, gaps = families[0], [one for family in families for one in _curves(family)]

    def start() -> Any:
        width = setup.given["width"]
        flow, correlation = setup.flow(width), setup.flow(width, "correlation")
        sign, until = sign_of(setup.given), 2 * math.log(1 / setup.scales[-1]) / known.beta
        grid = torch.linspace(0, until, 121, dtype=torch.float64)
        curves = []
        for one in first:
            run = flow.run(one.scale * one.start, until, grid, size=one.scale)
            unit = run.states / run.states.norm(dim=1, keepdim=True)
            values = [-sign * correlation.value(u) for u in unit]
            losses = [sign * flow.value(state) for state in run.states]
            curves.append((one.scale, run.times.tolist(), losses, run.states.norm(dim=1).tolist(), values))
        return draw_small_start(curves, known.beta)

    factor = loss_factor(setup.given)
    square = setup.given["loss"] == "square"
    loss = "square loss" if square else f"logistic loss with the factor {factor}"
    return (
        Picture(
            "small-start",
            rf"The flow from small weights, {loss}: loss, norm of the weights and correlation of their direction $\mathcal N(w/|w|)$; "
            r"the dotted line is $\beta$.",
            start,
        ),
        Picture(
            "alignment",
            r"The misalignment of each neuron with the nearest nonnegative KKT point at $T = \ln(1/\delta)/(4\beta)$; the dashed line is "
            r"proportional to $\delta$.",
            lambda: draw_alignment(gaps),
        ),
    )


def _curves(family: Sequence[runs.Aligned]) -> list[tuple[list[float], list[float]]]:
    return [
        ([one.scale for one in family], [one.gaps[j] for one in family]) for j in range(len(family[0].gaps))
    ]
