"""Edges between strata, numbers of pieces, and embedded manifolds in landscapes that are searched here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor

import workbench as wb
from numerics.compile import CompiledSystem
from numerics.critical import starts
from workbench import exploration, search
from workbench.incidences import embedding_status
from workbench.landscape import Landscape
from workbench.results import CriticalPoint
from workbench.tables import landscape_tables

#: Nine samples of a sum of three neurons.
X = [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
Y = [-0.98, -0.82, -0.41, 0.03, 0.12, 0.49, 1.02, 1.21, 1.33]
#: Even values: two saddles of width 1 are mirror images of each other.
EVEN = [1.2, 0.4, -0.3, -0.1, 0.35, -0.1, -0.3, 0.4, 1.2]


def explored(y: Sequence[float], widths: Sequence[int], count: int = 24, **model: Any) -> Landscape:
    content = {
        "schema": 1,
        "name": "nine-points",
        "model": {"kind": "two_layer", "activation": "tanh", "width": widths[-1], "input_bias": True} | model,
        "loss": {"kind": "square", "reduction": "mean"},
        "data": {"x": [[x] for x in X], "y": list(y)},
        "landscape": {"widths": list(widths), "starts": count, "seed": 0},
    }
    return wb.Analysis(wb.study_from_mapping(content)).landscape()


@pytest.fixture(scope="module")
def standing(request: pytest.FixtureRequest) -> Any:
    """Leave descents out: what is tested here needs none."""
    patch = pytest.MonkeyPatch()
    patch.setenv("WORKBENCH_CACHE", "off")
    patch.setattr(exploration._Explorer, "_descend", lambda self, weight: False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def landscape(standing: None) -> Landscape:
    return explored(Y, (1, 2, 3), 6)


def strata_by_hand(point: CriticalPoint, width: int) -> set[tuple[tuple[int, ...], int]]:
    """Return (copies, silent) of all ways to distribute the neurons of the wide network."""
    found = set()
    for word in np.ndindex(*([point.width + 1] * width)):
        copies = tuple(word.count(j) for j in range(1, point.width + 1))
        if min(copies, default=1) > 0:
            found.add((copies, word.count(0)))
    return found


def check_all_embedded(landscape: Landscape, widths: Sequence[int]) -> int:
    """Every irreducible point without zeros has every stratum of every wider listed width, reached by proved and checked embeddings."""
    count = 0
    checked = {(check.source, check.target) for check in landscape.checks if check.holds}
    for point in landscape.points:
        if point.origin is not None:
            continue
        for width in widths:
            if width <= point.width:
                continue
            inside = {
                (p.copies, p.dead): p.id
                for p in landscape.points
                if p.width == width
                and (p.origin == point.id or (point.width == 0 and p.stratum.startswith("m0")))
            }
            assert set(inside) == strata_by_hand(point, width)
            for name in inside.values():
                edges = [e for e in landscape.edges if e.target == name and e.kind in ("splitting", "null")]
                assert edges
                for edge in edges:
                    assert edge.details["status"] == "PROVED"
                    assert (edge.source, edge.target) in checked
                    count += 1
    return count


def test_every_critical_point_has_its_embedded_manifolds_in_the_next_width(landscape: Landscape) -> None:
    assert check_all_embedded(landscape, (1, 2, 3)) > 10
    for point in landscape.points:
        if point.width < 3:
            out = [e for e in landscape.edges if e.source == point.id and e.kind in ("splitting", "null")]
            assert len(out) == len(point.copies) + 1, point.id


@pytest.mark.slow
def test_gaps_between_widths_lose_no_stratum(standing: None) -> None:
    found = explored(Y, (1, 3), 12)
    assert check_all_embedded(found, (1, 3)) > 4
    assert {row["width"] for row in found.strata} == {1, 3}


def test_an_embedding_whose_check_fails_is_not_called_proved(landscape: Landscape) -> None:
    problem = landscape.derived_from.problem
    assert str(embedding_status(problem, "splitting", True)) == "PROVED"
    assert str(embedding_status(problem, "splitting", False)) == "UNDECIDED"
    assert str(embedding_status(object(), "null", True)) == "SUPPORTED"


def test_numbers_of_pieces_are_those_of_an_enumeration(landscape: Landscape) -> None:
    assert landscape.strata
    for row in landscape.strata:
        r, m = landscape[row["origin"]].width, row["width"]
        words = [
            word
            for word in np.ndindex(*([2 * r + 1] * m))
            if {(k + 1) // 2 for k in word if k} == set(range(1, r + 1))
        ]
        assert row["pieces"] == len(words)
        assert row["plateaus"] == sum(0 not in word for word in words)
        assert (row["missing"], row["formula_agrees"]) == ([], True)
        assert len(row["listed"]) == row["strata"]


def test_every_plateau_contains_its_ends_in_the_stratum_with_a_silent_neuron(landscape: Landscape) -> None:
    """The point with a vanished copy is critical, and lies on both: its neurons are those of the target's origin and one at w_j."""
    edges = [e for e in landscape.edges if e.kind == "contains"]
    expected = sum(count > 1 for p in landscape.points if p.origin for count in p.copies)
    assert len(edges) == expected > 0
    for edge in edges:
        source, target = landscape[edge.source], landscape[edge.target]
        j = edge.details["neuron"]
        assert source.origin == target.origin
        assert (source.copies[j] - 1, source.dead + 1) == (target.copies[j], target.dead)
        assert edge.details["status"] == "PROVED"
        assert edge.details["dimension"] < min(
            source.manifold_dimension or 0, (target.manifold_dimension or 0) + 1
        )
        narrow = landscape[source.origin or ""].theta
        a, w, b = (torch.tensor(narrow[name], dtype=torch.float64) for name in "awb")
        order = [k for k, c in enumerate(target.copies) for _ in range(c)]
        order += [j] * (source.width - len(order))
        share = torch.tensor([1 / target.copies[k] for k in order[: sum(target.copies)]], dtype=torch.float64)
        weights = torch.cat(
            [share * a[order[: len(share)]], torch.zeros(source.width - len(share), dtype=torch.float64)]
        )
        weights, inputs, bias = weights.requires_grad_(), w[order].requires_grad_(), b[order].requires_grad_()
        x, y = torch.tensor(X, dtype=torch.float64)[:, None], torch.tensor(Y, dtype=torch.float64)
        risk = ((torch.tanh(x @ inputs.T + bias) @ weights - y) ** 2).mean() / 2
        gradients = torch.autograd.grad(risk, (weights, inputs, bias))
        assert max(float(g.detach().abs().max()) for g in gradients) < 1e-10
        assert float(risk.detach()) == pytest.approx(source.value, abs=1e-13)


def test_manifolds_stand_in_the_json_with_cells_that_hold(landscape: Landscape) -> None:
    content = json.loads(json.dumps(landscape.to_dict()))
    seen = Counter()
    for entry in content["critical_points"]:
        manifold = entry["manifold"]
        if entry["width"] == 0 or manifold is None or "cells" not in manifold:
            continue
        assert manifold["dimension"] == entry["manifold_dimension"]
        assert manifold["copies"] == entry["orbit_size"]
        assert manifold["sampled"]["status"] == "SUPPORTED"
        open_cells = [cell for cell in manifold["cells"] if not cell["boundary"]]
        assert entry["inertia"] in [cell["inertia"] for cell in open_cells]
        for cell in manifold["cells"]:
            seen[cell["status"]] += 1
            assert cell["status"] in ("SUPPORTED", "UNDECIDED")
    assert seen["SUPPORTED"] > 20
    assert seen["UNDECIDED"] <= seen["SUPPORTED"] // 20
    assert CriticalPoint.from_dict(content["critical_points"][3]).to_dict() == content["critical_points"][3]


def test_a_manifold_is_an_object(landscape: Landscape) -> None:
    split = next(p for p in landscape.points if p.origin and max(p.copies, default=0) > 1)
    manifold = landscape.manifold(split.id)
    assert (manifold.copies, manifold.silent) == (split.copies, split.dead)
    assert manifold.cells()[0].measured.to_dict() == split.to_dict()["manifold"]["cells"][0]["inertia"]
    theta = manifold.sample(3)
    assert float(landscape.derived_from.compile(split.width).gradient(theta).abs().max()) < 1e-10
    silent = next(p for p in landscape.points if p.stratum.startswith("m0"))
    assert landscape.manifold(silent.id).check()[0] < 1e-10
    with pytest.raises(ValueError, match="no manifold is described"):
        landscape.manifold(landscape.points[0].id)


def test_mirror_images_are_joined_by_an_edge(standing: None) -> None:
    found = explored(EVEN, (1,), 30)
    edges = [e for e in found.edges if e.kind == "symmetry"]
    pairs = [(found[e.source], found[e.target]) for e in edges]
    assert any(source.width == 1 for source, _ in pairs)

    def block(point: CriticalPoint, name: str) -> Tensor:
        return torch.tensor(point.theta[name], dtype=torch.float64)

    for edge, (source, target) in zip(edges, pairs, strict=True):
        assert edge.details["map"] == "x -> -x"
        assert edge.details["status"] == "SUPPORTED"
        assert source.id != target.id
        assert (source.inertia, source.width) == (target.inertia, target.width)
        assert source.value == pytest.approx(target.value, rel=1e-12)
        grid = torch.linspace(-3, 3, 31, dtype=torch.float64)[:, None]
        outputs = [
            torch.tanh(sign * grid @ block(p, "w").T + block(p, "b")) @ block(p, "a")
            for p, sign in ((source, -1), (target, 1))
        ]
        assert float((outputs[0] - outputs[1]).abs().max()) < 1e-7


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    same = ("width", "kind", "inertia", "dead", "orbit_size", "manifold_dimension")
    return (
        all(one[name] == other[name] for name in same)
        and abs(one["value"] - other["value"]) < 1e-9
        and sorted(one["copies"]) == sorted(other["copies"])
    )


def same_kinds(one: dict[int, Any], other: dict[int, Any]) -> bool:
    return Counter(e["kind"] for e in one.values()) == Counter(e["kind"] for e in other.values())


def points_and_edges(found: Landscape) -> nx.MultiDiGraph:
    graph = found.graph
    return graph.subgraph(name for name, content in graph.nodes(data=True) if "inertia" in content)


@pytest.mark.slow
def test_graph_is_isomorphic_for_the_same_seed_and_for_permuted_neurons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", "off")
    plain = explored(Y, (1, 2), 40)
    again = explored(Y, (1, 2), 40)
    assert [p.to_dict() for p in plain.points] == [p.to_dict() for p in again.points]

    def turned(system: CompiledSystem, count: int, seed: int) -> Tensor:
        """Reverse the order of the neurons of every start, and flip the last one."""
        theta = starts(system, count, seed)
        blocks = {name: part.flip(1).clone() for name, part in system.unpack(theta).items()}
        for part in blocks.values():
            part[:, -1] *= -1
        return torch.cat([part.reshape(count, -1) for part in blocks.values()], dim=1)

    monkeypatch.setattr(search, "starts", turned)
    permuted = explored(Y, (1, 2), 40)
    for other in (again, permuted):
        assert nx.is_isomorphic(points_and_edges(plain), points_and_edges(other), alike, same_kinds)
    smaller = points_and_edges(plain).copy()
    smaller.remove_edge(*next(iter(smaller.edges)))
    assert not nx.is_isomorphic(points_and_edges(plain), smaller, alike, same_kinds)


def test_a_node_whose_cells_differ_in_kind_says_so_in_table_and_graph(standing: None) -> None:
    content = {
        "schema": 1,
        "name": "definite",
        "model": {"kind": "two_layer", "activation": "exp", "width": 2, "input_bias": False},
        "loss": {"kind": "square", "reduction": "sum", "factor": 2},
        "data": {"x": [[0.0], [1.0], [2.0]], "y": [0.0, 4.5, -3.75]},
        "landscape": {"widths": [1, 2], "starts": 8, "seed": 0},
    }
    found = wb.Analysis(wb.study_from_mapping(content)).landscape()
    split = next(p for p in found.points if p.copies == (2,) and abs(p.value - 33.0) < 1e-9)
    assert found.graph.nodes[split.id]["kinds"] == ["minimum", "saddle"]
    table = landscape_tables(json.loads(json.dumps(found.to_dict())), edges=True)[0]
    assert "minimum / saddle" in next(row for row in table.rows if row[0] == split.id)
    assert any(
        note.startswith(f"{split.id}: the kind changes") and "minimum at ++" in note for note in table.notes
    )
