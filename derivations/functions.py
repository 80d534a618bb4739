"""Named scalar functions with stable derivative rules, shared by activations, losses and formulas.

SymPy's own ``Max``, ``Heaviside`` and ``log(1 + exp(z))`` differentiate into forms that print badly, overflow or
cannot be evaluated by PyTorch.  Each class here knows its derivative (``fdiff``), its elementary form
(``rewrite(exp)`` or ``rewrite(Piecewise)``) and its exact values where they are obvious.

>>> from sympy import symbols
>>> z = symbols("z", real=True)
>>> softplus(z).diff(z), sigmoid(z).diff(z), relu(z).diff(z)
(sigmoid(z), (1 - sigmoid(z))*sigmoid(z), step(z, 0))
"""

from __future__ import annotations

from sympy import Expr, Function, Integer, Piecewise, Rational, S, cosh, exp, log, sympify, tanh
from sympy.core.function import ArgumentIndexError

__all__ = ["relu", "sech2", "sigmoid", "softplus", "step"]


class step(Function):
    """Heaviside step ``step(z, c)``: 0 for z < 0, the stated value c at z = 0, 1 for z > 0.

    Its derivative is 0 almost everywhere; no distribution is carried.
    """

    is_real = True

    def __new__(cls, z: Expr, value_at_zero: Expr | int = 0, **options: object) -> Expr:
        """Accept ``step(z)`` as short for ``step(z, 0)``."""
        return super().__new__(cls, sympify(z, strict=True), sympify(value_at_zero, strict=True), **options)

    @classmethod
    def eval(cls, z: Expr, value_at_zero: Expr) -> Expr | None:
        """Return the exact value where the sign of ``z`` is known."""
        if z.is_zero:
            return value_at_zero
        if z.is_extended_positive:
            return S.One
        if z.is_extended_negative:
            return S.Zero
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return 0: the derivative almost everywhere."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return S.Zero

    def _eval_rewrite_as_Piecewise(self, z: Expr, value_at_zero: Expr, **_: object) -> Expr:
        return Piecewise((S.Zero, z < 0), (S.One, z > 0), (value_at_zero, True))

    def _latex(self, printer: object, exp: str | None = None) -> str:
        body = rf"\mathbf{{1}}\{{{printer._print(self.args[0])} > 0\}}"  # type: ignore[attr-defined]
        return body if exp is None else f"{body}^{{{exp}}}"


class relu(Function):
    """Positive part ``relu(z) = max(0, z)``; derivative ``step(z, 0)``, the value at the kink being a convention."""

    is_real = True
    is_nonnegative = True

    @classmethod
    def eval(cls, z: Expr) -> Expr | None:
        """Return the exact value where the sign of ``z`` is known."""
        if z.is_extended_nonnegative:
            return z
        if z.is_extended_nonpositive:
            return S.Zero
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return ``step(z, 0)``."""
        return step(self.args[0], Integer(0))

    def _eval_rewrite_as_Piecewise(self, z: Expr, **_: object) -> Expr:
        return Piecewise((S.Zero, z <= 0), (z, True))

    def _latex(self, printer: object, exp: str | None = None) -> str:
        body = rf"\left({printer._print(self.args[0])}\right)_{{+}}"  # type: ignore[attr-defined]
        return body if exp is None else f"{body}^{{{exp}}}"


class sigmoid(Function):
    """Logistic function ``sigmoid(z) = 1/(1 + exp(-z))``; derivative ``sigmoid (1 - sigmoid)``."""

    is_real = True
    is_positive = True

    @classmethod
    def eval(cls, z: Expr) -> Expr | None:
        """Return 1/2 at 0 and the limits at infinity."""
        if z.is_zero:
            return Rational(1, 2)
        if z is S.Infinity:
            return S.One
        if z is S.NegativeInfinity:
            return S.Zero
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return ``sigmoid(z) (1 - sigmoid(z))``."""
        return self * (1 - self)

    def _eval_rewrite_as_exp(self, z: Expr, **_: object) -> Expr:
        return 1 / (1 + exp(-z))

    def _eval_evalf(self, prec: int) -> Expr:
        return self.rewrite(exp)._eval_evalf(prec)

    def _latex(self, printer: object, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\operatorname{{sigmoid}}{power}\left({printer._print(self.args[0])}\right)"  # type: ignore[attr-defined]


class softplus(Function):
    """``softplus(z) = log(1 + exp(z))``; derivative ``sigmoid(z)``."""

    is_real = True
    is_positive = True

    @classmethod
    def eval(cls, z: Expr) -> Expr | None:
        """Return log 2 at 0."""
        return log(2) if z.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return ``sigmoid(z)``."""
        return sigmoid(self.args[0])

    def _eval_rewrite_as_exp(self, z: Expr, **_: object) -> Expr:
        return log(1 + exp(z))

    def _eval_evalf(self, prec: int) -> Expr:
        return self.rewrite(exp)._eval_evalf(prec)

    def _latex(self, printer: object, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\operatorname{{softplus}}{power}\left({printer._print(self.args[0])}\right)"  # type: ignore[attr-defined]


class sech2(Function):
    """Squared hyperbolic secant ``sech2(z) = 1/cosh(z)^2 = tanh'(z)``, free of the cancellation in ``1 - tanh^2``."""

    is_real = True
    is_positive = True

    @classmethod
    def eval(cls, z: Expr) -> Expr | None:
        """Return 1 at 0."""
        return S.One if z.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return ``-2 tanh(z) sech2(z)``."""
        return -2 * tanh(self.args[0]) * self

    def _eval_rewrite_as_exp(self, z: Expr, **_: object) -> Expr:
        return 4 / (exp(z) + exp(-z)) ** 2

    def _eval_evalf(self, prec: int) -> Expr:
        return (1 / cosh(self.args[0]) ** 2)._eval_evalf(prec)

    def _latex(self, printer: object, exp: str | None = None) -> str:
        body = rf"\operatorname{{sech}}^{{2}}\left({printer._print(self.args[0])}\right)"  # type: ignore[attr-defined]
        return body if exp is None else f"{{{body}}}^{{{exp}}}"
