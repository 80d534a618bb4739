r"""Names in print: free and bound indices, and the derivatives that stand on left-hand sides.

>>> from derivations.indexed import Dim, Index, Tensor
>>> n, m = Dim("n"), Dim("m"); i = Index("i", n)
>>> bound_name(i, {"i"}, {}), bound_name(i, set("ijstu"), {})
('j', "i'")
>>> Partial("R", Tensor("a", (m,)), Tensor("c"))[Index("k", m)]
dR_da_dc[k]
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from typing import Any

from sympy import Expr

from derivations.indexed import Index, Tensor

__all__ = ["Partial", "bound_name", "free_indices"]

# Neither e nor r: both are names of residuals.
_POOLS = {"n": "i j s t u", "m": "k q s t", "m_0": "k q s t", "o": "c g h", "d": "l h"}
_DEEP = "p q s t u v"


class Partial(Tensor):
    r"""Name of the derivative of a scalar in one or two tensors, the left-hand side of a gradient or Hessian block.

    ``Partial("R", a, w)[k, q, l]`` prints as :math:`\partial^2 R / \partial a_k \partial w_{ql}`.
    """

    __slots__ = ("of", "wrt")

    def __new__(cls, of: str, *wrt: Tensor) -> Partial:
        """Create the name; its slots are those of ``wrt`` one after the other."""
        name = "_".join(["d" + of, *("d" + t.name for t in wrt)])
        obj = super().__new__(cls, name, tuple(dim for t in wrt for dim in t.dims))
        obj.of, obj.wrt = of, wrt
        return obj

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.of, *self.wrt)


def free_indices(expr: Expr) -> tuple[Index, ...]:
    """Return the free indices of ``expr`` in the order they occur in its entries."""
    found: dict[Index, None] = {}
    _collect(expr, found)
    return tuple(found)


def _collect(expr: Expr, found: dict[Index, None]) -> None:
    if isinstance(expr, Index):
        if not expr.level:
            found[expr] = None
    else:
        for arg in expr.args:
            _collect(arg, found)


def bound_name(index: Index, taken: Container[str], names: Mapping[str, Sequence[str]]) -> str:
    """Return the first name of the dimension's list that is not taken, with primes once the list is used up."""
    dim = str(index.dim)
    pool = names.get(dim) or (_POOLS.get(dim) or _DEEP).split()
    return next(
        name + marks
        for marks in ("'" * j for j in itertools.count())
        for name in pool
        if name + marks not in taken
    )
