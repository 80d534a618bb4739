"""Certified landscapes: the studies of the distribution, published values, and what must stay SUPPORTED."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mpmath
import pytest

from derivations.claim import Status
from workbench import certify as certify_module
from workbench.analysis import Analysis
from workbench.certify import certified, distinct
from workbench.landscape import Landscape
from workbench.network import architecture
from workbench.results import CriticalPoint, Inertia, Zeros
from workbench.study import Study, load, study_from_mapping
from workbench.tables import landscape_tables

ROOT = Path(__file__).resolve().parents[2]
FIVE = {
    "schema": 1,
    "name": "five-points",
    "model": {"kind": "two_layer", "activation": "tanh", "width": 2, "input_bias": True},
    "loss": {"kind": "square"},
    "data": {"x": [[-1.0], [-0.5], [0.0], [0.5], [1.0]], "y": ["-2/5", 0.1, 0.3, -0.2, 0.5]},
    "landscape": {"widths": [1, 2], "starts": 60, "seed": 0},
}


def bare(point: CriticalPoint, **changes: object) -> CriticalPoint:
    """The point as the search lists it."""
    plain = {"status": Status.SUPPORTED, "radius": None, "certificate": None, "not_certified": None}
    return dataclasses.replace(point, **plain, **changes)


def changed(**tables: dict) -> Study:
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in FIVE.items()}
    for name, table in tables.items():
        content[name] = {**content.get(name, {}), **table}
    return study_from_mapping(content)


@pytest.fixture(scope="module")
def five() -> tuple[Analysis, Landscape]:
    analysis = Analysis(study_from_mapping(FIVE))
    return analysis, analysis._explored((1, 2), connect=False)


@pytest.fixture(scope="module")
def line() -> tuple[Analysis, Landscape]:
    study = load(ROOT / "workbench/studies/tanh-1d.toml")
    analysis = Analysis(study.with_overrides(starts=60))
    return analysis, analysis._explored((1, 2), connect=False)


def test_every_point_of_the_five_points_is_certified(five: tuple[Analysis, Landscape]) -> None:
    _, landscape = five
    assert len(landscape.points) >= 6
    for point in landscape.points:
        assert point.status is Status.CERTIFIED, point.not_certified
        assert point.certificate is not None
        lower, upper = point.certificate.value
        assert lower <= point.value <= upper or abs(point.value - lower) < 1e-15
        assert upper - lower < 1e-12
        assert point.radius is not None
        assert point.certificate.error <= point.radius <= 1e-8
        assert point.certificate.unique is (point.origin is None)


def test_published_values_and_counts_are_certified(line: tuple[Analysis, Landscape]) -> None:
    """The values and inertias of width 1 and 2 as listed in the worked examples of the embedding principle."""
    _, landscape = line
    assert all(point.status is Status.CERTIFIED for point in landscape.points)
    published = {
        (1, 0.008172288778): Inertia(0, 0, 3),
        (2, 0.000240427032): Inertia(0, 0, 6),
        (2, 0.004317867300): Inertia(0, 0, 6),
    }
    for (width, value), inertia in published.items():
        (point,) = [
            p
            for p in landscape.points
            if p.width == width and p.origin is None and abs(p.value - value) < 5e-13
        ]
        assert point.inertia == inertia
        assert point.certificate is not None
        assert abs(point.certificate.value[0] - value) < 6e-13
    split = [p for p in landscape.points if p.stratum.endswith("split (2)")]
    assert [p.inertia for p in split] == [Inertia(1, 1, 4)]


def test_pairs_of_certified_points_are_distinct(five: tuple[Analysis, Landscape]) -> None:
    analysis, landscape = five
    assert analysis.dataset is not None
    shape = architecture(analysis.problem, analysis.dataset.d, analysis.dataset.o)
    assert distinct(landscape.points, shape) == []
    assert landscape.to_dict()["not_told_apart"] == []
    point = next(p for p in landscape.points if p.origin is None and p.width == 1)
    flipped = {"a": [-point.theta["a"][0]], "w": [[-point.theta["w"][0][0]]], "b": [-point.theta["b"][0]]}
    again = dataclasses.replace(point, id="again", theta=flipped)
    assert distinct([point, again], shape) == [(point.id, "again")]
    elsewhere = dataclasses.replace(again, theta={**flipped, "a": [0.7]})
    assert distinct([point, elsewhere], shape) == []
    assert distinct([point, elsewhere]) == [(point.id, "again")]


def test_digits_are_those_of_the_root_by_mpmath(five: tuple[Analysis, Landscape]) -> None:
    """The equations of one tanh neuron on five points, written by hand and solved to 60 digits."""
    analysis, landscape = five
    point = next(p for p in landscape.points if p.width == 1 and p.origin is None)
    assert analysis.dataset is not None
    (found,) = certified([bare(point)], analysis.problem, analysis.dataset, digits=60)
    assert found.certificate is not None
    assert found.certificate.digits is not None
    with mpmath.workdps(90):
        xs = [mpmath.mpf(u) / 2 for u in (-2, -1, 0, 1, 2)]
        ys = [mpmath.mpf(u) / 10 for u in (-4, 1, 3, -2, 5)]

        def gradient(a: mpmath.mpf, w: mpmath.mpf, b: mpmath.mpf) -> list[mpmath.mpf]:
            h = [mpmath.tanh(w * x + b) for x in xs]
            e = [a * u - y for u, y in zip(h, ys, strict=True)]
            s = [a * r * (1 - u**2) for r, u in zip(e, h, strict=True)]
            return [
                sum(r * u for r, u in zip(e, h, strict=True)),
                sum(u * x for u, x in zip(s, xs, strict=True)),
                sum(s),
            ]

        start = (point.theta["a"][0], point.theta["w"][0][0], point.theta["b"][0])
        root = mpmath.findroot(gradient, start, tol=mpmath.mpf(10) ** -170)
        digits = found.certificate.digits
        for text, number in zip((digits["a"][0], digits["w"][0][0], digits["b"][0]), root, strict=True):
            assert abs(mpmath.mpf(text) - number) < abs(number) * mpmath.mpf(10) ** -58


def test_a_false_point_is_listed_with_the_reason(five: tuple[Analysis, Landscape]) -> None:
    analysis, landscape = five
    point = next(p for p in landscape.points if p.width == 1 and p.origin is None)
    wrong = bare(point, theta={**point.theta, "a": [point.theta["a"][0] + 1e-3]})
    assert analysis.dataset is not None
    (found,) = certified([wrong], analysis.problem, analysis.dataset)
    assert (found.status, found.radius, found.certificate) == (Status.SUPPORTED, None, None)
    assert found.not_certified


def test_a_point_whose_origin_is_not_certified_says_so(five: tuple[Analysis, Landscape]) -> None:
    analysis, landscape = five
    split = next(p for p in landscape.points if p.origin == "m1.1")
    origin = landscape["m1.1"]
    assert analysis.dataset is not None
    (alone,) = certified([bare(split)], analysis.problem, analysis.dataset)
    assert "not in the list" in str(alone.not_certified)
    spoiled = bare(origin, theta={**origin.theta, "b": [9.0]})
    _, found = certified([spoiled, bare(split)], analysis.problem, analysis.dataset)
    assert found.not_certified == "its origin m1.1 is not certified"


def test_a_wrong_inertia_is_replaced_by_the_certified_one(five: tuple[Analysis, Landscape]) -> None:
    analysis, landscape = five
    point = next(p for p in landscape.points if p.width == 1 and p.origin is None)
    wrong = bare(
        point,
        inertia=Inertia(0, 1, 2),
        manifold_dimension=None,
        unexplained_zeros=1,
        zeros=Zeros(unexplained=1),
    )
    assert analysis.dataset is not None
    (found,) = certified([wrong], analysis.problem, analysis.dataset)
    assert (found.inertia, found.manifold_dimension, found.unexplained_zeros) == (point.inertia, 0, 0)
    assert (found.zeros, found.kind, found.global_minimum) == (Zeros(), "saddle", False)


def test_a_point_that_is_proved_already_is_left_as_it_is(five: tuple[Analysis, Landscape]) -> None:
    analysis, landscape = five
    proved = dataclasses.replace(bare(landscape.points[1]), status=Status.PROVED)
    assert analysis.dataset is not None
    assert certified([proved], analysis.problem, analysis.dataset) == (proved,)


def test_the_json_form_comes_back(five: tuple[Analysis, Landscape]) -> None:
    for point in five[1].points:
        content = point.to_dict()
        assert {"status", "radius", "certificate", "not_certified"} <= content.keys()
        assert CriticalPoint.from_dict(content) == point


def test_the_table_counts_certified_points_and_shows_digits() -> None:
    content = Analysis(changed(model={"width": 1})).critical(digits=30).to_dict()
    table, digits = landscape_tables(content, edges=False)
    count = len(content["critical_points"])
    assert f"{count} of {count} certified" in table.notes
    assert digits.heads == ("id", "parameter", "value")
    isolated = [row for row in digits.rows if row[0] == "m1.1"]
    assert [row[1] for row in isolated] == ["a[1]", "w[1,1]", "b[1]"]
    assert all(len(row[2].lstrip("-0.").replace(".", "")) == 30 for row in isolated)


def test_weight_decay_is_certified_at_its_own_width() -> None:
    analysis = Analysis(changed(model={"width": 1}, loss={"weight_decay": "1/100"}))
    points = analysis.critical().points
    assert points
    assert {point.status for point in points} == {Status.CERTIFIED}


def test_orbits_of_quadratic_neurons_are_certified_on_a_slice() -> None:
    study = changed(model={"width": 1, "activation": "quadratic", "input_bias": False})
    points = Analysis(study).critical(method="numeric").points
    orbit = [p for p in points if p.inertia.zero == 1]
    assert orbit
    assert all(
        p.status is Status.CERTIFIED and p.certificate is not None and p.certificate.unique for p in orbit
    )


def test_a_population_is_not_certified_and_says_why() -> None:
    study = {
        "schema": 1,
        "name": "interval",
        "model": {"activation": "tanh", "width": 1},
        "data": {"kind": "interval", "lower": 0, "upper": 1, "target": "x"},
        "landscape": {"starts": 6},
    }
    points = Analysis(study_from_mapping(study)).critical().points
    assert points
    assert {p.status for p in points} == {Status.SUPPORTED}
    assert all("integral" in str(p.not_certified) for p in points)


def test_without_the_library_the_points_say_so(
    five: tuple[Analysis, Landscape], monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis, landscape = five
    monkeypatch.setattr(certify_module, "find_spec", lambda name: None)
    assert analysis.dataset is not None
    (found,) = certified([bare(landscape.points[0])], analysis.problem, analysis.dataset)
    assert (found.status, "pip install" in str(found.not_certified)) == (Status.SUPPORTED, True)


def test_a_point_with_an_eigenvalue_below_rounding_is_certified_at_the_floats_next_to_it() -> None:
    """Three tanh neurons on the shipped one-dimensional data: the smallest eigenvalue, -2.0729409e-8 in 50 digits, is 1e-11 of the largest."""
    theta = {
        "a": [14.7142714985884, -13.0640355253296, 0.5615648958307031],
        "w": [[0.32936480024277753], [0.39859431329287504], [1.3287051751708694]],
        "b": [1.0813767793612445, 1.505037707804231, 5.836101927999652],
    }
    analysis = Analysis(load(ROOT / "workbench/studies/tanh-1d.toml"))
    before = CriticalPoint(
        "m3.1", 3, theta, 0.00448254615586399, 8.6e-15, (-2.07e-8,), Inertia(0, 1, 8), stratum="set of unknown dimension",
        manifold_dimension=None, unexplained_zeros=1, zeros=Zeros(unexplained=1),
    )  # fmt: skip
    (after,) = certified([before], analysis.problem, analysis.dataset)
    assert after.status is Status.CERTIFIED
    assert after.inertia == Inertia(1, 0, 8)
    assert (after.stratum, after.unexplained_zeros, after.not_certified) == ("irreducible", 0, None)
    exact = [14.7142715114514, -13.0640355383094, 0.56156489594799]  # Newton's method in 50 digits
    assert max(abs(u - v) for u, v in zip(after.theta["a"], exact, strict=True)) < 1e-12
