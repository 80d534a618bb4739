"""What is measured for ``shallow-relu-affine``: gradients against automatic differentiation, spectra, ends of runs, escapes, the graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from derivations.affine_target import kink_functions, sign_of
from derivations.affine_target_sets import shape_of
from derivations.claim import Status
from derivations.critical_sets import CriticalSets
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.theorem import Finding, Instance
from derivations.theorems.shallow_relu_affine import (
    affine,
    critical_sets,
    functions_of,
    network_of,
    two_slopes,
)
from numerics.critical import find_critical_points, starts
from numerics.flow_result import FlowResult
from numerics.interval_system import IntervalSystem, compile_interval
from workbench.measurements.affine_runs import Ends, descents, ends_finding, escape, flat, run, sorted_ends
from workbench.measurements.measured import Bench, Measured, Picture

__all__ = ["measure"]

#: Midpoints between neighbouring kinks of the sums with which integrals are compared, and the tolerance, relative to 1 + the size;
#: seen: 1e-9.
MIDPOINTS, GRADIENTS = 10_000, 1e-6
#: Eigenvalues below this share of the largest count as zero.
ZERO = 1e-9
#: Losses along so many runs are drawn, and graphs with so many nodes.
DRAWN, MOST_NODES = 40, 8
#: Starts of the search for further critical values, and the distance at which a value is one of the list; seen: 1e-10.
SEARCHED, SAME = 600, 1e-7


def measure(given: Instance, bench: Bench) -> Measured:
    """Measure as far as the instance has numbers: the gradient for every activation with a formula here, the rest for known lists."""
    interval, width = network_of(given), given["width"]
    try:
        system = _compiled(interval, width, bench)
    except (AssumptionError, ValueError, NotImplementedError):
        return Measured()
    findings = {"C1": _gradients(given, system, bench)}
    found = affine(given)
    if found is None or sign_of(found[0]) == 0:
        return Measured(findings)
    try:
        sets = critical_sets(given)
    except AssumptionError:
        return Measured(findings)
    levels = _levels(sets)
    with bench.progress.stage("spectra at the critical points", 0.3):
        spectra = _spectra(given, sets, system)
    if spectra is not None:
        findings["C6"] = spectra
    widths = (2, 3, 4, 5) if given["sweep"] == "full" else (width,)
    with bench.progress.stage("runs from random starts", 0.4):
        ends: dict[int, Ends] = {}
        values: dict[int, Sequence[float]] = {}
        curves = None
        for size in widths:
            own = system if size == width else _compiled(interval, size, bench)
            values[size] = levels if size == width else _kink_levels(interval, size, levels)
            start = torch.randn(
                given["starts"],
                own.P,
                generator=torch.Generator().manual_seed(bench.seed),
                dtype=torch.float64,
            )
            times = torch.cat([torch.zeros(1), torch.logspace(-2, 6, 60)]).to(own.device, torch.float64)
            result = run(own, start.to(own.device, own.dtype), save_at=times)
            ends[size] = sorted_ends(own, result.final_state, values[size])
            if size == width:
                curves = _curves(own, result)
    findings["C7"] = ends_finding(ends, values, bench.seed)
    with bench.progress.stage("escape from saddles", 0.5):
        findings["C7.2"] = escape(system, sets, levels)
        graph = descents(system, sets, levels)
    if given["sweep"] == "full" and given["orientation"] == "published":
        findings |= _search(given, system, sets, bench)
    return Measured(findings, graph, (*_pictures(given, sets, curves), *_drawing(graph)))


def _compiled(interval: IntervalProblem, width: int, bench: Bench) -> IntervalSystem:
    return compile_interval(interval, width, device=bench.device, dtype=getattr(torch, bench.dtype))


def _levels(sets: CriticalSets) -> list[float]:
    return sorted(float(value) for value in sets.values if sign_of(value) > 0)


def _kink_levels(interval: IntervalProblem, width: int, levels: list[float]) -> list[float]:
    """Return the positive critical values at another width: those of the kink functions, or the one level of other activations."""
    try:
        return sorted({float(f.value) for f in kink_functions(shape_of(interval), width)})
    except AssumptionError:
        return levels


# -- gradients ---------------------------------------------------------------------------------------------------------


def _gradients(given: Instance, system: IntervalSystem, bench: Bench) -> Finding:
    """Compare exact integrals with sums over many midpoints and automatic differentiation of a network written here."""
    slopes, square = two_slopes(given), given["activation"].name == "quadratic"
    if (slopes is None and not square) or not system.interval.target.is_polynomial(system.interval.x):
        return Finding(Status.UNDECIDED, "no independent network for this activation and target")
    count, draws = system.sizes["m"], torch.Generator().manual_seed(bench.seed)
    low, high = (float(u) for u in given["interval"])
    coefficients = [
        float(c) for c in reversed(system.interval.target.as_poly(system.interval.x).all_coeffs())
    ]

    def sigma(z: Tensor) -> Tensor:
        if square:
            return z**2
        return torch.where(z > 0, float(slopes[1]) * z, float(slopes[0]) * z)  # type: ignore[index]  # not None here

    worst, points = 0.0, 5
    for theta in torch.randn(points, system.P, generator=draws, dtype=torch.float64):
        free = theta.clone().requires_grad_()
        v, w, b, c = free[:count], free[count : 2 * count], free[2 * count : 3 * count], free[-1]
        kinks = (-b / w).detach().clamp(low, high)
        ends = torch.cat([torch.tensor([low, high], dtype=torch.float64), kinks]).sort().values
        share = (torch.arange(MIDPOINTS, dtype=torch.float64) + 0.5) / MIDPOINTS
        gaps = ends.diff()
        x = (ends[:-1, None] + gaps[:, None] * share).flatten()
        y = sum(u * x**k for k, u in enumerate(coefficients))
        square_error = (c + sigma(x[:, None] * w + b) @ v - y) ** 2
        loss = (square_error * (gaps / MIDPOINTS).repeat_interleave(MIDPOINTS)).sum()
        loss.backward()
        there = theta.to(system.device, system.dtype)[None]
        exact = torch.cat([system.value(there), system.gradient(there)[0]]).double().cpu()
        other = torch.cat([loss.detach()[None], free.grad])
        worst = max(worst, float((exact - other).abs().max() / (1 + other.abs().max())))
    reason = f"loss and gradient at {points} random points against {MIDPOINTS} midpoints on each gap and automatic differentiation"
    status = Status.SUPPORTED if worst <= GRADIENTS else Status.REFUTED
    return Finding(status, reason, residual=worst, tolerance=GRADIENTS, evidence={"seed": bench.seed})


# -- critical points ---------------------------------------------------------------------------------------------------


def _spectra(given: Instance, sets: CriticalSets, system: IntervalSystem) -> Finding | None:
    """Compare the signs of computed eigenvalues with the exact inertia, on every stratum away from the target."""
    if two_slopes(given) is None:
        return None
    spectra, compared = [], 0
    for group in sets.sets:
        for stratum in () if group.least else group.strata:
            values = torch.linalg.eigvalsh(system.hessian(flat(stratum.theta, system)[None])[0])
            size = ZERO * float(values.abs().max())
            signs = tuple(int(u.sum()) for u in (values < -size, values.abs() <= size, values > size))
            compared += 1
            if signs != stratum.inertia:
                text = f"{group.function}: {stratum.title} has the signs {signs}, exact {stratum.inertia}"
                return Finding(Status.UNDECIDED, text, evidence={"eigenvalues": values.tolist()})
            if group.function != "constant":
                spectra.append(
                    {"stratum": f"{group.function}: {stratum.title}", "eigenvalues": values.tolist()}
                )
    reason = f"computed eigenvalues have the exact signs on {compared} strata"
    return Finding(Status.SUPPORTED, reason, tolerance=ZERO, evidence={"spectra": spectra[:8]})


def _search(given: Instance, system: IntervalSystem, sets: CriticalSets, bench: Bench) -> dict[str, Finding]:
    """Search critical points from random starts: a value that is not in the list would refute it."""
    claim = "C3" if given["activation"].name == "relu" else "C4" if len(functions_of(given)) > 1 else None
    if claim is None:
        return {}
    known = torch.tensor([float(u) for u in sets.values], dtype=torch.float64)
    met = (
        system.value(find_critical_points(system, starts(system, SEARCHED, bench.seed)).theta).double().cpu()
    )
    away = [float((known - u).abs().min()) for u in met]
    odd = [float(u) for u, gap in zip(met, away, strict=True) if gap > SAME]
    found = sorted({float(known[(known - u).abs().argmin()]) for u in met})
    reason = f"{len(met)} critical points from {SEARCHED} starts have the values {', '.join(f'{u:.6g}' for u in found)}"
    if odd:
        return {
            claim: Finding(
                Status.UNDECIDED,
                f"a search ends at the values {odd[:3]}, which are not in the list; {reason}",
            )
        }
    return {claim: Finding(Status.SUPPORTED, reason, residual=max(away, default=0.0), tolerance=SAME)}


# -- figures -----------------------------------------------------------------------------------------------------------


def _curves(system: IntervalSystem, result: FlowResult) -> tuple[list[list[float]], list[list[float]]]:
    """Return times and losses along some runs."""
    losses = [system.value(states).clamp(min=1e-16).tolist() for states in result.states[:DRAWN]]
    return [one.tolist() for one in result.times[:DRAWN]], losses


def _pictures(given: Instance, sets: CriticalSets, curves: Any) -> tuple[Picture, ...]:
    levels = {str(value): float(value) for value in sets.values if sign_of(value) > 0}

    def functions() -> Any:
        from workbench.plots.functions import draw_functions

        shown, target = {}, network_of(given).target
        lower, upper = (float(u) for u in given["interval"])
        ends = [float(target.subs(network_of(given).x, u)) for u in given["interval"]]
        shown["target"] = ([lower, upper], ends)
        for f in functions_of(given):
            x = [float(u) for u in f.nodes]
            at = [float(f.shape.slope * u + f.shape.intercept + f.residual(i)) for i, u in enumerate(f.nodes)]
            shown[f"{len(f.kinks)} kinks, L = {f.value}" if f.kinks else f"constant, L = {f.value}"] = (x, at)
        return draw_functions(shown)

    def losses() -> Any:
        from workbench.plots import draw_flow

        times, values = curves
        return draw_flow(times, values, levels=levels)

    out = []
    if two_slopes(given) is not None:
        out.append(Picture("functions", "The critical functions and the target.", functions))
    if curves is not None:
        caption = rf"The loss along {len(curves[0])} runs from random starts at width {given['width']}; dotted: positive critical values."
        out.append(Picture("losses", caption, partial(losses)))
    return tuple(out)


def _drawing(graph: Any) -> tuple[Picture, ...]:
    """Return the graph as a figure where it is small enough."""
    if len(graph) > MOST_NODES or not graph.edges:
        return ()

    def draw() -> Any:
        from workbench.plots.result_graph import draw_result_graph

        nodes = [
            (name, data["loss"], f"{data['kind']}\n({data['negative']}, {data['zero']}, {data['positive']})")
            for name, data in graph.nodes(data=True)
        ]
        edges = [(u, v, str(len(data["eigenvalues"]))) for u, v, data in graph.edges(data=True)]
        return draw_result_graph(nodes, edges, "loss $L$")

    words = "; ".join(f"{name}: {data['label']}" for name, data in graph.nodes(data=True))
    caption = f"Critical sets with the inertia $(-, 0, +)$, and where the flow leads from the saddles, with the number of descents. {words}."
    return (Picture("graph", caption, draw),)
