"""The critical points of a study at its own width: by exact algebra where it applies and finishes, else by a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivations.interval import IntervalProblem
from workbench.errors import StudyError

if TYPE_CHECKING:
    from workbench.analysis import Analysis
    from workbench.landscape import Landscape

__all__ = ["critical_list", "linked_list"]


def critical_list(
    analysis: Analysis,
    widths: tuple[int, ...],
    method: str,
    *,
    index: int | None = None,
    frozen: Mapping[str, Any] | None = None,
    digits: int | None = None,
    exhaust: float | None = None,
) -> Landscape:
    """Return the critical points; ``method`` is ``auto``, ``exact`` or ``numeric``.

    With ``auto`` an exact list is tried first where the equations are polynomials over the rationals in few unknowns; where no
    engine finishes, the search follows and the landscape says why.  An index asks for a search.  ``exhaust`` are the seconds that a
    search of the whole box of parameters may take, 0 for none; see ``workbench.supplement``.

    Raises
    ------
    NotThere
        If an exact list is asked for and cannot be had; the message says why.
    StudyError
        If ``index`` is given to the exact method, which lists the points of every index.
    """
    from workbench.certify import certified_landscape
    from workbench.exact import exact_landscape
    from workbench.searches import explored
    from workbench.supplement import judged

    if method == "exact" and index is not None:
        raise StudyError(
            f"--index: found {index}; accepted with --method exact: none, as it lists points of every index"
        )
    why = ""
    if method == "exact" or (method == "auto" and index is None and not _in_strata(analysis, widths)):
        exact = exact_landscape(analysis, required=method == "exact", frozen=frozen, digits=digits)
        if not isinstance(exact, str):
            return judged(analysis, exact)
        why = exact
    found = explored(analysis, widths, connect=False, index=index, frozen=frozen, exhaust=exhaust)
    return judged(analysis, replace(certified_landscape(analysis, found, digits), not_exact=why))


def linked_list(analysis: Analysis, widths: tuple[int, ...], *, connect: bool) -> Landscape:
    """Return the critical points of several widths by a search, with ``connect`` also embeddings and descents."""
    from workbench.arrivals import with_arrivals
    from workbench.certify import certified_landscape
    from workbench.searches import explored
    from workbench.supplement import judged

    found = certified_landscape(analysis, explored(analysis, widths, connect=connect))
    return judged(analysis, with_arrivals(analysis, found))


def _in_strata(analysis: Analysis, widths: tuple[int, ...]) -> bool:
    """Whether every critical point over the interval is known in strata, which say more."""
    from workbench.exact_sets import exact_sets

    problem = analysis.problem
    return isinstance(problem, IntervalProblem) and all(exact_sets(problem, width) for width in widths)
