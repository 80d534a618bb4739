"""Critical points of one width by batched search: random starts, then rounds next to the manifolds of the points known."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import confined, find_critical_points, polish, starts
from numerics.saturation import converged, saturated
from numerics.spectrum import spectrum
from numerics.unseen import INFINITY, WITHOUT_POINT
from workbench.at_infinity import escapes
from workbench.catalogue import Catalogue, Key
from workbench.embedded_starts import embedded_starts, saddle_starts
from workbench.network import Network
from workbench.results import WidthSearch

__all__ = ["Found", "Remember", "Supplement", "anew", "found_from", "parts", "search_width"]

#: Starts of a round at most (but two for each known point), steps of a start, and how far apart the seeds of rounds are.
ROUND, STEPS, SEEDS = 240, 120, 7919
#: Steps of the random starts and descents, and how many starts make a piece; an even number, as every second start may follow eigenvectors.
STARTS_STEPS, PIECE = 300, 500
#: Starts of rounds in a row without anything new that end the search, and all of them at most, as multiples of the random ones.  On the
#: 21-sample problem three tanh neurons have saddles that none of 30 000 random starts found, and one start in 60 to 200 of the rounds.
QUIET, MOST = 3, 12
#: Share of the random starts at points that lead to one which no other start met (Good's and Turing's estimate of the unseen mass), from
#: where on the list is too long to be completed, and the number of points met once that it takes.  On the iris data a neuron
#: has hundreds of critical points, steps between samples, and every round brings more.
FLOOD, SINGLES = 0.02, 5
#: Name of the descents among the stages that are remembered.
DESCENTS = "descents from saddles"

Remember = Callable[[str, int, Mapping[str, Any], Callable[[], dict[str, Any]]], dict[str, Any]]
Supplement = Callable[[CompiledSystem, int, list[Tensor]], list[tuple[Tensor, str]]]


def anew(
    stage: str, width: int, settings: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Compute without a store; the default of what is asked to remember finished stages."""
    return compute()


def search_width(
    catalogue: Catalogue,
    width: int,
    count: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
    remember: Remember = anew,
    index: int | None = None,
) -> WidthSearch:
    """Search from ``count`` starts of one width and enter what is found; return how the starts ended.

    ``remember(stage, width, settings, compute)`` may return an earlier result of ``compute``, a dictionary of plain data.  With an
    ``index`` every second start follows the lowest eigenvectors to saddles of that index.

    After the random starts come descents from each saddle found, and rounds next to the critical manifolds that contain the points known,
    until ``QUIET`` times as many starts in a row bring no new irreducible point and every one of this width has been met twice at least,
    or ``MOST`` times as many are used up.  Where the random starts keep meeting points that no other start meets, the list is too long to
    be completed, and there are no rounds.
    """
    begun = time.perf_counter()
    search = _Width(catalogue, width, remember)
    settings = {"starts": count, "seed": seed, "index": index}
    search.enter("starts", settings, starts(search.system, count, seed), index, progress)
    total, quiet, turn = count, 0, 0
    while not search.too_long():
        total += search.leave_saddles()
        near = search.networks()
        if not near or (quiet >= QUIET * count and search.met_twice()):
            break
        turn, size = turn + 1, max(min(ROUND, count // 4), 2 * len(near))
        if total + size > (1 + MOST) * count:
            break
        theta0, uphill = embedded_starts(
            search.system, width, near, catalogue.shape, size, seed + SEEDS * turn, index
        )
        new = search.enter_near("round", theta0, uphill, STEPS)
        quiet, total = 0 if new else quiet + size, total + size
    ways = escapes(search.system, torch.cat(search.ways), width)
    seconds = time.perf_counter() - begun
    return WidthSearch(
        width, total, search.entered, search.infinite, search.failed, seconds, ways, tuple(search.ends[0])
    )


@dataclass
class Found:
    """How starts ended, as plain data: outcomes and points as in ``numerics.critical.SearchResult``."""

    outcome: list[int]
    theta: list[list[float]]
    escaped: list[list[float]]
    unconverged: int

    @classmethod
    def none(cls) -> Found:
        """Return what no start gives."""
        return cls([], [], [], 0)

    def add(self, piece: Mapping[str, Any]) -> None:
        """Append what the next piece of the starts gave."""
        self.outcome += piece["outcome"]
        self.theta += piece["theta"]
        self.escaped += piece["escaped"]
        self.unconverged += piece["unconverged"]


def parts(theta0: Tensor, index: int | Tensor | None) -> Iterator[tuple[Tensor, int | Tensor | None]]:
    """Cut starts into pieces, each remembered on its own: a killed search loses one of them, and they may be computed anywhere."""
    for first in range(0, len(theta0), PIECE):
        rows = slice(first, first + PIECE)
        yield theta0[rows], index[rows] if isinstance(index, Tensor) else index


def found_from(
    system: CompiledSystem,
    theta0: Tensor,
    index: int | Tensor | None,
    steps: int = STARTS_STEPS,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Search from starts (B, P); return the fields of ``Found``."""
    result = find_critical_points(system, theta0, index=index, progress=progress, max_steps=steps)
    return {
        "outcome": result.outcome.tolist(),
        "theta": result.theta.tolist(),
        "escaped": result.escaped.tolist(),
        "unconverged": result.unconverged,
    }


def _share(
    progress: Callable[[float], None] | None, number: int, count: int
) -> Callable[[float], None] | None:
    return None if progress is None else lambda fraction: progress((number + fraction) / count)


@dataclass
class _Width:
    """The search at one width: what was entered, and how the starts ended, for each stage in their order."""

    catalogue: Catalogue
    width: int
    remember: Remember
    entered: int = 0
    infinite: int = 0
    failed: int = 0
    ways: list[Tensor] = field(default_factory=list)
    ends: list[list[Any]] = field(default_factory=list)
    left: set[int] = field(default_factory=set)
    met: Counter[Any] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.system = self.catalogue.system_of(self.width)
        self.confined = confined(self.system)

    def too_long(self) -> bool:
        """Whether the random starts show a list that rounds would make longer, but not complete."""
        met = Counter(end for end in self.ends[0] if isinstance(end, Key))
        once = sum(count == 1 for count in met.values())
        return once >= SINGLES and once > FLOOD * sum(met.values())

    def networks(self) -> list[Network]:
        """Return the irreducible points up to this width, narrow ones first."""
        points = [point for point in self.catalogue.points if point.width <= self.width]
        return [point.network for point in sorted(points, key=lambda point: point.width)]

    def leave_saddles(self) -> int:
        """Descend from the saddles of this width that have not been left yet, and from those met there; return the number of starts."""
        total = 0
        while True:
            new = [
                key
                for key in self.catalogue.irreducible()
                if key.width == self.width and key.origin.inertia.negative and key.serial not in self.left
            ]
            if not new:
                return total
            self.left.update(key.serial for key in new)
            theta0 = torch.cat(
                [
                    saddle_starts(self.system, self.catalogue.flat(self.system, key.origin.network))
                    for key in new
                ]
            )
            self.enter_near(DESCENTS, theta0, torch.zeros(len(theta0), dtype=torch.long))
            total += len(theta0)

    def met_twice(self) -> bool:
        """Whether two starts led to every irreducible point of this width; one that a single start met may have unmet companions."""
        own = (key for key in self.catalogue.irreducible() if key.width == self.width)
        return all(self.met[key] > 1 for key in own)

    def enter_near(self, stage: str, theta0: Tensor, uphill: Tensor, steps: int = STARTS_STEPS) -> int:
        """Search from starts (B, P) that follow from what was found, and are named by their numbers."""
        where = hashlib.sha256(theta0.cpu().numpy().tobytes()).hexdigest()
        return self.enter(stage, {"starts": where}, theta0, uphill.to(theta0.device), None, steps)

    def enter(
        self,
        stage: str,
        settings: Mapping[str, Any],
        theta0: Tensor,
        index: int | Tensor | None,
        progress: Callable[[float], None] | None,
        steps: int = STARTS_STEPS,
    ) -> int:
        """Search from starts (B, P) and enter what is found; return the number of new irreducible points."""
        before, found = len(self.catalogue.points), Found.none()
        for number, (rows, follow) in enumerate(parts(theta0, index)):
            share = _share(progress, number, -(-len(theta0) // PIECE))
            compute = partial(found_from, self.system, rows, follow, steps, share)
            found.add(self.remember(stage, self.width, {**settings, "piece": number}, compute))
        self.failed += found.unconverged
        self._escaped(self._rows(found.escaped))
        ends: list[Any] = [WITHOUT_POINT.get(end) for end in found.outcome]
        if found.theta:
            starts_of = [j for j, end in enumerate(found.outcome) if end == 1]
            theta, _ = polish(self.system, self._rows(found.theta), steps=12)
            fine = converged(self.system, theta)
            escaped = torch.zeros_like(fine) if self.confined else saturated(self.system, theta)
            self._escaped(theta[escaped])
            for row in torch.nonzero(escaped).flatten().tolist():
                ends[starts_of[row]] = INFINITY
            for row in torch.nonzero(~escaped).flatten().tolist():
                key = self.catalogue.place(theta[row], self.width, "search") if bool(fine[row]) else None
                if key is None:
                    self.failed += 1
                    continue
                self.entered += 1
                ends[starts_of[row]] = key
                self.catalogue.record(
                    key, spectrum(self.system.hessian(theta[row]), self.catalogue.scale(self.width)).inertia
                )
        self.ends.append(ends)
        if stage != DESCENTS:  # some of those come back to the saddle they left
            self.met.update(ends)
        return len(self.catalogue.points) - before

    def _escaped(self, theta: Tensor) -> None:
        self.infinite += len(theta)
        self.ways.append(theta)

    def _rows(self, rows: list[list[float]]) -> Tensor:
        return torch.tensor(rows, dtype=self.system.dtype, device=self.system.device).reshape(
            -1, self.system.P
        )
