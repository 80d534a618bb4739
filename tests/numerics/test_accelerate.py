"""``torch.compile`` and CUDA graphs give the numbers of the plain functions, or say what is missing."""

from __future__ import annotations

import shutil

import pytest
import torch

from derivations.problem import Problem
from numerics import accelerate, emit_batches
from numerics.accelerate import Options, accelerated
from numerics.compile import CompiledSystem, compile_system
from numerics.reference import Reference
from numerics.tolerances import same_formula

CPU = torch.device("cpu")
compiler = pytest.mark.skipif(
    not any(map(shutil.which, accelerate.COMPILERS)), reason="no C++ compiler on the PATH"
)


def draw(*shape: int, seed: int = 7) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def system_of(width: int = 2, device: str = "cpu", **options) -> tuple[CompiledSystem, Reference]:
    x, y = draw(5, 1).to(device), draw(5, seed=8).to(device)
    system = compile_system(
        Problem.two_layer("tanh", "square", input_bias=True), x, y, width, device=device, **options
    )
    oracle = Reference(x, y, activation="tanh", loss="square", widths=(width,), input_bias=True)
    return system, oracle


def agree(found: torch.Tensor, wanted: torch.Tensor) -> None:
    bound = same_formula(found.dtype)
    assert found.shape == wanted.shape
    assert float((found.cpu() - wanted.cpu()).abs().max()) <= bound * float(wanted.abs().max())


@compiler
@pytest.mark.slow
def test_compiled_loops_compute_the_same_in_every_layout(monkeypatch):
    monkeypatch.setattr(emit_batches, "FUSED", 16)
    monkeypatch.setattr(emit_batches, "PIECE", {"cpu": 1})
    monkeypatch.setattr(emit_batches, "LEAST", {"cpu": 1})
    system, oracle = system_of(torch_compile=True)
    plain, _ = system_of()
    for lead in ((), (3,), (40,), (45,)):
        theta = draw(*lead, system.P)
        value, gradient, hessian = system.value_gradient_hessian(theta)
        agree(value, oracle.value(theta))
        agree(gradient, oracle.gradient(theta))
        agree(hessian, oracle.hessian(theta))
    theta, v = draw(40, system.P), draw(40, system.P, seed=9)
    agree(system.hvp(theta, v), oracle.hvp(theta, v))
    agree(system.jacobian(theta), plain.jacobian(theta))
    # Where a transform looks on, the plain functions serve.
    agree(torch.func.vmap(torch.func.grad(system.value))(theta), oracle.gradient(theta))


@compiler
def test_a_compiled_gradient_is_that_of_autograd():
    system, oracle = system_of(torch_compile=True)
    theta = draw(20, system.P)
    agree(system.gradient(theta), oracle.gradient(theta))
    function = system._functions["gradient", "last"]
    assert not function.lowered.plan.in_place
    assert type(function.call).__name__ == "_Fused"


def test_samples_swept_in_blocks_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(emit_batches, "SWEEP", {"cpu": 1})
    system, oracle = system_of(torch_compile=True)
    theta = draw(system.P)
    agree(system.gradient(theta), oracle.gradient(theta))
    function = system._functions["gradient", "one"]
    assert function.lowered.plan.blocked
    assert function.lowered.plan.in_place
    assert type(function.call).__name__ == "function"


def test_a_missing_compiler_is_said_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        RuntimeError, match=r"needs a C\+\+ compiler, and g\+\+ or clang\+\+ or cl is not on the PATH"
    ):
        system_of(torch_compile=True)
    monkeypatch.setenv("CXX", "icpx")
    with pytest.raises(RuntimeError, match="icpx is not on the PATH"):
        system_of(torch_compile=True)
    system_of()  # without the option nothing is asked for


def test_a_failure_of_the_compiler_is_said_in_one_sentence():
    def refused(theta: torch.Tensor) -> tuple[torch.Tensor]:
        raise torch._dynamo.exc.InternalTorchDynamoError("no such thing\nand a long trace")

    call = accelerate._Fused(refused)
    call.call = refused
    with pytest.raises(RuntimeError, match=r"^torch.compile failed: no such thing; leave torch_compile out"):
        call(draw(3))


@pytest.mark.parametrize("budget", [0, -1, 1.5, True, "1"])
def test_a_memory_budget_is_a_positive_number_of_bytes(budget):
    with pytest.raises(ValueError, match="accepted: a positive number of bytes"):
        Options(memory_budget=budget).check(CPU)


def test_graphs_on_a_processor_are_refused():
    with pytest.raises(ValueError, match="graphs are recorded on CUDA devices only"):
        system_of(cuda_graphs=True)


def test_without_options_a_function_is_itself():
    assert accelerated(agree, Options(), 1, blocked=False) is agree


@pytest.mark.gpu
def test_recorded_calls_compute_the_same_again_and_again():
    system, oracle = system_of(device="cuda", cuda_graphs=True)
    for lead in ((), (3,), (20,)):
        points = [draw(*lead, system.P, seed=seed).cuda() for seed in range(3)]
        found = [system.value_gradient_hessian(theta) for theta in points]  # results outlive the next replay
        for theta, (value, gradient, hessian) in zip(points, found, strict=True):
            agree(value, oracle.value(theta))
            agree(gradient, oracle.gradient(theta))
            agree(hessian, oracle.hessian(theta))
        v = draw(*lead, system.P, seed=9).cuda()
        agree(system.hvp(points[0], v), oracle.hvp(points[0], v))


@pytest.mark.gpu
def test_more_shapes_than_recordings_are_kept_still_compute(monkeypatch):
    monkeypatch.setattr(accelerate, "MOST_GRAPHS", 1)
    system, oracle = system_of(device="cuda", cuda_graphs=True)
    for count in (9, 10, 11):
        theta = draw(count, system.P).cuda()
        agree(system.gradient(theta), oracle.gradient(theta))
    assert len(system._functions["gradient", "last"].call.graphs) == 1
