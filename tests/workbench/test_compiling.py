"""The compiled systems of an analysis: run as asked for, kept apart, and refused where they do not exist."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import workbench as wb
from workbench.compiling import Running, check_place
from workbench.errors import NotThere, StudyError
from workbench.flow_memory import _key

STUDY: dict[str, Any] = {
    "schema": 1,
    "name": "test",
    "model": {"width": 2},
    "data": {"x": [[1.0], [0.5], [-1.0]], "y": [0.5, 0.1, -0.3]},
}


def test_a_budget_of_the_analysis_is_that_of_its_systems_unless_another_is_given() -> None:
    analysis = wb.Analysis(wb.study_from_mapping(STUDY), running=Running(memory_budget=10**6))
    assert analysis.compile().options.memory_budget == 10**6
    assert analysis.compile(memory_budget=10**7).options.memory_budget == 10**7
    assert analysis.compile() is analysis.compile()
    plain = wb.Analysis(wb.study_from_mapping(STUDY)).compile()
    assert plain.options.memory_budget is None
    theta = torch.linspace(-1, 1, plain.P, dtype=torch.float64)
    assert torch.allclose(analysis.compile().gradient(theta), plain.gradient(theta), rtol=1e-13)


def test_results_under_another_budget_are_stored_apart() -> None:
    keys = set()
    for running in (Running(), Running(memory_budget=10**6), Running(torch_compile=True)):
        analysis = wb.Analysis(wb.study_from_mapping(STUDY), running=running)
        keys.add(_key(analysis, "flow", [], 1.0, 5, None))
    assert len(keys) == 3


def test_a_population_has_no_budget_and_is_not_fused() -> None:
    data = {"kind": "interval", "lower": 0, "upper": 1, "target": "x"}
    given = wb.study_from_mapping({**STUDY, "data": data})
    for running in (Running(memory_budget=10**6), Running(torch_compile=True)):
        with pytest.raises(NotThere, match=r"--memory and --torch-compile .* are for samples"):
            wb.Analysis(given, running=running).compile()


def test_a_place_that_is_not_there_is_named_by_its_option() -> None:
    check_place("cpu", "float32")
    with pytest.raises(StudyError, match=r"--dtype: found 'float16'"):
        check_place("cpu", "float16")
    with pytest.raises(StudyError, match=r"--device: found 'tpu'"):
        check_place("tpu", "float64")
