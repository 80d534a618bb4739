r"""Parameter points from JSON: one object of blocks, or a list of such objects, checked against the model's layout.

>>> points_from_json('[{"a": [1, "1/3"], "c": 0.5}]', {"a": (2,), "c": ()})
[{'a': [1.0, 0.3333333333333333], 'c': 0.5}]
>>> points_from_json('{"a": [1, 2], "d": 0.5}', {"a": (2,), "c": ()}, file="theta.json")
Traceback (most recent call last):
    ...
workbench.errors.StudyError: theta.json: d: found an unknown block; accepted: a block of the model (a, c)
theta.json: c: found nothing; accepted: a number: the block is required
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import Refusal, StudyError, describe, exact_number, fault, nearest, read_text

if TYPE_CHECKING:
    from numerics.compile import CompiledSystem

__all__ = ["THETA_BYTES", "points_from_json", "read_frozen", "read_theta"]

THETA_BYTES = 64 * 1024**2
WHAT = "a file of parameters (JSON)"
NUMBER = 'a finite number, or an exact one as a string such as "1/3"'
MOST_UNKNOWN, LONGEST = 20, 64  # a file may hold a million wrong names, or a name of a million letters
Layout = Mapping[str, tuple[int, ...]]


def read_theta(source: str | Path, layout: Layout) -> list[dict[str, Any]]:
    """Read the parameter points of a file, ``-`` for standard input.

    Parameters
    ----------
    source : path
        UTF-8 JSON of at most 64 MB.
    layout : mapping
        Shape of every block of the model, in its order; ``()`` is a single number.

    Returns
    -------
    list of dict
        One dict of nested lists of floats for each point, the blocks in the order of ``layout``.

    Raises
    ------
    StudyError
        If the file cannot be read or its content does not fit: a line for each block that does not.
    """
    if str(source) != "-":
        return points_from_json(read_text(Path(source), limit=THETA_BYTES, what=WHAT)[0], layout, file=source)
    name = "standard input"
    content = sys.stdin.buffer.read(THETA_BYTES + 1)
    if len(content) > THETA_BYTES:
        refusal = Refusal(f"more than {THETA_BYTES} bytes", f"JSON of at most {THETA_BYTES / 1024**2:g} MB")
        raise StudyError(fault(name, "", refusal))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refusal = Refusal(
            f"the byte 0x{content[error.start]:02x}, which is not UTF-8", "JSON encoded as UTF-8"
        )
        raise StudyError(fault(name, "", refusal)) from None
    return points_from_json(text, layout, file=name)


def read_frozen(source: str | Path, system: CompiledSystem) -> dict[str, Any]:
    """Read the values of the frozen blocks of a compiled system: one object of blocks.

    Raises
    ------
    StudyError
        As `read_theta`; also if no block is frozen, or there are several objects.
    """
    blocks = {block.name for block in system.problem.blocks if not block.trained}
    if not blocks:
        raise StudyError("--frozen: found values, and no block is frozen; accepted: no --frozen")
    found = read_theta(source, {name: shape for name, shape, _ in system.layout if name in blocks})
    if len(found) > 1:
        raise StudyError(f"--frozen: found {len(found)} objects; accepted: one object of blocks")
    return found[0]


def points_from_json(text: str, layout: Layout, *, file: object = "theta") -> list[dict[str, Any]]:
    """Check the text of such a file; ``file`` is its name in errors.

    Raises
    ------
    StudyError
        As `read_theta`.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except Refusal as refusal:
        raise StudyError(fault(file, "", refusal)) from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError, too
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise StudyError(fault(file, "", Refusal(f"invalid JSON ({reason})", "valid JSON"))) from None
    accepted = f"an object of blocks ({', '.join(layout)}), or an array of such objects"
    if isinstance(content, list) and not content:
        raise StudyError(fault(file, "", Refusal("an empty array", accepted)))
    entries = content if isinstance(content, list) else [content]
    points, faults = [], []
    for i, entry in enumerate(entries):
        at = f"[{i}]" if isinstance(content, list) else ""
        if isinstance(entry, dict):
            point, refused = _point(entry, layout)
            points.append(point)
            faults += [fault(file, _join(at, block), refusal) for block, refusal in refused]
        else:
            faults.append(fault(file, at, Refusal(_shown(entry), accepted)))
    if faults:
        raise StudyError(*faults)
    return points


def _point(entry: dict[str, Any], layout: Layout) -> tuple[dict[str, Any], list[tuple[str, Refusal]]]:
    """Return the blocks that are right, and the name and refusal of each that is not."""
    unknown = (name for name in entry if name not in layout)
    known = f"a block of the model ({', '.join(layout)})"
    refused = [
        (_short(name), Refusal("an unknown block", known, hint=nearest(name[:LONGEST], layout)))
        for name in islice(unknown, MOST_UNKNOWN)
    ]
    point = {}
    for name, shape in layout.items():
        if name not in entry:
            refused.append((name, Refusal("nothing", f"{_accepted(shape)}: the block is required")))
            continue
        try:
            point[name] = _array(entry[name], shape, "")
        except Refusal as refusal:
            refused.append((name, refusal))
    return point, refused


def _array(value: Any, shape: tuple[int, ...], at: str) -> Any:
    """Return nested lists of floats of the given shape, or refuse the first entry that does not fit."""
    if not shape:
        return _number(value, at)
    if not isinstance(value, list) or len(value) != shape[0]:
        raise Refusal(_shown(value), _accepted(shape), at=at)
    return [_array(entry, shape[1:], f"{at}[{i}]") for i, entry in enumerate(value)]


def _number(value: Any, at: str) -> float:
    """Return a finite float; text is read as an exact number."""
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is str:
        return float(exact_number(value, at=at))
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    raise Refusal(_shown(value), NUMBER, at=at)


def _accepted(shape: tuple[int, ...]) -> str:
    """Say ``an array of 2 arrays of 3 numbers`` for the shape (2, 3)."""
    if not shape:
        return "a number"
    lengths = [f"array{'s' * (depth > 0 and shape[depth - 1] != 1)} of {n} " for depth, n in enumerate(shape)]
    return f"an {''.join(lengths)}number{'s' * (shape[-1] != 1)}"


def _shown(value: object) -> str:
    """Describe a JSON value in JSON's own words."""
    if value is None:
        return "null"
    return describe(value).replace("a table", "an object").replace("an empty table", "an empty object")


def _short(name: str) -> str:
    """Give a name as it is, or quoted and shortened where it could break the line."""
    return name if name.isidentifier() and len(name) <= LONGEST else describe(name)


def _join(at: str, block: str) -> str:
    return f"{at}.{block}" if at else block


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; JSON lets a key stand twice and keeps the last one, silently."""
    out: dict[str, Any] = {}
    for name, value in pairs:
        if name in out:
            raise Refusal(f"the key {describe(name)} twice in one object", "each block once")
        out[name] = value
    return out
