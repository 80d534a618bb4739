"""The grammar of answers: what engines write is read exactly, anything else is refused and nothing is run."""

from __future__ import annotations

import random

import pytest
from sympy import QQ, Poly, ring, symbols

from workbench.engines.answers import read_answer, read_lists, read_polynomial, written
from workbench.engines.process import EngineError

R, v1, v2 = ring("v1,v2", QQ)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_is_read_back(seed):
    draw = random.Random(seed)
    terms = {(draw.randint(0, 9), draw.randint(0, 9)): QQ(draw.randint(-(10**40), 10**40)) for _ in range(6)}
    polynomial = R.from_dict({m: c for m, c in terms.items() if c})
    back = read_polynomial(written(polynomial, ["v1", "v2"]), R)
    x, y = symbols("x y")
    assert (
        Poly(back.as_expr(x, y), x, y).primitive()[1] == Poly(polynomial.as_expr(x, y), x, y).primitive()[1]
    )


def test_forms_that_singular_writes():
    assert read_polynomial("-v1^2*v2+3/4*v1-v2^3+1/2", R) == -(v1**2) * v2 + QQ(3, 4) * v1 - v2**3 + QQ(1, 2)
    assert read_polynomial("0", R) == 0
    assert read_polynomial("v1", R) == v1
    assert read_polynomial("v1+v1-2*v1", R) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v3",
        "v1**2",
        "v1^",
        "v1^99999",
        "(v1)",
        "v1 v2",
        "2v1",
        "1/0",
        "1.5",
        "__import__('os').system('true')",
        "v1;v2",
        "v1+",
        "++v1",
        "v1^-1",
        "e",
        "v1\nv2",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(EngineError):
        read_polynomial(text, R)


GOOD = "DIMENSION 0\nDEGREE 3\nCOMPONENT 0 2\nMINIMAL t^2-2\nCOORDINATE t\nCOORDINATE 1/2*t\nEND\n"


def test_an_answer_is_read():
    found = read_answer(GOOD, R, "test")
    assert (found.dimension, found.degree) == (0, 3)
    assert str(found.components[0].minimal) == "t**2 - 2"
    curve = read_answer("DIMENSION 1\nDEGREE 2\nCOMPONENT 1 2\nGENERATOR v1^2-2\nEND", R, "test")
    assert curve.components[0].generators == (v1**2 - 2,)
    assert read_answer("DIMENSION -1\nDEGREE 0\nEND", R, "test").components == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DIMENSION 0\nDEGREE 1\n",
        GOOD.replace("END\n", ""),
        GOOD.replace("COORDINATE t\n", ""),
        GOOD.replace("MINIMAL t^2-2", "MINIMAL t^3-2"),
        GOOD.replace("MINIMAL t^2-2", "MINIMAL v1^2-2"),
        GOOD.replace("DEGREE 3", "DEGREE 1"),
        GOOD.replace("DIMENSION 0", "DIMENSION 1"),
        GOOD.replace("DIMENSION 0", "DIMENSION zero"),
        GOOD.replace("COMPONENT 0 2", "COMPONENT 1 2"),
        GOOD.replace("END", "SHELL rm\nEND"),
        GOOD + GOOD,
        "COMPONENT 0 2\n" + GOOD,
    ],
)
def test_a_broken_answer_is_refused(text):
    with pytest.raises(EngineError):
        read_answer(text, R, "test")


def test_lists_are_read():
    assert read_lists("[0, [1,\n[[-3 / 2^2, 7], ['x', 'A']]]]:\n") == [0, [1, [[QQ(-3, 4), 7], ["x", "A"]]]]
    assert read_lists("[-1]:") == [-1]
    assert read_lists("[[], []]:") == [[], []]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "[1,]:",
        "[,1]:",
        "[1 2]:",
        "[1]]:",
        "[[1]:",
        "[1][2]:",
        "1:",
        "['a b']:",
        "[os]:",
        "[1/0]:",
        "[1.5]:",
        "[" * 40 + "]" * 40 + ":",
        "[1 / 2^999999999]:",
        "[[1][2]]:",
    ],
)
def test_other_lists_are_refused(text):
    with pytest.raises(EngineError):
        read_lists(text)
