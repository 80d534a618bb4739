r"""Which way a piecewise smooth gradient flow goes from a point where kinks meet: across, back, or along them.

The velocity of a solution of :math:`\dot\theta \in -D\,\partial R(\theta)` is, at almost every time, the element of
least norm :math:`v^\top D^{-1} v` (Davis, Drusvyatskiy, Kakade & Lee 2020, Lemma 5.2, for functions with a chain rule, which
piecewise smooth ones are).  In the coordinates :math:`D^{-1/2}\theta` this is the point of least Euclidean norm in the hull of
the rates of the pieces that touch the point.  Where it is tangent to a surface the flow slides; the velocity there is
the projection of any adjacent rate on the tangent space, since a continuous R jumps in its gradient only along normals.

A pattern of signs belongs to a piece that touches the point only if some direction realises it; so parallel kinks, such as
those of equal or opposite inputs, count as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.min_norm import TooManyPatterns, min_norm, sign_patterns
from numerics.pieces import Piecewise

__all__ = ["Bundle", "Mode", "Undecided", "decide", "shares", "sliding_rate"]

FLAT = 1e-9
"""Normal velocities below this fraction of the largest rate count as tangent: the rounding of the least-norm point."""
NO_JUMP = 1e-14
"""Change of the rate across a kink, relative to the rate, that is rounding."""
PARALLEL = 1e-12
"""Sine of the angle up to which two normals count as parallel."""
MOST_TRIED = 5
"""Surfaces that meet for which all combinations of crossing and sliding are tried."""


class Undecided(Exception):
    """How the flow goes on from here is not decided; the message says why."""


@dataclass(frozen=True)
class Bundle:
    r"""Kinks that coincide near a point, as one surface.

    Parameters
    ----------
    members : tuple of int
        Surfaces; the first gives the normal.
    signs : tuple of float
        1 or -1: whether the normal of each points the same way.
    normal : Tensor, shape (P,)
        In the coordinates :math:`D^{-1/2}\theta`.
    """

    members: tuple[int, ...]
    signs: tuple[float, ...]
    normal: Tensor

    def put(self, sides: Tensor, side: float) -> Tensor:
        """Return sides (..., K) with the bundle on one side."""
        sides = sides.clone()
        for member, sign in zip(self.members, self.signs, strict=True):
            sides[..., member] = side * sign
        return sides


@dataclass(frozen=True)
class Mode:
    """How a trajectory moves: the piece of all other surfaces, and those along which it slides.

    Parameters
    ----------
    sides : Tensor, shape (K,)
        1 or -1; those of sliding surfaces are of no meaning.
    sliding : tuple of Bundle
        Where it slides.
    """

    sides: Tensor
    sliding: tuple[Bundle, ...]

    @property
    def surfaces(self) -> tuple[int, ...]:
        """All surfaces that are slid along."""
        return tuple(member for bundle in self.sliding for member in bundle.members)


def decide(pieces: Piecewise, theta: Tensor, sides: Tensor, touching: Sequence[int]) -> Mode:
    """Return how the flow goes on from theta (P,), where the surfaces ``touching`` meet.

    Raises
    ------
    Undecided
        If surfaces of different kinds meet in one sample, curved ones are parallel, more pieces meet than are
        enumerated, no combination of crossing and sliding is consistent, or the normals that would be slid along are
        dependent.
    """
    bundles = _bundles(pieces, theta, sides, touching)
    if not bundles:
        return Mode(sides, ())
    scaled = _Scaled(pieces, theta)
    velocity = scaled.least(sides, bundles)
    size = max(float(velocity.norm()), float(scaled.rate(sides).norm()))
    real = []
    for bundle in bundles:  # where the gradient does not jump there is nothing to slide along
        pair = scaled.rates(torch.stack([bundle.put(sides, -1.0), bundle.put(sides, 1.0)]))
        if float((pair[0] - pair[1]).norm()) > NO_JUMP * size:
            real.append(bundle)
            continue
        side = _direction(bundle, velocity, size)
        sides = bundle.put(sides, side) if side else sides
    choice = tuple(_direction(bundle, velocity, size) for bundle in real)
    tried = [choice]
    if len(real) <= MOST_TRIED:
        tried += [u for u in itertools.product((0.0, 1.0, -1.0), repeat=len(real)) if u != choice]
    for sides_of in tried:
        mode = _consistent(scaled, sides, real, sides_of, size)
        if mode is not None:
            return mode
    names = ", ".join(pieces.labels[k] for k in touching)
    raise Undecided(f"no combination of crossing and sliding fits the kinks that meet here: {names}")


def _direction(bundle: Bundle, velocity: Tensor, size: float) -> float:
    across = float(bundle.normal @ velocity) / float(bundle.normal.norm())
    return 0.0 if abs(across) <= FLAT * size else (1.0 if across > 0 else -1.0)


def _consistent(
    scaled: _Scaled, sides: Tensor, bundles: Sequence[Bundle], choice: Sequence[float], size: float
) -> Mode | None:
    """Return the mode of a choice if its own velocity agrees with it."""
    zero = []
    for bundle, side in zip(bundles, choice, strict=True):
        if side:
            sides = bundle.put(sides, side)
        else:
            zero.append(bundle)
    velocity = scaled.least(sides, zero)
    for bundle, side in zip(bundles, choice, strict=True):
        across = side * float(bundle.normal @ velocity) / float(bundle.normal.norm())
        if (side and across < -FLAT * size) or (not side and _direction(bundle, velocity, size)):
            return None
    if zero:
        normals = torch.stack([bundle.normal for bundle in zero])
        units = normals / torch.linalg.vector_norm(normals, dim=1, keepdim=True)
        if int(torch.linalg.matrix_rank(units, rtol=1e-10)) < len(zero):
            raise Undecided("more kinks meet here than there are directions across them")
    return Mode(sides, tuple(zero))


def _bundles(pieces: Piecewise, theta: Tensor, sides: Tensor, touching: Sequence[int]) -> list[Bundle]:
    """Join what coincides; drop what no trained parameter moves."""
    where = sorted(set(touching))
    for one, other in itertools.combinations(where, 2):
        if pieces.samples[one] == pieces.samples[other] and pieces.kinds[one] != pieces.kinds[other]:
            raise Undecided(
                f"kinks of different layers meet in one sample: {pieces.labels[one]} and {pieces.labels[other]}"
            )
    if not where:
        return []
    normals = pieces.rates.sqrt() * pieces.normals(theta, sides, where)
    lengths = torch.linalg.vector_norm(normals, dim=1)
    open_ = {k: row for k, row, length in zip(where, normals, lengths.tolist(), strict=True) if length > 0}
    bundles: list[Bundle] = []
    while open_:
        first, normal = next(iter(open_.items()))
        members, signs = [], []
        for k, other in list(open_.items()):
            cosine = normal @ other / (normal.norm() * other.norm())
            sine = torch.linalg.vector_norm(other / other.norm() - cosine * normal / normal.norm())
            if float(sine) <= PARALLEL:
                if k != first and not (pieces.affine[k] and pieces.affine[first]):
                    raise Undecided(f"curved kinks touch here: {pieces.labels[first]} and {pieces.labels[k]}")
                members.append(k)
                signs.append(1.0 if cosine > 0 else -1.0)
                del open_[k]
        bundles.append(Bundle(tuple(members), tuple(signs), normal))
    return bundles


@dataclass(frozen=True)
class _Scaled:
    r"""Rates at one point in the coordinates :math:`D^{-1/2}\theta`."""

    pieces: Piecewise
    theta: Tensor

    def rates(self, sides: Tensor) -> Tensor:
        """Rates of the pieces ``sides`` (n, K) at the point, (n, P)."""
        rate = self.pieces.rate(self.theta.expand(len(sides), -1).contiguous(), sides)
        return torch.where(self.pieces.rates > 0, rate / self.pieces.rates.sqrt(), 0.0)

    def rate(self, sides: Tensor) -> Tensor:
        """Rate of one piece, (P,)."""
        return self.rates(sides[None])[0]

    def least(self, sides: Tensor, bundles: Sequence[Bundle]) -> Tensor:
        """Least-norm velocity (P,), the bundles free and everything else on its side.

        Bundles whose normals share no coordinate are independent of each other: the hull is a product.
        """
        velocity = self.rate(sides)
        for group in _groups(bundles):
            support = torch.stack([bundle.normal != 0 for bundle in group]).any(0)
            try:
                patterns = sign_patterns(torch.stack([bundle.normal for bundle in group]))
            except TooManyPatterns as error:
                raise Undecided(str(error)) from None
            corners = []
            for pattern in patterns.tolist():
                corner = sides
                for bundle, side in zip(group, pattern, strict=True):
                    corner = bundle.put(corner, side)
                corners.append(corner)
            rates = self.rates(torch.stack(corners))[:, support]
            velocity[support] = min_norm(rates)[0]
        return velocity


def _groups(bundles: Sequence[Bundle]) -> list[list[Bundle]]:
    """Connected components of bundles that share a coordinate."""
    groups: list[tuple[Tensor, list[Bundle]]] = []
    for bundle in bundles:
        support = bundle.normal != 0
        joined = [bundle]
        rest = []
        for other, members in groups:
            if bool((other & support).any()):
                support, joined = support | other, [*members, *joined]
            else:
                rest.append((other, members))
        groups = [*rest, (support, joined)]
    return [members for _, members in groups]


def sliding_rate(pieces: Piecewise, mode: Mode, theta: Tensor) -> Tensor:
    """Rate of a mode at theta (n, P): that of its piece, projected on the surfaces that it slides along."""
    rate = pieces.rate(theta, mode.sides.expand(len(theta), -1))
    if not mode.sliding:
        return rate
    root = pieces.rates.sqrt()
    scaled = torch.where(root > 0, rate / root, 0.0)
    return root * torch.stack(
        [_project(_normals(pieces, mode, y), v) for y, v in zip(theta, scaled, strict=True)]
    )


def _normals(pieces: Piecewise, mode: Mode, theta: Tensor) -> Tensor:
    """Scaled normals (r, P) at one point; those of hyperplanes are known."""
    if all(pieces.affine[bundle.members[0]] for bundle in mode.sliding):
        return torch.stack([bundle.normal for bundle in mode.sliding])
    which = [bundle.members[0] for bundle in mode.sliding]
    return pieces.rates.sqrt() * pieces.normals(theta, mode.sides, which)


def _project(normals: Tensor, velocity: Tensor) -> Tensor:
    basis, _ = torch.linalg.qr(normals.T)
    return velocity - basis @ (basis.T @ velocity)


def shares(pieces: Piecewise, mode: Mode, theta: Tensor) -> Tensor:
    r"""Return the pushes from below and from above each sliding bundle, (n, 2 r): the mode holds while all are positive.

    With :math:`t` the share of the upper side and j the jump of the gradient along the normal these are
    :math:`t\,j` and :math:`(1 - t)\,j`.
    """
    root = pieces.rates.sqrt()
    out = []
    for y in theta:
        normals = _normals(pieces, mode, y)
        pushes = []
        for side in (-1.0, 1.0):
            sides = mode.sides
            for bundle in mode.sliding:
                sides = bundle.put(sides, side)
            rate = pieces.rate(y[None], sides[None])[0]
            scaled = torch.where(root > 0, rate / root, 0.0)
            pushes.append(
                -side * torch.linalg.lstsq(normals.T, scaled[:, None], driver="gelsd").solution[:, 0]
            )
        out.append(torch.cat(pushes))
    return torch.stack(out)
