r"""Smooth critical points of two-layer networks with a kinked, piecewise polynomial activation on samples: cell by cell, exactly.

Inside a cell of the weights, where no sample lies on a kink, the risk is one polynomial.  Its critical points are listed, and kept
where every pre-activation has, for certain, the sign of the cell.  The list of smooth critical points is complete where every
cell was solved; points on the walls between cells, where the risk need not be differentiable, are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import prod
from typing import Any

from sympy import QQ
from sympy.polys.rings import PolyElement

from derivations.activation_cells import ActivationCell, activation_cells, inner_values
from derivations.algebraic_points import AlgebraicPoint
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.exact_components import Parametrisation, rational_point, remainder, smooth
from derivations.exact_inertia import exact_inertia
from derivations.exact_orbits import orbits
from derivations.piecewise import half_lines
from derivations.polynomial_boxes import BoxPoint, signs
from derivations.polynomial_system import PolynomialSystem, Samples, polynomial_system
from derivations.problem import Problem
from workbench.engines.process import Limits
from workbench.engines.solver import Solver
from workbench.exact_manifolds import Manifold, entries, examined
from workbench.exact_points import ExactPoint, numbered, record
from workbench.results import CriticalPoint

__all__ = ["CellAnswer", "cell_answer", "serves"]

_MOST_BITS = 4096


@dataclass(frozen=True)
class CellAnswer:
    """Critical points inside cells.

    Parameters
    ----------
    cells : int
        Number of cells gone through, up to permutation of neurons.
    records : tuple of CriticalPoint
        What was found inside cells, sorted by value.
    open_sets : tuple of str
        Components of positive dimension of which it is open whether they have points inside their cell: cell and equations.
    unproved : int
        Cells whose list of solutions is not proved complete.
    morse : None
        No sum is expected: the risk has kinks.
    """

    cells: int
    records: tuple[CriticalPoint, ...]
    open_sets: tuple[str, ...]
    unproved: int
    engines: tuple[str, ...] = ()
    morse: int | None = None

    def completeness(self) -> dict[str, Any]:
        """Return status, method and numbers, as the JSON of a landscape has them."""
        found = len(self.records)
        method = (
            f"all {self.cells} activation cells were solved ({' and '.join(self.engines) or 'exact algebra'})"
        )
        if self.open_sets:
            method += f"; of {len(self.open_sets)} sets it is open whether they have points inside their cell"
        if self.unproved:
            method += f"; the lists of {self.unproved} cells are not proved complete"
        if not self.open_sets and not self.unproved:
            method += ": every critical point inside a cell is listed"
        method += (
            "; points with a sample on a kink, where the risk need not be differentiable, are not looked for"
        )
        return {"status": str(Status.UNDECIDED), "method": method, "expected": None, "found": found}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of what the records do not hold."""
        done = not self.open_sets and not self.unproved
        return {
            "cells": self.cells,
            "inside_cells": {
                "status": str(Status.PROVED if done else Status.UNDECIDED),
                "found": len(self.records),
            },
            "open_sets": list(self.open_sets),
            "engines": list(self.engines),
        }


def serves(problem: Any) -> bool:
    """Whether a problem is a two-layer network whose activation is a polynomial on both half lines, with a kink."""
    if not isinstance(problem, Problem) or problem.kind != "two_layer" or problem.activation is None:
        return False
    if problem.activation.is_smooth is True or not all(b.trained for b in problem.blocks):
        return False
    try:
        half_lines(problem.activation)
    except AssumptionError:
        return False
    return True


def cell_answer(
    problem: Problem, width: int, samples: Samples, limits: Limits, digits: int | None = None
) -> CellAnswer:
    """Return all critical points inside the cells of a network.

    Raises
    ------
    AssumptionError
        If a sample is on every kink, there are too many cells, or something is no polynomial.
    OutOfTime
        If the engines reach the limits, which are for all cells together.
    """
    begun = time.monotonic()
    sizes = {"m": width, "d": len(samples.x[0]), "o": len(samples.y[0])}
    cells = activation_cells(samples.x, width, input_bias=problem.input_bias)
    records: list[CriticalPoint] = []
    open_sets: list[str] = []
    unproved, engines = 0, set()
    for cell in cells:
        system = polynomial_system(problem, sizes, samples, cell=cell.places)
        inside = cell.arguments(system, samples.x)
        solution = Solver(system.gradient, limits.left(begun), system.hessian).solve()
        engines |= set(solution.engines)
        unproved += not solution.complete
        points = [p for p in solution.points if _is_inside(p, inside)]
        method = f"exact: {' and '.join(solution.engines) or 'algebra'}"
        records += _isolated(system, cell, points, width, method, digits)
        for component in solution.components:
            manifold = examined(system, component, limits.left(begun))
            kept = _within(system, manifold, inside, lambda: limits.left(begun))
            if kept is None:
                open_sets.append(f"{cell.title()}: {manifold.title()}")
            else:
                for one in entries(system, [kept], width, method, digits):
                    copies = None if one.orbit_size is None else cell.arrangements
                    records.append(
                        replace(one, stratum=f"{one.stratum}; signs {cell.title()}", orbit_size=copies)
                    )
    return CellAnswer(
        len(cells), numbered(records, False), tuple(open_sets), unproved, tuple(sorted(engines))
    )


def _is_inside(point: AlgebraicPoint | BoxPoint, arguments: Sequence[PolyElement]) -> bool:
    """Whether all polynomials are positive at a point, decided exactly; one that vanishes puts it on a wall."""
    if isinstance(point, AlgebraicPoint):
        return all(point.sign(u) > 0 for u in arguments)
    for u in arguments:
        bits, found = 64, 0
        while not found:
            found = signs(point.enclosure(u, bits))
            bits *= 2
            if bits > _MOST_BITS:
                raise ArithmeticError(
                    "it is open on which side of a kink a point lies; it seems to lie on it"
                )
        if found < 0:
            return False
    return True


def _isolated(
    system: PolynomialSystem,
    cell: ActivationCell,
    points: Sequence[AlgebraicPoint | BoxPoint],
    width: int,
    method: str,
    digits: int | None,
) -> list[CriticalPoint]:
    """Return a record for each orbit under the permutations that keep the cell."""
    group = _permutations(system, cell)
    out = []
    for members in orbits(points, group):
        inertia = exact_inertia(points[members[0]], system.hessian)
        size = len(members) * cell.arrangements
        exact = ExactPoint(points[members[0]], inertia, size, 1 if inertia[1] == 0 else None)
        found = record(system, exact, width, method, digits)
        out.append(replace(found, stratum=f"{found.stratum}; signs {cell.title()}"))
    return out


def _permutations(
    system: PolynomialSystem, cell: ActivationCell
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the permutations of neurons with equal sign vectors, as they act on the unknowns."""
    number = {place: j for j, place in enumerate(system.places)}
    plain = (1,) * len(number)
    out = []
    for order in permutations(range(len(cell.signs))):
        if all(cell.signs[k] == row for k, row in zip(order, cell.signs, strict=True)):
            images = [
                number[name, (order[at[0]], *at[1:]) if name in "awb" else at] for name, at in system.places
            ]
            out.append((tuple(images), plain))
    return out


def _within(
    system: PolynomialSystem,
    manifold: Manifold,
    arguments: Sequence[PolyElement],
    limits: Callable[[], Limits],
) -> Manifold | None:
    """Return a component with points inside the cell only, with no points where it has none; None where that is open."""
    nothing = replace(manifold, points=(), parts=(), isolated=())
    if manifold.real_dimension == -1 or any(_never_positive(u, manifold.generators) for u in arguments):
        return nothing
    parts = [_within(system, part, arguments, limits) for part in manifold.parts]
    if manifold.parts or manifold.isolated:
        if None in parts or manifold.real_dimension is None:
            return None
        kept = tuple(p for p in manifold.isolated if _is_inside(p, arguments))
        return replace(
            nothing, parts=tuple(p for p in parts if p is not None and (p.points or p.parts)), isolated=kept
        )
    points = tuple((p, i) for p, i in manifold.points if _is_inside(p, arguments))
    if points:
        return replace(manifold, points=points)
    if manifold.parametrisation is None:
        return None
    found = _placed(manifold.parametrisation, arguments)
    if found is False:
        return None
    if found is None:
        return nothing if _poles_outside(system, manifold, arguments, limits) else None
    point = rational_point(manifold.parametrisation, found)  # type: ignore[arg-type]  # values here
    if point is None or not smooth(point, manifold.generators, manifold.dimension):
        return None
    return replace(manifold, points=((point, exact_inertia(point, system.hessian)),))


def _poles_outside(
    system: PolynomialSystem,
    manifold: Manifold,
    arguments: Sequence[PolyElement],
    limits: Callable[[], Limits],
) -> bool:
    """Whether the part of a component that its parametrisation leaves out is shown to have no point inside the cell."""
    assert manifold.parametrisation is not None  # asked for before
    poles = [bottom for _, bottom in manifold.parametrisation.fractions if not bottom.is_ground]
    if not poles:
        return True
    product = prod(set(poles), start=system.ring.one)
    solution = Solver([*manifold.generators, product], limits(), engines=("singular",)).solve()
    if any(_is_inside(p, arguments) for p in solution.points):
        return False
    parts = [_within(system, examined(system, c, limits()), arguments, limits) for c in solution.components]
    return all(part is not None and not (part.points or part.parts or part.isolated) for part in parts)


def _never_positive(polynomial: PolyElement, generators: Sequence[PolyElement]) -> bool:
    """Whether a polynomial is a constant on a component that is not positive."""
    rest = remainder(polynomial, generators)
    return not rest or (rest.is_ground and rest.coeff(1) < 0)


def _placed(found: Parametrisation, arguments: Sequence[PolyElement]) -> Any:
    """Return free values inside the cell, None where there are none, False where the polynomials are not affine in them."""
    ring = found.fractions[0][0].ring
    written = []
    for u in arguments:
        if any(m[j] and found.fractions[j][1] != 1 for m in u for j in range(ring.ngens)):
            return False
        written.append(u.compose([(g, found.fractions[j][0]) for j, g in enumerate(ring.gens)]))
    values = inner_values(written, found.free)
    return [QQ(u.p, u.q) for u in values] if isinstance(values, list) else values
