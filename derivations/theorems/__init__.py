"""The library of results: one module for each, which states it as a ``Theorem`` named ``THEOREM``.

>>> all(name == one.name for name, one in THEOREMS.items())
True
"""

from __future__ import annotations

from derivations.theorem import Theorem
from derivations.theorems import (
    directional_convergence,
    embedding_principle,
    local_recovery,
    margin_kkt,
    shallow_relu_affine,
)

__all__ = ["THEOREMS"]

#: Modules are listed in the order of the list.
LIBRARY: tuple[Theorem, ...] = (
    margin_kkt.THEOREM,
    directional_convergence.THEOREM,
    local_recovery.THEOREM,
    shallow_relu_affine.THEOREM,
    embedding_principle.THEOREM,
)
#: The results by name.
THEOREMS: dict[str, Theorem] = {one.name: one for one in LIBRARY}
