r"""Hermite coefficients of an activation under N(0, 1), exact where a closed form exists, else enclosed.

.. math::
    c_j = \frac{1}{\sqrt{j!}} \mathbb{E}[\sigma(g)\, \mathrm{He}_j(g)], \qquad
    \sigma = \sum_j c_j \frac{\mathrm{He}_j}{\sqrt{j!}}, \qquad \sum_j c_j^2 = \mathbb{E}[\sigma(g)^2],

with the probabilists' polynomials He_j.  Closed forms come from the terms of ``derivations.gaussian_terms`` on each
cell of the formula.  Parity up to an affine part gives exact coefficients as well: softplus(z) - softplus(-z) = z, so
c_1 = 1/2 and c_3 = c_5 = ... = 0.  The rest is Gauss-Legendre quadrature in interval arithmetic on panels of [-A, A].
A panel of half width h has the error

.. math::
    \lvert I - Q_n \rvert \le \tfrac{64}{15}\, h\, M \frac{\rho^{-2(n-1)}}{1 - \rho^{-2}},

M a bound of the integrand on the ellipse with semi-axes :math:`h(\rho \pm 1/\rho)/2`, found by complex interval arithmetic; beyond A
the growth bound :math:`\lvert\sigma(x)\rvert \le \lvert\sigma(0)\rvert + L \lvert x \rvert` is integrated.

Source
------
Trefethen (2013), Approximation Theory and Approximation Practice, Theorem 19.3 - the quadrature error.

>>> from derivations.activations import REGISTRY
>>> [c.value for c in hermite_coefficients(REGISTRY["relu"], 3)]
[sqrt(2)/(2*sqrt(pi)), 1/2, 1/(2*sqrt(pi)), 0]
>>> [str(c.status) for c in hermite_coefficients(REGISTRY["sigmoid"], 3)]
['PROVED', 'CERTIFIED', 'PROVED', 'CERTIFIED']
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from mpmath import mp, mpf
from mpmath.ctx_iv import MPIntervalContext
from sympy import Expr, Float, Integer, Rational, S, expand, factorial, simplify, sqrt

from derivations.activation_properties import pieces
from derivations.activations import Activation, Z
from derivations.cells import Cell, NotDecided
from derivations.claim import Status
from derivations.decide import Finding
from derivations.enclosure import IV, NotEnclosed, enclose, ends, rectangle_bound
from derivations.gaussian_terms import real_form, terms_of, truncated_mean
from derivations.kernel_forms import closed_kernel

__all__ = [
    "closed_mean",
    "hermite_coefficient",
    "hermite_coefficients",
    "he_polynomial",
    "remainder",
    "second_moment",
]

_NODES, _RHO = 24, 4
_REACH = 16  # beyond it the Gaussian weight is below 1e-56
_LARGEST_ORDER = 40
_SMALLEST_PANEL = Rational(1, 64)


def he_polynomial(order: int) -> tuple[int, ...]:
    """Return the coefficients of He_order from the constant term upwards: He_{n+1} = x He_n - n He_{n-1}.

    >>> he_polynomial(4)
    (3, 0, -6, 0, 1)
    """
    before, here = [0], [1]
    for n in range(order):
        before, here = here, [a - n * b for a, b in zip([0, *here], [*before, 0, 0])]
    return tuple(here)


def hermite_coefficient(activation: Activation, order: int) -> Finding:
    """Return c_order; see ``hermite_coefficients``."""
    return hermite_coefficients(activation, order)[order]


def hermite_coefficients(activation: Activation, highest: int) -> tuple[Finding, ...]:
    """Return c_0, ..., c_highest.

    Parameters
    ----------
    activation : Activation
        Any; where a mean does not exist the finding is REFUTED.
    highest : int
        The last order, at most 40.

    Returns
    -------
    tuple of Finding
        PROVED with an exact value, CERTIFIED with a float and the radius of an interval that contains the coefficient,
        or SUPPORTED with a float and an estimate of its error where no growth bound or enclosure is known.

    Raises
    ------
    ValueError
        If the order is not between 0 and 40.
    """
    if not 0 <= highest <= _LARGEST_ORDER:
        raise ValueError(f"the highest order is 0 to {_LARGEST_ORDER}, got {highest}")
    return _coefficients(activation, highest)


@cache
def _coefficients(activation: Activation, highest: int) -> tuple[Finding, ...]:
    exact = [_exact(activation, order) for order in range(highest + 1)]
    if all(found is not None for found in exact):
        return tuple(found for found in exact if found is not None)
    integrals = _quadrature(activation, activation.expr, highest, squared=False)
    return tuple(
        found if found is not None else _scaled(integral, 1 / sqrt(factorial(order)))
        for order, (found, integral) in enumerate(zip(exact, integrals))
    )


@cache
def second_moment(activation: Activation) -> Finding:
    r"""Return :math:`\mathbb{E}[\sigma(g)^2]`, exact or enclosed as the coefficients are.

    >>> from derivations.activations import REGISTRY
    >>> second_moment(REGISTRY["relu"]).value, second_moment(REGISTRY["erf"]).status.name
    (1/2, 'PROVED')
    """
    square = expand(activation.expr**2)
    try:
        value = closed_mean(square, 0)
    except ValueError as error:
        return Finding(None, Status.REFUTED, f"{error}.")
    if value is None:
        value = closed_kernel(activation.expr, S.One, S.One, S.One)
    if value is not None:
        return Finding(real_form(value), Status.PROVED, "Closed form.")
    return _quadrature(activation, square, 0, squared=True)[0]


@cache
def closed_mean(expr: Expr, order: int) -> Expr | None:
    r"""Return :math:`\mathbb{E}[expr(g)\, \mathrm{He}_{order}(g)]` in closed form, None where there is none.

    Raises
    ------
    ValueError
        If the mean does not exist.
    """
    try:
        parts = pieces(expr)
    except NotDecided:
        return None
    total: Expr = S.Zero
    for part in parts:
        factor = sum((c * Z**k for k, c in enumerate(he_polynomial(order))), S.Zero)
        terms = terms_of(part.expr * factor, Z)
        if terms is None or (len(parts) > 1 and any(u.erf_scale is not None for u in terms)):
            return None
        total += sum((truncated_mean(term, part.lower, part.upper) for term in terms), S.Zero)
    return real_form(total)


def _exact(activation: Activation, order: int) -> Finding | None:
    try:
        value = closed_mean(activation.expr, order)
    except ValueError as error:
        return Finding(None, Status.REFUTED, f"{error}.")
    if value is not None:
        return Finding(simplify(value / sqrt(factorial(order))), Status.PROVED, "Closed form.")
    parity = activation.affine_parity
    if _growth(activation) is None or parity.sign not in (1, -1) or (parity.sign == 1) != (order % 2 == 1):
        return None
    if parity.sign == -1:  # the even part is the constant alpha/2
        return Finding(parity.constant / 2 if order == 0 else S.Zero, Status.PROVED, "Parity.")
    return Finding(-parity.slope / 2 if order == 1 else S.Zero, Status.PROVED, "Parity.")


def _scaled(found: Finding, factor: Expr) -> Finding:
    if found.value is None or found.radius is None:
        return found
    value = (found.value * factor).evalf(30)
    radius = mpf((found.radius * factor).evalf(20)) * mpf("1.01") + mpf(10) ** -28 * abs(mpf(value))
    return Finding(value, found.status, found.reason, Rational(str(mp.nstr(radius, 3))))


def _quadrature(activation: Activation, expr: Expr, highest: int, *, squared: bool) -> list[Finding]:
    growth = _growth(activation)
    if growth is not None:
        if squared:
            growth = _product(growth, growth)
        try:
            return _certified(expr, highest, growth)
        except NotEnclosed:
            pass
    return _supported(expr, highest)


def _growth(activation: Activation) -> list[Any] | None:
    r"""Return a, b (and c) with :math:`\lvert\sigma(x)\rvert \le a + b \lvert x\rvert + c x^2`, upper ends of intervals."""
    try:
        at_zero = abs(enclose(activation.value_at_zero, Z, IV.mpf(0))).b
        first = activation.lipschitz
        if first.known:
            return [at_zero, _upper(first)]
        second = activation.lipschitz_derivative
        if second.known and not activation.breaks.value:
            slope = abs(enclose(activation.derivative(1).subs(Z, 0), Z, IV.mpf(0))).b
            return [at_zero, slope, _upper(second) / 2]
    except NotEnclosed:
        pass
    return None


def _upper(found: Finding) -> Any:
    return enclose(found.value + (found.radius or 0), Z, IV.mpf(0)).b


def _product(first: list[Any], second: list[Any]) -> list[Any]:
    out = [IV.mpf(0)] * (len(first) + len(second) - 1)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            out[i + j] = out[i + j] + a * b
    return out


def _certified(expr: Expr, highest: int, growth: Sequence[Any]) -> list[Finding]:
    """Return the integrals of expr He_j phi, j = 0..highest, each with the radius of an enclosure."""
    try:
        parts = pieces(expr)
    except NotDecided as error:
        raise NotEnclosed(str(error)) from error
    polynomials = [he_polynomial(order) for order in range(highest + 1)]
    totals = [IV.mpf(0) for _ in polynomials]
    for part in parts:
        for lower, upper in _panels(part):
            totals = [a + b for a, b in zip(totals, _panel(part.expr, lower, upper, polynomials))]
    out = []
    for order, total in enumerate(totals):
        rest = 2 * sum((c * _tail(k + order) for k, c in enumerate(growth)), IV.mpf(0))
        found = total + rest * IV.mpf([-1, 1])
        with mp.workprec(IV.prec):
            lower, upper = ends(found)
            value = Float((lower + upper) / 2, 30)
            radius = (upper - lower) / 2 + mpf(10) ** -28 * (1 + abs(upper))  # and the rounding of the value
            shown = Rational(str(mp.nstr(radius * mpf("1.01"), 3)))
        out.append(Finding(value, Status.CERTIFIED, "Quadrature in interval arithmetic.", shown))
    return out


def _tail(k: int) -> Any:
    r"""Bound the integral of x^k phi over [A, oo): A^{k-1} phi(A) / (1 - (k-1)/A^2) for A^2 > k - 1.

    For x >= A, beyond all zeros of He_j, 0 < He_j(x) <= x^j, so this serves for He_j x^i with k = i + j.
    """
    a = IV.mpf(_REACH)
    if k >= _REACH**2:
        raise NotEnclosed("the order is too high for the range")
    return a ** (k - 1) * IV.exp(-a * a / 2) / IV.sqrt(2 * IV.pi) / (1 - max(k - 1, 0) / (a * a))


def _panels(part: Cell) -> list[tuple[Rational, Rational]]:
    """Cut the cell, within [-A, A], at the integers."""
    lower = max(part.lower, Integer(-_REACH))
    upper = min(part.upper, Integer(_REACH))
    if not (lower.is_Rational and upper.is_Rational):
        raise NotEnclosed("a cut that is not rational")
    cuts = [lower, *[Integer(k) for k in range(-_REACH, _REACH + 1) if lower < k < upper], upper]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def _panel(expr: Expr, lower: Rational, upper: Rational, polynomials: Sequence[Sequence[int]]) -> list[Any]:
    """Return enclosures of the integrals over one panel, halving it while the ellipse meets a singularity."""
    middle, half = (
        IV.mpf((lower + upper).p) / (lower + upper).q / 2,
        IV.mpf((upper - lower).p) / (upper - lower).q / 2,
    )
    wide, high = half * (_RHO + IV.mpf(1) / _RHO) / 2, half * (_RHO - IV.mpf(1) / _RHO) / 2
    try:
        size = rectangle_bound(expr, Z, middle - wide, middle + wide, high)
    except NotEnclosed:
        if upper - lower <= _SMALLEST_PANEL:
            raise
        between = (lower + upper) / 2
        first, second = (_panel(expr, a, b, polynomials) for a, b in ((lower, between), (between, upper)))
        return [a + b for a, b in zip(first, second)]
    outer = IV.mpf((abs(middle) + wide).b) + high
    inner = abs(middle) - wide
    nearest = IV.mpf([0, 0]) if inner.a <= 0 else IV.mpf(inner.a)
    weight = IV.exp((high * high - nearest * nearest) / 2) / IV.sqrt(2 * IV.pi)
    error = (
        IV.mpf(64)
        / 15
        * half
        * size
        * weight
        * IV.mpf(_RHO) ** (-2 * (_NODES - 1))
        / (1 - IV.mpf(_RHO) ** -2)
    )
    totals = [IV.mpf(0) for _ in polynomials]
    for node, share in _gauss_legendre():
        x = middle + half * node
        value = enclose(expr, Z, x) * IV.exp(-x * x / 2) / IV.sqrt(2 * IV.pi) * half * share
        before, here = IV.mpf(0), IV.mpf(1)
        for order in range(len(polynomials)):
            totals[order] = totals[order] + value * here
            before, here = here, x * here - order * before
    bounds = [sum((abs(c) * outer**k for k, c in enumerate(p)), IV.mpf(0)) for p in polynomials]
    return [total + (error * bound).b * IV.mpf([-1, 1]) for total, bound in zip(totals, bounds)]


@cache
def _gauss_legendre() -> tuple[tuple[Any, Any], ...]:
    """Return nodes and weights as intervals: each node is bracketed by a change of sign of the Legendre polynomial.

    The recursion of Legendre's polynomials widens intervals by a factor of about 2.4 a step, so it runs with twice the
    digits.
    """
    fine = MPIntervalContext()
    fine.prec = 2 * IV.prec
    brackets, out = [], []
    with mp.workprec(fine.prec):
        room, outward = mpf(2) ** (-IV.prec - 10), mpf(2) ** (5 - IV.prec)
        for k in range(1, _NODES + 1):
            near = mp.cos(mp.pi * (k - mpf(1) / 4) / (_NODES + mpf(1) / 2))
            for _ in range(12):  # Newton's method; whether it arrived is seen below
                value, before = _legendre(near)
                near -= value * (1 - near * near) / (_NODES * (before - near * value))
            left, right = fine.mpf(near - room), fine.mpf(near + room)
            if not (_legendre(left)[0] * _legendre(right)[0]).b < 0:
                raise AssertionError(f"no change of sign of the Legendre polynomial near {near}")
            node = fine.mpf([left.a, right.b])
            brackets.append(ends(node))
            value, before = _legendre(node)
            slope = _NODES * (before - node * value) / (1 - node * node)
            weight = 2 / ((1 - node * node) * slope * slope)
            out.append(tuple(IV.mpf([ends(u)[0] - outward, ends(u)[1] + outward]) for u in (node, weight)))
    if any(a[0] <= b[1] for a, b in pairwise(brackets)):  # the nodes were found from right to left
        raise AssertionError("the brackets of the Gauss-Legendre nodes overlap")
    return tuple(out)


def _legendre(x: Any) -> tuple[Any, Any]:
    """Return P_n and P_{n-1} at x, n the number of nodes."""
    before, here = 1 + 0 * x, x
    for n in range(1, _NODES):
        before, here = here, ((2 * n + 1) * x * here - n * before) / (n + 1)
    return here, before


def _supported(expr: Expr, highest: int) -> list[Finding]:
    """Return the integrals by adaptive quadrature, with the error it estimates."""
    with mp.workdps(25):
        try:
            cuts = sorted({mpf(part.lower.evalf(25)) for part in pieces(expr)[1:]})
        except NotDecided:
            cuts = []
        inside = [cut for cut in cuts if abs(cut) < _REACH]
        nodes = sorted({*inside, *[mpf(k) for k in (-_REACH, -8, -4, -2, 0, 2, 4, 8, _REACH)]})
        kept: dict[Any, Any] = {}

        def at(x: Any) -> Any:
            if x not in kept:
                try:
                    value = sum(ends(enclose(expr, Z, IV.mpf(x)))) / 2
                except NotEnclosed:  # a function that SymPy alone can evaluate
                    value = mpf(expr.subs(Z, Float(x, 30)).evalf(25))
                kept[x] = value * mp.npdf(x)
            return kept[x]

        # A mean exists only with that of the modulus: odd singularities would cancel.
        size, doubt = mp.quad(lambda x: abs(at(x)), nodes, error=True)
        out = []
        for order in range(highest + 1):
            polynomial = he_polynomial(order)[::-1]
            value, error = mp.quad(lambda x, p=polynomial: at(x) * mp.polyval(p, x), nodes, error=True)
            if not max(error, doubt) < mpf(10) ** -6 * (1 + min(size, 100)):
                out.append(Finding(None, Status.UNDECIDED, "Adaptive quadrature does not settle."))
                continue
            shown = Rational(str(mp.nstr(error + mpf(10) ** -20, 3)))
            out.append(
                Finding(Float(value, 22), Status.SUPPORTED, "Adaptive quadrature, error estimated.", shown)
            )
    return out


def remainder(coefficients: Sequence[Finding], moment: Finding) -> Expr | None:
    r"""Return an upper bound of :math:`\sum_{j > J} c_j^2 = \mathbb{E}[\sigma^2] - \sum_{j \le J} c_j^2`, None where it is not certified."""
    if not moment.known or not all(c.known for c in coefficients):
        return None
    top = moment.value + (moment.radius or 0)
    for c in coefficients:
        size = abs(c.value) - (c.radius or 0)
        top -= size**2 if size.evalf(25) > 0 else 0
    return top
