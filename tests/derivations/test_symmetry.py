"""Symmetries hold for symbolic sizes, wrong maps leave a residual, missing properties are refuted by a point."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from sympy import Integer, Rational, Symbol, exp

from derivations import mixing, neuron_map
from derivations.activations import activation
from derivations.claim import Status
from derivations.hidden_layer import hidden_layers
from derivations.indexed import Index, Tensor, isum
from derivations.neuron_map import change_of, scaling_law, shift_law, sign_law
from derivations.problem import Problem
from derivations.symmetry import symmetries, symmetry_derivation

LAMBDA, TAU = Symbol("lambda", positive=True), Symbol("tau", real=True)
PROBLEMS = {
    "plain": Problem.two_layer(),
    "all": Problem.two_layer(input_bias=True, output_bias=True, vector_output=True, scale="1/m"),
    "deep": Problem.deep(3),
    "deep, two outputs": Problem.deep(3, vector_output=True, input_bias=False),
}
EVERY = [(name, position) for name, p in PROBLEMS.items() for position in range(len(hidden_layers(p)))]


def output(problem):
    return problem.output[problem.system.formals(problem.output)]


def scaled(layer, factors):
    some, rules = Index("s", layer.width), {}
    for role in layer.blocks:
        rules |= layer.scaled(role, some, factors[role])
    return rules


@pytest.mark.parametrize(("name", "position"), EVERY)
def test_general_sigma_any_permutation(name, position):
    problem = PROBLEMS[name]
    layer = hidden_layers(problem)[position]
    rules = layer.swapped(Index("j", layer.width), Index("q", layer.width))
    assert change_of(problem, output(problem), rules) == 0
    assert change_of(problem, problem.risk(), rules) == 0
    incomplete = {tensor: rule for tensor, rule in rules.items() if tensor != layer.outgoing.tensor}
    assert change_of(problem, output(problem), incomplete) != 0


@pytest.mark.parametrize(("name", "position"), EVERY)
def test_sign_maps_need_the_right_sign_and_the_law(name, position):
    problem = PROBLEMS[name]
    layer = hidden_layers(problem)[position]
    odd = scaled(layer, {"out": Integer(-1), "in": Integer(-1), "bias": Integer(-1)})
    even = scaled(layer, {"out": Integer(1), "in": Integer(-1), "bias": Integer(-1)})
    assert change_of(problem, output(problem), odd, sign_law(Integer(-1))) == 0
    assert change_of(problem, output(problem), even, sign_law(Integer(1))) == 0
    assert change_of(problem, output(problem), even, sign_law(Integer(-1))) != 0
    assert change_of(problem, output(problem), odd, sign_law(Integer(1))) != 0
    assert change_of(problem, output(problem), odd) != 0


@pytest.mark.parametrize(("name", "position"), EVERY)
def test_scaling_needs_the_right_power(name, position):
    problem, degree = PROBLEMS[name], Integer(3)
    layer = hidden_layers(problem)[position]
    for power in (2, 3):
        rules = scaled(layer, {"out": LAMBDA**-power, "in": LAMBDA, "bias": LAMBDA})
        assert (change_of(problem, output(problem), rules, scaling_law(LAMBDA, degree)) == 0) == (power == 3)


def test_scaling_must_move_the_bias_as_well():
    problem = PROBLEMS["all"]
    (layer,) = hidden_layers(problem)
    rules = scaled(layer, {"out": 1 / LAMBDA, "in": LAMBDA, "bias": Integer(1)})
    assert change_of(problem, output(problem), rules, scaling_law(LAMBDA, Integer(1))) != 0


def test_a_shift_law_with_the_wrong_growth_is_not_proved():
    problem = PROBLEMS["all"]
    (layer,) = hidden_layers(problem)
    some = Index("s", layer.width)
    shifted = {
        layer.bias.tensor: layer.rule(layer.bias, lambda k, part: part(k) + TAU * neuron_map.Delta(k, some))
    }
    for rate in (1, 2):
        rules = {**shifted, **layer.scaled("out", some, exp(-rate * TAU))}
        change = change_of(problem, output(problem), rules, shift_law(TAU, exp(2 * TAU)))
        assert (change == 0) == (rate == 2)


#: activation -> statuses of sign and scaling of a neuron, and further symmetries of a layer with biases
KNOWN = {
    "tanh": ("PROVED", "REFUTED", ()),
    "erf": ("PROVED", "REFUTED", ()),
    "relu": ("REFUTED", "PROVED", ()),
    "abs": ("PROVED", "PROVED", ()),
    "quadratic": ("PROVED", "PROVED", ("rotation of neurons",)),
    "gaussian": ("PROVED", "REFUTED", ()),
    "sigmoid": ("PROVED", "REFUTED", ()),  # odd up to the constant that the output bias takes up
    "softplus": ("REFUTED", "REFUTED", ()),
    "gelu": ("REFUTED", "REFUTED", ()),
    "exp": ("REFUTED", "REFUTED", ("shift of a neuron",)),
    "sin": ("PROVED", "REFUTED", ("shift of a neuron",)),
    "linear": ("PROVED", "PROVED", ("mixing of neurons",)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_symmetries_of_the_registered_activations(name):
    found = symmetries(Problem.two_layer(name, input_bias=True, output_bias=True))
    sign, scaling, further = KNOWN[name]
    assert [s.name for s in found] == [
        "permutation of neurons",
        "sign of a neuron",
        "scaling of a neuron",
        *further,
    ]
    assert [str(s.status) for s in found] == ["PROVED", sign, scaling, *["PROVED"] * len(further)]
    for symmetry in found:
        assert set(symmetry.residuals.values()) <= {0}
        assert bool(symmetry.residuals) == symmetry.proved
        denied = "There is no" in symmetry.statement or "does not keep" in symmetry.statement
        assert denied == (symmetry.status is Status.REFUTED)
        assert all(text.count("$") % 2 == 0 for text in (symmetry.statement, *symmetry.steps))


def test_sigmoid_without_an_output_bias_has_no_sign_map():
    sign = symmetries(Problem.two_layer("sigmoid"))[1]
    assert sign.status is Status.REFUTED
    assert r"$\sigma(z) + \sigma(-z) = 1$" in sign.statement


def test_the_constant_of_the_sigmoid_goes_to_the_output_bias():
    sign = symmetries(Problem.two_layer("sigmoid", output_bias=True, input_bias=True))[1]
    assert r"(-a_{s}, -w_{s}, -b_{s})$, $c \mapsto c + a_{s}$" in sign.statement
    assert sign.moves == ("a", "w", "b", "c")


def test_an_undecided_parity_stays_undecided(monkeypatch):
    # x*tanh is even; with the decisions taken away nothing is claimed.
    given = activation("z*tanh(z)")
    open_ = dataclasses.replace(given.parity.odd, status=Status.UNDECIDED)
    given.__dict__["parity"] = dataclasses.replace(given.parity, name="undecided", odd=open_, even=open_)
    sign = symmetries(Problem.two_layer(given))[1]
    assert sign.status is Status.UNDECIDED
    assert sign.keeps_risk is None


def test_witnesses_are_the_values_at_the_point():
    text = symmetries(Problem.two_layer("relu"))[1].statement
    assert r"\sigma(-z) + \sigma(z) = 0.42857 \neq 0$ at $z = \frac{3}{7}" in text
    text = symmetries(Problem.two_layer("exp"))[2].statement  # z e^z = p e^z fixes p = z
    assert r"at $z = \frac{3}{7}$ that fixes $p \approx 0.42857$" in text


def test_weight_decay_keeps_the_orthogonal_maps_only():
    found = symmetries(Problem.two_layer("relu", weight_decay=1, input_bias=True))
    assert [s.keeps_risk for s in found if s.proved] == [True, False]
    assert r"not of the risk" in found[2].statement
    assert found[0].residuals["weight decay"] == 0
    assert symmetries(Problem.two_layer("tanh", weight_decay=1))[1].keeps_risk is True
    assert symmetries(Problem.two_layer("sigmoid", weight_decay=1, output_bias=True))[1].keeps_risk is False


def test_frozen_blocks_are_named():
    found = symmetries(Problem.two_layer("tanh", freeze=("a",)))
    assert r"The frozen $\mathtt{a}$ moves with it" in found[0].statement
    even = symmetries(Problem.two_layer("gaussian", freeze=("a",)))[1]
    assert "frozen" not in even.statement  # the even sign map does not touch the output weights


def test_a_general_activation_has_permutations_only():
    assert [s.name for s in symmetries(Problem.deep(3))] == [
        "permutation of neurons, layer 1",
        "permutation of neurons, layer 2",
    ]


@pytest.mark.parametrize(
    ("text", "rate"), [("exp", 1), ("exp(-2*z)", -2), ("tanh", None), ("exp(z) + 1", None)]
)
def test_shift_rate(text, rate):
    assert activation(text).shift_rate.value == rate


def test_statements_are_plain_data():
    for statement in symmetry_derivation(Problem.two_layer("tanh")):
        assert set(statement.to_dict()) == {"name", "statement", "steps", "status", "residuals", "source"}


@pytest.mark.parametrize(("bias", "out"), list(itertools.product([False, True], repeat=2)))
def test_scaling_of_a_leaky_unit(bias, out):
    leaky = activation("relu(z) - relu(-z)/10")
    found = symmetries(Problem.two_layer(leaky, input_bias=bias, output_bias=out))
    assert found[2].proved
    assert leaky.homogeneity_degree == 1
    assert Rational(1, 10) == leaky.derivative(1).subs("z", -1) or leaky.is_smooth is None


@pytest.mark.parametrize("sigma", ["quadratic", "3*z**2/2 + 1"])
@pytest.mark.parametrize("bias", [False, True])
def test_quadratic_neurons_rotate_with_one_output_only(sigma, bias):
    problem = Problem.two_layer(sigma, input_bias=bias)
    assert symmetries(problem)[-1].name == "rotation of neurons"
    assert symmetries(problem)[-1].proved
    several = symmetries(Problem.two_layer(sigma, input_bias=bias, vector_output=True))
    assert "rotation of neurons" not in [s.name for s in several]


def test_a_field_that_is_not_antisymmetric_changes_the_outputs(monkeypatch):
    problem = Problem.two_layer("quadratic")
    (layer,) = hidden_layers(problem)
    q, some = Index("q", layer.width), Tensor("T", (layer.width, layer.width))
    a = layer.outgoing.tensor

    def turn(sign):
        def change(role, now, part):
            return isum((some[now, q] + sign * some[q, now]) * a[q] * part(q), q)

        return mixing._first_order(problem, layer, ("in",), change)

    assert turn(-1) == 0
    assert turn(1) != 0


def test_inner_layers_absorb_the_constant_of_the_sigmoid_in_the_next_bias():
    signs = [s for s in symmetries(Problem.deep(3, "sigmoid")) if s.name.startswith("sign")]
    assert [s.status for s in signs] == [Status.PROVED, Status.PROVED]
    assert r"b^{(2)} \mapsto b^{(2)} + W^{(2)}_{\cdot s}" in signs[0].statement
    without = [
        s for s in symmetries(Problem.deep(3, "sigmoid", input_bias=False)) if s.name.startswith("sign")
    ]
    assert [s.status for s in without] == [Status.REFUTED, Status.PROVED]
