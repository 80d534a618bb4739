r"""When two two-layer networks compute the same function, and whether the list of identities is complete.

Write :math:`\varphi_k(x) = w_k \cdot x + b_k`.  If the functions :math:`\sigma(\varphi_k)` of non-constant, pairwise inequivalent
:math:`\varphi_k` are linearly independent modulo affine functions, then the function of a network determines, for each class of
equivalent :math:`\varphi`, the total outgoing weight of the class, and one affine remainder, and nothing else.  The equivalence is
that of the identities: :math:`\varphi \sim \pm\varphi` by the parity of sigma up to an affine part, and so on.  Independence is
decided for the activation from its derived properties, by one of these arguments on a line :math:`x = x_0 + t u` in general
position, where :math:`\varphi_k = s_k t + \beta_k`, :math:`s_k \neq 0`:

* *poles*: a derivative of sigma is a polynomial in z and :math:`\tanh(\kappa z)`, singular at :math:`\pm i\pi/(2\kappa)` and nowhere nearer
  to the real axis; or sigma is a quotient of polynomials with two nearest poles, on the imaginary axis.  The neurons of the largest :math:`|s_k|` have poles nearest to the axis, at different places: their weights
  vanish, and so on;
* *Gaussians*: a derivative is a polynomial times :math:`e^{-\kappa z^2}`; exponentials of polynomials whose differences are not
  constant are linearly independent over the polynomials;
* *kinks*: sigma is homogeneous and its only singularity is at 0.  At a point of the hyperplane :math:`\varphi_k = 0` on no other one
  all other neurons are analytic;
* *exponentials*: :math:`\sigma' = \kappa\sigma` or :math:`\sigma'' = -\omega^2\sigma`; exponentials of different rates are independent;
* *Taylor coefficients*, without hidden biases: sigma is analytic and no polynomial, so infinitely many power sums
  :math:`\sum_k A_k s_k^j` vanish.

Source: H. J. Sussmann, Neural Networks 5 (1992), for tanh: irreducible networks are unique up to permutations and signs.  The
arguments here are elementary and give the same for the activations above.

>>> from derivations.problem import Problem
>>> [str(uniqueness(Problem.two_layer(name, input_bias=True)).status) for name in ("tanh", "gelu", "relu", "cubic")]
['PROVED', 'PROVED', 'PROVED', 'UNDECIDED']
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Expr,
    I,
    Poly,
    PolynomialError,
    S,
    Symbol,
    cancel,
    exp,
    expand,
    fraction,
    im,
    latex,
    pi,
    re,
    roots,
    simplify,
    tanh,
    together,
)

from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.decide import identically_zero, is_zero
from derivations.functions import sech2, sigmoid, softplus
from derivations.identity import Identity, Kind
from derivations.neuron_relations import affine_tex, frequency, parity_tex
from derivations.polynomial_neurons import coefficients
from derivations.problem import Problem

__all__ = ["Argument", "independence_argument", "uniqueness"]

_NAME = "completeness of the list"
_T = Symbol("T", real=True)


@dataclass(frozen=True)
class Argument:
    """Why neurons are independent.

    Attributes
    ----------
    name : str
        ``poles``, ``gaussians``, ``kinks``, ``exponential``, ``frequency`` or ``taylor``.
    reason : str
        One LaTeX sentence with what was decided about the activation.
    source : str
        Bibliography key, or empty.
    """

    name: str
    reason: str
    source: str = ""


def independence_argument(activation: Activation, *, bias: bool) -> Argument | None:
    """Return the argument for the independence of neurons that applies, with or without hidden biases; None where none does.

    >>> from derivations.activations import REGISTRY
    >>> [independence_argument(REGISTRY[u], bias=True).name for u in ("tanh", "softplus", "erf", "abs", "exp", "sin")]
    ['poles', 'poles', 'gaussians', 'kinks', 'exponential', 'frequency']
    >>> independence_argument(REGISTRY["softsign"], bias=True) is None
    True
    """
    rate = activation.shift_rate
    if rate.known and is_zero(rate.value) is Status.REFUTED:
        return Argument("exponential", rate.reason)
    omega = frequency(activation)
    if omega is not None and bias and activation.parity.name in ("odd", "even"):
        square = "" if omega == 1 else latex(omega**2) + r"\,"
        return Argument("frequency", rf"$\sigma'' = -{square}\sigma$.")
    if activation.affine_parity.sign == 0:
        return None
    return (
        _poles(activation)
        or _rational(activation)
        or _gaussians(activation)
        or _kinks(activation)
        or (None if bias else _taylor(activation, omega))
    )


def _poles(activation: Activation) -> Argument | None:
    for order in (0, 1):
        formula = _in_tanh(activation.derivative(order))
        arguments = {u.args[0] for u in formula.atoms(tanh)}
        rate = next(iter(arguments)).coeff(Z) if len(arguments) == 1 else S.Zero
        if not rate.is_positive or arguments != {rate * Z}:
            continue
        try:
            polynomial = Poly(expand(formula).subs(tanh(rate * Z), _T), _T, Z)
        except PolynomialError:
            continue
        leading = Poly(polynomial.as_expr(), _T).LC()
        pole = I * pi / (2 * rate)
        if polynomial.degree(_T) < 1 or polynomial.free_symbols_in_domain:
            continue
        parts = expand(leading.subs(Z, pole)).as_real_imag()
        if not any(is_zero(simplify(part)) is Status.REFUTED for part in parts):
            continue
        what = r"\sigma" if order == 0 else r"\sigma'"
        inner = "z" if rate == 1 else rf"{latex(rate)} z"
        return Argument(
            "poles",
            rf"${what}$ is a polynomial in $z$ and $\tanh({inner})$ with a pole at $\pm {latex(pole)}$, and is analytic nearer to "
            r"the real axis: on a line in general position the neurons of largest slope have poles that no other neuron has.",
            "sussmann1992" if activation.name in ("tanh", "sigmoid") else "",
        )
    return None


def _rational(activation: Activation) -> Argument | None:
    """Return the argument of the poles for a quotient of polynomials whose nearest poles are two, on the imaginary axis."""
    numerator, denominator = fraction(cancel(together(activation.expr)))
    if not (numerator.is_polynomial(Z) and denominator.is_polynomial(Z) and denominator.has(Z)):
        return None
    polynomial = Poly(denominator, Z)
    found = roots(polynomial)
    if polynomial.free_symbols_in_domain or sum(found.values()) != polynomial.degree():
        return None
    heights = {root: abs(im(root)) for root in found}
    nearest = [root for root in found if is_zero(heights[root] - min(heights.values())) is not Status.REFUTED]
    if any(re(root) != 0 for root in nearest) or is_zero(min(heights.values())) is not Status.REFUTED:
        return None
    pole = next(root for root in nearest if im(root).is_positive)
    return Argument(
        "poles",
        rf"$\sigma$ is a quotient of polynomials with poles at $\pm {latex(pole)}$ and none as near to the real axis: on a line in "
        "general position the neurons of largest slope have poles that no other neuron has.",
    )


def _in_tanh(expr: Expr) -> Expr:
    """Write sigmoid, softplus' and sech^2 by tanh; a softplus itself stays."""
    out = expr.replace(sigmoid, lambda u: (1 + tanh(u / 2)) / 2).replace(sech2, lambda u: 1 - tanh(u) ** 2)
    return out if not out.has(softplus) else S.NaN


def _gaussians(activation: Activation) -> Argument | None:
    if activation.is_smooth is not True:
        return None
    for order in (0, 1, 2):
        formula = expand(activation.derivative(order))
        squares = {u.args[0] for u in formula.atoms(exp)}
        if len(squares) != 1:
            continue
        (square,) = squares
        rate = -square.coeff(Z, 2)
        if not rate.is_positive or expand(square + rate * Z**2) != 0:
            continue
        factor = simplify(formula / exp(square))
        if factor == 0 or not factor.is_polynomial(Z):
            continue
        what = rf"\sigma^{{({order})}}" if order else r"\sigma"
        return Argument(
            "gaussians",
            rf"${what} = {latex(factor)}\, e^{{{latex(square)}}}$: exponentials of polynomials whose differences are not constant "
            "are linearly independent over the polynomials.",
        )
    return None


def _kinks(activation: Activation) -> Argument | None:
    degree, breaks = activation.homogeneity_degree, activation.breaks
    if degree is None or not breaks.known or [u.point for u in breaks.value] != [S.Zero]:
        return None
    order = breaks.value[0].order
    return Argument(
        "kinks",
        rf"$\sigma^{{({order})}}$ jumps at $0$ and $\sigma$ is analytic elsewhere: at a point of a hyperplane on no other one "
        "the other neurons are analytic.",
    )


def _taylor(activation: Activation, omega: Expr | None) -> Argument | None:
    if activation.analytic.value is not True or coefficients(activation) is not None:
        return None
    limits = [tail.value.limit for tail in activation.tails if tail.known and tail.value.limit is not None]
    repeats = omega is not None or activation.period.known or any(limit.is_finite for limit in limits)
    if not repeats or not identically_zero(activation.derivative(1), Z).refuted:
        return None  # a polynomial that is bounded at one end, or periodic, is constant
    return Argument(
        "taylor",
        r"$\sigma$ is analytic and not a polynomial: $\sum_k A_k \sigma(w_k \cdot x)$ affine makes $\sum_k A_k s_k^j$ vanish for "
        "infinitely many $j$, so that the weight of the largest $|s_k|$ vanishes, and so on.",
    )


def uniqueness(problem: Problem) -> Identity:
    r"""Return what is known of the completeness of the list of identities, for a two-layer network.

    PROVED: the relations named are all there are between networks of any two widths, for inputs x in all of
    :math:`\mathbb{R}^d`.  UNDECIDED otherwise, with the reason.  Finitely many samples are kept by more maps.

    Assumptions
    -----------
    The class of the activation: decided by ``independence_argument`` from its formula.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep.
    """
    activation = problem.activation
    if problem.kind != "two_layer":
        cited, source = "", ""
        if activation is not None and activation.name == "tanh":
            cited = (
                r" For $\tanh$ and weights in general position, permutations and signs are all (Fefferman and Markel 1993); the "
                "conditions on the weights are not checked here."
            )
            source = "fefferman1993"
        said = "For networks with several hidden layers the list is not claimed to be complete."
        return _open(said + cited, source)
    if activation is None:
        return _open("For a general activation the list holds what every activation has.")
    powers = coefficients(activation)
    if powers is not None:
        degree = len(powers) - 1
        return _open(
            rf"The network is a polynomial of degree at most ${degree}$ in $x$: two networks have equal outputs if and only if "
            "finitely many coefficients agree. That the maps listed generate all these coincidences is not claimed."
        )
    argument = independence_argument(activation, bias=problem.input_bias)
    if argument is None:
        return _open(
            "No argument for the linear independence of neurons applies to this activation; there may be more identities."
        )
    text, steps = _classes(problem, activation, argument)
    return Identity(
        _NAME,
        text,
        (argument.reason, *steps),
        Status.PROVED,
        {},
        argument.source,
        kind=Kind.LIST,
        dimension=None,
    )


def _open(text: str, source: str = "") -> Identity:
    return Identity(_NAME, text, (), Status.UNDECIDED, {}, source, kind=Kind.LIST, dimension=None)


def _classes(problem: Problem, activation: Activation, argument: Argument) -> tuple[str, tuple[str, ...]]:
    """Return the sentence about the classes of neurons, and the lines that lead from independence to it."""
    phi = r"\varphi_k(x) = w_k \cdot x" + (" + b_k" if problem.input_bias else "")
    start = (
        rf"With ${phi}$, for inputs in all of $\mathbb{{R}}^d$ and networks of any two widths: two networks have equal outputs if and "
        "only if they agree in "
    )
    end = (
        " So permutations, splitting and merging, silent and constant neurons and the changes listed of single neurons or sets of "
        "neurons generate all coincidences."
    )
    if problem.scale != 1:
        end = r" Here $a_k$ stands for the output weight times the output scale." + end
    if argument.name in ("exponential", "frequency"):
        total, steps = _rates(problem, activation, argument)
        return rf"{start}${total}$ for every $w \neq 0$, and in {_CONSTANT}.{end}", steps
    parity = activation.affine_parity
    sign = "-" if parity.sign == -1 else "+"
    kinks = argument.name == "kinks"
    if kinks:
        p = activation.homogeneity_degree
        factor = r"\lambda " if p == 1 else rf"\lambda^{{{latex(p)}}} "
        left = rf"\sum_{{\varphi_k = \lambda\varphi,\, \lambda > 0}} {factor}a_k"
        right = rf"\sum_{{\varphi_k = -\lambda\varphi,\, \lambda > 0}} {factor}a_k"
        which = r"for every hyperplane $\{\varphi = 0\}$"
    else:
        left, right = r"\sum_{\varphi_k = \varphi} a_k", r"\sum_{\varphi_k = -\varphi} a_k"
        which = r"for every non-constant $\varphi$, one of each pair $\pm\varphi$"
    remainder = _CONSTANT
    if parity.slope != 0 or parity.constant != 0:
        over = r"\varphi_k = -\lambda\varphi" if kinks else r"\varphi_k = -\varphi"
        weight = r"\lambda a_k" if kinks else "a_k"
        inner = affine_tex(parity.constant, parity.slope, r"\varphi")
        remainder = (
            r"the affine function that is the output bias plus the neurons with $w_k = 0$ plus "
            rf"$\sum_{{{over}}} {weight} \cdot ({inner})$"
        )
    text = rf"{start}$A_\varphi = {left} {sign} {right}$ {which}, and in {remainder}.{end}"
    steps = (
        rf"With ${parity_tex(parity.sign, parity.constant, parity.slope)}$ a network is $\sum_\varphi A_\varphi\, \sigma(\varphi)$ "
        r"plus an affine function, the sum over pairwise inequivalent $\varphi$; the difference of two networks is one too.",
        r"By independence all differences of $A_\varphi$ vanish, and then the difference of the affine functions.",
    )
    return text, steps


#: What is left of a network without its non-constant neurons.
_CONSTANT = r"the constant, the output bias plus the neurons with $w_k = 0$"


def _rates(problem: Problem, activation: Activation, argument: Argument) -> tuple[str, tuple[str, ...]]:
    """Return the invariant of a class of exponential or trigonometric neurons, and the reason."""
    if argument.name == "exponential":
        power = _times(activation.shift_rate.value, "b_k")
        factor = rf" e^{{{power}}}" if problem.input_bias else ""
        why = r"$\sigma(w \cdot x + b)$ is $\sigma(b)$ times an exponential of $w \cdot x$; different $w \neq 0$ are independent."
        return rf"\sum_{{w_k = w}} a_k{factor}", (why,)
    omega = frequency(activation)
    assert omega is not None  # the argument rests on it
    phase = rf"i ({_times(omega, 'b_k')} + \vartheta)"
    total = rf"\sum_{{w_k = w}} a_k e^{{{phase}}} + \sum_{{w_k = -w}} a_k e^{{-{phase}}}"
    argued = _times(omega, r"w_k \cdot x")
    why = (
        rf"$\sigma(z) = r \cos({_times(omega, 'z')} + \vartheta)$: each neuron is the real part of an exponential of "
        rf"$i\, {argued}$; different classes $\{{w, -w\}}$, $w \neq 0$, are independent."
    )
    return total, (why,)


def _times(factor: Expr, letter: str) -> str:
    return affine_tex(S.Zero, factor, letter)
