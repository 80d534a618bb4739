"""Files appear whole or not at all: written beside their place under another name, then moved in.

``os.replace`` is atomic within a directory, so a reader, a crash or a kill sees the old file or the new one.

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp())
>>> write_text(folder / "a.txt", "whole")
>>> [path.name for path in folder.iterdir()], (folder / "a.txt").read_text()
(['a.txt'], 'whole')
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

__all__ = ["remove", "replacing", "write_text"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name in the same folder to write to; on leaving, the file takes its place, on an error it goes.

    Parameters
    ----------
    path : Path
        The final place. The temporary name keeps its suffix, which may tell a writer the format.
    """
    draft = path.with_name(f".{path.stem}-{secrets.token_hex(6)}{path.suffix}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file, and what writers that were killed left of it under temporary names."""
    path.unlink(missing_ok=True)
    for draft in path.parent.glob(f".{escape(path.stem)}-*{escape(path.suffix)}"):
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, whole or not at all."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")
