r"""All critical points of a network with a 1-homogeneous activation over an interval, for an affine target, in exact strata.

The network functions come from ``derivations.affine_target``.  With such a function :math:`f \ne y`, with :math:`e = f - y`,
:math:`M = \omega \int e\,x \ne 0` and :math:`\varphi(q) = \omega \int_q e(x)(x - q)\,dx`, each neuron is one of these:

* at a kink of f, in the orientation of the kink; over the neurons there the sum of :math:`s a |w|` is given;
* flat at another kink: a = 0 and :math:`\varphi(q)` equal to :math:`-g_- M / J` (w > 0) or :math:`g_+ M / J` (w < 0), J the jump of sigma'.
  On a gap between kinks :math:`\varphi` runs monotonically, as :math:`3 t^2 - 2 t^3`, so these are found exactly;
* constant: a = w = 0 and b on a side where sigma has a slope;
* dead: :math:`w x + b` on the side where sigma vanishes, on the whole interval; its kink may be on an end;
* zero: a = w = b = 0.

With a != 0 and w = b = 0 the risk changes at first order by :math:`s a g_\pm w M` where :math:`w x + b` has one sign, so some direction
descends.  At one neuron for each kink the inertia is that of (bends, kinks, c)
and one zero for each rescaling.  Further neurons at a kink move it singly: with parts :math:`m_j` of the bend :math:`\beta`,
:math:`\sum m_j q_j^2 = (\sum m_j q_j)^2 / \beta + \sum m_j z_j^2`, so each adds one sign, that of :math:`e(p) m_j` (of none if a_j = 0), and
two zeros.  A constant
neuron has :math:`\partial_a \partial_w R = s g b M \ne 0` with no other derivative in w: one negative, one positive, one zero; so has a flat
one at another kink.  A dead one adds three zeros.

Where f is constant and all neurons are dead, :math:`R(\theta) - R(\theta_0) \ge \omega \int e (f - f_0) = \omega \sum s a_j \int e\,\sigma(z_j)`, as the
loss is convex.  Nearby, :math:`\sigma(z_j)` differs from 0 only for a kink on an end, and only next to it, where e has one sign.

Source: Cheridito, Jentzen, Rossmannek, arXiv:2103.10922, Theorem 2.4; derived anew here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from sympy import Add, Expr, Integer, Poly, Symbol

from derivations.activations import Z
from derivations.affine_target import KinkFunction, Shape, kink_functions, sign_of, tidy
from derivations.critical_sets import Boundary, CriticalSet, CriticalSets, Inertia, Stratum, check_width
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.losses import F, Y
from derivations.problem import d, m

__all__ = ["affine_target_sets", "shape_of"]

_ZERO, _ONE = Integer(0), Integer(1)
_SADDLE = "the Hessian has a negative eigenvalue"
_DEGENERATE = (
    "not critical, unless f = y: points with some w = b = 0 and its a != 0; the risk falls at first order in some direction, whatever "
    "sigma'(0) is taken to be"
)


def shape_of(interval: IntervalProblem) -> Shape:
    """Return what the critical functions of an interval problem depend on.

    Raises
    ------
    AssumptionError
        If the network, the loss or the target is of another kind; the message says which.
    """
    check_plain(interval)
    left, right = interval.half_lines
    if any(side != side.coeff(Z, 1) * Z for side in (left, right)):
        raise AssumptionError(f"the activation {left} for z < 0, {right} for z > 0 is not 1-homogeneous")
    if len(interval.target_pieces) > 1 or Poly(interval.target_pieces[0].expr, interval.x).degree() > 1:
        raise AssumptionError(f"the target {interval.target} is not affine in {interval.x}")
    target = Poly(interval.target_pieces[0].expr, interval.x)
    return Shape(
        left.coeff(Z, 1),
        right.coeff(Z, 1),
        interval.lower,
        interval.upper,
        target.coeff_monomial(interval.x),
        target.coeff_monomial(1),
        loss_weight(interval),
    )


def check_plain(interval: IntervalProblem) -> None:
    """Raise AssumptionError unless all of a, w, b, c are trained, there is no decay, and the integrals are exact."""
    problem = interval.problem
    interval.check_exact()
    if problem.weight_decay != 0:
        raise AssumptionError(f"there is weight decay {problem.weight_decay}; the strata are those without")
    if not (problem.input_bias and problem.output_bias):
        raise AssumptionError("an input bias and an output bias are needed")
    if frozen := [block.name for block in problem.blocks if not block.trained]:
        raise AssumptionError(f"the blocks {', '.join(frozen)} are frozen; all have to be trained")


def loss_weight(interval: IntervalProblem) -> Expr:
    r"""Return omega of the risk :math:`\frac\omega2 \int (f - y)^2`."""
    loss = interval.problem.loss
    assert loss is not None  # checked at construction
    factor = loss.derivative(2)
    if factor.free_symbols or (loss.expr - factor * (F - Y) ** 2 / 2).expand() != 0:
        raise AssumptionError(f"the loss '{loss.name}' is not a multiple of (f - y)^2")
    return interval.weight * factor


def affine_target_sets(interval: IntervalProblem, width: int) -> CriticalSets:
    """Return all critical points at a width.

    Parameters
    ----------
    interval : IntervalProblem
        1-homogeneous activation, square loss, affine target, numbers for everything, all blocks trained, no weight decay.
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
    shape = shape_of(interval)
    numbers = (shape.lower, shape.upper, shape.slope, shape.intercept, shape.left, shape.right, shape.weight)
    if loose := set().union(*[u.free_symbols for u in numbers]):
        raise AssumptionError(f"numbers are needed for {', '.join(sorted(map(str, loose)))}")
    if sign_of(shape.left) == sign_of(shape.right) == 0:
        raise AssumptionError("the activation is 0")
    scale = interval.problem.scale.subs({m: width, d: 1})
    sets = [_Filled(u, width, scale).found() for u in kink_functions(shape, width)]
    sets.sort(key=lambda u: float(u.value))
    method = (
        "every critical point has one of these network functions: for an affine target the moments between kinks are linear "
        "in the squares of the gaps, solved exactly for every orientation"
    )
    return CriticalSets(width, (_target(shape, width, scale), *sets), method, (_DEGENERATE,))


class _Filled:
    """The parameters that have one function f != y at a width."""

    def __init__(self, function: KinkFunction, width: int, scale: Expr) -> None:
        self.f, self.shape, self.width, self.scale = function, function.shape, width, scale
        self.signs = [
            sign_of(function.residual(i)) * sign_of(bend) for i, bend in enumerate(function.bends, start=1)
        ]
        self.flat = _flat_kinks(function) if sign_of(self.shape.jump) else []

    def found(self) -> CriticalSet:
        strata = tuple(self._strata())
        kinks = self.f.kinks
        what = (
            f"kinks at {', '.join(map(str, kinks))} ({', '.join(self.f.orientations)})"
            if kinks
            else "constant"
        )
        return CriticalSet(what, self.f.value, strata, tuple(self._boundary()))

    def _leftover(self) -> list[tuple[str, int, Inertia, tuple[Expr, Expr, Expr]]]:
        """Return (type, dimension, inertia, (a, w, b)) for the neurons at no kink of f."""
        out = []
        sides = [side for side, slope in ((1, self.shape.right), (-1, self.shape.left)) if sign_of(slope)]
        b = "b" if len(sides) == 2 else "b > 0" if sides == [1] else "b < 0"
        out.append((f"constant (a = w = 0, {b})", 1, (1, 1, 1), (_ZERO, _ZERO, Integer(sides[0]))))
        if len(sides) == 1:
            out.append(("dead", 3, (0, 3, 0), (_ONE, _ZERO, Integer(-sides[0]))))
        for q, side in self.flat:
            out.append(
                (
                    f"flat (a = 0) at {q}, w {'>' if side > 0 else '<'} 0",
                    1,
                    (1, 1, 1),
                    (_ZERO, Integer(side), -side * q),
                )
            )
        return out

    def _strata(self) -> Iterator[Stratum]:
        kinks, leftover = len(self.f.kinks), self._leftover()
        for spare in range(self.width - kinks + 1):
            for counts in _compositions(self.width - spare, kinks):
                for rest in itertools.combinations_with_replacement(leftover, spare):
                    yield self._stratum(counts, rest)

    def _stratum(self, counts: Sequence[int], rest: Sequence[Any]) -> Stratum:
        here = [f"kink {i}" for i, count in enumerate(counts, start=1) for _ in range(count)]
        dimension = sum(2 * count - 1 for count in counts) + sum(u[1] for u in rest)
        base = _sum([self.f.inertia, *[u[2] for u in rest]])
        splits = itertools.product(*[_split(*pair) for pair in zip(counts, self.signs, strict=True)])
        inertias = [_sum([base, *parts]) for parts in splits]
        first, *others = dict.fromkeys(inertias)
        down = first[0] > 0
        reason = _SADDLE if down else "all neurons are dead, and the loss is convex"
        return Stratum(
            (*here, *[u[0] for u in rest]),
            dimension,
            first,
            "saddle" if down else "minimum",
            reason,
            self._theta(counts, [u[3] for u in rest]),
            tuple(others),
        )

    def _theta(self, counts: Sequence[int], rest: Sequence[tuple[Expr, Expr, Expr]]) -> dict[str, Any]:
        neurons = []
        for count, p, slope, name in zip(
            counts, self.f.kinks, self.f.slopes, self.f.orientations, strict=True
        ):
            w = _ONE if name == "right" else -_ONE
            neurons += [(tidy(slope * w / (self.scale * count)), w, tidy(-w * p))] * count
        neurons += rest
        return parameters(neurons, self.shape, self.scale, self.f.at_lower)

    def _boundary(self) -> Iterator[Boundary]:
        """Describe the points with a neuron that is zero, or dead with its kink on an end."""
        left, right = self.shape.left, self.shape.right
        sides = ((-1, left, right), (1, right, left))  # a side, the slope of sigma on it, the slope beyond
        dead = [(side, beyond) for side, slope, beyond in sides if not sign_of(slope)]
        zero, edge = "some neuron is zero (a = w = b = 0)", "some neuron is dead with its kink on an end"
        if self.f.kinks and len(self.f.kinks) == self.width:
            return
        if self.f.kinks:
            yield Boundary(zero, "saddle", f"{_SADDLE} in the neurons at the kinks")
            if dead:
                yield Boundary(edge, "saddle", f"{_SADDLE} in the neurons at the kinks")
            return
        yield Boundary(
            zero,
            "saddle",
            "along |a| = |w| = t, |b| = sqrt(t), with the right signs, the risk falls at order t^2",
        )
        for side, slope in dead:
            # Beyond the end sigma has the sign of -side * slope; e there is that at the end.
            parts = []
            for place, node in ((self.shape.lower, 0), (self.shape.upper, 1)):
                up = -side * sign_of(slope) * sign_of(self.f.residual(node)) > 0
                parts.append(f"a {'>' if up else '<'} 0 at {place}")
            yield Boundary(
                f"all neurons dead, some with the kink on an end, there {' and '.join(parts)}",
                "minimum",
                "moving the kink inwards raises the risk, and the loss is convex",
            )
            yield Boundary(
                "some neuron dead with the kink on an end and another sign of a, or a = 0",
                "saddle",
                "moving the kink inwards, after a small change of a if a = 0, lowers the risk",
            )


def _sum(parts: Sequence[Inertia]) -> Inertia:
    negative, zero, positive = (sum(column) for column in zip(*parts, strict=True))
    return negative, zero, positive


def _split(count: int, sign: int) -> list[Inertia]:
    """Return what the inertia gains from count neurons at a kink instead of one: all bends of one sign first."""
    out = []
    for flat in range(count):
        for opposite in range(count - flat):
            same = count - 1 - flat - opposite
            down, up = (same, opposite) if sign < 0 else (opposite, same)
            out.append((down, 2 * (count - 1) + flat, up))
    return out


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write total as an ordered sum of positive parts."""
    if not parts:
        if not total:
            yield ()
        return
    for cuts in itertools.combinations(range(1, total), parts - 1):
        yield tuple(v - u for u, v in itertools.pairwise((0, *cuts, total)))


def _flat_kinks(f: KinkFunction) -> list[tuple[Expr, int]]:
    """Return the places, other than the kinks of f, where a flat neuron is critical, and the sign of its w."""
    shape, t = f.shape, Symbol("t", real=True)
    level = {"right": -shape.left / shape.jump, "left": shape.right / shape.jump}  # of phi / M
    heights = [_ONE, *[level[name] for name in f.orientations], _ZERO]
    found = []
    for (u, v), start, gap in zip(itertools.pairwise(heights), f.nodes, f.gaps, strict=False):
        for side, name in ((1, "right"), (-1, "left")):
            share = tidy((level[name] - u) / (v - u)) if sign_of(v - u) else _ZERO
            if sign_of(share) > 0 and sign_of(1 - share) > 0:
                roots = Poly(3 * t**2 - 2 * t**3 - share, t).real_roots()
                root = next(r for r in roots if 0 < r < 1)
                found.append((start + gap * root, side))
    return found


def parameters(
    neurons: Sequence[tuple[Expr, Expr, Expr]], shape: Shape, scale: Expr, at_lower: Expr
) -> dict[str, Any]:
    """Return the blocks of neurons (a, w, b), with the output bias for which f has a value at the lower end."""
    total: list[Expr] = []
    for a, w, b in neurons:
        z = tidy(w * shape.lower + b)
        total.append(scale * a * (shape.right if sign_of(z) > 0 else shape.left) * z)
    a, w, b = (list(u) for u in zip(*neurons, strict=True))
    return {"a": a, "w": w, "b": b, "c": tidy(at_lower - Add(*total))}


def _target(shape: Shape, width: int, scale: Expr) -> CriticalSet:
    """Return the points with f = y."""
    side, slope = (1, shape.right) if sign_of(shape.right) else (-1, shape.left)
    dead = not (sign_of(shape.left) and sign_of(shape.right))
    constant = sign_of(shape.slope) == 0
    value_at = tidy(shape.slope * shape.lower + shape.intercept)
    if constant and dead:
        neurons = [(_ONE, _ZERO, Integer(-side))] * width
        names, zero, positive = ("dead",) * width, 3 * width, 1
    else:
        # z = +-(x - T0 + 1) has the sign of the side on the whole interval; a sums to the slope with one neuron more.
        parts = [_ONE] * (width - 1)
        a = [*parts, tidy(side * shape.slope / (scale * slope) - Add(*parts))]
        neurons = [(u, Integer(side), side * (1 - shape.lower)) for u in a]
        names, zero, positive = ("affine on the interval",) * width, 3 * width - 1, 2
    theta = parameters(neurons, shape, scale, value_at)
    stratum = Stratum(names, zero, (0, zero, positive), "minimum", "the risk is 0", theta)
    rest = Boundary("all other parameters with f = y", "minimum", "the risk is 0")
    return CriticalSet("f = y", _ZERO, (stratum,), (rest,), least=True)
