"""Conservation laws: proved, tied to the activation's own law, absent where they should be, and true along a flow."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from sympy import Integer, Rational, S

from derivations import conservation
from derivations.activations import activation
from derivations.conservation import conservation_derivation, conserved_quantities
from derivations.hidden_layer import hidden_layers
from derivations.no_balance import independence
from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.tolerances import same_formula

BALANCE, SHIFT, MATRIX, NONE = (
    "balance of a neuron",
    "shift law of a neuron",
    "balance of a layer",
    "no balance of a neuron",
)


def names(problem):
    return [c.name for c in conserved_quantities(problem)]


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [
        ("relu", [BALANCE]),
        ("abs", [BALANCE]),
        ("quadratic", [BALANCE]),
        ("cubic", [BALANCE]),
        ("linear", [BALANCE, MATRIX]),
        ("exp", [NONE, SHIFT]),
        ("exp(-2*z)", [NONE, SHIFT]),
        ("tanh", [NONE]),
        ("sigmoid", [NONE]),
        ("softplus", [NONE]),
        ("gelu", [NONE]),
        ("sin", [NONE]),
        ("gaussian", [NONE]),
    ],
)
@pytest.mark.parametrize("vector", [False, True])
def test_laws_of_the_registered_activations(sigma, expected, vector):
    found = conserved_quantities(
        Problem.two_layer(sigma, input_bias=True, output_bias=True, vector_output=vector)
    )
    assert [c.name for c in found] == expected
    assert all(c.proved for c in found)
    assert all(set(c.residuals.values()) == {0} for c in found if c.quantity is not None)
    assert all(text.count("$") % 2 == 0 for c in found for text in (c.statement, *c.steps))


def test_no_shift_law_without_a_bias_and_none_for_a_general_activation():
    assert names(Problem.two_layer("exp")) == [NONE]
    assert names(Problem.two_layer(input_bias=True)) == []


def test_the_negative_is_worded_exactly():
    (none,) = conserved_quantities(Problem.two_layer("tanh", input_bias=True))
    assert "None of this kind exists; other kinds are not excluded." in none.statement
    assert r"\alpha a_{k}^2 + \beta \lVert w_{k} \rVert^2 + \gamma b_{k}^2" in none.statement


def test_the_exponential_has_a_law_of_another_kind():
    # "None of this kind" and a conserved quantity stand side by side, without contradiction.
    none, shift = conserved_quantities(Problem.two_layer("exp", input_bias=True))
    assert none.quantity is None
    assert r"$S_k = b_{k} - \frac{1}{2} a_{k}^2$" in shift.statement


def test_independence_is_not_claimed_where_the_functions_are_dependent():
    for sigma in ("relu", "quadratic", "abs", "linear"):
        problem = Problem.two_layer(sigma)
        (layer,) = hidden_layers(problem)
        assert independence(problem.activation, layer, ("out", "in")) is None
        biased = Problem.two_layer(sigma, input_bias=True)
        (layer,) = hidden_layers(biased)
        assert independence(problem.activation, layer, ("out", "in", "bias")) is None
        assert independence(problem.activation, layer, ("in", "bias")) is not None


@pytest.mark.parametrize("freeze", [("a",), ("w",), ("b",)])
def test_a_frozen_block_takes_the_law_away(freeze):
    (none,) = conserved_quantities(Problem.two_layer("relu", input_bias=True, freeze=freeze))
    assert none.name == NONE
    assert "The other parts of a neuron are frozen." in none.statement
    assert ("exception" in none.statement) == (freeze == ("b",))


def test_a_wrong_degree_is_not_proved(monkeypatch):
    problem = Problem.two_layer("quadratic")
    (layer,) = hidden_layers(problem)
    good = conservation._balance(problem, layer, problem.activation, Integer(2))
    assert good.proved
    # Euler with p = 3 on one side only: z sigma' = p sigma must be used with the p of the law.
    k = conservation.Index("k", layer.width)
    sample = problem.system.formals(problem.output)[0]
    work = conservation.isum(layer.delta[sample, k] * layer.z[sample, k], sample)

    def euler(leaf):
        if isinstance(leaf, conservation.GenericFunction) and leaf.orders == (1,):
            return 2 * conservation.GenericFunction("sigma", (0,), *leaf.arguments) / leaf.arguments[0]
        return leaf

    drift = conservation._outgoing(problem, layer, k, k, Integer(3), work)
    assert conservation.residual(conservation._at_leaves(drift, euler)) != 0


def test_a_bias_that_is_left_out_of_the_law_is_noticed(monkeypatch):
    problem = Problem.two_layer("relu", input_bias=True)
    (layer,) = hidden_layers(problem)
    k = conservation.Index("k", layer.width)
    assert conservation._incoming(problem, layer, k, k) == 0
    assert conservation._incoming(problem, dataclasses.replace(layer, bias=None), k, k) != 0


def test_a_bent_line_has_no_matrix_law():
    # relu with the residual of the linear law: the proof must fail, not only be skipped.
    problem = Problem.two_layer("linear")
    assert conserved_quantities(problem)[1].proved
    bent = Problem.two_layer(activation("z + z**3"))
    (layer,) = hidden_layers(bent)
    j, q = (conservation.Index(name, layer.width) for name in "jq")
    sample = bent.system.formals(bent.output)[0]
    work = conservation.isum(layer.delta[sample, j] * layer.z[sample, q], sample)
    drift = conservation._outgoing(bent, layer, j, q, S.One, work)
    assert conservation.residual(conservation.bind(drift, bent.functions)) != 0


@pytest.mark.parametrize("sigma", ["linear", "relu", "quadratic"])
def test_deep_networks_have_one_law_a_layer(sigma):
    found = conserved_quantities(Problem.deep(4, sigma, vector_output=True))
    assert [c.name for c in found if c.name.startswith(BALANCE)] == [
        f"{BALANCE}, layer {l}" for l in (1, 2, 3)
    ]
    assert all(c.proved for c in found)


def test_weight_decay_turns_the_law_into_an_exponential():
    balance = conserved_quantities(Problem.two_layer("relu", weight_decay=Rational(1, 10)))[0]
    assert balance.decay == Rational(1, 5)
    assert set(balance.residuals) == {"incoming", "outgoing", "decay, out", "decay, in"}
    mixed = Problem.two_layer("relu", weight_decay=1, rate=(("a", Integer(2)),))
    assert conserved_quantities(mixed)[0].decay is None


def drift(problem, width, sigma_margin=None):
    """Return (dQ/dt, scale of its terms) of every quantity at a random point, by autograd of Q along the flow."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(9, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(*((9, 2) if problem.vector_output else (9,)), generator=generator, dtype=torch.float64)
    system = compile_system(problem, x, y, width)
    theta = torch.randn(system.P, generator=generator, dtype=torch.float64)
    for law in conserved_quantities(problem):
        if law.quantity is None:
            continue

        def value(point, law=law):
            return system.evaluate(problem.derived, {"Q": (law.quantity, law.indices)}, point)["Q"]

        slope = torch.func.jacrev(value)(theta).reshape(-1, system.P)
        yield (
            law,
            value(theta).reshape(-1),
            slope @ system.flow(theta),
            (slope * system.flow(theta)).abs().sum(dim=1),
        )


LAWS = [
    Problem.two_layer(
        "relu", "square", input_bias=True, vector_output=True, rate=(("a", Integer(3)), ("b", Rational(1, 2)))
    ),
    Problem.two_layer("quadratic", "square", input_bias=True, output_bias=True, scale="1/m"),
    Problem.two_layer("linear", "square", input_bias=True, vector_output=True, rate=(("w", Integer(2)),)),
    Problem.two_layer("exp", "square", input_bias=True, vector_output=True, rate=(("a", Integer(2)),)),
    Problem.two_layer("exp(-2*z)", "logistic", input_bias=True),
    Problem.two_layer("relu", "square", input_bias=True, weight_decay=Rational(1, 10)),
]


@pytest.mark.parametrize("problem", LAWS, ids=lambda p: f"{p.activation.name} {p.loss.name}")
def test_the_quantity_obeys_its_law_along_the_compiled_flow(problem):
    seen = 0
    for law, value, speed, size in drift(problem, 4):
        assert bool((size > 1e-3).all())  # there are terms to cancel; the smallest seen are 8e-3
        torch.testing.assert_close(
            speed / size, -float(law.decay) * value / size, rtol=0, atol=same_formula(torch.float64)
        )
        seen += 1
    assert seen


@pytest.mark.parametrize("sigma", ["linear", "relu"])
def test_deep_quantities_obey_their_law_along_the_compiled_flow(sigma):
    problem = Problem.deep(3, sigma, "square", vector_output=True, rate=(("W2", Integer(2)),))
    for law, _, speed, size in drift(problem, (3, 4)):
        assert bool((speed.abs() <= same_formula(torch.float64) * size.clamp(min=1e-3)).all()), law.name


def test_the_balance_of_tanh_does_change_along_the_flow():
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    relu = conserved_quantities(Problem.two_layer("relu", "square", input_bias=True))[0]
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(9, 2, generator=generator, dtype=torch.float64)
    system = compile_system(problem, x, torch.randn(9, generator=generator, dtype=torch.float64), 4)
    theta = torch.randn(system.P, generator=generator, dtype=torch.float64)
    slope = torch.func.jacrev(
        lambda p: system.evaluate(problem.derived, {"Q": (relu.quantity, relu.indices)}, p)["Q"]
    )(theta)
    assert float((slope @ system.flow(theta)).abs().max()) > 0.01


def test_statements_are_plain_data():
    for statement in conservation_derivation(Problem.two_layer("relu")):
        assert set(statement.to_dict()) == {"name", "statement", "steps", "status", "residuals", "source"}
