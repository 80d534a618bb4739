r"""Functions left general: :math:`\sigma`, :math:`\ell` and their derivatives stay unexpanded until asked.

One derivation then serves every activation and loss.  The derivative orders are part of the object, so
:math:`\sigma''(z)` is hashable, prints as a paper prints it, and no ``Derivative(...)`` or ``Subs`` ever appears.

>>> from sympy import symbols
>>> z, f, y = symbols("z f y", real=True)
>>> GenericFunction("sigma", (0,), z).fdiff(1)
sigma'(z)
>>> GenericFunction("ell", (1, 0), f, y)
ell_f(f, y)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sympy import Expr, S, Symbol, Tuple, sympify

from derivations.indexed import ISum, isum, open_sum

__all__ = ["GenericFunction", "bind"]


class GenericFunction(Expr):
    """A smooth real function known only by name, with its derivative order in each argument."""

    is_commutative = True
    is_real = True

    def __new__(cls, name: Any, orders: Any, *arguments: Any) -> GenericFunction:
        """Create ``name`` differentiated ``orders[j]`` times in argument ``j``."""
        orders = Tuple(*[sympify(o, strict=True) for o in orders])
        if len(orders) != len(arguments):
            raise ValueError(
                f"{name}: {len(arguments)} arguments need as many derivative orders, got {tuple(orders)}"
            )
        label = name if isinstance(name, Symbol) else Symbol(str(name))
        return Expr.__new__(cls, label, orders, *[sympify(u, strict=True) for u in arguments])

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.args[0].name

    @property
    def orders(self) -> tuple[int, ...]:
        """Derivative order in each argument."""
        return tuple(int(o) for o in self.args[1])

    @property
    def arguments(self) -> tuple[Expr, ...]:
        """The arguments."""
        return self.args[2:]

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return the derivative in argument ``argindex`` (1-based)."""
        orders = list(self.orders)
        orders[argindex - 1] += 1
        return GenericFunction(self.args[0], orders, *self.arguments)

    def _eval_derivative(self, symbol: Symbol) -> Expr:
        return sum((self.fdiff(j + 1) * u.diff(symbol) for j, u in enumerate(self.arguments)), S.Zero)

    def _sympystr(self, printer: Any) -> str:
        if len(self.orders) == 1:
            name = self.name + "'" * self.orders[0]
        else:
            marks = "".join(v * o for v, o in zip("fyuv", self.orders, strict=False))
            name = f"{self.name}_{marks}" if marks else self.name
        return f"{name}({', '.join(printer._print(u) for u in self.arguments)})"


def bind(expr: Expr, functions: Mapping[str, Callable[..., Expr]]) -> Expr:
    """Replace generic functions by concrete ones: ``functions[name](orders, *arguments)`` returns the expression.

    Names that are not in ``functions`` stay generic.
    """
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        new = bind(body, functions)
        return expr if new == body else isum(new, index)
    if isinstance(expr, GenericFunction):
        arguments = [bind(u, functions) for u in expr.arguments]
        if expr.name in functions:
            return functions[expr.name](expr.orders, *arguments)
        return GenericFunction(expr.args[0], expr.orders, *arguments)
    if not expr.args:
        return expr
    args = [bind(arg, functions) for arg in expr.args]
    return expr if all(new is old for new, old in zip(args, expr.args, strict=True)) else expr.func(*args)
