r"""One step of each method for a batch of states, every row with its own step size.

A step is a pure function of (y, f(y), J(y), h). Rows never mix: each operation acts on the first axis element
by element. The coefficients live in :mod:`numerics.tableaux`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from numerics.tableaux import DOP853, DORMAND_PRINCE, RODAS4, ExplicitTableau, RosenbrockTableau

__all__ = ["METHODS", "JacobianFunction", "Method", "RateFunction", "Trial", "evaluate_dense", "stiffness"]

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
        Stage values from which the dense output is formed; those of explicit methods are rates times h.
    rate : Tensor, shape (n, P), or None
        Rate at the new states where the step has evaluated it, else None.
    late : Tensor, shape (n, P), or None
        Argument of the last stage before the new state, where it stands at the end of the step as well; ``late_stage``
        is the stage there.
    second_error : Tensor, shape (n, P), or None
        A second estimate, which damps the first: see :func:`numerics.controller.error_ratio`.
    """

    state: Tensor
    error: Tensor
    stages: Tensor
    rate: Tensor | None = None
    late: Tensor | None = None
    late_stage: Tensor | None = None
    second_error: Tensor | None = None


class StepFunction(Protocol):
    """The signature of a step: y, f (n, P), jacobian (n, P, P) or None, h (n,)."""

    def __call__(self, rate: RateFunction, y: Tensor, f: Tensor, jacobian: Tensor | None, h: Tensor) -> Trial:
        """Propose one step."""


class DenseFunction(Protocol):
    """The signature of a continuous extension."""

    def __call__(
        self, rate: RateFunction, y0: Tensor, trial: Trial, f1: Tensor, rows: Tensor, h: Tensor
    ) -> Tensor:
        """Return the coefficients (r, K, P) of the rows (r,); f1 (n, P) is the rate at the new states."""


@dataclass(frozen=True)
class Method:
    """A one-step method as the integrator sees it.

    Parameters
    ----------
    name : str
        Name accepted by :func:`numerics.flow.integrate`.
    order, error_order, dense_order : int
        Orders of the solution, of the error estimate and of the continuous extension.
    step : StepFunction
        Proposes one step.
    dense : DenseFunction
        ``dense(rate, y0, trial, f1, rows, h)`` gives the power coefficients (r, K, P) of the continuous extension of
        the rows selected by the index tensor ``rows`` (r,); see :func:`evaluate_dense`.
    rates_per_step : int
        Rate evaluations of one attempt, those at its start and at a new state that is not part of it not counted.
    needs_jacobian : bool
        Whether ``step`` uses the Jacobian.
    dense_rates : int
        Rate evaluations of the continuous extension of one row.
    stiff_ratio : float
        h times the dominant eigenvalue modulus from which a step counts as stiff; infinite for an implicit method.
    """

    name: str
    order: int
    error_order: int
    dense_order: int
    step: StepFunction
    dense: DenseFunction
    rates_per_step: int
    needs_jacobian: bool
    dense_rates: int = 0
    stiff_ratio: float = float("inf")


class _Weights(NamedTuple):
    """Coefficients of an explicit table as tensors: of the stages (i,), of the errors (e, s), of the powers (K, s)."""

    a: tuple[Tensor, ...]
    errors: Tensor
    extra: tuple[Tensor, ...]
    dense: Tensor


@lru_cache(maxsize=64)
def _weights(table: ExplicitTableau, dtype: torch.dtype, device: torch.device) -> _Weights:
    """Return the coefficients as tensors."""

    def tensor(row: tuple[float | Fraction, ...]) -> Tensor:
        return torch.tensor([float(c) for c in row], dtype=dtype, device=device)

    errors = [row for row in (table.error, table.second_error) if row]
    return _Weights(
        tuple(map(tensor, table.a)),
        torch.stack([tensor(row) for row in errors]),
        tuple(map(tensor, table.extra)),
        torch.stack([tensor(row) for row in zip(*table.dense, strict=True)]),
    )


@lru_cache(maxsize=64)
def _pairs(table: RosenbrockTableau, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return the rows a_i over c_i of a Rosenbrock table, each (2, i)."""
    rows = zip(table.a, table.c, strict=True)
    return tuple(torch.tensor([a, c], dtype=dtype, device=device) for a, c in rows)


def _moved(y: Tensor, stages: Tensor, count: int, weights: Tensor) -> Tensor:
    """Return y + sum_j weights[j] stages[j] over the first stages: one pass over them."""
    columns = stages.view(len(stages), -1)[:count].t()
    return torch.addmv(y.reshape(-1), columns, weights).view(y.shape)


def _combined(weights: Tensor, stages: Tensor) -> Tensor:
    """Return the combinations sum_j weights[k, j] stages[j], shape (K, n, P)."""
    return (weights @ stages.reshape(len(stages), -1)).view(len(weights), *stages.shape[1:])


def _explicit_step(table: ExplicitTableau, rate: RateFunction, y: Tensor, f: Tensor, h: Tensor) -> Trial:
    """One step of an explicit table; f must be the rate at y."""
    weights, step = _weights(table, y.dtype, y.device), h[:, None]
    used = len(table.error)
    stages = torch.empty((used, *y.shape), dtype=y.dtype, device=y.device)
    torch.mul(f, step, out=stages[0])
    point = late = y
    new: Tensor | None = None
    for i in range(1, len(table.a)):
        late, point = point, _moved(y, stages, i, weights.a[i])
        if i < used:
            new = rate(point)
            torch.mul(new, step, out=stages[i])
    errors = _combined(weights.errors, stages)
    known = used == len(table.a)
    return Trial(
        state=point,
        error=errors[0],
        stages=stages,
        rate=new if known else None,
        late=late,
        late_stage=stages[len(table.a) - 2],
        second_error=errors[1] if len(errors) > 1 else None,
    )


def _explicit_dense(
    table: ExplicitTableau,
    rate: RateFunction,
    y0: Tensor,
    trial: Trial,
    f1: Tensor,
    rows: Tensor,
    h: Tensor,
) -> Tensor:
    """Power coefficients (r, K, P) of the continuous extension, after the stages that only it needs."""
    weights = _weights(table, y0.dtype, y0.device)
    known, total = len(table.error), len(table.a) + len(table.extra)
    start, step = y0[rows], h[rows][:, None]
    stages = torch.empty((total, *start.shape), dtype=start.dtype, device=start.device)
    torch.index_select(trial.stages, 1, rows, out=stages[:known])
    torch.mul(f1[rows], step, out=stages[len(table.a) - 1])
    for i, row in enumerate(weights.extra, len(table.a)):
        torch.mul(rate(_moved(start, stages, i, row)), step, out=stages[i])
    # The weights of each power sum to 0, those of s to 1: with differences of stages large weights cancel without rounding.
    first, rest = stages[0], stages[1:]
    coefficients = _combined(weights.dense[:, 1:], rest.sub_(first))
    coefficients[0] += first
    return coefficients.transpose(0, 1)


def dopri5_step(rate: RateFunction, y: Tensor, f: Tensor, jacobian: Tensor | None, h: Tensor) -> Trial:
    """Dormand-Prince 5(4); the rate at the new state comes back as ``rate``."""
    return _explicit_step(DORMAND_PRINCE, rate, y, f, h)


def dopri5_dense(rate: RateFunction, y0: Tensor, trial: Trial, f1: Tensor, rows: Tensor, h: Tensor) -> Tensor:
    """Power coefficients (r, 4, P) of the quartic continuous extension, order 4."""
    return _explicit_dense(DORMAND_PRINCE, rate, y0, trial, f1, rows, h)


def dop853_step(rate: RateFunction, y: Tensor, f: Tensor, jacobian: Tensor | None, h: Tensor) -> Trial:
    r"""Dormand-Prince 8(5,3).

    With the estimates :math:`e_5 = O(h^6)` and :math:`e_3 = O(h^4)` the error counts as
    :math:`e_5^2 / \sqrt{e_5^2 + 0.01\, e_3^2} = O(h^8)`.
    """
    return _explicit_step(DOP853, rate, y, f, h)


def dop853_dense(rate: RateFunction, y0: Tensor, trial: Trial, f1: Tensor, rows: Tensor, h: Tensor) -> Tensor:
    """Power coefficients (r, 7, P) of the continuous extension of order 7, which takes three more rates."""
    return _explicit_dense(DOP853, rate, y0, trial, f1, rows, h)


def stiffness(trial: Trial, f1: Tensor, h: Tensor) -> Tensor | None:
    r"""Estimate of h times the dominant eigenvalue modulus, (n,); None where the method gives none for free.

    :math:`h |f(y_1) - f(u)| / |y_1 - u|` with the argument u of the last stage (Hairer & Wanner II, sec. IV.2): both stand
    at t + h, so the difference quotient estimates the dominant eigenvalue of the Jacobian.
    """
    if trial.late is None or trial.late_stage is None:
        return None
    change = torch.addcmul(trial.late_stage, f1, h[:, None], value=-1)
    stretch = torch.linalg.vector_norm(trial.state - trial.late, dim=1)
    return torch.linalg.vector_norm(change, dim=1) / stretch.clamp_min(torch.finfo(h.dtype).tiny)


def rodas4_step(rate: RateFunction, y: Tensor, f: Tensor, jacobian: Tensor | None, h: Tensor) -> Trial:
    """RODAS 4(3); f and jacobian are the rate and its Jacobian at y.

    One LU factorisation serves the six stages. A singular or non-finite matrix gives non-finite stages, which
    the controller rejects; nothing is raised.
    """
    if jacobian is None:
        raise ValueError("rodas4 needs the Jacobian at y, shape (n, P, P), got None")
    table, weights = RODAS4, _pairs(RODAS4, y.dtype, y.device)
    step = h[:, None]
    matrix = -jacobian
    matrix.diagonal(dim1=1, dim2=2).add_(1 / (table.gamma * step))
    factors, pivots, _ = torch.linalg.lu_factor_ex(matrix)
    stages = torch.empty((len(table.a), *y.shape), dtype=y.dtype, device=y.device)
    point, right = y, f
    for i in range(len(table.a)):
        if i:
            shift, pull = _combined(weights[i], stages[:i])
            point = y + shift
            right = torch.addcdiv(rate(point), pull, step)
        stages[i] = torch.linalg.lu_solve(factors, pivots, right[:, :, None])[:, :, 0]
    return Trial(state=point + stages[-1], error=stages[-1], stages=stages)


def rodas4_dense(rate: RateFunction, y0: Tensor, trial: Trial, f1: Tensor, rows: Tensor, h: Tensor) -> Tensor:
    """Power coefficients (r, 3, P) of the cubic continuous extension, order 3.

    From (1-s) y0 + s (y1 + (1-s)(A + s B)): s gets y1 - y0 + A, s^2 gets B - A and s^3 gets -B.
    """
    weights = torch.tensor(RODAS4.dense, dtype=y0.dtype, device=y0.device)
    a, b = _combined(weights, trial.stages[: weights.shape[1], rows])
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


def _explicit(name: str, table: ExplicitTableau, step: StepFunction, dense: DenseFunction) -> Method:
    """Return the method of an explicit table."""
    return Method(
        name,
        table.order,
        table.error_order,
        table.dense_order,
        step,
        dense,
        rates_per_step=len(table.error) - 1,
        needs_jacobian=False,
        dense_rates=len(table.extra),
        stiff_ratio=table.stiff_ratio,
    )


METHODS: dict[str, Method] = {
    "dopri5": _explicit("dopri5", DORMAND_PRINCE, dopri5_step, dopri5_dense),
    "dop853": _explicit("dop853", DOP853, dop853_step, dop853_dense),
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
