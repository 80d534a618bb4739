"""What is measured for ``margin-kkt``: flows of the network of an instance, of linear networks, and of two inputs at an angle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from sympy import Expr, Rational

from derivations.claim import Status
from derivations.diagonal_model import DiagonalProblem
from derivations.linear_margin import LinearMargin, linear_margin
from derivations.margin_classes import l1_margin
from derivations.margin_setting import leaky_slope, problem_of
from derivations.problem import Problem
from derivations.setting_readers import LabelledPoints
from derivations.theorem import Finding, Instance
from numerics.margin_flow import MarginFlow, MarginRun
from workbench.measurements import margin_cases as cases
from workbench.measurements import margin_runs as along
from workbench.measurements.margin_graph import add_directions, margin_graph
from workbench.measurements.margin_program import convex
from workbench.measurements.margin_runs import Runs
from workbench.measurements.measured import Bench, Measured, Picture
from workbench.plots.margins import draw_margins, draw_neurons, draw_residuals
from workbench.plots.result_graph import draw_result_graph

__all__ = ["measure"]

#: Widths, scales and slopes of the full sweep.
WIDTHS, SCALES, SLOPES = (2, 4, 50), (1e-2, 1e-3, 1e-4), (Rational(1, 10), Rational(1, 2))
#: Starts tried for one that keeps output weights of both signs.
TRIES = 8
#: The ascent, the theorem with its sign turned, begins at this log(1/E), and moves by this fraction of the norm over log(1/E) at a step.
ASCENT_FROM, ASCENT = 3.0, 0.02


def measure(given: Instance, bench: Bench) -> Measured:
    """Measure the claims that apply to an instance."""
    known = {name: found.status is Status.PROVED for name, found in given.findings().items()}
    target = float(given["target"])
    findings: dict[str, Finding] = {}
    graph, pictures = margin_graph(), []
    if known["homogeneous"] and known["locally Lipschitz"]:
        with bench.progress.stage("following the flow of the network", 0.5):
            runs = _runs(given, bench)
        if given["flow"] == "ascent":
            findings["C1"] = _ascent(runs)
        else:
            with bench.progress.stage("measuring along the flow", 0.2):
                findings |= _general(runs) | _classes(given, bench, runs, known)
            if runs.complete:
                slope = leaky_slope(given["activation"])
                if slope is not None and known["two-layer"]:
                    add_directions(graph, "K", runs.flow, runs.complete, float(slope), bench.seed, target / 2)
                pictures += _pictures(given, runs, known)
    with bench.progress.stage("following linear networks and two inputs at an angle", 0.3):
        if known["linearly separable"] and given["flow"] == "descent":
            findings |= _linear(given, bench, target)
        if given["flow"] == "descent":
            split, merged = cases.fragile_runs(float(given["angle"]), target)
            findings["C9"] = cases.fragile((split, merged), float(given["angle"]))
            flow = cases.fragile_flow(float(given["angle"]))
            add_directions(
                graph, "P", flow, (split, merged), 0.0, bench.seed, target / 2, ("split", "merged")
            )
    if len(graph):
        pictures.append(_graph_picture(graph))
    return Measured(findings, graph, tuple(pictures))


def _tensors(data: LabelledPoints) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.tensor([[float(u) for u in row] for row in data.x], dtype=torch.float64)
    return x, torch.tensor(data.y, dtype=torch.float64)


def _flow(given: Instance) -> MarginFlow:
    x, y = _tensors(given["data"])
    return MarginFlow(lambda loss: problem_of(given, loss), x, y, given["widths"], given["loss"])


def _run(flow: MarginFlow, given: Instance, seed: int, scale: float, pace: float) -> MarginRun:
    """Follow one random start; ``pace`` is the growth rate of the first phase, or a guess of it."""
    generator = torch.Generator().manual_seed(seed)
    start = scale * torch.randn(flow.system.P, dtype=torch.float64, generator=generator)
    target = float(given["target"])
    ending = 1.6 * math.log(1 / scale) / pace + 1
    levels = [2.0 ** (k / 2) for k in range(-10, 21) if 2.0 ** (k / 2) < target]
    return flow.run(start, target, levels=levels, save_at=torch.linspace(0, ending, 81).tolist())


def _pace(given: Instance) -> float:
    x, y = _tensors(given["data"])
    slope = leaky_slope(given["activation"])
    return (
        (1 + float(slope if slope is not None else 0)) / 2 * max(float((y[:, None] * x).mean(0).norm()), 1e-3)
    )


def _runs(given: Instance, bench: Bench) -> Runs:
    flow, scale, pace = _flow(given), float(given["scale"]), _pace(given)
    runs = tuple(_run(flow, given, bench.seed + j, scale, pace) for j in range(given["starts"]))
    return Runs(flow, runs, given["from"] == "start")


def _ascent(runs: Runs) -> Finding:
    """Begin where a descent is separated and follow the flow with its sign turned, by a few small steps."""
    state = next(
        (s for run in runs.runs for s in runs.tested(run) if s.phi > ASCENT_FROM and not s.on_kinks), None
    )
    if state is None:
        return Finding(Status.UNDECIDED, f"no run reached log(1/E) = {ASCENT_FROM:g}")
    theta, flow = state.theta, runs.flow
    step = ASCENT * state.norm / float(state.velocity.norm()) / state.phi
    for _ in range(5):
        theta = theta - step * flow.state(theta).velocity
    turned = along.Runs(flow, (MarginRun((state, flow.state(theta, 5 * step)), True, "", 0),))
    return along.monotone(turned)


def _general(runs: Runs) -> dict[str, Finding]:
    return {
        "C1": along.monotone(runs),
        "C2": along.sandwich(runs),
        "C3": along.rates(runs),
        "C4": along.kkt_residuals(runs),
        "C4.1": along.kkt_constants(runs),
        "C5": along.direction(runs),
    }


def _classes(given: Instance, bench: Bench, runs: Runs, known: Mapping[str, bool]) -> dict[str, Finding]:
    """Measure what holds for two-layer networks of degree one, and for symmetric data."""
    found: dict[str, Finding] = {}
    slope = leaky_slope(given["activation"])
    if slope is None or not known["two-layer"]:
        return found
    found["C10"] = convex(runs, float(slope))
    if known["symmetric data"] and known["linearly separable"]:
        best = linear_margin(given["data"].x, given["data"].y)
        found["C7"] = cases.symmetric(runs, _bound(slope, best), bench.seed)
        if known["small start"]:
            found["C8"] = _small(given, bench, runs, slope, best)
    return found


def _bound(slope: Expr, best: LinearMargin) -> float:
    return float((1 + slope) / 4 * best.margin)


def _small(given: Instance, bench: Bench, runs: Runs, slope: Expr, best: LinearMargin) -> Finding:
    w = [float(u) for u in best.weights]
    found = cases.phases(runs, float(slope), _bound(slope, best), w, float(given["scale"]))
    if given["sweep"] == "short" or found.status is not Status.SUPPORTED:
        return found
    worst, count = found, 0
    for width in WIDTHS:
        for alpha in SLOPES:
            texts = dict(given.texts) | {
                "widths": str(width),
                "activation": f"leaky_relu({alpha})",
                "sweep": "short",
            }
            other = given.theorem.instance(texts)
            flow = _flow(other)
            for scale in SCALES:
                one = _swept(flow, other, bench, scale, alpha, best)
                if one.status is not Status.SUPPORTED:
                    where = f"m = {width}, alpha = {alpha}, scale = {scale:g}"
                    return Finding(
                        Status.UNDECIDED,
                        f"{where}: {one.reason}",
                        residual=one.residual,
                        tolerance=one.tolerance,
                    )
                count += 1
                worst = max(worst, one, key=lambda u: u.residual)
    reason = f"{count} runs of the full sweep besides; largest relative distance from the best margin {worst.residual:.2g}"
    return Finding(
        Status.SUPPORTED,
        reason,
        (),
        worst.computed,
        worst.expected,
        worst.residual,
        worst.tolerance,
        found.evidence,
    )


def _swept(
    flow: MarginFlow, given: Instance, bench: Bench, scale: float, slope: Expr, best: LinearMargin
) -> Finding:
    """Try starts until one keeps output weights of both signs: with two neurons every second does not."""
    w = [float(u) for u in best.weights]
    found = Finding(Status.UNDECIDED, "no start was tried")
    for attempt in range(TRIES):
        run = _run(flow, given, bench.seed + 100 + attempt, scale, _pace(given))
        found = cases.phases(Runs(flow, (run,)), float(slope), _bound(slope, best), w, scale)
        if found.status is Status.SUPPORTED or "one sign" not in found.reason:
            break
    return found


def _linear(given: Instance, bench: Bench, target: float) -> dict[str, Finding]:
    data, depth = given["data"], given["depth"]
    x, y = _tensors(data)
    best = linear_margin(data.x, data.y)
    bias: dict[str, Any] = {"input_bias": False, "output_bias": False, "reduction": "sum"}
    deep = MarginFlow(
        lambda loss: Problem.deep(depth, "linear", loss, **bias), x, y, [max(2, x.shape[1])] * (depth - 1)
    )
    diagonal = MarginFlow(lambda loss: DiagonalProblem.of(2, loss, reduction="sum"), x, y, [])
    return {
        "C6": cases.linear(x, y, [float(u) for u in best.weights], target),
        "C6.2": cases.network_margin(deep, float(best.margin) * depth ** (-depth / 2), target, bench.seed),
        "C6.3": cases.network_margin(diagonal, 1 / float(l1_margin(data)[1]), target, bench.seed),
    }


# -- figures ---------------------------------------------------------------------------------------------------------


def _pictures(given: Instance, runs: Runs, known: Mapping[str, bool]) -> list[Picture]:
    shown = [[s for s in runs.tested(run) if s.margin > 0] for run in runs.complete[:5]]
    slope = leaky_slope(given["activation"])
    bounded = slope is not None and all(
        known[name] for name in ("two-layer", "symmetric data", "linearly separable")
    )
    level = (
        _bound(slope, linear_margin(given["data"].x, given["data"].y))
        if bounded and slope is not None
        else None
    )
    margins = [([s.phi for s in u], [s.normalised for s in u], [s.smoothed for s in u]) for u in shown]
    residuals = [
        ([s.margin for s in u], [s.stationarity for s in u], [s.slackness for s in u]) for u in shown
    ]
    out = [
        Picture(
            "margins",
            r"Normalised margin $\bar\gamma$ (solid) and smoothed margin $\tilde\gamma$ (dashed) along the flow, a colour for each start"
            + (r"; dotted: $\tfrac{1+\alpha}{4}\gamma^*$." if level is not None else "."),
            lambda: draw_margins(margins, level),
        ),
        Picture(
            "residuals",
            r"Scale-free KKT residuals against the smallest margin: stationarity (solid) and slackness (dashed, where above $10^{-9}$).",
            lambda: draw_residuals(residuals, runs.flow.degree),
        ),
    ]
    if known["two-layer"] and runs.flow.x.shape[1] == 2:
        out.append(_neuron_picture(given, runs, known))
    return out


def _neuron_picture(given: Instance, runs: Runs, known: Mapping[str, bool]) -> Picture:
    run, flow = runs.complete[0], runs.flow
    mean = (flow.y[:, None] * flow.x).mean(0).tolist()
    directions = {r"$\mu$": (mean[0], mean[1])}
    if known["linearly separable"]:
        w = linear_margin(given["data"].x, given["data"].y).weights
        directions["$w^*$"] = (float(w[0]), float(w[1]))
    blocks = [flow.system.unpack(s.theta / s.norm) for s in run.states]
    signs = blocks[-1]["a"].sign().tolist()
    scaled = [(u["a"].abs()[:, None] * u["w"]).tolist() for u in blocks]
    paths = [(sign, [(u[k][0], u[k][1]) for u in scaled]) for k, sign in enumerate(signs)]
    return Picture(
        "neurons",
        r"The neurons $|a_k| w_k/\rho^2$ of the first run, from the open to the full circles; blue: $a_k > 0$, red: $a_k < 0$ at the end. "
        r"Dotted: the mean $\mu$ of the $y_i x_i$, along which neurons grow first"
        + (", and the hard-margin classifier $w^*$." if known["linearly separable"] else "."),
        lambda: draw_neurons(paths, directions),
    )


def _graph_picture(graph: Any) -> Picture:
    nodes = [(name, data["margin"], data["kind"]) for name, data in graph.nodes(data=True)]
    edges: dict[tuple[str, str], list[float]] = {}
    for source, target, data in graph.edges(data=True):
        edges.setdefault((source, target), []).append(data["perturbation"])
    shown = [(u, v, ", ".join(f"{size:g}" for size in sorted(sizes))) for (u, v), sizes in edges.items()]
    return Picture(
        "directions",
        "KKT directions that flows reached, at the height of their normalised margin. K: the network of the instance; split, merged and "
        "P: two inputs at an angle. An arrow leads from a direction to where the flow ends after a random perturbation of the relative "
        "size beside it; a loop: it came back.",
        lambda: draw_result_graph(nodes, shown, r"normalised margin $\bar\gamma$"),
    )
