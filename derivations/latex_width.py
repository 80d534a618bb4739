r"""Tokens of the LaTeX this package emits, and their printed width without running TeX.

The widths are those of the 11 pt Latin Modern fonts (``article``, ``amsmath``, ``lmodern``), read off with
``\settowidth`` in display style; script style is 0.785 and scriptscript style 0.71 of them, the largest ratios seen.
Spacing follows TeX: 4 mu around a binary operator, 5 mu around a relation, 3 mu beside an operator name or after a
comma, none of the first two in scripts; 18 mu = 10.95 pt.

>>> [token.text for token in tokens(r"\frac{1}{n} \sum_{i=1}^{n} x_i + b")]
['\\frac{1}{n}', '\\sum_{i=1}^{n}', 'x_i', '+', 'b']
>>> 20 < width("a + b") < 25
True
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Token", "tokens", "width"]

_QUAD = 10.95
_MEDIUM, _THICK, _THIN = 4 / 18 * _QUAD, 5 / 18 * _QUAD, 3 / 18 * _QUAD
_SCRIPT_SPACE = 0.5
_STYLE = (1.0, 0.785, 0.71)
_NULL_DELIMITERS = 2.4  # on both sides of a fraction
_RADICAL = 9.2

_LETTERS = {
    **dict(
        zip("abcdefghijklm", (5.8, 4.7, 4.8, 5.7, 5.1, 6.6, 5.7, 6.3, 3.8, 5.2, 6.1, 3.5, 9.7), strict=True)
    ),
    **dict(
        zip("nopqrstuvwxyz", (6.6, 5.3, 5.6, 5.3, 5.3, 5.2, 4.0, 6.3, 5.7, 8.2, 6.3, 5.8, 5.6), strict=True)
    ),
    **dict(
        zip(
            "ABCDEFGHIJKLM", (8.3, 8.9, 8.7, 9.4, 8.8, 8.6, 8.7, 10.0, 5.7, 7.2, 10.1, 7.5, 11.9), strict=True
        )
    ),
    **dict(
        zip(
            "NOPQRSTUVWXYZ", (10.0, 8.7, 8.6, 8.7, 8.4, 7.4, 8.0, 8.7, 8.9, 11.9, 10.0, 8.8, 8.3), strict=True
        )
    ),
}
_CHARACTERS = {
    "(": 4.3,
    ")": 4.3,
    "[": 3.1,
    "]": 3.1,
    "/": 5.5,
    ",": 3.1,
    ".": 3.1,
    ";": 3.1,
    "!": 3.1,
    "|": 3.1,
}
_SIGNS = {"+": 8.6, "-": 8.6, "=": 8.6, "<": 8.6, ">": 8.6, r"\ge": 8.6, r"\le": 8.6, r"\ne": 8.6}
_SIGNS |= {r"\cdot": 3.1, r"\times": 8.6, r"\in": 7.4, r"\to": 11.0, r"\odot": 8.6}
_GREEK = {
    r"\alpha": 7.1, r"\beta": 6.8, r"\gamma": 6.3, r"\delta": 5.3, r"\epsilon": 4.5, r"\varepsilon": 5.2,
    r"\zeta": 5.6, r"\eta": 5.9, r"\theta": 5.5, r"\iota": 3.9, r"\kappa": 6.4, r"\lambda": 6.4, r"\mu": 6.6,
    r"\nu": 6.2, r"\xi": 5.3, r"\pi": 6.7, r"\rho": 5.7, r"\sigma": 6.7, r"\tau": 6.1, r"\phi": 6.6,
    r"\varphi": 7.2, r"\chi": 6.9, r"\psi": 7.6, r"\omega": 7.3, r"\Theta": 8.6, r"\ell": 4.6, r"\top": 8.6,
    r"\partial": 6.5, r"\nabla": 9.2, r"\infty": 11.0, r"\ldots": 12.8, r"\dots": 12.8, r"\prime": 3.1,
}  # fmt: skip
_DELIMITERS = {"big": 4.6, "Big": 6.0, "bigg": 7.4, "Bigg": 8.0}
_NAMES = (
    "tanh",
    "exp",
    "log",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "max",
    "min",
    "arctan",
    "arcsin",
    "arccos",
)
_ROMAN_LETTERS = {
    **dict(
        zip("abcdefghijklm", (5.5, 6.1, 4.9, 6.1, 4.9, 3.4, 5.5, 6.1, 3.1, 3.4, 5.8, 3.1, 9.2), strict=True)
    ),
    **dict(
        zip("nopqrstuvwxyz", (6.1, 5.5, 6.1, 5.8, 4.3, 4.4, 4.3, 6.1, 5.8, 8.0, 5.8, 5.8, 4.9), strict=True)
    ),
}
_SPACES = {r"\,": _THIN, r"\;": _THICK, r"\quad": _QUAD, r"\qquad": 2 * _QUAD, "~": 3.7}
_ONE_ARGUMENT = (
    r"\sqrt",
    r"\operatorname",
    r"\mathbf",
    r"\mathbb",
    r"\mathrm",
    r"\text",
    r"\dot",
    r"\bar",
    r"\hat",
)

_WORD = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S")
_BIG = re.compile(r"\\(bigg|Bigg|big|Big)[lr]$")


@dataclass(frozen=True)
class Token:
    """One unbreakable piece: ``kind`` is ord, op, bin, rel, open, close, punct or space; ``width`` in points.

    ``spaced`` says whether white space stands before it, which in this dialect separates two factors.
    """

    text: str
    kind: str
    width: float
    spaced: bool


def width(tex: str, style: int = 0) -> float:
    """Return the estimated width of ``tex`` in points; ``style`` 0 display, 1 script, 2 scriptscript."""
    total, before = 0.0, ""
    for token in tokens(tex, min(style, 2)):
        total += token.width + gap(before, token.kind, style)
        before = token.kind if token.kind != "space" else before
    return total


def gap(left: str, right: str, style: int = 0) -> float:
    """Return the space TeX puts between two kinds of tokens."""
    if not left or right == "space":
        return 0.0
    if style == 0 and "rel" in (left, right):
        return _THICK
    if style == 0 and "bin" in (left, right):
        return _MEDIUM
    if left == "punct":
        return _THIN if style == 0 else 0.0
    operator = (left in ("ord", "close", "op") and right == "op") or (left == "op" and right in ("ord", "op"))
    return _THIN * _STYLE[min(style, 2)] if operator else 0.0


@lru_cache(maxsize=4096)
def tokens(tex: str, style: int = 0) -> tuple[Token, ...]:
    """Return the unbreakable pieces of ``tex``: groups, fractions, roots and scripts stay with their base.

    Raises
    ------
    ValueError
        On unbalanced braces.
    """
    return tuple(_scan(tex, style))


def _scan(tex: str, style: int) -> Iterator[Token]:
    position, before = 0, ""
    while position < len(tex):
        spaced = tex[position].isspace()
        while position < len(tex) and tex[position].isspace():
            position += 1
        if position == len(tex):
            return
        start = position
        kind, size, position = _nucleus(tex, position, style)
        size, position = _scripts(
            tex, position, style, size, limits=tex.startswith((r"\sum", r"\int"), start)
        )
        # A sign that follows nothing, an opening, another sign or a comma is a prefix, not a binary operator.
        if kind == "bin" and before in ("", "open", "bin", "rel", "punct", "op"):
            kind = "ord"
        yield Token(tex[start:position], kind, size, spaced)
        before = kind if kind != "space" else before


def _nucleus(tex: str, position: int, style: int) -> tuple[str, float, int]:
    factor = _STYLE[style]
    if tex[position] == "{":
        body, end = _group(tex, position)
        return "ord", width(body, style), end
    match = _WORD.match(tex, position)
    if match is None:
        raise ValueError(f"no LaTeX token at {tex[position:]!r}")
    word, end = match.group(), match.end()
    if word == r"\begin":
        return _environment(tex, position, style)
    if word == r"\frac":
        (top, end), inner = _group(tex, end), style if style == 0 else 2
        bottom, end = _group(tex, end)
        return "ord", max(width(top, inner), width(bottom, inner)) + _NULL_DELIMITERS, end
    if word in _ONE_ARGUMENT:
        body, end = _group(tex, end)
        if word == r"\operatorname":
            return "op", _roman(body) * factor, end
        if word in (r"\text", r"\mathrm", r"\mathbf", r"\mathbb"):
            return "ord", max(6.4, _roman(body)) * factor, end
        return "ord", width(body, style) + (_RADICAL * factor if word == r"\sqrt" else 0.3), end
    if big := _BIG.match(word):
        delimiter = _WORD.match(tex, end)
        if delimiter is None:
            raise ValueError(f"no delimiter after {word}")
        return "open" if word.endswith("l") else "close", _DELIMITERS[big.group(1)], delimiter.end()
    return (*_glyph(word, factor), end)


def _glyph(word: str, factor: float) -> tuple[str, float]:
    if word in (r"\sum", r"\int"):
        return "op", 14.5 * factor
    if word[0] == "\\" and word[1:] in _NAMES:
        return "op", _roman(word[1:]) * factor
    if word in _SIGNS:
        kind = "bin" if word in ("+", "-", r"\cdot", r"\times", r"\odot") else "rel"
        return kind, _SIGNS[word] * factor
    if word in _SPACES:
        return "space", _SPACES[word]
    if word in ("(", "[", r"\{", r"\lVert", r"\lvert", r"\langle"):
        return "open", {"(": 4.3, "[": 3.1, r"\lvert": 3.1}.get(word, 5.5) * factor
    if word in (")", "]", r"\}", r"\rVert", r"\rvert", r"\rangle"):
        return "close", {")": 4.3, "]": 3.1, r"\rvert": 3.1}.get(word, 5.5) * factor
    if word in (",", ";"):
        return "punct", 3.1 * factor
    if word[0].isdigit():
        return "ord", 5.5 * len(word) * factor
    return "ord", (_LETTERS.get(word) or _CHARACTERS.get(word) or _GREEK.get(word) or 8.6) * factor


def _roman(text: str) -> float:
    return sum(_ROMAN_LETTERS.get(letter, 6.4) for letter in text)


def _scripts(tex: str, position: int, style: int, size: float, *, limits: bool) -> tuple[float, int]:
    inner, found = min(style + 1, 2), {"_": 0.0, "^": 0.0}
    while position < len(tex):
        if tex[position] == "'":
            found["^"] += 3.1 * _STYLE[inner]
            position += 1
        elif tex[position] in "_^":
            mark = tex[position]
            if tex[position + 1] == "{":
                body, position = _group(tex, position + 1)
            else:
                match = _WORD.match(tex, position + 1)
                assert match is not None
                body, position = match.group(), match.end()
            found[mark] += width(body, inner)
        else:
            break
    script = max(found.values())
    if limits and style == 0:
        return max(size, script), position
    return size + (script + _SCRIPT_SPACE if script else 0.0), position


def _group(tex: str, position: int) -> tuple[str, int]:
    """Return the text inside the braces that open at ``position``, and the place after them."""
    while position < len(tex) and tex[position].isspace():
        position += 1
    depth, start = 0, position
    while position < len(tex):
        character = tex[position]
        if character == "\\":
            position += 2
            continue
        depth += (character == "{") - (character == "}")
        position += 1
        if depth == 0:
            return tex[start + 1 : position - 1], position
    raise ValueError(f"unbalanced braces in {tex[start:]!r}")


def _environment(tex: str, position: int, style: int) -> tuple[str, float, int]:
    name, inside = _group(tex, position + len(r"\begin"))
    closing = rf"\end{{{name}}}"
    end = tex.find(closing, inside)
    if end < 0:
        raise ValueError(f"no {closing} in {tex[position:]!r}")
    rows = tex[inside:end].split(r"\\")
    return (
        "ord",
        max(width(row.replace("&", r"\quad "), style) for row in rows) + 2 * _QUAD,
        end + len(closing),
    )
