r"""Polynomial neurons span a space of finite dimension: more neurons than that are linearly dependent.

.. math::
    \sum_k v_k\, \sigma(\tilde w_k \cdot \tilde h)
    = \sum_j c_j \Bigl\langle \sum_k v_k\, \tilde w_k^{\otimes j},\ \tilde h^{\otimes j} \Bigr\rangle

vanishes for all h under finitely many linear conditions on v; adding :math:`v_k t` to the outgoing weights then keeps every
output.

>>> from derivations.hidden_layer import hidden_layers
>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("quadratic", input_bias=True)
>>> found = polynomial_dependence(problem, hidden_layers(problem)[0], problem.activation)
>>> found.name, str(found.status), found.dimension
('dependence of polynomial neurons', 'PROVED', m - binomial(d + 2, 2))
"""

from __future__ import annotations

from sympy import Expr, Poly, PolynomialError, S, binomial, expand, latex

from derivations.activations import Activation, Z
from derivations.canonical import residual
from derivations.claim import Status
from derivations.hidden_layer import HiddenLayer
from derivations.identity import Identity, Kind
from derivations.indexed import Index, Tensor, isum
from derivations.problem import Problem

__all__ = ["coefficients", "neuron_span", "polynomial_dependence"]

#: Powers up to this degree are written out as tensors to prove the dependence; beyond, it is the multinomial theorem.
_WRITTEN_OUT = 4


def coefficients(activation: Activation) -> tuple[Expr, ...] | None:
    """Return the coefficients of a polynomial activation from the constant term upwards, else None.

    >>> from derivations.activations import activation
    >>> coefficients(activation("1 + z**2/3")), coefficients(activation("tanh")), coefficients(activation("relu"))
    ((1, 0, 1/3), None, None)
    """
    if activation.is_smooth is not True:
        return None
    try:
        polynomial = Poly(expand(activation.expr), Z)
    except PolynomialError:
        return None
    if polynomial.free_symbols_in_domain:
        return None
    return tuple(reversed(polynomial.all_coeffs()))


def neuron_span(powers: tuple[Expr, ...], entering: Expr, *, bias: bool) -> Expr:
    r"""Return the dimension of the span of :math:`\sigma(w \cdot h + b)` over all w (and b), as functions of h.

    All polynomials of degree up to p with a bias, :math:`\binom{d + p}{p}`; without one the homogeneous polynomials of the
    degrees whose coefficient is not 0, :math:`\binom{d + j - 1}{j}` each.

    >>> from sympy import Symbol
    >>> d = Symbol("d", integer=True, positive=True)
    >>> neuron_span((0, 0, 1), d, bias=True), neuron_span((0, 0, 1), d, bias=False)
    (binomial(d + 2, 2), binomial(d + 1, 2))
    """
    if bias:
        degree = len(powers) - 1
        return binomial(entering + degree, degree)
    return sum((binomial(entering + j - 1, j) for j, c in enumerate(powers) if c != 0), S.Zero)


def polynomial_dependence(problem: Problem, layer: HiddenLayer, activation: Activation) -> Identity | None:
    """Return the dependence of the neurons of ``layer``, or None where the activation is no polynomial."""
    powers = coefficients(activation)
    if powers is None:
        return None
    degree = len(powers) - 1
    entering = problem.system.formals(layer.incoming.tensor)[1].dim
    number = neuron_span(powers, entering, bias=layer.bias is not None)
    found = {"polynomial": residual(expand(activation.expr - sum(c * Z**j for j, c in enumerate(powers))))}
    if degree <= _WRITTEN_OUT:
        found["coefficients"] = _coefficient_residual(problem, layer, powers)
    _, rest = layer.entry(layer.outgoing, Index("k", layer.width))
    outgoing: Expr = S.One
    for u in rest:
        outgoing = outgoing * u.dim
    out, z = layer.tex["out"], layer.indexed_tex("z", "ik")
    width, kind = latex(layer.width), rf"{latex(number)}"
    space = (
        rf"polynomials of degree at most ${degree}$"
        if layer.bias is not None
        else (
            "sums of homogeneous polynomials of the degrees "
            + ", ".join(f"${j}$" for j, c in enumerate(powers) if c != 0)
        )
    )
    mapped = rf"{out % 'k'} \mapsto {out % 'k'} + v_k t"
    text = (
        rf"The activation is a polynomial, so the neurons are {space} in what enters the layer, a space of dimension "
        rf"$N = {kind}$: for ${width} > N$ there are $v \neq 0$ with $\sum_k v_k \sigma({z}) = 0$ for all inputs, and "
        rf"${mapped}$ keeps every output; $N$ neurons with the same input weights as some of the old ones suffice."
    )
    steps = (
        rf"$\sum_k v_k \sigma({z})$ is a sum of $c_j \langle \sum_k v_k \tilde w_k^{{\otimes j}}, \tilde h^{{\otimes j}} \rangle$, "
        rf"$c_j$ the coefficients of $\sigma$ and $\tilde h$ what enters the layer: $N$ linear conditions on the ${width}$ numbers $v_k$.",
        "Weights of neurons outside a basis of the span are moved to the basis, after which they are silent.",
    )
    proved = all(value == 0 for value in found.values())
    return Identity(
        layer.named("dependence of polynomial neurons"),
        text,
        steps,
        Status.PROVED if proved else Status.UNDECIDED,
        found,
        "",
        map_tex=mapped,
        kind=Kind.PARTIAL,
        layer=layer.number,
        dimension=(layer.width - number) * outgoing,
        degenerate=rf"Void for ${width} \leq N$ at input weights in general position; there are more $v$ where neurons span less than $N$.",
        follows=(
            rf"affine spaces of critical points of dimension $({width} - N) \cdot {latex(outgoing)}$ (critical-equations)",
            "reduction of the width to $N$ (embedding)",
        ),
        keeps_risk=(problem.weight_decay == 0) if proved else None,
    )


def _coefficient_residual(problem: Problem, layer: HiddenLayer, powers: tuple[Expr, ...]) -> Expr:
    """Return the sum of v_k sigma(z_k) minus its expansion in tensors of v and the weights, in canonical form."""
    k, entering = Index("k", layer.width), problem.system.formals(layer.incoming.tensor)[1].dim
    v, h = Tensor("v", (layer.width,)), Tensor("h", (entering,))
    w = layer.incoming.tensor

    def pre(l: Index) -> Expr:
        return isum(w[k, l] * h[l], l) + (layer.bias.tensor[k] if layer.bias is not None else S.Zero)

    left: Expr = S.Zero
    right: Expr = S.Zero
    for j, c in enumerate(powers):
        product: Expr = S.One
        for position in range(j):
            product = product * pre(Index(f"l{position}", entering))
        left += c * isum(v[k] * product, k)
        right += c * _expanded(layer, v, h, k, j)
    return residual(left - right)


def _expanded(layer: HiddenLayer, v: Tensor, h: Tensor, k: Index, degree: int) -> Expr:
    """Return the sum over r of C(j, r) times <sum_k v_k b_k^(j - r) w_k^(r), h^(r)>, r = j alone without a bias."""
    w, total = layer.incoming.tensor, S.Zero
    for r in range(degree + 1) if layer.bias is not None else [degree]:
        names = [Index(f"p{position}", h.dims[0]) for position in range(r)]
        moment: Expr = v[k]
        outer: Expr = S.One
        for l in names:
            moment, outer = moment * w[k, l], outer * h[l]
        if layer.bias is not None:
            moment = moment * layer.bias.tensor[k] ** (degree - r)
        total += binomial(degree, r) * isum(outer * isum(moment, k), *names)
    return total
