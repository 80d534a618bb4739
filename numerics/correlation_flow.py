r"""Flows of two-layer networks from small weights and of their neural correlation, piece by piece, in float64.

Weights of size delta need tolerances of that size: the absolute tolerance is a fraction of the start.  ``closed_form`` is the exact flow of one
neuron in a cone or along a face, by which integrated flows are checked.

>>> state = torch.tensor([0.5, 0.3, 0.4], dtype=torch.float64)
>>> closed_form(state, torch.tensor([1.0, 0.0], dtype=torch.float64), math.log(2)).tolist()
[0.85, 0.75, 0.4]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.events import Event
from numerics.pieces import Piecewise, network_pieces
from numerics.sliding import SlidingRun, integrate_pieces

__all__ = ["SmallFlow", "aligned_neurons", "closed_form", "misalignment"]

RELATIVE, ABSOLUTE = 1e-9, 1e-11
"""Tolerances of a step: of the state, and of the size of the start; seen: 1e-9 at the published states."""


@dataclass(frozen=True)
class SmallFlow:
    """A compiled two-layer network with its pieces; parameters are v (m,), then u (m, d) row by row."""

    system: CompiledSystem
    pieces: Piecewise
    width: int

    @classmethod
    def of(cls, problem: Problem, x: Sequence[Sequence[float]], y: Sequence[float], width: int) -> SmallFlow:
        """Compile a network without biases on data (n, d) and (n,)."""
        data = torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
        system = compile_system(problem, *data, width)
        return cls(system, network_pieces(system), width)

    def run(
        self,
        start: Tensor,
        until: float,
        grid: Tensor | None = None,
        *,
        size: float | None = None,
        events: Sequence[Event] = (),
        stationary_norm: float | None = None,
        max_norm: float = 1e6,
        max_steps: int = 100_000,
    ) -> SlidingRun:
        """Follow the flow from one start (P,) to a time; ``size`` is that of the smallest weights, by default of the start."""
        return integrate_pieces(
            self.pieces,
            start,
            until,
            save_at=torch.tensor([0.0, until], dtype=torch.float64) if grid is None else grid,
            rtol=RELATIVE,
            atol=ABSOLUTE * (float(start.norm()) if size is None else size),
            events=events,
            stationary_norm=stationary_norm,
            max_norm=max_norm,
            max_steps=max_steps,
        )

    def neurons(self, theta: Tensor) -> Tensor:
        """Return (m, 1 + d), a row (v, u) for each neuron, from a state (P,)."""
        m = self.width
        return torch.cat([theta[:m, None], theta[m:].reshape(m, -1)], 1)

    def residual(self, theta: Tensor) -> Tensor:
        """Return y - H(X; w), shape (n,)."""
        return self.system.y - self.system.outputs(theta)

    def value(self, theta: Tensor) -> float:
        """Return the loss."""
        return float(self.system.value(theta[None])[0])


def aligned_neurons(neurons: Tensor) -> Tensor:
    """Return flat parameters (P,) from rows (v, u)."""
    return torch.cat([neurons[:, 0], neurons[:, 1:].reshape(-1)])


def misalignment(neuron: Tensor, others: Tensor) -> tuple[float, int]:
    """Return the smallest 1 - cos between a neuron and the rows of others (K, 1 + d), without cancellation, and which."""
    unit = neuron / neuron.norm()
    gaps = (others / others.norm(dim=1, keepdim=True) - unit).square().sum(1) / 2
    which = int(gaps.argmin())
    return float(gaps[which]), which


def closed_form(neuron: Tensor, gradient: Tensor, time: float) -> Tensor:
    """Return the neuron (v, u) after a time in a cone with a gradient (d,), or along a face with its projection."""
    size = float(gradient.norm())
    if size == 0:
        return neuron.clone()
    unit = gradient / size
    v, u = float(neuron[0]), neuron[1:]
    p = float(u @ unit)
    after = v * math.cosh(size * time) + p * math.sinh(size * time)
    along = p * math.cosh(size * time) + v * math.sinh(size * time)
    return torch.cat([torch.tensor([after], dtype=neuron.dtype), u + (along - p) * unit])
