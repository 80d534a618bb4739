r"""Every critical point of a polynomial problem with rational data, by exact algebra, and what is proved of the list.

The derived equations become polynomials over the rationals; an external engine lists all solutions.  Isolated real ones are sorted
into orbits of the symmetries that permute parameters and change their signs, with certified value and inertia; sets of positive
dimension are listed with their equations.  Where the risk is coercive and all points are isolated and not degenerate, the signs
:math:`(-1)^{index}` of all points must sum to 1 (Morse); a list that breaks this is not called complete.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from derivations.algebraic_points import AlgebraicPoint
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.exact_inertia import exact_inertia
from derivations.interval import IntervalProblem
from derivations.polynomial_system import PolynomialSystem, Samples, polynomial_system
from workbench.engines import singular
from workbench.engines.process import EngineError, Limits, OutOfTime
from workbench.engines.solver import Solution, Solver
from workbench.errors import NotThere
from workbench.exact_cells import CellAnswer, cell_answer, serves
from workbench.exact_manifolds import Manifold, entries, manifolds
from workbench.exact_points import ExactPoint, isolated, numbered, record
from workbench.populations import is_population
from workbench.results import CriticalPoint, WidthSearch

if TYPE_CHECKING:
    from workbench.analysis import Analysis
    from workbench.landscape import Landscape

__all__ = ["ExactAnswer", "exact_answer", "exact_landscape", "system_of"]

#: Seconds that the engines may use unless told otherwise, and unknowns up to which they are asked unless told to.
SECONDS, FEW_UNKNOWNS = 120.0, 6


@dataclass(frozen=True)
class ExactAnswer:
    """All critical points of one polynomial system.

    Parameters
    ----------
    names : tuple of str
        The unknowns.
    points : tuple of ExactPoint
        Orbits of isolated points.
    manifolds : tuple of Manifold
        Components of positive dimension.
    records : tuple of CriticalPoint
        Both as records, sorted by value.
    dimension, count : int, int or None
        Of the solutions over the complex numbers; their number where it is finite and was computed.
    complete : bool
        Whether it is proved that nothing else is critical.
    method : str
        By what.
    morse : int or None
        Sum of the signs of all points where it has to be 1; None where that is not so.
    """

    names: tuple[str, ...]
    points: tuple[ExactPoint, ...]
    manifolds: tuple[Manifold, ...]
    records: tuple[CriticalPoint, ...]
    dimension: int
    count: int | None
    complete: bool
    method: str
    morse: int | None = None
    engines: tuple[str, ...] = field(default=())

    @property
    def real_points(self) -> int:
        """Number of isolated real points, those of every orbit counted."""
        return sum(p.orbit_size for p in self.points)

    def completeness(self) -> dict[str, Any]:
        """Return status, method and numbers, as the JSON of a landscape has them."""
        method, status = self.method, Status.PROVED if self.complete else Status.SUPPORTED
        if self.morse is not None:
            method += f"; the signs (-1)^index of all points sum to {self.morse}"
            if self.morse != 1:
                status = Status.UNDECIDED
                method += ", and those of a complete list to 1: a point is missing"
            else:
                method += ", as they must"
        open_ones = sum(m.real_dimension is None for m in self.manifolds)
        if open_ones:
            method += f"; of {open_ones} components it is not decided whether they have real points"
        found = len(self.records)
        return {
            "status": str(status),
            "method": method,
            "expected": found if status is Status.PROVED else None,
            "found": found,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of what the records do not hold."""
        return {
            "unknowns": list(self.names),
            "dimension": self.dimension,
            "complex_solutions": self.count,
            "real_points": self.real_points,
            "morse_sum": self.morse,
            "engines": list(self.engines),
            "components": [m.to_dict() for m in self.manifolds],
        }


def system_of(analysis: Analysis, frozen: Mapping[str, Any] | None = None) -> tuple[PolynomialSystem, int]:
    """Return the polynomial system of a study at its own width, and that width.

    Raises
    ------
    AssumptionError
        If something is no polynomial or not rational; the message says what.
    """
    study = analysis.required_study("exact critical points")
    problem, model = analysis.problem, study.model
    width = getattr(model, "width", None)
    sizes = {"m": width} if isinstance(width, int) else {}
    sizes |= {f"m{j}": w for j, w in enumerate(getattr(model, "widths", None) or (), start=1)}
    total = sum(sizes.values()) or 1
    if is_population(problem):
        if not isinstance(problem, IntervalProblem):
            raise AssumptionError(
                "exact critical points need samples or an interval; the inputs are Gaussian"
            )
        return polynomial_system(problem, sizes | {"d": 1}), total
    data = analysis.required_data("exact critical points")
    sizes |= {"d": data.d, "o": data.o}
    y = [row[0] for row in data.y] if data.scalar_output else data.y
    return polynomial_system(problem, sizes, Samples.of(data.x, y), frozen), total


def exact_answer(
    system: PolynomialSystem,
    limits: Limits | None = None,
    *,
    width: int = 1,
    engines: tuple[str, ...] | None = None,
    digits: int | None = None,
    bounded: bool = False,
) -> ExactAnswer:
    """Return all critical points of a polynomial system.

    Parameters
    ----------
    system : PolynomialSystem
        From ``derivations.polynomial_system``.
    limits : Limits, optional
        Time for all engines together, and memory of each.
    width : int
        Shown in the ids.
    engines : tuple of str, optional
        Those that may be used; all that are there by default.
    digits : int, optional
        Decimal digits that the certificates are to give.
    bounded : bool
        Whether the risk is bounded below, as with a loss that is not negative: with weight decay it then has a minimum.

    Raises
    ------
    OutOfTime
        If the engines reach the limits.
    EngineError
        If none of them serves.
    """
    limits, begun = limits or Limits(SECONDS), time.monotonic()
    solution = Solver(system.gradient, limits, system.hessian, engines).solve()
    points = isolated(system, solution.points, _multiplicities(system, solution, limits, begun))
    sets = manifolds(system, solution.components, lambda: _share(limits, begun))
    by = " and ".join(solution.engines) or "exact algebra"
    records = [record(system, p, width, f"exact: {by}", digits) for p in points]
    records += entries(system, sets, width, f"exact: {by}", digits)
    coercive = bounded and system.weight_decay > 0
    morse = None
    if coercive and not sets and all(p.inertia[1] == 0 for p in points):
        morse = sum((-1) ** p.inertia[0] * p.orbit_size for p in points)
    return ExactAnswer(
        system.names,
        tuple(points),
        sets,
        numbered(records, coercive and solution.complete),
        solution.dimension,
        solution.count,
        solution.complete,
        solution.method,
        morse,
        solution.engines,
    )


def _share(limits: Limits, begun: float) -> Limits:
    """Return what is left, and at least a tenth: what does not finish is left open and said."""
    return Limits(max(limits.seconds - (time.monotonic() - begun), limits.seconds / 10), limits.memory)


def _multiplicities(
    system: PolynomialSystem, solution: Solution, limits: Limits, begun: float
) -> dict[int, int | None]:
    """Return the multiplicity of every isolated point with a singular Hessian; None where it was not computed."""
    if solution.simple:
        return {}
    out: dict[int, int | None] = {}
    known: dict[Any, int | None] = {}
    for k, point in enumerate(solution.points):
        if not isinstance(point, AlgebraicPoint) or exact_inertia(point, system.hessian)[1] == 0:
            continue
        if point.family not in known:
            known[point.family] = None
            if singular.find() is not None:
                try:
                    equations = [f for f in system.gradient if f]
                    known[point.family] = singular.multiplicity(
                        equations, point.family, _share(limits, begun)
                    )
                except OutOfTime:
                    pass
        out[k] = known[point.family]
    return out


def exact_landscape(
    analysis: Analysis,
    *,
    required: bool,
    frozen: Mapping[str, Any] | None = None,
    digits: int | None = None,
    seconds: float = SECONDS,
) -> Landscape | str:
    """Return the exact list of a study's critical points, or why there is none.

    Parameters
    ----------
    analysis : Analysis
        Of a study.
    required : bool
        False leaves systems of more than ``FEW_UNKNOWNS`` unknowns to the search without asking an engine.
    frozen : mapping, optional
        Values of the frozen blocks.
    digits : int, optional
        Decimal digits that the certificates are to give.
    seconds : float
        Time for the engines.

    Returns
    -------
    Landscape or str
        Without the list the reason; empty where the problem is no polynomial one with rational data.

    Raises
    ------
    NotThere
        If it is required and cannot be had.
    """
    begun = time.perf_counter()
    if analysis.dataset is not None and serves(analysis.problem):
        return _in_cells(analysis, required, digits, seconds, begun)
    try:
        system, width = system_of(analysis, frozen)
    except AssumptionError as error:
        if required:
            raise NotThere(f"no exact list of critical points: {error}") from None
        return ""
    count = len(system.names)
    try:
        if not required and count > FEW_UNKNOWNS:
            raise EngineError(
                f"{count} unknowns; more than {FEW_UNKNOWNS} are tried only with --method exact"
            )
        with analysis.progress.stage(f"solving {count} polynomial equations exactly", 1.0):
            bounded = _is_bounded(analysis)
            found = exact_answer(system, Limits(seconds), width=width, digits=digits, bounded=bounded)
    except (EngineError, ArithmeticError) as error:
        if required:
            raise NotThere(f"no exact list of critical points: {error}") from None
        return str(error)
    return _as_landscape(analysis, found, width, time.perf_counter() - begun)


def _in_cells(
    analysis: Analysis, required: bool, digits: int | None, seconds: float, begun: float
) -> Landscape | str:
    """Return the smooth critical points of a network with kinks, cell by cell, or why there are none."""
    width = getattr(analysis.required_study("exact critical points").model, "width", None) or 0
    data = analysis.required_data("exact critical points")
    try:
        samples = Samples.of(data.x, [row[0] for row in data.y] if data.scalar_output else data.y)
        with analysis.progress.stage("solving polynomial equations in every activation cell", 1.0):
            found = cell_answer(analysis.problem, width, samples, Limits(seconds), digits)
    except (AssumptionError, EngineError, ArithmeticError) as error:
        if required:
            raise NotThere(f"no exact list of critical points: {error}") from None
        return str(error)
    return _as_landscape(analysis, found, width, time.perf_counter() - begun)


def _as_landscape(analysis: Analysis, found: ExactAnswer | CellAnswer, width: int, spent: float) -> Landscape:
    from workbench.landscape import Landscape

    study = analysis.required_study("exact critical points")
    return Landscape(
        study.name,
        study.landscape.seed,
        found.records,
        (),
        (),
        (),
        (WidthSearch(width, 0, 0, 0, 0, spent),),
        False,
        spent,
        analysis,
        exact=found,
    )


def _is_bounded(analysis: Analysis) -> bool:
    """Whether the loss is known not to be negative."""
    problem = analysis.problem.problem if is_population(analysis.problem) else analysis.problem
    return problem.loss is not None and problem.loss.name == "square" and problem.factor >= 0
