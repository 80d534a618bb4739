"""Derived value, gradient, Hessian and Hessian-vector product against autograd of independent plain PyTorch."""

from __future__ import annotations

import itertools
import re
import weakref

import pytest
import torch
from sympy import Integer, Rational, Symbol
from torch.utils._python_dispatch import TorchDispatchMode

from derivations.activations import REGISTRY as ACTIVATIONS
from derivations.activations import activation
from derivations.formula_model import FormulaProblem
from derivations.indexed import Delta, Dim, Index, Tensor, isum
from derivations.losses import REGISTRY as LOSSES
from derivations.losses import loss
from derivations.problem import Problem, m, n
from numerics import emit_batches
from numerics.compile import CompiledSystem, compile_system
from numerics.reference import Reference, finite_difference_gradient
from numerics.tolerances import FINITE_DIFFERENCES, same_formula

SEED = 7


def draw(*shape: int, seed: int = SEED) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agree(found: torch.Tensor, wanted: torch.Tensor, bound: float, what: str) -> None:
    """Relative to the largest magnitude in the array, which is finite and not empty."""
    assert found.shape == wanted.shape, (what, found.shape, wanted.shape)
    assert torch.isfinite(wanted).all()
    error = float((found.double() - wanted).abs().max())
    assert error <= bound * float(wanted.abs().max()), (what, error, float(wanted.abs().max()))


def check(system: CompiledSystem, oracle: Reference, theta: torch.Tensor) -> None:
    """Compare everything a system offers with the hand-written network at points of shape (..., P)."""
    bound = same_formula(system.dtype)
    v = draw(*theta.shape, seed=99).to(theta.dtype)
    at, direction = theta.double(), v.double()
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert all(result.dtype == system.dtype for result in (value, gradient, hessian))
    agree(system.outputs(theta), oracle.outputs(at), bound, "outputs")
    agree(value, oracle.value(at), bound, "value")
    agree(gradient, oracle.gradient(at), bound, "gradient")
    agree(hessian, oracle.hessian(at), bound, "hessian")
    agree(system.hvp(theta, v), oracle.hvp(at, direction), bound, "hvp")
    agree(hessian, hessian.mT.double(), bound, "symmetry")


def two_layer(
    sigma="tanh", ell="square", vector=False, width=3, samples=5, inputs=2, dtype=torch.float64, **options
):
    """A compiled two-layer problem, and its oracle with the same options."""
    x, y = draw(samples, inputs), draw(samples, 2, seed=8) if vector else draw(samples, seed=8)
    if ell in ("logistic", "exponential", "hinge", "linear_hinge", "correlation"):
        y = y.sign()
    problem = Problem.two_layer(sigma, ell, vector_output=vector, **options)
    numbers = {key: value for key, value in options.items() if key != "scale"}
    scale = float(problem.scale.subs({m: width, Symbol("d", integer=True, positive=True): inputs}))
    numbers = {k: float(Rational(u)) if k in ("factor", "weight_decay") else u for k, u in numbers.items()}
    oracle = Reference(x, y, activation=sigma, loss=ell, widths=(width,), scale=scale, kink=0.0, **numbers)
    return compile_system(problem, x, y, width, dtype=dtype), oracle


@pytest.mark.parametrize("ell", [*LOSSES, "linear_hinge"])
@pytest.mark.parametrize("sigma", ACTIVATIONS)
def test_every_activation_with_every_loss(sigma, ell):
    system, oracle = two_layer(sigma, ell, input_bias=True)
    check(system, oracle, draw(2, system.P, seed=3) / 2)


@pytest.mark.parametrize(
    ("vector", "input_bias", "output_bias", "reduction"),
    list(itertools.product([False, True], [False, True], [False, True], ["mean", "sum"])),
)
def test_every_layout_with_scale_factor_and_decay(vector, input_bias, output_bias, reduction):
    system, oracle = two_layer(
        vector=vector,
        input_bias=input_bias,
        output_bias=output_bias,
        reduction=reduction,
        scale="1/sqrt(m*d)",
        factor="3/2",
        weight_decay="1/7",
    )
    check(system, oracle, draw(2, system.P))


@pytest.mark.parametrize(
    ("depth", "input_bias", "output_bias", "vector"),
    [
        *itertools.product([2, 3], [True, False], [True, False], [True, False]),
        (4, True, True, False),
        (4, False, False, True),
    ],
)
def test_deep_networks(depth, input_bias, output_bias, vector):
    widths = (3, 2, 4)[: depth - 1]
    x, y = draw(4, 2), draw(4, 2, seed=8) if vector else draw(4, seed=8)
    options = {"input_bias": input_bias, "output_bias": output_bias}
    problem = Problem.deep(depth, "tanh", "square", vector_output=vector, weight_decay="1/5", **options)
    oracle = Reference(
        x, y, activation="tanh", loss="square", widths=widths, kind="deep", weight_decay=0.2, **options
    )
    system = compile_system(problem, x, y, widths)
    check(system, oracle, draw(2, system.P))


@pytest.mark.parametrize("sigma", ["softplus", "relu"])
def test_a_deep_network_with_the_logistic_loss(sigma):
    x, y = draw(4, 2), draw(4, seed=8).sign()
    options = {"input_bias": True, "output_bias": True}
    system = compile_system(Problem.deep(3, sigma, "logistic", **options), x, y, (3, 2))
    oracle = Reference(x, y, activation=sigma, loss="logistic", widths=(3, 2), kind="deep", **options)
    check(system, oracle, draw(2, system.P))


@pytest.mark.parametrize("sigma", ["tanh", "relu", "erf", "softplus"])
def test_float32_is_computed_in_float32_and_to_its_bound(sigma):
    system, _ = two_layer(sigma, vector=True, input_bias=True, output_bias=True, dtype=torch.float32)
    _, oracle = two_layer(sigma, vector=True, input_bias=True, output_bias=True)
    rounded = Reference(
        system.x.double(),
        system.y.double(),
        activation=sigma,
        loss="square",
        widths=oracle.widths,
        input_bias=True,
        output_bias=True,
    )
    check(system, rounded, draw(2, system.P).float())


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 3)])
def test_results_keep_the_leading_axes_of_theta(lead):
    system, oracle = two_layer(input_bias=True)
    theta = draw(*lead, system.P)
    check(system, oracle, theta)
    assert system.value(theta).shape == lead
    assert system.gradient(theta).shape == (*lead, system.P)
    assert system.hessian(theta).shape == (*lead, system.P, system.P)
    assert system.outputs(theta).shape == (*lead, 5)


def test_an_empty_batch_gives_empty_results():
    system, _ = two_layer(input_bias=True)
    theta = torch.empty(0, system.P, dtype=torch.float64)
    assert system.gradient(theta).shape == (0, system.P)
    assert system.hessian(theta).shape == (0, system.P, system.P)


@pytest.mark.parametrize(("samples", "width", "inputs"), [(1, 3, 2), (5, 1, 2), (5, 3, 1), (1, 1, 1)])
@pytest.mark.parametrize("vector", [False, True])
def test_sizes_of_one(samples, width, inputs, vector):
    system, oracle = two_layer(
        vector=vector, samples=samples, width=width, inputs=inputs, input_bias=True, output_bias=True
    )
    check(system, oracle, draw(2, system.P))


def test_the_same_source_serves_other_sizes():
    small, _ = two_layer(input_bias=True)
    large, oracle = two_layer(input_bias=True, samples=40, width=17, inputs=6)
    assert small.source == large.source
    check(large, oracle, draw(1, large.P))


def test_batches_are_rows_of_single_points():
    system, _ = two_layer("gelu", "logistic", input_bias=True, output_bias=True)
    theta = draw(4, system.P)
    agree(system.gradient(theta), torch.stack([system.gradient(t) for t in theta]), 1e-15 * 10, "rows")


@pytest.mark.parametrize("kink", [0, 1, Rational(1, 2), Rational(1, 3)])
@pytest.mark.parametrize("sigma", ["relu", "abs"])
def test_the_derivative_at_a_kink_is_the_stated_one(sigma, kink):
    # w x + b = 0 at the only sample: dR/dw = (f - y) a sigma'(0) x with f = 0.
    problem = Problem.two_layer(activation(sigma, kink=kink), "square", input_bias=True)
    system = compile_system(problem, [[2.0]], [3.0], 1)
    theta = system.pack({"a": [5.0], "w": [[1.0]], "b": [-2.0]})
    expected = torch.tensor([0.0, -30.0, -15.0], dtype=torch.float64) * torch.tensor(
        [1.0, float(kink), float(kink)], dtype=torch.float64
    )
    torch.testing.assert_close(system.gradient(theta), expected, rtol=1e-15, atol=0)
    oracle = Reference(
        system.x, system.y, activation=sigma, loss="square", widths=(1,), input_bias=True, kink=float(kink)
    )
    agree(system.gradient(theta[None]) + 1, oracle.gradient(theta[None]) + 1, 1e-15, "oracle")


@pytest.mark.parametrize(
    "sigma", ["max(z, z/10)", "abs(z)*z", "sign(z)", "min(max(z, 0), 1)", "max(0, z)**2"]
)
def test_formulas_with_kinks_have_derivatives_almost_everywhere(sigma):
    system = compile_system(Problem.two_layer(sigma, "square", input_bias=True), draw(4, 2), draw(4), 2)
    theta = draw(system.P, seed=5)
    gradient, _ = finite_difference_gradient(system.value, theta)
    hessian, _ = finite_difference_gradient(system.gradient, theta)
    agree(system.gradient(theta), gradient, FINITE_DIFFERENCES, "gradient")
    agree(system.hessian(theta), hessian, FINITE_DIFFERENCES, "hessian")


def test_a_leaky_relu_has_the_stated_slope_at_zero():
    for kink in (0, Rational(1, 3)):
        problem = Problem.two_layer(activation("max(z, z/10)", kink=kink), "correlation")
        system = compile_system(problem, [[1.0]], [-1.0], 1)
        theta = system.pack({"a": [1.0], "w": [[0.0]]})
        assert float(system.gradient(theta)[1]) == pytest.approx(float(kink), abs=1e-15)


@pytest.mark.parametrize("ell", ["(1 - y*f)**2", "log(1 + (f - y)**2)", "max(0, 1 - y*f)**2"])
@pytest.mark.parametrize("sigma", ["z/(1 + z**2)", "z*(1 + erf(z/sqrt(2)))/2", "atan(z)"])
def test_formulas_agree_with_differences_of_lower_derivatives(sigma, ell):
    system = compile_system(Problem.two_layer(sigma, ell, input_bias=True), draw(4, 2), draw(4).sign(), 2)
    theta = draw(system.P, seed=5)
    agree(system.gradient(theta), finite_difference_gradient(system.value, theta)[0], FINITE_DIFFERENCES, "g")
    agree(
        system.hessian(theta), finite_difference_gradient(system.gradient, theta)[0], FINITE_DIFFERENCES, "h"
    )


def test_rational_constants_are_not_divided_as_integers():
    problem = Problem.two_layer("2*z/3", "square", factor=Rational(1, 3), weight_decay=Rational(1, 7))
    system = compile_system(problem, [[1.0]], [0.0], 1)
    value = system.value(system.pack({"a": [1.0], "w": [[1.0]]}))
    assert float(value) == pytest.approx((2 / 3) ** 2 / 6 + 1 / 7, rel=1e-15)


@pytest.mark.parametrize("margin", [-1000.0, 1000.0])
def test_the_logistic_loss_neither_overflows_nor_cancels(margin):
    system = compile_system(Problem.two_layer("linear", "logistic"), [[1.0]], [1.0], 1)
    theta = system.pack({"a": [1.0], "w": [[margin]]})
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert float(value) == max(0.0, -margin)
    assert gradient.tolist() == ([1000.0, -1.0] if margin < 0 else [0.0, 0.0])
    assert torch.isfinite(hessian).all()


@pytest.mark.parametrize("sigma", ["tanh", "sigmoid", "erf", "gelu", "silu", "softplus", "gaussian", "relu"])
def test_saturated_units_have_finite_derivatives(sigma):
    system = compile_system(
        Problem.two_layer(sigma, "square", input_bias=True), [[1.0], [-1.0]], [0.5, 1.0], 1
    )
    theta = system.pack({"a": [1.0], "w": [[500.0]], "b": [0.0]})
    value, gradient, hessian = system.value_gradient_hessian(theta)
    assert all(bool(torch.isfinite(result).all()) for result in (value, gradient, hessian))


def test_small_values_of_the_logistic_loss_keep_their_digits():
    system = compile_system(Problem.two_layer("linear", "logistic"), [[1.0]], [1.0], 1)
    theta = system.pack({"a": [1.0], "w": [[40.0]]})
    assert float(system.value(theta)) == pytest.approx(4.248354255291589e-18, rel=1e-12)  # log(1 + e^-40)


def test_permuting_neurons_or_outputs_permutes_the_derivatives():
    system, _ = two_layer(vector=True, input_bias=True, output_bias=True)
    theta = draw(system.P)
    blocks = system.unpack(theta)
    order = torch.tensor([2, 0, 1])
    moved = {name: block if name == "c" else block[order] for name, block in blocks.items()}
    gradient = system.unpack(system.gradient(theta))
    permuted = system.unpack(system.gradient(system.pack(moved)))
    for name, block in gradient.items():
        agree(permuted[name], block if name == "c" else block[order], 1e-14, name)


def test_labels_in_another_order_give_the_transposed_result():
    system, _ = two_layer("tanh", input_bias=True)
    problem, theta = system.problem, draw(2, system.P)
    z, i, k = next(d.tensor for d in problem.system if d.tensor.name == "z"), Index("i", n), Index("k", m)
    found = system.evaluate(problem.derived, {"ik": (z[i, k], (i, k)), "ki": (z[i, k], (k, i))}, theta)
    blocks = system.unpack(theta)
    wanted = torch.einsum("il,bkl->bik", system.x, blocks["w"]) + blocks["b"][:, None, :]
    agree(found["ik"], wanted, 1e-14, "ik")
    assert torch.equal(found["ki"], found["ik"].transpose(1, 2))


def test_evaluate_takes_expressions_over_leaves_definitions_and_sizes():
    system, oracle = two_layer("tanh", input_bias=True)
    problem, theta = system.problem, draw(2, system.P)
    a, i, j, k, q = problem.block("a").tensor, Index("i", n), Index("j", n), Index("k", m), Index("q", m)
    f = problem.output
    kernel = isum(problem.derived.jacobian(f, (i,), a, (k,)) * problem.derived.jacobian(f, (j,), a, (k,)), k)
    outputs = {
        "kernel": (kernel, (i, j)),
        "identity": (Delta(k, q), (k, q)),
        "size": (Integer(3) * n / m, ()),
        "ones": (Integer(1), (i, k)),
    }
    found = system.evaluate(problem.derived, outputs, theta)
    columns = oracle.jacobian(theta)[..., :3]
    agree(found["kernel"], columns @ columns.mT, 1e-13, "kernel")
    assert torch.equal(found["identity"], torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert found["size"].tolist() == [5.0, 5.0]
    assert torch.equal(found["ones"], torch.ones(2, 5, 3, dtype=torch.float64))
    assert system.evaluate(problem.derived, {"a": (a[k], (k,))}, theta[0])["a"].shape == (3,)


def test_evaluate_refuses_what_it_has_no_number_for():
    system, _ = two_layer("tanh", input_bias=True)
    theta, k = draw(system.P), Index("k", m)
    with pytest.raises(ValueError, match="no number is known for s; known are n, d, m"):
        system.evaluate(system.problem.derived, {"s": (Symbol("s"), ())}, theta)
    with pytest.raises(ValueError, match="nothing is known of the tensors u"):
        system.evaluate(system.problem.derived, {"u": (Tensor("u", (m,))[k], (k,))}, theta)


def test_flow_and_its_jacobian_use_the_rates_and_freeze():
    problem = Problem.two_layer("tanh", "square", input_bias=True, freeze=("b",), rate=(("w", Integer(3)),))
    system = compile_system(problem, draw(4, 2), draw(4), 2)
    theta = draw(system.P)
    rates = torch.tensor([1.0] * 2 + [3.0] * 4 + [0.0] * 2, dtype=torch.float64)
    assert torch.equal(system.rates, rates)
    assert torch.equal(system.flow(theta), -rates * system.gradient(theta))
    assert torch.equal(system.flow_jacobian(theta), -rates[:, None] * system.hessian(theta))
    assert float(system.gradient(theta)[-2:].abs().min()) > 0  # the true derivative of a frozen block


@pytest.mark.parametrize("vector", [False, True])
def test_the_kernel_is_that_of_trained_blocks_with_rates_and_the_jacobian_that_of_all(vector):
    options = {"freeze": ("b",), "rate": (("w", Integer(3)),)}
    x, y = draw(4, 2), draw(4, 2, seed=8) if vector else draw(4, seed=8)
    problem = Problem.two_layer("tanh", "square", input_bias=True, vector_output=vector, **options)
    system = compile_system(problem, x, y, 2)
    oracle = Reference(x, y, activation="tanh", loss="square", widths=(2,), input_bias=True)
    for lead in ((), (3,), (9,)):
        theta = draw(*lead, system.P)
        jacobian = oracle.jacobian(theta)
        agree(system.jacobian(theta), jacobian, 1e-13, "jacobian")
        rows = jacobian.reshape(*lead, y.numel(), system.P)
        wanted = (rows * system.rates) @ rows.mT
        agree(system.ntk(theta), wanted.reshape(*lead, *y.shape, *y.shape), 1e-13, "kernel")
    # The outputs move by minus kernel times residual weights along the flow.
    r = (system.outputs(theta) - y) / len(y)
    moved = -(wanted @ r.reshape(*lead, -1, 1))[..., 0]
    along = (rows @ system.flow(theta)[..., None])[..., 0]
    agree(along, moved, 1e-12, "flow of the outputs")


def test_pack_inverts_unpack_and_names_what_is_wrong():
    system, _ = two_layer(input_bias=True)
    theta = draw(system.P)
    assert torch.equal(system.pack(system.unpack(theta)), theta)
    good = {name: block.tolist() for name, block in system.unpack(theta).items()}
    for change, message in (
        ({"e": [1.0]}, "unknown block 'e'; this model has a, w, b"),
        ({"a": [1.0]}, r"block 'a' has shape \(1,\), required is \(3,\)"),
        ({"a": "text"}, "block 'a' is not an array"),
        ({"a": [1.0, float("nan"), 0.0]}, "block 'a' holds a number that is not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            system.pack(good | change)
    with pytest.raises(ValueError, match=r"block 'b' of shape \(3,\) is missing"):
        system.pack({"a": good["a"], "w": good["w"]})


@pytest.mark.parametrize(
    ("x", "y", "width", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], 1, r"x has shape \(2,\), required is \(n, d\)"),
        ([[1.0], [2.0]], [1.0], 1, r"y has shape \(1,\), required is \(2,\)"),
        ([[1.0], [2.0]], [[1.0], [2.0]], 1, r"y has shape \(2, 1\), required is \(2,\)"),
        ([[1.0], [float("inf")]], [1.0, 2.0], 1, "x holds a number that is not finite"),
        ([[1.0], [2.0]], [1.0, 2.0], 0, "every width is at least 1"),
        ([[1.0], [2.0]], [1.0, 2.0], [1, 2], "2 widths given, the network has 1 hidden layers"),
    ],
)
def test_data_that_do_not_fit_are_refused(x, y, width, message):
    with pytest.raises(ValueError, match=message):
        compile_system(Problem.two_layer("tanh", "square"), x, y, width)


def test_points_that_do_not_fit_are_refused():
    system, _ = two_layer(input_bias=True)
    theta = draw(2, system.P)
    with pytest.raises(ValueError, match="the last axis must be P = 12"):
        system.value(theta[:, :3])
    with pytest.raises(ValueError, match=r"theta is torch\.float32 on cpu, this system is torch\.float64"):
        system.value(theta.float())
    with pytest.raises(ValueError, match="v has shape"):
        system.hvp(theta, draw(3, system.P))


def test_a_general_activation_or_loss_cannot_be_compiled():
    for problem in (Problem.two_layer(None, "square"), Problem.two_layer("tanh", None)):
        with pytest.raises(ValueError, match="needs a concrete activation and loss"):
            compile_system(problem, [[1.0]], [1.0], 1)


def test_the_margin_of_the_linear_hinge_is_used():
    problem = Problem.two_layer("linear", loss("linear_hinge", margin=Rational(5, 2)))
    system = compile_system(problem, [[1.0]], [1.0], 1)
    assert float(system.value(system.pack({"a": [1.0], "w": [[1.0]]}))) == 1.5


def test_one_direction_serves_every_point():
    system, _ = two_layer(input_bias=True)
    theta, v = draw(3, system.P), draw(system.P)
    agree(system.hvp(theta, v), system.hvp(theta, v.expand(3, -1)), 1e-15, "hvp")


def test_dimension_symbols_are_shared():
    assert Dim("m") == m


# -- layouts -------------------------------------------------------------------------------------------------------

#: Leading axes of theta, limits that force the layout at these sizes, and the plan that must have served the points.
#: With 5 samples and 3 neurons, 72 bytes are 3 rows of an array of 8-byte numbers, so that 3 does not divide 5.
LAYOUTS = {
    "one point": ((), {}, "one"),
    "one point in blocks of samples": ((), {"SWEEP": 1, "BLOCK": 72}, "one"),
    "few points": ((3,), {}, "first"),
    "few points in pieces": ((5,), {"TINY": 0, "PIECE": 480}, "first"),
    "many points of a tiny network": ((9,), {}, "last"),
    "many points of a tiny network in pieces": ((3, 3), {"PIECE": 240, "LEAST": 1}, "last"),
    "points one by one": ((3,), {"TINY": 0, "PIECE": 8}, "one"),
    "points one by one in blocks": ((2,), {"TINY": 0, "PIECE": 8, "SWEEP": 1, "BLOCK": 72}, "one"),
}


def limit(monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]) -> None:
    """Replace limits of numerics.emit_batches, so that small systems take the ways of large ones."""
    for name, number in limits.items():
        monkeypatch.setattr(emit_batches, name, number if name == "TINY" else {"cpu": number})


def deep(sigma: str, ell: str, vector: bool, **options):
    """A compiled network with three layers of weights, and its oracle."""
    x, y = draw(5, 2), draw(5, 2, seed=8) if vector else draw(5, seed=8).sign()
    problem = Problem.deep(3, sigma, ell, vector_output=vector, weight_decay="1/5", **options)
    oracle = Reference(
        x,
        y,
        activation=sigma,
        loss=ell,
        widths=(3, 2),
        kind="deep",
        weight_decay=0.2,
        input_bias=True,
        output_bias=True,
    )
    return compile_system(problem, x, y, (3, 2)), oracle


NETWORKS = {
    "tanh": lambda: two_layer("tanh", input_bias=True),
    "relu, two outputs, decay": lambda: two_layer(
        "relu", vector=True, input_bias=True, output_bias=True, weight_decay="1/7", scale="1/sqrt(m)"
    ),
    "gelu, logistic, no bias": lambda: two_layer("gelu", "logistic"),
    "sigmoid, exponential": lambda: two_layer("sigmoid", "exponential", output_bias=True, reduction="sum"),
    "deep tanh": lambda: deep("tanh", "logistic", vector=False),
    "deep softplus, two outputs": lambda: deep("softplus", "square", vector=True),
    "float32": lambda: float32(),
}


def float32():
    """A compiled network in float32, and the oracle at the rounded data."""
    system, oracle = two_layer("tanh", input_bias=True, dtype=torch.float32)
    options = {"activation": "tanh", "loss": "square", "widths": oracle.widths, "input_bias": True}
    return system, Reference(system.x.double(), system.y.double(), **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_layout_computes_the_same(network, layout, monkeypatch):
    lead, limits, plan = LAYOUTS[layout]
    limit(monkeypatch, limits)
    system, oracle = NETWORKS[network]()
    theta = draw(*lead, system.P).to(system.dtype)
    kept, data = theta.clone(), (system.x.clone(), system.y.clone())
    check(system, oracle, theta)
    assert {used for _, used in system._functions} == {plan}
    whole = system._functions["value_gradient_hessian", plan].lowered.plan
    assert whole.blocked == ("blocks" in layout)
    # What is overwritten on the way is neither theta nor the data nor what is kept of them.
    first = system.value_gradient_hessian(theta)
    for one, two in zip(first, system.value_gradient_hessian(theta), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(theta, kept)
    assert torch.equal(system.x, data[0])
    assert torch.equal(system.y, data[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_further_expressions_in_every_layout(layout, monkeypatch):
    lead, limits, _ = LAYOUTS[layout]
    limit(monkeypatch, limits)
    system, oracle = two_layer("tanh", input_bias=True)
    problem, theta = system.problem, draw(*lead, system.P)
    a, i, k, q = problem.block("a").tensor, Index("i", n), Index("k", m), Index("q", m)
    z = next(d.tensor for d in problem.system if d.tensor.name == "z")
    outputs = {
        "a": (a[k], (k,)),
        "identity": (Delta(k, q), (k, q)),
        "ki": (z[i, k], (k, i)),
        "rank": (Integer(3) * n / m, ()),
        "f": (problem.output[i], (i,)),
        "diagonal": (Delta(k, q) * a[k] + a[k] * a[q], (q, k)),
    }
    found = system.evaluate(problem.derived, outputs, theta)
    blocks = system.unpack(theta)
    assert torch.equal(found["a"], blocks["a"])
    assert torch.equal(found["identity"], torch.eye(3, dtype=torch.float64).expand(*lead, 3, 3))
    assert torch.equal(found["rank"], torch.full(lead, 5.0, dtype=torch.float64))
    agree(found["ki"], blocks["w"] @ system.x.mT + blocks["b"][..., None], 1e-14, "ki")
    agree(found["f"], oracle.outputs(theta), 1e-13, "f")
    outer = blocks["a"][..., None] * blocks["a"][..., None, :]
    agree(found["diagonal"], outer + torch.diag_embed(blocks["a"]), 1e-14, "diagonal")
    # Whoever asked may overwrite a result: neither theta nor later results change.
    kept = theta.clone()
    for result in found.values():
        result.zero_()
    assert torch.equal(theta, kept)
    again = system.evaluate(problem.derived, outputs, theta)
    assert torch.equal(again["identity"], torch.eye(3, dtype=torch.float64).expand(*lead, 3, 3))


@pytest.mark.parametrize("sigma", ["tanh", "softplus", "gelu"])
def test_autograd_and_transforms_go_through_the_compiled_functions(sigma):
    system, _ = two_layer(sigma, "logistic", input_bias=True, output_bias=True)
    theta, v = draw(4, system.P), draw(system.P, seed=3)
    gradient, product = system.gradient(theta), system.hvp(theta, v)
    agree(torch.func.vmap(system.gradient)(theta), gradient, 1e-13, "vmap")
    agree(torch.func.vmap(torch.func.grad(system.value))(theta), gradient, 1e-12, "vmap of grad")
    agree(
        torch.func.vmap(system.hvp, (None, 0))(theta[0], theta),
        system.hvp(theta[:1].expand(4, -1), theta),
        1e-12,
        "v",
    )
    agree(torch.func.jvp(system.gradient, (theta[0],), (v,))[1], product[0], 1e-12, "jvp")
    agree(torch.func.jacrev(system.gradient)(theta[0]), system.hessian(theta[0]), 1e-12, "jacrev")
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(theta[0], v)
        tangent = torch.autograd.forward_ad.unpack_dual(system.gradient(dual)).tangent
    agree(tangent, product[0], 1e-12, "dual numbers")
    for lead in (0, slice(None)):
        leaf = theta[lead].clone().requires_grad_()
        (found,) = torch.autograd.grad(system.value(leaf).sum(), leaf)
        agree(found, gradient[lead], 1e-12, "autograd")


@pytest.mark.parametrize("lead", [(), (3,), (20,)])
def test_a_model_given_as_a_formula(lead):
    problem = FormulaProblem.of("a1*exp(w1*x1) + c*x2", ["a1", "w1", "c"], ["x1", "x2"])
    x, y = draw(6, 2), draw(6, seed=8)
    system, theta = CompiledSystem(problem, x, y, {}), draw(*lead, 3)

    def risk(point):
        a, w, c = point.unbind()
        return (a * torch.exp(w * x[:, 0]) + c * x[:, 1] - y).square().mean() / 2

    flat = theta.reshape(-1, 3)
    gradient, hessian = (
        torch.stack([f(risk)(u) for u in flat]) for f in (torch.func.grad, torch.func.hessian)
    )
    agree(system.gradient(theta), gradient.reshape(*lead, 3), 1e-12, "gradient")
    agree(system.hessian(theta), hessian.reshape(*lead, 3, 3), 1e-12, "hessian")


class Allocations(TorchDispatchMode):
    """Largest array that a function makes, in entries, and the most bytes alive at once beyond those before."""

    def __init__(self, *before: torch.Tensor) -> None:
        super().__init__()
        self.before = {u.untyped_storage().data_ptr() for u in before}
        self.alive: list[weakref.ref[torch.Tensor]] = []
        self.largest, self.peak = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple | list) else [result]
        self.alive += [weakref.ref(u) for u in made if isinstance(u, torch.Tensor)]
        self.alive = [ref for ref in self.alive if ref() is not None]
        storages = {
            u.untyped_storage().data_ptr(): u.untyped_storage().nbytes()
            for ref in self.alive
            if (u := ref()) is not None
        }
        new = {pointer: size for pointer, size in storages.items() if pointer not in self.before}
        self.peak = max(self.peak, sum(new.values()))
        self.largest = max([self.largest, *(u.numel() for u in made if isinstance(u, torch.Tensor))])
        return result


def test_allocations_are_seen():
    x = draw(10, 20)
    with Allocations(x) as seen:
        (x[:, :, None] * x[:, None, :]).sum()
    assert seen.largest == 10 * 20 * 20
    assert seen.peak == 8 * (10 * 20 * 20 + 1)


@pytest.mark.parametrize("what", ["value_gradient", "hvp"])
@pytest.mark.parametrize(
    ("count", "width", "limits"),
    [(1, 40, {}), (4, 40, {}), (9, 12, {}), (1, 40, {"SWEEP": 1, "BLOCK": 40 * 8 * 16})],
)
def test_no_array_over_samples_neurons_and_inputs_is_built(what, count, width, limits, monkeypatch):
    limit(monkeypatch, limits)
    samples, inputs = 100, 11
    system, _ = two_layer("tanh", width=width, samples=samples, inputs=inputs, input_bias=True)
    theta = draw(count, system.P) if count > 1 else draw(system.P)
    arguments = (theta, theta) if what == "hvp" else (theta,)
    getattr(system, what)(*arguments)
    with Allocations(*arguments, system.x, system.y) as seen:
        getattr(system, what)(*arguments)
    rows = 16 if limits else samples
    assert rows * width <= seen.largest <= count * max(rows * width, system.P, samples * inputs)


def test_memory_stays_below_some_blocks_of_samples():
    samples, width, inputs = 8192, 256, 4  # n x m is 8 MiB in float32
    x, y = draw(samples, inputs).float(), draw(samples).float()
    system = compile_system(
        Problem.two_layer("tanh", "square", input_bias=True), x, y, width, dtype=torch.float32
    )
    theta = draw(system.P).float() / 16
    system.gradient(theta)
    with Allocations(theta, system.x, system.y) as seen:
        found = system.gradient(theta)
    assert seen.peak <= 3 * emit_batches.BLOCK["cpu"]
    oracle = Reference(
        x.double(), y.double(), activation="tanh", loss="square", widths=(width,), input_bias=True
    )
    agree(found, oracle.gradient(theta.double()), same_formula(torch.float32), "gradient")


KIB = 1024
#: Samples, width, inputs, points and a budget; and what the budget must lead to: points in pieces, one by one, or one
#: point with its samples in blocks.
BUDGETS = {
    "a tiny network in pieces": (20, 4, 2, 300, 128 * KIB, "last"),
    "a tiny network one by one": (500, 8, 2, 9, 200 * KIB, "one"),
    "points in pieces": (50, 30, 5, 40, 512 * KIB, "first"),
    "points one by one": (400, 30, 5, 4, 600 * KIB, "one"),
    "one point in blocks": (1000, 50, 3, 1, 250 * KIB, "one"),
    "points one by one in blocks": (1000, 50, 3, 3, 250 * KIB, "one"),
}


@pytest.mark.parametrize("what", ["value_gradient", "hvp"])
@pytest.mark.parametrize("case", BUDGETS)
def test_a_memory_budget_is_kept(case, what):
    samples, width, inputs, count, budget, plan = BUDGETS[case]
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    x, y = draw(samples, inputs), draw(samples, seed=8)
    system = compile_system(problem, x, y, width, memory_budget=budget)
    theta = draw(count, system.P) if count > 1 else draw(system.P)
    v = draw(*theta.shape, seed=9)
    arguments = (theta, v) if what == "hvp" else (theta,)
    first = getattr(system, what)(*arguments)
    results = first if isinstance(first, tuple) else (first,)
    kept = [*arguments, system.x, system.y]
    for function in system._functions.values():
        kept += [u for u in function.bound if isinstance(u, torch.Tensor)]
    with Allocations(*kept) as seen:
        getattr(system, what)(*arguments)
    # Points in the layout of the function, and the results, in pieces and whole, are not counted by the budget.
    apart = 2 * sum(u.numel() for u in (*arguments, *results)) * 8
    assert seen.peak <= budget + apart
    if what == "value_gradient":
        served = {used for _, used in system._functions}
        assert plan in served
        if "blocks" in case:
            assert system._functions[what, "one"].lowered.plan.blocked
        few = theta[:3] if count > 1 else theta
        oracle = Reference(x, y, activation="tanh", loss="square", widths=(width,), input_bias=True)
        agree(results[1][:3] if count > 1 else results[1], oracle.gradient(few), 1e-12, "gradient")
        free = compile_system(problem, x, y, width)
        agree(results[1], free.gradient(theta), 1e-12, "without a budget")


def test_without_the_budget_these_cases_are_beyond_it():
    for case in ("one point in blocks", "points in pieces"):
        samples, width, inputs, count, budget, _ = BUDGETS[case]
        system, _ = two_layer("tanh", width=width, samples=samples, inputs=inputs, input_bias=True)
        theta = draw(count, system.P)
        system.gradient(theta)
        with Allocations(theta, system.x, system.y) as seen:
            system.gradient(theta)
        assert seen.peak > budget, case


def test_a_budget_that_does_not_hold_one_point_is_refused():
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    system = compile_system(problem, draw(50, 3), draw(50), 40, memory_budget=200 * KIB)
    theta = draw(system.P)
    system.gradient(theta)
    with pytest.raises(
        ValueError,
        match=r"the hessian of one point may hold \d+ bytes on the way, the memory budget is 204800",
    ):
        system.hessian(theta)
    with pytest.raises(ValueError, match="give a larger one, or use Hessian-vector products"):
        system.hessian(draw(3, system.P))


@pytest.mark.parametrize("count", [0, 1, 8, 9, 700])
def test_results_in_large_pages_are_those_in_small_ones(count, monkeypatch):
    system, _ = two_layer("tanh", input_bias=True)
    theta = draw(count, system.P)
    wanted = system.value_gradient_hessian(theta)
    limit(monkeypatch, {"PIECE": 4096, "LEAST": 1})
    monkeypatch.setattr(emit_batches, "LARGE", 1)
    again, _ = two_layer("tanh", input_bias=True)
    for found, right in zip(again.value_gradient_hessian(theta), wanted, strict=True):
        assert found.shape == right.shape
        assert found.is_contiguous()
        assert torch.allclose(found, right, rtol=1e-13, atol=1e-14)
        found.add_(1)  # results may be overwritten


@pytest.mark.slow
def test_memory_of_a_large_gradient_is_bounded():
    samples, width, inputs = 16384, 4096, 64  # n x m is 256 MiB in float32
    x, y = draw(samples, inputs).float(), draw(samples).float()
    system = compile_system(
        Problem.two_layer("tanh", "square", input_bias=True), x, y, width, dtype=torch.float32
    )
    theta = draw(system.P).float() / 64
    with Allocations(theta, system.x, system.y) as seen:
        system.gradient(theta)
    assert seen.peak <= 32 * 2**20


def test_the_source_evaluates_the_activation_once_and_names_what_papers_name():
    system, _ = two_layer("tanh", input_bias=True)
    theta = draw(9, system.P)
    for points in (theta[0], theta[:2], theta):
        system.value_gradient_hessian(points)
    for (_, plan), function in system._functions.items():
        assert len(re.findall(r"tanh\w*\(", function.source)) == 1, plan
        assert "einsum" not in function.source
        assert "eye" not in function.source
    for name in ("z", "tanh_z", "r", "delta", "gradient"):
        assert re.search(rf"^ +{name} = ", system.source, re.MULTILINE), name
