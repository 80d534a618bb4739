r"""A network whose risk is a weighted sum over nodes of a rule for integrals, with the target as a formula.

.. math::
    R = \kappa \sum_i \omega_i\, \ell\bigl(f_i, y(x_i)\bigr) + \tfrac{\lambda}{2} \lVert\theta\rVert^2 .

Gradient and Hessian are derived from this sum as for samples.  Where the nodes move with the parameters, they are not
differentiated: the sum stands for an integral, and the derivative of the integral is the integral of the derivative.

>>> from sympy import Symbol
>>> x = Symbol("x", real=True)
>>> line = weighted(Problem.two_layer("relu", "square"), 1, x, 2 * x + 1)
>>> print(line.system[line.y].expr, "and", line.system[line.risk].expr)
2*u[i] + 1 and Sum[_n1](omega[_n1]*ell(f[_n1], y[_n1]))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from sympy import Expr, Integer, Symbol, sympify

from derivations.generic import GenericFunction
from derivations.indexed import Index, Tensor, isum
from derivations.problem import Problem, d, n
from derivations.system import System

__all__ = ["WeightedProblem", "weighted"]

_I, _L = Index("i", n), Index("l", d)


@dataclass(frozen=True)
class WeightedProblem(Problem):
    """A problem whose samples are the nodes of a rule for integrals over one input.

    Parameters
    ----------
    target : Expr
        The target as a formula in ``at``.
    at : Symbol
        The input.
    moves : bool
        Whether nodes and weights belong to the parameter point rather than to the data.
    """

    target: Expr = field(default_factory=lambda: Integer(0))
    at: Symbol = field(default_factory=lambda: Symbol("x", real=True))
    moves: bool = False

    @cached_property
    def weights(self) -> Tensor:
        """Weights of the nodes, (n,)."""
        return Tensor("omega", (n,), r"\omega")

    @property
    def moving(self) -> tuple[Tensor, ...]:
        """Tensors that are given with the parameter point."""
        return (self.x, self.weights) if self.moves else ()

    @cached_property
    def system(self) -> System:
        """The defining list: targets, pre-activations, outputs, risk."""
        plain, system = super().system, System()
        for declaration in plain.declarations:
            if declaration.tensor != self.y:
                system = system.declare(declaration.tensor, declaration.indices)
        system = system.declare(self.weights, (_I,))
        u = Tensor("u", (n,))
        system = system.define(u, (_I,), isum(self.x[_I, _L], _L))
        system = system.define(self.y, (_I,), self.target.xreplace({self.at: u[_I]}))
        for definition in plain:
            if definition.tensor != self.risk:
                system = system.define(definition.tensor, definition.indices, definition.expr)
        loss = GenericFunction("ell", (0, 0), self.output[_I], self.y[_I])
        total = self.factor * isum(self.weights[_I] * loss, _I)
        if self.weight_decay != 0:
            squares = [
                isum(b.tensor[b.indices] ** 2, *b.indices) if b.indices else b.tensor() ** 2
                for b in self.blocks
            ]
            total += self.weight_decay / 2 * sum(squares[1:], squares[0])
        return system.define(self.risk, (), total)


def weighted(
    problem: Problem, factor: Expr | int, x: Symbol, target: Expr, *, moves: bool = False
) -> WeightedProblem:
    """Return the network of a two-layer problem with one input and output, with weighted nodes.

    Parameters
    ----------
    problem : Problem
        Two-layer, one output; its reduction and factor are not used.
    factor : Expr
        Factor kappa of the sum, the density included.
    x, target : Symbol, Expr
        The input and the target, a formula in it.
    moves : bool
        Whether nodes and weights are given with the parameter point.

    Raises
    ------
    ValueError
        If the problem is of another kind.
    """
    if problem.kind != "two_layer" or problem.vector_output:
        raise ValueError(
            f"weighted nodes are for two-layer networks with one output, got a {problem.kind} model with "
            f"{'several outputs' if problem.vector_output else 'one output'}"
        )
    return WeightedProblem(
        problem.kind,
        problem.activation,
        problem.loss,
        False,
        problem.input_bias,
        problem.output_bias,
        "sum",
        sympify(factor, strict=True),
        problem.weight_decay,
        problem.scale,
        problem.freeze,
        problem.rate,
        target=target,
        at=x,
        moves=moves,
    )
