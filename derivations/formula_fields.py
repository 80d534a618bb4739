r"""Affine vector fields that keep the output of a formula: its continuous symmetries, found by linear algebra.

A field :math:`\xi(\theta) = A\theta + b` on the trained parameters keeps every output if and only if

.. math:: \langle \nabla_\theta f(\theta; x), A\theta + b \rangle = 0 \quad \text{for all } \theta, x ,

which is linear in A and b.  The functions :math:`\theta_j\,\partial_i f` and :math:`\partial_i f` are written as polynomials in the
parameters, the inputs and whatever else occurs (:math:`e^u`, :math:`\tanh u`, ...); a combination whose coefficients all cancel vanishes.
So every field found is a symmetry.  That there are no others is certain where nothing else occurs; otherwise it is read off the
rank of the values of these functions at random rational points.

>>> from derivations.formula_model import FormulaProblem
>>> found = affine_fields(FormulaProblem.of("a*exp(w*x + b) + c", ["a", "w", "b", "c"]))
>>> [field.components for field in found.fields], found.exhaustive
([(-a, 0, 1, 0)], <Status.SUPPORTED: 'SUPPORTED'>)
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpmath import mp, mpf
from sympy import (
    Add,
    Dummy,
    Expr,
    Integer,
    Rational,
    S,
    Symbol,
    cancel,
    expand,
    fraction,
    lcm,
    parallel_poly_from_expr,
    tanh,
    together,
)
from sympy.core.evalf import PrecisionExhausted
from sympy.polys.matrices import DomainMatrix

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.functions import relu, sech2, step
from derivations.potentials import Span

__all__ = [
    "AffineField",
    "AffineFields",
    "affine_fields",
    "along",
    "smooth_pieces",
    "symmetric_combinations",
]

#: More parameters than this give more unknowns than a reader would want, and minutes of algebra.
MAX_PARAMETERS = 16
_DIGITS = 40
#: Pivots of the elimination below this, relative to the largest, count as 0; those seen that count are above 1e-12.
_PIVOT = mpf(10) ** -25


@dataclass(frozen=True)
class AffineField:
    r"""The field :math:`\xi = A\theta + b` on the trained parameters.

    Parameters
    ----------
    names : tuple of Symbol
        The trained parameters.
    matrix, vector : tuple
        A, row by row, and b, exact.
    kind : str
        ``scaling`` (A diagonal), ``translation`` (A = 0), ``rotation`` (A antisymmetric), ``hyperbolic rotation`` (A symmetric
        without diagonal), ``symmetric`` (A symmetric) or ``linear``; with b where it is not 0.
    """

    names: tuple[Symbol, ...]
    matrix: tuple[tuple[Expr, ...], ...]
    vector: tuple[Expr, ...]
    kind: str

    @property
    def components(self) -> tuple[Expr, ...]:
        """The components of the field in the parameters."""
        return tuple(
            Add(*[a * s for a, s in zip(row, self.names, strict=True)], b)
            for row, b in zip(self.matrix, self.vector, strict=True)
        )


@dataclass(frozen=True)
class AffineFields:
    """A basis of the affine symmetries of a formula.

    Parameters
    ----------
    fields : tuple of AffineField
        Linearly independent; the simple kinds first.
    exhaustive : Status
        Whether they span all affine symmetries: PROVED, SUPPORTED, or UNDECIDED where the rank says that there may be more.
    residuals : tuple of Expr
        Derivative of the output along each field, simplified: 0 is a proof.
    """

    fields: tuple[AffineField, ...]
    exhaustive: Status
    residuals: tuple[Expr, ...]


def smooth_pieces(formula: Expr) -> Expr:
    """Return a formula with every kink written by a constant that stands for the step: exact off the kinks.

    >>> z = Symbol("z", real=True)
    >>> smooth_pieces(relu(z) + 1).diff(z).atoms(Dummy) != set()
    True
    """
    steps: dict[Expr, Dummy] = {}

    def stand_in(u: Expr, *_: Expr) -> Dummy:
        return steps.setdefault(u, Dummy("H", real=True))

    # From the inside out, so that a kink inside the argument of another one is replaced first.
    formula = formula.replace(relu, lambda u: u * stand_in(u))
    return formula.replace(step, stand_in).replace(sech2, lambda u: 1 - tanh(u) ** 2)


def affine_fields(problem: FormulaProblem) -> AffineFields:
    """Return the affine fields of the trained parameters that keep every output of a formula.

    Parameters
    ----------
    problem : FormulaProblem
        Frozen parameters are treated like inputs: the fields are symmetries for all their values.

    Raises
    ------
    AssumptionError
        If more than ``MAX_PARAMETERS`` parameters are trained.
    """
    names = tuple(
        s for s, block in zip(problem.names, problem.blocks, strict=True) if block.trained and block.rate != 0
    )
    if len(names) > MAX_PARAMETERS:
        raise AssumptionError(
            f"{len(names)} parameters are trained; affine symmetries are sought for up to {MAX_PARAMETERS}: freeze some"
        )
    formula = smooth_pieces(problem.one_sided)
    slopes = [_reduced(formula.diff(s)) for s in names]
    columns = _columns(names, slopes)
    rows, algebraic = _coefficient_rows(columns, problem)
    fields, span = [], Span()
    for kind, shape in _shapes(len(names)):
        for vector in _null_space(rows, shape):
            if span.add(dict(enumerate(vector))):
                fields.append(_field(names, vector, kind))
    residuals = tuple(
        _reduced(Add(*[u * slope for u, slope in zip(field.components, slopes, strict=True)]))
        for field in fields
    )
    exhaustive = Status.PROVED
    if not algebraic:
        reached = _rank(names, slopes, problem) == len(columns) - len(fields)
        exhaustive = Status.SUPPORTED if reached else Status.UNDECIDED
    return AffineFields(tuple(fields), exhaustive, residuals)


def along(problem: FormulaProblem, field: Mapping[Symbol, Expr]) -> Expr:
    """Return the derivative of the output along a vector field, simplified: 0 proves that the field keeps every output."""
    formula = smooth_pieces(problem.one_sided)
    return _reduced(Add(*[u * formula.diff(s) for s, u in field.items()]))


def symmetric_combinations(fields: Sequence[AffineField], rates: Mapping[Symbol, Expr]) -> list[AffineField]:
    r"""Return a basis of the combinations of ``fields`` whose :math:`A_{ij}/\eta_i` is symmetric: gradient fields, up to the rates.

    Examples
    --------
    >>> a, b = Symbol("a"), Symbol("b")
    >>> zero, one = S.Zero, S.One
    >>> turn = AffineField((a, b), ((zero, one), (-one, zero)), (zero, zero), "rotation")
    >>> scale = AffineField((a, b), ((-one, zero), (zero, one)), (zero, zero), "scaling")
    >>> [field.components for field in symmetric_combinations([turn, scale], {a: one, b: one})]
    [(-a, b)]
    """
    if not fields:
        return []
    names = fields[0].names
    size = len(names)
    rows = [
        [f.matrix[i][j] / rates[names[i]] - f.matrix[j][i] / rates[names[j]] for f in fields]
        for i in range(size)
        for j in range(i)
    ]
    rows = [row for row in rows if any(u != 0 for u in row)]
    vectors = [[*[u for row in f.matrix for u in row], *f.vector] for f in fields]
    found = []
    for weights in _null_space(rows, [{position: 1} for position in range(len(fields))]):
        total = [
            Add(*[c * v[k] for c, v in zip(weights, vectors, strict=True)]) for k in range(size**2 + size)
        ]
        found.append(_field(names, _primitive(total), "symmetric"))
    return found


def _reduced(expr: Expr) -> Expr:
    return cancel(together(expand(expr, power_exp=True)))


def _columns(names: Sequence[Symbol], slopes: Sequence[Expr]) -> list[Expr]:
    """Return theta_j d_i f in the order of A_ij, then d_i f."""
    return [s * slope for slope in slopes for s in names] + list(slopes)


def _coefficient_rows(columns: Sequence[Expr], problem: FormulaProblem) -> tuple[list[list[Expr]], bool]:
    """Return one row of coefficients for each monomial, and whether only parameters and inputs occur."""
    parts = [fraction(together(column)) for column in columns]
    common: Expr = S.One
    for _, bottom in parts:
        common = lcm(common, bottom)
    numerators = [expand(top * cancel(common / bottom), power_exp=True) for top, bottom in parts]
    # The sum of the names keeps the list from being one of constants, of which no polynomial is made.
    polynomials, options = parallel_poly_from_expr([*numerators, Add(*problem.names)])
    polynomials = polynomials[:-1]
    monomials = sorted({monomial for p in polynomials for monomial in p.monoms()})
    rows = [[p.coeff_monomial(monomial) for p in polynomials] for monomial in monomials]
    rows = [row for row in rows if any(u != 0 for u in row)]
    known = {*problem.names, *problem.inputs}
    # A stand-in for a step takes the values 0 and 1 only: it counts as something else.
    algebraic = set(options.gens) <= known and all(u.is_Rational for row in rows for u in row)
    return rows, algebraic


#: A basis of a kind of fields: each element maps positions among (A_11, A_12, ..., A_PP, b_1, ..., b_P) to coefficients.
_Shape = list[dict[int, int]]


def _shapes(size: int) -> list[tuple[str, _Shape]]:
    """Return the kinds of fields, the simple ones first, each by a basis."""
    diagonal = [{i * size + i: 1} for i in range(size)]
    shifts = [{size * size + i: 1} for i in range(size)]
    pairs = [(i, j) for i in range(size) for j in range(i + 1, size)]
    antisymmetric = [{i * size + j: 1, j * size + i: -1} for i, j in pairs]
    symmetric = [{i * size + j: 1, j * size + i: 1} for i, j in pairs]
    return [
        ("scaling", diagonal),
        ("translation", shifts),
        ("rotation", antisymmetric),
        ("hyperbolic rotation", symmetric),
        ("symmetric", [*diagonal, *symmetric, *shifts]),
        ("linear", [{position: 1} for position in range(size * size + size)]),
    ]


def _null_space(rows: Sequence[Sequence[Expr]], shape: _Shape) -> list[list[Expr]]:
    """Return a basis of the fields of a shape along which every row vanishes, with integers where that is possible."""
    if not shape:
        return []
    size = len(rows[0]) if rows else 1 + max(max(element) for element in shape)
    table = [[Add(*[factor * row[p] for p, factor in u.items()]) for u in shape] for row in rows]
    if table:
        solved = (
            DomainMatrix.from_list_sympy(len(table), len(shape), table).to_field().nullspace().to_Matrix()
        )
        found = [list(solved.row(position)) for position in range(solved.rows)]
    else:
        found = [[S.One if j == k else S.Zero for j in range(len(shape))] for k in range(len(shape))]
    out = []
    for vector in found:
        whole: list[Expr] = [S.Zero] * size
        for factor, element in zip(_primitive(vector), shape, strict=True):
            for position, sign in element.items():
                whole[position] += factor * sign
        out.append(whole)
    return out


def _primitive(vector: Sequence[Expr]) -> list[Expr]:
    """Return the multiple with integer entries without common factor where all are rational, the last one positive."""
    if not all(u.is_Rational for u in vector):
        return list(vector)
    scale = math.lcm(*[int(u.q) for u in vector])
    common = math.gcd(*[int(u * scale) for u in vector])
    last = next(u for u in reversed(vector) if u != 0)
    factor = Rational(scale if last > 0 else -scale, common)
    return [u * factor for u in vector]


def _field(names: tuple[Symbol, ...], vector: Sequence[Expr], kind: str) -> AffineField:
    size = len(names)
    matrix = tuple(tuple(vector[i * size : (i + 1) * size]) for i in range(size))
    return AffineField(names, matrix, tuple(vector[size * size :]), kind)


def _rank(names: Sequence[Symbol], slopes: Sequence[Expr], problem: FormulaProblem) -> int:
    """Return the rank of the values of the columns at random rational points, from an elimination with 40 digits."""
    draw = random.Random(0)
    free = sorted({*names, *problem.inputs}.union(*[g.free_symbols for g in slopes]), key=str)
    wanted = len(names) ** 2 + len(names) + 5
    if any(isinstance(s, Dummy) for s in free):
        wanted *= 4  # where a step is 0 a row may vanish
    rows: list[list[mpf]] = []
    with mp.workdps(_DIGITS):
        for _ in range(20 * wanted):
            if len(rows) == wanted:
                return _pivots(rows)
            point = {
                s: Integer(draw.randint(0, 1))
                if isinstance(s, Dummy)
                else Rational(draw.randint(-40, 40), 29)
                for s in free
            }
            values = [_number(g.xreplace(point)) for g in slopes]
            theta = [mpf(int(point[s].p)) / int(point[s].q) for s in names]
            numbers = [value for value in values if value is not None]
            if len(numbers) == len(values):
                rows.append([t * g for g in numbers for t in theta] + numbers)
    return -1  # too few points at which the formula has a value


def _number(value: Expr) -> mpf | None:
    try:
        found = value.evalf(_DIGITS, strict=True)
    except (PrecisionExhausted, ValueError, TypeError):
        return None
    return mpf(found) if found.is_Float or found.is_Rational else None


def _pivots(rows: list[list[mpf]]) -> int:
    """Return the number of pivots that count in an elimination with complete pivoting."""
    rank, largest = 0, mpf(0)
    while rows and rows[0]:
        size, i, j = max((abs(u), i, j) for i, row in enumerate(rows) for j, u in enumerate(row))
        largest = max(largest, size)
        if size <= _PIVOT * largest or size == 0:
            break
        pivot = rows.pop(i)
        rows = [
            [u - row[j] / pivot[j] * v for u, v in zip(row, pivot, strict=True)][:j]
            + [u - row[j] / pivot[j] * v for u, v in zip(row, pivot, strict=True)][j + 1 :]
            for row in rows
        ]
        rank += 1
    return rank
