"""Every derived object on every registered activation, loss and model: the printed equations against autograd.

What is evaluated are the printed equations with their printed definitions, all the way down to data and parameters
(``dense_values``); what they are compared with is a network written by hand and autograd (``written_networks``).

A full product has some 60 000 members.  Here every activation meets a scalar two-layer network, and vector outputs, deep,
diagonal and formula models meet some of them, losses going round, so that every pair (object, activation), (object, loss)
and (object, model) occurs wherever the object is defined; ``test_every_pair_occurs`` counts them.  The compiled functions
are checked on the full product in ``test_every_derivation_compiled``.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import torch
from sympy import Rational
from torch.func import grad, hessian, jvp

from derivations.activations import REGISTRY, activation
from derivations.diagonal_model import DiagonalProblem
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.indexed import Entry
from derivations.latex_names import free_indices
from derivations.losses import REGISTRY as LOSSES
from derivations.losses import loss
from derivations.problem import Problem
from derivations.registry import FAMILIES
from workbench.derive import SHOWN, derive
from workbench.errors import NotThere


def _load(name):
    spec = importlib.util.spec_from_file_location(f"_{name}_for_all", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Values = _load("dense_values").Values
networks = _load("written_networks")
Network = networks.Network

#: Relative to the largest entry of the expected array (or 1e-3 where that is smaller); the largest error seen is 4e-14.
AGREEMENT = 1e-10

#: Sentences with proofs, properties of the activation alone, and limits of infinite width: each has a test of its own.
ELSEWHERE = {
    "conservation",
    "symmetries",
    "embedding",
    "global-minima",
    "identities",
    "activation",
    "kernels",
}

# ---- what a case is

#: z sigma'(z) = p sigma(z), by hand.
DEGREE = {"linear": 1, "relu": 1, "abs": 1, "quadratic": 2, "cubic": 3, "max(z, z/10)": 1}
DEGREE |= {"leaky_relu(1/10)": 1, "leaky_relu(-1/2)": 1, "relu_power(2)": 2, "relu_power(3)": 3}
DEGREE |= {"monomial(4)": 4, "monomial(3)": 3}
KINKED = {"relu", "abs", "softsign", "max(z, z/10)"}
KINKED |= {"leaky_relu(1/10)", "leaky_relu(-1/2)", "relu_power(2)", "relu_power(3)"}
MEMBERS = [
    "leaky_relu(1/10)",
    "leaky_relu(-1/2)",
    "relu_power(2)",
    "relu_power(3)",
    "monomial(4)",
    "monomial(3)",
]
MEMBERS += ["polynomial(1, 1/2, 0, -1/3)", "polynomial(0, 1, 1/2)"]
ACTIVATIONS = [*REGISTRY, *MEMBERS, *networks.FORMULA_ACTIVATIONS]
LOSS_NAMES = [*LOSSES, "linear_hinge", *networks.FORMULA_LOSSES]
MARGIN = {"logistic", "exponential", "hinge", "linear_hinge", "correlation"}

#: Odd N: labels +-1 do not cancel in sums over the samples.
N, D, O, WIDTH = 5, 3, 2, 3


@dataclass(frozen=True)
class Case:
    """A model with an activation and a loss."""

    model: str
    activation: str
    loss: str
    kink: Rational = field(default_factory=lambda: Rational(0))
    at_kink: bool = False

    def __str__(self) -> str:
        mark = f", slope {self.kink} at 0" if self.at_kink else ""
        return f"{self.model}; {self.activation}; {self.loss}{mark}"


#: Model: how it is built, and the same in numbers for the network written by hand.
TWO_LAYER = {
    "plain": ({"reduction": "sum"}, {"mean": False}),
    "biases": ({"input_bias": True, "output_bias": True, "scale": "1/m"}, {"scale": 1 / WIDTH}),
    "decay, rates, c frozen": (
        {
            "input_bias": True,
            "output_bias": True,
            "weight_decay": Rational(1, 7),
            "factor": "2",
            "freeze": ("c",),
            "rate": (("a", Rational(3)), ("w", Rational(1, 2)), ("b", Rational(1, 2))),
        },
        {"decay": 1 / 7, "factor": 2.0, "frozen": ("c",), "rates": {"a": 3.0, "w": 0.5, "b": 0.5}},
    ),
    "a frozen": (
        {"input_bias": True, "freeze": ("a",), "scale": "1/sqrt(m)"},
        {"frozen": ("a",), "scale": WIDTH**-0.5},
    ),
    "vector": (
        {"input_bias": True, "output_bias": True, "scale": "1/sqrt(m*d)"},
        {"scale": (WIDTH * D) ** -0.5},
    ),
    "vector, decay, rates": (
        {
            "weight_decay": Rational(1, 5),
            "factor": "1/3",
            "reduction": "sum",
            "rate": (("a", Rational(2)), ("w", Rational(2))),
        },
        {"decay": 1 / 5, "factor": 1 / 3, "mean": False, "rates": {"a": 2.0, "w": 2.0}},
    ),
}
DEEP = {
    "deep 2": (2, {}, {}),
    "deep 3, vector, decay": (
        3,
        {"weight_decay": Rational(1, 5), "scale": "1/2"},
        {"decay": 1 / 5, "scale": 0.5},
    ),
    "deep 4, no biases": (
        4,
        {"input_bias": False, "output_bias": False, "rate": (("W2", Rational(2)),)},
        {"rates": {"W2": 2.0}},
    ),
    "deep 3, decay, frozen": (
        3,
        {"output_bias": False, "weight_decay": Rational(1, 9), "freeze": ("b1", "W2"), "reduction": "sum"},
        {"decay": 1 / 9, "frozen": ("b1", "W2"), "mean": False},
    ),
}
OTHER = ("diagonal 2", "diagonal 3", "formula")
SCALAR = ["plain", "biases", "decay, rates, c frozen", "a frozen"]
REST = ["vector", "vector, decay, rates", *DEEP]


def _cases() -> Iterator[Case]:
    losses, margins, rest = (itertools.cycle(u) for u in (LOSS_NAMES, sorted(MARGIN), REST))
    for position, name in enumerate(ACTIVATIONS):
        yield Case(SCALAR[position % len(SCALAR)], name, next(margins))
        if position % 3 == 0:
            yield Case(next(rest), name, next(losses))
    yield from (Case("plain", name, next(margins)) for name in DEGREE)
    for name in LOSS_NAMES:  # objects for homogeneous activations meet every loss
        yield Case("biases", "relu", name)
        yield Case("plain", "quadratic", name)
    yield from (Case(model, "relu", "logistic") for model in (*TWO_LAYER, *DEEP))
    yield from (Case(model, "linear", name) for model in OTHER for name in LOSS_NAMES)


#: Kinks: the point lies on them, and the stated slopes count.
SLOPES = [
    ("relu", "0"),
    ("relu", "1/2"),
    ("relu", "1"),
    ("abs", "0"),
    ("abs", "1/3"),
    ("leaky_relu(1/10)", "0"),
]
SLOPES += [("leaky_relu(1/10)", "1/4"), ("max(z, z/10)", "1/2"), ("relu_power(2)", "1"), ("softsign", "0")]
AT_KINKS = [
    ("biases", "logistic"),
    ("vector", "square"),
    ("deep 2", "square"),
    ("decay, rates, c frozen", "logistic"),
]
AT_KINKS = [
    Case(model, name, ell, Rational(slope), True)
    for (name, slope), (model, ell) in zip(SLOPES, itertools.cycle(AT_KINKS))
]
#: Here the loss has its kink as well: y f = 1, and the derivative of the loss is 0 by convention.
AT_KINKS += [
    Case("biases", "relu", "hinge", Rational(1, 2), True),
    Case("deep 2", "abs", "linear_hinge", Rational(1, 3), True),
    Case("deep 3, vector, decay", "max(z, z/10)", "hinge", Rational(1, 2), True),
]
CASES = list(dict.fromkeys([*_cases(), *AT_KINKS]))


# ---- the two sides


@cache
def problem_of(case: Case) -> Problem:
    if case.model == "formula":
        return FormulaProblem.of("p*exp(q*t) + abs(q - u)*u + p**3", ["p", "q"], ["t", "u"], loss(case.loss))
    if case.model.startswith("diagonal"):
        options = (
            {"weight_decay": Rational(1, 3), "rate": (("u", Rational(2)),)}
            if case.model.endswith("2")
            else {}
        )
        return DiagonalProblem.of(int(case.model[-1]), loss(case.loss), **options)
    sigma, ell = activation(case.activation, kink=case.kink), loss(case.loss)
    vector = "vector" in case.model
    if case.model in TWO_LAYER:
        return Problem.two_layer(sigma, ell, vector_output=vector, **TWO_LAYER[case.model][0])
    depth, options, _ = DEEP[case.model]
    return Problem.deep(depth, sigma, ell, vector_output=vector, **options)


@cache
def network_of(case: Case) -> tuple[Network, torch.Tensor]:
    """The network written by hand and a point; on the kinks where the case says so."""
    generator = torch.Generator().manual_seed(len(str(case)))
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    x, y = draw(N, D), draw(*((N, O) if "vector" in case.model else (N,)))
    if case.loss in MARGIN:
        y = torch.sign(y)
    if case.at_kink:
        x[0], y[0] = 0.0, 1.0
    common = {"x": x, "y": y, "loss": networks.loss_of(case.loss)}
    if case.model == "formula":
        x = common["x"] = x[:, :2]
        forward = lambda t: t[0] * torch.exp(t[1] * x[:, 0]) + (t[1] - x[:, 1]).abs() * x[:, 1] + t[0] ** 3  # noqa: E731
        network = Network(shapes={"p": (), "q": ()}, forward=forward, **common)
    elif case.model.startswith("diagonal"):
        power = int(case.model[-1])
        forward = lambda t: x @ (t[:D] ** power - t[D:] ** power)  # noqa: E731
        options = {"decay": 1 / 3, "rates": {"u": 2.0}} if power == 2 else {}
        network = Network(shapes={"u": (D,), "v": (D,)}, forward=forward, **common, **options)
    else:
        two = case.model in TWO_LAYER
        given, numbers = TWO_LAYER[case.model] if two else DEEP[case.model][1:]
        depth = 2 if two else DEEP[case.model][0]
        network = Network.of(
            x,
            y,
            case.activation,
            case.loss,
            kink=float(case.kink),
            widths=(WIDTH, 2, 3)[: depth - 1],
            kind="two_layer" if two else "deep",
            input_bias=given.get("input_bias", not two),
            output_bias=given.get("output_bias", not two),
            **numbers,
        )
    theta = torch.zeros(network.P, dtype=torch.float64)
    while (
        not 0.05 < float(network.forward(theta).abs().max()) < 20
    ):  # dead networks hide errors, huge ones digits
        theta = (0.3 + 1.2 * float(draw(1).sigmoid())) * draw(network.P)
    if case.at_kink:  # z = 0 and f = 1 at the sample x = 0
        for name, place in network.places.items():
            if name == "c" or name == f"b{len(network.shapes) // 2}":
                theta[place] = 1.0
            elif name.startswith("b"):
                theta[place] = 0.0
    return network, theta


def sizes_of(case: Case, network: Network) -> dict[str, int]:
    widths = {"m1": WIDTH, "m2": 2, "m3": 3, "m": WIDTH}
    augmented = D + ("b" in network.shapes)
    return {**widths, "n": N, "d": D, "o": O, "D": augmented}


class Sides:
    """A derivation at a point, and the hand-written network there."""

    def __init__(self, case: Case, what: str) -> None:
        self.case, self.problem, self.what = case, problem_of(case), what
        self.derivation = derive(self.problem, what)
        self.network, self.theta = network_of(case)
        self.sizes = sizes_of(case, self.network)
        generator = torch.Generator().manual_seed(7)
        self.v = torch.randn(self.network.P, generator=generator, dtype=torch.float64)
        self.multiplier = torch.rand(N, generator=generator, dtype=torch.float64)

    @property
    def leaves(self) -> dict[str, torch.Tensor]:
        network = self.network
        moves = {f"v_{name}": part for name, part in network.blocks(self.v).items()}
        return {**self.problem.leaf_values(network.x, network.y), **network.blocks(self.theta), **moves}

    def values(self, arrays=None, symbols=None) -> Values:
        return Values(self.derivation, {**self.leaves, **(arrays or {})}, self.sizes, symbols)

    def part(self, flat: torch.Tensor, name: str) -> torch.Tensor:
        """The entries of a block along the last axis, in the shape of the block."""
        return flat[..., self.network.places[name]].reshape((*flat.shape[:-1], *self.network.shapes[name]))


def assert_agree(label: str, found: torch.Tensor, expected: torch.Tensor, size: float = 1e-3) -> None:
    """``size`` is that of the terms where they may cancel."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert found.shape == expected.shape, f"{label}: {tuple(found.shape)} instead of {tuple(expected.shape)}"
    bound = AGREEMENT * max(float(expected.abs().max()), size)
    error = float((found - expected).abs().max())
    assert error <= bound, (
        f"{label}: error {error:.3g}, allowed {bound:.3g}\nfound {found}\nexpected {expected}"
    )


# ---- one check for each object


def check_risk(s: Sides) -> None:
    values = s.values()
    for equation in s.derivation.system:
        values.define(equation)
    assert_agree("f", values.arrays["f"], s.network.forward(s.theta))
    assert_agree("R", values.arrays["R"], s.network.value(s.theta))


def check_gradient(s: Sides) -> None:
    values, gradient = s.values(), s.network.gradient(s.theta)
    assert [e.lhs.tensor.name for e in s.derivation.system] == [f"dR_d{name}" for name in s.network.shapes]
    for equation, name in zip(s.derivation.system, s.network.shapes, strict=True):
        assert_agree(name, values.right(equation), s.part(gradient, name))


def check_flow(s: Sides) -> None:
    values, flow = s.values(), s.network.flow(s.theta)
    assert [e.lhs.tensor.name for e in s.derivation.system] == [f"dot_{name}" for name in s.network.shapes]
    for equation, name in zip(s.derivation.system, s.network.shapes, strict=True):
        assert_agree(name, values.right(equation), s.part(flow, name))


def check_critical(s: Sides) -> None:
    values, gradient = s.values(), s.network.gradient(s.theta)
    for equation, name in zip(s.derivation.system, s.network.trained, strict=True):
        assert equation.lhs == 0
        free = {str(u.dim): u for u in free_indices(equation.rhs)}
        indices = [free[str(dim)] for dim in s.problem.block(name).tensor.dims]
        assert_agree(name, values.over(equation.rhs, indices), s.part(gradient, name))


def _matrix_blocks(s: Sides, of: str, matrix: torch.Tensor, *, zeros: bool = False) -> None:
    """Compare every block on and above the diagonal; with ``zeros`` those that are not printed vanish."""
    values, trained = s.values(), s.network.trained
    printed = {e.lhs.tensor.name: e for e in s.derivation.system if e.lhs.tensor.of == of}
    pairs = [(u, v) for p, u in enumerate(trained) for v in trained[p:]]
    assert set(printed) <= {f"d{of}_d{u}_d{v}" for u, v in pairs}
    for row, column in pairs:
        block = s.part(s.part(matrix, column).movedim(0, -1), row)
        expected = block.movedim(
            tuple(range(len(s.network.shapes[column]))), tuple(range(-len(s.network.shapes[column]), 0))
        )
        name = f"d{of}_d{row}_d{column}"
        if name in printed:
            assert_agree(name, values.right(printed[name]), expected)
        else:
            assert zeros, f"{name} is missing"
            assert_agree(name, torch.zeros_like(expected), expected)


def check_hessian(s: Sides) -> None:
    _matrix_blocks(s, "R", s.network.hessian(s.theta))


def check_gauss_newton(s: Sides) -> None:
    network, theta = s.network, s.theta
    jacobian = network.jacobian(theta).reshape(-1, network.P)
    first = jacobian.T @ (network.curvature(theta).reshape(-1, 1) * jacobian)
    weights = network.weights(theta)
    second = hessian(lambda t: (weights * network.forward(t)).sum())(theta)
    _matrix_blocks(s, "R_G", first, zeros=True)
    _matrix_blocks(s, "R_S", second, zeros=True)


def _kernel(s: Sides) -> torch.Tensor:
    jacobian = s.network.jacobian(s.theta)
    return torch.tensordot(jacobian * s.network.rate, jacobian, dims=([-1], [-1]))


def check_ntk(s: Sides) -> None:
    values = s.values()
    assert_agree("Theta", values.define(s.derivation.system[0]), _kernel(s))
    moved = s.network.along_flow(s.network.forward, s.theta)
    assert_agree("df/dt", values.right(s.derivation.system[1]), moved)


def check_output_dynamics(s: Sides) -> None:
    values = s.values()
    expected = {"Theta": _kernel(s), "dot_f": s.network.along_flow(s.network.forward, s.theta)}
    if s.network.decay == 0:
        expected["dot_e"] = expected["dot_f"]
    expected["dot_R"] = s.network.along_flow(s.network.value, s.theta)
    for equation in s.derivation.system:
        name = equation.lhs.tensor.name
        assert_agree(name, values.define(equation), expected.pop(name))
    assert set(expected) <= {"dot_e"}
    assert ("dot_e" in expected) == (s.case.loss != "square" and s.network.decay == 0)


def check_jacobian(s: Sides) -> None:
    values, jacobian = s.values(), s.network.jacobian(s.theta)
    outputs = tuple(range(jacobian.ndim - 1))
    assert len(s.derivation.system) == len(s.network.trained)
    for equation, name in zip(s.derivation.system, s.network.trained, strict=True):
        expected = s.part(jacobian, name)  # outputs first; in print the indices of the block are first
        assert_agree(name, values.right(equation), expected.movedim(outputs, tuple(range(-len(outputs), 0))))


def check_hessian_vector(s: Sides) -> None:
    network, values = s.network, s.values()
    direction = torch.where(network.rate == 0, 0.0, s.v)
    product = jvp(network.gradient, (s.theta,), (direction,))[1]
    for equation, name in zip(s.derivation.system, network.trained, strict=True):
        assert equation.lhs.tensor.name == f"Hv_{name}"
        assert_agree(name, values.right(equation), s.part(product, name))


def check_tangent_map(s: Sides) -> None:
    network, tau = s.network, 0.3
    values = s.values(symbols={"tau": tau})
    direction = torch.where(network.rate == 0, 0.0, s.v)
    step = lambda t: t + tau * network.flow(t)  # noqa: E731
    moved = jvp(step, (s.theta,), (direction,))[1]
    for equation, name in zip(s.derivation.system, network.trained, strict=True):
        assert_agree(name, values.right(equation), s.part(moved, name))


# ---- coordinates of neurons


def _augmented(s: Sides, theta: torch.Tensor) -> torch.Tensor:
    blocks = s.network.blocks(theta)
    return torch.cat([blocks["w"], blocks["b"][:, None]], dim=1) if "b" in blocks else blocks["w"]


def _augmented_leaves(s: Sides) -> dict[str, torch.Tensor]:
    return {
        "wt": _augmented(s, s.theta),
        "xt": torch.cat([s.network.x, torch.ones(N, 1, dtype=torch.float64)], dim=1),
    }


def check_per_neuron(s: Sides) -> None:
    values, flow = s.values(_augmented_leaves(s)), s.network.flow(s.theta)
    expected = {f"dot_{name}": s.part(flow, name) for name in ("a", "w", "c") if name in s.network.shapes}
    if "b" in s.network.shapes:
        expected["dot_wt"] = _augmented(s, flow)
        del expected["dot_w"]
    assert {e.lhs.tensor.name for e in s.derivation.system} == set(expected)
    for equation in s.derivation.system:
        assert_agree(equation.lhs.tensor.name, values.right(equation), expected[equation.lhs.tensor.name])


def _unit(s: Sides) -> str:
    return "v" if "c" in s.network.shapes and "vector" in s.case.model else "u"


def _polar(s: Sides, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    vectors = _augmented(s, theta)
    return vectors.norm(dim=1), vectors / vectors.norm(dim=1, keepdim=True)


def _polar_expected(s: Sides) -> dict[str, torch.Tensor]:
    network, flow = s.network, s.network.flow(s.theta)
    expected = {f"dot_{name}": s.part(flow, name) for name in ("a", "c") if name in network.shapes}
    expected["dot_rho"] = network.along_flow(lambda t: _polar(s, t)[0], s.theta)
    expected[f"dot_{_unit(s)}"] = network.along_flow(lambda t: _polar(s, t)[1], s.theta)
    return expected


def check_norm_direction(s: Sides) -> None:
    rho, unit = _polar(s, s.theta)
    values, expected = s.values({**_augmented_leaves(s), "rho": rho, _unit(s): unit}), _polar_expected(s)
    assert {e.lhs.tensor.name for e in s.derivation.system} == set(expected)
    for equation in s.derivation.system:
        assert_agree(equation.lhs.tensor.name, values.right(equation), expected[equation.lhs.tensor.name])


def check_balanced(s: Sides) -> None:
    network, p = s.network, DEGREE[s.case.activation]
    rates = [network.rates.get(name, 1.0) for name in ("a", "w")]

    def level(theta):
        a = network.blocks(theta)["a"].reshape(WIDTH, -1)
        return p * (a**2).sum(dim=1) / rates[0] - _polar(s, theta)[0] ** 2 / rates[1]

    balanced = [e for e in s.derivation.system if e.condition]
    assert len(balanced) == (0 if "vector" in s.case.model else 2)
    for equations in ([e for e in s.derivation.system if not e.condition], balanced):
        sign = torch.sign(network.blocks(s.theta)["a"])
        if equations is balanced and balanced:
            s.theta = s.theta.clone()
            s.theta[network.places["a"]] = sign * (rates[0] / rates[1] / p) ** 0.5 * _polar(s, s.theta)[0]
        leaves = {**_augmented_leaves(s), _unit(s): _polar(s, s.theta)[1], "Q": level(s.theta), "eps": sign}
        values = s.values(leaves)
        expected = {**_polar_expected(s), "dot_Q": network.along_flow(level, s.theta)}
        terms = float(
            network.flow(s.theta).abs().max() * s.theta.abs().max()
        )  # of which dQ/dt is the difference
        assert_agree("rho", values.arrays["rho"], _polar(s, s.theta)[0])
        for equation in equations:
            name = equation.lhs.tensor.name
            assert_agree(
                name, values.right(equation), expected[name], max(terms, 1e-3) if name == "dot_Q" else 1e-3
            )


def check_euler(s: Sides) -> None:
    network = s.network
    data = grad(lambda t: network.data_risk(network.forward(t)))(s.theta)
    jacobian = network.jacobian(s.theta)
    outputs = tuple(range(jacobian.ndim - 1))
    arrays = {f"dR_d{name}": part for name, part in network.blocks(data).items()}
    names = {
        t.name for e in s.derivation.system for side in (e.lhs, e.rhs) for t in side.atoms(type(s.problem.x))
    }
    for name in network.shapes:
        value = s.part(jacobian, name).movedim(outputs, tuple(range(-len(outputs), 0)))
        arrays |= {t: value for t in names if t.startswith("df_") and t.endswith(f"_d{name}")}
    arrays["dot_(|theta|^2/2)"] = network.along_flow(lambda t: t @ t / 2, s.theta)
    values = s.values(arrays)
    for equation in s.derivation.system:
        free = sorted(
            {u for side in (equation.lhs, equation.rhs) for u in free_indices(side)}, key=lambda u: u.name
        )
        left, right = (values.over(side, free) for side in (equation.lhs, equation.rhs))
        assert_agree(str(equation.lhs), left, right)
        assert float(right.abs().max()) > 0 or s.case.at_kink


def check_small_weights(s: Sides) -> None:
    smooth = s.case.activation not in KINKED
    expected = s.network.small_weights(s.theta, smooth=smooth)
    values = s.values()
    for equation, name in zip(s.derivation.system, s.network.shapes, strict=True):
        assert_agree(name, values.right(equation), s.part(expected, name))


# ---- conditions of constrained problems


def _check_conditions(
    s: Sides, lagrangian: Callable, gaps: list, symbols: dict, arrays: dict, *, maximise: bool
) -> None:
    """``gaps`` are (left, right, multiplier) of the constraints, functions of theta; multiplier None for equality."""
    network = s.network
    values = s.values(arrays, symbols)
    trained = torch.where(network.rate == 0, 0.0, 1.0)
    direction = trained * s.v
    along = lambda function: jvp(function, (s.theta,), (direction,))[1]  # noqa: E731
    rows = iter(s.derivation.system)

    def over(side, equation):
        free = {u for part in (equation.lhs, equation.rhs) for u in free_indices(part)}
        return values.over(side, sorted(free, key=lambda u: u.name))

    def expect(label, *expected):
        """The next row has these sides; where only one is given the other one is 0."""
        equation = next(rows)
        sides = [equation.lhs, equation.rhs]
        if len(expected) == 1:
            assert 0 in sides, equation
            sides.remove(0)
        for side, wanted in zip(sides, expected, strict=True):
            found = over(side, equation)
            wanted = torch.as_tensor(wanted, dtype=torch.float64)
            assert_agree(label, found, torch.broadcast_to(wanted, found.shape))

    equation = next(rows)
    assert_agree("Lagrangian", values.right(equation), lagrangian(s.theta))
    slope = grad(lagrangian)(s.theta) * (-1 if maximise else 1)
    for name in network.trained:
        equation = next(rows)
        (own,) = [e for e in equation.lhs.atoms(Entry) if e.tensor.name == name]
        found = values.over(equation.lhs - equation.rhs, own.indices)
        assert_agree(f"stationarity in {name}", found, s.part(slope, name))
    for left, right, multiplier in gaps:
        expect("constraint", left(s.theta), right(s.theta))
        if multiplier is not None:
            expect("sign", multiplier, 0.0)
            expect("slackness", multiplier * (left(s.theta) - right(s.theta)))
    for left, right, multiplier in gaps:
        moved = along(lambda t, left=left, right=right: left(t) - right(t))
        for _ in range(1 if multiplier is None else 2):  # a row for a positive and one for a zero multiplier
            expect("cone", moved if moved.ndim else moved / 2)
    curvature = jvp(lambda t: grad(lagrangian)(t) @ direction, (s.theta,), (direction,))[1]
    assert_agree("curvature", values.define(next(rows)), curvature)
    assert next(rows).rhs == 0
    assert next(rows, None) is None


def _norm(s: Sides) -> Callable:
    trained = (s.network.rate != 0).to(torch.float64)
    return lambda t: (trained * t * t).sum()


def check_kkt(s: Sides) -> None:
    y, forward, norm, multiplier = s.network.y, s.network.forward, _norm(s), s.multiplier
    one = lambda t: torch.ones(N, dtype=torch.float64)  # noqa: E731
    lagrangian = lambda t: norm(t) / 2 + (multiplier * (1 - y * forward(t))).sum()  # noqa: E731
    gaps = [(lambda t: y * forward(t), one, multiplier)]
    _check_conditions(s, lagrangian, gaps, {}, {"lambda": multiplier}, maximise=False)


def check_kkt_norm(s: Sides) -> None:
    mu, rho, norm = torch.tensor(0.7, dtype=torch.float64), 1.3, _norm(s)
    lagrangian = lambda t: s.network.value(t) + mu / 2 * (norm(t) - rho**2)  # noqa: E731
    gaps = [(norm, lambda t: torch.tensor(rho**2, dtype=torch.float64), mu)]
    arrays = {"R": s.network.value(s.theta)}
    _check_conditions(s, lagrangian, gaps, {"mu": float(mu), "rho": rho}, arrays, maximise=False)


def check_kkt_correlation(s: Sides) -> None:
    mu, norm = 0.7, _norm(s)
    lagrangian = lambda t: (s.network.y * s.network.forward(t)).sum() + mu / 2 * (1 - norm(t))  # noqa: E731
    gaps = [(norm, lambda t: torch.ones((), dtype=torch.float64), None)]
    _check_conditions(s, lagrangian, gaps, {"mu": mu}, {}, maximise=True)


def check_kkt_neuron(s: Sides) -> None:
    x, y, mu = s.network.x, s.network.y, 0.7
    sigma = networks.activation_of(s.case.activation, float(s.case.kink))
    shapes = {"u": (D,), **({"b": ()} if "b" in s.network.shapes else {})}
    forward = lambda t: sigma(x @ t[:D] + (t[D] if "b" in shapes else 0.0))  # noqa: E731
    s.network = Network(x, y, shapes, forward, s.network.loss)
    s.theta, s.v = s.theta[: s.network.P].clone(), s.v[: s.network.P]
    if s.case.at_kink and "b" in shapes:
        s.theta[D] = 0.0
    lagrangian = lambda t: (y * forward(t)).sum() + mu / 2 * (1 - (t * t).sum())  # noqa: E731
    gaps = [(lambda t: (t * t).sum(), lambda t: torch.ones((), dtype=torch.float64), None)]
    _check_conditions(s, lagrangian, gaps, {"mu": mu}, {}, maximise=True)


CHECKS: dict[str, Callable[[Sides], None]] = {
    "risk": check_risk,
    "gradient": check_gradient,
    "gradient-flow": check_flow,
    "critical-equations": check_critical,
    "hessian": check_hessian,
    "gauss-newton": check_gauss_newton,
    "ntk": check_ntk,
    "output-dynamics": check_output_dynamics,
    "jacobian": check_jacobian,
    "hessian-vector": check_hessian_vector,
    "tangent-map": check_tangent_map,
    "per-neuron": check_per_neuron,
    "norm-direction": check_norm_direction,
    "balanced": check_balanced,
    "euler": check_euler,
    "small-weights": check_small_weights,
    "kkt": check_kkt,
    "kkt-norm": check_kkt_norm,
    "kkt-correlation": check_kkt_correlation,
    "kkt-neuron": check_kkt_neuron,
}


# ---- where an object is defined, told without asking the derivations


def is_defined(what: str, case: Case) -> bool:
    two, network = case.model in TWO_LAYER, case.model not in OTHER
    homogeneous, scalar, margin = case.activation in DEGREE, "vector" not in case.model, case.loss in MARGIN
    if what in ("per-neuron", "norm-direction"):
        return two
    if what == "balanced":
        return two and homogeneous and case.model not in ("a frozen", "decay, rates, c frozen")
    if what == "euler":
        return network and homogeneous
    if what == "small-weights":
        return two and (homogeneous or case.activation not in KINKED)
    if what == "kkt":
        return scalar and margin
    if what == "kkt-neuron":
        return two and homogeneous and scalar and margin
    if what == "kkt-correlation":  # no bias but those of the first layer of a trained network
        models = (
            "plain",
            "a frozen",
            "vector, decay, rates",
            "deep 4, no biases",
            "diagonal 2",
            "diagonal 3",
        )
        return homogeneous and margin and case.model in models
    return True


#: The leading order of a deep network needs derivatives of high order: it is tested in ``test_small_weights``.
PAIRS = [
    pytest.param(case, what, id=f"{what}: {case}")
    for case in CASES
    for what in CHECKS
    if not (what == "small-weights" and case.model in DEEP)
]


@pytest.mark.parametrize(("case", "what"), PAIRS)
def test_the_printed_equations_are_those_of_autograd(case: Case, what: str):
    if is_defined(what, case):
        CHECKS[what](Sides(case, what))
    else:
        with pytest.raises((AssumptionError, NotThere, ValueError)):
            derive(problem_of(case), what)


def test_every_name_that_is_shown_is_checked():
    assert set(CHECKS) | ELSEWHERE == set(SHOWN)
    assert not set(CHECKS) & ELSEWHERE


def test_every_registered_activation_and_loss_is_there():
    families = {name.partition("(")[0] for name in ACTIVATIONS if "(" in name}
    assert set(REGISTRY) <= set(ACTIVATIONS)
    assert set(FAMILIES) <= families
    assert {*LOSSES, "linear_hinge"} <= set(LOSS_NAMES)


@pytest.mark.parametrize("what", CHECKS)
def test_every_pair_occurs(what: str):
    """Whatever an object can be derived for at all, it is checked for: activations, losses, models."""
    checked = [
        case
        for case in CASES
        if is_defined(what, case) and not (what == "small-weights" and case.model in DEEP)
    ]
    models = [*TWO_LAYER, *DEEP, *OTHER]
    possible = [
        Case(model, name, ell) for model in models for name in ACTIVATIONS for ell in LOSS_NAMES
        if is_defined(what, Case(model, name, ell)) and (model not in OTHER or name == "linear")
    ]  # fmt: skip
    for part in ("activation", "loss", "model"):
        assert {getattr(case, part) for case in checked} == {getattr(case, part) for case in possible}, part


@pytest.mark.parametrize("what", ["gradient", "hessian", "ntk", "kkt-norm"])
def test_the_comparison_is_able_to_fail(what: str):
    """The hand-written network with another slope at the kink: the very points that lie on it differ."""
    sides = Sides(Case("biases", "relu", "logistic", Rational(1, 2), True), what)
    sides.network, sides.theta = network_of(Case("biases", "relu", "logistic", Rational(1, 3), True))
    with pytest.raises(AssertionError, match="error"):
        CHECKS[what](sides)
