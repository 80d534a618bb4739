r"""Certified points of critical manifolds: a certified narrow network, its neurons split and neurons without effect added.

The splitting and the null embedding map critical points to critical points (``derivations.embedding``, proved for symbolic
sizes), so the image of the enclosure of a narrow critical point encloses a wide one.  Its Hessian H over that enclosure is
singular, with a kernel that is known.  Let :math:`V = \sum_i \bar f_i\, \sigma'(z_i)\, \tilde x_i^\top`, of shape
:math:`q \times \tilde d`, be that of a neuron: criticality in its input weights reads :math:`V^\top a = 0`.

* Two equal copies j, j' of a neuron: :math:`V = H_{a_j w_j} - H_{a_j w_{j'}}`, and H takes the direction
  :math:`\delta a_j = u = -\delta a_{j'}` to :math:`V^\top u` in the row of :math:`w_j`, to its negative in that of :math:`w_{j'}`,
  to 0 elsewhere.  As :math:`V^\top a = 0` with :math:`a \ne 0`, V has at most rank min(q - 1 - s, d~).
* A neuron with a = 0, w = 0 and b = 0 next to an output bias (or one that is silent: :math:`\sigma(0) = 0`): :math:`V = H_{a w}`,
  and the kernel is :math:`\delta w \in \ker V`, together with :math:`\delta a \in \ker V^\top`, whose constant contribution the output bias takes
  up.  With an output bias the column of the input bias vanishes exactly, being the gradient in the output bias.

Here s counts the independent combinations u of the outputs whose targets :math:`u \cdot y_i` are constant (0 without an output
bias), such as the sum of one-hot targets.  Under the square loss the criticality in a and c makes :math:`u \cdot f` the least-squares
fit of a target that can be fitted exactly, so :math:`u \cdot \bar f_i = 0` and :math:`u^\top V = 0`.  That a is none of these u, so that
the columns of V are orthogonal to s + 1 independent vectors, is checked.

Where these directions are shown to be the whole kernel, the inertia is certified.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flint
from sympy import Expr, Integer
from sympy.polys.matrices import DomainMatrix

from numerics.arb_functions import exact_ball
from numerics.ball_matrices import NotCertified, bordered_signs, kernel
from numerics.balls import Ball, BallSystem
from numerics.certified_point import Certified
from numerics.krawczyk import distance
from numerics.spectrum import Inertia

__all__ = ["certify_embedded"]

#: The parameters listed for a point of a manifold are those of the embedded point to rounding; 1e-14 was seen.
SAME_POINT = 1e-8

Vector = list[Ball]


@dataclass(frozen=True)
class _Layout:
    """Places of the weights of a neuron in the flat vector, and of the output bias."""

    system: BallSystem

    def __post_init__(self) -> None:
        problem = self.system.problem
        if problem.kind != "two_layer" or problem.weight_decay != 0 or problem.freeze:
            raise NotCertified("embeddings are those of two-layer networks, trained without weight decay")

    @property
    def q(self) -> int:
        return self.system.sizes.get("o", 1) if self.system.problem.vector_output else 1

    @property
    def silence(self) -> Expr:
        """Value of the activation at 0."""
        sigma = self.system.problem.activation
        assert sigma is not None  # the system has one
        return sigma.value_at_zero

    @property
    def targets(self) -> list[list[Expr]]:
        """The targets, a row for each sample."""
        targets = self.system.data["y"]
        return [targets[i : i + self.q] for i in range(0, len(targets), self.q)]

    @cached_property
    def fitted(self) -> int:
        """Number s of independent combinations of the outputs that are fitted exactly at every critical point."""
        loss, rows = self.system.problem.loss, self.targets
        if loss is None or loss.name != "square" or not all(u.is_Rational for row in rows for u in row):
            return 0
        rows = [[*row, Integer(1)] for row in rows] if self.c else rows
        return len(rows[0]) - int(DomainMatrix.from_list_sympy(len(rows), len(rows[0]), rows).rank())

    def is_fitted(self, weights: Vector) -> bool:
        """Whether ``weights`` may be such a combination: its targets may be constant, or 0 without an output bias."""
        start = self.targets[0] if self.c else [Integer(0)] * self.q
        away = [[exact_ball(u - v) for u, v in zip(row, start, strict=True)] for row in self.targets]
        return all(sum(map(operator.mul, row, weights), flint.arb(0)).contains(0) for row in away)

    def _block(self, name: str, k: int) -> list[int]:
        for block, shape, where in self.system.layout:
            if block == name:
                size = (where.stop - where.start) // shape[0]
                return list(range(where.start + k * size, where.start + (k + 1) * size))
        return []

    def a(self, k: int) -> list[int]:
        return self._block("a", k)

    def w(self, k: int) -> list[int]:
        """Input weights of neuron k, its bias last."""
        return [*self._block("w", k), *self._block("b", k)]

    @property
    def c(self) -> list[int]:
        for block, _, where in self.system.layout:
            if block == "c":
                return list(range(where.start, where.stop))
        return []


def certify_embedded(
    narrow: BallSystem,
    point: Certified,
    wide: BallSystem,
    theta: Sequence[float],
    copies: Sequence[int],
    dead: int,
) -> Certified:
    """Show that next to ``theta`` lies an embedded critical point, and find its inertia.

    Parameters
    ----------
    narrow, wide : BallSystem
        The two networks.
    point : Certified
        Critical point of the narrow one.
    theta : sequence of float
        The wide point: neuron g of the narrow one in ``copies[g]`` equal parts, then ``dead`` neurons with a = 0.

    Raises
    ------
    NotCertified
        If it is not shown, with the reason.
    """
    with flint.ctx.workprec(point.precision):
        before, after = _Layout(narrow), _Layout(wide)
        if narrow.scale != wide.scale:
            raise NotCertified("the output scale depends on the width")
        image = _embedded(before, point.theta, after, theta, copies, dead)
        error = distance(image, [flint.arb(u) for u in theta])
        if not error <= SAME_POINT:
            raise NotCertified(f"the point is {error:.1g} away from the embedded one")
        value, gradient, hessian = wide.value_gradient_hessian(image)
        if not all(u.contains(0) for u in gradient):
            raise NotCertified("the embedded point is not critical")
        inertia = _inertia(before, point, after, hessian, copies, dead)
    return Certified(tuple(image), value, error, error, False, inertia, point.precision)


def _inertia(
    before: _Layout,
    point: Certified,
    after: _Layout,
    hessian: Sequence[Vector],
    copies: Sequence[int],
    dead: int,
) -> Inertia:
    vectors: list[Vector] = []
    position = 0
    try:
        for g, count in enumerate(copies):
            weights = [point.theta[j] for j in before.a(g)]
            vectors += _of_copies(after, hessian, position, count, weights)
            position += count
        for k in range(position, position + dead):
            vectors += _of_dead(after, hessian, k)
        return Inertia(*bordered_signs(hessian, vectors))
    except NotCertified as reason:
        flat = "; its risk may be 0, where more directions are flat" if point.value.contains(0) else ""
        raise NotCertified(
            f"it is the embedding of a certified point, but its inertia is open: {reason}{flat}"
        ) from None


def _embedded(
    before: _Layout,
    point: Sequence[Ball],
    after: _Layout,
    theta: Sequence[float],
    copies: Sequence[int],
    dead: int,
) -> Vector:
    image: list[Any] = [flint.arb(0)] * after.system.P
    position = 0
    for g, count in enumerate(copies):
        for k in range(position, position + count):
            for old, new in zip(before.a(g), after.a(k), strict=True):
                image[new] = point[old] / count
            for old, new in zip(before.w(g), after.w(k), strict=True):
                image[new] = point[old]
        position += count
    for k in range(position, position + dead):
        if any(theta[j] != 0 for j in after.w(k)):
            raise NotCertified("the input weights of a neuron without effect are known by numbers only")
        if not after.c and after.silence != 0:
            raise NotCertified(
                "a neuron with w = 0 and b = 0 is not critical: it is not silent, and there is no output bias"
            )
    for old, new in zip(before.c, after.c, strict=True):
        image[new] = point[old]
    return image


def _of_copies(
    layout: _Layout, hessian: Sequence[Vector], first: int, count: int, weights: Vector
) -> list[Vector]:
    """Return the kernel directions that move output weight between the copies of a neuron."""
    if count == 1:
        return []
    if all(u.contains(0) for u in weights):
        raise NotCertified("the output weights of a split neuron are not shown to differ from 0")
    if layout.fitted and layout.is_fitted(weights):
        raise NotCertified(
            "the output weights of a split neuron are not shown to be no combination that is fitted exactly"
        )
    inputs, others = layout.w(first), layout.w(first + 1)
    rank = min(layout.q - 1 - layout.fitted, len(inputs))
    # Rows of V^T: one for each input weight.
    rows = [
        [hessian[j][w] - hessian[j][v] for j in layout.a(first)] for w, v in zip(inputs, others, strict=True)
    ]
    out = []
    for k in range(first, first + count - 1):
        for vector in kernel(rows, layout.q, rank):
            direction = [flint.arb(0)] * layout.system.P
            for u, j, other in zip(vector, layout.a(k), layout.a(k + 1), strict=True):
                direction[j], direction[other] = u, -u
            out.append(direction)
    return out


def _of_dead(layout: _Layout, hessian: Sequence[Vector], k: int) -> list[Vector]:
    """Return the kernel directions of a neuron with a = 0 and w = 0."""
    system = layout.system
    outputs, inputs = layout.a(k), layout.w(k)
    # With an output bias the column of V at the input bias is 0.
    seen = inputs[: system.sizes["d"]] if layout.c else inputs
    rank = min(layout.q - layout.fitted, len(seen))
    matrix = [[hessian[j][w] for w in seen] for j in outputs]
    out = []
    for vector in kernel(matrix, len(seen), rank):
        out.append(_placed(system.P, seen, vector))
    out += [_placed(system.P, [j], [flint.arb(1)]) for j in inputs if j not in seen]
    transposed = [list(row) for row in zip(*matrix, strict=True)]
    constant = exact_ball(system.scale) * exact_ball(layout.silence)
    for vector in kernel(transposed, layout.q, rank):
        direction = _placed(system.P, outputs, vector)
        for j, u in zip(layout.c, vector, strict=False):
            direction[j] = -constant * u
        out.append(direction)
    return out


def _placed(count: int, places: Sequence[int], entries: Sequence[Ball]) -> Vector:
    direction = [flint.arb(0)] * count
    for j, u in zip(places, entries, strict=True):
        direction[j] = u
    return direction
