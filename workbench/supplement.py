"""Critical points that follow from those found, or are found beside them: images under symmetries of the data, and branch and prune.

A search asks for them after its last round (``Supplement``); the finished list is checked once more (``closure_check``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from derivations.claim import Status
from derivations.interval import IntervalProblem
from derivations.problem import Problem
from derivations.sample_symmetries import SampleSymmetry, interval_symmetries, sample_symmetries
from numerics.critical import confined, trained
from numerics.orbits import Orbits
from numerics.sample_moves import moved
from numerics.spectrum import spectrum
from workbench.completeness import CLOSURE, Check, completeness_of
from workbench.exhaustive import Exhausted, exhaust, not_exhaustible
from workbench.network import SAME_POINT
from workbench.results import CriticalPoint

if TYPE_CHECKING:
    from numerics.compile import CompiledSystem
    from workbench.analysis import Analysis
    from workbench.landscape import Landscape

__all__ = ["Supplement", "closure_check", "judged", "missing_images", "symmetries_of"]

#: Trained parameters up to which branch and prune is tried unasked, and the seconds it then has.
FEW_PARAMETERS, SECONDS = 4, 10.0


def symmetries_of(analysis: Analysis) -> tuple[SampleSymmetry, ...]:
    """Return the symmetries of the data of a study that map its critical points to critical points."""
    problem = analysis.problem
    if isinstance(problem, IntervalProblem):
        return interval_symmetries(problem)
    if isinstance(problem, Problem) and analysis.dataset is not None:
        return sample_symmetries(problem, analysis.dataset.x, analysis.dataset.y)
    return ()


@dataclass
class Supplement:
    """What a search asks for further points.

    Parameters
    ----------
    analysis : Analysis
        Of the study.
    seconds : float or None
        Time for branch and prune at each width; None tries it only with up to ``FEW_PARAMETERS`` parameters, for ``SECONDS``.
    """

    analysis: Analysis
    seconds: float | None = None
    exhausted: dict[int, Exhausted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.symmetries = symmetries_of(self.analysis)

    def __call__(self, system: CompiledSystem, width: int, known: list[Tensor]) -> list[tuple[Tensor, str]]:
        """Return further critical points (P,), each with how it was found."""
        images = [image for _, _, image in missing_images(system, self.symmetries, known) or ()]
        found = [(image, "symmetry") for image in images]
        pruned = self._pruned(system, width, [*known, *images])
        found += [(theta, "branch and prune") for theta in pruned]
        return found

    def _pruned(self, system: CompiledSystem, width: int, known: Sequence[Tensor]) -> list[Tensor]:
        if width in self.exhausted:
            return []
        seconds = self.seconds
        if seconds is None and confined(system) and len(trained(system)) <= FEW_PARAMETERS:
            seconds = SECONDS
        if not seconds:
            return []
        at = width if self.analysis.problem.kind == "two_layer" else None
        reason = not_exhaustible(self.analysis, at)
        if reason:
            if self.seconds:  # asked for: say why it is not done
                self.exhausted[width] = Exhausted(
                    str(Status.UNDECIDED), None, 0, 0, 1.0, [], "it does not apply", reason
                )
            return []
        points = [_record(system, width, theta, k) for k, theta in enumerate(known, start=1)]
        with self.analysis.progress.stage(f"searching all parameters of width {width} exhaustively", 0.0):
            self.exhausted[width] = exhaust(self.analysis, points, seconds=seconds, width=at)
        return [system.pack(blocks) for blocks in self.exhausted[width].missing]


def _record(system: CompiledSystem, width: int, theta: Tensor, number: int) -> CriticalPoint:
    value, gradient, hessian = system.value_gradient_hessian(theta)
    shape = spectrum(hessian)
    return CriticalPoint(
        id=f"m{width}.{number}",
        width=width,
        theta={name: part.tolist() for name, part in system.unpack(theta).items()},
        value=float(value),
        gradient_norm=float(gradient.norm()),
        eigenvalues=shape.eigenvalues,
        inertia=shape.inertia,
    )


def missing_images(
    system: CompiledSystem, symmetries: Sequence[SampleSymmetry], known: Sequence[Tensor]
) -> list[tuple[int, SampleSymmetry, Tensor]] | None:
    """Return the images of isolated points (P,) that lie on the orbit of none of them, each orbit once.

    Each comes with the number of its point and the symmetry; None where orbits are not known or too long to be compared.
    """
    if not symmetries or not known:
        return []
    orbits, listed = Orbits(system), list(known)
    missing: list[tuple[int, SampleSymmetry, Tensor]] = []
    for number, theta in enumerate(known):
        for symmetry in symmetries:
            image = moved(system, symmetry, theta)
            copies = orbits.images(image)
            if copies is None:
                return None
            size = SAME_POINT * (1 + float(image.abs().max()))
            apart = torch.cdist(copies, torch.stack(listed), p=float("inf"))
            if float(apart.min()) > size:
                missing.append((number, symmetry, image))
                listed.append(image)
    return missing


def closure_check(
    analysis: Analysis, points: Sequence[CriticalPoint], width: int, symmetries: Sequence[SampleSymmetry]
) -> Check | None:
    """Return whether the isolated points of one width are closed under the symmetries of the data; None without such symmetries or points."""
    if not symmetries:
        return None
    isolated = [p for p in points if p.width == width and p.origin is None and p.inertia.zero == 0]
    if not isolated:
        return None
    system: Any = analysis.compile(width if analysis.problem.kind in ("two_layer", "interval") else None)
    known = [system.pack(point.theta) for point in isolated]
    missing = missing_images(system, symmetries, known)
    words = "; ".join(symmetry.words for symmetry in symmetries[:3])
    words += f" and {len(symmetries) - 3} more" if len(symmetries) > 3 else ""
    if missing is None:
        return Check(
            CLOSURE,
            width,
            Status.UNDECIDED,
            f"the orbits of the points are too long to be compared ({words})",
        )
    compared = len(known) * len(symmetries)
    if missing:
        which = ", ".join(f"that of {isolated[k].id} under {s.words}" for k, s, _ in missing[:3])
        text = f"the list is incomplete: {len(missing)} images of its points are not in it ({which})"
        return Check(CLOSURE, width, Status.REFUTED, text, compared - len(missing), compared)
    added = sum(p.found_by == "symmetry" for p in isolated)
    text = f"{words}: the images of all {len(known)} isolated entries are in the list"
    text += f", {added} of which were found as images only" if added else ""
    return Check(CLOSURE, width, Status.SUPPORTED, text, compared, compared)


def judged(analysis: Analysis, landscape: Landscape) -> Landscape:
    """Return a finished landscape with what is known of the completeness of its list."""
    symmetries = symmetries_of(analysis)
    checks = (closure_check(analysis, landscape.points, s.width, symmetries) for s in landscape.searches)
    closed = {check.width: check for check in checks if check is not None and check.width is not None}
    return replace(landscape, completeness=completeness_of(analysis, landscape, closed))
