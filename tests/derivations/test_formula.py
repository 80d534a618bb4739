"""The reader of formulas: hostile texts are refused quickly, good ones mean what they say."""

from __future__ import annotations

import builtins
import math
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sympy
from sympy import Rational, Symbol, sqrt, symbols

from derivations.errors import FormulaError
from derivations.formula import ELEMENTARY_FUNCTIONS, parse_formula, parse_number

z, y = symbols("z y", real=True)
x = symbols("x0:3", real=True)
p = Symbol("p", positive=True)
NAMES = {"z": z, "y": y, "x": x}
CPU_SECONDS = 2.0  # the slowest below takes about 0.2 s; the rest is room for a busy machine

CODE = [
    "__import__('os').system('touch CANARY')",
    "z.subs.__globals__['__builtins__']['__import__']('os').system('touch CANARY')",
    "().__class__.__bases__[0].__subclasses__()",
    "open('CANARY', 'w')",
    "open(z)",
    "eval(z)",
    "exec(z)",
    "__import__(z)",
    "__builtins__",
    "__builtins__[0]",
    "getattr(z, z)",
    "globals()",
    "print(z)",
    "sympify(z)",
    "lambdify(z, z)",
    "z.real",
    "z.__class__",
    "(z).__class__",
    "exp.__globals__",
    "exp.eval(z)",
    "1 .real",
    "1..real",
    "(lambda: z)()",
    "lambda: z",
    "[z for z in x]",
    "{z: z}",
    "{z}",
    "(z := 1)",
    "f'{z}'",
    "'z'",
    '"z"',
    "b'z'",
    "z if z else z",
    "z and z",
    "not z",
    "z < 1",
    "z == z",
    "z in x",
    "z is z",
    "~z",
    "z % 2",
    "z // 2",
    "z @ z",
    "z ^ 2",
    "z | 1",
    "z << 2",
    "z; z",
    "z = 1",
    "z\nz",
    "import os",
    "yield z",
    "await z",
    "Max(*[z, z])",
    "max(*x)",
    "exp(**x)",
    "log(z, evaluate=False)",
    "Max(z, y, key=abs)",
    "x[z]",
    "x[0:1]",
    "x[-1]",
    "x[3]",
    "x[1.0]",
    "x[0][0]",
    "x[x[0]]",
    "x",
    "z[0]",
    "exp[0]",
    "(x)[0]()",
    "[z][0]",
    "(z, y)",
    "z, y",
    "()",
    "[]",
    "...",
    "None",
    "True",
    "\\x7a",
    "#",
    "z # comment",
    "$z",
    "`z`",
    "z?",
    "z!",
]
FORM = [
    "",
    "   ",
    "z\x00",
    "\x00",
    "z\x1b[31m",
    "\ufeffz",
    "ᶻ",
    "z\u200b",
    "\u202ez",
    "е**z",  # the first letter is Cyrillic
    "ехр(z)",
    "ｅｘｐ(z)",
    "𝐳",
    "z − 1",
    "z × 2",
    "z²",
    "√z",
    "π",
    "١",
    "½",
    "(" * 100 + "z" + ")" * 100,
    "(" * 10_000,
    "(" * 40 + "z" + ")" * 40,
    "x[" * 30 + "0" + "]" * 30,
    "Max(z," * 100 + "z" + ")" * 100,
    "Max(z," * 40 + "z" + ")" * 40,
    "-" * 200 + "z",
    "- " * 100 + "z",
    "+-+z",
    "z" * 1_000_000,
    "1+" * 100_000 + "1",
    " " * 1_000_000,
    "9" * 200,
    "0." + "1" * 60,
    "1e999999999",
    "1e-999999999",
    "1e" + "9" * 250,
    "1E+0101",
    "1j",
    "1_000",
    "0x10",
    "0b1",
    "007",
    "1if z else 2",
    "1or 2",
    "1.2.3",
    "1e",
    "nan",
    "inf",
    "oo",
    "zoo",
    "I",
    "z y",
    "2z",
    "2(z)",
    "z(2)",
    "z(z)(z)",
    "exp",
    "exp()",
    "exp(z, z)",
    "Max()",
    "Max(z)",
    "Max(" + ",".join(["z"] * 60) + ")",
    "step(z, 1, 2)",
    "He13(z)",
    "He0",
    "(z",
    "z)",
    "(z]",
    "x[0)",
    ")z(",
    "z +",
    "* z",
    "z ** ",
    "z *** 2",
    "1)+(1",
    "a",
    "Symbol(z)",
    "Float(1)",
    "Integral(z, z)",
    "factorial(9)",
    "gamma(z)",
]
TOWERS = [
    "9**9**9",
    "2**2**2**2**2**2",
    "9**9**9**9**9",
    "(9**9)**(9**9)",
    "2**-9**9**9",
    "exp(exp(exp(exp(9))))",
    "sign(exp(exp(exp(20)))-1)",
    "sign(exp(exp(exp(-20)))-exp(exp(exp(-21)))+exp(1000))",
    "exp(-exp(exp(9)))",
    "sinh(cosh(sinh(9)))",
    "(1+1e-40)**9999999",
    "(1.0000000000000000001)**64",
    "((1.1**64)**64)**64",
    "((sqrt(2)+1)**64)**64",
    "10**99999999",
    "0.5**99999999",
    "z**65",
    "z**-65",
    "z**1e40",
    "z**(10**20)",
    "((z**9)**9)",
    "(((z+1)**8)**8)**8",
    "z**64*z",
    "z**z",
    "z**z**z**z",
    "z**y",
    "(z+1)**(y+1)",
    "z**(1/1000000)",
    "9**(1/1e40)",
    "He11(9**0.3333333333333333333)",
    "(z*9**(1213/19)/(7.25+10**20))**(1/19)",
    "He12(He12(z))",
    "He12(tanh(He12(tanh(He12(tanh(He12(tanh(z))))))))",
    "exp(z*exp(600)/z)**exp(600)",
    "exp(exp(z*exp(9)/z))",
    "tanh(exp(700))-1",
    "softplus(-1e30)",
    "sign(softplus(1e30)-5)",
    "sigmoid(-1e30)",
    "Max((sqrt(2)+1)**2-2*sqrt(2)-3, 0)",
    "1/0",
    "0/0",
    "0**-1",
    "1/(1-1)",
    "z/(2-2)",
    "z/(z-z)",
    "1/sin(pi)",
    "1/(1/3-1/3)",
    "1/((sqrt(2)+1)**2-2*sqrt(2)-3)",
    "sqrt(-1)",
    "(-1)**0.5",
    "(-8)**(1/3)",
    "log(0)",
    "log(-2)",
    "log(1-1)",
    "0*log(0)",
    "tan(pi/2)",
    "sqrt(-exp(z))",
    "z/0*0",
]
HOSTILE = [*CODE, *FORM, *TOWERS]


def short(text: str) -> str:
    """Name a test without control characters and without a page of text."""
    return ascii(text[:40])


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make every door to code, files and processes raise something that is no FormulaError."""

    def door(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"the text reached {args}")

    monkeypatch.chdir(tmp_path)
    for module, name in [(os, "system"), (os, "popen"), (subprocess, "Popen"), (builtins, "eval")]:
        monkeypatch.setattr(module, name, door)
    return tmp_path / "CANARY"


def test_the_corpus_is_large_and_has_no_double() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 200


@pytest.mark.parametrize("text", HOSTILE, ids=short)
def test_a_hostile_text_is_refused_quickly_and_runs_nothing(text: str, nothing_runs: Path) -> None:
    start = time.process_time()
    with pytest.raises(FormulaError) as caught:
        parse_formula(text, NAMES)
    assert time.process_time() - start < CPU_SECONDS
    assert not nothing_runs.exists()
    assert len(str(caught.value)) < 1500
    assert all(character.isprintable() or character == "\n" for character in str(caught.value))


@pytest.mark.parametrize("text", HOSTILE, ids=short)
def test_a_hostile_text_is_no_number(text: str, nothing_runs: Path) -> None:
    with pytest.raises(FormulaError):
        parse_number(text)
    assert not nothing_runs.exists()


@pytest.mark.parametrize(
    "text",
    [
        "relu((p-1)**64 - 3*p**5 + p - 7)",
        "relu(p**64 - 3*p**5 + p - 1e38/7)",
        "1000/He8(softplus(1) + sqrt(2) + p)",
        "softplus(1 - 10**20 + e**60 + 64/p + He4(p))",
    ],
)
def test_a_symbol_of_declared_sign_sends_sympy_to_no_root_finding(text: str) -> None:
    start = time.process_time()
    with pytest.raises(FormulaError, match="at most 2"):
        parse_formula(text, {"p": p})
    assert time.process_time() - start < CPU_SECONDS


def test_monomials_of_symbols_of_declared_sign_are_no_danger() -> None:
    q = Symbol("q", positive=True, integer=True)
    found = parse_formula("p**-7*sqrt(2/q)/(p*q**3)", {"p": p, "q": q})
    assert found == sqrt(2) * p**-8 * q ** Rational(-7, 2)
    assert parse_formula("p**q + (1+10**20)*q**2", {"p": p, "q": q}) == p**q + (1 + 10**20) * q**2


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["z"] * 150),
        "*".join(["(1+z)"] * 50),
        "Max(" + ",".join(f"{i}*z+x[0]" for i in range(12)) + ")",
        "abs(sqrt(z)+(z+y+x[0]+x[1])**64)",
        "log((z+y+x[0]+x[1]+x[2])**32/(z-y)**32)",
        "cosh((z+y+x[0])**20*pi/7)+tan(pi/(3*5*17*257))",
        "cos(pi/2**63)+sin(10**30*pi/(10**30+1))",
        "sqrt(1e40+1)*(3e39+7)**(17/19)*(10**20)**0.95",
    ],
    ids=short,
)
def test_a_heavy_but_legal_text_is_read_quickly(text: str) -> None:
    start = time.process_time()
    parse_formula(text, NAMES)
    assert time.process_time() - start < CPU_SECONDS


def random_formula(rng: random.Random, depth: int) -> str:
    """Draw a well-formed text, most of it senseless."""
    if depth == 0 or rng.random() < 0.1:
        return rng.choice(["z", "y", "x[1]", "pi", "e", "0", "2", "0.1", "1/3", "1e9", "1e40", "sqrt(2)"])
    first, second = random_formula(rng, depth - 1), random_formula(rng, depth - 1)
    name = rng.choice(list(ELEMENTARY_FUNCTIONS))
    call = f"{name}({first}, {second})" if name.lower() in {"max", "min"} else f"{name}({first})"
    power = f"({first})**{rng.choice(['2', '12', '-1', '0.5', '(17/19)', '64'])}"
    sums = [f"{first}+{second}", f"{first}-({second})", f"({first})*({second})"]
    return rng.choice([*sums, *sums, power, call, call])


def test_random_texts_are_read_or_refused_quickly() -> None:
    rng = random.Random(0)
    texts = [text for text in (random_formula(rng, 4) for _ in range(400)) if len(text) <= 300]
    read = 0
    for text in texts:
        start = time.process_time()
        try:
            parse_formula(text, NAMES)
            read += 1
        except FormulaError:
            pass
        assert time.process_time() - start < CPU_SECONDS, text
    assert len(texts) / 4 < read < len(texts)


def sigma(t: float) -> float:
    return 1 / (1 + math.exp(-t))


# text -> expected expression (None: only the values are compared), the same in plain Python
GOOD: dict[str, tuple[object, Callable[[float, float], float]]] = {
    "z": (z, lambda z, y: z),
    " z + 1 ": (z + 1, lambda z, y: z + 1),
    "-z**2": (-(z**2), lambda z, y: -(z * z)),
    "2**-1*z": (z / 2, lambda z, y: z / 2),
    "- -z": (z, lambda z, y: z),
    "z - y - 1": (z - y - 1, lambda z, y: (z - y) - 1),
    "z/y/2": (z / y / 2, lambda z, y: z / (2 * y)),
    "2**3**2": (sympy.Integer(512), lambda z, y: 512.0),
    "0.1*z": (z / 10, lambda z, y: z / 10),
    "z**2/2 + 1e-3*y": (z**2 / 2 + y / 1000, lambda z, y: z * z / 2 + y / 1000),
    ".5*z + 2.": (z / 2 + 2, lambda z, y: z / 2 + 2),
    "(z - y)**2/2": ((z - y) ** 2 / 2, lambda z, y: (z - y) ** 2 / 2),
    "tanh(z)": (sympy.tanh(z), lambda z, y: math.tanh(z)),
    "z*(1 + erf(z/sqrt(2)))/2": (None, lambda z, y: z * (1 + math.erf(z / math.sqrt(2))) / 2),
    "log(1 + exp(z))": (sympy.log(1 + sympy.exp(z)), lambda z, y: math.log1p(math.exp(z))),
    "log(1 + exp(-y*z))": (None, lambda z, y: math.log1p(math.exp(-y * z))),
    "e**(-z**2)": (sympy.exp(-(z**2)), lambda z, y: math.exp(-z * z)),
    "E**z": (sympy.exp(z), lambda z, y: math.exp(z)),
    "2**z": (2**z, lambda z, y: 2**z),
    "sin(pi*z) + cos(z)": (None, lambda z, y: math.sin(math.pi * z) + math.cos(z)),
    "sinh(z)/cosh(z) + asinh(z)": (None, lambda z, y: math.tanh(z) + math.asinh(z)),
    "atan(z) + tan(z/4)": (None, lambda z, y: math.atan(z) + math.tan(z / 4)),
    "max(z, 0)": (sympy.Max(z, 0), lambda z, y: max(z, 0.0)),
    "Max(z, 0.01*z) + Min(y, z, 1)": (None, lambda z, y: max(z, z / 100) + min(y, z, 1.0)),
    "abs(z) + Abs(y) + sign(z)": (None, lambda z, y: abs(z) + abs(y) + math.copysign(1, z)),
    "relu(z) - 0.2*relu(-z)": (None, lambda z, y: z if z > 0 else 0.2 * z),
    "step(z)*z + step(y, 1/2)": (None, lambda z, y: max(z, 0.0) + (y > 0)),
    "z*sigmoid(z)": (None, lambda z, y: z * sigma(z)),
    "z*tanh(softplus(z))": (None, lambda z, y: z * math.tanh(math.log1p(math.exp(z)))),
    "He0(z)": (sympy.Integer(1), lambda z, y: 1.0),
    "He1(z)": (z, lambda z, y: z),
    "He3(z)/sqrt(6)": ((z**3 - 3 * z) / sqrt(6), lambda z, y: (z**3 - 3 * z) / math.sqrt(6)),
    "He4(z + y)": (None, lambda z, y: (z + y) ** 4 - 6 * (z + y) ** 2 + 3),
    "x[0]*x[2] + x[1]": (x[0] * x[2] + x[1], lambda z, y: 0.3 * 1.7 - 0.9),
    "(z**8)**8": (z**64, lambda z, y: z**64),
    "exp(100)*exp(-100 + z)": (None, lambda z, y: math.exp(z)),
    "sqrt(1 + sqrt(1 + z**2))": (None, lambda z, y: math.sqrt(1 + math.hypot(1, z))),
}
POINTS = [(0.7, -0.4), (-1.3, 0.6), (0.25, 1.9)]


@pytest.mark.parametrize("text", GOOD, ids=short)
def test_a_formula_means_what_python_computes(text: str) -> None:
    expected, by_python = GOOD[text]
    found = parse_formula(text, NAMES)
    if expected is not None:
        assert found == expected
    assert not found.atoms(sympy.Float)
    for a, b in POINTS:
        at = {z: a, y: b, **dict(zip(x, (0.3, -0.9, 1.7)))}
        value = float(sympy.N(found.subs(at)))
        assert math.isclose(value, by_python(a, b), rel_tol=1e-12, abs_tol=1e-13), (text, a, b)


@pytest.mark.parametrize("order", range(13))
def test_hermite_polynomials_are_the_probabilists(order: int) -> None:
    # He_n(z) = 2^(-n/2) H_n(z/sqrt 2), with SymPy's physicists' H_n
    expected = sympy.expand(sympy.hermite(order, z / sqrt(2)) / sqrt(2) ** order)
    assert sympy.expand(parse_formula(f"He{order}(z)", NAMES)) == expected


def test_given_functions_replace_the_table() -> None:
    twice: dict[str, Callable[..., object]] = {"twice": lambda u: 2 * u, "pair": lambda u, v: u + v}
    assert parse_formula("twice(z) + pair(z, y)", NAMES, functions=twice) == 3 * z + y
    with pytest.raises(FormulaError, match="unknown function"):
        parse_formula("exp(z)", NAMES, functions=twice)
    both = {**ELEMENTARY_FUNCTIONS, **twice}
    assert parse_formula("twice(exp(z))", NAMES, functions=both) == 2 * sympy.exp(z)


def test_a_failing_function_is_a_formula_error() -> None:
    def broken(u: object) -> object:
        raise KeyError(u)

    with pytest.raises(FormulaError, match="KeyError"):
        parse_formula("1 + broken(z)", NAMES, functions={"broken": broken})
    with pytest.raises(FormulaError, match="cannot be evaluated"):
        parse_formula("text(z)", NAMES, functions={"text": lambda u: "__import__('os')"})


def test_given_names_go_before_constants() -> None:
    e = Symbol("e", real=True)
    assert parse_formula("e + pi", {"e": e}) == e + sympy.pi


def test_the_length_limit_can_be_set() -> None:
    text = "+".join(["z"] * 20)
    assert parse_formula(text, NAMES, max_length=39) == 20 * z
    with pytest.raises(FormulaError, match="39 characters; at most 38"):
        parse_formula(text, NAMES, max_length=38)
    with pytest.raises(FormulaError):  # too deep for the recursion of the reader
        parse_formula("+".join(["z"] * 20_000), NAMES, max_length=10**6)


@pytest.mark.parametrize("text", ["3", None, 3, ["z"], b"z", sympy.Symbol("z")])
def test_only_text_is_a_formula(text: object) -> None:
    if isinstance(text, str):
        assert parse_formula(text, {}) == 3
    else:
        with pytest.raises(FormulaError, match="given as text"):
            parse_formula(text, NAMES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("z + yy", 4, "unknown name; did you mean 'y'"),
        ("z*tanhh(z)", 2, "unknown function; did you mean 'tanh'"),
        ("1 + z^2", 5, "write **"),
        ("z + x[3]", 6, "write x[0] to x[2]"),
        ("z + x", 4, "write x[0] to x[2]"),
        ("z + y[0]", 4, "lists: x"),
        ("z + 1/(2-2)", 5, "divides by zero"),
        ("z - log(0)", 4, "finite real number"),
        ("1 + z**65", 5, "at most 64"),
        ("(z + 1))", 7, "no opening bracket"),
        ("2*(z + 1", 8, "not closed"),
        ("z + 2y", 5, "write * for a product"),
        ("z + 2 y", 6, "cannot be read"),
        ("z + exp", 4, "write exp(...)"),
        ("1 + y(2)", 4, "write y*(...)"),
        ("z + Max(z)", 4, "takes 2 to 12"),
        ("  z + q", 4, "known: z, y, x, pi, e, E"),
        ("z.real", 1, "attributes are refused"),
        ("z + lambda", 4, "reserved word"),
    ],
)
def test_a_message_points_at_the_place_and_says_what_is_accepted(text: str, column: int, words: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text, NAMES)
    first, shown, caret = str(caught.value).split("\n")
    assert words in first
    assert caught.value.column == column
    assert shown == "    " + text.strip()
    assert caret == "    " + " " * column + "^"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, Rational(1, 10)),
        (-2.5e-7, Rational(-25, 10**8)),
        (1e308, sympy.Integer(10) ** 308),
        (5e-324, Rational(5, 10**324)),
        (0.30000000000000004, Rational(30000000000000004, 10**17)),
        (-0.0, sympy.Integer(0)),
        (3, sympy.Integer(3)),
        (-(10**39), sympy.Integer(-(10**39))),
        ("1/3", Rational(1, 3)),
        ("-2/5", Rational(-2, 5)),
        ("0.25", Rational(1, 4)),
        ("1e-3", Rational(1, 1000)),
        (" +7 ", sympy.Integer(7)),
        ("0.1234567890123456789", Rational(1234567890123456789, 10**19)),
        ("sqrt(2)/2", sqrt(2) / 2),
        ("2*pi", 2 * sympy.pi),
        ("exp(-1/2)", sympy.exp(Rational(-1, 2))),
    ],
)
def test_a_number_is_exact(value: str | int | float, expected: sympy.Expr) -> None:
    assert parse_number(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("inf"), -float("inf"), True, False, None, 1j, [1], b"1", 10**40, 10**5000),
        *("", "nan", "inf", "z", "x[0]", "True", "1 2", "1,5"),
    ],
    ids=lambda value: "huge" if type(value) is int else f"{type(value).__name__} {value!r}",
)
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(FormulaError):
        parse_number(value)  # type: ignore[arg-type]


def test_the_digits_of_a_number_can_be_limited() -> None:
    assert parse_number("0.125", max_digits=4) == Rational(1, 8)
    for value in ("0.1234", 10**4):
        with pytest.raises(FormulaError, match="at most 4"):
            parse_number(value, max_digits=4)
