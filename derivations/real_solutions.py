r"""All real solutions of a polynomial system with rational coefficients, exactly, where they are finitely many.

A lexicographic Groebner basis first eliminates the auxiliary variables; the rest is triangular.  The last variable is a root of
a polynomial over the rationals; each root is put into the basis, and the next variable is a root of the greatest common divisor
of what remains, over the number field of the roots so far.

>>> from sympy import symbols
>>> x, y, m = symbols("x y m", real=True)
>>> found = real_solutions([1 - 2 * m * x, 1 - 2 * m * y, x**2 + y**2 - 1], [x, y], [m])
>>> found.points
((-sqrt(2)/2, -sqrt(2)/2), (sqrt(2)/2, sqrt(2)/2))
>>> real_solutions([x - y], [x, y]).family
(x - y,)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from sympy import CRootOf, Expr, Integer, Poly, Symbol, gcd, groebner, radsimp, sqrt, sqrtdenest

from derivations.exact_lp import exact_sign

__all__ = ["RealSolutions", "TooLarge", "real_solutions"]

#: Largest number of variables, and product of the degrees of the equations: a bound of the number of complex solutions.
MAX_VARIABLES, MAX_DEGREES = 10, 128
#: The same product where the solutions are infinitely many.
MAX_DEGREES_OF_A_CONTINUUM = 64
#: Largest degree of a coordinate over the rationals, and of one over the field of those before it: arithmetic beyond takes minutes.
MAX_ROOT_DEGREE, MAX_FURTHER_DEGREE = 4, 2


class TooLarge(ValueError):
    """A system is beyond what is solved exactly."""


@dataclass(frozen=True)
class RealSolutions:
    """What a system has.

    Parameters
    ----------
    points : tuple of tuples
        Every real solution in the variables asked for, sorted, where they are finitely many (over the complex numbers).
    family : tuple of Expr or None
        Equations of the solution set in these variables where it is infinite; empty for the whole space.
    """

    points: tuple[tuple[Expr, ...], ...]
    family: tuple[Expr, ...] | None = None


def real_solutions(
    equations: Sequence[Expr], variables: Sequence[Symbol], eliminate: Sequence[Symbol] = ()
) -> RealSolutions:
    """Solve a system for ``variables``; ``eliminate`` are further unknowns, for which some complex value must exist.

    What is solved is the closure of the projection: a point may lack values of the eliminated unknowns.

    Raises
    ------
    TooLarge
        If there are too many unknowns, the degrees are too high, or a field of roots is too large.
    """
    given = [u for u in (e.expand() for e in equations) if u != 0]
    if any(not u.free_symbols for u in given):
        return RealSolutions(())
    if not given:
        return RealSolutions((), ())
    unknowns = [*eliminate, *variables]
    polys = [Poly(u, *unknowns) for u in given]
    degrees = prod(max(p.total_degree(), 1) for p in polys)
    if len(unknowns) > MAX_VARIABLES or degrees > MAX_DEGREES:
        raise TooLarge(
            f"{len(unknowns)} unknowns and degrees with the product {degrees}; at most {MAX_VARIABLES} and {MAX_DEGREES} are "
            "solved exactly"
        )
    basis = groebner(polys, *unknowns, order="grevlex")
    if basis.exprs == [1]:
        return RealSolutions(())
    # A change of order is cheap where the solutions are finitely many; else the elimination itself is bounded.
    if basis.is_zero_dimensional:
        basis = basis.fglm("lex")
    elif degrees > MAX_DEGREES_OF_A_CONTINUUM:
        raise TooLarge(
            f"infinitely many solutions, the degrees having the product {degrees}; at most {MAX_DEGREES_OF_A_CONTINUUM} is solved"
        )
    else:
        basis = groebner(basis.exprs, *unknowns, order="lex")
    kept = [u for u in basis.exprs if not set(u.free_symbols) & set(eliminate)]
    leading = [Poly(u, *variables).monoms()[0] for u in kept]
    bounded = {j for monomial in leading for j, k in enumerate(monomial) if k and sum(monomial) == k}
    if len(bounded) < len(variables):
        return RealSolutions((), tuple(kept))
    points: list[tuple[Expr, ...]] = [()]
    for j in reversed(range(len(variables))):
        here = [u for u in kept if u.has(variables[j]) and not set(u.free_symbols) & set(variables[:j])]
        points = [(root, *tail) for tail in points for root in _roots(here, variables[j:], tail)]
    found = [p for p in points if _solves(kept, variables, p)]
    return RealSolutions(tuple(sorted(found, key=lambda p: [float(u) for u in p])))


def _roots(equations: Sequence[Expr], variables: Sequence[Symbol], tail: tuple[Expr, ...]) -> list[Expr]:
    """Return the real roots of the first variable, the others having the values ``tail``."""
    x, known = variables[0], dict(zip(variables[1:], tail, strict=True))
    common = None
    field = [u for u in tail if not u.is_Rational]
    for equation in equations:
        reduced = equation.subs(known).expand()
        p = Poly(reduced, x, extension=field) if field else Poly(reduced, x)
        if p.is_zero:
            continue
        common = p if common is None else gcd(common, p)
    if common is None or common.degree() < 1:
        return []
    return [root for factor, _ in common.factor_list()[1] for root in _roots_of(factor)]


def _roots_of(p: Poly) -> list[Expr]:
    """Return the real roots of an irreducible polynomial in increasing order, without multiplicity."""
    if p.degree() == 1:
        a, b = (u.as_expr() for u in p.all_coeffs())
        return [_neat(-b / a)]
    if p.degree() == 2:
        a, b, c = (u.as_expr() for u in p.all_coeffs())
        square = (b**2 - 4 * a * c).expand()
        if exact_sign(square) < 0:
            return []
        signs = sorted((-1, 1), key=lambda s: s * exact_sign(a))
        return [_neat((-b + s * sqrt(square)) / (2 * a)) for s in signs]
    rational = p.domain.is_QQ or p.domain.is_ZZ
    if not rational or p.degree() > MAX_ROOT_DEGREE:
        most = MAX_ROOT_DEGREE if rational else MAX_FURTHER_DEGREE
        raise TooLarge(
            f"coordinates of algebraic degree {p.degree()} over their field; at most {most} is solved exactly"
        )
    return [root for root, _ in p.real_roots(multiple=False)]


def _neat(u: Expr) -> Expr:
    return u if u.has(CRootOf) else sqrtdenest(radsimp(u.expand()))


def _solves(equations: Sequence[Expr], variables: Sequence[Symbol], point: tuple[Expr, ...]) -> bool:
    values = dict(zip(variables, point, strict=True))
    return all(exact_sign(Integer(0) + u.subs(values).expand()) == 0 for u in equations)
