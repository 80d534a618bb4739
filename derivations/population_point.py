r"""Population risk and gradient of a network on Gaussian inputs at exact parameters, from the derived equations.

>>> from sympy import Symbol
>>> from derivations.problem import Problem
>>> x = (Symbol("x_0", real=True), Symbol("x_1", real=True))
>>> student = GaussianProblem(Problem.two_layer("quadratic", "square"), x, x[0] ** 2)
>>> population_point(student, {"a": [1], "w": [[1, 1]]})
(7/2, (8, 6, 10))
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from sympy import Add, Expr, Integer, S, Symbol, sympify

from derivations.errors import AssumptionError
from derivations.formula import parse_number
from derivations.generic import bind
from derivations.indexed import Delta, Entry, ISum, open_sum, replace_index
from derivations.population import GaussianProblem

__all__ = ["population_point"]


def population_point(population: GaussianProblem, theta: Mapping[str, Any]) -> tuple[Expr, tuple[Expr, ...]]:
    """Return the risk and its gradient in flat order a, w, b, c.

    Parameters
    ----------
    population : GaussianProblem
        The dimension is that of the rows of w.
    theta : mapping
        Blocks of exact numbers: ``{"a": [..], "w": [[..], ..], "b": [..], "c": ..}``.

    Raises
    ------
    ValueError
        If a block is missing or does not fit, or w has fewer coordinates than the target or another number than d.
    AssumptionError
        If the closed form is not differentiable there: a weight vector is 0.
    """
    known = [block.name for block in population.problem.blocks]
    if sorted(theta) != sorted(known):
        raise ValueError(f"the blocks are {', '.join(theta)}; this network has {', '.join(known)}")
    a, w = list(theta["a"]), [list(row) for row in theta["w"]]
    width, dimension = len(a), len(w[0]) if w else 0
    shapes = {"a": (width,), "w": (width, dimension), "b": (width,), "c": ()}
    if len(w) != width or any(len(row) != dimension for row in w) or not width:
        raise ValueError(f"a has {width} entries and w has rows of lengths {[len(row) for row in w]}")
    least = max(population.coordinates, default=1)
    stated = population.dimension
    if dimension < least or (isinstance(stated, Integer) and stated != dimension):
        wanted = stated if isinstance(stated, Integer) else f"at least {least}"
        raise ValueError(f"w has {dimension} coordinates; required is d = {wanted}")
    entries: dict[tuple[str, tuple[int, ...]], Expr] = {}
    for name in known:
        for places in itertools.product(*[range(1, size + 1) for size in shapes[name]]):
            entries[name, places] = _number(theta[name], places, name)
    for tensor, j in zip(population.basis, population.coordinates, strict=True):
        for l in range(1, dimension + 1):
            entries[tensor.name, (l,)] = Integer(int(l == j))
    sizes = {"m": width, "d": dimension}

    def number(expr: Expr) -> Expr:
        value = bind(_written(expr, entries, sizes), population.functions).subs(
            {s: sizes[s.name] for s in expr.free_symbols if isinstance(s, Symbol) and s.name in sizes}
        )
        if value.has(S.NaN, S.ComplexInfinity, S.Infinity):
            raise AssumptionError("the closed form has no value where a weight vector is 0; choose w_k != 0")
        return value

    risk = number(population.system[population.problem.risk].expr)
    gradient = []
    for block in population.problem.blocks:
        expr = population.gradient(block.name)
        for places in itertools.product(*[range(1, size + 1) for size in shapes[block.name]]):
            here = expr
            for index, place in zip(block.indices, places, strict=True):
                here = replace_index(here, index, Integer(place))
            gradient.append(number(here))
    return risk, tuple(gradient)


def _number(block: Any, places: Sequence[int], name: str) -> Expr:
    try:
        for place in places:
            block = block[place - 1]
    except (IndexError, TypeError):
        raise ValueError(f"block '{name}' has no entry {tuple(places)}") from None
    value = parse_number(block) if isinstance(block, int | float | str) else sympify(block, strict=True)
    if not (isinstance(value, Expr) and value.is_number and value.is_real):
        raise ValueError(f"block '{name}' holds {block}, which is no exact real number")
    return value


def _written(
    expr: Expr, entries: Mapping[tuple[str, tuple[int, ...]], Expr], sizes: Mapping[str, int]
) -> Expr:
    """Write all sums out and put in the entries."""
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        places = range(1, sizes[str(index.dim)] + 1)
        return Add(*[_written(replace_index(body, index, Integer(j)), entries, sizes) for j in places])
    if isinstance(expr, Entry):
        return entries[expr.tensor.name, tuple(int(u) for u in expr.indices)]
    if isinstance(expr, Delta) or not expr.args:
        return expr
    return expr.func(*[_written(u, entries, sizes) for u in expr.args])
