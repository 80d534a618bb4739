r"""Spectrum of zonal kernels on the unit sphere, exact for arc-cosine kernels and the tangent kernels built from them.

>>> from derivations.arc_cosine import kappa
>>> [zonal_eigenvalue(RHO * kappa(0) + kappa(1), k, 3) for k in range(5)]
[1/2, 1/3, 5/64, 0, 1/192]
"""

from __future__ import annotations

from sympy import Add, Expr, I, Integer, Poly, S, Symbol, acos, cos, expand, pi, simplify, sin, sqrt

from derivations.arc_cosine import RHO

__all__ = ["zonal_eigenvalue"]


def zonal_eigenvalue(kernel: Expr, degree: int, dimension: int) -> Expr:
    r"""Return the eigenvalue of a zonal kernel on the sphere of R^n for harmonics of degree k, uniform probability measure.

    .. math::
        \mu_k = \frac{\int_{-1}^1 \kappa(t) P_k(t) (1 - t^2)^{(n-3)/2} dt}{\int_{-1}^1 (1 - t^2)^{(n-3)/2} dt}, \qquad P_k(1) = 1 ,

    (Funk-Hecke), exactly for kernels :math:`A(t)(\pi - \arccos t) + B(t)\sqrt{1 - t^2} + C(t)` with polynomials A, B, C in ``RHO``:
    with :math:`t = \cos\theta` the integrand is a trigonometric polynomial, times :math:`\pi - \theta` in the first part.

    Raises
    ------
    ValueError
        If the kernel is not of that form, the degree is negative, or the dimension is below 2.

    Examples
    --------
    >>> from derivations.arc_cosine import kappa
    >>> zonal_eigenvalue(kappa(0), 3, 3), zonal_eigenvalue(kappa(1), 2, 3)
    (1/128, 3/128)
    """
    if degree < 0 or dimension < 2:
        raise ValueError(f"degree >= 0 and dimension >= 2 are needed, got {degree} and {dimension}")
    angle, root = Symbol("angle"), Symbol("root")
    parts = Poly(
        expand(expand(kernel).subs({acos(RHO): pi - angle, sqrt(1 - RHO**2): root})), RHO, angle, root
    )
    theta = Symbol("theta", real=True)
    total: Expr = S.Zero
    for (i, j, k), coefficient in parts.terms():
        if coefficient.has(RHO, acos) or j + k > 1:
            raise ValueError(f"{kernel} is not A(t)*(pi - acos(t)) + B(t)*sqrt(1 - t**2) + C(t)")
        weight = (
            cos(theta) ** i * sin(theta) ** (k + dimension - 2) * _gegenbauer(degree, dimension, cos(theta))
        )
        total += coefficient * _integral(weight, theta, j)
    return simplify(total / _integral(sin(theta) ** (dimension - 2), theta, 0))


def _gegenbauer(degree: int, dimension: int, t: Expr) -> Expr:
    """Return P_k of dimension n with P_k(1) = 1: (k + n - 2) P_{k+1} = (2k + n - 2) t P_k - k P_{k-1}."""
    before, here = S.One, t
    if degree == 0:
        return before
    for k in range(1, degree):
        top = (2 * k + dimension - 2) * t * here - k * before
        before, here = here, expand(top / Integer(k + dimension - 2))
    return here


def _integral(weight: Expr, theta: Symbol, power: int) -> Expr:
    r"""Return :math:`\int_0^\pi w(\theta) (\pi - \theta)^{power} d\theta` of a trigonometric polynomial, power 0 or 1, by its Fourier terms."""
    x = Symbol("x")
    as_powers = expand(expand(weight.subs({cos(theta): (x + 1 / x) / 2, sin(theta): (x - 1 / x) / (2 * I)})))
    total: Expr = S.Zero
    for term in Add.make_args(as_powers):
        coefficient, exponent = term.as_coeff_exponent(x)
        k = int(exponent)
        # the means of e^{ik theta} and (pi - theta) e^{ik theta}: parts with the wrong parity cancel in the sum
        if power == 0:
            total += coefficient * (pi if k == 0 else I * (1 - S.NegativeOne**k) / Integer(k))
        else:
            total += coefficient * (
                pi**2 / 2 if k == 0 else I * pi / k + (1 - S.NegativeOne**k) / Integer(k) ** 2
            )
    return expand(total)
