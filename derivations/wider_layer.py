r"""Neurons added to a hidden layer without a change of the outputs: splitting, cancelling pairs, silent and constant neurons.

For any layer of a two-layer or deep network with a general sigma, s a neuron of the layer,

.. math::
    \text{splitting} \quad & (a_s, \tilde w_s) \to (a_s - a', \tilde w_s),\ (a', \tilde w_s) \\
    \text{pair} \quad & \emptyset \to (a', \tilde w'),\ (-a', \tilde w') \\
    \text{silent} \quad & \emptyset \to (0, \tilde w') \\
    \text{constant} \quad & \emptyset \to (a', (0, \beta)),\ c \to c - a' \sigma(\beta)

keep every output (without a bias behind the layer constant neurons act through the sum of their :math:`a' \sigma(\beta)`); each is proved by its residual in canonical form.  Read backwards they merge or remove neurons.

>>> from derivations.hidden_layer import hidden_layers
>>> problem = Problem.deep(3)
>>> [set(maps(problem, layer)["splitting"].values()) for layer in hidden_layers(problem)]
[{0}, {0}]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr, S, Symbol

from derivations.canonical import residual
from derivations.generic import GenericFunction
from derivations.hidden_layer import HiddenLayer
from derivations.indexed import Delta, Index, Tensor, replace_leaves
from derivations.problem import Block, Problem, m
from derivations.system import System

__all__ = ["BETA", "Wider", "maps", "wider"]

#: Bias of a constant neuron.
BETA = Symbol("beta", real=True)
_Rules = dict[Tensor, Callable[..., Expr]]


@dataclass(frozen=True)
class Wider:
    r"""A network with more neurons in one layer, their weights in tensors of their own.

    Parameters
    ----------
    system : System
        Its definitions.
    extra : tuple of dict
        For each new neuron its tensors by role: ``out``, ``in`` and, with a bias, ``bias``.
    ratio : Expr
        :math:`s(m)/s(m+r)`, by which all outgoing weights are multiplied where the output scale depends on the width.
    """

    system: System
    extra: tuple[dict[str, Tensor], ...]
    ratio: Expr


def wider(problem: Problem, layer: HiddenLayer, count: int = 1) -> Wider:
    """Return the network with ``count`` more neurons in ``layer``."""
    system = System(problem.system.declarations)
    extra: list[dict[str, Tensor]] = []
    for number in range(1, count + 1):
        tensors = {}
        for role, block in layer.blocks.items():
            _, others = layer.entry(block, Index("s", layer.width))
            tensors[role] = Tensor(f"{block.name}_new{number}", tuple(u.dim for u in others))
            system = system.declare(tensors[role], others)
        extra.append(tensors)
    gain, ratio = layer.gain(problem), S.One
    if gain.has(m) and layer.width == m:
        ratio, gain = gain / gain.subs(m, m + count), gain.subs(m, m + count)
    for definition in problem.system:
        expr = definition.expr
        if _reads(expr, layer.z):
            sample, *rest = definition.indices
            for number, tensors in enumerate(extra, start=1):
                z = Tensor(f"{layer.z.name}_new{number}", (sample.dim,))
                system = system.define(z, (sample,), _pre(problem, layer, tensors, sample))
                weight = tensors["out"][tuple(rest)] if rest else tensors["out"]()
                expr = expr + gain * weight * GenericFunction("sigma", (0,), z[sample])
            if ratio != 1:  # the terms of the old neurons carry the scale of the wider network
                expr = definition.expr / ratio + (expr - definition.expr)
                expr += _bias(problem, layer, definition.indices) * (1 - 1 / ratio)
        system = system.define(definition.tensor, definition.indices, expr)
    return Wider(system, tuple(extra), ratio)


def _reads(expr: Expr, z: Tensor) -> bool:
    return any(f.name == "sigma" and f.has(z) for f in expr.atoms(GenericFunction))


def _bias(problem: Problem, layer: HiddenLayer, indices: tuple[Index, ...]) -> Expr:
    block = layer.absorbing(problem)
    if block is None:
        return S.Zero
    return block.tensor[indices[1:]] if len(indices) > 1 else block.tensor()


def _pre(problem: Problem, layer: HiddenLayer, tensors: dict[str, Tensor], sample: Index) -> Expr:
    """Return the pre-activation of a new neuron: that of an old one with the new weights in place of its own."""
    definition = problem.system[layer.z]
    k = definition.indices[1]
    rules: _Rules = {}
    for role, block in layer.blocks.items():
        if role != "out":
            slot = layer.slot(block)

            def new(*at: Expr, role: str = role, slot: int = slot) -> Expr:
                rest = (*at[:slot], *at[slot + 1 :])
                return tensors[role][rest] if rest else tensors[role]()

            rules[block.tensor] = new
    return replace_leaves(definition.at((sample, k)), rules)


def maps(problem: Problem, layer: HiddenLayer) -> dict[str, dict[str, Expr]]:
    """Return the residuals of the maps above by name; ``constant`` only where a bias behind the layer can absorb it.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep; sigma may be general.
    """
    some = Index("s", layer.width)
    one, two = wider(problem, layer), wider(problem, layer, 2)
    found = {
        "splitting": {"outputs": _change(problem, layer, one, _split(layer, one, some))},
        "pair": {"outputs": _change(problem, layer, two, _pair(layer, two))},
        "silent": {"outputs": _change(problem, layer, one, {one.extra[0]["out"]: lambda *at: S.Zero})},
    }
    bias = layer.absorbing(problem)
    if bias is not None:
        found["constant"] = {
            "outputs": _change(problem, layer, one, _constant(problem, layer, one, bias)),
        }
    else:
        found["constant"] = {"sum behind the layer": _constant_term(problem, layer, one)}
    return found


def _change(problem: Problem, layer: HiddenLayer, wide: Wider, rules: _Rules) -> Expr:
    """Return the wide outputs at the mapped parameters minus the narrow ones, in canonical form."""
    if wide.ratio != 1:
        old = rules.get(layer.outgoing.tensor, lambda *at: layer.outgoing.tensor[at])
        rules = {**rules, layer.outgoing.tensor: lambda *at: wide.ratio * old(*at)}
    formals = problem.system.formals(problem.output)
    after = replace_leaves(wide.system.inline(problem.output[formals]), rules)
    return residual(after - problem.system.inline(problem.output[formals]))


def _split(layer: HiddenLayer, wide: Wider, some: Index) -> _Rules:
    """Return the copy of neuron ``some`` that takes over a part of its outgoing weights."""
    (copy,) = wide.extra
    out = copy["out"]
    rules: _Rules = {out: lambda *at: wide.ratio * (out[at] if at else out())}
    for role, block in layer.blocks.items():
        slot = layer.slot(block)
        if role != "out":

            def same(*at: Expr, block: Block = block, slot: int = slot) -> Expr:
                return block.tensor[(*at[:slot], some, *at[slot:])]

            rules[copy[role]] = same
    slot = layer.slot(layer.outgoing)

    def left(*at: Expr) -> Expr:
        rest = (*at[:slot], *at[slot + 1 :])
        return layer.outgoing.tensor[at] - Delta(at[slot], some) * (out[rest] if rest else out())

    rules[layer.outgoing.tensor] = left
    return rules


def _pair(layer: HiddenLayer, wide: Wider) -> _Rules:
    """Return a second new neuron like the first, with opposite outgoing weights."""
    first, second = wide.extra
    rules: _Rules = {}
    for role in layer.blocks:
        sign = -1 if role == "out" else 1

        def like(*at: Expr, role: str = role, sign: int = sign) -> Expr:
            return sign * (first[role][at] if at else first[role]())

        rules[second[role]] = like
    return rules


def _constant_term(problem: Problem, layer: HiddenLayer, wide: Wider) -> Expr:
    """Return what a neuron without input weights adds to the sum behind the layer, minus its claimed value."""
    (new,) = wide.extra
    behind = next(u for u in problem.system if _reads(u.expr, layer.z))
    rules: _Rules = {
        layer.outgoing.tensor: lambda *at: wide.ratio * layer.outgoing.tensor[at],
        new["in"]: lambda *at: S.Zero,
    }
    if layer.bias is not None:
        rules[new["bias"]] = lambda *at: BETA
    weight = new["out"][behind.indices[1:]] if len(behind.indices) > 1 else new["out"]()
    value = BETA if layer.bias is not None else S.Zero
    term = layer.gain(problem) / wide.ratio * weight * GenericFunction("sigma", (0,), value)
    wider_sum = wide.system.inline(wide.system[behind.tensor].expr)
    return residual(replace_leaves(wider_sum, rules) - problem.system.inline(behind.expr) - term)


def _constant(problem: Problem, layer: HiddenLayer, wide: Wider, bias: Block) -> _Rules:
    """Return a new neuron without input weights, its constant taken out of the bias behind the layer."""
    (new,) = wide.extra
    value = BETA if layer.bias is not None else S.Zero
    gain = layer.gain(problem) / wide.ratio
    rules: _Rules = {new["in"]: lambda *at: S.Zero}
    if layer.bias is not None:
        rules[new["bias"]] = lambda *at: BETA

    def moved(*out: Expr) -> Expr:
        weight = new["out"][out] if out else new["out"]()
        old = bias.tensor[out] if out else bias.tensor()
        return old - gain * weight * GenericFunction("sigma", (0,), value)

    rules[bias.tensor] = moved
    return rules
