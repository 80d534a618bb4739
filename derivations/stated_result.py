r"""The KKT conditions of a stated problem together with the points that solve them, in the forms that equations have.

>>> from derivations.stated import stated
>>> found = solved_conditions(stated("x + y", ["x", "y"], inequalities=["x**2 + y**2 <= 2"]))
>>> print(found.text().partition("  KKT points")[2])
: 1, PROVED to be all
    (x, y) = (-1, -1): value -2, lambda_1 = 1/2, global minimum
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sympy import CRootOf, Expr, latex, sstr

from derivations.claim import Status
from derivations.kkt import Conditions
from derivations.stated import Stated, stated_conditions
from derivations.stated_points import KKTPoint, KKTPoints, kkt_points

__all__ = ["SolvedConditions", "solved_conditions"]


@dataclass(frozen=True)
class SolvedConditions(Conditions):
    """KKT conditions of a stated problem, with its KKT points.

    Parameters
    ----------
    problem : Stated or None
        What was stated.
    points : KKTPoints or None
        The points; None where they are not solved for, and ``reason`` says why.
    reason : str
        Why there are no points.
    """

    problem: Stated | None = None
    points: KKTPoints | None = None
    reason: str = ""

    @property
    def status(self) -> Status:
        """PROVED where the list of points is shown to be complete, else UNDECIDED."""
        return Status.PROVED if self.points is not None and self.points.complete else Status.UNDECIDED

    def text(self) -> str:
        """Return the plain text: title, conditions, and the points."""
        return "\n".join([super().text(), *self._lines()])

    def _lines(self) -> list[str]:
        if self.points is None or self.problem is None:
            return [f"  KKT points: UNDECIDED, {self.reason}"]
        found = self.points
        count = len(found.points)
        known = "PROVED to be all" if found.complete else "UNDECIDED whether these are all"
        lines = [f"  KKT points: {count or 'none'}, {known}"]
        lines += [f"    {_point_text(self.problem, p)}" for p in found.points]
        for words, sets in (
            ("further KKT points, if any, satisfy", found.families),
            (
                "dependent gradients of active constraints, where a minimiser may be no KKT point:",
                found.dependent,
            ),
        ):
            lines += [f"    {words} {_equations(u)}" for u in sets]
        lines += [
            f"    no constraint qualification at {_names(self.problem)} = {_tuple(x)}, where a minimiser may be no KKT point"
            for x in found.abnormal
        ]
        return lines + [f"    not solved: {reason}" for reason in found.missing]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, with the points."""
        out = super().to_dict() | {"status": str(self.status), "points": []}
        if self.points is None or self.problem is None:
            return out | {"reason": self.reason}
        names = [u.name for u in self.problem.unknowns]
        for p in self.points.points:
            out["points"].append(
                {
                    "point": dict(zip(names, map(str, p.values), strict=True)),
                    "value": str(p.objective),
                    "multipliers": {name: str(value) for name, value in p.multipliers.items()},
                    "active": list(p.active),
                    "licq": p.licq,
                    "kinks": [str(u) for u in p.kinks],
                    "kind": p.kind,
                }
            )
        return out | {
            "families": [[str(u) for u in family] for family in self.points.families],
            "abnormal": [dict(zip(names, map(str, x), strict=True)) for x in self.points.abnormal],
            "dependent": [[str(u) for u in family] for family in self.points.dependent],
            "missing": list(self.points.missing),
        }


def solved_conditions(problem: Stated) -> SolvedConditions:
    """Return the conditions, and the points where the formulas let them be solved for exactly."""
    found = stated_conditions(problem)
    values = {f.name: getattr(found, f.name) for f in fields(found)}
    try:
        points = kkt_points(problem)
    except ValueError as error:
        return SolvedConditions(**values, problem=problem, reason=str(error))
    values["notes"] = (*found.notes, *_sentences(problem, points))
    return SolvedConditions(**values, problem=problem, points=points)


def _sentences(problem: Stated, found: KKTPoints) -> list[str]:
    """Return the points as LaTeX sentences."""
    names = latex(problem.unknowns[0]) if len(problem.unknowns) == 1 else _tex_tuple(problem.unknowns)
    known = "These are all KKT points" if found.complete else "Whether these are all KKT points is undecided"
    out = []
    for p in found.points:
        held = ", ".join(rf"${_multiplier(k)} = {latex(v)}$" for k, v in p.multipliers.items())
        place = latex(p.values[0]) if len(p.values) == 1 else _tex_tuple(p.values)
        out.append(f"KKT point ${names} = {place}$" + (f" with {held}" if held else "") + f": {_kind(p)}.")
    for family in found.families:
        shown = ", ".join(f"{latex(u)} = 0" for u in family) or "the whole space"
        out.append(f"Further KKT points, if any, satisfy ${shown}$.")
    for x in found.abnormal:
        place = latex(x[0]) if len(x) == 1 else _tex_tuple(x)
        out.append(
            f"At ${names} = {place}$ no constraint qualification holds; a minimiser there may be no KKT point."
        )
    return [
        *out,
        f"{known}." if found.points else "There is no KKT point." if found.complete else f"{known}.",
    ]


def _kind(p: KKTPoint) -> str:
    words = p.kind if p.kind != "undecided" else "not decided by second-order conditions"
    return words + ("; the gradients of the active constraints are dependent" if p.licq is False else "")


def _point_text(problem: Stated, p: KKTPoint) -> str:
    parts = [f"value {_number(p.objective)}"]
    parts += [*(f"{name} = {_number(value)}" for name, value in p.multipliers.items()), p.kind]
    parts += ["no LICQ"] if p.licq is False else []
    parts += [f"on the kink {', '.join(f'{u} = 0' for u in p.kinks)}"] if p.kinks else []
    return f"{_names(problem)} = {_tuple(p.values)}: {', '.join(parts)}"


def _names(problem: Stated) -> str:
    return _tuple(problem.unknowns)


def _tuple(values: tuple[Expr, ...]) -> str:
    shown = [_number(u) for u in values]
    return shown[0] if len(shown) == 1 else f"({', '.join(shown)})"


def _number(u: Expr) -> str:
    """Write a number; a root that has no short form with its decimal value."""
    return f"{sstr(u)} = {float(u):.6g}..." if u.has(CRootOf) else sstr(u)


def _equations(family: tuple[Expr, ...]) -> str:
    return ", ".join(f"{u} = 0" for u in family) or "anything"


def _tex_tuple(values: tuple[Expr, ...]) -> str:
    return f"({', '.join(latex(u) for u in values)})"


def _multiplier(name: str) -> str:
    letter, number = name.split("_")
    return rf"\{letter}_{{{number}}}"
