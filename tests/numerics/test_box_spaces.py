"""Domains that meet every orbit: the symmetries keep the risk, and every point has an image in the domain."""

from __future__ import annotations

import pytest
import torch
from sympy import Rational

from derivations.errors import AssumptionError
from derivations.problem import Problem
from numerics.box_spaces import given_space, network_space
from numerics.box_system import BoxSystem
from numerics.interval_tensors import Interval

DATA = {
    "x": [Rational(u, 3) for u in (1, -2, 4, 5, -1, 2)],
    "y": [Rational(1), Rational(1, 2), Rational(-1, 3)],
}


def network(activation: str, width: int = 2, bias: bool = True) -> BoxSystem:
    problem = Problem.two_layer(
        activation, "square", input_bias=bias, output_bias=True, weight_decay=Rational(1, 10)
    )
    return BoxSystem(problem, DATA, {"n": 3, "d": 2, "m": width, "o": 1})


@pytest.mark.parametrize(("activation", "count"), [("tanh", 7), ("gaussian", 7), ("sigmoid", 1)])
def test_images_keep_the_gradient_up_to_the_same_change(activation: str, count: int) -> None:
    system = network(activation)
    space = network_space(system)
    assert len(space.images) == count
    theta = torch.randn(system.P, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = system.gradient(Interval.around(theta)).mid
    for image in space.images:
        there = system.gradient(Interval.around(theta[image.places] * image.signs[:, None])).mid
        assert torch.allclose(there, slope[image.places] * image.signs[:, None], atol=1e-13)


@pytest.mark.parametrize("activation", ["tanh", "gaussian", "sigmoid"])
def test_every_point_has_an_image_in_the_domain(activation: str) -> None:
    space = network_space(network(activation, 3))
    theta = torch.randn(space.system.P, 100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    met = torch.zeros(100, dtype=torch.bool)
    everyone = [theta, *(theta[image.places] * image.signs[:, None] for image in space.images)]
    for moved in everyone:
        here = (moved[space.positive] >= 0).all(dim=0)
        for i, j in space.above:
            here &= moved[i] >= moved[j]
        met |= here
    assert bool(met.all())


def test_the_output_layer_stands_first_where_the_risk_is_quadratic_in_it() -> None:
    space = network_space(network("tanh"))
    assert space.free.tolist() == [0, 1, 8, 2, 3, 4, 5, 6, 7]
    assert space.linear == 3


def test_what_has_no_a_priori_box_is_refused_and_a_box_can_be_given() -> None:
    problem = Problem.two_layer("tanh", "square")
    system = BoxSystem(problem, DATA, {"n": 3, "d": 2, "m": 1, "o": 1})
    with pytest.raises(AssumptionError, match="without weight decay"):
        network_space(system)
    assert given_space(system, [0, 0, 1], [1, 1, 1]).free.tolist() == [0, 1]
    with pytest.raises(ValueError, match="P = 3 lower and as many upper ends"):
        given_space(system, [0], [1])
