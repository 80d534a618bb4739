r"""The constrained problems of the theory of homogeneous networks, and the statement of further ones.

* ``hard-margin``: :math:`\min \lVert\theta\rVert^2/2` subject to :math:`y_i f(x_i) \ge 1`, whose KKT directions attract the
  gradient flow of the exponential and logistic loss;
* ``correlation``: :math:`\max \sum_i y_i \cdot f(x_i)` on :math:`\lVert\theta\rVert = 1`, whose KKT points attract directions
  near the origin, and ``neuron-correlation``, its reduction to the incoming weights of one neuron,
  :math:`\max \sum_i y_i \sigma(u \cdot x_i)` on :math:`\lVert u\rVert = 1`;
* ``norm-constrained``: :math:`\min R(\theta)` subject to :math:`\lVert\theta\rVert^2 \le \rho^2`.

Source: Lyu, Li, arXiv:1906.05890, Section 4 (margin); Kumar, Haupt, arXiv:2402.09226 (neural correlation function).

>>> from derivations.problem import Problem
>>> print(constrained(Problem.two_layer("relu"), "neuron-correlation").lagrangian)
mu*(1 - Sum[_d1](u[_d1]**2))/2 + Sum[_n1](y[_n1]*sigma(z[_n1]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Add, Expr, Integer, Mul, Pow, Rational, S, Symbol, sympify

from derivations.constrained import Constrained, Constraint, squared_norm
from derivations.errors import AssumptionError
from derivations.generic import GenericFunction
from derivations.indexed import Entry, Index, ISum, Tensor, entries, isum
from derivations.problem import Block, Problem, d, n
from derivations.system import System

__all__ = ["WHICH", "constrained", "homogeneity"]

#: The built-in problems.
WHICH = ("hard-margin", "correlation", "neuron-correlation", "norm-constrained")

_I = Index("i", n)
_HALF = Rational(1, 2)


def constrained(
    problem: Problem,
    which: str = "hard-margin",
    *,
    objective: Expr | None = None,
    constraints: Sequence[Constraint] = (),
    maximise: bool = False,
    radius: Expr | int | None = None,
) -> Constrained:
    r"""Return the built-in problem ``which``, or the one stated by ``objective`` and ``constraints``.

    Parameters
    ----------
    problem : Problem
        Network, loss, conventions; frozen blocks are constants.
    which : str
        One of ``WHICH``; with an objective, a name for it.
    objective : Expr, optional
        Scalar expression in the leaves and definitions of ``problem.system``: ``problem.risk()``,
        ``isum(problem.output[i]**2, i)``.
    constraints : sequence of Constraint
        For an objective of one's own.
    maximise : bool
        Whether that objective is maximised.
    radius : Expr or int, optional
        Positive value of rho for ``norm-constrained``, a symbol by default.

    Returns
    -------
    Constrained
        With its Lagrangian and gradient still symbolic in all sizes.

    Raises
    ------
    ValueError
        If ``which`` is unknown, constraints come without an objective, or the problem does not fit.
    AssumptionError
        If the network correlation is asked for where homogeneity is not proved.
    """
    if objective is not None:
        stated = "Maximise" if maximise else "Minimise"
        name = "constrained" if which in WHICH else which
        return _stated(
            problem,
            name,
            f"{stated} the objective subject to the constraints",
            objective,
            constraints,
            maximise,
        )
    if which not in WHICH:
        raise ValueError(
            f"no constrained problem '{which}'; known: {', '.join(WHICH)}, or state objective and constraints"
        )
    if constraints:
        raise ValueError(f"constraints without an objective: '{which}' has its own; state objective as well")
    if problem.vector_output and which in ("hard-margin", "neuron-correlation"):
        raise AssumptionError(
            f"{which} needs one output with labels y_i, this problem has o outputs; use a problem with scalar output"
        )
    if which == "norm-constrained":
        return _norm_constrained(problem, radius)
    if radius is not None:
        raise ValueError(f"'{which}' has no radius; it belongs to norm-constrained")
    built = {"hard-margin": _hard_margin, "correlation": _correlation, "neuron-correlation": _neuron}
    return built[which](problem)


def _stated(
    problem: Problem,
    name: str,
    statement: str,
    objective: Expr,
    constraints: Sequence[Constraint],
    maximise: bool = False,
    degree: Expr | None = None,
) -> Constrained:
    trained = tuple(b for b in problem.blocks if b.trained)
    return Constrained(
        problem, name, statement, problem.system, trained, objective, tuple(constraints), maximise, degree
    )


def _hard_margin(problem: Problem) -> Constrained:
    trained = [b for b in problem.blocks if b.trained]
    margin = problem.y[_I] * problem.output[_I]
    rule = Constraint(margin, ">=", Integer(1), Tensor("lambda", (n,), r"\lambda"), (_I,))
    text = r"Minimise $\frac{1}{2} \lVert\theta\rVert^2$ subject to $y_i f_i \ge 1$, with labels $y_i \in \{-1, 1\}$"
    degree = homogeneity(problem)
    return _stated(problem, "hard-margin", text, squared_norm(trained) / 2, [rule], degree=degree)


def _sphere(blocks: Sequence[Block], sign: str = "=", radius: Expr = S.One) -> Constraint:
    return Constraint(squared_norm(blocks), sign, radius, Symbol("mu", real=True), scale=_HALF)


def _correlation(problem: Problem) -> Constrained:
    degree = homogeneity(problem)
    if degree is None:
        raise AssumptionError(
            f"the neural correlation on the sphere needs an output that is homogeneous in the trained blocks, got "
            f"{_network(problem)} with {', '.join(b.name for b in problem.blocks)}: choose relu, leaky relu or a monomial and leave out output biases "
            "and the biases of deep networks"
        )
    trained = [b for b in problem.blocks if b.trained]
    out = tuple(Index("c", dim) for dim in problem.output.dims[1:])
    objective = isum(problem.y[(_I, *out)] * problem.output[(_I, *out)], _I, *out)
    inner = "y_i^{\\top} f_i" if problem.vector_output else "y_i f_i"
    text = rf"Maximise the neural correlation $\mathcal{{N}}(\theta) = \sum_{{i=1}}^{{n}} {inner}$ on $\lVert\theta\rVert^2 = 1$"
    return _stated(problem, "correlation", text, objective, [_sphere(trained)], True, degree)


def _network(problem: Problem) -> str:
    if problem.kind in ("formula", "diagonal"):
        return f"a {problem.kind} model"
    return problem.activation.name if problem.activation else "a general activation"


def _neuron(problem: Problem) -> Constrained:
    if problem.kind != "two_layer":
        raise AssumptionError(
            "neuron-correlation is about one hidden neuron of a two-layer network; use 'correlation'"
        )
    degree = problem.activation.homogeneity_degree if problem.activation else None
    if degree is None:
        raise AssumptionError(
            "the correlation of one neuron needs a homogeneous activation, z sigma'(z) = p sigma(z), got "
            f"{problem.activation.name if problem.activation else 'a general one'}; choose relu, leaky relu or a monomial"
        )
    l, u, z = Index("l", d), Tensor("u", (d,)), Tensor("z", (n,))
    blocks = [Block(u, (l,))] + ([Block(Tensor("b"), ())] if problem.input_bias else [])
    pre = Add(isum(u[l] * problem.x[_I, l], l), *[b.tensor() for b in blocks[1:]])
    system = System()
    for block in blocks:
        system = system.declare(block.tensor, block.indices)
    system = system.declare(problem.x, (_I, l)).declare(problem.y, (_I,)).define(z, (_I,), pre)
    objective = isum(problem.y[_I] * GenericFunction("sigma", (0,), z[_I]), _I)
    unknowns, what = ("u, b", "weights and bias") if problem.input_bias else ("u", "weights")
    text = rf"Maximise $G({unknowns}) = \sum_{{i=1}}^{{n}} y_i \sigma(z_i)$ over the incoming {what} of one neuron, of length 1"
    return Constrained(
        problem,
        "neuron-correlation",
        text,
        system,
        tuple(blocks),
        objective,
        (_sphere(blocks),),
        True,
        degree,
    )


def _norm_constrained(problem: Problem, radius: Expr | int | None) -> Constrained:
    rho = Symbol("rho", positive=True) if radius is None else sympify(radius, strict=True)
    if rho.is_positive is not True:
        raise ValueError(f"the radius is {radius}; a positive number or symbol is required")
    trained = [b for b in problem.blocks if b.trained]
    ball = _sphere(trained, "<=", rho**2)
    text = r"Minimise $R(\theta)$ subject to $\lVert\theta\rVert^2 \le \rho^2$"
    return _stated(problem, "norm-constrained", text, problem.risk(), [ball], degree=homogeneity(problem))


# -- homogeneity -----------------------------------------------------------------------------------------------------


def homogeneity(problem: Problem) -> Expr | None:
    """Return the degree L with f(x; c theta) = c^L f(x; theta) for c > 0 in the trained blocks, None if not shown.

    Read off the definitions: leaves have degree 1, data and frozen blocks 0, sigma multiplies by its own degree.

    >>> homogeneity(Problem.two_layer("relu", input_bias=True)), homogeneity(Problem.deep(3, "relu"))
    (2, None)
    """
    sigma = problem.activation.homogeneity_degree if problem.activation else None
    degrees: dict[Tensor, Expr] = {b.tensor: Integer(1 if b.trained else 0) for b in problem.blocks}
    for definition in problem.system:
        if definition.tensor == problem.risk:
            continue
        found = _degree(definition.expr, degrees, sigma)
        if found is None:
            return None
        degrees[definition.tensor] = found
    return degrees[problem.output]


def _degree(expr: Expr, known: Mapping[Tensor, Expr], sigma: Expr | None) -> Expr | None:
    if isinstance(expr, Entry):
        return known.get(expr.tensor, Integer(0))
    if isinstance(expr, ISum):
        return _degree(expr.body, known, sigma)
    if isinstance(expr, GenericFunction):
        inner = _degree(expr.arguments[0], known, sigma)
        if inner is None or (inner != 0 and sigma is None):
            return None
        return Integer(0) if inner == 0 or sigma is None else inner * sigma
    if not any(True for _ in entries(expr)):
        return Integer(0)
    parts = [_degree(u, known, sigma) for u in expr.args]
    if any(part is None for part in parts):
        return None
    if isinstance(expr, Add):
        return parts[0] if all(part == parts[0] for part in parts) else None
    if isinstance(expr, Mul):
        return Add(*parts)
    if isinstance(expr, Pow) and parts[1] == 0:
        return parts[0] * expr.exp
    return Integer(0) if all(part == 0 for part in parts) else None
