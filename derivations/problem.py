r"""A learning problem stated once, with symbolic sizes, as a system of indexed definitions.

Two-layer network with width m, input dimension d, output dimension o and n samples:

.. math::
    z_{ik} = \sum_l w_{kl} x_{il} + b_k, \quad
    f_{ic} = s \sum_k a_{kc} \sigma(z_{ik}) + c_c, \quad
    R = \kappa \, \tfrac1n \sum_i \sum_c \ell(f_{ic}, y_{ic}) + \tfrac{\lambda}{2} \lVert\theta\rVert^2 .

Deep network: :math:`h^0 = x`, :math:`h^l = \sigma(W_l h^{l-1} + b_l)`, :math:`f = W_L h^{L-1} (+ b_L)`.

>>> problem = Problem.two_layer(activation="tanh", loss="square", input_bias=True)
>>> [t.name for t in problem.parameters]
['a', 'w', 'b']
>>> print(problem.derived[problem.gradient["w"]].expr)
Sum[_n1](delta[_n1, k]*x[_n1, l])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from sympy import Expr, Integer, Symbol, sympify

from derivations.activations import Activation, activation
from derivations.generic import GenericFunction
from derivations.indexed import Dim, Index, Tensor, isum
from derivations.losses import Loss, loss
from derivations.system import System

if TYPE_CHECKING:
    from derivations.teacher import Teacher

__all__ = ["Block", "Problem", "d", "m", "n", "o"]

#: Sample count, width, input dimension, output dimension.
n, m, d, o = Dim("n"), Dim("m"), Dim("d"), Dim("o")

_I, _C = Index("i", n), Index("c", o)


@dataclass(frozen=True)
class Block:
    """One parameter block: its tensor, the index names of its equations, and the rate of its flow."""

    tensor: Tensor
    indices: tuple[Index, ...]
    rate: Expr = field(default_factory=lambda: Integer(1))
    trained: bool = True

    @property
    def name(self) -> str:
        """Name of the block."""
        return self.tensor.name


@dataclass(frozen=True)
class Problem:
    """A network, a loss and the conventions of its risk; immutable, with symbolic sizes.

    Build it with ``two_layer`` or ``deep``.

    Parameters
    ----------
    kind : str
        ``two_layer`` or ``deep``.
    activation, loss : Activation, Loss or None
        None keeps sigma or ell general.
    vector_output : bool
        Whether y is (n, o) rather than (n,).
    reduction : str
        ``mean`` or ``sum`` over samples.
    factor, weight_decay, scale : Expr
        Constants kappa >= 0 and lambda >= 0 of the risk; output scale s, a formula in m and d.
    depth : int
        Number of layers L >= 2 (two_layer: 2).
    teacher : Teacher or None
        The network whose outputs the targets are; None leaves them general.
    """

    kind: str = "two_layer"
    activation: Activation | None = None
    loss: Loss | None = None
    vector_output: bool = False
    input_bias: bool = False
    output_bias: bool = False
    reduction: str = "mean"
    factor: Expr = field(default_factory=lambda: Integer(1))
    weight_decay: Expr = field(default_factory=lambda: Integer(0))
    scale: Expr = field(default_factory=lambda: Integer(1))
    freeze: tuple[str, ...] = ()
    rate: tuple[tuple[str, Expr], ...] = ()
    depth: int = 2
    teacher: Teacher | None = None

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f"reduction is '{self.reduction}'; a sample problem takes 'mean' or 'sum'")
        known = [block.name for block in self.blocks]
        for name in (*self.freeze, *(name for name, _ in self.rate)):
            if name not in known:
                raise ValueError(f"'{name}' is not a block of this model; blocks: {', '.join(known)}")

    @classmethod
    def two_layer(
        cls,
        activation: str | Activation | None = None,
        loss: str | Loss | None = None,
        *,
        input_bias: bool = False,
        output_bias: bool = False,
        vector_output: bool = False,
        **options: object,
    ) -> Problem:
        """Return the two-layer problem; names and formulas are accepted for activation and loss.

        Raises
        ------
        FormulaError
            If a name is not registered and no formula.
        """
        return cls(
            "two_layer",
            _activation(activation),
            _loss(loss),
            vector_output,
            input_bias,
            output_bias,
            **_exact(options),  # type: ignore[arg-type]
        )

    @classmethod
    def deep(
        cls,
        depth: int,
        activation: str | Activation | None = None,
        loss: str | Loss | None = None,
        *,
        input_bias: bool = True,
        output_bias: bool = True,
        vector_output: bool = False,
        **options: object,
    ) -> Problem:
        """Return the problem of a network with ``depth`` layers of weights, widths m_1, ..., m_{depth-1} symbolic."""
        if depth < 2:
            raise ValueError(f"a deep network needs at least 2 layers of weights, got {depth}")
        return cls(
            "deep",
            _activation(activation),
            _loss(loss),
            vector_output,
            input_bias,
            output_bias,
            depth=depth,
            **_exact(options),  # type: ignore[arg-type]
        )

    @cached_property
    def x(self) -> Tensor:
        """Inputs, (n, d)."""
        return Tensor("x", (n, d))

    @cached_property
    def y(self) -> Tensor:
        """Targets, (n,) or (n, o)."""
        return Tensor("y", (n, o) if self.vector_output else (n,))

    @property
    def hidden_dims(self) -> tuple[Symbol, ...]:
        """Widths of the hidden layers."""
        return (m,) if self.kind == "two_layer" else tuple(Dim(f"m{layer}") for layer in range(1, self.depth))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Parameter blocks in flat order (``a``, ``w``, ``b``, ``c``, or ``W1``, ``b1``, ...)."""
        out = (_C,) if self.vector_output else ()
        layout: list[tuple[str, str, tuple[Index, ...]]]
        if self.kind == "two_layer":
            k, l = Index("k", m), Index("l", d)
            layout = [("a", "a", (k, *out)), ("w", "w", (k, l))]
            layout += [("b", "b", (k,))] if self.input_bias else []
            layout += [("c", "c", out)] if self.output_bias else []
        else:
            layout = []
            dims = (d, *self.hidden_dims)
            for layer in range(1, self.depth):
                row, column = Index("p", dims[layer]), Index("q", dims[layer - 1])
                layout.append((f"W{layer}", rf"W^{{({layer})}}", (row, column)))
                if self.input_bias:
                    layout.append((f"b{layer}", rf"b^{{({layer})}}", (row,)))
            last = Index("q", dims[-1])
            layout.append((f"W{self.depth}", rf"W^{{({self.depth})}}", (*out, last)))
            if self.output_bias:
                layout.append((f"b{self.depth}", rf"b^{{({self.depth})}}", out))
        rates = dict(self.rate)
        return tuple(
            Block(
                Tensor(name, tuple(u.dim for u in indices), tex),
                indices,
                rates.get(name, Integer(1)),
                name not in self.freeze,
            )
            for name, tex, indices in layout
        )

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Tensors of the blocks."""
        return tuple(block.tensor for block in self.blocks)

    def leaf_values(self, x: Any, y: Any) -> Mapping[str, Any]:
        """Return what each data tensor of the system stands for, from arrays x (n, d) and y (n,) or (n, o)."""
        return {"x": x, "y": y}

    @property
    def moving(self) -> tuple[Tensor, ...]:
        """Return the leaves beside the parameters that belong to a parameter point and not to the data: none."""
        return ()

    @property
    def index_sentence(self) -> str:
        """Ranges of the indices as a LaTeX sentence, empty for networks, whose layers tell them."""
        return ""

    def block(self, name: str) -> Block:
        """Return the block called ``name``."""
        for block in self.blocks:
            if block.name == name:
                return block
        raise KeyError(f"no block '{name}'; blocks: {', '.join(b.name for b in self.blocks)}")

    @cached_property
    def output(self) -> Tensor:
        """Network outputs f, (n,) or (n, o)."""
        return Tensor("f", self.y.dims)

    @cached_property
    def risk(self) -> Tensor:
        """The risk R."""
        return Tensor("R")

    @cached_property
    def system(self) -> System:
        """The defining list: pre-activations, outputs, risk."""
        system = System()
        for block in self.blocks:
            system = system.declare(block.tensor, block.indices)
        out = (_C,) if self.vector_output else ()
        system = system.declare(self.x, (_I, Index("l", d))).declare(self.y, (_I, *out))
        system, output = (self._two_layer if self.kind == "two_layer" else self._deep)(system, out)
        system = system.define(self.output, (_I, *out), output)
        f, y = self.output[(_I, *out)], self.y[(_I, *out)]
        per_sample = isum(GenericFunction("ell", (0, 0), f, y), *out)
        total = self.factor * isum(per_sample, _I) / (n if self.reduction == "mean" else 1)
        if self.weight_decay != 0:
            squares = [
                isum(b.tensor[b.indices] ** 2, *b.indices) if b.indices else b.tensor() ** 2
                for b in self.blocks
            ]
            total += self.weight_decay / 2 * sum(squares[1:], squares[0])
        return system.define(self.risk, (), total)

    def _two_layer(self, system: System, out: tuple[Index, ...]) -> tuple[System, Expr]:
        k, l = Index("k", m), Index("l", d)
        block = {b.name: b.tensor for b in self.blocks}
        z = Tensor("z", (n, m))
        pre = isum(block["w"][k, l] * self.x[_I, l], l)
        system = system.define(z, (_I, k), pre + block["b"][k] if self.input_bias else pre)
        output = self.scale * isum(block["a"][(k, *out)] * GenericFunction("sigma", (0,), z[_I, k]), k)
        return system, output + (block["c"][out] if out else block["c"]()) if self.output_bias else output

    def _deep(self, system: System, out: tuple[Index, ...]) -> tuple[System, Expr]:
        block = {b.name: b.tensor for b in self.blocks}
        before: Callable[[Index], Expr] = lambda q: self.x[_I, q]  # noqa: E731
        dims = (d, *self.hidden_dims)
        for layer in range(1, self.depth):
            p, q = Index("p", dims[layer]), Index("q", dims[layer - 1])
            z = Tensor(f"z{layer}", (n, dims[layer]), rf"z^{{({layer})}}")
            pre = isum(block[f"W{layer}"][p, q] * before(q), q)
            system = system.define(z, (_I, p), pre + block[f"b{layer}"][p] if self.input_bias else pre)
            before = partial(_activated, z)
        q, last = Index("q", dims[-1]), block[f"W{self.depth}"]
        output = self.scale * isum(last[(*out, q)] * before(q), q)
        if self.output_bias:
            bias = block[f"b{self.depth}"]
            output += bias[out] if out else bias()
        return system, output

    @cached_property
    def _reverse(self) -> tuple[System, dict[Tensor, Tensor]]:
        names = {self.output: Tensor("r", self.output.dims)}
        for definition in self.system:
            if definition.tensor.name.startswith("z"):
                layer = definition.tensor.name[1:]
                tex = rf"\delta^{{({layer})}}" if layer else r"\delta"
                names[definition.tensor] = Tensor(f"delta{layer}", definition.tensor.dims, tex)
        return self.system.reverse(self.risk, self.parameters, names)

    @property
    def derived(self) -> System:
        """The defining list followed by adjoints (residual weights r, back-propagated delta) and gradients."""
        return self._reverse[0]

    @property
    def gradient(self) -> dict[str, Tensor]:
        """Gradient tensor of each block."""
        return {leaf.name: tensor for leaf, tensor in self._reverse[1].items()}

    @cached_property
    def directions(self) -> dict[str, Tensor]:
        """Direction tensors v of the Hessian-vector product, one per block."""
        return {b.name: Tensor(f"v_{b.name}", b.tensor.dims, rf"v^{{{b.tensor.tex}}}") for b in self.blocks}

    @cached_property
    def hessian_vector(self) -> tuple[System, dict[str, Tensor]]:
        """Tangent of the gradient list: the system and the tensor of (H v) for each block."""
        gradients = self.gradient
        system, dots = self.derived.tangent(
            list(gradients.values()), {b.tensor: self.directions[b.name] for b in self.blocks}
        )
        return system, {name: dots[tensor] for name, tensor in gradients.items()}

    def hessian_block(self, row: str, column: str) -> tuple[Expr, tuple[Index, ...], tuple[Index, ...]]:
        r"""Return :math:`\partial^2 R / \partial row\,\partial column` with its row and column indices.

        Column indices carry a prime in their name; adjoints r and delta are kept by name.
        """
        rows = self.block(row).indices
        columns = tuple(Index(f"{u.name}'", u.dim) for u in self.block(column).indices)
        expr = self.derived.jacobian(self.gradient[row], rows, self.block(column).tensor, columns)
        return expr, rows, columns

    @property
    def functions(self) -> Mapping[str, Callable[..., Expr]]:
        """What is known of sigma and ell, in the form ``derivations.generic.bind`` takes."""
        known: dict[str, Callable[..., Expr]] = {}
        if self.activation is not None:
            known["sigma"] = self.activation.apply
        if self.loss is not None:
            known["ell"] = self.loss.apply
        return known


def _activated(z: Tensor, u: Index) -> Expr:
    return GenericFunction("sigma", (0,), z[_I, u])


def _activation(given: str | Activation | None) -> Activation | None:
    return activation(given) if isinstance(given, str) else given


def _loss(given: str | Loss | None) -> Loss | None:
    return loss(given) if isinstance(given, str) else given


def _exact(options: dict[str, object]) -> dict[str, object]:
    out = {
        key: sympify(v, strict=True)
        if key in ("factor", "weight_decay", "scale") and not isinstance(v, str)
        else v
        for key, v in options.items()
    }
    for key in ("factor", "weight_decay", "scale"):
        if isinstance(out.get(key), str):
            from derivations.formula import parse_formula

            out[key] = parse_formula(str(out[key]), {"m": m, "d": d} if key == "scale" else {})
    return out
