r"""Cells of the weights of a two-layer network on which an activation with a kink at 0 is one polynomial on every sample.

Neuron k has on the samples a sign vector :math:`(\operatorname{sign}(w_k \cdot x_i + b_k))_i`; those that occur are the cells of a central
arrangement of hyperplanes.  Inside the product of m such cells the risk is one polynomial; up to permutation of neurons each
multiset of sign vectors stands for all orders of it.

>>> cells = activation_cells([[-1], [0], [1]], 1, input_bias=True)
>>> len(cells), cells[0].signs, cells[0].arrangements
(6, ((1, 1, 1),), 1)
>>> len(activation_cells([[-1], [0], [1]], 2, input_bias=True))
21
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, factorial, prod
from typing import Any

from sympy import Integer, Rational
from sympy.polys.rings import PolyElement

from derivations.errors import AssumptionError
from derivations.exact_lp import sign_patterns
from derivations.polynomial_entries import Place
from derivations.polynomial_system import PolynomialSystem
from derivations.strict_lp import strict_solution

__all__ = ["MAX_CELLS", "ActivationCell", "activation_cells", "inner_values"]

#: More cells than this are not gone through.
MAX_CELLS = 400


@dataclass(frozen=True)
class ActivationCell:
    """Sign vectors of all neurons: ``signs[k][i]`` is that of neuron k on sample i."""

    signs: tuple[tuple[int, ...], ...]

    @property
    def places(self) -> dict[Place, int]:
        """The signs as ``polynomial_system`` takes them."""
        return {("z", (i, k)): s for k, row in enumerate(self.signs) for i, s in enumerate(row)}

    @property
    def arrangements(self) -> int:
        """Number of cells that permuting the neurons makes of it."""
        return factorial(len(self.signs)) // prod(map(factorial, Counter(self.signs).values()))

    def arguments(self, system: PolynomialSystem, x: Sequence[Sequence[Any]]) -> list[PolyElement]:
        """Return every pre-activation times its sign: polynomials that are positive exactly inside the cell."""
        known = dict(zip(system.places, system.ring.gens, strict=True))
        domain = system.ring.domain
        out = []
        for k, row in enumerate(self.signs):
            for inputs, sign in zip(x, row, strict=True):
                z = known.get(("b", (k,)), system.ring.zero)
                for l, u in enumerate(inputs):
                    z = z + known["w", (k, l)] * domain(*_fraction(u))
                out.append(z * sign)
        return out

    def title(self) -> str:
        """Return the signs as text, a word for each neuron."""
        return ", ".join("".join("+" if s > 0 else "-" for s in row) for row in self.signs)


def activation_cells(
    x: Sequence[Sequence[Any]], width: int, *, input_bias: bool
) -> tuple[ActivationCell, ...]:
    """Return the cells, one of each set that permuting the neurons joins.

    Parameters
    ----------
    x : rows of rational numbers
        Samples.
    width : int
        Number of neurons.
    input_bias : bool
        Whether neurons have one.

    Raises
    ------
    AssumptionError
        If a sample is zero and there is no bias, so that it lies on the kink of every neuron, or there are too many cells.
    """
    rows = [[Rational(u) for u in row] + ([Integer(1)] if input_bias else []) for row in x]
    if any(all(u == 0 for u in row) for row in rows):
        raise AssumptionError(
            "a sample is zero and neurons have no bias: it lies on the kink of every neuron; leave it out or add a bias"
        )
    patterns = sign_patterns(rows)
    count = comb(len(patterns) + width - 1, width)
    if count > MAX_CELLS:
        raise AssumptionError(
            f"{count} cells of {width} neurons on {len(rows)} samples; at most {MAX_CELLS} are gone through: fewer samples or neurons"
        )
    return tuple(map(ActivationCell, itertools.combinations_with_replacement(patterns, width)))


def inner_values(arguments: Sequence[PolyElement], free: Sequence[int]) -> list[Rational] | bool | None:
    """Return values of the free unknowns for which all polynomials are positive.

    The polynomials hold the free unknowns only.  None where there are no such values, False where a polynomial is not
    affine, which leaves it open.
    """
    rows = []
    for polynomial in arguments:
        row = [Integer(0)] * (len(free) + 1)
        for monomial, c in polynomial.terms():
            number = Rational(int(c.numerator), int(c.denominator))
            if sum(monomial) > 1:
                return False
            place = next((p for p, j in enumerate(free) if monomial[j]), len(free))
            if sum(monomial) == 1 and place == len(free):
                return False
            row[place] += number
        rows.append(row)
    size = len(free) + 1
    last = [Integer(int(p == size - 1)) for p in range(size)]
    found = strict_solution([], [], [*rows, last], size)
    return None if found is None else [u / found[-1] for u in found[:-1]]


def _fraction(u: Any) -> tuple[int, int]:
    number = Rational(u)
    return int(number.p), int(number.q)
