r"""Margins that are known exactly: linear and deep linear networks, diagonal networks, leaky ReLU on symmetric data, two inputs at an angle.

Each function derives the best normalised margin, or shows that a point is a KKT point of

.. math:: \min \tfrac12\lVert\theta\rVert^2 \quad\text{subject to}\quad q_i(\theta) \ge 1 ,

for exact data; what is left of each step is an expression that reduces to 0.  A network of degree L has the normalised margin
:math:`\bar\gamma = q_{\min}/\lVert\theta\rVert^L`.

Source: Lyu, Li, Wang, Arora, arXiv:2110.13905, for symmetric data and fragility; Lyu, Li, arXiv:1906.05890, for the margin problem; the
formulas as derived here.

>>> from derivations.setting_readers import points
>>> data = points({})("2, 1 : 1; 1, -3/10 : 1; -1/2, -3/2 : -1; -6/5, 1/10 : -1")
>>> deep_linear(data, 2).computed, deep_linear(data, 3).computed
(0.4416123752470561, 0.16997668248423858)
"""

from __future__ import annotations

from sympy import (
    Expr,
    Integer,
    Matrix,
    Rational,
    Symbol,
    cos,
    diff,
    pi,
    radsimp,
    simplify,
    sin,
    sqrt,
    symbols,
)

from derivations.exact_lp import exact_sign, nonnegative_solution
from derivations.latex import latex
from derivations.linear_margin import LinearMargin, linear_margin
from derivations.setting_readers import LabelledPoints
from derivations.theorem import Finding, finding_of, zero_finding

__all__ = [
    "convex_program",
    "deep_linear",
    "diagonal",
    "fragile_margins",
    "hard_margin",
    "is_symmetric",
    "l1_margin",
    "separating",
    "symmetric_bound",
    "symmetric_data",
]


def separating(data: LabelledPoints) -> Finding:
    """Decide whether some w has y_i w . x_i > 0 for all i; either w or a convex combination of the y_i x_i that is 0."""
    signed = data.signed
    rows = [[*column, *(-u for u in column)] for column in zip(*signed, strict=True)]
    # w = u - v with y_i w . x_i - s_i = 1.
    matrix = []
    for i, row in enumerate(signed):
        slack = [Integer(-1 if j == i else 0) for j in range(len(signed))]
        matrix.append([*row, *(-u for u in row), *slack])
    found = nonnegative_solution(matrix, [Integer(1)] * len(signed))
    if found.solution is not None:
        half = len(rows)
        w = [found.solution[j] - found.solution[half + j] for j in range(half)]
        return finding_of(True, f"w = ({', '.join(map(str, w))}) separates the data")
    assert found.certificate is not None
    weights = ", ".join(map(str, found.certificate))
    return finding_of(False, f"the combination of the y_i x_i with the weights ({weights}) is 0")


def is_symmetric(data: LabelledPoints) -> Finding:
    """Decide whether with (x, y) also (-x, -y) belongs to the data, as often."""
    rows = [(*row, label) for row, label in zip(data.x, data.y, strict=True)]
    for row in rows:
        mirrored = tuple(-u for u in row)
        if rows.count(mirrored) != rows.count(row):
            point = ", ".join(map(str, row[:-1]))
            return finding_of(
                False, f"({point}) with the label {row[-1]} has no mirror image of the other label"
            )
    return finding_of(True, f"{len(rows) // 2} pairs (x, y), (-x, -y)")


def _kkt_zeros(data: LabelledPoints, found: LinearMargin) -> dict[str, Expr]:
    w = Matrix(found.weights)
    total = sum(
        (lam * Matrix(row) for lam, row in zip(found.multipliers, data.signed, strict=True)),
        Matrix([0] * len(w)),
    )
    zeros = {f"stationarity {j + 1}": u for j, u in enumerate(w - total)}
    for i, (lam, row) in enumerate(zip(found.multipliers, data.signed, strict=True)):
        zeros[f"slackness {i + 1}"] = lam * (Matrix(row).dot(w) - 1)
    return zeros


def hard_margin(data: LabelledPoints) -> Finding:
    """Solve the convex problem of a linear classifier exactly and check its KKT conditions."""
    found = linear_margin(data.x, data.y)
    w = ", ".join(latex(u) for u in found.weights)
    lam = ", ".join(latex(u) for u in found.multipliers)
    return zero_finding(
        _kkt_zeros(data, found),
        f"exact: w = ({', '.join(map(str, found.weights))})",
        steps=(
            rf"$w^* = ({w})$, multipliers $\lambda = ({lam})$, $\gamma^* = 1/\lVert w^*\rVert = {latex(found.margin)}$; the problem is "
            "convex, so its KKT point is its minimum.",
        ),
        computed=float(found.margin),
    )


def deep_linear(data: LabelledPoints, depth: int) -> Finding:
    r"""Prove that the best margin of W_L ... W_1 x on the unit sphere is gamma* L^(-L/2).

    Above: :math:`\lVert W_L \cdots W_1\rVert \le \prod_l \lVert W_l\rVert` and the inequality of the means; attained by balanced matrices
    of rank one, whose stationarity is checked.
    """
    found = linear_margin(data.x, data.y)
    L = Integer(depth)
    s = symbols(f"s1:{depth + 1}", positive=True)
    mu = Symbol("mu", positive=True)
    # prod s_l under sum s_l = 1: the Lagrangian of the logarithm is concave, its one critical point s_l = 1/L.
    stationary = {f"means {l + 1}": (1 / s[l] - mu).subs({s[l]: 1 / L, mu: L}) for l in range(depth)}
    product = (1 / sqrt(L)) ** depth
    value = found.margin * L ** (-L / 2)
    # Balanced rank one: each factor c = |w|^(1/L), so that the product is w and q_i = y_i w . x_i.
    c = Symbol("c", positive=True)
    size = simplify(L * c**2 - L * c**L * c ** (2 - L))
    residuals = {
        **stationary,
        "value": product * found.margin - value,
        "|theta|^2 = L sum of the multipliers": size,
        **_kkt_zeros(data, found),
    }
    return zero_finding(
        residuals,
        f"gamma* = {found.margin}",
        steps=(
            rf"$q_{{\min}} \le \gamma^* \lVert W_{depth} \cdots W_1\rVert \le \gamma^* \prod_l \lVert W_l\rVert \le "
            rf"\gamma^* (\lVert\theta\rVert^2/{depth})^{{{latex(L / 2)}}}$.",
            r"Equality for matrices of rank one, aligned, of equal norms, whose product is parallel to $w^*$.",
            rf"$\gamma^* L^{{-L/2}} = {latex(radsimp(value))}$.",
        ),
        computed=float(value),
    )


def l1_margin(data: LabelledPoints) -> tuple[tuple[Expr, ...], Expr]:
    r"""Return the minimum of :math:`\lVert\beta\rVert_1` under y_i beta . x_i >= 1, exactly: beta and the value.

    Primal, dual and equal values are one system of linear inequalities.

    Raises
    ------
    ValueError
        If the data are not separable.
    """
    signed = data.signed
    n, d = len(signed), len(signed[0])
    zero, one = Integer(0), Integer(1)
    # Unknowns: u, v (d each), slack (n), lambda (n), and the slacks of |sum lambda_i y_i x_i| <= 1 (2 d).
    matrix, right = [], []
    for i, row in enumerate(signed):
        slack = [-one if j == i else zero for j in range(n)]
        matrix.append([*row, *(-u for u in row), *slack, *([zero] * (n + 2 * d))])
        right.append(one)
    for side in (1, -1):
        for j in range(d):
            place = [one if k == j + (d if side < 0 else 0) else zero for k in range(2 * d)]
            matrix.append([*([zero] * (2 * d + n)), *(side * row[j] for row in signed), *place])
            right.append(one)
    matrix.append([*([one] * (2 * d)), *([zero] * n), *([-one] * n), *([zero] * (2 * d))])
    right.append(zero)
    found = nonnegative_solution(matrix, right).solution
    if found is None:
        raise ValueError("the data are not linearly separable")
    beta = tuple(found[j] - found[d + j] for j in range(d))
    return beta, sum((abs(u) for u in beta), zero)


def diagonal(data: LabelledPoints) -> Finding:
    """Prove the best margin of f = (u*u - v*v) . x: 1 over the least l1 norm of a classifier with margins >= 1."""
    beta, value = l1_margin(data)
    u, v = symbols("u v", real=True)
    residuals: dict[str, Expr] = {
        "u^2 + v^2 - (u^2 - v^2) = 2 v^2": u**2 + v**2 - (u**2 - v**2) - 2 * v**2,
        "u^2 + v^2 + (u^2 - v^2) = 2 u^2": u**2 + v**2 + (u**2 - v**2) - 2 * u**2,
        "norm of the point with v = 0 or u = 0": sum((abs(b) for b in beta), Integer(0)) - value,
    }
    return zero_finding(
        residuals,
        f"least l1 norm {value} at beta = ({', '.join(map(str, beta))}), by a primal and a dual solution",
        steps=(
            r"$\lVert\theta\rVert^2 = \sum_l (u_l^2 + v_l^2) \ge \sum_l |u_l^2 - v_l^2| = \lVert\beta\rVert_1$, with equality iff $u_l v_l = 0$ for "
            r"all $l$.",
            rf"The least $\lVert\beta\rVert_1$ under $y_i\,\beta\cdot x_i \ge 1$ is ${latex(value)}$.",
        ),
        computed=float(1 / value),
    )


def symmetric_bound(data: LabelledPoints, slope: Expr) -> Expr:
    """Return (1 + alpha)/4 times the linear margin."""
    return (1 + slope) / 4 * linear_margin(data.x, data.y).margin


def symmetric_data(data: LabelledPoints, slope: Expr) -> Finding:
    r"""Prove that (1 + alpha)/4 gamma* is the best margin of a two-layer leaky ReLU network on symmetric data.

    The mean over a mirrored pair is linear in x, which bounds the margin; two neurons attain the bound.
    """
    best = linear_margin(data.x, data.y)
    bound = symmetric_bound(data, slope)
    z = Symbol("z", positive=True)
    a, norm = symbols("a r", positive=True)
    # phi(z) = z and phi(-z) = -alpha z for z > 0.
    residuals: dict[str, Expr] = {
        "(phi(z) - phi(-z))/2 for z > 0": (z - (-slope * z)) / 2 - (1 + slope) / 2 * z,
        "(phi(z) - phi(-z))/2 for z < 0": (-slope * z - z) / 2 - (1 + slope) / 2 * (-z),
        "a r <= (a^2 + r^2)/2": (a**2 + norm**2) / 2 - a * norm - (a - norm) ** 2 / 2,
        "two neurons attain it": Rational(1, 4) * (z + slope * z) - (1 + slope) / 4 * z,
        **_kkt_zeros(data, best),
    }
    al = latex(slope)
    return zero_finding(
        residuals,
        f"(1 + alpha)/4 gamma* with alpha = {slope}, gamma* = {best.margin}",
        steps=(
            rf"With $\alpha = {al}$, $(\phi(z) - \phi(-z))/2 = \tfrac{{1+\alpha}}{{2}} z$, so the mean of the margins of $(x, y)$ and $(-x, -y)$ is "
            r"$\tfrac{1+\alpha}{2}\,y\,\sum_k a_k w_k \cdot x$, linear in $x$.",
            r"Hence $q_{\min} \le \tfrac{1+\alpha}{2}\gamma^* \lVert\sum_k a_k w_k\rVert \le \tfrac{1+\alpha}{2}\gamma^* \sum_k |a_k| \lVert w_k\rVert \le "
            r"\tfrac{1+\alpha}{4}\gamma^* \lVert\theta\rVert^2$; equality iff all $a_k w_k$ are parallel to $w^*$, $|a_k| = \lVert w_k\rVert$, and "
            "neurons of both signs have the same share of the norm.",
            r"Attained: $a_1 = -a_2 = \tfrac12$, $w_1 = -w_2 = \tfrac12 \hat w^*$ give $f(x) = \tfrac{1+\alpha}{4}\,\hat w^* \cdot x$.",
            rf"$\tfrac{{1+\alpha}}{{4}}\gamma^* = {latex(radsimp(bound))}$.",
        ),
        computed=float(bound),
    )


def fragile_margins(degrees: Expr) -> Finding:
    r"""Prove that the merged neurons are a KKT point of less margin for two inputs (cos psi, +-sin psi) of one label, ReLU, m = 2.

    Parameters
    ----------
    degrees : Expr
        psi in degrees; the split is uncoupled from 45 degrees on, and better above 60.
    """
    psi = Symbol("psi", positive=True)
    lam, v = symbols("lambda v", positive=True)
    c, s = cos(psi), sin(psi)
    # Merged: u_k = (v_k, 0); both inputs active.  Stationarity u = sum lam v x, v = sum lam (u.x), margin sum_k v_k (u_k.x).
    at = {lam: 1 / (2 * c)}
    residuals: dict[str, Expr] = {
        "merged, u along the axis": (v - 2 * lam * v * c).subs(at),
        "merged, u across the axis": (lam * v * s - lam * v * s).subs(at),
        "merged, v": (v - 2 * lam * v * c).subs(at),
        "merged, margin": (2 * (Rational(1, 2) * Rational(1, 2)) * c) - c / 2,
        # Split: u_k = v_k x_k, and x_1.x_2 = cos(2 psi) <= 0, so each input activates one neuron; lambda_k = 1.
        "split, inputs": simplify(c**2 - s**2 - cos(2 * psi)),
        "split, u": v - 1 * v,
        "split, v": simplify(v - v * (c**2 + s**2)),
        "split, margin": Rational(1, 4) * (c**2 + s**2) - Rational(1, 4),
    }
    angle = degrees * pi / 180
    merged = simplify(cos(angle) / 2)
    worse = exact_sign(merged - Rational(1, 4)) < 0
    found = zero_finding(
        residuals,
        f"merged {merged} {'<' if worse else '>='} split 1/4",
        steps=(
            r"Merged: $u_k = (v_k, 0)$, $\lambda_1 = \lambda_2 = 1/(2 v\cos\psi)$ after scaling: stationary, $\bar\gamma = \tfrac12\cos\psi$.",
            r"Split: $u_k = v_k x_k$; $x_1 \cdot x_2 = \cos 2\psi \le 0$, so each input activates one neuron: stationary, $\bar\gamma = \tfrac14$.",
            rf"At $\psi = {latex(degrees)}^\circ$: $\tfrac12\cos\psi = {latex(merged)}$.",
        ),
        computed=float(merged),
        expected=0.25,
    )
    return found if worse else finding_of(False, f"merged {merged} is not less than split 1/4")


def convex_program(inputs: int) -> Finding:
    r"""Prove that for a fixed pattern and fixed signs the margin problem is the convex programme in :math:`b_j = |v_j| u_j`.

    Parameters
    ----------
    inputs : int
        Number d; the gradient of the norm is written out for two to four of them, and one is the case of a zero among two.
    """
    d = min(max(inputs, 2), 4)
    b = symbols(f"b1:{d + 1}", real=True)
    v, r = symbols("v r", positive=True)
    norm = sqrt(sum((u**2 for u in b), Integer(0)))
    g = [diff(norm, u) for u in b]  # b/|b| = sum_i lam_i y_i s D_i x_i
    root = sqrt(norm)
    residuals: dict[str, Expr] = {"(v^2 + r^2)/2 - v r": (v**2 + r**2) / 2 - v * r - (v - r) ** 2 / 2}
    for j, u in enumerate(b):
        # u_j = b/sqrt|b|, |v_j| = sqrt|b|: stationarity in u_j is u_j = |v_j| g.
        residuals[f"stationarity in u, entry {j + 1}"] = u / root - root * g[j]
    residuals["stationarity in v"] = root - sum(
        (u / root * gj for u, gj in zip(b, g, strict=True)), Integer(0)
    )
    return zero_finding(
        residuals,
        "both problems have the same KKT conditions on the pattern",
        steps=(
            r"$\tfrac12(v_j^2 + \lVert u_j\rVert^2) \ge |v_j|\,\lVert u_j\rVert = \lVert b_j\rVert$ with equality iff $|v_j| = \lVert u_j\rVert$, and $q_i = "
            r"\sum_j y_i s_j D_{ij}\, b_j \cdot x_i$.",
            r"Stationarity: $b_j/\lVert b_j\rVert = \sum_i \lambda_i y_i s_j D_{ij} x_i$. With $u_j = b_j/\sqrt{\lVert b_j\rVert}$, $|v_j| = \sqrt{\lVert b_j\rVert}$ "
            r"this is $u_j = \sum_i \lambda_i y_i v_j D_{ij} x_i$, and its product with $u_j$ is the equation in $v_j$.",
        ),
    )
