r"""Batches of interval matrices as middles and radii, in float64: products with matrices of floats, rounding included.

With k terms in each sum, :math:`u = 2^{-53}` and :math:`c = (k + 4)\,2^{-52}`, the computed product of a float matrix M and the middle is off
by at most :math:`c \lvert M\rvert \lvert mid\rvert`, so

.. math:: M\,[mid \pm rad] \subseteq M\,mid \pm (1 + c)\,\lvert M\rvert\,(rad + c \lvert mid\rvert) ,

the factor covering the rounding of the radius itself.

>>> one = Matrices(torch.tensor([[[2.0]]], dtype=torch.float64), torch.tensor([[[0.5]]], dtype=torch.float64))
>>> found = one.times(torch.tensor([[[3.0]]], dtype=torch.float64))
>>> found.mid.item(), 1.5 <= found.rad.item() < 1.5 + 1e-12
(6.0, True)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.interval_tensors import EPS, SMALLEST, Interval

__all__ = ["Matrices"]


@dataclass(frozen=True, eq=False)
class Matrices:
    """Middles and radii (B, rows, columns)."""

    mid: Tensor
    rad: Tensor

    @classmethod
    def of(cls, intervals: Interval) -> Matrices:
        """Return (rows, columns, B) or (rows, B) intervals as matrices, or as columns."""
        if intervals.lo.dim() == 2:
            intervals = intervals.apply(lambda t: t.unsqueeze(1))
        return cls(intervals.mid.permute(2, 0, 1), intervals.rad.permute(2, 0, 1))

    @property
    def mag(self) -> Tensor:
        """Largest modulus of each entry."""
        return (self.mid.abs() + self.rad) * (1 + 2 * EPS)

    def interval(self) -> Interval:
        """Return a column as intervals (rows, B)."""
        mid, rad = self.mid[..., 0], self.rad[..., 0]
        pad = (mid.abs() + rad) * (2 * EPS) + SMALLEST
        return Interval((mid - rad - pad).T, (mid + rad + pad).T)

    def __add__(self, other: Matrices) -> Matrices:
        """Return the sum."""
        mid = self.mid + other.mid
        return Matrices(mid, (self.rad + other.rad + mid.abs() * EPS) * (1 + 4 * EPS) + SMALLEST)

    def __neg__(self) -> Matrices:
        """Return minus the matrix, exactly."""
        return Matrices(-self.mid, self.rad)

    def __getitem__(self, where: object) -> Matrices:
        """Return some of the matrices, or some entries."""
        return Matrices(self.mid[where], self.rad[where])  # type: ignore[index]

    def after(self, left: Tensor) -> Matrices:
        """Return a float matrix times this one."""
        c = _slack(left.shape[-1])
        rad = (left.abs() @ (self.rad + c * self.mid.abs())) * (1 + c) + left.shape[-1] * SMALLEST
        return Matrices(left @ self.mid, rad)

    def times(self, right: Tensor) -> Matrices:
        """Return this matrix times a float matrix."""
        c = _slack(right.shape[-2])
        rad = ((self.rad + c * self.mid.abs()) @ right.abs()) * (1 + c) + right.shape[-2] * SMALLEST
        return Matrices(self.mid @ right, rad)

    def on(self, column: Matrices) -> Matrices:
        """Return this matrix times an interval column."""
        c = _slack(self.mid.shape[-1])
        size = column.mid.abs()
        rad = self.mid.abs() @ (column.rad + c * size) + self.rad @ (size + column.rad)
        return Matrices(self.mid @ column.mid, rad * (1 + 2 * c) + self.mid.shape[-1] * SMALLEST)

    def squared(self, weights: Matrices, other: Matrices | None = None) -> Matrices:
        r"""Return :math:`J^\top \operatorname{diag}(\omega) K` for this matrix J, weights (B, N, 1) and K, J itself by default."""
        other = self if other is None else other
        c = _slack(self.mid.shape[1])
        scaled = Matrices(
            weights.mid * other.mid,
            (
                weights.rad * (other.mid.abs() + other.rad)
                + weights.mid.abs() * (other.rad + c * other.mid.abs())
            )
            * (1 + c)
            + SMALLEST,
        )
        return Matrices(self.mid.mT, self.rad.mT).on(scaled)

    def from_identity(self) -> Matrices:
        """Return the identity minus this matrix."""
        mid = torch.eye(self.mid.shape[-1], dtype=self.mid.dtype) - self.mid
        return Matrices(mid, (self.rad + mid.abs() * EPS) * (1 + 4 * EPS) + SMALLEST)


def _slack(count: int) -> float:
    return (count + 4) * EPS
