"""Data of a study as exact numbers: arrays, CSV files, intervals and Gaussian populations.

Decimals are read as the rational numbers they spell (``0.1`` is 1/10): a derivation with data stays exact.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.csv_table import one_hot, read_table, standardized
from workbench.errors import (
    Refusal,
    StudyError,
    check_line,
    check_number,
    describe,
    exact_number,
    fault,
    parsed,
    unknown_name,
)
from workbench.teacher import check_inputs, output_count, teacher_of

if TYPE_CHECKING:
    from sympy import Expr, Symbol

    from derivations.teacher import Teacher
    from workbench.study_tables import DataTable, TeacherTable

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

SYMBOLIC_COORDINATES = 16  # x[0] ... x[15] may stand in a target whose dimension is left symbolic
_BY_TEACHER = ", targets from a teacher"


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
    teacher : Teacher or None
        The network whose outputs y are.
    """

    x: tuple[tuple[Expr, ...], ...]
    y: tuple[tuple[Expr, ...], ...]
    scalar_output: bool
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    source: str
    sha256: str
    teacher: Teacher | None = None

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
        return [list(row) for row in self._y_float]

    @cached_property
    def _y_float(self) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(_to_float(value) for value in row) for row in self.y)


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
        return _from_arrays(data.x, data.y, data.teacher)
    if data.kind == "file":
        path = Path(base_directory) / data.file
        return _from_file(path, data.inputs, data.target, data.standardize, data.teacher)
    if data.kind == "interval":
        lower, upper = exact_number(data.lower), exact_number(data.upper)
        (x,), target = _target(data.target, data.teacher, 1)
        return IntervalDensity(lower, upper, x, target)
    from sympy import Integer, Symbol

    symbols, target = _target(data.target, data.teacher, data.dimension)
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
    from derivations.formula import parse_formula

    x = _coordinates(dimension)
    names = {"x": x[0] if dimension == 1 else x}
    what = "a formula in x" if dimension == 1 else "a formula in x[0], x[1], ..."
    return x, parsed(text, what, lambda formula: parse_formula(formula, names), at="target")[1]


def _coordinates(dimension: int | str) -> tuple[Symbol, ...]:
    from sympy import Symbol

    if dimension == 1:
        return (Symbol("x", real=True),)
    count = SYMBOLIC_COORDINATES if isinstance(dimension, str) else dimension
    return tuple(Symbol(f"x_{j}", real=True) for j in range(count))


def _target(
    text: str | None, teacher: TeacherTable | None, dimension: int | str
) -> tuple[tuple[Symbol, ...], Expr]:
    """Return the coordinates and the target as an expression, given as a formula or by a teacher.

    A teacher of fewer inputs than coordinates has weight 0 on the others.
    """
    if teacher is None:
        return parse_target(text, dimension)
    x, network = _coordinates(dimension), teacher_of(teacher)
    return x, network.outputs([x[: network.inputs]])[0][0]


def _to_float(number: Expr) -> float:
    if number.is_Rational:
        return number.p / number.q  # correctly rounded
    return float(number.evalf(30))  # 30 digits before rounding; outputs of a teacher are sums that may cancel


def _taught(
    table: TeacherTable, inputs: tuple[tuple[Expr, ...], ...], file: object = "study"
) -> tuple[Teacher, tuple[tuple[Expr, ...], ...]]:
    """Return the teacher and its exact outputs, which must be finite real numbers."""
    teacher = teacher_of(table)
    outputs = teacher.outputs(inputs)
    for i, row in enumerate(outputs):
        for value in row:
            rough = value.evalf(15)
            if not (rough.is_Float or rough.is_Rational) or not math.isfinite(float(rough)):
                found = f"the output {rough} at sample {i + 1}"
                raise StudyError(
                    fault(file, "data.teacher", Refusal(found, "finite real outputs at every x"))
                )
    return teacher, outputs


def _from_arrays(
    x: Sequence[Sequence[object]], y: Sequence[object] | None, table: TeacherTable | None = None
) -> Dataset:
    inputs = tuple(tuple(map(exact_number, row)) for row in x)
    teacher = None
    if table is not None:
        teacher, outputs = _taught(table, inputs)
        scalar = output_count(table) is None
    else:
        given = y or ()
        check_shapes(x, given)
        scalar = not isinstance(given[0], tuple)
        outputs = tuple(tuple(map(exact_number, u if isinstance(u, tuple) else (u,))) for u in given)
    text = json.dumps([[[str(value) for value in row] for row in array] for array in (inputs, outputs)])
    return Dataset(
        x=inputs,
        y=outputs,
        scalar_output=scalar,
        input_names=_numbered("x", len(inputs[0])),
        output_names=("y",) if scalar else _numbered("y", len(outputs[0])),
        source="arrays in the study" + _BY_TEACHER * (teacher is not None),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        teacher=teacher,
    )


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}{j}" for j in range(1, count + 1))


def _from_file(
    path: Path,
    inputs: tuple[str, ...] | None,
    target: str | tuple[str, ...] | None,
    standardize: bool,
    taught: TeacherTable | None = None,
) -> Dataset:
    table = read_table(path)
    targets = (target,) if isinstance(target, str) else target or ()
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
        columns.append(map(exact_number, standardized(path, name, values) if standardize else values))
    x = tuple(zip(*columns, strict=True))
    source = path.name + (", inputs standardized" if standardize else "")
    if taught is not None:
        try:
            check_inputs(taught, len(inputs))
        except Refusal as refusal:
            raise StudyError(fault(path, "data", refusal)) from None
        teacher, y = _taught(taught, x, path)
        names = ("y",) if output_count(taught) is None else _numbered("y", len(y[0]))
        content = table.sha256 + taught.model_dump_json()
        return Dataset(
            x=x,
            y=y,
            scalar_output=output_count(taught) is None,
            input_names=inputs,
            output_names=names,
            source=source + _BY_TEACHER,
            sha256=hashlib.sha256(content.encode()).hexdigest(),
            teacher=teacher,
        )
    if isinstance(target, str) and table.is_text(target):
        output_names, outputs = one_hot(table, target)
    else:
        output_names = targets
        outputs = [[exact_number(value) for value in table.numbers(name)] for name in targets]
    return Dataset(
        x=x,
        y=tuple(zip(*outputs, strict=True)),
        scalar_output=isinstance(target, str) and output_names == (target,),
        input_names=inputs,
        output_names=output_names,
        source=source,
        sha256=table.sha256,
    )
