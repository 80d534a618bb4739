r"""The embedding principle: critical points of a network are critical points of every wider and deeper one, and what becomes of them.

Zhang, Zhang, Luo and Xu embed critical points by splitting neurons, adding null neurons and combining both; the inertia of the Hessian
does not fall, and its exact change decides whether a minimum becomes a strict saddle.  The maps are derived for symbolic sizes, for
the activation of the instance; what they do is measured at critical points that are found on the instance's samples.

>>> [one.label for one in THEOREM.claims][:4], THEOREM.instance({"fractions": "1/2, 1/3"}).findings()["shares"].status.name
(['C1', 'C1.1', 'C2', 'C3'], 'REFUTED')
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sympy import Expr

from derivations import embedding_corollaries as corollaries
from derivations import setting_readers as read
from derivations.activations import Activation, Z
from derivations.claim import Relation, Status
from derivations.embeddings import embeddings
from derivations.exact_lp import exact_sign
from derivations.problem import Problem
from derivations.statement import Statement
from derivations.theorem import Assumption, Finding, Instance, Published, Setting, Theorem, finding_of

__all__ = ["DATA", "THEOREM", "Samples", "network"]

_GRID = [f"{k}/2" for k in range(-10, 11)]
_CURVE = (
    "-1.999945 -1.999753 -1.998892 -1.995047 -1.978 -1.905054 -1.63478 -0.998376 -0.35653 -0.047116 0.225096 0.679709 1.038724 1.394399 "
    "1.721446 1.900082 1.968068 1.990202 1.997032 1.999105 1.99973"
)

#: Samples by name, inputs and target, each with whether the network has an input bias: the curve and the exact examples of the sheet.
DATA = {
    "exact line": ("0 : 0; 1 : 9/2; 2 : -15/4", False),
    "exact plane": ("1, 0 : 1; 0, 1 : 1; 1, 1 : 0; 1, -1 : 0", False),
    "curve": ("", True),
}
#: Most samples and inputs.
MOST, WIDEST = 200, 4


@dataclass(frozen=True)
class Samples:
    """Exact samples: ``x`` (n, d), ``y`` (n,)."""

    x: tuple[tuple[Expr, ...], ...]
    y: tuple[Expr, ...]


def network(given: Instance, *, output_bias: bool = False) -> Problem:
    """Return the two-layer network of an instance with the mean of half the squared error."""
    return Problem.two_layer(
        given["activation"],
        "square",
        input_bias=given["bias"] == "yes",
        output_bias=output_bias,
        weight_decay=given["decay"],
    )


# -- settings ----------------------------------------------------------------------------------------------------------


def _samples(text: str) -> Samples:
    if text in DATA:
        text = DATA[text][0] or ";".join(f"{x} : {y}" for x, y in zip(_GRID, _CURVE.split(), strict=True))
    elif ":" not in text:
        raise ValueError(f"neither one of {', '.join(DATA)} nor samples x1, x2 : y")
    one, x, y = read.exact(), [], []
    for row in (part for part in text.split(";") if part.strip()):
        inputs, mark, target = row.partition(":")
        if not mark:
            raise ValueError(f"'{row.strip()}' has no target; a sample is x1, x2 : y")
        x.append(tuple(one(u.strip()) for u in inputs.split(",")))
        y.append(one(target.strip()))
    if not 1 <= len(x) <= MOST or len({len(row) for row in x}) != 1 or len(x[0]) > WIDEST:
        raise ValueError(f"1 to {MOST} samples with the same number of inputs, at most {WIDEST}, are needed")
    return Samples(tuple(x), tuple(y))


def _fractions(text: str) -> tuple[Expr, ...]:
    found = tuple(read.exact()(part.strip()) for part in text.split(","))
    if not 2 <= len(found) <= 4:
        raise ValueError(f"{len(found)} shares; a neuron is split into 2 to 4 copies")
    return found


def _decay(text: str) -> Expr:
    value = read.exact()(text)
    if exact_sign(value) < 0:
        raise ValueError("negative")
    return value


# -- assumptions -------------------------------------------------------------------------------------------------------


def _shares(given: Instance) -> Finding:
    total = sum(given["fractions"])
    return finding_of(total == 1, f"the shares sum to {total}")


def _no_decay(given: Instance) -> Finding:
    holds = given["decay"] == 0
    return finding_of(
        holds,
        f"weight decay {given['decay']}"
        + ("" if holds else ": a split of a critical point need not be critical"),
    )


def _smooth(given: Instance) -> Finding:
    sigma: Activation = given["activation"]
    if sigma.is_smooth:
        return finding_of(True, f"{sigma.name} is smooth")
    breaks = sigma.breaks.value
    if breaks:
        return finding_of(
            False, f"a derivative of {sigma.name} jumps at z = {', '.join(str(u.point) for u in breaks)}"
        )
    return finding_of(None, f"{sigma.name} is not shown to be smooth")


def _analytic(given: Instance) -> Finding:
    sigma: Activation = given["activation"]
    if sigma.expr.is_polynomial(Z):
        return finding_of(False, f"{sigma.name} is a polynomial")
    analytic = sigma.analytic
    if analytic.status is Status.PROVED:
        return finding_of(True, f"{sigma.name} is analytic and no polynomial")
    return Finding(analytic.status, f"{sigma.name} is not shown to be analytic")


ASSUMPTIONS = (
    Assumption("shares", r"The shares of the copies sum to 1.", _shares),
    Assumption("no weight decay", "The risk has no weight decay.", _no_decay),
    Assumption("smooth", r"$\sigma$ is smooth, so that there are Hessians.", _smooth),
    Assumption("analytic", r"$\sigma$ is analytic and no polynomial.", _analytic),
)

# -- claims ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _derived(activation: Activation, bias: bool) -> Mapping[str, Statement]:
    """Return the derived statements by name, those of three layers after the mark ``deep:``."""
    plain, biased = (
        Problem.two_layer(activation, "square", input_bias=bias, output_bias=output)
        for output in (False, True)
    )
    found = {s.name: s for s in embeddings(plain)}
    found |= {f"output bias: {s.name}": s for s in embeddings(biased) if s.name == "null embedding"}
    deep = Problem.deep(3, activation, "square", input_bias=True, output_bias=True)
    return found | {f"deep: {s.name}": s for s in embeddings(deep)}


def _statements(*names: str) -> Callable[[Instance], Finding]:
    """Return a derivation that consists of statements; every one whose name, or its beginning with ``layer``, is named has to be there."""

    def derive(given: Instance) -> Finding:
        found = [
            s
            for name, s in _derived(given["activation"], given["bias"] == "yes").items()
            if any(name == u or name.startswith(f"{u}, layer") for u in names)
        ]
        open_ones = [s.name for s in found if s.status is not Status.PROVED]
        steps = tuple(step for s in found for step in (s.statement, *s.steps))
        if not found or open_ones:
            return Finding(Status.UNDECIDED, f"not shown: {', '.join(open_ones or names)}", steps)
        zeros = sum(len(s.residuals) for s in found)
        reason = f"{', '.join(dict.fromkeys(s.name for s in found))}: {zeros} identities for symbolic sizes reduce to 0"
        return Finding(Status.PROVED, reason, steps, residual="0")

    return derive


def _count(given: Instance) -> Finding:
    width = given["width"]
    return corollaries.subspaces(width, width + len(given["fractions"]) - 1)


_H, _F, _S, _L, _D = (
    "zhang2022hierarchical",
    "zhang2021embedding",
    "zhang2024saddle",
    "zhang2025lifting",
    "bai2022depth",
)
_MAPS = ("shares", "no weight decay")
_HESSIANS = (*_MAPS, "smooth")

CLAIMS = (
    Published(
        "C1",
        "Splitting a neuron, adding a null neuron, and compositions keep every output and map critical points to critical points.",
        f"{_H}, Thm 4.1",
        needs=_MAPS,
        derive=_statements(
            "splitting embedding",
            "null embedding",
            "output bias: null embedding",
            "duality of the embedding",
            "composition of embeddings",
        ),
    ),
    Published(
        "C1.1",
        r"So does every compatible embedding: $W'_{ij} = \alpha_{ij} W_{I(i) I(j)}$ with the forward, backward and bias conditions, in two and three layers.",
        f"{_H}, Theorem 5.1",
        needs=_MAPS,
        derive=_statements(
            "compatible embedding",
            "deep: compatible embedding",
            "deep: splitting embedding",
            "deep: null embedding",
        ),
    ),
    Published(
        "C2",
        "Embedding principle: critical functions of a network are critical functions of every wider network.",
        f"{_H}, Theorem 4.3",
        needs=("no weight decay",),
        derive=_statements("composition of embeddings", "deep: composition of embeddings"),
    ),
    Published(
        "C3",
        r"In a network with $K$ neurons more, a critical point becomes an affine subspace of critical points of dimension $K$, where no neuron that is split has output weights $0$.",
        f"{_H}, Theorem 6.1",
        needs=_MAPS,
        derive=_statements("composition of embeddings"),
    ),
    Published(
        "C4",
        r"The compatible family has the dimension $K + \sum_l K_l K_{l-1}$, which is $K$ for two layers, and the zero eigenvalues grow by that much at least.",
        _H,
        Relation.AT_LEAST,
        _HESSIANS,
    ),
    Published(
        "C5",
        r"$H_{\mathrm{wide}} A = B H$ and $A^\top H_{\mathrm{wide}} A = H$: no count of the inertia decreases along a critical embedding.",
        f"{_H}, Theorem 6.2",
        Relation.AT_LEAST,
        _HESSIANS,
        _statements(
            "inertia along a splitting",
            "congruence of the wide Hessian",
            "deep: congruence of the wide Hessian",
        ),
    ),
    Published(
        "C6",
        r"If $H \succeq 0$ and $H^{(2)} \ne 0$, three copies of the network are a strict saddle; $H^{(2)} = 0$ is necessary for a truly bad critical point.",
        f"{_H}, Theorem 6.3",
        needs=_HESSIANS,
        derive=_statements(
            "three copies of the network",
            "truly bad critical points",
            "deep: three copies of the network",
            "deep: truly bad critical points",
        ),
    ),
    Published(
        "C7",
        r"Splitting neuron $k$ into $K$ copies: $H_{\mathrm{wide}}$ is congruent to $H \oplus B$, with the inertia of $B$ from $\rho = \operatorname{rank} V_k$, the inner Hessian "
        r"$U_k$ on $\ker V_k^\top$ and the signs of the shares.",
        _H,
        needs=_HESSIANS,
        derive=_statements("inertia of a split neuron", "deep: inertia of a split neuron"),
    ),
    Published(
        "C8",
        r"One output, $a_k \ne 0$, $K = 2$: $0 < \alpha < 1$ adds the inertia of $U_k$, $\alpha \notin [0, 1]$ that of $-U_k$, $\alpha \in \{0, 1\}$ only zeros; always one zero more. Equal "
        r"shares add the eigenvalues of $U_k/K$, each $K - 1$ times.",
        _H,
        needs=_HESSIANS,
        derive=lambda given: corollaries.two_copies(divided=given["rule"] == "divided"),
    ),
    Published(
        "C9",
        r"A null neuron beside an output bias adds the block $\begin{pmatrix} 0 & v^\top \\ v & 0 \end{pmatrix}$, $v = \sigma'(\alpha)\,\mathbb E[e\,x]$: one positive and one negative "
        r"eigenvalue where $v \ne 0$.",
        _H,
        needs=("no weight decay", "smooth"),
        derive=_statements("output bias: null embedding"),
    ),
    Published(
        "C10",
        r"Wide critical points with the output of an irreducible critical point of width $r$ are those with copies of its neurons, $a$ summed over each group, and silent "
        r"neurons with $\varphi(w) = 0$.",
        f"{_S}, Theorem 5.1",
        needs=("no weight decay", "smooth", "analytic"),
    ),
    Published(
        "C11",
        r"$(\theta; a' = 0, w')$ is critical if and only if $\varphi(w') = \mathbb E[e\,\sigma(w' \cdot x)] = 0$, which depends on the samples.",
        f"{_L}, Prop. 4.2.1",
        needs=("no weight decay",),
    ),
    Published(
        "C12",
        r"From the end of a plateau the risk changes by $\tfrac{s^3}{2}\,\mathbb E[e\,\sigma''(\zeta \cdot x)^2] + O(s^4)$ along a curve: a saddle, also where the Hessian is positive "
        "semidefinite.",
        _H,
        needs=("no weight decay", "smooth"),
        derive=lambda given: corollaries.plateau_end(),
    ),
    Published(
        "C13",
        r"One output, convex $\ell$, $\varphi \ge 0$: embedded points with all $a_j \ge 0$ minimise $R$ over $\{a \ge 0\}$; with $U_k \ne 0$ those with some $a_j < 0$ are strict saddles.",
        _H,
        needs=("no weight decay",),
        derive=lambda given: corollaries.certificate(),
    ),
    Published(
        "C14",
        r"An irreducible critical point of width $r$ gives $r!\,S(m, r)$ affine critical subspaces of dimension $m - r$ in width $m$.",
        "simsek2021",
        needs=("no weight decay",),
        derive=_count,
    ),
    Published(
        "C15",
        "Inserting a layer that is affine on the samples lifts every critical point to a manifold of critical points of the deeper network.",
        _D,
        needs=("no weight decay",),
        derive=_statements("critical lifting", "deep: critical lifting"),
    ),
)


def _setting_list() -> Sequence[Setting]:
    return (
        Setting("activation", "tanh", "an activation or a formula in z", read.activation),
        Setting("data", "curve", f"{', '.join(DATA)}, or samples such as '0 : 1; 1 : -1/2'", _samples),
        Setting("bias", "yes", "yes or no, an input bias", read.choice("yes", "no")),
        Setting(
            "width", "1", "an integer from 1 to 3, the width r of the narrow network", read.integer(1, 3)
        ),
        Setting("fractions", "1/2, 1/2", "2 to 4 numbers, the shares of the copies", _fractions),
        Setting("decay", "0", "a number >= 0, the weight decay", _decay),
        Setting("starts", "60", "starts of the search, from 10 to 2000", read.integer(10, 2000)),
        Setting(
            "rule",
            "divided",
            "divided, or undivided: C8 with the eigenvalues of U instead of U/K",
            read.choice("divided", "undivided"),
        ),
        Setting(
            "sweep",
            "short",
            "short, or full: 201 shares and every neuron of every point",
            read.choice("short", "full"),
        ),
    )


THEOREM = Theorem(
    "embedding-principle",
    "The embedding principle: critical points of narrow networks in wide and deep ones",
    (_H, _F, _S, _L, _D, "simsek2021"),
    r"Two layers: $f(x) = \sum_k a_k \sigma(w_k \cdot x)$ with $1$ appended to $x$ where there is an input bias, $R = \tfrac{1}{2n} \sum_i (f(x_i) - y_i)^2$, $e = f - y$ and "
    r"$\mathbb E$ the mean over samples; $V_k = \mathbb E[\sigma'(w_k \cdot x)\,x\,e^\top]$, $U_k = \mathbb E[(a_k \cdot e)\,\sigma''(w_k \cdot x)\,x x^\top]$. "
    "The maps are derived for symbolic sizes in two and three layers.",
    tuple(_setting_list()),
    ASSUMPTIONS,
    CLAIMS,
)
