r"""Embeddings that exist for special activations: splittings followed by symmetries, and dependent polynomial neurons.

A symmetry :math:`S\theta' = M\theta' + c'` of the wide network keeps every output, so :math:`R \circ S = R`,

.. math:: \nabla R(S\theta') = M^{-\top} \nabla R(\theta'), \qquad H(S\theta') = M^{-\top} H(\theta') M^{-1} :

after an embedding with A and B it gives one with MA and :math:`M^{-\top} B`, and a congruent Hessian.  Signs of odd and even,
scales of homogeneous and shifts of exponential activations act on one copy at a time.

For a polynomial activation neurons are linearly dependent, which keeps outputs; criticality needs a condition, which a quadratic
activation meets on the span of the neurons.

>>> from derivations.problem import Problem
>>> [(s.name, str(s.status)) for s in special_embeddings(Problem.two_layer("relu"))]
[('rescaled splitting', 'PROVED')]
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, S, Symbol, latex

from derivations.activations import Z
from derivations.canonical import residual
from derivations.claim import Status
from derivations.compatible_embedding import compatible_residuals
from derivations.decide import identically_zero
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.indexed import Dim, Index, Tensor, isum, replace_leaves
from derivations.polynomial_neurons import coefficients
from derivations.problem import Problem, n
from derivations.statement import Statement
from derivations.symmetry import Symmetry, symmetries

__all__ = ["quadratic_residuals", "special_embeddings"]

_SOURCE = "zhang2022hierarchical"
_CENTRE, _CURVATURE, _CONSTANT = Symbol("h", real=True), Symbol("c_2", real=True), Symbol("c_0", real=True)


def special_embeddings(problem: Problem) -> list[Statement]:
    """Return the embeddings that the activation of ``problem`` has beyond the compatible ones; none for a general sigma.

    Raises
    ------
    ValueError
        If the problem is neither two-layer nor deep, has weight decay or frozen blocks.
    """
    if problem.activation is None:
        return []
    plain = compatible_residuals(problem)
    known = {s.name: s for s in symmetries(problem) if s.proved}
    found = []
    for layer in hidden_layers(problem):
        for name, sentence in _AFTER.items():
            if layer.named(name) in known:
                found.append(sentence(problem, layer, known[layer.named(name)], plain))
        powers = coefficients(problem.activation)
        if powers is not None:
            found.append(_dependence(problem, layer))
            span = _quadratic(problem, layer, powers)
            found += [span] if span is not None else []
    return found


def _status(residuals: dict[str, Expr]) -> Status:
    return Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED


def _statement(
    layer: HiddenLayer,
    name: str,
    text: str,
    steps: tuple[str, ...],
    residuals: dict[str, Expr],
    source: str = _SOURCE,
) -> Statement:
    here = f"In {layer.words}: " if layer.deep else ""
    return Statement(layer.named(name), here + text, steps, _status(residuals), residuals, source)


_CONGRUENT = (
    r"A splitting followed by the symmetry $S$ of the wide network at its copies: $R \circ S = R$, so gradients are multiplied by "
    r"$M^{-\top}$, $M = DS$, and the Hessian is $M^{-\top} H_{\mathrm{wide}} M^{-1}$: critical points stay critical, and the inertia is that of the splitting."
)


# -- symmetries of one neuron ----------------------------------------------------------------------------------------


def _sign(problem: Problem, layer: HiddenLayer, symmetry: Symmetry, plain: dict[str, Expr]) -> Statement:
    assert problem.activation is not None  # it has the symmetry
    even = problem.activation.parity.sign == 1
    constant = problem.activation.parity.sign == 0
    copies = layer.neuron_tex(
        "k",
        {
            "out": r"\gamma_j " if even else r"\varepsilon_j \gamma_j ",
            "in": r"\varepsilon_j ",
            "bias": r"\varepsilon_j ",
        },
    )
    absorbed = ""
    if constant:
        letter = layer.absorbing_tex(problem)
        gain = 2 * problem.activation.value_at_zero * layer.gain(problem)
        size = "" if gain == 1 else latex(gain) + " "
        absorbed = rf", and ${letter}$ takes up ${size}\gamma_j {layer.tex['out'] % 'k'}$ for each $\varepsilon_j = -1$"
    text = (
        rf"Replace neuron $k$ by the copies ${copies}$, $j = 1, \dots, K$, with $\sum_j \gamma_j = 1$ and signs $\varepsilon_j = \pm 1${absorbed}. "
        r"Every output is kept, and critical points are mapped to critical points: for each choice of signs an affine space of dimension $K - 1$, "
        rf"$2^K$ of them where the input weights of neuron $k$ {'and its bias ' if layer.bias is not None else ''}are not all $0$, with the inertia of the splitting."
    )
    steps = (symmetry.statement, _CONGRUENT)
    return _statement(layer, "sign-flipped splitting", text, steps, {**plain, **symmetry.residuals})


def _scaling(problem: Problem, layer: HiddenLayer, symmetry: Symmetry, plain: dict[str, Expr]) -> Statement:
    sigma = problem.activation
    assert sigma is not None
    assert sigma.homogeneity_degree is not None  # it has the symmetry
    degree = sigma.homogeneity_degree
    # Off the kink: the law of Euler for the first derivative, which is homogeneous of one degree less.
    euler = identically_zero(Z * sigma.derivative(2) - (degree - 1) * sigma.derivative(1), Z)
    residuals = {**plain, **symmetry.residuals}
    if not euler.proved:
        residuals["law of Euler for the derivative"] = euler.difference
    factor = "" if degree == 2 else latex(degree - 1) + r"\, "
    flat = (
        r"$\sigma'' = 0$ off the kinks: $U_k = 0$, and where $V_k = 0$ a split adds zeros only."
        if degree == 1
        else rf"$z \sigma''(z) = {factor}\sigma'(z)$ gives $U_k w_k = {factor}V_k a_k$, which vanishes at a critical point: along its own input "
        "weights (and bias) no copy is curved."
    ) + ("" if sigma.is_smooth else " No pre-activation of a sample may lie at a kink.")
    power = "" if degree == 1 else rf"^{{{latex(degree)}}}"
    copies = layer.neuron_tex(
        "k", {"out": rf"\gamma_j \lambda_j^{{{latex(-degree)}}} ", "in": r"\lambda_j ", "bias": r"\lambda_j "}
    )
    out, into = layer.tex["out"], layer.tex["in"]
    parallel = rf"({into % 'j'}, {layer.tex['bias'] % 'j'})" if layer.bias is not None else into % "j"
    text = (
        rf"Replace neuron $k$ by the copies ${copies}$, $j = 1, \dots, K$, with $\sum_j \gamma_j = 1$ and $\lambda_j > 0$. Every output is kept, and "
        r"critical points are mapped to critical points, with the inertia of the splitting. Where the weights into and out of neuron $k$ do not vanish the "
        r"images are a manifold of dimension $2K - 1$, the orbit of neuron $k$ itself included, which is not affine; $2K - 2$ zero eigenvalues at least are new."
    )
    steps = (
        symmetry.statement,
        _CONGRUENT,
        rf"Equations: ${parallel}$ is a positive multiple $\lambda_j$ of that of neuron $k$, ${out % 'j'}$ is parallel to ${out % 'k'}$, and "
        rf"$\sum_j \lambda_j{power}\, {out % 'j'} = {out % 'k'}$.",
        flat,
    )
    return _statement(layer, "rescaled splitting", text, steps, residuals)


def _shift(problem: Problem, layer: HiddenLayer, symmetry: Symmetry, plain: dict[str, Expr]) -> Statement:
    sigma = problem.activation
    assert sigma is not None  # it has the symmetry
    rate = sigma.shift_rate.value
    residuals = {**plain, **symmetry.residuals}
    if rate is None:
        text = (
            r"Splitting, followed by the shifts of the biases of single copies that the activation allows, keeps every output and maps critical points to "
            r"critical points: for each choice of shifts an affine space of the dimension of the splitting, infinitely many of them, with the same inertia."
        )
        return _statement(layer, "shifted splitting", text, (symmetry.statement, _CONGRUENT), residuals)
    power = latex(rate) if rate != 1 else ""
    copies = layer.neuron_tex("k", {"out": rf"\gamma_j e^{{-{power}\tau_j}} ", "bias": r"{} + \tau_j"})
    out, bias = layer.tex["out"], layer.tex["bias"]
    text = (
        rf"Replace neuron $k$ by the copies ${copies}$, $j = 1, \dots, K$, with $\sum_j \gamma_j = 1$ and $\tau_j \in \mathbb{{R}}$. Every output is kept, and "
        r"critical points are mapped to critical points, with the inertia of the splitting: a manifold of dimension $2K - 1$ where the outgoing weights of neuron "
        r"$k$ do not vanish, the orbit of neuron $k$ included."
    )
    steps = (
        symmetry.statement,
        _CONGRUENT,
        rf"Equations: equal input weights, parallel outgoing weights, $\sum_j e^{{{power}{bias % 'j'}}} {out % 'j'} = e^{{{power}{bias % 'k'}}} {out % 'k'}$.",
    )
    return _statement(layer, "shifted splitting", text, steps, residuals)


_AFTER: dict[str, Callable[[Problem, HiddenLayer, Symmetry, dict[str, Expr]], Statement]] = {
    "sign of a neuron": _sign,
    "scaling of a neuron": _scaling,
    "shift of a neuron": _shift,
}


# -- polynomial activations ------------------------------------------------------------------------------------------


def _dependence(problem: Problem, layer: HiddenLayer) -> Statement:
    """Return when a linear dependence of polynomial neurons leads from a critical point to critical points."""
    residuals = _dependence_residuals(problem, layer)
    out = layer.tex["out"]
    text = (
        rf"The activation is a polynomial: new neurons with any input weights and ${out % 'j'} = 0$ can be found so that $\sum_j v_j \sigma(z_j) = 0$ for all "
        rf"inputs with $v \neq 0$, the sum over old and new neurons. Then ${out % 'j'} \mapsto {out % 'j'} + v_j t$ keeps every output. From a critical point it "
        r"leads to a critical point if and only if $\sum_i r_i \sigma(z_{ij}) = 0$ at every new neuron, and $V_j t = 0$ wherever $v_j \neq 0$, with $r_i$ the adjoint "
        r"behind the layer and $V_j = \sum_i \sigma'(z_{ij})\, \tilde x_i r_i^{\top}$."
    )
    steps = (
        r"Gradients in outgoing weights contain $r_i$ and $\sigma(z_{ij})$ only and are kept; those in input weights grow by $v_j V_j t$ (times the output scale).",
        r"$\sum_j v_j \sigma(w_j \cdot h + b_j) = 0$ for all $h$; its derivative in $h$ says that the adjoints before the layer are kept.",
        r"The points reached this way are affine in $t$ for fixed input weights. Whether the conditions hold depends on the data.",
    )
    return _statement(layer, "embedding by dependent neurons", text, steps, residuals, "")


def _dependence_residuals(problem: Problem, layer: HiddenLayer) -> dict[str, Expr]:
    """Return the change of the gradient in a under a -> a + v t, and that of the adjoints less those of v t alone."""
    _, rest = layer.entry(layer.outgoing, Index("k", layer.width))
    v, t = Tensor("v", (layer.width,)), Tensor("t", tuple(u.dim for u in rest))
    slot, out = layer.slot(layer.outgoing), layer.outgoing.tensor

    def moved(*at: Expr) -> Expr:
        others = (*at[:slot], *at[slot + 1 :])
        return out[at] + v[at[slot]] * (t[others] if others else t())

    def only(*at: Expr) -> Expr:
        others = (*at[:slot], *at[slot + 1 :])
        return v[at[slot]] * (t[others] if others else t())

    delta = problem.derived[layer.delta]
    change = replace_leaves(delta.expr, {out: moved}) - delta.expr - replace_leaves(delta.expr, {out: only})
    gradient = problem.derived[problem.gradient[layer.outgoing.name]].expr
    return {
        "outgoing weights": residual(replace_leaves(gradient, {out: moved}) - gradient),
        "adjoints of the layer": residual(change),
    }


def quadratic_residuals(*, bias: bool) -> dict[str, Expr]:
    r"""Return what a neuron with :math:`v' = \sum_k \mu_k v_k`, :math:`v = (w, b + h)`, has in common with the others; 0 is a proof.

    For :math:`\sigma(z) = c_2 (z + h)^2 + c_0`, inputs x of the layer and a scalar adjoint r, let
    :math:`g_k = \sum_i r_i \sigma'(z_{ik}) \tilde x_i`, so that :math:`\nabla_{\tilde w_k} R = a_k g_k`:

    ``input weights``, ``bias``
        :math:`\sum_i r_i \sigma'(z'_i) \tilde x_i - \sum_k \mu_k g_k`;
    ``outgoing weight``
        :math:`\sum_i r_i \sigma(z'_i) - \tfrac12 \sum_k \mu_k v' \cdot g_k - c_0 \sum_i r_i`.
    """
    width, entering = Dim("m"), Dim("d")
    i, k, l = Index("i", n), Index("k", width), Index("l", entering)
    x, r, w, b, mu = (
        Tensor("x", (n, entering)),
        Tensor("r", (n,)),
        Tensor("w", (width, entering)),
        Tensor("b", (width,)),
        Tensor("mu", (width,)),
    )
    centre = _CENTRE if bias else S.Zero
    shifted = b[k] + centre if bias else S.Zero
    lifted = isum(w[k, l] * x[i, l], l) + shifted
    new = isum(mu[k] * lifted, k)
    slope = 2 * _CURVATURE

    def g(column: Expr) -> Expr:
        return isum(r[i] * slope * lifted * column, i)

    found = {
        "input weights": isum(r[i] * slope * new * x[i, l], i) - isum(mu[k] * g(x[i, l]), k),
    }
    q = Index("q", width)
    w_new = isum(mu[q] * w[q, l], q)
    half = isum(mu[k] * isum(w_new * g(x[i, l]), l), k) / 2
    if bias:
        found["bias"] = isum(r[i] * slope * new, i) - isum(mu[k] * g(S.One), k)
        half += isum(mu[q] * (b[q] + centre), q) * isum(mu[k] * g(S.One), k) / 2
    value = isum(r[i] * (_CURVATURE * new**2 + _CONSTANT), i)
    found["outgoing weight"] = value - half - _CONSTANT * isum(r[i], i)
    return {name: residual(expr) for name, expr in found.items()}


def _quadratic(problem: Problem, layer: HiddenLayer, powers: tuple[Expr, ...]) -> Statement | None:
    """Return the embedding into the span of the neurons of a quadratic activation, scalar behind the layer."""
    _, rest = layer.entry(layer.outgoing, Index("k", layer.width))
    biased = layer.bias is not None
    if len(powers) != 3 or rest or (powers[1] != 0 and not biased):
        return None
    centre = powers[1] / (2 * powers[2])
    constant = powers[0] - powers[2] * centre**2
    residuals = quadratic_residuals(bias=biased)
    square = powers[2] * (Z + centre) ** 2 + constant - sum(c * Z**j for j, c in enumerate(powers))
    residuals["square completed"] = residual(square.expand())
    out, into = layer.tex["out"], layer.tex["in"] % "k"
    shift = f" + {latex(centre)}" if centre != 0 else ""
    v = rf"({into}, {layer.tex['bias'] % 'k'}{shift})" if biased else into
    multiple = "" if constant == 1 else latex(constant) + r"\, "
    balance, dimension = "", r"m'(\rho + 1) - \tfrac12 \rho (\rho + 1)"
    if constant != 0 and layer.absorbing(problem) is not None:
        balance = rf"; ${layer.absorbing_tex(problem)}$ takes up the constants ${multiple}(\sum_k a_k - \sum_j a'_j)$, output scale included"
    elif constant != 0:
        balance, dimension = r" and $\sum_j a'_j = \sum_k a_k$", rf"{dimension} - 1"
    named = rf" and $a_k = {out % 'k'}$" if layer.deep else ""
    formula = latex(powers[2] * (Z + centre) ** 2 + constant)
    text = (
        rf"Let $v_k = {v}${named}, and some $a_k \neq 0$. Replace the neurons by any $m'$ neurons with $v'_j$ in the span of the $v_k$ with $a_k \neq 0$, of dimension $\rho$, and "
        rf"$\sum_j a'_j v'_j v_j^{{\prime \top}} = \sum_k a_k v_k v_k^{{\top}}${balance}. Every output is kept, and critical points are mapped to critical points. Where the $v'_j$ with "
        rf"$a'_j \neq 0$ span they form a manifold of dimension ${dimension}$, an affine space for fixed input weights."
    )
    steps = (
        rf"$\sigma(z) = {formula}$: the layer gives a quadratic form in $\tilde x$ whose matrix is a multiple of $\sum_k a_k v_k v_k^{{\top}}$"
        + (" and a constant." if constant != 0 else "."),
        r"$\nabla_{\tilde w_k} R = a_k g_k$ with $g_k$ linear in $v_k$: at a critical point $g = 0$ on the span of the $v_k$ with $a_k \neq 0$.",
        r"The gradient in the outgoing weight is $\tfrac12 v \cdot g$"
        + (
            rf" plus ${multiple}\sum_i r_i$, and both vanish at an old neuron with $a_k \neq 0$, so they vanish at a new one."
            if constant != 0
            else ", which vanishes with $g$."
        ),
        "The adjoints before the layer are the derivative of the same quadratic form, and are kept.",
    )
    return _statement(layer, "span of quadratic neurons", text, steps, residuals, "")
