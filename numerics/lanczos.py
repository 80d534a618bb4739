r"""Both ends of the spectrum of a Hessian that is too large to be written down, from Hessian-vector products.

The implicitly restarted Lanczos method (ARPACK, through SciPy) gives pairs :math:`(\lambda, v)` with residual
:math:`\rho = \lVert H v - \lambda v \rVert`; for a symmetric matrix an eigenvalue lies within :math:`\rho` of
:math:`\lambda` (Krylov-Bogoliubov).  That no eigenvalue further out was missed is not proved: a single start vector
may skip copies of a multiple eigenvalue.  So there is no inertia.  What holds is a bound from below, by the principle
of Courant and Fischer: H has at least as many negative eigenvalues as its compression to the computed vectors has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.tolerances import LANCZOS_RESIDUAL, ZERO_EIGENVALUE

__all__ = ["ExtremeSpectrum", "extreme_spectrum"]

#: Lanczos vectors kept between restarts, at least, and for each pair asked for.
LEAST_VECTORS, VECTORS_PER_PAIR = 40, 4
#: Restarts for one end of the spectrum.
MOST_RESTARTS = 300
#: Relative error of the first estimate of the norm, and the factor that covers it.
ROUGH, MARGIN = 1e-2, 1.1


@dataclass(frozen=True)
class ExtremeSpectrum:
    r"""Eigenvalues at both ends of the spectrum of one symmetric matrix (P, P), each end in ascending order.

    Attributes
    ----------
    P : int
        Size of the matrix.
    lowest, highest : tuple of float
        Eigenvalues; fewer than asked for where the method did not converge.
    lowest_residuals, highest_residuals : tuple of float
        :math:`\lVert H v - \lambda v \rVert` with :math:`\lVert v \rVert = 1`.
    lowest_vectors, highest_vectors : Tensor
        Columns v, (P, number of eigenvalues), float64 on the CPU.
    norm : float
        Largest magnitude of the eigenvalues found.
    converged : bool
        Whether as many pairs were found as were asked for.
    products : int
        Hessian-vector products it took.
    """

    P: int
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    lowest_residuals: tuple[float, ...]
    highest_residuals: tuple[float, ...]
    lowest_vectors: Tensor
    highest_vectors: Tensor
    norm: float
    converged: bool
    products: int

    @property
    def eigenvalues(self) -> tuple[float, ...]:
        """Lowest, then highest: not all eigenvalues."""
        return self.lowest + self.highest

    @property
    def inertia(self) -> None:
        """Not known: eigenvalues between the two ends have not been computed."""
        return None

    @property
    def largest_residual(self) -> float:
        """Bound on the distance of every value given from an eigenvalue."""
        return max((*self.lowest_residuals, *self.highest_residuals), default=float("inf"))

    @property
    def negative_at_least(self) -> int:
        """Number of eigenvalues that are negative at least: given values below zero by more than errors explain."""
        return sum(u < -self._doubt(self.lowest_residuals) for u in self.lowest)

    @property
    def positive_at_least(self) -> int:
        """Number of eigenvalues that are positive at least."""
        return sum(u > self._doubt(self.highest_residuals) for u in self.highest)

    def _doubt(self, residuals: tuple[float, ...]) -> float:
        # The compression differs from diag(lambda) by no more than the residuals together.
        return sum(r * r for r in residuals) ** 0.5 + ZERO_EIGENVALUE * self.norm

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the spectrum besides the eigenvalues, for JSON."""
        return {
            "complete": False,
            "parameters": self.P,
            "lowest": len(self.lowest),
            "highest": len(self.highest),
            "largest_residual": self.largest_residual,
            "converged": self.converged,
            "negative_at_least": self.negative_at_least,
            "positive_at_least": self.positive_at_least,
        }


def extreme_spectrum(system: CompiledSystem, theta: Tensor, k: int = 10, *, seed: int = 0) -> ExtremeSpectrum:
    """Return the ``k`` lowest and the ``k`` highest eigenvalues of the Hessian in the trained blocks, with vectors.

    Parameters
    ----------
    system : CompiledSystem
        Its Hessian-vector products are used; the Hessian is never formed.
    theta : Tensor
        One point, (P,).
    k : int
        Pairs at each end, at most half the number of trained parameters.
    seed : int
        Of the start vector.

    Raises
    ------
    ValueError
        If theta is no single point, ``k`` does not fit, or a product is not finite.

    Examples
    --------
    >>> from derivations.problem import Problem
    >>> from numerics.compile import compile_system
    >>> system = compile_system(Problem.two_layer("tanh", "square"), [[1.0], [2.0]], [0.5, 1.0], 5)
    >>> found = extreme_spectrum(system, torch.linspace(-1, 1, 10, dtype=torch.float64), k=2)
    >>> len(found.lowest), len(found.highest), found.largest_residual < 1e-9
    (2, 2, True)
    """
    if theta.ndim != 1:
        raise ValueError(f"theta has shape {tuple(theta.shape)}; required is one point, ({system.P},)")
    trained = torch.nonzero(system.rates, as_tuple=True)[0]
    size = len(trained)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= size // 2:
        raise ValueError(
            f"k is {k!r}; accepted: an integer from 1 to {size // 2}, half the number of trained parameters. For more, take "
            "the spectrum of system.hessian(theta)"
        )

    def product(v: Tensor) -> Tensor:
        whole = torch.zeros(system.P, dtype=system.dtype, device=system.device)
        whole[trained] = v.to(system.x)
        found = system.hvp(theta, whole)[trained]
        if not bool(torch.isfinite(found).all()):
            raise ValueError("a Hessian-vector product is not finite: the point has overflowed")
        return found

    return _ends(product, size, system.dtype, k, seed)


def _ends(
    product: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype, k: int, seed: int
) -> ExtremeSpectrum:
    # The vectors are float64 whatever the products are: in float32 they lose their orthogonality before they converge.
    start = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    count = 0

    def counted(v: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return product(v).to("cpu", torch.float64)

    norm = 1.0
    if bool(counted(start).any()):  # otherwise the matrix is zero, which the method refuses
        rough, _ = _pairs(counted, start, 0.0, 1, "LM", ROUGH)
        norm = (
            MARGIN * float(rough.abs().max()) if len(rough) else float(counted(start / start.norm()).norm())
        )
    ends = []
    # Shifted by its norm, the matrix has the wanted end at twice the norm, so that errors are relative to the norm:
    # relative to an eigenvalue near zero they could not be met.
    for which, shift in (("SA", -norm), ("LA", norm)):
        values, vectors = _pairs(counted, start, shift, k, which, LANCZOS_RESIDUAL[dtype])
        order = torch.argsort(values)
        values, vectors = values[order], vectors[:, order]
        images = [counted(v) for v in vectors.T]
        residuals = tuple(
            float((image - value * v).norm())
            for image, value, v in zip(images, values, vectors.T, strict=True)
        )
        ends.append((tuple(values.tolist()), residuals, vectors))
    (lowest, below, left), (highest, above, right) = ends
    largest = max(map(abs, (*lowest, *highest)), default=norm)
    converged = len(lowest) == len(highest) == k
    return ExtremeSpectrum(size, lowest, highest, below, above, left, right, largest, converged, count)


def _pairs(
    product: Callable[[Tensor], Tensor], start: Tensor, shift: float, k: int, which: str, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return k eigenvalues of H at the end ``which``, and vectors; fewer where H + shift did not converge."""
    size = len(start)

    def times(v: Any) -> Any:
        u = torch.from_numpy(v).reshape(-1)
        return (product(u) + shift * u).numpy()

    operator = LinearOperator((size, size), matvec=times, dtype="float64")
    vectors = min(size, max(LEAST_VECTORS, VECTORS_PER_PAIR * k))
    try:
        values, columns = eigsh(
            operator, k, which=which, v0=start.numpy(), ncv=vectors, tol=tolerance, maxiter=MOST_RESTARTS
        )
    except ArpackNoConvergence as failure:
        values, columns = failure.eigenvalues, failure.eigenvectors
    return torch.from_numpy(values) - shift, torch.from_numpy(columns)
