r"""Two copies of one teacher neuron: the Hessian is degenerate across the branch, and the order 4 of the risk decides.

On a branch on which neuron j of the teacher is shared by two neurons of the student, with fractions
:math:`\gamma_1 + \gamma_2 = 1` of its output weight, the directions :math:`\delta w_1 = \gamma_2 s`, :math:`\delta w_2 = -\gamma_1 s`,
:math:`s \in \mathbb{R}^d`, are in the kernel of the Jacobian and lead off the branch.  Along them

.. math:: f - f^* = \tfrac12 \bar a_j \gamma_1 \gamma_2 \, \sigma''(\bar w_j \cdot x)\, (s \cdot x)^2 + O(|s|^3).

With the other coordinates eliminated, :math:`R = \tfrac{\kappa}{2} |r|^2` becomes
:math:`R_4(s) = \tfrac{\kappa}{2} \bigl(\tfrac12 \bar a_j \gamma_1 \gamma_2\bigr)^2 \,\bigl| P_\perp \bigl(\sigma''(s \cdot x_i)^2\bigr)_i \bigr|^2 + O(|s|^5)`,
:math:`P_\perp` onto the complement of the first-order functions :math:`\sigma(\bar w_t \cdot x_i)`, :math:`\sigma'(\bar w_t \cdot x_i)\, x_i` on the samples, and the
flow becomes :math:`\dot s = -\nabla R_4(s) / (\gamma_1^2 + \gamma_2^2)`.  For d = 1 and :math:`R_4 = c\,s^4`

.. math:: s^2 t \to \frac{\gamma_1^2 + \gamma_2^2}{8c}, \qquad t^2 R \to \frac{(\gamma_1^2 + \gamma_2^2)^2}{64\,c} .

With one sample more than there are first-order functions, a vector :math:`\nu` spans their complement and
:math:`R_4 \propto (s^\top M s)^2`, :math:`M = \sum_i \nu_i \sigma''_i x_i x_i^\top`: the branch is separated where M is definite, and imperfect
minima come out of every point of it where M is indefinite and invertible.  For exp, one neuron and d = 2 these are four samples in
convex position.

Source: arXiv:2309.00508 (2024), Theorem 5.3 and Corollary 5.1, for the rates without the constants; the constants and the criterion
are derived here.

>>> from sympy import Rational
>>> from derivations.activations import REGISTRY
>>> half = Rational(1, 2)
>>> found = copied_neuron(REGISTRY["exp"], [1], [[half]], [[-1], [half], [2]])
>>> found.distance.evalf(12), found.limit_risk(Rational(3, 5)).evalf(8), found.separated.name
(3.83541631913, 0.076498287, 'SEPARATED')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

from sympy import Add, Expr, Float, Matrix, Rational, Symbol, diff, simplify, sympify

from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.interval_minors import (
    BALLS,
    Rows,
    complement,
    determinant,
    enclosed,
    gram,
    middle,
    transposed,
)
from derivations.sample_verdicts import Separation
from derivations.statement import Statement

__all__ = ["CopiedNeuron", "copied_neuron", "decay_statement"]

#: Subsets of the samples whose quadratic forms are looked at.
_MOST_SUBSETS = 200


@dataclass(frozen=True)
class CopiedNeuron:
    r"""The order 4 of the risk across a branch with one teacher neuron in two copies, on given samples.

    Attributes
    ----------
    output : Expr
        Output weight of the copied neuron.
    curvature : Expr
        :math:`\kappa`: the risk is :math:`\tfrac{\kappa}{2} \sum_i r_i^2`.
    samples, first_order : int
        n, and the number m0 (d + 1) of first-order functions, which are independent on the samples.
    distance : Expr or None
        For d = 1: squared distance of :math:`(\sigma'' x_i^2)_i` from the span of the first-order functions.
    forms : tuple of Matrix
        M for each subset of the samples with one sample more than there are first-order functions (d > 1).
    separated : Separation
        Decided by interval arithmetic; OPEN where n exceeds ``first_order`` by more than 1 and no form is definite, or where a form or
        a distance is not shown to be other than 0.
    """

    output: Expr
    curvature: Expr
    samples: int
    first_order: int
    distance: Expr | None
    forms: tuple[Matrix, ...]
    separated: Separation

    def quartic(self, fraction: Expr) -> Expr:
        """Return c of R = c s^4 for d = 1 at a fraction of the output weight."""
        if self.distance is None:
            raise AssumptionError(
                "one constant of the decay there is for d = 1 only; for d > 1 it depends on the direction"
            )
        share = fraction * (1 - fraction)
        return self.curvature / 2 * (self.output * share / 2) ** 2 * self.distance

    def limit_separation(self, fraction: Expr) -> Expr:
        """Return the limit of t s^2, s being the difference of the two input weights."""
        return _spread(fraction) / (8 * self.quartic(fraction))

    def limit_risk(self, fraction: Expr) -> Expr:
        """Return the limit of t^2 R along the flow, at the limit of the fraction."""
        return _spread(fraction) ** 2 / (64 * self.quartic(fraction))


def _spread(fraction: Expr) -> Expr:
    return fraction**2 + (1 - fraction) ** 2


def copied_neuron(
    activation: Activation,
    a: Sequence[Any],
    w: Sequence[Sequence[Any]],
    x: Sequence[Sequence[Any]],
    *,
    copied: int = 0,
    curvature: Any = 2,
) -> CopiedNeuron:
    r"""Return the order 4 of the risk across the branch on which one neuron of the teacher has two copies.

    Parameters
    ----------
    activation : Activation
        Twice differentiable.
    a, w : sequences of m0 numbers and of m0 rows of d numbers
        The teacher, exact; an output scale is multiplied into a.
    x : n rows of d numbers
        Exact samples.
    copied : int
        The neuron with two copies, from 0.
    curvature : number
        :math:`\kappa`: 2 for :math:`R = \sum_i r_i^2`, 1/n for half the mean square.

    Raises
    ------
    AssumptionError
        If the first-order functions are dependent on the samples, so that the order 4 alone does not decide.
    ValueError
        If shapes do not fit or a number is a float.
    """
    outer, weights, rows = _exact(a)[0], _exact(*w), _exact(*x)
    if (
        len({len(row) for row in [*weights, *rows]}) != 1
        or len(outer) != len(weights)
        or not 0 <= copied < len(outer)
    ):
        raise ValueError(
            "a has m0 entries, w has m0 rows and x has n rows of the same length, and copied is one of 0 to m0 - 1"
        )
    size, n = len(rows[0]), len(rows)
    first = [[enclosed(u) for u in _functions(activation, weights, row)] for row in rows]
    count = len(first[0])
    second = [enclosed(activation.derivative(2).subs(Z, _product(weights[copied], row))) for row in rows]
    base = (outer[copied], sympify(curvature, strict=True), n, count)
    if 0 in determinant(gram(first) if n > count else gram(transposed(first))):
        raise AssumptionError(
            f"that the {count} first-order functions are independent on these {n} samples could not be shown: move a sample"
        )
    if n <= count:
        return CopiedNeuron(*base, None, (), Separation.NOT)
    points = [[enclosed(u) for u in row] for row in rows]
    if size == 1:
        joint = [[*row, u * p[0] ** 2] for u, p, row in zip(second, points, first, strict=True)]
        gap = determinant(gram(joint))
        distance = gap / determinant(gram(first))
        return CopiedNeuron(
            *base, middle(distance), (), Separation.OPEN if 0 in gap else Separation.SEPARATED
        )
    forms, signs = [], []
    for chosen in islice(combinations(range(n), count + 1), _MOST_SUBSETS):
        nu = complement([first[i] for i in chosen])
        form = [
            [
                sum(
                    (v * second[i] * points[i][p] * points[i][q] for v, i in zip(nu, chosen, strict=True)),
                    BALLS.mpf(0),
                )
                for q in range(size)
            ]
            for p in range(size)
        ]
        forms.append(Matrix([[middle(u) for u in row] for row in form]))
        signs.append(_definite(form))
    verdict = Separation.OPEN
    if True in signs:
        verdict = Separation.SEPARATED
    elif n == count + 1 and signs == [False]:
        verdict = Separation.NOT
    return CopiedNeuron(*base, None, tuple(forms), verdict)


def _exact(*rows: Sequence[Any]) -> list[list[Expr]]:
    out = [[sympify(u, strict=True) for u in row] for row in rows]
    for value in (u for row in out for u in row):
        if value.has(Float) or value.free_symbols:
            raise ValueError(f"found {value}; give exact numbers: write 1/10 as Rational(1, 10)")
    return out


def _product(row: Sequence[Expr], point: Sequence[Expr]) -> Expr:
    return Add(*[u * v for u, v in zip(row, point, strict=True)])


def _functions(
    activation: Activation, weights: Sequence[Sequence[Expr]], point: Sequence[Expr]
) -> list[Expr]:
    out = []
    for row in weights:
        z = _product(row, point)
        slope = activation.derivative(1).subs(Z, z)
        out += [activation.derivative(0).subs(Z, z), *(slope * u for u in point)]
    return out


def _definite(form: Rows) -> bool | None:
    """Return whether a symmetric form is definite, and False where it is indefinite and invertible; None where this is open."""
    minors = [determinant([row[:k] for row in form[:k]]) for k in range(1, len(form) + 1)]
    if 0 in minors[-1]:
        return None
    if all(0 not in u for u in minors):
        signs = [1 if u.a > 0 else -1 for u in minors]
        return all(s > 0 for s in signs) or all(s == (-1) ** k for k, s in enumerate(signs, start=1))
    # An invertible form with a diagonal entry 0, or with diagonal entries of both signs, is indefinite.
    diagonal = [form[k][k] for k in range(len(form))]
    mixed = any(u.a > 0 for u in diagonal) and any(u.b < 0 for u in diagonal)
    return False if mixed or any(u.a == 0 == u.b for u in diagonal) else None


def decay_statement() -> Statement:
    """Return the reduced flow across a branch with two copies of a neuron and its decay, with the residuals.

    >>> decay_statement().proved
    True
    """
    g, s, t, c, k, e, dist, out = (
        Symbol(u, positive=True) for u in ("gamma", "s", "t", "c", "kappa", "epsilon", "D", "abar")
    )
    u = Symbol("u", real=True)
    first, second, third = (Symbol(f"sigma{j}", real=True) for j in range(3))

    def neuron(shift: Expr) -> Expr:
        return first + second * shift + third * shift**2 / 2

    h = 1 - g
    moved = out * g * neuron(e * h * u) + out * h * neuron(-e * g * u) - out * first
    spread = g**2 + h**2
    expected = out * g * h * third * u**2 / 2
    path = (spread / (8 * c * t)) ** Rational(1, 2)
    quartic = k / 2 * (out * g * h / 2) ** 2 * dist
    residuals = {
        "first order": simplify(diff(moved, e).subs(e, 0)),
        "second order": simplify(diff(moved, e, 2).subs(e, 0) / 2 - expected),
        "length of the direction": simplify((h * s) ** 2 + (g * s) ** 2 - spread * s**2),
        "reduced flow": simplify(diff(path, t) + diff(c * s**4, s).subs(s, path) / spread),
        "decay of the risk": simplify(t**2 * c * path**4 - spread**2 / (64 * c)),
        "constant": simplify(quartic.subs(k, 2) - out**2 / 4 * (g * h) ** 2 * dist),
    }
    proved = all(value == 0 for value in residuals.values())
    return Statement(
        "slow branches",
        r"Across a branch on which a teacher neuron has two copies with the fractions $\gamma_1 + \gamma_2 = 1$, $\gamma_1 \gamma_2 \neq 0$, the Hessian is "
        r"degenerate. For $d = 1$, $R = \tfrac{\kappa}{2} |r|^2$ and more samples than first-order functions the risk is $c\, s^4$ with "
        r"$c = \tfrac{\kappa}{8} \bar a^2 \gamma_1^2 \gamma_2^2 D$ to leading order, $s = w_1 - w_2$ and $D$ the squared distance of $\sigma'' x^2$ from the "
        r"first-order functions on the samples, and where $D \neq 0$ the flow reduced to this order has "
        r"$s^2 t \to (\gamma_1^2 + \gamma_2^2)/(8c)$ and $t^2 R \to (\gamma_1^2 + \gamma_2^2)^2/(64 c)$: its decay is not exponential.",
        (
            r"$\delta w_1 = \gamma_2 s$, $\delta w_2 = -\gamma_1 s$ keeps the output to first order; to second order it adds "
            r"$\tfrac12 \bar a \gamma_1 \gamma_2 \sigma'' (s x)^2$.",
            r"The coordinates in which the Hessian is definite follow at order $s^2$, by least squares; what is left is $P_\perp$ of the second order.",
            r"$(\gamma_1^2 + \gamma_2^2)\, \dot s = -4 c\, s^3$. The fractions drift by the integral of order $s^4$, which is finite: "
            r"the constant holds at their limit.",
        ),
        Status.PROVED if proved else Status.UNDECIDED,
        residuals,
        "zhang2024local",
    )
