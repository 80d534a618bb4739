r"""Critical points embedded into the next width, checked numerically.

The splitting of neuron s with fraction alpha and the null neuron are affine maps :math:`T\theta = A\theta + c` with
:math:`\nabla R_{wide}(T\theta) = B\,\nabla R_{narrow}(\theta)` for every theta; differentiating,
:math:`H_{wide} A = B H_{narrow}`.  Here A and B are written down by hand, apart from the symbolic proof.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Theorem 4.1 and Definition 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.spectrum import Inertia, spectrum
from numerics.splitting_law import curvature, predict_null_inertia, predict_split_inertia

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
    blocks = narrow.unpack(torch.eye(narrow.P, dtype=theta.dtype, device=theta.device))
    forward, backward = {}, {}
    for name, unit in blocks.items():
        if name == "c":
            forward[name] = backward[name] = unit
            continue
        copy = unit[:, neuron : neuron + 1]
        keep = torch.ones(unit.shape[1], dtype=theta.dtype, device=theta.device)
        keep[neuron] = 1 - alpha
        weighted = unit * keep.reshape(1, -1, *[1] * (unit.dim() - 2))
        plain, shared = torch.cat([unit, copy], dim=1), torch.cat([weighted, alpha * copy], dim=1)
        forward[name], backward[name] = (shared, plain) if name == "a" else (plain, shared)
    A, B = (
        torch.cat([part[name].reshape(narrow.P, -1) for name in blocks], dim=1).T
        for part in (forward, backward)
    )
    v, u = curvature(narrow, theta)[neuron]
    # At an exact fit V and U are rounding; the absolute size that counts as zero is that of the narrow spectrum.
    before = spectrum(narrow.hessian(theta))
    predicted = before.inertia + predict_split_inertia(v, u, (1 - alpha, alpha), before.tolerance)
    return _compare(narrow, wide, theta, A @ theta, A, B, predicted, before.clear)


def embed_null(
    narrow: CompiledSystem, wide: CompiledSystem, theta: Tensor, bias: float, sigma: float
) -> EmbeddedPoint:
    """Add a neuron with vanishing input and output weights and the given bias, where the activation is ``sigma``."""
    A = torch.zeros(wide.P, narrow.P, dtype=theta.dtype, device=theta.device)
    for (_, _, rows), (_, _, columns) in zip(wide.layout, narrow.layout, strict=True):
        length = columns.stop - columns.start
        A[rows.start : rows.start + length, columns] = torch.eye(
            length, dtype=theta.dtype, device=theta.device
        )
    offset = torch.zeros(wide.P, dtype=theta.dtype, device=theta.device)
    places = {name: where for name, _, where in wide.layout}
    if "b" in places:
        offset[places["b"].stop - 1] = bias
    B = A.clone()
    if "c" in places:
        # d/da' of the risk is sigma(bias) times its derivative by the output bias, at every theta.
        c, a = narrow.layout[-1][2], places["a"]
        for output in range(c.stop - c.start):
            B[a.stop - (c.stop - c.start) + output, c.start + output] = sigma * float(narrow.problem.scale)
    before = spectrum(narrow.hessian(theta))
    point = A @ theta + offset
    predicted = before.inertia + predict_null_inertia(curvature(wide, point)[-1][0], before.tolerance)
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
