"""Generated code on disk: read back as written, refused where it is not to be believed, never in the way."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sympy
import torch

from derivations.activations import Activation, activation
from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics import code_cache, generated
from numerics.code_cache import CodeCache, default_folder, request_of
from numerics.compile import compile_system
from numerics.emit_nodes import Plan
from numerics.generated import _lowered

PROBLEM = Problem.two_layer("tanh", "square", input_bias=True)
PLAN = Plan("single")
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of files are those of POSIX")


@pytest.fixture
def cache(tmp_path: Path) -> CodeCache:
    """A cache with the gradient in it."""
    found = CodeCache(tmp_path / "code")
    found.put(KEY, _lowered(PROBLEM, "gradient", PLAN))
    return found


KEY = request_of(PROBLEM, "gradient", PLAN) or ""


def file_of(cache: CodeCache) -> Path:
    (path,) = cache.folder.glob("*.json")
    return path


def forge(cache: CodeCache, **changes: object) -> None:
    """Change the function in the file, with a digest that is right again."""
    path = file_of(cache)
    function = json.loads(path.read_text())["function"] | changes
    text = json.dumps(function, sort_keys=True)
    digest = hashlib.sha256(f"{KEY}\0{text}".encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest, "function": function}))


@pytest.mark.parametrize("what", ["value_gradient_hessian", "hvp", "jacobian", "ntk", "outputs"])
@pytest.mark.parametrize(
    "plan", [PLAN, Plan("single", many=True, blocked=True), Plan("last"), Plan("first", True)]
)
def test_a_function_is_read_back_as_it_was_written(what, plan, tmp_path):
    deep = Problem.deep(3, "softplus", "logistic", vector_output=True)
    for problem in [PROBLEM, *([deep] if what in ("hvp", "ntk") else [])]:
        cache, key = CodeCache(tmp_path / "code"), request_of(problem, what, plan)
        assert key is not None
        wanted = _lowered(problem, what, plan)
        cache.put(key, wanted)
        assert cache.get(key) == wanted


def test_requests_differ_in_everything_a_function_depends_on():
    kinds = [
        (PROBLEM, "gradient", PLAN),
        (PROBLEM, "hessian", PLAN),
        (PROBLEM, "gradient", Plan("last")),
        (PROBLEM, "gradient", replace(PLAN, in_place=False)),
        (replace(PROBLEM, freeze=("a",)), "gradient", PLAN),
        (replace(PROBLEM, weight_decay=sympy.Rational(1, 10)), "gradient", PLAN),
        (replace(PROBLEM, weight_decay=sympy.Float("0.1")), "gradient", PLAN),
        (Problem.two_layer("tanh", "square"), "gradient", PLAN),
        (Problem.two_layer("tanh", "logistic", input_bias=True), "gradient", PLAN),
        *(
            (Problem.two_layer(activation("relu", kink=kink), "square", input_bias=True), "gradient", PLAN)
            for kink in (0, 1)
        ),
        *((FormulaProblem.of(text, ["a", "b"]), "gradient", PLAN) for text in ("a*x + b", "b*x + a")),
    ]
    keys = [request_of(*kind) for kind in kinds]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    again = Problem.two_layer("tanh", "square", input_bias=True)
    assert request_of(again, "gradient", PLAN) == keys[0]


def test_what_is_not_all_known_has_no_request():
    class Bump(sympy.Function):
        """A function of someone else: its derivative is not part of the text."""

    @dataclass(frozen=True)
    class Other(Problem):
        """A problem of someone else."""

    z = sympy.Symbol("z", real=True)
    strange = replace(PROBLEM, activation=Activation("bump", Bump(z)))
    assert request_of(strange, "gradient", PLAN) is None
    assert request_of(Other(activation=PROBLEM.activation, loss=PROBLEM.loss), "gradient", PLAN) is None
    other = Activation("f", sympy.Function("f")(z))
    assert request_of(replace(PROBLEM, activation=other), "gradient", PLAN) is None


def test_source_files_changed_after_they_were_loaded_are_not_trusted(monkeypatch):
    code_cache._code.cache_clear()
    monkeypatch.setattr(code_cache, "_LOADED", 0.0)
    try:
        assert request_of(PROBLEM, "gradient", PLAN) is None
    finally:
        code_cache._code.cache_clear()


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"function": 3}', "[" * 100_000, "\udcff"])
def test_a_damaged_file_is_a_miss(cache, damage):
    file_of(cache).write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert cache.get(KEY) is None


def test_one_changed_character_is_a_miss(cache):
    path = file_of(cache)
    text = path.read_text()
    assert cache.get(KEY) is not None
    path.write_text(
        text.replace("tanh_z.t()", "tanh_z.t( )") if "tanh_z.t()" in text else text.replace("-1", "-2", 1)
    )
    assert path.read_text() != text
    assert cache.get(KEY) is None


def test_a_file_under_the_name_of_another_request_is_a_miss(cache):
    other = "0" * 64
    file_of(cache).rename(cache.folder / f"{other}.json")
    assert cache.get(other) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "import os"},
        {
            "source": "def gradient_data(x):\n    return ()\n\ndef gradient(theta):\n    return (open(theta),)\n"
        },
        {"name": "other"},
        {"plan": {"layout": "single", "surprise": 1}},
        {"work": 3},
    ],
)
def test_a_forged_file_with_a_right_digest_is_not_executed(cache, changes):
    forge(cache)
    assert cache.get(KEY) is not None  # the forger knows how
    forge(cache, **changes)
    assert cache.get(KEY) is None


@posix
def test_files_are_for_this_user_alone(cache):
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file_of(cache).stat().st_mode) == 0o600
    for path, mode in (
        (file_of(cache), 0o620),
        (file_of(cache), 0o602),
        (cache.folder, 0o770),
        (cache.folder, 0o777),
    ):
        kept = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        assert cache.get(KEY) is None
        path.chmod(kept)
        assert cache.get(KEY) is not None


@posix
def test_a_file_of_another_user_or_a_link_is_a_miss(cache, monkeypatch, tmp_path):
    path = file_of(cache)
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert cache.get(KEY) is None
    path.unlink()
    elsewhere.rename(path)
    assert cache.get(KEY) is not None
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert cache.get(KEY) is None


def test_a_folder_that_cannot_be_made_is_silently_left_alone(tmp_path):
    (tmp_path / "file").write_text("no folder")
    cache = CodeCache(tmp_path / "file" / "code")
    cache.put(KEY, _lowered(PROBLEM, "gradient", PLAN))
    assert cache.get(KEY) is None


def test_the_oldest_files_make_room(cache, monkeypatch):
    monkeypatch.setattr(code_cache, "MOST_FILES", 2)
    function = cache.get(KEY)
    os.utime(file_of(cache), (1, 1))
    for number in range(2):
        cache.put(f"{number:064d}", function)
    assert sorted(path.stem for path in cache.folder.glob("*")) == [f"{number:064d}" for number in range(2)]
    cache.clear()
    assert list(cache.folder.iterdir()) == []


@pytest.mark.parametrize("variable", ["WORKBENCH_CACHE", "WORKBENCH_CODE_CACHE"])
def test_either_variable_switches_it_off(monkeypatch, variable):
    monkeypatch.delenv("WORKBENCH_CODE_CACHE", raising=False)
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    assert default_folder() == Path(os.environ["XDG_CACHE_HOME"]) / "landscape-workbench" / "code"
    monkeypatch.setenv(variable, "off")
    assert default_folder() is None


def test_the_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_CODE_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("WORKBENCH_CODE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "landscape-workbench" / "code"


def test_functions_of_the_cache_compute_the_same_and_nothing_is_derived(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_CODE_CACHE", str(tmp_path / "code"))
    x, y = [[1.0, 2.0], [0.5, -1.0]], [1.0, -1.0]
    theta = torch.linspace(-1, 1, 12, dtype=torch.float64)

    def computed():
        generated.generated.cache_clear()
        return compile_system(PROBLEM, x, y, 3).value_gradient_hessian(theta)

    first = computed()
    monkeypatch.setattr(generated, "_lowered", None)  # to call it is an error
    second = computed()
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one, two)
    generated.generated.cache_clear()


SCRIPT = """
import sys, time, torch, sympy, scipy.sparse.linalg
from derivations.problem import Problem
from numerics.compile import compile_system
start = time.process_time()
x, y = torch.ones(5, 2, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
system = compile_system(Problem.two_layer("tanh", "square", input_bias=True), x, y, 3)
system.value_gradient_hessian(torch.ones(system.P, dtype=torch.float64))
print(time.process_time() - start)
"""


def test_a_second_process_starts_several_times_faster(tmp_path):
    environment = os.environ | {"WORKBENCH_CODE_CACHE": str(tmp_path / "code"), "OMP_NUM_THREADS": "1"}

    def seconds() -> float:
        command = [sys.executable, "-c", SCRIPT]
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
        return float(done.stdout)

    cold, warm = seconds(), seconds()
    assert list((tmp_path / "code").glob("*.json"))
    assert warm < cold / 3, (cold, warm)
