r"""A constrained problem stated by formulas: objective, equalities and inequalities in named parameters.

.. math::
    \min_x F(x) \quad\text{subject to}\quad h_e(x) = 0,\ g_j(x) \le 0, \qquad
    \mathcal{L} = F + \sum_e \mu_e h_e + \sum_j \lambda_j g_j,\ \lambda_j \ge 0,

the signs of the multiplier terms being reversed for a maximum and for ``>=``.  Formulas may contain relu, abs, max and min; where
such a kink meets the point, stationarity is that of Clarke, each gradient being taken from the hull of limiting gradients.

Source: Nocedal, Wright, *Numerical Optimization*, 2006, Theorems 12.1, 12.5 and 12.6; Clarke, *Optimization and Nonsmooth
Analysis*, 1983, Theorem 6.1.1.

>>> problem = stated("x**2 + y**2", ["x", "y"], equalities=["x + y = 1"], inequalities=["x >= 0"])
>>> print(stated_conditions(problem, second_order=False))
KKT conditions of the stated problem
    L = -lambda_1*x + mu_1*(x + y - 1) + x**2 + y**2
    0 = -lambda_1 + mu_1 + 2*x
    0 = mu_1 + 2*y
    x + y = 1
    x >= 0
    lambda_1 >= 0
    lambda_1*x = 0
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Abs, Add, Expr, Integer, Mul, Piecewise, Symbol, expand, sign

from derivations.almost_everywhere import derivative_almost_everywhere, without_max
from derivations.derivation import Equation
from derivations.errors import FormulaError
from derivations.formula import parse_formula
from derivations.functions import relu, step
from derivations.kkt import Conditions, Relation

__all__ = ["Stated", "StatedConstraint", "stated", "stated_conditions"]

_SIGN = re.compile(r"<=|>=|==|=|<|>")


@dataclass(frozen=True)
class StatedConstraint:
    """``left sign right`` with the name of its multiplier."""

    left: Expr
    sign: str
    right: Expr
    multiplier: Symbol

    @property
    def gap(self) -> Expr:
        """``left - right``."""
        return self.left - self.right

    @property
    def excess(self) -> Expr:
        """What must be 0, or at most 0: the gap, with the opposite sign for ``>=``."""
        return -self.gap if self.sign == ">=" else self.gap


@dataclass(frozen=True)
class Stated:
    """A constrained problem in scalar unknowns.

    Parameters
    ----------
    unknowns : tuple of Symbol
        In the order of all vectors.
    objective : Expr
        To be minimised, or maximised.
    constraints : tuple of StatedConstraint
        Equalities first, their multipliers mu; then inequalities, their multipliers lambda.
    maximise : bool
        Whether the objective is maximised.
    """

    unknowns: tuple[Symbol, ...]
    objective: Expr
    constraints: tuple[StatedConstraint, ...] = ()
    maximise: bool = False

    @property
    def cost(self) -> Expr:
        """What is minimised: the objective, or its negative."""
        return -self.objective if self.maximise else self.objective

    @property
    def lagrangian(self) -> Expr:
        """Objective plus the multiplier terms, minus them for a maximum."""
        terms = []
        for c in self.constraints:
            factor = -c.excess if self.maximise else c.excess
            terms.append(Mul(c.multiplier, factor, evaluate=not factor.is_Add))
        return Add(self.objective, *terms)


def stated(
    objective: str,
    unknowns: Sequence[str],
    *,
    equalities: Sequence[str] = (),
    inequalities: Sequence[str] = (),
    maximise: bool = False,
    given: Mapping[str, Expr] | None = None,
) -> Stated:
    """Return the problem stated by formulas.

    Parameters
    ----------
    objective : str
        A formula in the unknowns.
    unknowns : sequence of str
        Their names.
    equalities : sequence of str
        ``"x + y = 1"``; ``"x + y - 1"`` stands for the same.
    inequalities : sequence of str
        ``"x <= 1"`` or ``"x >= 0"``.
    maximise : bool
        Whether the objective is maximised.
    given : mapping, optional
        Expressions in the unknowns that formulas may name: the risk R of a network, its outputs.

    Raises
    ------
    FormulaError
        If a formula is refused, a relation is missing or strict, a name is taken twice, or nothing is unknown.
    """
    symbols = _symbols(unknowns, given or {}, len(equalities), len(inequalities))
    names = {**symbols, **(given or {})}
    parts = [_relation(text, names, ("=",), f"mu_{j}") for j, text in enumerate(equalities, start=1)]
    parts += [_relation(t, names, ("<=", ">="), f"lambda_{j}") for j, t in enumerate(inequalities, start=1)]
    found = Stated(
        tuple(symbols.values()), _lipschitz(parse_formula(objective, names)), tuple(parts), maximise
    )
    used = set().union(found.objective.free_symbols, *(c.gap.free_symbols for c in found.constraints))
    if unused := [u for u in found.unknowns if u not in used]:
        raise FormulaError(
            f"the parameters {', '.join(map(str, unused))} occur neither in the objective nor in a constraint; leave them out"
        )
    return found


def _symbols(
    unknowns: Sequence[str], given: Mapping[str, Expr], equalities: int, inequalities: int
) -> dict[str, Symbol]:
    if not unknowns:
        raise FormulaError("a constrained problem needs parameters, and none is named")
    multipliers = {f"mu_{j + 1}" for j in range(equalities)} | {
        f"lambda_{j + 1}" for j in range(inequalities)
    }
    taken = multipliers | set(given) | {"L", "Q"}
    for name in unknowns:
        if list(unknowns).count(name) > 1:
            raise FormulaError(f"'{name}' is named twice; parameters have different names")
        if name in taken or name.startswith("v_"):
            raise FormulaError(f"'{name}' is a name the KKT conditions use themselves; choose another")
    return {name: Symbol(name, real=True) for name in unknowns}


def _relation(
    text: str, names: Mapping[str, Expr], accepted: tuple[str, ...], multiplier: str
) -> StatedConstraint:
    found = _SIGN.findall(text)
    wanted = " or ".join(f"'{u}'" for u in accepted)
    if not found and accepted == ("=",):
        left, mark, right = text, "=", "0"
    elif len(found) != 1 or found[0] not in accepted:
        what = f"the signs {', '.join(found)}" if found else "no relation sign"
        strict = " (a strict inequality has no closed feasible set)" if set(found) & {"<", ">"} else ""
        raise FormulaError(
            f"the constraint '{text}' has {what}{strict}; accepted is one {wanted} between two formulas"
        )
    else:
        left, mark, right = text.partition(found[0])
    sides = [_lipschitz(parse_formula(side.strip(), names)) for side in (left, right)]
    if not (sides[0] - sides[1]).free_symbols:
        raise FormulaError(f"the constraint '{text}' contains no parameter; leave it out")
    return StatedConstraint(sides[0], mark, sides[1], Symbol(multiplier, real=True))


def _lipschitz(expr: Expr) -> Expr:
    """Refuse jumps; write max and min by positive parts."""
    if expr.has(step, sign, Piecewise):
        raise FormulaError(
            f"'{expr}' has a jump; KKT conditions need formulas that are continuous: relu, abs, max, min"
        )
    return without_max(expr)


# -- the conditions, printed -----------------------------------------------------------------------------------------


def stated_conditions(problem: Stated, *, second_order: bool = True) -> Conditions:
    """Return Lagrangian, stationarity, feasibility, complementary slackness, and the second-order conditions."""
    lagrangian = problem.lagrangian
    rows: list[Equation] = [Equation(Symbol("L"), lagrangian)]
    for u in problem.unknowns:
        rows.append(Equation(Integer(0), expand(derivative_almost_everywhere(lagrangian, u))))
    for c in problem.constraints:
        rows.append(Relation(c.left, c.right, sign=c.sign))
        if c.sign != "=":
            rows += [
                Relation(c.multiplier, Integer(0), sign=">="),
                Relation(Mul(c.multiplier, c.gap, evaluate=False), Integer(0)),
            ]
    notes = [_sentence(problem), *_kinks(problem)]
    if second_order:
        rows += _second_order(problem)
        notes += _second_order_notes(problem)
    return Conditions("kkt", "KKT conditions of the stated problem", tuple(rows), (), tuple(notes), hide=())


def _second_order(problem: Stated) -> list[Equation]:
    directions = {u: Symbol(f"v_{u.name}", real=True) for u in problem.unknowns}

    def slope(expr: Expr) -> Expr:
        return Add(*[derivative_almost_everywhere(expr, u) * v for u, v in directions.items()])

    rows: list[Equation] = []
    for c in problem.constraints:
        along = expand(slope(c.gap))
        if c.sign == "=":
            rows.append(Relation(along, Integer(0)))
            continue
        name = c.multiplier.name
        tex = name.replace("lambda", r"\lambda")
        rows += [
            Relation(along, Integer(0), rf"\text{{if }} {tex} > 0", f"if {name} > 0"),
            Relation(
                along,
                Integer(0),
                rf"\text{{if }} {tex} = 0 \text{{ and the constraint is active}}",
                f"if {name} = 0 and the constraint is active",
                c.sign,
            ),
        ]
    form = Symbol("Q")
    curvature = expand(slope(slope(problem.lagrangian)))
    rows += [Equation(form, curvature), Relation(form, Integer(0), sign="<=" if problem.maximise else ">=")]
    return rows


def _sentence(problem: Stated) -> str:
    verb = "Maximise" if problem.maximise else "Minimise"
    return (
        f"{verb} the objective subject to the constraints."
        if problem.constraints
        else f"{verb} the objective."
    )


def _kinks(problem: Stated) -> list[str]:
    if not any(u.has(relu, Abs) for u in _functions(problem)):
        return []
    return [
        r"Where the argument of a positive part or an absolute value vanishes, the derivatives are those of Clarke: any element of "
        "the hull of the limiting gradients of each function."
    ]


def _functions(problem: Stated) -> list[Expr]:
    return [problem.objective, *(c.gap for c in problem.constraints)]


def _second_order_notes(problem: Stated) -> list[str]:
    kind, weak, strict = ("maximum", r"\le", "<") if problem.maximise else ("minimum", r"\ge", ">")
    out = [
        r"The relations in the components $v$ of a direction but the last two are the critical cone; $Q$ is the curvature of the "
        "Lagrangian along $v$.",
        rf"A local {kind} at which the gradients of the active constraints are linearly independent has $Q {weak} 0$ on this cone; a "
        rf"KKT point with $Q {strict} 0$ for all its $v \neq 0$ is a strict local {kind}.",
    ]
    if _kinks(problem):
        out.append("The second-order conditions are stated for points on no kink.")
    return out


def values_of(problem: Stated, point: Mapping[str, Any]) -> dict[Symbol, Any]:
    """Return the value of each unknown from a mapping by name.

    Raises
    ------
    ValueError
        If a name is missing or unknown.
    """
    names = [u.name for u in problem.unknowns]
    if set(point) != set(names):
        raise ValueError(f"the point gives {', '.join(point)}; required are {', '.join(names)}")
    return {u: point[u.name] for u in problem.unknowns}
