r"""The mean value form of the gradient on batches of boxes, in coordinates in which the output layer follows the weights.

**Coordinates.**  In the first coordinates a, the output layer, R may be quadratic: :math:`\nabla_a R = M(w)\, a - b(w)`, with
:math:`M = \lambda + G^\top G`, :math:`G = \sqrt\omega\, J_a`.  Then a critical point has a = a(w).  At the middle :math:`w_c` of a box let
:math:`a_c \approx a(w_c)`, :math:`T \approx da/dw`, and N close to the inverse Cholesky factor of :math:`M(w_c)`; points are written as

.. math:: x = c + Q y, \qquad Q = \begin{pmatrix} N^\top & T \\ 0 & I \end{pmatrix}, \qquad y = (u,\, w - w_c) .

**How far a is from the line.**  Let :math:`\rho(w) = -\nabla_a R(a_c + T (w - w_c), w)`, of second order in the width of the box, and
:math:`e = a(w) - a_c - T (w - w_c) = N^\top u`, so that :math:`M(w)\, e = \rho(w)`.  If :math:`\lVert I - N M(w_c) N^\top \rVert \le \tau` and the
columns of :math:`G(w) - G(w_c)` have norms at most :math:`g_k`, then :math:`\lvert e_k\rvert \le \nu_k \lvert u\rvert` with the column
norms :math:`\nu_k` of N, and

.. math:: \sqrt{e^\top M(w)\, e} \;\ge\; \sqrt{e^\top M(w_c)\, e} - \sum_k g_k \lvert e_k\rvert
          \;\ge\; (\sqrt{1 - \tau} - \kappa)\, \lvert u\rvert, \qquad \kappa = \sum_k g_k \nu_k .

With :math:`e^\top M e = u \cdot N\rho` this gives :math:`\lvert u\rvert \le \lvert N\rho\rvert / (\sqrt{1 - \tau} - \kappa)^2`, a bound that does not
suffer where neurons are nearly equal and M is nearly singular.  Where it does not apply, the box of a itself bounds e.

**Tests.**  Critical points in the box fulfil :math:`0 \in Q^\top \nabla R(c) + Q^\top H Q\, y`, H over a convex set that holds c and them;
:math:`Q^\top H Q = (JQ)^\top \operatorname{diag}(\omega)\, JQ + Q^\top S Q`, and the outputs in S are enclosed by :math:`f(c) + (JQ)\, y`.
This is tested row by row and after multiplication by the inverse of the middle.  Krawczyk's operator is used to exclude and to
contract only: the set c + Qy reaches beyond the box, so nothing is said about existence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.box_matrices import Matrices
from numerics.box_system import BoxSystem
from numerics.interval_tensors import EPS, SMALLEST, Interval

__all__ = ["MeanValue", "mean_value"]

#: Factor that covers the rounding of norms and short sums of positive numbers.
_UP = 1 + 1e-12
#: Below this value of sqrt(1 - tau) - kappa the bound of u is not used.
_LEAST_ROOM = 0.05


@dataclass(frozen=True, eq=False)
class MeanValue:
    """Boxes after the mean value form.

    Attributes
    ----------
    boxes : Interval
        Contracted, (P, B).
    possible : Tensor
        Which may hold a critical point.
    smear : Tensor
        How much each trained coordinate contributes to the width of the gradient, (F, B).
    newton : Tensor
        Where the operator takes the centre, (P, B), and
    single : Tensor
        whether it contracts: then the box holds at most one critical point, likely next to ``newton``.
    """

    boxes: Interval
    possible: Tensor
    smear: Tensor
    newton: Tensor
    single: Tensor


@dataclass(frozen=True, eq=False)
class _Frame:
    """Coordinates of a batch of boxes: centre (P, B), Q (B, F, F), the intervals of y (F, B), and the convex set of H."""

    centre: Tensor
    turn: Tensor
    y: Interval
    hull: Interval


def mean_value(system: BoxSystem, boxes: Interval, free: Tensor, linear: int) -> MeanValue:
    """Apply the mean value form.

    Parameters
    ----------
    system : BoxSystem
        The problem.
    boxes : Interval
        (P, B), none empty.
    free : Tensor
        Places of the trained coordinates;
    linear : int
        in the first so many R is quadratic with constant weights omega; 0 uses the boxes as they are.
    """
    centre = torch.minimum(torch.maximum(boxes.mid, boxes.lo), boxes.hi)
    if linear:
        frame = _Following(system, boxes, free, linear).frame(centre)
    else:
        turn = torch.eye(len(free), dtype=torch.float64).expand(boxes.lo.shape[1], -1, -1)
        frame = _Frame(centre, turn, boxes[free] - Interval.around(centre[free]), boxes)
    return _tested(system, boxes, free, frame)


@dataclass(frozen=True, eq=False)
class _Following:
    system: BoxSystem
    boxes: Interval
    free: Tensor
    linear: int

    @property
    def own(self) -> Tensor:
        """Places of the output layer."""
        return self.free[: self.linear]

    @property
    def others(self) -> Tensor:
        """Places of the input weights."""
        return self.free[self.linear :]

    def frame(self, centre: Tensor) -> _Frame:
        """Return the coordinates next to the middles of the boxes."""
        k = self.linear
        jacobian, slopes, _ = self._at(centre)
        gradient = self.system.gradient(Interval.around(centre)).mid[self.own].T[:, :, None]
        centre = centre.clone()
        centre[self.own] -= _solved(slopes.mid[:, :k, :k], gradient)[:, :, 0].T
        jacobian, slopes, outputs = self._at(centre)
        follow = -_solved(slopes.mid[:, :k, :k], slopes.mid[:, :k, k:])
        away = Matrices.of(self.boxes[self.others] - Interval.around(centre[self.others]))
        line = away.after(follow).interval() + Interval.around(centre[self.own])
        over, weights, rest = self._on_line(centre, outputs, follow, away, line)
        norm, valid, size = self._bound(jacobian, over, slopes, weights, rest)
        turn = torch.eye(len(self.free), dtype=torch.float64).expand(len(norm), -1, -1).clone()
        turn[:, :k, k:] = follow
        turn[:, :k, :k] = torch.where(valid[:, None, None], norm.mT, turn[:, :k, :k])
        plain, around = self.boxes[self.own] - line, away.interval()
        lower = torch.cat([torch.where(valid, -size, plain.lo), around.lo])
        y = Interval(lower, torch.cat([torch.where(valid, size, plain.hi), around.hi]))
        reached = Matrices.of(y).after(turn).interval()[:k] + Interval.around(centre[self.own])
        return _Frame(centre, turn, y, self._hull(self.boxes[self.own].met(reached), centre))

    def _at(self, centre: Tensor) -> tuple[Matrices, Matrices, Interval]:
        """Return Jacobian, Hessian and outputs at a point of each box."""
        at = Interval.around(centre)
        outputs, jacobian = self.system.jacobian(at)
        weights, second = self.system.curvature(at, outputs)
        trained = Matrices.of(jacobian)[:, :, self.free]
        slopes = trained.squared(Matrices.of(weights)) + Matrices.of(second)[:, self.free][:, :, self.free]
        return trained, slopes, outputs

    def _on_line(
        self, centre: Tensor, outputs: Interval, follow: Tensor, away: Matrices, line: Interval
    ) -> tuple[Matrices, Matrices, Matrices]:
        """Return J_a and omega over the line, and rho."""
        k = self.linear
        boxes = self._with_output_layer(line)
        jacobian = Matrices.of(self.system.jacobian(boxes)[1])[:, :, self.free]
        response = jacobian[:, :, k:] + jacobian[:, :, :k].times(follow)
        near = outputs + response.on(away).interval()
        curve, second = self.system.curvature(boxes, near)
        weights = Matrices.of(curve)
        rest = Matrices.of(second)[:, self.own][:, :, self.free]
        slopes = jacobian[:, :, :k].squared(weights, response)
        slopes = slopes + (rest[:, :, k:] + rest[:, :, :k].times(follow))
        fixed = Matrices.of(self.system.gradient(Interval.around(centre))[self.own])
        return jacobian[:, :, :k], weights, -(fixed + slopes.on(away))

    def _bound(
        self, at: Matrices, over: Matrices, slopes: Matrices, weights: Matrices, rest: Matrices
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return N, where the bound of u applies, and the bound."""
        k = self.linear
        lower, problem = torch.linalg.cholesky_ex(slopes.mid[:, :k, :k])
        identity = torch.eye(k, dtype=torch.float64).expand_as(lower)
        norm = _finite(torch.linalg.solve_triangular(lower, identity, upper=False))
        off = slopes[:, :k, :k].after(norm).times(norm.mT).from_identity()
        tau = off.mag.sum(dim=2).amax(dim=1) * _UP  # symmetric, so that row sums bound the norm
        columns = norm.square().sum(dim=1).sqrt() * _UP
        change = (over + -at[:, :, :k]).mag * (weights.mag.sqrt() * _UP)
        change = change.square().sum(dim=1).sqrt() * _UP
        kappa = (columns * change).sum(dim=1) * _UP
        room = (1 - tau).clamp(min=0.0).sqrt() / _UP - kappa
        valid = (problem == 0) & (room > _LEAST_ROOM)
        size = rest.after(norm).mag.square().sum(dim=(1, 2)).sqrt() * _UP
        size = size / room.clamp(min=_LEAST_ROOM).square() * _UP
        valid &= torch.isfinite(size)
        return norm, valid, torch.where(valid, size, 0.0)

    def _with_output_layer(self, line: Interval) -> Interval:
        lo, hi = self.boxes.lo.clone(), self.boxes.hi.clone()
        lo[self.own], hi[self.own] = line.lo, line.hi
        return Interval(lo, hi)

    def _hull(self, own: Interval, centre: Tensor) -> Interval:
        """Return the smallest boxes that hold the centre and the output layers given."""
        point = centre[self.own]
        return self._with_output_layer(Interval(torch.minimum(own.lo, point), torch.maximum(own.hi, point)))


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve approximately; 0 where that fails."""
    return _finite(torch.linalg.solve_ex(matrix, right)[0])


def _finite(matrix: Tensor) -> Tensor:
    """Put 0 in the place of matrices with entries that are not finite."""
    fine = torch.isfinite(matrix).all(dim=2).all(dim=1)
    return torch.where(fine[:, None, None], matrix, 0.0)


def _tested(system: BoxSystem, boxes: Interval, free: Tensor, frame: _Frame) -> MeanValue:
    """Test the rows of the form, contract by Krawczyk's operator, and go back to the coordinates of the boxes."""
    at, turn, y = Interval.around(frame.centre), frame.turn, frame.y
    outputs, _ = system.jacobian(at)
    jacobian = Matrices.of(system.jacobian(frame.hull)[1])[:, :, free].times(turn)
    # On the way from c to a critical point y runs from 0 to its value, and 0 need not be in the intervals of y.
    way = Interval(y.lo.clamp(max=0.0), y.hi.clamp(min=0.0))
    near = outputs + jacobian.on(Matrices.of(way)).interval()
    weights, second = system.curvature(frame.hull, near)
    slopes = jacobian.squared(Matrices.of(weights))
    slopes = slopes + Matrices.of(second)[:, free][:, :, free].times(turn).after(turn.mT)
    pulled = Matrices.of(system.gradient(at)[free]).after(turn.mT)
    rows = (pulled + slopes.on(Matrices.of(y))).interval()
    y, single, newton = _operator(slopes, pulled, y)
    possible = ~rows.excludes_zero().any(dim=0) & ~(y.lo > y.hi).any(dim=0)
    # Empty intervals stay empty, their ends next to each other, so that what is computed from them is finite.
    y = Interval(y.lo, torch.maximum(y.hi, y.lo - y.lo.abs() * EPS - SMALLEST))
    back = Matrices.of(y).after(turn).interval() + Interval.around(frame.centre[free])
    held = boxes[free].met(back)
    lo, hi, place = boxes.lo.clone(), boxes.hi.clone(), frame.centre.clone()
    lo[free], hi[free] = held.lo, held.hi
    place[free] += (turn @ newton)[..., 0].T
    smear = (slopes.mag.sum(dim=1) * (held.hi - held.lo).T).T
    possible &= ~(lo > hi).any(dim=0)
    return MeanValue(Interval(lo, hi), possible, torch.nan_to_num(smear, nan=0.0), place, single)


def _operator(slopes: Matrices, pulled: Matrices, y: Interval) -> tuple[Interval, Tensor, Tensor]:
    """Contract by Krawczyk's operator around y = 0; return also whether it contracts, and the image of 0."""
    inverse, problem = torch.linalg.inv_ex(slopes.mid)
    inverse = torch.where((problem == 0)[:, None, None], _finite(inverse), 0.0)
    shift = -pulled.after(inverse)
    rest = slopes.after(inverse).from_identity()
    column = Matrices.of(y)
    image = (shift + rest.on(column)).interval()
    single = ((rest.mag @ column.rad)[..., 0] < column.rad[..., 0]).all(dim=1)
    return y.met(image), single, shift.mid
