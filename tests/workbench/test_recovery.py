"""Branches of global minima on samples: ranks, eigenvalues and solutions of R = 0 against hand-written networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sympy import Rational

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.global_minima import global_minima
from derivations.problem import Problem
from derivations.teacher import Teacher
from workbench.recovery import Samples, rank_claims
from workbench.recovery_runs import _solve as solve
from workbench.recovery_runs import imperfect_minima

X = [[1, 0], [0, 1], [-1, 0.5], [0.5, -1.2], [1.3, 0.8], [-0.7, -0.9]]
OUTER, INNER = (Rational(3, 2),), ((Rational(2, 5), -Rational(3, 10)),)
#: Nonzero eigenvalues of the Hessian at points of the branches of the published example, computed independently.
EIGENVALUES = [
    ("copies", 3, [0.39190753033, 3.8518599527, 16.512179214]),
    ("copies", 5, [3.6194925920, 15.873690283, 44.690000718]),
    ("copies", 6, [5.9049651417, 18.968005376, 46.556821867]),
    ("extra", 3, [0.55479232221, 12.508420730, 20.925658225]),
    ("extra", 4, [0.0089533963310, 7.5004466906, 19.705924610, 36.599431288]),
    ("extra", 5, [0.011684206954, 11.452964793, 30.623603010, 46.689064578]),
    ("extra", 6, [0.28304428754, 16.461681448, 33.890682643, 46.735125724]),
    ("both", 5, [5.0438033658, 27.362018614, 55.306183196]),
]
POINTS = {
    "copies": {"a": [0.45, 1.05], "w": [[0.4, -0.3]] * 2},
    "extra": {"a": [1.5, 0.0], "w": [[0.4, -0.3], [-0.2, 0.6]]},
    "both": {"a": [1.5, 0.0], "w": [[0.4, -0.3]] * 2},
}


def minima(name="exp", width=2, a=OUTER, w=INNER, **options):
    weights = tuple((key, value) for key, value in (("a", a), ("w", w), *options.pop("biases", ())))
    teacher = Teacher(weights=weights)
    problem = Problem.two_layer(name, "square", teacher=teacher, reduction="sum", factor="2", **options)
    return global_minima(problem, width)


@pytest.mark.parametrize(("point", "n", "expected"), EIGENVALUES)
def test_the_hessian_has_the_worked_eigenvalues(point, n, expected):
    samples = Samples.at(minima(), X[:n])
    theta = samples.system.pack(POINTS[point])
    values = torch.linalg.eigvalsh(samples.system.hessian(theta)).numpy()
    assert np.allclose(values[-len(expected) :], expected, rtol=1e-9)
    assert np.abs(values[: -len(expected)]).max() < 1e-9 * values[-1]
    assert samples.rank(theta).rank == len(expected)


CASES = {
    "exp": ("exp", {}),
    "shifted tanh": ("tanh(z + 7/10)", {}),
    "tanh": ("tanh", {}),
    "sigmoid": ("sigmoid", {}),
    "gaussian": ("gaussian", {}),
    "sigmoid with output bias": ("sigmoid", {"output_bias": True, "biases": (("c", Rational(1, 3)),)}),
    "tanh with biases": ("tanh", {"input_bias": True, "biases": (("b", (Rational(1, 4),)),)}),
    "scaled": ("sigmoid", {"output_bias": True, "scale": "1/m", "biases": (("c", Rational(1, 3)),)}),
}
FUNCTIONS = {
    "exp": math.exp,
    "tanh(z + 7/10)": lambda z: math.tanh(z + 0.7),
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "gaussian": lambda z: math.exp(-z * z / 2),
}


@pytest.mark.parametrize("case", CASES)
def test_on_every_branch_a_network_written_by_hand_has_the_output_of_the_teacher(case):
    name, options = CASES[case]
    found = minima(name, 3 if "output bias" not in case and case != "scaled" else 2, **options)
    blocks, sigma = dict(found.problem.teacher.blocks), FUNCTIONS[name]
    samples = Samples.drawn(found, 4, seed=1)
    scale = 1 / found.width if case == "scaled" else 1.0
    for branch in found.branches:
        theta = samples.system.unpack(samples.point(branch, seed=2))
        for x in ([0.3, -0.8], [1.1, 0.4], [-0.6, -1.7]):
            student = float(theta.get("c", torch.zeros(()))) + scale * sum(
                float(theta["a"][k])
                * sigma(
                    sum(float(u) * v for u, v in zip(theta["w"][k], x, strict=True))
                    + (float(theta["b"][k]) if "b" in theta else 0)
                )
                for k in range(found.width)
            )
            inner = sum(float(u) * v for u, v in zip(blocks["w"][0], x, strict=True)) + float(
                blocks.get("b", (0,))[0]
            )
            teacher = float(blocks["a"][0]) * sigma(inner) + float(blocks.get("c", 0))
            assert math.isclose(student, teacher, rel_tol=1e-12, abs_tol=1e-12), branch.parametrisation()


@pytest.mark.parametrize(
    "case", ["exp", "tanh", "sigmoid", "gaussian", "sigmoid with output bias", "tanh with biases"]
)
def test_the_rank_on_each_branch_is_measured_for_few_and_many_samples(case):
    name, options = CASES[case]
    claims = rank_claims(minima(name, **options), [3, 5, 9])
    assert {c.status for c in claims} == {Status.SUPPORTED}, [
        c for c in claims if c.status is not Status.SUPPORTED
    ]


def test_a_rank_that_is_too_large_refutes_and_one_that_is_too_small_decides_nothing(monkeypatch):
    found = minima()
    real = type(found).rank
    for shift, status in ((-1, Status.REFUTED), (1, Status.UNDECIDED)):
        monkeypatch.setattr(
            type(found), "rank", lambda self, b, n=None, shift=shift: real(self, b, n) + shift
        )
        assert {c.status for c in rank_claims(found, [3])} == {status}


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid"])
def test_solutions_found_from_anywhere_lie_on_a_branch_that_is_listed(name):
    found = minima(name, width=2, w=((Rational(4, 5), -Rational(3, 10)),))
    samples = Samples.drawn(found, 14, seed=3)
    starts = torch.randn(60, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    ends = solve(samples.system, starts)
    solved = ends[(samples.system.outputs(ends) - samples.system.y).abs().amax(dim=-1) < 1e-12]
    assert len(solved) >= 10
    bar = np.array([0.8, -0.3])
    for theta in solved:
        blocks = samples.system.unpack(theta)
        a, w = blocks["a"].numpy(), blocks["w"].numpy()
        gaps = []
        for branch in found.branches:
            gap = [
                abs(sum(float(u) * v for u, v in zip(row[:2], a, strict=True)) - float(row[2]) * 1.5)
                for row in branch.rows
            ]
            for k, (label, sign) in enumerate(branch.ties):
                if label == 0:
                    gap.append(np.abs(w[k] - sign * bar).max())
                elif label < 0:
                    gap.append(np.abs(w[k]).max())
            gaps.append(max(gap))
        # Near a degenerate branch a residual of 1e-12 leaves 1e-6 in the weights.
        assert min(gaps) < 1e-4, (a, w)


def test_imperfect_minima_depend_on_the_configuration_of_four_samples():
    base = [[0, 0], [2, 0], [0, 2]]
    counts = []
    for last in ([0.5, 0.6], [1.5, 1.6]):
        samples = Samples.at(minima(), [*base, last])
        theta = samples.system.pack(POINTS["copies"])
        (near,) = imperfect_minima(samples, samples.minima.branches[0], sizes=(0.05,), starts=100, at=theta)
        assert near.solved == 100
        counts.append(near.imperfect)
    assert counts[0] == 0
    assert counts[1] >= 95


def test_one_input_and_exponentials_leave_no_imperfect_minima_from_three_samples_on():
    found = minima(a=(Rational(1),), w=((Rational(1, 2),),))
    samples = Samples.at(found, [[-1.0], [0.5], [2.0]])
    for branch in found.branches:
        assert all(near.imperfect == 0 for near in imperfect_minima(samples, branch, starts=40, seed=1))
    two = Samples.at(found, [[-1.0], [0.5]])
    assert imperfect_minima(two, found.branches[1], sizes=(0.05,), starts=40)[0].imperfect > 30


def test_a_symbolic_teacher_and_inputs_of_another_shape_are_refused():
    symbolic = global_minima(Problem.two_layer("exp", "square"), 2, teacher_width=1, inputs=2)
    with pytest.raises(AssumptionError, match="teacher with numbers"):
        Samples.drawn(symbolic, 3, seed=0)
    with pytest.raises(ValueError, match="required are"):
        Samples.at(minima(), [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="at least 1"):
        Samples.drawn(minima(), 0, seed=0)
