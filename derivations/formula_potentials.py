r"""The output of a formula as polynomials in its trained parameters, for the exact count of conservation laws.

If :math:`f(\theta; x) = \sum_j \varphi_j(x)\, p_j(\theta)` with polynomials :math:`p_j` and linearly independent functions
:math:`\varphi_j`, the gradient fields of all inputs span the same space as the gradients of the :math:`p_j`.  Monomials in the inputs
are independent; other functions are shown to be by a determinant of their values that is not 0.

>>> from derivations.formula_model import FormulaProblem
>>> found = formula_potentials(FormulaProblem.of("a*b*x + a**2*sin(x)", ["a", "b"]))
>>> [str(p) for p in found.polynomials], found.whole
(['a**2', 'a*b'], True)
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from sympy import Expr, Integer, Matrix, Poly, PolynomialError, Rational, Symbol, parallel_poly_from_expr
from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement, PolyRing

from derivations.claim import Status
from derivations.decide import is_zero
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.functions import relu, step
from derivations.potentials import Potentials, Span, random_point

__all__ = ["formula_potentials", "in_ring"]

#: More functions of the inputs than this are not shown to be independent.
_MOST_FUNCTIONS = 5


def formula_potentials(
    problem: FormulaProblem, *, values: Mapping[str, Any] | None = None, seed: int = 0
) -> Potentials:
    """Return the polynomials whose gradients span the fields of a formula for all inputs.

    Parameters
    ----------
    problem : FormulaProblem
        Polynomial in its trained parameters, with rational coefficients and rates.
    values : mapping, optional
        Exact values of frozen parameters; random where they are not given.
    seed : int
        Of the random point and of random frozen values.

    Raises
    ------
    ValueError
        If no parameter is trained, or a value is given for one that is not frozen.
    AssumptionError
        If the formula is no such polynomial, or functions of the inputs are not shown to be independent.
    """
    trained = [s for s in problem.names if problem.block(s.name).trained and problem.block(s.name).rate != 0]
    frozen = [s for s in problem.names if s not in trained]
    if not trained:
        raise ValueError("no block is trained: there is no flow whose conserved functions could be counted")
    given = dict(values or {})
    if unknown := sorted(set(given) - {s.name for s in frozen}):
        raise ValueError(
            f"values are given for {unknown}, but the frozen blocks are {[s.name for s in frozen]}"
        )
    drawn = random_point(len(frozen), seed + 1)
    fixed = {
        s: _exact(given[s.name]) if s.name in given else Integer(int(number))
        for s, number in zip(frozen, drawn, strict=True)
    }
    formula = problem.one_sided.xreplace(fixed)
    rates = [problem.block(s.name).rate for s in trained]
    if formula.has(relu, step) or not all(rate.is_Rational for rate in rates):
        raise AssumptionError(_refusal(problem))
    ring = PolyRing([Symbol(s.name) for s in trained], QQ)
    functions = _by_function(formula, trained, problem, ring)
    found, span = [], Span()
    for polynomial in functions:
        if span.add(dict(polynomial.terms())):
            found.append(polynomial)
    numbers = tuple(QQ(int(rate.p), int(rate.q)) for rate in rates)
    return Potentials(ring, tuple(found), numbers, random_point(len(trained), seed), True)


def _refusal(problem: FormulaProblem) -> str:
    return (
        f"exact ranks need a formula that is a polynomial with rational coefficients in its trained parameters, got "
        f"{problem.formula}; numerics.law_rank counts for it numerically."
    )


def _exact(value: Any) -> Expr:
    number = value if isinstance(value, Expr) else Rational(str(value))
    if not number.is_Rational:
        raise ValueError(f"a frozen value is {value}: exact ranks need a rational number")
    return number


def _by_function(
    formula: Expr, trained: Sequence[Symbol], problem: FormulaProblem, ring: PolyRing
) -> list[PolyElement]:
    """Return the polynomials p_j, one for each function of the inputs."""
    try:
        polynomial = Poly(formula, *trained)
        terms = [(exponents, u) for exponents, u in polynomial.terms() if any(exponents)]
        coefficients, options = parallel_poly_from_expr([*[u for _, u in terms], sum(problem.inputs)])
    except PolynomialError:
        raise AssumptionError(_refusal(problem)) from None
    parts: dict[tuple[int, ...], dict[tuple[int, ...], Any]] = {}
    for (exponents, _), coefficient in zip(terms, coefficients[:-1], strict=True):
        for powers, number in coefficient.terms():
            if not number.is_Rational:
                raise AssumptionError(_refusal(problem))
            parts.setdefault(powers, {})[exponents] = QQ(int(number.p), int(number.q))
    if not set(options.gens) <= set(problem.inputs):
        functions = [Poly({powers: 1}, *options.gens).as_expr() for powers in sorted(parts)]
        if not _independent(functions, problem.inputs):
            raise AssumptionError(
                f"the functions {', '.join(map(str, functions))} of the inputs are not shown to be linearly independent, which "
                "an exact count needs; numerics.law_rank counts numerically."
            )
    return [ring.from_dict(part) for _, part in sorted(parts.items())]


def _independent(functions: Sequence[Expr], inputs: Sequence[Symbol]) -> bool:
    """Whether a determinant of values at rational points is certainly not 0."""
    if len(functions) > _MOST_FUNCTIONS:
        return False
    draw = random.Random(0)
    for _ in range(3):
        points = [{s: Rational(draw.randint(1, 40), 13) for s in inputs} for _ in functions]
        determinant = Matrix([[u.xreplace(point) for u in functions] for point in points]).det()
        if determinant.is_number and is_zero(determinant) is Status.REFUTED:
            return True
    return False


def in_ring(problem: FormulaProblem, expr: Expr, like: Potentials) -> PolyElement:
    """Return a polynomial in entries of the trained blocks as an element of the ring of ``like``."""
    names = {str(s): s for s in like.ring.symbols}
    entries = {block.tensor(): names[block.name] for block in problem.blocks if block.name in names}
    return like.ring.from_expr(expr.xreplace(entries))
