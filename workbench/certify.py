r"""Critical points of a landscape certified by interval arithmetic, one by one, with the reason where that fails.

Isolated points are shown to exist, and to be the only ones in a box, by Krawczyk's operator on the derived gradient and Hessian,
with the data of the study as exact numbers; the signs of all eigenvalues are shown as well.  A point of a critical manifold is
the embedding of a certified narrower point, and its zero eigenvalues are those of known directions.  Everything else
stays SUPPORTED.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from derivations.claim import Status
from derivations.problem import Problem
from workbench.certificate import Certificate
from workbench.data import Dataset
from workbench.errors import NotThere
from workbench.network import Architecture, Network, architecture
from workbench.populations import is_population
from workbench.results import CriticalPoint, Inertia, Zeros

if TYPE_CHECKING:
    from numerics.balls import BallSystem
    from numerics.certified_point import Certified
    from workbench.analysis import Analysis
    from workbench.landscape import Landscape

__all__ = ["ball_system", "certified", "certified_landscape", "distinct"]

NO_LIBRARY = "python-flint is not installed: pip install python-flint"
AN_INTEGRAL = "the risk of a population is an integral, which is evaluated by numbers"
#: Bits beyond those of the digits asked for: conditioning, and room for the last digit.
SPARE_BITS = 72


def certified_landscape(analysis: Analysis, landscape: Landscape, digits: int | None = None) -> Landscape:
    """Return a landscape whose points carry what is shown of them; ``digits`` asks for so many of the parameters."""
    if is_population(analysis.problem):
        left = (
            p if p.status is not Status.SUPPORTED else replace(p, not_certified=AN_INTEGRAL)
            for p in landscape.points
        )
        return replace(landscape, points=tuple(left))
    two_layer = analysis.problem.kind == "two_layer"
    data = analysis.required_data("certifying critical points")

    def sizes(width: int) -> Mapping[str, int]:
        return {"m": width} if two_layer else analysis.compile().sizes

    found = certified(landscape.points, analysis.problem, data, sizes=sizes, digits=digits)
    try:
        shape = architecture(analysis.problem, data.d, data.o)
    except NotThere:
        shape = None  # then only points of different values are told apart
    if shape is not None:
        found = tuple(
            replace(p, orbit_size=Network.from_blocks(p.theta, shape).orbit_size(shape))
            if p.orbit_size is None and p.width and p.certificate is not None and p.certificate.unique
            else p
            for p in found
        )
    return replace(landscape, points=found, not_told_apart=tuple(distinct(found, shape)))


def certified(
    points: Sequence[CriticalPoint],
    problem: Problem,
    data: Dataset,
    *,
    sizes: Callable[[int], Mapping[str, int]] | None = None,
    digits: int | None = None,
) -> tuple[CriticalPoint, ...]:
    """Return the points with status, radius and certificate.

    Parameters
    ----------
    points : sequence of CriticalPoint
        Entries of a landscape; a point of a manifold needs the entry of its origin among them.
    problem : Problem
        What they are critical points of.
    data : Dataset
        Its exact samples.
    sizes : callable, optional
        Width of a point to the numbers of the width symbols, ``{"m": width}`` by default.
    digits : int, optional
        Decimal digits of the parameters that the certificates are to give.
    """
    if find_spec("flint") is None:
        return tuple(
            p if p.status is not Status.SUPPORTED else replace(p, not_certified=NO_LIBRARY) for p in points
        )
    named = {point.id: point for point in points}
    work = _Certifier(problem, data, named, sizes or (lambda width: {"m": width}), digits)
    return tuple(work.entry(point) for point in points)


def ball_system(problem: Problem, data: Dataset, sizes: Mapping[str, int]) -> BallSystem:
    """Return a problem on balls at its exact samples and the given numbers of the width symbols."""
    from numerics.balls import BallSystem

    x, y = np.array(data.x, dtype=object), np.array(data.y, dtype=object)
    entries = {name: np.ravel(values).tolist() for name, values in problem.leaf_values(x, y).items()}
    return BallSystem(problem, entries, {"n": data.n, "d": data.d, "o": data.o, **sizes})


@dataclass
class _Certifier:
    problem: Problem
    data: Dataset
    points: Mapping[str, CriticalPoint]
    sizes: Callable[[int], Mapping[str, int]]
    digits: int | None
    systems: dict[int, BallSystem] = field(default_factory=dict)
    known: dict[str, Certified | str] = field(default_factory=dict)

    def entry(self, point: CriticalPoint) -> CriticalPoint:
        """Return the point with what is shown of it; one that is proved already stays as it is."""
        if point.status is not Status.SUPPORTED:
            return point
        found = self.found(point)
        if isinstance(found, str):
            return replace(point, not_certified=found)
        from numerics.certified_point import outward

        method = "Krawczyk" if found.unique else f"embedding of {point.origin}"
        shown = Certificate(
            method,
            found.unique,
            found.precision,
            found.error,
            outward(found.value),
            self._decimals(point, found),
        )
        held = replace(
            point, status=Status.CERTIFIED, radius=found.radius, certificate=shown, not_certified=None
        )
        if found.centre and list(found.centre) != _flat(point, self._system(point.width)):
            held = self._moved(held, found)
        return held if found.inertia == point.inertia else _corrected(held, found.inertia)

    def _moved(self, point: CriticalPoint, found: Certified) -> CriticalPoint:
        """Return an entry with the floats next to the zero, its risk and gradient as certified arithmetic gives them there."""
        from numerics.certified_point import measured

        system = self._system(point.width)
        blocks = {
            name: np.array(found.centre[where]).reshape(shape).tolist()
            for name, shape, where in system.layout
        }
        value, gradient_norm = measured(system, found.centre)
        theta = {name: blocks.get(name, entry) for name, entry in point.theta.items()}
        return replace(point, theta=theta, value=value, gradient_norm=gradient_norm)

    def found(self, point: CriticalPoint) -> Certified | str:
        """Return what is shown of a point, or why nothing is."""
        if point.id not in self.known:
            from numerics.certified_point import NotCertified, NotEnclosed

            try:
                self.known[point.id] = self._show(point)
            except (NotCertified, NotEnclosed) as reason:
                self.known[point.id] = _explained(point, str(reason))
        return self.known[point.id]

    def _show(self, point: CriticalPoint) -> Certified:
        from numerics.certified_embedding import certify_embedded
        from numerics.certified_point import NotCertified, certify
        from numerics.orbit_fields import independent, orbit_fields

        system = self._system(point.width)
        theta = _flat(point, system)
        if point.origin is None:
            fields = independent(orbit_fields(self.problem, system.layout), theta)
            return certify(system, theta, fields, precision=self._bits)
        if point.origin not in self.points:
            raise NotCertified(f"its origin {point.origin} is not in the list")
        origin = self.points[point.origin]
        narrow = self.found(origin)
        if isinstance(narrow, str):
            raise NotCertified(f"its origin {origin.id} is not certified")
        return certify_embedded(self._system(origin.width), narrow, system, theta, point.copies, point.dead)

    @property
    def _bits(self) -> int:
        from numerics.krawczyk import PRECISION

        return max(PRECISION, math.ceil((self.digits or 0) * math.log2(10)) + SPARE_BITS)

    def _system(self, width: int) -> BallSystem:
        if width not in self.systems:
            self.systems[width] = ball_system(self.problem, self.data, self.sizes(width))
        return self.systems[width]

    def _decimals(self, point: CriticalPoint, found: Certified) -> dict[str, Any] | None:
        if self.digits is None:
            return None
        from numerics.certified_point import decimals

        return {
            name: _shaped([decimals(u, self.digits) for u in found.theta[where]], shape)
            for name, shape, where in self._system(point.width).layout
            if name in point.theta
        }


def _corrected(point: CriticalPoint, inertia: Inertia) -> CriticalPoint:
    """Put the certified inertia in the place of one that was measured wrongly, with what follows from it.

    An isolated point has the zeros of its symmetries and no others, and is known up to these.
    """
    isolated = point.certificate is not None and point.certificate.unique
    return replace(
        point,
        inertia=inertia,
        manifold_dimension=inertia.zero if isolated else point.manifold_dimension,
        stratum="irreducible" if isolated and point.origin is None else point.stratum,
        unexplained_zeros=0 if isolated else max(0, inertia.zero - (point.manifold_dimension or 0)),
        zeros=Zeros(symmetry=inertia.zero) if isolated else None,
        decided=None,
        reason="",
        global_minimum=False if inertia.negative else point.global_minimum,
    )


def _explained(point: CriticalPoint, reason: str) -> str:
    """Say first what stands in the way of every method: zero eigenvalues that belong to no known symmetry."""
    symmetry = 0 if point.zeros is None else point.zeros.symmetry
    more = point.inertia.zero - symmetry
    if point.origin is not None or more <= 0:
        return reason
    zeros = f"{more} zero eigenvalue{'s' if more > 1 else ''}"
    return f"{zeros} beyond those of continuous symmetries, whose eigenvectors are known by numbers only ({reason})"


def _flat(point: CriticalPoint, system: BallSystem) -> list[float]:
    """Return the parameters in flat order; a network without neurons lists its output bias only."""
    return [
        float(u)
        for name, _, _ in system.layout
        for u in np.ravel(np.asarray(point.theta.get(name, []), dtype=float))
    ]


def _shaped(entries: list[str], shape: tuple[int, ...]) -> Any:
    return np.array(entries, dtype=object).reshape(shape).tolist()


def distinct(points: Sequence[CriticalPoint], shape: Architecture | None = None) -> list[tuple[str, str]]:
    """Return the pairs of certified isolated points of one width that are not shown to be different up to symmetry.

    Points with different inertia or disjoint bounds of the risk are different.  Else, with ``shape``, the neurons of one are compared with those of
    the other, up to sign: if no assignment brings all of them within the error bounds, no permutation and no sign does.
    """
    isolated = [
        point
        for point in points
        if point.certificate is not None and point.certificate.unique and point.width
    ]
    return [
        (first.id, second.id)
        for first, second in combinations(isolated, 2)
        if first.width == second.width and _may_be_one(first, second, shape)
    ]


def _may_be_one(first: CriticalPoint, second: CriticalPoint, shape: Architecture | None) -> bool:
    one, two = first.certificate, second.certificate
    assert one is not None
    assert two is not None  # both are certified
    if first.inertia != second.inertia or one.value[1] < two.value[0] or two.value[1] < one.value[0]:
        return False
    if shape is None:
        return True
    left, right = (Network.from_blocks(point.theta, shape) for point in (first, second))
    # The distance is relative to 1 + the largest weight; twice the errors leaves room for its rounding.
    size = 1 + max(float(np.abs(u).max(initial=0.0)) for u in (left.a, left.w))
    return left.distance(right, shape) * size <= 2 * (one.error + two.error) + 1e-15 * size
