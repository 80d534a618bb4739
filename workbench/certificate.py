"""What is shown of a certified critical point, as plain numbers, and how many of a list are certified.

>>> shown = Certificate("Krawczyk", True, 128, 3e-16, (0.25, 0.2500001))
>>> Certificate.from_dict(shown.to_dict()) == shown
True
>>> sentences([{"id": "m1.1", "status": "CERTIFIED"},
...            {"id": "m1.2", "status": "SUPPORTED", "not_certified": "the kink of relu lies in the box"}])
['1 of 2 certified; not certified: m1.2: the kink of relu lies in the box']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Certificate", "sentences"]


@dataclass(frozen=True)
class Certificate:
    """The statement of existence of a critical point.

    Attributes
    ----------
    method : str
        ``Krawczyk``, or ``embedding of m1.1``.
    unique : bool
        Whether there is no other critical point within the radius; False on a critical manifold.
    precision : int
        Bits of the interval arithmetic.
    error : float
        Bound of the distance, in every coordinate, between the parameters listed and the exact point.
    value : (float, float)
        Bounds of the risk at the exact point.
    digits : dict or None
        Blocks of the exact point as decimals, where they were asked for; the last digit may be off by one.
    """

    method: str
    unique: bool
    precision: int
    error: float
    value: tuple[float, float]
    digits: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "value": list(self.value)}

    @classmethod
    def from_dict(cls, content: dict[str, Any] | None) -> Certificate | None:
        """Return the certificate that ``to_dict`` described; None for None."""
        if content is None:
            return None
        lower, upper = content["value"]
        return cls(**{**content, "value": (lower, upper)})


def sentences(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line that counts the certified points and gives the reason for the others, each reason once.

    Points that are proved by exact computation count as well.
    """
    reasons: dict[str, list[str]] = {}
    for point in points:
        if point.get("not_certified"):
            reasons.setdefault(point["not_certified"], []).append(point["id"])
    certified = sum(point["status"] in ("CERTIFIED", "PROVED") for point in points)
    if not certified and not reasons:
        return []
    if all(point["status"] == "PROVED" for point in points):
        return [f"{certified} of {len(points)} proved"]
    rest = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return [f"{certified} of {len(points)} certified" + (f"; not certified: {rest}" if rest else "")]
