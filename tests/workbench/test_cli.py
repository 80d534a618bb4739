from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derivations.errors import AssumptionError
from workbench import options
from workbench.__main__ import main
from workbench.compiling import Running
from workbench.errors import NotThere, StudyError
from workbench.flow_settings import FlowSettings
from workbench.graph_queries import QUESTIONS, Answer
from workbench.study import shipped_studies

COMMANDS = ("derive", "evaluate", "flow", "critical", "landscape", "verify", "report")
STUDY = str(shipped_studies()["five-points"])
THETA = {"a": [1.0, -0.5], "w": [[0.3], [1.2]], "b": [0.0, 0.1]}
INERTIA = {"negative": 1, "zero": 0, "positive": 5}
POINT = {
    "id": "m2.1",
    "width": 2,
    "theta": THETA,
    "kind": "saddle",
    "value": 0.0123456789012,
    "gradient_norm": 1e-16,
    "eigenvalues": [-0.5, 1.0],
    "inertia": INERTIA,
    "manifold_dimension": None,
    "orbit_size": 8,
    "found": 3,
    "stratum": "irreducible",
    "status": "SUPPORTED",
}
LANDSCAPE = {
    "schema": 1,
    "study": "five-points",
    "seed": 0,
    "critical_points": [POINT],
    "edges": [{"source": "m1.1", "target": "m2.1", "kind": "splitting"}],
    "runs_to_infinity": 4,
    "unconverged": 5,
    "completeness": {"status": "SUPPORTED", "method": "starts", "expected": None, "found": 1},
}
CLAIM = {"name": "gradient", "claim": "C1", "status": "SUPPORTED", "residual": 2e-16, "tolerance": 1e-12}


class Result(types.SimpleNamespace):
    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.content

    def plot(self, ax: Any = None) -> Any:
        return types.SimpleNamespace(savefig=lambda path: Path(path).write_text("drawn"))

    def write_graph(self, path: str) -> None:
        Path(path).write_text("<graphml/>")

    def drawn_as(self, drawing: str) -> Any:
        self.drawing = drawing
        return self

    def ask(self, question: str) -> Answer:
        return Answer(question, f"asked {question}", ("a",), (("b",),))

    def text(self) -> str:
        return f"text of {self.content['what']}"

    def latex(self) -> str:
        return rf"\latex{{{self.content['what']}}}"


class Fake:
    """Stands in for the analysis: it keeps what it was made with and prints where nothing may be printed."""

    made: Fake
    refuted = False
    absent: tuple[str, ...] = ()
    failure: Callable[[], Any] | None = None

    def __init__(self, source: Any, **settings: Any) -> None:
        self.study, self.settings = source, settings
        self.calls: list[Any] = []
        type(self).made = self

    def _result(self, content: dict[str, Any], **more: Any) -> Any:
        with self.settings["progress"].stage("working", 1.0) as update:
            update(0.5)
            print("noise of a library")
            if self.failure is not None:
                type(self).failure()
        return Result(content=content, **more)

    def compile(self) -> Any:
        return types.SimpleNamespace(
            layout=[("a", (2,), slice(0, 2)), ("w", (2, 1), slice(2, 4)), ("b", (2,), slice(4, 6))]
        )

    def derive(self, what: str) -> Any:
        if what in self.absent:
            kind = NotThere if what == "kkt" else AssumptionError
            raise kind(f"{what} needs another model")
        return self._result({"what": what})

    def evaluate(self, points: Any) -> Any:
        self.calls.append(points)
        entry = {
            "value": 0.1,
            "gradient_norm": 0.5,
            "inertia": INERTIA,
            "eigenvalues": [-1.0, float("nan")],
            "spectrum": {"complete": True},
        }
        return self._result({"schema": 1, "study": "five-points", "points": [entry for _ in points]})

    def flow(self, points: Any, until: float, count: int = 200, *settings: Any) -> Any:
        self.calls.append((points, until, count, *settings))
        run = {
            "t": [0.0, until],
            "theta": [THETA, THETA],
            "value": [0.2, 0.1],
            "status": "finished",
            "steps": 7,
        }
        return self._result({"schema": 1, "study": "five-points", "trajectories": [run for _ in points]})

    def critical(self, **options: Any) -> Any:
        self.calls.append(options)
        return self._result(LANDSCAPE)

    def landscape(self) -> Any:
        return self._result(LANDSCAPE)

    def verify(self) -> Any:
        return self._result({"schema": 1, "claims": [CLAIM]}, refuted=self.refuted)

    def report(self, directory: str, pdf: bool = True) -> Any:
        self.calls.append((directory, pdf))
        folder = Path(directory)
        return self._result(
            {},
            tex=folder / "r.tex",
            json=folder / "r.json",
            pdf=folder / "r.pdf" if pdf else None,
            figures=[folder / "g.pdf"],
            message="" if pdf else "no PDF was asked for",
            refuted=self.refuted,
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    kind = type("Analysis", (Fake,), {})
    module = types.ModuleType("workbench.analysis")
    module.Analysis = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "workbench.analysis", module)
    return kind


@pytest.fixture
def theta(tmp_path: Path) -> str:
    path = tmp_path / "theta.json"
    path.write_text(json.dumps([THETA, THETA]))
    return str(path)


def required(command: str, theta: str, tmp_path: Path) -> list[str]:
    """Give the arguments a command cannot do without."""
    more = {
        "evaluate": ["--at", theta],
        "flow": ["--from", theta, "--until", "10"],
        "report": ["-o", str(tmp_path / "out")],
    }
    return [command, STUDY, *more.get(command, [])]


def run_process(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **settings)


# -- help and parsing --


@pytest.mark.parametrize("command", [*COMMANDS, "theorem", "theorem list", "theorem show", "theorem check"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: workbench {command} ")
    assert err == ""


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("derive", "--show --format"),
        ("evaluate", "--at --json"),
        ("flow", "--from --until --points --json --figure"),
        ("critical", "--json --starts"),
        ("landscape", "--json --graph --figure --starts"),
        ("verify", "--json --starts"),
        ("report", "--output -o --no-pdf --starts"),
        ("theorem check", "--set --json"),
    ],
)
def test_every_option_of_the_public_surface_is_there(
    command: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*command.split(), "--help"])
    words = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", capsys.readouterr().out))
    assert words >= {*names.split(), "--device", "--dtype", "--seed", "--verbose"}


def test_help_answers_at_once_and_imports_nothing_large() -> None:
    began = time.monotonic()
    result = run_process("--help")
    assert time.monotonic() - began < 3  # 0.1 s on an idle machine: a bound for a busy one
    assert (result.returncode, result.stderr) == (0, "")
    assert all(command in result.stdout for command in (*COMMANDS, "theorem"))
    code = "import sys, workbench.cli; print([n for n in ('sympy', 'torch', 'pydantic', 'rich') if n in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert loaded.stdout == "[]\n"


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"workbench \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [[], ["theorem"]])
def test_without_a_command_the_help_is_an_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: workbench")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evalute", STUDY], "'evaluate'"),
        (["critical", STUDY, "--sed", "1"], "--seed"),
        (["derive", STUDY, "--show", "gradient-flwo"], "Did you mean 'gradient-flow'?"),
        (["derive", STUDY, "--show", "kkt", "--show", "hesian"], "Did you mean 'hessian'?"),
        (["derive", STUDY, "--format", "tex"], "found 'tex'; accepted: a format (text, latex, json)"),
        (["critical", STUDY, "--dtype", "float46"], "Did you mean 'float64'?"),
        (["critical", STUDY, "--device", "gpu"], "found 'gpu'; accepted: cpu, cuda, or cuda:N"),
        (["critical", STUDY, "--device", "cuda:-1"], "found 'cuda:-1'; accepted: cpu, cuda, or cuda:N"),
        (["critical", STUDY, "--seed", "-1"], "Invalid value for '--seed'"),
        (["critical", STUDY, "--seed", "x"], "Invalid value for '--seed'"),
        (["critical", STUDY, "--starts", "0"], "Invalid value for '--starts'"),
        (["critical", STUDY, "--exhaust", "-1"], "Invalid value for '--exhaust'"),
        (["verify", STUDY, "--memory", "lots"], "found 'lots'; accepted: a number of bytes, such as 65536"),
        (["critical", STUDY, "--memory", "0.5"], "found '0.5'; accepted: a number of bytes"),
        (["landscape", STUDY, "--memory", "-1MiB"], "found '-1MiB'; accepted: a number of bytes"),
        (["critical", STUDY, "--memory", "3 TB"], "(units B, kB, MB, GB, KiB, MiB, GiB)"),
        (["critical"], "STUDY"),
        (["evaluate", STUDY], "--at"),
        (["flow", STUDY, "--from", "t.json"], "--until"),
        (
            ["flow", STUDY, "--from", "t.json", "--until", "-1"],
            "found -1.0; accepted: a positive, finite time",
        ),
        (
            ["flow", STUDY, "--from", "t.json", "--until", "nan"],
            "found nan; accepted: a positive, finite time",
        ),
        (
            ["flow", STUDY, "--from", "t.json", "--until", "1", "--points", "1"],
            "Invalid value for '--points'",
        ),
        (["critical", STUDY, "--json", "/no/such/place.json"], "make '/no/such' first"),
        (["critical", STUDY, "--json", "/"], "the directory '/'"),
        (["landscape", STUDY, "--ask", "escape"], "Did you mean 'escapes'"),
        (["landscape", STUDY, "--ask", "escapes:m1.1"], "escapes alone"),
        (["landscape", STUDY, "--ask", "descents-into"], "descents-into:ID with the id of a point"),
        (["landscape", STUDY, "--drawing", "hase"], "Did you mean 'hasse'"),
        (["landscape", STUDY, "--graph", "g.xml"], "ends in .graphml, .dot, .json, .tikz, .tex"),
        (["landscape", STUDY, "--figure", "g.doc"], "ends in .pdf, .png, .svg"),
        (["landscape", STUDY, "--figure", "-"], "ends in .pdf, .png, .svg"),
        (["report", STUDY, "-o", STUDY], "accepted: a directory"),
        (["report", STUDY, "-o", f"{STUDY}/below"], "accepted: a directory"),
        (["report", STUDY], "--output"),
    ],
)
def test_a_wrong_command_line_is_one_message_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], fake: type[Fake]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("workbench: ") == 1
    assert message in err
    assert re.search(r"\nTry 'workbench[a-z ]* --help'\.\n$", err)
    assert not hasattr(fake, "made")


def test_cuda_where_there_is_none_is_bad_input(
    capsys: pytest.CaptureFixture[str], fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["critical", STUDY, "--device", "cuda"]) == 2
    assert "found 'cuda', and PyTorch sees no CUDA device(s) here" in capsys.readouterr().err


def test_a_cuda_device_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [options.check_device(name) for name in ("cuda", "cuda:1")] == ["cuda", "cuda:1"]
    with pytest.raises(ValueError, match=r"found 'cuda:2', and PyTorch sees 2 CUDA"):
        options.check_device("cuda:2")


# -- what the commands do --


def test_digits_are_asked_for_only_where_they_are_given(fake: type[Fake]) -> None:
    assert main(["critical", STUDY, "--digits", "40"]) == 0
    assert fake.made.calls[0]["digits"] == 40
    assert main(["critical", STUDY]) == 0
    assert "digits" not in fake.made.calls[0]
    assert main(["critical", STUDY, "--digits", "0"]) == 2


def test_settings_reach_the_analysis(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "results.sqlite"))
    assert main(["critical", STUDY, "--dtype", "float32", "--seed", "7", "--starts", "11"]) == 0
    settings = fake.made.settings
    assert (settings["device"], settings["dtype"], settings["seed"]) == ("cpu", "float32", 7)
    assert settings["store"].path == tmp_path / "results.sqlite"
    assert (fake.made.study.landscape.seed, fake.made.study.landscape.starts) == (7, 11)
    monkeypatch.setenv("WORKBENCH_CACHE", "off")
    assert main(["critical", STUDY]) == 0
    assert (fake.made.settings["seed"], fake.made.settings["store"]) == (None, None)
    assert (fake.made.study.landscape.seed, fake.made.study.landscape.starts) == (0, 2000)


@pytest.mark.parametrize("command", ["evaluate", "flow", "critical", "landscape", "verify", "report"])
def test_memory_and_torch_compile_reach_the_analysis(
    command: str, fake: type[Fake], theta: str, tmp_path: Path
) -> None:
    arguments = required(command, theta, tmp_path)
    assert main(arguments) == 0
    assert fake.made.settings["running"] == Running()
    assert main([*arguments, "--memory", "512MiB", "--torch-compile"]) == 0
    assert fake.made.settings["running"] == Running(torch_compile=True, memory_budget=512 * 1024**2)


def test_a_budget_that_is_too_small_and_a_compiler_that_is_missing_are_bad_input(
    theta: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["evaluate", STUDY, "--at", theta, "--memory", "10"]) == 2
    assert "the memory budget is 10: give a larger one" in capsys.readouterr().err
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main(["evaluate", STUDY, "--at", theta, "--torch-compile"]) == 2
    err = capsys.readouterr().err
    assert "no-such-compiler is not on the PATH" in err
    assert "internal error" not in err


def test_what_a_reader_of_a_flow_must_know_goes_to_standard_error(
    fake: type[Fake], theta: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fake.flow

    def flow(self: Any, *arguments: Any) -> Any:
        result = plain(self, *arguments)
        result.content["notes"] = ["Kinks were stepped across."]
        return result

    monkeypatch.setattr(fake, "flow", flow)
    assert main(["flow", STUDY, "--from", theta, "--until", "10", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["notes"] == ["Kinks were stepped across."]
    assert "workbench: Kinks were stepped across.\n" in err


@pytest.mark.parametrize("command", ["evaluate", "flow", "critical", "landscape", "verify"])
def test_json_to_standard_output_is_alone(
    command: str, fake: type[Fake], theta: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*required(command, theta, tmp_path), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["schema"] == 1
    assert "NaN" not in out
    assert err.startswith("working ...\nnoise of a library\nworking: done in ")


@pytest.mark.parametrize("command", ["evaluate", "flow", "critical", "landscape", "verify"])
def test_json_to_a_file_is_written_whole(
    command: str, fake: type[Fake], theta: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    assert main([*required(command, theta, tmp_path), "--json", str(target)]) == 0
    assert json.loads(target.read_text())["schema"] == 1
    assert capsys.readouterr().out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "theta.json"}


def test_a_failure_leaves_the_old_file(fake: type[Fake], tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    fake.failure = lambda: 1 / 0
    assert main(["critical", STUDY, "--json", str(target)]) == 3
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_device_is_written_to_and_not_replaced(fake: type[Fake]) -> None:
    assert main(["critical", STUDY, "--json", os.devnull]) == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("evaluate", r"2 points *\npoint +risk .*\n0 +0\.1 +0\.5 +1 0 5 +-1 +nan\n1 "),
        ("flow", r"2 trajectories\n.*\n0 +finished +10 +7 +0\.2 +0\.1\n1 "),
        (
            "critical",
            r"1 critical point.*\n.*\nm2\.1 +saddle +0\.0123456789 +1e-16 +1 0 5 +\? +8 +3 +irreduc",
        ),
        ("critical", r"\n4 starts to infinity, 5 not converged, seed 0\ncompleteness SUPPORTED: starts\n"),
        ("landscape", r"1 edge: 1 splitting *\nfrom +by +to *\nm1\.1 +splitting +m2\.1"),
        ("verify", r"1 claim: 1 SUPPORTED *\n.*\ngradient +C1 +SUPPORTED +2e-16 +1e-12"),
        ("report", r"out/r\.tex\n.*out/r\.json\n.*out/g\.pdf\n.*out/r\.pdf\n$"),
    ],
)
def test_without_json_a_table_is_printed(
    command: str,
    pattern: str,
    fake: type[Fake],
    theta: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(required(command, theta, tmp_path)) == 0
    out = re.sub(r" +\n", "\n", capsys.readouterr().out)
    assert re.search(pattern, out), out
    assert "noise" not in out


def test_points_times_and_files_reach_the_flow(fake: type[Fake], theta: str, tmp_path: Path) -> None:
    figure = tmp_path / "flow.svg"
    arguments = ["flow", STUDY, "--from", theta, "--until", "1e3", "--points", "5", "--figure", str(figure)]
    assert main(arguments) == 0
    assert fake.made.calls == [([THETA, THETA], 1000.0, 5)]
    assert figure.read_text() == "drawn"


def test_options_of_a_flow_reach_it(fake: type[Fake], theta: str) -> None:
    arguments = ["flow", STUDY, "--from", theta, "--until", "10"]
    assert main([*arguments, "--event", "loss:0.1:stop", "--event", "norm:3"]) == 0
    assert fake.made.calls[0][:3] == ([THETA, THETA], 10.0, 200)
    assert fake.made.calls[0][3] == FlowSettings(events=("loss:0.1:stop", "norm:3"))
    descent = [
        "--step-size",
        "0.1",
        "--batch-size",
        "2",
        "--label-noise",
        "0.5",
        "--temperature",
        "0.25",
        "--seed",
        "7",
    ]
    assert main([*arguments, *descent]) == 0
    assert fake.made.calls[0][3] == FlowSettings((), 0.1, 2, 0.5, 0.25, 7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--event", "nose:1"], "found 'nose:1'; accepted: kink, loss:VALUE"),
        (["--event", "norm:-1"], "accepted: a positive finite number"),
        (["--step-size", "0"], "accepted: a positive, finite step size"),
        (["--batch-size", "2"], "batch: found without a step size"),
        (["--plot", "norm"], "Did you mean 'norms'?"),
        (["--plot", "phase"], "--plot phase and --phase X,Y: found one of them"),
        (["--phase", "a1"], "found 'a1'; accepted: two coordinates such as a1,w1"),
    ],
)
def test_options_of_a_flow_that_are_refused(
    options: list[str], words: str, fake: type[Fake], theta: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flow", STUDY, "--from", theta, "--until", "10", *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_parameters_may_come_from_standard_input(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(THETA).encode())))
    assert main(["evaluate", STUDY, "--at", "-"]) == 0
    assert fake.made.calls == [[THETA]]


def test_graph_and_figure_are_written(fake: type[Fake], tmp_path: Path) -> None:
    graph, figure = tmp_path / "g.graphml", tmp_path / "g.pdf"
    assert main(["landscape", STUDY, "--graph", str(graph), "--figure", str(figure)]) == 0
    assert (graph.read_text(), figure.read_text()) == ("<graphml/>", "drawn")
    assert len(list(tmp_path.iterdir())) == 2


def test_questions_are_answered_below_the_tables_and_in_the_json(
    fake: type[Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["landscape", STUDY, "--ask", "escapes", "--ask", "descents-into:m2.1"]
    assert main(asked) == 0
    assert "descents-into:m2.1: asked descents-into:m2.1" in capsys.readouterr().out
    assert main([*asked, "--json", "-"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [answer["question"] for answer in answers] == ["escapes", "descents-into:m2.1"]


def test_the_questions_of_the_command_line_are_those_of_the_graph() -> None:
    assert {question.partition(":")[0]: ":" in question for question in options.QUESTIONS} == {
        name: wants_point for name, (_, wants_point) in QUESTIONS.items()
    }


def test_derive_shows_all_that_applies(fake: type[Fake], capsys: pytest.CaptureFixture[str]) -> None:
    fake.absent = ("kkt", "ntk")
    assert main(["derive", STUDY]) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"^text of (.+)$", out, re.MULTILINE) == [
        what for what in options.EQUATIONS if what not in fake.absent
    ]
    assert "workbench: kkt left out: kkt needs another model\n" in err


def test_derive_shows_what_is_asked_for_once_and_in_that_order(
    fake: type[Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ["--show", "hessian", "--show", "gradient", "--show", "hessian"]
    assert main(["derive", STUDY, *shown]) == 0
    out = capsys.readouterr().out
    assert out == "text of hessian\n\ntext of gradient\n\n"
    assert main(["derive", STUDY, *shown, "--format", "latex"]) == 0
    out = capsys.readouterr().out
    assert out == "% hessian\n\\latex{hessian}\n\n% gradient\n\\latex{gradient}\n\n"
    assert main(["derive", STUDY, *shown, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "study": "five-points",
        "derivations": {"hessian": {"what": "hessian"}, "gradient": {"what": "gradient"}},
    }


def test_what_does_not_apply_is_refused_where_it_is_asked_for(
    fake: type[Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.absent = ("kkt",)
    assert main(["derive", STUDY, "--show", "gradient", "--show", "kkt"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("workbench: kkt needs another model\n")


@pytest.mark.parametrize("command", ["verify", "report"])
@pytest.mark.parametrize(("refuted", "status"), [(False, 0), (True, 1)])
def test_a_refuted_claim_is_status_1(
    command: str, refuted: bool, status: int, fake: type[Fake], theta: str, tmp_path: Path
) -> None:
    fake.refuted = refuted
    assert main(required(command, theta, tmp_path)) == status


def test_a_report_says_what_was_not_made(
    fake: type[Fake], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", STUDY, "-o", str(tmp_path), "--no-pdf"]) == 0
    out, err = capsys.readouterr()
    assert fake.made.calls == [(str(tmp_path), False)]
    assert "r.pdf" not in out
    assert "workbench: no PDF was asked for\n" in err


# -- errors --


def fail(error: BaseException) -> Callable[[], Any]:
    def failure() -> None:
        raise error

    return failure


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            StudyError("a.toml: model: found x; accepted: y"),
            2,
            "workbench: a.toml: model: found x; accepted: y",
        ),
        (ValueError("width 3 does not fit"), 2, "workbench: width 3 does not fit"),
        (NotThere("use verify"), 2, "workbench: use verify"),
        (NotImplementedError("extend numerics/flow.py"), 2, "workbench: extend numerics/flow.py"),
        (PermissionError(13, "Permission denied", "out.json"), 2, "workbench: out.json: Permission denied"),
        (KeyError("q"), 3, "workbench: internal error: KeyError: 'q'\nThis is a fault of the workbench"),
        (RecursionError("deep"), 3, "workbench: internal error: RecursionError: deep\n"),
        (MemoryError(), 3, "workbench: out of memory; fewer --starts"),
        (KeyboardInterrupt(), 130, "workbench: interrupted\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_an_error_is_a_message_and_a_status(
    error: BaseException, status: int, message: str, fake: type[Fake], capfd: pytest.CaptureFixture[str]
) -> None:
    fake.failure = fail(error)
    # the reader that is gone is simulated with a copy of standard output, which must survive
    kept = os.dup(1)
    try:
        assert main(["critical", STUDY]) == status
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err
    shown = err.partition("working: stopped after ")[2].partition("\n")[2]
    assert shown.startswith(message)
    assert len(re.findall("^workbench: ", shown, re.MULTILINE)) == (message != "")


def test_verbose_shows_the_traceback(fake: type[Fake], capsys: pytest.CaptureFixture[str]) -> None:
    fake.failure = fail(KeyError("q"))
    for arguments in (["--verbose", "critical", STUDY], ["critical", STUDY, "--verbose"]):
        assert main(arguments) == 3
        err = capsys.readouterr().err
        assert "Traceback (most recent call last)" in err
        assert "workbench: internal error: KeyError: 'q'" in err


def test_a_warning_is_one_line(fake: type[Fake], capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    def warn() -> None:
        warnings.simplefilter("always")
        warnings.warn("rtol raised\nto 1e-5", RuntimeWarning, stacklevel=1)

    fake.failure = warn
    assert main(["critical", STUDY]) == 0
    assert "\nworkbench: warning: rtol raised to 1e-5\n" in capsys.readouterr().err


BAD_STUDIES = {
    "wrong key": ("[model]\nwdith = 2\n", "model.wdith: found an unknown key"),
    "no TOML": ("[model\n", "found invalid TOML"),
    "code in a formula": (
        "[model]\nactivation = \"__import__('os').system('touch executed')\"\n",
        "model.activation: found \"__import__('os').system('touch executed')\"",
    ),
    "a tower of powers": ('[model]\nactivation = "z + 9**9**9"\n', "model.activation: found 'z + 9**9**9'"),
    "a tower in the data": ('[data]\nx = [["9**9**9"]]\ny = [1]\n', "found '9**9**9'"),
    "NaN": ("[data]\nx = [[nan]]\ny = [1]\n", "data.x[0][0]: found nan"),
    "no such data file": ('[data]\nfile = "no.csv"\ntarget = "y"\n', "found no such file"),
    "NaN in the data file": ('[data]\nfile = "nan.csv"\ntarget = "y"\n', "nan.csv"),
}


@pytest.mark.parametrize(("text", "message"), BAD_STUDIES.values(), ids=list(BAD_STUDIES))
def test_a_malformed_study_is_one_message_at_once(
    text: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "file =" in text:
        pytest.importorskip("workbench.analysis", reason="the data are read by the analysis")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nan.csv").write_text("x,y\n1,2\nnan,3\n")
    (tmp_path / "study.toml").write_text(f'schema = 1\nname = "demo"\n{text}')
    began = time.monotonic()
    assert main(["critical", "study.toml", "--json", "-"]) == 2
    assert time.monotonic() - began < 10
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("workbench: ") == 1
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "executed").exists()


def test_a_missing_study_names_the_shipped_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["critical", "five-point.toml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("workbench: five-point.toml: found no such file; ")
    assert STUDY in err


@pytest.mark.parametrize("content", ['{"a": [1, 2]', '{"a": [NaN, 1]}', "[]", '{"a": ["9**9**9", 1]}'])
def test_malformed_parameters_are_bad_input(
    content: str, fake: type[Fake], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theta.json").write_text(content)
    assert main(["evaluate", STUDY, "--at", str(tmp_path / "theta.json")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("workbench: ")
    assert f"{tmp_path}/theta.json: " in err


# -- processes --

HARNESS = """
import sys, types
sys.path.insert(0, {tests!r})
import test_cli
module = types.ModuleType("workbench.analysis")
module.Analysis = test_cli.Fake
sys.modules["workbench.analysis"] = module
{body}
from workbench.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def harness(body: str, *arguments: str) -> subprocess.Popen[str]:
    code = HARNESS.format(tests=str(Path(__file__).parent), body=body)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="no POSIX signals")
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_it_tidily(number: signal.Signals, status: int, word: str, tmp_path: Path) -> None:
    body = "test_cli.Fake.failure = lambda *_: (print('here', file=sys.stderr, flush=True), __import__('time').sleep(60))"
    process = harness(body, "critical", STUDY, "--json", str(tmp_path / "out.json"))
    assert process.stderr is not None
    for line in process.stderr:
        if line == "here\n":
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (status, "")
    assert err.endswith(f"workbench: {word}\n")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no SIGPIPE")
@pytest.mark.parametrize(("form", "unbuffered"), [(["--json", "-"], ""), (["--json", "-"], "1"), ([], "1")])
def test_a_reader_that_leaves_is_no_error(
    form: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    body = "test_cli.LANDSCAPE['critical_points'] = [test_cli.POINT] * 1000"
    process = harness(body, "critical", STUDY, *form)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 141
    assert "Error" not in err
    assert "Exception" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_message(unbuffered: str) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "workbench", "--version"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60)
    assert result.returncode == 2
    assert result.stderr == b"workbench: No space left on device\n"


def test_the_module_and_the_script_are_the_same_command() -> None:
    script = Path(sys.executable).with_name("workbench")
    if not script.exists():
        pytest.skip("the package is not installed here; 'make test' installs it")
    texts = [
        subprocess.run([*command, "flow", "--help"], capture_output=True, text=True, timeout=60).stdout
        for command in ([str(script)], [sys.executable, "-m", "workbench"])
    ]
    assert texts[0] == texts[1] != ""
