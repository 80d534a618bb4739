r"""What the theorem on margins asks of an instance: its network, its degree, and the assumptions as predicates.

>>> from derivations.activations import REGISTRY
>>> leaky_slope(REGISTRY["leaky_relu(1/5)"]), leaky_slope(REGISTRY["abs"])
(1/5, None)
"""

from __future__ import annotations

from typing import Any

from sympy import Expr, Integer

from derivations import margin_classes as classes
from derivations.activations import Activation
from derivations.claim import Status
from derivations.constrained_problems import homogeneity
from derivations.errors import AssumptionError
from derivations.euler import euler_residuals
from derivations.exact_lp import exact_sign
from derivations.problem import Problem
from derivations.theorem import Assumption, Finding, Instance, finding_of, zero_finding

__all__ = ["ASSUMPTIONS", "degree_of", "leaky_slope", "problem_of"]

#: Largest scale of a start that counts as small.
SMALL = Integer(1) / 20


def problem_of(given: Instance, loss: str | None = None) -> Problem:
    """Return the network of an instance without biases, and the sum of its losses (a formula for another loss)."""
    widths = given["widths"]
    options: dict[str, Any] = {"input_bias": False, "output_bias": False, "reduction": "sum"}
    if len(widths) == 1:
        return Problem.two_layer(given["activation"], loss or given["loss"], **options)
    return Problem.deep(len(widths) + 1, given["activation"], loss or given["loss"], **options)


def degree_of(given: Instance) -> Expr | None:
    """Return the degree L of homogeneity, None where it is not shown."""
    return homogeneity(problem_of(given))


def leaky_slope(activation: Activation) -> Expr | None:
    """Return alpha in [0, 1] with sigma(z) = max(z, alpha z), None where that is not shown."""
    up, down = activation.half_lines
    if up.status is not Status.PROVED or down.status is not Status.PROVED or up.degree != 1 or up.factor != 1:
        return None
    if down.factor == 0:
        return Integer(0)
    slope = -down.factor if down.degree == 1 and down.factor is not None else None
    inside = slope is not None and exact_sign(slope) >= 0 and exact_sign(slope - 1) <= 0
    return slope if inside else None


# -- assumptions -----------------------------------------------------------------------------------------------------


def _homogeneous(given: Instance) -> Finding:
    problem = problem_of(given)
    degree, decision = given["activation"].homogeneity
    if degree is None:
        why = f"z sigma'(z) - p sigma(z) = {decision.difference} for {given['activation'].name}"
        if decision.witness is not None:
            why += f", not 0 at z = {decision.witness}"
        return Finding(decision.status, why)
    total = homogeneity(problem)
    try:
        zeros = euler_residuals(problem)
    except AssumptionError as error:
        return Finding(Status.UNDECIDED, str(error))
    found = zero_finding(zeros, f"Euler's identities of all layers reduce to 0; L = {total}")
    return (
        found if total is not None else Finding(Status.UNDECIDED, "the degree of the network was not found")
    )


def _lipschitz(given: Instance) -> Finding:
    degree = given["activation"].homogeneity_degree
    if degree is None:
        return Finding(Status.UNDECIDED, "the degree of the activation is not shown")
    holds = exact_sign(degree - 1) >= 0
    return finding_of(holds, f"sigma has the degree {degree}; required is at least 1")


def _separated(given: Instance) -> Finding:
    if given["from"] == "start":
        return finding_of(
            False,
            "from = start drops the condition: the claims are tested from small weights on, where E is about n",
        )
    bound = "1" if given["loss"] == "exponential" else "log 2"
    return finding_of(True, f"the claims are tested from the first time with E < {bound}")


def _leaky(given: Instance) -> Finding:
    slope = leaky_slope(given["activation"])
    if slope is not None:
        return finding_of(True, f"alpha = {slope}")
    settled = all(half.status in (Status.PROVED, Status.REFUTED) for half in given["activation"].half_lines)
    return finding_of(
        False if settled else None, f"{given['activation'].name} is not max(z, alpha z) with 0 <= alpha <= 1"
    )


def _small(given: Instance) -> Finding:
    holds = exact_sign(given["scale"] - SMALL) <= 0
    return finding_of(holds, f"scale = {given['scale']}; small means at most {SMALL}")


def _wide(given: Instance) -> Finding:
    angle = given["angle"]
    holds = exact_sign(angle - 60) > 0 and exact_sign(angle - 90) < 0
    return finding_of(holds, f"psi = {angle} degrees; required is 60 < psi < 90")


def _two_layer(given: Instance) -> Finding:
    hidden = len(given["widths"])
    return finding_of(hidden == 1, f"{hidden} hidden layer{'s' if hidden > 1 else ''}")


def _degree_one(given: Instance) -> Finding:
    degree = given["activation"].homogeneity_degree
    if degree is None:
        return Finding(Status.UNDECIDED, "the degree of the activation is not shown")
    return finding_of(degree == 1, f"the degree of the activation is {degree}")


ASSUMPTIONS = (
    Assumption(
        "homogeneous", r"$f(x; c\theta) = c^L f(x; \theta)$ for $c > 0$, with a degree $L$.", _homogeneous
    ),
    Assumption(
        "locally Lipschitz",
        "The network is locally Lipschitz and definable: its activation is a power of degree at least 1 on each side of 0.",
        _lipschitz,
    ),
    Assumption(
        "separated",
        r"At some time $t_0$, $E(t_0) < 1$ (exponential loss) or $< \log 2$ (logistic loss).",
        _separated,
    ),
    Assumption(
        "linearly separable",
        r"Some $w$ has $y_i\, w \cdot x_i > 0$ for all $i$.",
        lambda given: classes.separating(given["data"]),
    ),
    Assumption(
        "symmetric data",
        "With $(x, y)$ also $(-x, -y)$ is a sample.",
        lambda given: classes.is_symmetric(given["data"]),
    ),
    Assumption("leaky ReLU", r"$\sigma(z) = \max(z, \alpha z)$ with $0 \le \alpha \le 1$.", _leaky),
    Assumption("two-layer", "The network has one hidden layer.", _two_layer),
    Assumption("piecewise linear", "The activation has the degree 1.", _degree_one),
    Assumption("small start", "The flow starts from small weights.", _small),
    Assumption("wide angle", r"$60^\circ < \psi < 90^\circ$.", _wide),
)
