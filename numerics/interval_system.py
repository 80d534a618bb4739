r"""Risk over an interval as batched PyTorch functions: value, gradient, Hessian and Hessian-vector product.

The derived equations are those of samples with weights: the nodes :math:`x_i` and weights :math:`\omega_i` of Gauss rules
on the parts of the interval on which the integrand is smooth.  The parts end at the kinks of the target and, for an
activation with a kink, at the kinks :math:`p_k = -b_k / w_k` of the neurons, sorted anew at every parameter point.

* Piecewise polynomials: the Gauss points of ``derivations.interval_rule`` are exact; there is no error but rounding.
* Else every part is cut into :math:`2^j` panels until two rules in turn agree at the point to the tolerance of the
  dtype; the finer one counts.  The first rule is so fine that no pre-activation changes by more than about 1 from
  node to node: an activation that varies on the scale of 1 cannot hide between nodes.  Where even the finest two
  rules do not agree, or the first would be too fine, the result is nan.

Where sigma' jumps by J at 0, the Hessian has beside the sum over nodes the term of the moving kink,
:math:`J s a_k r(p_k) / |w_k|` times :math:`(p_k, 1)^\top (p_k, 1)` in (w_k, b_k).  It is there for kinks inside the open
interval only: with a kink on an end the Hessian is that of the side from which the kink is not in the interval, and for
w_k = b_k = 0 the stated derivative at the kink counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from derivations.interval import IntervalProblem
from derivations.interval_rule import interval_rule
from derivations.system import System
from derivations.weighted import WeightedProblem, weighted
from numerics.compile import CompiledSystem
from numerics.moving_nodes import MovingNodes, WeightedSystem
from numerics.quadrature import spread
from numerics.tolerances import same_formula

__all__ = ["INPUTS", "IntervalSystem", "compile_interval"]

#: Inputs at which outputs are given, equally spaced, the ends included.
INPUTS = 33
#: Gauss points of a panel where the integrand is no polynomial; 2**(LEVELS - 1) panels on each part at the most.
POINTS, LEVELS = 16, 9
#: Largest change of a pre-activation over a panel of the first rule: its 16 nodes are at most 0.1 of the panel apart.
CHANGE = 10.0
#: Panels of the rule whose nodes are the samples of ``evaluate``: 2**BASE.
BASE = 3
#: Distance of a kink from an end, relative to the length of the interval, at which second derivatives are one-sided.
AT_END = 1e-9
#: Size of the pre-activations, relative to the parameters, at which a kinked neuron counts as vanished.
VANISHED = 1e-6
#: What has values at inputs rather than integrals.
POINTWISE = ("outputs", "jacobian", "ntk")


class IntervalSystem(WeightedSystem):
    """An interval problem at a width; the interface is that of a compiled system of samples.

    Parameters
    ----------
    interval : IntervalProblem
        Ends and target without further symbols.
    width : int
        Width m.
    device, dtype
        Where and in what precision everything is computed.

    Attributes
    ----------
    inputs : Tensor
        Inputs x of ``outputs``, (33, 1).
    x, weights : Tensor
        Nodes and weights of one fixed rule, for ``evaluate``; risk and derivatives do not rest on them alone.
    exact : bool
        Whether the rule has no error but rounding.

    Raises
    ------
    AssumptionError
        If the problem has symbols beside x.
    """

    def __init__(
        self,
        interval: IntervalProblem,
        width: int,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.interval, self.rule = interval, interval_rule(interval)
        self.exact = self.rule.points is not None
        ends = torch.tensor(self.rule.ends, dtype=dtype, device=device)
        network = weighted(
            interval.problem, interval.weight, interval.x, interval.target, moves=self.rule.moves
        )
        nodes, weights = spread(ends, self.rule.points or POINTS, 1 if self.exact else 2**BASE)
        super().__init__(network, nodes[:, None], weights, {"m": width})
        self._ends, self._network, self._fixed = ends, network, _fixed(network)
        inputs = torch.linspace(float(ends[0]), float(ends[-1]), INPUTS, dtype=dtype, device=device)
        self.inputs = inputs[:, None]
        self._grid = WeightedSystem(self._fixed, self.inputs, torch.ones_like(inputs), self.sizes)
        self._levels: dict[int, CompiledSystem] = {}
        self._at_kinks = MovingNodes(network, width, self.x, self.sizes) if self.rule.moves else None
        scale = interval.problem.scale
        self._scale = float(scale.subs({s: self.sizes[str(s)] for s in scale.free_symbols}))
        self._jump = float(interval.jump)
        self._mass = abs(float(interval.weight) * float(ends[-1] - ends[0]))

    @property
    def derived_from(self) -> Any:
        """The interval problem."""
        return self.interval

    @property
    def integration(self) -> str:
        """How integrals are computed, as a sentence."""
        if self.exact:
            return (
                "Integrals are exact up to rounding: between sorted kinks the integrands are polynomials, and the "
                f"{self.rule.points}-point Gauss rule integrates them without error."
            )
        return (
            f"Integrals are Gauss-Legendre sums whose panels are doubled until two rules in turn agree to "
            f"{same_formula(self.dtype):.0e}; what does not converge is refused."
        )

    @property
    def not_finite(self) -> str:
        """What a result that is not finite means."""
        if self.exact:
            return super().not_finite
        return (
            f"{super().not_finite}, or the integrals did not converge with {POINTS * 2 ** (LEVELS - 1)} Gauss points on "
            "a part of the interval: the network is too steep, or the integrand not smooth"
        )

    def irregular(self, theta: Tensor) -> Tensor:
        """Say which neurons leave the risk without a classical Hessian at points (..., P), shape (..., m).

        These are neurons with a kink on an end of the interval, and vanished ones, w_k = b_k = 0.
        """
        blocks = self.unpack(theta)
        w = blocks["w"]
        activation = self.problem.activation
        if activation is None or activation.is_smooth is True:
            return torch.zeros_like(w[..., 0], dtype=torch.bool)
        size = VANISHED * (1 + theta.abs().amax(dim=-1, keepdim=True))
        if not self.rule.moves:
            return w[..., 0].abs() <= size
        z = (w * self._ends[[0, -1]] + blocks["b"][..., None]).abs()
        at_end = z.amin(dim=-1) <= AT_END * (self._ends[-1] - self._ends[0]) * w[..., 0].abs()
        return (z.amax(dim=-1) <= size) | (at_end & (blocks["a"].abs() > size))

    def evaluate(self, system: System, outputs: Any, theta: Tensor) -> dict[str, Tensor]:
        """Evaluate further expressions at theta, the nodes of one fixed rule being the samples.

        Raises
        ------
        ValueError
            If the nodes move with theta.
        """
        if self.rule.moves:
            raise ValueError(
                "the nodes of this interval move with the kinks, so there are no samples at which to evaluate; give samples"
            )
        return super().evaluate(system, outputs, theta)

    # -- integrals ------------------------------------------------------------------------------------------------

    def _run(self, what: str, theta: Tensor, v: Tensor | None = None) -> tuple[Tensor, ...]:
        if what in POINTWISE:
            return self._grid._run(what, theta, v)
        self._check_point("theta", theta)
        points = [theta.reshape(-1, self.P)]
        if v is not None:
            self._check_point("v", v)
            if v.ndim > 1 and v.shape[:-1] != theta.shape[:-1]:
                raise ValueError(
                    f"v has shape {tuple(v.shape)}: give one direction ({self.P},), or one for each point of theta, "
                    f"{tuple(theta.shape)}"
                )
            points.append(v.expand(theta.shape).reshape(-1, self.P))
        results = self._by_rule(0, what, points) if self.exact else self._converged(what, points)
        return tuple(r.reshape((*theta.shape[:-1], *r.shape[1:])) for r in results)

    def _converged(self, what: str, points: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Double the panels at every point until two rules in turn agree; nan where they never do."""
        first = self._first_level(points[0])
        results: tuple[Tensor, ...] = ()
        for start in first.unique().tolist() or [0]:
            rows = torch.nonzero(first == start).flatten()
            coarse = self._by_rule(min(start, LEVELS - 1), what, [u[rows] for u in points])
            if not results:
                results = tuple(r.new_full((len(first), *r.shape[1:]), torch.nan) for r in coarse)
            for level in range(start + 1, LEVELS):
                fine = self._by_rule(level, what, [u[rows] for u in points])
                done = self._agree(coarse, fine)
                for result, part in zip(results, fine, strict=True):
                    result[rows[done]] = part[done]
                rows, coarse = rows[~done], tuple(part[~done] for part in fine)
                if not len(rows):
                    break
        return results

    def _first_level(self, theta: Tensor) -> Tensor:
        """Return the number of halvings after which no pre-activation changes by more than ``CHANGE`` over a panel."""
        steepest = self.unpack(theta)["w"].abs().flatten(1).amax(dim=1).nan_to_num(nan=0.0)
        change = steepest * float(self._ends.diff().max()) / CHANGE
        return change.clamp(min=1.0, max=2.0**LEVELS).log2().ceil().long()

    def _agree(self, coarse: Sequence[Tensor], fine: Sequence[Tensor]) -> Tensor:
        """Say at which points two rules agree, or neither has a number."""
        tolerance = same_formula(self.dtype)
        agree = torch.ones(len(fine[0]), dtype=torch.bool, device=self.device)
        for u, v in zip(coarse, fine, strict=True):
            gap, size = ((t.abs().flatten(1).amax(1) if t.ndim > 1 else t.abs()) for t in (u - v, v))
            agree &= (gap <= tolerance * size.clamp(min=self._mass)) | ~torch.isfinite(size)
        return agree

    def _by_rule(self, level: int, what: str, points: Sequence[Tensor]) -> tuple[Tensor, ...]:
        count, panels = self.rule.points or POINTS, 1 if self.exact else 2**level
        if not self.rule.moves:
            if level not in self._levels:
                nodes, weights = spread(self._ends, count, panels)
                self._levels[level] = WeightedSystem(self._fixed, nodes[:, None], weights, self.sizes)
            return self._levels[level]._run(what, *points)
        parts = len(self._ends) - 1 + self.sizes["m"]
        if level not in self._levels:
            self._levels[level] = MovingNodes(self._network, parts * count * panels, self.x, self.sizes)
        system = self._levels[level]
        assert isinstance(system, MovingNodes)
        kinks = self._kinks(points[0]).clamp(float(self._ends[0]), float(self._ends[-1]))
        ends = torch.cat([self._ends.expand(len(kinks), -1), kinks], dim=1).sort(dim=1).values
        results = system.at(what, points, spread(ends, count, panels))
        if self._jump and (what == "hvp" or "hessian" in what):
            results = (*results[:-1], self._with_kinks(what, results[-1], *points))
        return results

    def _kinks(self, theta: Tensor) -> Tensor:
        """Return the kinks -b/w at points (B, P), the upper end where w = 0, shape (B, m)."""
        blocks = self.unpack(theta)
        w = blocks["w"][..., 0]
        return torch.where(w == 0, self._ends[-1], -blocks["b"] / torch.where(w == 0, 1.0, w))

    def _with_kinks(self, what: str, result: Tensor, theta: Tensor, v: Tensor | None = None) -> Tensor:
        """Add to Hessians (B, P, P), or products (B, P), the terms of the kinks inside the interval."""
        assert self._at_kinks is not None
        blocks, kinks = self.unpack(theta), self._kinks(theta)
        inside = (kinks > self._ends[0]) & (kinks < self._ends[-1])
        p = torch.where(inside, kinks, self._ends[0])
        r = self._at_kinks.residuals(theta, (p, torch.ones_like(p)))
        w = torch.where(inside, blocks["w"][..., 0], 1.0)
        size = torch.where(inside, self._jump * self._scale * blocks["a"] * r / w.abs(), 0.0)
        place = {name: where for name, _, where in self.layout}
        if v is not None:
            moved = size * (p * v[:, place["w"]] + v[:, place["b"]])
            result[:, place["w"]] += p * moved
            result[:, place["b"]] += moved
            return result
        for row, column, power in (("w", "w", 2), ("w", "b", 1), ("b", "w", 1), ("b", "b", 0)):
            block = result[:, place[row], place[column]]
            block.diagonal(dim1=1, dim2=2).add_(size * p**power)
        return result


def _fixed(network: WeightedProblem) -> WeightedProblem:
    """Return the problem whose nodes are data."""
    return weighted(network, network.factor, network.at, network.target)


def compile_interval(
    interval: IntervalProblem,
    width: int,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
) -> IntervalSystem:
    """Compile an interval problem at a width.

    Raises
    ------
    ValueError
        If the width is no integer from 1 on.
    AssumptionError
        If the problem has symbols beside x.
    """
    if type(width) is not int or width < 1:
        raise ValueError(f"width is {width!r}; required is an integer from 1 on")
    return IntervalSystem(interval, width, device=device, dtype=dtype)
