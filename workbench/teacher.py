"""Targets that a teacher network gives: its table checked, its outputs exact.

>>> from sympy import Integer
>>> from workbench.study_tables import TeacherTable
>>> teacher = teacher_of(TeacherTable(activation="relu", a=["1", "-2"], w=[["1/2"], [-1]]))
>>> teacher.outputs([[Integer(3)]])
((3/2,),)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import Refusal, exact_number

if TYPE_CHECKING:
    from derivations.teacher import Teacher
    from workbench.study_tables import TeacherTable

__all__ = ["check_inputs", "check_one_source", "check_teacher", "output_count", "teacher_of"]

_TWO_LAYER = ("a", "w", "b", "c")


def check_teacher(table: TeacherTable) -> None:
    """Check that the parts of a teacher fit together; else raise `Refusal`."""
    given = [name for name in _TWO_LAYER if getattr(table, name) is not None]
    if table.layers is not None:
        if given:
            raise Refusal(
                f"layers and {', '.join(given)}", "either layers, or a and w (with b, c)", at="layers"
            )
        if table.scale != "1":
            raise Refusal(f"scale = {table.scale!r} of a deep teacher", "scale with a and w only", at="scale")
        _check_layers(table.layers)
        return
    for name in ("a", "w"):
        if getattr(table, name) is None:
            raise Refusal("nothing", "the weights a and w of a two-layer teacher, or layers", at=name)
    a, w = table.a or (), table.w or ()
    _check_rows(w, "w")
    if len(a) != len(w):
        raise Refusal(f"{len(a)} entries in a and {len(w)} rows in w", "one entry for each row of w", at="a")
    outputs = _check_rows(a, "a")
    if table.b is not None and len(table.b) != len(w):
        raise Refusal(f"{len(table.b)} entries", f"{len(w)}, one for each row of w", at="b")
    _check_bias(table.c, outputs, "c")


def _check_layers(layers: Sequence[Any]) -> None:
    if len(layers) < 2:
        raise Refusal(
            "one layer", "at least two: a layer of hidden neurons and that of the outputs", at="layers"
        )
    before: int | None = None
    for number, layer in enumerate(layers):
        last, at = number == len(layers) - 1, f"layers[{number}]"
        rows = layer.W
        size: int | None
        if not isinstance(rows[0], tuple):
            if not last:
                raise Refusal("numbers", "rows of numbers; only the last layer may be one row", at=f"{at}.W")
            _check_rows(rows, f"{at}.W")
            size, outputs = len(rows), None
        else:
            size, outputs = _check_rows(rows, f"{at}.W"), len(rows)
        if before is not None and size != before:
            raise Refusal(
                f"rows of length {size}", f"length {before}, the neurons of the layer before", at=f"{at}.W"
            )
        _check_bias(layer.b, outputs, f"{at}.b")
        before = outputs


def _check_rows(rows: Sequence[Any], at: str) -> int | None:
    """Return the length of the rows, None for numbers; rows of several lengths, and mixtures, are refused."""
    lengths = [len(row) if isinstance(row, tuple) else None for row in rows]
    for j, length in enumerate(lengths):
        if length != lengths[0] or length == 0:
            words = ["a number" if u is None else f"a row of length {u}" for u in (length, lengths[0])]
            raise Refusal(
                f"{words[0]}, where entry 0 is {words[1]}", "rows of one length, or numbers", at=f"{at}[{j}]"
            )
    return lengths[0]


def _check_bias(value: Any, outputs: int | None, at: str) -> None:
    if value is None:
        return
    found = len(value) if isinstance(value, tuple) else None
    if found != outputs:
        words = ["a number" if u is None else f"{u} numbers" for u in (found, outputs)]
        raise Refusal(words[0], words[1], at=at)


def check_one_source(key: str, value: object, teacher: TeacherTable | None) -> None:
    """Check that the targets come from ``key`` or from a teacher, not from both and not from neither."""
    if value is None and teacher is None:
        raise Refusal("nothing", f"the targets: {key}, or the table [data.teacher]", at=key)
    if value is not None and teacher is not None:
        raise Refusal(f"both {key} and a teacher", f"one of them: leave out {key} or [data.teacher]", at=key)


def check_inputs(table: TeacherTable, count: int, *, outputs: bool = False, fewer: bool = False) -> None:
    """Check that a teacher takes ``count`` inputs (or ``fewer``), and with ``outputs`` that it has one output."""
    rows, at = (
        (table.layers[0].W, "teacher.layers[0].W")
        if table.layers is not None
        else (table.w or (), "teacher.w")
    )
    found = len(rows[0])
    if found > count or (found < count and not fewer):
        accepted = f"length {'1 to ' if fewer else ''}{count}, one weight for each input"
        raise Refusal(f"rows of length {found}", accepted, at=at)
    if outputs and output_count(table) is not None:
        raise Refusal(
            f"a teacher with outputs in rows of {output_count(table)}",
            "a teacher with one output",
            at="teacher",
        )


def output_count(table: TeacherTable) -> int | None:
    """Return the number o of outputs, None for one output given as numbers."""
    outer = table.layers[-1].W if table.layers is not None else table.a or ()
    if not isinstance(outer[0], tuple):
        return None
    return len(outer) if table.layers is not None else len(outer[0])


def teacher_of(table: TeacherTable) -> Teacher:
    """Return the exact network of a table, whose activation is stated (a study fills in that of its model).

    Raises
    ------
    Refusal
        If there is no activation.
    """
    from derivations.activations import activation
    from derivations.formula import parse_formula
    from derivations.problem import d, m
    from derivations.teacher import Teacher

    if table.activation is None:
        raise Refusal("nothing", "an activation: the model has none of its own", at="teacher.activation")
    sigma = activation(table.activation)
    if table.layers is not None:
        weights = []
        for number, layer in enumerate(table.layers, start=1):
            weights.append((f"W{number}", _exact(layer.W)))
            if layer.b is not None:
                weights.append((f"b{number}", _exact(layer.b)))
        return Teacher(sigma, depth=len(table.layers), weights=tuple(weights))
    weights = [
        (name, _exact(getattr(table, name))) for name in _TWO_LAYER if getattr(table, name) is not None
    ]
    return Teacher(sigma, scale=parse_formula(table.scale, {"m": m, "d": d}), weights=tuple(weights))


def _exact(value: Any) -> Any:
    return tuple(_exact(u) for u in value) if isinstance(value, tuple) else exact_number(value)
