"""Global minima of teacher-student problems: counts, ranks, sample sizes, and the assumptions that are refused."""

from __future__ import annotations

import pytest
from sympy import Integer, Rational

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.global_minima import global_minima
from derivations.problem import Problem
from derivations.sample_verdicts import Recovery, Separation
from derivations.teacher import Teacher


def of(name="exp", width=2, m0=1, d=2, **options):
    return global_minima(Problem.two_layer(name, "square", **options), width, teacher_width=m0, inputs=d)


def taught(a, w, name="exp", width=2, **options):
    weights = (("a", tuple(map(Integer, a))), ("w", tuple(tuple(Rational(u) for u in row) for row in w)))
    return global_minima(
        Problem.two_layer(name, "square", teacher=Teacher(weights=weights), **options), width
    )


def test_pairs_that_meet_are_counted_by_orbits():
    found = of(width=4, m0=2)
    assert found.intersections() == {0: 168, 1: 72, 2: 60}
    assert len(found.meeting()) == 300
    assert found.count() == 62 == sum(size for _, size in found.kinds)


@pytest.mark.parametrize(
    ("m", "m0", "components"), [(2, 1, 1), (3, 1, 1), (3, 2, 1), (4, 2, 1), (1, 1, 1), (2, 2, 2), (3, 3, 6)]
)
def test_the_minima_are_connected_if_and_only_if_the_student_is_wider(m, m0, components):
    assert of(width=m, m0=m0).components() == components


def test_the_strata_are_ordered_by_the_branches_that_contain_them():
    found = of()
    strata = found.strata()
    assert [(part.dimension, len(inside)) for part, inside in strata] == [
        (2, 1),
        (2, 1),
        (1, 1),
        (0, 2),
        (0, 2),
    ]
    deepest, around = strata[-1]
    assert all(found.branches[j].contains(deepest) for j in around)
    # At the intersection the extra neuron shares the weight of the teacher: r = 1, one class.
    assert (deepest.distinct, deepest.rank) == (1, 3)


def test_sample_sizes_of_the_published_example():
    found = of()
    first, second, _ = found.branches
    assert (first.dimension, first.separation_size, first.rank, first.morse_bott) == (1, 5, 3, False)
    assert (second.dimension, second.separation_size, second.rank, second.morse_bott) == (2, 4, 4, True)
    assert found.optimistic_size == 3
    assert [found.separation(first, n) for n in range(1, 6)] == [Separation.NOT] * 3 + [
        Separation.OPEN,
        Separation.SEPARATED,
    ]
    assert [found.separation(second, n) for n in range(1, 6)] == [Separation.NOT] * 3 + [
        Separation.SEPARATED
    ] * 2


def test_at_the_threshold_a_morse_bott_branch_is_stable_although_the_theorem_prints_no_point():
    found = of()
    second = found.branches[1]
    assert found.recovery(second, 4) is Recovery.ALMOST


def test_the_recovery_table_of_the_paper():
    found = of(width=3)
    r1, r3 = found.branches[0], found.branches[-1]
    none, almost, every, open_ = Recovery.NONE, Recovery.ALMOST, Recovery.EVERY, Recovery.OPEN
    assert [found.recovery(r1, n) for n in (2, 3, 5, 6, 7, 9, 10)] == [
        none,
        none,
        open_,
        open_,
        almost,
        almost,
        every,
    ]
    assert [found.recovery(r3, n) for n in (2, 3, 5, 6, 7, 9, 10)] == [
        none,
        none,
        almost,
        almost,
        almost,
        almost,
        every,
    ]


def test_below_a_sufficient_threshold_nothing_is_refused_without_a_proof():
    found = of("exp", width=3, d=1)
    middle = next(b for b in found.branches if not b.morse_bott and b.distinct == 2)
    assert found.separation(middle, middle.separation_size - 1) in (Separation.OPEN, Separation.NOT)
    assert found.separation(middle, middle.rank + 1) is not Separation.NOT


def test_outside_the_theorem_a_degenerate_branch_stays_open():
    found = of("tanh")
    degenerate = next(b for b in found.branches if not b.morse_bott)
    assert found.separation(degenerate, 50) is Separation.OPEN
    assert found.recovery(degenerate, 50) is Recovery.OPEN


def test_the_rank_drops_where_all_output_weights_of_a_free_block_vanish():
    found = of(width=3)
    generic = found.rank_at({"a": [1, 2, -2], "w": [[1, 2], [3, 1], [3, 1]]}).rank
    special = found.rank_at({"a": [1, 0, 0], "w": [[1, 2], [3, 1], [3, 1]]}).rank
    branch = next(b for b in found.branches if b.distinct == 2 and b.labels == (0, 1, 1))
    assert (generic, special, found.rank(branch), found.rank(branch, 4)) == (6, 4, 6, 4)


def test_hidden_biases_leave_the_list_open_and_say_so():
    found = of("tanh", input_bias=True, d=1)
    assert found.complete is Status.UNDECIDED
    # One neuron of two inputs with bias: optimistic size 3, separation 4 and 5 for two neurons on one input.
    assert found.optimistic_size == 3
    assert sorted({b.separation_size for b in found.branches}) == [4, 5]


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Problem.deep(3, "tanh", "square"), "two_layer"),
        (Problem.two_layer(None, "square"), "general activation"),
        (Problem.two_layer("tanh", "logistic"), "loss logistic"),
        (Problem.two_layer("tanh", "square", weight_decay="1/10"), "weight decay"),
        (Problem.two_layer("tanh", "square", vector_output=True), "several outputs"),
        (Problem.two_layer("relu", "square"), "not analytic"),
        (Problem.two_layer("softplus", "square"), "linear odd part"),
        (Problem.two_layer("exp", "square", input_bias=True), "multiplies the neuron"),
    ],
)
def test_an_assumption_that_fails_is_named(problem, words):
    with pytest.raises(AssumptionError, match=words):
        global_minima(problem, 2, teacher_width=1, inputs=1)


@pytest.mark.parametrize(
    ("a", "w", "name", "words"),
    [
        ([1, 2], [[1], [1]], "exp", "equal input weights"),
        ([1, 2], [[1], [-1]], "tanh", "opposite input weights"),
        ([0], [[1]], "exp", "output weight 1"),
        ([1], [[0]], "exp", "input weights of neuron 1"),
    ],
)
def test_a_teacher_that_is_not_minimal_is_refused(a, w, name, words):
    with pytest.raises(AssumptionError, match=words):
        taught(a, w, name)


def test_opposite_weights_are_two_neurons_of_a_generic_activation():
    assert taught([1, 2], [[1], [-1]], "exp").count() == 2


def test_missing_and_contradicting_sizes_are_refused():
    with pytest.raises(ValueError, match="say teacher_width"):
        global_minima(Problem.two_layer("exp", "square"), 2)
    weights = (("a", (Integer(1),)), ("w", ((Integer(1),),)))
    problem = Problem.two_layer("exp", "square", teacher=Teacher(weights=weights))
    with pytest.raises(ValueError, match="leave inputs out"):
        global_minima(problem, 2, inputs=3)
    with pytest.raises(ValueError, match="at most as many"):
        of(width=1, m0=2)


def test_a_bias_of_the_teacher_needs_one_of_the_student():
    weights = (("a", (Integer(1),)), ("w", ((Integer(1),),)), ("c", Integer(1)))
    with pytest.raises(AssumptionError, match="give the student this bias"):
        global_minima(Problem.two_layer("exp", "square", teacher=Teacher(weights=weights)), 2)


def test_the_plain_form_has_the_branches_by_kind():
    content = of().to_dict()
    assert [b["copies"] for b in content["branches"]] == [1, 2]
    assert content["intersections"] == {0: 2}
