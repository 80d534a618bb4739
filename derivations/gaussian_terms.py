r"""Sums of terms :math:`\kappa\, z^k e^{-q z^2 + c z}\, \operatorname{erf}(\alpha z)^e`, e = 0 or 1, and their means under N(0, 1).

Completing the square with :math:`s^2 = 1/(1 + 2q)` turns a term without erf into a shifted moment,

.. math::
    \mathbb{E}[z^k e^{-q z^2 + c z};\ l < z < u] = s\, e^{c^2 s^2/2}\,
    \mathbb{E}[(c s^2 + s g)^k;\ l < c s^2 + s g < u],

with truncated moments of :math:`g \sim N(0, 1)` from the recursion :math:`M_k = l^{k-1}\varphi(l) - u^{k-1}\varphi(u) + (k-1) M_{k-2}`;
a factor erf is removed by Stein's identity :math:`\mathbb{E}[g F(g)] = \mathbb{E}[F'(g)]`.  Sines and cosines are terms with imaginary c.

>>> z = Symbol("z", real=True)
>>> [mean(term) for term in terms_of(z**2 * exp(-(z**2)) + z * erf(z), z)]
[sqrt(3)/9, 2*sqrt(3)/(3*sqrt(pi))]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sympy import (
    Expr,
    I,
    Mul,
    Poly,
    PolynomialError,
    Pow,
    S,
    Symbol,
    binomial,
    cos,
    cosh,
    erf,
    exp,
    expand,
    factorial2,
    log,
    pi,
    simplify,
    sin,
    sinh,
    sqrt,
)

__all__ = ["Term", "mean", "real_form", "terms_of", "truncated_mean"]


@dataclass(frozen=True)
class Term:
    r""":math:`\kappa\, z^k e^{-q z^2 + c z}\, \operatorname{erf}(\alpha z)`, without the last factor where ``erf_scale`` is None."""

    coefficient: Expr
    power: int = 0
    quadratic: Expr = S.Zero
    linear: Expr = S.Zero
    erf_scale: Expr | None = None

    @property
    def integrable(self) -> bool:
        """Whether the mean under N(0, 1) exists: 1 + 2q > 0."""
        return bool((1 + 2 * self.quadratic).is_positive)


def terms_of(expr: Expr, z: Symbol) -> list[Term] | None:
    """Return the terms of a sum, or None where some part is not of this form.

    erf times a shifted exponential, powers of erf and erf of a shifted argument are not.
    """
    plain = expr.replace(lambda u: u.func in (sin, cos, sinh, cosh), lambda u: u.rewrite(exp))
    out = []
    for product in expand(plain).as_ordered_terms():
        term = _term(product, z)
        if term is None:
            return None
        out.append(term)
    return out


def _term(product: Expr, z: Symbol) -> Term | None:
    term = Term(S.One)
    for factor in Mul.make_args(product):
        base, power = factor.as_base_exp()
        if not factor.has(z):
            term = replace(term, coefficient=term.coefficient * factor)
        elif base == z and power.is_Integer and power > 0:
            term = replace(term, power=term.power + int(power))
        elif isinstance(factor, exp) or (isinstance(factor, Pow) and not base.has(z) and base.is_positive):
            found = _exponent(factor.args[0] if isinstance(factor, exp) else power * log(base), z)
            if found is None:
                return None
            constant, linear, quadratic = found
            term = replace(
                term,
                coefficient=term.coefficient * exp(constant),
                linear=term.linear + linear,
                quadratic=term.quadratic - quadratic,
            )
        elif isinstance(factor, erf) and term.erf_scale is None:
            scale = factor.args[0].diff(z)
            if scale.has(z) or factor.args[0].subs(z, 0) != 0 or scale.is_zero is not False:
                return None
            term = replace(term, erf_scale=scale)
        else:
            return None
    return None if term.erf_scale is not None and term.linear != 0 else term


def _exponent(expr: Expr, z: Symbol) -> tuple[Expr, Expr, Expr] | None:
    """Return the coefficients of 1, z and z^2."""
    try:
        poly = Poly(expr, z)
    except PolynomialError:
        return None
    if poly.degree() > 2:
        return None
    return tuple(poly.coeff_monomial(z**k) for k in range(3))  # type: ignore[return-value]


def mean(term: Term) -> Expr:
    r"""Return the mean of a term under N(0, 1).

    Raises
    ------
    ValueError
        If it does not exist.
    """
    _check(term)
    if term.erf_scale is None:
        return truncated_mean(term, S.NegativeInfinity, S.Infinity)
    s = 1 / sqrt(1 + 2 * term.quadratic)
    scale = term.erf_scale * s
    return simplify(term.coefficient * s ** (term.power + 1) * _erf_mean(term.power, scale))


def _erf_mean(power: int, scale: Expr) -> Expr:
    """Return E[g^k erf(scale g)], 0 for even k, by Stein's identity."""
    if power % 2 == 0:
        return S.Zero
    inner = Term(2 * scale / sqrt(pi), power - 1, scale**2)
    lower = (power - 1) * _erf_mean(power - 2, scale) if power > 1 else S.Zero
    return lower + truncated_mean(inner, S.NegativeInfinity, S.Infinity)


def truncated_mean(term: Term, lower: Expr, upper: Expr) -> Expr:
    r"""Return :math:`\mathbb{E}[term;\ lower < z < upper]` of a term without erf.

    Raises
    ------
    ValueError
        If the mean does not exist, or the term has a factor erf and the range is not the whole line.
    """
    _check(term)
    whole = lower is S.NegativeInfinity and upper is S.Infinity
    if term.erf_scale is not None:
        if whole:
            return mean(term)
        raise ValueError("a term with erf has no closed mean over a part of the line")
    variance = 1 / (1 + 2 * term.quadratic)
    s, shift = sqrt(variance), term.linear * variance
    # A complex shift must not turn infinity into oo + 2*I.
    ends = tuple(end if end.is_infinite else (end - shift) / s for end in (lower, upper))
    total = sum(
        (
            binomial(term.power, j) * shift ** (term.power - j) * s**j * _moment(j, *ends)
            for j in range(term.power + 1)
        ),
        S.Zero,
    )
    return expand(term.coefficient * s * exp(term.linear**2 * variance / 2) * total)


def _moment(k: int, lower: Expr, upper: Expr) -> Expr:
    """Return E[g^k; lower < g < upper]."""
    if lower is S.NegativeInfinity and upper is S.Infinity:
        return factorial2(k - 1) if k % 2 == 0 else S.Zero
    if k == 0:
        return (erf(upper / sqrt(2)) - erf(lower / sqrt(2))) / 2
    ends = _edge(k - 1, lower) - _edge(k - 1, upper)
    return ends + ((k - 1) * _moment(k - 2, lower, upper) if k > 1 else S.Zero)


def _edge(k: int, at: Expr) -> Expr:
    return S.Zero if at.is_infinite else at**k * exp(-(at**2) / 2) / sqrt(2 * pi)


def _check(term: Term) -> None:
    if not term.integrable:
        raise ValueError(
            f"the mean of exp({-term.quadratic}*z**2) under N(0, 1) needs 1 + 2q > 0 to exist, got q = {term.quadratic}"
        )


def real_form(expr: Expr) -> Expr:
    """Return a real number without I, however it was written."""
    out = expand(expr)
    return simplify(out) if not out.has(I) else simplify(out.as_real_imag()[0])
