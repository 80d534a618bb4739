r"""A problem as an ordered list of indexed definitions, and differentiation of the list.

One never differentiates one big expression; one differentiates the list

    z[i,k] := sum_l w[k,l] x[i,l] + b[k],   f[i] := sum_k a[k] sigma(z[i,k]),   R := (1/n) sum_i ell(f[i], y[i])

by reverse mode (``reverse``: adjoint definitions, no Kronecker deltas), forward mode (``tangent``: directional
derivatives; applied to a gradient, the Hessian-vector product) or as explicit blocks (``jacobian``).

>>> from derivations.indexed import Dim, Index, Tensor, isum
>>> n, m = Dim("n"), Dim("m"); i, k = Index("i", n), Index("k", m)
>>> a, x = Tensor("a", (m,)), Tensor("x", (n, m))
>>> f, R = Tensor("f", (n,)), Tensor("R")
>>> system = System((Declaration(a, (k,)),)).define(f, (i,), isum(a[k] * x[i, k], k)).define(R, (), isum(f[i]**2, i) / 2)
>>> derived, gradient = system.reverse(R, [a], names={f: Tensor("r", (n,))})
>>> print(derived[gradient[a]].expr, "with r =", derived[Tensor("r", (n,))].expr)
Sum[_n1](r[_n1]*x[_n1, k]) with r = f[i]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Add, Expr, Mul, Piecewise, Pow, S, sympify

from derivations.errors import DimensionError
from derivations.indexed import (
    Delta,
    Entry,
    Index,
    ISum,
    Tensor,
    entries,
    fresh,
    isum,
    open_sum,
    replace_index,
    replace_leaves,
)

__all__ = ["Declaration", "Definition", "System", "occurrences"]


@dataclass(frozen=True)
class Declaration:
    """A leaf (parameter, datum or scalar) with the index names its equations are written in."""

    tensor: Tensor
    indices: tuple[Index, ...]


@dataclass(frozen=True)
class Definition:
    """``tensor[indices] := expr``."""

    tensor: Tensor
    indices: tuple[Index, ...]
    expr: Expr

    def at(self, indices: Sequence[Any]) -> Expr:
        """Return the right-hand side at other indices; formals are freshened first, so names cannot clash."""
        expr, middle = self.expr, [fresh(u) for u in self.indices]
        for old, new in zip(self.indices, middle, strict=True):
            expr = replace_index(expr, old, new)
        for old, value in zip(middle, indices, strict=True):
            expr = replace_index(expr, old, sympify(value, strict=True))
        return expr


@dataclass(frozen=True)
class System:
    """An immutable ordered list of definitions over declared leaves.

    Indexing by a tensor returns its definition; iteration yields definitions in order.
    """

    declarations: tuple[Declaration, ...] = ()
    definitions: tuple[Definition, ...] = ()
    _by_tensor: dict[Tensor, Definition] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_tensor.update({d.tensor: d for d in self.definitions})

    def __getitem__(self, tensor: Tensor) -> Definition:
        return self._by_tensor[tensor]

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self._by_tensor

    def __iter__(self) -> Iterator[Definition]:
        return iter(self.definitions)

    def formals(self, tensor: Tensor) -> tuple[Index, ...]:
        """Return the index names in which ``tensor`` was declared or defined."""
        if tensor in self._by_tensor:
            return self._by_tensor[tensor].indices
        for declaration in self.declarations:
            if declaration.tensor == tensor:
                return declaration.indices
        raise KeyError(
            f"{tensor} is neither declared nor defined; declared: {[d.tensor.name for d in self.declarations]}"
        )

    def define(self, tensor: Tensor, indices: Sequence[Index], expr: Any) -> System:
        """Return the system with one more definition.

        Tensors that are neither declared nor defined are constants; gradients are taken of declared ones only.
        """
        expr = sympify(expr, strict=True)
        if tensor in self._by_tensor:
            raise ValueError(f"{tensor} is defined already")
        for entry in entries(expr):
            if entry.tensor == tensor:
                raise ValueError(f"{tensor} is defined by itself")
        checked = Definition(tensor, tuple(indices), expr)
        Entry(tensor, *indices)  # raises DimensionError on a wrong formal index
        return System(self.declarations, (*self.definitions, checked))

    def declare(self, tensor: Tensor, indices: Sequence[Index] = ()) -> System:
        """Return the system with one more leaf."""
        Entry(tensor, *indices)
        return System((*self.declarations, Declaration(tensor, tuple(indices))), self.definitions)

    def dependents(self, wrt: Sequence[Tensor]) -> set[Tensor]:
        """Return ``wrt`` and every defined tensor that depends on it."""
        reached = set(wrt)
        for definition in self.definitions:
            if any(entry.tensor in reached for entry in entries(definition.expr)):
                reached.add(definition.tensor)
        return reached

    def reverse(
        self, output: Tensor, wrt: Sequence[Tensor], names: Mapping[Tensor, Tensor] | None = None
    ) -> tuple[System, dict[Tensor, Tensor]]:
        r"""Adjoint and gradient definitions of the scalar ``output``.

        For each occurrence of T[u] in ``T'[I] := e`` with adjoint ``bar T'[I]``,

            bar T[K] += sum over the open indices not in u of bar T'[I] (d e / d occurrence),   u renamed to K.

        A repeated or constant index in ``u`` leaves a delta.

        Parameters
        ----------
        output : Tensor
            Defined tensor without indices.
        wrt : sequence of Tensor
            Leaves whose gradients are wanted.
        names : mapping, optional
            Tensor to use for the adjoint (of a defined tensor) or the gradient (of a leaf).

        Returns
        -------
        System, dict
            The extended system, and the gradient tensor of each leaf in ``wrt``.

        Raises
        ------
        DimensionError
            If ``output`` is not a scalar.
        """
        if output.dims:
            raise DimensionError(
                f"reverse mode starts from a scalar, {output.name} has dimensions {output.dims}; sum it first"
            )
        names = dict(names or {})
        active = self.dependents(wrt)
        accumulated: dict[Tensor, Expr] = {output: S.One}
        formals: dict[Tensor, tuple[Index, ...]] = {}
        system = self
        for definition in reversed(self.definitions):
            if definition.tensor not in accumulated or definition.tensor not in active:
                continue
            seed: Expr = accumulated[definition.tensor]
            if definition.tensor != output:
                adjoint = names.get(definition.tensor) or _named(definition.tensor, "bar")
                system = system.define(adjoint, formals[definition.tensor], seed)
                seed = adjoint[definition.indices] if definition.indices else adjoint()
            for entry, cofactor, opened in occurrences(definition.expr):
                if entry.tensor not in active:
                    continue
                target = formals.setdefault(entry.tensor, self.formals(entry.tensor))
                term = _contribution(entry, seed * cofactor, (*definition.indices, *opened), target)
                accumulated[entry.tensor] = accumulated.get(entry.tensor, S.Zero) + term
        gradient = {}
        for leaf in wrt:
            tensor = names.get(leaf) or _named(leaf, "grad")
            system = system.define(tensor, self.formals(leaf), accumulated.get(leaf, S.Zero))
            gradient[leaf] = tensor
        return system, gradient

    def tangent(
        self, outputs: Sequence[Tensor], directions: Mapping[Tensor, Tensor]
    ) -> tuple[System, dict[Tensor, Tensor]]:
        """Directional derivatives: each active definition T gets ``dot T``; ``directions`` gives those of the leaves."""
        active = self.dependents(list(directions))
        dots: dict[Tensor, Tensor] = dict(directions)
        system = self
        for leaf, direction in directions.items():
            system = system.declare(direction, self.formals(leaf))
        for definition in self.definitions:
            if definition.tensor not in active:
                continue
            dot = _named(definition.tensor, "dot")
            terms = [
                isum(cofactor * Entry(dots[entry.tensor], *entry.indices), *opened)
                for entry, cofactor, opened in occurrences(definition.expr)
                if entry.tensor in active
            ]
            system = system.define(dot, definition.indices, Add(*terms))
            dots[definition.tensor] = dot
        for tensor in outputs:
            if tensor not in dots:  # it does not depend on the leaves that move
                dots[tensor] = _named(tensor, "dot")
                system = system.define(dots[tensor], self.formals(tensor), S.Zero)
        return system, {tensor: dots[tensor] for tensor in outputs}

    def jacobian(self, output: Tensor, at: Sequence[Any], wrt: Tensor, target: Sequence[Any]) -> Expr:
        r"""One block :math:`\partial\,output[at] / \partial\,wrt[target]` as an expression with free indices.

        Intermediate Jacobians are inlined, primal names are kept.
        """
        active = self.dependents([wrt])
        inner = [fresh(u) if isinstance(u, Index) else sympify(u, strict=True) for u in target]
        memo: dict[Tensor, Definition] = {}

        def total(expr: Expr) -> Expr:
            terms = []
            for entry, cofactor, opened in occurrences(expr):
                if entry.tensor == wrt:
                    derivative = Mul(*[Delta(u, v) for u, v in zip(entry.indices, inner, strict=True)])
                elif entry.tensor in active:
                    if entry.tensor not in memo:
                        definition = self[entry.tensor]
                        memo[entry.tensor] = Definition(
                            definition.tensor, definition.indices, total(definition.expr)
                        )
                    derivative = memo[entry.tensor].at(entry.indices)
                else:
                    continue
                terms.append(isum(cofactor * derivative, *opened))
            return Add(*terms)

        result = total(self[output].at(at)) if output in self else total(Entry(output, *at))
        for old, new in zip(inner, target, strict=True):
            if isinstance(old, Index):
                result = replace_index(result, old, new)
        return result

    def inline(self, expr: Expr, keep: Sequence[Tensor] = ()) -> Expr:
        """Return ``expr`` with defined tensors replaced by their definitions, except those in ``keep``."""
        for definition in reversed(self.definitions):
            if definition.tensor not in keep and any(e.tensor == definition.tensor for e in entries(expr)):
                expr = replace_leaves(expr, {definition.tensor: lambda *u, d=definition: d.at(u)})
        return expr


def _named(tensor: Tensor, prefix: str) -> Tensor:
    tex = {"bar": r"\bar{%s}", "dot": r"\dot{%s}", "grad": r"\nabla_{%s} R"}[prefix] % tensor.tex
    return Tensor(f"{prefix}_{tensor.name}", tensor.dims, tex)


def occurrences(expr: Expr) -> Iterator[tuple[Entry, Expr, tuple[Index, ...]]]:
    """Yield (entry, derivative of ``expr`` in that one occurrence, indices of the sums opened around it)."""
    if isinstance(expr, Entry):
        yield expr, S.One, ()
    elif isinstance(expr, Add):
        for term in expr.args:
            yield from occurrences(term)
    elif isinstance(expr, Mul):
        for position, factor in enumerate(expr.args):
            rest = Mul(*expr.args[:position], *expr.args[position + 1 :])
            for entry, cofactor, opened in occurrences(factor):
                yield entry, rest * cofactor, opened
    elif isinstance(expr, Pow) and not any(True for _ in entries(expr.exp)):
        for entry, cofactor, opened in occurrences(expr.base):
            yield entry, expr.exp * expr.base ** (expr.exp - 1) * cofactor, opened
    elif isinstance(expr, ISum):
        body, index = open_sum(expr)
        for entry, cofactor, opened in occurrences(body):
            yield entry, cofactor, (index, *opened)
    elif isinstance(expr, Piecewise):
        for position, (branch, _) in enumerate(expr.args):
            for entry, cofactor, opened in occurrences(branch):
                pieces = [(cofactor if q == position else S.Zero, c) for q, (_, c) in enumerate(expr.args)]
                yield entry, Piecewise(*pieces), opened
    elif hasattr(expr, "fdiff"):
        arguments = expr.arguments if hasattr(expr, "arguments") else expr.args
        for position, argument in enumerate(arguments):
            for entry, cofactor, opened in occurrences(argument):
                yield entry, expr.fdiff(position + 1) * cofactor, opened
    elif any(True for _ in entries(expr)):
        raise NotImplementedError(
            f"no derivative rule for {type(expr).__name__}: add one to derivations/system.py"
        )


def _contribution(entry: Entry, term: Expr, opened: tuple[Index, ...], target: tuple[Index, ...]) -> Expr:
    # The target names are freshened so that they cannot meet an open index of the same name.
    names = [fresh(u) for u in target]
    remaining = list(opened)
    deltas: Expr = S.One
    renaming: list[tuple[Index, Index]] = []
    for slot, name in zip(entry.indices, names, strict=True):
        if slot in remaining:
            remaining.remove(slot)
            renaming.append((slot, name))
        else:
            deltas *= Delta(slot, name)
    term = term * deltas
    for old, new in renaming:
        term = replace_index(term, old, new)
    term = isum(term, *remaining)
    for old, new in zip(names, target, strict=True):
        term = replace_index(term, old, new)
    return term
