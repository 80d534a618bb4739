from __future__ import annotations

import hashlib
import math
import statistics
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Integer, Rational, Symbol, sqrt

from workbench.data import Dataset, GaussianPopulation, IntervalDensity, load_dataset
from workbench.errors import StudyError
from workbench.study import load, shipped_studies, study_from_mapping

IRIS_SHA256 = "9cc1c345c71bcc9b486b74cbf6063fa66f4bb5e0f603a4b3c3471ec2e5e8e355"


def read(data: dict[str, Any], directory: Path = Path()) -> Any:
    return load_dataset(study_from_mapping({"schema": 1, "name": "demo", "data": data}).data, directory)


def read_csv(directory: Path, text: str | bytes, **data: Any) -> Dataset:
    (directory / "table.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read({"file": "table.csv", "target": "y"} | data, directory)


def test_no_data_stay_symbolic() -> None:
    assert load_dataset(None) is None


def test_arrays_are_exact() -> None:
    data = read({"x": [[0.1, "1/3"], [-2, "sqrt(2)/2"], [1e-7, 3]], "y": [1, "-2/5", 0.5]})
    assert data.x[0] == (Rational(1, 10), Rational(1, 3))
    assert data.x[1] == (Integer(-2), sqrt(2) / 2)
    assert data.y == ((Integer(1),), (Rational(-2, 5),), (Rational(1, 2),))
    assert (data.n, data.d, data.o, data.scalar_output) == (3, 2, 1, True)
    assert (data.input_names, data.output_names) == (("x1", "x2"), ("y",))
    assert data.x_float()[1] == [-2.0, math.sqrt(2) / 2]
    assert data.y_float() == [[1.0], [-0.4], [0.5]]
    assert data.source == "arrays in the study"


def test_rows_as_targets_are_a_vector_output() -> None:
    data = read({"x": [[1], [2]], "y": [[1], [2]]})
    assert (data.o, data.scalar_output, data.output_names) == (1, False, ("y1",))
    assert read({"x": [[1]], "y": [[1, 2]]}).output_names == ("y1", "y2")


def test_the_digest_tells_equal_numbers_apart_from_others() -> None:
    first, same, other = (read({"x": [[x]], "y": [1]}).sha256 for x in (0.5, "1/2", 0.25))
    assert first == same != other
    assert len(first) == 64


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e250, 1e250).filter(lambda v: v == 0 or abs(v) > 1e-250), min_size=1, max_size=6))
def test_floats_keep_their_value_and_their_shortest_decimal(values: list[float]) -> None:
    data = read({"x": [[value] for value in values], "y": values})
    assert data.x_float() == [[value] for value in values]
    for (number,), value in zip(data.x, values, strict=True):
        assert Fraction(int(number.p), int(number.q)) == Fraction(repr(value))


def test_a_csv_file_is_read_exactly(tmp_path: Path) -> None:
    text = "u,name,v,y\n0.1,a,1e-3,1\n\n-2,b,.5,2.50\n"
    data = read_csv(tmp_path, text)
    assert data.x == ((Rational(1, 10), Rational(1, 1000)), (Integer(-2), Rational(1, 2)))
    assert data.y == ((Integer(1),), (Rational(5, 2),))
    assert data.scalar_output
    assert (data.input_names, data.output_names) == (("u", "v"), ("y",))
    assert data.source == "table.csv"
    assert data.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_inputs_keep_the_order_asked_for(tmp_path: Path) -> None:
    data = read_csv(tmp_path, "u,v,y\n1,2,3\n", inputs=["v", "u"])
    assert data.x == ((2, 1),)
    assert data.input_names == ("v", "u")


def test_several_targets_are_a_vector_output(tmp_path: Path) -> None:
    data = read_csv(tmp_path, "u,v,w\n1,2,3\n4,5,6\n", target=["w", "v"])
    assert data.y == ((3, 2), (6, 5))
    assert (data.output_names, data.input_names, data.scalar_output) == (("w", "v"), ("u",), False)
    assert not read_csv(tmp_path, "u,v\n1,2\n", target=["v"]).scalar_output


def test_classes_become_indicators_in_sorted_order(tmp_path: Path) -> None:
    data = read_csv(tmp_path, "u,y\n1,red\n2,blue\n3,red\n")
    assert data.output_names == ("blue", "red")
    assert data.y == ((0, 1), (1, 0), (0, 1))
    assert not data.scalar_output


def test_quotes_spaces_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    data = read_csv(tmp_path, b'\xef\xbb\xbf"u, in cm", y\r\n 1 ,"a b"\r\n2,c\r\n')
    assert data.input_names == ("u, in cm",)
    assert data.output_names == ("a b", "c")


def test_standardized_columns_have_mean_0_and_population_deviation_1(tmp_path: Path) -> None:
    values = [1.0, 2.0, 4.0, 7.5]
    text = "u,v,y\n" + "".join(f"{value},{3 - value / 8},{value}\n" for value in values)
    data = read_csv(tmp_path, text, standardize=True)
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    for row, value in zip(data.x_float(), values, strict=True):
        assert row[0] == pytest.approx((value - mean) / deviation, rel=1e-14)
        assert row[1] == pytest.approx(-row[0], rel=1e-14)
    for row, floats in zip(data.x, data.x_float(), strict=True):
        assert [Fraction(int(number.p), int(number.q)) for number in row] == [
            Fraction(repr(v)) for v in floats
        ]
    assert data.y_float() == [[value] for value in values]
    assert data.source == "table.csv, inputs standardized"


REFUSED: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    # case: (file, further keys, the message after the path)
    "empty": (
        "",
        {},
        "line 1: found an empty file; accepted: a header naming the columns, and rows below it",
    ),
    "no rows": ("u,y\n", {}, "line 1: found no rows below the header; accepted: at least one row of data"),
    "no header": (
        "1,2\n3,4\n",
        {},
        "line 1: found numbers and no header; accepted: a header that names every column",
    ),
    "unnamed column": (
        "u,,y\n1,2,3\n",
        {},
        "line 1: found a column without a name; accepted: a header that names",
    ),
    "duplicate column": (
        "u,y,u\n1,2,3\n",
        {},
        "line 1: found 2 columns named 'u'; accepted: a header of different",
    ),
    "semicolons": (
        "u;y\n1;2\n",
        {},
        "line 1: found a single column 'u;y'; accepted: comma-separated columns, at lea",
    ),
    "short row": ("u,y\n1,2\n\n3\n", {}, "line 4: found 1 cells; accepted: 2 cells, as in the header"),
    "long row": ("u,y\n1,2,3\n", {}, "line 2: found 3 cells; accepted: 2 cells, as in the header"),
    "nan": ("u,y\n1,2\nnan,3\n", {}, "line 3, column 'u': found 'nan'; accepted: a finite decimal number"),
    "infinite": (
        "u,y\n1,2\n3,-inf\n",
        {},
        "line 3, column 'y': found '-inf'; accepted: a finite decimal number",
    ),
    "beyond float64": (
        "u,y\n1e999,2\n",
        {},
        "line 2, column 'u': found '1e999'; accepted: a finite decimal number",
    ),
    "empty cell": (
        "u,y\n1,2\n,3\n",
        {},
        "line 3, column 'u': found an empty cell; accepted: a finite decimal number",
    ),
    "word among numbers": (
        "u,y\n1,2\nx,3\n",
        {},
        "line 3, column 'u': found 'x'; accepted: a finite decimal number",
    ),
    "underscore": (
        "u,y\n1,2\n1_0,3\n",
        {},
        "line 3, column 'u': found '1_0'; accepted: a finite decimal number",
    ),
    "empty class": ("u,y\n1,a\n2, \n", {}, "line 3, column 'y': found an empty cell; accepted: a class name"),
    "class nan": ("u,y\n1,a\n2,NaN\n", {}, "line 3, column 'y': found 'NaN'; accepted: a class name"),
    "one class": (
        "u,y\n1,a\n2,a\n",
        {},
        "data.target: found one class only, 'a'; accepted: a column with at least",
    ),
    "text as input": (
        "u,y\na,1\n",
        {"inputs": ["u"]},
        "line 2, column 'u': found 'a'; accepted: a finite decimal",
    ),
    "text among targets": (
        "u,v,y\n1,2,a\n",
        {"target": ["v", "y"]},
        "line 2, column 'y': found 'a'; accepted: a fini",
    ),
    "unknown target": (
        "u,species\n1,2\n",
        {"target": "speces"},
        "data.target: found 'speces'; accepted: a column (u, species). Did you mean 'species'?",
    ),
    "unknown input": (
        "uu,y\n1,2\n",
        {"inputs": ["Uv"]},
        "data.inputs: found 'Uv'; accepted: a column (uu, y)",
    ),
    "no numeric input": (
        "u,y\na,1\n",
        {},
        "data.inputs: found no numeric column besides the target; accepted: at",
    ),
    "constant column": (
        "u,y\n1,2\n1,3\n",
        {"standardize": True},
        "data.standardize: found a constant column 'u'; accepted: columns that vary, "
        "where standardize = true",
    ),
    "spread beyond float64": (
        "u,y\n1e200,2\n-1e200,3\n",
        {"standardize": True},
        "data.standardize: found column 'u', -1e+200 to 1e+200; accepted: a spread float64 can square",
    ),
    "not UTF-8": (
        b"u,y\n1,\xe9\n",
        {},
        "data.file: found the byte 0xe9 in line 2, which is not UTF-8; accepted: a CSV",
    ),
    "open quote": (
        'u,y\n1,"2\n',
        {},
        "line 2: found malformed CSV (unexpected end of data); accepted: comma-separat",
    ),
}


@pytest.mark.parametrize(("content", "keys", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_malformed_table_is_told_by_line_and_column(
    content: str | bytes, keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(StudyError) as caught:
        read_csv(tmp_path, content, **keys)
    assert str(caught.value).startswith(f"{tmp_path / 'table.csv'}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("u,y\n1,2\n")
    with pytest.raises(StudyError) as caught:
        read({"file": "tabel.csv", "target": "y"}, tmp_path)
    path = tmp_path / "tabel.csv"
    accepted = "the path of a CSV file. Did you mean 'table.csv'?"
    assert str(caught.value) == f"{path}: data.file: found no such file; accepted: {accepted}"


def test_a_directory_as_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data\.file: found a directory; accepted: the path of a CSV file"):
        read({"file": ".", "target": "y"}, tmp_path)


def test_an_interval_is_exact() -> None:
    data = read({"kind": "interval", "lower": -0.5, "upper": "1/3", "target": "2*x + 0.1"})
    assert isinstance(data, IntervalDensity)
    assert (data.lower, data.upper) == (Rational(-1, 2), Rational(1, 3))
    assert data.x == Symbol("x", real=True)
    assert data.target == 2 * data.x + Rational(1, 10)


def test_a_gaussian_population_keeps_its_dimension_symbolic() -> None:
    data = read({"kind": "gaussian", "dimension": "d", "target": "He3(x[0]) + x[1]"})
    assert isinstance(data, GaussianPopulation)
    assert data.dimension == Symbol("d", integer=True, positive=True)
    assert (data.target - (data.x[0] ** 3 - 3 * data.x[0] + data.x[1])).expand() == 0


def test_a_gaussian_population_of_stated_dimension() -> None:
    data = read({"kind": "gaussian", "dimension": 3, "target": "x[0]*x[2]"})
    assert data.dimension == 3
    assert data.target == data.x[0] * data.x[2]
    assert len(data.x) == 3
    line = read({"kind": "gaussian", "dimension": 1, "target": "x**2"})
    assert line.target == line.x[0] ** 2


def iris() -> tuple[Dataset, Dataset]:
    study = load(shipped_studies()["iris"])
    assert study.data is not None
    standardized = load_dataset(study.data, study.directory)
    plain = load_dataset(study.data.model_copy(update={"standardize": False}), study.directory)
    assert isinstance(standardized, Dataset)
    assert isinstance(plain, Dataset)
    return standardized, plain


def test_the_iris_table_is_the_published_one() -> None:
    _, data = iris()
    assert (data.n, data.d, data.o) == (150, 4, 3)
    assert data.input_names == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    assert data.output_names == ("setosa", "versicolor", "virginica")
    assert [sum(row[j] for row in data.y) for j in range(3)] == [50, 50, 50]
    means = [math.fsum(column) / 150 for column in zip(*data.x_float(), strict=True)]
    assert means == pytest.approx([5.843333, 3.057333, 3.758, 1.199333], abs=5e-7)
    assert data.x_float()[34] == [4.9, 3.1, 1.5, 0.2]  # Fisher's values, not those of the UCI file
    assert data.x_float()[37] == [4.9, 3.6, 1.4, 0.1]


def test_the_iris_file_is_the_one_described() -> None:
    folder = shipped_studies()["iris"].parent
    content = (folder / "iris.csv").read_bytes()
    assert content.startswith(b"sepal_length,sepal_width,petal_length,petal_width,species\n")
    assert content.count(b"\n") == 151
    assert hashlib.sha256(content).hexdigest() == IRIS_SHA256
    assert IRIS_SHA256 in (folder / "PROVENANCE.md").read_text(encoding="utf-8")
    assert iris()[0].sha256 == IRIS_SHA256


def test_iris_is_standardized() -> None:
    data, _ = iris()
    for column in zip(*data.x_float(), strict=True):
        assert statistics.fmean(column) == pytest.approx(0, abs=1e-14)
        assert statistics.pstdev(column) == pytest.approx(1, rel=1e-14)


def test_the_line_samples_are_the_stated_formula() -> None:
    study = load(shipped_studies()["tanh-1d"])
    data = load_dataset(study.data)
    assert isinstance(data, Dataset)
    assert [x for (x,) in data.x] == [Rational(i, 2) - 5 for i in range(21)]
    for (x,), (y,) in zip(data.x_float(), data.y_float(), strict=True):
        exact = math.tanh(1.5 * (x + 1.5)) + 0.4 * math.tanh(2 * x - 0.5) + 0.6 * math.tanh(1.2 * (x - 1.5))
        assert y == round(exact, 6)
