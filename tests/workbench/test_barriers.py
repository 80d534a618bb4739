"""Strings between the minima of the shipped one-dimensional data."""

from __future__ import annotations

import pytest
import torch

from workbench.barriers import bridges
from workbench.catalogue import Catalogue, Key
from workbench.landscape import Landscape
from workbench.network import architecture

B1, B2, BETWEEN = 0.000240427032, 0.004317867300, 0.007577849144


def test_the_barrier_between_the_two_minima_of_width_two_is_the_certified_saddle(
    connected_line: Landscape,
) -> None:
    (barrier,) = connected_line.barriers
    ends = {connected_line[barrier.first].value, connected_line[barrier.second].value}
    assert sorted(ends) == pytest.approx([B1, B2], abs=1e-9)
    assert barrier.value == pytest.approx(BETWEEN, abs=1e-9)
    assert connected_line[barrier.via].inertia.negative == 1
    assert (str(barrier.status), str(barrier.level)) == ("SUPPORTED", "CERTIFIED")
    assert barrier.string >= BETWEEN - 1e-6
    assert connected_line.to_dict()["barriers"] == [barrier.to_dict()]


def known_minima(landscape: Landscape) -> tuple[Catalogue, list[tuple[Key, torch.Tensor, float]]]:
    """Return a catalogue that holds the minima of width 2 and nothing else."""
    analysis = landscape.derived_from
    data = analysis.dataset
    catalogue = Catalogue(architecture(analysis.problem, data.d, data.o), analysis.compile)
    system, minima = analysis.compile(2), []
    for point in landscape.points:
        if point.width == 2 and point.kind == "minimum":
            blocks = {name: torch.tensor(part, dtype=torch.float64) for name, part in point.theta.items()}
            theta = system.pack(blocks)
            key = catalogue.place(theta, 2, "search")
            assert key is not None
            minima.append((key, theta, point.value))
    return catalogue, minima


def test_the_top_of_a_string_enters_a_critical_point_that_the_list_lacks(connected_line: Landscape) -> None:
    catalogue, minima = known_minima(connected_line)
    assert len(catalogue.points) == 2
    (bridge,) = bridges(catalogue, 2, minima, set())
    entered = catalogue.points[2:]
    assert entered
    assert {p.found_by for p in entered} == {"string"}
    top = max(bridge.tops, key=lambda key: key.origin.value)
    assert top.origin.value == pytest.approx(bridge.highest, abs=1e-4)
    assert top.origin.value > max(value for _, _, value in minima)


def test_pairs_are_joined_once(connected_line: Landscape) -> None:
    catalogue, minima = known_minima(connected_line)
    done: set[tuple[Key, Key]] = set()
    assert len(bridges(catalogue, 2, minima, done)) == 1
    assert bridges(catalogue, 2, minima, done) == []
    assert done == {(minima[0][0], minima[1][0])}


def test_one_minimum_needs_no_string(connected_line: Landscape) -> None:
    catalogue, minima = known_minima(connected_line)
    assert bridges(catalogue, 2, minima[:1], set()) == []
