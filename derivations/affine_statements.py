r"""Statements on (leaky) ReLU and quadratic networks over an interval with an affine target, derived for every interval and slope.

With :math:`D = T_1 - T_0` and the mean residual zero the residual of a critical function alternates between its kinks; what follows are
the published lists of critical functions and values, each compared with the exhaustive solution of ``derivations.affine_target``.
For a slope :math:`\alpha < 0` replace (v, c) by (-v, -c), which maps critical points to critical points.

Source: Cheridito, Jentzen, Rossmannek, arXiv:2103.10922, Theorem 2.4 for ReLU; the other lists are derived anew.

>>> closed_forms().status.name, dead_edges().status.name, convex_in_the_bias().status.name
('PROVED', 'PROVED', 'PROVED')
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from sympy import Expr, Integer, Rational, Symbol, expand, integrate, sqrt, symbols

from derivations.activations import Activation, activation
from derivations.affine_target import KinkFunction, Shape, kink_functions, tidy
from derivations.claim import Status
from derivations.interval import IntervalProblem
from derivations.interval_cells import Cell, CellRisk
from derivations.interval_point import interval_point
from derivations.problem import Problem
from derivations.theorem import Finding, zero_finding

__all__ = [
    "LEVEL",
    "closed_forms",
    "convex_in_the_bias",
    "dead_edges",
    "first_order",
    "leaky_kinks",
    "network",
    "relu_kinks",
]

#: The input.
X = Symbol("x", real=True)
ALPHA, LENGTH = symbols("alpha D", positive=True)
LOWER, SHIFT = symbols("T_0 beta", real=True)
#: The largest critical value, alpha^2 D^3 / 12.
LEVEL = ALPHA**2 * LENGTH**3 / 12
_ZERO, _ONE = Integer(0), Integer(1)


def network(sigma: Activation, lower: Expr, upper: Expr, target: Expr) -> IntervalProblem:
    """Return the network with all biases and the loss integral (f - y)^2 without a factor 1/2."""
    problem = Problem.two_layer(sigma, "square", input_bias=True, output_bias=True, factor=2)
    return IntervalProblem(problem, lower, upper, X, target)


def _shape(left: Expr) -> Shape:
    """Return slopes left and 1 over every interval, for every affine target with a positive slope."""
    return Shape(left, _ONE, LOWER, LOWER + LENGTH, ALPHA, SHIFT, Integer(2))


def closed_forms() -> Finding:
    """Compare the published polynomials of one and two neurons with the integrals on every cell."""
    alpha, p, mu, c = symbols("alpha p mu c", real=True)
    one = network(activation("relu"), _ZERO, _ONE, alpha * X)
    common = c**2 - alpha * c + alpha**2 / 3
    right = (
        common + mu * c * (1 - p) ** 2 - mu * alpha * (1 - p) ** 2 * (2 + p) / 3 + mu**2 * (1 - p) ** 3 / 3
    )
    left = common - mu * c * p**2 + mu * alpha * p**3 / 3 + mu**2 * p**3 / 3
    found = {
        f"one neuron, {name}": expand(CellRisk(one, Cell((name,), ((0,),))).risk_in_kinks - wanted)
        for name, wanted in (("right", right), ("left", left))
    }
    first, second, u, v = symbols("mu_1 mu_2 p_1 p_2", real=True)
    pairs = {
        (("right", "right"), (0, 1)): (1 - v) ** 2 * (2 + v - 3 * u) / 6,
        (("left", "left"), (0, 1)): u**2 * (3 * v - u) / 6,
        (("right", "left"), (0, 1)): -((v - u) ** 3) / 6,
        (("right", "left"), (1, 0)): _ZERO,
    }
    for (names, order), wanted in pairs.items():
        both = CellRisk(one, Cell(names, (order,))).risk_in_kinks
        words = f"pair {', '.join(names)}" + (", crossed" if order == (1, 0) else "")
        found[words] = expand(both.coeff(first, 1).coeff(second, 1) / 2 - wanted)
    best, profile = CellRisk(one, Cell(("right",), ((0,),))).profile
    found["best c"] = best[c] - alpha * p * (p + 1) / (3 * p + 1)
    found["best slope"] = best[mu] - alpha * (2 * p + 1) / ((1 - p) * (3 * p + 1))
    found["profile"] = profile - alpha**2 * p**3 / (3 * (3 * p + 1))
    found["no stationary kink"] = profile.diff(p) - alpha**2 * p**2 * (2 * p + 1) / (3 * p + 1) ** 2
    return zero_finding(
        found, f"{len(found)} identities, one for each cell of one and two ReLU neurons and for the profile"
    )


def first_order(functions: Sequence[KinkFunction]) -> Finding:
    """Check mean and first moment of the residual on every gap, by integration, and the two moments of every neuron."""
    found: dict[str, Expr] = {}
    for f in functions:
        name = "constant" if not f.kinks else " ".join(f.orientations)
        pieces = _residual(f)
        for k, (e, low, high) in enumerate(pieces):
            found[f"{name}: mean on gap {k}"] = _integral(e, low, high)
            moment = e.coeff(X, 1) * f.gaps[k] ** 3 / 12
            found[f"{name}: moment on gap {k}"] = tidy(_integral(e * X, low, high) - moment)
        for i, side in enumerate(f.orientations):
            for power in (0, 1):
                parts = [_integral(e * X**power, *ends) for e, *ends in pieces]
                before, after = sum(parts[: i + 1], _ZERO), sum(parts[i + 1 :], _ZERO)
                active, other = (after, before) if side == "right" else (before, after)
                total = f.shape.right * active + f.shape.left * other
                found[f"{name}: moment {power} of kink {i + 1}"] = tidy(total)
    steps = (
        r"For $v_j \ne 0$: $\int r\,\sigma'(z_j) = \int r\,\sigma'(z_j)\,x = 0$, and $\int r = 0$ from $c$.",
        r"Differences of neighbouring kinks: $r$ has mean $0$ on every gap, so with slope $s_k$ and length $h_k$ its values at the ends are "
        r"$\mp s_k h_k/2$; continuity gives $s_k h_k = -s_{k-1} h_{k-1}$.",
        r"The first moment on gap $k$ is $s_k h_k^3/12$, a constant times $(-1)^k h_k^2$: linear equations in the $h_k^2$.",
    )
    return zero_finding(
        found,
        f"{len(found)} moments of {len(functions)} critical functions are 0 by integration",
        steps=steps,
    )


def _residual(f: KinkFunction) -> list[tuple[Expr, Expr, Expr]]:
    """Return (f - y, lower, upper) on each gap."""
    out = []
    for k, (low, high) in enumerate(itertools.pairwise(f.nodes)):
        start, end = f.residual(k), f.residual(k + 1)
        slope = tidy((end - start) / f.gaps[k])
        out.append((expand(start + slope * (X - low)), low, high))
    return out


def _integral(expr: Expr, low: Expr, high: Expr) -> Expr:
    total = integrate(expand(expr), X)
    return tidy(total.subs(X, high) - total.subs(X, low))


def _planted(
    interval: IntervalProblem, kinks: Sequence[Expr], signs: Sequence[int], slope: Expr, value: Expr
) -> Mapping[str, Expr]:
    """Return the exact gradient, and value minus the published one, where the neurons are as published; c is centred."""
    theta: dict[str, Any] = {
        "a": [slope * s for s in signs],
        "w": [Integer(s) for s in signs],
        "b": [tidy(-s * p) for s, p in zip(signs, kinks, strict=True)],
        "c": _ZERO,
    }
    shifted = interval_point(interval, theta).gradient[-1]
    theta["c"] = tidy(-shifted / (2 * (interval.upper - interval.lower)))
    point = interval_point(interval, theta)
    names = [f"dL/d{name}_{j}" for name in "vwb" for j in range(1, len(signs) + 1)]
    found = {name: u for name, u in zip(names, point.gradient, strict=False) if u != 0}
    return {"gradient": _ZERO, "value": tidy(point.value - value), **found}


def relu_kinks(interval: IntervalProblem, width: int, *, swapped: bool = False) -> Finding:
    r"""Compare the published n-kink functions with all solutions of the moment equations, and with the gradient there.

    Parameters
    ----------
    interval : IntervalProblem
        ReLU network and affine target in numbers, at which gradients are taken.
    width : int
        The width N, up to 6.
    swapped : bool
        Turn the orientations round: the statement is then wrong.
    """
    found: dict[str, Expr] = {}
    functions = kink_functions(_shape(_ZERO), width)
    listed = {len(f.kinks): f for f in functions}
    even = list(range(0, width + 1, 2))
    if sorted(listed) != even or len(functions) != len(even):
        text = f"the moment equations have the solutions {[f.orientations for f in functions]}"
        return Finding(Status.REFUTED, text, computed=len(functions), expected=len(even))
    for n, f in listed.items():
        names = ("left", "right") if swapped else ("right", "left")
        if f.orientations != tuple(names[i % 2] for i in range(n)):
            return _wrong_orientation(interval, n, f)
        found[f"L_{n}"] = tidy(f.value - LEVEL / (n + 1) ** 4)
        slopes = [tidy(u.coeff(X, 1) + (-1) ** i * ALPHA / (n + 1)) for i, (u, *_) in enumerate(_residual(f))]
        for i, p in enumerate(f.kinks, start=1):
            found[f"kink {i} of {n}"] = tidy(p - LOWER - i * LENGTH / (n + 1))
            found[f"sum of v w at kink {i} of {n}"] = tidy(f.slopes[i - 1] - 2 * ALPHA / (n + 1))
        found |= {f"slope {i} of {n}": u for i, u in enumerate(slopes)}
    numbers = _published(interval, even)
    steps = (
        r"A right-oriented kink $i$ gives $\sum_{k \ge i} (-1)^k h_k^2 = 0$, a left-oriented one $\sum_{k < i} (-1)^k h_k^2 = 0$. All "
        f"{sum(2**n for n in range(width + 1))} choices of at most {width} kinks are solved: positive gaps there are for even $n$ with "
        r"alternating orientations, right first, and then all gaps are equal.",
        r"The first gap carries no right-oriented neuron: $f'_0 = \tfrac n2 \tfrac{2\alpha}{n+1}$, so $r$ has the slope $-\alpha/(n+1)$ there, and "
        r"$L_n = \sum_k s_k^2 h_k^3/12 = \alpha^2 D^3/(12 (n+1)^4)$.",
    )
    reason = (
        f"n = {', '.join(map(str, even))} for every interval and slope; exact gradients at these data are 0"
    )
    return zero_finding(
        found | numbers, reason, steps=steps, computed=", ".join(str(listed[n].value) for n in even)
    )


def _published(interval: IntervalProblem, counts: Sequence[int]) -> dict[str, Expr]:
    """Return gradients and values at the published points, in numbers."""
    length, slope = interval.upper - interval.lower, interval.target.diff(interval.x)
    out: dict[str, Expr] = {}
    for n in counts[1:]:
        kinks = [interval.lower + i * length / (n + 1) for i in range(1, n + 1)]
        level = slope**2 * length**3 / (12 * (n + 1) ** 4)
        signs = [1 if i % 2 else -1 for i in range(1, n + 1)]
        found = _planted(interval, kinks, signs, 2 * slope / (n + 1), level)
        out |= {f"n = {n}, {name}": u for name, u in found.items()}
    return out


def _wrong_orientation(interval: IntervalProblem, n: int, f: KinkFunction) -> Finding:
    """Return the refutation of the list with the orientations turned round: a gradient that is not 0."""
    length, slope = interval.upper - interval.lower, interval.target.diff(interval.x)
    kinks = [interval.lower + i * length / (n + 1) for i in range(1, n + 1)]
    signs = [-1 if i % 2 else 1 for i in range(1, n + 1)]
    found = _planted(interval, kinks, signs, 2 * slope / (n + 1), _ZERO)
    left = {name: str(u) for name, u in found.items() if name not in ("gradient", "value")}
    first = next(iter(left))
    point = {"w": signs, "kinks": [str(p) for p in kinks], "v w": str(2 * slope / (n + 1))}
    text = (
        f"with w = {', '.join(map(str, signs))} at the kinks {', '.join(map(str, kinks))} the gradient is not 0: {first} = {left[first]}; "
        f"the moments are 0 for {', '.join(f.orientations)} only"
    )
    return Finding(
        Status.REFUTED, text, computed=left[first], expected="0", evidence={"point": point, "gradient": left}
    )


def leaky_kinks(slope: Expr, most: int) -> Finding:
    """Compare the closed forms for a slope g in (0, 1) with all solutions of the moment equations, on the unit interval.

    With one kink g stays a symbol; the interval and the target only scale.
    """
    t = Symbol("t", positive=True)
    found = _leaky(kink_functions(_shape(1 / (1 + t)), 1), 1 / (1 + t), ALPHA, LENGTH, LOWER, "every g: ")
    unit = Shape(slope, _ONE, _ZERO, _ONE, _ONE, _ZERO, Integer(2))
    functions = kink_functions(unit, most)
    alternating = [
        f.orientations for f in functions if all(u != v for u, v in itertools.pairwise(f.orientations))
    ]
    if len(alternating) < len(functions) or len(functions) != 1 + 2 * most:
        text = f"the moment equations have the solutions {[f.orientations for f in functions]}"
        return Finding(Status.REFUTED, text, computed=len(functions), expected=1 + 2 * most)
    found |= _leaky(functions, slope, _ONE, _ONE, _ZERO, f"g = {slope}: ")
    values = sorted({f.value for f in functions}, key=float)
    steps = (
        r"The equation of a right-oriented kink weighs the gaps before it by $g$. Neighbouring equations give inner gaps "
        r"$u = \sqrt{1+g}$ times the outer ones; an outer gap is $\sqrt g$ times as long where its kink is turned away from it.",
    )
    reason = f"{len(functions)} functions with at most {most} kinks at g = {slope}; with one kink for every g and interval"
    return zero_finding(
        found, reason, steps=steps, computed=", ".join(str(Rational(0) + v.evalf(9)) for v in values)
    )


def _leaky(
    functions: Sequence[KinkFunction], g: Expr, alpha: Expr, length: Expr, lower: Expr, name: str
) -> dict[str, Expr]:
    """Return computed minus published values, gaps and slopes."""
    out: dict[str, Expr] = {}
    for f in functions:
        n = len(f.kinks)
        if not n:
            out[f"{name}constant"] = tidy(f.value - alpha**2 * length**3 / 12)
            continue
        first = _ONE if f.orientations[0] == "right" else sqrt(g)
        last = _ONE if f.orientations[-1] == "left" else sqrt(g)
        parts = [first, *[sqrt(1 + g)] * (n - 1), last]
        total = sum(parts)
        label = f"{name}{' '.join(f.orientations)}, "
        out[label + "value"] = tidy(f.value - alpha**2 * (1 - g) ** 2 * length**3 / (12 * total**4))
        for k, (gap, part) in enumerate(zip(f.gaps, parts, strict=True)):
            out[f"{label}gap {k}"] = tidy(gap - length * part / total)
        for i, (u, v) in enumerate(itertools.pairwise(f.gaps)):
            out[f"{label}v w at kink {i + 1}"] = tidy(
                f.slopes[i] - alpha * length / total**2 * (1 / u + 1 / v)
            )
        out[label + "size of the residual"] = tidy(
            f.first**2 - (alpha * (1 - g) * length / total**2 / 2) ** 2
        )
    return out


def convex_in_the_bias() -> Finding:
    """Show that the loss is strictly convex in c, so that no point is a local maximum, for every activation and target."""
    c, f, y, low = symbols("c f y T_0", real=True)
    second = (c + f - y) ** 2
    total = integrate(second.diff(c, 2), (X, low, low + LENGTH))
    steps = (
        r"$\partial_c^2 L = 2 D > 0$ at every point, for every width, activation and target: $L$ rises along $c$ to second order where $\partial_c L = 0$.",
    )
    return zero_finding(
        {"second derivative in c": expand(total - 2 * LENGTH)}, "d^2 L/dc^2 = 2 D > 0", steps=steps
    )


def dead_edges() -> Finding:
    """Show on which side a dead neuron with its kink on an end raises the loss, and the descent at flat semi-active ones."""
    v, w, h = symbols("v w delta", positive=True)
    e = -ALPHA * (X - LOWER - LENGTH / 2)
    upper = LOWER + LENGTH
    at_lower = integrate(expand(e * v * w * (LOWER + h - X)), (X, LOWER, LOWER + h))
    at_upper = integrate(expand(e * v * w * (X - upper + h)), (X, upper - h, upper))
    change = ALPHA * v * w * (LENGTH * h**2 / 4 - h**3 / 6)
    found = {
        "kink at T0": expand(at_lower - change),
        "kink at T1": expand(at_upper + change),
        "flat semi-active": expand(integrate(expand(2 * e * X), (X, LOWER, upper)) + ALPHA * LENGTH**3 / 6),
        "level": expand(integrate(expand(e**2), (X, LOWER, upper)) - LEVEL),
    }
    steps = (
        r"$L - L_0 \ge 2\int r\,(f - f_0)$, as the loss is convex. With all neurons dead, $f - f_0$ is $c - c_0$ and what the kinks on an end bring in.",
        r"A kink moved inwards from $T_0$ by $\delta$ adds $2 \alpha v |w| (D\delta^2/4 - \delta^3/6)$, from $T_1$ the negative: it is $\ge 0$ for "
        r"$\alpha v > 0$ at $T_0$ and $\alpha v < 0$ at $T_1$, and below $0$ to second order in $\delta$ otherwise, where $\int (f - f_0)^2 = O(\delta^3)$.",
        r"At a degenerate neuron with $v \ne 0$ a step $(w, b)$ with $w x + b > 0$ changes $L$ at first order by $2 v w \int r\,x = -\alpha v w D^3/6$ and its "
        r"opposite by $0$: $L$ is not differentiable there, and the point is no local extremum.",
        r"A flat semi-active neuron has $\partial_v\partial_w L = 2\int r\,x = -\alpha D^3/6 \ne 0$ and $\partial_w^2 L = 0$: a negative eigenvalue.",
    )
    return zero_finding(
        found, "signs of the first variation at both ends, for every interval and slope", steps=steps
    )
