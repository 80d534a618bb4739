r"""The graph of arrays of a derived system, run on Arb balls entry by entry.

The same lowering that writes PyTorch source is asked for its graph with exact constants: 1/10 is the rational number, not
the nearest float.  An array is a flat list of balls in row-major order; where each entry of an operand stands is worked out
once for given sizes, so running the program is a sequence of passes over lists.

What depends on the data alone is computed once for each precision.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import flint
from sympy import Expr, Pow

from derivations.generic import bind
from derivations.problem import Problem
from numerics.arb_functions import NotEnclosed, exact_ball, function, power
from numerics.emit_names import Names
from numerics.emit_nodes import Node, Plan, Value, reachable
from numerics.emit_results import Output
from numerics.exact_graph import ExactGraph, ExactLowering
from numerics.generated import derived_outputs

__all__ = ["Program", "ball_graph"]

Ball = Any
Array = list[Ball]

# Nanoseconds, for the choice between a matrix product of the library and sums of products in Python: one multiplication
# and addition in each, one entry carried into or out of a matrix.
_IN_MATRIX, _IN_PYTHON, _CARRIED = 40, 150, 400


class _Exact(ExactLowering):
    """The lowering for balls, whose powers may be any."""

    def power(self, expr: Pow) -> Value:
        """Lower a power, its exponent exact."""
        base, exponent = self.value(expr.base), expr.exp
        if exponent.is_number:
            return self.graph.make("map", [base], payload=("power", self.number(exponent)))
        return self.graph.make("call", [base, self.value(exponent)], payload=("power",))


@lru_cache(maxsize=64)
def ball_graph(problem: Problem) -> ExactGraph:
    """Return the graph of risk, gradient and Hessian of a problem with a concrete activation and loss.

    Raises
    ------
    NotEnclosed
        If a function has no ball form.
    """
    general = replace(problem, activation=None, loss=None, freeze=(), rate=())
    system, outputs, batched = derived_outputs(general, "value_gradient_hessian")
    known = [*batched, *(u.tensor for u in system.declarations), *(u.tensor for u in system)]
    reserved = frozenset(str(s) for tensor in known for s in tensor.dims)
    functions = dict(problem.functions)
    work = _Exact(
        system, frozenset(batched), functions, Plan(layout="single"), Names(reserved), known=function
    )
    found = {
        name: Output(work.value(bind(expr, functions)), tuple(labels), work.sizes_of(labels))
        for name, (expr, labels) in outputs.items()
    }
    return work.graph_of(found)


class Program:
    """Some outputs of a graph at given sizes.

    Parameters
    ----------
    graph : ExactGraph
        What is computed.
    wanted : sequence of str
        Outputs.
    sizes : mapping
        Numbers of the dimensions.
    data : mapping
        Name of a data tensor to its entries, exact and in row-major order.
    """

    def __init__(
        self,
        graph: ExactGraph,
        wanted: Sequence[str],
        sizes: Mapping[str, int],
        data: Mapping[str, list[Expr]],
    ) -> None:
        self.graph, self.sizes, self.data = graph, dict(sizes), data
        self.outputs = {name: graph.outputs[name] for name in wanted}
        self.nodes = reachable([output.value.node for output in self.outputs.values()])
        self._placed = {name: self._place(output) for name, output in self.outputs.items()}
        self._ready: dict[
            int, tuple[dict[int, Array], list[tuple[int, Callable[[dict[int, Array]], Array]]]]
        ] = {}

    def run(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs, each in row-major order, at balls for every parameter tensor."""
        fixed, steps = self._at_precision()
        values = dict(fixed)
        for node in self.nodes:
            if node.op == "leaf" and node.batched:
                values[node.uid] = parameters[self.graph.leaves[str(node.payload[0])]]
        for uid, step in steps:
            values[uid] = step(values)
        return {
            name: _at(values[output.value.node.uid], self._placed[name])
            for name, output in self.outputs.items()
        }

    def extents(self, dims: Sequence[str]) -> tuple[int, ...]:
        """Return the numbers of some dimensions."""
        return tuple(int(dim) if dim.isdigit() else self.sizes[dim] for dim in dims)

    # -- internals ------------------------------------------------------------------------------------------------

    def _place(self, output: Output) -> list[int] | None:
        """Where each entry of a result stands in its node; labels that the node lacks repeat it."""
        shape = self.extents(output.dims)
        axes = tuple(output.labels.index(label) for label in output.value.labels)
        return _gather(shape, axes)

    def _at_precision(self) -> tuple[dict[int, Array], list[tuple[int, Callable[[dict[int, Array]], Array]]]]:
        """Return the arrays of the data, and the steps of what depends on the parameters, at the present precision."""
        found = self._ready.get(flint.ctx.prec)
        if found is None:
            fixed: dict[int, Array] = {}
            steps = []
            for node in self.nodes:
                if node.op == "leaf":
                    if not node.batched:
                        entries = self.data[self.graph.leaves[str(node.payload[0])]]
                        fixed[node.uid] = [exact_ball(number) for number in entries]
                    continue
                step = self._step(node)
                if node.batched:
                    steps.append((node.uid, step))
                else:
                    fixed[node.uid] = step(fixed)
            found = self._ready[flint.ctx.prec] = fixed, steps
        return found

    def _constant(self, code: object) -> Ball:
        return exact_ball(self.graph.constant(code, self.sizes))

    def _step(self, node: Node) -> Callable[[dict[int, Array]], Array]:
        """Return what computes a node from the arrays of its operands."""
        shape = self.extents(node.dims)
        if node.op in ("fill", "ones"):
            entry = self._constant(node.payload[0]) if node.op == "fill" else flint.arb(1)
            return lambda values: [entry] * math.prod(shape)
        if node.op in ("contract", "sum"):
            return self._sum(node, shape)
        operands = [(u.uid, _gather(shape, axes)) for u, axes in node.args]
        (first, place), *rest = operands
        if node.op == "mul":
            return lambda values: _product([_at(values[uid], where) for uid, where in operands])
        if node.op == "linear":
            return self._linear(node, operands)
        if node.op == "diagonal":
            (inner, _), axis = node.args[0], int(str(node.payload[0]))
            where = _on_diagonal(self.extents(inner.dims), shape[-1], axis)
            zero = flint.arb(0)
            return lambda values: [zero if j is None else values[first][j] for j in where]
        if node.op == "map":
            code = [str(part) for part in node.payload]
            rule = power(self.graph.constants[code[1]]) if code[0] == "power" else function(code[0])
            return lambda values: [rule(u) for u in _at(values[first], place)]
        if node.op == "call" and node.payload == ("power",):
            ((second, other),) = rest
            return lambda values: list(
                map(operator.pow, _at(values[first], place), _at(values[second], other))
            )
        raise NotEnclosed(f"the operation {node.op} {node.payload} has no ball form")

    def _linear(
        self, node: Node, operands: Sequence[tuple[int, list[int] | None]]
    ) -> Callable[[dict[int, Array]], Array]:
        constant, coefficients = node.payload
        start = None if constant is None else self._constant(constant)
        factors = [None if c == "1" else self._constant(c) for c in coefficients]  # type: ignore[attr-defined]

        def step(values: dict[int, Array]) -> Array:
            total: Array | None = None
            for (uid, where), factor in zip(operands, factors, strict=True):
                term = _at(values[uid], where)
                term = term if factor is None else [factor * u for u in term]
                total = term if total is None else list(map(operator.add, total, term))
            assert total is not None  # a linear node has operands
            return total if start is None else [start + u for u in total]

        return step

    def _sum(self, node: Node, shape: tuple[int, ...]) -> Callable[[dict[int, Array]], Array]:
        """Sum a product of one or two operands over the labels beyond the rank of the result."""
        rank = len(shape)
        extents = dict(enumerate(shape))
        for operand, axes in node.args:
            extents |= dict(zip(axes, self.extents(operand.dims), strict=True))
        summed = [a for a in sorted(extents) if a >= rank]
        inside = [set(axes) for _, axes in node.args]
        both = [a for a in range(rank) if all(a in axes for axes in inside)]
        own = [[a for a in range(rank) if a in axes and a not in both] for axes in inside]
        depth = math.prod(extents[a] for a in summed)
        groups, sides = math.prod(extents[a] for a in both), [math.prod(extents[a] for a in u) for u in own]
        rows = [
            _gather_in([*both, *free, *summed], axes, extents)
            for free, (_, axes) in zip(own, node.args, strict=True)
        ]
        back = _gather_in(range(rank), [*both, *own[0], *(own[1] if len(own) > 1 else [])], extents)
        uids = [operand.uid for operand, _ in node.args]
        if len(node.args) == 1:
            (uid,), (row,), (side,) = uids, rows, sides
            return lambda values: _at(_summed(_at(values[uid], row), groups * side, depth), back)
        (one, other), (first, second) = uids, rows
        size = (groups, sides[0], sides[1], depth)
        return lambda values: _at(
            _contracted(_at(values[one], first), _at(values[other], second), size), back
        )


def _at(array: Array, where: list[int] | None) -> Array:
    return array if where is None else [array[j] for j in where]


def _gather(shape: tuple[int, ...], axes: Sequence[int]) -> list[int] | None:
    """Return for each entry of an array of ``shape`` the place in the operand whose axes are ``axes`` of it."""
    return _gather_in(range(len(shape)), axes, dict(enumerate(shape)))


def _gather_in(order: Sequence[int], axes: Sequence[int], extents: Mapping[int, int]) -> list[int] | None:
    """Return the places in an operand with ``axes``, read in row-major order of the labels ``order``; None: as it is."""
    strides, step = {}, 1
    for axis in reversed(axes):
        strides[axis] = step
        step *= extents[axis]
    ranges = [[position * strides.get(label, 0) for position in range(extents[label])] for label in order]
    places = [sum(parts) for parts in itertools.product(*ranges)]
    return None if places == list(range(step)) else places


def _on_diagonal(shape: tuple[int, ...], size: int, axis: int) -> list[int | None]:
    """Return the places of delta(u_axis, j) times an operand, j being a new last axis of length ``size``."""
    return [
        flat if index[axis] == j else None
        for flat, index in enumerate(itertools.product(*map(range, shape)))
        for j in range(size)
    ]


def _product(operands: Sequence[Array]) -> Array:
    total = operands[0]
    for other in operands[1:]:
        total = list(map(operator.mul, total, other))
    return total


def _summed(array: Array, rows: int, depth: int) -> Array:
    return [sum(array[row * depth : (row + 1) * depth], flint.arb(0)) for row in range(rows)]


def _contracted(left: Array, right: Array, size: tuple[int, int, int, int]) -> Array:
    """Return the products of matrices left[g] right[g]^T, (groups, rows, depth) and (groups, columns, depth)."""
    groups, rows, columns, depth = size
    out: Array = []
    multiplied = rows * columns * depth
    carried = rows * depth + columns * depth + rows * columns
    as_matrix = multiplied * (_IN_PYTHON - _IN_MATRIX) > carried * _CARRIED
    zero = flint.arb(0)
    for group in range(groups):
        first = left[group * rows * depth : (group + 1) * rows * depth]
        second = right[group * columns * depth : (group + 1) * columns * depth]
        if as_matrix:
            product = flint.arb_mat(rows, depth, first) * flint.arb_mat(columns, depth, second).transpose()
            out += product.entries()
            continue
        slices = [second[j * depth : (j + 1) * depth] for j in range(columns)]
        for i in range(rows):
            row = first[i * depth : (i + 1) * depth]
            out += [sum(map(operator.mul, row, column), zero) for column in slices]
    return out
