r"""The list of activations: a formula and a symbol each, and nothing that follows from them.

Everything else (derivatives, kinks, parity, homogeneity, Hermite coefficients, kernels, ...) is derived from the
formula.  A new activation is one line here, and its row in the tests.

>>> z = Symbol("z", real=True)
>>> ENTRIES["silu"].formula(z), from_family(z, "leaky_relu", ["1/10"])
(z*sigmoid(z), ('leaky_relu(1/10)', -relu(-z)/10 + relu(z)))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sympy import Abs, Add, Expr, Symbol, cos, erf, exp, sin, sqrt, tanh

from derivations.errors import FormulaError
from derivations.functions import relu, sigmoid, softplus

__all__ = ["ALIASES", "ENTRIES", "FAMILIES", "MEMBERS", "Entry", "Family", "from_family", "split_call"]

_LARGEST_POWER = 64
_MOST_COEFFICIENTS = 13


@dataclass(frozen=True)
class Entry:
    """One activation: ``formula`` of the argument, and the LaTeX of its symbol in equations."""

    formula: Callable[[Expr], Expr]
    tex: str = r"\sigma"


@dataclass(frozen=True)
class Family:
    """Activations with exact parameters: ``formula`` of the argument and the parameters.

    Parameters
    ----------
    usage : str
        How it is written, ``leaky_relu(g)``.
    formula : callable
        ``formula(z, *parameters)``.
    accepts : callable
        Says of the parameters whether they are meant.
    required : str
        The same in words, for the error.
    """

    usage: str
    formula: Callable[..., Expr]
    accepts: Callable[[Sequence[Expr]], bool]
    required: str


def _is_power(parameters: Sequence[Expr]) -> bool:
    return (
        len(parameters) == 1 and bool(parameters[0].is_Integer) and 1 <= int(parameters[0]) <= _LARGEST_POWER
    )


#: Activations without parameters.
ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        "linear": Entry(lambda z: z, r"\operatorname{id}"),
        "relu": Entry(relu, r"\operatorname{relu}"),
        "abs": Entry(Abs, r"\operatorname{abs}"),
        "quadratic": Entry(lambda z: z**2),
        "cubic": Entry(lambda z: z**3),
        "tanh": Entry(tanh, r"\tanh"),
        "sigmoid": Entry(sigmoid, r"\operatorname{sigmoid}"),
        "softplus": Entry(softplus, r"\operatorname{softplus}"),
        "erf": Entry(erf, r"\operatorname{erf}"),
        "gelu": Entry(lambda z: z * (1 + erf(z / sqrt(2))) / 2, r"\operatorname{gelu}"),
        "silu": Entry(lambda z: z * sigmoid(z), r"\operatorname{silu}"),
        "sin": Entry(sin, r"\sin"),
        "cos": Entry(cos, r"\cos"),
        "gaussian": Entry(lambda z: exp(-(z**2) / 2)),
        "exp": Entry(exp, r"\exp"),
        "softsign": Entry(lambda z: z / (1 + Abs(z)), r"\operatorname{softsign}"),
        "rational": Entry(lambda z: z / (1 + z**2)),
    }
)

#: Other names of the same functions.
ALIASES: Mapping[str, str] = MappingProxyType({"swish": "silu", "erf_gelu": "gelu"})

#: Activations with parameters, written as a call: ``leaky_relu(1/10)``.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        # Two positive parts, not g z + (1 - g) (z)_+: the stated slope at the kink then is a weight of both steps.
        "leaky_relu": Family(
            "leaky_relu(g)",
            lambda z, g: relu(z) - g * relu(-z),
            lambda u: len(u) == 1 and bool(u[0].is_real) and u[0] != -1,
            "one number g, the slope for z < 0, other than -1 (that is abs)",
        ),
        "relu_power": Family(
            "relu_power(p)",
            lambda z, p: relu(z) ** p,
            _is_power,
            f"one integer p from 1 to {_LARGEST_POWER}",
        ),
        "monomial": Family(
            "monomial(p)", lambda z, p: z**p, _is_power, f"one integer p from 1 to {_LARGEST_POWER}"
        ),
        "polynomial": Family(
            "polynomial(c0, c1, ...)",
            lambda z, *c: Add(*[value * z**power for power, value in enumerate(c)]),
            lambda c: 2 <= len(c) <= _MOST_COEFFICIENTS and any(value != 0 for value in c[1:]),
            f"2 to {_MOST_COEFFICIENTS} coefficients from the constant term upwards, one beyond the constant not zero",
        ),
    }
)

#: One member of each family, for tests and lists that go through every kind of activation.
MEMBERS = ("leaky_relu(1/10)", "relu_power(2)", "monomial(4)", "polynomial(1, 1/2, 0, -1/3)")


def split_call(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Return (name, arguments) where the whole text is one call of a family, else None.

    Raises
    ------
    FormulaError
        If the name of a family stands there without its arguments.

    Examples
    --------
    >>> split_call("polynomial(0, max(1, 2), 1/2)")
    ('polynomial', ('0', 'max(1, 2)', '1/2'))
    >>> split_call("tanh(z)") is None, split_call("monomial(2)*(z)") is None
    (True, True)
    """
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    if name not in FAMILIES:
        return None
    if not bracket:
        family = FAMILIES[name]
        raise FormulaError(f"{name} has parameters: write {family.usage} with {family.required}")
    arguments, depth, start = [], 1, 0
    for position, character in enumerate(rest):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and position < len(rest) - 1:
            return None  # more stands behind the call: a formula, and not one that is known
        if depth == 0 or (depth == 1 and character == ","):
            arguments.append(rest[start:position].strip())
            start = position + 1
    return (name, tuple(arguments)) if depth == 0 else None


def from_family(z: Symbol, name: str, arguments: Sequence[str]) -> tuple[str, Expr]:
    """Return the normalised name and the formula of one member of a family.

    Raises
    ------
    FormulaError
        If an argument is not an exact number, or the numbers are not what the family takes.

    Examples
    --------
    >>> from_family(Symbol("z", real=True), "leaky_relu", ["0.1"])
    ('leaky_relu(1/10)', -relu(-z)/10 + relu(z))
    """
    from derivations.formula import parse_number

    family = FAMILIES[name]
    found: list[Expr] = []
    for argument in arguments:
        try:
            found.append(parse_number(argument))
        except FormulaError as error:
            raise FormulaError(
                f"{family.usage} takes {family.required}; {argument!r} is not a number: {error.reason}"
            ) from error
    if not family.accepts(found):
        raise FormulaError(f"{family.usage} takes {family.required}; found {', '.join(map(str, found))}")
    shown = ", ".join(str(value) for value in found)
    return f"{name}({shown})", family.formula(z, *found)
