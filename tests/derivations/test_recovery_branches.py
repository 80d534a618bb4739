"""Branches of global minima: enumerated, counted, intersected, compared with matrices written out and with numbers published or computed apart."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from sympy import Integer, Symbol

from derivations.neuron_blocks import ZERO, AffineSet, Shape, meet
from derivations.recovery_branches import branch_count, enumerate_branches

#: (m, m0, d): branches by r, dimensions, thresholds, meeting pairs by dimension, Morse-Bott branches by (r, l).
WORKED = {
    (2, 1, 2): ((1, 2), (1, 2), (5, 4), {0: 2}, {(2, 1): 2}),
    (3, 1, 1): ((1, 6, 3), (2, 2, 2), (4, 4, 4), {0: 15, 1: 15}, {(2, 0): 3, (3, 2): 3}),
    (3, 1, 2): ((1, 6, 3), (2, 3, 4), (7, 6, 5), {0: 15, 1: 6, 2: 9}, {(2, 0): 3, (3, 2): 3}),
    (3, 2, 1): ((6, 6), (1, 1), (5, 5), {0: 12}, {(3, 1): 6}),
    (3, 2, 2): ((6, 6), (1, 2), (8, 7), {0: 12}, {(3, 1): 6}),
    (4, 2, 2): ((14, 36, 12), (2, 3, 4), (10, 9, 8), {0: 168, 1: 72, 2: 60}, {(3, 0): 12, (4, 2): 12}),
    (4, 1, 2): (
        (1, 14, 18, 4),
        (3, 4, 5, 6),
        (9, 8, 7, 6),
        {0: 148, 1: 102, 2: 114, 3: 54, 4: 24},
        {(3, 1): 12, (4, 3): 4},
    ),
}
#: Activations that identify neurons, as ``Shape`` has them.
SHAPES = {
    "generic": {},
    "odd": {"sign": -1, "silent": True},
    "even": {"sign": 1},
    "silent": {"silent": True},
    "output bias": {"output_bias": True},
    "odd up to a constant": {"sign": -1, "constant": True},
    "odd up to a constant, output bias": {"sign": -1, "constant": True, "output_bias": True},
}


def written_out(part: AffineSet) -> tuple[np.ndarray, np.ndarray]:
    """Return C and h of the set {theta : C theta = h}, theta the neurons (a, w) one after the other and c, for a teacher with numbers."""
    shape = part.shape
    m, size = shape.width, shape.inputs
    weights = np.random.default_rng(3).standard_normal((shape.teacher, size))
    outer = [*[1.3, -0.7, 2.1][: shape.teacher], 0.4 if shape.output_bias else 0.0]
    rows, right = [], []

    def coordinate(k, l):
        row = np.zeros(shape.parameters)
        row[k * (size + 1) + 1 + l] = 1.0
        return row

    groups: dict[int, list[int]] = {}
    for k, (label, _) in enumerate(part.ties):
        groups.setdefault(label, []).append(k)
    for label, members in groups.items():
        for k in members:
            sign = part.ties[k][1]
            for l in range(size):
                if label == ZERO:
                    rows.append(coordinate(k, l))
                    right.append(0.0)
                elif label < shape.teacher:
                    rows.append(coordinate(k, l))
                    right.append(sign * weights[label, l])
                elif k != members[0]:
                    rows.append(
                        coordinate(k, l) - sign * part.ties[members[0]][1] * coordinate(members[0], l)
                    )
                    right.append(0.0)
    for equation in part.rows:
        row = np.zeros(shape.parameters)
        for k in range(m):
            row[k * (size + 1)] = float(equation[k])
        if shape.output_bias:
            row[-1] = float(equation[m])
        rows.append(row)
        right.append(sum(float(u) * v for u, v in zip(equation[m + shape.output_bias :], outer, strict=True)))
    return np.array(rows), np.array(right)


def joint_dimension(parts: list[AffineSet]) -> int | None:
    """Dimension of the intersection by the ranks of the stacked equations, None where they contradict each other."""
    systems = [written_out(part) for part in parts]
    matrix, right = np.vstack([u for u, _ in systems]), np.concatenate([v for _, v in systems])
    rank = np.linalg.matrix_rank(matrix, tol=1e-9)
    if np.linalg.matrix_rank(np.column_stack([matrix, right]), tol=1e-9) > rank:
        return None
    return parts[0].shape.parameters - int(rank)


@pytest.mark.parametrize("sizes", WORKED)
def test_the_worked_numbers_of_branches_dimensions_thresholds_and_meeting_pairs(sizes):
    m, m0, _ = sizes
    counts, dimensions, thresholds, pairs, morse_bott = WORKED[sizes]
    found = enumerate_branches(Shape(*sizes))
    levels = range(m0, m + 1)
    assert Counter(b.distinct for b in found) == dict(zip(levels, counts, strict=True))
    assert {b.distinct: b.dimension for b in found} == dict(zip(levels, dimensions, strict=True))
    assert {b.distinct: b.separation_size for b in found} == dict(zip(levels, thresholds, strict=True))
    joints = [meet(u, v) for u, v in combinations(found, 2)]
    assert Counter(u.dimension for u in joints if u is not None) == pairs
    assert Counter((b.distinct, b.deficient) for b in found if b.morse_bott) == morse_bott


@pytest.mark.parametrize("sizes", [(2, 1, 2), (3, 1, 1), (3, 1, 2), (3, 2, 2), (4, 2, 1)])
def test_dimension_and_rank_follow_the_closed_formulas(sizes):
    m, m0, d = sizes
    for b in enumerate_branches(Shape(*sizes)):
        r, l = b.distinct, b.deficient
        assert b.dimension == (m - r) + (r - m0) * d
        assert b.codimension == r + (m + m0 - r) * d
        assert b.rank == r + (r - l) * d
        assert b.morse_bott == (l == 2 * r - m - m0)


def test_an_odd_activation_has_twelve_branches_where_a_generic_one_has_three():
    for d in (1, 2):
        found = enumerate_branches(Shape(2, 1, d, **SHAPES["odd"]))
        assert sorted(b.dimension for b in found) == [1] * 8 + [d] * 4


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("sizes", [(2, 1, 2), (3, 1, 1), (2, 2, 1)])
def test_dimensions_and_intersections_agree_with_stacked_equations(name, sizes):
    shape = Shape(*sizes, **SHAPES[name])
    found = enumerate_branches(shape)
    for b in found:
        assert joint_dimension([b]) == b.dimension
    for u, v in list(combinations(found, 2))[::3]:
        joint = meet(u, v)
        assert (None if joint is None else joint.dimension) == joint_dimension([u, v])


@pytest.mark.parametrize("name", SHAPES)
def test_no_branch_lies_in_another(name):
    for sizes in ((2, 1, 2), (3, 1, 1)):
        found = enumerate_branches(Shape(*sizes, **SHAPES[name]))
        assert not any(u.contains(v) for u in found for v in found if u is not v)


@pytest.mark.parametrize("name", [u for u in SHAPES if "constant" not in u])
def test_the_closed_count_is_the_number_of_branches_listed(name):
    for m in range(1, 5):
        for m0 in range(1, m + 1):
            shape = Shape(m, m0, 1, **SHAPES[name])
            listed = Counter(b.distinct for b in enumerate_branches(shape))
            assert {r: branch_count(shape, r) for r in listed} == listed


def test_the_count_needs_no_listing():
    assert branch_count(Shape(12, 3, 5), 7) == 627396 * 5040 // 24


def test_many_branches_are_refused_with_their_number():
    with pytest.raises(ValueError, match="branches at width 9"):
        enumerate_branches(Shape(9, 2, 1))


@pytest.mark.parametrize(("width", "teacher"), [(1, 2), (2, 0)])
def test_sizes_that_do_not_fit_are_refused(width, teacher):
    with pytest.raises(ValueError, match="at most as many as the student"):
        Shape(width, teacher, 1)


def test_joining_a_weight_with_its_opposite_gives_zero():
    shape = Shape(2, 1, 1, **SHAPES["even"])
    teacher_first = next(b for b in enumerate_branches(shape) if b.distinct == 2)
    assert teacher_first.blocks.keys() == {0, 1}
    shape = Shape(3, 1, 1, **SHAPES["odd"])
    same, opposite = [
        b
        for b in enumerate_branches(shape)
        if b.ties[0] == (0, 1) and b.labels == (0, 1, 1) and b.distinct == 2
    ]
    joint = meet(same, opposite)
    assert joint is not None
    assert joint.labels == (0, ZERO, ZERO)
    assert joint.vanishing == {1, 2}


def test_right_sides_of_a_teacher_with_numbers_are_compared_exactly():
    # a + a = abar_1 and a = abar_2 / 2 with a third neuron at 0: consistent only where the numbers are.
    ties = [(0, 1), (1, 1)]
    rows = [[Fraction(1), Fraction(0), Fraction(1), Fraction(-1), Fraction(0)]]
    equal = Shape(2, 2, 1, outer=(Integer(2), Integer(2), Integer(0)))
    from derivations.neuron_blocks import affine_set

    zero = [[Fraction(0)] * 2 + rows[0][2:]]
    assert affine_set(equal, ties, zero) is not None
    assert affine_set(Shape(2, 2, 1, outer=(Integer(2), Integer(3), Integer(0))), ties, zero) is None
    assert affine_set(Shape(2, 2, 1, outer=(Symbol("p"), Symbol("q"), Integer(0))), ties, zero) is None


def test_equations_of_a_branch_are_written_for_the_reader():
    odd = enumerate_branches(Shape(2, 1, 1, **SHAPES["odd"]))
    assert any(
        b.parametrisation() == ("w_1 = -\\bar{w}_1", "w_2 = \\bar{w}_1", "a_1 - a_2 = -\\bar{a}_1")
        for b in odd
    )
    sigmoid = enumerate_branches(Shape(1, 1, 1, **SHAPES["odd up to a constant"]))
    assert [b.parametrisation() for b in sigmoid] == [("w_1 = \\bar{w}_1", "a_1 = \\bar{a}_1")]
