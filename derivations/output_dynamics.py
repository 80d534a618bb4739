r"""The gradient flow in output space: the outputs move by the tangent kernel.

Along :math:`\dot\theta_b = -\eta_b \nabla_b R` with :math:`R = \frac{\kappa}{n} \sum_j \ell(f_j, y_j)`

.. math::
    \dot f_i = \sum_b \langle \partial_b f_i, \dot\theta_b \rangle
             = -\frac{\kappa}{n} \sum_j \Theta_{ij}\, \ell'(f_j, y_j), \qquad
    \Theta_{ij} = \sum_b \eta_b \langle \partial_b f_i, \partial_b f_j \rangle ,

and weight decay adds :math:`-\lambda \sum_b \eta_b \langle \partial_b f_i, \theta_b \rangle`.  ``output_residual`` is
the chain rule with the Jacobian of the forward mode and the gradient of the reverse mode, minus the printed right-hand
side.

Source: Jacot, Gabriel, Hongler, arXiv:1806.07572, Section 3, for the kernel.

>>> from derivations.problem import Problem
>>> output_residual(Problem.deep(3, weight_decay="1/10"))
0
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sympy import Add, Expr, Mul, S

from derivations.canonical import residual
from derivations.derivation import Derivation, Equation
from derivations.hidden_layer import hidden_layers
from derivations.indexed import Entry, Index, ISum, Tensor, fresh, isum
from derivations.jacobian import output_indices, written_out
from derivations.losses import F, Y
from derivations.problem import Block, Problem, n
from derivations.second_order import _Adjoints, _output_adjoints, output_jacobian, tangent_kernel
from derivations.vocabulary import assemble, bound_loss, dot, entry, multiplied_out

__all__ = ["derive_output_dynamics", "output_residual"]


def derive_output_dynamics(problem: Problem) -> Derivation:
    r"""Return :math:`\dot f` and the kernel that moves it; without weight decay :math:`\dot R` as well.

    For the square loss the first equation is printed for the residual e = f - y too.

    Parameters
    ----------
    problem : Problem
        Rates of the blocks enter the kernel; frozen blocks do not.
    """
    at, other = output_indices(problem), _second(problem)
    theta = Entry(_kernel_name(problem), *at, *other)
    kernel, extra = tangent_kernel(problem, at[1:], other[1:])
    decay = multiplied_out(_decay(problem, at))
    flow = _flow(theta, bound_loss(problem, _weights(problem, other)), other)
    equations = [Equation(theta, kernel), Equation(entry(dot(problem.output), at), Add(flow, -decay))]
    notes = []
    if problem.weight_decay == 0:
        notes.append(
            "The flow of the parameters enters through the kernel only, with the rates of the blocks."
        )
        if problem.loss is not None and problem.loss.derivative(1) == F - Y:
            e = Tensor("e", problem.output.dims)
            weight = _scale(problem) * entry(e, other)
            equations.append(Equation(entry(dot(e), at), _flow(theta, weight, other)))
            extra = [*extra, Equation(entry(e, at), entry(problem.output, at) - entry(problem.y, at))]
        r = Tensor("r", problem.output.dims)
        speed = isum(entry(r, at) * theta * entry(r, other), *at, *other)
        equations.append(Equation(dot(problem.risk)(), -speed))
    else:
        notes.append("The last terms come from the weight decay, which acts on the parameters.")
    if problem.freeze:
        notes.append("The kernel is that of the trained blocks.")
    return assemble(problem, "output-dynamics", "Flow of the outputs", equations, notes, extra=extra)


def output_residual(problem: Problem) -> Expr:
    """Return chain rule minus the printed right-hand side in canonical form; 0 is a proof for all sizes and losses."""
    at, other = output_indices(problem), _second(problem)
    moved: Expr = S.Zero
    for block in problem.blocks:
        if block.trained:
            target = tuple(fresh(u) for u in block.indices)
            slope = problem.derived[problem.gradient[block.name]].at(target)
            jacobian = problem.system.jacobian(problem.output, at, block.tensor, target)
            moved -= block.rate * isum(jacobian * slope, *target)
    kernel, extra = tangent_kernel(problem, at[1:], other[1:])
    printed = -isum(written_out(kernel, extra) * _weights(problem, other), *other)
    printed -= written_out(_decay(problem, at), extra)
    named = ("z", "f") if problem.weight_decay == 0 else ()  # the parameters themselves occur in z and f only
    keep = [u.tensor for u in problem.derived if u.tensor.name.startswith(named)] if named else []
    return residual(problem.derived.inline(moved - printed, keep=keep))


def _kernel_name(problem: Problem) -> Tensor:
    return Tensor("Theta", (*problem.output.dims, *problem.output.dims), r"\Theta")


def _second(problem: Problem) -> tuple[Index, ...]:
    return (Index("j", n), *[Index("c'", dim) for dim in problem.output.dims[1:]])


def _weights(problem: Problem, at: tuple[Index, ...]) -> Expr:
    """Return r at ``at``, the derivative of the risk in that output, written with the loss."""
    return problem.derived[Tensor("r", problem.output.dims)].at(at)


def _scale(problem: Problem) -> Expr:
    """Return the constant in front of the derivative of the loss."""
    return problem.factor / (n if problem.reduction == "mean" else 1)


def _flow(theta: Expr, weight: Expr, other: tuple[Index, ...]) -> Expr:
    """Return minus the sum of theta times weight, what does not depend on the indices in front."""
    constant, rest = (
        weight.as_independent(*other, Entry, ISum) if isinstance(weight, Mul) else (S.One, weight)
    )
    return -constant * isum(theta * rest, *other)


def _decay(problem: Problem, at: tuple[Index, ...]) -> Expr:
    """Return the weight decay times the sum over trained blocks of rate, Jacobian and parameter.

    Weights and biases into one layer that move at one rate make up its pre-activation: their part is g z, and that of
    the last layer is f.
    """
    if problem.weight_decay == 0:
        return S.Zero
    total: Expr = S.Zero
    back = {} if problem.kind == "two_layer" else _output_adjoints(problem)
    left = [b for b in problem.blocks if b.trained and b.rate != 0]
    for blocks, whole in _layers(problem, at, back):
        rates = {b.rate for b in blocks}
        if all(b in left for b in blocks) and len(rates) == 1:
            total += rates.pop() * whole
            left = [b for b in left if b not in blocks]
    for block in left:
        target = tuple(fresh(u) for u in block.indices)
        jacobian = output_jacobian(replace(problem, weight_decay=S.Zero), block, at, target, back)
        total += block.rate * isum(jacobian * entry(block.tensor, target), *target)
    return problem.weight_decay * total


def _layers(problem: Problem, at: tuple[Index, ...], back: _Adjoints) -> Iterator[tuple[list[Block], Expr]]:
    """Yield the blocks into each layer with what their parameters times their part of the Jacobian add up to."""
    for layer in hidden_layers(problem):
        p = fresh(Index("p", layer.width))
        if back:
            g, _, _ = back[layer.delta]
            slope: Expr = Entry(g, at[0], p, *at[1:])
        else:
            slope = problem.system.jacobian(problem.output, at, layer.z, (at[0], p))
        into = [layer.incoming, *([layer.bias] if layer.bias else [])]
        z = next(u.tensor for u in problem.system if u.tensor == layer.z)  # with its LaTeX
        yield into, isum(slope * z[at[0], p], p)
    if not problem.hidden_dims:
        return  # a model without layers: block by block
    last = [hidden_layers(problem)[-1].outgoing]
    last += [
        b for b in problem.blocks if b.name == ("c" if problem.kind == "two_layer" else f"b{problem.depth}")
    ]
    yield last, entry(problem.output, at)
