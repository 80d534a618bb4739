"""Quantities with sample axes under a memory budget."""

from __future__ import annotations

import pytest
import torch

from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.reference import Reference
from tests.numerics.test_compile import Allocations

KIB = 1024


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(
    kind: str, vector: bool, budget: int | None, samples: int = 307
) -> tuple[object, Reference, torch.Tensor]:
    x, y = draw(samples, 3, seed=1), draw(samples, *([2] if vector else []), seed=2)
    if kind == "deep":
        problem, width = Problem.deep(2, "tanh", "square", vector_output=vector), (12,)
    else:
        problem, width = Problem.two_layer("tanh", "square", input_bias=True, vector_output=vector), (20,)
    system = compile_system(problem, x, y, width, memory_budget=budget)
    options = {"kind": "deep", "output_bias": True} if kind == "deep" else {}
    oracle = Reference(x, y, activation="tanh", loss="square", widths=width, input_bias=True, **options)
    return system, oracle, draw(system.P, seed=3) / 2


def truth(oracle: Reference, theta: torch.Tensor, what: str) -> torch.Tensor:
    jacobian = oracle.jacobian(theta)
    if what == "ntk":
        rows = jacobian.reshape(-1, theta.shape[-1])
        return (rows @ rows.T).reshape(*jacobian.shape[:-1], *jacobian.shape[:-1])
    return jacobian if what == "jacobian" else oracle.outputs(theta)


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("kind", ["two_layer", "deep"])
@pytest.mark.parametrize("what", ["outputs", "jacobian", "ntk"])
def test_blocks_of_samples_give_what_autograd_gives_inside_the_budget(what, kind, vector):
    budget = 40 * KIB
    samples = {"ntk": 61 if vector else 97}.get(what, 307)  # primes: the last block is a shorter one
    system, oracle, theta = network(kind, vector, budget, samples)
    found = getattr(system, what)(theta)
    wanted = truth(oracle, theta, what)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1e-12 * float(wanted.abs().max())
    rows = system._functions[what, "one"].call.rows
    assert rows < samples
    with Allocations(theta, system.x, system.y) as seen:
        getattr(system, what)(theta)
    # The result itself is not counted by the budget.
    assert seen.peak <= budget + found.numel() * 8


@pytest.mark.parametrize("what", ["outputs", "jacobian", "ntk"])
def test_without_a_budget_the_same_call_is_beyond_it(what):
    system, _, theta = network("two_layer", False, None)
    found = getattr(system, what)(theta)
    with Allocations(theta, system.x, system.y) as seen:
        getattr(system, what)(theta)
    assert seen.peak > 40 * KIB + found.numel() * 8


@pytest.mark.parametrize("what", ["outputs", "jacobian", "ntk"])
def test_many_points_under_a_budget_are_taken_one_by_one(what):
    system, oracle, _ = network("two_layer", False, 40 * KIB)
    theta = draw(2, system.P, seed=5) / 2
    found = getattr(system, what)(theta)
    for point, one in zip(theta, found, strict=True):
        wanted = truth(oracle, point, what)
        assert float((one - wanted).abs().max()) <= 1e-12 * float(wanted.abs().max())


@pytest.mark.parametrize("what", ["outputs", "jacobian", "ntk"])
def test_a_budget_below_one_block_is_refused_with_the_number_of_bytes(what):
    system, _, theta = network("two_layer", False, 100)
    with pytest.raises(ValueError, match=rf"the {what} of one point may hold \d+ bytes on the way"):
        getattr(system, what)(theta)
