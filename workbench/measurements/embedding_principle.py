"""What is measured for ``embedding-principle``, at critical points found on the samples of the instance; the graph of embeddings and descents."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import networkx as nx
import torch
from torch import Tensor

from derivations.claim import Status
from derivations.theorem import Finding, Instance
from derivations.theorems.embedding_principle import network
from numerics.compile import CompiledSystem, compile_system
from numerics.flow import integrate
from numerics.spectrum import spectrum
from numerics.splitting_law import split
from workbench.measurements import embedding_points as at
from workbench.measurements.measured import Bench, Measured, Picture
from workbench.wide_claims import wide_claims

__all__ = ["measure"]

#: Labels of the claims on wide and deep images, by what they are called there.
IMAGES = {
    "compatible family (C1, C4, C5)": ("C1.1", "C4", "C5"),
    "three copies (C6)": ("C6",),
    "lifted layer (C15)": ("C15",),
}
#: End of the descents from split points, and the distance of their starts.
UNTIL, START = 1e5, 1e-3
#: Shares over which an inertia is scanned.
SHORT, FULL = 13, 201


def measure(given: Instance, bench: Bench) -> Measured:
    """Measure where the assumptions let the maps be made: shares that sum to 1, no weight decay, a smooth activation."""
    x = [[float(u) for u in row] for row in given["data"].x]
    y = [float(u) for u in given["data"].y]
    options: dict[str, Any] = {"device": bench.device, "dtype": torch.float64}
    if given["decay"] != 0 or not given["activation"].is_smooth or sum(given["fractions"]) != 1:
        return Measured()

    @lru_cache(maxsize=8)
    def system_of(width: int) -> CompiledSystem:
        return compile_system(network(given), x, y, width, **options)

    narrow = system_of(given["width"])
    with bench.progress.stage("searching critical points", 0.2):
        points = at.irreducible(narrow, given["starts"], bench.seed)
    if not points:
        reason = f"no irreducible critical point of width {given['width']} was found from {given['starts']} starts; raise starts"
        return Measured({label: Finding(Status.UNDECIDED, reason) for label in ("C4", "C10", "C11")})
    wide = system_of(given["width"] + 1)
    shares = [float(u) for u in given["fractions"][:-1]]
    shares.append(1 - sum(shares))
    with bench.progress.stage("splitting", 0.4):
        kept, law = at.split_points(narrow, system_of(given["width"] + len(shares) - 1), points, shares)
        count = FULL if given["sweep"] == "full" else SHORT
        findings = {
            "C1": kept,
            "C7": law,
            "C8": at.two_shares(narrow, system_of, points, count, divided=given["rule"] == "divided"),
            "C11": at.silent(narrow, wide, points, bench.seed),
            "C12": at.plateau_ends(narrow, wide, points),
        }
    with bench.progress.stage("wide and deep images", 0.6):
        findings |= _images(narrow, points if given["sweep"] == "full" else points[:1], bench)
    with bench.progress.stage("searching the wide network", 0.7):
        if not given["activation"].expr.is_polynomial(*given["activation"].expr.free_symbols):
            findings["C10"] = at.explained(
                narrow, wide, _probes(given, x), points, given["starts"], bench.seed
            )
        biased = compile_system(network(given, output_bias=True), x, y, given["width"], **options)
        others = at.irreducible(biased, given["starts"], bench.seed, 2)
        if others:
            larger = compile_system(network(given, output_bias=True), x, y, given["width"] + 1, **options)
            biases = (0.0, 0.7, -1.3) if given["bias"] == "yes" else (0.0,)
            findings["C9"] = at.null_neuron(biased, larger, others, biases)
    with bench.progress.stage("descents", 0.9):
        graph = _graph(narrow, wide, points)
    return Measured(findings, graph, _pictures(narrow, wide, points[-1], graph))


def _probes(given: Instance, x: list[list[float]]) -> tuple[CompiledSystem, CompiledSystem]:
    """Return the narrow and the wide network at further inputs, about as far out as the samples."""
    draws = torch.randn(50, len(x[0]), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inputs = (draws * (1 + max(abs(u) for row in x for u in row)) / 2).tolist()
    zeros = [0.0] * len(inputs)
    small, large = (compile_system(network(given), inputs, zeros, given["width"] + extra) for extra in (0, 1))
    return small, large


def _images(system: CompiledSystem, points: list[Tensor], bench: Bench) -> dict[str, Finding]:
    """Return findings from the checks of wide and deep images against a hand-written network."""
    named = [(f"point {k}", theta) for k, theta in enumerate(points)]
    findings: dict[str, Finding] = {}
    for claim in wide_claims(system, named, bench.seed):
        against = claim.evidence.get("counterexamples") or []
        reason = (
            "; ".join(against)
            or claim.evidence.get("reason")
            or f"{claim.computed} of {claim.expected} images as predicted"
        )
        found = Finding(claim.status, reason, residual=claim.residual, tolerance=claim.tolerance)
        findings |= dict.fromkeys(IMAGES.get(claim.claim, ()), found)
    return findings


def _graph(narrow: CompiledSystem, wide: CompiledSystem, points: list[Tensor]) -> nx.MultiDiGraph:
    """Return narrow points, their equal splits, and where the flow leads from the splits along the lowest eigenvector."""
    graph = nx.MultiDiGraph()
    origins: list[str] = []
    rows: list[Tensor] = []
    for number, theta in enumerate(points, start=1):
        name = f"m{narrow.sizes['m']}.{number}"
        before = spectrum(narrow.hessian(theta))
        graph.add_node(
            name, width=narrow.sizes["m"], loss=float(narrow.value(theta)), **before.inertia.to_dict()
        )
        for neuron in range(narrow.sizes["m"]):
            there = split(narrow, wide, theta, neuron, (0.5, 0.5))
            after = spectrum(wide.hessian(there), max(map(abs, before.eigenvalues)))
            image = f"{name} split {neuron + 1}"
            graph.add_node(
                image,
                width=wide.sizes["m"],
                loss=float(wide.value(there)),
                dimension=1,
                **after.inertia.to_dict(),
            )
            graph.add_edge(name, image, kind="embed", copies=2)
            if after.inertia.negative:
                u = torch.linalg.eigh(wide.hessian(there)).eigenvectors[:, 0]
                rows += [there + START * u, there - START * u]
                origins += [image, image]
    if rows:
        ends = integrate(
            lambda theta: -wide.gradient(theta), torch.stack(rows), UNTIL, jacobian=lambda theta: -wide.hessian(theta), rtol=1e-6, atol=1e-9,
            stationary_norm=1e-10,
        ).final_state  # fmt: skip
        for origin, theta, value, rest in zip(
            origins, ends, wide.value(ends).tolist(), wide.gradient(ends).norm(dim=1).tolist(), strict=True
        ):
            if value >= graph.nodes[origin]["loss"]:
                continue
            known = [
                n
                for n, d in graph.nodes(data=True)
                if n.startswith("end") and abs(d["loss"] - value) <= 1e-6 * (1e-6 + value)
            ]
            target = known[0] if known else f"end {sum(n.startswith('end') for n in graph) + 1}"
            if not known:
                counts = spectrum(wide.hessian(theta)).inertia.to_dict()
                graph.add_node(
                    target,
                    width=wide.sizes["m"],
                    loss=value,
                    gradient=rest,
                    largest=float(theta.abs().max()),
                    **counts,
                )
            graph.add_edge(origin, target, kind="flow", drop=graph.nodes[origin]["loss"] - value)
    return graph


def _pictures(
    narrow: CompiledSystem, wide: CompiledSystem, theta: Tensor, graph: nx.MultiDiGraph
) -> tuple[Picture, ...]:
    def lowest() -> Any:
        from workbench.plots.functions import draw_functions

        alphas = torch.linspace(-1, 2, 121, dtype=torch.float64).tolist()
        values = [
            torch.linalg.eigvalsh(wide.hessian(split(narrow, wide, theta, 0, (1 - u, u)))) for u in alphas
        ]
        shown = {"zero": ([-1.0, 2.0], [0.0, 0.0])}
        for k in range(min(3, len(values[0]))):
            shown[f"eigenvalue {k + 1}"] = (alphas, [float(v[k]) for v in values])
        return draw_functions(shown, "share $\\alpha$", "eigenvalue")

    out = [
        Picture(
            "plateau",
            r"The three lowest eigenvalues of the Hessian along the plateau $(1 - \alpha, \alpha)$ of a split neuron.",
            lowest,
        )
    ]
    if len(graph) <= 8:

        def draw() -> Any:
            from workbench.plots.result_graph import draw_result_graph

            nodes = [
                (n, d["loss"], f"({d['negative']}, {d['zero']}, {d['positive']})")
                for n, d in graph.nodes(data=True)
            ]
            return draw_result_graph(
                nodes, [(u, v, d["kind"]) for u, v, d in graph.edges(data=True)], "risk $R$"
            )

        out.append(
            Picture(
                "graph",
                r"Narrow points, their splits, and where the flow leads from these; $(-, 0, +)$.",
                draw,
            )
        )
    return tuple(out)
