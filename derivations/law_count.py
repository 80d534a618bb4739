r"""How many functions a gradient flow conserves, by the rank of the Lie algebra of its gradient fields.

Let W be spanned by the fields :math:`X_{x,c} = \eta \odot \nabla_\theta f_c(\theta; x)`, and Lie(W) by them and their iterated
brackets :math:`[X, Y] = DY\,X - DX\,Y`.  A function is conserved along the flow for all data if and only if its gradient is
orthogonal to Lie(W); near a generic point there are exactly

.. math:: D - \dim \operatorname{Lie}(W)(\theta)

independent ones, and every other is a function of them (Frobenius).

How the dimension is found exactly: fields are polynomials with rational coefficients, values are taken at a random
rational point.  Basis fields are collected level by level; only brackets of a generator with a basis field are needed,
and of generators only a basis over functions, because

.. math:: [\textstyle\sum_i c_i X_i, Y] = \sum_i c_i [X_i, Y] - \sum_i (Y c_i) X_i .

When a level adds nothing at a generic point, the distribution contains W and is closed under brackets with W, hence
contains Lie(W) (Jacobi identity).  What is certain and what is not: brackets that are independent at one point are so at
every generic point, so **at most** D minus their number of laws exist, without exception.  If the known laws reach that
number, their list is complete: PROVED.  Otherwise that no further bracket is independent rests on the random point,
which fails with a probability below degree/(2 RANGE): SUPPORTED.

Source: Marcotte, Gribonval, Peyre, arXiv:2307.00144, Theorem 3.3 and Proposition 3.5.

>>> from derivations.problem import Problem
>>> found = law_count(Problem.two_layer("linear", vector_output=True), {"m": 2, "d": 1, "o": 1})
>>> found.dimension, found.trace, found.laws, found.known, str(found.status)
(4, 1, 3, 3, 'PROVED')
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sympy import Expr, S, Symbol
from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement, PolyRing

from derivations.claim import Status
from derivations.conservation import conserved_quantities
from derivations.formula_model import FormulaProblem
from derivations.formula_potentials import formula_potentials, in_ring
from derivations.potentials import (
    Potentials,
    Span,
    at_point,
    gradient_field,
    potentials,
    quantity,
    random_point,
)
from derivations.problem import Problem
from derivations.statement import Statement

__all__ = [
    "LawCount",
    "count_laws",
    "known_laws",
    "law_count",
    "lie_algebra_dimension",
    "polynomial_potentials",
    "potentials_of",
]

Field = list[PolyElement]

#: Brackets with more terms than this are not formed: the search then ends without closure.
MAX_TERMS = 200_000


@dataclass(frozen=True)
class LawCount:
    r"""The number of independent conserved functions of an architecture.

    Attributes
    ----------
    dimension : int
        D, the number of trained parameters.
    trace : int
        Dimension of Lie(W) at a generic point.
    levels : tuple of int
        Rank after the gradient fields, after one bracket, and so on; the last two agree unless it reached D.
    laws : int
        D minus ``trace``.
    known : int
        Independent laws among the known ones.
    closed : bool
        Whether the search for brackets came to an end.
    complete : bool or None
        Whether every conserved function is a function of the known ones; None where that is open.
    status : Status
        PROVED, SUPPORTED or UNDECIDED, of ``laws``; that there are not more is proved in each case.
    point : tuple
        The rational point.
    whole : bool
        Whether the gradient fields of all data were used.
    """

    dimension: int
    trace: int
    levels: tuple[int, ...]
    laws: int
    known: int
    closed: bool
    complete: bool | None
    status: Status
    point: tuple[Any, ...]
    whole: bool

    def statement(self) -> Statement:
        """Return the count as a sentence with its grounds."""
        laws = "1 function is" if self.laws == 1 else f"{self.laws} independent functions are"
        place = "Near a generic point" if self.whole else "Near a random point, within its cells,"
        if self.laws == 0:
            middle = "no function is conserved"
        elif self.status is Status.UNDECIDED:
            middle = f"at most {laws} conserved"
        else:
            middle = f"exactly {laws} conserved"
        text = rf"There are ${self.dimension}$ trained parameters. {place} {middle} along the gradient flow of every data set."
        if self.laws:
            text += {
                True: " Every conserved function is a function of the known ones.",
                False: f" The known laws give {self.known} of them: there are more.",
                None: f" The known laws give {self.known} of them; whether there are more is open.",
            }[self.complete]
        ranks = ", ".join(map(str, self.levels))
        steps = [
            rf"At a random rational point the gradient fields of the outputs and their brackets, level by level, have rank "
            rf"${ranks}$ (exact); ${self.dimension} - {self.trace} = {self.laws}$.",
        ]
        if self.known:
            steps.append(
                rf"The gradients of the known laws have rank ${self.known}$ at the same point (exact), and the fields are "
                "orthogonal to them."
            )
        if not self.whole:
            steps.append(
                "Inputs were drawn in the cells of the point until their fields spanned nothing new."
            )
        name = "number of conservation laws"
        return Statement(name, text, tuple(steps), self.status, {}, "marcotte2023")


def law_count(
    problem: Problem,
    sizes: Mapping[str, int],
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    seed: int = 0,
) -> LawCount:
    """Count the conserved functions of a problem at given sizes; weight decay is left out, rates are not.

    Parameters
    ----------
    problem : Problem
        With an activation that is polynomial on both sides of 0, or a formula that is polynomial in its trained parameters.
    sizes : mapping
        Widths (``m`` or ``m1``, ``m2``, ...), ``d``, and ``o`` for vector outputs; empty for a formula.
    values : mapping, optional
        Exact values of frozen blocks; random where they are not given.
    seed : int
        Of the random point.

    Raises
    ------
    ValueError
        If a size is missing or a constant is no rational number.
    AssumptionError
        If the activation is not piecewise polynomial, or the formula no polynomial.

    Examples
    --------
    >>> signs = {"a": [1, -1]}
    >>> law_count(Problem.two_layer("quadratic", freeze=("a",)), {"m": 2, "d": 2}, values=signs).laws
    1
    """
    found = potentials_of(problem, sizes, values=values, seed=seed)
    return count_laws(found, known_laws(problem, sizes, found))


def potentials_of(
    problem: Problem,
    sizes: Mapping[str, int],
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    seed: int = 0,
) -> Potentials:
    """Return the potentials of a network at given sizes, or of a formula, which has no sizes.

    Raises
    ------
    ValueError, AssumptionError
        As ``potentials`` and ``formula_potentials``.
    """
    if isinstance(problem, FormulaProblem):
        return formula_potentials(problem, values=values, seed=seed)
    return potentials(problem, sizes, values=values, seed=seed)


def known_laws(problem: Problem, sizes: Mapping[str, int], like: Potentials) -> list[PolyElement]:
    """Return the conserved quantities of ``derivations.conservation`` at given sizes, one polynomial for each instance."""
    out = []
    if isinstance(problem, FormulaProblem):
        laws = conserved_quantities(replace(problem, weight_decay=S.Zero))
        return [in_ring(problem, u.quantity, like) for u in laws if u.quantity is not None and u.proved]
    for law in conserved_quantities(replace(problem, weight_decay=S.Zero)):
        if law.quantity is not None and law.proved:
            ranges = [range(1, sizes[str(u.dim)] + 1) for u in law.indices]
            for place in itertools.product(*ranges):
                at = dict(zip(law.indices, place, strict=True))
                out.append(quantity(problem, sizes, law.quantity, at, like))
    return out


def polynomial_potentials(
    polynomials: Sequence[Expr],
    variables: Sequence[Symbol],
    *,
    point: Sequence[Any] | None = None,
    seed: int = 0,
) -> Potentials:
    """Return potentials given as SymPy polynomials, for networks that are no ``Problem``.

    Examples
    --------
    >>> from sympy import symbols
    >>> u, v, s, t = symbols("u v s t")
    >>> blocks = polynomial_potentials([(1 + u * v) * (1 + s * t)], [u, v, s, t])  # two residual blocks, one cell
    >>> count_laws(blocks).laws
    3
    """
    ring = PolyRing(list(variables), QQ)
    elements = tuple(ring.from_expr(u.expand()) for u in polynomials)
    numbers = random_point(len(variables), seed) if point is None else tuple(QQ.convert(u) for u in point)
    return Potentials(ring, elements, (QQ.one,) * len(variables), numbers, True)


def count_laws(found: Potentials, known: Sequence[PolyElement] = ()) -> LawCount:
    """Count the functions whose gradients are orthogonal to the Lie algebra of the fields of ``found``.

    Parameters
    ----------
    found : Potentials
        Whose gradient fields generate the algebra.
    known : sequence of PolyElement
        Known laws; each is checked against every field.

    Raises
    ------
    ValueError
        If one of ``known`` is not conserved.
    """
    for law in known:
        for polynomial in found.polynomials:
            if rate_of_change(law, polynomial, found.rates) != 0:
                raise ValueError(
                    f"{law} is not conserved: its gradient is not orthogonal to that of {polynomial}"
                )
    dimension = len(found.ring.gens)
    levels, closed = _closure(found, dimension)
    trace = levels[-1]
    gradients = Span()
    for law in known:
        gradients.add({j: at_point(law.diff(g), found.point) for j, g in enumerate(found.ring.gens)})
    laws, independent = dimension - trace, len(gradients)
    if independent == laws or trace == dimension:
        status, complete = Status.PROVED, True
    elif len(found.polynomials) == 1 and found.whole:
        status, complete = Status.PROVED, False  # one field: a flow box has D - 1 laws
    elif closed and found.whole:
        status, complete = Status.SUPPORTED, False
    else:
        status, complete = Status.UNDECIDED, None
    return LawCount(
        dimension,
        trace,
        tuple(levels),
        laws,
        independent,
        closed,
        complete,
        status,
        found.point,
        found.whole,
    )


def rate_of_change(law: PolyElement, potential: PolyElement, rates: Sequence[Any]) -> PolyElement:
    """Return the inner product of the gradient of a law with a field, as a polynomial: 0 is a proof."""
    total = law.ring.zero
    for g, component in zip(law.ring.gens, gradient_field(potential, rates), strict=True):
        total += law.diff(g) * component
    return total


def _closure(found: Potentials, dimension: int) -> tuple[list[int], bool]:
    """Return the ranks level by level, and whether the last level added nothing or the rank is full."""
    span, generators = Span(), []
    for polynomial in found.polynomials:
        field = gradient_field(polynomial, found.rates)
        if span.add(_value(field, found.point)):
            generators.append(field)
    levels, latest = [len(span)], generators
    while len(span) < dimension:
        new = []
        for one, other in itertools.product(generators, latest):
            field = _bracket(one, other)
            if sum(map(len, field)) > MAX_TERMS:
                return levels, False
            if span.add(_value(field, found.point)):
                new.append(field)
                if len(span) == dimension:
                    break
        levels.append(len(span))
        if not new:
            return levels, True
        latest = new
    return levels, True


def _value(field: Field, point: Sequence[Any]) -> dict[int, Any]:
    return {j: at_point(component, point) for j, component in enumerate(field)}


def _bracket(one: Field, other: Field) -> Field:
    ring = one[0].ring
    moving = [j for j, u in enumerate(one) if u]
    standing = [j for j, u in enumerate(other) if u]
    out = []
    for left, right in zip(one, other, strict=True):
        total = ring.zero
        for j in moving:
            total += one[j] * right.diff(ring.gens[j])
        for j in standing:
            total -= other[j] * left.diff(ring.gens[j])
        out.append(total)
    return out


def lie_algebra_dimension(found: Potentials) -> int:
    """Return the dimension of Lie(W) itself, for fields that are linear in the parameters: a matrix algebra.

    Raises
    ------
    ValueError
        If a field is not linear; its algebra may have infinite dimension.
    """
    span, generators = Span(), []
    for polynomial in found.polynomials:
        field = gradient_field(polynomial, found.rates)
        if any(sum(exponents) != 1 for component in field for exponents, _ in component.terms()):
            raise ValueError(f"the gradient field of {polynomial} is not linear in the parameters")
        if span.add(_coefficients(field)):
            generators.append(field)
    latest = generators
    while latest:
        new = [_bracket(one, other) for one, other in itertools.product(generators, latest)]
        latest = [field for field in new if span.add(_coefficients(field))]
    return len(span)


def _coefficients(field: Field) -> dict[Any, Any]:
    return dict(_terms(field))


def _terms(field: Field) -> Iterator[tuple[Any, Any]]:
    for j, component in enumerate(field):
        for exponents, coefficient in component.terms():
            yield (j, exponents), coefficient
