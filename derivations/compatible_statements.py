r"""Compatible embeddings as sentences: splitting, null neurons, compositions, the whole family, and the wide Hessian.

>>> from derivations.problem import Problem
>>> [(s.name, str(s.status)) for s in compatible_statements(Problem.deep(3, "tanh"))][-2:]
[('compatible embedding', 'PROVED'), ('congruence of the wide Hessian', 'PROVED')]
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, S

from derivations.canonical import residual
from derivations.claim import Status
from derivations.compatible_embedding import compatible_duality, compatible_residuals, compatible_tangents
from derivations.embedding import ALPHA
from derivations.generic import GenericFunction
from derivations.grouped_network import Layer, layers
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.indexed import Tensor, entries, isum, replace_leaves
from derivations.problem import Problem, m
from derivations.statement import Statement
from derivations.wider_layer import wider

__all__ = ["compatible_statements"]

_SOURCE = "zhang2022hierarchical"


def compatible_statements(problem: Problem) -> list[Statement]:
    """Return the statements about compatible embeddings; those on single neurons for deep networks only.

    Two-layer networks have theirs in ``derivations.embedding`` and ``derivations.null_embedding``.

    Raises
    ------
    ValueError
        If the problem is of another kind, has weight decay, or frozen blocks.
    """
    residuals = compatible_residuals(problem)
    duality = {f"A^T B - I, {name}": value for name, value in compatible_duality(problem).items()}
    tangents = {f"tangents, {name}": value for name, value in compatible_tangents(problem).items()}
    found = []
    if problem.kind == "deep":
        for layer, hidden in zip(layers(problem), hidden_layers(problem), strict=False):
            found += [_one_split(hidden, residuals), _one_null(problem, layer, hidden, residuals)]
    both = {**residuals, **duality}
    return [
        *found,
        _composition(problem, both),
        _family(problem, {**residuals, **tangents}),
        _congruence(problem, {**both, **tangents}),
    ]


def _status(residuals: dict[str, Expr]) -> Status:
    return Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED


# -- one neuron ------------------------------------------------------------------------------------------------------


def _one_split(hidden: HiddenLayer, residuals: dict[str, Expr]) -> Statement:
    out, old = hidden.tex["out"], hidden.tex["in"] % "s"
    rest = f", {hidden.tex['bias'] % 's'}" if hidden.bias is not None else ""
    sentence = (
        rf"Copy neuron $s$ of {hidden.words}: the copy takes over $({old}{rest})$ and the outgoing weights $\alpha\, {out % 's'}$, "
        rf"and $(1 - \alpha)\, {out % 's'}$ are left, $\alpha \in \mathbb{{R}}$. Every output is kept, and critical points are "
        rf"mapped to critical points; where ${out % 's'} \neq 0$ each one gives a line of critical points of equal risk."
    )
    here = hidden.number
    steps = (
        rf"The copy has the pre-activations of neuron $s$, and the sums behind {hidden.words} are kept: so are all "
        "pre-activations, the outputs, and the adjoints behind the layer.",
        rf"In the layer the adjoints are $(1 - \alpha)\, \delta^{{({here})}}_{{is}}$ and $\alpha\, \delta^{{({here})}}_{{is}}$. Their sum "
        "goes back through equal input weights, so the adjoints before the layer are kept.",
        rf"Hence ${_nabla(old)}$ of the two are $(1 - \alpha)$ and $\alpha$ times that of neuron $s$, ${_nabla(out % 's')}$ of both is that of "
        "neuron $s$, and all other gradients are kept.",
        r"It is the compatible embedding with the shares $\beta = (1 - \alpha, \alpha)$ at neuron $s$ and $N = 0$.",
    )
    name = hidden.named("splitting embedding")
    return Statement(name, sentence, steps, _status(residuals), residuals, _SOURCE)


def _nabla(tex: str) -> str:
    return rf"\nabla_{{{tex}}} R"


def _one_null(problem: Problem, layer: Layer, hidden: HiddenLayer, residuals: dict[str, Expr]) -> Statement:
    name, behind = hidden.named("null embedding"), hidden.absorbing(problem)
    found = _null_residuals(problem, hidden)
    free = layer.nulls == "free"
    value = r"\sigma(\beta^*)" if hidden.bias is not None else r"\sigma(0)"
    gradient = (
        rf"{value}\, \nabla_{{{hidden.absorbing_tex(problem)}}} R"
        if behind is not None
        else rf"{value} \sum_i r_i"
    )
    if free:
        bias, result, why = (
            r"any bias $\beta^*$",
            "critical points are mapped to critical points",
            "which vanishes at a critical point",
        )
        result += "; each one gives a line of critical points of equal risk"
    elif layer.nulls == "fixed":
        bias, why = "no bias", "which vanishes at a critical point"
        result = "critical points are mapped to critical points"
    elif layer.nulls:
        bias = "bias $0$" if hidden.bias is not None else "no bias"
        result, why = "critical points are mapped to critical points", r"and $\sigma(0) = 0$"
    else:
        bias = r"bias $\beta^*$" if hidden.bias is not None else "no bias"
        result = rf"a critical point is mapped to a critical point if and only if ${value} \sum_i r_i = 0$ there, $r_i$ the adjoint behind the layer"
        why = "and no trained bias there makes the sum vanish"
    return Statement(
        name,
        rf"Add a neuron to {hidden.words} with zero input weights, zero outgoing weights and {bias}. Every output is kept, and {result}.",
        (
            "Its outgoing weights are $0$: nothing behind it changes, and its own adjoint is $0$, so the gradients in its input "
            "weights and bias vanish and nothing before it changes.",
            rf"The gradient in its outgoing weights is ${gradient}$, {why}.",
            *(
                (r"It is the compatible embedding with one null neuron, whose rows and columns are $0$.",)
                if layer.nulls
                else ()
            ),
        ),
        _status({**residuals, **found}),
        {**residuals, **found},
        _SOURCE,
    )


def _null_residuals(problem: Problem, hidden: HiddenLayer) -> dict[str, Expr]:
    """Return the pre-activation, the adjoint and the gradients of a null neuron minus their claimed values."""
    wide = wider(problem, hidden)
    (new,) = wide.extra
    adjoints = {problem.output: Tensor("r", problem.output.dims)}
    derived, gradient = wide.system.reverse(problem.risk, list(new.values()), adjoints)
    rules: dict[Tensor, Callable[..., Expr]] = {new["out"]: lambda *at: S.Zero, new["in"]: lambda *at: S.Zero}
    if "bias" in new:
        rules[new["bias"]] = lambda: ALPHA
    start = ALPHA if "bias" in new else S.Zero
    own = next(u.tensor for u in wide.system if u.tensor.name == f"{hidden.z.name}_new1")
    behind = next(u.tensor for u in wide.system if any(e.tensor == own for e in entries(u.expr)))
    adjoint = adjoints.get(behind) or Tensor(f"bar_{behind.name}", behind.dims)
    found = {"pre-activation": replace_leaves(wide.system[own].expr, rules) - start}
    found["adjoint"] = replace_leaves(derived[Tensor(f"bar_{own.name}", own.dims)].expr, rules)
    at = derived[gradient[new["out"]]].indices
    sample = wide.system.formals(behind)[0]
    total = isum(adjoint[(sample, *at)], sample)
    there = replace_leaves(derived[gradient[new["out"]]].expr, {own: lambda i: start})
    factor = hidden.gain(problem) / wide.ratio
    found["new outgoing weights"] = there - factor * GenericFunction("sigma", (0,), start) * total
    return {f"null neuron, {name}": residual(expr) for name, expr in found.items()}


# -- many neurons ----------------------------------------------------------------------------------------------------


def _composition(problem: Problem, residuals: dict[str, Expr]) -> Statement:
    deep = problem.kind == "deep"
    total = _dimension(problem, family=False)
    added = r"$K_l$ neurons to layer $l$" if deep else "$K$ neurons"
    letters = (r"W^{(l+1)}_{\cdot k}", r"W^{(l)}_{k \cdot}", "b^{(l)}_k") if deep else ("a_k", "w_k", "b_k")
    out, into, bias = letters
    repeated = f"{into} and {bias}" if problem.input_bias else into
    repeated = " and ".join(f"${u}$" for u in repeated.split(" and "))
    nulls = any(layer.nulls for layer in layers(problem))
    null = " (null neurons keep zero weights)" if nulls else ""
    kappa = r" All output weights are multiplied by $\kappa = s(m)/s(m')$." if problem.scale.has(m) else ""
    return Statement(
        "composition of embeddings",
        rf"Compositions of splittings{' and null embeddings' if nulls else ''} that add {added} keep every output and map critical points "
        rf"to critical points. Their images of $\theta$ are the points with any numbers of copies and any real shares $\beta_j$, "
        rf"$\sum_j \beta_j = 1$, of each neuron: the copies have its {repeated}, and $\beta_j\, {out}$ for outgoing weights{null}. For fixed numbers "
        rf"of copies they form an affine space of critical points of dimension ${total}$, where the outgoing weights of the split neurons are not $0$"
        rf".{kappa}",
        (
            r"$\nabla R_2 (A_2 \theta + c_2) = B_2 \nabla R_1(\theta)$ and $\nabla R_1 (A_1 \theta + c_1) = B_1 \nabla R(\theta)$ give "
            r"$\nabla R_2 = B_2 B_1 \nabla R$ at the composed point, and $(A_2 A_1)^{\top} B_2 B_1 = A_1^{\top} B_1 = I$.",
            r"Every set of shares is reached: where $K_k \geq 2$ copies have shares that sum to $1$ one of them has $\beta_j \neq 1$; split it "
            r"off, and divide the others by $1 - \beta_j$.",
            rf"Affine equations: equal input weights{' and biases' if problem.input_bias else ''} of the copies, outgoing weights parallel "
            rf"to ${out}$, and their sum ${out}$. Outgoing weights depend on the shares linearly, input weights do not depend on them.",
        ),
        _status(residuals),
        residuals,
        "zhang2021embedding",
    )


def _dimension(problem: Problem, *, family: bool = True) -> str:
    """Return the LaTeX of the dimension of the family, or of the compositions alone."""
    deep = problem.kind == "deep"
    total = r"\sum_{l=1}^{L-1} K_l" if deep else "K"
    if deep and family:
        total += r" + \sum_{l=2}^{L-1} K_l K_{l-1}"
    bound = any(layer.nulls in ("silent", "fixed") for layer in layers(problem))
    return total + (r" - \#\{\text{null neurons without a free bias}\}" if bound else "")


def _family(problem: Problem, residuals: dict[str, Expr]) -> Statement:
    deep = problem.kind == "deep"
    nulls = [layer.nulls for layer in layers(problem) if layer.nulls]
    parts = [
        r"Let every wide neuron $i$ be a copy of a narrow neuron $I(i)$ of its layer"
        + (r", or a null neuron with constant pre-activation $\beta^*_i$" if nulls else "")
        + r", and let the copies of each neuron have shares $\beta_i$ with $\sum_{i \in I^{-1}(k)} \beta_i = 1$."
    ]
    if deep:
        parts.append(
            r"Let the weights between the copies of $i$ and the copies of $j$ be $W'_{ij} = W_{ij} \mathbf{1} \beta_j^{\top} + N_{ij}$ with "
            r"$N_{ij} \mathbf{1} = 0$, $\beta_i^{\top} N_{ij} = 0$, the biases those of the narrow neurons"
            + (
                r"; weights into null neurons with $W'_{0j} \mathbf{1} = 0$, weights out of them with $\beta_i^{\top} W'_{i0} = 0$, the constants "
                r"they feed taken out of the biases."
                if nulls
                else "."
            )
        )
    else:
        null = r"$(a', w') = (0, 0)$ at null neurons" + (
            r" with $b' = \beta^*$." if "free" in nulls else r" with $b' = 0$." if problem.input_bias else "."
        )
        copied = r"(w'_i, b'_i) = (w_{I(i)}, b_{I(i)})" if problem.input_bias else r"w'_i = w_{I(i)}"
        parts.append(rf"Let $a'_i = \beta_i a_{{I(i)}}$ and ${copied}$" + (f", and {null}" if nulls else "."))
    if problem.scale.has(m):
        parts.append(r"All output weights are multiplied by $\kappa = s(m)/s(m')$.")
    parts.append(
        r"Then every output is kept, $\nabla R_{\mathrm{wide}} = B \nabla R(\theta)$ for every $\theta$, and critical points are mapped to critical points. "
        rf"The images of one $\theta$ form a manifold of dimension ${_dimension(problem)}$, $K{'_l' if deep else ''} = m'{'_l' if deep else ''} - m{'_l' if deep else ''}$"
        + ", where every neuron that is split has an outgoing weight that is not $0$"
        + (
            "; for fixed $(\\beta, \\beta^*)$ it is affine."
            if deep and nulls
            else "; for fixed $\\beta$ it is affine."
            if deep
            else "; it is affine."
        )
    )
    steps = [
        r"Forwards: $z'_i = z_{I(i)}$ in layer after layer, since $W'_{ij} \mathbf{1} = W_{ij} \mathbf{1}$"
        + (r" and null neurons feed constants." if nulls else "."),
        r"Backwards: $\delta'_i = \beta_i \delta_{I(i)}$, since $\beta_i^{\top} W'_{ij} = W_{ij} \beta_j^{\top}$ and the output layer has $\beta = 1$"
        + (r"; null neurons have $\delta' = 0$." if nulls else "."),
        r"Gradients: $\nabla_{W'_{ij}} = \beta_i \nabla_{W_{I(i) I(j)}}$"
        + (r", $\nabla_{b'_i} = \beta_i \nabla_{b_{I(i)}}$" if problem.input_bias else "")
        + (
            r", $0$ in the rows of null neurons, and $\beta_i\, \sigma(\beta^*_j) \nabla_{b_{I(i)}}$ in their columns"
            if "free" in nulls
            else ""
        )
        + r"; these factors are $B$.",
    ]
    if deep:
        steps += [
            r"Count: $\beta$ of layer $l$ and the constants of its null neurons have $K_l$ parameters, $N$ between layers $l-1$ and $l$ has "
            r"$K_l K_{l-1}$: $(K_i - 1)(K_j - 1)$ for $K_i$ and $K_j$ copies, and all entries of rows and columns of null neurons but one "
            r"sum for each narrow neuron.",
            r"From the last layer down, $\beta_i^{\top} W'_{ij} = W_{ij} \beta_j^{\top}$ gives $\beta_j$ back where some $W_{ij} \neq 0$, then $N$: the "
            r"parametrisation is injective, with injective derivative.",
            r"With $N_{ij}$ a multiple of $W_{ij}$ this is Definition 5.2 of the source; where $W_{ij} = 0$ the family here is larger.",
            r"The derivative of the images in $\beta$, $N$ and $\beta^*$ lies in $\ker B^{\top}$.",
        ]
    return Statement(
        "compatible embedding", " ".join(parts), tuple(steps), _status(residuals), residuals, _SOURCE
    )


def _congruence(problem: Problem, residuals: dict[str, Expr]) -> Statement:
    return Statement(
        "congruence of the wide Hessian",
        r"For every embedding $T\theta = A\theta + c$ above, and every $\theta$, $H_{\mathrm{wide}}(T\theta)$ is congruent to $H(\theta) \oplus Q$ with "
        r"$Q$ the form $H_{\mathrm{wide}}$ on $\ker B^{\top}$. So $n_+$, $n_0$ and $n_-$ do not decrease, each grows by that of $Q$, and at a "
        rf"critical point $n_0(Q)$ is at least the dimension of the embedded manifold, ${_dimension(problem)}$ where every split neuron has an outgoing "
        "weight that is not $0$.",
        (
            r"Differentiate $\nabla R_{\mathrm{wide}}(A\theta + c) = B \nabla R(\theta)$, an identity in $\theta$: $H_{\mathrm{wide}} A = B H$. "
            r"With $A^{\top} B = I$: $A^{\top} H_{\mathrm{wide}} A = H$.",
            r"$B^{\top} A = I$: the space of wide parameters is $\operatorname{im} A \oplus \ker B^{\top}$.",
            r"For $B^{\top} w = 0$: $(A v)^{\top} H_{\mathrm{wide}} w = (B H v)^{\top} w = (H v)^{\top} B^{\top} w = 0$. The two parts are orthogonal "
            r"in the form $H_{\mathrm{wide}}$: this is the congruence, and inertias add.",
            r"At a critical point the images are a manifold of critical points, its tangents are in $\ker H_{\mathrm{wide}}$, and they lie in "
            r"$\ker B^{\top}$; so they count in $n_0(Q)$.",
        ),
        _status(residuals),
        residuals,
        _SOURCE,
    )
