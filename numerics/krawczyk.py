r"""Existence and uniqueness of a zero by Krawczyk's operator, on Arb balls.

For f : R^N -> R^N, a box X, a point c in X and any matrix Y let

.. math:: K = c - Y f(c) + (I - Y F(X))\,(X - c), \qquad F(X) \supseteq \{f'(x) : x \in X\} .

If K lies in the interior of X, then f has exactly one zero in X, the zero lies in K, and every matrix in F(X) is regular.
Proof: by the mean value theorem, row by row, :math:`x - Y f(x) = c - Y f(c) + (I - Y\tilde F)(x - c)` with
:math:`\tilde F \in F(X)`, so that map takes X into K, and Brouwer gives a fixed point.  With :math:`\rho` the radii of X the radius
of K is at least :math:`\lvert I - Y \tilde F\rvert \rho` for every :math:`\tilde F \in F(X)`, hence
:math:`\lvert I - Y\tilde F\rvert\rho < \rho`: the spectral radius is below 1, Y and all :math:`\tilde F` are regular, the fixed
point is a zero, and two zeros would give :math:`\tilde F (x - x') = 0`.

Source: Krawczyk, Computing 4 (1969); Neumaier, Interval Methods for Systems of Equations (1990), Theorem 5.1.8.

>>> found = krawczyk(lambda x: [x[0] ** 2 - 2], lambda x: [[2 * x[0]]], [1.4142135623730951])
>>> found.radius, found.zero[0].overlaps(flint.arb(2).sqrt()), bool(found.error < 1e-15)
(1e-08, True, True)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flint

from numerics.ball_matrices import NotCertified

__all__ = ["PRECISION", "RADII", "Zero", "distance", "krawczyk", "refined"]

Ball = Any
Matrix = Any
Function = Callable[[Sequence[Ball]], Sequence[Ball]]
Derivative = Callable[[Sequence[Ball]], Sequence[Sequence[Ball]]]

#: Working precision in bits: cancellation in the gradient of a critical point costs up to 50 of them.
PRECISION = 128
#: Radii tried in turn.  Boxes of radius 1e-8 are safe for Hessians with condition number up to 1e6; the smaller ones are for
#: worse conditioned points.
RADII = (1e-8, 1e-10, 1e-12, 1e-14)
#: A box has at least this many times the distance from the given point to the zero as its radius.
ROOM = 4.0
LARGEST_RADIUS = 1e-4
#: A zero is enclosed to all but so many of the bits.
LOST_BITS = 48
#: Newton steps before a point is given up; a polished point needs two, and one more for each 10 digits asked for.
MOST_STEPS = 12


@dataclass(frozen=True)
class Zero:
    """The only zero in a box.

    Attributes
    ----------
    centre : tuple of float
        The point that was given, the middle of the box.
    radius : float
        Radius of the box in every coordinate: there is exactly one zero in it.
    zero : tuple of balls
        Enclosure of the zero.
    error : float
        Bound of the distance, in every coordinate, between ``centre`` and the zero.
    derivative : sequence of sequences of balls
        Enclosure of the derivative over ``zero``.
    precision : int
        Bits that were used.
    """

    centre: tuple[float, ...]
    radius: float
    zero: tuple[Ball, ...]
    error: float
    derivative: Sequence[Sequence[Ball]]
    precision: int


def krawczyk(
    function: Function,
    derivative: Derivative,
    point: Sequence[float],
    *,
    radii: Sequence[float] = RADII,
    precision: int = PRECISION,
) -> Zero:
    """Show that there is exactly one zero next to a point.

    Parameters
    ----------
    function, derivative : callable
        Take N balls; return enclosures of f (N) and of its derivative (N, N), at the precision of ``flint.ctx``.
    point : sequence of float
        An approximate zero, close enough for Newton's method.
    radii : sequence of float
        Radii to try, decreasing.
    precision : int
        Bits; the enclosure of the zero has about as many correct ones.

    Raises
    ------
    NotCertified
        If no box of these radii is shown to hold exactly one zero.
    """
    with flint.ctx.workprec(precision):
        given = [flint.arb(u) for u in point]
        inverse, centre = _polished(function, derivative, given)
        image = _column([u - v for u, v in zip(centre, _times(inverse, function(centre)), strict=True)])
        away = distance(centre, given)
        if not 2 * ROOM * away <= LARGEST_RADIUS:
            raise NotCertified(
                f"Newton's method moves the point by {away:.1g}: the Hessian is nearly singular, or there is none next to it"
            )
        tried = sorted({*radii, 2 * ROOM * away} - {0.0}, reverse=True)
        for radius in tried:
            if ROOM * away > radius:
                break
            box = [flint.arb(u, radius) for u in point]
            image_of_box = _operator(derivative(box), inverse, image, centre, box)
            if distance(image_of_box, given) < radius:
                zero, slopes = _narrowed(derivative, inverse, image, centre, image_of_box)
                return Zero(tuple(point), radius, tuple(zero), distance(zero, given), slopes, precision)
    raise NotCertified(
        f"no box of radius {max(ROOM * away, min(tried)):.1g} to {tried[0]:.1g} is mapped into itself by Krawczyk's operator: the"
        " Hessian is singular or nearly so, or the point is not polished"
    )


def refined(
    function: Function, derivative: Derivative, point: Sequence[float], *, precision: int = PRECISION
) -> list[float]:
    """Return the floats next to the zero that Newton's method finds from a point.

    Raises
    ------
    NotCertified
        If it does not settle, or moves the point by more than ``LARGEST_RADIUS``.
    """
    with flint.ctx.workprec(precision):
        given = [flint.arb(u) for u in point]
        _, centre = _polished(function, derivative, given)
        away = distance(centre, given)
        if not away <= LARGEST_RADIUS:
            raise NotCertified(
                f"Newton's method moves the point by {away:.1g}: the Hessian is nearly singular, or there is none next to it"
            )
        return [float(u) for u in centre]


def _polished(function: Function, derivative: Derivative, given: Sequence[Ball]) -> tuple[Matrix, list[Ball]]:
    """Return an approximate inverse of the derivative, and the given point after Newton steps."""
    goal, centre, inverse = _goal(), list(given), None
    for step in range(MOST_STEPS + flint.ctx.prec // 33):
        if step % 4 == 0:
            inverse = _inverse(derivative(centre))
        move = _times(inverse, function(centre))
        centre = [(u - v).mid() for u, v in zip(centre, move, strict=True)]
        if all(_upper(v) <= goal * (1 + _upper(u)) for u, v in zip(centre, move, strict=True)):
            break
    else:
        raise NotCertified(
            "Newton's method does not settle: the Hessian is singular, or there is no critical point next to this one"
        )
    # Each box is narrower by the error of the inverse, that of the point it was taken at.
    return (_inverse(derivative(centre)) if flint.ctx.prec > 2 * PRECISION else inverse), centre


def _narrowed(
    derivative: Derivative, inverse: Matrix, image: Matrix, centre: Sequence[Ball], box: Sequence[Ball]
) -> tuple[Sequence[Ball], Sequence[Sequence[Ball]]]:
    """Return K of a box that holds a zero, of that box again, ... while it gets narrower, and the derivative over the last."""
    goal = _goal()
    width = _width(box)
    while True:
        slopes = derivative(box)
        smaller = _operator(slopes, inverse, image, centre, box)
        before, width = width, _width(smaller)
        if not width < before / 2:
            return box, slopes
        box = smaller
        if width <= goal * (1 + max(map(_upper, centre))):
            return box, slopes


def _goal() -> float:
    return 2.0 ** max(LOST_BITS - flint.ctx.prec, -1000)


def _width(box: Sequence[Ball]) -> float:
    """Return the largest radius in a box."""
    return distance(box, [u.mid() for u in box])


def _inverse(rows: Sequence[Sequence[Ball]]) -> Matrix:
    """Return a matrix close to the inverse; it need not be exact."""
    if not rows:
        return flint.arb_mat(0, 0)
    middle = flint.arb_mat([[u.mid() for u in row] for row in rows])
    try:
        return middle.inv().mid()
    except ZeroDivisionError:
        raise NotCertified("the Hessian is singular to working precision") from None


def _column(entries: Sequence[Ball]) -> Matrix:
    return flint.arb_mat(len(entries), 1, list(entries))


def _times(matrix: Matrix, entries: Sequence[Ball]) -> list[Ball]:
    return (matrix * _column(entries)).entries()


def _operator(
    slopes: Sequence[Sequence[Ball]],
    inverse: Matrix,
    image: Matrix,
    centre: Sequence[Ball],
    box: Sequence[Ball],
) -> list[Ball]:
    """Return K for a box, ``image`` being c - Y f(c)."""
    count = len(centre)
    if not count:
        return []
    rest = -(inverse * flint.arb_mat([list(row) for row in slopes]))
    for i in range(count):
        rest[i, i] += 1
    away = _column([u - v for u, v in zip(box, centre, strict=True)])
    return (image + rest * away).entries()


def distance(box: Sequence[Ball], point: Sequence[Ball]) -> float:
    """Return a bound of the distance of a point from all points of a box, in the maximum norm; nan where there is none."""
    found = [_upper(u - v) for u, v in zip(box, point, strict=True)]
    return math.nan if any(map(math.isnan, found)) else max(found, default=0.0)


def _upper(ball: Ball) -> float:
    """Return a float that is at least the modulus of every number in a ball; infinite or nan where there is no bound."""
    return math.nextafter(float(ball.abs_upper()), math.inf)  # the conversion may have rounded down
