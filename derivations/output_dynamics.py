r"""The gradient flow in output space: the outputs move by the tangent kernel.

Along :math:`\dot\theta_b = -\eta_b \nabla_b R` with :math:`R = \frac{\kappa}{n} \sum_j \ell(f_j, y_j)`

.. math::
    \dot f_i = \sum_b \langle \partial_b f_i, \dot\theta_b \rangle
             = -\frac{\kappa}{n} \sum_j \Theta_{ij}\, \ell'(f_j, y_j), \qquad
    \Theta_{ij} = \sum_b \eta_b \langle \partial_b f_i, \partial_b f_j \rangle ,

and a weight decay :math:`\lambda` adds :math:`-\lambda\, (J\theta)_i` with
:math:`(J\theta)_i = \sum_b \eta_b \langle \partial_b f_i, \theta_b \rangle`, all sums over the trained blocks.  With
:math:`r = \partial R / \partial f` the gradient is :math:`\nabla_b R = \sum_i r_i\, \partial_b f_i + \lambda \theta_b`, so that

.. math::
    \dot R = -\sum_b \eta_b |\nabla_b R|^2
           = -\sum_{ij} r_i \Theta_{ij} r_j - 2 \lambda \sum_i r_i (J\theta)_i - \lambda^2 \sum_b \eta_b |\theta_b|^2 .

``output_residual`` is the chain rule with the Jacobian of the forward mode and the gradient of the reverse mode, minus the
printed right-hand side.

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

__all__ = ["derive_ntk", "derive_output_dynamics", "output_residual", "parameters_through_outputs"]

DECAYED = (
    r"$(J\theta)$ is the sum over the trained parameters of rate, derivative of the output, and parameter: the way weight "
    "decay acts on the outputs."
)


def derive_ntk(problem: Problem) -> Derivation:
    """Return the tangent kernel over the trained blocks and the equation of the outputs it governs."""
    at, other = output_indices(problem), _second(problem)
    theta = Entry(_kernel_name(problem), *at, *other)
    kernel, extra = tangent_kernel(problem, at[1:], other[1:])
    flow = -isum(theta * entry(Tensor("r", problem.output.dims), other), *other)
    notes = []
    if problem.weight_decay != 0:
        decay, defined = _decay(problem, at)
        flow, extra = Add(flow, -decay), [*extra, *defined]
        notes.append(DECAYED)
    equations = [Equation(theta, kernel), Equation(entry(dot(problem.output), at), flow)]
    if any(b.rate != 1 for b in problem.blocks):
        notes.append("Each block enters the kernel with its rate.")
    if problem.freeze:
        notes.append("The kernel is that of the trained blocks.")
    return assemble(problem, "ntk", "Neural tangent kernel", equations, notes, extra=extra)


def derive_output_dynamics(problem: Problem) -> Derivation:
    r"""Return :math:`\dot f` and :math:`\dot R` with the kernel that moves them.

    For the square loss without weight decay the first equation is printed for the residual e = f - y too.

    Parameters
    ----------
    problem : Problem
        Rates of the blocks enter the kernel; frozen blocks do not.
    """
    at, other = output_indices(problem), _second(problem)
    theta = Entry(_kernel_name(problem), *at, *other)
    kernel, extra = tangent_kernel(problem, at[1:], other[1:])
    flow = _flow(theta, bound_loss(problem, _weights(problem, other)), other)
    r = Tensor("r", problem.output.dims)
    speed = -isum(entry(r, at) * theta * entry(r, other), *at, *other)
    notes = []
    if problem.weight_decay != 0:
        decay, defined = _decay(problem, at)
        flow, extra = Add(flow, -decay), [*extra, *defined]
        speed = Add(speed, -2 * isum(entry(r, at) * decay, *at), -_shrinking(problem))
        notes.append(DECAYED)
    else:
        notes.append(
            "The flow of the parameters enters through the kernel only, with the rates of the blocks."
        )
    equations = [Equation(theta, kernel), Equation(entry(dot(problem.output), at), flow)]
    if problem.weight_decay == 0 and problem.loss is not None and problem.loss.derivative(1) == F - Y:
        e = Tensor("e", problem.output.dims)
        weight = _scale(problem) * entry(e, other)
        equations.append(Equation(entry(dot(e), at), _flow(theta, weight, other)))
        extra = [*extra, Equation(entry(e, at), entry(problem.output, at) - entry(problem.y, at))]
    equations.append(Equation(dot(problem.risk)(), speed))
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
    printed -= problem.weight_decay * written_out(parameters_through_outputs(problem, at), extra)
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


def _decay(problem: Problem, at: tuple[Index, ...]) -> tuple[Expr, list[Equation]]:
    r"""Return :math:`\lambda (J\theta)` at ``at`` and the definition of its second factor."""
    moved = multiplied_out(parameters_through_outputs(problem, at))
    name = entry(Tensor("Jtheta", problem.output.dims, r"(J\theta)"), at)
    return problem.weight_decay * name, [Equation(name, moved)]


def _shrinking(problem: Problem) -> Expr:
    """Return the square of the weight decay times the squares of the trained parameters, each with its rate."""
    squares = [
        b.rate * isum(entry(b.tensor, b.indices) ** 2, *b.indices) for b in problem.blocks if b.trained
    ]
    return problem.weight_decay**2 * Add(*squares)


def parameters_through_outputs(problem: Problem, at: tuple[Index, ...]) -> Expr:
    r"""Return :math:`(J\theta)` at ``at``: the sum over trained blocks of rate, Jacobian and parameter.

    Weights and biases into one layer that move at one rate make up its pre-activation: their part is g z, and that of
    the last layer is f.
    """
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
    return total


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
