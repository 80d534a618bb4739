r"""Decide whether an indexed expression vanishes identically, for all sizes and all values of its leaves.

``ISum`` makes equal sums that are built in equal ways equal objects.  A proof needs more: the two sides of an
identity are usually factored differently.  Here everything is multiplied out into monomials

    coefficient * sum over a set of bound indices of a product of leaves,

deltas are eliminated, and the bound indices of each monomial are named canonically (the smallest of all
permutations within a dimension, of which a term with very many indices tries only some).  Two expressions whose monomials agree are equal; the converse is not claimed.

>>> from sympy import Symbol
>>> from derivations.indexed import Dim, Index, Tensor, isum
>>> n = Dim("n"); i, j = Index("i", n), Index("j", n); u, v = Tensor("u", (n,)), Tensor("v", (n,))
>>> vanishes(isum(u[i], i) * isum(v[i], i) - isum(v[j] * isum(u[i], i), j))
True
>>> vanishes(isum(u[i], i) - isum(v[i], i)) is None
True
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from math import factorial, prod

from sympy import Add, Expr, Integer, Mul, Pow, S, cancel, expand

from derivations.generic import GenericFunction
from derivations.indexed import Delta, Entry, Index, ISum, _has, isum, open_sum, replace_index

__all__ = ["canonical", "residual", "vanishes"]

_Monomial = tuple[tuple[Expr, ...], tuple[Index, ...]]

#: Orders of bound names that are tried for one monomial; seven indices of one dimension.
_MOST_ORDERS = 5040


def vanishes(expr: Expr) -> bool | None:
    """Return True if ``expr`` is proved to vanish identically, None if that is not shown (never False)."""
    return True if residual(expr) == 0 else None


def residual(expr: Expr) -> Expr:
    """Return the canonical form of ``expr``; 0 is a proof that it vanishes."""
    return canonical(expr)


def canonical(expr: Expr) -> Expr:
    """Return the multiplied-out form with canonical bound indices."""
    collected: dict[tuple[Expr, tuple[Index, ...]], Expr] = defaultdict(lambda: S.Zero)
    for factors, bound in _monomials(expr):
        coefficient, core, indices = _reduce(factors, bound)
        collected[_canonical_names(core, indices)] += coefficient
    terms = []
    for (core, indices), coefficient in collected.items():
        total = cancel(expand(coefficient)) if coefficient.free_symbols else coefficient
        if total != 0:
            terms.append(total * isum(core, *indices))
    return Add(*terms)


def _monomials(expr: Expr) -> Iterator[_Monomial]:
    if isinstance(expr, Add):
        for term in expr.args:
            yield from _monomials(term)
    elif isinstance(expr, Mul):
        for combination in itertools.product(*[list(_monomials(factor)) for factor in expr.args]):
            yield (
                tuple(itertools.chain.from_iterable(factors for factors, _ in combination)),
                tuple(itertools.chain.from_iterable(bound for _, bound in combination)),
            )
    elif isinstance(expr, Pow) and expr.exp.is_Integer and 0 < expr.exp <= 6 and _compound(expr.base):
        # Each factor is opened anew, so the bound indices of the copies differ.
        copies = [list(_monomials(expr.base)) for _ in range(int(expr.exp))]
        for combination in itertools.product(*copies):
            yield (
                tuple(itertools.chain.from_iterable(factors for factors, _ in combination)),
                tuple(itertools.chain.from_iterable(bound for _, bound in combination)),
            )
    elif isinstance(expr, ISum):
        body, index = open_sum(expr)
        for factors, bound in _monomials(body):
            yield factors, (*bound, index)
    else:
        yield (_inside(expr),), ()


def _compound(expr: Expr) -> bool:
    return isinstance(expr, Add | ISum | Mul)


def _inside(expr: Expr) -> Expr:
    """Put the arguments of a function into canonical form as well."""
    if not expr.args or isinstance(expr, Delta) or not any(isinstance(arg, Expr) for arg in expr.args):
        return expr
    if not any(_compound(arg) for arg in expr.args):
        return expr
    return expr.func(*[canonical(arg) if _compound(arg) else arg for arg in expr.args])


def _reduce(factors: tuple[Expr, ...], bound: tuple[Index, ...]) -> tuple[Expr, Expr, tuple[Index, ...]]:
    """Return (index-free coefficient, core, indices that still occur) with deltas used up."""
    product, indices = Mul(*factors), list(bound)
    changed = True
    while changed:
        changed = False
        for factor in Mul.make_args(product):
            if not isinstance(factor, Delta):
                continue
            left, right = factor.args
            rest = Mul(*[g for g in Mul.make_args(product) if g != factor])
            old = next((u for u in (right, left) if u in indices), None)
            if old is not None:
                product, changed = replace_index(rest, old, left if old == right else right), True
                indices.remove(old)
                break
            if isinstance(right, Index) and _has(
                rest, right
            ):  # both free: use the smaller name everywhere else
                product, changed = factor * replace_index(rest, right, left), True
                break
    coefficient: Expr = Integer(1)
    core = []
    for factor in Mul.make_args(product):
        if factor.atoms(Index) or _has_leaf(factor):
            core.append(factor)
        else:
            coefficient *= factor
    kept = []
    for index in indices:
        if any(_has(factor, index) for factor in core):
            kept.append(index)
        else:
            coefficient *= index.dim
    return coefficient, Mul(*core), tuple(kept)


def _has_leaf(expr: Expr) -> bool:
    return bool(expr.atoms(Entry, GenericFunction, ISum)) if expr.args else False


def _canonical_names(core: Expr, bound: tuple[Index, ...]) -> tuple[Expr, tuple[Index, ...]]:
    """Return the term with its bound indices named so that equal terms get equal names.

    Every order of the names is tried.  Where that is too many, only indices that occur alike change places; and where even that
    is too many they stay as they come.  Equal terms may then keep different names, so that a sum is not shown to vanish: no
    proof is lost in the other direction.
    """
    groups: dict[Expr, list[Index]] = defaultdict(list)
    for index in bound:
        groups[index.dim].append(index)
    dims = sorted(groups, key=str)
    classes = [[groups[dim]] for dim in dims]
    if _count(classes) > _MOST_ORDERS:
        classes = [_alike(core, groups[dim], bound) for dim in dims]
    if _count(classes) > _MOST_ORDERS:
        classes = [[[index] for alike in members for index in alike] for members in classes]
    best: tuple[str, Expr, tuple[Index, ...]] | None = None
    every = [itertools.product(*[itertools.permutations(alike) for alike in members]) for members in classes]
    for orders in itertools.product(*every):
        renamed, names = core, []
        for dim, order in zip(dims, orders, strict=True):
            for position, index in enumerate(itertools.chain.from_iterable(order)):
                name = Index(f"_c{position}", dim)
                renamed = replace_index(renamed, index, name)
                names.append(name)
        key = str(renamed)
        if best is None or key < best[0]:
            best = (key, renamed, tuple(names))
    assert best is not None
    return best[1], best[2]


def _count(classes: list[list[list[Index]]]) -> int:
    return prod(factorial(len(alike)) for members in classes for alike in members)


def _alike(core: Expr, indices: list[Index], bound: tuple[Index, ...]) -> list[list[Index]]:
    """Return the indices in classes that no place in the term tells apart, whatever the others are called."""
    classes: dict[str, list[Index]] = defaultdict(list)
    for index in indices:
        marked = replace_index(core, index, Index("_here", index.dim))
        for other in bound:
            if other != index:
                marked = replace_index(marked, other, Index("_other", other.dim))
        classes[str(marked)].append(index)
    return [classes[key] for key in sorted(classes)]
