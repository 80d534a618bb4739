r"""Tell a critical point from a run to infinity that stopped because its gradient became tiny.

A neuron whose slope :math:`\sigma'(z_{ik})` vanishes at (almost) all samples is a step or a constant: its input weights
can grow without changing the outputs at the samples, and the gradient falls exponentially along the way, so Newton's
method stops at a place that has nothing special.  The measure is the smallest singular value of the matrix with rows
:math:`\sigma'(z_{ik})\,(x_i, 1)`: a genuine neuron moves the outputs in every direction of its input weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from derivations.generic import GenericFunction
from derivations.hidden_layer import hidden_layers
from numerics.compile import CompiledSystem
from numerics.critical import still_along_flat, trained
from numerics.tolerances import POLISHED_GRADIENT, ZERO_EIGENVALUE, zero_eigenvalue

__all__ = ["converged", "drifts", "saturated"]

# Along a run to infinity the measure was below 1e-6 when the gradient had fallen to 1e-10; for the critical points of the
# shipped studies it was above 1e-3.
SATURATION = 1e-5
# A pre-activation up to this size is not in the tail of an activation of the scale of tanh or the Gaussian.
RESTING = 2.0
# Steps along a null vector, relative to 1 + |theta|, and what slope along it rounding cannot explain.
DRIFT_STEP, DRIFT_NOISE = 0.02, 1e-15


def saturated(system: CompiledSystem, theta: Tensor) -> Tensor:
    r"""Say for each row of theta (B, P) whether a neuron with a non-zero output weight is saturated, shape (B,).

    The singular value is compared with ``SATURATION`` times that of the inputs alone, (x, 1), for
    :math:`\max |\sigma'|` of order one; in a deep network the inputs of a layer are the outputs of the one before.

    Raises
    ------
    ValueError
        If the problem is not a network.
    """
    problem = system.problem
    if problem.kind not in ("two_layer", "deep"):
        raise ValueError(f"saturation is defined for networks, got {problem.kind}")
    blocks = system.unpack(theta)
    x = system.x.expand(len(theta), *system.x.shape)
    out = torch.zeros(len(theta), dtype=torch.bool, device=theta.device)
    for layer in hidden_layers(problem):
        definition = next(found for found in problem.system if found.tensor.name == layer.z.name)
        i, k = definition.indices
        pre = definition.tensor[i, k]
        wanted = {f"order {j}": (GenericFunction("sigma", (j,), pre), (i, k)) for j in (0, 1)}
        values = system.evaluate(problem.derived, {**wanted, "z": (pre, (i, k))}, theta)
        if problem.input_bias:
            x = torch.cat([x, torch.ones_like(x[..., :1])], dim=2)
        leave = blocks[layer.outgoing.name].movedim(layer.slot(layer.outgoing) + 1, 1)
        out |= _flat_neuron(values["order 1"], values["z"], x, leave.reshape(len(theta), leave.shape[1], -1))
        x = values["order 0"]
    return out


def _flat_neuron(slope: Tensor, z: Tensor, x: Tensor, leave: Tensor) -> Tensor:
    """Say for slopes and pre-activations (B, n, m), inputs (B, n, inputs) and outgoing weights (B, m, outputs) whether one is flat."""
    plain = torch.linalg.svdvals(x)
    rank = (plain > 1e-9 * plain[:, :1]).sum(dim=1) - 1
    moved = torch.linalg.svdvals(slope.transpose(1, 2)[..., None] * x[:, None])
    sizes = moved.gather(2, rank[:, None, None].expand(len(moved), moved.shape[1], 1))[..., 0]
    size = leave.abs().amax(dim=2)
    alive = size > 1e-5 * (1 + size.amax(dim=1, keepdim=True))
    flat = sizes <= SATURATION * plain.gather(1, rank[:, None])
    # An even activation is flat at z = 0 too; a saturated neuron is flat only where |z| is large.
    resting = (slope.abs() <= SATURATION) & (z.abs() < RESTING)
    return (flat & alive & ~resting.any(dim=1)).any(dim=1)


def converged(system: CompiledSystem, theta: Tensor) -> Tensor:
    """Say for each row of theta (B, P) whether its gradient is at rounding level, shape (B,).

    The largest entry is compared with ``POLISHED_GRADIENT`` times the largest entry of the Hessian, or 1; along flat directions it must
    vanish by itself (``numerics.critical.still_along_flat``).
    """
    free = trained(system)
    _, gradient, hessian = system.value_gradient_hessian(theta)
    gradient, hessian = gradient[:, free], hessian[:, free, :][:, :, free]
    size = hessian.abs().amax(dim=(1, 2)).clamp(min=1.0)
    return (gradient.abs().amax(dim=1) <= POLISHED_GRADIENT * size) & still_along_flat(gradient, hessian)


def drifts(system: CompiledSystem, theta: Tensor) -> bool:
    r"""Say whether a point (P,) with a singular Hessian is a slow run to infinity rather than a critical point.

    Along a unit null vector v of the Hessian let :math:`\varphi(s)` be the slope of R in direction v at
    :math:`\theta + s v`, after Newton's method in the complement of v has led back to the floor of the valley.  At a
    critical point :math:`\varphi(0) = 0`, so that :math:`|\varphi|` has its minimum there, whatever the order of the
    zero.  On a run to infinity it keeps its sign and falls monotonically in one direction.
    """
    eigenvalues, vectors = torch.linalg.eigh(system.hessian(theta))
    step = DRIFT_STEP * (1 + theta.norm())
    offsets = step * torch.arange(-2, 3, dtype=theta.dtype, device=theta.device)
    for column in torch.nonzero(eigenvalues.abs() <= zero_eigenvalue(eigenvalues)).flatten().tolist():
        v = vectors[:, column]
        slope = _slope_on_the_floor(system, theta + offsets[:, None] * v, v)
        size, change = slope.abs(), slope.abs().diff()
        one_sign = bool((slope > 0).all()) or bool((slope < 0).all())
        if (
            one_sign
            and (bool((change > 0).all()) or bool((change < 0).all()))
            and float(size.max()) > DRIFT_NOISE
        ):
            return True
    return False


def _slope_on_the_floor(system: CompiledSystem, theta: Tensor, v: Tensor) -> Tensor:
    """Return the slope along v at the rows of theta (B, P) after Newton steps orthogonal to v."""
    across = torch.eye(len(v), dtype=v.dtype, device=v.device) - torch.outer(v, v)
    for _ in range(6):
        _, gradient, hessian = system.value_gradient_hessian(theta)
        inverse = torch.linalg.pinv(across @ hessian @ across, rtol=ZERO_EIGENVALUE, hermitian=True)
        theta = theta - (inverse @ gradient[..., None])[..., 0]
    return system.gradient(theta) @ v
