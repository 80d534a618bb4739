r"""The equations of a problem: risk, gradient, gradient flow, critical equations, Hessian, tangent kernel.

For the two-layer network with width m, input dimension d and n samples, all symbolic,

.. math::
    \dot a_k = -\sum_{i=1}^n r_i \sigma(z_{ik}), \quad \dot w_k = -\sum_{i=1}^n \delta_{ik} x_i, \quad
    r_i = \tfrac1n \ell'(f_i, y_i), \quad \delta_{ik} = a_k r_i \sigma'(z_{ik}) .

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Section 2, for the setting.

>>> from derivations.problem import Problem
>>> print(derive(Problem.two_layer(loss="square"), "gradient-flow"))
Gradient flow
    da/dt[k] = -sum(r[i]*sigma(z[i,k]), i=1..n)
    dw/dt[k,l] = -sum(delta[i,k]*x[i,l], i=1..n)
  where
    z[i,k] = sum(w[k,l]*x[i,l], l=1..d)
    f[i] = sum(a[k]*sigma(z[i,k]), k=1..m)
    r[i] = (f[i] - y[i])/n
    delta[i,k] = a[k]*r[i]*sigma'(z[i,k])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sympy import Add, Expr, Integer, Mul

from derivations.coordinates import derive_balanced, derive_norm_direction, derive_per_neuron
from derivations.derivation import Derivation, Equation
from derivations.errors import nearest
from derivations.euler import derive_euler
from derivations.explicit import explicit
from derivations.gauss_newton import derive_gauss_newton
from derivations.indexed import isum
from derivations.jacobian import derive_jacobian
from derivations.latex import latex
from derivations.latex_names import Partial
from derivations.output_dynamics import derive_ntk, derive_output_dynamics
from derivations.problem import Problem
from derivations.second_order import derive_hessian
from derivations.small_weights import derive_small_weights
from derivations.tangent_map import derive_hessian_vector, derive_tangent_map
from derivations.vocabulary import assemble, bound_loss, dot, entry, expanded

__all__ = ["DERIVERS", "WHATS", "Derivation", "Equation", "derive", "explicit"]


def derive(problem: Problem, what: str) -> Derivation:
    """Return the equations called ``what``.

    Parameters
    ----------
    problem : Problem
        Sizes stay symbolic.
    what : str
        A key of ``DERIVERS``; at least those in ``WHATS``.

    Returns
    -------
    Derivation
        Equations, definitions and conventions.

    Raises
    ------
    ValueError
        If ``what`` is unknown; the message names the nearest.
    """
    if what not in DERIVERS:
        raise ValueError(f"no derivation '{what}'{nearest(what, DERIVERS)} Known: {', '.join(DERIVERS)}")
    return DERIVERS[what](problem)


def derive_risk(problem: Problem) -> Derivation:
    """Return the statement of the problem: pre-activations, output, risk."""
    equations = [
        Equation(entry(u.tensor, u.indices), u.expr) for u in problem.system if u.tensor != problem.risk
    ]
    risk = bound_loss(problem, _risk(problem))
    equations.append(Equation(problem.risk(), risk))
    size = r"\mathbb{R}^{n \times o}" if problem.vector_output else r"\mathbb{R}^n"
    notes = [rf"The data are $x \in \mathbb{{R}}^{{n \times d}}$ and $y \in {size}$."]
    return assemble(problem, "risk", "Model and risk", equations, notes, defined=False)


def _risk(problem: Problem) -> Expr:
    """Return the risk with its penalty written as one factor times the squared norm."""
    loss = replace(problem, weight_decay=Integer(0)).system[problem.risk].expr
    if problem.weight_decay == 0:
        return loss
    squares = [isum(entry(b.tensor, b.indices) ** 2, *b.indices) for b in problem.blocks]
    return Add(loss, Mul(problem.weight_decay / 2, Add(*squares), evaluate=False), evaluate=False)


def derive_gradient(problem: Problem) -> Derivation:
    """Return the gradient of the risk in every block."""
    equations = [
        Equation(
            Partial("R", b.tensor)[b.indices] if b.indices else Partial("R", b.tensor)(),
            _gradient(problem, b.name),
        )
        for b in problem.blocks
    ]
    return assemble(problem, "gradient", "Gradient of the risk", equations, _normalisation(problem))


def derive_gradient_flow(problem: Problem) -> Derivation:
    """Return the gradient flow, with the rate of each block; frozen blocks stand still."""
    equations = []
    for b in problem.blocks:
        rhs = expanded(-b.rate, _gradient(problem, b.name)) if b.trained else Integer(0)
        equations.append(Equation(entry(dot(b.tensor), b.indices), rhs))
    notes = [*_time(problem), *_normalisation(problem)]
    return assemble(problem, "gradient-flow", "Gradient flow", equations, notes)


def derive_critical_equations(problem: Problem) -> Derivation:
    """Return the equations of a critical point of the risk in the trained blocks."""
    equations = [Equation(Integer(0), _gradient(problem, b.name)) for b in problem.blocks if b.trained]
    notes = []
    if problem.freeze:
        notes.append(f"{_listed(problem.freeze)} held fixed, without an equation of its own.")
    return assemble(
        problem,
        "critical-equations",
        "Equations of critical points",
        equations,
        [*notes, *_normalisation(problem)],
    )


def _gradient(problem: Problem, name: str) -> Expr:
    return problem.derived[problem.gradient[name]].expr


def _time(problem: Problem) -> list[str]:
    trained = [b for b in problem.blocks if b.trained]
    rates = [b for b in trained if b.rate != 1]
    out = [
        r"Time has the unit for which $\dot\theta = -\nabla R(\theta)$"
        + ("." if not rates else ", except that")
    ]
    if rates:
        words = " and ".join(
            rf"$\dot{{\theta}} = -{latex(b.rate) if b.rate.is_Atom else '(' + latex(b.rate) + ')'} \nabla R$ "
            rf"in the block ${b.tensor.tex}$"
            for b in rates
        )
        out[0] += f" {words}."
    if problem.freeze:
        out.append(f"{_listed(problem.freeze)} not trained.")
    return out


def _normalisation(problem: Problem) -> list[str]:
    unit = "ic" if problem.vector_output else "i"
    if any(b.name == "c" for b in problem.blocks) and problem.vector_output:
        unit = "iu"
    factor = "" if problem.factor == 1 else f" and the factor ${latex(problem.factor)}$"
    kind = (
        rf"the mean over samples (the factor $1/n$){factor}"
        if problem.reduction == "mean"
        else f"the sum over samples{factor}"
    )
    return [rf"The weights $r_{{{unit}}} = \partial R / \partial f_{{{unit}}}$ contain {kind}."]


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"${name}$" for name in names)
    return f"The block {shown} is" if len(names) == 1 else f"The blocks {shown} are"


#: Derivations by name; other modules may add theirs.
DERIVERS: dict[str, Callable[[Problem], Derivation]] = {
    "risk": derive_risk,
    "gradient-flow": derive_gradient_flow,
    "gradient": derive_gradient,
    "hessian": derive_hessian,
    "critical-equations": derive_critical_equations,
    "ntk": derive_ntk,
    "jacobian": derive_jacobian,
    "gauss-newton": derive_gauss_newton,
    "output-dynamics": derive_output_dynamics,
    "per-neuron": derive_per_neuron,
    "norm-direction": derive_norm_direction,
    "balanced": derive_balanced,
    "euler": derive_euler,
    "small-weights": derive_small_weights,
    "hessian-vector": derive_hessian_vector,
    "tangent-map": derive_tangent_map,
}

#: The derivations that exist for every problem; the others need an assumption and say which.
WHATS = (
    "gradient-flow",
    "gradient",
    "hessian",
    "critical-equations",
    "ntk",
    "risk",
    "jacobian",
    "gauss-newton",
    "output-dynamics",
)
