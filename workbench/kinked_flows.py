r"""How the flow of a compiled network is followed: plainly where it is smooth, piece by piece where it has kinks.

Pieces are followed in float64 on the CPU, whatever the numbers of a study are computed in: a kink is located to
rounding, and the search for the element of least norm is a computation of small matrices.  Where the pieces are not
followed a plain integrator steps across the kinks; the route then says so in ``notes``, and ``reliable`` is False, so that
no claim rests on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from derivations.almost_everywhere import has_kinks
from derivations.branched import Branched, branched
from derivations.errors import AssumptionError
from numerics.compile import CompiledSystem
from numerics.pieces import Piecewise, network_pieces

__all__ = ["MOST_KINKS", "Route", "is_kinked", "route_of"]

#: Kinks of a network, samples times neurons, up to which its pieces are followed.
MOST_KINKS = 20_000
#: What it means that a plain integrator steps across kinks.
ACROSS = (
    "The flow was therefore integrated by a plain adaptive method that steps across the kinks: its error estimate does not hold "
    "there, and where a kink attracts, the trajectory chatters about it instead of sliding along it. Take its states as "
    "approximate, the more so after steps on which the risk rose."
)


@dataclass(frozen=True)
class Route:
    """What is integrated, and how.

    Parameters
    ----------
    system : CompiledSystem
        The system whose flow is followed: the given one, or the same in float64 on the CPU.
    pieces : Piecewise or None
        Its pieces; None where a plain integrator is used.
    reliable : bool
        False where a plain integrator steps across kinks.
    notes : tuple of str
        What a reader of the result must know.
    """

    system: CompiledSystem
    pieces: Piecewise | None = None
    reliable: bool = True
    notes: tuple[str, ...] = ()


def is_kinked(system: CompiledSystem) -> bool:
    """Say whether the activation, the loss or the formula of a model on samples has a kink or a jump."""
    if type(system) is not CompiledSystem:
        return False
    problem = system.problem
    parts = [part.expr for part in (problem.activation, problem.loss) if part is not None]
    return any(has_kinks(expr) for expr in (*parts, *(made.expr for made in problem.system)))


def route_of(system: CompiledSystem, twin: Callable[[], CompiledSystem] | None = None) -> Route:
    """Return how the flow of a system is followed.

    Parameters
    ----------
    system : CompiledSystem
        Of samples or of a population; the flow of a population is integrated plainly.
    twin : callable, optional
        Gives the same system in float64 on the CPU; by default it is compiled from the data of ``system``.
    """
    if not is_kinked(system):
        return Route(system)
    try:
        found = branched(system.problem)
    except AssumptionError as error:
        return Route(system, None, False, (f"Kinks of this model are not followed: {error}. {ACROSS}",))
    kinks = _count(system, found)
    if kinks > MOST_KINKS:
        why = f"The network has {kinks} kinks, and up to {MOST_KINKS} are followed one by one."
        return Route(system, None, False, (f"{why} {ACROSS}",))
    if system.dtype == torch.float64 and system.device.type == "cpu":
        return Route(system, network_pieces(system))
    exact = _twin(system) if twin is None else twin()
    asked = f"{str(system.dtype).removeprefix('torch.')} on {system.device}"
    note = (
        "Flows of networks with kinks are followed in float64 on the CPU, where kinks are located to rounding; it was asked for "
        f"{asked}."
    )
    return Route(exact, network_pieces(exact), True, (note,))


def _count(system: CompiledSystem, found: Branched) -> int:
    """Number of kinks: samples times neurons times breaks of the activation, and samples times outputs of the loss."""
    neurons = sum(system.sizes[str(dim)] for dim in system.problem.hidden_dims)
    outputs = system.sizes.get("o", 1) if found.loss_kink is not None else 0
    return system.sizes["n"] * (neurons * len(found.points) + outputs)


def _twin(system: CompiledSystem) -> CompiledSystem:
    x, y = (data.to("cpu", torch.float64) for data in (system.x, system.y))
    widths = {str(dim): system.sizes[str(dim)] for dim in system.problem.hidden_dims}
    return CompiledSystem(system.problem, x, y, widths)
