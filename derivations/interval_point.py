r"""Risk, gradient and Hessian over an interval at given parameters, in exact arithmetic.

The network is a piecewise polynomial between its sorted kinks, so every integral is one of a polynomial:

.. math::
    \partial_{a_k} R = s\!\int\! r\,\sigma(z_k), \quad \partial_{w_k} R = s a_k\!\int\! r\,\sigma'(z_k)\,x, \quad
    \partial_{b_k} R = s a_k\!\int\! r\,\sigma'(z_k), \quad \partial_c R = \int\! r ,
    \qquad r = \kappa\, \ell'(f, y) .

The Hessian has beside the integrals of products the terms of moving kinks: where sigma' jumps by J,
:math:`J s a_k r(p_k) / |w_k|` times :math:`(p_k, 1)^\top (p_k, 1)` in (w_k, b_k), for kinks inside the interval.

>>> from sympy import Rational, Symbol
>>> from derivations.interval import IntervalProblem
>>> from derivations.problem import Problem
>>> x = Symbol("x", real=True)
>>> network = Problem.two_layer("relu", "square", input_bias=True, output_bias=True, factor=2)
>>> line = IntervalProblem(network, Integer(0), Integer(1), x, x)
>>> third = Rational(1, 3)
>>> saddle = {"a": [2*third, -2*third], "w": [1, -1], "b": [-third, 2*third], "c": Rational(1, 2)}
>>> point = interval_point(line, saddle)
>>> point.value, point.gradient
(1/972, (0, 0, 0, 0, 0, 0, 0))
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import Abs, Expr, Integer, Matrix, Poly, expand, radsimp, sympify

from derivations.activations import Z
from derivations.errors import AssumptionError
from derivations.formula import parse_number
from derivations.interval import IntervalProblem
from derivations.losses import F, Y
from derivations.piecewise import is_less
from derivations.problem import d, m

__all__ = ["IntervalPoint", "interval_point"]

_Coefficients = tuple[Expr, ...]  # of a polynomial in x, from the constant term upwards


@dataclass(frozen=True)
class IntervalPoint:
    """An interval problem at exact parameters; flat order a, w, b, c.

    Parameters
    ----------
    interval : IntervalProblem
        With numbers for the ends and in the target.
    a, w, b : tuple of Expr
        Exact real numbers, one for each neuron; b is 0 without input bias.
    c : Expr
        Output bias, 0 without.
    """

    interval: IntervalProblem
    a: tuple[Expr, ...]
    w: tuple[Expr, ...]
    b: tuple[Expr, ...]
    c: Expr

    @cached_property
    def _scale(self) -> Expr:
        return self.interval.problem.scale.subs({m: len(self.a), d: 1})

    @cached_property
    def kinks(self) -> tuple[Expr | None, ...]:
        """The kink of each neuron in the open interval, None where there is none."""
        out: list[Expr | None] = []
        left, right = self.interval.half_lines
        for w, b in zip(self.w, self.b, strict=True):
            kink = None if left == right or w == 0 else _tidy(-b / w)
            inside = (
                kink is not None and is_less(self.interval.lower, kink) and is_less(kink, self.interval.upper)
            )
            out.append(kink if inside else None)
        return tuple(out)

    @cached_property
    def _ends(self) -> tuple[Expr, ...]:
        found = [piece.lower for piece in self.interval.target_pieces] + [self.interval.upper]
        for kink in self.kinks:
            if kink is None:
                continue
            position = next(j for j, end in enumerate(found) if end == kink or is_less(kink, end))
            if found[position] != kink:
                found.insert(position, kink)
        return tuple(found)

    @cached_property
    def _pieces(
        self,
    ) -> list[tuple[Expr, Expr, _Coefficients, list[tuple[_Coefficients, _Coefficients]], _Coefficients]]:
        """Return (u, v, f, [(sigma(z_k), sigma'(z_k))], y) on each interval without kink, polynomials in x."""
        left, right = self.interval.half_lines
        sigma = self.interval.problem.activation
        at_kink = sigma.derivative(1).subs(Z, 0) if left != right else left.diff(Z).subs(Z, 0)  # type: ignore[union-attr]
        out, targets = [], list(self.interval.target_pieces)
        for u, v in itertools.pairwise(self._ends):
            middle = (u + v) / 2
            neurons = []
            for w, b in zip(self.w, self.b, strict=True):
                z = (b, w)
                value = _tidy(w * middle + b)
                if w == 0 and b == 0:  # degenerate: the stated derivative at the kink
                    neurons.append(((left.subs(Z, 0),), (at_kink,)))
                    continue
                side = right if is_less(Integer(0), value) else left
                neurons.append((_composed(side, z), _composed(side.diff(Z), z)))
            f: _Coefficients = (self.c,)
            for a, (value_of, _) in zip(self.a, neurons, strict=True):
                f = _plus(f, _times((self._scale * a,), value_of))
            piece = next(t for t in targets if t.upper == v or is_less(v, t.upper))
            y = tuple(reversed(Poly(piece.expr, self.interval.x).all_coeffs()))
            out.append((u, v, f, neurons, y))
        return out

    def _loss(self, order: int, f: _Coefficients, y: _Coefficients) -> _Coefficients:
        """Return kappa times the derivative of the loss along f(x), y(x), a polynomial in x."""
        loss = self.interval.problem.loss.derivative(order)  # type: ignore[union-attr]  # checked by the interval
        total: _Coefficients = (Integer(0),)
        for (i, j), coefficient in Poly(loss, F, Y).terms():
            term: _Coefficients = (self.interval.weight * coefficient,)
            for factor_ in [f] * i + [y] * j:
                term = _times(term, factor_)
            total = _plus(total, term)
        return total

    @cached_property
    def value(self) -> Expr:
        """The risk."""
        total = sum((_integral(self._loss(0, f, y), u, v) for u, v, f, _, y in self._pieces), Integer(0))
        decay = self.interval.problem.weight_decay / 2
        return _tidy(total + decay * sum(t**2 for t in self._theta))

    @property
    def _theta(self) -> tuple[Expr, ...]:
        problem = self.interval.problem
        out = (*self.a, *self.w, *(self.b if problem.input_bias else ()))
        return (*out, self.c) if problem.output_bias else out

    def _tangents(self, neurons: list[tuple[_Coefficients, _Coefficients]]) -> list[_Coefficients]:
        """Return the derivative of f in each parameter, polynomials in x."""
        problem, s = self.interval.problem, self._scale
        slopes = [_times((s * a,), slope) for a, (_, slope) in zip(self.a, neurons, strict=True)]
        out = [_times((s,), value) for value, _ in neurons]
        out += [_times((Integer(0), Integer(1)), slope) for slope in slopes]
        out += slopes if problem.input_bias else []
        return out + ([(Integer(1),)] if problem.output_bias else [])

    @cached_property
    def gradient(self) -> tuple[Expr, ...]:
        """Derivatives of the risk in flat order, frozen blocks included."""
        total = [self.interval.problem.weight_decay * t for t in self._theta]
        for u, v, f, neurons, y in self._pieces:
            r = self._loss(1, f, y)
            for place, tangent in enumerate(self._tangents(neurons)):
                total[place] += _integral(_times(r, tangent), u, v)
        return tuple(_tidy(u) for u in total)

    @cached_property
    def hessian(self) -> Matrix:
        """Second derivatives of the risk in flat order.

        Raises
        ------
        AssumptionError
            Where there are none: a neuron with w_k = b_k = 0, or a kink on an end or on a jump of the target where the
            residual does not vanish.
        """
        problem, size, count = self.interval.problem, len(self._theta), len(self.a)
        total = problem.weight_decay * Matrix.eye(size)
        for k in range(count):
            self._check_classical(k)
        for u, v, f, neurons, y in self._pieces:
            r, second = self._loss(1, f, y), self._loss(2, f, y)
            tangents = self._tangents(neurons)
            for i in range(size):
                for j in range(i, size):
                    total[i, j] += _integral(_times(second, _times(tangents[i], tangents[j])), u, v)
            for k, (_, slope) in enumerate(neurons):
                # f is linear in a_k, so the second derivatives of f are in the 3 x 3 block of neuron k.
                bend = self._bend(k, u, v)
                places = self._places(k)
                for power, place in enumerate(places):
                    moment = _times(_power(1 - power), slope)
                    total[k, place] += self._scale * _integral(_times(r, moment), u, v)
                    for other, target in enumerate(places[power:], start=power):
                        moment = _times(_power(2 - power - other), bend)
                        total[place, target] += self._scale * self.a[k] * _integral(_times(r, moment), u, v)
        for k, kink in enumerate(self.kinks):
            if kink is None:
                continue
            weight = self.interval.jump * self._scale * self.a[k] * self._residual(kink) / Abs(self.w[k])
            for power, place in enumerate(self._places(k)):
                for other, target in enumerate(self._places(k)[power:], start=power):
                    total[place, target] += weight * kink ** (2 - power - other)
        for i, j in itertools.combinations(range(size), 2):
            total[j, i] = total[i, j]
        return total.applyfunc(_tidy)

    def _places(self, k: int) -> list[int]:
        """Return the flat places of w_k and b_k."""
        count = len(self.a)
        return [count + k, *([2 * count + k] if self.interval.problem.input_bias else [])]

    def _bend(self, k: int, u: Expr, v: Expr) -> _Coefficients:
        """Return sigma''(z_k) between neighbouring kinks."""
        left, right = self.interval.half_lines
        z = (self.b[k], self.w[k])
        side = right if is_less(Integer(0), _tidy(self.w[k] * (u + v) / 2 + self.b[k])) else left
        return _composed(side.diff(Z, 2), z)

    def _residual(self, at: Expr) -> Expr:
        """Return r at a point, from the piece to its left."""
        _, _, f, _, y = next(p for p in self._pieces if p[1] == at or is_less(at, p[1]))
        return _value(self._loss(1, f, y), at)

    def _check_classical(self, k: int) -> None:
        a, w, b = self.a[k], self.w[k], self.b[k]
        if self.interval.jump == 0:
            return
        if w == 0 and b == 0:
            raise AssumptionError(
                f"neuron {k + 1} has w = b = 0: the risk need not have second derivatives there"
            )
        if a == 0 or w == 0 or not self.interval.problem.input_bias:
            return
        kink = _tidy(-b / w)
        _, _, f, _, y = self._pieces[0 if kink == self.interval.lower else -1]
        on_end = kink in (self.interval.lower, self.interval.upper)
        if on_end and _tidy(_value(self._loss(1, f, y), kink)) != 0:
            raise AssumptionError(
                f"the kink of neuron {k + 1} lies on the end {kink} of the interval, where r does not vanish: the risk has "
                "no second derivatives there"
            )
        for before, after in itertools.pairwise(self.interval.target_pieces):
            jump = (after.expr - before.expr).subs(self.interval.x, kink)
            if before.upper == kink and _tidy(jump) != 0:
                raise AssumptionError(
                    f"the kink of neuron {k + 1} lies on the jump of the target at {kink}: the risk has no second "
                    "derivatives there"
                )


def interval_point(interval: IntervalProblem, theta: Mapping[str, Any]) -> IntervalPoint:
    """Read parameters exactly.

    Parameters
    ----------
    interval : IntervalProblem
        Ends and target without further symbols.
    theta : mapping
        Blocks as in a parameter file, ``{"a": [..], "w": [[..]] or [..], "b": [..], "c": ..}``; numbers, exact text or
        exact SymPy numbers.  A float is the decimal number it shows.

    Raises
    ------
    ValueError
        If a block is missing, unknown or of the wrong length.
    AssumptionError
        If the problem has symbols beside x, or is not piecewise polynomial.
    """
    interval.check_exact()
    loose = (interval.lower.free_symbols | interval.upper.free_symbols | interval.target.free_symbols) - {
        interval.x
    }
    if loose:
        raise AssumptionError(f"an exact value needs numbers for {', '.join(sorted(map(str, loose)))}")
    known = [block.name for block in interval.problem.blocks]
    if sorted(theta) != sorted(known):
        raise ValueError(f"the blocks are {', '.join(theta)}; this network has {', '.join(known)}")
    rows = {name: [_number(u, name) for u in _flat(theta[name])] for name in known}
    width = len(rows["a"])
    for name in known:
        if len(rows[name]) != (1 if name == "c" else width) or not width:
            raise ValueError(f"block '{name}' has {len(rows[name])} numbers, a has {width}")
    b = rows.get("b", [Integer(0)] * width)
    c = rows.get("c", [Integer(0)])[0]
    return IntervalPoint(interval, tuple(rows["a"]), tuple(rows["w"]), tuple(b), c)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [u for part in value for u in _flat(part)]
    return [value]


def _number(value: Any, name: str) -> Expr:
    number = parse_number(value) if isinstance(value, int | float | str) else sympify(value, strict=True)
    if not (isinstance(number, Expr) and number.is_number and number.is_real):
        raise ValueError(f"block '{name}' holds {value}, which is no exact real number")
    return number


def _tidy(value: Expr) -> Expr:
    """Return the normal form of a number: rationals are their own, of roots the denominators are cleared."""
    value = sympify(value, strict=True)
    return value if value.is_Rational else expand(radsimp(expand(value)))


def _plus(left: _Coefficients, right: _Coefficients) -> _Coefficients:
    pairs = itertools.zip_longest(left, right, fillvalue=Integer(0))
    return tuple(u + v for u, v in pairs)


def _times(left: _Coefficients, right: _Coefficients) -> _Coefficients:
    out: list[Expr] = [Integer(0)] * (len(left) + len(right) - 1)
    for i, u in enumerate(left):
        if u != 0:
            for j, v in enumerate(right):
                out[i + j] += u * v
    return tuple(_tidy(u) for u in out)


def _power(exponent: int) -> _Coefficients:
    return (*[Integer(0)] * exponent, Integer(1))


def _composed(side: Expr, z: _Coefficients) -> _Coefficients:
    """Return the polynomial ``side`` in Z at z(x), by Horner's rule."""
    total: _Coefficients = (Integer(0),)
    for coefficient in Poly(side, Z).all_coeffs():
        total = _plus(_times(total, z), (coefficient,))
    return total


def _value(coefficients: Sequence[Expr], at: Expr) -> Expr:
    total: Expr = Integer(0)
    for coefficient in reversed(coefficients):
        total = _tidy(total * at + coefficient)
    return total


def _integral(coefficients: _Coefficients, u: Expr, v: Expr) -> Expr:
    antiderivative = (Integer(0), *[c / (power + 1) for power, c in enumerate(coefficients)])
    return _value(antiderivative, v) - _value(antiderivative, u)
