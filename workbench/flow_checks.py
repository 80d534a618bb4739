r"""The integrators measured on a study's own gradient flow, and what every gradient flow must do.

The order of ``dopri5`` and ``rodas4`` is fitted from runs with fixed steps against a fine run that both methods agree
on; the risk must fall; and where the activation is p-homogeneous without weight decay, each neuron must keep

.. math::
    Q_k = p\, |a_k|^2 / \rho_a - |w_k|^2 / \rho_w - b_k^2 / \rho_b

with the rates :math:`\rho` of its blocks, by Euler's identity :math:`z \sigma'(z) = p\, \sigma(z)`.

Networks with kinks are followed piece by piece (``workbench.kinked_flows``), where both statements hold for the flow of the Clarke
subdifferential as well: the risk falls at the rate :math:`|\dot\theta|^2`, and Euler's identity holds for every convex combination of
limiting gradients.  Where their pieces are not followed, nothing is claimed of a run that has stepped across kinks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor

from derivations.activations import Activation
from derivations.claim import Claim, Relation, Status
from numerics.compile import CompiledSystem
from numerics.flow import OrderMeasurement, integrate, measured_order
from numerics.flow import Status as FlowStatus
from numerics.sliding import integrate_pieces
from numerics.tolerances import FLOW_ERROR, SLOPE_MARGIN
from workbench.kinked_flows import Route, is_kinked, route_of

__all__ = ["check_integrators", "json_number"]

NOMINAL: Final = {"dopri5": 5, "rodas4": 4}
SOURCES: Final = {"dopri5": "dormand1980", "rodas4": "hairer1996"}
DESCENT: Final = r"Along the gradient flow the risk $R$ does not increase."
#: Tolerances of the runs for descent and conservation, and of the fine run behind the orders and its cross-check.
RTOL, ATOL, FINE_RTOL, CROSS_RTOL = 1e-8, 1e-10, 1e-13, 1e-6
STEP_COUNTS = (8, 16, 32, 64)
#: Steps of a run for descent and conservation; what was done until then is judged.
MAX_STEPS = 500
#: Length of the runs in units of the time scale of the flow: the coarsest steps are half a unit.
PERIODS = 4.0


@dataclass(frozen=True)
class _Runs:
    """Runs of the flow: first and last states (B, P), how each ended, and what was seen on the way."""

    start: Tensor
    end: Tensor
    status: tuple[FlowStatus, ...]
    steps: int
    increases: int
    method: str
    unreliable: str


def check_integrators(system: CompiledSystem, *, seed: int = 0, starts: int = 4) -> list[Claim]:
    r"""Order of both integrators, descent of the risk and conserved quantities, on the study's own gradient flow.

    The time scale is :math:`\tau = 1 / \max \lVert J \rVert` over the flow's Jacobian at the starts.  Where the
    activation or the loss has a kink, or the flow does not reach the asymptotic range of the fit, the order is
    measured on :math:`\dot\theta = -A\theta` with its exact solution instead, and the evidence says so.

    Parameters
    ----------
    system : CompiledSystem
        In float64.
    seed, starts : int
        Seed and number of the standard Gaussian starts.

    Returns
    -------
    list of Claim
        ``order of dopri5``, ``order of rodas4``, ``descent``, and ``conserved quantity`` for homogeneous activations.

    Raises
    ------
    ValueError
        If the system is not in float64, or ``starts`` < 1.
    """
    if system.dtype != torch.float64:
        raise ValueError(
            f"orders are measured in float64, this system is in {system.dtype}: compile it in float64"
        )
    if starts < 1:
        raise ValueError(f"starts must be at least 1, got {starts}")
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(starts, system.P, generator=generator, dtype=torch.float64).to(system.device)
    evidence: dict[str, Any] = {"seed": seed, "starts": starts, "distribution": "standard normal"}
    jacobian = system.flow_jacobian(theta)
    if not bool(torch.isfinite(jacobian).all()):
        reason = "the gradient flow overflows at a random start: rescale the data"
        blank = Claim("gradient flow", "descent", DESCENT, evidence=evidence | {"reason": reason})
        return [*(_linear_order(method, evidence) for method in NOMINAL), blank]
    # Blocks may have different rates, so the Jacobian need not be symmetric: its norm bounds its eigenvalues.
    stiffness = float(torch.linalg.matrix_norm(jacobian, ord=2).max())
    tau = 1 / stiffness if stiffness > 0 else 1.0
    orders = {method: _linear_order(method, evidence) for method in NOMINAL}
    if _smooth(system):
        orders |= _own_orders(system, theta, tau, evidence)
    until = 10 * tau
    runs = _runs(system, route_of(system), theta, until)
    evidence |= {"until": until, "method": runs.method, "rtol": RTOL, "atol": ATOL}
    claims = [*orders.values(), _descent(runs, evidence)]
    conserved = _conserved(system, runs, evidence)
    return claims if conserved is None else [*claims, conserved]


def json_number(number: float) -> float | str:
    """Return a number that JSON can hold: inf and nan as words."""
    return number if math.isfinite(number) else str(number)


def _runs(system: CompiledSystem, route: Route, theta: Tensor, until: float) -> _Runs:
    """Integrate from every start, piece by piece where there are kinks."""
    if route.pieces is None:
        result = integrate(
            system.flow,
            theta,
            until,
            method="dopri5",
            energy=system.value,
            rtol=RTOL,
            atol=ATOL,
            max_steps=MAX_STEPS,
        )
        assert result.energy_increases is not None
        steps, increases = int(result.steps.sum()), int(result.energy_increases.sum())
        why = "" if route.reliable else " ".join(route.notes)
        return _Runs(theta, result.final_state, result.status, steps, increases, result.method, why)
    exact = route.system
    found = [
        integrate_pieces(
            route.pieces,
            start,
            until,
            save_at=torch.tensor([0.0, until], dtype=torch.float64),
            energy=exact.value,
            rtol=RTOL,
            atol=ATOL,
            max_steps=MAX_STEPS,
        )
        for start in theta.to(exact.x)
    ]
    return _Runs(
        theta,
        torch.stack([run.states[-1] for run in found]).to(theta),
        tuple(run.status for run in found),
        sum(run.steps for run in found),
        sum(run.energy_increases for run in found),
        "pieces",
        "",
    )


def _own_orders(
    system: CompiledSystem, theta: Tensor, tau: float, evidence: dict[str, Any]
) -> dict[str, Claim]:
    """Orders on the study's flow, of those methods that reach their asymptotic range on it."""
    until = PERIODS * tau
    fine = integrate(system.flow, theta, until, method="dopri5", rtol=FINE_RTOL, atol=1e-3 * FINE_RTOL)
    cross = integrate(
        system.flow,
        theta,
        until,
        jacobian=system.flow_jacobian,
        method="rodas4",
        rtol=CROSS_RTOL,
        atol=CROSS_RTOL,
    )
    if any(status is not FlowStatus.FINISHED for status in (*fine.status, *cross.status)):
        return {}
    # An error common to all runs of one method would go unseen; the other method must agree with the fine run.
    gap = float((fine.final_state - cross.final_state).abs().max() / fine.final_state.abs().max())
    if gap > FLOW_ERROR * CROSS_RTOL:
        return {}
    own = evidence | {"flow": "the study's own", "until": until, "gap to the other method": gap}
    found = {}
    for method in NOMINAL:
        fit = measured_order(
            system.flow, theta, until, fine.final_state, method, STEP_COUNTS, jacobian=system.flow_jacobian
        )
        claim = _measured(method, fit, own)
        if (
            claim.status is Status.SUPPORTED
        ):  # else the steps are too coarse for this flow; the linear one decides
            found[method] = claim
    return found


def _linear_order(method: str, evidence: dict[str, Any]) -> Claim:
    matrix = torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    start = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    exact = (torch.linalg.matrix_exp(-matrix) @ start[..., None])[..., 0]
    fit = measured_order(
        lambda u: -u @ matrix.T,
        start,
        1.0,
        exact,
        method,
        STEP_COUNTS,
        jacobian=lambda u: -matrix.expand(len(u), 2, 2),
    )
    return _measured(method, fit, evidence | {"flow": "linear with its exact solution", "until": 1.0})


def _measured(method: str, fit: OrderMeasurement, evidence: dict[str, Any]) -> Claim:
    # O(h^p) is one-sided: dopri5 has so small a leading error constant that h^6 is often what is seen.  Each
    # halving has to show the order by itself; a fit over all runs could hide a bad one behind a good one.
    nominal = NOMINAL[method]
    claim = Claim(
        "integrator",
        f"order of {method}",
        rf"The global error of {method} with equal steps $h$ is $O(h^{{{nominal}}})$.",
        source=SOURCES[method],
        relation=Relation.AT_LEAST,
        expected=nominal,
        tolerance=SLOPE_MARGIN,
        evidence=evidence | {"steps": list(fit.step_counts), "errors": [json_number(e) for e in fit.errors]},
    )
    slopes = [
        math.log2(coarse / fine)
        for (coarse, fine), usable in zip(pairwise(fit.errors), pairwise(fit.usable), strict=True)
        if all(usable)
    ]
    if math.isnan(fit.order) or not slopes:
        return claim
    residual = max(0.0, nominal - min(slopes))
    status = Status.SUPPORTED if residual <= SLOPE_MARGIN else Status.REFUTED
    return claim.with_status(status, computed=min(slopes), residual=residual)


def _descent(runs: _Runs, evidence: dict[str, Any]) -> Claim:
    evidence = evidence | {"accepted steps": runs.steps, "ended": _words(runs.status)}
    claim = Claim(
        "gradient flow",
        "descent",
        DESCENT,
        computed=runs.increases,
        expected=0,
        residual=runs.increases,
        tolerance=0.0,
        evidence=evidence,
    )
    if runs.unreliable or not runs.steps:
        reason = runs.unreliable or "no step was accepted"
        return claim.with_status(Status.UNDECIDED, evidence=evidence | {"reason": reason})
    return claim.with_status(Status.REFUTED if runs.increases else Status.SUPPORTED)


def _words(status: Sequence[FlowStatus]) -> list[str]:
    return [str(one) for one in status]


def _conserved(system: CompiledSystem, runs: _Runs, evidence: dict[str, Any]) -> Claim | None:
    """Drift of Q_k over the runs that finished; None where Q_k is not claimed to be conserved."""
    problem = system.problem
    if problem.kind != "two_layer" or problem.activation is None or problem.weight_decay != 0:
        return None
    hidden = [problem.block(name) for name in ("a", "w", *["b"] * problem.input_bias)]
    degree = problem.activation.homogeneity_degree
    if degree is None or not all(block.trained for block in hidden):
        return None
    good = (FlowStatus.FINISHED, FlowStatus.CONVERGED)
    rows = [row for row, status in enumerate(runs.status) if status in good]
    rates = {block.name: float(block.rate) for block in hidden}
    tail = "." if set(rates.values()) == {1.0} else ", each square divided by the rate of its block."
    power = "" if degree == 1 else f"{degree}\\,"
    bias = " - b_k^2" if "b" in rates else ""
    claim = Claim(
        "conservation law",
        "conserved quantity",
        rf"Every neuron keeps ${power}\lvert a_k\rvert^2 - \lVert w_k\rVert^2{bias}$ along the gradient flow{tail}",
        expected=0,
        evidence=evidence,
    )
    if runs.unreliable:
        return claim.with_status(Status.UNDECIDED, evidence=evidence | {"reason": runs.unreliable})
    start, end = runs.start[rows], runs.end[rows]
    before, after = (_squares(system, at, float(degree), rates) for at in (start, end))
    bound = 0.0
    if rows:
        largest = float(torch.maximum(start.abs().max(), end.abs().max()))
        # An error e in an entry of theta moves its square by 2 |theta| e.
        bound = FLOW_ERROR * 2 * largest * (ATOL + RTOL * largest) * max(1 / rate for rate in rates.values())
    if not rows or float((after[0] - before[0]).abs().max()) <= bound:
        reason = "the weights hardly move in the time of the run" if rows else "no run finished"
        return claim.with_status(Status.UNDECIDED, evidence=evidence | {"reason": reason})
    drift = float((after.sum(dim=0) - before.sum(dim=0)).abs().max())
    moved = float((after[0] - before[0]).abs().max())
    return claim.with_status(
        Status.SUPPORTED if drift <= bound else Status.REFUTED,
        computed=drift,
        residual=drift,
        tolerance=bound,
        evidence=evidence | {"runs": len(rows), "largest change of the first term": moved},
    )


def _squares(system: CompiledSystem, theta: Tensor, degree: float, rates: dict[str, float]) -> Tensor:
    """Terms of Q_k, shape (terms, B, m): of a, w, and b where there is one."""
    blocks = system.unpack(theta)
    a = blocks["a"].square()
    terms = [
        degree * (a.sum(dim=-1) if a.ndim == 3 else a) / rates["a"],
        -blocks["w"].square().sum(dim=-1) / rates["w"],
    ]
    if "b" in rates:
        terms.append(-blocks["b"].square() / rates["b"])
    return torch.stack(terms)


def _smooth(system: CompiledSystem) -> bool:
    sigma, ell = system.problem.activation, system.problem.loss
    if sigma is None or ell is None or is_kinked(system):
        return False
    return bool(sigma.is_smooth and Activation(ell.name, ell.expr).is_smooth)
