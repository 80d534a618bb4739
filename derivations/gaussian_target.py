r"""A target on Gaussian inputs, taken apart: Hermite coefficients of its polynomial part, and the terms of a teacher network.

>>> from sympy import symbols
>>> x, y = symbols("x y", real=True)
>>> split_target(x**3 + x * y, [x, y])
({(3, 0): 1, (1, 0): 3, (1, 1): 1}, [])
>>> split_target(2 * relu(x - y), [x, y])[1][0].direction
(1, -1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from sympy import Abs, Add, Expr, Integer, Mul, Poly, Symbol, expand, factorial

from derivations.activations import Z, without_max
from derivations.errors import AssumptionError
from derivations.functions import relu
from derivations.gaussian_pairs import Term, terms_of

__all__ = ["Teacher", "split_target"]


@dataclass(frozen=True)
class Teacher:
    """A term of the target: a function of the linear form with coefficients ``direction``."""

    term: Term
    direction: tuple[Expr, ...]

    @property
    def variance(self) -> Expr:
        """Variance of the linear form."""
        return Add(*[u**2 for u in self.direction])


def split_target(target: Expr, used: Sequence[Symbol]) -> tuple[dict[tuple[int, ...], Expr], list[Teacher]]:
    """Return the coefficients in products of Hermite polynomials, by their orders, and the teacher terms.

    Parameters
    ----------
    target : Expr
        A polynomial in ``used`` plus terms ``coefficient * F(v . x)``.
    used : sequence of Symbol
        The coordinates that occur in it.

    Raises
    ------
    AssumptionError
        If a term is of neither kind, or F has no closed Gaussian means.
    """
    polynomial, teachers = Integer(0), []
    written = expand(without_max(target).replace(Abs, lambda u: 2 * relu(u) - u))
    for part in Add.make_args(written):
        if part.is_polynomial(*used):
            polynomial += part
        else:
            teachers.append(_teacher(part, used))
    return _hermite(expand(polynomial), used), teachers


def _teacher(part: Expr, used: Sequence[Symbol]) -> Teacher:
    """Read ``coefficient * F(v . x)``."""
    coefficient, function = part.as_independent(*used, as_Add=False)
    argument = expand(function.args[0]) if len(function.args) == 1 else Integer(0)
    inner = [s for s in used if argument.has(s)]
    if len(inner) == 1:  # exp(-q*x**2) is a function of one coordinate as well
        (term,) = terms_of(function.xreplace({inner[0]: Z}), Z)
        return Teacher(term.scaled(coefficient), tuple(Integer(int(s == inner[0])) for s in used))
    direction = tuple(argument.coeff(s, 1) for s in used)
    if not inner or expand(argument - Add(*[v * s for v, s in zip(direction, used, strict=True)])) != 0:
        raise AssumptionError(
            f"the term {part} of the target is neither a polynomial nor a function of a linear form v . x without constant; "
            "write the target as a polynomial plus a teacher network without biases"
        )
    (term,) = terms_of(function.func(Z), Z)
    return Teacher(term.scaled(coefficient), direction)


def _hermite(polynomial: Expr, used: Sequence[Symbol]) -> dict[tuple[int, ...], Expr]:
    r"""Return the coefficients in products of Hermite polynomials: :math:`x^n = \sum_j \frac{n!}{2^j j! (n - 2j)!} \mathrm{He}_{n-2j}`."""
    if not used:
        return {(): polynomial} if polynomial != 0 else {}
    out: dict[tuple[int, ...], Expr] = {}
    for powers, coefficient in Poly(polynomial, *used).terms():
        for halves in product(*[range(n // 2 + 1) for n in powers]):
            key = tuple(n - 2 * j for n, j in zip(powers, halves, strict=True))
            weight = Mul(
                *[
                    factorial(n) / (2**j * factorial(j) * factorial(n - 2 * j))
                    for n, j in zip(powers, halves, strict=True)
                ]
            )
            out[key] = out.get(key, Integer(0)) + coefficient * weight
    return {key: value for key, value in out.items() if expand(value) != 0}
