"""The problem as stated: blocks, definitions, the equations a paper prints, conventions, refusals."""

from __future__ import annotations

import pytest
from sympy import Rational, Symbol

from derivations.canonical import residual
from derivations.errors import FormulaError
from derivations.generic import GenericFunction, bind
from derivations.indexed import Delta, Dim, Index, isum
from derivations.problem import Problem, d, m, n, o

i, c = Index("i", n), Index("c", o)
k, l, k2, l2 = Index("k", m), Index("l", d), Index("k'", m), Index("l'", d)


def sigma(order, z):
    return GenericFunction("sigma", (order,), z)


def ell(order, f, y):
    return GenericFunction("ell", (order, 0), f, y)


@pytest.mark.parametrize(
    ("problem", "blocks"),
    [
        (Problem.two_layer(), {"a": (m,), "w": (m, d)}),
        (
            Problem.two_layer(input_bias=True, output_bias=True),
            {"a": (m,), "w": (m, d), "b": (m,), "c": ()},
        ),
        (
            Problem.two_layer(input_bias=True, output_bias=True, vector_output=True),
            {"a": (m, o), "w": (m, d), "b": (m,), "c": (o,)},
        ),
        (
            Problem.deep(3),
            {
                "W1": (Dim("m1"), d),
                "b1": (Dim("m1"),),
                "W2": (Dim("m2"), Dim("m1")),
                "b2": (Dim("m2"),),
                "W3": (Dim("m2"),),
                "b3": (),
            },
        ),
        (
            Problem.deep(2, input_bias=False, output_bias=False, vector_output=True),
            {"W1": (Dim("m1"), d), "W2": (o, Dim("m1"))},
        ),
    ],
)
def test_blocks_in_flat_order(problem, blocks):
    assert {block.name: block.tensor.dims for block in problem.blocks} == blocks
    assert [block.name for block in problem.blocks] == list(blocks)


@pytest.fixture(scope="module")
def problem():
    return Problem.two_layer(input_bias=True, output_bias=True)


@pytest.fixture(scope="module")
def parts(problem):
    a, w, b, c0 = (problem.block(name).tensor for name in "awbc")
    z = next(definition.tensor for definition in problem.system if definition.tensor.name == "z")
    r = next(definition.tensor for definition in problem.derived if definition.tensor.name == "r")
    return a, w, b, c0, z, problem.output, r


def test_the_defining_list_is_the_stated_network(problem, parts):
    a, w, b, c0, z, f, _ = parts
    assert residual(problem.system[z].at((i, k)) - isum(w[k, l] * problem.x[i, l], l) - b[k]) == 0
    assert residual(problem.system[f].at((i,)) - isum(a[k] * sigma(0, z[i, k]), k) - c0()) == 0
    risk = isum(ell(0, f[i], problem.y[i]), i) / n
    assert residual(problem.system[problem.risk].expr - risk) == 0


def test_the_gradient_is_the_one_a_paper_prints(problem, parts):
    r"""r_i = ell_f / n; da = sum r sigma(z); dw = a sum r sigma' x; db = a sum r sigma'; dc = sum r."""
    a, _, _, _, z, f, r = parts
    derived, gradient = problem.derived, problem.gradient
    assert derived[r].at((i,)) == ell(1, f[i], problem.y[i]) / n
    written = {
        "a": isum(r[i] * sigma(0, z[i, k]), i),
        "w": a[k] * isum(r[i] * sigma(1, z[i, k]) * problem.x[i, l], i),
        "b": a[k] * isum(r[i] * sigma(1, z[i, k]), i),
        "c": isum(r[i], i),
    }
    for name, wanted in written.items():
        formals = problem.block(name).indices
        entry = gradient[name][formals] if formals else gradient[name]()
        assert residual(derived.inline(entry, keep=(z, f, r)) - wanted) == 0, name


def test_a_hessian_block_is_the_one_a_paper_prints(problem, parts):
    a, _, _, _, z, f, r = parts
    expr, rows, columns = problem.hessian_block("w", "w")
    assert rows == (k, l)
    assert columns == (k2, l2)
    x, y = problem.x, problem.y
    outer = x[i, l] * x[i, l2]
    wanted = Delta(k, k2) * a[k] * isum(r[i] * sigma(2, z[i, k]) * outer, i) + a[k] * a[k2] / n * isum(
        ell(2, f[i], y[i]) * sigma(1, z[i, k]) * sigma(1, z[i, k2]) * outer, i
    )
    assert residual(problem.derived.inline(expr, keep=(z, f, r)) - wanted) == 0


def test_scale_factor_reduction_and_decay_enter_where_stated():
    plain = Problem.two_layer(loss="square", activation="tanh")
    other = Problem.two_layer(
        loss="square", activation="tanh", scale="1/sqrt(m)", factor="2", weight_decay="1/3", reduction="sum"
    )
    f = other.system[other.output].at((i,))
    assert residual(f - plain.system[plain.output].at((i,)) / m ** Rational(1, 2)) == 0
    squares = sum(isum(block.tensor[block.indices] ** 2, *block.indices) for block in other.blocks)
    data = 2 * isum(GenericFunction("ell", (0, 0), other.output[i], other.y[i]), i)
    assert residual(other.system[other.risk].expr - data - squares / 6) == 0


def test_vector_outputs_sum_the_loss_over_outputs():
    problem = Problem.two_layer(vector_output=True)
    f, y = problem.output, problem.y
    wanted = isum(ell(0, f[i, c], y[i, c]), i, c) / n
    assert residual(problem.system[problem.risk].expr - wanted) == 0


def test_a_hessian_product_is_the_block_applied_to_the_direction(problem, parts):
    z, f, r = parts[4], parts[5], parts[6]
    system, products = problem.hessian_vector
    wanted = 0
    for column in problem.blocks:
        expr, _, columns = problem.hessian_block("b", column.name)
        v = problem.directions[column.name]
        wanted += isum(expr * v[columns], *columns) if columns else expr * v()
    keep = (z, f, r)
    found = system.inline(products["b"][k], keep=keep)
    assert residual(found - problem.derived.inline(wanted, keep=keep)) == 0


def test_binding_gives_the_concrete_problem():
    problem = Problem.two_layer("quadratic", "square")
    z = next(definition.tensor for definition in problem.system if definition.tensor.name == "z")
    assert bind(sigma(1, z[i, k]), problem.functions) == 2 * z[i, k]
    assert (
        bind(ell(1, problem.output[i], problem.y[i]), problem.functions) == problem.output[i] - problem.y[i]
    )
    assert Problem.two_layer().functions == {}


def test_problems_are_values():
    assert Problem.two_layer("tanh", "square") == Problem.two_layer("tanh", "square")
    assert hash(Problem.deep(2, "tanh")) == hash(Problem.deep(2, "tanh"))
    assert Problem.two_layer("tanh") != Problem.two_layer("erf")


def test_frozen_blocks_and_rates():
    problem = Problem.two_layer(freeze=("a",), rate=(("w", Rational(3)),))
    assert [(b.name, b.trained, b.rate) for b in problem.blocks] == [("a", False, 1), ("w", True, 3)]


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Problem.two_layer(reduction="integral"), ValueError, "reduction is 'integral'"),
        (
            lambda: Problem.two_layer(freeze=("b",)),
            ValueError,
            "'b' is not a block of this model; blocks: a, w",
        ),
        (lambda: Problem.two_layer(rate=(("v", Rational(1)),)), ValueError, "'v' is not a block"),
        (lambda: Problem.deep(1), ValueError, "at least 2 layers of weights, got 1"),
        (lambda: Problem.two_layer("tahn"), FormulaError, "did you mean 'tanh'"),
        (lambda: Problem.two_layer(scale="1/k"), FormulaError, "k"),
        (lambda: Problem.two_layer().block("b"), KeyError, "no block 'b'; blocks: a, w"),
    ],
)
def test_refusals(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_sizes_stay_symbols():
    problem = Problem.deep(4)
    symbols = {s for definition in problem.derived for s in definition.expr.free_symbols}
    assert n in symbols
    assert all(isinstance(s, Symbol) for s in symbols)
