r"""The risk over an interval as an explicit function of the parameters, one formula for each activation cell.

Neuron k changes sides at its kink :math:`p_k = -b_k / w_k`.  A cell says for every neuron whether the kink lies inside
the interval, and then on which side the neuron is active (``right``: w_k > 0, ``left``: w_k < 0), or which sign
:math:`w_k x + b_k` has throughout (``positive``, ``negative``), and in which order the kinks inside lie.  On a cell the
integrand is a polynomial between neighbouring kinks, so the risk is a polynomial in (a, w, p, c), rational in
(a, w, b, c).  For a 1-homogeneous activation it depends on :math:`\mu_k = s a_k w_k` and :math:`p_k` only, and

.. math::
    \partial_{a_k} R = s w_k\, \partial_{\mu_k} R, \quad \partial_{b_k} R = -\tfrac{1}{w_k} \partial_{p_k} R, \quad
    \partial_{w_k} R = s a_k\, \partial_{\mu_k} R - \tfrac{p_k}{w_k} \partial_{p_k} R ,

so that for w_k != 0 critical points in (mu, p, c) are those in (a, w, b, c).

Source: Cheridito, Jentzen, Rossmannek, arXiv:2103.10922, for the setting; the formulas are derived here.

>>> from sympy import Integer, Symbol
>>> from derivations.interval import IntervalProblem
>>> from derivations.problem import Problem
>>> x, alpha = Symbol("x", real=True), Symbol("alpha", real=True)
>>> network = Problem.two_layer("relu", "square", input_bias=True, output_bias=True, factor=2)
>>> line = IntervalProblem(network, Integer(0), Integer(1), x, alpha * x)
>>> print(CellRisk(line, Cell(("right",), ((0,),))).collected)
alpha**2/3 - alpha*c - alpha*mu*(p - 1)**2*(p + 2)/3 + c**2 + c*mu*(p - 1)**2 - mu**2*(p - 1)**3/3
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sympy import Add, Expr, Integer, Mul, Poly, Symbol, cancel, expand, factor, linsolve

from derivations.activations import Z
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError
from derivations.indexed import Tensor
from derivations.interval import IntervalProblem
from derivations.latex import latex
from derivations.latex_names import Partial
from derivations.losses import F, Y
from derivations.piecewise import integral, is_less
from derivations.problem import d, m

__all__ = ["MAX_CELLS", "ORIENTATIONS", "Cell", "CellRisk", "cell_at", "cells"]

ORIENTATIONS = ("right", "left", "positive", "negative")
#: More cells than this are not listed.
MAX_CELLS = 2000


@dataclass(frozen=True)
class Cell:
    """One activation cell.

    Parameters
    ----------
    orientations : tuple of str
        One of ``ORIENTATIONS`` for each neuron.
    order : tuple of tuple of int
        For each piece of the target the neurons (from 0) whose kinks lie in it, from left to right.
    """

    orientations: tuple[str, ...]
    order: tuple[tuple[int, ...], ...] = ((),)

    def __post_init__(self) -> None:
        for name in self.orientations:
            if name not in ORIENTATIONS:
                raise ValueError(f"orientation '{name}'; a neuron is one of {', '.join(ORIENTATIONS)}")
        inside = [k for k, name in enumerate(self.orientations) if name in ("right", "left")]
        if sorted(k for piece in self.order for k in piece) != inside:
            raise ValueError(f"the kinks inside are those of the neurons {inside}; the order is {self.order}")


def cells(interval: IntervalProblem, width: int) -> Iterator[Cell]:
    """Yield every activation cell of full dimension at this width.

    Raises
    ------
    ValueError
        If there are more than ``MAX_CELLS``.
    """
    _check(interval, width)
    count, count_pieces = 0, len(interval.target_pieces)
    for orientations in itertools.product(_possible(interval), repeat=width):
        inside = [k for k, name in enumerate(orientations) if name in ("right", "left")]
        for permutation in itertools.permutations(inside):
            for cuts in itertools.combinations_with_replacement(range(len(inside) + 1), count_pieces - 1):
                ends = (0, *cuts, len(inside))
                order = tuple(permutation[u:v] for u, v in itertools.pairwise(ends))
                count += 1
                if count > MAX_CELLS:
                    raise ValueError(f"more than {MAX_CELLS} cells at width {width}; ask for single cells")
                yield Cell(orientations, order)


def _possible(interval: IntervalProblem) -> tuple[str, ...]:
    left, right = interval.half_lines
    return ("positive",) if left == right else ORIENTATIONS


def _check(interval: IntervalProblem, width: int) -> None:
    interval.check_exact()
    if type(width) is not int or width < 1:
        raise ValueError(f"a width is an integer from 1 on, got {width!r}")
    if not interval.problem.input_bias:
        raise AssumptionError(
            "without input bias every kink is at x = 0: there is one formula for each sign pattern of w only; "
            "take input_bias = true, or evaluate at given parameters"
        )


def cell_at(interval: IntervalProblem, w: Sequence[Expr], b: Sequence[Expr]) -> Cell:
    """Return the cell of exact weights and biases.

    Raises
    ------
    AssumptionError
        If a kink lies on an end, on a kink of the target or on another kink, or w_k = b_k = 0: a wall between cells.
    """
    _check(interval, len(w))
    lower, upper = interval.lower, interval.upper
    orientations, kinks = [], []
    for k, (weight, bias) in enumerate(zip(w, b, strict=True)):
        if _possible(interval) == ("positive",):
            orientations.append("positive")
            continue
        ends = [weight * end + bias for end in (lower, upper)]
        if any(end == 0 for end in ends):
            raise AssumptionError(f"neuron {k + 1} vanishes at an end of the interval: a wall between cells")
        signs = [is_less(Integer(0), end) for end in ends]
        if signs[0] == signs[1]:
            orientations.append("positive" if signs[0] else "negative")
        else:
            orientations.append("right" if signs[1] else "left")
            kinks.append((-bias / weight, k))
    order = []
    for piece in interval.target_pieces:
        here = [(p, k) for p, k in kinks if is_less(piece.lower, p) and is_less(p, piece.upper)]
        for position in range(len(here)):  # insertion by exact comparison: SymPy numbers have no total key
            while position and is_less(here[position][0], here[position - 1][0]):
                here[position - 1 : position + 1] = here[position - 1 : position + 1][::-1]
                position -= 1
        if any(u[0] == v[0] for u, v in itertools.pairwise(here)):
            raise AssumptionError("two kinks coincide: a wall between cells")
        order.append(tuple(k for _, k in here))
    if sum(map(len, order)) < len(kinks):
        raise AssumptionError("a kink of the network coincides with one of the target: a wall between cells")
    return Cell(tuple(orientations), tuple(order))


@dataclass(frozen=True)
class CellRisk:
    """The risk on one cell, with its derivatives.

    Parameters
    ----------
    interval : IntervalProblem
        The problem.
    cell : Cell
        The cell; its width is that of the network.

    Raises
    ------
    ValueError
        If the cell does not fit the problem.
    """

    interval: IntervalProblem
    cell: Cell

    def __post_init__(self) -> None:
        _check(self.interval, self.width)
        if len(self.cell.order) != len(self.interval.target_pieces):
            raise ValueError(
                f"the target has {len(self.interval.target_pieces)} pieces, the order of the cell {len(self.cell.order)}"
            )

    @property
    def width(self) -> int:
        """Number of neurons."""
        return len(self.cell.orientations)

    @property
    def homogeneous(self) -> bool:
        """Whether (mu, p, c) are coordinates: the activation is 1-homogeneous and there is no weight decay."""
        sides = self.interval.half_lines
        return all(side == side.coeff(Z, 1) * Z for side in sides) and self.interval.problem.weight_decay == 0

    def symbols(self, letter: str) -> tuple[Symbol, ...]:
        """Return ``letter_1, ..., letter_m``, without number at width 1."""
        names = [letter] if self.width == 1 else [f"{letter}_{k}" for k in range(1, self.width + 1)]
        return tuple(Symbol(name, real=True) for name in names)

    @property
    def c(self) -> Expr:
        """The output bias, 0 if there is none."""
        return Symbol("c", real=True) if self.interval.problem.output_bias else Integer(0)

    @property
    def parameters(self) -> tuple[Symbol, ...]:
        """Parameters in flat order: a, w, b, c."""
        out = (*self.symbols("a"), *self.symbols("w"), *self.symbols("b"))
        return (*out, self.c) if isinstance(self.c, Symbol) else out

    @property
    def coordinates(self) -> tuple[Symbol, ...]:
        """Slopes mu, kinks p and c."""
        out = (*self.symbols("mu"), *self.symbols("p"))
        return (*out, self.c) if isinstance(self.c, Symbol) else out

    @cached_property
    def scale(self) -> Expr:
        """Output scale s at this width."""
        return self.interval.problem.scale.subs({m: self.width, d: 1})

    def _integrated(self, neurons: Sequence[Mapping[str, Expr]]) -> Expr:
        """Integrate; neurons give their contribution on each side of the kink, and the kink."""
        problem, x = self.interval.problem, self.interval.x
        loss = problem.loss.expr  # type: ignore[union-attr]  # checked when the interval was made
        crossed: set[int] = set()
        total: Expr = Integer(0)
        for piece, order in zip(self.interval.target_pieces, self.cell.order, strict=True):
            ends = [piece.lower, *[neurons[k]["kink"] for k in order], piece.upper]
            for position, (u, v) in enumerate(itertools.pairwise(ends)):
                f = self.c
                for k, (neuron, name) in enumerate(zip(neurons, self.cell.orientations, strict=True)):
                    active = name == "positive" or (
                        name in ("right", "left") and (name == "right") == (k in crossed)
                    )
                    f += neuron["active" if active else "inactive"]
                integrand = loss.xreplace({F: expand(f), Y: piece.expr})
                total += integral(expand(integrand), x, u, v)
                if position < len(order):
                    crossed.add(order[position])
        return expand(self.interval.weight * total)

    @cached_property
    def risk_in_kinks(self) -> Expr:
        """The risk in (mu, p, c), a polynomial, multiplied out.

        Raises
        ------
        AssumptionError
            If these are no coordinates.
        """
        if not self.homogeneous:
            raise AssumptionError(
                f"slopes and kinks are coordinates for a 1-homogeneous activation without weight decay only, not for "
                f"'{self.interval.problem.activation.name}' with weight decay {self.interval.problem.weight_decay}"  # type: ignore[union-attr]
            )
        left, right = (side.coeff(Z, 1) for side in self.interval.half_lines)
        neurons = [
            {
                "kink": p,
                "active": right * mu * (self.interval.x - p),
                "inactive": left * mu * (self.interval.x - p),
            }
            for mu, p in zip(self.symbols("mu"), self.symbols("p"), strict=True)
        ]
        return self._integrated(neurons)

    @cached_property
    def risk(self) -> Expr:
        """The risk in the parameters (a, w, b, c): a rational function."""
        x, problem = self.interval.x, self.interval.problem
        left, right = self.interval.half_lines
        blocks = [self.symbols(letter) for letter in "awbp"]
        neurons = []
        for a, w, b, p in zip(*blocks, strict=True):
            neurons.append(
                {
                    "kink": p,
                    "active": expand(self.scale * a * right.subs(Z, w * x + b)),
                    "inactive": expand(self.scale * a * left.subs(Z, w * x + b)),
                }
            )
        kinks = {p: -b / w for _, w, b, p in zip(*blocks, strict=True)}
        total = self._integrated(neurons)
        total = Add(*[cancel(term.xreplace(kinks)) for term in total.as_ordered_terms()])
        return total + problem.weight_decay / 2 * Add(*[u**2 for u in self.parameters])

    @cached_property
    def collected(self) -> Expr:
        """The risk in (mu, p, c) as a polynomial in mu and c, its coefficients factored."""
        return _collected(self.risk_in_kinks, (*self.symbols("mu"), self.c))

    @cached_property
    def gradient_in_kinks(self) -> tuple[Expr, ...]:
        """Derivatives in mu, p, c, each factored as far as it collects."""
        gens = (*self.symbols("mu"), self.c)
        return tuple(_collected(expand(self.risk_in_kinks.diff(u)), gens) for u in self.coordinates)

    @cached_property
    def gradient(self) -> tuple[Expr, ...]:
        """Derivatives in a, w, b, c, in flat order."""
        return tuple(self.risk.diff(u) for u in self.parameters)

    def to_parameters(self, expr: Expr) -> Expr:
        """Write an expression in (mu, p, c) in the parameters: mu_k = s a_k w_k, p_k = -b_k / w_k."""
        blocks = [self.symbols(letter) for letter in ("a", "w", "b", "mu", "p")]
        rule: dict[Expr, Expr] = {}
        for a, w, b, mu, p in zip(*blocks, strict=True):
            rule |= {mu: self.scale * a * w, p: -b / w}
        return expr.xreplace(rule)

    @cached_property
    def profile(self) -> tuple[dict[Symbol, Expr], Expr]:
        """Return the best slopes and output bias for given kinks, and the risk there (square loss).

        Raises
        ------
        AssumptionError
            If the risk is no quadratic with one minimum in (mu, c).
        """
        gens = [*self.symbols("mu"), *([self.c] if isinstance(self.c, Symbol) else [])]
        slopes = [self.risk_in_kinks.diff(u) for u in gens]
        if Poly(self.risk_in_kinks, *gens).total_degree() != 2:
            raise AssumptionError(
                "the best slopes for given kinks solve a linear system for the square loss only"
            )
        (found,) = linsolve(slopes, gens) or (None,)
        if found is None or any(u.has(*gens) for u in found):
            raise AssumptionError(f"on the cell {self.cell} the slopes are not determined by the kinks")
        best = {u: factor(value) for u, value in zip(gens, found, strict=True)}
        return best, factor(self.risk_in_kinks.xreplace(best))

    # -- display --------------------------------------------------------------------------------------------------

    @property
    def condition(self) -> str:
        """The cell as LaTeX inequalities."""
        parts = []
        for piece, order in zip(self.interval.target_pieces, self.cell.order, strict=True):
            if order:
                kinks = [latex(self.symbols("p")[k]) for k in order]
                parts.append(" < ".join([latex(piece.lower), *kinks, latex(piece.upper)]))
        w, b, x = self.symbols("w"), self.symbols("b"), self.interval.x
        for k, name in enumerate(self.cell.orientations):
            if name in ("right", "left"):
                parts.append(f"{latex(w[k])} {'>' if name == 'right' else '<'} 0")
            elif _possible(self.interval) != ("positive",):
                z = f"{latex(w[k])} {latex(x)} + {latex(b[k])}"
                parts.append(rf"{z} {'>' if name == 'positive' else '<'} 0 \text{{ on the interval}}")
        return r",\ ".join(parts)

    def derive(self, what: str = "risk") -> Derivation:
        """Return ``risk``, ``gradient`` or ``critical-equations`` on this cell, in (mu, p, c) where they are coordinates."""
        kinks = self.homogeneous
        if what == "risk":
            lhs = [Symbol("R")]
            rhs = [self.collected if kinks else self.risk]
            title = "Risk on an activation cell"
        elif what in ("gradient", "critical-equations"):
            variables = self.coordinates if kinks else self.parameters
            rhs = list(self.gradient_in_kinks if kinks else self.gradient)
            title = "Gradient on an activation cell"
            lhs = [Partial("R", Tensor(str(u), (), latex(u)))() for u in variables]
            if what == "critical-equations":
                title, rhs = "Equations of critical points on an activation cell", [u for u in rhs if u != 0]
                lhs = [Integer(0)] * len(rhs)
        else:
            raise ValueError(f"no derivation '{what}' of a cell; known: risk, gradient, critical-equations")
        equations = tuple(Equation(left, right) for left, right in zip(lhs, rhs, strict=True))
        where: tuple[Equation, ...] = ()
        if kinks:
            blocks = [self.symbols(letter) for letter in ("a", "w", "b", "mu", "p")]
            where = tuple(
                equation
                for a, w, b, mu, p in zip(*blocks, strict=True)
                for equation in (Equation(mu, self.scale * a * w), Equation(p, -b / w))
            )
        notes: tuple[str, ...] = (f"The cell is ${self.condition}$.",) if self.condition else ()
        if kinks and what == "critical-equations":
            notes += (r"They are equivalent to $\nabla R = 0$ in $(a, w, b, c)$ where all $w_k \ne 0$.",)
        return Derivation(what, title, equations, where, notes, hide=())


def _collected(expr: Expr, gens: Sequence[Expr]) -> Expr:
    """Write a polynomial with one term for each monomial in ``gens``, the coefficients factored."""
    used = [u for u in gens if isinstance(u, Symbol) and expr.has(u)]
    if not used:
        return factor(expr)
    terms = []
    for powers, coefficient in Poly(expr, *used).terms():
        monomial = Mul(*[u**power for u, power in zip(used, powers, strict=True)])
        for part in Add.make_args(factor(coefficient)):
            terms.append(part * monomial)
    return Add(*terms)
