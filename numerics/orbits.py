r"""Orbits of the derived symmetries at concrete sizes: images of a point, and vectors tangent to its orbit.

``derivations.symmetry`` proves which maps keep every output and the risk; here they act on flat parameters.  Permutations and signs
of neurons, layer by layer, give finitely many images; scaling, shift, mixing and the affine fields of a formula give tangent
vectors, in which the risk does not change, so that each is a null vector of the Hessian of a critical point.

What moves frozen blocks is left out.  Signed permutations of the parameters of a formula are found by numbers and then proved.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from derivations.claim import Status
from derivations.diagonal_model import DiagonalProblem
from derivations.formula_fields import affine_fields
from derivations.formula_model import FormulaProblem
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.invariance import Symmetry
from derivations.parameter_moves import keeps_outputs
from derivations.symmetry import symmetries
from numerics.compile import CompiledSystem
from numerics.critical import trained

__all__ = ["Orbits"]

#: Images of one point that are written out at most.
MOST_IMAGES = 50_000
#: Parameters of a formula whose signed permutations are tried; 6 have 46 080.
MOST_MOVED = 6
#: Two images agree up to this fraction of 1 + max |theta|; polished points are known to 1e-10.
SAME_IMAGE = 1e-6


@dataclass(frozen=True)
class _Layer:
    """Places of the parts of each neuron in theta: ``enter`` (width, inputs and bias), ``leave`` (width, outputs)."""

    words: HiddenLayer
    enter: Tensor
    leave: Tensor
    bias: Tensor | None
    absorbing: Tensor | None

    @property
    def width(self) -> int:
        return self.enter.shape[0]


class Orbits:
    """The symmetries of one compiled problem.

    Parameters
    ----------
    system : CompiledSystem
        On samples, in float64: a network, a formula or a diagonal network.
    """

    def __init__(self, system: CompiledSystem) -> None:
        self.system, self.problem = system, system.problem
        self.free = trained(system)
        network = self.problem.kind in ("two_layer", "deep")
        self.layers = [self._layer(words) for words in hidden_layers(self.problem)] if network else []

    def tangents(self, theta: Tensor) -> Tensor:
        """Return an orthonormal basis (P, t) of the space tangent to the orbit of theta (P,) under continuous symmetries."""
        fields = self._fields(theta)
        if not fields:
            return theta.new_zeros(len(theta), 0)
        matrix = torch.stack(fields, dim=1)
        frozen = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        frozen[self.free] = False
        if bool(frozen.any()):  # the combinations that leave frozen blocks alone
            matrix = matrix @ _kernel(matrix[frozen])
        return _span(matrix)

    def images(self, theta: Tensor) -> Tensor | None:
        """Return all images (G, P) of theta (P,) under permutations and signs, each once; None if they are too many or not known."""
        found = self._all_images(theta)
        if found is None:
            return None
        frozen = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        frozen[self.free] = False
        size = SAME_IMAGE * (1 + float(theta.abs().max()))
        found = found[((found - theta)[:, frozen].abs() <= size).all(dim=1)]
        keys = torch.unique((found / size / 2 + 0.25).round(), dim=0, return_inverse=True)[1]
        if len(found) <= 4096:  # exact: rounding may part two images that agree
            apart = torch.cdist(found, found, p=float("inf"))
            keys = (apart <= size).int().argmax(dim=1)
        return torch.stack([found[keys == key][0] for key in keys.unique()])

    def orbit_size(self, theta: Tensor) -> int | None:
        """Return the number of images; None if the orbit is infinite or not known."""
        if self.infinite or self.tangents(theta).shape[1]:
            return None
        images = self.images(theta)
        return None if images is None else len(images)

    @property
    def infinite(self) -> bool:
        """Whether there is a discrete symmetry without end, a shift by a period."""
        return any(
            symmetry.name.startswith("shift") and self._period
            for symmetry in self._known
            if symmetry.status is Status.PROVED and symmetry.keeps_risk
        )

    # -- internals ------------------------------------------------------------------------------------------------

    @cached_property
    def _known(self) -> tuple[Symmetry, ...]:
        return symmetries(self.problem) if self.layers else ()

    @property
    def _period(self) -> bool:
        sigma = self.problem.activation
        return sigma is not None and sigma.shift_rate.value is None and sigma.period.value is not None

    def _holds(self, layer: _Layer, name: str, *, outputs_only: bool = False) -> bool:
        named = layer.words.named(name)
        return any(
            s.name == named and s.status is Status.PROVED and (outputs_only or bool(s.keeps_risk))
            for s in self._known
        )

    def _layer(self, words: HiddenLayer) -> _Layer:
        spans = {name: (shape, where) for name, shape, where in self.system.layout}

        def places(role: str) -> Tensor:
            block = words.blocks[role]
            shape, where = spans[block.name]
            grid = torch.arange(where.start, where.stop, device=self.system.device).reshape(shape)
            return grid.movedim(words.slot(block), 0).reshape(shape[words.slot(block)], -1)

        bias = places("bias") if words.bias is not None else None
        enter = places("in") if bias is None else torch.cat([places("in"), bias], dim=1)
        block = words.absorbing(self.problem)
        absorbing = None
        if block is not None:
            where = spans[block.name][1]
            absorbing = torch.arange(where.start, where.stop, device=self.system.device)
        return _Layer(words, enter, places("out"), bias, absorbing)

    def _all_images(self, theta: Tensor) -> Tensor | None:
        if isinstance(self.problem, DiagonalProblem):
            return _diagonal_images(theta, int(self.problem.power))
        if not self.layers:
            return self._formula_images(theta)
        found, count = theta[None], 1
        for layer in self.layers:
            flips = self._holds(layer, "sign of a neuron")
            count *= math.factorial(layer.width) * (2**layer.width if flips else 1)
            if count > MOST_IMAGES:
                return None
            if flips:
                found = torch.cat(
                    [self._flipped(found, layer, signs) for signs in _signs(layer.width, theta)]
                )
            orders = itertools.permutations(range(layer.width))
            found = torch.cat([_reordered(found, layer, list(order)) for order in orders])
        return found

    def _flipped(self, found: Tensor, layer: _Layer, signs: Tensor) -> Tensor:
        sigma = self.problem.activation
        assert sigma is not None  # a general sigma has no signs
        out, image = sigma.parity.sign or -1, found.clone()
        turned = signs < 0
        image[:, layer.enter[turned].reshape(-1)] *= -1
        if (
            sigma.parity.sign == 0 and layer.absorbing is not None
        ):  # odd up to a constant, which the bias takes up
            scale = layer.words.gain(self.problem)
            scale = scale.subs({size: self.system.sizes[size.name] for size in scale.free_symbols})
            gain = 2 * float(sigma.value_at_zero) * float(scale)
            image[:, layer.absorbing] += gain * found[:, layer.leave[turned]].sum(dim=1)
        if out < 0:
            image[:, layer.leave[turned].reshape(-1)] *= -1
        return image

    def _formula_images(self, theta: Tensor) -> Tensor | None:
        moves = self._moves
        return None if moves is None else torch.stack([theta[order] * signs for order, signs in moves])

    @cached_property
    def _moves(self) -> list[tuple[Tensor, Tensor]] | None:
        """Signed permutations of the trained parameters of a formula that keep its outputs; None where they are too many."""
        problem, system = self.problem, self.system
        count = len(self.free)
        if not isinstance(problem, FormulaProblem) or count > MOST_MOVED:
            return None
        generator = torch.Generator().manual_seed(1)
        points = torch.randn(2, system.P, generator=generator, dtype=system.dtype).to(system.device)
        outputs = system.outputs(points)
        moves = []
        for order in itertools.permutations(self.free.tolist()):
            whole = torch.arange(system.P, device=system.device)
            whole[self.free] = torch.tensor(order, device=system.device)
            signs = torch.ones(2**count, system.P, dtype=system.dtype, device=system.device)
            signs[:, self.free] = _signs(count, points)
            moved = system.outputs((points[:, None, whole] * signs).reshape(-1, system.P))
            near = (moved.reshape(2, len(signs), -1) - outputs[:, None]).abs().amax(dim=(0, 2))
            for row in torch.nonzero(near <= 1e-9 * (1 + outputs.abs().max())).flatten().tolist():
                if keeps_outputs(problem, whole.tolist(), [int(s) for s in signs[row].tolist()]):
                    moves.append((whole, signs[row]))
        return moves

    def _fields(self, theta: Tensor) -> list[Tensor]:
        if isinstance(self.problem, DiagonalProblem):
            return [] if self.problem.weight_decay != 0 else _diagonal_fields(theta, int(self.problem.power))
        if not self.layers:
            return self._formula_fields(theta)
        return [field for layer in self.layers for field in self._layer_fields(layer, theta)]

    def _layer_fields(self, layer: _Layer, theta: Tensor) -> list[Tensor]:
        sigma, zero, found = self.problem.activation, torch.zeros_like(theta), []
        if self._holds(layer, "scaling of a neuron"):
            assert sigma is not None and sigma.homogeneity_degree is not None  # noqa: PT018  (the symmetry is proved)
            for k in range(layer.width):
                field = zero.clone()
                field[layer.enter[k]] = theta[layer.enter[k]]
                field[layer.leave[k]] = -float(sigma.homogeneity_degree) * theta[layer.leave[k]]
                found.append(field)
        rate = None if sigma is None else sigma.shift_rate.value
        if rate is not None and layer.bias is not None and self._holds(layer, "shift of a neuron"):
            for k in range(layer.width):
                field = zero.clone()
                field[layer.bias[k]] = 1.0
                field[layer.leave[k]] = -float(rate) * theta[layer.leave[k]]
                found.append(field)
        pairs = list(itertools.product(range(layer.width), repeat=2))
        if self._holds(layer, "mixing of neurons"):
            found += [_mixed(theta, layer, j, k) for j, k in pairs]
        elif self._holds(
            layer, "mixing of neurons", outputs_only=True
        ):  # weight decay leaves the orthogonal ones
            found += [_mixed(theta, layer, j, k) - _mixed(theta, layer, k, j) for j, k in pairs if j < k]
        if self._holds(layer, "rotation of neurons"):
            for j, k in pairs:
                if j < k:
                    field = zero.clone()
                    field[layer.enter[j]] = theta[layer.leave[k]] * theta[layer.enter[k]]
                    field[layer.enter[k]] = -theta[layer.leave[j]] * theta[layer.enter[j]]
                    found.append(field)
        return found

    def _formula_fields(self, theta: Tensor) -> list[Tensor]:
        found = []
        for matrix, vector in self._affine:
            field = torch.zeros_like(theta)
            field[self.free] = matrix @ theta[self.free] + vector
            found.append(field)
        return found

    @cached_property
    def _affine(self) -> list[tuple[Tensor, Tensor]]:
        assert isinstance(self.problem, FormulaProblem)  # no layers, not diagonal
        known = affine_fields(self.problem)
        found, decays = [], self.problem.weight_decay != 0
        for field, left in zip(known.fields, known.residuals, strict=True):
            if left != 0 or len(field.names) != len(self.free) or (decays and field.kind != "rotation"):
                continue
            matrix = torch.tensor([[float(u) for u in row] for row in field.matrix], dtype=self.system.dtype)
            vector = torch.tensor([float(u) for u in field.vector], dtype=self.system.dtype)
            found.append((matrix.to(self.system.device), vector.to(self.system.device)))
        return found


def _reordered(found: Tensor, layer: _Layer, order: list[int]) -> Tensor:
    image = found.clone()
    for places in (layer.enter, layer.leave):
        image[:, places.reshape(-1)] = found[:, places[order].reshape(-1)]
    return image


def _mixed(theta: Tensor, layer: _Layer, j: int, k: int) -> Tensor:
    """Return the field of the matrix with a one at (j, k): inputs of k are added to j, outputs of j taken off k."""
    field = torch.zeros_like(theta)
    field[layer.enter[j]] = theta[layer.enter[k]]
    field[layer.leave[k]] = -theta[layer.leave[j]]
    return field


def _signs(count: int, like: Tensor) -> Tensor:
    """Return all (2^count, count) vectors of signs."""
    rows = list(itertools.product((1.0, -1.0), repeat=count))
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def _span(matrix: Tensor) -> Tensor:
    left, sizes, _ = torch.linalg.svd(matrix, full_matrices=False)
    # At a fixed point of a symmetry its field is zero up to the rounding of a polished point.
    return left[:, : int((sizes > 1e-9 * sizes.max().clamp(min=1e-3)).sum())]


def _kernel(matrix: Tensor) -> Tensor:
    """Return a basis of the null space of a matrix (rows, columns)."""
    _, sizes, right = torch.linalg.svd(matrix, full_matrices=True)
    rank = int((sizes > 1e-9 * sizes.max().clamp(min=1e-300)).sum()) if sizes.numel() else 0
    return right[rank:].T


def _diagonal_images(theta: Tensor, power: int) -> Tensor | None:
    """Signs of all entries for an even depth, exchanges (u, v) -> (-v, -u) of the coordinates for an odd one."""
    half = len(theta) // 2
    if power % 2 == 0:
        return theta * _signs(len(theta), theta) if 2 ** len(theta) <= MOST_IMAGES else None
    if 2**half > MOST_IMAGES:
        return None
    swapped = torch.cat([-theta[half:], -theta[:half]])
    chosen = torch.cat([_signs(half, theta)] * 2, dim=1) > 0
    return torch.where(chosen, theta, swapped)


def _diagonal_fields(theta: Tensor, power: int) -> list[Tensor]:
    half, found = len(theta) // 2, []
    for k in range(half):
        field = torch.zeros_like(theta)
        field[k], field[half + k] = theta[half + k] ** (power - 1), theta[k] ** (power - 1)
        found.append(field)
    return found
