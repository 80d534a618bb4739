"""Networks written by hand in PyTorch, with everything that is derived of them taken by autograd.

The forward passes are those of ``numerics.reference`` or stand here; no SymPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch.func import grad, jacrev, jvp

from numerics.reference import ACTIVATIONS, LOSSES, Reference

__all__ = ["FORMULA_ACTIVATIONS", "FORMULA_LOSSES", "Network", "activation_of", "loss_of"]

Array = torch.Tensor

#: Formulas a user may write, as functions of (z, stated slope at the kink).
FORMULA_ACTIVATIONS: Mapping[str, Callable[[Array, float], Array]] = {
    "z/(1 + z**2) + sin(z)/2": lambda z, kink: z / (1 + z * z) + torch.sin(z) / 2,
    "max(z, z/10)": lambda z, kink: torch.where(z == 0, kink * z, torch.where(z > 0, z, z / 10)),
    "exp(-z**2/2)*cos(3*z)": lambda z, kink: torch.exp(-z * z / 2) * torch.cos(3 * z),
}
FORMULA_LOSSES: Mapping[str, Callable[[Array, Array], Array]] = {
    "(f - y)**4/4 + exp(f*y/3)": lambda f, y: (f - y) ** 4 / 4 + torch.exp(f * y / 3),
    "log(1 + (f - y)**2)": lambda f, y: torch.log(1 + (f - y) ** 2),
}


def activation_of(name: str, kink: float = 0.0) -> Callable[[Array], Array]:
    """Return the function of z."""
    function = FORMULA_ACTIVATIONS[name] if name in FORMULA_ACTIVATIONS else ACTIVATIONS[name]
    return lambda z: function(z, kink)


def loss_of(name: str) -> Callable[[Array, Array], Array]:
    """Return the function of (f, y); the margin of ``linear_hinge`` is 1."""
    return FORMULA_LOSSES[name] if name in FORMULA_LOSSES else lambda f, y: LOSSES[name](f, y, 1.0)


@dataclass(frozen=True)
class Network:
    """A network with data, a loss and the conventions of its risk.

    Parameters
    ----------
    shapes : mapping
        Shape of each block, in flat order.
    forward : callable
        theta (P,) to the outputs, (n,) or (n, o).
    loss : callable
        Of outputs and targets, entry by entry.
    rates : mapping
        Rate of blocks that do not have rate 1; 0 for frozen blocks.
    """

    x: Array
    y: Array
    shapes: Mapping[str, tuple[int, ...]]
    forward: Callable[[Array], Array]
    loss: Callable[[Array, Array], Array]
    mean: bool = True
    factor: float = 1.0
    decay: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)
    frozen: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        x: Array,
        y: Array,
        activation: str,
        loss: str,
        *,
        kink: float = 0.0,
        widths: tuple[int, ...],
        kind: str = "two_layer",
        input_bias: bool = False,
        output_bias: bool = False,
        scale: float = 1.0,
        **risk: object,
    ) -> Network:
        """Return a two-layer or deep network."""
        reference = Reference(
            x,
            y,
            activation_of(activation, kink),
            loss_of(loss),
            widths,
            kind,
            input_bias,
            output_bias,
            scale,
        )
        return cls(x, y, reference.shapes, reference.outputs, loss_of(loss), **risk)  # type: ignore[arg-type]

    # -- parameters

    @cached_property
    def places(self) -> dict[str, slice]:
        """Place of each block in theta."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + torch.Size(shape).numel()
            found[name] = slice(start, stop)
            start = stop
        return found

    @property
    def P(self) -> int:
        return max(place.stop for place in self.places.values())

    def blocks(self, theta: Array) -> dict[str, Array]:
        return {name: theta[place].reshape(self.shapes[name]) for name, place in self.places.items()}

    @property
    def trained(self) -> list[str]:
        return [name for name in self.shapes if name not in self.frozen]

    @cached_property
    def rate(self) -> Array:
        """Rate of each entry of theta, 0 where frozen."""
        out = torch.ones(self.P, dtype=torch.float64)
        for name, place in self.places.items():
            out[place] = 0.0 if name in self.frozen else self.rates.get(name, 1.0)
        return out

    # -- the risk and its derivatives

    def data_risk(self, f: Array) -> Array:
        """The risk as a function of the outputs, without weight decay."""
        return self.factor * self.loss(f, self.y).sum() / (len(self.x) if self.mean else 1)

    def value(self, theta: Array) -> Array:
        return self.data_risk(self.forward(theta)) + self.decay / 2 * theta @ theta

    def gradient(self, theta: Array) -> Array:
        return grad(self.value)(theta)

    def flow(self, theta: Array) -> Array:
        return -self.rate * self.gradient(theta)

    def hessian(self, theta: Array) -> Array:
        return jacrev(grad(self.value))(theta)

    def jacobian(self, theta: Array) -> Array:
        """Of the outputs, (n, P) or (n, o, P)."""
        return jacrev(self.forward)(theta)

    def weights(self, theta: Array) -> Array:
        """Derivative of the risk in the outputs."""
        return grad(self.data_risk)(self.forward(theta))

    def curvature(self, theta: Array) -> Array:
        """Second derivative of the risk in each output; outputs do not mix."""
        slope = lambda f: grad(self.data_risk)(f).sum()  # noqa: E731
        return grad(slope)(self.forward(theta))

    def along_flow(self, function: Callable[[Array], Array], theta: Array) -> Array:
        """Time derivative of a function of the parameters along the gradient flow."""
        return jvp(function, (theta,), (self.flow(theta),))[1]

    def small_weights(self, theta: Array, *, smooth: bool, orders: int = 6) -> Array:
        """Leading order of the flow at eps theta, block by block, eps put to 1; weight decay as it is.

        For a smooth activation the Taylor coefficients of eps -> flow(eps theta) by nested forward mode, of which the
        first that is not 0 counts; with a kink the flow of the sum of e f, e being the weights at zero output.
        """
        if not smooth:
            e = grad(self.data_risk)(torch.zeros_like(self.y))
            data = -self.rate * grad(lambda t: (e * self.forward(t)).sum())(theta)
        else:
            data = torch.zeros_like(theta)
            undecided = set(self.shapes)
            plain = replace(self, decay=0.0)
            function: Callable[[Array], Array] = lambda eps: plain.flow(eps * theta)  # noqa: E731
            one, factorial = torch.ones((), dtype=torch.float64), 1.0
            for order in range(orders):
                found = function(torch.zeros((), dtype=torch.float64)) / factorial
                for name in sorted(undecided):
                    if float(found[self.places[name]].abs().max()) > 1e-9:
                        data[self.places[name]] = found[self.places[name]]
                        undecided.discard(name)
                if not undecided - set(self.frozen):
                    break
                function, factorial = partial(_slope, function, one), factorial * (order + 1)
        return data - self.rate * self.decay * theta


def _slope(function: Callable[[Array], Array], one: Array, at: Array) -> Array:
    return jvp(function, (at,), (one,))[1]
