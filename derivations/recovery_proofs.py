r"""Derivations of the claims on local recovery, each carried out for an instance and ending in exact zeros or in enclosures.

>>> from derivations.activations import activation
>>> [str(independence(activation(u)).status) for u in ("exp", "sigmoid", "softplus", "cubic")]
['PROVED', 'PROVED', 'PROVED', 'PROVED']
>>> dependency(activation("softplus"))
{1: 1, -1: -1, 2: -2, -2: 2, 3: 1, -3: -1}
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import comb, factorial
from typing import Any

from sympy import Add, Expr, Integer, Matrix, Symbol, diff, simplify

from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.decide import identically_zero, is_zero
from derivations.errors import AssumptionError
from derivations.generic_activation import generic_activation, neuron_classes
from derivations.global_minima import GlobalMinima
from derivations.polynomial_neurons import coefficients
from derivations.recovery_branches import Branch, branch_count
from derivations.recovery_case import (
    certified_rank,
    counts_of,
    minima_of,
    points_of,
)
from derivations.theorem import Finding, Instance, zero_finding

__all__ = [
    "branches_add_up",
    "counted",
    "dependency",
    "hessian",
    "independence",
    "intersections",
    "sizes_of",
    "tangents",
    "with_minima",
]

#: Orders of a derivative that are looked at for a polynomial part.
ORDERS = 4


def with_minima(function: Any) -> Any:
    """Return a derivation from the global minima of an instance; where they cannot be listed the reason is said."""

    def derive(given: Instance) -> Finding:
        try:
            return function(given, minima_of(given))
        except AssumptionError as error:
            return Finding(Status.UNDECIDED, str(error))

    return derive


# -- neurons ---------------------------------------------------------------------------------------------------------


def dependency(activation: Activation) -> dict[int, int] | None:
    r"""Return weights on the line and coefficients with :math:`\sum_w c_w \sigma(w z) = 0`, None where none is found.

    Where the even or the odd part of sigma is a polynomial of degree less than p, the p-th difference in c of
    :math:`\sigma(cz) \pm \sigma(-cz)` vanishes; where :math:`\sigma(0) = 0` the neuron with weight 0 does.
    """
    whole = coefficients(activation)
    for sign in (1, -1):
        part: Expr = activation.expr + sign * activation.expr.subs(Z, -Z)
        top = ORDERS if whole is None else len(whole) + 1
        for order in range(top + 1):
            if identically_zero(part, Z).proved:
                found: dict[int, int] = {}
                for k in range(order + 1):
                    step = (-1) ** k * comb(order, k)
                    found[k + 1], found[-k - 1] = step, sign * step
                return found
            part = diff(part, Z)
    return {0: 1} if is_zero(activation.value_at_zero) is Status.PROVED else None


def independence(activation: Activation) -> Finding:
    """Decide the equivalence for one activation: generic and independent, or neither, by a dependency that is an exact zero."""
    generic = generic_activation(activation)
    if generic.known:
        classes = neuron_classes(activation)
        return Finding(
            classes.status,
            "generic, so neurons of distinct weights are independent",
            (generic.reason, classes.reason),
        )
    if generic.status is not Status.REFUTED:
        return Finding(Status.UNDECIDED, generic.reason)
    found = dependency(activation)
    if found is None:
        return Finding(
            Status.UNDECIDED, f"not generic, and no dependency of neurons was found: {generic.reason}"
        )
    total = Add(*[c * activation.expr.subs(Z, w * Z) for w, c in found.items()])
    if not identically_zero(total, Z).proved:
        return Finding(Status.UNDECIDED, f"the dependency {found} was not shown to vanish")
    words = " + ".join(f"({c}) sigma({w} z)" for w, c in found.items())
    return Finding(
        Status.PROVED,
        f"not generic, and dependent: {words} = 0",
        (generic.reason,),
        residual="0",
        evidence={"dependency": {str(w): c for w, c in found.items()}},
    )


@with_minima
def tangents(given: Instance, minima: GlobalMinima) -> Finding:
    """Say that neurons and their derivatives are independent, and on which samples this is shown."""
    shown = []
    for n in counts_of(given):
        for b, _ in minima.kinds:
            rank = certified_rank(minima, b, points_of(given, n))
            shown.append(f"r = {b.distinct}, l = {b.deficient}, n = {n}: {'open' if rank is None else rank}")
    return Finding(
        minima.classes.status,
        "by the orders of the Taylor coefficients",
        (minima.classes.reason,),
        evidence={"ranks by interval arithmetic": shown},
    )


# -- branches --------------------------------------------------------------------------------------------------------


def sizes_of(minima: GlobalMinima, branch: Branch) -> tuple[int, int, int, int, int]:
    """Return m, m0, r, l and d of a branch."""
    return minima.width, minima.shape.teacher, branch.distinct, branch.deficient, minima.shape.inputs


@with_minima
def branches_add_up(given: Instance, minima: GlobalMinima) -> Finding:
    """Compare the dimension of each branch, from its equations, with the formula; the union is complete by independence."""
    residuals = {}
    for number, b in enumerate(minima.branches, start=1):
        m, m0, r, _, d = sizes_of(minima, b)
        residuals[f"branch {number}"] = Integer(b.dimension - (m - r) - (r - m0) * d)
    reason = f"{len(minima.branches)} branches, complete by the independence of neurons"
    found = zero_finding(residuals, reason, steps=(minima.classes.reason,))
    return (
        found
        if minima.complete is Status.PROVED
        else Finding(Status.UNDECIDED, "the list of branches is not shown to be complete")
    )


@with_minima
def counted(given: Instance, minima: GlobalMinima) -> Finding:
    """Compare the closed count with the enumeration, and the number of components."""
    listed = Counter(b.distinct for b in minima.branches)
    m, m0 = minima.width, minima.shape.teacher
    residuals = {f"r = {r}": Integer(branch_count(minima.shape, r) - listed[r]) for r in range(m0, m + 1)}
    residuals["components"] = Integer(minima.components() - (1 if m > m0 else factorial(m)))
    return zero_finding(residuals, f"{sum(listed.values())} branches, {minima.components()} component(s)")


@with_minima
def intersections(given: Instance, minima: GlobalMinima) -> Finding:
    """Check for every pair that meets that the intersection is affine, with fewer distinct weights than one of the two."""
    wrong, dims = 0, Counter[int]()
    for i, j, joint in minima.meeting():
        one, other = minima.branches[i], minima.branches[j]
        dims[joint.dimension] += 1
        wrong += not (
            joint.distinct < max(one.distinct, other.distinct)
            and one.contains(joint)
            and other.contains(joint)
        )
    found = ", ".join(f"{v} of dimension {k}" for k, v in sorted(dims.items())) or "none"
    return zero_finding({"pairs against the rule": Integer(wrong)}, f"pairs that meet: {found}")


def _hessian_residual(activation: Activation) -> Expr:
    a, w, x, t = (
        Symbol("a", real=True),
        Symbol("w", real=True),
        Symbol("x", real=True),
        Symbol("y", real=True),
    )
    h = a * activation.expr.subs(Z, w * x) - t
    risk, free = h**2, (a, w)
    second = Matrix(2, 2, lambda i, j: diff(risk, free[i], free[j]))
    gradient = Matrix([diff(h, u) for u in free])
    at = {t: a * activation.expr.subs(Z, w * x)}
    left = (second - 2 * gradient * gradient.T).subs(at)
    return simplify(Add(*[u**2 for u in left]))


@with_minima
def hessian(given: Instance, minima: GlobalMinima) -> Finding:
    """Derive the Hessian where the residuals vanish, and compare the ranks of the branches with the formula and on the samples."""
    residuals = {"Hessian at residual 0": _hessian_residual(given["activation"])}
    for number, b in enumerate(minima.branches, start=1):
        _, _, r, deficient, d = sizes_of(minima, b)
        residuals[f"rank on branch {number}"] = Integer(b.rank - r - (r - deficient) * d)
    open_ones, shown = [], []
    for n in counts_of(given):
        for b, _ in minima.kinds:
            rank = certified_rank(minima, b, points_of(given, n))
            words = f"r = {b.distinct}, l = {b.deficient}, n = {n}"
            shown.append(f"{words}: {min(n, b.rank)}")
            if rank != min(n, b.rank):
                open_ones.append(words)
    found = zero_finding(residuals, "ranks of tangent functions, and on these samples by interval arithmetic")
    found = replace(found, evidence={**found.evidence, "ranks": shown})
    if found.status is Status.PROVED and open_ones:
        return Finding(
            Status.UNDECIDED,
            f"the rank on these samples is open for {'; '.join(open_ones)}",
            evidence=found.evidence,
        )
    return found
