r"""The convex programme of an activation pattern, solved by Newton's method: the KKT point a flow is on its way to.

For a two-layer network with max(z, alpha z), signs s_j and a pattern D, the margin problem is
:math:`\min \sum_j \lVert b_j\rVert` under :math:`\sum_j y_i s_j D_{ij}\, b_j \cdot x_i \ge 1`, and its normalised margin
:math:`1/(2\sum_j \lVert b_j\rVert)`.  The sum of the multipliers is the value of the dual, so the gap certifies the optimum of the pattern.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from derivations.claim import Status
from derivations.theorem import Finding
from numerics.margin_flow import MarginFlow, MarginState
from workbench.measurements.margin_cases import REACHED, neurons
from workbench.measurements.margin_runs import Runs

__all__ = ["Program", "convex", "program"]

#: Residual of the conditions of a pattern, and gap of its two values, after Newton's method.
SOLVED = 1e-9


@dataclass(frozen=True)
class Program:
    """The solution for one pattern: b (J, d), multipliers (n,), residual of the conditions, primal minus dual value."""

    b: Tensor
    multipliers: Tensor
    residual: float
    gap: float

    @property
    def value(self) -> float:
        """Sum of the norms of the b_j."""
        return float(self.b.norm(dim=1).sum())


def program(flow: MarginFlow, state: MarginState, slope: float, active: float = 0.1) -> Program | str:
    """Solve the convex programme of the pattern of a state by Newton's method, or say why not.

    Neurons of one sign and one pattern act as one.  Margins up to 1 + ``active`` times the smallest one are tried as active; those whose
    multiplier turns out negative are dropped.
    """
    a, w = neurons(flow, state.theta)
    z = w @ flow.x.T
    pattern = torch.where(z > 0, z.new_tensor(1.0), z.new_tensor(slope))
    groups: dict[tuple[float, ...], Tensor] = {}
    for k in range(len(a)):
        if float(a[k].abs() * w[k].norm()) < 1e-6 * state.norm**2:
            continue
        if not bool(pattern[k].any()):
            continue  # no sample moves it
        key = (float(a[k].sign()), *pattern[k].tolist())
        groups[key] = groups.get(key, torch.zeros_like(w[k])) + a[k].abs() * w[k]
    if bool((z.abs() <= 1e-9 * w.norm(dim=1, keepdim=True)).any()):
        return "a neuron stands on a kink"
    if not groups:
        return "no neuron is active"
    signs = torch.tensor([key[0] for key in groups], dtype=torch.float64)
    open_sides = torch.tensor([key[1:] for key in groups], dtype=torch.float64)
    # Rows of the constraints: A[i, j, :] = y_i s_j D_ij x_i.
    rows = flow.y[:, None, None] * (signs[:, None] * open_sides).T[:, :, None] * flow.x[:, None, :]
    b = torch.stack(list(groups.values())) / state.margin
    kept = (state.margins <= (1 + active) * state.margin).nonzero()[:, 0].tolist()
    while kept:
        found = _newton(rows[kept].flatten(1), b)
        if isinstance(found, str):
            return found
        solution, lam = found
        if float(lam.min()) >= -SOLVED:
            break
        kept.pop(int(lam.argmin()))
    else:
        return "no constraint is active"
    multipliers = torch.zeros(len(flow.y), dtype=torch.float64)
    multipliers[kept] = lam
    margins = rows.flatten(1) @ solution.flatten()
    if float(margins.min()) < 1 - SOLVED:
        return "the solution violates a constraint that was taken for inactive"
    force = torch.einsum("i,ijd->jd", multipliers, rows)
    unit = solution / solution.norm(dim=1, keepdim=True)
    residual = float((unit - force).abs().max())
    gap = float(solution.norm(dim=1).sum() - multipliers.sum())
    return Program(solution, multipliers, residual, gap)


def _newton(rows: Tensor, start: Tensor) -> tuple[Tensor, Tensor] | str:
    """Solve b_j/|b_j| = (rows^T lam)_j, rows b = 1; steps of least norm, since collinear b leave directions free."""
    b, (groups, d) = start.clone(), start.shape
    count = len(rows)
    size = groups * d
    lam = torch.linalg.lstsq(rows.T, (b / b.norm(dim=1, keepdim=True)).flatten()[:, None]).solution[:, 0]
    for _ in range(60):
        norm = b.norm(dim=1, keepdim=True)
        unit = b / norm
        first = unit.flatten() - rows.T @ lam
        second = rows @ b.flatten() - 1
        if float(torch.cat([first, second]).abs().max()) < 1e-13:
            break
        matrix = torch.zeros(size + count, size + count, dtype=torch.float64)
        for j in range(groups):
            at = slice(j * d, (j + 1) * d)
            matrix[at, at] = (torch.eye(d, dtype=torch.float64) - unit[j][:, None] * unit[j]) / norm[j]
        matrix[:size, size:] = -rows.T
        matrix[size:, :size] = rows
        right = torch.cat([first, second])
        step = torch.linalg.lstsq(matrix, -right[:, None], driver="gelsd", rcond=1e-12).solution[:, 0]
        move = step[:size].reshape(groups, d)
        longest = float((move.norm(dim=1) / norm[:, 0]).max())
        factor = min(1.0, 0.5 / longest) if longest > 0 else 1.0
        b, lam = b + factor * move, lam + factor * step[size:]
    left = float(
        torch.cat([(b / b.norm(dim=1, keepdim=True)).flatten() - rows.T @ lam, rows @ b.flatten() - 1])
        .abs()
        .max()
    )
    return (b, lam) if left <= SOLVED else f"Newton's method left a residual of {left:.2g}"


def convex(runs: Runs, slope: float) -> Finding:
    """Solve the programme of the pattern at the end of each run and compare 1/(2 sum |b_j|) with the margin that was reached."""
    if not runs.complete:
        return runs.missing
    found, left = [], []
    for run in runs.complete:
        one = program(runs.flow, run.last, slope)
        if isinstance(one, str):
            left.append(one)
        else:
            found.append((run.last.normalised, one))
    if not found:
        return Finding(Status.UNDECIDED, "; ".join(dict.fromkeys(left)))
    worst = max(max(one.residual, abs(one.gap)) for _, one in found)
    margin, one = max(found, key=lambda pair: abs(pair[0] * 2 * pair[1].value - 1))
    gap = abs(margin * 2 * one.value - 1)
    more = f"; {len(left)} patterns left out: {left[0]}" if left else ""
    reason = f"{len(found)} patterns solved, conditions and duality gap to {worst:.1g}; the flow is {gap:.2g} from the optimum{more}"
    status = Status.SUPPORTED if worst <= SOLVED and gap <= REACHED else Status.UNDECIDED
    evidence = {"multipliers": one.multipliers.tolist(), "b": one.b.tolist()}
    return Finding(
        status,
        reason,
        computed=margin,
        expected=1 / (2 * one.value),
        residual=gap,
        tolerance=REACHED,
        evidence=evidence,
    )
