r"""The graph of arrays of a derived system, run on batches of intervals in float64.

The same lowering that writes PyTorch source is asked for its graph with exact constants; each node is then an array of intervals whose
last axis is the batch of boxes.  Constants and data are exact numbers; each is replaced by a float within :math:`2^{-52}` of it,
relative to the float, and that error is part of the widening.

>>> from sympy import Rational, sqrt
>>> nearest(Rational(1, 10)), nearest(sqrt(2))
(0.1, 1.4142135623730951)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import torch
from sympy import Expr, Integer, Pow, Symbol
from torch import Tensor

from derivations.enclosure import NotEnclosed, real_range
from derivations.generic import GenericFunction, bind
from derivations.indexed import Index
from derivations.problem import Problem, n
from numerics.emit_names import Names
from numerics.emit_nodes import Node, Plan, Value, reachable
from numerics.emit_results import Output
from numerics.exact_graph import ExactGraph, ExactLowering
from numerics.generated import derived_outputs
from numerics.interval_tensors import EPS, SMALLEST, Interval, function, power, summed

__all__ = ["Program", "box_graph", "inexact", "nearest"]

Steps = list[tuple[int, Callable[[dict[int, Interval]], Interval]]]
_NOTHING = Symbol("_none")
#: Constants beyond this, or below its inverse, are refused: products of a few must not overflow.
_LARGEST = 1e100


def nearest(expr: Expr) -> float:
    """Return a float within 2**-52 of a constant, relative to the float.

    Raises
    ------
    NotEnclosed
        If the constant has no enclosure, or is beyond the range of floats.
    """
    if expr.is_Rational:
        exact = Fraction(int(expr.p), int(expr.q))
        value = float(exact) if abs(exact) < _LARGEST else math.inf
    else:
        lower, upper = real_range(expr, _NOTHING, Integer(0), Integer(0))
        value = float((lower + upper) / 2)
        if not float(upper - lower) <= EPS / 8 * abs(value):
            raise NotEnclosed(f"{expr} is not enclosed to the precision of a float")
    if not (value == 0 and expr == 0) and not 1 / _LARGEST < abs(value) < _LARGEST:
        raise NotEnclosed(f"{expr} is beyond the range of float64")
    return value


class _Exact(ExactLowering):
    """The lowering for batches of intervals, whose powers are integer ones, or of a square root."""

    def power(self, expr: Pow) -> Value:
        """Lower an integer power, or one of a square root."""
        if expr.exp.is_Integer:
            return self.graph.make("map", [self.value(expr.base)], payload=("power", int(expr.exp)))
        if (2 * expr.exp).is_Integer:
            root = self.graph.make("map", [self.value(expr.base)], payload=("sqrt",))
            return self.graph.make("map", [root], payload=("power", int(2 * expr.exp)))
        raise NotEnclosed(f"the power {expr} has no enclosure on batches")


@lru_cache(maxsize=64)
def box_graph(problem: Problem, what: str) -> ExactGraph:
    """Return the graph of the gradient and what bounds it, of the Hessian, of its second part, or of the Jacobian."""
    general = replace(problem, activation=None, loss=None, freeze=(), rate=())
    functions = dict(problem.functions)
    asked = {"gradient": "gradient", "jacobian": "jacobian"}.get(what, "hessian")
    system, outputs, batched = derived_outputs(general, asked)
    outputs = dict(outputs)
    formals: Sequence[Index] = system.formals(problem.output)
    outputs["outputs"] = (problem.output[tuple(formals)], formals)
    if what == "gradient" and problem.kind == "two_layer" and not problem.vector_output:
        (z, residual) = (next(u for u in system if u.tensor.name == name) for name in ("z", "r"))
        slope = GenericFunction("sigma", (1,), z.tensor[z.indices])
        outputs["force"] = (problem.scale * residual.tensor[z.indices[:1]] * slope, z.indices)
    if what == "curvature":  # without the second derivative of the loss
        outputs["weights"] = (_weight(problem, tuple(formals)), formals)
        loss = functions["ell"]
        functions["ell"] = lambda orders, *u: loss(orders, *u) if orders[0] < 2 else Integer(0)
    known = [*batched, *(u.tensor for u in system.declarations), *(u.tensor for u in system)]
    reserved = frozenset(str(s) for tensor in known for s in tensor.dims)
    work = _Exact(system, frozenset(batched), functions, Plan(layout="last"), Names(reserved), known=function)
    found = {}
    for name, (expr, labels) in outputs.items():
        bound = bind(expr, dict(problem.functions) if name == "weights" else functions)
        found[name] = Output(work.value(bound), tuple(labels), work.sizes_of(labels))
    return work.graph_of(found)


def _weight(problem: Problem, formals: tuple[Index, ...]) -> Expr:
    """Return the second derivative of the risk in the outputs, which is diagonal."""
    second = GenericFunction("ell", (2, 0), problem.output[formals], problem.y[formals])
    return problem.factor * second / (n if problem.reduction == "mean" else 1)


class Program:
    """Some outputs of a graph at given sizes, as steps over arrays of intervals."""

    def __init__(
        self,
        graph: ExactGraph,
        wanted: Sequence[str],
        sizes: Mapping[str, int],
        data: Mapping[str, Sequence[Expr]],
    ) -> None:
        self.graph, self.sizes = graph, sizes
        self.outputs = {name: graph.outputs[name] for name in wanted}
        self.nodes = reachable([output.value.node for output in self.outputs.values()])
        self.fixed: dict[int, Interval] = {}
        self.steps: Steps = []
        for node in self.nodes:
            if node.op == "leaf":
                if not node.batched:
                    self.fixed[node.uid] = self._data(node, data)
                continue
            step = self._step(node)
            if node.batched:
                self.steps.append((node.uid, step))
            else:
                self.fixed[node.uid] = step(self.fixed)

    def run(
        self, parameters: Mapping[str, Interval], bounds: Mapping[str, Interval] | None = None
    ) -> dict[str, Interval]:
        """Return the outputs, each with the axes asked for and the batch last, from parameters of shape (*shape, B).

        ``bounds`` are known of some outputs; they are met with what is computed, before anything else uses it.
        """
        values = dict(self.fixed)
        for node in self.nodes:
            if node.op == "leaf" and node.batched:
                values[node.uid] = parameters[self.graph.leaves[str(node.payload[0])]]
        known = {}
        for name, bound in (bounds or {}).items():
            value, labels = self.outputs[name].value, self.outputs[name].labels
            known[value.node.uid] = _reduced(bound, [labels.index(label) for label in value.labels])
        for uid, step in self.steps:
            values[uid] = step(values).met(known[uid]) if uid in known else step(values)
        return {name: self._placed(values, output) for name, output in self.outputs.items()}

    # -- internals ------------------------------------------------------------------------------------------------

    def extents(self, dims: Sequence[str]) -> tuple[int, ...]:
        """Return the numbers of some dimensions."""
        return tuple(int(dim) if dim.isdigit() else self.sizes[dim] for dim in dims)

    def _placed(self, values: Mapping[int, Interval], output: Output) -> Interval:
        axes = tuple(output.labels.index(label) for label in output.value.labels)
        found = _spread(values[output.value.node.uid], axes, len(output.dims))
        shape = (*self.extents(output.dims), found.lo.shape[-1])
        return found.apply(lambda u: u.expand(shape))

    def _data(self, node: Node, data: Mapping[str, Sequence[Expr]]) -> Interval:
        entries = data[self.graph.leaves[str(node.payload[0])]]
        shape = (*self.extents(node.dims), 1)
        return inexact(torch.tensor([nearest(u) for u in entries], dtype=torch.float64).reshape(shape))

    def _constant(self, code: object) -> float:
        return nearest(self.graph.constant(code, self.sizes))

    def _step(self, node: Node) -> Callable[[dict[int, Interval]], Interval]:
        """Return what computes a node from the arrays of its operands."""
        shape = self.extents(node.dims)
        rank = len(shape)
        if node.op == "fill":
            entry = inexact(torch.full((1,), self._constant(node.payload[0]), dtype=torch.float64))
            return lambda values: entry
        if node.op == "ones":
            one = torch.ones((*shape, 1), dtype=torch.float64)
            return lambda values: Interval.around(one)
        if node.op in ("contract", "sum"):
            return self._sum(node, rank)
        (first, axes), *_ = [(u.uid, a) for u, a in node.args]
        if node.op == "mul":
            return self._mul(node, rank)
        if node.op == "linear":
            return self._linear(node, rank)
        if node.op == "diagonal":
            axis = int(str(node.payload[0]))
            eye = torch.eye(shape[-1], dtype=torch.float64)
            extents = [shape[-1] if j in (axis, rank - 1) else 1 for j in range(rank)]
            mask = (eye.reshape(*extents, 1) if axis < rank - 1 else eye).bool()
            return lambda values: values[first].apply(lambda u: torch.where(mask, u.unsqueeze(-2), 0.0))
        if node.op == "map":
            if node.payload[0] == "power":
                exponent = int(str(node.payload[1]))
                return lambda values: power(_spread(values[first], axes, rank), exponent)
            rule = function(str(node.payload[0]))
            return lambda values: rule(_spread(values[first], axes, rank))
        raise NotEnclosed(f"the operation {node.op} {node.payload} has no enclosure on batches")

    def _mul(self, node: Node, rank: int) -> Callable[[dict[int, Interval]], Interval]:
        pairs = [(u.uid, a) for u, a in node.args]
        if len(pairs) == 2 and pairs[0] == pairs[1]:
            uid, axes = pairs[0]
            return lambda values: power(_spread(values[uid], axes, rank), 2)

        def step(values: dict[int, Interval]) -> Interval:
            total = _spread(values[pairs[0][0]], pairs[0][1], rank)
            for uid, axes in pairs[1:]:
                total = total * _spread(values[uid], axes, rank)
            return total

        return step

    def _linear(self, node: Node, rank: int) -> Callable[[dict[int, Interval]], Interval]:
        constant, coefficients = node.payload
        start = 0.0 if constant is None else self._constant(constant)
        terms = [
            (u.uid, axes, self._constant(c))
            for (u, axes), c in zip(node.args, coefficients, strict=True)  # type: ignore[call-overload]
        ]
        pad = (len(terms) + 3) * EPS  # coefficients and the constant are off by up to EPS as well

        def step(values: dict[int, Interval]) -> Interval:
            lo: Tensor | float = start
            hi: Tensor | float = start
            size: Tensor | float = abs(start)
            for uid, axes, c in terms:
                u = _spread(values[uid], axes, rank)
                lo = lo + c * (u.lo if c >= 0 else u.hi)
                hi = hi + c * (u.hi if c >= 0 else u.lo)
                size = size + abs(c) * u.mag
            assert isinstance(size, Tensor)  # a linear node has operands
            size = size.mul(pad).add_(SMALLEST)
            return Interval(lo - size, hi + size)

        return step

    def _sum(self, node: Node, rank: int) -> Callable[[dict[int, Interval]], Interval]:
        """Sum a product of one or two operands over the labels beyond the rank of the result."""
        full = max(max(axes, default=-1) for _, axes in node.args) + 1
        dims = list(range(rank, max(full, rank)))
        uids = [(u.uid, axes) for u, axes in node.args]
        if len(uids) == 1:
            ((uid, axes),) = uids
            return lambda values: summed(_spread(values[uid], axes, len(dims) + rank), None, dims)
        (one, first), (two, second) = uids
        if one == two and first == second:
            return lambda values: summed(power(_spread(values[one], first, full), 2), None, dims)
        if sum(not u.batched for u, _ in node.args) == 1 and not set(first) & set(second) & set(range(rank)):
            return self._matrix(node, rank, full)
        return lambda values: summed(
            _spread(values[one], first, full), _spread(values[two], second, full), dims
        )

    def _matrix(self, node: Node, rank: int, full: int) -> Callable[[dict[int, Interval]], Interval]:
        """Contract data with what depends on the box: products of matrices, the data as middles and radii."""
        (data, known), (other, axes) = sorted(
            ((u, a) for u, a in node.args), key=lambda pair: pair[0].batched
        )
        common = [a for a in known if a >= rank and a in axes]
        if set(range(rank, full)) != set(common):
            return lambda values: summed(
                _spread(values[data.uid], known, full),
                _spread(values[other.uid], axes, full),
                list(range(rank, full)),
            )
        left, right = [a for a in known if a < rank], [a for a in axes if a < rank]
        sizes = dict(zip(known, self.extents(data.dims), strict=True)) | dict(
            zip(axes, self.extents(other.dims), strict=True)
        )
        depth = math.prod(sizes[a] for a in common)
        order, back = [known.index(a) for a in (*left, *common)], [*left, *right]
        places = [axes.index(a) for a in (*common, *right)]
        inverse = [back.index(a) for a in range(rank)]

        fixed = self.fixed[data.uid].apply(lambda u: u[..., 0].permute(order).reshape(-1, depth))
        middle = fixed.mid
        pad = middle.abs() * ((depth + 3) * EPS) + fixed.rad * (1 + 4 * EPS)
        positive, negative = middle.clamp(min=0.0), middle.clamp(max=0.0)

        def step(values: dict[int, Interval]) -> Interval:
            u = values[other.uid]
            batch = u.lo.shape[-1]
            u = u.apply(lambda t: t.permute(*places, t.dim() - 1).reshape(depth, -1))
            width = (pad @ u.mag).add_(depth * SMALLEST)
            lo = positive @ u.lo + negative @ u.hi - width
            hi = positive @ u.hi + negative @ u.lo + width
            shape = [*(sizes[a] for a in back), batch]
            return Interval(lo, hi).apply(lambda t: t.reshape(shape).permute(*inverse, rank))

        return step


def inexact(value: Tensor) -> Interval:
    """Enclose constants that are within 2**-52 of floats, relative to these."""
    return Interval(value - value.abs() * (2 * EPS), value + value.abs() * (2 * EPS))


def _reduced(bound: Interval, axes: Sequence[int]) -> Interval:
    """Return bounds with the axes given, in their order, from bounds with more: what is the same along one meets all of them."""
    rank = bound.lo.dim() - 1
    missing = [axis for axis in range(rank) if axis not in axes]
    lo = bound.lo.amax(dim=missing, keepdim=True) if missing else bound.lo
    hi = bound.hi.amin(dim=missing, keepdim=True) if missing else bound.hi
    order = [*axes, *missing, rank]
    shape = [bound.lo.shape[axis] for axis in axes]
    return Interval(lo, hi).apply(lambda t: t.permute(*order).reshape(*shape, t.shape[-1]))


def _spread(u: Interval, axes: Sequence[int], rank: int) -> Interval:
    """Return a view whose axes are those of a larger array, missing ones with length 1; the batch stays last."""
    if tuple(axes) == tuple(range(rank)):
        return u
    order = sorted(range(len(axes)), key=lambda j: axes[j])

    def moved(t: Tensor) -> Tensor:
        shape = [1] * rank
        for j in order:
            shape[axes[j]] = t.shape[j]
        return t.permute(*order, t.dim() - 1).reshape(*shape, t.shape[-1])

    if u.lo is u.hi:
        return Interval.around(moved(u.lo))
    return u.apply(moved)
