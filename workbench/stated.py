"""The constrained problem of the table ``[kkt]``: formulas in the parameters of the model, its risk and its outputs.

>>> from workbench.study import study_from_mapping
>>> study = study_from_mapping({"schema": 1, "name": "disc", "kkt": {"parameters": ["x", "y"], "objective": "x + y",
...     "inequalities": ["x**2 + y**2 <= 2"]}})
>>> str(stated_problem(study, None, None).lagrangian)
'lambda_1*(x**2 + y**2 - 2) + x + y'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sympy import Expr

from derivations.constrained import Constrained
from derivations.constrained_problems import constrained
from derivations.errors import FormulaError
from derivations.indexed import Index
from derivations.kkt_instance import Instance, instance
from derivations.problem import Problem
from derivations.stated import Stated, stated
from derivations.stated_result import SolvedConditions, solved_conditions
from workbench.data import Dataset
from workbench.errors import Refusal, StudyError, fault
from workbench.study import DeepModel, FormulaModel, Study, TwoLayerModel

__all__ = ["stated_kkt", "stated_problem"]


def stated_kkt(study: Study, problem: Any, dataset: Dataset | None) -> SolvedConditions:
    """Return the KKT conditions of the table ``[kkt]``, and their solutions where the formulas allow.

    Raises
    ------
    StudyError
        As ``stated_problem``.
    """
    return solved_conditions(stated_problem(study, problem, dataset))


def stated_problem(study: Study, problem: Any, dataset: Dataset | None) -> Stated:
    """Return the problem stated in ``[kkt]``.

    Parameters
    ----------
    study : Study
        With the table.
    problem : Problem or None
        That of the study, for its risk R and outputs f_1, f_2, ...
    dataset : Dataset or None
        Samples; without them a formula names parameters only.

    Raises
    ------
    StudyError
        If a formula is refused, or the names of the parameters are not known: file, key, what was found and what is accepted.
    """
    table = study.kkt
    assert table is not None  # the caller has looked
    names, given = _names(study, problem, dataset)
    try:
        return stated(
            table.objective,
            names,
            equalities=table.equalities,
            inequalities=table.inequalities,
            maximise=table.maximise,
            given=given,
        )
    except FormulaError as error:
        accepted = f"formulas in {', '.join([*names, *given])}"
        reason = " ".join(error.reason.split())
        raise StudyError(fault(study.path or "study", "kkt", Refusal(reason, accepted))) from None


def _names(study: Study, problem: Any, dataset: Dataset | None) -> tuple[Sequence[str], Mapping[str, Expr]]:
    """Return the names of the unknowns, and what else formulas may name."""
    table, model = study.kkt, study.model
    assert table is not None
    if table.parameters is not None:
        return table.parameters, {}
    if dataset is None and isinstance(model, FormulaModel):
        return model.parameters, {}
    width = _width(study)
    if dataset is None or width is None or not isinstance(problem, Problem):
        raise StudyError(
            fault(
                study.path or "study",
                "kkt.parameters",
                Refusal(
                    "nothing",
                    "names of the unknowns, or a model with samples in [data] and a width, whose parameters they then are",
                ),
            )
        )
    y = [row[0] for row in dataset.y] if dataset.scalar_output else dataset.y
    try:
        written = instance(_unconstrained(problem), dataset.x, y, width)
    except ValueError as error:
        raise StudyError(
            fault(study.path or "study", "kkt", Refusal(str(error), "exact algebraic data"))
        ) from None
    return [u.name for u in written.unknowns.values()], _known(written, dataset)


def _width(study: Study) -> int | tuple[int, ...] | None:
    if isinstance(study.model, TwoLayerModel):
        return study.model.width
    return study.model.widths if isinstance(study.model, DeepModel) else ()


def _unconstrained(problem: Problem) -> Constrained:
    """Return the risk as an objective; frozen blocks are unknowns like the others."""
    return constrained(replace(problem, freeze=()), "stated", objective=problem.risk())


def _known(written: Instance, dataset: Dataset) -> dict[str, Expr]:
    """Return the risk R and the outputs f_i (f_i_c) in the unknowns."""
    problem = written.given.problem
    known = {"R": written.objective}
    formals = problem.system.formals(problem.output)
    places: list[tuple[int, ...]] = [(i,) for i in range(1, dataset.n + 1)]
    if problem.vector_output:
        places = [(*place, c) for place in places for c in range(1, dataset.o + 1)]
    for place in places:
        output = problem.output[tuple(Index(u.name, u.dim) for u in formals)]
        value = written.at(output, formals, place)
        known["_".join(["f", *map(str, place)])] = value.xreplace(written.unknowns)
    return known
