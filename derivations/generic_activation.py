r"""Which activations make the neurons of a teacher-student problem independent: the generic ("good") activations and the others.

An activation is generic if it is real analytic with :math:`\sigma(0) \neq 0` and infinitely many odd and infinitely many even
Taylor coefficients at 0 that do not vanish.  Equivalently, neurons :math:`\sigma(w_j \cdot x)` without biases are linearly
independent for all finite sets of distinct weights.  Each of the conditions is decided:

* the even part :math:`(\sigma(z) + \sigma(-z))/2` has infinitely many non-zero coefficients if and only if it is no polynomial,
  the odd part likewise;
* a function that is rational in z and one exponential :math:`e^{\kappa z}`, and in which the exponential does not cancel, is no
  polynomial, because :math:`e^{\kappa z}` is transcendental over the rational functions; so is a function one of whose derivatives is not
  constant and has a finite limit at infinity, or is periodic.

Where a condition fails, the reason is an identity between neurons, such as :math:`\sigma(-z) = -\sigma(z)`.  An activation that is
odd or even up to a constant still has branches of global minima that are affine, with signs; ``NeuronClasses`` says which.

Source: arXiv:2309.00508 (2024), Assumption 1, Corollary 3.1 and Remark 3.1.

>>> from derivations.activations import activation
>>> [str(generic_activation(activation(u)).status) for u in ("exp", "tanh(z + 7/10)", "tanh", "softplus", "cubic", "relu")]
['PROVED', 'PROVED', 'REFUTED', 'REFUTED', 'REFUTED', 'REFUTED']
>>> generic_activation(activation("sigmoid")).reason
'$\\sigma(-z) = -\\sigma(z) + 1$: the even part is a constant.'
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sympy import (
    Expr,
    PolynomialError,
    S,
    Symbol,
    cancel,
    diff,
    erf,
    exp,
    expand,
    latex,
    limit,
    log,
    nsimplify,
    oo,
    simplify,
)

from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.decide import Finding, identically_zero, is_zero
from derivations.errors import AssumptionError
from derivations.neuron_relations import frequency, parity_tex
from derivations.polynomial_neurons import coefficients
from derivations.uniqueness import independence_argument

__all__ = ["NeuronClasses", "generic_activation", "neuron_classes", "not_polynomial"]

#: What a parity says, by its sign and whether there is an affine part.
_PARTS = {
    (-1, False): "even part is 0",
    (-1, True): "even part is a constant",
    (1, False): "odd part is 0",
    (1, True): "odd part is linear",
}
#: Derivatives looked at for a limit at infinity or an algebraic form.
_ORDERS = 4
_T = Symbol("T", positive=True)


@dataclass(frozen=True)
class NeuronClasses:
    r"""What decides when neurons without input weights 0 coincide, and what neurons with input weights 0 are.

    Attributes
    ----------
    sign : int
        s of :math:`\sigma(-z) = s\,\sigma(z) + \alpha`; 0 where weights of opposite sign are independent neurons.
    constant : Expr
        :math:`\alpha`; not 0 for s = -1 only, and then :math:`\alpha = 2\sigma(0)`.
    slope : Expr
        :math:`\beta` where :math:`\sigma(-z) = \sigma(z) + \beta z` is admitted, else 0.
    at_zero, slope_at_zero : Expr
        :math:`\sigma(0)` and :math:`\sigma'(0)`.
    status : Status
        PROVED where neurons of different classes and their derivatives are proved to be linearly independent, together with
        affine functions; UNDECIDED otherwise.
    reason : str
        LaTeX sentence.
    """

    sign: int
    constant: Expr
    slope: Expr
    at_zero: Expr
    slope_at_zero: Expr
    status: Status
    reason: str


@cache
def generic_activation(activation: Activation) -> Finding:
    """Decide whether an activation is generic; the reason names the condition that fails.

    Returns
    -------
    Finding
        PROVED with value True; REFUTED with value None, the condition that fails among the reasons; UNDECIDED.
    """
    name = activation.expr
    if activation.analytic.status is Status.REFUTED or activation.is_smooth is False:
        return Finding(
            None, Status.REFUTED, r"$\sigma$ is not analytic: it or a derivative has a kink or a jump."
        )
    if activation.analytic.value is not True:
        return Finding(None, Status.UNDECIDED, r"That $\sigma$ is real analytic could not be shown.")
    if coefficients(activation) is not None:
        return Finding(
            None,
            Status.REFUTED,
            rf"$\sigma(z) = {latex(name)}$ is a polynomial: finitely many Taylor coefficients.",
        )
    parity = activation.affine_parity
    if parity.sign:
        part = _PARTS[parity.sign, parity.constant != 0 or parity.slope != 0]
        identity = parity_tex(parity.sign, parity.constant, parity.slope)
        return Finding(None, Status.REFUTED, f"${identity}$: the {part}.")
    found = [(word, not_polynomial(part)) for word, part in _parts(activation.expr)]
    for word, finding in found:
        if finding.status is Status.REFUTED:
            return Finding(
                None, Status.REFUTED, rf"The {word} part of $\sigma$ is a polynomial: {finding.reason}"
            )
    at_zero = is_zero(activation.value_at_zero)
    if at_zero is Status.PROVED:
        return Finding(None, Status.REFUTED, r"$\sigma(0) = 0$: a neuron with input weights $0$ is silent.")
    undecided = [word for word, finding in found if finding.status is Status.UNDECIDED]
    if undecided or at_zero is not Status.REFUTED:
        what = (
            f"That the {' and the '.join(undecided)} part is no polynomial"
            if undecided
            else r"That $\sigma(0) \neq 0$"
        )
        return Finding(None, Status.UNDECIDED, f"{what} could not be shown.")
    reasons = " ".join(f"{word.capitalize()} part: {finding.reason}" for word, finding in found)
    return Finding(
        True,
        Status.PROVED,
        rf"$\sigma$ is analytic, $\sigma(0) = {latex(activation.value_at_zero)} \neq 0$. {reasons}",
    )


def _parts(expr: Expr) -> tuple[tuple[str, Expr], tuple[str, Expr]]:
    mirrored = expr.subs(Z, -Z)
    return ("even", (expr + mirrored) / 2), ("odd", (expr - mirrored) / 2)


@cache
def not_polynomial(expr: Expr) -> Finding:
    """Decide whether an analytic function of ``Z`` is no polynomial: PROVED it is none, REFUTED it is one, or UNDECIDED.

    >>> from sympy import cosh, log
    >>> [str(not_polynomial(u).status) for u in (cosh(Z), Z**2 + 1, (log(1 + exp(Z)) - log(1 + exp(-Z))) / 2)]
    ['PROVED', 'REFUTED', 'REFUTED']
    """
    value: Expr = expr
    for order in range(_ORDERS):
        decision = identically_zero(value, Z)
        if decision.proved:
            return Finding(None, Status.REFUTED, f"its derivative of order {order} vanishes.")
        if decision.refuted and (reason := _transcendental(value) or _tame(value)):
            which = "" if order == 0 else f"the derivative of order {order} "
            return Finding(True, Status.PROVED, f"{which}{reason}.")
        value = diff(value, Z)
    return Finding(None, Status.UNDECIDED, "no argument applies.")


def _transcendental(expr: Expr) -> str:
    """Return why a function, rational in z and one exponential, is no polynomial; empty where this does not apply."""
    formula = expand(expr.rewrite(exp))
    if formula.has(log, erf):
        return ""
    rates = set()
    for atom in formula.atoms(exp):
        rate = diff(atom.args[0], Z)
        if rate.free_symbols or not rate.is_real:
            return ""
        rates.add(rate)
    rates.discard(S.Zero)
    if not rates:
        return ""
    unit = min((abs(rate) for rate in rates), key=lambda rate: rate.evalf())
    ratios = [nsimplify(simplify(rate / unit)) for rate in rates]
    if not all(ratio.is_Rational for ratio in ratios):
        return ""
    base = unit
    for ratio in ratios:
        base = base / (ratio * unit / base).q
    algebraic = formula.replace(
        lambda u: isinstance(u, exp) and u.has(Z),
        lambda u: _T ** simplify(diff(u.args[0], Z) / base) * exp(u.args[0].subs(Z, 0)),
    )
    try:
        reduced = cancel(algebraic)
        derivative = cancel(diff(reduced, _T))
    except PolynomialError:
        return ""
    rational = reduced.is_rational_function(Z, _T)
    known = rational and identically_zero(derivative.subs(_T, exp(Z)), Z).refuted
    return (
        rf"is a rational function of $z$ and $e^{{{latex(base * Z)}}}$ in which the exponential does not cancel"
        if known
        else ""
    )


def _tame(expr: Expr) -> str:
    """Return why a non-constant function is no polynomial, from its limit at infinity or its period."""
    if not identically_zero(diff(expr, Z), Z).refuted:
        return ""
    if Activation("part", expr).period.known:
        return "is periodic and not constant"
    try:
        value = limit(expr, Z, oo)
    except (NotImplementedError, ValueError, TypeError):
        return ""
    return (
        rf"is not constant and tends to ${latex(value)}$"
        if value.is_finite and not value.free_symbols
        else ""
    )


@cache
def neuron_classes(activation: Activation, *, bias: bool = False, linear: bool = False) -> NeuronClasses:
    r"""Return when neurons coincide, for an activation whose branches of global minima are affine.

    Without hidden biases the argument is the one on Taylor coefficients: for infinitely many j the sums
    :math:`\sum_i (\alpha_i + j \beta_i / p_i) p_i^j` vanish, in which the largest :math:`|p_i|` dominates.  With biases it is that
    on the poles of sigma, or on Gaussians; :math:`\sigma'(\varphi) x_l` has one order of pole, or one degree, more than
    :math:`\sigma(\varphi)`.

    Parameters
    ----------
    activation : Activation
        Analytic and not a polynomial.
    bias : bool
        Whether neurons have biases.
    linear : bool
        Whether a linear odd part is admitted, as that of softplus: tangent spaces take it, affine branches do not.

    Raises
    ------
    AssumptionError
        For a polynomial, a kinked activation, one with a linear odd part, and with biases one that turns shifts of the bias into
        factors; the message states the identity that stands in the way.
    """
    reason = _refusal(activation, bias, linear)
    if reason:
        raise AssumptionError(f"the neurons are not independent up to constants and signs: {reason}")
    parity = activation.affine_parity
    steep = activation.derivative(1).subs(Z, 0)
    status, why = _independence(activation, bias)
    return NeuronClasses(
        parity.sign, parity.constant, parity.slope, activation.value_at_zero, steep, status, why
    )


def _refusal(activation: Activation, bias: bool, linear: bool) -> str:
    name, parity = activation.name, activation.affine_parity
    if activation.is_smooth is False or activation.analytic.status is Status.REFUTED:
        return f"{name} is not analytic; choose an analytic activation such as tanh, sigmoid or exp"
    if coefficients(activation) is not None:
        return f"{name} is a polynomial, of which finitely many neurons span all; choose tanh, sigmoid or exp"
    if parity.slope != 0 and not linear:
        return (
            f"sigma(-z) = sigma(z) + ({parity.slope}) z for {name}, so pairs of neurons of opposite weights add linear"
            " functions whose coefficients are products of parameters; choose an activation without a linear odd part"
        )
    if bias and activation.shift_rate.known:
        return f"a change of the bias of {name} multiplies the neuron; leave the hidden biases out (input_bias = false)"
    if bias and frequency(activation) is not None:
        return f"sigma'' is a multiple of sigma for {name}, so three neurons with equal input weights are dependent; leave the biases out"
    if parity.sign == 0:
        for word, part in _parts(activation.expr):
            if not_polynomial(part).status is Status.REFUTED:
                return f"the {word} part of {name} is a polynomial; choose an activation without such a part"
    return ""


def _independence(activation: Activation, bias: bool) -> tuple[Status, str]:
    parity = activation.affine_parity
    if bias:
        argument = independence_argument(activation, bias=True)
        if argument is not None and argument.name in ("poles", "gaussians"):
            more = "has one order of pole" if argument.name == "poles" else "has a factor of one degree"
            return (
                Status.PROVED,
                rf"{argument.reason} In each neuron $\sigma'(\varphi) x_l$ {more} more than $\sigma(\varphi)$.",
            )
        return (
            Status.UNDECIDED,
            "No argument for the linear independence of neurons with biases and their derivatives applies.",
        )
    undecided = activation.analytic.value is not True
    if not undecided and parity.sign == 0:
        undecided = parity.status is Status.UNDECIDED or any(
            not_polynomial(part).status is Status.UNDECIDED for _, part in _parts(activation.expr)
        )
    if undecided:
        return Status.UNDECIDED, "Infinitely many Taylor coefficients of both parities could not be shown."
    which = {0: "odd and infinitely many even", 1: "even", -1: "odd"}[parity.sign]
    return Status.PROVED, (
        rf"$\sigma$ is analytic with infinitely many {which} Taylor coefficients that are not $0$: on a line on which the slopes $p_i$ of "
        r"the classes have different moduli $\sum_i (\alpha_i + j\beta_i/p_i)\, p_i^j$ vanishes for infinitely many such $j$, and the "
        r"largest $|p_i|$ dominates."
    )
