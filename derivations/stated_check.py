r"""Whether one exact point of a stated problem is a KKT point, kinks included, and whether its constraints balance without the cost.

With the limiting gradients :math:`g_{0j}` of the cost and :math:`g_{ij}` of the active constraints the conditions are a linear
programme,

.. math:: \sum_j \tau_j g_{0j} + \sum_{i} \sum_j \lambda_{ij} g_{ij} + \sum_e \mu_e \nabla h_e = 0, \qquad
    \tau_j, \lambda_{ij} \ge 0, \quad \sum_j \tau_j = 1, \quad \lambda_i = \sum_j \lambda_{ij},

decided in exact arithmetic.

Source: Clarke, *Optimization and Nonsmooth Analysis*, 1983, Theorem 6.1.1.

>>> from derivations.stated import stated
>>> problem = stated("abs(x) + y", ["x", "y"], inequalities=["y >= x/2"])
>>> point, _ = decided(problem, (Integer(0), Integer(0)))
>>> point.multipliers, point.kinks, point.kind
({'lambda_1': 1}, (x,), 'global minimum')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Abs, Expr, Integer, Matrix, expand

from derivations.clarke import ClarkeSet, clarke_vertices
from derivations.exact_lp import exact_sign, nonnegative_solution
from derivations.functions import relu
from derivations.stated import Stated, StatedConstraint
from derivations.stated_second_order import kind_of

__all__ = ["KKTPoint", "decided", "is_abnormal", "positive_parts"]


def positive_parts(expr: Expr) -> Expr:
    """Write absolute values by positive parts."""
    return expr.replace(Abs, lambda u: relu(u) + relu(-u))


@dataclass(frozen=True)
class KKTPoint:
    """One KKT point.

    Parameters
    ----------
    values : tuple of Expr
        In the order of the unknowns.
    objective : Expr
        Its value there.
    multipliers : dict
        One choice by name; zero for inactive constraints.
    active : tuple of str
        Multipliers of the inequalities that hold with equality.
    licq : bool or None
        Whether the gradients of the active constraints are linearly independent; None where one has a kink.
    kinks : tuple of Expr
        Arguments of positive parts that vanish there.
    kind : str
        ``global minimum`` (convex problem), ``strict local minimum``, ``no local minimum`` or ``undecided``, and the same with
        maximum.
    """

    values: tuple[Expr, ...]
    objective: Expr
    multipliers: dict[str, Expr]
    active: tuple[str, ...]
    licq: bool | None
    kinks: tuple[Expr, ...]
    kind: str


def _sets(problem: Stated, x: Sequence[Expr]) -> tuple[ClarkeSet, list[tuple[StatedConstraint, ClarkeSet]]]:
    """Return the Clarke sets of the cost, and of the constraints that hold with equality."""
    at = dict(zip(problem.unknowns, x, strict=True))
    cost = clarke_vertices(problem.cost, at)
    active = []
    for c in problem.constraints:
        if c.sign == "=" or exact_sign(expand(positive_parts(c.excess).subs(at))) == 0:
            active.append((c, clarke_vertices(c.excess, at)))
    return cost, active


def _columns(
    active: Sequence[tuple[StatedConstraint, ClarkeSet]],
) -> list[tuple[StatedConstraint, int, tuple[Expr, ...]]]:
    """Return the gradients of the active constraints, both signs for equalities."""
    out = []
    for c, found in active:
        for vertex in found.vertices:
            out.append((c, 1, vertex.gradient))
            if c.sign == "=":
                out.append((c, -1, tuple(-u for u in vertex.gradient)))
    return out


def decided(problem: Stated, x: tuple[Expr, ...]) -> tuple[KKTPoint | None, str]:
    """Return the point if it is KKT; else, if that could not be decided, the reason."""
    cost, active = _sets(problem, x)
    if any(c.sign == "=" and len(found.gradients) > 1 for c, found in active):
        return None, f"an equality has a kink at {_shown(problem, x)}; equalities must be differentiable"
    columns = _columns(active)
    # sum_j tau_j g_0j + sum lambda g = 0 with sum tau = 1.
    matrix = [
        [*(v.gradient[j] for v in cost.vertices), *(g[j] for _, _, g in columns)]
        for j in range(len(problem.unknowns))
    ]
    matrix.append([Integer(1)] * len(cost.vertices) + [Integer(0)] * len(columns))
    answer = nonnegative_solution(matrix, [Integer(0)] * len(problem.unknowns) + [Integer(1)])
    if answer.solution is None:
        return None, ""
    multipliers = {c.multiplier.name: Integer(0) for c in problem.constraints}
    for (c, side, _), weight in zip(columns, answer.solution[len(cost.vertices) :], strict=True):
        multipliers[c.multiplier.name] += side * weight
    licq = None
    if all(len(found.gradients) == 1 for _, found in active):
        gradients = [list(found.gradients[0]) for _, found in active]
        licq = not gradients or _rank(gradients) == len(gradients)
    kinks: list[Expr] = []
    for u in (u for found in (cost, *(s for _, s in active)) for u in found.kinks):
        if not any(expand(u - side * v) == 0 for v in kinks for side in (1, -1)):
            kinks.append(u)
    at = dict(zip(problem.unknowns, x, strict=True))
    names = tuple(c.multiplier.name for c, _ in active if c.sign != "=")
    value = expand(positive_parts(problem.objective).subs(at))
    kind = kind_of(problem, at, multipliers, [c for c, _ in active], cost, [s for _, s in active], licq)
    return KKTPoint(x, value, multipliers, names, licq, tuple(kinks), kind), ""


def is_abnormal(problem: Stated, x: tuple[Expr, ...]) -> bool:
    """Whether gradients of active constraints balance with multipliers of the right signs that are not all zero."""
    _, active = _sets(problem, x)
    columns = _columns(active)
    for c, side, _ in columns:
        # One column, and not its negative, gets the weight 1; the others are free to balance it.
        fixed = next(g for k, s, g in columns if k is c and s == side)
        others = [g for k, s, g in columns if k is not c]
        right = [-u for u in fixed]
        if not others:
            if all(exact_sign(u) == 0 for u in right):
                return True
        elif (
            nonnegative_solution([[g[j] for g in others] for j in range(len(x))], right).solution is not None
        ):
            return True
    return False


def _rank(rows: list[list[Expr]]) -> int:
    return Matrix(rows).rank(iszerofunc=lambda u: exact_sign(expand(u)) == 0)


def _shown(problem: Stated, x: Sequence[Expr]) -> str:
    return ", ".join(f"{u} = {v}" for u, v in zip(problem.unknowns, x, strict=True))
