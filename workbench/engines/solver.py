r"""All solutions of a polynomial system over the rationals, by the programs that are there, with what is proved of the list.

Singular decomposes exactly.  For finitely many solutions msolve is much faster, and its list is checked: every solution, the complex
ones included, gets a box or an exact test that proves it, and their number must be the dimension of the quotient ring, which Singular
computes exactly.  Without Singular small systems go through SymPy's Groebner bases.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from sympy import QQ
from sympy.polys.rings import PolyElement

from derivations.algebraic_points import AlgebraicPoint, Conjugates
from derivations.exact_components import rational
from derivations.parametrised_zeros import Parametrised
from derivations.polynomial_boxes import Boxes, BoxPoint, disjoint
from workbench.engines import groebner, msolve, singular
from workbench.engines.answers import Answer, Component
from workbench.engines.process import EngineError, Limits, OutOfTime

__all__ = ["ENGINES", "Solution", "Solver", "available"]

ENGINES = ("singular", "msolve", "groebner")
#: Conjugates of at most this degree are tested in exact arithmetic, of more by boxes around all of them.
EXACT_DEGREE = 8
#: Up to so many complex solutions are enclosed in boxes of their own.
MOST_COMPLEX = 160
#: Shares of the time that Singular may use to count and to decompose, where msolve is there to go on without.
COUNTING, DECOMPOSING = 0.3, 0.1
#: Precision of the boxes around listed points.
_BITS = 100
#: Denominators up to which coordinates are tried as fractions.
MOST_DENOMINATOR = 1000

Point = AlgebraicPoint | BoxPoint


@dataclass(frozen=True)
class Solution:
    """What is known of the solutions.

    Parameters
    ----------
    dimension : int
        Of the solution set over the complex numbers; -1 for none.
    count : int or None
        For dimension 0 the number of complex solutions, each as often as its multiplicity; None where it was not computed.
    points : tuple
        Every isolated real solution.
    components : tuple of Component
        Every irreducible component of positive dimension, with its prime ideal.
    complete : bool
        Whether it is proved that there is nothing else.
    method : str
        How, in words.
    simple : bool
        Whether all isolated solutions are known to be simple.
    """

    dimension: int
    count: int | None
    points: tuple[Point, ...] = ()
    components: tuple[Component, ...] = ()
    complete: bool = True
    method: str = ""
    simple: bool = False
    engines: tuple[str, ...] = field(default=())


def available() -> tuple[str, ...]:
    """Return the names of the engines that are there; SymPy always is."""
    found = {"singular": singular.find(), "msolve": msolve.find(), "groebner": "SymPy"}
    return tuple(name for name in ENGINES if found[name])


class Solver:
    """A system, the limits of all runs together, and the engines that may be used.

    Parameters
    ----------
    equations : sequence of polynomials
        In one ring over the rationals.
    jacobian : rows of polynomials, optional
        Their derivatives, such as a Hessian, where they are known.
    limits : Limits
        Time for all runs together, memory for each.
    engines : tuple of str, optional
        Some of ``ENGINES``; those that are there by default.

    Raises
    ------
    ValueError
        If an engine is unknown.
    """

    def __init__(
        self,
        equations: Sequence[PolyElement],
        limits: Limits,
        jacobian: Sequence[Sequence[PolyElement]] | None = None,
        engines: Sequence[str] | None = None,
    ) -> None:
        for name in engines or ():
            if name not in ENGINES:
                raise ValueError(f"engine '{name}'; accepted: {', '.join(ENGINES)}")
        self.equations = [f for f in equations if f]
        self.all, self.jacobian, self.limits = tuple(equations), jacobian, limits
        self.engines = available() if engines is None else tuple(engines)

    def solve(self) -> Solution:
        """Return all solutions.

        Raises
        ------
        OutOfTime
            If the limits are reached before anything is known.
        EngineError
            If no engine serves, or an answer contradicts itself.
        """
        begun = time.monotonic()
        ring = self.all[0].ring
        if not self.equations:
            return Solution(
                ring.ngens, None, (), (Component(ring.ngens, 1, (ring.zero,)),), True, "the risk is constant"
            )
        count = self._count(begun)
        if count is not None and count[0] != 0:
            if count[0] < 0:
                return Solution(-1, 0, (), (), True, "1 lies in the ideal (Singular)", True, ("Singular",))
            return self._decomposed(begun)
        if "msolve" not in self.engines:
            return self._decomposed(begun)
        if count is not None:
            try:
                return self._decomposed(begun, DECOMPOSING)
            except OutOfTime:  # msolve is faster, and what it lists can be checked against the count
                pass
        return self._parametrised(begun, None if count is None else count[1]) or self._decomposed(begun)

    def _count(self, begun: float) -> tuple[int, int] | None:
        """Return dimension and degree by Singular; None where it is not there or msolve goes on without."""
        if "singular" not in self.engines:
            return None
        left = self.limits.left(begun)
        if "msolve" not in self.engines:
            return None
        try:
            return singular.count(self.equations, Limits(max(left.seconds * COUNTING, 0.01), left.memory))
        except OutOfTime:
            return None

    def _decomposed(self, begun: float, share: float = 1.0) -> Solution:
        """Return the exact decomposition of Singular or SymPy, within a share of the time that is left."""
        failed = None
        for name, module, title in (("singular", singular, "Singular"), ("groebner", groebner, "SymPy")):
            if name in self.engines:
                try:
                    left = self.limits.left(begun)
                    answer = module.solve(self.equations, Limits(left.seconds * share, left.memory))
                except OutOfTime as error:
                    failed = error
                    continue
                return _solution(answer, title, self.equations)
        raise failed or EngineError(
            "the solutions are infinitely many or could not be decomposed: Singular does it; on Debian and Ubuntu: "
            "apt-get install singular-ui"
        )

    def _parametrised(self, begun: float, count: int | None) -> Solution | None:
        """Return the checked list of msolve; None where there are infinitely many or multiple ones."""
        found = msolve.solve(self.equations, self.limits.left(begun))
        if found is None or (len(self.equations) != len(self.all) or len(self.all) != self.all[0].ring.ngens):
            return None
        boxes = Boxes(self.all, self.jacobian)
        number = max(found.eliminating.degree(), 0)
        if count is not None and number != count:
            return None  # multiple solutions: the decomposition tells them apart
        exact, rest = self._small(found, boxes) if number <= MOST_COMPLEX else ([], found.eliminating)
        points: list[Point] = list(exact)
        for centre in found.real:
            box = boxes.certified(centre, _BITS)
            if box is None:
                return None  # a singular Jacobian; the decomposition decides
            if all(disjoint(box, p.box(_BITS)) for p in points):
                points.append(self._simple_fraction(box) or BoxPoint(boxes, box))
        if len(points) != len(found.real):
            raise EngineError(
                f"msolve lists {len(found.real)} real solutions, and {len(points)} different ones are confirmed"
            )
        method, complete = self._judged(found, boxes, points, rest, count, begun)
        return Solution(0, count, tuple(points), (), complete, method, True, self._names(count))

    def _names(self, count: int | None) -> tuple[str, ...]:
        return ("msolve",) if count is None else ("msolve", "Singular")

    def _small(self, found: msolve.Parametrisation, boxes: Boxes) -> tuple[list[Point], PolyElement]:
        """Return the real points of conjugates of low degree, exactly tested, and the product of the other factors."""
        points: list[Point] = []
        rest = found.eliminating.ring.one
        for factor, _ in found.eliminating.factor_list()[1]:
            curve = Parametrised(factor, found.denominator, found.numerators)
            family = curve.conjugates() if factor.degree() <= EXACT_DEGREE else None
            if family is None or not family.satisfies(self.equations):
                rest *= factor
            else:
                points += family.real_points()
        return points, rest

    def _simple_fraction(self, box: list[Any]) -> AlgebraicPoint | None:
        """Return the zero in a box with its coordinates as fractions, where they are simple and solve the equations exactly."""
        near = [Fraction(float(u.mid.a)).limit_denominator(MOST_DENOMINATOR) for u in box]
        point = rational([QQ(u.numerator, u.denominator) for u in near])
        held = point.family.satisfies(self.equations) and not disjoint(box, point.box(_BITS))
        return point if held else None

    def _judged(
        self,
        found: msolve.Parametrisation,
        boxes: Boxes,
        points: list[Point],
        rest: PolyElement,
        count: int | None,
        begun: float,
    ) -> tuple[str, bool]:
        """Say whether the list is proved complete, and by what."""
        number = max(found.eliminating.degree(), 0)
        lead = f"msolve lists {number} complex solutions, {len(points)} of them real, and each real one is proved to exist"
        unsure = "; its modular arithmetic errs with a small probability, and "
        if count is None:
            return f"{lead}{unsure}no exact count was to be had in the time", False
        if number > MOST_COMPLEX:
            return f"{lead}{unsure}the complex ones are too many to be enclosed", False
        tested = number - max(rest.degree(), 0)
        curve = Parametrised(rest, found.denominator, found.numerators)
        enclosed = 0 if rest.degree() < 1 else curve.enclosed(boxes, lambda: self.limits.left(begun))
        if tested + enclosed != number:
            return f"{lead}{unsure}only {tested + enclosed} of the {number} could be enclosed", False
        return (
            f"{number} different complex solutions are proved ({tested} in exact arithmetic, {enclosed} by boxes; found by "
            f"msolve), as many as the dimension of the quotient ring (exact Groebner basis, Singular); {len(points)} are real"
        ), True


def _solution(answer: Answer, title: str, equations: Sequence[PolyElement]) -> Solution:
    points: list[Point] = []
    components = []
    ring = equations[0].ring
    for part in answer.components:
        if part.dimension > 0:
            generators = tuple(ring.from_dict(dict(g)) for g in part.generators)
            components.append(Component(part.dimension, part.degree, generators))
            continue
        assert part.minimal is not None  # checked when it was read
        points += Conjugates(part.minimal, part.coordinates).real_points()
    sets = f", {len(components)} of positive dimension" if components else ""
    number = sum(part.degree for part in answer.components if part.dimension == 0)
    method = (
        f"{title} lists the {len(answer.components)} irreducible components over the rationals{sets}; the isolated ones have {number} "
        f"complex points, and exactly {len(points)} real ones"
    )
    count = answer.degree if answer.dimension <= 0 else None
    simple = answer.dimension == 0 and number == answer.degree
    return Solution(answer.dimension, count, tuple(points), tuple(components), True, method, simple, (title,))
