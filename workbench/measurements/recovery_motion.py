r"""How flows approach a branch of global minima: along it, across it where the Hessian is definite, and across it where it is degenerate.

At the nearest point of the branch the parameters split into the directions along the branch, those in which the Hessian is positive
(:math:`\pi_s`) and the rest (:math:`\pi_c`).  The closure of a branch is affine, so generic points of it span it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from derivations.claim import Status
from derivations.recovery_branches import Branch
from derivations.theorem import Finding
from numerics.flow import integrate
from workbench.recovery import Samples

__all__ = ["Approach", "Frame", "approach", "degenerate_approach", "exponents", "second_order_displacement"]

#: A singular value below this fraction of the largest counts as 0; the same as for ranks.
ZERO = 1e-9
#: Sizes of the two starts across a branch.
SIZES = (4e-3, 1e-3)
#: Times between which slopes are fitted: the next order falls like t^(-1/2).
WINDOW = (1e5, 1e8)
#: A slope that is to be at least k may be less by this; 0.01 was seen at these times.
SLOPE = 0.1


@dataclass(frozen=True)
class Frame:
    """Orthonormal bases at the nearest point of a branch: along it, in the range of the Hessian, and the rest across it."""

    point: Tensor
    along: Tensor
    stiff: Tensor
    slack: Tensor

    @classmethod
    def at(cls, samples: Samples, branch: Branch, theta: Tensor) -> Frame:
        """Return the bases at the point of the branch that is nearest to ``theta``."""
        points = torch.stack([samples.point(branch, seed=k) for k in range(branch.dimension + 1)])
        base, along = points[0], _basis((points[1:] - points[0]).T)
        nearest = base + along @ (along.T @ (theta - base))
        stiff = _basis(samples.system.jacobian(nearest).T)
        both = torch.cat([along, stiff], dim=1)
        rest = torch.eye(len(theta), dtype=theta.dtype) - both @ torch.linalg.pinv(both)
        return cls(nearest, along, stiff, _basis(rest))

    def parts(self, theta: Tensor) -> tuple[float, float]:
        """Return the lengths of the stiff and of the slack part of the distance."""
        moved = theta - self.point
        return float((self.stiff.T @ moved).norm()), float((self.slack.T @ moved).norm())


def _basis(columns: Tensor) -> Tensor:
    """Return an orthonormal basis of the span of columns."""
    if not columns.shape[1]:
        return columns
    u, values, _ = torch.linalg.svd(columns, full_matrices=False)
    return u[:, values > ZERO * values[0].clamp_min(1e-300)] if float(values[0]) > 1e-12 else u[:, :0]


@dataclass(frozen=True)
class Approach:
    """Times, parts of the distance and risks of one flow towards a branch."""

    times: list[float]
    stiff: list[float]
    slack: list[float]
    risks: list[float]


def _flow(samples: Samples, starts: Tensor, times: Tensor) -> Tensor:
    """Return the states (S, T, P) of flows at some times."""
    system = samples.system
    result = integrate(
        system.flow,
        starts,
        float(times[-1]),
        jacobian=system.flow_jacobian,
        method="rodas4",
        rtol=1e-10,
        atol=1e-13,
        save_at=times,
    )
    return torch.stack(list(result.states))


def second_order_displacement(samples: Samples, branch: Branch, seed: int) -> Finding:
    """Start across a Morse-Bott branch at two distances and compare how far the flow has moved along it at the end."""
    point = samples.point(branch, seed=seed)
    frame = Frame.at(samples, branch, point)
    generator = torch.Generator().manual_seed(seed + 2)
    direction = frame.stiff @ torch.randn(frame.stiff.shape[1], generator=generator, dtype=point.dtype)
    direction = direction / direction.norm()
    spectrum = torch.linalg.eigvalsh(samples.system.hessian(point))
    end = 40.0 / float(spectrum[-branch.rank])
    starts = torch.stack([point + size * direction for size in SIZES])
    states = _flow(samples, starts, torch.tensor([end / 2, end], dtype=torch.float64))[:, -1]
    moved = [float((frame.along.T @ (state - point)).norm()) for state in states]
    words = f"along {moved[0]:.3g} and {moved[1]:.3g} from {SIZES[0]:g} and {SIZES[1]:g} across"
    if min(moved) < 1e-11:
        return Finding(
            Status.SUPPORTED, f"no displacement beyond rounding: {words}", computed=math.inf, expected=2
        )
    order = math.log(moved[0] / moved[1]) / math.log(SIZES[0] / SIZES[1])
    status = Status.SUPPORTED if order >= 2 - SLOPE else Status.UNDECIDED
    return Finding(status, words, computed=order, expected=2, tolerance=SLOPE)


def approach(samples: Samples, branch: Branch, seed: int, size: float = 5e-2) -> Approach:
    """Follow a flow from a perturbed point of a branch and split its distance from the branch."""
    generator = torch.Generator().manual_seed(seed + 3)
    point = samples.point(branch, seed=seed)
    start = point + size * torch.randn(len(point), generator=generator, dtype=point.dtype)
    times = torch.logspace(2, 8, 19, dtype=torch.float64)
    states = _flow(samples, start[None], times)[0]
    parts = [Frame.at(samples, branch, state).parts(state) for state in states]
    risks = [float(samples.system.value(state)) for state in states]
    return Approach(times.tolist(), [u for u, _ in parts], [v for _, v in parts], risks)


def _slope(x: list[float], y: list[float]) -> float:
    u, v = (torch.tensor(z, dtype=torch.float64).log() for z in (x, y))
    u = u - u.mean()
    return float((u * v).sum() / (u * u).sum())


def degenerate_approach(found: Approach) -> Finding:
    """Say whether the stiff part is of second order in the slack one, and the risk of fourth."""
    late = [k for k, t in enumerate(found.times) if WINDOW[0] <= t <= WINDOW[1]]
    slack, stiff, risks = ([z[k] for k in late] for z in (found.slack, found.stiff, found.risks))
    if min(slack) <= 0 or min(stiff) <= 0 or slack[-1] > 0.5 * slack[0]:
        return Finding(Status.UNDECIDED, "the flow did not settle at a degenerate point of the branch")
    second, fourth = _slope(slack, stiff), _slope(slack, risks)
    power = _slope([found.times[k] for k in late], risks)
    reason = f"slopes: stiff part {second:.4f}, risk {fourth:.4f} in the slack part; R like t^{power:.4f}"
    status = Status.SUPPORTED if second >= 2 - SLOPE and fourth >= 4 - 2 * SLOPE else Status.UNDECIDED
    return Finding(
        status,
        reason,
        computed=second,
        expected=2,
        tolerance=SLOPE,
        evidence={"risk": fourth, "power of t": power},
    )


def exponents(samples: Samples, branch: Branch, count: int, seed: int, size: float) -> list[float]:
    """Return p of R ~ t^-p over the last decade up to t = 1e8, or inf where R has fallen below rounding, for flows near a branch."""
    generator = torch.Generator().manual_seed(seed + 4)
    point = samples.point(branch, seed=seed)
    starts = point + size * torch.randn(count, len(point), generator=generator, dtype=point.dtype)
    states = _flow(samples, starts, torch.tensor([1e7, 1e8], dtype=torch.float64))
    risks = samples.system.value(states)
    return [math.inf if float(v) < 1e-24 else -math.log(float(v) / float(u)) / math.log(10) for u, v in risks]
