r"""Training runs from small weights: where the loss stalls, and which narrower network's critical point is met there.

A wide network starts at independent Gaussian weights of a small standard deviation and follows the gradient flow.  Its risk falls in steps: it
lingers where the gradient is small, next to a critical point.  The embedding principle says which one may be met, for every
critical point of a narrower network reappears as a manifold of critical points of the wide one, with the same outputs.

* A *stall* is a local minimum of :math:`|\nabla R|` along the run that is smaller than the maxima on both sides by the factor
  ``PROMINENT``.
* It is *explained* by a critical point of a narrower network if the outputs at the samples differ by at most ``NEAR`` of
  the norm of the targets, and the risks by at most ``NEAR_LEVEL`` of the larger one.
* The *embedded point* is the nearest copy: every neuron joins the neuron of the narrow network whose input weights are nearest, up to the sign
  symmetry, or falls silent, and the output weights of a group are shifted to their sum.  That it is critical is measured.

Source: Zhang, Zhang, Luo, Xu, arXiv:2105.14573, section 4 and Figure 1; Zhang et al., arXiv:2111.15527.

>>> [(dip.index, dip.prominence) for dip in dips([1.1, 1.0, 4.0, 2.0, 9.0, 0.5])]
[(1, 9.0), (3, 2.0), (5, 18.0)]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from derivations.html_table import html_table
from numerics.flow import STIFF_PARAMETERS, integrate
from workbench.errors import StudyError, exact_number
from workbench.network import Architecture, Network, architecture

if TYPE_CHECKING:
    from workbench.analysis import Analysis
    from workbench.landscape import Landscape
    from workbench.results import CriticalPoint
    from workbench.study import Study, TrainingTable

__all__ = ["Dip", "Embedded", "Stall", "TrainingRun", "dips", "embedded_near", "stated", "train"]

Array = NDArray[np.float64]

#: Factor by which the gradient is smaller than on both sides of a stall.
PROMINENT = 2.0
#: Largest distance of the outputs, relative to the norm of the targets, and of the risks, relative to the larger one.
NEAR, NEAR_LEVEL = 0.05, 0.05
#: Times at which the run is looked at, and the first of them as a share of the last.
TIMES, FIRST = 321, 1e-5
#: Tolerances of the integration and the most steps.
RTOL, ATOL, STEPS = 1e-7, 1e-11, 400_000


@dataclass(frozen=True)
class Dip:
    """A local minimum in a list, and by which factor the smaller of the maxima beside it is larger."""

    index: int
    prominence: float


@dataclass(frozen=True)
class Embedded:
    """The copy of a narrow critical point next to a wide network.

    ``groups`` gives for each wide neuron the narrow one whose copy it becomes, -1 for a silent one; ``distance`` is that of the
    parameters, relative to their norm; ``gradient_norm`` and ``value`` are those of the wide risk at the copy.
    """

    groups: tuple[int, ...]
    distance: float
    gradient_norm: float
    value: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "groups": list(self.groups)}


@dataclass(frozen=True)
class Stall:
    """A stall: when, at which risk and gradient, and the critical point that explains it (``point`` None: no listed one).

    ``nearest`` and ``distance`` name the listed critical point with the nearest outputs in any case.
    """

    time: float
    value: float
    gradient_norm: float
    prominence: float
    nearest: str
    distance: float
    level: float
    point: str | None
    embedded: Embedded | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "embedded": None if self.embedded is None else self.embedded.to_dict()}


@dataclass(frozen=True)
class TrainingRun:
    """One run of a wide network with its stalls.

    Attributes
    ----------
    study, width, scale, seed : str, int, float, int
        Which network; ``scale`` is the standard deviation of the weights at the start.
    status : str
        How the integration ended.
    t, value, gradient_norm : tuple of float
        Along the run; time unit 1 of the gradient flow.
    levels : dict of str to float
        Risks of the critical points of narrower networks, by id.
    distances : dict of str to tuple of float
        Of the outputs from those of each of them along the run, relative to the norm of the targets.
    stalls : tuple of Stall
        In the order of time.
    """

    study: str
    width: int
    scale: float
    seed: int
    status: str
    t: tuple[float, ...]
    value: tuple[float, ...]
    gradient_norm: tuple[float, ...]
    levels: dict[str, float]
    distances: dict[str, tuple[float, ...]]
    stalls: tuple[Stall, ...]
    derived_from: Any = field(default=None, compare=False, repr=False)

    @property
    def explained(self) -> int:
        """Number of stalls that a listed critical point explains."""
        return sum(stall.point is not None for stall in self.stalls)

    def plot(self, ax: Any = None) -> Any:
        """Draw risk, gradient norm and distances along the run; return the figure, or ``ax`` with the risk alone."""
        from workbench.plots import draw_training

        return draw_training(self, ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "schema": 1,
            "study": self.study,
            "training": {"width": self.width, "scale": self.scale, "seed": self.seed, "status": self.status},
            "t": list(self.t),
            "value": list(self.value),
            "gradient_norm": list(self.gradient_norm),
            "levels": self.levels,
            "distances": {name: list(row) for name, row in self.distances.items()},
            "stalls": [stall.to_dict() for stall in self.stalls],
        }

    def _repr_html_(self) -> str:
        rows = [
            (f"{s.time:.3g}", f"{s.value:.6g}", f"{s.gradient_norm:.2g}", s.point or "-", f"{s.distance:.2g}")
            for s in self.stalls
        ]
        heads = ("t", "R", "|grad R|", "critical point", "distance of outputs")
        return html_table(heads, rows, f"{self.study}, width {self.width}: stalls")


def stated(study: Study) -> TrainingTable:
    """Return the training that a study states.

    Raises
    ------
    StudyError
        If it states none, or a width that is not larger than those of the landscape.
    """
    wanted = study.training
    if wanted is None:
        raise StudyError(
            f"{study.name}: training: found no such table; accepted: [training] with width, scale and until"
        )
    most = max(study.landscape.widths)
    if wanted.width <= most:
        raise StudyError(
            f"{study.name}: training.width: found {wanted.width}; accepted: more than the widths of the landscape (up to {most})"
        )
    return wanted


def train(analysis: Analysis, landscape: Landscape) -> TrainingRun:
    """Run the training that a study states, and explain its stalls by the critical points of a landscape.

    Parameters
    ----------
    analysis : Analysis
        With a study that has a ``[training]`` table.
    landscape : Landscape
        Critical points of narrower networks for the same problem.

    Raises
    ------
    StudyError
        If the study states no training, or a width that is not larger than those of the landscape.
    NotThere
        If the landscape of the model is not there.
    """
    study = analysis.required_study("a training run")
    wanted = stated(study)
    data = analysis.required_data("a training run")
    shape = architecture(analysis.problem, data.d, data.o)
    system = analysis.compile(wanted.width)
    seed = study.landscape.seed if wanted.seed is None else wanted.seed
    draw = torch.Generator().manual_seed(seed)
    scale, until = (float(exact_number(text)) for text in (wanted.scale, wanted.until))
    theta0 = scale * torch.randn(1, system.P, generator=draw, dtype=torch.float64)
    times = torch.as_tensor(np.geomspace(FIRST * until, until, TIMES))
    with analysis.progress.stage(f"training {wanted.width} neurons", 1.0) as update:
        run = integrate(
            system.flow,
            theta0,
            until,
            jacobian=system.flow_jacobian if system.P <= STIFF_PARAMETERS else None,
            save_at=times,
            rtol=RTOL,
            atol=ATOL,
            max_steps=STEPS,
            progress=update,
        )
    theta, times = run.states[0], run.times[0]
    kept = len(times)
    value, gradient = system.value(theta), system.gradient(theta).norm(dim=1)
    outputs = system.outputs(theta).reshape(kept, -1)
    points = _narrow(landscape)
    functions = {p.id: _outputs(analysis, p, outputs.shape[1]) for p in points}
    size = max(float(system.y.norm()), torch.finfo(torch.float64).tiny)
    distances = {name: (outputs - f).norm(dim=1) / size for name, f in functions.items()}
    by_id = {point.id: point for point in points}
    stalls = []
    for dip in dips(gradient.tolist()):
        i = dip.index
        nearest = min(distances, key=lambda name: (float(distances[name][i]), name))
        point, risk, away = by_id[nearest], float(value[i]), float(distances[nearest][i])
        same = abs(risk - point.value) <= NEAR_LEVEL * max(abs(risk), abs(point.value))
        explained = away <= NEAR and same
        net = Network.from_blocks(
            {name: part.numpy() for name, part in system.unpack(theta[i]).items()}, shape
        )
        copy = _copy(system, net, point, shape) if explained else None
        stalls.append(
            Stall(
                float(times[i]),
                risk,
                float(gradient[i]),
                dip.prominence,
                nearest,
                away,
                point.value,
                nearest if explained else None,
                copy,
            )
        )
    return TrainingRun(
        study.name,
        wanted.width,
        scale,
        seed,
        str(run.status[0]),
        tuple(times.tolist()),
        tuple(value.tolist()),
        tuple(gradient.tolist()),
        {point.id: point.value for point in points},
        {name: tuple(row.tolist()) for name, row in distances.items()},
        tuple(stalls),
        analysis,
    )


def dips(values: Sequence[float]) -> list[Dip]:
    """Return the local minima that are smaller than the maxima beside them by the factor ``PROMINENT``.

    The maximum on a side is taken up to the next smaller value, as for the prominence of a summit.  A side without a smaller value is
    open: the run began, or ended, there, and its maximum counts only where both sides are.
    """
    out = []
    for i, here in enumerate(values):
        closed, still_open = [], []
        for side in (range(i - 1, -1, -1), range(i + 1, len(values))):
            highest = here
            for j in side:
                if values[j] < here or (values[j] == here and j < i):
                    closed.append(highest)
                    break
                highest = max(highest, values[j])
            else:
                still_open.append(highest)
        top = min(closed) if closed else max(still_open)
        prominence = top / here if here else math.inf
        if prominence >= PROMINENT:
            out.append(Dip(i, prominence))
    return out


def embedded_near(
    net: Network, narrow: Network, shape: Architecture
) -> tuple[Network, tuple[int, ...]] | None:
    """Return the copy of a narrow critical point, in the width of ``net``, that is near it, and whose copy each neuron is (-1: silent).

    Every neuron takes the cheaper of two moves: of its input weights to those of a narrow neuron, up to the sign symmetry, or of all its
    weights to zero.  It can fall silent if the activation is odd, or if there is an output bias, which keeps its constant.  None where a
    neuron of the narrow network would have no copy.
    """
    if net.width < narrow.width:
        return None
    signs = (1, -1) if shape.flip and not shape.half else (1,)
    far = np.full((net.width, narrow.width + 1, len(signs)), math.inf)
    for number, sign in enumerate(signs):
        gap = net.w[:, None, :] - sign * narrow.w[None, :, :]
        far[:, : narrow.width, number] = (gap**2).sum(axis=2)
    odd = shape.flip < 0 and not shape.half
    moved = slice(None) if odd else slice(shape.d)
    if odd or shape.output_bias:
        far[:, -1, 0] = (net.a**2).sum(axis=1) + (net.w[:, moved] ** 2).sum(axis=1)
    cost, turn = far.min(axis=2), np.array(signs)[far.argmin(axis=2)]
    groups = cost.argmin(axis=1)
    for j in range(narrow.width):  # no neuron of the narrow network without a copy
        if not (groups == j).any():
            free = [
                k for k in range(net.width) if groups[k] == narrow.width or (groups == groups[k]).sum() > 1
            ]
            if not free:
                return None
            groups[min(free, key=lambda k: cost[k, j])] = j
    if not np.isfinite(cost[np.arange(net.width), groups]).all():
        return None
    a, w = net.a.copy(), net.w.copy()
    silent = groups == narrow.width
    a[silent] = 0.0
    w[silent, moved] = 0.0
    for j in range(narrow.width):
        members = np.flatnonzero(groups == j)
        sign = turn[members, j][:, None]
        w[members] = sign * narrow.w[j]
        weight = np.where(sign < 0, float(shape.flip), 1.0)
        a[members] += weight * (narrow.a[j] - (weight * a[members]).sum(axis=0)) / len(members)
    return Network(a, w, narrow.c), tuple(
        -1 if quiet else int(j) for j, quiet in zip(groups, silent, strict=True)
    )


def _copy(system: Any, net: Network, point: CriticalPoint, shape: Architecture) -> Embedded | None:
    narrow = (
        Network.from_blocks(point.theta, shape)
        if point.width
        else Network(np.zeros((0, shape.q)), np.zeros((0, shape.inputs)), _constant(point, shape))
    )
    found = embedded_near(net, narrow, shape)
    if found is None:
        return None
    copy, groups = found
    there, here = system.pack(copy.to_blocks(shape)), system.pack(net.to_blocks(shape))
    away = float((there - here).norm() / here.norm())
    return Embedded(groups, away, float(system.gradient(there).norm()), float(system.value(there)))


def _constant(point: CriticalPoint, shape: Architecture) -> Array | None:
    return np.asarray(point.theta["c"], dtype=np.float64).reshape(shape.q) if shape.output_bias else None


def _narrow(landscape: Landscape) -> list[CriticalPoint]:
    """Return the points whose network functions differ: no copies of narrower ones."""
    return [point for point in landscape.points if point.origin is None]


def _outputs(analysis: Analysis, point: CriticalPoint, entries: int) -> Tensor:
    """Return the outputs at the samples, flat; those of a network without neurons are its output bias."""
    if point.width:
        system = analysis.compile(point.width)
        blocks = {name: torch.as_tensor(part, dtype=system.dtype) for name, part in point.theta.items()}
        return system.outputs(system.pack(blocks)).reshape(-1)
    constant = torch.as_tensor(point.theta.get("c", 0.0), dtype=torch.float64).reshape(-1)
    return constant.repeat(entries // len(constant))
