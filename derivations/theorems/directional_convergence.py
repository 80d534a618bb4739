r"""Two-homogeneous networks align with KKT points of the neural correlation near small weights, and near certain saddles.

Kumar and Haupt show that the gradient flow from weights of size delta stays near the origin for a time of order ln(1/delta), in which
the direction of the weights - for networks that are sums, that of each neuron - comes close to a nonnegative KKT point of the neural
correlation; for the square loss the same holds for the small weights near certain saddles.  What follows is a walk from saddle to
saddle, which is exactly solvable for diagonal networks.

>>> [one.label for one in THEOREM.claims]
['C1', 'C1.1', 'C2', 'C3', 'C3.1', 'C4', 'C4.1', 'C5', 'C5.1', 'C6', 'C7', 'C8', 'C8.1', 'C9', 'C9.1', 'C10']
>>> THEOREM.instance({"activation": "tanh"}).findings()["two-homogeneous"].status.name
'REFUTED'
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Integer, Rational

from derivations import correlation_proofs as proofs
from derivations import correlation_saddles as saddles
from derivations import setting_readers as read
from derivations.claim import Relation, Status
from derivations.exact_lp import exact_sign
from derivations.problem import Problem
from derivations.theorem import Assumption, Finding, Instance, Published, Setting, Theorem, finding_of

__all__ = ["DATA", "THEOREM", "loss_factor", "network_of", "resting_neuron", "sign_of"]

#: Data by name: five points in the plane, three points one of which has a kink at a KKT direction, four points in space.
DATA = {
    "five": "1, 1/5 : 1; 4/5, -2/5 : 7/10; 3/5, 1/2 : 9/10; -1/2, 9/10 : -3/5; -9/10, 3/10 : -3/10",
    "three": "1, 1/2 : 1; -3/10, 1 : -1/2; 3/5, -4/5 : 4/5",
    "space": "1, 0, 1/2 : 1; -1/2, 1, 1 : -4/5; 1/5, -1, 1 : 3/5; -1, -1/3, 1 : -1/2",
}
#: The largest scale that counts as small.
SMALL = Rational(1, 100)


def sign_of(given: Instance) -> int:
    """Return 1 for the descent, -1 for the ascent."""
    return 1 if given["flow"] == "descent" else -1


def loss_factor(given: Instance) -> Expr:
    """Return the factor of the loss: 2 for the logistic loss, so that minus its slope at output 0 is y."""
    return Integer(2 if given["loss"] == "logistic" and given["factor"] == "matched" else 1)


def network_of(given: Instance, loss: str | None = None) -> Problem:
    """Return the network of an instance and the sum of its losses; ``correlation`` as the loss gives the flow of the correlation."""
    factor = sign_of(given) * (loss_factor(given) if loss is None else 1)
    return Problem.two_layer(
        given["activation"],
        loss or given["loss"],
        input_bias=False,
        output_bias=False,
        reduction="sum",
        factor=factor,
    )


def resting_neuron(given: Instance) -> saddles.TrainedNeuron | None:
    """Return the neuron that the leading direction is trained to, exactly; None where it does not rest inside a cone."""
    if not _linear_pieces(given):
        return None
    sigma, data = given["activation"], given["data"]
    found = saddles.leading_direction(sigma, data.x, data.y)
    return None if found is None else saddles.trained_neuron(sigma, data.x, data.y, *found)


# -- assumptions -----------------------------------------------------------------------------------------------------


def _homogeneous(given: Instance) -> Finding:
    degree, decision = given["activation"].homogeneity
    if degree is None:
        why = f"{given['activation'].name} is not positively homogeneous: z sigma' - p sigma = {decision.difference}"
        return Finding(decision.status, why)
    return finding_of(degree == 1, f"v sigma(u.x) has the degree {degree + 1} in (v, u)")


def _linear_pieces(given: Instance) -> bool:
    return _homogeneous(given).status is Status.PROVED


def _correlated(given: Instance) -> Finding:
    if not _linear_pieces(given):
        return Finding(Status.UNDECIDED, "the activation is not shown to be 1-homogeneous")
    data = given["data"]
    if not any(data.y):
        return finding_of(False, "all targets are 0, and so is the correlation")
    found = saddles.leading_direction(given["activation"], data.x, data.y)
    if found is None:
        return Finding(Status.UNDECIDED, "G vanishes in all directions that were tried")
    return finding_of(True, f"G is not 0 in the direction ({', '.join(map(str, found[0]))})")


def _rests(given: Instance) -> Finding:
    if not _linear_pieces(given) or given["loss"] != "square":
        return Finding(Status.UNDECIDED, "needs a 1-homogeneous activation and the square loss")
    found = resting_neuron(given)
    if found is None:
        return Finding(
            Status.UNDECIDED, "the neuron of the leading direction was not found to rest inside a cone"
        )
    return finding_of(
        True,
        f"|v| u = ({', '.join(f'{float(u):.6g}' for u in found.beta)}), active samples {list(found.active)}",
    )


def _small(given: Instance) -> Finding:
    largest, smallest = max(given["scales"], key=float), min(given["scales"], key=float)
    if len(set(given["scales"])) < 2:
        return Finding(Status.UNDECIDED, "one scale shows no convergence; give at least two")
    return finding_of(
        exact_sign(largest - SMALL) <= 0, f"scales from {smallest} to {largest}; small means at most {SMALL}"
    )


def _distinct(given: Instance) -> Finding:
    sizes = [abs(u) for u in given["modes"]]
    if any(exact_sign(u) == 0 for u in sizes):
        return finding_of(False, "a target is 0: its mode has no rate")
    return finding_of(len(set(sizes)) == len(sizes), f"|y_k| = {', '.join(map(str, sizes))}")


ASSUMPTIONS = (
    Assumption(
        "two-homogeneous",
        r"$H(x; cw) = c^2 H(x; w)$ for $c \ge 0$: the activation is positively homogeneous of degree 1.",
        _homogeneous,
    ),
    Assumption("correlated", r"$\mathcal N_y$ is not identically $0$.", _correlated),
    Assumption(
        "small start", r"$w(0) = \delta w_0$ with a small $\delta$, and more than one $\delta$.", _small
    ),
    Assumption(
        "square loss",
        r"$\ell(h, y) = \tfrac12(h - y)^2$.",
        lambda given: finding_of(given["loss"] == "square", f"{given['loss']} loss"),
    ),
    Assumption(
        "resting neuron",
        r"The trained part $\bar w_n$ is a local minimum of $L(w_n, 0)$ that lies inside a cone, where L is a polynomial.",
        _rests,
    ),
    Assumption("distinct modes", r"The $|y_k|$ are distinct and not $0$.", _distinct),
    Assumption("deep", r"$L > 2$.", lambda given: finding_of(given["depth"] > 2, f"L = {given['depth']}")),
)

# -- derivations -----------------------------------------------------------------------------------------------------


def _if_linear(function: Callable[[Instance], Finding]) -> Callable[[Instance], Finding]:
    """Return a derivation for 1-homogeneous activations."""

    def derive(given: Instance) -> Finding:
        if not _linear_pieces(given):
            return Finding(Status.UNDECIDED, "the activation is not shown to be 1-homogeneous")
        return function(given)

    return derive


@_if_linear
def _list(given: Instance) -> Finding:
    if len(given["data"].x[0]) != 2:
        return Finding(
            Status.UNDECIDED, "in more than two dimensions the list is made by the measurement, exactly"
        )
    return proofs.kkt_list(given["activation"], given["data"].x, given["data"].y)


@_if_linear
def _saddle(given: Instance) -> Finding:
    neuron = resting_neuron(given)
    if neuron is None or given["loss"] != "square":
        return Finding(Status.UNDECIDED, "no resting neuron was found")
    broken = [str(u) for u in neuron.gradient if exact_sign(u) != 0]
    if broken:
        return Finding(Status.UNDECIDED, f"the gradient of the neuron is {broken}")
    left = ", ".join(f"{float(u):.10f}" for u in neuron.residual)
    steps = (
        rf"Least squares on the active samples $\{{{', '.join(map(str, neuron.active))}\}}$: $|v|\,u = ({', '.join(f'{float(u):.10f}' for u in neuron.beta)})$, "
        r"whose signs $u \cdot x_i$ are those of the set; so $\partial_n L = 0$, and $L$ is convex in $|v|u$ there.",
        r"$L(w_n, w_z)$ has no term of first order in $w_z$, as $H_z$ is 2-homogeneous: $\partial_z L(\bar w_n, 0) = 0$.",
        rf"To second order $L = L(\bar w_n, 0) - \mathcal N_{{\bar z}}(w_z)$ with $\bar z = ({left})$, $L = {float(neuron.loss):.10f}$.",
    )
    evidence = {
        "beta": [str(u) for u in neuron.beta],
        "residual": [str(u) for u in neuron.residual],
        "active": list(neuron.active),
    }
    # The alignment itself is a statement about a limit, which is measured.
    return Finding(
        Status.UNDECIDED,
        f"an exact critical point with L = {float(neuron.loss):.10f}",
        steps,
        float(neuron.loss),
        evidence=evidence,
    )


CLAIMS = (
    Published(
        "C1",
        r"One neuron with $\mathcal N \ne 0$ on $|w| = 1$ is KKT iff $|v| = |u| = \tfrac{1}{\sqrt2}$ and $\hat u$ is along some $g \in \partial G(\hat u)$; "
        r"then $\lambda = 2\mathcal N = \pm G(\hat u)$, and $\mathcal N > 0$ where $v$ has the sign of $G$.",
        "kumar2024",
        needs=("two-homogeneous",),
        derive=_if_linear(lambda given: proofs.one_neuron()),
    ),
    Published(
        "C1.1",
        r"The KKT directions of $G$ for these data are the listed ones, with Clarke coefficients $t_i$ on kinks, from the exact subdifferential; "
        r"$\beta = \max|G|/2$.",
        "kumar2024",
        needs=("two-homogeneous",),
        derive=_list,
    ),
    Published(
        "C2",
        r"Width $m$: $w$ is KKT with $\mathcal N > 0$ iff every non-zero neuron is balanced, its $\hat u_j$ is a KKT direction with $v_j$ of the sign of "
        r"$G$, and all non-zero neurons share $|G(\hat u_j)| = \lambda$.",
        "kumar2024",
        needs=("two-homogeneous",),
        derive=_if_linear(lambda given: proofs.wide(given["width"])),
    ),
    Published(
        "C3",
        r"The flow of $\mathcal N$ in a cone with gradient $g$: $v' = |g|\,p$, $p' = |g|\,v$, $p = u \cdot g/|g|$, the rest of $u$ frozen, $v^2 - |u|^2$ "
        r"conserved; along a face where it slides the same with the common projection of the gradients.",
        "kumar2024",
        needs=("two-homogeneous",),
        derive=_if_linear(lambda given: proofs.in_cone(sign_of(given))),
    ),
    Published(
        "C3.1",
        r"Each trajectory of the flow of $\mathcal N$ converges in direction to a nonnegative KKT point, or $w \to 0$, or it stops in a cone with $g = 0$.",
        "kumar2024",
        needs=("two-homogeneous", "correlated"),
    ),
    Published(
        "C4",
        r"$-\ell'(0, y) = y$ and $\tfrac{d}{dt}|w|^2 \le 4\mathcal N_y(w)$, so $|w(t)| \le \delta e^{2\beta t}$ and $|w(t)| \le \sqrt\delta$ up to "
        r"$T = \ln(1/\delta)/(4\beta)$.",
        "kumar2024",
        Relation.AT_MOST,
        ("two-homogeneous",),
        _if_linear(lambda given: proofs.norm_bound(given["loss"], loss_factor(given), sign_of(given))),
    ),
    Published(
        "C4.1",
        r"Along an aligned ray $r' = \lambda r$: the time of escape grows like $\tfrac1\lambda \ln(1/\delta)$.",
        "kumar2024",
        needs=("two-homogeneous", "correlated", "small start"),
    ),
    Published(
        "C5",
        r"As $\delta \to 0$, at $T$ each $w_j$ is aligned with a nonnegative KKT point of $\mathcal N_y$, or $|w_j(T)| = O(\delta)$; and "
        r"$|w(t)| = O(\sqrt\delta)$ up to $T$.",
        "kumar2024",
        needs=("two-homogeneous", "correlated", "small start"),
    ),
    Published(
        "C5.1",
        r"Separable networks: $\mathcal N_y = \sum_j \mathcal N_{y, H_j}(w_j)$, each block moves regardless of the others.",
        "kumar2024",
        needs=("two-homogeneous",),
        derive=_if_linear(lambda given: proofs.separable(given["width"])),
    ),
    Published(
        "C6",
        r"From $(\bar w_n + \delta\zeta_n, \delta\zeta_z)$ the flow of the square loss keeps $w_n$ near $\bar w_n$ and $|w_z| = O(\sqrt\delta)$ up to $\ln(1/\delta)/"
        r"(4\bar\beta)$, while $w_z$ aligns with a nonnegative KKT point of $\mathcal N_{\bar z}$, $\bar z = y - H_n(X; \bar w_n)$, or stays $O(\delta)$.",
        "kumar2024",
        needs=("two-homogeneous", "correlated", "small start", "square loss", "resting neuron"),
        derive=_saddle,
    ),
    Published(
        "C7",
        r"$L = \tfrac12\sum_k (y_k - u_k v_k)^2$: $a_k = u_k v_k$ obeys $a' = (y_k - a)\sqrt{h_k^2 + 4a^2}$; from $u = |v| = \delta$ the half-times are "
        r"$\ln((|y_k| - \delta^2)/\delta^2)/(2|y_k|)$, in the order of falling $|y_k|$; $2^d$ manifolds of critical points, the index is the number of modes not learned.",
        "kumar2024",
        needs=("distinct modes",),
        derive=lambda given: saddles.modes(given["modes"]),
    ),
    Published(
        "C8",
        r"Quadratic network: $\mathcal N = \sum_j s_j u_j^\top M u_j$, KKT points are unit vectors in one eigenspace for each sign, "
        r"$u_j(t) = e^{2 s_j M t} u_j(0)$.",
        "kumar2024",
        derive=lambda given: saddles.quadratic(sign_of(given)),
    ),
    Published(
        "C8.1",
        r"Linear network: $\mathcal N = \mathrm{tr}(U^\top M V)$, KKT points are singular pairs, $\mathcal N = \sigma/2$.",
        "kumar2024",
        derive=lambda given: saddles.linear(sign_of(given)),
    ),
    Published(
        "C9",
        r"Degree $L > 2$: $r' = L\,\mathcal N(\hat w)\,r^{L-1}$ blows up at $1/(L(L-2)\,\mathcal N\,\delta^{L-2})$; $w = \delta s$ removes "
        r"$\delta$ up to the unit of time.",
        "kumar2024deep",
        needs=("deep",),
        derive=lambda given: (
            saddles.deep(given["depth"], sign_of(given))
            if given["depth"] > 2
            else Finding(Status.UNDECIDED, "no closed form for L = 2")
        ),
    ),
    Published(
        "C9.1",
        r"Degree $L > 2$: the direction comes near a KKT point of the correlation while the norm is still of order $\delta$.",
        "kumar2024deep",
        needs=("deep", "small start"),
    ),
    Published(
        "C10",
        r"From saddle to saddle: from a critical point a neuron along a KKT direction of the residual correlation escapes after $\tfrac1\lambda\ln(1/\delta)$, and the "
        r"flow of the enlarged network ends at the next critical point, with a smaller loss.",
        "kumar2025pursuit",
        needs=("two-homogeneous", "correlated", "small start", "square loss"),
    ),
)

THEOREM = Theorem(
    "directional-convergence",
    "Early alignment of two-homogeneous networks with the neural correlation",
    ("kumar2024", "kumar2024deep", "kumar2025pursuit"),
    r"Data $(x_i, y_i)$, a network $H(x; w) = \sum_j v_j\,\sigma(u_j \cdot x)$ without biases, $L(w) = \sum_i \ell(H(x_i; w), y_i)$ with $\ell = \tfrac12(h - y)^2$ "
    r"or $2\log(1 + e^{-yh})$, the flow $w' \in -\partial L$ from $w(0) = \delta w_0$, $|w_0| = 1$. $\mathcal N_z(w) = \sum_i z_i H(x_i; w)$, "
    r"$G(u) = \sum_i z_i\,\sigma(u \cdot x_i)$, $\beta = \max_{|w| = 1} \mathcal N_y$; KKT: $\lambda w \in \partial\mathcal N(w)$.",
    (
        Setting(
            "activation",
            "relu",
            "an activation or a formula in z; 1-homogeneous ones meet the assumptions",
            read.activation,
        ),
        Setting("width", "2", "neurons from 1 to 50", read.integer(1, 50)),
        Setting(
            "data",
            "five",
            f"{', '.join(DATA)}, a CSV file with the target in its last column, or points such as '2, 1 : 1/2; 1, -1/2 : -1'",
            read.targets(DATA),
        ),
        Setting("loss", "square", "square, logistic", read.choice("square", "logistic")),
        Setting(
            "scales",
            "1/100, 1/10000, 1/1000000",
            "2 to 6 numbers > 0 and <= 1, the delta",
            read.exacts(above=0, up_to=1, most=6),
        ),
        Setting(
            "start",
            "random",
            "random, or w0 as numbers v1, ..., vm, u11, u12, ...; it is scaled to length 1",
            read.start,
        ),
        Setting("starts", "3", "random starts, from 1 to 50", read.integer(1, 50)),
        Setting(
            "modes", "3, 3/2, 1/2", "1 to 6 numbers, the targets of the diagonal network", read.exacts(most=6)
        ),
        Setting("depth", "3", "degree L of the deep network, from 2 to 6", read.integer(2, 6)),
        Setting("rounds", "3", "neurons added from saddle to saddle, from 1 to 6", read.integer(1, 6)),
        Setting(
            "graph",
            "greedy",
            "greedy, all (every attracting KKT direction), or modes (the lattice of the diagonal network)",
            read.choice("greedy", "all", "modes"),
        ),
        Setting(
            "factor",
            "matched",
            "matched, or plain: the logistic loss without its factor 2",
            read.choice("matched", "plain"),
        ),
        Setting(
            "flow",
            "descent",
            "descent, or ascent: the theorem with the sign of the flow turned",
            read.choice("descent", "ascent"),
        ),
        Setting(
            "sweep",
            "short",
            "short, or full: also the widths 4, 20, 50 and the scales 1/1000, 1/100000",
            read.choice("short", "full"),
        ),
    ),
    ASSUMPTIONS,
    CLAIMS,
)
