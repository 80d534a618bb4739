r"""Every claim that applies to a study, checked: derivations by an oracle, identities by proof, the landscape by numbers.

The symbolic statements (symmetries, conserved quantities, embeddings) come with their own status; a number never makes a
claim PROVED, and a claim that could not be checked is UNDECIDED.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from derivations.claim import Claim, Relation, Status
from derivations.interval import IntervalProblem
from derivations.statement import Statement
from numerics.compile import CompiledSystem
from numerics.tolerances import CRITICAL_GRADIENT
from workbench.analysis import Analysis
from workbench.errors import NotThere
from workbench.landscape import Landscape
from workbench.population_checks import check_population, level_claims
from workbench.populations import is_population
from workbench.results import EmbeddingCheck, Inertia
from workbench.study import TwoLayerModel
from workbench.teacher_claims import teacher_claims
from workbench.verify import Verification, check_derivatives, check_integrators
from workbench.wide_claims import found_points, wide_claims

__all__ = ["VERIFY_WEIGHT", "claim_of", "landscape_claims", "verify"]

#: Share of the run time, where a landscape has weight 1.
VERIFY_WEIGHT = 0.15
#: Relative rounding of a difference of two computed risks: eight units in the last place.
ROUNDING = 8 * 2.0**-52


def verify(analysis: Analysis, landscape: Landscape | NotThere) -> Verification:
    """Check what applies to the study of an analysis, and its landscape; without one, that is UNDECIDED and says why.

    Raises
    ------
    StudyError
        If there is no study, or no data.
    """
    study = analysis.study
    topics = analysis.statements.items()
    claims = [claim_of(s) for topic, listed in topics for s in listed if not _absent(topic, s)]
    widths: Sequence[int | None] = (None,)
    if study is not None and isinstance(study.model, TwoLayerModel):
        widths = study.landscape.widths
    seed = study.landscape.seed if study is not None else 0
    with analysis.progress.stage("verifying the derivations", VERIFY_WEIGHT) as update:
        for position, width in enumerate(widths):
            name = "derivation" if width is None else f"derivation, width {width}"
            update(position / len(widths), name)
            system = analysis.compile(width)
            check = check_population if is_population(analysis.problem) else check_derivatives
            claims += [replace(c, name=name) for c in check(system, seed=seed)]
            claims += [] if is_population(analysis.problem) else teacher_claims(system)
            claims += _embedded_points(system, landscape, seed)
        if analysis.dtype == "float64":
            update(0.8, "order of the integrators")
            claims += check_integrators(analysis.compile(widths[0]), seed=seed)
    if isinstance(landscape, NotThere):
        statement = "The critical points of the study are found and classified."
        evidence = {"reason": str(landscape)}
        claims.append(Claim("landscape", "critical points", statement, evidence=evidence))
    else:
        claims += landscape_claims(landscape)
        if isinstance(analysis.problem, IntervalProblem):
            claims += level_claims(analysis.problem, landscape.points)
    return Verification(tuple(claims), study.name if study is not None else "problem", analysis)


def _embedded_points(system: CompiledSystem, landscape: Landscape | NotThere, seed: int) -> list[Claim]:
    """Return the claims about wide and deep images of a critical point of this width; none where the width has no such point."""
    listed = landscape if isinstance(landscape, Landscape) else None
    if is_population(system.problem) or (listed is None and system.problem.kind != "deep"):
        return []
    points = found_points(system, listed, seed)
    if not points and listed is not None:
        return []
    width = "" if listed is None else f", width {system.sizes['m']}"
    return [replace(c, name=c.name + width) for c in wide_claims(system, points, seed)]


def claim_of(statement: Statement) -> Claim:
    """Return the claim a symbolic statement makes, with its derivation and residuals as evidence."""
    residuals = {name: str(value) for name, value in statement.residuals.items()}
    nonzero = [value for value in residuals.values() if value != "0"]
    return Claim(
        name="symbolic",
        claim=statement.name,
        statement=statement.statement,
        source=statement.source,
        status=statement.status,
        residual=(nonzero or ["0"])[0] if residuals else None,
        evidence={"steps": list(statement.steps), "residuals": residuals},
    )


def _absent(topic: str, statement: Statement) -> bool:
    """Whether a statement says that the network has no such symmetry: a property, and no claim that failed."""
    return topic == "symmetries" and statement.status is Status.REFUTED


def landscape_claims(landscape: Landscape) -> list[Claim]:
    """Return what the records of a landscape must fulfil, with the worst residual of each."""
    return [*_points(landscape), *_embeddings(landscape.checks), *_descents(landscape)]


def _points(landscape: Landscape) -> Iterator[Claim]:
    points = [p for p in landscape.points if p.width]
    if not points:
        return
    worst = max(points, key=lambda p: p.gradient_norm)
    yield Claim(
        "landscape",
        "criticality",
        r"At every listed point $\nabla R(\theta) = 0$.",
        relation=Relation.EQUAL,
        status=_within(worst.gradient_norm, CRITICAL_GRADIENT),
        computed=worst.gradient_norm,
        expected=0.0,
        residual=worst.gradient_norm,
        tolerance=CRITICAL_GRADIENT,
        evidence={"points": len(points), "worst": worst.id},
    )
    strata = [p for p in points if p.stratum != "irreducible"]
    if strata:
        left = [p.id for p in strata if p.manifold_dimension is None]
        yield Claim(
            "landscape",
            "nullity",
            r"On every listed stratum the nullity of $\nabla^2 R$ equals the dimension of the stratum.",
            source="zhang2024saddle",
            status=Status.UNDECIDED if left else Status.SUPPORTED,
            computed=len(strata) - len(left),
            expected=len(strata),
            residual=len(left),
            evidence={"unexplained": left},
        )


def _embeddings(checks: Sequence[EmbeddingCheck]) -> Iterator[Claim]:
    if not checks:
        return
    worst = max(checks, key=lambda c: max(c.output_error, c.gradient_norm, c.intertwining))
    residual = max(worst.output_error, worst.gradient_norm, worst.intertwining)
    yield Claim(
        "landscape",
        "embedding",
        r"Embedded points keep the outputs and are critical, and $\nabla^2 R_{\mathrm{wide}}\, A = B\, \nabla^2 R$.",
        source="zhang2022hierarchical",
        status=_within(residual, worst.tolerance),
        computed=residual,
        expected=0.0,
        residual=residual,
        tolerance=worst.tolerance,
        evidence={"embeddings": len(checks), "worst": f"{worst.source} -> {worst.target}"},
    )
    shrunk = [c for c in checks if _decreases(c.inertia_before, c.inertia_after)]
    yield Claim(
        "landscape",
        "inertia",
        r"No component of the inertia $(n_-, n_0, n_+)$ decreases along an embedding.",
        source="zhang2022hierarchical",
        relation=Relation.AT_LEAST,
        status=_unless(shrunk),
        computed=len(checks) - len(shrunk),
        expected=len(checks),
        residual=len(shrunk),
        evidence={"counterexamples": [f"{c.source} -> {c.target}" for c in shrunk]},
    )
    predicted = [c for c in checks if c.predicted is not None]
    wrong = [c for c in predicted if c.predicted != c.inertia_after]
    if predicted:
        yield Claim(
            "landscape",
            "splitting law",
            r"The inertia of an embedded point is the one predicted from the narrow network: from $V_k$ and the inner"
            r" Hessian $U_k$ for a split, from $v$ for a null neuron.",
            status=_unless(wrong),
            computed=len(predicted) - len(wrong),
            expected=len(predicted),
            residual=len(wrong),
            evidence={"counterexamples": [f"{c.source} -> {c.target}" for c in wrong]},
        )


def _descents(landscape: Landscape) -> Iterator[Claim]:
    descents = [edge for edge in landscape.edges if edge.kind == "descent"]
    drops = [edge.details["loss_drop"] for edge in descents]
    if not drops:
        return
    # The difference of two risks is known to the rounding of the larger: a smaller one is no drop, and no counterexample.
    open_ones = [
        edge
        for edge in descents
        if abs(edge.details["loss_drop"]) <= ROUNDING * abs(landscape[edge.source].value)
    ]
    fine = min(drops) > 0 and landscape.descents_form_no_cycle()
    worst = min((edge.details["loss_drop"] for edge in descents if edge not in open_ones), default=0.0)
    status = (
        Status.REFUTED
        if worst < 0
        else Status.UNDECIDED
        if open_ones
        else Status.SUPPORTED
        if fine
        else Status.REFUTED
    )
    yield Claim(
        "landscape",
        "descents",
        r"Every descent lowers the risk, so that the descents form no cycle.",
        relation=Relation.AT_LEAST,
        status=status,
        computed=min(drops),
        expected=0.0,
        residual=max(0.0, -min(drops)),
        tolerance=0.0,
        evidence={
            "descents": len(drops),
            "smallest drop": min(drops),
            "within rounding": [f"{edge.source} -> {edge.target}" for edge in open_ones],
        },
    )


def _within(residual: float, tolerance: float) -> Status:
    return Status.SUPPORTED if residual <= tolerance else Status.REFUTED


def _unless(against: Sequence[EmbeddingCheck]) -> Status:
    """Counterexamples refute if the signs of their eigenvalues are beyond doubt; else nothing is decided."""
    if not against:
        return Status.SUPPORTED
    return Status.REFUTED if any(check.clear for check in against) else Status.UNDECIDED


def _decreases(before: Inertia, after: Inertia) -> bool:
    change = after - before
    return min(change.negative, change.zero, change.positive) < 0
