"""Interrupted runs with a process that is really killed, and files that cannot be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from workbench.checkpoint import Checkpoint, checkpoint_for, clean
from workbench.store import source_digest

STUDY = """
schema = 1
name = "long"
[model]
width = 3
activation = "{activation}"
[data]
x = [[-1.0], [-0.4], [0.1], [0.6], [1.0]]
y = [-0.4, 0.2, 0.3, -0.2, 0.5]
"""


def starts(count: int) -> str:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(count, 9, generator=generator, dtype=torch.float64).tolist()
    return json.dumps([{"a": u[:3], "w": [[v] for v in u[3:6]], "b": u[6:]} for u in drawn])


def command(folder: Path, *more: str) -> list[str]:
    study, theta = str(folder / "study.toml"), str(folder / "theta.json")
    return [
        sys.executable,
        "-m",
        "workbench",
        "flow",
        study,
        "--from",
        theta,
        "--points",
        "5",
        "--json",
        "-",
        *more,
    ]


def environment(folder: Path, name: str) -> dict[str, str]:
    (folder / name).mkdir(exist_ok=True)
    return os.environ | {
        "WORKBENCH_CACHE": str(folder / name),
        "WORKBENCH_CHECKPOINT": "0.02",
        "OMP_NUM_THREADS": "1",
    }


def run(folder: Path, name: str, *more: str) -> str:
    done = subprocess.run(
        command(folder, *more), env=environment(folder, name), capture_output=True, text=True, check=True
    )
    return done.stdout


def kill_when(folder: Path, name: str, ready: Path | str, *more: str) -> None:
    """Start the command and kill it once a file matching the pattern is there."""
    process = subprocess.Popen(
        command(folder, *more),
        env=environment(folder, name),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if list((folder / name).glob(str(ready))):
                time.sleep(0.1)
                break
            time.sleep(0.005)
        assert process.poll() is None, "the run was over before it could be killed: make it longer"
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("activation", "options"),
    [
        pytest.param("tanh", ("--until", "3e3", "--event", "loss:0.05"), id="flow"),
        pytest.param(
            "tanh",
            ("--until", "1e4", "--step-size", "0.5", "--label-noise", "0.01", "--seed", "3"),
            id="descent",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_killed_command_goes_on_where_it_was_and_gives_the_same_bytes(
    activation: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.format(activation=activation))
    (tmp_path / "theta.json").write_text(starts(4))
    # A kill may also leave a draft, whose name begins with a dot; it goes with the checkpoint.
    kill_when(tmp_path, "killed", "runs/[!.]*.npz", *options)
    (left,) = (tmp_path / "killed" / "runs").glob("[!.]*.npz")
    progress = Checkpoint(left).load()
    assert progress is not None
    resumed = run(tmp_path, "killed", *options)
    assert resumed == run(tmp_path, "whole", *options)
    assert not list((tmp_path / "killed" / "runs").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_trajectories_across_kinks_are_kept_as_they_are_done(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.format(activation="relu"))
    (tmp_path / "theta.json").write_text(starts(6))
    kill_when(tmp_path, "killed", "results.sqlite", "--until", "30")
    began = time.monotonic()
    resumed = run(tmp_path, "killed", "--until", "30")
    spent = time.monotonic() - began
    assert resumed == run(tmp_path, "whole", "--until", "30")
    began = time.monotonic()
    assert run(tmp_path, "killed", "--until", "30") == resumed
    assert time.monotonic() - began < spent + 60  # all six are read back


def test_a_file_that_cannot_be_read_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    checkpoint = Checkpoint(path)
    for content in (b"", b"no archive", b"PK\x03\x04 cut short"):
        path.write_bytes(content)
        assert checkpoint.load() is None
    checkpoint.save({"t": torch.arange(3)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert checkpoint.load() is None


def test_a_place_that_cannot_be_written_warns_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checkpoint = Checkpoint(tmp_path / "file" / "run.npz", seconds=0)
    with pytest.warns(RuntimeWarning, match="the run is not saved on the way"):
        checkpoint.save({"t": torch.arange(3)})
    assert not checkpoint.due()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64, torch.bool, torch.uint8])
def test_every_kind_of_tensor_comes_back_in_the_same_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    value = (torch.rand(3, 2) * 5).to(dtype)
    checkpoint = Checkpoint(tmp_path / "a" / "b" / "run.npz")
    checkpoint.save({"value": value, "number": torch.tensor(2)})
    found = checkpoint.load()
    assert found is not None
    assert found["value"].dtype == dtype
    assert torch.equal(found["value"], value)
    assert int(found["number"]) == 2


def test_the_variable_gives_seconds_or_switches_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_CHECKPOINT", "2.5")
    found = checkpoint_for(tmp_path, "key", "cpu")
    assert found is not None
    assert (found.seconds, found.path) == (2.5, tmp_path / f"{source_digest()[:12]}-key.npz")
    monkeypatch.setenv("WORKBENCH_CHECKPOINT", "off")
    assert checkpoint_for(tmp_path, "key", "cpu") is None
    monkeypatch.setenv("WORKBENCH_CHECKPOINT", "often")
    with pytest.raises(ValueError, match="found 'often'; accepted: seconds between two saves, or off"):
        checkpoint_for(tmp_path, "key", "cpu")


def test_a_finished_run_takes_the_drafts_of_killed_ones_with_it(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.npz", seconds=0.0)
    checkpoint.save({"t": torch.zeros(1)})
    (tmp_path / ".run-0123456789ab.npz").write_bytes(b"half of it")
    (tmp_path / ".other-0123456789ab.npz").write_bytes(b"of another run")
    checkpoint.remove()
    assert [path.name for path in tmp_path.iterdir()] == [".other-0123456789ab.npz"]


def test_files_that_nobody_takes_up_are_deleted_and_that_is_said(tmp_path: Path) -> None:
    key, own, other, day = "0" * 64, source_digest()[:12], "f" * 12, 86_400.0
    ages = {
        f"{own}-{key}.npz": 29.0,
        f"{own}-{'1' * 64}.npz": 31.0,
        f"{other}-{key}.npz": 2.0,
        f"{other}-{'1' * 64}.npz": 0.5,
        f"{key}.npz": 2.0,  # from before names held the code
        f".{other}-{key}-0123456789ab.npz": 2.0,
        "mine.npz": 99.0,
        "notes.txt": 99.0,
    }
    for name, days in ages.items():
        (tmp_path / name).write_bytes(b"x" * 250_000)
        os.utime(tmp_path / name, (time.time() - days * day,) * 2)
    with pytest.warns(RuntimeWarning, match=r"deleted 4 files \(1\.0 MB\) that interrupted runs had left"):
        clean(tmp_path)
    left = {f"{own}-{key}.npz", f"{other}-{'1' * 64}.npz", "mine.npz", "notes.txt"}
    assert {path.name for path in tmp_path.iterdir()} == left
    clean(tmp_path)  # nothing to say
    clean(tmp_path / "none")


def test_a_checkpoint_of_another_version_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = checkpoint_for(tmp_path, "0" * 64, "cpu")
    assert mine is not None
    mine.save({"t": torch.ones(1)})
    monkeypatch.setattr("workbench.checkpoint.source_digest", lambda: "e" * 64)
    theirs = checkpoint_for(tmp_path, "0" * 64, "cpu")
    assert theirs is not None
    assert theirs.load() is None
    assert mine.load() is not None
