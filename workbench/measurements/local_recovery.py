"""What is measured for ``local-recovery``: ranks, zero-loss solutions near the branches, rates, and which starts recover the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from sympy import Rational
from torch import Tensor

from derivations.claim import Claim, Status
from derivations.errors import AssumptionError
from derivations.global_minima import GlobalMinima, global_minima
from derivations.neuron_blocks import AffineSet
from derivations.recovery_case import counts_of, minima_of, points_of, problem_of
from derivations.recovery_sample_proofs import (
    four_configurations,
    four_samples,
    four_teacher,
    stated_recovery,
)
from derivations.sample_verdicts import Recovery, Separation
from derivations.theorem import Finding, Instance
from workbench.measurements.local_recovery_pictures import recovery_pictures
from workbench.measurements.measured import Bench, Measured
from workbench.measurements.recovery_graph import branch_graph
from workbench.measurements.recovery_motion import approach, degenerate_approach, second_order_displacement
from workbench.recovery import Samples, rank_claims
from workbench.recovery_claims import linear_rate_claim, slow_rate_claim
from workbench.recovery_runs import TEST_ERROR, RecoveryRow, imperfect_minima, recovery_ends, recovery_table

__all__ = ["measure"]

#: End of the flows near branches, and of the flow whose constant is read off.
UNTIL, LATE = 1e9, 1e8
#: Standard deviations of the perturbations: of flows, and of searches for other solutions near a branch.
NEAR, SIZES = 1e-2, (0.05, 0.01)
#: Sizes of the ball around a point of a branch that are tried one after the other.
BALLS = (1e-2, 1e-3)
#: Searches from all of parameter space, and near a branch.
WIDE_STARTS, NEAR_STARTS = 150, 60
#: Starts of the full sweep.
FULL_STARTS = 200
#: Intersections of branches from which flows are started.
MOST_STRATA = 6


def measure(given: Instance, bench: Bench) -> Measured:
    """Measure the claims that apply to an instance."""
    findings: dict[str, Finding] = {}
    analytic = given.findings()["analytic"].status is Status.PROVED
    if analytic:
        with bench.progress.stage("following two copies of a neuron", 0.2):
            findings |= _found("C14", lambda: _slow(given)) | _found("C16", lambda: _four(given, bench))
    try:
        minima = minima_of(given)
        x = [[float(u) for u in row] for row in points_of(given, counts_of(given)[-1])]
    except AssumptionError:
        return Measured(findings)
    rows: tuple[RecoveryRow, ...] = ()
    if len(set(map(tuple, x))) == len(x):
        with bench.progress.stage("measuring ranks and searching other solutions", 0.3):
            findings |= _searches(given, minima, x, bench)
        with bench.progress.stage("following flows near the branches", 0.5):
            rows = _table(given, minima, x, bench)
            findings |= _flows(given, minima, x, rows, bench)
    return Measured(findings, branch_graph(minima), recovery_pictures(given, minima, x, rows, bench))


def _found(label: str, function: Callable[[], Finding]) -> dict[str, Finding]:
    """Measure one claim; where it cannot be, the reason is said."""
    try:
        return {label: function()}
    except AssumptionError as error:
        return {label: Finding(Status.UNDECIDED, str(error))}


def _together(claims: Sequence[Claim], words: str) -> Finding:
    """Join claims of one kind: the first that is refuted, else the first that is open, else supported."""
    if not claims:
        return Finding(Status.UNDECIDED, f"{words}: none to measure")
    for status in (Status.REFUTED, Status.UNDECIDED):
        for one in claims:
            if one.status is status:
                reason = f"{one.claim}: {one.computed}, expected {one.expected}"
                return Finding(
                    status,
                    reason,
                    computed=one.computed,
                    expected=one.expected,
                    residual=one.residual,
                    evidence=one.evidence,
                )
    last = claims[-1]
    return Finding(
        Status.SUPPORTED,
        f"{words}: {', '.join(u.claim for u in claims)}"
        if len(claims) <= 3
        else f"{words}: {len(claims)} agree",
        computed=last.computed,
        expected=last.expected,
        residual=max((abs(u.residual) for u in claims if u.residual is not None), default=None),
        tolerance=last.tolerance,
        evidence={"measured": {u.claim: [u.computed, u.expected] for u in claims}},
    )


# -- zero-loss solutions ---------------------------------------------------------------------------------------------


def _searches(
    given: Instance, minima: GlobalMinima, x: list[list[float]], bench: Bench
) -> dict[str, Finding]:
    found = {"C6": _together(rank_claims(minima, counts_of(given), seed=bench.seed, x=x), "ranks")}
    found |= _found("C7", lambda: _imperfect(minima, x, bench))
    found |= _found("C8", lambda: _separated(minima, x, bench))
    found |= _found("C10", lambda: _only_the_branches(minima, x, minima.shape.parameters + 1, bench))
    narrow = minima_of(given, minima.shape.teacher)
    return found | _found("C10.1", lambda: _only_the_branches(narrow, x, narrow.shape.parameters + 1, bench))


def _first(minima: GlobalMinima, x: list[list[float]], count: int, bench: Bench) -> Samples:
    if count > len(x):
        raise AssumptionError(f"{count} samples are needed and {len(x)} inputs are looked at")
    return Samples.at(minima, x[:count], device=bench.device)


def _imperfect(minima: GlobalMinima, x: list[list[float]], bench: Bench) -> Finding:
    """Search imperfect minima near every kind of branch on as many samples as the target has ranks."""
    n = min(minima.optimistic_size, len(x))
    samples = _first(minima, x, n, bench)
    counts = {}
    for b, _ in minima.kinds:
        for near in imperfect_minima(samples, b, sizes=SIZES, starts=NEAR_STARTS, seed=bench.seed):
            counts[f"r = {b.distinct}, l = {b.deficient}, within {near.size:g}"] = (
                f"{near.imperfect} of {near.solved}"
            )
            if not near.imperfect:
                reason = f"no imperfect minimum was found near r = {b.distinct}, l = {b.deficient} from starts within {near.size:g}"
                return Finding(Status.UNDECIDED, reason, evidence=counts)
    reason = f"n = {n}: imperfect minima near every kind of branch from starts within {SIZES[-1]:g}"
    return Finding(Status.SUPPORTED, reason, evidence=counts)


def _separated(minima: GlobalMinima, x: list[list[float]], bench: Bench) -> Finding:
    """Search other solutions near each kind of branch on N(r) samples."""
    tried = []
    for b, _ in minima.kinds:
        n = b.separation_size
        if n > len(x):
            continue
        samples = _first(minima, x, n, bench)
        words, clear = "", False
        # The ball without other solutions can be small; their difference to the teacher falls with the square of its size.
        for size in BALLS:
            (near,) = imperfect_minima(samples, b, sizes=(size,), starts=NEAR_STARTS, seed=bench.seed)
            clear = near.solved > 0 and near.worst < TEST_ERROR * (size / BALLS[0]) ** 2
            words = f"r = {b.distinct}, l = {b.deficient}, n = {n}: {near.solved} solutions within {size:g}, at most {near.worst:.2g} from the teacher"
            if clear:
                break
        tried.append(words)
        if not clear:
            return Finding(Status.UNDECIDED, words, evidence={"tried": tried})
    if not tried:
        return Finding(Status.UNDECIDED, "fewer inputs than the separation sizes")
    return Finding(Status.SUPPORTED, "; ".join(tried))


def _only_the_branches(minima: GlobalMinima, x: list[list[float]], count: int, bench: Bench) -> Finding:
    """Search R = 0 from all of parameter space."""
    samples = _first(minima, x, count, bench)
    start = torch.zeros(samples.system.P, dtype=torch.float64, device=samples.system.device)
    (found,) = imperfect_minima(
        samples, minima.branches[0], sizes=(1.0,), starts=WIDE_STARTS, seed=bench.seed, at=start
    )
    reason = f"n = {count}: {found.imperfect} of {found.solved} solutions from {found.starts} starts are not the teacher"
    status = Status.SUPPORTED if found.solved and not found.imperfect else Status.UNDECIDED
    return Finding(
        status, reason, residual=found.worst, evidence={"largest difference to the teacher": found.worst}
    )


# -- flows -----------------------------------------------------------------------------------------------------------


def _starts(given: Instance) -> int:
    return FULL_STARTS if given["sweep"] == "full" else int(given["starts"])


def _table(
    given: Instance, minima: GlobalMinima, x: list[list[float]], bench: Bench
) -> tuple[RecoveryRow, ...]:
    counts = range(1, len(x) + 1) if given["sweep"] == "full" else counts_of(given)
    return recovery_table(
        minima,
        list(counts),
        starts=_starts(given),
        size=NEAR,
        until=UNTIL,
        seed=bench.seed,
        x=x,
        device=bench.device,
    )


def _flows(
    given: Instance, minima: GlobalMinima, x: list[list[float]], rows: tuple[RecoveryRow, ...], bench: Bench
) -> dict[str, Finding]:
    found = {"C11": _converged(given, rows), "C15": _stable(given, minima, x, rows, bench)}
    found |= _found("C12", lambda: _linear(minima, x, bench)) | _found(
        "C12.1", lambda: _along(minima, x, bench)
    )
    found |= _found("C13", lambda: _degenerate(minima, x, bench))
    return found | _found("C15.1", lambda: _everywhere(given, minima, x, bench))


def _converged(given: Instance, rows: tuple[RecoveryRow, ...]) -> Finding:
    if given["printed"] == "E1":
        return Finding(
            Status.UNDECIDED, "the flow that is measured is the gradient flow, not the printed one"
        )
    total, left = sum(row.starts for row in rows), sum(row.open for row in rows)
    reason = f"{total - left} of {total} flows from within {NEAR:g} of a branch end at R = 0, or approach it, by t = {UNTIL:g}"
    return Finding(
        Status.SUPPORTED if total and not left else Status.UNDECIDED,
        reason,
        computed=total - left,
        expected=total,
    )


def _closer(
    given: Instance, minima: GlobalMinima, x: list[list[float]], row: RecoveryRow, bench: Bench
) -> int:
    """Return how many flows recover the teacher from a smaller ball."""
    samples, error = _first(minima, x, row.samples, bench), TEST_ERROR * (BALLS[-1] / BALLS[0]) ** 2
    point = samples.point(row.branch, seed=bench.seed)
    return recovery_ends(
        samples, point, starts=row.starts, size=BALLS[-1], until=UNTIL, seed=bench.seed + 6, error=error
    )[0]


def _stable(
    given: Instance, minima: GlobalMinima, x: list[list[float]], rows: tuple[RecoveryRow, ...], bench: Bench
) -> Finding:
    """Compare the flows with the table as it is stated."""
    evidence: dict[str, Any] = {}
    against, agreeing = [], 0
    for row in rows:
        b, said = row.branch, stated_recovery(given, minima, row.branch, row.samples)
        words = f"r = {b.distinct}, l = {b.deficient}, n = {row.samples}"
        evidence[words] = (
            f"{row.recovered} of {row.starts} recover, {row.imperfect} end elsewhere, {row.open} open; stated: {said}"
        )
        if said is Recovery.OPEN:
            continue
        holds = row.imperfect > 0 if said is Recovery.NONE else row.recovered == row.starts
        if not holds and said is not Recovery.NONE:
            good = _closer(given, minima, x, row, bench)
            evidence[words] += f"; from within {BALLS[-1]:g} {good} recover"
            holds = good == row.starts
        agreeing += holds
        if not holds:
            against.append(f"{words}: {evidence[words]}")
    if against:
        # A draw can hit the exceptional set, and a perturbation can be too large or too small.
        return Finding(Status.UNDECIDED, against[0], evidence=evidence)
    if not agreeing:
        return Finding(
            Status.UNDECIDED, "no entry of the table is known for this instance", evidence=evidence
        )
    return Finding(
        Status.SUPPORTED,
        f"flows agree with {agreeing} entries",
        computed=agreeing,
        expected=agreeing,
        evidence=evidence,
    )


def _everywhere(given: Instance, minima: GlobalMinima, x: list[list[float]], bench: Bench) -> Finding:
    """Start flows near points of several branches on (d+1)m + 1 samples."""
    samples = _first(minima, x, minima.shape.parameters + 1, bench)
    joints = {joint.ties + joint.rows: joint for _, _, joint in minima.meeting()}
    firsts: dict[tuple[Any, ...], AffineSet] = {}
    for joint in joints.values():
        firsts.setdefault((joint.signature, joint.dimension), joint)
    chosen = list(firsts.values())[:MOST_STRATA] or [minima.branches[0]]
    total, recovered, other = 0, 0, 0
    for joint in chosen:
        point = samples.point(joint, seed=bench.seed)
        good, bad, _ = recovery_ends(
            samples, point, starts=_starts(given), size=NEAR, until=UNTIL, seed=bench.seed + 5
        )
        total, recovered, other = total + _starts(given), recovered + good, other + bad
    reason = f"{recovered} of {total} flows from near {len(chosen)} kinds of points of several branches recover, {other} end elsewhere"
    return Finding(
        Status.SUPPORTED if recovered == total else Status.UNDECIDED,
        reason,
        computed=recovered,
        expected=total,
    )


def _linear(minima: GlobalMinima, x: list[list[float]], bench: Bench) -> Finding:
    chosen = [b for b, _ in minima.kinds if b.morse_bott and b.codimension <= len(x)]
    if not chosen:
        raise AssumptionError("no kind of branch is Morse-Bott on these numbers of samples")
    return _together(
        [linear_rate_claim(minima, b, _first(minima, x, len(x), bench), seed=bench.seed) for b in chosen],
        "rates",
    )


def _along(minima: GlobalMinima, x: list[list[float]], bench: Bench) -> Finding:
    chosen = next(
        (b for b, _ in minima.kinds if b.morse_bott and b.codimension <= len(x) and b.dimension), None
    )
    if chosen is None:
        raise AssumptionError(
            "no kind of branch is Morse-Bott, and of positive dimension, on these numbers of samples"
        )
    return second_order_displacement(_first(minima, x, len(x), bench), chosen, bench.seed)


def _degenerate(minima: GlobalMinima, x: list[list[float]], bench: Bench) -> Finding:
    chosen = next((b for b, _ in minima.kinds if not b.morse_bott and b.codimension <= len(x)), None)
    if chosen is None:
        raise AssumptionError(
            "every kind of branch is Morse-Bott, or has more separating samples than are looked at"
        )
    return degenerate_approach(approach(_first(minima, x, len(x), bench), chosen, bench.seed))


# -- two copies of a neuron ------------------------------------------------------------------------------------------


def _slow(given: Instance) -> Finding:
    copied = given["copied"]
    minima = global_minima(problem_of(given, copied), len(copied.a) + 1)
    return _together(
        [slow_rate_claim(minima, given["line"], fraction=Rational(3, 10), offset=0.2, until=LATE)], "decay"
    )


def _four(given: Instance, bench: Bench) -> Finding:
    """Search imperfect minima near two copies on four inputs."""
    minima = global_minima(problem_of(given, four_teacher(given)), 2)
    branch = next(b for b in minima.branches if b.labels == (0, 0))
    evidence, decided = {}, 0
    for name, inputs in four_configurations(given).items():
        said = four_samples(given, inputs)
        samples = Samples.at(minima, [[float(u) for u in row] for row in inputs], device=bench.device)
        point = _halves(samples, minima)
        found = imperfect_minima(samples, branch, sizes=SIZES, starts=NEAR_STARTS, seed=bench.seed, at=point)
        wrong, solved = sum(u.imperfect for u in found), sum(u.solved for u in found)
        evidence[name] = f"{wrong} imperfect of {solved}; order 4: {said}"
        if said is Separation.OPEN or not solved:
            continue
        decided += 1
        if (wrong > 0) != (said is Separation.NOT):
            return Finding(Status.UNDECIDED, f"{name}: {evidence[name]}", evidence=evidence)
    status = Status.SUPPORTED if decided else Status.UNDECIDED
    return Finding(status, "; ".join(f"{k}: {v}" for k, v in evidence.items()), evidence=evidence)


def _halves(samples: Samples, minima: GlobalMinima) -> Tensor:
    """Return the point with 3/10 and 7/10 of the output weight."""
    teacher = minima.problem.teacher
    assert teacher is not None  # of an instance
    outer, row = float(teacher.blocks["a"][0]), [float(u) for u in teacher.blocks["w"][0]]
    return samples.system.pack({"a": [0.3 * outer, 0.7 * outer], "w": [row, row]})
