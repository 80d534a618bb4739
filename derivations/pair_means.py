r"""Means :math:`\mathbb{E}[\sigma(u)\sigma(v)]` and :math:`\mathbb{E}[\sigma'(u)\sigma'(v)]` in the form a paper prints.

For sigma homogeneous of degree 1, :math:`\sigma(\pm t) = c_\pm t`, variances a, b, covariance c and :math:`\rho = c/\sqrt{ab}`,

.. math::
    \mathbb{E}[\sigma\sigma] = \tfrac12 (c_+ + c_-)^2 \sqrt{ab}\, \kappa_1(\rho) - c_+ c_-\, c, \qquad
    \mathbb{E}[\sigma'\sigma'] = \tfrac12 (c_+ + c_-)^2 \kappa_0(\rho) - c_+ c_- ,

the second by Price's theorem from the first, since :math:`\kappa_1' = \kappa_0`.  Other closed forms are those of
``derivations.kernel_forms``; where there is none, the mean keeps its name, and its Hermite series is said in a note.

>>> from derivations.activations import REGISTRY
>>> a, b, c, rho = symbols("a b c rho")
>>> pair_mean(REGISTRY["relu"], 0, a, b, c, rho), pair_mean(REGISTRY["relu"], 1, a, b, c, rho)
(sqrt(a)*sqrt(b)*kappa1(rho)/2, kappa0(rho)/2)
"""

from __future__ import annotations

from collections.abc import Iterator

from sympy import (
    Add,
    Expr,
    Function,
    Mul,
    Pow,
    Rational,
    S,
    acos,
    div,
    expand,
    factor,
    fraction,
    pi,
    sqrt,
    symbols,
)
from sympy.core.function import ArgumentIndexError

from derivations.activation_properties import tex
from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.gaussian_terms import Term, terms_of
from derivations.kernel_forms import closed_kernel

__all__ = ["kappa0", "kappa1", "largest_variance", "mean_notes", "pair_mean"]

_A, _B = symbols("a b", positive=True)
_C = symbols("c", real=True)
#: Closed forms up to this size take SymPy a few seconds and a few lines; larger ones, minutes and a page.
_LARGEST_FORM = 12


class kappa0(Function):
    r"""Arc-cosine kernel :math:`\kappa_0(u) = (\pi - \arccos u)/\pi`."""

    is_real = True

    def doit(self, **_: object) -> Expr:
        """Return the formula."""
        return (pi - acos(self.args[0])) / pi

    def fdiff(self, argindex: int = 1) -> Expr:
        r"""Return :math:`1/(\pi \sqrt{1 - u^2})`."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return 1 / (pi * sqrt(1 - self.args[0] ** 2))

    def _eval_evalf(self, prec: int) -> Expr:
        return self.doit()._eval_evalf(prec)


class kappa1(Function):
    r"""Arc-cosine kernel :math:`\kappa_1(u) = (u (\pi - \arccos u) + \sqrt{1 - u^2})/\pi`, with :math:`\kappa_1' = \kappa_0`."""

    is_real = True

    def doit(self, **_: object) -> Expr:
        """Return the formula."""
        u = self.args[0]
        return (u * (pi - acos(u)) + sqrt(1 - u**2)) / pi

    def fdiff(self, argindex: int = 1) -> Expr:
        r"""Return :math:`\kappa_0(u)`."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return kappa0(self.args[0])

    def _eval_evalf(self, prec: int) -> Expr:
        return self.doit()._eval_evalf(prec)


def pair_mean(activation: Activation | None, order: int, a: Expr, b: Expr, c: Expr, rho: Expr) -> Expr | None:
    r"""Return :math:`\mathbb{E}[\sigma^{(order)}(u)\,\sigma^{(order)}(v)]` for variances a, b > 0 and covariance c, or None.

    Parameters
    ----------
    activation : Activation or None
        None, or one without a closed form, gives None.
    order : int
        0, or 1 for the derivative almost everywhere.
    a, b, c, rho : Expr
        Variances, covariance, and what stands for :math:`c/\sqrt{ab}`.

    Raises
    ------
    AssumptionError
        If the mean does not exist for any variances.
    """
    if activation is None:
        return None
    sides = _homogeneous(activation)
    if sides is not None:
        degree, plus, minus = sides
        if degree == 0:
            return S.Zero if order else (plus - minus) ** 2 * kappa0(rho) / 2 + plus * minus
        weight = (plus + minus) ** 2 * Rational(1, 2)
        if order:
            return weight * kappa0(rho) - plus * minus
        return weight * sqrt(a) * sqrt(b) * kappa1(rho) - plus * minus * c
    formula = activation.derivative(order)
    if not formula.is_polynomial(Z) and sum(map(_size, terms_of(formula, Z) or ())) > _LARGEST_FORM:
        return None
    try:
        found = closed_kernel(formula, _A, _B, _C)
    except ValueError as error:
        raise AssumptionError(f"the kernels of {activation.name} do not exist: {error}") from None
    if found is None:
        return None
    return _gathered(found).subs({_A: a, _B: b, _C: c}, simultaneous=True)


def _size(term: Term) -> int:
    """Return how much a term adds to the length of a closed form in three free variances."""
    nested = term.erf_scale is not None
    if nested and term.quadratic != 0:
        return _LARGEST_FORM + 1  # arcsines of nested fractions
    curved, turned = term.quadratic != 0, term.linear != 0
    return term.power**2 + 3 * curved + turned + 3 * term.power * nested


def _gathered(expr: Expr) -> Expr:
    """Give every root its expanded radicand and collect the terms that share one with the covariance in it."""
    expr = expr.replace(
        lambda u: u.is_Pow and not u.exp.is_Integer and u.base.is_Add, lambda u: Pow(expand(u.base), u.exp)
    )
    groups: dict[Expr, Expr] = {}
    for term in Add.make_args(expr):
        key = Mul(
            *[
                u
                for u in Mul.make_args(term)
                if u.is_Pow and u.base.is_Add and u.has(_C) and not u.exp.is_Integer
            ]
        )
        groups[key] = groups.get(key, S.Zero) + term / key
    return Add(*[_divided(factor(value), key) if key != 1 else value for key, value in groups.items()])


def _divided(value: Expr, root: Expr) -> Expr:
    """Return value * root, with whole multiples of the radicand taken out of the numerator where that is shorter."""
    whole = value * root
    top, bottom = fraction(value)
    if not root.is_Pow or not top.is_polynomial(_C):
        return whole
    quotient, rest = div(top, root.base, _C)
    if quotient == 0:
        return whole
    parts = factor(quotient / bottom) * root.base * root + factor(rest / bottom) * root
    return min(parts, whole, key=lambda form: len(str(form)))


def _homogeneous(activation: Activation) -> tuple[int, Expr, Expr] | None:
    """Return (degree, c_+, c_-) of a function homogeneous of degree 0 or 1 on both half-lines, with a kink or jump."""
    right, left = activation.half_lines
    if right.status is not Status.PROVED or left.status is not Status.PROVED:
        return None
    degrees = {side.degree for side in (right, left) if side.degree is not None}
    if len(degrees) != 1 or not degrees <= {S.Zero, S.One}:
        return None
    (degree,) = degrees
    plus, minus = (side.factor or S.Zero for side in (right, left))
    smooth = plus + minus == 0 if degree == 1 else plus == minus
    return None if smooth else (int(degree), plus, minus)


def mean_notes(
    activation: Activation | None, closed: tuple[bool, bool], covariance: str = "S"
) -> Iterator[str]:
    r"""Yield the sentences on existence and series of the two means.

    A Lipschitz constant makes both means exist and both series converge: sigma and sigma' are then square integrable under
    every Gaussian, and sigma is absolutely continuous.

    Parameters
    ----------
    activation : Activation or None
        None for a general one.
    closed : tuple of bool
        Whether each mean stands in closed form.
    covariance : str
        LaTeX of the covariance, ``S^{(l-1)}`` in a deep network.
    """
    if activation is None:
        yield "The activation is general; the means are taken to exist."
        return
    at = {place: rf"{covariance}_{{{place}}}" for place in ("ii", "jj", "ij", "kk")}
    coefficients = rf"c_k({at['ii']})\, c_k({at['jj']})"
    size = rf"\sqrt{{{at['ii']} {at['jj']}}}"
    series = (
        rf"\mathbb{{E}}[\sigma(u) \sigma(v)] = \sum_{{k \ge 0}} {coefficients}\, \rho^k",
        rf"\mathbb{{E}}[\sigma'(u) \sigma'(v)] = \sum_{{k \ge 1}} \frac{{k\, {coefficients}}}{{{size}}}\, \rho^{{k-1}}",
    )
    left_out = [text for text, known in zip(series, closed, strict=True) if not known]
    terms = [terms_of(activation.derivative(order), Z) for order in (0, 1)]
    flat = all(found is not None and all(term.quadratic.is_nonnegative for term in found) for found in terms)
    if left_out and (activation.lipschitz.known or flat):
        reason = (
            "has a Lipschitz constant"
            if activation.lipschitz.known
            else r"grows slower than $e^{\epsilon z^2}$"
        )
        yield (
            f"No closed form is given here. The means have the Hermite series {' and '.join(f'${text}$' for text in left_out)} with "
            rf"$\rho = {at['ij']} / {size}$ and $c_k(v) = \mathbb{{E}}[\sigma(\sqrt{{v}}\, g)\, \mathrm{{He}}_k(g)] / \sqrt{{k!}}$, "
            rf"$g \sim N(0, 1)$; they converge, since $\sigma$ {reason}."
        )
    elif left_out:
        yield (
            r"No closed form is known here, and that the means exist is not shown (UNDECIDED): no Lipschitz constant of $\sigma$ is known."
        )
    if _homogeneous(activation) is not None:
        yield f"The closed forms hold for ${at['ii']} > 0$ and ${at['jj']} > 0$."
        return
    bound = largest_variance(activation)
    if bound is not None:
        yield f"The means exist where ${at['kk']} < {tex(bound)}$ for $k = i$ and $k = j$."


def largest_variance(activation: Activation) -> Expr | None:
    r"""Return the variance from which on the mean of the square is infinite, None where no term grows like :math:`e^{q z^2}`.

    >>> from derivations.activations import activation
    >>> largest_variance(activation("exp(z**2/8)")), largest_variance(activation("erf"))
    (2, None)
    """
    terms = [term for order in (0, 1) for term in terms_of(activation.derivative(order), Z) or ()]
    bounds = [-1 / (4 * term.quadratic) for term in terms if term.quadratic.is_negative]
    return min(bounds, default=None)
