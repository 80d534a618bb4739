r"""Tensor entries and a binder for sums: the only constructors beyond ordinary SymPy scalars.

Sizes stay symbols.  ``ISum`` is kept in a normal form established at construction, so that equal sums built in
equal ways are equal objects:

* linear over addition; index-free factors move out; an index that does not occur contributes its dimension;
* ``sum_k delta(k, q) g(k) -> g(q)``, a factor being expanded only if it contains a delta;
* the bound index is renamed to (dimension, 1 + highest level bound inside).  Bound indices form their own
  namespace, and every substitution opens the sum first, so capture is impossible.

>>> from sympy import Symbol
>>> m, n = Dim("m"), Dim("n")
>>> a, g = Tensor("a", (m,)), Tensor("g", (n, m))
>>> i, k, q = Index("i", n), Index("k", m), Index("q", m)
>>> isum(a[k] * Delta(k, q) * g[i, k], k)
a[q]*g[i, q]
>>> isum(2 * a[k], k) == isum(2 * a[q], q), isum(a[q], k)
(True, m*a[q])
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from sympy import Add, Expr, Mul, Pow, S, Symbol, sympify
from sympy.core.expr import AtomicExpr

from derivations.errors import DimensionError

__all__ = [
    "Delta",
    "Dim",
    "Entry",
    "ISum",
    "Index",
    "Tensor",
    "entries",
    "fresh",
    "isum",
    "open_sum",
    "rename",
    "replace_index",
    "replace_leaves",
]


def Dim(name: str) -> Symbol:
    """Return the symbol of a dimension, a positive integer such as the width m or the sample count n."""
    return Symbol(name, integer=True, positive=True)


class Index(AtomicExpr):
    """A summation or free index running over 1..dim; ``level > 0`` marks a bound one (created by ISum only)."""

    is_commutative = True
    is_integer = True
    is_positive = True
    __slots__ = ("dim", "level", "name")

    def __new__(cls, name: str, dim: Expr, level: int = 0) -> Index:
        """Create the index ``name`` over ``dim``."""
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.dim, obj.level = str(name), sympify(dim, strict=True), int(level)
        return obj

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.name, self.dim, self.level)

    def _hashable_content(self) -> tuple[Any, ...]:
        return (self.name, self.dim, self.level)

    def sort_key(self, order: Any = None) -> Any:
        """Order indices by name, dimension and level."""
        return self.class_key(), (1, (self.name, str(self.dim), self.level)), S.One.sort_key(), S.One

    def _sympystr(self, printer: Any) -> str:
        return self.name if not self.level else f"_{self.dim}{self.level}"


_counter = itertools.count(1)


def fresh(index: Index) -> Index:
    """Return a free index over the same dimension with a name never used before."""
    return Index(f"_f{next(_counter)}", index.dim)


class Tensor(AtomicExpr):
    r"""A named array of leaves: ``Tensor("w", (m, d))[k, l]`` is the entry :math:`w_{kl}`.

    Parameters
    ----------
    name : str
        Unique within a system; also the name used in generated code.
    dims : tuple of dimensions
        One per slot; empty for a scalar.
    tex : str, optional
        LaTeX of the bare symbol, ``name`` by default.
    """

    is_commutative = True
    __slots__ = ("dims", "name", "tex")
    # Without this, __getitem__ makes a tensor iterable to Python, and SymPy (factor_terms, hence Max and simplify)
    # takes it for a container and asks for entry 0.
    __iter__ = None

    def __new__(cls, name: str, dims: tuple[Expr, ...] = (), tex: str | None = None) -> Tensor:
        """Create the tensor."""
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.dims, obj.tex = (
            str(name),
            tuple(sympify(s, strict=True) for s in dims),
            tex or str(name),
        )
        return obj

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.name, self.dims, self.tex)

    def _hashable_content(self) -> tuple[Any, ...]:
        return (self.name, self.dims)

    def sort_key(self, order: Any = None) -> Any:
        """Order tensors by name."""
        return self.class_key(), (1, (self.name,)), S.One.sort_key(), S.One

    def __getitem__(self, indices: Any) -> Entry:
        return Entry(self, *(indices if isinstance(indices, tuple) else (indices,)))

    def __call__(self) -> Entry:
        """Return the single entry of a scalar tensor."""
        return Entry(self)

    def _sympystr(self, printer: Any) -> str:
        return self.name


class Entry(Expr):
    """One real entry of a tensor; every slot is checked against the tensor's dimension."""

    is_commutative = True
    is_real = True

    def __new__(cls, tensor: Tensor, *indices: Any) -> Entry:
        """Create the entry; raise DimensionError on a wrong number of indices or a wrong dimension."""
        slots = tuple(sympify(u, strict=True) for u in indices)
        if len(slots) != len(tensor.dims):
            raise DimensionError(
                f"{tensor.name} has {len(tensor.dims)} slots {tensor.dims}, got {len(slots)} indices {slots}"
            )
        for position, (u, dim) in enumerate(zip(slots, tensor.dims, strict=True)):
            if isinstance(u, Index) and u.dim != dim:
                raise DimensionError(
                    f"slot {position} of {tensor.name} runs over {dim}, got index {u} over {u.dim}"
                )
        return Expr.__new__(cls, tensor, *slots)

    @property
    def tensor(self) -> Tensor:
        """The tensor this is an entry of."""
        return self.args[0]

    @property
    def indices(self) -> tuple[Expr, ...]:
        """The indices, one per slot."""
        return self.args[1:]

    def _sympystr(self, printer: Any) -> str:
        inside = ", ".join(printer._print(u) for u in self.indices)
        return f"{self.tensor.name}[{inside}]" if inside else self.tensor.name


class Delta(Expr):
    """Kronecker delta of two indices over one dimension; decided at once where both are equal or both integers."""

    is_commutative = True
    is_real = True

    def __new__(cls, left: Any, right: Any) -> Expr:
        """Create the delta."""
        left, right = sympify(left, strict=True), sympify(right, strict=True)
        if isinstance(left, Index) and isinstance(right, Index) and left.dim != right.dim:
            raise DimensionError(
                f"delta({left}, {right}) compares an index over {left.dim} with one over {right.dim}"
            )
        if left == right:
            return S.One
        if left.is_Integer and right.is_Integer:
            return S.Zero
        return Expr.__new__(cls, *sorted((left, right), key=lambda u: u.sort_key()))

    def _eval_power(self, exponent: Expr) -> Expr | None:
        return self if exponent.is_Integer and exponent.is_positive else None

    def _sympystr(self, printer: Any) -> str:
        return f"delta({self.args[0]}, {self.args[1]})"


class ISum(Expr):
    """Sum of ``body`` over one index, in normal form.  Build it with ``isum``; open it with ``open_sum``."""

    is_commutative = True
    is_real = True

    def __new__(cls, body: Any, index: Index) -> Expr:
        """Create the normal form of the sum."""
        return _normal_sum(sympify(body, strict=True), index)

    @property
    def body(self) -> Expr:
        """The summand, in terms of the bound index."""
        return self.args[0]

    @property
    def index(self) -> Index:
        """The bound index."""
        return self.args[1]

    @property
    def free_symbols(self) -> set[Any]:
        """Symbols of the body, the bound index being no symbol."""
        return self.body.free_symbols | self.index.dim.free_symbols

    def _xreplace(self, rule: Any) -> tuple[Expr, bool]:
        if self in rule:
            return rule[self], True
        body, index = open_sum(self)
        new, changed = body._xreplace(rule)
        return (isum(new, index), True) if changed else (self, False)

    def _eval_subs(self, old: Expr, new: Expr) -> Expr:
        body, index = open_sum(self)
        return isum(body._subs(old, new), index)

    def _sympystr(self, printer: Any) -> str:
        return f"Sum[{self.index}]({printer._print(self.body)})"


def isum(body: Any, *indices: Index) -> Expr:
    """Return the nested normal-form sum of ``body`` over ``indices``, the last one innermost."""
    out = sympify(body, strict=True)
    for index in reversed(indices):
        out = _normal_sum(out, index)
    return out


def open_sum(total: ISum) -> tuple[Expr, Index]:
    """Return (summand, index) with the bound index renamed to a fresh free one."""
    index = fresh(total.index)
    return _rename(total.body, total.index, index), index


def _rename(expr: Expr, old: Index, new: Expr) -> Expr:
    # Bound names inside have strictly lower levels than the index being renamed, so a plain rebuild is safe; it is
    # written out because Basic.xreplace would open every inner sum for nothing.
    return rename(expr, {old: new})


def rename(expr: Expr, names: Mapping[Index, Index]) -> Expr:
    """Return ``expr`` with all indices in ``names`` renamed at once; the new names must differ from each other.

    No two indices become equal, so no delta is decided and the normal form stays: this is much cheaper than
    ``replace_index``, which opens and closes every sum.
    """
    if isinstance(expr, Index):
        return names.get(expr, expr)
    if not expr.args:
        return expr
    if isinstance(expr, ISum):
        body = rename(expr.body, names)
        return expr if body is expr.body else Expr.__new__(ISum, body, expr.index)
    args = [rename(arg, names) for arg in expr.args]
    return expr if all(new is old for new, old in zip(args, expr.args, strict=True)) else expr.func(*args)


def _has(expr: Expr, index: Index) -> bool:
    if expr == index:
        return True
    return any(_has(arg, index) for arg in expr.args)


def _level(expr: Expr) -> int:
    if isinstance(expr, ISum):
        return expr.index.level
    return max((_level(arg) for arg in expr.args), default=0)


def _contains_delta(expr: Expr, index: Index) -> bool:
    if isinstance(expr, Delta):
        return index in expr.args
    return any(_contains_delta(arg, index) for arg in expr.args)


def _normal_sum(body: Expr, index: Index) -> Expr:
    if isinstance(body, Add):
        return Add(*[_normal_sum(term, index) for term in body.args])
    if (
        body == 0
    ):  # by form: `is_zero` would ask SymPy's assumptions of every factor, most of the time of a derivation
        return S.Zero
    if not _has(body, index):
        return index.dim * body
    factors = Mul.make_args(body)
    outside = [factor for factor in factors if not _has(factor, index)]
    inside = [factor for factor in factors if _has(factor, index)]
    for position, factor in enumerate(inside):
        if isinstance(factor, Delta):
            other = factor.args[0] if factor.args[1] == index else factor.args[1]
            rest = Mul(*inside[:position], *inside[position + 1 :])
            return Mul(*outside, replace_index(rest, index, other))
        if isinstance(factor, Add | Pow) and _contains_delta(factor, index):
            expanded = (factor * Mul(*inside[:position], *inside[position + 1 :])).expand(deep=False)
            if isinstance(expanded, Add):
                return (
                    Mul(*outside, 1) * _normal_sum(expanded, index)
                    if outside
                    else _normal_sum(expanded, index)
                )
    core = Mul(*inside)
    bound = Index("", index.dim, 1 + _level(core))
    return Mul(*outside, Expr.__new__(ISum, _rename(core, index, bound), bound))


def replace_index(expr: Expr, old: Index, new: Expr) -> Expr:
    """Return ``expr`` with the free index ``old`` replaced by ``new``, re-establishing the normal form."""
    if expr == old:
        return new
    if not expr.args or not _has(expr, old):
        return expr
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        return _normal_sum(replace_index(body, old, new), index)
    return expr.func(*[replace_index(arg, old, new) for arg in expr.args])


def replace_leaves(expr: Expr, rules: Mapping[Tensor, Any]) -> Expr:
    """Return ``expr`` with every entry of a tensor in ``rules`` replaced by ``rules[tensor](*indices)``.

    The replacement may contain sums and any indices: all sums around the entry are opened first.
    """
    if isinstance(expr, Entry):
        return rules[expr.tensor](*expr.indices) if expr.tensor in rules else expr
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        new = replace_leaves(body, rules)
        return expr if new == body else _normal_sum(new, index)
    if not expr.args:
        return expr
    args = [replace_leaves(arg, rules) for arg in expr.args]
    return expr if all(new is old for new, old in zip(args, expr.args, strict=True)) else expr.func(*args)


def entries(expr: Expr) -> Iterator[Entry]:
    """Yield every entry that occurs in ``expr``, bound indices included, with repetition."""
    if isinstance(expr, Entry):
        yield expr
    else:
        for arg in expr.args:
            yield from entries(arg)
