r"""The gradient flow of one small network, every neuron and coordinate written out.

Samples stay under one sum.  An index that takes only one value disappears: with d = 1 the weights are
:math:`w_1, w_2`, with m = 1 they are :math:`w`.

>>> from derivations.problem import Problem
>>> print(explicit(Problem.two_layer("tanh", "square", input_bias=True), {"m": 1, "d": 1, "n": 5}))
Gradient flow, written out for m = 1, d = 1, n = 5
    da/dt = -sum((f[i] - y[i])*tanh(b + w*x[i]), i=1..5)/5
    dw/dt = -a*sum((1 - tanh(b + w*x[i])**2)*(f[i] - y[i])*x[i], i=1..5)/5
    db/dt = -a*sum((1 - tanh(b + w*x[i])**2)*(f[i] - y[i]), i=1..5)/5
  where
    f[i] = tanh(b + w*x[i])*a
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sympy import Add, Expr, Integer, Mul, Symbol

from derivations.derivation import Derivation, Equation
from derivations.generic import bind
from derivations.indexed import Entry, Index, ISum, Tensor, isum, open_sum, replace_index
from derivations.problem import Problem, d, n
from derivations.vocabulary import dot, entry, expanded, sigmoid_definition

__all__ = ["MAX_EQUATIONS", "explicit"]

#: More scalar equations than this are refused: nobody reads them.
MAX_EQUATIONS = 60


def explicit(problem: Problem, sizes: Mapping[str, int]) -> Derivation:
    """Return the gradient flow at given sizes, sums over neurons and coordinates written out.

    Parameters
    ----------
    problem : Problem
        Activation and loss are put in where they are known.
    sizes : mapping
        ``m`` (or ``m1``, ``m2``, ...), ``d``, and ``o`` for vector outputs; ``n`` where the sample count is known.

    Returns
    -------
    Derivation
        One scalar equation per parameter; the outputs f stay as definitions.

    Raises
    ------
    ValueError
        If a size is missing or not positive, or there would be more than ``MAX_EQUATIONS`` equations.
    """
    _check(problem, sizes)
    writer = _Writer({Symbol(k, integer=True, positive=True): v for k, v in sizes.items()}, problem.functions)
    keep = _kept(problem)
    equations = []
    for block in problem.blocks:
        gradient = problem.derived.inline(problem.derived[problem.gradient[block.name]].expr, keep)
        flow = expanded(-block.rate, gradient) if block.trained else Integer(0)
        equations += writer.instances(entry(dot(block.tensor), block.indices), flow, block.indices)
    where = []
    for tensor in keep:
        definition = problem.derived[tensor]
        rhs = problem.derived.inline(definition.expr, keep)
        where += writer.instances(entry(tensor, definition.indices), rhs, definition.indices)
    where += sigmoid_definition([e.rhs for e in (*equations, *where)])
    title = "Gradient flow, written out for " + ", ".join(f"{k} = {v}" for k, v in sizes.items())
    names = {str(writer.samples.dim): ("i", "j")}
    return Derivation("explicit", title, tuple(equations), tuple(where), hide=(), names=names)


def _kept(problem: Problem) -> list[Tensor]:
    """Return the quantities that stay as definitions: f, with several outputs r as well, in deep networks all."""
    names = {problem.output.name} | ({"r"} if problem.vector_output else set())
    every = [t.tensor for t in problem.derived if t.tensor.dims[:1] == (n,)]
    return every if problem.kind == "deep" else [t for t in every if t.name in names]


def _check(problem: Problem, sizes: Mapping[str, int]) -> None:
    needed = {str(dim) for block in problem.blocks for dim in block.tensor.dims} | {str(d)}
    known = sorted(needed | {"n"})
    if missing := sorted(needed - set(sizes)):
        raise ValueError(
            f"explicit equations need the sizes {', '.join(sorted(needed))}; missing: {', '.join(missing)}"
        )
    for name, value in sizes.items():
        if name not in known or value < 1:
            raise ValueError(f"size {name} = {value}: the sizes are {', '.join(known)}, each at least 1")
    count = sum(_product([sizes[str(dim)] for dim in block.tensor.dims]) for block in problem.blocks)
    if count > MAX_EQUATIONS:
        raise ValueError(
            f"{count} scalar equations; at most {MAX_EQUATIONS} are written out: choose smaller sizes"
        )


def _product(values: Sequence[int]) -> int:
    total = 1
    for value in values:
        total *= value
    return total


def _common_factor(expr: Expr) -> Expr:
    """Undo that SymPy multiplies a number into a sum: (f - y)/150 and not f/150 - y/150."""
    if not isinstance(expr, Add):
        return expr
    coefficients = {abs(term.as_coeff_Mul()[0]) for term in expr.args}
    factor = coefficients.pop()
    if coefficients or factor == 1:
        return expr
    return Mul(factor, Add(*[term / factor for term in expr.args]), evaluate=False)


@dataclass(frozen=True)
class _Writer:
    sizes: Mapping[Symbol, int]
    functions: Mapping[str, Callable[..., Expr]]

    @property
    def samples(self) -> Index:
        """The sample index over n, or over its value."""
        return Index("i", Integer(self.sizes[n]) if n in self.sizes else n)

    def instances(self, left: Entry, right: Expr, indices: Sequence[Index]) -> list[Equation]:
        """Return the equation for every value of its indices other than the sample."""
        written = [u for u in indices if u.dim != n]
        out = []
        for values in itertools.product(*[range(1, self.sizes[u.dim] + 1) for u in written]):
            lhs, rhs = left, right
            for index, value in zip(written, values, strict=True):
                lhs, rhs = (replace_index(side, index, Integer(value)) for side in (lhs, rhs))
            # Bound last: no sum over neurons is left inside a function by then.
            out.append(Equation(self.write(lhs), _common_factor(bind(self.write(rhs), self.functions))))
        return out

    def write(self, expr: Expr) -> Expr:
        """Return ``expr`` with sums over neurons, coordinates and outputs expanded and sizes put in."""
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            if index.dim == n:
                named = Index(index.name, self.samples.dim)
                return isum(self.write(body), named)
            values = range(1, self.sizes[index.dim] + 1)
            return Add(*[self.write(replace_index(body, index, Integer(v))) for v in values])
        if isinstance(expr, Entry):
            return self._entry(expr)
        if isinstance(expr, Symbol):
            return Integer(self.sizes[expr]) if expr in self.sizes else expr
        return expr.func(*[self.write(u) for u in expr.args]) if expr.args else expr

    def _entry(self, expr: Entry) -> Expr:
        tensor = expr.tensor
        kept = [
            (u, dim)
            for u, dim in zip(expr.indices, tensor.dims, strict=True)
            if self.sizes.get(dim) != 1 or dim == n
        ]
        dims = tuple(self.samples.dim if dim == n else dim for _, dim in kept)
        slots = [
            Index(u.name, self.samples.dim) if isinstance(u, Index) and u.dim == n else u for u, _ in kept
        ]
        return Entry(Tensor(tensor.name, dims, tensor.tex), *slots)
