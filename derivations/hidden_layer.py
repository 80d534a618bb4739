r"""One hidden layer of a network: the tensors around a neuron, the same words for two-layer and deep networks.

>>> [(h.incoming.name, h.outgoing.name) for h in hidden_layers(Problem.deep(3))]
[('W1', 'W2'), ('W2', 'W3')]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr, Integer

from derivations.indexed import Delta, Index, Tensor
from derivations.problem import Block, Problem

__all__ = ["HiddenLayer", "hidden_layers"]


@dataclass(frozen=True)
class HiddenLayer:
    r"""Pre-activation z, its adjoint :math:`\delta = \partial R/\partial z`, and the blocks into and out of the layer.

    ``tex`` maps ``out``, ``in`` and, with a bias, ``bias`` to the LaTeX of the part of a block that belongs to one
    neuron, with ``%s`` for its name.
    """

    number: int
    z: Tensor
    delta: Tensor
    incoming: Block
    outgoing: Block
    bias: Block | None
    tex: dict[str, str]
    deep: bool = False

    @property
    def words(self) -> str:
        """What the layer is called in a sentence."""
        return f"layer {self.number}" if self.deep else "the hidden layer"

    def named(self, name: str) -> str:
        """Return a name of a result, with the layer where there are several."""
        return f"{name}, layer {self.number}" if self.deep else name

    def indexed_tex(self, letter: str, index: str) -> str:
        """Return the LaTeX of an entry of z or delta, with the layer where there are several."""
        return f"{letter}^{{({self.number})}}_{{{index}}}" if self.deep else f"{letter}_{{{index}}}"

    def is_vector(self, role: str) -> bool:
        """Whether one neuron has a vector in this block."""
        return len(self.blocks[role].indices) > 1

    def square_tex(self, role: str, name: str) -> str:
        """Return the LaTeX of the squared length of the part of one neuron."""
        part = self.tex[role] % name
        if self.is_vector(role):
            return rf"\lVert {part} \rVert^2"
        return rf"\bigl({part}\bigr)^2" if "^" in part else f"{part}^2"

    @property
    def blocks(self) -> dict[str, Block]:
        """The blocks by role: ``out``, ``in`` and, where there is one, ``bias``."""
        found = {"out": self.outgoing, "in": self.incoming}
        return found if self.bias is None else {**found, "bias": self.bias}

    @property
    def width(self) -> Expr:
        """Number of neurons."""
        return self.z.dims[1]

    def slot(self, block: Block) -> int:
        """Return the position of the neuron among the indices of a block."""
        return block.tensor.dims.index(self.width)

    def entry(self, block: Block, neuron: Index) -> tuple[Expr, tuple[Index, ...]]:
        """Return the entry of a block at ``neuron`` and its other indices."""
        at = list(block.indices)
        at[self.slot(block)] = neuron
        return block.tensor[tuple(at)], tuple(u for u in at if u is not neuron)

    def rule(
        self, block: Block, change: Callable[[Expr, Callable[[Index], Expr]], Expr]
    ) -> Callable[..., Expr]:
        """Return a replacement for ``replace_leaves``: ``change(k, part)`` gives the new entry of neuron k.

        ``part(j)`` is the entry of neuron j at the same other indices.
        """
        slot = self.slot(block)

        def new(*at: Expr) -> Expr:
            def part(neuron: Index) -> Expr:
                return block.tensor[(*at[:slot], neuron, *at[slot + 1 :])]

            return change(at[slot], part)

        return new

    def scaled(self, role: str, neuron: Index, factor: Expr) -> dict[Tensor, Callable[..., Expr]]:
        """Return the replacement that multiplies the part of one neuron by ``factor``."""
        block = self.blocks[role]
        return {
            block.tensor: self.rule(block, lambda k, part: part(k) * (1 + Delta(k, neuron) * (factor - 1)))
        }

    def swapped(self, one: Index, other: Index) -> dict[Tensor, Callable[..., Expr]]:
        """Return the replacements that exchange two neurons."""

        def change(k: Expr, part: Callable[[Index], Expr]) -> Expr:
            return part(k) + (Delta(k, one) - Delta(k, other)) * (part(other) - part(one))

        return {block.tensor: self.rule(block, change) for block in self.blocks.values()}

    def is_last(self, problem: Problem) -> bool:
        """Whether the outputs see this layer directly."""
        return self.number == len(problem.hidden_dims)

    def gain(self, problem: Problem) -> Expr:
        """Return the factor of the sum over the neurons: the output scale behind the last layer, else 1."""
        return problem.scale if self.is_last(problem) else Integer(1)

    def absorbing(self, problem: Problem) -> Block | None:
        """Return the bias that is added to the sum over the neurons, where there is one."""
        there = problem.output_bias if self.is_last(problem) else problem.input_bias
        name = "c" if problem.kind == "two_layer" else f"b{self.number + 1}"
        return problem.block(name) if there else None

    def absorbing_tex(self, problem: Problem) -> str:
        """Return the LaTeX of that bias."""
        return "c" if problem.kind == "two_layer" else rf"b^{{({self.number + 1})}}"

    def neuron_tex(self, name: str, change: dict[str, str] | None = None) -> str:
        """Return the LaTeX tuple of one neuron; ``change`` puts a factor before, or text around ``{}`` of, a role."""
        parts = []
        for role in self.blocks:
            text = self.tex[role] % name
            how = (change or {}).get(role, "")
            parts.append(how.replace("{}", text) if "{}" in how else how + text)
        return f"({', '.join(parts)})"


def hidden_layers(problem: Problem) -> tuple[HiddenLayer, ...]:
    """Return the hidden layers from the input on; one for a two-layer network."""
    if problem.kind == "two_layer":
        tex = {"out": "a_{%s}", "in": "w_{%s}"} | ({"bias": "b_{%s}"} if problem.input_bias else {})
        bias = problem.block("b") if problem.input_bias else None
        z = Tensor("z", (problem.system.formals(problem.output)[0].dim, problem.hidden_dims[0]))
        adjoint = Tensor("delta", z.dims)
        return (HiddenLayer(1, z, adjoint, problem.block("w"), problem.block("a"), bias, tex),)
    samples = problem.system.formals(problem.output)[0].dim
    found = []
    for number, width in enumerate(problem.hidden_dims, start=1):
        last = number + 1 == problem.depth and not problem.vector_output
        tex = {
            "out": rf"W^{{({number + 1})}}_{{%s}}" if last else rf"W^{{({number + 1})}}_{{\cdot %s}}",
            "in": rf"W^{{({number})}}_{{%s \cdot}}",
        }
        if problem.input_bias:
            tex["bias"] = rf"b^{{({number})}}_{{%s}}"
        found.append(
            HiddenLayer(
                number,
                Tensor(f"z{number}", (samples, width)),
                Tensor(f"delta{number}", (samples, width)),
                problem.block(f"W{number}"),
                problem.block(f"W{number + 1}"),
                problem.block(f"b{number}") if problem.input_bias else None,
                tex,
                deep=True,
            )
        )
    return tuple(found)
