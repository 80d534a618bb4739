"""The two books of an integration: the rows still moving, and what is known of every trajectory."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["RUNNING", "Active", "Ledger"]

RUNNING = -1
"""Code of a trajectory that has not ended; other codes count through :class:`numerics.flow_result.Status`."""


@dataclass
class Active:
    """The rows still moving; the first axis of every field runs over them."""

    index: Tensor
    t: Tensor
    y: Tensor
    f: Tensor
    h: Tensor
    last_ratio: Tensor
    after_rejection: Tensor
    nonfinite: Tensor
    next_save: Tensor
    stale: Tensor
    jacobian: Tensor | None = None
    energy: Tensor | None = None

    def keep(self, mask: Tensor) -> None:
        """Drop the rows where mask (n,) is False."""
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                setattr(self, item.name, value[mask])


@dataclass
class Ledger:
    """What is known of all B trajectories; rows are original indices."""

    code: Tensor
    t: Tensor
    y: Tensor
    rate_norm: Tensor
    steps: Tensor
    rejected: Tensor
    evaluations: Tensor
    jacobian_evaluations: Tensor
    smallest: Tensor
    largest: Tensor
    stiff: Tensor
    increases: Tensor
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
            rate_norm=torch.zeros_like(y[:, 0]),
            steps=count.clone(),
            rejected=count.clone(),
            evaluations=count.clone(),
            jacobian_evaluations=count.clone(),
            smallest=torch.full_like(time, torch.inf),
            largest=torch.zeros_like(time),
            stiff=count.clone(),
            increases=count.clone(),
        )
        if save_at is not None:
            ledger.saved = y.new_full((len(y), len(save_at), y.shape[1]), torch.nan)
            ledger.saved_count = count.clone()
        return ledger
