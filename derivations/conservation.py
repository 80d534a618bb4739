r"""Conserved quantities of the gradient flow, and what is not conserved.

With :math:`g = \nabla R` the flow of a block of rate eta is :math:`\dot u = -\eta\, g_u`.  For every neuron

.. math:: w_k^\top g_{w_k} + b_k g_{b_k} = \sum_i \delta_{ik} z_{ik}, \qquad
          a_k^\top g_{a_k} = \sum_i (a_k^\top \rho_i)\, \sigma(z_{ik}), \qquad \delta_{ik} = (a_k^\top \rho_i)\, \sigma'(z_{ik}),

where rho_i is the gradient of R in what the next layer sums.  So a law of sigma becomes a law of the flow:

* :math:`z \sigma'(z) = p\,\sigma(z)` keeps :math:`p|a_k|^2/\eta_a - |w_k|^2/\eta_w - b_k^2/\eta_b`;
* :math:`\sigma' = \kappa \sigma` keeps :math:`b_k/\eta_b - \kappa |a_k|^2/(2\eta_a)`;
* :math:`\sigma(z) = z` keeps the whole matrix with the entries of two neurons.

Where no law of the first kind holds, that no quantity :math:`\alpha|a_k|^2 + \beta|w_k|^2 + \gamma b_k^2` is conserved for
all data is proved by a determinant that is not zero.

>>> [(c.name, str(c.status)) for c in conserved_quantities(Problem.two_layer("relu", "square", input_bias=True))]
[('balance of a neuron', 'PROVED')]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sympy import Expr, Integer, S, latex

from derivations.activations import Activation, Z
from derivations.canonical import residual
from derivations.claim import Status
from derivations.decide import identically_zero
from derivations.diagonal_laws import diagonal_laws
from derivations.diagonal_model import DiagonalProblem
from derivations.formula_laws import formula_laws
from derivations.formula_model import FormulaProblem
from derivations.generic import GenericFunction, bind
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.indexed import Entry, Index, ISum, Tensor, isum, open_sum
from derivations.invariance import ConservedQuantity
from derivations.no_balance import independence, no_balance
from derivations.problem import Block, Problem
from derivations.statement import Statement

__all__ = ["ConservedQuantity", "conservation_derivation", "conserved_quantities"]


def conserved_quantities(problem: Problem) -> tuple[ConservedQuantity, ...]:
    """Return the conserved quantities of the gradient flow, layer by layer; proved for all sizes, data and losses.

    The laws hold at almost every time where sigma has a kink, whatever finite slope is stated there.

    Parameters
    ----------
    problem : Problem
        A network, two-layer or deep, a formula, or a diagonal network.  A general sigma has no such law: the result is empty.
    """
    if isinstance(problem, FormulaProblem):
        return formula_laws(problem)
    if isinstance(problem, DiagonalProblem):
        return diagonal_laws(problem)
    found: list[ConservedQuantity] = []
    if problem.activation is None:
        return ()
    for layer in hidden_layers(problem):
        trained = {role for role, block in layer.blocks.items() if block.trained and block.rate != 0}
        whole = trained == set(layer.blocks)
        degree = problem.activation.homogeneity_degree
        if degree is not None and whole:
            found.append(_balance(problem, layer, problem.activation, degree))
        else:
            proof = independence(
                problem.activation, layer, [role for role in layer.blocks if role in trained]
            )
            if trained and proof is not None:
                text, steps = no_balance(problem, layer, proof)
                name = layer.named("no balance of a neuron")
                found.append(ConservedQuantity(name, text, steps, Status.PROVED))
        if whole and identically_zero(problem.activation.expr - Z, Z).proved:
            found.append(_matrix(problem, layer))
        rate = problem.activation.shift_rate.value
        if rate is not None and {"out", "bias"} <= trained:
            found.append(_shift(problem, layer, rate))
    return tuple(found)


def conservation_derivation(problem: Problem) -> list[Statement]:
    """Return ``conserved_quantities`` as a list of statements, for the equations of a report."""
    return list(conserved_quantities(problem))


# -- the two identities behind every law -----------------------------------------------------------------------------


def _incoming(problem: Problem, layer: HiddenLayer, one: Index, other: Index) -> Expr:
    r"""Return :math:`w_{other} \cdot g_{w_{one}} + b_{other} g_{b_{one}} - \sum_i \delta_{i,one} z_{i,other}`, reduced."""
    plain = replace(problem, weight_decay=S.Zero)
    total = _product(plain, layer, layer.incoming, one, other)
    if layer.bias is not None:
        total += _product(plain, layer, layer.bias, one, other)
    sample = problem.system.formals(problem.output)[0]
    total -= isum(layer.delta[sample, one] * layer.z[sample, other], sample)
    return residual(_written_out(plain, total, {layer.z}))


def _product(problem: Problem, layer: HiddenLayer, block: Block, one: Index, other: Index) -> Expr:
    """Return (part of neuron ``other``) . (gradient of neuron ``one``) with the gradient written out."""
    value, rest = layer.entry(block, other)
    slots = list(block.indices)
    slots[layer.slot(block)] = one
    gradient = problem.gradient[block.name][tuple(slots)]
    return isum(value * _written_out(problem, gradient, {problem.gradient[block.name]}), *rest)


def _written_out(problem: Problem, expr: Expr, tensors: set[Tensor]) -> Expr:
    """Write out the named definitions only."""
    return problem.derived.inline(expr, keep=[u.tensor for u in problem.derived if u.tensor not in tensors])


def _outgoing(
    problem: Problem, layer: HiddenLayer, one: Index, other: Index, factor: Expr, minus: Expr
) -> Expr:
    """Return factor * (outgoing part of ``one``) . (gradient of ``other``) minus ``minus``, delta written out."""
    plain = replace(problem, weight_decay=S.Zero)
    total = factor * _product(plain, layer, layer.outgoing, other, one) - minus
    return _written_out(plain, total, {layer.delta})


def _decay_residual(problem: Problem, layer: HiddenLayer) -> dict[str, Expr]:
    """Return gradient minus data gradient minus (weight decay) * parameter, per block."""
    if problem.weight_decay == 0:
        return {}
    plain = replace(problem, weight_decay=S.Zero)
    found = {}
    for role, block in layer.blocks.items():
        at = block.indices
        full = problem.derived[problem.gradient[block.name]].expr
        found[f"decay, {role}"] = residual(
            full - plain.derived[plain.gradient[block.name]].expr - problem.weight_decay * block.tensor[at]
        )
    return found


def _status(residuals: dict[str, Expr]) -> Status:
    return Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED


# -- laws ------------------------------------------------------------------------------------------------------------


def _balance(problem: Problem, layer: HiddenLayer, activation: Activation, degree: Expr) -> ConservedQuantity:
    k = Index("k", layer.width)
    sample = problem.system.formals(problem.output)[0]
    work = isum(layer.delta[sample, k] * layer.z[sample, k], sample)

    def euler(leaf: Expr) -> Expr:
        """Replace sigma'(z) of this layer by p sigma(z)/z; it occurs in products with z only, which cancel."""
        if isinstance(leaf, GenericFunction) and leaf.orders == (1,) and leaf.has(layer.z):
            return degree * GenericFunction("sigma", (0,), *leaf.arguments) / leaf.arguments[0]
        return leaf

    residuals = {
        "incoming": _incoming(problem, layer, k, k),
        "outgoing": residual(_at_leaves(_outgoing(problem, layer, k, k, degree, work), euler)),
        **_decay_residual(problem, layer),
    }
    quantity, tex = _quadratic(layer, k, degree)
    decay, law = _law(problem, layer, r"Q_k")
    p = "" if degree == 1 else latex(degree) + " "
    smooth = activation.is_smooth
    text = (
        rf"Since $z \sigma'(z) = {p}\sigma(z)$, each neuron $k$ of {layer.words} has $Q_k = {tex}$, and {law}. "
        rf"This holds for all data and every loss{'' if smooth else ', at almost every time'}."
    )
    out, into = _dot(layer, "out"), _dot(layer, "in")
    z, delta, push = (
        layer.indexed_tex("z", "ik"),
        layer.indexed_tex(r"\delta", "ik"),
        layer.indexed_tex("e", "ik"),
    )
    both, less = into, into
    if layer.bias is not None:
        both, less = f"{into} + {_dot(layer, 'bias')}", f"{into} - {_dot(layer, 'bias')}"
    steps = [
        rf"$z \sigma'(z) = {p}\sigma(z)$ for $z \neq 0$; at $z = 0$ both sides are $0$"
        + ("." if smooth else ", whatever finite slope is stated at the kink."),
        rf"Write $\nabla R$ for the data part of the gradient, ${push}$ for the derivative of $R$ in $\sigma({z})$ and "
        rf"${delta} = {push}\, \sigma'({z})$ for that in ${z}$.",
        rf"Input side: ${both} = \sum_{{i=1}}^{{n}} {delta} {z}$.",
        rf"Output side: ${p}{out} = {p}\sum_{{i=1}}^{{n}} {push}\, \sigma({z}) = \sum_{{i=1}}^{{n}} {push}\, {z} "
        rf"\sigma'({z}) = \sum_{{i=1}}^{{n}} {delta} {z}$.",
        rf"Hence $\dot Q_k = -2\bigl({p}{out} - {less}\bigr) = 0$; the rates of the blocks are divided out in $Q_k$.",
    ]
    if problem.weight_decay != 0:
        steps.append("Weight decay adds its multiple of the parameter to each gradient.")
    rest = [role for role in layer.blocks if role != "out"]
    if independence(activation, layer, rest) is not None:
        steps.append(
            "No other combination of these squares is conserved for all data, up to a factor: the derivatives of the squares "
            "on the input side are linearly independent."
        )
    name = layer.named("balance of a neuron")
    return ConservedQuantity(
        name, text, tuple(steps), _status(residuals), residuals, "du2018", quantity, (k,), decay
    )


def _at_leaves(expr: Expr, function: Callable[[Expr], Expr]) -> Expr:
    """Apply ``function`` to every leaf and function, sums being opened so that the normal form is made anew."""
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        return isum(_at_leaves(body, function), index)
    if isinstance(expr, GenericFunction | Entry) or not expr.args:
        return function(expr)
    return expr.func(*[_at_leaves(arg, function) for arg in expr.args])


def _matrix(problem: Problem, layer: HiddenLayer) -> ConservedQuantity:
    j, q = Index("j", layer.width), Index("q", layer.width)
    sample = problem.system.formals(problem.output)[0]
    residuals = _decay_residual(problem, layer)
    for one, other in ((j, q), (q, j)):
        work = isum(layer.delta[sample, one] * layer.z[sample, other], sample)
        residuals[f"incoming {one}{other}"] = _incoming(problem, layer, one, other)
        residuals[f"outgoing {one}{other}"] = residual(
            bind(_outgoing(problem, layer, one, other, S.One, work), {"sigma": _identity})
        )
    quantity: Expr = S.Zero
    parts = []
    for role, block in layer.blocks.items():
        left, rest = layer.entry(block, j)
        right, _ = layer.entry(block, q)
        sign = 1 if role == "out" else -1
        quantity += sign * isum(left * right, *rest) / block.rate
        dot = rf"{layer.tex[role] % 'j'} {layer.tex[role] % 'q'}"
        if rest:
            dot = rf"\langle {layer.tex[role] % 'j'}, {layer.tex[role] % 'q'} \rangle"
        parts.append(f"{'' if sign == 1 else '- '}{_over(dot, block.rate)}")
    tex = " ".join(parts)
    decay, law = _law(problem, layer, r"Q_{jq}")
    text = (
        rf"The activation is the identity: for every pair $j, q$ of neurons of {layer.words} "
        rf"$Q_{{jq}} = {tex}$, and {law}. This holds for all data and every loss."
    )
    steps = (
        r"With $g = \nabla R$, $\delta = \partial R/\partial z$ and $\sigma(z) = z$: the incoming part of neuron $q$ times $g$ "
        r"of the incoming part of $j$ is $\sum_{i=1}^{n} \delta_{ij} z_{iq}$.",
        r"The outgoing part of neuron $j$ times $g$ of the outgoing part of $q$ is $\sum_{i=1}^{n} \delta_{ij} z_{iq}$ as well.",
        r"$\dot Q_{jq}$ is minus the difference of the two, plus the same with $j$ and $q$ exchanged: it vanishes.",
    )
    return ConservedQuantity(
        layer.named("balance of a layer"),
        text,
        steps,
        _status(residuals),
        residuals,
        "du2018",
        quantity,
        (j, q),
        decay,
    )


def _identity(orders: tuple[int, ...], z: Expr) -> Expr:
    return z if orders[0] == 0 else S.One if orders[0] == 1 else S.Zero


def _shift(problem: Problem, layer: HiddenLayer, rate: Expr) -> ConservedQuantity:
    k, bias = Index("k", layer.width), layer.bias
    assert bias is not None  # asked for by the caller
    plain = replace(problem, weight_decay=S.Zero)
    slope = plain.gradient[bias.name][k]
    work = _written_out(plain, slope, {plain.gradient[bias.name]})
    growth = {"sigma": lambda orders, z: rate ** orders[0] * GenericFunction("sigma", (0,), z)}
    residuals = {
        "outgoing": residual(bind(_outgoing(problem, layer, k, k, rate, work), growth)),
        **_decay_residual(problem, layer),
    }
    weight, rest = layer.entry(layer.outgoing, k)
    quantity = bias.tensor[k] / bias.rate - rate * isum(weight**2, *rest) / (2 * layer.outgoing.rate)
    size = layer.square_tex("out", "k")
    minus = "-" if rate.is_positive else "+"
    half = latex(abs(rate) / (2 * layer.outgoing.rate))
    tex = rf"{_over(layer.tex['bias'] % 'k', bias.rate)} {minus} {half} {size}"
    factor = "" if rate == 1 else "-" if rate == -1 else latex(rate) + " "
    law = r"$\dot S_k = 0$"
    if problem.weight_decay != 0:
        strength = "" if problem.weight_decay == 1 else latex(problem.weight_decay)
        law = (
            rf"with weight decay $\dot S_k = {strength}\bigl({factor}{size} - {layer.tex['bias'] % 'k'}\bigr)$, so that it "
            "is not conserved"
        )
    text = (
        rf"Since $\sigma' = {factor}\sigma$, each neuron $k$ of {layer.words} has $S_k = {tex}$, and {law}. "
        "This holds for all data and every loss."
    )
    out, z = _dot(layer, "out"), layer.indexed_tex("z", "ik")
    slope_tex, push = rf"\nabla_{{{layer.tex['bias'] % 'k'}}} R", layer.indexed_tex("e", "ik")
    steps = (
        rf"With ${push}$ the derivative of the data part of $R$ in $\sigma({z})$: ${slope_tex} = \sum_{{i=1}}^{{n}} {push}\, "
        rf"\sigma'({z}) = {factor}\sum_{{i=1}}^{{n}} {push}\, \sigma({z}) = {factor}{out}$.",
        rf"$\dot S_k = -{slope_tex} + {factor}{out} = 0$ without weight decay, whatever the rates; it is the law that belongs "
        "to the shift of the bias.",
    )
    if rate.is_negative:
        steps = (steps[0], steps[1].replace("R + -", "R - "))
    decay = S.Zero if problem.weight_decay == 0 else None
    return ConservedQuantity(
        layer.named("shift law of a neuron"),
        text,
        steps,
        _status(residuals),
        residuals,
        "kunin2021",
        quantity,
        (k,),
        decay,
    )


# -- words -----------------------------------------------------------------------------------------------------------


def _quadratic(layer: HiddenLayer, k: Index, degree: Expr) -> tuple[Expr, str]:
    """Return Q_k with its LaTeX."""
    total: Expr = S.Zero
    parts = []
    for role, block in layer.blocks.items():
        entry, rest = layer.entry(block, k)
        factor = degree if role == "out" else Integer(1)
        sign = 1 if role == "out" else -1
        total += sign * factor * isum(entry**2, *rest) / block.rate
        parts.append(("" if sign == 1 else "- ") + _over(layer.square_tex(role, "k"), block.rate / factor))
    return total, " ".join(parts)


def _over(tex: str, rate: Expr) -> str:
    return tex if rate == 1 else rf"{latex(1 / rate)} {tex}"


def _law(problem: Problem, layer: HiddenLayer, symbol: str) -> tuple[Expr | None, str]:
    """Return the rate of decay of the quantity and the clause about it."""
    if problem.weight_decay == 0:
        return S.Zero, rf"$\dot {symbol} = 0$"
    rates = {block.rate for block in layer.blocks.values()}
    if len(rates) > 1:
        return None, (
            "it is conserved without weight decay; with it, the rates of the blocks being different, it obeys no equation of "
            "its own"
        )
    rate = 2 * rates.pop() * problem.weight_decay
    speed = latex(rate)
    return rate, (
        rf"with weight decay $\dot {symbol} = -{speed}\, {symbol}$, that is ${symbol}(t) = e^{{-{speed} t}} {symbol}(0)$"
    )


def _dot(layer: HiddenLayer, role: str) -> str:
    """Return the LaTeX of (part of neuron k) . (gradient in it)."""
    part = layer.tex[role] % "k"
    slope = rf"\nabla_{{{part}}} R"
    return rf"\langle {part}, {slope} \rangle" if layer.is_vector(role) else rf"{part} {slope}"
