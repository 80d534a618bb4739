r"""Real points whose coordinates are polynomials in one root of a polynomial over the rationals.

Such points are conjugates: :math:`x_j = g_j(t)` with :math:`q(t) = 0`, q irreducible.  A sign is read off an enclosure that is narrowed
until it excludes zero; that a number is zero is decided by its residue modulo q, which vanishes or has no common root with q.

>>> from sympy import QQ, ring
>>> T, t = ring("t", QQ)
>>> R, x, y = ring("x,y", QQ)
>>> family = Conjugates(t**2 - 2, (t, t**2 + t))
>>> low, high = family.real_points()
>>> low.sign(x), high.sign(y - x - 2), [str(u) for u in high.exact(8)]
(-1, 0, ['sqrt(2)', 'sqrt(2) + 2'])
>>> family.satisfies([x**2 - 2, x * y - 2 * x - 2])
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mpmath.ctx_iv import MPIntervalContext
from sympy import QQ, CRootOf, Expr, Poly, Rational, Symbol, sqrt
from sympy.polys.rings import PolyElement

from derivations.polynomial_boxes import interval_value, signs

__all__ = ["AlgebraicPoint", "Conjugates"]

#: Bits at which a sign is first looked for, and at which its residue is computed if it is still open.
_FIRST_BITS, _EXACT_BITS, _MOST_BITS = 64, 256, 2**17


@dataclass(frozen=True)
class Conjugates:
    """All points with coordinates ``coordinates`` at the roots of ``minimal``.

    Parameters
    ----------
    minimal : polynomial in t
        Irreducible over the rationals.
    coordinates : tuple of polynomials in t
        Of lower degree.
    """

    minimal: PolyElement
    coordinates: tuple[PolyElement, ...]

    @property
    def degree(self) -> int:
        """Number of points, complex ones included."""
        return self.minimal.degree()

    def real_points(self) -> tuple[AlgebraicPoint, ...]:
        """Return the real ones, t increasing; their number is exact."""
        if self.degree == 1:
            return (AlgebraicPoint(self, 0, (self._rational_root, self._rational_root)),)
        found = Poly(self.minimal.as_expr(), Symbol("t")).intervals()
        return tuple(
            AlgebraicPoint(self, k, tuple(map(_fraction, ends))) for k, (ends, _) in enumerate(found)
        )

    @property
    def _rational_root(self) -> Any:
        return -self.minimal.coeff(1) / self.minimal.LC

    def residue(self, polynomial: PolyElement) -> PolyElement:
        """Return the value of a polynomial in the unknowns, a polynomial in t reduced modulo the minimal one."""
        total = self.minimal.ring.zero
        for monomial, coefficient in polynomial.terms():
            term = self.minimal.ring(coefficient)
            for j, power in enumerate(monomial):
                if power:
                    term = (term * self._power(j, power)).rem(self.minimal)
            total += term
        return total.rem(self.minimal)

    def _power(self, j: int, power: int) -> PolyElement:
        if (j, power) not in self._powers:
            lower = self.coordinates[j] if power == 1 else self._power(j, power - 1) * self.coordinates[j]
            self._powers[j, power] = lower.rem(self.minimal)
        return self._powers[j, power]

    @cached_property
    def _powers(self) -> dict[tuple[int, int], PolyElement]:
        return {}

    def satisfies(self, equations: Sequence[PolyElement]) -> bool:
        """Whether all equations hold at these points, exactly."""
        return all(not self.residue(f) for f in equations)


@dataclass(frozen=True)
class AlgebraicPoint:
    """One real point of a family: that at the root number ``number``, inside ``ends``."""

    family: Conjugates
    number: int
    ends: tuple[Any, Any]

    def box(self, bits: int) -> list[Any]:
        """Return intervals that contain the coordinates, of relative width about 2 to the power of -bits."""
        iv = MPIntervalContext()
        iv.prec = 2 * bits + 60
        lower, upper = self._narrowed(bits)
        t = iv.mpf(
            [
                iv.mpf(int(lower.numerator)) / int(lower.denominator),
                iv.mpf(int(upper.numerator)) / int(upper.denominator),
            ]
        )
        return [_horner(g, t, iv) for g in self.family.coordinates]

    def _narrowed(self, bits: int) -> tuple[Any, Any]:
        """Bisect until the root is known to so many bits, at ends with a power of 2 below."""
        known = self._cache
        lower, upper = known.get("ends", self.ends)
        if lower == upper:
            return lower, upper
        q = self.family.minimal
        left = known.setdefault("left", _sign_at(q, lower))
        width = QQ(1, 2 ** (bits + 8))
        spare = sum(len(bin(int(c.numerator))) for c in q.coeffs()[:1])
        while upper - lower > width * max(1, abs(lower)) / (1 + spare):
            middle = _dyadic((lower + upper) / 2, upper - lower)
            side = _sign_at(q, middle)
            if side == 0:
                lower = upper = middle
            elif side == left:
                lower = middle
            else:
                upper = middle
        known["ends"] = lower, upper
        return lower, upper

    @cached_property
    def _cache(self) -> dict[str, Any]:
        return {}

    def enclosure(self, polynomial: PolyElement, bits: int) -> Any:
        """Return an interval that contains the value of a polynomial at the point."""
        box = self.box(bits)
        return interval_value(polynomial, box, box[0].ctx)

    def sign(self, polynomial: PolyElement) -> int:
        """Return the sign of the value of a polynomial at the point, exactly."""
        bits = _FIRST_BITS
        while bits <= _MOST_BITS:
            found = signs(self.enclosure(polynomial, bits))
            if found:
                return found
            if bits == _EXACT_BITS and not self.family.residue(polynomial):
                return 0
            bits *= 2
        raise ArithmeticError(f"the sign of a number that is not zero shows only beyond {_MOST_BITS} bits")

    def is_zero(self, polynomial: PolyElement) -> bool:
        """Whether a polynomial vanishes at the point, exactly."""
        return not signs(self.enclosure(polynomial, _FIRST_BITS)) and not self.family.residue(polynomial)

    def exact(self, most: int) -> tuple[Expr, ...] | None:
        """Return the coordinates as exact numbers: rational, with square roots, or in a ``CRootOf``; None above degree ``most``."""
        q, degree = self.family.minimal, self.family.degree
        if degree > most:
            return None
        t = Symbol("t")
        root: Expr
        if degree == 1:
            root = _rational(self.family._rational_root)
        elif degree == 2:
            a, b, c = (_rational(q.coeff(q.ring.gens[0] ** k) if k else q.coeff(1)) for k in (2, 1, 0))
            side = 1 if (self.number == 1) == (a > 0) else -1
            root = (-b + side * sqrt(b**2 - 4 * a * c)) / (2 * a)
        else:
            root = CRootOf(Poly(q.as_expr(), t), self.number)
        return tuple(g.as_expr(t).subs(t, root).expand() for g in self.family.coordinates)


def _rational(u: Any) -> Rational:
    return Rational(int(u.numerator), int(u.denominator))


def _fraction(u: Any) -> Any:
    return QQ(int(u.p), int(u.q)) if hasattr(u, "p") else QQ(int(u.numerator), int(u.denominator))


def _dyadic(value: Any, width: Any) -> Any:
    """Round to a number with a power of 2 below, by less than a quarter of the width."""
    shift = max(0, int(width.denominator).bit_length() - int(width.numerator).bit_length() + 4)
    return QQ((int(value.numerator) << shift) // int(value.denominator), 1 << shift)


def _sign_at(polynomial: PolyElement, at: Any) -> int:
    total = QQ.zero
    for coefficient in _dense(polynomial):
        total = total * at + coefficient
    return (total > 0) - (total < 0)


def _dense(polynomial: PolyElement) -> list[Any]:
    """Return the coefficients, that of the highest power first."""
    found = dict(polynomial)
    return (
        [found.get((k,), QQ.zero) for k in range(max(polynomial.degree(), 0), -1, -1)]
        if polynomial
        else [QQ.zero]
    )


def _horner(polynomial: PolyElement, t: Any, iv: Any) -> Any:
    total = iv.mpf(0)
    for coefficient in _dense(polynomial):
        total = total * t + iv.mpf(int(coefficient.numerator)) / int(coefficient.denominator)
    return total
