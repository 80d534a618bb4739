r"""How much a random search may have missed: the unseen mass and the number of unseen kinds, from the kinds its starts led to.

Starts are independent draws; start :math:`t` leads to the kind :math:`j` with probability :math:`p_{tj}` (or to none).  They need not be
distributed alike: a design with strata, as scales taken in turn, is one of fixed probabilities that differ from start to start.

*Kept apart.*  Let F be the kinds met by the first half of the starts, and K the number of starts of the second half that lead to a
kind outside F.  Given the first half, K is a sum of independent zero-one variables with some mean :math:`nq`, and *q* is the unseen mass
of F: the fraction of starts of that design that lead outside F.  The upper bound of Clopper and Pearson is the q with
:math:`P(\mathrm{Bin}(n, q) \leq K) = \delta`.  For unequal probabilities it stays a bound, since below the mean less one such a sum
is at most as often below a level as the binomial variable (Hoeffding 1956, Theorem 4), and :math:`P(\mathrm{Bin} \leq nq) > 1/4`
(Greenberg, Mohri 2014) keeps levels of probability :math:`\delta < 1/4` there; for :math:`K > n/2` the bound is 1.  Kinds found otherwise only
make the list longer than F, so q bounds what the list misses.  Nothing is assumed of the number of kinds or of their probabilities.

*All starts together.*  With :math:`f_1` kinds met once and :math:`f_2` met twice in n starts, :math:`f_1 / n` is Good's and Turing's estimate of
the unseen mass.  A distribution-free bound from it (McAllester, Schapire 2000) adds :math:`(2\sqrt 2 + \sqrt 3) \sqrt{\ln(3/\delta)/n}`, a
fifth for 2000 starts; the starts kept apart give 0.003.  Chao's :math:`S + f_1(f_1-1)/(2(f_2+1))`, times :math:`(n-1)/n`, estimates a lower bound of the
number of kinds; its interval is approximate.

None of this speaks of kinds that almost no start leads to.

Source: Clopper, Pearson (1934); Hoeffding (1956); Good (1953); Chao (1984, 1987); Greenberg, Mohri (2014); McAllester, Schapire (2000).

>>> unseen(["a", "b"] * 50).bound == upper_bound(0, 48)  # the halves hold whole turns of the design
True
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = ["INFINITY", "NOWHERE", "WITHOUT_POINT", "Unseen", "chao", "unseen", "upper_bound"]

#: Ends of starts that are no kind, but no doubt either: a run to infinity, and a stop where nothing is critical.
INFINITY, NOWHERE = "infinity", "nowhere"
#: What the hits say of starts that led to no point, by their outcome in ``numerics.critical.SearchResult``.
WITHOUT_POINT = {2: INFINITY, 4: NOWHERE}
#: Level of the confidence bounds, and the quantile of the normal law of its two-sided interval.
CONFIDENCE, QUANTILE = 0.95, 1.959963984540054
#: The design of the search repeats after so many starts (three scales, two iterations); halves hold whole turns.
TURN = 6
#: To which a bound is computed, from above.
RESOLUTION = 1e-14


@dataclass(frozen=True)
class Unseen:
    """What the starts say of kinds that were not met.

    Attributes
    ----------
    starts, first, apart, new, open : int
        Starts; those of the first half, and those kept apart; how many of these led to a kind that the first half had not met, and how many did not converge.
    bound, cautious : float
        Upper confidence bound of the fraction of starts that lead to a kind that is not listed; and of that fraction with the starts
        that do not converge added, as if they all might.
    kinds, once, twice : int
        Kinds met, met by exactly one start, and by exactly two.
    mass : float
        Good's and Turing's estimate of the unseen mass.
    number, low, high : float
        Chao's estimate of a lower bound of the number of kinds, and its approximate interval.
    confidence : float
        Level of the bound and of the interval.
    """

    starts: int
    first: int
    apart: int
    new: int
    open: int
    bound: float
    cautious: float
    kinds: int
    once: int
    twice: int
    mass: float
    number: float
    low: float
    high: float
    confidence: float = CONFIDENCE


def upper_bound(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper confidence bound (Clopper, Pearson) of a mean probability, 1 where more than half succeed.

    Raises
    ------
    ValueError
        If the numbers are no successes of trials, or the confidence is not above 3/4 and below 1.

    Examples
    --------
    >>> round(upper_bound(0, 1000), 6), round(1 - 0.05 ** (1 / 1000), 6)
    (0.002991, 0.002991)
    """
    if not 0 <= successes <= trials:
        raise ValueError(
            f"found {successes} successes of {trials} trials; accepted: 0 to the number of trials"
        )
    if not 0.75 < confidence < 1:
        raise ValueError(f"confidence {confidence}: accepted are numbers above 3/4 and below 1")
    if 2 * successes > trials or trials == 0:
        return 1.0
    level, low, high = math.log1p(-confidence), successes / trials, 1.0
    chosen = [
        math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1)
        for i in range(successes + 1)
    ]
    while (
        high - low > RESOLUTION
    ):  # the upper end is kept, so that rounding does not make the bound too small
        middle = (low + high) / 2
        if _log_at_most(chosen, trials, middle) > level:
            low = middle
        else:
            high = middle
    return high


def _log_at_most(chosen: Sequence[float], n: int, q: float) -> float:
    """Return log P(Bin(n, q) < len(chosen)) for 0 < q < 1, from the logarithms of the binomial coefficients."""
    up, down = math.log(q), math.log1p(-q)
    terms = [c + i * up + (n - i) * down for i, c in enumerate(chosen)]
    top = max(terms)
    return top + math.log(math.fsum(math.exp(t - top) for t in terms))


def chao(kinds: int, once: int, twice: int, draws: int) -> tuple[float, float, float]:
    """Return Chao's estimate of a lower bound of the number of kinds, and the ends of its log-normal interval of 95 %.

    The bias-corrected form, which needs no kind met twice; variance as in Chao (1987).

    Examples
    --------
    >>> chao(5, 0, 3, 100)
    (5.0, 5.0, 5.0)
    """
    if draws == 0 or once < 2:
        return (float(kinds),) * 3
    share = (draws - 1) / draws
    hidden = share * once * (once - 1) / (2 * (twice + 1))
    variance = (
        share * once * (once - 1) / (2 * (twice + 1))
        + share**2 * once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
        + share**2 * once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    )
    spread = math.exp(QUANTILE * math.sqrt(math.log1p(variance / hidden**2)))
    return kinds + hidden, kinds + hidden / spread, kinds + hidden * spread


def unseen(hits: Sequence[Hashable | None], confidence: float = CONFIDENCE) -> Unseen:
    """Return what the kinds met by the starts, in their order, say of those not met.

    Parameters
    ----------
    hits : sequence
        For each start the kind it led to, ``INFINITY`` or ``NOWHERE``, or None where it did not converge.
    confidence : float
        Level of the bound.
    """
    counts = Counter(kind for kind in hits if kind not in (None, INFINITY, NOWHERE))
    first = len(hits) // 2 // TURN * TURN
    last = len(hits) - (len(hits) - first) % TURN if first else len(hits)
    known, apart = {*hits[:first], None, INFINITY, NOWHERE}, hits[first:last]
    new, doubtful = sum(kind not in known for kind in apart), sum(kind is None for kind in apart)
    sizes = Counter(counts.values())
    once, twice = sizes[1], sizes[2]
    number, low, high = chao(len(counts), once, twice, counts.total())
    return Unseen(
        starts=len(hits),
        first=first,
        apart=len(apart),
        new=new,
        open=doubtful,
        bound=upper_bound(new, len(apart), confidence),
        cautious=upper_bound(new + doubtful, len(apart), confidence),
        kinds=len(counts),
        once=once,
        twice=twice,
        mass=once / len(hits) if hits else 1.0,
        number=number,
        low=low,
        high=high,
        confidence=confidence,
    )
