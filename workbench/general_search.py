r"""Critical points of any smooth model on samples: deep networks, formulas, polynomial and rescalable activations, frozen blocks.

Every start that converged is compared with the entries so far.  Two points are one entry if they have one value, one
inertia and one network function, read off at the samples and at further random inputs; isolated points must have one Hessian spectrum
besides.  Points on a measured critical manifold that have the same outputs at the samples are one entry too, though the function may
change along it: an entry is then one kind of critical set, and whether it is connected is not shown.

After the random starts come rounds next to the points found, every second start following the lowest eigenvector, and
rounds in which all images of the isolated points are deflated, in turn, until one of each brings nothing new.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import confined, find_critical_points, polish, settle, starts, starts_around, trained
from numerics.saturation import converged, drifts, saturated
from numerics.spectrum import Inertia, Spectrum, spectrum
from numerics.unseen import INFINITY, WITHOUT_POINT
from workbench.at_infinity import escapes
from workbench.classification import SCALE, Classifier, classified, is_lower_bound
from workbench.results import CriticalPoint, Escape, WidthSearch, Zeros
from workbench.search import Remember, Supplement, anew

__all__ = ["Found", "Request", "search_model"]

#: Relative distance of two values, outputs, or spectra up to which they are one; polished points agree to 1e-12, and to 1e-7 where
#: the flattest eigenvalue is 1e-7 of the largest.
SAME_VALUE, SAME_OUTPUTS, SAME_SPECTRUM = 1e-9, 1e-6, 1e-6
#: Rounds after the random starts at most, starts of each, images that are deflated at most, and how far apart their seeds are.
ROUNDS, ROUND, MOST_KNOWN, SEEDS = 10, 120, 600, 7919


@dataclass(frozen=True)
class Request:
    """Starts, seed, index of saddles to be followed (or None), and values of frozen blocks."""

    starts: int
    seed: int
    index: int | None = None
    frozen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """Critical points in the order of their values, and how the starts ended."""

    points: tuple[CriticalPoint, ...]
    search: WidthSearch


@dataclass(eq=False)
class _Entry:
    theta: Tensor
    value: float
    gradient_norm: float
    spectrum: Spectrum
    outputs: Tensor
    elsewhere: Tensor
    point: CriticalPoint | None = None
    found: int = 1
    found_by: str = "search"
    id: str = ""

    @property
    def flat(self) -> bool:
        zeros = None if self.point is None else self.point.zeros
        return bool(zeros and zeros.explained and not zeros.unexplained)


@dataclass
class _Search:
    system: CompiledSystem
    elsewhere: CompiledSystem
    width: int
    entries: list[_Entry] = field(default_factory=list)
    converged: int = 0
    infinite: int = 0
    failed: int = 0
    ways: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.classifier = Classifier(self.system, self.elsewhere)
        self.network = self.system.problem.kind in ("two_layer", "deep")
        self.confined = confined(self.system)

    def enter(self, theta: Tensor, found_by: str = "search") -> list[Any]:
        """Enter converged rows (K, P); return for each its entry, ``INFINITY``, or None where it did not converge."""
        ends: list[Any] = [None] * len(theta)
        if len(theta) == 0:
            return ends
        theta = settle(self.system, polish(self.system, theta, steps=12)[0])
        fine = converged(self.system, theta)
        self.failed += int((~fine).sum())
        rows = torch.nonzero(fine).flatten()
        if len(rows) and self.network and not self.confined:
            far = saturated(self.system, theta[rows])
            self.escaped(theta[rows[far]])
            for row in rows[far].tolist():
                ends[row] = INFINITY
            rows = rows[~far]
        if len(rows) == 0:
            return ends
        theta = theta[rows]
        value, gradient, hessian = self.system.value_gradient_hessian(theta)
        outputs = self.system.outputs(theta).reshape(len(theta), -1)
        elsewhere = self.elsewhere.outputs(theta).reshape(len(theta), -1)
        free = trained(self.system)
        for row, point in enumerate(theta):
            shape = spectrum(hessian[row][free, :][:, free], SCALE)
            norm = float(gradient[row][free].norm())
            entry = _Entry(
                point, float(value[row]), norm, shape, outputs[row], elsewhere[row],
                found=int(found_by == "search"), found_by=found_by,
            )  # fmt: skip
            ends[int(rows[row])] = self._place(entry)
        return ends

    def escaped(self, theta: Tensor) -> None:
        """Count runs to infinity."""
        self.infinite += len(theta)
        self.ways.append(theta)

    def _place(self, entry: _Entry) -> _Entry | str:
        near = [known for known in self.entries if _same_function(known, entry)]
        if not near:
            if entry.spectrum.inertia.zero:
                zeros, local = self.classifier.zeros(entry.theta, entry.spectrum)
                if (zeros.unexplained or not self.network) and drifts(self.system, entry.theta):
                    self.escaped(entry.theta[None])
                    return INFINITY
                entry.point = classified(self._record(entry), zeros, local)
                near = [
                    known
                    for known in self.entries
                    if entry.flat and known.flat and known.point is not None
                    if known.point.zeros == entry.point.zeros and _same_set(known, entry)
                ]
            else:
                entry.point = classified(
                    self._record(entry), *self.classifier.zeros(entry.theta, entry.spectrum)
                )
        counted = entry.found
        self.converged += counted
        if near:
            near[0].found += counted
            return near[0]
        self.entries.append(entry)
        return entry

    def _record(self, entry: _Entry) -> CriticalPoint:
        inertia = entry.spectrum.inertia
        return CriticalPoint(
            id="",
            width=self.width,
            theta={name: part.tolist() for name, part in self.system.unpack(entry.theta).items()},
            value=entry.value,
            gradient_norm=entry.gradient_norm,
            eigenvalues=entry.spectrum.eigenvalues,
            inertia=inertia,
            largest_zero=entry.spectrum.largest_zero,
            smallest_nonzero=entry.spectrum.smallest_nonzero,
            orbit_size=None if inertia.zero else self.classifier.orbits.orbit_size(entry.theta),
        )

    def known(self) -> Tensor | None:
        """Return all images of the isolated points, as many as are deflated."""
        found = []
        for entry in self.entries:
            if entry.spectrum.inertia.zero == 0:
                images = self.classifier.orbits.images(entry.theta)
                found.append(entry.theta[None] if images is None else images)
        return torch.cat(found)[:MOST_KNOWN] if found else None

    def points(self) -> tuple[CriticalPoint, ...]:
        """Return the records, by value."""
        self.entries.sort(
            key=lambda e: (round(e.value, 12), e.spectrum.inertia.negative, e.spectrum.inertia.zero)
        )
        lowest = self.entries[0].value if self.entries else 0.0
        for rank, entry in enumerate(self.entries, 1):
            entry.id = f"m{self.width}.{rank}"
        return tuple(self._finished(entry, lowest) for entry in self.entries)

    def _finished(self, entry: _Entry, lowest: float) -> CriticalPoint:
        point, inertia = entry.point, entry.spectrum.inertia
        assert point is not None  # given when it was entered
        above = entry.value > lowest + SAME_VALUE * (1 + abs(lowest))
        bound = is_lower_bound(self.system.problem, entry.value)
        return replace(
            point,
            id=entry.id,
            stratum=_words(point.zeros or Zeros(), inertia),
            copies=(1,) * self.width,
            found=entry.found,
            found_by=entry.found_by,
            cells=tuple(Counter({inertia: entry.found}).items()),
            global_minimum=True if bound else False if above or inertia.negative else None,
        )


def search_model(
    system: CompiledSystem,
    elsewhere: CompiledSystem,
    width: int,
    request: Request,
    progress: Callable[[float], None] | None = None,
    remember: Remember = anew,
    supplement: Supplement | None = None,
) -> Found:
    """Search from random starts, then around what was found.

    Parameters
    ----------
    system, elsewhere : CompiledSystem
        In float64, at the samples and at further inputs.
    width : int
        Number of hidden neurons, or 1 for a formula or a diagonal network; for the names of the points.
    request : Request
        What is searched.  Without values, frozen blocks are 0.
    progress, remember : callable
        As for ``workbench.search.search_width``.
    supplement : callable, optional
        Given the system, the width and the isolated points found (K, P), further critical points (P,), each with how it was found.

    Raises
    ------
    ValueError
        If every block is frozen, or the index exceeds the number of trained parameters.
    """
    begun = time.perf_counter()
    search = _Search(system, elsewhere, width)

    def compute() -> dict[str, Any]:
        first = find_critical_points(
            system, _fixed(system, starts(system, request.starts, request.seed), request.frozen),
            index=request.index, progress=progress,
        )  # fmt: skip
        return {
            "outcome": first.outcome.tolist(),
            "theta": first.theta.tolist(),
            "escaped": first.escaped.tolist(),
            "unconverged": first.unconverged,
        }

    settings = {
        "starts": request.starts,
        "seed": request.seed,
        "index": request.index,
        "frozen": dict(request.frozen),
    }
    kept = remember("model search", width, settings, compute)
    search.failed += kept["unconverged"]
    search.escaped(_rows(system, kept["escaped"]))
    ends = iter(search.enter(_rows(system, kept["theta"])))
    hits = [next(ends) if end == 1 else WITHOUT_POINT.get(end) for end in kept["outcome"]]
    total, quiet, size = request.starts, 0, min(ROUND, max(request.starts // 4, 1))
    for turn in range(1, ROUNDS + 1):
        known, seed = search.known(), request.seed + SEEDS * turn
        if quiet == 2 or not search.entries:
            break
        if turn % 2:
            near = torch.stack([entry.theta for entry in search.entries])
            theta0 = starts_around(system, near, size, seed)
            # One start is the zero network: critical in most models, and with weight decay a minimum whose basin others do not meet.
            theta0[0] = _fixed(system, torch.zeros_like(theta0[:1]), request.frozen)[0]
            more = find_critical_points(system, theta0, index=1 if request.index is None else request.index)
        elif known is not None:
            theta0 = _fixed(system, starts(system, size, seed), request.frozen)
            more = find_critical_points(system, theta0, known=known, max_steps=100)
        else:
            continue
        total += size
        search.failed += more.unconverged
        search.escaped(more.escaped)
        before = len(search.entries)
        search.enter(more.theta)
        quiet = 0 if len(search.entries) > before else quiet + 1
    isolated = [entry.theta for entry in search.entries if not entry.spectrum.inertia.zero]
    if supplement is not None:
        for theta, found_by in supplement(system, width, isolated):
            search.enter(theta[None], found_by)
    ways: tuple[Escape, ...] = escapes(system, torch.cat(search.ways), width) if search.ways else ()
    points = search.points()
    named = tuple(u.id if isinstance(u, _Entry) else u for u in hits)
    seconds = time.perf_counter() - begun
    return Found(
        points,
        WidthSearch(width, total, search.converged, search.infinite, search.failed, seconds, ways, named),
    )


def _rows(system: CompiledSystem, rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=system.dtype, device=system.device).reshape(-1, system.P)


def _fixed(system: CompiledSystem, theta: Tensor, frozen: Mapping[str, Any]) -> Tensor:
    """Put the values of the frozen blocks into starts (B, P)."""
    out = theta.clone()
    for block, (name, _, where) in zip(system.problem.blocks, system.layout, strict=True):
        if not block.trained:
            value = torch.as_tensor(frozen.get(name, 0.0), dtype=theta.dtype, device=theta.device)
            out[:, where] = value.reshape(-1)
    return out


def _same_function(one: _Entry, other: _Entry) -> bool:
    if one.spectrum.inertia != other.spectrum.inertia or not _near_values(one, other):
        return False
    for left, right in ((one.outputs, other.outputs), (one.elsewhere, other.elsewhere)):
        if float((left - right).abs().max()) > SAME_OUTPUTS * (1 + float(left.abs().max())):
            return False
    if one.spectrum.inertia.zero:
        return True
    pairs = zip(one.spectrum.eigenvalues, other.spectrum.eigenvalues, strict=True)
    largest = max(map(abs, one.spectrum.eigenvalues))
    return all(abs(u - v) <= SAME_SPECTRUM * largest for u, v in pairs)


def _same_set(one: _Entry, other: _Entry) -> bool:
    if one.spectrum.inertia != other.spectrum.inertia or not _near_values(one, other):
        return False
    return float((one.outputs - other.outputs).abs().max()) <= SAME_OUTPUTS * (
        1 + float(one.outputs.abs().max())
    )


def _near_values(one: _Entry, other: _Entry) -> bool:
    return abs(one.value - other.value) <= SAME_VALUE * (1 + abs(one.value))


def _words(zeros: Zeros, inertia: Inertia) -> str:
    """Say what an entry stands for."""
    if inertia.zero == 0:
        return "isolated"
    if zeros.unexplained:
        return "set of unknown dimension"
    parts = [
        name
        for name, count in (
            ("symmetry orbit", zeros.symmetry),
            ("equal or silent neurons", zeros.embedding),
            ("measured manifold", zeros.manifold),
        )
        if count
    ]
    return ", ".join(parts)
