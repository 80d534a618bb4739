r"""The gradient flow in the coordinates of single neurons: per neuron, norm and direction, balanced.

With :math:`\tilde w_k = \rho_k u_k`, :math:`\rho_k = \lVert \tilde w_k \rVert > 0` and
:math:`s_{ik} = u_k^\top \tilde x_i` the flow :math:`\dot{\tilde w}_k = F_k` becomes

.. math::
    \dot\rho_k = u_k^\top F_k, \qquad \dot u_k = \frac1{\rho_k} (I - u_k u_k^\top) F_k ,

and for an activation with :math:`\sigma(\lambda z) = \lambda^p \sigma(z)`, :math:`\lambda > 0`,

.. math::
    \dot a_k = -\rho_k^p \sum_i r_i \sigma(s_{ik}), \quad
    \dot\rho_k = -p\, a_k \rho_k^{p-1} \sum_i r_i \sigma(s_{ik}), \quad
    \dot u_k = -a_k \rho_k^{p-2} \sum_i r_i \sigma'(s_{ik}) (\tilde x_i - s_{ik} u_k) .

Then :math:`Q_k = p\, a_k^2 - \rho_k^2` is conserved, and on each of its levels the flow closes in (a, u): the balanced
coordinates.  Every system is proved by substitution back into the gradient flow (``coordinate_residuals``).

Source: Boursier, Pesme, Flammarion, arXiv:2206.00939, Section 3, for ReLU and balanced neurons; Zhou, Zhou, Luo, Zhang,
Xu, arXiv:2105.11686, for amplitude and orientation.

>>> from derivations.problem import Problem
>>> print(derive_norm_direction(Problem.two_layer("relu", "square")))
Flow in norm and direction
    da/dt[k] = -rho[k]*sum(r[i]*sigma(s[i,k]), i=1..n)
    drho/dt[k] = -a[k]*sum(r[i]*sigma(s[i,k]), i=1..n)
    du/dt[k,l] = -a[k]*sum((-s[i,k]*u[k,l] + x[i,l])*r[i]*sigma'(s[i,k]), i=1..n)/rho[k]
  where
    s[i,k] = sum(u[k,l]*x[i,l], l=1..d)
    f[i] = sum(a[k]*rho[k]*sigma(s[i,k]), k=1..m)
    r[i] = (f[i] - y[i])/n
    sigma(z) = relu(z)
    sigma'(z) = step(z, 0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sympy import Add, Expr, Integer, Mul, S, sqrt

from derivations.canonical import residual
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError
from derivations.euler import euler_rule, homogeneity_degree
from derivations.generic import GenericFunction, bind
from derivations.indexed import Entry, Index, ISum, Tensor, _has, isum, open_sum, replace_leaves
from derivations.latex import latex
from derivations.neuron_view import NeuronView
from derivations.problem import Block, Problem, m, n
from derivations.vocabulary import assemble, bound_loss, dot, entry, expanded

__all__ = [
    "coordinate_residuals",
    "derive_balanced",
    "derive_norm_direction",
    "derive_per_neuron",
]

_RHO = Tensor("rho", (m,), r"\rho")
_COSINE = Tensor("s", (n, m))
_LEVEL = Tensor("Q", (m,))
_SIGN = Tensor("eps", (m,), r"\varepsilon")


def derive_per_neuron(problem: Problem) -> Derivation:
    r"""Return the flow of each neuron in the field of the weights r, the only thing its neurons share.

    Parameters
    ----------
    problem : Problem
        Two-layer.

    Raises
    ------
    AssumptionError
        If the network is deep, w is frozen, or w and b move at different rates.
    """
    view = NeuronView(problem)

    def shown(expr: Expr) -> Expr:
        return replace_leaves(_inlined(view, expr), {Tensor("z", (n, m)): _lifted_z(view)})

    w_dot = Entry(dot(view.w), view.k, view.coordinate)
    equations = [
        *_others(view, shown, first=True),
        Equation(w_dot, shown(view.flow())),
        *_others(view, shown, first=False),
    ]
    outputs = problem.system.formals(problem.output)
    extra = [
        Equation(entry(problem.output, outputs), shown(view.lifted(view.plain.system[problem.output].expr))),
        _weights(problem),
    ]
    notes = [
        *_augmented(view),
        r"A neuron meets the others through the weights $r$ only: with $\varphi(\theta) = \sum_i r_i \sigma(\theta^{\top} "
        rf"{'x' if not view.augmented else chr(92) + 'tilde{x}'}_i)$ it moves by $-\varphi$ and by $-a_k \nabla \varphi$."
        if not problem.vector_output and problem.scale == 1 and problem.weight_decay == 0 and not problem.rate
        else "A neuron meets the others through the weights $r$ only.",
    ]
    return _assembled(view, "per-neuron", "Flow of each neuron", equations, extra, notes)


def derive_norm_direction(problem: Problem) -> Derivation:
    r"""Return the flow in :math:`\rho_k` and :math:`u_k`; for a homogeneous activation with the powers of the norm taken out.

    Parameters
    ----------
    problem : Problem
        Two-layer.

    Raises
    ------
    AssumptionError
        If the network is deep, w is frozen, or w and b move at different rates.
    """
    polar = _Polar(problem)
    view = polar.view
    equations = [
        *_others(view, polar.shown, first=True),
        Equation(_RHO_DOT, polar.norm),
        Equation(Entry(dot(polar.u), view.k, view.coordinate), polar.direction),
        *_others(view, polar.shown, first=False),
    ]
    vector, u = _vector(view), polar.u.tex
    notes = [
        *_augmented(view),
        rf"${vector}_k = \rho_k {u}_k$ with $\lVert {u}_k \rVert = 1$ and $\rho_k > 0$.",
    ]
    if polar.degree is not None:
        notes.append(rf"The activation is positively homogeneous of degree ${latex(polar.degree)}$.")
    return _assembled(view, "norm-direction", "Flow in norm and direction", equations, polar.where(), notes)


def derive_balanced(problem: Problem) -> Derivation:
    r"""Return the flow in (a, u) on the levels of the conserved :math:`Q_k`, and on the balanced level :math:`Q_k = 0`.

    Parameters
    ----------
    problem : Problem
        Two-layer, with a homogeneous activation and a trained.

    Raises
    ------
    AssumptionError
        If no homogeneity is shown, a is frozen, or there is weight decay with different rates.
    """
    polar = _Polar(problem)
    view, p = polar.view, _degree(problem, polar)
    a = problem.block("a")
    q_dot = -2 * a.rate * problem.weight_decay * _LEVEL[view.k]
    equations = [
        Equation(dot(_LEVEL)[view.k], q_dot),
        *_others(view, polar.shown, first=True),
        Equation(Entry(dot(polar.u), view.k, view.coordinate), polar.direction),
        *_others(view, polar.shown, first=False),
    ]
    square = isum(entry(a.tensor, a.indices) ** 2, *a.indices[1:])
    u = polar.u.tex
    norm = sqrt(expanded(view.rate, p * square / a.rate - _LEVEL[view.k]))
    notes = [
        *_augmented(view),
        rf"${_vector(view)}_k = \rho_k {u}_k$ with $\lVert {u}_k \rVert = 1$; the activation is positively homogeneous of degree "
        rf"${latex(p)}$.",
        r"$Q_k$ is given by the initial values; the equations hold while $\rho_k > 0$.",
    ]
    if not problem.vector_output:
        on_level = _balanced(polar, p)
        equations += [
            Equation(_RHO_DOT, on_level(polar.norm), "Q_k = 0", "if Q[k] = 0"),
            Equation(
                Entry(dot(polar.u), view.k, view.coordinate),
                on_level(polar.direction),
                "Q_k = 0",
                "if Q[k] = 0",
            ),
        ]
        ratio = latex(sqrt(a.rate / (p * view.rate)))
        notes.append(
            rf"On the level $Q_k = 0$ the output weight is $a_k = {'' if ratio == '1' else ratio + ' '}\varepsilon_k \rho_k$ "
            r"with a sign $\varepsilon_k$ that does not change."
        )
    extra = [Equation(_RHO[view.k], norm), *polar.where()]
    return _assembled(view, "balanced", "Flow in balanced coordinates", equations, extra, notes)


_RHO_DOT = dot(_RHO)[NeuronView.k]


def coordinate_residuals(problem: Problem) -> dict[str, Expr]:
    """Return what the substitution back leaves, by name; 0 proves that the systems above are the gradient flow.

    ``product``: d(rho u)/dt minus the flow of the incoming vector; ``unit``: the part of du/dt along u; ``level``: dQ/dt
    plus its decay; ``balanced``: d/dt of a minus its multiple of rho on the balanced level.
    """
    polar = _Polar(problem)
    view, k, l = polar.view, polar.view.k, polar.view.coordinate
    out = view.residuals()
    speed = polar.shown(view.flow())
    out["product"] = residual(_RHO[k] * polar.direction + polar.u[k, l] * polar.norm_from(speed) - speed)
    out["unit"] = residual(polar.along(polar.direction))
    a = problem.block("a")
    if polar.degree is None or not a.trained or (problem.weight_decay != 0 and a.rate != view.rate):
        return out
    p = polar.degree
    a_dot = _flow_of(view, a, polar.shown)
    power = isum(entry(a.tensor, a.indices) * a_dot, *a.indices[1:])
    square = isum(entry(a.tensor, a.indices) ** 2, *a.indices[1:])
    level = p * square / a.rate - _RHO[k] ** 2 / view.rate
    q_dot = 2 * p * power / a.rate - 2 * _RHO[k] * polar.norm / view.rate
    out["level"] = residual(q_dot + 2 * a.rate * problem.weight_decay * level)
    if not problem.vector_output:
        on_level = _balanced(polar, p)
        ratio = sqrt(a.rate / (p * view.rate))
        out["balanced"] = residual(on_level(a_dot) - ratio * _SIGN[k] * on_level(polar.norm))
        out["balanced"] = residual(out["balanced"].subs(_SIGN[k] ** 2, 1))
    return out


class _Polar:
    """Norm and direction of each neuron and their flow."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.view = NeuronView(problem)
        # Beside an output bias called c the index of the outputs is u.
        self.u = Tensor("v" if problem.vector_output and problem.output_bias else "u", self.view.w.dims)
        activation = problem.activation
        self.degree = None if activation is None else activation.homogeneity_degree
        flow = self.shown(self.view.flow())
        self.norm = self._euler(self.norm_from(flow))
        self.direction = self._linear(flow, self._tangential) / _RHO[self.view.k]

    def shown(self, expr: Expr) -> Expr:
        """Return ``expr`` with r kept, the rest written in a, rho, u and s."""
        view = self.view
        rules = {
            Tensor("z", (n, m)): lambda i, k: _RHO[k] * _COSINE[i, k],
            view.w: lambda k, l: _RHO[k] * self.u[k, l],
        }
        expr = replace_leaves(_inlined(view, expr), rules)
        return expr if self.degree is None else bind(expr, {"sigma": self._scaled})

    def _scaled(self, orders: tuple[int, ...], argument: Expr) -> Expr:
        """Take the norm out: the j-th derivative is homogeneous of degree p - j."""
        assert self.degree is not None  # asked for by ``shown`` only then
        cosine = next(iter(u for u in argument.atoms(Entry) if u.tensor == _COSINE))
        return _RHO[cosine.indices[1]] ** (self.degree - orders[0]) * GenericFunction("sigma", orders, cosine)

    def where(self) -> list[Equation]:
        """Return the definitions of s, f and r."""
        view, problem = self.view, self.problem
        cosine = isum(self.u[view.k, view.coordinate] * view.x[view.i, view.coordinate], view.coordinate)
        output = self.shown(view.lifted(view.plain.system[problem.output].expr))
        formals = problem.system.formals(problem.output)
        return [
            Equation(_COSINE[view.i, view.k], cosine),
            Equation(entry(problem.output, formals), output),
            _weights(problem),
        ]

    def norm_from(self, flow: Expr) -> Expr:
        """Return the inner product of u with a flow."""
        return self._linear(flow, self._inner)

    def along(self, expr: Expr) -> Expr:
        """Return the inner product of u with what is written in u and x, with s and the unit norm put in."""
        return self._linear(expr, self._inner)

    def _linear(self, expr: Expr, image: Callable[[Entry], Expr]) -> Expr:
        """Apply a linear map to an expression that is linear in vectors with the free coordinate l."""
        if isinstance(expr, Add):
            return Add(*[self._linear(term, image) for term in expr.args])
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            return isum(self._linear(body, image), index)
        if isinstance(expr, Mul):
            (vector,) = [u for u in expr.args if _has(u, self.view.coordinate)]
            return Mul(*[u for u in expr.args if u is not vector]) * self._linear(vector, image)
        return image(expr)

    def _inner(self, vector: Entry) -> Expr:
        return S.One if vector.tensor == self.u else _COSINE[vector.indices[0], self.view.k]

    def _tangential(self, vector: Entry) -> Expr:
        if vector.tensor == self.u:
            return S.Zero
        return vector - self._inner(vector) * self.u[self.view.k, self.view.coordinate]

    def _euler(self, expr: Expr) -> Expr:
        """Write s sigma'(s) as p sigma(s)."""
        return expr if self.degree is None else euler_rule(expr, self.degree, _COSINE)


def _balanced(polar: _Polar, p: Expr) -> Callable[[Expr], Expr]:
    """Return the substitution of the output weight by its value on the balanced level."""
    a = polar.problem.block("a")
    ratio = sqrt(a.rate / (p * polar.view.rate))
    return lambda expr: replace_leaves(expr, {a.tensor: lambda k: ratio * _SIGN[k] * _RHO[k]})


def _degree(problem: Problem, polar: _Polar) -> Expr:
    a = problem.block("a")
    degree = homogeneity_degree(problem, "a system of balanced coordinates")
    if not a.trained:
        raise AssumptionError(
            "balanced coordinates need trained output weights, a is frozen; use 'norm-direction'"
        )
    if problem.weight_decay != 0 and a.rate != polar.view.rate:
        raise AssumptionError(
            f"with weight decay Q_k obeys an equation of its own only if all rates agree: a has {a.rate}, w has "
            f"{polar.view.rate}; use 'norm-direction'."
        )
    return degree


def _inlined(view: NeuronView, expr: Expr) -> Expr:
    """Write out everything but z, f and r."""
    derived = view.plain.derived
    return derived.inline(expr, keep=[u.tensor for u in derived if u.tensor.name in ("z", "f", "r")])


def _lifted_z(view: NeuronView) -> Callable[..., Expr]:
    l = Index("_l", view.dim)
    return lambda i, k: isum(view.w[k, l] * view.x[i, l], l)


def _others(view: NeuronView, shown: Callable[[Expr], Expr], *, first: bool) -> list[Equation]:
    """Return the equation of a (``first``) or of the output bias, where there is one."""
    blocks = [b for b in view.plain.blocks if (b.name == "a") is first and b.name != "w"]
    return [Equation(entry(dot(b.tensor), b.indices), _flow_of(view, b, shown)) for b in blocks]


def _flow_of(view: NeuronView, block: Block, shown: Callable[[Expr], Expr]) -> Expr:
    block = view.plain.block(block.name)
    if not block.trained:
        return Integer(0)
    gradient = view.plain.derived[view.plain.gradient[block.name]].expr
    return shown(view.lifted(expanded(-block.rate, gradient)))


def _weights(problem: Problem) -> Equation:
    r = problem.derived[Tensor("r", problem.output.dims)]
    return Equation(entry(r.tensor, r.indices), bound_loss(problem, r.expr))


def _vector(view: NeuronView) -> str:
    return r"\tilde{w}" if view.augmented else "w"


def _augmented(view: NeuronView) -> list[str]:
    if not view.augmented:
        return []
    return [
        r"$\tilde{w}_k = (w_k, b_k)$ and $\tilde{x}_i = (x_i, 1)$ are vectors in $\mathbb{R}^D$, $D = d + 1$: weights and bias "
        "of a neuron move as one vector."
    ]


def _assembled(
    view: NeuronView,
    name: str,
    title: str,
    equations: Sequence[Equation],
    extra: Sequence[Equation],
    notes: Sequence[str],
) -> Derivation:
    found = assemble(view.problem, name, title, equations, notes, extra=extra, defined=False)
    if not view.augmented:
        return found
    return replace(found, hide=(*found.hide, "D"), names={**found.names, "D": ("l", "h")})
