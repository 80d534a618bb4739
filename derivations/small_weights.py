r"""The gradient flow of a network at small weights, to leading order: the dynamics of initial condensation.

Let p be the smallest order at least 1 with :math:`\sigma^{(p)}(0) \neq 0`.  With all parameters of order :math:`\varepsilon`

.. math::
    \sigma(z) = \sigma(0) + \tfrac{\sigma^{(p)}(0)}{p!} z^p + O(\varepsilon^{p+1}), \qquad
    r_i = e_i + O(\varepsilon), \quad e_i = \tfrac1n \ell'(0, y_i),

the weights :math:`r_i` are frozen at :math:`e_i`, and neurons move independently of each other; for :math:`\sigma(0) = 0`

.. math::
    \dot a_k = -\tfrac{\sigma^{(p)}(0)}{p!} \sum_i e_i z_{ik}^p, \qquad
    \dot w_k = -\tfrac{\sigma^{(p)}(0)}{(p-1)!}\, a_k \sum_i e_i z_{ik}^{p-1} x_i .

For :math:`\sigma(0) \neq 0` the first equation begins with :math:`-\sigma(0) \sum_i e_i`, which is of lower order than all
corrections.  For :math:`\sigma(0) = 0` this is the gradient flow of :math:`\sum_i e_i f_i` for the activation
:math:`\sigma^{(p)}(0) z^p / p!`, so :math:`p\,a_k^2 - \lVert w_k \rVert^2` is conserved (the bias counted with w).  An activation
with a kink at 0 has no expansion there; one that is homogeneous stays as it is, only the weights are frozen.

A deep network without biases has a leading output :math:`f_i` that is homogeneous of a degree D (the number of layers
for p = 1), and its leading flow is that of the correlation,

.. math:: \dot\theta = -\nabla \sum_i e_i f_i(\theta), \qquad \tfrac{d}{dt} \tfrac12 \lVert\theta\rVert^2 = -D \sum_i e_i f_i .

With biases and :math:`\sigma(0) = 0` the pre-activations of deeper layers are their biases to leading order, and the blocks
move at different orders.

Both the powers of :math:`\varepsilon` and the coefficients are read off from the derived definitions
(``derivations.leading_order``), in which :math:`\theta \to \varepsilon\theta` is put and sigma is replaced by its Taylor polynomial.

Source: Zhou, Zhou, Luo, Zhang, Xu, arXiv:2105.11686, Section 4 (smooth); Maennel, Bousquet, Gelly, arXiv:1803.08367 (ReLU); Kumar, Haupt,
arXiv:2402.09226 and arXiv:2403.08121 (the correlation, two and more layers).

>>> from derivations.problem import Problem
>>> print(derive_small_weights(Problem.two_layer("z*tanh(z)", "square")))
Flow at small weights, leading order
    da/dt[k] = -sum(e[i]*z[i,k]**2, i=1..n)
    dw/dt[k,l] = -2*a[k]*sum(e[i]*x[i,l]*z[i,k], i=1..n)
  where
    z[i,k] = sum(w[k,l]*x[i,l], l=1..d)
    e[i] = -y[i]/n
"""

from __future__ import annotations

from sympy import Add, Expr, Integer, Min, S, oo

from derivations.activations import Z
from derivations.canonical import residual
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError
from derivations.generic import GenericFunction
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.indexed import Tensor, entries, isum, replace_leaves
from derivations.latex import latex
from derivations.leading_order import Leading, frozen_weights, leading_orders, weights_at_zero_output
from derivations.multiplicity import Multiplicity, multiplicity
from derivations.problem import Block, Problem
from derivations.system import Definition
from derivations.vocabulary import assemble, dot, entry, expanded

__all__ = ["balance_residual", "derive_small_weights", "expansion", "leading_flow", "multiplicity"]


def derive_small_weights(problem: Problem) -> Derivation:
    """Return the leading order of the flow at small weights; weight decay, which is linear, is kept as it is.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep.  A general sigma is taken with value 0 and slope not 0 at 0.

    Raises
    ------
    AssumptionError
        If the model has no layers, or the activation has a kink and is not homogeneous.
    """
    orders, flow = _orders(problem), {}
    for b in problem.blocks:
        flow[b.name] = _rate(problem, b, orders)
    equations = [Equation(entry(dot(b.tensor), b.indices), flow[b.name]) for b in problem.blocks]
    where, needed = [], {u.tensor for e in equations for u in entries(e.rhs)}
    correlated = problem.kind == "deep" and _degree(problem, orders) is not None
    if correlated:
        needed.add(problem.output)
    for tensor, leading in reversed(orders.items()):
        if tensor in needed and not tensor.name.startswith("grad_"):
            needed |= {u.tensor for u in entries(leading.expr)}
            where.append(Equation(entry(tensor, leading.indices), leading.expr))
    where.reverse()
    e, formals = frozen_weights(problem), problem.system.formals(problem.output)
    if e in needed:
        first = next(
            (j for j, u in enumerate(where) if any(v.tensor == e for v in entries(u.rhs))), len(where)
        )
        where.insert(first, Equation(entry(e, formals), weights_at_zero_output(problem)))
    title = "Flow at small weights, leading order"
    notes = _notes(problem, orders, flow)
    return assemble(problem, "small-weights", title, equations, notes, extra=where, defined=False)


def leading_flow(problem: Problem) -> dict[str, Expr]:
    """Return the leading order of the flow of each block, in the parameters, x, the first z and the frozen weights e.

    Raises
    ------
    AssumptionError
        As ``derive_small_weights``.
    """
    orders = _orders(problem)
    return {b.name: _inlined(_rate(problem, b, orders), orders) for b in problem.blocks}


def _orders(problem: Problem) -> dict[Tensor, Leading]:
    if problem.kind not in ("two_layer", "deep"):
        raise AssumptionError(
            f"the flow at small weights is derived for networks of layers, got kind '{problem.kind}'. Use 'gradient-flow'."
        )
    return leading_orders(problem, expansion(problem))


def _rate(problem: Problem, block: Block, orders: dict[Tensor, Leading]) -> Expr:
    if not block.trained:
        return Integer(0)
    decay = problem.weight_decay * entry(block.tensor, block.indices)
    return expanded(-block.rate, orders[problem.gradient[block.name]].expr + decay)


def _inlined(expr: Expr, orders: dict[Tensor, Leading]) -> Expr:
    """Put the leading terms in, down to the first pre-activation, which is exact."""
    first = next(iter(orders))
    for tensor, leading in reversed(orders.items()):
        if tensor != first:
            definition = Definition(tensor, leading.indices, leading.expr)
            expr = replace_leaves(expr, {tensor: lambda *u, d=definition: d.at(u)})
    return expr


def expansion(problem: Problem) -> Multiplicity | None:
    """Return the expansion of sigma; None for an activation with a kink that is homogeneous and stays as it is."""
    if problem.activation is None:
        return Multiplicity(1, S.Zero, GenericFunction("sigma", (1,), S.Zero), None, 2)
    if problem.activation.is_smooth is None and problem.activation.homogeneity_degree is not None:
        return None
    return multiplicity(problem.activation)


def balance_residual(problem: Problem, layer: int = 1) -> Expr:
    r"""Return the time derivative of :math:`p\,|a_k|^2/\eta_a - |w_k|^2/\eta_w - b_k^2/\eta_b` in the leading flow; 0 is a proof.

    Parameters
    ----------
    problem : Problem
        Smooth activation with value 0 at 0, no weight decay.
    layer : int
        The hidden layer whose neurons are meant: a stands for the weights out of it, w and b for those into it.

    Raises
    ------
    AssumptionError
        If one of these does not hold.
    """
    taylor = expansion(problem)
    if taylor is None or taylor.value != 0 or problem.weight_decay != 0 or problem.freeze:
        raise AssumptionError(
            "the balance at small weights needs a smooth activation with sigma(0) = 0, all blocks trained, and no weight decay"
        )
    hidden = hidden_layers(problem)[layer - 1]
    flow, total, neuron = leading_flow(problem), S.Zero, None
    for role, block in hidden.blocks.items():
        sign = taylor.order if role == "out" else -1
        slot = hidden.slot(block)
        neuron = neuron or block.indices[slot]
        body = entry(block.tensor, block.indices) * flow[block.name] / block.rate
        others = [u for j, u in enumerate(block.indices) if j != slot]
        renamed = body.xreplace({block.indices[slot]: neuron}) if block.indices[slot] != neuron else body
        total += 2 * sign * isum(renamed, *others)
    z = next(iter(problem.system))
    return residual(replace_leaves(total, {z.tensor: lambda *u: z.at(u)}))


def _degree(problem: Problem, orders: dict[Tensor, Leading]) -> Expr | None:
    r"""Return the degree D of the leading outputs where the leading flow is that of their correlation, else None.

    The part of degree D - 1 of the gradient is the gradient of the part of degree D of :math:`\sum_i e_i f_i`; so the two
    agree where every trained block begins with it.
    """
    degree = orders[problem.output].degree
    trained = [b for b in problem.blocks if b.trained]
    same = all(orders[problem.gradient[b.name]].degree == degree - 1 for b in trained)
    return degree if same and problem.weight_decay == 0 else None


def _notes(problem: Problem, orders: dict[Tensor, Leading], flow: dict[str, Expr]) -> list[str]:
    taylor, unit = expansion(problem), "ic" if problem.vector_output else "i"
    if problem.vector_output and any(b.name == "c" for b in problem.blocks):
        unit = "iu"
    independent = ", so the neurons move independently of each other" if problem.kind == "two_layer" else ""
    out = [
        rf"All parameters are of order $\varepsilon$; $e_{{{unit}}}$ is the weight $r_{{{unit}}}$ at zero output{independent}."
    ]
    if problem.kind == "deep":
        out.append("Pre-activations, outputs and back-propagated derivatives stand for their leading terms.")
    if problem.weight_decay != 0:
        out.append("Weight decay is kept as it is.")
    if taylor is None:
        assert problem.activation is not None
        degree = problem.activation.homogeneity_degree
        out.append(rf"The activation is homogeneous of degree ${latex(degree)}$ and needs no expansion.")
    elif problem.activation is None:
        out.append(r"It is assumed that $\sigma(0) = 0$ and $\sigma'(0) \neq 0$.")
    else:
        leading = taylor.value + taylor.coefficient * Z**taylor.order
        rest = "" if taylor.next_order is None else rf" + O(z^{{{taylor.next_order}}})"
        out.append(rf"$\sigma(z) = {latex(leading)}{rest}$.")
    out.append(_error(problem, orders))
    total = _total(problem)
    if any(term.has(total) for rate in flow.values() for term in Add.make_args(rate)):
        out.append(
            rf"Where $\sum_i e_{{{unit}}} = 0$ the terms with this factor vanish, and the next order decides."
        )
    out += _correlation(problem, orders, unit)
    if taylor is not None and taylor.value == 0 and problem.weight_decay == 0 and not problem.freeze:
        out += _balances(problem, taylor)
    return out


def _total(problem: Problem) -> Expr:
    """Return the sum of e over the samples, at the output index of the equations."""
    i, *out = problem.system.formals(problem.output)
    return isum(entry(frozen_weights(problem), (i, *out)), i)


def _correlation(problem: Problem, orders: dict[Tensor, Leading], unit: str) -> list[str]:
    degree = _degree(problem, orders)
    if problem.kind != "deep" or degree is None:
        return []
    over = "i,c" if problem.vector_output else "i"
    named = rf"\mathcal{{N}}(\theta) = -\sum_{{{over}}} e_{{{unit}}} f_{{{unit}}}"
    blocks = [b for b in problem.blocks if b.trained]
    plain = len(blocks) == len(problem.blocks) and all(b.rate == 1 for b in blocks)
    begin = (
        r"This is $\dot\theta = \nabla \mathcal{N}(\theta)$ with"
        if plain
        else "The flow follows the gradient of"
    )
    out = rf"{begin} the neural correlation ${named}$ of the leading outputs, homogeneous of degree ${latex(degree)}$"
    norm = (
        rf"$\frac{{d}}{{dt}} \frac{{1}}{{2}} \lVert\theta\rVert^2 = {latex(degree)}\, \mathcal{{N}}(\theta)$"
    )
    return [f"{out}, so that {norm}." if plain else f"{out}."]


def _balances(problem: Problem, taylor: Multiplicity) -> list[str]:
    p = "" if taylor.order == 1 else f"{taylor.order} "
    if problem.kind == "two_layer":
        parts = "".join(f" - {_square(b)}" for b in problem.blocks if b.name in ("w", "b"))
        return [rf"Each ${p}{_square(problem.block('a'))}{parts}$ is conserved to this order."]
    layers = hidden_layers(problem)
    proved = [h for h in layers if balance_residual(problem, h.number) == 0]
    return [rf"Each ${p}{_layer_squares(h)}$ is conserved to this order." for h in proved]


def _layer_squares(layer: HiddenLayer) -> str:
    def term(role: str) -> str:
        rate = layer.blocks[role].rate
        return ("" if rate == 1 else latex(1 / rate) + " ") + layer.square_tex(role, "p")

    return term("out") + "".join(f" - {term(role)}" for role in layer.blocks if role != "out")


def _error(problem: Problem, orders: dict[Tensor, Leading]) -> str:
    trained = [b for b in problem.blocks if b.trained]
    gap = Min(*[orders[problem.gradient[b.name]].gap for b in trained])
    if gap == oo:
        return "Nothing is left out: this is the gradient flow itself."
    power = "" if gap == 1 else rf"^{{{latex(gap)}}}"
    return rf"The terms left out are smaller than those kept by a factor of order $\varepsilon{power}$."


def _square(block: Block) -> str:
    over = "" if block.rate == 1 else latex(1 / block.rate) + " "
    name = f"{block.name}_k"
    return rf"{over}\lVert {name} \rVert^{{2}}" if len(block.indices) > 1 else rf"{over}{name}^{{2}}"
