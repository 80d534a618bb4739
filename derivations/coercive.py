r"""Whether a risk is shown to grow without bound in every direction, and so to have compact sublevel sets.

With :math:`\lambda > 0`,

.. math:: R(\theta) = \kappa \, \text{reduce}_i\, \ell(f_\theta(x_i), y_i) + \tfrac{\lambda}{2} \lVert\theta\rVert^2 .

If :math:`\ell \geq 0`, then :math:`R \geq \tfrac{\lambda}{2} \lVert\theta\rVert^2`.  If :math:`\ell` is affine in f, as for a correlation, and
:math:`\sigma` is bounded, f is affine in the weights behind the last hidden layer with bounded coefficients, so that
:math:`R \geq \tfrac{\lambda}{2} \lVert\theta\rVert^2 - C (1 + \lVert\theta\rVert)`.  Blocks that are frozen have fixed values; the same holds in the others.

>>> from derivations.problem import Problem
>>> coercive(Problem.two_layer("tanh", "square", weight_decay="1/10"))
Coercive(holds=True, reason='weight decay is positive and the loss is not negative')
>>> coercive(Problem.two_layer("tanh", "square")).reason
'there is no weight decay, so nothing shows that the risk grows in every direction'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivations.activation_bounds import Tail, tail
from derivations.claim import Status
from derivations.interval import IntervalProblem
from derivations.losses import F
from derivations.problem import Problem

if TYPE_CHECKING:
    from derivations.formula_model import FormulaProblem

__all__ = ["Coercive", "coercive"]


@dataclass(frozen=True)
class Coercive:
    """Whether the risk is shown to be coercive, True or None (not shown), and on what ground or for lack of what."""

    holds: bool | None
    reason: str


def coercive(problem: Problem | FormulaProblem | IntervalProblem) -> Coercive:
    """Return whether the risk of a problem is shown to be coercive in the trained parameters.

    Assumptions
    -----------
    weight decay : positive, checked
    loss : shown not to be negative, or affine in the output of a network with bounded activation; SymPy decides both
    factor : shown not to be negative
    samples or interval : finitely many, or of finite length
    """
    stated = problem.problem if isinstance(problem, IntervalProblem) else problem
    decay, loss = stated.weight_decay, stated.loss
    if decay == 0:
        return Coercive(
            None, "there is no weight decay, so nothing shows that the risk grows in every direction"
        )
    if not decay.is_positive:
        return Coercive(None, f"the weight decay {decay} is not shown to be positive")
    if loss is None:
        return Coercive(None, "the loss is left open")
    if not stated.factor.is_nonnegative:
        return Coercive(None, f"the factor {stated.factor} of the risk is not shown to be at least 0")
    if loss.expr.is_nonnegative is True:
        return Coercive(True, "weight decay is positive and the loss is not negative")
    if isinstance(stated, Problem) and loss.expr.is_polynomial(F) and loss.expr.diff(F, 2) == 0:
        if _bounded(stated):
            return Coercive(
                True, "weight decay is positive, the loss affine in the output, the activation bounded"
            )
        return Coercive(
            None, f"the loss '{loss.name}' is not bounded below and the activation not shown to be bounded"
        )
    return Coercive(None, f"the loss '{loss.name}' is not shown to be bounded below")


def _bounded(problem: Problem) -> bool:
    """Whether sigma is shown to be bounded: continuous, with finite limits at both ends."""
    sigma = problem.activation
    if sigma is None or sigma.is_smooth is not True:
        return False
    ends = [tail(sigma, side) for side in (1, -1)]
    return all(
        end.status is Status.PROVED
        and isinstance(end.value, Tail)
        and end.value.limit is not None
        and end.value.limit.is_finite is True
        for end in ends
    )
