"""Compiled networks with weighted nodes: as data, or given with every parameter point.

``derivations.weighted`` has the risk; rules for integrals, and where their nodes are, are the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from derivations.indexed import Tensor as Symbolic
from derivations.problem import n
from derivations.weighted import WeightedProblem
from numerics.compile import CompiledSystem

__all__ = ["MovingNodes", "WeightedSystem"]


class WeightedSystem(CompiledSystem):
    """A network whose samples carry weights.

    Parameters
    ----------
    problem : WeightedProblem
        With a concrete activation and loss.
    x, weights : Tensor
        Nodes (n, 1) and weights (n,).
    sizes : mapping
        The width, ``{"m": 3}``.
    """

    def __init__(
        self, problem: WeightedProblem, x: Tensor, weights: Tensor, sizes: Mapping[str, int]
    ) -> None:
        super().__init__(problem, x, torch.zeros_like(weights), {**sizes, "n": len(x), "d": 1})
        self.weights = weights

    def _leaf_values(self) -> Mapping[str, Any]:
        return {"x": self.x, "omega": self.weights}


class MovingNodes(CompiledSystem):
    """A network whose nodes and weights are given with the parameter points.

    Parameters
    ----------
    problem : WeightedProblem
        With ``moves``.
    count : int
        Number of nodes at every point.
    like : Tensor
        Its dtype and device are those of the points.
    sizes : mapping
        The width, ``{"m": 3}``.
    """

    def __init__(self, problem: WeightedProblem, count: int, like: Tensor, sizes: Mapping[str, int]) -> None:
        x = like.new_zeros(count, 1)
        super().__init__(problem, x, x[:, 0], {**sizes, "n": count, "d": 1})
        # In a sweep over blocks of samples the nodes of a point would have to be cut as well.
        plans = self._batches.plans
        plans.update({name: replace(plan, blocked=False) for name, plan in plans.items()})

    def at(self, what: str, points: Sequence[Tensor], nodes: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Return the results of ``what`` at points (B, P), and directions, with nodes and weights (B, n) each."""
        given = (*points, torch.cat(nodes, dim=1))
        return self._batches.run(lambda plan: self._function(what, plan), *given)

    def residuals(self, theta: Tensor, nodes: tuple[Tensor, Tensor]) -> Tensor:
        r"""Return :math:`r_i = \kappa\, \omega_i\, \ell'(f_i, y_i)` at points (B, P), shape (B, n)."""
        r, (i,) = Symbolic("r", (n,)), self.problem.derived.formals(Symbolic("r", (n,)))
        items = (("r", r[i], (i,)),)
        given = (theta, torch.cat(nodes, dim=1))
        return self._batches.run(lambda plan: self._extra(self.problem.derived, items, plan), *given)[0]
