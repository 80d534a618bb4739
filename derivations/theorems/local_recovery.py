r"""Local recovery: the global minima of a two-layer student of a two-layer teacher, and which of them gradient flow near them recovers.

Zhang, Zhang and Luo write the parameters with the output of the teacher as a union of affine branches, compute the rank of the Hessian on each,
and derive from it how many samples separate a branch from other minima, how fast the flow converges, and which points are stable for
recovery.  Counts, constants of the decay and the criterion for four samples are derived here.

The statements can be taken as they are printed: ``printed = E1`` has the sign of the flow of the output weights that is printed in Section 2,
``E2`` "no point is stable" up to and with n = r + (r - l)d (Theorem 5.4), ``E3`` the size m + (m + m0 - r)d (Theorem 5.3).

>>> given = THEOREM.instance({"activation": "tanh"})
>>> given.findings()["generic"].reason
'sigma(-z) = -sigma(z): the even part is 0.'
"""

from __future__ import annotations

import re

from sympy import Matrix

from derivations import recovery_case as case
from derivations import recovery_proofs as proofs
from derivations import recovery_sample_proofs as sampled
from derivations import setting_readers as read
from derivations.activations import Z
from derivations.claim import Relation, Status
from derivations.decide import identically_zero
from derivations.errors import AssumptionError
from derivations.generic_activation import generic_activation
from derivations.theorem import Assumption, Finding, Instance, Published, Setting, Theorem, finding_of

__all__ = ["THEOREM"]


# -- assumptions -----------------------------------------------------------------------------------------------------


def _analytic(given: Instance) -> Finding:
    activation = given["activation"]
    if activation.is_smooth is False or activation.analytic.status is Status.REFUTED:
        return finding_of(False, f"{activation.name} or a derivative of it has a kink or a jump")
    holds = True if activation.analytic.value is True else None
    return finding_of(holds, f"{activation.name} is {'' if holds else 'not shown to be '}analytic")


def _generic(given: Instance) -> Finding:
    found = generic_activation(given["activation"])
    if found.known:
        at_zero = given["activation"].value_at_zero
        return Finding(
            found.status,
            f"analytic, sigma(0) = {at_zero}, and neither the even nor the odd part is a polynomial",
        )
    return Finding(found.status, _in_words(found.reason))


def _in_words(text: str) -> str:
    """Return a LaTeX sentence as plain text."""
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", text)
    text = re.sub(r"\\(left|right|,|;|!)", "", text.replace(r"\neq", "!="))
    return re.sub(r"[${}\\]", "", text)


def _minimal(given: Instance) -> Finding:
    try:
        minima = case.minima_of(given)
    except AssumptionError as error:
        # Without independent neurons the teacher is not looked at.
        mine = str(error).startswith(("neurons ", "output weight ", "the input weights "))
        return Finding(Status.REFUTED if mine else Status.UNDECIDED, str(error))
    return finding_of(True, f"m0 = {minima.shape.teacher}: distinct input weights, no output weight 0")


def _wider(given: Instance) -> Finding:
    m, m0 = given["width"], len(given["teacher"].a)
    return finding_of(m > m0, f"m = {m}, m0 = {m0}")


def _listed(given: Instance) -> tuple[case.Point, ...]:
    return given["inputs"].rows or case.points_of(given, case.counts_of(given)[-1])


def _distinct(given: Instance) -> Finding:
    try:
        rows = _listed(given)
    except AssumptionError as error:
        return Finding(Status.UNDECIDED, str(error))
    twice = next((i for i in range(len(rows)) if rows[i] in rows[:i]), None)
    if twice is None:
        return finding_of(True, f"{len(rows)} inputs")
    return finding_of(
        False, f"input {twice + 1} is input {rows.index(rows[twice]) + 1}: {', '.join(map(str, rows[twice]))}"
    )


def _separating(given: Instance) -> Finding:
    try:
        minima, open_ones = case.minima_of(given), []
        for n in case.counts_of(given):
            points = case.points_of(given, n)
            for b, _ in minima.kinds:
                holds = case.is_separating(minima, b, points)
                words = f"n = {n}, r = {b.distinct}"
                if holds is False:
                    span = Matrix([list(p) for p in points]).rank()
                    return finding_of(
                        False, f"{words}: the inputs span {span} of {len(points[0])} dimensions"
                    )
                if holds is None:
                    open_ones.append(words)
    except AssumptionError as error:
        return Finding(Status.UNDECIDED, str(error))
    if open_ones:
        return Finding(Status.UNDECIDED, f"full rank is not shown for {'; '.join(open_ones)}")
    return Finding(
        Status.CERTIFIED,
        f"full rank on every kind of branch for n = {', '.join(map(str, case.counts_of(given)))}",
    )


def _exponential(given: Instance) -> Finding:
    activation = given["activation"]
    rate = activation.derivative(1).subs(Z, 0), activation.derivative(0).subs(Z, 0)
    decision = identically_zero(activation.derivative(1) * rate[1] - activation.derivative(0) * rate[0], Z)
    if rate[1] == 0:
        return finding_of(False, "sigma(0) = 0")
    status = {Status.PROVED: True, Status.REFUTED: False}.get(decision.status)
    return finding_of(status, f"sigma' - k sigma is {'' if status else 'not '}0 for k = {rate[0] / rate[1]}")


ASSUMPTIONS = (
    Assumption("analytic", r"$\sigma$ is real analytic.", _analytic),
    Assumption(
        "generic",
        r"(A1) $\sigma$ is analytic, $\sigma(0) \neq 0$, and infinitely many odd and infinitely many even Taylor coefficients at $0$ are not $0$.",
        _generic,
    ),
    Assumption(
        "minimal teacher", r"The $\bar w_k$ are distinct and not $0$, and no $\bar a_k$ is $0$.", _minimal
    ),
    Assumption("wider student", r"$m > m_0$.", _wider),
    Assumption("distinct inputs", r"$x_1, \dots, x_n$ are distinct.", _distinct),
    Assumption(
        "separating inputs",
        r"(S1) $[\sigma(w_j \cdot x_i) \mid \sigma'(w_j \cdot x_i)\, x_i^\top]$ has full rank at almost every point of each branch, $w_1, \dots, w_r$ its distinct weights.",
        _separating,
    ),
    Assumption("exponential", r"$\sigma' = k\sigma$ with a number $k$.", _exponential),
)

# -- claims ----------------------------------------------------------------------------------------------------------

_F = "zhang2024local"
_MINIMA = ("generic", "minimal teacher")
_SAMPLES = (*_MINIMA, "distinct inputs", "separating inputs")

CLAIMS = (
    Published(
        "C1",
        r"$\sigma$ is generic (A1) if and only if $\sigma(w_1 \cdot x), \dots, \sigma(w_r \cdot x)$ are linearly independent for all $d$, $r$ and distinct "
        r"$w_1, \dots, w_r$.",
        f"{_F}, Corollary 3.1",
        needs=("analytic",),
        derive=lambda given: proofs.independence(given["activation"]),
    ),
    Published(
        "C2",
        r"The $r(d+1)$ functions $\sigma(w_j \cdot x)$, $\sigma'(w_j \cdot x)\, x_l$ are independent; almost every $(x_1, \dots, x_n)$ is separating.",
        f"{_F}, Corollary 3.2 and Lemma 3.4",
        needs=("generic",),
        derive=proofs.tangents,
    ),
    Published(
        "C3",
        r"$Q^* = \bigcup Q^r_P$; the closures are affine with $\dim Q^r_P = (m - r) + (r - m_0)\, d$.",
        f"{_F}, Proposition 3.2",
        needs=_MINIMA,
        derive=proofs.branches_add_up,
    ),
    Published(
        "C4",
        r"There are $r!\, S(m, r)/(r - m_0)!$ branches with $r$ distinct weights; $Q^*$ is connected if and only if $m > m_0$.",
        "simsek2021",
        needs=_MINIMA,
        derive=proofs.counted,
    ),
    Published(
        "C5",
        r"The closures of two branches meet in an affine set, on which weights of extra blocks collide: $r$ is less than the larger of the two.",
        f"{_F}, Lemma 3.5",
        needs=_MINIMA,
        derive=proofs.intersections,
    ),
    Published(
        "C6",
        r"$\nabla^2 R = 2 J^\top J$ on $Q^*$, of rank $\min(n, r + (r - l)\, d)$ at almost every point of $Q^r_P$.",
        f"{_F}, Lemma 4.2",
        needs=_SAMPLES,
        derive=proofs.hessian,
    ),
    Published(
        "C7",
        r"For $n \le (d+1)\, m_0$ the set $R = 0$ is a manifold of codimension $n$ near $Q^*$, $R$ is Morse-Bott, and imperfect minima surround every point of $Q^*$.",
        f"{_F}, Lemma 4.2",
        needs=(*_SAMPLES, "wider student"),
        derive=sampled.manifold_of_small_samples,
    ),
    Published(
        "C8",
        r"$n \ge N(r)$ samples, after an arbitrarily small perturbation of the inputs, separate $Q^r_P$ almost everywhere from other points with $R = 0$.",
        f"{_F}, Lemma 4.2",
        needs=_SAMPLES,
        derive=sampled.separation,
    ),
    Published(
        "C8.1",
        r"$N(r) = r + (m + m_0 - r)\, d$ is the codimension; it does not increase with $r$, from $N(m_0) = m_0 + m d$ to $N(m) = m + m_0 d$.",
        f"{_F}, Lemma 4.2",
        needs=("generic",),
        derive=sampled.thresholds,
    ),
    Published(
        "C9",
        r"For $n \ge N(r)$, $R$ is Morse-Bott almost everywhere on $Q^r_P$ if $r \ge (m + m_0)/2$ and $l = 2r - m - m_0$, and nowhere otherwise.",
        f"{_F}, Lemma 4.2",
        needs=_MINIMA,
        derive=sampled.morse_bott,
    ),
    Published(
        "C10",
        r"For $n > (d+1)\, m$ and almost all inputs $R = 0$ only on $Q^*$.",
        f"{_F}, Lemma 4.3",
        needs=(*_MINIMA, "distinct inputs"),
    ),
    Published(
        "C10.1",
        r"For $n > (d+1)\, m_0$ and almost all inputs the teacher is the only solution of $R = 0$ of width $m_0$, up to the order of the neurons.",
        f"{_F}, Proposition 4.1",
        needs=(*_MINIMA, "distinct inputs"),
    ),
    Published(
        "C11",
        r"The flow $\dot a_k = -2 \sum_i r_i\, \sigma(w_k \cdot x_i)$, $\dot w_k = -2 a_k \sum_i r_i\, \sigma'(w_k \cdot x_i)\, x_i$ from any start near $R = 0$ converges to a point with $R = 0$.",
        f"{_F}, Theorem 5.1",
        needs=("analytic",),
    ),
    Published(
        "C11.1",
        r"Along this flow $\dot R = -\lVert\nabla R\rVert^2$.",
        f"{_F}, Theorem 5.1",
        needs=("analytic",),
        derive=sampled.energy,
    ),
    Published(
        "C11.2",
        r"Every point with $R = 0$ is the limit of a flow that is not constant.",
        f"{_F}, Theorem 5.2",
        needs=("analytic",),
        derive=sampled.flows_end_everywhere,
    ),
    Published(
        "C12",
        r"Near a Morse-Bott branch with $n \ge N(r)$: $\log R \sim -2\lambda_{\min} t$, $\lambda_{\min}$ the smallest positive eigenvalue of $\nabla^2 R$ at the limit.",
        f"{_F}, Theorem 5.3",
        needs=_SAMPLES,
    ),
    Published(
        "C12.1",
        r"There the displacement of the flow along the branch is of second order in the distance of the start from the branch.",
        f"{_F}, Corollary 5.1",
        Relation.AT_LEAST,
        _SAMPLES,
    ),
    Published(
        "C13",
        r"Near a branch that is not Morse-Bott, with $n \ge N(r)$: $\lVert\pi_s\rVert = O(\lVert\pi_c\rVert^2)$ along the flow, with the parts $\pi_s$ in the range and $\pi_c$ in the kernel of "
        r"$\nabla^2 R$ across the branch, so that $R = O(\lVert\theta - \theta^*\rVert^4)$.",
        f"{_F}, Theorem 5.3",
        Relation.AT_LEAST,
        _SAMPLES,
    ),
    Published(
        "C14",
        r"For $d = 1$ and two copies of one neuron with fractions $\gamma_1 + \gamma_2 = 1$: with $s = w_1 - w_2$, $c = \tfrac14 \bar a^2 \gamma_1^2\gamma_2^2 D$, $D$ the squared distance of "
        r"$\sigma'' x^2$ from $\sigma, \sigma' x$ on the samples, $s^2 t \to (\gamma_1^2 + \gamma_2^2)/(8c)$ and $t^2 R \to (\gamma_1^2 + \gamma_2^2)^2/(64c)$.",
        _F,
        needs=("analytic",),
        derive=sampled.slow_decay,
    ),
    Published(
        "C15",
        r"Almost every point of $Q^r_P$ is stable for recovery for $n \ge N(r)$; no point is for $n < \min(N(r), r + (r - l)\, d)$, nor for $n \le (d+1)\, m_0$ where $m > m_0$.",
        f"{_F}, Theorem 5.4",
        needs=_SAMPLES,
        derive=sampled.recovered,
    ),
    Published(
        "C15.1",
        r"For $n > (d+1)\, m$ every point of $Q^*$ is stable for recovery, those in several branches included.",
        f"{_F}, Theorem 5.4",
        needs=(*_MINIMA, "distinct inputs"),
    ),
    Published(
        "C16",
        r"For $m = 2$, $m_0 = 1$, $d = 2$ and $n = 4$ inputs separate the branch of two copies if and only if they are not in convex position.",
        _F,
        needs=("exponential",),
        derive=sampled.convex_position,
    ),
)

THEOREM = Theorem(
    "local-recovery",
    "Local recovery of a teacher near the global minima of two-layer networks",
    (_F, "simsek2021"),
    r"A student $g(\theta, x) = \sum_{k=1}^m a_k\, \sigma(w_k \cdot x)$ without biases, $x \in \mathbb{R}^d$, and a teacher $f^*(x) = \sum_{k=1}^{m_0} \bar a_k\, \sigma(\bar w_k \cdot x)$; "
    r"$R(\theta) = \sum_{i=1}^n r_i^2$, $r_i = g(\theta, x_i) - f^*(x_i)$, without a factor; $Q^*$ the parameters with $g(\theta, \cdot) = f^*$, other points with $R = 0$ are imperfect minima. "
    r"$Q^r_P$: $r$ blocks of neurons with equal weights, one for each teacher neuron, the output weights of the others add up to $0$; $l$ of the latter have one neuron.",
    (
        Setting(
            "activation",
            "exp",
            "an activation or a formula in z; generic ones meet the assumptions",
            read.activation,
        ),
        Setting(
            "teacher", "3/2 : 2/5, -3/10", "neurons 'a : w1, w2; ...' with exact numbers", case.read_teacher
        ),
        Setting("width", "2", "the width m of the student, from 1 to 5", read.integer(1, 5)),
        Setting(
            "inputs", "drawn", "drawn, drawn 7 (another draw), or points 'x1, x2; ...'", case.read_inputs
        ),
        Setting(
            "samples", "thresholds", "thresholds, all, or numbers of samples such as 3, 5", case.read_samples
        ),
        Setting(
            "starts", "20", "flows for each branch and number of samples, from 2 to 500", read.integer(2, 500)
        ),
        Setting(
            "copied",
            "1 : 1/2",
            "the teacher of the decay C14, 'a : w; ...' with one input",
            case.read_teacher,
        ),
        Setting("line", "-1; 1/2; 2", "at least three inputs of the decay C14, 'x; ...'", case.read_line),
        Setting("four", "inside", "inside, convex, or four points of the plane for C16", case.read_four),
        Setting(
            "printed",
            "corrected",
            "corrected, or a statement as it is printed: E1, E2, E3",
            read.choice("corrected", "E1", "E2", "E3"),
        ),
        Setting(
            "sweep",
            "short",
            "short, or full: all numbers of samples, 200 starts, 64 flows near the slowest branch",
            read.choice("short", "full"),
        ),
    ),
    ASSUMPTIONS,
    CLAIMS,
    case.agree,
)
