"""The whole family of compatible embeddings is proved layer by layer; a wrong map, share or factor is not."""

from __future__ import annotations

import itertools

import pytest
from sympy import S

from derivations import compatible_embedding as module
from derivations.compatible_embedding import compatible_duality, compatible_residuals, compatible_tangents
from derivations.grouped_network import Layer, grouped_network
from derivations.problem import Problem

PROBLEMS = [
    Problem.deep(3),
    Problem.deep(4, "tanh", vector_output=True),
    Problem.deep(3, "tanh", input_bias=False, output_bias=False),
    Problem.deep(3, "sigmoid", input_bias=False),
    Problem.deep(2, output_bias=False),
    *[
        Problem.two_layer("tanh", input_bias=bias, output_bias=out, vector_output=vector, scale=scale)
        for bias, out, vector in itertools.product([False, True], repeat=3)
        for scale in ("1", "1/sqrt(m)")
    ],
]


def residuals(problem):
    return compatible_residuals.__wrapped__(problem)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: f"{p.kind}{p.depth}-{p.scale}")
def test_every_identity_reduces_to_zero(problem):
    for found in (residuals(problem), compatible_duality(problem), compatible_tangents(problem)):
        assert found
        assert set(found.values()) == {0}


def test_every_block_of_the_wide_network_is_covered():
    wide, found = grouped_network(Problem.deep(3)), residuals(Problem.deep(3))
    assert sum(name.startswith("gradient W") for name in found) == len(wide.weights) == 3 + 9 + 3
    assert sum(name.startswith("gradient b") for name in found) == len(wide.offsets) == 3 + 3 + 1
    assert {"z 1, null", "z 3", "delta 2, copy"} <= set(found)


def test_noise_that_ignores_the_shares_breaks_the_adjoints_and_not_the_outputs(monkeypatch):
    right = module._noise

    def forward_only(layer, before, group, entering, rows, at):
        if entering == "old":
            return right(layer, before, group, entering, rows, at)
        return S.Zero if group == "old" else right(layer, before, "null", entering, rows, at)

    monkeypatch.setattr(module, "_noise", forward_only)
    found = residuals(Problem.deep(3))
    assert found["z 2, copy"] == found["z 2, old"] == found["z 3"] == 0
    assert found["delta 1, copy"] != 0


def test_shares_that_do_not_sum_to_one_change_the_pre_activations(monkeypatch):
    right = Layer.share

    def wrong(self, group, at, name="beta"):
        return S.One if group == "old" else right(self, group, at, name)

    monkeypatch.setattr(Layer, "share", wrong)
    found = residuals(Problem.deep(3))
    assert found["z 2, old"] != 0
    assert compatible_duality(Problem.deep(3))["W2"] != 0


def test_constants_of_null_neurons_that_are_not_taken_out_of_the_biases_are_noticed(monkeypatch):
    monkeypatch.setattr(module, "_fed_by_nulls", lambda *arguments: S.Zero)
    found = residuals(Problem.deep(3))
    assert found["z 2, old"] != 0
    assert found["z 2, null"] != 0
