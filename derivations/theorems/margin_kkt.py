r"""Gradient descent maximises the margin of homogeneous networks: monotone margin, rates, KKT points, and the cases known exactly.

Lyu and Li show that along gradient flow with the exponential or logistic loss the smoothed normalised margin of a network that is
homogeneous in its parameters does not fall once the data are separated, and that every limit direction is a KKT point of the margin
problem; Ji and Telgarsky that the direction converges; Lyu, Li, Wang and Arora that for leaky ReLU networks on symmetric data the flow
from small weights reaches the global optimum, a linear classifier, and that this is fragile.

>>> [one.label for one in THEOREM.claims][:5], THEOREM.instance({"widths": "3, 2"}).findings()["two-layer"].status.name
(['C1', 'C2', 'C3', 'C3.1', 'C4'], 'REFUTED')
"""

from __future__ import annotations

from typing import Any

from derivations import margin_classes as classes
from derivations import margin_proofs as proofs
from derivations import setting_readers as read
from derivations.claim import Relation, Status
from derivations.exact_lp import exact_sign
from derivations.margin_setting import ASSUMPTIONS, degree_of, leaky_slope
from derivations.theorem import (
    Finding,
    Instance,
    Published,
    Setting,
    Theorem,
)

__all__ = ["DATA", "THEOREM"]

#: Data by name: the symmetric pairs, and four points without symmetry.
DATA = {
    "symmetric": "2, 1 : 1; 1/2, 3/2 : 1; -2, -1 : -1; -1/2, -3/2 : -1",
    "separable": "2, 1 : 1; 1, -3/10 : 1; -1/2, -3/2 : -1; -6/5, 1/10 : -1",
}

# -- claims ----------------------------------------------------------------------------------------------------------


def _with_degree(function: Any) -> Any:
    """Return a derivation for the degree of an instance; None of it where there is no degree."""

    def derive(given: Instance) -> Finding:
        degree = degree_of(given)
        if degree is None or exact_sign(degree) <= 0:
            return Finding(Status.UNDECIDED, "the network has no degree of homogeneity")
        return function(given, degree)

    return derive


def _if_separable(function: Any) -> Any:
    """Return a derivation for separable data."""

    def derive(given: Instance) -> Finding:
        if given.findings()["linearly separable"].status is not Status.PROVED:
            return Finding(Status.UNDECIDED, "the data are not linearly separable")
        return function(given)

    return derive


@_if_separable
def _symmetric(given: Instance) -> Finding:
    slope = leaky_slope(given["activation"])
    if slope is None or given.findings()["symmetric data"].status is not Status.PROVED:
        return Finding(Status.UNDECIDED, "the formula is that of a leaky ReLU on symmetric data")
    return classes.symmetric_data(given["data"], slope)


_FLOW = ("homogeneous", "locally Lipschitz", "separated")
_SYMMETRIC = ("leaky ReLU", "two-layer", "symmetric data", "linearly separable")

CLAIMS = (
    Published(
        "C1",
        r"Along the flow, while $E < 1$ ($\log 2$), with $\varphi = \ell^{-1}(E)$, $w = -\ell'(\varphi)$ and $\tilde\gamma = \varphi/\rho^L$: "
        r"$\tfrac{d}{dt}\log\tilde\gamma = \tfrac{\lVert\theta'\rVert^2}{w\varphi} - \tfrac{L^2\nu}{\rho^2} \ge "
        r"\tfrac{1}{\nu}\lVert(I - \hat\theta\hat\theta^\top)\theta'\rVert^2 = L\,(\tfrac{d}{dt}\log\rho)^{-1}\lVert\tfrac{d}{dt}\hat\theta\rVert^2 "
        r"\ge 0$.",
        "lyu2020margin, Theorem 4.1",
        Relation.AT_LEAST,
        _FLOW,
        _with_degree(
            lambda given, L: proofs.monotone(L, given["loss"], 1 if given["flow"] == "descent" else -1)
        ),
    ),
    Published(
        "C2",
        r"$\tilde\gamma \le \bar\gamma \le \tilde\gamma + (\log n + \epsilon)/\rho^L$, with $\epsilon = 0$ for the exponential loss and "
        r"$(n-1)\log(1 + e^{-q_{\min}})$ for the logistic one; both margins have the same limit.",
        "lyu2020margin",
        Relation.AT_MOST,
        _FLOW,
        lambda given: proofs.sandwich(len(given["data"].y), given["loss"]),
    ),
    Published(
        "C3",
        r"$\rho = \Theta((\log t)^{1/L})$, $E = \Theta(1/(t\,(\log t)^{2 - 2/L}))$, and "
        r"$E\,t\,(\log t)^{2-2/L} \to 1/(L^2 \bar\gamma^{2/L})$.",
        "lyu2020margin, Theorem 4.3",
        needs=_FLOW,
    ),
    Published(
        "C3.1",
        r"For one sample and $f = \theta^L$ with the exponential loss: $q' = L^2 q^{2-2/L} e^{-q}$, with closed forms for $L = 1, 2$, and "
        r"$E\,t\,(\log t)^{2-2/L} \to 1/L^2$.",
        "lyu2020margin",
        needs=("homogeneous",),
        derive=_with_degree(lambda given, L: proofs.loss_rates(L)),
    ),
    Published(
        "C4",
        r"Every limit direction of $\hat\theta$ is along a KKT point of $\min \tfrac12\lVert\theta\rVert^2$, $q_i(\theta) \ge 1$: the scale-free "
        r"residuals of stationarity and slackness tend to $0$.",
        "lyu2020margin, Theorem 4.4",
        Relation.AT_MOST,
        _FLOW,
    ),
    Published(
        "C4.1",
        r"With $\tilde\theta = \theta/q_{\min}^{1/L}$ and $\lambda_i \propto -\ell'(q_i)$: $\lVert\tilde\theta - \sum_i \lambda_i h_i\rVert = "
        r"\sqrt{2(1-\beta)}\,\bar\gamma^{-1/L}$ and $\sum_i \lambda_i (q_i/q_{\min} - 1) \le n\,(1+\epsilon)/(e L \bar\gamma^{2/L} q_{\min})$, "
        r"with $\epsilon = 0$ for the exponential loss and $e^{-q_{\min}}$ for the logistic one.",
        "lyu2020margin",
        Relation.AT_MOST,
        _FLOW,
        _with_degree(lambda given, L: proofs.kkt_identity(L, given["loss"])),
    ),
    Published(
        "C5",
        r"$\hat\theta(t)$ converges, and $\theta'/\lVert\theta'\rVert - \hat\theta \to 0$.",
        "ji2020directional, Theorem 3.1",
        needs=_FLOW,
    ),
    Published(
        "C6",
        r"$L = 1$: the flow of a linear classifier converges in direction to the hard-margin classifier $w^*$.",
        "lyu2020margin",
        needs=("linearly separable",),
    ),
    Published(
        "C6.1",
        r"The hard-margin classifier: $\min \tfrac12\lVert w\rVert^2$ under $y_i\,w \cdot x_i \ge 1$ has one KKT point $w^*$, with $\gamma^* = 1/\lVert w^*\rVert$.",
        "lyu2020margin",
        needs=("linearly separable",),
        derive=_if_separable(lambda given: classes.hard_margin(given["data"])),
    ),
    Published(
        "C6.2",
        r"A deep linear network $W_L \cdots W_1 x$ has the best margin $\gamma^* L^{-L/2}$ on $\lVert\theta\rVert = 1$, attained by balanced "
        "matrices of rank one.",
        "lyu2020margin",
        needs=("linearly separable",),
        derive=_if_separable(lambda given: classes.deep_linear(given["data"], given["depth"])),
    ),
    Published(
        "C6.3",
        r"A diagonal network $(u \odot u - v \odot v) \cdot x$ has the best margin $1/\min\{\lVert\beta\rVert_1 : y_i\,\beta \cdot x_i \ge 1\}$.",
        "lyu2020margin",
        needs=("linearly separable",),
        derive=_if_separable(lambda given: classes.diagonal(given["data"])),
    ),
    Published(
        "C7",
        r"Two-layer leaky ReLU on symmetric data: $\max_{\lVert\theta\rVert = 1} q_{\min} = \tfrac{1+\alpha}{4}\gamma^*$, a linear classifier on the "
        "data.",
        "lyu2021simplicity",
        needs=_SYMMETRIC,
        derive=_symmetric,
    ),
    Published(
        "C8",
        r"From small weights: neurons align with $\mu = \tfrac1n \sum_i y_i x_i$ and grow like $e^{\lambda_0 t}$, $\lambda_0 = "
        r"\tfrac{1+\alpha}{2}\lVert\mu\rVert$; then they form two groups, one for each sign; then the direction converges to the global optimum of C7.",
        "lyu2021simplicity",
        needs=(*_SYMMETRIC, "small start"),
    ),
    Published(
        "C9",
        r"Inputs $(\cos\psi, \pm\sin\psi)$ with the label 1, ReLU, $m = 2$: from small weights in the cone $\{u \cdot x_1 > 0, u \cdot x_2 > 0\}$ the flow "
        r"converges to merged neurons with $\bar\gamma = \tfrac12\cos\psi$, less than the $\tfrac14$ it reaches from other starts.",
        "lyu2021simplicity",
        needs=("wide angle",),
    ),
    Published(
        "C9.1",
        r"Merged and split neurons are both KKT points, with $\bar\gamma = \tfrac12\cos\psi < \tfrac14$: KKT points need not be global.",
        "lyu2021simplicity",
        needs=("wide angle",),
        derive=lambda given: classes.fragile_margins(given["angle"]),
    ),
    Published(
        "C10",
        r"For a fixed pattern and signs $s_j$, with $b_j = |v_j| u_j$: the margin problem is $\min \sum_j \lVert b_j\rVert$ under $\sum_j y_i s_j D_{ij}\, "
        r"b_j \cdot x_i \ge 1$, which is convex.",
        "lyu2020margin",
        needs=("piecewise linear", "two-layer"),
        derive=lambda given: classes.convex_program(len(given["data"].x[0])),
    ),
)

THEOREM = Theorem(
    "margin-kkt",
    "Gradient descent maximises the margin of homogeneous networks",
    ("lyu2020margin", "lyu2021simplicity", "ji2020directional"),
    r"Data $(x_i, y_i)$ with $y_i = \pm 1$, a network $f(x; \theta)$ without biases, homogeneous of degree $L$; $q_i = y_i f(x_i; \theta)$, "
    r"$E = \sum_i \ell(q_i)$ with $\ell(q) = e^{-q}$ or $\log(1 + e^{-q})$, $\rho = \lVert\theta\rVert$, $\hat\theta = \theta/\rho$, $\nu = \sum_i -\ell'(q_i)\,q_i$, "
    r"$\beta = \langle\hat\theta, \theta'/\lVert\theta'\rVert\rangle$; the gradient flow $\theta' \in -\partial E$, normalised margin $\bar\gamma = q_{\min}/\rho^L$.",
    (
        Setting(
            "activation",
            "leaky_relu(1/5)",
            "an activation or a formula in z; homogeneous ones meet the assumptions",
            read.activation,
        ),
        Setting("widths", "4", "hidden widths from 1 to 200, such as 4 or 4,3", read.integers(1, 200)),
        Setting(
            "data",
            "symmetric",
            f"{', '.join(DATA)}, a CSV file with the label in its last column, or points such as '2, 1 : 1; 1, -1/2 : -1'",
            read.points(DATA),
        ),
        Setting("loss", "exponential", ", ".join(proofs.LOSSES), read.choice(*proofs.LOSSES)),
        Setting(
            "scale",
            "1/100",
            "a number > 0 and <= 1, the standard deviation of the start",
            read.exact(above=0, up_to=1),
        ),
        Setting("starts", "3", "random starts, from 1 to 50", read.integer(1, 50)),
        Setting(
            "target",
            "1001",
            "the smallest margin at which a run ends, from 10 to 1200",
            read.integer(10, 1200),
        ),
        Setting("depth", "3", "layers of the deep linear network, from 2 to 6", read.integer(2, 6)),
        Setting("angle", "75", "the angle psi in degrees, > 45 and <= 89", read.exact(above=45, up_to=89)),
        Setting(
            "flow",
            "descent",
            "descent, or ascent: the theorem with the sign of the flow turned",
            read.choice("descent", "ascent"),
        ),
        Setting(
            "from",
            "separated",
            "separated, or start: without the condition on E",
            read.choice("separated", "start"),
        ),
        Setting(
            "sweep",
            "short",
            "short, or full: three widths, three scales, two slopes",
            read.choice("short", "full"),
        ),
    ),
    ASSUMPTIONS,
    CLAIMS,
)
