r"""PyTorch code of one contraction: dot, matrix-vector, matrix, batched matrix product, or products and a sum.

The axes of two operands fall into groups: shared and kept, summed, and those that only one of them has.  Each operand
is viewed as a matrix whose rows and columns are groups (a batch of matrices if axes are shared and kept), so that

.. math::  C_{fg} = \sum_s A_{fs} B_{sg} .

The smaller group of the result is put first: a product with few rows and long rows is up to 2.5 times faster than its
transpose (d = 20, m = 1000, float64).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from numerics.emit_nodes import BATCH, SAMPLES, Node, Plan

__all__ = ["Arrays", "Product", "aligned", "bias", "extent", "memory", "placed", "preferred", "product"]

Axes = tuple[int, ...]


class Arrays(Protocol):
    """What the code of an operand needs to know."""

    plan: Plan

    def code(self, node: Node) -> str:
        """Return the variable of a node."""

    def order_of(self, node: Node) -> Axes:
        """Return the axes of a node as they lie in memory, ``BATCH`` among them if it has a batch axis."""

    def wished(self, node: Node) -> Axes:
        """Return the order of axes in which a node is asked for, if it is."""

    def size(self, dim: str) -> str:
        """Return the code of a size."""


@dataclass(frozen=True)
class Product:
    """One contraction: ``kind`` (dot, mv, mm, bmm, entries), operands, and the result.

    ``code`` is the whole expression; ``rows`` and ``columns`` are the groups of a matrix product.
    """

    kind: str
    left: str
    right: str
    order: Axes
    rows: Axes = ()
    columns: Axes = ()
    shape: str = ""
    suffix: str = ""

    @property
    def code(self) -> str:
        """The expression."""
        if self.kind == "entries":
            return f"({self.left} * {self.right}){self.suffix}"
        return f"torch.{self.kind}({self.left}, {self.right}){self.suffix}{self.shape}"


def memory(arrays: Arrays, node: Node, axes: Sequence[int]) -> list[int]:
    """Return the order in memory of an operand, in the labels of the node that uses it."""
    return [BATCH if a == BATCH else axes[a] for a in arrays.order_of(node)]


def preferred(plan: Plan, labels: Sequence[int], dims: dict[int, str]) -> list[int]:
    """Return the labels in the order in which arrays of the plan lie: samples first, or last if the batch leads."""
    samples = [u for u in labels if u != BATCH and dims[u] == SAMPLES]
    others = [u for u in labels if u != BATCH and dims[u] != SAMPLES]
    batch = [BATCH] if BATCH in labels else []
    if plan.layout == "first":
        return [*batch, *others, *samples]
    return [*samples, *others, *batch]


def aligned(arrays: Arrays, node: Node, axes: Sequence[int], target: Sequence[int]) -> str:
    """Return code whose trailing axes broadcast against the labels ``target``."""
    return placed(arrays.code(node), memory(arrays, node, axes), target)


def placed(code: str, order: Sequence[int], target: Sequence[int]) -> str:
    """Return ``code``, an array with the labels ``order``, so that its trailing axes broadcast against ``target``."""
    code += _permuted(order, [u for u in target if u in order])
    slots = [":" if u in order else "None" for u in target]
    while slots and slots[0] == "None":
        slots.pop(0)
    return f"{code}[{', '.join(slots)}]" if "None" in slots else code


def _permuted(order: Sequence[int], wanted: Sequence[int]) -> str:
    if list(order) == list(wanted):
        return ""
    if len(order) == 2:
        return ".t()"
    if [*order[:-2], order[-1], order[-2]] == list(wanted):
        return ".mT"
    return f".permute({', '.join(str(list(order).index(u)) for u in wanted)})"


def grouped(
    arrays: Arrays, node: Node, axes: Sequence[int], groups: Sequence[Sequence[int]], dims: dict[int, str]
) -> str:
    """Return code of the operand with one axis for each group of labels."""
    order, flat = memory(arrays, node, axes), [u for group in groups for u in group]
    code = arrays.code(node)
    if len(groups) == 2 and order != flat and order == [*groups[1], *groups[0]]:
        return grouped(arrays, node, axes, [groups[1], groups[0]], dims) + ".t()"
    code += _permuted(order, flat)
    if all(len(group) == 1 for group in groups):
        return code
    return f"{code}.reshape({', '.join(extent(arrays, group, dims) for group in groups)})"


def extent(arrays: Arrays, group: Sequence[int], dims: dict[int, str]) -> str:
    """Return the code of the number of entries of a group of labels."""
    return " * ".join("B" if u == BATCH else arrays.size(dims[u]) for u in group) or "1"


def product(arrays: Arrays, node: Node) -> Product:
    """Return the contraction of the two operands of ``node``."""
    (first, first_axes), (second, second_axes) = node.args
    left, right = memory(arrays, first, first_axes), memory(arrays, second, second_axes)
    dims = dict(zip(first_axes, first.dims, strict=True)) | dict(zip(second_axes, second.dims, strict=True))
    kept = [*range(len(node.dims)), BATCH]
    shared = [u for u in left if u in right and u in kept]
    summed = [u for u in left if u in right and u not in kept]
    rows, columns = [u for u in left if u not in right], [u for u in right if u not in left]
    if not rows and not columns and not shared:
        if len(summed) == 1:
            return Product("dot", arrays.code(first), arrays.code(second), ())
        return _entries(arrays, node, dims, ())
    if arrays.plan.fused or (shared and (arrays.plan.layout == "last" or not (rows or columns))):
        return _entries(
            arrays, node, dims, tuple(preferred(arrays.plan, [u for u in kept if u in left + right], dims))
        )
    operands = [(first, first_axes, rows), (second, second_axes, columns)]
    if _swap(arrays.plan, rows, columns, dims, arrays.wished(node)):
        operands.reverse()
    (one, one_axes, rows), (two, two_axes, columns) = operands
    if shared:
        return _batched(arrays, operands, shared, summed, dims)
    if not rows or not columns:
        if not columns:
            (one, one_axes, rows), (two, two_axes, columns) = operands
        else:
            (two, two_axes, columns), (one, one_axes, rows) = operands
        matrix = grouped(arrays, one, one_axes, [rows, summed], dims)
        vector = grouped(arrays, two, two_axes, [summed], dims)
        return Product("mv", matrix, vector, tuple(rows), tuple(rows), (), _unfolded(arrays, [rows], dims))
    return Product(
        "mm",
        grouped(arrays, one, one_axes, [rows, summed], dims),
        grouped(arrays, two, two_axes, [summed, columns], dims),
        (*rows, *columns),
        tuple(rows),
        tuple(columns),
        _unfolded(arrays, [rows, columns], dims),
    )


def _swap(
    plan: Plan, rows: Sequence[int], columns: Sequence[int], dims: dict[int, str], wished: Axes
) -> bool:
    """Say whether the result lies better with ``rows`` after ``columns``."""
    if wished and rows and columns and not plan.many and plan.layout == "single":
        return wished[0] in columns

    def rank(group: Sequence[int]) -> float:
        size = 1.0
        for u in group:
            if u == BATCH:
                if plan.layout == "last":
                    return float("inf")
                size *= 64
            elif dims[u] == SAMPLES:
                return -1.0 if plan.layout == "single" else float("inf") if plan.layout == "first" else size
            else:
                size *= plan.size(dims[u])
        return size

    return rank(rows) > rank(columns)


def _unfolded(arrays: Arrays, groups: Sequence[Sequence[int]], dims: dict[int, str]) -> str:
    if all(len(group) == 1 for group in groups):
        return ""
    return f".view({', '.join(extent(arrays, [u], dims) for group in groups for u in group)})"


def _batched(
    arrays: Arrays,
    operands: Sequence[tuple[Node, Axes, list[int]]],
    shared: list[int],
    summed: list[int],
    dims: dict[int, str],
) -> Product:
    (one, one_axes, rows), (two, two_axes, columns) = operands
    shared = [u for u in shared if u == BATCH] + [u for u in shared if u != BATCH]
    left = grouped(arrays, one, one_axes, [shared, rows, summed] if rows else [shared, summed], dims)
    right = grouped(arrays, two, two_axes, [shared, summed, columns] if columns else [shared, summed], dims)
    left += "" if rows else "[:, None]"
    right += "" if columns else "[:, :, None]"
    suffix = "[:, 0]" if not rows else "[:, :, 0]" if not columns else ""
    groups = [shared, *([rows] if rows else []), *([columns] if columns else [])]
    return Product(
        "bmm",
        left,
        right,
        (*shared, *rows, *columns),
        shape=_unfolded(arrays, groups, dims),
        suffix=suffix,
    )


def _entries(arrays: Arrays, node: Node, dims: dict[int, str], out: Axes) -> Product:
    """Multiply entry by entry, then sum: where the batch axis is what is vectorised, and for sums of squares."""
    (first, first_axes), (second, second_axes) = node.args
    labels = list(dict.fromkeys([*memory(arrays, first, first_axes), *memory(arrays, second, second_axes)]))
    order = preferred(arrays.plan, labels, dims)
    gone = [str(p) for p, u in enumerate(order) if u not in out]
    axes = gone[0] if len(gone) == 1 else f"({', '.join(gone)})"
    return Product(
        "entries",
        aligned(arrays, first, first_axes, order),
        aligned(arrays, second, second_axes, order),
        tuple(u for u in order if u in out),
        suffix=f".sum({axes})" if out else ".sum()",
    )


def bias(arrays: Arrays, found: Product, order: Sequence[int], code: str, dims: dict[int, str]) -> str | None:
    """Return ``code``, an array with the labels ``order``, as ``addmm`` or ``addmv`` adds it; None if they cannot.

    Only a product whose result has exactly the labels of ``dims`` is asked about.
    """
    rows, columns = list(found.rows), list(found.columns)
    if found.kind not in ("mv", "mm"):
        return None
    if not order:
        return code
    if found.kind == "mv":
        return code if list(order) == rows and not found.shape else None
    wanted = next((g for g in (rows, columns, [*rows, *columns]) if set(g) == set(order)), None)
    if wanted is None:
        return None
    plain = code + _permuted(order, wanted)
    if wanted == columns:
        return plain if len(columns) == 1 else f"{plain}.reshape(-1)"
    if wanted == rows:
        return f"{plain}[:, None]" if len(rows) == 1 else f"{plain}.reshape(-1, 1)"
    if len(rows) == len(columns) == 1:
        return plain
    return f"{plain}.reshape({extent(arrays, rows, dims)}, {extent(arrays, columns, dims)})"
