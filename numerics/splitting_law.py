r"""Inertia that splitting a neuron, or adding a null neuron, adds to the Hessian: predicted, not measured.

The forms are those of ``derivations.splitting_law`` and ``derivations.null_embedding``:

* K copies with fractions gamma: In(B) = ((K-1) rho, (K-1)(q-rho), (K-1) rho) + In(G (x) U on ker V^T) as
  (positive, zero, negative), rho = rank V (D, q), U (D, D), In G = (#{gamma > 0} - 1, #{gamma = 0}, #{gamma < 0});
* a null neuron: (rho, q + D - 2 rho, rho) with rho = rank v, v = s sigma'(alpha) sum_i x~_i r_i^T of shape (D, q).

>>> U = torch.diag(torch.tensor([-1.0, 2.0, 3.0], dtype=torch.float64))
>>> predict_split_inertia(torch.zeros(3, 1, dtype=torch.float64), U, (0.5, 0.5))
Inertia(negative=1, zero=1, positive=2)
>>> predict_split_inertia(torch.zeros(3, 1, dtype=torch.float64), U, (1.5, -0.5))
Inertia(negative=2, zero=1, positive=1)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from derivations.activations import Z
from derivations.null_embedding import null_expressions
from derivations.splitting_law import curvature_expressions
from numerics.compile import CompiledSystem
from numerics.spectrum import Inertia
from numerics.tolerances import ZERO_EIGENVALUE, same_formula

__all__ = [
    "Curvature",
    "add_null",
    "curvature",
    "null_curvature",
    "predict_null_inertia",
    "predict_split_inertia",
    "split",
]


class Curvature(NamedTuple):
    """``V`` (D, q) and ``U`` (D, D) of one neuron; D = d + 1 with an input bias (its row is the last), else d."""

    V: Tensor
    U: Tensor


def curvature(system: CompiledSystem, theta: Tensor, layer: int = 1) -> list[Curvature]:
    r"""Return V_k and U_k of every neuron of a hidden layer at one parameter point.

    .. math::
        V_k = s \sum_i \sigma'(z_{ik})\, \tilde x_i r_i^\top, \qquad
        U_k = s \sum_i (a_k^\top r_i)\, \sigma''(z_{ik})\, \tilde x_i \tilde x_i^\top,
        \qquad r_i = \partial R/\partial f_i ,

    with what enters the layer for x and the adjoint behind it for r in a deep network.

    Parameters
    ----------
    system : CompiledSystem
        Of a two-layer or deep problem.
    theta : Tensor, shape (P,)
    layer : int
        Number of the hidden layer.

    Raises
    ------
    ValueError
        If theta is not one point, there is no such layer, or the problem has frozen blocks or weight decay.
    """
    _check(system, theta)
    expressions = curvature_expressions(system.problem, layer)
    parts = system.evaluate(system.problem.derived, expressions, theta)
    if len(expressions["V_w"][1]) == 2:  # one adjoint behind the layer
        parts |= {name: part[..., None] for name, part in parts.items() if name.startswith("V")}
    V, U = parts["V_w"], parts["U_ww"]
    if system.problem.input_bias:
        V = torch.cat([V, parts["V_b"][:, None, :]], dim=1)
        column = parts["U_wb"][:, :, None]
        last = torch.cat([column.transpose(1, 2), parts["U_bb"][:, None, None]], dim=2)
        U = torch.cat([torch.cat([U, column], dim=2), last], dim=1)
    return [Curvature(v, u) for v, u in zip(V, U, strict=True)]


def null_curvature(system: CompiledSystem, theta: Tensor, alpha: float = 0.0) -> Tensor:
    r"""Return :math:`v = s\,\sigma'(\alpha) \sum_i \tilde x_i r_i^\top`, shape (D, q), of a null neuron with bias alpha.

    Raises
    ------
    ValueError
        As ``curvature``; or if alpha is not 0 and there is no input bias; or if there is no output bias and
        sigma(alpha) is not 0, because the wide point is then not critical.
    """
    _check(system, theta)
    _check_bias(system, alpha)
    activation = system.problem.activation
    assert activation is not None  # a compiled system has one
    value = float(activation.expr.subs(Z, alpha))
    if not system.problem.output_bias and abs(value) > same_formula(torch.float64):
        raise ValueError(
            f"sigma({alpha}) = {value:.3g}; without an output bias a null neuron needs sigma(alpha) = 0 to be critical"
        )
    parts = system.evaluate(system.problem.derived, null_expressions(system.problem), theta)
    if not system.problem.vector_output:
        parts = {name: part[..., None] for name, part in parts.items()}
    moments = parts["S_w"]
    if system.problem.input_bias:
        moments = torch.cat([moments, parts["S_b"][None, :]], dim=0)
    return float(activation.derivative(1).subs(Z, alpha)) * moments


def predict_split_inertia(
    V: Tensor, U: Tensor, fractions: Sequence[float], rho_tolerance: float | None = None
) -> Inertia:
    r"""Return the inertia that splitting into ``len(fractions)`` copies adds to that of the narrow Hessian.

    Parameters
    ----------
    V : Tensor, shape (D, q)
    U : Tensor, shape (D, D)
    fractions : sequence of float
        :math:`\gamma_j`, with sum 1; any sign; an exact 0.0 is a zero fraction.
    rho_tolerance : float, optional
        Singular values of V and eigenvalues of U up to this absolute size count as zero; pass the ``tolerance`` of the
        narrow Hessian's spectrum.  Without it, 1e-9 times the largest of all of them: then a V that is zero up to
        rounding and a U that vanishes cannot be told apart.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the fractions do not sum to 1.
    """
    size, outputs = V.shape
    if U.shape != (size, size):
        raise ValueError(f"V has shape {tuple(V.shape)}, so U must be ({size}, {size}); got {tuple(U.shape)}")
    fractions = _fractions(fractions)
    left, singular, _ = torch.linalg.svd(V, full_matrices=True)
    if rho_tolerance is None:
        largest = max(float(singular.max()), float(torch.linalg.matrix_norm(U, 2)))
        rho_tolerance = ZERO_EIGENVALUE * largest
    rank = int((singular > rho_tolerance).sum())
    kernel = left[:, rank:]
    inner = torch.linalg.eigvalsh(kernel.T @ U @ kernel) if rank < size else U.new_zeros(0)
    up, down = int((inner > rho_tolerance).sum()), int((inner < -rho_tolerance).sum())
    more, less = sum(g > 0 for g in fractions) - 1, sum(g < 0 for g in fractions)
    extra = len(fractions) - 1
    positive, negative = more * up + less * down, more * down + less * up
    rest = extra * (size - rank) - positive - negative
    return Inertia(extra * rank + negative, extra * (outputs - rank) + rest, extra * rank + positive)


def predict_null_inertia(v: Tensor, rho_tolerance: float | None = None) -> Inertia:
    r"""Return the inertia (rho, q + D - 2 rho, rho) that a null neuron adds to a critical point, rho = rank v.

    Parameters
    ----------
    v : Tensor, shape (D, q)
        From ``null_curvature``.
    rho_tolerance : float, optional
        Singular values up to this absolute size count as zero; 1e-9 times the largest without it.
    """
    singular = torch.linalg.svdvals(v)
    tolerance = ZERO_EIGENVALUE * float(singular.max()) if rho_tolerance is None else rho_tolerance
    rank = int((singular > tolerance).sum())
    return Inertia(rank, sum(v.shape) - 2 * rank, rank)


def split(
    narrow: CompiledSystem, wide: CompiledSystem, theta: Tensor, neuron: int, fractions: Sequence[float]
) -> Tensor:
    r"""Return the wide parameters, (..., P') from (..., P): the first copy in place of the neuron, the others at the end.

    Where the output scale depends on the width, every output weight is multiplied by s(narrow) / s(wide).

    Raises
    ------
    ValueError
        If the widths do not differ by ``len(fractions) - 1``, the neuron does not exist, or the sum of fractions is not 1.
    """
    fractions = _fractions(fractions)
    width = narrow.sizes["m"]
    _check_widths(narrow, wide, len(fractions) - 1)
    if not 0 <= neuron < width:
        raise ValueError(f"there is no neuron {neuron}; the narrow network has neurons 0 to {width - 1}")
    order = [*range(width), *([neuron] * (len(fractions) - 1))]
    take = torch.tensor(order, device=theta.device)
    blocks = {
        name: part if name == "c" else part.index_select(1, take)
        for name, part in _rows(narrow, theta).items()
    }
    weights = blocks["a"].new_ones(len(order))
    weights[neuron] = fractions[0]
    weights[width:] = weights.new_tensor(fractions[1:])
    blocks["a"] = _rescale(narrow, wide) * weights.reshape(-1, *[1] * (blocks["a"].dim() - 2)) * blocks["a"]
    return _flat(wide, blocks, theta)


def add_null(narrow: CompiledSystem, wide: CompiledSystem, theta: Tensor, alpha: float = 0.0) -> Tensor:
    r"""Return the wide parameters, (..., P') from (..., P), with one neuron a = 0, w = 0, b = alpha at the end.

    Raises
    ------
    ValueError
        If the widths do not differ by 1, or alpha is not 0 and there is no input bias.
    """
    _check_widths(narrow, wide, 1)
    _check_bias(narrow, alpha)
    blocks = {}
    for name, part in _rows(narrow, theta).items():
        if name != "c":
            new = torch.full_like(part[:, :1], alpha if name == "b" else 0.0)
            part = torch.cat([part, new], dim=1)
        blocks[name] = part
    blocks["a"] = _rescale(narrow, wide) * blocks["a"]
    return _flat(wide, blocks, theta)


def _rows(system: CompiledSystem, theta: Tensor) -> dict[str, Tensor]:
    """Return the blocks with one leading axis for the points; the neurons are then on axis 1."""
    return system.unpack(theta.reshape(-1, system.P))


def _flat(system: CompiledSystem, blocks: dict[str, Tensor], theta: Tensor) -> Tensor:
    lead = theta.shape[:-1]
    return torch.cat([blocks[name].reshape(*lead, -1) for name, _, _ in system.layout], dim=-1)


def _rescale(narrow: CompiledSystem, wide: CompiledSystem) -> float:
    """Return s(narrow) / s(wide)."""
    values = []
    for system in (narrow, wide):
        symbols = {symbol: system.sizes[str(symbol)] for symbol in system.problem.scale.free_symbols}
        values.append(float(system.problem.scale.subs(symbols)))
    return values[0] / values[1]


def _fractions(fractions: Sequence[float]) -> list[float]:
    out = [float(g) for g in fractions]
    size = max(1.0, sum(abs(g) for g in out))
    if not out or not abs(sum(out) - 1) <= same_formula(torch.float64) * size:
        raise ValueError(f"the fractions {out} sum to {sum(out)}; they must sum to 1")
    return out


def _check_widths(narrow: CompiledSystem, wide: CompiledSystem, extra: int) -> None:
    if narrow.problem != wide.problem:
        raise ValueError(
            "the narrow and the wide network must belong to one problem; compile it at two widths"
        )
    if narrow.problem.kind != "two_layer":
        raise ValueError(f"these embeddings are for two-layer networks, got a {narrow.problem.kind} network")
    have = wide.sizes["m"] - narrow.sizes["m"]
    if have != extra:
        raise ValueError(f"the wide network has {have} more neurons than the narrow one, {extra} are needed")


def _check_bias(system: CompiledSystem, alpha: float) -> None:
    if alpha != 0 and not system.problem.input_bias:
        raise ValueError(f"alpha is {alpha}, but the network has no input bias; alpha must be 0")


def _check(system: CompiledSystem, theta: Tensor) -> None:
    problem = system.problem
    if theta.shape != (system.P,):
        raise ValueError(f"theta has shape {tuple(theta.shape)}; one point of shape ({system.P},) is needed")
    frozen = [block.name for block in problem.blocks if not block.trained]
    if frozen:
        raise ValueError(
            f"blocks {', '.join(frozen)} are frozen; the law counts every block, leave freeze empty"
        )
    if problem.weight_decay != 0:
        raise ValueError(
            f"weight decay is {problem.weight_decay}; splitting keeps critical points only where it is 0"
        )
