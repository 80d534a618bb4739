r"""Hessian blocks of the risk and the neural tangent kernel of the outputs.

.. math::
    \Theta_{ij} = \sum_{\text{trained blocks}} \eta_b \langle \partial_b f_i, \partial_b f_j \rangle ,
    \qquad \dot f_i = -\sum_j \Theta_{ij} r_j \quad \text{(no weight decay)} .
"""

from __future__ import annotations

from collections import defaultdict

from sympy import Add, Expr, Integer, Mul

from derivations.derivation import Derivation, Equation
from derivations.generic import GenericFunction
from derivations.indexed import (
    Delta,
    Entry,
    Index,
    ISum,
    Tensor,
    fresh,
    isum,
    open_sum,
    replace_index,
    replace_leaves,
)
from derivations.latex_names import Partial
from derivations.problem import Block, Problem, n
from derivations.vocabulary import assemble, bound_loss, entry, multiplied_out

__all__ = ["derive_hessian", "output_jacobian", "tangent_kernel"]

_I, _J = Index("i", n), Index("j", n)


def derive_hessian(problem: Problem) -> Derivation:
    """Return every block of the Hessian of the risk in the trained blocks, on and above the diagonal."""
    trained = [b for b in problem.blocks if b.trained]
    equations = [
        _hessian_equation(problem, row, column)
        for position, row in enumerate(trained)
        for column in trained[position:]
    ]
    return assemble(problem, "hessian", "Hessian of the risk", equations)


def _hessian_equation(problem: Problem, row: Block, column: Block) -> Equation:
    expr, rows, columns = problem.hessian_block(row.name, column.name)
    expr = multiplied_out(bound_loss(problem, expr, only_constant=True))
    shown = tuple(Index("q", u.dim) if u.name == "k'" else u for u in columns)
    for old, new in zip(columns, shown, strict=True):
        expr = replace_index(expr, old, new)
    return Equation(Entry(Partial("R", row.tensor, column.tensor), *rows, *shown), expr)


def tangent_kernel(
    problem: Problem, first: tuple[Index, ...], second: tuple[Index, ...]
) -> tuple[Expr, list[Equation]]:
    r"""Return :math:`\Theta` at (i, first; j, second) and the definitions of what it is written in."""
    kernel: Expr = Integer(0)
    back = {} if problem.kind == "two_layer" else _output_adjoints(problem)
    for b in problem.blocks:
        if b.trained:
            # Fresh names: an output index of the block must not meet the one of the kernel.
            target = tuple(fresh(u) for u in b.indices)
            left = output_jacobian(problem, b, (_I, *first), target, back)
            right = output_jacobian(problem, b, (_J, *second), target, back)
            kernel += b.rate * isum(left * right, *target)
    extra = [
        Equation(entry(g, indices), expr)
        for g, indices, expr in ((g, indices, expr) for g, indices, expr in back.values())
    ]
    return _gathered(multiplied_out(kernel)), extra


_Adjoints = dict[Tensor, tuple[Tensor, tuple[Index, ...], Expr]]


def _output_adjoints(problem: Problem) -> _Adjoints:
    r"""Return, for each delta of the problem, :math:`g_{ip(c)} = \partial f_{i(c)} / \partial z_{ip}`.

    The back-propagated delta of a sample is linear in the weights r of that sample, so the derivative of one output is
    the same recursion started from a unit vector in place of r.
    """
    out = tuple(Index("c", dim) for dim in problem.output.dims[1:])
    found: _Adjoints = {}
    for definition in problem.derived:
        if definition.tensor.name.startswith("delta"):
            layer = definition.tensor.name[len("delta") :]
            g = Tensor(f"g{layer}", (*definition.tensor.dims, *problem.output.dims[1:]), rf"g^{{({layer})}}")
            found[definition.tensor] = (
                g,
                (*definition.indices, *out),
                _unit(problem, definition.expr, out, found),
            )
    return found


def _unit(problem: Problem, expr: Expr, out: tuple[Index, ...], found: _Adjoints) -> Expr:
    rules = {tensor: (lambda *u, g=g: Entry(g, *u, *out)) for tensor, (g, _, _) in found.items()}
    r = Tensor("r", problem.output.dims)
    rules[r] = lambda _, *u: Mul(*[Delta(a, b) for a, b in zip(u, out, strict=True)])
    return replace_leaves(expr, rules)


def output_jacobian(
    problem: Problem, block: Block, at: tuple[Index, ...], target: tuple[Index, ...], back: _Adjoints
) -> Expr:
    r"""Return :math:`\partial f_{at} / \partial block_{target}`, in terms of the adjoints ``back`` if there are any."""
    if not back:
        return problem.system.jacobian(problem.output, at, block.tensor, target)
    sample, *out = at
    gradient = problem.derived[problem.gradient[block.name]].at(target)
    total: Expr = Integer(0)
    for term in Add.make_args(gradient):
        coefficient, rest = term.as_independent(ISum)
        if isinstance(rest, ISum) and rest.index.dim == n:  # the other terms are weight decay
            body, index = open_sum(rest)
            total += coefficient * replace_index(_unit(problem, body, tuple(out), back), index, sample)
    return total


def _gathered(expr: Expr) -> Expr:
    """Collect terms that share their sum of function values: the input and bias blocks of one layer."""
    groups: dict[Expr, Expr] = defaultdict(lambda: Integer(0))
    for term in Add.make_args(expr):
        shared = [u for u in Mul.make_args(term) if isinstance(u, ISum) and u.has(GenericFunction)]
        key = Mul(*shared)
        groups[key] += term / key if shared else term
    return Add(*[_common(value) * key if key != 1 else value for key, value in groups.items()])


def _common(expr: Expr) -> Expr:
    """Take out a constant that all terms share."""
    parts = [term.as_independent(Entry, ISum, Delta) for term in Add.make_args(expr)]
    if len(parts) > 1 and len({constant for constant, _ in parts}) == 1:
        return Mul(parts[0][0], Add(*[rest for _, rest in parts]), evaluate=False)
    return expr
