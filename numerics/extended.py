"""Compiled functions of a point and of further arrays that differ from point to point.

Sample weights of a minibatch, label noise, the activation pattern of a piece: each is a leaf of the derived system that
belongs to a row of the batch, like the parameters.  The function takes them as one flat vector for each row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from derivations import indexed
from derivations.indexed import Index
from derivations.system import System
from numerics.compile import CompiledSystem
from numerics.emit_nodes import Plan
from numerics.emit_results import Group
from numerics.lowering import Lowered, lower

__all__ = ["Extended"]


class Extended:
    """Outputs of a derived system as a function of theta and of more leaves, row by row.

    Parameters
    ----------
    system : CompiledSystem
        Gives layout, data and sizes.
    derived : System
        Where the outputs are defined.
    outputs : mapping
        Name to (expression, its free indices).
    more : sequence of indexed.Tensor
        The leaves besides the parameters; the second argument is made of their flattened values in this order.
    functions : mapping
        Concrete functions for ``derivations.generic.bind``.
    groups : mapping, optional
        As for ``numerics.lowering.lower``.
    name : str
        Name of the generated function.
    """

    def __init__(
        self,
        system: CompiledSystem,
        derived: System,
        outputs: Mapping[str, tuple[Any, Sequence[Index]]],
        more: Sequence[indexed.Tensor],
        functions: Mapping[str, Callable[..., Any]],
        groups: Mapping[str, Group] | None = None,
        name: str = "extended",
    ) -> None:
        parameters = system.problem.parameters

        def lowered(plan: Plan) -> Lowered:
            flat = {"theta": parameters, "more": tuple(more)}
            return lower(name, derived, outputs, [*parameters, *more], functions, plan, flat, groups)

        self.Q = sum(math.prod(_sizes(leaf, system)) for leaf in more)
        self._function = system._ready("first", lowered)

    def __call__(self, theta: Tensor, more: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs at theta (B, P) and ``more`` (B, Q), each with the leading axis B."""
        piece = max(1, self._function.piece)
        if len(theta) <= piece:
            return self._function.call(theta, more, *self._function.bound)
        parts = [
            self._function.call(theta[s : s + piece], more[s : s + piece], *self._function.bound)
            for s in range(0, len(theta), piece)
        ]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _sizes(leaf: indexed.Tensor, system: CompiledSystem) -> list[int]:
    return [system.sizes[str(dim)] for dim in leaf.dims]
