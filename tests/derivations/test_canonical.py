"""The canonical form keeps the value, proves rearranged identities, and never proves a false one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Integer, Mul, Rational, cos, exp

from derivations.canonical import canonical, residual, vanishes
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Dim, Index, Tensor, isum

_SPEC = importlib.util.spec_from_file_location("brute_force", Path(__file__).with_name("brute_force.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
brute_force = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(brute_force)

n, m = Dim("n"), Dim("m")
SIZES = {"n": 2, "m": 2}
i, j, k, q = Index("i", n), Index("j", n), Index("k", m), Index("q", m)
u, a, g = Tensor("u", (n,)), Tensor("a", (m,)), Tensor("g", (n, m))
NUMBER = brute_force.rationals(2)
ATOMS = [u[i], u[j], a[k], a[q], g[i, k], g[j, q], Delta(i, j), Delta(k, q), Integer(2), Rational(-1, 3), m]
ATOMS.append(GenericFunction("sigma", (1,), g[i, k]))


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3):
    if depth == 0:
        return draw(st.sampled_from(ATOMS))
    kind = draw(st.sampled_from(["leaf", "add", "mul", "sum", "sum", "square"]))
    if kind == "leaf":
        return draw(st.sampled_from(ATOMS))
    left = draw(expressions(depth=depth - 1))
    if kind == "sum":
        return isum(left, draw(st.sampled_from([i, j, k, q])))
    if kind == "square":
        return left**2
    right = draw(expressions(depth=depth - 1))
    return left + right if kind == "add" else left * right


def values(expr):
    return [brute_force.value(expr, at, SIZES, NUMBER) for at in brute_force.assignments([i, j, k, q], SIZES)]


@given(expressions())
def test_the_value_is_kept(expr):
    assert values(canonical(expr)) == values(expr)


@given(expressions(), expressions())
def test_a_proof_of_equality_is_never_wrong(left, right):
    if vanishes(left - right):
        assert values(left) == values(right)


@given(expressions(depth=2), expressions(depth=2), expressions(depth=1))
def test_the_laws_of_arithmetic_are_proved(left, right, factor):
    assert residual(factor * (left + right) - right * factor - left * factor) == 0
    assert residual((left - right) ** 2 - left**2 + 2 * left * right - right**2) == 0
    assert residual(isum(left + right, k) - isum(right, k) - isum(left, k)) == 0
    assert residual(isum(isum(left * right, k), i) - isum(isum(right * left, i), k)) == 0


@given(expressions(depth=2))
def test_what_is_not_zero_is_not_proved(expr):
    if any(value != 0 for value in values(expr)):
        assert vanishes(expr) is None


@pytest.mark.parametrize(
    "expr",
    [
        isum(u[i], i) - isum(u[j] ** 2, j),
        isum(g[i, k], i) - isum(g[i, q], i),
        m * a[k] - isum(a[k], k),
        Delta(k, q) * a[k] - a[q],
        isum(a[k], k) ** 2 - isum(a[k] ** 2, k),
        exp(u[i]) - exp(u[j]),
    ],
)
def test_false_identities_stay_open(expr):
    assert vanishes(expr) is None
    assert residual(expr) != 0


@pytest.mark.parametrize(
    "expr",
    [
        Delta(k, q) * a[k] - Delta(k, q) * a[q],
        isum(Delta(k, q) * a[k] * isum(g[i, k], i), k) - a[q] * isum(g[j, q], j),
        isum(a[k] * a[q] * (a[k] - a[q]), k, q),
        isum(isum(g[i, k] * g[j, k], k) * (u[i] - u[j]), i, j),
        cos(isum(a[k] * (u[i] + 1), k)) - cos(u[i] * isum(a[q], q) + isum(a[q], q)),
        isum(g[i, k], k) * isum(g[j, q], q) - isum(g[i, k] * g[j, q], k, q),
    ],
)
def test_true_identities_are_proved(expr):
    assert vanishes(expr) is True


def test_terms_with_very_many_bound_indices_are_named_in_time():
    powers = [isum(a[k] ** j, k) for j in range(1, 10)]
    same = isum(a[q], q) * Mul(*[isum(a[q] ** j, q) for j in range(9, 1, -1)])
    assert vanishes(Mul(*powers) - same) is True
    assert vanishes(Mul(*powers) - same * a[q] / a[k]) is None
    alike = isum(a[k], k) ** 6 * isum(a[q] * 2, q) ** 4
    assert vanishes(alike - 16 * isum(a[q], q) ** 6 * isum(a[k], k) ** 4) is True
