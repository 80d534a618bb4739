r"""Exactly known critical points as records: certified value, inertia, error of the decimals; one for each orbit.

Everything that a record states of a point (sign of every eigenvalue, which value is lower, which points are images of one
another) is decided in exact or interval arithmetic; only the printed eigenvalues are floating point numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.algebraic_points import AlgebraicPoint
from derivations.claim import Status
from derivations.decimal_digits import decimals
from derivations.exact_inertia import exact_inertia
from derivations.exact_orbits import orbits
from derivations.polynomial_boxes import BoxPoint
from derivations.polynomial_system import PolynomialSystem
from derivations.signed_permutations import signed_permutations
from numerics.spectrum import Inertia
from workbench.certificate import Certificate
from workbench.results import CriticalPoint

__all__ = ["ExactPoint", "isolated", "numbered", "record"]

#: Bits at which values and coordinates are enclosed, and the largest degree whose points are written in radicals or roots.
BITS, WRITTEN_DEGREE = 120, 6

Point = AlgebraicPoint | BoxPoint


@dataclass(frozen=True)
class ExactPoint:
    """One orbit: a representative, its inertia, size, and how often it solves the equations."""

    point: Point
    inertia: tuple[int, int, int]
    orbit_size: int
    multiplicity: int | None


def isolated(
    system: PolynomialSystem, points: Sequence[Point], multiplicities: Mapping[int, int | None]
) -> list[ExactPoint]:
    """Return one record for each orbit of isolated critical points under the symmetries of the network function.

    ``multiplicities`` has, by number, those of points that may be multiple; all others are simple.

    Raises
    ------
    ArithmeticError
        If a sign does not show, or the list is not closed under the symmetries.
    """
    group = signed_permutations(system.outputs, len(system.names))
    found = []
    for members in orbits(points, group):
        inertia = exact_inertia(points[members[0]], system.hessian)
        multiplicity = 1 if inertia[1] == 0 else multiplicities.get(members[0])
        found.append(ExactPoint(points[members[0]], inertia, len(members), multiplicity))
    return found


def record(
    system: PolynomialSystem, exact: ExactPoint, width: int, method: str, digits: int | None = None
) -> CriticalPoint:
    """Return the record of an orbit of isolated points."""
    point, inertia = exact.point, Inertia(*exact.inertia)
    bits = max(BITS, int((digits or 0) * 3.33) + 40)
    box = point.box(bits)
    centre = [float(u.mid.a) for u in box]
    value = point.enclosure(system.risk, bits)
    spectrum = np.linalg.eigvalsh(_hessian(system, point))
    near = sorted(abs(float(e)) for e in spectrum)
    written = point.exact(WRITTEN_DEGREE) if isinstance(point, AlgebraicPoint) else None
    error = max((_distance(c, u) for c, u in zip(centre, box, strict=True)), default=0.0)
    shown = None if digits is None else system.blocks([decimals(u, digits) for u in box])
    multiple = "" if exact.multiplicity == 1 else f", multiplicity {exact.multiplicity or 'not known'}"
    return CriticalPoint(
        id=f"m{width}.0",
        width=width,
        theta=system.blocks(centre),
        value=float(value.mid.a),
        gradient_norm=_gradient_norm(system, centre),
        eigenvalues=tuple(float(e) for e in spectrum),
        inertia=inertia,
        largest_zero=near[inertia.zero - 1] if inertia.zero else None,
        smallest_nonzero=near[inertia.zero] if inertia.zero < len(near) else None,
        stratum=f"isolated{multiple}",
        manifold_dimension=0,
        unexplained_zeros=inertia.zero,
        orbit_size=exact.orbit_size,
        found_by="exact",
        status=Status.CERTIFIED,
        radius=error,
        certificate=Certificate(method, True, bits, error, _outward(value), shown),
        exact=None if written is None else system.blocks([str(u) for u in written]),
    )


def numbered(points: Sequence[CriticalPoint], bounded: bool) -> tuple[CriticalPoint, ...]:
    """Return the records sorted by value with ids; ``bounded`` says that the lowest critical value is the minimum of the risk."""
    ordered = sorted(points, key=lambda p: (p.value, p.manifold_dimension or 0, p.inertia.negative))
    ends = [(p.certificate.value if p.certificate else (p.value, p.value)) for p in ordered]
    least = min((upper for _, upper in ends), default=0.0)
    out = []
    for rank, (point, (lower, upper)) in enumerate(zip(ordered, ends, strict=True), start=1):
        lowest: bool | None = None
        if lower > least or point.inertia.negative:
            lowest = False
        elif bounded and all(other == (lower, upper) or other[0] >= upper for other in ends):
            lowest = True
        out.append(replace(point, id=f"m{point.width}.{rank}", global_minimum=lowest))
    return tuple(out)


def _hessian(system: PolynomialSystem, point: Point) -> Any:
    return np.array([[float(point.enclosure(u, BITS).mid.a) for u in row] for row in system.hessian])


def _gradient_norm(system: PolynomialSystem, centre: Sequence[float]) -> float:
    """Return the norm of the gradient at the decimals listed, computed exactly and rounded once."""
    domain = system.ring.domain
    place = [domain(*Fraction(u).as_integer_ratio()) for u in centre]
    squares = domain.zero
    for f in system.gradient:
        squares += f.evaluate(list(zip(system.ring.gens, place, strict=True))) ** 2
    return float(Fraction(int(squares.numerator), int(squares.denominator))) ** 0.5


def _distance(centre: float, interval: Any) -> float:
    """Return an upper bound of the distance of a number from every number of an interval."""
    far = float(abs(interval - centre).b)
    return float(np.nextafter(far, np.inf)) if far > 0 else 0.0


def _outward(interval: Any) -> tuple[float, float]:
    """Return the ends as floats, rounded outwards; a number that is a float stays itself."""
    lower, upper = float(interval.a), float(interval.b)
    low = lower if interval.a.ctx.mpf(lower) <= interval.a else float(np.nextafter(lower, -np.inf))
    high = upper if interval.b.ctx.mpf(upper) >= interval.b else float(np.nextafter(upper, np.inf))
    return low, high
