"""The error of a refused study, a line for each fault, and the checks of single values that lead to it.

Every line reads ``file: key: found ...; accepted: ...``, and names what is nearest to a mistyped name.

>>> refusal = unknown_name("tahn", ["relu", "tanh"], "a registered activation")
>>> fault("a.toml", "model.activation", refusal)
"a.toml: model.activation: found 'tahn'; accepted: a registered activation (relu, tanh). Did you mean 'tanh'?"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sympy import Expr

__all__ = [
    "NotThere",
    "Refusal",
    "StudyError",
    "check_constant",
    "check_different",
    "check_formula",
    "check_identifier",
    "check_integer",
    "check_line",
    "check_name_or_formula",
    "check_number",
    "check_rates",
    "check_slug",
    "describe",
    "exact_number",
    "fault",
    "nearest",
    "parsed",
    "read_text",
    "unknown_name",
    "validation_faults",
]

SHOWN_CHARACTERS = 80
SHOWN_FAULTS = 20
PHRASES = {
    "bool_type": "true or false",
    "tuple_type": "an array",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "too_short": "an array that is not empty",
    "missing": "a value: the key is required",
}


class StudyError(ValueError):
    """A study file, or the data it names, is refused.

    Parameters
    ----------
    *faults : str
        One line for each fault; after the twentieth only their number is told.

    Attributes
    ----------
    faults : tuple of str
        All lines.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        more = len(faults) - SHOWN_FAULTS
        shown = [*faults[:SHOWN_FAULTS], *([f"... and {more} more"] if more > 0 else [])]
        super().__init__("\n".join(shown))


class Refusal(ValueError):
    """One value is refused, by a check that does not know the file.

    Parameters
    ----------
    found, accepted : str
        What stands there, and what may stand there.
    at : str
        Where the fault lies below the checked value, such as ``[3][0]`` or ``freeze[1]``.
    hint : str
        A closing sentence, such as ``Did you mean 'width'?``.
    """

    def __init__(self, found: str, accepted: str, *, at: str = "", hint: str = "") -> None:
        self.found, self.accepted, self.at, self.hint = found, accepted, at, hint
        super().__init__(f"found {found}; accepted: {accepted}" + (f". {hint}" if hint else ""))


def describe(value: object) -> str:
    """Show a value as it stands in a study file, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"an array of length {len(value)}"
    if isinstance(value, dict):
        return f"a table with the keys {', '.join(map(str, value))}" if value else "an empty table"
    if isinstance(value, int) and value.bit_length() > 200:  # turning a huge integer into text may be refused
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def nearest(word: str, names: Iterable[str]) -> str:
    """Return ``Did you mean 'name'?`` for the accepted name nearest to ``word``, or an empty string."""
    by_folded = {name.casefold(): name for name in names}
    found = get_close_matches(word.casefold(), list(by_folded), n=1)
    return f"Did you mean {by_folded[found[0]]!r}?" if found else ""


def unknown_name(word: object, names: Iterable[str], what: str, *, at: str = "") -> Refusal:
    """Return the refusal of a name that is not in a closed list.

    Parameters
    ----------
    word : object
        What was found.
    names : iterable of str
        All accepted names, in the order they are to be listed.
    what : str
        What the names are, such as ``a block of the model``.
    at : str
        Where the name stands below the checked value.
    """
    names = list(names)
    accepted = f"{what} ({', '.join(names)})" if names else what
    hint = nearest(word, names) if isinstance(word, str) else ""
    return Refusal(describe(word), accepted, at=at, hint=hint)


def fault(file: object, key: str, refusal: Refusal) -> str:
    """Write one line: file, key, what was found and what is accepted; an empty ``key`` is left out."""
    separator = "." if key and refusal.at and not refusal.at.startswith("[") else ""
    where = f"{key}{separator}{refusal.at}"
    return ": ".join([str(file), *([where] if where else []), str(refusal)])


def validation_faults(
    file: object, errors: Iterable[Mapping[str, Any]], keys: Mapping[tuple[object, ...], Sequence[str]]
) -> list[str]:
    """Turn validation errors into lines.

    Parameters
    ----------
    file : object
        The file, as it is to be shown.
    errors : iterable of mappings
        As pydantic's ``ValidationError.errors()`` gives them.
    keys : mapping
        The accepted keys of every table, by its location.
    """
    lines = []
    for error in errors:
        location, kind, context = error["loc"], error["type"], error.get("ctx", {})
        if kind == "too_short" and error["input"]:
            continue  # an array some of whose entries were refused: each has its line already
        refusal = context.get("error")
        if kind == "union_tag_invalid":
            kinds = re.findall(r"'(\w+)'", context["expected_tags"])
            refusal = unknown_name(error["input"]["kind"], kinds, "a kind", at="kind")
        elif kind == "literal_error":
            refusal = unknown_name(error["input"], re.findall(r"'(\w+)'", context["expected"]), "a name")
        elif kind == "extra_forbidden":
            inner = tuple(step for step in location[:-1] if not isinstance(step, int))
            here, key = keys[inner], str(location[-1])
            homes = [
                f"[{'.'.join(map(str, table[:1] + table[2:]))}]"
                for table, names in keys.items()
                if table and key in names
            ]
            hint = nearest(key, here) or (f"The key belongs to {homes[0]}." if homes else "")
            refusal = Refusal("an unknown key", f"a key of this table ({', '.join(here)})", hint=hint)
        elif not isinstance(refusal, Refusal):
            found = "nothing" if kind == "missing" else describe(error["input"])
            refusal = Refusal(found, PHRASES.get(kind, error["msg"].removeprefix("Input should be ")))
        steps = location[:1] + location[2:] if location[:2] in keys and len(location) > 1 else location
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        lines.append(fault(file, path.removeprefix("."), refusal))
    return lines


def check_integer(low: int, high: int, value: object) -> int:
    """Return ``value`` if it is an integer in ``[low, high]``."""
    if type(value) is not int or not low <= value <= high:
        raise Refusal(describe(value), f"an integer from {low} to {high}")
    return value


def check_line(value: object, *, what: str = "one line of text") -> str:
    """Return ``value`` if it is one printable line of at most 300 characters."""
    if not isinstance(value, str) or not value.isprintable() or not value.strip() or len(value) > 300:
        raise Refusal(describe(value), f"{what}, not empty, at most 300 printable characters")
    return value


def check_slug(value: object) -> str:
    """Return ``value`` if it is safe as a file name everywhere."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
        rule = "letters, digits, - and _, first a letter or digit, at most 64 characters"
        raise Refusal(describe(value), f"a safe file-name slug: {rule}")
    return value


def check_identifier(value: object) -> str:
    """Return ``value`` if it can be a name in a formula."""
    good = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", value)
    if not isinstance(value, str) or not good or iskeyword(value):
        raise Refusal(describe(value), "a name: a letter, then letters, digits and _, no word of Python")
    return value


def check_different(names: Sequence[str], accepted: str, *, at: str) -> None:
    """Check that no name stands twice."""
    for name in names:
        if names.count(name) > 1:
            raise Refusal(f"{name!r} named twice", accepted, at=at)


def check_rates(value: object) -> tuple[tuple[str, str], ...]:
    """Return a table of blocks and their speeds, positive constant formulas, as pairs."""
    if not isinstance(value, dict):
        raise Refusal(describe(value), 'a table of blocks and their speeds, as in {a = "1/2"}')
    return tuple((block, check_constant("> 0", rate, at=block)) for block, rate in value.items())


def exact_number(value: object, *, at: str = "") -> Expr:
    """Return the exact number that an integer, a float or a string such as ``"1/3"`` spells.

    Raises
    ------
    Refusal
        If it is none of these, not real, or beyond the range of a float64.
    """
    from derivations.errors import FormulaError
    from derivations.formula import parse_number

    accepted = 'a finite number, or an exact one as a string such as "1/3" or "sqrt(2)/2"'
    if type(value) not in (int, float, str):
        raise Refusal(describe(value), accepted, at=at)
    try:
        number = parse_number(value)  # type: ignore[arg-type]  # it judges the type itself
        if number.is_real is not False and math.isfinite(float(number)):
            return number
    except FormulaError as error:
        raise Refusal(f"{describe(value)} ({_reason(error)})", accepted, at=at) from None
    except (OverflowError, TypeError, ValueError):
        pass
    raise Refusal(describe(value), accepted, at=at)


def check_number(value: Any, *, at: str = "") -> Any:
    """Return ``value`` as it is if it spells a finite number."""
    if type(value) is not float or not math.isfinite(value):
        exact_number(value, at=at)
    return value


def parsed(value: object, what: str, parse: Callable[[str], Expr], *, at: str = "") -> tuple[str, Expr]:
    """Return the text of a formula and what ``parse`` makes of it; ``what`` says what is accepted."""
    from derivations.errors import FormulaError

    if type(value) not in (str, int, float):
        raise Refusal(describe(value), f"{what}, as a string", at=at)
    try:
        text = str(value)
        return text, parse(text)
    except FormulaError as error:
        raise Refusal(f"{describe(value)} ({_reason(error)})", what, at=at) from None
    except ValueError:  # an integer of thousands of digits has no text
        raise Refusal(describe(value), what, at=at) from None


def check_formula(names: Sequence[str], value: object, *, at: str = "") -> str:
    """Return the text of a formula in ``names``: m and d are positive integers, others real."""
    from sympy import Symbol

    from derivations.formula import parse_formula

    whole = {"integer": True, "positive": True}
    symbols = {name: Symbol(name, **(whole if name in ("m", "d") else {"real": True})) for name in names}
    what = f"a formula in {', '.join(names)}"
    return parsed(value, what, lambda text: parse_formula(text, symbols), at=at)[0]


def check_constant(relation: str, value: object, *, at: str = "") -> str:
    """Return the text of a formula without names whose value is ``> 0`` or ``>= 0``."""
    from derivations.formula import parse_formula

    what = f"a constant formula {relation}"
    text, number = parsed(value, what, lambda text: parse_formula(text, {}), at=at)
    try:
        size = float(number)
    except (OverflowError, TypeError):
        size = math.nan
    if not 0 <= size < math.inf or (relation == "> 0" and size == 0):
        raise Refusal(describe(value), what, at=at)
    return text


def check_name_or_formula(what: str, names: Sequence[str], value: object) -> str:
    """Return a registered activation or loss (``what``), or a formula in ``names``."""
    from derivations import activations, losses

    registry = [*activations.REGISTRY] if what == "activation" else [*losses.REGISTRY, "linear_hinge"]
    accepted = f"a formula in {' and '.join(names)}, or a registered {what}"
    if not isinstance(value, str) or (value.isidentifier() and value not in (*registry, *names)):
        raise unknown_name(value, registry, accepted)
    if what == "activation" and value.partition("(")[0].strip() in activations.FAMILIES:  # leaky_relu(1/10)
        return parsed(value, accepted, lambda text: activations.activation(text).expr)[0]
    return value if value in registry else check_formula(names, value)


def read_text(path: Path, *, limit: int, what: str, key: str = "", hint: str = "") -> tuple[str, bytes]:
    """Read a UTF-8 file of at most ``limit`` bytes; ``what`` and ``key`` say what it is in the error."""

    def refuse(found: str, accepted: str = f"the path of {what}", hint: str = "") -> StudyError:
        return StudyError(fault(path, key, Refusal(found, accepted, hint=hint)))

    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise refuse("no such file", hint=hint or nearest(path.name, _siblings(path))) from None
    except IsADirectoryError:
        raise refuse("a directory") from None
    except (OSError, ValueError) as error:
        raise refuse(f"a path that cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > limit:
        raise refuse(f"more than {limit} bytes", f"{what} of at most {limit / 1024**2:g} MB")
    try:
        return content.decode("utf-8-sig"), content
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{error.object[error.start]:02x} in line {line}, which is not UTF-8"
        raise refuse(found, f"{what} encoded as UTF-8") from None


def _siblings(path: Path) -> list[str]:
    """List what lies beside a missing file, as far as it can be seen."""
    try:
        return [sibling.name for sibling in islice(path.parent.iterdir(), 1000)]
    except OSError:
        return []


def _reason(error: Any) -> str:
    """Give the reason of a `FormulaError` in one line, with the place."""
    place = "" if error.column is None else f"at character {error.column + 1}: "
    return place + " ".join(error.reason.split())


class NotThere(ValueError):
    """A request that is well formed, but that this version cannot serve; the message says what would serve instead."""
