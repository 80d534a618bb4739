r"""Splitting embedding of a two-layer network: proof that the wide gradient is B times the narrow one.

Neuron s is copied; the copies carry the output weights :math:`(1-\alpha) a_s` and :math:`\alpha a_s`.  With m, n, d
(and o) symbolic and sigma, ell general, for every parameter theta (critical or not)

.. math::
    \nabla_{a'} = \nabla_{a_s}, \quad \nabla_{w'} = \alpha \nabla_{w_s}, \quad
    \nabla_{a_k} = \nabla_{a_k}^{narrow}, \quad \nabla_{w_k} = (1 - \alpha \delta_{ks}) \nabla_{w_k}^{narrow},

and likewise for biases; a critical point is therefore mapped to a critical point.  Where the output scale depends on
the width, all output weights of the wide network are multiplied by :math:`\kappa = s(m)/s(m+1)`, and their gradients
by :math:`1/\kappa`.

With T(theta) = A theta this reads :math:`\nabla R_{wide}(A \theta) = B \nabla R(\theta)`, and :math:`A^\top B = I`;
differentiation gives :math:`H_{wide} A = B H` and :math:`A^\top H_{wide} A = H`, hence the inertia is monotone.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Theorems 4.1 and 6.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr, Integer, Symbol

from derivations.canonical import residual
from derivations.claim import Claim, Status
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Index, Tensor, isum, replace_leaves
from derivations.problem import Problem, m
from derivations.statement import Statement
from derivations.system import System

__all__ = [
    "ALPHA",
    "Widened",
    "duality_residuals",
    "embedding_statements",
    "splitting_claims",
    "splitting_residuals",
    "widen",
]

#: Fraction of the output weight that goes to the copy; bias of a null neuron.
ALPHA = Symbol("alpha", real=True)

_SOURCE = "zhang2022hierarchical"


@dataclass(frozen=True)
class Widened:
    r"""The network with one more neuron, its weights in tensors of their own.

    Parameters
    ----------
    system, derived : System
        Definitions; followed by adjoints and gradients.
    gradient : dict
        Gradient tensor of each leaf, old and new.
    extra : dict
        Tensor and index names of the new neuron's part of the blocks ``a``, ``w`` and, with an input bias, ``b``.
    scale, ratio : Expr
        Output scale of the wide network, and :math:`\kappa = s(m)/s(m+1)`, which is 1 where s does not depend on m.
    """

    system: System
    derived: System
    gradient: dict[Tensor, Tensor]
    extra: dict[str, tuple[Tensor, tuple[Index, ...]]]
    scale: Expr
    ratio: Expr


def widen(problem: Problem) -> Widened:
    """Return the two-layer ``problem`` with one more neuron, and its derived gradients.

    Raises
    ------
    ValueError
        If the problem is of another kind.
    """
    if problem.kind != "two_layer":
        raise ValueError(f"a neuron is added to a two-layer network only, got a {problem.kind} network")
    extra = {
        b.name: (Tensor(f"{b.name}1", b.tensor.dims[1:]), b.indices[1:])
        for b in problem.blocks
        if b.name in ("a", "w", "b")
    }
    scale = problem.scale.subs(m, m + 1)
    system = _wide_system(problem, extra, scale)
    derived, gradient = system.reverse(
        problem.risk,
        [*problem.parameters, *[tensor for tensor, _ in extra.values()]],
        names={problem.output: Tensor("r", problem.output.dims)},
    )
    return Widened(system, derived, gradient, extra, scale, problem.scale / scale)


def splitting_residuals(problem: Problem) -> dict[str, Expr]:
    """Return the difference of both sides of every identity above, and of outputs, in canonical form.

    Zero is a proof for all sizes, data and parameters.

    Parameters
    ----------
    problem : Problem
        Two-layer, without weight decay (which the map does not respect).

    Raises
    ------
    ValueError
        If the problem is of another kind or has weight decay.

    Examples
    --------
    >>> set(splitting_residuals(Problem.two_layer(input_bias=True)).values())
    {0}
    """
    if problem.kind != "two_layer" or problem.weight_decay != 0:
        given = problem.kind if problem.kind != "two_layer" else f"weight decay {problem.weight_decay}"
        raise ValueError(f"splitting needs a two-layer problem without weight decay, got {given}")
    wide = widen(problem)
    some = Index("s", problem.block("a").indices[0].dim)
    blocks = {b.name: b.tensor for b in problem.blocks}
    rules: dict[Tensor, Callable[..., Expr]] = {
        blocks["a"]: lambda k, *c: (
            wide.ratio * (blocks["a"][(k, *c)] - ALPHA * blocks["a"][(some, *c)] * Delta(k, some))
        ),
        wide.extra["a"][0]: lambda *c: wide.ratio * ALPHA * blocks["a"][(some, *c)],
    }
    for name in ("w", "b"):
        if name in wide.extra:
            rules[wide.extra[name][0]] = lambda *l, name=name: blocks[name][(some, *l)]

    def mapped(tensor: Tensor, indices: tuple[Index, ...]) -> Expr:
        return replace_leaves(wide.derived.inline(tensor[indices] if indices else tensor()), rules)

    def narrow(name: str, indices: tuple[Index, ...]) -> Expr:
        tensor = problem.gradient[name]
        return problem.derived.inline(tensor[indices] if indices else tensor())

    out = wide.system.formals(problem.output)
    found = {"outputs": residual(mapped(problem.output, out) - problem.derived.inline(problem.output[out]))}
    for block in problem.blocks:
        factor = _factor(block.name, block.indices[0], some, wide) if block.name != "c" else Integer(1)
        difference = mapped(wide.gradient[block.tensor], block.indices)
        found[block.name] = residual(difference - factor * narrow(block.name, block.indices))
    for name, (tensor, indices) in wide.extra.items():
        factor = 1 / wide.ratio if name == "a" else ALPHA
        found[f"new {name}"] = residual(
            mapped(wide.gradient[tensor], indices) - factor * narrow(name, (some, *indices))
        )
    return found


def _factor(name: str, k: Index, some: Index, wide: Widened) -> Expr:
    """Return the diagonal entry of B in the old rows of a block."""
    return 1 / wide.ratio if name == "a" else 1 - ALPHA * Delta(k, some)


def duality_residuals(problem: Problem) -> dict[str, Expr]:
    r"""Return :math:`\langle A u, B v \rangle - \langle u, v \rangle` per block, for free vectors u and v; 0 proves A^T B = I.

    Raises
    ------
    ValueError
        If the problem is not two-layer.
    """
    wide = widen(problem)
    some = Index("s", problem.block("a").indices[0].dim)
    found: dict[str, Expr] = {}
    for block in problem.blocks:
        u, v = (Tensor(f"{side}_{block.name}", block.tensor.dims) for side in "uv")
        if block.name == "c":  # the output bias is carried over as it stands
            continue
        k, *rest = block.indices
        at = tuple(rest)
        column = u[(k, *at)]
        new_column, new_row = u[(some, *at)], ALPHA * v[(some, *at)]
        if block.name == "a":
            column = wide.ratio * (column - ALPHA * Delta(k, some) * u[(some, *at)])
            new_column, new_row = wide.ratio * ALPHA * u[(some, *at)], v[(some, *at)] / wide.ratio
        old = isum(
            column * _factor(block.name, k, some, wide) * v[(k, *at)] - u[(k, *at)] * v[(k, *at)], k, *at
        )
        found[block.name] = residual(old + isum(new_column * new_row, *at))
    return found


def splitting_claims(problem: Problem) -> list[Claim]:
    """Return the claims about splitting with their derivations in ``evidence["steps"]``.

    Raises
    ------
    ValueError
        As ``splitting_residuals``.
    """
    labels = {
        "splitting embedding": "C1",
        "duality of the embedding": "C5",
        "inertia along a splitting": "C5",
    }
    return [
        Claim(
            name="splitting embedding",
            claim=labels[s.name],
            statement=s.statement,
            source=s.source,
            status=s.status,
            residual="; ".join(sorted({str(value) for value in s.residuals.values()})),
            evidence={"about": s.name, "steps": list(s.steps), "residuals": s.to_dict()["residuals"]},
        )
        for s in embedding_statements(problem)
    ]


def embedding_statements(problem: Problem) -> list[Statement]:
    """Return the sentences behind ``splitting_claims``: gradient identity, duality, inertia.

    Raises
    ------
    ValueError
        As ``splitting_residuals``.
    """
    gradient, duality = splitting_residuals(problem), duality_residuals(problem)
    both = {**gradient, **{f"A^T B - I, {name}": value for name, value in duality.items()}}
    w = r"w'" if not problem.input_bias else r"(w', b')"
    old = r"w_s" if not problem.input_bias else r"(w_s, b_s)"
    kappa = r"\kappa " if problem.scale.has(m) else ""
    inverse = r"\kappa^{-1} " if kappa else ""
    weights_of_b = r"$1/\kappa$ and $1/\kappa$" if kappa else "$1$ and $1$"
    rescaled = r" All output weights are multiplied by $\kappa = s(m)/s(m+1)$." if kappa else ""
    sentence = (
        rf"Let neuron $s$ be copied: ${w} = {old}$, with output weights ${kappa}(1-\alpha) a_s$ and "
        rf"$a' = {kappa}\alpha a_s$, $\alpha \in \mathbb{{R}}$.{rescaled} Every output is kept, and critical points are "
        r"mapped to critical points; where $a_s \neq 0$ each one gives a line of critical points of equal risk."
    )
    steps = (
        r"Outputs: $(1-\alpha) a_s \sigma(z_{is}) + \alpha a_s \sigma(z_{is}) = a_s \sigma(z_{is})$, "
        r"so $r_i = \partial R / \partial f_i$ is unchanged.",
        rf"Output weights: $\nabla_{{a'}} R_{{\mathrm{{wide}}}} = {inverse}\nabla_{{a_s}} R$, and "
        rf"$\nabla_{{a_k}} R_{{\mathrm{{wide}}}} = {inverse}\nabla_{{a_k}} R$ for every $k$: they contain $r_i$ and "
        r"$\sigma(z_{ik})$ only.",
        rf"Input weights: the gradient is proportional to the output weight, so $\nabla_{{{w}}} R_{{\mathrm{{wide}}}} = "
        rf"\alpha \nabla_{{{old}}} R$, the old copy of neuron $s$ has $(1-\alpha) \nabla_{{{old}}} R$, and the other "
        r"neurons keep theirs.",
        r"Hence $\nabla R_{\mathrm{wide}}(A\theta) = B \nabla R(\theta)$ for all $\theta$, with $A$ and $B$ constant in "
        r"$\theta$; $\nabla R(\theta) = 0$ implies $\nabla R_{\mathrm{wide}}(A\theta) = 0$.",
    )
    return [
        Statement("splitting embedding", sentence, steps, _status(gradient), gradient, _SOURCE),
        Statement(
            "duality of the embedding",
            r"The matrices of $\nabla R_{\mathrm{wide}}(A\theta) = B \nabla R(\theta)$ satisfy $A^{\top} B = I$.",
            (
                rf"Output weights of neuron $s$: ${kappa}(1-\alpha)$ and ${kappa}\alpha$ in $A$, "
                rf"{weights_of_b} in $B$; the products sum to $1$.",
                r"Input weights of neuron $s$: $1$ and $1$ in $A$, $1-\alpha$ and $\alpha$ in $B$; the products sum to "
                r"$1$. All other parameters are carried over.",
            ),
            _status(duality),
            duality,
            _SOURCE,
        ),
        Statement(
            "inertia along a splitting",
            r"$H_{\mathrm{wide}} A = B H$ and $A^{\top} H_{\mathrm{wide}} A = H$; so the numbers of positive, of negative "
            r"and of zero eigenvalues do not decrease.",
            (
                r"Differentiate $\nabla R_{\mathrm{wide}}(A\theta) = B \nabla R(\theta)$, an identity in $\theta$: "
                r"$H_{\mathrm{wide}}(A\theta) A = B H(\theta)$.",
                r"Multiply by $A^{\top}$ and use $A^{\top} B = I$: $A^{\top} H_{\mathrm{wide}} A = H$. A subspace on which "
                r"$H$ is definite is mapped by the injective $A$ to one on which $H_{\mathrm{wide}}$ is: $n_{\pm}$ do not "
                r"decrease.",
                r"$H u = 0$ gives $H_{\mathrm{wide}} A u = B H u = 0$, so $A \ker H \subset \ker H_{\mathrm{wide}}$: $n_0$ "
                r"does not decrease. Congruence alone would not give this.",
            ),
            _status(both),
            both,
            _SOURCE,
        ),
    ]


def _status(residuals: dict[str, Expr]) -> Status:
    return Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED


def _wide_system(problem: Problem, extra: dict[str, tuple[Tensor, tuple[Index, ...]]], scale: Expr) -> System:
    system = System(problem.system.declarations)
    for tensor, indices in extra.values():
        system = system.declare(tensor, indices)
    sample, *out = problem.system.formals(problem.output)
    (l,) = extra["w"][1]
    pre = isum(extra["w"][0][l] * problem.x[sample, l], l)
    z1 = Tensor("z1", (sample.dim,))
    new = extra["b"][0]() if "b" in extra else Integer(0)
    k = problem.block("a").indices[0]
    for definition in problem.system:
        if definition.tensor == problem.output:
            system = system.define(z1, (sample,), pre + new)
            copy = GenericFunction("sigma", (0,), z1[sample])
            weight = extra["a"][0][extra["a"][1]] if extra["a"][1] else extra["a"][0]()
            z = next(u.tensor for u in problem.system if u.tensor.name == "z")
            neuron = GenericFunction("sigma", (0,), z[sample, k])
            total = isum(problem.block("a").tensor[(k, *out)] * neuron, k)
            rest = definition.expr - problem.scale * total  # the output bias, where there is one
            system = system.define(
                definition.tensor, definition.indices, scale * (total + weight * copy) + rest
            )
        else:
            system = system.define(definition.tensor, definition.indices, definition.expr)
    return system
