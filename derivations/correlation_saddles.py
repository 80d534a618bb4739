r"""From saddle to saddle in models that are solved exactly: a trained neuron, diagonal, quadratic and linear networks, depth.

Source: Kumar, Haupt, arXiv:2402.09226 (saddles), arXiv:2403.08121 (depth); the closed forms as derived here.

>>> from sympy import Rational
>>> modes([Rational(3), Rational(1, 2)]).status.name, quadratic().status.name, linear().status.name, deep(3).status.name
('PROVED', 'PROVED', 'PROVED', 'PROVED')
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Expr, Integer, Matrix, Symbol, cosh, diff, exp, log, simplify, sinh, sqrt, symbols

from derivations.activations import Activation
from derivations.correlation_proofs import slopes_of
from derivations.exact_lp import exact_sign
from derivations.theorem import Finding, zero_finding

__all__ = ["TrainedNeuron", "deep", "leading_direction", "linear", "modes", "quadratic", "trained_neuron"]

#: Cones after which the search for the cone of a trained neuron ends.
MOST_CONES = 100
#: Steps of the climb to a large |G| from one start.
CLIMB = 6


@dataclass(frozen=True)
class TrainedNeuron:
    r"""A neuron trained alone with the square loss: :math:`\beta = |v| u`, the sign of v, the active samples (from 1), what is left of y."""

    beta: tuple[Expr, ...]
    sign: int
    active: tuple[int, ...]
    residual: tuple[Expr, ...]
    gradient: tuple[Expr, ...]

    @property
    def loss(self) -> Expr:
        """Half the sum of squares of what is left."""
        return sum((u**2 for u in self.residual), start=Integer(0)) / 2


def trained_neuron(
    sigma: Activation, x: Sequence[Sequence[Expr]], y: Sequence[Expr], direction: Sequence[Expr], sign: int
) -> TrainedNeuron | None:
    """Return the least-squares neuron whose active samples are its own, found from cone to cone from a direction on.

    None where the cones do not end at such a neuron, or it lies on a kink.

    Parameters
    ----------
    sigma : Activation
        1-homogeneous.
    x, y : exact numbers
        (n, d) and (n,).
    direction : exact numbers, (d,)
        Where it begins; a sample on the kink counts as active.
    sign : int
        The sign of v.
    """
    below, above = slopes_of(sigma)
    seen: set[tuple[int, ...]] = set()
    sides = [1 if exact_sign(_dot(row, direction)) >= 0 else -1 for row in x]
    for _ in range(MOST_CONES):
        slopes = [above if side > 0 else below for side in sides]
        rows = Matrix([[sign * t * u for u in row] for t, row in zip(slopes, x, strict=True)])
        beta = rows.pinv() * Matrix(y)
        after = [exact_sign(_dot(row, list(beta))) for row in x]
        if after == sides:
            left = Matrix(y) - rows * beta
            active = tuple(i for i, side in enumerate(sides, start=1) if side > 0)
            return TrainedNeuron(tuple(beta), sign, active, tuple(left), tuple(rows.T * left))
        seen.add(tuple(sides))
        if 0 in after or tuple(after) in seen:
            return None
        sides = after
    return None


def leading_direction(
    sigma: Activation, x: Sequence[Sequence[Expr]], z: Sequence[Expr]
) -> tuple[tuple[Expr, ...], int] | None:
    r"""Return a direction with a large :math:`|G|/|u|` and the sign of G, rational; None where G vanishes wherever it is tried.

    It climbs by :math:`u \to \pm g(u)`, which is fixed at a maximum of |G| inside a cone, from the inputs and the axes.
    """
    below, above = slopes_of(sigma)

    def gradient(u: Sequence[Expr]) -> tuple[Expr, ...]:
        slopes = [above if exact_sign(_dot(row, u)) >= 0 else below for row in x]
        weights = [t * weight for t, weight in zip(slopes, z, strict=True)]
        return tuple(_dot(weights, column) for column in zip(*x, strict=True))

    size = len(x[0])
    axes = [tuple(Integer(int(j == k)) for j in range(size)) for k in range(size)]
    best: tuple[Expr, tuple[Expr, ...], int] | None = None
    for start in (*map(tuple, x), *axes):
        for side, sign in itertools.product((1, -1), (1, -1)):
            u = tuple(side * entry for entry in start)
            for _ in range(CLIMB):
                if not any(u):
                    break
                value = _dot(gradient(u), u)
                quality = value**2 / _dot(u, u)
                if exact_sign(value) == sign and (best is None or exact_sign(quality - best[0]) > 0):
                    best = (quality, u, sign)
                after = tuple(sign * entry for entry in gradient(u))
                if after == u:
                    break
                u = after
    return None if best is None else (best[1], best[2])


def _dot(left: Sequence[Expr], right: Sequence[Expr]) -> Expr:
    return sum((u * v for u, v in zip(left, right, strict=True)), start=Integer(0))


def modes(targets: Sequence[Expr]) -> Finding:
    """Prove the closed form of the diagonal network, its saddles with their indices, and the order of the modes."""
    t, y, u, v = symbols("t y u v", positive=True)
    delta = Symbol("delta", positive=True)
    a = u * v
    u_dot, v_dot = (y - a) * v, (y - a) * u
    logistic = y / (1 + (y / delta**2 - 1) * exp(-2 * y * t))
    half = log((y - delta**2) / delta**2) / (2 * y)
    residuals: dict[str, Expr] = {
        "h is conserved": 2 * u * u_dot - 2 * v * v_dot,
        "the square of a'": (u_dot * v + u * v_dot) ** 2 - (y - a) ** 2 * ((u**2 - v**2) ** 2 + 4 * a**2),
        "logistic solution": simplify(diff(logistic, t) - 2 * logistic * (y - logistic)),
        "its start": simplify(logistic.subs(t, 0) - delta**2),
        "half-time": simplify(logistic.subs(t, half) - y / 2),
    }
    count = len(targets)
    for size in range(count + 1):
        for learned in itertools.combinations(range(count), size):
            left = [targets[k] for k in range(count) if k not in learned]
            blocks = [Matrix([[0, -z], [-z, 0]]) for z in left]
            negative = sum(1 for block in blocks for e in block.eigenvals() if exact_sign(e) < 0)
            name = "{" + ", ".join(str(k + 1) for k in learned) + "}"
            residuals[f"index of {name}"] = Integer(negative - len(left))
    fitted = Matrix([[v**2, y], [y, u**2]]).subs(u, y / v)  # at u v = y
    residuals["curvature of a learned mode"] = simplify(fitted.det())
    order = sorted(range(count), key=lambda k: -float(abs(targets[k])))
    steps = (
        r"$u_k^2 - v_k^2 = h_k$ is conserved and $a_k = u_k v_k$ obeys $a' = (y - a)\sqrt{h^2 + 4a^2}$; for $u = v = \delta$ it is logistic.",
        r"Half of $y_k$ is reached at $\ln((y_k - \delta^2)/\delta^2)/(2 y_k)$.",
        r"Critical points: for each mode $u_k v_k = y_k$ or $u_k = v_k = 0$; the block of a mode that is not learned has the eigenvalues $\pm y_k$, that of a "
        r"learned one $0$ and $u_k^2 + v_k^2$.",
    )
    reason = f"{2**count} manifolds; order of learning {', '.join(str(k + 1) for k in order)}"
    return zero_finding(residuals, reason, steps=steps, computed=2**count, expected=2**count)


def quadratic(sign: int = 1) -> Finding:
    r"""Prove KKT points and flow of :math:`\sum_j s_j u_j^\top M u_j`, with M diagonal: rotations keep the problem."""
    t, mu, nu = symbols("t mu nu", real=True)
    c, e, s = symbols("c e s", real=True)
    u = Matrix([c * exp(2 * s * mu * t), e * exp(2 * s * nu * t)])
    M = Matrix([[mu, 0], [0, nu]])
    residuals = {f"flow, entry {j + 1}": entry for j, entry in enumerate(diff(u, t) - sign * 2 * s * M * u)}
    a = Symbol("a", real=True)
    unit = Matrix([a, 0])
    for j, entry in enumerate(2 * s * M * unit - 2 * s * mu * unit):
        residuals[f"eigenvector, entry {j + 1}"] = entry
    residuals["value at a unit eigenvector"] = (s * unit.T * M * unit)[0] - s * mu * a**2
    residuals["two eigenspaces share lambda only if equal"] = simplify(
        c * e * ((2 * s * mu - 2 * s * nu) - 2 * s * (mu - nu))
    )
    steps = (
        r"A rotation that makes the symmetric $M$ diagonal keeps norms, the problem and its flow, and then every coordinate moves by itself: two of them are checked.",
        r"$\partial_{u_j}\mathcal N = 2 s_j M u_j = \lambda u_j$: each non-zero $u_j$ is an eigenvector with $s_j \mu = \lambda/2 = \mathcal N$, so all neurons of one "
        r"sign lie in one eigenspace.",
        r"$u_j' = 2 s_j M u_j$ is solved by $u_j(t) = e^{2 s_j M t} u_j(0)$.",
    )
    return zero_finding(residuals, "matrix exponential and eigenvectors reduce to 0", steps=steps)


def linear(sign: int = 1) -> Finding:
    r"""Prove KKT points and flow of :math:`\mathrm{tr}(U^\top M V)`, with M diagonal: rotations on both sides keep the problem."""
    t, sigma, a, b = symbols("t sigma a b", positive=True)
    u = a * cosh(sigma * t) + b * sinh(sigma * t)
    v = b * cosh(sigma * t) + a * sinh(sigma * t)
    lam = Symbol("lambda", positive=True)
    x, z = symbols("x z", real=True)
    residuals = {
        "U' - M V": diff(u, t) - sign * sigma * v,
        "V' - M^T U": diff(v, t) - sign * sigma * u,
        "M M^T U = lambda^2 U": sigma**2 * x
        - lam**2 * x
        - (sigma * (sigma * x - lam * z) + lam * (sigma * z - lam * x)),
        "balance": lam * (x**2 - z**2) - (z * (sigma * x - lam * z) - x * (sigma * z - lam * x)),
        "value on the sphere": (sigma * x * z).subs({x: 1 / sqrt(2), z: 1 / sqrt(2)}) - sigma / 2,
    }
    steps = (
        r"Rotations on both sides that make $M$ diagonal (its singular values) keep norms, the problem and its flow; then every pair of coordinates moves by itself: one is checked.",
        r"$M V = \lambda U$, $M^\top U = \lambda V$: the columns are singular pairs with the one singular value $\sigma = \lambda$, $|U| = |V|$ and $\mathcal N = "
        r"\sigma/2$ on the sphere.",
        r"In a singular pair the flow is $\cosh$ and $\sinh$ of $\sigma t$.",
    )
    return zero_finding(residuals, "singular pairs reduce to 0", steps=steps)


def deep(degree: int, sign: int = 1) -> Finding:
    r"""Prove the growth along an aligned ray of an L-homogeneous correlation, L > 2, and the scaling of its times."""
    t, N, delta = symbols("t N delta", positive=True)
    L = Integer(degree)
    room = delta ** (2 - L) - L * (L - 2) * N * t
    r = room ** (-1 / (L - 2))
    blow_up = 1 / (L * (L - 2) * N * delta ** (L - 2))
    c = Symbol("c", positive=True)
    residuals = {
        "r' - L N r^(L-1)": simplify(diff(r, t) - sign * L * N * r ** (L - 1)),
        "r(0)": simplify(r.subs(t, 0) - delta),
        "the room vanishes at the blow-up time": simplify(room.subs(t, blow_up)),
        "norm at a fraction of it": simplify(r.subs(t, (1 - c) * blow_up) / delta - c ** (-1 / (L - 2))),
        "scaling": simplify(delta ** (L - 1) / (delta * delta ** (L - 2)) - 1),  # of ds/dtau for w = delta s
    }
    steps = (
        rf"$r' = {degree}\,\mathcal N(\hat w)\,r^{{{degree - 1}}}$ along an aligned ray; the norm is infinite at $1/({degree * (degree - 2)}\,\mathcal N\,"
        rf"\delta^{{{degree - 2}}})$.",
        r"$w = \delta s$ with time in units of $\delta^{2-L}$ removes $\delta$: the direction comes as near as is wanted to its limit while $|w|/\delta$ stays at a bound "
        r"that does not depend on $\delta$.",
    )
    return zero_finding(residuals, "closed form, blow-up time and scaling reduce to 0", steps=steps)
