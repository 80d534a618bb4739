r"""Symmetries of the outputs and of the risk: permutations, signs, scaling, shifts, linear mixing of neurons.

Each one is a map of the parameters.  That it keeps every output is proved for symbolic sizes, all data and all
parameters (``derivations.neuron_map``); what it does to weight decay and to frozen blocks is said with it.  A property
that the activation does not have is refuted with a point.

>>> [(s.name, str(s.status)) for s in symmetries(Problem.two_layer("tanh", "square"))]
[('permutation of neurons', 'PROVED'), ('sign of a neuron', 'PROVED'), ('scaling of a neuron', 'REFUTED')]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Expr, Integer, Rational, S, Symbol, exp, latex, simplify

from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.decide import Decision, identically_zero
from derivations.diagonal_laws import diagonal_symmetries
from derivations.diagonal_model import DiagonalProblem
from derivations.formula_laws import formula_symmetries
from derivations.formula_model import FormulaProblem
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.indexed import Delta, Index, Tensor, isum
from derivations.invariance import Symmetry
from derivations.mixing import mixings
from derivations.neuron_map import Law, change_of, scaling_law, shift_law, sign_law
from derivations.problem import Problem
from derivations.statement import Statement

__all__ = ["Symmetry", "symmetries", "symmetry_derivation"]

_Rules = Mapping[Tensor, Callable[..., Expr]]
_LAMBDA, _TAU = Symbol("lambda", positive=True), Symbol("tau", real=True)


def symmetries(problem: Problem) -> tuple[Symmetry, ...]:
    """Return what is known of the symmetries of ``problem``, layer by layer.

    A general sigma has the permutations only.  Symmetries of special data or special parameters are not listed.

    Parameters
    ----------
    problem : Problem
        A network, two-layer or deep, with symbolic sizes, a formula, or a diagonal network.
    """
    if isinstance(problem, FormulaProblem):
        return formula_symmetries(problem)
    if isinstance(problem, DiagonalProblem):
        return diagonal_symmetries(problem)
    found: list[Symmetry] = []
    for layer in hidden_layers(problem):
        found.append(_permutation(problem, layer))
        if problem.activation is not None:
            found.append(_sign(problem, layer, problem.activation))
            found.append(_scaling(problem, layer, problem.activation))
            found.extend(_shift(problem, layer, problem.activation))
            found.extend(_mixing(problem, layer))
    return tuple(found)


def symmetry_derivation(problem: Problem) -> list[Statement]:
    """Return ``symmetries`` as a list of statements, for the equations of a report."""
    return list(symmetries(problem))


def _judge(
    problem: Problem,
    layer: HiddenLayer,
    name: str,
    rules: _Rules,
    law: Law | None,
    text: str,
    steps: tuple[str, ...],
) -> Symmetry:
    """Prove that the map keeps the outputs, and see what it does to weight decay and frozen blocks."""
    output = problem.output[problem.system.formals(problem.output)]
    residuals = {"outputs": change_of(problem, output, rules, law)}
    proved = residuals["outputs"] == 0
    moved = tuple(block.name for block in problem.blocks if block.tensor in rules)
    kept, more = True, ""
    if problem.weight_decay != 0:
        decay = change_of(problem, _squares(problem), rules)
        kept = decay == 0
        if kept:
            residuals["weight decay"] = decay
        more = (
            r" It keeps $\lVert\theta\rVert^2$, so the risk with weight decay too."
            if kept
            else r" It changes $\lVert\theta\rVert^2$: with weight decay it is a symmetry of the outputs, not of the risk."
        )
    frozen = [block.name for block in problem.blocks if block.tensor in rules and not block.trained]
    if frozen:
        names = ", ".join(rf"$\mathtt{{{block}}}$" for block in frozen)
        more += f" The frozen {names} moves with it: on the trained blocks it acts only where the frozen values are kept."
    status = Status.PROVED if proved else Status.UNDECIDED
    return Symmetry(
        layer.named(name),
        text + more,
        steps,
        status,
        residuals,
        _SOURCES[name],
        kept if proved else None,
        moved,
    )


_SOURCES = {
    "permutation of neurons": "simsek2021",
    "sign of a neuron": "simsek2021",
    "scaling of a neuron": "kunin2021",
    "shift of a neuron": "kunin2021",
}


def _squares(problem: Problem) -> Expr:
    terms = [
        isum(b.tensor[b.indices] ** 2, *b.indices) if b.indices else b.tensor() ** 2 for b in problem.blocks
    ]
    return sum(terms[1:], terms[0])


def _permutation(problem: Problem, layer: HiddenLayer) -> Symmetry:
    rules = layer.swapped(Index("j", layer.width), Index("q", layer.width))
    width = latex(layer.width) if problem.kind == "two_layer" else f"m_{layer.number}"
    text = (
        rf"For every permutation $\pi$ of the ${width}$ neurons the map ${layer.neuron_tex('k')} \mapsto "
        rf"{layer.neuron_tex(chr(92) + 'pi(k)')}$, $k = 1, \dots, {width}$, keeps every output."
    )
    steps = (
        rf"The next layer sees the neurons through the sum $\sum_{{k=1}}^{{{width}}} {_term(layer, 'k')}$, which does "
        r"not depend on the order of its terms.",
        r"Transpositions of neurons $j$ and $q$ generate all permutations; with $u_k \to u_k + "
        r"(\delta_{kj} - \delta_{kq})(u_q - u_j)$ the terms $j$ and $q$ change places.",
    )
    return _judge(problem, layer, "permutation of neurons", rules, None, text, steps)


def _term(layer: HiddenLayer, k: str, argument: str = "") -> str:
    return rf"{layer.tex['out'] % k} \sigma({argument or layer.indexed_tex('z', 'i' + k)})"


def _sign(problem: Problem, layer: HiddenLayer, activation: Activation) -> Symmetry:
    name, some = "sign of a neuron", Index("s", layer.width)
    parity, z = activation.parity, layer.indexed_tex("z", "is")
    rules = _flip(layer, some)
    if parity.name in ("odd", "even"):
        sign, mark = parity.sign, "-" if parity.name == "odd" else ""
        if sign == -1:
            rules |= layer.scaled("out", some, S.NegativeOne)
        change = {"out": mark, "in": "-", "bias": "-"}
        text = (
            rf"The activation is {parity.name}: for each neuron $s$ the map ${layer.neuron_tex('s')} \mapsto "
            rf"{layer.neuron_tex('s', change)}$ keeps every output. Together with the permutations these maps give "
            rf"a point at most $2^{{{latex(layer.width)}}} \, {latex(layer.width)}!$ copies."
        )
        steps = (
            rf"$\sigma(-z) = {mark}\sigma(z)$ for all $z$.",
            rf"${z} \mapsto -{z}$, so ${_term(layer, 's')} \mapsto {mark}{_term(layer, 's', '-' + z)} "
            rf"= {_term(layer, 's')}$.",
        )
        return _judge(problem, layer, name, rules, sign_law(sign), text, steps)
    central = activation.affine_parity.sign == -1
    absorbing = layer.absorbing(problem)
    if central and absorbing is not None:
        return _central(problem, layer, activation, rules, some, absorbing.tensor)
    if parity.name == "undecided":
        return _open(layer, name, r"Whether the activation is odd or even could not be decided.", parity.odd)
    text = (
        rf"Changing the sign of a neuron does not keep the outputs: {_witness('+', parity.odd)} and "
        rf"{_witness('-', parity.even)}, so $\sigma$ is neither odd nor even."
    )
    if central:
        constant = latex(activation.affine_parity.constant)
        text += rf" (It is odd up to a constant, $\sigma(z) + \sigma(-z) = {constant}$, which a bias behind the layer would absorb.)"
    return Symmetry(layer.named(name), text, (), Status.REFUTED)


def _flip(layer: HiddenLayer, some: Index) -> dict[Tensor, Callable[..., Expr]]:
    """Return the replacement of the incoming weights and bias of one neuron by their negatives."""
    rules = layer.scaled("in", some, S.NegativeOne)
    return rules if layer.bias is None else rules | layer.scaled("bias", some, S.NegativeOne)


def _central(
    problem: Problem, layer: HiddenLayer, activation: Activation, rules: _Rules, some: Index, bias: Tensor
) -> Symmetry:
    """Return the sign map of an activation that is odd up to a constant, which the bias behind the layer takes up."""
    constant, scale = 2 * activation.value_at_zero, layer.gain(problem)

    def moved(*out: Expr) -> Expr:
        entry, _ = layer.entry(layer.outgoing, some)
        weight = layer.outgoing.tensor[
            tuple(some if u == some else v for u, v in _aligned(entry.indices, out, some))
        ]
        return (bias[out] if out else bias()) + constant * scale * weight

    everything = {**rules, **layer.scaled("out", some, S.NegativeOne), bias: moved}
    out, number = layer.tex["out"] % "s", latex(constant)
    factors = ["" if constant == 1 else number, "" if scale == 1 else latex(scale), out]
    gain = " ".join(factor for factor in factors if factor)
    letter = layer.absorbing_tex(problem)
    change = {"out": "-", "in": "-", "bias": "-"}
    text = (
        rf"The activation is odd up to a constant: for each neuron $s$ the map ${layer.neuron_tex('s')} \mapsto "
        rf"{layer.neuron_tex('s', change)}$, ${letter} \mapsto {letter} + {gain}$ keeps every output."
    )
    steps = (
        rf"$\sigma(-z) = {number} - \sigma(z)$ for all $z$.",
        rf"${_term(layer, 's')} \mapsto -{_term(layer, 's', '-' + layer.indexed_tex('z', 'is'))} = {_term(layer, 's')} - "
        rf"{'' if constant == 1 else number + ' '}{out}$, and the bias behind the layer makes up for the constant.",
    )
    return _judge(
        problem, layer, "sign of a neuron", everything, sign_law(S.NegativeOne, constant), text, steps
    )


def _aligned(slots: tuple[Expr, ...], out: tuple[Expr, ...], some: Index) -> list[tuple[Expr, Expr]]:
    """Pair the slots of an outgoing block with the output indices, the neuron's slot with itself."""
    rest = iter(out)
    return [(u, u if u == some else next(rest)) for u in slots]


def _witness(sign: str, decision: Decision) -> str:
    """Return the value of sigma(-z) +- sigma(z) at the witness."""
    point = decision.witness
    assert point is not None  # refuted decisions carry one
    value = decision.difference.subs(Z, point).evalf(5)
    return rf"$\sigma(-z) {sign} \sigma(z) = {latex(value)} \neq 0$ at $z = {latex(point)}$"


def _open(layer: HiddenLayer, name: str, text: str, decision: Decision) -> Symmetry:
    return Symmetry(
        layer.named(name), text, (), Status.UNDECIDED, {"remainder": decision.difference}, _SOURCES[name]
    )


def _scaling(problem: Problem, layer: HiddenLayer, activation: Activation) -> Symmetry:
    name, some, z = "scaling of a neuron", Index("s", layer.width), layer.indexed_tex("z", "is")
    degree, decision = activation.homogeneity
    if degree is None and decision.refuted:
        return Symmetry(layer.named(name), _no_degree(layer, activation, decision), (), Status.REFUTED)
    if degree is None:
        return _open(layer, name, r"Whether the activation is homogeneous could not be decided.", decision)
    rules = layer.scaled("out", some, _LAMBDA**-degree) | layer.scaled("in", some, _LAMBDA)
    if layer.bias is not None:
        rules |= layer.scaled("bias", some, _LAMBDA)
    p = latex(degree)
    power = r"\lambda" if degree == 1 else rf"\lambda^{{{p}}}"
    change = {"out": rf"\lambda^{{{latex(-degree)}}} ", "in": r"\lambda ", "bias": r"\lambda "}
    text = (
        rf"The activation is positively homogeneous of degree ${p}$: for each neuron $s$ and each $\lambda > 0$ the map "
        rf"${layer.neuron_tex('s')} \mapsto {layer.neuron_tex('s', change)}$ keeps every output."
    )
    steps = (
        rf"$z \sigma'(z) = {'' if degree == 1 else p + ' '}\sigma(z)$ for $z \neq 0$ (Euler's identity), so "
        rf"$\frac{{d}}{{d\lambda}} \lambda^{{{latex(-degree)}}} \sigma(\lambda z) = 0$ and "
        rf"$\sigma(\lambda z) = {power} \sigma(z)$ for $\lambda > 0$; at $z = 0$ because $\sigma(0) = 0$.",
        rf"${z} \mapsto \lambda {z}$, so ${_term(layer, 's')} \mapsto \lambda^{{{latex(-degree)}}} "
        rf"{_term(layer, 's', chr(92) + 'lambda ' + z)} = {_term(layer, 's')}$.",
    )
    if activation.value_at_zero != 0:
        text += r" Pre-activations that are exactly $0$ are left out."
        steps = (steps[0].replace(r"; at $z = 0$ because $\sigma(0) = 0$", r", $z \neq 0$"), *steps[1:])
    return _judge(problem, layer, name, rules, scaling_law(_LAMBDA, degree), text, steps)


def _no_degree(layer: HiddenLayer, activation: Activation, decision: Decision) -> str:
    point = Rational(3, 7)
    if simplify(activation.expr.subs(Z, point)) == 0:
        point = -point
    needed = (point * activation.derivative(1).subs(Z, point) / activation.expr.subs(Z, point)).evalf(5)
    other = decision.witness
    value = (other * activation.derivative(1).subs(Z, other)).evalf(5)
    against = (needed * activation.expr.subs(Z, other)).evalf(5)
    change = {"out": r"\lambda^{-p} ", "in": r"\lambda ", "bias": r"\lambda "}
    return (
        rf"There is no $p$ such that ${layer.neuron_tex('s')} \mapsto {layer.neuron_tex('s', change)}$ keeps every output "
        rf"for all $\lambda > 0$: this needs $z \sigma'(z) = p\, \sigma(z)$; "
        rf"at $z = {latex(point)}$ that fixes $p \approx {latex(needed)}$, and at $z = {latex(other)}$ the two sides are then "
        rf"${latex(value)}$ and ${latex(against)}$."
    )


def _shift(problem: Problem, layer: HiddenLayer, activation: Activation) -> list[Symmetry]:
    """Return sigma(z + tau) = e^(kappa tau) sigma(z), and periods, where the hidden layer has biases."""
    if layer.bias is None:
        return []
    some, name = Index("s", layer.width), "shift of a neuron"
    bias = {layer.bias.tensor: layer.rule(layer.bias, lambda k, part: part(k) + _TAU * Delta(k, some))}
    rate = activation.shift_rate.value
    if rate is not None:
        speed = "" if rate == 1 else "-" if rate == -1 else latex(rate) + " "
        lower = "-" if rate == 1 else "" if rate == -1 else latex(-rate) + " "
        later = layer.indexed_tex("z", "is") + r" + \tau"
        change = {"out": rf"e^{{{lower}\tau}} ", "bias": r"{} + \tau"}
        text = (
            rf"For each neuron $s$ and each $\tau \in \mathbb{{R}}$ the map ${layer.neuron_tex('s')} \mapsto "
            rf"{layer.neuron_tex('s', change)}$ keeps every output."
        )
        steps = (
            rf"$\sigma' = {speed}\sigma$, so $\sigma(z + \tau) = e^{{{speed}\tau}} \sigma(z)$.",
            rf"${_term(layer, 's')} \mapsto e^{{{lower}\tau}} {_term(layer, 's', later)} "
            rf"= {_term(layer, 's')}$.",
        )
        rules = {**bias, **layer.scaled("out", some, exp(-rate * _TAU))}
        return [_judge(problem, layer, name, rules, shift_law(_TAU, exp(rate * _TAU)), text, steps)]
    period = activation.period.value
    if period is None:
        return []
    for shift, sign in ((period / 2, -1), (period, 1)):
        if identically_zero(activation.expr.subs(Z, Z + shift) - sign * activation.expr, Z).proved:
            mark, value = "-" if sign == -1 else "", latex(shift)
            change = {"out": mark, "bias": "{} + " + value}
            text = (
                rf"For each neuron $s$ the map ${layer.neuron_tex('s')} \mapsto {layer.neuron_tex('s', change)}$ keeps "
                rf"every output."
            )
            once = (rf"$\sigma(z + {value}) = {mark}\sigma(z)$ for all $z$.",)
            rules = {**bias, **(layer.scaled("out", some, S.NegativeOne) if sign == -1 else {})}
            return [_judge(problem, layer, name, rules, shift_law(_TAU, Integer(sign)), text, once)]
    return []


def _mixing(problem: Problem, layer: HiddenLayer) -> list[Symmetry]:
    """Return the groups that mix neurons, proved through their Lie algebras."""
    found = []
    for mixing in mixings(problem, layer):
        proved = all(value == 0 for value in mixing.residuals.values())
        found.append(
            Symmetry(
                layer.named(mixing.name),
                mixing.text,
                mixing.steps,
                Status.PROVED if proved else Status.UNDECIDED,
                mixing.residuals,
                "kunin2021",
                problem.weight_decay == 0 if proved else None,
                mixing.moves,
            )
        )
    return found
