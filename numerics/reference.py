r"""The independent oracle: the same networks written by hand in PyTorch and differentiated by autograd.

Nothing here comes from the derivations or from the compiler, so that an error there cannot hide in its own check.
The price is speed: points are taken one at a time, and the Hessian is dense.

.. math::
    f(x) = s \sum_k a_k \sigma(w_k \cdot x + b_k) + c, \qquad
    R(\theta) = \kappa \operatorname{reduce}_i \ell(f(x_i), y_i) + \tfrac{\lambda}{2} \lVert\theta\rVert^2 .

Activations and losses given as formulas have no entry in the dictionaries below; for those a second oracle,
``finite_difference_gradient``, needs values only.

>>> x, y = torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
>>> oracle = Reference(x, y, activation="linear", loss="square", widths=(1,))
>>> theta = torch.tensor([3.0, 1.0], dtype=torch.float64)  # f = 3 * 1 * 2 = 6, R = (6 - 1)^2 / 2
>>> oracle.value(theta).item(), oracle.gradient(theta).tolist(), oracle.hessian(theta).tolist()
(12.5, [10.0, 30.0], [[4.0, 22.0], [22.0, 36.0]])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

__all__ = ["ACTIVATIONS", "LOSSES", "Reference", "finite_difference_gradient"]

Scalar = Callable[[Tensor], Tensor]
PerOutput = Callable[[Tensor, Tensor], Tensor]
Activation = Callable[[Tensor, float], Tensor]


def _relu(z: Tensor, kink: float) -> Tensor:
    # The branch at 0 carries the stated derivative there; its value is 0 like that of the others.
    return torch.where(z == 0, kink * z, torch.where(z > 0, z, torch.zeros_like(z)))


def _abs(z: Tensor, kink: float) -> Tensor:
    return torch.where(z == 0, kink * z, torch.where(z > 0, z, -z))


_PLAIN: Final[Mapping[str, Activation]] = MappingProxyType(
    {
        "linear": lambda z, kink: z,
        "relu": _relu,
        "abs": _abs,
        "quadratic": lambda z, kink: z * z,
        "cubic": lambda z, kink: z * z * z,
        "tanh": lambda z, kink: torch.tanh(z),
        "sigmoid": lambda z, kink: torch.sigmoid(z),
        "softplus": lambda z, kink: -torch.nn.functional.logsigmoid(-z),
        "erf": lambda z, kink: torch.erf(z),
        "gelu": lambda z, kink: z * torch.erfc(-z / math.sqrt(2)) / 2,
        "silu": lambda z, kink: z * torch.sigmoid(z),
        "sin": lambda z, kink: torch.sin(z),
        "cos": lambda z, kink: torch.cos(z),
        "gaussian": lambda z, kink: torch.exp(-z * z / 2),
        "exp": lambda z, kink: torch.exp(z),
        "softsign": lambda z, kink: z / (1 + z.abs()),
        "rational": lambda z, kink: z / (1 + z * z),
        "swish": lambda z, kink: torch.nn.functional.silu(z),
        "erf_gelu": lambda z, kink: torch.nn.functional.gelu(z),
    }
)


def _leaky_relu(z: Tensor, kink: float, g: float) -> Tensor:
    return torch.where(z == 0, kink * z, torch.where(z > 0, z, g * z))


def _polynomial(z: Tensor, kink: float, *coefficients: float) -> Tensor:
    value = torch.zeros_like(z)
    for c in reversed(coefficients):
        value = value * z + c
    return value


_WITH_PARAMETERS: Final[Mapping[str, Callable[..., Tensor]]] = MappingProxyType(
    {
        "leaky_relu": _leaky_relu,
        "relu_power": lambda z, kink, p: torch.where(z > 0, z ** int(p), torch.zeros_like(z)),
        "monomial": lambda z, kink, p: z ** int(p),
        "polynomial": _polynomial,
    }
)


class _Activations(Mapping[str, Activation]):
    """The plain names, and names with rational parameters such as ``leaky_relu(1/10)``."""

    def __getitem__(self, name: str) -> Activation:
        if name in _PLAIN:
            return _PLAIN[name]
        family, _, rest = name.partition("(")
        if family not in _WITH_PARAMETERS or not rest.endswith(")"):
            raise KeyError(name)
        try:
            parameters = [float(Fraction(part.strip())) for part in rest[:-1].split(",")]
        except (ValueError, ZeroDivisionError) as error:
            raise KeyError(name) from error
        return lambda z, kink: _WITH_PARAMETERS[family](z, kink, *parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(_PLAIN)

    def __len__(self) -> int:
        return len(_PLAIN)


#: Activations sigma(z) with the stated derivative at a kink, where there is one.
ACTIVATIONS: Final[Mapping[str, Activation]] = _Activations()

#: Losses per sample and output, ell(f, y); the margin belongs to ``linear_hinge`` alone.
LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor, float], Tensor]]] = MappingProxyType(
    {
        "square": lambda f, y, margin: (f - y) * (f - y) / 2,
        "logistic": lambda f, y, margin: -torch.nn.functional.logsigmoid(y * f),
        "exponential": lambda f, y, margin: torch.exp(-y * f),
        "hinge": lambda f, y, margin: _relu(1 - y * f, 0.0),
        "linear_hinge": lambda f, y, margin: _relu(margin - y * f, 0.0),
        "correlation": lambda f, y, margin: -y * f,
    }
)


@dataclass(frozen=True)
class Reference:
    """A network, its data and its risk in plain PyTorch.

    Parameters
    ----------
    x : Tensor
        Inputs, (n, d).
    y : Tensor
        Targets, (n,) or (n, o).
    activation : str or callable
        A key of ``ACTIVATIONS``, or a function of z that autograd can differentiate twice.
    loss : str or callable
        A key of ``LOSSES``, or a function of (f, y), applied to every output and summed.
    widths : tuple of int
        The width m, or the hidden widths of a deep network.
    kind : str
        ``two_layer`` or ``deep``.
    input_bias, output_bias : bool
        Biases of the hidden layers, and of the last.
    scale, factor, weight_decay : float
        Output scale s, factor kappa of the data term, decay lambda of every parameter.
    reduction : str
        ``mean`` or ``sum`` over samples.
    kink, margin : float
        Derivative of relu or abs at 0; margin of ``linear_hinge``.

    Raises
    ------
    ValueError
        For an unknown kind, reduction, activation or loss.

    Notes
    -----
    Methods take theta of shape (P,) or (..., P), blocks in the order a, w, b, c or W1, b1, W2, ..., each row-major,
    and return results with the same leading axes.
    """

    x: Tensor
    y: Tensor
    activation: str | Scalar
    loss: str | PerOutput
    widths: tuple[int, ...]
    kind: str = "two_layer"
    input_bias: bool = False
    output_bias: bool = False
    scale: float = 1.0
    factor: float = 1.0
    weight_decay: float = 0.0
    reduction: str = "mean"
    kink: float = 0.0
    margin: float = 1.0

    def __post_init__(self) -> None:
        _member("kind", self.kind, ("two_layer", "deep"))
        _member("reduction", self.reduction, ("mean", "sum"))
        if isinstance(self.activation, str) and self.activation not in ACTIVATIONS:
            _member("activation", self.activation, tuple(ACTIVATIONS))
        if isinstance(self.loss, str):
            _member("loss", self.loss, tuple(LOSSES))
        if self.kind == "two_layer" and len(self.widths) != 1:
            raise ValueError(f"a two-layer network has one width, got widths = {self.widths}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter block, in flat order."""
        out = tuple(self.y.shape[1:])
        if self.kind == "two_layer":
            m, d = self.widths[0], self.x.shape[1]
            shapes: dict[str, tuple[int, ...]] = {"a": (m, *out), "w": (m, d)}
            if self.input_bias:
                shapes["b"] = (m,)
            if self.output_bias:
                shapes["c"] = out
            return shapes
        sizes, shapes = (self.x.shape[1], *self.widths), {}
        for layer in range(1, len(sizes)):
            shapes[f"W{layer}"] = (sizes[layer], sizes[layer - 1])
            if self.input_bias:
                shapes[f"b{layer}"] = (sizes[layer],)
        shapes[f"W{len(sizes)}"] = (*out, sizes[-1])
        if self.output_bias:
            shapes[f"b{len(sizes)}"] = out
        return shapes

    @property
    def P(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def outputs(self, theta: Tensor) -> Tensor:
        """Network outputs at the samples, (..., n) or (..., n, o)."""
        return self._each(self._outputs, theta)

    def value(self, theta: Tensor) -> Tensor:
        """Risk R, (...)."""
        return self._each(self._value, theta)

    def gradient(self, theta: Tensor) -> Tensor:
        """Gradient of R by reverse mode, (..., P)."""
        return self._each(torch.func.grad(self._value), theta)

    def hessian(self, theta: Tensor) -> Tensor:
        """Hessian of R, reverse over reverse, (..., P, P)."""
        return self._each(torch.func.jacrev(torch.func.grad(self._value)), theta)

    def jacobian(self, theta: Tensor) -> Tensor:
        """Jacobian of the outputs, (..., n, P) or (..., n, o, P)."""
        return self._each(torch.func.jacrev(self._outputs), theta)

    def hvp(self, theta: Tensor, v: Tensor) -> Tensor:
        """Hessian-vector product: derivative of <grad R, v>; theta and v have one shape, (..., P)."""
        if theta.shape != v.shape:
            raise ValueError(
                f"theta and v must have one shape, got {tuple(theta.shape)} and {tuple(v.shape)}"
            )
        rows, moves = theta.reshape(-1, self.P), v.reshape(-1, self.P)
        found = [torch.func.grad(partial(self._slope, move))(row) for row, move in zip(rows, moves)]
        return torch.stack(found).reshape(theta.shape)

    def _slope(self, v: Tensor, theta: Tensor) -> Tensor:
        return torch.func.grad(self._value)(theta) @ v

    def _each(self, function: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
        if theta.ndim == 0 or theta.shape[-1] != self.P:
            raise ValueError(
                f"theta has shape {tuple(theta.shape)}, the last axis must be P = {self.P}: blocks {self.shapes}"
            )
        found = torch.stack([function(row) for row in theta.reshape(-1, self.P)])
        return found.reshape((*theta.shape[:-1], *found.shape[1:]))

    def _blocks(self, theta: Tensor) -> dict[str, Tensor]:
        blocks, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            blocks[name] = theta[start:stop].reshape(shape)
            start = stop
        return blocks

    def _sigma(self, z: Tensor) -> Tensor:
        if isinstance(self.activation, str):
            return ACTIVATIONS[self.activation](z, self.kink)
        return self.activation(z)

    def _outputs(self, theta: Tensor) -> Tensor:
        p = self._blocks(theta)
        if self.kind == "two_layer":
            z = self.x @ p["w"].T
            f = self.scale * (self._sigma(z + p["b"] if self.input_bias else z) @ p["a"])
            return f + p["c"] if self.output_bias else f
        h, last = self.x, len(self.widths) + 1
        for layer in range(1, last):
            z = h @ p[f"W{layer}"].T
            h = self._sigma(z + p[f"b{layer}"] if self.input_bias else z)
        f = self.scale * (h @ p[f"W{last}"].T if self.y.ndim == 2 else h @ p[f"W{last}"])
        return f + p[f"b{last}"] if self.output_bias else f

    def _value(self, theta: Tensor) -> Tensor:
        f = self._outputs(theta)
        losses = (
            LOSSES[self.loss](f, self.y, self.margin) if isinstance(self.loss, str) else self.loss(f, self.y)
        )
        data = losses.sum() / (self.x.shape[0] if self.reduction == "mean" else 1)
        return self.factor * data + self.weight_decay / 2 * (theta @ theta)


def finite_difference_gradient(
    function: Callable[[Tensor], Tensor], theta: Tensor, *, step: float = 2.0**-5, levels: int = 6
) -> tuple[Tensor, Tensor]:
    r"""Derivatives from values alone: central differences, extrapolated to step zero.

    With :math:`D(h) = (g(\theta + h e_j) - g(\theta - h e_j)) / 2h = g' + c_1 h^2 + c_2 h^4 + \dots` at
    ``step / 2**q`` the table :math:`T_{q,p} = T_{q,p-1} + (T_{q,p-1} - T_{q-1,p-1}) / (4^p - 1)` removes the powers
    of h in turn; each entry keeps the estimate whose neighbours in the table differ least.

    Parameters
    ----------
    function : callable
        (n, P) to (n, ...), row by row; values for the gradient, gradients for the Hessian.
    theta : Tensor
        One point, (P,), float64.
    step : float
        Largest step; a kink nearer than this spoils the coarse rows of the table, and the choice by least
        difference passes over them.
    levels : int
        Number of halvings plus one, at least 2.

    Returns
    -------
    derivative, error : Tensor
        (..., P), and the difference of neighbours that was the least: an estimate of the error, not a bound.

    Raises
    ------
    ValueError
        If theta is not one float64 point, or ``levels`` < 2.

    Source
    ------
    Ridders (1982), Advances in Engineering Software 4, 75-76.

    Examples
    --------
    >>> theta = torch.tensor([0.5, 2.0], dtype=torch.float64)
    >>> slope, error = finite_difference_gradient(lambda t: torch.sin(t).sum(dim=1), theta)
    >>> bool((slope - torch.cos(theta)).abs().max() < 1e-11)
    True
    """
    if theta.ndim != 1 or theta.dtype != torch.float64:
        raise ValueError(f"theta must be one float64 point (P,), got {tuple(theta.shape)}, {theta.dtype}")
    if levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}")
    unit = torch.eye(len(theta), dtype=theta.dtype, device=theta.device)
    previous: list[Tensor] = []
    best = error = torch.empty(0)
    for level in range(levels):
        h = step / 2**level
        row = [(function(theta + h * unit) - function(theta - h * unit)) / (2 * h)]
        for p in range(1, level + 1):
            row.append(row[-1] + (row[-1] - previous[p - 1]) / (4**p - 1))
            doubt = torch.maximum((row[p] - row[p - 1]).abs(), (row[p] - previous[p - 1]).abs())
            if error.numel() == 0:
                best, error = row[p], doubt
            better = doubt < error
            best, error = torch.where(better, row[p], best), torch.where(better, doubt, error)
        previous = row
    return best.movedim(0, -1), error.movedim(0, -1)


def _member(what: str, found: str, accepted: tuple[str, ...]) -> None:
    if found not in accepted:
        raise ValueError(f"{what} is {found!r}; accepted: {', '.join(accepted)}")
