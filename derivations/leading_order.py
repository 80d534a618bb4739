r"""The lowest order in :math:`\varepsilon` of every definition of a network whose parameters are of order :math:`\varepsilon`.

The list of definitions is walked from the pre-activations over the adjoints to the gradients.  Each tensor has a degree and a
leading term, :math:`T = \varepsilon^{D} (T_0 + O(\varepsilon^{g}))`: parameters have degree 1, the weights r are frozen at zero
output, and

.. math:: \sigma^{(j)}(z) = [j = 0]\, \sigma(0) + \tfrac{p!}{(p - j)!} c\, z^{p-j} + \tfrac{q!}{(q - j)!} c' z^{q-j} + \dots

with :math:`z = \varepsilon^{D} z_0 + \dots`; the second term of the polynomial and the corrections of what a term is made of tell the
gap g to the first term that is left out.  A leading term that vanishes for particular data, not identically, still counts.

>>> from derivations.problem import Problem
>>> from derivations.small_weights import expansion
>>> problem = Problem.deep(3, "tanh", "square", input_bias=False, output_bias=False)
>>> found = leading_orders(problem, expansion(problem))
>>> [(t.name, u.degree, u.gap) for t, u in found.items() if t.name in ("z1", "z2", "f", "grad_W2")]
[('z1', 1, oo), ('z2', 2, 2), ('f', 3, 2), ('grad_W2', 2, 2)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sympy import Add, Expr, Integer, Min, S, Symbol, oo

from derivations.generic import GenericFunction, bind
from derivations.indexed import Index, Tensor, entries, replace_leaves
from derivations.multiplicity import Multiplicity
from derivations.problem import Problem
from derivations.vocabulary import bound_loss, entry, multiplied_out

__all__ = ["Leading", "frozen_weights", "leading_orders", "weights_at_zero_output"]

_EPSILON = Symbol("epsilon", positive=True)
_NEXT = Symbol("c'", real=True)


@dataclass(frozen=True)
class Leading:
    r"""The leading term of a definition.

    Parameters
    ----------
    indices : tuple of Index
        Its index names.
    expr : Expr
        The leading term, in the parameters, the data, e, and the leading terms of the definitions before it.
    degree, gap : Expr
        :math:`T = \varepsilon^{D} (T_0 + O(\varepsilon^{g}))`; g is ``oo`` where nothing is left out.
    """

    indices: tuple[Index, ...]
    expr: Expr
    degree: Expr
    gap: Expr


def frozen_weights(problem: Problem) -> Tensor:
    """Return the name of the weights r at zero output."""
    return Tensor("e", problem.output.dims)


def weights_at_zero_output(problem: Problem) -> Expr:
    """Return the weights r at zero output."""
    r = problem.derived[Tensor("r", problem.output.dims)].expr
    return bound_loss(problem, replace_leaves(r, {problem.output: lambda *_: S.Zero}))


def leading_orders(problem: Problem, taylor: Multiplicity | None) -> dict[Tensor, Leading]:
    """Return the leading terms of pre-activations, outputs, adjoints and gradients, in this order.

    Weight decay is left out.  The adjoints of a two-layer network are written out in its gradients.

    Parameters
    ----------
    problem : Problem
        A network.
    taylor : Multiplicity or None
        The expansion of sigma; None for one that is homogeneous and stays as it is.
    """
    plain = replace(problem, weight_decay=S.Zero)
    r, e = Tensor("r", problem.output.dims), frozen_weights(problem)
    exact = not any(u.tensor == problem.output for u in entries(bound_loss(plain, plain.derived[r].expr)))
    two_layer = problem.kind == "two_layer"
    keep = [u.tensor for u in plain.derived if u.tensor.name.startswith("z")] + [r, plain.output]
    gaps: dict[Tensor, Expr] = {}
    degrees: dict[Tensor, Expr] = {b.tensor: Integer(1) for b in problem.blocks}
    found: dict[Tensor, Leading] = {}
    for definition in plain.derived:
        tensor, expr = definition.tensor, definition.expr
        if tensor == r:
            degrees[e], gaps[e] = S.Zero, oo if exact else degrees[plain.output]
            continue
        if tensor == plain.risk or (two_layer and tensor.name == "delta"):
            continue
        expr = plain.derived.inline(expr, keep) if two_layer else expr
        expr = replace_leaves(expr, {r: lambda *u: entry(e, u)})
        leading, degree, gap = _lowest(_scaled(expr, degrees, taylor, problem), gaps)
        found[tensor] = Leading(definition.indices, leading, degree, gap)
        degrees[tensor], gaps[tensor] = degree, gap
    return found


def _scaled(
    expr: Expr, degrees: Mapping[Tensor, Expr], taylor: Multiplicity | None, problem: Problem
) -> Expr:
    """Put epsilon to its degree before every leaf, and the expansion of sigma in."""
    rules = {t: (lambda *u, t=t, p=p: _EPSILON**p * entry(t, u)) for t, p in degrees.items() if p != 0}
    expr = bind(
        replace_leaves(expr, rules), {"sigma": _homogeneous(problem) if taylor is None else _sum(taylor)}
    )
    return multiplied_out(expr)


def _sum(taylor: Multiplicity) -> Callable[..., Expr]:
    """Return the Taylor polynomial with its second term, whose coefficient only marks the order."""

    def rule(orders: tuple[int, ...], argument: Expr) -> Expr:
        leading = taylor.polynomial(orders, argument)
        if taylor.next_order is None or orders[0] > taylor.next_order:
            return leading
        return leading + _NEXT * argument ** (taylor.next_order - orders[0])

    return rule


def _homogeneous(problem: Problem) -> Callable[..., Expr]:
    """Return the rule that takes epsilon out of a homogeneous sigma: the j-th derivative has degree p - j."""
    degree = None if problem.activation is None else problem.activation.homogeneity_degree
    assert degree is not None  # ``expansion`` returns None for homogeneous activations only

    def rule(orders: tuple[int, ...], argument: Expr) -> Expr:
        rest, power = argument.as_independent(_EPSILON)
        return power ** (degree - orders[0]) * GenericFunction("sigma", orders, rest)

    return rule


def _lowest(expr: Expr, gaps: Mapping[Tensor, Expr]) -> tuple[Expr, Expr, Expr]:
    """Return the terms with the smallest power of epsilon, without it, that power, and the gap to what is left out."""
    powers: dict[Expr, list[Expr]] = {}
    for term in Add.make_args(expr):
        rest, power = term.as_independent(_EPSILON)
        powers.setdefault(S.Zero if power == 1 else power.as_base_exp()[1], []).append(rest)
    least = min(powers)
    leading = Add(*powers[least])
    within = [gaps[e.tensor] for e in entries(leading) if e.tensor in gaps]
    return leading, least, Min(*[p - least for p in powers if p != least], *within)
