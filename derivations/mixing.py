r"""Continuous symmetries that mix the neurons of a layer: linear layers, and rotations of quadratic neurons.

A layer without non-linearity, :math:`\sigma(z) = z`, is kept by every invertible matrix G,

.. math:: w_k \mapsto \sum_q G_{kq} w_q , \qquad a_k \mapsto \sum_q G^{-\top}_{kq} a_q .

The output of a quadratic network with one output depends on its neurons through the matrix
:math:`\sum_k a_k \tilde w_k \tilde w_k^\top` only, which is kept by the linear maps of the :math:`\tilde w_k` that preserve the form
:math:`\sum_k a_k u_k^2`: a pseudo-orthogonal group whose Lie algebra is

.. math:: \delta w_k = \sum_q S_{kq}\, a_q\, w_q , \qquad S = -S^\top .

Both are proved to first order in the matrix, at every parameter: derivatives of the outputs along these fields vanish
identically, so the outputs are constant along their flows, which generate the connected group.

>>> from derivations.hidden_layer import hidden_layers
>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("quadratic", "square")
>>> [(m.name, set(m.residuals.values())) for m in mixings(problem, hidden_layers(problem)[0])]
[('rotation of neurons', {0})]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympy import Expr

from derivations.activations import Activation, Z
from derivations.canonical import residual
from derivations.claim import Status
from derivations.decide import identically_zero, is_zero
from derivations.generic import bind
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.indexed import Index, Tensor, isum, replace_leaves
from derivations.problem import Block, Problem

__all__ = ["Mixing", "mixings"]

_Turn = Callable[[str, Expr, Callable[[Index], Expr]], Expr]


@dataclass(frozen=True)
class Mixing:
    """A continuous symmetry of a layer, with its first-order proof.

    Parameters
    ----------
    name, text : str
        Name, and the LaTeX sentence.
    steps : tuple of str
        Its derivation.
    residuals : mapping
        First order of the outputs in canonical form: 0 proves that they are kept.
    moves : tuple of str
        Blocks that the map changes.
    """

    name: str
    text: str
    steps: tuple[str, ...]
    residuals: Mapping[str, Expr]
    moves: tuple[str, ...]


def mixings(problem: Problem, layer: HiddenLayer) -> list[Mixing]:
    """Return the groups that mix the neurons of ``layer``; none for a general sigma.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep.
    layer : HiddenLayer
        One of ``hidden_layers(problem)``.
    """
    activation = problem.activation
    if activation is None:
        return []
    if identically_zero(activation.expr - Z, Z).proved:
        return [_linear(problem, layer)]
    last = layer.number == len(hidden_layers(problem))
    if last and not problem.vector_output and _is_quadratic(activation):
        return [_rotation(problem, layer)]
    return []


def _is_quadratic(activation: Activation) -> bool:
    r"""Whether sigma(z) = alpha z^2 + gamma with alpha not 0: :math:`\sigma'(z) = z\,\sigma'(1)`."""
    slope = activation.derivative(1).subs(Z, 1)
    linear = identically_zero(activation.derivative(1) - slope * Z, Z).proved
    return linear and activation.is_smooth is True and is_zero(slope) is Status.REFUTED


def _first_order(problem: Problem, layer: HiddenLayer, roles: tuple[str, ...], turn: _Turn) -> Expr:
    """Return the derivative of the outputs along the field ``turn`` of the blocks of ``roles``, in canonical form."""
    rules: dict[Tensor, Callable[..., Expr]] = {}
    directions: dict[Tensor, Tensor] = {}
    for role in roles:
        block: Block = layer.blocks[role]
        directions[block.tensor] = Tensor(f"u_{block.name}", block.tensor.dims)

        def change(now: Expr, part: Callable[[Index], Expr], role: str = role) -> Expr:
            return turn(role, now, part)

        rules[directions[block.tensor]] = layer.rule(block, change)
    system, dots = problem.system.tangent([problem.output], directions)
    formals = problem.system.formals(problem.output)
    speed = replace_leaves(system.inline(dots[problem.output][formals]), rules)
    sigma = problem.activation
    assert sigma is not None  # asked for by the caller
    return residual(bind(speed, {"sigma": sigma.apply}))


def _linear(problem: Problem, layer: HiddenLayer) -> Mixing:
    mix, q = Tensor("M", (layer.width, layer.width)), Index("q", layer.width)

    def turn(role: str, now: Expr, part: Callable[[Index], Expr]) -> Expr:
        return isum(-mix[q, now] * part(q) if role == "out" else mix[now, q] * part(q), q)

    roles = tuple(layer.blocks)
    found = {"outputs, first order in M": _first_order(problem, layer, roles, turn)}
    bias = "" if layer.bias is None else rf", G_{{kq}} {layer.tex['bias'] % 'q'}"
    text = (
        rf"The layer is linear: for every invertible $G$ the map ${layer.neuron_tex('k')} \mapsto \sum_q (G^{{-\top}}_{{kq}} "
        rf"{layer.tex['out'] % 'q'}, G_{{kq}} {layer.tex['in'] % 'q'}{bias})$ keeps every output."
    )
    if problem.weight_decay != 0:
        text += r" With weight decay only the orthogonal $G$ keep the risk at every parameter."
    steps = (
        r"The product of the two weight matrices is $W_{\mathrm{out}} G^{-1} G W_{\mathrm{in}} = W_{\mathrm{out}} W_{\mathrm{in}}$.",
        r"With $G = I + \varepsilon M$ the first order in $\varepsilon$ of every output vanishes for every $M$ and at every "
        r"parameter; the flows of these maps generate the matrices of positive determinant, and one reflection "
        r"(the sign of a neuron) the others.",
    )
    moved = tuple(block.name for block in problem.blocks if block in layer.blocks.values())
    return Mixing("mixing of neurons", text, steps, found, moved)


def _rotation(problem: Problem, layer: HiddenLayer) -> Mixing:
    skew, q = Tensor("T", (layer.width, layer.width)), Index("q", layer.width)
    a = layer.outgoing.tensor

    def turn(role: str, now: Expr, part: Callable[[Index], Expr]) -> Expr:
        return isum((skew[now, q] - skew[q, now]) * a[q] * part(q), q)

    roles = tuple(role for role in layer.blocks if role != "out")
    found = {"outputs, first order in S": _first_order(problem, layer, roles, turn)}
    out = layer.tex["out"]
    part = layer.tex["in"] if layer.bias is None else rf"({layer.tex['in']}, {layer.tex['bias']})"
    at = {
        name: part.replace("%s", name) for name in "kq"
    }  # a part may name the neuron twice: weights and bias
    text = (
        rf"The activation is quadratic: for every antisymmetric matrix $S$ the flow of $\delta {at['k']} = \sum_q S_{{kq}}\, "
        rf"{out % 'q'}\, {at['q']}$, at fixed ${out % 'k'}$, keeps every output. Where no ${out % 'k'}$ vanishes, "
        rf"these flows generate the linear maps that preserve $\sum_k {out % 'k'} u_k^2$ and are connected with the identity."
    )
    if problem.weight_decay != 0:
        text += rf" With weight decay the length of the weights is kept by the rotations among neurons of equal ${out % 'k'}$."
    z = layer.indexed_tex("z", "ik"), layer.indexed_tex("z", "iq")
    slope = rf"\sum_{{k, q}} S_{{kq}}\, {out % 'k'} {out % 'q'}\, {z[0]} {z[1]}"
    steps = (
        rf"The outputs change at a rate proportional to ${slope}$, which vanishes because $S_{{kq}} = -S_{{qk}}$.",
        "Outputs constant along all these linear fields, at fixed output weights, are constant on the group that the fields generate.",
    )
    moved = tuple(block.name for block in problem.blocks if block in [layer.blocks[role] for role in roles])
    return Mixing("rotation of neurons", text, steps, found, moved)
