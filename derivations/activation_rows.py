r"""The derived properties of one activation as rows: name, value in LaTeX and in plain text, status, reason.

A value is written once, as a pattern for each form with the same expressions in it; ``fill`` puts them in.

>>> from derivations.activations import REGISTRY
>>> for row in properties(REGISTRY["relu"])[:2]: print(row.name, row.latex, row.text, row.status, sep=" | ")
formula | \sigma(z) = (z)_{+} | sigma(z) = relu(z) | PROVED
value at 0 | \sigma(0) = 0 | sigma(0) = 0 | PROVED
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from math import floor, log10
from typing import Any

from sympy import Expr, Integer, Mul, Pow, Symbol, factor, factor_terms

from derivations.activation_properties import HalfLine, tex
from derivations.activations import Activation, Z
from derivations.cells import Break
from derivations.claim import Status
from derivations.decide import Finding
from derivations.errors import AssumptionError
from derivations.hermite import hermite_coefficients, second_moment
from derivations.kernels import dual
from derivations.latex_width import width

__all__ = ["Property", "properties", "shown"]

_ORDINALS = ("first", "second", "third", "fourth")
_DIGITS = 10
_POWER_OF_E = re.compile(r"\\exp\\Bigl\((-?) ?\\frac\{(\d+)\}\{(\d+)\}\\Bigr\)")
_ROOT_OF_PI = re.compile(r"\\sqrt\{(\d+)\} (\d+ )?\\sqrt\{\\pi\}")
_ROOT_FIRST = re.compile(r"\\sqrt\{(\d+)\} (\d+)")
_T, _LAMBDA = Symbol("t"), Symbol("lambda")


@dataclass(frozen=True)
class Property:
    r"""One row: ``latex`` for math mode, ``text`` for a terminal, ``reason`` one sentence or empty.

    REFUTED: there is no such value.  UNDECIDED: nothing was shown, neither that there is one nor that there is none.
    """

    name: str
    latex: str
    text: str
    status: Status
    reason: str = ""

    @property
    def is_code(self) -> bool:
        """Whether ``latex`` is program text, not mathematics."""
        return self.latex.startswith(r"\texttt")

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {name: str(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class _Form:
    """A value in both forms."""

    latex: str
    text: str


_NONE, _UNDECIDED = _Form(r"\text{none}", "none"), _Form(r"\text{undecided}", "undecided")
_ABSENT = _Form(r"\text{does not exist}", "does not exist")
_INFINITE = _Form(r"\infty", "infinite")


def _word(text: str) -> _Form:
    return _Form(rf"\text{{{text}}}", text)


def _fill(latex: str, text: str, *values: Any) -> _Form:
    """Put each value, an expression or a form, in the place of an ``@``."""
    for value in values:
        form = value if isinstance(value, _Form) else _Form(shown(value), _plain(value))
        latex, text = latex.replace("@", form.latex, 1), text.replace("@", form.text, 1)
    return _Form(latex, text)


def properties(
    activation: Activation, *, highest_derivative: int = 4, highest_hermite: int = 4
) -> list[Property]:
    r"""Return everything that is derived of one activation.

    Derivatives are those almost everywhere, up to the last one that does not vanish almost everywhere; at a kink of sigma the
    first has its stated value.

    Parameters
    ----------
    activation : Activation
        Any.
    highest_derivative : int
        1 to 4.
    highest_hermite : int
        The last Hermite coefficient, 0 to 40.

    Raises
    ------
    ValueError
        If one of the two numbers is out of its range.
    """
    if not 1 <= highest_derivative <= len(_ORDINALS):
        raise ValueError(f"highest_derivative is 1 to {len(_ORDINALS)}, got {highest_derivative}")
    coefficients = hermite_coefficients(activation, highest_hermite)
    known = _fill(r"\sigma(z) = @", "sigma(z) = @", activation.derivative(0))
    zero = _finding("value at 0", activation.at_zero, r"\sigma(0) = @", "sigma(0) = @", absent=_ABSENT)
    rows = [_row("formula", known, Status.PROVED), zero]
    rows += _derivatives(activation, highest_derivative)
    rows.append(_breaks(activation))
    rows.append(_parity(activation))
    rows.append(_homogeneity(activation))
    rows += _laws(activation)
    rows += _bounds(activation)
    rows += _tails(activation)
    for order, found in enumerate(coefficients):
        rows.append(
            _finding(
                f"Hermite coefficient {order}", found, f"c_{{{order}}} = @", f"c_{order} = @", absent=_ABSENT
            )
        )
    rows += _kernels(activation)
    return rows


def _row(name: str, form: _Form, status: Status, reason: str = "") -> Property:
    return Property(name, form.latex, form.text, status, reason)


def _finding(name: str, found: Finding, latex: str, text: str, *, absent: _Form) -> Property:
    if found.value is None:
        form = absent if found.status is Status.REFUTED else _UNDECIDED
    else:
        form = _fill(latex, text, _number(found))
    return _row(name, form, found.status, found.reason)


def shown(expr: Expr) -> str:
    """Return the shortest LaTeX among the usual forms of an expression."""
    texts = [_tidied(tex(form)) for form in _forms(expr)]
    return min(texts, key=lambda text: (text.count("e^{"), round(width(text)), text.startswith("-")))


def _plain(expr: Expr) -> str:
    return min((str(form) for form in _forms(expr)), key=len)


def _forms(expr: Expr) -> list[Expr]:
    return (
        [expr, factor_terms(expr), factor(expr), _flipped(factor(expr))]
        if expr.is_finite is not False
        else [expr]
    )


def _flipped(product: Expr) -> Expr:
    """Write s - 1 as 1 - s in a product, which changes its sign with every such factor."""
    sign, factors = Integer(1), []
    for u in Mul.make_args(product):
        turn = u.is_Add and u.as_coeff_Add()[0].is_negative
        sign = -sign if turn else sign
        factors.append(-u if turn else u)
    return Mul(sign, *factors)


def _tidied(text: str) -> str:
    """Use the short form of constants like e^{-1/2} and sqrt(2 pi)."""
    text = _ROOT_OF_PI.sub(lambda found: rf"{found[2] or ''}\sqrt{{{found[1]} \pi}}", text)
    text = _ROOT_FIRST.sub(r"\2 \\sqrt{\1}", text)
    return _POWER_OF_E.sub(r"e^{\1\2/\3}", text)


def _number(found: Finding) -> _Form:
    """Return the value; a float with the digits its radius allows, at most ten."""
    if found.radius is None:
        return _Form(shown(found.value), _plain(found.value))
    ends = [_truncated(found.value - found.radius), _truncated(found.value + found.radius)]
    if found.status is Status.CERTIFIED and ends[0] == ends[1]:
        return _Form(ends[0] + r"\ldots", f"{ends[0]}...")
    exponent = floor(log10(float(found.radius)))
    digits = min(max(-exponent, 0), 20)
    size = f"{float(found.radius) / 10.0**exponent:.1f}"
    return _Form(
        rf"{found.value:.{digits}f} \pm {size} \cdot 10^{{{exponent}}}",
        f"{found.value:.{digits}f} +- {size}e{exponent}",
    )


def _truncated(value: Expr) -> str:
    """Return the first ten decimals, cut off and not rounded."""
    exact = Decimal(str(value.evalf(30)))
    return str(exact.quantize(Decimal(1).scaleb(-_DIGITS), rounding=ROUND_DOWN))


def _mark(order: int) -> _Form:
    return _Form("'" * order if order < 4 else f"^{{({order})}}", "'" * order)


def _derivatives(activation: Activation, highest: int) -> Iterator[Property]:
    for order in range(1, highest + 1):
        value, mark = activation.derivative(order), _mark(order)
        form = _fill(r"\sigma@(z) = @", "sigma@(z) = @", mark, value)
        ends = value == 0 and order < highest
        name = (
            f"derivatives from the {_ORDINALS[order - 1]} on"
            if ends
            else f"{_ORDINALS[order - 1]} derivative"
        )
        yield _row(name, form, Status.PROVED)
        if ends:
            return


def _breaks(activation: Activation) -> Property:
    found = activation.breaks
    if found.value is None:
        form = _UNDECIDED
    elif not found.value:
        form = _NONE
    else:
        parts = [_break(activation, u) for u in found.value]
        form = _Form(r";\quad ".join(u.latex for u in parts), "; ".join(u.text for u in parts))
    return _row("kinks", form, found.status, found.reason)


def _break(activation: Activation, found: Break) -> _Form:
    at, order, mark = found.point, found.order, _mark(found.order)
    sides = _fill(
        r"z = @:\ \sigma@(@^-) = @,\ \sigma@(@^+) = @",
        "z = @: sigma@(@-) = @, sigma@(@+) = @",
        *(at, mark, at, found.left[order], mark, at, found.right[order]),
    )
    if order != 1:
        return sides
    stated = activation.derivative(1).subs(Z, at)
    outside = _outside(stated, found.left[1], found.right[1])
    warning = (
        _Form(r"\ \text{(not a Clarke subgradient)}", " (not a Clarke subgradient)")
        if outside
        else _Form("", "")
    )
    return _fill(
        r"@,\ \text{stated } \sigma'(@) = @@", "@, stated sigma'(@) = @@", sides, at, stated, warning
    )


def _outside(stated: Expr, left: Expr, right: Expr) -> bool:
    """Say whether the stated slope lies outside the interval between the one-sided ones, beyond doubt."""
    below = (stated - left).is_negative and (stated - right).is_negative
    above = (stated - left).is_positive and (stated - right).is_positive
    return bool(below or above)


def _parity(activation: Activation) -> Property:
    found = activation.affine_parity
    if found.sign == 0:
        form = _NONE if found.status is Status.REFUTED else _UNDECIDED
    elif found.constant + found.slope * Z == 0:
        sign = "-" if found.sign == -1 else ""
        form = _Form(rf"\sigma(-z) = {sign}\sigma(z)", f"sigma(-z) = {sign}sigma(z)")
    elif found.sign == -1:
        form = _fill(r"\sigma(-z) = @ - \sigma(z)", "sigma(-z) = @ - sigma(z)", found.constant)
    else:
        sign = "-" if found.slope.could_extract_minus_sign() else "+"
        form = _fill(
            rf"\sigma(-z) = \sigma(z) {sign} @", f"sigma(-z) = sigma(z) {sign} @", abs(found.slope) * Z
        )
    return _row("parity", form, found.status)


def _homogeneity(activation: Activation) -> Property:
    degree, decision = activation.homogeneity
    if degree is not None:
        form = _fill(
            r"\sigma(\lambda z) = @\sigma(z),\ \lambda > 0",
            "sigma(lambda*z) = @sigma(z), lambda > 0",
            _Form("", "") if degree == 0 else _fill("@ ", "@*", _LAMBDA**degree),
        )
        return _row("homogeneity", form, decision.status)
    right, left = activation.half_lines
    if right.status is Status.PROVED or left.status is Status.PROVED:
        form = _fill(r"@,\quad @,\quad t > 0", "@, @, t > 0", _side(right, ""), _side(left, "-"))
        return _row("homogeneity", form, Status.PROVED)
    both = {right.status, left.status} == {Status.REFUTED}
    return _row("homogeneity", _NONE if both else _UNDECIDED, Status.REFUTED if both else Status.UNDECIDED)


def _side(found: HalfLine, sign: str) -> _Form:
    if found.factor is None:
        kind = "not homogeneous" if found.status is Status.REFUTED else "undecided"
        return _Form(rf"\sigma({sign}t)\ \text{{{kind}}}", f"sigma({sign}t) {kind}")
    value = found.factor if found.degree is None else found.factor * Pow(_T, found.degree)
    return _fill(rf"\sigma({sign}t) = @", f"sigma({sign}t) = @", value)


def _laws(activation: Activation) -> Iterator[Property]:
    yield _finding(
        "period",
        activation.period,
        r"\sigma(z + @) = \sigma(z)",
        "sigma(z + @) = sigma(z)",
        absent=_word("not periodic"),
    )
    found = activation.shift_rate
    if found.known:
        rate = _Form("" if found.value == 1 else "-" if found.value == -1 else f"{tex(found.value)} ", "")
        shift = _Form(
            rf"\sigma(z + s) = e^{{{rate.latex}s}} \sigma(z)",
            f"sigma(z + s) = exp({found.value * Symbol('s')})*sigma(z)",
        )
    else:
        shift = _NONE if found.status is Status.REFUTED else _UNDECIDED
    yield _row("exponential shift law", shift, found.status, found.reason)
    found = activation.analytic
    answer = _word("yes") if found.value else _word("no") if found.status is Status.REFUTED else _UNDECIDED
    yield _row("real-analytic", answer, found.status, found.reason)
    yield _finding(
        "multiplicity at 0", activation.multiplicity, "p = @", "p = @", absent=_word("not defined")
    )


def _bounds(activation: Activation) -> Iterator[Property]:
    yield _finding(
        "Lipschitz constant",
        activation.lipschitz,
        r"\sup \lvert\sigma'\rvert = @",
        "sup |sigma'| = @",
        absent=_INFINITE,
    )
    yield _finding(
        "Lipschitz constant of the derivative",
        activation.lipschitz_derivative,
        r"\sup \lvert\sigma''\rvert = @",
        "sup |sigma''| = @",
        absent=_INFINITE,
    )


def _tails(activation: Activation) -> Iterator[Property]:
    for found, end in zip(activation.tails, ("-", "+")):
        name = f"limit at {'minus' if end == '-' else 'plus'} infinity"
        if found.value is None:
            form = _NONE if found.status is Status.REFUTED else _UNDECIDED
            yield _row(name, form, found.status, found.reason)
            continue
        at = _Form(rf"z \to {end}\infty" if end == "-" else r"z \to \infty", f"z -> {end}oo".replace("+", ""))
        form = _fill(r"\lim_{@} \sigma(z) = @", "sigma(z) -> @ as @", at, found.value.limit)
        form = _Form(form.latex, f"sigma(z) -> {found.value.limit} as {at.text}")
        if found.value.slope not in (None, Integer(0)) and found.value.offset is not None:
            line = found.value.slope * Z + found.value.offset
            form = _fill(r"@,\ \text{asymptote } @", "@, asymptote @", form, line)
        yield _row(name, form, found.status, found.reason)


def _kernels(activation: Activation) -> Iterator[Property]:
    for order, name in enumerate(("dual kernel", "dual kernel of the derivative")):
        mark = "'" * order
        left = _Form(rf"\mathbb{{E}}[\sigma{mark}(u) \sigma{mark}(v)]", f"E[sigma{mark}(u)*sigma{mark}(v)]")
        try:
            form = _fill("@ = @", "@ = @", left, dual(activation, order=order))
            yield _row(name, form, Status.PROVED, "Closed form.")
        except AssumptionError:
            if not _has_series(activation, order):
                reason = "No closed form is known, and that the Hermite series converges is not shown."
                yield _row(name, _UNDECIDED, Status.UNDECIDED, reason)
                continue
            series = (
                _Form(r"\sum_{j \ge 0} c_j^2 \rho^j", "sum(c_j**2*rho**j, j >= 0)"),
                _Form(r"\sum_{j \ge 0} (j + 1) c_{j+1}^2 \rho^j", "sum((j + 1)*c_{j+1}**2*rho**j, j >= 0)"),
            )[order]
            yield _row(name, _fill("@ = @", "@ = @", left, series), Status.PROVED, "Hermite series.")
        except ValueError as error:
            yield _row(name, _ABSENT, Status.REFUTED, f"{error}.")


def _has_series(activation: Activation, order: int) -> bool:
    """Say whether the Hermite series of a dual kernel is proved.

    It holds where sigma (order 0) is square integrable under N(0, 1); for sigma' it must be so as well, and sigma absolutely
    continuous, for its coefficients to be those of sigma.  A Lipschitz constant gives all three.
    """
    if activation.lipschitz.known:
        return True
    if order == 0:
        return second_moment(activation).known
    jumps = activation.breaks
    continuous = jumps.known and all(found.order > 0 for found in jumps.value)
    slope = Activation(f"{activation.name}, derivative", activation.derivative(1))
    return continuous and second_moment(activation).known and second_moment(slope).known
