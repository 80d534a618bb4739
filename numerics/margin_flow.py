r"""The gradient flow of separable classification, followed to margins where the loss itself is no longer a number.

The loss :math:`E = \sum_i \ell(q_i)`, :math:`q_i = y_i f(x_i)`, falls like 1/t and underflows at :math:`q \approx 745`, so the flow is followed in
the time s with

.. math:: \frac{d\theta}{ds} = \frac{\sum_i -\ell'(q_i)\,h_i}{\sum_i -\ell'(q_i)}, \qquad h_i \in \partial q_i(\theta),

a positive factor that changes no trajectory; at the start it is the flow of the mean loss with :math:`-\ell'(0) = 1`.  The loss of the
compiled network carries a constant, :math:`e^{c - q}`, that is moved along.  Kinks are crossed, or slid along, by ``numerics.sliding``.
All logarithms of E and of its derivatives come from the margins.

>>> from derivations.problem import Problem
>>> flow = MarginFlow(lambda loss: Problem.two_layer("relu", loss, reduction="sum"), [[1.0], [2.0]], [1.0, 1.0], 1)
>>> run = flow.run(torch.tensor([0.1, 0.1], dtype=torch.float64), 700.0)
>>> run.reached, bool(run.last.margin > 699.9), round(run.last.normalised, 3)
(True, True, 0.5)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from derivations.almost_everywhere import has_kinks
from derivations.constrained_problems import homogeneity
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.events import Event
from numerics.pieces import Piecewise, network_pieces
from numerics.sliding import integrate_pieces
from numerics.sliding_mode import Mode, Undecided, decide, sliding_rate

__all__ = ["MarginFlow", "MarginRun", "MarginState"]

STAGE = 600.0
"""Growth of the smallest margin after which the constant c moves along: exp(-600) is far from underflow."""
LONGEST = 1e6
"""Time s after which a run is given up."""
ON_KINK = 1e-11
"""A surface counts as touched up to this fraction of 1 + |theta|: a slide keeps it to rounding, located kinks to 1e-14."""
STEPS = 3_000
"""Steps after which a run is given up."""


@dataclass(frozen=True)
class MarginState:
    r"""A state of a run and what the theorem speaks about; times are those of s.

    Parameters
    ----------
    time : float
        s.
    theta, velocity : Tensor, shape (P,)
        The state, and dtheta/ds as the flow goes on (on a kink: of the Clarke subdifferential).
    margins : Tensor, shape (n,)
        q_i.
    log_loss, log_weight : float
        log E, and the logarithm of the sum of the -l'(q_i).
    phi, log_w : float
        l^(-1)(E), and the logarithm of -l'(phi).
    nu : float
        sum of -l'(q_i) q_i over the sum of -l'(q_i).
    degree : float
        L.
    on_kinks : int
        Kinks through the state.
    """

    time: float
    theta: Tensor
    velocity: Tensor
    margins: Tensor
    log_loss: float
    log_weight: float
    phi: float
    log_w: float
    nu: float
    degree: float
    on_kinks: int

    @property
    def norm(self) -> float:
        """Norm of theta."""
        return float(self.theta.norm())

    @property
    def margin(self) -> float:
        """Smallest margin q_min."""
        return float(self.margins.min())

    @property
    def normalised(self) -> float:
        """Normalised margin q_min / norm^L."""
        return self.margin / self.norm**self.degree

    @property
    def smoothed(self) -> float:
        """Smoothed margin l^(-1)(E) / norm^L."""
        return self.phi / self.norm**self.degree

    @property
    def alignment(self) -> float:
        """Cosine beta between theta and its velocity."""
        return float(self.theta @ self.velocity / (self.theta.norm() * self.velocity.norm()))

    @property
    def misalignment(self) -> float:
        """Distance of the unit vectors of theta and of its velocity, sqrt(2 (1 - beta)) without cancellation."""
        return float((self.theta / self.theta.norm() - self.velocity / self.velocity.norm()).norm())

    @property
    def slope(self) -> float:
        """Derivative of the logarithm of the smoothed margin in s, by the identity of the theorem."""
        speed = float(self.velocity @ self.velocity)
        ratio = math.exp(self.log_weight - self.log_w)
        return speed * ratio / self.phi - self.degree**2 * self.nu / self.norm**2

    @property
    def bound(self) -> float:
        """What the theorem bounds the slope by from below: the squared tangential velocity over nu."""
        radial = self.theta * (self.theta @ self.velocity) / self.norm**2
        return float((self.velocity - radial).square().sum()) / self.nu

    @property
    def stationarity(self) -> float:
        """Scale-free residual of the KKT conditions, for the multipliers proportional to -l'(q_i)."""
        return self.misalignment / self.normalised ** (1 / self.degree)

    @property
    def slackness(self) -> float:
        """Sum of lambda_i (q_i/q_min - 1) for the same multipliers."""
        low = self.margin
        weights = torch.softmax(-self.margins, 0)  # equal to -l' up to exp(-q_min) where it matters
        mean = float((weights * (self.margins / low - 1)).sum())
        return low ** (1 - 2 / self.degree) * self.norm / float(self.velocity.norm()) * mean


@dataclass(frozen=True)
class MarginRun:
    """States along one trajectory; ``reached`` says whether the target was, ``reason`` why not."""

    states: tuple[MarginState, ...]
    reached: bool
    reason: str
    slides: int

    @property
    def last(self) -> MarginState:
        """The end."""
        return self.states[-1]


class MarginFlow:
    """A network with its data, and the flow of its loss.

    Parameters
    ----------
    problem : callable
        Returns the problem for a loss, a name or a formula in f and y: without biases, reduction "sum".
    x, y : arrays
        (n, d) and labels (n,).
    width : int or sequence of int
        As for ``compile_system``.
    loss : str
        exponential or logistic.
    """

    def __init__(
        self,
        problem: Callable[[str], Problem],
        x: Any,
        y: Any,
        width: int | Sequence[int],
        loss: str = "exponential",
    ) -> None:
        self.problem, self.width, self.loss = problem, width, loss
        self.x, self.y = torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64)
        degree = homogeneity(problem(loss))
        if degree is None:
            raise ValueError("the normalised margin needs a network that is homogeneous in its parameters")
        self.degree = float(degree)

    @cached_property
    def system(self) -> CompiledSystem:
        """The network with its loss."""
        return compile_system(self.problem(self.loss), self.x, self.y, self.width)

    @cached_property
    def _shifted(self) -> dict[float, Piecewise]:
        return {}

    def margins(self, theta: Tensor) -> Tensor:
        """The q_i, shape (..., n)."""
        return self.y * self.system.outputs(theta)

    def smoothed(self, theta: Tensor) -> Tensor:
        """Smoothed margin of states (..., P)."""
        return self._inverse(self._log_loss(self.margins(theta))) / theta.norm(dim=-1) ** self.degree

    def _log_loss(self, q: Tensor) -> Tensor:
        if self.loss == "exponential":
            return torch.logsumexp(-q, -1)
        far = torch.where(q > 30, -q, torch.log(torch.nn.functional.softplus(-q.clamp_max(30))))
        return torch.logsumexp(far, -1)

    def _log_weight(self, q: Tensor) -> Tensor:
        return torch.logsumexp(-q if self.loss == "exponential" else torch.nn.functional.logsigmoid(-q), -1)

    def _inverse(self, log_loss: Tensor) -> Tensor:
        if self.loss == "exponential":
            return -log_loss
        near = -torch.log(torch.expm1(torch.exp(log_loss.clamp_min(-30))))
        return torch.where(log_loss < -30, -log_loss, near)

    def pieces(self, shift: float = 0.0) -> Piecewise:
        """Return the pieces of the flow in s; ``shift`` is the constant c, at most the smallest margin plus ``STAGE``."""
        if shift not in self._shifted:
            self._shifted[shift] = self._pieces(shift)
        return self._shifted[shift]

    def _pieces(self, shift: float) -> Piecewise:
        exponential = self.loss == "exponential" or shift > 0  # equal to the last bit there
        loss = f"exp({int(shift)} - y*f)" if exponential else self.loss
        system = self.system if not shift else compile_system(self.problem(loss), self.x, self.y, self.width)
        activation = system.problem.activation
        assert activation is not None
        if has_kinks(activation.expr):
            plain = network_pieces(system)
        else:
            plain = Piecewise(
                lambda theta, sides: system.flow(theta),
                lambda theta, sides: theta[:, :0],
                lambda theta, sides, which: theta.new_zeros((0, system.P)),
                system.rates,
                (),
                (),
                (),
                (),
                lambda theta, sides: system.flow_jacobian(theta),
            )

        def factor(theta: Tensor) -> Tensor:
            return torch.exp(-shift - self._log_weight(self.margins(theta)))[:, None]

        def rate(theta: Tensor, sides: Tensor) -> Tensor:
            return plain.rate(theta, sides) * factor(theta)

        def jacobian(theta: Tensor, sides: Tensor) -> Tensor:
            assert plain.jacobian is not None
            r = rate(theta, sides)
            return plain.jacobian(theta, sides) * factor(theta)[:, :, None] + r[:, :, None] * r[:, None, :]

        # For the logistic loss the factor is not 1/E, and the explicit method is used.
        return replace(plain, rate=rate, jacobian=jacobian if exponential else None)

    def _mode(self, pieces: Piecewise, theta: Tensor) -> Mode:
        """Return how the flow goes on from a point."""
        sides = torch.ones(len(pieces.labels), dtype=torch.float64)
        values = pieces.surfaces(theta[None], sides[None])[0]
        for _ in range(1 + max(pieces.kinds, default=0)):
            sides = torch.where(values < 0, -1.0, 1.0).double()
            values = pieces.surfaces(theta[None], sides[None])[0]
        bound = ON_KINK * (1 + float(theta.norm()))
        touching = tuple(int(k) for k in (values.abs() <= bound).nonzero()[:, 0])
        return decide(pieces, theta, sides, touching) if touching else Mode(sides, ())

    def state(self, theta: Tensor, time: float = 0.0) -> MarginState:
        """Return what the theorem speaks about at a point.

        Raises
        ------
        Undecided
            If it is not decided how the flow goes on from a kink.
        """
        q = self.margins(theta)
        pieces = self.pieces(max(0.0, STAGE * math.floor(float(q.min()) / STAGE)))
        mode = self._mode(pieces, theta)
        velocity = sliding_rate(pieces, mode, theta[None])[0]
        log_loss, log_weight = self._log_loss(q), self._log_weight(q)
        phi = self._inverse(log_loss)
        log_w = -phi if self.loss == "exponential" else torch.nn.functional.logsigmoid(-phi)
        each = -q if self.loss == "exponential" else torch.nn.functional.logsigmoid(-q)
        nu = float((torch.softmax(each, 0) * q).sum())
        return MarginState(
            time,
            theta,
            velocity,
            q,
            float(log_loss),
            float(log_weight),
            float(phi),
            float(log_w),
            nu,
            self.degree,
            len(mode.surfaces),
        )

    def run(
        self,
        start: Tensor,
        target: float,
        *,
        save_at: Sequence[float] = (),
        levels: Sequence[float] = (),
        rtol: float = 1e-9,
        longest: float = LONGEST,
    ) -> MarginRun:
        """Follow the flow until the smallest margin reaches ``target``.

        Parameters
        ----------
        start : Tensor, shape (P,)
            Float64.
        target : float
            Smallest margin at the end.
        save_at : sequence of float
            Times s at which states are wanted.
        levels : sequence of float
            Smallest margins at which states are wanted.
        rtol : float
            Local error allowed, relative.
        longest : float
            Time s at which the run ends in any case.
        """
        found: list[tuple[float, Tensor]] = []
        theta, time, slides, reason = start, 0.0, 0, ""
        while not reason:
            low = float(self.margins(theta).min())
            shift = max(0.0, STAGE * math.floor(low / STAGE + 1e-9))
            end = min(target, shift + STAGE)
            wanted = [u - time for u in save_at if u > time]
            inner = [u for u in levels if low < u < end]
            run = integrate_pieces(
                self.pieces(shift),
                theta,
                longest - time,
                save_at=torch.tensor([0.0, *wanted], dtype=torch.float64),
                rtol=rtol,
                atol=rtol * 1e-3 * float(theta.norm()),
                max_norm=1e9,
                max_steps=STEPS,
                events=[
                    self._reached("end", [end], True),
                    *([self._reached("level", inner, False)] if inner else []),
                ],
            )
            kept = list(zip(run.times.tolist(), run.states, strict=True))
            kept += [(u.time, u.state) for u in run.crossings if u.event == "level"]
            found += [(time + t, y) for t, y in sorted(kept, key=lambda pair: pair[0])]
            theta, time = run.states[-1], time + float(run.times[-1])
            slides += len(run.slides)
            if str(run.status) != "event":
                reason = run.reason or f"the run ended with the status {run.status} at s = {time:.3g}"
            elif end >= target:
                break
        return MarginRun(self._states(found), not reason, reason, slides)

    def _reached(self, name: str, values: Sequence[float], stop: bool) -> Event:
        at = torch.tensor(list(values), dtype=torch.float64)
        return Event(name, lambda theta: self.margins(theta).amin(-1)[:, None] - at, direction=1, stop=stop)

    def _states(self, found: Sequence[tuple[float, Tensor]]) -> tuple[MarginState, ...]:
        out: list[MarginState] = []
        for time, theta in found:
            if out and time <= out[-1].time:
                continue
            try:
                out.append(self.state(theta, time))
            except Undecided:  # a state at the instant of a change of mode
                continue
        return tuple(out)
