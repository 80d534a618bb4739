"""The graph of arrays of a derived system with exact constants: what every interval arithmetic runs, and how parameters lie in it.

The lowering that writes PyTorch source is asked for its graph; 1/10 stays the rational number, not the nearest float, and functions are
kept by name, each refused at once if the arithmetic has no form of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sympy import Expr, Integer, srepr

from derivations.problem import Problem
from numerics.emit_nodes import Value
from numerics.emit_results import Output
from numerics.lowering import Lowering

__all__ = ["ExactGraph", "ExactLowering", "Layout", "block_layout"]

#: Name, shape and place in the flat vector of each block.
Layout = list[tuple[str, tuple[int, ...], slice]]


def block_layout(problem: Problem, sizes: Mapping[str, int]) -> Layout:
    """Return where the blocks of a problem lie in the flat vector of its parameters, row-major, in their order.

    >>> block_layout(Problem.two_layer("tanh", "square"), {"m": 2, "d": 3})
    [('a', (2,), slice(0, 2, None)), ('w', (2, 3), slice(2, 8, None))]
    """
    layout: Layout = []
    start = 0
    for block in problem.blocks:
        shape = tuple(sizes[str(dim)] for dim in block.tensor.dims)
        stop = start + math.prod(shape)
        layout.append((block.name, shape, slice(start, stop)))
        start = stop
    return layout


@dataclass(frozen=True)
class ExactGraph:
    """What is computed, as nodes, with the exact constants behind their codes.

    Attributes
    ----------
    outputs : mapping
        Name to node, order of its labels, and dimensions.
    leaves : mapping
        Name of a leaf in the graph to the name of its tensor.
    constants : mapping
        Code of a number to the number, which may hold sizes.
    """

    outputs: Mapping[str, Output]
    leaves: Mapping[str, str]
    constants: Mapping[str, Expr]

    def constant(self, code: object, sizes: Mapping[str, int]) -> Expr:
        """Return the number behind a code at given sizes."""
        expr = self.constants[str(code)]
        numbers = {symbol: Integer(sizes[symbol.name]) for symbol in expr.free_symbols}
        return expr.subs(numbers) if numbers else expr


@dataclass
class ExactLowering(Lowering):
    """The lowering with exact numbers, and functions by name; ``known(name)`` raises where the arithmetic has no such function."""

    known: Callable[[str], object] = field(kw_only=True)
    constants: dict[str, Expr] = field(default_factory=dict)

    def number(self, expr: Expr) -> str:
        """Return the code of a constant, and remember the constant."""
        code = str(expr) if expr.is_Integer else srepr(expr)
        self.constants[code] = expr
        return code

    def call(self, expr: Expr) -> Value:
        """Lower a function by its name."""
        name = type(expr).__name__
        self.known(name)
        return self.graph.make("map", [self.value(expr.args[0])], payload=(name,))

    def graph_of(self, outputs: Mapping[str, Output]) -> ExactGraph:
        """Return the graph of what has been lowered."""
        leaves = {label: tensor.name for tensor, label in self.names.tensors.items()}
        return ExactGraph(outputs, leaves, self.constants)
