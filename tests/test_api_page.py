"""The page on Python lists what is public, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import workbench as wb
from workbench.analysis import Analysis

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
DIRECTIVES = re.findall(r"^\.\. automodule:: (\S+)\n((?:   :.*\n)*)", PAGE, re.MULTILINE)
#: What Python, the command line and the report share behind an analysis; documented, but not what a reader starts with.
INNER = {
    "landscape_or_reason",
    "own_width",
    "remember",
    "required_data",
    "required_study",
    "seconds",
    "small_sizes",
    "to_dict",
}


def documented() -> set[str]:
    """Give the dotted names of the classes and functions that the page documents."""
    found = set()
    for module, options in DIRECTIVES:
        chosen = re.search(r":members:(.*)", options)
        names = chosen[1].replace(" ", "").split(",") if chosen and chosen[1].strip() else None
        if ":no-members:" not in options:
            found |= {f"{module}.{name}" for name in (names or importlib.import_module(module).__all__)}
    return found


def public() -> set[str]:
    """Give the names of an analysis that are no private ones."""
    return {name for name in vars(Analysis) if not name.startswith("_")}


def test_every_public_name_is_listed() -> None:
    assert set(re.findall(r"^\| `wb\.(\w+)`", PAGE, re.MULTILINE)) == set(wb.__all__)


def test_every_public_name_is_documented() -> None:
    for name in wb.__all__:
        value = getattr(wb, name)
        assert f"{value.__module__}.{value.__name__}" in documented()


def test_everything_an_analysis_can_be_asked_is_listed() -> None:
    listed = set(re.findall(r"^\| `\.(\w+)", PAGE, re.MULTILINE))
    assert listed == public() - INNER


def test_what_an_analysis_gives_is_documented() -> None:
    classes = {full.rsplit(".", 1)[1] for full in documented()}
    for name in public() - INNER:
        if inspect.isfunction(method := vars(Analysis)[name]):
            assert set(re.findall(r"[A-Z]\w+", method.__annotations__["return"])) <= classes, name


def test_every_module_and_name_on_the_page_exists() -> None:
    assert DIRECTIVES
    for full in documented():
        module, name = full.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), name), full
