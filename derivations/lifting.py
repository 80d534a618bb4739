r"""Critical lifting: a layer inserted whose units act affinely on the data turns critical points into critical manifolds.

Between what enters a layer, h, and its weights W, insert :math:`\hat z = \hat W h + \hat b`, :math:`\hat h = \sigma(\hat z)` and let the
layer read :math:`\tilde W \hat h + \tilde b`.  Suppose that on every sample i every new unit j is affine to first order,

.. math:: \sigma(\hat z_{ij}) = \lambda_j \hat z_{ij} + \mu_j, \qquad \sigma'(\hat z_{ij}) = \lambda_j .

With :math:`\Lambda = \operatorname{diag}(\lambda)` and

.. math:: \pi(\hat W, \hat b, \tilde W, \tilde b) = (W, b) =
    (\tilde W \Lambda \hat W,\ \tilde b + \tilde W (\Lambda \hat b + \mu))

the outputs on the data are those of the shallower network at :math:`\pi`, and, with :math:`G = \nabla_W R` and
:math:`g = \sum_i \delta_i = \nabla_b R` there,

.. math:: \nabla_{\tilde W} = G \hat W^\top \Lambda + g (\Lambda \hat b + \mu)^\top, \quad \nabla_{\hat W} = \Lambda \tilde W^\top G, \quad
    \nabla_{\hat b} = \Lambda \tilde W^\top g, \quad \nabla_{\tilde b} = g .

Where sigma is affine around every :math:`\hat z_{ij}` the risk is :math:`R \circ \pi`, and at a critical point
:math:`\hat H = D\pi^\top H\, D\pi`.

Source: Bai, Luo, Xu, Zhang, arXiv:2205.13283 (layer linearisation), for the statement; the exact condition and the inertia are derived here.

>>> set(lifting_residuals(Problem.two_layer(input_bias=True, output_bias=True), 1).values())
{0}
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, S, latex

from derivations.activation_properties import pieces, tex
from derivations.activations import Activation, Z
from derivations.canonical import residual
from derivations.cells import NotDecided
from derivations.claim import Status
from derivations.generic import GenericFunction
from derivations.grouped_network import layers
from derivations.indexed import Dim, Index, ISum, Tensor, isum, open_sum, replace_leaves
from derivations.problem import Problem, m
from derivations.statement import Statement
from derivations.system import System

__all__ = ["affine_pieces", "lifting", "lifting_residuals"]

_Rules = dict[Tensor, Callable[..., Expr]]
_WIDTH = Dim("M")


class _Lifted:
    """The network with the new layer before the layer ``number``."""

    def __init__(self, problem: Problem, number: int) -> None:
        self.problem, self.layer = problem, layers(problem)[number - 1]
        self.sample = problem.system.formals(problem.output)[0]
        self.unit = Index("j", _WIDTH)
        layer, entering = self.layer, self.layer.column.dim
        rows = tuple(u.dim for u in layer.rows)
        self.into = Tensor("W_hat", (_WIDTH, entering))
        self.shift = Tensor("b_hat", (_WIDTH,)) if problem.input_bias else None
        self.out = Tensor("W_tilde", (*rows, _WIDTH))
        self.slope, self.level = Tensor("lambda", (_WIDTH,)), Tensor("mu", (_WIDTH,))
        self.z = Tensor("z_hat", (self.sample.dim, _WIDTH))
        self.gain = problem.scale if layer.last else S.One
        before = problem.system[layer.pre]
        self.system = self._build(before.expr)

    def _entering(self, column: Index) -> Expr:
        if self.layer.number == 1:
            return self.problem.x[self.sample, column]
        return GenericFunction(
            "sigma", (0,), layers(self.problem)[self.layer.number - 2].pre[self.sample, column]
        )

    def _build(self, narrow: Expr) -> System:
        layer, j, q = self.layer, self.unit, self.layer.column
        system = System()
        for declaration in self.problem.system.declarations:
            if declaration.tensor != layer.block.tensor:
                system = system.declare(declaration.tensor, declaration.indices)
        system = system.declare(self.into, (j, q)).declare(self.out, (*layer.rows, j))
        if self.shift is not None:
            system = system.declare(self.shift, (j,))
        for definition in self.problem.system:
            expr = definition.expr
            if definition.tensor == layer.pre:
                pre = isum(self.into[j, q] * self._entering(q), q)
                system = system.define(
                    self.z, (self.sample, j), pre + self.shift[j] if self.shift is not None else pre
                )
                weights = isum(layer.weight(layer.rows, q) * self._entering(q), q)
                expr = narrow - self.gain * weights
                expr += self.gain * isum(
                    self.out[(*layer.rows, j)] * GenericFunction("sigma", (0,), self.z[self.sample, j]), j
                )
            system = system.define(definition.tensor, definition.indices, expr)
        return system

    def affine(self, expr: Expr) -> Expr:
        """Return ``expr`` where every new unit is affine on the data to first order."""
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            return isum(self.affine(body), index)
        if isinstance(expr, GenericFunction) and expr.has(self.z):
            (entry,) = expr.arguments
            j = entry.indices[1]
            if expr.orders == (0,):
                return self.slope[j] * entry + self.level[j]
            return self.slope[j] if expr.orders == (1,) else expr
        if not expr.args or not expr.has(GenericFunction):
            return expr
        return expr.func(*[self.affine(arg) for arg in expr.args])

    def constant(self, j: Index) -> Expr:
        """Return what a unit adds beside its linear part."""
        return self.slope[j] * self.shift[j] + self.level[j] if self.shift is not None else self.level[j]

    @property
    def narrow(self) -> _Rules:
        """The parameters pi of the shallower network."""
        layer, j = self.layer, self.unit
        slot = layer.block.tensor.dims.index(layer.column.dim)

        def weight(*at: Expr) -> Expr:
            rows = (*at[:slot], *at[slot + 1 :])
            return isum(self.out[(*rows, j)] * self.slope[j] * self.into[j, at[slot]], j)

        rules: _Rules = {layer.block.tensor: weight}
        if layer.bias is not None:
            old = layer.bias.tensor

            def offset(*rows: Expr) -> Expr:
                fed = isum(self.out[(*rows, j)] * self.constant(j), j)
                return (old[rows] if rows else old()) + self.gain * fed

            rules[old] = offset
        return rules


def lifting_residuals(problem: Problem, number: int) -> dict[str, Expr]:
    """Return both sides of every identity of the module docstring, left minus right, the new layer before layer ``number``.

    Raises
    ------
    ValueError
        If the problem is neither two-layer nor deep, has weight decay, or an output scale that depends on the width.
    """
    _check(problem)
    lifted = _Lifted(problem, number)
    layer, j, q, i = lifted.layer, lifted.unit, lifted.layer.column, lifted.sample
    leaves = [u.tensor for u in lifted.system.declarations if u.tensor not in (problem.x, problem.y)]
    derived, gradient = lifted.system.reverse(problem.risk, leaves, _adjoints(problem))

    def there(tensor: Tensor) -> Expr:
        expr = derived[tensor].expr
        own = Tensor(f"bar_{lifted.z.name}", lifted.z.dims)
        if own in derived:
            expr = derived.inline(expr, [u.tensor for u in derived if u.tensor != own])
        return lifted.affine(expr)

    def residual_of(expr: Expr) -> Expr:
        z = lifted.system[lifted.z]
        return residual(replace_leaves(expr, {lifted.z: lambda *at: z.at(at)}))

    pre = lifted.affine(lifted.system[layer.pre].expr)
    constant = S.Zero
    if layer.bias is None:  # the constants have nowhere to go: they stay as a remainder
        constant = lifted.gain * isum(lifted.out[(*layer.rows, j)] * lifted.constant(j), j)
    found = {
        "pre-activations": residual_of(
            pre - constant - replace_leaves(problem.system[layer.pre].expr, lifted.narrow)
        )
    }
    rows = layer.rows
    g = lifted.gain * isum(layer.adjoint[(i, *rows)], i)
    block = problem.derived[problem.gradient[layer.block.name]]

    def big(column: Expr) -> Expr:
        return block.at([column if u is layer.column else u for u in block.indices])

    slope, unit = lifted.slope[j], lifted.into[j, q]
    found["W tilde"] = residual_of(
        there(gradient[lifted.out]) - isum(big(q) * slope * unit, q) - g * lifted.constant(j)
    )
    weight = lifted.out[(*rows, j)] * slope
    found["W hat"] = residual_of(there(gradient[lifted.into]) - _over(weight * big(q), rows))
    if lifted.shift is not None:
        found["b hat"] = residual_of(there(gradient[lifted.shift]) - _over(weight * g, rows))
    if layer.bias is not None:
        old = problem.derived[problem.gradient[layer.bias.name]].expr
        found["b tilde"] = residual_of(there(gradient[layer.bias.tensor]) - old)
    if number > 1:
        before = layers(problem)[number - 2]
        narrow = replace_leaves(problem.derived[before.adjoint].expr, lifted.narrow)
        found["adjoints before"] = residual_of(there(before.adjoint) - narrow)
    return found


def _over(body: Expr, indices: tuple[Index, ...]) -> Expr:
    return isum(body, *indices) if indices else body


def _adjoints(problem: Problem) -> dict[Tensor, Tensor]:
    return {layer.pre: layer.adjoint for layer in layers(problem)}


def _check(problem: Problem) -> None:
    if problem.kind not in ("two_layer", "deep"):
        raise ValueError(f"a layer is inserted into two-layer and deep networks, got a {problem.kind} model")
    if problem.weight_decay != 0:
        raise ValueError(
            f"lifting needs a risk without weight decay, got weight decay {problem.weight_decay}; set it to 0"
        )
    if problem.scale.has(m):
        raise ValueError(
            f"lifting needs an output scale that does not depend on the width, got {problem.scale}; set it to 1"
        )


# -- the activation --------------------------------------------------------------------------------------------------


def affine_pieces(activation: Activation) -> tuple[tuple[Expr, Expr, Expr, Expr], ...] | None:
    """Return (lower, upper, lambda, mu) of each open interval on which the activation is affine; None where that is open.

    >>> from derivations.activations import activation
    >>> affine_pieces(activation("relu")), affine_pieces(activation("tanh"))
    (((-oo, 0, 0, 0), (0, oo, 1, 0)), ())
    """
    try:
        parts = pieces(activation.expr)
    except NotDecided:
        return None
    found = []
    for part in parts:
        slope = part.expr.diff(Z)
        if not slope.has(Z):
            found.append((part.lower, part.upper, slope, (part.expr - slope * Z).expand()))
    return tuple(found)


def lifting(problem: Problem) -> Statement:
    """Return the lifting as a sentence with its derivation, for a new layer at every place of the network.

    Raises
    ------
    ValueError
        As ``lifting_residuals``.
    """
    residuals = {
        f"before layer {number}, {name}": value
        for number in range(1, len(layers(problem)) + 1)
        for name, value in lifting_residuals(problem, number).items()
    }
    status = Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED
    return Statement(
        "critical lifting", _sentence(problem), _steps(problem), status, residuals, "bai2022depth"
    )


def _sentence(problem: Problem) -> str:
    biased = problem.input_bias
    plus = r" + \hat b" if biased else ""
    constants = r"\Lambda \hat b + \mu" if biased else r"\mu"
    bracketed = rf"({constants})" if biased else constants
    missing = [layer for layer in layers(problem) if layer.bias is None]
    condition, where = "", "Where"
    if missing:
        names = ", ".join(f"${layer.number}$" for layer in missing)
        condition = rf" Before a layer without a bias ({names}) let also ${constants} = 0$"
        condition += r" and $\Lambda \tilde W^{\top} \sum_i \delta_i = 0$." if biased else "."
        where = "Before a layer with a bias, where" if biased else where
    size = (
        r"M (m_{\mathrm{in}} + m_{\mathrm{out}} + 1)" if biased else r"M (m_{\mathrm{in}} + m_{\mathrm{out}})"
    )
    bias = rf", $b = \tilde b + \tilde W {bracketed}$" if len(missing) < len(layers(problem)) else ""
    if bias and problem.scale != 1:
        bias += " (in the last layer times the output scale)"
    return (
        rf"Insert a layer of $M$ units, $\hat h = \sigma(\hat W h{plus})$, before a layer with weights $W$, which then reads $\tilde W \hat h$. On the data let "
        r"every new unit be affine to first order, $\sigma(\hat z_{ij}) = \lambda_j \hat z_{ij} + \mu_j$ and $\sigma'(\hat z_{ij}) = \lambda_j$ for all samples $i$. If "
        rf"$W = \tilde W \Lambda \hat W${bias}, then all outputs on the data are kept, and a critical point is lifted to a critical point.{condition} {where} $\sigma$ is "
        r"affine around all $\hat z_{ij}$, and $\Lambda \hat W$ has rank $m_{\mathrm{in}}$ or $\tilde W \Lambda$ rank $m_{\mathrm{out}}$, these points are a manifold of "
        rf"dimension ${size} - m_{{\mathrm{{in}}}} m_{{\mathrm{{out}}}}$, the inertia $(n_+, n_0, n_-)$ grows by $(0, {size} - m_{{\mathrm{{in}}}} m_{{\mathrm{{out}}}}, 0)$, and no other count changes. "
        + _which(problem)
    )


def _which(problem: Problem) -> str:
    if problem.activation is None:
        return r"Which units are affine depends on $\sigma$."
    found = affine_pieces(problem.activation)
    if found is None:
        return r"Whether $\sigma$ is affine on an interval is open."
    if not found:
        return r"This $\sigma$ is affine on no interval: to first order the condition can hold at isolated values only, such as at units that are constant on the data."
    listed = "; ".join(
        rf"$\lambda = {latex(slope)}$, $\mu = {latex(level)}$ for ${tex(lower)} < \hat z < {tex(upper)}$"
        for lower, upper, slope, level in found
    )
    return rf"For this $\sigma$: {listed}."


def _steps(problem: Problem) -> tuple[str, ...]:
    constants = r"\Lambda \hat b + \mu" if problem.input_bias else r"\mu"
    transposed = rf"({constants})^{{\top}}" if problem.input_bias else r"\mu^{\top}"
    hat = r", $\nabla_{\hat b} = \Lambda \tilde W^{\top} g$" if problem.input_bias else ""
    return (
        rf"On the data $\tilde W \sigma(\hat W h + \hat b) = \tilde W \Lambda \hat W h + \tilde W ({constants})$: the pre-activations of the layer, and with them the adjoints "
        r"behind it, are those of the shallower network; so are the adjoints before it, $\hat W^{\top} \Lambda \tilde W^{\top} \delta = W^{\top} \delta$."
        if problem.input_bias
        else r"On the data $\tilde W \sigma(\hat W h) = \tilde W \Lambda \hat W h + \tilde W \mu$: the pre-activations of the layer, and with them the adjoints behind it, are those "
        r"of the shallower network; so are the adjoints before it, $\hat W^{\top} \Lambda \tilde W^{\top} \delta = W^{\top} \delta$.",
        rf"With $G = \nabla_W R$ and $g = \sum_i \delta_i$: $\nabla_{{\tilde W}} = G \hat W^{{\top}} \Lambda + g {transposed}$, $\nabla_{{\hat W}} = \Lambda \tilde W^{{\top}} G${hat}; "
        r"at a critical point $G = 0$, and $g = \nabla_b R = 0$ where the layer has a bias.",
        r"Where $\sigma$ is affine around all $\hat z_{ij}$ the risk is $R \circ \pi$ with the polynomial map $\pi$ to $(W, b)$ above, so $\hat H = D\pi^{\top} H\, D\pi$ at a critical point.",
        r"$D\pi$ is onto if and only if $\Lambda \hat W$ has rank $m_{\mathrm{in}}$ or $\tilde W \Lambda$ rank $m_{\mathrm{out}}$: the image of $(X, Y) \mapsto X \Lambda \hat W + \tilde W \Lambda Y$ "
        r"has codimension $(m_{\mathrm{in}} - \operatorname{rank} \Lambda \hat W)(m_{\mathrm{out}} - \operatorname{rank} \tilde W \Lambda)$. Then the kernel of $D\pi$ adds its dimension to $n_0$ and nothing else.",
        r"Where it is not onto, the inertia is that of $H$ on the image of $D\pi$, with zeros: $n_+$ and $n_-$ may then decrease.",
        r"The conditions on $\hat z_{ij}$ are one for each sample and unit: more data leave fewer lifted points.",
    )
