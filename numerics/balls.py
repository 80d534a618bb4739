r"""Risk, gradient and Hessian of a problem on Arb balls: enclosures at a point or over a box, at any precision.

Equations are those that are compiled to PyTorch; data and constants are exact.  A parameter point is a list of P balls in the
flat order of the blocks.

>>> import flint
>>> from derivations.problem import Problem
>>> from sympy import Rational
>>> system = BallSystem(Problem.two_layer("tanh", "square"), {"x": [Rational(1), Rational(2)], "y": [Rational(1, 10)] * 2},
...                     {"n": 2, "d": 1, "m": 1})
>>> with flint.ctx.workprec(64):
...     value, gradient, hessian = system.value_gradient_hessian([flint.arb(1), flint.arb("0.5")])
...     print(value.str(10), gradient[1].str(10), (hessian[0][1] - hessian[1][0]).contains(0))
[0.1422089157 +/- 5.78e-12] [0.4202456788 +/- 3.92e-11] True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any

from sympy import Expr, Integer

from derivations.problem import Problem
from numerics.ball_program import Program, ball_graph
from numerics.exact_graph import block_layout

__all__ = ["Ball", "BallSystem"]

Ball = Any
"""``flint.arb``; the library has no types of its own."""


class BallSystem:
    """A problem at given sizes and exact data.

    Parameters
    ----------
    problem : Problem
        With a concrete activation and loss.
    data : mapping
        Name of each data tensor to its entries as SymPy numbers, in row-major order.
    sizes : mapping
        Numbers of all dimensions: n, d, m (or m1, m2, ...), o.

    Raises
    ------
    NotEnclosed
        If a function of the problem has no ball form.
    """

    def __init__(
        self, problem: Problem, data: Mapping[str, Sequence[Expr]], sizes: Mapping[str, int]
    ) -> None:
        self.problem, self.sizes = problem, dict(sizes)
        self.graph = ball_graph(problem)
        self.data = {name: list(entries) for name, entries in data.items()}
        self.layout = block_layout(problem, self.sizes)
        self.P = self.layout[-1][2].stop

    @cached_property
    def _names(self) -> list[str]:
        return [name for name, _, _ in self.layout]

    @cached_property
    def _gradient(self) -> Program:
        return Program(self.graph, [f"grad_{name}" for name in self._names], self.sizes, self.data)

    @cached_property
    def _everything(self) -> Program:
        return Program(self.graph, list(self.graph.outputs), self.sizes, self.data)

    @property
    def trained(self) -> list[int]:
        """Places of the parameters of trained blocks in the flat vector."""
        return [
            place
            for block, (_, _, where) in zip(self.problem.blocks, self.layout, strict=True)
            if block.trained
            for place in range(where.start, where.stop)
        ]

    @property
    def scale(self) -> Expr:
        """Output scale of the network at these sizes."""
        scale = self.problem.scale
        return scale.subs({symbol: Integer(self.sizes[symbol.name]) for symbol in scale.free_symbols})

    def blocks(self, theta: Sequence[Any]) -> dict[str, list[Any]]:
        """Return the entries of each block, in row-major order."""
        return {name: list(theta[where]) for name, _, where in self.layout}

    def gradient(self, theta: Sequence[Ball]) -> list[Ball]:
        """Return enclosures of the P entries of the gradient, at the precision of ``flint.ctx``."""
        self._check(theta)
        found = self._gradient.run(self.blocks(theta))
        return [entry for name in self._names for entry in found[f"grad_{name}"]]

    def value_gradient_hessian(self, theta: Sequence[Ball]) -> tuple[Ball, list[Ball], list[list[Ball]]]:
        """Return enclosures of the risk, the gradient (P,) and the rows of the Hessian (P, P)."""
        self._check(theta)
        found = self._everything.run(self.blocks(theta))
        gradient = [entry for name in self._names for entry in found[f"grad_{name}"]]
        hessian: list[list[Ball]] = [[None] * self.P for _ in range(self.P)]
        for position, (row, _, rows) in enumerate(self.layout):
            for column, _, columns in self.layout[position:]:
                entries = found[f"hess_{row}_{column}"]
                places = product(range(rows.start, rows.stop), range(columns.start, columns.stop))
                for (i, j), entry in zip(places, entries, strict=True):
                    hessian[i][j] = hessian[j][i] = entry
        return found["R"][0], gradient, hessian

    def _check(self, theta: Sequence[Ball]) -> None:
        if len(theta) != self.P:
            raise ValueError(f"theta has {len(theta)} entries, required are P = {self.P}")
