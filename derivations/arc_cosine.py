r"""Arc-cosine kernels :math:`\mathbb{E}[(u)_+^p (v)_+^p]` of any integer degree, by Price's theorem.

>>> kappa(0), kappa(1)
((pi - acos(rho))/pi, (rho*(pi - acos(rho)) + sqrt(1 - rho**2))/pi)
>>> diff(kappa(1), RHO).simplify() == kappa(0)
True
"""

from __future__ import annotations

from functools import cache

from sympy import Add, Expr, Poly, S, Symbol, acos, diff, expand, factor_terms, linsolve, pi, sqrt, symbols

__all__ = ["RHO", "arc_cosine", "arc_cosine_polynomials", "kappa"]

#: Correlation of the two arguments.
RHO = Symbol("rho", real=True)


def arc_cosine(power: int, rho: Expr) -> Expr:
    r"""Return :math:`J_p(\rho) = \mathbb{E}[(u)_+^p (v)_+^p]` for correlation rho.

    With :math:`J_p = A (\pi - \arccos\rho) + B \sqrt{1 - \rho^2}` Price's theorem :math:`J_p' = p^2 J_{p-1}` reads

    .. math:: A' = p^2 A_-, \qquad A + (1 - \rho^2) B' - \rho B = p^2 (1 - \rho^2) B_-,

    which polynomials A, B of degree p and p - 1 solve in one way, the constant of A included; :math:`J_p(-1) = 0` holds by itself.

    Raises
    ------
    ValueError
        If ``power`` is negative.

    Examples
    --------
    >>> arc_cosine(2, RHO).subs(RHO, 1), arc_cosine(3, RHO).subs(RHO, 1)  # half of E g^4 and of E g^6
    (3/2, 15/2)
    """
    first, second = arc_cosine_polynomials(power)
    angle, root = pi - acos(rho), sqrt(1 - rho**2)
    return first.subs(RHO, rho) * angle + second.subs(RHO, rho) * root


@cache
def arc_cosine_polynomials(power: int) -> tuple[Expr, Expr]:
    """Return A and B of ``arc_cosine`` as polynomials in ``RHO``."""
    if power < 0:
        raise ValueError(f"the power of an arc-cosine kernel is 0, 1, 2, ...; got {power}")
    if power == 0:
        return 1 / (2 * pi), S.Zero
    before, root_before = arc_cosine_polynomials(power - 1)
    free = symbols(f"k0:{power}") if power > 1 else (Symbol("k0"),)
    constant = Symbol("k")
    first = constant + power**2 * Poly(before, RHO).integrate(RHO).as_expr()
    second = Add(*[k * RHO**j for j, k in enumerate(free)])
    rest = first + (1 - RHO**2) * diff(second, RHO) - RHO * second - power**2 * (1 - RHO**2) * root_before
    (solution,) = linsolve(Poly(expand(rest), RHO).coeffs(), (constant, *free))
    values = dict(zip((constant, *free), solution))
    return expand(first.subs(values)), expand(second.subs(values))


def kappa(power: int, rho: Expr = RHO) -> Expr:
    r"""Return the arc-cosine kernel of Cho and Saul, normalised to 1 at rho = 1: :math:`\kappa_p = J_p(\rho)/J_p(1)`.

    >>> kappa(0), kappa(1)
    ((pi - acos(rho))/pi, (rho*(pi - acos(rho)) + sqrt(1 - rho**2))/pi)
    """
    if power == 0:
        return (pi - acos(rho)) / pi
    return factor_terms(expand(arc_cosine(power, rho) / arc_cosine(power, S.One), deep=False))
