"""Statements of completeness: complete lists pass, lists with an entry taken away are refuted where the Morse count shows it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

import workbench as wb
from derivations.claim import Status
from derivations.coercive import Coercive
from numerics.unseen import INFINITY, upper_bound
from workbench.completeness import MOST_UNSEEN, Check, completeness_of, morse_checks, start_checks
from workbench.landscape import Landscape
from workbench.report_content import ReportContent
from workbench.report_words import completeness
from workbench.results import CriticalPoint, Inertia, WidthSearch, Zeros
from workbench.supplement import judged
from workbench.tables import landscape_tables

GROWS = Coercive(True, "it grows")


def point(name: str, negative: int, size: int | None = 1, zero: int = 0, **fields: Any) -> CriticalPoint:
    """Return a certified entry of a risk of four parameters with this index."""
    given = {"status": Status.CERTIFIED, "orbit_size": size} | fields
    return CriticalPoint(name, 1, {}, 0.0, 0.0, (), Inertia(negative, zero, 4 - negative - zero), **given)


def morse(*points: CriticalPoint, **options: Any) -> list[Check]:
    return morse_checks(points, GROWS, 1, **options)


# ---- the Morse count


def test_a_double_well_passes_and_without_its_saddle_is_refuted() -> None:
    wells, saddle = point("m1.1", 0, 2), point("m1.2", 1, 1)
    total, inequalities = morse(wells, saddle)
    assert (total.status, total.computed, total.expected) == (Status.CERTIFIED, 1, 1)
    assert (inequalities.status, inequalities.computed) == (Status.CERTIFIED, [2, -1])
    total, inequalities = morse(wells)
    assert (total.status, total.computed) == (Status.REFUTED, 2)
    assert total.statement.startswith("the list is incomplete")
    assert inequalities.status is Status.CERTIFIED  # two minima alone break the sum only


def test_the_inequalities_show_what_the_sum_does_not() -> None:
    """Three minima and two points of index 3: 3 - 2 = 1, but between minima there must be saddles of index 1."""
    total, inequalities = morse(point("m1.1", 0, 3), point("m1.2", 3, 2))
    assert total.status is Status.CERTIFIED
    assert inequalities.status is Status.REFUTED
    assert "index 1" in inequalities.statement
    assert morse(point("m1.1", 2, 1))[1].status is Status.REFUTED  # no minimum at all
    assert morse()[0].status is Status.REFUTED  # a coercive risk has one


def test_an_index_that_is_only_measured_refutes_nothing() -> None:
    total, _ = morse(point("m1.1", 0, 2, status=Status.SUPPORTED))
    assert total.status is Status.UNDECIDED
    assert "or the index of m1.1, not certified, is wrong" in total.statement
    assert morse(point("m1.1", 0, 1, status=Status.SUPPORTED))[0].status is Status.SUPPORTED
    total, _ = morse(point("m1.1", 0, 2), told_apart=False)
    assert total.status is Status.UNDECIDED
    assert "listed twice" in total.statement


def test_the_condition_that_fails_is_named() -> None:
    (one,) = morse_checks([point("m1.1", 0)], Coercive(None, "there is no weight decay"), 1)
    assert (one.status, one.statement) == (Status.UNDECIDED, "does not apply: there is no weight decay")
    (one,) = morse(point("m1.1", 0, zero=1))
    assert one.statement == "does not apply: m1.1 is degenerate"
    (one,) = morse(point("m1.1", 0, zero=2, zeros=Zeros(symmetry=2)))
    assert "even dimension" in one.statement
    (one,) = morse(point("m1.1", 0, None))
    assert "copies of m1.1 are not counted" in one.statement


def test_compact_orbits_of_odd_dimension_add_nothing() -> None:
    """Two linear neurons with decay: a circle of minima, and the origin of index 2."""
    circle = point("m1.1", 0, None, zero=1, zeros=Zeros(symmetry=1))
    (total,) = morse(circle, point("m1.2", 2))
    assert (total.status, total.computed) == (Status.CERTIFIED, 1)
    (total,) = morse(circle)
    assert (total.status, total.computed) == (Status.REFUTED, 0)


def test_linear_neurons_with_decay_have_the_count_in_a_search() -> None:
    content = {
        "schema": 1,
        "name": "linear-decay",
        "model": {
            "kind": "deep",
            "activation": "linear",
            "widths": [2],
            "input_bias": False,
            "output_bias": False,
        },
        "loss": {"weight_decay": "1/10"},
        "data": {"x": [[-1], ["1/2"], [1]], "y": [-2, 1, 1]},
        "landscape": {"starts": 40},
    }
    done = wb.Analysis(wb.study_from_mapping(content)).critical(method="numeric", exhaust=0).to_dict()
    total = next(c for c in done["completeness"]["checks"] if c["name"] == "Morse sum")
    assert (total["status"], total["computed"]) == ("CERTIFIED", 1)


# ---- complete lists from exact algebra


def exact_study(x: list[Any], y: list[Any], activation: str) -> wb.Study:
    content = {
        "schema": 1,
        "name": "polynomial",
        "model": {"activation": activation, "width": 1, "input_bias": False},
        "loss": {"weight_decay": "1/10"},
        "data": {"x": x, "y": y},
        "landscape": {"widths": [1], "starts": 60},
    }
    return wb.study_from_mapping(content)


@pytest.mark.parametrize("activation", ["linear", "z**2", "z**2 + z", "z**3"])
def test_exact_lists_pass_every_check_and_each_entry_is_missed(activation: str) -> None:
    generator = random.Random(activation)
    x = [[generator.randint(1, 4)], [-generator.randint(1, 4)]]
    y = [generator.randint(-4, 4), generator.randint(1, 4)]
    analysis = wb.Analysis(exact_study(x, y, activation))
    found = analysis.critical()
    done = found.to_dict()["completeness"]
    assert done["status"] == "PROVED"
    assert done["checks"][0]["name"] == "Morse sum"
    assert {c["status"] for c in done["checks"]} == {"CERTIFIED"}
    for gone in found.points:
        rest = tuple(p for p in found.points if p is not gone)
        fewer = judged(analysis, replace(found, points=rest, completeness=None))
        assert fewer.completeness is not None
        total = fewer.completeness.checks[0]
        # Every orbit adds its size with a sign, so one that is missing always shows in the sum.
        assert total.status is Status.REFUTED
        assert total.computed == 1 - (-1) ** gone.inertia.negative * (gone.orbit_size or 0)
        assert fewer.completeness.status is Status.UNDECIDED
        assert fewer.completeness.expected is None


# ---- statistics of the starts


def search(hits: list[str | None], width: int = 1) -> WidthSearch:
    return WidthSearch(width, len(hits), 0, 0, 0, 0.0, (), tuple(hits))


def landscape(search_of: WidthSearch, points: tuple[CriticalPoint, ...]) -> Landscape:
    return Landscape("none", 0, points, (), (), (), (search_of,))


@pytest.fixture(scope="module")
def plain() -> wb.Analysis:
    """A study without weight decay and without symmetry of the data."""
    content = {
        "schema": 1,
        "name": "plain",
        "model": {"activation": "tanh", "width": 1},
        "data": {"x": [[1], [2]], "y": [1, 3]},
        "landscape": {"widths": [1], "starts": 6},
    }
    return wb.Analysis(wb.study_from_mapping(content))


POINTS = (point("m1.1", 0), point("m1.2", 1))


def stated(plain: wb.Analysis, hits: list[str | None], points: tuple[CriticalPoint, ...] = POINTS) -> Any:
    return completeness_of(plain, landscape(search(hits), points), {})


def test_starts_that_find_the_same_points_again_support_the_list(plain: wb.Analysis) -> None:
    done = stated(plain, ["m1.1", "m1.2"] * 600)
    assert done.status is Status.SUPPORTED
    assert done.expected is None
    assert "with 95 % confidence at most 0.5 % of random starts" in done.method
    assert "of 600 starts kept apart none led" in done.method


def test_what_speaks_against_it_is_said(plain: wb.Analysis) -> None:
    many: list[str | None] = ["m1.1"] * 1199
    assert "1 of 2 entries was met by one start only" in stated(plain, [*many, "m1.2"]).method
    assert "m1.2 was met by no random start" in stated(plain, [*many, "m1.1"]).method
    assert "only up to 1 %" in stated(plain, ["m1.1", "m1.2"] * 60).method
    doubtful = [None if j % 10 == 0 else u for j, u in enumerate(["m1.1", "m1.2", "m1.2"] * 400)]
    assert "60 of 600 starts did not converge" in stated(plain, doubtful).method
    assert "no start led to a critical point" in stated(plain, [INFINITY] * 1200, ()).method
    assert "too few" in stated(plain, ["m1.1"] * 5).method
    for hits in ([*many, "m1.2"], many, ["m1.1", "m1.2"] * 60, doubtful, ["m1.1"] * 5):
        assert stated(plain, hits).status is Status.UNDECIDED


def test_the_numbers_of_the_check_are_the_bound_and_its_threshold() -> None:
    bound, number = start_checks(search(["m1.1", "m1.2"] * 600), POINTS)
    assert (bound.computed, bound.expected) == (upper_bound(0, 600), MOST_UNSEEN)
    assert (bound.status, number.status) == (Status.SUPPORTED, Status.SUPPORTED)
    assert start_checks(search([]), POINTS) == []


def test_the_percentage_is_never_rounded_down() -> None:
    for new in range(20):
        hits: list[str | None] = ["m1.1"] * 60 + ["m1.2"] * new + ["m1.1"] * (60 - new)
        (bound, _) = start_checks(search(hits), POINTS)
        said = float(bound.statement.split("at most ")[1].split(" %")[0])
        assert bound.computed <= said / 100 <= bound.computed * 1.11 + 1e-12


def test_widths_are_judged_one_by_one(plain: wb.Analysis) -> None:
    two = (search(["m1.1", "m1.2"] * 600), search(["m2.1"] * 30, 2))
    more = replace(POINTS[0], id="m2.1", width=2)
    both = Landscape("none", 0, (*POINTS, more), (), (), (), two)
    done = completeness_of(plain, both, {})
    assert done.status is Status.UNDECIDED
    assert "width 1: multi-start search" in done.method
    assert "width 2: multi-start search" in done.method
    assert {c.width for c in done.checks} == {1, 2}


def test_a_refuted_check_goes_before_every_support(plain: wb.Analysis) -> None:
    broken = Check(
        "symmetries of the data", 1, Status.REFUTED, "the list is incomplete: an image is missing", 1, 2
    )
    done = completeness_of(plain, landscape(search(["m1.1", "m1.2"] * 600), POINTS), {1: broken})
    assert (done.status, done.method) == (Status.UNDECIDED, broken.statement)


def test_the_table_names_each_check_once(plain: wb.Analysis) -> None:
    given = landscape(search(["m1.1", "m1.2"] * 600), POINTS)
    given = replace(given, completeness=completeness_of(plain, given, {}))
    notes = landscape_tables(given.to_dict(), edges=False)[0].notes
    lines = [line for line in notes if line.startswith(("completeness", "- "))]
    assert lines[0].startswith("completeness SUPPORTED: multi-start search; with 95 % confidence")
    assert lines[1].startswith("- Morse sum, UNDECIDED: does not apply: there is no weight decay")
    assert lines[2].startswith("- number of entries, SUPPORTED: random starts met 2 of 2 entries")
    assert len(lines) == 3


# ---- in words


def said(report_content: ReportContent, status: str, *checks: Check) -> str:
    content = {"status": status, "method": "starts", "checks": [check.to_dict() for check in checks]}
    return completeness(replace(report_content, landscape_json={"completeness": content}))


def test_the_report_says_what_was_checked_and_names_a_refuted_list_first(
    report_content: ReportContent,
) -> None:
    total, _ = morse(point("m1.1", 0, 2), point("m1.2", 1, 1))
    text = said(report_content, "SUPPORTED", total)
    assert text.startswith("There is numerical evidence, not a proof, that the list is complete (starts).")
    assert "Morse sum (width 1): the signs" in text
    broken, _ = morse(point("m1.1", 0, 2))
    text = said(report_content, "UNDECIDED", broken)
    assert text.startswith(r"\textbf{The list is not complete}")
    (without,) = morse_checks([point("m1.1", 0)], Coercive(None, "there is no weight decay"), 1)
    assert "weight decay" not in said(report_content, "UNDECIDED", without)
