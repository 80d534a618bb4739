"""Exact margins against published numbers, general optimisation and the exact KKT engine."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from sympy import Integer, Rational, sqrt

from derivations.claim import Status
from derivations.constrained_problems import constrained
from derivations.kkt_check import check_kkt
from derivations.kkt_instance import instance
from derivations.margin_classes import (
    convex_program,
    deep_linear,
    diagonal,
    fragile_margins,
    hard_margin,
    is_symmetric,
    l1_margin,
    separating,
    symmetric_bound,
    symmetric_data,
)
from derivations.problem import Problem
from derivations.setting_readers import LabelledPoints, points
from derivations.theorems.margin_kkt import DATA

FOUR, PAIRS = (points(DATA)(name) for name in ("separable", "symmetric"))
MIXED = points({})("1, 0 : 1; -1, 0 : 1")


def test_the_hard_margin_has_the_published_numbers() -> None:
    found = hard_margin(FOUR)
    assert found.status is Status.PROVED
    assert found.computed == pytest.approx(0.8832247505, abs=1e-10)
    assert "12/11, 10/33" in found.reason
    assert r"\frac{980}{1089}" in found.steps[0]  # 0.8999081726
    assert r"\frac{416}{1089}" in found.steps[0]  # 0.3820018365


def test_deep_linear_margins_have_the_published_numbers() -> None:
    assert deep_linear(FOUR, 2).computed == pytest.approx(0.4416123752, abs=1e-10)
    assert deep_linear(FOUR, 3).computed == pytest.approx(0.1699766824, abs=1e-10)
    assert deep_linear(FOUR, 3).status is Status.PROVED


def test_no_random_deep_linear_network_has_more_than_the_best_margin() -> None:
    best, draw = deep_linear(FOUR, 2).computed, random.Random(0)
    for _ in range(3000):
        w1 = [[draw.gauss(0, 1) for _ in range(2)] for _ in range(2)]
        w2 = [draw.gauss(0, 1) for _ in range(2)]
        norm = sum(u * u for row in w1 for u in row) + sum(u * u for u in w2)
        w = [sum(w2[j] * w1[j][i] for j in range(2)) for i in range(2)]
        margins = [
            y * sum(a * float(b) for a, b in zip(w, x, strict=True))
            for x, y in zip(FOUR.x, FOUR.y, strict=True)
        ]
        assert min(margins) / norm <= best + 1e-12


def test_the_least_l1_norm_is_that_of_an_enumeration_of_vertices() -> None:
    beta, value = l1_margin(FOUR)
    rows = [[y * float(u) for u in x] for x, y in zip(FOUR.x, FOUR.y, strict=True)]
    corners = []
    lines = [(r[0], r[1], 1.0) for r in rows] + [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    for p, q in itertools.combinations(lines, 2):
        det = p[0] * q[1] - p[1] * q[0]
        if abs(det) > 1e-12:
            corner = ((p[2] * q[1] - p[1] * q[2]) / det, (p[0] * q[2] - p[2] * q[0]) / det)
            if all(r[0] * corner[0] + r[1] * corner[1] >= 1 - 1e-12 for r in rows):
                corners.append(abs(corner[0]) + abs(corner[1]))
    assert float(value) == pytest.approx(min(corners), abs=1e-12)
    assert sum(abs(u) for u in beta) == value
    assert diagonal(FOUR).computed == pytest.approx(1 / min(corners), abs=1e-12)


@pytest.mark.parametrize(
    ("slope", "bound"),
    [("0", 0.3952847075), ("1/10", 0.4348131782), ("1/2", 0.5929270613), ("1", 0.7905694150)],
)
def test_the_bound_on_symmetric_data_has_the_published_numbers(slope: str, bound: float) -> None:
    found = symmetric_data(PAIRS, Rational(slope))
    assert found.status is Status.PROVED
    assert found.computed == pytest.approx(bound, abs=1e-10)
    assert float(symmetric_bound(PAIRS, Rational(slope))) == pytest.approx(bound, abs=1e-10)


def test_data_that_are_not_symmetric_or_separable_are_told_with_the_reason() -> None:
    assert is_symmetric(PAIRS).status is Status.PROVED
    assert "(2, 1) with the label 1" in is_symmetric(FOUR).reason
    assert is_symmetric(LabelledPoints(PAIRS.x + PAIRS.x[:1], PAIRS.y + PAIRS.y[:1])).status is Status.REFUTED
    assert separating(FOUR).status is Status.PROVED
    found = separating(MIXED)
    assert found.status is Status.REFUTED
    assert "weights (1, 1)" in found.reason


@pytest.mark.parametrize("degrees", [62, 75, 89])
def test_merged_neurons_are_worse_beyond_sixty_degrees(degrees: int) -> None:
    found = fragile_margins(Integer(degrees))
    assert found.status is Status.PROVED
    assert found.computed == pytest.approx(math.cos(math.radians(degrees)) / 2, abs=1e-12)


def test_merged_neurons_are_not_worse_up_to_sixty_degrees() -> None:
    assert fragile_margins(Integer(60)).status is Status.REFUTED
    assert fragile_margins(Integer(50)).status is Status.REFUTED


def test_merged_and_split_neurons_pass_the_exact_kkt_engine() -> None:
    c, s = Rational(7, 25), Rational(24, 25)  # psi = 73.7 degrees
    small = instance(
        constrained(Problem.two_layer("relu"), "hard-margin"), x=[[c, s], [c, -s]], y=[1, 1], width=2
    )
    # q = 1: merged a^2 c * 2 = 1 with w = (a, 0); split a = 1, w = x_k.
    a = 1 / sqrt(2 * c)
    assert check_kkt(small, {"a": [a, a], "w": [[a, 0], [a, 0]]}).holds
    assert check_kkt(small, {"a": [1, 1], "w": [[c, s], [c, -s]]}).holds
    assert not check_kkt(small, {"a": [1, 2], "w": [[c, s], [c, -s]]}).holds


@pytest.mark.parametrize("inputs", [1, 2, 3, 7])
def test_the_convex_programme_has_the_same_conditions(inputs: int) -> None:
    assert convex_program(inputs).status is Status.PROVED
