"""Landscapes as the search would return them, written down by hand, for figures and reports."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from derivations.claim import Claim, Status
from workbench.report_content import Block, DataSummary, ReportContent
from workbench.results import Channel, CriticalPoint, Edge, EmbeddingCheck, Inertia, WidthSearch
from workbench.tex import Tex


@dataclass(frozen=True)
class Landscape:
    """The records of one landscape."""

    points: tuple[CriticalPoint, ...]
    edges: tuple[Edge, ...]
    channels: tuple[Channel, ...] = ()
    searches: tuple[WidthSearch, ...] = ()
    checks: tuple[EmbeddingCheck, ...] = ()


def make_point(
    name: str,
    value: float,
    negative: tuple[float, ...],
    zeros: int,
    positive: tuple[float, ...],
    **fields: Any,
) -> CriticalPoint:
    """Make a point with this spectrum; its width and its parameters follow from its name."""
    width = int(name[1 : name.index(".")])
    levels = (*negative, *(3.1e-17 * (k + 1) for k in range(zeros)), *positive)
    inertia = Inertia(len(negative), zeros, len(positive))
    theta = {
        "a": [round(0.7 * (-1) ** k + value, 6) for k in range(width)],
        "w": [[1.25 + k - value] for k in range(width)],
        "b": [0.0 if k == 0 else 0.1 * k for k in range(width)],
    }
    return CriticalPoint(name, width, theta, value, 2.2e-17, levels, inertia, **fields)


@pytest.fixture(scope="session")
def small_landscape() -> Landscape:
    """Nine points on widths 0 to 3 with every kind of edge and channel."""
    half = "m1.1 split (2)"
    points = (
        make_point("m0.1", 0.0546, (), 0, (1.0,), found=3),
        make_point("m1.1", 0.0401125, (), 0, (0.0213, 0.14, 1.31), found=1204, orbit_size=2),
        make_point("m1.2", 0.0531, (-0.031,), 0, (0.17, 0.93), found=377, orbit_size=2),
        make_point("m2.1", 0.00123456, (), 0, (1.1e-4, 3.2e-3, 0.04, 0.2, 0.9, 2.3), found=811, orbit_size=8),
        make_point("m2.2", 0.0312, (-0.0042,), 0, (0.001, 0.03, 0.21, 0.8, 1.9), found=65, orbit_size=8),
        make_point(
            "m2.3", 0.0401125, (-0.0061,), 1, (0.013, 0.14, 0.7, 1.31), found=12, orbit_size=None, stratum=half,
            origin="m1.1", copies=(2,), manifold_dimension=1, embedded_from=("m1.1",), found_by="embedding",
        ),
        make_point(
            "m2.4", 0.0401125, (), 2, (0.013, 0.14, 0.7, 1.31), orbit_size=None, found_by="embedding",
            stratum="m1.1 with 1 dead neuron", origin="m1.1", dead=1, manifold_dimension=2, embedded_from=("m1.1",),
        ),
        make_point("m3.1", 3.1e-31, (), 4, (1e-3, 0.1, 0.3, 1.0, 2.0), found=1650, orbit_size=48, manifold_dimension=4),
        make_point(
            "m3.2", 0.00123456, (-0.0021,), 1, (1e-4, 3e-3, 0.02, 0.04, 0.2, 0.9, 2.3), found=20, orbit_size=None,
            stratum="m2.1 split (2, 1)", origin="m2.1", copies=(2, 1), manifold_dimension=1, embedded_from=("m2.1",),
        ),
    )  # fmt: skip
    descent = {
        "direction": 0,
        "sign": 1,
        "eigenvalue": -0.0061,
        "loss_drop": 0.0389,
        "time": 812.0,
        "distance": 3e-11,
    }
    edges = (
        Edge("m1.1", "m2.3", "splitting", {"neuron": 0, "alpha": 0.5, "status": "PROVED"}),
        Edge("m1.1", "m2.4", "null", {"neuron": None, "alpha": 0.0, "status": "PROVED"}),
        Edge("m2.1", "m3.2", "splitting", {"neuron": 0, "alpha": 0.5, "status": "PROVED"}),
        Edge("m2.1", "m3.2", "splitting", {"neuron": 1, "alpha": 0.5, "status": "PROVED"}),
        Edge("m1.2", "m1.1", "descent", descent),
        Edge("m1.2", "m1.1", "descent", descent | {"sign": -1}),
        Edge("m2.3", "m2.1", "descent", descent),
        Edge("m2.3", "m2.2", "descent", descent | {"sign": -1}),
        Edge("m2.2", "m2.1", "descent", descent | {"eigenvalue": -0.0042}),
        Edge("m3.2", "m3.1", "descent", descent | {"eigenvalue": -0.0021, "time": 2.5e6}),
    )
    channels = (
        Channel("c1", "m2.2", 2, 0, -1, "infinity", 0.0287, 3.4e4, 1e8),
        Channel("c2", "m3.2", 3, 0, -1, "unresolved", 0.0009, 41.0, 1e8),
    )
    searches = (
        WidthSearch(1, 2000, 1581, 402, 17, 3.2),
        WidthSearch(2, 2000, 888, 1100, 12, 9.7),
        WidthSearch(3, 2000, 1670, 300, 30, 21.4),
    )
    checks = (
        EmbeddingCheck(
            "m1.1", "m2.3", "splitting", 0, 0.5, 1.1e-16, 3.3e-17, 2.1e-16,
            Inertia(0, 0, 3), Inertia(1, 1, 4), Inertia(1, 1, 4), 1e-10,
        ),
        EmbeddingCheck(
            "m1.1", "m2.4", "null", None, 0.0, 0.0, 3.3e-17, 1.8e-16, Inertia(0, 0, 3), Inertia(0, 2, 4), None, 1e-10
        ),
        EmbeddingCheck(
            "m2.1", "m3.2", "splitting", 1, -0.25, 2e-16, 1e-17, 2e-16,
            Inertia(0, 0, 6), Inertia(1, 1, 7), Inertia(0, 2, 7), 1e-10,
        ),
    )  # fmt: skip
    return Landscape(points, edges, channels, searches, checks)


@pytest.fixture(scope="session")
def large_landscape() -> Landscape:
    """Eighty points, sixty of them at one width, many at the same loss; many edges."""
    draw = random.Random(7)
    points, edges = [], []
    for width, count in ((1, 4), (2, 16), (3, 60)):
        for k in range(count):
            value = 0.04 if k % 3 == 0 else round(10 ** draw.uniform(-4, -1.2), 7)
            down = tuple(-(10 ** draw.uniform(-4, 0)) for _ in range(draw.choice((0, 1, 1, 2))))
            up = tuple(
                sorted(
                    10 ** draw.uniform(-4, 1) for _ in range(3 * width - len(down) - draw.choice((0, 0, 1)))
                )
            )
            zeros = 3 * width - len(down) - len(up)
            points.append(make_point(f"m{width}.{k + 1}", value, tuple(sorted(down)), zeros, up, found=k))
    by_width = {w: [p for p in points if p.width == w] for w in (1, 2, 3)}
    for point in points:
        lower = [p for p in by_width[point.width] if p.value < point.value]
        if point.inertia.negative and lower:
            edges += [Edge(point.id, draw.choice(lower).id, "descent") for _ in range(2)]
        wider = [p for p in by_width.get(point.width + 1, ()) if p.value == point.value]
        edges += [Edge(point.id, p.id, draw.choice(("splitting", "null"))) for p in wider[:2]]
    return Landscape(tuple(points), tuple(edges))


@pytest.fixture(scope="session")
def report_content(small_landscape: Landscape) -> ReportContent:
    """A report with every section, a hostile title, a refuted claim, and a study file that tries to escape."""
    flow = Tex(
        r"\begin{align}\dot a_k &= -\sum_{i=1}^{n} r_i \tanh(z_{ik}), &"
        r"\dot w_k &= -\sum_{i=1}^{n} \delta_{ik} x_i\label{eq:flow}\end{align}"
    )
    risk = Tex(r"\begin{equation}R(\theta) = \frac{1}{2n}\sum_{i=1}^{n} (f_i - y_i)^2\end{equation}")
    claims = (
        Claim(
            "splitting embedding", "gradient", r"The wide gradient is $\nabla R' = B\,\nabla R$ for every $\theta$.",
            "zhang2022hierarchical, Theorem 4.1", status=Status.PROVED, residual="0",
        ),
        Claim(
            "gradient against automatic differentiation", "", r"The derived $\nabla R$ agrees with autograd.",
            status=Status.SUPPORTED, residual=3.2e-16, tolerance=1e-12,
        ),
        Claim(
            "balance law", "C1", r"$a_k^2 - \lVert w_k\rVert^2$ is constant along the flow.", "du2018",
            status=Status.REFUTED, residual=0.31, tolerance=1e-9, evidence={"seed": 3, "theta": {"a": [1.0]}},
        ),
        Claim("[completeness]* of the list", "", "There is no other critical point.", status=Status.UNDECIDED),
    )  # fmt: skip
    toml = 'schema = 1\nname = "two"  # \\end{document} 100% ~^_{}\n    x = ' + str(
        [[k / 7] for k in range(20)]
    )
    return ReportContent(
        title=r"\input{/etc/passwd} $%&_#{}~^\ -- Łukasiewicz, γ-flow \N{CJK UNIFIED IDEOGRAPH-4E2D}",
        study_name="two_neurons-5",
        study_toml=toml,
        data_summary=DataSummary(5, 1, "o", "iris_data & more.csv, standardized", "0f" * 32),
        derivations={
            "problem": (Block("", Tex("The network is trained on the risk"), risk),),
            "gradient_flow": (Block("Equations for symbolic sizes", "Every weight follows 100% of:", flow),),
            "symmetries": (
                Block("Permutation of neurons", Tex(r"$R$ is a sum over $k$ \cite{simsek2021, kunin2021}.")),
            ),
            "embedding": (Block("Splitting", Tex(r"A neuron is copied; by \eqref{eq:flow} nothing changes.")),),
        },
        points=small_landscape.points,
        edges=small_landscape.edges,
        channels=small_landscape.channels,
        searches=small_landscape.searches,
        checks=small_landscape.checks,
        claims=claims,
        landscape_json={"completeness": {"status": "UNDECIDED", "method": "no bound on their number"}},
        provenance={
            "packages": {"sympy": "1.14.0", "torch": "2.13.0"}, "device": "cpu", "dtype": "float64", "seed": 0,
            "run time": "34.2 s", "source": "a" * 64, "file": "/home/some_one/studies/two_neurons-5/study_file.toml",
        },
        references=("sympy2017", "pytorch2019"),
        warnings=("The search at width 3 was stopped after 30 % of its starts.",),
    )  # fmt: skip


@pytest.fixture(scope="session")
def connected_line() -> Any:
    """The landscape of widths 1 and 2 of the shipped one-dimensional data, from few starts."""
    import workbench as wb

    content = wb.load(wb.shipped_studies()["tanh-1d"]).to_dict()
    content["landscape"] |= {"starts": 60, "widths": [1, 2]}
    return wb.Analysis(wb.study_from_mapping(content)).landscape()
