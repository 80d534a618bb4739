"""Run the notebooks of docs/notebooks: store what their cells show, or compare it with what is stored.

    python docs/notebooks.py            run every notebook and store its outputs
    python docs/notebooks.py --check    run them and name each cell whose outputs are not those stored

What is stored is the best form of each output, so that GitHub, Jupyter and Sphinx all show the same. In a comparison
figures need only be there, and numbers with a decimal point may differ in their last digits.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "notebooks"

#: Forms of an output, the best one first; figures, then what every reader of notebooks typesets.
FORMS = ("image/png", "text/markdown", "text/latex", "text/html", "text/plain")
#: Relative difference of two numbers that count as equal: outputs print up to eight digits.
RELATIVE = 1e-6
#: Below this size a number is rounding, which differs between machines.
ROUNDING = 1e-9
#: Seconds for one cell.
PATIENCE = 120

_DECIMAL = re.compile(r"[-+]?\d+(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+)")

Notebook = dict[str, Any]


def read(path: Path) -> Notebook:
    """Read a notebook file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, notebook: Notebook) -> None:
    """Write a notebook file the way Jupyter does, so that saving it there changes nothing."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def run(notebook: Notebook) -> Notebook:
    """Return the notebook with the outputs of a fresh kernel, in the form that is stored.

    Raises
    ------
    RuntimeError
        If a cell fails; the message names it and ends with its traceback.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    # This checkout, and figures in the notebook whatever the caller's backend is.
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    inline = "module://matplotlib_inline.backend_inline"
    environment = {**os.environ, "PYTHONPATH": path, "MPLBACKEND": inline}
    node = nbformat.reads(json.dumps(notebook), as_version=4)
    client = NotebookClient(node, timeout=PATIENCE, kernel_name="python3", extra_arguments=["--log-level=40"])
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        failed = next(cell["id"] for cell in node.cells if any("ename" in o for o in cell.get("outputs", ())))
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        raise RuntimeError(f"cell '{failed}' fails:\n{plain}") from None
    return tidy(json.loads(json.dumps(node)))


def tidy(notebook: Notebook) -> Notebook:
    """Return the notebook without times, versions and second-best forms of outputs."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = []
    for cell in notebook["cells"]:
        kept = {
            "cell_type": cell["cell_type"],
            "id": cell["id"],
            "metadata": {},
            "source": _lines(_text(cell["source"])),
        }
        if cell["cell_type"] == "code":
            kept |= {"execution_count": cell["execution_count"], "outputs": list(_outputs(cell["outputs"]))}
        cells.append(dict(sorted(kept.items())))
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _outputs(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield outputs in their best form; what is printed in pieces becomes one."""
    printed: dict[str, Any] | None = None
    for output in outputs:
        if output["output_type"] == "stream":
            if printed is None or printed["name"] != output["name"]:
                printed = {"name": output["name"], "output_type": "stream", "text": []}
                yield printed
            printed["text"] = _lines(_text(printed["text"]) + _text(output["text"]))
            continue
        printed = None
        best = next(form for form in FORMS if form in output["data"])
        text = _text(output["data"][best])
        data = {best: text if best == "image/png" else _lines(text)}
        yield {**output, "data": data, "metadata": {}}


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def differences(stored: Notebook, fresh: Notebook) -> list[str]:
    """Return one message for each cell whose outputs differ by more than figures and last digits."""
    found = []
    for old, new in zip(stored["cells"], fresh["cells"], strict=True):
        if old["cell_type"] != "code":
            continue
        before, after = list(_shown(old["outputs"])), list(_shown(new["outputs"]))
        if len(before) != len(after) or not all(map(_alike, before, after)):
            found.append(f"cell '{old['id']}'\n  stored: {_printed(before)}\n  now:    {_printed(after)}")
    return found


def _shown(outputs: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (form, text) of every output; of a figure only that it is there."""
    for output in outputs:
        if output["output_type"] == "stream":
            yield output["name"], _text(output["text"])
        else:
            ((form, text),) = output["data"].items()
            yield form, "" if form == "image/png" else _text(text)


def _alike(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Say whether two outputs have the same form and words, and close numbers."""
    if one[0] != other[0] or _DECIMAL.split(one[1]) != _DECIMAL.split(other[1]):
        return False
    pairs = zip(_DECIMAL.findall(one[1]), _DECIMAL.findall(other[1]), strict=True)
    return all(math.isclose(float(u), float(v), rel_tol=RELATIVE, abs_tol=ROUNDING) for u, v in pairs)


def _printed(outputs: list[tuple[str, str]]) -> str:
    return " | ".join(f"[{form}] {text.strip()}" for form, text in outputs) or "nothing"


def main() -> int:
    """Run the notebooks named on the command line, or all; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Run the notebooks of docs/notebooks and store their outputs."
    )
    parser.add_argument("--check", action="store_true", help="store nothing; compare with what is stored")
    parser.add_argument("notebooks", nargs="*", type=Path, help="files; all of docs/notebooks by default")
    options = parser.parse_args()
    status = 0
    for path in options.notebooks or sorted(FOLDER.glob("*.ipynb")):
        stored = read(path)
        try:
            fresh = run(stored)
        except RuntimeError as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 1
            continue
        if not options.check:
            write(path, fresh)
            print(f"Wrote {path}")
        elif found := differences(stored, fresh):
            print(f"{path}: outputs are not those stored; 'make notebooks' stores them anew", file=sys.stderr)
            print("\n".join(found), file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
