r"""Means of functions of one and of two Gaussians in closed form.

For :math:`(u, v)` centred Gaussian with variances A, B and covariance C:

.. math::
    \mathbb{E}[u_+ v_+] = \tfrac{1}{2\pi} \Bigl(\sqrt{AB - C^2} + C \bigl(\tfrac\pi2 + \arcsin \tfrac{C}{\sqrt{AB}}\bigr)\Bigr), \qquad
    \mathbb{E}[\operatorname{erf} u \operatorname{erf} v] = \tfrac2\pi \arcsin \tfrac{2C}{\sqrt{(1 + 2A)(1 + 2B)}} .

Both follow from Price's theorem, :math:`\partial_C \mathbb{E}[g(u) h(v)] = \mathbb{E}[g'(u) h'(v)]`, which turns the
mean into the integral of a Gaussian density; ``pair_statement`` checks them against it.  A power of u is reduced by
Stein's lemma, :math:`\mathbb{E}[u\, g] = A\, \mathbb{E}[\partial_u g] + C\, \mathbb{E}[\partial_v g]`.

Source: Price (1958), IRE Trans. Inform. Theory 4, 69; Cho, Saul (2009), NeurIPS, for u_+ v_+; Williams (1997), NeurIPS,
for erf.

>>> from sympy import symbols
>>> A, B = symbols("A B", positive=True); C = symbols("C", real=True)
>>> z = symbols("z", real=True)
>>> (cube,), (line,) = terms_of(z**3, z), terms_of(z, z)
>>> pair_mean(cube, cube, A, B, C), pair_mean(cube, line, A, B, C)
(9*A*B*C + 6*C**3, 3*A*C)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sympy import (
    Abs,
    Add,
    Expr,
    Function,
    Integer,
    Rational,
    S,
    Symbol,
    asin,
    cos,
    cosh,
    erf,
    exp,
    expand,
    factor,
    pi,
    powdenest,
    radsimp,
    simplify,
    sin,
    sinh,
    sqrt,
)
from sympy.core.function import ArgumentIndexError

from derivations.activations import without_max
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.functions import relu
from derivations.latex import latex
from derivations.statement import Statement

__all__ = ["Term", "arc_cosine", "arc_sine", "mean_of_derivative", "pair_mean", "pair_statement", "terms_of"]

_A, _B = Symbol("A", positive=True), Symbol("B", positive=True)
_C, _T = Symbol("C", real=True), Symbol("t", real=True)
_FUNCTIONS = {relu: "relu", erf: "erf", sin: "sin", cos: "cos"}


class arc_cosine(Function):
    r"""Mean of :math:`u_+ v_+` as a function of A, B, C, with derivatives that stay finite where u = v.

    Its formula has :math:`\partial_A = \sqrt{AB - C^2} / (4 \pi A)` only after cancellation of two terms that are infinite
    for :math:`C^2 = AB`.
    """

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return the derivative in A, B or C."""
        A, B, C = self.args
        if argindex in (1, 2):
            return sqrt(A * B - C**2) / (4 * pi * self.args[argindex - 1])
        if argindex == 3:
            return Rational(1, 4) + asin(C / sqrt(A * B)) / (2 * pi)
        raise ArgumentIndexError(self, argindex)

    def doit(self, **_: object) -> Expr:
        """Return the formula."""
        A, B, C = self.args
        return (sqrt(A * B - C**2) + C * (pi / 2 + asin(C / sqrt(A * B)))) / (2 * pi)


class arc_sine(Function):
    """Mean of erf(u) erf(v) as a function of A, B, C, with its derivatives over one root."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return the derivative in A, B or C."""
        A, B, C = self.args
        root = sqrt((1 + 2 * A) * (1 + 2 * B) - 4 * C**2)
        if argindex in (1, 2):
            return -4 * C / (pi * (1 + 2 * self.args[argindex - 1]) * root)
        if argindex == 3:
            return 4 / (pi * root)
        raise ArgumentIndexError(self, argindex)

    def doit(self, **_: object) -> Expr:
        """Return the formula."""
        A, B, C = self.args
        return 2 / pi * asin(2 * C / sqrt((1 + 2 * A) * (1 + 2 * B)))


@dataclass(frozen=True)
class Term:
    """``coefficient * F(slope z)`` for a family F, ``coefficient * z**power`` for the family ``power``."""

    coefficient: Expr
    family: str
    slope: Expr = S.One
    power: int = 0

    def scaled(self, factor: Expr) -> Term:
        """Return the term times a constant."""
        return Term(self.coefficient * factor, self.family, self.slope, self.power)


def terms_of(function: Expr, z: Symbol) -> list[Term]:
    """Take a function of ``z`` apart into terms whose Gaussian means are known.

    Raises
    ------
    AssumptionError
        If a term is none of: a power of z; relu, abs, erf, sin, cos, exp of a multiple of z; exp of -q z**2.
    """
    written = without_max(function).replace(Abs, lambda u: 2 * relu(u) - u)
    written = written.replace(sin, lambda u: _shifted(u, z, sin, cos, 1)).replace(
        cos, lambda u: _shifted(u, z, cos, sin, -1)
    )
    written = expand(written, power_exp=True)
    return [_term(part, z) for part in Add.make_args(written) if part != 0]


def _shifted(argument: Expr, z: Symbol, same: type[Function], other: type[Function], sign: int) -> Expr:
    """Return sin or cos of ``slope z + shift`` by the addition theorem, so that z stands alone in the arguments."""
    shift = expand(argument).subs(z, 0)
    if shift == 0:
        return same(argument)
    rest = expand(argument - shift)
    return same(rest) * cos(shift) + sign * other(rest) * sin(shift)


def _term(part: Expr, z: Symbol) -> Term:
    coefficient, rest = part.as_independent(z, as_Add=False)
    if rest.is_polynomial(z) and rest.as_base_exp()[0] in (z, Integer(1)):
        return Term(coefficient, "power", power=int(rest.as_base_exp()[1]) if rest.has(z) else 0)
    argument = rest.args[0] if rest.args else rest
    slope = argument.coeff(z, 1)
    if type(rest) in _FUNCTIONS and expand(argument - slope * z) == 0:
        return Term(coefficient, _FUNCTIONS[type(rest)], slope)
    if isinstance(rest, exp):
        if expand(argument - slope * z) == 0:
            return Term(coefficient, "exp", slope)
        square = argument.coeff(z, 2)
        if expand(argument - square * z**2) == 0 and square.is_negative:
            return Term(coefficient, "gaussian", sqrt(-2 * square))
    raise AssumptionError(
        f"no closed Gaussian mean is known for the term {part}; polynomials, and relu, leaky_relu, abs, erf, sin, cos, exp "
        "and exp(-q*z**2) of a multiple of the pre-activation have one; relu, erf and exp(-q*z**2) only without bias"
    )


@cache
def _smoothed(family: str, order: int) -> Expr:
    r"""Return :math:`\partial_t^{order} \mathbb{E}[F(t + \sqrt{A} g)]` at t = 0, a function of A."""
    mean = {
        "relu": _T * (1 + erf(_T / sqrt(2 * _A))) / 2 + sqrt(_A / (2 * pi)) * exp(-(_T**2) / (2 * _A)),
        "erf": erf(_T / sqrt(1 + 2 * _A)),
        "sin": exp(-_A / 2) * sin(_T),
        "cos": exp(-_A / 2) * cos(_T),
        "exp": exp(_A / 2) * exp(_T),
        "gaussian": exp(-(_T**2) / (2 * (1 + _A))) / sqrt(1 + _A),
    }[family]
    return simplify(mean.diff(_T, order).subs(_T, 0))


def mean_of_derivative(term: Term, order: int, variance: Expr) -> Expr:
    r"""Return :math:`\mathbb{E}[F^{(order)}(u)]`, u of this variance; beyond a kink the derivatives are distributions.

    By Stein's lemma it is the mean of F(w . x) times a Hermite polynomial:
    :math:`\mathbb{E}[F(w \cdot x) \prod_j \mathrm{He}_{\alpha_j}(x_j)] = \prod_j w_j^{\alpha_j}\, \mathbb{E}[F^{(|\alpha|)}]`.

    >>> from sympy import symbols
    >>> A = symbols("A", positive=True)
    >>> mean_of_derivative(Term(Integer(1), "relu"), 2, A)
    sqrt(2)/(2*sqrt(pi)*sqrt(A))
    """
    if term.family == "power":
        left = term.power - order
        if left < 0 or left % 2:
            return Integer(0)
        out = term.coefficient * variance ** (left // 2)
        for factor in (*range(left + 1, term.power + 1), *range(left - 1, 0, -2)):
            out *= factor
        return out
    found = _smoothed(term.family, order).xreplace({_A: term.slope**2 * variance})
    return term.coefficient * term.slope**order * found


def pair_mean(first: Term, second: Term, A: Expr, B: Expr, C: Expr) -> Expr:
    """Return the mean of the product of ``first`` at u and ``second`` at v.

    Raises
    ------
    AssumptionError
        If no closed form is known for the two families.
    """
    if first.family == "power":
        return first.coefficient * expand(_power_mean(first.power, 0, second, A, B, C))
    if second.family == "power":
        return pair_mean(second, first, B, A, C)
    families = {first.family, second.family}
    p, q = first.slope, second.slope
    A, B, C = p**2 * A, q**2 * B, p * q * C
    both = first.coefficient * second.coefficient
    if families == {"sin", "cos"}:
        return Integer(0)
    if len(families) > 1:
        raise AssumptionError(
            f"no closed Gaussian mean is known for {first.family} times {second.family}; student and teacher need one "
            "family, or one of them a polynomial"
        )
    return (
        both
        * {
            "relu": lambda: arc_cosine(A, B, C),
            "erf": lambda: arc_sine(A, B, C),
            "sin": lambda: exp(-(A + B) / 2) * sinh(C),
            "cos": lambda: exp(-(A + B) / 2) * cosh(C),
            "exp": lambda: exp((A + B) / 2 + C),
            "gaussian": lambda: 1 / sqrt((1 + A) * (1 + B) - C**2),
        }[first.family]()
    )


def _power_mean(power: int, order: int, other: Term, A: Expr, B: Expr, C: Expr) -> Expr:
    """Return the mean of u**power times the derivative of ``other`` at v, by Stein's lemma."""
    if power == 0:
        return mean_of_derivative(other, order, B)
    out = C * _power_mean(power - 1, order + 1, other, A, B, C)
    return out + A * (power - 1) * _power_mean(power - 2, order, other, A, B, C) if power > 1 else out


#: Family, number of derivatives in C, and what Price's theorem says that derivative is: a Gaussian integral.
_PRICE: dict[str, tuple[int, Expr, tuple[Expr, ...], str]] = {
    # u_+'' is Dirac's delta, so the second derivative is the density of (u, v) at (0, 0).
    "relu": (
        2,
        1 / (2 * pi * sqrt(_A * _B - _C**2)),
        (sqrt(_A * _B) / (2 * pi), Rational(1, 4)),
        r"\mathbb{E}[\delta(u) \delta(v)] = \frac{1}{2\pi \sqrt{AB - C^2}}",
    ),
    "erf": (
        1,
        4 / pi / sqrt((1 + 2 * _A) * (1 + 2 * _B) - 4 * _C**2),
        (Integer(0),),
        r"\frac{4}{\pi} \mathbb{E}[e^{-u^2 - v^2}] = \frac{4}{\pi \sqrt{(1 + 2A)(1 + 2B) - 4 C^2}}",
    ),
    "sin": (1, exp(-(_A + _B) / 2) * cosh(_C), (Integer(0),), r"\mathbb{E}[\cos u \cos v]"),
    "cos": (1, exp(-(_A + _B) / 2) * sinh(_C), (exp(-(_A + _B) / 2),), r"\mathbb{E}[\sin u \sin v]"),
    "exp": (1, exp((_A + _B) / 2 + _C), (exp((_A + _B) / 2),), r"\mathbb{E}[e^u e^v]"),
}


def pair_statement(family: str) -> Statement:
    r"""Return the closed form of :math:`\mathbb{E}[F(u) F(v)]` with its proof by Price's theorem.

    The closed form has the derivative in C that Price's theorem demands, and at C = 0, where u and v are independent,
    the product of the means (and, for relu, of the means of the derivatives).

    Parameters
    ----------
    family : str
        ``relu``, ``erf``, ``sin``, ``cos`` or ``exp``.

    Raises
    ------
    ValueError
        If the family has no such proof.
    """
    if family not in _PRICE:
        raise ValueError(f"no proof by Price's theorem for '{family}'; known: {', '.join(_PRICE)}")
    order, wanted, at_zero, words = _PRICE[family]
    term = Term(Integer(1), family)
    mean = pair_mean(term, term, _A, _B, _C).doit()
    found = simplify(mean.diff(_C, order))
    residuals = {f"derivative {order} in C": simplify(found**2 / wanted**2 - 1)}
    # Squares, as SymPy does not join square roots of products; at C = 0 both sides are positive.
    residuals["sign"] = Integer(0) if (found / wanted).subs({_A: 2, _B: 3, _C: 1}).evalf() > 0 else Integer(1)
    for j, value in enumerate(at_zero):
        residuals[f"derivative {j} at C = 0"] = simplify(mean.diff(_C, j).subs(_C, 0) - value)
    independent = mean_of_derivative(term, 0, _A) * mean_of_derivative(term, 0, _B)
    residuals["independent"] = simplify(mean.subs(_C, 0) - independent)
    if family in ("relu", "erf"):
        named: Expr = arc_cosine(_A, _B, _C) if family == "relu" else arc_sine(_A, _B, _C)
        for slot, variable in enumerate((_A, _B, _C), start=1):
            difference = _same_root(named.fdiff(slot)) - _same_root(simplify(mean.diff(variable)))
            residuals[f"stated derivative in {variable}"] = simplify(difference)
    status = Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED
    symbol = {"relu": "u_+ v_+", "exp": "e^u e^v"}.get(family, rf"{_tex(family)} u \, {_tex(family)} v")
    return Statement(
        f"Gaussian mean of {family} times {family}",
        rf"$\mathbb{{E}}[{symbol}] = {latex(mean)}$ for centred Gaussian $(u, v)$ with variances $A$, $B$ and covariance $C$.",
        (
            rf"By Price's theorem derivative {order} in $C$ is ${words}$.",
            "For $C = 0$ the variables are independent, and the mean is the product of two means.",
        ),
        status,
        residuals,
        "Price (1958)",
    )


def _same_root(expr: Expr) -> Expr:
    """Write square roots of quotients as quotients, so that equal roots are equal expressions."""
    return powdenest(radsimp(expr), force=True).replace(
        lambda u: u.is_Pow and abs(u.exp) == Rational(1, 2), lambda u: factor(u.base) ** u.exp
    )


def _tex(family: str) -> str:
    return r"\operatorname{erf}" if family == "erf" else rf"\{family}"
