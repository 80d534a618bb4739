r"""The set M of input weights that a silent neuron may have at a critical point: :math:`M = \{w' : \varphi(w') = 0\}`.

A neuron with output weight 0 and inputs w' changes nothing; the wide point is critical where
:math:`\varphi(w') = \nabla_{a'} R = 0`.  M holds the inputs :math:`w_j` of the narrow network, where :math:`\varphi` and, with one output,
its gradient vanish.  With one output and one input weight M is a set of points, found by sign changes; with two it is a set of
curves, traced by marching squares and Newton steps and joined into connected components; with more it is sampled.

What is smaller than the grid, and zeros of even order other than the :math:`w_j`, escape a search by sign changes; the result is measured.

Source: Zhang, Zhang, Luo, arXiv:2405.17501, Theorem 5.1 (the set), arXiv:2505.13582, Theorem 4.2.1 (it depends on the samples).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.marching import marching_squares

__all__ = ["NullFunction", "NullPart", "NullSet", "null_set"]

#: Points per side of the box, with one and with two input weights; the box has this many times the size of the largest w_j.
LINE, PLANE, BOX = 4001, 181, 3.0
#: Values below this fraction of the largest one are rounding; seen 1e-15.
ROUNDING = 1e-12
#: Points are kept as points of a curve where phi is at most this fraction of its largest value.
ON_CURVE = 1e-11
#: Two zeros are one, and a zero is a w_j, if they agree to this fraction of the box.
SAME = 1e-6
#: Starts and Gauss-Newton steps of sampling; a point is regular where no singular value is below this fraction of the largest.
STARTS, STEPS, REGULAR = 128, 40, 1e-4


@dataclass(frozen=True)
class NullPart:
    """A connected component of M, or what was sampled of M.

    Attributes
    ----------
    dimension : int or None
        0 for a point, 1 for a curve; where M was sampled, that of the tangent space at its regular points; None where not decided.
    closed : bool or None
        Whether it stays inside the box; None where M was sampled, or not decided.
    points : Tensor, shape (k, D)
        Points on it.
    holds : tuple of int
        Numbers j (from 1) of the :math:`w_j` on it, -j for :math:`-w_j`.
    """

    dimension: int | None
    closed: bool | None
    points: Tensor
    holds: tuple[int, ...] = ()


@dataclass(frozen=True)
class NullSet:
    r"""M as far as it was found.

    Attributes
    ----------
    parts : tuple of NullPart
        Connected components where ``traced``, else what was sampled.
    traced : bool
        Whether the components are those of M in the box, down to the grid, and hold the w_j as said.
    box : float
        Largest absolute value of an input weight looked at.
    ends : tuple of int
        With one output and two input weights, how often M crosses the circle of radius ``box``, and the one eight times as large.
    everything : bool
        Whether :math:`\varphi` vanishes identically, as at an exact fit.
    notes : tuple of str
        What limits the result.
    """

    parts: tuple[NullPart, ...]
    traced: bool
    box: float
    ends: tuple[int, ...] = ()
    everything: bool = False
    notes: tuple[str, ...] = ()

    @property
    def dimension(self) -> int | None:
        """Largest dimension of a part; None if M was found empty, or that of a part is not decided."""
        known = [part.dimension for part in self.parts if part.dimension is not None]
        return max(known) if known and len(known) == len(self.parts) else None

    def part_of(self, j: int) -> int | None:
        """Return the number of the part that holds w_j (j from 1; negative for the flipped one)."""
        return next((k for k, part in enumerate(self.parts) if j in part.holds), None)


class NullFunction:
    r""":math:`\varphi` and its derivative, read off the wide gradient and Hessian.

    Parameters
    ----------
    system : CompiledSystem
        Of the network with one neuron more than the critical point.
    theta : Tensor, shape (P,)
        The wide point; its last neuron is silent.
    """

    def __init__(self, system: CompiledSystem, theta: Tensor) -> None:
        places = {name: (shape, where) for name, shape, where in system.layout}
        last = {
            name: torch.arange(where.start, where.stop).reshape(shape)[-1].reshape(-1)
            for name, (shape, where) in places.items()
            if name in ("a", "w", "b")
        }
        self.system, self.theta, self.outputs = system, theta, last["a"]
        self.inputs = torch.cat([last["w"], last["b"]]) if "b" in last else last["w"]

    @property
    def size(self) -> int:
        """Number D of input weights, the bias included."""
        return len(self.inputs)

    def at(self, w: Tensor) -> Tensor:
        """Return the wide points (B, P) whose last neuron has inputs w (B, D)."""
        theta = self.theta.expand(len(w), -1).clone()
        theta[:, self.inputs] = w
        return theta

    def __call__(self, w: Tensor) -> Tensor:
        """Return the values (B, q) at inputs (B, D)."""
        rows = [self.system.gradient(self.at(part))[:, self.outputs] for part in w.split(4096)]
        return torch.cat(rows) if rows else w.new_zeros(0, len(self.outputs))

    def jacobian(self, w: Tensor) -> Tensor:
        """Return the derivatives (B, q, D)."""
        rows = [
            self.system.hessian(self.at(part))[:, self.outputs][:, :, self.inputs] for part in w.split(1024)
        ]
        return torch.cat(rows) if rows else w.new_zeros(0, len(self.outputs), self.size)


def null_set(phi: NullFunction, own: Tensor, names: tuple[int, ...]) -> NullSet:
    """Find M.

    Parameters
    ----------
    phi : NullFunction
    own : Tensor, shape (k, D)
        Known zeros: the :math:`w_j`, with a parity also :math:`-w_j`.
    names : tuple of int
        Their numbers, j or -j.
    """
    box = BOX * (1 + float(own.abs().max()) if own.numel() else 2.0)
    probe = box * (2 * torch.rand(256, phi.size, generator=_draws(), dtype=torch.float64) - 1)
    size = float(phi(probe.to(own)).abs().max())
    gain = float(phi.system.gradient(phi.at(probe[:8].to(own))).abs().max())
    if size <= ROUNDING * max(gain, 1.0):
        return NullSet(
            (NullPart(phi.size, False, own, names),),
            True,
            box,
            everything=True,
            notes=("phi vanishes: exact fit",),
        )
    if len(phi.outputs) == 1 and phi.size == 1:
        return _points(phi, own, names, box, size)
    if len(phi.outputs) == 1 and phi.size == 2:
        return _curves(phi, own, names, box, size)
    return _sampled(phi, own, names, box, size)


def _points(phi: NullFunction, own: Tensor, names: tuple[int, ...], box: float, size: float) -> NullSet:
    grid = own.new_tensor(box) * torch.linspace(-1, 1, LINE, dtype=own.dtype, device=own.device)
    values = phi(grid[:, None])[:, 0]
    noisy = values.abs() <= ROUNDING * size
    change = torch.nonzero((values[:-1] * values[1:] <= 0) & ~noisy[:-1] & ~noisy[1:]).flatten()
    low, high = grid[change], grid[change + 1]
    left = values[change]
    for _ in range(60):
        middle = (low + high) / 2
        at = phi(middle[:, None])[:, 0]
        below = at * left > 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    zeros = [*own[:, 0].tolist()]
    held: dict[int, list[int]] = {k: [name] for k, name in enumerate(names)}
    for zero in ((low + high) / 2).tolist() + ([0.0] if _vanishes(phi, own.new_zeros(1, 1), size) else []):
        # a w_j is a double zero: a sign change there is found less precisely
        if all(abs(zero - known) > math.sqrt(SAME) * box for known in zeros):
            held[len(zeros)] = []
            zeros.append(zero)
    parts = tuple(NullPart(0, True, own.new_tensor([[zero]]), tuple(held[k])) for k, zero in enumerate(zeros))
    notes = ("phi is rounding on part of the box",) if bool(noisy.sum() > len(noisy) // 20) else ()
    return NullSet(parts, True, box, notes=notes)


def _curves(phi: NullFunction, own: Tensor, names: tuple[int, ...], box: float, size: float) -> NullSet:
    # An irregular offset keeps zeros of odd and even functions off the grid points.
    step = 2 * box / PLANE
    axes = [
        step * (torch.arange(PLANE + 1, dtype=own.dtype, device=own.device) + shift) - box
        for shift in (0.0137, -0.0219)
    ]
    nodes = torch.cartesian_prod(*axes)
    values = phi(nodes)[:, 0]
    noisy = values.abs() <= ROUNDING * size

    curves = marching_squares(axes[0], axes[1], values.reshape(PLANE + 1, -1), noisy.reshape(PLANE + 1, -1))
    points = _newton(phi, curves.points, step)
    notes = list(curves.notes)
    label, decided = curves.labels.clone(), True
    isolated: list[int] = []
    open_ends: list[int] = []
    through: dict[int, list[int]] = {}
    crossings = _crossing_points(phi, points, own, step, size)
    for name, point in [*zip(names, own, strict=True), *((0, point) for point in crossings)]:
        met = _branches(phi, point, step, points, label)
        if met is None:
            what = f"w_{name}" if name else f"the double zero {[round(u, 6) for u in point.tolist()]}"
            notes.append(f"whether {what} is isolated in M, or on which curve, is not decided")
            if name:
                open_ends.append(name)
            decided = False
            continue
        if not met:
            isolated.append(name)
            continue
        for other in met[1:]:
            label[label == other] = met[0]
        through = {met[0] if key in met else key: through.get(key, []) for key in through} | {
            met[0]: [n for key in met for n in through.get(key, [])] + [name] * (name != 0)
        }
    parts = []
    good = phi(points).abs()[:, 0] <= ON_CURVE * size
    for number in torch.unique(label).tolist():
        mask = label == number
        inside = not bool(curves.at_edge[mask].any())
        parts.append(NullPart(1, inside, points[mask & good], tuple(through.get(number, ()))))
    parts += [NullPart(0, True, own[names.index(name)][None], (name,)) for name in isolated]
    parts += [NullPart(None, None, own[names.index(name)][None], (name,)) for name in open_ends]
    ends = tuple(_crossings(phi, radius, size) for radius in (box, 8 * box))
    return NullSet(tuple(parts), decided, box, ends, notes=tuple(notes))


def _crossings(phi: NullFunction, radius: float, size: float) -> int:
    """Return the number of sign changes around a circle about the origin."""
    angles = torch.arange(7200, dtype=phi.theta.dtype, device=phi.theta.device) * (2 * math.pi / 7200) + 1e-4
    values = phi(radius * torch.stack([angles.cos(), angles.sin()], dim=1))[:, 0]
    kept = values[values.abs() > ROUNDING * size]
    return int((kept * kept.roll(-1) < 0).sum())


def _branches(phi: NullFunction, w: Tensor, step: float, points: Tensor, label: Tensor) -> list[int] | None:
    r"""Return which curves pass through a :math:`w_j`: none where it is an isolated point; None where that is not decided.

    The gradient of phi vanishes there; by the lemma of Morse two branches cross if its Hessian is indefinite, and w_j is isolated if it
    is definite.  The branches are recognised on a small circle, which they cross four times.
    """
    low, high = torch.linalg.eigvalsh(_bend(phi, w[None])[0]).tolist()
    largest = max(abs(low), abs(high))
    if min(abs(low), abs(high)) <= 1e-5 * largest:
        return None
    if low * high > 0:
        return []
    angles = torch.arange(720, dtype=w.dtype, device=w.device) * (2 * math.pi / 720) + 1e-3
    ring = torch.stack([angles.cos(), angles.sin()], dim=1)
    for radius in (2.0, 1.0, 0.5, 0.25, 0.1):
        around = w + radius * step * ring
        values = phi(around)[:, 0]
        crossing = torch.nonzero(values * values.roll(-1) < 0).flatten()
        if len(crossing) == 4 and len(points):
            gaps = torch.cdist(around[crossing], points)
            if float(gaps.min(dim=1).values.max()) <= 2 * step:
                return list(dict.fromkeys(label[gaps.argmin(dim=1)].tolist()))
    return None


def _bend(phi: NullFunction, w: Tensor) -> Tensor:
    """Return the second derivatives (B, 2, 2) of phi by central differences."""
    h = 1e-4 * (1 + float(w.abs().max()))
    rows = []
    for k in range(2):
        shift = h * torch.eye(2, dtype=w.dtype, device=w.device)[k]
        rows.append((phi.jacobian(w + shift) - phi.jacobian(w - shift))[:, 0] / (2 * h))
    hessian = torch.stack(rows, dim=1)
    return (hessian + hessian.transpose(1, 2)) / 2


def _crossing_points(phi: NullFunction, points: Tensor, own: Tensor, step: float, size: float) -> Tensor:
    """Return double zeros of phi on the curves other than the w_j, as symmetric data have them: curves cross there."""
    if not len(points):
        return own.new_zeros(0, 2)
    slope = phi.jacobian(points)[:, 0].norm(dim=1)
    bend = _bend(phi, points)
    near = points[slope <= 3 * step * torch.linalg.matrix_norm(bend)]
    w = near.clone()
    for _ in range(8 if len(w) else 0):
        move = (torch.linalg.pinv(_bend(phi, w)) @ phi.jacobian(w)[:, 0, :, None])[:, :, 0]
        w = w - move.clamp(-step, step)
    flat = phi.jacobian(w)[:, 0].norm(dim=1) <= 1e-9 * size
    found: list[Tensor] = []
    for point in w[flat & (phi(w).abs()[:, 0] <= ON_CURVE * size) & ((w - near).norm(dim=1) <= 4 * step)]:
        if all(float((point - other).norm()) > 0.1 * step for other in (*own, *found)):
            found.append(point)
    return torch.stack(found) if found else own.new_zeros(0, 2)


def _newton(phi: NullFunction, points: Tensor, step: float) -> Tensor:
    """Move points of a curve onto it, no further than a grid step."""
    moved = points.clone()
    for _ in range(6):
        slope = phi.jacobian(moved)[:, 0]
        length = (slope * slope).sum(dim=1, keepdim=True).clamp_min(1e-300)
        moved = moved - phi(moved) * slope / length
    far = ~((moved - points).norm(dim=1) <= step)
    moved[far] = points[far]
    return moved


def _sampled(phi: NullFunction, own: Tensor, names: tuple[int, ...], box: float, size: float) -> NullSet:
    draws = torch.randn(STARTS, phi.size, generator=_draws(), dtype=torch.float64).to(own)
    w = box / BOX * draws
    for _ in range(STEPS):
        w = w - (torch.linalg.pinv(phi.jacobian(w), rtol=1e-10) @ phi(w)[:, :, None])[:, :, 0].clamp(
            -1.0, 1.0
        )
    good = (phi(w).abs().amax(dim=1) <= 1e-11 * size) & (w.abs().amax(dim=1) <= box)
    w = w[good]
    note = f"M was sampled from {STARTS} starts, not traced: {phi.size} input weights, {len(phi.outputs)} outputs"
    dimension, outputs = None, len(phi.outputs)
    if len(w) and outputs <= phi.size:
        singular = torch.linalg.svdvals(phi.jacobian(w))
        regular = singular.amin(dim=1) > REGULAR * singular.max()
        dimension = phi.size - outputs if bool(regular.any()) else None
    found = NullPart(dimension, None, torch.cat([own, w]), names)
    return NullSet((found,) if len(found.points) else (), False, box, notes=(note,))


def _vanishes(phi: Callable[[Tensor], Tensor], w: Tensor, size: float) -> bool:
    return bool(phi(w).abs().max() <= ROUNDING * size)


def _draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)
