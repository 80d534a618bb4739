"""What the numerics measure for each result of the library: one module for each, with a function ``measure``."""

from __future__ import annotations

from collections.abc import Callable

from derivations.theorem import Instance
from workbench.measurements import (
    directional_convergence,
    embedding_principle,
    local_recovery,
    margin_kkt,
    shallow_relu_affine,
)
from workbench.measurements.measured import Bench, Measured

__all__ = ["MEASURES"]

#: The measurements by the name of the result.
MEASURES: dict[str, Callable[[Instance, Bench], Measured]] = {
    "margin-kkt": margin_kkt.measure,
    "directional-convergence": directional_convergence.measure,
    "local-recovery": local_recovery.measure,
    "shallow-relu-affine": shallow_relu_affine.measure,
    "embedding-principle": embedding_principle.measure,
}
