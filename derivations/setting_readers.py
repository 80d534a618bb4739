r"""How the settings of a result are read from texts: numbers, choices, activations, labelled points.

Each function returns a reader for ``derivations.theorem.Setting``: it takes a text and returns a value, or raises ValueError with the
reason for which the text is not accepted.

>>> integer(1, 9)("4"), exact(above=0)("1/100"), integers(1, 9)("4, 3"), choice("short", "full")("full")
(4, 1/100, (4, 3), 'full')
>>> points({})("2, 1 : 1; -1/2, 0.5 : -1")
LabelledPoints(x=((2, 1), (-1/2, 1/2)), y=(1, -1))
>>> integer(1, 9)("ten")
Traceback (most recent call last):
ValueError: no whole number
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sympy import Expr

from derivations.activations import Activation
from derivations.activations import activation as named_activation
from derivations.errors import nearest
from derivations.exact_lp import exact_sign
from derivations.formula import parse_number

__all__ = [
    "LabelledPoints",
    "TargetPoints",
    "activation",
    "choice",
    "exact",
    "exacts",
    "integer",
    "integers",
    "points",
    "start",
    "targets",
]

_Pairs = list[tuple[list[str], str]]

#: Bytes of a file of points up to which it is read.
MOST_BYTES = 1_000_000
#: Points up to which a set is taken for exact work.
MOST_POINTS = 1000


@dataclass(frozen=True)
class LabelledPoints:
    """Exact data: ``x`` (n, d) and labels ``y`` (n,), each -1 or 1."""

    x: tuple[tuple[Expr, ...], ...]
    y: tuple[int, ...]

    @property
    def signed(self) -> list[list[Expr]]:
        """The y_i x_i, (n, d)."""
        return [[label * u for u in row] for row, label in zip(self.x, self.y, strict=True)]


@dataclass(frozen=True)
class TargetPoints:
    """Exact data: ``x`` (n, d) and real targets ``y`` (n,), rational numbers."""

    x: tuple[tuple[Expr, ...], ...]
    y: tuple[Expr, ...]


def integer(low: int, high: int) -> Callable[[str], int]:
    """Read a whole number from ``low`` to ``high``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("no whole number") from None
        if not low <= value <= high:
            raise ValueError(f"not between {low} and {high}")
        return value

    return read


def integers(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    """Read whole numbers with commas between them."""
    one = integer(low, high)
    return lambda text: tuple(one(part.strip()) for part in text.split(","))


def exact(*, above: int | None = None, up_to: int | None = None) -> Callable[[str], Expr]:
    """Read an exact real number such as ``1/100``, ``0.01`` or ``sqrt(2)``, above a bound and up to another."""

    def read(text: str) -> Expr:
        if not text.strip():
            raise ValueError("a number is missing")
        value = parse_number(text)
        if not (value.is_real and value.is_algebraic):
            raise ValueError("not real and algebraic")
        if above is not None and exact_sign(value - above) <= 0:
            raise ValueError(f"not above {above}")
        if up_to is not None and exact_sign(value - up_to) > 0:
            raise ValueError(f"above {up_to}")
        return value

    return read


def exacts(
    *, above: int | None = None, up_to: int | None = None, least: int = 1, most: int = 10
) -> Callable[[str], tuple[Expr, ...]]:
    """Read exact real numbers with commas between them, ``least`` to ``most`` of them."""
    one = exact(above=above, up_to=up_to)

    def read(text: str) -> tuple[Expr, ...]:
        values = tuple(one(part.strip()) for part in text.split(","))
        if not least <= len(values) <= most:
            raise ValueError(f"{len(values)} numbers, not from {least} to {most}")
        return values

    return read


def choice(*names: str) -> Callable[[str], str]:
    """Read one of the names."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"none of {', '.join(names)}{nearest(text, names).removesuffix('.')}")
        return text

    return read


def start(text: str) -> tuple[Expr, ...] | None:
    """Read a start: None for ``random``, else numbers that are not all 0."""
    if text == "random":
        return None
    values = exacts(most=MOST_POINTS)(text)
    if not any(values):
        raise ValueError("all numbers are 0")
    return values


def activation(text: str) -> Activation:
    """Read a registered activation or a formula in z."""
    return named_activation(text)


def points(shipped: Mapping[str, str]) -> Callable[[str], LabelledPoints]:
    """Read labelled points: the name of a shipped set, a CSV file whose last column is the label, or ``x1, x2 : y; ...``."""

    def read(text: str) -> LabelledPoints:
        x, labels = _checked(_pairs(text, shipped))
        if wrong := [u for u in labels if u not in (-1, 1)]:
            raise ValueError(f"the label {wrong[0]}; labels are -1 or 1")
        return LabelledPoints(x, tuple(int(u) for u in labels))

    return read


def targets(shipped: Mapping[str, str]) -> Callable[[str], TargetPoints]:
    """Read points of at least two inputs with any targets, all rational; the text is as for ``points``."""

    def read(text: str) -> TargetPoints:
        x, y = _checked(_pairs(text, shipped))
        if len(x[0]) < 2:
            raise ValueError(
                "points of 1 input; at least 2 are needed, so add the constant 1 as an input, which is a bias"
            )
        if odd := [u for u in (*(v for row in x for v in row), *y) if not u.is_Rational]:
            raise ValueError(f"the number {odd[0]}, which is not rational")
        return TargetPoints(x, y)

    return read


def _pairs(text: str, shipped: Mapping[str, str]) -> _Pairs:
    """Split a text into inputs and label of each point."""
    if text in shipped:
        return _rows(shipped[text])
    if text.lower().endswith(".csv"):
        return _file(Path(text))
    if ":" not in text:
        raise ValueError(
            f"neither a set ({', '.join(shipped)}) nor a file ending in .csv nor points x1, x2 : y"
        )
    return _rows(text)


def _file(path: Path) -> _Pairs:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"the file has more than {MOST_BYTES} bytes")
        lines = [u for u in path.read_text(encoding="utf-8").splitlines() if u.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file cannot be read: {error}") from None
    cells = [line.split(",") for line in lines]
    if cells and cells[0][0].strip().strip('"').replace(" ", "_").isidentifier():
        cells = cells[1:]  # names of columns
    return [(row[:-1], row[-1]) for row in cells]


def _rows(text: str) -> _Pairs:
    rows = [part for part in text.split(";") if part.strip()]
    pairs = []
    for row in rows:
        inputs, mark, label = row.partition(":")
        if not mark:
            raise ValueError(f"'{row.strip()}' has no label; a point is x1, x2 : y")
        pairs.append((inputs.split(","), label))
    return pairs


def _checked(pairs: _Pairs) -> tuple[tuple[tuple[Expr, ...], ...], tuple[Expr, ...]]:
    """Read the numbers; all points have the same number of inputs."""
    if not 1 <= len(pairs) <= MOST_POINTS:
        raise ValueError(f"{len(pairs)} points, not between 1 and {MOST_POINTS}")
    lengths = {len(inputs) for inputs, _ in pairs}
    if lengths == {0} or len(lengths) > 1:
        raise ValueError(f"points of {sorted(lengths)} inputs; all points have the same number, at least 1")
    read = exact()
    x = tuple(tuple(read(u.strip()) for u in inputs) for inputs, _ in pairs)
    return x, tuple(read(label.strip()) for _, label in pairs)
