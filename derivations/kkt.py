r"""The Karush-Kuhn-Tucker system of a constrained problem, with second-order conditions, as a paper prints it.

Lagrangian, stationarity, feasibility, complementary slackness, the critical cone and the curvature of the Lagrangian on it
are derived from the objective and the constraints; for the hard margin of a two-layer network

.. math::
    a_k = \sum_i \lambda_i y_i \sigma(z_{ik}), \quad w_k = a_k \sum_i \lambda_i y_i \sigma'(z_{ik}) x_i, \quad
    y_i f_i \ge 1, \quad \lambda_i \ge 0, \quad \lambda_i (y_i f_i - 1) = 0 .

Source: Lyu, Li, arXiv:1906.05890, Theorem 4.4 and Appendix C; second order: Nocedal, Wright, *Numerical Optimization*, 2006,
Theorems 12.5 and 12.6.

>>> from derivations.problem import Problem
>>> print(kkt(Problem.two_layer("relu"), second_order=False))
KKT conditions of the hard-margin problem
    L = (sum(a[k]**2, k=1..m) + sum(sum(w[k,l]**2, l=1..d), k=1..m))/2 + sum((-f[i]*y[i] + 1)*lambda[i], i=1..n)
    a[k] = sum(lambda[i]*y[i]*sigma(z[i,k]), i=1..n)
    w[k,l] = a[k]*sum(lambda[i]*y[i]*x[i,l]*sigma'(z[i,k]), i=1..n)
    f[i]*y[i] >= 1
    lambda[i] >= 0
    (f[i]*y[i] - 1)*lambda[i] = 0
  where
    z[i,k] = sum(w[k,l]*x[i,l], l=1..d)
    f[i] = sum(a[k]*sigma(z[i,k]), k=1..m)
    sigma(z) = relu(z)
    sigma'(z) = step(z, 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sympy import Add, Eq, Expr, Ge, Integer, Le, Mul, Rational

from derivations.activations import Z
from derivations.almost_everywhere import has_jump
from derivations.constrained import Constrained, along, lagrangian_curvature, tangents
from derivations.constrained_problems import constrained
from derivations.derivation import Derivation, Equation
from derivations.functions import relu, step
from derivations.indexed import Entry, ISum, Tensor, entries, replace_leaves
from derivations.latex import latex
from derivations.latex_lines import TEXT_WIDTH, Row
from derivations.plain import plain
from derivations.problem import Block, Problem
from derivations.vocabulary import assemble, bound_loss, entry, expanded

__all__ = ["Conditions", "Relation", "kkt", "stationarity"]

_SYMPY = {"=": Eq, "<=": Le, ">=": Ge}
_TEX = {"<=": r"\le", ">=": r"\ge"}


@dataclass(frozen=True)
class Relation(Equation):
    """``lhs sign rhs`` with sign ``=``, ``<=`` or ``>=``."""

    sign: str = "="

    @property
    def sympy(self) -> Any:
        """The unevaluated SymPy relation."""
        return _SYMPY[self.sign](self.lhs, self.rhs, evaluate=False)


@dataclass(frozen=True)
class Conditions(Derivation):
    r"""A derivation whose equations may be inequalities.

    The display knows equality signs only: another sign is handed over in braces at the beginning of the right-hand side,
    ``a = {\ge} b``, and put in the place of the equality sign afterwards.
    """

    def rows(self, equations: Sequence[Equation]) -> list[Row]:
        """Return both sides of each equation as LaTeX, a sign other than = in braces."""
        shown = [replace(e, lhs=_multiplier_first(e.lhs), rhs=_multiplier_first(e.rhs)) for e in equations]
        out = []
        for row, e in zip(super().rows(shown), equations, strict=True):
            sign = _TEX.get(getattr(e, "sign", "="))
            out.append(replace(row, right=f"{{{sign}}} {row.tex}") if sign else row)
        return out

    def latex(self, width: float = TEXT_WIDTH) -> str:
        """Return the ``align`` of the conditions and, after the word where, that of the definitions."""
        return _with_signs(super().latex(width))

    def _repr_latex_(self) -> str:
        return _with_signs(super()._repr_latex_())

    def _plain(self, equations: Sequence[Equation]) -> list[str]:
        out = []
        for e in equations:
            text = f"    {self._text(e, e.lhs)} {getattr(e, 'sign', '=')} {self._text(e, e.rhs)}"
            out.append(text + (f"  {e.when}" if e.when else ""))
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; every relation carries its sign."""
        out = super().to_dict()
        for listed, equations in ((out["equations"], self.system), (out["where"], self.where)):
            for item, e in zip(listed, equations, strict=True):
                item["latex"] = _with_signs(item["latex"])
                item["sign"] = getattr(e, "sign", "=")
        return out


def _with_signs(tex: str) -> str:
    for sign in _TEX.values():
        tex = tex.replace(f"= {{{sign}}} ", f"{sign} ")
    return tex


def _multiplier_first(expr: Expr) -> Expr:
    """Rename lambda for print so that it stands before the labels: factors are printed by the names of their tensors."""
    found = {e.tensor for e in entries(expr) if e.tensor.name == "lambda"}
    return replace_leaves(
        expr, {t: (lambda *u, t=t: Entry(Tensor(" lambda", t.dims, t.tex), *u)) for t in found}
    )


def kkt(
    problem: Problem | Constrained, which: str = "hard-margin", *, second_order: bool = True
) -> Conditions:
    r"""Return the KKT conditions of a constrained problem, all sizes symbolic.

    Parameters
    ----------
    problem : Problem or Constrained
        A problem together with ``which``, or a constrained problem of one's own.
    which : str
        ``hard-margin``, ``correlation``, ``neuron-correlation`` or ``norm-constrained``.
    second_order : bool
        Whether the critical cone and the curvature of the Lagrangian, :math:`Q(v) = \nabla^2 \mathcal{L}[v, v]`, follow.

    Returns
    -------
    Conditions
        Lagrangian, stationarity in each block, feasibility, complementary slackness, second order; the notes state the
        problem, what homogeneity implies, and the meaning at kinks.

    Raises
    ------
    ValueError, AssumptionError
        As ``constrained``.
    """
    given = problem if isinstance(problem, Constrained) else constrained(problem, which)
    rows: list[Equation] = [
        Equation(Tensor("L", (), r"\mathcal{L}")(), bound_loss(given.problem, _lagrangian(given)))
    ]
    rows += [stationarity(given, b) for b in given.variables]
    for c in given.constraints:
        rows.append(Relation(c.left, c.right, sign=c.sign))
        if c.sign != "=":
            rows += [Relation(c.value, Integer(0), sign=">="), _against_zero(c.value * c.gap)]
    extra: list[Equation] = []
    if second_order:
        cone, extra = _second_order(given)
        rows += cone
    where = [*_definitions(given, [side for e in (*rows, *extra) for side in (e.lhs, e.rhs)]), *extra]
    notes = [f"{given.statement}.", *_consequences(given), *_at_kinks(given), *_at_kinks_of_the_loss(given)]
    if second_order:
        notes += _second_order_notes(given)
    title = f"KKT conditions of the {given.name} problem"
    found = assemble(given.problem, "kkt", title, rows, notes, extra=where, defined=False)
    values = {f.name: getattr(found, f.name) for f in fields(found)}
    # No value of sigma'(0) is agreed on: the condition at a kink is that of Clarke.
    values["notes"] = tuple(
        u for u in found.notes if not u.startswith(("The activation has a kink", "The loss has a kink"))
    )
    if given.name == "neuron-correlation":
        values["notes"] = tuple(_of_one_neuron(u) for u in values["notes"])
    return Conditions(**values)


def _of_one_neuron(note: str) -> str:
    """Take the neuron index out of the sentence on indices."""
    return note.replace(r", neurons $k = 1, \dots, m$", "").replace("weights $w_k$", "weights $u$")


def _lagrangian(given: Constrained) -> Expr:
    """Return the Lagrangian in the form that prints best: 1/2 (...) for half a squared norm."""
    objective = given.objective
    if given.is_norm:
        objective = Mul(Rational(1, 2), given.squared_norm, evaluate=False)
    return Add(objective, *[c.term(given.maximise) for c in given.constraints], evaluate=False)


def stationarity(given: Constrained, block: Block) -> Equation:
    """Return c theta = rest where the gradient of the Lagrangian is +-(c theta - rest), else 0 = gradient."""
    gradient = given.derived.inline(given.derived[given.gradient[block.name]].expr, keep=_kept(given))
    own = entry(block.tensor, block.indices)
    multipliers = {c.multiplier for c in given.constraints}
    factor: Expr = Integer(0)
    rest = []
    for term in Add.make_args(gradient):
        coefficient = term / own
        if {u.tensor for u in entries(coefficient)} <= multipliers and not coefficient.has(ISum):
            factor += coefficient
        else:
            rest.append(term)
    if factor == 0:
        return Equation(Integer(0), gradient)
    if factor.could_extract_minus_sign():
        return Equation(-factor * own, Add(*rest))
    return Equation(factor * own, expanded(Integer(-1), Add(*rest)))


def _kept(given: Constrained) -> list[Tensor]:
    """Return the names that stay: all but the adjoints, which stay where the risk or a deep network needs them."""
    risk = any(e.tensor == given.problem.risk for e in entries(given.objective))
    adjoints = set() if risk else {"r", "delta"}  # those of a deep network are called delta1, delta2, ...
    return [u.tensor for u in given.derived if u.tensor.name not in adjoints and u.tensor.name != "bar_R"]


def _definitions(given: Constrained, roots: Sequence[Expr]) -> list[Equation]:
    kept = _kept(given)
    needed = {e.tensor for root in roots for e in entries(root)} - {given.problem.risk}
    found = []
    for definition in reversed(given.derived.definitions):
        if definition.tensor in needed:
            expr = given.derived.inline(definition.expr, keep=kept)
            needed |= {e.tensor for e in entries(expr)} - {given.problem.risk}
            found.append(
                Equation(entry(definition.tensor, definition.indices), bound_loss(given.problem, expr))
            )
    return found[::-1]


def _second_order(given: Constrained) -> tuple[list[Equation], list[Equation]]:
    """Return the critical cone with the curvature, and the definitions of the directional derivatives used."""
    first, second, dots, _ = tangents(given)
    rows: list[Equation] = []
    for c in given.constraints:
        slope = c.scale * along(c.gap, dots)
        if c.sign == "=":
            rows.append(_against_zero(slope))
            continue
        multiplier, left, right = (latex(_multiplier_first(u)) for u in (c.value, c.left, c.right))
        active = (
            r"\text{ and the constraint is active}"
            if c.left.has(ISum)
            else rf"\text{{ and }} {left} = {right}"
        )
        name = str(plain(c.value))
        rows += [
            _against_zero(slope, condition=rf"\text{{if }} {multiplier} > 0", when=f"if {name} > 0"),
            _against_zero(
                slope,
                c.sign,
                condition=rf"\text{{if }} {multiplier} = 0 {active}",
                when=f"if {name} = 0 and the constraint is active",
            ),
        ]
    curvature = lagrangian_curvature(given)
    form = Tensor("Q", (), "Q(v)")()
    rows.append(Equation(form, curvature))
    bound = "<=" if given.maximise else ">="
    rows.append(Relation(form, Integer(0), sign=bound))
    needed = {e.tensor for row in rows for side in (row.lhs, row.rhs) for e in entries(side)}
    extra = []
    for definition in [*reversed(second.values()), *reversed(first.values())]:
        if definition.tensor in needed:
            needed |= {e.tensor for e in entries(definition.expr)}
            rhs = bound_loss(given.problem, definition.expr)
            extra.append(Equation(entry(definition.tensor, definition.indices), rhs))
    return rows, extra[::-1]


def _against_zero(expr: Expr, sign: str = "=", *, condition: str = "", when: str = "") -> Relation:
    """Return ``expr sign 0``; long expressions, those with a sum, stand on the right-hand side, where lines may break."""
    if not expr.has(ISum):
        return Relation(expr, Integer(0), condition, when, sign)
    mirrored = {"=": "=", "<=": ">=", ">=": "<="}[sign]
    return Relation(Integer(0), expr, condition, when, mirrored)


# -- what the notes say ----------------------------------------------------------------------------------------------


def _consequences(given: Constrained) -> list[str]:
    """State what Euler's identity, the product of the stationarity equations with theta, gives."""
    p = given.degree
    if p is None:
        return []
    factor = "" if p == 1 else latex(p) + " "
    if given.name == "hard-margin":
        result = rf"\lVert\theta\rVert^2 = {factor}\sum_{{i=1}}^{{n}} \lambda_i"
    elif given.name == "correlation":
        result = rf"\mu = {factor}\mathcal{{N}}(\theta)"
    elif given.name == "neuron-correlation":
        result = rf"\mu = {factor}G({'u, b' if given.problem.input_bias else 'u'})"
    else:
        return []
    return [
        rf"The network is homogeneous of degree ${latex(p)}$ in these parameters, hence ${result}$ at every KKT point."
        if given.name != "neuron-correlation"
        else rf"The activation is homogeneous of degree ${latex(p)}$, hence ${result}$ at every KKT point."
    ]


def _at_kinks(given: Constrained) -> list[str]:
    sigma = given.problem.activation
    if any(u.expr.has(relu, step) for u in given.system):
        return [
            r"Where the argument of a positive part vanishes, its derivative $\mathbf{1}\{\cdot > 0\}$ stands for a number in $[0, 1]$; "
            "with several such arguments the Clarke subdifferential may be smaller than what all these numbers give."
        ]
    if sigma is None or sigma.is_smooth:
        return []
    if sigma.homogeneity_degree != 1:
        if not has_jump(sigma.derivative(1)):
            return []  # the derivative has no jump
        return [
            r"At a kink $\sigma'$ stands for a number between its limits from the two sides (Clarke); these numbers belong to one "
            "convex combination of the activation patterns that occur around the point."
        ]
    slopes = sorted((sigma.derivative(1).subs(Z, s) for s in (-1, 1)), key=float)
    interval = f"[{', '.join(latex(u) for u in slopes)}]"
    if given.problem.kind != "two_layer":
        return [
            rf"At a kink $\sigma'$ stands for a number in ${interval}$; the Clarke subdifferential of the network may be smaller "
            "than what all these numbers give."
        ]
    z = "z_i" if given.name == "neuron-correlation" else "z_{ik}"
    out = [rf"Where ${z} = 0$, $\sigma'({z})$ stands for a number $t \in {interval}$ of that pair (Clarke)."]
    if given.name == "hard-margin":
        return [
            *out,
            r"This is exact: each $y_i f_i$ has a subdifferential of its own, and its neurons have separate weights.",
        ]
    return [
        *out,
        "This is exact where the inputs on the kink of a neuron are linearly independent; otherwise the numbers must come from one "
        "convex combination of the activation patterns that occur around the point.",
    ]


def _at_kinks_of_the_loss(given: Constrained) -> list[str]:
    loss = given.problem.loss
    if given.name != "norm-constrained" or loss is None or not loss.has_kink:
        return []
    return [
        r"Where an output meets a kink of the loss, $r$ there stands for a number between its limits from the two sides (Clarke)."
    ]


def _second_order_notes(given: Constrained) -> list[str]:
    kind, weak, strict = ("maximum", r"\le", "<") if given.maximise else ("minimum", r"\ge", ">")
    out = [
        r"A dot is the derivative along the direction $v$; the relations with a dot but $Q$ are the critical cone.",
        rf"A local {kind} at which the gradients of the active constraints are linearly independent has $Q(v) {weak} 0$ on this "
        rf"cone; a KKT point with $Q(v) {strict} 0$ for all its $v \neq 0$ is a strict local {kind}.",
    ]
    sigma = given.problem.activation
    kinked = (sigma is not None and not sigma.is_smooth) or any(u.expr.has(relu, step) for u in given.system)
    if kinked or _at_kinks_of_the_loss(given):
        out.append("The second-order conditions are stated for points on no kink.")
    return out
