"""The sentences about compatible embeddings say what the network at hand has."""

from __future__ import annotations

from sympy import S

from derivations import compatible_embedding
from derivations.claim import Status
from derivations.compatible_statements import compatible_statements
from derivations.problem import Problem


def listed(problem):
    found = {s.name: s for s in compatible_statements(problem)}
    for s in found.values():
        assert all(text.count("$") % 2 == 0 for text in (s.statement, *s.steps))
    return found


def test_a_deep_network_has_a_splitting_and_a_null_embedding_in_every_layer():
    found = listed(Problem.deep(4, "tanh"))
    for layer in (1, 2, 3):
        assert found[f"splitting embedding, layer {layer}"].status is Status.PROVED
        assert "any bias" in found[f"null embedding, layer {layer}"].statement
    assert r"\sum_{l=2}^{L-1} K_l K_{l-1}" in found["compatible embedding"].statement


def test_the_null_embedding_says_when_it_keeps_critical_points():
    def of(layer, **options):
        return listed(Problem.deep(3, **options))[f"null embedding, layer {layer}"]

    assert "if and only if" in of(2, activation="sigmoid", output_bias=False).statement
    assert "bias $0$" in of(2, activation="tanh", output_bias=False).statement
    assert "which vanishes at a critical point" in of(2, activation="sigmoid", input_bias=False).steps[1]
    assert "if and only if" in of(1, activation="sigmoid", input_bias=False).statement
    assert all(of(2, activation=name, output_bias=False).proved for name in ("sigmoid", "tanh"))


def test_null_neurons_without_a_free_bias_do_not_count():
    assert "without a free bias" in listed(Problem.two_layer("tanh"))["compatible embedding"].statement
    free = listed(Problem.two_layer("tanh", input_bias=True, output_bias=True))["compatible embedding"]
    assert "without a free bias" not in free.statement


def test_a_wrong_map_is_not_proved(monkeypatch):
    compatible_embedding.compatible_residuals.cache_clear()
    monkeypatch.setattr(compatible_embedding, "_fed_by_nulls", lambda *arguments: S.Zero)
    statuses = {s.status for s in compatible_statements(Problem.deep(3, "tanh"))}
    compatible_embedding.compatible_residuals.cache_clear()
    assert statuses == {Status.UNDECIDED}
