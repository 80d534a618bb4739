r"""Activations: one short entry each; derivatives, parity and homogeneity follow by derivation.

>>> REGISTRY["tanh"].derivative(1), REGISTRY["tanh"].parity.name, REGISTRY["relu"].homogeneity_degree
(1 - tanh(z)**2, 'odd', 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from sympy import (
    Abs,
    DiracDelta,
    Expr,
    Max,
    Min,
    Piecewise,
    Rational,
    S,
    Symbol,
    cos,
    default_sort_key,
    erf,
    exp,
    expand,
    limit,
    sign,
    simplify,
    sin,
    sqrt,
    sympify,
    tanh,
)

from derivations.claim import Status
from derivations.decide import Decision, identically_zero
from derivations.errors import FormulaError
from derivations.functions import relu, sigmoid, softplus, step

__all__ = [
    "REGISTRY",
    "Activation",
    "Parity",
    "Z",
    "activation",
    "derivative_almost_everywhere",
    "without_max",
]

#: The argument of every activation.
Z = Symbol("z", real=True)


@dataclass(frozen=True)
class Parity:
    """``sigma(-z) = sign * sigma(z)``: ``name`` is odd, even, none or undecided; both decisions are attached."""

    name: str
    sign: int
    odd: Decision
    even: Decision


@dataclass(frozen=True)
class Activation:
    r"""A scalar activation :math:`\sigma`.

    Parameters
    ----------
    name : str
        Registered name or the text of the formula.
    expr : Expr
        :math:`\sigma(z)` in the symbol ``Z``.
    tex : str
        LaTeX of the function symbol in equations, ``\tanh`` or ``\sigma``.
    kink : Expr
        Stated value of :math:`\sigma'(0)` where 0 is a kink; a kink elsewhere takes this value for its step.
    """

    name: str
    expr: Expr
    tex: str = r"\sigma"
    kink: Expr = S.Zero

    def derivative(self, order: int = 1) -> Expr:
        r"""Return :math:`\sigma^{(order)}(z)`, exact almost everywhere, with :math:`\sigma'(0)` as stated at a kink.

        Higher derivatives are 0 at a kink as far as they come from the jump of the first.
        """
        if order == 0:
            return without_max(self.expr)
        first = derivative_almost_everywhere(self.expr, Z)
        out = _with_value_at_kink(first, self.kink)
        for _ in range(order - 1):
            out = derivative_almost_everywhere(out, Z)
        return out

    def apply(self, orders: tuple[int, ...], argument: Expr) -> Expr:
        r"""Return :math:`\sigma^{(orders[0])}(argument)`; the form ``derivations.generic.bind`` asks for."""
        return self.derivative(orders[0]).subs(Z, argument)

    @cached_property
    def parity(self) -> Parity:
        """Oddness and evenness, each proved, refuted with a witness, or undecided."""
        odd = identically_zero(self.expr.subs(Z, -Z) + self.expr, Z)
        even = identically_zero(self.expr.subs(Z, -Z) - self.expr, Z)
        if odd.proved:
            return Parity("odd", -1, odd, even)
        if even.proved:
            return Parity("even", 1, odd, even)
        name = "none" if odd.refuted and even.refuted else "undecided"
        return Parity(name, 0, odd, even)

    @cached_property
    def homogeneity(self) -> tuple[Expr | None, Decision]:
        r"""Return (p, decision) for the Euler identity :math:`z \sigma'(z) = p \sigma(z)`, :math:`z \neq 0`.

        The only possible degree is read off at a rational point and at its negative; if the two differ the identity
        is refuted by that very pair.
        """
        point = Rational(3, 7)
        value = simplify(self.expr.subs(Z, point))
        if value == 0:
            point = -point
            value = simplify(self.expr.subs(Z, point))
        if value == 0:
            return None, Decision(Status.UNDECIDED, self.expr)
        degree = simplify(point * self.derivative(1).subs(Z, point) / value)
        decision = identically_zero(Z * self.derivative(1) - degree * self.expr, Z)
        return (degree if decision.proved else None), decision

    @property
    def homogeneity_degree(self) -> Expr | None:
        """Degree p of positive homogeneity where it is proved, else None."""
        return self.homogeneity[0]

    @cached_property
    def value_at_zero(self) -> Expr:
        """Exact value at 0, by limit where the formula is not defined there."""
        value = self.expr.subs(Z, 0)
        return simplify(limit(self.expr, Z, 0)) if value.has(S.NaN, S.ComplexInfinity) else simplify(value)

    @cached_property
    def is_smooth(self) -> bool | None:
        """True where no kink function occurs in the formula (relu, step, Abs, sign, Max, Min); None otherwise."""
        return None if self.expr.has(relu, step, Abs, sign, Max, Min, Piecewise) else True


def without_max(expr: Expr) -> Expr:
    """Write Max and Min with relu, whose derivative is a step; Heaviside has no stated value at 0.

    >>> from sympy import Max
    >>> without_max(Max(Z, Z / 10))
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

    >>> derivative_almost_everywhere(sign(Z) * Z**2, Z)
    2*z*sign(z)
    """
    return without_max(expr).diff(symbol).replace(DiracDelta, lambda *_: S.Zero)


def _with_value_at_kink(first: Expr, kink: Expr) -> Expr:
    """Choose the values of the steps at their jumps so that the first derivative at 0 is ``kink``.

    At 0 the derivative is affine in the common value c of the steps that jump there: alpha + beta c = kink.
    """
    steps = [u for u in first.atoms(step) if u.args[1] == 0]
    steps += [sign(u.args[0]) for u in first.atoms(sign)]
    if not steps:
        return first
    c = Symbol("c", real=True)

    def marked(u: Expr, value: Expr = S.Zero) -> Expr:
        return step(u, c) if value == 0 else step(u, value)

    general = first.replace(step, marked).replace(sign, lambda u: 2 * step(u, c) - 1)
    at_zero = expand(general.subs(Z, 0))
    beta = at_zero.diff(c)
    if beta == 0 or beta.has(c) or beta.has(S.NaN, S.ComplexInfinity):
        return first.replace(step, lambda u, value: step(u, kink) if value == 0 else step(u, value))
    value = (kink - at_zero.subs(c, 0)) / beta
    if value == Rational(1, 2):  # sign(0) = 0 already is the mean of the two sides
        return first.replace(step, lambda u, old: step(u, value) if old == 0 else step(u, old))
    return general.subs(c, value)


def _entry(name: str, expr: Expr, tex: str = r"\sigma") -> tuple[str, Activation]:
    return name, Activation(name, sympify(expr, strict=True), tex)


#: Registered activations by name.
REGISTRY: Mapping[str, Activation] = MappingProxyType(
    dict(
        [
            _entry("linear", Z, r"\operatorname{id}"),
            _entry("relu", relu(Z), r"\operatorname{relu}"),
            _entry("abs", Abs(Z), r"\operatorname{abs}"),
            _entry("quadratic", Z**2),
            _entry("cubic", Z**3),
            _entry("tanh", tanh(Z), r"\tanh"),
            _entry("sigmoid", sigmoid(Z), r"\operatorname{sigmoid}"),
            _entry("softplus", softplus(Z), r"\operatorname{softplus}"),
            _entry("erf", erf(Z), r"\operatorname{erf}"),
            _entry("gelu", Z * (1 + erf(Z / sqrt(2))) / 2, r"\operatorname{gelu}"),
            _entry("silu", Z * sigmoid(Z), r"\operatorname{silu}"),
            _entry("sin", sin(Z), r"\sin"),
            _entry("cos", cos(Z), r"\cos"),
            _entry("gaussian", exp(-(Z**2) / 2)),
            _entry("exp", exp(Z), r"\exp"),
        ]
    )
)


def activation(text: str, *, kink: Expr | int = 0) -> Activation:
    """Return the registered activation ``text``, or the one given by the formula ``text`` in z.

    Parameters
    ----------
    text : str
        A registered name or a formula such as ``"z*(1 + erf(z/sqrt(2)))/2"``; parsed by a whitelist, never evaluated.
    kink : number
        Stated derivative at a kink of relu type.

    Raises
    ------
    FormulaError
        If the text is neither; the message names the nearest registered activation.

    Examples
    --------
    >>> activation("z/(1 + z**2)").parity.name
    'odd'
    """
    from difflib import get_close_matches

    from derivations.formula import parse_formula

    if text in REGISTRY:
        found = REGISTRY[text]
        return (
            found if kink == 0 else Activation(found.name, found.expr, found.tex, sympify(kink, strict=True))
        )
    if text.isidentifier() and text != "z":
        near = get_close_matches(text, REGISTRY, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise FormulaError(
            f"unknown activation '{text}'{hint} Registered: {', '.join(REGISTRY)}; or give a formula in z"
        )
    expr = parse_formula(text, {"z": Z})
    return Activation(
        text, expand(expr) if expr.is_polynomial(Z) else expr, r"\sigma", sympify(kink, strict=True)
    )
