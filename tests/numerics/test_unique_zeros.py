"""Boxes around critical points: found by hand, as large as can be shown, and never around two points or a degenerate one."""

from __future__ import annotations

import pytest
import torch
from sympy import Rational

from derivations.formula_model import FormulaProblem
from numerics.box_system import BoxSystem
from numerics.unique_zeros import unique_zero


def risk(text: str, names: list[str]) -> BoxSystem:
    problem = FormulaProblem.of(text, names)
    return BoxSystem(problem, {"x": [Rational(0)], "y": [Rational(0)]}, {"n": 1, "d": 1})


def test_the_box_around_a_point_is_large_and_holds_no_other() -> None:
    system = risk("t**3 - 3*t + 4", ["t"])  # R' = (t^3 - 3 t + 4) 3 (t^2 - 1); zeros -2.19582, -1, 1
    found = unique_zero(system, torch.tensor([1.1], dtype=torch.float64), torch.tensor([0]))
    assert found is not None
    assert float(found.centre) == pytest.approx(1.0, abs=1e-12)
    assert found.error < 1e-11
    assert 0.05 < float(found.radius) < 2


def test_a_frozen_coordinate_stays_where_it_is() -> None:
    system = risk("(s - t)**2 + s**2 + 1", ["s", "t"])
    found = unique_zero(system, torch.tensor([0.9, 2.0], dtype=torch.float64), torch.tensor([0]))
    assert found is not None
    assert found.centre.tolist() == pytest.approx([1.0, 2.0])
    assert found.radius.tolist()[1] == 0.0


@pytest.mark.parametrize("text", ["1 + t**4", "1 + t**3"])
def test_a_degenerate_point_is_not_claimed(text: str) -> None:
    assert unique_zero(risk(text, ["t"]), torch.tensor([0.3], dtype=torch.float64), torch.tensor([0])) is None


def test_where_there_is_no_critical_point_none_is_claimed() -> None:
    assert (
        unique_zero(risk("exp(t)", ["t"]), torch.tensor([0.3], dtype=torch.float64), torch.tensor([0]))
        is None
    )
