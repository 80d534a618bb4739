r"""A map of one neuron proposed by the reader: it keeps every output, or it does not, with a point where it fails.

.. math:: (a_s, w_s, b_s) \mapsto (\alpha a_s, \beta w_s, \beta b_s + \tau)

keeps every output if and only if :math:`\alpha\,\sigma(\beta z + \tau) = \sigma(z)` for all z.

>>> from sympy import Integer
>>> from derivations.problem import Problem
>>> str(neuron_identity(Problem.two_layer("relu"), out=1 / Integer(2), weights=Integer(2)).status)
'PROVED'
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, S, latex

from derivations.activations import Z
from derivations.canonical import canonical, residual
from derivations.claim import Status
from derivations.decide import identically_zero
from derivations.generic import GenericFunction
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.identity import Identity
from derivations.indexed import Delta, Index, Tensor
from derivations.neuron_map import Law, change_of
from derivations.problem import Problem

__all__ = ["neuron_identity"]


def neuron_identity(
    problem: Problem, *, out: Expr, weights: Expr, shift: Expr = S.Zero, layer: int = 1
) -> Identity:
    r"""Decide whether :math:`(a_s, w_s, b_s) \mapsto (\alpha a_s, \beta w_s, \beta b_s + \tau)` of one neuron keeps every output.

    It does if and only if :math:`\alpha\,\sigma(\beta z + \tau) = \sigma(z)` for all z, which is decided for the activation; PROVED
    rests on that and on the residual of the outputs, REFUTED carries the z where it fails.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep with a concrete activation.
    out, weights, shift : Expr
        The numbers alpha, beta and tau; a shift needs a hidden bias.
    layer : int
        Number of the hidden layer.

    Raises
    ------
    ValueError
        If sigma is general, a factor is 0, there is no such layer, or a shift is asked for without a hidden bias.

    Examples
    --------
    >>> from sympy import Integer, pi
    >>> sine = Problem.two_layer("sin", input_bias=True)
    >>> str(neuron_identity(sine, out=Integer(-1), weights=Integer(1), shift=pi).status)
    'PROVED'
    >>> wrong = neuron_identity(sine, out=Integer(1), weights=Integer(-1))
    >>> print(wrong.status, wrong.statement.partition(":")[2])
    REFUTED  $1 \, \sigma(-1 z) - \sigma(z) = -0.83114$ at $z = \frac{3}{7}$.
    """
    layers = hidden_layers(problem)
    if problem.activation is None:
        raise ValueError(
            "sigma is general here: whether such a map keeps outputs depends on it; name an activation"
        )
    if not 1 <= layer <= len(layers):
        raise ValueError(f"there is no hidden layer {layer}; the network has {len(layers)}")
    where = layers[layer - 1]
    if where.bias is None and shift != 0:
        raise ValueError(
            f"a shift by {shift} moves a hidden bias, and this network has none; set input_bias = true"
        )
    if out == 0 or weights == 0:
        raise ValueError(
            f"the factors are {out} and {weights}: a map that can be undone takes none that is 0"
        )
    some, sigma = Index("s", where.width), problem.activation
    decision = identically_zero(out * sigma.expr.subs(Z, weights * Z + shift) - sigma.expr, Z)
    plus = "" if shift == 0 else f" + {latex(shift)}"
    times = {
        role: latex(factor) + " " if factor != 1 else "" for role, factor in (("out", out), ("in", weights))
    }
    change = {"out": times["out"], "in": times["in"], "bias": times["in"] + "{}" + plus}
    mapped = rf"{where.neuron_tex('s')} \mapsto {where.neuron_tex('s', change)}"
    law_tex = rf"{latex(out)} \, \sigma({latex(weights)} z{plus}) - \sigma(z)"
    name = where.named("map of a neuron")
    if decision.refuted:
        value = decision.difference.subs(Z, decision.witness).evalf(5)
        text = rf"The map ${mapped}$ changes outputs: ${law_tex} = {latex(value)}$ at $z = {latex(decision.witness)}$."
        return Identity(name, text, (), Status.REFUTED, map_tex=mapped, layer=layer, dimension=None)
    rules: dict[Tensor, Callable[..., Expr]] = where.scaled("out", some, out) | where.scaled(
        "in", some, weights
    )
    if where.bias is not None:
        rules[where.bias.tensor] = where.rule(
            where.bias,
            lambda k, part: part(k) * (1 + Delta(k, some) * (weights - 1)) + Delta(k, some) * shift,
        )
    output = problem.output[problem.system.formals(problem.output)]
    left = change_of(problem, output, rules, _proposed(problem, where, some, (out, weights, shift)))
    proved = decision.proved and left == 0
    text = (
        rf"The map ${mapped}$ keeps every output."
        if proved
        else rf"Whether ${mapped}$ keeps every output is open."
    )
    steps = (rf"${law_tex} = 0$ for all $z$.",) if proved else ()
    residuals = {"outputs": left, "activation": decision.difference}
    status = Status.PROVED if proved else Status.UNDECIDED
    return Identity(name, text, steps, status, residuals, map_tex=mapped, layer=layer, dimension=None)


def _proposed(problem: Problem, layer: HiddenLayer, some: Index, numbers: tuple[Expr, Expr, Expr]) -> Law:
    """Return the law of sigma for the argument that the map gives neuron ``some``, and for no other."""
    out, weights, shift = numbers
    sample = problem.system.formals(problem.output)[0]
    z = canonical(problem.system.inline(layer.z[sample, some]))
    target = canonical(weights * z + shift)

    def law(argument: Expr) -> Expr:
        moved = residual(argument - target) == 0
        return GenericFunction("sigma", (0,), z) / out if moved else GenericFunction("sigma", (0,), argument)

    return law
