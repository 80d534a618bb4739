"""Formulas and numbers given as text, read by a whitelist: no text is ever run or handed to SymPy's own parser.

The text is first cut into tokens (characters, words, literals, brackets and signs are judged there), then Python's
grammar gives its structure, then each node of an admitted kind is built with SymPy.  Every constant part is
estimated in floating point before SymPy sees it: SymPy evaluates constants eagerly, and one tower of powers or
exponentials can occupy it for hours.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

import sympy
from sympy import Expr, Integer, Rational

from derivations.errors import FormulaError
from derivations.functions import relu, sigmoid, softplus, step

__all__ = ["ELEMENTARY_FUNCTIONS", "parse_formula", "parse_number"]

MAX_BRACKETS, MAX_ARGUMENTS, MAX_DIGITS, MAX_NODES = 24, 12, 40, 2000
MAX_DECIMAL_EXPONENT = 300  # literals and constants lie in 1e-300 .. 1e300, inside the range of a double
MAX_BITS = 2048  # numerator and denominator of an exact constant
MAX_POWER = 64
# For a symbol of declared sign SymPy isolates the real roots of polynomials: 0.04 s at degree 12, minutes at 64.
MAX_POWER_SIGNED = 12
CANCELLED = 1e-12  # a sum this small beside its terms cannot be told from zero in double precision

_TOKEN = re.compile(
    r"(?P<number>(?P<mantissa>[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]+))?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>\*\*|[-+*/(),\[\] ])"
)
_HINTS = {"^": "write ** for a power", ".": "attributes are refused; a point stands only inside a number"}
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "E": sympy.E}
_UNREAL = (
    *(type(u) for u in (sympy.zoo, sympy.nan, sympy.oo, -sympy.oo, sympy.I)),
    *(sympy.AccumBounds, sympy.re, sympy.im, sympy.arg),
)


def _hermite(order: int) -> Callable[[Any], Any]:
    """Return the probabilists' Hermite polynomial of this order, for expressions and floats alike."""
    before, here = [0], [1]  # He_{n+1} = x He_n - n He_{n-1}, coefficients from the constant term upwards
    for n in range(order):
        before, here = here, [a - n * b for a, b in zip([0, *here], [*before, 0, 0])]
    return lambda x: sum(c * x**k for k, c in enumerate(here) if c)


_HERMITE = {f"He{n}": _hermite(n) for n in range(13)}

#: The functions a formula may call unless others are given.
ELEMENTARY_FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {f.__name__: f for f in (sympy.exp, sympy.log, sympy.sqrt, sympy.sin, sympy.cos, sympy.tan, sympy.sinh)}
    | {f.__name__: f for f in (sympy.cosh, sympy.tanh, sympy.asinh, sympy.atan, sympy.erf, sympy.sign)}
    | {f.__name__: f for f in (relu, step, sigmoid, softplus, sympy.Abs, sympy.Max, sympy.Min)}
    | {"abs": sympy.Abs, "max": sympy.Max, "min": sympy.Min, **_HERMITE}
)
_ARGUMENTS = {sympy.Max: (2, MAX_ARGUMENTS), sympy.Min: (2, MAX_ARGUMENTS), step: (1, 2)}

# The floating-point twin of everything that builds a constant.
_TWINS: Mapping[Any, Callable[..., float]] = {
    **{getattr(sympy, name): getattr(math, name) for name in "exp log sqrt sin cos tan sinh cosh tanh".split()},
    **{getattr(sympy, name): getattr(math, name) for name in "asinh atan erf".split()},
    **{f: f for f in (*_BINARY.values(), *_HERMITE.values(), operator.neg)},
    sympy.Add: lambda *terms: math.fsum(terms),
    sympy.Mul: lambda *factors: math.prod(factors),
    sympy.Pow: math.pow,
    sympy.cot: lambda x: 1 / math.tan(x),
    sympy.Abs: abs,
    sympy.Max: max,
    sympy.Min: min,
    sympy.sign: lambda x: float((x > 0) - (x < 0)),
    relu: lambda x: max(x, 0.0),
    step: lambda x, at_zero=0.0: 1.0 if x > 0 else 0.0 if x < 0 else at_zero,
    sigmoid: lambda x: 1 / (1 + math.exp(-x)),
    softplus: lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}


class _Measure(NamedTuple):
    """What is known of an expression: its value if constant, a bound of its degree, its number of nodes."""

    value: float | None
    degree: int
    size: int


def _estimate(twin: Any, values: Sequence[float | None]) -> float | None:
    """Return the value of a constant in floating point; refuse what is not real or is too large."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or twin not in _TWINS:
        return None
    try:
        result = float(_TWINS[twin](*numbers))
    except OverflowError:
        result = math.inf
    except (ValueError, ZeroDivisionError) as error:
        raise FormulaError("is not a finite real number") from error
    if not abs(result) <= 10.0**MAX_DECIMAL_EXPONENT:
        raise FormulaError(f"is too large: constants stay below 1e{MAX_DECIMAL_EXPONENT}")
    if twin is sympy.Add and abs(result) <= CANCELLED * math.fsum(map(abs, numbers)):
        return 0.0
    return result


def _degree(expr: Expr, degrees: Sequence[int]) -> int:
    """Return a bound of the degree, from the degrees of the arguments; a function value counts as a variable."""
    if expr.is_Add:
        return max(degrees)
    if expr.is_Mul:
        return sum(degrees)
    if expr.is_Pow and expr.exp.is_Rational:
        return degrees[0] * math.ceil(abs(expr.exp))
    return 0 if expr.is_Rational else 1


def _measure(expr: Expr, known: dict[Expr, _Measure]) -> _Measure:
    """Measure an expression and all its parts; refuse what is not a finite real number of moderate size."""
    if expr in known:
        return known[expr]
    if isinstance(expr, _UNREAL):
        raise FormulaError("is not a finite real number")
    parts = [_measure(part, known) for part in expr.args]
    size = 1 + sum(part.size for part in parts)
    if size > MAX_NODES:
        raise FormulaError(f"grows beyond {MAX_NODES} operations once written out")
    if expr.is_Rational:
        if max(expr.p.bit_length(), expr.q.bit_length()) > MAX_BITS:
            raise FormulaError(f"is an exact number of more than {MAX_BITS} bits")
        value = _estimate(operator.truediv, (expr.p, expr.q))
    elif expr.is_NumberSymbol or expr.is_Float:
        value = float(expr)
    else:
        value = _estimate(expr.func, [part.value for part in parts]) if parts else None
    if value is not None and abs(value) < 10.0**-MAX_DECIMAL_EXPONENT and not expr.is_zero:
        raise FormulaError("cannot be told from zero in double precision")
    known[expr] = _Measure(value, _degree(expr, [part.degree for part in parts]), size)
    return known[expr]


class _Reader(ast.NodeVisitor):
    """Build the expression of one text; every admitted kind of node has its ``visit_`` method, others are refused."""

    def __init__(self, text: str, names: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> None:
        self.text, self.names, self.functions = text, names, functions
        self.known: dict[Expr, _Measure] = {}
        self.max_power = MAX_POWER

    def refusal(self, node: ast.expr, reason: str) -> FormulaError:
        """Return the error for a node, pointing at its operator or else at its start."""
        column, end = node.col_offset, node.end_col_offset
        found = self.text[column:end]
        if isinstance(node, ast.BinOp):  # between the operands stand only brackets, blanks and the operator
            column = next(i for i in range(node.left.end_col_offset or 0, len(self.text)) if self.text[i] in "+-*/")
        return FormulaError(f"{found if len(found) < 60 else found[:57] + '...'!r} {reason}", text=self.text, column=column)

    def build(self, node: ast.expr, function: Callable[..., Any], *args: Expr, twin: Any = None) -> Expr:
        """Return ``function(*args)`` after an estimate of its value, and measure what SymPy made of it."""
        try:
            _estimate(twin or function, [_measure(arg, self.known).value for arg in args])
            expr = sympy.sympify(function(*args), strict=True)
            if not isinstance(expr, Expr):
                raise FormulaError("is not a scalar")
            degree = _measure(expr, self.known).degree
        except FormulaError as error:
            raise self.refusal(node, error.reason) from error
        except Exception as error:  # SymPy answers odd constants with errors of any class
            raise self.refusal(node, f"cannot be evaluated ({type(error).__name__}); write it in a simpler form") from error
        if degree > self.max_power:
            raise self.refusal(node, f"has degree {degree}; at most {self.max_power} is accepted, nested powers included")
        return expr

    def generic_visit(self, node: ast.AST) -> Expr:
        """Refuse every kind of node that has no method here."""
        kind = type(node).__name__
        accepted = "numbers, known names, + - * / **, brackets, calls of known functions and name[0] are accepted"
        raise self.refusal(node, f"is not part of a formula ({kind}); {accepted}")  # type: ignore[arg-type]

    def visit_Constant(self, node: ast.Constant) -> Expr:
        """Read a literal from its text, so that 0.1 is 1/10."""
        if type(node.value) not in (int, float):
            return self.generic_visit(node)
        exact = Fraction(self.text[node.col_offset : node.end_col_offset])
        return self.build(node, Rational, Integer(exact.numerator), Integer(exact.denominator), twin=operator.truediv)

    def visit_Name(self, node: ast.Name) -> Expr:
        """Look a name up; the given names go before the constants."""
        value = self.names.get(node.id, _CONSTANTS.get(node.id))
        if value is None and node.id in self.functions:
            raise self.refusal(node, f"is a function; write {node.id}(...)")
        if value is None:
            raise self.refusal(node, _unknown("name", node.id, [*self.names, *_CONSTANTS, *self.functions]))
        if _is_list(value):
            raise self.refusal(node, f"is a list; {_range(node.id, value)}")
        return self.leaf(node, value)

    def visit_Subscript(self, node: ast.Subscript) -> Expr:
        """Read ``name[0]`` with a literal index."""
        values = self.names.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if not isinstance(node.value, ast.Name) or values is None or not _is_list(values):
            lists = ", ".join(name for name, value in self.names.items() if _is_list(value)) or "none"
            raise self.refusal(node, f"takes an index of what is not a list; the lists are: {lists}")
        index = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if type(index) is not int or not 0 <= index < len(values):
            raise self.refusal(node.slice, f"is not an index of {node.value.id}; {_range(node.value.id, values)}")
        return self.leaf(node, values[index])

    def leaf(self, node: ast.expr, value: Any) -> Expr:
        """Admit the value of a name; a declared sign lowers the admitted power."""
        expr = self.build(node, lambda: value)
        if any(symbol.is_extended_nonnegative or symbol.is_extended_nonpositive for symbol in expr.free_symbols):
            self.max_power = MAX_POWER_SIGNED
        return expr

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Expr:
        """Build ``+x`` or ``-x``."""
        if not isinstance(node.op, ast.UAdd | ast.USub):
            return self.generic_visit(node)
        operand = self.visit(node.operand)
        return operand if isinstance(node.op, ast.UAdd) else self.build(node, operator.neg, operand)

    def visit_BinOp(self, node: ast.BinOp) -> Expr:
        """Build a sum, difference, product, quotient or power."""
        if not isinstance(node.op, ast.Pow) and type(node.op) not in _BINARY:
            return self.generic_visit(node)
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Pow):
            return self.power(node, left, right)
        if isinstance(node.op, ast.Div) and right.is_zero:
            raise self.refusal(node, "divides by zero")
        return self.build(node, _BINARY[type(node.op)], left, right)

    def power(self, node: ast.BinOp, base: Expr, exponent: Expr) -> Expr:
        """Build a power whose size is known beforehand and whose value is real."""
        if base == sympy.E:
            return self.build(node, sympy.exp, exponent)
        constant = _measure(exponent, self.known).value
        if constant is None and not (base.is_positive and base.is_Atom):
            raise self.refusal(node, "has a variable exponent; then the base is a positive number or positive name")
        if constant is not None and abs(constant) * max(1, _measure(base, self.known).degree) > self.max_power:
            raise self.refusal(node, f"is too high a power; at most {self.max_power} is accepted, nested powers included")
        bits = max(base.p.bit_length(), base.q.bit_length()) if base.is_Rational else 0
        if constant is not None and bits * abs(constant) > 2 * MAX_BITS:
            raise self.refusal(node, f"is an exact number of more than {MAX_BITS} bits")
        return self.build(node, operator.pow, base, exponent, twin=sympy.Pow)

    def visit_Call(self, node: ast.Call) -> Expr:
        """Call a known function with a number of arguments it takes."""
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self.refusal(node, "is not a call of a known function; write * for a product")
        name = node.func.id
        function = self.functions.get(name)
        if function is None and (name in self.names or name in _CONSTANTS):
            raise self.refusal(node, f"calls {name}, which is not a function; write {name}*(...) for a product")
        if function is None:
            raise self.refusal(node, _unknown("function", name, list(self.functions)))
        default = (1, 1) if name in ELEMENTARY_FUNCTIONS else (1, MAX_ARGUMENTS)
        fewest, most = _ARGUMENTS.get(function, default)
        if not fewest <= len(node.args) <= most:
            accepted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise self.refusal(node, f"has {len(node.args)} arguments; {name} takes {accepted}")
        return self.build(node, function, *(self.visit(arg) for arg in node.args))


def _is_list(value: Any) -> bool:
    return not isinstance(value, Expr | int | float)


def _range(name: str, values: Sequence[Any]) -> str:
    return f"write {name}[0] to {name}[{len(values) - 1}]" if len(values) else f"{name} has no entries"


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """Say that a name is unknown, name the nearest known one and list what is known."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"is an unknown {kind}; {hint}known: {', '.join(dict.fromkeys(known))}"
