r"""Which nodes of the graph become one statement of the generated source.

Merged are: scaled sums into sums; a product of matrices and what is added to it (``addmm``, ``addmv``);
c_0 + c_1 u^2 (``addcmul``); entries on a diagonal into an addition on the diagonal view.  Only a node that nobody else
needs is merged into another one, and never across the end of a sweep over samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from numerics.emit_nodes import SAMPLES, Node, Plan

__all__ = ["Statement", "Term", "is_square", "statements"]


@dataclass
class Term:
    """Coefficient times operand in a sum; ``axes`` are labels of the sum."""

    coefficient: str
    node: Node
    axes: tuple[int, ...]


@dataclass
class Statement:
    """A node and how it is written.

    Attributes
    ----------
    node : Node
        What is computed.
    terms, constant
        Of a sum.
    merged : list of Term
        Terms that are written where they are needed: products, squares.
    diagonals : list of Term
        Terms that are added on a diagonal.
    operands : list of int
        Nodes that must exist before.
    inside : list of Node
        Nodes that have no variable of their own because of this statement.
    """

    node: Node
    terms: list[Term] = field(default_factory=list)
    constant: str | None = None
    merged: list[Term] = field(default_factory=list)
    diagonals: list[Term] = field(default_factory=list)
    operands: list[int] = field(default_factory=list)
    inside: list[Node] = field(default_factory=list)


def is_square(node: Node) -> bool:
    """Say whether the node is u * u for one array u."""
    return node.op == "mul" and node.args[0] == node.args[1]


def statements(
    nodes: Sequence[Node], uses: Counter[int], plan: Plan, times: Callable[[str, str], str]
) -> list[Statement]:
    """Return the statements of ``nodes``, operands first.

    Parameters
    ----------
    nodes : sequence of Node
        What is to be computed, operands first.
    uses : Counter
        How often each node is needed.
    plan : Plan
        Whether samples are swept in blocks.
    times : callable
        Code of the product of two constants.
    """
    known = {u.uid for u in nodes}
    gone: set[int] = set()
    out: list[Statement] = []
    for node in reversed(nodes):
        if node.uid in gone:
            continue

        def private(u: Node, node: Node = node) -> bool:
            return u.uid in known and uses[u.uid] == 1 and not (plan.blocked and _crosses(node, u))

        statement = Statement(node)
        if node.op == "linear":
            _flatten(statement, private, times, plan)
            _merge(statement, private)
            gone.update(u.uid for u in statement.inside)
            for term in [*statement.terms, *statement.diagonals]:
                within = term.node.uid in gone
                statement.operands += [u.uid for u, _ in term.node.args] if within else [term.node.uid]
        else:
            statement.operands = [u.uid for u, _ in node.args]
        out.append(statement)
    return out[::-1]


def _crosses(node: Node, operand: Node) -> bool:
    """Say whether the two stand on different sides of the end of a sweep over samples."""
    rows = SAMPLES in operand.dims
    summed = not rows and any(SAMPLES in u.dims for u, _ in operand.args)
    return summed or rows != (SAMPLES in node.dims)


def _flatten(
    statement: Statement,
    private: Callable[[Node], bool],
    times: Callable[[str, str], str],
    plan: Plan,
) -> None:
    """Take in sums that only this sum needs, unless they have fewer axes: those are cheaper on their own."""
    node = statement.node
    constant, coefficients = node.payload
    statement.constant = None if constant is None else str(constant)
    waiting = [
        Term(str(c), u, axes)
        for c, (u, axes) in zip(coefficients, node.args, strict=True)  # type: ignore[call-overload]
    ]
    while waiting:
        term = waiting.pop(0)
        inner = term.node
        if inner.op != "linear" or not private(inner):
            statement.terms.append(term)
            continue
        constant, coefficients = inner.payload
        scaled = constant is None and len(inner.args) == 1
        # A scaled sum is scaled at the end, unless the factor can go into a product of matrices.
        kept = len(inner.args) > 1 and term.coefficient not in ("1", "-1") and plan.layout != "single"
        if kept:
            statement.terms.append(term)
            continue
        if not scaled and (len(inner.dims) < len(node.dims) or (constant is not None and statement.constant)):
            statement.terms.append(term)
            continue
        statement.inside.append(inner)
        if constant is not None:
            statement.constant = times(term.coefficient, str(constant))
        waiting += [
            Term(times(term.coefficient, str(c)), u, tuple(term.axes[a] for a in axes))
            for c, (u, axes) in zip(coefficients, inner.args, strict=True)  # type: ignore[call-overload]
        ]


def _merge(statement: Statement, private: Callable[[Node], bool]) -> None:
    terms = statement.terms
    for term in list(terms):
        if term.node.op == "diagonal" and private(term.node):
            terms.remove(term)
            statement.diagonals.append(term)
    products = [t for t in terms if t.node.op == "contract" and private(t.node)]
    squares = [t for t in terms if is_square(t.node) and private(t.node)]
    if statement.constant is None and len(terms) == 2:
        if any(t.node.op == "fill" for t in terms) and squares:
            statement.merged = squares
        elif products:
            statement.merged = products[:1]
    statement.inside += [t.node for t in [*statement.merged, *statement.diagonals]]
