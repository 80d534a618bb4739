"""Recall and CPU time of the searches for critical points against other programs, the reference being what anyone found and is certified.

    python benchmarks/critical_points.py [--quick] [--only WORD] [--limit SECONDS] [--exact SECONDS] [--jobs N]

Polynomial networks of two to six unknowns and tanh networks with biases, with and without weight decay, on six samples of rational data.  Every
isolated point that any method returns is polished, shown to exist by interval arithmetic (Krawczyk) and counted once for its orbit under
permutations and signs of neurons; recall is the fraction of these orbits that a method has.  Every method runs in a process of its own, one
thread, with compiled functions at hand; what it starts counts as well.  The rivals have ten times the CPU time of the search of the
workbench, within limits, and stop earlier after three rounds without anything new.  Those that are not installed are left out; the extras
``bench`` and ``bench-topsearch`` hold them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from _critical_cases import Case, Plain, cases, same
from _critical_rivals import RIVALS, load, missing
from _processes import Task, off_the_clock, run_all
from _timing import agree, machine
from torch import Tensor

from workbench.errors import NotThere
from workbench.exact import exact_landscape
from workbench.landscape import Landscape

#: Times the CPU time of the search that a rival has, at least so many seconds; seconds of SymPy; rounds without news.
FACTOR, LEAST, SYMPY, STALE = 10.0, 3.0, 3.0, 3
OURS = ("exact", "search")


@dataclass
class Outcome:
    """What one method gave on one problem."""

    rows: Tensor
    seconds: float
    stopped: bool
    says: dict[str, Any] = field(default_factory=dict)
    isolated: list[Tensor] = field(default_factory=list)
    copies: int = 0
    off: int = 0


def ours(case: Case, name: str, seconds: float, send: Callable[..., None]) -> None:
    """Run one of the two ways of the workbench, as ``workbench critical`` does."""
    try:
        if name == "search":
            found = case.analysis.critical(method="numeric")
        else:
            answer = exact_landscape(case.analysis, required=True, seconds=seconds)
            assert isinstance(answer, Landscape)  # a reason would have been raised
            found = answer
    except NotThere as reason:
        send([], True, {"reason": str(reason)})
        return
    points = [
        p for p in found.points if p.width == case.m
    ]  # narrower ones are listed where they are embedded
    sets = [p.manifold_dimension for p in points if p.inertia.zero]
    known = found.completeness.status if found.completeness else found.to_dict()["completeness"]["status"]
    says = {
        "complete": str(known),
        "isolated": sum(p.inertia.zero == 0 for p in points),
        "certified": sum(str(p.status) == "CERTIFIED" for p in points if p.inertia.zero == 0),
        "sets": sorted(sets, key=lambda k: (k is None, k)),
        "ways": sum(len(s.at_infinity) for s in found.searches),
        "runs": sum(s.runs_to_infinity for s in found.searches),
    }
    rows = [case.system.pack(p.theta).tolist() for p in points if p.inertia.zero == 0]
    send(rows, True, says)


def warm() -> None:
    """Import what the workbench needs, which is not counted for anyone."""
    for case in cases("z^2 m=1, 1 input", False):
        case.analysis.critical(method="numeric")
        case.analysis.critical(method="auto")


def check(case: Case) -> None:
    """Compile, and stop where the functions of the rivals are not those of the workbench."""
    theta = torch.linspace(-1, 1, case.system.P, dtype=torch.float64)
    compiled = case.system.value_gradient_hessian(theta[None])
    for own, given in zip(compiled, Plain(case).all(theta.numpy()), strict=True):
        agree(case.name, torch.as_tensor(given, dtype=torch.float64), own[0])


def rival(case: Case, name: str, seconds: float, send: Callable[..., None]) -> None:
    """Run a rival until three rounds have brought nothing new; the limit ends its process."""
    with off_the_clock():
        load(name)
    images: list[Tensor] = []
    rows: list[list[float]] = []
    stale, news = 0, False
    for found, over in RIVALS[name](case):
        with off_the_clock():
            new = [[float(entry) for entry in row] for row in found]
            theta = torch.tensor(new, dtype=torch.float64).reshape(-1, case.system.P)
            rows += new
            news |= bool(case.new(list(case.sorted(theta)[0]), images))
        if over:
            stale, news = (0 if news else stale + 1), False
        send(rows, stale >= STALE or name == "SymPy", {})
        if stale >= STALE or name == "SymPy":
            return


def outcome(case: Case, task: Task) -> Outcome:
    """Read what a process left."""
    rows = torch.tensor(task.rows, dtype=torch.float64).reshape(-1, case.system.P)
    return Outcome(rows, task.seconds, task.stopped, task.says)


def judge(case: Case, found: dict[str, Outcome]) -> list[tuple[Tensor, Any]]:
    """Sort the points of every method, and return the certified orbits of all of them together, each with its certificate."""
    images: list[Tensor] = []
    union: list[tuple[Tensor, Any]] = []
    for one in found.values():
        points, one.copies, one.off = case.sorted(one.rows)
        for row in case.new(list(points), images):
            union.append((row, case.certified(row)))
        one.isolated = list(points)
    open_ones = sum(shown is None for _, shown in union)
    if open_ones:
        print(f"{case.name}: {open_ones} points that look isolated are not certified", file=sys.stderr)
    return [(row, shown) for row, shown in union if shown is not None and shown.inertia.zero == 0]


def recall(case: Case, one: Outcome, union: Sequence[tuple[Tensor, Any]]) -> tuple[int, Counter[int]]:
    """Return how many orbits of the union a method has, and those that it misses by index."""
    missed: Counter[int] = Counter()
    for row, shown in union:
        images = case.orbits.images(row)
        every = row[None] if images is None else images
        if not any(same(point, every) for point in one.isolated):
            missed[shown.inertia.negative] += 1
    return len(union) - missed.total(), missed


def by_index(counts: Counter[int]) -> str:
    """Write numbers of orbits by index."""
    return " + ".join(str(counts[k]) for k in range(max(counts) + 1)) if counts else "0"


def cell(case: Case, one: Outcome | None, union: Sequence[tuple[Tensor, Any]]) -> str:
    """Write recall, what is missed and the CPU time of a method."""
    if one is None:
        return "-"
    time_spent = f"{one.seconds:.1f} s" if one.stopped else f"> {one.seconds:.0f} s"
    if "reason" in one.says:
        return f"no answer, {time_spent}"
    if not union:
        return time_spent
    had, _ = recall(case, one, union)
    return f"{100 * had // len(union)} %, {time_spent}"


def morse(case: Case, union: Sequence[tuple[Tensor, Any]]) -> str:
    """Return the sum of (-1)^index over all copies, 1 for a complete list with weight decay."""
    if not case.decay:
        return "-"
    return str(
        sum((-1) ** shown.inertia.negative * (case.orbits.orbit_size(row) or 0) for row, shown in union)
    )


def reach(case: Case, found: dict[str, Outcome]) -> float:
    """Return the half side of the box that the rivals get: room around every isolated point that the workbench lists."""
    rows = torch.cat([one.rows for one in found.values()])
    return max(2.0, 1.25 * float(rows.abs().max())) if len(rows) else 3.0


def _spent(found: dict[str, Outcome], names: Sequence[str]) -> float:
    """Return the CPU time up to the first method that answers, those that fail before included."""
    total = 0.0
    for name in names:
        if name in found:
            total += found[name].seconds
            if "reason" not in found[name].says:
                break
    return max(total, 1e-3)


def main() -> None:
    """Run everything and print both tables and what they come to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four networks instead of seventeen")
    parser.add_argument("--only", default="", help="problems whose name holds this")
    parser.add_argument(
        "--limit",
        type=float,
        help="CPU seconds of a rival at most; 50, quick 20, by default; a fifth without decay",
    )
    parser.add_argument("--exact", type=float, help="seconds of the exact engines; 40, quick 15, by default")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes at a time")
    options = parser.parse_args()
    limit = options.limit or (20.0 if options.quick else 50.0)
    exact = options.exact or (15.0 if options.quick else 40.0)
    torch.set_num_threads(1)
    begun = time.time()
    warm()
    absent = {name: missing(name) for name in RIVALS}
    rivals = [name for name in RIVALS if not absent[name]]
    problems = list(cases(options.only, options.quick))
    tasks: dict[tuple[int, str], Task] = {}
    for k, case in enumerate(problems):
        check(case)
        for name in OURS if case.polynomial else OURS[1:]:
            tasks[k, name] = Task(ours, (case, name, exact))
    run_all(list(tasks.values()), options.jobs)
    found = [
        {name: outcome(case, tasks[k, name]) for name in OURS if (k, name) in tasks}
        for k, case in enumerate(problems)
    ]
    later: dict[tuple[int, str], Task] = {}
    for k, case in enumerate(problems):
        case.box = reach(case, found[k])
        most = limit if case.decay else limit / 5  # sets of copies have no end
        given = min(most, max(LEAST, FACTOR * found[k]["search"].seconds))
        for name in rivals:
            if name != "SymPy" or case.polynomial:
                seconds = min(SYMPY, limit) if name == "SymPy" else given
                later[k, name] = Task(rival, (case, name, seconds), seconds)
    run_all(list(later.values()), options.jobs)
    for (k, name), task in later.items():
        found[k][name] = outcome(problems[k], task)
    unions = [judge(case, some) for case, some in zip(problems, found, strict=True)]
    print(f"## Critical points\n\n{machine('cpu')}; {options.jobs} processes at a time\n")
    points_table(problems, found, unions, [*OURS, *rivals])
    sets_table(problems, found, rivals)
    summary(problems, found, unions, rivals)
    for text in filter(None, absent.values()):
        print(f"\n{text}.")
    print(f"\nIn all {(time.time() - begun) / 60:.1f} minutes on the wall.")


def points_table(
    problems: Sequence[Case],
    found: Sequence[dict[str, Outcome]],
    unions: Sequence[Sequence[tuple[Tensor, Any]]],
    methods: Sequence[str],
) -> None:
    """Print the isolated points."""
    print(
        "Isolated points: certified orbits of index 0 + 1 + 2 ..., the sum of (-1)^index over all copies (1 for a complete list with"
        " weight decay), how many of the isolated points that the workbench lists are CERTIFIED, what it says of completeness, and recall and CPU"
        " time of each method; > where the limit ended it.\n"
    )
    print(f"| problem | unknowns | orbits | Morse | certified | complete | {' | '.join(methods)} |")
    print(f"|---|---|---|---|---|---|{'---|' * len(methods)}")
    for case, some, union in zip(problems, found, unions, strict=True):
        best = some.get("exact")
        best = some["search"] if best is None or "reason" in best.says else best
        counts = Counter(shown.inertia.negative for _, shown in union)
        row = [case.name, case.system.P, by_index(counts), morse(case, union)]
        says = best.says
        row += (
            ["failed", "-"]
            if "reason" in says
            else [f"{says['certified']} of {says['isolated']}", says["complete"]]
        )
        row += [cell(case, some.get(name), union) for name in methods]
        print(f"| {' | '.join(map(str, row))} |")
    for case, some in zip(problems, found, strict=True):
        for name in OURS:
            if name in some and "reason" in some[name].says:
                print(f"\nNo answer of {name} on {case.name}: {some[name].says['reason']}.")


def sets_table(problems: Sequence[Case], found: Sequence[dict[str, Outcome]], rivals: Sequence[str]) -> None:
    """Print what there is besides isolated points where there is no weight decay."""
    if all(case.decay for case in problems):
        return
    print(
        "\nWithout weight decay: critical sets of the workbench by dimension (those of exact algebra, else of the search), its ways to infinity"
        " and the starts that took them, and what the rivals return instead: points of such sets, each as if it were isolated, and points that are"
        " not critical (edges of the box, places on the way to infinity).\n"
    )
    names = [name for name in rivals if name != "SymPy"]
    print(
        f"| problem | dimensions | ways to infinity | {' | '.join(names)} |\n|---|---|---|{'---|' * len(names)}"
    )
    for case, some in zip(problems, found, strict=True):
        if case.decay:
            continue
        exact = some.get("exact")
        best = some["search"] if exact is None or "reason" in exact.says else exact
        if "reason" in best.says or "reason" in some["search"].says:
            print(f"| {case.name} | failed |{' - |' * (len(names) + 1)}")
            continue
        sets = Counter("?" if k is None else str(k) for k in best.says["sets"])
        shown = ", ".join(f"{k} ({n})" if n > 1 else k for k, n in sorted(sets.items())) or "none"
        says = some["search"].says
        row = [case.name, shown, f"{says['ways']} ({says['runs']} starts)"]
        row += [f"{some[name].copies} copies, {some[name].off} not critical" for name in names]
        print(f"| {' | '.join(row)} |")


def summary(
    problems: Sequence[Case],
    found: Sequence[dict[str, Outcome]],
    unions: Sequence[Sequence[tuple[Tensor, Any]]],
    rivals: Sequence[str],
) -> None:
    """Say where the target, every orbit of every index at a tenth of the time, is met and where not."""
    counted = [k for k, union in enumerate(unions) if union]
    print(f"\nOf {len(problems)} problems {len(counted)} have isolated points.")
    for name in [*OURS, *rivals]:
        tried = [k for k in counted if name in found[k] and "reason" not in found[k][name].says]
        lost = {k: recall(problems[k], found[k][name], unions[k])[1] for k in tried}
        whole = [k for k in tried if not lost[k]]
        missed = sum(lost.values(), Counter())
        text = f"- {name}: all orbits in {len(whole)} of {len(tried)}"
        silent = sum(name in found[k] for k in counted) - len(tried)
        text += f", no answer in {silent}" if silent else ""
        text += f", {missed.total()} orbits missed (index 0 + 1 + ...: {by_index(missed)})" if missed else ""
        if name not in OURS and tried:
            for words, own in (("search", ("search",)), ("workbench as it is called, exact first", OURS)):
                spent = [_spent(found[k], own) for k in tried]
                ratios = [found[k][name].seconds / one for k, one in zip(tried, spent, strict=True)]
                slow = sum(r >= FACTOR or bool(lost[k]) for k, r in zip(tried, ratios, strict=True))
                text += f"; CPU time against the {words}: median {median(ratios):.1f}, at least {FACTOR:.0f} or orbits missed in {slow}"
        print(text)
        if name in OURS:
            for k in tried:
                if lost[k]:
                    print(f"  - missed in {problems[k].name}: index 0 + 1 + ...: {by_index(lost[k])}")
    wrong = [c.name for c, union in zip(problems, unions, strict=True) if c.decay and morse(c, union) != "1"]
    print(f"- Morse sum 1 with weight decay: {'in all' if not wrong else 'not in ' + '; '.join(wrong)}.")


if __name__ == "__main__":
    main()
