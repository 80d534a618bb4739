r"""Constrained problems in the parameters of a network, their Lagrangian, and its first and second derivatives.

A problem is an objective and constraints, given as expressions in the leaves and definitions of a ``Problem``:

.. math::
    \min_\theta F(\theta) \quad\text{subject to}\quad p_j(\theta) \le q_j(\theta),\ h_e(\theta) = k_e(\theta), \qquad
    \mathcal{L} = F + \sum_j \lambda_j c_j (p_j - q_j) + \sum_e \mu_e c_e (h_e - k_e),

with the signs of the multiplier terms reversed for a maximum and for ``>=``, so that multipliers of inequalities are not
negative.  c is a constant such as 1/2 that keeps the stationarity equation free of factors.  The built-in
problems are in ``derivations.constrained_problems``.

>>> from derivations.constrained_problems import constrained
>>> from derivations.problem import n
>>> margin = constrained(Problem.two_layer("relu"), "hard-margin")
>>> system, gradient = margin.derived, margin.gradient["a"]
>>> print(system[gradient].expr, "with r =", system[Tensor("r", (n,))].expr)
a[k] - Sum[_n1](r[_n1]*sigma(z[_n1, k])) with r = lambda[i]*y[i]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sympy import Add, Expr, S, Symbol

from derivations.errors import DimensionError
from derivations.indexed import Entry, Index, Tensor, entries, isum
from derivations.latex_names import free_indices
from derivations.problem import Block, Problem
from derivations.system import Definition, System, occurrences
from derivations.vocabulary import entry

__all__ = ["SIGNS", "Constrained", "Constraint", "along", "lagrangian_curvature", "squared_norm", "tangents"]

#: Relations a constraint may state.
SIGNS = ("=", "<=", ">=")


@dataclass(frozen=True)
class Constraint:
    """``left sign right`` for every value of ``indices``; its term in the Lagrangian is multiplier * scale * (left - right).

    Parameters
    ----------
    left, right : Expr
        In the leaves and definitions of the problem, with free indices among ``indices``.
    sign : str
        ``=``, ``<=`` or ``>=``.
    multiplier : Tensor or Symbol
        Name of the multiplier: a tensor with one slot for each index, a symbol for a single constraint.
    indices : tuple of Index
        The family; empty for a single constraint.
    scale : Expr
        Positive constant.
    """

    left: Expr
    sign: str
    right: Expr
    multiplier: Tensor | Symbol
    indices: tuple[Index, ...] = ()
    scale: Expr = S.One

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise ValueError(f"a constraint is stated with {', '.join(SIGNS)}; found '{self.sign}'")
        if self.scale.is_positive is not True:
            raise ValueError(f"the scale of a constraint is a positive constant, found {self.scale}")
        if foreign := [u for u in free_indices(self.gap) if u not in self.indices]:
            raise DimensionError(
                f"the constraint on {self.left} has the free indices {foreign}; sum over them or list them in indices"
            )
        slots = self.multiplier.dims if isinstance(self.multiplier, Tensor) else ()
        if slots != tuple(u.dim for u in self.indices):
            raise DimensionError(
                f"the multiplier {self.multiplier} has dimensions {slots}; one is needed for each index of the family, "
                f"{tuple(u.dim for u in self.indices)}"
            )

    @property
    def gap(self) -> Expr:
        """``left - right``."""
        return self.left - self.right

    @property
    def value(self) -> Expr:
        """The multiplier at the indices of the family."""
        return (
            Entry(self.multiplier, *self.indices) if isinstance(self.multiplier, Tensor) else self.multiplier
        )

    def term(self, maximise: bool) -> Expr:
        """Return the summand of the Lagrangian, its sign chosen so that the multiplier of an inequality is not negative."""
        positive = (self.sign != ">=") != maximise
        gap = self.gap if positive else -self.gap
        return self.scale * isum(self.value * gap, *self.indices)


@dataclass(frozen=True)
class Constrained:
    """An objective with constraints over the definitions of a problem.

    Parameters
    ----------
    problem : Problem
        Where activation, loss and conventions come from.
    name, statement : str
        Short name, and the problem as a LaTeX sentence.
    system : System
        Definitions the expressions refer to.
    variables : tuple of Block
        The unknowns.
    objective : Expr
        Without free indices.
    constraints : tuple of Constraint
        With distinct multipliers.
    maximise : bool
        Whether the objective is maximised.
    degree : Expr or None
        Degree of homogeneity of the network (or neuron) in the unknowns, where it is proved.
    """

    problem: Problem
    name: str
    statement: str
    system: System
    variables: tuple[Block, ...]
    objective: Expr
    constraints: tuple[Constraint, ...]
    maximise: bool = False
    degree: Expr | None = None

    def __post_init__(self) -> None:
        if not self.variables:
            raise ValueError(
                f"the problem '{self.name}' has no unknowns: every block is frozen; train at least one"
            )
        if found := free_indices(self.objective):
            raise DimensionError(
                f"the objective has the free indices {found}; an objective is a scalar: sum over them"
            )
        known = {u.tensor for u in self.system.declarations} | {u.tensor for u in self.system}
        names = [c.multiplier.name for c in self.constraints]
        if len(set(names)) < len(names) or {t.name for t in known} & set(names):
            raise ValueError(f"multipliers need names of their own, found {', '.join(names)}")
        used = {e.tensor for u in (self.objective, *(c.gap for c in self.constraints)) for e in entries(u)}
        if unknown := sorted(t.name for t in used - known):
            raise ValueError(
                f"nothing is known of {', '.join(unknown)}; an objective or constraint may use "
                f"{', '.join(sorted(t.name for t in known))}"
            )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Tensors of the unknowns."""
        return tuple(b.tensor for b in self.variables)

    @cached_property
    def lagrangian(self) -> Expr:
        """Objective plus the terms of the constraints."""
        return Add(self.objective, *[c.term(self.maximise) for c in self.constraints])

    @cached_property
    def _reverse(self) -> tuple[System, dict[Tensor, Tensor]]:
        # Where a squared norm is minimised, minus the Lagrangian is differentiated: the adjoints then are forces, and the
        # equation reads theta = sum of forces, as it is printed.
        sign = -1 if self.is_norm else 1
        output = Tensor("lagrangian", (), r"\mathcal{L}")
        names = {self.problem.output: Tensor("r", self.problem.output.dims)}
        for definition in self.system:
            if definition.tensor.name.startswith("z"):
                layer = definition.tensor.name[1:]
                tex = rf"\delta^{{({layer})}}" if layer else r"\delta"
                names[definition.tensor] = Tensor(f"delta{layer}", definition.tensor.dims, tex)
        for leaf in self.tensors:
            names[leaf] = Tensor(f"force_{leaf.name}", leaf.dims)
        system, gradient = self.system.define(output, (), sign * self.lagrangian).reverse(
            output, self.tensors, names
        )
        flipped = []
        for definition in system:
            if definition.tensor in gradient.values() and sign < 0:
                minus = Add(*[-term for term in Add.make_args(definition.expr)])
                definition = Definition(definition.tensor, definition.indices, minus)
            flipped.append(definition)
        return System(system.declarations, tuple(flipped)), gradient

    @property
    def is_norm(self) -> bool:
        """Whether half the squared norm of the unknowns is minimised."""
        return not self.maximise and self.objective == self.squared_norm / 2

    @property
    def squared_norm(self) -> Expr:
        """Sum of the squares of all unknowns."""
        return squared_norm(self.variables)

    @property
    def derived(self) -> System:
        """The definitions, the Lagrangian (up to sign), adjoints and the gradient of the Lagrangian."""
        return self._reverse[0]

    @property
    def gradient(self) -> dict[str, Tensor]:
        """Tensor of the gradient of the Lagrangian in each block, by its name."""
        return {leaf.name: tensor for leaf, tensor in self._reverse[1].items()}

    @cached_property
    def directions(self) -> dict[Tensor, Tensor]:
        """Direction v in the space of the unknowns, one tensor for each block."""
        return {
            b.tensor: Tensor(f"v_{b.name}", b.tensor.dims, rf"v^{{{b.tensor.tex}}}") for b in self.variables
        }


def squared_norm(blocks: Sequence[Block]) -> Expr:
    """Return the sum of the squares of all entries of the blocks."""
    return Add(*[isum(entry(b.tensor, b.indices) ** 2, *b.indices) for b in blocks])


# -- derivatives along a direction -----------------------------------------------------------------------------------


def tangents(
    problem: Constrained,
) -> tuple[dict[Tensor, Definition], dict[Tensor, Definition], dict[Tensor, Tensor], dict[Tensor, Tensor]]:
    r"""Return first and second derivatives of every definition along :math:`\theta + t v` at t = 0.

    Returns
    -------
    first, second : dict
        Definition of :math:`\dot T` and :math:`\ddot T` for each defined T on which they do not vanish.
    dots, ddots : dict
        The tensors :math:`\dot T` (unknowns included, theirs being v) and :math:`\ddot T`.
    """
    dots: dict[Tensor, Tensor] = dict(problem.directions)
    ddots: dict[Tensor, Tensor] = {}
    first: dict[Tensor, Definition] = {}
    second: dict[Tensor, Definition] = {}
    for definition in problem.system:
        t = definition.tensor
        once = along(definition.expr, dots)
        twice = along(once, {**dots, **{dots[u]: v for u, v in ddots.items()}})
        if once != 0:
            dots[t] = Tensor(f"{t.name}_v", t.dims, _dotted(r"\dot", t.tex))
            first[t] = Definition(dots[t], definition.indices, once)
        if twice != 0:
            ddots[t] = Tensor(f"{t.name}_vv", t.dims, _dotted(r"\ddot", t.tex))
            second[t] = Definition(ddots[t], definition.indices, twice)
    return first, second, dots, ddots


def along(expr: Expr, moves: Mapping[Tensor, Tensor]) -> Expr:
    """Return the derivative of ``expr`` when each tensor in ``moves`` changes at the given rate."""
    return Add(
        *[
            isum(cofactor * Entry(moves[leaf.tensor], *leaf.indices), *opened)
            for leaf, cofactor, opened in occurrences(expr)
            if leaf.tensor in moves
        ]
    )


def lagrangian_curvature(problem: Constrained) -> Expr:
    r"""Return :math:`\nabla^2_{\theta\theta} \mathcal{L}[v, v]` in terms of the definitions of ``tangents``."""
    _, _, dots, ddots = tangents(problem)
    once = along(problem.lagrangian, dots)
    return along(once, {**dots, **{dots[u]: v for u, v in ddots.items()}})


def _dotted(mark: str, tex: str) -> str:
    letter, script, rest = tex.partition("^")
    return rf"{mark}{{{letter}}}{script}{rest}"
