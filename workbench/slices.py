"""Planes through the parameters, and the risk on them with the critical points that lie there.

A plane is spanned by two coordinates at a critical point, or goes through two or three of them.  Of every other point the image
under permutations and signs that is nearest to the first one is taken; with two points the second direction is the eigenvector of the
lowest eigenvalue at the one of higher index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.orbits import Orbits
from workbench.errors import Refusal, unknown_name
from workbench.results import CriticalPoint

__all__ = ["Plane", "Surface", "place_of", "slice_through", "slice_with"]

#: Points of the grid on a side, and how far the plane goes beyond the points on it, in units of their largest extent.
SIDE, MARGIN = 121, 0.35
#: Half side of a plane of coordinates, at least; distance from a plane up to which a point lies on it, relative to 1 + |theta|.
HALF, ON_PLANE = 1.5, 1e-6


@dataclass(frozen=True)
class Plane:
    """Origin and two directions (P,), names of the axes."""

    origin: Tensor
    across: tuple[Tensor, Tensor]
    names: tuple[str, str]

    def at(self, u: Tensor, v: Tensor) -> Tensor:
        """Return theta at coordinates of the plane."""
        return self.origin + u[..., None] * self.across[0] + v[..., None] * self.across[1]

    def coordinates(self, theta: Tensor) -> tuple[float, float] | None:
        """Return the coordinates of a point on the plane, None off it."""
        basis = torch.stack(self.across, dim=1)
        found = torch.linalg.lstsq(basis, (theta - self.origin)[:, None]).solution
        apart = float((theta - self.origin - (basis @ found)[:, 0]).norm())
        return None if apart > ON_PLANE * (1 + float(theta.norm())) else (float(found[0]), float(found[1]))


@dataclass(frozen=True)
class Surface:
    """The risk on a grid of a plane: axes, values by row of the second axis, points as (id, kind, u, v)."""

    names: tuple[str, str]
    u: tuple[float, ...]
    v: tuple[float, ...]
    risk: tuple[tuple[float, ...], ...]
    points: tuple[tuple[str, str, float, float], ...]

    def plot(self, ax: Any = None) -> Any:
        """Draw level lines and the points; return the figure, or ``ax`` if given."""
        from workbench.plots import draw_surface

        return draw_surface(self, ax=ax)


def place_of(system: CompiledSystem, name: str) -> int:
    """Return the place in theta of a coordinate such as ``a1``, ``w1`` or ``w[1,2]``, counted from 1.

    Raises
    ------
    Refusal
        If there is no such coordinate.
    """
    shapes = {block: (shape, where.start) for block, shape, where in system.layout}
    match = re.fullmatch(r"(.+?)(?:\[([\d,\s]+)\]|(\d+))?", name)
    if name in shapes and shapes[name][0] == ():
        return shapes[name][1]
    block = match[1] if match else name
    if match is None or block not in shapes:
        raise unknown_name(block, list(shapes), "a block")
    shape, start = shapes[block]
    places = [int(u) for u in (match[2] or match[3] or "").split(",") if u.strip()]
    places += [1] * (len(shape) - len(places)) if all(size == 1 for size in shape[len(places) :]) else []
    if len(places) != len(shape) or any(not 1 <= u <= size for u, size in zip(places, shape, strict=True)):
        example = f"{block}[{','.join('1' for _ in shape)}]" if shape else block
        raise Refusal(f"the coordinate {name!r}", f"{example} with places in a block of shape {shape}")
    offset = 0
    for u, size in zip(places, shape, strict=True):
        offset = offset * size + u - 1
    return start + offset


def slice_with(
    system: CompiledSystem, points: Sequence[CriticalPoint], names: tuple[str, str], at: str | None = None
) -> Surface:
    """Return the plane of two coordinates through a point, the first of the list by default.

    Raises
    ------
    Refusal
        If a coordinate or the point is not there, or the two coordinates are one.
    """
    places = [place_of(system, name) for name in names]
    if places[0] == places[1]:
        raise Refusal(f"the coordinate {names[0]!r} twice", "two different coordinates")
    usable = [point for point in points if point.width]
    origin = _theta(system, usable[0] if at is None else _named(usable, at))
    units = [torch.zeros_like(origin) for _ in places]
    for unit, place in zip(units, places, strict=True):
        unit[place] = 1.0
    base = origin.clone()
    base[places] = 0.0
    return _surface(system, usable, Plane(base, (units[0], units[1]), names), [])


def slice_through(system: CompiledSystem, points: Sequence[CriticalPoint], names: Sequence[str]) -> Surface:
    """Return the plane through two or three points.

    Raises
    ------
    Refusal
        If a point is not there, there are not two or three of them, or they lie on a line.
    """
    if not 2 <= len(set(names)) <= 3:
        raise Refusal(f"{len(set(names))} points", "two or three different ones, such as m2.1,m2.3")
    usable = [point for point in points if point.width]
    chosen = [_named(usable, name) for name in names]
    origin = _theta(system, chosen[0])
    others = [_nearest(system, point, origin) for point in chosen[1:]]
    first = others[0] - origin
    if len(others) == 2:
        second = others[1] - origin
    else:
        top = max(((chosen[0], origin), (chosen[1], others[0])), key=lambda pair: pair[0].inertia.negative)
        second = torch.linalg.eigh(system.hessian(top[1])).eigenvectors[:, 0]
    unit = first / first.norm()
    normal = second - (second @ unit) * unit
    if float(normal.norm()) <= 1e-9 * float(second.norm()):
        raise Refusal(f"{', '.join(names)}, which lie on a line", "points that span a plane")
    normal = normal / normal.norm()
    labels = (f"distance from {names[0]} towards {names[1]}", "distance across")
    return _surface(system, usable, Plane(origin, (unit, normal), labels), [origin, *others])


def _surface(
    system: CompiledSystem, points: Sequence[CriticalPoint], plane: Plane, chosen: Sequence[Tensor]
) -> Surface:
    orbits = Orbits(system)
    found: list[tuple[str, str, float, float]] = []
    for point in points:
        images = orbits.images(_theta(system, point))
        for image in [_theta(system, point)] if images is None else images:
            where = plane.coordinates(image)
            if where is not None and not any(
                abs(where[0] - u) + abs(where[1] - v) < 1e-6 for _, _, u, v in found
            ):
                found.append((point.id, point.kind, *where))
    anchors = [where for theta in chosen if (where := plane.coordinates(theta)) is not None]
    if not anchors:
        anchors = [(u, v) for _, _, u, v in found]
    spans = []
    for side in (0, 1):
        low, high = min(w[side] for w in anchors), max(w[side] for w in anchors)
        other = [w[1 - side] for w in anchors]
        margin = max(MARGIN * (high - low), 0.5 * MARGIN * (max(other) - min(other)), 0.3 if chosen else HALF)
        spans.append(
            torch.linspace(low - margin, high + margin, SIDE, dtype=system.dtype, device=system.device)
        )
    v, u = torch.meshgrid(spans[1], spans[0], indexing="ij")
    risk = system.value(plane.at(u, v).reshape(-1, system.P)).reshape(SIDE, SIDE)
    inside = tuple(
        entry
        for entry in found
        if float(spans[0][0]) <= entry[2] <= float(spans[0][-1])
        and float(spans[1][0]) <= entry[3] <= float(spans[1][-1])
    )
    rows = tuple(tuple(float(r) for r in row) for row in risk)
    return Surface(plane.names, tuple(spans[0].tolist()), tuple(spans[1].tolist()), rows, inside)


def _theta(system: CompiledSystem, point: CriticalPoint) -> Tensor:
    return system.pack(point.theta)


def _named(points: Sequence[CriticalPoint], name: str) -> CriticalPoint:
    for point in points:
        if point.id == name:
            return point
    raise unknown_name(name, [point.id for point in points], "a critical point")


def _nearest(system: CompiledSystem, point: CriticalPoint, origin: Tensor) -> Tensor:
    theta = _theta(system, point)
    images = Orbits(system).images(theta)
    if images is None:
        return theta
    return images[(images - origin).norm(dim=1).argmin()]
