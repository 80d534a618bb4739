"""The small program that limits itself and becomes another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workbench.engines import limited

FILE = str(Path(limited.__file__))


def test_the_limits_hold_in_the_program_it_becomes():
    code = (
        "import resource as r; print([r.getrlimit(k)[0] for k in (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_CORE)])"
    )
    command = [sys.executable, "-I", "-S", FILE, "17", str(2**31), "--", sys.executable, "-I", "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"[17, {2**31}, 0]"


def test_it_says_how_it_is_used():
    found = subprocess.run(
        [sys.executable, FILE, "1", "1", "no", "x"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "usage" in found.stderr
