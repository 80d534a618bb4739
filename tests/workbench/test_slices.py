"""Planes through critical points: names of coordinates, which points lie on a plane, and the risk there."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

import workbench as wb
from workbench.errors import Refusal
from workbench.landscape import Landscape
from workbench.slices import place_of


@pytest.fixture(scope="module")
def line() -> Landscape:
    content = wb.load(wb.shipped_studies()["tanh-1d"]).to_dict()
    content["landscape"] |= {"starts": 60}
    return wb.Analysis(wb.study_from_mapping(content)).critical()


def test_places_of_coordinates(line: Landscape) -> None:
    system = line.derived_from.compile(2)  # a1 a2 w1 w2 b1 b2
    assert [place_of(system, name) for name in ("a1", "w2", "w[2,1]", "b[1]")] == [0, 3, 3, 4]
    for name, message in (("q1", "a block"), ("a3", r"a\[1\]"), ("w[1,2]", r"w\[1,1\]"), ("a", r"a\[1\]")):
        with pytest.raises(Refusal, match=message):
            place_of(system, name)


def test_a_plane_of_coordinates_goes_through_its_point(line: Landscape) -> None:
    best = next(p for p in line.points if p.width == 2)
    surface = line.slice(("a1", "w1"))
    u, v = best.theta["a"][0], best.theta["w"][0][0]
    assert (best.id, best.kind, pytest.approx(u), pytest.approx(v)) in surface.points
    assert surface.u[0] < u < surface.u[-1]
    system = line.derived_from.compile(2)
    theta = system.pack(best.theta)
    theta[0], theta[2] = surface.u[3], surface.v[7]
    assert surface.risk[7][3] == pytest.approx(float(system.value(theta)), rel=1e-12)


def test_a_plane_through_two_points_holds_both(line: Landscape) -> None:
    names = [p.id for p in line.points if p.width == 2 and p.inertia.zero == 0][:2]
    surface = line.slice(points=names)
    assert set(names) <= {name for name, *_ in surface.points}
    at = {name: (u, v) for name, _, u, v in surface.points}
    assert at[names[0]] == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))
    assert at[names[1]][1] == pytest.approx(0, abs=1e-9)
    # the second point is the image under permutations and signs that is nearest to the first
    system = line.derived_from.compile(2)
    apart = (system.pack(line[names[1]].theta) - system.pack(line[names[0]].theta)).norm()
    assert 0 < at[names[1]][0] <= float(apart) + 1e-9
    assert isinstance(surface.plot(), Figure)


def test_bad_planes_are_refused(line: Landscape) -> None:
    with pytest.raises(Refusal, match="two different coordinates"):
        line.slice(("a1", "a1"))
    with pytest.raises(Refusal, match="two or three"):
        line.slice(points=["m2.1"])
    with pytest.raises(Refusal, match=r"m2\.1"):
        line.slice(points=["m2.1", "m2.99"])
    with pytest.raises(Refusal, match="at one point"):
        line.slice(("a1", "w1"), ["m2.1", "m2.2"])


def test_the_drawing_shows_every_point(line: Landscape) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    assert line.slice(("a1", "w1")).plot(ax=axes) is axes
    assert "m2.1" in {text.get_text() for text in axes.texts}
