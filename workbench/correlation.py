r"""All KKT points of the neural correlation of one neuron on the sphere, in any dimension, exactly.

For an activation with the slopes :math:`g_-, g_+` on the half lines,

.. math:: G(u) = \sum_i y_i\,\sigma(u \cdot x_i), \qquad |u| = 1,

is linear on the cells of the arrangement of the hyperplanes :math:`u \cdot x_i = 0`.  KKT means :math:`\lambda u \in \partial G(u)`, and
:math:`\lambda = G(u)` by Euler.  Let u lie in a face, L be its linear hull and g the gradient of an adjacent cell.  All adjacent
gradients have one projection w to L, so :math:`\lambda u = w`: a face holds no KKT point but :math:`\pm w / |w|`, unless w = 0, when G = 0
on the whole face.  What remains is to see whether that point lies in the face and w in the hull of the adjacent gradients.  All
faces are listed (``workbench.arrangement``), so the list is complete.

Samples on one line through the origin bend G together: first they are joined, and where the bends cancel there is no kink.

With independent normals at the face and w in the interior of the hull, G is near u a sum of kinks, convex or concave, in the
directions across the face, and a strict maximum (G > 0) or minimum along it: so there is a Morse index, and with only such
points :math:`\sum (-1)^{index} = 1 + (-1)^{d-1}` (the Euler characteristic of the sphere), a check that could refute the list.

Source: Kumar, Haupt, arXiv:2402.09226, Section 2, for the problem.

>>> from sympy import Rational
>>> x = [[1, Rational(1, 2)], [Rational(-3, 10), 1], [Rational(3, 5), Rational(-4, 5)]]
>>> found = sphere_points("relu", x, [1, Rational(-1, 2), Rational(4, 5)])
>>> [(p.direction, p.value, p.slopes) for p in found.points if p.kink]
[((-sqrt(5)/5, 2*sqrt(5)/5), -23*sqrt(5)/100, {1: 2/25})]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
from sympy import Expr, Integer, Rational, sqrt

from derivations.activations import Activation, Z, activation
from derivations.errors import AssumptionError
from derivations.exact_lp import exact_numbers, nonnegative_solution
from workbench.arrangement import faces, independent_columns

__all__ = ["SpherePoint", "SpherePoints", "sphere_points"]

#: A sign or a slope that contradicts a face by more than this, relative to the size of the gradient (for slopes: over the smallest
#: singular value), rules the face out in double precision.  By singular vectors of normals of condition up to ``WELL`` both are
#: accurate to 1e-9.
CLEARLY, WELL = 1e-6, 1e6

_Vector = tuple[Fraction, ...]


@dataclass(frozen=True)
class SpherePoint:
    """One KKT point with G != 0.

    Parameters
    ----------
    direction : tuple of Expr
        The unit vector u, exact.
    value : Expr
        G(u), the multiplier.
    index : int or None
        Morse index of G on the sphere; None where the point is degenerate.
    kind : str
        ``maximum``, ``minimum``, ``saddle`` of G on the sphere; ``degenerate`` without index.
    kink : tuple of int
        Samples (from 1) with u . x_i = 0 at which G has a kink.
    slopes : dict
        For these samples the Clarke coefficient that stands for sigma'(0); if they are dependent, one possible choice.
    """

    direction: tuple[Expr, ...]
    value: Expr
    index: int | None
    kind: str
    kink: tuple[int, ...] = ()
    slopes: dict[int, Expr] | None = None

    @property
    def attracting(self) -> bool:
        """Whether |G| is known to have a strict local maximum here."""
        return self.kind == ("maximum" if self.value > 0 else "minimum")

    @property
    def neuron(self) -> tuple[Expr, tuple[Expr, ...]]:
        """The neuron (a, w) on the unit sphere: |a| = |w|, a of the sign of G."""
        half = 1 / sqrt(2)
        return (half if self.value > 0 else -half), tuple(half * u for u in self.direction)


@dataclass(frozen=True)
class SpherePoints:
    """The complete list.

    Parameters
    ----------
    points : tuple of SpherePoint
        With G != 0, by falling value.
    flat : tuple of tuple of int
        Faces of KKT points on which G = 0, by the sign of u . x_i for each sample.
    faces : int
        Number of faces examined.
    dimension : int
        d.
    """

    points: tuple[SpherePoint, ...]
    flat: tuple[tuple[int, ...], ...]
    faces: int
    dimension: int

    @property
    def best(self) -> Expr:
        """Largest |G| over the sphere."""
        return max((abs(p.value) for p in self.points), key=float, default=Integer(0))

    @property
    def euler(self) -> tuple[int, int] | None:
        """The sum of (-1)^index and what it has to be; None with degenerate points or faces where G = 0."""
        if self.flat or any(p.index is None for p in self.points):
            return None
        return sum((-1) ** p.index for p in self.points if p.index is not None), 1 + (-1) ** (
            self.dimension - 1
        )


def sphere_points(sigma: str | Activation, x: Sequence[Sequence[Any]], y: Sequence[Any]) -> SpherePoints:
    """Return every KKT point of the correlation of one neuron.

    Parameters
    ----------
    sigma : str or Activation
        relu, leaky relu, abs or linear, with rational slopes.
    x, y : nested lists of rational numbers
        (n, d) with d >= 2, and (n,).  A bias is a further input equal to 1.

    Raises
    ------
    ValueError
        If shapes do not fit or numbers are not rational.
    AssumptionError
        If sigma is not 1-homogeneous.
    NotThere
        If there are too many faces.
    """
    sigma = activation(sigma) if isinstance(sigma, str) else sigma
    if sigma.homogeneity_degree != 1:
        raise AssumptionError(
            f"the KKT points on the sphere need a 1-homogeneous activation, got {sigma.name}; use relu, leaky relu or abs"
        )
    lengths = {len(row) for row in x if not isinstance(row, str)}
    if not x or len(x) != len(y) or len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(
            f"x has {len(x)} rows of lengths {sorted(lengths)} and y {len(y)} entries; required are (n, d), d >= 2, and (n,)"
        )
    rows = [_rational(row, "x") for row in x]
    slopes = _rational([-sigma.derivative(0).subs(Z, -1), sigma.derivative(0).subs(Z, 1)], "the slopes")
    return _Sphere(rows, _rational(y, "y"), slopes[0], slopes[1]).solve()


def _rational(values: Sequence[Any], what: str) -> _Vector:
    found = exact_numbers(values, what)
    if odd := [u for u in found if not u.is_Rational]:
        raise ValueError(f"{what}: found {odd[0]}; rational numbers are required")
    return tuple(Fraction(int(u.p), int(u.q)) for u in found)


class _Sphere:
    """Hyperplanes with what G gains across them: the slope ``up[h]`` on the positive side, ``down[h]`` on the other."""

    def __init__(self, x: Sequence[_Vector], y: _Vector, below: Fraction, above: Fraction) -> None:
        self.x, self.size, self.below, self.above = x, len(x[0]), below, above
        self.linear: _Vector = (Fraction(0),) * self.size
        joined: dict[tuple[int, ...], list[tuple[int, Fraction]]] = {}
        for i, (row, label) in enumerate(zip(x, y, strict=True)):
            normal, length = _primitive(row)
            if length:
                joined.setdefault(normal, []).append((i, length * label))
        self.normals: list[tuple[int, ...]] = []
        self.up: list[Fraction] = []
        self.down: list[Fraction] = []
        self.members: list[list[tuple[int, Fraction]]] = []
        for normal, members in joined.items():
            # A sample with negative length has its positive side on the other side of the hyperplane.
            lengths = {i: _primitive(x[i])[1] for i, _ in members}
            up = sum((c * (above if lengths[i] > 0 else below) for i, c in members), Fraction(0))
            down = sum((c * (below if lengths[i] > 0 else above) for i, c in members), Fraction(0))
            if up == down:
                self.linear = _plus(self.linear, normal, up)
                continue
            self.normals.append(normal)
            self.up.append(up)
            self.down.append(down)
            self.members.append([(i, lengths[i]) for i, _ in members])
        self.true = len(self.normals)
        # Further hyperplanes without kink make the arrangement meet in the origin alone.
        for j in range(self.size):
            unit = tuple(int(k == j) for k in range(self.size))
            if unit not in self.normals and len(independent_columns([*self.normals, unit])) > (
                len(independent_columns(self.normals)) if self.normals else 0
            ):
                self.normals.append(unit)
                self.up.append(Fraction(0))
                self.down.append(Fraction(0))
                self.members.append([])

    def solve(self) -> SpherePoints:
        signs = faces(self.normals)
        points: list[SpherePoint] = []
        flat: list[tuple[int, ...]] = []
        for face, sides in self._survivors(signs):
            found = self._exact(face, sides)
            if found == "flat":
                flat.append(self._of_samples(face))
            elif isinstance(found, SpherePoint):
                points.append(found)
        points.sort(key=lambda p: (-float(p.value), [float(u) for u in p.direction]))
        return SpherePoints(tuple(points), tuple(dict.fromkeys(sorted(flat))), len(signs), self.size)

    # -- double precision rules out most faces --------------------------------------------------------------------

    def _survivors(self, signs: np.ndarray[Any, Any]) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the faces that rounding does not rule out, each with the signs of w / |w| left over."""
        normals = np.array([[float(u) for u in row] for row in self.normals])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        lengths = np.array([float(sum(u * u for u in row)) ** 0.5 for row in self.normals])
        up, down = (np.array([float(u) for u in part]) * lengths for part in (self.up, self.down))
        linear = np.array([float(u) for u in self.linear])
        scale = np.abs(linear).sum() + np.maximum(np.abs(up), np.abs(down)).sum()
        weights = 2 ** np.arange(signs.shape[1], dtype=np.int64)
        patterns = (signs == 0).astype(np.int64) @ weights
        order = np.argsort(patterns, kind="stable")
        starts = np.flatnonzero(np.diff(patterns[order], prepend=-1))
        for group in np.split(order, starts[1:]):
            part = signs[group].astype(float)
            zero = np.flatnonzero(part[0] == 0)
            projector = np.eye(self.size)
            bound = CLEARLY * scale
            gradients = linear + np.where(part > 0, up, np.where(part < 0, down, 0.0)) @ normals
            inside = np.ones(len(part), dtype=bool)
            if len(zero):
                basis, sizes, _ = np.linalg.svd(normals[zero].T, full_matrices=False)
                rank = len(independent_columns([self.normals[h] for h in zero]))
                if sizes[rank - 1] * WELL < sizes[0]:
                    bound = np.inf
                elif rank == len(
                    zero
                ):  # the slopes across these hyperplanes that take the gradient to w are unique
                    needed = -gradients @ np.linalg.pinv(normals[zero])
                    least, most = np.minimum(up, down)[zero], np.maximum(up, down)[zero]
                    slack = bound / sizes[rank - 1]
                    inside = ((needed > least - slack) & (needed < most + slack)).all(axis=1)
                projector -= basis[:, :rank] @ basis[:, :rank].T
            agreement = (gradients @ projector @ normals.T) * part
            other = part[0] != 0
            lowest, highest = agreement[:, other].min(axis=1), agreement[:, other].max(axis=1)
            for row in np.flatnonzero(inside & ((lowest > -bound) | (highest < bound))):
                sides = [1] * bool(lowest[row] > -bound) + [-1] * bool(highest[row] < bound)
                yield signs[group[row]].tolist(), sides

    # -- exact decisions ------------------------------------------------------------------------------------------

    def _exact(self, face: list[int], sides: list[int]) -> SpherePoint | str | None:
        zero = [h for h, s in enumerate(face) if s == 0]
        gradient = self.linear
        for h, s in enumerate(face):
            if s:
                gradient = _plus(gradient, self.normals[h], self.up[h] if s > 0 else self.down[h])
        rows = [self.normals[h] for h in zero]
        basis = independent_columns([list(u) for u in zip(*rows, strict=True)]) if rows else []
        span = [rows[j] for j in basis]
        shares = _solve([[_dot(u, v) for v in span] for u in span], [-_dot(u, gradient) for u in span])
        w = gradient
        for share, row in zip(shares, span, strict=True):
            w = _plus(w, row, share)
        values = [_dot(row, w) for row in self.normals]
        if any(w):
            sides = [e for e in sides if all(e * v * s > 0 for v, s in zip(values, face, strict=True) if s)]
            if not sides:
                return None
        switches = self._switches(zero, basis, shares)
        if switches is None:
            return None
        return self._point(w, sides[0], zero, switches) if any(w) else "flat"

    def _switches(
        self, zero: list[int], basis: list[int], shares: list[Fraction]
    ) -> dict[int, Fraction] | None:
        """Return the slopes across the hyperplanes at a face that give w, None if it lies outside the hull."""
        if len(basis) == len(zero):
            found = dict(zip(zero, shares, strict=True))
            inside = all((found[h] - self.up[h]) * (found[h] - self.down[h]) <= 0 for h in zero)
            return found if inside else None
        rows = [self.normals[h] for h in zero]
        columns = independent_columns(rows)
        local = faces([[row[c] for c in columns] for row in rows])
        local = local[(local != 0).all(axis=1)]
        slopes = [
            [self.up[h] if s > 0 else self.down[h] for h, s in zip(zero, signs, strict=True)]
            for signs in local.tolist()
        ]
        target: _Vector = (Fraction(0),) * self.size
        for j, share in zip(basis, shares, strict=True):
            target = _plus(target, rows[j], share)
        vertices = []
        for chosen in slopes:
            vertex: _Vector = (Fraction(0),) * self.size
            for row, slope in zip(rows, chosen, strict=True):
                vertex = _plus(vertex, row, slope)
            vertices.append(vertex)
        matrix = [[_exactly(v[p]) for v in vertices] for p in range(self.size)]
        matrix.append([Integer(1)] * len(vertices))
        weights = nonnegative_solution(matrix, [*map(_exactly, target), Integer(1)]).solution
        if weights is None:
            return None
        convex = [Fraction(int(u.p), int(u.q)) for u in weights]
        shared = [
            sum((u * chosen[k] for u, chosen in zip(convex, slopes, strict=True)), Fraction(0))
            for k in range(len(zero))
        ]
        return dict(zip(zero, shared, strict=True))

    def _point(self, w: _Vector, side: int, zero: list[int], switches: dict[int, Fraction]) -> SpherePoint:
        length = sqrt(_exactly(sum((u * u for u in w), Fraction(0))))
        kinks = [h for h in zero if h < self.true]
        slopes: dict[int, Expr] = {}
        for h in kinks:
            share = (switches[h] - self.down[h]) / (self.up[h] - self.down[h])  # of the positive side
            for i, orientation in self.members[h]:
                t = share if orientation > 0 else 1 - share
                slopes[i + 1] = _exactly(t * self.above + (1 - t) * self.below)
        # Hyperplanes without kink may meet the face; across them G is smooth, as along it.
        index = None
        independent = not kinks or len(independent_columns([self.normals[h] for h in kinks])) == len(kinks)
        if independent and all(switches[h] not in (self.up[h], self.down[h]) for h in kinks):
            concave = sum(self.up[h] < self.down[h] for h in kinks)
            index = concave + (self.size - 1 - len(kinks) if side > 0 else 0)
        kind = (
            "degenerate" if index is None else {0: "minimum", self.size - 1: "maximum"}.get(index, "saddle")
        )
        direction = tuple(side * _exactly(u) / length for u in w)
        return SpherePoint(
            direction, side * length, index, kind, tuple(sorted(slopes)), dict(sorted(slopes.items()))
        )

    def _of_samples(self, face: list[int]) -> tuple[int, ...]:
        """Return the sign of u . x_i for each sample, at a point of the face where it is determined by the kinks; else 0."""
        out = [0] * len(self.x)
        for h, members in enumerate(self.members):
            for i, length in members:
                out[i] = face[h] * (1 if length > 0 else -1)
        return tuple(out)


def _primitive(row: _Vector) -> tuple[tuple[int, ...], Fraction]:
    """Write a vector as a multiple of an integer vector without common factor whose first entry that is not 0 is positive."""
    if not any(row):
        return (0,) * len(row), Fraction(0)
    bottom = lcm(*[u.denominator for u in row])
    whole = [int(u * bottom) for u in row]
    common = gcd(*whole)
    common = common if next(u for u in whole if u) > 0 else -common
    return tuple(u // common for u in whole), Fraction(common, bottom)


def _plus(left: _Vector, right: Sequence[int | Fraction], factor: Fraction) -> _Vector:
    return tuple(u + factor * v for u, v in zip(left, right, strict=True))


def _dot(left: Sequence[int | Fraction], right: Sequence[int | Fraction]) -> Fraction:
    return sum((Fraction(u) * v for u, v in zip(left, right, strict=True)), Fraction(0))


def _exactly(value: Fraction) -> Rational:
    return Rational(value.numerator, value.denominator)


def _solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Solve a regular system by elimination."""
    size = len(matrix)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k in range(size):
        pivot = next(i for i in range(k, size) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [u / rows[k][k] for u in rows[k]]
        for i in range(size):
            if i != k and rows[i][k]:
                rows[i] = [u - rows[i][k] * v for u, v in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]
