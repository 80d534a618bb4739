"""Both ends of a spectrum from products, against dense eigenvalues of a hand-written network and against closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.lanczos import _ends, extreme_spectrum
from numerics.reference import Reference
from numerics.tolerances import LANCZOS_RESIDUAL

F64 = torch.float64


def draw(*shape: int, seed: int = 7) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def network(width: int = 15, dtype: torch.dtype = F64, **options) -> tuple[CompiledSystem, Reference]:
    x, y = draw(30, 3), draw(30, seed=8)
    problem = Problem.two_layer("tanh", "square", input_bias=True, **options)
    oracle = Reference(x, y, activation="tanh", loss="square", widths=(width,), input_bias=True)
    return compile_system(problem, x, y, width, dtype=dtype), oracle


def of_matrix(matrix: torch.Tensor, k: int):
    return _ends(lambda v: matrix @ v, len(matrix), F64, k, 0)


def with_eigenvalues(values: torch.Tensor) -> torch.Tensor:
    q = torch.linalg.qr(draw(len(values), len(values), seed=3)).Q
    return q @ torch.diag(values) @ q.T


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("k", [1, 4])
def test_both_ends_are_those_of_the_dense_hessian_of_autograd(dtype, k):
    system, oracle = network(dtype=dtype)
    theta = draw(system.P, seed=5).to(dtype) / 2
    hessian = oracle.hessian(theta.double())
    wanted = torch.linalg.eigvalsh(hessian)
    found = extreme_spectrum(system, theta, k)
    assert found.converged
    bound = 4 * LANCZOS_RESIDUAL[dtype] * found.norm
    for values, residuals, vectors, right in (
        (found.lowest, found.lowest_residuals, found.lowest_vectors, wanted[:k]),
        (found.highest, found.highest_residuals, found.highest_vectors, wanted[-k:]),
    ):
        got = torch.tensor(values, dtype=F64)
        assert torch.equal(got, got.sort().values)
        assert float((got - right).abs().max()) <= bound
        assert float((hessian @ vectors - vectors * got).norm(dim=0).max()) <= bound
        assert max(residuals) <= bound
        assert float((vectors.T @ vectors - torch.eye(k, dtype=F64)).abs().max()) < 1e-8
    assert found.eigenvalues == found.lowest + found.highest
    assert found.negative_at_least == min(k, int((wanted < -1e-6).sum()))
    assert found.positive_at_least == k


def test_frozen_blocks_are_left_out():
    system, oracle = network(freeze=("w",))
    theta = draw(system.P, seed=5)
    kept = torch.cat([torch.arange(15), torch.arange(60, 75)])
    wanted = torch.linalg.eigvalsh(oracle.hessian(theta)[kept][:, kept])
    found = extreme_spectrum(system, theta, 3)
    assert found.P == 30
    assert torch.allclose(torch.tensor(found.lowest, dtype=F64), wanted[:3], atol=1e-9)
    assert torch.allclose(torch.tensor(found.highest, dtype=F64), wanted[-3:], atol=1e-9)


def test_many_zero_eigenvalues_neither_stop_it_nor_count_as_signs():
    values = torch.cat([torch.zeros(95, dtype=F64), torch.tensor([1.0, 2, 3, 4, 5], dtype=F64)])
    found = of_matrix(with_eigenvalues(values), 8)
    assert found.converged
    assert max(map(abs, found.lowest)) < 1e-8
    assert found.highest[-5:] == pytest.approx([1, 2, 3, 4, 5], abs=1e-8)
    assert (found.negative_at_least, found.positive_at_least) == (0, 5)
    assert found.inertia is None


def test_signs_are_bounds_from_below():
    values = torch.cat([torch.linspace(-2, -1, 30, dtype=F64), torch.linspace(1, 2, 30, dtype=F64)])
    found = of_matrix(with_eigenvalues(values), 4)
    assert (found.negative_at_least, found.positive_at_least) == (4, 4)
    assert found.to_dict() == {
        "complete": False,
        "parameters": 60,
        "lowest": 4,
        "highest": 4,
        "largest_residual": found.largest_residual,
        "converged": True,
        "negative_at_least": 4,
        "positive_at_least": 4,
    }


def test_a_value_within_the_errors_of_zero_has_no_sign():
    found = of_matrix(with_eigenvalues(torch.linspace(-1, 1, 40, dtype=F64)), 2)
    shaky = replace(found, lowest=(-1e-3, 1.0), lowest_residuals=(2e-3, 0.0))
    assert found.negative_at_least == 2
    assert shaky.negative_at_least == 0


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_a_multiple_of_the_identity(value):
    found = of_matrix(value * torch.eye(20, dtype=F64), 2)
    assert found.eigenvalues == pytest.approx([value] * 4, abs=1e-12)
    assert found.negative_at_least == (2 if value < 0 else 0)
    assert found.positive_at_least == (2 if value > 0 else 0)


def test_what_did_not_converge_is_not_given(monkeypatch):
    monkeypatch.setattr("numerics.lanczos.MOST_RESTARTS", 1)
    found = of_matrix(with_eigenvalues(torch.linspace(0, 1, 400, dtype=F64)), 5)
    assert not found.converged
    assert len(found.lowest) + len(found.highest) < 10
    assert found.to_dict()["converged"] is False


def test_the_same_seed_gives_the_same_numbers():
    system, _ = network()
    theta = draw(system.P)
    assert extreme_spectrum(system, theta, 2).eigenvalues == extreme_spectrum(system, theta, 2).eigenvalues


@pytest.mark.parametrize("k", [0, 38, -1, 2.0, True])
def test_a_number_of_pairs_that_does_not_fit_is_refused(k):
    system, _ = network()
    with pytest.raises(
        ValueError, match="accepted: an integer from 1 to 37, half the number of trained parameters"
    ):
        extreme_spectrum(system, draw(system.P), k)


def test_many_points_or_an_overflow_are_refused():
    system, _ = network()
    with pytest.raises(ValueError, match="required is one point"):
        extreme_spectrum(system, draw(2, system.P))
    with pytest.raises(ValueError, match="a Hessian-vector product is not finite"):
        extreme_spectrum(system, draw(system.P) * 1e200)
