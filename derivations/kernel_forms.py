r"""Closed forms of :math:`\mathbb{E}[f(u) f(v)]` for a centred Gaussian pair with variances a, b and covariance c.

Three families have one, each derived:

* homogeneous on both half-lines, :math:`f(\pm t) = c_\pm t^p`: arc-cosine kernels, see ``derivations.arc_cosine``.
* sums of :math:`z^k e^{-q z^2 + c z}`, complex c included (exp, sin, cos, Gaussians): the generating function of a Gaussian, with
  powers as derivatives in the exponents; polynomials by counting pairings.
* sums of :math:`z^k e^{-q z^2} \operatorname{erf}(\alpha z)`: Stein's identity removes powers and Gaussians until
  :math:`\mathbb{E}[\operatorname{erf}(\alpha u)\operatorname{erf}(\beta v)] = \tfrac{2}{\pi} \arcsin \tfrac{2\alpha\beta c}{\sqrt{(1 + 2\alpha^2 a)(1 + 2\beta^2 b)}}` is left.

>>> a, b, c = symbols("a b c", positive=True)
>>> closed_kernel(Z**2, a, b, c), closed_kernel(exp(Z), a, b, c)
(a*b + 2*c**2, exp(a/2 + b/2 + c))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from sympy import (
    Add,
    Expr,
    Mul,
    Poly,
    S,
    Symbol,
    acos,
    asin,
    binomial,
    cosh,
    diff,
    exp,
    expand,
    factor_terms,
    factorial,
    factorial2,
    pi,
    simplify,
    sinh,
    sqrt,
    symbols,
    together,
)

from derivations.activations import Activation, Z
from derivations.arc_cosine import RHO, arc_cosine_polynomials
from derivations.gaussian_terms import Term, terms_of

__all__ = ["closed_kernel"]


@cache
def closed_kernel(expr: Expr, a: Expr, b: Expr, c: Expr) -> Expr | None:
    """Return the mean of expr(u) expr(v), or None where no closed form is known.

    Raises
    ------
    ValueError
        If the mean does not exist.
    """
    terms = terms_of(expr, Z)
    if terms is not None:
        if expr.is_polynomial(Z):
            return _by_wick(terms, a, b, c)
        if all(term.erf_scale is None for term in terms):
            return _by_generating_function(terms, a, b, c)
        if all(term.linear == 0 for term in terms):
            return _by_stein(terms, a, b, c)
        return None
    sides = [_half_line(expr, side) for side in (1, -1)]
    powers = {p for side in sides if side is not None for p, factor in [side] if factor != 0}
    if any(side is None for side in sides) or len(powers) != 1:
        return None
    (power,) = powers
    (plus, minus) = (side[1] for side in sides if side is not None)
    return _homogeneous(power, plus, minus, a, b, c)


def _homogeneous(power: int, plus: Expr, minus: Expr, a: Expr, b: Expr, c: Expr) -> Expr:
    r"""Return the kernel of :math:`\sigma(\pm t) = c_\pm t^p`.

    Equal signs of u and v contribute :math:`(c_+^2 + c_-^2) J_p(\rho)`, different signs :math:`2 c_+ c_- J_p(-\rho)`; there
    :math:`\pi - \arccos(-\rho) = \pi - (\pi - \arccos\rho)`, which leaves one angle.
    """
    if (a * b).is_zero:
        if power == 0:
            raise ValueError("the kernel of a jump needs positive variances; got a variance 0")
        return S.Zero
    first, second = arc_cosine_polynomials(power)
    same, other = plus**2 + minus**2, 2 * plus * minus
    turned, turned_root = first.subs(RHO, -RHO), second.subs(RHO, -RHO)
    size = sqrt(a * b)

    def scaled(polynomial: Expr, degree: int) -> Expr:
        """Put rho = c / size in and multiply by size**degree."""
        return Add(*[k * c**i * size ** (degree - i) for (i,), k in Poly(expand(polynomial), RHO).terms()])

    angle = factor_terms(scaled(same * first - other * turned, power)) * (pi - acos(c / size))
    root = factor_terms(scaled(same * second + other * turned_root, power - 1)) * sqrt(a * b - c**2)
    return angle + root + scaled(other * turned * pi, power)


def _half_line(expr: Expr, side: int) -> tuple[int, Expr] | None:
    from derivations.activation_properties import half_line

    found = half_line(Activation("", expr), side)
    if found.factor is None or (
        found.degree is not None and not (found.degree.is_Integer and found.degree >= 0)
    ):
        return None
    return (0 if found.degree is None else int(found.degree)), found.factor


def _by_generating_function(terms: Sequence[Term], a: Expr, b: Expr, c: Expr) -> Expr:
    r"""Return the mean of a product of two sums of terms without erf.

    .. math::
        \mathbb{E}\, e^{-p u^2 - q v^2 + s u + t v} = \frac{1}{\sqrt D} \exp \frac{s^2 (a + 2q\Delta) + t^2 (b + 2p\Delta) + 2stc}{2D},
        \quad \Delta = ab - c^2,\ D = 1 + 2pa + 2qb + 4pq\Delta .
    """
    s, t = symbols("s t")
    total: Expr = S.Zero
    for left, right, p, q, gap, bottom in _pairs(terms, a, b, c):
        exponent = (s**2 * (a + 2 * q * gap) + t**2 * (b + 2 * p * gap) + 2 * s * t * c) / (2 * bottom)
        value = _derivatives(exponent, s, left.power, left.linear, t, right.power, right.linear)
        total += left.coefficient * right.coefficient * value / sqrt(bottom)
    return _tidy(total)


def _by_wick(terms: Sequence[Term], a: Expr, b: Expr, c: Expr) -> Expr:
    r"""Return the mean for a polynomial: j pairings between u and v, the rest among themselves.

    .. math::
        \mathbb{E}[u^k v^l] = \sum_j j! \binom{k}{j} \binom{l}{j} (k-j-1)!!\, (l-j-1)!!\, a^{(k-j)/2} b^{(l-j)/2} c^j, \quad k - j,\ l - j\ \text{even} .
    """
    total: Expr = S.Zero
    for left in terms:
        for right in terms:
            k, l = left.power, right.power
            for j in range(min(k, l) + 1):
                if (k - j) % 2 == 0 and (l - j) % 2 == 0:
                    pairings = factorial(j) * binomial(k, j) * binomial(l, j)
                    inner = factorial2(k - j - 1) * factorial2(l - j - 1)
                    powers = a ** ((k - j) // 2) * b ** ((l - j) // 2) * c**j
                    total += left.coefficient * right.coefficient * pairings * inner * powers
    return expand(total)


def _derivatives(exponent: Expr, s: Symbol, i: int, s0: Expr, t: Symbol, j: int, t0: Expr) -> Expr:
    """Return the mixed derivative of exp(exponent) of order (i, j) at (s0, t0), a polynomial times the exponential."""
    polynomial: Expr = S.One
    for symbol, count in ((s, i), (t, j)):
        slope = diff(exponent, symbol)
        for _ in range(count):
            polynomial = expand(diff(polynomial, symbol) + slope * polynomial)
    return (polynomial * exp(exponent)).subs({s: s0, t: t0})


def _pairs(
    terms: Sequence[Term], a: Expr, b: Expr, c: Expr
) -> Iterator[tuple[Term, Term, Expr, Expr, Expr, Expr]]:
    """Yield every two terms with their p, q, Delta and D of the formula above; the mean of their product exists."""
    gap = a * b - c**2
    for left in terms:
        for right in terms:
            p, q = left.quadratic, right.quadratic
            bottom = 1 + 2 * p * a + 2 * q * b + 4 * p * q * gap
            _exists(bottom, 1 + 2 * p * a, 1 + 2 * q * b)
            yield left, right, p, q, gap, bottom


def _exists(*quantities: Expr) -> None:
    for quantity in quantities:
        if quantity.is_nonpositive:
            raise ValueError(f"the mean does not exist: {quantity} must be positive")


def _by_stein(terms: Sequence[Term], a: Expr, b: Expr, c: Expr) -> Expr:
    total: Expr = S.Zero
    for left, right, p, q, gap, bottom in _pairs(terms, a, b, c):
        new = ((a + 2 * q * gap) / bottom, (b + 2 * p * gap) / bottom, c / bottom)
        scales = (left.erf_scale, right.erf_scale)
        value = _erf_moment(left.power, right.power, *scales, *new)
        total += left.coefficient * right.coefficient * value / sqrt(bottom)
    return _tidy(total)


def _erf_moment(k: int, l: int, alpha: Expr | None, beta: Expr | None, a: Expr, b: Expr, c: Expr) -> Expr:
    r"""Return :math:`\mathbb{E}[u^k v^l \operatorname{erf}(\alpha u)\operatorname{erf}(\beta v)]`, a factor erf missing where its scale is None.

    Stein: :math:`\mathbb{E}[u F] = a\, \mathbb{E}[\partial_u F] + c\, \mathbb{E}[\partial_v F]`; a derivative of erf is a Gaussian, which changes the covariance.
    """
    if (k + l + (alpha is not None) + (beta is not None)) % 2:
        return S.Zero
    if k == 0 and l == 0:
        if alpha is None or beta is None:
            return S.One if alpha is None and beta is None else S.Zero
        return 2 / pi * asin(2 * alpha * beta * c / sqrt((1 + 2 * alpha**2 * a) * (1 + 2 * beta**2 * b)))
    if k == 0:  # by symmetry
        return _erf_moment(l, k, beta, alpha, b, a, c)
    total: Expr = S.Zero
    if k > 1:
        total += a * (k - 1) * _erf_moment(k - 2, l, alpha, beta, a, b, c)
    if l > 0:
        total += c * l * _erf_moment(k - 1, l - 1, alpha, beta, a, b, c)
    if alpha is not None:
        d = 1 + 2 * alpha**2 * a
        inner = _erf_moment(k - 1, l, None, beta, a / d, b - 2 * alpha**2 * c**2 / d, c / d)
        total += a * 2 * alpha / sqrt(pi * d) * inner
    if beta is not None:
        d = 1 + 2 * beta**2 * b
        inner = _erf_moment(k - 1, l, alpha, None, a - 2 * beta**2 * c**2 / d, b / d, c / d)
        total += c * 2 * beta / sqrt(pi * d) * inner
    return total


def _tidy(total: Expr) -> Expr:
    """Write pairs of exponentials as hyperbolic functions, and bring fractions to one denominator each."""
    out = _hyperbolic(expand(total)) if total.has(exp) else expand(total)
    return Add(
        *[
            simplify(together(u)) if u.has(sqrt(pi)) or not u.is_polynomial() else u
            for u in Add.make_args(out)
        ]
    )


def _hyperbolic(total: Expr) -> Expr:
    r"""Use :math:`k (e^x \pm e^y) = 2k\, e^{(x+y)/2} \cosh` (or sinh) of :math:`(x - y)/2`."""
    terms: dict[Expr, Expr] = {}
    for product in Add.make_args(total):
        exponents = [u.args[0] for u in Mul.make_args(product) if isinstance(u, exp)]
        exponent = expand(Add(*exponents))
        rest = Mul(*[u for u in Mul.make_args(product) if not isinstance(u, exp)])
        terms[exponent] = terms.get(exponent, S.Zero) + rest
    terms = {exponent: expand(k) for exponent, k in terms.items() if expand(k) != 0}
    out: Expr = S.Zero
    while terms:
        x, k = terms.popitem()
        for y, other in terms.items():
            if (other == k or other == -k) and x != y:
                del terms[y]
                half = (x - y) / 2
                out += 2 * k * exp((x + y) / 2) * (cosh(half) if other == k else sinh(half))
                break
        else:
            out += k * exp(x)
    return out
