r"""Boxes that hold exactly one critical point, as large as they can be shown, in float64 interval arithmetic.

For a point c, the Hessian H(X) over a box X of half-widths :math:`\rho` around it and Y close to the inverse of its middle, let
:math:`e = \lvert I - Y H(X)\rvert\,\rho`.  If :math:`e < \rho` in every coordinate, every matrix in H(X) is regular and X holds at
most one critical point; if :math:`\lvert Y \nabla R(c)\rvert + e < \rho`, it holds one (Krawczyk's operator maps X into its interior;
proof in ``numerics.krawczyk``).  Existence is shown on the smallest box for which this holds, uniqueness on the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.box_matrices import Matrices
from numerics.box_system import BoxSystem
from numerics.interval_tensors import Interval

__all__ = ["UniqueZero", "unique_zero"]

#: Half-widths that are tried at once, relative to the scale of the coordinates: from 16 down to 1e-13.
WIDTHS = tuple(2.0**k for k in range(4, -44, -1))
#: Newton steps from the point given.
STEPS = 40
#: Factors by which a box is widened in one coordinate after the other.
GROWTH = (2.0, 1.3)
ROUNDS = 6


@dataclass(frozen=True, eq=False)
class UniqueZero:
    """The only critical point in a box.

    Attributes
    ----------
    centre : Tensor
        All P coordinates, (P,).
    radius : Tensor
        Half-widths (P,) of the box in which there is no other; 0 for frozen coordinates.
    error : float
        The critical point is at most so far from ``centre`` in every coordinate.
    """

    centre: Tensor
    radius: Tensor
    error: float


def unique_zero(system: BoxSystem, point: Tensor, free: Tensor) -> UniqueZero | None:
    """Return the critical point that Newton's method finds from a point, with the largest box found; None if none is shown.

    Parameters
    ----------
    system : BoxSystem
        The problem.
    point : Tensor
        All P coordinates.
    free : Tensor
        Places of the coordinates that are trained.
    """
    centre = _polished(system, point, free)
    if centre is None:
        return None
    gradient = Matrices.of(system.gradient(Interval.around(centre[:, None])))[:, free]
    slopes = system.hessian(Interval.around(centre[:, None])).mid[free][:, free, 0]
    inverse, problem = torch.linalg.inv_ex(slopes)
    if int(problem) or not bool(torch.isfinite(inverse).all()):
        return None
    shift = gradient.after(inverse).mag[0, :, 0]
    work = _Boxes(system, centre, free, inverse)
    widths = torch.tensor(WIDTHS, dtype=torch.float64)[:, None] * torch.ones(len(free), dtype=torch.float64)
    spread = work.spread(widths)
    unique = (spread < widths).all(dim=1)
    exists = unique & (shift + spread < widths * (1 - 1e-9)).all(dim=1)
    if not bool(exists.any()):
        return None
    error = float(widths[int(exists.nonzero()[-1, 0]), 0])
    largest = work.grown(widths[int(unique.nonzero()[0, 0])])
    radius = torch.zeros(system.P, dtype=torch.float64)
    radius[free] = largest
    return UniqueZero(centre, radius, error)


def _polished(system: BoxSystem, point: Tensor, free: Tensor) -> Tensor | None:
    centre = point.clone()
    for _ in range(STEPS):
        at = Interval.around(centre[:, None])
        step, problem = torch.linalg.solve_ex(
            system.hessian(at).mid[free][:, free, 0], system.gradient(at).mid[free, 0]
        )
        if int(problem) or not bool(torch.isfinite(step).all()):
            return None
        centre[free] -= step
        if float(step.abs().max()) <= 1e-13 * (1 + float(centre.abs().max())):
            return centre
    return None


@dataclass(frozen=True, eq=False)
class _Boxes:
    system: BoxSystem
    centre: Tensor
    free: Tensor
    inverse: Tensor

    def spread(self, widths: Tensor) -> Tensor:
        """Return upper bounds of |I - Y H(X)| rho for half-widths (B, F)."""
        radius = torch.zeros(self.system.P, len(widths), dtype=torch.float64)
        radius[self.free] = widths.T
        middle = self.centre[:, None]
        # Boxes a little wider than stated, so that rounding of the ends does no harm.
        pad = radius * 1e-14 + middle.abs() * 1e-15
        slopes = Matrices.of(
            self.system.hessian(Interval(middle - radius - pad, middle + radius + pad))[self.free][
                :, self.free
            ]
        )
        rest = slopes.after(self.inverse.expand(len(widths), -1, -1)).from_identity()
        found = (rest.mag @ widths[:, :, None])[..., 0] * (1 + 1e-12)
        return torch.nan_to_num(found, nan=torch.inf)

    def grown(self, widths: Tensor) -> Tensor:
        """Return half-widths widened in one coordinate after the other while the zero stays unique."""
        count = len(widths)
        for _ in range(ROUNDS):
            before = widths
            for factor in GROWTH:
                tried = widths + torch.diag(widths * (factor - 1))
                fine = (self.spread(tried) < tried).all(dim=1)
                for j in range(count):
                    if bool(fine[j]):
                        one = widths.clone()
                        one[j] *= factor
                        if bool((self.spread(one[None])[0] < one).all()):
                            widths = one
            if bool((widths == before).all()):
                break
        return widths
