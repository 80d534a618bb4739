"""Derived equations equal the ones derived by hand, and print as a paper prints them."""

from __future__ import annotations

import json

import pytest
from sympy import Eq, Expr, Integer, Rational, S, Symbol, sqrt

from derivations.activations import activation
from derivations.canonical import vanishes
from derivations.equations import DERIVERS, WHATS, Derivation, derive, explicit
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Index, Tensor, isum, replace_leaves
from derivations.latex_names import Partial
from derivations.problem import Problem, d, m, n, o
from derivations.second_order import tangent_kernel
from derivations.system import Definition
from derivations.vocabulary import dot, multiplied_out

I, J, K, Q, L, L1 = (
    Index("i", n),
    Index("j", n),
    Index("k", m),
    Index("q", m),
    Index("l", d),
    Index("l'", d),
)
C, C1 = Index("c", o), Index("c'", o)
ETA, LAMBDA = Symbol("eta", positive=True), Symbol("lambda", positive=True)
A, W, B, X = Tensor("a", (m,)), Tensor("w", (m, d)), Tensor("b", (m,)), Tensor("x", (n, d))
Z, F, Y, R, DELTA = (
    Tensor("z", (n, m)),
    Tensor("f", (n,)),
    Tensor("y", (n,)),
    Tensor("r", (n,)),
    Tensor("delta", (n, m)),
)


def sig(order: int, argument: Expr) -> Expr:
    return GenericFunction("sigma", (order,), argument)


def loss(order: int, i: Index) -> Expr:
    return GenericFunction("ell", (order, 0), F[i], Y[i])


def right(derivation: Derivation, lhs: Expr) -> Expr:
    """The right-hand side under a left-hand side, among equations and definitions."""
    found = [e.rhs for e in (*derivation.system, *derivation.where) if e.lhs == lhs]
    assert len(found) == 1, f"{lhs} is defined {len(found)} times in {derivation.name}"
    return found[0]


def assert_equal(found: Expr, expected: Expr) -> None:
    assert vanishes(found - expected), f"{found}\n!=\n{expected}"


# ---- two layers, by hand


def test_gradient_flow_of_the_scalar_two_layer_network():
    flow = derive(Problem.two_layer(input_bias=True), "gradient-flow")
    assert_equal(right(flow, dot(A)[K]), -isum(R[I] * sig(0, Z[I, K]), I))
    assert_equal(right(flow, dot(W)[K, L]), -isum(DELTA[I, K] * X[I, L], I))
    assert_equal(right(flow, dot(B)[K]), -isum(DELTA[I, K], I))
    assert_equal(right(flow, Z[I, K]), isum(W[K, L] * X[I, L], L) + B[K])
    assert_equal(right(flow, F[I]), isum(A[K] * sig(0, Z[I, K]), K))
    assert_equal(right(flow, R[I]), loss(1, I) / n)
    assert_equal(right(flow, DELTA[I, K]), A[K] * R[I] * sig(1, Z[I, K]))


def test_the_hand_comparison_is_able_to_fail():
    flow = derive(Problem.two_layer(), "gradient-flow")
    with pytest.raises(AssertionError, match="!="):
        assert_equal(right(flow, dot(A)[K]), isum(R[I] * sig(0, Z[I, K]), I))


def test_rates_decay_and_frozen_blocks():
    problem = Problem.two_layer(
        input_bias=True, output_bias=True, weight_decay=LAMBDA, rate=(("w", ETA),), freeze=("b",)
    )
    flow = derive(problem, "gradient-flow")
    assert_equal(right(flow, dot(A)[K]), -isum(R[I] * sig(0, Z[I, K]), I) - LAMBDA * A[K])
    assert_equal(right(flow, dot(W)[K, L]), -ETA * (isum(DELTA[I, K] * X[I, L], I) + LAMBDA * W[K, L]))
    assert right(flow, dot(B)[K]) == 0
    c = Tensor("c")
    assert_equal(right(flow, dot(c)()), -isum(R[I], I) - LAMBDA * c())
    notes = " ".join(flow.notes)
    assert r"-\eta \nabla R" in notes
    assert "block $b$ is not trained" in notes


def test_vector_outputs_with_scale_and_factor():
    problem = Problem.two_layer(
        input_bias=True, vector_output=True, scale="1/sqrt(m)", factor="2", reduction="sum"
    )
    flow = derive(problem, "gradient-flow")
    a, r, f, y = Tensor("a", (m, o)), Tensor("r", (n, o)), Tensor("f", (n, o)), Tensor("y", (n, o))
    assert_equal(right(flow, dot(a)[K, C]), -isum(r[I, C] * sig(0, Z[I, K]), I) / sqrt(m))
    assert_equal(right(flow, r[I, C]), 2 * GenericFunction("ell", (1, 0), f[I, C], y[I, C]))
    assert_equal(right(flow, DELTA[I, K]), sig(1, Z[I, K]) * isum(a[K, C] * r[I, C], C) / sqrt(m))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("square", (F[I] - Y[I]) / n), ("correlation", -Y[I] / n)],
)
def test_the_loss_is_written_out_in_the_weights(name, expected):
    assert_equal(right(derive(Problem.two_layer(loss=name), "gradient-flow"), R[I]), expected)


def test_backpropagation_through_three_layers():
    flow = derive(Problem.deep(3), "gradient-flow")
    m1, m2 = Problem.deep(3).hidden_dims
    p1, q1, p2 = Index("p", m1), Index("q", m1), Index("p", m2)
    q2, q0 = Index("q", m2), Index("q", d)
    w1, w2, w3 = Tensor("W1", (m1, d)), Tensor("W2", (m2, m1)), Tensor("W3", (m2,))
    z1, z2 = Tensor("z1", (n, m1)), Tensor("z2", (n, m2))
    d1, d2 = Tensor("delta1", (n, m1)), Tensor("delta2", (n, m2))
    assert_equal(right(flow, dot(w3)[q2]), -isum(R[I] * sig(0, z2[I, q2]), I))
    assert_equal(right(flow, dot(w2)[p2, q1]), -isum(d2[I, p2] * sig(0, z1[I, q1]), I))
    assert_equal(right(flow, dot(w1)[p1, q0]), -isum(d1[I, p1] * X[I, q0], I))
    assert_equal(right(flow, dot(Tensor("b2", (m2,)))[p2]), -isum(d2[I, p2], I))
    assert_equal(right(flow, dot(Tensor("b3"))()), -isum(R[I], I))
    assert_equal(right(flow, d2[I, p2]), w3[p2] * R[I] * sig(1, z2[I, p2]))
    assert_equal(right(flow, d1[I, p1]), sig(1, z1[I, p1]) * isum(w2[q2, p1] * d2[I, q2], q2))
    assert_equal(right(flow, z2[I, p2]), isum(w2[p2, q1] * sig(0, z1[I, q1]), q1) + Tensor("b2", (m2,))[p2])


def test_hessian_blocks():
    hessian = derive(Problem.two_layer(input_bias=True), "hessian")
    assert len(hessian.system) == 6
    second = loss(2, I) / n
    assert_equal(
        right(hessian, Partial("R", A, A)[K, Q]), isum(second * sig(0, Z[I, K]) * sig(0, Z[I, Q]), I)
    )
    assert_equal(
        right(hessian, Partial("R", A, W)[K, Q, L1]),
        Delta(K, Q) * isum(R[I] * sig(1, Z[I, K]) * X[I, L1], I)
        + A[Q] * isum(second * sig(0, Z[I, K]) * sig(1, Z[I, Q]) * X[I, L1], I),
    )
    assert_equal(
        right(hessian, Partial("R", W, W)[K, L, Q, L1]),
        Delta(K, Q) * A[K] * isum(R[I] * sig(2, Z[I, K]) * X[I, L] * X[I, L1], I)
        + A[K] * A[Q] * isum(second * sig(1, Z[I, K]) * sig(1, Z[I, Q]) * X[I, L] * X[I, L1], I),
    )


def test_hessian_leaves_out_frozen_blocks_and_keeps_the_decay():
    hessian = derive(Problem.two_layer(loss="square", freeze=("a",), weight_decay=LAMBDA), "hessian")
    assert [e.lhs for e in hessian.system] == [Partial("R", W, W)[K, L, Q, L1]]
    assert_equal(
        hessian.system[0].rhs,
        LAMBDA * Delta(K, Q) * Delta(L, L1)
        + Delta(K, Q) * A[K] * isum(R[I] * sig(2, Z[I, K]) * X[I, L] * X[I, L1], I)
        + A[K] * A[Q] * isum(sig(1, Z[I, K]) * sig(1, Z[I, Q]) * X[I, L] * X[I, L1], I) / n,
    )


def test_multiplying_out_changes_no_value():
    expr, *_ = Problem.two_layer(vector_output=True, input_bias=True).hessian_block("w", "w")
    assert_equal(multiplied_out(expr), expr)


def test_tangent_kernel_of_two_layers():
    kernel, _ = tangent_kernel(Problem.two_layer(input_bias=True), (), ())
    inner = isum(X[I, L] * X[J, L], L) + 1
    assert_equal(
        kernel,
        isum(sig(0, Z[I, K]) * sig(0, Z[J, K]), K)
        + inner * isum(A[K] ** 2 * sig(1, Z[I, K]) * sig(1, Z[J, K]), K),
    )


def test_tangent_kernel_of_vector_outputs_with_rates():
    problem = Problem.two_layer(vector_output=True, output_bias=True, scale="1/sqrt(m)", rate=(("a", ETA),))
    kernel, _ = tangent_kernel(problem, (C,), (C1,))
    a = Tensor("a", (m, o))
    assert_equal(
        kernel,
        ETA / m * Delta(C, C1) * isum(sig(0, Z[I, K]) * sig(0, Z[J, K]), K)
        + isum(X[I, L] * X[J, L], L) * isum(a[K, C] * a[K, C1] * sig(1, Z[I, K]) * sig(1, Z[J, K]), K) / m
        + Delta(C, C1),
    )


def test_tangent_kernel_leaves_out_frozen_blocks():
    kernel, _ = tangent_kernel(Problem.two_layer(freeze=("w",)), (), ())
    assert_equal(kernel, isum(sig(0, Z[I, K]) * sig(0, Z[J, K]), K))


@pytest.mark.parametrize("vector", [False, True])
def test_the_deep_kernel_is_that_of_the_jacobian(vector):
    problem = Problem.deep(3, vector_output=vector)
    first, second = ((C,), (C1,)) if vector else ((), ())
    kernel, extra = tangent_kernel(problem, first, second)
    for equation in reversed(extra):
        slots = equation.lhs.indices
        rules = {equation.lhs.tensor: _substituted(equation.rhs, slots)}
        kernel = replace_leaves(kernel, rules)
    expected: Expr = Integer(0)
    for block in problem.blocks:
        target = tuple(Index(f"t{p}", u.dim) for p, u in enumerate(block.indices))
        left = problem.system.jacobian(problem.output, (I, *first), block.tensor, target)
        other = problem.system.jacobian(problem.output, (J, *second), block.tensor, target)
        expected += isum(left * other, *target)
    assert_equal(kernel, expected)


def _substituted(expr, slots):
    return lambda *u: Definition(Tensor("unused", tuple(s.dim for s in slots)), slots, expr).at(u)


def test_critical_equations_are_the_trained_gradients():
    problem = Problem.two_layer(input_bias=True, freeze=("a",))
    critical = derive(problem, "critical-equations")
    assert [e.lhs for e in critical.system] == [0, 0]
    assert_equal(critical.system[0].rhs, isum(DELTA[I, K] * X[I, L], I))


def test_risk_with_a_penalty_keeps_its_value():
    problem = Problem.two_layer("tanh", "square", weight_decay=LAMBDA, factor="2")
    risk = derive(problem, "risk")
    squares = isum(A[K] ** 2, K) + isum(W[K, L] ** 2, K, L)
    assert_equal(right(risk, problem.risk()), isum((F[I] - Y[I]) ** 2, I) / n + LAMBDA / 2 * squares)


# ---- what is printed


def printed(derivation: Derivation) -> list[str]:
    equations = (*derivation.system, *derivation.where)
    return [f"{row.left} = {row.tex}" for row in derivation.rows(equations)]


def test_print_of_the_gradient_flow():
    flow = derive(Problem.two_layer("tanh", "square", input_bias=True), "gradient-flow")
    assert printed(flow) == [
        r"\dot{a}_k = -\sum_{i=1}^{n} r_i \sigma(z_{ik})",
        r"\dot{w}_k = -\sum_{i=1}^{n} \delta_{ik} x_i",
        r"\dot{b}_k = -\sum_{i=1}^{n} \delta_{ik}",
        r"z_{ik} = w_k^{\top} x_i + b_k",
        r"f_i = \sum_{k=1}^{m} a_k \sigma(z_{ik})",
        r"r_i = \frac{1}{n} (f_i - y_i)",
        r"\delta_{ik} = a_k r_i \sigma'(z_{ik})",
        r"\sigma(z) = \tanh(z)",
        r"\sigma'(z) = 1 - \tanh^{2}(z)",
    ]


def test_print_of_a_general_problem():
    flow = derive(Problem.two_layer(), "gradient-flow")
    assert r"r_i = \frac{1}{n} \ell'(f_i, y_i)" in printed(flow)
    assert not any(r"\sigma(z) =" in line for line in printed(flow))


def test_print_of_the_hessian():
    shown = printed(derive(Problem.two_layer(input_bias=True), "hessian"))
    assert shown[3] == (
        r"\frac{\partial^{2} R}{\partial w_k \, \partial w_q^{\top}} = "
        r"\delta_{kq} a_k \sum_{i=1}^{n} r_i \sigma''(z_{ik}) x_i x_i^{\top} + "
        r"\frac{1}{n} a_k a_q \sum_{i=1}^{n} \ell''(f_i, y_i) \sigma'(z_{ik}) \sigma'(z_{iq}) x_i x_i^{\top}"
    )


def test_print_of_the_kernel():
    shown = printed(derive(Problem.two_layer(input_bias=True), "ntk"))
    assert shown[:2] == [
        r"\Theta_{ij} = \sum_{k=1}^{m} \sigma(z_{ik}) \sigma(z_{jk}) + "
        r"(x_i^{\top} x_j + 1) \sum_{k=1}^{m} a_k^{2} \sigma'(z_{ik}) \sigma'(z_{jk})",
        r"\dot{f}_i = -\sum_{j=1}^{n} \Theta_{ij} r_j",
    ]


def test_print_of_the_risk():
    shown = printed(derive(Problem.two_layer("tanh", "square", weight_decay=LAMBDA), "risk"))
    assert shown[2] == (
        r"R = \frac{1}{2 n} \sum_{i=1}^{n} (f_i - y_i)^{2} + "
        r"\frac{\lambda}{2} \Bigl(\sum_{k=1}^{m} a_k^{2} + \sum_{k=1}^{m} \lVert w_k \rVert^{2}\Bigr)"
    )


def test_print_of_back_propagation():
    shown = printed(derive(Problem.deep(3), "gradient-flow"))
    assert r"\dot{W}^{(1)}_{pq} = -\sum_{i=1}^{n} \delta^{(1)}_{ip} x_{iq}" in shown
    assert (
        r"\delta^{(1)}_{ip} = \sigma'\bigl(z^{(1)}_{ip}\bigr) \sum_{q=1}^{m_2} W^{(2)}_{qp} \delta^{(2)}_{iq}"
        in shown
    )


def test_the_output_bias_never_carries_its_own_letter_as_index():
    flow = derive(Problem.two_layer(vector_output=True, output_bias=True), "gradient-flow")
    assert r"\dot{c}_u = -\sum_{i=1}^{n} r_{iu}" in printed(flow)
    assert "c_c" not in flow.latex()


def test_kinks_are_said():
    notes = " ".join(derive(Problem.two_layer("relu"), "gradient-flow").notes)
    assert "almost everywhere" in notes
    assert r"\sigma'(0) = 0" in notes


def test_the_kink_of_a_loss_is_said_where_it_is_differentiated():
    hinge = Problem.two_layer("tanh", "hinge")
    for what in ("gradient", "hessian", "output-dynamics", "small-weights"):
        assert "The loss has a kink" in " ".join(derive(hinge, what).notes), what
    assert "The loss has a kink" not in " ".join(derive(hinge, "risk").notes)
    assert "kink" not in " ".join(derive(Problem.two_layer("tanh", "logistic"), "hessian").notes)


def test_a_stated_value_at_the_kink_is_printed_and_explained():
    flow = derive(Problem.two_layer(activation("relu", kink=Rational(1, 2))), "gradient-flow")
    assert r"\sigma'(z) = \operatorname{step}_{1/2}(z)" in printed(flow)
    assert any(r"\operatorname{step}_{1/2}(z)$ is 0 for $z < 0$" in note for note in flow.notes)


# ---- written out


def test_explicit_equations_of_one_neuron():
    found = explicit(Problem.two_layer("tanh", "square", input_bias=True), {"m": 1, "d": 1, "n": 5})
    assert printed(found) == [
        r"\dot{a} = -\frac{1}{5} \sum_{i=1}^{5} (f_i - y_i) \tanh(w x_i + b)",
        r"\dot{w} = -\frac{1}{5} a \sum_{i=1}^{5} (f_i - y_i) \bigl(1 - \tanh^{2}(w x_i + b)\bigr) x_i",
        r"\dot{b} = -\frac{1}{5} a \sum_{i=1}^{5} (f_i - y_i) \bigl(1 - \tanh^{2}(w x_i + b)\bigr)",
        r"f_i = a \tanh(w x_i + b)",
    ]


def test_explicit_names_follow_the_sizes():
    problem = Problem.two_layer("tanh", "square")
    left = [row.split(" = ")[0] for row in printed(explicit(problem, {"m": 2, "d": 2}))]
    assert left == [
        r"\dot{a}_1",
        r"\dot{a}_2",
        r"\dot{w}_{11}",
        r"\dot{w}_{12}",
        r"\dot{w}_{21}",
        r"\dot{w}_{22}",
        "f_i",
    ]
    assert [row.split(" = ")[0] for row in printed(explicit(problem, {"m": 2, "d": 1}))][2:4] == [
        r"\dot{w}_1",
        r"\dot{w}_2",
    ]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"m": 2}, "missing: d"),
        ({"m": 2, "d": 0}, "size d = 0"),
        ({"m": 2, "d": 1, "p": 1}, "size p = 1"),
        ({"m": 40, "d": 4}, "at most 60"),
    ],
)
def test_explicit_refuses_what_it_cannot_write(sizes, message):
    with pytest.raises(ValueError, match=message):
        explicit(Problem.two_layer("tanh"), sizes)


# ---- the record


def test_unknown_derivation_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'hessian'"):
        derive(Problem.two_layer(), "hesian")


@pytest.mark.parametrize("what", WHATS)
def test_every_form_of_a_derivation(what):
    found = derive(Problem.two_layer("sigmoid", "logistic", input_bias=True, vector_output=True), what)
    assert found.name == what
    assert all(isinstance(e, Eq) for e in found.equations)
    assert found.latex().startswith(r"\begin{align}")
    assert found._repr_latex_().startswith("$$\n\\begin{aligned}")
    stored = json.loads(json.dumps(found.to_dict()))
    assert set(stored) == {"name", "title", "equations", "where", "notes", "latex"}
    assert len(stored["equations"]) == len(found.system)
    assert {"lhs", "rhs", "latex", "text"} <= set(stored["equations"][0])
    assert stored["equations"][0]["text"] in found.text()
    assert "_n1" not in found.text()
    assert "_f" not in found.text()


def test_registry_holds_what_is_promised():
    assert set(WHATS) <= set(DERIVERS)


def test_equations_are_sympy_objects_that_can_be_used():
    flow = derive(Problem.two_layer(), "gradient-flow")
    first = flow.equations[0]
    assert (first.lhs, first.rhs) == (dot(A)[K], -isum(R[I] * sig(0, Z[I, K]), I))
    assert first.rhs.subs(R[I], S.Zero) == first.rhs  # a bound index is not the free one of that name


def test_constants_stay_exact():
    flow = derive(Problem.two_layer(weight_decay="1/10"), "gradient-flow")
    assert right(flow, dot(A)[K]).coeff(A[K]) == Rational(-1, 10)
