"""The two books of an integration: the rows still moving, and what is known of every trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["HANDED_OVER", "RUNNING", "Active", "Ledger"]

RUNNING, HANDED_OVER = -1, -2
"""Codes of a trajectory that has not ended, and of one that waits for the stiff method; other codes count through
:class:`numerics.flow_result.Status`."""

COUNTED = (
    "steps",
    "rejected",
    "evaluations",
    "jacobian_evaluations",
    "smallest",
    "largest",
    "stiff",
    "increases",
)
"""What is counted row by row while it moves."""


class _Book:
    """A dataclass of tensors, some of which may be None."""

    def pack(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        entries = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in entries.items() if value is not None}

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`pack` gave."""
        for item in fields(self):  # type: ignore[arg-type]
            found = packed.get(item.name)
            setattr(self, item.name, None if found is None else found.clone())


@dataclass
class Active(_Book):
    """The rows still moving; the first axis of every field runs over them.

    ``after_rejection`` is None where no row comes from a rejected step.  The fields from ``steps`` on count, and are entered
    into the ledger when a row ends.
    """

    index: Tensor
    t: Tensor
    y: Tensor
    f: Tensor
    h: Tensor
    last_ratio: Tensor
    nonfinite: Tensor
    next_save: Tensor
    stiff_run: Tensor
    calm_run: Tensor
    steps: Tensor
    rejected: Tensor
    evaluations: Tensor
    jacobian_evaluations: Tensor
    smallest: Tensor
    largest: Tensor
    stiff: Tensor
    increases: Tensor
    after_rejection: Tensor | None = None
    stale: Tensor | None = None
    jacobian: Tensor | None = None
    energy: Tensor | None = None

    @classmethod
    def of(cls, index: Tensor, y: Tensor, f: Tensor, ledger: Ledger) -> Active:
        """Return the rows ``index`` where the ledger has them, with no history of steps."""
        count = torch.zeros_like(index)
        t = ledger.t[index]
        return cls(
            index=index,
            t=t,
            y=y,
            f=f,
            h=ledger.h[index],
            last_ratio=torch.full_like(t, 1e-4),
            nonfinite=count.clone(),
            next_save=count.clone() if ledger.saved_count is None else ledger.saved_count[index],
            stiff_run=count.clone(),
            calm_run=count.clone(),
            **{name: getattr(ledger, name)[index] for name in COUNTED},
        )

    def keep(self, rows: Tensor) -> None:
        """Drop all but the rows (r,)."""
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                setattr(self, item.name, value.index_select(0, rows))


@dataclass
class Ledger(_Book):
    """What is known of all B trajectories; rows are original indices."""

    code: Tensor
    t: Tensor
    y: Tensor
    h: Tensor
    rate_norm: Tensor
    steps: Tensor
    rejected: Tensor
    evaluations: Tensor
    jacobian_evaluations: Tensor
    smallest: Tensor
    largest: Tensor
    stiff: Tensor
    increases: Tensor
    switched: Tensor
    blow_up: Tensor
    entry: Tensor
    saved: Tensor | None = None
    saved_count: Tensor | None = None

    @classmethod
    def of(cls, y: Tensor, save_at: Tensor | None) -> Ledger:
        """Return the empty ledger of the starts y (B, P)."""
        count = torch.zeros(len(y), dtype=torch.int64, device=y.device)
        time = torch.zeros(len(y), dtype=torch.float64, device=y.device)
        ledger = cls(
            code=count + RUNNING,
            t=time,
            y=y.clone(),
            h=torch.zeros_like(time),
            rate_norm=torch.zeros_like(y[:, 0]),
            steps=count.clone(),
            rejected=count.clone(),
            evaluations=count.clone(),
            jacobian_evaluations=count.clone(),
            smallest=torch.full_like(time, torch.inf),
            largest=torch.zeros_like(time),
            stiff=count.clone(),
            increases=count.clone(),
            switched=torch.full_like(time, torch.nan),
            blow_up=torch.full_like(time, torch.nan),
            entry=count - 1,
        )
        if save_at is not None:
            ledger.saved = y.new_full((len(y), len(save_at), y.shape[1]), torch.nan)
            ledger.saved_count = count.clone()
        return ledger

    def enter(self, a: Active, ended: Tensor, code: Tensor) -> None:
        """Enter active rows ``ended`` (r,), which end with the codes (r,), as they stand."""
        index = a.index[ended]
        self.code[index] = code
        self.t[index] = a.t[ended]
        self.y[index] = a.y[ended]
        self.h[index] = a.h[ended]
        self.rate_norm[index] = torch.linalg.vector_norm(a.f[ended], dim=1)
        for name in COUNTED:
            getattr(self, name)[index] = getattr(a, name)[ended]
        if self.saved_count is not None:
            self.saved_count[index] = a.next_save[ended]
