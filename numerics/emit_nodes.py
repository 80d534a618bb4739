r"""Values of a generated function: hash-consed nodes whose axes carry labels, and the plan they are emitted for.

An operand is a node together with one label for each of its axes, so a transposition is a label and never a
computation: ``tanh(z)`` is one node however it is indexed, and the same two operands contracted in the same way are
one node whoever asks.  The batch axis over parameter points is no label of the graph: a node is *batched* or not, and
the plan decides whether that axis exists, and where it lies.

>>> graph = Graph()
>>> w, x = graph.leaf("w", ("m", "d"), True), graph.leaf("x", ("n", "d"), False)
>>> one = graph.make("contract", [Value(w, ("k", "l")), Value(x, ("i", "l"))], {"k", "i"})
>>> two = graph.make("contract", [Value(x, ("j", "s")), Value(w, ("q", "s"))], {"q", "j"})
>>> one.node is two.node, one.labels, two.labels
(True, ('k', 'i'), ('q', 'j'))
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["BATCH", "SAMPLES", "Graph", "Node", "Plan", "Value", "reachable"]

#: Dimension of the sample axis, over which a function may be computed in blocks.
SAMPLES = "n"
#: Label of the batch axis in a physical order of axes.
BATCH = -1

#: Sizes assumed when contractions are ordered, for few and for many samples and neurons.
_FEW = {"n": 20, "d": 2, "o": 2, "": 4}
_MANY = {"n": 500, "d": 10, "o": 5, "": 200}
#: Nanoseconds: one call of the tensor library; one entry written; one multiplication in a matrix product.
_CALL, _WRITE, _PRODUCT = 2000.0, 0.3, 0.06


class Node:
    """One array of the function.

    Attributes
    ----------
    op : str
        ``leaf``, ``fill`` (a constant), ``ones`` (along one axis), ``map`` (a function of one operand), ``call`` (of several), ``mul``,
        ``linear`` (constant + sum of coefficients times operands), ``contract``, ``sum`` or ``diagonal``.
    dims : tuple of str
        Dimension of each axis.
    args : tuple of (Node, axes)
        Operands; axis j of the operand is the axis ``axes[j]`` of this node, or a summed label if that is not below
        the rank.
    payload : tuple
        What else the operation needs: a name, a pattern, coefficients.
    batched : bool
        Whether it depends on the parameter point.
    """

    __slots__ = ("args", "batched", "dims", "op", "payload", "uid")

    def __init__(
        self,
        uid: int,
        op: str,
        dims: tuple[str, ...],
        args: tuple[tuple[Node, tuple[int, ...]], ...],
        payload: tuple[Hashable, ...],
        batched: bool,
    ) -> None:
        self.uid, self.op, self.dims, self.args = uid, op, dims, args
        self.payload, self.batched = payload, batched


class Value(NamedTuple):
    """A node seen with a label on each of its axes."""

    node: Node
    labels: tuple[Hashable, ...]


@dataclass(frozen=True)
class Plan:
    """How a function is laid out.

    Parameters
    ----------
    layout : str
        ``single``: one parameter point, no batch axis; ``first``: the batch axis leads and samples come last, for
        products of matrices; ``last``: the batch axis comes last, for tiny networks, where it is what is vectorised.
    many : bool
        Whether contractions are ordered for many samples and neurons: arithmetic counts, not the number of calls.
    blocked : bool
        Whether the samples are swept in blocks (``single`` only).
    in_place : bool
        Whether temporaries that are not needed any more are overwritten; not under autograd or vmap.
    fused : bool
        Whether a compiler makes loops of the whole function, so that sums of products cost less than calls of a
        matrix product (``last`` only).
    """

    layout: str = "first"
    many: bool = False
    blocked: bool = False
    in_place: bool = True
    fused: bool = False

    def size(self, dim: str) -> float:
        """Return the size assumed for a dimension when contractions are ordered."""
        table = _MANY if self.many else _FEW
        return float(dim) if dim.isdigit() else table.get(dim, table[""])

    def price(self, left: Set[str], right: Set[str], out: Set[str], data: tuple[bool, bool]) -> float:
        """Return the time in nanoseconds of combining two operands, given the labels "name:dimension" of each.

        What depends on the data only is computed once, so it is free unless samples are swept in blocks.
        """
        if all(data) and not self.blocked:
            return 0.0
        points = 1.0 if self.layout == "single" else 64.0 if self.layout == "first" else 1024.0
        union, written = points, points
        for label in left | right:
            union *= self.size(label.partition(":")[2])
        for label in out:
            written *= self.size(label.partition(":")[2])
        if not (left | right) - out:
            return _CALL + _WRITE * union
        both = not any(data)
        if self.layout == "last" and both:  # a product of entries, then a sum
            return 2 * _CALL + 2 * _WRITE * union
        return _CALL + _WRITE * written + _PRODUCT * union + (100 * points if both and points > 1 else 0)


@dataclass
class Graph:
    """Nodes in the order of their making, each made once."""

    nodes: list[Node] = field(default_factory=list)
    _known: dict[Hashable, Node] = field(default_factory=dict)

    def leaf(self, name: str, dims: Sequence[str], batched: bool) -> Node:
        """Return the leaf called ``name``."""
        return self._node("leaf", tuple(dims), (), (name,), batched)

    def fill(self, code: str) -> Value:
        """Return a scalar constant as an array without axes."""
        return Value(self._node("fill", (), (), (code,), False), ())

    def ones(self, dim: str) -> Node:
        """Return an array of ones over one dimension."""
        return self._node("ones", (dim,), (), (), False)

    def make(
        self,
        op: str,
        values: Sequence[Value],
        keep: Iterable[Hashable] | None = None,
        payload: tuple[Hashable, ...] = (),
    ) -> Value:
        """Return the node of a commutative operation, its axes in the order in which labels first appear.

        Parameters
        ----------
        op : str
            Operation.
        values : sequence of Value
            Operands, already in a canonical order if that matters to ``payload``.
        keep : iterable, optional
            Labels of the result; all by default.
        """
        kept = None if keep is None else set(keep)
        if op in ("mul", "contract"):
            values = sorted(values, key=lambda v: v.node.uid)
        labels: list[Hashable] = []
        summed: list[Hashable] = []
        for value in values:
            for label in value.labels:
                where = labels if kept is None or label in kept else summed
                if label not in where:
                    where.append(label)
        number = {label: position for position, label in enumerate([*labels, *summed])}
        dims: dict[int, str] = {}
        args = []
        for value in values:
            axes = tuple(number[label] for label in value.labels)
            dims |= dict(zip(axes, value.node.dims, strict=True))
            args.append((value.node, axes))
        node = self._node(
            op,
            tuple(dims[a] for a in range(len(labels))),
            tuple(args),
            payload,
            any(v.node.batched for v in values),
        )
        return Value(node, tuple(labels))

    def diagonal(self, value: Value, old: Hashable, new: Hashable) -> Value:
        """Return delta(old, new) * value, with the label ``new`` added at the end."""
        axis, rank = value.labels.index(old), len(value.labels)
        dims = (*value.node.dims, value.node.dims[axis])
        args = ((value.node, tuple(range(rank))),)
        return Value(self._node("diagonal", dims, args, (axis,), value.node.batched), (*value.labels, new))

    def _node(
        self,
        op: str,
        dims: tuple[str, ...],
        args: tuple[tuple[Node, tuple[int, ...]], ...],
        payload: tuple[Hashable, ...],
        batched: bool,
    ) -> Node:
        key = (op, dims, tuple((operand.uid, axes) for operand, axes in args), payload)
        if key not in self._known:
            self._known[key] = Node(len(self.nodes), op, dims, args, payload, batched)
            self.nodes.append(self._known[key])
        return self._known[key]


def reachable(roots: Sequence[Node]) -> list[Node]:
    """Return the roots and what they are computed from, in the order of creation."""
    found: dict[int, Node] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.uid not in found:
            found[node.uid] = node
            stack.extend(operand for operand, _ in node.args)
    return [found[uid] for uid in sorted(found)]
