"""KKT systems equal those derived by hand and by scalar differentiation, print as a paper prints them, and hold or fail exactly."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess

import pytest
from sympy import Add, Eq, Expr, Ge, Integer, Le, N, Rational, S, Symbol, sqrt

from derivations.canonical import vanishes
from derivations.constrained import Constraint, lagrangian_curvature, squared_norm, tangents
from derivations.constrained_problems import WHICH, constrained, homogeneity
from derivations.errors import AssumptionError, DimensionError
from derivations.exact_lp import exact_sign
from derivations.generic import GenericFunction
from derivations.indexed import Entry, Index, Tensor, isum
from derivations.kkt import kkt
from derivations.kkt_check import check_kkt
from derivations.kkt_instance import instance
from derivations.linear_margin import linear_margin
from derivations.problem import Problem, d, m, n, o
from derivations.system import System

R = Rational
I, K, L, C = Index("i", n), Index("k", m), Index("l", d), Index("c", o)
A, W, B, X, Y = (
    Tensor("a", (m,)),
    Tensor("w", (m, d)),
    Tensor("b", (m,)),
    Tensor("x", (n, d)),
    Tensor("y", (n,)),
)
Z, F, LAM, DELTA, RES = (
    Tensor("z", (n, m)),
    Tensor("f", (n,)),
    Tensor("lambda", (n,)),
    Tensor("delta", (n, m)),
    Tensor("r", (n,)),
)
MU, RHO = Symbol("mu", real=True), Symbol("rho", positive=True)


def sig(order: int, argument: Expr) -> Expr:
    return GenericFunction("sigma", (order,), argument)


def right(derivation, lhs: Expr) -> Expr:
    found = [e.rhs for e in (*derivation.system, *derivation.where) if e.lhs == lhs and e.rhs != 0]
    assert len(found) == 1, f"{lhs} stands on the left {len(found)} times"
    return found[0]


def assert_equal(found: Expr, expected: Expr) -> None:
    assert vanishes(found - expected), f"{found}\n!=\n{expected}"


# ---- by hand


def test_hard_margin_of_two_layers():
    found = kkt(Problem.two_layer(input_bias=True))
    assert_equal(right(found, A[K]), isum(LAM[I] * Y[I] * sig(0, Z[I, K]), I))
    assert_equal(right(found, W[K, L]), A[K] * isum(LAM[I] * Y[I] * sig(1, Z[I, K]) * X[I, L], I))
    assert_equal(right(found, B[K]), A[K] * isum(LAM[I] * Y[I] * sig(1, Z[I, K]), I))
    assert Ge(Y[I] * F[I], 1, evaluate=False) in found.equations
    assert Ge(LAM[I], 0, evaluate=False) in found.equations
    assert Eq(LAM[I] * (Y[I] * F[I] - 1), 0, evaluate=False) in found.equations


def test_the_hand_comparison_is_able_to_fail():
    found = kkt(Problem.two_layer())
    with pytest.raises(AssertionError, match="!="):
        assert_equal(right(found, A[K]), -isum(LAM[I] * Y[I] * sig(0, Z[I, K]), I))


def test_network_correlation_with_several_outputs_and_a_scale():
    found = kkt(Problem.two_layer("relu", vector_output=True, scale="1/sqrt(m)"), "correlation")
    a, y = Tensor("a", (m, o)), Tensor("y", (n, o))
    assert_equal(right(found, MU * a[K, C]), isum(y[I, C] * sig(0, Z[I, K]), I) / sqrt(m))
    force = isum(sig(1, Z[I, K]) * X[I, L] * isum(a[K, C] * y[I, C], C), I) / sqrt(m)
    assert_equal(right(found, MU * W[K, L]), force)


def test_correlation_of_one_neuron():
    found = kkt(Problem.two_layer("relu", input_bias=True), "neuron-correlation")
    u, b, z = Tensor("u", (d,)), Tensor("b"), Tensor("z", (n,))
    assert_equal(right(found, MU * u[L]), isum(Y[I] * sig(1, z[I]) * X[I, L], I))
    assert_equal(right(found, MU * b()), isum(Y[I] * sig(1, z[I]), I))
    assert right(found, isum(u[L] ** 2, L) + b() ** 2) == 1


def test_norm_constrained_risk_with_decay():
    decay = Symbol("c", positive=True)
    found = kkt(Problem.two_layer(weight_decay=decay), "norm-constrained")
    factor = MU + decay
    assert_equal(right(found, factor * A[K]), -isum(RES[I] * sig(0, Z[I, K]), I))
    assert_equal(right(found, factor * W[K, L]), -isum(DELTA[I, K] * X[I, L], I))
    ell = GenericFunction("ell", (1, 0), F[I], Y[I])
    assert_equal(right(found, RES[I]), ell / n)
    squares = isum(A[K] ** 2, K) + isum(W[K, L] ** 2, K, L)
    assert Le(squares, RHO**2, evaluate=False) in found.equations
    assert Eq(0, MU * (squares - RHO**2), evaluate=False) in found.equations


def test_deep_networks_keep_their_backpropagated_forces():
    problem = Problem.deep(3, "relu", input_bias=False, output_bias=False)
    found = kkt(problem)
    m1, m2 = problem.hidden_dims
    p1, p2, q1, q0 = Index("p", m1), Index("p", m2), Index("q", m1), Index("q", d)
    w1, w2, w3 = Tensor("W1", (m1, d)), Tensor("W2", (m2, m1)), Tensor("W3", (m2,))
    z1, z2 = Tensor("z1", (n, m1)), Tensor("z2", (n, m2))
    d1, d2 = Tensor("delta1", (n, m1)), Tensor("delta2", (n, m2))
    assert_equal(right(found, w1[p1, q0]), isum(d1[I, p1] * X[I, q0], I))
    assert_equal(right(found, w2[p2, q1]), isum(d2[I, p2] * sig(0, z1[I, q1]), I))
    assert_equal(right(found, d2[I, p2]), LAM[I] * Y[I] * w3[p2] * sig(1, z2[I, p2]))
    q2 = Index("q", m2)
    assert_equal(right(found, d1[I, p1]), sig(1, z1[I, p1]) * isum(w2[q2, p1] * d2[I, q2], q2))


def test_frozen_blocks_have_no_equation_and_no_share_in_the_norm():
    found = kkt(Problem.two_layer("relu", freeze=("a",)))
    assert not [e for e in found.system if e.lhs == A[K]]
    lagrangian = found.system[0].rhs
    assert_equal(lagrangian, isum(W[K, L] ** 2, K, L) / 2 - isum(LAM[I] * (Y[I] * F[I] - 1), I))
    assert r"homogeneous of degree $1$" in " ".join(found.notes)


def test_critical_cone_and_curvature_by_hand():
    found = kkt(Problem.two_layer())
    va, vw = Tensor("v_a", (m,)), Tensor("v_w", (m, d))
    zv, fv, fvv = Tensor("z_v", (n, m)), Tensor("f_v", (n,)), Tensor("f_vv", (n,))
    assert Eq(Y[I] * fv[I], 0, evaluate=False) in found.equations
    assert Ge(Y[I] * fv[I], 0, evaluate=False) in found.equations
    form = Tensor("Q")()
    expected = isum(va[K] ** 2, K) + isum(vw[K, L] ** 2, K, L) - isum(LAM[I] * Y[I] * fvv[I], I)
    assert_equal(right(found, form), expected)
    assert Ge(form, 0, evaluate=False) in found.equations
    assert_equal(right(found, zv[I, K]), isum(vw[K, L] * X[I, L], L))
    second = 2 * isum(va[K] * sig(1, Z[I, K]) * zv[I, K], K) + isum(A[K] * sig(2, Z[I, K]) * zv[I, K] ** 2, K)
    assert_equal(right(found, fvv[I]), second)


# ---- against scalar differentiation


SCALAR_CASES = {
    "hard margin, tanh": (Problem.two_layer("tanh", input_bias=True), "hard-margin", 2),
    "hard margin, deep": (Problem.deep(3, "quadratic"), "hard-margin", (1, 2)),
    "correlation, cubic": (Problem.two_layer("cubic", vector_output=True), "correlation", 2),
    "neuron": (Problem.two_layer("cubic", input_bias=True), "neuron-correlation", 1),
    "risk": (Problem.two_layer("sin", "square", input_bias=True, output_bias=True), "norm-constrained", 2),
    "risk, logistic, decay": (
        Problem.two_layer("tanh", "logistic", weight_decay="1/10"),
        "norm-constrained",
        1,
    ),
}


def written(case):
    problem, which, width = case
    y = [[1, -1], [-1, 1], [1, 1]] if problem.vector_output else [1, -1, 1]
    return instance(constrained(problem, which), [[1, R(1, 2)], [-2, 1], [R(1, 3), -1]], y, width)


def lagrangian_of(small):
    """The Lagrangian in scalar symbols, put together here from the written-out objective and constraints."""
    total, multipliers = small.objective, {}
    for c in small.constraints:
        value = Symbol(c.name, real=True)
        multipliers[c.multiplier] = value
        sign = (-1 if c.sign == ">=" else 1) * (-1 if small.given.maximise else 1)
        total += sign * value * c.gap
    return total, multipliers


def numbers(symbols_, seed):
    draw = random.Random(seed)
    return {u: R(draw.randint(-20, 20), 17) for u in sorted(symbols_, key=str)}


@pytest.mark.parametrize("name", SCALAR_CASES)
def test_stationarity_is_the_scalar_gradient_of_the_lagrangian(name):
    small = written(SCALAR_CASES[name])
    total, multipliers = lagrangian_of(small)
    symbols_ = list(small.unknowns.values())
    rows = small.conditions()
    stated = [e.lhs - e.rhs for e in rows.system[: len(symbols_)]]
    inlined = {e.lhs: e.rhs for e in rows.where}
    values = numbers({*symbols_, *total.free_symbols}, 3)
    for unknown, difference in zip(symbols_, stated, strict=True):
        for _ in range(6):  # the definitions refer to each other at most a few levels deep
            difference = difference.xreplace(inlined)
        difference = difference.xreplace({**small.unknowns, **multipliers})
        exact, seen = (N(u.subs(values), 30) for u in (total.diff(unknown), difference))
        assert min(abs(exact - seen), abs(exact + seen)) < 1e-25
        assert abs(exact) > 1e-6  # the comparison is not one of zeros


@pytest.mark.parametrize("name", SCALAR_CASES)
def test_curvature_is_the_second_derivative_of_the_lagrangian_along_a_line(name):
    small = written(SCALAR_CASES[name])
    total, multipliers = lagrangian_of(small)
    given = small.given
    first, second, _, _ = tangents(given)
    extended = System(
        given.derived.declarations, (*given.system.definitions, *first.values(), *second.values())
    )
    form = small.written(extended.inline(lagrangian_curvature(given)))
    t = Symbol("t", real=True)
    moved, direction = {}, {}
    for leaf, unknown in small.unknowns.items():
        velocity = R(random.Random(str(leaf)).randint(1, 9), 7)
        moved[unknown] = unknown + t * velocity
        direction[Entry(Tensor(f"v_{leaf.tensor.name}", leaf.tensor.dims), *leaf.indices)] = velocity
    values = numbers(total.free_symbols, 5)
    expected = total.xreplace(moved).diff(t, 2).subs(t, 0).subs(values)
    seen = form.xreplace({**direction, **small.unknowns, **multipliers}).subs(values)
    assert abs(N(expected - seen, 30)) < 1e-24
    assert abs(N(expected, 30)) > 1e-6


# ---- problems of one's own


def test_a_stated_problem_with_equality_and_inequality():
    """Least outer norm with unit incoming weights and margin 2 for every sample."""
    problem = Problem.two_layer("relu")
    mine = constrained(
        problem,
        "outer norm",
        objective=isum(A[K] ** 2, K) / 2,
        constraints=[
            Constraint(isum(W[K, L] ** 2, L), "=", S.One, Tensor("nu", (m,), r"\nu"), (K,), R(1, 2)),
            Constraint(Y[I] * F[I], ">=", Integer(2), Tensor("lambda", (n,), r"\lambda"), (I,)),
        ],
    )
    found = kkt(mine)
    nu = Tensor("nu", (m,))
    assert found.title == "KKT conditions of the outer norm problem"
    assert_equal(right(found, A[K]), isum(LAM[I] * Y[I] * sig(0, Z[I, K]), I))
    assert_equal(right(found, nu[K] * W[K, L]), A[K] * isum(LAM[I] * Y[I] * sig(1, Z[I, K]) * X[I, L], I))
    assert r"\nu_k w_k &= a_k \sum_{i=1}^{n} \lambda_i y_i \sigma'(z_{ik}) x_i" in found.latex()
    small = instance(mine, [[1, 0]], [1], width=1)
    good = check_kkt(small, {"a": [2], "w": [[1, 0]]})
    assert good.holds
    assert good.multipliers == {"nu": 4, "lambda": 2}
    assert check_kkt(small, {"a": [3], "w": [[1, 0]]}).multipliers is None
    assert check_kkt(small, {"a": [1], "w": [[1, 0]]}).violated == ("lambda",)


def test_maximum_with_an_upper_bound():
    problem = Problem.two_layer("linear")
    mine = constrained(
        problem,
        objective=isum(Y[I] * F[I], I),
        constraints=[Constraint(squared_norm(problem.blocks), "<=", S.One, MU, scale=R(1, 2))],
        maximise=True,
    )
    assert_equal(right(kkt(mine), MU * A[K]), isum(Y[I] * sig(0, Z[I, K]), I))
    small = instance(mine, [[2, 0]], [1], width=1)
    half = sqrt(2) / 2
    best = check_kkt(small, {"a": [half], "w": [[half, 0]]})
    assert best.holds
    assert best.multipliers == {"mu": 2}
    # The minimum has the right gradient with a negative multiplier only.
    worst = check_kkt(small, {"a": [half], "w": [[-half, 0]]})
    assert worst.multipliers is None
    assert check_kkt(small, {"a": [0], "w": [[0, 0]]}).holds  # interior: a saddle of the objective


BAD = {
    "unknown name": (lambda p: constrained(p, "hardmargin"), ValueError, "known: hard-margin"),
    "no objective": (
        lambda p: constrained(p, constraints=[Constraint(A[K], "=", S.One, Tensor("t", (m,)), (K,))]),
        ValueError,
        "state objective as well",
    ),
    "vector labels": (
        lambda p: constrained(Problem.two_layer("relu", vector_output=True)),
        ValueError,
        "scalar output",
    ),
    "not homogeneous": (
        lambda p: constrained(Problem.two_layer("tanh"), "correlation"),
        AssumptionError,
        "homogeneous in the trained blocks, got tanh",
    ),
    "neuron not homogeneous": (
        lambda p: constrained(Problem.two_layer(), "neuron-correlation"),
        AssumptionError,
        "a general one",
    ),
    "neuron of a deep network": (
        lambda p: constrained(Problem.deep(3, "relu"), "neuron-correlation"),
        ValueError,
        "two-layer",
    ),
    "nothing trained": (
        lambda p: constrained(Problem.two_layer("relu", freeze=("a", "w"))),
        ValueError,
        "every block is frozen",
    ),
    "objective with an index": (lambda p: constrained(p, objective=F[I]), DimensionError, "sum over them"),
    "unknown tensor": (
        lambda p: constrained(p, objective=Tensor("q")()),
        ValueError,
        "nothing is known of q",
    ),
    "constraint with an index": (
        lambda p: Constraint(F[I], "=", S.Zero, Symbol("t")),
        DimensionError,
        "list them in indices",
    ),
    "multiplier of another family": (
        lambda p: Constraint(F[I], "=", S.Zero, Tensor("t", (m,)), (I,)),
        DimensionError,
        "one is needed for each index",
    ),
    "sign": (lambda p: Constraint(F[I], "<", S.Zero, Tensor("t", (n,)), (I,)), ValueError, "found '<'"),
    "scale": (
        lambda p: Constraint(F[I], "=", S.Zero, Tensor("t", (n,)), (I,), Integer(-1)),
        ValueError,
        "positive constant",
    ),
    "taken name": (
        lambda p: constrained(
            p, objective=p.risk(), constraints=[Constraint(A[K], "=", S.One, Tensor("f", (m,)), (K,))]
        ),
        ValueError,
        "names of their own",
    ),
    "radius": (lambda p: constrained(p, "norm-constrained", radius=-1), ValueError, "positive number"),
    "radius elsewhere": (lambda p: constrained(p, "hard-margin", radius=1), ValueError, "has no radius"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_problems_are_refused(name):
    build, error, message = BAD[name]
    with pytest.raises(error, match=message):
        build(Problem.two_layer("relu"))


@pytest.mark.parametrize(
    ("problem", "degree"),
    [
        (Problem.two_layer("relu", input_bias=True), 2),
        (Problem.two_layer("quadratic"), 3),
        (Problem.two_layer("relu", output_bias=True), None),
        (Problem.two_layer("tanh"), None),
        (Problem.two_layer("tanh", freeze=("w",)), 1),
        (Problem.two_layer("relu", freeze=("w",), input_bias=True), None),
        (Problem.two_layer("quadratic", freeze=("a",)), 2),
        (Problem.deep(4, "relu", input_bias=False, output_bias=False), 4),
        (Problem.deep(3, "quadratic", input_bias=False, output_bias=False), 7),
        (Problem.deep(3, "relu", output_bias=False), None),
        (Problem.two_layer(), None),
    ],
)
def test_degree_of_homogeneity(problem, degree):
    assert homogeneity(problem) == degree


# ---- written out


def test_written_out_conditions_read_well():
    small = instance(constrained(Problem.two_layer("relu")), [[1, 2], [-1, R(1, 2)]], [1, -1], width=2)
    rows = small.conditions()
    assert rows.text().splitlines()[:6] == [
        "KKT conditions of the hard-margin problem, written out for m = 2, d = 2, n = 2",
        "    a[1] = relu(z[1,1])*lambda[1] - relu(z[2,1])*lambda[2]",
        "    a[2] = relu(z[1,2])*lambda[1] - relu(z[2,2])*lambda[2]",
        "    w[1,1] = (step(z[1,1], 0)*lambda[1] + step(z[2,1], 0)*lambda[2])*a[1]",
        "    w[1,2] = (2*step(z[1,1], 0)*lambda[1] - step(z[2,1], 0)*lambda[2]/2)*a[1]",
        "    w[2,1] = (step(z[1,2], 0)*lambda[1] + step(z[2,2], 0)*lambda[2])*a[2]",
    ]
    assert "    -f[2] >= 1" in rows.text()
    with pytest.raises(ValueError, match="at most 60"):
        instance(constrained(Problem.two_layer("relu")), [[1] * 5] * 9, [1] * 9, width=4).conditions()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [[1, 2], [3]]}, "shape"),
        ({"x": []}, r"\(n, d\)"),
        ({"y": [1, 2, 1]}, "shape"),
        ({"y": [1, 2]}, "needs -1 or 1"),
        ({"x": [[0.5, 1], [1, 1]]}, "exact real numbers"),
        ({"width": 0}, "positive"),
        ({"width": (1, 1)}, "1 positive numbers"),
        ({"frozen": {"a": [1]}}, r"required are \[\]"),
        ({"problem": Problem.two_layer()}, "keeps sigma general"),
        ({"problem": Problem.two_layer("relu", freeze=("a",))}, r"required are \['a'\]"),
    ],
)
def test_bad_data_are_refused(change, message):
    given = {"problem": Problem.two_layer("relu"), "x": [[1, 2], [3, 4]], "y": [1, -1], "width": 1, **change}
    with pytest.raises(ValueError, match=message):
        instance(constrained(given.pop("problem")), **given)


def test_a_general_loss_is_refused_where_the_risk_is_needed():
    given = constrained(Problem.two_layer("relu"), "norm-constrained", radius=1)
    with pytest.raises(ValueError, match="keeps ell general"):
        instance(given, [[1]], [1])


def test_bad_points_are_refused():
    small = instance(constrained(Problem.two_layer("relu")), [[1, 2]], [1], width=1)
    for theta, message in [
        ({"a": [1]}, "required are a, w"),
        ({"a": [1], "w": [1, 2]}, "shape"),
        ({"a": [1], "w": [[1, 0.5]]}, "block 'w': found 0.5"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_kkt(small, theta)
    with pytest.raises(ValueError, match="no value for rho"):
        check_kkt(
            instance(constrained(Problem.two_layer("relu", "square"), "norm-constrained"), [[1]], [1]),
            {"a": [0], "w": [[0]]},
        )


# ---- exact checks of the margin problem


def test_merged_and_split_neurons_are_both_kkt_and_the_merged_ones_are_worse():
    """C9 with cos psi = 7/25, psi = 73.7 degrees: margins cos(psi)/2 and 1/4."""
    x = [[R(7, 25), R(24, 25)], [R(7, 25), -R(24, 25)]]
    small = instance(constrained(Problem.two_layer("relu")), x, [1, 1], width=2)
    split = {"a": [1, 1], "w": x}
    found = check_kkt(small, split)
    assert found.holds
    assert found.multipliers == {"lambda_1": 1, "lambda_2": 1}
    size = sqrt(R(25, 14))
    merged = {"a": [size, size], "w": [[size, 0], [size, 0]]}
    worse = check_kkt(small, merged)
    assert worse.holds
    norms = [Integer(4), 4 * R(25, 14)]
    for check, norm in zip((found, worse), norms, strict=True):
        # Euler: |theta|^2 = L sum of the multipliers, L = 2.
        assert exact_sign(norm - 2 * Add(*check.multipliers.values())) == 0
    assert [1 / u for u in norms] == [R(1, 4), R(7, 25) / 2]


def test_coefficients_strictly_inside_pin_a_neuron_to_a_kink():
    """Two classes at 53 degrees: each neuron lies on the boundary of the other class with slope 3/5."""
    x = [[R(5, 4), 0], [R(3, 4), 1]]
    small = instance(constrained(Problem.two_layer("relu")), x, [1, -1], width=2)
    theta = {"a": [1, -1], "w": [[R(4, 5), -R(3, 5)], [0, 1]]}
    found = check_kkt(small, theta)
    assert found.holds
    assert found.multipliers == {"lambda_1": 1, "lambda_2": 1}
    assert [list(v.values()) for v in found.slopes.values()] == [[R(3, 5)], [R(3, 5)]]
    # With the value sigma'(0) = 0 of the flow the same point is not stationary.
    w = small.conditions().system[2]
    multipliers = {c.multiplier: found.multipliers[c.name] for c in small.constraints}
    inlined = {e.lhs: e.rhs for e in small.conditions().where}
    values = {leaf: small.point(theta)[u] for leaf, u in small.unknowns.items()}
    defect = (w.lhs - w.rhs).xreplace(inlined).xreplace(values).xreplace(multipliers)
    assert defect.doit() != 0


def test_a_point_that_is_not_kkt_has_a_feasible_direction_of_descent():
    x = [[1, 0], [0, 1]]
    small = instance(constrained(Problem.two_layer("relu")), x, [1, 1], width=1)
    theta = {"a": [1], "w": [[1, 2]]}
    found = check_kkt(small, theta)
    assert found.active == ("lambda_1",)
    assert not found.violated
    assert not found.holds
    point = small.point(theta)
    step = R(1, 100)
    moved = {u: value + step * found.direction[u.name] for u, value in point.items()}
    assert small.objective.subs(moved) < small.objective.subs(point)
    slope = sum(small.constraints[0].gap.diff(u).subs(point).doit() * found.direction[u.name] for u in point)
    assert slope >= 0


def test_a_violated_constraint_is_named():
    small = instance(constrained(Problem.two_layer("relu")), [[1, 0], [0, 1]], [1, 1], width=1)
    assert check_kkt(small, {"a": [1], "w": [[1, 0]]}).violated == ("lambda_2",)


def test_frozen_outer_weights_are_numbers():
    problem = Problem.two_layer("relu", freeze=("a",))
    small = instance(constrained(problem), [[1, 0]], [1], width=1, frozen={"a": [2]})
    found = check_kkt(small, {"w": [[R(1, 2), 0]]})
    assert found.holds
    assert found.multipliers == {"lambda": R(1, 4)}


def test_norm_constrained_fit_of_one_datum():
    """min (a w - 1)^2/2 on a^2 + w^2 <= rho^2: a = w = rho/sqrt 2 and mu = 1 - rho^2/2 while that is positive."""
    problem = Problem.two_layer("relu", "square", reduction="sum")
    for radius, mu in ((1, R(1, 2)), (sqrt(2), 0), (R(1, 2), R(7, 8))):
        given = constrained(problem, "norm-constrained", radius=radius)
        size = radius / sqrt(2)
        found = check_kkt(instance(given, [[1]], [1]), {"a": [size], "w": [[size]]})
        assert found.holds
        assert found.multipliers == {"mu": mu}


# ---- linear margins

#: Ten decimals are published, the last one cut off in places, not rounded.
PUBLISHED = 1e-10


def test_published_support_vector_machine():
    x = [[2, 1], [1, R(-3, 10)], [R(-1, 2), R(-3, 2)], [R(-6, 5), R(1, 10)]]
    found = linear_margin(x, [1, 1, -1, -1])
    printed = [1.0909090909, 0.3030303030, 0, 0.8999081726, 0.3820018365, 0, 0.8832247505]
    seen = [float(u) for u in (*found.weights, *found.multipliers, found.margin)]
    assert max(abs(u - v) for u, v in zip(seen, printed, strict=True)) < PUBLISHED
    deep = [float(found.margin / R(depth) ** R(depth, 2)) for depth in (2, 3)]
    assert max(abs(u - v) for u, v in zip(deep, [0.4416123752, 0.1699766824], strict=True)) < PUBLISHED


def test_published_symmetric_data():
    x = [[2, 1], [R(1, 2), R(3, 2)], [-2, -1], [-R(1, 2), -R(3, 2)]]
    found = linear_margin(x, [1, 1, -1, -1])
    assert found.weights == (R(1, 5), R(3, 5))
    assert abs(float(found.margin) - 1.5811388301) < PUBLISHED
    bounds = {0: 0.3952847075, R(1, 10): 0.4348131782, R(1, 2): 0.5929270613, 1: 0.7905694150}
    for slope, printed in bounds.items():
        assert abs(float((1 + slope) / 4 * found.margin) - printed) < PUBLISHED


@pytest.mark.parametrize("slope", ["relu(z)", "max(z, z/10)", "max(z, z/2)", "z"])
def test_the_symmetric_bound_is_attained_by_two_antipodal_neurons(slope):
    """C7: neurons along w* and -w* with equal norm; the point is KKT and its margin is (1 + alpha) gamma*/4."""
    alpha = {"relu(z)": 0, "max(z, z/10)": R(1, 10), "max(z, z/2)": R(1, 2), "z": 1}[slope]
    x = [[R(3, 5), R(4, 5)], [-R(3, 5), -R(4, 5)]]
    small = instance(constrained(Problem.two_layer(slope)), x, [1, -1], width=2)
    size = 1 / sqrt(1 + alpha)  # a w.x + (alpha) ... : size^2 (1 + alpha) = 1
    u = [size * v for v in x[0]]
    found = check_kkt(small, {"a": [size, -size], "w": [u, [-v for v in u]]})
    assert found.holds
    assert exact_sign(1 / (4 * size**2) - (1 + alpha) * linear_margin(x, [1, -1]).margin / 4) == 0


@pytest.mark.parametrize("seed", range(3))
def test_linear_margin_satisfies_kkt_in_three_dimensions(seed):
    draw = random.Random(seed)
    truth = [3, -1, 2]
    x = [[R(draw.randint(-9, 9), 4) for _ in truth] for _ in range(7)]
    x = [row for row in x if sum(u * v for u, v in zip(row, truth, strict=True))]
    y = [1 if sum(u * v for u, v in zip(row, truth, strict=True)) > 0 else -1 for row in x]
    found = linear_margin(x, y)
    margins = [
        c * Add(*[u * v for u, v in zip(row, found.weights, strict=True)])
        for row, c in zip(x, y, strict=True)
    ]
    assert min(margins) == 1
    assert all(u >= 0 and u * (q - 1) == 0 for u, q in zip(found.multipliers, margins, strict=True))
    for j in range(3):
        assert found.weights[j] == Add(
            *[u * c * row[j] for u, c, row in zip(found.multipliers, y, x, strict=True)]
        )


def test_data_that_are_not_separable_are_refused_with_the_proof():
    with pytest.raises(ValueError, match=r"convex combination 0 with weights \(1/2, 1/2\)"):
        linear_margin([[1, 0], [1, 0]], [1, -1])
    with pytest.raises(ValueError, match="labels must be -1 or 1"):
        linear_margin([[1, 0]], [2])
    with pytest.raises(ValueError, match=r"required are \(n, d\)"):
        linear_margin([[1, 0], [1]], [1, 1])


# ---- print


def test_the_hard_margin_prints_as_in_a_paper():
    assert kkt(Problem.two_layer(), second_order=False).latex() == (
        r"""\begin{align}
\mathcal{L} &= \sum_{i=1}^{n} \lambda_i (1 - y_i f_i) + \frac{1}{2} \Bigl(\sum_{k=1}^{m} a_k^{2} + \sum_{k=1}^{m} \lVert w_k \rVert^{2}\Bigr), \\
a_k &= \sum_{i=1}^{n} \lambda_i y_i \sigma(z_{ik}), \\
w_k &= a_k \sum_{i=1}^{n} \lambda_i y_i \sigma'(z_{ik}) x_i, \\
y_i f_i &\ge 1, \\
\lambda_i &\ge 0, \\
\lambda_i (y_i f_i - 1) &= 0,
\end{align}
where
\begin{align}
z_{ik} &= w_k^{\top} x_i, \\
f_i &= \sum_{k=1}^{m} a_k \sigma(z_{ik}).
\end{align}"""
    )


def test_the_correlation_of_a_neuron_prints_as_in_a_paper():
    assert kkt(Problem.two_layer("relu"), "neuron-correlation").latex().split("\nwhere")[0] == (
        r"""\begin{align}
\mathcal{L} &= \sum_{i=1}^{n} y_i \sigma(z_i) + \frac{\mu}{2} (1 - \lVert u \rVert^{2}), \\
\mu u &= \sum_{i=1}^{n} y_i \sigma'(z_i) x_i, \\
\lVert u \rVert^{2} &= 1, \\
0 &= u^{\top} v^{u}, \\
Q(v) &= \sum_{i=1}^{n} y_i \dot{z}_i^{2} \sigma''(z_i) - \mu \lVert v^{u} \rVert^{2}, \\
Q(v) &\le 0,
\end{align}"""
    )


def test_the_cone_states_its_cases():
    tex = kkt(Problem.two_layer("tanh")).latex()
    assert r"y_i \dot{f}_i &= 0, \qquad \text{if } \lambda_i > 0," in tex
    assert r"y_i \dot{f}_i &\ge 0, \qquad \text{if } \lambda_i = 0 \text{ and } y_i f_i = 1," in tex
    text = kkt(Problem.two_layer("tanh")).text()
    assert "f_v[i]*y[i] >= 0  if lambda[i] = 0 and the constraint is active" in text


def test_notes_state_what_homogeneity_and_kinks_imply():
    notes = " ".join(kkt(Problem.two_layer("max(z, z/10)")).notes)
    assert r"$\lVert\theta\rVert^2 = 2 \sum_{i=1}^{n} \lambda_i$" in notes
    assert r"$t \in [\frac{1}{10}, 1]$" in notes
    assert "convention" not in notes  # sigma'(0) = 0 is the flow's, not Clarke's
    assert r"$\mu = 3 \mathcal{N}(\theta)$" in " ".join(
        kkt(Problem.two_layer("quadratic"), "correlation").notes
    )
    assert r"$\mu = 2 G(u)$" in " ".join(kkt(Problem.two_layer("quadratic"), "neuron-correlation").notes)
    assert "kink" not in " ".join(kkt(Problem.two_layer("tanh")).notes)


PRINTED = [
    (problem, which)
    for problem in (
        Problem.two_layer("relu", "square", input_bias=True),
        Problem.two_layer("quadratic", "logistic"),
        Problem.two_layer("relu", "square", vector_output=True),
    )
    for which in WHICH
    if not (problem.vector_output and which in ("hard-margin", "neuron-correlation"))
] + [
    (Problem.two_layer(input_bias=True, output_bias=True, weight_decay="1/10"), "norm-constrained"),
    (Problem.two_layer(input_bias=True, output_bias=True, vector_output=True), "norm-constrained"),
    (Problem.deep(3, "relu", input_bias=False, output_bias=False), "hard-margin"),
    (Problem.deep(3, "tanh", "square", vector_output=True), "norm-constrained"),
]


@pytest.mark.parametrize(("problem", "which"), PRINTED)
def test_every_form_is_complete(problem, which):
    found = kkt(problem, which)
    data = found.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert {e["sign"] for e in data["equations"]} <= {"=", "<=", ">="}
    assert any(e["sign"] != "=" for e in data["equations"])
    for tex in (found.latex(), found._repr_latex_(), *(e["latex"] for e in data["equations"])):
        assert r"{\ge}" not in tex
        assert r"{\le}" not in tex
        assert "Derivative" not in tex
        assert "Subs" not in tex
    assert found.latex().count(r"\ge") + found.latex().count(r"\le ") == sum(
        e["sign"] != "=" for e in data["equations"]
    )
    assert all(note.count("$") % 2 == 0 for note in found.notes)


@pytest.mark.tex
def test_everything_compiles_and_fits_the_line(tmp_path):
    small = instance(constrained(Problem.two_layer("relu")), [[1, 2], [-1, R(1, 2)]], [1, -1], width=2)
    found = [*(kkt(*case) for case in PRINTED), small.conditions()]
    body = "\n\n".join(u.latex() + "\n\n" + " ".join(u.notes) for u in found)
    page = (
        r"\documentclass[11pt,a4paper]{article}\usepackage[margin=25mm]{geometry}"
        r"\usepackage{amsmath,amssymb,lmodern}\allowdisplaybreaks\begin{document}" + body + r"\end{document}"
    )
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = [shutil.which("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    log = (tmp_path / "page.log").read_text(encoding="latin-1")
    assert done.returncode == 0, "\n".join(line for line in log.splitlines() if line.startswith("!"))
    wide = [float(v) for v in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) detected", log)]
    assert not wide


def test_the_norm_constrained_problem_of_a_loss_with_a_kink_says_what_holds_there():
    smooth = Problem.two_layer("tanh", "hinge")
    notes = " ".join(kkt(smooth, "norm-constrained").notes)
    assert "kink of the loss" in notes
    assert "points on no kink" in notes
    assert "kink" not in " ".join(kkt(smooth, "hard-margin").notes)  # the risk is not in it


def test_a_kink_of_an_activation_that_is_not_homogeneous_is_named():
    notes = " ".join(kkt(Problem.two_layer("abs(sin(z))", "hinge"), "hard-margin").notes)
    assert "between its limits from the two sides (Clarke)" in notes
    smooth = " ".join(kkt(Problem.two_layer("softsign", "hinge"), "hard-margin").notes)
    assert "Clarke" not in smooth
