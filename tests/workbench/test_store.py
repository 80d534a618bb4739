from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from workbench import store as module
from workbench.store import Store, default_path, make_key, open_store

KEY: dict[str, Any] = {
    "study": {"name": "demo", "model": {"width": 2}},
    "data_sha256": "00ff",
    "width": 2,
    "settings": {"seed": 0, "starts": 100, "rtol": 1e-8},
}

WRITER = """
import sys
from workbench.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
for i in range(int(sys.argv[3])):
    store.put(f"{sys.argv[2]}-{i}", {"i": i, "text": "x" * 20000})
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [key for (key,) in connection.execute(f"SELECT key FROM {module.TABLE}")]
    connection.close()
    return found


def change(path: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "results.sqlite"


def test_what_is_put_is_got_as_json_gives_it(path: Path) -> None:
    store = Store(path)
    assert store.get("a") is None
    assert not path.exists()  # a question makes no file
    store.put("a", {"value": 0.1, "pair": (1, 2), "none": None, "text": "\u03b8", "inf": float("inf")})
    expected = {"value": 0.1, "pair": [1, 2], "none": None, "text": "\u03b8", "inf": float("inf")}
    assert Store(path).get("a") == expected
    assert Store(path).get("b") is None


def test_the_last_value_counts(path: Path) -> None:
    store = Store(path)
    store.put("a", {"v": 1})
    store.put("a", {"v": 2})
    assert store.get("a") == {"v": 2}
    assert rows(path) == ["a"]
    store.clear()
    assert store.get("a") is None


@pytest.mark.parametrize("value", [[1], "text", {"a": object()}])
def test_what_json_cannot_hold_is_the_callers_fault(path: Path, value: Any) -> None:
    with pytest.raises(TypeError):
        Store(path).put("a", value)


def test_equal_content_has_equal_keys() -> None:
    turned = KEY | {"settings": dict(reversed(KEY["settings"].items())), "study": dict(KEY["study"])}
    assert make_key("critical", **KEY) == make_key("critical", **turned)
    assert len(make_key("critical", **KEY)) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"study": {"name": "demo", "model": {"width": 3}}},
        {"data_sha256": "00fe"},
        {"data_sha256": None},
        {"width": 3},
        {"width": [2]},
        {"settings": {"seed": 1, "starts": 100, "rtol": 1e-8}},
        {"settings": {"seed": 0, "starts": 100, "rtol": 1.0000000000000002e-8}},
    ],
)
def test_other_content_has_another_key(changed: dict[str, Any]) -> None:
    assert make_key("critical", **KEY) != make_key("critical", **(KEY | changed))


def test_stage_source_and_libraries_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {make_key("critical", **KEY), make_key("landscape", **KEY)}
    monkeypatch.setattr(module, "source_digest", lambda: "another line")
    keys.add(make_key("critical", **KEY))
    monkeypatch.setattr(module, "_version", lambda name: "9.9")
    keys.add(make_key("critical", **KEY))
    assert len(keys) == 4


@pytest.mark.parametrize("bad", [{1: "a"}, {"a": float("nan")}, {"a": {2: 3}}, {"a": object()}])
def test_content_that_could_collide_has_no_key(bad: dict[Any, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        make_key("critical", **(KEY | {"settings": bad}))


def test_the_source_digest_sees_every_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in module.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "workbench" / "store.py"))
    digest = module.source_digest.__wrapped__
    before = digest()
    assert digest() == before
    (tmp_path / "numerics" / "a.py").write_text("x = 2\n")
    changed = digest()
    (tmp_path / "numerics" / "a.py").rename(tmp_path / "numerics" / "b.py")
    assert len({before, changed, digest()}) == 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("value", b'{"v":2}'),
        ("value", b'{"v":'),
        ("value", b""),
        ("value", "text"),
        ("sha256", "0" * 64),
        ("key", "b"),
    ],
)
def test_a_row_that_does_not_match_is_a_miss(path: Path, column: str, value: Any) -> None:
    store = Store(path)
    store.put("a", {"v": 1})
    change(path, f"UPDATE {module.TABLE} SET {column} = ?", value)
    assert store.get("a") is None
    assert store.get("b") is None  # a row moved to another key is not believed either
    store.put("a", {"v": 3})
    assert store.get("a") == {"v": 3}


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_set_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    store = Store(path)
    with pytest.warns(RuntimeWarning, match=r"is damaged .* it is now results.sqlite.corrupt-\d+, a new one"):
        assert store.get("a") is None
    store.put("a", {"v": 1})
    assert store.get("a") == {"v": 1}
    (aside,) = path.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == content


def test_a_file_with_torn_pages_never_gives_a_wrong_value(path: Path) -> None:
    store = Store(path)
    for i in range(40):
        store.put(f"k{i}", {"i": i, "text": "x" * 3000})
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    for start in range(5 * 4096, len(content), 3 * 4096):
        content[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = [store.get(f"k{i}") for i in range(40)]
    assert all(value in (None, {"i": i, "text": "x" * 3000}) for i, value in enumerate(got))
    store.put("new", {"v": 1})
    assert store.get("new") == {"v": 1}


def test_an_empty_file_is_an_empty_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert Store(path).get("a") is None


def test_a_store_that_cannot_be_used_warns_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "results.sqlite")
    with pytest.warns(RuntimeWarning, match="is not used"):
        store.put("a", {"v": 1})
    store.put("b", {"v": 1})  # a second warning would be an error here
    assert store.get("a") is None


def test_a_locked_store_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    store.put("a", {"v": 1})
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.get("a") == {"v": 1}  # readers do not wait for a writer
    with pytest.warns(RuntimeWarning, match="locked"):
        store.put("b", {"v": 2})
    other.execute("ROLLBACK")
    other.close()
    store.put("b", {"v": 2})
    assert store.get("b") == {"v": 2}


def test_the_oldest_make_room(path: Path) -> None:
    store = Store(path, limit_bytes=1000)
    for i in range(8):
        store.put(str(i), {"text": "x" * 300})
    assert rows(path) == ["5", "6", "7"]
    store.put("large", {"text": "x" * 5000})
    assert rows(path) == ["large"]


def test_threads_share_a_store(path: Path) -> None:
    store = Store(path)

    def work(name: str) -> None:
        for i in range(10):
            store.put(f"{name}{i}", {"i": i})

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows(path)) == 40


def test_processes_that_begin_a_store_at_once_lose_nothing(path: Path) -> None:
    processes = [writer(path, name, 25) for name in "abcd"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    store = Store(path)
    for name in "abcd":
        for i in range(25):
            assert store.get(f"{name}-{i}") == {"i": i, "text": "x" * 20000}


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_writer_leaves_only_whole_values(path: Path) -> None:
    store = Store(path)
    for turn in range(4):
        process = writer(path, str(turn), 10**6)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while not (path.exists() and any(key.startswith(f"{turn}-") for key in keys_so_far(path))):
            time.sleep(0.005)
        time.sleep(0.013 * turn)  # at different moments of a put
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        keys = rows(path)
        assert any(key.startswith(f"{turn}-") for key in keys)
        for key in keys:
            assert store.get(key) == {"i": int(key.partition("-")[2]), "text": "x" * 20000}
    store.put("after", {"v": 1})
    assert store.get("after") == {"v": 1}
    assert not list(path.parent.glob("*.corrupt-*"))


def keys_so_far(path: Path) -> list[str]:
    """Read the keys while another process may be making the table."""
    try:
        return rows(path)
    except sqlite3.OperationalError:
        return []


def test_where_the_store_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = Path("landscape-workbench", "results.sqlite")
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / name
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for invalid in ("relative/folder", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", invalid)
        assert default_path() == tmp_path / "home" / ".cache" / name
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    assert default_path() == tmp_path / "results.sqlite"
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "mine.db"))
    assert default_path() == tmp_path / "mine.db"
    store = open_store()
    assert store is not None
    assert store.path == tmp_path / "mine.db"
    for off in ("off", " OFF "):
        monkeypatch.setenv("WORKBENCH_CACHE", off)
        assert open_store() is None
