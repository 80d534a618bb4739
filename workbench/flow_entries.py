"""What the JSON of a flow holds for one trajectory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from derivations.conservation import conserved_quantities
from derivations.problem import Problem
from numerics.compile import CompiledSystem
from numerics.events import Crossing
from numerics.flow import Status

__all__ = ["Entry", "ending", "entry_of", "event_of"]

Entry = dict[str, Any]


def entry_of(system: CompiledSystem, times: Tensor, states: Tensor, status: Status, steps: int) -> Entry:
    """Return what every trajectory has."""
    return {
        "t": times.tolist(),
        "theta": [_lists(system, state) for state in states],
        "value": system.value(states).tolist(),
        "status": str(status),
        "message": status.message,
        "steps": steps,
        "conserved": _conserved(system, times, states),
    }


def event_of(system: CompiledSystem, crossing: Crossing) -> Entry:
    """Return an event: when, what, in which direction, where."""
    return {
        "t": crossing.time,
        "event": crossing.event,
        "direction": crossing.direction,
        "theta": _lists(system, crossing.state),
    }


def ending(system: CompiledSystem, blow_up: float, entry: int) -> Entry:
    """Return the time of blow-up and the block that ended a trajectory; None where it ended well."""
    block = next((name for name, _, where in system.layout if where.start <= entry < where.stop), None)
    return {"blow_up_time": None if math.isnan(blow_up) else blow_up, "block": block}


def _conserved(system: CompiledSystem, times: Tensor, states: Tensor) -> list[Entry]:
    """Largest deviation of each quantity with a law from that law along the saved states: a free gauge of the error."""
    problem = system.problem
    if (
        type(system) is not CompiledSystem
        or not isinstance(problem, Problem)
        or problem.kind not in ("two_layer", "deep")
        or not len(states)
    ):
        return []
    laws = [q for q in conserved_quantities(problem) if q.quantity is not None and q.decay is not None]
    found = []
    for law in laws:
        value = system.evaluate(problem.system, {"Q": (law.quantity, law.indices)}, states)["Q"]
        value = value.reshape(len(states), -1).double().cpu()
        factor = torch.exp(-float(law.decay) * times.double().cpu())  # type: ignore[arg-type]
        drift = float((value - factor[:, None] * value[:1]).abs().max())
        found.append({"name": law.name, "drift": drift, "size": float(value.abs().max())})
    return found


def _lists(system: CompiledSystem, theta: Tensor) -> dict[str, Any]:
    return {name: part.tolist() for name, part in system.unpack(theta).items()}
