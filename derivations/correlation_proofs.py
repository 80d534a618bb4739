r"""Early alignment of two-layer networks: the identities behind it, each reduced to exact zeros.

:math:`H(x; w) = \sum_j v_j \sigma(u_j \cdot x)` with a 1-homogeneous activation is 2-homogeneous in w = (v, u); the neural correlation is
:math:`\mathcal N(w) = \sum_i y_i H(x_i; w) = \sum_j v_j G(u_j)`, :math:`G(u) = \sum_i y_i \sigma(u \cdot x_i)`.  In a cone of the
arrangement of the hyperplanes :math:`u \cdot x_i = 0`, G is linear, with a gradient g; on a face where a neuron slides, g stands for the
common projection of the adjacent gradients to the face, since a sliding neuron stays in the linear hull of the face.

Source: Kumar, Haupt, arXiv:2402.09226, Section 2, Lemmas on the norm, and Theorem on separable networks; constants as derived here.

>>> one_neuron().status.name, in_cone().status.name, in_cone(sign=-1).status.name
('PROVED', 'PROVED', 'REFUTED')
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Function, Rational, Symbol, cosh, diff, exp, log, simplify, sinh, sqrt, symbols, tanh

from derivations.activations import Activation, Z
from derivations.correlation_points import CorrelationPoint, correlation_points
from derivations.exact_lp import exact_sign
from derivations.latex import latex
from derivations.theorem import Finding, zero_finding

__all__ = [
    "in_cone",
    "norm_bound",
    "one_neuron",
    "separable",
    "slopes_of",
    "stationarity",
    "wide",
    "kkt_list",
]


def slopes_of(sigma: Activation) -> tuple[Expr, Expr]:
    """Return the slopes of a 1-homogeneous activation for z < 0 and z > 0."""
    return -sigma.derivative(0).subs(Z, -1), sigma.derivative(0).subs(Z, 1)


def one_neuron() -> Finding:
    r"""Prove the reduction of the KKT conditions of v G(u) on the sphere to those of G, for :math:`\mathcal N \ne 0`."""
    v, lam, gamma = symbols("v lambda gamma", real=True)
    r = Symbol("r", positive=True)
    # G(u) = r gamma with r = |u|; the Euler relation g . u = G(u) gives the radial part of the second condition.
    first, radial = r * gamma - lam * v, v * gamma - lam * r
    value = v * r * gamma
    balanced = {v: 1 / sqrt(2), r: 1 / sqrt(2), lam: gamma}
    residuals = {
        "lambda (v^2 - |u|^2)": lam * (v**2 - r**2) - (r * radial - v * first),
        "lambda = 2 N": 2 * value - lam * (v**2 + r**2) - (v * first + r * radial),
        "lambda^2 = G^2": r * (gamma**2 - lam**2) - (gamma * first + lam * radial),
        "first condition at the balanced point": first.subs(balanced),
        "second condition at the balanced point": radial.subs(balanced),
        "N at the balanced point": value.subs(balanced) - gamma / 2,
    }
    steps = (
        r"Stationarity of $v\,G(u) - \tfrac\lambda2(v^2 + |u|^2)$: $G(u) = \lambda v$ and $v g = \lambda u$ with $g \in \partial G(u)$; by Euler "
        r"$g \cdot u = G(u) = |u|\,\gamma$, $\gamma = G(\hat u)$.",
        r"With $|u|$ times the radial part of the second minus $v$ times the first, $\lambda(v^2 - |u|^2) = 0$; their sum gives $\lambda = "
        r"2\mathcal N$, which is not $0$, so $|v| = |u| = 1/\sqrt2$.",
        r"Then $\lambda = \pm\gamma$, $\mathcal N = \pm\gamma/2$ and $g = \lambda u/v$ is along $\hat u$; $\mathcal N > 0$ where $v$ has the sign of $\gamma$.",
    )
    return zero_finding(residuals, "the conditions of v and of the length of u reduce to 0", steps=steps)


def stationarity(
    sigma: Activation,
    x: Sequence[Sequence[Expr]],
    z: Sequence[Expr],
    direction: Sequence[Expr],
    value: Expr,
    slopes: dict[int, Expr],
) -> list[Expr]:
    """Return g - G u for the Clarke coefficients of a KKT point: the entries are 0, and the coefficients lie in range.

    Raises
    ------
    ValueError
        If a coefficient lies outside the range of slopes, or a sample on the kink has none and needs one.
    """
    below, above = slopes_of(sigma)
    total = [-value * u for u in direction]
    for number, (row, weight) in enumerate(zip(x, z, strict=True), start=1):
        side = exact_sign(sum((a * b for a, b in zip(row, direction, strict=True)), Rational(0)))
        t = slopes.get(number, above if side > 0 else below if side < 0 else None)
        if t is None:  # samples whose bends cancel: any slope gives the same
            t = (above + below) / 2
        if exact_sign(t - min(below, above)) < 0 or exact_sign(t - max(below, above)) > 0:
            raise ValueError(
                f"the Clarke coefficient {t} of sample {number} is not between {below} and {above}"
            )
        total = [u + weight * t * a for u, a in zip(total, row, strict=True)]
    return [simplify(u) for u in total]


def kkt_list(sigma: Activation, x: Sequence[Sequence[Expr]], z: Sequence[Expr]) -> Finding:
    """List the KKT directions of G in the plane with their Clarke coefficients, and put each into its condition."""
    found = correlation_points(sigma, x, z)
    zeros = {
        f"point {k}, entry {j}": entry
        for k, point in enumerate(found.points, start=1)
        for j, entry in enumerate(
            stationarity(sigma, x, z, point.direction, point.value, point.slopes or {}), start=1
        )
    }
    evidence = {"points": [_described(p) for p in found.points], "arcs with constant G": len(found.arcs)}
    best = found.best
    count = f"{len(found.points)} KKT directions, all of them; beta = {None if best is None else best / 2}"
    found_all = zero_finding(
        zeros, count, computed=len(found.points), steps=tuple(map(_sentence, found.points))
    )
    return Finding(
        found_all.status,
        found_all.reason,
        found_all.steps,
        found_all.computed,
        residual=found_all.residual,
        evidence={**found_all.evidence, **evidence},
    )


def _described(point: CorrelationPoint) -> dict[str, object]:
    return {
        "direction": [str(u) for u in point.direction],
        "direction in numbers": [float(u) for u in point.direction],
        "G": float(point.value),
        "kind": point.kind,
        "attracting": point.attracting,
        "clarke coefficients": {str(i): str(t) for i, t in (point.slopes or {}).items()},
    }


def _sentence(point: CorrelationPoint) -> str:
    place = ", ".join(f"{float(u):.10f}" for u in point.direction)
    kinks = ", ".join(f"t_{{{i}}} = {latex(t)}" for i, t in (point.slopes or {}).items())
    attracting = "attracting" if point.attracting else "not attracting"
    return rf"$\hat u = ({place})$, $G = {float(point.value):.10f}$, {attracting}" + (
        f", ${kinks}$." if kinks else "."
    )


def wide(width: int) -> Finding:
    r"""Prove that the neurons of a KKT point of width m with :math:`\mathcal N > 0` are balanced KKT directions with one value |G|."""
    lam = Symbol("lambda", positive=True)
    v, gamma = symbols("v gamma", real=True)
    r, shares = Symbol("r", positive=True), symbols(f"c1:{min(width, 6) + 1}", positive=True)
    first, radial = r * gamma - lam * v, v * gamma - lam * r
    values = [lam * c**2 for c in shares]  # v_j = sign c_j, |u_j| = c_j, |G(u_j^)| = lambda
    total = sum(values, start=Rational(0))
    norm = 2 * sum((c**2 for c in shares), start=Rational(0))
    residuals = {
        "balance of a neuron": lam * (v**2 - r**2) - (r * radial - v * first),
        "|G| = lambda": r * (gamma**2 - lam**2) - (gamma * first + lam * radial),
        "lambda = 2 N / |w|^2": lam * norm - 2 * total,
    }
    steps = (
        r"The condition splits into $G(u_j) = \lambda v_j$ and $v_j g_j = \lambda u_j$, neuron by neuron with the same $\lambda = 2\mathcal N > 0$.",
        r"$u_j = 0$ gives $v_j = 0$, and $v_j = 0$ gives $u_j = 0$; otherwise $v_j^2 = |u_j|^2$ and $|G(\hat u_j)| = \lambda$, $v_j$ of the sign of $G$.",
        r"Conversely such neurons, of any lengths with $\sum_j 2 v_j^2 = 1$, satisfy all conditions with $\mathcal N = \lambda/2$.",
    )
    return zero_finding(residuals, f"the conditions of {width} neurons reduce to 0", steps=steps)


def in_cone(sign: int = 1) -> Finding:
    """Prove the closed form of the flow of one neuron in a cone, or along a face; ``sign`` -1 is the flow with its sign turned."""
    t = Symbol("t", real=True)
    size = Symbol("g", positive=True)
    v0, p0, q0 = symbols("v0 p0 q0", real=True)
    v = v0 * cosh(size * t) + p0 * sinh(size * t)
    p = p0 * cosh(size * t) + v0 * sinh(size * t)
    # g along the first axis: u = (p, q), and v' = sign g.u, u' = sign v g.
    residuals = {
        "v' - |g| p": diff(v, t) - sign * size * p,
        "p' - |g| v": diff(p, t) - sign * size * v,
        "the rest of u": diff(q0, t),
        "v^2 - |u|^2": simplify((v**2 - p**2 - q0**2) - (v0**2 - p0**2 - q0**2)),
        "d|w|^2/dt - 4 N": diff(v**2 + p**2 + q0**2, t) - sign * 4 * v * size * p,
    }
    steps = (
        r"In a cone $\mathcal N = v\,g \cdot u$, so $v' = g \cdot u = |g|\,p$ and $u' = v\,g$; with $p = u \cdot g/|g|$ the rest of $u$ is frozen.",
        r"$v = v_0 \cosh |g|t + p_0 \sinh |g|t$ and $p = p_0 \cosh |g|t + v_0 \sinh |g|t$; $v^2 - |u|^2$ is conserved.",
        r"On a face that attracts, all gradients of the adjacent cones have one projection to the face, which takes the place of $g$.",
    )
    return zero_finding(
        residuals, "cosh and sinh solve the flow in every cone and along every face", steps=steps
    )


def norm_bound(loss: str, factor: Expr, sign: int = 1) -> Finding:
    r"""Prove :math:`\tfrac{d}{dt}|w|^2 \le 4\mathcal N_y(w)` for a loss, and the times that follow from it."""
    y, h = symbols("y h", real=True)
    delta, beta, lam, t = symbols("delta beta lambda t", positive=True)
    if loss == "square":
        slope = factor * (y - h)
        excess = {"y h - (y - h) h - h^2": y * h - slope * h - h**2}
    else:
        slope = factor * y / (1 + exp(y * h))
        s = Symbol("s", real=True)
        gap = s - factor * s / (1 + exp(s)) - s * tanh(s / 2)
        excess = {"q - 2 q/(1 + e^q) - q tanh(q/2)": simplify(gap.rewrite(exp))}
    total = Symbol("S", positive=True)  # the sum of -l'(H_i, y_i) H_i
    residuals = {
        "-l'(0, y) - y": slope.subs(h, 0) - y,
        "d|w|^2/dt is 4 sum (-l') H": sign * 4 * total - 4 * total,
        **excess,
        "norm at T": simplify(log(delta) + 2 * beta * log(1 / delta) / (4 * beta) - log(sqrt(delta))),
        "along a ray": diff(delta * exp(lam * t), t) - lam * delta * exp(lam * t),
        "escape from the ray": simplify(log(delta * exp(lam * log(1 / delta) / lam))),
    }
    gain = r"h^2 \ge 0" if loss == "square" else r"q \tanh(q/2) \ge 0,\ q = yh"
    steps = (
        r"By Euler $\tfrac{d}{dt}|w|^2 = 2\langle w, w'\rangle = 4\sum_i -\ell'(H_i, y_i)\,H_i$.",
        rf"$-\ell'(0, y) = y$, and $y h + \ell'(h, y)\,h = {gain}$, so $\tfrac{{d}}{{dt}}|w|^2 \le 4\mathcal N_y(w) \le 4\beta|w|^2$.",
        r"Hence $|w(t)| \le \delta e^{2\beta t}$, which is $\sqrt\delta$ at $T = \ln(1/\delta)/(4\beta)$; along an aligned ray $r' = \lambda r$.",
    )
    return zero_finding(residuals, "Euler's identity and the bound of the loss reduce to 0", steps=steps)


def separable(width: int) -> Finding:
    r"""Prove that the correlation of a sum of neurons moves each neuron independently of the others."""
    count = max(2, min(width, 4))
    lengths, outs = symbols(f"u1:{count + 1}"), symbols(f"v1:{count + 1}")
    G = Function("G")
    total = sum((v * G(u) for v, u in zip(outs, lengths, strict=True)), start=Rational(0))
    residuals = {
        f"{a} and {b}": diff(total, a, b)
        for j, pair in enumerate(zip(outs, lengths, strict=True))
        for k, other in enumerate(zip(outs, lengths, strict=True))
        if j != k
        for a in pair
        for b in other
    }
    steps = (r"$\mathcal N_y = \sum_j \mathcal N_{y,H_j}(w_j)$: the mixed derivatives of two blocks vanish.",)
    return zero_finding(residuals, "no block enters the flow of another", steps=steps)
