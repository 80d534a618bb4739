r"""Every critical point in a box, by branch and prune: boxes without one are discarded, the others cut in two, until none is left.

A box is discarded where the gradient cannot vanish on it (``numerics.box_contraction``, ``numerics.mean_value``), or where it lies in a larger box that
holds exactly one critical point, which is known (``numerics.unique_zeros``).  Wherever the mean value form contracts, Newton's method is
tried, so that critical points are found on the way; a point on the face of a box is no obstacle, its own box reaches across.
If no box is left, the list of critical points is complete.

Symmetries of the risk are signed permutations of the parameters.  Only a closed domain that meets every orbit is searched, and the
boxes of all images of a point count: a point on a wall of the domain needs no further care.

A degenerate critical point, or a continuum of them, cannot be shown to be alone in any box: it leaves boxes of the smallest width, which are
counted as undecided.

>>> from sympy import Rational
>>> from derivations.formula_model import FormulaProblem
>>> cubic = FormulaProblem.of("t**3 - 3*t", ["t"], weight_decay=Rational(1, 2))   # R' = (t^3 - 3 t - 1)(3 t^2 - 3) + t/2
>>> system = BoxSystem(cubic, {"x": [Rational(0)], "y": [Rational(1)]}, {"n": 1, "d": 1})
>>> whole = Interval(torch.tensor([-9.0], dtype=torch.float64), torch.tensor([9.0], dtype=torch.float64))
>>> found = search(Space(system, whole, torch.tensor([0])), seconds=60)
>>> found.complete, len(found.zeros)
(True, 5)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from numerics.box_contraction import Neurons, ordered, stationary
from numerics.box_system import BoxSystem
from numerics.interval_tensors import Interval
from numerics.mean_value import mean_value
from numerics.unique_zeros import UniqueZero, unique_zero

__all__ = ["Image", "Outcome", "Space", "search"]

#: Boxes that are examined at once.
BATCH = 4096
#: A box narrower than this in every coordinate is not cut any more.
SMALLEST_WIDTH = 1e-9
#: The search ends with so many of these: a degenerate point or a continuum leaves more and more of them.
MOST_UNDECIDED = 2000
#: Contractions of a box before it is cut, and points per batch from which Newton's method is tried.
PASSES, TRIES = 2, 4
#: Newton's method is not tried again so close to a point where it failed.
FAILED = 1e-6
#: A point that is given stands for the critical point so close to it, relative to its size.
NEAR = 1e-6
#: A box that lost this share of its volume is contracted again and not cut.
SHRUNK = 0.5


@dataclass(frozen=True, eq=False)
class Image:
    """A symmetry of the risk: coordinate j of the image is ``signs[j]`` times coordinate ``places[j]``."""

    places: Tensor
    signs: Tensor


@dataclass(frozen=True, eq=False)
class Space:
    """What is searched.

    Parameters
    ----------
    system : BoxSystem
        The problem.
    box : Interval
        Its ends (P,); frozen coordinates have equal ends.
    free : Tensor
        Places of the trained coordinates, those in which R is quadratic first,
    linear : int
        and how many these are.
    outputs : Interval or None
        Bounds (n, 1) or (n, o, 1) of the outputs at every critical point in the box.
    neurons : Neurons or None
        For the weight equations of two-layer networks.
    images : sequence of Image
        A group of symmetries, without the identity.
    above, positive : sequence of (int, int), Tensor
        The domain that meets every orbit: x_i >= x_j, and x_j >= 0.
    """

    system: BoxSystem
    box: Interval
    free: Tensor
    linear: int = 0
    outputs: Interval | None = None
    neurons: Neurons | None = None
    images: Sequence[Image] = ()
    above: Sequence[tuple[int, int]] = ()
    positive: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found.

    Attributes
    ----------
    zeros : tuple of UniqueZero
        One critical point of each orbit, in the order found.
    given : int
        How many of them came from the points given.
    complete : bool
        Whether there is no other orbit in the box, and these are shown to be different ones.
    boxes : int
        Boxes examined.
    remaining : float
        Volume of the boxes left, relative to that of the domain searched.
    reason : str
        What stands in the way of completeness; empty where it is shown.
    seconds : float
        Run time.
    """

    zeros: tuple[UniqueZero, ...]
    given: int
    complete: bool
    boxes: int
    remaining: float
    reason: str
    seconds: float


class _Known:
    """Critical points found so far, with the boxes around all their images."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.orbits: list[UniqueZero] = []
        self.boxes: list[Interval] = []
        self.failed: list[Tensor] = []
        count = space.system.P
        everyone = [Image(torch.arange(count), torch.ones(count, dtype=torch.float64)), *space.images]
        self.places = torch.stack([image.places for image in everyone])
        self.signs = torch.stack([image.signs for image in everyone])

    def covers(self, boxes: Interval) -> Tensor:
        """Whether each box lies in the box of a known point."""
        free = self.space.free
        inside = torch.zeros(boxes.lo.shape[1], dtype=torch.bool)
        for own in self.boxes:
            inside |= ((boxes.lo[free] >= own.lo[free]) & (boxes.hi[free] <= own.hi[free])).all(dim=0)
        return inside

    def try_all(self, points: Tensor) -> None:
        """Try Newton's method from a few points (P, B) that lie in no known box."""
        for point in points[:, ~self.covers(Interval.around(points))].T[:TRIES]:
            self.offer(point)

    def offer(self, point: Tensor, within: float = torch.inf) -> None:
        """Enter the critical point that Newton's method finds, if one is shown that is not known; not if it is further away."""
        if any(float((point - other).abs().max()) < FAILED for other in self.failed):
            return
        if bool(self.covers(Interval.around(point[:, None]))[0]):
            return
        found = unique_zero(self.space.system, point, self.space.free)
        if found is None:
            self.failed.append(point)
        elif float((found.centre - point).abs().max()) > within * (1 + float(point.abs().max())):
            return
        elif not any(self._is(found, other) for other in self.orbits):
            self.orbits.append(found)
            for centre, radius in zip(self._images(found.centre), found.radius[self.places], strict=True):
                # One float inwards: the sum of centre and radius is rounded.
                lo, hi = centre - radius, centre + radius
                own = Interval(torch.nextafter(lo, hi)[:, None], torch.nextafter(hi, lo)[:, None])
                part = ordered(own, self.space.above, self.space.positive)
                if bool((part.lo <= part.hi)[self.space.free].all()):  # others do not meet the domain
                    self.boxes.append(own)

    def _images(self, centre: Tensor) -> Tensor:
        return centre[self.places] * self.signs

    def _is(self, found: UniqueZero, other: UniqueZero) -> bool:
        """Whether an image of a critical point lies in the box of another: then it is that one."""
        gap = (self._images(found.centre) - other.centre).abs() * (1 + 1e-15) + found.error * (1 + 1e-9)
        free = self.space.free
        return bool((gap[:, free] < other.radius[free]).all(dim=1).any())

    def kept_inside(self, given: int) -> tuple[int, bool]:
        """Drop points outside the box; return how many of the first ones are left, and whether one may lie on a face."""
        free, box = self.space.free, self.space.box
        inside, on_face = [], False
        for zero in self.orbits:
            near = _near(zero)[free, 0]
            within = bool(((near.lo >= box.lo[free]) & (near.hi <= box.hi[free])).all())
            outside = bool(((near.hi < box.lo[free]) | (near.lo > box.hi[free])).any())
            inside.append(within)
            on_face |= not within and not outside
        self.orbits = [zero for zero, within in zip(self.orbits, inside, strict=True) if within]
        return sum(inside[:given]), on_face

    def told_apart(self) -> bool:
        """Whether no image of a point can be another of the points."""
        for place, one in enumerate(self.orbits):
            for other in self.orbits[:place]:
                gap = (self._images(one.centre) - other.centre)[:, self.space.free].abs().amax(dim=1)
                if not float(gap.min()) > 2 * (one.error + other.error):
                    return False
        return True


def _near(zero: UniqueZero) -> Interval:
    """Return the small box in which the critical point is, rounded outwards."""
    pad = zero.error * (1 + 1e-9) + zero.centre.abs() * 1e-15
    return Interval((zero.centre - pad)[:, None], (zero.centre + pad)[:, None])


def search(space: Space, known: Sequence[Tensor] = (), *, seconds: float) -> Outcome:
    """Find every critical point in a box, or say what is left after some time.

    Parameters
    ----------
    space : Space
        The problem, the box, and its symmetries.
    known : sequence of Tensor
        Points (P,) next to which critical points are expected.
    seconds : float
        Run time after which boxes that are left are given up.
    """
    begun = time.perf_counter()
    points = _Known(space)
    for point in known:
        points.offer(point, NEAR)
    given = len(points.orbits)
    start = ordered(Interval(space.box.lo[:, None], space.box.hi[:, None]), space.above, space.positive)
    stack: list[Interval] = [start]
    undecided: list[Interval] = []
    count = 0
    while _count(stack) and time.perf_counter() - begun < seconds and _count(undecided) <= MOST_UNDECIDED:
        boxes = _next(stack)
        count += boxes.lo.shape[1]
        before = boxes
        for _ in range(PASSES):
            boxes, before, smear = _pruned(space, points, boxes, before)
            if not boxes.lo.shape[1]:
                break
        alive = ~points.covers(boxes)
        boxes, before, smear = boxes[:, alive], before[:, alive], smear[:, alive]
        if not boxes.lo.shape[1]:
            continue
        width = (boxes.hi - boxes.lo)[space.free]
        tiny = (width < SMALLEST_WIDTH).all(dim=0)
        share = (width / (before.hi - before.lo)[space.free].clamp(min=1e-300)).prod(dim=0)
        again = (share < SHRUNK) & ~tiny
        cut = ~again & ~tiny
        stack += [boxes[:, again], _halves(space, boxes[:, cut], smear[:, cut])]
        points.try_all(boxes[:, tiny].mid)
        undecided.append(boxes[:, tiny])
    undecided = [boxes[:, ~points.covers(boxes)] for boxes in undecided]  # what was found later covers some
    given, on_face = points.kept_inside(given)
    reason = _reason(_count(stack), _count(undecided), points.told_apart() and not on_face, seconds)
    remaining = _volume([*stack, *undecided], space.free, start)
    seconds = time.perf_counter() - begun
    return Outcome(tuple(points.orbits), given, not reason, count, remaining, reason, seconds)


def _pruned(
    space: Space, points: _Known, boxes: Interval, before: Interval
) -> tuple[Interval, Interval, Tensor]:
    """Contract the boxes once and drop those without a critical point that is not known."""
    boxes = ordered(boxes, space.above, space.positive)
    alive = (boxes.lo <= boxes.hi).all(dim=0) & ~points.covers(boxes)
    boxes, before = boxes[:, alive], before[:, alive]
    if boxes.lo.shape[1]:
        boxes, alive = stationary(space.system, boxes, space.free, space.outputs, space.neurons)
        boxes, before = boxes[:, alive], before[:, alive]
    if not boxes.lo.shape[1]:
        return boxes, before, boxes.lo[space.free]
    found = mean_value(space.system, boxes, space.free, space.linear)
    alive = found.possible
    points.try_all(found.newton[:, alive & found.single])
    return found.boxes[:, alive], before[:, alive], found.smear[:, alive]


def _reason(left: int, undecided: int, apart: bool, seconds: float) -> str:
    """Say why the list is not shown to be complete."""
    if undecided:
        return f"{undecided} boxes of width {SMALLEST_WIDTH:g} are left: they may hold critical points that are degenerate, or that form a continuum"
    if left:
        return f"{left} boxes were left after {seconds:g} seconds"
    return "" if apart else "two critical points are not told apart, or one lies next to a face of the box"


def _count(stack: Sequence[Interval]) -> int:
    return sum(boxes.lo.shape[1] for boxes in stack)


def _volume(stack: Sequence[Interval], free: Tensor, start: Interval) -> float:
    """Return the volume of some boxes relative to that of the domain, walls between equal neurons left out of account."""
    whole = (start.hi - start.lo)[free].clamp(min=1e-300)
    return sum(float(((boxes.hi - boxes.lo)[free] / whole).prod(dim=0).sum()) for boxes in stack)


def _next(stack: list[Interval]) -> Interval:
    """Take a batch from the top of the stack: the boxes cut last, so that few are open at a time."""
    parts: list[Interval] = []
    room = BATCH
    while stack and room:
        boxes = stack.pop()
        if boxes.lo.shape[1] > room:
            stack.append(boxes[:, room:])
            boxes = boxes[:, :room]
        parts.append(boxes)
        room -= boxes.lo.shape[1]
    return Interval(torch.cat([u.lo for u in parts], dim=1), torch.cat([u.hi for u in parts], dim=1))


def _halves(space: Space, boxes: Interval, smear: Tensor) -> Interval:
    """Cut each box in the coordinate that widens the gradient most; the output layer follows the input weights."""
    first = space.linear if space.linear < len(space.free) else 0
    chosen = space.free[first + smear[first:].argmax(dim=0)]
    at = torch.arange(boxes.lo.shape[1])
    middle = boxes.mid[chosen, at]
    lo, hi = boxes.lo.clone(), boxes.hi.clone()
    hi[chosen, at], lo[chosen, at] = middle, middle
    return Interval(torch.cat([boxes.lo, lo], dim=1), torch.cat([hi, boxes.hi], dim=1))
