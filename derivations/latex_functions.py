r"""LaTeX of scalar functions, symbols and constants: the part of the printer that knows no index.

A function stands without space before its parentheses, powers of named functions stand on the name, and delimiters
have fixed sizes chosen by what they enclose, so that a line may break inside them.

>>> from sympy import symbols, tanh
>>> z = symbols("z", real=True)
>>> FunctionPrinter().doprint(tanh(z)), FunctionPrinter().doprint(softplus(z))
('\\tanh(z)', '\\log(1 + e^{z})')
>>> parenthesised(r"\sum_k a_k"), raised("z'", "2"), joined(["2", "3 x"])
('\\Bigl(\\sum_k a_k\\Bigr)', "(z')^{2}", '2 \\cdot 3 x')
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sympy import Expr, Function, Integer, Mul, Pow, Rational, S, Symbol, exp, log, sqrt
from sympy.printing.latex import LatexPrinter

from derivations.functions import relu, sech2, softplus, step
from derivations.generic import GenericFunction
from derivations.latex_width import tokens, width

__all__ = [
    "FunctionPrinter",
    "factors_of",
    "has_script",
    "is_negative",
    "is_scalar",
    "joined",
    "name_order",
    "one_root",
    "parenthesised",
    "raised",
    "scalar_fraction",
]

_GREEK = frozenset(
    r"alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega ell".split()  # noqa: SIM905
)
_PLAIN_NAMES = frozenset(["tanh", "sin", "cos", "tan", "sinh", "cosh", "cot"])
_SPECIAL_NAMES = {
    "asinh": r"\operatorname{arsinh}",
    "asin": r"\arcsin",
    "acos": r"\arccos",
    "atan": r"\arctan",
    "sign": r"\operatorname{sgn}",
    "kappa0": r"\kappa_0",
    "kappa1": r"\kappa_1",
}
_LISTS = {"Max": r"\max", "Min": r"\min"}
_TALL = re.compile(r"\\sum|\\frac|\\bigl|\\Bigl|\\biggl|\\begin|\(")
_LONG_EXPONENT = 60.0  # points; beyond it e^{u} becomes exp(u), which a line may break


class FunctionPrinter(LatexPrinter):
    """Printer of functions, symbols and constants in the dialect of ``derivations.latex``."""

    printmethod = None  # our rules stand before an object's own ``_latex``, which may use \left and \right

    def __init__(self) -> None:
        super().__init__()
        self._flat = False  # inside an exponent: fractions as p/q

    def doprint(self, expr: Expr) -> str:
        """Return the LaTeX of ``expr``."""
        return self._print(expr)

    def _arguments(self, arguments: Sequence[Expr]) -> str:
        return parenthesised(", ".join(self._print(u) for u in arguments))

    def _function_name(self, expr: Expr) -> str | None:
        """Return the name a power may stand on, None for what is written otherwise."""
        name = type(expr).__name__
        if name in ("exp", "log", "relu", "step", "softplus", "sech2", "Abs", *_LISTS):
            return None
        if name in _PLAIN_NAMES:
            return rf"\{name}"
        return _SPECIAL_NAMES.get(name) or rf"\operatorname{{{name}}}"

    def _print_GenericFunction(self, expr: GenericFunction) -> str:
        name = rf"\{expr.name}" if expr.name in _GREEK else expr.name
        orders, arguments = expr.orders, self._arguments(expr.arguments)
        if any(orders[1:]):
            marks = [
                rf"\partial_{{{slot}}}" + (f"^{{{order}}}" if order > 1 else "")
                for slot, order in enumerate(orders, start=1)
                if order
            ]
            return " ".join(marks) + f" {name}{arguments}"
        mark = "'" * orders[0] if orders[0] < 4 else f"^{{({orders[0]})}}"
        return f"{name}{mark}{arguments}"

    def _print_Function(self, expr: Function, exp: Any = None) -> str:
        name = self._function_name(expr) or _LISTS.get(type(expr).__name__, "")
        return f"{name}{self._arguments(expr.args)}"

    # SymPy's own printers of these would be found before ``_print_Function``.
    _print_sign = _print_Max = _print_Min = _print_Heaviside = _print_DiracDelta = _print_Function

    def _print_log(self, expr: log, exp: Any = None) -> str:
        return rf"\log{self._arguments(expr.args)}"

    def _print_exp(self, expr: exp, exp: Any = None) -> str:
        short = self._flattened(expr.args[0])
        if _TALL.search(short.replace("(", "", 1)) or width(short, 1) > _LONG_EXPONENT:
            return rf"\exp{self._arguments(expr.args)}"
        return f"e^{{{short}}}"

    _print_ExpBase = _print_exp

    def _print_Rational(self, expr: Rational) -> str:
        sign, p = ("-" if expr.p < 0 else ""), abs(expr.p)
        if expr.q == 1:
            return f"{sign}{p}"
        return f"{sign}{p}/{expr.q}" if self._flat else rf"{sign}\frac{{{p}}}{{{expr.q}}}"

    _print_Half = _print_Rational

    def _flattened(self, expr: Expr) -> str:
        """Print ``expr`` with fractions as p/q, for an exponent."""
        before, self._flat = self._flat, True
        try:
            return self._print(expr)
        finally:
            self._flat = before

    def _print_Exp1(self, expr: Expr, exp: Any = None) -> str:
        return "e"

    def _print_Pi(self, expr: Expr, exp: Any = None) -> str:
        return r"\pi"

    def _print_Abs(self, expr: Expr, exp: Any = None) -> str:
        return rf"\lvert {self._print(expr.args[0])} \rvert"

    def _print_relu(self, expr: relu) -> str:
        return f"{self._arguments(expr.args)}_{{+}}"

    def _print_softplus(self, expr: softplus) -> str:
        return rf"\log{parenthesised('1 + ' + self._print_exp(exp(expr.args[0], evaluate=False)))}"

    def _print_sech2(self, expr: sech2) -> str:
        return rf"\operatorname{{sech}}^{{2}}{self._arguments(expr.args)}"

    def _print_step(self, expr: step) -> str:
        argument, at_zero = self._print(expr.args[0]), expr.args[1]
        if at_zero in (0, 1):
            sign = ">" if at_zero == 0 else r"\ge"
            return rf"\mathbf{{1}}\{{{argument} {sign} 0\}}"
        value = f"{at_zero.p}/{at_zero.q}" if at_zero.is_Rational else self._print(at_zero)
        return rf"\operatorname{{step}}_{{{value}}}{self._arguments(expr.args[:1])}"

    def _print_Symbol(self, expr: Symbol, style: str = "plain") -> str:
        return re.sub(r"_\{(\w)\}", r"_\1", super()._print_Symbol(expr))

    def _power(self, base: Expr, exponent: Expr) -> str:
        power = self._flattened(exponent) if exponent.is_Rational else self._print(exponent)
        if isinstance(base, sech2) and exponent.is_Integer:
            return rf"\operatorname{{sech}}^{{{2 * exponent}}}{self._arguments(base.args)}"
        if isinstance(base, Function) and exponent.is_Integer and exponent > 0:
            name = self._function_name(base)
            if name is not None:
                return f"{name}^{{{power}}}{self._arguments(base.args)}"
        tex = self._print(base)
        simple = base.is_Atom or isinstance(base, GenericFunction | relu) or type(base).__name__ == "Entry"
        return raised(tex if simple and not tex.startswith("-") else parenthesised(tex), power)


def is_negative(expr: Expr) -> bool:
    """Say whether the term carries a minus sign."""
    return bool(expr.as_coeff_Mul()[0].is_negative)


def is_scalar(expr: Expr) -> bool:
    """Say whether ``expr`` is a constant, a dimension or another symbol, or a power of one."""
    base = expr.base if isinstance(expr, Pow) else expr
    return bool(base.is_number or isinstance(base, Symbol))


def factors_of(expr: Expr) -> Iterator[Expr]:
    """Yield the factors of a product, of products inside it as well."""
    for factor in Mul.make_args(expr):
        if isinstance(factor, Mul):
            yield from factors_of(factor)
        else:
            yield factor


def scalar_fraction(factors: Sequence[Expr]) -> tuple[list[Expr], Expr]:
    """Return (numerator factors, denominator) of a product of constants and symbols, its sign being positive."""
    top: list[Expr] = []
    below: Expr = S.One
    coefficient: Expr = S.One
    for factor in factors:
        if factor.is_Rational:
            coefficient *= factor
        elif isinstance(factor, Pow) and factor.exp.could_extract_minus_sign():
            below *= 1 / factor
        else:
            top.append(factor)
    for factor in list(top):
        root = isinstance(factor, Pow) and factor.exp == Rational(1, 2) and factor.base.is_Integer
        if root and coefficient.q % factor.base == 0:  # sqrt(2)/2 is written 1/sqrt(2)
            coefficient, below = coefficient * factor.base, below * sqrt(factor.base)
            top.remove(factor)
    if coefficient.p != 1:
        top.insert(0, Integer(coefficient.p))
    return top, coefficient.q * below


def one_root(factors: Sequence[Expr]) -> list[Expr]:
    """Write the square roots of positive numbers and symbols among scalar factors as one root, sqrt(2 pi)."""
    roots = [u for u in factors if isinstance(u, Pow) and u.exp == Rational(1, 2) and u.base.is_positive]
    if len(roots) < 2:
        return list(factors)
    rest = [u for u in factors if u not in roots]
    product = Mul(*[u.base for u in roots], evaluate=False)
    return [*rest, Pow(product, Rational(1, 2), evaluate=False)]


def name_order(name: str) -> str:
    """Return the sorting key of a name: alphabetical, but y before f, since y f is the margin."""
    return "e~" if name == "y" else name


def joined(factors: Sequence[str]) -> str:
    """Write factors side by side; two numbers get a dot."""
    out = ""
    for tex in filter(None, factors):
        glue = r" \cdot " if out and out[-1].isdigit() and tex[0].isdigit() else " "
        out += (glue if out else "") + tex
    return out


def parenthesised(tex: str) -> str:
    r"""Put ``tex`` in parentheses of a fixed size that suits its content."""
    size = 0
    for step_size, marks in enumerate(
        (("(", r"\begin"), (r"\sum", r"\frac", r"\bigl"), (r"\Bigl",), (r"\biggl",))
    ):
        if any(mark in tex for mark in marks):
            size = step_size + 1
    name = ("", "big", "Big", "bigg", "Bigg")[size]
    return rf"\{name}l({tex}\{name}r)" if name else f"({tex})"


def has_script(tex: str, mark: str) -> bool:
    """Say whether the character ``mark`` stands outside braces."""
    level = 0
    for character in tex:
        level += (character == "{") - (character == "}")
        if level == 0 and character == mark:
            return True
    return False


def raised(tex: str, power: str) -> str:
    """Return ``tex`` with an exponent; a base that has one already is put in parentheses."""
    last = tokens(tex)[-1].text
    if has_script(last, "^") or has_script(last, "'"):
        tex = parenthesised(tex)
    return f"{tex}^{{{power}}}"
