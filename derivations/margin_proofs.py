r"""Why the normalised margin grows: the identities of Lyu and Li for a homogeneous network, each reduced to exact zeros.

A network is homogeneous of degree L; :math:`q_i = y_i f(x_i)`, :math:`E = \sum_i \ell(q_i)`, :math:`\rho = \lVert\theta\rVert`,
:math:`\nu = \sum_i -\ell'(q_i)\,q_i`, :math:`N = \lVert\theta'\rVert^2`.  With :math:`\varphi = \ell^{-1}(E)` and
:math:`w = -\ell'(\varphi)` the smoothed margin is :math:`\varphi/\rho^L`; for the exponential loss :math:`\varphi = \log(1/E)` and
:math:`w = E`.  What is used of a network are two lines, Euler's identity :math:`\langle\theta, -\nabla E\rangle = L\nu` and the chain rule
:math:`E' = -N` along the flow :math:`\theta' = -\nabla E`; both turn their sign where the flow does.

Source: Lyu, Li, arXiv:1906.05890, Theorem 4.1, Lemma B.5, Theorems 4.3 and 4.4; the constants as derived here.

>>> from sympy import Integer
>>> monotone(Integer(2), "exponential").status.name, monotone(Integer(2), "exponential", sign=-1).status.name
('PROVED', 'REFUTED')
"""

from __future__ import annotations

from sympy import (
    Ei,
    Expr,
    Function,
    Integer,
    Rational,
    Symbol,
    diff,
    exp,
    expand_log,
    limit,
    log,
    oo,
    simplify,
    symbols,
)

from derivations.latex import latex
from derivations.theorem import Finding, zero_finding

__all__ = ["LOSSES", "kkt_identity", "loss_rates", "monotone", "sandwich"]

#: The losses of the theorem.
LOSSES = ("exponential", "logistic")


def _inverse(loss: str, value: Expr) -> tuple[Expr, Expr]:
    """Return phi = l^(-1)(E) and w = -l'(phi) in terms of E."""
    if loss == "exponential":
        return -log(value), value
    return -log(exp(value) - 1), 1 - exp(-value)


def monotone(degree: Expr, loss: str, sign: int = 1) -> Finding:
    r"""Prove the identity of the smoothed margin and the bound from below.

    Parameters
    ----------
    degree : Expr
        L > 0.
    loss : str
        One of ``LOSSES``.
    sign : int
        1 for the descent :math:`\theta' = -\nabla E`; -1 for the ascent, which refutes the identity.
    """
    t = Symbol("t", real=True)
    E, rho = (Function(name, positive=True)(t) for name in ("E", "rho"))
    N, nu, level, radius, T = symbols("N nu E rho T", positive=True)
    phi_t, _ = _inverse(loss, E)
    phi, w = _inverse(loss, level)
    # Along the flow: E' = -sign N, and rho rho' = <theta, theta'> = sign L nu.
    slope = diff(log(phi_t) - degree * log(rho), t)
    slope = slope.subs({E.diff(t): -sign * N, rho.diff(t): sign * degree * nu / rho}).subs(
        {E: level, rho: radius}
    )
    published = N / (w * phi) - degree**2 * nu / radius**2
    split = (degree * nu / radius) ** 2 + T  # N = radial part + tangential part
    excess = split * (nu - w * phi) / (nu * w * phi)
    direction = degree / (degree * nu / radius**2) * (T / radius**2)
    residuals = {
        "slope of the logarithm of the smoothed margin": slope - published,
        "slope minus bound": published.subs(N, split) - T / nu - excess,
        "bound in terms of the direction": T / nu - direction,
        **_subadditive(loss),
    }
    return zero_finding(
        residuals, _ground(loss), steps=_monotone_steps(degree, loss), expected=str(published)
    )


def _subadditive(loss: str) -> dict[str, Expr]:
    """Zeros that show that G(u)/u falls, with G(u) = w phi as a function of u = l(q); then nu = sum G(u_i) >= G(E)."""
    u = Symbol("u", positive=True)
    phi, w = _inverse(loss, u)
    q = Symbol("q", positive=True)
    value = exp(-q) if loss == "exponential" else log(1 + exp(-q))
    zeros = {"w is minus the slope of the loss": w.subs(u, value) + diff(value, q)}
    if loss == "exponential":
        return zeros | {"G(u)/u falls": diff(w * phi / u, u) + 1 / u}
    # Two positive falling factors on (0, log 2).
    first = diff(u**2 * diff(w / u, u) + 1 - (1 + u) * exp(-u), u)
    return zeros | {
        "first factor of G(u)/u": simplify(first),
        "its numerator falls from 0": diff((1 + u) * exp(-u) - 1, u) + u * exp(-u),
        "second factor of G(u)/u": diff(phi, u) + exp(u) / (exp(u) - 1),
    }


def _ground(loss: str) -> str:
    bound = "1" if loss == "exponential" else "log 2"
    return f"identity and bound reduce to 0; the bound is not negative while E < {bound}"


def _monotone_steps(degree: Expr, loss: str) -> tuple[str, ...]:
    L, square = latex(degree), latex(degree**2)
    if loss == "exponential":
        last = (
            r"With $u_i = e^{-q_i}$ and $G(u) = u \log(1/u)$ one has $\nu = \sum_i G(u_i)$, and $(G(u)/u)' = -1/u < 0$, so "
            r"$\nu \ge G(\sum_i u_i) = E \log(1/E)$ while $E < 1$."
        )
        phi, w = r"\log(1/E)", "E"
    else:
        last = (
            r"With $u_i = \ell(q_i)$ and $G(u) = (1 - e^{-u})\,(-\log(e^u - 1))$ one has $\nu = \sum_i G(u_i)$, and $G(u)/u$ is the "
            r"product of $(1 - e^{-u})/u$ and $-\log(e^u - 1)$, both positive and falling on $(0, \log 2)$, so $\nu \ge G(E)$ "
            r"while $E < \log 2$."
        )
        phi, w = r"\varphi", "w"
    return (
        rf"Euler: $\langle\theta, -\nabla E\rangle = {L}\,\nu$, so $(\log\rho)' = {L}\,\nu/\rho^2$ along $\theta' = -\nabla E$; chain rule: "
        r"$E' = -\lVert\theta'\rVert^2$.",
        rf"Hence $(\log\tilde\gamma)' = \lVert\theta'\rVert^2/({w}\,{phi}) - {square}\,\nu/\rho^2$.",
        rf"With $\lVert\theta'\rVert^2 = ({L}\,\nu/\rho)^2 + T$, $T = \lVert(I - \hat\theta\hat\theta^\top)\theta'\rVert^2$, this is "
        rf"$T/\nu + \lVert\theta'\rVert^2\,(\nu - {w}\,{phi})/(\nu\,{w}\,{phi})$.",
        last,
        rf"$T/\nu = {L}\,((\log\rho)')^{{-1}}\lVert\hat\theta'\rVert^2$, since $\lVert\hat\theta'\rVert^2 = T/\rho^2$.",
    )


def sandwich(samples: int, loss: str) -> Finding:
    """Prove smoothed <= normalised <= smoothed + log(n)/rho^L, with q_1 the smallest margin.

    Parameters
    ----------
    samples : int
        Number n; the identity is written out for at most six of them.
    loss : str
        For the logistic loss the upper bound has (n-1) log(1 + exp(-q_min)) more, which tends to 0.
    """
    n = min(samples, 6)
    q = symbols(f"q1:{n + 1}", real=True)
    if loss == "exponential":
        total = sum((exp(-u) for u in q), Integer(0))
        ratio = 1 + sum((exp(q[0] - u) for u in q[1:]), Integer(0))
        residuals = {"E = exp(-q_1) (1 + sum_{i>1} exp(q_1 - q_i))": total - exp(-q[0]) * ratio}
        steps = (
            r"$\log(1/E) = q_{\min} - \log(1 + \sum_{i \ne 1} e^{q_{\min} - q_i})$ with every term of the sum in $[0, 1]$, so the "
            r"logarithm lies in $[0, \log n]$.",
        )
        return zero_finding(residuals, "the logarithm lies between 0 and log n", steps=steps)
    x = Symbol("x", positive=True)
    level = exp(-_inverse("logistic", samples * log(1 + x))[0])
    residuals = {
        "exp(-phi) for n equal losses": level - ((1 + x) ** samples - 1),
        "derivative of (1+x)^n - 1": diff((1 + x) ** samples - 1, x) - samples * (1 + x) ** (samples - 1),
    }
    steps = (
        r"$\ell(q_{\min}) \le E \le n\,\ell(q_{\min})$ and $\ell^{-1}$ falls, so $\varphi \le q_{\min}$; with $x = e^{-q_{\min}}$ and the "
        r"mean value theorem $e^{-\varphi} \le (1 + x)^n - 1 \le n\,x\,(1 + x)^{n-1}$, so "
        r"$q_{\min} \le \varphi + \log n + (n - 1) \log(1 + e^{-q_{\min}})$: for the logistic loss the last term is added.",
    )
    return zero_finding(
        residuals, "logistic loss: log n + (n-1) log(1 + exp(-q_min)) in place of log n", steps=steps
    )


def loss_rates(degree: Expr) -> Finding:
    """Prove the case of one sample, f = theta^L, with its closed forms, and the limit of E t (log t)^(2 - 2/L)."""
    theta, q, q0, t, a = symbols("theta q q0 t a", positive=True)
    L = degree
    rate = L * theta ** (L - 1) * exp(-(theta**L))  # theta' = -dE/dtheta
    power = 2 - 2 / L
    residuals = {
        "q' = L^2 q^(2-2/L) exp(-q)": diff(theta**L, theta) * rate
        - L**2 * (theta**L) ** power * exp(-(theta**L))
    }
    one = log(t + exp(q0))
    residuals["L = 1: q = log(t + exp(q0))"] = diff(one, t) - exp(-one)
    residuals["L = 2: Ei(q) - Ei(q0) = 4 t"] = diff((Ei(q) - Ei(q0)) / 4, q) - exp(q) / (4 * q)
    # t ~ exp(q) q^(-s)/L^2 by de l'Hospital, for every s; then log t / q -> 1.
    quotient = simplify((exp(q) * q ** (-a)) / diff(exp(q) * q ** (-a), q))
    residuals["t L^2 exp(-q) q^s -> 1"] = limit(quotient.subs(a, power), q, oo) - 1
    residuals["log t / q -> 1"] = (
        limit(expand_log(log(exp(q) * q ** (-power) / L**2), force=True) / q, q, oo) - 1
    )
    steps = (
        rf"One sample, $f = \theta^L$: $q' = {latex(L**2)}\,q^{{{latex(power)}}}\,e^{{-q}}$.",
        r"$L = 1$: $q = \log(t + e^{q_0})$; $L = 2$: $\mathrm{Ei}(q) - \mathrm{Ei}(q_0) = 4t$.",
        rf"Hence $t \sim e^q q^{{-{latex(power)}}}/{latex(L**2)}$ and $\log t \sim q$, so "
        rf"$E\,t\,(\log t)^{{{latex(power)}}} \to 1/{latex(L**2)}$; the logarithm of $t$ enters, so the limit is approached like "
        r"$\log\log t/\log t$.",
    )
    return zero_finding(
        residuals, "exact for one sample; the constant for n samples is measured", steps=steps
    )


def kkt_identity(degree: Expr, loss: str) -> Finding:
    r"""Prove the size of the stationarity residual and the bound of the slackness.

    The gradients of the margins are homogeneous of degree L - 1, so the powers of q_min must match; the rest is the distance of two
    unit vectors, Euler's inequality, and the maximum of x exp(-x).
    """
    L, beta, x = degree, Symbol("beta", real=True), Symbol("x", positive=True)
    q, rho, n = symbols("q_min rho n", positive=True)
    gbar = q / rho**L
    scale = q ** (-1 / L)
    residuals = {
        "powers of q_min": (1 - 2 / L) - (L - 1) / L + 1 / L,
        "distance of unit vectors": 1 - 2 * beta + 1 - 2 * (1 - beta),
        "rho q_min^(-1/L) = gbar^(-1/L)": simplify(
            log(rho * scale) + expand_log(log(gbar), force=True) / L, force=True
        ),
        "x exp(-x) at its maximum": diff(x * exp(-x), x).subs(x, 1),
        "bound of the slackness": simplify(
            expand_log(log(q ** (1 - 2 / L) * rho * (n / exp(1) / q) * rho / (L * q)), force=True)
            - expand_log(log(n / (exp(1) * L * gbar ** (Rational(2) / L) * q)), force=True)
        ),
    }
    L_ = latex(degree)
    more = (
        ""
        if loss == "exponential"
        else r" For the logistic loss the weights are $1/(1 + e^{q_i})$ and the bound has the factor $1 + e^{-q_{\min}}$."
    )
    steps = (
        rf"$h_i(\tilde\theta) = q_{{\min}}^{{-(L-1)/L}} h_i(\theta)$ with $L = {L_}$, so "
        r"$\sum_i \lambda_i h_i(\tilde\theta) = q_{\min}^{-1/L} \rho\,\theta'/\lVert\theta'\rVert$ and the residual is "
        r"$q_{\min}^{-1/L}\rho\,\lVert\hat\theta - \theta'/\lVert\theta'\rVert\rVert = \sqrt{2(1-\beta)}\,\bar\gamma^{-1/L}$.",
        r"$\lVert\theta'\rVert \ge \langle\hat\theta, \theta'\rangle = L\nu/\rho \ge L q_{\min} e^{-q_{\min}}/\rho$ and "
        r"$\sum_i e^{-q_i}(q_i - q_{\min}) \le n\,e^{-q_{\min}}/e$ give the bound of the slackness." + more,
    )
    return zero_finding(
        residuals, "the residual is that of the angle; the slackness falls like 1/q_min", steps=steps
    )
