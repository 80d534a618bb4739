r"""Boxes that contain exactly one zero of a polynomial system, real or complex, by Krawczyk's test in interval arithmetic.

For a box X with midpoint x, J an enclosure of the Jacobian on X and Y near the inverse of J(x),

.. math:: K = x - Y f(x) + (I - Y J)(X - x) \subset \operatorname{int} X

proves one zero in X and no other, and that the Jacobian is nonsingular there (Krawczyk 1969; Moore 1977).  A box around a real point
whose test holds in real arithmetic has a real zero.

>>> from sympy import QQ, ring
>>> R, x, y = ring("x,y", QQ)
>>> system = Boxes([x**2 + y**2 - 2, x - y])
>>> box = system.certified([1.0, 1.0])
>>> [float(u.mid.a) for u in box], system.certified([0.0, 0.0]) is None
([1.0, 1.0], True)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpmath import mp
from mpmath.ctx_iv import MPIntervalContext
from sympy.polys.rings import PolyElement

__all__ = ["BoxPoint", "Boxes", "disjoint", "interval_value", "signs"]

#: Radii tried for a box around a zero that Newton's method has found, relative to 2 to the power of minus the precision.
_INFLATIONS = (8, 20, 40, 70)
_NEWTON_STEPS = 60
#: What mpmath raises for a singular matrix: also a TypeError, where every candidate for a pivot vanishes.
_SINGULAR = (ZeroDivisionError, TypeError)


def interval_value(polynomial: PolyElement, box: Sequence[Any], iv: Any) -> Any:
    """Return an enclosure of the values of a polynomial with rational coefficients on a box, real or complex."""
    powers: dict[tuple[int, int], Any] = {}
    total = iv.mpf(0)
    for monomial, coefficient in polynomial.terms():
        term = iv.mpf(int(coefficient.numerator)) / int(coefficient.denominator)
        for j, power in enumerate(monomial):
            if power:
                if (j, power) not in powers:
                    powers[j, power] = _power(box[j], power)
                term = powers[j, power] * term
        total = total + term
    return total


def _power(base: Any, exponent: int) -> Any:
    out = None
    while exponent:
        if exponent & 1:
            out = base if out is None else out * base
        exponent >>= 1
        if exponent:
            base = base * base
    return out


def signs(value: Any) -> int:
    """Return 1 or -1 where every number of a real interval has that sign, else 0."""
    return 1 if value.a > 0 else -1 if value.b < 0 else 0


def disjoint(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two boxes have no point in common, for certain."""
    for u, v in zip(one, other, strict=True):
        for p, q in ((u.real, v.real), (u.imag, v.imag)):
            if p.a > q.b or q.a > p.b:
                return True
    return False


class Boxes:
    """A square system of polynomials over the rationals, and tests for boxes.

    Parameters
    ----------
    equations : sequence of polynomials
        As many as unknowns.
    jacobian : rows of polynomials, optional
        Its derivatives where they are known, such as a Hessian.
    """

    def __init__(
        self, equations: Sequence[PolyElement], jacobian: Sequence[Sequence[PolyElement]] | None = None
    ) -> None:
        self.equations = tuple(equations)
        gens = equations[0].ring.gens
        if len(gens) != len(equations):
            raise ValueError(
                f"{len(equations)} equations in {len(gens)} unknowns; Krawczyk's test needs as many of both"
            )
        self.jacobian = jacobian or [[f.diff(g) for g in gens] for f in equations]

    def certified(self, start: Sequence[Any], bits: int = 100) -> list[Any] | None:
        """Return a box near ``start`` that has exactly one zero, to about ``bits`` bits; None where that is not shown.

        A start of real numbers is searched among real numbers, and the zero is then real.
        """
        real = all(not getattr(u, "imag", 0) for u in start)
        with mp.workprec(2 * bits + 40):
            point = self._newton([_start(u) if real else mp.mpc(u) for u in start])
            if point is None:
                return None
            inverse = self._inverse(point)
            if inverse is None:
                return None
        iv = MPIntervalContext()
        iv.prec = 2 * bits + 40
        scale = max(1.0, max(float(abs(u)) for u in point))
        for inflation in _INFLATIONS:
            radius = mp.mpf(2) ** (inflation - bits - 8) * scale
            box = [_ball(iv, u, radius, real) for u in point]
            if self._holds(iv, point, inverse, box, real):
                return box
        return None

    def _newton(self, point: list[Any]) -> list[Any] | None:
        before = None
        for _ in range(_NEWTON_STEPS):
            value = mp.matrix([_number(f, point) for f in self.equations])
            matrix = mp.matrix([[_number(g, point) for g in row] for row in self.jacobian])
            try:
                step = mp.lu_solve(matrix, value)
            except _SINGULAR:
                return None
            point = [u - step[j] for j, u in enumerate(point)]
            size = max(abs(s) for s in step)
            if size > 1e30:
                return None
            if size <= mp.eps * 2**8 * max(1, *[abs(u) for u in point]):
                return point
            if before is not None and size >= before and size < mp.eps * 2**40:
                return point
            before = size
        return None

    def _inverse(self, point: list[Any]) -> Any:
        try:
            return mp.inverse(mp.matrix([[_number(g, point) for g in row] for row in self.jacobian]))
        except _SINGULAR:
            return None

    def _holds(self, iv: Any, point: list[Any], inverse: Any, box: list[Any], real: bool) -> bool:
        """Whether Krawczyk's operator maps the box into its interior."""
        size = len(point)
        middle = [_ball(iv, u, None, real) for u in point]
        y = [[_ball(iv, inverse[j, k], None, real) for k in range(size)] for j in range(size)]
        value = [interval_value(f, middle, iv) for f in self.equations]
        matrix = [[interval_value(g, box, iv) for g in row] for row in self.jacobian]
        offset = [u - v for u, v in zip(box, middle, strict=True)]
        for j in range(size):
            image = middle[j] - sum((y[j][k] * value[k] for k in range(size)), iv.mpf(0))
            for k in range(size):
                entry = (1 if j == k else 0) - sum((y[j][l] * matrix[l][k] for l in range(size)), iv.mpf(0))
                image = image + entry * offset[k]
            parts = [(image, box[j])] if real else [(image.real, box[j].real), (image.imag, box[j].imag)]
            if not all(inner.a > outer.a and inner.b < outer.b for inner, outer in parts):
                return False
        return True


class BoxPoint:
    """The one real zero in a certified box; the Jacobian there is nonsingular.

    Parameters
    ----------
    system : Boxes
        Whose zero it is.
    start : list of intervals
        The box, as ``certified`` gives it.
    """

    def __init__(self, system: Boxes, start: list[Any]) -> None:
        self.system, self.start = system, start
        self._known: dict[int, list[Any]] = {}

    def box(self, bits: int) -> list[Any]:
        """Return a box of about so many bits that contains it and no other zero.

        Raises
        ------
        ArithmeticError
            If the test does not succeed inside the first box, which it does from some precision on.
        """
        if bits not in self._known:
            with mp.workprec(4 * bits + 80):
                centre = [mp.mpf(u.mid.a) for u in self.start]
            found = self.system.certified(centre, bits)
            if found is None or any(v.b < u.a or u.b < v.a for u, v in zip(self.start, found, strict=True)):
                raise ArithmeticError(f"a zero could not be enclosed to {bits} bits")
            self._known[bits] = found
        return self._known[bits]

    def enclosure(self, polynomial: PolyElement, bits: int) -> Any:
        """Return an interval that contains the value of a polynomial at the point."""
        box = self.box(bits)
        return interval_value(polynomial, box, box[0].ctx)


def _start(value: Any) -> Any:
    """Return a number given as a float, a rational, or in the arithmetic of mpmath, rounded."""
    if hasattr(value, "denominator"):
        return mp.mpf(int(value.numerator)) / int(value.denominator)
    return mp.mpf(value.real)


def _number(polynomial: PolyElement, point: Sequence[Any]) -> Any:
    total = mp.mpf(0)
    for monomial, coefficient in polynomial.terms():
        term = mp.mpf(int(coefficient.numerator)) / int(coefficient.denominator)
        for u, power in zip(point, monomial, strict=True):
            if power:
                term = term * u**power
        total += term
    return total


def _ball(iv: Any, centre: Any, radius: Any, real: bool) -> Any:
    """Return an interval or a rectangle; a radius of None gives the point."""
    spread = iv.mpf(0) if radius is None else iv.mpf([-radius, radius])
    if real:
        return iv.mpf(centre) + spread
    return iv.mpc(iv.mpf(centre.real) + spread, iv.mpf(centre.imag) + spread)
