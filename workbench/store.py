"""A store of results by content: what was computed once, from the same study by the same code, is read back.

The key is the SHA-256 of everything a result depends on, so nothing is ever out of date: another seed, another
version of torch or one changed line of the packages is another key.

>>> import tempfile
>>> store = Store(Path(tempfile.mkdtemp()) / "results.sqlite")
>>> key = make_key("critical", study={"name": "demo"}, data_sha256=None, width=2, settings={"seed": 0, "starts": 100})
>>> store.get(key)
>>> store.put(key, {"value": 0.25})
>>> store.get(key)
{'value': 0.25}

The file is SQLite in write-ahead mode: processes may share it, and one that is killed leaves no half row.  Each
value carries a digest of its key and text; one that does not match is a miss.  A file that is not a database any
more is renamed aside, with a warning, and a new one begun.  No failure of the store stops a computation.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Store", "default_path", "make_key", "open_store", "source_digest"]

SCHEMA = 1
VARIABLE = "WORKBENCH_CACHE"
PACKAGES = ("derivations", "numerics", "workbench")
LIBRARIES = ("landscape-workbench", "sympy", "torch")
LIMIT_BYTES = 1024**3
BUSY_SECONDS = 20.0
TABLE = f"results_{SCHEMA}"  # versions that store otherwise may share the file
T = TypeVar("T")


class Store:
    """Results in one SQLite file.

    Parameters
    ----------
    path : path
        The file; it and its folder are made when something is first stored.
    limit_bytes : int
        Size of all values together beyond which the oldest are dropped.

    The methods may be called from any thread and process: each opens a connection of its own.
    """

    def __init__(self, path: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = Path(path)
        self.limit_bytes = limit_bytes
        self._warned = False

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was stored under ``key``; None if nothing was, or if it does not match its digest."""
        if not self.path.exists():
            return None

        def read(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            return connection.execute(f"SELECT value, sha256 FROM {TABLE} WHERE key = ?", (key,)).fetchone()

        row = self._do(read)
        if row is None or not isinstance(row[0], bytes) or _digest(key, row[0]) != row[1]:
            return None
        with suppress(ValueError, RecursionError):
            value = json.loads(row[0])
            return value if isinstance(value, dict) else None
        return None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store ``value``, which is read back as JSON gives it: tuples as lists, every key a string.

        Raises
        ------
        TypeError
            If it is not a mapping of what JSON can hold: a fault of the caller, not of the store.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"a mapping is stored, not {type(value).__name__}")
        text = json.dumps(dict(value), separators=(",", ":")).encode()

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"DELETE FROM {TABLE} WHERE key = ?", (key,))
            connection.execute(
                f"INSERT INTO {TABLE} (key, value, sha256, created) VALUES (?, ?, ?, ?)",
                (key, text, _digest(key, text), time.time()),
            )
            self._make_room(connection)
            connection.execute("COMMIT")

        self._do(write)

    def clear(self) -> None:
        """Forget everything."""
        if self.path.exists():
            self._do(lambda connection: connection.execute(f"DELETE FROM {TABLE}").fetchall())

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Drop the oldest rows until the rest fit; the newest always stays."""
        sizes = connection.execute(f"SELECT id, length(value) FROM {TABLE} ORDER BY id").fetchall()
        excess = sum(size for _, size in sizes) - self.limit_bytes
        for row, size in sizes[:-1]:
            if excess <= 0:
                break
            connection.execute(f"DELETE FROM {TABLE} WHERE id = ?", (row,))
            excess -= size

    def _do(self, action: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run ``action`` on a connection; None where the file cannot be used.

        A file that is not a database (any more) is set aside once, and the action tried on a new one.
        """
        for attempt in (1, 2):
            identity = self._identity()
            try:
                with closing(self._connect()) as connection:
                    return action(connection)
            except sqlite3.OperationalError as error:  # locked, full, read-only: the file itself is sound
                self._warn(f"the store {self.path} is not used: {error}")
                return None
            except sqlite3.DatabaseError as error:
                if attempt == 2 or not self._set_aside(identity, error):
                    return None
            except OSError as error:
                self._warn(f"the store {self.path} is not used: {error.strerror or error}")
                return None
        return None

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _write_ahead(connection)
            connection.execute(
                "PRAGMA synchronous = NORMAL"
            )  # a power cut may lose the last rows, never mix them
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {TABLE} (id INTEGER PRIMARY KEY AUTOINCREMENT, "
                "key TEXT UNIQUE NOT NULL, value BLOB NOT NULL, sha256 TEXT NOT NULL, created REAL NOT NULL)"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[int, int] | None:
        """Tell this file from one that takes its place."""
        with suppress(OSError):
            status = self.path.stat()
            return status.st_dev, status.st_ino
        return None

    def _set_aside(self, identity: tuple[int, int] | None, error: Exception) -> bool:
        """Rename the file, unless another process has done so meanwhile; False if that fails."""
        if identity is None or self._identity() != identity:
            return True
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
        try:
            self.path.rename(aside)
        except OSError as failure:
            self._warn(
                f"the store {self.path} is damaged ({error}) and cannot be renamed: {failure.strerror}"
            )
            return False
        for suffix in ("-wal", "-shm"):  # they belong to the renamed file
            with suppress(OSError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        warnings.warn(
            f"the store {self.path} is damaged ({error}); it is now {aside.name}, a new one is begun",
            RuntimeWarning,
            stacklevel=2,
        )
        return True

    def _warn(self, message: str) -> None:
        """Warn, once for this object: a store that cannot be written fails at every result."""
        if not self._warned:
            self._warned = True
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def default_path() -> Path | None:
    """Return the file of the store, or None where ``WORKBENCH_CACHE`` is ``off``.

    ``WORKBENCH_CACHE`` names a file, or a folder that exists; without it the file is
    ``landscape-workbench/results.sqlite`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``.
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.casefold() == "off":
        return None
    if chosen:
        path = Path(chosen).expanduser()
        return path / "results.sqlite" if path.is_dir() else path
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # the XDG rule: a relative path there is invalid and to be ignored
    folder = home if home.is_absolute() else Path("~/.cache").expanduser()
    return folder / "landscape-workbench" / "results.sqlite"


def open_store() -> Store | None:
    """Return the user's store, or None where it is switched off."""
    path = default_path()
    return None if path is None else Store(path)


def make_key(
    stage: str,
    *,
    study: Mapping[str, Any],
    data_sha256: str | None,
    width: int | Sequence[int] | None,
    settings: Mapping[str, Any],
) -> str:
    """Return the key of a result: the SHA-256, in hexadecimal, of all it depends on.

    Parameters
    ----------
    stage : str
        What was computed: ``critical``, ``landscape``.
    study : mapping
        Content of the study, as ``Study.to_dict()`` gives it.
    data_sha256 : str or None
        ``Dataset.sha256``: the study only names the file its data come from.
    width : int, sequence of int or None
        Width or widths computed.
    settings : mapping
        Everything else: seed, starts, dtype, device, tolerances.

    Raises
    ------
    ValueError, TypeError
        If something in it is no finite number, text, boolean, None, or array or table of such.
    """
    content = {
        "schema": SCHEMA,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "source": source_digest(),
        "study": study,
        "data": data_sha256,
        "width": width,
        "stage": stage,
        "settings": settings,
    }
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


@cache
def source_digest() -> str:
    """Return a digest of every Python file of the three packages, names included; read once per process."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _canonical(value: Any) -> str:
    """Write equal content equally: keys sorted, no spaces; keys that are no text would collide with text."""

    def check(part: Any) -> Any:
        if isinstance(part, Mapping):
            for key in part:
                if not isinstance(key, str):
                    raise TypeError(f"a key of the content is {key!r}; required is text")
            return {key: check(entry) for key, entry in part.items()}
        return [check(entry) for entry in part] if isinstance(part, (list, tuple)) else part

    return json.dumps(check(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch the journal; processes that open a new file at once collide, and SQLite does not wait here itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _digest(key: str, text: bytes) -> str:
    """Bind a value to its key: a row under the wrong key does not match either."""
    return hashlib.sha256(f"{key}\0".encode() + text).hexdigest()


def _version(name: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
