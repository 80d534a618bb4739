"""Flows of models that are solved exactly, against their closed forms: diagonal, quadratic and linear networks, a product of L weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from sympy import Integer
from torch import Tensor

from derivations.claim import Status
from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from derivations.theorem import Finding
from numerics.compile import compile_system
from numerics.events import Event
from numerics.flow import integrate

__all__ = ["half_times", "linear_flow", "product_flow", "quadratic_flow"]

#: Relative error of times and states against closed forms; seen: 1e-9.
CLOSED = 1e-6
#: 1 - cos at which the direction of the product counts as near, and the relative change of |w|/delta between two delta allowed there.
NEAR, SCALING = 1e-2, 1e-2


def half_times(targets: Sequence[float], scales: Sequence[float]) -> Finding:
    """Integrate the diagonal network from u = |v| = delta and compare the half-times and their order."""
    count = len(targets)
    names = [f"{letter}{k + 1}" for k in range(count) for letter in ("u", "v")]
    problem = FormulaProblem.of(
        " + ".join(f"u{k + 1}*v{k + 1}*x{k + 1}" for k in range(count)),
        names,
        [f"x{k + 1}" for k in range(count)],
        reduction="sum",
    )
    y = torch.tensor(targets, dtype=torch.float64)
    system = compile_system(problem, torch.eye(count, dtype=torch.float64), y, ())
    half = Event("half", lambda theta: theta[:, 0::2] * theta[:, 1::2] * y.sign() - y.abs() / 2, direction=1)
    worst, rows = 0.0, []
    for scale in sorted(scales, reverse=True):
        if scale**2 >= float(y.abs().min()) / 2:
            continue  # more than half is there at the start
        expected = [math.log((abs(u) - scale**2) / scale**2) / (2 * abs(u)) for u in targets]
        start = torch.full((count, 2), scale, dtype=torch.float64)
        start[:, 1] *= y.sign()
        result = integrate(
            system.flow,
            start.reshape(1, -1),
            1.1 * max(expected),
            rtol=1e-10,
            atol=1e-12 * scale,
            events=[half],
            method="dop853",
        )
        times = {crossing.channel: crossing.time for crossing in result.crossings}
        measured = [times.get(k, math.inf) for k in range(count)]
        worst = max(worst, *(abs(a / b - 1) for a, b in zip(measured, expected, strict=True)))
        rows.append({"delta": scale, "half-times": measured, "closed form": expected})
    if not rows:
        return Finding(Status.UNDECIDED, "at these scales the modes are half learned at the start")
    status = Status.SUPPORTED if worst <= CLOSED else Status.UNDECIDED
    reason = f"half-times {', '.join(f'{u:.10g}' for u in rows[-1]['half-times'])} at delta = {rows[-1]['delta']:g}"  # type: ignore[attr-defined]
    return Finding(status, reason, residual=worst, tolerance=CLOSED, evidence={"scales": rows})


def quadratic_flow(x: Tensor, y: Tensor, sign: int, seed: int) -> Finding:
    """Integrate the flow of the correlation of two quadratic neurons of fixed signs and compare with the exponential of M."""
    problem = Problem.two_layer(
        "quadratic",
        "correlation",
        input_bias=False,
        output_bias=False,
        reduction="sum",
        freeze=("a",),
        factor=sign,
    )
    system = compile_system(problem, x, y, 2)
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(2, x.shape[1], generator=generator, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64)
    M = (x.T * y) @ x
    time = 1.0 / float(torch.linalg.matrix_norm(M, 2))
    result = integrate(system.flow, torch.cat([signs, u.reshape(-1)])[None], time, rtol=1e-11, atol=1e-13)
    exact = torch.stack([torch.matrix_exp(2 * s * time * M) @ row for s, row in zip(signs, u, strict=True)])
    error = float((result.final_state[0, 2:].reshape(u.shape) - exact).norm() / exact.norm())
    status = Status.SUPPORTED if error <= CLOSED else Status.REFUTED if error > 1e-2 else Status.UNDECIDED
    values = ", ".join(f"{e:.6g}" for e in torch.linalg.eigvalsh(M).tolist())
    return Finding(
        status,
        f"eigenvalues of M for these data: {values}",
        residual=error,
        tolerance=CLOSED,
        evidence={"start": u.tolist()},
    )


def linear_flow(x: Tensor, y: Tensor, sign: int, seed: int) -> Finding:
    """Integrate the flow of the correlation of two linear neurons until it is aligned: N/|w|^2 tends to half the singular value."""
    problem = Problem.two_layer(
        "linear", "correlation", input_bias=False, output_bias=False, reduction="sum", factor=sign
    )
    system = compile_system(problem, x, y, 2)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(1, 2 * (1 + x.shape[1]), generator=generator, dtype=torch.float64)
    singular = float((y @ x).norm())
    if singular == 0:
        return Finding(Status.UNDECIDED, "M = X^T y is 0")
    end = integrate(system.flow, start, 9 / singular, rtol=1e-10, atol=1e-12).final_state
    ratio = float(-sign * system.value(end)[0] / end.square().sum())
    error = abs(ratio / (singular / 2) - 1)
    status = Status.SUPPORTED if error <= CLOSED else Status.REFUTED if ratio < 0 else Status.UNDECIDED
    return Finding(
        status, "N/|w|^2 at the end", computed=ratio, expected=singular / 2, residual=error, tolerance=CLOSED
    )


def product_flow(degree: int, scales: Sequence[float], sign: int, seed: int) -> Finding:
    """Follow a product of L weights with target 1 until its direction is near (1, ..., 1): |w|/delta there does not depend on delta."""
    names = [f"w{k + 1}" for k in range(degree)]
    problem = FormulaProblem.of("*".join(names) + "*x", names, ["x"], reduction="sum", factor=Integer(sign))
    system = compile_system(
        problem, torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), ()
    )
    generator = torch.Generator().manual_seed(seed)
    start = 0.3 + torch.rand(1, degree, generator=generator, dtype=torch.float64)
    start = start / start.norm()

    def gap(theta: Tensor) -> Tensor:
        return 1 - theta.sum(1) / (theta.norm(dim=1) * math.sqrt(degree)) - NEAR

    if float(gap(start)) <= 0:
        return Finding(Status.UNDECIDED, "the start is aligned already")
    rows = []
    blow_up = 1 / (degree * (degree - 2) * degree ** (-degree / 2))  # of the aligned ray from norm 1
    for scale in sorted(scales, reverse=True)[:2]:
        result = integrate(
            system.flow,
            scale * start,
            20 * blow_up / scale ** (degree - 2),
            rtol=1e-10,
            atol=1e-12 * scale,
            events=[Event("near", gap, direction=-1, stop=True)],
        )
        met = result.crossings[0] if result.crossings else None
        rows.append(
            {
                "delta": scale,
                "time": met.time * scale ** (degree - 2) if met else math.inf,
                "norm over delta": float(met.state.norm()) / scale if met else math.inf,
            }
        )
    ratios = [row["norm over delta"] for row in rows]
    change = abs(ratios[0] / ratios[-1] - 1) if all(map(math.isfinite, ratios)) else math.inf
    status = Status.SUPPORTED if change <= SCALING else Status.UNDECIDED
    reason = (
        f"1 - cos = {NEAR:g} is reached at |w| = {ratios[-1]:.6g} delta"
        if math.isfinite(change)
        else "the direction was not reached"
    )
    return Finding(
        status,
        reason,
        residual=change,
        tolerance=SCALING,
        evidence={"start": start[0].tolist(), "runs": rows},
    )
