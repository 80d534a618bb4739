r"""A Gaussian population as a problem whose risk has no samples: what the compiler needs of a ``GaussianProblem``.

The risk is the closed form in K, M and T.  For relu neurons the second derivatives of K in A, B and C are infinite where
the neurons are parallel, though those of the risk are not: the infinite terms cancel.  Therefore K is written here with the
correlation, :math:`K = \sqrt{AB}\, k_1(\rho)` with :math:`\rho = C / \sqrt{AB}` and k_1 from ``derivations.relu_means``.

>>> from sympy import Integer
>>> from derivations.problem import Problem
>>> x = (Symbol("x_0", real=True),)
>>> student = population_network(GaussianProblem(Problem.two_layer("relu", "square"), x, x[0], Integer(1)))
>>> student.kind, [block.name for block in student.blocks]
('two_layer', ['a', 'w'])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from sympy import Expr, Symbol, sqrt

from derivations.gaussian_pairs import arc_cosine, arc_sine
from derivations.population import GaussianProblem
from derivations.problem import Problem
from derivations.relu_means import relu_mean
from derivations.system import System

__all__ = ["PopulationNetwork", "population_network"]


@dataclass(frozen=True)
class PopulationNetwork(Problem):
    """A network whose risk is the closed form of a Gaussian population; outputs are those at given inputs.

    Parameters
    ----------
    population : GaussianProblem
        The population.
    """

    population: GaussianProblem | None = field(default=None)

    @cached_property
    def _population(self) -> GaussianProblem:
        if self.population is None:
            raise ValueError("a population network needs its population; build it with population_network")
        return self.population

    @cached_property
    def system(self) -> System:
        """The defining list: pre-activations and outputs at inputs x, and the risk, which does not depend on them."""
        plain, closed = super().system, self._population.system
        known = {declaration.tensor for declaration in plain.declarations}
        declarations = [*plain.declarations, *(u for u in closed.declarations if u.tensor not in known)]
        system = System(tuple(declarations), tuple(u for u in plain if u.tensor != self.risk))
        return system.define(self.risk, (), closed[self.risk].expr)

    @property
    def functions(self) -> Mapping[str, Callable[..., Expr]]:
        """What is known of sigma, and the closed forms K, M and T."""
        known = dict(super().functions)
        known.update({name: _Closed(self._population, name) for name in "KMT"})
        return known


@dataclass(frozen=True)
class _Closed:
    """K, M or T and its derivatives in a form that is finite where neurons are parallel."""

    population: GaussianProblem
    name: str

    def __call__(self, orders: Sequence[int], *arguments: Expr) -> Expr:
        formula, slots = self._formula
        for slot, order in zip(slots, orders, strict=True):
            formula = formula.diff(slot, order)
        formula = formula.replace(lambda u: isinstance(u, arc_sine), lambda u: u.doit())
        return formula.xreplace(dict(zip(slots, arguments, strict=True)))

    @property
    def _formula(self) -> tuple[Expr, tuple[Symbol, ...]]:
        formula, slots = self.population.closed_form(self.name)
        return formula.replace(lambda u: isinstance(u, arc_cosine), _with_cosine), slots


def _with_cosine(u: Expr) -> Expr:
    A, B, C = u.args
    return sqrt(A) * sqrt(B) * relu_mean(C / (sqrt(A) * sqrt(B)))


def population_network(population: GaussianProblem) -> PopulationNetwork:
    """Return the network of a Gaussian population, its blocks and conventions those of its problem."""
    problem = population.problem
    own: dict[str, Any] = {f.name: getattr(problem, f.name) for f in fields(Problem)}
    return PopulationNetwork(**own | {"reduction": "sum"}, population=population)
