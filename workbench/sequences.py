r"""Saddle-to-saddle sequences: which listed critical points the flow from small weights passes, and whether the graph predicts them.

The gradient flow starts at independent Gaussian weights of a small standard deviation, next to the network that is zero, and is followed to the
end.  Where :math:`|\nabla R|` has a local minimum along the run (``workbench.training.dips``), and at the end, the parameters are compared with
every listed critical point and manifold of the width: the nearest copy under permutations and sign flips, and on a manifold with the output
weights of a split neuron shared as they are in the run.  A point is *passed* if it is nearer than ``PASSED``, relative to 1 + |theta|; it is a
measurement, as is the order of the points.

Two points passed one after the other are compared with the descents: an *edge* of the graph, a *path* of several edges, or neither.  A run
that passes near a saddle need not leave it along an edge found: edges start on the unstable manifold, the run next to it.

Source: Jacot et al., arXiv:2106.15933 (saddle-to-saddle dynamics); Zhang, Zhang, Luo, Xu, arXiv:2105.14573, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from derivations.html_table import html_table
from numerics.flow import integrate
from workbench.alignment import copies_near
from workbench.errors import StudyError
from workbench.network import Architecture, Network, architecture
from workbench.training import dips, embedded_near

if TYPE_CHECKING:
    from workbench.analysis import Analysis
    from workbench.landscape import Landscape
    from workbench.results import CriticalPoint

__all__ = ["Passage", "Sequence", "sequences"]

#: Distance from a critical point, relative to 1 + |theta|, up to which a run passes it.
PASSED = 0.1
#: Times at which a run is looked at, the first and the last of them, and the rate at which it is at rest.
TIMES, FIRST, LAST, AT_REST = 601, 1e-2, 1e9, 1e-11
#: Tolerances of the integration.
RTOL, ATOL, STEPS = 1e-7, 1e-10, 20_000


@dataclass(frozen=True)
class Passage:
    """A place where a run is slow, and the listed point there.

    Attributes
    ----------
    time, value, gradient_norm : float
        When, the risk, and the norm of its gradient.
    nearest, distance : str or None, float
        The nearest listed critical point, and its distance relative to 1 + |theta|.
    point : str or None
        The same if it is passed, else None.
    reached_by : str
        From the point passed before: ``start``, ``edge``, ``path`` or ``none``; empty where none is passed.
    """

    time: float
    value: float
    gradient_norm: float
    nearest: str | None
    distance: float
    point: str | None
    reached_by: str


@dataclass(frozen=True)
class Sequence:
    """One run from small weights: its start, how it ended, and where it was slow, in the order of time.

    At a point that is passed only the first of several passages in a row is kept.
    """

    width: int
    scale: float
    seed: int
    run: int
    status: str
    passages: tuple[Passage, ...]

    @property
    def points(self) -> tuple[str, ...]:
        """Ids of the points passed."""
        return tuple(passage.point for passage in self.passages if passage.point is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            **vars(self),
            "passages": [dict(vars(passage)) for passage in self.passages],
            "points": list(self.points),
        }

    def _repr_html_(self) -> str:
        rows = [
            (
                f"{p.time:.3g}",
                f"{p.value:.6g}",
                f"{p.gradient_norm:.2g}",
                p.point or "-",
                f"{p.distance:.2g}",
                p.reached_by,
            )
            for p in self.passages
        ]
        heads = ("t", "R", "|grad R|", "passes", "distance", "by")
        return html_table(heads, rows, f"width {self.width}, run {self.run}: {' → '.join(self.points)}")


def sequences(
    analysis: Analysis, landscape: Landscape, width: int, *, scale: float = 1e-3, runs: int = 4, seed: int = 0
) -> list[Sequence]:
    """Follow the flow from small weights, and say which points of the landscape it passes.

    Parameters
    ----------
    analysis, landscape : Analysis, Landscape
        A study of a two-layer network, and its critical points with their descents.
    width : int
        A width of the landscape.
    scale : float
        Standard deviation of the weights at the start.
    runs, seed : int
        How many starts, and the seed of their draws.

    Raises
    ------
    StudyError
        If the landscape has no points of this width, or scale or runs are not positive.
    """
    listed = [point for point in landscape.points if point.width == width and width]
    if not listed:
        widths = ", ".join(str(w) for w in sorted({p.width for p in landscape.points if p.width}))
        raise StudyError(
            f"sequences: width: found {width}; accepted: one with listed critical points ({widths})"
        )
    if not 0 < scale < np.inf or runs < 1:
        raise StudyError(
            f"sequences: found scale = {scale} and {runs} runs; accepted: a positive scale and at least one run"
        )
    data = analysis.required_data("sequences")
    shape = architecture(analysis.problem, data.d, data.o)
    system = analysis.compile(width)
    draw = torch.Generator().manual_seed(seed)
    theta0 = scale * torch.randn(runs, system.P, generator=draw, dtype=torch.float64)
    with analysis.progress.stage(f"following {runs} runs from small weights of width {width}", 1.0) as update:
        found = integrate(
            system.flow,
            theta0,
            LAST,
            jacobian=system.flow_jacobian,
            method="rodas4",
            rtol=RTOL,
            atol=ATOL,
            save_at=torch.as_tensor(np.geomspace(FIRST, LAST, TIMES)),
            stationary_norm=AT_REST,
            max_steps=STEPS,
            progress=update,
        )
    atlas, out = _Atlas(landscape, listed, shape), []
    for run in range(runs):
        states = torch.cat([theta0[run : run + 1], found.states[run]])
        times = [0.0, *found.times[run].tolist()]
        value, gradient = system.value(states), system.gradient(states).norm(dim=1)
        slow = [dip.index for dip in dips(gradient.tolist())]
        passages: list[Passage] = []
        last: str | None = None
        for i in dict.fromkeys([*slow, len(times) - 1]):
            net = Network.from_blocks(
                {name: part.numpy() for name, part in system.unpack(states[i]).items()}, shape
            )
            nearest, away = atlas.nearest(net)
            point = nearest if away <= PASSED else None
            if point is not None and point == last:
                continue  # slower still at the same point, or rounding at rest
            way = "" if point is None else "start" if last is None else atlas.way(last, point)
            passages.append(Passage(times[i], float(value[i]), float(gradient[i]), nearest, away, point, way))
            last = point or last
        out.append(Sequence(width, scale, seed, run, str(found.status[run]), tuple(passages)))
    return out


class _Atlas:
    """The listed points of one width by the narrow network that they copy, and the descents between them."""

    def __init__(self, landscape: Landscape, listed: list[CriticalPoint], shape: Architecture) -> None:
        self.shape = shape
        self.entries = {(p.origin or p.id, p.copies, p.dead): p.id for p in listed}
        self.narrow = {name: _network(landscape[name], shape) for name in {p.origin or p.id for p in listed}}
        self.below: dict[str, set[str]] = {}
        for edge in landscape.edges:
            if edge.kind == "descent":
                self.below.setdefault(edge.source, set()).add(edge.target)

    def nearest(self, net: Network) -> tuple[str | None, float]:
        """Return the listed point nearest to a network, and its distance relative to 1 + the norm of the weights."""
        best: tuple[float, str | None] = (float("inf"), None)
        size = 1 + float(np.sqrt((net.a**2).sum() + (net.w**2).sum()))
        for name in sorted(self.narrow):
            narrow = self.narrow[name]
            found = embedded_near(net, narrow, self.shape)
            if found is None:
                continue
            copy, groups = found
            copies = tuple(sum(g == j for g in groups) for j in range(narrow.width))
            entry = self.entries.get((name, copies, sum(g < 0 for g in groups)))
            if entry is None:
                continue
            if narrow.width == net.width:
                away = copies_near(narrow, net, self.shape)[0].distance
            else:
                away = float(np.sqrt(((copy.a - net.a) ** 2).sum() + ((copy.w - net.w) ** 2).sum()))
                away = float(
                    np.hypot(away, 0.0 if net.c is None or copy.c is None else np.linalg.norm(copy.c - net.c))
                )
            best = min(best, (away / size, entry), key=lambda pair: pair[0])
        return best[1], best[0]

    def way(self, source: str, target: str) -> str:
        """Say how the graph of descents leads from one point to another."""
        if target in self.below.get(source, ()):
            return "edge"
        seen, todo = {source}, [source]
        while todo:
            new = self.below.get(todo.pop(), set()) - seen
            seen |= new
            todo += new
        return "path" if target in seen and target != source else "none"


def _network(point: CriticalPoint, shape: Architecture) -> Network:
    if point.width:
        return Network.from_blocks(point.theta, shape)
    constant: Mapping[str, Any] = point.theta
    c = np.asarray(constant["c"], dtype=np.float64).reshape(shape.q) if shape.output_bias else None
    return Network(np.zeros((0, shape.q)), np.zeros((0, shape.inputs)), c)
