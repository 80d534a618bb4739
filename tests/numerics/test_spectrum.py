"""Inertia, gap and kind from a spectrum."""

from __future__ import annotations

import pytest
import torch

from numerics.spectrum import Inertia, kind_of, spectrum
from numerics.tolerances import ZERO_EIGENVALUE, zero_eigenvalue


def rotated(*eigenvalues: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    size = len(eigenvalues)
    draws = torch.randn(size, size, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    q = torch.linalg.qr(draws).Q
    matrix = q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ q.T
    return ((matrix + matrix.T) / 2).to(dtype)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("eigenvalues", "inertia", "kind"),
    [
        ((-1.0, 2.0, 3.0), Inertia(1, 0, 2), "saddle"),
        ((1.0, 2.0, 3.0), Inertia(0, 0, 3), "minimum"),
        ((-1.0, -2.0, -3.0), Inertia(3, 0, 0), "maximum"),
        ((0.0, 2.0, 3.0), Inertia(0, 1, 2), "degenerate"),
        ((0.0, -2.0, -3.0), Inertia(2, 1, 0), "degenerate"),
        ((0.0, -2.0, 3.0), Inertia(1, 1, 1), "saddle"),
        ((1e-12, 1.0, -1e-12), Inertia(0, 2, 1), "degenerate"),
    ],
)
def test_inertia_and_kind_do_not_depend_on_the_scale(eigenvalues, inertia, kind, scale):
    found = spectrum(rotated(*(scale * u for u in eigenvalues)))
    assert found.inertia == inertia
    assert found.kind == kind == kind_of(inertia)
    assert list(found.eigenvalues) == sorted(found.eigenvalues)


def test_the_threshold_is_the_table_s():
    found = spectrum(rotated(1.0, 2.0, 4.0))
    assert found.tolerance == pytest.approx(4 * ZERO_EIGENVALUE, rel=1e-12)
    assert spectrum(rotated(1.0, 10 * ZERO_EIGENVALUE)).inertia == Inertia(0, 0, 2)
    assert spectrum(rotated(1.0, ZERO_EIGENVALUE / 10)).inertia == Inertia(0, 1, 1)


def test_float32_counts_its_rounding_as_zero():
    found = spectrum(rotated(0.0, 1.0, 2.0, dtype=torch.float32))
    assert found.inertia == Inertia(0, 1, 2)
    assert found.tolerance > 1e-6 > 2 * ZERO_EIGENVALUE


def test_the_gap_is_reported_on_both_sides():
    found = spectrum(rotated(1e-15, -0.5, 2.0))
    assert found.smallest_nonzero == pytest.approx(0.5)
    assert found.largest_zero is not None
    assert found.largest_zero < 1e-14
    assert found.clear
    assert not spectrum(torch.diag(torch.tensor([3e-12, 5e-10, 5e-9, 1.0], dtype=torch.float64))).clear


def test_sides_that_are_empty_are_none():
    assert spectrum(rotated(1.0, 2.0)).largest_zero is None
    vanished = spectrum(torch.zeros(2, 2, dtype=torch.float64))
    assert (vanished.inertia, vanished.smallest_nonzero, vanished.clear) == (Inertia(0, 2, 0), None, True)


def test_vectors_diagonalise():
    matrix = rotated(-1.0, 2.0, 3.0)
    found = spectrum(matrix)
    diagonal = found.vectors.T @ matrix @ found.vectors
    torch.testing.assert_close(diagonal, torch.diag(torch.tensor(found.eigenvalues, dtype=torch.float64)))


def test_inertias_add_and_subtract():
    assert Inertia(1, 2, 3) + Inertia(1, 0, 1) - Inertia(2, 2, 0) == Inertia(0, 0, 4)
    assert Inertia(1, 2, 3).to_dict() == {"negative": 1, "zero": 2, "positive": 3}


def test_an_overflown_hessian_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        spectrum(torch.tensor([[float("inf")]]))


def test_batches_of_spectra_have_a_threshold_each():
    values = torch.tensor([[1.0, 2.0], [0.0, 1e6]], dtype=torch.float64)
    assert zero_eigenvalue(values).tolist() == pytest.approx([2e-9, 1e-3])


def test_a_badly_conditioned_minimum_is_not_degenerate() -> None:
    """The coarse tolerance would cut between 3e-10 and 3e-9; the fine one falls into a gap of ten decades."""
    found = spectrum(torch.diag(torch.tensor([3e-10, 3e-9, 1.0], dtype=torch.float64)))
    assert (found.inertia.zero, found.kind, found.clear) == (0, "minimum", True)
    saddle = spectrum(torch.diag(torch.tensor([-3e-10, 3e-9, 1e-16, 1.0], dtype=torch.float64)))
    assert (saddle.inertia.negative, saddle.inertia.zero, saddle.inertia.positive) == (1, 1, 2)
