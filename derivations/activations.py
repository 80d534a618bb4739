r"""Activations: one short entry each; what a derivation needs of them follows from the formula.

>>> REGISTRY["tanh"].derivative(1), REGISTRY["tanh"].parity.name, REGISTRY["relu"].homogeneity_degree
(1 - tanh(z)**2, 'odd', 1)
>>> activation("leaky_relu(1/10)").lipschitz.value, REGISTRY["softplus"].affine_parity.slope
(1, -1)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from sympy import AccumBounds, Expr, Rational, S, Symbol, expand, limit, simplify, sympify

from derivations.almost_everywhere import (
    derivative_almost_everywhere,
    has_kinks,
    with_value_at_kink,
    without_max,
)
from derivations.claim import Status
from derivations.decide import Decision, Finding, identically_zero
from derivations.errors import FormulaError, nearest
from derivations.registry import ALIASES, ENTRIES, FAMILIES, from_family, split_call

if TYPE_CHECKING:
    from derivations.activation_properties import AffineParity, HalfLine

__all__ = [
    "REGISTRY",
    "Activation",
    "Parity",
    "Registry",
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

    Everything beyond the four fields is derived when asked for, and kept.

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
        return _derivative(self.expr, self.kink, order)

    def apply(self, orders: tuple[int, ...], argument: Expr) -> Expr:
        r"""Return :math:`\sigma^{(orders[0])}(argument)`; the form ``derivations.generic.bind`` asks for."""
        return self.derivative(orders[0]).subs(Z, argument)

    @cached_property
    def formula_tex(self) -> str:
        r"""LaTeX of :math:`\sigma(z)`."""
        from derivations.latex import latex

        return latex(self.expr)

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
    def affine_parity(self) -> AffineParity:
        r"""Parity up to an affine part, :math:`\sigma(-z) = s\,\sigma(z) + \alpha + \beta z`."""
        from derivations.activation_properties import affine_parity

        return affine_parity(self)

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
    def half_lines(self) -> tuple[HalfLine, HalfLine]:
        r"""Homogeneity for z > 0 and for z < 0: :math:`\sigma(\pm t) = c_\pm t^{p_\pm}` for all t > 0."""
        from derivations.activation_properties import half_line

        return half_line(self, 1), half_line(self, -1)

    @property
    def at_zero(self) -> Finding:
        """``value_at_zero`` with its status: refuted where the formula has no value and no finite limit there."""
        found = self.value_at_zero
        return Finding(None, Status.REFUTED) if found is S.NaN else Finding(found, Status.PROVED)

    @cached_property
    def value_at_zero(self) -> Expr:
        """Exact value at 0, by limit where the formula is not defined there; nan where there is no finite limit."""
        value = self.expr.subs(Z, 0)
        if value.has(S.NaN, S.ComplexInfinity):
            value, other = (limit(self.expr, Z, 0, side) for side in "+-")
            if value != other or not value.is_finite or isinstance(value, AccumBounds):
                return S.NaN
        return simplify(value)

    @cached_property
    def is_smooth(self) -> bool | None:
        """True where no kink function occurs in the formula (relu, step, Abs, sign, Max, Min); None otherwise."""
        return None if has_kinks(self.expr) else True

    @cached_property
    def breaks(self) -> Finding:
        """Points where some derivative jumps: a tuple of ``derivations.cells.Break``, proved complete or undecided."""
        from derivations.activation_properties import breaks

        return breaks(self)

    @cached_property
    def analytic(self) -> Finding:
        """Whether sigma is real-analytic on the whole line; refuted by a break."""
        from derivations.activation_properties import analytic

        return analytic(self)

    @cached_property
    def multiplicity(self) -> Finding:
        r"""Smallest p >= 1 with :math:`\sigma^{(p)}(0) \neq 0`; refuted where sigma is not that smooth at 0."""
        from derivations.activation_properties import multiplicity

        return multiplicity(self)

    @cached_property
    def period(self) -> Finding:
        """A period T > 0, the smallest that SymPy finds."""
        from derivations.activation_properties import period

        return period(self)

    @cached_property
    def shift_rate(self) -> Finding:
        r"""The rate k of :math:`\sigma(z + s) = e^{ks} \sigma(z)`."""
        from derivations.activation_properties import shift_rate

        return shift_rate(self)

    @cached_property
    def tails(self) -> tuple[Finding, Finding]:
        r"""Behaviour at :math:`-\infty` and at :math:`+\infty`: values are ``derivations.activation_bounds.Tail``."""
        from derivations.activation_bounds import tail

        return tail(self, -1), tail(self, 1)

    @cached_property
    def lipschitz(self) -> Finding:
        r"""Best Lipschitz constant of sigma, :math:`\sup |\sigma'|`; refuted where it is infinite."""
        from derivations.activation_bounds import lipschitz

        return lipschitz(self, 0)

    @cached_property
    def lipschitz_derivative(self) -> Finding:
        r"""Best Lipschitz constant of sigma', :math:`\sup |\sigma''|`; refuted where it is infinite."""
        from derivations.activation_bounds import lipschitz

        return lipschitz(self, 1)


@cache
def _derivative(expr: Expr, kink: Expr, order: int) -> Expr:
    if order < 0:
        raise ValueError(f"the order of a derivative is 0, 1, 2, ...; got {order}")
    if order == 0:
        return without_max(expr)
    if order == 1:
        return with_value_at_kink(derivative_almost_everywhere(expr, Z), Z, kink)
    return derivative_almost_everywhere(_derivative(expr, kink, order - 1), Z)


class Registry(Mapping[str, Activation]):
    """Activations by name; built when asked for.  ``leaky_relu(1/10)`` is a name as well, though not listed.

    >>> REGISTRY["swish"].name, REGISTRY["monomial(4)"].expr, "monomial(4)" in REGISTRY, "monomial(z)" in REGISTRY
    ('silu', z**4, True, False)
    """

    def __init__(self) -> None:
        self._built: dict[str, Activation] = {}

    def __getitem__(self, name: str) -> Activation:
        """Return the activation of this name.

        Raises
        ------
        KeyError
            If there is none.
        FormulaError
            If it is a member of a family with parameters that the family does not take.
        """
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def _build(self, name: str) -> Activation:
        if name in ALIASES:
            return self[ALIASES[name]]
        if name in ENTRIES:
            entry = ENTRIES[name]
            return Activation(name, entry.formula(Z), entry.tex)
        call = split_call(name)
        if call is None:
            raise KeyError(name)
        full, expr = from_family(Z, *call)
        return self._built.setdefault(full, Activation(full, expr))

    def __contains__(self, name: object) -> bool:
        """Say whether there is an activation of this name."""
        try:
            return isinstance(name, str) and self[name] is not None
        except (KeyError, FormulaError):
            return False

    def __iter__(self) -> Iterator[str]:
        """Go through the names without parameters."""
        yield from ENTRIES
        yield from ALIASES

    def __len__(self) -> int:
        """Count the names without parameters."""
        return len(ENTRIES) + len(ALIASES)


#: Registered activations by name.
REGISTRY = Registry()


def activation(text: str, *, kink: Expr | int = 0) -> Activation:
    """Return the registered activation ``text``, or the one given by the formula ``text`` in z.

    Parameters
    ----------
    text : str
        A registered name, one with exact parameters such as ``"leaky_relu(1/10)"``, or a formula such as
        ``"z*(1 + erf(z/sqrt(2)))/2"``; parsed by a whitelist, never evaluated.
    kink : number
        Stated derivative at a kink of relu type.

    Raises
    ------
    FormulaError
        If the text is none of these; the message names the nearest registered activation.  Also if the formula has a
        value that is not real.

    Examples
    --------
    >>> activation("z/(1 + z**2)").parity.name, activation("polynomial(0, 1, 1/2)").expr
    ('odd', z**2/2 + z)
    """
    from derivations.formula import parse_formula

    stated = sympify(kink, strict=True)
    try:
        found = REGISTRY[text]
    except KeyError:
        pass
    else:
        return found if stated == 0 else Activation(found.name, found.expr, found.tex, stated)
    if text.isidentifier() and text != "z":
        hint = nearest(text, [*REGISTRY, *FAMILIES])
        known = ", ".join([*REGISTRY, *(family.usage for family in FAMILIES.values())])
        raise FormulaError(f"unknown activation '{text}'{hint} Registered: {known}; or give a formula in z")
    expr = parse_formula(text, {"z": Z})
    _check_real(text, expr)
    return Activation(text, expand(expr) if expr.is_polynomial(Z) else expr, r"\sigma", stated)


def _check_real(text: str, expr: Expr) -> None:
    """Refuse a formula that has no real value at a number of either sign, such as ``log(z)``.

    Raises
    ------
    FormulaError
        With the argument and the value.
    """
    for point in (Rational(-2), Rational(-3, 7), Rational(3, 7), Rational(2)):
        value = expr.subs(Z, point)
        if value.is_real is False and not value.has(S.ComplexInfinity, S.NaN):
            raise FormulaError(
                f"'{text}' is not real at z = {point}; an activation has a real value for every real z"
            )
