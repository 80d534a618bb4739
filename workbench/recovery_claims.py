r"""The claims about the global minima of a teacher-student problem that numbers can check, each with its evidence.

Ranks of the Hessian, the rate on a branch across which the Hessian is not degenerate, and the power law with its constant on one across
which it is.

>>> from derivations.global_minima import global_minima
>>> from derivations.problem import Problem
>>> from derivations.teacher import Teacher
>>> from sympy import Rational
>>> teacher = Teacher(weights=(("a", (Rational(1),)), ("w", ((Rational(1, 2),),))))
>>> minima = global_minima(Problem.two_layer("exp", "square", teacher=teacher, reduction="sum", factor="2"), 2)
>>> found = slow_rate_claim(minima, [[-1], [Rational(1, 2)], [2]], until=1e6)
>>> str(found.status), f"{found.computed:.3f}", f"{found.expected:.3f}"
('SUPPORTED', '0.132', '0.133')
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sympy import Float

from derivations.claim import Claim, Relation, Status
from derivations.copied_neuron import copied_neuron
from derivations.errors import AssumptionError
from derivations.global_minima import GlobalMinima
from derivations.problem import d, m, n
from derivations.recovery_branches import Branch
from derivations.sample_verdicts import Separation
from workbench.recovery import Samples
from workbench.recovery_runs import RecoveryRow, measured_decay

__all__ = ["linear_rate_claim", "recovery_claims", "slow_rate_claim"]

_NAME, _SOURCE = "global minima", "zhang2024local"
#: Relative difference of the measured and the predicted exponential rate; 2e-5 was seen over ten decay times.
RATE_TOLERANCE = 1e-3
#: Relative difference of t^2 R at the end and its limit; the next order falls like t^(-1/2): 5e-4 at t = 1e8, 5e-3 at 1e6.
CONSTANT_TOLERANCE = 2e-2
#: Difference of the exponent of R over the last decade from -2.
POWER_TOLERANCE = 5e-2
#: Difference of two input weights, and least share of an output weight, at which a flow has ended at two copies of a neuron.
NEAR = 1e-2


def curvature(minima: GlobalMinima, count: int) -> Any:
    r"""Return :math:`\kappa` of :math:`R = \tfrac{\kappa}{2} \sum_i r_i^2` for n samples."""
    problem = minima.problem
    return problem.factor / count if problem.reduction == "mean" else problem.factor


def linear_rate_claim(
    minima: GlobalMinima, branch: Branch, samples: Samples, *, size: float = 1e-2, seed: int = 0
) -> Claim:
    r"""Return the claim that :math:`\log R \sim -2 \lambda t` after a perturbation of a point of a Morse-Bott branch.

    UNDECIDED where the risk did not reach the exponential tail.

    Raises
    ------
    AssumptionError
        If the Hessian is degenerate across the branch, or there are fewer samples than its codimension.
    """
    if not branch.morse_bott or samples.count < branch.codimension:
        raise AssumptionError(
            f"the rate is exponential across a branch with rank {branch.rank} = N = {branch.codimension} on at least N samples; there are"
            f" {samples.count} samples"
        )
    point = samples.point(branch, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    start = point + size * torch.randn(len(point), generator=generator, dtype=point.dtype)
    spectrum = torch.linalg.eigvalsh(samples.system.hessian(point))
    least = float(spectrum[-branch.rank])
    decay = measured_decay(samples, start, torch.linspace(0.0, 20.0 / least, 81).tolist(), rank=branch.rank)
    base = Claim(
        _NAME,
        f"exponential rate, r = {branch.distinct}, l = {branch.deficient}, n = {samples.count}",
        r"Across a Morse-Bott branch $\log R \sim -2\lambda_{\min} t$, $\lambda_{\min}$ the smallest positive eigenvalue of $\nabla^2 R$ at the limit.",
        source=_SOURCE,
        relation=Relation.EQUAL,
        expected=decay.predicted_rate,
        tolerance=RATE_TOLERANCE,
        evidence={"branch": list(branch.parametrisation()), "seed": seed, "perturbation": size},
    )
    if decay.rate is None:
        return base.with_status(
            Status.UNDECIDED, evidence={**base.evidence, "reason": "the risk did not reach its tail"}
        )
    residual = abs(decay.rate / decay.predicted_rate - 1)
    status = Status.SUPPORTED if residual <= RATE_TOLERANCE else Status.UNDECIDED
    return base.with_status(status, computed=decay.rate, residual=residual)


def slow_rate_claim(
    minima: GlobalMinima,
    x: Sequence[Sequence[Any]],
    *,
    fraction: Any = 0.3,
    offset: float = 0.2,
    until: float = 1e8,
) -> Claim:
    r"""Return the claim that :math:`t^2 R` tends to its derived constant where two neurons of the student copy the first of the teacher.

    REFUTED where a flow that ends at two copies falls faster than any such power, or settles at another constant; UNDECIDED where it ends
    elsewhere or too early, or the order 4 vanishes.

    Parameters
    ----------
    minima : GlobalMinima
        Of a student with one neuron more than its teacher, d = 1, without biases.
    x : n rows of one exact number
        More samples than first-order functions, 2 m0.
    fraction : number
        Share of the first copy in the output weight.
    offset : float
        Distance of the two weights at the start.
    until : float
        End of the flow.

    Raises
    ------
    AssumptionError
        If the problem is of another shape, or the first-order functions are dependent on the samples.
    """
    shape, problem = minima.shape, minima.problem
    teacher, activation = problem.teacher, problem.activation
    if shape.bias or shape.output_bias or shape.inputs != 1 or shape.width != shape.teacher + 1:
        raise AssumptionError(
            "the constant of the decay is derived for one input, no biases and one neuron more than the teacher has; found"
            f" d = {shape.inputs - shape.bias}, m = {shape.width}, m0 = {shape.teacher}"
        )
    if teacher is None or not teacher.weights or activation is None:
        raise AssumptionError("the decay is measured for a teacher with numbers; this one is symbolic")
    scale = problem.scale.subs({m: shape.width, d: 1, n: len(x)})
    outer = [u * scale for u in shape.targets[: shape.teacher]]
    found = copied_neuron(activation, outer, teacher.blocks["w"], x, curvature=curvature(minima, len(x)))
    claim = Claim(
        _NAME,
        f"power law of two copies, n = {len(x)}",
        r"Across a branch with two copies of a neuron $t^2 R \to (\gamma_1^2 + \gamma_2^2)^2/(64 c)$.",
        source=_SOURCE,
        tolerance=CONSTANT_TOLERANCE,
        evidence={"fraction": str(fraction), "offset": offset, "until": until},
    )
    if found.separated is not Separation.SEPARATED:
        return claim.with_status(
            Status.UNDECIDED, evidence={**claim.evidence, "reason": "the risk has no term of order 4 here"}
        )
    samples = Samples.at(minima, [[float(u) for u in row] for row in x])
    share, weight = float(fraction), [float(row[0]) for row in teacher.blocks["w"]]
    inner = [[weight[0] + offset * (1 - share)], [weight[0] - offset * share], *([u] for u in weight[1:])]
    first = float(shape.targets[0])
    rest = [float(u) for u in shape.targets[1 : shape.teacher]]
    start = samples.system.pack({"a": [first * share, first * (1 - share), *rest], "w": inner})
    times = [until * 10.0**k for k in (-2, -1, 0)]
    decay = measured_decay(samples, start, times, rtol=1e-9)
    ends = samples.system.unpack(decay.end)
    copies = ends["a"][:2] / ends["a"][:2].sum()
    # Only a flow that ended at two copies of the neuron says something about the branch.
    if abs(float(ends["w"][0, 0] - ends["w"][1, 0])) > NEAR or float(copies.abs().min()) < NEAR:
        return claim.with_status(
            Status.UNDECIDED,
            evidence={**claim.evidence, "reason": "the flow did not end at two copies of the neuron"},
        )
    limit = float(found.limit_risk(Float(float(copies[0]), 17)))
    residual = abs(decay.constant / limit - 1)
    drift = abs(decay.constant / float(decay.times[-2] ** 2 * decay.risks[-2]) - 1)
    if abs(decay.power - 2) > POWER_TOLERANCE:
        status = Status.REFUTED if decay.power > 3 else Status.UNDECIDED
    elif residual <= CONSTANT_TOLERANCE:
        status = Status.SUPPORTED
    else:
        status = Status.REFUTED if residual > 10 * max(drift, CONSTANT_TOLERANCE) else Status.UNDECIDED
    evidence = {
        **claim.evidence,
        "exponent over the last decade": decay.power,
        "change of t^2 R over the last decade": drift,
        "squared distance": str(found.distance),
    }
    return claim.with_status(
        status, computed=decay.constant, expected=limit, residual=residual, evidence=evidence
    )


def recovery_claims(rows: Sequence[RecoveryRow]) -> list[Claim]:
    """Return one claim for each row of ``recovery_table`` on which theory has an answer.

    Flows that all end as expected support it; one that ends at another function where almost every point is said to be stable, or none that
    does where no point is, leaves it UNDECIDED: a draw can hit the exceptional set, and a perturbation can be too large or too small.
    """
    claims = []
    for row in rows:
        b = row.branch
        status = {True: Status.SUPPORTED, False: Status.UNDECIDED, None: Status.UNDECIDED}[row.agrees]
        claims.append(
            Claim(
                _NAME,
                f"recovery, r = {b.distinct}, l = {b.deficient}, n = {row.samples}",
                f"Flows from near a generic point end at the function of the teacher: {row.expected}.",
                source=_SOURCE,
                status=status if row.open == 0 else Status.UNDECIDED,
                computed=row.recovered,
                expected=str(row.expected),
                evidence={
                    "starts": row.starts,
                    "recovered": row.recovered,
                    "imperfect": row.imperfect,
                    "open": row.open,
                },
            )
        )
    return claims
