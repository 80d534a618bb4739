"""The result of an integration, put together from its books."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from numerics.events import Crossing
from numerics.flow_books import Ledger
from numerics.flow_result import FlowResult
from numerics.flow_verdict import ORDERED, Limits
from numerics.steppers import Method

__all__ = ["assemble", "require_shape"]

Path = Sequence[tuple[Tensor, Tensor, Tensor]]
Pieces = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


def assemble(
    limits: Limits,
    methods: Sequence[Method],
    theta0: Tensor,
    ledger: Ledger,
    save_at: Tensor | None,
    path: Path | None,
    crossings: tuple[Crossing, ...],
    has_energy: bool,
) -> FlowResult:
    """Return the result; ``path`` holds the accepted steps where they were recorded."""
    times, states = _trajectories(theta0, ledger, save_at, path)
    none = ledger.steps == 0
    return FlowResult(
        times=times,
        states=states,
        final_time=ledger.t,
        final_state=ledger.y,
        final_rate_norm=ledger.rate_norm,
        status=tuple(ORDERED[c] for c in ledger.code.tolist()),
        steps=ledger.steps,
        rejected=ledger.rejected,
        evaluations=ledger.evaluations,
        jacobian_evaluations=ledger.jacobian_evaluations,
        smallest_step=ledger.smallest.masked_fill(none, torch.nan),
        largest_step=ledger.largest.masked_fill(none, torch.nan),
        next_step=ledger.h,
        stiff_steps=ledger.stiff,
        switched_at=ledger.switched,
        energy_increases=ledger.increases if has_energy else None,
        blow_up_time=ledger.blow_up,
        entry=ledger.entry,
        crossings=crossings,
        method=_named(methods, ledger),
        rtol=limits.rtol,
        atol=limits.atol,
    )


def _named(methods: Sequence[Method], ledger: Ledger) -> str:
    """Name of the method, or of both where some rows were handed over."""
    switched = torch.isfinite(ledger.switched)
    if bool(switched.all()):
        return methods[-1].name
    return ", ".join(method.name for method in methods[: 1 + bool(switched.any())])


def _trajectories(theta0: Tensor, ledger: Ledger, save_at: Tensor | None, path: Path | None) -> Pieces:
    """Times (T_b,) and states (T_b, P) of each trajectory."""
    if save_at is not None and ledger.saved is not None and ledger.saved_count is not None:
        pairs = []
        for b, n in enumerate(ledger.saved_count.tolist()):
            t, y = save_at[:n], ledger.saved[b, :n]
            if n == 0 or bool(ledger.t[b] > t[-1]):
                t, y = torch.cat([t, ledger.t[b : b + 1]]), torch.cat([y, ledger.y[b : b + 1]])
            pairs.append((t, y))
        return tuple(t for t, _ in pairs), tuple(y for _, y in pairs)
    everyone = torch.arange(len(theta0), device=theta0.device)
    parts = [(everyone, torch.zeros_like(ledger.t), theta0)]
    if path is not None:
        parts += path
    else:
        moved = ledger.t > 0
        parts.append((everyone[moved], ledger.t[moved], ledger.y[moved]))
    index, t, y = (torch.cat(column) for column in zip(*parts, strict=True))
    order = torch.argsort(index, stable=True)
    lengths = torch.bincount(index, minlength=len(theta0)).tolist()
    return torch.split(t[order], lengths), torch.split(y[order], lengths)


def require_shape(name: str, value: object, y: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless value is a tensor of the shape, dtype and device that y calls for."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}(theta) must return a tensor of shape {shape}, got {type(value).__name__}")
    if tuple(value.shape) != shape:
        raise ValueError(f"{name}(theta) must have shape {shape} for this theta, got {tuple(value.shape)}")
    if value.dtype != y.dtype or value.device != y.device:
        raise TypeError(
            f"{name}(theta) must be {y.dtype} on {y.device} like theta, got {value.dtype} on {value.device}"
        )
