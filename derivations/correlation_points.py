r"""All KKT points of the neural correlation of one neuron on the circle, exactly.

For an activation that is positively homogeneous of integer degree p, data in the plane and

.. math:: G(u) = \sum_i y_i \sigma(u \cdot x_i), \qquad |u| = 1,

the kinks :math:`u \cdot x_i = 0` cut the circle into arcs on each of which G is a binary form of degree p.  A point is KKT iff 0
lies between the tangential derivatives :math:`c = u_1 \partial_2 G - u_2 \partial_1 G` of the two arcs at it, which is the Clarke condition
:math:`\mu u \in \partial G(u)`, :math:`\mu = p\,G(u)` by Euler.  Inside an arc c is a polynomial whose real roots are isolated exactly; at a kink
the exact subdifferential is the segment between the gradients of the two adjacent arcs, whatever number of parallel or antipodal
data meet there.  So the list is complete.

Source: Kumar, Haupt, arXiv:2402.09226, Section 2 for the problem; the enumeration is elementary.

>>> from sympy import Rational
>>> x = [[1, Rational(1, 2)], [Rational(-3, 10), 1], [Rational(3, 5), Rational(-4, 5)]]
>>> found = correlation_points("relu", x, [1, Rational(-1, 2), Rational(4, 5)])
>>> [(p.direction, p.value, p.kind, p.slopes) for p in found.points if p.kink]
[((-sqrt(5)/5, 2*sqrt(5)/5), -23*sqrt(5)/100, 'minimum', {1: 2/25})]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from sympy import Add, CRootOf, Expr, Integer, Poly, Symbol, expand, radsimp, sqrt, sqrtdenest

from derivations.activations import Activation, Z, activation
from derivations.errors import AssumptionError
from derivations.exact_lp import exact_numbers, exact_sign

__all__ = ["CorrelationPoint", "CorrelationPoints", "correlation_points"]

_S = Symbol("s", real=True)
_Vector = tuple[Expr, Expr]


@dataclass(frozen=True)
class CorrelationPoint:
    r"""One KKT point :math:`u` of G on the circle.

    Parameters
    ----------
    direction : tuple of Expr
        The unit vector u.
    value : Expr
        G(u).
    degree : int
        Degree p of homogeneity.
    kind : str
        ``maximum`` or ``minimum`` of G on the circle, strict; ``inflection`` where G is monotone through the point.
    kink : tuple of int
        Samples (from 1) with u . x_i = 0 at which the gradient of G jumps.
    slopes : dict
        For the samples on a kink the Clarke coefficient that stands for sigma'(0); with several of them one of the
        possible choices, all from the same convex combination.
    """

    direction: _Vector
    value: Expr
    degree: int
    kind: str
    kink: tuple[int, ...] = ()
    slopes: dict[int, Expr] | None = None

    @property
    def multiplier(self) -> Expr:
        r"""Multiplier of :math:`(|u|^2 - 1)/2`, :math:`\mu = p\,G(u)`."""
        return self.degree * self.value

    @property
    def attracting(self) -> bool:
        """Whether |G| has a strict local maximum: then it attracts the direction of a neuron with a of the sign of G."""
        return self.kind == ("maximum" if exact_sign(self.value) > 0 else "minimum") and self.value != 0

    @property
    def neuron(self) -> tuple[Expr, _Vector]:
        r"""The neuron (a, w) on the unit sphere, KKT for :math:`a \sum_i y_i \sigma(w \cdot x_i)` with a nonnegative value.

        Stationarity in a and w gives :math:`|w|^2 = p\,a^2`; a has the sign of G.

        Raises
        ------
        ValueError
            If G vanishes: the sign of a is not determined.
        """
        if self.value == 0:
            raise ValueError("G vanishes at this point; every sign of a gives the value 0")
        p = Integer(self.degree)
        length = sqrt(p / (1 + p))
        return exact_sign(self.value) / sqrt(1 + p), (length * self.direction[0], length * self.direction[1])


@dataclass(frozen=True)
class CorrelationPoints:
    """The complete list.

    Parameters
    ----------
    points : tuple of CorrelationPoint
        Isolated KKT points, counter-clockwise from direction (1, 0).
    arcs : tuple
        Closed arcs of KKT points (first and last direction, not normalised, counter-clockwise; equal for the whole circle)
        with the constant value of G: dead cones, and round quadratic forms.
    """

    points: tuple[CorrelationPoint, ...]
    arcs: tuple[tuple[_Vector, _Vector, Expr], ...]

    @property
    def best(self) -> Expr | None:
        """Largest |G| over the isolated points."""
        sizes = [p.value * exact_sign(p.value) for p in self.points]
        return max(sizes, key=cmp_to_key(_difference), default=None)


@dataclass(frozen=True)
class _Arc:
    """Open arc between two rays at most 90 degrees apart; c in the parameter of (1 - s) start + s end."""

    start: _Vector
    end: _Vector
    coefficients: tuple[Expr, ...]  # of z_i^p, one for each sample
    c: Poly

    @property
    def constant(self) -> bool:
        return self.c.is_zero

    def edge_sign(self, end: bool) -> int:
        """Sign of c inside the arc next to its start or end."""
        poly = self.c.compose(Poly(1 - _S, _S)) if end else self.c
        return exact_sign(next(u for u in reversed(poly.all_coeffs()) if u != 0)) if not self.constant else 0


def correlation_points(
    sigma: str | Activation, x: Sequence[Sequence[Any]], y: Sequence[Any]
) -> CorrelationPoints:
    """Return every KKT point of the correlation of one neuron with two weights.

    Parameters
    ----------
    sigma : str or Activation
        Positively homogeneous of a positive integer degree: relu, leaky relu, abs, linear, quadratic, cubic, ...
    x, y : nested lists of exact numbers
        (n, 2) and (n,).  A bias is a second input equal to 1.  From degree 3 on the numbers must be rational.

    Raises
    ------
    ValueError
        If shapes do not fit or numbers are not exact.
    AssumptionError
        If sigma is not shown to be homogeneous of a positive integer degree.
    """
    sigma = activation(sigma) if isinstance(sigma, str) else sigma
    p = sigma.homogeneity_degree
    if p is None or not p.is_Integer or p < 1:
        raise AssumptionError(
            f"the KKT points on the circle need z sigma'(z) = p sigma(z) with a positive integer p, got {sigma.name} with p = {p}; "
            "use relu, leaky relu, abs or a monomial"
        )
    if not x or len(x) != len(y) or any(isinstance(row, str) or len(row) != 2 for row in x):
        raise ValueError(
            f"x has {len(x)} rows of lengths {sorted({len(row) for row in x})} and y {len(y)} entries; required are (n, 2) and (n,)"
        )
    points = [(u, v) for u, v in (exact_numbers(row, "x") for row in x)]
    labels = exact_numbers(y, "y")
    if p > 2 and not all(u.is_Rational for u in (*(v for row in points for v in row), *labels)):
        raise ValueError(
            f"degree {p} needs rational data, since the roots of forms with other coefficients are not isolated"
        )
    solver = _Circle(int(p), sigma, points, labels)
    return solver.solve()


class _Circle:
    def __init__(self, p: int, sigma: Activation, x: list[_Vector], y: tuple[Expr, ...]) -> None:
        self.p, self.x, self.y = p, x, y
        # sigma(z) = above z^p for z > 0 and below z^p for z < 0.
        self.above = sigma.derivative(0).subs(Z, 1)
        self.below = sigma.derivative(0).subs(Z, -1) * (-1) ** p
        rays = self._rays()
        self.arcs = [self._arc(a, b) for a, b in zip(rays, [*rays[1:], rays[0]], strict=True)]

    def _rays(self) -> list[_Vector]:
        """Both directions of every kink and of the axes, counter-clockwise; the axes keep arcs below 180 degrees."""
        one, zero = Integer(1), Integer(0)
        found: list[_Vector] = []
        for u, v in [(one, zero), (zero, one), *self.x]:
            if all(exact_sign(t) == 0 for t in (u, v)):
                continue
            for ray in ((-v, u), (v, -u)):
                if not any(_compare(ray, other) == 0 for other in found):
                    found.append(ray)
        return sorted(found, key=cmp_to_key(_compare))

    def _arc(self, start: _Vector, end: _Vector) -> _Arc:
        inside = (start[0] + end[0], start[1] + end[1])
        coefficients = tuple(self.above if exact_sign(_dot(v, inside)) > 0 else self.below for v in self.x)
        u = tuple((1 - _S) * a + _S * b for a, b in zip(start, end, strict=True))
        c = Add(
            *[
                y * k * self.p * _dot(v, u) ** (self.p - 1) * (u[0] * v[1] - u[1] * v[0])
                for y, k, v in zip(self.y, coefficients, self.x, strict=True)
            ]
        )
        coeffs = Poly(expand(c), _S).all_coeffs()
        while coeffs and exact_sign(coeffs[0]) == 0:
            coeffs.pop(0)
        return _Arc(start, end, coefficients, Poly([u if exact_sign(u) else 0 for u in coeffs] or [0], _S))

    def solve(self) -> CorrelationPoints:
        points = []
        for before, arc in zip([self.arcs[-1], *self.arcs[:-1]], self.arcs, strict=True):
            if (found := self._at_ray(before, arc)) is not None:
                points.append(found)
            sign = arc.edge_sign(end=False)
            for root, multiplicity in _roots(arc.c):
                after = -sign if multiplicity % 2 else sign
                u = tuple((1 - root) * a + root * b for a, b in zip(arc.start, arc.end, strict=True))
                points.append(self._point((u[0], u[1]), sign, after))
                sign = after
            assert sign == arc.edge_sign(end=True)
        return CorrelationPoints(tuple(points), self._constant_arcs())

    def _at_ray(self, before: _Arc, after: _Arc) -> CorrelationPoint | None:
        """Return the KKT point on the ray between two arcs, None if there is none or it belongs to an arc of them."""
        if before.constant or after.constant:
            return None
        left, right = before.c.eval(1), after.c.eval(0)
        if exact_sign(left) * exact_sign(right) > 0:
            return None
        u, jump = after.start, exact_sign(left - right) != 0
        on = [i for i, v in enumerate(self.x, start=1) if jump and exact_sign(_dot(v, u)) == 0 and any(v)]
        slopes: dict[int, Expr] = {}
        if jump:
            # 0 = (1 - t) left + t right; the coefficient of z is the slope, as p = 1 where the gradient jumps.
            t = radsimp(left / (left - right))
            slopes = {
                i: radsimp((1 - t) * before.coefficients[i - 1] + t * after.coefficients[i - 1]) for i in on
            }
        return self._point(u, before.edge_sign(end=True), after.edge_sign(end=False), tuple(on), slopes)

    def _point(
        self,
        u: _Vector,
        before: int,
        after: int,
        kink: tuple[int, ...] = (),
        slopes: dict[int, Expr] | None = None,
    ) -> CorrelationPoint:
        kind = "maximum" if before > after else "minimum" if before < after else "inflection"
        length = sqrt(expand(_dot(u, u)))
        unit = (_neat(u[0] / length), _neat(u[1] / length))
        return CorrelationPoint(unit, self._value(u), self.p, kind, kink, slopes or {})

    def _value(self, u: _Vector) -> Expr:
        """G at u / |u|."""
        terms = []
        for y, v in zip(self.y, self.x, strict=True):
            z = expand(_dot(v, u))
            terms.append(y * (self.above if exact_sign(z) > 0 else self.below) * z**self.p)
        return _neat(expand(Add(*terms)) / sqrt(expand(_dot(u, u))) ** self.p)

    def _constant_arcs(self) -> tuple[tuple[_Vector, _Vector, Expr], ...]:
        """Join neighbouring arcs on which G is constant."""
        count = len(self.arcs)
        first = next((j for j, arc in enumerate(self.arcs) if not arc.constant), None)
        if first is None:
            start = self.arcs[0].start
            return ((start, start, self._value(start)),)
        found: list[tuple[_Vector, _Vector, Expr]] = []
        previous = False
        for j in range(first, first + count):
            arc = self.arcs[j % count]
            if arc.constant:
                start = found.pop()[0] if previous else arc.start
                found.append((start, arc.end, self._value(arc.end)))
            previous = arc.constant
        return tuple(found)


def _dot(u: Sequence[Expr], v: Sequence[Expr]) -> Expr:
    return u[0] * v[0] + u[1] * v[1]


def _difference(u: Expr, v: Expr) -> int:
    return exact_sign(u - v)


def _compare(u: _Vector, v: _Vector) -> int:
    """Compare the angles in [0, 360) of two directions exactly."""
    halves = []
    for w in (u, v):
        up = exact_sign(w[1])
        halves.append(0 if up > 0 or (up == 0 and exact_sign(w[0]) > 0) else 1)
    if halves[0] != halves[1]:
        return halves[0] - halves[1]
    return -exact_sign(u[0] * v[1] - u[1] * v[0])


def _roots(c: Poly) -> list[tuple[Expr, int]]:
    """Return the roots inside (0, 1) in increasing order with their multiplicities."""
    if c.is_zero or c.degree() == 0:
        return []
    if c.degree() == 1:
        a, b = c.all_coeffs()
        found = [(-b / a, 1)]
    elif c.degree() == 2:
        a, b, d = c.all_coeffs()
        square = expand(b**2 - 4 * a * d)
        sign = exact_sign(square)
        root = sqrt(square)
        pair = sorted((-1, 1), key=lambda e: e * exact_sign(a))
        found = (
            []
            if sign < 0
            else [(-b / (2 * a), 2)]
            if sign == 0
            else [((-b + e * root) / (2 * a), 1) for e in pair]
        )
    else:
        found = list(c.real_roots(multiple=False))
    return [(u, k) for u, k in found if _inside(u)]


def _inside(u: Expr) -> bool:
    if u.has(CRootOf):  # known by an isolating interval: comparisons refine it
        return bool(u > 0) and bool(u < 1)
    return exact_sign(u) > 0 and exact_sign(1 - u) > 0


def _neat(u: Expr) -> Expr:
    """Return a number with a rational denominator; roots of degree 3 and more are left as they are."""
    return u if u.has(CRootOf) else sqrtdenest(radsimp(u))
