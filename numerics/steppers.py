r"""One step of each method for a batch of states, every row with its own step size.

A step is a pure function of (y, f(y), J(y), h). Rows never mix: each operation acts on the first axis element
by element. The coefficients live in :mod:`numerics.tableaux`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from numerics.tableaux import DORMAND_PRINCE, RODAS4

__all__ = ["METHODS", "JacobianFunction", "Method", "RateFunction", "Trial", "evaluate_dense"]

RateFunction = Callable[[Tensor], Tensor]
JacobianFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Trial:
    """A proposed step of n rows, not yet accepted.

    Parameters
    ----------
    state : Tensor, shape (n, P)
        Proposed new states.
    error : Tensor, shape (n, P)
        Estimated local errors of the new states.
    stages : Tensor, shape (s, n, P)
        Stage values from which the dense output is formed.
    rate : Tensor, shape (n, P), or None
        Rate at the new states where the method knows it (first same as last), else None.
    stiffness : Tensor, shape (n,), or None
        Estimate of h times the dominant eigenvalue modulus, where the method gives it for free.
    """

    state: Tensor
    error: Tensor
    stages: Tensor
    rate: Tensor | None = None
    stiffness: Tensor | None = None


class StepFunction(Protocol):
    """The signature of a step: y, f (n, P), jacobian (n, P, P) or None, h (n,)."""

    def __call__(self, rate: RateFunction, y: Tensor, f: Tensor, jacobian: Tensor | None, h: Tensor) -> Trial:
        """Propose one step."""


@dataclass(frozen=True)
class Method:
    """A one-step method as the integrator sees it.

    Parameters
    ----------
    name : str
        Name accepted by :func:`numerics.flow.integrate`.
    order, error_order, dense_order : int
        Orders of the solution, of the embedded solution and of the continuous extension.
    step : StepFunction
        Proposes one step.
    dense : callable
        ``dense(y0, trial, rows, h)`` gives the power coefficients (r, K, P) of the continuous extension of
        the rows selected by the index tensor ``rows`` (r,); see :func:`evaluate_dense`.
    rates_per_step : int
        Rate evaluations of one attempt, the rate at its start not counted.
    needs_jacobian : bool
        Whether ``step`` uses the Jacobian.
    """

    name: str
    order: int
    error_order: int
    dense_order: int
    step: StepFunction
    dense: Callable[[Tensor, Trial, Tensor, Tensor], Tensor]
    rates_per_step: int
    needs_jacobian: bool


@lru_cache(maxsize=64)
def _weights(row: tuple[float | Fraction, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Coefficients as a (s, 1, 1) tensor."""
    return torch.tensor([float(c) for c in row], dtype=dtype, device=device)[:, None, None]


def _combine(row: tuple[float | Fraction, ...], stages: Tensor) -> Tensor:
    """Return sum_j row[j] * stages[j], shape (n, P).

    Formed element by element, not by a matrix product, so that a reduced-precision matrix product mode of the
    device cannot degrade the solution and no row depends on its neighbours.
    """
    return (_weights(row, stages.dtype, stages.device) * stages[: len(row)]).sum(0)


def dopri5_step(rate: RateFunction, y: Tensor, f: Tensor, jacobian: Tensor | None, h: Tensor) -> Trial:
    """Dormand-Prince 5(4); f must be the rate at y, and the rate at the new state comes back as ``rate``.

    The stiffness number is ``h |k7 - k6| / |y7 - y6|`` (Hairer & Wanner II, sec. IV.2): stages 6 and 7 both
    stand at t + h, so their difference quotient estimates the dominant eigenvalue of the Jacobian.
    """
    table = DORMAND_PRINCE
    step = h[:, None]
    stages = torch.empty((len(table.a), *y.shape), dtype=y.dtype, device=y.device)
    stages[0] = f
    point = previous = y
    for i in range(1, len(table.a)):
        previous, point = point, y + step * _combine(table.a[i], stages)
        stages[i] = rate(point)
    tiny = torch.finfo(y.dtype).tiny
    stretch = torch.linalg.vector_norm(point - previous, dim=1).clamp_min(tiny)
    stiffness = h * torch.linalg.vector_norm(stages[6] - stages[5], dim=1) / stretch
    error = step * _combine(table.error, stages)
    return Trial(state=point, error=error, stages=stages, rate=stages[-1], stiffness=stiffness)


def dopri5_dense(y0: Tensor, trial: Trial, rows: Tensor, h: Tensor) -> Tensor:
    """Power coefficients (r, 4, P) of the quartic continuous extension, order 4."""
    stages, step = trial.stages[:, rows], h[rows][:, None]
    columns = zip(*DORMAND_PRINCE.dense, strict=True)
    return torch.stack([step * _combine(column, stages) for column in columns], dim=1)


def rodas4_step(rate: RateFunction, y: Tensor, f: Tensor, jacobian: Tensor | None, h: Tensor) -> Trial:
    """RODAS 4(3); f and jacobian are the rate and its Jacobian at y.

    One LU factorisation serves the six stages. A singular or non-finite matrix gives non-finite stages, which
    the controller rejects; nothing is raised.
    """
    if jacobian is None:
        raise ValueError("rodas4 needs the Jacobian at y, shape (n, P, P), got None")
    table = RODAS4
    step = h[:, None]
    matrix = -jacobian
    matrix.diagonal(dim1=1, dim2=2).add_(1 / (table.gamma * step))
    factors, pivots, _ = torch.linalg.lu_factor_ex(matrix)
    stages = torch.empty((len(table.a), *y.shape), dtype=y.dtype, device=y.device)
    point = y
    for i in range(len(table.a)):
        right = f
        if i:
            point = y + _combine(table.a[i], stages)
            right = rate(point) + _combine(table.c[i], stages) / step
        stages[i] = torch.linalg.lu_solve(factors, pivots, right[:, :, None])[:, :, 0]
    return Trial(state=point + stages[-1], error=stages[-1], stages=stages)


def rodas4_dense(y0: Tensor, trial: Trial, rows: Tensor, h: Tensor) -> Tensor:
    """Power coefficients (r, 3, P) of the cubic continuous extension, order 3.

    From (1-s) y0 + s (y1 + (1-s)(A + s B)): s gets y1 - y0 + A, s^2 gets B - A and s^3 gets -B.
    """
    stages = trial.stages[:, rows]
    a, b = (_combine(row, stages) for row in RODAS4.dense)
    return torch.stack([trial.state[rows] - y0[rows] + a, b - a, -b], dim=1)


def evaluate_dense(y0: Tensor, coefficients: Tensor, s: Tensor) -> Tensor:
    """Evaluate y0 + sum_k coefficients[:, k-1] s^k by Horner's rule.

    Parameters
    ----------
    y0 : Tensor, shape (r, P)
        States at the start of the steps.
    coefficients : Tensor, shape (r, K, P)
        As returned by ``Method.dense``.
    s : Tensor, shape (r,)
        Fractions of the step, 0 at its start and 1 at its end.

    Returns
    -------
    Tensor, shape (r, P)
    """
    value = torch.zeros_like(y0)
    for k in range(coefficients.shape[1] - 1, -1, -1):
        value = s[:, None] * (value + coefficients[:, k])
    return y0 + value


METHODS: dict[str, Method] = {
    "dopri5": Method(
        "dopri5",
        DORMAND_PRINCE.order,
        DORMAND_PRINCE.error_order,
        DORMAND_PRINCE.dense_order,
        dopri5_step,
        dopri5_dense,
        rates_per_step=6,
        needs_jacobian=False,
    ),
    "rodas4": Method(
        "rodas4",
        RODAS4.order,
        RODAS4.error_order,
        RODAS4.dense_order,
        rodas4_step,
        rodas4_dense,
        rates_per_step=5,
        needs_jacobian=True,
    ),
}
