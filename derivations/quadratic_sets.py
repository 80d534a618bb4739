r"""All critical points of a network with sigma = kappa z^2 over an interval, for a polynomial target, in exact strata.

With :math:`e = f - y` and the moments :math:`M_j = \omega \int e\,x^j`, criticality reads :math:`M_0 = 0` and for each neuron

.. math::
    w^2 M_2 + 2 w b M_1 = 0, \qquad a\,(w M_2 + b M_1) = 0, \qquad a\,w M_1 = 0 .

* :math:`M_1 \ne 0`: a neuron lies on one of three lines, a = w = 0, or w = b = 0, or a = 0 with :math:`b = -w M_2 / (2 M_1)`.  So f is
  constant.  On each line, 0 aside, the Hessian has one negative and one positive eigenvalue beside a zero, from the cross
  derivatives with e; at 0 the cubic term :math:`a\,(w^2 M_2 + 2 w b M_1)` takes both signs.
* :math:`M_1 = 0 \ne M_2`: w = 0, and f is constant.  In the w the Hessian is :math:`2 s \kappa M_2\,\mathrm{diag}(a)` and a positive matrix of
  rank one, :math:`(2 s \kappa)^2 \omega V (a b)(a b)^\top` with V the second moment about the middle once c is minimised over.  Its
  determinant is that of the diagonal times :math:`\tau = 1 + (2 s \kappa \omega V / M_2) \sum a\,b^2`: with tau < 0 one negative
  eigenvalue of the diagonal is turned.
* :math:`M_1 = M_2 = 0`: f is the best polynomial of degree 2, and the risk is the least possible.

Source: Cheridito, Jentzen, Rossmannek, arXiv:2103.10922, for affine targets; derived anew here, for polynomials.

>>> from sympy import Integer, Symbol
>>> from derivations.problem import Problem
>>> x = Symbol("x", real=True)
>>> network = Problem.two_layer("quadratic", "square", input_bias=True, output_bias=True, factor=2)
>>> found = quadratic_sets(IntervalProblem(network, Integer(0), Integer(1), x, x), 1)
>>> found.values, found.notes
((1/12,), ('the infimum 0 of the risk is not attained',))
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from sympy import Expr, Integer, Matrix, Poly, expand

from derivations.activations import Z
from derivations.affine_target import sign_of, tidy
from derivations.affine_target_sets import check_plain, loss_weight
from derivations.critical_sets import Boundary, CriticalSet, CriticalSets, Stratum, check_width
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.piecewise import integral
from derivations.problem import d, m

__all__ = ["quadratic_sets"]

_ZERO, _ONE = Integer(0), Integer(1)
_Neuron = tuple[Expr, Expr, Expr]


def quadratic_sets(interval: IntervalProblem, width: int) -> CriticalSets:
    """Return all critical points at a width.

    Parameters
    ----------
    interval : IntervalProblem
        Activation kappa z^2, square loss, polynomial target, numbers for everything, all blocks trained, no weight decay.
    width : int
        From 1 to ``critical_sets.MAX_WIDTH``.

    Raises
    ------
    AssumptionError
        If the problem is of another kind.
    ValueError
        If the width is not served.
    """
    check_width(width)
    check_plain(interval)
    left, right = interval.half_lines
    kappa = right.coeff(Z, 2)
    if left != right or kappa == 0 or expand(right - kappa * Z**2) != 0:
        raise AssumptionError(f"the activation {right} is not a multiple of {Z}**2")
    if len(interval.target_pieces) > 1:
        raise AssumptionError(f"the target {interval.target} is not one polynomial in {interval.x}")
    loose = (interval.lower.free_symbols | interval.upper.free_symbols | interval.target.free_symbols) - {
        interval.x
    }
    if loose:
        raise AssumptionError(f"numbers are needed for {', '.join(sorted(map(str, loose)))}")
    return _Quadratic(interval, width, kappa).solve()


class _Quadratic:
    def __init__(self, interval: IntervalProblem, width: int, kappa: Expr) -> None:
        self.interval, self.width = interval, width
        self.x, self.y = interval.x, interval.target_pieces[0].expr
        self.omega = loss_weight(interval)
        self.factor = kappa * interval.problem.scale.subs({m: width, d: 1})
        self.mean = self._integral(self.y) / self._integral(_ONE)
        self.best = self._projection()

    def _integral(self, expr: Expr) -> Expr:
        return tidy(integral(expand(expr), self.x, self.interval.lower, self.interval.upper))

    def _risk(self, f: Expr) -> Expr:
        return tidy(self.omega * self._integral((f - self.y) ** 2) / 2)

    def _projection(self) -> tuple[Expr, Expr, Expr]:
        """Return the coefficients of 1, x, x^2 of the best polynomial."""
        powers = [self.x**k for k in range(3)]
        gram = Matrix(3, 3, lambda i, j: self._integral(powers[i] * powers[j]))
        found = gram.LUsolve(Matrix([self._integral(self.y * p) for p in powers]))
        return tuple(tidy(u) for u in found)

    def solve(self) -> CriticalSets:
        first, second = (tidy(self.omega * self._integral((self.mean - self.y) * self.x**k)) for k in (1, 2))
        sets, notes = [], []
        _, linear, square = self.best
        if self.width > 1 or sign_of(square) or not sign_of(linear):
            sets.append(self._least())
        else:
            notes.append(f"the infimum {self._risk(self._polynomial())} of the risk is not attained")
        if sign_of(first):
            sets.append(self._lines(first, second))
        elif sign_of(second):
            sets.append(self._plane(second))
        method = "for each value of the first two moments of f - y the equations of a neuron are solved"
        return CriticalSets(self.width, tuple(sets), method, tuple(notes))

    def _polynomial(self) -> Expr:
        return sum((u * self.x**k for k, u in enumerate(self.best)), _ZERO)

    def _theta(self, neurons: Sequence[_Neuron], constant: Expr) -> dict[str, Any]:
        """Return the blocks, with the output bias that makes the constant term of f what is given."""
        a, w, b = (list(u) for u in zip(*neurons, strict=True))
        c = constant - self.factor * sum(u * v**2 for u, v in zip(a, b, strict=True))
        return {"a": a, "w": w, "b": b, "c": tidy(c)}

    def _lines(self, first: Expr, second: Expr) -> CriticalSet:
        place = tidy(second / (2 * first))
        lines: list[tuple[str, _Neuron]] = [
            ("constant (a = w = 0, b)", (_ZERO, _ZERO, _ONE)),
            ("silent (w = b = 0, a)", (_ONE, _ZERO, _ZERO)),
            (f"flat (a = 0), zero at {place}", (_ZERO, _ONE, -place)),
        ]
        count = self.width
        strata = tuple(
            Stratum(
                tuple(name for name, _ in chosen),
                count,
                (count, count, count + 1),
                "saddle",
                "the Hessian has a negative eigenvalue",
                self._theta([u for _, u in chosen], self.mean),
            )
            for chosen in itertools.combinations_with_replacement(lines, count)
        )
        zero = Boundary(
            "some neuron is zero (a = w = b = 0)", "saddle", "the third derivatives there take both signs"
        )
        return CriticalSet("constant", self._risk(self.mean), strata, (zero,))

    def _plane(self, second: Expr) -> CriticalSet:
        side = sign_of(self.factor) * sign_of(second)
        middle = (self.interval.lower + self.interval.upper) / 2
        rate = 2 * self.omega * self._integral((self.x - middle) ** 2) / second * self.factor
        strata = []
        for down, turned in itertools.product(range(self.width + 1), (False, True)):
            if turned and not down:
                continue
            signs = [-side] * down + [side] * (self.width - down)
            # tau = 1 + rate * sum a b^2, and rate * a < 0 for the first neuron.
            b = 1 + int(1 / abs(float(rate)) ** 0.5) if turned else 0
            negative = down - turned
            tau = "" if not down else f"; tau {'<' if turned else '>'} 0"
            names = tuple(f"w = 0, a {'>' if sign > 0 else '<'} 0{tau}" for sign in signs)
            reason = (
                "the Hessian has a negative eigenvalue"
                if negative
                else "the zero eigenvalues are those of the manifold"
            )
            neurons = [(Integer(sign), _ZERO, Integer(b if j == 0 else 0)) for j, sign in enumerate(signs)]
            strata.append(
                Stratum(
                    names,
                    2 * self.width,
                    (negative, 2 * self.width, self.width - negative + 1),
                    "saddle" if negative else "minimum",
                    reason,
                    self._theta(neurons, self.mean),
                )
            )
        left_open = f"all a != 0 and tau = 1 + ({tidy(rate)}) * (sum of a b^2) = 0"
        boundary = (
            Boundary("some a = 0", "saddle", "after a small change of a, w lowers the risk"),
            Boundary(left_open, "undecided", "one more eigenvalue is zero there"),
        )
        return CriticalSet("constant", self._risk(self.mean), tuple(strata), boundary)

    def _least(self) -> CriticalSet:
        """Return the points where f is the best polynomial."""
        constant, linear, square = self.best
        one = 1 / self.factor
        rank = 3
        if self.width > 1:
            rest = [one] * (self.width - 2)
            last = tidy(square * one - one - sum(rest))
            neurons = [(one, _ONE, linear / 2), *[(u, _ONE, _ZERO) for u in (*rest, last)]]
        elif sign_of(square):
            neurons = [(tidy(square * one), _ONE, tidy(linear / (2 * square)))]
        else:
            neurons, rank = [(_ONE, _ZERO, _ONE)], 2
        size = 3 * self.width + 1
        value = self._risk(self._polynomial())
        reason = "no polynomial of degree 2 has a smaller risk"
        stratum = Stratum(
            ("any",) * self.width,
            size - rank,
            (0, size - rank, rank),
            "minimum",
            reason,
            self._theta(neurons, constant),
        )
        rest_of = Boundary("all other parameters with this function", "minimum", reason)
        exact = Poly(self.y, self.x).degree() <= 2
        return CriticalSet(
            "f = y" if exact else "best quadratic polynomial", value, (stratum,), (rest_of,), least=True
        )
