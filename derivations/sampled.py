r"""The risk of weighted samples with shifted targets, and its gradient: what one step of a stochastic method follows.

.. math:: R_{\omega,\xi}(\theta) = \kappa \sum_i \omega_i\, \ell\big(f_i(\theta), y_i + \xi_i\big)
          + \tfrac{\lambda}{2} |\theta|^2 .

A minibatch B of b samples has :math:`\omega_i = \mathbf 1\{i \in B\} / b` under a mean (n/b times the indicator under a sum);
label noise is :math:`\xi`.  The gradient is derived like that of the risk itself, from the same list of definitions.

>>> from derivations.problem import Problem
>>> found = sampled(Problem.two_layer("tanh", "square"))
>>> print(found.system[found.risk].expr)
Sum[_n1](omega[_n1]*ell(f[_n1], xi[_n1] + y[_n1]))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sympy import Expr, Integer

from derivations.generic import GenericFunction
from derivations.indexed import Index, Tensor, isum
from derivations.problem import Problem, n
from derivations.system import System

__all__ = ["Sampled", "sampled"]


@dataclass(frozen=True)
class Sampled:
    """The system with the gradient of the weighted risk.

    Parameters
    ----------
    system : System
        Definitions up to the gradients.
    risk : Tensor
        The weighted risk.
    weights, shift : Tensor
        The leaves omega, (n,), and xi, of the shape of y.
    gradient : dict of str to (Expr, indices)
        Gradient of each block.
    """

    system: System
    risk: Tensor
    weights: Tensor
    shift: Tensor
    gradient: dict[str, tuple[Expr, Sequence[Index]]]


@lru_cache(maxsize=64)
def sampled(problem: Problem) -> Sampled:
    """Return the weighted risk of a problem with samples and its gradient, for all sizes.

    Parameters
    ----------
    problem : Problem
        Its activation and loss need not be known.
    """
    i = problem.system.formals(problem.output)[0]
    outputs = problem.system.formals(problem.output)[1:]
    weights, shift = Tensor("omega", (n,), r"\omega"), Tensor("xi", problem.y.dims, r"\xi")
    risk = Tensor("Romega", (), r"R_{\omega,\xi}")
    system = System(
        problem.system.declarations,
        tuple(definition for definition in problem.system if definition.tensor != problem.risk),
    )
    system = system.declare(weights, (i,)).declare(shift, (i, *outputs))
    every = (i, *outputs)
    per_output = GenericFunction("ell", (0, 0), problem.output[every], problem.y[every] + shift[every])
    total = problem.factor * isum(weights[i] * isum(per_output, *outputs), i)
    if problem.weight_decay != 0:
        for block in problem.blocks:
            entry = block.tensor[block.indices] if block.indices else block.tensor()
            total += problem.weight_decay / Integer(2) * isum(entry**2, *block.indices)
    system, gradients = system.define(risk, (), total).reverse(risk, problem.parameters)
    outcome: dict[str, tuple[Expr, Sequence[Index]]] = {}
    for block in problem.blocks:
        tensor = gradients[block.tensor]
        outcome[block.name] = (tensor[block.indices] if block.indices else tensor(), block.indices)
    return Sampled(system, risk, weights, shift, outcome)
