r"""Everything that is known of one activation, as rows of a table: name, value in LaTeX, status.

>>> from derivations.activations import REGISTRY
>>> for row in properties_table(REGISTRY["relu"])[:4]: print(*row, sep=" | ")
formula | \sigma(z) = (z)_{+} | PROVED
first derivative | \sigma'(z) = \mathbf{1}\{z > 0\} | PROVED
second derivative | \sigma''(z) = 0 | PROVED
kinks | z = 0:\ \sigma'(0^-) = 0,\ \sigma'(0^+) = 1,\ \text{stated } \sigma'(0) = 0 | PROVED
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from math import floor, log10

from sympy import Expr, Integer, Mul, Pow, factor, factor_terms

from derivations.activation_properties import HalfLine, tex
from derivations.activations import Activation, Z
from derivations.cells import Break
from derivations.claim import Status
from derivations.decide import Finding
from derivations.errors import AssumptionError
from derivations.hermite import hermite_coefficients
from derivations.kernels import dual
from derivations.latex_width import width

__all__ = ["properties_table"]

_ORDINALS = ("first", "second", "third", "fourth")
_DIGITS = 10
_POWER_OF_E = re.compile(r"\\exp\\Bigl\((-?) ?\\frac\{(\d+)\}\{(\d+)\}\\Bigr\)")


def properties_table(
    activation: Activation, *, highest_derivative: int = 4, highest_hermite: int = 4
) -> list[tuple[str, str, Status]]:
    r"""Return the rows (name, LaTeX of the value for math mode, status).

    A REFUTED row says that there is no such value, an UNDECIDED one that nothing was shown.  Derivatives are printed up to
    the last one that does not vanish almost everywhere.

    Parameters
    ----------
    activation : Activation
        Any.
    highest_derivative : int
        1 to 4.
    highest_hermite : int
        The last Hermite coefficient.

    Raises
    ------
    ValueError
        If ``highest_derivative`` is not between 1 and 4.
    """
    if not 1 <= highest_derivative <= len(_ORDINALS):
        raise ValueError(f"highest_derivative is 1 to {len(_ORDINALS)}, got {highest_derivative}")
    rows = [("formula", rf"\sigma(z) = {_shown(activation.derivative(0))}", Status.PROVED)]
    for order in range(1, highest_derivative + 1):
        value = activation.derivative(order)
        mark = "'" * order if order < 4 else f"^{{({order})}}"
        rows.append(
            (f"{_ORDINALS[order - 1]} derivative", rf"\sigma{mark}(z) = {_shown(value)}", Status.PROVED)
        )
        if value == 0:
            break
    rows += _breaks(activation)
    rows.append(("parity", *_parity(activation)))
    rows.append(("homogeneity", *_homogeneity(activation)))
    found = activation.period
    rows.append(("period", *_value(found, r"\sigma(z + @) = \sigma(z)", r"\text{not periodic}")))
    found = activation.shift_rate
    law = rf"\sigma(z + s) = e^{{{_rate(found.value)}s}} \sigma(z)" if found.known else ""
    rows.append(("exponential shift law", law or _absent(found, r"\text{none}"), found.status))
    found = activation.analytic
    rows.append(
        ("real-analytic", r"\text{yes}" if found.value else _absent(found, r"\text{no}"), found.status)
    )
    rows.append(("multiplicity at 0", *_value(activation.multiplicity, "p = @", r"\text{not defined}")))
    rows.append(
        ("Lipschitz constant", *_value(activation.lipschitz, r"\sup \lvert\sigma'\rvert = @", r"\infty"))
    )
    found = activation.lipschitz_derivative
    rows.append(
        (
            "Lipschitz constant of the derivative",
            *_value(found, r"\sup \lvert\sigma''\rvert = @", r"\infty"),
        )
    )
    rows += _tails(activation)
    rows += [
        (f"Hermite coefficient {order}", *_value(c, f"c_{{{order}}} = @", r"\text{does not exist}"))
        for order, c in enumerate(hermite_coefficients(activation, highest_hermite))
    ]
    return rows + _kernels(activation)


def _shown(expr: Expr) -> str:
    forms = [expr]
    if expr.is_finite is not False:
        forms += [factor_terms(expr), factor(expr), _flipped(factor(expr))]
    texts = [_arcs(tex(form)) for form in forms]
    return min(texts, key=lambda text: (round(width(text)), text.startswith("-")))


def _flipped(product: Expr) -> Expr:
    """Write s - 1 as 1 - s in a product, which changes its sign with every such factor."""
    sign, factors = Integer(1), []
    for u in Mul.make_args(product):
        turn = u.is_Add and u.as_coeff_Add()[0].is_negative
        sign = -sign if turn else sign
        factors.append(-u if turn else u)
    return Mul(sign, *factors)


def _arcs(text: str) -> str:
    """Use the names of the field for arc functions, and the short form of constants like e^{-1/2}."""
    text = text.replace(r"\operatorname{acos}", r"\arccos").replace(r"\operatorname{asin}", r"\arcsin")
    return _POWER_OF_E.sub(r"e^{\1\2/\3}", text)


def _value(found: Finding, pattern: str, absent: str) -> tuple[str, Status]:
    if found.value is None:
        return _absent(found, absent), found.status
    return pattern.replace("@", _number(found)), found.status


def _absent(found: Finding, absent: str) -> str:
    return absent if found.status is Status.REFUTED else r"\text{undecided}"


def _number(found: Finding) -> str:
    """Return the value; a float with the digits its radius allows, at most ten."""
    if found.radius is None:
        return _shown(found.value)
    ends = [_truncated(found.value - found.radius), _truncated(found.value + found.radius)]
    if found.status is Status.CERTIFIED and ends[0] == ends[1]:
        return ends[0] + r"\ldots"
    exponent = floor(log10(float(found.radius)))
    digits = min(max(-exponent, 0), 20)
    return rf"{found.value:.{digits}f} \pm {float(found.radius) / 10.0**exponent:.1f} \cdot 10^{{{exponent}}}"


def _truncated(value: Expr) -> str:
    """Return the first ten decimals, cut off and not rounded."""
    exact = Decimal(str(value.evalf(30)))
    return str(exact.quantize(Decimal(1).scaleb(-_DIGITS), rounding=ROUND_DOWN))


def _breaks(activation: Activation) -> Iterator[tuple[str, str, Status]]:
    found = activation.breaks
    if found.value is None:
        yield "kinks", r"\text{undecided}", found.status
    elif not found.value:
        yield "kinks", r"\text{none}", found.status
    else:
        yield "kinks", r";\quad ".join(_break(activation, u) for u in found.value), found.status


def _break(activation: Activation, found: Break) -> str:
    at, order = tex(found.point), found.order
    mark = "'" * order if order < 4 else f"^{{({order})}}"
    sides = rf"\sigma{mark}({at}^-) = {_shown(found.left[order])},\ \sigma{mark}({at}^+) = {_shown(found.right[order])}"
    stated = activation.derivative(1).subs(Z, found.point)
    return rf"z = {at}:\ {sides}" + (
        rf",\ \text{{stated }} \sigma'({at}) = {_shown(stated)}" if order == 1 else ""
    )


def _parity(activation: Activation) -> tuple[str, Status]:
    found = activation.affine_parity
    if found.sign == 0:
        return (r"\text{none}" if found.status is Status.REFUTED else r"\text{undecided}"), found.status
    sign = "-" if found.sign == -1 else ""
    rest = found.constant + found.slope * Z
    if rest == 0:
        return rf"\sigma(-z) = {sign}\sigma(z)", found.status
    if found.sign == -1:
        return rf"\sigma(-z) = {_shown(found.constant)} - \sigma(z)", found.status
    sign = "-" if found.slope.could_extract_minus_sign() else "+"
    return rf"\sigma(-z) = \sigma(z) {sign} {_shown(abs(found.slope) * Z)}", found.status


def _homogeneity(activation: Activation) -> tuple[str, Status]:
    degree, decision = activation.homogeneity
    if degree is not None:
        power = "" if degree == 1 else f"^{{{tex(degree)}}}"
        return rf"\sigma(\lambda z) = \lambda{power} \sigma(z),\ \lambda > 0", decision.status
    right, left = activation.half_lines
    if right.status is Status.PROVED or left.status is Status.PROVED:
        return rf"{_side(right, 't')},\quad {_side(left, '-t')}", Status.PROVED
    both = {right.status, left.status} == {Status.REFUTED}
    return (r"\text{none}" if both else r"\text{undecided}"), Status.REFUTED if both else Status.UNDECIDED


def _side(found: HalfLine, argument: str) -> str:
    if found.factor is None:
        kind = "not homogeneous" if found.status is Status.REFUTED else "undecided"
        return rf"\sigma({argument})\ \text{{{kind}}}"
    if found.degree is None:
        return rf"\sigma({argument}) = 0"
    return rf"\sigma({argument}) = {_shown(found.factor * Pow(Z, found.degree)).replace('z', 't')}"


def _rate(rate: Expr) -> str:
    return "" if rate == 1 else "-" if rate == -1 else tex(rate) + " "


def _tails(activation: Activation) -> Iterator[tuple[str, str, Status]]:
    for found, end in zip(activation.tails, ("-", "+")):
        name = f"limit at {'minus' if end == '-' else 'plus'} infinity"
        at = rf"z \to {end}\infty" if end == "-" else r"z \to \infty"
        if found.value is None:
            yield name, _absent(found, r"\text{none}"), found.status
            continue
        value = rf"\lim_{{{at}}} \sigma(z) = {tex(found.value.limit)}"
        if found.value.slope not in (None, Integer(0)) and found.value.offset is not None:
            value += rf",\ \text{{asymptote }} {_shown(found.value.slope * Z + found.value.offset)}"
        yield name, value, found.status


def _kernels(activation: Activation) -> list[tuple[str, str, Status]]:
    rows = []
    for order, name in enumerate(("dual kernel", "dual kernel of the derivative")):
        mark = "'" * order
        left = rf"\mathbb{{E}}[\sigma{mark}(u) \sigma{mark}(v)]"
        try:
            rows.append((name, rf"{left} = {_shown(dual(activation, order=order))}", Status.PROVED))
        except AssumptionError:
            # With a Lipschitz constant sigma and sigma' are square integrable and sigma is absolutely continuous.
            series = ("c_j^2", "(j + 1) c_{j+1}^2")[order]
            if activation.lipschitz.known:
                rows.append((name, rf"{left} = \sum_{{j \ge 0}} {series} \rho^j", Status.PROVED))
            else:
                rows.append((name, r"\text{undecided}", Status.UNDECIDED))
        except ValueError:
            rows.append((name, r"\text{does not exist}", Status.REFUTED))
    return rows
