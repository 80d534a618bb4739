r"""A critical point that is shown to exist: Krawczyk's operator on the derived gradient and Hessian, then certified signs.

The gradient of the trained blocks is the function, the Hessian its derivative; frozen blocks are kept at the numbers given.
Where a continuous symmetry moves the point, the zeros are not isolated; then the zero is sought on a slice across the orbit,

.. math::
    F(\theta, \mu) = \Bigl(\nabla R(\theta) + \sum_k \mu_k T_k(\theta),\; T_k(\theta_0) \cdot (\theta - \theta_0)\Bigr),

with the fields :math:`T_k` of the symmetry.  At a zero :math:`0 = T_j \cdot \nabla R = -\sum_k \mu_k\, T_j \cdot T_k`; the
derivative of F is regular there, so the :math:`T_k(\theta)` are independent, their Gram matrix is regular, and :math:`\mu = 0`: the zero is
a critical point.  The field is in the kernel of the Hessian of a critical point, which gives its inertia
(``numerics.ball_matrices``).

>>> from sympy import Rational
>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("tanh", "square")
>>> system = BallSystem(problem, {"x": [Rational(1)], "y": [Rational(1, 2)]}, {"n": 1, "d": 1, "m": 1})
>>> found = certify(system, [0.0, 1e-10])
>>> found.inertia, found.radius, 9e-11 < found.error < 2e-10
(Inertia(negative=1, zero=0, positive=1), 1e-08, True)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flint

from numerics.arb_functions import NotEnclosed
from numerics.ball_matrices import NotCertified, bordered_signs, signs
from numerics.balls import Ball, BallSystem
from numerics.krawczyk import PRECISION, krawczyk, refined
from numerics.orbit_fields import PolynomialField
from numerics.spectrum import Inertia

__all__ = ["Certified", "NotCertified", "NotEnclosed", "certify", "decimals", "measured", "outward"]


#: Farther than this from the zero a point was not polished in double precision.
ROUNDED = 1e-6


@dataclass(frozen=True)
class Certified:
    """A critical point next to a given one.

    Attributes
    ----------
    theta : tuple of balls
        Enclosure (P,) of the critical point.
    value : ball
        Enclosure of the risk there.
    radius : float
        With ``unique``, radius of the box around the given point (on an orbit: of its part in the slice) in which there is no
        other; else the same as ``error``.
    error : float
        Bound of the distance, in every coordinate, to the given point.
    inertia : Inertia
        Of the Hessian in the trained blocks; zeros are exact, their eigenvectors being known.
    precision : int
        Bits that were used.
    centre : tuple of float
        The point the box stands around: the given one, or, where the Hessian is nearly singular and that was too far from the zero, the
        floats next to the zero.
    """

    theta: tuple[Ball, ...] = field(repr=False)
    value: Ball = field(repr=False)
    radius: float
    error: float
    unique: bool
    inertia: Inertia
    precision: int
    centre: tuple[float, ...] = field(default=(), repr=False)


def certify(
    system: BallSystem,
    theta: Sequence[float],
    fields: Sequence[PolynomialField] = (),
    *,
    precision: int = PRECISION,
) -> Certified:
    """Show that next to ``theta`` there is exactly one critical point, up to the symmetries given, and find its inertia.

    Parameters
    ----------
    system : BallSystem
        The problem at given sizes and exact data.
    theta : sequence of float
        P numbers, polished.
    fields : sequence of PolynomialField
        Independent fields of symmetries of the risk, which move trained blocks only; that they are symmetries is taken from
        their proofs.
    precision : int
        Bits.

    Raises
    ------
    NotCertified
        If it is not shown, with the reason.
    NotEnclosed
        If a kink of the activation lies in the box.
    """
    try:
        return _certify(system, [float(u) for u in theta], fields, precision)
    except NotCertified as reason:
        # A point polished in double precision is off by rounding over the smallest eigenvalue; where that is more than the box in
        # which the Hessian is regular, more digits help.
        moved = _refined(system, theta, fields, precision)
        away = max((abs(u - float(v)) for u, v in zip(moved, theta, strict=True)), default=0.0)
        if not 0 < away <= ROUNDED:
            raise
        try:
            return _certify(system, moved, fields, precision)
        except NotCertified:
            raise reason from None


def _refined(
    system: BallSystem, theta: Sequence[float], fields: Sequence[PolynomialField], precision: int
) -> list[float]:
    """Return the floats next to the zero; with symmetries the point as it is."""
    given = [float(u) for u in theta]
    if fields:
        return given
    free = system.trained

    def full(unknowns: Sequence[Ball]) -> list[Ball]:
        point = [flint.arb(u) for u in given]
        for j, u in zip(free, unknowns, strict=True):
            point[j] = u
        return point

    def function(unknowns: Sequence[Ball]) -> list[Ball]:
        gradient = system.gradient(full(unknowns))
        return [gradient[j] for j in free]

    def derivative(unknowns: Sequence[Ball]) -> list[list[Ball]]:
        _, _, hessian = system.value_gradient_hessian(full(unknowns))
        return [[hessian[i][j] for j in free] for i in free]

    for j, u in zip(
        free, refined(function, derivative, [given[j] for j in free], precision=precision), strict=True
    ):
        given[j] = u
    return given


def _certify(
    system: BallSystem, given: list[float], fields: Sequence[PolynomialField], precision: int
) -> Certified:
    free = system.trained
    count, more = len(free), len(fields)
    last: dict[str, Any] = {}

    with flint.ctx.workprec(precision):
        base = [flint.arb(u) for u in given]
        sections = [[tangent.value(base)[j].mid() for j in free] for tangent in fields]

    def full(unknowns: Sequence[Ball]) -> list[Ball]:
        point = list(base)
        for j, u in zip(free, unknowns, strict=False):
            point[j] = u
        return point

    def function(unknowns: Sequence[Ball]) -> list[Ball]:
        point, multipliers = full(unknowns), unknowns[count:]
        gradient = system.gradient(point)
        out = [gradient[j] for j in free]
        for tangent, mu in zip(fields, multipliers, strict=True):
            moved = tangent.value(point)
            out = [u + mu * moved[j] for u, j in zip(out, free, strict=True)]
        away = [point[j] - base[j] for j in free]
        return out + [
            sum((s * u for s, u in zip(section, away, strict=True)), flint.arb(0)) for section in sections
        ]

    def derivative(unknowns: Sequence[Ball]) -> list[list[Ball]]:
        point, multipliers = full(unknowns), unknowns[count:]
        value, _, hessian = system.value_gradient_hessian(point)
        last.update(value=value, hessian=[[hessian[i][j] for j in free] for i in free])
        rows = [list(row) for row in last["hessian"]]
        for tangent, mu in zip(fields, multipliers, strict=True):
            slope = tangent.derivative(point)
            rows = [
                [u + mu * slope[i][j] for u, j in zip(row, free, strict=True)]
                for row, i in zip(rows, free, strict=True)
            ]
        last["tangents"] = [[tangent.value(point)[j] for j in free] for tangent in fields]
        rows = [[*row, *(t[i] for t in last["tangents"])] for i, row in enumerate(rows)]
        return rows + [[*section, *[flint.arb(0)] * more] for section in sections]

    found = krawczyk(function, derivative, [*(given[j] for j in free), *[0.0] * more], precision=precision)
    with flint.ctx.workprec(precision):
        if more:
            negative, zero, positive = bordered_signs(last["hessian"], last["tangents"])
        else:
            (negative, positive), zero = signs(last["hessian"]), 0
    point = tuple(full(found.zero[:count]))
    inertia = Inertia(negative, zero, positive)
    return Certified(point, last["value"], found.radius, found.error, True, inertia, precision, tuple(given))


def measured(system: BallSystem, theta: Sequence[float]) -> tuple[float, float]:
    """Return the risk and the norm of its gradient in the trained blocks at floats, without rounding on the way."""
    with flint.ctx.workprec(2 * PRECISION):
        value, gradient, _ = system.value_gradient_hessian([flint.arb(u) for u in theta])
        return float(value), float(sum((gradient[j] ** 2 for j in system.trained), flint.arb(0)).sqrt())


def outward(ball: Ball) -> tuple[float, float]:
    """Return floats below and above every number in a ball."""
    with flint.ctx.workprec(2 * PRECISION):
        lower, upper = float(ball.lower()), float(ball.upper())
    return math.nextafter(lower, -math.inf), math.nextafter(upper, math.inf)


def decimals(ball: Ball, digits: int) -> str:
    """Return a number with so many significant digits, all but the last of which are right; a ball around 0 as a ball.

    >>> with flint.ctx.workprec(200):
    ...     decimals(flint.arb(2).sqrt(), 30), decimals(flint.arb(0), 30), decimals(flint.arb(0, 1e-40), 30)
    ('1.41421356237309504880168872421', '0', '[+/- 1.01e-40]')
    """
    with flint.ctx.workprec(max(flint.ctx.prec, 4 * digits + 64)):
        if ball.is_zero() or not ball.contains(0):
            return ball.str(digits, radius=False)
        return ball.str(digits)
