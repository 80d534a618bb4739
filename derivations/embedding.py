r"""Splitting embedding of a two-layer network: proof that the wide gradient is B times the narrow one.

Neuron s is copied; the copies carry the output weights :math:`(1-\alpha) a_s` and :math:`\alpha a_s`.  With m, n, d
(and o) symbolic and sigma, ell general, for every parameter theta (critical or not)

.. math::
    \nabla_{a'} = \nabla_{a_s}, \quad \nabla_{w'} = \alpha \nabla_{w_s}, \quad
    \nabla_{a_k} = \nabla_{a_k}^{narrow}, \quad \nabla_{w_k} = (1 - \alpha \delta_{ks}) \nabla_{w_k}^{narrow},

and likewise for biases; a critical point is therefore mapped to a critical point.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Theorem 4.1.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Integer, Symbol

from derivations.canonical import residual
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Index, Tensor, isum, replace_leaves
from derivations.problem import Problem
from derivations.system import System

__all__ = ["ALPHA", "splitting_residuals"]

#: Fraction of the output weight that goes to the copy.
ALPHA = Symbol("alpha", real=True)


def splitting_residuals(problem: Problem) -> dict[str, Expr]:
    """Return the difference of both sides of every identity above, and of outputs, in canonical form.

    Zero is a proof for all sizes, data and parameters.

    Parameters
    ----------
    problem : Problem
        Two-layer, without weight decay (which the map does not respect).

    Raises
    ------
    ValueError
        If the problem is of another kind or has weight decay.

    Examples
    --------
    >>> set(splitting_residuals(Problem.two_layer(input_bias=True)).values())
    {0}
    """
    if problem.kind != "two_layer" or problem.weight_decay != 0:
        raise ValueError(f"splitting needs a two-layer problem without weight decay, got {problem.kind}")
    extra = {
        b.name: (Tensor(f"{b.name}1", b.tensor.dims[1:]), b.indices[1:])
        for b in problem.blocks
        if b.name in ("a", "w", "b")
    }
    wide = _wide_system(problem, extra)
    leaves = [*problem.parameters, *[tensor for tensor, _ in extra.values()]]
    derived, gradient = wide.reverse(problem.risk, leaves)
    some = Index("s", problem.block("a").indices[0].dim)
    blocks = {b.name: b.tensor for b in problem.blocks}
    rules: dict[Tensor, Callable[..., Expr]] = {
        blocks["a"]: lambda k, *c: blocks["a"][(k, *c)] - ALPHA * blocks["a"][(some, *c)] * Delta(k, some),
        extra["a"][0]: lambda *c: ALPHA * blocks["a"][(some, *c)],
    }
    for name in ("w", "b"):
        if name in extra:
            rules[extra[name][0]] = lambda *l, name=name: blocks[name][(some, *l)]

    def mapped(tensor: Tensor, indices: tuple[Index, ...]) -> Expr:
        return replace_leaves(derived.inline(tensor[indices] if indices else tensor()), rules)

    def narrow(name: str, indices: tuple[Index, ...]) -> Expr:
        tensor = problem.gradient[name]
        return problem.derived.inline(tensor[indices] if indices else tensor())

    out = wide.formals(problem.output)
    found = {
        "outputs": residual(
            mapped(problem.output, out) - problem.derived.inline(problem.output[out])
        )
    }
    for block in problem.blocks:
        factor: Expr = Integer(1)
        if block.name in ("w", "b"):
            factor = 1 - ALPHA * Delta(block.indices[0], some)
        difference = mapped(gradient[block.tensor], block.indices) - factor * narrow(block.name, block.indices)
        found[block.name] = residual(difference)
    for name, (tensor, indices) in extra.items():
        factor = Integer(1) if name == "a" else ALPHA
        found[f"new {name}"] = residual(
            mapped(gradient[tensor], indices) - factor * narrow(name, (some, *indices))
        )
    return found


def _wide_system(problem: Problem, extra: dict[str, tuple[Tensor, tuple[Index, ...]]]) -> System:
    system = System(problem.system.declarations)
    for tensor, indices in extra.values():
        system = system.declare(tensor, indices)
    sample = problem.system.formals(problem.output)[0]
    (l,) = extra["w"][1]
    pre = isum(extra["w"][0][l] * problem.x[sample, l], l)
    z1 = Tensor("z1", (sample.dim,))
    new = extra["b"][0]() if "b" in extra else Integer(0)
    for definition in problem.system:
        if definition.tensor == problem.output:
            system = system.define(z1, (sample,), pre + new)
            copy = GenericFunction("sigma", (0,), z1[sample])
            weight = extra["a"][0][extra["a"][1]] if extra["a"][1] else extra["a"][0]()
            expr = definition.expr + problem.scale * weight * copy
            system = system.define(definition.tensor, definition.indices, expr)
        else:
            system = system.define(definition.tensor, definition.indices, definition.expr)
    return system
