r"""Derivatives almost everywhere, and their stated values at a kink.

SymPy differentiates a jump into a Dirac distribution and ``Max`` into a Heaviside function without a stated value.
Here a jump has derivative 0, and the value of the first derivative at a kink is a convention that the caller states.

>>> z = Symbol("z", real=True)
>>> derivative_almost_everywhere(Max(0, z) ** 2, z)
2*relu(z)
"""

from __future__ import annotations

from sympy import (
    Abs,
    DiracDelta,
    Expr,
    Max,
    Min,
    Mul,
    Piecewise,
    Pow,
    Rational,
    S,
    Symbol,
    default_sort_key,
    expand,
    factor,
    sign,
)

from derivations.functions import relu, step

__all__ = ["derivative_almost_everywhere", "has_jump", "has_kinks", "with_value_at_kink", "without_max"]


def has_jump(expr: Expr) -> bool:
    """Say whether a function that jumps occurs in an expression: step or sign.

    >>> has_jump(relu(Symbol("z"))), has_jump(sign(Symbol("z")))
    (False, True)
    """
    return bool(expr.has(step, sign))


def has_kinks(expr: Expr) -> bool:
    """Say whether a function with a kink or a jump occurs in a formula: relu, step, Abs, sign, Max, Min, Piecewise."""
    return expr.has(relu, step, Abs, sign, Max, Min, Piecewise)


def without_max(expr: Expr) -> Expr:
    """Write Max and Min with relu, whose derivative is a step; Heaviside has no stated value at 0.

    >>> z = Symbol("z", real=True)
    >>> without_max(Max(z, z / 10))
    z/10 + relu(9*z/10)
    """
    if not expr.has(Max, Min):
        return expr

    def largest(*arguments: Expr) -> Expr:
        out = arguments[0]
        for argument in arguments[1:]:
            out = out + relu(argument - out)
        return out

    def smallest(*arguments: Expr) -> Expr:
        return -largest(*[-argument for argument in arguments])

    ordered = expr.replace(Max, lambda *u: largest(*sorted(u, key=default_sort_key)))
    return ordered.replace(Min, lambda *u: smallest(*sorted(u, key=default_sort_key)))


def derivative_almost_everywhere(expr: Expr, symbol: Symbol) -> Expr:
    """Differentiate where the derivative exists: a jump has derivative 0, not a Dirac distribution.

    >>> z = Symbol("z", real=True)
    >>> derivative_almost_everywhere(sign(z) * z**2, z), derivative_almost_everywhere(relu(z) ** 3, z)
    (2*Abs(z), 3*relu(z)**2)
    """
    first = without_max(expr).diff(symbol).replace(DiracDelta, lambda *_: S.Zero)
    if not first.has(relu, Abs, sign):
        return first
    first = first.replace(lambda u: u.is_Mul, _merged)
    return factor(first) if any(u.exp.is_negative and u.has(Abs) for u in first.atoms(Pow)) else first


def _merged(product: Expr) -> Expr:
    """Use (u)_+ step(u) = (u)_+, u sgn(u) = |u| and |u| sgn(u) = u, which hold at u = 0 as well."""
    factors = Mul.make_args(product)
    positive = {u.as_base_exp()[0].args[0] for u in factors if u.as_base_exp()[0].func is relu}
    rest = [
        u for u in factors if not (u.as_base_exp()[0].func is step and u.as_base_exp()[0].args[0] in positive)
    ]
    for mark in [u for u in rest if u.func is sign]:
        (inside,) = mark.args
        for old, new in ((inside, Abs(inside)), (Abs(inside), inside)):
            power = next(
                (u for u in rest if u.as_base_exp()[0] == old and u.as_base_exp()[1].is_positive), None
            )
            if power is not None:
                rest.remove(mark)
                rest.remove(power)
                rest += [power / old, new]
                break
    return Mul(*rest)


def with_value_at_kink(first: Expr, symbol: Symbol, kink: Expr) -> Expr:
    """Choose the values of the steps at their jumps so that the first derivative at 0 is ``kink``.

    At 0 the derivative is affine in the common value c of the steps that jump there: alpha + beta c = kink.

    >>> z = Symbol("z", real=True)
    >>> with_value_at_kink(step(z) + step(-z) / 10, z, S.One).subs(z, 0)
    1
    """
    steps = [u for u in first.atoms(step) if u.args[1] == 0]
    steps += [sign(u.args[0]) for u in first.atoms(sign)]
    if not steps:
        return first
    c = Symbol("c", real=True)

    def marked(u: Expr, value: Expr = S.Zero) -> Expr:
        return step(u, c) if value == 0 else step(u, value)

    general = first.replace(step, marked).replace(sign, lambda u: 2 * step(u, c) - 1)
    at_zero = expand(general.subs(symbol, 0))
    beta = at_zero.diff(c)
    if beta == 0 or beta.has(c) or beta.has(S.NaN, S.ComplexInfinity):
        return first.replace(step, lambda u, value: step(u, kink) if value == 0 else step(u, value))
    value = (kink - at_zero.subs(c, 0)) / beta
    if value == Rational(1, 2):  # sign(0) = 0 already is the mean of the two sides
        return first.replace(step, lambda u, old: step(u, value) if old == 0 else step(u, old))
    return general.subs(c, value)
