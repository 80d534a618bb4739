"""Complete lists of critical points: polynomials with known roots, degenerate points, and boxes that hold known points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sympy import Rational, Symbol, real_roots

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.box_contraction import stationary
from numerics.box_spaces import given_space, network_space
from numerics.box_system import BoxSystem
from numerics.branch_prune import search
from numerics.interval_tensors import Interval
from numerics.mean_value import mean_value

SECONDS = 600.0
X = [Rational(u, 2) for u in (-4, -2, 1, 2, 4)]
Y = [Rational(u, 10) for u in (-8, 3, 9, -4, 6)]


def formula(text: str, names: list[str], target: int = 0, **options: Any) -> BoxSystem:
    """The risk (f - target)^2 / 2 of a formula without inputs."""
    problem = FormulaProblem.of(text, names, **options)
    return BoxSystem(problem, {"x": [Rational(0)], "y": [Rational(target)]}, {"n": 1, "d": 1})


def network(width: int, bias: bool, decay: str = "1/1000", inputs: int = 1) -> BoxSystem:
    problem = Problem.two_layer("tanh", "square", input_bias=bias, weight_decay=Rational(decay))
    x = X if inputs == 1 else [Rational(u, 2) for u in (-3, 1, 2, -1, 1, 3, -2, -2, 4, 1)]
    return BoxSystem(problem, {"x": x, "y": Y}, {"n": 5, "d": inputs, "m": width, "o": 1})


@pytest.mark.parametrize(
    ("text", "target"), [("t**3 - 3*t", 1), ("t**4 - 2*t**2 + t/2", -1), ("t**5 - 4*t**3 + 2*t", 2)]
)
def test_a_polynomial_has_as_many_critical_points_as_real_roots_of_its_derivative(
    text: str, target: int
) -> None:
    t = Symbol("t")
    f = FormulaProblem.of(text, ["t"]).formula.subs(Symbol("t", real=True), t)
    wanted = real_roots(((f - target) * f.diff(t) + t / 50).expand(), t)
    found = search(
        given_space(formula(text, ["t"], target, weight_decay=Rational(1, 50)), [-9], [9]), seconds=SECONDS
    )
    assert found.complete
    assert sorted(float(zero.centre) for zero in found.zeros) == pytest.approx(
        [float(u) for u in wanted], abs=1e-9
    )


def test_two_unknowns_with_nine_points_known_by_hand() -> None:
    # R = ((x^2 - 1)^2 + (y^2 - 1)^2 + 1)^2 / 2: the outer square keeps the critical points of the inner sum.
    found = search(
        given_space(formula("(x1**2 - 1)**2 + (x2**2 - 1)**2 + 1", ["x1", "x2"]), [-3, -3], [3, 3]),
        seconds=SECONDS,
    )
    assert found.complete
    places = {tuple(round(float(u), 9) + 0.0 for u in zero.centre) for zero in found.zeros}
    assert places == {(float(i), float(j)) for i in (-1, 0, 1) for j in (-1, 0, 1)}


def test_points_outside_a_given_box_are_not_listed() -> None:
    system = formula("t**3 - 3*t", ["t"], 1, weight_decay=Rational(1, 50))
    known = [torch.tensor([u], dtype=torch.float64) for u in (-1.5, 1.9)]
    found = search(given_space(system, [0], [9]), known, seconds=SECONDS)
    assert found.complete
    assert all(float(zero.centre) > 0 for zero in found.zeros)


def test_a_degenerate_point_leaves_the_list_undecided() -> None:
    found = search(given_space(formula("1 + t**4", ["t"]), [-2], [1.5]), seconds=SECONDS)
    assert not found.complete
    assert "degenerate" in found.reason
    assert 0 < found.remaining < 1e-6


def test_a_continuum_leaves_the_list_undecided() -> None:
    found = search(given_space(formula("s*t + 2", ["s", "t"], 1), [0.2, -9], [3, -0.1]), seconds=SECONDS)
    assert not found.complete
    assert found.remaining > 0


def test_without_time_the_whole_domain_remains() -> None:
    found = search(network_space(network(2, False)), seconds=0.0)
    assert not found.complete
    assert found.remaining == 1.0
    assert "were left after 0 seconds" in found.reason


@pytest.mark.parametrize(("width", "bias", "inputs"), [(1, True, 1), (2, False, 1), (1, True, 2)])
def test_no_contraction_cuts_off_a_critical_point(width: int, bias: bool, inputs: int) -> None:
    system = network(width, bias, "1/50", inputs)
    space = network_space(system)
    generator = torch.Generator().manual_seed(4)
    theta = 2 * torch.randn(system.P, 200, generator=generator, dtype=torch.float64)
    for _ in range(60):
        at = Interval.around(theta)
        step = torch.linalg.solve(
            system.hessian(at).mid.permute(2, 0, 1), system.gradient(at).mid.T[:, :, None]
        )[..., 0]
        theta = theta - (step * (1 / step.norm(dim=1, keepdim=True)).clamp(max=1.0)).T
    gradient = system.gradient(Interval.around(theta)).mid
    theta = theta[:, gradient.norm(dim=0) < 1e-12]
    assert theta.shape[1] > 20
    for scale in (1e-5, 1e-3, 0.03, 0.3, 3.0):
        below, above = (
            scale * torch.rand(theta.shape, generator=generator, dtype=torch.float64) + 1e-9 for _ in range(2)
        )
        boxes = Interval(theta - below, theta + above)
        for _ in range(2):
            boxes, possible = stationary(system, boxes, space.free, space.outputs, space.neurons)
            assert bool(possible.all())
            found = mean_value(system, boxes, space.free, space.linear)
            assert bool(found.possible.all())
            boxes = found.boxes
            assert bool((boxes.lo <= theta + 1e-10).all())
            assert bool((theta - 1e-10 <= boxes.hi).all())


@pytest.mark.parametrize("decay", ["1/2", pytest.param("1/10", marks=pytest.mark.slow)])
def test_six_parameters_are_searched_to_the_end_with_strong_decay(decay: str) -> None:
    # The silent network (index 2), one neuron (index 1, four copies), two equal ones (index 0, four copies): 1 - 4 + 4 = 1.
    found = search(network_space(network(2, True, decay)), seconds=SECONDS)
    assert found.complete
    assert len(found.zeros) == 3
