"""What is claimed of the flow of a network with kinks rests on runs that follow them; smooth ones are in test_verify."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from derivations.claim import Claim, Status
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from workbench import flow_checks, kinked_flows
from workbench.flow_checks import check_integrators
from workbench.kinked_flows import route_of

X = [[-1.0], [-0.5], [0.0], [0.5], [1.0]]
Y = [-0.4, 0.1, 0.3, -0.2, 0.5]


def compiled(activation: str = "relu", **options: Any) -> CompiledSystem:
    return compile_system(Problem.two_layer(activation, "square", input_bias=True, **options), X, Y, 2)


def by_name(claims: list[Claim]) -> dict[str, Claim]:
    return {claim.claim: claim for claim in claims}


@pytest.mark.parametrize("activation", ["relu", "abs", "leaky_relu(1/10)"])
def test_kinked_flows_are_followed_piece_by_piece(activation: str) -> None:
    claims = by_name(check_integrators(compiled(activation), seed=2))
    for name in ("descent", "conserved quantity"):
        assert claims[name].status is Status.SUPPORTED
        assert claims[name].evidence["method"] == "pieces"
    assert claims["descent"].evidence["ended"] == ["finished"] * 4
    assert claims["conserved quantity"].residual <= claims["conserved quantity"].tolerance


def test_nothing_is_claimed_of_runs_that_step_across_kinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinked_flows, "MOST_KINKS", 9)
    claims = by_name(check_integrators(compiled(), seed=2))
    for name in ("descent", "conserved quantity"):
        assert claims[name].status is Status.UNDECIDED
        assert claims[name].evidence["reason"].startswith("The network has 10 kinks")


def test_a_flow_uphill_between_kinks_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    system = compiled()
    route = route_of(system)
    assert route.pieces is not None
    downhill = route.pieces.rate
    uphill = replace(route.pieces, rate=lambda theta, sides: -downhill(theta, sides))
    monkeypatch.setattr(flow_checks, "route_of", lambda _: replace(route, pieces=uphill))
    assert by_name(check_integrators(system, seed=2, starts=1))["descent"].status is Status.REFUTED
