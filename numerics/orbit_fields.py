r"""Vector fields of the proved continuous symmetries as exact polynomials in the flat parameters, for use on balls.

Scaling, shift, mixing and rotation of neurons (``derivations.symmetry``), the affine fields of a formula
(``derivations.formula_fields``) and those that keep :math:`u^D - v^D` in a diagonal network have entries that are polynomials with
exact coefficients:

.. math::
    \text{scaling: } (-p\,a_k,\; \tilde w_k), \quad \text{shift: } (-c\,a_k,\; 1 \text{ at } b_k), \quad
    \text{mixing: } \delta \tilde w_j = \tilde w_k,\ \delta a_k = -a_j, \quad
    \text{rotation: } \delta \tilde w_j = a_k \tilde w_k,\ \delta \tilde w_k = -a_j \tilde w_j .

Only those that keep the risk and move no frozen block are listed.

>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("quadratic", "square")
>>> fields = orbit_fields(problem, [("a", (2,), slice(0, 2)), ("w", (2, 1), slice(2, 4))])
>>> [[field.entry(j, [5, 7, 11, 13]) for j in range(4)] for field in fields]
[[-10, 0, 11, 0], [0, -14, 0, 13], [0, 0, 91, -55]]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr, Integer

from derivations.claim import Status
from derivations.diagonal_model import DiagonalProblem
from derivations.formula_fields import affine_fields
from derivations.formula_model import FormulaProblem
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.problem import Problem
from derivations.symmetry import symmetries
from numerics.arb_functions import exact_ball
from numerics.balls import Ball

__all__ = ["PolynomialField", "independent", "orbit_fields"]

#: A field this small, next to parameters of order one, vanishes: polished points are known to 1e-12.
VANISHING = 1e-9

Layout = Sequence[tuple[str, tuple[int, ...], slice]]
Term = tuple[Expr, tuple[int, ...]]
Terms = dict[int, list[Term]]


@dataclass(frozen=True)
class PolynomialField:
    r"""A field :math:`T(\theta)` whose entries are polynomials.

    Attributes
    ----------
    size : int
        P.
    terms : mapping
        Place of an entry to its terms, each an exact coefficient and the places of its factors; other entries are 0.
    """

    size: int
    terms: Mapping[int, Sequence[Term]]

    def entry(self, place: int, theta: Sequence[Any], number: Callable[[Expr], Any] = int) -> Any:
        """Return one entry for numbers of any kind; ``number`` makes such a number of a coefficient."""
        return sum(
            (
                number(factor) * math.prod(theta[j] for j in factors)
                for factor, factors in self.terms.get(place, ())
            ),
            number(Integer(0)),
        )

    def value(self, theta: Sequence[Ball]) -> list[Ball]:
        """Return enclosures of the P entries."""
        return [self.entry(place, theta, exact_ball) for place in range(self.size)]

    def derivative(self, theta: Sequence[Ball]) -> list[list[Ball]]:
        """Return enclosures of the rows of the derivative, (P, P)."""
        zero = exact_ball(Integer(0))
        rows = [[zero] * self.size for _ in range(self.size)]
        for place, terms in self.terms.items():
            for factor, factors in terms:
                for position, j in enumerate(factors):
                    rest = [*factors[:position], *factors[position + 1 :]]
                    rows[place][j] += exact_ball(factor) * math.prod(theta[i] for i in rest)
        return rows


def orbit_fields(problem: Problem, layout: Layout) -> list[PolynomialField]:
    """Return the fields of all proved continuous symmetries of the risk.

    Parameters
    ----------
    problem : Problem
        A network with a concrete activation, or a formula.
    layout : sequence of (block, shape, slice)
        Place of each block in the flat vector.
    """
    size = max((where.stop for _, _, where in layout), default=0)
    if isinstance(problem, FormulaProblem):
        found = _of_formula(problem, layout)
    elif isinstance(problem, DiagonalProblem):
        found = _of_diagonal(problem, layout)
    else:
        found = _of_network(problem, layout)
    frozen = {
        place
        for block, (_, _, where) in zip(problem.blocks, layout, strict=True)
        if not block.trained
        for place in range(where.start, where.stop)
    }
    return [PolynomialField(size, terms) for terms in found if not frozen & set(terms)]


def independent(fields: Sequence[PolynomialField], theta: Sequence[float]) -> list[PolynomialField]:
    """Return fields that are linearly independent at ``theta``, and span what all of them span there, to rounding.

    None where all of them vanish, at a fixed point of the symmetries.  They are chosen one by one, each with the largest part beyond the span of those before.
    """
    vectors = [[float(f.entry(j, theta, float)) for j in range(f.size)] for f in fields]
    largest = max((_norm(v) for v in vectors), default=0.0)
    chosen: list[PolynomialField] = []
    left = list(range(len(fields)))
    while left:
        best = max(left, key=lambda k: _norm(vectors[k]))
        length = _norm(vectors[best])
        if length <= VANISHING * max(largest, 1.0):
            break
        unit = [u / length for u in vectors[best]]
        chosen.append(fields[best])
        left.remove(best)
        for k in left:
            along = sum(u * v for u, v in zip(unit, vectors[k], strict=True))
            vectors[k] = [v - along * u for u, v in zip(unit, vectors[k], strict=True)]
    return chosen


def _norm(vector: Sequence[float]) -> float:
    return math.sqrt(sum(u * u for u in vector))


def _of_formula(problem: FormulaProblem, layout: Layout) -> list[Terms]:
    places = {name: where.start for name, _, where in layout}
    known = affine_fields(problem)
    found = []
    for field, left in zip(known.fields, known.residuals, strict=True):
        if left != 0 or (problem.weight_decay != 0 and field.kind != "rotation"):
            continue
        names = [places[str(symbol)] for symbol in field.names]
        terms: Terms = {}
        for place, row, constant in zip(names, field.matrix, field.vector, strict=True):
            entries: list[Term] = [(u, (j,)) for u, j in zip(row, names, strict=True) if u != 0]
            entries += [(constant, ())] if constant != 0 else []
            if entries:
                terms[place] = entries
        found.append(terms)
    return found


def _of_diagonal(problem: DiagonalProblem, layout: Layout) -> list[Terms]:
    """Return the fields (v^(D-1), u^(D-1)) of the coordinates, which keep u^D - v^D."""
    (_, _, first), (_, _, second) = layout
    if problem.weight_decay != 0:
        return []
    power, one = int(problem.power) - 1, Integer(1)
    pairs = zip(range(first.start, first.stop), range(second.start, second.stop), strict=True)
    return [{u: [(one, (v,) * power)], v: [(one, (u,) * power)]} for u, v in pairs]


def _of_network(problem: Problem, layout: Layout) -> list[Terms]:
    proved = {
        symmetry.name: bool(symmetry.keeps_risk)
        for symmetry in symmetries(problem)
        if symmetry.status is Status.PROVED
    }
    return [terms for layer in hidden_layers(problem) for terms in _of_layer(problem, layer, layout, proved)]


def _of_layer(
    problem: Problem, layer: HiddenLayer, layout: Layout, proved: Mapping[str, bool]
) -> list[Terms]:
    """``proved``: name of a symmetry of the outputs to whether it keeps the risk too."""
    sigma = problem.activation
    assert sigma is not None  # asked for by the caller
    spans = {name: (shape, where.start) for name, shape, where in layout}

    def parts(role: str) -> list[list[int]]:
        block = layer.blocks[role]
        shape, start = spans[block.name]
        slot = layer.slot(block)
        out: list[list[int]] = [[] for _ in range(shape[slot])]
        for flat, index in enumerate(itertools.product(*map(range, shape))):
            out[index[slot]].append(start + flat)
        return out

    bias = parts("bias") if layer.bias is not None else None
    enter = [[*w, *(bias[k] if bias else [])] for k, w in enumerate(parts("in"))]
    leave = parts("out")
    width, one = len(enter), Integer(1)
    found: list[Terms] = []
    if proved.get(layer.named("scaling of a neuron")):
        degree = sigma.homogeneity_degree
        assert degree is not None  # the symmetry is proved
        found += [
            _linear([(j, one, j) for j in enter[k]] + [(j, -degree, j) for j in leave[k]])
            for k in range(width)
        ]
    rate = sigma.shift_rate.value
    if rate is not None and bias is not None and proved.get(layer.named("shift of a neuron")):
        for k in range(width):
            found.append({bias[k][0]: [(one, ())], **_linear([(j, -rate, j) for j in leave[k]])})
    pairs = list(itertools.product(range(width), repeat=2))
    mixing = layer.named("mixing of neurons")

    def mixed(j: int, k: int) -> Terms:
        """Inputs of k are added to j, outputs of j are taken off k."""
        return _linear([*zip(enter[j], [one] * len(enter[j]), enter[k]), *zip(leave[k], [-one] * len(leave[k]), leave[j])])  # fmt: skip

    if proved.get(mixing):
        found += [mixed(j, k) for j, k in pairs]
    elif mixing in proved:  # weight decay leaves the orthogonal ones
        found += [_difference(mixed(j, k), mixed(k, j)) for j, k in pairs if j < k]
    if proved.get(layer.named("rotation of neurons")):
        for j, k in pairs:
            if j < k:
                (a_j,), (a_k,) = leave[j], leave[k]
                terms: Terms = {u: [(one, (a_k, v))] for u, v in zip(enter[j], enter[k], strict=True)}
                terms |= {v: [(-one, (a_j, u))] for u, v in zip(enter[j], enter[k], strict=True)}
                found.append(terms)
    return found


def _linear(entries: Sequence[tuple[int, Expr, int]]) -> Terms:
    """Return the field with (place, coefficient, place of the factor)."""
    return {place: [(factor, (other,))] for place, factor, other in entries}


def _difference(one: Terms, other: Terms) -> Terms:
    out = {place: list(terms) for place, terms in one.items()}
    for place, terms in other.items():
        out.setdefault(place, []).extend((-factor, factors) for factor, factors in terms)
    return out
