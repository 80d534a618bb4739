r"""Euler identities of homogeneous activations: neuron by neuron, layer by layer, and for the norm of the parameters.

Let :math:`\sigma(\lambda z) = \lambda^p \sigma(z)` for :math:`\lambda > 0`, that is :math:`z \sigma'(z) = p\,\sigma(z)`.
For a two-layer network and the data part R of the risk

.. math:: w_k^\top \nabla_{w_k} R + b_k \nabla_{b_k} R = p\, a_k \nabla_{a_k} R \qquad (k = 1, \dots, m),

since both sides are :math:`p \sum_i r_i a_k \sigma(z_{ik})`.  For a network of L layers of weights, with
:math:`\langle\cdot,\cdot\rangle_l` the inner product in the weights of layer l,

.. math::
    \langle W_l, \partial_{W_l} f_i \rangle + \sum_{j=l}^{L} p^{j-l} \langle b_j, \partial_{b_j} f_i \rangle
    = p^{L-l} f_i ,

because multiplying :math:`W_l, b_l` by :math:`\lambda` and each later bias :math:`b_j` by :math:`\lambda^{p^{j-l}}` multiplies f by
:math:`\lambda^{p^{L-l}}`.  Without biases the sum over layers gives :math:`\langle\theta, \nabla f_i\rangle = q f_i` with
:math:`q = 1 + p + \dots + p^{L-1}`, which is L for p = 1, and along the flow with unit rates
:math:`\tfrac{d}{dt} \tfrac12 \lVert\theta\rVert^2 = -q \sum_i r_i f_i`.

The proof runs through the layers: with :math:`g^{(l)} = \partial f_i/\partial z^{(l)}` and
:math:`A_l = \sum_p g^{(l)}_p z^{(l)}_p` one has :math:`A_l = p\,(A_{l+1} - \langle b_{l+1}, g^{(l+1)} \rangle)`,
:math:`A_L = f_i`; each step is reduced to exactly 0.

Source: Lyu, Li, arXiv:1906.05890, Lemma B.1; Du, Hu, Lee, arXiv:1806.00900, Section 2.

>>> from derivations.problem import Problem
>>> found = derive_euler(Problem.two_layer("relu", input_bias=True))
>>> print(found.text().splitlines()[1])
    dR/db[k]*b[k] + sum(dR/dw[k,l]*w[k,l], l=1..d) = dR/da[k]*a[k]
>>> derive_euler(Problem.two_layer("tanh"))
Traceback (most recent call last):
derivations.errors.AssumptionError: Euler's identity needs z*sigma'(z) = p*sigma(z) with one p; tanh does not have it: ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sympy import Add, Expr, S

from derivations.canonical import residual
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError
from derivations.generic import GenericFunction
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.indexed import Entry, Index, ISum, Tensor, fresh, isum, open_sum
from derivations.jacobian import OutputPartial, output_indices, output_name, written_out
from derivations.latex import latex
from derivations.latex_names import Partial
from derivations.problem import Block, Problem
from derivations.second_order import _Adjoints, _output_adjoints, output_jacobian
from derivations.vocabulary import assemble, bound_loss, entry

__all__ = ["at_leaves", "derive_euler", "euler_residuals", "euler_rule", "homogeneity_degree"]

#: Half the squared norm of all parameters, its time derivative.
_NORM = Tensor("dot_(|theta|^2/2)", (), r"\frac{d}{dt} \frac{1}{2} \lVert \theta \rVert^{2}")


def homogeneity_degree(problem: Problem, what: str) -> Expr:
    """Return p with z sigma'(z) = p sigma(z), proved.

    Raises
    ------
    AssumptionError
        If it is not shown; the message has the reason: a general sigma, a point that refutes it, or no decision.
    """
    if problem.activation is None:
        raise AssumptionError(
            f"{what} needs z*sigma'(z) = p*sigma(z) with one p, and sigma is general here; name a homogeneous activation: "
            "relu, abs, linear, a power."
        )
    degree, decision = problem.activation.homogeneity
    if degree is None:
        reason = f"is not shown to have it: {decision.difference} is left"
        if decision.refuted:
            reason = f"does not have it: {decision.difference} is not 0 at z = {decision.witness}"
        raise AssumptionError(
            f"{what} needs z*sigma'(z) = p*sigma(z) with one p; {problem.activation.name} {reason}. Use relu, abs, linear or "
            "a power, or leave this out."
        )
    return degree


def _check_layers(problem: Problem) -> None:
    if not problem.hidden_dims:
        raise AssumptionError(
            f"Euler's identities are those of layers of neurons, got kind '{problem.kind}', which has none; use 'jacobian'."
        )


def at_leaves(expr: Expr, function: Callable[[Expr], Expr]) -> Expr:
    """Apply ``function`` to every leaf and function, sums being opened so that the normal form is made anew."""
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        return isum(at_leaves(body, function), index)
    if isinstance(expr, GenericFunction | Entry) or not expr.args:
        return function(expr)
    return expr.func(*[at_leaves(arg, function) for arg in expr.args])


def euler_rule(expr: Expr, degree: Expr, tensor: Tensor) -> Expr:
    """Write sigma'(z) as p sigma(z) / z where z belongs to ``tensor``; it is to occur in products with z, which cancel."""

    def rule(leaf: Expr) -> Expr:
        if isinstance(leaf, GenericFunction) and leaf.orders == (1,) and leaf.has(tensor):
            return degree * GenericFunction("sigma", (0,), *leaf.arguments) / leaf.arguments[0]
        return leaf

    return at_leaves(expr, rule)


def derive_euler(problem: Problem) -> Derivation:
    """Return the identities of neurons, of layers and of the whole network.

    Parameters
    ----------
    problem : Problem
        A network of layers with a homogeneous activation.

    Raises
    ------
    AssumptionError
        If homogeneity is not shown, or the model has no layers.
    """
    _check_layers(problem)
    p = homogeneity_degree(problem, "Euler's identity")
    equations = [_neuron(problem, layer, p) for layer in hidden_layers(problem)]
    equations += [_layer(problem, number, p) for number in range(1, problem.depth + 1)]
    notes = []
    if problem.weight_decay != 0:
        notes.append(
            "$R$ stands for the part of the risk that comes from the data, without the weight decay."
        )
    total, r, at = _total_degree(problem, p), Tensor("r", problem.output.dims), output_indices(problem)
    if total is not None:
        notes.append(
            rf"The outputs are homogeneous of degree ${latex(total)}$ in all parameters: "
            rf"$f(\lambda \theta) = {_power(total)} f(\theta)$ for $\lambda > 0$."
        )
        if all(b.trained and b.rate == 1 for b in problem.blocks) and problem.weight_decay == 0:
            work = isum(entry(problem.output, at) * entry(r, at), *at)
            equations.append(Equation(_NORM(), -total * work))
    elif len(_biases(problem)) > 0:
        notes.append(
            "Because of the biases beyond the first layer the outputs are not homogeneous in all parameters at once."
        )
    if problem.activation is not None and problem.activation.value_at_zero != 0:
        notes.append("Pre-activations that are exactly $0$ are left out.")
    where = [Equation(entry(u.tensor, u.indices), u.expr) for u in problem.system if u.tensor != problem.risk]
    if _NORM() in [e.lhs for e in equations]:
        weights = problem.derived[r]
        where.append(Equation(entry(r, weights.indices), bound_loss(problem, weights.expr)))
    return assemble(problem, "euler", "Euler identities", equations, notes, extra=where, defined=False)


def euler_residuals(problem: Problem) -> dict[str, Expr]:
    """Return what each step of the proof leaves; all 0 is a proof of every identity of ``derive_euler``.

    ``incoming l``: weights and bias into layer l times their Jacobian, minus g z; ``step l``: g z of layer l minus p times
    (g z minus g b) of the next; ``neuron l``: the same for one neuron and the gradient of the risk.

    Raises
    ------
    AssumptionError
        If homogeneity is not shown.
    """
    _check_layers(problem)
    p = homogeneity_degree(problem, "Euler's identity")
    plain = replace(problem, weight_decay=S.Zero, rate=(), freeze=())
    proof, out = _Proof(plain, p), {}
    for layer in hidden_layers(plain):
        out[f"incoming {layer.number}"] = proof.incoming(layer)
        out[f"step {layer.number}"] = proof.step(layer)
        out[f"neuron {layer.number}"] = proof.neuron(layer)
    out[f"incoming {plain.depth}"] = proof.last()
    return out


class _Proof:
    def __init__(self, problem: Problem, p: Expr) -> None:
        self.problem, self.p = problem, p
        self.at = output_indices(problem)
        self.back: _Adjoints = {} if problem.kind == "two_layer" else _output_adjoints(problem)
        self.definitions = [Equation(entry(g, indices), expr) for g, indices, expr in self.back.values()]

    def g(self, layer: HiddenLayer, neuron: Index) -> Expr:
        """Return the derivative of the output in the pre-activation of one neuron."""
        if self.back:
            return Entry(self.back[layer.delta][0], self.at[0], neuron, *self.at[1:])
        return self.problem.system.jacobian(self.problem.output, self.at, layer.z, (self.at[0], neuron))

    def work(self, layer: HiddenLayer) -> Expr:
        neuron = fresh(Index("p", layer.width))
        return isum(self.g(layer, neuron) * layer.z[self.at[0], neuron], neuron)

    def product(self, block: Block) -> Expr:
        """Return the inner product of a block with its Jacobian."""
        target = tuple(fresh(u) for u in block.indices)
        jacobian = output_jacobian(self.problem, block, self.at, target, self.back)
        return isum(entry(block.tensor, target) * jacobian, *target)

    def incoming(self, layer: HiddenLayer) -> Expr:
        blocks = [layer.incoming, *([layer.bias] if layer.bias else [])]
        total = Add(*[self.product(b) for b in blocks]) - self.work(layer)
        return residual(self._opened(total, layer.z))

    def step(self, layer: HiddenLayer) -> Expr:
        following = [h for h in hidden_layers(self.problem) if h.number == layer.number + 1]
        work = self.work(layer)
        if self.back:
            (definition,) = [e for e in self.definitions if e.lhs.tensor == self.back[layer.delta][0]]
            work = written_out(work, [definition])
        if following:
            rest, bias = self._opened(self.work(following[0]), following[0].z), following[0].bias
        else:
            rest = self.problem.system.inline(
                entry(self.problem.output, self.at), keep=[u.tensor for u in self.problem.system][:-2]
            )
            bias = next((b for b in _biases(self.problem) if b.name in ("c", f"b{self.problem.depth}")), None)
        if bias is not None:
            rest -= self.product(bias)
        return residual(euler_rule(work, self.p, layer.z) - self.p * rest)

    def neuron(self, layer: HiddenLayer) -> Expr:
        problem, k = self.problem, Index("k", layer.width)
        sample = problem.system.formals(problem.output)[0]
        work = isum(layer.delta[sample, k] * layer.z[sample, k], sample)
        into = Add(*[_times_gradient(problem, layer, role, k) for role in layer.blocks if role != "out"])
        first = residual(self._opened(into - work, layer.z))
        derived = problem.derived
        keep = [u.tensor for u in derived if u.tensor != layer.delta]
        second = derived.inline(work, keep) - self.p * _times_gradient(problem, layer, "out", k)
        return first + residual(euler_rule(second, self.p, layer.z))

    def last(self) -> Expr:
        problem = self.problem
        blocks = [hidden_layers(problem)[-1].outgoing]
        blocks += [b for b in _biases(problem) if b.name in ("c", f"b{problem.depth}")]
        keep = [u.tensor for u in problem.system if u.tensor != problem.output]
        output = problem.system.inline(entry(problem.output, self.at), keep)
        return residual(Add(*[self.product(b) for b in blocks]) - output)

    def _opened(self, expr: Expr, z: Tensor) -> Expr:
        """Write out z where it is not the argument of sigma."""

        def rule(leaf: Expr) -> Expr:
            if isinstance(leaf, Entry) and leaf.tensor == z:
                return self.problem.system[z].at(leaf.indices)
            return leaf

        return at_leaves(expr, rule)


def _times_gradient(problem: Problem, layer: HiddenLayer, role: str, neuron: Index) -> Expr:
    """Return the part of one neuron in a block times the gradient in it."""
    block = layer.blocks[role]
    value, rest = layer.entry(block, neuron)
    return isum(value * problem.derived[problem.gradient[block.name]].at(value.indices), *rest)


def _neuron(problem: Problem, layer: HiddenLayer, p: Expr) -> Equation:
    k = Index("k" if problem.kind == "two_layer" else "p", layer.width)

    def product(role: str) -> Expr:
        block = layer.blocks[role]
        value, rest = layer.entry(block, k)
        return isum(value * Partial("R", block.tensor)[value.indices], *rest)

    into = Add(*[product(role) for role in layer.blocks if role != "out"])
    return Equation(into, p * product("out"))


def _layer(problem: Problem, number: int, p: Expr) -> Equation:
    """Return the identity of the weights and bias into layer ``number``, later biases with their powers."""
    at, depth = output_indices(problem), problem.depth
    name = output_name(problem, at)
    weights = [b for b in problem.blocks if b not in _biases(problem)]
    block = weights[{1: 1, 2: 0}[number]] if problem.kind == "two_layer" else weights[number - 1]
    terms = [_pairing(problem, block, name, at)]
    for bias in _biases(problem):
        into = {"b": 1, "c": 2}[bias.name] if problem.kind == "two_layer" else int(bias.name[1:])
        if into >= number:
            terms.append(p ** (into - number) * _pairing(problem, bias, name, at))
    return Equation(p ** (depth - number) * entry(problem.output, at), Add(*terms))


def _pairing(problem: Problem, block: Block, name: str, at: Sequence[Index]) -> Expr:
    partial = OutputPartial(name, problem.output.dims, block.tensor)
    target = tuple(Index(u.name + "'", u.dim) if u in at else u for u in block.indices)
    return isum(entry(block.tensor, target) * Entry(partial, *target, *at), *target)


def _biases(problem: Problem) -> list[Block]:
    return [b for b in problem.blocks if b.name.startswith("b") or b.name == "c"]


def _total_degree(problem: Problem, p: Expr) -> Expr | None:
    """Return the degree in all parameters, None where a bias beyond the first layer has another weight."""
    first = {"b"} if problem.kind == "two_layer" else {"b1"}
    if any(b.name not in first for b in _biases(problem)):
        return None
    return Add(*[p**power for power in range(problem.depth)])


def _power(degree: Expr) -> str:
    return rf"\lambda^{{{latex(degree)}}}"
