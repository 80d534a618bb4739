"""Plain text of indexed expressions, for terminals: every index explicit, bound ones named as in the LaTeX.

>>> from derivations.indexed import Dim, Index, Tensor, isum
>>> n, m = Dim("n"), Dim("m"); i, k = Index("i", n), Index("k", m)
>>> r, z = Tensor("r", (n,)), Tensor("z", (n, m))
>>> print(plain(-isum(r[i] * z[i, k], i) / n))
-sum(r[i]*z[i,k], i=1..n)/n
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sympy import Expr
from sympy.printing.str import StrPrinter

from derivations.generic import GenericFunction
from derivations.indexed import Delta, Entry, Index, ISum
from derivations.latex_names import Partial, bound_name, free_indices

__all__ = ["plain"]


def plain(expr: Expr, *, beside: Expr | None = None, names: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return ``expr`` as plain text; names that are free in ``beside`` are not given to bound indices."""
    free = {u.name for root in (expr, beside) if root is not None for u in free_indices(root)}
    return _Plain(free, names or {}).doprint(expr)


class _Plain(StrPrinter):
    printmethod = None

    def __init__(self, reserved: set[str], names: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._reserved, self._names = reserved, names
        self._bound: dict[Index, str] = {}

    def _print_Index(self, expr: Index) -> str:
        return self._bound[expr] if expr.level else expr.name

    def _print_Entry(self, expr: Entry) -> str:
        texts = [self._print(u) for u in expr.indices]
        tensor, name = expr.tensor, expr.tensor.name
        if isinstance(tensor, Partial):
            return self._partial(tensor, texts)
        inside = ",".join(texts)
        if name.startswith("dot_"):
            name = f"d{name[4:]}/dt"
        return f"{name}[{inside}]" if inside else name

    def _partial(self, tensor: Partial, texts: list[str]) -> str:
        """Print d2R/(da[k] dw[q,l]), and df[i]/da[k] for an output, whose slots come last."""
        below = []
        for wrt in tensor.wrt:
            slots, texts = texts[: len(wrt.dims)], texts[len(wrt.dims) :]
            below.append(f"d{wrt.name}[{','.join(slots)}]" if slots else f"d{wrt.name}")
        order = f"d{len(below)}" if len(below) > 1 else "d"
        of = f"{tensor.of.partition('_')[0]}[{','.join(texts)}]" if texts else tensor.of
        return f"{order}{of}/{below[0]}" if len(below) == 1 else f"{order}{of}/({' '.join(below)})"

    def _print_Delta(self, expr: Delta) -> str:
        return f"delta({self._print(expr.args[0])},{self._print(expr.args[1])})"

    def _print_ISum(self, expr: ISum) -> str:
        name = bound_name(expr.index, self._reserved | set(self._bound.values()), self._names)
        self._bound[expr.index] = name
        body = self._print(expr.body)
        del self._bound[expr.index]
        return f"sum({body}, {name}=1..{expr.index.dim})"

    def _print_GenericFunction(self, expr: GenericFunction) -> str:
        marks = "'" * expr.orders[0] + "*" * sum(expr.orders[1:])
        return f"{expr.name}{marks}({', '.join(self._print(u) for u in expr.arguments)})"

    def _print_Function(self, expr: Any) -> str:
        return f"{type(expr).__name__}({', '.join(self._print(u) for u in expr.args)})"
