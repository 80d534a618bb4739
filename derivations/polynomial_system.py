r"""The equations of critical points at given sizes and rational data, as polynomials over the rationals.

Risk, gradient and Hessian are read off the derived list of definitions, entry by entry, in a ring of polynomials: nothing is
differentiated here.  The inputs are samples, or fill an interval: the sum over samples then is an integral.

>>> from sympy import Rational
>>> problem = Problem.two_layer("quadratic", "square", weight_decay=Rational(1, 2))
>>> system = polynomial_system(problem, {"m": 1, "d": 1}, Samples.of([[1], [2]], [1, 0]))
>>> system.names, len(system.gradient)
(('a1', 'w1'), 2)
>>> system.gradient[0]
17/2*a1*w1**4 - 1/2*w1**2 + 1/2*a1
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from sympy import QQ, Integer, Rational, Symbol
from sympy.polys.orderings import grevlex
from sympy.polys.rings import PolyElement, PolyRing

from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.indexed import Entry
from derivations.interval import IntervalProblem
from derivations.polynomial_entries import EntryReader, Place, Samples, dimension, positions, rational
from derivations.problem import Problem, d, n

__all__ = ["MAX_UNKNOWNS", "PolynomialSystem", "Samples", "polynomial_system"]

#: More unknowns than this are refused: no engine finishes.
MAX_UNKNOWNS = 12


@dataclass(frozen=True)
class PolynomialSystem:
    """Risk, gradient and Hessian in named unknowns.

    Parameters
    ----------
    names : tuple of str
        Unknowns in the flat order of the parameters: ``a1``, ``w1_2``, ``c``.
    places : tuple of (block, 0-based indices)
        Where each unknown stands.
    shapes : mapping
        Shape of every trained block.
    risk, gradient, hessian : polynomials
        In the ring of the unknowns with rational coefficients; the Hessian by rows.
    outputs : tuple of polynomials
        The network function in unknowns and inputs, in a larger ring: what a symmetry must keep; none inside a cell.
    weight_decay : Rational
        Coefficient of the decay.
    """

    names: tuple[str, ...]
    places: tuple[Place, ...]
    shapes: Mapping[str, tuple[int, ...]]
    risk: PolyElement
    gradient: tuple[PolyElement, ...]
    hessian: tuple[tuple[PolyElement, ...], ...]
    outputs: tuple[PolyElement, ...]
    weight_decay: Rational

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The unknowns as real symbols."""
        return tuple(Symbol(name, real=True) for name in self.names)

    @property
    def ring(self) -> PolyRing:
        """The ring of the unknowns."""
        return self.risk.ring

    def blocks(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return one value for each unknown as nested lists by block."""
        found = dict(zip(self.places, values, strict=True))
        return {name: _nested(shape, partial(_at, found, name)) for name, shape in self.shapes.items()}


def polynomial_system(
    problem: Problem | IntervalProblem,
    sizes: Mapping[str, int],
    samples: Samples | None = None,
    fixed: Mapping[str, Any] | None = None,
    cell: Mapping[Place, int] | None = None,
) -> PolynomialSystem:
    """Return risk, gradient and Hessian of a problem as polynomials with rational coefficients.

    Parameters
    ----------
    problem : Problem or IntervalProblem
        Activation and loss polynomials; scale, factor and weight decay rational.
    sizes : mapping
        ``m`` (or ``m1``, ``m2``, ...), ``d``, and ``o`` for vector outputs, as far as the problem has them.
    samples : Samples, optional
        Needed unless the inputs fill an interval.
    fixed : mapping, optional
        Values of the frozen blocks, as nested lists of rational numbers.
    cell : mapping, optional
        For an activation that is a polynomial on both half lines: the sign of every pre-activation, as
        ``{("z", (sample, neuron)): 1 or -1}``, 0-based.  The polynomials are then those inside this cell.

    Raises
    ------
    AssumptionError
        If something is not a polynomial or not rational; the message says what.
    """
    base, measure = _base(problem, samples)
    for what, found in (("activation", base.activation), ("loss", base.loss)):
        if found is None:
            raise AssumptionError(f"polynomial equations need a concrete {what}; it is general")
    frozen = [b.name for b in base.blocks if not b.trained]
    if missing := [name for name in frozen if name not in (fixed or {})]:
        raise AssumptionError(
            f"the frozen block '{missing[0]}' has no values; exact critical points need them, or train it as well"
        )
    dims = {Symbol(k, integer=True, positive=True): v for k, v in sizes.items()}
    if samples is not None:
        dims[n] = len(samples.x)
    shapes = {b.name: tuple(dimension(dim, dims) for dim in b.tensor.dims) for b in base.blocks}
    trained = [b for b in base.blocks if b.trained]
    places = [(b.name, at) for b in trained for at in positions(shapes[b.name])]
    if len(places) > MAX_UNKNOWNS:
        raise AssumptionError(
            f"{len(places)} unknowns; at most {MAX_UNKNOWNS} are written as a polynomial system: choose a smaller width"
        )
    names = [_name(block, at, shapes[block]) for block, at in places]
    count = len(base.inputs) if isinstance(base, FormulaProblem) else dims.get(d, 1)
    inputs = [f"x_{l + 1}" for l in range(count)]
    big = PolyRing([*names, *inputs], QQ, grevlex)
    constants: dict[tuple[str, tuple[int, ...]], Rational] = {}
    for name in frozen:
        for at in positions(shapes[name]):
            constants[name, at] = rational(_entry_of((fixed or {})[name], at), name)
    reader = EntryReader(base, big, measure, dims, places, constants, cell)
    small = PolyRing(names, QQ, grevlex)
    gradient = [
        _cut(reader.value(Entry(base.gradient[b], *[Integer(i + 1) for i in at]), {}), small)
        for b, at in places
    ]
    hessian = [[small.zero] * len(places) for _ in places]
    for (i, p), (j, q) in itertools.combinations_with_replacement(enumerate(places), 2):
        hessian[i][j] = hessian[j][i] = _cut(reader.second(p, q), small)
    return PolynomialSystem(
        tuple(names),
        tuple(places),
        {b.name: shapes[b.name] for b in trained},
        _cut(reader.value(base.risk(), {}), small),
        tuple(gradient),
        tuple(tuple(row) for row in hessian),
        () if cell else tuple(reader.outputs()),
        rational(base.weight_decay, "weight_decay"),
    )


def _base(
    problem: Problem | IntervalProblem, samples: Samples | None
) -> tuple[Problem, Samples | IntervalProblem]:
    """Return the problem of samples behind it, and what stands for the sum over them."""
    if not isinstance(problem, IntervalProblem):
        if samples is None:
            raise AssumptionError("polynomial equations need samples; the data are symbolic")
        return problem, samples
    if problem.problem.activation is None or problem.problem.activation.is_smooth is not True:
        raise AssumptionError(
            "over an interval the kinks move with the parameters; exact critical points need a polynomial activation there"
        )
    problem.check_exact()
    return replace(problem.problem, reduction="sum", factor=problem.weight), problem


def _cut(found: PolyElement, ring: PolyRing) -> PolyElement:
    """Move a polynomial that is free of the inputs into the ring of the unknowns."""
    size = ring.ngens
    assert not any(any(monomial[size:]) for monomial in found)  # sums over samples and integrals leave none
    return ring.from_dict({monomial[:size]: c for monomial, c in found.terms() if c})


def _name(block: str, at: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return a name such as a1 or w1_2; indices over one value are left out, except that of a neuron."""
    shown = [str(i + 1) for j, (i, size) in enumerate(zip(at, shape, strict=True)) if size > 1 or j == 0]
    joint = "_" if block[-1:].isdigit() and shown else ""
    return block + joint + "_".join(shown)


def _entry_of(values: Any, at: tuple[int, ...]) -> Any:
    for i in at:
        values = values[i]
    return values


def _at(found: Mapping[Place, Any], name: str, at: tuple[int, ...]) -> Any:
    return found[name, at]


def _nested(shape: tuple[int, ...], value: Any, at: tuple[int, ...] = ()) -> Any:
    if len(at) == len(shape):
        return value(at)
    return [_nested(shape, value, (*at, i)) for i in range(shape[len(at)])]
