r"""What second-order conditions, convexity or sharpness tell of a KKT point of a stated problem, by exact arithmetic.

With a basis N of the directions orthogonal to the gradients of the equalities and of the strongly active inequalities
(:math:`\lambda_j > 0`) the curvature of the Lagrangian on the critical cone is governed by :math:`B = N^\top \nabla^2 \mathcal{L}\, N`.  If B is positive
definite the point is a strict local minimum.  If the gradients are independent and B has a negative direction that lies in the critical
cone, it is none; with one weakly active inequality the cone is a half-space, and Q(v) = Q(-v) makes that the whole space.

Source: Nocedal, Wright, *Numerical Optimization*, 2006, Theorems 12.5 and 12.6.

>>> from sympy import Integer
>>> one = Integer(1)
>>> signature([[one, 2 * one], [2 * one, one]]), signature([[one, one], [one, one]])
((1, 0, 1), (0, 1, 1))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Abs, Add, Expr, Integer, Matrix, Symbol, expand

from derivations.clarke import ClarkeSet
from derivations.exact_lp import exact_sign, nonnegative_solution
from derivations.functions import relu
from derivations.stated import Stated, StatedConstraint

__all__ = ["is_convex", "kind_of", "signature"]


def kind_of(
    problem: Stated,
    at: Mapping[Symbol, Expr],
    multipliers: Mapping[str, Expr],
    active: Sequence[StatedConstraint],
    cost: ClarkeSet,
    sets: Sequence[ClarkeSet],
    licq: bool | None,
) -> str:
    """Return what is proved of a KKT point, in the words of ``KKTPoint.kind``."""
    word = "maximum" if problem.maximise else "minimum"
    if _convex_problem(problem):
        return f"global {word}"
    if cost.kinks or any(s.kinks for s in sets):
        if _is_sharp(cost, active, sets):
            return f"strict local {word}"
        return f"no local {word}" if _descends(problem, cost, active, sets) else "undecided"
    strong = [c for c in active if c.sign == "=" or exact_sign(multipliers[c.multiplier.name]) > 0]
    weak = [c for c in active if c not in strong]
    gradient = {c: s.gradients[0] for c, s in zip(active, sets, strict=True)}
    lagrangian = _smooth(problem.cost, at) + Add(
        *[multipliers[c.multiplier.name] * _smooth(c.excess, at) for c in active]
    )
    hessian = [[expand(lagrangian.diff(u, v).subs(at)) for v in at] for u in at]
    on_strong = signature(_reduced(hessian, [gradient[c] for c in strong]))
    if on_strong[0] == on_strong[1] == 0:
        return f"strict local {word}"
    if licq and (len(weak) <= 1 and on_strong[0]):
        return f"no local {word}"
    if licq and signature(_reduced(hessian, [gradient[c] for c in active]))[0]:
        return f"no local {word}"
    return "undecided"


def _smooth(expr: Expr, at: Mapping[Symbol, Expr]) -> Expr:
    """Return the polynomial that agrees with ``expr`` near a point on none of its kinks."""
    expr = expr.replace(Abs, lambda u: relu(u) + relu(-u))
    while atoms := sorted(expr.atoms(relu), key=lambda u: u.count_ops()):
        argument = atoms[0].args[0]
        inside = exact_sign(expand(argument.subs(at)))
        expr = expr.xreplace({atoms[0]: argument if inside > 0 else Integer(0)})
    return expr


def _reduced(hessian: Sequence[Sequence[Expr]], rows: Sequence[Sequence[Expr]]) -> list[list[Expr]]:
    """Return N^T H N with a basis N of the directions orthogonal to the rows."""
    size = len(hessian)
    zero = lambda u: exact_sign(expand(u)) == 0  # noqa: E731
    if rows:
        basis = Matrix([list(r) for r in rows]).nullspace(iszerofunc=zero, simplify=expand)
    else:
        basis = [Matrix([Integer(int(i == j)) for i in range(size)]) for j in range(size)]
    square = Matrix([list(r) for r in hessian])
    return [[expand((u.T * square * v)[0, 0]) for v in basis] for u in basis]


def signature(form: Sequence[Sequence[Expr]]) -> tuple[int, int, int]:
    """Return the numbers of negative, zero and positive eigenvalues of an exact symmetric matrix, by Lagrange's reduction."""
    rows = [list(r) for r in form]
    count = {-1: 0, 0: 0, 1: 0}
    while rows:
        size = len(rows)
        pivot = next((j for j in range(size) if exact_sign(rows[j][j])), None)
        if pivot is None:
            pair = next(((i, j) for i in range(size) for j in range(i) if exact_sign(rows[i][j])), None)
            if pair is None:
                count[0] += size
                break
            i, j = pair  # x_i -> x_i + x_j gives a diagonal entry 2 a_ij
            rows[i] = [expand(u + v) for u, v in zip(rows[i], rows[j], strict=True)]
            for row in rows:
                row[i] = expand(row[i] + row[j])
            continue
        head = rows[pivot][pivot]
        count[exact_sign(head)] += 1
        kept = [j for j in range(size) if j != pivot]
        rows = [[expand(rows[i][j] - rows[i][pivot] * rows[pivot][j] / head) for j in kept] for i in kept]
    return count[-1], count[0], count[1]


def _is_sharp(cost: ClarkeSet, active: Sequence[StatedConstraint], sets: Sequence[ClarkeSet]) -> bool:
    """Whether the cost grows linearly in every direction that is feasible to first order: a sharp local minimum.

    On each cell of the kinks through the point the one-sided derivative is that of one vertex; constraints with kinks are left out,
    which only allows more directions.
    """
    smooth = [(c, s.gradients[0]) for c, s in zip(active, sets, strict=True) if not s.kinks]
    normals = [_normal(u, cost) for u in cost.kinks]
    for vertex in cost.vertices:
        below = [vertex.gradient, *(g for c, g in smooth if c.sign != "=")]
        below += [tuple(-s * u for u in n) for s, n in zip(vertex.pattern, normals, strict=True)]
        equal = [g for c, g in smooth if c.sign == "="]
        if _has_direction(equal, below, len(cost.variables)):
            return False
    return True


def _descends(
    problem: Stated, cost: ClarkeSet, active: Sequence[StatedConstraint], sets: Sequence[ClarkeSet]
) -> bool:
    """Whether the cost falls to first order in a direction inside a cell that is strictly feasible: no local minimum.

    Shown for smooth constraints and affine equalities only.
    """
    if any(s.kinks for s in sets) or not _affine_equalities(problem):
        return False
    normals = [_normal(u, cost) for u in cost.kinks]
    equal = [s.gradients[0] for c, s in zip(active, sets, strict=True) if c.sign == "="]
    inside = [s.gradients[0] for c, s in zip(active, sets, strict=True) if c.sign != "="]
    for vertex in cost.vertices:
        cell = [tuple(-s * u for u in n) for s, n in zip(vertex.pattern, normals, strict=True)]
        below = [
            vertex.gradient,
            *inside,
            *cell,
        ]  # each times v is at most -1, by scaling the same as negative
        rows, right = [], []
        for number, row in enumerate([*equal, *below]):
            slack = [Integer(int(number - len(equal) == k)) for k in range(len(below))]
            rows.append([*row, *(-u for u in row), *slack])
            right.append(Integer(0 if number < len(equal) else -1))
        if nonnegative_solution(rows, right).solution is not None:
            return True
    return False


def _normal(kink: Expr, cost: ClarkeSet) -> tuple[Expr, ...]:
    at = dict(zip(cost.variables, cost.point, strict=True))
    return tuple(expand(kink.diff(u).subs(at)) for u in cost.variables)


def _has_direction(equal: Sequence[Sequence[Expr]], below: Sequence[Sequence[Expr]], size: int) -> bool:
    """Whether some v that is not 0 has e . v = 0 and b . v <= 0 for all rows."""
    count = len(below)
    for axis in range(size):
        for side in (1, -1):
            rows, right = [], []
            unit = [Integer(side * int(j == axis)) for j in range(size)]
            for number, (row, value) in enumerate(
                [*((e, 0) for e in equal), (unit, 1), *((b, 0) for b in below)]
            ):
                slack = [Integer(int(number - len(equal) - 1 == k)) for k in range(count)]
                rows.append([*row, *(-u for u in row), *slack])
                right.append(Integer(value))
            if nonnegative_solution(rows, right).solution is not None:
                return True
    return False


def _convex_problem(problem: Stated) -> bool:
    """Whether convexity is shown: convex cost and inequalities, affine equalities."""
    return _affine_equalities(problem) and all(
        is_convex(u, problem.unknowns)
        for u in (problem.cost, *(c.excess for c in problem.constraints if c.sign != "="))
    )


def _affine_equalities(problem: Stated) -> bool:
    return all(
        not c.gap.has(relu, Abs) and expand(c.gap).as_poly(*problem.unknowns).total_degree() <= 1
        for c in problem.constraints
        if c.sign == "="
    )


def is_convex(expr: Expr, unknowns: Sequence[Symbol]) -> bool:
    """Whether convexity is shown: a polynomial of degree 2 with a semidefinite Hessian plus positive parts of affine functions.

    >>> x = Symbol("x", real=True)
    >>> is_convex(x**2 + Abs(x), [x]), is_convex(x**2 - Abs(x), [x])
    (True, False)
    """
    written = expand(expr.replace(Abs, lambda u: relu(u) + relu(-u)))
    smooth = Integer(0)
    for term in Add.make_args(written):
        factor, rest = term.as_independent(*unknowns, as_Add=False)
        if not term.has(relu):
            smooth += term
        elif (
            not isinstance(rest, relu)
            or rest.args[0].has(relu)
            or exact_sign(factor) < 0
            or rest.args[0].as_poly(*unknowns) is None
            or rest.args[0].as_poly(*unknowns).total_degree() > 1
        ):
            return False
    polynomial = smooth.as_poly(*unknowns)
    if polynomial is None or polynomial.total_degree() > 2:
        return False
    return signature([[smooth.diff(u, v) for v in unknowns] for u in unknowns])[0] == 0
