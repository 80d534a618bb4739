r"""Interval arithmetic on batches: two float64 tensors hold the lower and upper ends of thousands of boxes at once.

Every operation is computed in round-to-nearest and then widened, so an interval contains every value that exact arithmetic on its
operands can take.  With :math:`u = 2^{-53}`:

* a sum, difference or product t is computed with an error of at most :math:`u\lvert t\rvert` (and :math:`2^{-1074}` where it
  underflows); :math:`t \mp 2^{-52}\lvert t\rvert` is at least one float away, hence a bound;
* a sum of K products in any order has an error of at most :math:`K u \sum \lvert t_k\rvert / (1 - K u)`; it is widened by
  :math:`(K + 2)\,2^{-52} \sum \lvert t_k\rvert`;
* a function of the vector library is taken to have an error of at most ``LIBRARY_ERROR`` relative to its value and
  ``SMALLEST`` beside; the tests measure it against Arb at random and at adversarial arguments (1 ulp was seen).

An end that is not a number stands for no bound.  Functions are enclosed as they are written: ``sech2`` directly, and not as
:math:`1 - \tanh^2`.

>>> box = Interval.around(torch.tensor([-1.0, 0.5], dtype=torch.float64), torch.tensor([2.0, 1.0], dtype=torch.float64))
>>> found = function("sech2")(box)
>>> [round(u, 6) for u in found.lo.tolist()], [round(u, 6) for u in found.hi.tolist()]
([0.070651, 0.419974], [1.0, 0.786448])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from derivations.enclosure import NotEnclosed

__all__ = ["LIBRARY_ERROR", "SMALLEST", "Interval", "down", "function", "power", "reciprocal", "summed", "up"]

#: Twice the unit roundoff of float64.
EPS = 2.0**-52
#: Added to every widening: more than any error of underflow.
SMALLEST = 1e-300
#: Bound of the relative error of torch's functions on float64, 16 units in the last place; at most 1.6 were seen against Arb.
LIBRARY_ERROR = 2.0**-48


@dataclass(frozen=True, eq=False)
class Interval:
    """Lower and upper ends, two tensors of one shape."""

    lo: Tensor
    hi: Tensor

    @classmethod
    def around(cls, lo: Tensor, hi: Tensor | None = None) -> Interval:
        """Return the intervals between exact ends; points without ``hi``."""
        return cls(lo, lo if hi is None else hi)

    @property
    def mid(self) -> Tensor:
        """A point inside, or next to it."""
        return self.lo / 2 + self.hi / 2

    @property
    def mag(self) -> Tensor:
        """The largest modulus."""
        return torch.maximum(self.lo.abs(), self.hi.abs())

    @property
    def rad(self) -> Tensor:
        """An upper bound of the distance of ``mid`` from both ends."""
        middle = self.mid
        return up(torch.maximum(self.hi - middle, middle - self.lo))

    def __getitem__(self, where: object) -> Interval:
        """Return some of the intervals."""
        return Interval(self.lo[where], self.hi[where])  # type: ignore[index]

    def apply(self, change: Callable[[Tensor], Tensor]) -> Interval:
        """Return the intervals with both tensors moved alike: a view, a permutation, a selection."""
        return Interval(change(self.lo), change(self.hi))

    def __neg__(self) -> Interval:
        """Return minus the interval, exactly."""
        return Interval(-self.hi, -self.lo)

    def __add__(self, other: Interval) -> Interval:
        """Return the sum."""
        return Interval(down(self.lo + other.lo), up(self.hi + other.hi))

    def __sub__(self, other: Interval) -> Interval:
        """Return the difference."""
        return Interval(down(self.lo - other.hi), up(self.hi - other.lo))

    def __mul__(self, other: Interval) -> Interval:
        """Return the product."""
        lo, hi = _product(self, other)
        return Interval(down(lo), up(hi))

    def scaled(self, factor: float) -> Interval:
        """Return an exact float times the interval."""
        ends = (self.lo * factor, self.hi * factor)
        lo, hi = ends if factor >= 0 else (ends[1], ends[0])
        return Interval(down(lo), up(hi))

    def met(self, other: Interval) -> Interval:
        """Return the intersection; where it is empty, the lower end is above the upper one."""
        lo, hi = torch.nan_to_num(other.lo, nan=-math.inf), torch.nan_to_num(other.hi, nan=math.inf)
        return Interval(torch.maximum(self.lo, lo), torch.minimum(self.hi, hi))

    def excludes_zero(self) -> Tensor:
        """Whether 0 is not in the interval; False where there is no bound."""
        return (self.lo > 0) | (self.hi < 0)


def down(x: Tensor) -> Tensor:
    """Return floats below everything that rounds to x."""
    return torch.add(x, x.abs(), alpha=-EPS).sub_(SMALLEST)


def up(x: Tensor) -> Tensor:
    """Return floats above everything that rounds to x."""
    return torch.add(x, x.abs(), alpha=EPS).add_(SMALLEST)


def _product(first: Interval, second: Interval) -> tuple[Tensor, Tensor]:
    """Return the smallest and largest product of ends, rounded to nearest."""
    if first.lo is first.hi:
        first, second = second, first
    if second.lo is second.hi:
        one, two = first.lo * second.lo, first.hi * second.lo
        return torch.minimum(one, two), torch.maximum(one, two)
    a, b = first.lo * second.lo, first.lo * second.hi
    c, d = first.hi * second.lo, first.hi * second.hi
    return (
        torch.minimum(torch.minimum(a, b), torch.minimum(c, d)),
        torch.maximum(torch.maximum(a, b), torch.maximum(c, d)),
    )


def summed(first: Interval, second: Interval | None, dims: Sequence[int]) -> Interval:
    """Return the sum over some axes of an array, or of the product of two arrays that broadcast."""
    lo, hi = (first.lo, first.hi) if second is None else _product(first, second)
    count = math.prod(lo.shape[j] for j in dims)
    pad = (
        torch.maximum(lo.abs(), hi.abs())
        .sum(dim=tuple(dims))
        .mul_((count + 2) * EPS)
        .add_((count + 2) * SMALLEST)
    )
    return Interval(lo.sum(dim=tuple(dims)) - pad, hi.sum(dim=tuple(dims)) + pad)


def power(base: Interval, exponent: int) -> Interval:
    """Return an integer power; no bound where a negative one meets 0."""
    if exponent < 0:
        return reciprocal(power(base, -exponent))
    if exponent == 0:
        one = torch.ones_like(base.lo)
        return Interval(one, one)
    even = exponent % 2 == 0
    small, large = _moduli(base) if even else (base.lo, base.hi)
    lo, hi = small, large
    for _ in range(exponent - 1):  # products of numbers of one sign each: monotone in both ends
        lo, hi = down(lo * small.abs()), up(hi * large.abs())
    return Interval(lo.clamp(min=0.0) if even else lo, hi)


def _moduli(u: Interval) -> tuple[Tensor, Tensor]:
    """Return the smallest and largest modulus."""
    first, second = u.lo.abs(), u.hi.abs()
    inside = (u.lo <= 0) & (u.hi >= 0)
    return torch.where(inside, 0.0, torch.minimum(first, second)), torch.maximum(first, second)


def reciprocal(u: Interval) -> Interval:
    """Return 1/u; no bound where u meets 0."""
    inside = ~((u.lo > 0) | (u.hi < 0))
    lo, hi = down(1 / u.hi), up(1 / u.lo)
    return Interval(torch.where(inside, -math.inf, lo), torch.where(inside, math.inf, hi))


def _widened(lo: Tensor, hi: Tensor, least: float = -math.inf, most: float = math.inf) -> Interval:
    """Widen values of the vector library by its error, within the range of the function."""
    lo = torch.add(lo, lo.abs(), alpha=-LIBRARY_ERROR).sub_(SMALLEST)
    hi = torch.add(hi, hi.abs(), alpha=LIBRARY_ERROR).add_(SMALLEST)
    return Interval(lo.clamp(min=least), hi.clamp(max=most))


def _increasing(
    rule: Callable[[Tensor], Tensor], least: float = -math.inf, most: float = math.inf
) -> Callable[[Interval], Interval]:
    def enclosed(u: Interval) -> Interval:
        if u.lo is u.hi:
            value = rule(u.lo)
            return _widened(value, value, least, most)
        return _widened(rule(u.lo), rule(u.hi), least, most)

    return enclosed


def _sech2(u: Interval) -> Interval:
    small, large = _moduli(u)
    return _widened(torch.cosh(large).pow(-2), torch.cosh(small).pow(-2), 0.0, 1.0)


def _cosh(u: Interval) -> Interval:
    small, large = _moduli(u)
    return _widened(torch.cosh(small), torch.cosh(large), 1.0)


def _softplus(u: Tensor) -> Tensor:
    return torch.logaddexp(u, torch.zeros_like(u))


def _wave(u: Interval, rule: Callable[[Tensor], Tensor], crest: float) -> Interval:
    """Enclose sin or cos, whose maxima are at ``crest`` + 2 pi k and minima half a period further."""
    first, second = rule(u.lo), rule(u.hi)
    # Near a turning point the value there is taken: rounding of the quotient cannot hide one.
    margin = 1e-12 * (1 + u.mag)

    def meets(place: float) -> Tensor:
        turns = torch.floor((u.hi - place + margin) / (2 * math.pi))
        return turns * (2 * math.pi) + place >= u.lo - margin

    wide = ~(u.mag < 1e6)  # the margin is far above the error of the reduction up to there
    lo = torch.where(wide | meets(crest + math.pi), -1.0, torch.minimum(first, second) - 1e-15)
    hi = torch.where(wide | meets(crest), 1.0, torch.maximum(first, second) + 1e-15)
    return _widened(lo, hi, -1.0, 1.0)


def _root(u: Interval) -> Interval:
    return _widened(torch.sqrt(u.lo), torch.sqrt(u.hi), 0.0)


_RULES: dict[str, Callable[[Interval], Interval]] = {
    "tanh": _increasing(torch.tanh, -1.0, 1.0),
    "exp": _increasing(torch.exp, 0.0),
    "log": _increasing(torch.log),
    "sinh": _increasing(torch.sinh),
    "asinh": _increasing(torch.asinh),
    "atan": _increasing(torch.atan),
    "erf": _increasing(torch.erf, -1.0, 1.0),
    "sigmoid": _increasing(torch.sigmoid, 0.0, 1.0),
    "softplus": _increasing(_softplus, 0.0),
    "sech2": _sech2,
    "cosh": _cosh,
    "sin": lambda u: _wave(u, torch.sin, math.pi / 2),
    "cos": lambda u: _wave(u, torch.cos, 0.0),
    "sqrt": _root,
}


def function(name: str) -> Callable[[Interval], Interval]:
    """Return the enclosure of a smooth function by its name.

    Raises
    ------
    NotEnclosed
        If there is none: the function has a kink or a pole, or is not known.
    """
    if name not in _RULES:
        raise NotEnclosed(
            f"{name} has no enclosure on batches: add one to numerics/interval_tensors.py, which holds {', '.join(_RULES)}"
        )
    return _RULES[name]
