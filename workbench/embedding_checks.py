r"""Critical points embedded into the next width, checked numerically.

The splitting of neuron s with fraction alpha and the null neuron are affine maps :math:`T\theta = A\theta + c` with
:math:`\nabla R_{wide}(T\theta) = B\,\nabla R_{narrow}(\theta)` for every theta; differentiating,
:math:`H_{wide} A = B H_{narrow}`.  A is the map applied to unit vectors; B is written down by hand, apart from the
symbolic proof.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Theorem 4.1 and Definition 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.spectrum import Inertia, spectrum
from numerics.splitting_law import (
    add_null,
    curvature,
    null_curvature,
    predict_null_inertia,
    predict_split_inertia,
    split,
)

__all__ = ["EmbeddedPoint", "embed_null", "embed_split"]


@dataclass(frozen=True)
class EmbeddedPoint:
    """A wide point with the residuals of the identities above and its inertia, measured and predicted.

    ``clear`` says whether both spectra, narrow and wide, have a gap between zero and non-zero eigenvalues.
    """

    theta: Tensor
    output_error: float
    gradient_norm: float
    intertwining: float
    inertia: Inertia
    predicted: Inertia | None
    clear: bool


def embed_split(
    narrow: CompiledSystem, wide: CompiledSystem, theta: Tensor, neuron: int, alpha: float
) -> EmbeddedPoint:
    """Split one neuron: the old copy keeps (1 - alpha) of its output weights, the copy at the end gets alpha."""
    fractions = (1 - alpha, alpha)
    unit = torch.eye(narrow.P, dtype=theta.dtype, device=theta.device)
    A = split(narrow, wide, unit, neuron, fractions).T
    # The gradients of both copies: in the output weights that of the neuron, in the inputs its shares.
    blocks = {}
    for name, part in narrow.unpack(unit).items():
        if name != "c":
            part = torch.cat([part, part[:, neuron : neuron + 1]], dim=1)
        if name in ("w", "b"):
            part[:, [neuron, -1]] *= part.new_tensor(fractions).reshape(1, 2, *[1] * (part.dim() - 2))
        blocks[name] = part.reshape(narrow.P, -1)
    B = torch.cat([blocks[name] for name, _, _ in wide.layout], dim=1).T
    v, u = curvature(narrow, theta)[neuron]
    # At an exact fit V and U are rounding; the absolute size that counts as zero is that of the narrow spectrum.
    before = spectrum(narrow.hessian(theta))
    predicted = before.inertia + predict_split_inertia(v, u, fractions, before.tolerance)
    return _compare(narrow, wide, theta, A @ theta, A, B, predicted, before.clear)


def embed_null(
    narrow: CompiledSystem, wide: CompiledSystem, theta: Tensor, bias: float, sigma: float
) -> EmbeddedPoint:
    """Add a neuron with vanishing input and output weights and the given bias, where the activation is ``sigma``."""
    A = add_null(narrow, wide, torch.eye(narrow.P, dtype=theta.dtype, device=theta.device)).T
    B = A.clone()
    places = {name: where for name, _, where in wide.layout}
    if "c" in places:
        # d/da' of the risk is sigma(bias) times its derivative by the output bias, at every theta.
        c, a = narrow.layout[-1][2], places["a"]
        for output in range(c.stop - c.start):
            B[a.stop - (c.stop - c.start) + output, c.start + output] = sigma * float(narrow.problem.scale)
    before = spectrum(narrow.hessian(theta))
    predicted = before.inertia + predict_null_inertia(null_curvature(narrow, theta, bias), before.tolerance)
    point = add_null(narrow, wide, theta, bias)
    return _compare(narrow, wide, theta, point, A, B, predicted, before.clear)


def _compare(
    narrow: CompiledSystem,
    wide: CompiledSystem,
    theta: Tensor,
    point: Tensor,
    A: Tensor,
    B: Tensor,
    predicted: Inertia | None,
    clear: bool,
) -> EmbeddedPoint:
    gradient, hessian = wide.gradient(point), wide.hessian(point)
    outputs = float((wide.outputs(point) - narrow.outputs(theta)).abs().max())
    identity = float(torch.linalg.matrix_norm(hessian @ A - B @ narrow.hessian(theta)))
    scale = 1 + float(torch.linalg.matrix_norm(hessian))
    found = spectrum(hessian)
    return EmbeddedPoint(
        point,
        outputs,
        float(gradient.norm()),
        identity / scale,
        found.inertia,
        predicted,
        clear and found.clear,
    )
