r"""Corollaries of the splitting law of two-layer networks: two copies, equal shares, ends of a plateau, a certificate, and counts.

Write :math:`\varphi(w) = \mathbb E[e\,\sigma(w \cdot x)]`, :math:`U` for the inner Hessian of the neuron that is split.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, for the maps; the corollaries are derived here; the count is that of Simsek et al.,
arXiv:2105.12221.

>>> [u.status.name for u in (two_copies(), plateau_end(), certificate(), subspaces(2, 3))], subspaces(2, 3).computed
(['PROVED', 'PROVED', 'PROVED', 'PROVED'], 6)
"""

from __future__ import annotations

import itertools
from math import factorial

from sympy import (
    Expr,
    Function,
    Integer,
    Matrix,
    Rational,
    Symbol,
    cosh,
    diff,
    exp,
    eye,
    log,
    ones,
    simplify,
    symbols,
)
from sympy.functions.combinatorial.numbers import stirling

from derivations.theorem import Finding, finding_of, zero_finding

__all__ = ["certificate", "plateau_end", "subspaces", "two_copies"]

#: Copies up to which equal shares are looked at, as matrices.
MOST_COPIES = 5


def two_copies(*, divided: bool = True) -> Finding:
    r"""Derive what a split adds for one output from the form :math:`B = G \otimes U`, :math:`G = \mathrm{diag}(\gamma)|_{\gamma^\perp}`.

    Parameters
    ----------
    divided : bool
        False states the extra eigenvalues of an equal split as those of U instead of those of U/K: a wrong statement.
    """
    alpha = Symbol("alpha", real=True)
    gamma = Matrix([1 - alpha, alpha])
    across = Matrix([alpha, alpha - 1])
    found: dict[str, Expr] = {
        "side condition": (gamma.T * across)[0],
        "G for two copies": ((across.T * Matrix.diag(1 - alpha, alpha) * across)[0] - alpha * (1 - alpha)),
    }
    for count in range(2, MOST_COPIES + 1):
        project = eye(count) - ones(count, count) / count
        wanted = project / count if divided else project
        left = project * (eye(count) / count) * project - wanted
        found |= {f"equal shares of {count}, entry {i}": u for i, u in enumerate(left) if u != 0}
    steps = (
        r"$q = 1$, $a_k \ne 0$: $V_k = 0$ and $B = \sum_j \gamma_j \zeta_j^\top U \zeta_j$ on $\sum_j \gamma_j \zeta_j = 0$, $\sum_j \epsilon_j = 0$.",
        r"$K = 2$: $\zeta = (\alpha, \alpha - 1) \otimes s$ and $B = \alpha (1 - \alpha)\, s^\top U s$: $U$ for $0 < \alpha < 1$, $-U$ outside $[0, 1]$, $0$ at the ends.",
        r"$\gamma_j = 1/K$: on $\sum_j \zeta_j = 0$, $\epsilon = 0$, the Hessian is $\tfrac1K I \otimes U$, and these directions are orthogonal to all others "
        r"that change $f$ to first order: eigenvalues $\mathrm{eig}(U)/K$, each $K - 1$ times.",
    )
    return zero_finding(
        found, f"two copies for every share, equal shares of 2 to {MOST_COPIES} copies", steps=steps
    )


def plateau_end() -> Finding:
    r"""Expand the two neurons along the curve that leaves the end of a plateau, to third order in s."""
    s, a, z, u = symbols("s a z u", positive=True)
    sigma = Function("sigma")
    terms = [sigma(z), *[diff(sigma(z), z, order) for order in (1, 2, 3)]]

    def neuron(shift: Expr) -> Expr:
        return sum((t * shift**k / factorial(k) for k, t in enumerate(terms)), Integer(0))

    change = (a - s) * neuron(-(s**2) * u / (a - s)) + s * neuron(s * u) - a * sigma(z)
    found = {
        f"order {k}": simplify(
            diff(change, s, k).subs(s, 0) / factorial(k) - (terms[2] * u**2 / 2 if k == 3 else 0)
        )
        for k in range(4)
    }
    steps = (
        r"Along $a_1 = a - s$, $a_2 = s$, $w_2 = w + s\zeta$, $w_1 = w - s^2 \zeta/(a - s)$ the output changes by "
        r"$\tfrac{s^3}{2} \sigma''(w \cdot x)(\zeta \cdot x)^2 + O(s^4)$.",
        r"So $R(s) - R(0) = \tfrac{s^3}{2}\,\mathbb E[e\,\sigma'' (\zeta \cdot x)^2] + O(s^4)$, with $R = \mathbb E[\ell]$: of both signs where that is not $0$.",
    )
    return zero_finding(
        found, "orders 0 to 3 of the change of the output, for every activation of class C^4", steps=steps
    )


def certificate() -> Finding:
    r"""Show the convex certificate on two exact critical points, for which :math:`\varphi \ge 0` and U are in closed form."""
    w, w2 = symbols("w w_2", real=True)
    t = Symbol("t", positive=True)
    # One input: x = 0, 1, 2, y = 0, 9/2, -15/4, f = exp(w x) at w = -log 2; R = sum (f - y)^2, half its residual is e.
    line = [(Integer(0), Integer(1)), (Integer(1), Integer(-4)), (Integer(2), Integer(4))]
    one = sum((e * exp(w * x) for x, e in line), Integer(0))
    # Two inputs: y = 1, 1, 0, 0 at (1,0), (0,1), (1,1), (1,-1); f = exp(w.x) at w = (-log 3, 0).
    plane = [
        ((1, 0), Rational(-2, 3)),
        ((0, 1), Integer(0)),
        ((1, 1), Rational(1, 3)),
        ((1, -1), Rational(1, 3)),
    ]
    two = sum((e * exp(w * x[0] + w2 * x[1]) for x, e in plane), Integer(0))
    found = {
        "phi, one input": (one - (1 - 2 * exp(w)) ** 2).expand(),
        "phi, two inputs": (two - Rational(2, 3) * exp(w) * (cosh(w2) - 1)).rewrite(exp).expand(),
        "critical in w, one input": one.diff(w).subs(w, -log(2)),
        "critical in w, two inputs": two.diff(w).subs({w: -log(3), w2: 0}),
        "critical in w_2, two inputs": two.diff(w2).subs({w: -log(3), w2: 0}),
        "U, one input": one.diff(w, 2).subs(w, -log(2)) - 2,
        "U, two inputs": two.diff(w2, 2).subs({w: -log(3), w2: 0}) - Rational(2, 9),
        "not negative": (cosh(log(t)) - 1 - (t - 1) ** 2 / (2 * t)).rewrite(exp).expand(),
    }
    steps = (
        r"$\ell$ convex: $R(f) - R(f_*) \ge \mathbb E[e\,(f - f_*)] = \sum_j a_j \varphi(w_j) - \sum_k a^*_k \varphi(w^*_k) = \sum_j a_j \varphi(w_j) \ge 0$ for $a \ge 0$.",
        r"Some $a_j < 0$ at an embedded point: $G$ has a negative entry, and with $\varphi \ge 0 = \varphi(w_k)$, $U_k = a_k \nabla^2\varphi(w_k) \succeq 0$; where "
        r"$U_k \ne 0$, $G \otimes U_k$ has a negative eigenvalue.",
    )
    return zero_finding(
        found, "phi >= 0 in closed form on the exact points with one and two inputs, sigma = exp", steps=steps
    )


def subspaces(narrow: int, wide: int) -> Finding:
    """Count the surjections of ``wide`` neurons onto ``narrow`` ones: one affine critical subspace for each."""
    maps = sum(set(u) == set(range(narrow)) for u in itertools.product(range(narrow), repeat=wide))
    formula = int(factorial(narrow) * stirling(wide, narrow))
    steps = (
        rf"Wide neuron $i$ has the inputs of narrow neuron $I(i)$, $I$ onto; for distinct $w_k$, $a_k \ne 0$ different $I$ give different affine spaces "
        rf"$\{{\sum_{{I(i) = k}} a_i = a_k\}}$ of dimension ${wide - narrow}$.",
    )
    reason = f"{maps} maps of {wide} neurons onto {narrow} by enumeration"
    return finding_of(
        maps == formula, reason, steps=steps, computed=maps, expected=formula, residual=maps - formula
    )
