"""The measurements of embedding-principle: published values at found points, and what wrong maps and predictions do to the verdicts."""

from __future__ import annotations

import pytest
import torch

from derivations.claim import Status
from derivations.theorems.embedding_principle import THEOREM, network
from numerics.compile import CompiledSystem, compile_system
from numerics.spectrum import Inertia
from workbench.measurements import embedding_points as at
from workbench.measurements.embedding_principle import measure
from workbench.measurements.measured import Bench
from workbench.theorem_check import Checked, check


def statuses(found: Checked) -> dict[str, str]:
    return {claim.claim: str(claim.status) for claim in found.claims}


@pytest.fixture(scope="module")
def default() -> Checked:
    return check("embedding-principle", {"starts": "30"})


def systems(**chosen: str) -> tuple[CompiledSystem, CompiledSystem]:
    given = THEOREM.instance(chosen)
    x = [[float(u) for u in row] for row in given["data"].x]
    y = [float(u) for u in given["data"].y]
    small, large = (compile_system(network(given), x, y, given["width"] + k) for k in (0, 1))
    return small, large


def test_every_claim_of_the_default_instance_is_proved_or_supported(default: Checked) -> None:
    assert {label for label, status in statuses(default).items() if status == "SUPPORTED"} == {
        "C4",
        "C10",
        "C11",
    }
    assert set(statuses(default).values()) == {"PROVED", "SUPPORTED"}


def test_the_graph_has_the_published_point_its_split_and_the_descent(default: Checked) -> None:
    graph = default.graph
    narrow = graph.nodes["m1.1"]
    assert narrow["loss"] == pytest.approx(0.008172288778, abs=1e-11)
    wide = graph.nodes["m1.1 split 1"]
    assert (wide["positive"], wide["zero"], wide["negative"]) == (4, 1, 1)
    ends = [v for _, v, data in graph.edges(data=True) if data["kind"] == "flow"]
    assert ends
    assert all(graph.nodes[end]["loss"] == pytest.approx(0.000240427032, abs=1e-11) for end in ends)


def test_the_inner_eigenvalues_are_the_published_ones(default: Checked) -> None:
    claim = next(one for one in default.claims if one.claim == "C7")
    (row,) = claim.evidence["measurement"]["splits"]
    assert row["U"] == pytest.approx([-0.039810448078, 0.197188168868], abs=1e-9)


def test_the_figures_are_drawn(default: Checked) -> None:
    assert [one.name for one in default.pictures] == ["plateau", "graph"]
    for picture in default.pictures:
        assert picture.draw().axes


EXACT = {"activation": "exp", "bias": "no", "starts": "20"}


@pytest.mark.parametrize(
    ("chosen", "open_ones"),
    [
        ({"data": "exact line", "fractions": "3/2, -1/2"}, set()),
        # On four samples in the plane the search meets other functions only, so there is nothing to recognise.
        ({"data": "exact plane", "fractions": "1/5, 3/10, 1/2"}, {"C10"}),
    ],
)
def test_other_activations_data_and_shares_are_measured(chosen: dict[str, str], open_ones: set[str]) -> None:
    found = statuses(check("embedding-principle", EXACT | chosen))
    assert {label for label, status in found.items() if status == "UNDECIDED"} == open_ones
    assert "REFUTED" not in found.values()


@pytest.mark.parametrize(
    ("data", "fractions", "wide"),
    [  # (positive, zero, negative) of the sheet
        ("exact line", "1/2, 1/2", (3, 1, 0)),
        ("exact line", "3/2, -1/2", (2, 1, 1)),
        ("exact plane", "1/2, 1/2", (4, 2, 0)),
        ("exact plane", "3/2, -1/2", (3, 2, 1)),
        ("exact plane", "1/5, 3/10, 1/2", (5, 4, 0)),
        ("exact plane", "2, -1/2, -1/2", (3, 4, 2)),
        ("exact plane", "3/2, 1/2, -1", (4, 4, 1)),
        ("exact plane", "1/2, 1/2, 0", (4, 5, 0)),
    ],
)
def test_the_exact_points_have_the_published_inertia(
    data: str, fractions: str, wide: tuple[int, int, int]
) -> None:
    narrow, _ = systems(**EXACT, data=data)
    given = THEOREM.instance(EXACT | {"data": data, "fractions": fractions})
    shares = [float(u) for u in given["fractions"]]
    x = [[float(u) for u in row] for row in given["data"].x]
    y = [float(u) for u in given["data"].y]
    points = at.irreducible(narrow, 20, 0)
    kept, law = at.split_points(narrow, compile_system(network(given), x, y, len(shares)), points, shares)
    assert (kept.status, law.status) == (Status.SUPPORTED, Status.SUPPORTED)
    (row,) = law.evidence["splits"]
    assert tuple(row["wide"][name] for name in ("positive", "zero", "negative")) == wide


@pytest.mark.parametrize("chosen", [{"fractions": "1/2, 1/4"}, {"decay": "1/10"}, {"activation": "relu"}])
def test_without_an_assumption_of_the_maps_nothing_is_measured(chosen: dict[str, str]) -> None:
    assert not measure(THEOREM.instance(chosen), Bench()).findings


def test_the_undivided_rule_is_refuted_with_the_eigenvalues_there_are() -> None:
    narrow, wide = systems(**{"data": "exact line", "activation": "exp", "bias": "no"})
    (point, *_) = at.irreducible(narrow, 20, 0)
    given = THEOREM.instance({"data": "exact line", "activation": "exp", "bias": "no"})
    x, y = [[float(u) for u in row] for row in given["data"].x], [float(u) for u in given["data"].y]

    def system_of(width: int) -> CompiledSystem:
        return compile_system(network(given), x, y, width)

    assert at.two_shares(narrow, system_of, [point], 7, divided=True).status is Status.SUPPORTED
    wrong = at.two_shares(narrow, system_of, [point], 7, divided=False)
    assert wrong.status is Status.REFUTED
    assert "2 equal copies" in wrong.reason
    assert wide.sizes["m"] == 2


def test_a_wrong_prediction_and_a_wrong_map_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, wide = systems(**{"data": "exact line", "activation": "exp", "bias": "no"})
    points = at.irreducible(narrow, 20, 0)
    kept, law = at.split_points(narrow, wide, points, (0.25, 0.75))
    assert (kept.status, law.status) == (Status.SUPPORTED, Status.SUPPORTED)
    with monkeypatch.context() as patch:
        patch.setattr(at, "predict_split_inertia", lambda *_: Inertia(1, 1, 0))
        assert at.split_points(narrow, wide, points, (0.25, 0.75))[1].status is Status.REFUTED
    right = at.split
    monkeypatch.setattr(at, "split", lambda *given: right(*given) * 1.001)
    assert at.split_points(narrow, wide, points, (0.25, 0.75))[0].status is Status.REFUTED


def test_a_wide_point_that_is_no_copy_is_not_recognised() -> None:
    a, w = torch.tensor([1.0]), torch.tensor([[0.5]])
    assert at._copies((a, w), (torch.tensor([0.3, 0.7]), torch.tensor([[0.5], [0.5]])), odd=False)
    assert at._copies((a, w), (torch.tensor([0.3, -0.7]), torch.tensor([[0.5], [-0.5]])), odd=True)
    assert at._copies((a, w), (torch.tensor([1.0, 0.0]), torch.tensor([[0.5], [9.0]])), odd=False)
    assert not at._copies((a, w), (torch.tensor([0.3, 0.6]), torch.tensor([[0.5], [0.5]])), odd=False)
    assert not at._copies((a, w), (torch.tensor([1.0, 0.4]), torch.tensor([[0.5], [0.7]])), odd=False)


def test_where_no_point_is_found_the_claims_stay_open() -> None:
    found = measure(
        THEOREM.instance({"data": "0 : 0; 1 : 0", "bias": "no", "starts": "10"}), Bench()
    ).findings
    assert {one.status for one in found.values()} == {Status.UNDECIDED}
    assert "raise starts" in found["C10"].reason
