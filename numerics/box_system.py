r"""Gradient, Jacobian and Hessian of a problem over thousands of boxes at once: the derived equations on intervals in float64.

With the loss separable in the outputs f, the Hessian is :math:`J^\top \operatorname{diag}(\omega) J + S`, J the Jacobian of the outputs,
:math:`\omega` the second derivatives of the risk in them and S the rest, in which :math:`\ell''` does not occur.  The parts are enclosed
one by one: after a change of coordinates Q the product JQ may be small where J is not.

>>> from sympy import Rational
>>> system = BoxSystem(Problem.two_layer("tanh", "square"), {"x": [Rational(1), Rational(2)], "y": [Rational(1, 10)] * 2},
...                    {"n": 2, "d": 1, "m": 1})
>>> at = Interval.around(torch.tensor([[1.0], [0.5]], dtype=torch.float64))
>>> bool(abs(system.gradient(at).mid[1, 0] - 0.4202456788) < 1e-9), float(system.gradient(at).rad.max()) < 1e-13
(True, True)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from sympy import Expr

from derivations.problem import Problem
from numerics.box_program import Program, box_graph
from numerics.exact_graph import block_layout
from numerics.interval_tensors import Interval

__all__ = ["BoxSystem"]


class BoxSystem:
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
        If a function of the problem has no enclosure on batches: it has a kink, or is not known.
    """

    def __init__(
        self, problem: Problem, data: Mapping[str, Sequence[Expr]], sizes: Mapping[str, int]
    ) -> None:
        self.problem, self.sizes = problem, dict(sizes)
        self.data = {name: list(entries) for name, entries in data.items()}
        self.layout = block_layout(problem, self.sizes)
        self.P = self.layout[-1][2].stop
        self._programs: dict[str, Program] = {}
        self._program("gradient")  # what has no enclosure is refused here

    def _program(self, what: str) -> Program:
        if what not in self._programs:
            graph = box_graph(self.problem, what)
            skip = {"outputs"} if what == "hessian" else set()
            wanted = [name for name in graph.outputs if name not in skip]
            self._programs[what] = Program(graph, wanted, self.sizes, self.data)
        return self._programs[what]

    def gradient(self, boxes: Interval) -> Interval:
        """Return enclosures (P, B) of the gradient over boxes (P, B)."""
        return self._flat(self._program("gradient").run(self._blocks(boxes)))

    def at_critical(self, boxes: Interval, outputs: Interval | None) -> tuple[Interval, Interval | None]:
        r"""Return enclosures of the gradient (P, B) and of the forces (n, m, B) at the critical points in boxes.

        ``outputs`` are bounds (n, 1) or (n, o, 1) of the outputs f at every critical point, if any are known: what is returned
        need not hold at other points.  The force :math:`s\\, r_i \\sigma'(z_{ik})` times a_k is the derivative of the risk in
        the pre-activation; it is there for two layers with one output only.
        """
        bounds = {} if outputs is None else {"outputs": outputs}
        found = self._program("gradient").run(self._blocks(boxes), bounds)
        return self._flat(found), found.get("force")

    def hessian(self, boxes: Interval) -> Interval:
        """Return enclosures (P, P, B) of the Hessian over boxes."""
        return self._square(self._program("hessian").run(self._blocks(boxes)), boxes.lo.shape[-1])

    def jacobian(self, boxes: Interval) -> tuple[Interval, Interval]:
        """Return enclosures of the outputs, (N, B) for all samples and outputs in a row, and of their Jacobian (N, P, B)."""
        found = self._program("jacobian").run(self._blocks(boxes))
        batch = boxes.lo.shape[-1]
        sides = []
        for end in ("lo", "hi"):
            parts = []
            for name, shape, _ in self.layout:
                u = getattr(found[f"jac_{name}"], end)
                u = u.expand(*u.shape[:-1], batch)
                parts.append(u.reshape(-1, math.prod(shape), batch))
            sides.append(torch.cat(parts, dim=1))
        outputs = found["outputs"].apply(lambda t: t.expand(*t.shape[:-1], batch).reshape(-1, batch))
        return outputs, Interval(sides[0], sides[1])

    def curvature(self, boxes: Interval, outputs: Interval) -> tuple[Interval, Interval]:
        r"""Return the parts of the Hessian :math:`J^\top \operatorname{diag}(\omega) J + S`: omega (N, B) and S (P, P, B).

        ``outputs`` are bounds (N, B) of the outputs at the points of the boxes that matter.
        """
        formals = self._program("curvature").outputs["outputs"]
        shape = self._program("curvature").extents(formals.dims)
        known = outputs.apply(lambda t: t.reshape(*shape, t.shape[-1]))
        found = self._program("curvature").run(self._blocks(boxes), {"outputs": known})
        batch = boxes.lo.shape[-1]
        weights = found["weights"].apply(lambda t: t.expand(*t.shape[:-1], batch).reshape(-1, batch))
        return weights, self._square(found, batch)

    def _square(self, found: Mapping[str, Interval], batch: int) -> Interval:
        lo, hi = (torch.empty(self.P, self.P, batch, dtype=torch.float64) for _ in range(2))
        for (row, _, rows), (column, _, columns) in itertools.combinations_with_replacement(self.layout, 2):
            size = (rows.stop - rows.start, columns.stop - columns.start, batch)
            part = found[f"hess_{row}_{column}"]
            for ends, values in ((lo, part.lo), (hi, part.hi)):
                block = values.expand(*values.shape[:-1], batch).reshape(size)
                ends[rows, columns] = block
                if row != column:
                    ends[columns, rows] = block.transpose(0, 1)
        return Interval(lo, hi)

    def _blocks(self, boxes: Interval) -> dict[str, Interval]:
        if boxes.lo.shape[0] != self.P:
            raise ValueError(f"boxes have {boxes.lo.shape[0]} coordinates, required are P = {self.P}")
        batch = boxes.lo.shape[-1]
        return {
            name: Interval(boxes.lo[where].reshape(*shape, batch), boxes.hi[where].reshape(*shape, batch))
            for name, shape, where in self.layout
        }

    def _flat(self, found: Mapping[str, Interval]) -> Interval:
        parts = [found[f"grad_{name}"] for name, _, _ in self.layout]
        batch = max(u.lo.shape[-1] for u in parts)
        ends = [
            torch.cat([t.expand(*t.shape[:-1], batch).reshape(-1, batch) for t in side])
            for side in ([u.lo for u in parts], [u.hi for u in parts])
        ]
        return Interval(ends[0], ends[1])
