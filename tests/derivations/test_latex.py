"""Printed equations mean what was derived: every one is read back and compared in value, broken into lines or not.

The reader below is a recursive descent over the printed text and shares nothing with the printer; the other side
evaluates the expression tree by brute force, sums written out.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import shutil
import subprocess

import pytest
from sympy import Integer, Pow, Symbol, exp, log, sqrt, symbols, tanh

from derivations.activations import REGISTRY as ACTIVATIONS
from derivations.equations import WHATS, derive, explicit
from derivations.functions import relu, sech2, sigmoid, softplus, step
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Dim, Entry, Index, ISum, Tensor, isum, open_sum
from derivations.latex import latex, latex_pair
from derivations.latex_lines import TEXT_WIDTH, Row, break_right, display, lines
from derivations.latex_names import free_indices
from derivations.latex_width import tokens, width
from derivations.losses import REGISTRY as LOSSES
from derivations.problem import Problem

SIZES = {"n": 4, "m": 3, "d": 2, "o": 2, "m1": 3, "m2": 2, "m_1": 3, "m_2": 2, "h": 2}
CLOSE = 1e-9  # relative; both sides are sums of at most a few hundred terms in double precision


# ---- values: plain numbers, and matrices as lists of rows


def shape(value):
    return (len(value), len(value[0])) if isinstance(value, list) else ()


def add(u, v, sign=1):
    assert shape(u) == shape(v), f"a sum of shapes {shape(u)} and {shape(v)}"
    if not shape(u):
        return u + sign * v
    return [[a + sign * b for a, b in zip(p, q, strict=True)] for p, q in zip(u, v, strict=True)]


def times(u, v):
    if not shape(u) or not shape(v):
        number, other = (u, v) if not shape(u) else (v, u)
        return [[number * a for a in row] for row in other] if shape(other) else number * other
    assert shape(u)[1] == shape(v)[0], f"a product of shapes {shape(u)} and {shape(v)}"
    out = [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*v, strict=True)] for row in u
    ]
    return out[0][0] if shape(out) == (1, 1) else out


def transpose(u):
    return [list(row) for row in zip(*u, strict=True)]


def close(u, v):
    if shape(u) != shape(v):
        return False
    pairs = [(u, v)] if not shape(u) else zip(itertools.chain(*u), itertools.chain(*v), strict=True)
    return all(math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE) for a, b in pairs)


# ---- concrete functions for both sides


def sigma(order, z):  # sin, whose derivatives are never zero together
    return math.sin(z + order * math.pi / 2)


def ell(order, f, y):  # exp(f y)
    return y**order * math.exp(f * y)


def logistic(u):
    return 1 / (1 + math.exp(-u))


NAMED = {
    "tanh": math.tanh,
    "sin": math.sin,
    "cos": math.cos,
    "exp": math.exp,
    "log": math.log,
    "arctan": math.atan,
    "erf": math.erf,
    "sigmoid": logistic,
    "arsinh": math.asinh,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "sgn": lambda u: (u > 0) - (u < 0),
    "sech": lambda u: 1 / math.cosh(u),
    "max": max,
    "min": min,
}


class Reader:
    """Evaluates the LaTeX this package prints."""

    TOKEN = re.compile(
        r"\\(?:[Bb]igg?[lr])|\\operatorname\{\w+\}|\\mathbf\{1\}|\\[A-Za-z]+|\\[{}]|\d+(?:\.\d+)?|[A-Za-z]|\S"
    )

    def __init__(self, text, arrays, indices=None, scalars=None):
        self.items = [t for t in self.TOKEN.findall(text) if not re.fullmatch(r"\\[Bb]igg?[lr]", t)]
        self.at = 0
        self.arrays, self.indices, self.scalars = arrays, dict(indices or {}), dict(scalars or {})

    @property
    def next(self):
        return self.items[self.at] if self.at < len(self.items) else ""

    def take(self, expected=None):
        token = self.next
        assert token, "the text ended too early"
        assert expected is None or token == expected, (
            f"expected {expected}, got {token} at {self.items[: self.at + 1]}"
        )
        self.at += 1
        return token

    def all(self):
        value = self.sum()
        assert not self.next, f"left over: {self.items[self.at :]}"
        return value

    def sum(self):
        sign = -1 if self.next == "-" else 1
        if self.next in ("-", "+"):
            self.take()
        value = times(sign, self.product())
        while self.next in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value = add(value, self.product(), sign)
        return value

    def product(self):
        value = self.factor()
        while self.next and self.next not in (
            "+",
            "-",
            ")",
            "}",
            r"\}",
            ",",
            "=",
            ">",
            r"\ge",
            r"\rVert",
            r"\rvert",
        ):
            if self.next == r"\cdot":
                self.take()
            if self.next == "/":
                self.take()
                value = times(value, 1 / self.factor())
            else:
                value = times(value, self.factor())
        return value

    def factor(self):
        if self.next == r"\sum":
            return self.total()
        if self.next == "{":  # {} only keeps a sign binary
            self.take("{")
            self.take("}")
            return 1
        token = self.take()
        if token in (r"\sigma", r"\ell") or token[1:] in NAMED or token.startswith(r"\operatorname"):
            return self.function(token)
        value = self.base(token)
        return self.powers(value)

    def base(self, token):
        if token[0].isdigit():
            return float(token)
        if token == "(" and self.items[self.at : self.at + 3] == ["J", r"\theta", ")"]:
            self.at += 3
            return self.symbol(r"(J\theta)")
        if token == "(":
            value = self.sum()
            self.take(")")
            if self.next == "_":
                self.take("_"), self.take("{"), self.take("+"), self.take("}")
                value = max(value, 0.0)
            return value
        if token == r"\frac":
            top, bottom = self.group(), self.group()
            return times(top, 1 / bottom)
        if token == r"\sqrt":
            return math.sqrt(self.group())
        if token == r"\lVert":
            value = self.sum()
            self.take(r"\rVert")
            return math.sqrt(times(transpose(value), value))
        if token == r"\lvert":
            value = self.sum()
            self.take(r"\rvert")
            return abs(value)
        if token == r"\mathbf{1}":
            return self.indicator()
        if token == "e" and self.next == "^":
            return math.e
        if token == r"\pi":
            return math.pi
        return self.symbol(token)

    def group(self):
        self.take("{")
        value = self.sum()
        self.take("}")
        return value

    def indicator(self):
        self.take(r"\{")
        start = self.at
        end = self.items.index(r"\}", start)
        if "=" in self.items[start:end]:
            left, right = "".join(self.items[start:end]).split("=")
            self.at = end + 1
            return float(self.index(left) == self.index(right))
        value, relation = self.sum(), self.take()
        assert self.take() == "0"
        self.take(r"\}")
        return float(value > 0 or (relation == r"\ge" and value == 0))

    def total(self):
        self.take(r"\sum"), self.take("_"), self.take("{")
        name = self.take()
        while self.next == "'":
            name += self.take()
        assert name not in self.indices, f"the index {name} is used twice"
        self.take("="), self.take("1"), self.take("}"), self.take("^"), self.take("{")
        size = ""
        while self.next != "}":
            size += self.take()
        self.take("}")
        start, value = self.at, None
        for position in range(int(size) if size.isdigit() else SIZES[size]):
            self.at, self.indices[name] = start, position
            term = self.product()
            value = term if value is None else add(value, term)
        del self.indices[name]
        return value

    def subscript(self):
        if self.next == "{":
            self.take("{")
            text = ""
            while self.next != "}":
                text += self.take()
            self.take("}")
        else:
            text = self.take()
        return text

    def index(self, text):
        return int(text) - 1 if text.isdigit() else self.indices[text]

    def symbol(self, token):
        name = token
        if self.next == "^" and self.items[self.at + 1 : self.at + 3] == ["{", "("]:
            self.take("^"), self.take("{"), self.take("(")
            name += f"^({self.take()})"
            self.take(")"), self.take("}")
        slots = []
        if self.next == "_":
            self.take("_")
            text = self.subscript()
            if f"{name}_{text}" in SIZES:
                return float(SIZES[f"{name}_{text}"])
            slots = [self.index(u) for u in re.findall(r"[A-Za-z]'*|\d", text)]
        if name == "I" and name not in self.arrays:
            return [[float(p == q) for q in range(SIZES["d"])] for p in range(SIZES["d"])]
        if name == r"\delta" and name not in self.arrays:
            assert len(slots) == 2
            return float(slots[0] == slots[1])
        if name in self.scalars and not slots:
            return self.scalars[name]
        if name in SIZES and name not in self.arrays and not slots:
            return float(SIZES[name])
        value = self.arrays[name]
        for slot in slots:
            value = value[slot]
        if isinstance(value, list):
            assert not isinstance(value[0], list), f"{name} lacks more than one index"
            return [[u] for u in value]
        return value

    def function(self, token):
        name = re.sub(r"\\operatorname\{(\w+)\}|\\(\w+)", lambda m: m.group(1) or m.group(2), token)
        order, power = 0, 1
        while self.next == "'":
            order += len(self.take())
        if self.next == "^":
            self.take("^"), self.take("{")
            if self.next == "(":
                self.take("(")
                order = int(self.take())
                self.take(")")
            else:
                power = self.sum()
            self.take("}")
        self.take("(")
        values = [self.sum()]
        while self.next == ",":
            self.take(",")
            values.append(self.sum())
        self.take(")")
        known = {"sigma": sigma, "ell": ell}
        value = known[name](order, *values) if name in known else NAMED[name](*values)
        return self.powers(value**power)

    def powers(self, value):
        if self.next == "^":
            self.take("^"), self.take("{")
            if self.next == r"\top":
                self.take()
                value = transpose(value)
            else:
                value = value ** self.sum()
            self.take("}")
        assert self.next not in ("^", "'"), "a power on a power"
        return value


# ---- the expression tree by brute force


def evaluate(expr, arrays, indices, scalars):
    def value(e, at):
        if isinstance(e, Entry):
            found = arrays[name_of(e.tensor)]
            for u in e.indices:
                found = found[at[u] if isinstance(u, Index) else int(u) - 1]
            return found
        if isinstance(e, ISum):
            body, index = open_sum(e)
            size = int(index.dim) if index.dim.is_Integer else SIZES[str(index.dim)]
            return sum(value(body, {**at, index: position}) for position in range(size))
        if isinstance(e, Delta):
            return float(at[e.args[0]] == at[e.args[1]])
        if isinstance(e, GenericFunction):
            known = {"sigma": sigma, "ell": ell}[e.name]
            return known(e.orders[0], *[value(u, at) for u in e.arguments])
        if e.is_Add:
            return sum(value(u, at) for u in e.args)
        if e.is_Mul:
            return math.prod(value(u, at) for u in e.args)
        if isinstance(e, Pow):
            return value(e.base, at) ** value(e.exp, at)
        if isinstance(e, Symbol):
            return float(SIZES[e.name]) if e.name in SIZES else scalars[e.name]
        if e.is_number:
            return float(e)
        rules = {relu: lambda u: max(u, 0.0), softplus: lambda u: math.log1p(math.exp(u))}
        rules |= {sech2: lambda u: 1 / math.cosh(u) ** 2, step: lambda u, c: float(u > 0) if u else c}
        rules |= {exp: math.exp, log: math.log, tanh: math.tanh, sigmoid: logistic}
        if type(e) in rules:
            return rules[type(e)](*[value(u, at) for u in e.args])
        return {**NAMED, "Abs": abs, "sign": NAMED["sgn"]}[type(e).__name__](*[value(u, at) for u in e.args])

    return value(expr, dict(indices))


def name_of(tensor):
    return re.sub(r"\^\{(\(\d\))\}", r"^\1", tensor.tex)


def table(sizes, draw):
    return [table(sizes[1:], draw) for _ in range(sizes[0])] if sizes else draw()


def size_of(dim):
    return int(dim) if dim.is_Integer else SIZES[str(dim)]


def fill(equations, arrays, scalars):
    """Add the values of defined tensors, in the order of their definitions."""
    for equation in equations:
        if isinstance(equation.lhs, Entry) and name_of(equation.lhs.tensor) not in arrays:
            slots = equation.lhs.indices
            tensor = equation.lhs.tensor
            out = table([size_of(dim) for dim in tensor.dims], lambda: 0.0)
            for at in itertools.product(*[range(size_of(dim)) for dim in tensor.dims]):
                value = evaluate(equation.rhs, arrays, dict(zip(slots, at, strict=True)), scalars)
                if not at:
                    out = value
                else:
                    row = out
                    for position in at[:-1]:
                        row = row[position]
                    row[at[-1]] = value
            arrays[name_of(tensor)] = out


def leaves(equations, arrays):
    draw = random.Random(7)
    tensors = {t for e in equations for side in (e.lhs, e.rhs) for t in side.atoms(Tensor)}
    defined = {e.lhs.tensor for e in equations if isinstance(e.lhs, Entry)}
    for tensor in sorted(tensors - defined, key=lambda t: t.name):
        arrays[name_of(tensor)] = table([size_of(s) for s in tensor.dims], lambda: draw.uniform(-1.2, 1.2))


def unbroken(rows):
    text = " ".join(rows)
    return re.sub(r"&|\\qquad|\\quad|\\notag", " ", text)


def assert_reads_back(derivation, available):
    scalars = {
        "eta": 0.7,
        "lambda": 0.3,
        "z": 0.4,
        "f": 0.6,
        "y": -0.8,
        "s": 0.9,
        r"\eta": 0.7,
        r"\lambda": 0.3,
    }
    everything = [*derivation.where, *derivation.system]
    arrays = {}
    leaves(everything, arrays)
    definitions = [e for e in derivation.where if isinstance(e.lhs, Entry)]
    fill(definitions, arrays, scalars)
    fill([e for e in derivation.system if isinstance(e.lhs, Entry)], arrays, scalars)
    count = 0
    for equation, row in zip(everything, derivation.rows(everything), strict=True):
        text = unbroken(lines(row.left, row.tex, available=available))
        left, _, right = text.partition("=")
        assert left.strip() == row.left
        free = dict.fromkeys((*free_indices(equation.lhs), *free_indices(equation.rhs)))
        hidden = [u for u in free if str(u.dim) in derivation.hide]
        draw = random.Random(3)
        for _ in range(2):
            at = {u: draw.randrange(size_of(u.dim)) for u in free}
            shown = {u.name: value for u, value in at.items()}
            try:
                found = Reader(right, arrays, shown, scalars).all()
            except (AssertionError, KeyError, TypeError, IndexError) as error:
                raise AssertionError(f"{right}\n{error!r}") from error
            expected = (
                evaluate(equation.rhs, arrays, at, scalars)
                if not shape(found)
                else matrix(equation.rhs, arrays, at, scalars, hidden)
            )
            assert close(found, expected), f"{equation.lhs}: printed {found}, derived {expected}\n{right}"
            count += 1
    return count


def matrix(expr, arrays, at, scalars, hidden):
    span = [range(size_of(u.dim)) for u in hidden]
    if len(hidden) == 1:
        return [[evaluate(expr, arrays, {**at, hidden[0]: p}, scalars)] for p in span[0]]
    return [
        [evaluate(expr, arrays, {**at, hidden[0]: p, hidden[1]: q}, scalars) for q in span[1]]
        for p in span[0]
    ]


ETA, LAMBDA = Symbol("eta", positive=True), Symbol("lambda", positive=True)
PROBLEMS = {
    "generic": Problem.two_layer(input_bias=True, output_bias=True),
    "no bias, sum": Problem.two_layer(reduction="sum"),
    "tanh, square": Problem.two_layer("tanh", "square", input_bias=True),
    "sigmoid, logistic, decay": Problem.two_layer(
        "sigmoid", "logistic", input_bias=True, output_bias=True, weight_decay=LAMBDA, factor=2
    ),
    "vector": Problem.two_layer(input_bias=True, output_bias=True, vector_output=True, scale="1/sqrt(m)"),
    "vector, tanh, square": Problem.two_layer(
        "tanh", "square", output_bias=True, vector_output=True, weight_decay="1/10", reduction="sum"
    ),
    "rates, frozen": Problem.two_layer(
        "gelu", "exponential", input_bias=True, rate=(("w", ETA),), freeze=("b",)
    ),
    "relu, hinge": Problem.two_layer("relu", "hinge", input_bias=True, scale="1/m"),
    "deep": Problem.deep(3),
    "deep, vector": Problem.deep(3, "tanh", "square", vector_output=True, weight_decay="1/5"),
}


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_derived_equation_reads_back_with_its_value(name, what):
    derivation = derive(PROBLEMS[name], what)
    count = assert_reads_back(derivation, 240.0)
    assert count >= 2 * len(derivation.system) > 0


@pytest.mark.parametrize("what", ["gradient-flow", "hessian"])
def test_unbroken_equations_read_back_as_well(what):
    assert_reads_back(derive(PROBLEMS["sigmoid, logistic, decay"], what), 1e6)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("tanh, square", {"m": 2, "d": 1}),
        ("tanh, square", {"m": 1, "d": 2, "n": 5}),
        ("sigmoid, logistic, decay", {"m": 3, "d": 4}),
        ("vector, tanh, square", {"m": 2, "d": 2, "o": 3}),
        ("deep, vector", {"m1": 2, "m2": 2, "d": 1, "o": 2}),
    ],
)
def test_written_out_equations_read_back(name, sizes, monkeypatch):
    for key, value in sizes.items():
        monkeypatch.setitem(SIZES, key, value)
    assert_reads_back(explicit(PROBLEMS[name], sizes), 260.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_activations_and_derivatives_read_back(name, order):
    expr = ACTIVATIONS[name].derivative(order)
    if "DiracDelta" in str(expr):
        pytest.skip("a distribution; the derivations print its value almost everywhere")
    for z in (-0.7, 0.3):
        found = Reader(latex(expr), {}, scalars={"z": z}).all()
        assert close(found, evaluate(expr, {}, {}, {"z": z}))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_losses_and_derivatives_read_back(name, order):
    expr = LOSSES[name].derivative(order)
    scalars = {"f": 0.4, "y": -1.3}
    assert close(Reader(latex(expr), {}, scalars=scalars).all(), evaluate(expr, {}, {}, scalars))


def test_the_reader_notices_a_dropped_parenthesis_and_a_wrong_sign():
    """The oracle itself: what it must tell apart, it does."""
    arrays = {"a": [1.0, 2.0, 4.0], "b": [3.0, 5.0, 7.0]}
    right = Reader(r"\sum_{k=1}^{m} a_k (1 - b_k)", arrays).all()
    assert right == sum(a * (1 - b) for a, b in zip(arrays["a"], arrays["b"], strict=True))
    for wrong in (r"\sum_{k=1}^{m} a_k 1 - 2", r"-\sum_{k=1}^{m} a_k (1 - b_k)", r"\sum_{k=1}^{m} a_k"):
        assert not close(Reader(wrong, arrays).all(), right)
    with pytest.raises(AssertionError, match="used twice"):
        Reader(r"\sum_{k=1}^{m} a_k \sum_{k=1}^{m} b_k", arrays).all()


# ---- the printer

n, m, d, h = Dim("n"), Dim("m"), Dim("d"), Dim("h")
i, j, k, q, l, u = Index("i", n), Index("j", n), Index("k", m), Index("q", m), Index("l", d), Index("l'", d)
a, b, r = Tensor("a", (m,)), Tensor("b", (m,)), Tensor("r", (n,))
w, x = Tensor("w", (m, d)), Tensor("x", (n, d))
delta, deep = Tensor("delta", (n, m), r"\delta"), Tensor("W2", (m, m), "W^{(2)}")


def sig(order, argument):
    return GenericFunction("sigma", (order,), argument)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (isum(w[k, l] * x[i, l], l), r"w_k^{\top} x_i"),
        (isum(w[k, l] ** 2, l), r"\lVert w_k \rVert^{2}"),
        (
            isum(w[k, l] ** 2, l) ** 2,
            r"(\lVert w_k \rVert^{2})^{2}",
        ),
        (isum(r[i] * x[i, l], i), r"\sum_{i=1}^{n} r_i x_i"),
        (isum((w[k, l] + w[q, l]) * x[i, l], l), r"(w_k + w_q)^{\top} x_i"),
        (isum((x[i, l] - x[j, l]) ** 2, l), r"\lVert x_i - x_j \rVert^{2}"),
        (x[i, l] * x[i, u], r"x_i x_i^{\top}"),
        (isum(r[i] * x[i, l], i) * x[j, u], r"\Bigl(\sum_{i=1}^{n} r_i x_i\Bigr) x_j^{\top}"),
        (x[i, l] * w[k, l], r"w_{kl} x_{il}"),  # a product by coordinates has no vector form
        (isum(x[i, l] * w[k, l] * x[j, l], l), r"\sum_{l=1}^{d} w_{kl} x_{il} x_{jl}"),
        (x[i, l] + 1, r"x_{il} + 1"),
        (sig(0, x[i, l]), r"\sigma(x_{il})"),
        (sig(3, b[k]), r"\sigma'''(b_k)"),
        (sig(4, b[k]), r"\sigma^{(4)}(b_k)"),
        (sig(1, b[k]) ** 2, r"\sigma'(b_k)^{2}"),
        (isum(a[k], k) * isum(r[i], i), r"\Bigl(\sum_{i=1}^{n} r_i\Bigr) \sum_{k=1}^{m} a_k"),
        (isum(a[k], k) ** 2, r"\Bigl(\sum_{k=1}^{m} a_k\Bigr)^{2}"),
        (a[k] * (1 - b[k]), r"a_k (1 - b_k)"),
        (deep[k, q] ** 2, r"\bigl(W^{(2)}_{kq}\bigr)^{2}"),
        (Delta(k, q) * a[k], r"\delta_{kq} a_k"),
        (
            Delta(k, q) * delta[i, k],
            r"\mathbf{1}\{k = q\} \delta_{ik}",
        ),  # delta means two things: one is renamed
        (isum(r[j] * isum(x[j, l] * x[i, l], l), j), r"\sum_{j=1}^{n} r_j x_i^{\top} x_j"),
        (
            isum(a[k] * isum(a[q] * b[q] * deep[k, q], q), k),
            r"\sum_{k=1}^{m} a_k \sum_{q=1}^{m} W^{(2)}_{kq} a_q b_q",
        ),
        (-a[k] / n, r"-\frac{1}{n} a_k"),
        (Integer(2) * a[k] / (3 * n), r"\frac{2}{3 n} a_k"),
        (1 / (1 + a[k] ** 2), r"\frac{1}{a_k^{2} + 1}"),
    ],
)
def test_printed_form(expr, expected):
    assert latex(expr) == expected


def test_bound_names_avoid_every_free_name():
    free = [Index(name, m) for name in "kqrst"]
    expr = isum(a[k], k) * sum(b[v] for v in free)
    assert r"\sum_{k'=1}^{m} a_{k'}" in latex(expr)


def test_alpha_equivalent_sums_print_alike():
    assert latex(isum(a[k] * b[k], k)) == latex(isum(b[q] * a[q], q))


def test_both_sides_are_vectors_or_neither():
    dot = Tensor("g", (m, d))
    assert latex_pair(dot[k, l], isum(r[i] * x[i, l], i)) == ("g_k", r"\sum_{i=1}^{n} r_i x_i")
    assert latex_pair(dot[k, l], x[i, l] * w[k, l]) == ("g_{kl}", r"w_{kl} x_{il}")
    assert latex_pair(dot[k, l], Integer(0)) == ("g_k", "0")


def test_hiding_can_be_switched_off():
    assert latex(isum(w[k, l] * x[i, l], l), hide=()) == r"\sum_{l=1}^{d} w_{kl} x_{il}"


def test_bound_functions_are_explicit():
    z = Tensor("z", (n, m))
    shown = latex(sig(1, z[i, k]), functions={"sigma": ACTIVATIONS["tanh"].apply})
    assert shown == r"1 - \tanh^{2}(z_{ik})"


def test_names_can_be_chosen():
    assert latex(isum(a[k], k), names={"m": ("p",)}) == r"\sum_{p=1}^{m} a_p"


@pytest.mark.parametrize("text", ["left", "right"])
def test_no_delimiter_that_must_match_on_its_line(text):
    z = symbols("z", real=True)
    everything = [
        relu(z),
        step(z),
        sech2(z) ** 2,
        softplus(z),
        log(1 + z),
        sqrt(1 + z**2),
        abs(z),
        exp(-(z**2)),
    ]
    assert not any(rf"\{text}" in latex(e) for e in everything)


def test_long_exponents_and_denominators_stay_breakable():
    total = sum(a[v] * b[v] for v in (Index(name, m) for name in "kqrstvw"))
    assert latex(exp(total)).startswith(r"\exp(")
    assert latex(1 / (1 + total) ** 2).endswith(r"^{-2}")


# ---- lines


def test_a_line_breaks_at_outer_signs_before_anything_else():
    rows = lines("R", "a (b + c) + d (e + f) - g (h + i)", available=110.0)
    assert [row.split()[1][:3] for row in rows[1:]] == ["{}+", "{}-"]


def test_breaking_keeps_every_token():
    tex = latex(derive(PROBLEMS["deep"], "hessian").system[0].rhs, hide=())
    for room in (120.0, 200.0, 400.0):
        pieces = break_right(tex, room, 15.0)
        assert len(pieces) > 1
        joined = re.sub(r"&|\\qquad|\\quad|\{\}(\\cdot )?", "", " ".join(pieces))
        assert [t.text for t in tokens(joined)] == [t.text for t in tokens(tex)]


def test_a_row_vector_stays_with_its_column():
    tex = " + ".join([r"w_k^{\top} x_i"] * 12)
    assert not any(piece.rstrip().endswith(r"\top}") for piece in break_right(tex, 60.0, 15.0))


def test_display_numbers_each_equation_once():
    long = " + ".join(f"a_{{{j}}} b_{{{j}}}" for j in range(30))
    text = display([("R", long), Row("S", "a", "k = 1"), ("T", "b")])
    rows = text.splitlines()[1:-1]
    assert sum(r"\notag" not in row for row in rows) == 3
    assert rows[-1] == "T &= b."
    assert rows[-2].startswith(r"S &= a, \qquad k = 1,")


def test_an_empty_display_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        display([])


def test_unbalanced_braces_are_refused():
    with pytest.raises(ValueError, match="unbalanced"):
        tokens(r"\frac{1}{n")


# ---- what TeX makes of it

PAGE = r"""\documentclass[11pt,a4paper]{article}
\usepackage[margin=25mm]{geometry}\usepackage{amsmath,amssymb,lmodern}\allowdisplaybreaks
\newlength{\measured}\begin{document}
%s
\end{document}
"""


def compiled(folder, body):
    (folder / "page.tex").write_text(PAGE % body, encoding="utf-8")
    command = [shutil.which("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log_text = (folder / "page.log").read_text(encoding="latin-1")
    assert done.returncode == 0, "\n".join(line for line in log_text.splitlines() if line.startswith("!"))
    return log_text


def everything_printed():
    for problem in PROBLEMS.values():
        for what in WHATS:
            yield derive(problem, what)
    yield explicit(PROBLEMS["sigmoid, logistic, decay"], {"m": 3, "d": 4})
    yield explicit(PROBLEMS["vector, tanh, square"], {"m": 3, "d": 3, "o": 3})
    yield explicit(PROBLEMS["deep, vector"], {"m1": 2, "m2": 2, "d": 2, "o": 2})


@pytest.mark.tex
def test_everything_compiles_and_fits_the_line(tmp_path):
    found = list(everything_printed())
    body = "\n\n".join(derivation.latex() + "\n\n" + " ".join(derivation.notes) for derivation in found)
    text = compiled(tmp_path, body)
    overfull = [float(v) for v in re.findall(r"Overfull \\hbox \(([\d.]+)pt", text)]
    assert not overfull


@pytest.mark.tex
def test_estimated_widths_are_those_of_tex(tmp_path):
    printed = {row.tex for derivation in everything_printed() for row in derivation.rows(derivation.system)}
    short = sorted(tex for tex in printed if width(tex) < TEXT_WIDTH)
    body = "\n".join(
        rf"\settowidth{{\measured}}{{$\displaystyle {tex}$}}\typeout{{WIDTH {position} \the\measured}}"
        for position, tex in enumerate(short)
    )
    measured = dict(re.findall(r"WIDTH (\d+) ([\d.]+)pt", compiled(tmp_path, body)))
    assert len(measured) == len(short) > 100
    for position, tex in enumerate(short):
        true = float(measured[str(position)])
        # Never below by more than 2 pt or 2 %; above by at most 5 % (the smaller sizes are rounded up).
        assert true - max(2.0, 0.02 * true) <= width(tex) <= 1.05 * true + 3.0, tex
