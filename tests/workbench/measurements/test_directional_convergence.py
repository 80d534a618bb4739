"""Early alignment measured: published states, closed forms, wrong signs seen, the graph of saddles."""

import math

import networkx as nx
import pytest
import torch
from torch import Tensor

from derivations.claim import Status
from derivations.theorems.directional_convergence import THEOREM, network_of
from numerics.correlation_flow import SmallFlow
from workbench.errors import StudyError
from workbench.measurements import alignment_runs, exact_models
from workbench.measurements.directional_convergence import measure
from workbench.measurements.measured import Bench
from workbench.theorem_check import check

F64 = torch.float64


def flow_of(data: str, width: int, loss: str | None = None) -> SmallFlow:
    given = THEOREM.instance({"data": data})
    x, y = given["data"].x, given["data"].y
    return SmallFlow.of(
        network_of(given, loss), [[float(u) for u in row] for row in x], [float(u) for u in y], width
    )


def unit(*values: float) -> Tensor:
    found = torch.tensor(values, dtype=F64)
    return found / found.norm()


@pytest.mark.parametrize(
    ("delta", "norm", "gap"),
    # The first norm is the erratum of the published 0.0884289495.
    [
        (1e-2, 0.08842949464, 1.31246e-3),
        (1e-4, 0.00884682875, 1.310929e-5),
        (1e-6, 8.84686965e-4, 1.310749e-7),
    ],
)
def test_one_neuron_is_as_long_and_as_aligned_as_published(delta: float, norm: float, gap: float) -> None:
    until = math.log(1 / delta) / (4 * 0.7433034374)
    end = flow_of("three", 1).run(delta * unit(0.7, 0.5, -0.5), until).states[-1]
    best = torch.tensor([[1.0, 0.9955557351, -0.0941741912]], dtype=F64)
    assert float(end.norm()) == pytest.approx(norm, rel=1e-8)
    assert alignment_runs.misalignment(end, best)[0] == pytest.approx(gap, rel=2e-5)


def test_the_flow_of_the_correlation_slides_as_published() -> None:
    flow = flow_of("three", 1, "correlation")
    run = flow.run(unit(-0.7, -0.2, 0.6), 4.0, torch.tensor([0.0, 1.0, 4.0], dtype=F64))
    assert run.kinks[0].time == pytest.approx(0.1214035, abs=1e-7)
    assert run.states[1].tolist() == pytest.approx([-1.1921664, -0.5138360, 1.0276720], abs=1e-7)
    assert run.states[2].tolist() == pytest.approx([-5.4806288, -2.4468824, 4.8937649], abs=1e-6)


@pytest.mark.parametrize(
    ("delta", "losses"),
    [
        (1e-3, {2: 1.3726192, 4: 0.2720188, 6: 0.2306266, 10: 0.0208290, 40: 0.0194423}),
        (1e-5, {4: 1.3737973, 6: 0.3276051, 10: 0.2344887, 20: 0.0194514}),
    ],
)
def test_two_neurons_walk_over_the_published_plateaus(delta: float, losses: dict[int, float]) -> None:
    flow = flow_of("five", 2)
    grid = torch.tensor([0, *losses], dtype=F64)
    run = flow.run(delta * unit(0.6, -0.5, 0.3, 0.2, -0.3, 0.4), float(grid[-1]), grid)
    assert [flow.value(state) for state in run.states[1 : 1 + len(losses)]] == pytest.approx(
        list(losses.values()), abs=1e-6
    )


def test_the_half_times_of_modes_are_the_published_ones() -> None:
    found = exact_models.half_times([3.0, 1.5, 0.5], [1e-3, 1e-6])
    times = [row["half-times"] for row in found.evidence["scales"]]
    assert times[0] == pytest.approx([2.4856870855, 4.7403249998, 13.1223613774], abs=2e-9)
    assert times[1] == pytest.approx([4.7882722341, 9.3454954080, 26.9378739354], abs=2e-9)
    assert found.status is Status.SUPPORTED


@pytest.fixture(scope="module")
def shipped():  # type: ignore[no-untyped-def]
    return measure(THEOREM.instance({"starts": "1", "rounds": "2"}), Bench())


def test_all_claims_are_supported_or_proved_on_the_shipped_case(shipped) -> None:  # type: ignore[no-untyped-def]
    assert {
        label: found.status
        for label, found in shipped.findings.items()
        if found.status is not Status.SUPPORTED
    } == {"C1.1": Status.PROVED}
    assert set(shipped.findings) >= {
        "C3",
        "C3.1",
        "C4",
        "C4.1",
        "C5",
        "C6",
        "C7",
        "C8",
        "C8.1",
        "C9.1",
        "C10",
    }


def test_the_residual_correlation_leads_on_as_published(shipped) -> None:  # type: ignore[no-untyped-def]
    graph = shipped.graph
    assert isinstance(graph, nx.MultiDiGraph)
    assert [graph.nodes[n]["loss"] for n in ("0", "1", "2")] == pytest.approx(
        [1.375, 0.2347395113, 0.0194423326], abs=1e-9
    )
    first, second = (graph.edges[edge] for edge in (("0", "1", 0), ("1", "2", 0)))
    assert first["lambda"] == pytest.approx(2.1323461257, abs=1e-9)
    assert second["lambda"] == pytest.approx(0.8495881355, abs=1e-9)
    assert [float(u) for u in second["direction"].split(",")] == pytest.approx(
        [-0.6709133240, 0.7415357791], abs=1e-9
    )
    # w' = lambda w exactly along a ray of the correlation: the slope in ln(1/delta) is 1/lambda.
    assert second["slope"] == pytest.approx(1 / 0.8495881355, rel=1e-6)


def test_pictures_are_drawn(shipped) -> None:  # type: ignore[no-untyped-def]
    assert [len(picture.draw().axes) for picture in shipped.pictures] == [3, 1]


def test_the_flow_with_its_sign_turned_is_refuted_by_a_counterexample() -> None:
    found = measure(THEOREM.instance({"flow": "ascent", "loss": "logistic", "starts": "1"}), Bench()).findings
    assert found["C3"].status is Status.REFUTED
    assert found["C5"].status is Status.REFUTED
    assert "negative correlation" in found["C5"].reason
    assert found["C5"].evidence["state"]


def test_another_loss_and_dimension_are_served_and_tanh_is_not() -> None:
    space = check(
        "directional-convergence", {"data": "space", "loss": "logistic", "starts": "1", "width": "1"}
    )
    verdicts = {claim.claim: claim.status for claim in space.claims}
    assert verdicts["C1.1"] is Status.PROVED
    assert verdicts["C5"] is Status.SUPPORTED
    assert verdicts["C6"] is verdicts["C10"] is Status.UNDECIDED
    assert not space.refuted
    smooth = check("directional-convergence", {"activation": "tanh"})
    assert {claim.claim for claim in smooth.claims if claim.status is not Status.UNDECIDED} == {
        "C7",
        "C8",
        "C8.1",
        "C9",
        "C9.1",
    }


def test_a_start_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(StudyError, match="found 3 numbers; 2 neurons with 2 inputs have 6"):
        measure(THEOREM.instance({"start": "1, 2, 3"}), Bench())
