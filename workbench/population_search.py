r"""Critical points of a population risk at one width, by batched search.

A search over samples sorts points into orbits and strata of critical manifolds, for which it needs to know every
identity that keeps the network function.  Where there are more such identities than permutations, signs and copies of
neurons (relu neurons can be rescaled, have their kink outside the interval, or die), critical points come in larger sets.
Here one entry stands for all points found with one network function on the interval (for Gaussian inputs, with one value
of the risk) that have a negative eigenvalue, or for all those that have none; ``cells`` counts the inertias met.
How many connected sets an entry stands for, and of which dimension, is not decided.

Points where the Hessian is not classical (a kink on an end of the interval, a neuron that vanishes with its kink inside) are
counted in an entry of their function, and represent it only where there is no other point.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from numerics.critical import find_critical_points, polish, starts
from numerics.interval_system import IntervalSystem
from numerics.population_system import PopulationSystem
from numerics.saturation import converged
from numerics.spectrum import Inertia, Spectrum, spectrum
from numerics.unseen import WITHOUT_POINT
from workbench.results import CriticalPoint, WidthSearch
from workbench.search import Remember, anew

__all__ = ["Found", "search_population"]

System = IntervalSystem | PopulationSystem

#: Distance of two network functions (root mean square over the inputs of the system, relative) up to which they are one.
#: Newton's method leaves 1e-8 at a minimum of value 0 where a kink is next to an end; other functions differ by more
#: than 1e-3.
SAME_FUNCTION = 1e-5
#: Relative distance of two values up to which they are one.
SAME_VALUE = 1e-9


@dataclass(frozen=True)
class _Point:
    outputs: Tensor
    value: float
    theta: Tensor
    gradient_norm: float
    spectrum: Spectrum
    regular: bool

    @property
    def clarity(self) -> tuple[bool, float]:
        """Rank of a representative: classical Hessian first, then the gap in the spectrum."""
        zero, other = self.spectrum.largest_zero, self.spectrum.smallest_nonzero or 0.0
        return self.regular, other if zero is None else other / max(zero, 1e-300)

    def same_function(self, other: _Point) -> bool:
        """Whether two points have one network function and value."""
        if abs(self.value - other.value) > SAME_VALUE * (1 + abs(other.value)):
            return False
        size = 1 + float(other.outputs.abs().max())
        return float((self.outputs - other.outputs).square().mean().sqrt()) <= SAME_FUNCTION * size


@dataclass
class _Entry:
    representative: _Point
    descends: bool
    cells: Counter[Inertia]
    irregular: int = 0
    members: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """Critical points in the order of their values, and how the starts ended."""

    points: tuple[CriticalPoint, ...]
    search: WidthSearch


def search_population(
    system: System,
    count: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
    remember: Remember = anew,
) -> Found:
    """Search from ``count`` random starts.

    Parameters
    ----------
    system : CompiledSystem
        Of an interval or a Gaussian population, in float64, all blocks trained.
    count, seed : int
        Number and seed of the starts.
    progress, remember : callable
        As for ``workbench.search.search_width``.

    Raises
    ------
    ValueError
        If a block is frozen.
    """
    begun, width = time.perf_counter(), system.sizes["m"]
    frozen = [block.name for block in system.problem.blocks if not block.trained]
    if frozen:
        raise ValueError(
            f"blocks {', '.join(frozen)} are frozen; the search over a population moves every block, leave freeze empty"
        )

    def compute() -> dict[str, Any]:
        result = find_critical_points(system, starts(system, count, seed), progress=progress)
        return {
            "outcome": result.outcome.tolist(),
            "theta": result.theta.tolist(),
            "runs_to_infinity": result.runs_to_infinity,
            "unconverged": result.unconverged,
        }

    kept = remember("population search", width, {"starts": count, "seed": seed}, compute)
    entries: list[_Entry] = []
    total, reached = 0, []
    if kept["theta"]:
        theta = torch.tensor(kept["theta"], dtype=system.dtype, device=system.device)
        regular = ~system.irregular(theta).any(dim=1)
        theta[regular] = polish(system, theta[regular])[0]
        fine = converged(system, theta)
        ended = [j for j, end in enumerate(kept["outcome"]) if end == 1]
        reached = [ended[row] for row in torch.nonzero(fine).flatten().tolist()]
        theta = theta[fine]
        total = len(theta)
        entries = _entries(_points(system, theta))
    entries.sort(key=lambda e: (e.representative.value, not e.descends))
    lowest = entries[0].representative.value if entries else 0.0
    points = tuple(_record(system, e, j, lowest) for j, e in enumerate(entries, start=1))
    failed = kept["unconverged"] + len(kept["theta"]) - total
    hits: list[Any] = [WITHOUT_POINT.get(end) for end in kept["outcome"]]
    for entry, point in zip(entries, points, strict=True):
        for row in entry.members:
            hits[reached[row]] = point.id
    seconds = time.perf_counter() - begun
    return Found(
        points, WidthSearch(width, count, total, kept["runs_to_infinity"], failed, seconds, (), tuple(hits))
    )


def _points(system: System, theta: Tensor) -> list[_Point]:
    value, gradient, hessian = system.value_gradient_hessian(theta)
    outputs = system.outputs(theta) if isinstance(system, IntervalSystem) else value[:, None]
    irregular = system.irregular(theta).any(dim=1)
    found = []
    for row, point in enumerate(theta):
        shape = spectrum(hessian[row])
        regular = shape.clear and not bool(irregular[row])
        norm = float(gradient[row].norm())
        found.append(_Point(outputs[row], float(value[row]), point, norm, shape, regular))
    return found


def _entries(points: Sequence[_Point]) -> list[_Entry]:
    """Sort points by network function, and by whether they have a negative eigenvalue."""
    entries: list[_Entry] = []
    order = sorted(range(len(points)), key=lambda row: not points[row].regular)  # the regular ones first
    for row in order:
        point = points[row]
        descends = point.spectrum.inertia.negative > 0
        same = [e for e in entries if point.same_function(e.representative)]
        if point.regular:
            same = [e for e in same if e.descends == descends]
        if not same:
            same = [_Entry(point, descends, Counter())]
            entries += same
        entry = max(same, key=lambda e: e.cells.total())
        entry.members.append(row)
        if point.clarity > entry.representative.clarity:
            entry.representative = point
        if point.regular:
            entry.cells[point.spectrum.inertia] += 1
        else:
            entry.irregular += 1
    return entries


def _record(system: System, entry: _Entry, rank: int, lowest: float) -> CriticalPoint:
    point, width = entry.representative, system.sizes["m"]
    inertia = point.spectrum.inertia
    isolated = inertia.zero == 0 and point.regular
    what = "function" if isinstance(system, IntervalSystem) else "risk"
    words = f"one {what}, n- {'> 0' if entry.descends else '= 0'}"
    if not point.regular:
        words = f"one {what}, Hessian not classical"
    lower_known = lowest < point.value - SAME_VALUE * (1 + abs(point.value))
    return CriticalPoint(
        id=f"m{width}.{rank}",
        width=width,
        theta={name: part.tolist() for name, part in system.unpack(point.theta).items()},
        value=point.value,
        gradient_norm=point.gradient_norm,
        eigenvalues=point.spectrum.eigenvalues,
        inertia=inertia,
        largest_zero=point.spectrum.largest_zero,
        smallest_nonzero=point.spectrum.smallest_nonzero,
        stratum=words,
        copies=(1,) * width,
        manifold_dimension=0 if isolated else None,
        unexplained_zeros=inertia.zero,
        orbit_size=None,
        found=entry.cells.total() + entry.irregular,
        cells=tuple(entry.cells.most_common()),
        global_minimum=False if lower_known or (entry.descends and point.regular) else None,
    )
