"""Claims must turn REFUTED or UNDECIDED when the records they are read from are spoiled."""

from __future__ import annotations

import dataclasses

import pytest

import workbench as wb
from derivations.claim import Claim, Status
from workbench.claims import claim_of, landscape_claims
from workbench.derive import statements
from workbench.landscape import Landscape
from workbench.results import Inertia


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    content = wb.load(wb.shipped_studies()["tanh-1d"]).to_dict()
    content["landscape"] |= {"starts": 30, "widths": [1, 2]}
    return wb.Analysis(wb.study_from_mapping(content)).landscape()


def of(claims: list[Claim], name: str) -> Claim:
    (found,) = [claim for claim in claims if claim.claim == name]
    return found


def test_all_hold(landscape: Landscape) -> None:
    claims = landscape_claims(landscape)
    assert {claim.claim for claim in claims} == {
        "criticality",
        "nullity",
        "embedding",
        "inertia",
        "splitting law",
        "descents",
    }
    assert all(claim.status is Status.SUPPORTED for claim in claims), claims


def test_a_point_that_is_not_critical_is_refuted(landscape: Landscape) -> None:
    spoiled = dataclasses.replace(landscape.points[-1], gradient_norm=1e-6)
    changed = dataclasses.replace(landscape, points=(*landscape.points[:-1], spoiled))
    claim = of(landscape_claims(changed), "criticality")
    assert (claim.status, claim.evidence["worst"]) == (Status.REFUTED, spoiled.id)


def test_unexplained_zeros_are_undecided_not_refuted(landscape: Landscape) -> None:
    split = next(p for p in landscape.points if "split" in p.stratum)
    spoiled = dataclasses.replace(split, manifold_dimension=None, unexplained_zeros=1)
    points = tuple(spoiled if p.id == split.id else p for p in landscape.points)
    claim = of(landscape_claims(dataclasses.replace(landscape, points=points)), "nullity")
    assert (claim.status, claim.evidence["unexplained"]) == (Status.UNDECIDED, [split.id])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("embedding", {"intertwining": 1e-3}),
        ("embedding", {"output_error": 1e-3}),
        ("embedding", {"gradient_norm": 1e-3}),
        ("inertia", {"inertia_after": Inertia(0, 0, 0)}),
        ("splitting law", {"predicted": Inertia(9, 9, 9)}),
    ],
)
def test_a_spoiled_embedding_is_refuted(landscape: Landscape, name: str, change: dict[str, object]) -> None:
    position = next(i for i, c in enumerate(landscape.checks) if c.predicted is not None)
    checks = list(landscape.checks)
    checks[position] = dataclasses.replace(checks[position], **change)  # type: ignore[arg-type]
    claims = landscape_claims(dataclasses.replace(landscape, checks=tuple(checks)))
    assert of(claims, name).status is Status.REFUTED


@pytest.mark.parametrize("name", ["inertia", "splitting law"])
def test_an_inertia_read_off_a_spectrum_without_a_gap_refutes_nothing(
    landscape: Landscape, name: str
) -> None:
    change = {"inertia_after": Inertia(0, 0, 0)} if name == "inertia" else {"predicted": Inertia(9, 9, 9)}
    position = next(i for i, c in enumerate(landscape.checks) if c.predicted is not None)
    checks = list(landscape.checks)
    checks[position] = dataclasses.replace(checks[position], clear=False, **change)
    claims = landscape_claims(dataclasses.replace(landscape, checks=tuple(checks)))
    assert of(claims, name).status is Status.UNDECIDED


def test_a_descent_that_rises_is_refuted(landscape: Landscape) -> None:
    position = next(i for i, e in enumerate(landscape.edges) if e.kind == "descent")
    edges = list(landscape.edges)
    details = {**edges[position].details, "loss_drop": -1e-3}
    edges[position] = dataclasses.replace(edges[position], details=details)
    claim = of(landscape_claims(dataclasses.replace(landscape, edges=tuple(edges))), "descents")
    assert claim.status is Status.REFUTED


def test_a_drop_within_rounding_is_neither_a_descent_nor_a_counterexample(landscape):
    edges = list(landscape.edges)
    at = next(j for j, edge in enumerate(edges) if edge.kind == "descent")
    for tiny in (-2e-17, 2e-17):
        source = landscape[edges[at].source].value
        assert source > 0
        details = {**edges[at].details, "loss_drop": tiny * source}
        changed = [*edges[:at], dataclasses.replace(edges[at], details=details), *edges[at + 1 :]]
        claim = of(landscape_claims(dataclasses.replace(landscape, edges=tuple(changed))), "descents")
        assert claim.status is Status.UNDECIDED


def test_symbolic_statements_keep_their_status() -> None:
    problem = wb.Problem.two_layer("tanh", "square", input_bias=True)
    for topic in statements(problem).values():
        for statement in topic:
            claim = claim_of(statement)
            assert claim.status is statement.status
            if claim.status is Status.PROVED and statement.residuals:
                assert claim.residual == "0"


def test_an_absent_symmetry_is_no_refuted_claim() -> None:
    content = wb.load(wb.shipped_studies()["tanh-1d"]).to_dict()
    content["landscape"] |= {"starts": 10, "widths": [1]}
    verification = wb.Analysis(wb.study_from_mapping(content)).verify()
    assert not verification.refuted
    assert any(claim.claim == "permutation of neurons" for claim in verification.claims)
    assert all(claim.claim != "scaling of a neuron" for claim in verification.claims)
