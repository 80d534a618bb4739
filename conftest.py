"""What every collected file shares: options, skips, an isolated user folder, the examples in Markdown pages.

This file lies at the root because pytest asks only the conftest files above a page or module when it collects
it; fixtures for the tests proper are in tests/conftest.py.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parent
USER_FOLDER = "WORKBENCH_TEST_USER_FOLDER"
TEX_PROGRAMS = ("latexmk", "pdflatex")
TEX_PACKAGES = "latexmk texlive-latex-recommended texlive-pictures lmodern"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--slow``."""
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes as well")


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a user folder of its own, no display, and one thread per worker.

    The environment is set before anything imports torch or matplotlib; xdist's workers and every command the
    tests start inherit it.
    """
    if USER_FOLDER in os.environ:  # a worker: its parent has done this
        return
    folder = tempfile.mkdtemp(prefix="workbench-tests-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ[USER_FOLDER] = folder
    for name in ("MPLCONFIGDIR", "TEXMFHOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        os.environ.pop(name, None)
    os.environ |= {
        "HOME": folder,
        "XDG_CACHE_HOME": f"{folder}/.cache",
        # Generated code of a test that breaks the compiler on purpose must not be read back by another one.
        "WORKBENCH_CODE_CACHE": "off",
        "MPLBACKEND": "Agg",
        "COLUMNS": "100",
    }
    if getattr(config.option, "numprocesses", None):
        os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine, or this run, cannot do, and say what is missing."""
    if item.get_closest_marker("slow") and not item.config.getoption("--slow"):
        pytest.skip("takes minutes: run with --slow, or 'make test-slow'")
    if item.get_closest_marker("tex"):
        absent = [name for name in TEX_PROGRAMS if shutil.which(name) is None]
        if absent:
            pytest.skip(f"no {' and no '.join(absent)}; on Debian: apt-get install {TEX_PACKAGES}")
    if item.get_closest_marker("gpu"):
        if importlib.util.find_spec("torch") is None:
            pytest.skip("torch is not installed")
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no CUDA device on this machine")


def enter_clone(namespace: dict[str, Any]) -> None:
    """Run a page's examples in a fresh folder that holds the studies, so that what they write vanishes."""
    folder = tempfile.mkdtemp(prefix="workbench-page-")
    (Path(folder) / "workbench").mkdir()
    (Path(folder) / "workbench" / "studies").symlink_to(ROOT / "workbench" / "studies")
    namespace["_left"], namespace["_entered"] = os.getcwd(), folder
    os.chdir(folder)


def leave_clone(namespace: dict[str, Any]) -> None:
    """Go back to where the run began."""
    os.chdir(namespace["_left"])
    shutil.rmtree(namespace["_entered"], ignore_errors=True)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    setup=enter_clone,
    teardown=leave_clone,
).pytest()
