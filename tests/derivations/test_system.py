"""Reverse mode, tangents and Jacobians against SymPy's own differentiation of the written-out scalars."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from sympy import Integer, Piecewise, Symbol, cos, exp, sin, sqrt

from derivations.errors import DimensionError
from derivations.functions import relu
from derivations.indexed import Delta, Dim, Index, Tensor, isum
from derivations.problem import Problem
from derivations.system import Declaration, System, occurrences

_SPEC = importlib.util.spec_from_file_location("brute_force", Path(__file__).with_name("brute_force.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
brute_force = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(brute_force)

n, m = Dim("n"), Dim("m")
SIZES = {"n": 2, "m": 2, "d": 2, "o": 2, "m1": 2, "m2": 2}
i, k, q = Index("i", n), Index("k", m), Index("q", m)
a, w, x, s = Tensor("a", (m,)), Tensor("w", (m, m)), Tensor("x", (n, m)), Tensor("s")
z = Tensor("z", (n, m))
f, R = Tensor("f", (n,)), Tensor("R")


def vanishes(expr):
    """Whether an explicit expression is 0, in 30 digits at rational values of its symbols."""
    number = brute_force.rationals(5)
    at = expr.xreplace({symbol: number(symbol.name, ()) + Integer(10) for symbol in expr.free_symbols})
    return at == 0 or abs(at.evalf(30)) < 1e-15


def explicit(system, expr, at):
    """Write an expression out in scalar symbols, definitions included; functions stay SymPy's."""
    return brute_force.value(system.inline(expr), at, SIZES, brute_force.scalars)


def build(body, risk=None):
    """System a, w, s -> f[i] := body -> R."""
    leaves = (Declaration(a, (k,)), Declaration(w, (k, q)), Declaration(s, ()))
    # The formals of z are names that its own right-hand side, and targets, use in other roles.
    inner = isum(w[q, k] * x[i, q], q) + w[k, k] * w[k, 1]
    system = System(leaves).define(z, (i, k), inner).define(f, (i,), body)
    return system.define(R, (), isum(f[i] ** 2, i) if risk is None else risk)


BODIES = {
    "linear": isum(a[k] * x[i, k], k),
    "repeated index": isum(w[k, k] * x[i, k], k),
    "constant index": a[1] * x[i, 2] + w[2, 1] * x[i, 1],
    "repeated and constant": isum(w[k, 1] * w[k, k] * x[i, k], k),
    "formal names reused": isum(a[k] * isum(w[k, q] * a[q], q) * x[i, k], k),
    "transposed": isum(w[k, q] * w[q, k] * x[i, k], k, q),
    "delta": isum(w[k, q] * Delta(k, q) * x[i, q], k, q),
    "functions": isum(sin(a[k]) * exp(w[k, q] * x[i, q]) * cos(s() * x[i, k]), k, q),
    "powers": isum(a[k] ** 3 * sqrt(1 + w[k, k] ** 2), k) ** 2 / (1 + s() ** 2),
    "sum inside a function": exp(isum(a[k] * x[i, k], k)) * isum(a[q], q),
    "an inner definition": isum(a[k] * z[i, k] ** 2, k),
    "an inner definition, twice indexed": isum(a[q] * z[i, k] * z[i, q] * w[k, q], k, q),
    "scalar": s() ** 2 * x[i, 1],
    "index free of the sum": isum(a[k], k, q) * x[i, 1],
}


@pytest.fixture(scope="module", params=BODIES, ids=str)
def system(request):
    return build(BODIES[request.param])


def targets(tensor):
    names = [Index(name, dim) for name, dim in zip("kq", tensor.dims, strict=False)]
    return names, list(brute_force.assignments(names, SIZES))


def test_reverse_equals_scalar_differentiation(system):
    derived, gradient = system.reverse(R, [a, w, s])
    scalar = explicit(system, R(), {})
    for leaf in (a, w, s):
        formals = derived.formals(gradient[leaf])
        for at in brute_force.assignments(formals, SIZES):
            symbol = brute_force.scalars(leaf.name, tuple(at[u] for u in formals))
            found = explicit(derived, gradient[leaf][tuple(formals)] if formals else gradient[leaf](), at)
            assert vanishes(found - scalar.diff(symbol)), (leaf, at)


@pytest.mark.parametrize("names", [("k", "q"), ("i", "f"), ("_n1", "_m1")])
def test_jacobian_equals_scalar_differentiation_whatever_the_names(system, names):
    """The target names are those of formal and bound indices: none may be captured."""
    for leaf in (a, w, s):
        target = tuple(Index(name, dim) for name, dim in zip(names, leaf.dims, strict=False))
        for output, at in ((f, (i,)), (R, ())):
            expr = system.jacobian(output, at, leaf, target)
            for places in brute_force.assignments([*at, *target], SIZES):
                scalar = explicit(system, output[at] if at else output(), places)
                symbol = brute_force.scalars(leaf.name, tuple(places[u] for u in target))
                assert vanishes(explicit(system, expr, places) - scalar.diff(symbol)), (leaf, places)


def test_tangent_is_the_sum_over_the_jacobian(system):
    va, vw = Tensor("va", (m,)), Tensor("vw", (m, m))
    moved, dots = system.tangent([R], {a: va, w: vw})
    found = explicit(moved, dots[R](), {})
    scalar, wanted = explicit(system, R(), {}), Integer(0)
    for leaf, v in ((a, va), (w, vw)):
        names, places = targets(leaf)
        for at in places:
            slots = tuple(at[u] for u in names)
            wanted += scalar.diff(brute_force.scalars(leaf.name, slots)) * brute_force.scalars(v.name, slots)
    assert vanishes(found - wanted)


@pytest.mark.parametrize(
    "problem",
    [
        Problem.two_layer("quadratic", "square", input_bias=True, weight_decay="1/3"),
        Problem.two_layer("cubic", "(f - y)**4", vector_output=True, output_bias=True),
        Problem.deep(3, "quadratic", "square", input_bias=False, output_bias=True),
    ],
    ids=["two_layer", "vector", "deep"],
)
def test_hessian_blocks_equal_scalar_differentiation_at_two_two_two(problem):
    from derivations.generic import bind

    def written(expr, at):
        inlined = bind(problem.derived.inline(expr), problem.functions)
        return brute_force.value(inlined, at, SIZES, brute_force.scalars)

    scalar = written(problem.risk(), {})
    names = [block.name for block in problem.blocks]
    for row, column in ((r, c) for p, r in enumerate(names) for c in names[p:]):
        expr, rows, columns = problem.hessian_block(row, column)
        first_last = list(brute_force.assignments([*rows, *columns], SIZES))
        for at in (first_last[0], first_last[len(first_last) // 2], first_last[-1]):
            left = brute_force.scalars(problem.block(row).tensor.name, tuple(at[u] for u in rows))
            right = brute_force.scalars(problem.block(column).tensor.name, tuple(at[u] for u in columns))
            assert vanishes(written(expr, at) - scalar.diff(left, right)), (row, column, at)


def test_reverse_has_no_deltas_for_plain_networks():
    derived = Problem.deep(3).derived
    assert not any(definition.expr.has(Delta) for definition in derived)


def test_a_branch_is_differentiated_inside_its_condition():
    body = Piecewise((a[k] ** 2, a[k] > 0), (3 * a[k], True))
    (pair,) = [
        (entry, cofactor)
        for entry, cofactor, _ in occurrences(Piecewise((a[k] ** 2, s() > 0), (s(), True)))
        if entry == a[k]
    ]
    assert pair[1].args[1].expr == 0
    total = sum(cofactor for entry, cofactor, _ in occurrences(body) if entry == a[k])
    t = Symbol("t", real=True)
    written = total.xreplace({a[k]: t})
    assert [written.subs(t, number) for number in (2, -2)] == [4, 3]


def test_an_output_that_does_not_depend_on_a_leaf_has_gradient_zero():
    derived, gradient = build(isum(a[k] * x[i, k], k)).reverse(R, [w])
    assert derived[gradient[w]].expr == 0


def test_relu_is_differentiated_almost_everywhere():
    derived, gradient = build(relu(isum(a[k] * x[i, k], k))).reverse(R, [a])
    assert "step" in str(derived.inline(derived[gradient[a]].expr))


def test_refusals():
    system = build(BODIES["linear"])
    with pytest.raises(DimensionError, match="reverse mode starts from a scalar, f has dimensions"):
        system.reverse(f, [a])
    with pytest.raises(ValueError, match="f is defined already"):
        system.define(f, (i,), Integer(1))
    with pytest.raises(ValueError, match="defined by itself"):
        system.define(Tensor("h"), (), Tensor("h")() + 1)
    with pytest.raises(DimensionError, match="slot 0 of h runs over n"):
        system.define(Tensor("h", (n,)), (k,), Integer(1))
    with pytest.raises(KeyError, match="neither declared nor defined"):
        system.formals(Tensor("unknown"))
    with pytest.raises(NotImplementedError, match="no derivative rule for Pow"):
        build(Integer(2) ** a[1]).reverse(R, [a])
