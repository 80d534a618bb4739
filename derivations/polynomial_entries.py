r"""Values of the entries of a derived list of definitions in a ring of polynomials over the rationals.

A sum over samples is a sum; where the inputs fill an interval it is an integral, term by term.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import QQ, Add, Expr, Integer, Mul, Poly, Pow, Rational, Symbol, sympify
from sympy.polys.rings import PolyElement, PolyRing

from derivations.activations import Z
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.functions import relu, step
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Entry, Index, ISum, Tensor
from derivations.interval import IntervalProblem
from derivations.losses import F, Y
from derivations.piecewise import half_lines
from derivations.problem import Problem, n

__all__ = ["EntryReader", "Place", "Samples", "dimension", "positions", "rational"]

#: The place of a sample that runs over an interval.
_CONTINUUM = -1

Place = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Samples:
    """Rational samples: ``x`` has n rows of d numbers, ``y`` n rows of o numbers; ``of`` reads and checks them."""

    x: tuple[tuple[Rational, ...], ...]
    y: tuple[tuple[Rational, ...], ...]

    @classmethod
    def of(cls, x: Sequence[Sequence[Any]], y: Sequence[Any]) -> Samples:
        """Return exact samples; a target may be a number or a row of numbers.

        Raises
        ------
        AssumptionError
            If a number is not rational, or the rows do not match.
        """
        rows = tuple(tuple(rational(u, "x") for u in row) for row in x)
        targets = tuple(
            tuple(rational(u, "y") for u in (row if isinstance(row, Sequence) else (row,))) for row in y
        )
        if not rows or len(rows) != len(targets) or len({len(r) for r in rows}) != 1:
            raise AssumptionError(
                f"found {len(rows)} rows of inputs and {len(targets)} of targets; as many rows of one length are needed"
            )
        return cls(rows, targets)


class EntryReader:
    """Values of the entries of a derived list in a ring of polynomials; every entry is computed once."""

    def __init__(
        self,
        problem: Problem,
        ring: PolyRing,
        measure: Samples | IntervalProblem,
        dims: Mapping[Symbol, int],
        places: Sequence[Place],
        constants: Mapping[Place, Rational],
        cell: Mapping[Place, int] | None,
    ) -> None:
        self.problem, self.ring, self.dims, self.cell = problem, ring, dims, cell
        self.measure: Samples | IntervalProblem | None = measure
        self.parameters = dict(zip(places, ring.gens, strict=False))
        self.parameters |= {place: ring(QQ(v.p, v.q)) for place, v in constants.items()}
        self.inputs = ring.gens[len(places) :]
        self.known: dict[Place, PolyElement] = {}
        self.functions: dict[tuple[str, tuple[int, ...], int], Poly] = {}
        self.blocks: dict[tuple[str, str], tuple[Expr, tuple[Index, ...], tuple[Index, ...]]] = {}
        self.names = {b.name for b in problem.blocks}
        given = problem.input_tensors if isinstance(problem, FormulaProblem) else ()
        self.columns = {tensor.name: j for j, tensor in enumerate(given)}

    def second(self, row: Place, column: Place) -> PolyElement:
        """Return an entry of the Hessian."""
        key = row[0], column[0]
        if key not in self.blocks:
            self.blocks[key] = self.problem.hessian_block(*key)
        expr, rows, columns = self.blocks[key]
        places = (*row[1], *column[1])
        return self.value(expr, {u: i + 1 for u, i in zip((*rows, *columns), places, strict=True)})

    def outputs(self) -> Iterator[PolyElement]:
        """Yield every output as a polynomial in unknowns and inputs; what was known of the data is forgotten."""
        self.known, self.measure = {}, None
        shape = tuple(dimension(dim, self.dims) for dim in self.problem.output.dims[1:])
        for at in positions(shape):
            yield self.entry(self.problem.output, (_CONTINUUM, *[i + 1 for i in at]))

    def value(self, expr: Expr, at: Mapping[Index, int]) -> PolyElement:
        """Return the value of an expression, its free indices at ``at`` (1-based)."""
        if isinstance(expr, Entry):
            return self.entry(expr.tensor, tuple(_place(u, at) for u in expr.indices))
        if isinstance(expr, ISum):
            return self._sum(expr, at)
        if isinstance(expr, Add):
            return sum((self.value(u, at) for u in expr.args), self.ring.zero)
        if isinstance(expr, Mul):
            out = self.ring.one
            for u in expr.args:
                out = out * self.value(u, at) if out else out
            return out
        if isinstance(expr, Delta):
            left, right = (_place(u, at) for u in expr.args)
            return self.ring.one if left == right else self.ring.zero
        if isinstance(expr, GenericFunction):
            return self._function(expr, at)
        if isinstance(expr, Pow) and not (expr.base.is_number or expr.base in self.dims):
            base = self.value(expr.base, at)
            if expr.exp.is_Integer and expr.exp >= 0:
                return base ** int(expr.exp)
            if base.is_ground and base and expr.exp.is_Integer:
                return self.ring(base.coeff(1) ** int(expr.exp))
        elif not expr.has(Entry, Index):
            return self._number(expr)
        if expr.has(relu, step):
            raise AssumptionError(
                f"{expr} has a kink: its critical points are those of cells, not of one polynomial system"
            )
        raise AssumptionError(f"{expr} is not a polynomial in the parameters with rational coefficients")

    def _number(self, expr: Expr) -> PolyElement:
        number = rational(expr.xreplace({k: Integer(v) for k, v in self.dims.items()}), str(expr))
        return self.ring(QQ(number.p, number.q))

    def entry(self, tensor: Tensor, places: tuple[int, ...]) -> PolyElement:
        """Return one entry (1-based): an unknown, a datum, or what a definition says."""
        if tensor.name in self.names:
            return self.parameters[tensor.name, tuple(i - 1 for i in places)]
        key = tensor.name, places
        if key not in self.known:
            self.known[key] = self._defined(tensor, places)
        return self.known[key]

    def _defined(self, tensor: Tensor, places: tuple[int, ...]) -> PolyElement:
        if tensor in self.problem.derived:
            definition = self.problem.derived[tensor]
            return self.value(definition.expr, dict(zip(definition.indices, places, strict=True)))
        if tensor.name == "y":
            return self._target(places)
        column = self.columns[tensor.name] if self.columns else places[1] - 1
        if isinstance(self.measure, Samples):
            value = self.measure.x[places[0] - 1][column]
            return self.ring(QQ(value.p, value.q))
        return self.inputs[column]

    def _target(self, places: tuple[int, ...]) -> PolyElement:
        if isinstance(self.measure, Samples):
            value = self.measure.y[places[0] - 1][places[1] - 1 if len(places) > 1 else 0]
            return self.ring(QQ(value.p, value.q))
        return self.target

    def _function(self, expr: GenericFunction, at: Mapping[Index, int]) -> PolyElement:
        side = self._side(expr, at)
        key = expr.name, expr.orders, side
        if key not in self.functions:
            self.functions[key] = self._written(expr, side)
        arguments = [self.value(u, at) for u in expr.arguments]
        total = self.ring.zero
        for powers, coefficient in self.functions[key].terms():
            number = rational(coefficient, f"a coefficient of {self.functions[key].as_expr()}")
            term = self.ring(QQ(number.p, number.q))
            for argument, power in zip(arguments, powers, strict=True):
                if power:  # zero to the power of zero is refused
                    term *= argument**power
            total += term
        return total

    def _side(self, expr: GenericFunction, at: Mapping[Index, int]) -> int:
        """Return the sign of the pre-activation in the cell; 0 for smooth functions."""
        if self.cell is None or expr.name != "sigma":
            return 0
        (argument,) = expr.arguments
        assert isinstance(argument, Entry)  # pre-activations are definitions of their own
        sample, *rest = (_place(u, at) - 1 for u in argument.indices)
        return self.cell[argument.tensor.name, (sample, *rest)]

    def _written(self, expr: GenericFunction, side: int) -> Poly:
        problem = self.problem
        assert problem.activation is not None  # both checked at the start
        assert problem.loss is not None
        symbols: tuple[Symbol, ...] = (F, Y) if expr.name != "sigma" else (Z,)
        if expr.name != "sigma":
            what, name, written = "loss", problem.loss.name, problem.loss.derivative(*expr.orders)
        else:
            what, name = "activation", problem.activation.name
            written = problem.activation.derivative(*expr.orders)
            if side:
                written = half_lines(problem.activation)[side > 0].diff(Z, *expr.orders)
        if not written.is_polynomial(*symbols):
            raise AssumptionError(f"the {what} '{name}' is no polynomial; exact critical points need one")
        return Poly(written, *symbols)

    def _sum(self, expr: ISum, at: Mapping[Index, int]) -> PolyElement:
        index = expr.index
        if index.dim == n and isinstance(self.measure, IntervalProblem):
            return self._integral(expr, at)
        count = self.dims[index.dim]
        return sum((self.value(expr.body, {**at, index: q}) for q in range(1, count + 1)), self.ring.zero)

    def _integral(self, expr: ISum, at: Mapping[Index, int]) -> PolyElement:
        """Integrate over x, on each interval where the target is one polynomial."""
        assert isinstance(self.measure, IntervalProblem)
        total = self.ring.zero
        for piece in self.measure.target_pieces:
            self.known = {key: v for key, v in self.known.items() if _CONTINUUM not in key[1]}
            self.target = self._polynomial(piece.expr, self.measure.x)
            body = self.value(expr.body, {**at, expr.index: _CONTINUUM})
            lower, upper = (
                rational(u, "an end of a piece of the interval") for u in (piece.lower, piece.upper)
            )
            total += _integrated(body, self.ring, QQ(lower.p, lower.q), QQ(upper.p, upper.q))
        return total

    def _polynomial(self, expr: Expr, x: Symbol) -> PolyElement:
        total = self.ring.zero
        for (power,), coefficient in Poly(expr, x).terms():
            number = rational(coefficient, f"a coefficient of the target {expr}")
            total += self.inputs[0] ** power * QQ(number.p, number.q)
        return total


def _integrated(body: PolyElement, ring: PolyRing, lower: Any, upper: Any) -> PolyElement:
    """Integrate a polynomial over its last variable."""
    out: dict[tuple[int, ...], Any] = {}
    for monomial, coefficient in body.terms():
        power = monomial[-1] + 1
        moment = coefficient * (upper**power - lower**power) / power
        key = (*monomial[:-1], 0)
        out[key] = out.get(key, QQ.zero) + moment
    return ring.from_dict({key: v for key, v in out.items() if v})


def rational(value: Any, what: str) -> Rational:
    """Return an exact rational number, or raise AssumptionError naming ``what``."""
    number = sympify(value, strict=True)
    if isinstance(number, Expr) and not number.is_Rational and number.is_number:
        number = number.doit()
    if not getattr(number, "is_Rational", False):
        raise AssumptionError(
            f"{what}: found {value}; exact critical points need rational numbers such as 1/3 or 0.25"
        )
    return number


def dimension(dim: Expr, dims: Mapping[Symbol, int]) -> int:
    """Return the value of a dimension."""
    if dim.is_Integer:
        return int(dim)
    if dim not in dims:
        raise ValueError(f"the size {dim} is missing; given: {', '.join(map(str, dims)) or 'none'}")
    return dims[dim]


def positions(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield all 0-based indices of an array."""
    return itertools.product(*[range(size) for size in shape])


def _place(index: Expr, at: Mapping[Index, int]) -> int:
    return at[index] if isinstance(index, Index) else int(index)
