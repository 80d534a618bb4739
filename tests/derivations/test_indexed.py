"""The normal form of sums against sums written out; capture, clashes and wrong dimensions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Integer, Max, Rational, Symbol, simplify

from derivations.errors import DimensionError
from derivations.indexed import (
    Delta,
    Dim,
    Entry,
    Index,
    ISum,
    Tensor,
    entries,
    fresh,
    isum,
    open_sum,
    rename,
    replace_index,
    replace_leaves,
)

_SPEC = importlib.util.spec_from_file_location("brute_force", Path(__file__).with_name("brute_force.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
brute_force = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(brute_force)

n, m = Dim("n"), Dim("m")
SIZES = {"n": 2, "m": 3}
N = [Index(name, n) for name in "ij"]
M = [Index(name, m) for name in "kq"]
INDICES = [*N, *M]
u, a = Tensor("u", (n,)), Tensor("a", (m,))
g, h = Tensor("g", (n, m)), Tensor("h", (m, m))
NUMBER = brute_force.rationals(1)


def leaf(draw: st.DrawFn):
    i, k, q = draw(st.sampled_from(N)), draw(st.sampled_from(M)), draw(st.sampled_from(M))
    j = draw(st.sampled_from(N))
    return draw(
        st.sampled_from(
            [
                u[i],
                a[k],
                g[i, k],
                h[k, q],
                Delta(i, j),
                Delta(k, q),
                Rational(2, 3),
                Integer(-1),
                n,
                a[1],
                h[k, 2],
            ]
        )
    )


@st.composite
def terms(draw: st.DrawFn, depth: int = 3):
    """A list of operations, so that the same expression can be built with ISum and evaluated naively."""
    if depth == 0:
        return ("leaf", leaf(draw))
    kind = draw(st.sampled_from(["leaf", "add", "mul", "mul", "sum", "sum", "square"]))
    if kind == "leaf":
        return (kind, leaf(draw))
    if kind == "sum":
        return (kind, draw(st.sampled_from(INDICES)), draw(terms(depth=depth - 1)))
    if kind == "square":
        return (kind, draw(terms(depth=depth - 1)))
    return (kind, draw(terms(depth=depth - 1)), draw(terms(depth=depth - 1)))


def built(tree):
    """The expression, through the normal form."""
    match tree:
        case ("leaf", expr):
            return expr
        case ("add", left, right):
            return built(left) + built(right)
        case ("mul", left, right):
            return built(left) * built(right)
        case ("square", inner):
            return built(inner) ** 2
        case ("sum", index, inner):
            return isum(built(inner), index)
    raise AssertionError(tree)


def naive(tree, at):
    """Its value, without the normal form."""
    match tree:
        case ("leaf", expr):
            return brute_force.value(expr, at, SIZES, NUMBER)
        case ("add", left, right):
            return naive(left, at) + naive(right, at)
        case ("mul", left, right):
            return naive(left, at) * naive(right, at)
        case ("square", inner):
            return naive(inner, at) ** 2
        case ("sum", index, inner):
            return sum(naive(inner, {**at, index: q}) for q in range(1, SIZES[str(index.dim)] + 1))
    raise AssertionError(tree)


def everywhere(first, second):
    """Assert that two functions of an assignment agree for all values of the free indices."""
    for at in brute_force.assignments(INDICES, SIZES):
        assert first(at) == second(at), at


@given(terms())
def test_the_normal_form_keeps_the_value(tree):
    expr = built(tree)
    everywhere(lambda at: brute_force.value(expr, at, SIZES, NUMBER), lambda at: naive(tree, at))


@given(terms(), st.sampled_from(INDICES), st.data())
def test_replacing_an_index_is_evaluating_at_the_other(tree, old, data):
    new = data.draw(st.sampled_from(N if old.dim == n else M))
    expr = built(tree)
    replaced = replace_index(expr, old, new)
    everywhere(
        lambda at: brute_force.value(replaced, at, SIZES, NUMBER),
        lambda at: naive(tree, {**at, old: at[new]}),
    )


@given(terms(), st.sampled_from(INDICES))
def test_replacing_an_index_by_a_constant(tree, old):
    replaced = replace_index(built(tree), old, Integer(2))
    everywhere(
        lambda at: brute_force.value(replaced, at, SIZES, NUMBER), lambda at: naive(tree, {**at, old: 2})
    )


@given(terms())
def test_swapping_names_twice_gives_the_same_object(tree):
    expr = built(tree)
    swap = {M[0]: M[1], M[1]: M[0]}
    swapped = rename(expr, swap)
    assert rename(swapped, swap) == expr
    everywhere(
        lambda at: brute_force.value(swapped, at, SIZES, NUMBER),
        lambda at: naive(tree, {**at, M[0]: at[M[1]], M[1]: at[M[0]]}),
    )


@given(terms())
def test_opening_and_closing_a_sum_changes_nothing(tree):
    total = isum(built(tree), M[0])
    for part in total.atoms(ISum) if total.args else []:
        if part in total.args or part == total:
            body, index = open_sum(part)
            assert isum(body, index) == part


@given(terms())
def test_bound_names_do_not_matter(tree):
    """Alpha-equivalence: the index summed over may be called anything."""
    expr, other = built(tree), Index("anything", m)
    assert isum(expr, M[0]) == isum(rename(expr, {M[0]: other}), other)


@given(terms())
def test_replacing_a_leaf_by_its_definition(tree):
    """a[k] := sum_q h[k, q] with names that clash with those around the entry."""
    q = M[1]
    expr = replace_leaves(
        built(tree), {a: lambda slot: isum(h[slot, q] * h[q, slot], q) if slot != q else _at_q()}
    )

    def number(name, places):
        if name != "a":
            return NUMBER(name, places)
        return sum(NUMBER("h", (places[0], p)) * NUMBER("h", (p, places[0])) for p in range(1, 4))

    def wanted(at):
        return brute_force.value(built(tree), at, SIZES, number)

    everywhere(lambda at: brute_force.value(expr, at, SIZES, NUMBER), wanted)


def _at_q():
    other = fresh(M[1])
    return isum(h[M[1], other] * h[other, M[1]], other)


def test_examples_of_the_normal_form():
    i, j, k, q = INDICES
    assert isum(a[k] * Delta(k, q) * g[i, k], k) == a[q] * g[i, q]
    assert isum(a[q], k) == m * a[q]
    assert isum(Delta(k, q), k) == 1
    assert isum(Delta(k, q), k, q) == m
    assert isum(Delta(k, k), k) == m
    assert isum(a[k] + u[i], k) == isum(a[k], k) + m * u[i]
    assert isum((Delta(k, q) + a[k]) ** 2, k) == 1 + 2 * a[q] + isum(a[k] ** 2, k)
    assert isum(u[i] * u[j], i, j) == isum(u[i], i) ** 2
    assert isum(Delta(k, 2) * a[k], k) == a[2]


def test_a_bound_index_is_not_captured():
    k, q = M
    inner = isum(h[k, q], q)  # free k
    moved = replace_index(inner, k, q)
    number = NUMBER
    for place in (1, 2, 3):
        expected = sum(number("h", (place, p)) for p in (1, 2, 3))
        assert brute_force.value(moved, {q: place}, SIZES, number) == expected


@pytest.mark.parametrize(
    "build",
    [
        lambda: g[M[0], N[0]],
        lambda: u[M[0]],
        lambda: u[N[0], N[1]],
        lambda: Entry(u),
        lambda: Delta(N[0], M[0]),
    ],
)
def test_wrong_dimensions_and_numbers_of_indices_are_refused(build):
    with pytest.raises(DimensionError):
        build()


def test_a_replacement_over_another_dimension_is_refused():
    with pytest.raises(DimensionError):
        replace_index(u[N[0]], N[0], M[0])


def test_indices_of_one_name_and_different_dimensions_differ():
    assert Index("k", n) != Index("k", m)
    assert isum(u[Index("k", n)] * a[Index("k", m)], Index("k", n)) == isum(u[N[0]], N[0]) * a[Index("k", m)]


def test_entries_yields_every_occurrence():
    k, q = M
    assert [e.tensor.name for e in entries(a[k] * h[k, q] + a[q])].count("a") == 2


def test_tensors_are_no_containers_to_sympy():
    """SymPy iterates over what can be indexed: simplify, factor_terms and Max once asked for entry 0."""
    i, k = N[0], M[0]
    assert simplify(g[i, k] + g[i, k]) == 2 * g[i, k]
    assert Max(g[i, k], g[i, k] / 10).has(Max)
    with pytest.raises(TypeError):
        iter(g)


def test_xreplace_and_subs_reach_into_sums():
    k, t = M[0], Symbol("t")
    total = isum(a[k] ** 2, k)
    assert total.xreplace({a[M[1]]: t}) == total
    assert (t * total).subs(t, 3) == 3 * total
