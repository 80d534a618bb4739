r"""The wide network of an embedding: in every hidden layer old neurons, copies of them and null neurons.

The wide neurons of layer l are the old ones k, their copies (k, j), j = 1..J, and null neurons r.  How many copies a neuron
has is left open: :math:`\mu_{kj} \in \{0, 1\}` says which of the pairs are there, and every sum over copies carries it.  So
one computation with symbolic J covers every index map :math:`I : [m'] \to [m] \cup \{0\}`.

>>> wide = grouped_network(Problem.deep(3))
>>> [str(u.tensor) for u in wide.system][:3]
['z1_old', 'z1_copy', 'z1_null']
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, S, Symbol

from derivations.generic import GenericFunction
from derivations.indexed import Dim, Index, Tensor, isum
from derivations.problem import Block, Problem, m
from derivations.system import System

__all__ = ["KAPPA", "Grouped", "Layer", "grouped_network", "layers"]

#: Factor of the wide output weights where the output scale depends on the width, s(m)/s(m').
KAPPA = Symbol("kappa", positive=True)


@dataclass(frozen=True)
class Layer:
    r"""One layer of weights: what enters it, what leaves it, and its groups of neurons in the wide network.

    Parameters
    ----------
    number : int
        From 1 (reads the inputs) to L (gives the outputs).
    block, bias : Block
        Weights and, where there is one, bias.
    pre, adjoint : Tensor
        Pre-activation (outputs for the last layer) and its adjoint.
    rows : tuple of Index
        Index of a neuron; that of the outputs, or none, in the last layer.
    column : Index
        Index of what enters.
    last : bool
        Whether it gives the outputs.
    nulls : str
        Null neurons that keep critical points for all data: ``free``, with any bias; ``fixed``, without one, a trained bias
        behind the layer; ``silent``, with bias 0 where sigma(0) = 0; empty, none.
    """

    number: int
    block: Block
    bias: Block | None
    pre: Tensor
    adjoint: Tensor
    rows: tuple[Index, ...]
    column: Index
    last: bool
    nulls: str

    def weight(self, rows: tuple[Expr, ...], column: Expr) -> Expr:
        """Return an entry of the weights."""
        return self.place(self.block.tensor, rows, column)

    def place(self, tensor: Tensor, rows: tuple[Expr, ...], column: Expr) -> Expr:
        """Return an entry of a tensor whose slots are those of the weights."""
        slot = self.block.tensor.dims.index(self.column.dim)
        return tensor[(column, *rows) if slot == 0 and rows else (*rows, column)]

    def offset(self, rows: tuple[Expr, ...]) -> Expr:
        """Return an entry of the bias."""
        assert self.bias is not None
        return self.bias.tensor[rows] if rows else self.bias.tensor()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of wide neurons."""
        if self.last:
            return ("end",)
        return ("old", "copy", "null") if self.nulls else ("old", "copy")

    def formals(self, group: str) -> tuple[Index, ...]:
        """Return the indices of a wide neuron of a group."""
        if group in ("end", "old"):
            return self.rows
        if group == "null":
            return (Index("r", Dim(f"P{self.number}")),)
        return (*self.rows, Index("j", Dim(f"J{self.number}")))

    def measure(self, group: str, at: tuple[Expr, ...]) -> Expr:
        """Return 1, or for a copy whether it is there."""
        return self._of_copy("mu")[at] if group == "copy" else S.One

    def share(self, group: str, at: tuple[Expr, ...], name: str = "beta") -> Expr:
        r"""Return the share beta of a wide neuron in the adjoint of its narrow one; the shares of a neuron sum to 1."""
        if group == "null":
            return S.Zero
        if group == "end":
            return S.One
        if group == "copy":
            return self._of_copy(name)[at]
        j = self.formals("copy")[-1]
        return 1 - isum(self._of_copy("mu")[(*at, j)] * self._of_copy(name)[(*at, j)], j)

    def _of_copy(self, name: str) -> Tensor:
        return Tensor(f"{name}{self.number}", tuple(u.dim for u in self.formals("copy")))

    def constant(self, at: tuple[Expr, ...], name: str = "beta_star") -> Expr:
        """Return the pre-activation of a null neuron, the same for every input."""
        return S.Zero if self.nulls != "free" else Tensor(f"{name}{self.number}", (at[0].dim,))[at]  # type: ignore[attr-defined]


def layers(problem: Problem) -> tuple[Layer, ...]:
    """Return the layers of a two-layer or deep network, with the null neurons that keep critical points for all data."""
    two = problem.kind == "two_layer"
    names = ("w", "a") if two else tuple(f"W{l}" for l in range(1, problem.depth + 1))
    offsets = ("b", "c") if two else tuple(f"b{l}" for l in range(1, problem.depth + 1))
    there = {b.name: b for b in problem.blocks}
    silent = problem.activation is not None and problem.activation.value_at_zero == 0
    found = []
    for number, (name, offset) in enumerate(zip(names, offsets, strict=True), start=1):
        last = number == len(names)
        block, label = there[name], "" if two else str(number)
        formals = problem.system.formals(block.tensor)
        entering = (*problem.x.dims[1:], *problem.hidden_dims)[number - 1]
        column = next(u for u in formals if u.dim == entering)
        dims = (
            problem.output if last else Tensor("", (problem.x.dims[0], problem.hidden_dims[number - 1]))
        ).dims
        behind = problem.output_bias if number + 1 == len(names) else problem.input_bias
        kept = "free" if problem.input_bias else "fixed"
        nulls = "" if last else kept if behind else "silent" if silent else ""
        found.append(
            Layer(
                number,
                block,
                there.get(offset),
                problem.output if last else Tensor(f"z{label}", dims),
                Tensor("r" if last else f"delta{label}", dims),
                tuple(u for u in formals if u is not column),
                column,
                last,
                nulls,
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Grouped:
    """The wide network as a system, its derivatives, and the tensors of its blocks by layer and groups.

    ``weights[l, g, h]`` leads from group h of layer l - 1 (``end`` for the inputs) to group g of layer l.
    """

    layers: tuple[Layer, ...]
    system: System
    derived: System
    gradient: dict[Tensor, Tensor]
    weights: dict[tuple[int, str, str], Tensor]
    offsets: dict[tuple[int, str], Tensor]
    pre: dict[tuple[int, str], Tensor]
    ratio: Expr

    def adjoint(self, layer: Layer, group: str) -> Tensor:
        """Return the adjoint of the pre-activations of a group."""
        if layer.last:
            return layer.adjoint
        pre = self.pre[layer.number, group]
        return Tensor(f"bar_{pre.name}", pre.dims)


def grouped_network(problem: Problem) -> Grouped:
    """Return the wide network of ``problem``, two-layer or deep, with its derived gradients.

    Raises
    ------
    ValueError
        If the problem is of another kind, has weight decay (which no such map respects), or frozen blocks.
    """
    _check(problem)
    chain = layers(problem)
    sample = problem.system.formals(problem.output)[0]
    ratio = KAPPA if problem.scale.has(m) else S.One
    weights: dict[tuple[int, str, str], Tensor] = {}
    offsets: dict[tuple[int, str], Tensor] = {}
    pre: dict[tuple[int, str], Tensor] = {}
    system, bodies = System(), []
    for layer in chain:
        for group in layer.groups:
            rows = layer.formals(group)
            total: Expr = S.Zero
            for entering, at, value in _entering(problem, chain, layer, sample, pre):
                tensor = Tensor(f"{layer.block.name}_{group}_{entering}", tuple(u.dim for u in (*rows, *at)))
                weights[layer.number, group, entering] = tensor
                system = system.declare(tensor, (*rows, *at))
                total += isum(value * tensor[(*rows, *at)], *at)
            if layer.last:
                total *= problem.scale / ratio
            if layer.bias is not None:
                tensor = Tensor(f"{layer.bias.name}_{group}", tuple(u.dim for u in rows))
                offsets[layer.number, group] = tensor
                system = system.declare(tensor, rows)
                total += tensor[rows] if rows else tensor()
            name = (
                layer.pre
                if layer.last
                else Tensor(f"{layer.pre.name}_{group}", (sample.dim, *(u.dim for u in rows)))
            )
            pre[layer.number, group] = name
            bodies.append((name, (sample, *rows), total))
    for name, at, body in bodies:
        system = system.define(name, at, body)
    risk = problem.system[problem.risk]
    system = system.define(risk.tensor, risk.indices, risk.expr)
    leaves = [declaration.tensor for declaration in system.declarations]
    derived, gradient = system.reverse(problem.risk, leaves, {problem.output: chain[-1].adjoint})
    return Grouped(chain, system, derived, gradient, weights, offsets, pre, ratio)


def _entering(
    problem: Problem,
    chain: tuple[Layer, ...],
    layer: Layer,
    sample: Index,
    pre: dict[tuple[int, str], Tensor],
) -> list[tuple[str, tuple[Index, ...], Expr]]:
    """Return the groups that enter a layer: name, indices, and their outputs with the measure."""
    if layer.number == 1:
        return [("end", (layer.column,), problem.x[sample, layer.column])]
    before = chain[layer.number - 2]
    found = []
    for group in before.groups:
        at = columns(before, group)
        value = GenericFunction("sigma", (0,), pre[before.number, group][(sample, *at)])
        found.append((group, at, before.measure(group, at) * value))
    return found


def columns(before: Layer, group: str) -> tuple[Index, ...]:
    """Return the indices of a wide neuron as a column of the next weights; their names differ from those of its rows."""
    return tuple(Index(f"{u.name}''", u.dim) for u in before.formals(group))


def _check(problem: Problem) -> None:
    if problem.kind not in ("two_layer", "deep"):
        raise ValueError(f"embeddings are those of two-layer and deep networks, got a {problem.kind} model")
    if problem.weight_decay != 0:
        raise ValueError(
            f"embeddings need a risk without weight decay, got weight decay {problem.weight_decay}; set it to 0"
        )
    if problem.freeze:
        raise ValueError(
            f"the blocks {', '.join(problem.freeze)} are frozen; compatible embeddings move every block, leave freeze empty"
        )
