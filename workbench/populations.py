r"""Populations in numbers: an interval problem or a Gaussian problem compiled at a width, and said in words.

>>> from sympy import Symbol
>>> from derivations.problem import Problem
>>> x = Symbol("x", real=True)
>>> line = IntervalProblem(Problem.two_layer("relu", "square"), Integer(0), Integer(1), x, 2 * x + 1)
>>> sentence(line)
'The inputs fill the interval from $0$ to $1$ with density $1$; the target is $y(x) = 2 x + 1$.'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sympy import Integer

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.latex import latex
from derivations.population import GaussianProblem
from derivations.statement import Statement
from workbench.errors import NotThere, StudyError
from workbench.tex import Tex

if TYPE_CHECKING:
    from numerics.compile import CompiledSystem
    from numerics.interval_system import IntervalSystem
    from numerics.population_system import PopulationSystem
    from workbench.study import Study

__all__ = ["Population", "compiled", "digest", "for_population", "inputs_of", "integration", "is_population"]
__all__ += ["sentence"]

Population = IntervalProblem | GaussianProblem

#: Last step of a proof that holds for all samples.
EVERY_POPULATION = (
    "The proof holds for all samples. Risk and gradient over the population are theirs with means over samples replaced by "
    "integrals, so that it holds for the population as well."
)


def is_population(problem: Any) -> bool:
    """Say whether the risk of a problem is a mean over a population rather than over samples."""
    return isinstance(problem, IntervalProblem | GaussianProblem)


def compiled(
    problem: Population, width: int, *, device: str, dtype: str
) -> IntervalSystem | PopulationSystem:
    """Return value, gradient, Hessian and outputs of a population as batched functions.

    Raises
    ------
    StudyError
        If numbers are missing, or the dtype does not serve.
    NotThere
        If a formula of the study has no PyTorch form.
    """
    import torch

    from numerics.interval_system import compile_interval
    from numerics.population_system import compile_population

    where = {"device": device, "dtype": getattr(torch, dtype)}
    try:
        if isinstance(problem, IntervalProblem):
            return compile_interval(problem, width, **where)
        return compile_population(problem, width, **where)
    except (AssumptionError, ValueError) as error:
        raise StudyError(f"a loss over {problem.kind} data in numbers: {error}") from None
    except NotImplementedError as error:
        raise NotThere(f"a loss over {problem.kind} data in numbers: {error}") from None


def inputs_of(problem: Population) -> int:
    """Return the number of inputs d."""
    return 1 if isinstance(problem, IntervalProblem) else int(problem.dimension)


def integration(system: CompiledSystem) -> str:
    """Return how the integrals of a compiled population are computed, in words."""
    return str(getattr(system, "integration", ""))


def sentence(problem: Population) -> Tex:
    """Return what the population is, in words."""
    if isinstance(problem, IntervalProblem):
        ends = f"from ${latex(problem.lower)}$ to ${latex(problem.upper)}$"
        length = problem.upper - problem.lower
        density = Integer(1) if problem.reduction == "integral" else 1 / length
        return Tex(
            f"The inputs fill the interval {ends} with density ${latex(density)}$; "
            f"the target is $y(x) = {latex(problem.target)}$."
        )
    notes = problem.derive("risk").notes
    return Tex(next(note for note in notes if note.startswith("Inputs are")))


def for_population(statements: Sequence[Statement]) -> list[Statement]:
    """Return what statements about a network say of its risk over a population.

    What is proved for all samples holds for a population, whose risk and gradient are limits of those of samples.  What is
    refuted by samples, or absent for some, may hold for one population, and is left out.
    """
    kept = [s for s in statements if s.status is not Status.REFUTED and not s.name.startswith("no ")]
    return [replace(s, steps=(*s.steps, EVERY_POPULATION)) for s in kept]


def digest(study: Study) -> str:
    """Return the SHA-256 of the data table of a study, under which results are stored."""
    text = json.dumps(study.to_dict()["data"], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
