r"""The catalogue of critical points of two-layer networks, of every width, each once.

Every converged start is reduced to its irreducible network.  If that has the same width, the start found an isolated
point or a new entry; if it is narrower, the start lies on the stratum (origin, copies of each neuron, dead neurons) of the
critical manifold of that narrower point, and the narrower point is entered too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import curvature_scale, polish
from numerics.saturation import converged, drifts, saturated
from numerics.spectrum import Inertia, Spectrum, spectrum
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

__all__ = ["Catalogue", "Irreducible", "Key", "spectrum_of"]

Array = NDArray[np.float64]


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
        self._scales: dict[int, float] = {}

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
        return spectrum(system.hessian(self.flat(system, net)), self.scale(net.width)).inertia

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

    def scale(self, width: int) -> float:
        """Return the size that the Hessian of a width usually has."""
        if width not in self._scales:
            self._scales[width] = curvature_scale(self.system_of(width))
        return self._scales[width]

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
        return float(value), float(gradient.norm()), spectrum(hessian, catalogue.scale(key.width))
    # The constant network: its only parameter is the output bias, read off a network with one null neuron.
    system, where = catalogue.system_of(1), slice(-shape.q, None) if shape.output_bias else slice(0, 0)
    wide = catalogue.flat(system, key.origin.network.embed((), np.zeros((1, shape.inputs))))
    value, gradient, hessian = system.value_gradient_hessian(wide)
    if not shape.output_bias:
        empty = Spectrum((), hessian[:0, :0], Inertia(0, 0, 0), 0.0, None, None)
        return float(value), 0.0, empty
    return float(value), float(gradient[where].norm()), spectrum(hessian[where, where])
