r"""How the integrals of an interval problem are computed: where the integrands are cut, and which degree they have.

Between neighbouring kinks of the network and of the target every integrand of risk, gradient and Hessian is smooth.
With an activation of degree p on both half lines, a target of degree t and a loss of degree L it is a polynomial of degree
:math:`L \max(p, t, 1)` at most, for which q Gauss points are exact as soon as :math:`2q - 1` is not below that degree.

>>> from derivations.problem import Problem
>>> from sympy import Symbol
>>> x = Symbol("x", real=True)
>>> relu = Problem.two_layer("relu", "square", input_bias=True)
>>> interval_rule(IntervalProblem(relu, Integer(0), Integer(1), x, abs(2 * x - 1)))
IntervalRule(ends=(0.0, 0.5, 1.0), moves=True, points=2)
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Integer, Poly

from derivations.activations import Z
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.piecewise import is_less

__all__ = ["IntervalRule", "interval_rule"]


@dataclass(frozen=True)
class IntervalRule:
    """Where integrands are cut, and how many Gauss points on each part are exact.

    Attributes
    ----------
    ends : tuple of float
        Ends of the parts on which the integrands are smooth, the kinks of the neurons left aside.
    moves : bool
        Whether the integrands also have kinks at the moving :math:`-b_k / w_k`.
    points : int or None
        Gauss points on each part that are exact; None where the integrands are no polynomials.
    """

    ends: tuple[float, ...]
    moves: bool
    points: int | None


def interval_rule(interval: IntervalProblem) -> IntervalRule:
    """Return how the integrals of a problem are computed.

    Raises
    ------
    AssumptionError
        If the problem has symbols beside x.
    """
    parts = (interval.lower, interval.upper, interval.target)
    loose = set().union(*[u.free_symbols for u in parts]) - {interval.x}
    if loose:
        raise AssumptionError(f"numbers are needed for {', '.join(sorted(map(str, loose)))}")
    problem, zero = interval.problem, Integer(0)
    ends = [piece.lower for piece in interval.target_pieces] + [interval.upper]
    assert problem.activation is not None  # checked by the interval, as is the loss
    assert problem.loss is not None
    kinked = problem.activation.is_smooth is not True and interval.half_lines[0] != interval.half_lines[1]
    if kinked and not problem.input_bias and is_less(interval.lower, zero) and is_less(zero, interval.upper):
        ends = sorted({*ends, zero}, key=float)  # without bias every kink stays at x = 0
    points = None
    if not interval.inexact:
        p = max(Poly(side, Z).degree() for side in interval.half_lines)
        t = max(Poly(piece.expr, interval.x).degree() for piece in interval.target_pieces)
        degree = Poly(problem.loss.expr, *sorted(problem.loss.expr.free_symbols, key=str)).total_degree()
        points = int(degree * max(p, t, 1)) // 2 + 1
    return IntervalRule(tuple(float(u) for u in ends), kinked and problem.input_bias, points)
