"""Identities that keep the outputs, checked by networks written out by hand in NumPy; wrong maps are refuted."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sympy import Integer, Rational, S, binomial, exp, factorial, pi

from derivations import neuron_relations, wider_layer
from derivations.claim import Status
from derivations.formula_model import FormulaProblem
from derivations.hidden_layer import hidden_layers
from derivations.identities import identities, identity_statements
from derivations.identity import Kind
from derivations.indexed import Index
from derivations.polynomial_neurons import neuron_span
from derivations.problem import Problem, d, m
from derivations.proposed_map import neuron_identity
from derivations.registry import ENTRIES, MEMBERS
from derivations.uniqueness import independence_argument, uniqueness
from numerics.reference import ACTIVATIONS

EVERY = [*ENTRIES, *MEMBERS]
#: Largest relative error of an output that is kept, in float64; seen: 1e-13 for powers of order 4.
KEPT = 1e-10


def sigma(name, z):
    return ACTIVATIONS[name](torch.as_tensor(z), 0.0).numpy()


def network(name, theta, x, scale=1.0):
    """a (m, o), w (m, d), b (m,), c (o,); the data of a network of one hidden layer, by hand."""
    a, w, b, c = theta
    return scale * sigma(name, x @ w.T + b) @ a + c


def draw(seed, width=5, inputs=2, outputs=2, *, bias=True, shift=True):
    random = np.random.default_rng(seed)
    b = random.normal(size=width) if bias else np.zeros(width)
    c = random.normal(size=outputs) if shift else np.zeros(outputs)
    theta = [random.normal(size=(width, outputs)), random.normal(size=(width, inputs)), b, c]
    return theta, random.normal(size=(7, inputs)), random


def kept(name, before, after, x):
    old, new = network(name, before, x), network(name, after, x)
    return float(np.abs(new - old).max()) <= KEPT * max(1.0, float(np.abs(old).max()))


def named(problem):
    return {identity.name: identity for identity in identities(problem)}


# -- the groups and semigroups, for every activation


@pytest.mark.parametrize("name", EVERY)
def test_every_identity_is_proved_and_keeps_the_outputs_of_a_network_written_by_hand(name):
    problem = Problem.two_layer(name, input_bias=True, output_bias=True, vector_output=True)
    found = named(problem)
    assert all(u.proved for key, u in found.items() if key != "completeness of the list")
    (a, w, b, c), x, random = draw(3)
    s, lam, tau = 1, 1.7, 0.6
    sign = problem.activation.affine_parity.sign
    alpha = float(problem.activation.affine_parity.constant)

    def moved(out=1.0, inner=1.0, shift=0.0, constant=0.0):
        a1, w1, b1 = a.copy(), w.copy(), b.copy()
        a1[s], w1[s], b1[s] = out * a1[s], inner * w1[s], inner * b1[s] + shift
        return [a1, w1, b1, c + constant * a[s]]

    order = random.permutation(len(a))
    maps = {"permutation of neurons": [a[order], w[order], b[order], c]}
    if "sign of a neuron" in found:
        maps["sign of a neuron"] = moved(sign, -1.0, constant=alpha)
    if "scaling of a neuron" in found:
        degree = float(problem.activation.homogeneity_degree)
        maps["scaling of a neuron"] = moved(lam**-degree, lam)
    if "shift of a neuron" in found:
        rate = problem.activation.shift_rate.value
        maps["shift of a neuron"] = (
            moved(math.exp(-float(rate) * tau), shift=tau) if rate is not None else moved(-1.0, shift=math.pi)
        )
    if "mixing of neurons" in found:
        g = random.normal(size=(len(a), len(a)))
        maps["mixing of neurons"] = [np.linalg.inv(g).T @ a, g @ w, g @ b, c]
    part, fresh = random.normal(size=2), (random.normal(size=(1, 2)), random.normal(size=1))
    split = a.copy()
    split[s] -= part
    maps["splitting of a neuron"] = [
        np.vstack([split, part]),
        np.vstack([w, w[s]]),
        np.append(b, b[s]),
        c,
    ]
    maps["cancelling pair of neurons"] = [
        np.vstack([a, part, -part]),
        np.vstack([w, fresh[0], fresh[0]]),
        np.concatenate([b, fresh[1], fresh[1]]),
        c,
    ]
    maps["silent neuron"] = [np.vstack([a, 0 * part]), np.vstack([w, fresh[0]]), np.append(b, fresh[1]), c]
    maps["constant neuron"] = [
        np.vstack([a, part]),
        np.vstack([w, 0 * fresh[0]]),
        np.append(b, tau),
        c - sigma(name, np.array([tau])) * part,
    ]
    for key, theta in maps.items():
        assert kept(name, (a, w, b, c), theta, x), key
    rest = {"joint sign of neurons", "dependence of polynomial neurons", "phases of neurons of one frequency"}
    assert set(found) - set(maps) <= rest | {"completeness of the list"}
    # What is not listed does change the outputs: the oracle would notice a map that is left out.
    listed = {"sign of a neuron", "scaling of a neuron"} & set(found)
    if "scaling of a neuron" not in listed and name != "linear":
        assert not any(kept(name, (a, w, b, c), moved(lam**-p, lam), x) for p in (0, 1, 2, 3))
    if "sign of a neuron" not in listed:
        assert not any(kept(name, (a, w, b, c), moved(t, -1.0), x) for t in (-1, 1))


@pytest.mark.parametrize("name", ["softplus", "relu", "gelu", "silu", "leaky_relu(1/10)", "sigmoid"])
@pytest.mark.parametrize(("bias", "shift"), list(itertools.product([False, True], repeat=2)))
def test_joint_signs_keep_the_outputs_where_their_condition_holds(name, bias, shift):
    problem = Problem.two_layer(name, input_bias=bias, output_bias=shift, vector_output=True)
    found = named(problem)
    parity = problem.activation.affine_parity
    if name == "sigmoid" and shift:
        assert "joint sign of neurons" not in found  # the output bias takes the constant up, neuron by neuron
        return
    assert found["joint sign of neurons"].proved
    assert found["joint sign of neurons"].kind is Kind.PARTIAL
    (a, w, b, c), x, random = draw(5, bias=bias, shift=shift)
    alpha, beta, members = float(parity.constant), float(parity.slope), [0, 2, 3, 4]
    inside = np.hstack([w, np.ones((5, 1)) * b[:, None]])[members]
    rows = [beta * inside[:, 0], beta * inside[:, 1]]
    if not shift:
        rows.append(alpha + beta * inside[:, 2])
    # outgoing weights of the set, orthogonal to what must cancel
    conditions = np.array(rows)
    null = np.linalg.svd(conditions)[2][np.linalg.matrix_rank(conditions) :]
    a[members] = null.T @ random.normal(size=(len(null), 2))
    after = [a.copy(), w.copy(), b.copy(), c.copy()]
    for k in members:
        after[0][k], after[1][k], after[2][k] = parity.sign * a[k], -w[k], -b[k]
    if shift:
        after[3] = c - parity.sign * ((alpha + beta * b[members]) @ a[members])
    assert kept(name, (a, w, b, c), after, x)
    spoilt = [after[0].copy(), *after[1:]]
    spoilt[0][members[0]] += 0.1
    assert not kept(name, (a, w, b, c), spoilt, x)


@pytest.mark.parametrize(
    "name", ["quadratic", "cubic", "monomial(4)", "polynomial(1, 1/2, 0, -1/3)", "linear"]
)
@pytest.mark.parametrize("bias", [False, True])
def test_polynomial_neurons_span_as_many_dimensions_as_stated(name, bias):
    problem = Problem.two_layer(name, input_bias=bias)
    (found,) = [u for u in identities(problem) if u.name.startswith("dependence")]
    number = int((m - found.dimension).subs({d: 2}))
    random = np.random.default_rng(0)
    width = number + 3
    w, b = random.normal(size=(width, 2)), random.normal(size=width) * bias
    x = random.normal(size=(4 * width, 2))
    values = sigma(name, x @ w.T + b)
    assert np.linalg.matrix_rank(values, tol=1e-9 * np.linalg.norm(values)) == number
    v = np.linalg.svd(values)[2][-1]
    a = random.normal(size=(width, 1))
    assert kept(name, (a, w, b, np.zeros(1)), (a + 2.0 * v[:, None], w, b, np.zeros(1)), x)


def test_quadratic_networks_need_d_plus_one_over_two_times_d_neurons():
    assert neuron_span((S.Zero, S.Zero, S.One), d, bias=False) == binomial(d + 1, 2)
    assert neuron_span((S.Zero, S.Zero, S.One), d, bias=True) == binomial(d + 2, 2)
    assert neuron_span((S.One, S.Zero, S.One), Integer(3), bias=False) == 7


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_neurons_of_one_frequency_are_dependent(name):
    found = named(Problem.two_layer(name, input_bias=True))["phases of neurons of one frequency"]
    assert found.proved
    (a, w, b, c), x, _ = draw(1, outputs=1)
    w[1] = w[2] = w[0]
    v = [math.sin(b[(j + 1) % 3] - b[(j + 2) % 3]) for j in range(3)]
    after = a.copy()
    after[:3, 0] += 1.3 * np.array(v)
    assert kept(name, (a, w, b, c), (after, w, b, c), x)
    assert "phases of neurons of one frequency" not in named(Problem.two_layer(name))  # without a bias


def test_quadratic_neurons_rotate():
    (a, w, b, c), x, random = draw(8, outputs=1)
    s = random.normal(size=(5, 5))
    generator = (s - s.T) @ np.diag(a[:, 0])
    turned = torch.linalg.matrix_exp(torch.as_tensor(0.3 * generator)).numpy() @ np.hstack([w, b[:, None]])
    assert kept("quadratic", (a, w, b, c), (a, turned[:, :2], turned[:, 2], c), x)
    found = named(Problem.two_layer("quadratic", input_bias=True))["rotation of neurons"]
    assert (found.kind, found.dimension) == (Kind.GROUP, m * (m - 1) / 2)


# -- deep networks


def deep_output(weights, biases, x, name):
    h = x
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h = sigma(name, h @ w.T + b)
    return h @ weights[-1].T + biases[-1]


@pytest.mark.parametrize("layer", [1, 2])
def test_every_layer_of_a_deep_network_has_its_identities(layer):
    problem = Problem.deep(3, "sigmoid", vector_output=True)
    found = named(problem)
    names = ["sign of a neuron", "splitting of a neuron", "constant neuron", "cancelling pair of neurons"]
    assert all(found[f"{name}, layer {layer}"].proved for name in names)
    random = np.random.default_rng(2)
    sizes = (2, 4, 3, 2)
    weights = [random.normal(size=(sizes[k + 1], sizes[k])) for k in range(3)]
    biases = [random.normal(size=sizes[k + 1]) for k in range(3)]
    x = random.normal(size=(6, 2))
    before = deep_output(weights, biases, x, "sigmoid")

    def after(change):
        w, b = [u.copy() for u in weights], [u.copy() for u in biases]
        change(w, b)
        return deep_output(w, b, x, "sigmoid")

    def sign(w, b):
        b[layer] += w[layer][:, 1]
        w[layer][:, 1] *= -1
        w[layer - 1][1] *= -1
        b[layer - 1][1] *= -1

    def split(w, b):
        part = random.normal(size=len(w[layer]))
        w[layer][:, 1] -= part
        w[layer] = np.hstack([w[layer], part[:, None]])
        w[layer - 1] = np.vstack([w[layer - 1], w[layer - 1][1]])
        b[layer - 1] = np.append(b[layer - 1], b[layer - 1][1])

    def constant(w, b):
        part = random.normal(size=len(w[layer]))
        b[layer] -= part / (1 + math.exp(-0.4))
        w[layer] = np.hstack([w[layer], part[:, None]])
        w[layer - 1] = np.vstack([w[layer - 1], 0 * w[layer - 1][1]])
        b[layer - 1] = np.append(b[layer - 1], 0.4)

    for change in (sign, split, constant):
        assert np.abs(after(change) - before).max() < KEPT, change.__name__


# -- kinds, dimensions, consequences


def test_kinds_dimensions_and_orbits():
    found = named(Problem.two_layer("relu", input_bias=True, vector_output=True))
    assert found["permutation of neurons"].orbit == factorial(m)
    assert found["scaling of a neuron"].dimension == m
    assert found["splitting of a neuron"].dimension.name == "o"
    assert str(found["cancelling pair of neurons"].dimension) == "d + o + 1"
    assert [found[u].added for u in ("splitting of a neuron", "cancelling pair of neurons")] == [1, 2]
    assert "balance of a neuron (conservation)" in found["scaling of a neuron"].follows
    assert "splitting embedding (embedding)" in found["splitting of a neuron"].follows
    assert "sign of a neuron" not in found
    plain = named(Problem.two_layer("tanh"))["sign of a neuron"].to_dict()
    assert (plain["kind"], plain["dimension"], plain["orbit_size"]) == ("group", "0", "2**m")


def test_weight_decay_says_what_becomes_of_the_risk():
    found = named(Problem.two_layer("tanh", weight_decay=1))
    assert found["permutation of neurons"].keeps_risk is True
    assert found["splitting of a neuron"].keeps_risk is False
    assert found["splitting of a neuron"].follows == ()


def test_a_general_activation_has_what_every_activation_has():
    names = list(named(Problem.two_layer(input_bias=True)))
    assert names == [
        "permutation of neurons",
        "splitting of a neuron",
        "cancelling pair of neurons",
        "silent neuron",
        "constant neuron",
        "completeness of the list",
    ]
    assert identities(Problem.two_layer())[-1].status is Status.UNDECIDED


def test_printed_identities_carry_their_facts_and_balanced_dollars():
    for name in ("tanh", "relu", "quadratic", "sigmoid", "softplus", "exp", "sin", "linear", MEMBERS[3]):
        for found in identity_statements(Problem.two_layer(name, input_bias=True)):
            assert all(text.count("$") % 2 == 0 for text in (found.statement, *found.steps)), (
                name,
                found.name,
            )
            if found.kind is not Kind.LIST:
                assert any(step.startswith(("Group", "Partial group", "Semigroup")) for step in found.steps)


def test_formulas_and_diagonal_networks_have_their_symmetries():
    found = identities(FormulaProblem.of("a*b*x", ["a", "b"]))
    assert [(u.name, u.kind, u.dimension) for u in found] == [
        ("scaling of parameters", Kind.GROUP, 1),
        ("completeness of the list", Kind.LIST, None),
    ]


# -- wrong maps


@pytest.mark.parametrize(
    ("problem", "numbers", "status"),
    [
        (Problem.two_layer("tanh", input_bias=True), {"out": -1, "weights": -1}, Status.PROVED),
        (Problem.two_layer("tanh", input_bias=True), {"out": 1, "weights": -1}, Status.REFUTED),
        (Problem.two_layer("relu"), {"out": Rational(1, 3), "weights": 3}, Status.PROVED),
        (Problem.two_layer("relu"), {"out": Rational(1, 9), "weights": 3}, Status.REFUTED),
        (Problem.two_layer("relu"), {"out": -1, "weights": -1}, Status.REFUTED),
        (Problem.two_layer("quadratic"), {"out": Rational(1, 9), "weights": -3}, Status.PROVED),
        (Problem.two_layer("sin", input_bias=True), {"out": 1, "weights": 1, "shift": 2 * pi}, Status.PROVED),
        (Problem.two_layer("sin", input_bias=True), {"out": 1, "weights": 1, "shift": pi}, Status.REFUTED),
        (Problem.two_layer("sin", input_bias=True), {"out": 1, "weights": -1, "shift": pi}, Status.PROVED),
        (
            Problem.two_layer("exp", input_bias=True),
            {"out": exp(-2), "weights": 1, "shift": 2},
            Status.PROVED,
        ),
        (
            Problem.two_layer("exp", input_bias=True),
            {"out": exp(-1), "weights": 1, "shift": 2},
            Status.REFUTED,
        ),
        (Problem.two_layer("sigmoid"), {"out": -1, "weights": -1}, Status.REFUTED),
        (Problem.deep(3, "tanh"), {"out": -1, "weights": -1, "layer": 1}, Status.PROVED),
        (Problem.deep(3, "tanh"), {"out": -1, "weights": -1, "layer": 2}, Status.PROVED),
        (Problem.deep(3, "tanh"), {"out": -1, "weights": 1, "layer": 2}, Status.REFUTED),
    ],
)
def test_a_proposed_map_is_proved_or_refuted(problem, numbers, status):
    numbers = {key: value if key == "layer" else S(1) * value for key, value in numbers.items()}
    found = neuron_identity(problem, **numbers)
    assert found.status is status, found.statement
    if status is Status.PROVED:
        assert set(found.residuals.values()) == {0}
    else:
        assert "changes outputs" in found.statement


def test_a_proposed_map_that_forgets_the_outgoing_weights_leaves_a_residual(monkeypatch):
    from derivations import proposed_map

    problem = Problem.two_layer("tanh", input_bias=True)
    honest = proposed_map.change_of

    def forgetful(problem, expr, rules, law):
        return honest(problem, expr, {t: r for t, r in rules.items() if t.name != "a"}, law)

    monkeypatch.setattr(proposed_map, "change_of", forgetful)
    assert neuron_identity(problem, out=-S.One, weights=-S.One).status is Status.UNDECIDED


@pytest.mark.parametrize(
    ("problem", "numbers", "message"),
    [
        (Problem.two_layer(), {"out": S.One, "weights": S.One}, "name an activation"),
        (Problem.two_layer("tanh"), {"out": S.One, "weights": S.One, "layer": 2}, "no hidden layer 2"),
        (Problem.two_layer("tanh"), {"out": S.One, "weights": S.One, "shift": S.One}, "input_bias = true"),
        (Problem.two_layer("tanh"), {"out": S.Zero, "weights": S.One}, "none that is 0"),
    ],
)
def test_proposals_that_mean_nothing_are_refused(problem, numbers, message):
    with pytest.raises(ValueError, match=message):
        neuron_identity(problem, **numbers)


def test_a_wrong_change_of_the_width_leaves_a_residual():
    problem = Problem.two_layer(input_bias=True, output_bias=True, scale="1/m")
    (layer,) = hidden_layers(problem)
    wide, some = wider_layer.wider(problem, layer), Index("s", layer.width)
    good = wider_layer._split(layer, wide, some)
    assert wider_layer._change(problem, layer, wide, good) == 0
    without_bias = {t: r for t, r in good.items() if not t.name.startswith("b")}
    assert wider_layer._change(problem, layer, wide, without_bias) != 0
    both_keep_all = {t: r for t, r in good.items() if t != layer.outgoing.tensor}
    assert wider_layer._change(problem, layer, wide, both_keep_all) != 0
    assert wider_layer._change(problem, layer, replace(wide, ratio=S.One), good) != 0  # the output scale


def test_a_joint_sign_map_that_leaves_the_outgoing_weights_alone_leaves_a_residual():
    problem = Problem.two_layer("sigmoid", input_bias=True)
    (layer,) = hidden_layers(problem)
    some = Index("s", layer.width)
    inner = layer.scaled("in", some, -S.One) | layer.scaled("bias", some, -S.One)
    whole = inner | layer.scaled("out", some, -S.One)

    def change(rules):
        return neuron_relations._change_behind(problem, layer, rules, -1, S.One, S.Zero, some)

    assert change(whole) == 0
    assert change(inner) != 0


# -- completeness


@pytest.mark.parametrize(
    ("name", "bias", "argument"),
    [
        ("tanh", True, "poles"),
        ("sigmoid", True, "poles"),
        ("silu", True, "poles"),
        ("softplus", False, "poles"),
        ("rational", True, "poles"),
        ("z*tanh(z)", True, "poles"),
        ("erf", True, "gaussians"),
        ("gelu", True, "gaussians"),
        ("gaussian", True, "gaussians"),
        ("relu", True, "kinks"),
        ("leaky_relu(1/10)", True, "kinks"),
        ("abs", False, "kinks"),
        ("exp", True, "exponential"),
        ("sin", True, "frequency"),
        ("sin", False, "taylor"),
        ("softsign", True, None),
        ("relu_power(2)", True, None),
        ("cubic", True, None),
        ("tanh(z) + tanh(2*z)", True, None),
        ("cos(z + 1)", True, None),  # the sign map of this phase is not in the list
        ("sigmoid(z) + sigmoid(-z)", False, None),
        ("sin(z)**2 + cos(z)**2", False, None),  # a constant in disguise is no transcendental function
        ("(1 + z**2)/(2 + z**2 + (z - 1)**2)", True, None),
    ],
)
def test_completeness_is_claimed_only_where_neurons_are_shown_to_be_independent(name, bias, argument):
    problem = Problem.two_layer(name, input_bias=bias)
    found = independence_argument(problem.activation, bias=bias)
    assert (found.name if found else None) == argument
    assert (uniqueness(problem).status is Status.PROVED) == (argument is not None)


@pytest.mark.parametrize(
    "name", [u for u in EVERY if independence_argument(Problem.two_layer(u).activation, bias=True)]
)
def test_neurons_said_to_be_independent_are_so_numerically(name):
    """Values of inequivalent neurons and of affine functions at many inputs have full rank."""
    random = np.random.default_rng(4)
    w, b = random.normal(size=(4, 1)), random.normal(size=4)
    if name in ("exp",):
        b = 0 * b
    x = np.linspace(-3, 3, 60)[:, None]
    values = np.hstack([sigma(name, x @ w.T + b), x, np.ones_like(x)])
    singular = np.linalg.svd(values / np.linalg.norm(values, axis=0), compute_uv=False)
    assert singular[-1] > 1e-7, singular


def test_equal_invariants_are_equal_functions_and_unequal_ones_are_not():
    """The stated invariant of a softplus network: class weights and affine remainder."""
    (a, w, b, c), x, random = draw(9, width=3, outputs=1)
    part = random.normal(size=(3, 1))
    # move the weight `part` of each neuron to its mirror image, and cancel the affine remainder by one more pair
    lost = part.T @ np.hstack([w, b[:, None]])
    theta = [
        np.vstack([a - part, part, [[1.0]], [[-1.0]]]),
        np.vstack([w, -w, lost[:, :2], -lost[:, :2]]),
        np.concatenate([b, -b, lost[:, 2], -lost[:, 2]]),
        c,
    ]
    assert kept("softplus", (a, w, b, c), theta, x)
    theta[0][0] += 0.01
    assert not kept("softplus", (a, w, b, c), theta, x)


def test_deep_networks_are_left_open():
    found = uniqueness(Problem.deep(3, "tanh"))
    assert found.status is Status.UNDECIDED
    assert "Fefferman" in found.statement
