"""Reduction to an irreducible network must keep the function, count copies, and refuse what it cannot quotient."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from derivations.problem import Problem
from workbench.errors import NotThere
from workbench.network import Architecture, Network, architecture

FUNCTIONS = {
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "gaussian": lambda z: math.exp(-z * z / 2),
    "softplus": lambda z: math.log1p(math.exp(z)),
}


def shape_of(name: str, q: int = 1, output_bias: bool = False) -> Architecture:
    problem = Problem.two_layer(name, "square", input_bias=True, output_bias=output_bias, vector_output=q > 1)
    return architecture(problem, 2, q)


def outputs(net: Network, name: str, x: np.ndarray) -> np.ndarray:
    """The network function written out by hand."""
    sigma = FUNCTIONS[name]
    out = np.zeros((len(x), net.a.shape[1])) if net.c is None else np.tile(net.c, (len(x), 1))
    for a, w in zip(net.a, net.w, strict=True):
        z = x @ w[:2] + w[2]
        out = out + np.array([sigma(v) for v in z])[:, None] * a
    return out


@pytest.mark.parametrize(
    ("name", "output_bias"),
    [("tanh", False), ("tanh", True), ("sigmoid", True), ("gaussian", False), ("softplus", True)],
)
@pytest.mark.parametrize("q", [1, 3])
def test_reduction_keeps_the_function(name: str, output_bias: bool, q: int) -> None:
    rng = np.random.default_rng(5)
    shape = shape_of(name, q, output_bias)
    a, w = rng.normal(size=(2, q)), rng.normal(size=(2, 3))
    narrow = Network(a, w, rng.normal(size=q) if output_bias else None)
    copies = np.array([0.3, 0.9, -0.2])[:, None] * a[0]
    wide = Network(
        np.vstack([copies, a[1:], np.zeros((1, q))]), np.vstack([w[[0, 0, 0, 1]], [[1.0, 2, 3]]]), narrow.c
    )
    flips = [1] if shape.flip else []
    wide = wide.flipped(flips, shape)
    reduction = wide.reduce(shape)
    assert sorted(reduction.copies) == [1, 3]
    assert reduction.dead == 1
    x = rng.normal(size=(20, 2))
    np.testing.assert_allclose(outputs(wide, name, x), outputs(narrow, name, x), atol=1e-12)
    np.testing.assert_allclose(outputs(reduction.network, name, x), outputs(narrow, name, x), atol=1e-12)


def test_a_constant_neuron_becomes_the_output_bias() -> None:
    shape = shape_of("tanh", output_bias=True)
    net = Network(np.array([[1.0], [2.0]]), np.array([[1.0, 2, 3], [0.0, 0.0, 0.7]]), np.array([0.5]))
    reduction = net.reduce(shape)
    assert reduction.network.width == 1
    assert reduction.dead == 1
    assert reduction.network.c == pytest.approx([0.5 + 2 * math.tanh(0.7)], abs=1e-15)


def test_without_an_output_bias_a_constant_neuron_stays() -> None:
    net = Network(np.array([[1.0], [2.0]]), np.array([[1.0, 2, 3], [0.0, 0.0, 0.7]]), None)
    assert net.reduce(shape_of("tanh")).is_trivial


def test_cancelling_copies_are_dead() -> None:
    net = Network(np.array([[1.0], [-1.0], [2.0]]), np.array([[1.0, 2, 3], [1.0, 2, 3], [3.0, 1, 1]]), None)
    reduction = net.reduce(shape_of("softplus"))
    assert (reduction.network.width, reduction.dead) == (1, 2)


def test_distance_is_that_of_orbits() -> None:
    shape, rng = shape_of("tanh"), np.random.default_rng(1)
    net = Network(rng.normal(size=(3, 1)), rng.normal(size=(3, 3)), None)
    moved = Network(net.a[[2, 0, 1]], net.w[[2, 0, 1]], None).flipped([0, 2], shape)
    assert net.distance(moved, shape) <= 1e-15
    assert net.match(moved, shape) == (1, 2, 0)
    other = Network(-net.a, net.w, None)
    assert net.distance(other, shape) > 0.1
    assert net.match(other, shape) is None
    assert net.standard(shape).distance(net, shape) <= 1e-15


@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_orbit_sizes_by_enumeration(name: str) -> None:
    shape = shape_of(name)
    net = Network(np.array([[1.0], [1.0], [2.0]]), np.array([[1.0, 2, 3], [1.0, 2, 3], [3.0, 1, 1]]), None)
    images = set()
    for order in itertools.permutations(range(3)):
        for count in range(4 if shape.flip else 1):
            for flips in itertools.combinations(range(3), count):
                image = Network(net.a[list(order)], net.w[list(order)], None)
                image = image.flipped(list(flips), shape) if flips else image
                images.add(tuple(np.concatenate([image.a, image.w], axis=1).ravel()))
    assert net.orbit_size(shape) == len(images)


def test_strata_are_counted_by_surjections() -> None:
    # r! S(m, r) affine pieces, times 2^m with a parity: 14 for 2 -> 4 (Simsek et al. 2021).
    plain, odd = shape_of("softplus"), shape_of("tanh")
    pieces = [(1, 3), (2, 2), (3, 1)]
    assert sum(plain.orbit_size(copies, 0) for copies in pieces) == 14
    assert sum(odd.orbit_size(copies, 0) for copies in pieces) == 14 * 2**4
    assert sum(plain.orbit_size(copies, 0) for copies in [(1, 2), (2, 1)]) == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("relu", "kinks"),
        ("abs", "kinks"),
        ("quadratic", "polynomial"),
        ("linear", "polynomial"),
        ("sin", "shifting"),
        ("exp", "shifting"),
    ],
)
def test_larger_symmetry_groups_are_refused(name: str, words: str) -> None:
    with pytest.raises(NotThere, match=words):
        shape_of(name)


def test_parity_is_taken_from_the_activation() -> None:
    assert shape_of("tanh").flip == -1
    assert shape_of("gaussian").flip == 1
    assert shape_of("softplus").flip == 0
    assert shape_of("sigmoid").flip == 0
    assert (shape_of("sigmoid", output_bias=True).flip, shape_of("sigmoid", output_bias=True).half) == (
        -1,
        0.5,
    )


def test_blocks_round_trip() -> None:
    shape, rng = shape_of("tanh", 3, True), np.random.default_rng(2)
    net = Network(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.normal(size=3))
    again = Network.from_blocks(net.to_blocks(shape), shape)
    for left, right in zip((net.a, net.w, net.c), (again.a, again.w, again.c), strict=True):
        np.testing.assert_array_equal(left, right)
