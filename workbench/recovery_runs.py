r"""Runs near branches of global minima: zero-loss solutions, flows from perturbed points, and how fast the risk decays.

* ``imperfect_minima`` solves R = 0 by the Levenberg-Marquardt method from perturbed points of a branch and counts the solutions that are not the
  teacher elsewhere: there are some arbitrarily near where the samples do not separate the branch;
* ``recovery_table`` integrates batches of gradient flows from perturbed points and says which end at the function of the teacher;
* ``measured_decay`` follows one flow and reads off the rate: :math:`\log R \sim -2\lambda t`, :math:`\lambda` the smallest positive eigenvalue of the
  Hessian at the limit, or :math:`R \sim C t^{-2}`.

Numbers support a statement, they do not prove it: the fraction of starts, their size and the seed stand in every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from derivations.global_minima import GlobalMinima
from derivations.neuron_blocks import AffineSet
from derivations.recovery_branches import Branch
from derivations.sample_verdicts import Recovery
from numerics.compile import CompiledSystem
from numerics.flow import integrate
from numerics.tolerances import zero_eigenvalue
from workbench.recovery import Samples

__all__ = [
    "Decay",
    "Nearby",
    "RecoveryRow",
    "imperfect_minima",
    "measured_decay",
    "recovery_ends",
    "recovery_table",
]

#: Residual max |f(x_i) - y_i| of a solution of R = 0.
ZERO_RESIDUAL = 1e-12
#: A solution that differs from the teacher by more on fresh inputs is imperfect; those on a branch ended below 2e-7, because across a slow
#: branch a residual of 1e-12 allows a difference of its order of magnitude in the function, not in the weights.
TEST_ERROR = 1e-6
_STEPS, _TESTS, _TEST_SEED = 200, 50, 987
#: Gauss-Newton steps at the end of a search or a flow, and singular values that are left out, relative to the largest: a residual of 1e-8
#: on a degenerate branch needs 8 steps.
_POLISHING, _SMALLEST = 60, 1e-12


@dataclass(frozen=True)
class Nearby:
    """Zero-loss solutions found from perturbed points of a branch.

    Attributes
    ----------
    size : float
        Standard deviation of the perturbation.
    starts, solved, imperfect : int
        Starts, those that ended at R = 0, and those of them that are not the teacher elsewhere.
    worst : float
        Largest difference to the teacher on fresh inputs among the solutions.
    """

    size: float
    starts: int
    solved: int
    imperfect: int
    worst: float


def _fresh(samples: Samples) -> Samples:
    return Samples.drawn(samples.minima, _TESTS, seed=_TEST_SEED, device=str(samples.system.device))


def _test_errors(tests: CompiledSystem, theta: Tensor) -> Tensor:
    return (tests.outputs(theta) - tests.y).abs().amax(dim=-1)


def _perturbed(theta: Tensor, count: int, size: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, len(theta), generator=generator, dtype=theta.dtype).to(theta.device)
    return theta + size * noise


def _polished(system: CompiledSystem, theta: Tensor) -> Tensor:
    """Take Gauss-Newton steps of least norm to R = 0; on a degenerate branch each halves the distance."""
    best = theta
    least = (system.outputs(theta) - system.y).abs().amax(dim=-1)
    for _ in range(_POLISHING):
        residual = system.outputs(theta) - system.y
        inverse = torch.linalg.pinv(system.jacobian(theta), rtol=_SMALLEST)
        theta = theta - (inverse @ residual[..., None])[..., 0]
        size = (system.outputs(theta) - system.y).abs().amax(dim=-1)
        best = torch.where((size < least)[:, None], theta, best)
        least = torch.minimum(size, least)
    return best


def _solve(system: CompiledSystem, theta: Tensor) -> Tensor:
    """Solve f(x_i) = y_i by damped steps of least norm, each row of theta by itself."""
    damping = torch.full((len(theta),), 1e-3, dtype=theta.dtype, device=theta.device)
    residual = system.outputs(theta) - system.y
    loss = (residual**2).sum(dim=-1)
    eye = torch.eye(residual.shape[-1], dtype=theta.dtype, device=theta.device)
    for _ in range(_STEPS):
        jacobian = system.jacobian(theta)
        gram = jacobian @ jacobian.mT
        scale = gram.diagonal(dim1=-2, dim2=-1).amax(dim=-1).clamp_min(1e-300)
        shifted = gram + (damping * scale + 1e-300)[:, None, None] * eye
        step = -(jacobian.mT @ torch.linalg.solve(shifted, residual[..., None]))[..., 0]
        moved = theta + step
        moved_residual = system.outputs(moved) - system.y
        moved_loss = (moved_residual**2).sum(dim=-1)
        better = moved_loss < loss
        theta = torch.where(better[:, None], moved, theta)
        residual = torch.where(better[:, None], moved_residual, residual)
        loss = torch.where(better, moved_loss, loss)
        damping = torch.where(better, damping / 5, damping * 4).clamp(1e-15, 1e8)
        if bool((residual.abs().amax(dim=-1) < ZERO_RESIDUAL / 10).all()):
            break
    return theta


def imperfect_minima(
    samples: Samples,
    branch: AffineSet,
    *,
    sizes: Sequence[float] = (0.3, 0.05, 0.01),
    starts: int = 150,
    seed: int = 0,
    at: Tensor | None = None,
) -> tuple[Nearby, ...]:
    """Search R = 0 near a generic point of a branch, or near ``at``.

    Parameters
    ----------
    samples : Samples
        The student on its samples.
    branch : AffineSet
        Where the point is drawn.
    sizes : sequence of float
        Standard deviations of the perturbations.
    starts : int
        For each size.
    seed : int
        Of the point and of the perturbations.
    at : Tensor, optional
        (P,), a point of the branch.
    """
    theta = samples.point(branch, seed=seed) if at is None else at
    tests = _fresh(samples).system
    found = []
    for position, size in enumerate(sizes):
        ends = _polished(
            samples.system, _solve(samples.system, _perturbed(theta, starts, size, seed + 1 + position))
        )
        residual = (samples.system.outputs(ends) - samples.system.y).abs().amax(dim=-1)
        errors = _test_errors(tests, ends[residual < ZERO_RESIDUAL])
        worst = float(errors.max()) if len(errors) else 0.0
        found.append(Nearby(size, starts, len(errors), int((errors > TEST_ERROR).sum()), worst))
    return tuple(found)


@dataclass(frozen=True)
class RecoveryRow:
    """Flows from perturbed points of one kind of branch on n samples.

    Attributes
    ----------
    branch : Branch
        One of its kind.
    samples : int
        n.
    expected : Recovery
        What ranks and the published theorem say.
    recovered, imperfect, open : int
        Flows that ended near parameters of the teacher; that ended near another function with R = 0; others.
    starts : int
        All of them.
    """

    branch: Branch
    samples: int
    expected: Recovery
    recovered: int
    imperfect: int
    open: int
    starts: int

    @property
    def agrees(self) -> bool | None:
        """Whether the flows agree with what is expected; None where that is open."""
        if self.expected is Recovery.OPEN:
            return None
        return self.imperfect > 0 if self.expected is Recovery.NONE else self.imperfect == 0


def recovery_ends(
    samples: Samples,
    at: Tensor,
    *,
    starts: int,
    size: float,
    until: float,
    seed: int,
    error: float = TEST_ERROR,
) -> tuple[int, int, int]:
    """Integrate flows from perturbations of a point; return how many recover the teacher, end at other functions, or are open.

    See ``recovery_table``; ``error`` is the difference on fresh inputs from which on a solution is not the teacher.
    """
    tests, system = _fresh(samples).system, samples.system
    theta = _perturbed(at, starts, size, seed)
    result = integrate(
        system.flow,
        theta,
        until,
        jacobian=system.flow_jacobian,
        method="rodas4",
        save_at=torch.tensor([until], dtype=torch.float64, device=theta.device),
    )
    solutions = _polished(system, result.final_state)
    errors = _test_errors(tests, solutions)
    residuals = (system.outputs(solutions) - system.y).abs().amax(dim=-1)
    recovered = (errors < error) & (residuals < TEST_ERROR / 100)
    imperfect = (errors >= error) & (residuals < ZERO_RESIDUAL)
    return int(recovered.sum()), int(imperfect.sum()), int((~recovered & ~imperfect).sum())


def recovery_table(
    minima: GlobalMinima,
    counts: Sequence[int],
    *,
    starts: int = 200,
    size: float = 1e-2,
    until: float = 1e9,
    seed: int = 0,
    x: Any = None,
    device: str = "cpu",
) -> tuple[RecoveryRow, ...]:
    """Integrate batches of flows from perturbed points of each kind of branch, for each number of samples.

    From the end of a flow Gauss-Newton steps lead to a solution of R = 0 nearby: the flow counts as recovered where this is the teacher on
    fresh inputs, as imperfect where it is not, and as open where no solution was reached.

    Parameters
    ----------
    minima : GlobalMinima
        Of a teacher with numbers.
    counts : sequence of int
        Numbers of samples; inputs are drawn, or the first of x.
    starts : int
        Flows for each branch and number of samples.
    size : float
        Standard deviation of the perturbation.
    until : float
        End time.
    seed : int
        Of inputs, points and perturbations.
    x : n rows of d numbers, optional
        Inputs.
    device : str
        Where the flows are computed.
    """
    rows = []
    for n in counts:
        samples = Samples.first(minima, n, x, seed=seed, device=device)
        for b, _ in minima.kinds:
            ends = recovery_ends(
                samples, samples.point(b, seed=seed), starts=starts, size=size, until=until, seed=seed + 1
            )
            rows.append(RecoveryRow(b, n, minima.recovery(b, n), *ends, starts))
    return tuple(rows)


@dataclass(frozen=True)
class Decay:
    """How the risk decays along one flow.

    Attributes
    ----------
    times, risks : Tensor
        (T,), the risk computed from the residuals.
    end : Tensor
        (P,), the last state.
    power : float
        p of R ~ t^-p between the last two decades of time.
    rate : float or None
        Slope of -log R in t, over the times at which the other modes are gone and R is above rounding; None where there are fewer than three.
    predicted_rate : float
        Twice the smallest positive eigenvalue of the Hessian at the end.
    """

    times: Tensor
    risks: Tensor
    end: Tensor
    power: float
    rate: float | None
    predicted_rate: float

    @property
    def constant(self) -> float:
        """t^2 R at the end."""
        return float(self.times[-1] ** 2 * self.risks[-1])


#: The tail begins at this multiple of the decay time 1/lambda, and ends at this risk, above the error of the states, for outputs of size 1.
_TAIL_BEGINS, _TAIL_ENDS = 4.0, 1e-20


def measured_decay(
    samples: Samples, start: Tensor, times: Any, *, rtol: float = 1e-11, rank: int | None = None
) -> Decay:
    """Integrate one gradient flow and read off how the risk decays.

    Parameters
    ----------
    samples : Samples
        The student on its samples.
    start : Tensor
        (P,).
    times : increasing times
        At least three, the last the end.
    rtol : float
        Local error of the flow.
    rank : int, optional
        Number of positive eigenvalues of the Hessian at the end; without it those above rounding count.
    """
    system = samples.system
    at = torch.as_tensor(times, dtype=torch.float64)
    if at.ndim != 1 or len(at) < 3:
        raise ValueError(f"times have shape {tuple(at.shape)}; give at least three times in a list")
    result = integrate(
        system.flow,
        start[None],
        float(at[-1]),
        jacobian=system.flow_jacobian,
        method="rodas4",
        rtol=rtol,
        atol=rtol / 100,
        save_at=at,
    )
    states = result.states[0]
    risks = system.value(states)
    spectrum = torch.linalg.eigvalsh(system.hessian(states[-1]))
    least = spectrum[spectrum > zero_eigenvalue(spectrum)].min() if rank is None else spectrum[-rank]
    floor = _TAIL_ENDS * float(system.y.abs().max().clamp_min(1.0)) ** 2
    window = (at >= _TAIL_BEGINS / float(least)) & (risks > floor)
    rate = None
    if int(window.sum()) >= 3:
        t, logs = at[window], risks[window].log()
        shifted = t - t.mean()
        rate = -float((shifted * logs).sum() / (shifted**2).sum())
    decade = int((at < at[-1] / 10).sum())
    power = -float((risks[-1] / risks[decade]).log() / (at[-1] / at[decade]).log())
    return Decay(at, risks, states[-1], power, rate, 2 * float(least))
