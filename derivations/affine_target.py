r"""The network functions at which a (leaky) relu network over an interval is critical, for an affine target, exactly.

Let sigma have the slopes :math:`g_-` and :math:`g_+` on the two half lines, and let :math:`e = f - y` be affine between the
kinks :math:`p_1 < \dots < p_n` of the neurons that count.  If e is not 0, criticality in (a, w, b, c) reads

.. math::
    \int e = 0, \qquad
    g_+ \int_{I_i} e\,x^j + g_- \int_{J_i} e\,x^j = 0 \quad (j = 0, 1,\ i = 1, \dots, n),

with :math:`I_i` the side on which a neuron at :math:`p_i` is active, :math:`J_i` the other one.  The equations with j = 0 say that
e has mean zero on every gap between neighbouring kinks, so it alternates, :math:`e(p_i) = (-1)^i e(T_0)`, and on a gap of length
:math:`h_k` the first moment is :math:`-(-1)^k e(T_0) h_k^2 / 6`.  Those with j = 1 are therefore n linear equations in the n + 1 squares
:math:`h_k^2`.  The gaps sum to the length of the interval, and the slope of f on the first gap, which the slopes of the kinks fix,
gives :math:`e(T_0)`.

Two orientations at one kink, or a neuron that is affine on the whole interval and adds a slope, need :math:`\int e\,x = 0`.  Then every
gap has both moments zero, and e vanishes.  So all critical functions but f = y are found.

Source: Cheridito, Jentzen, Rossmannek, arXiv:2103.10922, Theorem 2.4 and Section 3 for the classification; derived anew here.

>>> from sympy import Integer
>>> [u.value for u in kink_functions(Shape(*map(Integer, (0, 1, 0, 1, 1, 0, 2))), 2)]
[1/12, 1/972]
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sympy import (
    Expr,
    Matrix,
    expand,
    factor,
    fraction,
    radsimp,
    simplify,
    sqrt,
    sqrtdenest,
    together,
)
from sympy.polys.constructor import construct_domain
from sympy.polys.matrices import DomainMatrix

from derivations.errors import AssumptionError
from derivations.exact_lp import exact_sign

__all__ = ["KinkFunction", "Shape", "inertia_of", "kink_functions", "sign_of"]

#: Most kinks that are enumerated: 2**n orientations.
MAX_KINKS = 6


@dataclass(frozen=True)
class Shape:
    r"""What the critical functions depend on.

    Parameters
    ----------
    left, right : Expr
        Slopes of the activation for z < 0 and z > 0.
    lower, upper : Expr
        Ends of the interval.
    slope, intercept : Expr
        The target is ``slope * x + intercept``.
    weight : Expr
        Factor omega > 0 of the risk :math:`\frac\omega2 \int (f - y)^2`.

    Positive symbols are accepted where signs can be told from them; write a slope g between 0 and 1 as 1/(1 + t).
    """

    left: Expr
    right: Expr
    lower: Expr
    upper: Expr
    slope: Expr
    intercept: Expr
    weight: Expr

    @property
    def jump(self) -> Expr:
        """Jump of the derivative of the activation at 0."""
        return self.right - self.left

    @property
    def length(self) -> Expr:
        """Length of the interval."""
        return self.upper - self.lower


@dataclass(frozen=True)
class KinkFunction:
    r"""A critical function :math:`f \ne y`.

    Parameters
    ----------
    shape : Shape
        Problem.
    orientations : tuple of str
        ``right`` (w > 0) or ``left`` for the neurons at each kink.
    gaps : tuple of Expr
        Lengths between lower end, kinks and upper end.
    first : Expr
        :math:`e(T_0)`, not 0.
    """

    shape: Shape
    orientations: tuple[str, ...]
    gaps: tuple[Expr, ...]
    first: Expr

    @cached_property
    def nodes(self) -> tuple[Expr, ...]:
        """Lower end, kinks, upper end."""
        out = [self.shape.lower]
        for gap in self.gaps:
            out.append(tidy(out[-1] + gap))
        return (*out[:-1], self.shape.upper)

    @property
    def kinks(self) -> tuple[Expr, ...]:
        """The kinks from left to right."""
        return self.nodes[1:-1]

    @cached_property
    def value(self) -> Expr:
        """The risk: e is linear from e to -e on each gap."""
        return tidy(self.shape.weight * self.first**2 * self.shape.length / 6)

    @cached_property
    def bends(self) -> tuple[Expr, ...]:
        """Jump of the slope of f at each kink."""
        pairs = itertools.pairwise(self.gaps)
        return tuple(tidy(2 * (-1) ** i * self.first * (1 / u + 1 / v)) for i, (u, v) in enumerate(pairs))

    @cached_property
    def slopes(self) -> tuple[Expr, ...]:
        r"""Sum of :math:`s a_j w_j` over the neurons at each kink."""
        signs = [1 if o == "right" else -1 for o in self.orientations]
        return tuple(tidy(s * u / self.shape.jump) for s, u in zip(signs, self.bends, strict=True))

    @cached_property
    def moment(self) -> Expr:
        r"""The moment :math:`\omega \int e\,x`."""
        total = sum((-1) ** k * h**2 for k, h in enumerate(self.gaps))
        return tidy(-self.shape.weight * self.first * total / 6)

    def residual(self, node: int) -> Expr:
        """Return e at a node: 0 is the lower end, i the kink i, n + 1 the upper end."""
        return (-1) ** node * self.first

    @property
    def at_lower(self) -> Expr:
        """The value of f at the lower end."""
        return tidy(self.shape.slope * self.shape.lower + self.shape.intercept + self.first)

    @cached_property
    def hessian(self) -> DomainMatrix:
        r"""Second derivatives of the risk in (bends, kinks, c), one neuron at each kink.

        f has the derivatives :math:`\phi_i`, :math:`-\beta_i \phi_i'` and 1, with :math:`\phi_i = \sigma(\pm(x - p_i)) / J`.  Beside their
        Gram matrix there is :math:`\omega e(p_i) \beta_i` from the moving kink; the other second derivatives meet moments that vanish.
        """
        shape, count = self.shape, len(self.kinks)
        numbers = [*self.nodes, *self.bends, self.first, shape.left, shape.right, shape.weight]
        domain, found = construct_domain(numbers, extension=True)
        field = domain.get_field()
        known = [field.convert_from(u, domain) for u in found]
        nodes, bends = known[: count + 2], known[count + 2 : 2 * count + 2]
        first, left, right, weight = known[2 * count + 2 :]
        columns = []
        for k in range(len(self.gaps)):
            rising = []
            for i, name in enumerate(self.orientations):
                side = right if (k > i) == (name == "right") else left
                rising.append((side if name == "right" else -side) / (right - left))
            slopes = [(u, -u * p) for u, p in zip(rising, nodes[1:], strict=False)]
            moves = [(field.zero, -bend * u) for bend, u in zip(bends, rising, strict=True)]
            columns.append([*slopes, *moves, (field.zero, field.one)])
        size = 2 * count + 1
        rows = [[field.zero] * size for _ in range(size)]
        for i, j in itertools.combinations_with_replacement(range(size), 2):
            entry = field.zero
            for k, (u, v) in enumerate(itertools.pairwise(nodes)):
                (a, b), (c, d) = columns[k][i], columns[k][j]
                for power, q in enumerate((b * d, a * d + b * c, a * c), start=1):
                    entry += q * (v**power - u**power) / field(power)
            if i == j and count <= i < 2 * count:
                entry += (first if (i - count) % 2 else -first) * bends[i - count]
            rows[i][j] = rows[j][i] = weight * entry
        return DomainMatrix(rows, (size, size), field)

    @cached_property
    def inertia(self) -> tuple[int, int, int]:
        """Signs (-, 0, +) of the Hessian in (a, w, b, c) with one neuron at each kink and no other.

        (bends, kinks, c) depend on these through a map of full rank, whose kernel are the rescalings of each neuron.
        """
        negative, zero, positive = inertia_of(self.hessian)
        return negative, zero + len(self.kinks), positive


def kink_functions(shape: Shape, most: int) -> tuple[KinkFunction, ...]:
    """Return every critical function with at most ``most`` kinks other than the target itself.

    For an even activation the equations of neighbouring kinks differ by the square of the gap between them, and there is
    none with a kink.

    Raises
    ------
    ValueError
        If more than ``MAX_KINKS`` are asked for.
    AssumptionError
        If a sign cannot be told, or the equations leave a continuum.
    """
    if not 0 <= most <= MAX_KINKS:
        raise ValueError(f"{most} kinks; from 0 to {MAX_KINKS} are enumerated")
    if sign_of(shape.slope) == 0:
        return ()  # e(T0) is a multiple of the slope
    found = []
    even = sign_of(shape.left + shape.right) == 0  # then both orientations are one function
    for count in range(most + 1 if sign_of(shape.jump) else 1):
        for orientations in itertools.product(("right",) if even else ("right", "left"), repeat=count):
            gaps = _gaps(shape, orientations)
            if gaps is None:
                continue
            first = _first(shape, orientations, gaps)
            if first is not None:
                found.append(KinkFunction(shape, orientations, gaps, first))
    return tuple(found)


def _gaps(shape: Shape, orientations: Sequence[str]) -> tuple[Expr, ...] | None:
    """Return the only positive gaps, or None."""
    count = len(orientations)
    if not count:
        return (shape.length,)
    rows = [
        [(-1) ** k * (shape.right if (k > i) == (name == "right") else shape.left) for k in range(count + 1)]
        for i, name in enumerate(orientations)
    ]
    kernel = Matrix(rows).nullspace(simplify=simplify)
    if len(kernel) > 1:
        raise AssumptionError(
            f"kinks with the orientations {', '.join(orientations)} are not determined by the moments: there is a continuum"
        )
    squares = [factor(u) for u in kernel[0]]
    signs = {sign_of(u) for u in squares}
    if len(signs) > 1 or 0 in signs:
        return None
    roots = [sqrt(u / squares[0]) for u in squares]
    total = sum(roots)
    return tuple(tidy(shape.length * root / total) for root in roots)


def _first(shape: Shape, orientations: Sequence[str], gaps: Sequence[Expr]) -> Expr | None:
    """Return e(T0) from the slope of f on the first gap, None if no value fits."""
    total = 2 / gaps[0]
    for i, (name, (u, v)) in enumerate(zip(orientations, itertools.pairwise(gaps), strict=True)):
        base = shape.left / shape.jump if name == "right" else -shape.right / shape.jump
        total += base * 2 * (-1) ** i * (1 / u + 1 / v)
    total = tidy(total)
    return None if sign_of(total) == 0 else tidy(shape.slope / total)


def tidy(value: Expr) -> Expr:
    """Return the normal form of a number or of a function of positive symbols."""
    if value.is_Rational:
        return value
    if value.free_symbols:
        return factor(simplify(value))
    return sqrtdenest(expand(radsimp(expand(value))))


def sign_of(value: Expr) -> int:
    """Return the sign of an exact number, or of a function of positive symbols.

    Raises
    ------
    AssumptionError
        If it depends on the values of the symbols or is not recognised.
    """
    if not value.free_symbols:
        return exact_sign(value)
    top, bottom = fraction(factor(together(value)))
    for part in (top, bottom):
        if part.is_zero is None and part.is_positive is None and part.is_negative is None:
            raise AssumptionError(f"the sign of {value} is not known; give numbers, or positive symbols")
    if top.is_zero:
        return 0
    return (1 if top.is_positive else -1) * (1 if bottom.is_positive else -1)


def inertia_of(matrix: DomainMatrix) -> tuple[int, int, int]:
    """Return the exact signs (-, 0, +) of the eigenvalues of a symmetric matrix over a field of real algebraic numbers.

    All roots of the characteristic polynomial are real, so Descartes' rule counts the positive ones exactly.

    >>> from sympy import Matrix, sqrt
    >>> inertia_of(DomainMatrix.from_Matrix(Matrix([[0, sqrt(2)], [sqrt(2), 1]]), extension=True))
    (1, 0, 1)
    """
    size, field = matrix.shape[0], matrix.domain
    signs = [exact_sign(field.to_sympy(u)) for u in matrix.charpoly()]
    zero = next(k for k, s in enumerate(reversed(signs)) if s)
    kept = [s for s in signs if s]
    positive = sum(u != v for u, v in itertools.pairwise(kept))
    return size - zero - positive, zero, positive
