"""All embeddings of a network are listed once, and proved."""

from __future__ import annotations

import pytest

from derivations.claim import Status
from derivations.embeddings import embeddings
from derivations.problem import Problem


@pytest.mark.parametrize(
    "problem",
    [
        Problem.two_layer("tanh", input_bias=True),
        Problem.two_layer("relu", scale="1/m"),
        Problem.two_layer("tanh", freeze=("a",)),
        Problem.deep(3, "relu", vector_output=True),
    ],
    ids=["two_layer", "scaled", "frozen", "deep"],
)
def test_every_embedding_of_a_network_is_proved(problem):
    found = embeddings(problem)
    assert all(s.status is Status.PROVED for s in found)
    names = [s.name for s in found]
    assert len(set(names)) == len(names)
    assert ("critical lifting" in names) == (not problem.freeze and not problem.scale.free_symbols)
