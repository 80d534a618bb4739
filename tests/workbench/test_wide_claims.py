"""Embeddings checked at critical points: supported where the theory holds, refuted for a wrong map, undecided where nothing was checked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from derivations.claim import Status
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from workbench import wide_claims as module
from workbench.claims import _embedded_points
from workbench.errors import NotThere
from workbench.verify import oracle_for
from workbench.wide_claims import found_points, wide_claims

DOUBLE = torch.float64


def critical(problem: Problem, widths, *, n=40, d=2, seed=0) -> tuple[CompiledSystem, torch.Tensor]:
    """Return a system with targets at which a random point is critical: the residual is orthogonal to the tangent space."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=DOUBLE)
    y = torch.zeros((n, 2) if problem.vector_output else (n,), dtype=DOUBLE)
    system = compile_system(problem, x, y, widths)
    theta = torch.randn(system.P, generator=generator, dtype=DOUBLE)
    oracle = oracle_for(system)
    tangent, _ = torch.linalg.qr(oracle.jacobian(theta).reshape(-1, system.P))
    v = torch.randn(y.numel(), generator=generator, dtype=DOUBLE)
    e = (v - tangent @ (tangent.T @ v)).reshape(y.shape)
    return compile_system(problem, x, oracle.outputs(theta) - e, widths), theta


def by_label(claims):
    return {claim.claim: claim for claim in claims}


@pytest.mark.parametrize(
    ("problem", "widths", "labels"),
    [
        (
            Problem.two_layer("tanh", "square", input_bias=True, output_bias=True),
            2,
            {"compatible family (C1, C4, C5)", "three copies (C6)", "splitting law (C7)"},
        ),
        (
            Problem.two_layer("sigmoid", "square", vector_output=True, scale="1/m"),
            2,
            {"compatible family (C1, C4, C5)", "splitting law (C7)"},
        ),
        (
            Problem.deep(3, "tanh", "square"),
            (2, 2),
            {
                "compatible family (C1, C4, C5)",
                "three copies (C6)",
                "splitting law (C7)",
                "copies of the activation",
            },
        ),
        (
            Problem.deep(2, "relu", "square"),
            (3,),
            {
                "compatible family (C1, C4, C5)",
                "splitting law (C7)",
                "copies of the activation",
                "lifted layer (C15)",
            },
        ),
        (
            Problem.two_layer("exp", "square", input_bias=True),
            2,
            {
                "compatible family (C1, C4, C5)",
                "three copies (C6)",
                "splitting law (C7)",
                "copies of the activation",
            },
        ),
    ],
    ids=["tanh", "outputs", "deep", "relu", "exp"],
)
def test_every_embedding_of_a_critical_point_is_supported(problem, widths, labels):
    system, theta = critical(problem, widths)
    claims = by_label(wide_claims(system, [("made", theta)]))
    assert labels <= set(claims)
    for claim in claims.values():
        assert claim.status is Status.SUPPORTED, claim
        assert claim.computed == claim.expected > 0
        assert claim.residual < claim.tolerance
        assert claim.statement.count("$") % 2 == 0


def test_a_map_that_loses_a_share_is_refuted(monkeypatch):
    system, theta = critical(Problem.two_layer("tanh", "square", input_bias=True), 2)
    right = module.compatible

    def wrong(chain, groups, **options):
        wide = right(chain, groups, **options)
        last = wide.weights[-1].clone()
        last[:, -1] *= 1.001
        return module.Chain((*wide.weights[:-1], last), wide.biases)

    monkeypatch.setattr(module, "compatible", wrong)
    claim = by_label(wide_claims(system, [("made", theta)]))["splitting law (C7)"]
    assert claim.status is Status.REFUTED
    assert claim.residual > 1e4 * claim.tolerance


def test_a_wrong_prediction_is_refuted_with_the_counts(monkeypatch):
    system, theta = critical(Problem.two_layer("tanh", "square", input_bias=True), 2)
    monkeypatch.setattr(module, "predict_split_inertia", lambda *arguments: module.Inertia(1, 1, 1))
    claim = by_label(wide_claims(system, [("made", theta)]))["splitting law (C7)"]
    assert claim.status is Status.REFUTED
    assert "predicted" in claim.evidence["counterexamples"][0]


def test_a_point_that_is_not_critical_is_refuted():
    system, theta = critical(Problem.two_layer("tanh", "square"), 2)
    assert (
        by_label(wide_claims(system, [("off", theta + 0.1)]))["splitting law (C7)"].status is Status.REFUTED
    )


def test_without_points_or_a_hand_written_network_nothing_is_claimed_to_hold():
    system, theta = critical(Problem.two_layer("tanh", "square"), 2)
    (claim,) = wide_claims(system, [])
    assert claim.status is Status.UNDECIDED
    assert "no critical point" in claim.evidence["reason"]
    other = compile_system(Problem.two_layer("z/(1 + z**4)", "square"), system.x, system.y, 2)
    (claim,) = wide_claims(other, [("made", theta)])
    assert "no hand-written network" in claim.evidence["reason"]


def test_weight_decay_and_frozen_blocks_have_no_such_claims():
    for options in ({"weight_decay": 1}, {"freeze": ("a",)}):
        system = compile_system(
            Problem.two_layer("tanh", "square", **options),
            torch.zeros(3, 1, dtype=DOUBLE),
            torch.zeros(3, dtype=DOUBLE),
            1,
        )
        assert wide_claims(system, [("made", torch.zeros(system.P, dtype=DOUBLE))]) == []


def test_points_at_a_kink_are_passed_over():
    system, theta = critical(Problem.deep(2, "relu", "square"), (2,))
    assert module._clear_of_kinks(system, theta)
    blocks = system.unpack(theta)
    row = {**blocks, "b1": blocks["b1"] - (system.x[0] @ blocks["W1"].T + blocks["b1"])}
    assert not module._clear_of_kinks(system, system.pack(row))


def test_a_deep_network_is_searched_and_a_two_layer_network_without_a_landscape_is_not():
    generator = torch.Generator().manual_seed(1)
    x = torch.linspace(-2, 2, 9, dtype=DOUBLE)[:, None]
    y = torch.randn(9, generator=generator, dtype=DOUBLE)
    deep = compile_system(Problem.deep(3, "tanh", "square"), x, y, (1, 1))
    ((name, theta),) = found_points(deep, None)
    assert name.startswith("start")
    assert float(deep.gradient(theta).norm()) < 1e-9
    missing = NotThere("no landscape")
    assert {c.status for c in _embedded_points(deep, missing, 0)} == {Status.SUPPORTED}
    two = compile_system(Problem.two_layer("tanh", "square"), x, y, 1)
    assert found_points(two, None) == _embedded_points(two, missing, 0) == []


def test_a_wide_network_that_is_too_large_is_left_out(monkeypatch):
    system, theta = critical(Problem.two_layer("tanh", "square"), 2)
    monkeypatch.setattr(module, "LARGEST", 3)
    assert wide_claims(system, [("made", theta)]) == []
    assert replace(oracle_for(system), widths=(3,)).P > 3
