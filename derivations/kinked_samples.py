r"""All Clarke-critical points of a small (leaky) relu network with one input on samples with the square loss, exactly.

Neuron k has on sample i the slope :math:`s_i \in \{g_-, g_+\}` by the sign of :math:`z_i = w x_i + b`; at most one sample has
:math:`z_j = 0` unless w = b = 0.  With residuals :math:`r = \partial R / \partial f`, a point is Clarke-critical iff :math:`\sum r = 0` (output
bias) and for each neuron with a != 0 there is a :math:`\rho` between :math:`g_- r_j` and :math:`g_+ r_j` with

.. math:: \sum_{i \ne j} s_i r_i\,(x_i, 1) + \rho\,(x_j, 1) = 0,

and :math:`\sum r_i \sigma(z_i) = 0` for each with a = 0.  Hence r is orthogonal to the span V of what the neurons can do in their cells and
walls, f is the projection of y to V, and what is left is whether :math:`(\alpha, \beta) = a\,(w, b)` exist with these signs and this f:
linear inequalities.  All combinations of signs are gone through, so the list is complete.

As the loss is convex, :math:`R(\theta') - R(\theta) \ge \sum_k a_k' \sum_i r_i \sigma(z_{ik}')`, and near the point the inner sum is
:math:`r_j \sigma(z_j') - \rho z_j'`.  So the point is a local minimum if :math:`a r_j \ge 0` at each wall and the sum vanishes near each
neuron with a = 0; and otherwise some direction descends, at first order in the deviation.

>>> found = kinked_points("relu", [-1, 0, 1], [1, 0, 1], 1)
>>> [(p.value, p.kind, p.neurons) for p in found.points if p.kind == "minimum"][0]
(1/4, 'minimum', ('left, kink between -1 and 0, a > 0',))
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import Expr, Integer, Matrix

from derivations.activations import Activation, Z, activation
from derivations.errors import AssumptionError
from derivations.exact_lp import exact_numbers, exact_sign, nonnegative_solution
from derivations.strict_lp import strict_solution

__all__ = ["MAX_SAMPLES", "MAX_WIDTH", "KinkedPoint", "KinkedPoints", "kinked_points"]

#: Largest sizes that are gone through.
MAX_SAMPLES, MAX_WIDTH = 6, 2
_ZERO, _ONE = Integer(0), Integer(1)
_Vector = list[Expr]


@dataclass(frozen=True)
class KinkedPoint:
    """Clarke-critical points with one combination of signs: a manifold, by one of its points.

    Parameters
    ----------
    value : Expr
        The risk.
    kind : str
        ``minimum`` (local), ``saddle``, or ``descends`` where only a descent is shown.
    reason : str
        On what ground.
    neurons : tuple of str
        What each neuron does.
    dimension : int
        Of the manifold.
    differentiable : bool
        Whether the risk is differentiable there.
    theta : dict
        A point: a, w, b, c, exact.
    """

    value: Expr
    kind: str
    reason: str
    neurons: tuple[str, ...]
    dimension: int
    differentiable: bool
    theta: dict[str, Any]


@dataclass(frozen=True)
class KinkedPoints:
    """The complete list, by rising value; the lowest value is the least of the risk, which is attained."""

    points: tuple[KinkedPoint, ...]

    @property
    def values(self) -> tuple[Expr, ...]:
        """The critical values, each once."""
        return tuple(dict.fromkeys(p.value for p in self.points))


def kinked_points(
    sigma: str | Activation,
    x: Sequence[Any],
    y: Sequence[Any],
    width: int,
    *,
    output_bias: bool = True,
    weight: Any = None,
) -> KinkedPoints:
    r"""Return all Clarke-critical points of :math:`\frac\omega2 \sum_i (f(x_i) - y_i)^2`, f = sum_k a_k sigma(w_k x + b_k) + c.

    Parameters
    ----------
    sigma : str or Activation
        1-homogeneous with a kink.
    x, y : sequences of exact numbers
        (n,), with at least 2 and at most ``MAX_SAMPLES`` different inputs.
    width : int
        1 or 2.
    output_bias : bool
        Whether there is c.
    weight : number, optional
        omega; 1 by default.

    Raises
    ------
    ValueError
        If sizes are not served, or numbers are not exact.
    AssumptionError
        If sigma has another form.
    """
    sigma = activation(sigma) if isinstance(sigma, str) else sigma
    if sigma.homogeneity_degree != 1 or sigma.is_smooth is True:
        raise AssumptionError(
            f"a 1-homogeneous activation with a kink is required, got {sigma.name}; use relu, leaky relu or abs"
        )
    inputs, labels = exact_numbers(x, "x"), exact_numbers(y, "y")
    different = sorted(set(inputs))
    if len(inputs) != len(labels) or not 2 <= len(different) <= MAX_SAMPLES:
        raise ValueError(
            f"x has {len(inputs)} entries, {len(different)} of them different, and y {len(labels)}; from 2 to {MAX_SAMPLES} "
            "different inputs are gone through, with one label for each"
        )
    if type(width) is not int or not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"a width is 1 or {MAX_WIDTH} here, got {width!r}")
    (omega,) = exact_numbers([_ONE if weight is None else weight], "weight")
    slopes = -sigma.derivative(0).subs(Z, -1), sigma.derivative(0).subs(Z, 1)
    return _Enumeration(inputs, labels, slopes, omega, output_bias).solve(width)


@dataclass(frozen=True)
class _Choice:
    """Signs of z at the inputs, and the sign of a; 0 for a flat neuron."""

    signs: tuple[int, ...]
    a: int

    @property
    def zero(self) -> bool:
        return not any(self.signs)

    @property
    def wall(self) -> int | None:
        return None if self.zero or 0 not in self.signs else self.signs.index(0)


class _Enumeration:
    def __init__(
        self, x: Sequence[Expr], y: Sequence[Expr], slopes: tuple[Expr, Expr], omega: Expr, bias: bool
    ) -> None:
        self.below, self.above = slopes
        self.omega, self.bias = omega, bias
        self.x = sorted(set(x))
        groups = [[v for u, v in zip(x, y, strict=True) if u == place] for place in self.x]
        self.count = [Integer(len(g)) for g in groups]
        self.y = [sum(g, _ZERO) / len(g) for g in groups]
        self.rest = omega / 2 * sum((v - m) ** 2 for g, m in zip(groups, self.y, strict=True) for v in g)
        self.residuals: dict[tuple[tuple[int, ...], ...], _Vector] = {}

    @cached_property
    def patterns(self) -> list[tuple[int, ...]]:
        """All sign vectors of w x_i + b."""
        size = len(self.x)
        out = [(s,) * size for s in (1, -1, 0)]
        for j in range(size):
            out += [(-s,) * j + (0,) + (s,) * (size - 1 - j) for s in (1, -1)]
            if j:
                out += [(-s,) * j + (s,) * (size - j) for s in (1, -1)]
        return out

    def solve(self, width: int) -> KinkedPoints:
        choices = [_Choice(signs, a) for signs in self.patterns for a in (1, -1, 0)]
        points: list[KinkedPoint] = []
        for chosen in itertools.combinations_with_replacement(choices, width):
            points += self._points(chosen)
        points.sort(key=lambda p: (float(p.value), p.kind, p.neurons))
        return KinkedPoints(tuple(points))

    def _slopes(self, signs: Sequence[int]) -> _Vector:
        return [self.above if s > 0 else self.below if s < 0 else _ZERO for s in signs]

    def _columns(self, signs: tuple[int, ...]) -> list[_Vector]:
        """Return what the neuron can add to f in its cell or wall."""
        slopes = self._slopes(signs)
        if not any(signs):
            return []
        if 0 in signs:
            kink = self.x[signs.index(0)]
            return [[s * (u - kink) for s, u in zip(slopes, self.x, strict=True)]]
        return [[s * u for s, u in zip(slopes, self.x, strict=True)], slopes]

    def _residual(self, chosen: Sequence[_Choice]) -> _Vector:
        """Return f - y, f being the projection of y."""
        key = tuple(sorted({u.signs for u in chosen if u.a}))
        if key not in self.residuals:
            columns = [c for signs in key for c in self._columns(signs)]
            columns += [[_ONE] * len(self.x)] if self.bias else []
            target, f = Matrix(self.y), Matrix([_ZERO] * len(self.x))
            if columns and (basis := Matrix(columns).T.columnspace()):
                span, weights = Matrix.hstack(*basis), Matrix.diag(*self.count)
                f = span * (span.T * weights * span).LUsolve(span.T * weights * target)
            self.residuals[key] = [u.expand() for u in f - target]
        return self.residuals[key]

    def _points(self, chosen: Sequence[_Choice]) -> Iterator[KinkedPoint]:
        error = self._residual(chosen)
        r = [self.omega * k * e for k, e in zip(self.count, error, strict=True)]
        flats: list[tuple[Expr, Expr, int]] = []
        for u in chosen:
            if u.a == 0:
                found = self._flat(u.signs, r)
                if found is None:
                    return
                flats.append(found)
            elif not self._stationary(u, r):
                return
        live = [u for u in chosen if u.a and not u.zero]
        placed = self._placed(live, [e + v for e, v in zip(error, self.y, strict=True)])
        if placed is None:
            return
        weights, bias, dimension = placed
        dimension += len(live) + sum(u.a != 0 and u.zero for u in chosen) + sum(f[2] for f in flats)
        bad = [reason for u in chosen if (reason := self._descent(u, r))]
        value = (
            self.rest + self.omega / 2 * sum(k * e**2 for k, e in zip(self.count, error, strict=True))
        ).expand()
        rising = self.bias or any(u.a >= 0 and any(self._slopes(u.signs)) for u in chosen) or bool(live)
        kind = "minimum" if not bad else "saddle" if rising else "descends"
        places, still = iter(weights), iter(flats)
        neurons = []
        for u in chosen:
            if u.a == 0:
                w, b, _ = next(still)
            else:
                w, b = (_ZERO, _ZERO) if u.zero else (u.a * v for v in next(places))
            neurons.append((Integer(u.a), w, b))
        a, w, b = (list(part) for part in zip(*neurons, strict=True))
        kinked = any(u.a and (u.zero or (u.wall is not None and exact_sign(r[u.wall]))) for u in chosen)
        reason = bad[0] if bad else "the loss is convex, and no neuron lowers its linear part nearby"
        names = tuple(self._name(u) for u in chosen)
        yield KinkedPoint(
            value, kind, reason, names, dimension, not kinked, {"a": a, "w": w, "b": b, "c": bias}
        )

    def _moments(self, signs: Sequence[int], r: Sequence[Expr]) -> tuple[Expr, Expr]:
        slopes = self._slopes(signs)
        terms = [(s * u * v, s * u) for s, u, v in zip(slopes, r, self.x, strict=True)]
        return sum((t[0] for t in terms), _ZERO).expand(), sum((t[1] for t in terms), _ZERO).expand()

    def _along(self, w: Expr, b: Expr, r: Sequence[Expr]) -> Expr:
        """Return the sum of r sigma(w x + b)."""
        total = _ZERO
        for u, v in zip(r, self.x, strict=True):
            z = (w * v + b).expand()
            total += u * z * (self.above if exact_sign(z) > 0 else self.below)
        return total.expand()

    def _rays(self, r: Sequence[Expr]) -> list[Expr]:
        """Return the sum of r sigma(w x + b) on the rays between the cells of (w, b)."""
        return [self._along(Integer(s), -s * place, r) for place in self.x for s in (1, -1)]

    def _stationary(self, u: _Choice, r: Sequence[Expr]) -> bool:
        """Whether a neuron with a != 0 is Clarke-critical, r being orthogonal to what it can add."""
        if u.zero:
            cells = [self._moments(signs, r) for signs in self.patterns if 0 not in signs]
            rows = [[c[0] for c in cells], [c[1] for c in cells], [_ONE] * len(cells)]
            return nonnegative_solution(rows, [_ZERO, _ZERO, _ONE]).solution is not None
        if u.wall is None:
            return True
        rho = -self._moments(u.signs, r)[1]
        ends = [(rho - slope * r[u.wall]).expand() for slope in (self.below, self.above)]
        return exact_sign(ends[0]) * exact_sign(ends[1]) <= 0

    def _flat(self, signs: tuple[int, ...], r: Sequence[Expr]) -> tuple[Expr, Expr, int] | None:
        """Return (w, b) of a flat neuron that is critical, and the dimension of the set of them; None if there is none."""
        if not any(signs):
            return _ZERO, _ZERO, 0
        if 0 in signs:
            j = signs.index(0)
            w = Integer(next(s if i > j else -s for i, s in enumerate(signs) if s))
            return (w, -w * self.x[j], 1) if exact_sign(self._along(w, -w * self.x[j], r)) == 0 else None
        first, second = self._moments(signs, r)
        if exact_sign(first) == exact_sign(second) == 0:
            return *self._inside(signs), 2
        for side in (1, -1):
            w, b = side * second, -side * first
            if all(exact_sign((w * v + b).expand()) == s for v, s in zip(self.x, signs, strict=True)):
                return w, b, 1
        return None

    def _inside(self, signs: Sequence[int]) -> tuple[Expr, Expr]:
        """Return (w, b) in an open cell."""
        turn = next((i for i in range(1, len(signs)) if signs[i] != signs[i - 1]), None)
        if turn is None:
            return _ZERO, Integer(signs[0])
        w = Integer(signs[turn])
        return w, -w * (self.x[turn] + self.x[turn - 1]) / 2

    def _descent(self, u: _Choice, r: Sequence[Expr]) -> str:
        """Return how a neuron lowers the risk nearby, or nothing if it does not."""
        if u.zero:
            rays = [exact_sign(v) for v in self._rays(r)]
            if any(v * u.a < 0 for v in rays) or (u.a == 0 and any(rays)):
                return "moving w and b of a neuron that is zero lowers the risk"
            return ""
        j = u.wall
        if u.a:
            falls = j is not None and exact_sign(r[j]) * u.a * exact_sign(self.above - self.below) < 0
            return "moving the kink off a sample lowers the risk at first order" if falls else ""
        still = all(exact_sign(v) == 0 for v in self._moments(u.signs, r)) and (
            j is None or exact_sign(r[j]) == 0
        )
        return "" if still else "moving w and b of a neuron with a = 0, and then a, lowers the risk"

    def _placed(
        self, live: Sequence[_Choice], f: Sequence[Expr]
    ) -> tuple[list[tuple[Expr, Expr]], Expr, int] | None:
        """Return (a w, a b) of each neuron with these signs and this f, c, and the dimension of the set of them."""
        size = 2 * len(live) + self.bias
        rows = []
        for i, place in enumerate(self.x):
            row = [v for u in live for s in [self._slopes(u.signs)[i]] for v in (s * place, s)]
            rows.append([*row, *([_ONE] if self.bias else [])])
        right = list(f)
        signs = []
        for k, u in enumerate(live):

            def at(place: Expr, k: int = k) -> _Vector:
                return [place if p == 2 * k else _ONE if p == 2 * k + 1 else _ZERO for p in range(size)]

            if u.wall is not None:
                rows.append(at(self.x[u.wall]))
                right.append(_ZERO)
            for i in self._deciding(u.signs):
                signs.append([u.a * u.signs[i] * v for v in at(self.x[i])])
        point = strict_solution(rows, right, signs, size)
        if point is None:
            return None
        rank = Matrix(rows).rank() if size else 0
        pairs = [(point[2 * k], point[2 * k + 1]) for k in range(len(live))]
        return pairs, point[-1] if self.bias else _ZERO, size - rank

    def _deciding(self, signs: Sequence[int]) -> list[int]:
        """Return samples whose signs imply the others: z is affine."""
        if 0 in signs:
            return [0 if signs.index(0) else 1]
        turn = next((i for i in range(1, len(signs)) if signs[i] != signs[i - 1]), None)
        return [0, len(signs) - 1] if turn is None else [turn - 1, turn]

    def _name(self, u: _Choice) -> str:
        a = "a = 0" if u.a == 0 else "a > 0" if u.a > 0 else "a < 0"
        if u.zero:
            return f"zero (w = b = 0), {a}"
        turn = next((i for i in range(1, len(u.signs)) if u.signs[i] != u.signs[i - 1]), None)
        if turn is None:
            return f"{'positive' if u.signs[0] > 0 else 'negative'} on all samples, {a}"
        last = u.signs[-1] or -u.signs[0]
        side = "right" if last > 0 else "left"
        if u.wall is not None:
            return f"{side}, z = 0 at {self.x[u.wall]}, {a}"
        return f"{side}, kink between {self.x[turn - 1]} and {self.x[turn]}, {a}"
