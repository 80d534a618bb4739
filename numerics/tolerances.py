r"""The one table of numerical tolerances, each with its ground.

No test and no solver carries a bound of its own. A bound is loosened here, with the error that was seen
and the reason, or not at all. A symbolic identity has no entry: it holds exactly, or it is not shown.

- ``SAME_FORMULA``: one formula by two evaluators, relative to the largest magnitude involved. About
  1e-16 and 1e-7 were seen for tanh and softplus networks (d=3, m=4, n=20); the bound leaves room for
  sums of a few thousand terms taken in another order.
- ``TAYLOR_SLOPE``: log-log slope of the remainder, 1 for the value alone, 2 with the gradient, 3 with
  the Hessian. Seen: 1.08, 2.01, 3.01.
- ``SLOPE_MARGIN``: allowed distance from a nominal slope or integrator order; the next one is 1 away.
  RK4 gave 4.03.
- ``MIN_HALVINGS``: a step size is halved at least this often before an order is read off.
- ``CRITICAL_GRADIENT``: gradient norm of a polished critical point, relative to the size of the terms
  whose sum it is. Newton reaches 1e-17 in eight steps; a slow runaway to infinity passes too, at 1e-13,
  so a bounded parameter is required besides.
- ``POLISHED_GRADIENT``: largest gradient entry of a listed critical point, relative to the largest entry of the
  Hessian where that exceeds 1. Newton's method ends at 1e-16; a slow run to infinity with its flat directions cut off
  stopped at 2e-14.
- ``ZERO_EIGENVALUE``: an eigenvalue counts as zero up to this fraction of the largest magnitude. A split
  tanh neuron gave 1e-16, the next eigenvalue 9e-4; the gap between the two groups is always reported.
- ``FINE_ZERO_EIGENVALUE``: the fraction used instead where the first one cuts through a group of eigenvalues and this one
  leaves a clear gap: a minimum with condition number 1e10 is nondegenerate, and its smallest eigenvalue is far
  above rounding.
- ``EIGENVALUE_ROUNDING``: but never less than this many machine epsilons times P, the rounding of a symmetric
  eigenvalue solver: what decides in float32.
- ``LANCZOS_RESIDUAL``: residual of an eigenpair from Hessian-vector products, relative to twice the largest magnitude of
  an eigenvalue. Seen: 5e-11 in float64, 4e-6 in float32 (P = 3600).
- ``CANCELLATION``: magnitudes below this fraction of the largest among the points compared are results of
  cancellation; their error is measured against that fraction of the largest instead.
- ``FINITE_DIFFERENCES``: extrapolated central differences in float64, relative. Seen: 1e-14 to 2e-13 for
  networks of six parameters with formula activations; a kink close by costs digits.
- ``FLOW_ERROR``: error of a state at the end of an integration, in units of the tolerance per step,
  ``atol + rtol |theta|``. Seen: up to 1.7; the rest of the room is for flows that amplify perturbations.
- ``NEWTON_GRADIENT``: a search row has converged when its largest gradient entry is below this times the
  largest Hessian entry (at least 1), ...
- ``NEWTON_STEP``: ... and the next Newton step is no longer than this in any parameter. On the way to infinity under
  an exponential loss it stays near 1 / (2 |theta|), at least 1e-2 within ``LARGEST_PARAMETER``; where the risk has
  curvature of order 1, ``NEWTON_GRADIENT`` and ``ZERO_EIGENVALUE`` already imply 1e-3.
- ``LARGEST_PARAMETER``: a point with a larger entry counts as a run to infinity; a tanh unit is saturated to the
  last bit at 19, so gradients beyond are tiny whether or not a critical point is near.
- ``MONTE_CARLO_SIGMAS``: distance of a sample mean from the exact value, in standard errors. A correct
  result is refused for one seed in 16 000; a fixed relative bound would say nothing.

>>> same_formula(torch.float64)
1e-12
>>> zero_eigenvalue(torch.tensor([-2.0, 1e-12, 1.0], dtype=torch.float64)).item()
2e-09
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch

__all__ = [
    "CANCELLATION",
    "CRITICAL_GRADIENT",
    "EIGENVALUE_ROUNDING",
    "FINITE_DIFFERENCES",
    "FINE_ZERO_EIGENVALUE",
    "FLOW_ERROR",
    "LANCZOS_RESIDUAL",
    "LARGEST_PARAMETER",
    "MIN_HALVINGS",
    "MONTE_CARLO_SIGMAS",
    "POLISHED_GRADIENT",
    "NEWTON_GRADIENT",
    "NEWTON_STEP",
    "SAME_FORMULA",
    "SLOPE_MARGIN",
    "TAYLOR_SLOPE",
    "ZERO_EIGENVALUE",
    "same_formula",
    "zero_eigenvalue",
]

SAME_FORMULA: Final[Mapping[torch.dtype, float]] = MappingProxyType(
    {torch.float64: 1e-12, torch.float32: 1e-5}
)
TAYLOR_SLOPE: Final[Mapping[str, int]] = MappingProxyType({"value": 1, "gradient": 2, "hessian": 3})
SLOPE_MARGIN: Final = 0.2
MIN_HALVINGS: Final = 3
CRITICAL_GRADIENT: Final = 1e-10
POLISHED_GRADIENT: Final = 1e-14
ZERO_EIGENVALUE: Final = 1e-9
FINE_ZERO_EIGENVALUE: Final = 1e-12
EIGENVALUE_ROUNDING: Final = 10
LANCZOS_RESIDUAL: Final[Mapping[torch.dtype, float]] = MappingProxyType(
    {torch.float64: 1e-10, torch.float32: 1e-5}
)
CANCELLATION: Final = 1e-3
FINITE_DIFFERENCES: Final = 1e-8
FLOW_ERROR: Final = 1e2
NEWTON_GRADIENT: Final = 1e-12
NEWTON_STEP: Final = 1e-3
LARGEST_PARAMETER: Final = 50.0
MONTE_CARLO_SIGMAS: Final = 4


def same_formula(dtype: torch.dtype) -> float:
    """Relative bound between two evaluations of one formula in `dtype`.

    Raises
    ------
    ValueError
        If no bound is stated for `dtype`.
    """
    if dtype not in SAME_FORMULA:
        accepted = ", ".join(str(known) for known in SAME_FORMULA)
        raise ValueError(f"no tolerance is stated for {dtype}; use one of {accepted}")
    return SAME_FORMULA[dtype]


def zero_eigenvalue(eigenvalues: torch.Tensor) -> torch.Tensor:
    """Magnitude up to which an eigenvalue of a spectrum counts as zero.

    Parameters
    ----------
    eigenvalues : torch.Tensor
        Shape (..., P), in any order.

    Returns
    -------
    torch.Tensor
        Shape (...): ``ZERO_EIGENVALUE``, or rounding if that is more, times the largest magnitude; zero for a
        vanishing spectrum.
    """
    rounding = EIGENVALUE_ROUNDING * torch.finfo(eigenvalues.dtype).eps * eigenvalues.shape[-1]
    return max(ZERO_EIGENVALUE, rounding) * eigenvalues.abs().amax(dim=-1)
