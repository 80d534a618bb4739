"""Signed permutations of the parameters of a formula that keep its output, proved one at a time.

>>> problem = FormulaProblem.of("a*sin(u*x) + b*sin(v*x)", ["a", "u", "b", "v"])
>>> keeps_outputs(problem, [2, 3, 0, 1], [1, 1, 1, 1]), keeps_outputs(problem, [0, 1, 2, 3], [-1, -1, 1, 1])
(True, True)
>>> keeps_outputs(problem, [0, 1, 2, 3], [-1, 1, 1, 1])
False
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import expand, simplify

from derivations.formula_model import FormulaProblem

__all__ = ["keeps_outputs"]


def keeps_outputs(problem: FormulaProblem, order: Sequence[int], signs: Sequence[int]) -> bool:
    """Say whether putting ``signs[j] * theta[order[j]]`` in the place of parameter j is shown to keep the output.

    True is a proof, by the difference simplified to 0; False says that there was none.
    """
    names = problem.names
    moved = {s: sign * names[j] for s, j, sign in zip(names, order, signs, strict=True)}
    left = expand(problem.formula.subs(moved, simultaneous=True) - problem.formula)
    return bool(left == 0 or simplify(left) == 0)
