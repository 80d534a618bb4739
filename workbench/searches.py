"""Which search serves which study: networks that are sorted into strata, any other smooth model, populations.

Two-layer networks whose identities are permutations, signs and copies of neurons are reduced to irreducible ones
(``workbench.search``), and their widths are linked.  ``workbench.general_search`` lists the critical points of every other smooth model on
samples, of one width.

The landscape of a smooth network on an interval is that of weighted samples: the machinery for samples serves as it is.
Kinked, polynomial or rescalable activations have more identities than it knows, and Gaussian inputs have no samples at all;
there ``workbench.population_search`` lists the critical points of each width, without embeddings and descents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from derivations.almost_everywhere import has_kinks
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.interval import IntervalProblem
from derivations.problem import Problem
from workbench.errors import NotThere, StudyError
from workbench.populations import Population, inputs_of, is_population
from workbench.study import TwoLayerModel

if TYPE_CHECKING:
    from derivations.critical_sets import CriticalSets
    from numerics.compile import CompiledSystem
    from workbench.analysis import Analysis
    from workbench.data import Dataset
    from workbench.landscape import Landscape
    from workbench.network import Architecture
    from workbench.results import CriticalPoint

__all__ = ["explored", "is_smooth", "modelled", "one_thread"]

#: Largest entry of an input or of the targets, from and up to which a search is meaningful.
SMALLEST_DATA, LARGEST_DATA = 0.05, 30.0
#: Further inputs at which network functions are compared, at least.
PROBES = 12
#: Inputs at which the size of a target on an interval is read off.
GRID = 33


def explored(
    analysis: Analysis,
    widths: tuple[int, ...],
    *,
    connect: bool,
    index: int | None = None,
    frozen: Mapping[str, Any] | None = None,
    exhaust: float | None = None,
) -> Landscape:
    """Return the critical points of some widths, with ``connect`` also embeddings and descents.

    ``index`` has every second start follow eigenvectors to saddles of that index; ``frozen`` are the values of frozen blocks;
    ``exhaust`` are the seconds for branch and prune at each width, None for a few where parameters are few.

    Raises
    ------
    StudyError
        If there is no study or no data, the data are not of order one, or the dtype is not float64.
    NotThere
        If this version has no such search; the message says what would serve.
    """
    study = analysis.required_study("the landscape")
    data = None if is_population(analysis.problem) else analysis.required_data("the landscape")
    if connect and not isinstance(study.model, TwoLayerModel):
        raise NotThere(
            f"the landscape of {study.model.kind} models is not there yet; it needs kind = 'two_layer'. 'workbench critical' lists "
            "the critical points"
        )
    if frozen and not study.model.freeze:
        raise StudyError(
            f"{study.name}: found values of {', '.join(frozen)}; accepted: none, as no block is frozen"
        )
    if analysis.dtype != "float64":
        raise StudyError(
            f"--dtype: found {analysis.dtype}; accepted: float64, since inertia needs eigenvalues to 1e-9 of the largest"
        )
    from workbench.network import architecture

    if data is not None:
        _check_scale(study.name, _columns(data))
        try:
            shape = architecture(analysis.problem, data.d, data.o)
        except NotThere:
            if not isinstance(study.model, TwoLayerModel) and not is_smooth(analysis.problem):
                raise NotThere(
                    "the search needs outputs and a loss without kinks, where critical points are zeros of the gradient; use a "
                    "smooth activation or formula and a smooth loss"
                ) from None
            if connect or not is_smooth(analysis.problem):
                raise
            return modelled(analysis, index, frozen or {}, exhaust)
        return _linked(analysis, shape, widths, connect=connect, index=index, exhaust=exhaust)
    if isinstance(study.model, TwoLayerModel) and study.model.freeze:
        raise NotThere(
            "the search over a population moves every block; leave freeze empty, or give samples in [data]"
        )
    _check_scale(study.name, _population_columns(analysis.problem))
    try:
        if not isinstance(analysis.problem, IntervalProblem):
            raise NotThere("the landscape over Gaussian inputs is not there yet")
        shape = architecture(analysis.problem.problem, 1, 1)
    except NotThere as missing:
        if connect:
            raise NotThere(
                f"{missing}; 'workbench critical' lists the critical points of one width of this population"
            ) from None
        return _listed(analysis, widths)
    return _linked(analysis, shape, widths, connect=connect)


def is_smooth(problem: Problem) -> bool:
    """Whether outputs and loss of samples are shown to have no kinks, so that critical points are zeros of the gradient."""
    if problem.loss is None or has_kinks(problem.loss.expr):
        return False
    if isinstance(problem, FormulaProblem):
        return not has_kinks(problem.formula)
    return problem.activation is not None and problem.activation.is_smooth is True


def modelled(
    analysis: Analysis,
    index: int | None = None,
    frozen: Mapping[str, Any] | None = None,
    exhaust: float | None = None,
) -> Landscape:
    """Search a smooth model of any kind at the study's own width, points sorted by function and spectrum."""
    from workbench.general_search import Request, search_model
    from workbench.landscape import Landscape
    from workbench.supplement import Supplement

    study, begun = analysis.required_study("the search"), time.perf_counter()
    system = analysis.compile()
    frozen = frozen or {}
    _check_frozen(system, study.name, frozen)
    width = sum(value for name, value in system.sizes.items() if name.startswith("m")) or 1
    request = Request(study.landscape.starts, study.landscape.seed, index, dict(frozen))
    supplement = Supplement(analysis, exhaust)
    with one_thread(), analysis.progress.stage(f"searching critical points of width {width}") as update:
        found = search_model(
            system, _elsewhere(system), width, request, update, analysis.remember, supplement
        )
    return Landscape(
        study.name,
        study.landscape.seed,
        found.points,
        (),
        (),
        (),
        (found.search,),
        False,
        time.perf_counter() - begun,
        analysis,
        exhausted=supplement.exhausted,
    )


def _elsewhere(system: CompiledSystem) -> CompiledSystem:
    """Return the same model at random inputs of the size of the data."""
    import torch

    from numerics.compile import CompiledSystem

    generator = torch.Generator().manual_seed(0)
    count = max(PROBES, system.P + 2)
    draws = torch.randn(count, system.x.shape[1], generator=generator, dtype=torch.float64)
    x = draws.to(system.x) * system.x.abs().amax(dim=0)
    widths = {name: size for name, size in system.sizes.items() if name.startswith("m")}
    return CompiledSystem(
        system.problem, x, torch.zeros_like(system.y[:1]).expand(count, *system.y.shape[1:]).clone(), widths
    )


def _check_frozen(system: CompiledSystem, name: str, frozen: Mapping[str, Any]) -> None:
    """Refuse frozen blocks without values, and values of other blocks."""
    wanted = [block.name for block in system.problem.blocks if not block.trained]
    missing = [block for block in wanted if block not in frozen]
    if missing:
        raise StudyError(
            f"{name}: model.freeze: found {', '.join(missing)} without values; accepted: their values in a file, one object of "
            "blocks, given with --frozen THETA.json (in Python critical(frozen={...}))"
        )
    for block in frozen:
        if block not in wanted:
            raise StudyError(
                f"{name}: values of the block '{block}', which is not frozen; accepted: {', '.join(wanted) or 'none, as no block is'}"
            )
    shapes = {name: shape for name, shape, _ in system.layout}
    for block in wanted:
        import torch

        found = tuple(torch.as_tensor(frozen[block]).shape)
        if found != shapes[block]:
            raise StudyError(
                f"{name}: frozen block '{block}': found the shape {found}; accepted: {shapes[block]}"
            )


def _linked(
    analysis: Analysis,
    shape: Architecture,
    widths: tuple[int, ...],
    *,
    connect: bool,
    index: int | None = None,
    exhaust: float | None = None,
) -> Landscape:
    """Search at every width, modulo the symmetries of the architecture."""
    from workbench.exploration import Settings, explore
    from workbench.landscape import Landscape
    from workbench.prefetch import prefetch
    from workbench.supplement import Supplement

    study, begun = analysis.required_study("the landscape"), time.perf_counter()
    problem = analysis.problem.problem if is_population(analysis.problem) else analysis.problem
    settings = Settings(widths, study.landscape.starts, study.landscape.seed, connect, index)
    supplement = Supplement(analysis, exhaust)
    prefetch(analysis, widths, index)
    with one_thread():
        found = explore(
            shape,
            analysis.compile,
            settings,
            merges=problem.weight_decay == 0,
            progress=analysis.progress,
            remember=analysis.remember,
            supplement=supplement,
        )
    return Landscape(
        study.name,
        settings.seed,
        found.points,
        found.edges,
        found.channels,
        found.checks,
        found.searches,
        connect,
        time.perf_counter() - begun,
        analysis,
        exhausted=supplement.exhausted,
        strata=found.strata,
        strings=found.barriers,
    )


def _listed(analysis: Analysis, widths: tuple[int, ...]) -> Landscape:
    """Classify exactly at every width, or else search, points sorted by network function."""
    from numerics.interval_system import IntervalSystem
    from numerics.population_system import PopulationSystem
    from workbench.exact_sets import entries, exact_sets
    from workbench.landscape import Landscape
    from workbench.population_search import search_population
    from workbench.results import WidthSearch

    study, begun = analysis.required_study("the landscape"), time.perf_counter()
    points: list[CriticalPoint] = []
    searches: list[WidthSearch] = []
    classified: list[CriticalSets] = []
    for width in widths:
        system = analysis.compile(width)
        assert isinstance(system, IntervalSystem | PopulationSystem)  # what a population compiles to
        sets, start = None, time.perf_counter()
        if isinstance(system, IntervalSystem):
            with analysis.progress.stage(
                f"classifying critical points of width {width} exactly", 1 / len(widths)
            ):
                sets = exact_sets(system.interval, width)
        if sets is not None:
            assert isinstance(system, IntervalSystem)
            points += entries(system, sets)
            searches.append(WidthSearch(width, 0, 0, 0, 0, time.perf_counter() - start))
            classified.append(sets)
            continue
        title = f"searching critical points of width {width}"
        with one_thread(), analysis.progress.stage(title, 1 / len(widths)) as update:
            found = search_population(
                system, study.landscape.starts, study.landscape.seed, update, analysis.remember
            )
        points += found.points
        searches.append(found.search)
    seconds = time.perf_counter() - begun
    return Landscape(
        study.name,
        study.landscape.seed,
        tuple(points),
        (),
        (),
        (),
        tuple(searches),
        False,
        seconds,
        analysis,
        tuple(classified),
    )


_Columns = Sequence[tuple[str, Sequence[float]]]


def _columns(data: Dataset) -> _Columns:
    columns = [(f"input {k + 1}", [row[k] for row in data.x_float()]) for k in range(data.d)]
    return [*columns, ("y", [value for row in data.y_float() for value in row])]


def _population_columns(problem: Population) -> _Columns:
    """Sizes of inputs and targets of a population; nothing where they are symbols, which compiling refuses."""
    try:
        if not isinstance(problem, IntervalProblem):
            inputs_of(problem)
            return [("y", [float(problem.target_square) ** 0.5])]
        lower, upper = float(problem.lower), float(problem.upper)
        grid = [lower + (upper - lower) * j / (GRID - 1) for j in range(GRID)]
        target = [float(problem.target.subs(problem.x, u)) for u in grid]
    except (TypeError, AssumptionError):
        return []
    return [("input", [lower, upper]), ("y", target)]


def _check_scale(name: str, columns: _Columns) -> None:
    """Refuse data that are not of order one: the starts of the search and its tolerances are for such data only."""
    for what, values in columns:
        size = max(abs(value) for value in values)
        if size != 0 and not SMALLEST_DATA <= size <= LARGEST_DATA:
            raise StudyError(
                f"{name}: data: {what}: found numbers up to {size:.3g} in size; accepted: up to between {SMALLEST_DATA} and"
                f" {LARGEST_DATA}, for which the search is made. Divide them by a constant (standardize = true does it for"
                " the inputs of a file)"
            )


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: the many small matrices of a search are slower on several, and not reproducible."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
