"""The nearest copies of a network, against all its copies."""

import itertools
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.alignment import copies_near
from workbench.network import Network, architecture


def shape_of(activation: str, output_bias: bool = False) -> Any:
    return architecture(
        wb.Problem.two_layer(activation=activation, loss="square", input_bias=True, output_bias=output_bias),
        1,
        1,
    )


def drawn(seed: int, width: int, output_bias: bool = False) -> Network:
    draw = np.random.default_rng(seed)
    c = draw.standard_normal(1) if output_bias else None
    return Network(draw.standard_normal((width, 1)), draw.standard_normal((width, 2)), c)


def every_distance(net: Network, other: Network, parity: int) -> list[float]:
    """Distances of all copies, ascending; parity 0 leaves only the permutations."""
    out = []
    for order in itertools.permutations(range(net.width)):
        for signs in itertools.product((1, -1) if parity else (1,), repeat=net.width):
            a = np.array([(1 if s > 0 else parity) * net.a[k] for k, s in zip(order, signs, strict=True)])
            w = np.array([s * net.w[k] for k, s in zip(order, signs, strict=True)])
            constant = 0.0 if net.c is None else float(((net.c - other.c) ** 2).sum())
            out.append(float(np.sqrt(((a - other.a) ** 2).sum() + ((w - other.w) ** 2).sum() + constant)))
    return sorted(out)


@pytest.mark.parametrize(
    ("activation", "parity"), [("tanh", -1), ("sin(z)*z", 1), ("softplus", 0)], ids=["odd", "even", "none"]
)
def test_the_two_nearest_copies_are_those_of_all_copies(activation: str, parity: int) -> None:
    shape = shape_of(activation)
    assert shape.flip == parity
    for seed in range(12):
        net, other = drawn(2 * seed, 3), drawn(2 * seed + 1, 3)
        found = [copy.distance for copy in copies_near(net, other, shape, 2)]
        assert found == pytest.approx(every_distance(net, other, parity)[:2], rel=1e-12)


def test_a_flip_that_moves_the_output_bias_is_left_out() -> None:
    shape = shape_of("sigmoid", output_bias=True)
    assert shape.flip
    assert shape.half
    net, other = drawn(1, 2, True), drawn(2, 2, True)
    assert copies_near(net, other, shape)[0].distance == pytest.approx(every_distance(net, other, 0)[0])


def test_a_copy_lies_at_distance_zero_from_itself() -> None:
    shape = shape_of("tanh")
    net = drawn(3, 4)
    copy = Network(
        np.array([-net.a[2], net.a[0], net.a[3], -net.a[1]]),
        np.array([-net.w[2], net.w[0], net.w[3], -net.w[1]]),
        None,
    )
    found = copies_near(net, copy, shape)[0]
    assert found.distance < 1e-15
    assert np.array_equal(found.network.w, copy.w)


def test_equal_copies_count_once() -> None:
    shape = shape_of("tanh")
    net = Network(np.ones((2, 1)), np.ones((2, 2)), None)
    first, second = copies_near(net, net, shape, 2)
    assert (first.distance, second.distance > 1) == (0.0, True)


def test_wide_networks_get_a_near_copy() -> None:
    shape = shape_of("tanh")
    net = drawn(4, 9)
    order = [4, 2, 8, 0, 1, 7, 3, 5, 6]
    assert copies_near(net, Network(net.a[order], net.w[order], None), shape)[0].distance < 1e-15


def test_wrong_arguments_are_refused() -> None:
    shape = shape_of("tanh")
    with pytest.raises(ValueError, match="accepted: 1 or 2"):
        copies_near(drawn(0, 2), drawn(1, 2), shape, 3)
    with pytest.raises(ValueError, match="two of one width"):
        copies_near(drawn(0, 2), drawn(1, 3), shape)
