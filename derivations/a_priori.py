r"""A box that holds every critical point of a two-layer network with weight decay.

Let :math:`R = \kappa' \sum_i \sum_c \ell(f_{ic}, y_{ic}) + \tfrac{\lambda}{2} \lVert\theta\rVert^2` with :math:`\lambda > 0`,
:math:`r = \ell_f(f, y)` and all blocks trained.  The outputs are linear and homogeneous in the output layer u = (a, c), so at a critical point

.. math:: 0 = u \cdot \nabla_u R = \kappa' \sum r f + \lambda \lvert u\rvert^2 ,
          \qquad \lvert u \rvert^2 \le \frac{\kappa'}{\lambda} \sum_{ic} \sup_f \bigl(-f\,\ell_f(f, y_{ic})\bigr) .

For the square loss, :math:`r = f - y`, the supremum is :math:`y^2/4`, and the equation says
:math:`\lvert f - y/2\rvert^2 = \lvert y\rvert^2/4 - \lambda \lvert u\rvert^2/\kappa'`; hence :math:`\lvert f - y/2\rvert \le \lvert y\rvert/2` and
:math:`\lvert r\rvert \le \lvert y\rvert`.  For the logistic loss it is :math:`\sup_t t/(1 + e^t) = W(1/e) < 0.2785`, and
:math:`\lvert r\rvert \le \lvert y\rvert`.  With :math:`\tilde w_k = (w_k, b_k)` and :math:`z_{ik} = \tilde w_k \cdot \tilde x_i`,

.. math:: 0 = \tilde w_k \cdot \nabla_{\tilde w_k} R = \kappa' s \sum_{ic} r_{ic} a_{kc}\, z_{ik} \sigma'(z_{ik}) + \lambda \lvert\tilde w_k\rvert^2,
          \qquad \lvert\tilde w_k\rvert^2 \le \frac{\kappa' \lvert s\rvert}{\lambda} \sup_z \lvert z \sigma'(z)\rvert \, \sqrt n\, \lvert y\rvert\, \lvert a_k\rvert .

With the mean over samples and one output these are :math:`\lvert a\rvert^2 \le \overline{y^2}/(4\lambda)` and, for tanh,
:math:`\lambda \lvert\tilde w_k\rvert^2 \le 0.4478\, \lvert a_k\rvert \sqrt{\overline{y^2}}`.

>>> from sympy import Rational
>>> from derivations.problem import Problem
>>> found = a_priori(Problem.two_layer("tanh", "square", weight_decay=Rational(1, 100)), [Rational(1), Rational(-1)], 2)
>>> round(found.output_radius, 9), round(found.input_radius, 3)
(5.0, 14.962)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpmath import mp
from sympy import Expr, Integer, Rational, S, sqrt

from derivations.activation_bounds import supremum
from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.enclosure import NotEnclosed, real_range
from derivations.errors import AssumptionError
from derivations.problem import Problem, m

__all__ = ["APriori", "a_priori", "upper"]

#: Above sup t / (1 + exp(t)) = W(1/e) = 0.27846...
_LOGISTIC = Rational(557, 2000)
_SPARE = 1 + 2.0**-40


@dataclass(frozen=True)
class APriori:
    r"""Bounds of every critical point, rounded upwards.

    Attributes
    ----------
    output_radius : float
        Bound of the Euclidean norm of the output layer (a, c).
    input_radius : float
        Bound of the norm of the input weights of a neuron, its bias included.
    outputs : float or None
        Bound of :math:`\lvert f - y/2 \rvert`, over all samples and outputs; None where the loss gives none.
    """

    output_radius: float
    input_radius: float
    outputs: float | None


def upper(expr: Expr) -> float:
    """Return a float above a constant, by less than 1e-11 of it."""
    _, top = real_range(expr, Z, Integer(0), Integer(0))
    return float(mp.mpf(top)) * _SPARE


def a_priori(problem: Problem, targets: Sequence[Expr], width: int) -> APriori:
    r"""Return the box of all critical points.

    Assumptions
    -----------
    two layers, all blocks trained : from the problem
    weight decay, factor positive : from the problem
    square or logistic loss : from the problem
    smooth activation with bounded z sigma'(z) : its supremum is proved or enclosed by interval arithmetic

    Parameters
    ----------
    problem : Problem
        With a concrete activation and loss.
    targets : sequence of Expr
        All entries of y.
    width : int
        Number m of neurons.

    Raises
    ------
    AssumptionError
        If an assumption is not met or not shown; the message says which.
    """
    activation = _checked(problem)
    loss = problem.loss
    assert loss is not None
    bound = supremum(Z * activation.derivative(), S.NegativeInfinity, S.Infinity)
    if bound.status not in (Status.PROVED, Status.CERTIFIED):
        raise AssumptionError(
            f"z*sigma'(z) of {activation.name} is not shown to be bounded, so that no box of all critical points is known: "
            "use a bounded activation such as tanh, sigmoid or erf, or give a box"
        )
    samples = Integer(len(targets))
    squares = sum((u**2 for u in targets), S.Zero)
    factor = problem.factor / (samples if problem.reduction == "mean" else 1)
    if problem.vector_output:
        raise AssumptionError(
            "a network with several outputs is not searched exhaustively: its search has not been tried; use one output"
        )
    per_sample = squares / 4 if loss.name == "square" else _LOGISTIC * samples
    output = sqrt(factor * per_sample / problem.weight_decay)
    scale = problem.scale.subs({m: width})
    supremum_ = bound.value + (bound.radius or 0)
    norm = sqrt(squares)
    try:
        radius = upper(output)
        weights = upper(
            factor * abs(scale) * supremum_ * sqrt(samples) * norm * output / problem.weight_decay
        )
        outputs = upper(norm / 2) if loss.name == "square" else None
    except NotEnclosed as reason:
        raise AssumptionError(f"the bounds of the critical points are not enclosed: {reason}") from reason
    return APriori(radius, weights**0.5 * _SPARE, outputs)


def _checked(problem: Problem) -> Activation:
    activation, loss = problem.activation, problem.loss
    if problem.kind != "two_layer" or activation is None or loss is None:
        raise AssumptionError(
            f"the box of all critical points is known for two-layer networks with a given activation and loss, found a {problem.kind} "
            "model: give a box"
        )
    if problem.freeze:
        raise AssumptionError(
            f"the box of all critical points is known where every block is trained; frozen: {', '.join(problem.freeze)}"
        )
    if not problem.weight_decay.is_positive or not problem.factor.is_positive:
        raise AssumptionError(
            f"without weight decay critical points form continua and reach to infinity; found weight decay {problem.weight_decay},"
            " required is a positive one"
        )
    if loss.name not in ("square", "logistic"):
        raise AssumptionError(
            f"the box of all critical points is known for the losses square and logistic, found {loss.name}"
        )
    if activation.is_smooth is not True:
        raise AssumptionError(
            f"{activation.name} is not smooth: its critical points include kinks, which need one-sided derivatives"
        )
    return activation
