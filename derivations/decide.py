"""Three-valued decisions about scalar identities: proved, refuted with a witness, or undecided."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, Integer, Rational, Symbol, exp, expand, simplify
from sympy.core.evalf import PrecisionExhausted

from derivations.claim import Status

__all__ = ["Decision", "identically_zero"]

_T = Symbol("t", positive=True)
_WITNESSES = (Rational(3, 7), Rational(2), Rational(11, 5), Rational(1, 13))


@dataclass(frozen=True)
class Decision:
    """Outcome for ``expr == 0``; ``difference`` is what is left of it, ``witness`` a point where it is not 0."""

    status: Status
    difference: Expr
    witness: Expr | None = None

    @property
    def proved(self) -> bool:
        """Whether the identity is proved."""
        return self.status is Status.PROVED

    @property
    def refuted(self) -> bool:
        """Whether the identity is refuted."""
        return self.status is Status.REFUTED


def identically_zero(expr: Expr, z: Symbol) -> Decision:
    """Decide whether ``expr`` vanishes for all real ``z != 0``.

    Both half-lines are treated separately, with ``z = t`` and ``z = -t`` for a positive ``t``: relu, step, Abs and
    sign then evaluate.  PROVED means that SymPy reduced both to exactly 0 by named rewritings (expand, rewrite in
    exponentials, simplify); REFUTED means that an error-tracked evaluation to 30 digits is non-zero at a rational point.

    >>> from sympy import symbols, tanh
    >>> z = symbols("z", real=True)
    >>> identically_zero(tanh(-z) + tanh(z), z).status, identically_zero(z - tanh(z), z).status
    (<Status.PROVED: 'PROVED'>, <Status.REFUTED: 'REFUTED'>)
    """
    # A point where it does not vanish is found in milliseconds; simplification of what is not zero can take seconds.
    for sign in (1, -1):
        half = expr.subs(z, sign * _T)
        for point in _WITNESSES:
            try:
                value = half.subs(_T, point).evalf(30, strict=True)
            except (PrecisionExhausted, ValueError, TypeError):
                continue
            if value.is_Float and value != 0:
                return Decision(Status.REFUTED, expr, sign * point)
    for sign in (1, -1):
        if _reduce(expr.subs(z, sign * _T)) != 0:
            return Decision(Status.UNDECIDED, expr)
    return Decision(Status.PROVED, Integer(0))


def _reduce(expr: Expr) -> Expr:
    for form in (expand, lambda e: expand(e.rewrite(exp)), simplify, lambda e: simplify(e.rewrite(exp))):
        reduced = form(expr)
        if reduced == 0:
            return reduced
    return simplify(expr)
