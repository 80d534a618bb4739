r"""One hidden layer of (leaky) ReLU neurons against an affine target on an interval: every critical point, and the escape from saddles.

Cheridito, Jentzen and Rossmannek classify the critical points of the true loss, an integral and not a sample: its values, which points
are saddles, and that local minima which are not global come from dead neurons only; and show that gradient descent escapes the saddles.
The lists are obtained anew by exact computation, and hold for the instance's interval, target and width.

>>> [one.label for one in THEOREM.claims][:5], THEOREM.instance({"target": "x**2"}).findings()["affine target"].status.name
(['C1', 'C2', 'C3', 'C3.1', 'C3.2'], 'REFUTED')
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Poly

from derivations import affine_kinds as kinds
from derivations import affine_statements as statements
from derivations import setting_readers as read
from derivations.activations import Z
from derivations.activations import activation as named
from derivations.affine_target import KinkFunction, kink_functions, sign_of
from derivations.affine_target_sets import affine_target_sets, shape_of
from derivations.claim import Relation, Status
from derivations.critical_sets import CriticalSets
from derivations.errors import AssumptionError
from derivations.exact_lp import exact_sign
from derivations.formula import parse_formula
from derivations.interval import IntervalProblem
from derivations.quadratic_sets import quadratic_sets
from derivations.theorem import (
    Assumption,
    Finding,
    Instance,
    Published,
    Setting,
    Theorem,
    finding_of,
)

__all__ = ["THEOREM", "affine", "critical_sets", "functions_of", "network_of", "two_slopes"]

_A, _B = "cheridito2022landscape", "cheridito2022escape"


def network_of(given: Instance, sigma: str | None = None) -> IntervalProblem:
    """Return the network of an instance (with another activation) and its loss."""
    chosen = given["activation"] if sigma is None else named(sigma)
    lower, upper = given["interval"]
    return statements.network(chosen, lower, upper, given["target"])


def affine(given: Instance) -> tuple[Expr, Expr] | None:
    """Return (alpha, beta) of the target, None where it is not affine."""
    target = given["target"]
    if not target.is_polynomial(statements.X) or Poly(target, statements.X).degree() > 1:
        return None
    return target.coeff(statements.X, 1), target.coeff(statements.X, 0)


def two_slopes(given: Instance) -> tuple[Expr, Expr] | None:
    """Return the slopes of the activation for z < 0 and z > 0, None where it has not two slopes or is 0."""
    try:
        sides = network_of(given).half_lines
    except (AssumptionError, ValueError):
        return None
    slopes = tuple(side.coeff(Z, 1) for side in sides)
    linear = all((side - u * Z).expand() == 0 for side, u in zip(sides, slopes, strict=True))
    return slopes if linear and any(slopes) else None


def functions_of(given: Instance) -> tuple[KinkFunction, ...]:
    """Return the critical functions of the instance's network other than the target; AssumptionError where they are not known."""
    return kink_functions(shape_of(network_of(given)), given["width"])


def critical_sets(given: Instance) -> CriticalSets:
    """Return all critical points of the instance's network; AssumptionError where they are not known."""
    interval = network_of(given)
    try:
        return affine_target_sets(interval, given["width"])
    except AssumptionError:
        if affine(given) is None:
            raise
        return quadratic_sets(interval, given["width"])


# -- settings ----------------------------------------------------------------------------------------------------------


def _target(text: str) -> Expr:
    found = parse_formula(text, {"x": statements.X})
    return found.expand()


def _interval(text: str) -> tuple[Expr, Expr]:
    parts = text.split(",")
    if len(parts) != 2:
        raise ValueError(f"{len(parts)} number{'s' if len(parts) > 1 else ''}; an interval has two ends")
    lower, upper = (read.exact()(part.strip()) for part in parts)
    if exact_sign(upper - lower) <= 0:
        raise ValueError("the upper end is not above the lower one")
    return lower, upper


def _slope(text: str) -> Expr:
    value = read.exact(above=0, up_to=1)(text)
    if not value.is_Rational:
        raise ValueError("not rational")
    if value == 1:
        raise ValueError("with slope 1 there is no kink")
    return value


# -- assumptions -------------------------------------------------------------------------------------------------------


def _affine(given: Instance) -> Finding:
    found = affine(given)
    return finding_of(
        found is not None, f"y(x) = {given['target']}" + ("" if found else ", which is not affine")
    )


def _sloped(given: Instance) -> Finding:
    found = affine(given)
    if found is None:
        return Finding(Status.UNDECIDED, "the target is not affine")
    holds = exact_sign(found[0]) != 0
    return finding_of(
        holds,
        f"alpha = {found[0]}"
        + ("" if holds else ": a constant output is globally optimal, and the classification is void"),
    )


def _linear(given: Instance) -> Finding:
    slopes = two_slopes(given)
    if slopes is None:
        return finding_of(False, f"{given['activation'].name} has not one slope on each side of 0")
    return finding_of(True, f"slopes {slopes[0]} and {slopes[1]}")


def _known(given: Instance) -> Finding:
    try:
        found = critical_sets(given)
    except AssumptionError as error:
        return Finding(Status.REFUTED, f"the critical values are not known: {error}")
    return finding_of(True, f"{len(found.values)} critical values: {', '.join(map(str, found.values))}")


ASSUMPTIONS = (
    Assumption("affine target", r"The target is $y(x) = \alpha x + \beta$.", _affine),
    Assumption("slope not 0", r"$\alpha \ne 0$.", _sloped),
    Assumption(
        "two slopes",
        r"The activation is linear on each side of 0: $\sigma(z) = g_- z$ for $z < 0$, $g_+ z$ for $z > 0$.",
        _linear,
    ),
    Assumption("values known", "All critical values of this network are known exactly.", _known),
)

# -- claims ------------------------------------------------------------------------------------------------------------


def _where_known(function: Callable[[Instance], Finding]) -> Callable[[Instance], Finding]:
    """Return a derivation that is UNDECIDED, with the reason, where the exact lists do not apply."""

    def derive(given: Instance) -> Finding:
        if affine(given) is None or sign_of(affine(given)[0]) == 0:  # type: ignore[index]  # checked before
            return Finding(Status.UNDECIDED, "the target is not affine with a slope")
        try:
            return function(given)
        except AssumptionError as error:
            return Finding(Status.UNDECIDED, str(error))

    return derive


@_where_known
def _leaky(given: Instance) -> Finding:
    return statements.leaky_kinks(_leaky_slope(given), min(3, given["width"] + 1))


def _leaky_slope(given: Instance) -> Expr:
    """Return the slope of a leaky activation, else the setting."""
    slopes = two_slopes(given)
    if slopes is not None and slopes[1] == 1 and exact_sign(slopes[0]) > 0 and exact_sign(1 - slopes[0]) > 0:
        return slopes[0]
    return given["slope"]


_ALL = ("affine target", "slope not 0")

CLAIMS = (
    Published(
        "C1",
        r"On each activation cell $L$ is a polynomial in slopes $m = v w$, kinks and $c$; e.g. for one right-oriented ReLU on $[0, 1]$, $\beta = 0$: "
        r"$c^2 - \alpha c + \tfrac{\alpha^2}{3} + m c (1-p)^2 - \tfrac{m\alpha}{3}(1-p)^2(2+p) + \tfrac{m^2}{3}(1-p)^3$.",
        _A,
        derive=lambda given: statements.closed_forms(),
    ),
    Published(
        "C2",
        r"At a critical point with $v_j \ne 0$ at every kink, $\int_{I_j} r = \int_{I_j} x\,r = 0$ (for leaky slopes the moments of the two sides, weighed); "
        r"$r$ has mean $0$ on every gap, and slope times length alternates.",
        _A,
        needs=(*_ALL, "two slopes"),
        derive=_where_known(lambda given: statements.first_order(functions_of(given))),
    ),
    Published(
        "C3",
        r"ReLU: a critical point with $L > 0$ has $f$ constant, or $n \le N$ kinks, $n$ even, at $T_0 + iD/(n+1)$, with $w > 0$ at odd and $w < 0$ at even $i$ and "
        r"$\sum v_j w_j = 2\alpha/(n+1)$ at each; $L = \alpha^2 D^3/(12 (n+1)^4)$.",
        f"{_A}, Theorem 2.4",
        needs=_ALL,
        derive=_where_known(
            lambda given: statements.relu_kinks(
                network_of(given, "relu"), given["width"], swapped=given["orientation"] == "swapped"
            )
        ),
    ),
    Published(
        "C3.1",
        "There are no local maxima.",
        f"{_A}, Theorem 2.4",
        derive=lambda given: statements.convex_in_the_bias(),
    ),
    Published(
        "C3.2",
        r"ReLU: a critical point with $L > 0$ is a local minimum if all neurons are dead: inactive, or semi-inactive at $T_0$ with $\alpha v_j > 0$ or at $T_1$ with "
        r"$\alpha v_j < 0$; otherwise a saddle. $n$-kink points are saddles.",
        f"{_A}, Theorem 2.4",
        needs=_ALL,
        derive=_where_known(lambda given: kinds.minima_of_relu(network_of(given, "relu"), given["width"])),
    ),
    Published(
        "C4",
        r"Leaky ReLU, $0 < g < 1$: critical functions with $L > 0$ are constant or have $n \ge 1$ kinks of alternating orientation, either first, with gaps as "
        r"$(e_0, u, \dots, u, e_1)$, $u = \sqrt{1+g}$, $e = 1$ or $\sqrt g$; $L = \alpha^2 (1-g)^2 D^3/(12 S^4)$.",
        _A,
        needs=_ALL,
        derive=_leaky,
    ),
    Published(
        "C4.1",
        "Leaky ReLU: every local minimum is global.",
        _A,
        needs=_ALL,
        derive=_where_known(
            lambda given: kinds.saddles_of_leaky(
                network_of(given, f"max(z, ({_leaky_slope(given)})*z)"), min(given["width"], 3)
            )
        ),
    ),
    Published(
        "C5",
        r"$\sigma(z) = z^2$: critical points with $L > 0$ have $f$ constant, $L = \alpha^2 D^3/12$, and $v_j = 0$, $b_j = -w_j (T_0+T_1)/2$ or $w_j = 0$, $v_j b_j = 0$; "
        r"all are saddles. For $N = 1$ the infimum $0$ is not attained.",
        _A,
        needs=_ALL,
        derive=_where_known(
            lambda given: kinds.quadratic_saddles(network_of(given, "quadratic"), given["width"])
        ),
    ),
    Published(
        "C6",
        r"With one neuron at each of $n$ kinks the Hessian has $n$ negative, $n$ zero and $n + 1$ positive eigenvalues.",
        _A,
        needs=(*_ALL, "two slopes"),
        derive=_where_known(lambda given: kinds.index(functions_of(given))),
    ),
    Published(
        "C7",
        r"For almost every step size and start, gradient descent does not converge to the saddles; limits of the loss are $0$ and, for dead ReLU neurons, "
        r"$\alpha^2 D^3/12$.",
        _B,
        needs=(*_ALL, "values known"),
    ),
    Published(
        "C7.1",
        r"ReLU: a critical point with loss below $\alpha^2 D^3/(12 (2\lfloor N/2\rfloor + 1)^4)$ is a global minimum; one below $\alpha^2 D^3/12$ is a global minimum "
        r"or a strict $n$-kink saddle, $n \ge 2$, to which by C7 almost no start leads.",
        _B,
        Relation.AT_MOST,
        _ALL,
        _where_known(lambda given: kinds.thresholds(network_of(given, "relu"), given["width"])),
    ),
    Published(
        "C7.2",
        r"A start at distance $\epsilon$ from a strict saddle leaves it at the rate $|\lambda_{\min}|$ of its Hessian.",
        _B,
        needs=(*_ALL, "values known"),
    ),
)

THEOREM = Theorem(
    "shallow-relu-affine",
    "Shallow networks against affine targets: every critical point, and the escape from saddles",
    (_A, _B),
    r"$f(x) = c + \sum_{j=1}^N v_j\,\sigma(w_j x + b_j)$ on $[T_0, T_1]$, target $\alpha x + \beta$, $L = \int_{T_0}^{T_1} (f(x) - \alpha x - \beta)^2\,dx$; "
    r"$D = T_1 - T_0$, $r = f - \alpha x - \beta$, $I_j$ the part on which neuron $j$ is active. A point is critical where $L$ is differentiable with gradient $0$. "
    r"C3 speaks of ReLU, C4 of leaky ReLU (of the instance's slope if its activation is one, else of \texttt{slope}), C5 of $z^2$; the others of the instance's activation.",
    (
        Setting(
            "activation",
            "relu",
            "relu, leaky_relu(1/10), quadratic, or a formula in z such as max(z, -z/2)",
            read.activation,
        ),
        Setting("target", "x", "a formula in x; affine ones with a slope meet the assumptions", _target),
        Setting("interval", "0, 1", "two numbers, the ends", _interval),
        Setting("width", "2", "an integer from 1 to 4", read.integer(1, 4)),
        Setting("slope", "1/4", "a rational number > 0 and < 1, the leaky slope g of C4", _slope),
        Setting("starts", "200", "random starts of the runs, from 10 to 5000", read.integer(10, 5000)),
        Setting(
            "orientation",
            "published",
            "published, or swapped: C3 with w < 0 at odd kinks",
            read.choice("published", "swapped"),
        ),
        Setting(
            "sweep",
            "short",
            "short, or full: runs at the widths 2 to 5, and a search for further critical values",
            read.choice("short", "full"),
        ),
    ),
    ASSUMPTIONS,
    CLAIMS,
)
