r"""Which embeddings turn a critical point into a strict saddle, and which points no embedding turns.

Three copies of the whole network, the outgoing weights of the last hidden layer (W, W, -W), are a compatible embedding with
the shares (1, 1, -1).  Displacements :math:`u_1, u_2, u_1 + u_2` of the three (the sign of the last weights included) keep
the outputs to first order, and

.. math:: D^2 f[u_1, u_1] + D^2 f[u_2, u_2] - D^2 f[u_1 + u_2, u_1 + u_2] = -2\, D^2 f[u_1, u_2] ,

so that :math:`H_{wide}` is :math:`-2\, u_1^\top H^{(2)} u_2` on them, :math:`H^{(2)} = \sum_i r_i \nabla^2 f_i`: as many positive
and as many negative directions as the rank of :math:`H^{(2)}`.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Theorem 6.3 (the inequality for one eigenvector).

>>> set(three_copies_residuals(Problem.two_layer(input_bias=True)).values())
{0}
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, S

from derivations.canonical import residual
from derivations.claim import Status
from derivations.compatible_embedding import compatible_residuals
from derivations.grouped_network import layers
from derivations.hidden_layer import hidden_layers
from derivations.indexed import Index, Tensor, isum, replace_leaves
from derivations.problem import Block, Problem
from derivations.splitting_law import curvature_expressions
from derivations.statement import Statement
from derivations.system import System

__all__ = ["three_copies", "three_copies_residuals", "truly_bad", "turning"]

_SOURCE = "zhang2022hierarchical"
_Directions = dict[Tensor, Tensor]
_Rules = dict[Tensor, Callable[..., Expr]]


def _moved(problem: Problem) -> list[Block]:
    """Return the blocks of the copies: all but the output bias, which there is once."""
    last = layers(problem)[-1].bias
    return [b for b in problem.blocks if last is None or b.name != last.name]


def _directions(problem: Problem, letter: str) -> _Directions:
    return {b.tensor: Tensor(f"{letter}_{b.name}", b.tensor.dims) for b in _moved(problem)}


def _derivatives(problem: Problem, u: _Directions, v: _Directions) -> tuple[Expr, Expr]:
    """Return Df[u] and D^2 f[u, v], in the parameters and the data alone."""
    out = problem.system.formals(problem.output)
    system, dots = problem.system.tangent([problem.output], u)
    single = system.inline(dots[problem.output][out])
    moving = Tensor("Df", problem.output.dims)
    alone = System(system.declarations).define(moving, out, single)
    twice, second = alone.tangent([moving], v)
    return single, twice[second[moving]].expr


def three_copies_residuals(problem: Problem) -> dict[str, Expr]:
    r"""Return differences in canonical form; zeros prove the form :math:`-2\, u_1^\top H^{(2)} u_2`.

    ``output``
        the network without output bias, its last weights negated, plus itself: the copies add up to one;
    ``first order``, for each layer
        :math:`Df[u_1] + Df[u_2] - Df[u_1 + u_2]` where this holds of the layer before;
    ``polarisation``, for each layer
        the second derivatives of the module docstring, left minus right, where they agree in the layer before.

    Raises
    ------
    ValueError
        If the problem is neither two-layer nor deep.
    """
    chain = layers(problem)
    out = problem.system.formals(problem.output)
    last = chain[-1].block.tensor
    f = problem.system[problem.output].expr
    negated = replace_leaves(f, {last: lambda *at: -last[at]})
    bias = chain[-1].bias
    twice = S.Zero if bias is None else 2 * (bias.tensor[out[1:]] if len(out) > 1 else bias.tensor())
    found = {"output": residual(negated + f - twice)}
    u, v = _directions(problem, "u"), _directions(problem, "v")
    tangent, dots = problem.system.tangent([layer.pre for layer in chain], u)
    for layer in chain:
        before = [w.pre for w in chain if w.number < layer.number]
        moving = dots[layer.pre]
        names = {t: (dots[t], _like(t, "Z"), _like(t, "S")) for t in before}
        local = System(tuple(d for d in tangent.declarations if d.tensor not in v.values()))
        for t, (dot, _, _) in names.items():
            local = local.declare(t, tangent.formals(t)).declare(dot, tangent.formals(t))
        local = local.define(moving, tangent[moving].indices, tangent[moving].expr)
        along = {**v, **{t: z for t, (_, z, _) in names.items()}, **{dot: s for dot, _, s in names.values()}}
        twice, second = local.tangent([moving], along)
        single, double = tangent[moving].expr, twice[second[moving]].expr
        pairs = {u[leaf]: v[leaf] for leaf in u} | {dot: z for dot, z, _ in names.values()}
        found |= _polarised(f"layer {layer.number}", single, double, pairs, [s for _, _, s in names.values()])
    return found


def _like(tensor: Tensor, letter: str) -> Tensor:
    return Tensor(f"{letter}_{tensor.name}", tensor.dims)


def _polarised(
    name: str, single: Expr, double: Expr, pairs: _Directions, second: list[Tensor]
) -> dict[str, Expr]:
    """Return additivity of Df and the polarisation of D^2 f in one layer; ``pairs`` leads from u to v."""
    one: _Rules = {v: lambda *at, t=u: _at(t, at) for u, v in pairs.items()}
    other: _Rules = {u: lambda *at, t=v: _at(t, at) for u, v in pairs.items()}
    both: _Rules = {
        t: lambda *at, u=u, v=v: _at(u, at) + _at(v, at) for u, v in pairs.items() for t in (u, v)
    }
    for s in second:
        uu, vv = _like(s, "uu"), _like(s, "vv")
        one[s] = lambda *at, t=uu: _at(t, at)
        other[s] = lambda *at, t=vv: _at(t, at)
        both[s] = lambda *at, s=s, uu=uu, vv=vv: _at(uu, at) + _at(vv, at) + 2 * _at(s, at)
    added = single + replace_leaves(single, other) - replace_leaves(single, both)
    squares = replace_leaves(double, one) + replace_leaves(double, other) - replace_leaves(double, both)
    return {f"first order, {name}": residual(added), f"polarisation, {name}": residual(squares + 2 * double)}


def _at(tensor: Tensor, at: tuple[Expr, ...]) -> Expr:
    return tensor[at] if at else tensor()


def _status(residuals: dict[str, Expr]) -> Status:
    return Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED


def three_copies(problem: Problem) -> Statement:
    """Return the law of three copies of the whole network as a sentence with its derivation.

    Raises
    ------
    ValueError
        If the problem is neither two-layer nor deep, has weight decay or frozen blocks.
    """
    residuals = {**compatible_residuals(problem), **three_copies_residuals(problem)}
    two = problem.kind == "two_layer"
    last = "a" if two else r"W^{(L)}"
    but = " other than the output bias" if problem.output_bias else ""
    exact = (
        r" The inertia is that of $H$ plus $(\rho, 2(P - \rho), \rho)$, $P$ the number of these parameters."
        if two
        else r" There are further directions, those of weights between different copies."
    )
    pull = r"\sum_{i,c} r_{ic} \nabla^2 f_{ic}" if problem.vector_output else r"\sum_i r_i \nabla^2 f_i"
    return Statement(
        "three copies of the network",
        rf"Put three copies of the hidden layers side by side, with output weights $({last}, {last}, -{last})$ and no weights between "
        rf"the copies. At a critical point with $H^{{(2)}} = {pull}$, in the parameters{but}, of rank $\rho$, the "
        r"wide Hessian has $n_{\pm}(H_{\mathrm{wide}}) \geq n_{\pm}(H) + \rho$: it is a strict saddle as soon as $H^{(2)} \neq 0$."
        + exact,
        (
            r"It is the compatible embedding with the shares $\beta = (1, 1, -1)$ of every neuron, whose blocks $W'_{ij} = W_{ij} I$ have "
            r"$I \mathbf{1} = \mathbf{1}$ and $\beta^{\top} I = \beta^{\top}$.",
            r"Displace the copies by $u_1$, $u_2$ and $u_1 + u_2$ (with the sign of the output weights): this is in $\ker B^{\top}$, and the "
            r"outputs move by $Df[u_1] + Df[u_2] - Df[u_1 + u_2] = 0$ to first order.",
            r"To second order they move by $\tfrac12 (D^2 f[u_1, u_1] + D^2 f[u_2, u_2] - D^2 f[u_1 + u_2, u_1 + u_2]) = -D^2 f[u_1, u_2]$, so "
            r"$H_{\mathrm{wide}}$ is the form $-2\, u_1^{\top} H^{(2)} u_2$: $\rho$ positive and $\rho$ negative eigenvalues.",
            r"With $H^{(2)} v = \lambda v$: $-\lambda |v|^2 / 2$ at $u_1 = u_2 = v/2$, and $2 \lambda |v|^2$ at $u_1 = -u_2 = v$.",
            *((r"For a two-layer network these displacements are all of $\ker B^{\top}$.",) if two else ()),
        ),
        _status(residuals),
        residuals,
        _SOURCE,
    )


def turning(problem: Problem) -> Statement:
    r"""Return when a split of a minimum is a strict saddle, from the blocks V and U of the splitting law.

    Raises
    ------
    ValueError
        If the problem is neither two-layer nor deep.
    """
    residuals = _of_copies(problem)
    interior = len(problem.hidden_dims) > 1 or problem.vector_output
    more = (
        r" A neuron with $V_k \neq 0$, which needs more than one adjoint behind its layer, is turned by every split."
        if interior
        else ""
    )
    return Statement(
        "where a split turns a minimum into a strict saddle",
        r"Let $H \succeq 0$ at a critical point, neuron $k$ be split with shares $\gamma$, $V_k$ and $U_k$ be those of the inertia of a split "
        r"neuron, and $\bar U_k$ be $U_k$ on $\ker V_k^{\top}$. The wide point is a strict saddle if and only if one of these holds: "
        r"$V_k \neq 0$; two or more $\gamma_j > 0$, and $\bar U_k$ has a negative eigenvalue; some $\gamma_j < 0$, and $\bar U_k$ has a positive "
        rf"eigenvalue.{more}",
        (
            r"Negative eigenvalues of the wide Hessian: $n_-(H) + (K-1)\rho + n_+(G)\, n_-(\bar U_k) + n_-(G)\, n_+(\bar U_k)$, with $n_+(G) = \#\{\gamma_j > 0\} - 1$ "
            r"and $n_-(G) = \#\{\gamma_j < 0\}$; where $V_k = 0$ the form is $G \otimes U_k$.",
            r"For $K = 2$, $\gamma = (1 - \alpha, \alpha)$ and $V_k = 0$: $\gamma^{\perp}$ is spanned by $(\alpha, -(1-\alpha))$, and the block is $\alpha (1 - \alpha)\, U_k$: "
            r"$\operatorname{In}(U_k)$ for $0 < \alpha < 1$, $\operatorname{In}(-U_k)$ for $\alpha \notin [0, 1]$, zeros at $\alpha \in \{0, 1\}$.",
            r"A copy has $V_j = V_k$ and $U_j = \gamma_j U_k$: the same counts decide about its own splits.",
            r"At $\gamma_j = 0$ the wide Hessian may be positive semidefinite without a minimum: along $a_1 = a - s$, $a_2 = s$, $w_2 = w + s\zeta$, "
            r"$w_1 = w - s^2 \zeta / (a - s)$ (one output, the other parameters fixed) $R$ moves by $\tfrac{s^3}{2a}\, \zeta^{\top} U_k \zeta + O(s^4)$.",
        ),
        _status(residuals),
        residuals,
        _SOURCE,
    )


def _of_copies(problem: Problem) -> dict[str, Expr]:
    """Return V and U at a share of the outgoing weights minus V and the share of U."""
    gamma, found = Tensor("gamma"), {}
    for layer in hidden_layers(problem):
        out = layer.outgoing.tensor
        shared = {out: lambda *at, out=out: gamma() * out[at]}
        for name, (expr, _) in curvature_expressions(problem, layer.number).items():
            expected = gamma() * expr if name.startswith("U") else expr
            found[layer.named(name)] = residual(replace_leaves(expr, shared) - expected)
    return found


def truly_bad(problem: Problem) -> Statement:
    """Return the condition under which no compatible embedding of a critical point is a strict saddle.

    Raises
    ------
    ValueError
        If the problem is neither two-layer nor deep, has weight decay or frozen blocks.
    """
    if problem.kind == "deep":
        return _deep_condition(problem)
    residuals = {**compatible_residuals(problem), **_of_copies(problem), **_second_part(problem)}
    (hidden, _) = layers(problem)
    null = ""
    if hidden.nulls:
        inputs = r"\tilde x_i" if problem.input_bias else "x_i"
        outer = rf"{inputs} r_i^{{\top}}" if problem.vector_output else rf"r_i {inputs}"
        where = r"where $\sigma$ is not constant" if hidden.nulls == "free" else r"where $\sigma'(0) \neq 0$"
        null = rf", and $\sum_i {outer} = 0$ {where} (null neurons)"
    return Statement(
        "truly bad critical points",
        r"Let $\theta$ be a critical point with $H \succeq 0$. No compatible embedding of it into any width is a strict saddle if and only if "
        rf"$V_k = 0$ and $U_k = 0$ for every neuron{null}. The first two say $H^{{(2)}} = 0$; they hold where all $r_i = 0$.",
        (
            r"$H^{(2)}$ has the blocks $\begin{pmatrix} 0 & V_k^{\top} \\ V_k & U_k \end{pmatrix}$ at $(a_k, w_k)$ and no others.",
            r"If $V_k \neq 0$ every split of $k$ is a strict saddle; if $V_k = 0$ and $U_k$ has a negative eigenvalue, one with two $\gamma_j > 0$ is, "
            r"and if it has a positive one, one with $\gamma_j < 0$.",
            *(
                (
                    r"A null neuron adds $\begin{pmatrix} 0 & v^{\top} \\ v & 0 \end{pmatrix}$ with $v$ equal to $\sigma'$ of its bias times that sum "
                    r"(up to the output scale), which has negative eigenvalues unless $v = 0$.",
                )
                if hidden.nulls
                else ()
            ),
            r"Conversely, if all of them vanish, every split and every null neuron adds zeros only, and leaves them vanishing: $V_j = V_k$, "
            r"$U_j = \gamma_j U_k$, $r$ is unchanged. Compatible embeddings of two-layer networks are compositions of these.",
        ),
        _status(residuals),
        residuals,
        _SOURCE,
    )


def _deep_condition(problem: Problem) -> Statement:
    residuals = {**compatible_residuals(problem), **three_copies_residuals(problem), **_of_copies(problem)}
    return Statement(
        "truly bad critical points",
        r"Let $\theta$ be a critical point with $H \succeq 0$. If no compatible embedding of it is a strict saddle, then $H^{(2)} = 0$ in the parameters"
        + (" other than the output bias" if problem.output_bias else "")
        + r"; in particular $V_k = 0$ and $U_k = 0$ for every neuron of every layer. That this suffices is not claimed.",
        (
            "By the three copies of the network a critical point with $H^{(2)} \\neq 0$ has an embedding that is a strict saddle.",
            r"Splitting neuron $k$ of a layer has one by itself if $V_k \neq 0$ or $U_k \neq 0$.",
        ),
        _status(residuals),
        residuals,
        _SOURCE,
    )


def _second_part(problem: Problem) -> dict[str, Expr]:
    """Return the entries of sum r D^2 f of a two-layer network minus those of V and U."""
    u, v = _directions(problem, "u"), _directions(problem, "v")
    out = problem.system.formals(problem.output)
    r = Tensor("r", problem.output.dims)
    _, double = _derivatives(problem, u, v)
    total = isum(r[out] * double, *out)
    blocks = curvature_expressions(problem)
    return {
        "second part of the Hessian": residual(total - problem.system.inline(_form(problem, blocks, u, v)))
    }


def _form(
    problem: Problem, blocks: dict[str, tuple[Expr, tuple[Index, ...]]], u: _Directions, v: _Directions
) -> Expr:
    """Return the form with the blocks V_k and U_k, in the directions u and v."""
    a, w = problem.block("a").tensor, problem.block("w").tensor
    b = problem.block("b").tensor if problem.input_bias else None
    value, (k, l, *out) = blocks["V_w"]
    total = isum((u[a][(k, *out)] * v[w][k, l] + v[a][(k, *out)] * u[w][k, l]) * value, k, l, *out)
    value, (k, l, l2) = blocks["U_ww"]
    total += isum(u[w][k, l] * v[w][k, l2] * value, k, l, l2)
    if b is not None:
        value, (k, *out) = blocks["V_b"]
        total += isum((u[a][(k, *out)] * v[b][k] + v[a][(k, *out)] * u[b][k]) * value, k, *out)
        value, (k, l) = blocks["U_wb"]
        total += isum((u[w][k, l] * v[b][k] + v[w][k, l] * u[b][k]) * value, k, l)
        value, (k,) = blocks["U_bb"]
        total += isum(u[b][k] * v[b][k] * value, k)
    return total
