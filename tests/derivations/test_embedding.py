"""The splitting and null embeddings are proved for symbolic sizes; wrong maps and wrong problems are not."""

from __future__ import annotations

import itertools

import pytest
from sympy import pi

from derivations import embedding
from derivations.activations import activation
from derivations.canonical import residual
from derivations.claim import Status
from derivations.embedding import (
    ALPHA,
    duality_residuals,
    embedding_statements,
    splitting_claims,
    splitting_residuals,
    widen,
)
from derivations.indexed import Delta, Index, replace_leaves
from derivations.null_embedding import EVERY, null_embedding, null_expressions, null_statement
from derivations.problem import Problem

EVERY_MODEL = [
    {"input_bias": bias, "output_bias": out, "vector_output": vector, "scale": scale}
    for bias, out, vector in itertools.product([False, True], repeat=3)
    for scale in ("1", "1/sqrt(m)")
]


@pytest.mark.parametrize("options", EVERY_MODEL)
def test_every_identity_of_splitting_reduces_to_zero(options):
    problem = Problem.two_layer(**options)
    found = splitting_residuals(problem)
    assert set(found.values()) == {0}
    blocks = {block.name for block in problem.blocks}
    assert set(found) == {"outputs", *blocks, *(f"new {name}" for name in blocks - {"c"})}
    assert set(duality_residuals(problem).values()) == {0}


def test_a_map_that_does_not_move_the_output_weight_is_not_proved(monkeypatch):
    monkeypatch.setattr(embedding, "Delta", lambda left, right: 0)
    assert splitting_residuals(Problem.two_layer(input_bias=True))["outputs"] != 0
    assert duality_residuals(Problem.two_layer(input_bias=True))["w"] != 0


def test_a_scale_that_depends_on_the_width_needs_the_rescaled_weights(monkeypatch):
    wide = embedding.widen

    def without(problem):
        found = wide(problem)
        return embedding.Widened(
            found.system, found.derived, found.gradient, found.extra, found.scale, ratio=1
        )

    assert splitting_residuals(Problem.two_layer(scale="1/m"))["outputs"] == 0
    monkeypatch.setattr(embedding, "widen", without)
    assert splitting_residuals(Problem.two_layer(scale="1/m"))["outputs"] != 0


def test_the_fraction_on_the_input_weights_as_well_is_not_an_embedding():
    problem = Problem.two_layer()
    wide, some = widen(problem), Index("s", problem.block("a").indices[0].dim)
    a, w = problem.block("a").tensor, problem.block("w").tensor
    rules = {
        a: lambda k: a[k] - ALPHA * a[some] * Delta(k, some),
        wide.extra["a"][0]: lambda: ALPHA * a[some],
        wide.extra["w"][0]: lambda l: ALPHA * w[some, l],
    }
    out = wide.system.formals(problem.output)
    change = replace_leaves(wide.derived.inline(problem.output[out]), rules) - problem.system.inline(
        problem.output[out]
    )
    assert residual(change) != 0
    rules[wide.extra["w"][0]] = lambda l: w[some, l]
    change = replace_leaves(wide.derived.inline(problem.output[out]), rules) - problem.system.inline(
        problem.output[out]
    )
    assert residual(change) == 0


def test_weight_decay_and_deep_networks_are_refused():
    with pytest.raises(ValueError, match="without weight decay, got weight decay 1"):
        splitting_residuals(Problem.two_layer(weight_decay=1))
    with pytest.raises(ValueError, match="got deep"):
        splitting_residuals(Problem.deep(3))
    with pytest.raises(ValueError, match="without weight decay, got weight decay 1; set it to 0"):
        null_embedding(Problem.two_layer(weight_decay=1))
    with pytest.raises(ValueError, match="got a deep network"):
        null_embedding(Problem.deep(3))


def test_claims_carry_their_derivation():
    claims = splitting_claims(Problem.two_layer("tanh", "square", input_bias=True))
    assert [c.claim for c in claims] == ["C1", "C5", "C5"]
    assert {c.name for c in claims} == {"splitting embedding"}
    assert [c.evidence["about"] for c in claims] == [
        s.name for s in embedding_statements(Problem.two_layer("tanh", "square"))
    ]
    for claim in claims:
        assert claim.status is Status.PROVED
        assert claim.residual == "0"
        assert claim.evidence["steps"]
        for text in (claim.statement, *claim.evidence["steps"]):
            assert text.count("$") % 2 == 0


def test_an_unproved_identity_is_not_claimed(monkeypatch):
    monkeypatch.setattr(embedding, "splitting_residuals", lambda problem: {"outputs": ALPHA})
    assert [c.status for c in splitting_claims(Problem.two_layer())] == [
        Status.UNDECIDED,
        Status.PROVED,
        Status.UNDECIDED,
    ]


@pytest.mark.parametrize("options", EVERY_MODEL)
def test_every_identity_of_the_null_neuron_reduces_to_zero(options):
    problem = Problem.two_layer(**options)
    found = null_embedding(problem)
    assert found.status is Status.PROVED
    assert set(found.residuals.values()) == {0}
    assert {"new a", "new w", "H new a, new w", "H new w, new w", "H new a, new a"} <= set(found.residuals)
    assert ("sum of r" in found.residuals) == problem.output_bias
    assert (found.obstruction == 0) == problem.output_bias
    assert (found.admissible == EVERY) == problem.output_bias
    assert set(null_expressions(problem)) == ({"S_w", "S_b"} if problem.input_bias else {"S_w"})


def test_dropping_the_output_bias_leaves_the_obstruction():
    kept = null_embedding(Problem.two_layer("sigmoid", input_bias=True, output_bias=True))
    dropped = null_embedding(Problem.two_layer("sigmoid", input_bias=True))
    assert (kept.obstruction, kept.admissible) == (0, EVERY)
    assert str(dropped.obstruction) == "sigmoid(alpha)*Sum[_n1](r[_n1])"
    assert dropped.admissible is None


def test_a_frozen_output_bias_does_not_help_and_a_frozen_output_weight_needs_none():
    frozen = null_embedding(Problem.two_layer("tanh", input_bias=True, output_bias=True, freeze=("c",)))
    assert frozen.admissible == (0,)
    assert null_embedding(Problem.two_layer("exp", input_bias=True, freeze=("a",))).admissible == EVERY


@pytest.mark.parametrize(
    ("sigma", "admissible", "complete"),
    [
        ("linear", (0,), True),
        ("tanh", (0,), True),
        ("erf", (0,), True),
        ("gelu", (0,), True),
        ("softplus", None, True),
        ("gaussian", None, True),
        ("exp", None, True),
        ("relu", (0,), False),  # every alpha <= 0 works; only the value that is certain is named
        ("sin", (0, pi), False),
        ("cos", (pi / 2, 3 * pi / 2), False),
        ("z**2 - 1", (-1, 1), True),
    ],
)
def test_zeros_of_the_activation_are_the_admissible_biases(sigma, admissible, complete):
    found = null_embedding(Problem.two_layer(sigma, input_bias=True))
    assert (found.admissible, found.complete) == (admissible, complete)
    for value in admissible or ():
        assert found.obstruction.subs(ALPHA, value) == 0


def test_without_an_input_bias_alpha_is_zero():
    assert null_embedding(Problem.two_layer("tanh")).admissible == (0,)
    assert null_embedding(Problem.two_layer("cos")).admissible is None
    assert null_embedding(Problem.two_layer(activation("z**2 - 1"))).admissible is None


def test_a_non_zero_old_gradient_row_would_be_noticed(monkeypatch):
    # Give the new neuron an output weight: old rows and the claimed zeros of the new rows no longer fit.
    from derivations import null_embedding as module

    rules = module._rules

    def changed(problem, wide):
        return {**rules(problem, wide), wide.extra["a"][0]: lambda *c: ALPHA}

    monkeypatch.setattr(module, "_rules", changed)
    found = null_embedding(Problem.two_layer(input_bias=True, output_bias=True))
    assert found.status is Status.UNDECIDED
    assert {"outputs", "new w", "H new w, new w"} <= {
        name for name, value in found.residuals.items() if value != 0
    }


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Problem.two_layer("tanh", input_bias=True, output_bias=True), r"for every $\alpha$."),
        (Problem.two_layer("tanh", input_bias=True), r"for $\alpha \in \{0\}$, and for no other $\alpha$"),
        (Problem.two_layer("exp", input_bias=True), r"$\sigma$ has no real zero"),
        (Problem.two_layer("cos"), r"because $\sigma(0) \neq 0$"),
        (Problem.two_layer(input_bias=True), r"if and only if $\sigma(\alpha) = 0$ or $\sum_i r_i = 0$"),
        (Problem.two_layer("sin", input_bias=True), r"if and only if $\sigma(\alpha) = 0$"),
        (Problem.two_layer("tanh"), "maps critical points to critical points."),
    ],
)
def test_the_sentence_says_which_biases(problem, words):
    statement = null_statement(problem)
    assert words in statement.statement
    assert statement.proved
    assert all(text.count("$") % 2 == 0 for text in (statement.statement, *statement.steps))
