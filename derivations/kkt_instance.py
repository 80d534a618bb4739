r"""A constrained problem at given sizes and exact data, its equations written out.

Sums are expanded, data and activation put in; what comes out are scalar expressions in real symbols, for exact work, and the
KKT conditions one by one, for reading.  Everything is written out from the indexed definitions, so there is one source.

>>> from derivations.constrained_problems import constrained
>>> from derivations.problem import Problem
>>> problem = constrained(Problem.two_layer("relu"), "hard-margin")
>>> small = instance(problem, x=[[1, 0]], y=[1], width=1)
>>> print(small.conditions())
KKT conditions of the hard-margin problem, written out for m = 1, d = 2, n = 1
    a = relu(z)*lambda
    w[1] = step(z, 0)*a*lambda
    w[2] = 0
    f >= 1
    lambda >= 0
    (f - 1)*lambda = 0
  where
    z = w[1]
    f = relu(z)*a
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import Add, Expr, Integer, Symbol

from derivations.clarke import ClarkeSet, clarke_vertices
from derivations.constrained import Constrained
from derivations.derivation import Equation
from derivations.exact_lp import exact_numbers
from derivations.explicit import MAX_EQUATIONS
from derivations.generic import bind
from derivations.indexed import Entry, Index, ISum, Tensor, open_sum, replace_index
from derivations.kkt import Conditions, Relation, stationarity
from derivations.problem import d, n, o
from derivations.vocabulary import entry

__all__ = ["Instance", "WrittenConstraint", "instance"]


@dataclass(frozen=True)
class WrittenConstraint:
    """``gap sign 0`` in scalar symbols, with the entry of its multiplier and the name of that."""

    gap: Expr
    sign: str
    multiplier: Expr
    name: str


@dataclass(frozen=True)
class Instance:
    """A constrained problem at given sizes and data.

    Parameters
    ----------
    given : Constrained
        The problem with symbolic sizes.
    sizes : mapping
        Numbers of all dimensions.
    data : mapping
        Exact data and frozen blocks, nested tuples by tensor.
    """

    given: Constrained
    sizes: Mapping[Symbol, int]
    data: Mapping[Tensor, Any]

    # -- writing out

    def written(self, expr: Expr) -> Expr:
        """Return ``expr`` with definitions, sums, sizes, data, activation and loss put in; entries of unknowns stay."""
        return self._bound(self.given.derived.inline(expr))

    def _bound(self, expr: Expr) -> Expr:
        return bind(self._write(expr), self.given.problem.functions)

    def _write(self, expr: Expr) -> Expr:
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            values = range(1, self.sizes[index.dim] + 1)
            return Add(*[self._write(replace_index(body, index, Integer(v))) for v in values])
        if isinstance(expr, Entry):
            return self._entry(expr)
        if isinstance(expr, Symbol):
            return Integer(self.sizes[expr]) if expr in self.sizes else expr
        return expr.func(*[self._write(u) for u in expr.args]) if expr.args else expr

    def _entry(self, leaf: Entry) -> Expr:
        if leaf.tensor in self.data:
            value = self.data[leaf.tensor]
            for index in leaf.indices:
                value = value[int(index) - 1]
            return value
        # An index that takes one value only disappears.
        kept = [
            (u, dim) for u, dim in zip(leaf.indices, leaf.tensor.dims, strict=True) if self.sizes[dim] != 1
        ]
        tensor = Tensor(leaf.tensor.name, tuple(dim for _, dim in kept), leaf.tensor.tex)
        return Entry(tensor, *[u for u, _ in kept])

    def _places(self, indices: Sequence[Index]) -> list[tuple[int, ...]]:
        return list(itertools.product(*[range(1, self.sizes[u.dim] + 1) for u in indices]))

    def at(self, expr: Expr, indices: Sequence[Index], place: Sequence[int]) -> Expr:
        """Return ``expr`` written out with numbers for its free indices; entries of unknowns stay."""
        return self._at(expr, indices, place)

    def _at(
        self, expr: Expr, indices: Sequence[Index], place: Sequence[int], keep: Sequence[Tensor] = ()
    ) -> Expr:
        for index, value in zip(indices, place, strict=True):
            expr = replace_index(expr, index, Integer(value))
        return self._bound(self.given.derived.inline(expr, keep))

    @cached_property
    def unknowns(self) -> dict[Expr, Symbol]:
        """Entries of the unknowns in flat order, with the real symbol of each."""
        found = [
            self._at(entry(b.tensor, b.indices), b.indices, place)
            for b in self.given.variables
            for place in self._places(b.indices)
        ]
        return {leaf: Symbol(_name(leaf), real=True) for leaf in found}

    @cached_property
    def objective(self) -> Expr:
        """The objective in the symbols of ``unknowns``."""
        return self.written(self.given.objective).xreplace(self.unknowns)

    @cached_property
    def constraints(self) -> tuple[WrittenConstraint, ...]:
        """Every single constraint in the symbols of ``unknowns``."""
        out = []
        for c in self.given.constraints:
            for place in self._places(c.indices):
                gap = self._at(c.scale * c.gap, c.indices, place).xreplace(self.unknowns)
                multiplier = self._at(c.value, c.indices, place)
                out.append(WrittenConstraint(gap, c.sign, multiplier, _name(multiplier)))
        return tuple(out)

    def conditions(self) -> Conditions:
        """Return the KKT conditions, one equation for each unknown and each constraint; z and f stay as definitions.

        Raises
        ------
        ValueError
            If there would be more than ``MAX_EQUATIONS``.
        """
        kept = [u for u in self.given.system if u.tensor != self.given.problem.risk]
        names = [u.tensor for u in kept]
        count = len(self.unknowns) + sum(len(self._places(u.indices)) for u in kept)
        count += sum(1 if c.sign == "=" else 3 for c in self.constraints)
        if count > MAX_EQUATIONS:
            raise ValueError(
                f"{count} equations; at most {MAX_EQUATIONS} are written out: choose smaller sizes"
            )

        def each(indices: Sequence[Index], *sides: Expr) -> Iterator[list[Expr]]:
            for place in self._places(indices):
                yield [self._at(u, indices, place, names) for u in sides]

        rows: list[Equation] = []
        for block in self.given.variables:
            equation = stationarity(self.given, block)
            rows += [Equation(*sides) for sides in each(block.indices, equation.lhs, equation.rhs)]
        for c in self.given.constraints:
            for left, right, value in each(c.indices, c.left, c.right, c.value):
                rows += _written_rows(left, c.sign, right, value)
        where = [
            Equation(*sides) for u in kept for sides in each(u.indices, entry(u.tensor, u.indices), u.expr)
        ]
        used = {dim for u in (*self.given.tensors, self.given.problem.x) for dim in u.dims}
        shown = ", ".join(f"{dim} = {value}" for dim, value in self.sizes.items() if dim in used)
        title = f"KKT conditions of the {self.given.name} problem, written out for {shown}"
        return Conditions("kkt", title, tuple(rows), tuple(where), (f"{self.given.statement}.",), hide=())

    # -- checking

    def point(self, theta: Mapping[str, Any]) -> dict[Symbol, Expr]:
        """Return the value of each symbol, from exact nested lists by block.

        Raises
        ------
        ValueError
            If a block is missing, unknown, of the wrong shape, or not exact.
        """
        names = [b.name for b in self.given.variables]
        if set(theta) != set(names):
            raise ValueError(
                f"the point gives the blocks {', '.join(theta)}; required are {', '.join(names)}"
            )
        values: list[Expr] = []
        for b in self.given.variables:
            shape = tuple(self.sizes[dim] for dim in b.tensor.dims)
            values += _flat(theta[b.name], shape, f"block '{b.name}'")
        return dict(zip(self.unknowns.values(), values, strict=True))

    def clarke(self, theta: Mapping[str, Any], what: str = "objective") -> ClarkeSet:
        """Return the Clarke subdifferential of the objective, or of the constraint with the multiplier ``what``."""
        exprs = {"objective": self.objective, **{c.name: c.gap for c in self.constraints}}
        if what not in exprs:
            raise ValueError(f"no constraint '{what}'; known: {', '.join(exprs)}")
        return clarke_vertices(exprs[what], self.point(theta))


def _written_rows(left: Expr, sign: str, right: Expr, value: Expr) -> list[Equation]:
    """Return a constraint with the sign of its multiplier and complementary slackness."""
    mirrored = {"=": "=", "<=": ">=", ">=": "<="}
    # A sum of many terms stands on the right-hand side, where lines may break.
    long = len(Add.make_args(left)) > 2
    stated = Relation(right, left, sign=mirrored[sign]) if long else Relation(left, right, sign=sign)
    if sign == "=":
        return [stated]
    product = value * (left - right)
    slack = Relation(Integer(0), product) if long else Relation(product, Integer(0))
    return [stated, Relation(value, Integer(0), sign=">="), slack]


def _name(leaf: Expr) -> str:
    if isinstance(leaf, Symbol):
        return leaf.name
    return "_".join([leaf.tensor.name, *(str(u) for u in leaf.indices)])


def _flat(value: Any, shape: tuple[int, ...], what: str) -> list[Expr]:
    """Return the entries of nested lists in row-major order, after a check of shape and exactness."""
    if not shape:
        return list(exact_numbers([value], what))
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != shape[0]:
        raise ValueError(
            f"{what} is {value!r}; required are nested lists of shape {shape} (from this level on)"
        )
    return [u for part in value for u in _flat(part, shape[1:], what)]


def instance(
    given: Constrained,
    x: Sequence[Sequence[Any]],
    y: Sequence[Any],
    width: int | Sequence[int] = 1,
    frozen: Mapping[str, Any] | None = None,
) -> Instance:
    """Return the constrained problem at given exact data and width(s).

    Parameters
    ----------
    given : Constrained
        From ``constrained``.
    x, y : nested lists of exact numbers
        (n, d), and (n,) or (n, o).
    width : int or sequence of int
        Width m, or the hidden widths of a deep network.
    frozen : mapping, optional
        Exact nested lists of the blocks that are held fixed.

    Raises
    ------
    ValueError
        If shapes or widths do not fit, a number is not exact, a label of a hard margin is not -1 or 1, or activation or
        loss are general.
    """
    problem = given.problem
    if problem.activation is None:
        raise ValueError("written-out conditions need an activation; this problem keeps sigma general")
    if given.objective.has(problem.risk) and problem.loss is None:
        raise ValueError("written-out conditions need a loss; this problem keeps ell general")
    if not x or not isinstance(x[0], Sequence) or not x[0]:
        raise ValueError(f"x is {x!r}; required are nested lists of shape (n, d) with n, d >= 1")
    widths = [width] if isinstance(width, int) else list(width)
    if len(widths) != len(problem.hidden_dims) or any(u < 1 for u in widths):
        raise ValueError(f"widths are {widths}; required are {len(problem.hidden_dims)} positive numbers")
    sizes: dict[Symbol, int] = dict(zip(problem.hidden_dims, widths, strict=True))
    sizes |= {d: len(x[0]), n: len(x)}
    if problem.vector_output:
        sizes[o] = len(y[0]) if y and isinstance(y[0], Sequence) else 1
    shape_x = (sizes[n], sizes[d])
    shape_y = (sizes[n], sizes[o]) if problem.vector_output else (sizes[n],)
    data = {
        problem.x: _nested(_flat(x, shape_x, "x"), shape_x),
        problem.y: _nested(_flat(y, shape_y, "y"), shape_y),
    }
    for j, column in enumerate(getattr(problem, "input_tensors", ())):  # a formula names the columns of x
        data[column] = tuple(row[j] for row in data[problem.x])
    fixed = {b.name: b.tensor for b in problem.blocks if not b.trained and given.name != "neuron-correlation"}
    if set(frozen or {}) != set(fixed):
        raise ValueError(
            f"numbers are given for the frozen blocks {sorted(frozen or {})}; required are {sorted(fixed)}"
        )
    for name, tensor in fixed.items():
        shape = tuple(sizes[dim] for dim in tensor.dims)
        data[tensor] = _nested(_flat((frozen or {})[name], shape, f"block '{name}'"), shape)
    if given.name == "hard-margin" and any(u not in (-1, 1) for u in data[problem.y]):
        raise ValueError(f"labels are {data[problem.y]}; the hard margin needs -1 or 1")
    return Instance(given, sizes, data)


def _nested(flat: list[Expr], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    step = len(flat) // shape[0]
    return tuple(_nested(flat[j * step : (j + 1) * step], shape[1:]) for j in range(shape[0]))
