r"""All KKT points of a stated problem whose formulas are polynomials of positive parts, exactly.

On each cell of the kinks (argument positive, negative or zero) and for each set A of active inequalities the functions are
polynomials, and a KKT point solves

.. math:: \nabla F + \sum_{e} \mu_e \nabla h_e + \sum_{j \in A} \lambda_j \nabla g_j + \sum_{z} \tau_z \nabla \kappa_z = 0, \quad
    h = 0,\ g_A = 0,\ \kappa_Z = 0,

with free multipliers and a free :math:`\tau_z` for each kink on which the point lies: that contains every choice from the Clarke hulls.
The multipliers are eliminated, the rest is solved over the real algebraic numbers, and each candidate is then decided by a linear
programme in exact arithmetic (``derivations.stated_check``), which knows signs and hulls.  So no KKT point is missed where every system has
finitely many solutions; where one has a continuum, or is too large, the list says so.

Where the gradients of the active constraints are dependent (no LICQ) multipliers need not be unique, and a minimiser need not be
a KKT point: ``abnormal`` lists the feasible points at which the constraints alone balance,
:math:`\sum_e \mu_e \nabla h_e + \sum_j \lambda_j \nabla g_j = 0` with :math:`\lambda \ge 0`, not all zero (Fritz John).

>>> from derivations.stated import stated
>>> found = kkt_points(stated("x*y", ["x", "y"], equalities=["x**2 + y**2 = 2"]))
>>> [(p.values, p.multipliers["mu_1"], p.kind) for p in found.points]  # doctest: +NORMALIZE_WHITESPACE
[((-1, -1), -1/2, 'no local minimum'), ((-1, 1), 1/2, 'strict local minimum'),
 ((1, -1), 1/2, 'strict local minimum'), ((1, 1), -1/2, 'no local minimum')]
>>> found.complete
True
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sympy import Add, Dummy, Expr, Integer, expand

from derivations.exact_lp import exact_sign, nonnegative_solution
from derivations.functions import relu
from derivations.real_solutions import RealSolutions, TooLarge, real_solutions
from derivations.stated import Stated, StatedConstraint
from derivations.stated_check import KKTPoint, decided, is_abnormal, positive_parts

__all__ = ["KKTPoint", "KKTPoints", "kkt_points"]

#: More combinations of cells and active sets than this are not looked at.
MAX_CASES = 729


@dataclass(frozen=True)
class KKTPoints:
    """What was found.

    Parameters
    ----------
    points : tuple of KKTPoint
        All where there are finitely many, sorted by their coordinates; else those at corners of the families.
    families : tuple of tuples
        Equations of sets that contain all other KKT points; a set may contain points that are none.
    abnormal : tuple of tuples
        Points on no kink where the gradients of active constraints balance without the objective; a minimiser may be one
        without being a KKT point.
    dependent : tuple of tuples
        Equations of sets on which gradients of active constraints may be dependent: there, too, a minimiser may be no KKT
        point.
    missing : tuple of str
        Reasons why KKT points may be missing.
    """

    points: tuple[KKTPoint, ...]
    families: tuple[tuple[Expr, ...], ...]
    abnormal: tuple[tuple[Expr, ...], ...]
    dependent: tuple[tuple[Expr, ...], ...]
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether ``points`` are all KKT points, by proof."""
        return not self.families and not self.missing


@dataclass(frozen=True)
class _Case:
    """Signs of the kinks and the active inequalities; the functions as polynomials there."""

    signs: tuple[int, ...]
    active: tuple[StatedConstraint, ...]
    inactive: tuple[StatedConstraint, ...]
    pieces: dict[Expr, Expr]
    kinks: tuple[Expr, ...]


def kkt_points(problem: Stated) -> KKTPoints:
    """Return all KKT points with what is known of each.

    Parameters
    ----------
    problem : Stated
        With rational coefficients.

    Raises
    ------
    ValueError
        If a formula is not a polynomial of positive parts and absolute values, with rational coefficients.
    """
    kinks = _kinks(problem)
    equal = [c for c in problem.constraints if c.sign == "="]
    bounds = [c for c in problem.constraints if c.sign != "="]
    if 3 ** len(kinks) * 2 ** len(bounds) > MAX_CASES:
        reason = f"{len(kinks)} kinks and {len(bounds)} inequalities make more than {MAX_CASES} cases"
        return KKTPoints((), (), (), (), (reason,))
    points: list[KKTPoint] = []
    families: list[tuple[Expr, ...]] = []
    abnormal: list[tuple[Expr, ...]] = []
    dependent: list[tuple[Expr, ...]] = []
    missing: list[str] = []
    for case in _cases(problem, kinks, bounds):
        try:
            found = _stationary(problem, case, equal)
            isolated = [x for x in found.points if _belongs(problem, case, equal, x)]
            if found.family is not None and _nonempty(problem, case, equal, found.family):
                families.append(found.family)
            for x in isolated:
                point, reason = decided(problem, x)
                points += [point] if point is not None else []
                missing += [reason] if reason else []
            for balance in _balanced(problem, case, equal):
                abnormal += [
                    x for x in balance.points if _belongs(problem, case, equal, x) and is_abnormal(problem, x)
                ]
                dependent += [balance.family] if balance.family is not None else []
        except (TooLarge, NotImplementedError) as error:
            missing.append(str(error))
    order = sorted(points, key=lambda p: [float(u) for u in p.values])
    return KKTPoints(
        tuple(order),
        tuple(dict.fromkeys(families)),
        tuple(dict.fromkeys(abnormal)),
        tuple(dict.fromkeys(dependent)),
        tuple(dict.fromkeys(missing)),
    )


def _functions(problem: Stated) -> list[Expr]:
    return [problem.cost, *(c.excess for c in problem.constraints)]


def _kinks(problem: Stated) -> list[Expr]:
    """Return the arguments of positive parts, innermost first; u and -u count once."""
    found: list[Expr] = []
    for function in _functions(problem):
        atoms = sorted(positive_parts(function).atoms(relu), key=lambda u: (u.count_ops(), str(u)))
        for atom in atoms:
            if not any(expand(atom.args[0] - s * u) == 0 for u in found for s in (1, -1)):
                found.append(atom.args[0])
        smooth = positive_parts(function).xreplace({a: Dummy("s", real=True) for a in atoms})
        _check_polynomial(smooth, function)
    for argument in found:
        smooth = argument.xreplace({a: Dummy("s", real=True) for a in argument.atoms(relu)})
        _check_polynomial(smooth, argument)
    return found


def _check_polynomial(smooth: Expr, whole: Expr) -> None:
    names = sorted(smooth.free_symbols, key=str)
    rational = smooth.is_polynomial(*names) and all(
        u.is_Rational for u in (smooth.as_poly(*names).coeffs() if names else [smooth])
    )
    if not rational:
        raise ValueError(
            f"{whole} is not a polynomial of relu, abs, max and min with rational coefficients; the conditions hold, but are "
            "solved exactly for such formulas only"
        )


def _cases(problem: Stated, kinks: Sequence[Expr], bounds: Sequence[StatedConstraint]) -> Iterator[_Case]:
    for signs in itertools.product((1, -1, 0), repeat=len(kinks)):
        resolved = _resolved(problem, kinks, signs)
        arguments = tuple(resolved[u] for u in kinks)
        fixed = [u for u in zip(arguments, signs, strict=True) if not u[0].free_symbols]
        if any(exact_sign(value) != s for value, s in fixed):
            continue
        for size in range(len(bounds) + 1):
            for active in itertools.combinations(bounds, size):
                rest = tuple(c for c in bounds if c not in active)
                yield _Case(signs, active, rest, resolved, arguments)


def _resolved(problem: Stated, kinks: Sequence[Expr], signs: Sequence[int]) -> dict[Expr, Expr]:
    """Return every function, and every kink argument, as a polynomial where the kinks have the given signs."""
    known: list[tuple[Expr, Expr, int]] = []

    def piece(expr: Expr) -> Expr:
        expr = positive_parts(expr)
        while atoms := sorted(expr.atoms(relu), key=lambda u: u.count_ops()):
            atom = atoms[0]
            expr = expr.xreplace({atom: _positive_part(expand(atom.args[0]), known)})
        return expand(expr)

    out = {}
    for argument, s in zip(kinks, signs, strict=True):
        out[argument] = piece(argument)
        known += [(expand(argument), out[argument], s), (out[argument], out[argument], s)]
    for function in _functions(problem):
        out[function] = piece(function)
    return out


def _positive_part(argument: Expr, known: Sequence[tuple[Expr, Expr, int]]) -> Expr:
    """Return the polynomial that relu(argument) is, from the (original, polynomial, sign) of the kinks."""
    for original, polynomial, s in known:
        for side in (1, -1):
            if expand(argument - side * original) == 0:
                return side * polynomial if s * side > 0 else Integer(0)
    raise NotImplementedError(f"the kink of {argument} depends on other kinks in a way that is not resolved")


def _gradient(expr: Expr, problem: Stated) -> list[Expr]:
    return [expand(expr.diff(u)) for u in problem.unknowns]


def _held(case: _Case, equal: Sequence[StatedConstraint]) -> list[Expr]:
    """Return what vanishes in a case: equalities, active inequalities, kinks on which the point lies."""
    constraints = [case.pieces[c.excess] for c in (*equal, *case.active)]
    return constraints + [u for u, s in zip(case.kinks, case.signs, strict=True) if s == 0]


def _stationary(problem: Stated, case: _Case, equal: Sequence[StatedConstraint]) -> RealSolutions:
    held = _held(case, equal)
    multipliers = [Dummy(f"m{j}", real=True) for j in range(len(held))]
    equations = list(held)
    gradients = [_gradient(u, problem) for u in held]
    for j, slope in enumerate(_gradient(case.pieces[problem.cost], problem)):
        equations.append(slope + Add(*[m * g[j] for m, g in zip(multipliers, gradients, strict=True)]))
    return real_solutions(equations, problem.unknowns, multipliers)


def _balanced(problem: Stated, case: _Case, equal: Sequence[StatedConstraint]) -> Iterator[RealSolutions]:
    """Yield where in a case the gradients of active constraints are dependent, one of them having the weight 1."""
    constraints = [case.pieces[c.excess] for c in (*equal, *case.active)]
    if 0 in case.signs or not constraints:
        return
    gradients = [_gradient(u, problem) for u in constraints]
    for chosen in range(len(constraints)):
        others = [Dummy(f"m{j}", real=True) for j in range(len(constraints))]
        weights = [Integer(1) if j == chosen else m for j, m in enumerate(others)]
        equations = list(constraints)
        for j in range(len(problem.unknowns)):
            equations.append(Add(*[m * g[j] for m, g in zip(weights, gradients, strict=True)]))
        unknown = [m for j, m in enumerate(others) if j != chosen]
        yield real_solutions(equations, problem.unknowns, unknown)


def _belongs(problem: Stated, case: _Case, equal: Sequence[StatedConstraint], x: Sequence[Expr]) -> bool:
    """Whether a solution is feasible, lies in its cell and has no more active inequalities: it is met in one case only."""
    at = dict(zip(problem.unknowns, x, strict=True))
    signs = [exact_sign(expand(u.subs(at))) for u in case.kinks]
    return tuple(signs) == case.signs and all(
        exact_sign(expand(case.pieces[c.excess].subs(at))) < 0 for c in case.inactive
    )


def _nonempty(
    problem: Stated, case: _Case, equal: Sequence[StatedConstraint], family: Sequence[Expr]
) -> bool:
    """Whether a family may hold KKT points of the closure of its case; decided if all but the cost is affine, and that quadratic.

    Then x, the multipliers and the slack of the other constraints are subject to linear relations.
    """
    held = _held(case, equal)
    below = [case.pieces[c.excess] for c in case.inactive]
    below += [-s * u for u, s in zip(case.kinks, case.signs, strict=True) if s]
    cost = case.pieces[problem.cost]
    if any(_degree(u, problem) > 1 for u in (*family, *held, *below)) or _degree(cost, problem) > 2:
        return True
    one, zero = Integer(1), Integer(0)
    origin = dict.fromkeys(problem.unknowns, zero)
    signed = [c.sign != "=" for c in (*equal, *case.active)] + [False] * (
        len(held) - len(equal) - len(case.active)
    )
    rows, right = [], []

    def add(slope: Sequence[Expr], weights: Sequence[Expr], slack: int | None, value: Expr) -> None:
        free = [
            *slope,
            *(-u for u in slope),
            *weights,
            *(-u for u, s in zip(weights, signed, strict=True) if not s),
        ]
        rows.append([*free, *(one if j == slack else zero for j in range(len(below)))])
        right.append(value)

    for u in (*family, *held):
        add([u.diff(x) for x in problem.unknowns], [zero] * len(held), None, -u.subs(origin))
    for j, u in enumerate(below):
        add([u.diff(x) for x in problem.unknowns], [zero] * len(held), j, -u.subs(origin))
    for x in problem.unknowns:
        slope = cost.diff(x)
        add([slope.diff(v) for v in problem.unknowns], [u.diff(x) for u in held], None, -slope.subs(origin))
    return nonnegative_solution(rows, right).solution is not None


def _degree(expr: Expr, problem: Stated) -> int:
    return int(expr.as_poly(*problem.unknowns).total_degree()) if expr.free_symbols else 0
