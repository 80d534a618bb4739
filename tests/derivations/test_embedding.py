"""The splitting embedding is proved for symbolic sizes, and the proof fails for a wrong map or problem."""

from __future__ import annotations

import itertools

import pytest

from derivations import embedding
from derivations.embedding import splitting_residuals
from derivations.problem import Problem


@pytest.mark.parametrize(("bias", "out", "vector"), list(itertools.product([False, True], repeat=3)))
def test_every_identity_reduces_to_zero(bias, out, vector):
    problem = Problem.two_layer(input_bias=bias, output_bias=out, vector_output=vector)
    found = splitting_residuals(problem)
    assert set(found.values()) == {0}
    assert {"outputs", "a", "w", "new a", "new w"} <= set(found)


def test_a_map_that_does_not_move_the_output_weight_is_not_proved(monkeypatch):
    monkeypatch.setattr(embedding, "Delta", lambda left, right: 0)
    assert splitting_residuals(Problem.two_layer(input_bias=True))["outputs"] != 0


def test_weight_decay_is_refused():
    with pytest.raises(ValueError, match="without weight decay"):
        splitting_residuals(Problem.two_layer(weight_decay=1))
