r"""The symmetries of the data (``derivations.sample_symmetries``) as they act on the parameters of a compiled network.

The image of a critical point is a critical point of the same value; its orbit need not be that of the point.
"""

from __future__ import annotations

from torch import Tensor

from derivations.sample_symmetries import SampleSymmetry
from numerics.compile import CompiledSystem

__all__ = ["moved"]


def moved(system: CompiledSystem, symmetry: SampleSymmetry, theta: Tensor) -> Tensor:
    """Return the images (..., P) of parameters (..., P) of a two-layer or deep network.

    Raises
    ------
    ValueError
        If the model is no network.
    """
    problem = system.problem
    if problem.kind not in ("two_layer", "deep"):
        raise ValueError(f"data symmetries act on networks; the model is of kind {problem.kind}")
    deep = problem.kind == "deep"
    first, bias, last, constant = (
        ("W1", "b1", f"W{problem.depth}", f"b{problem.depth}") if deep else ("w", "b", "a", "c")
    )
    out = theta.clone()
    spans = {name: (shape, where) for name, shape, where in system.layout}

    def part(name: str) -> Tensor:
        shape, where = spans[name]
        return theta[..., where].reshape((*theta.shape[:-1], *shape))

    def put(name: str, value: Tensor) -> None:
        out[..., spans[name][1]] = value.reshape(*theta.shape[:-1], -1)

    weights = part(first)[..., list(symmetry.order)] * theta.new_tensor([float(s) for s in symmetry.signs])
    put(first, weights)
    if any(t != 0 for t in symmetry.shift):
        put(bias, part(bias) - (weights * theta.new_tensor([float(t) for t in symmetry.shift])).sum(dim=-1))
    signs = theta.new_tensor([float(s) for s in symmetry.out_signs])
    shift = theta.new_tensor([float(t) for t in symmetry.out_shift])
    order = list(symmetry.out_order)
    if not problem.vector_output:
        put(last, part(last) * signs[0])
    elif deep:  # outputs come first
        put(last, part(last)[..., order, :] * signs[:, None])
    else:
        put(last, part(last)[..., order] * signs)
    if constant in spans:
        put(
            constant,
            part(constant) * signs[0] + shift[0]
            if not problem.vector_output
            else part(constant)[..., order] * signs + shift,
        )
    return out
