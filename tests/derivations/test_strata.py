"""Strata, their numbers and incidences against enumeration by other means and published numbers."""

from __future__ import annotations

import itertools

import networkx as nx
import pytest

from derivations.claim import Status
from derivations.problem import Problem
from derivations.strata import (
    affine_equations,
    all_pieces,
    assignments,
    cells,
    connected_parts,
    end_residuals,
    end_status,
    parametrisation,
    pieces,
    plateaus,
    strata,
)


def maps(width: int, letters: str, needed: str) -> list[str]:
    return [
        word for word in map("".join, itertools.product(letters, repeat=width)) if set(needed) <= set(word)
    ]


def test_published_numbers_of_plateaus() -> None:
    # arXiv:2105.12221 and Stirling numbers S(5, 3) = 25, S(6, 3) = 90
    assert [plateaus(m, r) for m, r in ((3, 1), (3, 2), (4, 2), (5, 3), (6, 3), (0, 0))] == [
        1,
        6,
        14,
        150,
        540,
        1,
    ]
    assert plateaus(3, 2, signs=True) == 48


@pytest.mark.parametrize(("m", "r"), [(1, 0), (3, 1), (3, 2), (4, 2), (4, 3)])
def test_numbers_are_those_of_an_enumeration_of_words(m: int, r: int) -> None:
    names = "abc"[:r]
    plain = maps(m, names + "-", names)
    assert all_pieces(m, r) == len(plain)
    assert plateaus(m, r) == sum("-" not in word for word in plain)
    by_stratum = {
        (copies, silent): sum(
            word.count("-") == silent and all(word.count(x) == c for x, c in zip(names, copies, strict=True))
            for word in plain
        )
        for copies, silent in strata(m, r)
    }
    assert {key: pieces(*key) for key in by_stratum} == by_stratum
    assert sum(by_stratum.values()) == len(plain)
    signed = [word for word in maps(m, names + names.upper() + "-", "") if set(names) <= set(word.lower())]
    assert all_pieces(m, r, signs=True) == len(signed) == len(list(assignments(m, r, signs=True)))


def test_cells_are_all_sign_patterns_that_a_sum_of_one_allows() -> None:
    for copies in (1, 2, 3, 4):
        patterns = [p for p in itertools.product((1, 0, -1), repeat=copies) if 1 in p]
        found = cells(copies)
        assert sum(cell.labelled for cell in found) == len(patterns)
        assert set(found) == {tuple(p.count(s) for s in (1, 0, -1)) for p in patterns}


@pytest.mark.parametrize(
    ("m", "r", "through", "signs", "parts"),
    [
        (3, 2, {1: 0, 2: 0}, False, 1),
        (3, 2, {1: 0, 2: 1}, False, 3),
        (4, 2, {1: 0, 2: 1}, False, 2),
        (3, 1, {1: 0, -1: 1}, True, 2),
        (3, 2, {1: 0, -1: 0, 2: 1, -2: 2}, True, 3),
        (2, 2, {1: 0, 2: 0}, False, 1),
    ],
)
def test_connected_parts_are_those_of_the_graph_of_pieces_that_meet(
    m: int, r: int, through: dict[int, int], signs: bool, parts: int
) -> None:
    every = list(assignments(m, r, signs=signs, parts=parts))

    def meet(one: tuple[tuple[str, int], ...], other: tuple[tuple[str, int], ...]) -> bool:
        kept = set()
        for (kind, j), (kind2, k) in zip(one, other, strict=True):
            if (kind, j) == (kind2, k):
                kept |= {abs(j)} if kind == "copy" else set()
            elif kind == kind2 or through[j if kind == "copy" else k] != (k if kind == "copy" else j):
                return False
        return kept == set(range(1, r + 1))

    graph = nx.Graph()
    graph.add_nodes_from(every)
    graph.add_edges_from(pair for pair in itertools.combinations(every, 2) if meet(*pair))
    assert connected_parts(m, r, through, signs=signs, parts=parts) == nx.number_connected_components(graph)


def test_permuted_copies_of_a_point_are_isolated_without_room_for_a_silent_neuron() -> None:
    assert connected_parts(3, 3, {1: 0, 2: 0, 3: 0}) == 6


def test_an_end_of_a_plateau_is_a_point_of_the_stratum_with_a_silent_neuron() -> None:
    for copies, silent, group in (((2,), 0, 1), ((3, 2), 1, 1), ((1, 4), 2, 2)):
        assert set(end_residuals(copies, silent, group).values()) == {0}
    with pytest.raises(ValueError, match="needs two copies"):
        end_residuals((1, 2), 0, 1)


def test_splitting_keeps_critical_points_at_the_fraction_zero() -> None:
    assert end_status(Problem.two_layer("tanh", "square", input_bias=True)) is Status.PROVED


def test_the_parametrisation_solves_the_affine_equations() -> None:
    values = parametrisation((3, 1), 1)
    left = [(row.lhs - row.rhs).subs(values).expand() for row in affine_equations((3, 1), 1)]
    assert [str(value) for value in left if value != 0] == ["varphi(v_1)"]
    assert "Eq(V_1*a_1_1, 0)" in map(str, affine_equations((2,), 0, outputs=2))


def test_a_width_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="width 1 holds no critical point of width 2"):
        list(strata(1, 2))
