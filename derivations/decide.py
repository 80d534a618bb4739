r"""Three-valued decisions about scalar identities: proved, refuted with a witness, or undecided.

An identity is PROVED only by reduction to exactly 0, REFUTED only by an error-tracked evaluation that is not 0, and
UNDECIDED otherwise; ``Finding`` carries such an answer together with the value it is about.

>>> from sympy import sqrt
>>> is_zero(sqrt(3 + 2 * sqrt(2)) - 1 - sqrt(2)).name, is_zero(sqrt(2) - Rational(7, 5)).name
('PROVED', 'REFUTED')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sympy import Expr, Integer, Rational, Symbol, exp, expand, log, logcombine, simplify
from sympy.core.evalf import PrecisionExhausted

from derivations.claim import Status

__all__ = ["Decision", "Finding", "identically_zero", "is_zero", "vanishes_for_positive"]

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


@dataclass(frozen=True)
class Finding:
    """A property of a function, and how it is known.

    Parameters
    ----------
    value : object
        The value; None where the property is refuted or could not be decided.
    status : Status
        PROVED or CERTIFIED: the function has the property with this value.  REFUTED: it has it with no value.
        UNDECIDED: neither was shown.  SUPPORTED: measured.
    reason : str
        One sentence, mathematics between dollars.
    radius : Expr or None
        For CERTIFIED: the true value lies within ``radius`` of ``value``.
    """

    value: Any
    status: Status
    reason: str = ""
    radius: Expr | None = None

    @property
    def known(self) -> bool:
        """Whether there is a value that is proved or certified."""
        return self.status in (Status.PROVED, Status.CERTIFIED)


def is_zero(number: Expr) -> Status:
    """Decide whether a constant is 0: PROVED it is, REFUTED it is not, or UNDECIDED.

    Raises
    ------
    ValueError
        If ``number`` contains a symbol.
    """
    if number.free_symbols:
        raise ValueError(f"is_zero decides about constants, got {number} with symbols; use identically_zero")
    if number.is_zero:
        return Status.PROVED
    if not number.is_finite and number.is_infinite:
        return Status.REFUTED
    try:
        value = number.evalf(30, strict=True)
        if value.is_comparable and value != 0:
            return Status.REFUTED
    except (PrecisionExhausted, ValueError, TypeError):
        pass
    reduced = simplify(number) == 0 or simplify(logcombine(number.rewrite(log))) == 0
    return Status.PROVED if reduced else Status.UNDECIDED


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
    halves = [(sign, expr.subs(z, sign * _T)) for sign in (1, -1)]
    for sign, half in halves:
        witness = _witness(half)
        if witness is not None:
            return Decision(Status.REFUTED, expr, sign * witness)
    if all(_reduce(half) == 0 for _, half in halves):
        return Decision(Status.PROVED, Integer(0))
    return Decision(Status.UNDECIDED, expr)


def vanishes_for_positive(expr: Expr, t: Symbol) -> Decision:
    """Decide whether ``expr`` vanishes for all t > 0, as ``identically_zero`` does on each half-line.

    >>> from sympy import Abs, symbols
    >>> t = symbols("t", real=True)
    >>> vanishes_for_positive(Abs(t) - t, t).status.name, identically_zero(Abs(t) - t, t).status.name
    ('PROVED', 'REFUTED')
    """
    half = expr.subs(t, _T)
    witness = _witness(half)
    if witness is not None:
        return Decision(Status.REFUTED, expr, witness)
    return Decision(Status.PROVED, Integer(0)) if _reduce(half) == 0 else Decision(Status.UNDECIDED, expr)


def _witness(half: Expr) -> Expr | None:
    """Return a positive rational at which ``half``, a function of ``_T``, is certainly not 0."""
    for point in _WITNESSES:
        try:
            value = half.subs(_T, point).evalf(30, strict=True)
        except (PrecisionExhausted, ValueError, TypeError):
            continue
        if value.is_Float and value != 0:
            return point
    return None


def _reduce(expr: Expr) -> Expr:
    for form in (expand, lambda e: expand(e.rewrite(exp)), simplify, lambda e: simplify(e.rewrite(exp))):
        reduced = form(expr)
        if reduced == 0:
            return reduced
    return simplify(expr)
