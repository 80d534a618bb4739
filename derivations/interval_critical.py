r"""All critical points of a one-neuron network on a cell with the kink inside, exactly.

For the square loss and a 1-homogeneous activation the risk is quadratic in (mu, c) with one minimum for every kink p.
Hence (mu, p, c) is critical if and only if (mu, c) is that minimum and p a stationary point of the profile
:math:`\rho(p) = \min_{\mu, c} R`; its derivative is a rational function of p.

>>> from sympy import Integer, Symbol
>>> from derivations.activations import activation
>>> from derivations.interval import IntervalProblem
>>> from derivations.interval_cells import Cell
>>> from derivations.problem import Problem
>>> x = Symbol("x", real=True)
>>> network = Problem.two_layer(activation("max(z, z/4)"), "square", input_bias=True, output_bias=True, factor=2)
>>> line = IntervalProblem(network, Integer(0), Integer(1), x, x)
>>> critical_kinks(CellRisk(line, Cell(("right",), ((0,),))))
({mu: 2, c: 1/2, p: 2/3},)
"""

from __future__ import annotations

from sympy import Expr, Integer, Poly, Symbol, cancel, fraction, radsimp, real_roots, simplify, together

from derivations.errors import AssumptionError
from derivations.interval_cells import CellRisk
from derivations.piecewise import is_less

__all__ = ["critical_kinks"]


def critical_kinks(risk: CellRisk) -> tuple[dict[Symbol, Expr], ...]:
    """Return every critical (mu, c, p) of one neuron whose kink lies in the cell, from left to right.

    Parameters
    ----------
    risk : CellRisk
        Width 1, the orientation ``right`` or ``left``; numbers for the ends and in the target.

    Returns
    -------
    tuple of dict
        Exact numbers.  They are the critical points (a, w, b, c) with w != 0 on the cell, up to rescaling.

    Raises
    ------
    AssumptionError
        If the cell is of another kind, its profile is constant, or the slopes are not determined by the kink.
    """
    if risk.cell.orientations not in (("right",), ("left",)):
        raise AssumptionError(
            f"the critical points of one neuron with its kink inside are asked for, got {risk.cell.orientations}; "
            "at larger widths check given points with interval_point"
        )
    best, profile = risk.profile
    (p,) = risk.symbols("p")
    if profile.free_symbols - {p}:
        raise AssumptionError(
            f"the roots need numbers for {', '.join(sorted(map(str, profile.free_symbols - {p})))}"
        )
    numerator = fraction(cancel(together(profile.diff(p))))[0]
    if numerator == 0:
        raise AssumptionError("the profile is constant on the cell: every kink is critical")
    piece = next(u for u, order in zip(risk.interval.target_pieces, risk.cell.order, strict=True) if order)
    roots = real_roots(Poly(numerator, p)) if numerator.has(p) else []
    inside = [u for u in dict.fromkeys(roots) if is_less(piece.lower, u) and is_less(u, piece.upper)]
    return tuple(
        {**{u: _number(v.xreplace({p: root})) for u, v in best.items()}, p: _number(root)} for root in inside
    )


def _number(value: Expr) -> Expr:
    out = radsimp(simplify(value))
    return out if out != 0 else Integer(0)
