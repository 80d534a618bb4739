r"""Zeros given as rational functions of the roots of one polynomial, as programs list them, and tests that they are zeros.

Conjugates of low degree become exact points.  For many, every one gets a box that has exactly one zero; the boxes are disjoint, so
that they are counted without doubt.

>>> from sympy import QQ, ring
>>> T, t = ring("t", QQ)
>>> R, x, y = ring("x,y", QQ)
>>> curve = Parametrised(t**2 + 1, 2 * t, (T(-2), T(-2)))
>>> curve.conjugates().coordinates, curve.enclosed(Boxes([y**2 + 1, x - y]), lambda: None)
((t, t), 2)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mpmath import mp
from sympy.polys.rings import PolyElement

from derivations.algebraic_points import Conjugates
from derivations.polynomial_boxes import Boxes, disjoint

__all__ = ["Parametrised"]

#: Precision of the boxes of zeros that are only counted.
_BITS = 40


@dataclass(frozen=True)
class Parametrised:
    """The points with coordinates ``numerators / denominator`` at the roots of ``polynomial``, all polynomials in t."""

    polynomial: PolyElement
    denominator: PolyElement
    numerators: tuple[PolyElement, ...]

    def conjugates(self) -> Conjugates | None:
        """Return them with coordinates that are polynomials, where the polynomial is irreducible; None without a denominator."""
        q, ring = self.polynomial, self.polynomial.ring
        bottom = self.denominator.rem(q)
        if not bottom:
            return None
        if bottom.degree() == 0:
            inverse = ring(1 / bottom.coeff(1))
        else:
            inverse, _, common = bottom.gcdex(q)
            if common.degree() > 0:
                return None
            inverse = inverse * (1 / common.coeff(1))
        return Conjugates(q, tuple((p.rem(q) * inverse).rem(q) for p in self.numerators))

    def enclosed(self, boxes: Boxes, check: Callable[[], object]) -> int:
        """Count the zeros, complex ones included, for which a box is found that is disjoint from the others.

        Parameters
        ----------
        boxes : Boxes
            The system.
        check : callable
            Called before each of them; it may raise.
        """
        certified: list[list[Any]] = []
        for root in self._roots():
            check()
            real = abs(root.imag) < mp.mpf(10) ** (-30) * max(1, abs(root))
            if root.imag < 0 and not real:
                continue  # its conjugate is tested
            bottom = self._at(self.denominator, root)
            start = [self._at(p, root) / bottom for p in self.numerators]
            box = boxes.certified([u.real for u in start] if real else start, _BITS)
            if box is None or not all(disjoint(box, other) for other in certified):
                continue
            if real:
                certified.append(box)
                continue
            mirror = [u.ctx.mpc(u.real, -u.imag) for u in box]
            if disjoint(box, mirror):
                certified += [box, mirror]
        return len(certified)

    def _roots(self) -> list[Any]:
        """Return approximations of all roots, which Newton's method on the system improves."""
        found, degree = dict(self.polynomial.clear_denoms()[1]), self.polynomial.degree()
        with mp.workdps(self._digits):
            coefficients = [mp.mpf(int(found.get((k,), 0))) for k in range(degree, -1, -1)]
            return list(mp.polyroots(coefficients, maxsteps=400, extraprec=200 + 4 * degree))

    @property
    def _digits(self) -> int:
        return 60 + 2 * self.polynomial.degree()

    def _at(self, polynomial: PolyElement, value: Any) -> Any:
        found = dict(polynomial)
        with mp.workdps(self._digits):
            total = mp.mpf(0)
            for k in range(max(polynomial.degree(), 0), -1, -1):
                c = found.get((k,), 0)
                total = total * value + (mp.mpf(int(c.numerator)) / int(c.denominator) if c else 0)
            return total
