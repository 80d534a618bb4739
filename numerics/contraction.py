r"""Order of pairwise contractions of a product of labelled arrays, by exact search over subsets.

The cost of contracting two groups is the number of multiplications, the product of the sizes of all their labels; a
group keeps the labels that are wanted or that another factor still has.  Dynamic programming over the :math:`2^K`
subsets finds the cheapest tree; K is the number of factors of one product, rarely more than six.

>>> order = contraction_order([(frozenset("ij"), False), (frozenset("jk"), False), (frozenset("k"), False)],
...                           frozenset("i"), size=lambda label: 100)
>>> order  # the matrix-vector product first, then the other matrix
[(1, 2), (0, 1)]
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

__all__ = ["contraction_order"]

#: Sizes assumed when contractions are ordered; the source itself is valid for every size.
NOMINAL = {"n": 100, "m": 10, "d": 8, "o": 3}
BATCH = 64

Labels = frozenset[Hashable]


def nominal_size(label: Hashable) -> float:
    """Return the size assumed for an index: that of its dimension, 10 for an unknown one."""
    return NOMINAL.get(str(getattr(label, "dim", "")), 10)


def contraction_order(
    factors: Sequence[tuple[Labels, bool]],
    keep: Labels,
    size: Callable[[Hashable], float] = nominal_size,
) -> list[tuple[int, int]]:
    """Return the pairs to contract in turn.

    Parameters
    ----------
    factors : sequence of (labels, batched)
        Labels of each factor, and whether it has a batch axis as well.
    keep : frozenset
        Labels of the result.
    size : callable
        Size assumed for a label.

    Returns
    -------
    list of (int, int)
        Positions in the list as it shrinks: each pair is removed and its result appended at the end.
    """
    count = len(factors)
    if count < 2:
        return []
    labels, flags = [f[0] for f in factors], [f[1] for f in factors]
    members = {s: [j for j in range(count) if s >> j & 1] for s in range(1, 1 << count)}
    everything = (1 << count) - 1

    def result(subset: int) -> Labels:
        inside: Labels = frozenset().union(*[labels[j] for j in members[subset]])
        return inside & keep.union(*[labels[j] for j in members.get(everything ^ subset, [])])

    def work(left: int, right: int) -> float:
        out = float(BATCH if any(flags[j] for j in members[left | right]) else 1)
        for label in shapes[left] | shapes[right]:
            out *= size(label)
        return out

    shapes = {1 << j: labels[j] for j in range(count)}
    best: dict[int, tuple[float, int]] = {1 << j: (0.0, 0) for j in range(count)}
    for subset in sorted(members, key=lambda s: len(members[s])):
        if subset in best:
            continue
        shapes[subset] = result(subset)
        part, options = (subset - 1) & subset, []
        while part:
            other = subset ^ part
            if part < other:
                options.append((best[part][0] + best[other][0] + work(part, other), part))
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
