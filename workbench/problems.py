"""The problem a study states: samples, a formula, an interval or a Gaussian population.

>>> from workbench.study import study_from_mapping
>>> study = study_from_mapping({"schema": 1, "name": "line", "model": {"activation": "relu", "output_bias": True},
...     "loss": {"reduction": "integral"}, "data": {"kind": "interval", "lower": 0, "upper": 1, "target": "2*x + 1"}})
>>> problem = problem_of(study, load_dataset(study.data))
>>> problem.kind, problem.target
('interval', 2*x + 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from derivations.activations import Activation, activation
from derivations.diagonal_model import DiagonalProblem
from derivations.errors import AssumptionError
from derivations.formula import parse_formula
from derivations.formula_model import FormulaProblem
from derivations.functions import relu, step
from derivations.interval import IntervalProblem
from derivations.losses import loss
from derivations.population import GaussianProblem
from derivations.problem import Problem
from workbench.data import Dataset, GaussianPopulation, IntervalDensity, load_dataset
from workbench.errors import NotThere, Refusal, StudyError, exact_number, fault
from workbench.study import DeepModel, DiagonalModel, FormulaModel, Study, TwoLayerModel

if TYPE_CHECKING:
    from derivations.losses import Loss

__all__ = ["load_dataset", "problem_of"]

#: What a study's data are once read.
Data = Dataset | IntervalDensity | GaussianPopulation | None


def problem_of(study: Study, dataset: Data = None) -> Problem | IntervalProblem | GaussianProblem:
    """Return the problem of a study, with symbolic sizes.

    Parameters
    ----------
    study : Study
        Model and loss.
    dataset : Dataset, IntervalDensity, GaussianPopulation or None
        What ``load_dataset`` makes of ``study.data``; None keeps the samples symbolic.

    Returns
    -------
    Problem, IntervalProblem or GaussianProblem
        A ``FormulaProblem`` (a ``Problem``) for models of kind ``formula``.

    Raises
    ------
    StudyError
        If model and data do not fit together: as many inputs as columns, one output for a formula.
    NotThere
        If this version cannot derive the problem; the message says what it can.
    FormulaError
        If a formula of the study is refused.
    """
    ell = loss(study.loss.kind, margin=parse_formula(study.loss.margin or "1", {}))
    if isinstance(dataset, IntervalDensity | GaussianPopulation):
        return _population(study, dataset, ell)
    if study.loss.reduction == "integral":
        raise NotThere(
            "an integral needs a density: give [data] of kind 'interval' or 'gaussian', or take reduction = 'mean'"
        )
    options = _options(study) | {"reduction": study.loss.reduction}
    if dataset is not None:
        options["teacher"] = dataset.teacher
    if isinstance(study.model, FormulaModel):
        return _formula(study, study.model, dataset, ell, options)
    if isinstance(study.model, DiagonalModel):
        _check_one_output(study, dataset)
        return DiagonalProblem.of(study.model.depth, ell, **options)
    return _network(
        study, ell, options | {"vector_output": dataset is not None and not dataset.scalar_output}
    )


def _options(study: Study) -> dict[str, Any]:
    """Return what every kind of problem takes from the tables, exact."""
    model, table = study.model, study.loss
    return {
        "factor": parse_formula(table.factor, {}),
        "weight_decay": parse_formula(table.weight_decay, {}),
        "freeze": model.freeze,
        "rate": tuple((block, parse_formula(text, {})) for block, text in model.rate),
    }


def _network(study: Study, ell: Loss, options: dict[str, Any]) -> Problem:
    model = study.model
    if not isinstance(model, TwoLayerModel | DeepModel):  # formulas are handled before
        raise TypeError(f"a network is two_layer or deep, got {model.kind}")
    sigma: Activation = activation(model.activation, kink=exact_number(model.kink))
    options |= {"input_bias": model.input_bias, "output_bias": model.output_bias}
    if isinstance(model, DeepModel):
        return Problem.deep(len(model.widths) + 1, sigma, ell, **options)
    return Problem.two_layer(sigma, ell, scale=model.scale, **options)


def _formula(
    study: Study, model: FormulaModel, dataset: Dataset | None, ell: Loss, options: dict[str, Any]
) -> FormulaProblem:
    file = study.path or "study"
    if dataset is not None and dataset.d != len(model.inputs):
        refusal = Refusal(f"{len(model.inputs)} inputs for data with d = {dataset.d}", f"{dataset.d} names")
        raise StudyError(fault(file, "model.inputs", refusal))
    _check_one_output(study, dataset)
    problem = FormulaProblem.of(model.output, model.parameters, model.inputs, ell, **options)
    if exact_number(model.kink) != 0 and problem.system[problem.output].expr.has(relu, step):
        raise NotThere(
            f"in a formula the derivative at a kink of relu is 0, kink = {model.kink} is not there yet; leave it out"
        )
    return problem


def _check_one_output(study: Study, dataset: Dataset | None) -> None:
    if dataset is not None and not dataset.scalar_output:
        refusal = Refusal(f"{dataset.o} outputs", f"one: a {study.model.kind} model has one output")
        raise StudyError(fault(study.path or "study", "data.target", refusal))


def _population(
    study: Study, dataset: IntervalDensity | GaussianPopulation, ell: Loss
) -> IntervalProblem | GaussianProblem:
    where = "an interval" if isinstance(dataset, IntervalDensity) else "a Gaussian population"
    if not isinstance(study.model, TwoLayerModel):
        raise NotThere(
            f"{study.model.kind} models on {where} are not there yet; use kind = 'two_layer', or give samples in [data]"
        )
    problem = _network(study, ell, _options(study))
    try:
        if isinstance(dataset, IntervalDensity):
            reduction = "integral" if study.loss.reduction == "integral" else "mean"
            return IntervalProblem(
                problem, dataset.lower, dataset.upper, dataset.x, dataset.target, reduction
            )
        return GaussianProblem(problem, dataset.x, dataset.target, dataset.dimension)
    except AssumptionError as error:
        raise NotThere(
            f"this loss over {where} is not there yet: {error}; or give samples in [data]"
        ) from None
