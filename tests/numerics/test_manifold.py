"""Degenerate critical points whose surroundings are known by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.manifold import local_set


def formula(output: str, names: Sequence[str], y: float = 0.0) -> CompiledSystem:
    """R = (f - y)^2 / 2 at the one sample x = 1."""
    return compile_system(FormulaProblem.of(output, names), [[1.0]], [y], ())


@pytest.mark.parametrize(
    ("output", "names", "theta", "y", "expected"),
    [
        ("u**2 + v*x", ["u", "v"], [0.0, 0.0], 0.0, (1, 1, "flat")),  # the valley v = -u^2
        ("u**2 + v*x", ["u", "v"], [1.0, -1.0], 0.0, (1, 1, "flat")),
        ("u**2*x", ["u"], [0.0], 0.0, (1, 0, "minimum")),  # u^4 / 2
        ("u**3 + 0*x", ["u"], [0.0], 1.0, (1, 0, "saddle")),  # 1/2 - u^3 + ...
        ("u**4 + 0*x", ["u"], [0.0], 1.0, (1, 0, "maximum")),  # 1/2 - u^4 + ...
        (
            "u**2 + v**2 + 0*x",
            ["u", "v"],
            [0.0, 0.0],
            0.0,
            (2, 0, None),
        ),  # (u^2 + v^2)^2 / 2: a minimum, not shown
        ("u**2 - v**2 + 0*x", ["u", "v"], [0.0, 0.0], 0.0, (2, 1, None)),  # two lines that cross
        (
            "u**2*v + 0*x",
            ["u", "v"],
            [0.0, 0.0],
            1.0,
            (2, 1, "saddle"),
        ),  # -u^2 v changes its sign; u = 0 is critical
        ("u**2 + v**2 + 0*x", ["u", "v"], [1.0, 0.0], 1.0, (1, 1, "flat")),  # a circle
    ],
)
def test_the_set_around_a_point(output, names, theta, y, expected) -> None:
    found = local_set(formula(output, names, y), torch.tensor(theta, dtype=torch.float64))
    assert (found.nullity, found.dimension, found.reduced) == expected


def test_directions_that_are_explained_are_left_out() -> None:
    system = compile_system(Problem.two_layer("linear", "square"), [[1.0]], [2.0], 1)  # minima: a w = 2
    theta = torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert local_set(system, theta).dimension == 1
    tangent = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    assert local_set(system, theta, tangent).nullity == 0


def test_a_frozen_block_does_not_move() -> None:
    system = compile_system(Problem.two_layer("linear", "square", freeze=("a",)), [[1.0]], [2.0], 1)
    assert local_set(system, torch.tensor([2.0, 1.0], dtype=torch.float64)).nullity == 0
