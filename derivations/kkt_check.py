r"""Exact verification of KKT points, kinks included.

At an exact point the KKT conditions are linear in what is unknown.  With the limiting gradients :math:`g_{0j}` of the objective
and :math:`g_{ij}` of each active constraint :math:`c_i \ge 0` (vertices of their Clarke subdifferentials) they ask for

.. math::
    \sum_j \tau_j g_{0j} = \sum_{i \text{ active}} \sum_j \lambda_{ij} g_{ij} + \sum_e \mu_e \nabla h_e, \qquad
    \tau_j, \lambda_{ij} \ge 0, \quad \sum_j \tau_j = 1, \quad \lambda_i = \sum_j \lambda_{ij},

a rational linear programme: its solution is the certificate that the point is KKT, Farkas' alternative a direction that descends
to first order and proves that it is not.

Source: Clarke, *Optimization and Nonsmooth Analysis*, 1983, Theorem 6.1.1; Lyu, Li, arXiv:1906.05890, Appendix C.

>>> from derivations.constrained_problems import constrained
>>> from derivations.kkt_instance import instance
>>> from derivations.problem import Problem
>>> small = instance(constrained(Problem.two_layer("relu")), x=[[1, 0]], y=[1], width=1)
>>> check_kkt(small, {"a": [1], "w": [[1, 0]]}).multipliers
{'lambda': 1}
>>> check_kkt(small, {"a": [2], "w": [[1, 0]]}).direction
{'a': -1, 'w_1': 1, 'w_2': 1}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sympy import Add, Expr, Integer

from derivations.clarke import clarke_vertices
from derivations.exact_lp import exact_numbers, exact_sign, nonnegative_solution
from derivations.kkt_instance import Instance

__all__ = ["KKTCheck", "check_kkt"]


@dataclass(frozen=True)
class KKTCheck:
    r"""Outcome of an exact check.

    Parameters
    ----------
    violated : tuple of str
        Constraints (by their multiplier) that the point violates.
    active : tuple of str
        Inequalities that hold with equality.
    multipliers : dict or None
        One set of multipliers, zero for inactive constraints; None if there is none.
    slopes : dict
        For the objective (key ``objective``) and each constraint with a positive multiplier: the value of the step,
        in [0, 1], at each kink through the point, by its argument.
    direction : dict or None
        Where there are no multipliers: for each unknown the component of v along which the objective strictly improves
        while no active constraint is violated, to first order.
    """

    violated: tuple[str, ...]
    active: tuple[str, ...]
    multipliers: dict[str, Expr] | None
    slopes: dict[str, dict[Expr, Expr]]
    direction: dict[str, Expr] | None

    @property
    def holds(self) -> bool:
        """Whether the point is a KKT point: feasible, with multipliers."""
        return not self.violated and self.multipliers is not None


def check_kkt(problem: Instance, theta: Mapping[str, Any]) -> KKTCheck:
    """Decide exactly whether ``theta`` satisfies the KKT conditions, kinks included.

    Parameters
    ----------
    problem : Instance
        From ``instance``.
    theta : mapping
        Exact nested lists by block.

    Returns
    -------
    KKTCheck
        Multipliers and slopes, or a direction of improvement.

    Raises
    ------
    ValueError
        As ``Instance.point``; if a constant of the problem has no number; if an equality constraint has a kink at the point.
    NotImplementedError
        As ``clarke_vertices``.
    """
    point = problem.point(theta)
    used = set().union(problem.objective.free_symbols, *(c.gap.free_symbols for c in problem.constraints))
    if unknown := sorted(str(u) for u in used - set(point)):
        raise ValueError(f"no value for {', '.join(unknown)}: give a number where the problem is stated")
    signs = {c.name: exact_sign(*exact_numbers([c.gap.subs(point)], c.name)) for c in problem.constraints}
    wrong = {"=": (-1, 1), "<=": (1,), ">=": (-1,)}
    violated = tuple(c.name for c in problem.constraints if signs[c.name] in wrong[c.sign])
    active = [c for c in problem.constraints if c.sign != "=" and signs[c.name] == 0]
    objective = clarke_vertices(problem.objective, point)
    sets = {c.name: clarke_vertices(c.gap, point) for c in active}
    equal = {c.name: clarke_vertices(c.gap, point) for c in problem.constraints if c.sign == "="}
    if kinked := [name for name, found in equal.items() if len(found.gradients) > 1]:
        raise ValueError(
            f"the equality constraints {kinked} have a kink at this point; they must be differentiable"
        )
    outer = -1 if problem.given.maximise else 1
    columns = [(*(outer * u for u in v.gradient), Integer(1)) for v in objective.vertices]
    for c in active:
        side = -1 if c.sign == ">=" else 1
        columns += [(*(side * u for u in v.gradient), Integer(0)) for v in sets[c.name].vertices]
    for found in equal.values():
        columns += [(*(side * u for u in found.gradients[0]), Integer(0)) for side in (1, -1)]
    right = [Integer(0)] * len(point) + [Integer(1)]
    answer = nonnegative_solution(list(zip(*columns, strict=True)), right)
    names = tuple(c.name for c in active)
    if answer.solution is None:
        assert answer.certificate is not None
        # y . column <= 0 and y_last > 0: y is a direction in which the objective improves at least at the rate y_last.
        direction = dict(zip((u.name for u in problem.unknowns.values()), answer.certificate, strict=False))
        return KKTCheck(violated, names, None, {}, direction)
    weights = list(answer.solution)
    multipliers: dict[str, Expr] = {c.name: Integer(0) for c in problem.constraints}
    slopes = {"objective": objective.switches(_taken(weights, len(objective.vertices)))}
    for name in names:
        share = _taken(weights, len(sets[name].vertices))
        multipliers[name] = Add(*share)
        if multipliers[name] != 0 and sets[name].kinks:
            slopes[name] = sets[name].switches(share)
    for name in equal:
        plus, minus = _taken(weights, 2)
        multipliers[name] = plus - minus
    slopes = {name: found for name, found in slopes.items() if found}
    return KKTCheck(violated, names, multipliers, slopes, None)


def _taken(weights: list[Expr], count: int) -> list[Expr]:
    """Return the first ``count`` weights and remove them."""
    head = weights[:count]
    del weights[:count]
    return head
