r"""From descents and strings to records: edges, channels, barriers.

Along the gradient flow :math:`\dot\theta = -\nabla R` the action is the loss drop: from one critical point to the other

.. math:: \tfrac12 \int_{-\infty}^{\infty} \bigl(\lvert\dot\theta\rvert^2 + \lvert\nabla R\rvert^2\bigr)\, dt = \int -\nabla R \cdot \dot\theta\, dt
   = R(\text{source}) - R(\text{target}),

and every other path between them, at any speed, has at least this action, since :math:`\tfrac12\lvert\dot\theta + \nabla R\rvert^2 \ge 0`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from derivations.claim import Status
from workbench.connections import NEAR, RTOL, SAMPLED, STEP_OFF, Descent
from workbench.graph_queries import Merge
from workbench.graph_sheet import ENDS_AGREE, levels
from workbench.results import Channel, CriticalPoint, Edge

if TYPE_CHECKING:
    from workbench.catalogue import Key

__all__ = ["Barrier", "Fan", "channel", "descent_edge", "gathered", "judged_barriers"]

Fan = list[tuple["Key", "Key | None", Descent]]
"""Descents of one or several points: from where, to which entry (None: to none), and how."""


def gathered(fan: Fan) -> Fan:
    """Return the descents to list: all along eigendirections, and of the drawn ones the first to each end that no other has.

    Each is given the share of the drawn directions from its source that have its end, and their number.  Ends without an entry are one
    where they level off at the same risk.
    """
    level = levels([descent.value for _, _, descent in fan], ENDS_AGREE)
    ends: list[Hashable] = [
        (source, target) if target is not None else (source, descent.outcome, number)
        for (source, target, descent), number in zip(fan, level, strict=True)
    ]
    drawn = [descent.departure.direction == SAMPLED for _, _, descent in fan]
    known = {end for end, free in zip(ends, drawn, strict=True) if not free}
    out: Fan = []
    for (source, target, descent), end, free in zip(fan, ends, drawn, strict=True):
        if free and end in known:
            continue
        known.add(end)
        count = sum(f and s is source for (s, _, _), f in zip(fan, drawn, strict=True))
        met = sum(f and e == end for e, f in zip(ends, drawn, strict=True))
        share = met / count if count else None
        out.append((source, target, replace(descent, drawn=count, share=share)))
    return out


def descent_edge(source: str, target: str, before: float, after: float, descent: Descent) -> Edge:
    """Return the edge of a descent between points with these risks."""
    start = descent.departure
    details: dict[str, Any] = {
        "direction": start.direction,
        "sign": start.sign,
        "eigenvalue": start.eigenvalue,
        "loss_drop": before - after,
        "action": before - after,
        "time": descent.time,
        "distance": descent.distance,
        "start_distance": STEP_OFF,
        "transit": {
            "status": str(Status.SUPPORTED),
            "time": descent.transit,
            "within": NEAR,
            "tolerance": RTOL,
        },
        "away": descent.away,
    }
    if start.coordinates is not None:
        details["coordinates"] = list(start.coordinates)
    if descent.drawn:
        details |= {"share": descent.share, "drawn": descent.drawn}
    return Edge(source, target, "descent", details)


def channel(width: int, name: str, descent: Descent, serial: int) -> Channel:
    """Return the record of a descent without a target."""
    start = descent.departure
    return Channel(
        id=f"inf.m{width}.{serial}",
        source=name,
        width=width,
        direction=start.direction,
        sign=start.sign,
        reason="infinity" if descent.outcome == "infinity" else "unresolved",
        value=descent.value,
        norm=float(descent.theta.norm()),
        time=descent.time,
        coordinates=start.coordinates,
        share=descent.share,
        drawn=descent.drawn,
    )


@dataclass(frozen=True)
class Barrier:
    """What is known of the barrier between two minima of one width, up to symmetry.

    Attributes
    ----------
    width, first, second : int, str, str
        The minima.
    string, length, residual : float
        Largest risk on the lowest string between them, its length, and the largest gradient across it.
    tops : tuple of str
        Critical points that its tops were refined to.
    value, via : float or None, str or None
        The lowest upper bound: the risk at which they are found to meet, and the saddle, or the string, where this is.
    status : Status
        Of the statement that the barrier is at most ``value``: SUPPORTED, as the descents, or the string, are measured.
    level : Status or None
        Of the risk of ``via``: CERTIFIED where that is a saddle that is; None for a string.
    """

    width: int
    first: str
    second: str
    string: float
    length: float
    residual: float
    tops: tuple[str, ...]
    value: float | None = None
    via: str | None = None
    status: Status = Status.SUPPORTED
    level: Status | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        level = None if self.level is None else str(self.level)
        return {**vars(self), "tops": list(self.tops), "status": str(self.status), "level": level}


def judged_barriers(
    found: Sequence[Barrier], joined: Mapping[int, Sequence[Merge]], points: Mapping[str, CriticalPoint]
) -> list[Barrier]:
    """Return the barriers with the risk at which their two basins are found to meet, by saddles and strings."""
    out = []
    for barrier in found:
        ends = {barrier.first, barrier.second}
        meets = [
            merge
            for merge in joined[barrier.width]
            if all(sum(end in part for end in ends) < 2 for part in merge.parts)
            and ends <= {name for part in merge.parts for name in part}
        ]
        best = min(meets, key=lambda merge: merge.value, default=None)
        if best is None:  # the risk on the string counts as equal to that where the two were one already
            out.append(replace(barrier, value=barrier.string))
        else:
            level = points[best.via].status if best.via in points else None
            out.append(replace(barrier, value=best.value, via=best.via, level=level))
    return out
