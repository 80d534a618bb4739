r"""Dual kernels of an activation under Gaussian weights, and the kernels of wide networks built from them.

.. math::
    K(a, b, c) = \mathbb{E}[\sigma(u)\sigma(v)], \qquad (u, v) \sim N\Bigl(0, \begin{pmatrix} a & c \\ c & b \end{pmatrix}\Bigr),
    \qquad \frac{\partial K}{\partial c} = \mathbb{E}[\sigma'(u)\sigma'(v)] .

Closed forms are those of ``derivations.kernel_forms``; any other activation has the series :math:`\sum_j c_j^2 \rho^j` in its
Hermite coefficients, with a bound of the remainder.

>>> from derivations.activations import REGISTRY
>>> dual(REGISTRY["relu"])
rho*(pi - acos(rho))/(2*pi) + sqrt(1 - rho**2)/(2*pi)
>>> dual(REGISTRY["erf"]), dual(REGISTRY["exp"])
(2*asin(2*rho/3)/pi, exp(rho + 1))
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Add, Expr, Float, Integer, S

from derivations.activations import Activation
from derivations.arc_cosine import RHO
from derivations.decide import Finding
from derivations.errors import AssumptionError
from derivations.kernel_forms import closed_kernel

__all__ = [
    "RHO",
    "KernelLayer",
    "Series",
    "depth_recursion",
    "dual",
    "dual_series",
    "gaussian_kernel",
    "two_layer_kernels",
]


def gaussian_kernel(activation: Activation, a: Expr, b: Expr, c: Expr, *, order: int = 0) -> Expr:
    r"""Return :math:`\mathbb{E}[\sigma^{(order)}(u)\, \sigma^{(order)}(v)]` for variances a, b and covariance c.

    Parameters
    ----------
    activation : Activation
        One of the three families of the module.
    a, b, c : Expr
        Variances and covariance, symbols or numbers; :math:`c^2 \le ab`.
    order : int
        0 for the kernel of outputs, 1 for that of derivatives, almost everywhere.

    Raises
    ------
    AssumptionError
        If the activation is in none of the families; ``dual_series`` then serves.
    ValueError
        If the mean does not exist.

    Source
    ------
    Cho, Saul (2009), Kernel methods for deep learning; Williams (1997), Computing with infinite networks.

    Examples
    --------
    >>> from sympy import symbols
    >>> from derivations.activations import REGISTRY
    >>> a, b, c = symbols("a b c", positive=True)
    >>> gaussian_kernel(REGISTRY["quadratic"], a, b, c), gaussian_kernel(REGISTRY["sin"], a, b, c)
    (a*b + 2*c**2, exp(-a/2 - b/2)*sinh(c))
    """
    found = closed_kernel(activation.derivative(order), S(0) + a, S(0) + b, S(0) + c)
    if found is None:
        raise AssumptionError(
            f"a closed kernel needs a function that is homogeneous of one degree on both half-lines, or a sum of z**k * exp(quadratic), "
            f"or of z**k * exp(-q*z**2) * erf(alpha*z); got {activation.name} with derivative {order}: "
            f"{activation.derivative(order)}. Use dual_series, which takes any activation."
        )
    return found


def dual(activation: Activation, *, order: int = 0) -> Expr:
    r"""Return the dual activation :math:`\hat\sigma(\rho) = \mathbb{E}[\sigma(u)\sigma(v)]` at unit variances, in ``RHO``.

    Raises
    ------
    AssumptionError
        As ``gaussian_kernel``.
    """
    return gaussian_kernel(activation, S.One, S.One, RHO, order=order)


@dataclass(frozen=True)
class Series:
    r"""Partial sum of a dual activation: :math:`\lvert \hat\sigma(\rho) - partial \rvert \le tail \lvert\rho\rvert^{J+1}`, ``tail`` None if unknown.

    ``coefficients`` are the :math:`c_j^2`; ``rounding`` bounds the error from the coefficients themselves for |rho| <= 1.
    """

    coefficients: tuple[Finding, ...]
    partial: Expr
    tail: Expr | None
    rounding: Expr


def dual_series(activation: Activation, highest: int) -> Series:
    r"""Return :math:`\sum_{j \le J} c_j^2 \rho^j` with a bound of the remainder from :math:`\sum_j c_j^2 = \mathbb{E}[\sigma^2]`.

    >>> from sympy import Rational
    >>> from derivations.activations import REGISTRY
    >>> series = dual_series(REGISTRY["tanh"], 5)
    >>> series.partial.subs(RHO, Rational(1, 2)).evalf(6), bool(series.tail < Rational(1, 200))
    (0.186316, True)
    """
    from derivations.hermite import hermite_coefficients, remainder, second_moment

    found = hermite_coefficients(activation, highest)
    if any(c.value is None for c in found):
        raise ValueError(
            f"{activation.name} has no Hermite series: {next(c.reason for c in found if c.value is None)}"
        )
    partial = Add(*[c.value**2 * RHO**j for j, c in enumerate(found)])
    rounding = Add(*[c.radius * (2 * abs(c.value) + c.radius) for c in found if c.radius is not None])
    return Series(found, partial, remainder(found, second_moment(activation)), rounding)


@dataclass(frozen=True)
class KernelLayer:
    r"""Kernels after one hidden layer, for a pair of inputs.

    Parameters
    ----------
    variances : tuple of Expr
        :math:`S(x, x)` and :math:`S(x', x')`.
    nngp : Expr
        :math:`S(x, x')`, the covariance of the pre-activations of the next layer.
    ntk : Expr
        :math:`T(x, x')`, the tangent kernel up to and including the next layer.
    """

    variances: tuple[Expr, Expr]
    nngp: Expr
    ntk: Expr


def two_layer_kernels(
    activation: Activation, a: Expr, b: Expr, c: Expr, *, input_bias: bool = False, output_bias: bool = False
) -> tuple[Expr, Expr]:
    r"""Return the NNGP and the NTK of :math:`m^{-1/2} \sum_k a_k \sigma(w_k \cdot x + b_k) + c_0`, all weights N(0, 1), all trained.

    .. math::
        K = \mathbb{E}[\sigma\sigma] + \beta, \qquad
        \Theta = \mathbb{E}[\sigma\sigma] + \tilde c\, \mathbb{E}[\sigma'\sigma'] + \beta,

    a, b and c are the inner products x.x, x'.x', x.x'; an input bias adds 1 to each, which gives :math:`\tilde c`, and beta is
    1 with an output bias and 0 without.

    Raises
    ------
    AssumptionError, ValueError
        As ``gaussian_kernel``.

    Examples
    --------
    >>> from derivations.activations import REGISTRY
    >>> two_layer_kernels(REGISTRY["linear"], S.One, S.One, RHO)
    (rho, 2*rho)
    """
    more = Integer(input_bias)
    a, b, c = a + more, b + more, c + more
    value = gaussian_kernel(activation, a, b, c)
    slope = gaussian_kernel(activation, a, b, c, order=1)
    last = Integer(output_bias)
    return value + last, value + c * slope + last


def depth_recursion(
    activation: Activation,
    depth: int,
    a: Expr,
    b: Expr,
    c: Expr,
    *,
    weight_variance: Expr = S.One,
    bias_variance: Expr = S.Zero,
) -> tuple[KernelLayer, ...]:
    r"""Return the kernels after 1, ..., ``depth`` hidden layers of a wide network in NTK parametrisation.

    .. math::
        S^{l+1} = \sigma_w^2\, \mathbb{E}_{S^l}[\sigma\sigma] + \sigma_b^2, \qquad
        T^{l+1} = S^{l+1} + \sigma_w^2\, T^l\, \mathbb{E}_{S^l}[\sigma'\sigma'], \qquad T^0 = S^0 ,

    with :math:`S^0 = (a, b, c)`, the covariance of the first pre-activations.  The exact expression grows by a factor of about
    four a layer; given as SymPy floats, the kernels stay numbers.

    Raises
    ------
    ValueError
        If ``depth`` is below 1.
    AssumptionError
        As ``gaussian_kernel``.

    Examples
    --------
    >>> from sympy import Rational
    >>> from derivations.activations import REGISTRY
    >>> last = depth_recursion(REGISTRY["relu"], 2, S.One, S.One, Rational(3, 10), weight_variance=Integer(2))[-1]
    >>> last.nngp.evalf(10), last.ntk.evalf(10)
    (0.5975484852, 1.034601300)
    """
    if depth < 1:
        raise ValueError(f"the recursion needs at least one hidden layer, got depth = {depth}")
    out: list[KernelLayer] = []
    a, b, c = S(0) + a, S(0) + b, S(0) + c
    digits = max((u._prec for part in (a, b, c) for u in part.atoms(Float)), default=0) * 3 // 10

    def kept(value: Expr) -> Expr:
        return value.evalf(digits) if value.has(Float) else value

    ntk = c
    for _ in range(depth):
        values = [gaussian_kernel(activation, *triple) for triple in ((a, a, a), (b, b, b), (a, b, c))]
        slope = gaussian_kernel(activation, a, b, c, order=1)
        a, b, c = (kept(weight_variance * value + bias_variance) for value in values)
        ntk = kept(c + weight_variance * ntk * slope)
        out.append(KernelLayer((a, b), c, ntk))
    return tuple(out)
