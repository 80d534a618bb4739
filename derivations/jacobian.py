r"""Jacobian of the outputs in the parameters, block by block.

.. math::
    \frac{\partial f_i}{\partial a_k} = \sigma(z_{ik}), \qquad
    \frac{\partial f_i}{\partial w_k} = a_k \sigma'(z_{ik})\, x_i ,

and for a deep network, with :math:`g^{(l)}_{ip} = \partial f_i / \partial z^{(l)}_{ip}`,

.. math::
    \frac{\partial f_i}{\partial W^{(l)}_{pq}} = g^{(l)}_{ip}\, \sigma\bigl(z^{(l-1)}_{iq}\bigr), \qquad
    g^{(l)}_{ip} = \sigma'\bigl(z^{(l)}_{ip}\bigr) \sum_q W^{(l+1)}_{qp}\, g^{(l+1)}_{iq} .

The g come from the reverse mode of the risk, started from a unit vector in place of its weights; that they give the
Jacobian of the forward mode is proved by ``jacobian_residuals``.

>>> from derivations.problem import Problem
>>> jacobian_residuals(Problem.deep(3))
{'W1': 0, 'b1': 0, 'W2': 0, 'b2': 0, 'W3': 0, 'b3': 0}
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr

from derivations.canonical import residual
from derivations.derivation import Derivation, Equation
from derivations.indexed import Entry, Index, Tensor, replace_leaves
from derivations.latex_names import Partial
from derivations.problem import Block, Problem, n
from derivations.second_order import _output_adjoints, output_jacobian
from derivations.system import Definition
from derivations.vocabulary import assemble, entry, multiplied_out

__all__ = [
    "OutputPartial",
    "block_jacobians",
    "derive_jacobian",
    "jacobian_residuals",
    "output_indices",
    "written_out",
]

_I = Index("i", n)


class OutputPartial(Partial):
    r"""Name of the derivative of one output in one or two tensors.

    The slots are those of ``wrt`` followed by those of the output; in print the latter stand on f, so an entry must
    be written with the output index names that ``of`` shows: ``OutputPartial("f_i", ..., w)[k, l, i]`` is
    :math:`\partial f_i / \partial w_{kl}`.
    """

    __slots__ = ("output",)

    def __new__(cls, of: str, output: tuple[Expr, ...], *wrt: Tensor) -> OutputPartial:
        """Create the name of a derivative of an output with dimensions ``output``."""
        plain = Partial(of, *wrt)
        obj = Tensor.__new__(cls, plain.name, (*plain.dims, *output))
        obj.of, obj.wrt, obj.output = of, wrt, output
        return obj

    def __getnewargs__(self) -> tuple[object, ...]:
        return (self.of, self.output, *self.wrt)


def output_name(problem: Problem, at: Sequence[Index]) -> str:
    """Return f with its indices as they are printed; the output index is u beside an output bias called c."""
    clash = problem.kind == "two_layer" and problem.vector_output and problem.output_bias
    names = [u.name.replace("c", "u") if clash and u.dim != n else u.name for u in at]
    return f"f_{{{''.join(names)}}}" if len(names) > 1 else f"f_{names[0]}"


def output_indices(problem: Problem) -> tuple[Index, ...]:
    """Return i and, for a vector output, c."""
    return (_I, *[Index("c", dim) for dim in problem.output.dims[1:]])


def target_indices(problem: Problem, block: Block, mark: str = "'") -> tuple[Index, ...]:
    """Return the indices of a block, its output index with a prime: it differs from the one of the output."""
    out = problem.output.dims[1:]
    return tuple(Index(u.name + mark, u.dim) if u.dim in out else u for u in block.indices)


def block_jacobians(problem: Problem) -> tuple[dict[str, tuple[Expr, tuple[Index, ...]]], list[Equation]]:
    """Return, for each trained block, the derivative of the output with the indices of the block.

    Returns
    -------
    dict, list of Equation
        Block name to (expression, indices), the output being at ``output_indices``; and the definitions of the
        adjoints g of a deep network.
    """
    back = {} if problem.kind == "two_layer" else _output_adjoints(problem)
    at = output_indices(problem)
    found = {}
    for block in problem.blocks:
        if block.trained:
            target = target_indices(problem, block)
            found[block.name] = (output_jacobian(problem, block, at, target, back), target)
    extra = [Equation(entry(g, indices), expr) for g, indices, expr in back.values()]
    return found, extra


def derive_jacobian(problem: Problem) -> Derivation:
    r"""Return :math:`\partial f_i / \partial \theta` for each trained block."""
    at = output_indices(problem)
    found, extra = block_jacobians(problem)
    of = output_name(problem, at)
    equations = []
    for name, (expr, target) in found.items():
        tensor = OutputPartial(of, problem.output.dims, problem.block(name).tensor)
        equations.append(Equation(Entry(tensor, *target, *at), multiplied_out(expr)))
    used = {e.tensor for equation in equations for e in equation.rhs.atoms(Entry)}
    notes = []
    if extra and used & {equation.lhs.tensor for equation in extra}:
        layers = r"$g^{(l)} = \partial f / \partial z^{(l)}$"
        notes.append(f"The back-propagated derivatives of one output are {layers}.")
    if problem.freeze:
        notes.append("The Jacobian is that of the trained blocks.")
    return assemble(
        problem, "jacobian", "Jacobian of the outputs", equations, notes, extra=_needed(extra, equations)
    )


def _needed(extra: list[Equation], equations: Sequence[Equation]) -> list[Equation]:
    """Return the definitions that the equations use, directly or through one another."""
    wanted = {e.tensor for equation in equations for e in equation.rhs.atoms(Entry)}
    kept = []
    for equation in reversed(extra):  # a definition of ``extra`` uses earlier ones only
        if equation.lhs.tensor in wanted:
            wanted |= {e.tensor for e in equation.rhs.atoms(Entry)}
            kept.append(equation)
    return kept[::-1]


def written_out(expr: Expr, definitions: Sequence[Equation]) -> Expr:
    """Return ``expr`` with the left-hand sides of ``definitions`` replaced by their right-hand sides, last one first."""
    for equation in reversed(definitions):
        left = equation.lhs
        rule = Definition(left.tensor, left.indices, equation.rhs)
        expr = replace_leaves(expr, {left.tensor: lambda *u, rule=rule: rule.at(u)})
    return expr


def jacobian_residuals(problem: Problem) -> dict[str, Expr]:
    """Return, for each trained block, derived Jacobian minus the one of the forward mode; 0 is a proof."""
    at = output_indices(problem)
    found, extra = block_jacobians(problem)
    out = {}
    for name, (expr, target) in found.items():
        direct = problem.system.jacobian(problem.output, at, problem.block(name).tensor, target)
        out[name] = residual(written_out(expr, extra) - direct)
    return out
