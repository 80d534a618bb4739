r"""Gradient descent and its noisy relatives, many runs at once.

.. math:: \theta_{t+1} = \theta_t - \eta\, D\, \nabla R_{\omega_t, \xi_t}(\theta_t) + \sqrt{2 \eta T D}\; \zeta_t

with the block rates D of the study, the minibatch weights :math:`\omega_t`, label noise :math:`\xi_t \sim N(0, v)` and
:math:`\zeta_t \sim N(0, I)`.  Without minibatch and noise this is gradient descent; with T > 0 it is the
Euler-Maruyama scheme of :math:`d\theta = -D \nabla R\, dt + \sqrt{2 T D}\, dW`, whose stationary law is
:math:`\propto e^{-R/T}` as :math:`\eta \to 0`.  Time is :math:`t\eta`, so that runs compare with the gradient flow.

Every run draws its own minibatch, label noise and Langevin noise; all draws come from one seeded generator in a fixed
order, on the CPU, and do not depend on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from derivations.sampled import sampled
from numerics.compile import CompiledSystem
from numerics.extended import Extended
from numerics.flow_result import Status
from numerics.flow_run import Checkpoint

__all__ = ["DescentResult", "Noise", "descend", "stochastic_gradient"]

ORDERED = tuple(Status)


@dataclass(frozen=True)
class Noise:
    """What makes a descent stochastic.

    Parameters
    ----------
    batch : int, optional
        Samples of a minibatch, drawn without replacement anew at every step; None takes all samples.
    label_variance : float
        Variance of the Gaussian noise added to every target at every step.
    temperature : float
        Langevin temperature T.
    """

    batch: int | None = None
    label_variance: float = 0.0
    temperature: float = 0.0

    @property
    def random(self) -> bool:
        """Whether anything is drawn."""
        return self.batch is not None or self.label_variance > 0 or self.temperature > 0


@dataclass(frozen=True)
class DescentResult:
    """Runs of a descent; statuses are those of the flow.

    Parameters
    ----------
    step : Tensor, shape (T,), int64
        The recorded steps.
    times : Tensor, shape (T,)
        ``step`` times the step size.
    states : Tensor, shape (T, B, P)
        States there; after the end of a run its last state.
    final_state : Tensor, shape (B, P)
        State at the end of each run; of a run that diverged, the last one that was finite.
    steps : Tensor, shape (B,), int64
        Steps that each run made.
    status : tuple of Status, length B
        ``FINISHED``; ``CONVERGED`` (without noise only); ``DIVERGED`` past ``max_norm`` or not finite.
    entry : Tensor, shape (B,), int64
        For ``DIVERGED`` the entry of theta that brought it about; -1 otherwise.
    """

    step: Tensor
    times: Tensor
    states: Tensor
    final_state: Tensor
    steps: Tensor
    status: tuple[Status, ...]
    entry: Tensor


def stochastic_gradient(system: CompiledSystem) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the gradient of the weighted risk with shifted targets as a function of theta, weights and shift.

    Parameters
    ----------
    system : CompiledSystem
        A network or a formula at its samples.

    Returns
    -------
    callable
        Maps theta (B, P), weights (B, n) and shift (B, n) or (B, n, o) to (B, P); see ``derivations.sampled``.
    """
    found = sampled(system.problem)
    outputs = {f"grad_{name}": target for name, target in found.gradient.items()}
    function = Extended(
        system,
        found.system,
        outputs,
        [found.weights, found.shift],
        system.problem.functions,
        {"gradient": list(outputs)},
        "weighted_gradient",
    )

    def gradient(theta: Tensor, weights: Tensor, shift: Tensor) -> Tensor:
        return function(theta, torch.cat([weights, shift.reshape(len(shift), -1)], dim=1))[0]

    return gradient


@torch.no_grad()
def descend(
    system: CompiledSystem,
    theta0: Tensor,
    step_size: float,
    steps: int,
    *,
    noise: Noise | None = None,
    seed: int = 0,
    save_at: Tensor | None = None,
    stationary_norm: float | None = None,
    max_norm: float = 1e6,
    progress: Callable[[float], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> DescentResult:
    """Descend from a batch of starts.

    Parameters
    ----------
    system : CompiledSystem
        Its blocks keep their rates; frozen blocks stay.
    theta0 : Tensor, shape (B, P)
        Starts, finite.
    step_size : float
        Step size, positive.
    steps : int
        Steps to make.
    noise : Noise, optional
        Minibatches, label noise, Langevin noise.
    seed : int
        Of the draws.
    save_at : Tensor of int64, shape (T,), optional
        Increasing steps in [0, steps] at which states are kept; by default the first and the last.
    stationary_norm : float, optional
        Norm of the rate at which a run without noise has converged.
    max_norm : float
        Norm of theta beyond which a run has diverged.
    progress, checkpoint : optional
        As for :func:`numerics.flow.integrate`.

    Raises
    ------
    ValueError, TypeError
        For arguments of the wrong shape, type or range; a run that diverges is a status.

    Examples
    --------
    >>> from derivations.formula_model import FormulaProblem
    >>> from numerics.compile import compile_system
    >>> line = compile_system(FormulaProblem.of("a*x", ["a"]), [[1.0], [2.0]], [1.0, 2.0], ())
    >>> start = torch.tensor([[0.0]], dtype=torch.float64)
    >>> found = descend(line, start, 0.2, 3)       # the curvature is 5/2, so 1 - a is halved at every step
    >>> found.final_state.item(), found.status[0].value
    (0.875, 'finished')
    """
    noise = noise or Noise()
    _check(system, theta0, step_size, steps, noise, stationary_norm, max_norm)
    run = _Run(system, theta0, float(step_size), int(steps), noise, seed, _grid(save_at, int(steps)))
    return run.solve(stationary_norm or -1.0, float(max_norm), progress, checkpoint)


class _Run:
    """One descent under way: what is known of all rows, and the generator."""

    def __init__(
        self,
        system: CompiledSystem,
        start: Tensor,
        size: float,
        steps: int,
        noise: Noise,
        seed: int,
        grid: Tensor,
    ) -> None:
        self.system, self.size, self.steps, self.noise, self.grid = system, size, steps, noise, grid
        self.generator = torch.Generator().manual_seed(seed)
        self.theta = start.detach().clone()
        self.done = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        self.code = torch.full_like(self.done, -1)
        self.entry = torch.full_like(self.done, -1)
        self.states = start.new_zeros((len(grid), *start.shape))
        self.n = system.sizes["n"]
        self.sampled = noise.batch is not None or noise.label_variance > 0
        self.gradient = stochastic_gradient(system) if self.sampled else None

    def solve(
        self,
        stationary_norm: float,
        max_norm: float,
        progress: Callable[[float], None] | None,
        checkpoint: Checkpoint | None,
    ) -> DescentResult:
        begin = self._resume(None if checkpoint is None else checkpoint.load())
        column = int((self.grid < begin).sum())
        every = max(1, self.steps // 1000)
        for step in range(begin, self.steps + 1):
            if column < len(self.grid) and int(self.grid[column]) == step:
                self.states[column] = self.theta
                column += 1
            if step == self.steps or not bool((self.code == -1).any()):
                self.states[column:] = self.theta
                break
            self._step(stationary_norm, max_norm)
            if progress is not None and step % every == 0:
                progress(step / self.steps)
            if checkpoint is not None and checkpoint.due():
                checkpoint.save(self._state(step + 1))
        if progress is not None:
            progress(1.0)
        self.code[self.code == -1] = ORDERED.index(Status.FINISHED)
        status = tuple(ORDERED[c] for c in self.code.tolist())
        times = self.grid.double() * self.size
        return DescentResult(self.grid, times, self.states, self.theta, self.done, status, self.entry)

    def _step(self, stationary_norm: float, max_norm: float) -> None:
        """One step of every row, so that the draws do not depend on which rows have ended."""
        rates = self.system.rates
        move = -self.size * rates * self._gradient()
        if self.noise.temperature > 0:
            amplitude = torch.sqrt(2 * self.size * self.noise.temperature * rates)
            move = move + amplitude * self._normal(self.theta.shape)
        new = self.theta + move
        running = self.code == -1
        bad = running & ~(torch.linalg.vector_norm(new, dim=1) <= max_norm)
        finite = torch.isfinite(new)
        size = torch.where(finite, new.abs(), torch.inf)
        self.entry = torch.where(bad, size.argmax(1), self.entry)
        self.code[bad] = ORDERED.index(Status.DIVERGED)
        small = torch.linalg.vector_norm(move, dim=1) <= self.size * stationary_norm
        self.code[running & ~bad & small] = ORDERED.index(Status.CONVERGED)
        moves = running & (~bad | finite.all(1))
        self.theta = torch.where(moves[:, None], new, self.theta)
        self.done += running

    def _gradient(self) -> Tensor:
        """Gradient of this step's risk, (B, P)."""
        if self.gradient is None:
            return self.system.gradient(self.theta)
        rows, mean = len(self.theta), self.system.problem.reduction == "mean"
        chosen = self.n if self.noise.batch is None else self.noise.batch
        weights = torch.full((rows, self.n), 1 / self.n if mean else 1.0, dtype=torch.float64)
        if self.noise.batch is not None:
            order = torch.rand(rows, self.n, generator=self.generator, dtype=torch.float64).argsort(1)
            weight = 1 / chosen if mean else self.n / chosen
            weights = torch.zeros_like(weights).scatter_(1, order[:, :chosen], weight)
        shape = (rows, *self.system.y.shape)
        shift = self.theta.new_zeros(shape)
        if self.noise.label_variance > 0:
            shift = self.noise.label_variance**0.5 * self._normal(shape)
        return self.gradient(self.theta, weights.to(self.theta), shift)

    def _normal(self, shape: Any) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.theta)

    def _state(self, step: int) -> dict[str, Tensor]:
        return {
            "step": torch.tensor(step),
            "generator": self.generator.get_state(),
            "theta": self.theta,
            "done": self.done,
            "code": self.code,
            "entry": self.entry,
            "states": self.states,
        }

    def _resume(self, state: Any) -> int:
        if state is None:
            return 0
        self.generator.set_state(state["generator"])
        for name in ("theta", "done", "code", "entry", "states"):
            setattr(self, name, state[name].clone())
        return int(state["step"])


def _grid(save_at: Tensor | None, steps: int) -> Tensor:
    """Check the steps to save."""
    if save_at is None:
        return torch.tensor([0, steps])
    if (
        not isinstance(save_at, Tensor)
        or save_at.ndim != 1
        or save_at.is_floating_point()
        or not len(save_at)
    ):
        raise ValueError("save_at must be a tensor of whole numbers of steps, shape (T,) with T >= 1")
    if not bool((save_at[1:] > save_at[:-1]).all()) or int(save_at[0]) < 0 or int(save_at[-1]) > steps:
        raise ValueError(f"save_at must increase within [0, {steps}], got {save_at.tolist()[:8]}")
    return save_at.cpu().long()


def _check(
    system: CompiledSystem,
    theta0: Tensor,
    step_size: float,
    steps: int,
    noise: Noise,
    stationary_norm: float | None,
    max_norm: float,
) -> None:
    """Refuse arguments out of range."""
    if not isinstance(theta0, Tensor) or theta0.ndim != 2 or theta0.shape[1] != system.P or not len(theta0):
        found = tuple(theta0.shape) if isinstance(theta0, Tensor) else type(theta0).__name__
        raise ValueError(f"theta0 must be a tensor of shape (B, {system.P}), got {found}")
    if not bool(torch.isfinite(theta0).all()):
        raise ValueError("theta0 must be finite")
    if not 0 < step_size < math.inf:
        raise ValueError(f"step_size must be a positive finite number, got {step_size!r}")
    if int(steps) != steps or steps < 1:
        raise ValueError(f"steps must be a whole number from 1, got {steps!r}")
    n = system.sizes["n"]
    if noise.batch is not None and not 1 <= noise.batch <= n:
        raise ValueError(f"a minibatch has 1 to n = {n} samples, got {noise.batch!r}")
    for name in ("label_variance", "temperature"):
        if not 0 <= getattr(noise, name) < math.inf:
            raise ValueError(f"{name} must be finite and not negative, got {getattr(noise, name)!r}")
    if stationary_norm is not None and (noise.random or not stationary_norm > 0):
        raise ValueError(
            "stationary_norm must be positive, and is for a descent without noise: a noisy one does not come to rest"
        )
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, got {max_norm!r}")
