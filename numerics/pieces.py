r"""A piecewise smooth flow as its pieces: rates that extend beyond their cells, and the surfaces between the cells.

What :mod:`numerics.sliding` integrates.  ``network_pieces`` makes it of a compiled network whose activation or loss
has kinks; anything else can be written by hand:

>>> both = Piecewise(        # R = |x| + y^2/2 and the surface x = 0
...     rate=lambda theta, sides: torch.stack([-sides[:, 0], -theta[:, 1]], 1),
...     surfaces=lambda theta, sides: theta[:, :1],
...     normals=lambda theta, sides, which: torch.tensor([[1.0, 0.0]], dtype=theta.dtype),
...     rates=torch.ones(2, dtype=torch.float64), kinds=(0,), samples=(0,), affine=(True,), labels=("x = 0",))
>>> both.rate(torch.tensor([[3.0, 1.0]], dtype=torch.float64), torch.tensor([[1.0]], dtype=torch.float64)).tolist()
[[-1.0, -1.0]]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from derivations.branched import Branched, branched
from numerics.compile import CompiledSystem
from numerics.extended import Extended

__all__ = ["Piecewise", "network_pieces"]


@dataclass(frozen=True)
class Piecewise:
    """A flow in P coordinates with K surfaces; a row of ``sides`` (K,) of 1 and -1 names a piece.

    Parameters
    ----------
    rate : callable
        ``rate(theta, sides)``, (n, P) and (n, K) to (n, P): minus ``rates`` times the gradient of the piece.
    surfaces : callable
        ``surfaces(theta, sides)`` gives (n, K): positive on side 1, zero on the surface.
    normals : callable
        ``normals(theta, sides, which)`` gives the gradients (len(which), P) of chosen surfaces at one point (P,).
    rates : Tensor, shape (P,)
        Rate of each coordinate; 0 where it is frozen.
    kinds, samples : sequence of int, length K
        What a surface belongs to. The rate must be a sum over samples in each of which only the surfaces of that
        sample count, and depend on those of one kind affinely.
    affine : sequence of bool, length K
        Whether the surface is a hyperplane.
    labels : sequence of str, length K
        Names.
    jacobian : callable, optional
        ``jacobian(theta, sides)`` gives (n, P, P).
    """

    rate: Callable[[Tensor, Tensor], Tensor]
    surfaces: Callable[[Tensor, Tensor], Tensor]
    normals: Callable[[Tensor, Tensor, Sequence[int]], Tensor]
    rates: Tensor
    kinds: Sequence[int]
    samples: Sequence[int]
    affine: Sequence[bool]
    labels: Sequence[str]
    jacobian: Callable[[Tensor, Tensor], Tensor] | None = None


def network_pieces(system: CompiledSystem) -> Piecewise:
    """Return the pieces of a compiled two-layer or deep network with kinks.

    Surfaces are ordered by hidden layer, break of the activation, sample and neuron; those of the loss come last.

    Raises
    ------
    AssumptionError
        As ``derivations.branched.branched``.
    """
    found = branched(system.problem)
    layout = _Layout.of(system, found)
    names = [block.name for block in system.problem.blocks]
    gradient = Extended(
        system,
        found.system,
        {f"grad_{name}": found.gradient[name] for name in names},
        found.switches,
        found.functions,
        {"gradient": [f"grad_{name}" for name in names]},
        "piece_gradient",
    )
    values = Extended(system, found.system, found.surfaces, found.switches, found.functions, None, "surfaces")
    pull = Extended(
        system,
        found.system,
        {f"pull_{name}": found.pull[name] for name in names},
        [*found.switches, *found.duals],
        found.functions,
        {"pull": [f"pull_{name}" for name in names]},
        "normals",
    )
    rates = system.rates

    def rate(theta: Tensor, sides: Tensor) -> Tensor:
        return -rates * gradient(theta, layout.switches(sides))[0]

    def surfaces(theta: Tensor, sides: Tensor) -> Tensor:
        return layout.crossed(values(theta, layout.switches(sides)))

    def normals(theta: Tensor, sides: Tensor, which: Sequence[int]) -> Tensor:
        count = len(which)
        more = torch.cat([layout.switches(sides[None]).expand(count, -1), layout.duals(which, theta)], dim=1)
        return pull(theta.expand(count, -1).contiguous(), more)[0]

    return Piecewise(
        rate,
        surfaces,
        normals,
        rates,
        layout.kinds,
        layout.samples,
        [kind == 0 for kind in layout.kinds],
        layout.labels,
        _jacobian(system, found, layout),
    )


def _jacobian(system: CompiledSystem, found: Branched, layout: _Layout) -> Callable[[Tensor, Tensor], Tensor]:
    """Jacobian of the rate of a piece, compiled when first asked for."""
    problem = system.problem
    made: list[Extended] = []

    def compiled() -> Extended:
        if not made:
            names = [block.name for block in problem.blocks]
            outputs = {}
            for position, row in enumerate(names):
                for column in names[position:]:
                    rows = problem.block(row).indices
                    columns = tuple(type(u)(f"{u.name}'", u.dim) for u in problem.block(column).indices)
                    grad = found.gradient[row][0].tensor
                    expr = found.system.jacobian(grad, rows, problem.block(column).tensor, columns)
                    outputs[f"hess_{row}_{column}"] = (expr, (*rows, *columns))
            groups = {"hessian": [[f"hess_{r}_{c}" for c in names[j:]] for j, r in enumerate(names)]}
            made.append(
                Extended(
                    system, found.system, outputs, found.switches, found.functions, groups, "piece_hessian"
                )
            )
        return made[0]

    def jacobian(theta: Tensor, sides: Tensor) -> Tensor:
        return -system.rates[:, None] * compiled()(theta, layout.switches(sides))[0]

    return jacobian


@dataclass(frozen=True)
class _Layout:
    """How K surfaces lie in the leaves: for each tensor its shape and its breaks."""

    shapes: tuple[tuple[int, ...], ...]
    breaks: tuple[tuple[float, ...], ...]
    kinds: tuple[int, ...]
    samples: tuple[int, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, system: CompiledSystem, found: Branched) -> _Layout:
        shapes, breaks = [], []
        kinds: list[int] = []
        samples: list[int] = []
        labels: list[str] = []
        tensors = [
            *(found.hidden if found.points else ()),
            *([found.output] if found.loss_kink is not None else []),
        ]
        for kind, tensor in enumerate(tensors):
            loss = tensor is found.output
            shape = tuple(system.sizes[str(dim)] for dim in tensor.dims)
            cuts = (0.0,) if loss else tuple(float(point) for point in found.points)
            shapes.append(shape)
            breaks.append(cuts)
            layer = "" if len(found.hidden) == 1 else f"layer {kind + 1}, "
            for cut in cuts:
                for place in range(math.prod(shape)):
                    sample, neuron = (place, None) if len(shape) == 1 else divmod(place, shape[1])
                    # Only the first layer is affine in the parameters; a loss is told from it by its number.
                    kinds.append(kind + 1 if loss and not found.points else kind)
                    samples.append(sample)
                    at = "" if len(cuts) == 1 else f" at {cut:g}"
                    which = f", output {neuron + 1}" if neuron is not None else ""
                    labels.append(
                        f"loss, sample {sample + 1}{which}"
                        if loss
                        else f"{layer}neuron {(neuron or 0) + 1}, sample {sample + 1}{at}"
                    )
        return cls(tuple(shapes), tuple(breaks), tuple(kinds), tuple(samples), tuple(labels))

    def _blocks(self, sides: Tensor) -> list[list[Tensor]]:
        """Sides as one (n, entries) tensor for each tensor and break."""
        sizes = [math.prod(shape) for shape, cuts in zip(self.shapes, self.breaks, strict=True) for _ in cuts]
        parts = iter(torch.split(sides, sizes, dim=1))
        return [[next(parts) for _ in cuts] for cuts in self.breaks]

    def switches(self, sides: Tensor) -> Tensor:
        """Indicators of the branches, (n, Q), from sides (n, K)."""
        out = []
        for parts in self._blocks(sides):
            above = [(part > 0).to(sides.dtype) for part in parts]
            steps = [torch.ones_like(above[0]), *above, torch.zeros_like(above[0])]
            out += [here - after for here, after in pairwise(steps)]
        return torch.cat(out, dim=1)

    def crossed(self, values: Sequence[Tensor]) -> Tensor:
        """Surface functions (n, K) from the tensors they are made of."""
        parts = [
            value.reshape(len(value), -1) - cut
            for value, cuts in zip(values, self.breaks, strict=True)
            for cut in cuts
        ]
        return torch.cat(parts, dim=1)

    def duals(self, which: Sequence[int], like: Tensor) -> Tensor:
        """Unit vectors (len(which), entries of all tensors) of chosen surfaces."""
        sizes = [math.prod(shape) for shape in self.shapes]
        out = like.new_zeros((len(which), sum(sizes)))
        places = _places(sizes, [len(cuts) for cuts in self.breaks])
        for row, surface in enumerate(which):
            out[row, places[surface]] = 1.0
        return out


def _places(sizes: Sequence[int], copies: Sequence[int]) -> Mapping[int, int]:
    """Entry of the tensors that each surface belongs to."""
    found: dict[int, int] = {}
    start = 0
    for size, times in zip(sizes, copies, strict=True):
        for _ in range(times):
            for entry in range(size):
                found[len(found)] = start + entry
        start += size
    return found
