"""The slow twin of the index calculus: every sum written out, every delta decided, every entry its own number.

It shares nothing with derivations/indexed.py but the classes it takes apart.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping
from typing import Any

from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from derivations.generic import GenericFunction
from derivations.indexed import Delta, Entry, Index, ISum

__all__ = ["assignments", "rationals", "scalars", "value"]


def value(expr: Expr, at: Mapping[Index, int], sizes: Mapping[str, int], numbers: Any) -> Any:
    """Evaluate ``expr`` with the free indices at ``at`` (1-based); ``numbers(name, places)`` gives an entry.

    A generic function is taken as numbers(name'..., arguments), an injective table of values.
    """
    if isinstance(expr, Index):
        return Integer(at[expr])
    if isinstance(expr, Entry):
        return numbers(expr.tensor.name, tuple(_place(u, at) for u in expr.indices))
    if isinstance(expr, Delta):
        return Integer(int(_place(expr.args[0], at) == _place(expr.args[1], at)))
    if isinstance(expr, ISum):
        terms = range(1, sizes[str(expr.index.dim)] + 1)
        return Add(*[value(expr.body, {**at, expr.index: q}, sizes, numbers) for q in terms])
    if isinstance(expr, GenericFunction):
        arguments = [value(u, at, sizes, numbers) for u in expr.arguments]
        return numbers(f"{expr.name}{expr.orders}", tuple(arguments))
    if isinstance(expr, Symbol):
        return Integer(sizes[expr.name])
    if not expr.args:
        return expr
    rebuilt = [value(arg, at, sizes, numbers) for arg in expr.args]
    if isinstance(expr, Add | Mul | Pow):
        return expr.func(*rebuilt)
    return expr.func(*rebuilt)


def _place(index: Expr, at: Mapping[Index, int]) -> int:
    return at[index] if isinstance(index, Index) else int(index)


def assignments(indices: Any, sizes: Mapping[str, int]) -> Any:
    """Every way to give the indices values."""
    ranges = [range(1, sizes[str(u.dim)] + 1) for u in indices]
    for places in itertools.product(*ranges):
        yield dict(zip(indices, places, strict=True))


def scalars(name: str, places: tuple[Any, ...]) -> Expr:
    """Entries as SymPy symbols: the explicit form of an indexed expression."""
    return Symbol("_".join([name, *map(str, places)]), real=True)


def rationals(seed: int) -> Any:
    """Entries as small rationals that depend on name and place only, with few coincidences."""

    def number(name: str, places: tuple[Any, ...]) -> Rational:
        code = zlib.crc32(
            repr((seed, name, [str(place) for place in places])).encode()
        )  # hash() differs by run
        return Rational(code % 19 - 9, code // 19 % 5 + 1)

    return number
