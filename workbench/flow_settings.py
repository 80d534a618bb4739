r"""What a flow may be asked for besides its starts and its end: events, and gradient descent in place of the flow.

>>> FlowSettings(step_size=0.05, temperature=1e-3).descends
True
>>> read_event("norm:10")
Watched(kind='norm', level=10.0, stop=False)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from workbench.errors import Refusal

__all__ = ["EVENTS", "FlowSettings", "Watched", "read_event"]

EVENTS = ("kink", "loss", "norm", "stationary")
ACCEPTED = (
    "kink, loss:VALUE, norm:VALUE or stationary:VALUE, with :stop behind it to end the trajectory there"
)


@dataclass(frozen=True)
class Watched:
    """One event that was asked for; ``level`` is None for a kink."""

    kind: str
    level: float | None
    stop: bool


def read_event(text: str) -> Watched:
    """Read ``KIND[:VALUE][:stop]``.

    Raises
    ------
    Refusal
        If it is none.
    """
    parts = text.split(":")
    stop = len(parts) > 1 and parts[-1] == "stop"
    kind, *rest = parts[:-1] if stop else parts
    if kind not in EVENTS or len(rest) != (kind != "kink"):
        raise Refusal(repr(text), ACCEPTED)
    if kind == "kink":
        return Watched(kind, None, stop)
    try:
        level = float(rest[0])
    except ValueError:
        level = math.nan
    if not math.isfinite(level) or (kind != "loss" and level <= 0):
        positive = "a finite number" if kind == "loss" else "a positive finite number"
        raise Refusal(f"the value {rest[0]!r} in {text!r}", positive)
    return Watched(kind, level, stop)


@dataclass(frozen=True)
class FlowSettings:
    """Options of a flow.

    Parameters
    ----------
    events : tuple of str
        What to look for: ``kink``, ``loss:0.1``, ``norm:10``, ``stationary:1e-6``, each with ``:stop`` behind it to end the
        trajectory there.
    step_size : float, optional
        Gradient descent with this step instead of the flow; time is the number of steps times it.
    batch : int, optional
        Samples of a minibatch.
    label_noise : float
        Variance of the noise on the targets at every step.
    temperature : float
        Langevin temperature.
    seed : int
        Of the draws.
    """

    events: tuple[str, ...] = ()
    step_size: float | None = None
    batch: int | None = None
    label_noise: float = 0.0
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for event in self.events:
            read_event(event)
        if self.step_size is None:
            given = [name for name in ("batch", "label_noise", "temperature") if getattr(self, name)]
            if given:
                raise ValueError(
                    f"{', '.join(given)}: found without a step size; accepted: together with step_size, since the "
                    "gradient flow itself is not random"
                )
        elif not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size: found {self.step_size!r}; accepted: a positive finite number")
        if self.step_size is not None and self.events:
            raise ValueError(
                "events: found with step_size; accepted: for the flow, since a descent jumps across them"
            )

    @property
    def descends(self) -> bool:
        """Whether it is a descent."""
        return self.step_size is not None

    @property
    def watched(self) -> tuple[Watched, ...]:
        """The events."""
        return tuple(map(read_event, self.events))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        return {**asdict(self), "events": list(self.events)}
