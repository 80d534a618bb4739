r"""Generated source kept on disk from run to run, by content: what was asked for, and the code that answered.

The key is the SHA-256 of the problem (formulas written out with the assumptions on their symbols), of the function
and the plan asked for, of every line of ``derivations`` and ``numerics`` and of the versions of SymPy and Python.
Nothing is ever out of date: one changed line is another key.

A file is text, and its text is executed, so it is believed only if

* it is a plain file of this user that nobody else may write, in such a folder (POSIX; elsewhere the user's profile);
* its digest, bound to the key, is right: a damaged file, or one under another name, is not;
* its source is in the closed language of the generator (``numerics.code_grammar``): arithmetic on its arguments.  So
  the worst that a forged file can do is to give wrong numbers.

Anything else is a miss, and the function is derived again.  No failure of the cache stops a computation.

>>> import tempfile
>>> cache = CodeCache(Path(tempfile.mkdtemp()) / "code")
>>> cache.get("0" * 64) is None
True
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sympy

from derivations.problem import Problem
from numerics.code_grammar import is_generated
from numerics.emit import Lowered
from numerics.emit_nodes import Plan

__all__ = ["CodeCache", "code_cache", "default_folder", "request_of"]

SCHEMA = 1
#: Both switch the cache off with ``off``; the second names its folder.
RESULTS, VARIABLE = "WORKBENCH_CACHE", "WORKBENCH_CODE_CACHE"
PACKAGES = ("derivations", "numerics")
#: Files beyond which the oldest are dropped, and bytes beyond which a file is not read.
MOST_FILES, MOST_BYTES = 1000, 1 << 22
#: A source file changed after this moment may differ from the code that runs, so that its digest says nothing.
_LOADED = time.time()


class CodeCache:
    """Generated functions in one folder, a file each.

    Parameters
    ----------
    folder : path
        Made, for this user alone, when something is first kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> Lowered | None:
        """Return what was kept under ``key``; None if nothing was, or if it is not to be believed."""
        try:
            if not _is_private(os.stat(self.folder), stat.S_ISDIR):
                return None
            descriptor = os.open(self._path(key), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with open(descriptor, encoding="utf-8") as file:
                if not _is_private(os.fstat(file.fileno()), stat.S_ISREG):
                    return None
                content = json.loads(file.read(MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(content, dict) or content.get("sha256") != _digest(key, content.get("function")):
            return None
        return _function(content["function"])

    def put(self, key: str, function: Lowered) -> None:
        """Keep ``function`` under ``key``; silently not, where the folder cannot be written."""
        kept = asdict(function) | {"work": sorted(function.work)}
        content = {"sha256": _digest(key, kept), "function": kept}
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_private(os.stat(self.folder), stat.S_ISDIR):
                return
            descriptor, name = tempfile.mkstemp(dir=self.folder, suffix=".part")  # for this user alone
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(content, file)
                os.replace(name, self._path(key))
            except OSError:
                os.unlink(name)
                raise
            self._make_room()

    def clear(self) -> None:
        """Forget everything."""
        for path in self.folder.glob("*.json"):
            with suppress(OSError):
                path.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _make_room(self) -> None:
        files = list(self.folder.glob("*.json"))
        if len(files) > MOST_FILES:
            files.sort(key=lambda path: path.stat().st_mtime)
            for path in files[: len(files) - MOST_FILES]:
                path.unlink(missing_ok=True)


def default_folder() -> Path | None:
    """Return the folder of the cache, or None where it is switched off.

    ``WORKBENCH_CODE_CACHE`` names it; ``off`` there, or in ``WORKBENCH_CACHE``, switches it off.  By default it is
    ``landscape-workbench/code`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``.
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    if "off" in (chosen.casefold(), os.environ.get(RESULTS, "").strip().casefold()):
        return None
    if chosen:
        return Path(chosen).expanduser()
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        folder = home if home.is_absolute() else Path("~/.cache").expanduser()
    except RuntimeError:  # a user without a home
        return None
    return folder / "landscape-workbench" / "code"


def code_cache() -> CodeCache | None:
    """Return the user's cache, or None where it is switched off."""
    folder = default_folder()
    return None if folder is None else CodeCache(folder)


def request_of(problem: Problem, what: str, plan: Plan) -> str | None:
    """Return the key of a function, or None where it cannot be told what it depends on.

    That is: a problem, activation or function defined outside the packages, or source files changed since they were
    loaded.
    """
    code = _code()
    try:
        content = [SCHEMA, code, what, asdict(plan), _written_out(problem)]
    except TypeError:
        return None
    return None if code is None else hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _written_out(part: Any) -> Any:
    """Return everything that a problem consists of as JSON can hold it; TypeError if that is not known."""
    if part is None or isinstance(part, bool | int | str):
        return part
    if isinstance(part, tuple):
        return [_written_out(u) for u in part]
    if isinstance(part, sympy.Expr):
        return _expression(part)
    if is_dataclass(part) and _is_ours(type(part)):
        own = {f.name: _written_out(getattr(part, f.name)) for f in fields(part)}
        return [type(part).__module__, type(part).__qualname__, own]
    raise TypeError(f"{type(part).__name__} has no text that says all of it")


def _expression(expr: sympy.Expr) -> str:
    for part in sympy.preorder_traversal(expr):
        known = part.args or isinstance(part, sympy.Symbol | sympy.Number | sympy.NumberSymbol)
        if not known or not (_is_ours(type(part)) or str(type(part).__module__).startswith("sympy.")):
            raise TypeError(f"{part} has no text that says all of it")
    return sympy.srepr(expr)


def _is_ours(kind: type) -> bool:
    return str(kind.__module__).split(".")[0] in PACKAGES


@cache
def _code() -> list[str] | None:
    """Return digest and versions of the code that generates; None if the files are no longer what was loaded."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    try:
        for package in PACKAGES:
            for path in sorted((root / package).rglob("*.py")):
                if path.stat().st_mtime > _LOADED:
                    return None
                content = path.read_bytes()
                digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    except OSError:
        return None
    ground = str(sympy.external.gmpy.GROUND_TYPES)
    return [digest.hexdigest(), sympy.__version__, ground, platform.python_version()]


def _digest(key: str, function: Any) -> str:
    """Bind a function to its key: a file under the wrong key does not match either."""
    text = json.dumps(function, sort_keys=True)
    return hashlib.sha256(f"{key}\0{text}".encode()).hexdigest()


def _function(content: Any) -> Lowered | None:
    """Return the function of a file, if it is one that the generator could have written."""
    try:
        plan = Plan(**content["plan"])
        names = {key: tuple(map(str, content[key])) for key in ("arguments", "data", "sizes")}
        work, held = (tuple(tuple(map(str, u)) for u in content[key]) for key in ("work", "held"))
        source, name = str(content["source"]), str(content["name"])
        found = Lowered(source, name, work=frozenset(work), held=held, plan=plan, **names)
    except (TypeError, KeyError, AttributeError):
        return None
    return found if is_generated(found.source, found.name) else None


def _is_private(status: os.stat_result, kind: Any) -> bool:
    """Say whether this user alone may write what ``status`` describes."""
    if not kind(status.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
