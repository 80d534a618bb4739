r"""Critical manifolds of an irreducible critical point in a wider two-layer network: coordinates, equations, numbers, incidences.

An irreducible critical point has width r, output weights :math:`a_j \ne 0` and input weights :math:`w_j` (biases included) that differ
up to sign.  In width m the parameters with the same network function that are critical form, for an analytic activation that is not a polynomial,
a union of *pieces*: each neuron either copies some :math:`w_j`, or is silent, :math:`a = 0`, with inputs in

.. math::
    M = \{w' : \varphi(w') = 0\}, \qquad \varphi(w') = s \sum_i \sigma(w' \cdot \tilde x_i)\, r_i = \nabla_{a'} R .

A *stratum* is a class of pieces under permutations (and sign flips): c_j copies of neuron j and l silent neurons.  On it
:math:`w_{jk} = w_j`, :math:`a_{jk} = \gamma_{jk} a_j`, :math:`\sum_k \gamma_{jk} = 1`: an affine plateau times :math:`M^l`.
The inertia changes where a fraction vanishes, and there the plateau meets the stratum with one more silent neuron, at :math:`w' = w_j`.

Source: Zhang, Zhang, Luo, arXiv:2405.17501, Theorem 5.1; Simsek et al., arXiv:2105.12221 (numbers of pieces).

>>> [(c, l) for c, l in strata(3, 2)]
[((2, 1), 0), ((1, 2), 0), ((1, 1), 1)]
>>> plateaus(3, 2), plateaus(4, 2), pieces((2, 1), 0), all_pieces(3, 2)
(6, 14, 3, 12)
>>> [str(equation) for equation in affine_equations((2,), 0)]
['Eq(a_1_1 + a_1_2, a_1)', 'Eq(w_1_1, w_1)', 'Eq(w_1_2, w_1)']
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from math import comb, factorial, prod
from typing import NamedTuple

from sympy import Eq, Expr, Function, Integer, Symbol

from derivations.claim import Status
from derivations.embedding import splitting_residuals
from derivations.problem import Problem

__all__ = [
    "Cell",
    "affine_equations",
    "all_pieces",
    "assignments",
    "cells",
    "connected_parts",
    "end_residuals",
    "end_status",
    "parametrisation",
    "pieces",
    "plateaus",
    "strata",
    "surjections",
]

#: Neuron j (from 1; negative for a flipped copy) or silent in component 0, -1, ... of M, here as (kind, number).
Place = tuple[str, int]


class Cell(NamedTuple):
    """A cell of a group of copies: how many fractions are positive, zero and negative."""

    positive: int
    zero: int
    negative: int

    @property
    def labelled(self) -> int:
        """Number of sign patterns of labelled copies in this cell."""
        return factorial(sum(self)) // prod(factorial(count) for count in self)


def cells(copies: int) -> list[Cell]:
    """Return the sign patterns of fractions with sum 1, up to order; at least one is positive."""
    found = [
        Cell(p, z, copies - p - z) for z in range(copies) for p in range(copies - z, 0, -1) if p + z <= copies
    ]
    return sorted(found, key=lambda cell: (cell.zero, cell.negative))


def strata(width: int, r: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield (copies, silent) of every stratum of a width-r point in a width, fewest silent neurons first.

    Raises
    ------
    ValueError
        If the width is smaller than r.
    """
    _check(width, r)
    for silent in range(width - r + 1):
        total = width - silent
        if r == 0:
            if total == 0:
                yield (), silent
            continue
        cuts = itertools.combinations(range(1, total), r - 1)
        found = [tuple(b - a for a, b in itertools.pairwise((0, *cut, total))) for cut in cuts]
        yield from ((copies, silent) for copies in sorted(found, reverse=True))


def surjections(width: int, r: int) -> int:
    """Return the number r! S(width, r) of maps onto r neurons (S: Stirling number of the second kind)."""
    return sum((-1) ** (r - j) * comb(r, j) * j**width for j in range(r + 1))


def plateaus(width: int, r: int, *, signs: bool = False) -> int:
    r"""Return the number r! S(m, r) of affine pieces without silent neurons, times :math:`2^m` for an odd or even activation."""
    _check(width, r)
    return surjections(width, r) * (2**width if signs else 1)


def pieces(copies: tuple[int, ...], silent: int, *, signs: bool = False) -> int:
    r"""Return the number of labelled pieces of a stratum, :math:`m! / (\prod_j c_j!\; l!)`, times :math:`2^{m-l}` with a parity."""
    width = sum(copies) + silent
    orders = factorial(width) // (prod(factorial(count) for count in copies) * factorial(silent))
    return orders * (2 ** sum(copies) if signs else 1)


def all_pieces(width: int, r: int, *, signs: bool = False) -> int:
    r"""Return the number of labelled pieces of all strata, :math:`\sum_l \binom{m}{l} r!\, S(m-l, r)`, each with :math:`2^{m-l}`."""
    _check(width, r)
    return sum(
        comb(width, silent) * plateaus(width - silent, r, signs=signs) for silent in range(width - r + 1)
    )


def assignments(width: int, r: int, *, signs: bool = False, parts: int = 1) -> Iterator[tuple[Place, ...]]:
    """Yield every labelled piece as the places of its neurons: ``("copy", j)``, -j where flipped, or ``("silent", part of M)``."""
    _check(width, r)
    places: list[Place] = [("copy", s * j) for j in range(1, r + 1) for s in ((1, -1) if signs else (1,))]
    places += [("silent", part) for part in range(parts)]
    for piece in itertools.product(places, repeat=width):
        if len({abs(number) for kind, number in piece if kind == "copy"}) == r:
            yield piece


def connected_parts(
    width: int, r: int, through: dict[int, int], *, signs: bool = False, parts: int = 1
) -> int:
    r"""Return the number of connected components of the union of all labelled pieces.

    Two pieces that differ in one neuron meet where that neuron has :math:`a = 0` and sits at :math:`w_j`: it is a copy of j in
    one of them (and not the only one), silent in the other, in the component of M that holds :math:`w_j`.  Any two pieces that meet
    differ by such steps, since the neurons that keep j's output weight are copies of j in both.

    Parameters
    ----------
    through : dict
        Number of the component of M that holds :math:`w_j`, by j from 1, and by -j for :math:`-w_j` with a parity.
    parts : int
        Number of connected components of M.
    """
    every = list(assignments(width, r, signs=signs, parts=parts))
    number = {piece: k for k, piece in enumerate(every)}
    root = list(range(len(every)))

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    for piece, k in number.items():
        for neuron, (kind, j) in enumerate(piece):
            if kind == "copy":
                moved = (*piece[:neuron], ("silent", through[j]), *piece[neuron + 1 :])
                if moved in number:
                    root[find(k)] = find(number[moved])
    return len({find(k) for k in range(len(every))})


def parametrisation(copies: tuple[int, ...], silent: int) -> dict[Symbol, Expr]:
    r"""Return :math:`a_{jk} = \gamma_{jk} a_j`, :math:`w_{jk} = w_j` and, for silent neurons, a = 0, w free in M.

    The last fraction of a group is one minus the others.  Vectors stand for themselves: the equations are linear in :math:`a_j, w_j`.
    """
    found: dict[Symbol, Expr] = {}
    for j, count in enumerate(copies, start=1):
        shares = [Symbol(f"gamma_{j}_{k}", real=True) for k in range(1, count)]
        for k, share in enumerate([*shares, 1 - sum(shares, Integer(0))], start=1):
            found[_of("a", j, k)] = share * _of("a", j)
            found[_of("w", j, k)] = _of("w", j)
    for k in range(1, silent + 1):
        found[_of("a", 0, k)] = Integer(0)
        found[_of("w", 0, k)] = Symbol(f"v_{k}", real=True)
    return found


def affine_equations(copies: tuple[int, ...], silent: int, *, outputs: int = 1) -> list[Eq]:
    r"""Return the equations of a stratum: affine for the copies; a = 0 and :math:`\varphi(w) = 0` for the silent neurons.

    With several outputs each copy also has :math:`V_j a_{jk} = 0`, :math:`V_j = \nabla_w \varphi(w_j)`, which one output makes 0 = 0.
    """
    found = []
    for j, count in enumerate(copies, start=1):
        found.append(Eq(sum((_of("a", j, k) for k in range(1, count + 1)), Integer(0)), _of("a", j)))
        found += [Eq(_of("w", j, k), _of("w", j)) for k in range(1, count + 1)]
        if outputs > 1 and count > 1:
            found += [Eq(_of("V", j) * _of("a", j, k), 0) for k in range(1, count + 1)]
    for k in range(1, silent + 1):
        found += [Eq(_of("a", 0, k), 0), Eq(Function("varphi")(_of("w", 0, k)), 0)]
    return found


def end_residuals(copies: tuple[int, ...], silent: int, group: int) -> dict[str, Expr]:
    """Return left minus right of: a plateau with its first fraction of a group at 0 is the stratum with one more silent neuron, at w_j.

    Parameters
    ----------
    group : int
        Number of the neuron, from 1; it has at least two copies.

    Raises
    ------
    ValueError
        If there is no such group, or it has one copy, whose fraction is 1.
    """
    if not 1 <= group <= len(copies) or copies[group - 1] < 2:
        raise ValueError(
            f"neuron {group} has no fraction that can vanish in copies {copies}; it needs two copies"
        )
    wide = parametrisation(copies, silent)
    fewer = tuple(count - (j == group) for j, count in enumerate(copies, start=1))
    narrow = parametrisation(fewer, silent + 1)
    # The fractions that are left keep their order, the vanished copy becomes the last silent neuron.
    names = {
        Symbol(f"gamma_{group}_{k + 1}", real=True): Symbol(f"gamma_{group}_{k}", real=True)
        for k in range(1, copies[group - 1] - 1)
    }
    first = {Symbol(f"gamma_{group}_1", real=True): Integer(0)}
    last = {Symbol(f"v_{silent + 1}", real=True): _of("w", group)}
    residuals = {}
    for symbol, value in wide.items():
        letter, j, k = str(symbol).split("_")
        place = (int(j), int(k))
        if place[0] == group:
            place = (0, silent + 1) if place[1] == 1 else (group, place[1] - 1)
        other = narrow[_of(letter, *place)].subs(last)
        residuals[str(symbol)] = (value.subs(first).subs(names, simultaneous=True) - other).expand()
    return residuals


@cache
def end_status(problem: Problem) -> Status:
    r"""Return PROVED where splitting keeps critical points for every fraction, 0 included, hence :math:`\varphi(w_j) = 0`.

    The residuals of ``derivations.embedding`` are zero for symbolic alpha; at alpha = 0 the gradient of the copy's output weight is
    :math:`\varphi(w_j)`, and it equals that of :math:`a_j`, which vanishes.
    """
    residuals = splitting_residuals(problem)
    return Status.PROVED if all(value == 0 for value in residuals.values()) else Status.UNDECIDED


def _of(letter: str, j: int, k: int | None = None) -> Symbol:
    return Symbol(f"{letter}_{j}" if k is None else f"{letter}_{j}_{k}", real=True)


def _check(width: int, r: int) -> None:
    if r < 0 or width < r:
        raise ValueError(
            f"a network of width {width} holds no critical point of width {r}; widths up to {width} do"
        )
