r"""Where descents without a target end: one end for all of a width and a reason that level off at the same risk.

>>> runs = [Channel(f"inf.m1.{k}", "m1.1", 1, 0, 1, "infinity", value, 50.0, 1e9) for k, value in enumerate((0.5001, 0.5, 0.2))]
>>> [(end.id, end.value, len(end.channels)) for end in ends_of(runs)]
[('inf.m1.0', 0.5, 2), ('inf.m1.2', 0.2, 1)]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.graph_sheet import ENDS_AGREE, levels
from workbench.results import Channel

__all__ = ["End", "ends_of"]


@dataclass(frozen=True)
class End:
    """An end of some channels; ``level`` is the lowest risk of all channels that level off there, whatever their width and reason."""

    channels: tuple[Channel, ...]
    level: float

    @property
    def id(self) -> str:
        """That of the first channel."""
        return self.channels[0].id

    @property
    def width(self) -> int:
        """Width of the networks."""
        return self.channels[0].width

    @property
    def kind(self) -> str:
        """``infinity``, or ``unresolved`` for every other reason."""
        return "infinity" if self.channels[0].reason == "infinity" else "unresolved"

    @property
    def value(self) -> float:
        """The lowest of its risks, the nearest to the limit that all approach from above."""
        return min(channel.value for channel in self.channels)


def ends_of(channels: Sequence[Channel]) -> list[End]:
    """Return the ends in the order of their first channels; risks agree to a relative ``ENDS_AGREE``."""
    found = levels([channel.value for channel in channels], ENDS_AGREE)
    lowest: dict[int, float] = {}
    groups: dict[tuple[int, bool, int], list[Channel]] = defaultdict(list)
    for number, channel in zip(found, channels, strict=True):
        lowest[number] = min(channel.value, lowest.get(number, channel.value))
        groups[channel.width, channel.reason == "infinity", number].append(channel)
    return [End(tuple(group), lowest[number]) for (_, _, number), group in groups.items()]
