"""Where a long run leaves its state: one file, replaced whole, read back by the same command.

A run that is killed loses what it did since the last save.  The file is named after the code and after everything the result
depends on (as in ``workbench.store``), so that only the very same run, with the same code, takes it up.

What nobody takes up is not left for ever: a file of another version of the code that was not touched for a day, which only that
version could read, and one of this version that was not touched for thirty days are deleted, and that is said.

>>> import tempfile
>>> checkpoint = Checkpoint(Path(tempfile.mkdtemp()) / "run.npz", seconds=0)
>>> checkpoint.load() is None, checkpoint.due()
(True, True)
>>> checkpoint.save({"theta": torch.tensor([1.5]), "step": torch.tensor(3)})
>>> {name: value.tolist() for name, value in checkpoint.load().items()}
{'theta': [1.5], 'step': 3}
>>> checkpoint.remove(); checkpoint.load() is None
True
"""

from __future__ import annotations

import os
import re
import time
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy
import torch
from torch import Tensor

from workbench.atomic import remove, replacing
from workbench.store import source_digest

__all__ = ["SECONDS", "VARIABLE", "Checkpoint", "checkpoint_for", "clean"]

VARIABLE = "WORKBENCH_CHECKPOINT"
#: Seconds between two saves.
SECONDS = 10.0
DAY = 86_400.0
#: Days after which an untouched file is deleted: of another version of the code, and of this one.
OTHER_DAYS, OWN_DAYS = 1, 30
#: Names of checkpoints, and of drafts that killed writers left: code and key, or the key alone.
NAME = re.compile(r"\.?(?:(?P<code>[0-9a-f]{12})-)?[0-9a-f]{64}(?:-[0-9a-f]{12})?\.npz")


class Checkpoint:
    """The state of one run in one file.

    Parameters
    ----------
    path : path
        Its folder is made when something is first saved.
    seconds : float
        Least time between two saves.
    device : str
        Where the tensors belong that are read back; states of generators stay on the CPU.
    """

    def __init__(self, path: str | Path, *, seconds: float = SECONDS, device: str = "cpu") -> None:
        self.path, self.seconds, self.device = Path(path), seconds, device
        self._last = time.monotonic()
        self._works = True

    def load(self) -> dict[str, Tensor] | None:
        """Return what was saved last; None if there is nothing, or nothing that can be read."""
        try:
            with self.path.open("rb") as file, numpy.load(file, allow_pickle=False) as found:
                return {
                    name: torch.from_numpy(found[name]).to("cpu" if name == "generator" else self.device)
                    for name in found.files
                }
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError):
            return None

    def due(self) -> bool:
        """Say whether enough time has passed."""
        return self._works and time.monotonic() - self._last >= self.seconds

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Replace the file; a file that cannot be written is said once and stops no run."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self.path) as draft, draft.open("wb") as file:
                numpy.savez(file, **{name: value.cpu().numpy() for name, value in state.items()})  # type: ignore[arg-type]
        except OSError as error:
            self._works = False
            warnings.warn(
                f"the run is not saved on the way: {self.path}: {error.strerror}",
                RuntimeWarning,
                stacklevel=2,
            )
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the run has finished."""
        remove(self.path)


def checkpoint_for(folder: Path, key: str, device: str) -> Checkpoint | None:
    """Return the checkpoint of a run in a folder; None where ``WORKBENCH_CHECKPOINT`` is ``off``.

    The variable may give the seconds between two saves, 10 by default.

    Raises
    ------
    ValueError
        If the variable is neither.
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.casefold() == "off":
        return None
    try:
        seconds = float(chosen) if chosen else SECONDS
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"{VARIABLE}: found {chosen!r}; accepted: seconds between two saves, or off")
    clean(folder)
    return Checkpoint(folder / f"{_code()}-{key}.npz", seconds=seconds, device=device)


def clean(folder: Path) -> None:
    """Delete checkpoints that nobody takes up any more, and say how many and how large; files of other names stay."""
    now, count, size = time.time(), 0, 0
    with suppress(OSError):
        for path in folder.iterdir():
            found = NAME.fullmatch(path.name)
            if found is None:
                continue
            days = OWN_DAYS if found["code"] == _code() else OTHER_DAYS
            with suppress(OSError):
                status = path.stat()
                if now - status.st_mtime > days * DAY:
                    path.unlink()
                    count, size = count + 1, size + status.st_size
    if count:
        warnings.warn(
            f"deleted {count} file{'s' if count > 1 else ''} ({size / 1e6:.1f} MB) that interrupted runs had left in {folder}: of "
            f"another version of the code, or untouched for {OWN_DAYS} days",
            RuntimeWarning,
            stacklevel=3,
        )


def _code() -> str:
    """Short name of this version of the code."""
    return source_digest()[:12]
