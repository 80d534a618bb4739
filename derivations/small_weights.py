r"""The gradient flow of a two-layer network at small weights, to leading order: the dynamics of initial condensation.

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

Both the powers of :math:`\varepsilon` and the coefficients are read off from the derived flow, in which
:math:`\theta \to \varepsilon\theta` is put and sigma is replaced by its Taylor polynomial.

Source: Zhou, Zhou, Luo, Zhang, Xu, arXiv:2105.11686, Section 4 (smooth); Maennel, Bousquet, Gelly, arXiv:1803.08367 (ReLU).

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

from collections.abc import Callable
from dataclasses import dataclass, replace

from sympy import Add, Expr, Integer, S, Symbol, factorial, limit, simplify

from derivations.activations import Activation, Z
from derivations.canonical import residual
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError
from derivations.generic import GenericFunction, bind
from derivations.indexed import Entry, Tensor, isum, replace_leaves
from derivations.latex import latex
from derivations.problem import Block, Problem, m, n
from derivations.vocabulary import assemble, bound_loss, dot, entry, expanded, multiplied_out

__all__ = [
    "MAX_ORDER",
    "Multiplicity",
    "balance_residual",
    "derive_small_weights",
    "leading_flow",
    "multiplicity",
]

#: Orders of the expansion of sigma that are looked at.
MAX_ORDER = 8

_EPSILON = Symbol("epsilon", positive=True)
_ZED = Tensor("z", (n, m))


@dataclass(frozen=True)
class Multiplicity:
    r"""The expansion :math:`\sigma(z) = \sigma(0) + c z^p + c' z^q + \dots` at 0.

    Attributes
    ----------
    order : int
        p, the smallest order at least 1 with a derivative that is not 0.
    value, coefficient : Expr
        sigma(0) and c, the p-th derivative over p!.
    following : int or None
        q, the next order with a derivative that is not 0; None where there is none up to ``MAX_ORDER``.
    """

    order: int
    value: Expr
    coefficient: Expr
    following: int | None

    def polynomial(self, orders: tuple[int, ...], argument: Expr) -> Expr:
        """Return a derivative of the Taylor polynomial of order p, in the form ``derivations.generic.bind`` takes."""
        (j,) = orders
        constant = self.value if j == 0 else S.Zero
        if j > self.order:
            return S.Zero
        falling = factorial(self.order) / factorial(self.order - j)
        return constant + falling * self.coefficient * argument ** (self.order - j)


def multiplicity(activation: Activation) -> Multiplicity:
    r"""Return p and the leading coefficients of a smooth activation; derivatives are exact.

    Raises
    ------
    AssumptionError
        If the activation has a kink, or no derivative up to ``MAX_ORDER`` is found that is not 0.

    Examples
    --------
    >>> from derivations.activations import activation
    >>> found = multiplicity(activation("sin(z) - tanh(z)"))
    >>> found.order, found.coefficient
    (3, 1/6)
    """
    if activation.is_smooth is None:
        raise AssumptionError(
            f"an expansion at 0 needs a smooth activation, {activation.name} has a kink; if it is homogeneous no expansion "
            "is needed, else take a smooth one."
        )
    found: list[tuple[int, Expr]] = []
    derivative = activation.derivative(0)
    for order in range(1, MAX_ORDER + 1):
        derivative = derivative.diff(Z)
        value = _at_zero(derivative)
        if value != 0:
            found.append((order, value))
        if len(found) == 2:
            break
    if not found:
        raise AssumptionError(
            f"the derivatives of {activation.name} at 0 vanish up to order {MAX_ORDER}: no leading order is known; raise "
            "MAX_ORDER in derivations/small_weights.py if it has one."
        )
    order, value = found[0]
    following = found[1][0] if len(found) > 1 else None
    return Multiplicity(order, activation.value_at_zero, value / factorial(order), following)


def _at_zero(expr: Expr) -> Expr:
    value = expr.subs(Z, 0)
    return simplify(limit(expr, Z, 0)) if value.has(S.NaN, S.ComplexInfinity) else simplify(value)


def derive_small_weights(problem: Problem) -> Derivation:
    """Return the leading order of the flow at small weights; weight decay, which is linear, is kept as it is.

    Parameters
    ----------
    problem : Problem
        Two-layer.  A general sigma is taken with value 0 and slope not 0 at 0.

    Raises
    ------
    AssumptionError
        If the network is deep, or the activation has a kink and is not homogeneous.
    """
    flow = leading_flow(problem)
    equations = [Equation(entry(dot(b.tensor), b.indices), flow[b.name]) for b in problem.blocks]
    where = []
    if _uses(equations, _ZED):
        z = problem.system[_ZED]
        where.append(Equation(entry(z.tensor, z.indices), z.expr))
    e, formals = _frozen(problem), problem.system.formals(problem.output)
    if _uses(equations, e):
        where.append(Equation(entry(e, formals), _at_zero_output(problem)))
    title = "Flow at small weights, leading order"
    return assemble(problem, "small-weights", title, equations, _notes(problem), extra=where, defined=False)


def leading_flow(problem: Problem) -> dict[str, Expr]:
    """Return the leading order of the flow of each block, in a, z, x and the frozen weights e.

    Raises
    ------
    AssumptionError
        As ``derive_small_weights``.
    """
    if problem.kind != "two_layer":
        raise AssumptionError(
            f"the flow at small weights is derived for two-layer networks, got kind '{problem.kind}'; its leading order in a "
            "deep network mixes the layers. Use 'gradient-flow'."
        )
    taylor = _expansion(problem)
    plain = replace(problem, weight_decay=S.Zero)
    e = _frozen(problem)
    keep = [u.tensor for u in plain.derived if u.tensor.name in ("z", "r")]
    rules = {
        Tensor("r", problem.output.dims): lambda *u: Entry(e, *u),
        _ZED: lambda *u: _EPSILON * Entry(_ZED, *u),
        problem.block("a").tensor: lambda *u: _EPSILON * Entry(problem.block("a").tensor, *u),
    }
    out = {}
    for block in problem.blocks:
        if not block.trained:
            out[block.name] = Integer(0)
            continue
        gradient = plain.derived.inline(plain.derived[plain.gradient[block.name]].expr, keep)
        if taylor is not None:
            gradient = bind(gradient, {"sigma": taylor.polynomial})
        scaled = replace_leaves(gradient, rules)
        if taylor is None:
            scaled = bind(scaled, {"sigma": _scaling(problem)})
        leading = _lowest(multiplied_out(scaled))
        decay = problem.weight_decay * entry(block.tensor, block.indices)
        out[block.name] = expanded(-block.rate, leading + decay)
    return out


def _expansion(problem: Problem) -> Multiplicity | None:
    """Return the expansion of sigma; None for an activation with a kink that is homogeneous and stays as it is."""
    if problem.activation is None:
        slope = GenericFunction("sigma", (1,), S.Zero)
        return Multiplicity(1, S.Zero, slope, None)
    if problem.activation.is_smooth is None and problem.activation.homogeneity_degree is not None:
        return None
    return multiplicity(problem.activation)


def _degree(problem: Problem) -> Expr:
    degree = None if problem.activation is None else problem.activation.homogeneity_degree
    assert degree is not None  # ``_expansion`` returns None for homogeneous activations only
    return degree


def _scaling(problem: Problem) -> Callable[..., Expr]:
    """Return the rule that takes epsilon out of a homogeneous sigma: the j-th derivative has degree p - j."""
    degree = _degree(problem)

    def rule(orders: tuple[int, ...], argument: Expr) -> Expr:
        return _EPSILON ** (degree - orders[0]) * GenericFunction("sigma", orders, argument / _EPSILON)

    return rule


def _lowest(expr: Expr) -> Expr:
    """Return the terms with the smallest power of epsilon, without it."""
    powers: dict[Expr, list[Expr]] = {}
    for term in Add.make_args(expr):
        rest, power = term.as_independent(_EPSILON)
        powers.setdefault(S.Zero if power == 1 else power.as_base_exp()[1], []).append(rest)
    return Add(*powers[min(powers)])


def balance_residual(problem: Problem) -> Expr:
    r"""Return the time derivative of :math:`p\,|a_k|^2/\eta_a - |w_k|^2/\eta_w - b_k^2/\eta_b` in the leading flow; 0 is a proof.

    Parameters
    ----------
    problem : Problem
        Two-layer, smooth activation with value 0 at 0, no weight decay.

    Raises
    ------
    AssumptionError
        If one of these does not hold.
    """
    taylor = _expansion(problem)
    if taylor is None or taylor.value != 0 or problem.weight_decay != 0 or problem.freeze:
        raise AssumptionError(
            "the balance at small weights needs a smooth activation with sigma(0) = 0, all blocks trained, and no weight decay"
        )
    flow, total = leading_flow(problem), S.Zero
    for block in problem.blocks:
        if block.name != "c":
            sign = taylor.order if block.name == "a" else -1
            body = entry(block.tensor, block.indices) * flow[block.name] / block.rate
            total += 2 * sign * isum(body, *block.indices[1:])
    z = problem.system[_ZED]
    return residual(replace_leaves(total, {_ZED: lambda *u: z.at(u)}))


def _frozen(problem: Problem) -> Tensor:
    return Tensor("e", problem.output.dims)


def _at_zero_output(problem: Problem) -> Expr:
    """Return the weights r at zero output."""
    r = problem.derived[Tensor("r", problem.output.dims)].expr
    return bound_loss(problem, replace_leaves(r, {problem.output: lambda *_: S.Zero}))


def _uses(equations: list[Equation], tensor: Tensor) -> bool:
    return any(e.tensor == tensor for equation in equations for e in equation.rhs.atoms(Entry))


def _notes(problem: Problem) -> list[str]:
    taylor, unit = _expansion(problem), "ic" if problem.vector_output else "i"
    if problem.vector_output and problem.output_bias:
        unit = "iu"
    out = [
        rf"All parameters are of order $\varepsilon$; $e_{{{unit}}}$ is the weight $r_{{{unit}}}$ at zero output, so the neurons "
        "move independently of each other."
    ]
    if problem.weight_decay != 0:
        out.append("Weight decay is kept as it is.")
    if taylor is None:
        degree = _degree(problem)
        out.append(rf"The activation is homogeneous of degree ${latex(degree)}$ and needs no expansion.")
        return [*out, _error(problem, degree + 1)]
    if problem.activation is None:
        out.append(r"It is assumed that $\sigma(0) = 0$ and $\sigma'(0) \neq 0$.")
    else:
        leading = taylor.value + taylor.coefficient * Z**taylor.order
        rest = "" if taylor.following is None else rf" + O(z^{{{taylor.following}}})"
        out.append(rf"$\sigma(z) = {latex(leading)}{rest}$.")
    orders = [taylor.order + 1 if taylor.value == 0 else 1]
    if problem.activation is None:
        orders.append(1)
    elif taylor.following is not None:
        orders.append(taylor.following - taylor.order)
    out.append(_error(problem, min(orders)))
    if taylor.value == 0 and problem.weight_decay == 0 and not problem.freeze:
        p = "" if taylor.order == 1 else f"{taylor.order} "
        parts = "".join(f" - {_square(b)}" for b in problem.blocks if b.name in ("w", "b"))
        out.append(rf"Each ${p}{_square(problem.block('a'))}{parts}$ is conserved to this order.")
    return out


def _error(problem: Problem, order: Expr | int) -> str:
    if problem.output_bias:
        order = 1
    power = "" if order == 1 else rf"^{{{order}}}"
    return rf"The terms left out are smaller than those kept by a factor of order $\varepsilon{power}$."


def _square(block: Block) -> str:
    over = "" if block.rate == 1 else latex(1 / block.rate) + " "
    name = f"{block.name}_k"
    return rf"{over}\lVert {name} \rVert^{{2}}" if len(block.indices) > 1 else rf"{over}{name}^{{2}}"
