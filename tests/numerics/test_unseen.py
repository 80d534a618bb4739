"""Bounds of what a random search has not met: against the binomial law of mpmath, closed forms, and searches whose unseen mass is known."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import mpmath
import pytest

from numerics.unseen import INFINITY, chao, unseen, upper_bound

#: Simulated searches of each law, and how far below the level their coverage may be: three standard errors of 95 % of so many.
TRIALS = 600
ROOM = 3 * math.sqrt(0.95 * 0.05 / TRIALS)


@pytest.mark.parametrize(("successes", "trials"), [(0, 6), (0, 1000), (1, 60), (3, 500), (40, 90), (7, 2000)])
def test_the_bound_is_where_the_binomial_law_has_the_level(successes: int, trials: int) -> None:
    bound = upper_bound(successes, trials)
    with mpmath.workdps(40):
        q = mpmath.mpf(bound)
        below = mpmath.betainc(trials - successes, successes + 1, 0, 1 - q, regularized=True)
        assert abs(below - mpmath.mpf("0.05")) < 1e-12
    assert below <= 0.05 * (1 + 1e-9)


def test_without_successes_the_bound_has_a_closed_form() -> None:
    for trials in (6, 60, 1000):
        assert upper_bound(0, trials, 0.99) == pytest.approx(1 - 0.01 ** (1 / trials), rel=1e-12)


def test_more_successes_or_fewer_trials_raise_the_bound() -> None:
    for low, high in pairwise(upper_bound(k, 100) for k in range(51)):
        assert low < high
    assert upper_bound(51, 100) == upper_bound(0, 0) == 1
    assert upper_bound(2, 50) > upper_bound(2, 100)


def test_impossible_counts_and_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="found 3 successes of 2 trials"):
        upper_bound(3, 2)
    with pytest.raises(ValueError, match="above 3/4 and below 1"):
        upper_bound(0, 10, 0.5)


LAWS = {
    "equal": [1 / 40] * 40,
    "geometric": [0.5 ** (k + 1) for k in range(30)],
    "one rare": [0.5, 0.497, 0.003],
    "many rare": [0.8] + [0.2 / 400] * 400,
}


@pytest.mark.parametrize("law", LAWS)
def test_the_bound_covers_the_unseen_mass_of_searches_with_known_probabilities(law: str) -> None:
    generator, weights, covered = random.Random(7), LAWS[law], 0
    kinds = range(len(weights))
    for _ in range(TRIALS):
        hits = generator.choices(kinds, weights, k=120)
        met = set(hits)
        mass = sum(w for k, w in enumerate(weights) if k not in met) / sum(weights)
        covered += mass <= unseen(hits).bound
    assert covered >= (0.95 - ROOM) * TRIALS


def test_the_bound_of_the_first_half_is_kept_where_it_is_tight() -> None:
    """Not the mass that the whole list misses but that of the first half: there the level of 95 % is nearly attained."""
    generator, weights, covered = random.Random(3), [0.5, 0.47, 0.03], 0
    for _ in range(TRIALS):
        hits = generator.choices(range(3), weights, k=120)
        mass = sum(w for k, w in enumerate(weights) if k not in set(hits[:60]))
        covered += mass <= unseen(hits).bound
    assert covered >= (0.95 - ROOM) * TRIALS


def test_strata_of_unequal_probabilities_keep_the_level() -> None:
    """The rare kind is met from one of the six strata only, with six times the probability."""
    generator, covered = random.Random(5), 0
    share = 0.012
    for _ in range(TRIALS):
        hits = [int(j % 6 == 5 and generator.random() < 6 * share) for j in range(240)]
        mass = 0.0 if 1 in hits[:120] else share
        covered += mass <= unseen(hits).bound
    assert covered >= (0.95 - ROOM) * TRIALS


def test_good_and_turing_estimate_the_unseen_mass() -> None:
    generator, weights = random.Random(11), LAWS["geometric"]
    errors = []
    for _ in range(TRIALS):
        hits = generator.choices(range(30), weights, k=60)
        met = set(hits)
        errors.append(unseen(hits).mass - sum(w for k, w in enumerate(weights) if k not in met))
    mean = sum(errors) / TRIALS
    deviation = math.sqrt(sum((e - mean) ** 2 for e in errors) / TRIALS)
    # The bias is the difference of (1 - p)^(n-1) and (1 - p)^n, weighted with p: below 1 / n.
    exact = sum(p * (1 - p) ** 59 - p * (1 - p) ** 60 for p in weights)
    assert abs(mean - exact) <= 4 * deviation / math.sqrt(TRIALS)


def test_chao_is_the_published_estimate_and_stays_below_the_number_of_kinds_on_average() -> None:
    # By hand: 10 kinds, 4 once, 2 twice, 50 draws: 0.98 * 4 * 3 / (2 * 3) = 1.96.
    number, low, high = chao(10, 4, 2, 50)
    assert number == pytest.approx(11.96)
    assert 10 < low < number < high
    generator, weights, total = random.Random(2), [4.0] * 60 + [1.0] * 240, 0.0
    for _ in range(100):
        total += unseen(generator.choices(range(300), weights, k=300)).number
    assert 150 < total / 100 < 300


def test_chao_covers_the_number_of_kinds_that_are_equally_likely() -> None:
    generator, covered = random.Random(13), 0
    for _ in range(400):
        found = unseen(generator.choices(range(40), k=90))
        covered += found.low <= 40 <= found.high
    assert covered / 400 > 0.85  # the interval is approximate


def test_infinity_is_no_kind_and_starts_that_do_not_converge_are_doubtful() -> None:
    hits = ["a", INFINITY, None, "a", "a", "a"] * 20
    found = unseen(hits)
    assert (found.kinds, found.once, found.new, found.first, found.apart, found.open) == (1, 0, 0, 60, 60, 10)
    assert found.bound == upper_bound(0, 60)
    assert found.cautious == upper_bound(10, 60)


def test_a_kind_first_met_by_a_start_kept_apart_is_new() -> None:
    hits = ["a"] * 60 + ["b"] + ["a"] * 59
    assert unseen(hits).new == 1
    assert unseen(["b", *hits[1:]]).new == 0


def test_few_starts_say_nothing() -> None:
    assert unseen([]).bound == 1
    assert unseen(["a", "a", "b"]).bound == 1
