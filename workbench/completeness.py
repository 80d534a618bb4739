r"""What is known of the completeness of a list of critical points: proofs, checks that can refute it, statistics of the starts.

*Proofs* are exact algebra, exact classifications, and branch and prune; each names itself.

*Morse count.*  Let the risk be smooth and coercive on :math:`\mathbb{R}^P`, and its critical points finitely many and nondegenerate, c_k of index k.  A
sublevel set above all critical values is compact and a deformation retract of :math:`\mathbb{R}^P`, so

.. math:: \sum_k (-1)^k c_k = 1, \qquad \sum_{j \leq k} (-1)^{k-j} c_j \geq (-1)^k \quad (0 \leq k \leq P).

Every point of an orbit counts.  A nondegenerate critical manifold C (Morse and Bott) adds :math:`(-1)^{index} \chi(C)` to the sum; that is 0 for
a compact one of odd dimension, as is an orbit of a rotation group.  Both conditions are necessary for a complete list, not sufficient.

*Closure.*  Permutations and signs of neurons are divided out of the list; symmetries of the data (``derivations.sample_symmetries``) are not, and map
critical points to critical points.  An image that is not in the list shows that it is incomplete.

*Statistics* of the random starts (``numerics.unseen``) bound how many starts lead to a point that is not listed.  They are silent about points that
hardly any start leads to, as saddles of high index may be.  The list is called SUPPORTED by them only if every entry was met twice at least and
the bound, with starts that did not converge counted as doubtful, is below ``MOST_UNSEEN``.

Source: Milnor, Morse Theory (1963), sections 3 and 5; Bott (1954).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

from derivations.claim import Status
from derivations.coercive import Coercive, coercive
from derivations.interval import IntervalProblem
from numerics.unseen import unseen
from workbench.populations import is_population
from workbench.results import CriticalPoint, WidthSearch
from workbench.searches import is_smooth

if TYPE_CHECKING:
    from workbench.analysis import Analysis
    from workbench.exhaustive import Exhausted
    from workbench.landscape import Landscape

__all__ = ["Check", "Completeness", "completeness_of", "morse_checks", "start_checks"]

#: Fraction of starts that may lead elsewhere, with 95 % confidence, where the list is called SUPPORTED.
MOST_UNSEEN = 0.01
MORSE, INEQUALITIES, CLOSURE = "Morse sum", "Morse inequalities", "symmetries of the data"
STARTS, NUMBER, PRUNE = "starts kept apart", "number of entries", "branch and prune"
_SHOWN = (Status.PROVED, Status.CERTIFIED)
_MOST_NAMES = 6


@dataclass(frozen=True)
class Check:
    """One check of a list: what it says in one sentence, with the numbers; UNDECIDED where it does not apply, and why."""

    name: str
    width: int | None
    status: Status
    statement: str
    computed: Any = None
    expected: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "status": str(self.status)}


@dataclass(frozen=True)
class Completeness:
    """Status of the whole list, by what, the number of entries where it is proved, those listed, and the checks."""

    status: Status
    method: str
    expected: int | None
    found: int
    checks: tuple[Check, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "status": str(self.status),
            "method": self.method,
            "expected": self.expected,
            "found": self.found,
            "checks": [check.to_dict() for check in self.checks],
        }


def completeness_of(analysis: Analysis, landscape: Landscape, closed: Mapping[int, Check]) -> Completeness:
    """Return what is known of the completeness of a landscape's list; ``closed`` are the checks of its closure by width."""
    base = landscape.proof()
    found = sum(point.width > 0 for point in landscape.points)
    checks: list[Check] = []
    stated: list[tuple[Status, str]] = []
    for search in landscape.searches:
        points = [p for p in landscape.points if p.width == search.width]
        more = [*_morse(analysis, landscape, points, search.width)]
        more += [closed[search.width]] if search.width in closed else []
        more += _pruned(landscape.exhausted.get(search.width), points, search.width)
        more += start_checks(search, points)
        checks += more
        stated.append(_stated(search, points, more))
    refuted = [check for check in checks if check.status is Status.REFUTED]
    if refuted:
        text = "; ".join(check.statement for check in refuted)
        return Completeness(Status.UNDECIDED, text, None, found, tuple(checks))
    if base is not None:
        return Completeness(
            Status(base["status"]), base["method"], base["expected"], base["found"], tuple(checks)
        )
    order = (Status.UNDECIDED, Status.SUPPORTED, Status.PROVED)
    status = min((s for s, _ in stated), key=order.index, default=Status.UNDECIDED)
    text = _joined(
        [(search.width, words) for search, (_, words) in zip(landscape.searches, stated, strict=True)]
    )
    return Completeness(status, text, found if status is Status.PROVED else None, found, tuple(checks))


def _stated(
    search: WidthSearch, points: Sequence[CriticalPoint], checks: Sequence[Check]
) -> tuple[Status, str]:
    """Return the status of the list of one width, and the sentence that says why."""
    for check in checks:
        if check.name == PRUNE and check.status is Status.PROVED:
            return Status.PROVED, check.statement
    starts = next((c for c in checks if c.name == STARTS), None)
    if starts is None:
        return Status.UNDECIDED, "no bound on the number of critical points is known here"
    if starts.computed is None:
        return Status.UNDECIDED, f"multi-start search; {starts.statement}"
    doubts = [*_doubts(search, points)]
    if not doubts:
        return Status.SUPPORTED, f"multi-start search; {starts.statement}"
    return Status.UNDECIDED, f"multi-start search; {starts.statement}; but {', and '.join(doubts)}"


def _doubts(search: WidthSearch, points: Sequence[CriticalPoint]) -> Iterator[str]:
    """Yield what speaks against taking the statistics of the starts for evidence of completeness."""
    seen = unseen(search.hits)
    if not seen.kinds:
        yield "no start led to a critical point"
    if seen.once:
        yield f"{seen.once} of {seen.kinds} entries {'was' if seen.once == 1 else 'were'} met by one start only"
    met = set(search.hits)
    missed = [p.id for p in points if p.origin is None and p.found_by != "embedding" and p.id not in met]
    if missed:
        yield f"{_names(missed)} {'was' if len(missed) == 1 else 'were'} met by no random start"
    if not seen.once and not missed and seen.kinds and seen.cautious > MOST_UNSEEN:
        if seen.bound <= MOST_UNSEEN:
            yield f"{seen.open} of {seen.apart} starts did not converge, and it is open where they lead"
        else:
            yield f"a list is called supported only up to {_percent(MOST_UNSEEN)}"


def _pruned(found: Exhausted | None, points: Sequence[CriticalPoint], width: int) -> list[Check]:
    """Return what branch and prune shows of the list of one width, if it was tried."""
    if found is None:
        return []
    text = found.method
    if found.status != Status.PROVED:
        text += f": {found.reason}" if found.reason else ""
        return [Check(PRUNE, width, Status.UNDECIDED, text, len(points), None)]
    if found.missing:
        text += f"; {len(found.missing)} of the {found.expected} orbits were found by it alone"
    if found.expected != len(points):
        text += f": {found.expected} orbits, and {len(points)} are listed; the list is not brought into line with them"
        return [Check(PRUNE, width, Status.UNDECIDED, text, len(points), found.expected)]
    return [Check(PRUNE, width, Status.PROVED, text, len(points), found.expected)]


def start_checks(search: WidthSearch, points: Sequence[CriticalPoint]) -> list[Check]:
    """Return what the random starts of one width say of points that are not listed; nothing where there were none."""
    if not search.hits:
        return []
    seen, width = unseen(search.hits), search.width
    if not seen.first:
        text = f"{seen.starts} random starts are too few for half of them to be kept apart"
        return [Check(STARTS, width, Status.UNDECIDED, text, None, MOST_UNSEEN)]
    known = [p.id for p in points]
    small = seen.bound <= MOST_UNSEEN
    text = (
        f"with {_percent(seen.confidence)} confidence at most {_percent(seen.bound)} of random starts lead to a critical point that is not"
        f" listed (of {seen.apart} starts kept apart {seen.new or 'none'} led to one that the first {seen.first} had not met)"
    )
    number = (
        f"random starts met {seen.kinds} of {len(known)} entries, {seen.once or 'none'} of them once only"
    )
    if seen.once > 1:
        number += f": they can meet at least {seen.number:.3g} by Chao's estimate (approximate interval {seen.low:.3g} to {seen.high:.3g})"
    whole = seen.kinds == len(known) and not seen.once and seen.kinds
    return [
        Check(STARTS, width, Status.SUPPORTED if small else Status.UNDECIDED, text, seen.bound, MOST_UNSEEN),
        Check(
            NUMBER, width, Status.SUPPORTED if whole else Status.UNDECIDED, number, seen.kinds, seen.number
        ),
    ]


def _morse(
    analysis: Analysis, landscape: Landscape, points: Sequence[CriticalPoint], width: int
) -> list[Check]:
    problem = analysis.problem
    network = problem.problem if isinstance(problem, IntervalProblem) else problem
    if is_population(problem) and not isinstance(problem, IntervalProblem):
        return [_no_sum(width, "the inputs are Gaussian, for which growth of the risk is not examined")]
    if not is_smooth(network):
        return [_no_sum(width, "the risk has kinks")]
    apart = not any(pair[0].startswith(f"m{width}.") for pair in landscape.not_told_apart)
    return morse_checks(points, coercive(problem), width, told_apart=apart)


def morse_checks(
    points: Sequence[CriticalPoint], growth: Coercive, width: int, *, told_apart: bool = True
) -> list[Check]:
    """Return the Morse sum of a list of orbits, and the Morse inequalities.

    Parameters
    ----------
    points : sequence of CriticalPoint
        All entries of one width.
    growth : Coercive
        Whether the risk is coercive; it is taken to be smooth.
    width : int
        For the record.
    told_apart : bool
        Whether certified entries are shown to be different; without that nothing is refuted.
    """
    if not growth.holds:
        return [_no_sum(width, growth.reason)]
    counts: dict[int, int] = {}
    continua = 0
    for point in points:
        reason = _uncountable(point)
        if reason:
            return [_no_sum(width, reason)]
        if point.inertia.zero:  # a compact manifold of odd dimension, of Euler characteristic 0
            continua += 1
        else:
            index = point.inertia.negative
            counts[index] = counts.get(index, 0) + (point.orbit_size or 0)
    total = sum((-1) ** index * count for index, count in counts.items())
    doubtful = [p.id for p in points if p.status not in _SHOWN]
    rigorous = told_apart and not doubtful
    count = sum(counts.values())
    many = f"{'all ' if count != 1 else 'the '}{count} isolated point{'s' if count != 1 else ''}"
    if continua:
        many += f" (with 0 for {continua} compact orbit{'s' if continua > 1 else ''} of odd dimension)"
    if total == 1:
        text = f"the signs (-1)^index of {many} sum to 1, as those of a complete list must ({growth.reason})"
        status = Status.CERTIFIED if rigorous else Status.SUPPORTED
    else:
        text, status = _broken(
            f"the signs (-1)^index of {many} sum to {total}, those of a complete list to 1",
            rigorous,
            doubtful,
        )
    checks = [Check(MORSE, width, status, text, total, 1)]
    if not continua:
        checks.append(_inequalities(counts, width, rigorous, doubtful))
    return checks


def _inequalities(counts: Mapping[int, int], width: int, rigorous: bool, doubtful: Sequence[str]) -> Check:
    alternating: list[int] = []
    for index in range(max(counts, default=0) + 1):
        alternating.append(counts.get(index, 0) - (alternating[-1] if alternating else 0))
    bounds = [(-1) ** index for index in range(len(alternating))]
    short = [k for k, (u, v) in enumerate(zip(alternating, bounds, strict=True)) if u < v]
    numbers = ", ".join(f"{counts.get(k, 0)} of index {k}" for k in range(len(alternating)))
    if not short:
        status = Status.CERTIFIED if rigorous else Status.SUPPORTED
        return Check(INEQUALITIES, width, status, f"they hold for {numbers}", alternating, bounds)
    what = f"{numbers} break the Morse inequality of index {short[0]}"
    text, status = _broken(what, rigorous, doubtful)
    return Check(INEQUALITIES, width, status, text, alternating, bounds)


def _broken(what: str, rigorous: bool, doubtful: Sequence[str]) -> tuple[str, Status]:
    if rigorous:
        return f"the list is incomplete: {what}", Status.REFUTED
    why = (
        f"the index of {_names(doubtful)}, not certified, is wrong"
        if doubtful
        else "an entry is listed twice"
    )
    return f"{what}: points are missing, or {why}", Status.UNDECIDED


def _no_sum(width: int, reason: str) -> Check:
    return Check(MORSE, width, Status.UNDECIDED, f"does not apply: {reason}", None, None)


def _uncountable(point: CriticalPoint) -> str:
    """Say why an entry does not enter a Morse sum; empty where it does."""
    zeros = point.inertia.zero
    if zeros == 0:
        return "" if point.orbit_size is not None else f"the copies of {point.id} are not counted"
    symmetry = 0 if point.zeros is None else point.zeros.symmetry
    if symmetry == zeros and zeros % 2:
        return ""
    if symmetry == zeros:
        return f"{point.id} is an orbit of even dimension, whose Euler characteristic is not known"
    return f"{point.id} is degenerate"


def _joined(parts: Sequence[tuple[int, str]]) -> str:
    """Write one sentence for all widths that share it."""
    same: dict[str, list[int]] = {}
    for width, words in parts:
        same.setdefault(words, []).append(width)
    if len(same) <= 1:
        return next(iter(same), "nothing was searched")
    return "; ".join(
        f"width{'s' if len(widths) > 1 else ''} {', '.join(map(str, widths))}: {words}"
        for words, widths in same.items()
    )


def _names(ids: Sequence[str]) -> str:
    shown = list(ids[:_MOST_NAMES])
    if len(ids) > _MOST_NAMES:
        return f"{', '.join(shown)} and {len(ids) - _MOST_NAMES} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _percent(fraction: float) -> str:
    """Write a fraction as per cent, rounded up to two digits: it is an upper bound."""
    if fraction <= 0:
        return "0 %"
    unit = 10.0 ** (floor(log10(100 * fraction)) - 1)
    return f"{ceil(100 * fraction / unit - 1e-9) * unit:.3g} %"
