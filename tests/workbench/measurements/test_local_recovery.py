"""What is measured for local recovery: rates, solutions near branches, recovered starts, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from derivations.claim import Status
from derivations.recovery_case import minima_of
from derivations.theorems.local_recovery import THEOREM
from workbench.__main__ import main
from workbench.measurements import local_recovery
from workbench.measurements.local_recovery_pictures import recovery_pictures
from workbench.measurements.measured import Bench
from workbench.measurements.recovery_graph import branch_graph, kind_edges, kind_names
from workbench.measurements.recovery_motion import (
    Approach,
    Frame,
    approach,
    degenerate_approach,
    exponents,
    second_order_displacement,
)
from workbench.recovery import Samples
from workbench.theorem_check import check

LINE = {"teacher": "1 : 1/2", "inputs": "-1; 1/2; 2; 7/5; -3/10", "starts": "4"}


def line():
    minima = minima_of(THEOREM.instance(LINE))
    return minima, Samples.at(minima, [[-1.0], [0.5], [2.0]])


def test_the_directions_at_a_branch_are_those_of_its_equations():
    minima, samples = line()
    copies, silent = minima.branches[0], minima.branches[1]
    frame = Frame.at(samples, copies, torch.tensor([0.3, 0.75, 0.5, 0.5], dtype=torch.float64))
    assert torch.allclose(frame.point, torch.tensor([0.275, 0.725, 0.5, 0.5], dtype=torch.float64))
    assert torch.allclose(
        frame.along.abs()[:, 0], torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64).sqrt()
    )
    assert frame.stiff.shape[1] == copies.rank == 2
    # Across the copies the flat direction is gamma_2 and -gamma_1 for the two weights.
    flat = torch.tensor([0.0, 0.0, 0.725, -0.275], dtype=torch.float64)
    assert abs(float(frame.slack[:, 0] @ flat / flat.norm())) == pytest.approx(1.0, abs=1e-12)
    assert Frame.at(samples, silent, samples.point(silent, seed=0)).slack.shape[1] == 0


def test_the_displacement_along_a_branch_is_of_second_order():
    minima, samples = line()
    found = second_order_displacement(samples, minima.branches[1], seed=0)
    assert found.status is Status.SUPPORTED
    assert found.computed == pytest.approx(2.0, abs=0.02)


def test_across_two_copies_the_stiff_part_follows_at_second_order_and_the_risk_at_fourth():
    minima, samples = line()
    found = degenerate_approach(approach(samples, minima.branches[0], seed=0))
    assert found.status is Status.SUPPORTED
    assert found.computed == pytest.approx(2.0, abs=0.05)
    assert found.evidence["risk"] == pytest.approx(4.0, abs=0.05)
    assert found.evidence["power of t"] == pytest.approx(-2.0, abs=0.05)


def test_a_first_order_approach_supports_nothing():
    times = [10.0**k for k in range(9)]
    slack = [t**-0.5 for t in times]
    assert (
        degenerate_approach(Approach(times, slack, slack, [u**4 for u in slack])).status is Status.UNDECIDED
    )
    assert degenerate_approach(Approach(times, slack, [1.0] * 9, slack)).status is Status.UNDECIDED


def test_flows_near_two_copies_fall_with_the_exponent_two():
    minima, samples = line()
    found = [p for p in exponents(samples, minima.branches[0], 8, 0, 0.05) if math.isfinite(p)]
    assert found
    assert all(abs(p - 2) < 0.1 for p in found)


def test_the_graph_of_the_branches_has_the_published_counts():
    minima = minima_of(THEOREM.instance({"width": "3"}))
    graph = branch_graph(minima)
    dims = sorted(data["dimension"] for _, _, data in graph.edges(data=True))
    assert (len(graph), {d: dims.count(d) for d in dims}) == (10, {0: 15, 1: 6, 2: 9})
    assert sorted(data["separation_size"] for _, data in graph.nodes(data=True)) == [5] * 3 + [6] * 6 + [7]
    assert kind_names(minima) == ["r=1, l=0", "r=2, l=1", "r=2, l=0", "r=3, l=2"]
    assert ("r=1, l=0", "r=2, l=1") in {(one, other) for one, other, _ in kind_edges(minima)}


def test_too_many_branches_are_a_node_for_each_kind(monkeypatch):
    monkeypatch.setattr("workbench.measurements.recovery_graph.MOST_NODES", 5)
    graph = branch_graph(minima_of(THEOREM.instance({"width": "3"})))
    assert sorted(data["branches"] for _, data in graph.nodes(data=True)) == [1, 3, 3, 3]


@pytest.mark.slow
def test_the_result_on_the_line_is_supported_where_it_is_measured():
    given = THEOREM.instance(LINE)
    measured = local_recovery.measure(given, Bench())
    expected = {"C6", "C7", "C8", "C10", "C10.1", "C11", "C12", "C12.1", "C13", "C14", "C15", "C15.1", "C16"}
    assert set(measured.findings) == expected
    assert {label for label, one in measured.findings.items() if one.status is not Status.SUPPORTED} == set()
    assert [one.name for one in measured.pictures] == ["plane", "decay", "recovery", "branches"]
    for one in measured.pictures:
        assert one.draw().axes


def test_without_minima_only_what_needs_none_is_measured():
    measured = local_recovery.measure(THEOREM.instance({"activation": "softplus", "starts": "2"}), Bench())
    assert set(measured.findings) == {"C14", "C16"}
    assert measured.graph is None


def test_a_flow_that_ends_elsewhere_leaves_a_stable_entry_open(monkeypatch):
    given = THEOREM.instance({**LINE, "samples": "3"})
    minima = minima_of(given)
    rows = local_recovery._table(given, minima, [[-1.0], [0.5], [2.0]], Bench())
    bad = tuple(replace(row, recovered=0, imperfect=row.starts) for row in rows if row.samples == 3)
    monkeypatch.setattr(local_recovery, "_closer", lambda *_: 0)
    found = local_recovery._stable(given, minima, [], bad, Bench())
    assert found.status is Status.UNDECIDED
    assert "almost every point" in found.reason


def test_no_figure_is_made_of_a_teacher_of_two_neurons_on_the_line():
    given = THEOREM.instance({**LINE, "copied": "1 : 1/2; 1 : -1"})
    names = [one.name for one in recovery_pictures(given, minima_of(given), [], (), Bench())]
    assert names == ["branches"]


@pytest.mark.slow
def test_the_default_instance_is_derived_and_supported_in_every_claim():
    found = check("local-recovery")
    assert {str(one.status) for one in found.claims} == {"PROVED", "CERTIFIED", "SUPPORTED"}


@pytest.mark.slow
@pytest.mark.parametrize("erratum", ["E1", "E2", "E3"])
def test_the_command_exits_with_status_one_for_a_printed_error(erratum, tmp_path):
    out = tmp_path / "found.json"
    arguments = [
        "theorem",
        "check",
        "local-recovery",
        "--set",
        f"printed={erratum}",
        "--set",
        "starts=2",
        "--json",
        str(out),
    ]
    assert main(arguments) == 1
    claims = json.loads(out.read_text())["claims"]
    assert sum(one["status"] == "REFUTED" for one in claims) == 1
