r"""Critical points of one width by batched search, sorted into irreducible points and strata of critical manifolds.

Every converged start is reduced to its irreducible network.  If that has the same width, the start found an isolated
point or a new entry; if it is narrower, the start lies on the stratum (origin, copies of each neuron, dead neurons) of the
critical manifold of that narrower point, and the narrower point is entered too.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import find_critical_points, polish, starts, starts_around
from numerics.saturation import converged, drifts, saturated
from numerics.spectrum import Inertia, Spectrum, spectrum
from workbench.at_infinity import escapes
from workbench.network import (
    NEARLY_SAME_NEURON,
    SAME_LEVEL,
    SAME_NEURON,
    SAME_POINT,
    SAME_VALUE,
    Architecture,
    Network,
    Reduction,
)
from workbench.results import WidthSearch

__all__ = ["Catalogue", "Irreducible", "Key", "Remember", "anew", "search_width", "spectrum_of"]

Array = NDArray[np.float64]

#: Starts of a round next to known points at most, rounds at most, rounds without anything new that end the search, and how far
#: apart their seeds are.  On the 21-sample problem three tanh neurons have points that one start in a thousand finds; rounds of 200
#: found all of these from every seed tried.
ROUND, ROUNDS, QUIET, SEEDS = 240, 12, 3, 7919
#: Entries of a width up to which there are rounds.  A longer list, as of separable classes, is one of points on nearly flat ground,
#: next to which a round enters dozens more of the same kind, most of them with zero eigenvalues that nothing explains.
MOST_KNOWN = 16


@dataclass(frozen=True, eq=False)
class Irreducible:
    """A critical point whose network cannot be made narrower, with the width-r parameters found for it."""

    network: Network
    value: float
    found_by: str
    inertia: Inertia

    @property
    def width(self) -> int:
        """Its width r."""
        return self.network.width


@dataclass(frozen=True)
class Key:
    """Name of a node before ids are given: an irreducible point, copies of each of its neurons, dead neurons."""

    origin: Irreducible = field(hash=False)
    serial: int
    copies: tuple[int, ...]
    dead: int

    @property
    def width(self) -> int:
        """Width of the wide network."""
        return sum(self.copies) + self.dead

    @property
    def trivial(self) -> bool:
        """Whether it is the irreducible point itself."""
        return self.dead == 0 and all(count == 1 for count in self.copies)


class Catalogue:
    """All critical points met so far, of every width, each once.

    Parameters
    ----------
    shape : Architecture
        The model.
    system_of : callable
        Compiled system of a width (at least 1).
    merges : bool
        False where equal neurons cannot be merged (weight decay): every point is then irreducible.
    """

    def __init__(
        self, shape: Architecture, system_of: Callable[[int], CompiledSystem], *, merges: bool = True
    ) -> None:
        self.shape, self.system_of, self.merges = shape, system_of, merges
        self.points: list[Irreducible] = []
        self.found: Counter[Key] = Counter()
        self.cells: dict[Key, Counter[Inertia]] = {}
        self.silent: dict[Key, Array] = {}

    def irreducible(self) -> Iterator[Key]:
        """Yield the irreducible points themselves, in order of entry."""
        for serial, point in enumerate(self.points):
            yield Key(point, serial, (1,) * point.width, 0)

    def place(self, theta: Tensor, width: int, found_by: str) -> Key | None:
        """Return the key of a converged point (P,), entering its irreducible point if it is new.

        None if it is irreducible and drifts towards infinity along a flat direction.
        """
        system = self.system_of(width)
        value = float(system.value(theta))
        net = self.network(system, theta)
        if not self.merges:
            return self._own(net, value, found_by)
        # Where strata meet, convergence slows down and the neurons agree less well; so the loose reduction comes first,
        # believed only if the narrow point it leads to is critical and has the same value to rounding.
        for tolerance, near in ((NEARLY_SAME_NEURON, 10 * NEARLY_SAME_NEURON), (SAME_NEURON, SAME_POINT)):
            reduction = net.reduce(self.shape, tolerance)
            key = None if reduction.is_trivial else self._stratum(reduction, value, found_by, near)
            if key is not None:
                return key
        return None if drifts(system, theta) else self._own(net, value, found_by)

    def _own(self, net: Network, value: float, found_by: str) -> Key:
        serial = self._serial(net, value, found_by)
        return Key(self.points[serial], serial, (1,) * net.width, 0)

    def _serial(self, net: Network, value: float, found_by: str) -> int:
        """Return the place of an irreducible critical point, entering it if it is new.

        Points of one value and one singular inertia are one entry: a set with many members.  Whether two of them are
        joined by critical points is not shown; listing each start as a point of its own would claim more.
        """
        known = self._find(net, value)
        if known is not None:
            return known[0]
        inertia = self._inertia(net)
        for serial, point in enumerate(self.points):
            level = abs(point.value - value) <= SAME_LEVEL * (1 + abs(value))
            if inertia.zero and level and (point.width, point.inertia) == (net.width, inertia):
                return serial
        self.points.append(Irreducible(net.standard(self.shape), value, found_by, inertia))
        return len(self.points) - 1

    def _inertia(self, net: Network) -> Inertia:
        if net.width == 0:
            return Inertia(0, 0, 0)
        system = self.system_of(net.width)
        return spectrum(system.hessian(self.flat(system, net))).inertia

    def _stratum(self, reduction: Reduction, value: float, found_by: str, tolerance: float) -> Key | None:
        narrow = reduction.network
        known = self._find(narrow, value, tolerance)
        if known is None:
            polished = self._polished(narrow, tolerance)
            if polished is None or abs(polished[1] - value) > SAME_LEVEL * (1 + abs(value)):
                return None
            serial = self._serial(*polished, found_by)
            # In a set with many members the neurons of this one need not be those of the member listed.
            order = narrow.match(self.points[serial].network, self.shape, tolerance)
            known = serial, tuple(range(narrow.width)) if order is None else order
        serial, order = known
        copies = [0] * len(order)
        for j, count in zip(order, reduction.copies, strict=True):
            copies[j] += count
        if not all(copies):
            return None
        key = Key(self.points[serial], serial, tuple(copies), reduction.dead)
        self.silent.setdefault(key, reduction.silent)
        return key

    def record(self, key: Key, inertia: Inertia) -> None:
        """Count one start that led to a node, with the inertia met there."""
        self.found[key] += 1
        self.cells.setdefault(key, Counter())[inertia] += 1

    def theta(self, key: Key, null: Array | None) -> Tensor:
        """Return parameters (P,) of the representative of a node: equal parts, and dead neurons with inputs ``null``.

        Without ``null`` the dead neurons are those of the first start that led to the node.
        """
        silent = self.silent[key] if null is None and key.dead else np.tile(self._null(null), (key.dead, 1))
        net = key.origin.network.embed(key.copies, silent)
        return self.flat(self.system_of(key.width), net)

    def _null(self, null: Array | None) -> Array:
        return np.zeros(self.shape.inputs) if null is None else null

    def network(self, system: CompiledSystem, theta: Tensor) -> Network:
        """Return the network with flat parameters theta (P,)."""
        blocks = {name: part.cpu().double().numpy() for name, part in system.unpack(theta).items()}
        return Network.from_blocks(blocks, self.shape)

    def flat(self, system: CompiledSystem, net: Network) -> Tensor:
        """Return the flat parameters (P,) of a network."""
        return system.pack(net.to_blocks(self.shape))

    def _find(
        self, network: Network, value: float, tolerance: float = SAME_POINT
    ) -> tuple[int, tuple[int, ...]] | None:
        for serial, point in enumerate(self.points):
            near = abs(point.value - value) <= SAME_VALUE * (1 + abs(value))
            if near and point.width == network.width:
                order = network.match(point.network, self.shape, tolerance)
                if order is not None:
                    return serial, order
        return None

    def _polished(self, network: Network, tolerance: float) -> tuple[Network, float] | None:
        """Return the critical network next to a reduced one, with its value."""
        if network.width == 0:
            return self._constant(network)
        system = self.system_of(network.width)
        theta, _ = polish(system, self.flat(system, network), steps=12)
        if not bool(converged(system, theta[None])[0]) or bool(saturated(system, theta[None])[0]):
            return None
        polished = self.network(system, theta)
        if (
            not polished.reduce(self.shape).is_trivial
            or network.match(polished, self.shape, tolerance) is None
        ):
            return None
        return polished, float(system.value(theta))

    def _constant(self, network: Network) -> tuple[Network, float]:
        """Newton's method on the output bias alone; without one the zero network is critical as it stands."""
        system, where = self.system_of(1), slice(-self.shape.q, None)
        theta = self.flat(system, network.embed((), self._null(None)[None]))
        for _ in range(20 if network.c is not None else 0):
            gradient, hessian = system.gradient(theta)[where], system.hessian(theta)[where, where]
            theta[where] -= torch.linalg.solve(hessian, gradient)
        constant = None if network.c is None else theta[where].cpu().double().numpy()
        return Network(network.a, network.w, constant), float(system.value(theta))


def spectrum_of(catalogue: Catalogue, key: Key, theta: Tensor) -> tuple[float, float, Spectrum]:
    """Return (value, gradient norm, Hessian spectrum) at the representative of a node."""
    shape = catalogue.shape
    if key.width:
        value, gradient, hessian = catalogue.system_of(key.width).value_gradient_hessian(theta)
        return float(value), float(gradient.norm()), spectrum(hessian)
    # The constant network: its only parameter is the output bias, read off a network with one null neuron.
    system, where = catalogue.system_of(1), slice(-shape.q, None) if shape.output_bias else slice(0, 0)
    wide = catalogue.flat(system, key.origin.network.embed((), np.zeros((1, shape.inputs))))
    value, gradient, hessian = system.value_gradient_hessian(wide)
    if not shape.output_bias:
        empty = Spectrum((), hessian[:0, :0], Inertia(0, 0, 0), 0.0, None, None)
        return float(value), 0.0, empty
    return float(value), float(gradient[where].norm()), spectrum(hessian[where, where])


Remember = Callable[[str, int, Mapping[str, Any], Callable[[], dict[str, Any]]], dict[str, Any]]


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

    After the random starts come rounds of a quarter as many (at most ``ROUND``) next to the points found, every second one
    following the lowest eigenvector, until ``QUIET`` rounds in a row bring no new irreducible point, or the list is longer than
    ``MOST_KNOWN``.
    """
    begun = time.perf_counter()
    search = _Width(catalogue, width, remember)
    settings = {"starts": count, "seed": seed, "index": index}
    search.enter("starts", settings, starts(search.system, count, seed), index, progress)
    total, quiet, size = count, 0, min(ROUND, max(count // 4, 1))
    for turn in range(1, ROUNDS + 1):
        near = search.points()
        if quiet == QUIET or near is None or len(near) > MOST_KNOWN:
            break
        theta0 = starts_around(search.system, near, size, seed + SEEDS * turn)
        where = hashlib.sha256(theta0.cpu().numpy().tobytes()).hexdigest()
        quiet = (
            0
            if search.enter("round", {"starts": where}, theta0, 1 if index is None else index, None)
            else quiet + 1
        )
        total += size
    ways = escapes(search.system, torch.cat(search.ways), width)
    seconds = time.perf_counter() - begun
    return WidthSearch(width, total, search.entered, search.infinite, search.failed, seconds, ways)


@dataclass
class _Width:
    """The search at one width: what was entered, and how the starts ended."""

    catalogue: Catalogue
    width: int
    remember: Remember
    entered: int = 0
    infinite: int = 0
    failed: int = 0
    ways: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.system = self.catalogue.system_of(self.width)

    def points(self) -> Tensor | None:
        """Return a representative of every entry of this width."""
        keys = [key for key in self.catalogue.found if key.width == self.width]
        return torch.stack([self.catalogue.theta(key, None) for key in keys]) if keys else None

    def enter(
        self,
        stage: str,
        settings: Mapping[str, Any],
        theta0: Tensor,
        index: int | None,
        progress: Callable[[float], None] | None,
    ) -> int:
        """Search from starts (B, P) and enter what is found; return the number of new irreducible points."""

        def compute() -> dict[str, Any]:
            result = find_critical_points(self.system, theta0, index=index, progress=progress)
            return {
                "theta": result.theta.tolist(),
                "escaped": result.escaped.tolist(),
                "unconverged": result.unconverged,
            }

        found, before = self.remember(stage, self.width, settings, compute), len(self.catalogue.points)
        self.failed += found["unconverged"]
        self._escaped(self._rows(found["escaped"]))
        if found["theta"]:
            theta, _ = polish(self.system, self._rows(found["theta"]), steps=12)
            escaped, fine = saturated(self.system, theta), converged(self.system, theta)
            self._escaped(theta[escaped])
            for row in torch.nonzero(~escaped).flatten().tolist():
                key = self.catalogue.place(theta[row], self.width, "search") if bool(fine[row]) else None
                if key is None:
                    self.failed += 1
                    continue
                self.entered += 1
                self.catalogue.record(key, spectrum(self.system.hessian(theta[row])).inertia)
        return len(self.catalogue.points) - before

    def _escaped(self, theta: Tensor) -> None:
        self.infinite += len(theta)
        self.ways.append(theta)

    def _rows(self, rows: list[list[float]]) -> Tensor:
        return torch.tensor(rows, dtype=self.system.dtype, device=self.system.device).reshape(
            -1, self.system.P
        )
