from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sympy import Rational, sqrt

from derivations.setting_readers import activation, choice, exact, integer, integers, points

SHIPPED = {"one": "1, 2 : 1"}


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (integer(1, 9), "9", 9),
        (integers(1, 9), "4,3", (4, 3)),
        (exact(above=0), "0.01", Rational(1, 100)),
        (exact(), "sqrt(2)/2", sqrt(2) / 2),
        (choice("a", "b"), "b", "b"),
    ],
)
def test_a_text_is_read(read: Callable[[str], Any], text: str, expected: Any) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text", "reason"),
    [
        (integer(1, 9), "ten", "no whole number"),
        (integer(1, 9), "10", "not between 1 and 9"),
        (integers(1, 9), "4,", "no whole number"),
        (exact(above=0), "0", "not above 0"),
        (exact(up_to=1), "1.5", "above 1"),
        (exact(), "pi", "not real and algebraic"),
        (exact(), "x", "unknown name"),
        (choice("short", "full"), "ful", "did you mean 'full'"),
        (activation, "relus", "did you mean 'relu'"),
        (points(SHIPPED), "two", "neither a set \\(one\\)"),
        (points(SHIPPED), "missing.csv", "cannot be read"),
        (points(SHIPPED), "1, 2 : 1; 3 : 1", "points of \\[1, 2\\] inputs"),
        (points(SHIPPED), "1, 2 : 3", "the label 3"),
        (points(SHIPPED), "1, 2 : 1; 3, 4", "no label"),
        (points(SHIPPED), ";:", "a number is missing"),
    ],
)
def test_a_text_that_is_not_accepted_is_refused_with_the_reason(
    read: Callable[[str], Any], text: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        read(text)


def test_points_come_from_a_set_from_the_text_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("x1,x2,label\n1,1/2,1\n-0.25,2,-1\n")
    read = points(SHIPPED)
    found = read(str(file))
    assert found == read("1, 1/2 : 1; -1/4, 2 : -1")
    assert found.signed == [[1, Rational(1, 2)], [Rational(1, 4), -2]]
    assert read("one").x == ((1, 2),)


def test_a_file_without_names_of_columns_loses_no_row(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("sqrt(2),1,1\n-1,2,-1\n")
    assert points({})(str(file)).x == ((sqrt(2), 1), (-1, 2))
