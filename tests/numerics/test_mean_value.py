"""The coordinates of the mean value form: what they exclude that boxes do not, and that nothing critical is lost."""

from __future__ import annotations

import torch
from sympy import Rational

from derivations.problem import Problem
from numerics.box_spaces import network_space
from numerics.box_system import BoxSystem
from numerics.interval_tensors import Interval
from numerics.mean_value import mean_value


def nearly_equal_neurons() -> tuple[BoxSystem, Interval]:
    problem = Problem.two_layer("tanh", "square", weight_decay=Rational(1, 1000))
    x = [Rational(u, 2) for u in (-4, -2, 1, 2, 4)]
    y = [Rational(u, 10) for u in (-8, 3, 9, -4, 6)]
    system = BoxSystem(problem, {"x": x, "y": y}, {"n": 5, "d": 1, "m": 2, "o": 1})
    lo = torch.tensor([[-10.0], [-10.0], [0.448], [0.345]], dtype=torch.float64)
    return system, Interval(lo, torch.tensor([[10.0], [10.0], [0.452], [0.346]], dtype=torch.float64))


def test_the_output_layer_is_bounded_although_it_is_nearly_undetermined() -> None:
    system, box = nearly_equal_neurons()
    space = network_space(system)
    found = mean_value(system, box, space.free, 2)
    weights = torch.tensor([[0.448, 0.345], [0.452, 0.346], [0.448, 0.346]], dtype=torch.float64)
    x = torch.tensor([-2, -1, 0.5, 1, 2], dtype=torch.float64)
    y = torch.tensor([-0.8, 0.3, 0.9, -0.4, 0.6], dtype=torch.float64)
    if bool(found.possible[0]):
        for w in weights:
            h = torch.tanh(x[:, None] * w)
            a = torch.linalg.solve(h.T @ h / 5 + 1e-3 * torch.eye(2, dtype=torch.float64), h.T @ y / 5)
            assert bool(((found.boxes.lo[:2, 0] <= a) & (a <= found.boxes.hi[:2, 0])).all())
        assert float((found.boxes.hi - found.boxes.lo)[:2].max()) < 1
    # Without these coordinates nothing is gained here.
    plain = mean_value(system, box, space.free, 0)
    assert bool(plain.possible[0])
    assert float((plain.boxes.hi - plain.boxes.lo)[:2].min()) > 10


def test_a_box_without_bounds_is_kept() -> None:
    system, box = nearly_equal_neurons()
    wide = Interval(torch.full_like(box.lo, -1e200), torch.full_like(box.hi, 1e200))
    for linear in (0, 2):
        assert bool(mean_value(system, wide, network_space(system).free, linear).possible[0])
