r"""Inertia and kind of a critical point from its Hessian spectrum, with the spectral gap reported."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.tolerances import (
    EIGENVALUE_ROUNDING,
    FINE_ZERO_EIGENVALUE,
    ZERO_EIGENVALUE,
    zero_eigenvalue,
)

__all__ = ["CLEAR_GAP", "Inertia", "Spectrum", "kind_of", "spectrum"]

#: Ratio of the smallest non-zero to the largest zero eigenvalue from which on no sign is in doubt.
CLEAR_GAP = 100


@dataclass(frozen=True)
class Inertia:
    """Numbers of negative, zero and positive eigenvalues."""

    negative: int
    zero: int
    positive: int

    def __add__(self, other: Inertia) -> Inertia:
        return Inertia(self.negative + other.negative, self.zero + other.zero, self.positive + other.positive)

    def __sub__(self, other: Inertia) -> Inertia:
        return Inertia(self.negative - other.negative, self.zero - other.zero, self.positive - other.positive)

    def to_dict(self) -> dict[str, int]:
        """Return the JSON form."""
        return {"negative": self.negative, "zero": self.zero, "positive": self.positive}


@dataclass(frozen=True)
class Spectrum:
    r"""Eigenvalues (ascending) and what they say.

    ``zero`` means :math:`|\lambda| \le` ``tolerance``, that of ``numerics.tolerances.zero_eigenvalue``; ``largest_zero`` and
    ``smallest_nonzero`` are the two sides of the gap (None where a side is empty).
    """

    eigenvalues: tuple[float, ...]
    vectors: Tensor
    inertia: Inertia
    tolerance: float
    largest_zero: float | None
    smallest_nonzero: float | None

    @property
    def clear(self) -> bool:
        """Whether the gap between zero and non-zero is a factor ``CLEAR_GAP``, so that no sign is in doubt."""
        if self.largest_zero is None or self.smallest_nonzero is None:
            return self.smallest_nonzero is None or self.smallest_nonzero >= 10 * self.tolerance
        return self.smallest_nonzero >= CLEAR_GAP * self.largest_zero

    @property
    def kind(self) -> str:
        """Return ``minimum``, ``maximum`` or ``saddle``; ``degenerate`` where a semidefinite Hessian has zeros."""
        return kind_of(self.inertia)


def kind_of(inertia: Inertia) -> str:
    """Return ``saddle``, ``minimum``, ``maximum``, or ``degenerate`` for a semidefinite inertia with zeros."""
    if inertia.negative and inertia.positive:
        return "saddle"
    if inertia.zero:
        return "degenerate"
    return "maximum" if inertia.negative else "minimum"


def spectrum(hessian: Tensor, scale: float = 0.0) -> Spectrum:
    """Return the spectrum of one symmetric matrix (P, P).

    ``scale`` is the size that eigenvalues of this problem usually have: one is zero relative to that, too, so that a Hessian that
    vanishes up to the error of the point is zero and not a matrix of tiny signs.

    >>> spectrum(torch.diag(torch.tensor([3.0, 1e-12, -1.0], dtype=torch.float64))).inertia
    Inertia(negative=1, zero=1, positive=1)

    Raises
    ------
    ValueError
        If the matrix holds a number that is not finite.
    """
    if not bool(torch.isfinite(hessian).all()):
        raise ValueError("the Hessian holds numbers that are not finite: the point has overflowed")
    values, vectors = torch.linalg.eigh(hessian)
    floor = ZERO_EIGENVALUE * scale
    found = _at(values, vectors, max(float(zero_eigenvalue(values)), floor))
    if not found.clear and float(values.abs().max()) >= scale:
        # The tolerance cuts through a group of eigenvalues; a finer one may fall into a gap.
        fraction = max(
            FINE_ZERO_EIGENVALUE, EIGENVALUE_ROUNDING * torch.finfo(values.dtype).eps * len(values)
        )
        finer = _at(values, vectors, fraction * float(values.abs().max()))
        found = finer if finer.clear else found
    return found


def _at(values: Tensor, vectors: Tensor, tolerance: float) -> Spectrum:
    zero = values.abs() <= tolerance
    inertia = Inertia(int((values < -tolerance).sum()), int(zero.sum()), int((values > tolerance).sum()))
    return Spectrum(
        tuple(float(v) for v in values),
        vectors,
        inertia,
        tolerance,
        float(values[zero].abs().max()) if bool(zero.any()) else None,
        float(values[~zero].abs().min()) if bool((~zero).any()) else None,
    )
