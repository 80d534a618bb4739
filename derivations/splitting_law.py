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
from derivations.indexed import Dim, Index, Tensor, fresh, isum, replace_index, replace_leaves
from derivations.problem import Problem, m
from derivations.statement import Statement
from derivations.system import occurrences

__all__ = ["COPIES", "curvature_expressions", "splitting_law", "splitting_law_residuals"]

#: Number K of copies.
COPIES = Dim("K")

_SOURCE = "zhang2022hierarchical"


def curvature_expressions(problem: Problem) -> dict[str, tuple[Expr, tuple[Index, ...]]]:
    r"""Return the blocks of V_k and U_k with their free indices, over the definitions of ``problem.derived``.

    Parameters
    ----------
    problem : Problem
        Two-layer.

    Returns
    -------
    dict
        ``V_w`` (k, l[, c]), ``V_b`` (k[, c]), ``U_ww`` (k, l, l'), ``U_wb`` (k, l), ``U_bb`` (k); the entries with b
        only where there is an input bias.  Each value is what ``CompiledSystem.evaluate`` takes.

    Raises
    ------
    ValueError
        If the problem is not two-layer.
    """
    _check(problem)
    sample, out = _formals(problem)
    k = problem.block("a").indices[0]
    l = problem.block("w").indices[1]
    l2 = Index(f"{l.name}'", l.dim)
    z, x, s = _pre_activation(problem), problem.x, problem.scale
    r = Tensor("r", problem.output.dims)[(sample, *out)]
    first = GenericFunction("sigma", (1,), z[sample, k])
    pull = isum(problem.block("a").tensor[(k, *out)] * r, *out)
    second = pull * GenericFunction("sigma", (2,), z[sample, k])
    found: dict[str, tuple[Expr, tuple[Index, ...]]] = {
        "V_w": (s * isum(first * x[sample, l] * r, sample), (k, l, *out)),
        "U_ww": (s * isum(second * x[sample, l] * x[sample, l2], sample), (k, l, l2)),
    }
    if problem.input_bias:
        found["V_b"] = (s * isum(first * r, sample), (k, *out))
        found["U_wb"] = (s * isum(second * x[sample, l], sample), (k, l))
        found["U_bb"] = (s * isum(second, sample), (k,))
    return found


def splitting_law_residuals(problem: Problem) -> dict[str, Expr]:
    r"""Return four differences in canonical form; four zeros prove the congruence to :math:`H \oplus B`.

    Along the line :math:`(\gamma_j a + t\,\delta a_j,\; w + t\,\delta w_j)` with
    :math:`\delta a_j = \gamma_j\,\delta A + \varepsilon_j`, :math:`\delta w_j = \delta W + \zeta_j` (biases alike), the
    K copies together are compared with the single neuron on the line :math:`(a + t\,\delta A,\; w + t\,\delta W)`.
    The input weights enter through :math:`P_i = \delta W^\top \tilde x_i` and :math:`p_{ij} = \zeta_j^\top \tilde x_i`:

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
    _check(problem)
    sample, out = _formals(problem)
    some, copy, t = Index("s", problem.block("a").indices[0].dim), Index("j", COPIES), Tensor("t")
    gamma, push, turn = _gamma(copy), _epsilon(copy, out), _zeta(sample, copy)
    difference = isum(_neuron(problem, sample, out, some, t, gamma, push, turn), copy) - _neuron(
        problem, sample, out, some, t, S.One, S.Zero, S.Zero
    )
    surplus = isum(_surplus(problem, sample, out, some, gamma, push, turn), copy)
    bend = _at_zero(_along(_along(difference, t), t), t)
    return {
        "outputs": residual(_at_zero(difference, t)),
        "first order": residual(_at_zero(_along(difference, t), t)),
        "second order": residual(bend - surplus),
        "form": residual(_form(problem, some, copy)),
    }


def _neuron(
    problem: Problem,
    sample: Index,
    out: tuple[Index, ...],
    some: Index,
    t: Tensor,
    gamma: Expr,
    push: Expr,
    turn: Expr,
) -> Expr:
    """Return the contribution (over s) of the neuron, or of one copy of it, on the line with parameter t."""
    weight = problem.block("a").tensor[(some, *out)]
    moved, turned = Tensor("dA", tuple(u.dim for u in out)), Tensor("P", (sample.dim,))
    step = gamma * (moved[out] if out else moved()) + push
    z = _pre_activation(problem)[sample, some] + t() * (turned[sample] + turn)
    return (gamma * weight + t() * step) * GenericFunction("sigma", (0,), z)


def _surplus(
    problem: Problem, sample: Index, out: tuple[Index, ...], some: Index, gamma: Expr, push: Expr, turn: Expr
) -> Expr:
    z, weight = _pre_activation(problem)[sample, some], problem.block("a").tensor[(some, *out)]
    first, second = (GenericFunction("sigma", (order,), z) for order in (1, 2))
    return 2 * push * first * turn + gamma * weight * second * turn**2


def _form(problem: Problem, some: Index, copy: Index) -> Expr:
    """Return sum_i s r_i (surplus with p = zeta . x~) minus B; gamma, epsilon and zeta are free leaves."""
    blocks, (sample, out) = curvature_expressions(problem), _formals(problem)
    l = problem.block("w").indices[1]
    l2 = Index(f"{l.name}'", l.dim)
    zeta, gamma = Tensor("zeta", (COPIES, l.dim)), Tensor("gamma", (COPIES,))[copy]
    push = Tensor("epsilon", (COPIES, *(u.dim for u in out)))[(copy, *out)]
    total = isum(gamma * zeta[copy, l] * zeta[copy, l2] * blocks["U_ww"][0], copy, l, l2)
    total += 2 * isum(push * zeta[copy, l] * blocks["V_w"][0], copy, l, *out)
    turn = isum(zeta[copy, l] * problem.x[sample, l], l)
    if problem.input_bias:
        tilt = Tensor("zeta_b", (COPIES,))[copy]
        total += isum(2 * gamma * tilt * zeta[copy, l] * blocks["U_wb"][0], copy, l)
        total += isum(gamma * tilt**2 * blocks["U_bb"][0], copy)
        total += 2 * isum(push * tilt * blocks["V_b"][0], copy, *out)
        turn += tilt
    total = replace_index(total, problem.block("a").indices[0], some)
    r = Tensor("r", problem.output.dims)[(sample, *out)]
    surplus = _surplus(problem, sample, out, some, gamma, push, turn)
    return isum(problem.scale * r * surplus, sample, *out, copy) - total


def _gamma(copy: Index) -> Expr:
    g, q = Tensor("g", (COPIES,)), fresh(copy)
    return g[copy] + (1 - isum(g[q], q)) / COPIES


def _epsilon(copy: Index, out: tuple[Index, ...]) -> Expr:
    e, q = Tensor("e", (COPIES, *(u.dim for u in out))), fresh(copy)
    return e[(copy, *out)] - isum(e[(q, *out)], q) / COPIES


def _zeta(sample: Index, copy: Index) -> Expr:
    h, q = Tensor("h", (sample.dim, COPIES)), fresh(copy)
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


def _formals(problem: Problem) -> tuple[Index, tuple[Index, ...]]:
    sample, *out = problem.system.formals(problem.output)
    return sample, tuple(out)


def _pre_activation(problem: Problem) -> Tensor:
    return next(definition.tensor for definition in problem.system if definition.tensor.name == "z")


def _check(problem: Problem) -> None:
    if problem.kind != "two_layer":
        raise ValueError(f"the splitting law is stated for two-layer networks, got a {problem.kind} network")


def splitting_law(problem: Problem) -> Statement:
    r"""Return the law as a sentence with its derivation; PROVED where the four residuals vanish.

    Raises
    ------
    ValueError
        If the problem is not two-layer, or has weight decay (then no split of a critical point need be critical).
    """
    if problem.weight_decay != 0:
        raise ValueError(
            f"the splitting law needs a risk without weight decay, got weight decay {problem.weight_decay}; "
            "set it to 0"
        )
    residuals = splitting_law_residuals(problem)
    status = Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED
    return Statement(
        "inertia of a split neuron", _sentence(problem), _steps(problem), status, residuals, _SOURCE
    )


def _sentence(problem: Problem) -> str:
    q = "o" if problem.vector_output else "1"
    more, named = "", _frozen_inputs(problem)
    if named is not None:
        more += named
    if problem.scale.has(m):
        more += r" All output weights are multiplied by $s(m)/s(m+K-1)$, the quotient of the output scales."
    if problem.activation is not None and not problem.activation.is_smooth:
        more += r" No pre-activation of a sample may lie at a kink of $\sigma$."
    split = r"Split neuron $k$ into $K$ copies with output weights $\gamma_j a_k$, $\sum_{j=1}^{K} \gamma_j = 1$. "
    congruent = r"The Hessian of the wide network is congruent to $H \oplus B$"
    form = (
        r"$G = \operatorname{diag}(\gamma)|_{\gamma^{\perp}}$ has inertia "
        r"$(\#\{\gamma_j > 0\} - 1,\; \#\{\gamma_j = 0\},\; \#\{\gamma_j < 0\})$."
    )
    if not problem.block("a").trained:
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


def _steps(problem: Problem) -> tuple[str, ...]:
    vector, s = problem.vector_output, _scale_tex(problem)
    x = r"\tilde x_i" if problem.input_bias else "x_i"
    pull = r"(a_k^{\top} r_i)" if vector else "a_k r_i"
    outer = rf"{x} r_i^{{\top}}" if vector else rf"r_i {x}"
    push = r"\varepsilon_j^{\top} V_k^{\top} \zeta_j" if vector else r"\varepsilon_j V_k^{\top} \zeta_j"
    where = r" with $\tilde x_i = (x_i, 1)$ and $w_k$ short for $(w_k, b_k)$" if problem.input_bias else ""
    critical = (
        r"At a critical point $V_k a_k = \nabla_{w_k} R = 0$, so $\rho < o$ where $a_k \neq 0$."
        if vector
        else r"At a critical point $V_k a_k = \nabla_{w_k} R = 0$, so $V_k = 0$ and $\rho = 0$ where $a_k \neq 0$."
    )
    if not problem.block("a").trained:
        critical = r"The output weights are frozen: $\varepsilon_j = 0$ and $\delta A = 0$, and $B$ is $G \otimes U_k$ on all $\zeta$."
    return (
        rf"Let $r_i = \partial R / \partial f_i$, $V_k = {s}\sum_{{i=1}}^{{n}} \sigma'(z_{{ik}})\, {outer}$ and "
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
        critical,
    )


def _scale_tex(problem: Problem) -> str:
    scale = problem.scale
    if scale == 1:
        return ""
    return (rf"\left({latex(scale)}\right)" if scale.is_Add else latex(scale)) + " "
