r"""Null embedding: one neuron with zero output weight, zero input weights and bias alpha is added.

For every parameter theta of the narrow two-layer network, :math:`r_i = \partial R/\partial f_i` and output scale s,

.. math::
    \nabla_{a'} R = s\,\sigma(\alpha) \sum_i r_i, \qquad \nabla_{w'} R = 0, \qquad \nabla_{b'} R = 0,

and the old gradients are unchanged.  With an output bias :math:`\sum_i r_i = \nabla_c R`, so every alpha keeps critical
points critical; without one only the zeros of sigma do so for all data.  The new rows of the Hessian are

.. math::
    H_{a'\theta} = s\,\sigma(\alpha) H_{c\theta}, \quad H_{a'\tilde w'} = v^\top, \quad H_{\tilde w'\theta} = 0, \quad
    H_{\tilde w'\tilde w'} = 0, \qquad v = s\,\sigma'(\alpha) \sum_i \tilde x_i r_i^\top,

so that, after the shear :math:`\delta c \to \delta c + s\,\sigma(\alpha)\,\delta a'`, the Hessian is
:math:`H \oplus \begin{pmatrix} 0 & v^\top \\ v & 0 \end{pmatrix}`.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Definition 4.3 and Theorem 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympy import (
    Expr,
    FiniteSet,
    I,
    Integer,
    Interval,
    S,
    Set,
    default_sort_key,
    exp,
    latex,
    simplify,
    solveset,
)

from derivations.activations import Activation, Z
from derivations.canonical import residual
from derivations.claim import Status
from derivations.embedding import ALPHA, Widened, widen
from derivations.generic import GenericFunction, bind
from derivations.indexed import Index, Tensor, isum, replace_leaves
from derivations.problem import Problem, m
from derivations.statement import Statement

__all__ = ["NullEmbedding", "null_embedding", "null_expressions", "null_statement"]

#: ``admissible`` where the bias of the new neuron is free.
EVERY = "every alpha"


@dataclass(frozen=True)
class NullEmbedding:
    """What a null neuron does to the gradient and the Hessian.

    Parameters
    ----------
    residuals : mapping
        Every identity of the module docstring, left minus right in canonical form.
    obstruction : Expr
        Gradient with respect to the new output weight at a critical point, alpha still free; 0 where there is none.
    admissible : str, tuple of Expr or None
        ``"every alpha"``; or the zeros of sigma that are known; or None where sigma is known to have no real zero (or
        alpha is bound to 0 and is none); or ``"where sigma(alpha) = 0"`` for a general sigma.
    complete : bool
        Whether ``admissible`` lists all values that work for all data.
    status : Status
        PROVED where all residuals are 0.
    """

    residuals: Mapping[str, Expr]
    obstruction: Expr
    admissible: str | tuple[Expr, ...] | None
    complete: bool
    status: Status


def null_expressions(problem: Problem) -> dict[str, tuple[Expr, tuple[Index, ...]]]:
    r"""Return :math:`s \sum_i x_i r_i^\top` as ``S_w`` (l[, c]) and, with an input bias, :math:`s \sum_i r_i` as ``S_b``.

    Times :math:`\sigma'(\alpha)` they are the rows of v.

    Raises
    ------
    ValueError
        If the problem is not two-layer.
    """
    _check(problem)
    sample, *out = problem.system.formals(problem.output)
    l = problem.block("w").indices[1]
    r = Tensor("r", problem.output.dims)[(sample, *out)]
    found: dict[str, tuple[Expr, tuple[Index, ...]]] = {
        "S_w": (problem.scale * isum(problem.x[sample, l] * r, sample), (l, *out))
    }
    if problem.input_bias:
        found["S_b"] = (problem.scale * isum(r, sample), tuple(out))
    return found


def null_embedding(problem: Problem) -> NullEmbedding:
    """Derive what adding a null neuron does; valid for all sizes, data and parameters.

    Parameters
    ----------
    problem : Problem
        Two-layer; sigma and ell may be general.  Without an input bias alpha is 0.

    Raises
    ------
    ValueError
        If the problem is not two-layer, or has weight decay (which pulls the bias alpha of the new neuron to 0).

    Examples
    --------
    >>> null_embedding(Problem.two_layer("tanh", output_bias=True)).admissible
    'every alpha'
    >>> null_embedding(Problem.two_layer("tanh")).admissible, null_embedding(Problem.two_layer("exp")).admissible
    ((0,), None)
    """
    _check(problem)
    if problem.weight_decay != 0:
        raise ValueError(
            f"the null embedding needs a risk without weight decay, got weight decay {problem.weight_decay}; set it to 0"
        )
    wide = widen(problem)
    residuals = _gradient_residuals(problem, wide) | _hessian_residuals(problem, wide)
    status = Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED
    trained = {block.name for block in problem.blocks if block.trained}
    if "c" in trained or "a" not in trained:
        return NullEmbedding(residuals, S.Zero, EVERY, True, status)
    sample, *out = problem.system.formals(problem.output)
    total = isum(Tensor("r", problem.output.dims)[(sample, *out)], sample)
    obstruction = problem.scale * bind(_sigma(problem, 0), problem.functions) * total
    if obstruction == 0:
        return NullEmbedding(residuals, S.Zero, (S.Zero,), True, status)
    values, complete = _zeros(problem)
    return NullEmbedding(residuals, obstruction, values, complete, status)


def _alpha(problem: Problem) -> Expr:
    return ALPHA if problem.input_bias else S.Zero


def _sigma(problem: Problem, order: int) -> Expr:
    return GenericFunction("sigma", (order,), _alpha(problem))


def _rules(problem: Problem, wide: Widened) -> dict[Tensor, Callable[..., Expr]]:
    a = problem.block("a").tensor
    rules: dict[Tensor, Callable[..., Expr]] = {
        a: lambda k, *c: wide.ratio * a[(k, *c)],
        wide.extra["a"][0]: lambda *c: S.Zero,
        wide.extra["w"][0]: lambda l: S.Zero,
    }
    if "b" in wide.extra:
        rules[wide.extra["b"][0]] = lambda: ALPHA
    return rules


def _gradient_residuals(problem: Problem, wide: Widened) -> dict[str, Expr]:
    rules = _rules(problem, wide)

    def mapped(tensor: Tensor, indices: tuple[Index, ...]) -> Expr:
        return replace_leaves(wide.derived.inline(tensor[indices] if indices else tensor()), rules)

    def narrow(tensor: Tensor, indices: tuple[Index, ...]) -> Expr:
        return problem.derived.inline(tensor[indices] if indices else tensor())

    formals = problem.system.formals(problem.output)
    found = {"outputs": residual(mapped(problem.output, formals) - narrow(problem.output, formals))}
    for block in problem.blocks:
        factor = 1 / wide.ratio if block.name == "a" else Integer(1)
        difference = mapped(wide.gradient[block.tensor], block.indices)
        difference -= factor * narrow(problem.gradient[block.name], block.indices)
        found[block.name] = residual(difference)
    sample, *out = formals
    r = Tensor("r", problem.output.dims)
    total = isum(narrow(r, formals), sample)
    for name, (tensor, indices) in wide.extra.items():
        expected = wide.scale * _sigma(problem, 0) * total if name == "a" else S.Zero
        found[f"new {name}"] = residual(mapped(wide.gradient[tensor], indices) - expected)
    if problem.output_bias:
        found["sum of r"] = residual(total - narrow(problem.gradient["c"], tuple(out)))
    return found


def _hessian_residuals(problem: Problem, wide: Widened) -> dict[str, Expr]:
    """Return the rows of the new neuron minus their claimed values."""
    rules = _rules(problem, wide)

    def second(row: Tensor, at: tuple[Index, ...], column: Tensor, target: tuple[Index, ...]) -> Expr:
        block = wide.derived.jacobian(wide.gradient[row], at, column, target)
        return replace_leaves(wide.derived.inline(block), rules)

    sample, *out = problem.system.formals(problem.output)
    out2 = tuple(Index(f"{c.name}'", c.dim) for c in out)
    r = Tensor("r", problem.output.dims)[(sample, *out)]
    new_a, at_a = wide.extra["a"]
    found: dict[str, Expr] = {}
    for block in problem.blocks:
        target = tuple(Index(f"{u.name}'", u.dim) for u in block.indices)
        for name in ("w", "b"):
            if name in wide.extra:
                row, at = wide.extra[name]
                found[f"H new {name}, {block.name}"] = residual(second(row, at, block.tensor, target))
        if problem.output_bias:
            bias = problem.block("c").tensor
            sheared = wide.scale * _sigma(problem, 0) * second(bias, at_a, block.tensor, target)
            found[f"H new a, {block.name}"] = residual(second(new_a, at_a, block.tensor, target) - sheared)
        else:  # the embedding needs sigma(alpha) = 0, and then the row vanishes
            row_of_a = second(new_a, at_a, block.tensor, target)
            found[f"H new a, {block.name}"] = residual(_where_zero(problem, row_of_a))
    if problem.output_bias:
        bias = problem.block("c").tensor
        square = (wide.scale * _sigma(problem, 0)) ** 2 * second(bias, at_a, bias, out2)
        found["H new a, new a"] = residual(second(new_a, at_a, new_a, out2) - square)
    else:
        found["H new a, new a"] = residual(_where_zero(problem, second(new_a, at_a, new_a, out2)))
    slope = wide.scale * _sigma(problem, 1)
    for name in ("w", "b"):
        if name not in wide.extra:
            continue
        tensor, at = wide.extra[name]
        moment = isum((problem.x[(sample, *at)] if name == "w" else 1) * r, sample)
        found[f"H new a, new {name}"] = residual(
            second(new_a, at_a, tensor, at) - slope * problem.derived.inline(moment)
        )
        for other in ("w", "b"):
            if other in wide.extra:
                column, target = wide.extra[other]
                target = tuple(Index(f"{u.name}'", u.dim) for u in target)
                found[f"H new {name}, new {other}"] = residual(second(tensor, at, column, target))
    return found


def _where_zero(problem: Problem, expr: Expr) -> Expr:
    """Return ``expr`` where sigma(alpha) = 0."""
    return expr.xreplace({_sigma(problem, 0): S.Zero})


def _zeros(problem: Problem) -> tuple[str | tuple[Expr, ...] | None, bool]:
    activation = problem.activation
    if activation is None:
        return "where sigma(alpha) = 0", True
    if not problem.input_bias:  # alpha = 0 is the only choice, and sigma(0) = 0 has been dealt with
        return None, activation.value_at_zero.is_nonzero is True
    return _real_zeros(activation)


def _real_zeros(activation: Activation) -> tuple[tuple[Expr, ...] | None, bool]:
    """Return the known real zeros (None: there are none) and whether the list is complete."""
    if activation.expr.is_positive:
        return None, True
    # Exponentials of a real argument only: complex ones would lose all but one branch of the logarithm.
    rewritten = activation.expr.rewrite(exp)
    found = _solutions(activation.expr if rewritten.has(I) else rewritten, S.Reals)
    if found is S.EmptySet:
        return None, True
    if isinstance(found, FiniteSet):
        return _checked(activation, found), True
    period = activation.period.value
    if period is not None:
        found = _solutions(activation.expr, Interval.Ropen(0, period))
        if isinstance(found, FiniteSet):
            return _checked(activation, found), False
    return ((S.Zero,) if activation.value_at_zero == 0 else ()), False


def _solutions(expr: Expr, domain: Set) -> Set | None:
    try:
        return solveset(expr, Z, domain)
    except (NotImplementedError, TypeError, ValueError):
        return None


def _checked(activation: Activation, found: FiniteSet) -> tuple[Expr, ...]:
    """Return the values that substitution confirms, in increasing order."""
    return tuple(
        sorted((v for v in found if simplify(activation.expr.subs(Z, v)) == 0), key=default_sort_key)
    )


def null_statement(problem: Problem) -> Statement:
    """Return the embedding as a sentence with its derivation.

    Raises
    ------
    ValueError
        As ``null_embedding``.
    """
    found = null_embedding(problem)
    vector, bias = problem.vector_output, problem.input_bias
    x = r"\tilde x_i" if bias else "x_i"
    w = r"\tilde w'" if bias else "w'"
    alpha = r"\alpha" if bias else "0"
    scale = "" if problem.scale == 1 else r"s\,"
    outer = rf"{x} r_i^{{\top}}" if vector else rf"r_i {x}"
    new = r"$(a', w', b') = (0, 0, \alpha)$" if bias else "$(a', w') = (0, 0)$"
    if found.admissible == EVERY:
        result = "maps critical points to critical points" + (r" for every $\alpha$." if bias else ".")
    elif found.admissible is None:
        result = r"maps a critical point to a critical point only if $\sum_i r_i = 0$ there, " + (
            r"because $\sigma$ has no real zero." if bias else r"because $\sigma(0) \neq 0$."
        )
    elif isinstance(found.admissible, tuple) and found.admissible and (found.complete or not bias):
        values = ", ".join(latex(value) for value in found.admissible)
        which = (
            rf" for $\alpha \in \{{{values}\}}$, and for no other $\alpha$ unless $\sum_i r_i = 0$."
            if bias
            else "."
        )
        result = "maps critical points to critical points" + which
    else:
        result = rf"maps a critical point to a critical point if and only if $\sigma({alpha}) = 0$ or $\sum_i r_i = 0$ there."
    steps = [
        r"$a' = 0$: the outputs, hence $r_i = \partial R/\partial f_i$ and the gradients of the old blocks, are unchanged"
        + (
            "."
            if problem.scale.free_symbols == set()
            else " (the old output weights are rescaled with the width)."
        ),
        rf"$\nabla_{{a'}} R = {scale}\sigma({alpha}) \sum_i r_i$; the other new gradients carry the factor $a' = 0$."
        + (
            rf" Here $s = {latex(problem.scale.subs(m, m + 1))}$ is the output scale of the wide network."
            if scale
            else ""
        ),
    ]
    if problem.output_bias and problem.block("c").trained:
        steps.append(r"$\sum_i r_i = \nabla_c R$, which vanishes at a critical point.")
    steps.append(
        rf"Second derivatives: $H_{{a' {w}}} = v^{{\top}}$ with $v = {scale}\sigma'({alpha}) \sum_i {outer}$, "
        rf"$H_{{{w} {w}}} = 0$, and $H_{{{w} \theta}} = 0$ for the old parameters $\theta$."
    )
    sheared = problem.output_bias and problem.block("c").trained
    if sheared:
        steps.append(
            rf"$H_{{a' \theta}} = {scale}\sigma({alpha}) H_{{c \theta}}$: the shear $\delta c \to \delta c + "
            rf"{scale}\sigma({alpha})\, \delta a'$ leaves the narrow Hessian $\oplus$ the block below."
        )
    frozen = [b.name for b in problem.blocks if b.name in ("a", "w", "b") and not b.trained]
    if frozen:
        named = ", ".join(rf"${name}'$" for name in frozen)
        steps.append(
            rf"Without the frozen {named}: gradient and Hessian have no rows of theirs, and critical points are those of the trained parameters."
        )
    if "a" in frozen:
        steps.append("The new neuron adds zero eigenvalues only.")
    else:
        steps.append(
            ("The" if sheared else rf"Where $\sigma({alpha}) = 0$, $H_{{a' \theta}} = 0$ and the")
            + r" new neuron adds $\begin{pmatrix} 0 & v^{\top} \\ v & 0 \end{pmatrix}$: with $\rho = \operatorname{rank} v$, "
            r"$\rho$ positive and $\rho$ negative eigenvalues."
            + (" Of $v$ only the rows of trained input weights count." if frozen else "")
        )
    return Statement(
        "null embedding",
        f"Adding a neuron {new} keeps every output and {result}",
        tuple(steps),
        found.status,
        found.residuals,
        "zhang2022hierarchical",
    )


def _check(problem: Problem) -> None:
    if problem.kind != "two_layer":
        raise ValueError(
            f"the null embedding is derived for two-layer networks, got a {problem.kind} network"
        )
