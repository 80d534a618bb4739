"""Where results go: JSON, figures and graphs, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.atomic import replacing

if TYPE_CHECKING:
    from workbench.report import ReportFiles
    from workbench.tables import Table

__all__ = ["draw", "is_device", "plain", "print_files", "print_tables", "show", "write", "write_json"]

PIECE = 8192


def plain(value: Any) -> Any:
    """Return what JSON can hold: mappings and sequences copied, NaN and the infinities as None.

    >>> plain({"t": (0.0, float("nan")), "ok": True})
    {'t': [0.0, None], 'ok': True}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(target: str | None, content: Mapping[str, Any]) -> bool:
    """Write JSON to a file, or to standard output for ``-``; False, and nothing, for None."""
    if target is None:
        return False
    text = json.dumps(plain(content), allow_nan=False, ensure_ascii=False) + "\n"
    if target == "-":
        show(text)
    else:
        write(target, lambda draft: draft.write_text(text, encoding="utf-8", newline="\n"))
    return True


def draw(target: str | None, result: Any) -> None:
    """Save what ``result.plot()`` draws, in the format of the suffix; nothing for None."""
    if target is None:
        return
    os.environ.setdefault("MPLBACKEND", "Agg")  # no window, and no display needed
    drawn = result.plot()
    figure = getattr(drawn, "figure", drawn)
    write(target, lambda draft: figure.savefig(draft))


def print_tables(shown: Iterable[Table]) -> None:
    """Print tables; into a pipe or a file without the limit of a screen's width."""
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    with console.capture() as captured:  # on a broken pipe Rich itself would end the process with status 1
        for table in shown:
            drawn = Drawn(box=None, pad_edge=False)
            for head in table.heads:
                drawn.add_column(Text(head, style="bold"), overflow="fold")
            for row in table.rows:
                drawn.add_row(*map(Text, row))
            console.print(Text(table.title), drawn, *map(Text, table.notes), sep="\n")
    show("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def print_files(files: ReportFiles) -> None:
    """Print the paths of a report on standard output, and what there is to tell of it on standard error."""
    paths = [files.tex, files.json, *files.figures, files.pdf]
    show("".join(f"{path}\n" for path in paths if path is not None))
    if files.message:
        print(f"workbench: {files.message}", file=sys.stderr)


def show(text: str) -> None:
    """Write to standard output in pieces.

    Unbuffered (``PYTHONUNBUFFERED``), one large write whose reader leaves half-way is cut short without an error;
    of several, the next one raises `BrokenPipeError`.
    """
    for start in range(0, len(text), PIECE):
        sys.stdout.write(text[start : start + PIECE])


def write(target: str, save: Callable[[Path], object]) -> None:
    """Let ``save`` write a draft that then takes the place of ``target``; a device is written to directly."""
    path = Path(target)
    if is_device(path):
        save(path)
        return
    with replacing(path.resolve()) as draft:  # through a link, so that the link stays one
        save(draft)


def is_device(path: Path) -> bool:
    """Say whether there is something that must not be replaced, such as ``/dev/null`` or a pipe."""
    return path.exists() and not path.is_file()
