"""The law of three copies, when a split turns a minimum, and the points that no embedding turns."""

from __future__ import annotations

import pytest

from derivations import truly_bad as module
from derivations.claim import Status
from derivations.problem import Problem
from derivations.truly_bad import three_copies, three_copies_residuals, truly_bad, turning

PROBLEMS = [
    Problem.two_layer(),
    Problem.two_layer("tanh", input_bias=True, output_bias=True, vector_output=True, scale="1/m"),
    Problem.deep(3),
    Problem.deep(4, vector_output=True, input_bias=False),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: f"{p.kind}{p.depth}")
def test_the_three_statements_are_proved_and_well_formed(problem):
    for found in (three_copies(problem), turning(problem), truly_bad(problem)):
        assert found.status is Status.PROVED
        assert all(text.count("$") % 2 == 0 for text in (found.statement, *found.steps))


def test_the_condition_names_the_null_neurons_that_are_admissible():
    assert (
        r"\sum_i r_i \tilde x_i = 0"
        in truly_bad(Problem.two_layer(input_bias=True, output_bias=True)).statement
    )
    assert "null" not in truly_bad(Problem.two_layer("sigmoid")).statement
    assert r"\sigma'(0) \neq 0" in truly_bad(Problem.two_layer("tanh", vector_output=True)).statement
    assert "is not claimed" in truly_bad(Problem.deep(3)).statement


def test_a_second_derivative_that_is_not_bilinear_is_noticed(monkeypatch):
    right = module._at
    monkeypatch.setattr(
        module, "_at", lambda tensor, at: right(tensor, at) * (-1 if tensor.name.startswith("S_") else 1)
    )
    found = three_copies_residuals(Problem.deep(3))
    assert found["polarisation, layer 1"] == 0
    assert found["polarisation, layer 2"] != 0
    assert three_copies(Problem.deep(3)).status is Status.UNDECIDED


def test_curvatures_that_do_not_scale_with_the_share_are_noticed(monkeypatch):
    right = module.curvature_expressions

    def wrong(problem, layer=1):
        found = right(problem, layer)
        value, indices = found["U_ww"]
        return {**found, "U_ww": (value + found["V_w"][0], indices)}

    monkeypatch.setattr(module, "curvature_expressions", wrong)
    assert turning(Problem.two_layer()).status is Status.UNDECIDED
    assert truly_bad(Problem.two_layer()).status is Status.UNDECIDED
