"""The measurements of margin-kkt on instances, and what they do with flows that break the statements."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from derivations.claim import Status
from derivations.problem import Problem
from numerics.margin_flow import MarginFlow, MarginRun
from workbench.measurements import margin_cases as cases
from workbench.measurements import margin_runs as along
from workbench.measurements.margin_program import convex, program
from workbench.theorem_check import Checked, check

PAIRS = ([[2.0, 1.0], [0.5, 1.5], [-2.0, -1.0], [-0.5, -1.5]], [1.0, 1.0, -1.0, -1.0])
BEST = (1 + 0.2) / 4 * math.sqrt(10) / 2


def statuses(found: Checked) -> dict[str, str]:
    return {claim.claim: str(claim.status) for claim in found.claims}


@pytest.fixture(scope="module")
def default() -> Checked:
    return check("margin-kkt", {"starts": "1"})


@pytest.fixture(scope="module")
def runs() -> along.Runs:
    flow = MarginFlow(lambda loss: Problem.two_layer("leaky_relu(1/5)", loss, reduction="sum"), *PAIRS, 4)
    start = 0.01 * torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = [2.0 ** (k / 2) for k in range(-6, 16)]
    return along.Runs(
        flow, (flow.run(start, 301.0, levels=levels, save_at=torch.linspace(0, 8, 60).tolist()),)
    )


def test_every_claim_of_the_default_instance_is_proved_or_supported(default: Checked) -> None:
    found = statuses(default)
    assert set(found.values()) == {"PROVED", "SUPPORTED"}
    assert len(found) == 16
    assert not default.refuted


def test_every_measurement_of_the_default_instance_agrees(default: Checked) -> None:
    measured = {
        u.claim: u.evidence["measurement"]["status"] for u in default.claims if "measurement" in u.evidence
    }
    assert set(measured.values()) == {"SUPPORTED"}
    assert set(measured) == {u.claim for u in default.claims} - {"C3.1", "C6.1", "C9.1"}


def test_the_graph_has_the_two_directions_at_an_angle_and_the_merged_one_comes_back(default: Checked) -> None:
    nodes = default.graph.nodes
    assert nodes["split"]["margin"] == pytest.approx(0.25, abs=1e-9)
    assert nodes["merged"]["margin"] == pytest.approx(math.cos(math.radians(75)) / 2, abs=1e-9)
    assert nodes["merged"]["kind"] == "returns"
    assert default.graph.has_edge("merged", "merged")
    assert nodes["K1"]["margin"] == pytest.approx(BEST, rel=1e-6)
    assert nodes["K1"]["residual"] < 1e-9


def test_the_figures_are_drawn(default: Checked) -> None:
    assert [one.name for one in default.pictures] == ["margins", "residuals", "neurons", "directions"]
    for one in default.pictures:
        assert one.draw().axes


def test_the_sign_of_the_flow_turned_is_refuted_by_derivation_and_measurement() -> None:
    found = check("margin-kkt", {"starts": "1", "flow": "ascent"})
    assert found.refuted
    (claim,) = [one for one in found.claims if one.claim == "C1"]
    assert claim.evidence["derivation"]["status"] == "REFUTED"
    assert claim.evidence["measurement"]["status"] == "REFUTED"
    assert "the smoothed margin falls" in claim.evidence["measurement"]["reason"]
    assert len(claim.evidence["measurement"]["theta"]) == 12


def test_without_the_condition_on_e_the_measurement_fails_and_nothing_is_asserted(runs: along.Runs) -> None:
    found = along.monotone(replace(runs, free=True))
    assert found.status is Status.REFUTED
    assert along.monotone(runs).status is Status.SUPPORTED


def test_a_run_whose_margin_falls_is_refuted_with_the_states(runs: along.Runs) -> None:
    run = runs.runs[0]
    turned = MarginRun(tuple(reversed(run.states)), True, "", 0)
    found = along.monotone(replace(runs, runs=(turned,)))
    assert found.status is Status.REFUTED
    assert found.evidence["smoothed margin later"] < found.evidence["smoothed margin"]


def test_a_wrong_slope_is_not_supported(runs: along.Runs) -> None:
    run = runs.runs[0]
    wrong = tuple(replace(state, nu=0.9 * state.nu) for state in run.states)
    assert along.monotone(replace(runs, runs=(replace(run, states=wrong),))).status is not Status.SUPPORTED


def test_residuals_that_do_not_fall_are_undecided_and_not_refuted(runs: along.Runs) -> None:
    run = runs.runs[0]
    off = torch.linspace(-1, 1, 12, dtype=torch.float64)
    stuck = tuple(replace(s, velocity=s.velocity + 0.3 * float(s.velocity.norm()) * off) for s in run.states)
    found = replace(runs, runs=(replace(run, states=stuck),))
    for measure in (along.kkt_residuals, along.direction):
        assert measure(runs).status is Status.SUPPORTED
        assert measure(found).status is Status.UNDECIDED
    assert along.kkt_constants(found).status is Status.UNDECIDED


def test_a_run_that_does_not_reach_its_target_decides_nothing(runs: along.Runs) -> None:
    short = replace(runs, runs=(replace(runs.runs[0], reached=False, reason="ended early"),))
    for measure in (along.rates, along.kkt_residuals, along.direction):
        assert measure(short).status is Status.UNDECIDED
        assert "ended early" in measure(short).reason


def test_the_rate_is_within_the_correction_that_is_still_due(runs: along.Runs) -> None:
    found = along.rates(runs)
    assert found.status is Status.SUPPORTED
    # log t by quadrature of dt = ds exp(log 1/E) in small steps of s near the end.
    last = runs.runs[0].last
    assert along.log_time(runs.runs[0]) == pytest.approx(
        last.phi - math.log(float(last.velocity @ last.velocity)), abs=0.02
    )


def test_a_bound_that_is_too_small_is_refuted(runs: along.Runs) -> None:
    assert cases.symmetric(runs, BEST, 0).status is Status.SUPPORTED
    found = cases.symmetric(runs, 0.9 * BEST, 0)
    assert found.status is Status.REFUTED
    assert len(found.evidence["theta"]) == 12


def test_the_phases_are_not_supported_for_another_rate_or_direction(runs: along.Runs) -> None:
    assert "growth rate" in cases.phases(runs, 0.5, BEST, [0.2, 0.6], 0.01).reason.split("too large")[1]
    assert "alignment with w*" in cases.phases(runs, 0.2, BEST, [0.6, 0.2], 0.01).reason.split("too large")[1]


def test_the_programme_of_a_pattern_is_solved_to_its_dual(runs: along.Runs) -> None:
    found = program(runs.flow, runs.runs[0].last, 0.2)
    assert not isinstance(found, str)
    assert found.value == pytest.approx(1 / (2 * BEST), rel=1e-9)
    assert abs(found.gap) < 1e-9
    assert found.residual < 1e-9
    assert float(found.multipliers.min()) >= -1e-9


def test_the_programme_agrees_with_a_general_solver() -> None:
    from scipy.optimize import minimize

    x = [[2.0, 1.0], [1.0, -0.3], [-0.5, -1.5], [-1.2, 0.1]]
    y = [1.0, 1.0, -1.0, -1.0]
    flow = MarginFlow(lambda loss: Problem.two_layer("relu", loss, reduction="sum"), x, y, 2)
    theta = flow.system.pack({"a": [1.0, -1.0], "w": [[0.9, -0.2], [-0.9, -0.4]]})
    found = program(flow, flow.state(2 * theta), 0.0, active=10.0)
    assert not isinstance(found, str)

    def margins(b: list[float]) -> list[float]:
        out = []
        for row, label in zip(x, y, strict=True):
            z = [0.9 * row[0] - 0.2 * row[1], -0.9 * row[0] - 0.4 * row[1]]
            f = (z[0] > 0) * (b[0] * row[0] + b[1] * row[1]) - (z[1] > 0) * (b[2] * row[0] + b[3] * row[1])
            out.append(label * f - 1)
        return out

    other = minimize(
        lambda b: math.hypot(b[0], b[1]) + math.hypot(b[2], b[3]),
        [1.0, -0.5, -1.0, -0.5],
        constraints={"type": "ineq", "fun": margins},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 300},
    )
    assert other.fun == pytest.approx(found.value, rel=1e-6)


def test_the_convex_programme_says_how_far_the_flow_is(runs: along.Runs) -> None:
    found = convex(runs, 0.2)
    assert found.residual < 5e-3
    assert found.expected == pytest.approx(BEST, rel=1e-8)


def test_a_linear_classifier_is_followed_to_the_hard_margin() -> None:
    x = torch.tensor([[2.0, 1.0], [1.0, -0.3], [-0.5, -1.5], [-1.2, 0.1]], dtype=torch.float64)
    y = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    assert cases.linear(x, y, [12 / 11, 10 / 33], 300.0).status is Status.SUPPORTED
    assert cases.linear(x, y, [1.0, 0.5], 300.0).status is Status.UNDECIDED


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [
        {"loss": "logistic"},
        {"data": "separable", "activation": "relu"},
        {"activation": "relu(z)**2", "data": "separable", "scale": "1/10"},
        {"widths": "3, 2", "scale": "1/5"},
        {"data": "1, 0, 1 : 1; 0, 1, 1 : -1; -1, 1, 1 : -1", "widths": "6"},
    ],
    ids=str,
)
def test_other_instances_are_measured_with_the_same_rigour(chosen: dict[str, str]) -> None:
    found = check("margin-kkt", {"starts": "1"} | chosen)
    assert not found.refuted
    assert {statuses(found)[label] for label in ("C1", "C2", "C4.1")} == {"PROVED"}
    assert statuses(found)["C3"] == "SUPPORTED"


@pytest.mark.slow
def test_the_full_sweep_reaches_the_best_margin_for_all_widths_scales_and_slopes() -> None:
    found = check("margin-kkt", {"starts": "1", "sweep": "full"})
    (claim,) = [one for one in found.claims if one.claim == "C8"]
    assert claim.status is Status.SUPPORTED, claim.evidence
    assert "18 runs" in claim.evidence["measurement"]["reason"]
