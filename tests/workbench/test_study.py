from __future__ import annotations

import math
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import StudyError
from workbench.study import Study, load, shipped_studies, study_from_mapping


def build(**tables: Any) -> Study:
    return study_from_mapping({"schema": 1, "name": "demo"} | tables)


def refused(**tables: Any) -> str:
    with pytest.raises(StudyError) as caught:
        build(**tables)
    return str(caught.value)


def write(directory: Path, text: str | bytes, name: str = "demo.toml") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_defaults_are_those_of_the_format() -> None:
    study = build()
    assert study.to_dict() == {
        "schema": 1,
        "name": "demo",
        "title": "demo",
        "model": {
            "kind": "two_layer",
            "activation": "tanh",
            "input_bias": True,
            "output_bias": False,
            "scale": "1",
            "freeze": [],
            "kink": 0,
            "rate": {},
        },
        "loss": {"kind": "square", "reduction": "mean", "factor": "1", "weight_decay": "0"},
        "landscape": {"widths": [1, 2], "starts": 2000, "seed": 0},
        "report": {
            "sections": [
                "problem",
                "gradient_flow",
                "symmetries",
                "critical_points",
                "embedding",
                "graph",
                "verification",
            ]
        },
    }
    assert study.model.width is None
    assert study.data is None
    assert study.directory == Path()


VALID: dict[str, dict[str, Any]] = {
    "empty": {},
    "formulas": {
        "model": {
            "activation": "z*(1 + erf(z/sqrt(2)))/2",
            "scale": "1/sqrt(m*d)",
            "width": 3,
            "kink": "1/2",
        },
        "loss": {"kind": "(1 - y*f)**2", "factor": 2, "weight_decay": 0.01},
    },
    "the argument alone is a formula": {"model": {"activation": "z"}},
    "rates and frozen blocks": {"model": {"freeze": ["a"], "rate": {"w": "1/2", "b": 0.5}}},
    "linear hinge": {"loss": {"kind": "linear_hinge", "reduction": "sum"}},
    "deep": {"model": {"kind": "deep", "widths": [4, 3], "activation": "relu", "freeze": ["b2"]}},
    "formula": {
        "model": {"kind": "formula", "output": "a1*exp(w1*x) + c", "parameters": ["a1", "w1", "c"]},
        "data": {"x": [[1], [2]], "y": [0.5, "1/3"]},
    },
    "arrays": {"data": {"x": [["1/3", 2], [0.1, -1e-7]], "y": [[1, 2.5], ["sqrt(2)/2", 0]]}},
    "file": {"data": {"file": "sub/α β.csv", "inputs": ["u"], "target": ["v", "w"], "standardize": True}},
    "interval": {
        "data": {"kind": "interval", "lower": 0, "upper": "1/2", "target": "2*x + 1"},
        "loss": {"reduction": "integral"},
    },
    "gaussian": {"data": {"kind": "gaussian", "dimension": "d", "target": "He3(x[0])*x[1]"}},
    "gaussian line": {"data": {"kind": "gaussian", "dimension": 1, "target": "He2(x)"}},
    "text": {
        "title": 'Quotes " and \\ and ü',
        "landscape": {"widths": [3, 1, 3], "starts": 1, "seed": 2**63 - 1},
    },
    "report": {"report": {"sections": ["graph", "problem"]}},
}


@pytest.mark.parametrize("tables", VALID.values(), ids=list(VALID))
def test_what_is_written_loads_as_an_equal_study(tables: dict[str, Any], tmp_path: Path) -> None:
    study = build(**tables)
    path = tmp_path / "copy.toml"
    path.write_text(study.to_toml(), encoding="utf-8")
    again = load(path)
    assert again == study
    assert hash(again) == hash(study)
    assert study_from_mapping(study.to_dict()) == study
    assert again.path == path
    assert again.directory == tmp_path


numbers = st.one_of(
    st.integers(-(2**60), 2**60),
    st.floats(min_value=-1e250, max_value=1e250).filter(lambda v: v == 0 or abs(v) > 1e-250),
    st.fractions(max_denominator=10**6).map(str),
)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(0, 2), st.integers(1, 4))
def test_arrays_of_any_shape_survive_a_round_trip(draw: st.DataObject, d: int, o: int, n: int) -> None:
    def array(columns: int) -> list[Any]:
        entry = st.lists(numbers, min_size=columns, max_size=columns) if columns else numbers
        return draw.draw(st.lists(entry, min_size=n, max_size=n))

    study = build(data={"x": array(d), "y": array(o)})
    assert study_from_mapping(tomllib.loads(study.to_toml())) == study


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=4), st.lists(st.integers(0, 9), max_size=4))
@settings(max_examples=60, deadline=None)
def test_arrays_are_read_exactly_when_they_fit(x: list[list[int]], y: list[int]) -> None:
    fits = len(x) == len(y) > 0 and len({len(row) for row in x}) == 1 and len(x[0]) > 0
    if fits:
        assert build(data={"x": x, "y": y}).data is not None
    else:
        assert refused(data={"x": x, "y": y}).startswith("study: data")


ROW = "a row of d numbers, as in x = [[-1.0], [0.5]]"
NUMBER = 'a finite number, or an exact one as a string such as "1/3" or "sqrt(2)/2"'
CONSTANT = "a constant formula"
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    # case: (tables, the beginning of each line of the message)
    "unknown key of the model": (
        {"model": {"widht": 3}},
        [
            "study: model.widht: found an unknown key; accepted: a key of this table (kind, "
            "freeze, kink, rate, "
            "activation, width, input_bias, output_bias, scale). Did you mean 'width'?"
        ],
    ),
    "unknown table": (
        {"los": {}},
        [
            "study: los: found an unknown key; accepted: a key of this table (schema, name, "
            "title, model, loss, "
            "data, kkt, landscape, training, theorem, report). Did you mean 'loss'?"
        ],
    ),
    "key of another table": (
        {"seed": 1},
        [
            "study: seed: found an unknown key; accepted: a key of this table (schema, name, "
            "title, model, loss, "
            "data, kkt, landscape, training, theorem, report). The key belongs to [landscape]."
        ],
    ),
    "key of another kind": (
        {"model": {"kind": "deep", "width": 3}},
        [
            "study: model.widths: found nothing; accepted: a value: the key is required",
            "study: model.width: found an unknown key; accepted: a key of this table (kind, "
            "freeze, kink, rate, "
            "activation, widths, input_bias, output_bias). Did you mean 'widths'?",
        ],
    ),
    "unknown key of the data": (
        {"data": {"file": "a.csv", "target": "u", "standardise": True}},
        [
            "study: data.standardise: found an unknown key; accepted: a key of this table "
            "(kind, file, inputs, "
            "target, standardize, teacher). Did you mean 'standardize'?"
        ],
    ),
    "table that is none": (
        {"model": 3, "loss": [1]},
        ["study: model: found 3; accepted: a table", "study: loss: "],
    ),
    "unknown kind of model": (
        {"model": {"kind": "two_layr"}},
        [
            "study: model.kind: found 'two_layr'; accepted: a kind (two_layer, deep, formula, diagonal). "
            "Did you mean 'two_layer'?"
        ],
    ),
    "kind that is no text": (
        {"model": {"kind": [1]}},
        ["study: model.kind: found an array of length 1; accepted: a"],
    ),
    "unknown kind of data": (
        {"data": {"kind": "gausian"}},
        [
            "study: data.kind: found 'gausian'; accepted: a kind (arrays, file, interval, "
            "gaussian). Did you mean 'gau"
        ],
    ),
    "several faults, a line each": (
        {"model": {"input_bias": 1, "width": 0}, "landscape": {"starts": 0}},
        [
            "study: model.width: found 0; accepted: an integer from 1 to 1000000",
            "study: model.input_bias: found 1; accepted: true or false",
            "study: landscape.starts: found 0; accepted: an integer from 1 to 1000000",
        ],
    ),
    "unsafe name": (
        {"name": "../a"},
        [
            "study: name: found '../a'; accepted: a safe file-name slug: letters, digits, - "
            "and _, first a letter "
            "or digit, at most 64 characters"
        ],
    ),
    "name ends in a new line": (
        {"name": "a\n"},
        ["study: name: found 'a\\n'; accepted: a safe file-name slug"],
    ),
    "name is a number": ({"name": 3}, ["study: name: found 3; accepted: a safe file-name slug"]),
    "title of two lines": ({"title": "a\nb"}, ["study: title: found 'a\\nb'; accepted: one line of text"]),
    "unknown activation": (
        {"model": {"activation": "tahn"}},
        [
            "study: model.activation: found 'tahn'; accepted: a formula in z, or a "
            "registered activation (linear, relu"
        ],
    ),
    "bad formula": (
        {"model": {"activation": "z*q"}},
        ["study: model.activation: found 'z*q' (at character 3: 'q' is"],
    ),
    "formula that is a number": (
        {"model": {"activation": 3}},
        ["study: model.activation: found 3; accepted: a form"],
    ),
    "scale in z": (
        {"model": {"scale": "1/z"}},
        ["study: model.scale: found '1/z' (at character 3: 'z' is an unknown"],
    ),
    "scale is a truth value": (
        {"model": {"scale": True}},
        ["study: model.scale: found true; accepted: a formula in m"],
    ),
    "unknown loss": (
        {"loss": {"kind": "Sqare"}},
        [
            "study: loss.kind: found 'Sqare'; accepted: a formula in f and y, or a "
            "registered loss (square, logistic, "
            "exponential, hinge, correlation, linear_hinge). Did you mean 'square'?"
        ],
    ),
    "loss in z": (
        {"loss": {"kind": "(z - y)**2"}},
        ["study: loss.kind: found '(z - y)**2' (at character 2: 'z' is"],
    ),
    "unknown reduction": (
        {"loss": {"reduction": "average"}},
        ["study: loss.reduction: found 'average'; accepted: a name (mean, sum, integral)"],
    ),
    "factor of zero": (
        {"loss": {"factor": "1 - 1"}},
        [f"study: loss.factor: found '1 - 1'; accepted: {CONSTANT} > 0"],
    ),
    "factor with a name": (
        {"loss": {"factor": "m"}},
        ["study: loss.factor: found 'm' (at character 1: 'm' is an unkn"],
    ),
    "negative decay": (
        {"loss": {"weight_decay": -0.1}},
        [f"study: loss.weight_decay: found -0.1; accepted: {CONSTANT} >= 0"],
    ),
    "frozen block that is absent": (
        {"model": {"freeze": ["a", "c"]}},
        ["study: model.freeze[1]: found 'c'; accepted: a block of the model (a, w, b)"],
    ),
    "freeze is text": ({"model": {"freeze": "a"}}, ["study: model.freeze: found 'a'; accepted: an array"]),
    "all is frozen": (
        {"model": {"freeze": ["b", "w", "a"]}},
        ["study: model.freeze: found every block frozen; accepted: at least one block that is trained"],
    ),
    "rate of an absent block": (
        {"model": {"rate": {"W": 1}}},
        ["study: model.rate.W: found 'W'; accepted: a block of the model (a, w, b). Did you mean 'w'?"],
    ),
    "negative rate": (
        {"model": {"rate": {"a": "-1"}}},
        [f"study: model.rate.a: found '-1'; accepted: {CONSTANT} > 0"],
    ),
    "rate is a number": (
        {"model": {"rate": 2}},
        ["study: model.rate: found 2; accepted: a table of blocks and their"],
    ),
    "kink": ({"model": {"kink": math.inf}}, ["study: model.kink: found inf"]),
    "deep without layers": (
        {"model": {"kind": "deep", "widths": []}},
        ["study: model.widths: found an array of length 0; accepted: an array that is not empty"],
    ),
    "deep widths": (
        {"model": {"kind": "deep", "widths": [0, True, 2.0, "3"]}},
        [
            "study: model.widths[0]: found 0; accepted: an integer from 1 to 1000000",
            "study: model.widths[1]: found true; accepted: an integer",
            "study: model.widths[2]: found 2.0; accepted: an integer",
            "study: model.widths[3]: found '3'; accepted: an integer",
        ],
    ),
    "frozen block of a deep model": (
        {"model": {"kind": "deep", "widths": [4, 3], "freeze": ["b3"]}},
        ["study: model.freeze[0]: found 'b3'; accepted: a block of the model (W1, b1, W2, b2, W3)"],
    ),
    "unknown name in the output": (
        {"model": {"kind": "formula", "output": "a*x + q", "parameters": ["a"]}},
        ["study: model.output: found 'a*x + q' (at character 7: 'q' is an unknown name"],
    ),
    "parameter and input of one name": (
        {"model": {"kind": "formula", "output": "x", "parameters": ["x"]}},
        [
            "study: model.parameters: found 'x' named twice; accepted: parameters and inputs "
            "of different names"
        ],
    ),
    "parameter that is no name": (
        {"model": {"kind": "formula", "output": "x", "parameters": ["a b", "lambda"]}},
        [
            "study: model.parameters[0]: found 'a b'; accepted: a name",
            "study: model.parameters[1]: found 'lambda'; ",
        ],
    ),
    "formula with inputs for other data": (
        {
            "model": {"kind": "formula", "output": "a*x", "parameters": ["a"]},
            "data": {"x": [[1, 2]], "y": [[1, 2]]},
        },
        [
            "study: model.inputs: found 1 inputs for data with d = 2; accepted: 2 names",
            "study: data.y: found rows of 2; accepted: numbers: a formula has one output",
        ],
    ),
    "rows that are numbers": (
        {"data": {"x": [1, 2], "y": [1, 2]}},
        [f"study: data.x[0]: found 1; accepted: {ROW}", f"study: data.x[1]: found 2; accepted: {ROW}"],
    ),
    "ragged x": (
        {"data": {"x": [[1, 2], [3]], "y": [1, 2]}},
        [
            "study: data.x[1]: found a row of length 1, where x[0] has length 2; accepted: "
            "rows of one length, at least 1"
        ],
    ),
    "ragged y": (
        {"data": {"x": [[1], [3]], "y": [[1, 2], [3]]}},
        [
            "study: data.y[1]: found a row of length 1, where y[0] has length 2; accepted: "
            "rows of one length, at least 1"
        ],
    ),
    "y of numbers and rows": (
        {"data": {"x": [[1], [3]], "y": [[1], 3]}},
        ["study: data.y: found numbers and rows mixed; accepted: n numbers, or n rows of o numbers"],
    ),
    "x and y of different lengths": (
        {"data": {"x": [[1], [3]], "y": [1, 2, 3]}},
        [
            "study: data: found x of shape (2, 1) and y of shape (3,); accepted: as many "
            "rows in x as entries in y"
        ],
    ),
    "x and rows y of different lengths": (
        {"data": {"x": [[1], [3]], "y": [[1, 2]]}},
        [
            "study: data: found x of shape (2, 1) and y of shape (1, 2); accepted: as many "
            "rows in x as entries in y"
        ],
    ),
    "no samples": (
        {"data": {"x": [], "y": []}},
        ["study: data.x: found an empty array; accepted: n rows of d numbers"],
    ),
    "numbers that are none": (
        {"data": {"x": [[math.nan], [True], ["1/0"], [10**400]], "y": [1, -math.inf, "q", None]}},
        [
            "study: data.x[0][0]: found nan",
            f"study: data.x[1][0]: found true; accepted: {NUMBER}",
            "study: data.x[2][0]: found '1/0' (at character 2: ",
            "study: data.x[3][0]: found an integer of 1329 bits",
            "study: data.y[1]: found -inf",
            "study: data.y[2]: found 'q' (at character 1: 'q' is an unknown name",
            f"study: data.y[3]: found None; accepted: {NUMBER}",
        ],
    ),
    "data without a target": (
        {"data": {"file": "a.csv"}},
        ["study: data.target: found nothing; accepted: the targets: target, or the table [data.teacher]"],
    ),
    "column as input and target": (
        {"data": {"file": "a.csv", "inputs": ["u"], "target": "u"}},
        ["study: data.target: found 'u' named twice; accepted: different columns in inputs and target"],
    ),
    "target that is no column": (
        {"data": {"file": "a.csv", "target": [1]}},
        ["study: data.target: found 1; accepted: a column name"],
    ),
    "file name with a null": (
        {"data": {"file": "a\0", "target": "u"}},
        ["study: data.file: found 'a\\x00'; accepted: "],
    ),
    "samples with an integral": (
        {"data": {"x": [[1]], "y": [1]}, "loss": {"reduction": "integral"}},
        ["study: loss.reduction: found 'integral' with a finite set of samples; accepted: 'mean' or 'sum'"],
    ),
    "population with a sum": (
        {"data": {"kind": "gaussian", "target": "x[0]"}, "loss": {"reduction": "sum"}},
        ["study: loss.reduction: found 'sum' with gaussian data; accepted: 'mean' or 'integral'"],
    ),
    "empty interval": (
        {"data": {"kind": "interval", "lower": 1, "upper": "2/2", "target": "x"}},
        ["study: data.lower: found lower = 1 and upper = 2/2; accepted: lower < upper"],
    ),
    "target in another name": (
        {"data": {"kind": "interval", "lower": 0, "upper": 1, "target": "2*t"}},
        ["study: data.target: found '2*t' (at character 3: 't' is an unknown name"],
    ),
    "dimension": (
        {"data": {"kind": "gaussian", "dimension": "k", "target": "x[0]"}},
        ["study: data.dimension: found 'k'; accepted: an integer from 1 to 1000, or \"d\""],
    ),
    "coordinate beyond the dimension": (
        {"data": {"kind": "gaussian", "dimension": 2, "target": "x[2]"}},
        ["study: data.target: found 'x[2]' (at character 3: "],
    ),
    "landscape": (
        {"landscape": {"widths": [], "seed": 2**63, "starts": 10**6 + 1}},
        [
            "study: landscape.widths: found an array of length 0; accepted: an array that is not empty",
            "study: landscape.starts: found 1000001; accepted: an integer from 1 to 1000000",
            "study: landscape.seed: found 9223372036854775808; accepted: an integer from 0 "
            "to 9223372036854775807",
        ],
    ),
    "width of the landscape": (
        {"landscape": {"widths": [1, True]}},
        ["study: landscape.widths[1]: found true; accepted: an integer from 1 to 1000000"],
    ),
    "unknown section": (
        {"report": {"sections": ["grpah"]}},
        [
            "study: report.sections[0]: found 'grpah'; accepted: a name (problem, gradient_flow, symmetries, "
            "critical_points, embedding, graph, verification, activation, kernels). Did you mean 'graph'?"
        ],
    ),
    "section twice": (
        {"report": {"sections": ["graph", "graph"]}},
        ["study: report.sections: found 'graph' named twice; accepted: different sections"],
    ),
    "no schema": (
        {"schema": None},
        ["study: schema: found nothing; accepted: 1, the only version supported"],
    ),
    "another schema": ({"schema": 2}, ["study: schema: found 2; accepted: 1, the only version supported"]),
    "schema true": ({"schema": True}, ["study: schema: found true; accepted: 1, the only version supported"]),
}


@pytest.mark.parametrize(("tables", "lines"), REFUSED.values(), ids=list(REFUSED))
def test_a_fault_is_told_by_key_what_was_found_and_what_is_accepted(
    tables: dict[str, Any], lines: list[str]
) -> None:
    found = refused(**tables).splitlines()
    assert len(found) == len(lines), found
    for line, beginning in zip(found, lines, strict=True):
        assert line.startswith(beginning)


def test_the_nearest_activation_is_suggested() -> None:
    assert refused(model={"activation": "TAHN"}).endswith("Did you mean 'tanh'?")


def test_many_faults_are_cut_short() -> None:
    message = refused(data={"x": [["q"]] * 30, "y": [0] * 30})
    assert len(message.splitlines()) == 21
    assert message.endswith("... and 10 more")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {marker}')",
        "z.subs.__globals__['__builtins__']['__import__']('os').system('touch {marker}')",
        "9**9**9",
        "9**9**9*z",
        "exp(exp(exp(exp(9))))*z",
        "(" * 2000 + "z" + ")" * 2000,
        "lambda z: z",
        "[z for z in (1,)]",
        "z if z else 1",
        "open('{marker}', 'w')",
        "z\0",
        "",
        " ",
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.timeout(20)
def test_hostile_formulas_are_refused_and_not_run(text: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    text = text.replace("{marker}", str(marker))
    places: dict[str, dict[str, Any]] = {
        "model.activation": {"model": {"activation": text}},
        "model.scale": {"model": {"scale": text}},
        "model.kink": {"model": {"kink": text}},
        "model.rate.a": {"model": {"rate": {"a": text}}},
        "model.output": {"model": {"kind": "formula", "parameters": ["a"], "output": text}},
        "loss.kind": {"loss": {"kind": text}},
        "loss.factor": {"loss": {"factor": text}},
        "loss.weight_decay": {"loss": {"weight_decay": text}},
        "data.x[0][0]": {"data": {"x": [[text]], "y": [0]}},
        "data.target": {"data": {"kind": "interval", "lower": 0, "upper": 1, "target": text}},
    }
    for key, tables in places.items():
        message = refused(**tables)
        assert message.startswith(f"study: {key}: found "), message
        assert "\n" not in message
    assert not marker.exists()


def test_a_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = write(tmp_path, 'schema = 1\nname = "demo"\n[model]\nwidht = 3\n')
    with pytest.raises(StudyError) as caught:
        load(str(path))
    assert str(caught.value).startswith(f"{path}: model.widht: found an unknown key; accepted: ")
    assert len(caught.value.faults) == 1
    assert isinstance(caught.value, ValueError)


def test_paths_are_relative_to_the_study(tmp_path: Path) -> None:
    study = load(write(tmp_path, 'schema = 1\nname = "demo"\n'))
    assert study.directory == tmp_path
    assert study == build()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("schema = 1\nname = ", "found invalid TOML (Invalid value (at "),
        ("schema = 1\nname 'a'", "line 2, column 6"),
        ('name = "a"\nname = "b"', "found invalid TOML (Cannot overwrite a value"),
        (
            b'schema = 1\n# \xff\nname = "a"',
            "found the byte 0xff in line 2, which is not UTF-8; accepted: a study file",
        ),
        ("x = " + "[" * 100_000, "found invalid TOML (nested too deeply); accepted: valid TOML"),
        ("schema = " + "1" * 5000, "found invalid TOML (Exceeds the limit"),
        (
            b"#" * (5 * 1024**2 + 1),
            "found more than 5242880 bytes; accepted: a study file (TOML) of at most 5 MB",
        ),
        ("", "schema: found nothing; accepted: 1, the only version supported"),
    ],
    ids=["cut", "syntax", "duplicate key", "not UTF-8", "nested", "huge integer", "huge file", "empty"],
)
def test_a_file_that_is_no_study_is_refused(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(StudyError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    assert load(write(tmp_path, b'\xef\xbb\xbfschema = 1\r\nname = "demo"\r\n')).name == "demo"


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "", "mine.toml")
    with pytest.raises(StudyError, match="no such file; accepted: the path of a study file") as caught:
        load(tmp_path / "mime.toml")
    assert str(caught.value).endswith("Did you mean 'mine.toml'?")
    with pytest.raises(StudyError, match="no such file"):
        load(tmp_path / "absent" / "mine.toml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="found a directory; accepted: the path of a study file"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_a_path_that_cannot_be_a_file_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        load(name)


@pytest.mark.parametrize("name", ["iris", "irsi.toml", "Iris.TOML"])
def test_a_missing_file_named_like_a_shipped_study_is_pointed_to_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        load(tmp_path / name)
    assert str(caught.value).endswith(f"The shipped study 'iris' is {shipped_studies()['iris']}")


def test_a_content_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(StudyError, match="study: found 3; accepted: a mapping of tables"):
        study_from_mapping(3)  # type: ignore[arg-type]


def test_a_study_is_frozen() -> None:
    study = build()
    with pytest.raises(AttributeError):
        study.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        study.model.width = 3


def test_overrides_are_checked_like_a_file() -> None:
    study = build()
    assert study.with_overrides(seed=7).landscape.seed == 7
    assert study.with_overrides(starts=5).landscape.starts == 5
    assert study.with_overrides() == study
    assert study.landscape.seed == 0
    with pytest.raises(StudyError, match=r"study: landscape\.seed: found -1; accepted: an integer from 0 to"):
        study.with_overrides(seed=-1)


def test_widths_of_the_landscape_are_sorted_and_unique() -> None:
    assert build(landscape={"widths": [3, 1, 3, 2]}).landscape.widths == (1, 2, 3)


@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        ({}, "a w b"),
        ({"input_bias": False, "output_bias": True}, "a w c"),
        ({"output_bias": True}, "a w b c"),
        ({"kind": "deep", "widths": [4, 3]}, "W1 b1 W2 b2 W3"),
        ({"kind": "deep", "widths": [4], "input_bias": False, "output_bias": True}, "W1 W2 b2"),
        ({"kind": "formula", "output": "u*x + v", "parameters": ["v", "u"]}, "v u"),
    ],
)
def test_blocks_follow_the_flat_order(model: dict[str, Any], blocks: str) -> None:
    assert build(model=model).model.blocks == tuple(blocks.split())


def test_a_rate_not_stated_is_one() -> None:
    model = build(model={"rate": {"a": 0.5}}).model
    assert (model.rate_of("a"), model.rate_of("w")) == ("0.5", "1")


def test_shipped_studies_load_and_keep_their_names() -> None:
    shipped = shipped_studies()
    assert set(shipped) >= {"five-points", "iris", "tanh-1d"}
    for name, path in shipped.items():
        study = load(path)
        assert study.name == name
        assert study.path == path
        assert study_from_mapping(study.to_dict()) == study


def test_the_shipped_settings() -> None:
    shipped = shipped_studies()
    iris, line = load(shipped["iris"]), load(shipped["tanh-1d"])
    assert iris.title == "Iris: a 4-m-3 tanh network"
    assert iris.model.blocks == ("a", "w", "b", "c")
    assert (iris.landscape.widths, iris.landscape.starts, iris.landscape.seed) == ((1, 2), 400, 0)
    assert line.model.blocks == ("a", "w", "b")
    assert (line.landscape.widths, line.landscape.starts, line.landscape.seed) == ((1, 2, 3), 2000, 0)


def test_importing_and_loading_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(shipped_studies()["five-points"]).to_toml()


def test_families_of_activations_take_their_arguments_and_say_what_they_take() -> None:
    study = build(model={"activation": "leaky_relu(1/10)"})
    assert study.model.activation == "leaky_relu(1/10)"  # type: ignore[union-attr]
    assert tomllib.loads(study.to_toml())["model"]["activation"] == "leaky_relu(1/10)"
    text = refused(model={"activation": "leaky_relu(1/0)"})
    assert "leaky_relu(g) takes one number g" in text
    assert "divides by zero" in text
