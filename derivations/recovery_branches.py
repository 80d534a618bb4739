r"""The branches of the global minima of a teacher-student problem: affine sets, enumerated, with dimensions and intersections.

A student of width m has the output of the teacher, :math:`\sum_j \bar a_j \sigma(\bar w_j \cdot x)`, if its neurons fall into blocks of
equal input weights: one block for each teacher neuron, with that weight and with output weights that add up to
:math:`\bar a_j`, and further blocks with a free common weight and output weights that add up to 0.  With
:math:`\sigma(-z) = s\,\sigma(z) + \alpha` the weights of a block agree up to signs, and a neuron of the other sign counts s times.
Where :math:`\sigma(0) = 0`, or a constant is taken up elsewhere, neurons with input weights 0 form a block of their own with free
output weights.  Each choice of blocks and signs is an affine set; ``enumerate_branches`` lists those that lie in no other.

Source: arXiv:2309.00508 (2024), Proposition 3.2, for generic activations; the counts and the signed blocks are derived here.

>>> shape = Shape(width=3, teacher=1, inputs=2)
>>> found = enumerate_branches(shape)
>>> [(b.distinct, b.dimension, b.separation_size, b.rank, b.morse_bott) for b in found[:4]]
[(1, 2, 7, 3, False), (2, 3, 6, 4, False), (2, 3, 6, 4, False), (2, 3, 6, 4, False)]
>>> len(found), [branch_count(shape, r) for r in (1, 2, 3)]
(10, [1, 6, 3])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import comb, factorial

from sympy.functions.combinatorial.numbers import stirling

from derivations.neuron_blocks import ZERO, AffineSet, Shape, affine_set

__all__ = ["LARGEST_COUNT", "Branch", "branch_count", "enumerate_branches"]

#: Branches that are written out; counts have no limit.
LARGEST_COUNT = 2000


@dataclass(frozen=True)
class Branch(AffineSet):
    """One of the affine sets of which the global minima are the union."""

    @property
    def codimension(self) -> int:
        """Codimension in parameter space."""
        return self.shape.parameters - self.dimension

    @property
    def separation_size(self) -> int:
        """N, the number of samples from which on generic inputs separate the branch: its codimension."""
        return self.codimension

    @property
    def morse_bott(self) -> bool:
        """Whether the Hessian of the population risk, and of n >= N generic samples, is not degenerate across the branch."""
        return self.rank == self.codimension

    def parametrisation(self) -> tuple[str, ...]:
        r"""Return the equations of the closure of the branch as LaTeX.

        >>> enumerate_branches(Shape(2, 1, 2))[0].parametrisation()
        ('w_1 = \\bar{w}_1', 'w_2 = \\bar{w}_1', 'a_1 + a_2 = \\bar{a}_1')
        """
        shape, lines = self.shape, []
        for u, ks in self.blocks.items():
            for k in ks if u < shape.teacher else ks[1:]:
                first = self.ties[ks[0]][1]
                if u == ZERO:
                    lines.append(f"w_{{{k + 1}}} = 0")
                elif u < shape.teacher:
                    lines.append(
                        rf"w_{{{k + 1}}} = {'-' if self.ties[k][1] < 0 else ''}\bar{{w}}_{{{u + 1}}}"
                    )
                else:
                    lines.append(
                        f"w_{{{k + 1}}} = {'-' if self.ties[k][1] != first else ''}w_{{{ks[0] + 1}}}"
                    )
        c, cbar = (
            ("c", r"\bar{c}") if shape.silent else (r"\frac{c}{\sigma(0)}", r"\frac{\bar{c}}{\sigma(0)}")
        )
        names = [f"a_{{{k + 1}}}" for k in range(shape.width)] + [c] * shape.output_bias
        goals = [rf"\bar{{a}}_{{{j + 1}}}" for j in range(shape.teacher)] + [cbar] * shape.output_bias
        split, end = len(names), len(names) + len(goals)
        lines += [f"{_linear(row[:split], names)} = {_linear(row[split:end], goals)}" for row in self.rows]
        return tuple(_plain(line) for line in lines)


def _plain(line: str) -> str:
    """Write one-digit indices without braces."""
    for digit in "123456789":
        line = line.replace(f"_{{{digit}}}", f"_{digit}")
    return line


def _linear(coefficients: Sequence[Fraction], names: Sequence[str]) -> str:
    parts: list[str] = []
    for value, name in zip(coefficients, names, strict=True):
        if value:
            size = "" if abs(value) == 1 else f"{abs(value)} "
            mark = ("-" if value < 0 else "") if not parts else (" - " if value < 0 else " + ")
            parts.append(f"{mark}{size}{name}")
    return "".join(parts) or "0"


def _equations(shape: Shape, ties: Sequence[tuple[int, int]]) -> list[list[Fraction]]:
    """Return the equations of the output weights for an assignment of neurons to blocks."""
    m, m0, unknowns = shape.width, shape.teacher, shape.width + shape.output_bias
    table: list[list[Fraction]] = []
    for label in sorted({u for u, _ in ties if u != ZERO}):
        row = [Fraction(0)] * (unknowns + m0 + 1)
        for k, (u, e) in enumerate(ties):
            if u == label:
                row[k] = Fraction(1 if e > 0 else shape.sign)
        if label < m0:
            row[unknowns + label] = Fraction(1)
        table.append(row)
    if shape.couples:  # in units of sigma(0), where alpha = 2
        row = [Fraction(0)] * (unknowns + m0 + 1)
        for k, (u, e) in enumerate(ties):
            if u == ZERO:
                row[k] = Fraction(not shape.silent)
            elif shape.constant and e < 0:
                row[k] = Fraction(2)
        if shape.output_bias:
            row[m] = Fraction(1)
        row[-1] = Fraction(1)
        table.append(row)
    return table


def _assignments(shape: Shape) -> Iterator[list[tuple[int, int]]]:
    """Yield every choice of blocks and signs in which each teacher neuron has a block."""
    m, m0 = shape.width, shape.teacher

    def extend(labels: list[int], free: int) -> Iterator[list[int]]:
        missing = m0 - len(set(labels) & set(range(m0)))
        if missing > m - len(labels):
            return
        if len(labels) == m:
            yield labels
            return
        for u in [*([ZERO] if shape.zero_blocks else []), *range(m0 + free + 1)]:
            yield from extend([*labels, u], free + (u == m0 + free))

    for labels in extend([], 0):
        firsts = {labels.index(u) for u in set(labels) if u >= m0}
        choices = [
            (1, -1) if shape.sign and u != ZERO and k not in firsts else (1,) for k, u in enumerate(labels)
        ]
        for signs in product(*choices):
            yield list(zip(labels, signs, strict=True))


def enumerate_branches(shape: Shape) -> tuple[Branch, ...]:
    """Return the branches, none of which lies in another, by r, then by dimension of the open directions and blocks.

    Raises
    ------
    ValueError
        If there are more than ``LARGEST_COUNT``.
    """
    if shape.constant:
        bound = sum(branch_count(_without_constant(shape), r) for r in range(shape.teacher, shape.width + 1))
    else:
        bound = sum(branch_count(shape, r) for r in range(shape.teacher, shape.width + 1))
    if bound > LARGEST_COUNT:
        raise ValueError(
            f"{bound} branches at width {shape.width} with {shape.teacher} teacher neurons; at most {LARGEST_COUNT} are listed: take a"
            " smaller width, or ask for their number"
        )
    found = [
        u
        for ties in _assignments(shape)
        if (u := affine_set(shape, ties, _equations(shape, ties))) is not None
    ]
    if shape.constant:
        found = _maximal(found)
    found.sort(key=lambda u: (u.distinct, u.labels.count(ZERO), -u.deficient, u.ties))
    return tuple(Branch(u.shape, u.ties, u.rows, u.dimension) for u in found)


def _without_constant(shape: Shape) -> Shape:
    return Shape(shape.width, shape.teacher, shape.inputs, shape.sign, silent=True, bias=shape.bias)


def _maximal(found: list[AffineSet]) -> list[AffineSet]:
    """Leave out sets that lie in others, and copies: a coupled constant can force output weights to 0."""
    kept: list[AffineSet] = []
    for u in sorted(found, key=lambda u: -u.dimension):
        if not any(v.contains(u) for v in kept):
            kept.append(u)
    return kept


def branch_count(shape: Shape, distinct: int) -> int:
    r"""Return the number of branches with r distinct non-zero weights in closed form.

    Without signs and zero blocks :math:`r!\,S(m, r)/(r - m_0)!`: a set partition of the neurons into r blocks, :math:`m_0` of which are
    given to the teacher neurons in order.  With zero blocks the z neurons in them are chosen first; with signs each neuron has two, up
    to one common sign for each free block:

    .. math:: \sum_z \binom{m}{z} \frac{r!\, S(m - z, r)}{(r - m_0)!}\, 2^{m - z - (r - m_0)} .

    Raises
    ------
    ValueError
        Where a constant couples the blocks, so that branches are only enumerated.
    """
    if shape.constant:
        raise ValueError(
            "no closed count for an activation that is odd up to a constant; enumerate the branches"
        )
    m, m0, r = shape.width, shape.teacher, distinct
    if not m0 <= r <= m:
        return 0
    total = 0
    for z in range(m - r + 1 if shape.zero_blocks else 1):
        signs = 2 ** (m - z - (r - m0)) if shape.sign else 1
        total += comb(m, z) * factorial(r) * int(stirling(m - z, r)) // factorial(r - m0) * signs
    return total
