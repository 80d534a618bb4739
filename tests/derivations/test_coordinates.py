"""The flow in coordinates of single neurons: proved by substitution, and true at random numbers by the chain rule."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest
from sympy import Integer, Rational, Symbol

from derivations.canonical import residual
from derivations.coordinates import _Polar, coordinate_residuals
from derivations.equations import derive
from derivations.errors import AssumptionError
from derivations.indexed import Entry, Index, Tensor
from derivations.neuron_view import NeuronView
from derivations.problem import Problem, m

_SPEC = importlib.util.spec_from_file_location("read_back", Path(__file__).with_name("read_back.py"))
read_back = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(read_back)

ETA, LAMBDA = Symbol("eta", positive=True), Symbol("lambda", positive=True)
PROBLEMS = {
    "generic": Problem.two_layer(),
    "relu, bias": Problem.two_layer("relu", "square", input_bias=True),
    "quadratic, rates": Problem.two_layer(
        "quadratic", "square", input_bias=True, output_bias=True, rate=(("a", ETA), ("c", Integer(2)))
    ),
    "cubic": Problem.two_layer("cubic", "logistic", scale="1/sqrt(m)", reduction="sum"),
    "relu, vector, decay": Problem.two_layer(
        "relu",
        "square",
        input_bias=True,
        output_bias=True,
        vector_output=True,
        scale="1/m",
        weight_decay=LAMBDA,
    ),
    "tanh, frozen": Problem.two_layer(
        "tanh", "logistic", input_bias=True, weight_decay=LAMBDA, freeze=("a",)
    ),
}
HOMOGENEOUS = ["relu, bias", "quadratic, rates", "cubic", "relu, vector, decay"]
CLOSE = 1e-11  # relative; sums of a hundred terms in double precision


@pytest.mark.parametrize("name", PROBLEMS)
def test_substitution_gives_the_gradient_flow_back(name):
    residuals = coordinate_residuals(PROBLEMS[name])
    assert set(residuals.values()) == {0}
    assert {"product", "unit", "w"} <= set(residuals)
    assert ("level" in residuals) == (name in HOMOGENEOUS)


def test_the_proof_notices_a_wrong_sign():
    polar = _Polar(PROBLEMS["relu, bias"])
    polar.direction = -polar.direction
    view, k, l = polar.view, polar.view.k, polar.view.coordinate
    rho = Tensor("rho", (m,))
    flow = polar.shown(view.flow())
    assert residual(rho[k] * polar.direction + polar.u[k, l] * polar.norm_from(flow) - flow) != 0


def world_of(problem, world=None):
    """Numbers of the problem with augmented vectors, norms and directions, and their velocities."""
    world, view, polar = world or read_back.World(problem), NeuronView(problem), _Polar(problem)
    w, x = world.arrays["w"], world.arrays["x"]
    w_dot = world.arrays["dot w"]
    if view.augmented:
        w = [[*row, b] for row, b in zip(w, world.arrays["b"], strict=True)]
        w_dot = [[*row, b] for row, b in zip(w_dot, world.arrays["dot b"], strict=True)]
        x = [[*row, 1.0] for row in x]
        world[view.w], world[view.x] = w, x
    norm = [math.hypot(*row) for row in w]
    unit = [[v / r for v in row] for row, r in zip(w, norm, strict=True)]
    world.arrays[r"\rho"], world[polar.u] = norm, unit
    world.arrays["s"] = [[sum(p * q for p, q in zip(row, u, strict=True)) for u in unit] for row in x]
    # quotient rule: d|w| = u.dw, du = (dw - u d|w|)/|w|
    speed = [sum(p * q for p, q in zip(u, v, strict=True)) for u, v in zip(unit, w_dot, strict=True)]
    turn = [
        [(v - u * c) / r for u, v in zip(us, vs, strict=True)]
        for us, vs, c, r in zip(unit, w_dot, speed, norm, strict=True)
    ]
    velocities = {"rho": speed, polar.u.name: turn, view.w.name: w_dot}
    for block in ("a", "c"):
        if f"dot {block}" in world.arrays:
            velocities[block] = world.arrays[f"dot {block}"]
    return world, velocities


def flat(value):
    return [u for row in value for u in flat(row)] if isinstance(value, list) else [value]


def assert_velocities(world, equations, velocities):
    seen = set()
    for equation in equations:
        name = equation.lhs.tensor.name.removeprefix("dot_")
        found = flat(world.array(equation.rhs, equation.lhs.indices))
        expected = flat(velocities[name])
        size = max(1.0, *map(abs, expected))
        assert all(abs(p - q) <= CLOSE * size for p, q in zip(found, expected, strict=True)), name
        seen.add(name)
    return seen


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("what", ["per-neuron", "norm-direction"])
def test_equations_hold_at_random_numbers(name, what):
    world, velocities = world_of(PROBLEMS[name])
    derivation = derive(PROBLEMS[name], what)
    seen = assert_velocities(world, derivation.system, velocities)
    assert seen >= ({"rho"} if what == "norm-direction" else {"a"})
    assert max(map(abs, flat(velocities["rho"]))) > 1e-2
    # the output and the cosine written in the new coordinates are the old ones
    for equation in derivation.where:
        if isinstance(equation.lhs, Entry) and equation.lhs.tensor.name in ("f", "s", "r"):
            found = flat(world.array(equation.rhs, equation.lhs.indices))
            expected = flat(world[equation.lhs.tensor])
            assert all(abs(p - q) <= CLOSE * max(1.0, abs(q)) for p, q in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_balanced_equations_hold_on_every_level(name):
    problem = PROBLEMS[name]
    world, velocities = world_of(problem)
    derivation = derive(problem, "balanced")
    rates = dict(problem.rate)
    p = float(problem.activation.homogeneity_degree)
    rate = float(rates.get("a", Integer(1)).subs(ETA, 0.7))
    squares = [sum(v * v for v in flat(row)) for row in world.arrays["a"]]
    norms = world.arrays[r"\rho"]
    world.arrays["Q"] = [p * s / rate - r * r for s, r in zip(squares, norms, strict=True)]
    (norm,) = [e for e in derivation.where if e.lhs.has(Tensor("rho", (m,)))]
    assert flat(world.array(norm.rhs, norm.lhs.indices)) == pytest.approx(norms, rel=CLOSE)
    decay = 0.3 if problem.weight_decay != 0 else 0.0
    velocities["Q"] = [-2 * decay * q for q in world.arrays["Q"]]
    general = [e for e in derivation.system if not e.condition]
    assert {"Q", "a", _Polar(problem).u.name} <= assert_velocities(world, general, velocities)


@pytest.mark.parametrize("name", ["relu, bias", "quadratic, rates", "cubic"])
def test_balanced_equations_hold_on_the_level_zero(name):
    """Put the output weights on the level, and compare with the flow there."""
    problem = PROBLEMS[name]
    world = read_back.World(problem)
    p = float(problem.activation.homogeneity_degree)
    rate = float(dict(problem.rate).get("a", Integer(1)).subs(ETA, 0.7))
    rows = [
        [*row, *([world.arrays["b"][k]] if problem.input_bias else [])]
        for k, row in enumerate(world.arrays["w"])
    ]
    signs = [1.0, -1.0, -1.0]
    world.arrays["a"] = [
        sign * math.sqrt(rate / p) * math.hypot(*row) for sign, row in zip(signs, rows, strict=True)
    ]
    for definition in problem.derived:
        world[definition.tensor] = world.array(definition.expr, definition.indices)
    for block in problem.blocks:
        gradient = problem.derived[problem.gradient[block.name]]
        world.arrays[f"dot {block.name}"] = world.array(-block.rate * gradient.expr, gradient.indices)
    fixed, velocities = world_of(problem, world)
    fixed.arrays[r"\varepsilon"] = signs
    on_level = [e for e in derive(problem, "balanced").system if e.condition]
    assert len(on_level) == 2
    assert assert_velocities(fixed, on_level, velocities) == {"rho", "u"}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("what", ["per-neuron", "norm-direction", "balanced"])
def test_printed_equations_read_back(name, what):
    if what == "balanced" and name not in HOMOGENEOUS:
        with pytest.raises(AssumptionError):
            derive(PROBLEMS[name], what)
        return
    assert read_back.assert_reads_back(derive(PROBLEMS[name], what)) >= 8


def printed(derivation):
    return [f"{row.left} = {row.tex}" for row in derivation.rows((*derivation.system, *derivation.where))]


def test_print_of_norm_and_direction():
    assert printed(derive(PROBLEMS["relu, bias"], "norm-direction"))[:4] == [
        r"\dot{a}_k = -\rho_k \sum_{i=1}^{n} r_i \sigma(s_{ik})",
        r"\dot{\rho}_k = -a_k \sum_{i=1}^{n} r_i \sigma(s_{ik})",
        r"\dot{u}_k = -\frac{1}{\rho_k} a_k \sum_{i=1}^{n} r_i \sigma'(s_{ik}) (\tilde{x}_i - s_{ik} u_k)",
        r"s_{ik} = \tilde{x}_i^{\top} u_k",
    ]


def test_print_of_the_balanced_flow():
    shown = printed(derive(Problem.two_layer("quadratic"), "balanced"))
    assert r"\rho_k = \sqrt{2 a_k^{2} - Q_k}" in shown
    assert r"\dot{u}_k = -a_k \sum_{i=1}^{n} r_i \sigma'(s_{ik}) (x_i - s_{ik} u_k)" in shown


def test_the_letters_of_direction_and_output_index_differ():
    text = derive(PROBLEMS["relu, vector, decay"], "norm-direction").latex()
    assert r"\dot{v}_k" in text
    assert r"\dot{u}" not in text


@pytest.mark.parametrize(
    ("problem", "what", "message"),
    [
        (Problem.deep(3, "relu"), "norm-direction", "kind 'deep'"),
        (Problem.two_layer("relu", freeze=("w",)), "per-neuron", "frozen"),
        (Problem.two_layer("relu", input_bias=True, freeze=("b",)), "norm-direction", "b is frozen"),
        (Problem.two_layer("relu", input_bias=True, rate=(("b", Integer(2)),)), "balanced", "b is rate 2"),
        (Problem.two_layer("tanh"), "balanced", "tanh does not have it"),
        (Problem.two_layer(), "balanced", "sigma is general"),
        (Problem.two_layer("relu", freeze=("a",)), "balanced", "a is frozen"),
        (
            Problem.two_layer("relu", weight_decay=Rational(1, 3), rate=(("a", Integer(2)),)),
            "balanced",
            "all rates agree",
        ),
    ],
)
def test_what_does_not_apply_is_refused_with_the_reason(problem, what, message):
    with pytest.raises(AssumptionError, match=message):
        derive(problem, what)


def test_a_neuron_is_one_vector():
    view = NeuronView(Problem.two_layer(input_bias=True))
    assert view.residuals() == {"pre-activation": 0, "w": 0, "b": 0}
    plain = NeuronView(Problem.two_layer())
    assert plain.residuals() == {"pre-activation": 0, "w": 0}
    assert str(view.dim) == "D"
    assert plain.w == Tensor("w", plain.w.dims)
    assert view.parts(view.flow(), Index("l", Symbol("d", integer=True, positive=True))) != view.flow()
