"""CSV files of data: a header of names, columns of numbers or of class names, every fault with its line and column.

>>> one_hot(CsvTable(Path("a.csv"), {"kind": ["b", "a", "b"]}, [2, 3, 4], ""), "kind")
(('a', 'b'), [[0, 1, 0], [1, 0, 1]])
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import Refusal, StudyError, describe, exact_number, fault, read_text

if TYPE_CHECKING:
    from sympy import Expr

__all__ = ["CsvTable", "one_hot", "read_table", "standardized"]

CSV_BYTES = 64 * 1024**2
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MISSING = {"", "nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}


@dataclass(frozen=True)
class CsvTable:
    """The cells of a file by column, the line of each row, and the SHA-256 of the bytes."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    sha256: str

    def fault(self, line: int, column: str, found: str, accepted: str) -> StudyError:
        """Return the refusal of one cell."""
        return StudyError(fault(self.path, f"line {line}, column {column!r}", Refusal(found, accepted)))

    def is_text(self, name: str) -> bool:
        """Say whether no cell is a number: a column with some numbers is numeric, its other cells faults."""
        return not any(NUMBER.fullmatch(cell) for cell in self.columns[name])

    def texts(self, name: str) -> list[str]:
        """Return a column of class names."""
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


def read_table(path: Path) -> CsvTable:
    """Read a file; a malformed one is refused with the line."""
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
    return CsvTable(path, columns, [line for line, _ in rows], hashlib.sha256(content).hexdigest())


def standardized(path: Path, name: str, values: list[float]) -> list[float]:
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


def one_hot(table: CsvTable, target: str) -> tuple[tuple[str, ...], list[list[Expr]]]:
    """Return the classes of a text column in alphabetical order, and the indicator of each, (n,)."""
    texts = table.texts(target)
    classes = tuple(sorted(set(texts)))
    if len(classes) < 2:
        refusal = Refusal(f"one class only, {classes[0]!r}", "a column with at least two classes")
        raise StudyError(fault(table.path, "data.target", refusal))
    return classes, [[exact_number(int(text == name)) for text in texts] for name in classes]
