r"""A teacher, a student and inputs read from texts: the instance on which the result on local recovery is checked.

The inputs are exact, so that ranks on them are shown by interval arithmetic at an exact point of each branch; a rank that is full at one point
of a branch is full at almost every point, because minors are analytic.

>>> from derivations.activations import activation
>>> given = {"activation": activation("exp"), "teacher": read_teacher("3/2 : 2/5, -3/10"), "width": 2, "inputs": read_inputs("drawn"), "samples": "thresholds"}
>>> minima = minima_of(given)
>>> counts_of(given), [certified_rank(minima, b, points_of(given, 5)) for b in minima.branches]
((3, 4, 5, 7), [3, 4, 4])
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sympy import Add, Expr, Integer, Matrix, Rational

from derivations.activations import Activation, Z
from derivations.errors import AssumptionError
from derivations.global_minima import GlobalMinima, global_minima
from derivations.interval_minors import Rows, enclosed, full_rank
from derivations.neuron_blocks import ZERO
from derivations.problem import Problem
from derivations.recovery_branches import Branch
from derivations.setting_readers import exact, integers
from derivations.teacher import Teacher

__all__ = [
    "Inputs",
    "TeacherNumbers",
    "FOUR",
    "agree",
    "certified_rank",
    "counts_of",
    "is_separating",
    "minima_of",
    "outputs_at",
    "points_of",
    "problem_of",
    "read_four",
    "read_inputs",
    "read_line",
    "read_samples",
    "read_teacher",
    "tangent_rows",
]

Point = tuple[Expr, ...]

#: Standard deviation of drawn inputs; they are rounded to thousandths.
SPREAD, UNIT = 1.2, 1000
#: Neurons of a teacher and coordinates of an input at most.
MOST_NEURONS, MOST_INPUTS, MOST_POINTS = 4, 6, 60
#: Samples at most.
MOST_SAMPLES = 60


@dataclass(frozen=True)
class TeacherNumbers:
    """Output weights and rows of input weights, exact."""

    a: Point
    w: tuple[Point, ...]


@dataclass(frozen=True)
class Inputs:
    """Exact points, or the number of a draw."""

    rows: tuple[Point, ...] = ()
    draw: int = 0


def _rows(text: str) -> tuple[Point, ...]:
    read = exact()
    rows = tuple(tuple(read(u.strip()) for u in part.split(",")) for part in text.split(";") if part.strip())
    if not rows:
        raise ValueError("there is no point")
    if len({len(row) for row in rows}) > 1:
        raise ValueError(
            f"points of {sorted({len(row) for row in rows})} coordinates; all have the same number"
        )
    if len(rows) > MOST_POINTS or len(rows[0]) > MOST_INPUTS:
        raise ValueError(
            f"{len(rows)} points of {len(rows[0])} coordinates; at most {MOST_POINTS} of {MOST_INPUTS}"
        )
    return rows


def read_teacher(text: str) -> TeacherNumbers:
    """Read ``a : w1, w2; ...``, one part for each neuron of the teacher.

    >>> read_teacher("3/2 : 2/5, -0.3")
    TeacherNumbers(a=(3/2,), w=((2/5, -3/10),))
    """
    parts = [part.partition(":") for part in text.split(";") if part.strip()]
    if missing := [a for a, mark, _ in parts if not mark]:
        raise ValueError(f"'{missing[0].strip()}' has no ':' between the output weight and the input weights")
    if not 1 <= len(parts) <= MOST_NEURONS:
        raise ValueError(f"{len(parts)} neurons, not between 1 and {MOST_NEURONS}")
    read = exact()
    rows = _rows("; ".join(w for _, _, w in parts))
    if len(rows) != len(parts):
        raise ValueError("a neuron without input weights")
    return TeacherNumbers(tuple(read(a.strip()) for a, _, _ in parts), rows)


def read_inputs(text: str) -> Inputs:
    """Read ``drawn``, ``drawn 7`` (another draw) or points ``x1, x2; ...``.

    >>> read_inputs("drawn 7"), read_inputs("1, 0; 0, 1").rows
    (Inputs(rows=(), draw=7), ((1, 0), (0, 1)))
    """
    words = text.split()
    if words[:1] == ["drawn"]:
        if len(words) == 1:
            return Inputs()
        if len(words) == 2 and words[1].isdecimal() and len(words[1]) < 10:
            return Inputs(draw=int(words[1]))
        raise ValueError("after 'drawn' there is nothing, or the number of the draw")
    return Inputs(rows=_rows(text))


def read_samples(text: str) -> str | tuple[int, ...]:
    """Read ``thresholds``, ``all``, or numbers of samples."""
    return text if text in ("thresholds", "all") else tuple(sorted(set(integers(1, MOST_SAMPLES)(text))))


#: Four points of the plane: one in the triangle of the others, or in convex position.
FOUR = {"inside": "0, 0; 2, 0; 0, 2; 1/2, 3/5", "convex": "0, 0; 2, 0; 0, 2; 3/2, 8/5"}


def read_four(text: str) -> tuple[Point, ...]:
    """Read ``inside``, ``convex`` or four points of the plane.

    >>> read_four("inside")[3]
    (1/2, 3/5)
    """
    rows = _rows(FOUR.get(text, text))
    if len(rows) != 4 or len(rows[0]) != 2:
        raise ValueError(f"{len(rows)} points of {len(rows[0])} coordinates, not 4 of 2")
    return rows


def read_line(text: str) -> tuple[Point, ...]:
    """Read points of the line ``x; ...``, more than two."""
    rows = _rows(text)
    if len(rows[0]) != 1 or len(rows) < 3:
        raise ValueError(f"{len(rows)} points of {len(rows[0])} coordinates, not at least 3 of 1")
    return rows


def agree(values: Mapping[str, Any]) -> None:
    """Raise ValueError where the settings contradict each other."""
    teacher, inputs, width = values["teacher"], values["inputs"], values["width"]
    size, least = len(teacher.w[0]), len(teacher.a)
    if width < least:
        raise ValueError(
            f"width = {width} and a teacher of {least} neurons; the student has at least as many"
        )
    if inputs.rows and len(inputs.rows[0]) != size:
        raise ValueError(
            f"inputs of {len(inputs.rows[0])} coordinates and a teacher of {size}; give both the same number"
        )
    asked = values["samples"]
    if inputs.rows and not isinstance(asked, str) and asked[-1] > len(inputs.rows):
        raise ValueError(
            f"samples = {asked[-1]} and {len(inputs.rows)} inputs; give more inputs, or inputs = drawn"
        )
    copied = values["copied"]
    if len(copied.w[0]) != 1:
        raise ValueError(f"copied = a teacher of {len(copied.w[0])} inputs; the decay is derived for 1 input")


def problem_of(given: Any, teacher: TeacherNumbers | None = None) -> Problem:
    r"""Return the student with R = sum_i r_i^2, as published, and the teacher of an instance or another."""
    chosen = teacher or given["teacher"]
    weights = Teacher(weights=(("a", chosen.a), ("w", chosen.w)))
    return Problem.two_layer(given["activation"], "square", teacher=weights, reduction="sum", factor="2")


@cache
def _minima(activation: Activation, teacher: TeacherNumbers, width: int) -> GlobalMinima:
    return global_minima(problem_of({"activation": activation}, teacher), width)


def minima_of(given: Any, width: int | None = None) -> GlobalMinima:
    """Return the global minima of the student of an instance.

    Raises
    ------
    AssumptionError
        As ``global_minima``.
    """
    return _minima(given["activation"], given["teacher"], width or given["width"])


def points_of(given: Any, count: int) -> tuple[Point, ...]:
    """Return the first inputs: those given, or drawn ones in thousandths.

    Raises
    ------
    AssumptionError
        If fewer are given.
    """
    inputs, size = given["inputs"], len(given["teacher"].w[0])
    if not inputs.rows:
        source = random.Random(inputs.draw)
        return tuple(
            tuple(Rational(round(UNIT * source.gauss(0, SPREAD)), UNIT) for _ in range(size))
            for _ in range(count)
        )
    if count > len(inputs.rows):
        raise AssumptionError(f"{count} samples are needed and {len(inputs.rows)} inputs are given")
    return inputs.rows[:count]


def counts_of(given: Any) -> tuple[int, ...]:
    """Return the numbers of samples that are looked at, as far as inputs are given: those at which an answer changes, or all.

    Raises
    ------
    AssumptionError
        As ``minima_of``.
    """
    asked = given["samples"]
    if asked not in ("thresholds", "all"):
        return asked
    minima = minima_of(given)
    last = minima.shape.parameters + 1
    if asked == "all":
        found = set(range(1, last + 1))
    else:
        found = {minima.optimistic_size, last, *(u for b, _ in minima.kinds for u in (b.rank, b.codimension))}
    most = len(given["inputs"].rows) or last
    return tuple(sorted(u for u in found if u <= most)) or (most,)


def _product(row: Point, point: Point) -> Expr:
    return Add(*[u * v for u, v in zip(row, point, strict=True)])


def outputs_at(given: Any, points: tuple[Point, ...]) -> list[Any]:
    """Return enclosures of the outputs of the teacher."""
    teacher, value = given["teacher"], given["activation"].derivative(0)
    return [
        sum(
            (
                enclosed(a) * enclosed(value.subs(Z, _product(w, p)))
                for a, w in zip(teacher.a, teacher.w, strict=True)
            ),
            enclosed(Integer(0)),
        )
        for p in points
    ]


def tangent_rows(
    activation: Activation, weights: tuple[Point, ...], carried: tuple[bool, ...], points: tuple[Point, ...]
) -> Rows:
    r"""Return enclosures of :math:`\sigma(w_j \cdot x_i)` and, for the weights that carry an output weight, :math:`\sigma'(w_j \cdot x_i) x_i`: a row for each input."""
    table = []
    for p in points:
        row = []
        for w, active in zip(weights, carried, strict=True):
            z = _product(w, p)
            row.append(enclosed(activation.derivative(0).subs(Z, z)))
            if active:
                slope = enclosed(activation.derivative(1).subs(Z, z))
                row += [slope * enclosed(u) for u in p]
        table.append(row)
    return table


def _weights(minima: GlobalMinima, branch: Branch) -> tuple[tuple[Point, ...], tuple[bool, ...]]:
    """Return the distinct weights at an exact point of a branch, and which carry an output weight."""
    teacher = minima.problem.teacher
    assert teacher is not None  # of an instance
    rows = [tuple(row) for row in teacher.blocks["w"]]
    source = random.Random(1)
    used, weights, carried = {u for row in rows for u in (row, tuple(-v for v in row))}, [], []
    for label in branch.blocks:
        if label == ZERO:
            continue
        if label < len(rows):
            row = rows[label]
        else:
            row = ()
            while not row or row in used or not any(row):
                row = tuple(Rational(source.randint(-15, 15), 10) for _ in rows[0])
            used |= {row, tuple(-v for v in row)}
        weights.append(row)
        carried.append(label in branch.active)
    return tuple(weights), tuple(carried)


@cache
def certified_rank(minima: GlobalMinima, branch: Branch, points: tuple[Point, ...]) -> int | None:
    r"""Return :math:`\min(n, r + (r-l)d)` where interval arithmetic shows that the Hessian has this rank almost everywhere on a branch, else None."""
    activation = minima.problem.activation
    assert activation is not None  # checked when built
    weights, carried = _weights(minima, branch)
    rows = tangent_rows(activation, weights, carried, points)
    return min(len(rows), len(rows[0])) if full_rank(rows) else None


@cache
def is_separating(minima: GlobalMinima, branch: Branch, points: tuple[Point, ...]) -> bool | None:
    r"""Say whether the inputs separate almost every point of a branch (S1): the n x r(d+1) matrix has full rank.

    False where the inputs span too few dimensions, by exact ranks; None where it is open.
    """
    activation = minima.problem.activation
    assert activation is not None  # checked when built
    weights, _ = _weights(minima, branch)
    count, size = len(weights), len(points[0])
    span = Matrix([list(p) for p in points]).rank()
    if min(len(points), count * (size + 1)) > count * (1 + span):
        return False
    return full_rank(tangent_rows(activation, weights, (True,) * count, points))
