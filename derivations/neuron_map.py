r"""Change one neuron and read off what happens to the outputs: the proof technique of the symmetries.

A map of one neuron s is written with deltas, :math:`w_k \to w_k (1 + \delta_{ks}(\lambda - 1))`, which then stand
inside sigma.  A delta is 0 or 1, hence exactly

.. math:: g(\delta) = g(0) + \delta\, (g(1) - g(0)),

after which the sums absorb the deltas, and a law such as :math:`\sigma(-z) = -\sigma(z)` is applied to what is left.

>>> from derivations.indexed import Dim
>>> k, s, z = Index("k", Dim("m")), Index("s", Dim("m")), Tensor("z", (Dim("m"),))
>>> print(resolve(GenericFunction("sigma", (0,), z[k] * (1 - Delta(k, s)))))
(sigma(0) - sigma(z[k]))*delta(k, s) + sigma(z[k])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Expr, S, expand

from derivations.canonical import canonical, residual
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Index, ISum, Tensor, isum, open_sum, replace_index, replace_leaves
from derivations.problem import Problem

__all__ = ["Law", "apply_law", "change_of", "resolve", "scaling_law", "shift_law", "sign_law"]

#: Takes the argument of sigma in canonical form; returns sigma of it, rewritten where the law applies.
Law = Callable[[Expr], Expr]


def change_of(
    problem: Problem, expr: Expr, rules: Mapping[Tensor, Callable[..., Expr]], law: Law | None = None
) -> Expr:
    """Return ``expr`` at the mapped parameters minus ``expr``, in canonical form; 0 proves that it is kept.

    Parameters
    ----------
    expr : Expr
        Over the definitions of ``problem.system``, which are written out first.
    rules : mapping
        New entry of each changed leaf.
    law : callable, optional
        A proved property of sigma.
    """
    plain = problem.system.inline(expr)
    difference = resolve(replace_leaves(plain, rules)) - plain
    return residual(difference if law is None else apply_law(difference, law))


def resolve(expr: Expr) -> Expr:
    """Take every delta out of the functions, from the inside out."""
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        return isum(resolve(body), index)
    if isinstance(expr, GenericFunction):
        return _case_split(GenericFunction(expr.args[0], expr.orders, *[resolve(u) for u in expr.arguments]))
    if isinstance(expr, Delta) or not expr.args or not expr.atoms(Delta):
        return expr
    return expr.func(*[resolve(arg) for arg in expr.args])


def _case_split(expr: Expr) -> Expr:
    deltas = sorted(expr.atoms(Delta), key=str)
    if not deltas:
        return expr
    delta = deltas[0]
    off = _case_split(expr.xreplace({delta: S.Zero}))
    on = expr.xreplace({delta: S.One})
    left, right = delta.args
    if isinstance(right, Index):  # where the delta is 1 its indices are one and the same
        on = replace_index(on, right, left)
    return off + delta * (_case_split(on) - off)


def apply_law(expr: Expr, law: Law) -> Expr:
    """Rewrite every sigma (not its derivatives) by ``law``, from the inside out."""
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        return isum(apply_law(body, law), index)
    if isinstance(expr, GenericFunction):
        arguments = [canonical(apply_law(u, law)) for u in expr.arguments]
        if expr.name == "sigma" and expr.orders == (0,):
            return law(arguments[0])
        return GenericFunction(expr.args[0], expr.orders, *arguments)
    if not expr.args or not expr.has(GenericFunction):
        return expr
    return expr.func(*[apply_law(arg, law) for arg in expr.args])


def _sigma(z: Expr) -> Expr:
    return GenericFunction("sigma", (0,), z)


def sign_law(sign: Expr, constant: Expr = S.Zero, slope: Expr = S.Zero) -> Law:
    r"""Return the law :math:`\sigma(-z) = constant + slope\,z + sign\,\sigma(z)`."""
    return lambda z: constant - slope * z + sign * _sigma(-z) if z.could_extract_minus_sign() else _sigma(z)


def scaling_law(factor: Expr, degree: Expr) -> Law:
    r"""Return the law :math:`\sigma(\lambda z) = \lambda^p \sigma(z)` for the positive symbol ``factor``."""

    def law(z: Expr) -> Expr:
        smaller = expand(z / factor)
        return factor**degree * _sigma(smaller) if z.has(factor) and not smaller.has(factor) else _sigma(z)

    return law


def shift_law(shift: Expr, growth: Expr) -> Law:
    r"""Return the law :math:`\sigma(z + \tau) = growth\,\sigma(z)` for the symbol ``shift``."""

    def law(z: Expr) -> Expr:
        smaller = expand(z - shift)
        return growth * _sigma(smaller) if z.has(shift) and not smaller.has(shift) else _sigma(z)

    return law
