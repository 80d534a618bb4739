"""Exact classifications of a population's critical points, as records of a landscape.

Where every critical point over an interval is known in exact strata, no search is made: each stratum is an entry, by a point on
it, and the list is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from derivations.affine_target_sets import affine_target_sets
from derivations.claim import Status
from derivations.critical_sets import CriticalSet, CriticalSets, Stratum
from derivations.errors import AssumptionError
from derivations.quadratic_sets import quadratic_sets
from numerics.spectrum import Inertia, spectrum
from workbench.results import CriticalPoint

if TYPE_CHECKING:
    from derivations.interval import IntervalProblem
    from numerics.interval_system import IntervalSystem

__all__ = ["MAX_WIDTH", "entries", "exact_sets", "sets_content"]

#: Largest width at which strata are listed; their number grows fast.
MAX_WIDTH = 3


def exact_sets(interval: IntervalProblem, width: int) -> CriticalSets | None:
    """Return all critical points at a width in exact strata, None where they are not known for such a problem."""
    if width > MAX_WIDTH:
        return None
    for solve in (affine_target_sets, quadratic_sets):
        try:
            return solve(interval, width)
        except AssumptionError:
            continue
    return None


def entries(system: IntervalSystem, found: CriticalSets) -> tuple[CriticalPoint, ...]:
    """Return an entry for each stratum, in the order of the values."""
    pairs = [(group, stratum) for group in found.sets for stratum in group.strata]
    return tuple(_entry(system, found.width, rank, *pair) for rank, pair in enumerate(pairs, start=1))


def _entry(
    system: IntervalSystem, width: int, rank: int, group: CriticalSet, stratum: Stratum
) -> CriticalPoint:
    blocks = {name: [[u] for u in row] if name == "w" else row for name, row in stratum.theta.items()}
    theta = _converted(blocks, float)
    flat = [float(u) for name in "awb" for u in stratum.theta[name]] + [float(stratum.theta["c"])]
    _, gradient, hessian = system.value_gradient_hessian(
        torch.tensor(flat, dtype=system.dtype, device=system.device)
    )
    measured, down = spectrum(hessian), stratum.inertia[0] > 0
    return CriticalPoint(
        id=f"m{width}.{rank}",
        width=width,
        theta=theta,
        value=float(group.value),
        gradient_norm=float(gradient.norm()),
        eigenvalues=measured.eigenvalues,
        inertia=Inertia(*stratum.inertia),
        largest_zero=measured.largest_zero,
        smallest_nonzero=measured.smallest_nonzero,
        stratum=f"{group.function}: {stratum.title}",
        copies=(1,) * width,
        manifold_dimension=stratum.dimension,
        unexplained_zeros=stratum.inertia[1] - stratum.dimension,
        orbit_size=None if stratum.dimension else stratum.arrangements,
        found_by="exact",
        cells=tuple((Inertia(*u), 0) for u in stratum.others),
        global_minimum=group.least,
        status=Status.PROVED,
        decided=None if down else stratum.kind,
        reason="" if down else stratum.reason,
        exact=_converted(blocks, str),
    )


def _converted(value: Any, convert: Any) -> Any:
    if isinstance(value, dict):
        return {name: _converted(u, convert) for name, u in value.items()}
    return [_converted(u, convert) for u in value] if isinstance(value, list) else convert(value)


def sets_content(found: Sequence[CriticalSets]) -> list[dict[str, Any]]:
    """Return the JSON form: for each network function its value, its strata, and its points without classical Hessian."""
    return [
        {
            "width": one.width,
            "method": one.method,
            "notes": list(one.notes),
            "sets": [
                {
                    "function": group.function,
                    "value": str(group.value),
                    "least": group.least,
                    "strata": [_stratum(stratum) for stratum in group.strata],
                    "not_classical": [dict(vars(edge)) for edge in group.boundary],
                }
                for group in one.sets
            ],
        }
        for one in found
    ]


def _stratum(stratum: Stratum) -> dict[str, Any]:
    names = ("negative", "zero", "positive")
    return {
        "neurons": list(stratum.neurons),
        "arrangements": stratum.arrangements,
        "dimension": stratum.dimension,
        "inertia": dict(zip(names, stratum.inertia, strict=True)),
        "other_inertias": [dict(zip(names, u, strict=True)) for u in stratum.others],
        "kind": stratum.kind,
        "reason": stratum.reason,
    }
