r"""The outputs of a small network as polynomials in its parameters: what spans the gradient fields of a problem.

A function h is conserved along the gradient flow of every data set (and every loss whose slopes span all of
:math:`\mathbb{R}^o`) if and only if its gradient is orthogonal to all fields

.. math:: X_{x,c}(\theta) = \eta \odot \nabla_\theta f_c(\theta; x) .

For a polynomial activation :math:`f_c(\theta; x)` is a polynomial in x as well, and its coefficients, polynomials in theta,
span the same potentials: finitely many, exact.  A piecewise polynomial activation (relu, abs, their powers) gives one
polynomial for each x near a parameter point; inputs are drawn until the span does not grow any more.

Source: Marcotte, Gribonval, Peyre, arXiv:2307.00144, Section 2.

>>> from derivations.problem import Problem
>>> found = potentials(Problem.two_layer("quadratic"), {"m": 1, "d": 2})
>>> sorted(str(p) for p in found.polynomials)
['2*a1*w11*w12', 'a1*w11**2', 'a1*w12**2']
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sympy import Expr, Integer, Poly, PolynomialError, Pow, Rational, Symbol
from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement, PolyRing

from derivations.activations import Activation, Z, without_max
from derivations.errors import AssumptionError
from derivations.generic import GenericFunction
from derivations.indexed import Entry, ISum
from derivations.problem import Problem

__all__ = [
    "RANGE",
    "Potentials",
    "Span",
    "at_point",
    "gradient_field",
    "potentials",
    "quantity",
    "random_point",
]

#: A random point has integer coordinates up to this size, never 0: a polynomial of degree g that is not zero vanishes
#: at one with probability at most g / (2 RANGE).
RANGE = 10**6

_PATIENCE = 100  # inputs drawn in a row that must not enlarge the span


class Span:
    """Linear span over the rationals, grown vector by vector; vectors are mappings from keys to numbers that are not 0."""

    def __init__(self) -> None:
        self._rows: dict[Any, dict[Any, Any]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, vector: Mapping[Any, Any]) -> bool:
        """Add a vector; say whether the span grew."""
        rest = {key: QQ.convert(value) for key, value in vector.items() if value}
        # Rows are reduced against earlier ones only, so one pass in the order of their making is enough.
        for pivot, row in self._rows.items():
            factor = rest.get(pivot)
            if factor:
                for key, value in row.items():
                    new = rest.get(key, QQ.zero) - factor * value
                    if new:
                        rest[key] = new
                    else:
                        rest.pop(key, None)
        if not rest:
            return False
        pivot = next(iter(rest))
        self._rows[pivot] = {key: value / rest[pivot] for key, value in rest.items()}
        return True


@dataclass(frozen=True)
class Potentials:
    """Polynomials in the trained parameters whose gradient fields are those of all data.

    Attributes
    ----------
    ring : PolyRing
        Over the rationals, one generator for each trained parameter in flat order.
    polynomials : tuple of PolyElement
        Linearly independent.
    rates : tuple
        Rate of each parameter.
    point : tuple
        The rational parameter point at which ranks are taken, and whose cell decides the branches of the activation.
    whole : bool
        Whether the span is that of all data; False where inputs were drawn, so that all data may span more.
    """

    ring: PolyRing
    polynomials: tuple[PolyElement, ...]
    rates: tuple[Any, ...]
    point: tuple[Any, ...]
    whole: bool


def random_point(count: int, seed: int) -> tuple[Any, ...]:
    """Return ``count`` integers, none of them 0, as exact numbers."""
    draw = random.Random(seed)
    return tuple(QQ(draw.choice((-1, 1)) * draw.randint(1, RANGE)) for _ in range(count))


def at_point(element: PolyElement, point: Sequence[Any]) -> Any:
    """Return the value of a polynomial at a rational point."""
    total = QQ.zero
    for exponents, coefficient in element.terms():
        for base, exponent in zip(point, exponents, strict=True):
            if exponent:
                coefficient = coefficient * base**exponent
        total += coefficient
    return total


def gradient_field(element: PolyElement, rates: Sequence[Any]) -> list[PolyElement]:
    """Return rate times derivative for every generator."""
    return [element.diff(g) * rate for g, rate in zip(element.ring.gens, rates, strict=True)]


def potentials(
    problem: Problem,
    sizes: Mapping[str, int],
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    seed: int = 0,
) -> Potentials:
    """Return the potentials of a network at given sizes.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep, with an activation that is polynomial on both sides of 0; weight decay is left out.
    sizes : mapping
        Widths, ``d``, and ``o`` for vector outputs.
    values : mapping, optional
        Exact values of frozen blocks, row by row; random where they are not given.
    seed : int
        Of the random point.

    Raises
    ------
    ValueError
        If a size is missing, or a rate, a scale or a frozen value is no rational number.
    AssumptionError
        If the activation is not piecewise polynomial with rational coefficients; ``numerics.law_rank`` takes it.
    """
    network = _Network(problem, sizes, values or {}, seed)
    found, span = [], Span()
    if network.polynomial:
        for element in network.outputs(None):
            for part in network.coefficients(element):
                if span.add(dict(part.terms())):
                    found.append(part)
    elif network.on_a_line:
        for sign in (1, -1):
            found += [u for u in network.outputs([QQ(sign)]) if span.add(dict(u.terms()))]
    else:
        draw, idle = random.Random(seed), 0
        while idle < _PATIENCE:
            idle += 1
            for element in network.outputs([_ratio(draw) for _ in range(network.size("d"))]):
                if span.add(dict(element.terms())):
                    found.append(element)
                    idle = 0
    whole = network.polynomial or network.on_a_line
    return Potentials(network.ring, tuple(found), network.rates, network.point, whole)


def _ratio(draw: random.Random) -> Any:
    """Return a random quotient: of order 1 like the kinks, which are quotients of parameters."""
    return QQ(draw.choice((-1, 1)) * draw.randint(1, 1000), draw.randint(1, 1000))


def quantity(
    problem: Problem, sizes: Mapping[str, int], expr: Expr, at: Mapping[Any, int], like: Potentials
) -> PolyElement:
    """Return an indexed polynomial expression in the parameters, its free indices at 1-based places, in the ring of ``like``."""
    network = _Network(problem, sizes, {}, 0, like)
    return network.value(expr, dict(at))


class _Network:
    """Evaluates the definitions of a problem at given sizes in a ring of polynomials."""

    def __init__(
        self,
        problem: Problem,
        sizes: Mapping[str, int],
        values: Mapping[str, Sequence[Any]],
        seed: int,
        like: Potentials | None = None,
    ) -> None:
        # Without an output bias the scale multiplies all fields alike: their span does not change.
        self.problem = problem if problem.output_bias else replace(problem, scale=Integer(1))
        self.sizes = dict(sizes)
        self.positive, self.negative = ([], []) if like else _branches(problem.activation)
        self.polynomial = self.positive == self.negative
        self.entries: dict[tuple[str, tuple[int, ...]], Any] = {}
        names: list[str] = []
        rates = []
        self.frozen: list[tuple[str, tuple[int, ...]]] = []
        for block in problem.blocks:
            places = itertools.product(*[range(1, self.size(str(s)) + 1) for s in block.tensor.dims])
            for place in places:
                if block.trained and block.rate != 0:
                    names.append(_name(block.name, place, [self.size(str(s)) for s in block.tensor.dims]))
                    rates.append(_rational(block.rate, f"the rate of the block {block.name}"))
                    self.entries[block.name, place] = len(names) - 1
                else:
                    self.frozen.append((block.name, place))
        if not names:
            raise ValueError(
                "no block is trained: there is no flow whose conserved functions could be counted"
            )
        self.rates = tuple(rates)
        inputs = [f"x_{l}" for l in range(1, self.size("d") + 1)]
        self.ring = like.ring if like else PolyRing(names, QQ)
        self.work = PolyRing([*names, *inputs], QQ) if self.polynomial and not like else self.ring
        self.point = like.point if like else random_point(len(names), seed)
        gens = self.work.gens
        for key, position in list(self.entries.items()):
            self.entries[key] = gens[position]
        self.x = list(gens[len(names) :])
        self._freeze(values, seed)
        self.memo: dict[Any, PolyElement] = {}

    @property
    def on_a_line(self) -> bool:
        """Whether f(x) is |x| to some power times f(1) or f(-1): one input coordinate, no bias, a homogeneous sigma."""
        problem = self.problem
        bias = problem.input_bias or problem.output_bias
        degree = None if problem.activation is None else problem.activation.homogeneity_degree
        return self.size("d") == 1 and not bias and degree is not None

    def _freeze(self, values: Mapping[str, Sequence[Any]], seed: int) -> None:
        known = {name for name, _ in self.frozen}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"values are given for {unknown}, but the frozen blocks are {sorted(known)}")
        drawn = iter(random_point(len(self.frozen), seed + 1))
        given = {name: iter(_flat(u)) for name, u in values.items()}
        for name, place in self.frozen:
            number = next(drawn)
            if name in given:
                found = next(given[name], None)
                if found is None:
                    raise ValueError(f"the frozen block {name} has more entries than values are given")
                number = _rational(found, f"a value of {name}")
            self.entries[name, place] = self.work.ground_new(number)
        for name, rest in given.items():
            if next(rest, None) is not None:
                raise ValueError(f"more values than entries are given for the frozen block {name}")

    def size(self, name: str) -> int:
        if name not in self.sizes:
            raise ValueError(f"the size {name} is missing; given are {', '.join(self.sizes)}")
        value = self.sizes[name]
        if value < 1:
            raise ValueError(f"size {name} = {value}; every size is at least 1")
        return value

    def outputs(self, x: Sequence[Any] | None) -> list[PolyElement]:
        """Return the outputs at an input, or as polynomials in x too where it is None."""
        if x is not None:
            self.x = [self.work.ground_new(value) for value in x]
        self.memo.clear()
        formals = self.problem.system.formals(self.problem.output)
        ranges = [range(1, self.size(str(u.dim)) + 1) for u in formals[1:]]
        expr = self.problem.output[formals]
        return [
            self.value(expr, {formals[0]: 1, **dict(zip(formals[1:], place, strict=True))})
            for place in itertools.product(*ranges)
        ]

    def coefficients(self, element: PolyElement) -> list[PolyElement]:
        """Return the coefficients of the powers of x."""
        count = len(self.ring.gens)
        parts: dict[tuple[int, ...], dict[tuple[int, ...], Any]] = {}
        for exponents, coefficient in element.terms():
            parts.setdefault(exponents[count:], {})[exponents[:count]] = coefficient
        return [self.ring.from_dict(part) for _, part in sorted(parts.items())]

    def value(self, expr: Expr, at: dict[Any, int]) -> PolyElement:
        if isinstance(expr, Entry):
            return self._entry(expr, at)
        if isinstance(expr, ISum):
            total = self.work.zero
            for place in range(1, self.size(str(expr.index.dim)) + 1):
                total += self.value(expr.body, {**at, expr.index: place})
            return total
        if isinstance(expr, GenericFunction):
            return self._activated(self.value(expr.arguments[0], at))
        if expr.is_Add:
            total = self.work.zero
            for term in expr.args:
                total += self.value(term, at)
            return total
        if expr.is_Mul:
            product = self.work.one
            for factor in expr.args:
                product *= self.value(factor, at)
            return product
        if isinstance(expr, Pow) and expr.exp.is_Integer and expr.exp.is_positive:
            return self.value(expr.base, at) ** int(expr.exp)
        sized = expr.subs({u: self.sizes[u.name] for u in expr.free_symbols if u.name in self.sizes})
        return self.work.ground_new(_rational(sized, "a constant of the network"))

    def _entry(self, expr: Entry, at: dict[Any, int]) -> PolyElement:
        place = tuple(at[u] if u in at else int(u) for u in expr.indices)
        tensor = expr.tensor
        if (tensor.name, place) in self.entries:
            return self.entries[tensor.name, place]
        if tensor == self.problem.x:
            return self.x[place[1] - 1]
        if (tensor, place) not in self.memo:
            definition = self.problem.system[tensor]
            inner = dict(zip(definition.indices, place, strict=True))
            self.memo[tensor, place] = self.value(definition.expr, inner)
        return self.memo[tensor, place]

    def _activated(self, z: PolyElement) -> PolyElement:
        branch = self.positive
        if not self.polynomial and at_point(z, self.point) < 0:
            branch = self.negative
        total = self.work.zero
        for coefficient in branch:
            total = total * z + coefficient
        return total


def _flat(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [u for row in values for u in _flat(row)]
    return [values]


def _name(block: str, place: tuple[int, ...], sizes: Sequence[int]) -> str:
    glue = "_" if any(size > 9 for size in sizes) or block[-1].isdigit() else ""
    return glue.join([block, *map(str, place)]) if place else block


def _rational(value: Any, what: str) -> Any:
    number = value if isinstance(value, Expr) else Rational(str(value))
    if not number.is_Rational:
        raise ValueError(f"{what} is {value}: exact ranks need a rational number")
    return QQ(int(number.p), int(number.q))


def _branches(activation: Activation | None) -> tuple[list[Any], list[Any]]:
    """Return the coefficients, highest power first, of sigma for z > 0 and for z < 0."""
    if activation is None:
        raise AssumptionError(
            "conservation laws are counted for a concrete activation, and sigma is general here; name one"
        )
    t = Symbol("t", positive=True)
    formula, out = without_max(activation.expr), []
    for sign in (1, -1):
        try:
            polynomial = Poly(formula.subs(Z, sign * t), t)
            numbers = [_rational(u, "a coefficient of the activation") for u in polynomial.all_coeffs()]
        except (PolynomialError, ValueError):
            raise AssumptionError(
                f"exact ranks need an activation that is a polynomial with rational coefficients on both sides of 0, got "
                f"{activation.name}; numerics.law_rank counts for it numerically."
            ) from None
        degree = len(numbers) - 1
        out.append([u * sign ** (degree - j) for j, u in enumerate(numbers)])
    longest = max(map(len, out))
    positive, negative = ([QQ.zero] * (longest - len(u)) + u for u in out)
    return positive, negative
