r"""Population risk on Gaussian inputs as batched PyTorch functions, from its closed form.

Value, gradient, Hessian and Hessian-vector product come from ``derivations.population`` as those of samples do; there is
no quadrature and no sampling.  For relu, leaky_relu and abs the means of two neurons have no derivative where a weight
vector is 0, and results there are nan; neurons at an angle below 1e-7 count as parallel in second derivatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from derivations.errors import AssumptionError
from derivations.population import GaussianProblem
from derivations.population_network import population_network
from derivations.system import System
from numerics.compile import CompiledSystem

__all__ = ["PopulationSystem", "compile_population"]

#: Size of the weights, relative to the parameters, at which a kinked neuron counts as vanished.
VANISHED = 1e-6


class PopulationSystem(CompiledSystem):
    """A Gaussian population at a width; the interface is that of a compiled system of samples.

    Parameters
    ----------
    population : GaussianProblem
        Of concrete dimension.
    width : int
        Width m.
    device
        Where everything is computed, in float64.

    Attributes
    ----------
    inputs : Tensor
        Inputs x of ``outputs``: the origin, then plus and minus the coordinate vectors of the target.
    exact : bool
        True: closed forms have no error but rounding.
    """

    exact = True

    def __init__(
        self, population: GaussianProblem, width: int, *, device: str | torch.device = "cpu"
    ) -> None:
        dimension = int(population.dimension)
        self.population = population
        unit = torch.eye(dimension, dtype=torch.float64, device=device)
        places = population.coordinates
        self._basis = {u.name: unit[j - 1] for u, j in zip(population.basis, places, strict=True)}
        rows = unit[[j - 1 for j in places]]
        self.inputs = torch.cat([unit.new_zeros(1, dimension), rows, -rows])
        network = population_network(population)
        super().__init__(network, self.inputs, self.inputs.new_zeros(len(self.inputs)), {"m": width})

    @property
    def derived_from(self) -> Any:
        """The Gaussian problem."""
        return self.population

    @property
    def integration(self) -> str:
        """How integrals are computed, as a sentence."""
        return "Means over the Gaussian inputs are closed forms, exact up to rounding."

    @property
    def not_finite(self) -> str:
        """What a result that is not finite means."""
        return f"{super().not_finite}, or a weight vector is 0, where the closed form of a kinked activation has no derivative"

    def irregular(self, theta: Tensor) -> Tensor:
        """Say which neurons leave the risk without a classical Hessian at points (..., P): kinked, with w_k = 0; (..., m)."""
        w = self.unpack(theta)["w"].abs().amax(dim=-1)
        activation = self.problem.activation
        if activation is None or activation.is_smooth is True:
            return torch.zeros_like(w, dtype=torch.bool)
        return w <= VANISHED * (1 + theta.abs().amax(dim=-1, keepdim=True))

    def evaluate(self, system: System, outputs: Any, theta: Tensor) -> dict[str, Tensor]:
        """Refuse: a population has no samples at which to evaluate.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError("a Gaussian population has no samples at which to evaluate; give samples")

    def _leaf_values(self) -> Mapping[str, Any]:
        return {"x": self.x, "y": self.y, **self._basis}


def compile_population(
    population: GaussianProblem,
    width: int,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
) -> PopulationSystem:
    """Compile a Gaussian population at a width.

    Raises
    ------
    ValueError
        If the width is no integer from 1 on, or the dtype is not float64.
    AssumptionError
        If the dimension or the target has symbols.
    """
    if type(width) is not int or width < 1:
        raise ValueError(f"width is {width!r}; required is an integer from 1 on")
    if dtype != torch.float64:
        raise ValueError(
            f"a Gaussian population is computed in float64, got {dtype}: means of nearly parallel neurons cancel"
        )
    if not population.dimension.is_Integer:
        raise AssumptionError(
            f"numbers need a concrete dimension, found {population.dimension}; give dimension = 2, say"
        )
    least = max(population.coordinates, default=1)
    if int(population.dimension) < least:
        raise AssumptionError(
            f"the target uses coordinate {least}, the dimension is {population.dimension}; give at least {least}"
        )
    loose = population.target.free_symbols - set(population.x)
    if loose:
        raise AssumptionError(f"numbers are needed for {', '.join(sorted(map(str, loose)))}")
    return PopulationSystem(population, width, device=device)
