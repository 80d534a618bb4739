"""Measured order of convergence of an integrator, from runs with fixed steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from numerics.steppers import METHODS, JacobianFunction, Method, RateFunction

__all__ = ["OrderMeasurement", "measured_order"]

ROUNDING_FLOOR = 1e3
"""Errors below this many machine epsilons of the solution are rounding and do not enter the fit."""
LEAST_RUNS = 3
"""Fewest usable runs for a slope to be reported."""


@dataclass(frozen=True)
class OrderMeasurement:
    """Errors of fixed-step runs and the slope of log error against log step.

    Parameters
    ----------
    method : str
        Name of the method.
    nominal_order : int
        The order its theory states.
    step_counts : tuple of int
        Numbers of steps, as given.
    step_sizes : tuple of float
        until / step_counts.
    errors : tuple of float
        Largest componentwise error at the end over the batch.
    usable : tuple of bool
        Whether a run entered the fit: a finite error above rounding.
    order : float
        Least-squares slope over the usable runs; NaN when fewer than three are usable.
    """

    method: str
    nominal_order: int
    step_counts: tuple[int, ...]
    step_sizes: tuple[float, ...]
    errors: tuple[float, ...]
    usable: tuple[bool, ...]
    order: float


@torch.no_grad()
def measured_order(
    rate: RateFunction,
    theta0: Tensor,
    until: float,
    exact_final: Tensor,
    method: str,
    step_counts: Sequence[int],
    jacobian: JacobianFunction | None = None,
) -> OrderMeasurement:
    r"""Integrate with each number of equal steps and fit :math:`\log e = p \log h + c`.

    The runs bypass error control and use the very step functions of :func:`numerics.flow.integrate`.

    Parameters
    ----------
    rate : callable
        Right-hand side, (n, P) to (n, P).
    theta0 : Tensor, shape (B, P)
        Starts.
    until : float
        End time.
    exact_final : Tensor, shape (B, P)
        Exact states at ``until``, or a reference far more accurate than the runs.
    method : {"dopri5", "dop853", "rodas4"}
        Method to measure.
    step_counts : sequence of int
        Increasing numbers of steps, at least three; successive doublings serve best.
    jacobian : callable, optional
        (n, P) to (n, P, P); required by rodas4.

    Returns
    -------
    OrderMeasurement

    Raises
    ------
    ValueError
        For an unknown method, a missing Jacobian, mismatched shapes or too few step counts.

    Examples
    --------
    >>> start = torch.ones(1, 1, dtype=torch.float64)
    >>> exact = torch.exp(-start)
    >>> fit = measured_order(lambda y: -y, start, 1.0, exact, "dopri5", [4, 8, 16, 32])
    >>> abs(fit.order - fit.nominal_order) < 0.2
    True
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; accepted are " + ", ".join(map(repr, METHODS)))
    chosen = METHODS[method]
    if chosen.needs_jacobian and jacobian is None:
        raise ValueError(f"method {method!r} needs jacobian=, a function (n, P) -> (n, P, P), got None")
    if theta0.ndim != 2 or theta0.shape != exact_final.shape:
        raise ValueError(
            f"theta0 and exact_final must share one shape (B, P), got {tuple(theta0.shape)} and "
            f"{tuple(exact_final.shape)}"
        )
    counts = tuple(int(n) for n in step_counts)
    if len(counts) < LEAST_RUNS or counts[0] < 1 or any(a >= b for a, b in pairwise(counts)):
        raise ValueError(
            f"step_counts must be at least {LEAST_RUNS} increasing positive integers, got {counts}"
        )
    sizes = tuple(until / n for n in counts)
    errors = tuple(
        float((_fixed_steps(chosen, rate, jacobian, theta0, until, n) - exact_final).abs().max())
        for n in counts
    )
    floor = ROUNDING_FLOOR * torch.finfo(theta0.dtype).eps * float(exact_final.abs().max())
    usable = tuple(floor < e < float("inf") for e in errors)
    return OrderMeasurement(
        method, chosen.order, counts, sizes, errors, usable, _slope(sizes, errors, usable)
    )


def _fixed_steps(
    method: Method, rate: RateFunction, jacobian: JacobianFunction | None, y: Tensor, until: float, count: int
) -> Tensor:
    """State (B, P) after count equal steps."""
    h = y.new_full((len(y),), until / count)
    f = rate(y)
    for _ in range(count):
        trial = method.step(rate, y, f, jacobian(y) if method.needs_jacobian and jacobian else None, h)
        y = trial.state
        f = rate(y) if trial.rate is None else trial.rate
    return y


def _slope(sizes: Sequence[float], errors: Sequence[float], usable: Sequence[bool]) -> float:
    """Least-squares slope of log error against log size over the usable runs."""
    if sum(usable) < LEAST_RUNS:
        return float("nan")
    keep = torch.tensor(usable)
    x = torch.tensor(sizes, dtype=torch.float64)[keep].log()
    z = torch.tensor(errors, dtype=torch.float64)[keep].log()
    x = x - x.mean()
    return float((x @ z) / (x @ x))
