"""Numbers of a printed derivation: its equations and definitions evaluated from data and parameters alone.

Every expression becomes one array over its indices, sums are summed out, and sigma and ell are what the derivation itself
says they are.  Nothing is shared with the compiler; of the index calculus only the classes are used, to take them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from sympy import Expr, Symbol

from derivations.derivation import Derivation, Equation
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Entry, Index, ISum

__all__ = ["Values"]

Array = torch.Tensor

_SCALAR: dict[str, Callable[..., Array]] = {
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "atan": torch.atan,
    "Abs": torch.abs,
    "sign": torch.sign,
    "relu": lambda u: torch.where(u > 0, u, torch.zeros_like(u)),
    "step": lambda u, c: torch.where(u == 0, c, (u > 0).to(u.dtype)),
    "sigmoid": lambda u: 1 / (1 + torch.exp(-u)),
    "softplus": lambda u: torch.logaddexp(u, torch.zeros_like(u)),
    "sech2": lambda u: 1 / torch.cosh(u) ** 2,
}
#: Axes kept for free indices and for sums that are open at one time.
_AXES = 12


class Values:
    """The arrays of a derivation.

    Parameters
    ----------
    derivation : Derivation
        Its definitions are evaluated in the order in which they are printed.
    arrays : mapping
        Value of every leaf, by the name of its tensor.
    sizes : mapping
        Value of every dimension, by name.
    symbols : mapping
        Values of further symbols, such as a step or a multiplier.
    functions : mapping
        ``name`` to ``function(orders, *arguments)`` for functions that the derivation leaves general.
    """

    def __init__(
        self,
        derivation: Derivation,
        arrays: Mapping[str, Array],
        sizes: Mapping[str, int],
        symbols: Mapping[str, float] | None = None,
        functions: Mapping[str, Callable[..., Array]] | None = None,
    ) -> None:
        self.derivation, self.arrays, self.sizes = derivation, dict(arrays), dict(sizes)
        self.symbols, self.general = dict(symbols or {}), dict(functions or {})
        self.functions = {
            (e.lhs.name, e.lhs.orders): (e.lhs.arguments, e.rhs)
            for e in derivation.where
            if isinstance(e.lhs, GenericFunction)
        }
        for equation in derivation.where:
            if isinstance(equation.lhs, Entry) and equation.lhs.tensor.name not in self.arrays:
                self.define(equation)

    def define(self, equation: Equation) -> Array:
        """Evaluate the right-hand side over the indices of the left-hand side and keep it under that name."""
        value = self.right(equation)
        self.arrays[equation.lhs.tensor.name] = value
        return value

    def right(self, equation: Equation) -> Array:
        """Return the right-hand side over the indices of the left-hand side."""
        left = equation.lhs
        return self.over(equation.rhs, left.indices if isinstance(left, Entry) else ())

    def over(self, expr: Expr, indices: Sequence[Index]) -> Array:
        """Return ``expr`` as an array over ``indices``."""
        at = {index: axis for axis, index in enumerate(indices)}
        shape = [self.size(index.dim) for index in indices]
        value = self._value(expr, at, {})
        value = torch.broadcast_to(value, (*shape, *[1] * (_AXES - len(shape))))
        return value.reshape(shape)

    def size(self, dim: Expr) -> int:
        return int(dim) if dim.is_Integer else self.sizes[dim.name]

    def _range(self, index: Index, at: Mapping[Index, int]) -> Array:
        shape = [1] * _AXES
        shape[at[index]] = self.size(index.dim)
        return torch.arange(self.size(index.dim)).reshape(shape)

    def _place(self, slot: Expr, at: Mapping[Index, int]) -> Array:
        return self._range(slot, at) if isinstance(slot, Index) else torch.full([1] * _AXES, int(slot) - 1)

    def _value(self, expr: Expr, at: dict[Index, int], bound: Mapping[Symbol, Array]) -> Array:
        if isinstance(expr, Entry):
            array = self.arrays[expr.tensor.name]
            assert array.shape == tuple(self.size(u) for u in expr.tensor.dims), expr
            if not expr.indices:
                return array.reshape([1] * _AXES)
            return array[tuple(self._place(u, at) for u in expr.indices)]
        if isinstance(expr, ISum):
            axis = max(at.values(), default=-1) + 1
            value = self._value(expr.body, {**at, expr.index: axis}, bound)
            shape = list(value.shape)
            shape[axis] = self.size(expr.index.dim)
            return torch.broadcast_to(value, shape).sum(dim=axis, keepdim=True)
        if isinstance(expr, Delta):
            left, right = (self._place(u, at) for u in expr.args)
            return (left == right).to(torch.float64)
        if isinstance(expr, GenericFunction):
            arguments = [self._value(u, at, bound) for u in expr.arguments]
            if expr.name in self.general:
                return self.general[expr.name](expr.orders, *arguments)
            names, formula = self.functions[expr.name, expr.orders]
            return self._value(formula, {}, dict(zip(names, arguments, strict=True)))
        if isinstance(expr, Symbol):
            known = bound.get(expr)
            return (
                known
                if known is not None
                else self._number(self.sizes.get(expr.name, self.symbols.get(expr.name)))
            )
        if expr.is_number:
            return self._number(float(expr))
        parts = [self._value(u, at, bound) for u in expr.args]
        if expr.is_Add:
            return sum(parts[1:], parts[0])
        if expr.is_Mul:
            out = parts[0]
            for part in parts[1:]:
                out = out * part
            return out
        if expr.is_Pow:
            return parts[0] ** (int(expr.exp) if expr.exp.is_Integer else parts[1])
        return _SCALAR[type(expr).__name__](*parts)

    @staticmethod
    def _number(value: float | None) -> Array:
        assert value is not None
        return torch.full([1] * _AXES, float(value), dtype=torch.float64)
