"""The notebooks of the documentation: they run, and show what is stored in them."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "docs" / "notebooks.py"
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def _load() -> ModuleType:
    """Import the script, which lies in no package."""
    spec = importlib.util.spec_from_file_location("docs_notebooks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notebooks = _load()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Call the script in a process of its own, where warnings of Jupyter's libraries are theirs."""
    for name in ("nbclient", "nbformat", "ipykernel"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; 'make test' installs it")
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def code(name: str, source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    """Make a code cell."""
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {},
        "source": [source],
        "execution_count": 1,
        "outputs": list(outputs),
    }


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    """Make a notebook."""
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def printed(text: str) -> dict[str, Any]:
    """Make the output of a print."""
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def shown(form: str, text: str) -> dict[str, Any]:
    """Make a result in one form."""
    return {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {form: text}}


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_fresh_kernel_shows_what_is_stored(path: Path) -> None:
    result = run("--check", path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebooks_are_run_from_top_to_bottom_and_tidy(path: Path) -> None:
    stored = notebooks.read(path)
    assert notebooks.tidy(stored) == stored
    counts = [cell["execution_count"] for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    names = [cell["id"] for cell in stored["cells"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_hold_no_warning_no_error_and_no_path_of_a_machine(path: Path) -> None:
    for cell in notebooks.read(path)["cells"]:
        for output in cell.get("outputs", ()):
            assert output["output_type"] != "error", cell["id"]
            assert output.get("name", "stdout") == "stdout", cell["id"]
            for form, text in output.get("data", {}).items():
                if form != "image/png":
                    assert not re.search(r"/home/|/tmp/|/Users/| at 0x", "".join(text)), cell["id"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_stands_in_the_table_of_contents(path: Path) -> None:
    assert f"\nnotebooks/{path.stem}\n" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_outputs_are_stored_and_a_changed_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    notebooks.write(path, notebook(code("sum", "1 + 1"), code("word", "print('a', end='b')\nprint('c')")))
    assert run(path).returncode == 0
    stored = notebooks.read(path)
    assert stored["cells"][0]["outputs"][0]["data"] == {"text/plain": ["2"]}
    assert stored["cells"][1]["outputs"] == [printed("abc\n")]
    stored["cells"][0]["outputs"][0]["data"]["text/plain"] = ["3"]
    notebooks.write(path, stored)
    result = run("--check", path)
    assert result.returncode == 1
    assert "cell 'sum'" in result.stderr
    assert "cell 'word'" not in result.stderr
    assert notebooks.read(path) == stored


def test_a_cell_that_fails_is_named_and_nothing_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "bad.ipynb"
    before = notebook(code("fine", "x = 1"), code("broken", "assert x == 2, 'one is not two'"))
    notebooks.write(path, before)
    result = run(path)
    assert result.returncode == 1
    assert "cell 'broken' fails" in result.stderr
    assert "one is not two" in result.stderr
    assert notebooks.read(path) == before


SAME = {
    "rounding": (printed("off by 2.2e-16\n"), printed("off by 0.0e+00\n")),
    "last digits": (printed("0.73312500\n"), printed("0.73312501\n")),
    "another figure": (shown("image/png", "aaaa"), shown("image/png", "bbbb")),
}
DIFFERENT = {
    "a digit that counts": (printed("0.7331\n"), printed("0.7332\n")),
    "an integer": (printed("6 laws\n"), printed("7 laws\n")),
    "a word": (printed("PROVED\n"), printed("SUPPORTED\n")),
    "rounding that has grown": (printed("off by 2.2e-16\n"), printed("off by 2.2e-06\n")),
    "a sign": (printed("-0.25\n"), printed("0.25\n")),
    "another form": (shown("text/latex", "$a$"), shown("text/plain", "$a$")),
    "a lost figure": (shown("image/png", "aaaa"), shown("text/plain", "<Figure>")),
}


@pytest.mark.parametrize(("stored", "now"), SAME.values(), ids=list(SAME))
def test_what_differs_between_machines_is_no_difference(stored: dict, now: dict) -> None:
    assert notebooks.differences(notebook(code("a", "x", stored)), notebook(code("a", "x", now))) == []


@pytest.mark.parametrize(("stored", "now"), DIFFERENT.values(), ids=list(DIFFERENT))
def test_what_a_reader_would_see_is_a_difference(stored: dict, now: dict) -> None:
    (message,) = notebooks.differences(notebook(code("a", "x", stored)), notebook(code("a", "x", now)))
    assert "cell 'a'" in message


def test_an_output_that_is_missing_is_a_difference() -> None:
    both = notebook(code("a", "x", printed("1\n"), shown("text/plain", "2")))
    one = notebook(code("a", "x", printed("1\n")))
    assert notebooks.differences(both, one)
    assert notebooks.differences(one, both)


def test_the_best_form_of_an_output_is_kept() -> None:
    output = shown("text/plain", "long repr")
    output["data"] |= {"text/latex": "$a$", "text/markdown": "**a** $b$"}
    tidy = notebooks.tidy(notebook(code("a", "x", output)))
    assert tidy["cells"][0]["outputs"][0]["data"] == {"text/markdown": ["**a** $b$"]}
    assert json.loads(json.dumps(tidy)) == notebooks.tidy(copy.deepcopy(tidy))
