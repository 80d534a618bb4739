r"""Which critical points of a network over an interval with an affine target are minima: published lists against the exact strata.

The strata, with their inertia, come from ``derivations.affine_target_sets`` and ``derivations.quadratic_sets``; at a point of each the
gradient and the value are computed anew in exact arithmetic.

Source: Cheridito, Jentzen, Rossmannek, arXiv:2103.10922, Theorem 2.4.

>>> from sympy import Integer
>>> from derivations.activations import activation
>>> from derivations.affine_statements import X, network
>>> minima_of_relu(network(activation("relu"), Integer(0), Integer(1), X), 1).status.name
'PROVED'
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer

from derivations.affine_statements import dead_edges
from derivations.affine_target import KinkFunction, kink_functions, tidy
from derivations.affine_target_sets import affine_target_sets, shape_of
from derivations.claim import Status
from derivations.critical_sets import CriticalSets
from derivations.interval import IntervalProblem
from derivations.interval_point import interval_point
from derivations.quadratic_sets import quadratic_sets
from derivations.theorem import Finding, zero_finding

__all__ = ["index", "level_of", "minima_of_relu", "quadratic_saddles", "saddles_of_leaky", "thresholds"]


def level_of(interval: IntervalProblem) -> Expr:
    """Return alpha^2 D^3 / 12, the loss of the best constant."""
    slope = interval.target.coeff(interval.x, 1)
    return tidy(slope**2 * (interval.upper - interval.lower) ** 3 / 12)


def _criticality(interval: IntervalProblem, sets: CriticalSets) -> tuple[dict[str, Expr], int]:
    """Return the exact gradient entries that are not 0, and value differences, over one point on each stratum with f != y."""
    left, count = {"gradients": Integer(0)}, 0
    for group in sets.sets:
        if group.least:
            continue
        for stratum in group.strata:
            point = interval_point(interval, stratum.theta)
            left |= {f"{stratum.title}: gradient {i}": u for i, u in enumerate(point.gradient) if u != 0}
            left[f"{stratum.title}: value"] = tidy(point.value - group.value)
            count += 1
    return left, count


def minima_of_relu(interval: IntervalProblem, width: int) -> Finding:
    """Show that only dead neurons make minima that are not global, for a ReLU network; what a semi-inactive neuron does at an end is derived."""
    sets = affine_target_sets(interval, width)
    left, count = _criticality(interval, sets)
    for group in sets.sets:
        for stratum in () if group.least else group.strata:
            dead = group.function == "constant" and set(stratum.neurons) == {"dead"}
            if (stratum.kind == "minimum") != dead:
                text = f"{group.function}: {stratum.title} is a {stratum.kind}"
                return Finding(
                    Status.REFUTED, text, evidence={"theta": {k: str(v) for k, v in stratum.theta.items()}}
                )
    edges = dead_edges()
    if edges.status is not Status.PROVED:
        return edges
    reason = f"{count} strata at width {width}: exact gradients are 0, the inertia has a negative eigenvalue except where all neurons are dead"
    return zero_finding(
        left, reason, steps=edges.steps, computed=f"{count} strata", expected="minima: all neurons dead"
    )


def saddles_of_leaky(interval: IntervalProblem, width: int) -> Finding:
    """Show that every critical point of a leaky ReLU network away from the target is a saddle."""
    sets = affine_target_sets(interval, width)
    left, count = _criticality(interval, sets)
    for group in sets.sets:
        for stratum in () if group.least else group.strata:
            if stratum.kind != "saddle":
                return Finding(Status.REFUTED, f"{group.function}: {stratum.title} is a {stratum.kind}")
    return zero_finding(
        left,
        f"{count} strata at width {sets.width}, each with an exact negative eigenvalue",
        computed=f"{count} strata",
    )


def quadratic_saddles(interval: IntervalProblem, width: int) -> Finding:
    """Compare the critical points of the activation z^2 away from the target with the published ones."""
    sets = quadratic_sets(interval, width)
    left, count = _criticality(interval, sets)
    middle = (interval.lower + interval.upper) / 2
    for group in sets.sets:
        if group.least:
            left["least value"] = group.value
            continue
        left["level"] = tidy(group.value - level_of(interval))
        for stratum in group.strata:
            if stratum.kind != "saddle":
                return Finding(Status.REFUTED, f"{group.function}: {stratum.title} is a {stratum.kind}")
            for j, (a, w, b) in enumerate(zip(*(stratum.theta[name] for name in "awb"), strict=True)):
                forced = (
                    a * w,
                    a * b if w == 0 else Integer(0),
                    tidy(b + w * middle) if a == 0 != w else Integer(0),
                )
                left |= {f"{stratum.title}, neuron {j}, condition {i}": tidy(u) for i, u in enumerate(forced)}
    attained = any(group.least for group in sets.sets)
    if attained != (width > 1):
        return Finding(
            Status.REFUTED, f"at width {width} the infimum 0 is {'' if attained else 'not '}attained"
        )
    words = "attained" if attained else "not attained"
    return zero_finding(
        left,
        f"{count} strata at width {width}, all saddles; the infimum 0 is {words}",
        computed=str(level_of(interval)),
    )


def index(functions: Sequence[KinkFunction]) -> Finding:
    """Compare the exact inertia with one neuron at each kink with (n, n, n + 1)."""
    rows, bent = [], [f for f in functions if f.kinks]
    if not bent:
        return Finding(Status.UNDECIDED, "no critical function has a kink")
    for f in bent:
        n = len(f.kinks)
        if f.inertia != (n, n, n + 1):
            return Finding(
                Status.REFUTED,
                f"{n} kinks: the inertia (-, 0, +) is {f.inertia}",
                computed=str(f.inertia),
                expected=f"({n}, {n}, {n + 1})",
            )
        rows.append(f"{', '.join(f.orientations)}: {f.inertia}")
    steps = (
        r"$2 r(q_j) v_j/|w_j|\,(q_j, 1)(q_j, 1)^\top$ from the moving kink is in the $(w_j, b_j)$ block; signs are counted by Descartes' rule.",
    )
    return Finding(
        Status.PROVED,
        "; ".join(rows),
        steps,
        residual="0",
        computed=str(bent[-1].inertia),
        expected="(n, n, n + 1)",
    )


def thresholds(interval: IntervalProblem, width: int) -> Finding:
    """The two losses below which a limit has to be a global minimum, from the list of critical values."""
    values = [f.value for f in kink_functions(shape_of(interval), width)]
    smallest = min(values, key=float)
    found = {
        "smallest positive value": tidy(smallest - level_of(interval) / (2 * (width // 2) + 1) ** 4),
        "largest value": tidy(max(values, key=float) - level_of(interval)),
    }
    steps = (
        r"The limit of a bounded run is critical and its loss is below every loss of the run. Below the smallest positive critical value it is $0$.",
        r"Below $\alpha^2 D^3/12$ what remains are $0$ and $n$-kink saddles with $n \ge 2$, which are strict.",
    )
    return zero_finding(
        found,
        f"for ReLU at width {width}: {smallest} and {level_of(interval)}",
        steps=steps,
        computed=str(smallest),
    )
