r"""Mean of :math:`u_+ v_+` for Gaussian u, v of variance 1 as a function of their correlation, with derivatives for numbers.

.. math::
    k_1(\rho) = \tfrac{1}{2\pi} \Bigl(\sqrt{1 - \rho^2} + \rho \bigl(\tfrac{\pi}{2} + \arcsin\rho\bigr)\Bigr), \quad
    k_1' = k_0 = \tfrac14 + \tfrac{\arcsin\rho}{2\pi}, \quad k_0' = \tfrac{1}{2\pi \sqrt{1 - \rho^2}} .

Rounding may put a correlation beyond 1, where the formulas have no value; as functions by name they are evaluated with
care, and :math:`k_0'` is 0 at :math:`\pm 1`, where its coefficient in a second derivative of a risk vanishes faster.

>>> from sympy import Symbol
>>> rho = Symbol("rho", real=True)
>>> relu_mean(rho).diff(rho, 2), relu_mean(rho).doit().subs(rho, 1)
(relu_mean_curve(rho), 1/2)
"""

from __future__ import annotations

from sympy import Expr, Function, Rational, asin, pi, sqrt
from sympy.core.function import ArgumentIndexError

__all__ = ["relu_mean", "relu_mean_curve", "relu_mean_slope"]


class relu_mean(Function):
    r"""The mean :math:`k_1`."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return ``relu_mean_slope``."""
        return relu_mean_slope(_only(self, argindex))

    def doit(self, **_: object) -> Expr:
        """Return the formula."""
        (rho,) = self.args
        return (sqrt(1 - rho**2) + rho * (pi / 2 + asin(rho))) / (2 * pi)


class relu_mean_slope(Function):
    r"""Its derivative :math:`k_0`, the probability that u and v are positive."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return ``relu_mean_curve``."""
        return relu_mean_curve(_only(self, argindex))

    def doit(self, **_: object) -> Expr:
        """Return the formula."""
        return Rational(1, 4) + asin(self.args[0]) / (2 * pi)


class relu_mean_curve(Function):
    r"""The second derivative :math:`k_0'`."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return the derivative, for correlations inside (-1, 1)."""
        rho = _only(self, argindex)
        return rho / (1 - rho**2) * self

    def doit(self, **_: object) -> Expr:
        """Return the formula."""
        return 1 / (2 * pi * sqrt(1 - self.args[0] ** 2))


def _only(function: Function, argindex: int) -> Expr:
    if argindex != 1:
        raise ArgumentIndexError(function, argindex)
    return function.args[0]
