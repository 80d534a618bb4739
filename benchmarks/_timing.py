"""What the scripts share: timing calls against one another, memory, and the name of the machine.

On a processor CPU time is measured, so that other processes matter little; on CUDA it is time on the wall, between
moments at which the device has nothing left to do.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import sympy
import torch
from torch import Tensor

Call = Callable[[], object]
SECONDS, LEAST, MOST = 1.0, 5, 60  # for a comparison; rounds
LONG, FEWEST = 4.0, 3  # seconds of a round from which fewer rounds do


def device_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the arguments, ``--device`` among them; one thread on a processor."""
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=usual, help=f"cpu or cuda; here {usual} by default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    return arguments


def seconds(call: Call, repeats: int = 1, device: str = "cpu") -> float:
    """Time of one call, after one that is not timed: it pays for memory that its forerunner gave back."""
    call()
    cuda = device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time
    if cuda:
        torch.cuda.synchronize()
    start = clock()
    for _ in range(repeats):
        call()
    if cuda:
        torch.cuda.synchronize()
    return (clock() - start) / repeats


class Ratio(float):
    """The median of a ratio over rounds, with half the range of its middle half."""

    spread: float

    def __new__(cls, rounds: Sequence[float]) -> Ratio:
        found = super().__new__(cls, statistics.median(rounds))
        quarters = statistics.quantiles(rounds, n=4)
        found.spread = (quarters[2] - quarters[0]) / 2
        return found

    def scaled(self, factor: float) -> Ratio:
        """Return the ratio to a rival that did a part of the work."""
        found = Ratio([float(self) * factor] * 2)
        found.spread = self.spread * factor
        return found


def compare(calls: Sequence[Call], device: str = "cpu") -> tuple[float, list[Ratio]]:
    """Return the median time of the first call, and over rounds its ratio to each of the others.

    Each round times every call, so that what else the machine does hits all of them.
    """
    once = [max(seconds(call, 1, device), 1e-6) for call in calls]
    repeats = [max(1, math.ceil(2e-3 / u)) for u in once]
    spent = sum(u * (r + 1) for u, r in zip(once, repeats, strict=True))
    rounds = max(LEAST if spent < LONG else FEWEST, min(MOST, round(SECONDS / spent)))
    times = [
        [seconds(call, r, device) for call, r in zip(calls, repeats, strict=True)] for _ in range(rounds)
    ]
    ratios = [Ratio([row[0] / row[j] for row in times]) for j in range(1, len(calls))]
    return statistics.median(row[0] for row in times), ratios


def agree(name: str, found: Tensor, wanted: Tensor) -> None:
    """A rival that computes something else is no rival."""
    error = float((found - wanted).abs().max() / wanted.abs().max())
    if not error < (1e-10 if wanted.dtype == torch.float64 else 1e-4):
        sys.exit(f"{name} disagrees with the compiled system: relative error {error:.2g}")


def peak_mib(call: Call, device: str = "cpu") -> str:
    """Growth of the peak of memory during one call, in MiB, where Linux or CUDA tells it.

    Memory that the process has freed is first given back: calls would reuse it unseen.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}"
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _resident("VmRSS")
        call()
        return f"{(_resident('VmHWM') - before) / 1024:.0f}"
    except (AttributeError, OSError, StopIteration):
        return "-"


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))


def shown(ratio: float | None) -> str:
    """A ratio as a cell of a table, with its spread if it has one."""
    spread = f" ± {ratio.spread:.2f}" if isinstance(ratio, Ratio) else ""
    return "-" if ratio is None else f"{ratio:.2f}{spread}"


def machine(device: str = "cpu") -> str:
    """Processor or GPU, versions and threads."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        cpu = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    place = torch.cuda.get_device_name() if device.startswith("cuda") else cpu
    kind = "time on the wall" if device.startswith("cuda") else "1 thread; CPU time"
    return f"{place}, Python {platform.python_version()}, PyTorch {torch.__version__}, SymPy {sympy.__version__}, {kind}"
