"""Zero curves of functions whose zeros are known."""

from __future__ import annotations

import torch
from torch import Tensor

from numerics.marching import Curves, marching_squares

AXIS = torch.linspace(-3, 3, 121, dtype=torch.float64) + 0.0071


def curves(function: object) -> Curves:
    nodes = torch.cartesian_prod(AXIS, AXIS)
    values = function(nodes).reshape(121, 121)  # type: ignore[operator]
    return marching_squares(AXIS, AXIS, values, values.abs() < 0)


def radius(w: Tensor) -> Tensor:
    return w.norm(dim=1)


def test_two_circles_are_two_closed_curves() -> None:
    found = curves(lambda w: (radius(w) - 1) * (radius(w) - 2))
    assert len(found.labels.unique()) == 2
    assert not found.at_edge.any()
    assert float(((radius(found.points) - 1) * (radius(found.points) - 2)).abs().max()) < 2e-3


def test_a_hyperbola_is_two_curves_that_leave_the_grid() -> None:
    found = curves(lambda w: w[:, 0] * w[:, 1] - 0.5)
    assert [bool(found.at_edge[found.labels == k].any()) for k in found.labels.unique()] == [True, True]
    sides = [found.points[found.labels == k, 0].sign().unique().tolist() for k in found.labels.unique()]
    assert sorted(sides) == [[-1.0], [1.0]]


def test_a_cell_that_two_curves_enter_is_resolved_by_its_saddle() -> None:
    """Both hyperbolas pass through the cell around the origin; which corners they cut off depends on the sign."""
    for sign in (1.0, -1.0):
        found = curves(lambda w, sign=sign: w[:, 0] * w[:, 1] - sign * 2e-5)
        assert len(found.labels.unique()) == 2
        for k in found.labels.unique():
            x, y = found.points[found.labels == k].T
            assert len(x.sign().unique()) == 1
            assert bool((x * y * sign > 0).all())


def test_no_zero_gives_no_curve() -> None:
    assert len(curves(lambda w: radius(w) + 1).points) == 0


def test_values_that_are_rounding_end_a_curve_and_are_said() -> None:
    nodes = torch.cartesian_prod(AXIS, AXIS)
    values = (radius(nodes) - 1).reshape(121, 121)
    blank = (nodes[:, 0] > 0).reshape(121, 121)
    found = marching_squares(AXIS, AXIS, values, blank)
    assert float(found.points[:, 0].max()) < 0.1
    assert found.notes
