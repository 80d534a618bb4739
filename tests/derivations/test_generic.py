"""General functions: derivative orders, printing, binding."""

from __future__ import annotations

import pytest
from sympy import Symbol, exp, symbols

from derivations.generic import GenericFunction, bind
from derivations.indexed import Dim, Index, Tensor, isum

z, f, y = symbols("z f y", real=True)


def test_orders_are_part_of_the_object():
    sigma = GenericFunction("sigma", (0,), z)
    assert sigma.fdiff(1) == GenericFunction("sigma", (1,), z)
    assert sigma != sigma.fdiff(1)
    assert hash(sigma.fdiff(1)) == hash(GenericFunction("sigma", (1,), z))
    assert str(sigma.fdiff(1).fdiff(1)) == "sigma''(z)"


def test_mixed_derivatives_commute_and_print_as_partials():
    ell = GenericFunction("ell", (0, 0), f, y)
    assert ell.fdiff(1).fdiff(2) == ell.fdiff(2).fdiff(1)
    assert str(ell.fdiff(1).fdiff(2)) == "ell_fy(f, y)"


def test_diff_follows_the_chain_rule():
    assert GenericFunction("sigma", (0,), z**2).diff(z) == 2 * z * GenericFunction("sigma", (1,), z**2)
    inner = GenericFunction("ell", (0, 0), z, z)
    assert inner.diff(z) == inner.fdiff(1) + inner.fdiff(2)


def test_bind_reaches_into_sums_and_arguments_and_leaves_others():
    m = Dim("m")
    k, a = Index("k", m), Tensor("a", (m,))
    expr = isum(GenericFunction("sigma", (1,), GenericFunction("tau", (0,), a[k])), k)
    bound = bind(expr, {"sigma": lambda orders, u: exp(u) * orders[0]})
    assert bound == isum(exp(GenericFunction("tau", (0,), a[k])), k)
    assert bind(expr, {"other": lambda orders, u: u}) == expr


def test_a_wrong_number_of_orders_is_refused():
    with pytest.raises(ValueError, match="ell: 2 arguments need as many derivative orders, got"):
        GenericFunction("ell", (0,), f, y)


def test_the_name_may_be_a_symbol():
    assert GenericFunction(Symbol("sigma"), (0,), z) == GenericFunction("sigma", (0,), z)
