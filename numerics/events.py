r"""Events along a trajectory: where a scalar function of the state reaches zero from a nonzero value.

Inside an accepted step the function is looked at on the continuous extension at a few interior points and at the
end; a change of sign is then located by bisection to the resolution of the step.  So an event costs nothing in
accuracy and does not shorten a step.  A function that vanishes and comes back between two neighbouring looks is
not seen.

>>> from numerics.flow import integrate
>>> start = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
>>> result = integrate(lambda y: -y, start, 9.0, events=[norm_reaches(0.5)])
>>> [(crossing.row, round(crossing.time, 6), crossing.direction) for crossing in result.crossings]
[(0, 0.693147, -1), (1, 1.386294, -1)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["Crossing", "Event", "Watch", "loss_reaches", "norm_reaches", "rate_reaches"]

BISECTIONS = 54
"""Halvings of a step: more than its times can resolve."""
Inside = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Event:
    """One kind of event: K scalar functions of the state, each with its zeros.

    Parameters
    ----------
    name : str
        How records call it.
    function : callable
        Maps (n, P) to (n, K), or to (n,) for one function; row by row.
    direction : {0, 1, -1}
        Which crossings count: both, those that rise through zero, those that fall.
    stop : bool
        Whether the trajectory ends at the first crossing, with the status ``EVENT``.
    interior : int
        Points inside a step at which the function is looked at, besides its end.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    direction: int = 0
    stop: bool = False
    interior: int = 3

    def __post_init__(self) -> None:
        if self.direction not in (-1, 0, 1):
            raise ValueError(f"direction of event {self.name!r} must be -1, 0 or 1, got {self.direction!r}")
        if self.interior < 0:
            raise ValueError(f"interior of event {self.name!r} must be at least 0, got {self.interior!r}")

    def values(self, y: Tensor) -> Tensor:
        """Return the functions at the states y (n, P), shape (n, K)."""
        found = self.function(y)
        if not isinstance(found, Tensor) or found.ndim not in (1, 2) or len(found) != len(y):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"event {self.name!r} must return a tensor of shape ({len(y)},) or ({len(y)}, K), got {shape}"
            )
        return found if found.ndim == 2 else found[:, None]


@dataclass(frozen=True)
class Crossing:
    """One event that happened.

    Parameters
    ----------
    row : int
        Trajectory.
    time : float
        When.
    event : str
        Name of the event.
    channel : int
        Which of its functions, from 0.
    direction : int
        1 if it rose through zero, -1 if it fell.
    state : Tensor, shape (P,)
        Where: on the new side of zero, within rounding.
    """

    row: int
    time: float
    event: str
    channel: int
    direction: int
    state: Tensor


@dataclass
class Watch:
    """The events of one integration and what has happened so far.

    ``sides`` holds for each event the last nonzero sign of each function of each trajectory, (B, K); leaving zero is
    no event, reaching it is one.
    """

    events: Sequence[Event]
    sides: list[Tensor] = field(default_factory=list)
    found: dict[str, list[Tensor]] = field(default_factory=dict)

    def start(self, y: Tensor) -> None:
        """Look at the starts y (B, P)."""
        self.sides = [event.values(y).sign().to(torch.int8) for event in self.events]
        self.found = {name: [] for name in ("row", "time", "event", "channel", "direction", "state")}

    def step(self, index: Tensor, t: Tensor, h: Tensor, inside: Inside, end: Tensor) -> Tensor:
        """Record what happens in accepted steps; return the fraction of each at which it stops, infinite if not.

        Parameters
        ----------
        index : Tensor, shape (n,)
            The trajectories.
        t, h : Tensor, shape (n,)
            Times before the steps and their lengths.
        inside : callable
            ``inside(rows, s)`` gives the states (r, P) of the steps ``rows`` (r,) at the fractions ``s`` (r,).
        end : Tensor, shape (n, P)
            States after the steps.
        """
        stops = torch.full_like(h, torch.inf)
        hits = [self._hits(number, index, inside, end) for number in range(len(self.events))]
        for event, (rows, _, _, s, _) in zip(self.events, hits, strict=True):
            if event.stop:
                stops = stops.scatter_reduce(0, rows, s, "amin")
        for number, (rows, channel, direction, s, state) in enumerate(hits):
            keep = s <= stops[rows]
            rows, s = rows[keep], s[keep]
            entries = {
                "row": index[rows],
                "time": t[rows] + s * h[rows],
                "event": torch.full_like(rows, number),
                "channel": channel[keep],
                "direction": direction[keep],
                "state": state[keep],
            }
            if len(rows):
                for name, entry in entries.items():
                    self.found[name].append(entry)
        return stops

    def _hits(self, number: int, index: Tensor, inside: Inside, end: Tensor) -> tuple[Tensor, ...]:
        """Crossings of one event: row of the step, channel, direction, fraction of the step, state."""
        event = self.events[number]
        everyone = torch.arange(len(index), device=index.device)
        grid = torch.linspace(0, 1, event.interior + 2, dtype=torch.float64, device=index.device)
        side = self.sides[number][index]
        brackets = []
        for lower, upper in pairwise(grid):
            s = upper.expand(len(index))
            new = event.values(end if upper == 1 else inside(everyone, s)).sign().to(torch.int8)
            reached = (side != 0) & (new != side)
            rows, channel = reached.nonzero(as_tuple=True)
            brackets.append(
                (rows, channel, side[rows, channel], lower.expand(len(rows)), upper.expand(len(rows)))
            )
            side = torch.where(reached | (side == 0), new, side)
        self.sides[number][index] = side
        rows, channel, before, low, high = (torch.cat(parts) for parts in zip(*brackets, strict=True))
        if event.direction:
            keep = before == -event.direction
            rows, channel, before, low, high = (u[keep] for u in (rows, channel, before, low, high))
        if event.stop and len(rows):
            return self._first(event, inside, rows, channel, before, low, high)
        for _ in range(BISECTIONS if len(rows) else 0):
            middle = (low + high) / 2
            value = event.values(inside(rows, middle)).gather(1, channel[:, None])[:, 0]
            still = value.sign().to(torch.int8) == before
            low, high = torch.where(still, middle, low), torch.where(still, high, middle)
        states = inside(rows, high) if len(rows) else end[:0]
        return rows, channel, -before.long(), high, states

    @staticmethod
    def _first(event: Event, inside: Inside, *crossed: Tensor) -> tuple[Tensor, ...]:
        """First crossings of each step, of an event that ends it: later ones do not happen, and are not located.

        All functions that cross between the two looks of the first crossing are bisected together: half a step is kept
        where one of them has left its side.
        """
        rows, channel, before, low, high = crossed
        steps, place = torch.unique(rows, return_inverse=True)
        first = low.new_full((len(steps),), torch.inf).scatter_reduce(0, place, low, "amin")
        rows, channel, before, low, high, place = (
            u[low == first[place]] for u in (rows, channel, before, low, high, place)
        )
        one = torch.empty(len(steps), dtype=torch.long, device=rows.device).scatter_(
            0, place, torch.arange(len(rows), device=rows.device)
        )
        low, high = low[one], high[one]

        def left(s: Tensor) -> Tensor:
            value = event.values(inside(steps, s))
            return value[place, channel].sign().to(torch.int8) != before

        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            any_left = torch.zeros(len(steps), dtype=torch.bool, device=rows.device)
            any_left[place[left(middle)]] = True
            low, high = torch.where(any_left, low, middle), torch.where(any_left, middle, high)
        now = left(high)
        rows, channel, before, place = (u[now] for u in (rows, channel, before, place))
        return rows, channel, -before.long(), high[place], inside(steps, high)[place]

    def crossings(self) -> tuple[Crossing, ...]:
        """Everything recorded, by trajectory and time."""
        if not self.found.get("row"):
            return ()
        columns = {name: torch.cat(parts) for name, parts in self.found.items()}
        lists = {name: columns[name].tolist() for name in ("row", "time", "event", "channel", "direction")}
        records = [
            Crossing(row, time, self.events[event].name, channel, direction, state)
            for row, time, event, channel, direction, state in zip(
                *lists.values(), columns["state"], strict=True
            )
        ]
        return tuple(sorted(records, key=lambda crossing: (crossing.row, crossing.time)))

    def pack(self) -> dict[str, Tensor]:
        """Return everything as tensors, from which :meth:`unpack` goes on."""
        packed = {f"side {number}": side for number, side in enumerate(self.sides)}
        return packed | {name: torch.cat(parts) for name, parts in self.found.items() if parts}

    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`pack` gave."""
        self.sides = [packed[f"side {number}"].clone() for number in range(len(self.events))]
        for name in self.found:
            self.found[name] = [packed[name]] if name in packed else []


def norm_reaches(level: float, *, stop: bool = False) -> Event:
    """Return the event that the Euclidean norm of the state crosses ``level``."""
    return Event(f"norm {level:g}", lambda y: torch.linalg.vector_norm(y, dim=1) - level, stop=stop)


def loss_reaches(value: Callable[[Tensor], Tensor], level: float, *, stop: bool = False) -> Event:
    """Return the event that the risk ``value``, (n, P) to (n,), crosses ``level``."""
    return Event(f"loss {level:g}", lambda y: value(y) - level, stop=stop)


def rate_reaches(rate: Callable[[Tensor], Tensor], level: float, *, stop: bool = False) -> Event:
    """Return the event that the norm of the rate falls to ``level``: near a critical point, or slow by a saddle."""
    return Event(
        f"stationary {level:g}",
        lambda y: torch.linalg.vector_norm(rate(y), dim=1) - level,
        direction=-1,
        stop=stop,
    )
