"""Images under symmetries of the data, and points that branch and prune adds, in searches and in finished lists."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import workbench as wb
from derivations.claim import Status
from workbench import supplement
from workbench.exhaustive import Exhausted
from workbench.landscape import Landscape
from workbench.results import WidthSearch
from workbench.supplement import Supplement, closure_check, judged, missing_images, symmetries_of


def study(**changes: Any) -> wb.Study:
    """One gelu neuron on data that the reflection x -> -x, y -> -y keeps; gelu has no parity, so points come in pairs."""
    content: dict[str, Any] = {
        "schema": 1,
        "name": "odd-data",
        "model": {"kind": "two_layer", "activation": "gelu", "width": 1, "input_bias": True},
        "loss": {"kind": "square", "weight_decay": "1/50"},
        "data": {"x": [[-1], ["-1/2"], ["1/2"], [1]], "y": [-1, "1/3", "-1/3", 1]},
        "landscape": {"widths": [1], "starts": 60, "seed": 0},
    }
    for table, entries in changes.items():
        content[table] = content[table] | entries
    return wb.study_from_mapping(content)


@pytest.fixture(scope="module")
def analysis() -> wb.Analysis:
    return wb.Analysis(study())


@pytest.fixture(scope="module")
def found(analysis: wb.Analysis) -> Landscape:
    return analysis.critical(exhaust=0)


def without(landscape: Landscape, name: str) -> Landscape:
    return replace(landscape, points=tuple(p for p in landscape.points if p.id != name), completeness=None)


def check(landscape: Landscape, name: str) -> dict[str, Any]:
    (one,) = [c for c in landscape.to_dict()["completeness"]["checks"] if c["name"] == name]
    return one


def test_a_list_that_is_closed_says_so(found: Landscape) -> None:
    assert [p.kind for p in found.points] == ["minimum", "minimum", "saddle"]
    done = check(found, "symmetries of the data")
    assert done["status"] == "SUPPORTED"
    assert (done["computed"], done["expected"]) == (3, 3)
    assert "x -> -x, y -> -y" in done["statement"]


def test_a_missing_image_refutes_completeness(analysis: wb.Analysis, found: Landscape) -> None:
    fewer = judged(analysis, without(found, "m1.2"))
    done = check(fewer, "symmetries of the data")
    assert done["status"] == "REFUTED"
    assert "that of m1.1 under x -> -x, y -> -y" in done["statement"]
    assert fewer.to_dict()["completeness"]["status"] == "UNDECIDED"
    assert "the list is incomplete" in fewer.to_dict()["completeness"]["method"]


def test_the_image_that_is_missing_is_a_critical_point_of_the_same_risk(
    analysis: wb.Analysis, found: Landscape
) -> None:
    system = analysis.compile(1)
    known = [system.pack(found[name].theta) for name in ("m1.1", "m1.3")]
    missing = missing_images(system, symmetries_of(analysis), known)
    assert missing is not None
    ((number, _, image),) = missing
    assert number == 0
    assert float(system.gradient(image).abs().max()) < 1e-14
    assert float(system.value(image)) == pytest.approx(found["m1.1"].value, rel=1e-12)
    assert torch.allclose(image, system.pack(found["m1.2"].theta), atol=1e-8)


def test_a_search_lists_the_image_of_what_it_found() -> None:
    """One start from one side: the other minimum is an image, and marked as such."""
    for starts in range(1, 6):
        small = wb.Analysis(study(landscape={"starts": starts})).critical(exhaust=0)
        assert check(small, "symmetries of the data")["status"] == "SUPPORTED"
        kinds = [p.kind for p in small.points]
        assert kinds.count("minimum") in (0, 2)


def test_the_general_search_adds_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deep network, with rounds around what was found switched off."""
    monkeypatch.setattr("workbench.general_search.ROUNDS", 0)
    deep = {"kind": "deep", "activation": "gelu", "widths": [1], "input_bias": True, "output_bias": False}
    content = study(model={}).to_dict()
    content["model"] = deep
    content["landscape"] = {"starts": 3, "seed": 1}
    small = wb.Analysis(wb.study_from_mapping(content)).critical(exhaust=0)
    assert check(small, "symmetries of the data")["status"] == "SUPPORTED"
    by_symmetry = [p for p in small.points if p.found_by == "symmetry"]
    assert by_symmetry
    assert all(p.found == 0 and p.gradient_norm < 1e-12 for p in by_symmetry)


def test_data_without_symmetry_have_no_check() -> None:
    plain = wb.Analysis(study(data={"y": [-1, "1/3", "-1/3", 2]}))
    assert symmetries_of(plain) == ()
    assert closure_check(plain, (), 1, ()) is None


# ---- branch and prune, by a stand-in: the real one has tests of its own


def stand_in(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> list[Any]:
    calls: list[Any] = []

    def exhaust(_analysis: Any, points: Any, *, seconds: float, width: int | None = None) -> Exhausted:
        calls.append((len(points), seconds, width))
        return Exhausted(**({"status": "PROVED", "expected": 3, "found": 3, "boxes": 9, "remaining_volume": 0.0,
                             "missing": [], "method": "branch and prune of the box"} | fields))  # fmt: skip

    monkeypatch.setattr(supplement, "exhaust", exhaust)
    monkeypatch.setattr(supplement, "not_exhaustible", lambda *_: "")
    return calls


def test_branch_and_prune_proves_a_list_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch)
    done = wb.Analysis(study()).critical(exhaust=7).to_dict()["completeness"]
    assert (done["status"], done["expected"], done["found"]) == ("PROVED", 3, 3)
    assert calls == [(3, 7, 1)]


def test_few_parameters_are_searched_exhaustively_unasked_and_zero_seconds_forbid_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = stand_in(monkeypatch)
    wb.Analysis(study()).critical()
    assert calls == [(3, supplement.SECONDS, 1)]
    wb.Analysis(study()).critical(exhaust=0)
    wb.Analysis(study(model={"width": 2})).critical()
    assert len(calls) == 1


def test_points_that_branch_and_prune_finds_are_listed(
    monkeypatch: pytest.MonkeyPatch, found: Landscape
) -> None:
    stand_in(monkeypatch, found=2, missing=[found["m1.3"].theta])
    monkeypatch.setattr(supplement, "symmetries_of", lambda _: ())
    saddle = found["m1.3"].value
    content = study(landscape={"starts": 1})
    small = wb.Analysis(content).critical(exhaust=5)
    assert any(p.value == pytest.approx(saddle, abs=1e-12) for p in small.points)


def test_a_count_that_differs_from_the_list_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, expected=4, found=4)
    done = wb.Analysis(study()).critical(exhaust=5).to_dict()["completeness"]
    assert done["status"] != "PROVED"
    (one,) = [c for c in done["checks"] if c["name"] == "branch and prune"]
    assert one["status"] == "UNDECIDED"
    assert "4 orbits, and 3 are listed" in one["statement"]


def test_asking_for_it_where_it_does_not_apply_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supplement, "not_exhaustible", lambda *_: "gelu is not bounded")
    done = wb.Analysis(study()).critical(exhaust=5).to_dict()["completeness"]
    (one,) = [c for c in done["checks"] if c["name"] == "branch and prune"]
    assert (one["status"], one["statement"]) == (
        str(Status.UNDECIDED),
        "it does not apply: gelu is not bounded",
    )


def test_the_supplement_is_asked_once_for_each_width(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch)
    analysis = wb.Analysis(study())
    helper, system = Supplement(analysis, 3.0), analysis.compile(1)
    helper(system, 1, [])
    helper(system, 1, [])
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.skipif(find_spec("flint") is None, reason="python-flint is not installed")
def test_one_tanh_neuron_with_decay_is_proved_complete_and_what_the_search_missed_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once with the search as it is, once with a search that enters nothing: the list is the same, by branch and prune alone."""
    content = study(
        model={"activation": "tanh"}, loss={"weight_decay": "1/100"}, data={"y": [-1, "1/3", "1/2", 1]}
    )
    plain = wb.Analysis(content).critical(exhaust=300)
    done = plain.to_dict()["completeness"]
    assert (done["status"], done["expected"]) == ("PROVED", 2)
    nothing = WidthSearch(1, 0, 0, 0, 0, 0.0)
    monkeypatch.setattr("workbench.exploration.search_width", lambda *_: nothing)
    pruned = wb.Analysis(content).critical(exhaust=300)
    assert [p.found_by for p in pruned.points] == ["branch and prune"] * 2
    for one, other in zip(pruned.points, plain.points, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-12)
        assert (one.inertia, one.orbit_size) == (other.inertia, other.orbit_size)
    assert pruned.to_dict()["completeness"]["status"] == "PROVED"
