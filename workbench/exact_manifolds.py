r"""Components of positive dimension of an exactly solved critical set: value, parametrisation, real points, inertia on them.

A component is a prime ideal over the rationals.  Slices, on which independent unknowns take rational values, meet it in finitely many
points; a real one where the Jacobian of the generators has full rank shows that the component has its full dimension among the
real points.  Where no slice has one, generators that cannot vanish decide, or nothing is claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from sympy.polys.rings import PolyElement

from derivations.algebraic_points import AlgebraicPoint, Conjugates
from derivations.claim import Status
from derivations.exact_components import (
    Parametrisation,
    forced,
    parametrised,
    rational_point,
    remainder,
    same_component,
    slices,
    smooth,
)
from derivations.exact_inertia import exact_inertia
from derivations.polynomial_system import PolynomialSystem
from derivations.signed_permutations import SignedPermutation, signed_permutations
from numerics.spectrum import Inertia
from workbench.engines import singular
from workbench.engines.answers import Component
from workbench.engines.process import Limits, OutOfTime
from workbench.engines.solver import Solver
from workbench.exact_points import ExactPoint, record
from workbench.results import CriticalPoint

__all__ = ["Manifold", "entries", "examined", "manifolds"]

#: Slices that are tried, and real points after which no more are.
MOST_SLICES, ENOUGH_POINTS = 8, 4
#: Shown characters of the equations of a set.
SHOWN = 80

#: A real point and the exact inertia of the Hessian there.
Placed = tuple[AlgebraicPoint, tuple[int, int, int]]


@dataclass(frozen=True)
class Manifold:
    """A component of positive dimension.

    Parameters
    ----------
    dimension, degree : int
        Over the complex numbers.
    generators : tuple of polynomials
        Of its prime ideal.
    values : Conjugates or None
        The values that the risk takes on it, roots of one irreducible polynomial; None where they were not computed.
    parametrisation : Parametrisation or None
        Where all unknowns are fractions of polynomials in independent ones.
    real_dimension : int or None
        -1 where it has no real points; None where nothing is known.
    reason : str
        On what ground.
    points : tuple of (AlgebraicPoint, inertia)
        Smooth real points on it, and the exact inertia of the Hessian there.
    parts : tuple of Manifold, or of points
        Components of smaller dimension in which all its real points lie, where that is shown.
    orbit : tuple of tuples of polynomials
        Generators of all components that are images of it under the symmetries, itself first.
    """

    dimension: int
    degree: int
    generators: tuple[PolyElement, ...]
    values: Conjugates | None = None
    parametrisation: Parametrisation | None = None
    real_dimension: int | None = None
    reason: str = ""
    points: tuple[Placed, ...] = ()
    parts: tuple[Manifold, ...] = ()
    isolated: tuple[AlgebraicPoint, ...] = field(default=())
    orbit: tuple[tuple[PolyElement, ...], ...] = ()

    @property
    def copies(self) -> int:
        """Number of components in its orbit."""
        return max(len(self.orbit), 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        values = None
        if self.values is not None:
            values = [
                str(u)
                for p in self.values.real_points()
                for u in (p.exact(4) or [float(v.mid.a) for v in p.box(60)])
            ]
        return {
            "dimension": self.dimension,
            "degree": self.degree,
            "copies": self.copies,
            "generators": [str(g) for g in self.generators],
            "values": values,
            "parametrisation": None if self.parametrisation is None else self.parametrisation.text(),
            "real_dimension": self.real_dimension,
            "status": str(Status.UNDECIDED if self.real_dimension is None else Status.PROVED),
            "reason": self.reason,
            "parts": [part.to_dict() for part in self.parts],
        }

    def title(self) -> str:
        """Return the equations in short."""
        text = self.parametrisation.text() if self.parametrisation else [f"{g} = 0" for g in self.generators]
        joined = ", ".join(text)
        return joined if len(joined) <= SHOWN else joined[:SHOWN] + " ..."


def manifolds(
    system: PolynomialSystem, components: Sequence[Component], limits: Callable[[], Limits]
) -> tuple[Manifold, ...]:
    """Return what is known of the components, one of each orbit under the symmetries of the network function."""
    group = signed_permutations(system.outputs, len(system.names))
    left, out = list(components), []
    while left:
        first, *others = left
        images = [c for c in others if _image(first, c, group)]
        left = [c for c in others if c not in images]
        orbit = tuple(c.generators for c in (first, *images))
        out.append(replace(examined(system, first, limits()), orbit=orbit))
    return tuple(out)


def _image(one: Component, other: Component, group: Sequence[SignedPermutation]) -> bool:
    if (one.dimension, one.degree) != (other.dimension, other.degree):
        return False
    return any(same_component(one.generators, other.generators, element) for element in group)


def examined(system: PolynomialSystem, component: Component, limits: Limits) -> Manifold:
    """Return what is known of a component; what does not finish within the limits is left open and said."""
    begun = time.monotonic()
    generators = component.generators
    base = Manifold(component.dimension, component.degree, generators)
    try:
        found = singular.examine(generators, system.risk, limits)
        solved = parametrised(found.free, found.relations, system.ring)
        if solved is None:
            other = singular.examine(generators, system.risk, limits.left(begun), backwards=False)
            solved = parametrised(other.free, other.relations, system.ring)
            found = other if solved is not None else found
        values = Conjugates(found.value, (found.value.ring.gens[0],))
        base = replace(base, values=values, parametrisation=solved)
        for g in generators:
            roots = forced(g)
            if roots is not None:
                return _smaller(system, base, [*generators, *roots], limits.left(begun))
        return _sliced(system, base, found.free, limits, begun)
    except OutOfTime as error:
        return replace(base, reason=f"its real points are not decided: {error}")


def _smaller(
    system: PolynomialSystem, base: Manifold, equations: Sequence[PolyElement], limits: Limits
) -> Manifold:
    """Return a component whose real points lie in a smaller set, that of ``equations``, with its parts."""
    begun = time.monotonic()
    solution = Solver(equations, limits, engines=("singular",)).solve()
    parts = tuple(examined(system, part, limits.left(begun)) for part in solution.components)
    isolated = tuple(p for p in solution.points if isinstance(p, AlgebraicPoint))
    dimensions = [part.real_dimension for part in parts]
    decided = (
        None
        if None in dimensions
        else max([d for d in dimensions if d is not None] + [0 if isolated else -1])
    )
    reason = (
        "a generator is of one sign, and vanishes at real points only where each of its terms or squares does"
    )
    return replace(base, real_dimension=decided, reason=reason, parts=parts, isolated=isolated)


def _sliced(
    system: PolynomialSystem, base: Manifold, free: Sequence[int], limits: Limits, begun: float
) -> Manifold:
    points: list[Placed] = []
    for values in islice(slices(len(free)), MOST_SLICES):
        for point in _on_slice(system, base, free, values, limits.left(begun)):
            if smooth(point, base.generators, base.dimension):
                points.append((point, exact_inertia(point, system.hessian)))
        if len(points) >= ENOUGH_POINTS:
            break
    if points:
        return replace(
            base, real_dimension=base.dimension, reason="it has a smooth real point", points=tuple(points)
        )
    return replace(
        base, reason=f"no smooth real point on {MOST_SLICES} slices, and no proof that there is none"
    )


def _on_slice(
    system: PolynomialSystem, base: Manifold, free: Sequence[int], values: Sequence[Any], limits: Limits
) -> list[AlgebraicPoint]:
    """Return the real points where the free unknowns have these values."""
    if base.parametrisation is not None:
        point = rational_point(base.parametrisation, values)
        return [] if point is None else [point]
    plane = [system.ring.gens[j] - v for j, v in zip(free, values, strict=True)]
    solution = Solver([*base.generators, *plane], limits, engines=("singular",)).solve()
    return [p for p in solution.points if isinstance(p, AlgebraicPoint)]


def entries(
    system: PolynomialSystem, found: Sequence[Manifold], width: int, method: str, digits: int | None = None
) -> list[CriticalPoint]:
    """Return a record for each value that was met on the real points of each component, and those of parts in no other one."""
    whole = [generators for m in found if m.real_dimension == m.dimension for generators in m.orbit]
    out: list[CriticalPoint] = []
    for manifold in found:
        out += _records(system, manifold, whole, width, method, digits)
    return out


def _records(
    system: PolynomialSystem,
    manifold: Manifold,
    whole: Sequence[Sequence[PolyElement]],
    width: int,
    method: str,
    digits: int | None,
) -> list[CriticalPoint]:
    out: list[CriticalPoint] = []
    groups: list[tuple[Any, list[Placed]]] = []
    for point, inertia in manifold.points:
        value = point.enclosure(system.risk, 100)
        same = next((members for other, members in groups if other.a <= value.b and value.a <= other.b), None)
        if same is None:
            groups.append((value, [(point, inertia)]))
        else:
            same.append((point, inertia))
    for _, members in groups:
        usual = max({i for _, i in members}, key=lambda i: (sum(j == i for _, j in members), i))
        point = next(p for p, i in members if i == usual)
        plain = record(system, ExactPoint(point, usual, 1, None), width, method, digits)
        out.append(_on_manifold(plain, manifold, members))
    for part in manifold.parts:
        if not any(_inside(part.generators, other) for other in whole):
            out += _records(system, part, whole, width, method, digits)
    for point in manifold.isolated:
        if any(point.family.satisfies(other) for other in whole):
            continue
        plain = record(
            system, ExactPoint(point, exact_inertia(point, system.hessian), 1, None), width, method, digits
        )
        text = "isolated among the real points, on a complex component of positive dimension"
        out.append(replace(plain, stratum=text, orbit_size=None))
    return out


def _inside(basis: Sequence[PolyElement], other: Sequence[PolyElement]) -> bool:
    """Whether the set of a reduced Groebner basis lies in that of other equations."""
    return all(not remainder(g, basis) for g in other)


def _on_manifold(plain: CriticalPoint, manifold: Manifold, members: Sequence[Placed]) -> CriticalPoint:
    """Return the record of a point on a component: what it says of a neighbourhood, with the inertias met elsewhere."""
    size, inertia = manifold.dimension, plain.inertia
    counts = {i: sum(j == i for _, j in members) for _, i in members}
    semidefinite = not (inertia.negative and inertia.positive)
    bott = inertia.zero == size and semidefinite and inertia.zero < len(plain.eigenvalues)
    decided = None if not bott else "maximum" if inertia.negative else "minimum"
    reason = (
        "all zero eigenvalues are tangent to a smooth manifold of critical points, exactly" if bott else ""
    )
    assert plain.certificate is not None  # set by record
    return replace(
        plain,
        stratum=f"set of dimension {size}: {manifold.title()}",
        manifold_dimension=size,
        unexplained_zeros=inertia.zero - size,
        orbit_size=manifold.copies,
        cells=tuple((Inertia(*i), count) for i, count in sorted(counts.items(), key=lambda u: -u[1])),
        certificate=replace(plain.certificate, unique=False),
        decided=decided,
        reason=reason,
    )
