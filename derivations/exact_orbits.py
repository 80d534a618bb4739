r"""Exactly known real points sorted into orbits of a finite group of signed permutations, each decision certified.

>>> from sympy import QQ, ring
>>> from derivations.algebraic_points import Conjugates
>>> T, t = ring("t", QQ)
>>> points = Conjugates(t**2 - 2, (t, T(1))).real_points()
>>> orbits(points, [((0, 1), (1, 1)), ((0, 1), (-1, 1))])
[[0, 1]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from derivations.algebraic_points import AlgebraicPoint
from derivations.polynomial_boxes import BoxPoint
from derivations.signed_permutations import SignedPermutation, moved

__all__ = ["orbits"]

_FIRST_BITS, _MOST_BITS = 40, 4096

Point = AlgebraicPoint | BoxPoint


def orbits(points: Sequence[Point], group: Sequence[SignedPermutation]) -> list[list[int]]:
    """Return the orbits, each as the numbers of its points; the list must be closed under the group.

    Raises
    ------
    ArithmeticError
        If the image of a point is not in the list, or two points are not told apart at the largest precision.
    """
    bits = _FIRST_BITS
    while bits <= _MOST_BITS:
        boxes = [p.box(bits) for p in points]
        found = _sorted(boxes, group)
        if found is not None:
            return found
        bits *= 2
    raise ArithmeticError(f"points are not told apart with {_MOST_BITS} bits")


def _sorted(boxes: Sequence[list[Any]], group: Sequence[SignedPermutation]) -> list[list[int]] | None:
    """Return the orbits; None where more than one box meets an image."""
    left, out = set(range(len(boxes))), []
    floats = [[(float(u.a), float(u.b)) for u in box] for box in boxes]
    while left:
        first = min(left)
        members = set()
        for element in group:
            image = moved(element, boxes[first])
            ends = [(float(u.a), float(u.b)) for u in image]
            near = [k for k, box in enumerate(floats) if _meet(ends, box) and _touch(image, boxes[k])]
            if not near:
                raise ArithmeticError(
                    "the list of points is not closed under the symmetries: a point is missing"
                )
            if len(near) > 1:
                return None
            members.add(near[0])
        if not members <= left:
            raise ArithmeticError("a point has two orbits under the symmetries")
        left -= members
        out.append(sorted(members))
    return out


def _meet(one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> bool:
    """Whether two boxes may meet, by floating point; ends are widened, so that no meeting is missed."""
    return all(
        a <= d + 1e-9 * (1 + abs(d)) and c <= b + 1e-9 * (1 + abs(b))
        for (a, b), (c, d) in zip(one, other, strict=True)
    )


def _touch(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(u.a <= v.b and v.a <= u.b for u, v in zip(one, other, strict=True))
