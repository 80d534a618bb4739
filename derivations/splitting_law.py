r"""Inertia added by splitting one neuron of a two-layer network into K copies.

With :math:`\tilde x_i = (x_i, 1)` (the 1 where there is an input bias), output scale s and
:math:`r_i = \partial R / \partial f_i` (the factor and 1/n of the risk are inside), neuron k has

.. math::
    V_k = s \sum_i \sigma'(z_{ik})\, \tilde x_i r_i^\top, \qquad
    U_k = s \sum_i (a_k^\top r_i)\, \sigma''(z_{ik})\, \tilde x_i \tilde x_i^\top .

Copies j = 1..K with output weights :math:`\gamma_j a_k`, :math:`\sum_j \gamma_j = 1`, and the input weights of neuron k
have a Hessian congruent to :math:`H \oplus B`, where on
:math:`\{\sum_j \varepsilon_j = 0\} \times \{\sum_j \gamma_j \zeta_j = 0\}`

.. math::
    B = \sum_j \gamma_j \zeta_j^\top U_k \zeta_j + 2 \sum_j \varepsilon_j^\top V_k^\top \zeta_j .

This is proved here for symbolic K, m, n, d (and o) and general sigma, at every parameter.

>>> from derivations.problem import Problem
>>> set(splitting_law_residuals(Problem.two_layer()).values())
{0}
>>> problem = Problem.two_layer(input_bias=True)
>>> print(curvature_expressions(problem)["V_b"][0])
Sum[_n1](r[_n1]*sigma'(z[_n1, k]))
"""

from __future__ import annotations

from sympy import Expr, Integer, S, latex

from derivations.canonical import residual
from derivations.claim import Status
from derivations.generic import GenericFunction
from derivations.hidden_layer import hidden_layers
from derivations.indexed import Dim, Index, Tensor, fresh, isum, replace_index, replace_leaves
from derivations.problem import Problem, m
from derivations.statement import Statement
from derivations.system import occurrences

__all__ = ["COPIES", "curvature_expressions", "splitting_law", "splitting_law_residuals"]

#: Number K of copies.
COPIES = Dim("K")

_SOURCE = "zhang2022hierarchical"


def curvature_expressions(problem: Problem, layer: int = 1) -> dict[str, tuple[Expr, tuple[Index, ...]]]:
    r"""Return the blocks of V_k and U_k with their free indices, over the definitions of ``problem.derived``.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep.
    layer : int
        Number of the hidden layer.

    Returns
    -------
    dict
        ``V_w`` (k, l[, c]), ``V_b`` (k[, c]), ``U_ww`` (k, l, l'), ``U_wb`` (k, l), ``U_bb`` (k); the entries with b
        only where there is an input bias.  Each value is what ``CompiledSystem.evaluate`` takes.

    Raises
    ------
    ValueError
        If the problem has no such layer.
    """
    return _Split(problem, layer).curvature()


def splitting_law_residuals(problem: Problem, layer: int = 1) -> dict[str, Expr]:
    r"""Return four differences in canonical form; four zeros prove the congruence to :math:`H \oplus B`.

    Along the curve :math:`(\gamma_j a + t\,\delta a_j,\; w + t\,\delta w_j)` with
    :math:`\delta a_j = \gamma_j\,\delta A + \varepsilon_j`, :math:`\delta w_j = \delta W + \zeta_j` (biases alike), the
    K copies together are compared with the single neuron on the curve :math:`(a + t\,\delta A,\; w + t\,\delta W)`,
    while everything before the layer moves as well.  The input weights enter through
    :math:`P_i = \delta W^\top \tilde x_i + w^\top \delta x_i`, :math:`p_{ij} = \zeta_j^\top \tilde x_i` and, to second order,
    through :math:`Q_i` and :math:`q_{ij} = \zeta_j^\top \delta x_i`:

    ``outputs``
        their sums at t = 0;
    ``first order``
        their derivatives at t = 0, so that the term of H with :math:`\ell''` is the same;
    ``second order``
        the difference of their second derivatives minus
        :math:`\sum_j (2 \varepsilon_j \sigma' p_{ij} + \gamma_j a\, \sigma'' p_{ij}^2)`;
    ``form``
        that sum, times s r and summed over the samples, minus B; for every gamma, epsilon and zeta.

    The side conditions hold by construction: :math:`\gamma_j = g_j + (1 - \sum_q g_q)/K`,
    :math:`\varepsilon_j = e_j - \frac1K \sum_q e_q`, :math:`p_{ij} = h_{ij} - \sum_q \gamma_q h_{iq}`, with g, e, h free.
    """
    split, copy, t = _Split(problem, layer), Index("j", COPIES), Tensor("t")
    gamma, push = _gamma(copy), _epsilon(copy, split.out)
    turn = _zeta(split.sample, copy, "h")
    bend = _zeta(split.sample, copy, "h2") if layer > 1 else S.Zero  # nothing moves before the first layer
    difference = isum(split.neuron(t, gamma, push, turn, bend), copy) - split.neuron(
        t, S.One, S.Zero, S.Zero, S.Zero
    )
    surplus = isum(split.surplus(gamma, push, turn), copy)
    second = _at_zero(_along(_along(difference, t), t), t)
    return {
        "outputs": residual(_at_zero(difference, t)),
        "first order": residual(_at_zero(_along(difference, t), t)),
        "second order": residual(second - surplus),
        "form": residual(split.form(copy)),
    }


class _Split:
    """Neuron s of a hidden layer: its weights, what enters it, and the adjoint of what it is added to."""

    def __init__(self, problem: Problem, layer: int) -> None:
        _check(problem, layer)
        self.problem, self.layer = problem, hidden_layers(problem)[layer - 1]
        self.sample = problem.system.formals(problem.output)[0]
        width = self.layer.width
        self.some, self.k = Index("s", width), Index("k", width)
        _, self.out = self.layer.entry(self.layer.outgoing, self.some)
        _, (self.column,) = self.layer.entry(self.layer.incoming, self.some)
        self.gain = self.layer.gain(problem)

    def weight(self, neuron: Index) -> Expr:
        return self.layer.entry(self.layer.outgoing, neuron)[0]

    def z(self, neuron: Index) -> Expr:
        return self.layer.z[self.sample, neuron]

    def entering(self, l: Index) -> Expr:
        """Return what enters the layer: an input, or the output of a neuron of the layer before."""
        if self.layer.number == 1:
            return self.problem.x[self.sample, l]
        return GenericFunction(
            "sigma", (0,), hidden_layers(self.problem)[self.layer.number - 2].z[self.sample, l]
        )

    @property
    def behind(self) -> Expr:
        """Adjoint of the sum to which the neuron contributes."""
        if self.layer.is_last(self.problem):
            return Tensor("r", self.problem.output.dims)[(self.sample, *self.out)]
        return hidden_layers(self.problem)[self.layer.number].delta[(self.sample, *self.out)]

    def curvature(self) -> dict[str, tuple[Expr, tuple[Index, ...]]]:
        k, l, s, sample, out = self.k, self.column, self.gain, self.sample, self.out
        l2 = Index(f"{l.name}'", l.dim)
        first, second = (GenericFunction("sigma", (order,), self.z(k)) for order in (1, 2))
        second *= isum(self.weight(k) * self.behind, *out)
        x, r = self.entering, self.behind
        found: dict[str, tuple[Expr, tuple[Index, ...]]] = {
            "V_w": (s * isum(first * x(l) * r, sample), (k, l, *out)),
            "U_ww": (s * isum(second * x(l) * x(l2), sample), (k, l, l2)),
        }
        if self.problem.input_bias:
            found["V_b"] = (s * isum(first * r, sample), (k, *out))
            found["U_wb"] = (s * isum(second * x(l), sample), (k, l))
            found["U_bb"] = (s * isum(second, sample), (k,))
        return found

    def neuron(self, t: Tensor, gamma: Expr, push: Expr, turn: Expr, bend: Expr) -> Expr:
        """Return the contribution (over s) of the neuron, or of one copy of it, on the curve with parameter t."""
        moved = Tensor("dA", tuple(u.dim for u in self.out))
        turned = Tensor("P", (self.sample.dim,))[self.sample]
        bent = Tensor("Q", (self.sample.dim,))[self.sample] if self.layer.number > 1 else S.Zero
        step = gamma * (moved[self.out] if self.out else moved()) + push
        z = self.z(self.some) + t() * (turned + turn) + t() ** 2 * (bent + bend)
        return (gamma * self.weight(self.some) + t() * step) * GenericFunction("sigma", (0,), z)

    def surplus(self, gamma: Expr, push: Expr, turn: Expr) -> Expr:
        first, second = (GenericFunction("sigma", (order,), self.z(self.some)) for order in (1, 2))
        return 2 * push * first * turn + gamma * self.weight(self.some) * second * turn**2

    def form(self, copy: Index) -> Expr:
        """Return sum_i s r_i (surplus with p = zeta . x~) minus B; gamma, epsilon and zeta are free leaves."""
        blocks, l, out = curvature_expressions(self.problem, self.layer.number), self.column, self.out
        l2 = Index(f"{l.name}'", l.dim)
        zeta, gamma = Tensor("zeta", (COPIES, l.dim)), Tensor("gamma", (COPIES,))[copy]
        push = Tensor("epsilon", (COPIES, *(u.dim for u in out)))[(copy, *out)]
        total = isum(gamma * zeta[copy, l] * zeta[copy, l2] * blocks["U_ww"][0], copy, l, l2)
        total += 2 * isum(push * zeta[copy, l] * blocks["V_w"][0], copy, l, *out)
        turn = isum(zeta[copy, l] * self.entering(l), l)
        if self.problem.input_bias:
            tilt = Tensor("zeta_b", (COPIES,))[copy]
            total += isum(2 * gamma * tilt * zeta[copy, l] * blocks["U_wb"][0], copy, l)
            total += isum(gamma * tilt**2 * blocks["U_bb"][0], copy)
            total += 2 * isum(push * tilt * blocks["V_b"][0], copy, *out)
            turn += tilt
        total = replace_index(total, self.k, self.some)
        surplus = self.surplus(gamma, push, turn)
        return isum(self.gain * self.behind * surplus, self.sample, *out, copy) - total


def _gamma(copy: Index) -> Expr:
    g, q = Tensor("g", (COPIES,)), fresh(copy)
    return g[copy] + (1 - isum(g[q], q)) / COPIES


def _epsilon(copy: Index, out: tuple[Index, ...]) -> Expr:
    e, q = Tensor("e", (COPIES, *(u.dim for u in out))), fresh(copy)
    return e[(copy, *out)] - isum(e[(q, *out)], q) / COPIES


def _zeta(sample: Index, copy: Index, letter: str) -> Expr:
    h, q = Tensor(letter, (sample.dim, COPIES)), fresh(copy)
    return h[sample, copy] - isum(_gamma(q) * h[sample, q], q)


def _along(expr: Expr, t: Tensor) -> Expr:
    """Return the derivative in the scalar leaf t."""
    total: Expr = Integer(0)
    for entry, cofactor, opened in occurrences(expr):
        if entry.tensor == t:
            total += isum(cofactor, *opened)
    return total


def _at_zero(expr: Expr, t: Tensor) -> Expr:
    return replace_leaves(expr, {t: lambda: Integer(0)})


def _check(problem: Problem, layer: int) -> None:
    if problem.kind not in ("two_layer", "deep"):
        raise ValueError(
            f"the splitting law is stated for two-layer and deep networks, got a {problem.kind} model"
        )
    if not 1 <= layer <= len(problem.hidden_dims):
        raise ValueError(f"there is no hidden layer {layer}; the network has {len(problem.hidden_dims)}")


def splitting_law(problem: Problem, layer: int = 1) -> Statement:
    r"""Return the law as a sentence with its derivation; PROVED where the four residuals vanish.

    Raises
    ------
    ValueError
        If there is no such layer, or weight decay (then no split of a critical point need be critical).
    """
    if problem.weight_decay != 0:
        raise ValueError(
            f"the splitting law needs a risk without weight decay, got weight decay {problem.weight_decay}; "
            "set it to 0"
        )
    residuals = splitting_law_residuals(problem, layer)
    status = Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED
    split = _Split(problem, layer)
    name = split.layer.named("inertia of a split neuron")
    return Statement(name, _sentence(problem, split), _steps(problem, split), status, residuals, _SOURCE)


def _sentence(problem: Problem, layer: _Split) -> str:
    q = latex(layer.out[0].dim) if layer.out else "1"
    more, named = "", _frozen_inputs(problem)
    if named is not None:
        more += named
    if problem.scale.has(m):
        more += r" All output weights are multiplied by $s(m)/s(m+K-1)$, the quotient of the output scales."
    if problem.activation is not None and not problem.activation.is_smooth:
        more += r" No pre-activation of a sample may lie at a kink of $\sigma$."
    split = r"Split neuron $k$ into $K$ copies with output weights $\gamma_j a_k$, $\sum_{j=1}^{K} \gamma_j = 1$. "
    if layer.layer.deep:
        split = rf"In {layer.layer.words}, {split[0].lower()}{split[1:]}"
    congruent = r"The Hessian of the wide network is congruent to $H \oplus B$"
    form = (
        r"$G = \operatorname{diag}(\gamma)|_{\gamma^{\perp}}$ has inertia "
        r"$(\#\{\gamma_j > 0\} - 1,\; \#\{\gamma_j = 0\},\; \#\{\gamma_j < 0\})$."
    )
    if not layer.layer.outgoing.trained:
        return f"{split}{congruent} with $B = G \\otimes U_k$, where {form}{more}"
    return (
        rf"{split}{congruent}, and with $\rho = \operatorname{{rank}} V_k$ the inertia $(n_+, n_0, n_-)$ of $B$ is "
        rf"$((K-1)\rho,\; (K-1)({q}-\rho),\; (K-1)\rho)$ plus that of $G \otimes U_k$ restricted to "
        rf"$\gamma^{{\perp}} \otimes \ker V_k^{{\top}}$, where {form}{more}"
    )


def _frozen_inputs(problem: Problem) -> str | None:
    """Return the sentence about frozen blocks of a neuron, None where all are trained."""
    frozen = [b.name for b in problem.blocks if b.name in ("a", "w", "b") and not b.trained]
    if not frozen:
        return None
    named = ", ".join(rf"${name}$" for name in frozen)
    of_inputs = [name for name in frozen if name != "a"]
    if not of_inputs:
        return rf" Hessians are those in the trained parameters, without {named}."
    if all(name in frozen for name in ("w", "b") if name == "w" or problem.input_bias):
        left = r"there are no rows of $V_k$, $U_k$ left, so that $\rho = 0$"
    else:
        left = r"$V_k$, $U_k$ stand for their rows and columns of trained input weights"
    return rf" Hessians are those in the trained parameters, without {named}: {left}."


def _steps(problem: Problem, layer: _Split) -> tuple[str, ...]:
    vector, s = bool(layer.out), _scale_tex(layer.gain)
    q = latex(layer.out[0].dim) if layer.out else "1"
    x = r"\tilde x_i" if problem.input_bias else "x_i"
    pull = r"(a_k^{\top} r_i)" if vector else "a_k r_i"
    outer = rf"{x} r_i^{{\top}}" if vector else rf"r_i {x}"
    push = r"\varepsilon_j^{\top} V_k^{\top} \zeta_j" if vector else r"\varepsilon_j V_k^{\top} \zeta_j"
    where = r" with $\tilde x_i = (x_i, 1)$ and $w_k$ short for $(w_k, b_k)$" if problem.input_bias else ""
    critical = (
        rf"At a critical point $V_k a_k = \nabla_{{w_k}} R = 0$, so $\rho < {q}$ where $a_k \neq 0$."
        if vector
        else r"At a critical point $V_k a_k = \nabla_{w_k} R = 0$, so $V_k = 0$ and $\rho = 0$ where $a_k \neq 0$."
    )
    if not layer.layer.outgoing.trained:
        critical = r"The output weights are frozen: $\varepsilon_j = 0$ and $\delta A = 0$, and $B$ is $G \otimes U_k$ on all $\zeta$."
    r = r"r_i = \partial R / \partial f_i"
    named: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    if layer.layer.deep:
        here, last = layer.layer, layer.layer.is_last(problem)
        if not last:
            r = rf"r_i = \delta^{{({here.number + 1})}}_i"
        enters = (
            ""
            if here.number == 1
            else rf", $x_i = \sigma(z^{{({here.number - 1})}}_i)$ for what enters the layer"
        )
        named = (
            rf"Write $a_k = {here.tex['out'] % 'k'}$, $w_k = {here.tex['in'] % 'k'}$, "
            rf"$z_{{ik}} = {here.indexed_tex('z', 'ik')}${enters}, and ${r}$ for the adjoint behind the layer.",
        )
        if here.number > 1:
            before = (
                r"Parameters before the layer move $\tilde x_i$ by $\delta x_i$: the single neuron sees all of it but "
                r"$\sum_j \gamma_j a_k \sigma'\, \zeta_j^{\top} \delta x_i$, which vanishes by the second side condition.",
            )
    return (
        *named,
        rf"Let ${r}$, $V_k = {s}\sum_{{i=1}}^{{n}} \sigma'(z_{{ik}})\, {outer}$ and "
        rf"$U_k = {s}\sum_{{i=1}}^{{n}} {pull}\, \sigma''(z_{{ik}})\, {x} {x}^{{\top}}${where}.",
        r"Write the displacement of copy $j$ as $\delta a_j = \gamma_j\, \delta A + \varepsilon_j$, "
        r"$\delta w_j = \delta W + \zeta_j$ with $\delta A = \sum_j \delta a_j$, $\delta W = \sum_j \gamma_j \delta w_j$; "
        r"then $\sum_j \varepsilon_j = 0$ and $\sum_j \gamma_j \zeta_j = 0$, because $\sum_j \gamma_j = 1$.",
        rf"First order: $\sum_j \bigl(\delta a_j\, \sigma + \gamma_j a_k \sigma'\, \delta w_j^{{\top}} {x}\bigr) "
        rf"= \delta A\, \sigma + a_k \sigma'\, \delta W^{{\top}} {x}$, the change of the single neuron "
        r"displaced by $(\delta A, \delta W)$.",
        rf"Second order: $\sum_j \bigl(\delta a_j\, \sigma'\, \delta w_j^{{\top}} {x} "
        rf"+ \tfrac12 \gamma_j a_k \sigma'' (\delta w_j^{{\top}} {x})^2\bigr)$ is the same term of the single neuron plus "
        rf"$\sum_j \bigl(\varepsilon_j\, \sigma'\, \zeta_j^{{\top}} {x} "
        rf"+ \tfrac12 \gamma_j a_k \sigma'' (\zeta_j^{{\top}} {x})^2\bigr)$; the mixed terms vanish by the side conditions.",
        rf"Contracted with $r_i$ and summed over $i$ the surplus is $\tfrac12 B$, "
        rf"$B = \sum_j \gamma_j \zeta_j^{{\top}} U_k \zeta_j + 2 \sum_j {push}$; the part of the Hessian with $\ell''$ "
        r"sees only the first order. Hence the congruence to $H \oplus B$, at every parameter.",
        r"On $\{\sum_j \varepsilon_j = 0\} \times \{\sum_j \gamma_j \zeta_j = 0\}$ the pairing "
        r"$\sum_j \varepsilon_j \zeta_j$ is non-degenerate, since $\varepsilon \perp \gamma^{\perp}$ means "
        r"$\varepsilon = t \gamma$, and $\sum_j \varepsilon_j = t \sum_j \gamma_j = t$ vanishes. The pairs in the range of $V_k$ are hyperbolic "
        r"planes: $(K-1)\rho$ of either sign; on what is left of the output side $B$ vanishes, and on "
        r"$\gamma^{\perp} \otimes \ker V_k^{\top}$ it is $G \otimes U_k$.",
        r"$\operatorname{diag}(\gamma)$ is $1$ on the vector $(1, \dots, 1)$, whose orthogonal complement in this form is "
        r"$\gamma^{\perp}$; so the inertia of $G$ is that of $\operatorname{diag}(\gamma)$ less one positive.",
        *before,
        critical,
    )


def _scale_tex(scale: Expr) -> str:
    if scale == 1:
        return ""
    return (rf"\left({latex(scale)}\right)" if scale.is_Add else latex(scale)) + " "
