r"""The grammar in which the answers of programs are read: integers, rationals, polynomials, lists.  Nothing is evaluated.

An answer on a polynomial system is a text of lines, written by our own scripts for each program:

    DIMENSION d             of the solution set over the complex numbers, -1 for none
    DEGREE k                for d = 0 the number of solutions, each as often as its multiplicity
    COMPONENT d k           one irreducible component over the rationals: dimension and degree; then
    GENERATOR polynomial    for d > 0, of its prime ideal
    MINIMAL polynomial      for d = 0, of a number t that generates the field of the solutions, in t
    COORDINATE polynomial   for d = 0, of each unknown in order, in t
    END

>>> from sympy import QQ, ring
>>> R, *_ = ring("v1,v2", QQ)
>>> read_polynomial("-3/2*v1^2*v2+v2-7", R)
-3/2*v1**2*v2 + v2 - 7
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sympy import QQ
from sympy.polys.rings import PolyElement, PolyRing

from workbench.engines.process import EngineError

__all__ = ["T_RING", "Answer", "Component", "read_answer", "read_lists", "read_polynomial", "written"]

#: Largest exponent, and digits of a number, that an answer may hold.
MOST_EXPONENT, MOST_DIGITS = 4096, 10**6
MOST_DEPTH = 12
_TERM = re.compile(r"([+-]?)((?:[0-9]+(?:/[0-9]+)?|[a-z][0-9]*(?:\^[0-9]+)?)(?:\*[a-z][0-9]*(?:\^[0-9]+)?)*)")
_LIST = re.compile(
    r"\s*(?:(?P<mark>[\[\],])|(?P<number>-?[0-9]+(?:\s*/\s*(?:2\^)?[0-9]+)?)|'(?P<name>[A-Za-z][0-9]*)')"
)
#: Field of numbers t, in which coordinates are written.
T_RING = PolyRing("t", QQ)


@dataclass(frozen=True)
class Component:
    """An irreducible component over the rationals, as the module says; ``minimal`` is None where d > 0."""

    dimension: int
    degree: int
    generators: tuple[PolyElement, ...] = ()
    minimal: PolyElement | None = None
    coordinates: tuple[PolyElement, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The solution set of a system, decomposed: dimension, degree, components."""

    dimension: int
    degree: int
    components: tuple[Component, ...]


def read_polynomial(text: str, ring: PolyRing) -> PolyElement:
    """Read a sum of products of a rational number and powers, in the names of the ring.

    Raises
    ------
    EngineError
        If it is anything else.
    """
    names = {str(symbol): j for j, symbol in enumerate(ring.symbols)}
    terms: dict[tuple[int, ...], Any] = {}
    place = 0
    while place < len(text) or not text:
        found = _TERM.match(text, place)
        if found is None or (place and not found[1]):
            raise _refused("a polynomial", text, place)
        coefficient, powers = QQ(-1 if found[1] == "-" else 1), [0] * ring.ngens
        for factor in found[2].split("*"):
            if factor[0].isdigit():
                coefficient *= _number(factor, text)
                continue
            name, _, exponent = factor.partition("^")
            if name not in names or len(exponent) > 4 or int(exponent or 1) > MOST_EXPONENT:
                raise _refused(f"a power of {', '.join(names)}", text, found.start(2))
            powers[names[name]] += int(exponent or 1)
        key = tuple(powers)
        terms[key] = terms.get(key, QQ.zero) + coefficient
        place = found.end()
    return ring.from_dict({key: value for key, value in terms.items() if value})


def _number(text: str, whole: str) -> Any:
    top, _, bottom = text.partition("/")
    if max(len(top), len(bottom)) > MOST_DIGITS or (bottom and int(bottom) == 0):
        raise _refused("a rational number", whole, 0)
    return QQ(int(top), int(bottom or 1))


def read_answer(text: str, ring: PolyRing, engine: str) -> Answer:
    """Read the lines of an answer; ``ring`` is that of the unknowns under the names given to the program.

    Raises
    ------
    EngineError
        If a line is missing, unknown or out of place, or a number contradicts another.
    """
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    words = [line[0] for line in lines]
    if words[:2] != ["DIMENSION", "DEGREE"] or words[-1:] != ["END"] or "END" in words[:-1]:
        raise EngineError(f"{engine} left an answer without beginning or end: {' '.join(words)[:80]!r}")
    (dimension,), (degree,) = (_integers(line, 1, engine) for line in lines[:2])
    components: list[tuple[int, int, dict[str, list[PolyElement]]]] = []
    for line in lines[2:-1]:
        if line[0] == "COMPONENT":
            size, count = _integers(line, 2, engine)
            components.append((size, count, {"GENERATOR": [], "MINIMAL": [], "COORDINATE": []}))
        elif components and line[0] in components[-1][2] and len(line) == 2:
            within = ring if line[0] == "GENERATOR" else T_RING
            components[-1][2][line[0]].append(read_polynomial(line[1].replace(" ", ""), within))
        else:
            raise EngineError(
                f"{engine} left the line {' '.join(line)[:80]!r}, which has no place in its answer"
            )
    found = tuple(_component(*each, ring, engine) for each in components)
    if max((c.dimension for c in found), default=-1) != dimension:
        raise EngineError(f"{engine} says dimension {dimension}, and its components have another")
    if dimension == 0 and sum(c.degree for c in found) > degree:
        raise EngineError(f"{engine} lists more solutions than the {degree} it counts")
    return Answer(dimension, degree, found)


def _component(
    size: int, count: int, parts: dict[str, list[PolyElement]], ring: PolyRing, engine: str
) -> Component:
    if size > 0:
        if parts["GENERATOR"] and not parts["MINIMAL"] and not parts["COORDINATE"]:
            return Component(size, count, tuple(parts["GENERATOR"]))
    elif len(parts["MINIMAL"]) == 1 and len(parts["COORDINATE"]) == ring.ngens and not parts["GENERATOR"]:
        minimal = parts["MINIMAL"][0]
        if size == 0 and minimal.degree() == count:
            return Component(0, count, (), minimal, tuple(parts["COORDINATE"]))
    raise EngineError(f"{engine} describes a component of dimension {size} and degree {count} incompletely")


def _integers(line: Sequence[str], count: int, engine: str) -> list[int]:
    numbers = line[1].split() if len(line) == 2 else []
    if len(numbers) != count or any(not re.fullmatch(r"-1|[0-9]{1,9}", u) for u in numbers):
        raise EngineError(f"{engine} left {' '.join(line)[:80]!r} where {count} numbers are expected")
    return [int(u) for u in numbers]


def read_lists(text: str) -> Any:
    """Read nested lists of integers, rationals with a power of 2 below, and quoted names, as msolve writes them.

    >>> read_lists("[0, [1, [-3, 'x']]]:")
    [0, [1, [-3, 'x']]]

    Raises
    ------
    EngineError
        If it is anything else.
    """
    whole = text.strip()
    if not whole.endswith(":"):
        raise _refused("a list and a colon", whole, 0)
    whole = whole[:-1]
    stack: list[list[Any]] = [[]]
    place, separated = 0, True
    while place < len(whole):
        found = _LIST.match(whole, place)
        if found is None:
            if not whole[place:].strip():
                break
            raise _refused("a list of numbers", whole, place)
        place, mark = found.end(), found["mark"]
        if mark == ",":
            if separated or len(stack) < 2:
                raise _refused("an entry before a comma", whole, place)
            separated = True
            continue
        if mark == "]":
            if len(stack) < 2 or (separated and stack[-1]):
                raise _refused("an entry before a bracket", whole, place)
            done = stack.pop()
            stack[-1].append(done)
            separated = False
            continue
        if not separated or (len(stack) == 1 and stack[0]):
            raise _refused("a comma", whole, place)
        if mark == "[":
            stack.append([])
            if len(stack) > MOST_DEPTH:
                raise _refused(f"lists at most {MOST_DEPTH} deep", whole, place)
            continue
        stack[-1].append(found["name"] or _dyadic(found["number"], whole))
        separated = False
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise _refused("one list", whole, len(whole))
    return stack[0][0]


def _dyadic(text: str, whole: str) -> Any:
    top, _, bottom = (part.strip() for part in text.partition("/"))
    if len(top) > MOST_DIGITS or len(bottom) > MOST_DIGITS:
        raise _refused("a number", whole, 0)
    if bottom.startswith("2^"):
        if len(bottom) > 8:
            raise _refused("a smaller power of 2", whole, 0)
        return QQ(int(top), 1 << int(bottom[2:]))
    if bottom and int(bottom) == 0:
        raise _refused("a rational number", whole, 0)
    return QQ(int(top), int(bottom)) if bottom else int(top)


def _refused(expected: str, text: str, place: int) -> EngineError:
    shown = re.sub("[^ -~]", "?", text[max(place - 10, 0) : place + 50])
    return EngineError(f"an answer of a program cannot be read: expected {expected}, found {shown!r}")


def written(polynomial: PolyElement, names: Sequence[str]) -> str:
    """Write a polynomial with integer coefficients, for programs: its primitive part, under these names."""
    _, whole = polynomial.clear_denoms()
    out: list[str] = []
    for monomial, coefficient in whole.terms():
        pairs = zip(names, monomial, strict=True)
        factors = [name if power == 1 else f"{name}^{power}" for name, power in pairs if power]
        number = int(coefficient)
        sign = "-" if number < 0 else "+" if out else ""
        out.append(sign + "*".join([str(abs(number)), *factors]))
    return "".join(out) or "0"
