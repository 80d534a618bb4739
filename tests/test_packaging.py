"""What is shipped: one version everywhere, a wheel with all three packages, imports from this checkout."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("derivations", "numerics", "workbench")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel with the declared backend, in this process and offline; give the names inside."""
    builders = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: set[str]) -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    expected = {p.relative_to(ROOT).as_posix() for p in files if "__pycache__" not in p.parts}
    shipped = {name for name in wheel if ".dist-info/" not in name}
    assert shipped == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_wheel_carries_the_licence(wheel: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_come_from_this_checkout(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == ROOT / package


def test_demo_runs_studies_that_exist() -> None:
    (names,) = re.findall(r"^STUDIES := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    missing = [
        name for name in names.split() if not (ROOT / "workbench" / "studies" / f"{name}.toml").is_file()
    ]
    assert not missing


def test_version_is_the_same_everywhere() -> None:
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert version in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    stated = getattr(importlib.import_module("workbench"), "__version__", version)
    assert stated == version


def test_installed_metadata_matches_the_project_file() -> None:
    try:
        installed = metadata.distribution(PROJECT["name"])
    except metadata.PackageNotFoundError:
        pytest.skip(f"{PROJECT['name']} is not installed here; 'make test' installs it")
    assert installed.version == PROJECT["version"]
    scripts = {
        entry.name: entry.value for entry in installed.entry_points if entry.group == "console_scripts"
    }
    assert scripts == PROJECT["scripts"]


def test_this_python_is_one_the_project_accepts() -> None:
    assert PROJECT["requires-python"] == ">=3.11"
    assert sys.version_info >= (3, 11)


def test_torch_has_an_upper_bound() -> None:
    """Without one, pip prefers a newer CUDA build over a local CPU build."""
    (torch,) = [line for line in PROJECT["dependencies"] if line.startswith("torch")]
    assert re.fullmatch(r"torch>=[\d.]+,<[\d.]+", torch)
