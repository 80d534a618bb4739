r"""Sets of parameters of a two-layer network with tied input weights: affine, intersected exactly.

The input weights of each neuron are those of a teacher neuron, 0, or a free weight shared by a block of neurons, up to signs where
the activation identifies them; the output weights solve linear equations with rational coefficients whose right sides are
combinations of the output weights of the teacher.  Intersections join the input weights by a union-find with signs and the output
weights by exact elimination.

Source: arXiv:2309.00508 (2024), Lemma 3.5, that closures of branches meet in affine sets; signs and constants are added here.

>>> shape = Shape(width=2, teacher=1, inputs=3)
>>> one = affine_set(shape, [(0, 1), (1, 1)], [[Fraction(1), Fraction(0), Fraction(1), Fraction(0)], [Fraction(0), Fraction(1), Fraction(0), Fraction(0)]])
>>> one.dimension, one.distinct, one.deficient, one.rank
(3, 2, 1, 5)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from sympy import Add, Expr, Integer, Rational, Symbol

from derivations.claim import Status
from derivations.decide import is_zero
from derivations.errors import AssumptionError

__all__ = ["ZERO", "AffineSet", "Row", "Shape", "affine_set", "meet"]

#: Label of a neuron with input weights 0.
ZERO = -1


@dataclass(frozen=True)
class Shape:
    r"""Sizes of student and teacher and what the activation identifies.

    Parameters
    ----------
    width, teacher, inputs : int
        m, :math:`m_0 \leq m` and the number of input weights of a neuron, its bias included.
    sign : int
        s, or 0 where a neuron with the opposite weights is another neuron.
    constant : bool
        Whether :math:`\alpha \neq 0`.
    silent : bool
        Whether :math:`\sigma(0) = 0`.
    steep : bool
        Whether :math:`\sigma'(0) \neq 0`.
    bias : bool
        Whether neurons have biases; neurons with w = 0 are then left out, see ``GlobalMinima.complete``.
    output_bias : bool
        Whether the student has an output bias c.
    outer : tuple of Expr
        Output weights of the teacher, and last its output bias (in units of :math:`\sigma(0)` where that is not 0);
        symbols, for a teacher in general position, if left out.
    """

    width: int
    teacher: int
    inputs: int
    sign: int = 0
    constant: bool = False
    silent: bool = False
    steep: bool = True
    bias: bool = False
    output_bias: bool = False
    outer: tuple[Expr, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.teacher <= self.width:
            raise ValueError(
                f"a student of width {self.width} and a teacher of width {self.teacher}; the teacher has at least one neuron and at"
                " most as many as the student"
            )
        if self.inputs < 1:
            raise ValueError(f"{self.inputs} input weights for each neuron; there is at least 1")

    @property
    def parameters(self) -> int:
        """Number of parameters of the student."""
        return self.width * (self.inputs + 1) + self.output_bias

    @property
    def couples(self) -> bool:
        """Whether constants give one more equation for the output weights."""
        return self.output_bias or self.constant

    @property
    def zero_blocks(self) -> bool:
        """Whether neurons with input weights 0 form branches of their own."""
        return not self.bias and (self.silent or self.couples)

    @cached_property
    def targets(self) -> tuple[Expr, ...]:
        """Right sides: the output weights of the teacher and its output bias."""
        if self.outer:
            return self.outer
        bias = Symbol("cbar", real=True) if self.output_bias else Integer(0)
        return (*(Symbol(f"abar{j + 1}", real=True) for j in range(self.teacher)), bias)


#: Coefficients of the output weights (and of c), then of the right side as a combination of ``Shape.targets``.
Row = tuple[Fraction, ...]


@dataclass(frozen=True)
class AffineSet:
    """A set of parameters: each neuron tied to a teacher neuron, to 0 or to a free weight, the output weights on an affine set.

    Attributes
    ----------
    ties : tuple of (int, int)
        For each neuron the label of its weight (0 to m0 - 1 for the teacher, -1 for 0, from m0 on for free ones in order of
        appearance) and its sign.
    rows : tuple of Row
        Reduced equations of the output weights.
    dimension : int
        Dimension of the set.
    """

    shape: Shape
    ties: tuple[tuple[int, int], ...]
    rows: tuple[Row, ...]
    dimension: int

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """Labels of the neurons."""
        return tuple(label for label, _ in self.ties)

    @cached_property
    def blocks(self) -> dict[int, tuple[int, ...]]:
        """Neurons (from 0) by label."""
        return {u: tuple(k for k, v in enumerate(self.labels) if v == u) for u in sorted(set(self.labels))}

    @property
    def distinct(self) -> int:
        """Number r of distinct non-zero input weights, up to sign where signs are identified."""
        return len([u for u in self.blocks if u != ZERO])

    @cached_property
    def vanishing(self) -> frozenset[int]:
        """Neurons whose output weight is 0 on the whole set."""
        size = self.shape.width
        found = set()
        for row in self.rows:
            support = [k for k, u in enumerate(row[: size + self.shape.output_bias]) if u]
            if len(support) == 1 and support[0] < size and _right_side(row, self.shape) is Status.PROVED:
                found.add(support[0])
        return frozenset(found)

    @cached_property
    def active(self) -> tuple[int, ...]:
        """Labels, other than that of 0, of the weights that carry some output weight that is not 0 at a generic point."""
        return tuple(u for u, ks in self.blocks.items() if u != ZERO and not set(ks) <= self.vanishing)

    @cached_property
    def deficient(self) -> int:
        """Number l of blocks whose output weights all vanish."""
        return self.distinct - len(self.active)

    @cached_property
    def rank(self) -> int:
        r"""Model rank at a generic point: the dimension of the span of :math:`\partial_\theta f`, as functions of x.

        It is :math:`r + (r - l)d` without identifications; constants and neurons with weights 0 add to it.
        """
        shape = self.shape
        mixed = shape.constant and any(
            len({self.ties[k][1] for k in ks}) == 2 for u, ks in self.blocks.items() if u != ZERO
        )
        zero = set(self.blocks.get(ZERO, ()))
        constants = shape.output_bias or mixed or (bool(zero) and not shape.silent)
        linear = shape.steep and bool(zero - self.vanishing)
        return self.distinct + len(self.active) * shape.inputs + constants + linear * shape.inputs

    def contains(self, other: AffineSet) -> bool:
        """Whether ``other`` is a subset."""
        joint = meet(self, other)
        return joint is not None and joint.dimension == other.dimension

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """What is left after permutations of the neurons: how many neurons of each sign each label has."""
        counts = {
            u: tuple(sum(self.ties[k] == (u, e) for k in ks) for e in (1, -1))
            for u, ks in self.blocks.items()
        }
        m0 = self.shape.teacher
        free = tuple(sorted(max(v, v[::-1]) if self.shape.sign else v for u, v in counts.items() if u >= m0))
        return (*(counts.get(u, (0, 0)) for u in range(m0)), free, counts.get(ZERO, (0, 0))[0])


def _reduced(shape: Shape, table: Sequence[Sequence[Fraction]]) -> tuple[Row, ...] | None:
    """Return the equations in reduced echelon form, None where they contradict each other."""
    unknowns = shape.width + shape.output_bias
    rows = [list(row) for row in table]
    done = 0
    for column in range(unknowns):
        pivot = next((j for j in range(done, len(rows)) if rows[j][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        lead = rows[done][column]
        rows[done] = [u / lead for u in rows[done]]
        for j, row in enumerate(rows):
            if j != done and row[column]:
                factor = row[column]
                rows[j] = [u - factor * v for u, v in zip(row, rows[done], strict=True)]
        done += 1
    for row in rows[done:]:
        status = _right_side(tuple(row), shape)
        if status is Status.UNDECIDED:
            raise AssumptionError(
                "whether a combination of the output weights of the teacher vanishes could not be decided; give them as"
                " rational numbers"
            )
        if status is Status.REFUTED:
            return None
    return tuple(tuple(row) for row in rows[:done])


def _right_side(row: Sequence[Fraction], shape: Shape) -> Status:
    """Decide whether the right side of an equation is 0: for a symbolic teacher, whether it is identically."""
    right = row[shape.width + shape.output_bias :]
    if not any(right):
        return Status.PROVED
    value = Add(
        *[Rational(u.numerator, u.denominator) * v for u, v in zip(right, shape.targets, strict=True)]
    )
    if value == 0:
        return Status.PROVED
    if value.free_symbols:
        return Status.REFUTED
    return is_zero(value)


def affine_set(
    shape: Shape, ties: Sequence[tuple[int, int]], table: Sequence[Sequence[Fraction]]
) -> AffineSet | None:
    """Return the set with these labels and signs of the neurons and equations of the output weights; None where it is empty.

    Raises
    ------
    AssumptionError
        If whether two right sides agree is not decided.
    """
    rows = _reduced(shape, table)
    if rows is None:
        return None
    free = len({u for u, _ in ties if u >= shape.teacher})
    size = shape.width + shape.output_bias - len(rows) + free * shape.inputs
    return AffineSet(shape, _standard(shape, ties), rows, size)


def _standard(shape: Shape, ties: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Number the free weights in the order of their first neurons, each first neuron with the sign +."""
    seen: dict[int, tuple[int, int]] = {}
    out = []
    for u, e in ties:
        if u == ZERO:
            out.append((ZERO, 1))
            continue
        if u >= shape.teacher:
            label, sign = seen.setdefault(u, (shape.teacher + len(seen), e))
            out.append((label, e * sign))
        else:
            out.append((u, e))
    return tuple(out)


class _Joined:
    """Union-find with signs over the neurons (0 to m - 1), the teacher neurons and 0."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.parent = list(range(shape.width + shape.teacher + 1))
        self.mark = [1] * len(self.parent)
        self.zero = len(self.parent) - 1

    def find(self, k: int) -> tuple[int, int]:
        sign = 1
        while self.parent[k] != k:
            sign *= self.mark[k]
            k = self.parent[k]
        return k, sign

    def join(self, k: int, q: int, sign: int) -> None:
        """Let w_k = sign * w_q."""
        (u, e), (v, f) = self.find(k), self.find(q)
        if u != v:
            self.parent[u], self.mark[u] = v, e * f * sign
        elif e * f * sign < 0 and u != self.find(self.zero)[0]:
            self.parent[u] = self.find(self.zero)[0]  # w = -w

    def ties(self) -> list[tuple[int, int]] | None:
        """Return label and sign of each neuron; None where two teacher weights, or one and 0, were joined."""
        m, m0 = self.shape.width, self.shape.teacher
        named = {self.find(self.zero)[0]: (ZERO, 1)}
        for j in range(m0):
            root, sign = self.find(m + j)
            if root in named:
                return None
            named[root] = (j, sign)
        out = []
        for k in range(m):
            root, sign = self.find(k)
            label, other = named.setdefault(root, (m0 + len(named), 1))
            out.append((label, sign * other if label != ZERO else 1))
        return out


def meet(one: AffineSet, other: AffineSet) -> AffineSet | None:
    """Return the intersection of two affine sets (closures of branches), None where it is empty.

    >>> from derivations.recovery_branches import enumerate_branches
    >>> first, second, third = enumerate_branches(Shape(2, 1, 2))
    >>> meet(first, second).dimension, meet(second, third) is None
    (0, True)
    """
    shape = one.shape
    joined = _Joined(shape)
    for part in (one, other):
        for u, ks in part.blocks.items():
            anchor = joined.zero if u == ZERO else shape.width + u if u < shape.teacher else ks[0]
            sign = 1 if u < shape.teacher else part.ties[ks[0]][1]
            for k in ks:
                if k != anchor:
                    joined.join(k, anchor, sign * part.ties[k][1])
    ties = joined.ties()
    return None if ties is None else affine_set(shape, ties, [*one.rows, *other.rows])
