r"""How many functions the gradient flow of a study conserves, so that the list of known ones is complete or not.

Exact where the outputs are piecewise polynomial in the parameters; else by a numerical rank, which supports and does not prove.
Where the known laws are not all there are, every polynomial law up to a stated degree is searched for.

>>> from derivations.problem import Problem
>>> found = counted_laws(Problem.two_layer("relu", "square", input_bias=True), {"m": 1, "d": 1})
>>> str(found.status), "exactly 1" in found.statement
('PROVED', True)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import comb, isinf
from typing import Any

from sympy import S, latex

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.law_count import LawCount, law_count
from derivations.law_search import LawSearch, law_search
from derivations.problem import Problem
from derivations.statement import Statement
from numerics.law_rank import LawRank, law_rank
from workbench.data import Dataset
from workbench.study import DeepModel, FormulaModel, Study, TwoLayerModel

__all__ = ["MOST_PARAMETERS", "MOST_SHOWN", "CountedLaws", "counted_laws", "law_statements", "sizes_of"]

#: Networks with more parameters are better not counted: brackets of brackets take minutes.
MOST_PARAMETERS = 12
#: The same where the count was asked for: up to here it took seconds.
MOST_SHOWN = 24
#: Degrees of the polynomial search, and the number of coefficients up to which one is tried.
_DEGREES, _MOST_COEFFICIENTS = (4, 3, 2), 500


@dataclass(frozen=True)
class CountedLaws(Statement):
    """A statement on the number of laws, with the numbers.

    Attributes
    ----------
    numbers : mapping
        ``sizes``, ``parameters``, ``laws``, ``listed`` (independent ones among those listed), ``complete`` (true, false or
        null), ``ranks`` level by level and the ``method``; of a search ``degree``, independent ``laws``, their number
        ``independent``, the dimension of the ``space`` of all, and ``complete``.
    """

    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return the statement as plain data, with the numbers."""
        return {**super().to_dict(), "numbers": dict(self.numbers)}


def counted_laws(problem: Problem, sizes: Mapping[str, int]) -> Statement | None:
    """Return the statement on the number of conserved functions at given sizes; None where it does not apply.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep, or a formula; with weight decay there is none.
    sizes : mapping
        Widths, ``d``, and ``o`` for vector outputs; empty for a formula.
    """
    if problem.weight_decay != 0 or not _countable(problem):
        return None
    return _counted(problem, _needed(problem, sizes))[0]


def law_statements(problem: Problem, sizes: Mapping[str, int]) -> list[Statement]:
    """Return the number of conserved functions and, where the list is not complete, what a polynomial search finds.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep, or a formula.  Weight decay is left out, and said to be.
    sizes : mapping
        As for ``counted_laws``.
    """
    if not _countable(problem):
        return []
    plain, values = replace(problem, weight_decay=S.Zero), _needed(problem, sizes)
    parameters = _trained(plain, values)
    if parameters == 0:
        return []
    if parameters > MOST_SHOWN:
        text = (
            rf"There are ${parameters}$ trained parameters; conserved functions are counted for up to ${MOST_SHOWN}$. Whether the list "
            "is complete is open."
        )
        return [CountedLaws("number of conservation laws", text, source="marcotte2023")]
    try:
        count, complete = _counted(plain, values)
    except ValueError as error:
        text = f"Conserved functions are not counted: {error}."
        return [CountedLaws("number of conservation laws", text, source="marcotte2023")]
    if problem.weight_decay != 0:
        more = r" This is without weight decay; with it, conserved functions $H$ turn into $H(e^{\lambda t} \theta)$, rates being $1$."
        count = replace(count, statement=count.statement + more)
    found: list[Statement] = [count]
    if complete is not True and "laws" in count.numbers and count.numbers["laws"] != 0:
        found += _searched(plain, values, parameters)
    return found


def sizes_of(study: Study, dataset: Dataset | None) -> dict[str, int] | None:
    """Return the sizes of a study, a formula having none; None where the width or the data are not given."""
    model = study.model
    if isinstance(model, FormulaModel):
        return {}
    if dataset is None or not isinstance(model, TwoLayerModel | DeepModel):
        return None
    sizes = {"d": dataset.d, "o": dataset.o}
    if isinstance(model, DeepModel):
        return {**sizes, **{f"m{number}": width for number, width in enumerate(model.widths, start=1)}}
    return None if model.width is None else {**sizes, "m": model.width}


def _countable(problem: Problem) -> bool:
    if isinstance(problem, FormulaProblem):
        return True
    return problem.kind in ("two_layer", "deep") and problem.activation is not None


def _needed(problem: Problem, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes that occur in the blocks of the problem."""
    dims = [str(dim) for block in problem.blocks for dim in block.tensor.dims]
    return {name: sizes[name] for name in dims if name in sizes}


def _trained(problem: Problem, sizes: Mapping[str, int]) -> int:
    total = 0
    for block in problem.blocks:
        if block.trained and block.rate != 0:
            size = 1
            for dim in block.tensor.dims:
                size *= sizes[str(dim)]
            total += size
    return total


def _counted(problem: Problem, sizes: dict[str, int]) -> tuple[CountedLaws, bool | None]:
    complete: bool | None
    try:
        exact = law_count(problem, sizes)
    except AssumptionError:
        measured = law_rank(problem, sizes)
        found, complete = _measured(measured, sizes), measured.complete
    else:
        found, complete = _exactly(exact, sizes), exact.complete
    frozen = [block.name for block in problem.blocks if not block.trained or block.rate == 0]
    if frozen:
        names = ", ".join(rf"$\mathtt{{{name}}}$" for name in frozen)
        text = (
            found.statement
            + f" The frozen {names} had random values; other signs of theirs may give another number."
        )
        found = replace(found, statement=text)
    return found, complete


def _exactly(found: LawCount, sizes: dict[str, int]) -> CountedLaws:
    statement = found.statement()
    numbers = {
        "sizes": sizes,
        "parameters": found.dimension,
        "laws": found.laws,
        "listed": found.known,
        "complete": found.complete,
        "ranks": list(found.levels),
        "method": "exact ranks at a random rational point",
    }
    return CountedLaws(
        statement.name,
        _at(sizes) + statement.statement,
        statement.steps,
        statement.status,
        statement.residuals,
        statement.source,
        numbers,
    )


def _at(sizes: Mapping[str, int]) -> str:
    return (
        "Sizes $" + ", ".join(f"{name} = {value}" for name, value in sizes.items()) + "$. " if sizes else ""
    )


def _measured(found: LawRank, sizes: dict[str, int]) -> CountedLaws:
    laws = "no function is" if found.laws == 0 else f"exactly {found.laws} independent functions are"
    if found.laws == 1:
        laws = "exactly 1 function is"
    known = ""
    if found.laws and found.complete is not None:
        known = " The known ones are all of them." if found.complete else f" {found.known} of them are known."
    ranks = ", ".join(map(str, found.levels))
    gap = "every singular value counts" if isinf(found.gap) else f"the gap is a factor {found.gap:.1e}"
    numbers = {
        "sizes": sizes,
        "parameters": found.dimension,
        "laws": found.laws,
        "listed": found.known,
        "complete": found.complete,
        "ranks": list(found.levels),
        "method": "numerical rank",
    }
    return CountedLaws(
        "number of conservation laws",
        rf"{_at(sizes)}Near a random point, {laws} conserved along the gradient flow of every data set.{known}",
        (
            rf"The gradient fields of the outputs and their brackets, level by level, have numerical rank ${ranks}$ at the"
            rf" point ({gap}; smallest singular value {found.smallest:.2g}, fields of length 1);"
            rf" ${found.dimension} - {found.trace} = {found.laws}$.",
        ),
        found.status,
        source="marcotte2023",
        numbers=numbers,
    )


def _searched(problem: Problem, sizes: dict[str, int], parameters: int) -> list[Statement]:
    """Return what a search among polynomials finds, where it can be made."""
    degree = next((u for u in _DEGREES if comb(parameters + u, u) - 1 <= _MOST_COEFFICIENTS), None)
    if degree is None:
        return []
    try:
        found = law_search(problem, sizes, degree=degree)
    except AssumptionError:
        return []
    return [_search_statement(found, sizes)]


def _search_statement(found: LawSearch, sizes: dict[str, int]) -> CountedLaws:
    listed = ", ".join(f"${latex(law)}$" for law in found.generators)
    what = f"they are functions of {listed}" if found.laws else "there is none but constants"
    if len(found.laws) > found.independent:
        what += f" (they form a space of dimension ${len(found.laws)}$ modulo constants)"
    closing = {
        True: "Every conserved function is, near a generic point, a function of such polynomials.",
        False: "There are conserved functions that are not functions of such polynomials.",
        None: "Whether every conserved function is a function of such polynomials is open.",
    }[found.complete]
    where = "" if found.count.whole else " (for the inputs drawn, within the cells of a random point)"
    proved = all(u == 0 for u in found.residuals)
    return CountedLaws(
        "polynomial conservation laws",
        rf"{_at(sizes)}Conserved polynomials of degree at most ${found.degree}${where}: {what}. {closing}",
        (
            "That a polynomial is conserved for all data is a linear system for its coefficients, solved exactly; each solution was "
            "substituted.",
        ),
        Status.PROVED if proved else Status.UNDECIDED,
        {f"drift {position}": u for position, u in enumerate(found.residuals, start=1) if u != 0},
        "marcotte2023",
        {
            "sizes": sizes,
            "degree": found.degree,
            "laws": [str(law) for law in found.generators],
            "space": len(found.laws),
            "independent": found.independent,
            "complete": found.complete,
        },
    )
