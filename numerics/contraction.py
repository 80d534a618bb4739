r"""Order of pairwise contractions of a product of labelled arrays, by exact search over subsets.

A group of factors keeps the labels that are wanted or that another factor still has.  Dynamic programming over the
:math:`2^K` subsets finds the tree of least total price; K is the number of factors of one product, rarely more than
six.  By default the price of combining two groups is the number of multiplications, the product of the sizes of all
their labels.

>>> order = contraction_order([frozenset("ij"), frozenset("jk"), frozenset("k")], frozenset("i"))
>>> order  # the matrix-vector product first, then the other matrix
[(1, 2), (0, 1)]
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from numerics.emit_nodes import Graph, Plan, Value

__all__ = ["contracted", "contraction_order"]

Labels = frozenset[str]
#: Price of a pair from the positions of the factors on each side, the labels of each side and of the result.
Price = Callable[[tuple[int, ...], tuple[int, ...], Labels, Labels, Labels], float]


def _multiplications(
    left: tuple[int, ...], right: tuple[int, ...], first: Labels, second: Labels, out: Labels
) -> float:
    return 100.0 ** len(first | second)


def contraction_order(
    factors: Sequence[Labels], keep: Labels, price: Price = _multiplications
) -> list[tuple[int, int]]:
    """Return the pairs to contract in turn.

    Parameters
    ----------
    factors : sequence of frozenset of str
        Labels of each factor.
    keep : frozenset
        Labels of the result.
    price : callable
        Price of combining two groups: ``price(left, right, left_labels, right_labels, result_labels)``, where ``left``
        and ``right`` are the positions of the factors in each group.

    Returns
    -------
    list of (int, int)
        Positions in the list as it shrinks: each pair is removed and its result appended at the end.
    """
    count = len(factors)
    if count < 2:
        return []
    members = {s: tuple(j for j in range(count) if s >> j & 1) for s in range(1, 1 << count)}
    everything = (1 << count) - 1

    def result(subset: int) -> Labels:
        inside: Labels = frozenset().union(*[factors[j] for j in members[subset]])
        return inside & keep.union(*[factors[j] for j in members.get(everything ^ subset, ())])

    shapes = {1 << j: factors[j] for j in range(count)}
    best: dict[int, tuple[float, int]] = {1 << j: (0.0, 0) for j in range(count)}
    for subset in sorted(members, key=lambda s: len(members[s])):
        if subset in best:
            continue
        shapes[subset] = result(subset)
        part, options = (subset - 1) & subset, []
        while part:
            other = subset ^ part
            if part < other:
                work = price(members[part], members[other], shapes[part], shapes[other], shapes[subset])
                options.append((best[part][0] + best[other][0] + work, part))
            part = (part - 1) & subset
        best[subset] = min(options)
    return _pairs(best, everything, count)


def _pairs(best: dict[int, tuple[float, int]], everything: int, count: int) -> list[tuple[int, int]]:
    """Turn the tree of subsets into positions in the shrinking list."""
    order: list[tuple[int, int]] = []

    def visit(subset: int) -> None:
        part = best[subset][1]
        if part:
            visit(part)
            visit(subset ^ part)
            order.append((part, subset ^ part))

    visit(everything)
    alive, pairs = [1 << j for j in range(count)], []
    for left, right in order:
        pairs.append((alive.index(left), alive.index(right)))
        alive = [s for s in alive if s not in (left, right)] + [left | right]
    return pairs


def contracted(graph: Graph, plan: Plan, values: Sequence[Value], summed: Sequence[Hashable]) -> Value:
    """Return the sum over the labels ``summed`` of the product of ``values``, in the order cheapest for the plan.

    An index that one factor alone has is summed in that factor first.
    """
    values = list(values)
    keep = {u for v in values for u in v.labels} - set(summed)
    for position, value in enumerate(values):
        others = {u for p, v in enumerate(values) if p != position for u in v.labels}
        if any(u not in keep and u not in others for u in value.labels):
            wanted = {u for u in value.labels if u in keep or u in others}
            values[position] = graph.make("sum", [value], wanted)
    text = {u: f"{number}:{dim}" for number, (u, dim) in enumerate(_dims(values).items())}
    data = [not v.node.batched for v in values]

    def price(
        left: tuple[int, ...], right: tuple[int, ...], first: Labels, second: Labels, out: Labels
    ) -> float:
        return plan.price(first, second, out, (all(data[j] for j in left), all(data[j] for j in right)))

    shapes = [frozenset(text[u] for u in v.labels) for v in values]
    for pair in contraction_order(shapes, frozenset(text[u] for u in keep), price):
        first, second = values[pair[0]], values[pair[1]]
        rest = [v for j, v in enumerate(values) if j not in pair]
        needed = keep.union(*[v.labels for v in rest])
        union = {*first.labels, *second.labels}
        values = [*rest, _pair(graph, plan, first, second, needed, bool(union - needed))]
    return values[0]


def _pair(
    graph: Graph, plan: Plan, first: Value, second: Value, needed: set[Hashable], summed: bool
) -> Value:
    if summed and not (plan.layout == "last" and first.node.batched and second.node.batched):
        return graph.make("contract", [first, second], needed)
    # With the batch axis last there is no matrix product of two batched operands: other sums share the product.
    both = graph.make("mul", [first, second])
    return graph.make("sum", [both], needed) if summed else both


def _dims(values: Sequence[Value]) -> dict[Hashable, str]:
    return {u: dim for v in values for u, dim in zip(v.labels, v.node.dims, strict=True)}
