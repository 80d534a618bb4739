r"""How many functions the gradient flow of a study conserves, so that the list of known ones is complete or not.

Exact where the activation is piecewise polynomial; else by a numerical rank, which supports and does not prove.

>>> from derivations.problem import Problem
>>> found = counted_laws(Problem.two_layer("relu", "square", input_bias=True), {"m": 1, "d": 1})
>>> str(found.status), "exactly 1" in found.statement
('PROVED', True)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf

from derivations.errors import AssumptionError
from derivations.law_count import law_count
from derivations.problem import Problem
from derivations.statement import Statement
from numerics.law_rank import LawRank, law_rank

__all__ = ["MOST_PARAMETERS", "counted_laws"]

#: Networks with more parameters are better not counted: brackets of brackets take minutes.
MOST_PARAMETERS = 12


def counted_laws(problem: Problem, sizes: Mapping[str, int]) -> Statement | None:
    """Return the statement on the number of conserved functions at given sizes; None where it does not apply.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep; weight decay is left out.
    sizes : mapping
        Widths, ``d``, and ``o`` for vector outputs.
    """
    if problem.kind not in ("two_layer", "deep") or problem.weight_decay != 0 or problem.activation is None:
        return None
    values = {
        str(dim): sizes[str(dim)]
        for block in problem.blocks
        for dim in block.tensor.dims
        if str(dim) in sizes
    }
    try:
        return law_count(problem, values).statement()
    except AssumptionError:
        return _measured(law_rank(problem, values), values)


def _measured(found: LawRank, sizes: Mapping[str, int]) -> Statement:
    at = ", ".join(f"{name} = {value}" for name, value in sizes.items())
    laws = "no function is" if found.laws == 0 else f"exactly {found.laws} independent functions are"
    known = ""
    if found.laws and found.complete is not None:
        known = " The known ones are all of them." if found.complete else f" {found.known} of them are known."
    ranks = ", ".join(map(str, found.levels))
    gap = "every singular value counts" if isinf(found.gap) else f"the gap is a factor {found.gap:.1e}"
    return Statement(
        "number of conservation laws",
        rf"For ${at}$, near a random point, {laws} conserved along the gradient flow of every data set.{known}",
        (
            rf"The gradient fields of the outputs and their brackets, level by level, have numerical rank ${ranks}$ at the"
            rf" point ({gap}; smallest singular value {found.smallest:.2g}, fields of length 1);"
            rf" ${found.dimension} - {found.trace} = {found.laws}$.",
        ),
        found.status,
        source="marcotte2023",
    )
