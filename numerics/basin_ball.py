r"""Balls around a certified minimum in which the gradient flow provably stays and converges to it.

Let :math:`\theta_*` be a critical point and let the Hessian be positive definite on a ball around it.  On the segment from
:math:`\theta_*` to a point of the ball

.. math:: \nabla R(\theta) \cdot (\theta - \theta_*) = \int_0^1 (\theta - \theta_*)^\top H(\theta_* + s(\theta - \theta_*))\,(\theta - \theta_*)\, ds
   \ge \mu\, \lvert\theta - \theta_*\rvert^2, \qquad \mu > 0,

with :math:`\mu` the smallest eigenvalue on the compact ball.  So :math:`\tfrac{d}{dt}\lvert\theta - \theta_*\rvert^2 \le -2\mu\,\lvert\theta -
\theta_*\rvert^2` along the flow: it does not leave the ball, and :math:`\lvert\theta(t) - \theta_*\rvert \le e^{-\mu t}\lvert\theta(0) -
\theta_*\rvert`.

That the Hessian is positive definite is shown on the box of half-width r around the given point, by interval arithmetic.  If the critical
point is within e of the given one in every coordinate, the box holds the Euclidean ball of radius :math:`r - e` around it, and that holds the
ball of radius :math:`r - e - \sqrt P e` around the given point: this is the radius returned.

Where a continuous symmetry moves the point, the Hessian is singular, and there is no such ball.

>>> from sympy import Rational
>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("tanh", "square", weight_decay=Rational(1))
>>> system = BallSystem(problem, {"x": [Rational(1)], "y": [Rational(1, 2)]}, {"n": 1, "d": 1, "m": 1})
>>> round(basin_radius(system, [0.0, 0.0], 0.0), 3)
0.1
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flint

from numerics.ball_matrices import NotCertified, signs
from numerics.balls import BallSystem

__all__ = ["NotCertified", "basin_radius"]

#: Half-widths tried, from large to small: halves of decades.
RADII = tuple(10 ** (-k / 2) for k in range(0, 21))
#: Bits: the boxes are wide, rounding is small against their width.
PRECISION = 96


def basin_radius(system: BallSystem, theta: Sequence[float], error: float) -> float:
    """Return a radius such that the flow from every point so close to ``theta`` converges to the critical point next to it.

    The distance is the Euclidean one; the radius is that of the largest box tried.

    Parameters
    ----------
    system : BallSystem
        The problem; every block is trained.
    theta : sequence of float
        P numbers.
    error : float
        Bound of the distance, in every coordinate, from ``theta`` to a critical point that is shown to exist.

    Raises
    ------
    NotCertified
        If the Hessian is not shown to be positive definite on a box that is larger than the error, or a block is frozen.
    """
    if len(system.trained) != system.P:
        raise NotCertified("blocks are frozen, so that the flow is not that of all parameters")
    for radius in RADII:
        inside = math.nextafter(radius - error * (1 + math.sqrt(system.P) * (1 + 1e-12)), -math.inf)
        if inside <= 0:
            break
        with flint.ctx.workprec(PRECISION):
            hessian = system.value_gradient_hessian([flint.arb(float(u), radius) for u in theta])[2]
            try:
                if signs(hessian)[0] == 0:
                    return inside
            except NotCertified:
                continue
    raise NotCertified(
        f"the Hessian is not shown to be positive definite on any box of half-width {RADII[-1]:.0e} to {RADII[0]:.0e} around the target"
    )
