r"""Critical manifolds as objects: parametrised, counted, sampled, and cut into cells of one inertia each.

The manifold of a stratum (copies :math:`c_j` of each neuron, l silent neurons) of an irreducible critical point is an affine plateau,
:math:`w_{jk} = w_j`, :math:`a_{jk} = \gamma_{jk} a_j`, :math:`\sum_k \gamma_{jk} = 1`, times :math:`M^l`.  Its inertia is predicted
from the narrow Hessian and the blocks :math:`U_j, V_j` alone: it depends on the signs of the fractions, and changes where one vanishes, or
where a silent neuron reaches a point of M with another rank of :math:`\nabla\varphi`, such as :math:`w_j`.  Each cell has a witness, at which
gradient and Hessian are measured.

With :math:`q - \operatorname{rank} V_j > 1` the copies may share their output weights in more ways than by fractions
(:math:`V_j a_{jk} = 0`); the dimension counts them all, the cells are those of the fractions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sympy import Eq, Expr, Symbol
from torch import Tensor

from derivations.claim import Status
from derivations.strata import Cell, affine_equations, cells, parametrisation
from numerics.compile import CompiledSystem
from numerics.null_set import NullFunction, NullSet, null_set
from numerics.spectrum import Inertia, Spectrum, kind_of, spectrum
from numerics.splitting_law import Curvature, curvature, predict_split_inertia
from workbench.network import SAME_NEURON, Architecture, Network

__all__ = ["CriticalManifold", "Origin", "SignCell", "origin_of"]

Array = NDArray[np.float64]
SystemOf = Callable[[int], CompiledSystem]

#: Cells listed at most; their number grows like a product over the neurons.
MOST_CELLS = 48
#: Gradients up to this size, relative to 1 + |theta|, count as zero; critical points are polished to 1e-12.
CRITICAL = 1e-9
#: Singular values of the derivative of phi below this fraction of the size of the narrow Hessian count as zero.
RANK = 1e-7


@dataclass(frozen=True)
class Origin:
    """An irreducible critical point with what decides the inertia of its manifolds."""

    shape: Architecture
    system_of: SystemOf
    network: Network
    found: Spectrum
    curvatures: tuple[Curvature, ...]

    @property
    def kernels(self) -> tuple[int, ...]:
        """Dimension q - rank V_j of the output weights that a copy may take, for every neuron."""
        bound = self.found.tolerance
        return tuple(
            self.shape.q - int((torch.linalg.svdvals(part.V) > bound).sum()) for part in self.curvatures
        )

    @cached_property
    def phi(self) -> NullFunction:
        """The function whose zeros are the inputs of silent neurons; compiles the next width."""
        wide = self.network.embed((1,) * self.network.width, np.zeros((1, self.shape.inputs)))
        system = self.system_of(self.network.width + 1)
        return NullFunction(system, system.pack(wide.to_blocks(self.shape)))

    @cached_property
    def null(self) -> NullSet:
        """The set M."""
        names = [j + 1 for j in range(self.network.width)]
        own = self.network.w
        if self.shape.flip:
            names, own = names + [-j for j in names], np.concatenate([own, -own])
        return null_set(self.phi, self.phi.theta.new_tensor(own), tuple(names))


def origin_of(shape: Architecture, system_of: SystemOf, network: Network, scale: float = 0.0) -> Origin:
    """Return an irreducible critical point with its spectrum and curvatures.

    Parameters
    ----------
    scale : float
        Usual size of the Hessian, against which an eigenvalue is zero.
    """
    if network.width == 0:
        system = system_of(1)
        theta = system.pack(network.embed((), np.zeros((1, shape.inputs))).to_blocks(shape))
        free = slice(-shape.q, None) if shape.output_bias else slice(0, 0)
        hessian = system.hessian(theta)[free, free]
        found = (
            spectrum(hessian, scale)
            if len(hessian)
            else Spectrum((), hessian, Inertia(0, 0, 0), 1e-12, None, None)
        )
        return Origin(shape, system_of, network, found, ())
    system = system_of(network.width)
    theta = system.pack(network.to_blocks(shape))
    found = spectrum(system.hessian(theta), scale)
    return Origin(shape, system_of, network, found, tuple(curvature(system, theta)))


@dataclass(frozen=True)
class SignCell:
    r"""Part of a manifold with one inertia.

    Attributes
    ----------
    signs : tuple of Cell
        For each neuron how many of its fractions are positive, zero, negative.
    at : tuple of int
        How many silent neurons have the inputs :math:`w_j`, for each j.
    regular : int
        How many are at other points of M, where :math:`\nabla\varphi` has full rank.
    labelled : int
        Number of sign patterns of labelled copies.
    predicted, measured : Inertia or None
        From the law, and at the witness.
    gradient_norm : float
        At the witness.
    status : Status
        SUPPORTED where both agree, REFUTED where they differ although the spectrum has a gap, else UNDECIDED.
    kind, reason : str
        What the points of the cell are, and the ground where that is not the inertia.
    witness : Tensor, shape (P,)
    """

    signs: tuple[Cell, ...]
    at: tuple[int, ...]
    regular: int
    labelled: int
    predicted: Inertia | None
    measured: Inertia
    gradient_norm: float
    status: Status
    kind: str
    reason: str
    witness: Tensor

    @property
    def boundary(self) -> bool:
        """Whether the cell lies where the inertia changes: a fraction vanishes, or a silent neuron is at some w_j."""
        return any(cell.zero for cell in self.signs) or any(self.at)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "signs": [list(cell) for cell in self.signs],
            "silent_at": list(self.at),
            "silent_regular": self.regular,
            "boundary": self.boundary,
            "labelled": self.labelled,
            "inertia": self.measured.to_dict(),
            "predicted": None if self.predicted is None else self.predicted.to_dict(),
            "gradient_norm": self.gradient_norm,
            "kind": self.kind,
            "reason": self.reason,
            "status": str(self.status),
        }


@dataclass(frozen=True)
class CriticalManifold:
    """A stratum of the critical points with the function of an irreducible one."""

    origin: Origin
    copies: tuple[int, ...]
    silent: int

    def __post_init__(self) -> None:
        if (
            len(self.copies) != self.origin.network.width
            or min(self.copies, default=1) < 1
            or self.silent < 0
        ):
            raise ValueError(
                f"found copies {self.copies} and {self.silent} silent neurons; accepted: one count, at least 1, for each of the "
                f"{self.origin.network.width} neurons, and no negative number"
            )

    @property
    def width(self) -> int:
        """Width of the wide network."""
        return sum(self.copies) + self.silent

    @property
    def dimension(self) -> int | None:
        r"""Dimension :math:`\sum_j (c_j - 1)(q - \operatorname{rank} V_j) + l \dim M`; None where M was found empty."""
        total = sum((c - 1) * k for c, k in zip(self.copies, self.origin.kernels, strict=True))
        if not self.silent:
            return total
        inner = self.origin.null.dimension
        return None if inner is None else total + self.silent * inner

    @property
    def pieces(self) -> int:
        """Number of its images under permutations and sign flips, as sets."""
        resting = sum(
            c
            for c, w in zip(self.copies, self.origin.network.w, strict=True)
            if float(np.abs(w).max(initial=0.0)) < SAME_NEURON
        )
        return self.origin.shape.orbit_size(self.copies, self.silent, resting)

    @property
    def by_fractions(self) -> bool:
        """Whether fractions describe every way in which the copies share their output weights."""
        return all(k == 1 for c, k in zip(self.copies, self.origin.kernels, strict=True) if c > 1)

    def equations(self) -> list[Eq]:
        """Return its equations, affine for the copies."""
        return affine_equations(self.copies, self.silent, outputs=self.origin.shape.q)

    def parametrisation(self) -> dict[Symbol, Expr]:
        """Return the weights in terms of fractions and of inputs in M."""
        return parametrisation(self.copies, self.silent)

    def point(self, fractions: list[list[float]], silent: Array | None = None) -> Tensor:
        """Return the wide parameters (P,) with fractions for each neuron and inputs (l, D) of the silent neurons."""
        net = self.origin.network
        inputs = np.zeros((0, self.origin.shape.inputs)) if silent is None else silent
        order = [j for j, shares in enumerate(fractions) for _ in shares]
        shares = np.array([share for row in fractions for share in row]).reshape(-1, 1)
        a = np.concatenate([shares * net.a[order], np.zeros((len(inputs), self.origin.shape.q))])
        wide = Network(a, np.concatenate([net.w[order], inputs]), net.c)
        return self.system.pack(wide.to_blocks(self.origin.shape))

    @property
    def system(self) -> CompiledSystem:
        """The compiled system of its width."""
        return self.origin.system_of(self.width)

    def sample(self, count: int, seed: int = 0, spread: float = 1.0) -> Tensor:
        """Return points (count, P): fractions normally distributed about equal parts, silent neurons at points of M.

        Raises
        ------
        ValueError
            If it has silent neurons and M was found empty.
        """
        draw = np.random.default_rng(seed)
        rows = []
        for _ in range(count):
            shares = []
            for c in self.copies:
                free = spread * draw.normal(size=c)
                shares.append((1 / c + free - free.mean()).tolist())
            rows.append(self.point(shares, self._silent(draw)))
        return torch.stack(rows) if rows else torch.zeros(0, self.system.P, dtype=self.system.dtype)

    def check(self, count: int = 8, seed: int = 0) -> tuple[float, Status]:
        """Return the largest relative gradient at sampled points, and SUPPORTED where it is within the tolerance, else REFUTED."""
        theta = self.sample(count, seed)
        size = float((self.system.gradient(theta).norm(dim=1) / (1 + theta.norm(dim=1))).max())
        return size, Status.SUPPORTED if size <= CRITICAL else Status.REFUTED

    def cells(self, scale: float = 0.0) -> list[SignCell]:
        """Return its cells with prediction and measurement, open ones first; at most ``MOST_CELLS``."""
        groups = itertools.product(*(cells(c) for c in self.copies))
        places = itertools.product(self._seats(), groups)
        found = [self._cell(at, signs, scale) for at, signs in itertools.islice(places, MOST_CELLS)]
        return sorted(found, key=lambda cell: cell.boundary)

    def cell_count(self) -> int:
        """Return the number of cells, listed or not."""
        return math.prod(len(cells(c)) for c in self.copies) * len(self._seats())

    # -- parts ----------------------------------------------------------------------------------------------------

    def _seats(self) -> list[tuple[int, ...]]:
        """Return how many silent neurons sit at each w_j; all of them where M has no regular points."""
        every = itertools.product(range(self.silent + 1), repeat=len(self.copies))
        least = 0 if not self.silent or self._regular is not None else self.silent
        return sorted((at for at in every if least <= sum(at) <= self.silent), key=lambda at: (sum(at), at))

    def _cell(self, at: tuple[int, ...], signs: tuple[Cell, ...], scale: float) -> SignCell:
        net, free = self.origin.network, self.silent - sum(at)
        inputs = np.concatenate([np.repeat(net.w, at, axis=0), self._spread(free)]) if self.silent else None
        shares = [_witness(cell) for cell in signs]
        theta = self.point(shares, inputs)
        _, gradient, hessian = self.system.value_gradient_hessian(theta)
        found, size = spectrum(hessian, scale), float(gradient.norm())
        predicted = self._predicted(shares, at, free)
        status = Status.UNDECIDED
        if size > CRITICAL * (1 + float(theta.norm())):
            status = Status.REFUTED
        elif found.clear:
            status = Status.SUPPORTED if predicted == found.inertia else Status.REFUTED
        ends = [j for j, cell in enumerate(signs) if cell.zero or at[j]]
        kind, reason = kind_of(found.inertia), ""
        if status is Status.SUPPORTED and kind == "degenerate":
            kind, reason = self._kind(found.inertia, ends)
        labelled = math.prod(cell.labelled for cell in signs)
        return SignCell(
            signs, at, free, labelled, predicted, found.inertia, size, status, kind, reason, theta
        )

    def _predicted(self, shares: list[list[float]], at: tuple[int, ...], free: int) -> Inertia:
        total, origin = self.origin.found.inertia, self.origin
        for row, part, more in zip(shares, origin.curvatures, at, strict=True):
            fractions = [*row, *[0.0] * more]
            if len(fractions) > 1:
                total += predict_split_inertia(part.V, part.U, fractions, origin.found.tolerance)
        q, size = origin.shape.q, origin.shape.inputs
        return total + Inertia(free * q, free * (size - q), free * q)

    def _kind(self, inertia: Inertia, ends: list[int]) -> tuple[str, str]:
        """Return the kind of a semidefinite cell, where its zeros do not leave it open."""
        if any(self._bends(j) for j in ends):
            return "saddle", "third order: the risk changes like s^3 where a vanished copy returns"
        if inertia.negative == 0 and inertia.zero == self.dimension and not ends:
            return "minimum", "semidefinite, and the zeros are those of the manifold (Morse and Bott)"
        return "degenerate", ""

    def _bends(self, j: int) -> bool:
        """Whether U_j is not zero, with one output: the cubic term of a returning copy then takes both signs."""
        size = float(torch.linalg.matrix_norm(self.origin.curvatures[j].U, 2))
        return self.origin.shape.q == 1 and size > 1e3 * self.origin.found.tolerance

    def _silent(self, draw: np.random.Generator) -> Array | None:
        """Return inputs of the silent neurons at drawn points of M."""
        if not self.silent:
            return None
        parts = [part.points for part in self.origin.null.parts if len(part.points)]
        if not parts:
            raise ValueError("M was found empty: there is no silent neuron with a critical point")
        points = torch.cat(parts)
        return _array(points[draw.integers(len(points), size=self.silent).tolist()])

    @cached_property
    def _regular(self) -> Tensor | None:
        """Points of M where the derivative of phi has full rank, the largest least singular value first; None where none was found."""
        parts = [part.points for part in self.origin.null.parts if len(part.points)]
        if not parts or self.origin.shape.q > self.origin.shape.inputs or self.origin.null.everything:
            return None
        points = torch.cat(parts)
        few = points[:: max(1, len(points) // 64)]
        least = torch.linalg.svdvals(self.origin.phi.jacobian(few)).amin(dim=1)
        size = max((abs(value) for value in self.origin.found.eigenvalues), default=1.0)
        order = least.argsort(descending=True)
        order = order[least[order] > RANK * size]
        return few[order] if len(order) else None

    def _spread(self, count: int) -> Array:
        """Return inputs of regular silent neurons, different ones as far as there are."""
        if not count or self._regular is None:
            return np.zeros((0, self.origin.shape.inputs))
        return _array(self._regular[[k % len(self._regular) for k in range(count)]])


def _array(points: Tensor) -> Array:
    return points.cpu().double().numpy().copy()


def _witness(cell: Cell) -> list[float]:
    """Return fractions with sum 1 and these signs, those of one sign all different."""
    negative = [-0.4 - 0.15 * k for k in range(cell.negative)]
    weights = [1 + 0.3 * k for k in range(cell.positive)]
    rest = 1 - sum(negative)
    positive = [rest * weight / sum(weights) for weight in weights]
    return [*positive, *([0.0] * cell.zero), *negative]
