"""The measurements of shallow-relu-affine: verdicts of whole instances, and what wrong gradients and flows do to them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from derivations.claim import Status
from derivations.theorems.shallow_relu_affine import THEOREM, critical_sets, network_of
from numerics.interval_system import IntervalSystem, compile_interval
from workbench.measurements import affine_runs as runs
from workbench.measurements import shallow_relu_affine as measured
from workbench.measurements.measured import Bench
from workbench.theorem_check import Checked, check

W1 = [2 / 3, -2 / 3, 1.0, -1.0, -1 / 3, 2 / 3, 0.5]
LEVELS = [1 / 972, 1 / 12]


def statuses(found: Checked) -> dict[str, str]:
    return {claim.claim: str(claim.status) for claim in found.claims}


@pytest.fixture(scope="module")
def default() -> Checked:
    return check("shallow-relu-affine", {"starts": "50"})


@pytest.fixture(scope="module")
def system() -> IntervalSystem:
    return compile_interval(network_of(THEOREM.instance()), 2)


def test_every_claim_of_the_default_instance_is_proved_or_supported(default: Checked) -> None:
    assert {label for label, status in statuses(default).items() if status == "SUPPORTED"} == {"C7", "C7.2"}
    assert set(statuses(default).values()) == {"PROVED", "SUPPORTED"}
    assert not default.refuted


def test_runs_end_at_zero_or_at_the_dead_level(default: Checked) -> None:
    claim = next(one for one in default.claims if one.claim == "C7")
    ends = claim.evidence["measurement"]["ends"]["2"]
    assert set(ends) <= {"global", "dead", "next to dead"}
    assert ends["global"] > ends["dead"] > 0


def test_the_graph_has_the_nodes_of_the_sheet_and_falls_along_its_edges(default: Checked) -> None:
    graph = default.graph
    kinds = {(data["exact"], data["kind"]) for _, data in graph.nodes(data=True)}
    assert kinds == {("0", "minimum"), ("1/972", "saddle"), ("1/12", "saddle"), ("1/12", "minimum")}
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.graph["unresolved"] == 0
    for u, v in graph.edges:
        assert graph.nodes[u]["loss"] > graph.nodes[v]["loss"]
    saddles = {u for u, data in graph.nodes(data=True) if data["kind"] == "saddle"}
    assert {u for u, _ in graph.edges} == saddles


def test_the_figures_are_drawn(default: Checked) -> None:
    assert [one.name for one in default.pictures] == ["functions", "losses", "graph"]
    for picture in default.pictures:
        assert picture.draw().axes


def test_the_saddle_is_left_at_the_rate_of_its_lowest_eigenvalue(default: Checked) -> None:
    claim = next(one for one in default.claims if one.claim == "C7.2")
    assert claim.computed == pytest.approx(0.02668673, rel=1e-3)
    assert claim.expected == pytest.approx(0.02668673, abs=1e-8)


def test_gradient_descent_stays_at_the_saddle_and_leaves_it_as_published(system: IntervalSystem) -> None:
    """Gradient descent of step 0.05, written here with numpy and exact integrals by Simpson's rule between the kinks."""

    def gradient(theta: np.ndarray) -> np.ndarray:
        v, w, b, c = theta[:2], theta[2:4], theta[4:6], theta[6]
        ends = np.sort(np.concatenate([[0.0, 1.0], np.clip(-b / w, 0, 1)]))
        gaps = np.diff(ends)[:, None]
        t = np.array([-0.7745966692414834, 0.0, 0.7745966692414834])
        weights = np.array([5, 8, 5]) / 18
        x, mass = (ends[:-1, None] + gaps * (t + 1) / 2).ravel(), (gaps * weights).ravel()
        z = w * x[:, None] + b
        r = 2 * (c + np.maximum(z, 0) @ v - x) * mass
        on = z > 0
        return np.concatenate([r @ np.maximum(z, 0), v * (r * x @ on), v * (r @ on), [r.sum()]])

    saddle = torch.tensor(W1, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(system.hessian(saddle))
    assert values.tolist() == pytest.approx(
        [-0.02668673, -0.00568834, 0, 0, 0.05761478, 0.52443630, 3.21438435], abs=1e-8
    )
    theta = saddle.numpy() + 1e-4 * vectors[:, 0].numpy()
    losses = []
    for step in range(8001):
        if step in (4000, 8000):
            losses.append(float(system.value(torch.tensor(theta))))
        theta = theta - 0.05 * gradient(theta)
    assert losses[0] == pytest.approx(1 / 972, rel=0.02)
    assert losses[1] < 2e-5


def test_a_second_activation_target_and_width_are_measured() -> None:
    given = {
        "activation": "leaky_relu(1/4)",
        "interval": "-1, 2",
        "target": "3 - 2*x",
        "width": "1",
        "starts": "20",
    }
    found = statuses(check("shallow-relu-affine", given))
    assert set(found.values()) == {"PROVED", "SUPPORTED"}


@pytest.mark.parametrize("chosen", [{"target": "x**2"}, {"target": "3"}, {"activation": "tanh"}])
def test_without_the_lists_nothing_is_said_about_runs(chosen: dict[str, str]) -> None:
    found = measured.measure(THEOREM.instance(chosen), Bench())
    assert set(found.findings) == {"C1"}


def test_a_wrong_gradient_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = IntervalSystem.gradient
    monkeypatch.setattr(IntervalSystem, "gradient", lambda self, theta: right(self, theta) * 1.001)
    found = measured.measure(THEOREM.instance({"target": "3"}), Bench()).findings["C1"]
    assert found.status is Status.REFUTED


def test_a_run_that_rests_at_a_saddle_or_still_moves_leaves_the_claim_open(system: IntervalSystem) -> None:
    points = torch.tensor([W1, [0.5, -0.8, 1.0, -1.0, -0.25, 0.6, 0.2]], dtype=torch.float64)
    ends = runs.sorted_ends(system, points, LEVELS)
    assert ends.names == ("at 0.00102881", "moving")
    found = runs.ends_finding({2: ends}, {2: LEVELS}, 0)
    assert found.status is Status.UNDECIDED
    assert found.reason.startswith("2 of 2 runs")


def test_dead_neurons_are_told_from_those_that_will_wake(system: IntervalSystem) -> None:
    dead = [1.0, 1.0, 1.0, -1.0, -2.0, -1.0, 0.5]
    # a kink just inside the lower end: a minimum for v > 0, left by the flow for v < 0
    edge = [1.0, 1.0, -1.0, 1.0, 1e-9, -2.0, 0.5]
    wakes = [-1.0, 1.0, -1.0, 1.0, 1e-9, -2.0, 0.5]
    ends = runs.sorted_ends(system, torch.tensor([dead, edge, wakes], dtype=torch.float64), LEVELS)
    assert ends.names == ("dead", "next to dead", "at 0.0833333")


def test_a_flow_with_the_wrong_sign_does_not_support_the_escape(
    system: IntervalSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = critical_sets(THEOREM.instance())
    right = runs.run

    def slower(system: IntervalSystem, start: torch.Tensor, until: float = 1e3, **options: object) -> object:
        class Half:
            def __getattr__(self, name: str) -> object:
                return getattr(system, name)

            def gradient(self, theta: torch.Tensor) -> torch.Tensor:
                return system.gradient(theta) / 2

            def hessian(self, theta: torch.Tensor) -> torch.Tensor:
                return system.hessian(theta) / 2

        return right(Half(), start, 2 * until, **options)  # type: ignore[arg-type]  # a system with half the gradient

    monkeypatch.setattr(runs, "run", slower)
    assert runs.escape(system, sets, LEVELS).status is Status.UNDECIDED


@pytest.mark.slow
def test_the_full_sweep_supports_all_claims() -> None:
    found = check("shallow-relu-affine", {"sweep": "full"})
    assert set(statuses(found).values()) == {"PROVED", "SUPPORTED"}
    claim = next(one for one in found.claims if one.claim == "C3")
    assert "600 starts" in claim.evidence["measurement"]["reason"]
