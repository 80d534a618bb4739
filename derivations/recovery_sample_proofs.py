r"""Derivations of the claims on samples and flows near global minima: sample sizes, separation, stability, decay.

>>> from derivations.recovery_case import read_inputs
>>> inside, outside = read_inputs("0, 0; 2, 0; 0, 2; 1/2, 3/5").rows, read_inputs("0, 0; 2, 0; 0, 2; 3/2, 8/5").rows
>>> in_convex_position(inside), in_convex_position(outside)
(False, True)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from sympy import Add, Integer, Matrix, Symbol, diff, expand

from derivations.activations import Z
from derivations.claim import Status
from derivations.copied_neuron import copied_neuron, decay_statement
from derivations.errors import AssumptionError
from derivations.global_minima import GlobalMinima
from derivations.interval_minors import full_rank
from derivations.recovery_branches import Branch
from derivations.recovery_case import (
    FOUR,
    Point,
    TeacherNumbers,
    certified_rank,
    counts_of,
    minima_of,
    outputs_at,
    points_of,
    read_four,
    read_teacher,
    tangent_rows,
)
from derivations.recovery_proofs import sizes_of, with_minima
from derivations.sample_verdicts import Recovery, Separation
from derivations.theorem import Finding, Instance, zero_finding

__all__ = [
    "convex_position",
    "energy",
    "flows_end_everywhere",
    "four_configurations",
    "four_samples",
    "four_teacher",
    "in_convex_position",
    "manifold_of_small_samples",
    "morse_bott",
    "recovered",
    "separation",
    "slow_decay",
    "stated_recovery",
    "thresholds",
    "ways_of_separation",
]

#: The published teacher with one neuron and two inputs.
PLANE = read_teacher("3/2 : 2/5, -3/10")


# -- sample sizes ----------------------------------------------------------------------------------------------------


def stated_size(m: Any, m0: Any, r: Any, d: Any, printed: str) -> Any:
    """Return N(r), or what is printed for it in Theorem 5.3 and Corollary 5.1 (erratum E3)."""
    return (m if printed == "E3" else r) + (m + m0 - r) * d


@with_minima
def manifold_of_small_samples(given: Instance, minima: GlobalMinima) -> Finding:
    """Show that the outputs on at most (d+1) m0 samples have independent gradients at every point of Q*.

    At each point some neuron of every teacher weight has an output weight that is not 0, because they add up to that of the teacher.
    """
    teacher, size = given["teacher"], minima.optimistic_size
    n = min(size, counts_of(given)[-1])
    rows = tangent_rows(given["activation"], teacher.w, (True,) * len(teacher.w), points_of(given, n))
    codimension = min(b.codimension for b in minima.branches)
    reason = f"n = {n}: independent gradients at every point; codimension {n} of the set R = 0, at least {codimension} of Q*"
    if not full_rank(rows):
        return Finding(
            Status.UNDECIDED, f"the gradients on these {n} samples are not shown to be independent"
        )
    return Finding(Status.CERTIFIED if n < codimension else Status.UNDECIDED, reason)


def _kinds(given: Instance) -> tuple[tuple[Branch, int], ...]:
    try:
        return minima_of(given).kinds
    except AssumptionError:
        return ()


def thresholds(given: Instance) -> Finding:
    """Derive codimension, order and ends of the separation sizes for all m, m0, r, d."""
    m, m0, r, d = (Symbol(u, positive=True) for u in ("m", "m0", "r", "d"))
    size = stated_size(m, m0, r, d, given["printed"])
    dimension = (m - r) + (r - m0) * d
    residuals = {
        "N(r) = codim": size - (m * (d + 1) - dimension),
        "N(r) - N(r + 1) = d - 1": size - size.subs(r, r + 1) - (d - 1),
        "N(m) = m + m0 d": size.subs(r, m) - (m + m0 * d),
        "N(m0) = m0 + m d": size.subs(r, m0) - (m0 + m * d),
    }
    own = {}
    for b, _ in _kinds(given):
        m, m0, r, deficient, d = sizes_of(minima_of(given), b)
        stated = stated_size(m, m0, r, d, given["printed"])
        own[f"N - codim on r = {r}, l = {deficient}"] = Integer(stated - b.codimension)
    return zero_finding({**own, **{k: expand(v) for k, v in residuals.items()}}, "for all sizes")


def _copies(minima: GlobalMinima, branch: Branch) -> int | None:
    """Return which neuron of the teacher has two copies on a branch without further neurons, None where this is not so."""
    counts = Counter(branch.labels)
    pairs = [u for u, k in counts.items() if k == 2 and 0 <= u < minima.shape.teacher]
    whole = set(counts) == set(range(minima.shape.teacher)) and branch.shape.sign == 0
    return pairs[0] if whole and len(pairs) == 1 and minima.width == minima.shape.teacher + 1 else None


def ways_of_separation(given: Instance, minima: GlobalMinima, branch: Branch, n: int) -> str | None:
    """Return by what the first n inputs are shown to separate a branch almost everywhere: its rank or the order 4; None where they are not."""
    points = points_of(given, n)
    if (
        n >= branch.codimension
        and branch.morse_bott
        and certified_rank(minima, branch, points) == branch.codimension
    ):
        return "rank"
    copied = _copies(minima, branch)
    if copied is not None:
        teacher = given["teacher"]
        try:
            found = copied_neuron(
                given["activation"], teacher.a, teacher.w, points, copied=copied, curvature=2
            )
        except AssumptionError:
            return None
        if found.separated is Separation.SEPARATED:
            return "order 4"
    return None


@with_minima
def separation(given: Instance, minima: GlobalMinima) -> Finding:
    """Show for each kind of branch that N(r) samples of the instance separate it: by the rank, or by the order 4 of the risk."""
    ways, missing = {}, []
    for b, _ in minima.kinds:
        words = f"r = {b.distinct}, l = {b.deficient}, N = {b.separation_size}"
        way = ways_of_separation(given, minima, b, b.separation_size)
        if way is None:
            missing.append(words)
        else:
            ways[words] = way
    listed = "; ".join(f"{k}: {v}" for k, v in ways.items())
    if missing:
        return Finding(Status.UNDECIDED, f"not derived for {'; '.join(missing)}", evidence={"derived": ways})
    return Finding(Status.CERTIFIED, listed, evidence={"derived": ways})


@with_minima
def morse_bott(given: Instance, minima: GlobalMinima) -> Finding:
    """Derive the difference of rank and codimension, and compare the condition on every branch."""
    m, m0, r, l, d = (Symbol(u, positive=True) for u in ("m", "m0", "r", "l", "d"))
    rank, size = r + (r - l) * d, r + (m + m0 - r) * d
    wrong = 0
    for b in minima.branches:
        sizes = sizes_of(minima, b)
        said = 2 * sizes[2] >= sizes[0] + sizes[1] and sizes[3] == 2 * sizes[2] - sizes[0] - sizes[1]
        wrong += said != (b.rank == b.codimension)
    residuals = {
        "rank - N = d (2r - m - m0 - l)": expand(rank - size - d * (2 * r - m - m0 - l)),
        "branches against it": Integer(wrong),
    }
    kinds = ", ".join(
        f"r = {b.distinct}, l = {b.deficient}: {'yes' if b.morse_bott else 'no'}" for b, _ in minima.kinds
    )
    return zero_finding(residuals, kinds)


# -- flows -----------------------------------------------------------------------------------------------------------


def energy(given: Instance) -> Finding:
    r"""Derive :math:`\dot R = -|\nabla R|^2` for the flow as it is stated, for one neuron and one sample."""
    a, w, x, y = (Symbol(u, real=True) for u in ("a", "w", "x", "y"))
    value = given["activation"].expr.subs(Z, w * x)
    slope = given["activation"].derivative(1).subs(Z, w * x)
    r = a * value - y
    turned = 1 if given["printed"] == "E1" else -1
    moved = {a: turned * 2 * r * value, w: -2 * a * r * slope * x}
    risk = r**2
    change = Add(*[diff(risk, u) * v for u, v in moved.items()])
    gradient = Add(*[diff(risk, u) ** 2 for u in moved])
    return zero_finding({"dR/dt + |grad R|^2": expand(change + gradient)}, "for the flow as it is stated")


def flows_end_everywhere(given: Instance) -> Finding:
    """Show that the Jacobian vanishes at no point with R = 0: an output that is not 0 is a sum with a neuron that is not 0."""
    try:
        outputs = outputs_at(given, points_of(given, 1))
    except AssumptionError as error:
        return Finding(Status.UNDECIDED, str(error))
    if 0 in outputs[0]:
        return Finding(Status.UNDECIDED, "the first output of the teacher is not shown to be other than 0")
    steps = (
        r"$0 \neq y_1 = \sum_k a_k \sigma(w_k \cdot x_1)$, so some $\partial f_1/\partial a_k = \sigma(w_k \cdot x_1) \neq 0$ and $\nabla^2 R = 2 J^\top J \neq 0$.",
        "The strong stable manifold of a positive eigenvalue consists of flows that end at the point.",
    )
    return Finding(
        Status.CERTIFIED,
        "y_1 is not 0, so the Hessian has a positive eigenvalue at every point with R = 0",
        steps,
    )


def slow_decay(given: Instance) -> Finding:
    """Derive the reduced flow across two copies, and enclose the squared distance on the samples of the instance."""
    statement = decay_statement()
    if not statement.proved:
        return Finding(Status.UNDECIDED, "the reduced flow was not derived")
    teacher: TeacherNumbers = given["copied"]
    try:
        found = copied_neuron(given["activation"], teacher.a, teacher.w, given["line"], curvature=2)
    except AssumptionError as error:
        return Finding(Status.UNDECIDED, str(error))
    if found.separated is not Separation.SEPARATED or found.distance is None:
        return Finding(
            Status.UNDECIDED, "the squared distance D is not shown to be other than 0 on these inputs"
        )
    return Finding(
        Status.PROVED,
        f"D = {found.distance.evalf(16)}",
        statement.steps,
        residual="0",
        evidence={"squared distance": str(found.distance), "zeros": list(statement.residuals)},
    )


@with_minima
def recovered(given: Instance, minima: GlobalMinima) -> Finding:
    """Compare the table of stable points with what ranks show: separated branches, and manifolds R = 0 that are larger than a branch."""
    entries: list[str] = []
    missing: list[str] = []
    for n in counts_of(given):
        for b, _ in minima.kinds:
            words = f"r = {b.distinct}, l = {b.deficient}, n = {n}"
            said = stated_recovery(given, minima, b, n)
            if said is Recovery.OPEN:
                continue
            way = ways_of_separation(given, minima, b, n)
            larger = n < b.codimension and n <= b.rank and certified_rank(minima, b, points_of(given, n)) == n
            if (said is Recovery.NONE and way) or (said is not Recovery.NONE and larger):
                shown = (
                    f"shown by the {way}: R = 0 is the branch near almost every point"
                    if way
                    else "R = 0 is larger than the branch"
                )
                return Finding(
                    Status.REFUTED,
                    f"{words}, N = {b.codimension}, rank {b.rank}: said is '{said}', {shown}",
                    computed="stable" if way else "not stable",
                    expected=str(said),
                )
            (entries if way or larger else missing).append(f"{words}: {said}")
    if missing:
        return Finding(
            Status.UNDECIDED, f"not derived for {'; '.join(missing)}", evidence={"derived": entries}
        )
    return Finding(Status.CERTIFIED, f"{len(entries)} entries of the table", evidence={"derived": entries})


def stated_recovery(given: Instance, minima: GlobalMinima, branch: Branch, n: int) -> Recovery:
    """Return the entry of the table of stable points; as printed with erratum E2, where n = r + (r - l) d is among 'no point'."""
    if given["printed"] == "E2" and n <= branch.rank:
        return Recovery.NONE
    said = minima.recovery(branch, n)
    return Recovery.ALMOST if said is Recovery.EVERY else said


def convex_position(given: Instance) -> Finding:
    r"""Derive that four inputs separate two copies of an exponential neuron if and only if they are not in convex position.

    Three of the inputs are moved to (0,0), (1,0), (0,1) by an affine map, the fourth to (p,q): an affine map only transforms M as a
    quadratic form, because the affine dependency has the sums 0 of order 0 and 1.
    """
    p, q = Symbol("p", real=True), Symbol("q", real=True)
    dependency_ = (1 - p - q, p, q, Integer(-1))
    points = (Matrix([0, 0]), Matrix([1, 0]), Matrix([0, 1]), Matrix([p, q]))
    form = Matrix.zeros(2, 2)
    for weight, point in zip(dependency_, points, strict=True):
        form += weight * point * point.T
    moments = Matrix.zeros(2, 1)
    for weight, point in zip(dependency_, points, strict=True):
        moments += weight * point
    residuals = {
        "sum of the dependency": expand(Add(*dependency_)),
        "first moments": expand(moments[0] ** 2 + moments[1] ** 2),
        "det M = p q (1 - p - q)": expand(form.det() - p * q * (1 - p - q)),
    }
    steps = (
        r"With $\sigma' = k\sigma$ the vector $\nu$ orthogonal to $\sigma, \sigma' x$ on the inputs is $\lambda_i e^{-k \bar w \cdot x_i}$ with $\sum \lambda_i = 0$, $\sum \lambda_i x_i = 0$, "
        r"and $M = k^2 \sum_i \lambda_i x_i x_i^\top$.",
        r"$\det M$ has the sign of $pq(1-p-q)$: positive if and only if the point $(p,q)$ lies in the triangle or a vertex of it in the triangle of the other three.",
    )
    found = zero_finding(residuals, "for all sets of four points in general position", steps=steps)
    if found.status is not Status.PROVED:
        return found
    verdicts = {}
    for name, inputs in four_configurations(given).items():
        said = four_samples(given, inputs)
        convex = in_convex_position(inputs)
        verdicts[name] = str(said)
        if convex is not None and said is not Separation.OPEN and (said is Separation.NOT) != convex:
            return Finding(
                Status.REFUTED,
                f"{name}: {said}, and the inputs are {'' if convex else 'not '}in convex position",
            )
    return replace(
        found,
        reason=", ".join(f"{k}: {v}" for k, v in verdicts.items()),
        evidence={**found.evidence, "order 4": verdicts},
    )


def four_configurations(given: Instance) -> dict[str, tuple[Point, ...]]:
    """Return the shipped sets of four inputs, and that of the instance."""
    found = {name: read_four(name) for name in FOUR}
    return found if given["four"] in found.values() else {**found, "given": given["four"]}


def four_teacher(given: Instance) -> TeacherNumbers:
    """Return the teacher with one neuron and two inputs: that of the instance, or the published one."""
    own = given["teacher"]
    return own if len(own.a) == 1 and len(own.w[0]) == 2 else PLANE


def four_samples(given: Instance, inputs: tuple[Point, ...]) -> Separation:
    """Return what the order 4 of the risk says of two copies on four inputs."""
    teacher = four_teacher(given)
    try:
        return copied_neuron(given["activation"], teacher.a, teacher.w, inputs, curvature=2).separated
    except AssumptionError:
        return Separation.OPEN


def in_convex_position(points: tuple[Point, ...]) -> bool | None:
    """Say whether four points of the plane are in convex position, by the signs of their affine dependency; None on a common line of three."""
    signs = []
    for i in range(4):
        rest = [points[j] for j in range(4) if j != i]
        signs.append((-1) ** i * Matrix([[1, *u] for u in rest]).det())
    if any(u == 0 for u in signs):
        return None
    return sum(bool(u > 0) for u in signs) == 2
