from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import theta
from workbench.errors import StudyError
from workbench.theta import points_from_json, read_theta

LAYOUT = {"a": (2,), "w": (2, 1), "c": ()}
POINT = {"a": [1.0, -0.5], "w": [[0.3], [1.2]], "c": 0.25}
OBJECTS = "an object of blocks (a, w, c), or an array of such objects"
NUMBER = 'a finite number, or an exact one as a string such as "1/3"'
EXACT = 'a finite number, or an exact one as a string such as "1/3" or "sqrt(2)/2"'


def refused(content: Any, layout: dict[str, tuple[int, ...]] = LAYOUT) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        points_from_json(content if isinstance(content, str) else json.dumps(content), layout, file="t.json")
    return caught.value.faults


def test_one_object_is_one_point() -> None:
    assert points_from_json(json.dumps(POINT), LAYOUT) == [POINT]


def test_an_array_of_objects_is_many_in_their_order() -> None:
    points = points_from_json(json.dumps([POINT, POINT | {"c": 1}]), LAYOUT)
    assert [point["c"] for point in points] == [0.25, 1.0]
    assert all(type(point["c"]) is float for point in points)


def test_blocks_come_in_the_order_of_the_layout() -> None:
    (point,) = points_from_json(json.dumps(dict(reversed(POINT.items()))), LAYOUT)
    assert list(point) == ["a", "w", "c"]


def test_exact_numbers_are_read() -> None:
    (point,) = points_from_json('{"a": ["1/3", "-sqrt(2)/2"]}', {"a": (2,)})
    assert point["a"] == [1 / 3, -math.sqrt(2) / 2]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_floats_survive(values: list[float]) -> None:
    assert points_from_json(json.dumps({"a": values}), {"a": (3,)}) == [{"a": values}]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"a": [1]}, "t.json: a: found an array of length 1; accepted: an array of 2 numbers"),
        ({"a": 1}, "t.json: a: found 1; accepted: an array of 2 numbers"),
        ({"a": [1, [2]]}, f"t.json: a[1]: found an array of length 1; accepted: {NUMBER}"),
        ({"a": [1, True]}, f"t.json: a[1]: found true; accepted: {NUMBER}"),
        ({"a": [None, 1]}, f"t.json: a[0]: found null; accepted: {NUMBER}"),
        ({"a": [1, {"b": 2}]}, f"t.json: a[1]: found an object with the keys b; accepted: {NUMBER}"),
        ({"w": [[1], [2, 3]]}, "t.json: w[1]: found an array of length 2; accepted: an array of 1 number"),
        ({"w": [1, 2]}, "t.json: w[0]: found 1; accepted: an array of 1 number"),
        ({"w": []}, "t.json: w: found an array of length 0; accepted: an array of 2 arrays of 1 number"),
        ({"c": [1]}, f"t.json: c: found an array of length 1; accepted: {NUMBER}"),
        ({"c": math.nan}, f"t.json: c: found nan; accepted: {NUMBER}"),
        ({"c": -math.inf}, f"t.json: c: found -inf; accepted: {NUMBER}"),
        ({"c": 10**400}, f"t.json: c: found an integer of 1329 bits; accepted: {NUMBER}"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(entry: dict[str, Any], line: str) -> None:
    assert refused(POINT | entry) == (line,)
    assert refused([POINT, POINT | entry]) == (
        line.replace("t.json: ", "t.json: [1].", 1),
    )  # and the point is named


@pytest.mark.parametrize("text", ["__import__('os').system('id')", "9**9**9", "I", "x", "1/0", "", "nan"])
def test_text_that_is_no_number_is_refused_unexecuted(text: str) -> None:
    (line,) = refused(POINT | {"c": text})
    assert line.startswith("t.json: c: found ")
    assert line.endswith(f"; accepted: {EXACT}")


def test_names_are_checked_and_the_nearest_is_suggested() -> None:
    layout = {"alpha": (), "c": ()}
    assert refused({"alhpa": 1, "c": 1}, layout) == (
        "t.json: alhpa: found an unknown block; accepted: a block of the model (alpha, c). "
        "Did you mean 'alpha'?",
        "t.json: alpha: found nothing; accepted: a number: the block is required",
    )


def test_every_wrong_block_has_its_line() -> None:
    assert len(refused([{"a": [1, 2], "w": 3, "c": "x"}, {}])) == 2 + 3


def test_a_flood_of_wrong_names_is_cut() -> None:
    names = {f"{'z' * 1000}{i}": 0 for i in range(2000)}
    assert len(refused(POINT | names)) == theta.MOST_UNKNOWN
    assert max(map(len, refused(POINT | names))) < 300


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[]", f"t.json: found an empty array; accepted: {OBJECTS}"),
        ("3", f"t.json: found 3; accepted: {OBJECTS}"),
        ("[3]", f"t.json: [0]: found 3; accepted: {OBJECTS}"),
        ('{"a": 1, "a": 2}', "t.json: found the key 'a' twice in one object; accepted: each block once"),
        ('{"a": 1e999, "w": [[1],[1]], "c": 1}', "t.json: a: found inf; accepted: an array of 2 numbers"),
        ("[" * 100000, "t.json: found invalid JSON (nested too deeply); accepted: valid JSON"),
    ],
)
def test_a_wrong_form_is_refused(text: str, line: str) -> None:
    assert refused(text) == (line,)


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": 1,}', "import os", '{"a": ' + "9" * 5000 + "}"])
def test_what_is_no_json_is_refused(text: str) -> None:
    (line,) = refused(text)
    assert line.startswith("t.json: found invalid JSON (")


def test_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "theta.json"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(POINT).encode()
    )  # with a byte-order mark, as editors leave it
    assert read_theta(path, LAYOUT) == [POINT]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(POINT).encode())))
    assert read_theta("-", LAYOUT) == [POINT]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff{}")))
    with pytest.raises(
        StudyError, match=r"^standard input: found the byte 0xff, which is not UTF-8; accepted"
    ):
        read_theta("-", LAYOUT)
    with pytest.raises(StudyError, match=r"thet.json: found no such file; .* Did you mean 'theta.json'\?"):
        read_theta(tmp_path / "thet.json", LAYOUT)


def test_a_file_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert theta.THETA_BYTES == 64 * 1024**2
    monkeypatch.setattr(theta, "THETA_BYTES", 1024)
    (tmp_path / "theta.json").write_text(" " * 1025)
    with pytest.raises(StudyError, match="found more than 1024 bytes; accepted"):
        read_theta(tmp_path / "theta.json", LAYOUT)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" " * 1025)))
    with pytest.raises(StudyError, match=r"^standard input: found more than 1024 bytes"):
        read_theta("-", LAYOUT)
