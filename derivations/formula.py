"""Formulas and numbers given as text, read by a whitelist; no text is run or handed to SymPy's parser.

The text is cut into tokens, each judged on its own; Python's grammar gives the structure; each node of an
admitted kind is built with SymPy.  Every constant part is first estimated in floating point: SymPy evaluates
constants at once, and one tower of powers or exponentials can occupy it for hours.
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
from sympy import Expr, Rational

from derivations.errors import FormulaError
from derivations.functions import relu, sigmoid, softplus, step

__all__ = ["ELEMENTARY_FUNCTIONS", "parse_formula", "parse_number"]

MAX_LENGTH, MAX_BRACKETS, MAX_ARGUMENTS, MAX_DIGITS, MAX_NODES = 300, 24, 12, 40, 2000
MAX_EXPONENT, LARGEST, SMALLEST = 100, 1e300, 1e-300  # of literals; of constants, well inside doubles
MAX_BITS = 512  # of numerator and denominator together
# To tell the sign of a polynomial in a symbol of declared sign, SymPy solves it: minutes from degree 4 on.
MAX_POWER, MAX_POWER_SIGNED = 64, 2
MAX_ROOT = 20  # denominators of exponents: SymPy raises the base to nearly this power
CANCELLED = 1e-12  # a sum this small beside its terms cannot be told from zero in double precision

_TOKEN = re.compile(
    r"(?P<number>(?P<mantissa>[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]+))?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>\*\*|[-+*/(),\[\] ])"
)
_HINTS = {"^": "write ** for a power", ".": "a point stands only inside a number, attributes are refused"}
_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "E": sympy.E}
_UNREAL = (*(type(u) for u in (sympy.zoo, sympy.nan, sympy.oo, -sympy.oo, sympy.I)), sympy.AccumBounds)


def _hermite(order: int) -> Callable[[Any], Any]:
    """Return the probabilists' Hermite polynomial of this order, for expressions and floats alike."""
    before, here = [0], [1]  # He_{n+1} = x He_n - n He_{n-1}, coefficients from the constant term upwards
    for n in range(order):
        before, here = here, [a - n * b for a, b in zip([0, *here], [*before, 0, 0])]
    return lambda x: sum(c * x**k for k, c in enumerate(here) if c)


_HERMITE = {f"He{n}": _hermite(n) for n in range(13)}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
    **{ast.Pow: operator.pow, ast.UAdd: operator.pos, ast.USub: operator.neg},
}
_FUNCTIONS: dict[Any, Callable[..., Any]] = {  # with the floating-point twin of each
    **{sympy.exp: math.exp, sympy.log: math.log, sympy.sqrt: math.sqrt, sympy.erf: math.erf},
    **{sympy.sin: math.sin, sympy.cos: math.cos, sympy.tan: math.tan, sympy.atan: math.atan},
    **{sympy.sinh: math.sinh, sympy.cosh: math.cosh, sympy.tanh: math.tanh, sympy.asinh: math.asinh},
    **{sympy.Abs: abs, sympy.Max: max, sympy.Min: min, sympy.sign: lambda x: (x > 0) - (x < 0)},
    relu: lambda x: max(x, 0.0),
    step: lambda x, at_zero=0.0: 1.0 if x > 0 else 0.0 if x < 0 else at_zero,
    # These overflow on purpose where the exponential does: there SymPy's evaluation takes gigabytes.
    **{sigmoid: lambda x: math.exp(x) / (1 + math.exp(x)), softplus: lambda x: math.log1p(math.exp(x))},
}
_TWINS: dict[Any, Callable[..., Any]] = {  # of everything that can build a constant
    **_FUNCTIONS,
    **{f: f for f in _OPERATORS.values()},
    **{f: f for f in _HERMITE.values()},
    **{sympy.Add: lambda *terms: math.fsum(terms), sympy.Mul: lambda *factors: math.prod(factors)},
    **{sympy.Pow: math.pow, operator.pow: math.pow, sympy.cot: lambda x: 1 / math.tan(x)},
}
#: The functions a formula may call unless others are given.
ELEMENTARY_FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {f.__name__: f for f in _FUNCTIONS} | {"abs": sympy.Abs, "max": sympy.Max, "min": sympy.Min} | _HERMITE
)
_ARGUMENTS = {sympy.Max: (2, MAX_ARGUMENTS), sympy.Min: (2, MAX_ARGUMENTS), step: (1, 2)}


class _Measure(NamedTuple):
    """Facts of an expression: value if constant, bound of the degree, number of nodes, order of roots."""

    value: float | None
    degree: int
    size: int
    root: int


def _estimate(function: Any, values: Sequence[float | None]) -> float | None:
    """Return a constant in floating point, None if it is none; refuse what is not real or too large."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or function not in _TWINS:
        return None
    try:
        result = float(_TWINS[function](*numbers))
    except OverflowError:
        result = math.inf
    except (ValueError, ZeroDivisionError) as error:
        raise FormulaError("is not a finite real number") from error
    if not abs(result) <= LARGEST:
        raise FormulaError(f"is too large; constants up to {LARGEST} are accepted")
    return 0.0 if function is sympy.Add and abs(result) <= CANCELLED * sum(map(abs, numbers)) else result


def _degree(expr: Expr, degrees: Sequence[int]) -> int:
    """Return a bound of the degree from those of the arguments; a function value counts as a variable."""
    if expr.is_Add or expr.is_Mul:
        return max(degrees) if expr.is_Add else sum(degrees)
    if expr.is_Pow and expr.exp.is_Rational:
        return degrees[0] * math.ceil(abs(expr.exp))
    return 0 if expr.is_Rational else 1


class _Reader(ast.NodeVisitor):
    """Build the expression of one text: an admitted kind of node has a ``visit_`` method, no other."""

    def __init__(self, text: str, names: Mapping[str, Any], functions: Mapping[str, Any] | None) -> None:
        self.text, self.names = text, names
        self.functions = ELEMENTARY_FUNCTIONS if functions is None else functions
        self.known: dict[Expr, _Measure] = {}
        self.max_power = MAX_POWER

    def refusal(self, node: Any, reason: str) -> FormulaError:
        """Return the error for a node, pointing at its operator or else at its start."""
        column, found = node.col_offset, self.text[node.col_offset : node.end_col_offset]
        if isinstance(node, ast.BinOp):  # only brackets and blanks stand between an operand and the operator
            column = len(self.text) - len(self.text[node.left.end_col_offset :].lstrip(") "))
        found = found if len(found) <= 60 else found[:57] + "..."
        return FormulaError(f"{found!r} {reason}", text=self.text, column=column)

    def measure(self, expr: Expr) -> _Measure:
        """Measure an expression and its parts; refuse what is not a finite real number of moderate size."""
        if expr in self.known:
            return self.known[expr]
        if isinstance(expr, _UNREAL):
            raise FormulaError("is not a finite real number")
        parts = [self.measure(part) for part in expr.args]
        if (size := 1 + sum(part.size for part in parts)) > MAX_NODES:
            raise FormulaError(f"grows beyond {MAX_NODES} operations once written out")
        if expr.is_Rational and (expr.p * expr.q).bit_length() > MAX_BITS:
            raise FormulaError(f"is an exact number of more than {MAX_BITS} bits")
        root = max((part.root for part in parts), default=1)
        root *= expr.exp.q if expr.is_Pow and expr.exp.is_Rational else 1
        if root > MAX_ROOT:
            raise FormulaError(f"has roots of order {root}; at most {MAX_ROOT} is accepted, also of roots")
        value = float(expr) if expr.is_Number or expr.is_NumberSymbol else None
        if parts:
            value = _estimate(expr.func, [part.value for part in parts])
        elif value is None and (expr.is_extended_nonnegative or expr.is_extended_nonpositive):
            self.max_power = MAX_POWER_SIGNED
        if value is not None and abs(value) < SMALLEST and expr != 0:
            raise FormulaError("cannot be told from zero in double precision")
        self.known[expr] = _Measure(value, _degree(expr, [part.degree for part in parts]), size, root)
        return self.known[expr]

    def limit(self, expr: Expr, value: float | None) -> int:
        """Return the degree accepted of an expression; monomials and constants cost SymPy nothing."""
        return MAX_POWER if value is not None or not expr.has(sympy.Add) else self.max_power

    def build(self, node: ast.expr, function: Callable[..., Any], *args: Any) -> Expr:
        """Return ``function(*args)`` after an estimate of its value, and measure what SymPy made of it."""
        try:
            _estimate(function, [self.measure(arg).value for arg in args])
            expr = sympy.sympify(function(*args), strict=True)
            if not isinstance(expr, Expr):
                raise FormulaError("is not a scalar")
            found = self.measure(expr)
            if found.degree > (limit := self.limit(expr, found.value)):
                raise FormulaError(f"has degree {found.degree}; at most {limit} is accepted")
            return expr
        except FormulaError as error:
            raise self.refusal(node, error.reason) from error
        except Exception as error:  # SymPy answers odd constants with errors of any class
            reason = f"cannot be evaluated ({type(error).__name__}); write it in a simpler form"
            raise self.refusal(node, reason) from error

    def visit(self, node: ast.AST) -> Expr:
        """Build a node of an admitted kind; refuse every other."""
        kind, operation = type(node).__name__, type(getattr(node, "op", ast.Add()))
        if not hasattr(self, f"visit_{kind}") or operation not in _OPERATORS:
            accepted = "numbers, known names, + - * / **, brackets, function calls and name[0] are accepted"
            raise self.refusal(node, f"is not part of a formula ({kind}); {accepted}")
        return super().visit(node)

    def visit_Constant(self, node: ast.Constant) -> Expr:
        """Read a literal from its text, so that 0.1 is 1/10."""
        return self.build(node, lambda: _exact(self.text[node.col_offset : node.end_col_offset]))

    def visit_Name(self, node: ast.Name) -> Expr:
        """Look a name up; the given names go before the constants."""
        value = self.names.get(node.id, _CONSTANTS.get(node.id))
        if value is None:
            called = f"is a function; write {node.id}(...)" if node.id in self.functions else ""
            raise self.refusal(node, called or _unknown("name", node.id, [*self.names, *_CONSTANTS]))
        if _is_list(value):
            raise self.refusal(node, f"is a list; {_range(node.id, value)}")
        return self.build(node, lambda: value)

    def visit_Subscript(self, node: ast.Subscript) -> Expr:
        """Read ``name[0]`` with a literal index."""
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        lists = {name: value for name, value in self.names.items() if _is_list(value)}
        if name not in lists:
            raise self.refusal(node, f"indexes what is not a list; lists: {', '.join(lists) or 'none'}")
        index = getattr(node.slice, "value", None)
        if type(index) is not int or not 0 <= index < len(lists[name]):
            raise self.refusal(node.slice, f"is not an index of {name}; {_range(name, lists[name])}")
        return self.build(node, lambda: lists[name][index])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Expr:
        return self.build(node, _OPERATORS[type(node.op)], self.visit(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> Expr:
        """Build a sum, difference, product, quotient or power; a power's size is known beforehand."""
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Div) and right.is_zero:
            raise self.refusal(node, "divides by zero")
        if not isinstance(node.op, ast.Pow):
            return self.build(node, _OPERATORS[type(node.op)], left, right)
        if left == sympy.E:
            return self.build(node, sympy.exp, right)
        (base, degree, _, root), exponent = self.measure(left), self.measure(right).value
        if exponent is None and not (left.is_positive if left.is_Atom else (base or 0) > 0):
            raise self.refusal(node, "has a variable exponent; its base must be a positive number or name")
        if right.is_Rational and right.q > 1 and root * right.q > MAX_ROOT:
            raise self.refusal(node, f"has roots of order above {MAX_ROOT}, roots of roots included")
        height = abs(exponent or 0) * max(1, degree)
        if height > (limit := self.limit(left, base)):
            raise self.refusal(node, f"is too high a power; at most {limit}, also of powers")
        factor = height if right.is_Integer else 2  # roots are costlier to extract
        if left.is_Rational and (left.p * left.q).bit_length() * factor > MAX_BITS:
            raise self.refusal(node, f"needs an exact number of more than {MAX_BITS} bits")
        return self.build(node, operator.pow, left, right)

    def visit_Call(self, node: ast.Call) -> Expr:
        """Call a known function with as many arguments as it takes."""
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self.refusal(node, "is not a call of a known function; write * for a product")
        name, count = node.func.id, len(node.args)
        if name not in self.functions:
            hint = f"; write {name}*(...) for a product" if name in {**self.names, **_CONSTANTS} else ""
            raise self.refusal(node, _unknown("function", name, list(self.functions)) + hint)
        function = self.functions[name]
        ours = function is ELEMENTARY_FUNCTIONS.get(name)
        fewest, most = _ARGUMENTS.get(function, (1, 1)) if ours else (1, MAX_ARGUMENTS)
        if not fewest <= count <= most:
            raise self.refusal(node, f"has {count} arguments; {name} takes {fewest} to {most}")
        return self.build(node, function, *(self.visit(arg) for arg in node.args))


def _exact(text: str) -> Rational:
    return Rational(*Fraction(text).as_integer_ratio())


def _is_list(value: Any) -> bool:
    return not isinstance(value, Expr | int | float)


def _range(name: str, values: Sequence[Any]) -> str:
    return f"write {name}[0] to {name}[{len(values) - 1}]" if len(values) else f"{name} has no entries"


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """Say that a name is unknown, give the nearest known one and list what is known."""
    near = "".join(f"did you mean {u!r}? " for u in difflib.get_close_matches(name, known, 1, 0.5))
    return f"is an unknown {kind}; {near}known: {', '.join(dict.fromkeys(known))}"


def _check_tokens(text: str, max_digits: int) -> None:
    """Refuse characters, words, literals, brackets and signs that no formula needs, before parsing."""
    column, signs, previous, brackets = 0, 0, "mark", ""
    while column < len(text):
        token = _TOKEN.match(text, column)
        if token is None:
            hint = _HINTS.get(text[column], "letters, digits, blanks and + - * / ( ) [ ] , . _ are accepted")
            shown = re.sub("[^ -~]", "?", text)  # a message carries no control characters to a terminal
            raise FormulaError(f"{text[column]!a} is not accepted; {hint}", text=shown, column=column)
        kind, found, reason = token.lastgroup or "", token.group(), ""
        if kind != "mark" and previous != "mark":
            reason = "stands directly behind another word or number; write * for a product"
        elif len((token["mantissa"] or "").replace(".", "")) > max_digits:
            reason = f"has too many digits; at most {max_digits} are accepted"
        elif abs(float(token["exponent"] or 0)) > MAX_EXPONENT:
            reason = f"has too large an exponent; -{MAX_EXPONENT} to {MAX_EXPONENT} is accepted"
        elif keyword.iskeyword(found):
            reason = "is a reserved word and cannot be a name"
        elif found in "([":
            brackets += found
            reason = f"makes more than {MAX_BRACKETS} open brackets" * (len(brackets) > MAX_BRACKETS)
        elif found in ")]":
            reason = "" if brackets[-1:] + found in ("()", "[]") else "has no opening bracket of its kind"
            brackets = brackets[:-1]
        signs = signs + (found != " ") if found in "+- " else 0
        reason = reason or ("is the third sign in a row; two are accepted" if signs > 2 else "")
        if reason:
            raise FormulaError(f"{found[:60]!r} {reason}", text=text, column=column)
        column, previous = token.end(), kind
    if brackets:
        raise FormulaError(f"{brackets[-1]!r} is not closed", text=text, column=len(text))


def _read(text: str, names: Mapping[str, Any], functions: Any, length: int, digits: int) -> Expr:
    """Check the text, parse it and build the expression."""
    if not isinstance(text, str) or not (bare := text.strip()):
        raise FormulaError(f"a formula is given as text, got {type(text).__name__} {text!r:.40}")
    if len(text) > length:
        raise FormulaError(f"the formula has {len(text)} characters; at most {length} are accepted")
    _check_tokens(bare, digits)
    try:
        return _Reader(bare, names, functions).visit(ast.parse(bare, mode="eval").body)
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0)
        raise FormulaError(f"the formula cannot be read: {error.msg}", text=bare, column=column) from error
    except (RecursionError, MemoryError) as error:
        raise FormulaError("the formula is nested too deeply", text=bare, column=0) from error


def parse_formula(
    text: str,
    names: Mapping[str, Expr | Sequence[Expr]],
    *,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    max_length: int = MAX_LENGTH,
) -> Expr:
    """Read a formula, knowing nothing but the names and functions given.

    Literals are exact (``0.1`` is 1/10).  Constants are real and between 1e-300 and 1e300 in size.  The
    degree is at most 64; of sums, 2 once a symbol declared positive or negative occurs.  ``pi``, ``e``, ``E``
    are known unless ``names`` redefines them.  Real values are *not* promised: ``sqrt(z)`` is accepted.

    Parameters
    ----------
    text : str
        Numbers, names, ``+ - * / **``, brackets, calls, and ``x[0]`` for an entry of a list.
    names : Mapping
        What each name stands for: an expression, or a sequence of expressions.
    functions : Mapping, optional
        What may be called in place of `ELEMENTARY_FUNCTIONS`; ``{**ELEMENTARY_FUNCTIONS, ...}`` adds to them.
    max_length : int
        The number of characters accepted; reading time grows faster than the length.

    Returns
    -------
    sympy.Expr
        The expression, after SymPy's automatic evaluation only.

    Raises
    ------
    FormulaError
        Whatever is wrong with the text; the message shows the place and what is accepted there.

    Examples
    --------
    >>> from sympy import symbols
    >>> z, *x = symbols("z x0:2", real=True)
    >>> parse_formula("0.1*z + tanh(z)**2 - He2(x[1])", {"z": z, "x": x})
    -x1**2 + z/10 + tanh(z)**2 + 1
    """
    return _read(text, names, functions, max_length, MAX_DIGITS)


def parse_number(value: str | int | float, *, max_digits: int = MAX_DIGITS) -> Expr:
    """Read a number exactly, from a number or from a constant formula.

    A float becomes the fraction its shortest decimal form shows, not the binary fraction it stores.

    Parameters
    ----------
    value : str, int or float
        A finite number, or text such as ``"1/3"``, ``"1e-3"`` or ``"sqrt(2)/2"``.
    max_digits : int
        The digits accepted in an integer and in each literal of a text.

    Returns
    -------
    sympy.Expr
        An exact constant; a ``Rational`` unless the text holds a root, a function value, ``pi`` or ``e``.

    Raises
    ------
    FormulaError
        If the value is not finite, not a number (a bool is none), or text that is not a constant formula.

    Examples
    --------
    >>> parse_number(0.1), parse_number("-2/5"), parse_number("sqrt(2)/2")
    (1/10, -2/5, sqrt(2)/2)
    """
    if isinstance(value, str):
        return _read(value, {}, None, MAX_LENGTH, max_digits)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormulaError(f"a number is an int, a float or text, got {type(value).__name__}")
    if isinstance(value, int) and abs(value) >= 10**max_digits:
        raise FormulaError(f"the integer has too many digits; at most {max_digits} are accepted")
    if not math.isfinite(value):
        raise FormulaError(f"a number must be finite, got {value!r}")
    return _exact(float.__repr__(value) if isinstance(value, float) else str(value))
