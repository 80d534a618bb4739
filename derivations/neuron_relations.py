r"""Relations between neurons that hold for special activations, and the changes of outgoing weights they allow.

* :math:`\sigma(-z) = s\,\sigma(z) + \alpha + \beta z` with an affine part that is not absorbed: the signs of the neurons of
  a set S may be changed together where the affine parts cancel,

  .. math:: \beta \sum_{k \in S} a_k w_k^\top = 0 , \qquad \sum_{k \in S} a_k (\alpha + \beta b_k) = 0 ;

* :math:`\sigma` a polynomial: more neurons than there are coefficients are linearly dependent
  (``derivations.polynomial_neurons``);
* :math:`\sigma'' = -\omega^2 \sigma`: three neurons with the same input weights are linearly dependent.

>>> from derivations.hidden_layer import hidden_layers
>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("softplus", input_bias=True)
>>> [(found.name, str(found.status)) for found in relations(problem, hidden_layers(problem)[0])]
[('joint sign of neurons', 'PROVED')]
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Integer, S, Symbol, expand, latex, simplify, sin

from derivations.activations import Activation, Z
from derivations.canonical import residual
from derivations.claim import Status
from derivations.decide import identically_zero, is_zero
from derivations.generic import GenericFunction
from derivations.hidden_layer import HiddenLayer
from derivations.identity import Identity, Kind
from derivations.indexed import Index, Tensor, isum
from derivations.neuron_map import change_of, sign_law
from derivations.polynomial_neurons import polynomial_dependence
from derivations.problem import Problem

__all__ = ["affine_tex", "frequency", "parity_tex", "relations"]


def relations(problem: Problem, layer: HiddenLayer) -> list[Identity]:
    """Return the relations between neurons of ``layer``; none for a general sigma."""
    activation = problem.activation
    if activation is None:
        return []
    found = [
        _joint_sign(problem, layer, activation),
        polynomial_dependence(problem, layer, activation),
        _phases(problem, layer, activation),
    ]
    return [identity for identity in found if identity is not None]


# -- signs of several neurons ----------------------------------------------------------------------------------------


def _joint_sign(problem: Problem, layer: HiddenLayer, activation: Activation) -> Identity | None:
    parity = activation.affine_parity
    absorbed = parity.slope == 0 and (parity.constant == 0 or layer.absorbing(problem) is not None)
    if parity.sign == 0 or absorbed or activation.parity.name in ("odd", "even"):
        return None
    some = Index("s", layer.width)
    rules: dict[Tensor, Callable[..., Expr]] = layer.scaled("in", some, S.NegativeOne)
    if layer.bias is not None:
        rules |= layer.scaled("bias", some, S.NegativeOne)
    if parity.sign == -1:
        rules |= layer.scaled("out", some, S.NegativeOne)
    # What one neuron changes: the input of the next layer grows by sign * a_s (constant + slope z_s).
    found = _change_behind(problem, layer, rules, parity.sign, parity.constant, parity.slope, some)
    status = Status.PROVED if found == 0 else Status.UNDECIDED
    out, w = layer.tex["out"], layer.tex["in"]
    conditions = []
    if parity.slope != 0:
        incoming = rf"\bigl({w % 'k'}\bigr)" if "^" in w else w % "k"
        conditions.append(rf"\sum_{{k \in S}} {out % 'k'}\, {incoming}^{{\top}} = 0")
    bias = layer.tex["bias"] % "k" if layer.bias is not None else ""
    shift = _product_tex(out % "k", parity.constant, parity.slope, bias, -parity.sign)
    goes = ""
    if shift and layer.absorbing(problem) is None:
        single = parity.constant == 0 or parity.slope == 0 or not bias
        letter = "" if parity.constant != 0 else f" {bias}"
        inside = out % "k" + letter if single else shift[1]
        conditions.append(rf"\sum_{{k \in S}} {inside} = 0")
    elif shift:
        gain = layer.gain(problem)
        scale = "" if gain == 1 else latex(gain) + " "
        letter = layer.absorbing_tex(problem)
        goes = rf", ${letter} \mapsto {letter} {shift[0]} {scale}\sum_{{k \in S}} {shift[1]}$"
    mark = "-" if parity.sign == -1 else ""
    change = {"out": mark, "in": "-", "bias": "-"}
    mapped = rf"{layer.neuron_tex('k')} \mapsto {layer.neuron_tex('k', change)}, \quad k \in S"
    law = parity_tex(parity.sign, parity.constant, parity.slope)
    where = " where " + " and ".join(f"${c}$" for c in conditions) if conditions else ""
    text = (
        rf"Since ${law}$, the signs of all neurons of a set $S$ may be changed together{where}: "
        rf"${mapped}${goes} keeps every output."
    )
    z = layer.indexed_tex("z", "is")
    part = affine_tex(parity.constant, parity.slope, z)
    steps = (
        rf"The change of one neuron $s$ adds ${mark}{out % 's'} ({part})$ to what enters the next layer, "
        "whatever the other neurons are.",
        r"These contributions add up over $S$, and the conditions say that their sum vanishes"
        + (" or is a constant that the bias behind the layer takes up." if goes else "."),
    )
    return Identity(
        layer.named("joint sign of neurons"),
        text,
        steps,
        status,
        {"change of one neuron": found},
        "",
        map_tex=mapped,
        kind=Kind.PARTIAL,
        layer=layer.number,
        degenerate=(
            "It holds on a set of parameters of measure zero, for example for two neurons with equal input weights and opposite "
            "outgoing weights."
        ),
        follows=("symmetric copies of the critical points on that set",),
        keeps_risk=(problem.weight_decay == 0 or not goes) if found == 0 else None,
    )


def _change_behind(
    problem: Problem,
    layer: HiddenLayer,
    rules: dict[Tensor, Callable[..., Expr]],
    sign: int,
    constant: Expr,
    slope: Expr,
    some: Index,
) -> Expr:
    """Return the change of the sum behind the layer minus its claimed value, in canonical form."""
    sample = problem.system.formals(layer.z)[0]
    k = Index("k", layer.width)
    weight, _ = layer.entry(layer.outgoing, k)
    total = isum(weight * _sigma(layer.z[sample, k]), k)
    at_some, _ = layer.entry(layer.outgoing, some)
    claimed = sign * at_some * (constant + slope * layer.z[sample, some])
    change = change_of(problem, total, rules, sign_law(Integer(sign), constant, slope))
    return residual(change - problem.system.inline(claimed))


def _sigma(z: Expr) -> Expr:
    return GenericFunction("sigma", (0,), z)


def _product_tex(weight: str, constant: Expr, slope: Expr, bias: str, sign: int) -> tuple[str, str] | None:
    """Return sign and LaTeX of sign * weight * (constant + slope * bias); None where it is 0."""
    terms = [(sign * constant, ""), (sign * slope, bias)] if bias else [(sign * constant, "")]
    terms = [(factor, letter) for factor, letter in terms if factor != 0]
    if not terms:
        return None
    if len(terms) > 1:
        return "+", rf"{weight} \bigl({affine_tex(terms[0][0], terms[1][0], bias)}\bigr)"
    ((factor, letter),) = terms
    size = "" if abs(factor) == 1 else latex(abs(factor)) + r"\, "
    return "-" if factor.is_negative else "+", f"{size}{weight} {letter}".strip()


def affine_tex(constant: Expr, slope: Expr, z: str) -> str:
    """Return the LaTeX of constant + slope * z, empty where it is 0."""
    linear = "" if slope == 0 else z if slope == 1 else f"-{z}" if slope == -1 else f"{latex(slope)} {z}"
    if constant == 0:
        return linear
    joint = "" if not linear or linear.startswith("-") else " + "
    return f"{latex(constant)}{joint}{linear}"


def parity_tex(sign: int, constant: Expr, slope: Expr) -> str:
    """Return the LaTeX of the parity up to an affine part."""
    rest = affine_tex(constant, slope, "z")
    if not rest:
        return rf"\sigma(-z) = {'-' if sign == -1 else ''}\sigma(z)"
    rest = f"- {rest[1:]}" if rest.startswith("-") else f"+ {rest}"
    return rf"\sigma(-z) = {'-' if sign == -1 else ''}\sigma(z) {rest}"


# -- phases ----------------------------------------------------------------------------------------------------------


def frequency(activation: Activation) -> Expr | None:
    r"""Return omega > 0 with :math:`\sigma'' = -\omega^2 \sigma`, where that is proved, else None.

    >>> from derivations.activations import activation
    >>> frequency(activation("3*sin(2*z)")), frequency(activation("tanh"))
    (2, None)
    """
    if activation.is_smooth is not True:
        return None
    point = S(3) / 7
    value = activation.expr.subs(Z, point)
    if is_zero(value) is not Status.REFUTED:
        return None
    square = simplify(-activation.derivative(2).subs(Z, point) / value)
    if not square.is_positive:
        return None
    if not identically_zero(activation.derivative(2) + square * activation.expr, Z).proved:
        return None
    return simplify(square**S.Half)


def _phases(problem: Problem, layer: HiddenLayer, activation: Activation) -> Identity | None:
    omega = frequency(activation) if layer.bias is not None else None
    if omega is None:
        return None
    b = [Symbol(f"b_{j}", real=True) for j in (1, 2, 3)]
    weights = [sin(omega * (b[(j + 1) % 3] - b[(j + 2) % 3])) for j in range(3)]
    relation = sum(v * activation.expr.subs(Z, Z + at) for v, at in zip(weights, b, strict=True))
    left = simplify(expand(relation, trig=True))
    speed = "" if omega == 1 else latex(omega) + " "
    out = layer.tex["out"]
    mapped = rf"{out % 'k_j'} \mapsto {out % 'k_j'} + v_j t, \quad v_1 = \sin {speed}(b_2 - b_3) \text{{ and cyclically}}"
    square = "" if omega == 1 else latex(omega**2) + " "
    text = (
        rf"Since $\sigma'' = -{square}\sigma$, three neurons $k_1, k_2, k_3$ with the same input weights and biases $b_1, b_2, b_3$ are "
        rf"linearly dependent: ${mapped}$, keeps every output. So neurons with the same input weights can be merged into one, "
        "whatever their biases."
    )
    steps = (
        r"$\sum_j v_j \sigma(z + b_j) = 0$ for all $z$: the shifts of $\sigma$ span a space of dimension $2$.",
        rf"Within it $\sum_k {out % 'k'} \sigma(z + b_k) = r\, \sigma(z + b)$, for one output, with a suitable $r$ and $b$.",
    )
    _, rest = layer.entry(layer.outgoing, Index("k", layer.width))
    outgoing: Expr = S.One
    for u in rest:
        outgoing = outgoing * u.dim
    return Identity(
        layer.named("phases of neurons of one frequency"),
        text,
        steps,
        Status.PROVED if left == 0 else Status.UNDECIDED,
        {"relation": left},
        "",
        map_tex=mapped,
        kind=Kind.PARTIAL,
        layer=layer.number,
        dimension=outgoing,
        degenerate=r"All $v_j$ vanish where the biases differ by multiples of half a period: then neurons are equal up to sign.",
        follows=("reduction of the width (embedding)",),
        keeps_risk=(problem.weight_decay == 0) if left == 0 else None,
    )
