"""Data of a study as exact numbers: arrays, CSV files, intervals and Gaussian populations.

Decimals are read as the rational numbers they spell (``0.1`` is 1/10): a derivation with data stays exact.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import (
    Refusal,
    StudyError,
    check_line,
    check_number,
    describe,
    exact_number,
    fault,
    parsed,
    read_text,
    unknown_name,
)

if TYPE_CHECKING:
    from sympy import Expr, Symbol

    from workbench.study import DataTable

__all__ = [
    "Dataset",
    "GaussianPopulation",
    "IntervalDensity",
    "check_columns",
    "check_dimension",
    "check_entry",
    "check_row",
    "check_shapes",
    "load_dataset",
    "parse_target",
]

CSV_BYTES = 64 * 1024**2
SYMBOLIC_COORDINATES = 16  # x[0] ... x[15] may stand in a target whose dimension is left symbolic
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MISSING = {"", "nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}


@dataclass(frozen=True)
class Dataset:
    """n samples with exact entries.

    Attributes
    ----------
    x : tuple
        n rows of d SymPy numbers.
    y : tuple
        n rows of o SymPy numbers; o is 1 where the study gives y as (n,).
    scalar_output : bool
        Whether y is (n,) and not (n, o).
    input_names, output_names : tuple of str
        d and o names, for tables and figures.
    source : str
        Where the numbers come from, and what was done to them.
    sha256 : str
        Of the bytes of the file; for arrays of the exact numbers written as JSON.
    """

    x: tuple[tuple[Expr, ...], ...]
    y: tuple[tuple[Expr, ...], ...]
    scalar_output: bool
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    source: str
    sha256: str

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.x)

    @property
    def d(self) -> int:
        """Number of inputs."""
        return len(self.x[0])

    @property
    def o(self) -> int:
        """Number of outputs."""
        return len(self.y[0])

    def x_float(self) -> list[list[float]]:
        """Return x as an (n, d) nested list of floats."""
        return [[_to_float(value) for value in row] for row in self.x]

    def y_float(self) -> list[list[float]]:
        """Return y as an (n, o) nested list of floats, also where y is (n,)."""
        return [[_to_float(value) for value in row] for row in self.y]


@dataclass(frozen=True)
class IntervalDensity:
    """Inputs that fill ``[lower, upper]`` with density 1 (d = 1): the risk is an exact integral over x."""

    lower: Expr
    upper: Expr
    x: Symbol
    target: Expr


@dataclass(frozen=True)
class GaussianPopulation:
    """Standard Gaussian inputs in ``dimension`` coordinates; ``target`` is a formula in the symbols ``x``.

    A symbolic dimension is the symbol d; then ``x`` holds 16 coordinates and d exceeds every index used.
    """

    dimension: Expr
    x: tuple[Symbol, ...]
    target: Expr


def load_dataset(
    data: DataTable | None, base_directory: str | Path = "."
) -> Dataset | IntervalDensity | GaussianPopulation | None:
    """Read the data table of a study.

    Parameters
    ----------
    data : table of a study, or None
        ``study.data``.
    base_directory : path
        What a relative ``file`` is relative to: the directory of the study file.

    Returns
    -------
    Dataset, IntervalDensity, GaussianPopulation or None
        None for None: the data stay symbolic.

    Raises
    ------
    StudyError
        If a file is missing or malformed: names the file, the line and the column.
    """
    if data is None:
        return None
    if data.kind == "arrays":
        return _from_arrays(data.x, data.y)
    if data.kind == "file":
        return _from_file(Path(base_directory) / data.file, data.inputs, data.target, data.standardize)
    if data.kind == "interval":
        lower, upper = exact_number(data.lower), exact_number(data.upper)
        (x,), target = parse_target(data.target, 1)
        return IntervalDensity(lower, upper, x, target)
    from sympy import Integer, Symbol

    symbols, target = parse_target(data.target, data.dimension)
    symbolic = isinstance(data.dimension, str)
    dimension = Symbol(data.dimension, integer=True, positive=True) if symbolic else Integer(data.dimension)
    return GaussianPopulation(dimension, symbols, target)


def check_columns(value: object) -> str | tuple[str, ...]:
    """Return a column name, or an array of column names as a tuple."""
    if isinstance(value, (list, tuple)) and value:
        return tuple(check_line(name, what="a column name") for name in value)
    return check_line(value, what="a column name, or an array of column names")


def check_dimension(value: object) -> int | str:
    """Return an integer from 1 to 1000, or ``"d"``."""
    if value != "d" and (type(value) is not int or not 1 <= value <= 1000):
        raise Refusal(describe(value), 'an integer from 1 to 1000, or "d"')
    return value  # type: ignore[return-value]


def check_row(value: object) -> tuple[Any, ...]:
    """Return an array of numbers as a tuple."""
    if not isinstance(value, (list, tuple)):
        raise Refusal(describe(value), "a row of d numbers, as in x = [[-1.0], [0.5]]")
    return tuple(check_number(number, at=f"[{j}]") for j, number in enumerate(value))


def check_entry(value: object) -> Any:
    """Return a number as it is, or an array of numbers as a tuple."""
    return check_row(value) if isinstance(value, (list, tuple)) else check_number(value)


def check_shapes(x: Sequence[Sequence[object]], y: Sequence[object]) -> None:
    """Check that x is (n, d) and y is (n,) or (n, o), with n, d and o at least 1; else raise `Refusal`."""
    if not x:
        raise Refusal("an empty array", "n rows of d numbers, n at least 1", at="x")
    if y and any(isinstance(entry, tuple) != isinstance(y[0], tuple) for entry in y):
        raise Refusal("numbers and rows mixed", "n numbers, or n rows of o numbers", at="y")
    for name, rows in [("x", x), ("y", [row for row in y if isinstance(row, tuple)])]:
        for i, row in enumerate(rows):
            if not row or len(row) != len(rows[0]):
                found = f"a row of length {len(row)}, where {name}[0] has length {len(rows[0])}"
                raise Refusal(found, "rows of one length, at least 1", at=f"{name}[{i}]")
    if len(x) != len(y):
        shape = f"({len(y)}, {len(y[0])})" if y and isinstance(y[0], tuple) else f"({len(y)},)"
        found = f"x of shape ({len(x)}, {len(x[0])}) and y of shape {shape}"
        raise Refusal(found, "as many rows in x as entries in y")


def parse_target(text: object, dimension: int | str) -> tuple[tuple[Symbol, ...], Expr]:
    """Parse a target: a formula in x, and in the coordinates ``x[0]``, ``x[1]``, ... of a vector x.

    Parameters
    ----------
    text : str
        The formula.
    dimension : int or str
        Number of coordinates; a string leaves it symbolic.

    Returns
    -------
    tuple
        The symbols of the coordinates, and the target as an expression in them.

    Raises
    ------
    Refusal
        If the formula is refused.
    """
    from sympy import Symbol

    from derivations.formula import parse_formula

    if dimension == 1:
        x: tuple[Symbol, ...] = (Symbol("x", real=True),)
    else:
        count = SYMBOLIC_COORDINATES if isinstance(dimension, str) else dimension
        x = tuple(Symbol(f"x_{j}", real=True) for j in range(count))
    names = {"x": x[0] if dimension == 1 else x}
    what = "a formula in x" if dimension == 1 else "a formula in x[0], x[1], ..."
    return x, parsed(text, what, lambda formula: parse_formula(formula, names), at="target")[1]


def _to_float(number: Expr) -> float:
    return number.p / number.q if number.is_Rational else float(number)  # the quotient is correctly rounded


def _from_arrays(x: Sequence[Sequence[object]], y: Sequence[object]) -> Dataset:
    check_shapes(x, y)
    scalar = not isinstance(y[0], tuple)
    inputs = tuple(tuple(map(exact_number, row)) for row in x)
    outputs = tuple(tuple(map(exact_number, row if isinstance(row, tuple) else (row,))) for row in y)
    text = json.dumps([[[str(value) for value in row] for row in array] for array in (inputs, outputs)])
    return Dataset(
        x=inputs,
        y=outputs,
        scalar_output=scalar,
        input_names=_numbered("x", len(inputs[0])),
        output_names=("y",) if scalar else _numbered("y", len(outputs[0])),
        source="arrays in the study",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}{j}" for j in range(1, count + 1))


@dataclass(frozen=True)
class _Table:
    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    sha256: str

    def fault(self, line: int, column: str, found: str, accepted: str) -> StudyError:
        return StudyError(fault(self.path, f"line {line}, column {column!r}", Refusal(found, accepted)))

    def is_text(self, name: str) -> bool:
        """Say whether no cell is a number: a column with some numbers is numeric, its other cells faults."""
        return not any(NUMBER.fullmatch(cell) for cell in self.columns[name])

    def texts(self, name: str) -> list[str]:
        for line, cell in zip(self.lines, self.columns[name], strict=True):
            if cell.casefold() in MISSING:
                raise self.fault(line, name, repr(cell) if cell else "an empty cell", "a class name")
        return self.columns[name]

    def numbers(self, name: str) -> list[float]:
        """Read a column as float64; an exact value is the shortest decimal of each."""
        for line, cell in zip(self.lines, self.columns[name], strict=True):
            if not NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
                found = describe(cell) if cell else "an empty cell"
                raise self.fault(line, name, found, "a finite decimal number")
        return [float(cell) for cell in self.columns[name]]


def _read_table(path: Path) -> _Table:
    text, content = read_text(path, limit=CSV_BYTES, what="a CSV file", key="data.file")

    def refuse(line: int, found: str, accepted: str) -> StudyError:
        return StudyError(fault(path, f"line {line}", Refusal(found, accepted)))

    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        records = [(reader.line_num, [cell.strip() for cell in record]) for record in reader if record]
    except csv.Error as error:
        raise refuse(reader.line_num, f"malformed CSV ({error})", "comma-separated values") from None
    if not records:
        raise refuse(1, "an empty file", "a header naming the columns, and rows below it")
    (first, names), rows = records[0], records[1:]
    if len(names) == 1:
        raise refuse(first, f"a single column {describe(names[0])}", "comma-separated columns, at least two")
    if "" in names or all(NUMBER.fullmatch(name) for name in names):
        found = "a column without a name" if "" in names else "numbers and no header"
        raise refuse(first, found, "a header that names every column")
    for name in names:
        if names.count(name) > 1:
            raise refuse(first, f"{names.count(name)} columns named {name!r}", "a header of different names")
    for line, cells in rows:
        if len(cells) != len(names):
            raise refuse(line, f"{len(cells)} cells", f"{len(names)} cells, as in the header")
    if not rows:
        raise refuse(first, "no rows below the header", "at least one row of data")
    columns = {name: [cells[j] for _, cells in rows] for j, name in enumerate(names)}
    return _Table(path, columns, [line for line, _ in rows], hashlib.sha256(content).hexdigest())


def _from_file(
    path: Path, inputs: tuple[str, ...] | None, target: str | tuple[str, ...], standardize: bool
) -> Dataset:
    table = _read_table(path)
    targets = (target,) if isinstance(target, str) else target
    for key, chosen in [("data.inputs", inputs or ()), ("data.target", targets)]:
        for name in chosen:
            if name not in table.columns:
                raise StudyError(fault(path, key, unknown_name(name, table.columns, "a column")))
    if inputs is None:
        inputs = tuple(name for name in table.columns if name not in targets and not table.is_text(name))
        if not inputs:
            refusal = Refusal("no numeric column besides the target", "at least one numeric column")
            raise StudyError(fault(path, "data.inputs", refusal))
    columns = []
    for name in inputs:
        values = table.numbers(name)
        columns.append(map(exact_number, _standardized(path, name, values) if standardize else values))
    if isinstance(target, str) and table.is_text(target):
        output_names, outputs = _one_hot(table, target)
    else:
        output_names = targets
        outputs = [[exact_number(value) for value in table.numbers(name)] for name in targets]
    return Dataset(
        x=tuple(zip(*columns, strict=True)),
        y=tuple(zip(*outputs, strict=True)),
        scalar_output=isinstance(target, str) and output_names == (target,),
        input_names=inputs,
        output_names=output_names,
        source=path.name + (", inputs standardized" if standardize else ""),
        sha256=table.sha256,
    )


def _standardized(path: Path, name: str, values: list[float]) -> list[float]:
    """Shift and scale to mean 0 and population standard deviation 1 (ddof = 0), in float64."""
    if min(values) == max(values):
        refusal = Refusal(f"a constant column {name!r}", "columns that vary, where standardize = true")
        raise StudyError(fault(path, "data.standardize", refusal))
    try:
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        return [(value - mean) / deviation for value in values]
    except (OverflowError, ZeroDivisionError):
        refusal = Refusal(f"column {name!r}, {min(values)} to {max(values)}", "a spread float64 can square")
        raise StudyError(fault(path, "data.standardize", refusal)) from None


def _one_hot(table: _Table, target: str) -> tuple[tuple[str, ...], list[list[Expr]]]:
    texts = table.texts(target)
    classes = tuple(sorted(set(texts)))
    if len(classes) < 2:
        refusal = Refusal(f"one class only, {classes[0]!r}", "a column with at least two classes")
        raise StudyError(fault(table.path, "data.target", refusal))
    return classes, [[exact_number(int(text == name)) for text in texts] for name in classes]
