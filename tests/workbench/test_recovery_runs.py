"""Flows near branches of global minima: rates with the derived constants, and which starts recover the teacher."""

from __future__ import annotations

import pytest
import torch
from sympy import Rational

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.global_minima import global_minima
from derivations.problem import Problem
from derivations.sample_verdicts import Recovery, Separation
from derivations.teacher import Teacher
from workbench.recovery import Samples, rank_claims
from workbench.recovery_claims import linear_rate_claim, recovery_claims, slow_rate_claim
from workbench.recovery_runs import RecoveryRow, imperfect_minima, measured_decay, recovery_table

OUTER, INNER = (Rational(1),), ((Rational(1, 2),),)
LINE = [[-1], [Rational(1, 2)], [2]]


def minima(a=OUTER, w=INNER, width=2):
    teacher = Teacher(weights=(("a", a), ("w", w)))
    problem = Problem.two_layer("exp", "square", teacher=teacher, reduction="sum", factor="2")
    return global_minima(problem, width)


def test_the_worked_power_law_is_measured_with_its_constant():
    claim = slow_rate_claim(minima(), LINE, fraction=0.3, offset=0.2, until=1e6)
    assert claim.status is Status.SUPPORTED
    assert abs(claim.computed - 0.132069566) < 1e-5
    assert abs(claim.expected - 0.13274072) < 1e-6
    assert abs(claim.evidence["exponent over the last decade"] - 2) < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fraction", "offset", "share", "measured", "limit"),
    [
        (0.3, 0.2, 0.29026601, 0.132674326, 0.13274072),
        (0.6, 0.1, 0.60101608, 0.0767664096, 0.0767491016),
        (1.4, 0.1, 1.39580011, 0.236572542, 0.236558544),
    ],
)
def test_the_worked_power_laws_to_long_times(fraction, offset, share, measured, limit):
    samples = Samples.at(minima(), [[-1.0], [0.5], [2.0]])
    start = samples.system.pack(
        {"a": [fraction, 1 - fraction], "w": [[0.5 + offset * (1 - fraction)], [0.5 - offset * fraction]]}
    )
    decay = measured_decay(samples, start, [1e6, 1e7, 1e8])
    assert abs(float(decay.end[0]) - share) < 1e-7
    assert abs(decay.constant / measured - 1) < 1e-4
    assert abs(decay.constant / limit - 1) < 1e-3


def test_the_worked_exponential_rate_is_twice_the_least_eigenvalue():
    samples = Samples.at(minima(), [[-1.0], [0.5], [2.0]])
    start = samples.system.pack({"a": [1.02, 0.03], "w": [[0.49], [-0.78]]})
    decay = measured_decay(samples, start, torch.arange(0.0, 41.0).tolist())
    assert abs(float(decay.end[3]) + 0.77962238050) < 1e-7
    assert abs(decay.predicted_rate - 1.14359061) < 1e-6
    assert decay.rate is not None
    assert abs(decay.rate / 1.14359061 - 1) < 1e-4


def test_a_power_law_with_another_constant_is_refuted(monkeypatch):
    from workbench import recovery_claims as module

    real = module.curvature
    monkeypatch.setattr(module, "curvature", lambda *given: 2 * real(*given))
    assert slow_rate_claim(minima(), LINE, until=1e5).status is Status.REFUTED


def test_a_flow_that_ends_at_another_branch_or_too_early_decides_nothing():
    assert slow_rate_claim(minima(), LINE, fraction=0.999, offset=1.5, until=1e5).status is Status.UNDECIDED
    assert slow_rate_claim(minima(), LINE, until=1e2).status is Status.UNDECIDED


def test_a_linear_rate_is_supported_on_a_morse_bott_branch_and_refused_elsewhere():
    found = minima()
    samples = Samples.at(found, [[-1.0], [0.5], [2.0]])
    claim = linear_rate_claim(found, found.branches[1], samples)
    assert claim.status is Status.SUPPORTED, claim
    with pytest.raises(AssumptionError, match="rank 2 = N = 3"):
        linear_rate_claim(found, found.branches[0], samples)


def test_flows_recover_the_teacher_where_theory_says_so():
    found = minima(a=(Rational(3, 2),), w=((Rational(2, 5), -Rational(3, 10)),))
    rows = recovery_table(found, [3, 5], starts=5, until=1e7)
    assert [row.expected for row in rows] == [Recovery.NONE] * 2 + [Recovery.ALMOST] * 2
    assert [row.recovered for row in rows] == [0, 0, 5, 5]
    assert all(row.agrees for row in rows)
    assert {c.status for c in recovery_claims(rows)} == {Status.SUPPORTED}


def test_flows_against_expectation_support_nothing():
    branch = minima().branches[0]
    rows = [
        RecoveryRow(branch, 3, Recovery.ALMOST, 4, 1, 0, 5),
        RecoveryRow(branch, 3, Recovery.NONE, 5, 0, 0, 5),
        RecoveryRow(branch, 3, Recovery.OPEN, 5, 0, 0, 5),
        RecoveryRow(branch, 3, Recovery.ALMOST, 4, 0, 1, 5),
    ]
    assert {c.status for c in recovery_claims(rows)} == {Status.UNDECIDED}


def test_the_power_law_is_refused_for_other_shapes():
    with pytest.raises(AssumptionError, match="one input"):
        slow_rate_claim(minima(width=3), LINE)
    samples = Samples.at(minima(), [[-1.0], [0.5], [2.0]])
    start = samples.point(samples.minima.branches[0], seed=0)
    with pytest.raises(ValueError, match="at least three times"):
        measured_decay(samples, start, [1.0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exp", "tanh(z + 7/10)"])
@pytest.mark.parametrize(("width", "d"), [(2, 1), (2, 2), (3, 1), (3, 2)])
def test_ranks_and_separation_agree_with_theory_on_every_branch(name, width, d):
    inner = ((Rational(2, 5), -Rational(3, 10))[:d],)
    problem = Problem.two_layer(
        name, "square", teacher=Teacher(weights=(("a", (Rational(3, 2),)), ("w", inner)))
    )
    found = global_minima(problem, width)
    counts = range(1, (d + 1) * width + 2)
    assert {c.status for c in rank_claims(found, counts, seed=2)} == {Status.SUPPORTED}
    for n in counts:
        samples = Samples.drawn(found, n, seed=2)
        for branch, _ in found.kinds:
            near = imperfect_minima(samples, branch, sizes=(0.1, 1e-3), starts=30, seed=2)
            expected = found.separation(branch, n)
            if expected is Separation.NOT:
                assert near[0].imperfect > 0, (n, branch.parametrisation(), near)
            elif expected is Separation.SEPARATED:
                assert near[1].imperfect == 0, (n, branch.parametrisation(), near)
