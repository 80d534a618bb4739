r"""What can be cut off a box without losing a critical point: tests and contractions on thousands of boxes at once.

Every function takes boxes (P, B) and returns boxes in which all their critical points still are; a lower end above an upper one says that
there are none.

* **Stationarity**: 0 must be in the natural enclosure of every entry of the gradient.
* **Weight equations** of two-layer networks with one output: with the forces :math:`\phi_{ik} = s\, r_i\, \sigma'(z_{ik})`,
  :math:`\tilde w_k = (w_k, b_k)` and any vector v,

  .. math:: \lambda\, v \cdot \tilde w_k + a_k \sum_i \phi_{ik}\, v \cdot \tilde x_i = 0 .

  Unit vectors bound the weights, and each v bounds :math:`a_k`.  Where all but a few samples saturate a neuron, v orthogonal to these
  excludes the box; v orthogonal to the sum of the forces at its middle excludes boxes in which a_k is hardly known.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from numerics.box_matrices import Matrices
from numerics.box_system import BoxSystem
from numerics.interval_tensors import EPS, SMALLEST, Interval, reciprocal, summed

__all__ = ["Neurons", "ordered", "stationary"]


@dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons of a two-layer network with one output, for the equations of their weights.

    Parameters
    ----------
    output : Tensor
        Place (m,) of the output weight of each neuron.
    places : Tensor
        Places (m, q) of its q trained input weights, the bias last.
    inputs : Interval
        The coordinates (n, q) of the samples that belong to them, 1 for the bias.
    decay : Interval
        lambda, one number (1,).
    """

    output: Tensor
    places: Tensor
    inputs: Interval
    decay: Interval
    directions: Tensor = field(init=False)
    images: Matrices = field(init=False)

    def __post_init__(self) -> None:
        """Choose the fixed directions v and enclose v . x_i."""
        object.__setattr__(self, "directions", _directions(self.inputs.mid))
        inputs = Matrices.of(Interval(self.inputs.lo.T[:, :, None], self.inputs.hi.T[:, :, None]))
        object.__setattr__(self, "images", inputs.after(self.directions[None]))

    def contracted(self, boxes: Interval, force: Interval) -> tuple[Interval, Tensor]:
        """Return boxes with bounded weights, and which boxes contradict no equation."""
        lo, hi = boxes.lo.clone(), boxes.hi.clone()
        possible = torch.ones(lo.shape[1], dtype=torch.bool)
        for k, places in enumerate(self.places):
            forces = _combined(self.images.mid[0], self.images.rad[0], force[:, k])
            own = Interval(lo[places], hi[places])
            pull = _combined(self.directions, torch.zeros_like(self.directions), own) * self.decay
            more_pull, more_forces = self._turned(own, force[:, k])
            pull, forces = _joined(pull, more_pull), _joined(forces, more_forces)
            here = int(self.output[k])
            a = Interval(lo[here], hi[here])
            possible &= ~(pull + a * forces).excludes_zero().any(dim=0)
            held = own.met(_over(-(a * forces[: len(places)]), self.decay))
            lo[places], hi[places] = held.lo, held.hi
            weight = -(pull * reciprocal(forces))
            lo[here] = torch.maximum(a.lo, torch.nan_to_num(weight.lo, nan=-torch.inf).amax(dim=0))
            hi[here] = torch.minimum(a.hi, torch.nan_to_num(weight.hi, nan=torch.inf).amin(dim=0))
        return Interval(lo, hi), possible & ~(lo > hi).any(dim=0)

    def _turned(self, own: Interval, force: Interval) -> tuple[Interval, Interval]:
        """Return pull and force along the force at the middle of each box, and along the part of w orthogonal to it."""
        total = self.inputs.mid.T @ force.mid
        along = total / total.norm(dim=0).clamp(min=1e-30)
        middle = own.mid
        across = middle - (middle * along).sum(dim=0) * along
        across = across / across.norm(dim=0).clamp(min=1e-30)
        pulls, forces = [], []
        for v in (along, across):
            v = torch.nan_to_num(v, nan=0.0, posinf=0.0, neginf=0.0)
            point = Interval.around(v)
            pulls.append(summed(point, own, [0]) * self.decay)
            images = summed(self.inputs.apply(lambda t: t[:, :, None]), Interval.around(v[None]), [1])
            forces.append(summed(images, force, [0]))
        return _joined(*(u[None] for u in pulls)), _joined(*(u[None] for u in forces))


def _joined(*parts: Interval) -> Interval:
    return Interval(torch.cat([u.lo for u in parts]), torch.cat([u.hi for u in parts]))


def _directions(inputs: Tensor) -> Tensor:
    """Return unit vectors, the samples, and for every q - 1 samples a vector orthogonal to them, as rows."""
    count, size = inputs.shape
    rows = [torch.eye(size, dtype=inputs.dtype)]
    if size > 1:
        rows.append(inputs / inputs.norm(dim=1, keepdim=True).clamp(min=1e-3))
        chosen = itertools.islice(itertools.combinations(range(count), size - 1), 64)
        for group in chosen:
            rows.append(torch.linalg.svd(inputs[list(group)], full_matrices=True)[2][-1:])
    return torch.cat(rows)


def _combined(mid: Tensor, rad: Tensor, u: Interval) -> Interval:
    """Return interval rows (r, n) times intervals (n, B), by products of matrices."""
    c = (mid.shape[1] + 4) * EPS
    positive, negative = mid.clamp(min=0.0), mid.clamp(max=0.0)
    pad = (mid.abs() * c + rad * (1 + c)) @ u.mag * (1 + c) + mid.shape[1] * SMALLEST
    return Interval(positive @ u.lo + negative @ u.hi - pad, positive @ u.hi + negative @ u.lo + pad)


def _over(u: Interval, positive: Interval) -> Interval:
    """Return an interval divided by a positive number."""
    inverse = Interval((1 / positive.hi) * (1 - 2 * EPS), (1 / positive.lo) * (1 + 2 * EPS))
    return u * inverse


def stationary(
    system: BoxSystem, boxes: Interval, free: Tensor, outputs: Interval | None, neurons: Neurons | None
) -> tuple[Interval, Tensor]:
    """Return boxes contracted by the equations as they stand, and which of them may hold a critical point."""
    gradient, force = system.at_critical(boxes, outputs)
    possible = ~gradient[free].excludes_zero().any(dim=0)
    if neurons is None or force is None:
        return boxes, possible
    held, more = neurons.contracted(boxes, force)
    return held, possible & more


def ordered(boxes: Interval, lower: Sequence[tuple[int, int]], signs: Tensor) -> Interval:
    """Contract boxes to the part with x_i >= x_j for pairs (i, j) and x_j >= 0 for the places ``signs``."""
    lo, hi = boxes.lo.clone(), boxes.hi.clone()
    lo[signs] = lo[signs].clamp(min=0.0)
    for i, j in lower:
        lo[i] = torch.maximum(lo[i], lo[j])
        hi[j] = torch.minimum(hi[j], hi[i])
    return Interval(lo, hi)
